/* SPDX-License-Identifier: MIT */
/* Private to SocketPool.c and the files of pool/: what a pool is made of. Each file knows only
 * those before it:
 *
 *   slots.c       segments, slots, buffers and arenas of both kinds of connections, and the lock
 *   table.c       a server's connections: addresses, rate, their order of last use
 *   host.c        records of the hosts that checkout connects to
 *   client.c      a client's connections: who holds them, which are idle, who waits
 *   checkout.c, checkin.c
 *   SocketPool.c  the interface; resize.c and connection.c, parts of it
 *
 * A function whose name ends in _locked needs the lock and keeps it. One whose name ends in
 * _unlocks is called with the lock and lets go of it: for good, or (its comment says so) only
 * meanwhile. Debug builds assert both. No other function may be called with the lock held.
 *
 * Our words: a *lease* is an arena that a connection has until it leaves or rests; a *place* is
 * room for one connection, which checkout reserves before it connects. */
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

typedef struct Lease {
	struct Lease *next;
	SocketPool_T pool;
	Arena_T arena;           /* NULL after a failure, or when the pool is being disposed of */
} Lease;

typedef struct Buffer {
	struct Buffer *next;
} Buffer;

typedef struct Output { /* bytes that Connection_send could not send at once; from malloc */
	size_t start, end, room;
	char bytes[];
} Output;

typedef enum State {
	FREE,
	ADDED,                   /* table.c's */
	IDLE,                    /* client.c's, checked in */
	OUT,                     /* client.c's, checked out */
	SHUT                     /* as OUT, in a pool that was drained meanwhile */
} State;

typedef struct Slot {
	_Alignas(LINE) SocketPool_T pool;
	union {
		Socket_T socket;  /* atomic */
		struct Slot *next_free;
	} u;
	void *data;               /* atomic */
	Buffer *buffer;           /* atomic */
	Lease *lease;             /* atomic */
	union {
		Output *output;            /* of ADDED */
		struct Upstream *upstream; /* of client.c's */
	} of;
	int64_t touched;          /* atomic; socket__now_coarse() */
	uint32_t place;           /* of ADDED: in the table's heap */
	unsigned char mark;       /* atomic; the generation, and LIVE while a connection is inside */
	unsigned char state, counted; /* counted: for its address */
} Slot;

enum { LIVE = 0x80, BUCKETS = 64 };

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

typedef struct Table {
	LazyHeap heap;           /* by last use */
	LazyHeap *by_use;        /* the heap, with every ADDED in it; NULL before the first eviction */
	int64_t tokens, refilled; /* thousandths of a connection that may come now, at that time */
	int counting;            /* atomic; whether addresses are counted */
	Peer **peers, *spare_peers; /* NULL until they are */
} Table;

typedef struct Host { /* where checkout connects to */
	struct Host *next;
	Slot *newest;            /* of its idle connections */
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
	Slot *newer, *older;     /* while idle: of the host's, by check-in */
	Slot *later, *earlier;   /* while idle: of all, by last use */
	Output *output;
	/* by socket__now_coarse() */
	int64_t used;            /* while idle: a lower bound of its last use */
	int64_t expires;         /* SOCKET__NEVER: does not */
	int64_t since;           /* checked out */
	const char *file;        /* atomic; where; NULL: not said yet */
	int line;                /* valid when file is there */
	int uses;
} Upstream;

typedef enum Verdict { WAITING, GIVEN, MAY_OPEN } Verdict;

typedef struct Claim { /* what a checkout has in its hands: nothing, a slot or a place */
	SocketPool_T pool;
	Host *host;
	Verdict verdict;
	Slot *slot;              /* GIVEN */
} Claim;

typedef struct Waiter { /* on the stack of the thread that waits */
	struct Waiter *next, *previous;
	Claim *claim;            /* when its verdict is not WAITING, the waiter is off the list */
	pthread_cond_t woken;
	int64_t since;
	unsigned passed;         /* how often a connection went to a later one, for its host */
} Waiter;

typedef struct Client {
	Host *hosts[BUCKETS];
	Slot *latest, *earliest; /* idle, by last use */
	Upstream *spare_upstreams;
	Waiter *first, *last;
} Client;

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
	void (*leaving)(Socket_T, void *handle); /* the one call upwards, of Socket_close */
	Table table;
	Client client;
	Callback pre, post;
	int draining;
	int spare;               /* atomic: a descriptor for when there is no other; -1: none */
	SocketPool_Limits limits;
	int idle_ms;             /* atomic; that of the limits, -1: none */
	SocketPool_Stats stats;  /* but for count and capacity */
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

#if CORE_DEBUG
void slots__assert_locked(const struct SocketPool *pool, const char *function);
#define ASSERT_LOCKED(pool) slots__assert_locked((pool), __func__)
#else
#define ASSERT_LOCKED(pool) ((void)0)
#endif

#define CHECK_POOL(pool) ((pool) && (pool)->magic == MAGIC ? (void)0 : slots__bad_pool((pool), __func__))
void slots__bad_pool(const struct SocketPool *, const char *function) CORE_NORETURN;

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

static inline int is_upstream(const Slot *slot)
{
	return slot->state >= IDLE;
}

static inline int is_expired(const Slot *slot)
{
	return slot->of.upstream->expires <= socket__now_coarse();
}

static inline int has_place(SocketPool_T pool)
{
	return pool->count + pool->opening < pool->max;
}

/* ---- slots.c ---- */

void slots__make_lock(SocketPool_T pool); /* Raises: SocketPool_Failed */
int slots__make_condition(pthread_cond_t *); /* returns 0 or an error number */
/* Returns 0 after the deadline. Lets go of the lock while it waits. */
int slots__wait_unlocks(SocketPool_T pool, pthread_cond_t *, int64_t deadline);

void slots__link_segment_locked(SocketPool_T pool, Segment *g); /* also before others know of the pool */
size_t slots__segment_size(size_t reserved, size_t missing); /* of the next, at least what is missing */
Segment *slots__new_segment(Arena_T arena, size_t size); /* Raises: Arena_Failed */

typedef struct Cursor {
	Segment *segment;
	size_t next;
} Cursor;
Slot *slots__next_locked(SocketPool_T pool, Cursor *at); /* in use, from there on, or NULL */

/* A connection that has left its slot, to be closed or released without the lock. */
typedef struct Departed {
	Socket_T socket;
	Lease *lease;
	Output *output;
} Departed;
Slot *slots__attach_locked(SocketPool_T pool, Socket_T s, State state);
void slots__renew_locked(Slot *slot); /* its handle: that of before is stale */
Lease *slots__strip_locked(Slot *slot); /* of its buffer, and its lease, which it returns */
Departed slots__detach_locked(Slot *slot, Output *output);
/* These raise what deferred calls raise, with their work done. lease and socket may be NULL. */
void slots__release(Lease *lease); /* to the pool, its arena cleared */
void slots__close_departed(Departed d);
static inline void slots__close(Departed d)
{
	if (d.socket)
		slots__close_departed(d);
}

void slots__let_go(Departed d); /* all but its socket, which is another's now */
void slots__return_lease_locked(Lease *lease);
void slots__return_buffer_locked(SocketPool_T pool, Buffer *b);

/* Returns the latest of all that counts as use. The lock keeps the socket from being closed
 * meanwhile. */
int64_t slots__last_used_locked(Slot *slot);
/* Returns the latest use of what has not been used for ms: that is not too short, and at most a
 * tick too long; but what was used in this tick is in use. */
int64_t slots__unused_since(int ms);

/* ---- table.c ---- */

/* Memory for n connections in all, if there is less. Raises: Arena_Failed */
void table__provide_heap(SocketPool_T pool, size_t n);
void table__provide_peer(SocketPool_T pool); /* for the address of one more. Raises: Arena_Failed */
void table__provide_peers(SocketPool_T pool); /* for counting addresses. Raises: Arena_Failed */
Connection_T table__add_locked(SocketPool_T pool, Socket_T s); /* or NULL */
int64_t table__until_token_locked(SocketPool_T pool); /* ms until one may come */
/* Returns the first to be evicted, and stores when it was last used; NULL if there is none. */
Slot *table__longest_unused_locked(SocketPool_T pool, int64_t *at);
Departed table__detach_locked(Slot *slot);

/* ---- host.c ---- */

/* Lets go of the lock meanwhile if it needs memory. Raises: Arena_Failed, without the lock. */
Host *host__find_unlocks(SocketPool_T pool, const char *host, const char *service);
/* Returns NULL if there is none. */
Host *host__lookup_locked(SocketPool_T pool, const char *host, const char *service);
void host__hold_down_locked(SocketPool_T pool, Host *h, int error);
int host__may_open_locked(SocketPool_T pool, const Host *h);

/* ---- client.c ---- */

void client__push_idle_locked(Slot *slot);
Slot *client__pop_idle_locked(Host *h); /* the newest, for a caller, who is to say where it is */
void client__become_out_locked(Slot *slot);
Slot *client__longest_idle_locked(SocketPool_T pool, int64_t *at); /* as the table's */
Departed client__detach_locked(Slot *slot); /* client__serve_locked is to follow */
Departed client__expire_locked(Slot *slot); /* as detach, and counts it */
void client__reserve_locked(Claim *c);  /* a place for it */
void client__serve_waiters_locked(SocketPool_T pool);
static inline void client__serve_locked(SocketPool_T pool)
{
	if (pool->client.first)
		client__serve_waiters_locked(pool);
}

void client__dismiss_locked(SocketPool_T pool); /* those who wait, to look whether there is hope */
/* Returns whether a waiter for another host needs the place of an idle connection. */
int client__is_wanted_locked(SocketPool_T pool);
void client__give_back_locked(Claim *c); /* what it has, to the next */
/* Returns when the claim has been served, the deadline has passed, or there is no hope: then the
 * verdict is WAITING. Lets go of the lock meanwhile. If the thread is cancelled, gives all back
 * and lets go of it for good. */
void client__await_turn_unlocks(Claim *c, int64_t deadline, int cancel_state);
const char *client__taken_by(Slot *slot, int *line);
/* Shuts down the connections that are checked out: their users read the end of the stream. */
void client__shut_down_locked(SocketPool_T pool);

/* ---- checkout.c ---- */

Connection_T checkout__run(SocketPool_T pool, const char *host, const char *service, int timeout_ms);
Connection_T checkout__try(SocketPool_T pool, const char *host, const char *service);

#endif
