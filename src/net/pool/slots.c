/* SPDX-License-Identifier: MIT */
/* The slots of a SocketPool, for both kinds of connections. Each is one cache line, in segments
 * that never move and come from the pool's arena. The capacity is a number: shrinking lowers it,
 * growth raises it. Only growth beyond every earlier capacity takes memory, which is reserved but
 * not touched.
 *
 * Invariant, under the lock: count + opening <= max <= reserved. reserved is the sum of the
 * segments' sizes, and the table's heap has room for as many. In a segment the first `used` slots
 * have been in use. Each of them holds a connection (its mark has LIVE, and the socket's owner is
 * its handle) or is on the free list. Segments before `filling` are full.
 *
 * A Connection_T is the address of its slot with the slot's generation in the low bits, which
 * alignment leaves free. The slot has its generation, too. So a comparison recognizes a stale
 * handle, until as many connections as there are generations have used the slot.
 *
 * A socket has a pointer to its connection. That is as fast as an index by descriptor, does not
 * grow, and stays right when a descriptor or an address is used again. The pointer, the mark, and
 * what is read through a handle are atomic, so get, data and touch take no lock.
 *
 * Buffers and leases of connections that left are kept for later ones. The links of buffers lie
 * in the buffers. Leases lie in the pool's arena, because the arenas come and go with the
 * connections. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arena/release.h"
#include "pool/rep.h"

#define T SocketPool_T

enum {
	SEGMENT_LEAST = 16,      /* slots */
	ARENA_KEPT = 64 * 1024   /* bytes that the arena of a returned lease may hold */
};

void slots__bad_pool(const struct SocketPool *pool, const char *function)
{
	if (!pool)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the pool is NULL", function);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not a live pool", function, (const void *)pool);
}

void slots__bad_connection(Connection_T c, const char *function)
{
	if (!c)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the connection is NULL", function);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: connection %p has left its pool", function, (void *)c);
}

/* ---- the lock, and waiting ---- */

#if CORE_DEBUG
/* In debug builds the lock checks for errors, because it knows its owner. */
void slots__assert_locked(const struct SocketPool *pool, const char *function)
{
	if (pthread_mutex_lock((pthread_mutex_t *)(uintptr_t)&pool->lock) != EDEADLK)
		CORRUPT(function);
}
#endif

static int make_mutex(pthread_mutex_t *mutex)
{
#if CORE_DEBUG
	pthread_mutexattr_t a;
	int e = pthread_mutexattr_init(&a);

	if (e != 0)
		return e;
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	e = pthread_mutex_init(mutex, &a);
	pthread_mutexattr_destroy(&a);
	return e;
#else
	return pthread_mutex_init(mutex, NULL);
#endif
}

void slots__make_lock(T pool)
{
	int e = make_mutex(&pool->lock);

	if (e == 0 && (e = slots__make_condition(&pool->emptied)) != 0)
		pthread_mutex_destroy(&pool->lock);
	if (e != 0) {
		errno = e;
		EXCEPT_RAISE_ERRNO(SocketPool_Failed, "SocketPool_new: no lock for a pool");
	}
}

int slots__make_condition(pthread_cond_t *condition)
{
	pthread_condattr_t a;
	int error = pthread_condattr_init(&a);

	if (error != 0)
		return error;
#if HAVE_PTHREAD_CONDATTR_SETCLOCK
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
#endif
	error = pthread_cond_init(condition, &a);
	pthread_condattr_destroy(&a);
	return error;
}

int slots__wait_unlocks(T pool, pthread_cond_t *condition, int64_t deadline)
{
	struct timespec t;
	int64_t left;

	ASSERT_LOCKED(pool);
	if (deadline == SOCKET__NEVER) {
		pthread_cond_wait(condition, &pool->lock);
		return 1;
	}
	left = deadline - socket__now_ms();
	if (left <= 0)
		return 0;
#if HAVE_PTHREAD_CONDATTR_SETCLOCK
	clock_gettime(CLOCK_MONOTONIC, &t);
#else
	clock_gettime(CLOCK_REALTIME, &t);
#endif
	t.tv_sec += (time_t)(left / 1000);
	t.tv_nsec += (long)(left % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	pthread_cond_timedwait(condition, &pool->lock, &t);
	return 1;
}

int slots__close_spare(T pool)
{
	int fd = __atomic_exchange_n(&pool->spare, -1, __ATOMIC_ACQ_REL);

	close_descriptor(fd);
	return fd >= 0;
}

/* ---- segments ---- */

void slots__link_segment_locked(T pool, Segment *g)
{
	*pool->end = g;
	pool->end = &g->next;
	pool->reserved += g->size;
	if (!pool->filling)
		pool->filling = g;
}

size_t slots__segment_size(size_t reserved, size_t missing)
{
	size_t size = missing > reserved / 8 ? missing : reserved / 8;

	return size < SEGMENT_LEAST ? SEGMENT_LEAST : size;
}

/* If two threads make a segment for the same growth, there is only more room. */
Segment *slots__new_segment(Arena_T arena, size_t size)
{
	size_t bytes;
	Segment *g;

	if (!mul_size(size, sizeof(Slot), &bytes) || !add_size(bytes, sizeof *g, &bytes))
		EXCEPT_RAISE_MSG(Arena_Failed, "room for %zu connections is more than a size_t holds",
			size);
	g = Arena_alloc_aligned(arena, LINE, bytes);
	g->next = NULL;
	g->size = size;
	g->used = 0;
	return g;
}

Slot *slots__next_locked(T pool, Cursor *at)
{
	(void)pool;
	ASSERT_LOCKED(pool);
	for (; at->segment; at->segment = at->segment->next, at->next = 0)
		while (at->next < at->segment->used) {
			Slot *slot = &at->segment->slots[at->next++];

			if (slot->mark & LIVE)
				return slot;
		}
	return NULL;
}

/* ---- slots ---- */

static Slot *take_fresh_slot_locked(T pool)
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

static Slot *take_slot_locked(T pool)
{
	Slot *slot = pool->free;

	if (!slot)
		return take_fresh_slot_locked(pool);
	if (slot->mark & LIVE)
		CORRUPT("a free slot of a socket pool holds a connection");
	pool->free = slot->u.next_free;
	return slot;
}

void slots__renew_locked(Slot *slot)
{
	STORE(&slot->mark, (unsigned char)(LIVE | (slot->mark + 1) % LINE));
	socket__set_owner(slot->u.socket, handle_of(slot), slot->pool->leaving);
}

Slot *slots__attach_locked(T pool, Socket_T s, State state)
{
	Slot *slot;

	ASSERT_LOCKED(pool);
	slot = take_slot_locked(pool);
	STORE(&slot->u.socket, s);
	STORE(&slot->data, NULL);
	STORE(&slot->touched, socket__now_coarse());
	slot->state = state;
	slot->counted = 0;
	slot->of.output = NULL;
	slots__renew_locked(slot);
	if (++pool->count > pool->stats.peak)
		pool->stats.peak = pool->count;
	return slot;
}

Lease *slots__strip_locked(Slot *slot)
{
	Lease *lease = slot->lease;

	ASSERT_LOCKED(slot->pool);
	if (slot->buffer)
		slots__return_buffer_locked(slot->pool, slot->buffer);
	STORE(&slot->buffer, NULL);
	STORE(&slot->lease, NULL);
	return lease;
}

/* The slot is free at once. */
Departed slots__detach_locked(Slot *slot, Output *output)
{
	T pool = slot->pool;
	Departed d = { slot->u.socket, slots__strip_locked(slot), output };

	socket__set_owner(d.socket, NULL, NULL);
	STORE(&slot->mark, (unsigned char)(slot->mark & ~LIVE));
	slot->state = FREE;
	STORE(&slot->u.next_free, pool->free);
	pool->free = slot;
	if (--pool->count == 0)
		pthread_cond_broadcast(&pool->emptied);
	return d;
}

/* ---- what has left ---- */

void slots__return_buffer_locked(T pool, Buffer *b)
{
	b->next = pool->buffers;
	pool->buffers = b;
}

void slots__return_lease_locked(Lease *lease)
{
	ASSERT_LOCKED(lease->pool);
	lease->next = lease->pool->leases;
	lease->pool->leases = lease;
}

static void return_lease(Lease *lease)
{
	T pool = lease->pool;

	lock_pool(pool);
	slots__return_lease_locked(lease);
	unlock_pool(pool);
}

void slots__release(Lease *lease)
{
	if (!lease)
		return;
	DEFER(return_lease, lease);
	if (lease->arena)
		arena__take_back(lease->arena, ARENA_KEPT, 0);
}

void slots__let_go(Departed d)
{
	free(d.output);
	slots__release(d.lease);
}

void slots__close_departed(Departed d)
{
	DEFER(Socket_close, &d.socket);
	socket__leave_poll(d.socket);
	slots__let_go(d);
}

/* ---- use ---- */

int64_t slots__last_used_locked(Slot *slot)
{
	int64_t touched = LOAD(&slot->touched), moved = socket__last_moved(slot->u.socket);

	return touched > moved ? touched : moved;
}

int64_t slots__unused_since(int ms)
{
	int64_t before = socket__now_coarse() - (ms > 0), since = socket__now_ms() - ms;

	return since < before ? since : before;
}
