/* SPDX-License-Identifier: MIT */
/* Arena, continued: lanes. The thread that made an arena, or last cleared it, is its owner and moves
 * lane.avail without a lock or an atomic instruction. Another thread that comes either takes the ownership
 * away ("steals" it) or gets a side: a lane of its own, cut in slices from chunks that the owner does not use.
 *
 * Invariant: at most one thread is between [own-3] and [own-5] of a lane; whoever has revoked the owner (or
 * the sides) under the lock is alone with what they write, until it sets the owner (or makes a side) anew.
 * Only a thread itself, in the library and under the lock, makes itself the owner or gets a side. The keys
 * of sides, and records, are never taken for others: keys are never used twice, records never freed.
 *
 *   the thread                                       the revoker, under the lock
 *   [own-1] busy = arena                             [rev-1] owner = NULL  (key = 0)
 *   [own-2] compiler barrier                         [rev-2] membarrier
 *   [own-3] owner == self?  (key known?) (acquire)   [rev-3] wait until busy of the thread that
 *   [own-4] read and write the lane                          was the owner is not this arena (acquire)
 *   [own-5] busy = NULL (release)
 *
 * membarrier makes every running thread pass a full barrier: so either [own-1] is seen in [rev-3], or [rev-1] is seen
 * in [own-3]. `busy` is in the record of the thread, not in the arena: so it may be set before anything is known, and
 * a thread that was stopped after it can clear no other's. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if HAVE_LINUX_MEMBARRIER_H
#include <linux/membarrier.h>
#include <sys/syscall.h>
#endif

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

_Static_assert(offsetof(Arena__Head, owner) == 0 && offsetof(struct Arena, owner) == 0, "frozen");
_Static_assert(offsetof(Arena__Head, avail) == 64 && offsetof(struct Arena, lane.avail) == 64, "frozen");
_Static_assert(offsetof(Arena__Head, limit) == offsetof(struct Arena, lane.limit), "frozen");
_Static_assert(sizeof(char *) != 8 || offsetof(Arena__Head, limit) == 72, "frozen");
_Static_assert(offsetof(Thread, face.busy) == 0, "frozen");
_Static_assert((int)Arena__ALIGN == ALIGN && (int)Arena__LINE == LINE, "frozen");

#if CORE_DEBUG
enum { DEBUG_BUILD = 1 };
#else
enum { DEBUG_BUILD = 0 };
#endif

Thread arena__nobody;
CORE_PER_THREAD Arena__Thread *Arena__self = &arena__nobody.face;

/* ---- the barrier ---- */

#if HAVE_LINUX_MEMBARRIER_H
static int register_for_barriers(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void arena__barrier(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		CORRUPT("membarrier(2) worked when the program began and fails now");
}
#else
static int register_for_barriers(void)
{
	return 0;
}

void arena__barrier(void)
{
}
#endif

/* ---- records ---- */

int arena__lanes_allowed, arena__on_valgrind;
static pthread_key_t exit_key;
static pthread_mutex_t records_lock = PTHREAD_MUTEX_INITIALIZER;
static Thread *all, *idle; /* all: pushed to under the lock, read without */
static uint64_t records;
static int enrolled; /* of all, those that are not idle */
static atomic_uint_least64_t ids_without_record;

static void retire(void *record)
{
	Thread *t = record;

	arena__empty_store(t);
	Arena__self = (Arena__Thread *)(void *)NOBODY; /* a later destructor may come back for another record */
	pthread_mutex_lock(&records_lock);
	t->next_idle = idle;
	idle = t;
	enrolled--;
	pthread_mutex_unlock(&records_lock);
}

static void allow_lanes(void)
{
	arena__on_valgrind = ask_valgrind();
	arena__read_guards();
	arena__lanes_allowed = !DEBUG_BUILD && !(arena__guards & GUARD_FENCES) && !red_zone() && !under_tsan() && register_for_barriers()
		&& pthread_key_create(&exit_key, retire) == 0;
}

/* Before main, or before that at the first arena: in a program that is linked statically, its own constructors and C++'s
 * global objects come first. What is decided here must not change while an arena lives. */
static void __attribute__((constructor)) begin(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, allow_lanes);
}

static Thread *new_record(void)
{
	void *p;
	Thread *t;

	if (posix_memalign(&p, LINE, sizeof *t) != 0)
		return NULL;
	t = memset(p, 0, sizeof *t);
	t->number = ++records;
	t->next = all;
	STORE_RELEASE(all, t);
	return t;
}

static Thread *get_record(void)
{
	Thread *t;

	pthread_mutex_lock(&records_lock);
	t = idle;
	if (t)
		idle = t->next_idle;
	else
		t = new_record();
	enrolled += t != NULL;
	pthread_mutex_unlock(&records_lock);
	return t;
}

static Thread *enrol(void)
{
	static CORE_PER_THREAD Arena__Thread alone;
	Thread *t;

	begin();
	t = arena__lanes_allowed ? get_record() : NULL;
	if (!arena__lanes_allowed)
		Arena__self = &alone; /* lest all threads write to nobody's */
	if (t && pthread_setspecific(exit_key, t) != 0) {
		retire(t);
		t = NULL;
	}
	if (t)
		Arena__self = &t->face;
	return t;
}

Thread *arena__thread(void)
{
	return self_now() == NOBODY ? enrol() : record_now();
}

Thread *arena__first_thread(void)
{
	return LOAD_ACQUIRE(all);
}

uint64_t arena__unique(Thread *t)
{
	return t ? (t->number << 40) + ++t->ids : atomic_fetch_add(&ids_without_record, 1) + 1;
}

int arena__is_alone(void)
{
	int others;

	pthread_mutex_lock(&records_lock);
	others = enrolled - (record_now() != NULL);
	pthread_mutex_unlock(&records_lock);
	return others == 0;
}

void arena__lock_records(void)
{
	pthread_mutex_lock(&records_lock);
}

void arena__unlock_records(void)
{
	pthread_mutex_unlock(&records_lock);
}

/* The other threads are gone, some perhaps amid a bump: of that nothing is left but the mark. */
void arena__reset_threads(void)
{
	Thread *t, *self = self_now();

	if (!arena__lanes_allowed)
		return;
	(void)register_for_barriers();
	idle = NULL;
	enrolled = record_now() != NULL;
	for (t = all; t; t = t->next) {
		t->face.busy = NULL;
		if (t != self) {
			t->next_idle = idle;
			idle = t;
		}
	}
}

/* ---- ownership; the lock is held in all of this part ---- */

/* No cancellation point may be passed: the lock is held. */
static void sleep_a_moment(void)
{
	static const struct timespec moment = { 0, 50000 };
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	nanosleep(&moment, NULL);
	pthread_setcancelstate(before, NULL);
}

static void wait_out(const Thread *t, T a)
{
	int turn;

	for (turn = 0; LOAD_ACQUIRE(t->face.busy) == a; turn++) /* [rev-3] */
		if (turn < 100)
			sched_yield();
		else
			sleep_a_moment(); /* it may be of lower priority */
}

/* What is left of its slice. */
static size_t tail_of(const Side *s)
{
	return (size_t)(s->lane.limit - LOAD(s->lane.avail));
}

/* What its thread will not use of its slice is free, though nobody gets it. */
void arena__leave_tail(T a, const Side *s)
{
	size_t n = tail_of(s);

	a->tails += n;
	a->used -= n;
}

void arena__revoke(T a, int sides_too)
{
	Thread *was = a->owner;
	Side *sides = sides_too ? a->sides : NULL;

	if (was == self_now())
		was = NULL;
	if (!was && !sides)
		return;
	if (was)
		STORE(a->owner, NULL);  /* [rev-1] */
	if (sides)
		STORE(a->key, 0);       /* [rev-1] */
	arena__barrier();               /* [rev-2] */
	if (was)
		wait_out(was, a);
	for (; sides; sides = sides->next) {
		wait_out(sides->thread, a);
		arena__leave_tail(a, sides);
	}
	if (sides_too)
		a->sides = NULL;
}

int arena__is_mine(const struct Arena *a)
{
	return !a->owner || a->owner == self_now();
}

static int is_idle(T a)
{
	const char *avail = LOAD(a->lane.avail);

	a->idle = avail == a->seen ? (unsigned char)(a->idle + 1) : 0;
	a->seen = avail;
	return a->idle >= IDLE_VISITS;
}

int arena__claim(T a)
{
	Thread *t = arena__thread();

	if (a->owner && a->owner != t) {
		STORE(a->slow, a->slow | VISITED);
		if (t && a->steals >= STEALS && !is_idle(a))
			return 0;
		a->steals += a->steals < STEALS;
		a->seen = NULL;
		arena__revoke(a, 0);
	}
	STORE_RELEASE(a->owner, t);
	return 1;
}

Side *arena__find_side(const struct Arena *a)
{
	Side *s = a->sides;

	while (s && s->thread != self_now())
		s = s->next;
	return s;
}

void arena__lock_alone(T a)
{
	arena__lock(a);
	arena__revoke(a, 1);
	a->slices = a->slices_limit = NULL;
	STORE_RELEASE(a->owner, arena__thread());
}

size_t arena__used_now(const struct Arena *a)
{
	size_t n = a->used + (size_t)(LOAD(a->lane.avail) - a->counted);
	const Side *s;

	for (s = a->sides; s; s = s->next)
		n -= tail_of(s);
	return n;
}

void arena__note_most(T a)
{
	size_t n = arena__used_now(a);

	if (n > a->used_most)
		STORE(a->used_most, n);
}
