/* SPDX-License-Identifier: MIT */
/* The world of a server: one loop, scripted clients, a stop, and the program. The checks compare
 * what the kernel and the clients see with a model of our own:
 *
 * - each request is answered once, in order, or its connection ended for a reason that is named;
 * - no byte of one connection reaches another;
 * - no deadline is early or late by a millisecond (the clock's has begun);
 * - places, descriptors, arenas and the statistics add up;
 * - whoever waits at the door is let in, if need be in the place of the longest idle;
 * - from the end of the drain on no handler begins, and run returns. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <core/core.h>
#include "server.h"

enum { CLIENTS = 10, ROOM_MS = 150 };

HTTPServer_Options options;
HTTPServer_T server;
Client *clients;
static int nclients, next_id, has_faults, few; /* few: descriptors */
static int is_tight; /* memory is limited, and requests meet the limit */
int64_t stopped_at, drain_seen;
int64_t spent, turn_began;
static int has_blocked; /* when the server last waited */
static int faulty_tick;	   /* a call that is no stream's failed since the server last waited */
static int64_t full_until; /* ms: when all places were taken last */
static size_t received, sent;
static int64_t evicted_since; /* ms: the latest of those that had to go in this tick; -1: none */
static int crowds;	      /* connections that came in this tick into the places of others */

/* ---- whenever the server waits ---- */

static size_t count_open(void)
{
	const Client *c;
	size_t n = 0;

	for (c = clients; c; c = c->next)
		n += (size_t)c->open;
	return n;
}

/* Sockets that left the server and are not closed. */
static int taken_over(void)
{
	const Client *c;
	int n = 0;

	for (c = clients; c; c = c->next)
		n += c->upgraded && !c->stream->closed;
	return n;
}

static int count_suspended(void)
{
	const Client *c;
	int n = 0, i;

	for (c = clients; c; c = c->next)
		for (i = c->answered; c->open && i < c->nrequests; i++)
			n += request_is_held(&c->requests[i]) && !request_is_gone(&c->requests[i])
				&& (c->requests[i].suspended_in != IN_MORE || c->phase != PHASE_SEND);
	return n;
}

/* Answers that the program holds are counted, and bytes of requests are booked. */
static void check_program(const HTTPServer_Stats *stats)
{
	if (program_acts() || kernel_busy_threads() > 0 || faults.threads)
		return;
	SIM_CHECK(stats->queued == 0, "%zu requests are queued, and all workers wait",
		stats->queued);
	SIM_CHECK(stats->suspended == (size_t)count_suspended() || sim_ms() >= drain_end(),
		"%zu answers are counted as suspended, not %d", stats->suspended, count_suspended());
	SIM_CHECK(count_open() > 0 || program_holds() > 0 || inside_booked(server) == 0,
		"%zu bytes of no request are booked", inside_booked(server));
}

static void check_sums(void)
{
	int descriptors = kernel_descriptors() - kernel_listens() - (int)count_open();
	HTTPServer_Stats stats;

	HTTPServer_stats(server, &stats);
	SIM_CHECK(stats.connections == count_open(),
		"%zu connections are counted, and %zu are open", stats.connections, count_open());
	descriptors -= taken_over();
	SIM_CHECK(descriptors == 2 || descriptors == 3,
		"%d descriptors beside listener and connections", descriptors);
	SIM_CHECK(count_open() <= options.connections, "%zu connections are open", count_open());
	SIM_CHECK(stats.received == received, "%llu bytes counted, %zu received",
		(unsigned long long)stats.received, received);
	SIM_CHECK(stats.sent == sent, "%llu bytes counted, %zu sent",
		(unsigned long long)stats.sent, sent);
	SIM_CHECK(Arena_debug_live_count()
			<= 2 + options.connections + 64 + (size_t)program_holds(),
		"%zu arenas", Arena_debug_live_count());
	check_program(&stats);
}

static void check_door(void)
{
	const Client *c;
	int64_t since = kernel_waiting_since() / 1000;

	if (count_open() == options.connections)
		full_until = sim_ms();
	else if (since < full_until)
		since = full_until;
	if (has_faults || few || is_tight || kernel_waiting_since() < 0 || sim_ms() <= since + ROOM_MS)
		return;
	SIM_CHECK(count_open() == options.connections,
		"a place is free, and somebody waits for %lld ms", (long long)(sim_ms() - since));
	for (c = clients; c; c = c->next)
		SIM_CHECK(!c->open || c->phase != PHASE_IDLE || sim_ms() <= c->since_high + ROOM_MS,
			"stream %d is idle, and somebody waits for its place for %lld ms",
			c->stream->id, (long long)(sim_ms() - since));
}

/* A function of the program that has begun in a worker is waited for. */
static int work_ms(void)
{
	return program_runs ? WORK_MS : 0;
}

/* Checks that no request is forgotten, and that gone is true for the program when it should. */
static void check_work(const Client *c)
{
	const Request *r = &c->requests[c->answered];

	SIM_CHECK(c->phase != PHASE_NONE || c->got < r->end || program_acts() || inside_wakers() > 0,
		"request %d is there, and the server waits", r->id);
	SIM_CHECK(c->phase != PHASE_WORK || kernel_busy_threads() > 0 || program_acts()
			|| faults.threads,
		"request %d is for a worker, and all of them wait", r->id);
	SIM_CHECK(c->phase != PHASE_SUSPEND || program_acts()
			|| request_is_gone(c->phase_of) == (sim_ms() >= drain_end()),
		"request %d is gone for its program, and not for the server", c->phase_of->id);
}

static int64_t latest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void check_deadlines(void)
{
	const Client *c, *who = NULL;
	int64_t low, high, first = sim_ms() < drain_end() ? drain_end() : INT64_MAX;

	for (c = clients; c; c = c->next) {
		if (!c->open)
			continue;
		check_work(c);
		SIM_CHECK(!is_late(c),
			"stream %d: the deadline of phase %d has passed (since %lld to %lld)",
			c->stream->id, (int)c->phase, (long long)c->since_low,
			(long long)c->since_high);
		deadlines(c, &low, &high);
		if (high < first) {
			first = high;
			who = c;
		}
	}
	SIM_CHECK(first == INT64_MAX || faults.interrupt
			|| program_acts()
			|| (kernel_wake_at() >= 0
				&& kernel_wake_at() / 1000 <= latest(first, sim_ms()) + LATE),
		"the server sleeps until %lld, past a deadline at %lld (stream %d, phase %d)",
		(long long)kernel_wake_at() / 1000, (long long)first, who ? who->stream->id : 0,
		who ? (int)who->phase : 0);
	SIM_CHECK(drain_end() == INT64_MAX || sim_ms() <= drain_end() + LATE + spent + work_ms(),
		"the drain has no end");
}

/* Nobody stays who was idle for longer than one that had to go. */
static void check_evicted(const Client *c)
{
	SIM_CHECK(evicted_since < 0 || c->phase != PHASE_IDLE || c->got != c->phase_got
			|| bytes_length(&c->stream->in) > 0 || c->stream->in_ended
			|| c->since_high >= evicted_since,
		"stream %d is idle since %lld, and one had to go that is since %lld", c->stream->id,
		(long long)c->since_high, (long long)evicted_since);
}

/* Without a thread it drains, which takes time. */
static int may_fail_to_run(void)
{
	return has_faults && (sim_now == 0 || faults.threads);
}

/* The drain begins. What was spent of the time of a body may be forgotten. */
static void renew_clock(Client *c)
{
	if (!c->open)
		return;
	c->phase = PHASE_NONE;
	c->body_spent.low = 0;
}

static void note_stop(void)
{
	if (stopped_at >= 0)
		return;
	stopped_at = sim_ms();
	spent = 0;
}

/* Without a thread, or without memory when it begins, it stops by itself. */
static void look_for_stop(void)
{
	if (stopped_at >= 0 || !HTTPServer_stopping(server))
		return;
	SIM_CHECK(may_fail_to_run(), "the server stops by itself");
	note_stop();
}

/* The program's tasks run amid a turn. So what the server waits for is seen only when all that has
 * happened was dealt with. */
static void observe_all(int blocks)
{
	Client *c;

	if (has_blocked || !program_runs)
		turn_began = kernel_tick_began;
	has_blocked = blocks;
	if (program_runs && !blocks)
		return;
	look_for_stop();
	if (drain_seen < 0 && inside_drains(server)) {
		drain_seen = sim_ms();
		for (c = clients; c; c = c->next)
			renew_clock(c);
	}
	for (c = clients; c; c = c->next)
		if (c->open) {
			check_evicted(c);
			observe(c);
		}
}

static void look_at_all(int blocks)
{
	Client *c;

	observe_all(blocks);
	if (blocks) {
		check_deadlines();
		check_sums();
		check_door();
	}
	for (c = clients; c && faulty_tick; c = c->next) /* what waits may be of the fault */
		c->excused |= c->open && (kernel_events_of(c->stream) & EPOLLOUT);
	if (program_runs && !blocks)
		return;
	faulty_tick = crowds = 0;
	evicted_since = -1;
}

/* No other task runs while the checks look. */
static void on_waits(int blocks)
{
	int yields = kernel_yields;

	kernel_yields = 0;
	look_at_all(blocks);
	kernel_yields = yields;
}

/* ---- what the kernel tells ---- */

static void on_received(Stream *s, size_t n)
{
	Client *c = s->peer;

	if (c->upgraded)
		return;
	c->got += n;
	received += c->shut ? 0 : n; /* what a lingering client sends is not counted */
	c->got_end |= n == 0;
}

static void on_sent(Stream *s, const char *bytes, size_t n, size_t wanted)
{
	Client *c = s->peer;

	sent += c->upgraded ? 0 : n;
	c->sent_now += n;
	if (c->was_all || n == wanted) { /* what comes next starts the clock anew */
		c->again = sim_ms();
		c->anew = 1;
	}
	c->was_all = n == wanted;
	client_heard(c, bytes, n);
}

static void on_accepted(Stream *s)
{
	Client *c = s->peer;

	crowds += count_open() >= options.connections;
	c->open = 1;
}

static void on_failed(Stream *s, const char *call)
{
	Client *c = s ? s->peer : NULL;

	(void)call;
	if (c)
		c->excused = 1;
	else
		faulty_tick = 1;
	for (c = clients; c && program_runs && !s; c = c->next) /* it may be felt later */
		c->excused = 1;
}

static int is_spoilt(const Client *c)
{
	return c->excused || faulty_tick || is_tight || c->stream->left;
}

static int is_drain_over(void)
{
	return stopped_at >= 0 && sim_ms() >= drain_end();
}

int client_is_excused(const Client *c)
{
	return is_spoilt(c) || is_drain_over();
}

void client_response_begins(Client *c)
{
	c->may_time_out = c->phase == PHASE_UNSURE
		|| ((c->phase == PHASE_HEAD || c->phase == PHASE_BODY) && is_due(c));
}

/* The answer took too long, and the program can know that. */
static void check_given_up(const Request *r)
{
	SIM_CHECK(r->until != INT64_MAX && r->suspended_in != IN_MORE && sim_ms() >= r->until,
		"request %d was answered 504 before its time", r->id);
	SIM_CHECK(r->held || r->resumed_at >= r->until,
		"request %d was answered 504, and it was resumed in time", r->id);
	SIM_CHECK(!r->held || program_acts() || request_is_gone(r),
		"request %d was answered 504, and is not gone for its program", r->id);
}

/* A refusal, instead of the answer that the request would have. */
void client_check_refusal(Client *c, int status)
{
	const Request *r = &c->requests[c->answered];

	if (client_is_excused(c) || r->contested)
		return;
	if (status == 504) {
		check_given_up(r);
		return;
	}
	if (status == 503) {
		SIM_CHECK(r->blocks && (options.queue > 0 || faults.threads),
			"request %d was answered 503", r->id);
		return;
	}
	if (status == 408) {
		SIM_CHECK(c->may_time_out,
			"stream %d, request %d: 408 before its time (phase %d since %lld)",
			c->stream->id, r->id, (int)c->phase, (long long)c->since_low);
		return;
	}
	SIM_CHECK(status == 400 && c->got_end && c->got < r->end,
		"request %d was answered %d, not %d", r->id, status, r->status);
}

/* Those that had to go in this tick are closed together when it ends. */
static void note_eviction(const Client *c)
{
	SIM_CHECK(crowds > 0 || ((has_faults || few) && kernel_backlog() > 0),
		"stream %d was closed without a reason", c->stream->id);
	crowds -= crowds > 0;
	if (c->since_low > evicted_since)
		evicted_since = c->since_low;
}

/* It has said that it sends no more, and may have sent more. */
static int asked_to_end(const Client *c)
{
	return c->answered > 0 && c->requests[c->answered - 1].kind == KIND_CLOSE;
}

/* Input that comes amid a turn may be too late for it. */
static int has_read_all(const Client *c)
{
	return bytes_length(&c->stream->in) == 0
		|| (program_runs && c->pushed_at >= turn_began);
}

/* The server had reason to take it for idle: the turn has received once, and only empty lines. A
 * short recv is as if the rest came after it. */
static int seems_idle(const Client *c)
{
	return has_read_all(c) || (c->got > c->phase_got && c->answered < c->nrequests
			&& c->got <= c->requests[c->answered].begin);
}

/* The program had the answer, since the server last waited. */
static int was_suspended(const Client *c)
{
	const Request *r = &c->requests[c->answered];

	return c->phase == PHASE_SUSPEND || (c->answered < c->nrequests
			&& (r->held || r->resumed_at >= turn_began / 1000));
}

/* Its stream was broken off: by the program, or as it took too long to go on. */
static int is_cut(const Client *c)
{
	const Request *r = &c->requests[c->answered];

	if (c->answered == c->nrequests || r->suspended_in != IN_MORE)
		return 0;
	return r->cut || (sim_ms() >= r->until && (r->held || r->resumed_at >= r->until));
}

/* All that was answered is out, and a stream's part may not be. */
static int waits_for_worker(const Client *c)
{
	const Request *r = &c->requests[c->answered];

	return c->was_all && c->answered < client_whole(c) && r->blocks && r->kind != KIND_STREAM;
}

/* The program had the answer when the server last waited, and still has it. No other is ahead. */
static int is_left_to_program(const Client *c)
{
	const Request *r = c->phase_of;

	return c->phase == PHASE_SUSPEND && r == &c->requests[c->phase_answered]
		&& r->suspended_in != IN_MORE && request_is_held(r) && !program_acts();
}

/* The drain's end answers what the program has. The client need not take all of that. */
static void check_drained(const Client *c)
{
	SIM_CHECK(!is_left_to_program(c) || c->stream->in_ended || c->answered > c->phase_answered
			|| bytes_length(&c->sent) > 0 || c->offered,
		"request %d is suspended, and the end of the drain does not answer it",
		c->phase_of->id);
}

/* Why was it closed? */
static void check_end(Client *c)
{
	const Stream *s = c->stream;

	if (is_spoilt(c) || s->broken)
		return;
	if (is_drain_over()) {
		check_drained(c);
		return;
	}
	if (is_cut(c))
		return;
	if (c->phase == PHASE_UNSURE) {
		SIM_CHECK(!waits_for_worker(c) || c->got_end || c->closing,
			"stream %d is closed, and a worker has its request", s->id);
		return;
	}
	if (c->got_end) {
		SIM_CHECK(c->answered >= client_whole(c) || c->closing || is_due(c)
				|| was_suspended(c),
			"stream %d ended, and %d of %d requests were answered", s->id, c->answered,
			client_whole(c));
		return;
	}
	if (c->closing) {
		SIM_CHECK(has_read_all(c) || asked_to_end(c)
				|| (c->phase == PHASE_LINGER && is_due(c)),
			"stream %d is closed with input that was not read", s->id);
		return;
	}
	if (is_due(c)) {
		SIM_CHECK(c->phase != PHASE_IDLE || seems_idle(c),
			"stream %d is closed as idle, and has asked", s->id);
		return;
	}
	SIM_CHECK(c->phase == PHASE_IDLE || (c->phase == PHASE_NONE && c->got == 0)
			|| c->answered == client_whole(c),
		"stream %d is closed in phase %d (since %lld), without a reason", s->id,
		(int)c->phase, (long long)c->since_low);
	SIM_CHECK(seems_idle(c), "stream %d is closed as idle, and has asked", s->id);
	if (stopped_at < 0)
		note_eviction(c);
}

static void on_ended(Stream *s)
{
	Client *c = s->peer;

	if (!s->closed) {
		c->shut = 1;
		c->excused |= faulty_tick;
		return;
	}
	if (!c->open)
		return;
	sim_trace("stream %d: phase %d", s->id, (int)c->phase);
	check_end(c);
	c->open = 0;
	c->closed = 1;
}

/* ---- clients ---- */

static int64_t pause_of(const Client *c)
{
	switch (c->manner) {
	case SLOW:
		return sim_between(0, 400000);
	case DRIPPING:
		return sim_between(0, 60000);
	default:
		return sim_chance(50) ? sim_below(200) : sim_below(20000);
	}
}

static size_t part_to_push(const Client *c)
{
	size_t left = c->stops_at - c->pushed;

	if (left == 0 || c->manner == DRIPPING)
		return left ? 1 + (size_t)sim_below(3) : 0;
	return sim_chance(50) ? left : 1 + (size_t)sim_below((int)left);
}

/* It waits for 100 Continue where it asked for that, most of the time. */
static int awaits_invitation(const Client *c)
{
	int i;

	for (i = 0; i < c->nrequests; i++)
		if (c->requests[i].kind == KIND_EXPECT && c->pushed == c->requests[i].head_end)
			return c->answered <= i && !c->invited && sim_chance(90);
	return 0;
}

static size_t until_invitation(const Client *c, size_t n)
{
	int i;

	for (i = 0; i < c->nrequests; i++)
		if (c->requests[i].kind == KIND_EXPECT && c->pushed < c->requests[i].head_end
			&& c->pushed + n > c->requests[i].head_end && sim_chance(80))
			return c->requests[i].head_end - c->pushed;
	return n;
}

static void client_step(void *cl);

static void push_some(Client *c)
{
	size_t n = awaits_invitation(c) ? 0 : until_invitation(c, part_to_push(c));

	if (n > c->stops_at - c->pushed)
		n = c->stops_at - c->pushed;
	if (n == 0)
		return;
	sim_trace("client %d sends %zu", c->stream->id, n);
	stream_push(c->stream, c->script.at + c->pushed, n);
	c->pushed += n;
	c->pushed_at = sim_now;
}

/* A reset may overtake an answer only if the server had waited as long as it promises. */
static void check_lost(const Client *c)
{
	SIM_CHECK(!c->stream->lost || !c->closing || asked_to_end(c) || client_is_excused(c)
			|| c->phase == PHASE_LINGER || c->phase == PHASE_SEND,
		"stream %d: a reset has overtaken an answer", c->stream->id);
}

static void client_step(void *cl)
{
	Client *c = cl;
	Stream *s = c->stream;
	char sink[4096];

	if (c->done)
		return;
	if (sim_chance(60))
		push_some(c);
	if (c->manner != DEAF)
		stream_pull(s, sink, sim_chance(70) ? sizeof sink : 1 + (size_t)sim_below(100));
	check_lost(c);
	if (c->manner == LEAVING && c->pushed == c->stops_at && sim_chance(40)) {
		sim_trace("client %d leaves", s->id);
		stream_reset(s);
		c->done = 1;
	} else if (c->manner == HALF_CLOSING && c->pushed == c->stops_at && sim_chance(40)
		&& !s->in_ended) {
		sim_trace("client %d sends no more", s->id);
		stream_end(s);
	}
	c->done |= s->left || (s->closed && (bytes_length(&s->out) == 0 || c->manner == DEAF));
	if (c->done)
		return;
	if (s->closed || c->pushed < c->stops_at || bytes_length(&s->out) > 0)
		event_at(sim_now + pause_of(c), client_step, c);
	else
		event_at(sim_now + sim_between(0, 200000), client_step, c);
}

static void trace_script(const Client *c)
{
	const Request *r;

	for (r = c->requests; r < c->requests + c->nrequests; r++)
		sim_trace("request %d: kind %d%s%s, bytes %zu, %zu, %zu", r->id, (int)r->kind,
			r->blocks ? ", in a worker" : "", r->parts ? ", in parts" : "", r->begin,
			r->head_end, r->end);
}

static void arrive(void *cl)
{
	Client *c = client_new(&next_id, program_runs);

	(void)cl;
	c->stream = kernel_dial(sim_chance(50) ? 65536 : (size_t)sim_between(500, 5000));
	if (!c->stream) {
		client_free(c);
		return;
	}
	sim_trace("client %d comes, in manner %d, with %d requests", c->stream->id, (int)c->manner,
		c->nrequests);
	trace_script(c);
	c->stream->peer = c;
	c->next = clients;
	clients = c;
	event_at(sim_now + pause_of(c), client_step, c);
}

static void stop(void *cl)
{
	(void)cl;
	if (!server && sim_now == 0) { /* which is about to be made */
		event_at(1, stop, NULL);
		return;
	}
	sim_trace("stop");
	note_stop();
	if (server)
		HTTPServer_stop(server);
}

/* ---- a run ---- */

static int some_ms(void)
{
	static const int times[] = { 1, 10, 100, 500, 2000, 10000 };

	return sim_between(1, times[sim_below(6)]);
}

static void choose_program(void)
{
	options.suspend_ms = sim_chance(10) ? -1 : some_ms();
	options.workers = sim_between(1, 3);
	options.queue = sim_chance(20) ? (size_t)sim_between(1, 3) : 0;
	if (sim_chance(50))
		options.memory_bytes = (size_t)1 << 30;
	if (sim_chance(20))
		options.request_bytes = (size_t)1 << 28;
	is_tight = sim_chance(10);
	if (is_tight && sim_chance(50))
		options.memory_bytes = (size_t)sim_between(1, 200000);
	else if (is_tight)
		options.request_bytes = (size_t)sim_between(8192, 100000);
}

static void choose_options(void)
{
	options = (HTTPServer_Options){ .host = "10.0.0.1",
		.service = "8080",
		.threads = 1,
		.limits = { .head_ms = some_ms(), .body_ms = some_ms() },
		.body_rate = sim_between(50, 5000),
		.idle_ms = some_ms(),
		.send_ms = some_ms(),
		.linger_ms = some_ms(),
		.drain_ms = some_ms(),
		.connections = (size_t)sim_between(1, 6),
		.pipeline_bytes = (size_t)sim_between(256, 4096) };
	if (sim_chance(20))
		options.idle_ms = 60000;
	if (program_runs)
		choose_program();
	if (sim_chance(10))
		options.idle_ms = options.limits.head_ms = options.limits.body_ms =
			options.send_ms = -1;
}

static void choose_faults(void)
{
	has_faults = sim_chance(40);
	if (sim_chance(50))
		faults.interrupt = 300;
	if (!has_faults)
		return;
	faults.alloc = sim_chance(50) ? 20 : 0;
	faults.accept = sim_chance(50) ? 1000 : 0;
	faults.recv = sim_chance(50) ? 100 : 0;
	faults.send = sim_chance(50) ? 100 : 0;
	faults.epoll = sim_chance(50) ? 200 : 0;
	faults.threads = program_runs && sim_chance(30) ? 5000 : 0;
}

static void serve(void *cl)
{
	Arena_T arena;

	(void)cl;
	kernel_quiet = 1;
	arena = Arena_new();
	server = HTTPServer_new(arena, &options);
	program_add_routes();
	program_start();
	kernel_quiet = 0;
	TRY
	{
		HTTPServer_run(server);
	}
	ELSE
	{
		SIM_CHECK(may_fail_to_run(), "run raised %s", Except_message());
	}
	END_TRY;
	SIM_CHECK(stopped_at >= 0 || may_fail_to_run(), "run returns before stop");
	SIM_CHECK(count_open() == 0, "run returns, and %zu connections are open", count_open());
	SIM_CHECK(drain_end() == INT64_MAX || sim_ms() <= drain_end() + LATE + spent + work_ms(),
		"run returns %lld ms after the drain's end", (long long)(sim_ms() - drain_end()));
	program_end();
	SIM_CHECK(inside_booked(server) == 0, "%zu bytes are booked when all has ended",
		inside_booked(server));
	Arena_dispose(&arena);
	server = NULL;
	SIM_CHECK(kernel_descriptors() == 0, "%d descriptors are left", kernel_descriptors());
}

/* Without a thread the server drains at once, and serves only those who are there already. */
static int64_t when_to_arrive(void)
{
	if (faults.threads && sim_chance(50))
		return 0;
	return sim_below(sim_chance(50) ? 1000 : 3000000);
}

static void simulate(void)
{
	int i;

	few = sim_chance(20);
	kernel_reset(few ? sim_between(4, 8) : 64);
	nclients = sim_between(1, CLIENTS);
	next_id = 1;
	stopped_at = drain_seen = -1;
	spent = full_until = faulty_tick = is_tight = 0;
	program_reset();
	kernel_yields = program_runs;
	received = sent = 0;
	crowds = has_blocked = 0;
	turn_began = 0;
	evicted_since = -1;
	choose_options();
	choose_faults();
	event_grain();
	sim_trace(
		"head_ms %d, body_ms %d, body_rate %d, idle_ms %d, send_ms %d, "
		"linger_ms %d, drain_ms %d, connections %zu",
		options.limits.head_ms, options.limits.body_ms, options.body_rate, options.idle_ms,
		options.send_ms, options.linger_ms, options.drain_ms, options.connections);
	world = (World){ .waits = on_waits,
		.received = on_received,
		.sent = on_sent,
		.accepted = on_accepted,
		.ended = on_ended,
		.failed = on_failed };
	for (i = 0; i < nclients; i++)
		event_at(when_to_arrive(), arrive, NULL);
	event_at((int64_t)sim_below(sim_chance(30) ? 100000 : 8000000), stop, NULL);
	task_start("server", serve, NULL);
	task_run_all();
	while (clients) {
		Client *c = clients;

		clients = c->next;
		client_free(c);
	}
}

void simulate_server(void)
{
	program_runs = 0;
	simulate();
}

void simulate_program(void)
{
	program_runs = 1;
	simulate();
}
