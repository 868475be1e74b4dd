/* SPDX-License-Identifier: MIT */
/* SocketPool: slots of one cache line in segments that never move, all from the pool's arena. Capacity
 * is a number: shrinking lowers it, growing raises it, and only growth beyond every earlier size takes
 * memory, reserved but not touched.
 *
 * Invariant, under the lock: count + opening <= max <= reserved, the sum of the segments' sizes, for as many of
 * which the heap has room. In a segment the first `used` slots were in use at some time; each of them holds a
 * connection (its mark has LIVE, and the socket's owner is its handle) or is on the free list. Segments before `filling`
 * are full up. Once the pool is `ordered`, which the first eviction and the first connection that
 * checkout opens want, the heap, by last use, holds every connection but those that are checked out.
 *
 * A Connection_T is the address of its slot with the slot's generation in the low bits that alignment leaves free. The
 * slot knows its generation, so a stale handle is seen by a compare, without memory of its own, until as many
 * connections as there are generations have used the slot.
 *
 * The way from a socket to its connection is a pointer in the socket: as flat as an index by
 * descriptor, with nothing to grow, and right when a descriptor or an address comes back as another's.
 * It, the mark and what is read through a handle are atomic, so that get, data and touch take no lock.
 *
 * Buffers and arenas of connections that left are kept for later ones: Buffer links lie in the buffers,
 * Leases in the pool's arena, as the arenas come and go with the connections. The connections' arenas
 * are children of `arenas`, whose disposal tells the pool that they are gone: its arena disposes of
 * children before it runs the deferred call that closes the sockets.
 *
 * The lock covers each step and is never held while an arena allocates, a callback or a deferred call
 * runs, a socket is closed, or anything is raised. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <core/SocketPool.h>
#include "pool/rep.h"

#define T SocketPool_T

EXCEPT_DEFINE(SocketPool_Failed, NULL, "socket pool operation failed");

enum {
	SEGMENT_LEAST = 16,      /* slots */
	ARENA_KEPT = 64 * 1024   /* bytes that a waiting arena may hold */
};
static const uint32_t DEAD = 0xDEAD9001;

/* ---- argument checks ---- */

void socketpool__bad(const struct SocketPool *pool, const char *function)
{
	if (!pool)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the pool is NULL", function);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not a live pool", function, (const void *)pool);
}

/* ---- segments and slots ---- */

/* Lock held, once others know of the pool. */
void socketpool__link(T pool, Segment *g)
{
	*pool->end = g;
	pool->end = &g->next;
	pool->reserved += g->size;
	if (!pool->filling)
		pool->filling = g;
}

size_t socketpool__segment_size(size_t reserved, size_t missing)
{
	size_t size = missing > reserved / 8 ? missing : reserved / 8;

	return size < SEGMENT_LEAST ? SEGMENT_LEAST : size;
}

/* When two threads are here for the same ones there is just more room. */
Segment *socketpool__segment(Arena_T arena, size_t size)
{
	size_t bytes;
	Segment *g;

	if (!mul_size(size, sizeof(Slot), &bytes) || !add_size(bytes, sizeof *g, &bytes))
		EXCEPT_RAISE_MSG(Arena_Failed, "room for %zu connections is more than a size_t holds", size);
	g = Arena_alloc_aligned(arena, LINE, bytes);
	g->next = NULL;
	g->size = size;
	g->used = 0;
	return g;
}

static Slot *fresh_slot(T pool)
{
	Slot *slot;

	while (pool->filling && pool->filling->used == pool->filling->size)
		pool->filling = pool->filling->next;
	if (!pool->filling)
		CORRUPT("a socket pool has fewer slots than connections may come");
	slot = &pool->filling->slots[pool->filling->used++];
	memset(slot, 0, sizeof *slot);
	slot->pool = pool;
	return slot;
}

static Slot *take_slot(T pool)
{
	Slot *slot = pool->free;

	if (!slot)
		return fresh_slot(pool);
	if (slot->mark & LIVE)
		CORRUPT("a free slot of a socket pool holds a connection");
	pool->free = slot->u.next_free;
	return slot;
}

/* Lock held, as in the rest of this part. */
static int64_t last_used(const uint32_t *place)
{
	return connection__last_used(slot_at(place));
}

Connection_T socketpool__attach(T pool, Socket_T s, Upstream *u)
{
	Slot *slot = take_slot(pool);

	STORE(&slot->u.socket, s);
	STORE(&slot->data, NULL);
	STORE(&slot->touched, socket__now_coarse());
	slot->state = ACTIVE;
	slot->counted = 0;
	slot->upstream = u;
	STORE(&slot->mark, (unsigned char)(LIVE | (slot->mark + 1) % LINE));
	socket__set_owner(s, handle_of(slot), socketpool__leaving);
	if (u)
		socketpool__order(pool);
	else if (pool->ordered)
		lazyheap__update(&pool->heap, &slot->place);
	if (++pool->count > pool->stats.peak)
		pool->stats.peak = pool->count;
	return handle_of(slot);
}

/* A server that has deadlines of its own never asks, and its idle connections take 16 bytes less each. */
void socketpool__order(T pool)
{
	Segment *segment = pool->segments;
	size_t next = 0;
	Slot *slot;

	if (pool->ordered)
		return;
	pool->ordered = 1;
	while ((slot = socketpool__next(&segment, &next)) != NULL)
		if (!slot->upstream)
			lazyheap__update(&pool->heap, &slot->place);
}

/* The slot is free at once. */
Lease *socketpool__detach(Slot *slot)
{
	T pool = slot->pool;
	Lease *lease = connection__strip(slot);

	lazyheap__remove(&pool->heap, &slot->place);
	if (slot->upstream)
		socketpool__upstream_leaves(slot);
	if (slot->counted)
		socketpool__uncount(pool, slot->u.socket);
	socket__set_owner(slot->u.socket, NULL, NULL);
	STORE(&slot->mark, (unsigned char)(slot->mark & ~LIVE));
	slot->state = FREE;
	STORE(&slot->u.next_free, pool->free);
	pool->free = slot;
	if (--pool->count == 0)
		pthread_cond_broadcast(&pool->emptied);
	return lease;
}

/* ---- leaving ---- */

/* Raises what a deferred call of the connection's arena raises; the arena is cleared and kept even so. */
void socketpool__let_go(T pool, Lease *lease)
{
	if (!lease)
		return;
	TRY {
		if (lease->arena)
			Arena_reset(lease->arena, ARENA_KEPT);
	} FINALLY {
		put_back(pool, lease);
	} END_TRY;
}

int socketpool__take_out(Connection_T c, Lease **lease)
{
	T pool = slot_of(c)->pool;
	int in;

	lock(pool);
	in = is_inside(c);
	*lease = in ? socketpool__detach(slot_of(c)) : NULL;
	socketpool__serve(pool);
	unlock(pool);
	return in;
}

/* A socket that is closed behind the pool's back takes its leave; Socket_close never raises. */
void socketpool__leaving(Socket_T s, void *handle)
{
	T pool = slot_of(handle)->pool;
	Lease *lease;

	(void)s;
	socketpool__take_out(handle, &lease);
	TRY {
		socketpool__let_go(pool, lease);
	} ELSE {
	} END_TRY;
}

void socketpool__finish(T pool, Lease *lease, Socket_T s)
{
	socket__leave_poll(s);
	TRY {
		socketpool__let_go(pool, lease);
	} FINALLY {
		Socket_close(&s);
	} END_TRY;
}

/* ---- walking: no lock between two steps, and no connection twice ---- */

Slot *socketpool__next(Segment **segment, size_t *next)
{
	for (; *segment; *segment = (*segment)->next, *next = 0)
		while (*next < (*segment)->used) {
			Slot *slot = &(*segment)->slots[(*next)++];

			if (slot->mark & LIVE)
				return slot;
		}
	return NULL;
}

typedef struct Cursor {
	Segment *segment;
	size_t next;
} Cursor;

static Connection_T next_connection(T pool, Cursor *at)
{
	Slot *slot;
	Connection_T c;

	lock(pool);
	slot = socketpool__next(&at->segment, &at->next);
	c = slot ? handle_of(slot) : NULL;
	unlock(pool);
	return c;
}

void socketpool__close_all(T pool)
{
	Cursor at = { pool->segments, 0 };
	Slot *slot;
	Lease *lease = NULL;
	Socket_T s;

	do {
		s = NULL;
		lock(pool);
		slot = socketpool__next(&at.segment, &at.next);
		if (slot) {
			s = slot->u.socket;
			lease = socketpool__detach(slot);
		}
		unlock(pool);
		if (s)
			socketpool__finish(pool, lease, s);
	} while (s);
}

/* ---- lifecycle ---- */

/* Runs when the arena of the pool is disposed of, cleared, or rewound past it. */
static void dispose(T pool)
{
	if (pool->magic != MAGIC)
		return;
	TRY {
		Arena_dispose(&pool->arenas);
	} FINALLY {
		socketpool__close_all(pool);
		pool->magic = DEAD;
		if (pool->spare >= 0)
			close(pool->spare);
		pthread_cond_destroy(&pool->emptied);
		pthread_mutex_destroy(&pool->lock);
	} END_TRY;
}

static void dispose_of(void *pool)
{
	dispose(pool);
}

/* The arenas of the connections are gone, and so is their parent. */
static void forget_arenas(void *cl)
{
	T pool = cl;
	Cursor at = { pool->segments, 0 };
	Lease *lease;
	Slot *slot;

	lock(pool);
	pool->arenas = NULL;
	while ((slot = socketpool__next(&at.segment, &at.next)) != NULL)
		if (slot->lease) {
			put_lease(pool, slot->lease);
			STORE(&slot->lease, NULL);
		}
	for (lease = pool->leases; lease; lease = lease->next)
		lease->arena = NULL;
	unlock(pool);
}

/* A chunk that the deferred call fits into, so that only the first line can raise. */
static Arena_T make_parent(T pool)
{
	Arena_Options o = { 0 };
	Arena_T parent;

	o.chunk = 256;
	o.name = "arenas of a socket pool";
	o.parent = pool->arena;
	parent = Arena_new_with(&o);
	Arena_defer(parent, forget_arenas, pool);
	return parent;
}

static void make_lock(T pool)
{
	int e = pthread_mutex_init(&pool->lock, NULL);

	if (e == 0 && (e = socketpool__condition(&pool->emptied)) != 0)
		pthread_mutex_destroy(&pool->lock);
	if (e != 0) {
		errno = e;
		EXCEPT_RAISE_ERRNO(SocketPool_Failed, "SocketPool_new: no lock for a pool");
	}
}

T SocketPool_new(Arena_T arena, size_t max_conns, size_t buf_size)
{
	T pool;
	size_t size;

	CHECK(max_conns > 0, "SocketPool_new: a pool of 0 connections");
	pool = CALLOC(arena, 1, sizeof *pool);
	pool->arena = arena;
	pool->max = max_conns;
	pool->buf_size = buf_size;
	pool->end = &pool->segments;
	pool->spare = pool->idle_ms = -1;
	pool->heap.due = last_used;
	size = socketpool__segment_size(0, max_conns);
	lazyheap__move(&pool->heap, lazyheap__room(arena, size), size);
	socketpool__link(pool, socketpool__segment(arena, size));
	Arena_defer(arena, dispose_of, pool);
	make_lock(pool);
	pool->magic = MAGIC;
	pool->arenas = make_parent(pool);
	return pool;
}

/* ---- in and out ---- */

/* The socket's connection, if it is in this pool. */
static Connection_T connection_of(T pool, Socket_T s)
{
	Connection_T c = socket__owner(s);

	return c && slot_of(c)->pool == pool ? c : NULL;
}

static Connection_T add(T pool, Socket_T s)
{
	Connection_T c = NULL;
	int counted;

	if (socketpool__may_add(pool, s, &counted)) {
		c = socketpool__attach(pool, s, NULL);
		slot_of(c)->counted = (unsigned char)counted;
		pool->stats.added++;
	} else
		pool->stats.refused++;
	return c;
}

Connection_T SocketPool_add(T pool, Socket_T s)
{
	Connection_T c = NULL;
	int in;

	CHECK_POOL(pool);
	CHECK(s, "SocketPool_add: the socket is NULL");
	in = socket__owner(s) != NULL;
	if (!in) {
		SocketPool_evict_idle(pool, LOAD(&pool->idle_ms));
		socketpool__provide_peer(pool);
		lock(pool);
		in = socket__owner(s) != NULL;
		if (!in)
			c = add(pool, s);
		unlock(pool);
	}
	CHECK(!in, "SocketPool_add: socket %d is in %s pool already", Socket_fd(s),
		connection_of(pool, s) ? "this" : "another");
	return c;
}

Connection_T SocketPool_get(T pool, Socket_T s)
{
	Connection_T c;

	CHECK_POOL(pool);
	CHECK(s, "SocketPool_get: the socket is NULL");
	c = connection_of(pool, s);
	return c;
}

Socket_T SocketPool_remove(T pool, Socket_T s)
{
	Connection_T c;
	Lease *lease;

	CHECK_POOL(pool);
	CHECK(s, "SocketPool_remove: the socket is NULL");
	c = connection_of(pool, s);
	if (!c || !socketpool__take_out(c, &lease))
		return NULL;
	socketpool__let_go(pool, lease);
	return s;
}

void SocketPool_close(T pool, Socket_T *socket)
{
	CHECK_POOL(pool);
	CHECK(socket && *socket, "SocketPool_close: the socket is NULL");
	socket__leave_poll(*socket);
	TRY {
		SocketPool_remove(pool, *socket);
	} FINALLY {
		Socket_close(socket);
	} END_TRY;
}

static size_t read_size(T pool, const size_t *field)
{
	size_t n;

	lock(pool);
	n = *field;
	unlock(pool);
	return n;
}

size_t SocketPool_count(T pool)
{
	CHECK_POOL(pool);
	return read_size(pool, &pool->count);
}

size_t SocketPool_capacity(T pool)
{
	CHECK_POOL(pool);
	return read_size(pool, &pool->max);
}

/* ---- all of them ---- */

void SocketPool_map(T pool, void (*apply)(Connection_T, void *), void *cl)
{
	Cursor at;
	Connection_T c;

	CHECK_POOL(pool);
	CHECK(apply, "SocketPool_map: the function is NULL");
	at.segment = pool->segments;
	at.next = 0;
	while ((c = next_connection(pool, &at)) != NULL)
		apply(c, cl);
}
