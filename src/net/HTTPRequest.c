/* SPDX-License-Identifier: MIT */
/* HTTPRequest: gives the reader (http/reader.c) what the socket has, and answers what the request
 * says.
 *
 * From the first byte of a request to its last, the socket's protocol byte says "ended, unread". So
 * if anything is raised in between, the next parse raises HTTP_Closed. Otherwise it would take the
 * middle of a request for the start of one. An empty line is no such byte (RFC 9112, 2.2).
 *
 * The table of the fields is made from the lines of the head as they were read. A server makes it
 * when a handler asks for a field, as most handlers do not. */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/rep.h"
#include "http/parser.h"
#include "http/reader.h"
#include "socket/internal.h"

#define T HTTPRequest_T

enum {
	JOINED = 1, /* before a joined value; before a plain one there is a NUL, a space or a tab */
	EXPLANATION = 512,
	/* that parse notes as they come; if there are more, the head is gone through again */
	FIELDS = 64,
	HEAD_MOST = 1 << 30 /* bytes of the request line, and of the field lines */
};

/* ---- limits ---- */

static size_t size_or(size_t given, size_t usual)
{
	return given ? given : usual;
}

static size_t at_most(size_t n, size_t most)
{
	return n < most ? n : most;
}

HTTP_Limits http__limits(const HTTP_Limits *given)
{
	HTTP_Limits l = given ? *given : (HTTP_Limits){ 0 };

	l.request_line = at_most(size_or(l.request_line, 8192), HEAD_MOST);
	l.header_bytes = at_most(size_or(l.header_bytes, 32768), HEAD_MOST);
	l.header_count = size_or(l.header_count, 100);
	l.body_bytes = size_or(l.body_bytes, 1024 * 1024);
	l.head_ms = l.head_ms ? l.head_ms : 10000;
	l.body_ms = l.body_ms ? l.body_ms : 30000;
	return l;
}

/* ---- the fields ---- */

static size_t power_of_two(size_t n)
{
	size_t power = 64;

	while (power < n && power <= SIZE_MAX / 2)
		power *= 2;
	return power;
}

/* RFC 9110, 5.3; in place where there is room, or a head full of one field's lines would take an
 * arena as large as its square. Room is the power of two that holds the text, as it only grows. */
static const char *join_values(Arena_T arena, const char *old, const char *more, size_t n,
	const char *separator)
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

static const char *end_string(char *head, HTTPSlice s)
{
	head[s.at + s.length] = '\0';
	return head + s.at;
}

static HashTable_T make_headers(Arena_T arena)
{
	HashTable_Options options = { .kind = HashTable_STRING_NOCASE, .hint = 16, .borrow_keys = 1 };

	return HashTable_new_with(arena, &options);
}

/* Two bytes. Cookies are no list (RFC 9113, 8.2.3), nor is Set-Cookie (RFC 9110, 5.3), whose
 * values have commas. */
static const char *separator_of(const char *name, size_t length)
{
	if (httpparser__is(name, length, "cookie"))
		return "; ";
	return httpparser__is(name, length, "set-cookie") ? "\r\n" : ", ";
}

static void add_field(T r, HashTable_T headers, const HTTPField *f)
{
	const char *name = end_string(r->head, (HTTPSlice){ f->name, f->name_length });
	const char *value = end_string(r->head, (HTTPSlice){ f->value, f->value_length });
	void **slot = HashTable_slot(headers, name);

	if (!*slot)
		*slot = (void *)value;
	else
		*slot = (void *)join_values(r->arena, *slot, value, f->value_length,
			separator_of(name, f->name_length));
}

/* RFC 9112, 3.2.2: the target's authority, not Host. */
static void put_authority(T r, HashTable_T headers)
{
	if (r->authority)
		HashTable_put(headers, "Host", (void *)r->authority);
}

/* Before the first NUL is written over a line's end, so that an allocation that fails leaves the
 * lines as they were. */
static void find_fields(T r)
{
	HTTPParser p;
	size_t n = 0;
	HTTPField *fields;

	if (r->fields || !r->head)
		return;
	fields = CALLOC(r->arena, r->nfields + 1, sizeof *fields);
	httpparser__walk(&p, r->fields_at);
	while (httpparser__next(&p, r->head, r->head_length) == HTTPParser_FIELD)
		fields[n++] = httprequest__field(&p);
	r->nfields = n;
	r->fields = fields;
}

static HashTable_T headers_of(T r)
{
	HashTable_T headers;
	size_t i;

	if (r->headers)
		return r->headers;
	find_fields(r);
	headers = make_headers(r->arena);
	for (i = 0; i < r->nfields; i++)
		add_field(r, headers, &r->fields[i]);
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

static void set_strings(T r, const HTTPParser *p, const char *path)
{
	char *head = r->head;

	if (p->authority.length > 0)
		r->authority = Arena_strndup(r->arena, head + p->authority.at, p->authority.length);
	r->path = path;
	r->version = p->flags & HTTPParser_OLD ? "HTTP/1.0" : "HTTP/1.1";
	r->keep_alive = httpparser__keep_alive(p);
	r->method = end_string(head, p->method);
	r->target = end_string(head, p->target);
	r->query = r->target + (p->query.at - p->target.at); /* ends where the target does */
	r->fields_at = p->target.at + p->target.length + sizeof " HTTP/1.1\r\n" - 1;
	r->head_length = p->at;
	r->nfields = p->fields;
}

static const char *keep_marks(Arena_T arena, char *path, size_t length)
{
	const char *marks;

	if (length == 0)
		return NULL;
	marks = Arena_memdup(arena, path, length + 1);
	httpparser__show_path(path, length);
	return marks;
}

const char *httprequest__head(T r, const HTTPParser *p)
{
	const char *wrong = NULL, *marks;
	size_t length = 0;
	char *path = Arena_alloc(r->arena, p->path.length + 2);

	if (UNLIKELY(is_asterisk(p, r->head)))
		memcpy(path, "*", 2);
	else
		wrong = httpparser__path(r->head + p->path.at, p->path.length, path, &length);
	if (wrong)
		return wrong;
	marks = keep_marks(r->arena, path, length);
	set_strings(r, p, path);
	r->marks = marks;
	return NULL;
}

const char *httprequest__answer(T r, const HTTPParser *p)
{
	r->version = p->flags & HTTPParser_OLD ? "HTTP/1.0" : "HTTP/1.1";
	r->keep_alive = httpparser__keep_alive(p);
	r->fields_at = p->target.at + p->target.length + sizeof "\r\n" - 1;
	r->head_length = p->at;
	r->nfields = p->fields;
	return NULL;
}

const char *httprequest__segment(T r, size_t at, size_t length)
{
	char *text = Arena_strndup(r->arena, r->path + at, length), *to = text;
	const char *mark = r->marks ? r->marks + at : NULL;
	size_t i;

	for (i = 0; mark && i < length; i++)
		if (mark[i])
			*to++ = mark[i];
		else { /* %2F or %5C */
			*to++ = mark[i + 1] == '2' ? '/' : '\\';
			i += 2;
		}
	if (mark)
		*to = '\0';
	return text;
}

/* ---- the request ---- */

HTTPRequest_T httprequest__renew(HTTPRequestPlace *place)
{
	T r;

	((T)(place->words + place->turn))->self = NULL;
	place->turn = place->turn == HTTP__TURNS - 1 ? 0 : place->turn + 1;
	r = (T)(place->words + place->turn);
	zero(r, sizeof *r);
	return r->self = r;
}

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

/* ---- reading ---- */

typedef struct Source {
	HTTPReader reader;
	Socket_T client;
	HTTP_Limits limits;
	unsigned char *word;     /* the socket's protocol byte */
	unsigned char before;    /* what it said before this request */
	size_t received;         /* bytes of the head */
	int64_t deadline;        /* the part's; 0 until it is set */
	HTTPField fields[FIELDS]; /* the first of them */
} Source;

/* Bytes of the part that is being read. */
static size_t bytes_received(const Source *s)
{
	return s->reader.in_body ? s->reader.taken : s->received;
}

/* A CR whose LF has not come yet is put back if that takes too long, as the next call begins
 * anew. */
static size_t receive_lf(Source *s, char *into, size_t n)
{
	volatile size_t got = 0;

	TRY {
		got = Socket_recv(s->client, into, n);
	} EXCEPT(Socket_Timeout) {
		socket__unread(s->client, "\r", 1);
		RERAISE;
	} END_TRY;
	return got;
}

/* Until the first byte of the request the wait is the caller's idle time: its timeout, its
 * exception. */
static size_t await_request(Source *s, char *into, size_t n)
{
	return httpreader__has_cr(&s->reader) ? receive_lf(s, into, n)
		: Socket_recv(s->client, into, n);
}

/* Returns 0 at the end of the stream. */
static size_t receive_before_deadline(Source *s, char *into, size_t n)
{
	const char *part = s->reader.in_body ? "body" : "head";
	volatile size_t got = 0;

	if (!s->deadline)
		s->deadline = socket__deadline_in(
			s->reader.in_body ? s->limits.body_ms : s->limits.head_ms);
	TRY {
		got = socket__recv_deadline(s->client, into, n, s->deadline);
	} EXCEPT(Socket_Timeout) {
		RAISE_MSG(HTTP_Timeout,
			"timed out after %zu bytes of the request's %s", bytes_received(s), part);
	} END_TRY;
	return got;
}

static void end_of_stream(Source *s) CORE_NORETURN;
static void end_of_stream(Source *s)
{
	if (!httpreader__begun(&s->reader)) {
		*s->word = HTTP__ENDED;
		EXCEPT_RAISE_MSG(HTTP_Closed, "the peer closed the connection");
	}
	EXCEPT_RAISE_MSG(HTTP_Bad_Request, "connection closed after %zu bytes of the request %s",
		bytes_received(s), s->reader.in_body ? "body" : "head");
}

/* Returns where n bytes were put. */
static char *receive_input(Source *s, size_t *n)
{
	size_t room;
	char *into = httpreader__room(&s->reader, &room);

	if (httpreader__begun(&s->reader))
		*n = receive_before_deadline(s, into, room);
	else
		*n = await_request(s, into, room);
	if (*n == 0)
		end_of_stream(s);
	*s->word = HTTP__ENDED | HTTP__UNREAD;
	s->received += *n;
	return into;
}

/* The response to a HEAD that is refused has no body either. */
static void refuse_request(Source *s) CORE_NORETURN;
static void refuse_request(Source *s)
{
	char explanation[EXPLANATION];

	if (s->reader.parser.flags & HTTPParser_IS_HEAD)
		*s->word |= HTTP__HEAD;
	httpreader__explain(&s->reader, explanation, sizeof explanation);
	EXCEPT_RAISE_MSG(*http__exception(s->reader.parser.status), "%s", explanation);
}

/* The table is made now: once parse has returned, asking for a field takes no memory. A body is
 * asked for only if no byte of it came unasked (RFC 9110, 10.1.1). */
static void begin_body(Source *s, size_t nbytes)
{
	T r = s->reader.request;

	if (s->reader.nfields < FIELDS) {
		r->fields = s->fields;
		r->nfields = s->reader.nfields;
	}
	headers_of(r);
	r->fields = NULL;
	s->deadline = 0;
	if (nbytes == 0 && httpreader__awaits(&s->reader))
		Socket_sendall(s->client, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* Returns 1 if feed is to be called again. */
static int take_event(Source *s, HTTPReader_Event event, size_t left)
{
	switch (event) {
	case HTTPReader_MORE:
		if (!httpreader__begun(&s->reader))
			*s->word = s->before;
		return 1;
	case HTTPReader_HEAD:
		begin_body(s, left);
		return httpreader__has_body(&s->reader);
	case HTTPReader_READY:
		return 0;
	default:
		refuse_request(s);
	}
}

static void read_request(Source *s)
{
	size_t n, used;
	char *at = receive_input(s, &n);
	HTTPReader_Event event = httpreader__feed(&s->reader, at, n, &used);

	while (take_event(s, event, n - used)) {
		at += used;
		n -= used;
		if (n == 0)
			at = receive_input(s, &n);
		event = httpreader__feed(&s->reader, at, n, &used);
	}
	if (n > used)
		socket__unread(s->client, at + used, n - used);
}

T HTTPRequest_parse_with(Arena_T arena, Socket_T client, const HTTP_Limits *limits)
{
	Source s;
	T r;

	CHECK(arena, "HTTPRequest_parse: the arena is NULL");
	CHECK(client, "HTTPRequest_parse: the socket is NULL");
	if (*socket__protocol(client) & HTTP__ENDED)
		EXCEPT_RAISE_MSG(HTTP_Closed, "the connection ended with its last request or response");
	NEW0(arena, r);
	r->arena = arena;
	r->client = client;
	s.client = client;
	s.limits = http__limits(limits);
	s.word = socket__protocol(client);
	s.before = *s.word;
	s.received = 0;
	s.deadline = 0;
	httpreader__init(&s.reader, r, &s.limits);
	s.reader.fields = s.fields;
	s.reader.fields_room = FIELDS;
	read_request(&s);
	*s.word = (unsigned char)httprequest__asks(&s.reader.parser);
	return r;
}

T HTTPRequest_parse(Arena_T arena, Socket_T client)
{
	return HTTPRequest_parse_with(arena, client, NULL);
}

#define CHECK_REQUEST(r) CHECK_HANDLE((r), "request")

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

const char *HTTPRequest_route(T r)
{
	CHECK_REQUEST(r);
	return r->route;
}

void HTTPRequest_set_data(T r, void *data)
{
	CHECK_REQUEST(r);
	r->data = data;
}

void *HTTPRequest_data(T r)
{
	CHECK_REQUEST(r);
	return r->data;
}
