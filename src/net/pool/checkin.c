/* SPDX-License-Identifier: MIT */
/* SocketPool, continued: connections to servers, checked in. The invariant is in pool/client.c. A connection that
 * comes back is idle, or given to who waits for it, or closed, because it is worn, there is too much idle, or its place
 * is wanted for another host. */
#include "config.h"

#include <core/SocketPool.h>
#include "pool/rep.h"

#define T SocketPool_T

enum { PASSES = 8 }; /* connections worth keeping, before a waiter for another host gets the place of one */

/* With the lock held, which it was not before. */
static Slot *checked_out(T pool, Connection_T c, const char *function)
{
	Slot *slot;

	if (!c)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the connection is NULL", function);
	slot = slot_of(c);
	lock(pool);
	if (!is_inside(c) || slot->pool != pool || !slot->upstream || slot->state == IDLE) {
		unlock(pool);
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: connection %p is not checked out of the pool", function, (void *)c);
	}
	return slot;
}

/* Lock held. */
static int may_stay(T pool, const Slot *slot)
{
	const Upstream *u = slot->upstream;

	return !pool->draining && u->expires > socket__now_coarse() && (pool->limits.uses <= 0 || u->uses < pool->limits.uses)
		&& Socket_pending(slot->u.socket) == 0;
}

/* Lock held. Whether somebody before those who wait for this host needs a place and was passed over often enough: a
 * busy host could keep its connections, and all others waiting, for ever. */
static int is_overdue(T pool, const Host *h)
{
	Waiter *w = has_place(pool) ? NULL : pool->first;

	for (; w && w->host != h; w = w->next)
		if (host_may_open(pool, w->host) && ++w->passed > PASSES)
			return 1;
	return 0;
}

/* Lock held. The caller's handle is stale from here on; the new one is for the pool. */
static Connection_T renew(Slot *slot)
{
	STORE(&slot->mark, (unsigned char)(LIVE | (slot->mark + 1) % LINE));
	socket__set_owner(slot->u.socket, handle_of(slot), socketpool__leaving);
	return handle_of(slot);
}

/* Lock held. 0 when nobody wants the connection, nor may keep it. */
static int come_back(T pool, Slot *slot)
{
	if (!may_stay(pool, slot) || is_overdue(pool, slot->upstream->host))
		return 0;
	STORE(&slot->touched, socket__now_coarse());
	pool->stats.checked_out--;
	socketpool__push_idle(slot);
	socketpool__serve(pool);
	if (slot->state != IDLE)
		return 1;
	return !socketpool__is_wanted(pool) && (pool->limits.max_idle == 0 || pool->stats.idle <= pool->limits.max_idle);
}

/* Lock held. The socket that is to be closed, or NULL. */
static Socket_T take_back(T pool, Slot *slot)
{
	Socket_T s = slot->u.socket;

	if (come_back(pool, slot))
		return NULL;
	socketpool__detach(slot);
	socketpool__serve(pool);
	return s;
}

/* A deferred call may have closed the socket, or taken it out: then there is nothing to take back. */
static void take_back_cleared(void *cl)
{
	Connection_T c = cl;
	T pool = slot_of(c)->pool;
	Socket_T s = NULL;

	lock(pool);
	if (is_inside(c))
		s = take_back(pool, slot_of(c));
	unlock(pool);
	Socket_close(&s);
}

static void clear_and_take_back(Connection_T c, Lease *lease)
{
	DEFER(take_back_cleared, c);
	socketpool__let_go(lease);
}

/* The lock once, when there is no arena to clear: a pool's users meet there. */
void SocketPool_checkin(T pool, Connection_T c)
{
	Socket_T s = NULL;
	Lease *lease;
	Slot *slot;

	CHECK_POOL(pool);
	slot = checked_out(pool, c, "SocketPool_checkin");
	c = renew(slot);
	lease = connection__strip(slot);
	if (!lease)
		s = take_back(pool, slot);
	unlock(pool);
	if (lease)
		clear_and_take_back(c, lease);
	Socket_close(&s);
}

void SocketPool_discard(T pool, Connection_T c)
{
	Socket_T s;
	Lease *lease;
	Slot *slot;

	CHECK_POOL(pool);
	slot = checked_out(pool, c, "SocketPool_discard");
	s = slot->u.socket;
	lease = socketpool__detach(slot);
	socketpool__serve(pool);
	unlock(pool);
	socketpool__finish(lease, s);
}
