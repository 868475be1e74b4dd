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
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <core/SocketPool.h>
#include "base/cancel.h"
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
	ADDED,                   /* it is table.c's */
	IDLE,                    /* it is client.c's, checked in */
	OUT,                     /* it is client.c's, checked out */
	SHUT                     /* like OUT, in a pool that was drained meanwhile */
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
		Output *output;            /* an ADDED slot's */
		struct Upstream *upstream; /* a slot's of client.c */
	} of;
	int64_t touched;          /* atomic; socket__now_coarse() */
	uint32_t place;           /* an ADDED slot's place in the table's heap */
	unsigned char mark;       /* atomic; the generation, and LIVE while a connection is inside */
	unsigned char state;      /* atomic while it is OUT; else under the lock */
	unsigned char counted;    /* its address counts it */
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
	LazyHeap heap;           /* ordered by last use */
	LazyHeap *by_use;        /* the heap, with every ADDED in it; NULL before the first eviction */
	int64_t tokens, refilled; /* thousandths of a connection that may come now; at that time */
	int counting;            /* atomic; whether addresses are counted */
	Peer **peers, *spare_peers; /* NULL until they are */
} Table;

typedef struct Host { /* where checkout connects to */
	struct Host *next;
	Slot *newest;            /* the newest of its idle connections */
	size_t open;             /* how many, those being opened included */
	size_t waiting;
	int64_t held_until;      /* no attempt before, after failures */
	unsigned failures;
	int error;
	size_t room;
	const char *service;     /* in name, after the host's */
	char name[];
} Host;

typedef struct Upstream { /* the rest of a slot that checkout opened */
	struct Upstream *next_free;
	Host *host;
	Slot *newer, *older;     /* while idle: of the host's, by check-in */
	Slot *later, *earlier;   /* while idle: of all, by last use */
	Output *output;
	/* Times of socket__now_coarse(). */
	int64_t used;            /* while idle: a lower bound of its last use */
	int64_t expires;         /* SOCKET__NEVER if it does not */
	int64_t since;           /* when it was checked out */
	const char *file;        /* atomic; the caller's file, or NULL if it is not known yet */
	int line;                /* valid if file is not NULL */
	int uses;
} Upstream;

typedef enum Verdict { WAITING, GIVEN, MAY_OPEN } Verdict;

typedef struct Claim { /* what a checkout holds: nothing, a slot or a place */
	SocketPool_T pool;
	Host *host;
	Verdict verdict;
	Slot *slot;              /* set if the verdict is GIVEN */
	uint64_t turn;           /* its number among those that wait; 0 before it has waited */
} Claim;

typedef struct Waiter { /* on the stack of the thread that waits */
	struct Waiter *next, *previous;
	Claim *claim;            /* when its verdict is not WAITING, the waiter is off the list */
	pthread_cond_t woken;
	int64_t since;
	unsigned passed;         /* how often a connection went to a later waiter for its host */
} Waiter;

typedef struct Client {
	Host *hosts[BUCKETS];
	Slot *latest, *earliest; /* the idle ones, by last use */
	Upstream *spare_upstreams;
	Waiter *first, *last;    /* by their turns */
	uint64_t turns;          /* the latest */
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
	int spare;               /* atomic: a descriptor for when there is no other, or -1 */
	SocketPool_Limits limits;
	int idle_ms;             /* atomic; that of the limits, or -1 */
	SocketPool_Stats stats;  /* except count and capacity */
};

#define LOAD(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

static inline void lock_pool(SocketPool_T pool)
{
	pthread_mutex_lock(&pool->lock);
}

static inline void unlock_pool(SocketPool_T pool)
{
	pthread_mutex_unlock(&pool->lock);
}

#if CORE_DEBUG
void slots__assert_locked(const struct SocketPool *pool, const char *function);
#define ASSERT_LOCKED(pool) slots__assert_locked((pool), __func__)
#else
#define ASSERT_LOCKED(pool) ((void)0)
#endif

#define CHECK_POOL(pool) \
	((pool) && (pool)->magic == MAGIC ? (void)0 : slots__bad_pool((pool), __func__))
void slots__bad_pool(const struct SocketPool *, const char *function) CORE_NORETURN;
void slots__bad_connection(Connection_T, const char *function) CORE_NORETURN;

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

/* Checked: the connection is NULL, or has left its pool. */
static inline Slot *live_slot(Connection_T c, const char *function)
{
	if (!c || !is_inside(c))
		slots__bad_connection(c, function);
	return slot_of(c);
}

/* Its caller may ask without the lock while a drain changes OUT to SHUT. */
static inline int is_upstream(const Slot *slot)
{
	return LOAD(&slot->state) >= IDLE;
}

static inline int is_expired(const Slot *slot)
{
	return slot->of.upstream->expires <= socket__now_coarse();
}

static inline int has_place(SocketPool_T pool)
{
	return pool->count + pool->opening < pool->max;
}

/* Returns 1 if this process or machine has no descriptors or memory, which may change soon. */
static inline int lacks_resources(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* ---- slots.c ---- */

void slots__make_lock(SocketPool_T pool); /* Raises: SocketPool_Failed */
int slots__make_condition(pthread_cond_t *); /* returns 0 or an error number */
/* Waits. Returns 0 after the deadline. Lets go of the lock meanwhile. */
int slots__wait_unlocks(SocketPool_T pool, pthread_cond_t *, int64_t deadline);
int slots__close_spare(SocketPool_T pool); /* returns 0 if there was no spare descriptor */

/* Also called before other threads know the pool. */
void slots__link_segment_locked(SocketPool_T pool, Segment *g);
/* Returns the size of the next segment, at least `missing`. */
size_t slots__segment_size(size_t reserved, size_t missing);
Segment *slots__new_segment(Arena_T arena, size_t size); /* Raises: Arena_Failed */

typedef struct Cursor {
	Segment *segment;
	size_t next;
} Cursor;
Slot *slots__next_locked(SocketPool_T pool, Cursor *at); /* returns the next slot in use, or NULL */

/* A connection that has left its slot, to be closed or released without the lock. */
typedef struct Departed {
	Socket_T socket;
	Lease *lease;
	Output *output;
} Departed;
Slot *slots__attach_locked(SocketPool_T pool, Socket_T s, State state);
void slots__renew_locked(Slot *slot); /* gives it a new handle; the old one is stale */
Lease *slots__strip_locked(Slot *slot); /* takes its buffer and returns its lease */
Departed slots__detach_locked(Slot *slot, Output *output);
/* These raise what deferred calls raise, with their work done. lease and socket may be NULL. */
void slots__release(Lease *lease); /* clears its arena and gives it to the pool */
void slots__close_departed(Departed d);
static inline void slots__close(Departed d)
{
	if (d.socket)
		slots__close_departed(d);
}

void slots__let_go(Departed d); /* releases all but the socket, which has another owner now */
void slots__return_lease_locked(Lease *lease);
void slots__return_buffer_locked(SocketPool_T pool, Buffer *b);

/* Returns the time of the last use of any kind. The lock prevents a close of the socket
 * meanwhile. */
int64_t slots__last_used_locked(Slot *slot);
/* Returns the time before which a connection counts as unused for ms. It may be up to a tick too
 * early. A connection that was used in this tick is in use. */
int64_t slots__unused_since(int ms);

/* ---- table.c ---- */

/* Memory for n connections in all, if there is less. Raises: Arena_Failed */
void table__provide_heap(SocketPool_T pool, size_t n);
/* a record for one more address. Raises: Arena_Failed */
void table__provide_peer(SocketPool_T pool);
void table__provide_peers(SocketPool_T pool); /* for counting addresses. Raises: Arena_Failed */
/* Returns NULL if it may not come in */
Connection_T table__add_locked(SocketPool_T pool, Socket_T s);
int64_t table__until_token_locked(SocketPool_T pool); /* returns the ms until one may come */
/* Returns the connection to evict first, and stores its last use; NULL if there is none. */
Slot *table__longest_unused_locked(SocketPool_T pool, int64_t *at);
Departed table__detach_locked(Slot *slot);

/* ---- host.c ---- */

/* Lets go of the lock meanwhile if it needs memory. Raises: Arena_Failed; the lock is not held
 * then. */
Host *host__find_unlocks(SocketPool_T pool, const char *host, const char *service);
/* Returns NULL if there is none. */
Host *host__lookup_locked(SocketPool_T pool, const char *host, const char *service);
void host__hold_down_locked(SocketPool_T pool, Host *h, int error);
int host__may_open_locked(SocketPool_T pool, const Host *h);

/* ---- client.c ---- */

void client__push_idle_locked(Slot *slot);
Slot *client__pop_idle_locked(Host *h); /* the newest; the caller must set its state */
void client__become_out_locked(Slot *slot);
/* Like table__longest_unused_locked */
Slot *client__longest_idle_locked(SocketPool_T pool, int64_t *at);
Departed client__detach_locked(Slot *slot); /* call client__serve_locked after it */
Departed client__expire_locked(Slot *slot); /* detaches it, and counts it as expired */
void client__reserve_locked(Claim *c);  /* reserves a place */
void client__serve_waiters_locked(SocketPool_T pool);
static inline void client__serve_locked(SocketPool_T pool)
{
	if (pool->client.first)
		client__serve_waiters_locked(pool);
}

/* Wakes the waiters, which test whether they can still be served */
void client__dismiss_locked(SocketPool_T pool);
/* Returns 1 if a waiter for another host needs the place of an idle connection. */
int client__is_wanted_locked(SocketPool_T pool);
void client__give_back_locked(Claim *c); /* gives what it has to the next */
/* Returns when the claim has been served, after the deadline, or when the claim can no longer be
 * served; in the last two cases its verdict is WAITING. Lets go of the lock meanwhile. If the
 * thread is cancelled, it gives everything back and lets go of the lock. */
void client__await_turn_unlocks(Claim *c, int64_t deadline, int cancel_state);
const char *client__taken_by(Slot *slot, int *line);
/* Shuts down the connections that are checked out: their users read the end of the stream. */
void client__shut_down_locked(SocketPool_T pool);

/* ---- checkout.c ---- */

Connection_T checkout__run(SocketPool_T pool, const char *host, const char *service,
	int timeout_ms);
Connection_T checkout__try(SocketPool_T pool, const char *host, const char *service);

#endif
