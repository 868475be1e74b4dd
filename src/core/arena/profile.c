/* SPDX-License-Identifier: MIT */
/* Arena, continued: the heap profile, chosen by CORE_ARENA_DEBUG when the program begins.
 *
 *   profile          a row for each lifetime (an arena's name) and site (a place in the code)
 *   profile:folded   also a row for each lifetime and stack of calls, for flame graphs
 *
 * Arenas are closed then, so that each allocation comes here. A row has three counters, changed
 * without a lock: bytes now, bytes ever, calls. Rows are never freed; a new one is pushed under
 * the lock of the records, which a fork takes, too. The names of functions and modules are
 * looked up when a row is made: later the module may be gone.
 *
 * Each arena has a log of its live allocations, oldest first, under its lock. A mark is an entry
 * without a row, with the bytes used then. Only a rewind lets the bytes fall below that. So a
 * rewind drops what is above the newest such entry that is not above the mark. A lack of memory
 * raises nothing: the profile says how much it lacks. */
#include "config.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"
#include "base/place.h"
#include "base/text.h"

enum { BUCKETS = 1024, FIRST_ENTRIES = 16 };
enum { LIFETIME_SHOWN = 64, SITE_SHOWN = 160, STACK_SHOWN = 4096 };

/* The key of a row; compared as bytes. */
typedef struct Key {
	char lifetime[LIFETIME_SHOWN];
	char file[SITE_SHOWN];
	int line, is_stack;
	void *frames[PLACE_FRAMES]; /* innermost first, then NULL */
} Key;

struct Usage {
	struct Usage *next; /* the next in its bucket */
	struct Usage *site; /* a stack's row has the row of its site */
	atomic_size_t now, ever, calls;
	Key key;
	const char *where; /* the site or, outermost first, the stack */
};

typedef struct Entry {
	struct Usage *usage; /* NULL if it is a mark */
	const char *p;
	size_t nbytes; /* a mark has the arena's used */
} Entry;

struct Log {
	size_t n, room;
	Entry entries[];
};

static struct Usage *buckets[BUCKETS]; /* pushed to under the lock, read without */
/* For allocations whose row could not be made. */
static struct Usage unknown = { .key.lifetime = "(no memory)", .where = "(unknown)" };
static atomic_size_t not_logged; /* bytes that `now` lacks */

/* ---- rows ---- */

static struct Usage **bucket_of(const Key *key)
{
	const uint32_t *words = (const uint32_t *)(const void *)key;
	size_t i;
	uint32_t hash = 2166136261u;

	for (i = 0; i < sizeof *key / sizeof *words; i++)
		hash = (hash ^ words[i]) * 16777619u;
	hash ^= hash >> 16;
	return &buckets[hash % BUCKETS];
}

static struct Usage *find_row(struct Usage *const *bucket, const Key *key)
{
	struct Usage *row = LOAD_ACQUIRE(*bucket);

	while (row && memcmp(&row->key, key, sizeof *key) != 0)
		row = row->next;
	return row;
}

static size_t print_site(char *to, size_t size, const Key *key)
{
	size_t n = key->file[0] ? text__format(to, size, "%s:%d", key->file, key->line)
		: key->frames[0] ? place__format(to, size, key->frames[0], PLACE_MODULE) : 0;

	return n ? n : text__format(to, size, "(unknown)");
}

/* Semicolons stand between frames, so a name has none. */
static void print_stack(char *to, size_t size, const Key *key)
{
	char frame[SITE_SHOWN];
	size_t n = 0, i, depth = 0;

	while (depth < PLACE_FRAMES && key->frames[depth])
		depth++;
	while (depth-- > 0 && n + 2 * sizeof frame < size)
		if (place__format(frame, sizeof frame, key->frames[depth], PLACE_FUNCTION) > 0)
			n += text__format(to + n, size - n, "%s%s", n ? "\n" : "", frame);
	if (key->file[0] || n == 0)
		n += text__format(to + n, size - n, "%s%s:%d", n ? "\n" : "", key->file, key->line);
	for (i = 0; i < n; i++)
		to[i] = (char)(to[i] == ';' ? ':' : to[i] == '\n' ? ';' : to[i]);
}

/* No lock of an arena is held, or a thread that runs dlopen could wait for it. */
static struct Usage *make_row(struct Usage **bucket, const Key *key, struct Usage *site)
{
	char where[STACK_SHOWN];
	struct Usage *row, *found;
	size_t size;

	if (key->is_stack)
		print_stack(where, sizeof where, key);
	else
		print_site(where, sizeof where, key);
	size = strlen(where) + 1;
	row = calloc(1, sizeof *row + size);
	if (!row)
		return &unknown;
	row->key = *key;
	row->site = site;
	row->where = memcpy(row + 1, where, size);
	pthread_mutex_lock(&arena__records_lock);
	found = find_row(bucket, key); /* another thread's, meanwhile */
	if (!found) {
		row->next = *bucket;
		STORE_RELEASE(*bucket, row);
	}
	pthread_mutex_unlock(&arena__records_lock);
	if (found)
		free(row);
	return found ? found : row;
}

static struct Usage *row_of(const Key *key, struct Usage *site)
{
	struct Usage **bucket = bucket_of(key), *row = find_row(bucket, key);

	return row ? row : make_row(bucket, key, site);
}

/* An arena without a name has the place that made it instead. */
static void print_lifetime(char *to, size_t size, const struct Arena *a)
{
	const char *file = LOAD_ACQUIRE(a->file);

	if (a->name)
		text__format(to, size, "%s", a->name);
	else if (file)
		text__format(to, size, "arena@%s:%d", file, LOAD(a->line));
	else
		text__format(to, size, "arena");
}

struct Usage *arena__usage(const struct Arena *a, const Site *site)
{
	int error = errno;
	Key key;
	struct Usage *row;

	memset(&key, 0, sizeof key);
	print_lifetime(key.lifetime, sizeof key.lifetime, a);
	if (site->file && site->macro) {
		text__format(key.file, sizeof key.file, "%s", site->file);
		key.line = site->line;
	} else
		key.frames[0] = site->caller;
	row = row_of(&key, NULL);
	if (arena__guards & GUARD_STACKS && row != &unknown) {
		place__capture(key.frames, PLACE_FRAMES, site->caller);
		key.is_stack = 1;
		row = row_of(&key, row);
	}
	errno = error;
	return row;
}

/* ---- counters and logs; the lock of the arena is held in all of this part ---- */

/* Counts modulo 2 to the number of bits, so -n subtracts. */
static void add_bytes(struct Usage *row, size_t now, size_t ever, size_t calls)
{
	for (; row; row = row->site) {
		atomic_fetch_add(&row->now, now);
		atomic_fetch_add(&row->ever, ever);
		atomic_fetch_add(&row->calls, calls);
	}
}

/* Returns NULL if there is no memory. */
static Entry *push_entry(struct Arena *a)
{
	struct Log *log = a->log;
	size_t room = log ? log->room : 0;
	int error = errno;

	if (!log || log->n == room) {
		room = room ? 2 * room : FIRST_ENTRIES;
		log = realloc(log, sizeof *log + room * sizeof log->entries[0]);
		errno = error;
		if (!log)
			return NULL;
		log->room = room;
		if (!a->log)
			log->n = 0;
		a->log = log;
	}
	return &log->entries[log->n++];
}

void arena__log(struct Arena *a, struct Usage *row, const void *p, size_t nbytes)
{
	Entry *e = push_entry(a);

	if (e)
		*e = (Entry){ row, p, nbytes };
	else
		atomic_fetch_add(&not_logged, nbytes);
	add_bytes(row, e ? nbytes : 0, nbytes, 1);
}

static Entry *newest_entry(const struct Arena *a)
{
	return a->log && a->log->n ? &a->log->entries[a->log->n - 1] : NULL;
}

static Entry *find_entry(const struct Arena *a, const void *p)
{
	size_t i = a->log ? a->log->n : 0;

	while (i-- > 0)
		if (a->log->entries[i].usage && a->log->entries[i].p == p)
			return &a->log->entries[i];
	return NULL;
}

void arena__log_resize(struct Arena *a, const void *p, size_t nbytes)
{
	Entry *e = find_entry(a, p);

	if (!e)
		return;
	add_bytes(e->usage, nbytes - e->nbytes, nbytes > e->nbytes ? nbytes - e->nbytes : 0, 0);
	e->nbytes = nbytes;
}

void arena__log_release(struct Arena *a, const void *p)
{
	Entry *e = find_entry(a, p);

	if (!e)
		return;
	add_bytes(e->usage, -e->nbytes, 0, 0);
	memmove(e, e + 1, (size_t)(&a->log->entries[--a->log->n] - e) * sizeof *e);
}

void arena__log_mark(struct Arena *a)
{
	Entry *e = newest_entry(a);

	if (e && !e->usage && e->nbytes == a->used)
		return;
	e = push_entry(a);
	if (e)
		*e = (Entry){ .nbytes = a->used };
}

void arena__log_rewind(struct Arena *a, size_t used)
{
	Entry *e;

	while ((e = newest_entry(a)) != NULL && (e->usage || e->nbytes > used)) {
		if (e->usage)
			add_bytes(e->usage, -e->nbytes, 0, 0);
		a->log->n--;
	}
	if (!e) {
		free(a->log);
		a->log = NULL;
	}
}

/* ---- the profile ---- */

static struct Usage *next_row(const struct Usage *row, size_t *bucket)
{
	struct Usage *next = row ? row->next : NULL;

	while (!next && *bucket < BUCKETS)
		next = LOAD_ACQUIRE(buckets[(*bucket)++]);
	return next;
}

/* The counters are copied before they are sorted: other threads change them. */
typedef struct Shown {
	const struct Usage *row;
	size_t now, ever, calls;
} Shown;

static Shown copy_counters(struct Usage *row)
{
	return (Shown){ row, atomic_load(&row->now), atomic_load(&row->ever),
		atomic_load(&row->calls) };
}

static int compare_shown(const void *one, const void *other)
{
	const Shown *a = one, *b = other;

	if (a->now != b->now)
		return a->now < b->now ? 1 : -1;
	return (a->ever < b->ever) - (a->ever > b->ever);
}

static void print_row(FILE *out, const Shown *s, int stacks)
{
	const Key *key = &s->row->key;

	if (stacks && key->is_stack)
		fprintf(out, "%s;%s %zu\n", key->lifetime, s->row->where, s->ever);
	else if (!stacks && !key->is_stack)
		fprintf(out, "%12zu %14zu %10zu  %-20s  %s\n", s->now, s->ever, s->calls,
			key->lifetime, s->row->where);
}

/* Sorted, unless there is no memory for that. */
static void print_rows(FILE *out, int stacks)
{
	size_t n = 0, i = 0, bucket = 0;
	struct Usage *row;
	Shown *all;

	for (row = next_row(NULL, &bucket); row; row = next_row(row, &bucket))
		n++;
	all = calloc(n + 1, sizeof *all);
	bucket = 0;
	for (row = next_row(NULL, &bucket); row && (!all || i < n); row = next_row(row, &bucket)) {
		Shown s = copy_counters(row);

		if (all)
			all[i++] = s;
		else
			print_row(out, &s, stacks);
	}
	if (i)
		qsort(all, i, sizeof *all, compare_shown);
	for (n = 0; n < i; n++)
		print_row(out, &all[n], stacks);
	free(all);
}

void Arena_debug_profile(FILE *out)
{
	Shown s = copy_counters(&unknown);
	int error = errno;

	CHECK(out, "Arena_debug_profile: the file is NULL");
	if (!(arena__guards & GUARD_PROFILE)) {
		fputs("libcore: no heap profile: CORE_ARENA_DEBUG=profile was not set when the program "
			"began\n", out);
		return;
	}
	fprintf(out, "libcore: heap profile\n%12s %14s %10s  %-20s  %s\n", "bytes now", "bytes ever",
		"calls", "arena", "site");
	print_rows(out, 0);
	if (s.calls)
		print_row(out, &s, 0);
	if (atomic_load(&not_logged))
		fprintf(out, "libcore: there was no memory to follow %zu bytes, which bytes now lacks\n",
			atomic_load(&not_logged));
	if (arena__guards & GUARD_STACKS)
		print_rows(out, 1);
	errno = error;
}

static void __attribute__((destructor)) print_at_exit(void)
{
	if (arena__guards & GUARD_PROFILE)
		Arena_debug_profile(stderr);
}
