/* SPDX-License-Identifier: MIT */
/* The reasons for which the server may refuse a request or close a connection. The kernel tells
 * this file of each call on a connection. */
#include "config.h"

#include "server.h"

/* ---- whether there is a reason ---- */

static int is_spoilt(const Client *c)
{
	return c->excused || loop_of(c)->faulty_tick || is_tight || c->stream->left;
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

/* If several have to go in a tick, they are closed together when it ends. */
static void note_eviction(const Client *c)
{
	LoopModel *l = loop_of(c);

	SIM_CHECK(l->crowds > 0 || ((has_faults || few) && kernel_backlog(c->stream->loop) > 0),
		"stream %d was closed without a reason", c->stream->id);
	l->crowds -= l->crowds > 0;
	l->evicted_since = latest(l->evicted_since, c->since_low);
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
		|| (program_runs && c->pushed_at >= loop_of(c)->turn_began);
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
			&& (r->held || r->resumed_at >= loop_of(c)->turn_began / 1000));
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

/* A reset may overtake an answer only if the server had waited as long as it promises. */
void check_lost(const Client *c)
{
	SIM_CHECK(!c->stream->lost || !(c->closing || c->drained) || c->upgraded || asked_to_end(c)
			|| client_is_excused(c) || c->phase == PHASE_LINGER,
		"stream %d: a reset has overtaken an answer", c->stream->id);
}

/* A drain ends one that was promised more, after a look for what it had sent. */
static void check_shut(const Client *c)
{
	if (is_spoilt(c) || c->stream->broken || is_drain_over() || c->closing || c->garbled)
		return;
	SIM_CHECK(seems_idle(c) && c->answered >= client_whole(c),
		"stream %d is shut down, and has asked", c->stream->id);
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
	SIM_CHECK(!c->drained || c->closing || c->shut || asked_to_end(c),
		"stream %d is closed as soon as it was answered, which had promised more", s->id);
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

/* ---- what the kernel tells ---- */

static void on_received(Stream *s, size_t n)
{
	Client *c = s->peer;

	if (c->upgraded)
		return;
	c->got += n;
	totals.received += c->shut ? 0 : n; /* what a lingering client sends is not counted */
	c->got_end |= n == 0;
}

static void on_sent(Stream *s, const char *bytes, size_t n, size_t wanted)
{
	Client *c = s->peer;

	totals.sent += c->upgraded ? 0 : n;
	c->sent_now += n;
	if (c->was_all || n == wanted) { /* what comes next starts the clock anew */
		c->again = sim_ms();
		c->anew = 1;
	}
	c->was_all = n == wanted;
	client_heard(c, bytes, n);
	c->drained = n == wanted && bytes_length(&c->sent) == 0 && inside_drains(server, s->loop);
}

static void on_accepted(Stream *s)
{
	Client *c = s->peer;

	loop_of(c)->crowds += count_open_at(s->loop) >= loop_of(c)->most;
	totals.accepted++;
	c->open = 1;
}

static void on_failed(Stream *s, const char *call)
{
	Client *c = s ? s->peer : NULL;
	int i;

	(void)call;
	if (c)
		c->excused = 1;
	for (i = 0; i < nloops && !s; i++) /* it may be of any */
		loops[i].faulty_tick = 1;
	for (c = clients; c && program_runs && !s; c = c->next) /* it may be felt later */
		c->excused = 1;
}

static void on_ended(Stream *s)
{
	Client *c = s->peer;

	if (!s->closed) {
		c->shut = 1;
		c->excused |= loop_of(c)->faulty_tick;
		check_shut(c);
		return;
	}
	if (!c->open)
		return;
	sim_trace("stream %d: phase %d", s->id, (int)c->phase);
	check_end(c);
	c->open = 0;
	c->closed = 1;
}

void begin_telling(void)
{
	world.received = on_received;
	world.sent = on_sent;
	world.accepted = on_accepted;
	world.ended = on_ended;
	world.failed = on_failed;
}
