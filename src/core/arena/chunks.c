/* SPDX-License-Identifier: MIT */
/* Arena, continued: chunks from the backing allocator and back, the store of a thread, and growth.
 * The lock is released while the backing allocator runs. The bytes that it is asked for are added
 * to `held` before, so that two threads cannot pass the limit together.
 *
 * The default backing allocator is malloc, and for 2 MiB and more a mapping on huge pages. The
 * advice must come before the first touch, or the first 2 MiB stay on small pages.
 *
 * The store makes a loop that makes and disposes of arenas cost neither malloc nor page faults.
 * Shells are first chunks with the struct of a disposed arena, still in the registry, its lock
 * made; the others are plain chunks, found by size. Only memory of the default backing allocator
 * is kept. It does not count as held by any arena.
 *
 * Invariant: the structs in shells are DEAD and no arena's.
 *
 * Only its thread touches the store, without a lock, in a "turnover". A function that walks the
 * registry (report, fork) closes the gate and passes the barrier. Then it waits for the turnovers
 * that had begun, as revokers do (arena/threads.c). So a fork finds every store in order.
 *
 * It decays: half of the chunks not needed in the last TICKS disposals go. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

enum {
	CHUNK_LARGEST = 1024 * 1024, /* where doubling stops */
	CHUNK_HUGEST = 64 * 1024 * 1024,
	OBJECT_OVERHEAD = CHUNK_HEADER + 6 * ALIGN,
	SLICE_LEAST = 1024,
	HUGE_PAGE = 2 * 1024 * 1024,
	PAGE = 64 * 1024, /* the largest of any Linux, on arm64: munmap takes whole pages only */
	TICKS = 64,
	BYTES_KEPT = 2 * 1024 * 1024, /* and SHELLS * CHUNK_FIRST */
	CHUNK_KEPT = BYTES_KEPT / 2
};

/* ---- the default backing allocator ---- */

/* The tools know malloc better: ASan's leak checker looks for pointers in its blocks, not in
 * mappings. */
static int is_mapped(size_t nbytes)
{
	return nbytes >= HUGE_PAGE && nbytes <= PTRDIFF_MAX - HUGE_PAGE
		&& !red_zone() && !under_tsan();
}

static size_t whole_pages(size_t nbytes)
{
	return (nbytes + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static void *map(size_t nbytes)
{
	size_t size = whole_pages(nbytes), before;
	char *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	before = padding(p, HUGE_PAGE);
	if (before)
		munmap(p, before);
	if (before < HUGE_PAGE)
		munmap(p + before + size, HUGE_PAGE - before);
	p += before;
#if defined MADV_HUGEPAGE
	(void)madvise(p, size, MADV_HUGEPAGE);
#endif
	return p;
}

static void *default_alloc(size_t nbytes, void *cl)
{
	(void)cl;
	return is_mapped(nbytes) ? map(nbytes) : malloc(nbytes);
}

static void default_free(void *p, size_t nbytes, void *cl)
{
	(void)cl;
	if (is_mapped(nbytes))
		munmap(p, whole_pages(nbytes));
	else
		free(p);
}

const Backing arena__default_backing = { default_alloc, default_free, NULL };

/* ---- the store ---- */

int arena__begin_turnover(Thread *t)
{
	STORE(t->turnover, 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!LOAD_ACQUIRE(arena__registry_walked))
		return 1;
	arena__end_turnover(t);
	return 0;
}

/* The turnover has begun in these. */

static Chunk *remove_stored(Store *s, int i)
{
	Chunk *c = s->chunks[i];

	for (s->n--; i < s->n; i++)
		s->chunks[i] = s->chunks[i + 1];
	if (s->n < s->low)
		s->low = s->n;
	return c;
}

int arena__store(Thread *t, Store *s, int most, Chunk *c)
{
	if (s->n == most)
		return 0;
	s->chunks[s->n++] = c;
	t->ticks++;
	return 1;
}

T arena__take_shell(Thread *t)
{
	if (t->shells.n == 0 || !arena__begin_turnover(t))
		return NULL;
	return struct_in(remove_stored(&t->shells, t->shells.n - 1));
}

/* Returns a chunk that is booked; NULL if there is none. */
static Chunk *take_stored(T a, size_t least, size_t most)
{
	Thread *t = record_now();
	Chunk *c = NULL;
	int i;

	if (!t || a->backing.alloc != default_alloc || t->spares.n == 0 || !arena__begin_turnover(t))
		return NULL;
	for (i = t->spares.n - 1; i >= 0 && !c; i--)
		if (t->spares.chunks[i]->size >= least && t->spares.chunks[i]->size <= most)
			c = remove_stored(&t->spares, i);
	arena__end_turnover(t);
	if (c) {
		c->own = 0;
		c->older = NULL; /* it still has the one of its last arena */
		a->held += c->size;
	}
	return c;
}

static int keep_chunk(Chunk *c)
{
	Thread *t = record_now();
	size_t bytes = c->size;
	int i, kept;

	if (!t || c->size == 0 || c->size > CHUNK_KEPT || !arena__begin_turnover(t))
		return 0;
	for (i = 0; i < t->spares.n; i++)
		bytes += t->spares.chunks[i]->size;
	kept = bytes <= BYTES_KEPT && arena__store(t, &t->spares, STORED, c);
	arena__end_turnover(t);
	return kept;
}

static void free_chunk(Chunk *c)
{
	arena__default_backing.free(c, c->size, NULL);
}

static void free_shell(Chunk *c)
{
	arena__deregister(struct_in(c));
	pthread_mutex_destroy(&struct_in(c)->lock);
	free_chunk(c);
}

static void drop_oldest(Thread *t, Store *s, int n, void (*drop)(Chunk *))
{
	Chunk *dropped[STORED];
	int i;

	if (!arena__begin_turnover(t))
		return;
	for (i = 0; i < n; i++)
		dropped[i] = remove_stored(s, 0);
	s->low = s->n;
	arena__end_turnover(t);
	for (i = 0; i < n; i++)
		drop(dropped[i]);
}

/* Half of what was never needed since the last time. */
void arena__decay(Thread *t)
{
	if (t->ticks < TICKS)
		return;
	t->ticks = 0;
	drop_oldest(t, &t->shells, (t->shells.low + 1) / 2, free_shell);
	drop_oldest(t, &t->spares, (t->spares.low + 1) / 2, free_chunk);
}

void arena__empty_store(Thread *t)
{
	drop_oldest(t, &t->shells, t->shells.n, free_shell);
	drop_oldest(t, &t->spares, t->spares.n, free_chunk);
}

/* ---- taking ---- */

Chunk *arena__make_chunk(void *p, size_t size)
{
	Chunk *c = p;

	c->older = NULL;
	c->size = size;
	c->limit = (char *)p + size;
	c->own = 0;
	return c;
}

void *arena__call_backing(const Backing *b, size_t size)
{
	int error = errno;
	void *p = b->alloc(size, b->cl);

	CHECK(padding(p, _Alignof(max_align_t)) == 0,
		"Arena: the backing allocator gave %p, which is not aligned for max_align_t", p);
	if (p)
		errno = error;
	return p;
}

typedef struct Booking {
	T arena;
	size_t size; /* 0 when the call has returned */
} Booking;

static void book_off(Booking *b)
{
	if (!b->size)
		return;
	arena__relock(b->arena);
	b->arena->held -= b->size;
	arena__unlock(b->arena);
}

/* A backing allocator may raise. Arena_Failed (perhaps it is an arena) means no memory; anything
 * else goes on, a C++ exception or a cancellation, too, once the bytes are booked off again. */
static void *call_booked(T a, size_t size)
{
	Booking booking = { a, size };
	void *p = NULL;

	if (a->backing.alloc == default_alloc)
		return arena__call_backing(&a->backing, size);
	DEFER(book_off, &booking);
	PROTECT(p);
	TRY {
		p = arena__call_backing(&a->backing, size);
	} EXCEPT(Arena_Failed) {
		p = NULL;
	} END_TRY;
	booking.size = 0;
	return p;
}

int arena__may_hold(const struct Arena *a, size_t size)
{
	return !(a->slow & FIXED) && (!a->most || (size <= a->most && a->held <= a->most - size));
}

/* With a limit, the chunk is of the very size: the arena must not behave otherwise for what is in
 * store. */
Chunk *arena__take_chunk_unlocks(T a, size_t size, size_t most)
{
	Chunk *c;
	void *p;

	if (!arena__may_hold(a, size))
		return NULL;
	c = take_stored(a, size, a->most ? size : most);
	if (c)
		return c;
	a->held += size;
	arena__unlock(a);
	p = call_booked(a, size);
	arena__relock(a);
	if (p && a->slow & GONE) { /* debug builds raise when this thread comes for the lock again */
		arena__give_back_unlocks(a, arena__make_chunk(p, size));
		p = NULL;
	}
	if (!p) {
		a->held -= size;
		return NULL;
	}
	return arena__make_chunk(p, size);
}

/* ---- giving back ---- */

/* Memory that goes back to the caller's buffer or a custom allocator must be as touchable as it
 * came. */
static void give_back_one(const Backing *b, Chunk *c)
{
	size_t size = c->size;

	if (b->alloc == default_alloc && keep_chunk(c))
		return;
	hand_back(c, (size_t)(c->limit - (char *)c));
	if (size && b->free)
		b->free(c, size, b->cl);
}

typedef struct List {
	const Backing *backing;
	Chunk *first;
} List;

/* If a cancellation leaves the caller's free, the compiler's clean-up goes on with the next
 * chunk. */
static void give_back_each(List *const *list)
{
	List *l = *list;

	if (l->first) {
		List *rest __attribute__((cleanup(give_back_each), unused)) = l;

		while (l->first) {
			Chunk *c = l->first;

			l->first = c->older;
			give_back_one(l->backing, c);
		}
	}
}

void arena__give_back_list(const Backing *b, Chunk *c)
{
	List l = { b, c }, *list = &l;
	int error = errno;

	give_back_each(&list);
	errno = error;
}

void arena__give_back_unlocks(T a, Chunk *list)
{
	Backing backing = a->backing;

	if (!list)
		return;
	arena__unlock(a);
	arena__give_back_list(&backing, list);
	arena__relock(a);
}

Chunk *arena__drop_spare(T a)
{
	Chunk *c = a->spare;

	a->spare = NULL;
	if (c)
		a->held -= c->size;
	return c;
}

void arena__keep_spare_unlocks(T a, Chunk *c)
{
	if (a->spare) {
		a->held -= c->size;
		arena__give_back_unlocks(a, c);
	} else {
		poison_chunk(c);
		a->spare = c;
		STORE(a->slow, a->slow | GREW);
	}
}

/* ---- growth; the lock is held in all of this part ---- */

/* Returns the bytes of a chunk that surely holds such an object; 0 if none is so large. */
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

static void link_chunk(T a, Chunk *c)
{
	poison_chunk(c);
	c->older = a->newest;
	a->newest = c;
	STORE(a->slow, a->slow | GREW);
}

static void *bump_locked(T a, size_t alignment, size_t nbytes)
{
	void *p;

	if (!arena__is_mine(a)) /* then the arena is open, and has no red zones */
		return bump_lane(&a->common.lane, alignment, nbytes, 0);
	p = bump_lane(&a->lane, alignment, nbytes, red_zone());
	if (p) {
		show(a, p, nbytes);
		note_alignment(a, alignment);
	}
	return p;
}

static void move_lane(T a, Lane *l, char *start, char *limit)
{
	if (l == &a->common.lane)
		arena__settle_common(a);
	else
		a->used += above_floor(l);
	set_lane(l, start, limit);
}

/* Gives the owner the end of the common lane. Returns 0 if there is no room for size bytes. */
static int cut_slice(T a, size_t size)
{
	Lane *l = &a->common.lane;
	size_t rest = (size_t)(l->limit - l->avail), n = rest / 16 + SLICE_LEAST + size;
	char *start;

	if (size + LINE > rest)
		return 0;
	if (n > rest)
		n = rest;
	start = l->limit - n;
	start += padding(start, LINE);
	move_lane(a, &a->lane, start, l->limit);
	l->limit = start;
	return 1;
}

static void enter_chunk(T a, Lane *l, Chunk *c)
{
	link_chunk(a, c);
	move_lane(a, l, chunk_start(c), lane_end(c));
}

/* Returns 0 if the spare is too small. */
static int enter_spare(T a, size_t size)
{
	Chunk *c = a->spare;

	if (!c || size > c->size)
		return 0;
	a->spare = NULL;
	if (arena__is_mine(a) && a->common.wanted && size <= c->size / 2) {
		enter_chunk(a, &a->common.lane, c);
		return cut_slice(a, size);
	}
	enter_chunk(a, my_lane(a), c);
	return 1;
}

static Chunk *take_for_growth_unlocks(T a, size_t size)
{
	return arena__take_chunk_unlocks(a, size, size + size / 4);
}

/* Returns NULL with no chunk taken if the request is large, or memory is short. */
static void *allocate_in_new_chunk_unlocks(T a, size_t alignment, size_t nbytes, size_t size)
{
	size_t next = next_chunk(a);
	Chunk *c = size <= next / 8 ? take_for_growth_unlocks(a, next) : NULL;
	void *p;

	if (!c)
		return NULL;
	/* another thread may have grown the arena meanwhile; what it left is not to be lost */
	p = a->spare && !a->backing.free ? NULL : bump_locked(a, alignment, nbytes);
	if (p)
		arena__keep_spare_unlocks(a, c);
	else {
		enter_chunk(a, my_lane(a), c);
		p = bump_locked(a, alignment, nbytes);
	}
	return p;
}

/* A chunk of its own; the lanes stay where they are. A spare that is of no use here makes way. */
static void *allocate_large_unlocks(T a, size_t alignment, size_t nbytes, size_t size)
{
	Chunk *c = take_for_growth_unlocks(a, size);
	char *p;

	if (!c && a->spare) {
		arena__give_back_unlocks(a, arena__drop_spare(a));
		c = take_for_growth_unlocks(a, size);
	}
	if (!c)
		return NULL;
	link_chunk(a, c);
	p = chunk_start(c);
	p += padding(p, alignment);
	c->own = padded(nbytes) + red_zone() + alignment - ALIGN;
	a->used += c->own;
	if (arena__is_mine(a))
		note_alignment(a, alignment);
	show(a, p, nbytes);
	return p;
}

void *arena__allocate_unlocks(T a, size_t alignment, size_t nbytes)
{
	int mine = arena__claim(a);
	void *p = bump_locked(a, alignment, nbytes);
	size_t size;

	if (LIKELY(p))
		return p;
	size = arena__chunk_for(alignment, nbytes);
	if (size == 0)
		return NULL;
	if ((mine && cut_slice(a, size)) || enter_spare(a, size))
		return bump_locked(a, alignment, nbytes);
	p = allocate_in_new_chunk_unlocks(a, alignment, nbytes, size);
	return p ? p : allocate_large_unlocks(a, alignment, nbytes, size);
}
