/* SPDX-License-Identifier: MIT */
/* The world of a client's pool: callers that use HTTPCall or check connections out, servers
 * that answer them well or badly, and perhaps a drain. What must hold:
 *
 * - an answer is that to the call, byte by byte;
 * - a call and a checkout end within their time, and say that it is over only then;
 * - who waits for a host is served in the order of coming;
 * - never more connections than the limits allow, in all and to one host, and none to a
 *   host that is held down;
 * - where all servers behave, every call is answered;
 * - when all callers have ended, every connection that the limits allow can be had;
 * - after a drain nothing is given out; at the end no descriptor and no arena is left. */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>
#include "client.h"

enum {
	CALLERS = 6,
	HOSTS = 2,
	PLACES = 4,
	HOLD_MS = 200,
	LONGEST_HOLD = HOLD_MS * 64, /* ms: of a host that fails again and again */
	LATE = 2,
	FIRST_PORT = 81
};

typedef struct Caller {
	int host;
	const int *woken; /* of the condition that it sleeps on */
	int holds;	  /* it checks out itself: calls may, more than once */
	int order;	  /* in which it began to wait in this checkout; 0: it does not */
	int64_t deadline; /* of the checkout */
	int calls;
} Caller;

typedef struct Server { /* the other end of a connection */
	struct Server *next;
	Stream *stream;
	int host;
	Bytes got, answer;
	int used;	     /* checked out before */
	int answering, ends; /* closes behind the answer */
	int64_t quits_at;    /* an idle one, us; -1: never */
} Server;

static const char *const services[HOSTS] = { "81", "82" };
static SocketPool_Limits limits;
static size_t places;
static SocketPool_T pool;
static Caller callers[CALLERS], drainer; /* drainer: calls nothing, but sleeps as they do */
static Server *servers;
static int ncallers, orders, next_id, is_polite, has_faults, running;
static int64_t failed_at[HOSTS], drained_at; /* ms; -1: never */

/* ---- servers ---- */

static void server_step(void *cl);

static void take_request(Server *v)
{
	const char *head, *end, *field;
	size_t length = 0, size, i, all;
	char text[256];
	int id, n;

	if (bytes_length(&v->got) == 0)
		return;
	head = v->got.at + v->got.start;
	end = memmem(head, bytes_length(&v->got), "\r\n\r\n", 4);
	if (!end)
		return;
	field = memmem(head, (size_t)(end - head), "\r\nContent-Length: ", 18);
	if (field)
		length = strtoul(field + 18, NULL, 10);
	all = (size_t)(end - head) + 4 + length;
	if (bytes_length(&v->got) < all)
		return;
	SIM_CHECK(sscanf(head, "GET /%d/%zu HTTP/1.1\r\n", &id, &size) == 2
			|| sscanf(head, "POST /%d/%zu HTTP/1.1\r\n", &id, &size) == 2,
		"no request: %.30s", head);
	for (i = 0; i < length; i++)
		SIM_CHECK(end[4 + i] == body_byte(id, i), "request %d: byte %zu is '%c'", id, i,
			end[4 + i]);
	bytes_take(&v->got, NULL, all);
	v->answering = 1;
	v->ends = sim_chance(15);
	n = snprintf(text, sizeof text,
		"HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nX-Id: %d\r\n%s\r\n", size, id,
		v->ends && (is_polite || sim_chance(50)) ? "Connection: close\r\n" : "");
	bytes_put(&v->answer, text, (size_t)n);
	for (i = 0; i < size; i++) {
		char c = body_byte(id, i);

		bytes_put(&v->answer, &c, 1);
	}
	if (!is_polite && sim_chance(5)) /* a byte too many */
		bytes_put(&v->answer, "x", 1);
	if (!is_polite && sim_chance(5))
		v->answer.end -= 1 + (size_t)sim_below((int)bytes_length(&v->answer) - 1);
}

static void leave(Server *v)
{
	sim_trace("server of stream %d leaves", v->stream->id);
	if (sim_chance(50))
		stream_reset(v->stream);
	else
		stream_end(v->stream);
	v->stream->left = 1;
}

static void answer_some(Server *v)
{
	char part[4096];
	size_t n = sim_chance(50) ? sizeof part : 1 + (size_t)sim_below(100);

	n = bytes_take(&v->answer, part, n);
	stream_push(v->stream, part, n);
	if (bytes_length(&v->answer) > 0)
		return;
	v->answering = 0;
	if (v->ends)
		stream_end(v->stream);
}

static void server_step(void *cl)
{
	Server *v = cl;
	char part[4096];
	size_t n;

	if (v->stream->closed || v->stream->left || !running)
		return;
	while ((n = stream_pull(v->stream, part, sizeof part)) > 0)
		bytes_put(&v->got, part, n);
	if (!v->answering)
		take_request(v);
	if (v->answering && (is_polite || !sim_chance(2)))
		answer_some(v);
	else if (v->answering
		|| (v->quits_at >= 0 && sim_now >= v->quits_at && bytes_length(&v->got) == 0)) {
		leave(v);
		return;
	}
	event_at(sim_now + (sim_chance(70) ? sim_below(3000) : sim_below(100000)), server_step, v);
}

static void come_up(void *cl)
{
	Server *v = cl;

	if (v->stream->closed)
		return;
	sim_trace("stream %d is connected", v->stream->id);
	stream_connect(v->stream, 0);
	server_step(v);
}

static void turn_down(void *cl)
{
	Server *v = cl;

	if (v->stream->closed)
		return;
	sim_trace("stream %d is refused", v->stream->id);
	stream_connect(v->stream, ECONNREFUSED);
	failed_at[v->host] = sim_ms();
}

/* ---- what the kernel tells ---- */

static void on_connecting(Stream *s, int port)
{
	Server *v = sim_alloc(sizeof *v);
	const Server *other;
	size_t here = 1, all = 1;

	v->host = port - FIRST_PORT;
	SIM_CHECK(v->host >= 0 && v->host < HOSTS, "a connection to port %d", port);
	for (other = servers; other; other = other->next)
		if (!other->stream->closed) {
			all++;
			here += other->host == v->host;
		}
	SIM_CHECK(all <= places, "%zu connections of %zu", all, places);
	SIM_CHECK(!limits.per_host || here <= limits.per_host, "%zu connections of %zu to one host",
		here, limits.per_host);
	SIM_CHECK(failed_at[v->host] < 0 || sim_ms() == failed_at[v->host]
			|| sim_ms() >= failed_at[v->host] + limits.hold_ms,
		"a connect %lld ms after one failed", (long long)(sim_ms() - failed_at[v->host]));
	sim_trace("connect: stream %d to host %d", s->id, v->host);
	s->out_room = sim_chance(50) ? 65536 : (size_t)sim_between(100, 3000);
	s->peer = v;
	v->stream = s;
	v->quits_at = sim_chance(30) && !is_polite ? sim_now + sim_below(2000000) : -1;
	v->next = servers;
	servers = v;
	if (!is_polite && sim_chance(10))
		event_at(sim_now + sim_below(50000), turn_down, v);
	else if (is_polite || !sim_chance(3)) /* else nothing ever comes */
		event_at(sim_now + (sim_chance(50) ? 0 : sim_below(50000)), come_up, v);
}

static void on_sleeps(const int *woken)
{
	Caller *c = task_cl();

	c->woken = woken;
	if (woken && !c->order)
		c->order = ++orders;
}

/* ---- callers ---- */

static void be_served(Caller *c, Connection_T connection)
{
	const Stream *s = kernel_stream_at(Socket_fd(Connection_socket(connection)));
	Server *v = s->peer;
	int i;

	SIM_CHECK(!v->used || (bytes_length(&s->in) == 0 && !s->in_ended && !s->broken),
		"stream %d is given out, and has ended", s->id);
	v->used = 1;

	for (i = 0; i < ncallers && c->order; i++) {
		const Caller *o = &callers[i];

		SIM_CHECK(!o->holds || o->host != c->host || !o->order || o->order >= c->order
				|| !o->woken || *o->woken || sim_ms() >= o->deadline,
			"waiter %d was served before waiter %d", c->order, o->order);
	}
	c->order = 0;
	SIM_CHECK(drained_at < 0 || sim_ms() <= drained_at,
		"a connection is given out by a pool that is drained");
}

static void check_time(const Caller *c, int64_t since, int ms, int is_over)
{
	int64_t took = sim_ms() - since;

	SIM_CHECK(took <= ms + LATE, "caller %d: %lld ms of %d", (int)(c - callers),
		(long long)took, ms);
	SIM_CHECK(!is_over || took >= ms, "caller %d: its time is over after %lld of %d ms",
		(int)(c - callers), (long long)took, ms);
}

static void hold_one(Caller *c, int ms)
{
	volatile int64_t since = sim_ms();
	Connection_T volatile connection = NULL;

	c->holds = 1;
	c->deadline = sim_ms() + ms;
	TRY
	{
		connection = SocketPool_checkout(pool, "10.0.0.1", services[c->host], ms);
		be_served(c, connection);
	}
	EXCEPT(Socket_Failed)
	{
		check_time(c, since, ms, Except_errno() == ETIMEDOUT);
		SIM_CHECK(!is_polite || has_faults || Except_errno() == ETIMEDOUT, "checkout: %s",
			Except_message());
	}
	EXCEPT(SocketPool_Failed)
	{
		check_time(c, since, ms,
			Except_errno() == ETIMEDOUT && !strstr(Except_message(), "held down"));
		SIM_CHECK(!is_polite || has_faults || Except_errno() == ETIMEDOUT
				|| (drained_at >= 0 && Except_errno() == ESHUTDOWN),
			"checkout: %s", Except_message());
	}
	ELSE
	{
		SIM_CHECK(has_faults, "checkout: %s", Except_message());
	}
	END_TRY;
	c->order = 0;
	if (!connection)
		return;
	check_time(c, since, ms, 0);
	task_block(NULL, NULL, sim_now + sim_below(100000));
	if (sim_chance(70))
		SocketPool_checkin(pool, connection);
	else
		SocketPool_discard(pool, connection);
}

static void check_answer(HTTPCall_T call, int id, size_t size)
{
	const char *of = HTTPCall_header(call, "X-Id"), *body;
	size_t n, i;

	SIM_CHECK(
		of && atoi(of) == id, "the answer to call %d is that to %s", id, of ? of : "none");
	body = HTTPCall_body(call, &n);
	SIM_CHECK(n == size, "answer %d has %zu bytes, not %zu", id, n, size);
	for (i = 0; i < n; i++)
		SIM_CHECK(
			body[i] == body_byte(id, i), "answer %d: byte %zu is '%c'", id, i, body[i]);
}

static void fill_body(HTTPCall_T call, int id)
{
	int n = sim_below(sim_chance(50) ? 10 : 5000), i;

	for (i = 0; i < n; i++) {
		char c = body_byte(id, (size_t)i);

		HTTPCall_write(call, &c, 1);
	}
}

static void call_one(Caller *c, int ms)
{
	volatile int64_t since = sim_ms();
	int id = next_id++, posts = sim_chance(40);
	size_t size = (size_t)sim_below(sim_chance(50) ? 20 : 5000);
	char target[64];

	AUTO(Arena_T, arena, Arena_dispose) = NULL;
	snprintf(target, sizeof target, "/%d/%zu", id, size);
	c->holds = 0;
	c->deadline = sim_ms() + ms;
	TRY
	{
		HTTPCall_T call;

		arena = Arena_new();
		call = HTTPCall_new(arena, posts ? "POST" : "GET", target);
		HTTPCall_timeout(call, ms);
		if (posts)
			fill_body(call, id);
		since = sim_ms();
		HTTPCall_run(call, pool, "10.0.0.1", services[c->host]);
		check_answer(call, id, size);
		check_time(c, since, ms, 0);
	}
	EXCEPT(HTTP_Gateway_Timeout)
	{
		check_time(c, since, ms, 1);
	}
	EXCEPT(HTTP_Unavailable)
	{
		check_time(c, since, ms, 0);
		SIM_CHECK(!is_polite || has_faults || drained_at >= 0 || sim_ms() >= since + ms,
			"call %d: %s", id, Except_message());
	}
	EXCEPT(HTTP_Bad_Gateway)
	{
		check_time(c, since, ms, 0);
		SIM_CHECK(!is_polite || has_faults || drained_at >= 0, "call %d: %s", id,
			Except_message());
	}
	ELSE
	{
		SIM_CHECK(has_faults, "call %d: %s", id, Except_message());
	}
	END_TRY;
	c->order = 0;
}

/* Checks out all connections to a host that the limits allow. */
static void take_all(int host)
{
	size_t most = limits.per_host && limits.per_host < places ? limits.per_host : places;
	Connection_T volatile taken[PLACES];
	volatile size_t n = 0;

	TRY
	{
		for (; n < most; n++)
			taken[n] = SocketPool_checkout(pool, "10.0.0.1", services[host], 1000);
	}
	EXCEPT(SocketPool_Failed)
	{
		SIM_CHECK(Except_errno() != ETIMEDOUT || strstr(Except_message(), "held down"),
			"all callers have ended, and %zu of %zu connections can be had: %s", n, most,
			Except_message());
	}
	ELSE /* the server */
	{
	}
	END_TRY;
	while (n > 0)
		SocketPool_discard(pool, taken[--n]);
}

/* No place is lost when all callers have ended. */
static void check_places(void)
{
	int i;

	faults = (Faults){ 0 };
	task_block(NULL, NULL, sim_now + LONGEST_HOLD * 1000);
	for (i = 0; i < HOSTS && drained_at < 0; i++)
		take_all(i);
}

static void call_on(void *cl)
{
	Caller *c = cl;
	static const int times[] = { 10, 100, 1000, 5000 };

	while (c->calls-- > 0) {
		c->host = sim_below(HOSTS);
		if (sim_chance(50))
			task_block(
				NULL, NULL, sim_now + sim_below(sim_chance(70) ? 20000 : 2000000));
		if (sim_chance(60))
			call_one(c, sim_between(1, times[sim_below(4)]));
		else
			hold_one(c, sim_between(1, times[sim_below(4)]));
		SIM_CHECK(SocketPool_count(pool) <= places, "%zu connections in the pool",
			SocketPool_count(pool));
	}
	if (running == 1)
		check_places();
	running--;
}

static void drain(void *cl)
{
	int ms = sim_below(500);

	(void)cl;
	task_block(NULL, NULL, sim_now + sim_below(2000000));
	sim_trace("drain");
	drained_at = sim_ms();
	SocketPool_drain(pool, ms);
	SIM_CHECK(sim_ms() <= drained_at + ms + LATE, "a drain of %d ms takes %lld", ms,
		(long long)(sim_ms() - drained_at));
}

/* ---- a run ---- */

static void choose(void)
{
	places = (size_t)sim_between(1, PLACES);
	is_polite = sim_chance(40);
	has_faults = sim_chance(30);
	limits = (SocketPool_Limits){ .hold_ms = sim_between(1, HOLD_MS) };
	if (sim_chance(50))
		limits.per_host = (size_t)sim_between(1, 3);
	if (sim_chance(30))
		limits.max_idle = (size_t)sim_between(1, 3);
	if (sim_chance(30))
		limits.idle_ms = sim_between(1, 500);
	if (sim_chance(30))
		limits.lifetime_ms = sim_between(1, 1000);
	if (sim_chance(30))
		limits.uses = sim_between(1, 5);
	faults.interrupt = sim_chance(50) ? 300 : 0;
	if (!has_faults)
		return;
	faults.alloc = sim_chance(50) ? 50 : 0;
	faults.recv = faults.send = sim_chance(50) ? 100 : 0;
	faults.descriptors = sim_chance(50) ? 200 : 0;
}

static void free_servers(void)
{
	while (servers) {
		Server *v = servers;

		servers = v->next;
		bytes_free(&v->got);
		bytes_free(&v->answer);
		free(v);
	}
}

void simulate_upstream(void)
{
	Arena_T arena;
	int i;

	kernel_reset(64);
	memset(callers, 0, sizeof callers);
	orders = 0;
	next_id = 1;
	failed_at[0] = failed_at[1] = drained_at = -1;
	choose();
	event_grain();
	world = (World){ .connecting = on_connecting, .sleeps = on_sleeps };
	sim_trace("places %zu, per_host %zu, hold_ms %d, %s servers", places, limits.per_host,
		limits.hold_ms, is_polite ? "polite" : "all kinds of");
	kernel_quiet = 1;
	arena = Arena_new();
	pool = SocketPool_new(arena, places, 0);
	SocketPool_set_limits(pool, &limits);
	kernel_quiet = 0;
	running = ncallers = sim_between(1, CALLERS);
	for (i = 0; i < ncallers; i++) {
		callers[i].calls = sim_between(1, 6);
		task_start("caller", call_on, &callers[i]);
	}
	if (sim_chance(20))
		task_start("drain", drain, &drainer);
	task_run_all();
	kernel_quiet = 1;
	Arena_dispose(&arena);
	SIM_CHECK(kernel_descriptors() == 0, "%d descriptors are left", kernel_descriptors());
	free_servers();
}
