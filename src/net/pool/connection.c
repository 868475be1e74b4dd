/* SPDX-License-Identifier: MIT */
/* Connection: the interface of a slot, and the memory that is attached to it on first use. The
 * representation and its invariant are in pool/slots.c. */
#include "config.h"

#include <string.h>

#include "arena/release.h"
#include "pool/rep.h"

#define T SocketPool_T

/* The difference of two coarse times may be a tick less than the real time. After a sleep of 10 ms
 * a thread may read 8. */
static int64_t unused_ms(int64_t since)
{
	return since < socket__now_coarse() ? socket__now_ms() - since : 0;
}

Socket_T Connection_socket(Connection_T c)
{
	return LOAD(&live_slot(c, "Connection_socket")->u.socket);
}

void *Connection_data(Connection_T c)
{
	return LOAD(&live_slot(c, "Connection_data")->data);
}

void Connection_set_data(Connection_T c, void *data)
{
	STORE(&live_slot(c, "Connection_set_data")->data, data);
}

static void return_empty_lease(Lease *lease)
{
	if (!lease->arena)
		slots__release(lease);
}

/* The backing allocator is code of the program. In whatever way it leaves, the lease is not
 * lost. */
static void make_lease_arena(Lease *lease)
{
	Arena_Options o = { 0 };

	o.name = "arena of a connection";
	o.parent = lease->pool->arenas;
	DEFER(return_empty_lease, lease);
	lease->arena = Arena_new_with(&o);
	arena__lend(lease->arena, 1);
}

static Lease *take_lease(T pool)
{
	Lease *lease;

	CHECK(pool->arenas, "Connection_arena: the arena of the pool is being disposed of");
	lock_pool(pool);
	lease = pool->leases;
	if (lease)
		pool->leases = lease->next;
	unlock_pool(pool);
	if (!lease) {
		NEW0(pool->arena, lease);
		lease->pool = pool;
	}
	if (!lease->arena)
		make_lease_arena(lease);
	return lease;
}

/* Attaches the lease. If another thread was faster, or the connection left meanwhile, the lease
 * goes back. */
static Arena_T install_lease(Slot *slot, Connection_T c, Lease *lease)
{
	T pool = slot->pool;
	Arena_T arena = NULL;
	int mine;

	lock_pool(pool);
	mine = is_inside(c) && !slot->lease;
	if (mine)
		STORE(&slot->lease, lease);
	else
		slots__return_lease_locked(lease);
	if (is_inside(c))
		arena = slot->lease->arena;
	unlock_pool(pool);
	return arena;
}

Arena_T Connection_arena(Connection_T c)
{
	Slot *slot = live_slot(c, "Connection_arena");
	Lease *lease = LOAD(&slot->lease);
	Arena_T arena = lease ? lease->arena : install_lease(slot, c, take_lease(slot->pool));

	if (!arena)
		slots__bad_connection(c, "Connection_arena");
	return arena;
}

static size_t buffer_bytes(T pool)
{
	return pool->buf_size > sizeof(Buffer) ? pool->buf_size : sizeof(Buffer);
}

/* Zeroes the buffer, so that this connection cannot see the bytes of the one before. */
static Buffer *take_buffer(T pool)
{
	Buffer *b;

	lock_pool(pool);
	b = pool->buffers;
	if (b)
		pool->buffers = b->next;
	unlock_pool(pool);
	if (!b)
		b = ALLOC(pool->arena, buffer_bytes(pool));
	return memset(b, 0, buffer_bytes(pool));
}

static Buffer *install_buffer(Slot *slot, Connection_T c, Buffer *b)
{
	T pool = slot->pool;
	Buffer *installed = NULL;

	lock_pool(pool);
	if (is_inside(c) && !slot->buffer)
		STORE(&slot->buffer, b);
	else
		slots__return_buffer_locked(pool, b);
	if (is_inside(c))
		installed = slot->buffer;
	unlock_pool(pool);
	return installed;
}

char *Connection_buffer(Connection_T c, size_t *nbytes)
{
	Slot *slot = live_slot(c, "Connection_buffer");
	Buffer *b = LOAD(&slot->buffer);

	if (!b)
		b = install_buffer(slot, c, take_buffer(slot->pool));
	if (!b)
		slots__bad_connection(c, "Connection_buffer");
	if (nbytes)
		*nbytes = slot->pool->buf_size;
	return (char *)b;
}

int Connection_active(Connection_T c)
{
	CHECK(c, "Connection_active: the connection is NULL");
	return is_inside(c);
}

int64_t Connection_idle_ms(Connection_T c)
{
	Slot *slot = live_slot(c, "Connection_idle_ms");
	T pool = slot->pool;
	int64_t idle = -1;

	lock_pool(pool); /* keeps the socket open while it is asked */
	if (is_inside(c))
		idle = unused_ms(slots__last_used_locked(slot));
	unlock_pool(pool);
	return idle > 0 ? idle : 0; /* another thread may have touched it meanwhile */
}

void Connection_touch(Connection_T c)
{
	Slot *slot = live_slot(c, "Connection_touch");

	STORE(&slot->touched, socket__now_coarse());
}

void Connection_rest(Connection_T c)
{
	Slot *slot = live_slot(c, "Connection_rest");
	T pool = slot->pool;
	Lease *lease = NULL;

	lock_pool(pool);
	if (is_inside(c)) {
		lease = slots__strip_locked(slot);
		STORE(&slot->touched, socket__now_coarse());
	}
	unlock_pool(pool);
	slots__release(lease);
}
