/* SPDX-License-Identifier: MIT */
/* The workloads of bench_arena, compiled anew for each contestant with its calls inlined:
 * CONTESTANT(id) makes a Contestant of the const Allocator id. What a workload has allocated is
 * never touched, except where growth and resident memory are measured: it is the allocators that
 * are compared, not the caches. */
#ifndef ARENA_WORKLOADS_INCLUDED
#define ARENA_WORKLOADS_INCLUDED
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* What there is of malloc and free has release, and no arenas; it is told of each object. */
typedef struct Allocator {
	void *(*make)(void);
	void *(*alloc)(void *arena, size_t nbytes);
	void *(*zeroed)(void *arena, size_t nbytes);
	char *(*copy)(void *arena, const char *s);
	void (*clear)(void *arena);
	void (*dispose)(void *arena);
	void (*release)(void *p);
} Allocator;

typedef struct Contestant {
	const char *name;
	void (*mixed)(void *, size_t), (*request)(void *, size_t), (*report)(void *, size_t),
		(*cleared)(void *, size_t), (*zeroed)(void *, size_t), (*strings)(void *, size_t);
	void (*shared)(void *, size_t), (*crowded)(void *, size_t), (*apart)(void *, size_t),
		(*single)(void *, size_t);
	void (*own)(void *, size_t), (*handed)(void *, size_t), (*fresh)(void *, size_t),
		(*warm)(void *, size_t);
	double (*fresh_resident)(void *), (*empty)(void *), (*small)(void *);
} Contestant;

extern const Contestant contestant_core, contestant_exported, contestant_bump, contestant_huge,
	contestant_locked, contestant_glib;
enum { MOST_PEERS = 4 };
extern const Contestant *malloc_peers[], *arena_peers[]; /* those that are here, then NULL */
void find_peers(void);

/* Makes a hypervisor give the machine the memory that is about to be used. Otherwise the
 * contestant that comes first pays for it. */
void touch_machine(void);

enum {
	BATCH = 1000, REQUEST = 50, REPORT = 1500, SIZES = 1024,
	SHARE = 8192,            /* allocations of a thread until all release */
	WARM = 4,                /* such turns before the clock starts: the arenas grow in them */
	MOST_THREADS = 4,
	ARENAS = 256,            /* alive at once, when many are */
	MIB_OBJECTS = 3972,      /* of 264 bytes on average */
	EMPTY = 4096, SMALL = 1000000, SMALL_SIZE = 48
};
extern unsigned short arena_sizes[SIZES]; /* 16 to 512, at random, the same in each run */
extern size_t arena_growth;               /* MiB */

#define INLINED static inline __attribute__((always_inline))

/* count objects, the first of them of the size numbered first */
INLINED void take(const Allocator *A, void *arena, void **kept, size_t first, size_t count,
	int touch)
{
	size_t i;

	for (i = 0; i < count; i++) {
		char *p = A->alloc(arena, arena_sizes[(first + i) % SIZES]);

		if (touch)
			*p = 1;
		bench_use(p);
		if (A->release)
			kept[i] = p;
	}
}

/* All of them: what there was in kept, or the arena. */
INLINED void let_go(const Allocator *A, void *arena, void **kept, size_t count, int for_good)
{
	size_t i;

	for (i = 0; A->release && i < count; i++)
		A->release(kept[i]);
	if (!A->release && for_good)
		A->dispose(arena);
	else if (!A->release)
		A->clear(arena);
}

INLINED void *make(const Allocator *A) { return A->make ? A->make() : NULL; }

INLINED void mixed(const Allocator *A, size_t n)
{
	void *arena = make(A), *kept[BATCH];
	size_t count;

	for (; n > 0; n -= count) {
		count = n < BATCH ? n : BATCH;
		take(A, arena, kept, 0, count, 0);
		let_go(A, arena, kept, count, 0);
	}
	let_go(A, arena, kept, 0, 1);
}

/* n times: so many objects, in an arena of their own. */
INLINED void request(const Allocator *A, size_t n, size_t count)
{
	void *kept[REPORT];

	for (; n > 0; n--) {
		void *arena = make(A);

		take(A, arena, kept, n, count, 0);
		let_go(A, arena, kept, count, 1);
	}
}

INLINED void cleared(const Allocator *A, size_t n)
{
	void *arena = make(A), *kept[REQUEST];

	for (; n > 0; n--) {
		take(A, arena, kept, n, REQUEST, 0);
		let_go(A, arena, kept, REQUEST, 0);
	}
	let_go(A, arena, kept, 0, 1);
}

INLINED void objects(const Allocator *A, size_t n, int strings)
{
	void *arena = make(A), *kept[BATCH];
	size_t count, i, size = 1024;
	const char *text = "a string of 20 bytes";

	/* hides both, or an inlined memset or strlen would have an advantage */
	__asm__("" : "+r"(size), "+r"(text));
	for (; n > 0; n -= count) {
		count = n < BATCH ? n : BATCH;
		for (i = 0; i < count; i++) {
			kept[i] = strings ? A->copy(arena, text) : A->zeroed(arena, size);
			bench_use(kept[i]);
		}
		let_go(A, arena, kept, count, 0);
	}
	let_go(A, arena, kept, 0, 1);
}

/* ---- threads that work at the same time ---- */

typedef struct Team {
	size_t threads, turns;
	int one_arena;
	void *arena; /* of all, or of the first */
	atomic_size_t members; /* which have a number */
	atomic_size_t arrivals;
} Team;

/* All threads meet: each counts itself in and waits for the others. */
INLINED void meet(Team *team, size_t meeting)
{
	int spins = 0;

	atomic_fetch_add(&team->arrivals, 1);
	while (atomic_load_explicit(&team->arrivals, memory_order_acquire) < team->threads * meeting)
		if (++spins > 2000)
			sched_yield();
}

/* What one of the threads does. The first one, which has the number 0, starts the clock. */
INLINED void share(const Allocator *A, Team *team, int first)
{
	static _Thread_local void *kept[SHARE];
	size_t turn, meeting = 0, self = first ? 0 : atomic_fetch_add(&team->members, 1);
	void *arena = self == 0 || team->one_arena ? team->arena : make(A);

	for (turn = 0; turn < WARM + team->turns; turn++) {
		meet(team, ++meeting);
		if (turn == WARM && self == 0)
			bench_resume();
		take(A, arena, kept, 0, SHARE, 0);
		meet(team, ++meeting);
		if (A->release || self == 0 || !team->one_arena)
			let_go(A, arena, kept, SHARE, 0);
	}
	meet(team, ++meeting);
	if (self == 0)
		bench_pause();
	if (self == 0 || !team->one_arena)
		let_go(A, arena, NULL, 0, 1);
}

/* Each thread makes so many allocations. */
INLINED void work_together(const Allocator *A, size_t threads, size_t each,
	void *(*other)(void *), int one_arena)
{
	Team team = { threads, each / SHARE, one_arena, NULL, 1, 0 };
	pthread_t ids[MOST_THREADS];
	size_t i;

	bench_pause();
	team.arena = make(A);
	for (i = 1; i < threads; i++)
		if (pthread_create(&ids[i], NULL, other, &team) != 0)
			abort();
	share(A, &team, 1);
	for (i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);
}

INLINED void make_arenas(const Allocator *A, void **arenas)
{
	size_t i;

	for (i = 0; i < ARENAS; i++) {
		arenas[i] = make(A);
		bench_use(A->alloc(arenas[i], 64));
	}
}

/* The first allocation from each of ARENAS arenas that the caller, or other, has made and used. */
INLINED void first_allocation(const Allocator *A, void *(*other)(void *))
{
	void *arenas[ARENAS];
	pthread_t thread;
	size_t i;

	bench_pause();
	if (!other)
		make_arenas(A, arenas);
	else if (pthread_create(&thread, NULL, other, arenas) != 0 || pthread_join(thread, NULL) != 0)
		abort();
	bench_resume();
	for (i = 0; i < ARENAS; i++)
		bench_use(A->alloc(arenas[i], 64));
	bench_pause();
	for (i = 0; i < ARENAS; i++)
		A->dispose(arenas[i]);
}

/* ---- in a process of its own: growth, and memory ---- */

/* n MiB; when warm, for the third time. Nothing is given back at the end: the process ends. */
INLINED void grow(const Allocator *A, size_t n, int warm)
{
	size_t count = n * MIB_OBJECTS;
	void *arena, **kept = NULL;
	int i;

	bench_pause();
	touch_machine();
	arena = make(A);
	if (A->release && !(kept = malloc(count * sizeof *kept)))
		abort();
	for (i = 0; warm && i < 2; i++) {
		take(A, arena, kept, 0, count, 1);
		let_go(A, arena, kept, count, 0);
	}
	bench_resume();
	take(A, arena, kept, 0, count, 1);
}

/* MiB for that much, the pointers that free needs included */
INLINED double resident(const Allocator *A)
{
	double before = bench_resident();

	grow(A, arena_growth, 0);
	return (bench_resident() - before) / (1 << 20);
}

INLINED double empty(const Allocator *A)
{
	double before = bench_resident();
	size_t i;

	for (i = 0; i < EMPTY; i++)
		bench_use(make(A));
	return (bench_resident() - before) / EMPTY;
}

INLINED double small(const Allocator *A)
{
	double before = bench_resident();
	void *arena = make(A);
	size_t i;

	for (i = 0; i < SMALL; i++)
		memset(A->alloc(arena, SMALL_SIZE), 1, SMALL_SIZE);
	return (bench_resident() - before) / SMALL;
}

#define CONTESTANT(id, title)                                                                      \
	static void id##_mixed(void *cl, size_t n) { (void)cl; mixed(&id, n); }                        \
	static void id##_request(void *cl, size_t n) { (void)cl; request(&id, n, REQUEST); }           \
	static void id##_report(void *cl, size_t n) { (void)cl; request(&id, n, REPORT); }             \
	static void id##_cleared(void *cl, size_t n) { (void)cl; cleared(&id, n); }                    \
	static void id##_objects(void *cl, size_t n) { (void)cl; objects(&id, n, 0); }                 \
	static void id##_strings(void *cl, size_t n) { (void)cl; objects(&id, n, 1); }                 \
	static void *id##_member(void *team) { share(&id, team, 0); return NULL; }                     \
	static void id##_shared(void *cl, size_t n)                                                    \
	{                                                                                              \
		(void)cl; work_together(&id, 2, n / 2, id##_member, 1);                                    \
	}                                                                                              \
	static void id##_crowded(void *cl, size_t n)                                                   \
	{                                                                                              \
		(void)cl; work_together(&id, 4, n / 4, id##_member, 1);                                    \
	}                                                                                              \
	static void id##_apart(void *cl, size_t n)                                                     \
	{                                                                                              \
		(void)cl; work_together(&id, 2, n, id##_member, 0);                                        \
	}                                                                                              \
	static void id##_single(void *cl, size_t n)                                                    \
	{                                                                                              \
		(void)cl; work_together(&id, 1, n, NULL, 0);                                               \
	}                                                                                              \
	static void *id##_make_arenas(void *arenas) { make_arenas(&id, arenas); return NULL; }         \
	static void id##_own(void *cl, size_t n) { (void)cl; (void)n; first_allocation(&id, NULL); }   \
	static void id##_handed(void *cl, size_t n)                                                    \
	{                                                                                              \
		(void)cl; (void)n; first_allocation(&id, id##_make_arenas);                                \
	}                                                                                              \
	static void id##_fresh(void *cl, size_t n) { (void)cl; grow(&id, n, 0); }                      \
	static void id##_warm(void *cl, size_t n) { (void)cl; grow(&id, n, 1); }                       \
	static double id##_fresh_resident(void *cl) { (void)cl; return resident(&id); }                \
	static double id##_empty(void *cl) { (void)cl; return empty(&id); }                            \
	static double id##_small(void *cl) { (void)cl; return small(&id); }                            \
	const Contestant contestant_##id = {                                                           \
		title, id##_mixed, id##_request, id##_report, id##_cleared, id##_objects, id##_strings,    \
		id##_shared, id##_crowded, id##_apart, id##_single, id##_own, id##_handed, id##_fresh,     \
		id##_warm, id##_fresh_resident, id##_empty, id##_small                                     \
	}

#endif
