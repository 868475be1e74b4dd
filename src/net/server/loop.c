/* SPDX-License-Identifier: MIT */
/* A loop: one thread, its listener, its poll, its connections. Nothing is shared with the other
 * loops but the server's routes and options, which do not change any more, and its `stopping`.
 *
 * A tick takes what the kernel has for the connections, then what other threads have finished. Then
 * each connection that had more requests than one turn answers gets a turn. The clients that wait
 * at the listener come last. A loop that drains does the same, but closes the listener when no
 * client waits there, and its connections as they become idle. It ends with the last of them, or
 * when the drain's time is over: from then on no handler begins.
 *
 * A callback may end the thread amid a tick: what is still to do is in lists of the loop, so that
 * nothing is lost. */
#include "config.h"

#include <limits.h>
#include <string.h>

#include "server/rep.h"

enum {
	EVENTS = 64,
	OWN = 3,     /* in the poll: the listener, two timers */
	/* without memory, or when too much of it is in use: until an accept is tried again */
	PAUSE_MS = 100,
	ACCEPTS = 32 /* in a tick: those who are in come first */
};

/* ---- accepting ---- */

static void pause_accepting(Loop *l, int ms)
{
	if (ms < 0)
		return;
	SocketPoll_change(l->poll, l->listener, 0, NULL);
	SocketPoll_set_timer(l->poll, l->resume, ms);
}

/* A kernel without memory may have some later. */
static void resume_accepting(void *cl)
{
	Loop *l = cl;

	if (!l->listener)
		return;
	TRY {
		SocketPoll_change(l->poll, l->listener, SocketPoll_READ, NULL);
	} EXCEPT(SocketPoll_Failed) {
		SocketPoll_set_timer(l->poll, l->resume, PAUSE_MS);
	} END_TRY;
}

/* The place of the longest idle connection is for one who asks. One that has just asked is not
 * idle. */
static void make_place(Loop *l)
{
	Conn *c = l->idle.first;

	if (l->conns < SocketPool_capacity(l->pool) || !socket__wait(l->listener, 0, 0))
		return;
	while (c && socket__wait(c->socket, 0, 0))
		c = c->next;
	if (c)
		httpserver__advance(l, c, CAUSE_EVICTED);
}

static void count_turned_away(Loop *l)
{
	SocketPool_Stats stats;

	SocketPool_stats(l->pool, &stats);
	__atomic_store_n(&l->stats.turned_away, stats.refused + stats.shed, __ATOMIC_RELAXED);
}

static void open_connection(Loop *l, Connection_T connection)
{
	Socket_T s = Connection_socket(connection);

	TRY {
		httpserver__open(l, connection);
	} ELSE {
		SocketPool_close(l->pool, &s);
	} END_TRY;
}

/* Returns 0 if no client waits any more, or none can be taken now. One that was turned away is
 * one, and others may be behind it. */
static int accept_one(Loop *l, int *pause)
{
	uint64_t turned_away = l->stats.turned_away;
	Connection_T connection;

	make_place(l);
	connection = SocketPool_accept(l->pool, l->listener, pause);
	if (connection)
		open_connection(l, connection);
	else
		count_turned_away(l);
	return connection || (!*pause && l->stats.turned_away > turned_away);
}

/* Returns 0 if no client waits any more. Without memory, waiting clients may wait until another
 * has left. */
static int accept_some(Loop *l, int most)
{
	volatile int n = 0;
	int pause = 0;

	PROTECT(pause);
	if (httpserver__is_crowded(l)) {
		pause_accepting(l, PAUSE_MS);
		return 1;
	}
	TRY {
		while (n < most && accept_one(l, &pause))
			n++;
	} ELSE {
		pause = PAUSE_MS;
	} END_TRY;
	if (pause)
		pause_accepting(l, pause);
	return n == most || pause;
}

/* ---- draining ---- */

static void drain_connection(Connection_T connection, void *cl)
{
	Conn *c = Connection_data(connection);

	if (c && c->socket)
		httpserver__advance(cl, c, CAUSE_DRAIN);
}

/* Only those stay whose handlers are with a worker, and that begins no other. */
static void end_drain(void *cl)
{
	Loop *l = cl;

	if (l->listener)
		SocketPoll_close(l->poll, &l->listener);
	SocketPool_map(l->pool, drain_connection, l);
}

/* The time is running since stop was called. */
static void begin_drain(Loop *l)
{
	int64_t end = __atomic_load_n(&l->server->drain_end, __ATOMIC_RELAXED);
	int64_t ms = end - socket__now_ms();

	l->draining = 1;
	if (end != SOCKET__NEVER)
		SocketPoll_set_timer(l->poll, l->last, ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms);
	SocketPool_map(l->pool, drain_connection, l);
}

static void drain_listener(Loop *l)
{
	if (!accept_some(l, ACCEPTS))
		SocketPoll_close(l->poll, &l->listener);
}

/* ---- the tick ---- */

/* Deadlines first: one that has passed was set before what else there is of the same connection
 * in this tick, which sets another. Returns 1 if somebody waits at the listener. */
static int take_events(Loop *l, const SocketPoll_Event *events, int n)
{
	int i, knocks = 0;

	for (i = 0; i < n; i++)
		if (events[i].events & SocketPoll_TIMEOUT)
			httpserver__advance(l, events[i].data, CAUSE_DEADLINE);
	for (i = 0; i < n; i++) {
		Conn *c = events[i].data;

		if (!c)
			knocks = 1;
		else if (c->socket && !(events[i].events & SocketPoll_TIMEOUT))
			httpserver__advance(l, c,
				events[i].events & SocketPoll_WRITE ? CAUSE_WRITABLE : CAUSE_READABLE);
	}
	return knocks;
}

/* It goes off the list when its log is written, which may end the thread: once it was. */
static void take_gone(Loop *l, Exchange *x)
{
	TRY {
		httpserver__log_gone(x);
		httpserver__count(&l->stats.raised, x->dropped);
		x->dropped = 0;
		l->finished = x->next;
		httpserver__recycle(x);
	} ELSE {
		httpserver__count(&l->stats.raised, 1);
	} END_TRY;
}

/* In the order in which they were finished. Later ones have woken the poll: their turn is in the
 * next tick. */
static void take_finished(Loop *l)
{
	Exchange *x;

	if (!l->finished && __atomic_load_n(&l->handed_back, __ATOMIC_RELAXED))
		l->finished = httpserver__take_back(l, NULL);
	while ((x = l->finished) != NULL)
		if (!x->conn)
			take_gone(l, x);
		else {
			l->finished = x->next;
			httpserver__advance(l, x->conn, CAUSE_FINISHED);
		}
}

/* Connections that are listed meanwhile have their turn in the next tick. */
static void take_ready(Loop *l)
{
	Conn *last = l->ready.last, *c = NULL;

	while (c != last) {
		c = l->ready.first;
		l->ready.first = c->next;
		if (!c->next)
			l->ready.last = NULL;
		c->ready = 0;
		if (c->socket)
			httpserver__advance(l, c, CAUSE_RESUMED);
		else {
			c->next = l->spare_conns;
			l->spare_conns = c;
		}
	}
}

/* The clock is exact to a tick of the system's timer, which is longer than most turns: a sum of
 * many is right. */
static void count_time(Loop *l, uint64_t *counter)
{
	int64_t now = socket__now_coarse();

	httpserver__count(counter, (uint64_t)(now - l->counted));
	l->counted = now;
}

/* As many are let in as there are events, so that a lone one costs no accept that finds nothing. */
static void run_tick(Loop *l)
{
	SocketPoll_Event events[EVENTS];
	int n, knocks;

	count_time(l, &l->stats.busy_ms);
	n = SocketPoll_wait(l->poll, events, EVENTS, l->ready.first || l->finished ? 0 : -1);
	count_time(l, &l->stats.idle_ms);
	knocks = take_events(l, events, n);
	take_finished(l);
	take_ready(l);
	if (!l->draining && __atomic_load_n(&l->server->stopping, __ATOMIC_ACQUIRE))
		begin_drain(l);
	if (l->listener && l->draining)
		drain_listener(l);
	else if (l->listener && knocks)
		accept_some(l, n < ACCEPTS ? n : ACCEPTS);
}

/* ---- a loop's life ---- */

/* Its memory is of the loop's own arena: no lock is shared with another loop. */
void httpserver__prepare(Loop *l)
{
	HTTPServer_T server = l->server;
	const HTTPServer_Options *o = &server->options;
	SocketPool_Limits limits = { .per_address = o->per_address };
	Arena_Options arena = {
		.chunk = 64 * 1024, .name = "loop of an HTTP server", .parent = server->arena
	};
	SocketPoll_T poll;

	httpserver__watch_forks();
	l->arena = Arena_new_with(&arena);
	l->input = Arena_alloc(l->arena, o->pipeline_bytes);
	l->batch = Arena_alloc(l->arena, BATCH);
	l->pool = SocketPool_new(l->arena, l->most, o->pipeline_bytes);
	SocketPool_set_limits(l->pool, &limits);
	poll = SocketPoll_new(l->arena);
	socketpoll__reserve(poll, SocketPool_capacity(l->pool) + OWN);
	SocketPoll_add(poll, l->listener, SocketPoll_READ, NULL);
	l->resume = SocketPoll_timer(poll, resume_accepting, l);
	l->last = SocketPoll_timer(poll, end_drain, l);
	__atomic_store_n(&l->poll, poll, __ATOMIC_SEQ_CST);
}

void httpserver__serve(Loop *l)
{
	SocketPoll_Event none;

	l->forks = httpserver__forks;
	l->counted = socket__now_coarse();
	if (__atomic_load_n(&l->server->stopping, __ATOMIC_SEQ_CST))
		SocketPoll_wake(l->poll);
	while (!l->draining || l->listener || l->conns > 0)
		run_tick(l);
	/* one that is due would end the wait before it closes the last ones */
	SocketPoll_set_timer(l->poll, l->last, -1);
	SocketPoll_set_timer(l->poll, l->resume, -1);
	SocketPoll_wait(l->poll, &none, 1, 0);
}

/* One that was left in the middle, by a cancellation or by a handler that ended the thread, has
 * connections. */
static void close_connection(Connection_T connection, void *cl)
{
	Loop *l = cl;
	Conn *c = Connection_data(connection);
	Socket_T s = Connection_socket(connection);
	Exchange *x = c && c->socket ? c->exchange : NULL;

	if (x) {
		c->exchange = NULL;
		TRY {
			httpserver__abandon(x);
		} ELSE {
			httpserver__count(&l->stats.raised, 1);
		} END_TRY;
	}
	SocketPool_close(l->pool, &s);
}

void httpserver__end_loop(Loop *l)
{
	Exchange *x;

	SocketPool_map(l->pool, close_connection, l);
	while ((x = l->finished) != NULL
			|| (x = l->finished = httpserver__take_back(l, HTTPSERVER__CLOSED)) != NULL)
		take_gone(l, x);
}
