/* SPDX-License-Identifier: MIT */
/* SocketPoll, continued: deadlines and timers. Both are in the poll's heap (lazyheap.h).
 * SocketPoll_wait takes those that are due. */
#include "config.h"

#include <limits.h>
#include <string.h>

#include "poll/rep.h"

#define T SocketPoll_T

/* ---- the heap ---- */

int64_t socketpoll__due_at(const uint32_t *place)
{
	return ((const Due *)(const void *)place)->at;
}

void socketpoll__reserve(T poll, size_t n)
{
	if (n > poll->heap.room)
		lazyheap__move(&poll->heap, lazyheap__room(poll->arena, n), n);
}

void socketpoll__provide_heap(T poll)
{
	size_t n = poll->count + poll->ntimers;

	if (n >= poll->heap.room)
		socketpoll__reserve(poll, n < 16 ? 32 : 2 * n);
}

/* Rounds up, because the clock's millisecond has begun and no deadline may be early. */
static void set_due(T poll, Due *due, int ms)
{
	due->at = ms < 0 ? LAZYHEAP_NEVER : socket__now_ms() + ms + (ms > 0);
	if (due->at <= poll->horizon) /* a timer that sets itself for now waits for the next tick */
		due->at = poll->horizon + 1;
	lazyheap__update(&poll->heap, &due->place);
}

/* ---- deadlines ---- */

void SocketPoll_set_deadline(T poll, Socket_T s, int ms)
{
	CHECK_POLL(poll);
	set_due(poll, &socketpoll__slot_of(poll, s, "SocketPoll_set_deadline")->due, ms);
}

int SocketPoll_next_ms(T poll)
{
	int64_t at = SOCKET__NEVER;

	CHECK_POLL(poll);
	if (poll->next_ready < poll->nready || poll->closing
		|| __atomic_load_n(&poll->waking, __ATOMIC_ACQUIRE))
		return 0;
	lazyheap__first(&poll->heap, &at);
	return socket__poll_ms(at);
}

/* ---- timers ---- */

SocketPoll_Timer_T SocketPoll_timer(T poll, void (*fn)(void *cl), void *cl)
{
	SocketPoll_Timer_T timer;

	CHECK_POLL(poll);
	CHECK(fn, "SocketPoll_timer: the function is NULL");
	socketpoll__provide_heap(poll);
	timer = poll->dropped;
	if (timer)
		poll->dropped = timer->next_dropped;
	else
		timer = ALLOC(poll->arena, sizeof *timer);
	memset(timer, 0, sizeof *timer);
	timer->due.at = LAZYHEAP_NEVER;
	timer->fn = fn;
	timer->cl = cl;
	poll->ntimers++;
	return timer;
}

static void check_timer(SocketPoll_Timer_T timer, const char *function)
{
	if (!timer || !timer->fn)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: %s", function,
			timer ? "the timer was dropped" : "the timer is NULL");
}

void SocketPoll_set_timer(T poll, SocketPoll_Timer_T timer, int ms)
{
	CHECK_POLL(poll);
	check_timer(timer, "SocketPoll_set_timer");
	timer->period = 0;
	set_due(poll, &timer->due, ms);
}

void SocketPoll_repeat_timer(T poll, SocketPoll_Timer_T timer, int ms)
{
	CHECK_POLL(poll);
	check_timer(timer, "SocketPoll_repeat_timer");
	timer->period = ms < 0 ? 0 : ms ? ms : 1;
	set_due(poll, &timer->due, ms < 0 ? ms : timer->period);
}

/* Counts the next turn from this one, not from the end of its function. Skips turns that have
 * passed. */
static int64_t compute_next_turn(const struct SocketPoll_Timer *timer, int64_t horizon)
{
	int64_t missed = (horizon - timer->due.at) / timer->period;

	return timer->due.at + (missed + 1) * timer->period;
}

/* Sets the next turn before it calls the function, because that may set, repeat or drop the
 * timer, or raise. */
void socketpoll__run_timer(T poll, SocketPoll_Timer_T timer)
{
	lazyheap__remove(&poll->heap, &timer->due.place);
	timer->due.at = timer->period ? compute_next_turn(timer, poll->horizon) : LAZYHEAP_NEVER;
	lazyheap__update(&poll->heap, &timer->due.place);
	timer->fn(timer->cl);
}

void SocketPoll_drop_timer(T poll, SocketPoll_Timer_T *timer)
{
	SocketPoll_Timer_T t;

	CHECK_POLL(poll);
	CHECK(timer, "SocketPoll_drop_timer: the pointer is NULL");
	t = *timer;
	check_timer(t, "SocketPoll_drop_timer");
	*timer = NULL;
	lazyheap__remove(&poll->heap, &t->due.place);
	t->fn = NULL;
	t->next_dropped = poll->dropped;
	poll->dropped = t;
	poll->ntimers--;
}
