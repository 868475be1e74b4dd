/* SPDX-License-Identifier: MIT */
/* The world of a server: one loop, scripted clients, a stop. What must hold is checked
 * against what the kernel and the clients see of it, with a model of its deadlines of our own:
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

#include <core/core.h>
#include "client.h"

enum { CLIENTS = 10, LATE = 2, ROOM_MS = 150, GRACE_MS = 500 };

static HTTPServer_Options options;
static HTTPServer_T server;
static Client *clients;
static int nclients, next_id, has_faults, few; /* few: descriptors */
static int64_t stopped_at, drain_seen;	       /* ms; -1: not yet */
static int64_t spent;			       /* ms that handlers took since stop */
static int faulty_tick;	   /* a call that is no stream's failed since the server last waited */
static int64_t full_until; /* ms: when all places were taken last */
static size_t received, sent;
static int64_t evicted_since; /* ms: the latest of those that had to go in this tick; -1: none */
static int crowds;	      /* connections that came in this tick into the places of others */

/* ---- the model of deadlines ---- */

static int is_draining(void)
{
	return drain_seen >= 0;
}

static int64_t drain_end(void)
{
	return stopped_at < 0 || options.drain_ms < 0 ? INT64_MAX : stopped_at + options.drain_ms;
}

static int64_t bytes_ms(size_t n)
{
	return (int64_t)n * 1000 / options.body_rate;
}

/* When the deadline of the phase is, at least and at most; INT64_MAX: there is none. */
static void deadlines(const Client *c, int64_t *low, int64_t *high)
{
	const Request *r = &c->requests[c->phase_answered];
	int ms = -1;

	*low = *high = INT64_MAX;
	switch (c->phase) {
	case PHASE_NONE:
		return;
	case PHASE_IDLE:
		ms = is_draining() ? GRACE_MS : options.idle_ms;
		break;
	case PHASE_HEAD:
		ms = options.limits.head_ms;
		break;
	case PHASE_LINGER:
		ms = options.linger_ms;
		break;
	case PHASE_BODY:
		ms = options.limits.body_ms;
		if (ms >= 0) {
			*low = c->since_low + ms;
			*high = c->since_high + ms + bytes_ms(c->phase_got - r->head_end);
		}
		return;
	case PHASE_SEND:
		ms = options.send_ms;
		if (ms < 0)
			return;
		*low = c->since_low + ms + bytes_ms(c->sent_since.low);
		*high = c->since_high + ms + bytes_ms(c->sent_since.high);
		if (c->again + ms + bytes_ms(c->sent_again.low) < *low)
			*low = c->again + ms + bytes_ms(c->sent_again.low);
		if (c->again + ms + bytes_ms(c->sent_again.high) > *high)
			*high = c->again + ms + bytes_ms(c->sent_again.high);
		return;
	}
	if (ms >= 0) {
		*low = c->since_low + ms;
		*high = c->since_high + ms;
	}
}

static Phase phase_of(const Client *c)
{
	const Request *r = &c->requests[c->answered];

	if (c->shut)
		return PHASE_LINGER;
	if (kernel_events_of(c->stream) & 4) /* EPOLLOUT */
		return PHASE_SEND;
	if (c->answered == c->nrequests || c->got <= r->begin)
		return PHASE_IDLE;
	if (c->got < r->head_end)
		return PHASE_HEAD;
	return c->got < r->end && r->kind != KIND_BAD ? PHASE_BODY : PHASE_NONE;
}

/* The clock may have begun before these bytes were sent, or after. */
static void count_sent(Span *span, int begins, size_t n)
{
	span->low = begins ? 0 : span->low + n;
	span->high = begins ? n : span->high + n;
}

/* The server waits: what does it wait for here? */
static void observe(Client *c)
{
	Phase phase = phase_of(c);
	int begins = phase != c->phase || (phase != PHASE_SEND && c->answered != c->phase_answered);

	if (begins) {
		c->phase = phase;
		c->since_us = kernel_tick_began;
		c->since_low = c->again = kernel_tick_began / 1000;
		c->since_high = sim_ms();
	}
	count_sent(&c->sent_since, begins, c->sent_now);
	count_sent(&c->sent_again, begins || c->anew, c->sent_now);
	c->sent_now = 0;
	c->anew = 0;
	c->phase_answered = c->answered;
	c->phase_got = c->got;
}

static int is_late(const Client *c)
{
	int64_t low, high;

	deadlines(c, &low, &high);
	return high != INT64_MAX && sim_ms() > high + LATE;
}

/* To the microsecond, but where a rate is in it. */
static int is_due(const Client *c)
{
	int64_t low, high;

	deadlines(c, &low, &high);
	if (low == INT64_MAX || c->phase == PHASE_BODY || c->phase == PHASE_SEND)
		return sim_ms() >= low;
	return sim_now >= c->since_us + (low - c->since_low) * 1000;
}

/* ---- whenever the server waits ---- */

static size_t count_open(void)
{
	const Client *c;
	size_t n = 0;

	for (c = clients; c; c = c->next)
		n += (size_t)c->open;
	return n;
}

static void check_sums(void)
{
	int descriptors = kernel_descriptors() - kernel_listens() - (int)count_open();
	HTTPServer_Stats stats;

	HTTPServer_stats(server, &stats);
	SIM_CHECK(stats.connections == count_open(),
		"%zu connections are counted, and %zu are open", stats.connections, count_open());
	SIM_CHECK(descriptors == 2 || descriptors == 3,
		"%d descriptors beside listener and connections", descriptors);
	SIM_CHECK(count_open() <= options.connections, "%zu connections are open", count_open());
	SIM_CHECK(stats.received == received, "%llu bytes counted, %zu received",
		(unsigned long long)stats.received, received);
	SIM_CHECK(stats.sent == sent, "%llu bytes counted, %zu sent",
		(unsigned long long)stats.sent, sent);
	SIM_CHECK(Arena_debug_live_count() <= 2 + options.connections + 64, "%zu arenas",
		Arena_debug_live_count());
}

static void check_door(void)
{
	const Client *c;
	int64_t since = kernel_waiting_since() / 1000;

	if (count_open() == options.connections)
		full_until = sim_ms();
	else if (since < full_until)
		since = full_until;
	if (has_faults || few || kernel_waiting_since() < 0 || sim_ms() <= since + ROOM_MS)
		return;
	SIM_CHECK(count_open() == options.connections,
		"a place is free, and somebody waits for %lld ms", (long long)(sim_ms() - since));
	for (c = clients; c; c = c->next)
		SIM_CHECK(!c->open || c->phase != PHASE_IDLE || sim_ms() <= c->since_high + ROOM_MS,
			"stream %d is idle, and somebody waits for its place for %lld ms",
			c->stream->id, (long long)(sim_ms() - since));
}

static void check_deadlines(void)
{
	Client *c;
	int64_t low, high, first = stopped_at < 0 ? INT64_MAX : drain_end();

	for (c = clients; c; c = c->next) {
		if (!c->open)
			continue;
		SIM_CHECK(c->phase != PHASE_NONE || c->got < c->requests[c->answered].end,
			"request %d is there, and the server waits", c->requests[c->answered].id);
		SIM_CHECK(!is_late(c),
			"stream %d: the deadline of phase %d has passed (since %lld to %lld)",
			c->stream->id, (int)c->phase, (long long)c->since_low,
			(long long)c->since_high);
		deadlines(c, &low, &high);
		if (high < first)
			first = high;
	}
	SIM_CHECK(first == INT64_MAX || faults.interrupt
			|| (kernel_wake_at() >= 0 && kernel_wake_at() / 1000 <= first + LATE),
		"the server sleeps until %lld, past a deadline at %lld",
		(long long)kernel_wake_at() / 1000, (long long)first);
	SIM_CHECK(drain_end() == INT64_MAX || sim_ms() <= drain_end() + LATE + spent,
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

static void on_waits(int blocks)
{
	Client *c;

	if (stopped_at >= 0 && drain_seen < 0) {
		drain_seen = sim_ms();
		for (c = clients; c; c = c->next)
			c->phase = c->open ? PHASE_NONE : c->phase; /* the clocks begin anew */
	}
	for (c = clients; c; c = c->next)
		if (c->open) {
			check_evicted(c);
			observe(c);
		}
	if (blocks) {
		check_deadlines();
		check_sums();
		check_door();
	}
	faulty_tick = crowds = 0;
	evicted_since = -1;
}

/* ---- what the kernel tells ---- */

static void on_received(Stream *s, size_t n)
{
	Client *c = s->peer;

	c->got += n;
	received += c->shut ? 0 : n; /* what a lingering client sends is not counted */
	c->got_end |= n == 0;
}

static void on_sent(Stream *s, const char *bytes, size_t n, size_t wanted)
{
	Client *c = s->peer;

	sent += n;
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
}

int client_is_excused(const Client *c)
{
	return c->excused || faulty_tick || c->stream->left
		|| (stopped_at >= 0 && sim_ms() >= drain_end());
}

void client_response_begins(Client *c)
{
	c->may_time_out = (c->phase == PHASE_HEAD || c->phase == PHASE_BODY) && is_due(c);
}

/* A refusal, instead of the answer that the request would have. */
void client_check_refusal(Client *c, int status)
{
	const Request *r = &c->requests[c->answered];

	if (client_is_excused(c))
		return;
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

/* Why was it closed? */
static void check_end(Client *c)
{
	const Stream *s = c->stream;

	if (client_is_excused(c) || s->broken)
		return;
	if (c->got_end) {
		SIM_CHECK(c->answered >= client_whole(c) || c->closing || is_due(c),
			"stream %d ended, and %d of %d requests were answered", s->id, c->answered,
			client_whole(c));
		return;
	}
	if (c->closing) {
		SIM_CHECK(bytes_length(&s->in) == 0 || asked_to_end(c)
				|| (c->phase == PHASE_LINGER && is_due(c)),
			"stream %d is closed with input that was not read", s->id);
		return;
	}
	if (is_due(c)) {
		SIM_CHECK(c->phase != PHASE_IDLE || bytes_length(&s->in) == 0,
			"stream %d is closed as idle, and has asked", s->id);
		return;
	}
	SIM_CHECK(c->phase == PHASE_IDLE || (c->phase == PHASE_NONE && c->got == 0)
			|| c->answered == client_whole(c),
		"stream %d is closed in phase %d (since %lld), without a reason", s->id,
		(int)c->phase, (long long)c->since_low);
	SIM_CHECK(bytes_length(&s->in) == 0, "stream %d is closed as idle, and has asked", s->id);
	if (stopped_at < 0)
		note_eviction(c);
}

static void on_ended(Stream *s)
{
	Client *c = s->peer;

	if (!s->closed) {
		c->shut = 1;
		return;
	}
	if (!c->open)
		return;
	sim_trace("stream %d: phase %d", s->id, (int)c->phase);
	check_end(c);
	c->open = 0;
	c->closed = 1;
}

/* ---- handlers ---- */

static Request *request_of(HTTPRequest_T request)
{
	int id = atoi(HTTPRequest_param(request, "id")), i;
	Client *c;

	SIM_CHECK(stopped_at < 0 || sim_ms() < drain_end(), "a handler begins after the drain");
	for (c = clients; c; c = c->next)
		for (i = 0; i < c->nrequests; i++)
			if (c->requests[i].id == id) {
				SIM_CHECK(c->answered <= i && c->got >= c->requests[i].end,
					"the handler of request %d runs too early", id);
				SIM_CHECK(c->requests[i].handled++ == 0 || client_is_excused(c),
					"the handler of request %d runs again", id);
				return &c->requests[i];
			}
	sim_fail("a handler runs for request %d, which there is not", id);
}

static void name_answer(HTTPResponse_T response, const Request *r)
{
	char id[16];

	snprintf(id, sizeof id, "%d", r->id);
	HTTPResponse_set(response, "X-Id", id);
}

static void answer(HTTPResponse_T response, const Request *r)
{
	size_t i;

	name_answer(response, r);
	for (i = 0; i < r->size; i++) {
		char c = body_byte(r->id, i);

		HTTPResponse_write(response, &c, 1);
	}
}

static void get(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	answer(response, request_of(request));
}

static void post(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const Request *r = request_of(request);
	size_t n, i;
	const char *body = HTTPRequest_body(request, &n);

	(void)cl;
	SIM_CHECK(n == r->body, "request %d has a body of %zu bytes, not %zu", r->id, n, r->body);
	for (i = 0; i < n; i++)
		SIM_CHECK(body[i] == body_byte(r->id, i), "request %d: byte %zu is '%c'", r->id, i,
			body[i]);
	answer(response, r);
}

EXCEPT_DEFINE(Sim_Raised, NULL, "a handler raises");

static void fail(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	request_of(request);
	EXCEPT_RAISE(Sim_Raised);
}

static void take_time(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const Request *r = request_of(request);
	int ms = sim_below(40);

	(void)cl;
	sim_now += (int64_t)ms * 1000;
	spent += ms;
	answer(response, r);
}

typedef struct Rest {
	int id;
	size_t at, size;
} Rest;

static int more(HTTPResponse_T response, void *cl)
{
	Rest *rest = cl;
	size_t n = 1 + (size_t)sim_below(2000);

	for (; n > 0 && rest->at < rest->size; n--) {
		char c = body_byte(rest->id, rest->at++);

		HTTPResponse_write(response, &c, 1);
	}
	return rest->at < rest->size;
}

static void stream(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const Request *r = request_of(request);
	Rest *rest = NULL;

	(void)cl;
	rest = ALLOC(HTTPRequest_arena(request), sizeof *rest);
	*rest = (Rest){ r->id, 0, r->size };
	name_answer(response, r);
	HTTPResponse_stream(response, more, rest);
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

static void arrive(void *cl)
{
	Client *c = client_new(&next_id);

	(void)cl;
	c->stream = kernel_dial(sim_chance(50) ? 65536 : (size_t)sim_between(500, 5000));
	if (!c->stream) {
		client_free(c);
		return;
	}
	sim_trace("client %d comes, in manner %d, with %d requests", c->stream->id, (int)c->manner,
		c->nrequests);
	c->stream->peer = c;
	c->next = clients;
	clients = c;
	event_at(sim_now + pause_of(c), client_step, c);
}

static void stop(void *cl)
{
	(void)cl;
	sim_trace("stop");
	stopped_at = sim_ms();
	spent = 0;
	if (server)
		HTTPServer_stop(server);
}

/* ---- a run ---- */

static int some_ms(void)
{
	static const int times[] = { 1, 10, 100, 500, 2000, 10000 };

	return sim_between(1, times[sim_below(6)]);
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
}

static void serve(void *cl)
{
	Arena_T arena;

	(void)cl;
	kernel_quiet = 1;
	arena = Arena_new();
	server = HTTPServer_new(arena, &options);
	HTTPServer_route(server, "GET", "/get/:id/:size", get, NULL);
	HTTPServer_route(server, "POST", "/post/:id/:size", post, NULL);
	HTTPServer_route(server, "GET", "/raise/:id/:size", fail, NULL);
	HTTPServer_route(server, "GET", "/stream/:id/:size", stream, NULL);
	HTTPServer_route(server, "GET", "/slow/:id/:size", take_time, NULL);
	kernel_quiet = 0;
	TRY
	{
		HTTPServer_run(server);
	}
	ELSE
	{
		SIM_CHECK(has_faults && sim_now == 0, "run raised %s", Except_message());
	}
	END_TRY;
	SIM_CHECK(stopped_at >= 0 || (has_faults && sim_now == 0), "run returns before stop");
	SIM_CHECK(count_open() == 0, "run returns, and %zu connections are open", count_open());
	SIM_CHECK(drain_end() == INT64_MAX || sim_ms() <= drain_end() + LATE + spent,
		"run returns %lld ms after the drain's end", (long long)(sim_ms() - drain_end()));
	Arena_dispose(&arena);
	server = NULL;
	SIM_CHECK(kernel_descriptors() == 0, "%d descriptors are left", kernel_descriptors());
}

void simulate_server(void)
{
	int i;

	few = sim_chance(20);
	kernel_reset(few ? sim_between(4, 8) : 64);
	nclients = sim_between(1, CLIENTS);
	next_id = 1;
	stopped_at = drain_seen = -1;
	spent = full_until = faulty_tick = 0;
	received = sent = 0;
	crowds = 0;
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
		event_at((int64_t)sim_below(sim_chance(50) ? 1000 : 3000000), arrive, NULL);
	event_at((int64_t)sim_below(sim_chance(30) ? 100000 : 8000000), stop, NULL);
	task_start("server", serve, NULL);
	task_run_all();
	while (clients) {
		Client *c = clients;

		clients = c->next;
		client_free(c);
	}
}
