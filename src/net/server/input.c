/* SPDX-License-Identifier: MIT */
/* Input. One call of recv fills the loop's own buffer, and the requests that are whole there are
 * answered from it. Input that the turn does not reach is held in the connection's buffer, at
 * most pipeline_bytes. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/rep.h"

enum {
	REQUESTS = 64, /* that are begun in a turn, before other connections have theirs */
	LINGER_BYTES = 8 * 1024 * 1024 /* as HTTPResponse_send */
};

/* ---- receiving ---- */

static __attribute__((noinline)) Read receive_input(Turn *t)
{
	Loop *l = t->loop;
	ssize_t n = socket__try_recv(t->c->socket, l->input, l->server->options.pipeline_bytes);

	t->received = 1;
	if (n > 0) {
		httpserver__count(&l->stats.received, (uint64_t)n);
		t->bytes = l->input;
		t->n = (size_t)n;
		t->used = 0;
		return READ_MORE;
	}
	if (n == 0)
		return READ_END;
	return errno == EAGAIN || errno == EWOULDBLOCK ? READ_NOTHING : READ_FAILED;
}

/* Before an idle connection is closed, the server looks whether a request is there. The idle time's
 * end closes one, and so does the drain, also when all output is sent or a worker has finished. */
static int may_receive(const Turn *t)
{
	if (t->received)
		return 0;
	return t->cause == CAUSE_READABLE || t->cause == CAUSE_DRAIN || t->cause == CAUSE_DEADLINE
		|| (t->loop->draining && (t->cause == CAUSE_WRITABLE || t->cause == CAUSE_FINISHED));
}

/* READ_MORE: there are bytes. */
static Read find_input(Turn *t)
{
	Conn *c = t->c;

	if (c->input == INPUT_IDLE && t->requests++ == REQUESTS)
		return READ_NOTHING;
	if (t->used < t->n)
		return READ_MORE;
	if (c->held > 0) {
		t->bytes = Connection_buffer(SocketPool_get(t->loop->pool, c->socket), NULL);
		t->n = c->held;
		t->used = 0;
		c->held = 0;
		return READ_MORE;
	}
	if (c->input == INPUT_BODY && c->exchange->paused) { /* its end may need no more bytes */
		t->bytes = t->loop->input;
		t->n = t->used = 0;
		return READ_MORE;
	}
	return may_receive(t) ? receive_input(t) : READ_NOTHING;
}

void httpserver__hold(Turn *t)
{
	Conn *c = t->c;
	size_t n = t->n - t->used;

	if (n == 0)
		return;
	c->buffered = 1;
	memmove(Connection_buffer(SocketPool_get(t->loop->pool, c->socket), NULL),
		t->bytes + t->used, n);
	c->held = (uint32_t)n;
	t->used = t->n;
}

int httpserver__read_ahead(Turn *t)
{
	Conn *c = t->c;
	size_t room = t->loop->server->options.pipeline_bytes - c->held;
	ssize_t n;

	if (room == 0)
		return 1;
	c->buffered = 1;
	n = socket__try_recv(c->socket,
		Connection_buffer(SocketPool_get(t->loop->pool, c->socket), NULL) + c->held, room);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK;
	c->held += (uint32_t)n;
	httpserver__count(&t->loop->stats.received, (uint64_t)n);
	return n > 0;
}

int httpserver__discard(Turn *t)
{
	Loop *l = t->loop;
	ssize_t n = socket__try_recv(t->c->socket, l->input, l->server->options.pipeline_bytes);

	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK;
	return n > 0 && (t->c->held += (uint32_t)n) < LINGER_BYTES;
}

/* ---- the PROXY header ---- */

static void set_name(Turn *t, const char *text)
{
	Loop *l = t->loop;
	Name *name = l->spare_names;

	if (name)
		l->spare_names = name->next;
	else
		name = ALLOC(l->arena, sizeof *name);
	snprintf(name->text, sizeof name->text, "%s", text);
	t->c->name = name;
}

static void collect_bytes(HTTPReader *r, const char *bytes, size_t n)
{
	while (n > 0) {
		size_t room;
		char *to = httpreader__room(r, &room);
		size_t part = room < n ? room : n;

		memcpy(to, bytes, part);
		r->length += part;
		bytes += part;
		n -= part;
	}
}

/* A header is collected as a head is, and forgotten then. */
static __attribute__((noinline)) Read read_proxy(Turn *t)
{
	Exchange *x = t->c->exchange ? t->c->exchange : httpserver__begin(t);
	char name[NAME_SIZE];
	int length;

	collect_bytes(&x->reader, t->bytes + t->used, t->n - t->used);
	t->used = t->n;
	length = httpserver__proxy_header(x->request->head, x->reader.length, name);
	if (length == 0)
		return READ_MORE;
	if (length < 0)
		return READ_FAILED;
	t->used -= x->reader.length - (size_t)length;
	t->c->proxied = 0;
	if (*name)
		set_name(t, name);
	return READ_PROXY;
}

/* ---- requests ---- */

/* For a worker: the loop reads other input meanwhile. One piece is as long as what is received at
 * once, at most. */
static void keep_part(Exchange *x, const char *bytes, size_t n)
{
	if (!x->part)
		x->part = Arena_alloc(x->arena, x->loop->server->options.pipeline_bytes);
	memcpy(x->part, bytes, n);
	x->npart = n;
}

static int take_body(const char *bytes, size_t n, void *cl)
{
	Exchange *x = cl;

	if (x->route->is.blocks)
		keep_part(x, bytes, n);
	else
		httpserver__give_body(x, bytes, n);
	x->paused = x->route->is.blocks || x->made || x->response->suspended;
	return !x->paused;
}

/* The limit of the body is the route's affair: there is none if the route takes the body as it
 * comes. */
static Read take_head(Turn *t, Exchange *x)
{
	Loop *l = t->loop;

	httpserver__count(&l->stats.requests, 1);
	httpserver__match(l->server, x);
	if (x->route && x->route->is.body) {
		x->reader.take = take_body;
		x->reader.cl = x;
		httpserver__renew_response(x);
	} else if (l->server->streams
			&& httpreader__limit_body(&x->reader, &l->server->options.limits) == HTTPReader_ERROR)
		return READ_WRONG;
	return READ_HEAD;
}

static Read read_request(Turn *t)
{
	Exchange *x = t->c->exchange ? t->c->exchange : httpserver__begin(t);
	HTTPReader_Event event;
	size_t used = 0;

	if (t->loop->server->timed && t->c->input == INPUT_IDLE)
		x->began = httpserver__now_us();
	x->paused = 0;
	event = httpreader__feed(&x->reader, t->bytes + t->used, t->n - t->used, &used);
	t->used += used;
	switch (event) {
	case HTTPReader_MORE:
		return x->paused ? READ_PART : READ_MORE;
	case HTTPReader_HEAD:
		return take_head(t, x);
	case HTTPReader_READY:
		return READ_BODY;
	default:
		return READ_WRONG;
	}
}

Read httpserver__read(Turn *t)
{
	Read filled = find_input(t);

	if (filled != READ_MORE)
		return filled;
	return t->c->proxied ? read_proxy(t) : read_request(t);
}
