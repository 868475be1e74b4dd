/* SPDX-License-Identifier: MIT */
/* Arena: a list of chunks, newest first, and a pointer that is bumped through the current one. The
 * struct itself lies at the start of the first chunk ("home"), which is never given back before the
 * arena is.
 *
 * Invariant, under the lock: home is the oldest of the list; current is in the list; everything in a
 * chunk from avail (current) or from its end (others) back to its start is allocated or padding; bytes
 * past avail are poisoned under ASan and Valgrind. spare, if any, is one chunk outside the list, kept
 * by clear or rewind for the next growth. held is the sum of what the backing allocator gave, spare
 * included.
 *
 * A request of more than an eighth of the next chunk gets a chunk of its own behind the current one, so
 * that a large object does not waste the rest of a small chunk (or drain a cache of them).
 *
 * The lock covers each step and is never held while the backing allocator, a deferred call or a raise
 * runs. Lock order: registry shard, parent, child. */
#include "config.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <core/Arena.h>
#include "checked.h"
#include "poison.h"

#undef Arena_new
#undef Arena_new_with_size
#undef Arena_new_in
#undef Arena_new_child
#undef Arena_new_with

#define T Arena_T

EXCEPT_DEFINE(Arena_Failed, NULL, "arena allocation failed");

enum {
	ALIGN = _Alignof(max_align_t),
	CHUNK_FIRST = 16 * 1024,      /* whole first chunk, the struct included */
	CHUNK_LARGEST = 1024 * 1024,  /* where doubling stops */
	SHARDS = 16
};
static const uint32_t MAGIC = 0x41524e41; /* "ARNA" */
static const uint32_t DEAD = 0xDEADA12A;

typedef struct Chunk {
	struct Chunk *older;
	size_t size; /* bytes from the backing allocator, this header included; 0: the caller's buffer */
	char *limit;
} Chunk;

enum { CHUNK_HEADER = (sizeof(Chunk) + ALIGN - 1) / ALIGN * ALIGN };

typedef struct Deferred {
	struct Deferred *older;
	void (*fn)(void *);
	void *cl;
} Deferred;

struct Arena {
	uint32_t magic;
	int fixed;
	pthread_mutex_t lock;
	char *avail;
	Chunk *current, *newest, *home, *spare;
	char *first;         /* where home's free bytes start */
	size_t next_chunk;   /* bytes of the next chunk to take */
	size_t held, limit;
	size_t used, peak;
	size_t used_most;    /* since the last clear */
	size_t wanted;       /* what clear keeps room for: used_most, decaying by an eighth a turn */
	size_t cycle;        /* clears so far, so that stale marks are seen */
	Deferred *deferred;
	Arena_Options backing; /* alloc, free, cl, name */
	struct Arena *parent, *children, *next_sibling, **sibling_link;
	struct Arena *next_live, **live_link;
	const char *file;
	int line;
};

/* ---- every live arena, for the count and the report ---- */

static struct {
	pthread_mutex_t lock;
	struct Arena *first;
} live[SHARDS];
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

/* A fork while another thread creates an arena must not leave the child with a locked shard. */
static void __attribute__((constructor)) initialize(void)
{
	int i;

	for (i = 0; i < SHARDS; i++)
		pthread_mutex_init(&live[i].lock, NULL);
	pthread_atfork(lock_shards, unlock_shards, unlock_shards);
}

static unsigned shard(const struct Arena *a)
{
	return (unsigned)((uintptr_t)a >> 12 ^ (uintptr_t)a >> 16) % SHARDS;
}

static void add_live(T a)
{
	unsigned s = shard(a);

	pthread_mutex_lock(&live[s].lock);
	a->next_live = live[s].first;
	a->live_link = &live[s].first;
	if (a->next_live)
		a->next_live->live_link = &a->next_live;
	live[s].first = a;
	pthread_mutex_unlock(&live[s].lock);
	atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
}

static void remove_live(T a)
{
	unsigned s = shard(a);

	pthread_mutex_lock(&live[s].lock);
	*a->live_link = a->next_live;
	if (a->next_live)
		a->next_live->live_link = a->live_link;
	pthread_mutex_unlock(&live[s].lock);
	atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
}

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

static char *align_up(char *p, size_t alignment)
{
	return (char *)(((uintptr_t)p + alignment - 1) & ~(uintptr_t)(alignment - 1));
}

static char *chunk_start(Chunk *c)
{
	return (char *)c + CHUNK_HEADER;
}

static Chunk *make_chunk(void *p, size_t size)
{
	Chunk *c = p;

	c->older = NULL;
	c->size = size;
	c->limit = (char *)p + size;
	return c;
}

static void give_back(const Arena_Options *backing, Chunk *c)
{
	size_t size = c->size;

	if (size == 0)
		return; /* the caller's buffer */
	unpoison(c, size);
	if (backing->free)
		backing->free(c, size, backing->cl);
}

static void give_back_list(const Arena_Options *backing, Chunk *c)
{
	while (c) {
		Chunk *older = c->older;

		give_back(backing, c);
		c = older;
	}
}

/* Books size bytes against the limit and takes them; NULL if there are none. Lock held on entry and
 * exit, released while the backing allocator runs. */
static Chunk *take_chunk(T a, size_t size)
{
	void *p;

	if (a->fixed || (a->limit && (size > a->limit || a->held > a->limit - size)))
		return NULL;
	a->held += size;
	pthread_mutex_unlock(&a->lock);
	p = a->backing.alloc(size, a->backing.cl);
	pthread_mutex_lock(&a->lock);
	if (!p) {
		a->held -= size;
		return NULL;
	}
	return make_chunk(p, size);
}

static void poison_free_bytes(Chunk *c)
{
	poison(chunk_start(c), (size_t)(c->limit - chunk_start(c)));
}

static void link_chunk(T a, Chunk *c)
{
	poison_free_bytes(c);
	c->older = a->newest;
	a->newest = c;
}

static void make_current(T a, Chunk *c)
{
	a->current = c;
	a->avail = chunk_start(c);
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

static size_t padded(size_t nbytes)
{
	return (nbytes + (nbytes == 0) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* nbytes from the current chunk, or NULL */
static void *bump(T a, size_t alignment, size_t nbytes)
{
	char *p = align_up(a->avail, alignment);
	size_t step = padded(nbytes) + red_zone();

	if (p > a->current->limit || step > (size_t)(a->current->limit - p))
		return NULL;
	note_use(a, step + (size_t)(p - a->avail));
	a->avail = p + step;
	unpoison(p, nbytes);
	return p;
}

/* A chunk of its own; the current one stays. */
static void *alloc_large(T a, size_t alignment, size_t nbytes, size_t size)
{
	Chunk *c = take_chunk(a, size);
	char *p;

	if (!c)
		return NULL;
	link_chunk(a, c);
	p = align_up(chunk_start(c), alignment);
	note_use(a, padded(nbytes));
	unpoison(p, nbytes);
	return p;
}

static void *alloc_grow(T a, size_t alignment, size_t nbytes)
{
	size_t size;
	Chunk *c;

	if (!add_size(nbytes, CHUNK_HEADER + alignment + 4 * ALIGN, &size) || size > PTRDIFF_MAX)
		return NULL;
	c = a->spare;
	if (c && size <= c->size)
		a->spare = NULL;
	else {
		if (size > a->next_chunk / 8)
			return alloc_large(a, alignment, nbytes, size);
		c = take_chunk(a, a->next_chunk);
		if (!c) /* memory is short: just what is needed, then */
			return alloc_large(a, alignment, nbytes, size);
		if (a->next_chunk < CHUNK_LARGEST)
			a->next_chunk *= 2;
	}
	link_chunk(a, c);
	make_current(a, c);
	return bump(a, alignment, nbytes);
}

static void *allocate(T a, size_t alignment, size_t nbytes)
{
	void *p = nbytes <= PTRDIFF_MAX / 2 ? bump(a, alignment, nbytes) : NULL;

	return p ? p : alloc_grow(a, alignment, nbytes);
}

/* ---- argument checks and raises ---- */

#define CHECK_ARENA(a) \
	((a) && (a)->magic == MAGIC ? (void)0 : bad_arena((a), __func__))

static void bad_arena(const struct Arena *a, const char *function) CORE_NORETURN;
static void bad_arena(const struct Arena *a, const char *function)
{
	if (!a)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the arena is NULL", function);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not a live arena", function, (const void *)a);
}

typedef struct Site {
	const char *file, *function;
	int line;
} Site;
#define HERE ((Site){ __FILE__, __func__, __LINE__ })

static void failed(T a, size_t nbytes, Site site) CORE_NORETURN;
static void failed(T a, size_t nbytes, Site site)
{
	const char *name = a->backing.name ? a->backing.name : "arena";

	if (a->fixed)
		Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
			"%s: no room for %zu bytes in its fixed buffer", name, nbytes);
	if (a->limit && (nbytes > a->limit || a->held > a->limit - nbytes))
		Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
			"%s: %zu bytes more than the %zu held would pass its limit of %zu", name, nbytes,
			a->held, a->limit);
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
		failed(a, nbytes, site);
	return p;
}

static void *callocate_at(T a, size_t count, size_t nbytes, Site site)
{
	size_t n;

	if (!mul_size(count, nbytes, &n))
		Except__raise_msg(&Arena_Failed, site.file, site.function, site.line,
			"%zu elements of %zu bytes are more than a size_t holds", count, nbytes);
	return memset(allocate_at(a, ALIGN, n, site), 0, n);
}

/* ---- lifecycle ---- */

/* The struct at the start of chunk c, which becomes home. */
static T arena_in(Chunk *c, const Arena_Options *options)
{
	T a = (T)(void *)chunk_start(c);

	memset(a, 0, sizeof *a);
	if (pthread_mutex_init(&a->lock, NULL) != 0)
		return NULL;
	a->magic = MAGIC;
	a->fixed = options->fixed;
	a->limit = options->limit;
	a->backing = *options;
	a->held = c->size;
	a->next_chunk = c->size > CHUNK_FIRST ? c->size : CHUNK_FIRST;
	a->home = a->newest = a->current = c;
	a->first = a->avail = align_up((char *)(a + 1), ALIGN);
	poison(a->first, (size_t)(c->limit - a->first));
	return a;
}

static Chunk *first_chunk(const Arena_Options *options)
{
	size_t size = CHUNK_FIRST;
	void *p;

	if (options->buffer) {
		char *start = align_up(options->buffer, ALIGN), *end = (char *)options->buffer + options->buffer_size;
		size_t overhead = CHUNK_HEADER + sizeof(struct Arena) + ALIGN;

		if (start < end && (size_t)(end - start) >= overhead) {
			Chunk *c = make_chunk(start, 0);

			c->limit = end;
			return c;
		}
		if (options->fixed)
			EXCEPT_RAISE_MSG(Arena_Failed, "a fixed buffer of %zu bytes: an arena needs %zu for itself",
				options->buffer_size, overhead + ALIGN);
	}
	if (options->chunk && (!add_size(options->chunk, CHUNK_HEADER + sizeof(struct Arena) + 2 * ALIGN, &size)
			|| size > PTRDIFF_MAX))
		EXCEPT_RAISE_MSG(Arena_Failed, "a first chunk of %zu bytes is too large", options->chunk);
	if (options->limit && size > options->limit)
		EXCEPT_RAISE_MSG(Arena_Failed, "a first chunk of %zu bytes would pass the limit of %zu", size, options->limit);
	p = options->alloc(size, options->cl);
	if (!p)
		EXCEPT_RAISE_MSG(Arena_Failed, "out of memory for an arena's first chunk of %zu bytes", size);
	return make_chunk(p, size);
}

static void add_child(T parent, T a)
{
	a->parent = parent;
	pthread_mutex_lock(&parent->lock);
	a->next_sibling = parent->children;
	a->sibling_link = &parent->children;
	if (a->next_sibling)
		a->next_sibling->sibling_link = &a->next_sibling;
	parent->children = a;
	pthread_mutex_unlock(&parent->lock);
}

static void remove_child(T parent, T a)
{
	pthread_mutex_lock(&parent->lock);
	*a->sibling_link = a->next_sibling;
	if (a->next_sibling)
		a->next_sibling->sibling_link = a->sibling_link;
	pthread_mutex_unlock(&parent->lock);
}

T Arena_new_with(const Arena_Options *options)
{
	Arena_Options o;
	Chunk *c;
	T a;

	CHECK(options, "Arena_new_with: the options are NULL");
	o = *options;
	CHECK(!o.fixed || o.buffer, "Arena_new_with: a fixed arena needs a buffer");
	CHECK(!o.alloc == !o.free || o.alloc, "Arena_new_with: free is given and alloc is not");
	if (o.parent)
		CHECK_ARENA(o.parent);
	if (!o.alloc) {
		o.alloc = default_alloc;
		o.free = default_free;
	}
	c = first_chunk(&o);
	a = arena_in(c, &o);
	if (!a) {
		give_back(&o, c);
		EXCEPT_RAISE_MSG(Arena_Failed, "no mutex for an arena");
	}
	add_live(a);
	if (o.parent)
		add_child(o.parent, a);
	return a;
}

T Arena_new(void)
{
	Arena_Options o = { 0 };

	return Arena_new_with(&o);
}

T Arena_new_with_size(size_t chunk)
{
	Arena_Options o = { 0 };

	o.chunk = chunk;
	return Arena_new_with(&o);
}

T Arena_new_in(void *buffer, size_t nbytes)
{
	Arena_Options o = { 0 };

	CHECK(buffer, "Arena_new_in: the buffer is NULL");
	o.buffer = buffer;
	o.buffer_size = nbytes;
	return Arena_new_with(&o);
}

T Arena_new_child(T parent)
{
	Arena_Options o = { 0 };

	CHECK_ARENA(parent);
	o.parent = parent;
	return Arena_new_with(&o);
}

T Arena__made_at(T a, const char *file, int line)
{
	pthread_mutex_lock(&a->lock);
	a->file = file;
	a->line = line;
	pthread_mutex_unlock(&a->lock);
	return a;
}

/* Runs the deferred calls made after last; those left when one raises are run on the way out. */
static void run_deferred(T a, const Deferred *last)
{
	TRY {
		for (;;) {
			Deferred *d;

			pthread_mutex_lock(&a->lock);
			d = a->deferred != last ? a->deferred : NULL;
			if (d)
				a->deferred = d->older;
			pthread_mutex_unlock(&a->lock);
			if (!d)
				break;
			d->fn(d->cl);
		}
	} FINALLY {
		if (a->deferred != last)
			run_deferred(a, last);
	} END_TRY;
}

static void release(T a)
{
	Arena_Options backing = a->backing;
	Chunk *list = a->newest, *spare = a->spare;

	remove_live(a);
	if (a->parent)
		remove_child(a->parent, a);
	pthread_mutex_destroy(&a->lock);
	a->magic = DEAD;
	poison(a->first, (size_t)(a->home->limit - a->first));
	if (spare)
		give_back(&backing, spare);
	give_back_list(&backing, list);
}

static void dispose(T a)
{
	TRY {
		while (a->children)
			dispose(a->children);
		run_deferred(a, NULL);
	} FINALLY {
		if (a->children)
			dispose(a);
		else
			release(a);
	} END_TRY;
}

void Arena_dispose(T *arena)
{
	T a;

	if (!arena || !*arena)
		return;
	a = *arena;
	CHECK_ARENA(a);
	*arena = NULL;
	if (a->children || a->deferred)
		dispose(a);
	else
		release(a);
}

/* ---- allocation ---- */

void *Arena_alloc(T a, size_t nbytes)
{
	CHECK_ARENA(a);
	return allocate_at(a, ALIGN, nbytes, HERE);
}

void *Arena__alloc(T a, size_t nbytes, const char *file, const char *function, int line)
{
	CHECK_ARENA(a);
	return allocate_at(a, ALIGN, nbytes, (Site){ file, function, line });
}

void *Arena_calloc(T a, size_t count, size_t nbytes)
{
	CHECK_ARENA(a);
	return callocate_at(a, count, nbytes, HERE);
}

void *Arena__calloc(T a, size_t count, size_t nbytes, const char *file, const char *function, int line)
{
	CHECK_ARENA(a);
	return callocate_at(a, count, nbytes, (Site){ file, function, line });
}

void *Arena_alloc_aligned(T a, size_t alignment, size_t nbytes)
{
	CHECK_ARENA(a);
	CHECK(alignment && (alignment & (alignment - 1)) == 0 && alignment <= PTRDIFF_MAX / 4,
		"Arena_alloc_aligned: an alignment of %zu is not a power of 2", alignment);
	return allocate_at(a, alignment > ALIGN ? alignment : ALIGN, nbytes, HERE);
}

/* Grows or shrinks p where it is, if it is the newest of the current chunk. */
static int resize_newest(T a, char *p, size_t old_nbytes, size_t new_nbytes)
{
	size_t old_step = padded(old_nbytes) + red_zone(), new_step = padded(new_nbytes) + red_zone();
	int fits;

	pthread_mutex_lock(&a->lock);
	fits = p + old_step == a->avail && new_step <= (size_t)(a->current->limit - p);
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
	if (p && new_nbytes <= PTRDIFF_MAX / 2 && resize_newest(a, p, old_nbytes, new_nbytes))
		return p;
	if (p && new_nbytes <= old_nbytes)
		return p;
	q = allocate_at(a, ALIGN, new_nbytes, HERE);
	if (old_nbytes)
		memcpy(q, p, old_nbytes < new_nbytes ? old_nbytes : new_nbytes);
	return q;
}

void *Arena_try_alloc(T a, size_t nbytes)
{
	CHECK_ARENA(a);
	return try_allocate(a, ALIGN, nbytes);
}

static char *copy_string(T a, const char *s, size_t n, Site site)
{
	char *copy = allocate_at(a, ALIGN, n + 1, site);

	memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

char *Arena_strdup(T a, const char *s)
{
	CHECK_ARENA(a);
	CHECK(s, "Arena_strdup: the string is NULL");
	return copy_string(a, s, strlen(s), HERE);
}

char *Arena_strndup(T a, const char *s, size_t n)
{
	CHECK_ARENA(a);
	CHECK(s, "Arena_strndup: the string is NULL");
	return copy_string(a, s, strnlen(s, n), HERE);
}

void *Arena_memdup(T a, const void *p, size_t nbytes)
{
	void *copy;

	CHECK_ARENA(a);
	CHECK(p || nbytes == 0, "Arena_memdup: NULL with %zu bytes", nbytes);
	copy = allocate_at(a, ALIGN, nbytes, HERE);
	return nbytes ? memcpy(copy, p, nbytes) : copy;
}

char *Arena_vsprintf(T a, const char *fmt, va_list ap)
{
	char *s;
	va_list again;
	int n;

	CHECK_ARENA(a);
	CHECK(fmt, "Arena_vsprintf: the format is NULL");
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		EXCEPT_RAISE_MSG(Arena_Failed, "Arena_vsprintf: the format \"%s\" cannot be printed", fmt);
	s = allocate_at(a, ALIGN, (size_t)n + 1, HERE);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	return s;
}

char *Arena_sprintf(T a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = Arena_vsprintf(a, fmt, ap);
	va_end(ap);
	return s;
}

/* ---- clear, reset, savepoints ---- */

/* Takes the chunks newer than last off the list. Lock held. */
static Chunk *cut_list(T a, Chunk *last)
{
	Chunk *cut = NULL;

	while (a->newest != last) {
		Chunk *c = a->newest;

		a->newest = c->older;
		poison_free_bytes(c);
		c->older = cut;
		cut = c;
	}
	return cut;
}

/* Moves the largest of a list into spare if it is larger, and returns the others, unbooked. Lock held. */
static Chunk *keep_largest(T a, Chunk *list)
{
	Chunk *rest = NULL;

	while (list) {
		Chunk *c = list, *out = c;

		list = c->older;
		if (!a->spare || c->size > a->spare->size) {
			out = a->spare;
			a->spare = c;
			c->older = NULL;
		}
		if (out) {
			a->held -= out->size;
			out->older = rest;
			rest = out;
		}
	}
	return rest;
}

static Chunk *drop_spare(T a)
{
	Chunk *c = a->spare;

	a->spare = NULL;
	if (c)
		a->held -= c->size;
	return c;
}

static void give_back_unlocked(T a, Chunk *list)
{
	if (!list)
		return;
	pthread_mutex_unlock(&a->lock);
	give_back_list(&a->backing, list);
	pthread_mutex_lock(&a->lock);
}

/* One chunk that a cycle like those before fits into. A spare four times too large goes, so that one
 * large request is not held for ever. When there is no memory the next cycle grows as the first did. */
static void consolidate(T a, size_t keep)
{
	size_t home = (size_t)(a->home->limit - a->first), want = a->wanted > home ? a->wanted : 0;
	size_t size = want + want / 8 + CHUNK_HEADER + 64 * ALIGN;

	if (want == 0 || size > keep) {
		give_back_unlocked(a, a->spare && (want == 0 || a->spare->size > keep) ? drop_spare(a) : NULL);
		return;
	}
	if (a->spare && a->spare->size >= want + CHUNK_HEADER && a->spare->size / 4 <= size)
		return;
	give_back_unlocked(a, drop_spare(a));
	a->spare = take_chunk(a, size);
	if (a->spare)
		poison_free_bytes(a->spare);
}

static void clear(T a, size_t keep)
{
	Chunk *rest;

	pthread_mutex_lock(&a->lock);
	a->wanted -= a->wanted / 8;
	if (a->wanted < a->used_most)
		a->wanted = a->used_most;
	rest = keep_largest(a, cut_list(a, a->home));
	a->current = a->home;
	a->avail = a->first;
	a->used = a->used_most = 0;
	a->cycle++;
	a->deferred = NULL;
	poison(a->first, (size_t)(a->home->limit - a->first));
	give_back_unlocked(a, rest);
	consolidate(a, keep);
	pthread_mutex_unlock(&a->lock);
}

static void clear_all(T a, size_t keep)
{
	if (!a->deferred)
		clear(a, keep);
	else
		TRY {
			run_deferred(a, NULL);
		} FINALLY {
			clear(a, keep);
		} END_TRY;
}

void Arena_clear(T a)
{
	CHECK_ARENA(a);
	clear_all(a, SIZE_MAX);
}

void Arena_reset(T a, size_t keep)
{
	CHECK_ARENA(a);
	clear_all(a, keep);
}

Arena_Mark Arena_mark(T a)
{
	Arena_Mark m;

	CHECK_ARENA(a);
	pthread_mutex_lock(&a->lock);
	m.chunk = a->current;
	m.newest = a->newest;
	m.deferred = a->deferred;
	m.avail = a->avail;
	m.used = a->used;
	m.cycle = a->cycle;
	pthread_mutex_unlock(&a->lock);
	return m;
}

static void rewind_to(T a, const Arena_Mark *m)
{
	Chunk *rest;

	pthread_mutex_lock(&a->lock);
	rest = keep_largest(a, cut_list(a, m->newest));
	a->current = m->chunk;
	a->avail = m->avail;
	a->used = m->used;
	poison(a->avail, (size_t)(a->current->limit - a->avail));
	give_back_unlocked(a, rest);
	pthread_mutex_unlock(&a->lock);
}

static int is_linked(T a, const void *chunk)
{
	const Chunk *c = a->newest;

	while (c && c != chunk)
		c = c->older;
	return c != NULL;
}

void Arena_rewind(T a, Arena_Mark m)
{
	CHECK_ARENA(a);
	CHECK(m.cycle == a->cycle && m.used <= a->used && is_linked(a, m.newest) && is_linked(a, m.chunk),
		"Arena_rewind: the mark is of another arena, or a clear or rewind has passed it");
	TRY {
		run_deferred(a, m.deferred);
	} FINALLY {
		rewind_to(a, &m);
	} END_TRY;
}

void Arena_defer(T a, void (*fn)(void *), void *cl)
{
	Deferred *d;

	CHECK_ARENA(a);
	CHECK(fn, "Arena_defer: the function is NULL");
	d = allocate_at(a, ALIGN, sizeof *d, HERE);
	d->fn = fn;
	d->cl = cl;
	pthread_mutex_lock(&a->lock);
	d->older = a->deferred;
	a->deferred = d;
	pthread_mutex_unlock(&a->lock);
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

size_t Arena_debug_live_count(void)
{
	return atomic_load_explicit(&live_count, memory_order_relaxed);
}

/* ---- the report: a snapshot under the locks, printed without them ---- */

typedef struct Line {
	const struct Arena *arena, *parent;
	const char *name, *file;
	size_t used, held, peak;
	int line;
} Line;

static size_t snapshot(Line *lines, size_t room)
{
	size_t n = 0;
	int i;

	lock_shards();
	for (i = 0; i < SHARDS; i++) {
		struct Arena *a;

		for (a = live[i].first; a && n < room; a = a->next_live) {
			pthread_mutex_lock(&a->lock);
			lines[n++] = (Line){ a, a->parent, a->backing.name, a->file, a->used, a->held, a->peak, a->line };
			pthread_mutex_unlock(&a->lock);
		}
	}
	unlock_shards();
	return n;
}

static void print_tree(FILE *out, const Line *lines, size_t n, const struct Arena *parent, int depth)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (lines[i].parent == parent) {
			fprintf(out, "%*s%s %p", 2 * depth, "", lines[i].name ? lines[i].name : "arena",
				(const void *)lines[i].arena);
			if (lines[i].file)
				fprintf(out, " made at %s:%d", lines[i].file, lines[i].line);
			fprintf(out, ": %zu used, %zu held, %zu peak\n", lines[i].used, lines[i].held, lines[i].peak);
			print_tree(out, lines, n, lines[i].arena, depth + 1);
		}
}

void Arena_debug_report(FILE *out)
{
	size_t room = Arena_debug_live_count() + 64, n;
	Line *lines;

	CHECK(out, "Arena_debug_report: the file is NULL");
	lines = calloc(room, sizeof *lines);
	if (!lines)
		EXCEPT_RAISE_MSG(Arena_Failed, "Arena_debug_report: out of memory for %zu lines", room);
	n = snapshot(lines, room);
	fprintf(out, "%zu live arenas\n", n);
	print_tree(out, lines, n, NULL, 1);
	free(lines);
}
