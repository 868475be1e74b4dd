/* SPDX-License-Identifier: MIT */
/* Arena, continued: the registry of arenas, for the count, the report and fork, and what an arena tells
 * about itself.
 *
 * The registry is SHARDS lists, each with a lock, so that threads that create and dispose of arenas
 * seldom meet. An arena is in the list of its address from when its home comes from the backing allocator until it
 * goes back; between, it may be a shell in a thread's store, which its magic tells. The walkers close the gate
 * (arena/cache.c) as well as locking all shards: the lists are then exactly the arenas and shells, and none is
 * changing from one into the other. */
#include "config.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

#define SHARD  { PTHREAD_MUTEX_INITIALIZER, NULL }
#define SHARDS_4 SHARD, SHARD, SHARD, SHARD
enum { SHARDS = 16 };

static struct {
	pthread_mutex_t lock;
	struct Arena *first;
} live[SHARDS] = { SHARDS_4, SHARDS_4, SHARDS_4, SHARDS_4 };
static atomic_size_t made_by_others, gone_by_others; /* threads without a record */
static int walked;

static void lock_shards(void)
{
	Thread *t;
	int i;

	for (i = 0; i < SHARDS; i++)
		pthread_mutex_lock(&live[i].lock);
	STORE(walked, 1);
	if (!arena__is_alone())
		arena__barrier();
	for (t = arena__first_thread(); t; t = t->next) /* after the gate was closed: lest one be missed that passed it */
		while (LOAD_ACQUIRE(t->turnover))
			sched_yield();
}

static void unlock_shards(void)
{
	int i;

	STORE_RELEASE(walked, 0);
	for (i = 0; i < SHARDS; i++)
		pthread_mutex_unlock(&live[i].lock);
}

int arena__registry_is_walked(void)
{
	return LOAD_ACQUIRE(walked);
}

/* ---- fork: no lock may be held by a thread that the child does not have ----
 *
 * Every arena's lock is taken, or the child might find an arena half-way through a step. Under TSan
 * only the registry's are: its deadlock detector aborts when a thread holds more than 64. */

static void for_each_lock(int (*apply)(pthread_mutex_t *))
{
	int i;

	for (i = 0; i < SHARDS && !under_tsan(); i++) {
		struct Arena *a;

		for (a = live[i].first; a; a = a->next_live)
			apply(&a->lock);
	}
}

static void lock_all(void)
{
	lock_shards();
	for_each_lock(pthread_mutex_lock);
	arena__lock_records();
}

static void unlock_all(void)
{
	arena__unlock_records();
	for_each_lock(pthread_mutex_unlock);
	unlock_shards();
}

static void unlock_in_child(void)
{
	arena__reset_threads();
	unlock_all();
}

static void __attribute__((constructor)) prepare_for_fork(void)
{
	pthread_atfork(lock_all, unlock_all, unlock_in_child);
}

/* ---- the registry ---- */

/* One adoption at a time, lest two make a cycle. The first shard's lock serves, as fork takes it anyway. */
void arena__lock_tree(void)
{
	pthread_mutex_lock(&live[0].lock);
}

void arena__unlock_tree(void)
{
	pthread_mutex_unlock(&live[0].lock);
}

static unsigned shard(const struct Arena *a)
{
	return (unsigned)((uintptr_t)a >> 12 ^ (uintptr_t)a >> 16) % SHARDS;
}

void arena__count_made(Thread *t)
{
	if (t)
		STORE(t->made, t->made + 1);
	else
		atomic_fetch_add_explicit(&made_by_others, 1, memory_order_relaxed);
}

void arena__count_gone(Thread *t)
{
	if (t)
		STORE(t->gone, t->gone + 1);
	else
		atomic_fetch_add_explicit(&gone_by_others, 1, memory_order_relaxed);
}

void arena__add_live(T a, Thread *t)
{
	unsigned s = shard(a);

	pthread_mutex_lock(&live[s].lock);
	a->next_live = live[s].first;
	a->live_link = &live[s].first;
	if (a->next_live)
		a->next_live->live_link = &a->next_live;
	live[s].first = a;
	arena__count_made(t);
	pthread_mutex_unlock(&live[s].lock);
}

void arena__remove_live(T a)
{
	unsigned s = shard(a);

	pthread_mutex_lock(&live[s].lock);
	*a->live_link = a->next_live;
	if (a->next_live)
		a->next_live->live_link = a->live_link;
	if (LOAD(a->magic) == MAGIC)
		arena__count_gone(record_now());
	pthread_mutex_unlock(&live[s].lock);
}

/* What is gone is read first, as it was made before: the count is never too low by an arena that goes meanwhile. */
size_t Arena_debug_live_count(void)
{
	size_t made = 0, gone = atomic_load(&gone_by_others);
	Thread *t;

	for (t = arena__first_thread(); t; t = t->next)
		gone += LOAD_ACQUIRE(t->gone);
	for (t = arena__first_thread(); t; t = t->next)
		made += LOAD_ACQUIRE(t->made);
	return made + atomic_load(&made_by_others) - gone;
}

/* ---- the report: a snapshot under the locks, printed without them ---- */

enum { NAME_MAX_SHOWN = 64 };

typedef struct Line {
	const struct Arena *arena, *parent;
	char name[NAME_MAX_SHOWN];
	const char *file;
	size_t used, held, peak;
	int line;
} Line;

static size_t peak_now(const struct Arena *a)
{
	size_t used = arena__used_now(a), most = LOAD(a->used_most), peak = LOAD(a->peak);

	if (most > peak)
		peak = most;
	return used > peak ? used : peak;
}

/* The name is copied: it is borrowed only while the arena lives. */
static void fill_line(Line *line, struct Arena *a)
{
	pthread_mutex_lock(&a->lock);
	line->arena = a;
	line->parent = a->parent;
	line->file = LOAD_ACQUIRE(a->file);
	line->line = LOAD(a->line);
	line->used = arena__used_now(a);
	line->held = a->held;
	line->peak = peak_now(a);
	pthread_mutex_unlock(&a->lock);
	line->name[0] = '\0';
	strncat(line->name, a->name ? a->name : "arena", sizeof line->name - 1);
}

/* The number of live arenas; their lines if there is room for all of them. */
static size_t snapshot(Line *lines, size_t room)
{
	size_t n = 0, count;
	int i;

	lock_shards();
	count = Arena_debug_live_count();
	for (i = 0; i < SHARDS && count <= room; i++) {
		struct Arena *a;

		for (a = live[i].first; a; a = a->next_live)
			if (LOAD(a->magic) == MAGIC)
				fill_line(&lines[n++], a);
	}
	unlock_shards();
	return count;
}

static void print_line(FILE *out, const Line *line, int depth)
{
	fprintf(out, "%*s%s %p", 2 * depth, "", line->name, (const void *)line->arena);
	if (line->file)
		fprintf(out, " made at %s:%d", line->file, line->line);
	fprintf(out, ": %zu used, %zu held, %zu peak\n", line->used, line->held, line->peak);
}

static void print_tree(FILE *out, const Line *lines, size_t n, const struct Arena *parent, int depth)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (lines[i].parent == parent) {
			print_line(out, &lines[i], depth);
			print_tree(out, lines, n, lines[i].arena, depth + 1);
		}
}

void Arena_debug_report(FILE *out)
{
	size_t room, n = Arena_debug_live_count();
	Line *lines = NULL;

	CHECK(out, "Arena_debug_report: the file is NULL");
	do {
		room = n + 16;
		free(lines);
		lines = calloc(room, sizeof *lines);
		if (!lines)
			EXCEPT_RAISE_MSG(Arena_Failed, "Arena_debug_report: out of memory for %zu lines", room);
		n = snapshot(lines, room);
	} while (n > room);
	fprintf(out, "%zu live arenas\n", n);
	print_tree(out, lines, n, NULL, 1);
	free(lines);
}

/* ---- accounting ---- */

/* No thread is stopped for these: what the owner allocates meanwhile is counted or not. */
static size_t ask(T a, size_t (*what)(const struct Arena *))
{
	size_t n;

	arena__lock(a);
	n = what(a);
	pthread_mutex_unlock(&a->lock);
	return n;
}

static size_t held_now(const struct Arena *a)
{
	return a->held;
}

size_t Arena_used(T a)
{
	CHECK_ARENA(a);
	return ask(a, arena__used_now);
}

size_t Arena_capacity(T a)
{
	CHECK_ARENA(a);
	return ask(a, held_now);
}

size_t Arena_peak(T a)
{
	CHECK_ARENA(a);
	return ask(a, peak_now);
}

void Arena_set_limit(T a, size_t nbytes)
{
	CHECK_ARENA(a);
	arena__lock(a);
	STORE(a->most, nbytes);
	pthread_mutex_unlock(&a->lock);
}

#if CORE_DEBUG
void arena__check(T a)
{
	size_t held = (a->spare ? a->spare->size : 0) + (a->side_spare ? a->side_spare->size : 0);
	const Chunk *c, *oldest = NULL;
	int current = 0;

	for (c = a->newest; c; c = c->older) {
		held += c->size;
		current |= c == a->current;
		oldest = c;
	}
	if (oldest != a->home || !current)
		CORRUPT("an arena's chunks are not linked");
	if (held > a->held)
		CORRUPT("an arena holds more than it has booked");
	if (a->lane.avail < a->lane.floor || a->lane.avail > a->lane.limit || a->lane.limit > a->current->limit
		|| a->counted > a->lane.floor)
		CORRUPT("an arena's free bytes are not in its current chunk");
	if (a->owner || a->sides)
		CORRUPT("an arena has lanes in a build without");
}
#endif
