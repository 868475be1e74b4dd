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
} Workload;

#define MEMBER(c, offset, Type) (*(Type *const *)(const void *)((const char *)(c) + (offset)))

static void add(const Workload *w, const Contestant *c, double goal)
{
	Bench_Case b = { .workload = w->name, .name = c->name, .n = w->n, .goal = goal };

	if (w->unit) {
		b.value = MEMBER(c, w->member, Value);
		b.unit = w->unit;
	} else
		b.run = MEMBER(c, w->member, Run);
	b.fresh = w->unit || w->n == arena_growth;
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

#define RUN(title, member, n) (&(Workload){ title, offsetof(Contestant, member), n, NULL })
#define VALUE(title, member, unit) (&(Workload){ title, offsetof(Contestant, member), 0, unit })

static void compare_speed(void)
{
	Workload *strings = RUN("copy of a 20-byte string, released 1000 at a time", strings, 0);

	compare(RUN("16 to 512 bytes mixed, released 1000 at a time", mixed, 0), &contestant_bump, 1.5,
		3.5);
	compare(RUN("request: create, 50 mixed, dispose", request, 0), &contestant_bump, 1.6, 0);
	compare(RUN("request: 50 mixed, clear", cleared, 0), &contestant_bump, 0, 0);
	compare(RUN("calloc of 1 KiB, released 1000 at a time", zeroed, 0), &contestant_bump, 0, 0);
	compare(strings, &contestant_bump, 0, 0);
#if HAVE_GLIB
	add(strings, &contestant_glib, 0);
#endif
}

/* Only what is safe there; to APR, talloc and obstacks the program would have to bring a lock. */
static void compare_threads(void)
{
	Workload *shared = RUN("two threads, one arena", shared, 16 * SHARE);
	Workload *apart = RUN("two threads, an arena each", apart, 16 * SHARE);
	Contestant limit = contestant_bump;

	limit.name = "inline bump in each: the limit";
	limit.shared = limit.apart;
	add(shared, &limit, 0);
	add(shared, &contestant_core, 0);
	add(shared, &contestant_exported, 0);
	add_all(shared, malloc_peers);
	add(shared, &contestant_locked, 0);
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
	Workload *empty = VALUE("resident bytes of an empty arena", empty, "bytes");

	compare_growth(RUN("growth by 16 to 512 bytes, a process's first: a MiB", fresh, arena_growth),
		&contestant_huge, 1.85);
	compare_growth(RUN("growth for the third time, cleared between: a MiB", warm, arena_growth),
		&contestant_huge, 0);
	compare_growth(VALUE("resident after growth", fresh_resident, "MiB"), &contestant_huge, 0);
	add(empty, &contestant_core, 0);
	add_all(empty, arena_peers);
	compare(VALUE("resident bytes an object of 48 bytes", small, "bytes"), &contestant_huge, 0, 0);
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
	compare_threads();
	measure_handover();
	bench_run();
	return bench_end();
}
