/* SPDX-License-Identifier: MIT */
/* Arena, continued: the owner of an arena, the records of threads, the registry of arenas, and
 * fork.
 *
 * The thread that made an arena, or last cleared it, is its owner and moves lane.avail without
 * a lock or an atomic instruction. The first other thread that comes after that takes the
 * ownership away; from then until the next clear the arena is shared: all threads but the owner
 * bump the common lane under the lock.
 *
 * Invariant: at most one thread is between [own-3] and [own-5] of an arena; whoever has revoked
 * the owner under the lock is alone with what it writes, until it sets the owner anew. Only a
 * thread itself, in the library and under the lock, makes itself the owner. Records are never
 * freed.
 *
 *   the thread                                       the revoker, under the lock
 *   [own-1] busy = arena                             [rev-1] owner = NULL
 *   [own-2] compiler barrier                         [rev-2] membarrier
 *   [own-3] owner == self? (acquire)                 [rev-3] wait until busy of the thread that
 *   [own-4] read and write the lane                          was the owner is not this arena
 *                                                            (acquire)
 *   [own-5] busy = NULL (release)
 *
 * membarrier makes every running thread pass a full barrier. So either [own-1] is seen in
 * [rev-3], or [rev-1] is seen in [own-3]. `busy` is in the record of the thread, not in the arena.
 * So a thread may set it before it knows anything of the arena. A thread that was stopped after
 * that cannot clear another's. src/test/models/arena.pml is a model of this file.
 *
 * The registry is a list under a lock. An arena is in it from when its home comes from the
 * backing allocator until home goes back. Between, the arena may be a shell in a thread's store,
 * which its magic tells. A walker locks the registry and closes the gate (arena/chunks.c): then no
 * arena becomes a shell, and no shell an arena. Adoption takes the same lock, so two adoptions
 * cannot make a cycle, and a walker sees no half-done one. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
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
#include "base/cancel.h"

#define T Arena_T

_Static_assert(offsetof(Arena__Head, owner) == 0 && offsetof(struct Arena, owner) == 0, "frozen");
_Static_assert(offsetof(Arena__Head, avail) == 64, "frozen");
_Static_assert(offsetof(struct Arena, lane.avail) == 64, "frozen");
_Static_assert(offsetof(Arena__Head, limit) == offsetof(struct Arena, lane.limit), "frozen");
_Static_assert(sizeof(char *) != 8 || offsetof(Arena__Head, limit) == 72, "frozen");
_Static_assert(offsetof(Thread, face.busy) == 0, "frozen");
_Static_assert((int)Arena__ALIGN == ALIGN && (int)Arena__LINE == LINE, "frozen");

Thread arena__nobody;
CORE_PER_THREAD Arena__Thread *Arena__self = &arena__nobody.face;

/* ---- the barrier ---- */

#if HAVE_LINUX_MEMBARRIER_H
static int register_for_barriers(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static void pass_barrier(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		CORRUPT("membarrier(2) worked when the program began and fails now");
}
#else
static int register_for_barriers(void)
{
	return 0;
}

static void pass_barrier(void)
{
}
#endif

/* ---- records ---- */

int arena__lanes_allowed, arena__on_valgrind;
static pthread_key_t exit_key;
pthread_mutex_t arena__records_lock = PTHREAD_MUTEX_INITIALIZER;
static Thread *all = NOBODY, *idle; /* all: pushed to under the lock, read without */
static int enrolled; /* how many of `all` are not idle */

static void retire(void *record)
{
	Thread *t = record;

	arena__leave(t); /* a signal handler may have ended the thread amid a bump */
	arena__empty_store(t);
	Arena__self = &NOBODY->face; /* a later destructor may come back for another record */
	pthread_mutex_lock(&arena__records_lock);
	t->next_idle = idle;
	idle = t;
	enrolled--;
	pthread_mutex_unlock(&arena__records_lock);
}

static void allow_lanes(void)
{
	arena__on_valgrind = ask_valgrind();
	arena__read_guards();
	arena__lanes_allowed = !are_handlers_watched() && !red_zone() && !under_tsan()
		&& register_for_barriers() && pthread_key_create(&exit_key, retire) == 0;
}

/* Before main, or before that at the first arena: in a program that is linked statically, its
 * own constructors and C++'s global objects come first. These decisions must not change while an
 * arena lives. */
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
	t->next = all;
	STORE_RELEASE(all, t);
	return t;
}

static Thread *get_record(void)
{
	Thread *t;

	pthread_mutex_lock(&arena__records_lock);
	t = idle;
	if (t)
		idle = t->next_idle;
	else
		t = new_record();
	enrolled += t != NULL;
	pthread_mutex_unlock(&arena__records_lock);
	return t;
}

static Thread *enrol(void)
{
	static CORE_PER_THREAD Arena__Thread alone;
	Thread *t;

	begin();
	t = arena__lanes_allowed ? get_record() : NULL;
	if (!arena__lanes_allowed)
		Arena__self = &alone; /* or all threads would write to one */
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

/* Returns 1 if no other thread has a record; one that gets it later sees all from before. */
static int is_alone(void)
{
	int others;

	pthread_mutex_lock(&arena__records_lock);
	others = enrolled - (record_now() != NULL);
	pthread_mutex_unlock(&arena__records_lock);
	return others == 0;
}

/* The other threads are gone, some perhaps amid a bump: of that nothing is left but the mark. */
static void reset_threads(void)
{
	Thread *t, *self = self_now();

	if (!arena__lanes_allowed)
		return;
	(void)register_for_barriers();
	idle = NULL;
	enrolled = record_now() != NULL;
	for (t = all; t; t = t->next) {
		t->face.busy = NULL;
		if (t != self && t != NOBODY) {
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
	WITHOUT_CANCELLATION;

	nanosleep(&moment, NULL);
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

/* [rev-1] to [rev-3] */
static void revoke_owner(T a)
{
	Thread *was = a->owner;

	if (!was || was == self_now())
		return;
	STORE(a->owner, NULL);  /* [rev-1] */
	pass_barrier();       /* [rev-2] */
	wait_out(was, a);
}

int arena__is_mine(const struct Arena *a)
{
	return !a->owner || a->owner == self_now();
}

int arena__claim(T a)
{
	Thread *t = self_now();

	if (LIKELY(a->owner == t))
		return 1;
	t = arena__thread();
	if (a->owner && a->owner != t) {
		if (t && a->slow & VISITED)
			return 0;
		STORE(a->slow, a->slow | VISITED);
		revoke_owner(a);
	}
	STORE_RELEASE(a->owner, t);
	return 1;
}

void arena__lock_alone(T a)
{
	arena__lock(a);
	revoke_owner(a);
	STORE_RELEASE(a->owner, arena__thread());
}

void arena__settle_common(T a)
{
	size_t n = above_floor(&a->common.lane);

	a->used += n;
	a->common.used += n;
	set_lane(&a->common.lane, NULL, NULL);
}

size_t arena__used_now(const struct Arena *a)
{
	return a->used + above_floor(&a->lane) + above_floor(&a->common.lane);
}

size_t arena__most_now(const struct Arena *a)
{
	size_t used = arena__used_now(a), most = LOAD(a->used_most);

	return used > most ? used : most;
}

size_t arena__peak_now(const struct Arena *a)
{
	size_t most = arena__most_now(a), peak = LOAD(a->peak);

	return most > peak ? most : peak;
}

void arena__note_most(T a)
{
	STORE(a->used_most, arena__most_now(a));
}

/* ---- the registry ---- */

pthread_mutex_t arena__registry_lock = PTHREAD_MUTEX_INITIALIZER;
T arena__registry;
int arena__registry_walked;

void arena__lock_registry(void)
{
	Thread *t;

	pthread_mutex_lock(&arena__registry_lock);
	STORE(arena__registry_walked, 1);
	if (!is_alone())
		pass_barrier();
	for (t = arena__first_thread(); t; t = t->next) /* read after the gate was closed */
		while (LOAD_ACQUIRE(t->turnover))
			sched_yield();
}

void arena__unlock_registry(void)
{
	STORE_RELEASE(arena__registry_walked, 0);
	pthread_mutex_unlock(&arena__registry_lock);
}

void arena__register(T a)
{
	pthread_mutex_lock(&arena__registry_lock);
	a->next = arena__registry;
	a->link = &arena__registry;
	if (a->next)
		a->next->link = &a->next;
	arena__registry = a;
	pthread_mutex_unlock(&arena__registry_lock);
}

void arena__deregister(T a)
{
	pthread_mutex_lock(&arena__registry_lock);
	*a->link = a->next;
	if (a->next)
		a->next->link = a->link;
	pthread_mutex_unlock(&arena__registry_lock);
}

size_t Arena_debug_live_count(void)
{
	size_t n = 0;
	T a;

	arena__lock_registry();
	for (a = arena__registry; a; a = a->next)
		n += LOAD(a->magic) == MAGIC;
	arena__unlock_registry();
	return n;
}

/* ---- fork: no lock may be held by a thread that the child does not have ----
 *
 * A fork takes every arena's lock, or the child might find an arena half-way through a step. Under
 * TSan it takes only the registry's: the deadlock detector aborts if a thread holds more than 64
 * locks. */

static void for_each_lock(int (*apply)(pthread_mutex_t *))
{
	T a;

	for (a = under_tsan() ? NULL : arena__registry; a; a = a->next)
		apply(&a->lock);
}

static void lock_all(void)
{
	arena__lock_registry();
	for_each_lock(pthread_mutex_lock);
	pthread_mutex_lock(&arena__records_lock);
}

static void unlock_all(void)
{
	pthread_mutex_unlock(&arena__records_lock);
	for_each_lock(pthread_mutex_unlock);
	arena__unlock_registry();
}

static void unlock_in_child(void)
{
	reset_threads();
	unlock_all();
}

static void __attribute__((constructor)) prepare_for_fork(void)
{
	pthread_atfork(lock_all, unlock_all, unlock_in_child);
}
