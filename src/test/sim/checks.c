/* SPDX-License-Identifier: MIT */
/* The checks whenever a loop of the server waits: no client is forgotten, no deadline has passed,
 * and the sums are right. */
#include "config.h"

#include <sys/epoll.h>

#include <core/core.h>
#include "server.h"

enum { ROOM_MS = 150 };

/* Returns the first from here on that is open and the loop's. */
static Client *next_open(Client *c, int loop)
{
	while (c && !(c->open && c->stream->loop == loop))
		c = c->next;
	return c;
}

size_t count_open_at(int loop)
{
	Client *c;
	size_t n = 0;

	for (c = next_open(clients, loop); c; c = next_open(c->next, loop))
		n++;
	return n;
}

size_t count_open(void)
{
	size_t n = 0;
	int i;

	for (i = 0; i < nloops; i++)
		n += count_open_at(i);
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

/* A part of a stream goes out before the program has the answer. */
static int sends_part(const Client *c, const Request *r)
{
	return r->suspended_in == IN_MORE && (kernel_events_of(c->stream) & EPOLLOUT);
}

static int count_suspended(void)
{
	const Client *c;
	int n = 0, i;

	for (c = clients; c; c = c->next)
		for (i = c->answered; c->open && i < c->nrequests; i++)
			n += request_is_held(&c->requests[i]) && !request_is_gone(&c->requests[i])
				&& !sends_part(c, &c->requests[i]);
	return n;
}

/* Its last connection and its listener are closed. */
static int has_ended(int loop)
{
	return count_open_at(loop) == 0 && !kernel_listens(loop);
}

static int some_loop_has_ended(void)
{
	int i;

	for (i = 0; i < nloops; i++)
		if (has_ended(i))
			return 1;
	return 0;
}

static int all_loops_wait(void)
{
	int i;

	for (i = 0; i < nloops; i++)
		if (!kernel_loop_waits(i) && !has_ended(i))
			return 0;
	return 1;
}

/* Answers that the program holds are counted, and bytes of requests are booked. If a loop
 * has ended, what it is handed back stays booked until the others have ended, too. */
static void check_program(const HTTPServer_Stats *stats)
{
	if (program_acts() || inside_wakers() > 0 || kernel_busy_workers() > 0 || faults.threads)
		return;
	SIM_CHECK(stats->queued == 0, "%zu requests are queued, and all workers wait",
		stats->queued);
	SIM_CHECK(stats->suspended == (size_t)count_suspended() || sim_ms() >= drain_end(),
		"%zu answers are counted as suspended, not %d", stats->suspended, count_suspended());
	SIM_CHECK(count_open() > 0 || program_holds() > 0 || some_loop_has_ended()
			|| inside_booked(server) == 0,
		"%zu bytes of no request are booked", inside_booked(server));
}

static void check_bytes(const HTTPServer_Stats *stats)
{
	SIM_CHECK(stats->connections == count_open(),
		"%zu connections are counted, and %zu are open", stats->connections, count_open());
	SIM_CHECK(has_faults || few || stats->accepted == totals.accepted,
		"%llu connections counted, %zu accepted", (unsigned long long)stats->accepted,
		totals.accepted);
	SIM_CHECK(stats->received == totals.received, "%llu bytes counted, %zu received",
		(unsigned long long)stats->received, totals.received);
	SIM_CHECK(stats->sent == totals.sent, "%llu bytes counted, %zu sent",
		(unsigned long long)stats->sent, totals.sent);
}

/* Each loop has an epoll, an eventfd, and perhaps a descriptor in reserve. */
static void check_descriptors(void)
{
	int n = kernel_descriptors() - kernel_listeners() - (int)count_open() - taken_over();

	SIM_CHECK(n >= 2 * kernel_polls() && n <= 3 * kernel_polls(),
		"%d descriptors beside listeners and connections, and %d polls", n, kernel_polls());
}

static void check_places(int loop)
{
	SIM_CHECK(count_open_at(loop) <= loops[loop].most, "%zu connections are open at loop %d",
		count_open_at(loop), loop);
}

/* No loop has anything to do. */
static void check_sums(void)
{
	HTTPServer_Stats stats;

	HTTPServer_stats(server, &stats);
	check_bytes(&stats);
	check_descriptors();
	SIM_CHECK(Arena_debug_live_count()
			<= 1 + 65 * (size_t)nloops + options.connections + (size_t)program_holds(),
		"%zu arenas", Arena_debug_live_count());
	check_program(&stats);
}

void check_totals(void)
{
	HTTPServer_Stats stats;

	HTTPServer_stats(server, &stats);
	check_bytes(&stats);
	SIM_CHECK(stats.suspended == 0 && stats.queued == 0, "%zu suspended, %zu queued at the end",
		stats.suspended, stats.queued);
	SIM_CHECK(inside_booked(server) == 0, "%zu bytes are booked when all has ended",
		inside_booked(server));
}

static void check_door(int loop)
{
	LoopModel *l = &loops[loop];
	Client *c;
	int64_t since = kernel_waiting_since(loop) / 1000;

	if (count_open_at(loop) == l->most)
		l->full_until = sim_ms();
	else
		since = latest(since, l->full_until);
	if (has_faults || few || is_tight || kernel_waiting_since(loop) < 0
		|| sim_ms() <= since + ROOM_MS)
		return;
	SIM_CHECK(count_open_at(loop) == l->most,
		"a place is free, and somebody waits for %lld ms", (long long)(sim_ms() - since));
	for (c = next_open(clients, loop); c; c = next_open(c->next, loop))
		SIM_CHECK(c->phase != PHASE_IDLE || sim_ms() <= c->since_high + ROOM_MS,
			"stream %d is idle, and somebody waits for its place for %lld ms",
			c->stream->id, (long long)(sim_ms() - since));
}

/* A function of the program that has begun in a worker is waited for. */
int work_ms(void)
{
	return program_runs ? WORK_MS : 0;
}

/* Checks that no request is forgotten, and that gone is true for the program when it should. */
static void check_work(const Client *c)
{
	const Request *r = &c->requests[c->answered];

	SIM_CHECK(c->phase != PHASE_NONE || c->got < r->end || program_acts() || inside_wakers() > 0,
		"request %d is there, and the server waits", r->id);
	SIM_CHECK(c->phase != PHASE_WORK || kernel_busy_workers() > 0 || program_acts()
			|| faults.threads,
		"request %d is for a worker, and all of them wait", r->id);
	SIM_CHECK(c->phase != PHASE_SUSPEND || program_acts()
			|| request_is_gone(c->phase_of) == (sim_ms() >= drain_end()),
		"request %d is gone for its program, and not for the server", c->phase_of->id);
}

/* While somebody wakes a loop it need not know all yet: it looks again then. */
static void check_deadlines(int loop)
{
	Client *c, *who = NULL;
	int64_t wake_at = kernel_loops[loop].wake_at;
	int64_t low, high, first = sim_ms() < drain_end() ? drain_end() : INT64_MAX;

	for (c = next_open(clients, loop); c; c = next_open(c->next, loop)) {
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
			|| program_acts() || inside_wakers() > 0
			|| (wake_at >= 0 && wake_at / 1000 <= latest(first, sim_ms()) + LATE),
		"the server sleeps until %lld, past a deadline at %lld (stream %d, phase %d)",
		(long long)wake_at / 1000, (long long)first, who ? who->stream->id : 0,
		who ? (int)who->phase : 0);
	SIM_CHECK(drain_end() == INT64_MAX || sim_ms() <= drain_end() + LATE + spent + work_ms(),
		"the drain has no end");
}

/* If one had to go, it was the longest idle. */
static void check_evicted(const Client *c)
{
	int64_t evicted_since = loop_of(c)->evicted_since;

	SIM_CHECK(evicted_since < 0 || c->phase != PHASE_IDLE || c->got != c->phase_got
			|| bytes_length(&c->stream->in) > 0 || c->stream->in_ended
			|| c->since_high >= evicted_since,
		"stream %d is idle since %lld, and one had to go that is since %lld", c->stream->id,
		(long long)c->since_high, (long long)evicted_since);
}

int may_fail_to_run(void)
{
	return has_faults && (sim_now == 0 || faults.threads || (nloops > 1 && stopped_at == 0));
}

/* The drain begins. The server may forget how much of the time of a body
 * was spent. */
static void renew_clock(Client *c)
{
	if (c->phase == PHASE_BODY)
		c->body_spent.high = sim_ms() - c->since_low;
	c->phase = PHASE_NONE;
	c->body_spent.low = 0;
}

/* Without a thread, or without memory when it begins, it stops by itself. */
static void look_for_stop(void)
{
	if (stopped_at >= 0 || !HTTPServer_stopping(server))
		return;
	SIM_CHECK(may_fail_to_run(), "the server stops by itself");
	note_stop();
}

/* The program's tasks run amid a turn. So what the loop waits for is seen only when all that has
 * happened was dealt with. */
static void observe_all(int loop, int blocks)
{
	LoopModel *l = &loops[loop];
	Client *c;

	if (l->has_blocked || !program_runs)
		l->turn_began = kernel_loops[loop].tick_began;
	l->has_blocked = blocks;
	if (program_runs && !blocks)
		return;
	look_for_stop();
	if (l->drain_seen < 0 && inside_drains(server, loop)) {
		l->drain_seen = sim_ms();
		for (c = next_open(clients, loop); c; c = next_open(c->next, loop))
			renew_clock(c);
	}
	for (c = next_open(clients, loop); c; c = next_open(c->next, loop)) {
		check_evicted(c);
		observe(c);
	}
}

static void look_at_all(int loop, int blocks)
{
	LoopModel *l = &loops[loop];
	Client *c;

	observe_all(loop, blocks);
	check_places(loop);
	if (blocks) {
		check_deadlines(loop);
		check_door(loop);
		if (all_loops_wait())
			check_sums();
	}
	if (l->faulty_tick) /* what waits may be of the fault */
		for (c = next_open(clients, loop); c; c = next_open(c->next, loop))
			c->excused |= (kernel_events_of(c->stream) & EPOLLOUT) != 0;
	if (program_runs && !blocks)
		return;
	l->faulty_tick = l->crowds = 0;
	l->evicted_since = -1;
}

/* No other task runs while the checks look. */
void check_waiting(int loop, int blocks)
{
	int yields = kernel_yields;

	kernel_yields = 0;
	look_at_all(loop, blocks);
	kernel_yields = yields;
}
