/* SPDX-License-Identifier: MIT */
/* What goes out. The responses of one turn are put one behind the other into the loop's batch, which one send empties; a
 * large body is not copied there but goes out from its arena, in one call with what is before it. What the client does
 * not take at once stays in an exchange's rest: nothing more is read until it is out.
 *
 * Invariant: batch[0..t->batched) is for the connection of the turn; between two turns it is empty. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "server/rep.h"

enum {
	COPIED = 16 * 1024, /* a larger body costs more to copy than another part of a vector */
	LOGGED = 1          /* a status */
};

/* ---- sending ---- */

static void add_part(Exchange *x, char *bytes, size_t n)
{
	if (n > 0)
		x->rest[x->nrest++] = (struct iovec){ bytes, n };
}

static void remove_sent(Exchange *x, size_t n)
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

/* *sent: how many bytes went out. */
static Sent send_parts(Turn *t, const struct iovec *parts, int nparts, size_t *sent)
{
	ssize_t n = socket__try_sendv(t->c->socket, parts, nparts);

	*sent = n > 0 ? (size_t)n : 0;
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		return SENT_NEVER;
	httpserver__count(&t->loop->stats.sent, *sent);
	return SENT_SOME;
}

/* The first part may lie in the batch, which is the next turn's. */
static void copy_from_batch(Turn *t, Exchange *x)
{
	struct iovec *part = &x->rest[0];
	char *batch = t->loop->batch;

	if ((char *)part->iov_base >= batch && (char *)part->iov_base < batch + BATCH)
		part->iov_base = Arena_memdup(x->arena, part->iov_base, part->iov_len);
}

Sent httpserver__send(Turn *t)
{
	Exchange *x = t->c->exchange;
	size_t sent;

	if (x->nrest == 0)
		return SENT_ALL;
	if (send_parts(t, x->rest, x->nrest, &sent) == SENT_NEVER)
		return SENT_NEVER;
	remove_sent(x, sent);
	if (x->nrest == 0)
		return SENT_ALL;
	t->full = 1;
	copy_from_batch(t, x);
	return SENT_SOME;
}

/* What is not taken goes to the exchange that there is, which may be of a request that is only beginning, or is made. */
Sent httpserver__flush(Turn *t)
{
	struct iovec part = { t->loop->batch, t->batched };
	Exchange *x = t->c->exchange;
	size_t sent;

	if (t->batched == 0)
		return SENT_ALL;
	t->batched = 0;
	if (send_parts(t, &part, 1, &sent) == SENT_NEVER)
		return SENT_NEVER;
	if (sent == part.iov_len)
		return SENT_ALL;
	t->full = 1;
	if (!x) {
		x = httpserver__begin(t);
		x->answered = 1;
	}
	add_part(x, Arena_memdup(x->arena, t->loop->batch + sent, part.iov_len - sent), part.iov_len - sent);
	return SENT_SOME;
}

/* ---- the log ---- */

int64_t httpserver__now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* An exception of the program's log is counted: the response is not to blame. */
static void write_log(Loop *l, Exchange *x, int status, size_t nbytes)
{
	const HTTPServer_Options *o = &l->server->options;
	HTTPServer_Entry e = { .request = x->request, .status = status, .nbytes = nbytes, .error = x->error };

	x->unlogged = 0;
	e.microseconds = httpserver__now_us() - x->began;
	TRY {
		e.peer = HTTPRequest_peer(x->request);
		o->log(&e, o->log_cl);
	} ELSE {
		httpserver__count(&l->stats.raised, 1);
	} END_TRY;
	httpserver__stay_parent(l);
}

void httpserver__log_stream(Exchange *x)
{
	if (x->unlogged)
		write_log(x->loop, x, x->response->status, (size_t)x->streamed);
}

/* Its head may have been out: then it is a stream, which breaks off. */
void httpserver__log_gone(Exchange *x)
{
	int logs = x->loop->server->options.log && !x->answered && x->status != LOGGED;

	if (logs)
		write_log(x->loop, x, x->status, 0);
	else
		httpserver__log_stream(x);
	x->status = LOGGED;
}

static void account(Turn *t, Exchange *x, int status, size_t nbytes)
{
	Loop *l = t->loop;

	httpserver__count(&l->stats.status[status / 100], 1);
	if (x->raised)
		httpserver__count(&l->stats.raised, 1);
	if (!l->server->options.log || x->silent)
		return;
	x->streamed = nbytes;
	if (x->framing.streams)
		x->unlogged = 1;
	else
		write_log(l, x, status, nbytes);
}

/* ---- responses ---- */

static void put_copied(Turn *t, HTTPResponse_T r, HTTPFraming f)
{
	char *start = t->loop->batch + t->batched, *out = start + httpresponse__put(r, f, start);

	if (f.has_body) {
		memcpy(out, r->body, r->nbytes);
		out += r->nbytes;
	}
	t->batched += (size_t)(out - start);
}

static void put_apart(Turn *t, Exchange *x, HTTPFraming f, size_t bound)
{
	HTTPResponse_T r = x->response;
	char *head = Arena_alloc(x->arena, bound);

	add_part(x, t->loop->batch, t->batched);
	t->batched = 0;
	add_part(x, head, httpresponse__put(r, f, head));
	x->nrest += httpresponse__parts(r, f, x->rest + x->nrest);
}

static Sent put_response(Turn *t, Exchange *x, HTTPFraming f)
{
	size_t bound = httpresponse__bound(x->response), body = f.has_body ? x->response->nbytes : 0;
	int small = body <= COPIED && bound <= BATCH - COPIED && !f.streams;

	if (small && bound + body > BATCH - t->batched && httpserver__flush(t) == SENT_NEVER)
		return SENT_NEVER;
	if (small && x->nrest == 0) {
		put_copied(t, x->response, f);
		return SENT_ALL;
	}
	put_apart(t, x, f, bound);
	return SENT_SOME;
}

/* Without memory for the response. */
static Sent put_canned(Turn *t, Exchange *x)
{
	static const char text[] = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

	if (x->nrest > 0 || (sizeof text > BATCH - t->batched && httpserver__flush(t) != SENT_ALL))
		return SENT_NEVER;
	memcpy(t->loop->batch + t->batched, text, sizeof text - 1);
	t->batched += sizeof text - 1;
	return SENT_ALL;
}

Sent httpserver__queue(Turn *t)
{
	Exchange *x = t->c->exchange;
	HTTPResponse_T r = x->response;
	unsigned asked = httprequest__asks(&x->reader.parser);

	x->answered = 1;
	if (!r) {
		x->ends = 1;
		t->c->unread = 1;
		account(t, x, 500, 0);
		return put_canned(t, x);
	}
	if (x->ends || t->loop->draining)
		asked |= HTTP__ENDED;
	x->framing = httpresponse__frame(r, asked);
	x->ends = x->framing.ends;
	t->c->unread |= x->ends && httpparser__keep_alive(&x->reader.parser);
	account(t, x, r->status, x->framing.has_body ? r->nbytes : 0);
	return put_response(t, x, x->framing);
}

/* A client that reads nothing gets its answer without. */
Sent httpserver__invite(Turn *t)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	Sent sent = SENT_ALL;

	if (BATCH - t->batched < sizeof line)
		sent = httpserver__flush(t);
	if (sent != SENT_ALL)
		return sent;
	memcpy(t->loop->batch + t->batched, line, sizeof line - 1);
	t->batched += sizeof line - 1;
	httpserver__count(&t->loop->stats.status[1], 1);
	return SENT_ALL;
}

/* ---- streams ---- */

void httpserver__take_part(Turn *t)
{
	Exchange *x = t->c->exchange;

	t->produced = 1;
	x->streamed += x->response->nbytes;
	x->framing.has_body = 1;
	x->nrest = httpresponse__parts(x->response, x->framing, x->rest);
}
