/* SPDX-License-Identifier: MIT */
/* SocketPool: slots of one cache line in segments that never move, all from the pool's arena. Capacity
 * is a number: shrinking lowers it, growing raises it, and only growth beyond every earlier size takes
 * memory, reserved but not touched.
 *
 * Invariant, under the lock: count <= max <= reserved, the sum of the segments' sizes. In a segment the
 * first `used` slots were in use at some time; each of them holds a connection (handle is not NULL, and
 * the socket's owner is that handle) or is on the free list. Segments before `filling` are full up.
 *
 * A Connection_T is the address of its slot with the slot's generation in the low bits that alignment
 * leaves free. The slot knows the handle of the connection inside, so a stale one is seen by a compare,
 * without memory of its own, until as many connections as there are generations have used the slot.
 *
 * The way from a socket to its connection is a pointer in the socket: as flat as an index by
 * descriptor, with nothing to grow, and right when a descriptor or an address comes back as another's.
 * It, the handle and what is read through a handle are atomic, so that get, data and touch take no lock.
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

#include <core/SocketPool.h>
#include "socketpoolrep.h"

#define T SocketPool_T

EXCEPT_DEFINE(SocketPool_Failed, NULL, "socket pool operation failed");

enum {
	SEGMENT_LEAST = 16,      /* slots */
	ARENA_KEPT = 64 * 1024   /* bytes beyond its first chunk that a waiting arena may hold */
};
static const uint32_t DEAD = 0xDEAD9001;

/* The resize callbacks that run in this thread, innermost first. */
typedef struct Calling {
	const struct SocketPool *pool;
	struct Calling *outer;
} Calling;
static __thread Calling *calling;

/* ---- argument checks ---- */

void socketpool__bad(const struct SocketPool *pool, const char *function)
{
	if (!pool)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the pool is NULL", function);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not a live pool", function, (const void *)pool);
}

/* ---- segments and slots ---- */

static void link_segment(T pool, Segment *g)
{
	*pool->end = g;
	pool->end = &g->next;
	pool->reserved += g->size;
	if (!pool->filling)
		pool->filling = g;
}

/* Room for so many more; when two threads are here for the same ones there is just more of it. */
static Segment *make_segment(Arena_T arena, size_t reserved, size_t missing)
{
	size_t size = missing > reserved / 8 ? missing : reserved / 8, bytes;
	Segment *g;

	if (size < SEGMENT_LEAST)
		size = SEGMENT_LEAST;
	if (!mul_size(size, sizeof(Slot), &bytes) || !add_size(bytes, sizeof *g, &bytes))
		EXCEPT_RAISE_MSG(Arena_Failed, "room for %zu connections is more than a size_t holds", missing);
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
	if (slot->handle)
		CORRUPT("a free slot of a socket pool holds a connection");
	pool->free = slot->u.next_free;
	return slot;
}

/* Lock held, as in the rest of this part. */
static void leaving(Socket_T s, void *handle);

static Connection_T attach(T pool, Socket_T s)
{
	Slot *slot = take_slot(pool);
	Connection_T c = (Connection_T)((uintptr_t)slot | (slot->generation++ % LINE));

	STORE(&slot->u.socket, s);
	STORE(&slot->data, NULL);
	STORE(&slot->touched, socket__now_coarse());
	STORE(&slot->handle, c);
	socket__set_owner(s, c, leaving);
	pool->count++;
	return c;
}

/* The slot is free at once. What comes back is for let_go, without the lock. */
static Lease *detach(Slot *slot)
{
	T pool = slot->pool;
	Lease *lease = slot->lease;

	socket__set_owner(slot->u.socket, NULL, NULL);
	STORE(&slot->handle, NULL);
	if (slot->buffer)
		put_buffer(pool, slot->buffer);
	STORE(&slot->buffer, NULL);
	STORE(&slot->lease, NULL);
	STORE(&slot->u.next_free, pool->free);
	pool->free = slot;
	pool->count--;
	return lease;
}

/* ---- leaving ---- */

/* Raises what a deferred call of the connection's arena raises; the arena is cleared and kept even so. */
static void let_go(T pool, Lease *lease)
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

/* Takes the connection out if it is (still) in; 0 if not. */
static int take_out(Connection_T c, Lease **lease)
{
	T pool = slot_of(c)->pool;
	int in;

	lock(pool);
	in = slot_of(c)->handle == c;
	*lease = in ? detach(slot_of(c)) : NULL;
	unlock(pool);
	return in;
}

/* A socket that is closed behind the pool's back takes its leave; Socket_close never raises. */
static void leaving(Socket_T s, void *handle)
{
	T pool = slot_of(handle)->pool;
	Lease *lease;

	(void)s;
	take_out(handle, &lease);
	TRY {
		let_go(pool, lease);
	} ELSE {
	} END_TRY;
}

/* ---- walking: no lock between two steps, and no connection twice ---- */

typedef struct Cursor {
	Segment *segment;
	size_t next;
} Cursor;

/* The next slot in use, or NULL. Lock held. */
static Slot *step(Cursor *at)
{
	for (; at->segment; at->segment = at->segment->next, at->next = 0)
		while (at->next < at->segment->used) {
			Slot *slot = &at->segment->slots[at->next++];

			if (slot->handle)
				return slot;
		}
	return NULL;
}

static Connection_T next_connection(T pool, Cursor *at)
{
	Slot *slot;
	Connection_T c;

	lock(pool);
	slot = step(at);
	c = slot ? slot->handle : NULL;
	unlock(pool);
	return c;
}

/* Takes out the next one that was used last at `cut` or before; *least becomes the earliest time among
 * those passed over. */
static Socket_T next_idle(T pool, Cursor *at, int64_t cut, int64_t *least, Lease **lease)
{
	Socket_T s = NULL;
	Slot *slot;

	lock(pool);
	while (!s && (slot = step(at)) != NULL) {
		int64_t used = connection__last_used(slot);

		if (used <= cut) {
			s = slot->u.socket;
			*lease = detach(slot);
		} else if (used < *least)
			*least = used;
	}
	unlock(pool);
	return s;
}

static void finish(T pool, Lease *lease, Socket_T s)
{
	TRY {
		let_go(pool, lease);
	} FINALLY {
		Socket_close(&s);
	} END_TRY;
}

/* Times only grow, so the least one seen is a bound until the next walk: a call at each wake-up of a
 * server walks only when somebody may have been idle long enough. */
static size_t evict(T pool, int64_t now, int64_t cut)
{
	Cursor at = { pool->segments, 0 };
	int64_t least = now;
	size_t n = 0;
	Lease *lease;
	Socket_T s;

	while ((s = next_idle(pool, &at, cut, &least, &lease)) != NULL) {
		n++;
		finish(pool, lease, s);
	}
	lock(pool);
	pool->oldest = least;
	unlock(pool);
	return n;
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
		evict(pool, INT64_MAX, INT64_MAX);
		pool->magic = DEAD;
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
	while ((slot = step(&at)) != NULL)
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

T SocketPool_new(Arena_T arena, size_t max_conns, size_t buf_size)
{
	T pool;
	int e;

	CHECK(max_conns > 0, "SocketPool_new: a pool of 0 connections");
	pool = CALLOC(arena, 1, sizeof *pool);
	pool->arena = arena;
	pool->max = max_conns;
	pool->buf_size = buf_size;
	pool->end = &pool->segments;
	link_segment(pool, make_segment(arena, 0, max_conns));
	Arena_defer(arena, dispose_of, pool);
	e = pthread_mutex_init(&pool->lock, NULL);
	if (e != 0) {
		errno = e;
		EXCEPT_RAISE_MSG(SocketPool_Failed, "SocketPool_new: no mutex for a pool: %s", strerror(e));
	}
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

Connection_T SocketPool_add(T pool, Socket_T s)
{
	Connection_T c = NULL;
	int in;

	CHECK_POOL(pool);
	CHECK(s, "SocketPool_add: the socket is NULL");
	in = socket__owner(s) != NULL;
	if (!in) {
		lock(pool);
		in = socket__owner(s) != NULL;
		if (!in && pool->count < pool->max)
			c = attach(pool, s);
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
	if (!c || !take_out(c, &lease))
		return NULL;
	let_go(pool, lease);
	return s;
}

void SocketPool_close(T pool, Socket_T *socket)
{
	CHECK_POOL(pool);
	CHECK(socket && *socket, "SocketPool_close: the socket is NULL");
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

/* ---- resizing ---- */

static int is_calling(T pool)
{
	const Calling *c = calling;

	while (c && c->pool != pool)
		c = c->outer;
	return c != NULL;
}

/* Not from inside one of the pool's own callbacks: one that resizes would call itself for ever. */
static void call(T pool, const Callback *which)
{
	Calling here = { pool, calling };
	Callback callback;

	lock(pool);
	callback = *which;
	unlock(pool);
	if (!callback.fn || is_calling(pool))
		return;
	calling = &here;
	TRY {
		callback.fn(pool, callback.userdata);
	} FINALLY {
		calling = calling->outer;
	} END_TRY;
}

/* How many slots it takes before max can be that; 0: it is now, or *inside does not fit. */
static size_t set_max(T pool, size_t max, size_t *inside, size_t *reserved)
{
	size_t missing = 0;

	lock(pool);
	*inside = pool->count;
	*reserved = pool->reserved;
	if (max > pool->reserved)
		missing = max - pool->reserved;
	else if (pool->count <= max)
		pool->max = max;
	unlock(pool);
	return missing;
}

void SocketPool_resize(T pool, size_t new_max)
{
	size_t inside, reserved, missing;

	CHECK_POOL(pool);
	CHECK(new_max > 0, "SocketPool_resize: a pool of 0 connections");
	call(pool, &pool->pre);
	while ((missing = set_max(pool, new_max, &inside, &reserved)) > 0) {
		Segment *g = make_segment(pool->arena, reserved, missing);

		lock(pool);
		link_segment(pool, g);
		unlock(pool);
	}
	if (inside > new_max)
		EXCEPT_RAISE_MSG(SocketPool_Failed,
			"SocketPool_resize: %zu connections are inside and would not fit into %zu", inside, new_max);
	call(pool, &pool->post);
}

static void set_callback(T pool, Callback *which, void (*fn)(T, void *), void *userdata)
{
	lock(pool);
	which->fn = fn;
	which->userdata = userdata;
	unlock(pool);
}

void SocketPool_set_pre_resize_callback(T pool, void (*fn)(T, void *), void *userdata)
{
	CHECK_POOL(pool);
	set_callback(pool, &pool->pre, fn, userdata);
}

void SocketPool_set_post_resize_callback(T pool, void (*fn)(T, void *), void *userdata)
{
	CHECK_POOL(pool);
	set_callback(pool, &pool->post, fn, userdata);
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

size_t SocketPool_evict_idle(T pool, int idle_ms)
{
	int64_t now = socket__now_coarse(), cut = now - idle_ms;
	int nobody;

	CHECK_POOL(pool);
	lock(pool);
	nobody = pool->oldest > cut;
	unlock(pool);
	return idle_ms < 0 || nobody ? 0 : evict(pool, now, cut);
}
