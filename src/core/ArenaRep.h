/* SPDX-License-Identifier: MIT */
/* Private to Arena*.c: what an arena is made of, and what those files ask of each other. */
#ifndef ARENAREP_INCLUDED
#define ARENAREP_INCLUDED
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <core/Arena.h>
#include "arena.h"
#include "checked.h"
#include "poison.h"

/* These files define the functions, not the macros that note the caller. */
#undef Arena_new
#undef Arena_new_with_size
#undef Arena_new_in
#undef Arena_new_child
#undef Arena_new_with

enum {
	ALIGN = _Alignof(max_align_t),
	REWINDS = 4 /* nested rewinds that are remembered to tell stale marks */
};
static const uint32_t MAGIC = 0x41524e41; /* "ARNA" */
static const uint32_t DEAD = 0xDEADA12A;

typedef struct Chunk {
	struct Chunk *older;
	size_t size; /* bytes from the backing allocator, this header included; 0: the caller's buffer */
	char *limit;
	size_t own;  /* what the one object that has the chunk to itself counts for in used; 0: it is shared */
} Chunk;

enum { CHUNK_HEADER = (sizeof(Chunk) + ALIGN - 1) / ALIGN * ALIGN };

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

struct Arena {
	uint32_t magic;
	int fixed;
	int running;       /* clears, rewinds and disposals that are running deferred calls */
	int nrewinds;
	pthread_mutex_t lock;
	char *avail;
	char *floor;       /* what lies below is older than the last mark, or in another chunk */
	char *first;       /* where home's free bytes start */
	Chunk *current, *newest, *home, *spare;
	Chunk *marked;     /* newest at the last mark: chunks after it are in no mark */
	size_t held, limit;
	size_t used, peak;
	size_t used_most;  /* since the last clear */
	size_t align_most; /* largest alignment since then: elsewhere the same objects need so much more padding */
	size_t wanted;     /* what clear keeps room for: their sum, decaying by an eighth a turn */
	Deferred *deferred;
	size_t serial;     /* no other arena's */
	size_t cycle;      /* clears so far */
	size_t turn;       /* rewinds so far */
	struct { size_t used, turn; } rewinds[REWINDS]; /* both rising */
	Backing backing;
	struct Arena *parent, *children, *next_sibling, **sibling_link;
	struct Arena *next_live, **live_link;
	const char *name, *file;
	int line;
};

#define CHECK_ARENA(a) \
	((a) && (a)->magic == MAGIC ? (void)0 : arena__bad((a), __func__, __FILE__, __func__, __LINE__))

/* call: the name of what was called, for the message */
void arena__bad(const struct Arena *, const char *call, const char *file, const char *function, int line) CORE_NORETURN;

static inline char *chunk_start(Chunk *c)
{
	return (char *)c + CHUNK_HEADER + red_zone();
}

static inline void poison_chunk(Chunk *c)
{
	char *start = (char *)c + CHUNK_HEADER;

	poison(start, (size_t)(c->limit - start));
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

/* Arena.c. The lock is held on entry and exit and released while the backing allocator runs. */
Chunk *arena__take_chunk(Arena_T, size_t size); /* booked, not linked; NULL: no memory, or over the limit */
void arena__give_back(Arena_T, Chunk *list);    /* booked off already */
Chunk *arena__drop_spare(Arena_T);              /* booked off, for give_back; NULL if none */
void arena__give_back_list(const Backing *, Chunk *list); /* without the arena */

/* ArenaReport.c */
void arena__add_live(Arena_T);
void arena__remove_live(Arena_T);
#if CORE_DEBUG
void arena__check(Arena_T); /* the whole invariant; aborts. Lock held. */
#else
#define arena__check(arena) ((void)0)
#endif

#endif
