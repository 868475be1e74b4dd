/* SPDX-License-Identifier: MIT */
/* Connections to servers, checked in and discarded. The invariant is in pool/client.c. A
 * connection that comes back becomes idle, is given to a waiter, or is closed. It is closed if it
 * has expired, if there are too many idle ones, or if its place is needed for another host. */
#include "config.h"

#include "pool/rep.h"

#define T SocketPool_T

enum { PASSES = 8 }; /* how often a waiter for another host is passed over before it gets a place */

/* Takes the lock and returns with it. Checked: the connection is not checked out of the pool. */
static Slot *lock_checked_out(T pool, Connection_T c, const char *function)
{
	Slot *slot = slot_of(c);

	lock_pool(pool);
	if (is_inside(c) && slot->pool == pool && is_upstream(slot) && slot->state != IDLE)
		return slot;
	unlock_pool(pool);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: connection %p is not checked out of the pool", function,
		(void *)c);
}

static int is_worn_locked(T pool, const Slot *slot)
{
	const Upstream *u = slot->of.upstream;

	return is_expired(slot) || (pool->limits.uses > 0 && u->uses >= pool->limits.uses);
}

/* Returns 1 if a waiter before those for this host needs a place and was passed over often
 * enough. Otherwise a busy host could keep its connections, and all others would wait without
 * end. */
static int is_overdue_locked(T pool, const Host *h)
{
	Waiter *w = has_place(pool) ? NULL : pool->client.first;

	for (; w && w->claim->host != h; w = w->next)
		if (host__may_open_locked(pool, w->claim->host) && ++w->passed > PASSES)
			return 1;
	return 0;
}

static int may_stay_locked(T pool, const Slot *slot)
{
	return !pool->draining && Socket_pending(slot->u.socket) == 0 && !slot->of.upstream->output
		&& !is_overdue_locked(pool, slot->of.upstream->host);
}

/* Returns 0 if no waiter wants the connection and it may not be kept. */
static int keep_idle_locked(T pool, Slot *slot)
{
	client__push_idle_locked(slot);
	client__serve_locked(pool);
	if (slot->state != IDLE)
		return 1;
	return !client__is_wanted_locked(pool)
		&& (pool->limits.max_idle == 0 || pool->stats.idle <= pool->limits.max_idle);
}

/* Returns the socket to close if the connection is not kept. pool.pml: checkin */
static Departed take_back_slot_locked(T pool, Slot *slot)
{
	Departed d = { 0 };

	if (is_worn_locked(pool, slot))
		d = client__expire_locked(slot);
	else if (!may_stay_locked(pool, slot) || !keep_idle_locked(pool, slot))
		d = client__detach_locked(slot);
	if (d.socket)
		client__serve_locked(pool);
	return d;
}

/* A deferred call may have closed the socket or taken it out. Then it does nothing. */
static void take_back_cleared_slot(void *cl)
{
	Connection_T c = cl;
	T pool = slot_of(c)->pool;
	Departed d = { 0 };

	lock_pool(pool);
	if (is_inside(c))
		d = take_back_slot_locked(pool, slot_of(c));
	unlock_pool(pool);
	slots__close(d);
}

static void clear_and_take_back_slot(Connection_T c, Lease *lease)
{
	DEFER(take_back_cleared_slot, c);
	slots__release(lease);
}

/* Takes the lock only once if there is no arena to clear, because all users of a pool compete for
 * it. */
void SocketPool_checkin(T pool, Connection_T c)
{
	Departed d = { 0 };
	Lease *lease;
	Slot *slot;

	CHECK_POOL(pool);
	CHECK(c, "SocketPool_checkin: the connection is NULL");
	slot = lock_checked_out(pool, c, "SocketPool_checkin");
	slots__renew_locked(slot); /* the caller's handle becomes stale */
	c = handle_of(slot);
	lease = slots__strip_locked(slot);
	if (!lease)
		d = take_back_slot_locked(pool, slot);
	unlock_pool(pool);
	if (lease)
		clear_and_take_back_slot(c, lease);
	slots__close(d);
}

void SocketPool_discard(T pool, Connection_T c)
{
	Departed d;
	Slot *slot;

	CHECK_POOL(pool);
	CHECK(c, "SocketPool_discard: the connection is NULL");
	slot = lock_checked_out(pool, c, "SocketPool_discard");
	d = client__detach_locked(slot);
	client__serve_locked(pool);
	unlock_pool(pool);
	slots__close(d);
}
