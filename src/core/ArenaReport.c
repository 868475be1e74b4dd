/* SPDX-License-Identifier: MIT */
/* Arena, continued: the registry of all live arenas, for the count, the report and fork, and what an
 * arena tells about itself.
 *
 * The registry is SHARDS lists, each with a lock, so that threads that create and dispose of arenas
 * seldom meet. An arena is in the list of its address from its creation until just before it goes; all
 * shards locked, the lists are exactly the live arenas and live_count is their number. */
#include "config.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <core/Arena.h>
#include "ArenaRep.h"

#define T Arena_T

#define SHARD  { PTHREAD_MUTEX_INITIALIZER, NULL, 0 }
#define SHARDS_4 SHARD, SHARD, SHARD, SHARD
enum { SHARDS = 16 };

static struct {
	pthread_mutex_t lock;
	struct Arena *first;
	size_t made;
} live[SHARDS] = { SHARDS_4, SHARDS_4, SHARDS_4, SHARDS_4 };
static atomic_size_t live_count;

static void lock_shards(void)
{
	int i;

	for (i = 0; i < SHARDS; i++)
		pthread_mutex_lock(&live[i].lock);
}

static void unlock_shards(void)
{
	int i;

	for (i = 0; i < SHARDS; i++)
		pthread_mutex_unlock(&live[i].lock);
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
}

static void unlock_all(void)
{
	for_each_lock(pthread_mutex_unlock);
	unlock_shards();
}

static void __attribute__((constructor)) prepare_for_fork(void)
{
	pthread_atfork(lock_all, unlock_all, unlock_all);
}

/* ---- the registry ---- */

static unsigned shard(const struct Arena *a)
{
	return (unsigned)((uintptr_t)a >> 12 ^ (uintptr_t)a >> 16) % SHARDS;
}

void arena__add_live(T a)
{
	unsigned s = shard(a);

	pthread_mutex_lock(&live[s].lock);
	a->serial = live[s].made++ * SHARDS + s;
	a->next_live = live[s].first;
	a->live_link = &live[s].first;
	if (a->next_live)
		a->next_live->live_link = &a->next_live;
	live[s].first = a;
	atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
	pthread_mutex_unlock(&live[s].lock);
}

void arena__remove_live(T a)
{
	unsigned s = shard(a);

	pthread_mutex_lock(&live[s].lock);
	*a->live_link = a->next_live;
	if (a->next_live)
		a->next_live->live_link = a->live_link;
	atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
	pthread_mutex_unlock(&live[s].lock);
}

size_t Arena_debug_live_count(void)
{
	return atomic_load_explicit(&live_count, memory_order_relaxed);
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

/* The name is copied: it is borrowed only while the arena lives. */
static void fill_line(Line *line, struct Arena *a)
{
	pthread_mutex_lock(&a->lock);
	line->arena = a;
	line->parent = a->parent;
	line->file = a->file;
	line->line = a->line;
	line->used = a->used;
	line->held = a->held;
	line->peak = a->peak;
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

static size_t read_size(T a, const size_t *field)
{
	size_t n;

	pthread_mutex_lock(&a->lock);
	n = *field;
	pthread_mutex_unlock(&a->lock);
	return n;
}

size_t Arena_used(T a)
{
	CHECK_ARENA(a);
	return read_size(a, &a->used);
}

size_t Arena_capacity(T a)
{
	CHECK_ARENA(a);
	return read_size(a, &a->held);
}

size_t Arena_peak(T a)
{
	CHECK_ARENA(a);
	return read_size(a, &a->peak);
}

void Arena_set_limit(T a, size_t nbytes)
{
	CHECK_ARENA(a);
	pthread_mutex_lock(&a->lock);
	a->limit = nbytes;
	pthread_mutex_unlock(&a->lock);
}

#if CORE_DEBUG
void arena__check(T a)
{
	size_t held = a->spare ? a->spare->size : 0;
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
	if (a->avail < a->floor || a->avail > a->current->limit)
		CORRUPT("an arena's free bytes are not in its current chunk");
	if (a->used > a->used_most || a->used_most > a->peak)
		CORRUPT("an arena's accounts are wrong");
}
#endif
