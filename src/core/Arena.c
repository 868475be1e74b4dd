/* SPDX-License-Identifier: MIT */
/* Arena: a list of chunks, newest first, and a pointer that is bumped through the current one. The
 * struct itself lies at the start of the first chunk ("home"), which is never given back before the
 * arena is.
 *
 * Invariant, under the lock: home is the oldest of the list; current is in the list; everything in a
 * chunk from avail (current) or from its end (others) back to its start is allocated or padding; bytes
 * past avail are poisoned under ASan and Valgrind. spare, if any, is one chunk outside the list, kept
 * by clear or rewind for the next growth, poisoned throughout. held is the sum of what the backing
 * allocator gave, spare included, and of what it is being asked for.
 *
 * A chunk is as large as all before it together, up to CHUNK_LARGEST. A request of more than an eighth
 * of that gets a chunk of its own behind the current one, so that a large object does not waste the
 * rest of a small chunk; many large ones make the arena grow until they are an eighth no longer.
 *
 * The lock covers each step and is never held while the backing allocator, a deferred call or a raise
 * runs. Lock order: the registry's, then any one arena's. */
#include "config.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <core/Arena.h>
#include "ArenaRep.h"

#define T Arena_T

EXCEPT_DEFINE(Arena_Failed, NULL, "arena allocation failed");

enum {
	CHUNK_FIRST = 16 * 1024,     /* whole first chunk, the struct included */
	CHUNK_LARGEST = 1024 * 1024, /* where doubling stops */
	HOME_OVERHEAD = CHUNK_HEADER + sizeof(struct Arena) + 4 * ALIGN, /* with two red zones */
	OBJECT_OVERHEAD = CHUNK_HEADER + 6 * ALIGN
};

/* ---- chunks ---- */

static void *default_alloc(size_t nbytes, void *cl)
{
	(void)cl;
	return malloc(nbytes);
}

static void default_free(void *p, size_t nbytes, void *cl)
{
	(void)nbytes;
	(void)cl;
	free(p);
}

static Chunk *make_chunk(void *p, size_t size)
{
	Chunk *c = p;

	c->older = NULL;
	c->size = size;
	c->limit = (char *)p + size;
	c->own = 0;
	return c;
}

static void *call_alloc(const Backing *b, size_t size)
{
	void *p = b->alloc(size, b->cl);

	CHECK(padding(p, ALIGN) == 0, "Arena: the backing allocator gave %p, which is not aligned for max_align_t", p);
	return p;
}

/* A backing allocator may raise. Arena_Failed (perhaps it is an arena) means no memory; another
 * exception goes on, once the bytes are booked off again. */
static void *call_alloc_booked(T a, size_t size)
{
	void *p = NULL;

	PROTECT(p);
	TRY {
		p = call_alloc(&a->backing, size);
	} EXCEPT(Arena_Failed) {
		p = NULL;
	} ELSE {
		pthread_mutex_lock(&a->lock);
		a->held -= size;
		pthread_mutex_unlock(&a->lock);
		RERAISE;
	} END_TRY;
	return p;
}

static int may_hold(T a, size_t size)
{
	return !a->fixed && (!a->limit || (size <= a->limit && a->held <= a->limit - size));
}

/* Booked first, so that two threads cannot pass the limit together. */
Chunk *arena__take_chunk(T a, size_t size)
{
	void *p;

	if (!may_hold(a, size))
		return NULL;
	a->held += size;
	pthread_mutex_unlock(&a->lock);
	p = call_alloc_booked(a, size);
	pthread_mutex_lock(&a->lock);
	if (!p) {
		a->held -= size;
		return NULL;
	}
	return make_chunk(p, size);
}

/* What the caller's buffer or a custom allocator gets back must be as touchable as it came. */
static void give_back_one(const Backing *b, Chunk *c)
{
	size_t size = c->size;

	hand_back(c, (size_t)(c->limit - (char *)c));
	if (size && b->free)
		b->free(c, size, b->cl);
}

void arena__give_back_list(const Backing *b, Chunk *c)
{
	while (c) {
		Chunk *older = c->older;

		give_back_one(b, c);
		c = older;
	}
}

void arena__give_back(T a, Chunk *list)
{
	if (!list)
		return;
	pthread_mutex_unlock(&a->lock);
	arena__give_back_list(&a->backing, list);
	pthread_mutex_lock(&a->lock);
}

Chunk *arena__drop_spare(T a)
{
	Chunk *c = a->spare;

	a->spare = NULL;
	if (c)
		a->held -= c->size;
	return c;
}

static void link_chunk(T a, Chunk *c)
{
	poison_chunk(c);
	c->older = a->newest;
	a->newest = c;
}

static void make_current(T a, Chunk *c)
{
	a->current = c;
	a->avail = a->floor = chunk_start(c);
}

/* ---- allocation; the lock is held in all of this part ---- */

static void note_use(T a, size_t nbytes)
{
	a->used += nbytes;
	if (a->used > a->used_most) {
		a->used_most = a->used;
		if (a->used > a->peak)
			a->peak = a->used;
	}
}

/* Bytes of a chunk that surely holds such an object; 0: no chunk is so large. */
static size_t chunk_for(size_t alignment, size_t nbytes)
{
	size_t size;

	return add_size(nbytes, OBJECT_OVERHEAD + alignment, &size) && size <= PTRDIFF_MAX ? size : 0;
}

static size_t next_chunk(T a)
{
	size_t most = a->home->size > CHUNK_LARGEST ? a->home->size : CHUNK_LARGEST;
	size_t size = a->held ? a->held : CHUNK_FIRST;
	size_t room = !a->limit ? SIZE_MAX : a->limit > a->held ? a->limit - a->held : 0;

	if (size > most)
		size = most;
	return size < room ? size : room;
}

/* nbytes from the current chunk, or NULL */
static void *bump(T a, size_t alignment, size_t nbytes)
{
	size_t room = (size_t)(a->current->limit - a->avail);
	size_t pad = padding(a->avail, alignment), step;
	char *p;

	if (nbytes > room || pad > room)
		return NULL;
	step = padded(nbytes) + red_zone();
	if (step > room - pad)
		return NULL;
	p = a->avail + pad;
	note_use(a, pad + step);
	a->avail = p + step;
	unpoison(p, nbytes);
	return p;
}

/* A chunk of its own; the current one stays. A spare that is of no use here makes way. */
static void *alloc_large(T a, size_t alignment, size_t nbytes, size_t size)
{
	Chunk *c = arena__take_chunk(a, size);
	char *p;

	if (!c && a->spare) {
		arena__give_back(a, arena__drop_spare(a));
		c = arena__take_chunk(a, size);
	}
	if (!c)
		return NULL;
	link_chunk(a, c);
	p = chunk_start(c);
	p += padding(p, alignment);
	c->own = padded(nbytes) + red_zone() + alignment - ALIGN;
	note_use(a, c->own);
	unpoison(p, nbytes);
	return p;
}

static Chunk *use_spare(T a, size_t size)
{
	Chunk *c = a->spare;

	if (!c || size > c->size)
		return NULL;
	a->spare = NULL;
	return c;
}

static void *alloc_grow(T a, size_t alignment, size_t nbytes)
{
	size_t size = chunk_for(alignment, nbytes), next;
	Chunk *c;
	void *p;

	if (size == 0)
		return NULL;
	c = use_spare(a, size);
	if (!c) {
		next = next_chunk(a);
		c = size <= next / 8 ? arena__take_chunk(a, next) : NULL;
		if (!c) /* large, or memory is short: just what is needed, then */
			return alloc_large(a, alignment, nbytes, size);
		p = a->spare ? NULL : bump(a, alignment, nbytes);
		if (p) { /* another thread has grown the arena meanwhile */
			poison_chunk(c);
			a->spare = c;
			return p;
		}
	}
	link_chunk(a, c);
	make_current(a, c);
	return bump(a, alignment, nbytes);
}

static void *allocate(T a, size_t alignment, size_t nbytes)
{
	void *p = bump(a, alignment, nbytes);

	if (!p)
		p = alloc_grow(a, alignment, nbytes);
	if (p && alignment > a->align_most)
		a->align_most = alignment;
	return p;
}

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
} Site;
#define HERE ((Site){ __FILE__, __func__, __LINE__ })

static void check_at(const struct Arena *a, const char *call, Site site)
{
	if (!a || a->magic != MAGIC)
		arena__bad(a, call, site.file, site.function, site.line);
}

static void failed(T a, size_t alignment, size_t nbytes, Site site) CORE_NORETURN;
static void failed(T a, size_t alignment, size_t nbytes, Site site)
{
	const char *name = a->name ? a->name : "arena";
	size_t size = chunk_for(alignment, nbytes), held, limit;
	int over;

	pthread_mutex_lock(&a->lock);
	held = a->held;
	limit = a->limit;
	over = !may_hold(a, size);
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

static void *try_allocate(T a, size_t alignment, size_t nbytes)
{
	void *p;

	pthread_mutex_lock(&a->lock);
	p = allocate(a, alignment, nbytes);
	pthread_mutex_unlock(&a->lock);
	return p;
}

static void *allocate_at(T a, size_t alignment, size_t nbytes, Site site)
{
	void *p = try_allocate(a, alignment, nbytes);

	if (!p)
		failed(a, alignment, nbytes, site);
	return p;
}

static void *callocate_at(T a, size_t count, size_t nbytes, Site site)
{
	size_t n;

	if (!mul_size(count, nbytes, &n))
		Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
			"%zu elements of %zu bytes are more than an object can have", count, nbytes);
	return memset(allocate_at(a, ALIGN, n, site), 0, n);
}

/* ---- lifecycle ---- */

/* The struct at the start of chunk c, which becomes home. */
static T arena_in(Chunk *c, const Arena_Options *o)
{
	T a = (T)(void *)((char *)c + CHUNK_HEADER);

	memset(a, 0, sizeof *a);
	if (pthread_mutex_init(&a->lock, NULL) != 0)
		return NULL;
	a->magic = MAGIC;
	a->fixed = o->fixed;
	a->limit = o->limit;
	a->backing = (Backing){ o->alloc, o->free, o->cl };
	a->name = o->name;
	a->parent = o->parent;
	a->held = c->size;
	a->home = a->newest = a->current = a->marked = c;
	a->first = (char *)(a + 1);
	poison(a->first, (size_t)(c->limit - a->first));
	a->first += padding(a->first, ALIGN) + red_zone();
	a->avail = a->floor = a->first;
	return a;
}

/* NULL if an arena does not fit there. */
static Chunk *buffer_chunk(void *buffer, size_t nbytes)
{
	size_t pad = padding(buffer, ALIGN);
	Chunk *c;

	if (nbytes < HOME_OVERHEAD + pad)
		return NULL;
	c = make_chunk((char *)buffer + pad, (nbytes - pad) & ~(size_t)(ALIGN - 1));
	c->size = 0;
	return c;
}

static Chunk *heap_chunk(const Arena_Options *o)
{
	Backing backing = { o->alloc, o->free, o->cl };
	size_t size = CHUNK_FIRST;
	void *p;

	if (o->chunk) {
		if (!add_size(o->chunk, HOME_OVERHEAD, &size) || size > PTRDIFF_MAX)
			EXCEPT_RAISE_MSG(Arena_Failed, "a first chunk of %zu bytes is too large", o->chunk);
	} else if (o->limit && size > o->limit && o->limit >= HOME_OVERHEAD)
		size = o->limit;
	if (o->limit && size > o->limit)
		EXCEPT_RAISE_MSG(Arena_Failed, "a first chunk of %zu bytes would pass the limit of %zu", size, o->limit);
	p = call_alloc(&backing, size);
	if (!p)
		EXCEPT_RAISE_MSG(Arena_Failed, "out of memory for an arena's first chunk of %zu bytes", size);
	return make_chunk(p, size);
}

static Chunk *first_chunk(const Arena_Options *o)
{
	Chunk *c = o->buffer ? buffer_chunk(o->buffer, o->buffer_size) : NULL;

	if (c)
		return c;
	if (o->fixed)
		EXCEPT_RAISE_MSG(Arena_Failed, "a fixed buffer of %zu bytes: an arena needs %zu for itself",
			o->buffer_size, (size_t)HOME_OVERHEAD + ALIGN);
	return heap_chunk(o);
}

static void link_child(T parent, T a)
{
	pthread_mutex_lock(&parent->lock);
	a->next_sibling = parent->children;
	a->sibling_link = &parent->children;
	if (a->next_sibling)
		a->next_sibling->sibling_link = &a->next_sibling;
	parent->children = a;
	pthread_mutex_unlock(&parent->lock);
}

static void check_options(const Arena_Options *o)
{
	CHECK(o, "Arena_new_with: the options are NULL");
	CHECK(!o->fixed || o->buffer, "Arena_new_with: a fixed arena needs a buffer");
	CHECK(o->alloc || !o->free, "Arena_new_with: free is given and alloc is not");
	CHECK(o->buffer || o->buffer_size == 0, "Arena_new_with: a buffer of %zu bytes is NULL", o->buffer_size);
	CHECK(!o->parent || o->parent->magic == MAGIC, "Arena_new_with: the parent %p is not a live arena",
		(void *)o->parent);
}

T Arena_new_with(const Arena_Options *options)
{
	Arena_Options o;
	Chunk *c;
	T a;

	check_options(options);
	o = *options;
	if (!o.alloc) {
		o.alloc = default_alloc;
		o.free = default_free;
	}
	c = first_chunk(&o);
	a = arena_in(c, &o);
	if (!a) {
		give_back_one(&(Backing){ o.alloc, o.free, o.cl }, c);
		EXCEPT_RAISE_MSG(Arena_Failed, "no mutex for an arena");
	}
	arena__add_live(a);
	if (a->parent)
		link_child(a->parent, a);
	return a;
}

T Arena_new(void)
{
	return Arena_new_with(&(Arena_Options){ 0 });
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
	pthread_mutex_lock(&a->lock);
	a->file = file;
	a->line = line;
	pthread_mutex_unlock(&a->lock);
	return a;
}

/* ---- allocation ---- */

void *Arena_alloc(T a, size_t nbytes)
{
	CHECK_ARENA(a);
	return allocate_at(a, ALIGN, nbytes, HERE);
}

void *Arena__alloc(T a, size_t nbytes, const char *file, const char *function, int line)
{
	Site site = { file, function, line };

	check_at(a, "ALLOC", site);
	return allocate_at(a, ALIGN, nbytes, site);
}

void *Arena_calloc(T a, size_t count, size_t nbytes)
{
	CHECK_ARENA(a);
	return callocate_at(a, count, nbytes, HERE);
}

void *Arena__calloc(T a, size_t count, size_t nbytes, const char *file, const char *function, int line)
{
	Site site = { file, function, line };

	check_at(a, "CALLOC", site);
	return callocate_at(a, count, nbytes, site);
}

void *Arena_alloc_aligned(T a, size_t alignment, size_t nbytes)
{
	CHECK_ARENA(a);
	CHECK(alignment && (alignment & (alignment - 1)) == 0,
		"Arena_alloc_aligned: an alignment of %zu is not a power of 2", alignment);
	return allocate_at(a, alignment > ALIGN ? alignment : ALIGN, nbytes, HERE);
}

/* Grows or shrinks p where it is, if it is the newest of the current chunk and no mark was made since:
 * a rewind must find what was there at the mark. */
static int resize_newest(T a, char *p, size_t old_nbytes, size_t new_nbytes)
{
	size_t old_step = padded(old_nbytes) + red_zone(), new_step = padded(new_nbytes) + red_zone();
	int fits;

	pthread_mutex_lock(&a->lock);
	fits = (uintptr_t)p >= (uintptr_t)a->floor && (uintptr_t)a->avail - (uintptr_t)p == old_step
		&& new_step <= (size_t)(a->current->limit - p);
	if (fits) {
		a->avail = p + new_step;
		a->used -= old_step;
		note_use(a, new_step);
		if (new_nbytes > old_nbytes)
			unpoison(p + old_nbytes, new_nbytes - old_nbytes);
		else
			poison(p + new_nbytes, old_step - new_nbytes);
	}
	pthread_mutex_unlock(&a->lock);
	return fits;
}

void *Arena_realloc(T a, void *p, size_t old_nbytes, size_t new_nbytes)
{
	void *q;

	CHECK_ARENA(a);
	CHECK(p || old_nbytes == 0, "Arena_realloc: NULL with %zu old bytes", old_nbytes);
	CHECK(old_nbytes <= PTRDIFF_MAX, "Arena_realloc: no object has %zu bytes", old_nbytes);
	if (p && new_nbytes <= PTRDIFF_MAX && resize_newest(a, p, old_nbytes, new_nbytes))
		return p;
	if (p && new_nbytes <= old_nbytes) {
		poison((char *)p + new_nbytes, old_nbytes - new_nbytes);
		return p;
	}
	q = allocate_at(a, ALIGN, new_nbytes, HERE);
	return old_nbytes ? memcpy(q, p, old_nbytes) : q;
}

void *Arena_try_alloc(T a, size_t nbytes)
{
	CHECK_ARENA(a);
	return try_allocate(a, ALIGN, nbytes);
}
