/* SPDX-License-Identifier: MIT */
/* Arena beside what Debian packages: see the workloads in arena_workloads.h, the contestants in
 * arena_peers.c, and how to run and read it in README.md.
 *
 *   bench_arena [MiB]       how large the growing arenas become, 256 unless given; up to 1024 */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <core/Arena.h>
#include "arena_workloads.h"

unsigned short arena_sizes[SIZES];
size_t arena_growth = 256;
enum { REPORTS = 500 };

/* splitmix64 */
static uint64_t scramble(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void make_sizes(void)
{
	size_t i;

	for (i = 0; i < SIZES; i++)
		arena_sizes[i] = (unsigned short)(16 + scramble(i) % (512 - 16 + 1));
}

/* jemalloc has more static thread-local storage than dlopen has room for, unless the environment
 * tells the loader to reserve more. */
static void reserve_tls(char *argv[])
{
	if (getenv("GLIBC_TUNABLES"))
		return;
	setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=16384", 1);
	execv("/proc/self/exe", argv);
}

typedef void Run(void *, size_t);
typedef double Value(void *);

/* The same workload of each contestant: the member of that offset. */
typedef struct Workload {
	const char *name;
	size_t member;
	size_t n;
	const char *unit; /* of a value; NULL: it is run */
	double most;      /* the goal of Arena in that unit; 0: none */
} Workload;

#define MEMBER(c, offset, Type) (*(Type *const *)(const void *)((const char *)(c) + (offset)))

static void add(const Workload *w, const Contestant *c, double goal)
{
	Bench_Case b = { .workload = w->name, .name = c->name, .n = w->n, .goal = goal };

	if (w->unit) {
		b.value = MEMBER(c, w->member, Value);
		b.unit = w->unit;
		b.most = c == &contestant_core ? w->most : 0;
	} else
		b.run = MEMBER(c, w->member, Run);
	b.fresh = w->unit || w->n == arena_growth || w->n == REPORTS;
	bench_add(&b);
}

static void add_all(const Workload *w, const Contestant *const *peers)
{
	for (; *peers; peers++)
		add(w, *peers, 0);
}

/* limit, Arena in both ways, and peers */
static void compare(const Workload *w, const Contestant *limit, double goal, double exported_goal)
{
	add(w, limit, 0);
	add(w, &contestant_core, goal);
	add(w, &contestant_exported, exported_goal);
	add_all(w, malloc_peers);
	add_all(w, arena_peers);
}

#define RUN(title, member, n) (&(Workload){ title, offsetof(Contestant, member), n, NULL, 0 })
#define VALUE(title, member, unit, most) \
	(&(Workload){ title, offsetof(Contestant, member), 0, unit, most })

static void compare_speed(void)
{
	Workload *strings = RUN("copy of a 20-byte string, released 1000 at a time", strings, 0);

	compare(RUN("16 to 512 bytes mixed, released 1000 at a time", mixed, 0), &contestant_bump, 1.5,
		3.5);
	compare(RUN("request: create, 50 mixed, dispose", request, 0), &contestant_bump, 1.6, 0);
	compare(RUN("request: create, 1,500 mixed (400 KB), dispose", report, REPORTS),
		&contestant_bump, 3, 0);
	compare(RUN("request: 50 mixed, clear", cleared, 0), &contestant_bump, 0, 0);
	compare(RUN("calloc of 1 KiB, released 1000 at a time", zeroed, 0), &contestant_bump, 0, 0);
	compare(strings, &contestant_bump, 0, 0);
#if HAVE_GLIB
	add(strings, &contestant_glib, 0);
#endif
}

/* The contestant with that name among malloc_peers; NULL if it is missing. */
static const Contestant *find_malloc(const char *name)
{
	const Contestant *const *peer = malloc_peers;

	while (*peer && strcmp((*peer)->name, name) != 0)
		peer++;
	return *peer;
}

/* As with one arena, n is the number of allocations of both threads together. */
static void bump_in_each(void *cl, size_t n)
{
	contestant_bump.apart(cl, n / 2);
}

/* Only what is safe there; to APR, talloc and obstacks the program would have to bring a lock. */
static void compare_sharing(void)
{
	Workload *two = RUN("two threads, one arena", shared, 16 * SHARE);
	Workload *goal = RUN("two threads, one arena, beside mimalloc", shared, 16 * SHARE);
	Workload *four = RUN("four threads, one arena, beside a bump under one mutex", crowded,
		16 * SHARE);
	Contestant limit = contestant_bump;

	limit.name = "inline bump in each: the limit";
	limit.shared = bump_in_each;
	add(two, &limit, 0);
	add(two, &contestant_core, 0);
	add(two, &contestant_exported, 0);
	add_all(two, malloc_peers);
	add(two, &contestant_locked, 0);
	if (find_malloc("mimalloc"))
		add(goal, find_malloc("mimalloc"), 0);
	add(goal, &contestant_core, 1);
	add(four, &contestant_locked, 0);
	add(four, &contestant_core, 1.3);
	add(four, &contestant_exported, 0);
	add_all(four, malloc_peers);
}

/* Each thread has an arena of its own. The figures are for one allocation in each thread. */
static void compare_separate(void)
{
	Workload *apart = RUN("two threads, an arena each", apart, 16 * SHARE);
	Workload *beside = RUN("two threads, an arena each, beside one thread", apart, 16 * SHARE);
	Workload *single = RUN(beside->name, single, 16 * SHARE);
	Contestant one = contestant_core, two = contestant_core;

	one.name = "Arena, one thread";
	two.name = "Arena, two threads";
	add(single, &one, 0);
	add(beside, &two, 1.3);
	compare(apart, &contestant_bump, 0, 0);
}

/* talloc has a header for each object, so it is not compared here; exported functions add nothing
 * here. */
static void compare_growth(const Workload *w, const Contestant *limit, double goal)
{
	const Contestant *const *peer;

	add(w, limit, 0);
	add(w, &contestant_core, goal);
	add_all(w, malloc_peers);
	for (peer = arena_peers; *peer; peer++)
		if (strncmp((*peer)->name, "talloc", 6) != 0)
			add(w, *peer, 0);
}

static void compare_memory(void)
{
	Workload *empty = VALUE("resident bytes of an empty arena", empty, "bytes", 4300);

	compare_growth(RUN("growth by 16 to 512 bytes, a process's first: a MiB", fresh, arena_growth),
		&contestant_huge, 1.85);
	compare_growth(RUN("growth for the third time, cleared between: a MiB", warm, arena_growth),
		&contestant_huge, 0);
	compare_growth(VALUE("resident after growth", fresh_resident, "MiB", 0), &contestant_huge, 0);
	add(empty, &contestant_core, 0);
	add_all(empty, arena_peers);
	compare(VALUE("resident bytes an object of 48 bytes", small, "bytes", 0), &contestant_huge, 0,
		0);
}

/* Arena alone: an APR pool may not be handed over without a lock. */
static void measure_handover(void)
{
	Workload *own = RUN("an arena's next allocation, in another thread", own, ARENAS);
	Workload *handed = RUN(own->name, handed, ARENAS);
	Contestant same = contestant_core, other = contestant_core;

	same.name = "by the thread that made it";
	other.name = "by another";
	add(own, &same, 0);
	add(handed, &other, 0);
}

int main(int argc, char *argv[])
{
	reserve_tls(argv);
	bench_start("arena", &argc, argv);
	if (argc > 1)
		arena_growth = strtoul(argv[1], NULL, 10);
	make_sizes();
	find_peers();
	compare_memory(); /* first: a process that is forked inherits what earlier runs have freed */
	compare_speed();
	compare_sharing();
	compare_separate();
	measure_handover();
	bench_run();
	return bench_end();
}
