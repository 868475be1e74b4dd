/* SPDX-License-Identifier: MIT */
/* Private to SocketPool.c and the files of pool/: what a pool is made of. The invariant is in SocketPool.c. */
#ifndef SOCKETPOOLREP_INCLUDED
#define SOCKETPOOLREP_INCLUDED
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <core/SocketPool.h>
#include "base/checked.h"
#include "lazyheap.h"
#include "socket/internal.h"

enum { LINE = 64 }; /* alignment of a slot: room for as many generations */
static const uint32_t MAGIC = 0x504f4f4c; /* "POOL" */

typedef struct Lease { /* of an arena; without one after a failure, or at the end */
	struct Lease *next;
	SocketPool_T pool;
	Arena_T arena;
} Lease;

typedef struct Buffer {
	struct Buffer *next;
} Buffer;

typedef enum State { FREE, ACTIVE, IDLE, DRAINING } State;

typedef struct Slot {
	_Alignas(LINE) SocketPool_T pool;
	union {
		Socket_T socket;  /* atomic */
		struct Slot *next_free;
	} u;
	void *data;               /* atomic */
	Buffer *buffer;           /* atomic */
	Lease *lease;             /* atomic */
	struct Upstream *upstream; /* of one that checkout opened */
	int64_t touched;          /* atomic; socket__now_coarse() */
	uint32_t place;           /* in the heap of those that may be evicted */
	unsigned char mark;       /* atomic; the generation, and LIVE while a connection is inside */
	unsigned char state, counted; /* counted: for its address */
} Slot;

enum { LIVE = 0x80, BUCKETS = 64, PEER_BUCKETS = 16384 };

typedef struct Segment {
	struct Segment *next;
	size_t size, used;
	Slot slots[];
} Segment;

typedef struct Callback {
	void (*fn)(SocketPool_T, void *);
	void *userdata;
} Callback;

typedef struct Peer { /* an address that has connections here */
	struct Peer *next;
	uint64_t key;
	size_t n;
} Peer;

typedef struct Host { /* where checkout connects to */
	struct Host *next;
	Slot *newest;            /* of the idle connections */
	size_t open;             /* those being opened included */
	size_t waiting;
	int64_t held_until;      /* after failures */
	unsigned failures;
	int error;
	size_t room;
	const char *service;     /* in name, after the host's */
	char name[];
} Host;

typedef struct Upstream { /* what a slot has more when checkout opened it */
	struct Upstream *next_free;
	Host *host;
	Slot *newer, *older;     /* while idle */
	int64_t expires;         /* SOCKET__NEVER: does not; this and the next by socket__now_coarse() */
	int64_t since;           /* checked out */
	const char *file;        /* atomic; where; NULL: not said yet */
	int line;                /* valid when file is there */
	int uses;
} Upstream;

static inline const char *taken_by(Upstream *u, int *line)
{
	const char *file = __atomic_load_n(&u->file, __ATOMIC_ACQUIRE);

	*line = file ? u->line : 0;
	return file ? file : "?";
}

typedef enum Verdict { WAITING, GIVEN, MAY_OPEN } Verdict;

typedef struct Waiter { /* on the stack of the thread that waits */
	struct Waiter *next, *previous;
	SocketPool_T pool;
	Host *host;
	pthread_cond_t woken;
	Verdict verdict;         /* when it is not WAITING, it is off the list */
	Slot *given;
	unsigned passed;         /* how often a place went to a later one, whose host had the connection for it */
} Waiter;

struct SocketPool {
	uint32_t magic;
	pthread_mutex_t lock;
	pthread_cond_t emptied;
	Arena_T arena;
	Arena_T arenas;          /* the parent of the connections' arenas; NULL before the first */
	size_t count, opening, max, reserved, buf_size;
	Segment *segments, **end, *filling;
	Slot *free;
	Buffer *buffers;
	Lease *leases;
	LazyHeap heap;           /* by last use: all but those checked out, once somebody asked for an order */
	int ordered;             /* somebody did */
	Callback pre, post;
	int draining;
	int spare;               /* atomic: a descriptor for when there is no other; -1: none */
	SocketPool_Limits limits;
	int idle_ms;             /* atomic; that of the limits, -1: none */
	int counting;            /* atomic; whether addresses are */
	SocketPool_Stats stats;  /* those of its fields that only grow */
	int64_t tokens, refilled; /* thousandths of a connection that may come now, at that time */
	Peer **peers, *spare_peers; /* NULL until addresses are counted */
	Host *hosts[BUCKETS];
	Upstream *spare_upstreams;
	Waiter *first, *last;
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

static inline Connection_T handle_of(Slot *slot)
{
	return (Connection_T)((uintptr_t)slot | (slot->mark & (LINE - 1)));
}

static inline int is_inside(Connection_T c)
{
	return LOAD(&slot_of(c)->mark) == (LIVE | ((uintptr_t)c & (LINE - 1)));
}

static inline Slot *slot_at(const uint32_t *place)
{
	return (Slot *)((uintptr_t)place - offsetof(Slot, place));
}

/* connection.c: the latest of all that counts as use. Lock held, so that the socket is not closed meanwhile. */
int64_t connection__last_used(Slot *slot);
/* The latest use of what has not been used for ms: that is not too short, and at most a tick too long; but what was used in
 * the tick at hand is in use. */
int64_t connection__unused_since(int ms);
/* Takes the buffer off, and the arena, which is for socketpool__let_go. Lock held. */
Lease *connection__strip(Slot *slot);

/* SocketPool.c; lock held, and what was detached is for socketpool__finish, without it. detach serves nobody who
 * waits: socketpool__serve is to follow. */
Connection_T socketpool__attach(SocketPool_T pool, Socket_T s, Upstream *u);
Lease *socketpool__detach(Slot *slot);
Slot *socketpool__next(Segment **segment, size_t *next); /* in use, from there on, or NULL */
void socketpool__order(SocketPool_T pool); /* from now on the heap has the connections */
void socketpool__link(SocketPool_T pool, Segment *g);
size_t socketpool__segment_size(size_t reserved, size_t missing); /* when that is reserved, and so much needed */
Segment *socketpool__segment(Arena_T arena, size_t size); /* lock not held. Raises: Arena_Failed */
/* Lock not held. These raise what deferred calls raise, with their work done. */
void socketpool__let_go(Lease *lease);
void socketpool__finish(Lease *lease, Socket_T s); /* and closes it */
void socketpool__leaving(Socket_T s, void *handle); /* of Socket_close */
int socketpool__take_out(Connection_T c, Lease **lease); /* 0 if it is not inside any more */
void socketpool__close_all(SocketPool_T pool);

/* pool/limits.c */
int socketpool__may_add(SocketPool_T pool, Socket_T s, int *counted); /* lock held; takes a token */
void socketpool__provide_peer(SocketPool_T pool); /* Raises: Arena_Failed */
void socketpool__uncount(SocketPool_T pool, Socket_T s); /* lock held */

/* pool/host.c. find_host: with the lock held, which it was not before. Raises: Arena_Failed, without it. */
Host *socketpool__find_host(SocketPool_T pool, const char *host, const char *service);
void socketpool__hold_down(SocketPool_T pool, Host *h, int error); /* lock held */
int socketpool__condition(pthread_cond_t *); /* to wait for with a deadline; 0 or an error number */
int socketpool__wait(SocketPool_T pool, pthread_cond_t *, int64_t deadline); /* 0 after it; lock held */

/* pool/client.c; lock held */
void socketpool__serve(SocketPool_T pool);
void socketpool__upstream_leaves(Slot *slot);
void socketpool__dismiss(SocketPool_T pool); /* those who wait */
void socketpool__push_idle(Slot *slot);
int socketpool__is_wanted(SocketPool_T pool); /* whether a waiter for another host needs the place of an idle connection */

static inline int has_place(SocketPool_T pool)
{
	return pool->count + pool->opening < pool->max;
}

static inline int host_may_open(SocketPool_T pool, const Host *h)
{
	return (pool->limits.per_host == 0 || h->open < pool->limits.per_host) && h->held_until <= socket__now_ms();
}

/* Lock held. */
static inline void put_buffer(SocketPool_T pool, Buffer *b)
{
	b->next = pool->buffers;
	pool->buffers = b;
}

static inline void put_lease(Lease *lease)
{
	lease->next = lease->pool->leases;
	lease->pool->leases = lease;
}

/* Lock not held. */
static inline void return_lease(Lease *lease)
{
	SocketPool_T pool = lease->pool;

	lock(pool);
	put_lease(lease);
	unlock(pool);
}

#endif
