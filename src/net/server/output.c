/* SPDX-License-Identifier: MIT */
/* Output. The responses of one turn are put one behind the other into the loop's batch, which one
 * send empties; a large body is not copied there but goes out from its arena, in one call with
 * what is before it. Bytes that the client does not take at once stay in an exchange's rest:
 * nothing more is read until it is out.
 *
 * Invariant: batch[0..t->batched) is for the connection of the turn; between two turns it is
 * empty. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/rep.h"

enum { COPIED = 16 * 1024 }; /* a larger body costs more to copy than another part of a vector */

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

	if (x->nrest > 0) {
		if (send_parts(t, x->rest, x->nrest, &sent) == SENT_NEVER)
			return SENT_NEVER;
		remove_sent(x, sent);
	}
	if (x->nrest == 0)
		return x->framing.sends_file ? httpserver__send_file(t) : SENT_ALL;
	t->full = 1;
	copy_from_batch(t, x);
	return SENT_SOME;
}

/* Bytes that are not taken go to the exchange that there is, which may be of a request that is
 * only beginning, or is made. */
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
	add_part(x, Arena_memdup(x->arena, t->loop->batch + sent, part.iov_len - sent),
		part.iov_len - sent);
	return SENT_SOME;
}

/* ---- responses ---- */

static void put_copied(Turn *t, HTTPResponse_T r, HTTPFraming f)
{
	char *start = t->loop->batch + t->batched, *out = start + httpresponse__put(r, f, start);

	if (f.has_body) {
		memcpy(out, r->message.body, r->message.nbytes);
		out += r->message.nbytes;
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
	size_t bound = httpresponse__bound(x->response);
	size_t body = f.has_body ? x->response->message.nbytes : 0;
	int small = body <= COPIED && bound <= BATCH - COPIED
		&& !f.streams && !f.sends_file && !f.upgrades;

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
	enum { CANNED = 128 };

	if (x->nrest > 0 || (CANNED > BATCH - t->batched && httpserver__flush(t) != SENT_ALL))
		return SENT_NEVER;
	t->batched += (size_t)snprintf(t->loop->batch + t->batched, CANNED,
		"HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		x->status, HTTP_reason(x->status));
	return SENT_ALL;
}

Sent httpserver__queue(Turn *t)
{
	Exchange *x = t->c->exchange;
	unsigned asked = httprequest__asks(&x->reader.parser);
	HTTPResponse_T r;

	if (x->account)
		httpserver__lift_limit(x->account);
	if (x->response && UNLIKELY(x->response->file != NULL))
		httpserver__select_part(x);
	x->answered = 1;
	r = x->response;
	if (!r) {
		x->ends = 1;
		t->c->unread = 1;
		httpserver__account(t->loop, x, x->status, 0);
		return put_canned(t, x);
	}
	if (x->ends || t->loop->draining)
		asked |= HTTP__ENDED;
	x->framing = httpresponse__frame(r, asked);
	x->ends = x->framing.ends;
	if (UNLIKELY(x->ends) && httpparser__keep_alive(&x->reader.parser))
		t->c->unread = 1;
	httpserver__account(t->loop, x, x->framing.upgrades ? 101 : r->status,
		x->framing.has_body ? r->message.nbytes : 0);
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
	x->streamed += x->response->message.nbytes;
	x->framing.has_body = 1;
	x->nrest = httpresponse__parts(x->response, x->framing, x->rest);
}
