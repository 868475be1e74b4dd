/* SPDX-License-Identifier: MIT */
/* Private to Arena.c and the files of arena/: what an arena is made of, and what those files ask of each other.
 *
 * Three kinds of fields, by who may touch them:
 *   the owner's      by the owner amid a bump (arena/threads.c), or by whoever has the lock when no other thread is
 *                    the owner;
 *   under the lock   whoever the owner is;
 *   set once         at creation.
 * An arena without an owner is "closed": all is then under the lock. It always is closed in --enable-debug
 * builds, under ASan, TSan, Valgrind and CORE_ARENA_DEBUG, and where the kernel has no membarrier. */
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
	ALIGN = 16,  /* of every allocation */
	LINE = 64,   /* of the cache */
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
	size_t size; /* bytes from the backing allocator, this header included; 0: the caller's buffer */
	char *limit;
	size_t own;  /* what the one object that has the chunk to itself counts for in used; 0: it is shared */
} Chunk;

enum { CHUNK_HEADER = (sizeof(Chunk) + ALIGN - 1) / ALIGN * ALIGN };

/* Where one thread takes memory: avail moves up to limit. */
typedef struct Lane {
	char *avail, *limit;
	char *floor; /* what lies below is older than the last mark, or in another chunk */
} Lane;

/* Of a thread that is not the owner: it lies at the start of its first slice. */
typedef struct Side {
	Lane lane;
	struct Thread *thread;
	struct Side *next;
} Side;

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

/* Why the owner may not clear (the first three, and LENT) or dispose without the lock. */
enum { GREW = 1, DEFERRED = 2, VISITED = 4, SLOW_CLEAR = 7, CHILDREN = 8, SPECIAL = 16, LENT = 32 };

enum {
	STEALS = 1,     /* without a proof that the owner is idle; more, and two busy threads would go on stealing */
	IDLE_VISITS = 8, /* are the proof: a chunk's worth of slices, lest the barrier cost more than it saves */
	SLICE_LEAST = 256
};

struct Arena {
	union { /* read by all: a line of its own, whatever the size of a pointer */
		struct {
			struct Thread *owner;
			uint64_t key;      /* of the sides; never used twice; 0: none */
			uint32_t magic;
			uint32_t slow;     /* written under the lock */
			uint64_t serial;   /* no other arena's */
			const char *file;  /* where it was made */
			const char *name;
			int line;
			int fixed;
		};
		char first_line[LINE];
	};
	/* the owner's */
	Lane lane;
	char *counted;     /* used includes what this chunk has below */
	char *first;       /* where home's free bytes start; set once */
	Chunk *current;
	size_t used_most;  /* since the last clear, as far as it was noted */
	size_t peak;       /* before that */
	size_t wanted;     /* what clear keeps room for: its use, decaying by an eighth a turn */
	size_t align_most; /* largest alignment since: elsewhere the same objects need so much more padding */
	size_t cycle;      /* clears so far */
	size_t turn;       /* rewinds so far */
	int nrewinds;
	/* under the lock */
	int running;       /* clears, rewinds and disposals that are running deferred calls */
	unsigned nsides;   /* made since the last clear */
	unsigned nsides_wanted; /* as wanted */
	unsigned char gone; /* it is being released: debug builds look */
	unsigned char steals; /* of ownership since the last clear, to STEALS; that from the start if the cycle before it had sides */
	unsigned char idle; /* visits of other threads since the owner's avail moved */
	const char *seen;  /* that, when another thread last came here */
	Chunk *newest, *home, *spare, *side_spare;
	Chunk *side_chunk; /* the one that was side_spare when this cycle began */
	size_t sliced;     /* bytes of slices since the last clear */
	size_t tails;      /* of these, bytes that were left over */
	size_t side_wanted; /* as wanted, of the others */
	Chunk *marked;     /* newest at the last mark: chunks after it are in no mark */
	size_t held, most; /* from the backing allocator; its limit */
	size_t used;       /* without what is in the owner's lane, and with all of the slices of the sides that there are */
	Deferred *deferred;
	struct Fence *fences; /* in guard mode */
	Side *sides;
	char *slices, *slices_limit; /* what sides' slices are cut from */
	size_t slice;      /* bytes of one, as a rule */
	struct Arena *parent, *children, *next_sibling, **sibling_link;
	Backing backing;
	struct { size_t used, turn; } rewinds[REWINDS]; /* both rising; the owner's */
	/* for as long as the struct is in the registry, disposed of or not */
	pthread_mutex_t lock;
	struct Arena *next_live, **live_link;
};

#define CHECK_ARENA(a) \
	((a) && LOAD((a)->magic) == MAGIC ? (void)0 : arena__bad((a), __func__, __FILE__, __func__, __LINE__))

/* call: the name of what was called, for the message */
void arena__bad(const struct Arena *, const char *call, const char *file, const char *function, int line) CORE_NORETURN;

/* Debug builds tell a thread that comes for the lock while another disposes of the arena, or soon after: the last
 * arenas that were disposed of lie in a grave for that (arena/retain.c). Raises: Assert_Failed. */
#if CORE_DEBUG
void arena__lock(struct Arena *);
#else
#define arena__lock(a) ((void)pthread_mutex_lock(&(a)->lock))
#endif

/* ---- arena/debug.c: CORE_ARENA_DEBUG ---- */

enum { GUARD_LEAKS = 1, GUARD_FENCES = 2, GUARD_PAGES = 4, GUARD_FILL = 8 };
extern int arena__guards;

struct Fence;
void arena__read_guards(void);
void arena__fill_free(const void *p, size_t nbytes);
void arena__fill_fresh(struct Arena *, void *p, size_t nbytes); /* after looking whether they were free; aborts */
/* The lock is held in these. */
void *arena__allocate_guarded(struct Arena *, size_t alignment, size_t nbytes, const char *file, int line);
int arena__shrink_guarded(struct Arena *, void *p, size_t old_nbytes, size_t new_nbytes); /* 0: it must move */
void arena__check_fences(struct Arena *, const struct Fence *last); /* of what is newer, and the free bytes; aborts */

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

static inline char *chunk_start(Chunk *c)
{
	return (char *)c + CHUNK_HEADER + red_zone();
}

static inline void poison_chunk(Chunk *c)
{
	char *start = (char *)c + CHUNK_HEADER;

	hide(start, (size_t)(c->limit - start));
}

/* nbytes as they are laid out: at least one, so that addresses differ, and what follows is aligned */
static inline size_t padded(size_t nbytes)
{
	return (nbytes + (nbytes == 0) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Bytes from p to the next multiple of alignment. */
static inline size_t padding(const void *p, size_t alignment)
{
	return -(size_t)(uintptr_t)p & (alignment - 1);
}

/* nbytes of a lane that this thread has entered or locked, and zone bytes after them; or NULL */
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

/* ---- arena/threads.c: who is the owner, and the records of threads ---- */

enum { SIDES_KNOWN = 8, SHELLS = 16, CHUNKS_CACHED = 24 };

/* The record of a thread. It is never freed, but goes to another thread when this one has ended: so it may
 * be looked at without knowing whether its thread lives. */
typedef struct Thread {
	Arena__Thread face;
	int turnover;        /* it is changing what this thread has in store (arena/cache.c) */
	unsigned ticks;
	struct Thread *next; /* of all there are */
	struct Thread *next_idle;
	uint64_t number, ids;
	size_t made, gone;   /* arenas, by this thread */
	struct { uint64_t key; Side *side; } known[SIDES_KNOWN];
	int nshells, nchunks, shells_low, chunks_low;
	size_t chunk_bytes;
	struct Arena *shells[SHELLS];
	Chunk *chunks[CHUNKS_CACHED];
} Thread;

extern Thread arena__nobody __attribute__((aligned(LINE)));
#define NOBODY (&arena__nobody)

extern int arena__lanes_allowed; /* set before there is an arena */

/* Whether or not it has a record of its own: for comparing with owners, and for arena__enter. */
static inline Thread *self_now(void)
{
	return (Thread *)(void *)Arena__self;
}

/* NULL if it has none yet, or arenas are closed. */
static inline Thread *record_now(void)
{
	return arena__lanes_allowed && self_now() != NOBODY ? self_now() : NULL;
}

static inline void arena__announce(struct Arena *a, Thread *t)
{
	STORE(t->face.busy, a);                     /* [own-1] */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);    /* [own-2] */
}

static inline void arena__leave(Thread *t)
{
	STORE_RELEASE(t->face.busy, NULL);          /* [own-5] */
}

static inline Lane *arena__announced_side(struct Arena *a, Thread *t)
{
	uint64_t key = LOAD_ACQUIRE(a->key);        /* [own-3] */

	if (LIKELY(key && t->known[key % SIDES_KNOWN].key == key))
		return &t->known[key % SIDES_KNOWN].side->lane;
	arena__leave(t);
	return NULL;
}

/* The lane of this thread in a, entered: no revoker goes on before arena__leave. NULL: take the lock. */
static inline Lane *arena__enter_side(struct Arena *a, Thread *t)
{
	arena__announce(a, t);
	return arena__announced_side(a, t);
}

static inline Lane *arena__enter(struct Arena *a, Thread *t)
{
	arena__announce(a, t);
	return LOAD_ACQUIRE(a->owner) == t ? &a->lane /* [own-3] */ : arena__announced_side(a, t);
}

/* 1 if this thread is the owner, and in. */
static inline int arena__enter_as_owner(struct Arena *a, Thread *t)
{
	arena__announce(a, t);
	if (LOAD_ACQUIRE(a->owner) == t)            /* [own-3] */
		return 1;
	arena__leave(t);
	return 0;
}

Thread *arena__thread(void);           /* this thread's record; NULL: arenas are to be closed, or no memory */
uint64_t arena__unique(Thread *);      /* an id never given before; the record may be NULL */
Thread *arena__first_thread(void);     /* of the list of all */
int arena__is_alone(void);             /* no other thread has a record; one that gets it later sees all from before */
void arena__barrier(void);             /* on every thread of the process */
void arena__lock_records(void);        /* around a fork */
void arena__unlock_records(void);
void arena__reset_threads(void);       /* in a forked child */

/* The lock is held in all of these. */
int arena__claim(struct Arena *);      /* makes this thread the owner, or the arena closed: 0 if another is to stay it */
int arena__is_mine(const struct Arena *);
void arena__revoke(struct Arena *, int sides_too);
Side *arena__find_side(const struct Arena *);
size_t arena__used_now(const struct Arena *);
void arena__note_most(struct Arena *); /* before used falls */
void arena__leave_tail(struct Arena *, const Side *); /* of its slice: it will have another, or none */

void arena__lock_alone(struct Arena *); /* and no thread is amid a bump, nor will be */

/* ---- arena/chunks.c: the backing allocator ---- */

extern const Backing arena__default_backing;

Chunk *arena__make_chunk(void *p, size_t size);
void *arena__call_backing(const Backing *, size_t size);
void arena__give_back_list(const Backing *, Chunk *list); /* without the arena */

/* The lock is held on entry and exit and released while the backing allocator runs. */
int arena__may_hold(const struct Arena *, size_t size);
Chunk *arena__take_chunk(struct Arena *, size_t size); /* booked, not linked; NULL: no memory, or over the limit */
void arena__give_back(struct Arena *, Chunk *list);    /* booked off already */
Chunk *arena__drop(struct Arena *, Chunk **spare);     /* booked off, for give_back; NULL if none */
void arena__keep_spare(struct Arena *, Chunk **spare, Chunk *); /* gives it back if another thread has left one meanwhile */

/* ---- arena/cache.c: what a thread keeps in store ---- */

struct Arena *arena__take_shell(Thread *);                /* NULL: none; else end_turnover is to follow */
int arena__keep_shell(Thread *, struct Arena *);          /* 1: kept */
Chunk *arena__take_cached(size_t least, size_t most);     /* NULL: none of such a size */
int arena__keep_chunk(Chunk *);
void arena__empty_store(Thread *);
void arena__decay(Thread *);                              /* no lock held */
int arena__begin_turnover(Thread *);                      /* 0: the registry is being walked, do without */
static inline void arena__end_turnover(Thread *t)
{
	STORE_RELEASE(t->turnover, 0);
}

/* ---- arena/grow.c ---- */

size_t arena__chunk_for(size_t alignment, size_t nbytes); /* surely holds such an object; 0: no chunk is so large */
void *arena__allocate(struct Arena *, size_t alignment, size_t nbytes); /* lock held; NULL: no memory */

/* ---- arena/tree.c ---- */

void arena__link_child(struct Arena *parent, struct Arena *);
void arena__unlink_child(struct Arena *);

/* ---- arena/retain.c ---- */

void arena__check_lent(const struct Arena *, const char *call); /* Raises: Assert_Failed */
void arena__run_deferred(struct Arena *, const Deferred *last); /* those made after last */
int arena__has_deferred(struct Arena *, const Deferred *last);

/* The thread is alone with the arena in these. */
Chunk *arena__cut_list(struct Arena *, const Chunk *last);
Chunk *arena__keep_largest(struct Arena *, Chunk *list, size_t keep);
void arena__replace_spare(struct Arena *, Chunk **spare, size_t size);
size_t arena__spare_for(size_t used);

/* ---- arena/report.c ---- */

void arena__add_live(struct Arena *, Thread *);
void arena__remove_live(struct Arena *);
void arena__count_made(Thread *);
void arena__count_gone(Thread *);
int arena__registry_is_walked(void);
void arena__lock_tree(void);
void arena__unlock_tree(void);
#if CORE_DEBUG
void arena__check(struct Arena *); /* the whole invariant; aborts. Lock held. */
#else
#define arena__check(arena) ((void)0)
#endif

#endif
