/* SPDX-License-Identifier: MIT */
/* HTTPRequest: reads one request into buffers of the arena and lets the parser say what it is.
 *
 * The head is read into one buffer, where the strings of the request then lie: a NUL is written over the
 * byte that ended each. The buffer may move as it grows; what points into an older one stays good, as an
 * arena keeps what it gave. The body is decoded where it is read: the bytes of the window, raw, follow
 * the filled ones, decoded, and a chunk only ever moves down.
 *
 * The socket's protocol byte says "ended, unread" from the first byte of a request until all of it was
 * read: whatever is raised in between, the next parse raises HTTP_Closed instead of taking the middle
 * of a request for the start of one. */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/rep.h"
#include "http/parser.h"
#include "socket/internal.h"

#define T HTTPRequest_T

enum {
	HEAD_FIRST = 4096,      /* bytes of the first read: most heads, and some of a pipeline */
	BODY_FIRST = 64 * 1024, /* at most, before the bytes come that a Content-Length promises */
	READ_LEAST = 512,       /* into a chunked body's buffer, so that its end is not read byte by byte */
	JOINED = 1,             /* before a joined value; before a plain one there is a NUL, a space or a tab */
	EXPLANATION = 512
};

typedef struct Reader {
	T request;
	Arena_T arena;
	Socket_T client;
	HTTP_Limits limits;
	HTTPParser parser;
	char *head, *body;
	size_t length, room;           /* of the head's buffer: read, allocated */
	size_t window, window_length;  /* raw bytes in the body's buffer: where, how many */
	size_t filled, body_room;      /* decoded bytes; allocated */
	int64_t deadline;              /* 0: not set yet */
} Reader;

/* ---- limits ---- */

static size_t size_or(size_t given, size_t usual)
{
	return given ? given : usual;
}

HTTP_Limits http__limits(const HTTP_Limits *given)
{
	HTTP_Limits l = given ? *given : (HTTP_Limits){ 0 };

	l.request_line = size_or(l.request_line, 8192);
	l.header_bytes = size_or(l.header_bytes, 32768);
	l.header_count = size_or(l.header_count, 100);
	l.body_bytes = size_or(l.body_bytes, 1024 * 1024);
	l.head_ms = l.head_ms ? l.head_ms : 10000;
	l.body_ms = l.body_ms ? l.body_ms : 30000;
	return l;
}

/* ---- reading ---- */

static int64_t deadline_in(int ms)
{
	return ms < 0 ? SOCKET__NEVER : socket__now_ms() + ms;
}

/* 0 at end of stream */
static size_t receive(Reader *r, char *into, size_t n, const char *part, size_t so_far)
{
	volatile size_t got = 0;

	TRY {
		got = socket__recv_deadline(r->client, into, n, r->deadline);
	} EXCEPT(Socket_Timeout) {
		RAISE_MSG(HTTP_Timeout, "timed out after %zu bytes of the request's %s", so_far, part);
	} END_TRY;
	return got;
}

static void refuse(const Reader *r, const char *bytes) CORE_NORETURN;
static void refuse(const Reader *r, const char *bytes)
{
	char explanation[EXPLANATION];

	httpparser__explain(&r->parser, bytes, explanation, sizeof explanation);
	EXCEPT_RAISE_MSG(*http__exception(r->parser.status), "%s", explanation);
}

static char *widen(Arena_T arena, char *buffer, size_t *room, size_t most)
{
	size_t n;

	if (!mul_size(*room, 2, &n) || n > most)
		n = most;
	buffer = Arena_realloc(arena, buffer, *room, n);
	*room = n;
	return buffer;
}

/* The wait for the first byte is the caller's idle time: its timeout, its exception. */
static void receive_first(Reader *r)
{
	unsigned char *word = socket__protocol(r->client);

	r->length = Socket_recv(r->client, r->head, r->room);
	*word = HTTP__ENDED;
	if (r->length == 0)
		EXCEPT_RAISE_MSG(HTTP_Closed, "the peer closed the connection");
	*word |= HTTP__UNREAD;
}

static void receive_head(Reader *r)
{
	size_t n;

	if (r->length == r->room)
		r->head = widen(r->arena, r->head, &r->room, SIZE_MAX);
	if (!r->deadline)
		r->deadline = deadline_in(r->limits.head_ms);
	n = receive(r, r->head + r->length, r->room - r->length, "head", r->length);
	if (n == 0 && !httpparser__begun(&r->parser))
		EXCEPT_RAISE_MSG(HTTP_Closed, "the peer closed the connection");
	if (n == 0)
		EXCEPT_RAISE_MSG(HTTP_Bad_Request, "connection closed after %zu bytes of the request head", r->length);
	r->length += n;
}

/* ---- the fields ---- */

static size_t power_of_two(size_t n)
{
	size_t power = 64;

	while (power < n && power <= SIZE_MAX / 2)
		power *= 2;
	return power;
}

/* RFC 9110, 5.3; in place where there is room, or a head full of one field's lines would take an arena
 * as large as its square. Room is the power of two that holds the text, as it only grows. */
static const char *join(Arena_T arena, const char *old, const char *more, size_t n, const char *separator)
{
	size_t length = strlen(old), room = power_of_two(length + 1), need = length + 2 + n + 1;
	char *text = old[-1] == JOINED && need <= room ? (char *)old : NULL;

	if (!text) {
		text = (char *)Arena_alloc(arena, power_of_two(need) + 1) + 1;
		text[-1] = JOINED;
		memcpy(text, old, length + 1);
	}
	memcpy(text + length, separator, 2);
	memcpy(text + length + 2, more, n + 1);
	return text;
}

static const char *string(char *head, HTTPSlice s)
{
	head[s.at + s.length] = '\0';
	return head + s.at;
}

static HashTable_T make_headers(Arena_T arena)
{
	HashTable_Options options = { .kind = HashTable_STRING_NOCASE, .hint = 16, .borrow_keys = 1 };

	return HashTable_new_with(arena, &options);
}

static void add_field(Arena_T arena, HashTable_T headers, char *head, HTTPSlice field, HTTPSlice text)
{
	const char *name = string(head, field), *value = string(head, text);
	void **slot = HashTable_slot(headers, name);

	if (!*slot)
		*slot = (void *)value;
	else /* RFC 9113, 8.2.3: cookies are no list */
		*slot = (void *)join(arena, *slot, value, text.length,
			httpparser__is(name, field.length, "cookie") ? "; " : ", ");
}

/* RFC 9112, 3.2.2: the target's authority, not Host. */
static void put_authority(T r, HashTable_T headers)
{
	if (r->authority)
		HashTable_put(headers, "Host", (void *)r->authority);
}

/* Most handlers of a server ask for no field: the table is made for those that do. */
static HashTable_T headers_of(T r)
{
	HashTable_T headers;
	size_t i;

	if (r->headers)
		return r->headers;
	headers = make_headers(r->arena);
	for (i = 0; i < r->nfields; i++)
		add_field(r->arena, headers, r->head, r->fields[i].name, r->fields[i].value);
	put_authority(r, headers);
	return r->headers = headers;
}

/* ---- the head ---- */

/* RFC 9112, 3.2.4: OPTIONS of a bare authority means "*", too. */
static int is_asterisk(const HTTPParser *p, const char *head)
{
	return p->flags & HTTPParser_IS_OPTIONS
		&& (head[p->path.at] == '*' || (p->path.length == 0 && p->query.length == 0));
}

static const char *make_path(Arena_T arena, const char *path, size_t n)
{
	char *decoded = Arena_alloc(arena, n + 2), shown[EXPLANATION];
	const char *wrong = httpparser__path(path, n, decoded);

	if (wrong) {
		httpparser__quote(shown, sizeof shown, path, n);
		EXCEPT_RAISE_MSG(HTTP_Bad_Request, "%s: %s", wrong, shown);
	}
	return decoded;
}

void httprequest__head(T r, const HTTPParser *p, char *head)
{
	const char *path = is_asterisk(p, head) ? "*" : make_path(r->arena, head + p->path.at, p->path.length);

	if (p->authority.length > 0)
		r->authority = Arena_strndup(r->arena, head + p->authority.at, p->authority.length);
	r->path = path;
	r->version = p->flags & HTTPParser_OLD ? "HTTP/1.0" : "HTTP/1.1";
	r->keep_alive = httpparser__keep_alive(p);
	r->method = string(head, p->method);
	r->target = string(head, p->target);
	r->query = r->target + (p->query.at - p->target.at); /* ends where the target does */
}

/* The response to a HEAD that is refused later has no body either. */
static void take_line(Reader *r)
{
	if (r->parser.flags & HTTPParser_IS_HEAD)
		*socket__protocol(r->client) |= HTTP__HEAD;
}

static void take_field(Reader *r)
{
	add_field(r->arena, r->request->headers, r->head, r->parser.name, r->parser.value);
}

static void take_head(Reader *r)
{
	httprequest__head(r->request, &r->parser, r->head);
	put_authority(r->request, r->request->headers);
}

static void read_head(Reader *r)
{
	for (;;)
		switch (httpparser__next(&r->parser, r->head, r->length)) {
		case HTTPParser_MORE:
			receive_head(r);
			break;
		case HTTPParser_LINE:
			take_line(r);
			break;
		case HTTPParser_FIELD:
			take_field(r);
			break;
		case HTTPParser_HEAD:
			take_head(r);
			return;
		default:
			refuse(r, r->head);
		}
}

/* ---- the body ---- */

static int is_chunked(const Reader *r)
{
	return r->parser.flags & HTTPParser_CHUNKED;
}

/* What was read beyond the head, as far as it may be of the body, starts the body's buffer; the rest is
 * the next request's. A body is asked for only when none of it came unasked (RFC 9110, 10.1.1). */
static void start_body(Reader *r)
{
	HTTPParser *p = &r->parser;
	const char *rest = r->head + p->at;
	size_t have = r->length - p->at, take = have, first = HEAD_FIRST;

	if (!is_chunked(r)) {
		first = p->left < BODY_FIRST ? (size_t)p->left : BODY_FIRST;
		take = have < p->left ? have : (size_t)p->left;
	}
	r->body_room = (first > take ? first : take) + 1;
	r->body = Arena_alloc(r->arena, r->body_room);
	memcpy(r->body, rest, take);
	r->window_length = take;
	socket__unread(r->client, rest + take, have - take);
	httpparser__rewind(p);
	r->deadline = 0;
	if (have == 0 && p->flags & HTTPParser_CONTINUE && !(p->flags & HTTPParser_OLD)
			&& (is_chunked(r) || p->left > 0))
		Socket_sendall(r->client, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

static void make_room(Reader *r)
{
	uint64_t left = is_chunked(r) ? SIZE_MAX : r->parser.left;
	size_t space = r->body_room - 1 - r->filled, most = SIZE_MAX;

	if (space >= READ_LEAST || space >= left)
		return;
	if (!is_chunked(r))
		most = r->filled + (size_t)left + 1;
	r->body = widen(r->arena, r->body, &r->body_room, most);
}

static void receive_body(Reader *r)
{
	size_t space, n;

	make_room(r);
	space = r->body_room - 1 - r->filled;
	if (!is_chunked(r) && space > r->parser.left)
		space = (size_t)r->parser.left;
	if (!r->deadline)
		r->deadline = deadline_in(r->limits.body_ms);
	n = receive(r, r->body + r->filled, space, "body", r->filled);
	if (n == 0)
		EXCEPT_RAISE_MSG(HTTP_Bad_Request, "connection closed after %zu bytes of the request body", r->filled);
	r->window = r->filled;
	r->window_length = n;
	httpparser__rewind(&r->parser);
}

static void take_bytes(Reader *r)
{
	HTTPSlice s = r->parser.value;

	memmove(r->body + r->filled, r->body + r->window + s.at, s.length);
	r->filled += s.length;
}

static void end_body(Reader *r)
{
	size_t end = r->parser.at;

	socket__unread(r->client, r->body + r->window + end, r->window_length - end);
	r->body[r->filled] = '\0';
	r->request->body = r->body;
	r->request->nbytes = r->filled;
}

static void read_body(Reader *r)
{
	start_body(r);
	for (;;)
		switch (httpparser__next(&r->parser, r->body + r->window, r->window_length)) {
		case HTTPParser_MORE:
			receive_body(r);
			break;
		case HTTPParser_BODY:
			take_bytes(r);
			break;
		case HTTPParser_END:
			end_body(r);
			return;
		default:
			refuse(r, r->body + r->window);
		}
}

/* ---- the request ---- */

unsigned httprequest__asks(const HTTPParser *p)
{
	unsigned word = HTTP__ASKED;

	if (p->flags & HTTPParser_IS_HEAD)
		word |= HTTP__HEAD;
	if (p->flags & HTTPParser_OLD)
		word |= HTTP__OLD;
	if (!httpparser__keep_alive(p))
		word |= HTTP__ENDED;
	return word;
}

/* Allocates all that the first read needs before it: without memory nothing has been read. */
static void prepare(Reader *r)
{
	NEW0(r->arena, r->request);
	r->request->arena = r->arena;
	r->request->client = r->client;
	r->request->body = "";
	r->request->headers = make_headers(r->arena);
	r->room = HEAD_FIRST;
	r->head = Arena_alloc(r->arena, r->room);
	httpparser__init(&r->parser, &r->limits);
}

T HTTPRequest_parse_with(Arena_T arena, Socket_T client, const HTTP_Limits *limits)
{
	Reader r;

	CHECK(arena, "HTTPRequest_parse: the arena is NULL");
	CHECK(client, "HTTPRequest_parse: the socket is NULL");
	if (*socket__protocol(client) & HTTP__ENDED)
		EXCEPT_RAISE_MSG(HTTP_Closed, "the connection ended with its last request or response");
	zero(&r, sizeof r);
	r.arena = arena;
	r.client = client;
	r.limits = http__limits(limits);
	prepare(&r);
	receive_first(&r);
	read_head(&r);
	read_body(&r);
	*socket__protocol(client) = (unsigned char)httprequest__asks(&r.parser);
	return r.request;
}

T HTTPRequest_parse(Arena_T arena, Socket_T client)
{
	return HTTPRequest_parse_with(arena, client, NULL);
}

#define CHECK_REQUEST(r) CHECK((r), "%s: the request is NULL", __func__)

const char *HTTPRequest_method(T r)
{
	CHECK_REQUEST(r);
	return r->method;
}

const char *HTTPRequest_target(T r)
{
	CHECK_REQUEST(r);
	return r->target;
}

const char *HTTPRequest_path(T r)
{
	CHECK_REQUEST(r);
	return r->path;
}

const char *HTTPRequest_query(T r)
{
	CHECK_REQUEST(r);
	return r->query;
}

const char *HTTPRequest_version(T r)
{
	CHECK_REQUEST(r);
	return r->version;
}

const char *HTTPRequest_header(T r, const char *name)
{
	CHECK_REQUEST(r);
	CHECK(name, "HTTPRequest_header: the name is NULL");
	return HashTable_get(headers_of(r), name);
}

HashTable_T HTTPRequest_headers(T r)
{
	CHECK_REQUEST(r);
	return headers_of(r);
}

const void *HTTPRequest_body(T r, size_t *nbytes)
{
	CHECK_REQUEST(r);
	CHECK(nbytes, "HTTPRequest_body: the place of the length is NULL");
	*nbytes = r->nbytes;
	return r->body;
}

const char *HTTPRequest_peer(T r)
{
	CHECK_REQUEST(r);
	if (!r->peer)
		r->peer = Socket_peer(r->client, r->arena);
	return r->peer;
}

const char *HTTPRequest_param(T r, const char *name)
{
	size_t i;

	CHECK_REQUEST(r);
	CHECK(name, "HTTPRequest_param: the name is NULL");
	for (i = 0; i < r->nparams; i++)
		if (strcmp(r->params[2 * i], name) == 0)
			return r->params[2 * i + 1];
	return NULL;
}

Arena_T HTTPRequest_arena(T r)
{
	CHECK_REQUEST(r);
	return r->arena;
}

int HTTPRequest_keep_alive(T r)
{
	CHECK_REQUEST(r);
	return r->keep_alive;
}
