/* SPDX-License-Identifier: MIT */
/* Arena, continued: allocation under the lock, when the lane of the thread has no room or it has none.
 *
 * A chunk is as large as all before it together, up to CHUNK_LARGEST, and an eighth of them once that is more:
 * so no more than an eighth is ever idle in an arena of gigabytes, which still has few chunks. A request of more
 * than an eighth of the next chunk gets a chunk of its own behind the current one, so that a large object does
 * not waste the rest of a small chunk; many large ones make the arena grow until they are an eighth no longer.
 *
 * Sides live on slices of a chunk that is not the owner's: the two meet only in the list of chunks, under the lock. A slice
 * is an eighth of that chunk at most, and small enough for all the sides together to leave no more than a quarter of it over. */
#include "config.h"

#include <stdint.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

enum {
	CHUNK_LARGEST = 1024 * 1024, /* where doubling stops */
	HUGE_PAGE = 2 * 1024 * 1024,
	CHUNK_HUGEST = 64 * 1024 * 1024,
	OBJECT_OVERHEAD = CHUNK_HEADER + 6 * ALIGN,
	SIDE_BYTES = (sizeof(Side) + LINE - 1) / LINE * LINE
};

size_t arena__chunk_for(size_t alignment, size_t nbytes)
{
	size_t size;

	return add_size(nbytes, OBJECT_OVERHEAD + alignment, &size) && size <= PTRDIFF_MAX ? size : 0;
}

static size_t next_chunk(const struct Arena *a)
{
	size_t most = a->home->size > CHUNK_LARGEST ? a->home->size : CHUNK_LARGEST;
	size_t size = a->held ? a->held : CHUNK_FIRST;
	size_t room = !a->most ? SIZE_MAX : a->most > a->held ? a->most - a->held : 0;

	if (size / 8 >= HUGE_PAGE && size / 8 > most)
		size = size / 8 < CHUNK_HUGEST ? size / 8 / HUGE_PAGE * HUGE_PAGE : CHUNK_HUGEST;
	else if (size > most)
		size = most;
	return size < room ? size : room;
}

/* ---- the list of chunks ---- */

static void link_chunk(T a, Chunk *c)
{
	poison_chunk(c);
	c->older = a->newest;
	a->newest = c;
	STORE(a->slow, a->slow | GREW);
}

static void make_current(T a, Chunk *c)
{
	a->used += (size_t)(a->lane.avail - a->counted);
	a->current = c;
	a->counted = a->lane.floor = chunk_start(c);
	STORE(a->lane.avail, a->counted);
	a->lane.limit = c->limit - ((uintptr_t)c->limit & (ALIGN - 1));
}

static void cut_slices_from(T a, Chunk *c)
{
	unsigned sides = a->nsides > a->nsides_wanted ? a->nsides : a->nsides_wanted;
	char *start = chunk_start(c);

	a->slices = start + padding(start, LINE);
	a->slices_limit = c->limit - ((uintptr_t)c->limit & (LINE - 1));
	a->slice = (size_t)(a->slices_limit - a->slices) / (sides > 2 ? 4 * (size_t)sides : 8);
	if (a->slice < SLICE_LEAST)
		a->slice = SLICE_LEAST;
}

/* ---- sides: in open arenas only, so there are no red zones ---- */

static Side *make_side(T a, char *p)
{
	Side *s = (Side *)(void *)p;
	Thread *t = self_now();

	s->thread = t;
	s->next = a->sides;
	a->sides = s;
	a->nsides++;
	if (!a->key)
		STORE_RELEASE(a->key, arena__unique(t));
	return s;
}

/* At least so many bytes, at a line of their own; NULL: no room. */
static char *cut_slice(T a, size_t least, size_t *nbytes)
{
	size_t rest = (size_t)(a->slices_limit - a->slices);
	char *p = a->slices;

	if (least > rest)
		return NULL;
	*nbytes = least > a->slice ? least : a->slice;
	*nbytes = (*nbytes + LINE - 1) & ~(size_t)(LINE - 1);
	if (*nbytes > rest)
		*nbytes = rest;
	a->slices += *nbytes;
	a->sliced += *nbytes;
	a->used += *nbytes;
	return p;
}

static void remember(const struct Arena *a, Side *s)
{
	Thread *t = s->thread;

	t->known[a->key % SIDES_KNOWN].key = a->key;
	t->known[a->key % SIDES_KNOWN].side = s;
}

static void *bump_side(T a, size_t alignment, size_t nbytes)
{
	Side *s = arena__find_side(a);
	void *p = s ? bump_lane(&s->lane, alignment, nbytes, 0) : NULL;
	size_t n;

	if (!p) {
		char *slice = cut_slice(a, padded(nbytes) + alignment + SIDE_BYTES, &n);
		char *start = slice;

		if (!slice)
			return NULL;
		if (s)
			arena__leave_tail(a, s);
		else {
			s = make_side(a, slice);
			start += SIDE_BYTES;
		}
		s->lane.avail = s->lane.floor = start;
		s->lane.limit = slice + n;
		p = bump_lane(&s->lane, alignment, nbytes, 0);
	}
	remember(a, s);
	return p;
}

/* ---- allocation ---- */

static void *bump_owner(T a, size_t alignment, size_t nbytes)
{
	void *p = bump_lane(&a->lane, alignment, nbytes, red_zone());

	if (p) {
		show(a, p, nbytes);
		if (alignment > a->align_most)
			a->align_most = alignment;
	}
	return p;
}

static void *bump(T a, size_t alignment, size_t nbytes)
{
	return arena__is_mine(a) ? bump_owner(a, alignment, nbytes) : bump_side(a, alignment, nbytes);
}

/* A chunk of its own; the current one stays. Spares that are of no use here make way. */
static void *alloc_large(T a, size_t alignment, size_t nbytes, size_t size)
{
	Chunk *c = arena__take_chunk(a, size);
	char *p;

	if (!c && (a->spare || a->side_spare)) {
		arena__give_back(a, arena__drop(a, &a->spare));
		arena__give_back(a, arena__drop(a, &a->side_spare));
		c = arena__take_chunk(a, size);
	}
	if (!c)
		return NULL;
	link_chunk(a, c);
	p = chunk_start(c);
	p += padding(p, alignment);
	c->own = padded(nbytes) + red_zone() + alignment - ALIGN;
	a->used += c->own;
	if (arena__is_mine(a) && alignment > a->align_most)
		a->align_most = alignment;
	show(a, p, nbytes);
	return p;
}

/* The one that is meant for this thread, or the other. */
static Chunk *use_spare(T a, size_t size)
{
	int mine = arena__is_mine(a);
	Chunk **spare = mine ? &a->spare : &a->side_spare, *c;

	if (!*spare || size > (*spare)->size)
		spare = mine ? &a->side_spare : &a->spare;
	c = *spare;
	if (!c || size > c->size)
		return NULL;
	*spare = NULL;
	if (!mine && !a->side_chunk)
		a->side_chunk = c;
	return c;
}

static void *alloc_in(T a, Chunk *c, size_t alignment, size_t nbytes)
{
	link_chunk(a, c);
	if (arena__is_mine(a))
		make_current(a, c);
	else
		cut_slices_from(a, c);
	return bump(a, alignment, nbytes);
}

/* NULL with no chunk: the request is large, or memory is short */
static void *alloc_shared(T a, size_t alignment, size_t nbytes, size_t size)
{
	size_t next = next_chunk(a);
	Chunk *c = use_spare(a, size);
	void *p;

	if (c)
		return alloc_in(a, c, alignment, nbytes);
	c = size <= next / 8 ? arena__take_chunk(a, next) : NULL;
	if (!c)
		return NULL;
	/* another thread may have grown the arena meanwhile; what it left is not to be lost */
	p = a->spare && !a->backing.free ? NULL : bump(a, alignment, nbytes);
	if (!p)
		return alloc_in(a, c, alignment, nbytes);
	arena__keep_spare(a, &a->spare, c);
	return p;
}

void *arena__allocate(T a, size_t alignment, size_t nbytes)
{
	size_t size = arena__chunk_for(alignment, nbytes);
	void *p;

	(void)arena__claim(a);
	if (size == 0)
		return NULL;
	p = bump(a, alignment, nbytes);
	if (!p)
		p = alloc_shared(a, alignment, nbytes, size);
	return p ? p : alloc_large(a, alignment, nbytes, size);
}
