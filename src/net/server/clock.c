/* SPDX-License-Identifier: MIT */
/* The one deadline of a connection: which clock runs, and when its time is over. */
#include "config.h"

#include "server/rep.h"

/* For the first request of a connection that a draining server has just accepted. */
enum { GRACE_MS = 500 };

/* Once ms have passed, a transfer below the rate is too slow: one byte a minute does not keep a
 * connection. */
static int until_rate(const Loop *l, int64_t since, int ms, size_t moved)
{
	int64_t left;

	if (ms < 0)
		return -1;
	left = since + ms
		+ (int64_t)((uint64_t)moved * 1000 / (unsigned)l->server->options.body_rate)
		- socket__now_ms();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static Clock clock_of(const Conn *c)
{
	static const unsigned char of_input[] = {
		CLOCK_IDLE, CLOCK_HEAD, CLOCK_BODY, CLOCK_NONE, CLOCK_NONE
	};

	if (c->end == END_LINGER)
		return CLOCK_LINGER;
	if (c->end == END_DEAD || c->ready)
		return CLOCK_NONE;
	if (c->output == OUTPUT_SUSPENDED || c->input == INPUT_SUSPENDED)
		return c->exchange->holder == HOLDER_PROGRAM ? CLOCK_SUSPEND : CLOCK_NONE;
	return c->output != OUTPUT_IDLE ? CLOCK_SEND : (Clock)of_input[c->input];
}

static int ms_until(int64_t until)
{
	int64_t left = until - socket__now_ms();

	return until == SOCKET__NEVER ? -1 : left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

/* That of a body stands while something else is waited for. */
static void start_clock(Exchange *x, Clock before, Clock clock)
{
	int64_t now = socket__now_ms();

	if (before == CLOCK_BODY)
		x->spent = now - x->since;
	x->since = clock == CLOCK_BODY ? now - x->spent : now;
	x->sent = 0;
}

/* Sets the one deadline. It moves only if the clock changes or the clock's limit is a rate. Returns
 * 1 if the clock starts. */
int httpserver__set_clock(Turn *t)
{
	const HTTPServer_Options *o = &t->loop->server->options;
	Conn *c = t->c;
	Exchange *x = c->exchange;
	Clock before = (Clock)c->clock, clock = clock_of(c);
	int ms = -1, starts = clock != before;

	c->clock = clock;
	if (starts && x)
		start_clock(x, before, clock);
	if (clock == CLOCK_BODY)
		ms = until_rate(t->loop, x->since, o->limits.body_ms, x->reader.taken);
	else if (clock == CLOCK_SEND)
		ms = until_rate(t->loop, x->since, o->send_ms, x->sent);
	else if (clock == CLOCK_SUSPEND)
		ms = ms_until(x->until);
	else if (!starts)
		return 0;
	else if (clock != CLOCK_NONE)
		ms = clock == CLOCK_HEAD ? o->limits.head_ms : clock == CLOCK_LINGER ? o->linger_ms
			: t->loop->draining ? GRACE_MS : o->idle_ms;
	SocketPoll_set_deadline(t->loop->poll, c->socket, ms);
	return starts;
}
