/* SPDX-License-Identifier: MIT */
/* A client's connections to its servers: those that callers have, those that are idle, and the
 * waiters.
 *
 * Invariant, under the lock: `open` of a host is the number of its slots and of connections that
 * are being opened. Its idle slots are a list from the newest to the oldest. A slot with an
 * upstream is either IDLE and in the order by last use, or OUT or SHUT and a caller's.
 * pool->opening places are reserved for connections that are being opened. No waiter on the list
 * could be served, so a thread that finds a connection overtakes none. Waiters for one host are
 * served in their order. A waiter for another host is passed over at most PASSES times
 * (pool/checkin.c).
 *
 * A waiter is served in one step: it leaves the list and gets a slot or a place. A waiter that
 * gives up tests under the lock whether it was served before; if so, it keeps what it got. A
 * cancelled thread gives it back. src/test/models/pool.pml checks this; its inlines have the
 * names of the functions here. */
#include "config.h"

#include <errno.h>

#include "pool/internal.h"
#include "pool/rep.h"

#define T SocketPool_T

/* ---- idle connections: the host's by check-in, all of them by last use ---- */

/* Almost always the connection becomes the latest. */
static void insert_by_use_locked(Slot *slot)
{
	Client *client = &slot->pool->client;
	Upstream *u = slot->of.upstream;
	Slot *later = NULL, *earlier = client->latest;

	u->used = slots__last_used_locked(slot);
	for (; earlier && earlier->of.upstream->used > u->used; earlier = earlier->of.upstream->earlier)
		later = earlier;
	u->later = later;
	u->earlier = earlier;
	*(later ? &later->of.upstream->earlier : &client->latest) = slot;
	*(earlier ? &earlier->of.upstream->later : &client->earliest) = slot;
}

static void unlink_by_use_locked(Slot *slot)
{
	Client *client = &slot->pool->client;
	const Upstream *u = slot->of.upstream;

	*(u->later ? &u->later->of.upstream->earlier : &client->latest) = u->earlier;
	*(u->earlier ? &u->earlier->of.upstream->later : &client->earliest) = u->later;
}

/* An idle connection that was touched moves to a later place. */
Slot *client__longest_idle_locked(T pool, int64_t *at)
{
	Slot *slot;

	ASSERT_LOCKED(pool);
	while ((slot = pool->client.earliest) != NULL) {
		*at = slots__last_used_locked(slot);
		if (*at <= slot->of.upstream->used)
			break;
		unlink_by_use_locked(slot);
		insert_by_use_locked(slot);
	}
	return slot;
}

/* pool.pml: push_idle */
void client__push_idle_locked(Slot *slot)
{
	Upstream *u = slot->of.upstream;
	Host *h = u->host;

	ASSERT_LOCKED(slot->pool);
	slot->state = IDLE;
	STORE(&slot->touched, socket__now_coarse());
	u->newer = NULL;
	u->older = h->newest;
	if (h->newest)
		h->newest->of.upstream->newer = slot;
	h->newest = slot;
	insert_by_use_locked(slot);
	slot->pool->stats.checked_out--;
	slot->pool->stats.idle++;
}

static void unlink_idle_locked(Slot *slot)
{
	Upstream *u = slot->of.upstream;

	if (u->newer)
		u->newer->of.upstream->older = u->older;
	else
		u->host->newest = u->older;
	if (u->older)
		u->older->of.upstream->newer = u->newer;
	unlink_by_use_locked(slot);
	slot->pool->stats.idle--;
}

void client__become_out_locked(Slot *slot)
{
	slot->state = OUT;
	slot->of.upstream->since = socket__now_coarse();
	STORE(&slot->of.upstream->file, NULL);
	slot->pool->stats.checked_out++;
}

/* pool.pml: pop_idle */
Slot *client__pop_idle_locked(Host *h)
{
	Slot *slot = h->newest;

	ASSERT_LOCKED(slot->pool);
	unlink_idle_locked(slot);
	client__become_out_locked(slot);
	slot->of.upstream->uses++;
	slot->pool->stats.reused++;
	return slot;
}

int connection__is_reused(Connection_T c)
{
	return slot_of(c)->of.upstream->uses > 1;
}

/* pool.pml: detach */
Departed client__detach_locked(Slot *slot)
{
	T pool = slot->pool;
	Upstream *u = slot->of.upstream;
	Output *output = u->output;

	ASSERT_LOCKED(pool);
	if (slot->state == IDLE)
		unlink_idle_locked(slot);
	else
		pool->stats.checked_out--;
	u->host->open--;
	u->output = NULL;
	u->next_free = pool->client.spare_upstreams;
	pool->client.spare_upstreams = u;
	return slots__detach_locked(slot, output);
}

Departed client__expire_locked(Slot *slot)
{
	slot->pool->stats.expired++;
	return client__detach_locked(slot);
}

/* ---- waiters ---- */

void client__reserve_locked(Claim *c)
{
	ASSERT_LOCKED(c->pool);
	c->pool->opening++;
	c->host->open++;
	c->verdict = MAY_OPEN;
}

/* One that was given a connection that had ended keeps its turn. */
static void enqueue_waiter_locked(T pool, Waiter *w)
{
	Client *client = &pool->client;
	Waiter *before = client->last;

	if (w->claim->turn == 0)
		w->claim->turn = ++client->turns;
	while (before && before->claim->turn > w->claim->turn)
		before = before->previous;
	w->previous = before;
	w->next = before ? before->next : client->first;
	*(before ? &before->next : &client->first) = w;
	*(w->next ? &w->next->previous : &client->last) = w;
	w->since = socket__now_ms();
	w->claim->host->waiting++;
	pool->stats.waiting++;
	pool->stats.waits++;
}

static void dequeue_waiter_locked(T pool, Waiter *w)
{
	Client *client = &pool->client;
	size_t ms = (size_t)(socket__now_ms() - w->since);

	if (w->previous)
		w->previous->next = w->next;
	else
		client->first = w->next;
	if (w->next)
		w->next->previous = w->previous;
	else
		client->last = w->previous;
	w->claim->host->waiting--;
	pool->stats.waiting--;
	pool->stats.wait_ms += ms;
	if (ms > pool->stats.longest_wait_ms)
		pool->stats.longest_wait_ms = ms;
}

/* Serves the waiters in their order, as far as there are slots and places. pool.pml: serve */
void client__serve_waiters_locked(T pool)
{
	Waiter *w, *next;

	ASSERT_LOCKED(pool);
	for (w = pool->draining ? NULL : pool->client.first; w; w = next) {
		Claim *c = w->claim;

		next = w->next;
		if (c->host->newest) {
			c->slot = client__pop_idle_locked(c->host);
			c->verdict = GIVEN;
		} else if (has_place(pool) && host__may_open_locked(pool, c->host))
			client__reserve_locked(c);
		else
			continue;
		dequeue_waiter_locked(pool, w);
		pthread_cond_signal(&w->woken);
	}
}

/* pool.pml: dismiss */
void client__dismiss_locked(T pool)
{
	Waiter *w;

	ASSERT_LOCKED(pool);
	for (w = pool->client.first; w; w = w->next)
		pthread_cond_signal(&w->woken);
}

int client__is_wanted_locked(T pool)
{
	const Waiter *w = has_place(pool) ? NULL : pool->client.first;

	ASSERT_LOCKED(pool);
	while (w && !host__may_open_locked(pool, w->claim->host))
		w = w->next;
	return w != NULL;
}

/* pool.pml: cancelled, without its dequeue */
void client__give_back_locked(Claim *c)
{
	T pool = c->pool;

	ASSERT_LOCKED(pool);
	if (c->verdict == MAY_OPEN) {
		pool->opening--;
		c->host->open--;
	} else if (c->verdict == GIVEN) {
		c->slot->of.upstream->uses--;
		pool->stats.reused--;
		client__push_idle_locked(c->slot);
	}
	c->verdict = WAITING;
	client__serve_locked(pool);
}

/* Closes an idle connection whose place a waiter needs. Check-in does this, too, but a connection
 * may become idle in another way, or a hold-down may end and make a waiter need the place. Takes
 * the lock again in whatever way a deferred call leaves. pool.pml: make_room */
static void make_room_unlocks(T pool)
{
	int64_t at;
	Slot *victim;
	Departed d;

	if (!client__is_wanted_locked(pool) || !(victim = client__longest_idle_locked(pool, &at)))
		return;
	d = client__detach_locked(victim);
	client__serve_locked(pool);
	unlock_pool(pool);
	DEFER(lock_pool, pool);
	slots__close(d);
}

/* The waiting thread was cancelled, or a deferred call left this function. The lock is held. */
static void abandon_wait_unlocks(Waiter *w)
{
	T pool = w->claim->pool;

	if (w->claim->verdict == WAITING)
		dequeue_waiter_locked(pool, w);
	client__give_back_locked(w->claim);
	TRY {
		make_room_unlocks(pool);
	} ELSE { /* another exception, or a cancellation, is on its way */
	} END_TRY;
	unlock_pool(pool);
	w->claim->host = NULL;
}

typedef struct Waiting {
	Waiter *waiter;
	int is_over;
} Waiting;

static void end_wait(Waiting *waiting)
{
	if (!waiting->is_over)
		abandon_wait_unlocks(waiting->waiter);
	pthread_cond_destroy(&waiting->waiter->woken);
}

/* Sleeps once. Returns 0 after the deadline, or if the waiter can no longer be served. pool.pml:
 * sleep_or_leave, wake */
static int sleep_once_unlocks(T pool, Waiter *w, int64_t deadline)
{
	const Host *h = w->claim->host;
	int64_t until = deadline;

	if (h->held_until > socket__now_ms()) {
		if (h->open == 0)
			return 0;
		if (h->held_until < until)
			until = h->held_until;
	}
	if (!slots__wait_unlocks(pool, &w->woken, until) && until == deadline)
		return 0;
	client__serve_locked(pool); /* a hold-down may have ended */
	if (w->claim->verdict == WAITING)
		make_room_unlocks(pool);
	return 1;
}

void client__await_turn_unlocks(Claim *c, int64_t deadline, int cancel_state)
{
	T pool = c->pool;
	Waiter w = { .claim = c };
	Waiting waiting = { &w, 0 };
	int e = slots__make_condition(&w.woken), ours;

	if (e != 0) {
		unlock_pool(pool);
		errno = e;
		EXCEPT_RAISE_ERRNO(SocketPool_Failed, "checkout %s:%s: cannot wait", c->host->name,
			c->host->service);
	}
	enqueue_waiter_locked(pool, &w);
	DEFER(end_wait, &waiting);
	pthread_setcancelstate(cancel_state, &ours);
	while (c->verdict == WAITING && !pool->draining && sleep_once_unlocks(pool, &w, deadline))
		;
	pthread_setcancelstate(ours, NULL);
	if (c->verdict == WAITING)
		dequeue_waiter_locked(pool, &w);
	waiting.is_over = 1;
}

/* ---- connections that are checked out ---- */

const char *client__taken_by(Slot *slot, int *line)
{
	Upstream *u = slot->of.upstream;
	const char *file = LOAD(&u->file);

	*line = file ? u->line : 0;
	return file ? file : "?";
}

void client__shut_down_locked(T pool)
{
	Cursor at = { pool->segments, 0 };
	Slot *slot;

	while ((slot = slots__next_locked(pool, &at)) != NULL)
		if (slot->state == OUT) {
			STORE(&slot->state, SHUT);
			socket__shut(slot->u.socket);
		}
}
