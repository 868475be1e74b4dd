/* SPDX-License-Identifier: MIT */
/* Private to SocketPool.c and Connection.c: what a pool is made of. The invariant is in SocketPool.c. */
#ifndef SOCKETPOOLREP_INCLUDED
#define SOCKETPOOLREP_INCLUDED
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <core/SocketPool.h>
#include "checked.h"
#include "socket.h"

enum { LINE = 64 }; /* alignment of a slot: room for as many generations */
static const uint32_t MAGIC = 0x504f4f4c; /* "POOL" */

typedef struct Lease { /* of an arena; without one after a failure, or at the end */
	struct Lease *next;
	Arena_T arena;
} Lease;

typedef struct Buffer {
	struct Buffer *next;
} Buffer;

typedef struct Slot {
	_Alignas(LINE) SocketPool_T pool;
	Connection_T handle;      /* atomic; NULL: free */
	union {
		Socket_T socket;  /* atomic */
		struct Slot *next_free;
	} u;
	void *data;               /* atomic */
	Buffer *buffer;           /* atomic */
	Lease *lease;             /* atomic */
	int64_t touched;          /* atomic; socket__now_coarse() */
	unsigned generation;
} Slot;

typedef struct Segment {
	struct Segment *next;
	size_t size, used;
	Slot slots[];
} Segment;

typedef struct Callback {
	void (*fn)(SocketPool_T, void *);
	void *userdata;
} Callback;

struct SocketPool {
	uint32_t magic;
	pthread_mutex_t lock;
	Arena_T arena;
	Arena_T arenas;          /* the parent of the connections' arenas; NULL before the first */
	size_t count, max, reserved, buf_size;
	Segment *segments, **end, *filling;
	Slot *free;
	Buffer *buffers;
	Lease *leases;
	int64_t oldest;          /* no connection was used last before this */
	Callback pre, post;
};

#define LOAD(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

static inline void lock(SocketPool_T pool)
{
	pthread_mutex_lock(&pool->lock);
}

static inline void unlock(SocketPool_T pool)
{
	pthread_mutex_unlock(&pool->lock);
}

#define CHECK_POOL(pool) ((pool) && (pool)->magic == MAGIC ? (void)0 : socketpool__bad((pool), __func__))
void socketpool__bad(const struct SocketPool *, const char *function) CORE_NORETURN;

static inline Slot *slot_of(Connection_T c)
{
	return (Slot *)((uintptr_t)c & ~(uintptr_t)(LINE - 1));
}

/* The latest of all that counts as use. Lock held, so that the socket is not closed meanwhile. */
int64_t connection__last_used(Slot *slot);

/* Lock held. */
static inline void put_buffer(SocketPool_T pool, Buffer *b)
{
	b->next = pool->buffers;
	pool->buffers = b;
}

static inline void put_lease(SocketPool_T pool, Lease *lease)
{
	lease->next = pool->leases;
	pool->leases = lease;
}

static inline void put_back(SocketPool_T pool, Lease *lease)
{
	lock(pool);
	put_lease(pool, lease);
	unlock(pool);
}

#endif
