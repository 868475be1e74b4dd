/* SPDX-License-Identifier: MIT */
/* A connection's requests: bytes in, responses out. What one recv gave is gone through request by request: those that
 * are all there are answered from the loop's own buffer, one that is not keeps what it has in its exchange's arena.
 *
 * Invariant: a connection without an exchange has nothing of a request. An exchange is in HEAD_STAGE until its head
 * is understood, then in its arena; in BODY_STAGE until all of it was read; WHOLE until its response is on its way;
 * ANSWERED while the rest of that waits for the client. Only READING connections are read, and what was read ahead of a
 * connection that stops reading is held in its Connection_buffer, at most pipeline_bytes. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/rep.h"

enum {
	TURN = 64,               /* requests answered before the other connections have their turn */
	SPARES = 64,             /* arenas of a loop without a request */
	CROWDED = 2048,          /* bytes of an arena's first chunk when there are more: what a patient client's head needs */
	KEPT = 64 * 1024,        /* bytes that an arena keeps for the next request */
	HEAD_FIRST = 1024, CHUNKS_FIRST = 4096,
	BODY_FIRST = 64 * 1024,  /* at most, before the bytes come that a Content-Length promises */
	LINGER_BYTES = 8 * 1024 * 1024, /* as HTTPResponse_send */
	EXPLANATION = 512
};

/* ---- exchanges ---- */

static void dispose(void *cl)
{
	Exchange *x = cl;

	Arena_dispose(&x->arena);
}

/* Not a child of the loop's arena: allocating from an arena with a parent takes a lock. */
static Exchange *make_exchange(Loop *l)
{
	Exchange *x = l->bare;

	if (!x) {
		x = CALLOC(l->arena, 1, sizeof *x);
		Arena_defer(l->arena, dispose, x);
		l->bare = x;
	}
	x->arena = l->arenas < SPARES ? Arena_new() : Arena_new_with_size(CROWDED);
	l->arenas++;
	l->bare = x->next;
	return x;
}

static Exchange *take_exchange(Loop *l)
{
	Exchange *x = l->spare;

	if (!x)
		return make_exchange(l);
	l->spare = x->next;
	l->spares--;
	return x;
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

Exchange *httpserver__begin(Conn *c)
{
	Loop *l = c->loop;
	Exchange *x = take_exchange(l);

	zero(&x->request, offsetof(Exchange, rest) - offsetof(Exchange, request));
	x->request.arena = x->arena;
	x->request.self = &x->request;
	x->request.body = "";
	x->request.client = c->socket;
	x->request.peer = c->name ? c->name->text : NULL;
	x->conn = c;
	httpparser__init(&x->parser, l->server->streams ? &l->server->unlimited : &l->server->options.limits);
	if (l->server->options.log)
		x->began = now_us();
	return c->exchange = x;
}

/* What many slow clients had at once is not kept for ever. */
void httpserver__retire(Conn *c)
{
	Exchange *x = c->exchange;
	Loop *l = c->loop;
	int keeps = l->spares < SPARES;
	Exchange **list = keeps ? &l->spare : &l->bare;

	c->exchange = NULL;
	x->next = *list;
	*list = x;
	l->spares += (size_t)keeps;
	if (keeps)
		Arena_reset(x->arena, KEPT);
	else {
		l->arenas--;
		Arena_dispose(&x->arena);
	}
}

/* ---- failing ---- */

static void explain(const Exchange *x, const char *bytes) CORE_NORETURN;
static void explain(const Exchange *x, const char *bytes)
{
	char text[EXPLANATION];

	httpparser__explain(&x->parser, bytes, text, sizeof text);
	EXCEPT_RAISE_MSG(*http__exception(x->parser.status), "%s", text);
}

void httpserver__answer(Exchange *x, int status, const char *text)
{
	x->response = HTTPResponse_new(x->arena);
	HTTPResponse_status(x->response, status);
	HTTPResponse_set(x->response, "Content-Type", "text/plain; charset=utf-8");
	HTTPResponse_printf(x->response, "%d %s%s%s\n", status, HTTP_reason(status), text ? ": " : "", text ? text : "");
}

/* A client is told what is wrong with its request; what else was raised is for the log. */
static void answer_exception(Exchange *x)
{
	int status = HTTP_status(Except_current());

	x->response = NULL;
	x->error = "out of memory";
	TRY {
		x->error = Arena_strdup(x->arena, Except_message());
		httpserver__answer(x, status ? status : 500, status >= 400 && status != 500 ? x->error : NULL);
	} ELSE { /* it is sent without memory then */
		x->response = NULL;
	} END_TRY;
}

/* The response is in the batch if there is no exchange any more: it was a deferred call that raised. */
static void put_last(Conn *c, Exchange *x)
{
	TRY {
		httpserver__put(c, x);
	} ELSE {
		if (c->exchange)
			httpserver__drop(c);
	} END_TRY;
}

/* An exception before the request was whole, or of our own: nothing after it on the connection is to be trusted. Without
 * an exchange it came after a response, or before a request: the responses that were made go out. */
void httpserver__refuse(Conn *c)
{
	Exchange *x = c->exchange;

	c->closing = c->unread = 1;
	if (!x && c->phase == READING) {
		httpserver__count(&c->loop->stats.raised, 1);
		return;
	}
	if (!x || x->stage == ANSWERED || c->phase != READING) {
		httpserver__drop(c);
		return;
	}
	httpserver__count(&c->loop->stats.refused, 1);
	answer_exception(x);
	x->stage = WHOLE;
	put_last(c, x);
}

/* ---- the head ---- */

static void *widen(Arena_T arena, void *p, size_t *room, size_t need, size_t first)
{
	size_t n;

	if (need <= *room)
		return p;
	if (!mul_size(*room, 2, &n) || n < need)
		n = need > first ? need : first;
	p = p ? Arena_realloc(arena, p, *room, n) : Arena_alloc(arena, n);
	*room = n;
	return p;
}

/* The input at hand is of one head, all of it. */
static void hold_head(Loop *l, Exchange *x)
{
	size_t n = l->n - l->used;

	x->request.head = widen(x->arena, x->request.head, &x->room, x->length + n, HEAD_FIRST);
	memcpy(x->request.head + x->length, l->bytes + l->used, n);
	x->length += n;
}

/* The head moves into the arena, where its strings are good as long as the request is; the input stands behind it. */
static void keep_head(Loop *l, Exchange *x)
{
	size_t n = x->parser.at;

	if (x->request.head)
		l->used = l->n - (x->length - n);
	else {
		x->request.head = memcpy(Arena_alloc(x->arena, n), l->bytes + l->used, n);
		l->used += n;
	}
	httpparser__rewind(&x->parser);
}

/* 1: all of it is there */
static int read_head(Loop *l, Exchange *x)
{
	const char *b = l->bytes + l->used;
	size_t n = l->n - l->used;

	if (x->request.head) {
		hold_head(l, x);
		b = x->request.head;
		n = x->length;
	}
	for (;;)
		switch (httpparser__next(&x->parser, b, n)) {
		case HTTPParser_LINE:
		case HTTPParser_FIELD:
			break;
		case HTTPParser_HEAD:
			keep_head(l, x);
			return 1;
		case HTTPParser_MORE:
			if (!x->request.head)
				hold_head(l, x);
			l->used = l->n;
			return 0;
		default:
			explain(x, b);
		}
}

static int has_body(const Exchange *x)
{
	return x->parser.flags & HTTPParser_CHUNKED || x->parser.left > 0;
}

static void check_body_bytes(Loop *l, Exchange *x)
{
	const HTTP_Limits *limits = &l->server->options.limits;

	if (x->route && x->route->is.body)
		return;
	x->parser.limits = limits;
	if (x->parser.left > limits->body_bytes)
		EXCEPT_RAISE_MSG(HTTP_Content_Too_Large, "a body of %llu bytes is more than %zu",
			(unsigned long long)x->parser.left, limits->body_bytes);
}

/* RFC 9110, 10.1.1: when none of the body came unasked. A request that nobody takes is answered at once instead. */
static int expects(const Loop *l, const Exchange *x)
{
	unsigned flags = x->parser.flags & (HTTPParser_CONTINUE | HTTPParser_OLD);

	return l->used == l->n && has_body(x) && flags == HTTPParser_CONTINUE;
}

static void invite(Conn *c)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	Loop *l = c->loop;

	if (BATCH - l->batched < sizeof line)
		httpserver__flush(c);
	if (c->phase != READING)
		return; /* the client that reads nothing gets its answer without */
	memcpy(l->batch + l->batched, line, sizeof line - 1);
	l->batched += sizeof line - 1;
	httpserver__count(&l->stats.status[1], 1);
}

/* 1: the request goes on to its body */
static int understand(Conn *c, Exchange *x)
{
	Loop *l = c->loop;
	const char *wrong;

	wrong = httprequest__head(&x->request, &x->parser);
	if (wrong) {
		x->parser.what = wrong;
		x->parser.one = x->parser.path;
		x->parser.status = 400;
		explain(x, x->request.head);
	}
	httpserver__count(&l->stats.requests, 1);
	httpserver__match(l->server, x);
	if (l->server->streams)
		check_body_bytes(l, x);
	x->stage = BODY_STAGE;
	x->timed = 0;
	if (!expects(l, x))
		return 1;
	if (x->route)
		invite(c);
	else
		c->closing = c->unread = 1;
	return x->route != NULL;
}

/* ---- the body ---- */

/* With room for the NUL behind it. */
static void take_body(Exchange *x, const char *bytes, size_t n)
{
	size_t first = CHUNKS_FIRST;

	x->taken += n;
	if (x->route && x->route->is.body) {
		x->route->is.body(&x->request, bytes, n, x->route->is.cl);
		return;
	}
	if (!(x->parser.flags & HTTPParser_CHUNKED))
		first = x->parser.left < BODY_FIRST ? (size_t)x->parser.left + n + 1 : BODY_FIRST;
	x->body = widen(x->arena, x->body, &x->body_room, x->taken + 1, first);
	memcpy(x->body + x->taken - n, bytes, n);
}

/* 1: all of it was there */
static int read_body(Loop *l, Exchange *x)
{
	const char *b = l->bytes + l->used;
	size_t n = l->n - l->used;

	for (;;)
		switch (httpparser__next(&x->parser, b, n)) {
		case HTTPParser_BODY:
			take_body(x, b + x->parser.value.at, x->parser.value.length);
			break;
		case HTTPParser_MORE:
			l->used = l->n;
			httpparser__rewind(&x->parser);
			return 0;
		case HTTPParser_END:
			l->used += x->parser.at;
			return 1;
		default:
			explain(x, b);
		}
}

static void finish_body(Exchange *x)
{
	if (!x->body)
		return;
	x->body[x->taken] = '\0';
	x->request.body = x->body;
	x->request.nbytes = x->taken;
}

/* ---- the PROXY header ---- */

static void set_name(Conn *c, const char *text)
{
	Loop *l = c->loop;
	Name *name = l->spare_names;

	if (name)
		l->spare_names = name->next;
	else
		name = ALLOC(l->arena, sizeof *name);
	snprintf(name->text, sizeof name->text, "%s", text);
	c->name = name;
}

/* The input stands behind it. What came of it in pieces is held as a head's is, and then forgotten. */
static void take_proxy(Conn *c, Exchange *x, size_t n, const char *name)
{
	Loop *l = c->loop;

	l->used = x->request.head ? l->n - (x->length - n) : l->used + n;
	c->proxied = 0;
	if (*name)
		set_name(c, name);
	httpserver__retire(c);
}

static void read_proxy(Conn *c)
{
	Loop *l = c->loop;
	Exchange *x = c->exchange ? c->exchange : httpserver__begin(c);
	const char *b = l->bytes + l->used;
	size_t n = l->n - l->used;
	char name[NAME_SIZE];
	int length;

	if (x->request.head) {
		hold_head(l, x);
		b = x->request.head;
		n = x->length;
	}
	length = httpserver__proxy_header(b, n, name);
	if (length > 0)
		take_proxy(c, x, (size_t)length, name);
	else if (length < 0)
		httpserver__drop(c);
	else {
		if (!x->request.head)
			hold_head(l, x);
		l->used = l->n;
	}
}

/* ---- answering ---- */

static void answer_no_route(Exchange *x)
{
	int options = x->parser.flags & HTTPParser_IS_OPTIONS && x->allow;

	if (options) {
		x->response = HTTPResponse_new(x->arena);
		HTTPResponse_status(x->response, 204);
	} else
		httpserver__answer(x, x->allow ? 405 : 404, x->allow ? x->request.method : x->request.target);
	if (x->allow)
		HTTPResponse_set(x->response, "Allow", x->allow);
}

void httpserver__handle(Exchange *x)
{
	TRY {
		if (x->route) {
			x->response = HTTPResponse_new(x->arena);
			x->route->is.handler(&x->request, x->response, x->route->is.cl);
		} else
			answer_no_route(x);
	} ELSE {
		x->raised = 1;
		answer_exception(x);
	} END_TRY;
}

static void dispatch(Conn *c, Exchange *x)
{
	x->stage = WHOLE;
	finish_body(x);
	if (x->route && x->route->is.blocks) {
		c->phase = WORKING;
		httpserver__flush(c);
		if (c->phase == WORKING)
			httpserver__give_work(x);
		return;
	}
	httpserver__handle(x);
	httpserver__put(c, x);
}

/* One request, or what there is of it. */
static void step(Conn *c)
{
	Loop *l = c->loop;
	Exchange *x = c->exchange ? c->exchange : httpserver__begin(c);

	if (x->stage == HEAD_STAGE && (!read_head(l, x) || !understand(c, x))) {
		if (x->stage == BODY_STAGE)
			dispatch(c, x);
		return;
	}
	if (!has_body(x) || read_body(l, x))
		dispatch(c, x);
}

static void steps(Conn *c)
{
	Loop *l = c->loop;
	int turn;

	for (turn = 0; turn < TURN && c->phase == READING && !c->closing && l->used < l->n; turn++)
		if (c->proxied)
			read_proxy(c);
		else
			step(c);
}

/* What was not looked at waits in the connection's own buffer; it may be there already. */
static void hold(Conn *c)
{
	Loop *l = c->loop;
	char *buffer;

	c->held = (uint32_t)(l->n - l->used);
	if (!c->held)
		return;
	c->buffered = 1;
	buffer = Connection_buffer(SocketPool_get(l->pool, c->socket), NULL);
	memmove(buffer, l->bytes + l->used, c->held);
	if (c->phase == READING)
		httpserver__make_ready(c);
}

static void converse(Conn *c, const char *bytes, size_t n)
{
	Loop *l = c->loop;

	l->bytes = bytes;
	l->n = n;
	l->used = 0;
	TRY {
		steps(c);
	} ELSE {
		httpserver__refuse(c);
	} END_TRY;
	if (c->phase == GONE)
		return;
	httpserver__flush(c);
	if (c->closing)
		c->unread |= l->used < l->n;
	else if (c->phase != GONE)
		hold(c);
	httpserver__settle(c);
}

/* ---- receiving ---- */

static void linger(Conn *c)
{
	Loop *l = c->loop;
	ssize_t n = socket__try_recv(c->socket, l->input, l->server->options.pipeline_bytes);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	if (n > 0 && (c->held += (uint32_t)n) < LINGER_BYTES)
		return;
	httpserver__drop(c);
}

/* It ended between requests, or in the middle of one, which it may still want to hear about. */
static void end_of_stream(Conn *c)
{
	Exchange *x = c->exchange;

	if (!x || !httpparser__begun(&x->parser)) {
		httpserver__drop(c);
		return;
	}
	TRY {
		EXCEPT_RAISE_MSG(HTTP_Bad_Request, "the connection ended within the request");
	} ELSE {
		httpserver__refuse(c);
	} END_TRY;
	if (c->phase == GONE)
		return;
	httpserver__flush(c);
	c->unread = 0;
	httpserver__settle(c);
}

void httpserver__receive(Conn *c)
{
	Loop *l = c->loop;
	ssize_t n;

	if (c->phase == LINGERING) {
		linger(c);
		return;
	}
	if (c->phase != READING || c->held)
		return; /* its turn comes */
	n = socket__try_recv(c->socket, l->input, l->server->options.pipeline_bytes);
	if (n > 0) {
		httpserver__count(&l->stats.received, (uint64_t)n);
		converse(c, l->input, (size_t)n);
	} else if (n == 0)
		end_of_stream(c);
	else if (errno != EAGAIN && errno != EWOULDBLOCK)
		httpserver__drop(c);
}

void httpserver__resume(Conn *c)
{
	size_t n = c->held;

	if (c->phase == READING && n > 0) {
		c->held = 0;
		converse(c, Connection_buffer(SocketPool_get(c->loop->pool, c->socket), NULL), n);
	} else
		httpserver__settle(c);
}
