/* SPDX-License-Identifier: MIT */
/* A model of a server's deadlines, of what the kernel and the clients see. The server may have
 * started a clock at any time of the turn in progress, so a deadline has a least and a most
 * time. */
#include "config.h"

#include <sys/epoll.h>

#include "server.h"

enum { GRACE_MS = 500 };

static int is_draining(const Client *c)
{
	return loop_of(c)->drain_seen >= 0;
}

int64_t drain_end(void)
{
	return stopped_at < 0 || options.drain_ms < 0 ? INT64_MAX : stopped_at + options.drain_ms;
}

static int64_t bytes_ms(size_t n)
{
	return (int64_t)n * 1000 / options.body_rate;
}

void deadlines(const Client *c, int64_t *low, int64_t *high)
{
	const Request *r = &c->requests[c->phase_answered];
	int ms = -1;

	*low = *high = INT64_MAX;
	switch (c->phase) {
	case PHASE_NONE:
	case PHASE_WORK:
	case PHASE_UNSURE:
		return;
	case PHASE_SUSPEND:
		r = c->phase_of;
		if (r->until != INT64_MAX) {
			*low = r->until;
			*high = r->until > c->since_high ? r->until : c->since_high;
		}
		return;
	case PHASE_IDLE:
		ms = is_draining(c) ? GRACE_MS : options.idle_ms;
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

static int is_made(const Client *c, const Request *r)
{
	if (r->calling || r->held)
		return 0;
	if (r->kind == KIND_NOTHING || r->kind == KIND_BAD)
		return c->got >= r->end;
	return r->handled && (r->kind != KIND_STREAM || r->status != 200 || r->streamed == r->size);
}

/* The first whose answer is not made yet, as far as clients can see. */
static const Request *request_in_progress(const Client *c)
{
	const Request *r = &c->requests[c->answered], *end = &c->requests[c->nrequests];

	while (r < end && is_made(c, r))
		r++;
	return r < end ? r : NULL;
}

static int may_be_in_worker(const Client *c, const Request *r)
{
	return r->blocks && c->got >= r->head_end && kernel_busy_workers() > 0;
}

/* A worker may have that request, or have just had it or one before it. */
static int may_have_been_in_worker(const Client *c, const Request *last)
{
	const Request *r, *end = &c->requests[c->nrequests];

	for (r = &c->requests[c->answered]; r < end && r <= last; r++)
		if (may_be_in_worker(c, r))
			return 1;
	return 0;
}

/* Returns the phase while the client has not taken all that was sent. If a worker is in a function
 * of the request, no clock runs. Otherwise a busy worker may be about to call that function, or
 * have just left it. The loop runs the clock of sending before and after that, and the model cannot
 * see when: it does not check that clock. */
static Phase phase_of_sending(Client *c)
{
	const Request *r = request_in_progress(c);

	if (r && r->blocks && r->calling)
		return PHASE_WORK;
	if (may_have_been_in_worker(c, r ? r : &c->requests[c->nrequests - 1])
		|| (r && r->held && program_acts()))
		return PHASE_UNSURE;
	if (!r || !request_is_held(r) || r->suspended_in == IN_MORE || request_is_gone(r))
		return PHASE_SEND;
	c->phase_of = r;
	return PHASE_SUSPEND;
}

/* Returns the phase while nothing is being sent. A request that is whole is the worker's until it
 * is answered: no clock runs. While parts of its body come, the clock of the body runs between two
 * calls. The model sees the calls, but not which part a worker is about to be given. So it does not
 * check that time. */
static Phase phase_of_blocking(const Client *c, const Request *r)
{
	return r->calling || c->got >= r->end ? PHASE_WORK : PHASE_UNSURE;
}

static Phase phase_of(Client *c)
{
	const Request *r = &c->requests[c->answered];
	int events = kernel_events_of(c->stream);

	if (c->shut)
		return PHASE_LINGER;
	if (c->garbled)
		return PHASE_UNSURE;
	if (events & EPOLLOUT)
		return phase_of_sending(c);
	if (c->answered < c->nrequests && request_is_held(r)) {
		c->phase_of = r;
		return r->blocks && kernel_busy_workers() > 0 ? PHASE_WORK : PHASE_SUSPEND;
	}
	if (c->answered < c->nrequests && may_be_in_worker(c, r)
		&& (r->calling || r->parts || c->got >= r->end))
		return phase_of_blocking(c, r);
	if (c->answered == c->nrequests || c->got <= r->begin)
		return PHASE_IDLE;
	if (c->got < r->head_end)
		return PHASE_HEAD;
	if (c->got < r->end && r->kind != KIND_BAD)
		return PHASE_BODY;
	/* One that has failed stays until the worker hands its request back. */
	return (c->excused || c->stream->broken)
		&& may_have_been_in_worker(c, &c->requests[c->nrequests - 1])
		? PHASE_UNSURE : PHASE_NONE;
}

/* The clock may have begun before these bytes were sent, or after. */
static void count_sent(Span *span, int may_begin, int begins, size_t n)
{
	span->low = may_begin ? 0 : span->low + n;
	span->high = begins ? n : span->high + n;
}

/* The time of a body stands while a function of the program has the request. */
static void keep_body_time(Client *c, Phase phase)
{
	int64_t began = loop_of(c)->turn_began / 1000;

	if (c->answered != c->phase_answered)
		c->body_spent.low = c->body_spent.high = 0;
	else if (c->phase == PHASE_BODY && phase != PHASE_BODY) {
		c->body_spent.low = began - c->since_high;
		c->body_spent.high = sim_ms() - c->since_low;
		c->body_spent.low *= c->body_spent.low > 0;
	} else if (c->phase == PHASE_UNSURE && phase != PHASE_UNSURE)
		c->body_spent.high += sim_ms() - c->since_low;
	else if (phase != PHASE_BODY)
		c->body_spent.high += sim_ms() - began;
}

static int may_send(Phase phase)
{
	return phase == PHASE_SEND || phase == PHASE_UNSURE;
}

void observe(Client *c)
{
	Phase phase = phase_of(c), before = c->phase;
	/* It may be the same clock, which may have begun at any time since. */
	int goes_on = may_send(before) && may_send(phase);
	int begins = phase != before || (phase != PHASE_SEND && c->answered != c->phase_answered);

	keep_body_time(c, phase);
	if (begins) {
		c->phase = phase;
		if (!goes_on) {
			c->since_us = loop_of(c)->turn_began;
			c->since_low = c->again = c->since_us / 1000;
		}
		c->since_high = sim_ms();
		if (phase == PHASE_BODY) {
			c->since_low -= c->body_spent.high;
			c->since_high -= c->body_spent.low;
		}
	}
	count_sent(&c->sent_since, begins, begins && !goes_on, c->sent_now);
	count_sent(&c->sent_again, begins || c->anew, (begins && !goes_on) || c->anew, c->sent_now);
	c->sent_now = 0;
	c->anew = 0;
	c->phase_answered = c->answered;
	c->phase_got = c->got;
}

/* One that has passed in a turn is dealt with in the next, which comes at once. */
int is_late(const Client *c)
{
	int64_t low, high, wake_at = kernel_loops[c->stream->loop].wake_at;

	deadlines(c, &low, &high);
	return high != INT64_MAX && sim_ms() > high + LATE
		&& (wake_at < 0 || wake_at > sim_now + LATE * 1000);
}

/* To the microsecond, but where a rate is in it. */
int is_due(const Client *c)
{
	int64_t low, high;

	deadlines(c, &low, &high);
	if (low == INT64_MAX || c->phase == PHASE_BODY || c->phase == PHASE_SEND
			|| c->phase == PHASE_SUSPEND)
		return sim_ms() >= low;
	return sim_now >= c->since_us + (low - c->since_low) * 1000;
}
