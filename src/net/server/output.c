/* SPDX-License-Identifier: MIT */
/* What goes out. The responses to one input are put one behind the other into the loop's batch, which one send empties;
 * a large body is not copied there but goes out from its arena, in one call with what is before it. What the client does
 * not take at once stays in its exchange (rest), and the connection is SENDING: nothing more is read until it is out.
 *
 * Invariant: batch[0..batched) is for the connection whose input is at hand; between two of them it is empty. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "server/rep.h"

enum { COPIED = 16 * 1024 }; /* a larger body costs more to copy than another part of a vector */

/* ---- leaving ---- */

static void let_go(Conn *c)
{
	if (!c->exchange)
		return;
	TRY {
		httpserver__retire(c);
	} ELSE { /* a deferred call of the request's arena: the memory is released even so */
		httpserver__count(&c->loop->stats.raised, 1);
	} END_TRY;
}

void httpserver__drop(Conn *c)
{
	if (c->phase == GONE)
		return;
	c->phase = GONE;
	c->loop->batched = 0;
	let_go(c);
	SocketPoll_close(c->loop->poll, &c->socket);
	httpserver__forget(c);
}

/* To close while bytes come in resets the connection, and the reset may overtake the response (RFC 9112, 9.6). */
void httpserver__end(Conn *c)
{
	if (!c->unread) {
		httpserver__drop(c);
		return;
	}
	let_go(c);
	Socket_shutdown(c->socket);
	c->phase = LINGERING;
	c->held = 0;
}

/* ---- what waits ---- */

static void queue(Exchange *x, char *bytes, size_t n)
{
	if (n > 0)
		x->rest[x->nrest++] = (struct iovec){ bytes, n };
}

static void took(Exchange *x, size_t n)
{
	int i = 0;

	x->sent += n;
	while (i < x->nrest && n >= x->rest[i].iov_len)
		n -= x->rest[i++].iov_len;
	x->nrest -= i;
	memmove(x->rest, x->rest + i, (size_t)x->nrest * sizeof x->rest[0]);
	if (x->nrest > 0) {
		x->rest[0].iov_base = (char *)x->rest[0].iov_base + n;
		x->rest[0].iov_len -= n;
	}
}

/* The bytes that went out; the connection is gone if they never will. */
static size_t send_parts(Conn *c, const struct iovec *parts, int n)
{
	ssize_t sent = socket__try_sendv(c->socket, parts, n);

	if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
		httpserver__drop(c);
		return 0;
	}
	if (sent < 0)
		return 0;
	httpserver__count(&c->loop->stats.sent, (uint64_t)sent);
	return (size_t)sent;
}

int httpserver__transmit(Conn *c, Exchange *x)
{
	size_t n = send_parts(c, x->rest, x->nrest);

	if (c->phase == GONE)
		return 0;
	took(x, n);
	return x->nrest == 0;
}

static void wait_for_client(Conn *c, Exchange *x)
{
	if (c->phase != WORKING)
		c->phase = SENDING;
	x->since = socket__now_ms();
	x->sent = 0;
	x->timed = 0;
}

/* A copy in the arena of the exchange, which may be the next one that is only beginning. */
void httpserver__flush(Conn *c)
{
	Loop *l = c->loop;
	struct iovec part = { l->batch, l->batched };
	Exchange *x;
	size_t n;

	if (l->batched == 0 || c->phase == GONE)
		return;
	n = send_parts(c, &part, 1);
	l->batched = 0;
	if (c->phase == GONE || n == part.iov_len)
		return;
	x = c->exchange ? c->exchange : httpserver__begin(c);
	queue(x, Arena_memdup(x->arena, l->batch + n, part.iov_len - n), part.iov_len - n);
	wait_for_client(c, x);
}

/* ---- responses ---- */

static void put_copied(Loop *l, HTTPResponse_T r, HTTPFraming f)
{
	char *out = l->batch + l->batched;

	out += httpresponse__put(r, f, out);
	if (f.has_body) {
		memcpy(out, r->body, r->nbytes);
		out += r->nbytes;
	}
	l->batched = (size_t)(out - l->batch);
}

static void own(Loop *l, Exchange *x)
{
	struct iovec *part = &x->rest[0];

	if (x->nrest > 0 && (char *)part->iov_base >= l->batch && (char *)part->iov_base < l->batch + BATCH)
		part->iov_base = Arena_memdup(x->arena, part->iov_base, part->iov_len);
}

static void put_apart(Conn *c, Exchange *x, HTTPFraming f, size_t bound)
{
	Loop *l = c->loop;
	HTTPResponse_T r = x->response;
	char *head = Arena_alloc(x->arena, bound);

	queue(x, l->batch, l->batched);
	l->batched = 0;
	queue(x, head, httpresponse__put(r, f, head));
	x->nrest += httpresponse__parts(r, f, x->rest + x->nrest);
	if (c->phase == READING && (!httpserver__transmit(c, x) || f.streams) && c->phase != GONE) {
		own(l, x);
		wait_for_client(c, x);
	} else if (c->phase == SENDING) /* since before the worker had it: that time was not the client's */
		wait_for_client(c, x);
}

/* One part for each time that the client has taken all: it is in the kernel's hands how fast that goes. */
void httpserver__produce(Exchange *x)
{
	httpresponse__next(x->response);
	x->framing.has_body = 1;
	x->nrest = httpresponse__parts(x->response, x->framing, x->rest);
}

static void put_response(Conn *c, Exchange *x, HTTPFraming f)
{
	Loop *l = c->loop;
	size_t bound = httpresponse__bound(x->response), body = f.has_body ? x->response->nbytes : 0;
	int small = body <= COPIED && bound <= BATCH - COPIED && !f.streams;

	if (small && bound + body > BATCH - l->batched)
		httpserver__flush(c);
	if (c->phase == GONE)
		return;
	if (small && c->phase == READING)
		put_copied(l, x->response, f);
	else
		put_apart(c, x, f, bound);
}

void httpserver__canned(Conn *c)
{
	static const char text[] = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	Loop *l = c->loop;

	if (sizeof text > BATCH - l->batched)
		httpserver__flush(c);
	if (c->phase != READING) {
		httpserver__drop(c);
		return;
	}
	memcpy(l->batch + l->batched, text, sizeof text - 1);
	l->batched += sizeof text - 1;
	c->closing = c->unread = 1;
}

/* ---- accounting ---- */

static void write_log(Conn *c, Exchange *x, int status, size_t nbytes)
{
	const HTTPServer_Options *o = &c->loop->server->options;
	struct timespec t;
	HTTPServer_Entry e = { .request = &x->request, .status = status, .nbytes = nbytes, .error = x->error };

	clock_gettime(CLOCK_MONOTONIC, &t);
	e.microseconds = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 - x->began;
	e.peer = HTTPRequest_peer(&x->request);
	o->log(&e, o->log_cl);
}

static void account(Conn *c, Exchange *x, int status, size_t nbytes)
{
	Loop *l = c->loop;

	httpserver__count(&l->stats.status[status / 100], 1);
	if (x->raised)
		httpserver__count(&l->stats.raised, 1);
	if (l->server->options.log)
		write_log(c, x, status, nbytes);
}

/* ---- one response ---- */

static unsigned asked_of(const Conn *c, const Exchange *x)
{
	unsigned asked = httprequest__asks(&x->parser);

	return c->closing || c->loop->draining ? asked | HTTP__ENDED : asked;
}

void httpserver__put(Conn *c, Exchange *x)
{
	HTTPResponse_T r = x->response;
	HTTPFraming f;

	x->stage = ANSWERED;
	c->served = 1;
	if (!r) {
		account(c, x, 500, 0);
		httpserver__canned(c);
	} else {
		x->framing = f = httpresponse__frame(r, asked_of(c, x));
		c->unread |= f.ends && httpparser__keep_alive(&x->parser);
		c->closing = f.ends != 0;
		account(c, x, r->status, f.has_body ? r->nbytes : 0);
		put_response(c, x, f);
	}
	if (c->phase == READING)
		httpserver__retire(c);
}
