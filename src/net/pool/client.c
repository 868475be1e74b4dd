/* SPDX-License-Identifier: MIT */
/* SocketPool, continued: connections to servers, checked out; pool/checkin.c takes them back. The slots are those
 * of SocketPool.c.
 *
 * Invariant, under the lock: a host's `open` counts its slots and those being opened; those that
 * are checked in are a list from the newest to the oldest. A slot with an upstream is IDLE and in the heap, or
 * ACTIVE or DRAINING and a caller's. pool->opening places are reserved for connections being opened. Nobody is on the
 * list of waiters who could be served: so whoever finds something to take overtakes nobody. Of those who wait for one
 * host the first is served first; who waits for another is passed over PASSES times at most (pool/checkin.c).
 *
 * Who serves a waiter takes it off the list and gives it what it waits for, a slot or a place, in one step; a waiter
 * that gives up looks, under the lock, whether it was served first, and then has what it was given. A cancelled thread
 * gives it back. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <core/SocketPool.h>
#include "pool/rep.h"

#define T SocketPool_T
#undef SocketPool_checkout

/* ---- idle connections, and places for new ones; lock held ---- */

void socketpool__push_idle(Slot *slot)
{
	Upstream *u = slot->upstream;
	Host *h = u->host;

	slot->state = IDLE;
	u->newer = NULL;
	u->older = h->newest;
	if (h->newest)
		h->newest->upstream->newer = slot;
	h->newest = slot;
	slot->pool->stats.idle++;
	lazyheap__update(&slot->pool->heap, &slot->place);
}

static void unlink_idle(Slot *slot)
{
	Upstream *u = slot->upstream;

	if (u->newer)
		u->newer->upstream->older = u->older;
	else
		u->host->newest = u->older;
	if (u->older)
		u->older->upstream->newer = u->newer;
	slot->pool->stats.idle--;
	lazyheap__remove(&slot->pool->heap, &slot->place);
}

/* For the caller, who is to say where it is. */
static void become_active(Slot *slot)
{
	slot->state = ACTIVE;
	slot->upstream->since = socket__now_coarse();
	STORE(&slot->upstream->file, NULL);
	slot->pool->stats.checked_out++;
}

static Slot *pop_idle(Host *h)
{
	Slot *slot = h->newest;

	unlink_idle(slot);
	become_active(slot);
	slot->upstream->uses++;
	slot->pool->stats.reused++;
	return slot;
}

void socketpool__upstream_leaves(Slot *slot)
{
	T pool = slot->pool;
	Upstream *u = slot->upstream;

	if (slot->state == IDLE)
		unlink_idle(slot);
	else
		pool->stats.checked_out--;
	u->host->open--;
	u->next_free = pool->spare_upstreams;
	pool->spare_upstreams = u;
	slot->upstream = NULL;
}

static void reserve(T pool, Host *h)
{
	pool->opening++;
	h->open++;
}

static void unreserve(T pool, Host *h)
{
	pool->opening--;
	h->open--;
}

/* ---- waiters; lock held ---- */

static void enqueue(T pool, Waiter *w)
{
	w->previous = pool->last;
	if (pool->last)
		pool->last->next = w;
	else
		pool->first = w;
	pool->last = w;
	w->host->waiting++;
	pool->stats.waiting++;
}

static void dequeue(T pool, Waiter *w)
{
	if (w->previous)
		w->previous->next = w->next;
	else
		pool->first = w->next;
	if (w->next)
		w->next->previous = w->previous;
	else
		pool->last = w->previous;
	w->host->waiting--;
	pool->stats.waiting--;
}

static void serve_one(T pool, Waiter *w, Verdict verdict)
{
	dequeue(pool, w);
	w->verdict = verdict;
	pthread_cond_signal(&w->woken);
}

/* Each in its turn gets what there is for it: first come, first served. */
void socketpool__serve(T pool)
{
	Waiter *w, *next;

	for (w = pool->draining ? NULL : pool->first; w; w = next) {
		next = w->next;
		if (w->host->newest) {
			w->given = pop_idle(w->host);
			serve_one(pool, w, GIVEN);
		} else if (has_place(pool) && host_may_open(pool, w->host)) {
			reserve(pool, w->host);
			serve_one(pool, w, MAY_OPEN);
		}
	}
}

void socketpool__dismiss(T pool)
{
	Waiter *w;

	for (w = pool->first; w; w = w->next)
		pthread_cond_signal(&w->woken);
}

/* Whether the place of an idle connection is what a waiter for another host needs. */
int socketpool__is_wanted(T pool)
{
	const Waiter *w = has_place(pool) ? NULL : pool->first;

	while (w && !host_may_open(pool, w->host))
		w = w->next;
	return w != NULL;
}

/* Of all hosts'. */
static Slot *least_recent_idle(T pool)
{
	Slot *slot, *least = NULL;
	const Host *h;
	int i;

	for (i = 0; i < BUCKETS; i++)
		for (h = pool->hosts[i]; h; h = h->next)
			for (slot = h->newest; slot; slot = slot->upstream->older)
				if (!least || connection__last_used(slot) < connection__last_used(least))
					least = slot;
	return least;
}

/* The idle connection, of another host, that was used least recently. The heap does not tell when its first was added, and
 * is not ours to close. */
static Slot *least_recent(T pool)
{
	int64_t at;
	uint32_t *place = lazyheap__first(&pool->heap, &at);
	Slot *slot = place ? slot_at(place) : NULL;

	if (slot && !slot->upstream)
		slot = pool->stats.idle > 0 ? least_recent_idle(pool) : NULL;
	return slot;
}

/* An idle connection goes whose place somebody waits for. Check-in sees to that, but not where one becomes idle otherwise,
 * or is wanted only now that a hold-down has ended (src/test/models/pool.pml). The lock is let go of meanwhile. */
static void make_room(T pool)
{
	Slot *victim = socketpool__is_wanted(pool) ? least_recent(pool) : NULL;
	Socket_T s;

	if (!victim)
		return;
	s = victim->u.socket;
	socketpool__detach(victim); /* its arena went when it was checked in */
	socketpool__serve(pool);
	unlock(pool);
	Socket_close(&s);
	lock(pool);
}

/* What checkout was asked for. */
typedef struct Target {
	const char *host, *service;
	int timeout_ms;
	int64_t deadline;
	int cancel_state;        /* the caller's, while it waits */
} Target;

/* The thread that waits was cancelled, and has the lock. */
static void cancelled(void *cl)
{
	Waiter *w = cl;
	T pool = w->pool;

	if (w->verdict == WAITING)
		dequeue(pool, w);
	else if (w->verdict == MAY_OPEN)
		unreserve(pool, w->host);
	else {
		w->given->upstream->uses--;
		pool->stats.reused--;
		pool->stats.checked_out--;
		socketpool__push_idle(w->given);
	}
	socketpool__serve(pool);
	make_room(pool);
	unlock(pool);
	pthread_cond_destroy(&w->woken);
}

/* Until it is served, the deadline, or there is no hope: then it is off the list and still WAITING. */
static void await_turn(T pool, Waiter *w, const Target *to)
{
	int64_t deadline = to->deadline;
	int ours;

	pthread_cleanup_push(cancelled, w);
	pthread_setcancelstate(to->cancel_state, &ours);
	while (w->verdict == WAITING && !pool->draining) {
		int64_t until = deadline;

		if (w->host->held_until > socket__now_ms()) {
			if (w->host->open == 0)
				break;
			if (w->host->held_until < until)
				until = w->host->held_until;
		}
		if (!socketpool__wait(pool, &w->woken, until) && until == deadline)
			break;
		socketpool__serve(pool); /* a hold-down may have ended */
		if (w->verdict == WAITING)
			make_room(pool);
	}
	pthread_setcancelstate(ours, NULL);
	pthread_cleanup_pop(0);
	if (w->verdict == WAITING)
		dequeue(pool, w);
}

/* ---- what checkout raises; lock held, and given up ---- */

static Slot *longest_out(T pool, const Host *h)
{
	Segment *segment = pool->segments;
	size_t next = 0;
	Slot *slot, *longest = NULL;

	while ((slot = socketpool__next(&segment, &next)) != NULL)
		if (slot->upstream && slot->upstream->host == h && slot->state != IDLE
				&& (!longest || slot->upstream->since < longest->upstream->since))
			longest = slot;
	return longest;
}

static void timed_out(T pool, const Host *h, const Target *to) CORE_NORETURN;
static void timed_out(T pool, const Host *h, const Target *to)
{
	Slot *slot = longest_out(pool, h);
	size_t open = h->open, count = pool->count + pool->opening, max = pool->max;
	int line = 0;
	const char *file = slot ? taken_by(slot->upstream, &line) : "?";
	int64_t since = slot ? socket__now_coarse() - slot->upstream->since : 0;

	pool->stats.timed_out++;
	unlock(pool);
	RAISE_FOR_ERRNO(SocketPool_Failed, ETIMEDOUT, "checkout %s:%s: none became free in %d ms; open: %zu there, %zu of %zu in all;"
		" out longest: for %lld ms, by %s:%d", to->host, to->service, to->timeout_ms, open, count, max,
		(long long)since, file, line);
}

static void refuse(T pool, const Host *h, const Target *to) CORE_NORETURN;
static void refuse(T pool, const Host *h, const Target *to)
{
	int64_t held = h->held_until - socket__now_ms();
	int is_draining = pool->draining, error = h->error;

	if (!is_draining && !(held > 0 && h->open == 0))
		timed_out(pool, h, to);
	unlock(pool);
	errno = is_draining ? ESHUTDOWN : error;
	if (is_draining)
		RAISE_FOR_ERRNO(SocketPool_Failed, ESHUTDOWN, "checkout %s:%s: the pool is drained", to->host, to->service);
	EXCEPT_RAISE_ERRNO(SocketPool_Failed, "checkout %s:%s: held down for %lld ms more after failing to connect",
		to->host, to->service, (long long)held);
}

/* ---- checkout ---- */

/* A slot, or NULL for a place; either is the caller's. Lock held, and given up. */
static Slot *wait_for_turn(T pool, Host *h, const Target *to)
{
	Waiter w = { 0 };
	int e = socketpool__condition(&w.woken);

	if (e != 0) {
		unlock(pool);
		errno = e;
		EXCEPT_RAISE_ERRNO(SocketPool_Failed, "checkout %s:%s: cannot wait", to->host, to->service);
	}
	w.pool = pool;
	w.host = h;
	enqueue(pool, &w);
	await_turn(pool, &w, to);
	pthread_cond_destroy(&w.woken);
	if (w.verdict == WAITING)
		refuse(pool, h, to);
	unlock(pool);
	return w.given;
}

/* As wait_for_turn, but looks first, and the lock is not held. */
static Slot *claim(T pool, const Target *to, Host **host)
{
	Host *h = *host = socketpool__find_host(pool, to->host, to->service);
	Slot *slot = NULL, *victim = NULL;
	Socket_T s = NULL;

	if (pool->draining || (!h->newest && h->held_until > socket__now_ms() && h->open == 0))
		refuse(pool, h, to);
	if (h->newest)
		slot = pop_idle(h);
	else if (host_may_open(pool, h) && (has_place(pool) || (victim = least_recent(pool)) != NULL)) {
		if (victim) {
			s = victim->u.socket;
			socketpool__detach(victim); /* its arena went when it was checked in */
		}
		reserve(pool, h);
	} else
		return wait_for_turn(pool, h, to);
	unlock(pool);
	Socket_close(&s);
	return slot;
}

static int is_fit(const Slot *slot)
{
	return slot->upstream->expires > socket__now_coarse() && socket__is_quiet(slot->u.socket);
}

/* For one that is not fit any more the next idle one, or its place. */
static Slot *replace(T pool, Slot *slot)
{
	Host *h = slot->upstream->host;
	Socket_T s = slot->u.socket;
	Slot *next = NULL;

	lock(pool);
	socketpool__detach(slot);
	pool->stats.reused--;
	pool->stats.stale++;
	if (h->newest)
		next = pop_idle(h);
	else
		reserve(pool, h);
	socketpool__serve(pool);
	unlock(pool);
	Socket_close(&s);
	return next;
}

static Upstream *take_upstream(T pool)
{
	Upstream *u;

	lock(pool);
	u = pool->spare_upstreams;
	if (u)
		pool->spare_upstreams = u->next_free;
	unlock(pool);
	if (!u)
		NEW0(pool->arena, u);
	return u;
}

/* What is not the host's fault does not hold it down. */
static int is_hosts_fault(int error, const Target *to)
{
	if (error == ETIMEDOUT)
		return to->timeout_ms < 0 || to->timeout_ms >= 1000;
	return error != 0 && error != EMFILE && error != ENFILE && error != ENOMEM && error != ENOBUFS;
}

static void failed_to_open(T pool, Host *h, Upstream *u, const Target *to, int error)
{
	lock(pool);
	unreserve(pool, h);
	if (u) {
		u->next_free = pool->spare_upstreams;
		pool->spare_upstreams = u;
		pool->stats.failed++;
		if (is_hosts_fault(error, to))
			socketpool__hold_down(pool, h, error);
	}
	socketpool__serve(pool);
	socketpool__dismiss(pool); /* those for whom there is no hope now */
	unlock(pool);
}

/* Connections made together are not to end together. */
static int64_t expiry(T pool, const Upstream *u)
{
	int64_t now = socket__now_coarse(), life = pool->limits.lifetime_ms;
	uint64_t random = ((uint64_t)now ^ (uintptr_t)u) * 0x9E3779B97F4A7C15u >> 32;

	return life > 0 ? now + life - (int64_t)(random % (uint64_t)(life / 10 + 1)) : SOCKET__NEVER;
}

static Connection_T install(T pool, Host *h, Upstream *u, Socket_T s, const Target *to)
{
	Connection_T c;

	lock(pool);
	if (pool->draining) {
		unlock(pool);
		Socket_close(&s);
		failed_to_open(pool, h, u, to, 0);
		lock(pool);
		refuse(pool, h, to);
	}
	pool->opening--; /* it stays open at the host */
	h->failures = 0;
	u->host = h;
	u->uses = 1;
	u->expires = expiry(pool, u);
	c = socketpool__attach(pool, s, u);
	become_active(slot_of(c));
	pool->stats.opened++;
	unlock(pool);
	return c;
}

static Connection_T open_connection(T pool, Host *h, const Target *to)
{
	Upstream *u = NULL;
	Socket_T s = NULL;

	PROTECT(u);
	PROTECT(s);
	TRY {
		u = take_upstream(pool);
		s = Socket_connect(h->name, h->service, socket__poll_ms(to->deadline));
	} ELSE {
		failed_to_open(pool, h, u, to, Except_errno());
		RERAISE;
	} END_TRY;
	return install(pool, h, u, s, to);
}

static Connection_T find_or_open(T pool, const Target *to)
{
	Host *h;
	Slot *slot;

	SocketPool_evict_idle(pool, LOAD(&pool->idle_ms));
	slot = claim(pool, to, &h);
	while (slot && !is_fit(slot))
		slot = replace(pool, slot);
	return slot ? handle_of(slot) : open_connection(pool, h, to);
}

/* To be cancelled while it has a place, a slot or a socket in its hands would lose it. */
Connection_T SocketPool_checkout(T pool, const char *host, const char *service, int timeout_ms)
{
	Target to = { host, service ? service : "", timeout_ms, socket__deadline_in(timeout_ms), 0 };
	Connection_T c = NULL;

	CHECK_POOL(pool);
	CHECK(host, "SocketPool_checkout: the host is NULL");
	CHECK(service || strncmp(host, "unix:", 5) == 0, "SocketPool_checkout: the service is NULL");
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &to.cancel_state);
	TRY {
		c = find_or_open(pool, &to);
	} ELSE { /* not FINALLY: a thread that is cancelled skips it, and --enable-debug says so */
		pthread_setcancelstate(to.cancel_state, NULL);
		RERAISE;
	} END_TRY;
	pthread_setcancelstate(to.cancel_state, NULL);
	return c;
}

Connection_T SocketPool__at(Connection_T c, const char *file, int line)
{
	Upstream *u = slot_of(c)->upstream; /* the caller's, who has just been given it */

	u->line = line;
	STORE(&u->file, file);
	return c;
}
