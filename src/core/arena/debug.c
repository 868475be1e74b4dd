/* SPDX-License-Identifier: MIT */
/* Arena, continued: the guard mode, chosen by CORE_ARENA_DEBUG when the program begins.
 *
 *   leaks   the arenas that live at exit are reported, with where they were made
 *   fill    as well, and: free bytes have a pattern, which is looked at when they are allocated; fresh ones have
 *           another; a fence around each allocation is looked at when it is released
 *   guard   as well, and: each allocation has a mapping of its own, with no page after it, and none in its
 *           place for long after it was released
 *
 * An allocation is made as always, with room for its fence: so limits, accounts and the lack of memory stay what
 * they are without the mode. Its object is in that block or, with guard, in a mapping:
 *
 *   block:    Fence ... back canary object tail           mapping:   ... back canary object slack | no page
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

#define T Arena_T

enum { FREE_BYTE = 0xDD, FRESH_BYTE = 0xCD, FENCE_BYTE = 0xFB, TAIL = 16, FRONT = 2 * sizeof(uintptr_t),
	MAPPED = 16 * 1024, RETIRED = 4 * 1024 /* mappings, of two areas each; Linux lets a process have 65,530 areas */ };
static const uintptr_t CANARY = (uintptr_t)0xFBFBFBFBFBFBFBFBu;

struct Fence {
	struct Fence *older;
	unsigned char *p;   /* the object */
	size_t nbytes;
	const char *file;   /* where it was allocated; NULL: not known */
	char *base;         /* its mapping, without the page that is none; NULL: the object is in the block */
	size_t size;
	int line;
};

int arena__guards;

/* ---- what was asked for ---- */

static int word_is(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(s, word, n) == 0;
}

void arena__read_guards(void)
{
	const char *s = getuid() == geteuid() && getgid() == getegid() ? getenv("CORE_ARENA_DEBUG") : NULL;

	for (; s && *s; s += *s == ',') {
		size_t n = strcspn(s, ",");

		if (word_is(s, n, "leaks"))
			arena__guards |= GUARD_LEAKS;
		else if (word_is(s, n, "fill"))
			arena__guards |= GUARD_LEAKS | GUARD_FENCES;
		else if (word_is(s, n, "guard"))
			arena__guards |= GUARD_LEAKS | GUARD_FENCES | GUARD_PAGES;
		else
			fprintf(stderr, "libcore: CORE_ARENA_DEBUG takes leaks, fill and guard, not \"%.*s\"\n", (int)n, s);
		s += n;
	}
	if (arena__guards & GUARD_FENCES && !red_zone()) /* ASan and Valgrind do that better */
		arena__guards |= GUARD_FILL;
}

/* ---- the report of what was found ---- */

static void say_arena(const struct Arena *a)
{
	fprintf(stderr, "libcore: %s %p", a->name ? a->name : "arena", (const void *)a);
	if (a->file)
		fprintf(stderr, " made at %s:%d", a->file, a->line);
}

static void die(const struct Arena *a, const struct Fence *f, const char *what, const void *at) CORE_NORETURN;
static void die(const struct Arena *a, const struct Fence *f, const char *what, const void *at)
{
	say_arena(a);
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
		die(a, NULL, "memory was written after it was released by clear or rewind, or before it was allocated", strange);
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

/* The object as far back in its mapping as its alignment lets it be; 0: no memory, it stays in the block. */
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
	if (mmap(base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return;
	arena__lock_records(); /* which a fork takes, too */
	old = retired[next % RETIRED].base;
	old_size = retired[next % RETIRED].size;
	retired[next % RETIRED].base = base;
	retired[next++ % RETIRED].size = size;
	arena__unlock_records();
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

void *arena__allocate_guarded(T a, size_t alignment, size_t nbytes, const char *file, int line)
{
	size_t front = front_bytes(alignment), total;
	struct Fence *f;

	if (!add_size(nbytes, front + TAIL, &total))
		return NULL;
	f = arena__allocate(a, alignment, total);
	if (!f)
		return NULL;
	*f = (struct Fence){ a->fences, (unsigned char *)f + front, nbytes, file, NULL, 0, line };
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
		die(a, NULL, "Arena_realloc of what is not an allocation, or was written before its start", p);
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
