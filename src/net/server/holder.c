/* SPDX-License-Identifier: MIT */
/* The holder of an exchange: the loop, a worker, or the program, which has suspended the response.
 * This file gives the functions of a route to workers. It takes up their results when they have
 * returned, and have been resumed if they had suspended the response. */
#include "config.h"

#include "server/rep.h"

/* ---- holders ---- */

static void set_holder(Exchange *x, Holder holder)
{
	size_t *n = &x->loop->stats.suspended;

	__atomic_store_n(n, *n + (holder == HOLDER_PROGRAM) - (x->holder == HOLDER_PROGRAM),
		__ATOMIC_RELAXED);
	x->holder = (unsigned char)holder;
}

/* Its client is gone, and the program has it still. */
static void leave_to_program(Exchange *x)
{
	set_holder(x, HOLDER_LOOP);
	x->conn = NULL;
}

/* If a suspended exchange was parked and has been resumed already, it is on the list of exchanges
 * that were handed back. */
void httpserver__abandon(Exchange *x)
{
	int parked = x->holder == HOLDER_PROGRAM;

	if (httpserver__is_suspended(x) && (httpserver__leave(x) || parked))
		leave_to_program(x);
	else {
		httpserver__log_stream(x);
		httpserver__recycle(x);
	}
}

/* ---- answers, and what stays of them ---- */

/* The response is there, before all of the request was read; the connection ends with it. */
void httpserver__end_request(Turn *t)
{
	t->c->exchange->made = t->c->exchange->ends = 1;
	t->c->unread = 1;
	t->c->input = INPUT_HANDLING;
}

/* The response to what cannot be handled. */
void httpserver__refuse(Turn *t, int status, const char *text)
{
	httpserver__count(&t->loop->stats.refused, 1);
	httpserver__answer(t->c->exchange, status, text);
	httpserver__end_request(t);
}

/* ---- giving up ---- */

/* The bytes of earlier responses that the client has not taken yet. */
static void move_rest(Exchange *from, Exchange *to)
{
	while (to->nrest < from->nrest) {
		const struct iovec *part = &from->rest[to->nrest];

		to->rest[to->nrest] = (struct iovec){
			Arena_memdup(to->arena, part->iov_base, part->iov_len), part->iov_len
		};
		to->nrest++;
	}
}

/* Answers in place of the program, which has the exchange; the connection ends with that. Returns 0
 * if the exchange was resumed before us. */
int httpserver__give_up(Turn *t, int status, const char *text)
{
	Conn *c = t->c;
	Exchange *x = c->exchange, *ours;

	if (!httpserver__leave(x))
		return 0;
	x->status = (unsigned short)status;
	x->verdict = text;
	if (c->output == OUTPUT_SUSPENDED)
		return !(t->dies = 1);
	leave_to_program(x);
	c->exchange = NULL;
	c->input = INPUT_HANDLING;
	ours = httpserver__begin(t);
	ours->silent = ours->made = ours->ends = 1;
	ours->reader.parser = x->reader.parser;
	move_rest(x, ours);
	httpserver__answer(ours, status, text);
	c->unread = 1;
	return 1;
}

/* The drain's end comes to those who wait, too. */
int httpserver__wait_for_holder(Turn *t)
{
	return httpserver__is_held_by(t->c, HOLDER_PROGRAM) && httpserver__is_over(t->loop)
		&& httpserver__give_up(t, 503, "the server stops");
}

/* ---- calls ---- */

/* Too many wait for a worker. The connection goes on if all of the request was read. */
static void refuse_work(Turn *t, Call call)
{
	Exchange *x = t->c->exchange;

	httpserver__count(&t->loop->stats.refused, 1);
	httpserver__answer(x, 503, "too many requests wait for a worker");
	x->made = 1;
	t->c->input = INPUT_HANDLING;
	if (call != CALL_HANDLER)
		httpserver__end_request(t);
}

/* Has a worker call a function of the route. Returns 0 if the client takes nothing any more. */
int httpserver__call_in_worker(Turn *t, Call call)
{
	Conn *c = t->c;
	Exchange *x = c->exchange;
	int is_first = x->call == CALL_NONE && !x->admitted;

	httpserver__take_sent(t, httpserver__flush(t));
	if (t->dies)
		return 0;
	if (!httpserver__give_work(x, call, is_first))
		refuse_work(t, call);
	else if (call == CALL_MORE)
		c->output = OUTPUT_SUSPENDED;
	else
		c->input = INPUT_SUSPENDED;
	return 1;
}

/* Returns 1 if the head asks for 100 Continue and no part of the body came unasked (RFC 9110,
 * 10.1.1). */
static int awaits_invitation(const Turn *t)
{
	return t->used == t->n && t->c->held == 0 && httpreader__awaits(&t->c->exchange->reader);
}

/* The input behind the head that `before` has let in. */
void httpserver__admit(Turn *t)
{
	Conn *c = t->c;
	Exchange *x = c->exchange;

	c->input = INPUT_BODY;
	if (awaits_invitation(t) && x->route)
		httpserver__take_sent(t, httpserver__invite(t));
	else if (awaits_invitation(t)) { /* a request that no route takes is answered at once */
		x->ends = c->unread = 1;
		c->input = INPUT_HANDLING;
	}
}

static void cut_stream(Turn *t)
{
	httpserver__count(&t->loop->stats.raised, 1);
	t->dies = 1;
}

/* A function of the route has returned, and was resumed if it had suspended the response. Returns 0
 * if the connection has to wait. */
static int take_up(Turn *t)
{
	Conn *c = t->c;
	Exchange *x = c->exchange;

	if (x->call == CALL_MORE) {
		c->output = OUTPUT_STREAMING;
		if (x->failed)
			cut_stream(t);
		return 1;
	}
	if (x->failed && x->route->is.blocks)
		return httpserver__call_in_worker(t, (Call)x->call);
	if (x->failed) {
		httpserver__answer_failure(x);
		x->made = 1;
	}
	if (x->call == CALL_HANDLER) {
		x->made = 1;
		c->input = INPUT_HANDLING;
	} else if (x->made) {
		httpserver__count(&t->loop->stats.refused, x->call == CALL_BODY);
		httpserver__end_request(t);
	} else if (x->call == CALL_BODY)
		c->input = INPUT_BODY;
	else
		httpserver__admit(t);
	return 1;
}

int httpserver__go_on(Turn *t)
{
	set_holder(t->c->exchange, HOLDER_LOOP);
	httpserver__unpark(t->c->exchange);
	return take_up(t);
}

/* The exchange is the program's. Returns 0, unless it was resumed already. */
int httpserver__suspend(Turn *t)
{
	Exchange *x = t->c->exchange;

	set_holder(x, HOLDER_PROGRAM);
	return !httpserver__park(x) && httpserver__go_on(t);
}

/* `more` has returned. Its output goes out. After that the exchange is the program's if `more` has
 * suspended the response. */
static void finish_part(Turn *t)
{
	t->c->output = OUTPUT_STREAMING;
	if (t->c->exchange->cut)
		cut_stream(t);
	else
		httpserver__take_part(t);
}

/* A function of the route has returned. Returns 0 if its exchange is the program's now. */
int httpserver__finish_call(Turn *t)
{
	Exchange *x = t->c->exchange;

	x->holder = HOLDER_LOOP;
	if (x->dropped)
		httpserver__count(&t->loop->stats.raised, 1);
	x->dropped = 0;
	t->dies |= x->abandoned;
	if (x->call == CALL_MORE) {
		finish_part(t);
		return 1;
	}
	if (httpserver__is_suspended(x)) {
		t->c->input = INPUT_SUSPENDED;
		return httpserver__suspend(t);
	}
	return take_up(t);
}
