/* SPDX-License-Identifier: MIT */
/* Arena: a list of chunks, newest first, and a pointer that is bumped through the current one. The
 * struct itself lies at the start of the first chunk ("home"), which is never given back before the
 * arena is.
 *
 * Invariant: home is the oldest of the list; current is in the list, and the owner's lane is in it; everything
 * in a chunk from avail (current) or from its end (others) back to its start is allocated or padding, but for
 * what the sides' lanes have free; bytes past avail are poisoned under ASan and Valgrind. spare and
 * side_spare, if any, are one chunk each outside the list, kept by clear or rewind for the next growth of the owner's
 * lane and of the sides', poisoned throughout. held is the sum of what the backing allocator gave, spares included, and
 * of what it is being asked for.
 *
 * The lock covers each step and is never held while the backing allocator, a deferred call or a raise
 * runs. Lock order: the registry's, then any one arena's, then that of the threads' records. */
#include "config.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

EXCEPT_DEFINE(Arena_Failed, NULL, "arena allocation failed");

enum { HOME_OVERHEAD = CHUNK_HEADER + LINE - ALIGN + sizeof(struct Arena) + 5 * ALIGN }; /* with two red zones */

/* ---- argument checks and raises ---- */

void arena__bad(const struct Arena *a, const char *call, const char *file, const char *function, int line)
{
	if (!a)
		Except__raise_msg(&Assert_Failed, file, function, line, "%s: the arena is NULL", call);
	Except__raise_msg(&Assert_Failed, file, function, line, "%s: %p is not a live arena", call, (const void *)a);
}

typedef struct Site {
	const char *file, *function;
	int line;
	int ours;
} Site;
#define HERE ((Site){ __FILE__, __func__, __LINE__, 1 })

static void check_at(const struct Arena *a, const char *call, Site site)
{
	if (!a || LOAD(a->magic) != MAGIC)
		arena__bad(a, call, site.file, site.function, site.line);
}

static void failed(T a, size_t alignment, size_t nbytes, Site site) CORE_NORETURN;
static void failed(T a, size_t alignment, size_t nbytes, Site site)
{
	const char *name = a->name ? a->name : "arena";
	size_t size = arena__chunk_for(alignment, nbytes), held, limit;
	int over;

	arena__lock(a);
	held = a->held;
	limit = a->most;
	over = !arena__may_hold(a, size);
	pthread_mutex_unlock(&a->lock);
	if (size == 0)
		Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
			"%s: %zu bytes, aligned to %zu, are more than an object can have", name, nbytes, alignment);
	if (a->fixed)
		Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
			"%s: no room for %zu bytes in its fixed buffer", name, nbytes);
	if (over)
		Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
			"%s: %zu bytes more than the %zu held would pass its limit of %zu", name, size, held, limit);
	Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
		"%s: out of memory for %zu bytes", name, nbytes);
}

static void *try_allocate(T a, size_t alignment, size_t nbytes, Site site)
{
	void *p;

	arena__lock(a);
	p = arena__guards & GUARD_FENCES
		? arena__allocate_guarded(a, alignment, nbytes, site.ours ? NULL : site.file, site.line)
		: arena__allocate(a, alignment, nbytes);
	pthread_mutex_unlock(&a->lock);
	return p;
}

static void *allocate_at(T a, size_t alignment, size_t nbytes, Site site)
{
	void *p = try_allocate(a, alignment, nbytes, site);

	if (!p)
		failed(a, alignment, nbytes, site);
	return p;
}

/* ---- lifecycle ---- */

/* A child's is its parent's: who bounds, counts or fails the memory of an arena means all of it. */
static const Backing *backing_of(const Arena_Options *o, Backing *given)
{
	if (!o->alloc)
		return o->parent ? &o->parent->backing : &arena__default_backing;
	*given = (Backing){ o->alloc, o->free, o->cl };
	return given;
}

/* Everything but what a shell keeps; c is to be home. */
static void start(T a, Chunk *c, const Arena_Options *o, const Backing *backing, Thread *t)
{
	zero(a, offsetof(struct Arena, rewinds));
	a->magic = MAGIC;
	a->serial = arena__unique(t);
	a->fixed = o->fixed;
	a->most = o->limit;
	a->backing = *backing;
	a->name = o->name;
	a->parent = o->parent;
	a->slow = o->alloc || o->parent || c->size != CHUNK_FIRST ? SPECIAL : 0;
	a->held = c->size;
	a->home = a->newest = a->current = a->marked = c;
	c->older = NULL;
	a->first = (char *)(a + 1) + padding(a + 1, ALIGN) + red_zone();
	a->lane = (Lane){ a->first, c->limit - ((uintptr_t)c->limit & (ALIGN - 1)), a->first };
	a->counted = a->first;
}

static T struct_in(Chunk *c)
{
	char *p = (char *)c + CHUNK_HEADER;

	return (T)(void *)(p + padding(p, LINE));
}

/* NULL if an arena does not fit there. */
static Chunk *buffer_chunk(void *buffer, size_t nbytes)
{
	size_t pad = padding(buffer, ALIGN);
	Chunk *c;

	if (nbytes < HOME_OVERHEAD + pad)
		return NULL;
	c = arena__make_chunk((char *)buffer + pad, (nbytes - pad) & ~(size_t)(ALIGN - 1));
	c->size = 0;
	return c;
}

static Chunk *heap_chunk(const Arena_Options *o, const Backing *backing)
{
	size_t size = CHUNK_FIRST;
	void *p;

	if (o->chunk) {
		if (!add_size(o->chunk, HOME_OVERHEAD, &size) || size > PTRDIFF_MAX)
			EXCEPT_RAISE_MSG(Arena_Failed, "a first chunk of %zu bytes is too large", o->chunk);
	} else if (o->limit && size > o->limit && o->limit >= HOME_OVERHEAD)
		size = o->limit;
	if (o->limit && size > o->limit)
		EXCEPT_RAISE_MSG(Arena_Failed, "a first chunk of %zu bytes would pass the limit of %zu", size, o->limit);
	p = arena__call_backing(backing, size);
	if (!p)
		EXCEPT_RAISE_MSG(Arena_Failed, "out of memory for an arena's first chunk of %zu bytes", size);
	return arena__make_chunk(p, size);
}

static Chunk *first_chunk(const Arena_Options *o, const Backing *backing)
{
	Chunk *c = o->buffer ? buffer_chunk(o->buffer, o->buffer_size) : NULL;

	if (c)
		return c;
	if (o->fixed)
		EXCEPT_RAISE_MSG(Arena_Failed, "a fixed buffer of %zu bytes: an arena needs %zu for itself",
			o->buffer_size, (size_t)HOME_OVERHEAD + ALIGN);
	return heap_chunk(o, backing);
}

static void check_options(const Arena_Options *o)
{
	CHECK(o, "Arena_new_with: the options are NULL");
	CHECK(!o->fixed || o->buffer, "Arena_new_with: a fixed arena needs a buffer");
	CHECK(o->alloc || !o->free, "Arena_new_with: free is given and alloc is not");
	CHECK(o->buffer || o->buffer_size == 0, "Arena_new_with: a buffer of %zu bytes is NULL", o->buffer_size);
	CHECK(!o->parent || LOAD(o->parent->magic) == MAGIC, "Arena_new_with: the parent %p is not a live arena",
		(void *)o->parent);
}

static T afresh(const Arena_Options *o, const Backing *backing, Thread *t)
{
	Chunk *c = first_chunk(o, backing);
	T a = struct_in(c);

	start(a, c, o, backing, t);
	if (pthread_mutex_init(&a->lock, NULL) != 0) {
		arena__give_back_list(&a->backing, c);
		EXCEPT_RAISE_MSG(Arena_Failed, "no mutex for an arena");
	}
	hide((char *)(a + 1), (size_t)(c->limit - (char *)(a + 1)));
	arena__add_live(a, t);
	return a;
}

/* Out of the thread's store; NULL: nothing there. */
static T from_shell(const Arena_Options *o, Thread *t)
{
	T a = t ? arena__take_shell(t) : NULL;

	if (!a)
		return NULL;
	start(a, a->home, o, &arena__default_backing, t);
	arena__count_made(t);
	arena__end_turnover(t);
	return a;
}

T Arena_new_with(const Arena_Options *o)
{
	Thread *t = arena__thread();
	Backing given;
	const Backing *backing;
	T a = NULL;

	check_options(o);
	backing = backing_of(o, &given);
	if (!o->chunk && backing->alloc == arena__default_backing.alloc && !o->buffer
		&& (!o->limit || o->limit >= CHUNK_FIRST))
		a = from_shell(o, t);
	if (!a)
		a = afresh(o, backing, t);
	STORE_RELEASE(a->owner, t);
	if (o->parent)
		arena__link_child(o->parent, a);
	return a;
}

T Arena_new(void)
{
	static const Arena_Options none;

	return Arena_new_with(&none);
}

T Arena_new_with_size(size_t chunk)
{
	return Arena_new_with(&(Arena_Options){ .chunk = chunk });
}

T Arena_new_in(void *buffer, size_t nbytes)
{
	CHECK(buffer, "Arena_new_in: the buffer is NULL");
	return Arena_new_with(&(Arena_Options){ .buffer = buffer, .buffer_size = nbytes });
}

T Arena_new_child(T parent)
{
	CHECK_ARENA(parent);
	return Arena_new_with(&(Arena_Options){ .parent = parent });
}

T Arena__made_at(T a, const char *file, int line)
{
	STORE(a->line, line);
	STORE_RELEASE(a->file, file); /* the report reads it, then the line */
	return a;
}

/* ---- allocation ---- */

/* NULL: no room in the lane, or none of this thread's: under the lock, then. */
static inline void *quick(T a, size_t alignment, size_t nbytes)
{
	Thread *t = self_now();
	Lane *lane = a ? arena__enter(a, t) : NULL;
	void *p;

	if (!lane)
		return NULL;
	p = bump_lane(lane, alignment, nbytes, 0);
	if (alignment > ALIGN && lane == &a->lane && alignment > a->align_most)
		a->align_most = alignment;
	arena__leave(t);
	return p;
}

/* Few arguments, in registers: the way there must cost the callers nothing. */
static void *alloc_slowly(T a, size_t nbytes, const Site *site) __attribute__((noinline, cold));
static void *alloc_slowly(T a, size_t nbytes, const Site *site)
{
	check_at(a, site->ours ? site->function : "ALLOC", *site);
	return allocate_at(a, ALIGN, nbytes, *site);
}

/* Of a side. Apart from the owner's way, which is faster without a choice of lanes in it (3.5 ns for 3.8). 0 bytes go the slow way. */
static void *alloc_aside(T a, size_t nbytes, const Site *site) __attribute__((noinline));
static void *alloc_aside(T a, size_t nbytes, const Site *site)
{
	Thread *t = self_now();
	Lane *l = LIKELY(a) ? arena__enter_side(a, t) : NULL;
	char *p = NULL;

	if (LIKELY(l)) {
		p = l->avail;
		if (LIKELY(nbytes - 1 < (size_t)(l->limit - p)))
			STORE(l->avail, p + padded(nbytes));
		else
			p = NULL;
		arena__leave(t);
	}
	return LIKELY(p) ? p : alloc_slowly(a, nbytes, site);
}

void *Arena_alloc(T a, size_t nbytes)
{
	static const Site here = { __FILE__, "Arena_alloc", __LINE__, 1 };
	void *p = Arena__bump(a, nbytes);

	return p ? p : alloc_aside(a, nbytes, &here);
}

void *Arena__alloc(T a, size_t nbytes, const char *file, const char *function, int line)
{
	void *p = Arena__bump(a, nbytes);

	return p ? p : alloc_aside(a, nbytes, &(Site){ file, function, line, 0 });
}

static void *callocate_at(T a, size_t count, size_t nbytes, Site site)
{
	size_t n;
	void *p;

	if (!mul_size(count, nbytes, &n))
		Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
			"%zu elements of %zu bytes are more than an object can have", count, nbytes);
	p = quick(a, ALIGN, n);
	return memset(p ? p : allocate_at(a, ALIGN, n, site), 0, n);
}

void *Arena_calloc(T a, size_t count, size_t nbytes)
{
	CHECK_ARENA(a);
	return callocate_at(a, count, nbytes, HERE);
}

void *Arena__calloc(T a, size_t count, size_t nbytes, const char *file, const char *function, int line)
{
	Site site = { file, function, line, 0 };

	check_at(a, "CALLOC", site);
	return callocate_at(a, count, nbytes, site);
}

void *Arena_alloc_aligned(T a, size_t alignment, size_t nbytes)
{
	void *p;

	CHECK_ARENA(a);
	CHECK(alignment && (alignment & (alignment - 1)) == 0,
		"Arena_alloc_aligned: an alignment of %zu is not a power of 2", alignment);
	if (alignment < ALIGN)
		alignment = ALIGN;
	p = quick(a, alignment, nbytes);
	return p ? p : allocate_at(a, alignment, nbytes, HERE);
}

/* Grows or shrinks p where it is, if it is the newest of the lane and no mark was made since: a rewind
 * must find what was there at the mark. */
static int resize_in(Lane *l, char *p, size_t old_step, size_t new_step)
{
	if ((uintptr_t)p < (uintptr_t)l->floor || (uintptr_t)l->avail - (uintptr_t)p != old_step
		|| new_step > (size_t)(l->limit - p))
		return 0;
	STORE(l->avail, p + new_step);
	return 1;
}

static int grow_quickly(T a, char *p, size_t old_nbytes, size_t new_nbytes)
{
	Thread *t = self_now();
	Lane *lane = new_nbytes >= old_nbytes ? arena__enter(a, t) : NULL;
	int done;

	if (!lane)
		return 0;
	done = resize_in(lane, p, padded(old_nbytes), padded(new_nbytes));
	arena__leave(t);
	return done;
}

static int resize_newest(T a, char *p, size_t old_nbytes, size_t new_nbytes)
{
	size_t old_step = padded(old_nbytes) + red_zone(), new_step = padded(new_nbytes) + red_zone();
	Side *side;
	Lane *lane;
	int done;

	arena__lock(a);
	if (arena__guards & GUARD_FENCES) {
		done = arena__shrink_guarded(a, p, old_nbytes, new_nbytes);
		pthread_mutex_unlock(&a->lock);
		return done;
	}
	side = arena__is_mine(a) ? NULL : arena__find_side(a);
	lane = arena__is_mine(a) ? &a->lane : side ? &side->lane : NULL;
	if (new_nbytes < old_nbytes)
		arena__note_most(a);
	done = lane && resize_in(lane, p, old_step, new_step);
	if (done && new_nbytes > old_nbytes)
		show(a, p + old_nbytes, new_nbytes - old_nbytes);
	else if (done)
		hide(p + new_nbytes, old_step - new_nbytes);
	pthread_mutex_unlock(&a->lock);
	return done;
}

void *Arena_realloc(T a, void *p, size_t old_nbytes, size_t new_nbytes)
{
	void *q;

	CHECK_ARENA(a);
	CHECK(p || old_nbytes == 0, "Arena_realloc: NULL with %zu old bytes", old_nbytes);
	CHECK(old_nbytes <= PTRDIFF_MAX, "Arena_realloc: no object has %zu bytes", old_nbytes);
	if (p && new_nbytes <= PTRDIFF_MAX
		&& (grow_quickly(a, p, old_nbytes, new_nbytes) || resize_newest(a, p, old_nbytes, new_nbytes)))
		return p;
	if (p && new_nbytes <= old_nbytes) {
		hide((char *)p + new_nbytes, old_nbytes - new_nbytes);
		return p;
	}
	q = quick(a, ALIGN, new_nbytes);
	if (!q)
		q = allocate_at(a, ALIGN, new_nbytes, HERE);
	return old_nbytes ? memcpy(q, p, old_nbytes) : q;
}

void *Arena_try_alloc(T a, size_t nbytes)
{
	void *p = quick(a, ALIGN, nbytes);

	if (p)
		return p;
	CHECK_ARENA(a);
	return try_allocate(a, ALIGN, nbytes, HERE);
}
