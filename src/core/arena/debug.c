/* SPDX-License-Identifier: MIT */
/* Arena, continued: the guard modes, chosen by CORE_ARENA_DEBUG when the program begins, and
 * the report.
 *
 *   leaks   the arenas that live at exit are reported, with where they were made
 *   fill    also fills free bytes with a pattern, which is checked when they are allocated, and
 *           fresh bytes with another; checks a fence around each allocation when it is released
 *   guard   also gives each allocation a mapping of its own, with no page after it; its addresses
 *           stay unmapped for long after it was released
 *   profile see arena/profile.c
 *
 * An allocation is made as always, with room for its fence. So limits, accounts and the lack of
 * memory stay what they are without the mode. Its object is in that block or, with guard, in a
 * mapping:
 *
 *   block:     Fence ... back canary object tail
 *   mapping:   ... back canary object slack | no page
 *
 * `back` leads from an object to its fence. All fences of an arena are in a list, newest first. */
#include "config.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <core/Arena.h>
#include "arena/rep.h"
#include "base/place.h"
#include "base/text.h"

#define T Arena_T

/* MAPPED and RETIRED are mappings, of two areas each: Linux lets a process have 65,530 areas. */
enum {
	FREE_BYTE = 0xDD,
	FRESH_BYTE = 0xCD,
	FENCE_BYTE = 0xFB,
	TAIL = 16,
	FRONT = 2 * sizeof(uintptr_t),
	MAPPED = 16 * 1024,
	RETIRED = 4 * 1024
};
static const uintptr_t CANARY = (uintptr_t)0xFBFBFBFBFBFBFBFBu;

struct Fence {
	struct Fence *older;
	unsigned char *p;   /* the object */
	size_t nbytes;
	const char *file;   /* where it was allocated; NULL: not known */
	char *base;         /* its mapping, without the last page; NULL: the object is in the block */
	size_t size;
	int line;
};

int arena__guards;

/* ---- what was asked for ---- */

static const struct {
	const char *word;
	int guards;
} modes[] = {
	{ "leaks", GUARD_LEAKS },
	{ "fill", GUARD_LEAKS | GUARD_FENCES },
	{ "guard", GUARD_LEAKS | GUARD_FENCES | GUARD_PAGES },
	{ "profile", GUARD_PROFILE },
	{ "profile:folded", GUARD_PROFILE | GUARD_STACKS }
};
enum { MODES = sizeof modes / sizeof modes[0] };

static void read_mode(const char *s, size_t n)
{
	size_t i = 0;

	while (i < MODES && !text__is_word(s, n, modes[i].word))
		i++;
	if (i < MODES)
		arena__guards |= modes[i].guards;
	else
		fprintf(stderr, "libcore: CORE_ARENA_DEBUG takes leaks, fill, guard, profile and "
			"profile:folded, not \"%.*s\"\n", (int)n, s);
}

/* Not for a program that runs with more rights than whoever started it. */
void arena__read_guards(void)
{
	int trusted = getuid() == geteuid() && getgid() == getegid();
	const char *s = trusted ? getenv("CORE_ARENA_DEBUG") : NULL;

	for (; s && *s; s += *s == ',') {
		size_t n = strcspn(s, ",");

		read_mode(s, n);
		s += n;
	}
	if (arena__guards & GUARD_FENCES && !red_zone()) /* ASan and Valgrind do that better */
		arena__guards |= GUARD_FILL;
	if (arena__guards & GUARD_STACKS)
		place__prepare();
}

/* ---- the report of what was found ---- */

CORE_NORETURN
static void die(const struct Arena *a, const struct Fence *f, const char *what, const void *at)
{
	fprintf(stderr, "libcore: %s %p", a->name ? a->name : "arena", (const void *)a);
	if (a->file)
		fprintf(stderr, " made at %s:%d", a->file, a->line);
	if (f) {
		fprintf(stderr, ": %zu bytes at %p", f->nbytes, (const void *)f->p);
		if (f->file)
			fprintf(stderr, ", allocated at %s:%d,", f->file, f->line);
	} else
		fputc(':', stderr);
	fprintf(stderr, " %s", what);
	if (at)
		fprintf(stderr, " (at %p)", at);
	fputc('\n', stderr);
	abort();
}

/* ---- signal handlers ---- */

void arena__watch_handlers(const struct Arena *a)
{
	static CORE_PER_THREAD const struct Arena *volatile amid;

	if (a && amid)
		die(a, NULL, "was used by a signal handler amid another call of its thread", NULL);
	amid = a;
}

/* ---- patterns ---- */

void arena__fill_free(const void *p, size_t nbytes)
{
	memset((void *)(uintptr_t)p, FREE_BYTE, nbytes);
}

static const unsigned char *other_than(const unsigned char *p, size_t nbytes, int byte)
{
	size_t i;

	for (i = 0; i < nbytes; i++)
		if (p[i] != byte)
			return p + i;
	return NULL;
}

static void check_free(const struct Arena *a, const void *p, size_t nbytes)
{
	const unsigned char *strange = other_than(p, nbytes, FREE_BYTE);

	if (strange)
		die(a, NULL, "memory was written after it was released by clear or rewind, or before "
			"it was allocated", strange);
}

void arena__fill_fresh(T a, void *p, size_t nbytes)
{
	check_free(a, p, nbytes);
	memset(p, FRESH_BYTE, nbytes);
}

/* ---- mappings ---- */

static atomic_size_t mapped; /* objects */

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* The object as far back in its mapping as its alignment lets it be; 0: no memory, it stays in
 * the block. */
static int map_object(struct Fence *f, size_t alignment)
{
	size_t page = page_size(), size = (f->nbytes + FRONT + alignment - 1) / alignment * alignment;
	char *base;

	size = (size + FRONT + page - 1) / page * page;
	if (alignment > page || atomic_load(&mapped) >= MAPPED)
		return 0;
	base = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return 0;
	if (mprotect(base + size, page, PROT_NONE) != 0) {
		munmap(base, size + page);
		return 0;
	}
	atomic_fetch_add(&mapped, 1);
	f->base = base;
	f->size = size;
	f->p = (unsigned char *)base + (size - f->nbytes) / alignment * alignment;
	return 1;
}

/* The addresses are not for others until so many more mappings have gone. */
static void retire_mapping(char *base, size_t size)
{
	static struct { char *base; size_t size; } retired[RETIRED];
	static unsigned next;
	char *old;
	size_t old_size;

	atomic_fetch_sub(&mapped, 1);
	if (mmap(base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0)
		== MAP_FAILED)
		return;
	pthread_mutex_lock(&arena__records_lock); /* which a fork takes, too */
	old = retired[next % RETIRED].base;
	old_size = retired[next % RETIRED].size;
	retired[next % RETIRED].base = base;
	retired[next++ % RETIRED].size = size;
	pthread_mutex_unlock(&arena__records_lock);
	if (old)
		munmap(old, old_size);
}

/* ---- fences; the lock is held in all of this part ---- */

static size_t front_bytes(size_t alignment)
{
	return (sizeof(struct Fence) + FRONT + alignment - 1) / alignment * alignment;
}

static size_t tail_bytes(const struct Fence *f)
{
	return f->base ? (size_t)((unsigned char *)f->base + f->size - (f->p + f->nbytes)) : TAIL;
}

static void write_fence(struct Fence *f)
{
	uintptr_t *front = (uintptr_t *)(void *)f->p;

	front[-1] = CANARY;
	front[-2] = (uintptr_t)f ^ CANARY;
	memset(f->p + f->nbytes, FENCE_BYTE, tail_bytes(f));
}

static void check_fence(const struct Arena *a, const struct Fence *f)
{
	const uintptr_t *front = (const uintptr_t *)(const void *)f->p;
	const unsigned char *strange = other_than(f->p + f->nbytes, tail_bytes(f), FENCE_BYTE);

	if (strange)
		die(a, f, "were written past their end", strange);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the block of a fence is never NULL */
	if (front[-1] != CANARY || front[-2] != ((uintptr_t)f ^ CANARY))
		die(a, f, "were written before their start", &front[-1]);
}

void *arena__allocate_guarded_unlocks(T a, size_t alignment, size_t nbytes, const Site *site)
{
	size_t front = front_bytes(alignment), total;
	struct Fence *f;

	if (!add_size(nbytes, front + TAIL, &total))
		return NULL;
	f = arena__allocate_unlocks(a, alignment, total);
	if (!f)
		return NULL;
	*f = (struct Fence){ .older = a->fences, .p = (unsigned char *)f + front, .nbytes = nbytes,
		.file = site->macro ? site->file : NULL, .line = site->line };
	if (arena__guards & GUARD_PAGES && map_object(f, alignment))
		memset(f->p, FRESH_BYTE, nbytes);
	write_fence(f);
	a->fences = f;
	return f->p;
}

static struct Fence *fence_of(const struct Arena *a, void *p)
{
	uintptr_t *front = p;
	struct Fence *f = (struct Fence *)(front[-2] ^ CANARY);

	if (front[-1] != CANARY)
		die(a, NULL, "Arena_realloc of what is not an allocation, or was written before its start",
			p);
	check_fence(a, f);
	return f;
}

/* Shrinks; what is to grow always moves. */
int arena__shrink_guarded(T a, void *p, size_t old_nbytes, size_t new_nbytes)
{
	struct Fence *f = fence_of(a, p);

	if (f->nbytes != old_nbytes)
		die(a, f, "are said to be of another size in Arena_realloc", NULL);
	if (new_nbytes > old_nbytes)
		return 0;
	f->nbytes = new_nbytes;
	memset(f->p + new_nbytes, FENCE_BYTE, old_nbytes - new_nbytes);
	write_fence(f);
	return 1;
}

static void check_unused(T a)
{
	if (!(arena__guards & GUARD_FILL))
		return;
	check_free(a, a->lane.avail, (size_t)(a->lane.limit - a->lane.avail));
	if (a->spare)
		check_free(a, chunk_start(a->spare), (size_t)(a->spare->limit - chunk_start(a->spare)));
}

void arena__check_fences(T a, const struct Fence *last)
{
	check_unused(a);
	while (a->fences != last) {
		struct Fence *f = a->fences;

		check_fence(a, f);
		a->fences = f->older;
		if (f->base)
			retire_mapping(f->base, f->size + page_size());
	}
}

/* ---- the map and the report: a snapshot under the locks, shown without them ---- */

enum { NAME_SHOWN = 64, FILE_SHOWN = 160, DEPTH_SHOWN = 24 };

typedef struct Line {
	Arena_Info info;
	struct Line *up, *first, *next; /* parent, children, sibling */
	size_t depth;
	char name[NAME_SHOWN], file[FILE_SHOWN];
} Line;

/* The lines in the order of their tree: parents first, in `order`, and each child after its
 * parent. */
typedef struct Map {
	Line *lines, **order;
	size_t n, room;
} Map;

static void free_map(Map *m)
{
	free(m->lines);
	free(m->order);
}

/* The strings are copied: they are there only while the arena lives, and the module that made
 * it. */
static void fill_line(Line *l, struct Arena *a)
{
	const char *file;

	arena__relock(a);
	l->info.arena = a;
	l->info.parent = a->parent;
	file = LOAD_ACQUIRE(a->file);
	l->info.line = LOAD(a->line);
	l->info.used = arena__used_now(a);
	l->info.capacity = a->held;
	l->info.peak = arena__peak_now(a);
	arena__unlock(a);
	text__format(l->name, sizeof l->name, "%s", a->name ? a->name : "arena");
	l->info.name = l->name;
	if (file) {
		text__format(l->file, sizeof l->file, "%s", file);
		l->info.file = l->file;
	}
}

/* Sets n to the number of live arenas; they are in the map if there is room for all of them. */
static void fill_map(Map *m)
{
	struct Arena *a;

	m->n = 0;
	arena__lock_registry();
	for (a = arena__registry; a; a = a->next)
		if (LOAD(a->magic) == MAGIC && m->n++ < m->room)
			fill_line(&m->lines[m->n - 1], a);
	arena__unlock_registry();
}

static int compare_addresses(const void *one, const void *other)
{
	uintptr_t a = (uintptr_t)(*(Line *const *)one)->info.arena;
	uintptr_t b = (uintptr_t)(*(Line *const *)other)->info.arena;

	return (a > b) - (a < b);
}

static Line *find_line(const Map *m, struct Arena *a)
{
	Line sought = { .info.arena = a }, *key = &sought;
	Line **found = bsearch(&key, m->order, m->n, sizeof m->order[0], compare_addresses);

	return found ? *found : NULL;
}

/* Links parents and children; returns the first line without a parent. No recursion: a chain may
 * be deep. */
static Line *link_lines(Map *m)
{
	Line *roots = NULL;
	size_t i;

	for (i = 0; i < m->n; i++)
		m->order[i] = &m->lines[i];
	qsort(m->order, m->n, sizeof m->order[0], compare_addresses);
	for (i = m->n; i-- > 0;) {
		Line *l = &m->lines[i], **list;

		l->up = l->info.parent ? find_line(m, l->info.parent) : NULL;
		list = l->up ? &l->up->first : &roots;
		l->next = *list;
		*list = l;
	}
	return roots;
}

static void order_lines(Map *m)
{
	Line *l = link_lines(m);
	size_t i = 0;

	while (l) {
		l->depth = l->up ? l->up->depth + 1 : 1;
		m->order[i++] = l;
		if (l->first)
			l = l->first;
		else {
			while (l && !l->next)
				l = l->up;
			l = l ? l->next : NULL;
		}
	}
	while (i-- > 0) {
		const Arena_Info *of = &m->order[i]->info;
		Line *up = m->order[i]->up;

		if (up) {
			up->info.used_below += of->used + of->used_below;
			up->info.capacity_below += of->capacity + of->capacity_below;
		}
	}
}

static void make_map(Map *m, const char *call)
{
	m->n = Arena_debug_live_count();
	do {
		free_map(m);
		m->room = m->n + 16;
		m->lines = calloc(m->room, sizeof m->lines[0]);
		m->order = calloc(m->room, sizeof m->order[0]);
		if (!m->lines || !m->order)
			EXCEPT_RAISE_MSG(Arena_Failed, "%s: out of memory for %zu arenas", call, m->room);
		fill_map(m);
	} while (m->n > m->room);
	order_lines(m);
}

void Arena_debug_map(void (*apply)(const Arena_Info *, void *), void *cl)
{
	Map m = { 0 };
	size_t i;

	CHECK(apply, "Arena_debug_map: the function is NULL");
	DEFER(free_map, &m);
	make_map(&m, "Arena_debug_map");
	for (i = 0; i < m.n; i++)
		apply(&m.order[i]->info, cl);
}

static void print_line(FILE *out, const Line *l)
{
	const Arena_Info *a = &l->info;
	int deep = l->depth > DEPTH_SHOWN;

	fprintf(out, "%*s", 2 * (int)(deep ? DEPTH_SHOWN : l->depth), "");
	if (deep)
		fprintf(out, "(%zu deep) ", l->depth);
	fprintf(out, "%s %p", a->name, (const void *)a->arena);
	if (a->file)
		fprintf(out, " made at %s:%d", a->file, a->line);
	fprintf(out, ": %zu used, %zu held, %zu peak\n", a->used, a->capacity, a->peak);
}

void Arena_debug_report(FILE *out)
{
	Map m = { 0 };
	size_t i;

	CHECK(out, "Arena_debug_report: the file is NULL");
	DEFER(free_map, &m);
	make_map(&m, "Arena_debug_report");
	fprintf(out, "%zu live arenas\n", m.n);
	for (i = 0; i < m.n; i++)
		print_line(out, m.order[i]);
}

static void __attribute__((destructor)) report_leaks(void)
{
	if (!(arena__guards & GUARD_LEAKS) || Arena_debug_live_count() == 0)
		return;
	fputs("libcore: not disposed of at exit: ", stderr);
	TRY {
		Arena_debug_report(stderr);
	} ELSE {
		fputs("no memory for the report\n", stderr);
	} END_TRY;
}

#if CORE_DEBUG
void arena__check(T a)
{
	size_t held = a->spare ? a->spare->size : 0;
	const Chunk *c, *oldest = NULL;
	int found = 0;

	for (c = a->newest; c; c = c->older) {
		held += c->size;
		found |= a->lane.floor >= (const char *)c && a->lane.limit <= c->limit;
		oldest = c;
	}
	if (oldest != a->home || !found)
		CORRUPT("an arena's chunks are not linked");
	if (held > a->held)
		CORRUPT("an arena holds more than it has booked");
	if (a->lane.avail < a->lane.floor || a->lane.avail > a->lane.limit)
		CORRUPT("an arena's free bytes are not in its lane");
	if (a->owner || a->common.lane.avail)
		CORRUPT("an arena has lanes in a build without");
}
#endif
