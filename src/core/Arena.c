/* SPDX-License-Identifier: MIT */
/* Arena: a list of chunks, newest first, and two lanes in them, in which a pointer is bumped. The
 * owner moves the pointer of its lane without a lock (arena/threads.c). All other threads share the
 * common lane, under the lock. The struct itself lies in the first chunk ("home"), which is never
 * given back before the arena is.
 *
 * Invariant: home is the oldest of the list; the lanes are in chunks of the list; everything
 * else in these chunks is allocated, padding, or left over; bytes past the lane's avail are
 * poisoned under ASan and Valgrind. The spare, if any, is one chunk outside the list, poisoned
 * throughout. A clear or rewind keeps it for the next growth. The member held counts what the
 * backing allocator gave, the spare included, and what it is being asked for.
 *
 * The lock covers each step. It is never held while the backing allocator, a deferred call or a
 * raise runs. A function that lets go of it has a name that ends in _unlocks. Lock order: the
 * registry's, then any one arena's, then that of the threads' records.
 *
 * A chunk is as large as all before it together, up to CHUNK_LARGEST, and an eighth of them once
 * that is more. So no more than an eighth is ever idle in an arena of gigabytes, which still has
 * few chunks. A request of more than an eighth of the next chunk gets a chunk of its own. So a
 * large object does not waste the rest of a small chunk. Many large ones make the arena grow until
 * they are an eighth no longer.
 *
 * In an arena that other threads used lately, a spare goes to the common lane, and the owner
 * cuts slices off its end. So the two share one chunk in any proportion, and meet under the lock
 * once a slice. */
#include "config.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

EXCEPT_DEFINE(Arena_Failed, NULL, "arena allocation failed");

/* Bytes of a first chunk that are not usable, with two red zones. */
enum { HOME_OVERHEAD = CHUNK_HEADER + STRUCT_LINES + LINE + 4 * ALIGN };

/* ---- argument checks and raises ---- */

#define RAISE_AT(site, e, ...) \
	Except__raise_msg(&(e), (site)->file, (site)->function, (site)->line, __VA_ARGS__)

void arena__bad(const struct Arena *a, const Site *site)
{
	const char *call = site->macro ? site->macro : site->function;

	if (!a)
		RAISE_AT(site, Assert_Failed, "%s: the arena is NULL", call);
	RAISE_AT(site, Assert_Failed, "%s: %p is not a live arena", call, (const void *)a);
}

static void check_at(const struct Arena *a, const Site *site)
{
	if (!a || LOAD(a->magic) != MAGIC)
		arena__bad(a, site);
}

static void raise_failed(T a, size_t alignment, size_t nbytes, const Site *site) CORE_NORETURN;
static void raise_failed(T a, size_t alignment, size_t nbytes, const Site *site)
{
	const char *name = a->name ? a->name : "arena";
	size_t size = arena__chunk_for(alignment, nbytes), held, limit;
	int over;

	arena__lock(a);
	held = a->held;
	limit = a->most;
	over = !arena__may_hold(a, size);
	arena__unlock(a);
	if (size == 0)
		RAISE_AT(site, Arena_Failed, "%s: %zu bytes, aligned to %zu, are more than an object can "
			"have", name, nbytes, alignment);
	if (LOAD(a->slow) & FIXED)
		RAISE_AT(site, Arena_Failed, "%s: no room for %zu bytes in its fixed buffer", name,
			nbytes);
	if (over)
		RAISE_AT(site, Arena_Failed, "%s: %zu bytes more than the %zu held would pass its limit "
			"of %zu", name, size, held, limit);
	RAISE_AT(site, Arena_Failed, "%s: out of memory for %zu bytes", name, nbytes);
}

/* ---- under the lock ---- */

static void *try_allocate(T a, size_t alignment, size_t nbytes, const Site *site)
{
	struct Usage *usage = arena__guards & GUARD_PROFILE ? arena__usage(a, site) : NULL;
	void *p;

	arena__lock(a);
	p = arena__guards & GUARD_FENCES ? arena__allocate_guarded_unlocks(a, alignment, nbytes, site)
		: arena__allocate_unlocks(a, alignment, nbytes);
	if (usage && p)
		arena__log(a, usage, p, nbytes);
	arena__unlock(a);
	return p;
}

static void *allocate_at(T a, size_t alignment, size_t nbytes, const Site *site)
{
	void *p = try_allocate(a, alignment, nbytes, site);

	if (!p)
		raise_failed(a, alignment, nbytes, site);
	return p;
}

/* ---- lifecycle ---- */

/* A child's is its parent's: who bounds, counts or fails the memory of an arena means all of it.
 */
static const Backing *backing_of(const Arena_Options *o, Backing *given)
{
	if (!o->alloc)
		return o->parent ? &o->parent->backing : &arena__default_backing;
	*given = (Backing){ o->alloc, o->free, o->cl };
	return given;
}

/* Everything but what a shell keeps; c is to be home. */
static void start(T a, Chunk *c, const Arena_Options *o, const Backing *backing)
{
	zero(a, offsetof(struct Arena, rewinds));
	a->magic = MAGIC;
	a->cycle++;
	a->most = o->limit;
	a->backing = *backing;
	a->name = o->name;
	a->parent = o->parent;
	a->slow = o->alloc || o->parent || c->size != CHUNK_FIRST ? SPECIAL : 0;
	if (o->fixed)
		a->slow |= FIXED;
	a->held = c->size;
	a->home = a->newest = a->marked = c;
	a->rewinds[0].turn = 0;
	c->older = NULL;
	enter_home(a);
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
		EXCEPT_RAISE_MSG(Arena_Failed,
			"a first chunk of %zu bytes would pass the limit of %zu", size, o->limit);
	p = arena__call_backing(backing, size);
	if (!p)
		EXCEPT_RAISE_MSG(Arena_Failed, "out of memory for an arena's first chunk of %zu bytes",
			size);
	return arena__make_chunk(p, size);
}

static Chunk *first_chunk(const Arena_Options *o, const Backing *backing)
{
	Chunk *c = o->buffer ? buffer_chunk(o->buffer, o->buffer_size) : NULL;

	if (c)
		return c;
	if (o->fixed)
		EXCEPT_RAISE_MSG(Arena_Failed,
			"a fixed buffer of %zu bytes: an arena needs %zu for itself", o->buffer_size,
			(size_t)HOME_OVERHEAD + ALIGN);
	return heap_chunk(o, backing);
}

static void check_options(const Arena_Options *o)
{
	CHECK(o, "Arena_new_with: the options are NULL");
	CHECK(!o->fixed || o->buffer, "Arena_new_with: a fixed arena needs a buffer");
	CHECK(o->alloc || !o->free, "Arena_new_with: free is given and alloc is not");
	CHECK(o->buffer || o->buffer_size == 0, "Arena_new_with: a buffer of %zu bytes is NULL",
		o->buffer_size);
	CHECK(!o->parent || LOAD(o->parent->magic) == MAGIC,
		"Arena_new_with: the parent %p is not a live arena", (void *)o->parent);
	if (o->parent)
		arena__check_gone(o->parent);
}

static T make_arena(const Arena_Options *o, const Backing *backing, Thread *t)
{
	static uint64_t structs;
	Chunk *c = first_chunk(o, backing);
	T a = struct_in(c);

	a->cycle = __atomic_fetch_add(&structs, 1, __ATOMIC_RELAXED) << 32;
	start(a, c, o, backing);
	if (pthread_mutex_init(&a->lock, NULL) != 0) {
		arena__give_back_list(&a->backing, c);
		EXCEPT_RAISE_MSG(Arena_Failed, "no mutex for an arena");
	}
	hide(a->lane.avail - red_zone(), (size_t)(a->lane.limit - a->lane.avail) + red_zone());
	arena__register(a);
	STORE_RELEASE(a->owner, t);
	return a;
}

/* Out of the thread's store; NULL: nothing there. */
static T take_from_shell(const Arena_Options *o, Thread *t)
{
	T a = t ? arena__take_shell(t) : NULL;

	if (!a)
		return NULL;
	start(a, a->home, o, &arena__default_backing);
	arena__end_turnover(t);
	STORE_RELEASE(a->owner, t);
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
		a = take_from_shell(o, t);
	if (!a)
		a = make_arena(o, backing, t);
	if (o->parent)
		arena__link_child(o->parent, a);
	return a;
}

T Arena_new(void)
{
	static const Arena_Options none;
	T a = take_from_shell(&none, record_now());

	return a ? a : Arena_new_with(&none);
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

/* Returns NULL unless the arena is live and its common lane has room and is for this thread. It
 * nearly always is while threads share an arena. */
static inline void *bump_common(T a, size_t nbytes)
{
	void *p = NULL;

	if (!a || LOAD(a->magic) != MAGIC || !LOAD(a->common.lane.avail))
		return NULL;
	arena__lock(a);
	if (LIKELY(a->owner && a->owner != self_now()))
		p = bump_lane(&a->common.lane, ALIGN, nbytes, 0);
	arena__unlock(a);
	return p;
}

__attribute__((noinline)) void *arena__alloc_slowly(T a, size_t nbytes, const Site *site)
{
	void *p = bump_common(a, nbytes);

	if (LIKELY(p))
		return p;
	check_at(a, site);
	return allocate_at(a, ALIGN, nbytes, site);
}

/* Functions of their own, with their Site in the rare branch, or it would cost the quick ways a
 * stack frame. */
static __attribute__((noinline)) void *alloc_here(T a, size_t nbytes, void *caller)
{
	void *p = bump_common(a, nbytes);

	return LIKELY(p) ? p : arena__alloc_slowly(a, nbytes,
		&(Site){ __FILE__, "Arena_alloc", __LINE__, NULL, caller });
}

static __attribute__((noinline)) void *alloc_there(T a, size_t nbytes,
	const char *file, const char *function, int line, void *caller)
{
	void *p = bump_common(a, nbytes);

	return LIKELY(p) ? p : arena__alloc_slowly(a, nbytes,
		&(Site){ file, function, line, "ALLOC", caller });
}

void *Arena_alloc(T a, size_t nbytes)
{
	void *p = Arena__bump(a, nbytes);

	return LIKELY(p) ? p : alloc_here(a, nbytes, __builtin_return_address(0));
}

void *Arena__alloc(T a, size_t nbytes, const char *file, const char *function, int line)
{
	void *p = Arena__bump(a, nbytes);

	return LIKELY(p) ? p
		: alloc_there(a, nbytes, file, function, line, __builtin_return_address(0));
}

static void *callocate_at(T a, size_t count, size_t nbytes, const Site *site)
{
	size_t n;

	check_at(a, site);
	if (!mul_size(count, nbytes, &n))
		RAISE_AT(site, Arena_Failed, "%zu elements of %zu bytes are more than an object can have",
			count, nbytes);
	return memset(arena__alloc_at(a, n, site), 0, n);
}

void *Arena_calloc(T a, size_t count, size_t nbytes)
{
	return callocate_at(a, count, nbytes, HERE);
}

void *Arena__calloc(T a, size_t count, size_t nbytes,
	const char *file, const char *function, int line)
{
	return callocate_at(a, count, nbytes,
		&(Site){ file, function, line, "CALLOC", __builtin_return_address(0) });
}

/* Returns NULL if the lane has no room or is another thread's: under the lock, then. */
static void *bump_own_aligned(T a, size_t alignment, size_t nbytes)
{
	Thread *t = self_now();
	void *p;

	if (!arena__enter(a, t))
		return NULL;
	p = bump_lane(&a->lane, alignment, nbytes, 0);
	note_alignment(a, alignment);
	arena__leave(t);
	return p;
}

void *Arena_alloc_aligned(T a, size_t alignment, size_t nbytes)
{
	void *p;

	CHECK_ARENA(a);
	CHECK(alignment && (alignment & (alignment - 1)) == 0,
		"Arena_alloc_aligned: an alignment of %zu is not a power of 2", alignment);
	if (alignment < ALIGN)
		alignment = ALIGN;
	p = bump_own_aligned(a, alignment, nbytes);
	return p ? p : allocate_at(a, alignment, nbytes, HERE);
}

/* Grows or shrinks p where it is, if it is the newest of the lane and no mark was made since. A
 * rewind must find what was there at the mark. */
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
	int done;

	if (new_nbytes < old_nbytes || !arena__enter(a, t))
		return 0;
	done = resize_in(&a->lane, p, padded(old_nbytes), padded(new_nbytes));
	arena__leave(t);
	return done;
}

static int resize_locked(T a, char *p, size_t old_nbytes, size_t new_nbytes)
{
	size_t old_step = padded(old_nbytes) + red_zone(), new_step = padded(new_nbytes) + red_zone();

	if (arena__guards & GUARD_FENCES)
		return arena__shrink_guarded(a, p, old_nbytes, new_nbytes);
	if (new_nbytes < old_nbytes)
		arena__note_most(a);
	if (!resize_in(my_lane(a), p, old_step, new_step))
		return 0;
	if (new_nbytes > old_nbytes)
		show(a, p + old_nbytes, new_nbytes - old_nbytes);
	else
		hide(p + new_nbytes, old_step - new_nbytes);
	return 1;
}

static int resize_newest(T a, char *p, size_t old_nbytes, size_t new_nbytes)
{
	int done;
	HOLD(a);

	done = resize_locked(a, p, old_nbytes, new_nbytes);
	if (a->log && (done || new_nbytes <= old_nbytes))
		arena__log_resize(a, p, new_nbytes);
	return done;
}

void *Arena_realloc(T a, void *p, size_t old_nbytes, size_t new_nbytes)
{
	void *q;

	CHECK_ARENA(a);
	CHECK(p || old_nbytes == 0, "Arena_realloc: NULL with %zu old bytes", old_nbytes);
	CHECK(old_nbytes <= PTRDIFF_MAX, "Arena_realloc: no object has %zu bytes", old_nbytes);
	if (p && new_nbytes <= PTRDIFF_MAX
		&& (grow_quickly(a, p, old_nbytes, new_nbytes)
			|| resize_newest(a, p, old_nbytes, new_nbytes)))
		return p;
	if (p && new_nbytes <= old_nbytes) {
		hide((char *)p + new_nbytes, old_nbytes - new_nbytes);
		return p;
	}
	q = arena__alloc_at(a, new_nbytes, HERE);
	return old_nbytes ? memcpy(q, p, old_nbytes) : q;
}

void *Arena_try_alloc(T a, size_t nbytes)
{
	void *p = Arena__bump(a, nbytes);

	if (p)
		return p;
	CHECK_ARENA(a);
	return try_allocate(a, ALIGN, nbytes, HERE);
}

/* ---- one block before its time ---- */

/* A rewind must find what was there at the mark, so nothing below floor. */
static int unbump(T a, char *p, size_t nbytes)
{
	size_t step = padded(nbytes) + red_zone();
	Lane *l = my_lane(a);

	if ((uintptr_t)p < (uintptr_t)l->floor || (uintptr_t)l->avail - (uintptr_t)p != step)
		return 0;
	STORE(l->avail, p);
	hide(p, step);
	return 1;
}

/* Takes the chunk that p has to itself off the list, if no mark knows it. */
static Chunk *cut_own(T a, const char *p)
{
	Chunk **link = &a->newest, *c;

	for (; (c = *link) != a->marked; link = &c->older)
		if (c->own && (uintptr_t)p - (uintptr_t)c < (uintptr_t)c->limit - (uintptr_t)c) {
			*link = c->older;
			a->used -= c->own;
			a->held -= c->size;
			c->older = NULL;
			return c;
		}
	return NULL;
}

int arena__release(T a, void *p, size_t nbytes)
{
	Chunk *c = NULL;
	int done;

	CHECK_ARENA(a);
	arena__lock(a);
	arena__note_most(a);
	done = !a->fences && unbump(a, p, nbytes);
	if (!done && !a->fences && a->backing.free)
		c = cut_own(a, p);
	if (a->log && (done || c))
		arena__log_release(a, p);
	arena__give_back_unlocks(a, c);
	arena__unlock(a);
	return done || c;
}

/* ---- accounting ---- */

/* No thread is stopped for these: what the owner allocates meanwhile is counted or not. */

size_t Arena_used(T a)
{
	CHECK_ARENA(a);
	HOLD(a);
	return arena__used_now(a);
}

size_t Arena_capacity(T a)
{
	CHECK_ARENA(a);
	HOLD(a);
	return a->held;
}

size_t Arena_peak(T a)
{
	CHECK_ARENA(a);
	HOLD(a);
	return arena__peak_now(a);
}

size_t arena__peak_since_clear(T a)
{
	CHECK_ARENA(a);
	HOLD(a);
	return arena__most_now(a);
}

void Arena_set_limit(T a, size_t nbytes)
{
	CHECK_ARENA(a);
	HOLD(a);
	STORE(a->most, nbytes);
}
