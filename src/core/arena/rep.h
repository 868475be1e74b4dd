/* SPDX-License-Identifier: MIT */
/* Private to Arena.c and the files of arena/: what an arena is made of, and what those files
 * ask of each other.
 *
 * There are three kinds of fields, by the threads that may touch them:
 *   the owner's      the owner amid a bump (arena/threads.c), or the thread that has the lock when
 *                    no other thread is the owner;
 *   under the lock   whoever the owner is;
 *   set once         at creation.
 * An arena without an owner is "closed": all is then under the lock. Arenas always are closed
 * in --enable-debug builds, under ASan, TSan, Valgrind and CORE_ARENA_DEBUG, and where the
 * kernel has no membarrier. */
#ifndef ARENAREP_INCLUDED
#define ARENAREP_INCLUDED
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <core/Arena.h>
#include "arena/release.h"
#include "base/checked.h"
#include "base/poison.h"

/* These files define the functions, not the macros that note the caller or need no call. */
#undef Arena_new
#undef Arena_new_with_size
#undef Arena_new_in
#undef Arena_new_child
#undef Arena_new_with
#undef Arena_alloc
#undef ARENA_ALLOC
#define ARENA_ALLOC(arena, nbytes) Arena__alloc((arena), (nbytes), __FILE__, __func__, __LINE__)

enum {
	ALIGN = 16,  /* every allocation is aligned to it */
	LINE = 64,   /* bytes of a cache line */
	REWINDS = 4, /* nested rewinds that are remembered to tell stale marks */
	CHUNK_FIRST = 16 * 1024 /* whole first chunk, the struct included */
};
_Static_assert(ALIGN >= _Alignof(max_align_t), "alignment");
static const uint32_t MAGIC = 0x41524e41; /* "ARNA" */
static const uint32_t DEAD = 0xDEADA12A;

#define LOAD(place)           __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define STORE(place, value)   __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(place)         __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define STORE_RELEASE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)

typedef struct Chunk {
	struct Chunk *older;
	size_t size; /* bytes from the backing allocator, with this header; a caller's buffer has 0 */
	char *limit;
	size_t own;  /* if one object has the chunk to itself, what it adds to `used`; otherwise 0 */
} Chunk;

enum { CHUNK_HEADER = (sizeof(Chunk) + ALIGN - 1) / ALIGN * ALIGN };

/* Where memory is taken: avail moves up to limit. Memory below floor is counted in `used`. It is
 * older than the last mark, or in another chunk. */
typedef struct Lane {
	char *avail, *limit;
	char *floor;
} Lane;

/* The lane of all threads but the owner: under the lock. */
typedef struct Common {
	Lane lane;     /* empty after a clear, a mark and a rewind */
	size_t used;   /* bytes that it gave since the last clear, without those above its floor */
	size_t wanted; /* the part of Arena.wanted that the lane needs */
} Common;

typedef struct Deferred {
	struct Deferred *older;
	void (*fn)(void *);
	void *cl;
} Deferred;

typedef struct Backing {
	void *(*alloc)(size_t nbytes, void *cl);
	void (*free)(void *p, size_t nbytes, void *cl);
	void *cl;
} Backing;

/* Bits of `slow`: why the owner may not clear (SLOW_CLEAR) or dispose without the lock. */
enum {
	GREW = 1,
	DEFERRED = 2,
	VISITED = 4,  /* a thread took the ownership since the last clear: the next one does not */
	MARKED = 8,   /* a mark was made since the last clear */
	SLOW_CLEAR = 15,
	LENT = 256,
	CHILDREN = 16,
	SPECIAL = 32, /* it has a parent, an allocator or a first chunk of its own */
	FIXED = 64,   /* it never goes beyond the caller's buffer */
	GONE = 128    /* it is being released: debug builds look */
};

struct Arena {
	union { /* read by all: a line of its own, whatever the size of a pointer */
		struct {
			struct Thread *owner;
			uint32_t magic;
			uint32_t slow;     /* written under the lock */
			const char *file;  /* where it was made */
			const char *name;
			int line;
		};
		char first_line[LINE];
	};
	/* the owner's */
	Lane lane;
	size_t used_most;  /* since the last clear, as far as it was noted */
	size_t peak;       /* before that */
	size_t wanted;     /* what clear keeps room for: its use, decaying by an eighth a turn */
	size_t align_most; /* largest alignment since: the most padding that it may need elsewhere */
	size_t turn;       /* rewinds so far */
	/* under the lock */
	int running;       /* clears, rewinds and disposals that are running deferred calls */
	Chunk *newest, *home, *spare;
	Chunk *marked;     /* newest at the last mark: chunks after it are in no mark */
	size_t held, most; /* from the backing allocator; its limit */
	size_t used;       /* without what the lanes have above their floors */
	Common common;
	Deferred *deferred;
	struct Fence *fences; /* in guard mode */
	struct Log *log;      /* the profile's */
	struct Arena *parent, *children, *next_sibling, **sibling_link;
	Backing backing;
	struct { size_t used, turn; } rewinds[REWINDS]; /* the owner's; rising, up to a turn of 0 */
	/* for as long as the struct is in the registry, disposed of or not */
	uint64_t cycle;    /* the owner's: counts clears and starts, from a number of this struct */
	pthread_mutex_t lock;
	struct Arena *next, **link;
};

enum {
	STRUCT_BYTES = (sizeof(struct Arena) + ALIGN - 1) / ALIGN * ALIGN,
	STRUCT_LINES = (sizeof(struct Arena) + LINE - 1) / LINE * LINE,
	PAGE_LEAST = 4096 /* the smallest page of any system */
};

/* Where the program calls. */
typedef struct Site {
	const char *file, *function;
	int line;
	const char *macro; /* it gave the program's file and line; NULL if these are the library's */
	void *caller;      /* the return address into the program */
} Site;
#define HERE (&(Site){ __FILE__, __func__, __LINE__, NULL, __builtin_return_address(0) })

#define CHECK_ARENA(a) ((a) && LOAD((a)->magic) == MAGIC ? (void)0 : arena__bad((a), HERE))
void arena__bad(const struct Arena *, const Site *) CORE_NORETURN;

/* ---- arena/debug.c: CORE_ARENA_DEBUG ---- */

enum {
	GUARD_LEAKS = 1,
	GUARD_FENCES = 2,
	GUARD_PAGES = 4,
	GUARD_FILL = 8,
	GUARD_PROFILE = 16,
	GUARD_STACKS = 32,
	GUARD_CLOSED = GUARD_FENCES | GUARD_PROFILE
};
extern int arena__guards;
#if CORE_DEBUG
enum { DEBUG_BUILD = 1 };
#else
enum { DEBUG_BUILD = 0 };
#endif

/* The thread is about to lock an arena, or with NULL has unlocked it. Aborts in a signal handler
 * that interrupted another call of its thread between the two. */
void arena__watch_handlers(const struct Arena *);

static inline int are_handlers_watched(void)
{
	return DEBUG_BUILD || UNLIKELY(arena__guards & GUARD_CLOSED);
}

static inline void arena__relock(struct Arena *a)
{
	if (are_handlers_watched())
		arena__watch_handlers(a);
	pthread_mutex_lock(&a->lock);
}

static inline void arena__unlock(struct Arena *a)
{
	pthread_mutex_unlock(&a->lock);
	if (are_handlers_watched())
		arena__watch_handlers(NULL);
}

/* As arena__relock, but in debug builds raises Assert_Failed if another thread disposes of the
 * arena meanwhile, or did lately (arena/retain.c). */
#if CORE_DEBUG
void arena__lock(struct Arena *);
#else
#define arena__lock(a) arena__relock(a)
#endif

static inline void arena__unlock_held(struct Arena *const *a)
{
	arena__unlock(*a);
}

/* A declaration: the arena is locked from here to the end of the block, which must not raise. */
#define HOLD(a) \
	struct Arena *const held_ __attribute__((cleanup(arena__unlock_held), unused)) = \
		(arena__lock(a), (a))

/* As HOLD, but never raises: another lock may be held. */
#define HOLD_UNCHECKED(a) \
	struct Arena *const held_ __attribute__((cleanup(arena__unlock_held), unused)) = \
		(arena__relock(a), (a))

/* In debug builds raises what arena__lock raises. */
static inline void arena__check_gone(struct Arena *a)
{
	if (DEBUG_BUILD) {
		HOLD(a);
	}
}

struct Fence;
void arena__read_guards(void);
void arena__fill_free(const void *p, size_t nbytes);
/* Aborts if the bytes do not have the pattern of free ones. */
void arena__fill_fresh(struct Arena *, void *p, size_t nbytes);

/* The lock is held in these. */
void *arena__allocate_guarded_unlocks(struct Arena *, size_t alignment, size_t nbytes,
	const Site *);
/* Returns 0 if the object must move. */
int arena__shrink_guarded(struct Arena *, void *p, size_t old_nbytes, size_t new_nbytes);
/* Checks the fences newer than last, drops them, and checks the free bytes. Aborts. */
void arena__check_fences(struct Arena *, const struct Fence *last);

/* ---- arena/profile.c: CORE_ARENA_DEBUG=profile ---- */

struct Usage;
/* Returns the row for allocations of this arena at this site, never NULL. No lock is held. */
struct Usage *arena__usage(const struct Arena *, const Site *);
/* The lock is held in these. */
void arena__log(struct Arena *, struct Usage *, const void *p, size_t nbytes);
void arena__log_resize(struct Arena *, const void *p, size_t nbytes);
void arena__log_release(struct Arena *, const void *p);
void arena__log_mark(struct Arena *);                /* notes a mark at used */
void arena__log_rewind(struct Arena *, size_t used); /* to a mark, or with 0 to the beginning */

/* Bytes become free. */
static inline void hide(const void *p, size_t nbytes)
{
	if (arena__guards & GUARD_FILL)
		arena__fill_free(p, nbytes);
	poison(p, nbytes);
}

/* Bytes become an object, or a part of one. */
static inline void show(struct Arena *a, void *p, size_t nbytes)
{
	unpoison(p, nbytes);
	if (arena__guards & GUARD_FILL)
		arena__fill_fresh(a, p, nbytes);
}

/* Bytes from p to the next multiple of alignment. */
static inline size_t padding(const void *p, size_t alignment)
{
	return -(size_t)(uintptr_t)p & (alignment - 1);
}

static inline char *first_line_of(const Chunk *c)
{
	char *p = (char *)(uintptr_t)c + CHUNK_HEADER;

	return p + padding(p, LINE);
}

/* Returns the arena whose home the chunk is. The struct is at the start, unless it would reach into
 * a second page there. Then it is at the end, in the page where malloc's next block starts: so an
 * empty arena takes one page. */
static inline struct Arena *struct_in(const Chunk *c)
{
	char *p = first_line_of(c);

	if (((uintptr_t)c ^ ((uintptr_t)p + sizeof(struct Arena) - 1)) >= PAGE_LEAST)
		p = c->limit - ((uintptr_t)c->limit & (LINE - 1)) - STRUCT_LINES;
	return (struct Arena *)(void *)p;
}

/* Where the free bytes of a chunk begin. A backing allocator aligns as malloc does, which is to 8
 * bytes on 32-bit ARM and MIPS. */
static inline char *chunk_start(Chunk *c)
{
	char *p = (char *)c + CHUNK_HEADER + red_zone();

	return p + padding(p, ALIGN);
}

/* The last byte that a lane may end at: limits are aligned. */
static inline char *lane_end(const Chunk *c)
{
	return c->limit - ((uintptr_t)c->limit & (ALIGN - 1));
}

static inline void set_lane(Lane *l, char *avail, char *limit)
{
	l->floor = avail;
	STORE(l->avail, avail);
	l->limit = limit;
}

/* Lets the owner's lane be what home has beside the struct. */
static inline void enter_home(struct Arena *a)
{
	if ((char *)a == first_line_of(a->home))
		set_lane(&a->lane, (char *)a + STRUCT_BYTES + red_zone(), lane_end(a->home));
	else
		set_lane(&a->lane, chunk_start(a->home), (char *)a);
}

static inline size_t above_floor(const Lane *l)
{
	return (size_t)(LOAD(l->avail) - l->floor);
}

static inline void push_chunk(Chunk **list, Chunk *c)
{
	if (c) {
		c->older = *list;
		*list = c;
	}
}

static inline void poison_chunk(Chunk *c)
{
	char *start = (char *)c + CHUNK_HEADER;

	hide(start, (size_t)(c->limit - start));
}

/* Returns the bytes that an object of nbytes takes. It takes at least one, so that addresses
 * differ, and the next object is aligned. */
static inline size_t padded(size_t nbytes)
{
	return (nbytes + (nbytes == 0) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Returns nbytes of a lane that this thread has entered or locked, with zone bytes after them.
 * Returns NULL if the lane has no room for them. */
static inline void *bump_lane(Lane *l, size_t alignment, size_t nbytes, size_t zone)
{
	size_t room = (size_t)(l->limit - l->avail);
	size_t pad = padding(l->avail, alignment), step;
	char *p;

	if (nbytes > room || pad > room)
		return NULL;
	step = padded(nbytes) + zone;
	if (step > room - pad)
		return NULL;
	p = l->avail + pad;
	STORE(l->avail, p + step);
	return p;
}

/* ---- arena/threads.c: records of threads, the owner, the registry and fork ---- */

enum { SHELLS = 16, STORED = 24 };

/* Chunks that a thread keeps, the oldest first. */
typedef struct Store {
	int n, low; /* low is the least n since the last decay */
	Chunk *chunks[STORED];
} Store;

/* The record of a thread. It is never freed: when its thread has ended, another thread gets it. So
 * any thread may look at it without knowing whether its thread lives. */
typedef struct Thread {
	Arena__Thread face;
	int turnover;        /* it is changing what this thread has in store (arena/chunks.c) */
	unsigned ticks;
	struct Thread *next; /* links the records of all threads */
	struct Thread *next_idle;
	Store shells; /* first chunks, with the struct of an arena that was disposed of */
	Store spares; /* other chunks */
} Thread;

extern Thread arena__nobody __attribute__((aligned(LINE)));
#define NOBODY (&arena__nobody)

extern int arena__lanes_allowed; /* set before there is an arena */

/* Returns this thread's record, or NOBODY: for comparing with owners, and for arena__enter. */
static inline Thread *self_now(void)
{
	return (Thread *)(void *)Arena__self;
}

/* Returns this thread's record, or NULL if it has none yet or arenas are closed. */
static inline Thread *record_now(void)
{
	return arena__lanes_allowed && self_now() != NOBODY ? self_now() : NULL;
}

static inline void arena__leave(Thread *t)
{
	STORE_RELEASE(t->face.busy, NULL);          /* [own-5] */
}

/* Returns 1 if this thread is the owner: no revoker goes on before arena__leave. Returns 0 if
 * the lock must be taken. */
static inline int arena__enter(struct Arena *a, Thread *t)
{
	STORE(t->face.busy, a);                     /* [own-1] */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);    /* [own-2] */
	if (LIKELY(LOAD_ACQUIRE(a->owner) == t))    /* [own-3] */
		return 1;
	arena__leave(t);
	return 0;
}

/* Returns this thread's record; NULL if arenas are to be closed, or there is no memory. */
Thread *arena__thread(void);
extern pthread_mutex_t arena__records_lock; /* a fork takes it, too */
Thread *arena__first_thread(void);     /* the head of the list of all */

/* The lock is held in all of these. */
/* Makes this thread the owner, or the arena closed. Returns 0 if another thread stays owner. */
int arena__claim(struct Arena *);
int arena__is_mine(const struct Arena *);
size_t arena__used_now(const struct Arena *);
size_t arena__most_now(const struct Arena *); /* the most since the last clear */
size_t arena__peak_now(const struct Arena *); /* the most ever */
void arena__settle_common(struct Arena *); /* empties the common lane */
void arena__note_most(struct Arena *); /* call it before used falls */

static inline Lane *my_lane(struct Arena *a)
{
	return arena__is_mine(a) ? &a->lane : &a->common.lane;
}

static inline void note_alignment(struct Arena *a, size_t alignment)
{
	if (alignment > a->align_most)
		a->align_most = alignment;
}

void arena__lock_alone(struct Arena *); /* also makes this thread the owner */

extern pthread_mutex_t arena__registry_lock;
extern struct Arena *arena__registry;  /* the first of the arenas and shells */
extern int arena__registry_walked;     /* read atomically */
void arena__register(struct Arena *);
void arena__deregister(struct Arena *);
void arena__lock_registry(void);       /* also stops every turnover: for walkers */
void arena__unlock_registry(void);

/* ---- arena/chunks.c: the backing allocator, and what a thread keeps in store ---- */

extern const Backing arena__default_backing;

Chunk *arena__make_chunk(void *p, size_t size);
void *arena__call_backing(const Backing *, size_t size);
void arena__give_back_list(const Backing *, Chunk *list); /* without the arena */

/* The lock is held in these; where the name says so, they let go of it while the backing
 * allocator runs. */
int arena__may_hold(const struct Arena *, size_t size);
/* Returns a chunk that is booked and not linked; NULL without memory, or over the limit. One from
 * the store may have up to `most` bytes, if the arena has no limit. */
Chunk *arena__take_chunk_unlocks(struct Arena *, size_t size, size_t most);
void arena__give_back_unlocks(struct Arena *, Chunk *list); /* booked off already */
Chunk *arena__drop_spare(struct Arena *);                   /* booked off; NULL if none */
/* Gives the chunk back if another thread has left a spare meanwhile. */
void arena__keep_spare_unlocks(struct Arena *, Chunk *);
/* Returns NULL without memory. */
void *arena__allocate_unlocks(struct Arena *, size_t alignment, size_t nbytes);

/* Returns the bytes of a chunk that surely holds such an object; 0 if none is so large. */
size_t arena__chunk_for(size_t alignment, size_t nbytes);

struct Arena *arena__take_shell(Thread *);                /* or NULL; else end the turnover */
int arena__store(Thread *, Store *, int most, Chunk *);   /* amid a turnover; 0 if it has so many */
void arena__empty_store(Thread *);
void arena__decay(Thread *);                              /* no lock held */
int arena__begin_turnover(Thread *);                      /* 0 while the registry is walked */
static inline void arena__end_turnover(Thread *t)
{
	STORE_RELEASE(t->turnover, 0);
}

/* ---- Arena.c ---- */

void *arena__alloc_slowly(struct Arena *, size_t nbytes, const Site *);

static inline void *arena__alloc_at(struct Arena *a, size_t nbytes, const Site *site)
{
	void *p = Arena__bump(a, nbytes);

	return LIKELY(p) ? p : arena__alloc_slowly(a, nbytes, site);
}

/* ---- arena/tree.c ---- */

void arena__link_child(struct Arena *parent, struct Arena *);
void arena__check_lent(const struct Arena *, const char *call); /* Raises: Assert_Failed */

/* ---- arena/retain.c ---- */

/* A task that is finished however often a raise, a C++ exception or the end of the thread leaves
 * it. */
typedef struct Work {
	void (*run)(struct Work *); /* goes on from where it was left */
	struct Arena *arena, *root;
	const Deferred *last;
	int done;
} Work;

void arena__run_to_end(Work *);
void arena__run_deferred(struct Arena *, const Deferred *last); /* calls those made after last */
void arena__run_each(struct Arena *, const Deferred *last);     /* the same, until one raises */
int arena__has_deferred(struct Arena *, const Deferred *last);
void arena__add_running(struct Arena *, int n);
int arena__clear_quickly(struct Arena *, size_t keep, uint32_t unless);
void arena__clear_all(struct Arena *, size_t keep);
size_t arena__beside_home(const struct Arena *, size_t keep);

#if CORE_DEBUG
void arena__check(struct Arena *); /* the whole invariant; aborts. Lock held. */
#else
#define arena__check(arena) ((void)0)
#endif

#endif
