/* SPDX-License-Identifier: MIT */
/* Connections to servers, checked out: an idle connection that works, or a place and a new
 * connection. The invariant is in pool/client.c. A checkout holds a Claim, which gives back what
 * it has, however the checkout ends. */
#include "config.h"

#include <errno.h>

#include "pool/rep.h"

#define T SocketPool_T

typedef struct Checkout {
	Claim claim;
	const char *host, *service;
	int timeout_ms;
	int64_t deadline;
	int cancel_state;        /* the caller's, while it waits, connects, or runs on_open */
	Upstream *upstream;      /* what the connection to open needs */
	Socket_T socket;
	Connection_T opened;     /* while on_open has it */
	int failed, error;       /* the connect failed, with this errno */
	void (*on_open)(Connection_T, void *); /* of the pool's limits; NULL: none */
	void *cl;
} Checkout;

/* ---- raises ---- */

static Slot *longest_out_locked(T pool, const Host *h)
{
	Cursor at = { pool->segments, 0 };
	Slot *slot, *longest = NULL;

	while ((slot = slots__next_locked(pool, &at)) != NULL)
		if (is_upstream(slot) && slot->state != IDLE && slot->of.upstream->host == h
				&& (!longest || slot->of.upstream->since < longest->of.upstream->since))
			longest = slot;
	return longest;
}

static void raise_timed_out_unlocks(T pool, const Host *h, const Checkout *to) CORE_NORETURN;
static void raise_timed_out_unlocks(T pool, const Host *h, const Checkout *to)
{
	Slot *slot = longest_out_locked(pool, h);
	size_t open = h->open, count = pool->count + pool->opening, max = pool->max;
	int line = 0;
	const char *file = slot ? client__taken_by(slot, &line) : "?";
	int64_t since = slot ? socket__now_coarse() - slot->of.upstream->since : 0;

	pool->stats.timed_out++;
	unlock_pool(pool);
	RAISE_FOR_ERRNO(SocketPool_Failed, ETIMEDOUT,
		"checkout %s:%s: none became free in %d ms; open: %zu there, %zu of %zu in all;"
		" out longest: for %lld ms, by %s:%d",
		to->host, to->service, to->timeout_ms, open, count, max, (long long)since, file, line);
}

/* Raises if no connection can come: the pool is drained, or the host is held down and has none.
 * Reads the clock once: a hold-down that ends in between is no timeout. */
static void check_hope_unlocks(T pool, const Host *h, const Checkout *to)
{
	int64_t held = h->open == 0 ? h->held_until - socket__now_ms() : 0;
	int is_draining = pool->draining, error = h->error;

	ASSERT_LOCKED(pool);
	if (!is_draining && held <= 0)
		return;
	unlock_pool(pool);
	errno = is_draining ? ESHUTDOWN : error;
	if (is_draining)
		RAISE_FOR_ERRNO(SocketPool_Failed, ESHUTDOWN, "checkout %s:%s: the pool is drained",
			to->host, to->service);
	EXCEPT_RAISE_ERRNO(SocketPool_Failed,
		"checkout %s:%s: held down for %lld ms more after failing to connect", to->host,
		to->service, (long long)held);
}

/* ---- an idle connection, or a place ---- */

/* Puts a slot or a place into the claim, or nothing if a hold-down has ended since the wait for its
 * end was given up. pool.pml: claim */
static void claim_slot_or_place(T pool, Checkout *to)
{
	Claim *c = &to->claim;
	Departed victim = { 0 };
	Slot *slot = NULL;
	int64_t at;
	Host *h;

	lock_pool(pool);
	h = host__find_unlocks(pool, to->host, to->service);
	check_hope_unlocks(pool, h, to);
	c->host = h;
	if (h->newest) {
		c->slot = client__pop_idle_locked(h);
		c->verdict = GIVEN;
	} else if (host__may_open_locked(pool, h)
			&& (has_place(pool) || (slot = client__longest_idle_locked(pool, &at)) != NULL)) {
		if (slot)
			victim = client__detach_locked(slot);
		client__reserve_locked(c);
	} else {
		client__await_turn_unlocks(c, to->deadline, to->cancel_state);
		if (c->verdict == WAITING) {
			check_hope_unlocks(pool, h, to);
			if (socket__now_ms() >= to->deadline)
				raise_timed_out_unlocks(pool, h, to);
		}
	}
	unlock_pool(pool);
	slots__close(victim);
}

static int is_fit_slot(const Slot *slot)
{
	return !is_expired(slot) && socket__is_quiet(slot->u.socket);
}

static Departed drop_unfit_slot_locked(T pool, Slot *slot)
{
	pool->stats.reused--;
	if (is_expired(slot))
		return client__expire_locked(slot);
	pool->stats.stale++;
	return client__detach_locked(slot);
}

/* Replaces a slot whose connection no longer works by the next idle one, or by its place. If the
 * host is held down now, leaves nothing in the claim. pool.pml: replace */
static void replace_unfit_slot(T pool, Claim *c)
{
	Departed d;

	lock_pool(pool);
	d = drop_unfit_slot_locked(pool, c->slot);
	c->verdict = WAITING;
	if (c->host->newest) {
		c->slot = client__pop_idle_locked(c->host);
		c->verdict = GIVEN;
	} else if (host__may_open_locked(pool, c->host))
		client__reserve_locked(c);
	client__serve_locked(pool);
	unlock_pool(pool);
	slots__close(d);
}

/* Leaves a slot that is fit, or a place, in the claim. */
static void claim_fit_slot_or_place(T pool, Checkout *to)
{
	do {
		claim_slot_or_place(pool, to);
		while (to->claim.verdict == GIVEN && !is_fit_slot(to->claim.slot))
			replace_unfit_slot(pool, &to->claim);
	} while (to->claim.verdict == WAITING);
}

/* ---- a new connection ---- */

static Upstream *take_upstream(T pool)
{
	Upstream *u;

	lock_pool(pool);
	u = pool->client.spare_upstreams;
	if (u)
		pool->client.spare_upstreams = u->next_free;
	unlock_pool(pool);
	if (!u)
		NEW0(pool->arena, u);
	return u;
}

/* The thread may be cancelled while it connects, but not while it holds the socket. */
static void connect_to_host(Checkout *to)
{
	const Host *h = to->claim.host;
	int ours;

	pthread_setcancelstate(to->cancel_state, &ours);
	TRY {
		to->socket = Socket_connect(h->name, h->service, socket__poll_ms(to->deadline));
	} ELSE {
		to->failed = 1;
		to->error = Except_errno();
		RERAISE;
	} END_TRY;
	pthread_setcancelstate(ours, NULL);
}

/* Shortens the time at random, so that connections that were made together do not end
 * together. */
static int64_t choose_expiry_locked(T pool, const Upstream *u)
{
	int64_t now = socket__now_coarse(), life = pool->limits.lifetime_ms;
	uint64_t random = ((uint64_t)now ^ (uintptr_t)u) * 0x9E3779B97F4A7C15u >> 32;

	return life > 0 ? now + life - (int64_t)(random % (uint64_t)(life / 10 + 1)) : SOCKET__NEVER;
}

/* pool.pml: open_connection, its first branch */
static Connection_T install_connection(T pool, Checkout *to)
{
	Host *h = to->claim.host;
	Upstream *u = to->upstream;
	Slot *slot;

	lock_pool(pool);
	if (pool->draining)
		check_hope_unlocks(pool, h, to);
	pool->opening--; /* it still counts as open at the host */
	h->failures = 0;
	u->host = h;
	u->uses = 1;
	u->expires = choose_expiry_locked(pool, u);
	slot = slots__attach_locked(pool, to->socket, OUT);
	slot->of.upstream = u;
	client__become_out_locked(slot);
	to->on_open = pool->limits.on_open;
	to->cl = pool->limits.cl;
	pool->stats.opened++;
	to->claim.verdict = WAITING;
	to->upstream = NULL;
	to->socket = NULL;
	unlock_pool(pool);
	return handle_of(slot);
}

/* Each call of on_open on the socket has the rest of the deadline. If on_open does not return,
 * the connection is closed. */
static void run_on_open(Checkout *to, Connection_T c)
{
	int ours;

	to->opened = c;
	Socket_set_timeout(Connection_socket(c), socket__poll_ms(to->deadline));
	pthread_setcancelstate(to->cancel_state, &ours);
	to->on_open(c, to->cl);
	pthread_setcancelstate(ours, NULL);
	CHECK(is_inside(c), "SocketPool_checkout: on_open has given away the connection to %s:%s",
		to->host, to->service);
	Socket_set_timeout(Connection_socket(c), -1);
	to->opened = NULL;
}

static Connection_T open_connection(T pool, Checkout *to)
{
	Connection_T c;

	to->upstream = take_upstream(pool);
	connect_to_host(to);
	c = install_connection(pool, to);
	if (to->on_open)
		run_on_open(to, c);
	return c;
}

/* ---- the ways out ---- */

/* Returns 0 for errors that are not caused by the host, which do not hold it down. */
static int is_hosts_fault(const Checkout *to)
{
	if (to->error == ETIMEDOUT)
		return to->timeout_ms < 0 || to->timeout_ms >= 1000;
	return to->error != 0 && !lacks_resources(to->error);
}

static void close_unopened(T pool, Connection_T c)
{
	Departed d = { 0 };

	lock_pool(pool);
	pool->stats.opened--;
	pool->stats.failed++;
	if (is_inside(c))
		d = client__detach_locked(slot_of(c));
	client__serve_locked(pool);
	unlock_pool(pool);
	TRY {
		slots__close(d);
	} ELSE { /* another exception, or a cancellation, is on its way */
	} END_TRY;
}

/* Gives back what did not become a connection of the caller, after a raise, a cancellation or a
 * C++ exception. pool.pml: open_connection, its second branch */
static void end_checkout(Checkout *to)
{
	T pool = to->claim.pool;

	if (to->opened)
		close_unopened(pool, to->opened);
	if (to->claim.verdict != WAITING) {
		Socket_close(&to->socket);
		lock_pool(pool);
		if (to->upstream) {
			to->upstream->next_free = pool->client.spare_upstreams;
			pool->client.spare_upstreams = to->upstream;
		}
		if (to->failed) {
			pool->stats.failed++;
			if (is_hosts_fault(to))
				host__hold_down_locked(pool, to->claim.host, to->error);
		}
		client__give_back_locked(&to->claim);
		client__dismiss_locked(pool); /* waiters that can no longer be served */
		unlock_pool(pool);
	}
	pthread_setcancelstate(to->cancel_state, NULL);
}

/* A thread that is cancelled while it holds a place, a slot or a socket would lose it. So it can
 * be cancelled only while it waits, connects or runs on_open. */
Connection_T checkout__run(T pool, const char *host, const char *service, int timeout_ms)
{
	Checkout to = { .claim = { .pool = pool }, .host = host, .service = service };

	to.timeout_ms = timeout_ms;
	to.deadline = socket__deadline_in(timeout_ms);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &to.cancel_state);
	DEFER(end_checkout, &to);
	claim_fit_slot_or_place(pool, &to);
	if (to.claim.verdict == MAY_OPEN)
		return open_connection(pool, &to);
	to.claim.verdict = WAITING; /* the caller has it */
	return handle_of(to.claim.slot);
}

static void restore_cancel_state(const int *state)
{
	pthread_setcancelstate(*state, NULL);
}

/* Takes an idle connection that works, and closes those before it that do not. */
Connection_T checkout__try(T pool, const char *host, const char *service)
{
	int cancel_state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	DEFER(restore_cancel_state, &cancel_state);
	for (;;) {
		Slot *slot = NULL;
		Departed d;
		Host *h;

		lock_pool(pool);
		h = pool->draining ? NULL : host__lookup_locked(pool, host, service);
		if (h && h->newest)
			slot = client__pop_idle_locked(h);
		unlock_pool(pool);
		if (!slot)
			return NULL;
		if (is_fit_slot(slot))
			return handle_of(slot);
		lock_pool(pool);
		d = drop_unfit_slot_locked(pool, slot);
		client__serve_locked(pool);
		unlock_pool(pool);
		slots__close(d);
	}
}
