/* SPDX-License-Identifier: MIT */
/* A loop: one thread, its listener, its poll, its connections. Nothing is shared with the other loops but the server's
 * routes and options, which nobody changes any more, and its `stopping`.
 *
 * A tick is: what the kernel has (accept, receive, send on), what workers have finished, and a turn for each
 * connection that had more requests than one turn answers. When stopping was seen the loop drains: it takes in what waits
 * at the listener, closes that, lets go of the idle, and ends when the last connection has. */
#include "config.h"

#include <string.h>

#include "server/rep.h"

enum {
	EVENTS = 64,
	OWN = 3,     /* in the poll: the listener, two timers */
	ACCEPTS = 32 /* in a tick: those who are in come first */
};

/* ---- connections ---- */

static Conn *make_conn(Loop *l, Connection_T connection)
{
	Conn *c = l->spare_conns;

	if (c)
		l->spare_conns = c->next;
	else
		c = ALLOC(l->arena, sizeof *c);
	memset(c, 0, sizeof *c);
	c->loop = l;
	c->socket = Connection_socket(connection);
	c->proxied = httpserver__is_proxy(l->server, c->socket);
	return c;
}

static void spare_conn(Conn *c)
{
	c->next = c->loop->spare_conns;
	c->loop->spare_conns = c;
}

static void count_conns(Loop *l, int more)
{
	l->conns += (size_t)more;
	__atomic_store_n(&l->stats.connections, l->conns, __ATOMIC_RELAXED);
}

void httpserver__forget(Conn *c)
{
	Loop *l = c->loop;

	count_conns(l, -1);
	if (c->name) {
		c->name->next = l->spare_names;
		l->spare_names = c->name;
	}
	if (!c->ready)
		spare_conn(c);
}

void httpserver__make_ready(Conn *c)
{
	Loop *l = c->loop;

	if (c->ready)
		return;
	c->ready = 1;
	c->next = NULL;
	*l->ready_end = c;
	l->ready_end = &c->next;
}

/* ---- doing something for a connection: whatever is raised ends it, and only it ---- */

static void guarded(Conn *c, void (*act)(Conn *))
{
	TRY {
		act(c);
	} ELSE {
		httpserver__drop(c);
	} END_TRY;
}

/* 0: what was raised ends the connection, and with it the body */
static int produce(Conn *c, Exchange *x)
{
	TRY {
		httpserver__produce(x);
	} ELSE {
		httpserver__count(&c->loop->stats.raised, 1);
		httpserver__drop(c);
	} END_TRY;
	return c->phase != GONE;
}

/* What deferred calls of its arena raise comes too late for the response: the connection ends after it. */
static void retire(Conn *c)
{
	TRY {
		httpserver__retire(c);
	} ELSE {
		httpserver__count(&c->loop->stats.raised, 1);
		c->closing = c->unread = 1;
	} END_TRY;
}

/* 1: all of it is out, that of a stream too */
static int sent_all(Conn *c, Exchange *x)
{
	if (x->nrest > 0 && !httpserver__transmit(c, x))
		return 0;
	if (x->stage != ANSWERED || !x->framing.streams || !x->response->more)
		return 1;
	return produce(c, x) && httpserver__transmit(c, x) && !x->response->more;
}

/* While it was sent to, or a worker had it, nobody looked at what came: a close would be a reset for that, and take from
 * the client what of the response it has not read yet. Also the end of the stream is something to read. */
static void look_before_closing(Conn *c)
{
	if (c->phase != GONE && c->closing && !c->unread)
		c->unread = c->held > 0 || socket__wait(c->socket, 0, 0);
}

static void send_on(Conn *c)
{
	Exchange *x = c->exchange;

	if (c->phase == SENDING && sent_all(c, x)) {
		c->phase = READING;
		if (x->stage == ANSWERED)
			retire(c);
		look_before_closing(c);
		if (!c->closing && c->loop->draining && !c->held)
			httpserver__receive(c); /* a request may be there: nobody looked meanwhile */
		httpserver__resume(c);
	} else
		httpserver__settle(c);
}

static void time_out(Conn *c)
{
	Exchange *x = c->exchange;

	httpserver__count(&c->loop->stats.timed_out, 1);
	if (c->phase != READING || !x) {
		httpserver__drop(c);
		return;
	}
	TRY {
		EXCEPT_RAISE_MSG(HTTP_Timeout, "the %s of the request took too long",
			x->stage == HEAD_STAGE ? "head" : "body");
	} ELSE {
		httpserver__refuse(c);
	} END_TRY;
	if (c->phase == GONE)
		return;
	httpserver__flush(c);
	httpserver__settle(c);
}

/* ---- accepting ---- */

static void pause_accepting(Loop *l, int ms)
{
	if (ms < 0)
		return;
	SocketPoll_change(l->poll, l->listener, 0, NULL);
	SocketPoll_set_timer(l->poll, l->resume, ms);
}

static void resume_accepting(void *cl)
{
	Loop *l = cl;

	if (l->listener)
		SocketPoll_change(l->poll, l->listener, SocketPoll_READ, NULL);
}

/* Its request is often there already, and sometimes its end: the kernel is asked to look for more only after that. */
static void welcome(Loop *l, Connection_T connection)
{
	Socket_T s = Connection_socket(connection);
	Conn *volatile c = NULL;
	volatile int added = 0;

	TRY {
		c = make_conn(l, connection);
		Connection_set_data(connection, c);
		SocketPoll_add(l->poll, s, 0, c);
		added = 1;
		count_conns(l, 1);
		httpserver__count(&l->stats.accepted, 1);
		httpserver__receive(c);
		httpserver__settle(c);
	} ELSE {
		if (added)
			httpserver__drop(c);
		else
			SocketPool_close(l->pool, &s);
	} END_TRY;
}

static void count_turned_away(Loop *l)
{
	SocketPool_Stats stats;

	SocketPool_stats(l->pool, &stats);
	__atomic_store_n(&l->stats.turned_away, stats.refused + stats.shed, __ATOMIC_RELAXED);
}

/* 0: no more wait, or none can be taken now. One that was turned away is one, and others may be behind it. */
static int accept_one(Loop *l)
{
	int pause = 0;
	Connection_T connection = SocketPool_accept(l->pool, l->listener, &pause);
	uint64_t turned_away = l->stats.turned_away;

	if (connection)
		welcome(l, connection);
	else {
		count_turned_away(l);
		if (pause)
			pause_accepting(l, pause);
	}
	return connection || (!pause && l->stats.turned_away > turned_away);
}

/* Out of memory: those who wait may wait until somebody has left. */
static int accept_some(Loop *l, int most)
{
	volatile int n = 0;

	TRY {
		while (n < most && accept_one(l))
			n++;
	} ELSE {
		pause_accepting(l, 100);
	} END_TRY;
	return n;
}

/* ---- draining ---- */

static void say_goodbye(Connection_T connection, void *cl)
{
	Conn *c = Connection_data(connection);

	(void)cl;
	if (c && c->phase == READING && !c->exchange && !c->held)
		guarded(c, httpserver__receive); /* a request may be there */
	if (c && c->phase == READING && !c->exchange && !c->held)
		guarded(c, httpserver__settle);
}

static void cut_off(Connection_T connection, void *cl)
{
	Conn *c = Connection_data(connection);

	(void)cl;
	if (c && c->phase != WORKING && c->phase != GONE)
		httpserver__drop(c);
}

/* The end of the drain: only those stay whose handlers are with a worker, and that begins no other. */
static void give_up(void *cl)
{
	Loop *l = cl;

	__atomic_store_n(&l->over, 1, __ATOMIC_RELEASE);
	SocketPool_map(l->pool, cut_off, NULL);
}

static void drain(Loop *l)
{
	l->draining = 1;
	if (l->listener) {
		while (accept_some(l, ACCEPTS) == ACCEPTS)
			;
		SocketPoll_close(l->poll, &l->listener);
	}
	if (l->server->options.drain_ms >= 0)
		SocketPoll_set_timer(l->poll, l->last, l->server->options.drain_ms);
	SocketPool_map(l->pool, say_goodbye, NULL);
}

/* ---- the tick ---- */

/* As many are let in as there are events, so that a lone one costs no accept that finds nothing. */
static void handle_event(Loop *l, const SocketPoll_Event *e, int n)
{
	Conn *c = e->data;

	if (!c)
		accept_some(l, n < ACCEPTS ? n : ACCEPTS);
	else if (e->events & SocketPoll_TIMEOUT)
		guarded(c, time_out);
	else if (e->events & SocketPoll_WRITE)
		guarded(c, send_on);
	else
		guarded(c, httpserver__receive);
}

static void finish_work(Conn *c)
{
	if (c->exchange->abandoned) {
		httpserver__drop(c);
		return;
	}
	c->phase = c->exchange->nrest > 0 ? SENDING : READING;
	TRY {
		httpserver__put(c, c->exchange);
	} ELSE {
		httpserver__refuse(c);
	} END_TRY;
	httpserver__flush(c);
	look_before_closing(c);
	if (c->phase == READING && !c->closing)
		httpserver__resume(c);
	else
		httpserver__settle(c);
}

/* In the order in which they were finished. */
static void take_done(Loop *l)
{
	Exchange *x = __atomic_exchange_n(&l->done, NULL, __ATOMIC_ACQUIRE), *first = NULL;

	while (x) {
		Exchange *next = x->next;

		x->next = first;
		first = x;
		x = next;
	}
	while (first) {
		Conn *c = first->conn;

		first = first->next;
		guarded(c, finish_work);
		if (l->over && c->phase != GONE)
			httpserver__drop(c);
	}
}

static void take_ready(Loop *l)
{
	Conn *c = l->ready;

	l->ready = NULL;
	l->ready_end = &l->ready;
	while (c) {
		Conn *next = c->next;

		c->ready = 0;
		if (c->phase == GONE)
			spare_conn(c);
		else
			guarded(c, httpserver__resume);
		c = next;
	}
}

static void tick(Loop *l)
{
	SocketPoll_Event events[EVENTS];
	int n = SocketPoll_wait(l->poll, events, EVENTS, l->ready ? 0 : -1), i;

	for (i = 0; i < n; i++)
		handle_event(l, &events[i], n);
	take_done(l);
	take_ready(l);
	if (!l->draining && __atomic_load_n(&l->server->stopping, __ATOMIC_ACQUIRE))
		drain(l);
}

/* ---- a loop's life ---- */

/* Its memory is of the loop's own arena: no lock is shared with another loop. */
void httpserver__prepare(Loop *l)
{
	HTTPServer_T server = l->server;
	const HTTPServer_Options *o = &server->options;
	SocketPool_Limits limits = { .per_address = o->per_address };
	Arena_Options arena = { .chunk = 64 * 1024, .name = "loop of an HTTP server", .parent = server->arena };
	SocketPoll_T poll;

	l->arena = Arena_new_with(&arena);
	l->ready_end = &l->ready;
	l->input = Arena_alloc(l->arena, o->pipeline_bytes);
	l->batch = Arena_alloc(l->arena, BATCH);
	l->pool = SocketPool_new(l->arena, l->most, o->pipeline_bytes);
	SocketPool_set_limits(l->pool, &limits);
	poll = SocketPoll_new(l->arena);
	socketpoll__reserve(poll, SocketPool_capacity(l->pool) + OWN);
	SocketPoll_add(poll, l->listener, SocketPoll_READ, NULL);
	l->resume = SocketPoll_timer(poll, resume_accepting, l);
	l->last = SocketPoll_timer(poll, give_up, l);
	__atomic_store_n(&l->poll, poll, __ATOMIC_SEQ_CST);
}

void httpserver__serve(Loop *l)
{
	SocketPoll_Event none;

	TRY {
		if (__atomic_load_n(&l->server->stopping, __ATOMIC_SEQ_CST))
			drain(l);
		while (!l->draining || l->conns > 0)
			tick(l);
		SocketPoll_wait(l->poll, &none, 1, 0); /* closes the last ones */
	} ELSE {
		httpserver__fail(l->server);
	} END_TRY;
}
