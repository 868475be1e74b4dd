/* SPDX-License-Identifier: MIT */
/* What a connection waits for, and how long: one deadline at a time, by its phase. */
#include "config.h"

#include "server/rep.h"

enum { GRACE_MS = 500 }; /* for the first request of a connection that a draining server has just accepted */

static unsigned wanted(const Conn *c)
{
	switch ((Phase)c->phase) {
	case READING: case LINGERING:
		return SocketPoll_READ;
	case SENDING:
		return SocketPoll_WRITE;
	default:
		return 0;
	}
}

/* Slower than the rate, once that long has passed, is too slow: one byte a minute keeps no connection. */
static int until_rate(const Loop *l, int64_t since, int ms, size_t moved)
{
	int64_t left;

	if (ms < 0)
		return -1;
	left = since + ms + (int64_t)((uint64_t)moved * 1000 / (unsigned)l->server->options.body_rate) - socket__now_ms();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static void set_request_deadline(Conn *c, Exchange *x)
{
	Loop *l = c->loop;
	const HTTP_Limits *limits = &l->server->options.limits;

	if (!x->timed)
		x->since = socket__now_ms();
	if (x->stage == HEAD_STAGE && !x->timed)
		SocketPoll_set_deadline(l->poll, c->socket, limits->head_ms);
	else if (x->stage == BODY_STAGE)
		SocketPoll_set_deadline(l->poll, c->socket, until_rate(l, x->since, limits->body_ms, x->taken));
	x->timed = 1;
}

static void set_deadline(Conn *c)
{
	Loop *l = c->loop;
	const HTTPServer_Options *o = &l->server->options;
	const Exchange *x = c->exchange;

	switch ((Phase)c->phase) {
	case READING:
		if (c->exchange)
			set_request_deadline(c, c->exchange);
		else if (c->held) /* requests that wait for us */
			SocketPoll_set_deadline(l->poll, c->socket, -1);
		else
			SocketPoll_set_deadline(l->poll, c->socket, l->draining ? GRACE_MS : o->idle_ms);
		break;
	case SENDING:
		SocketPoll_set_deadline(l->poll, c->socket, until_rate(l, x->since, o->send_ms, x->sent));
		break;
	case LINGERING:
		SocketPoll_set_deadline(l->poll, c->socket, o->linger_ms);
		break;
	default:
		SocketPoll_set_deadline(l->poll, c->socket, -1);
	}
}

/* An idle connection has neither buffer nor exchange. */
static void rest(Conn *c)
{
	Exchange *x = c->exchange;

	if (x && x->stage == HEAD_STAGE && !x->length && !x->nrest)
		httpserver__retire(c);
	if (c->buffered && !c->held) {
		c->buffered = 0;
		Connection_rest(SocketPool_get(c->loop->pool, c->socket));
	}
}

void httpserver__settle(Conn *c)
{
	unsigned events;

	if (c->phase == GONE)
		return;
	if (c->phase == READING && c->closing) {
		httpserver__end(c);
		if (c->phase == GONE)
			return;
	}
	if (c->phase == READING)
		rest(c);
	if (c->phase == READING && c->loop->draining && c->served && !c->exchange && !c->held) {
		httpserver__drop(c);
		return;
	}
	events = wanted(c);
	if (events != c->events)
		SocketPoll_change(c->loop->poll, c->socket, events, c);
	c->events = (unsigned char)events;
	set_deadline(c);
}
