/* SPDX-License-Identifier: MIT */
/* SocketPool: the interface of two pools, a server's table of its clients and a client's pool of
 * its servers. Both have their connections in the same slots (pool/slots.c), and share the
 * capacity. This file makes and ends pools, and has the functions for connections of both kinds.
 * pool/rep.h lists the files in their order.
 *
 * The connections' arenas are children of `arenas`. The arena of the pool disposes of its
 * children before it runs the deferred call that closes the sockets; the disposal of `arenas`
 * tells the pool that the connections' arenas are gone.
 *
 * The lock covers each step. It is never held while an arena allocates, a callback or a deferred
 * call runs, a socket is closed, or an exception is raised. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "pool/rep.h"

#define T SocketPool_T
#undef SocketPool_checkout
#undef SocketPool_try_checkout

EXCEPT_DEFINE(SocketPool_Failed, NULL, "socket pool operation failed");

static const uint32_t DEAD = 0xDEAD9001;

/* ---- leaving ---- */

static Departed detach_connection_locked(Slot *slot)
{
	return is_upstream(slot) ? client__detach_locked(slot) : table__detach_locked(slot);
}

/* Returns 0 if the connection is not inside any more. */
static int take_out_connection(Connection_T c, Departed *d)
{
	T pool = slot_of(c)->pool;
	int in;

	lock_pool(pool);
	in = is_inside(c);
	if (in)
		*d = detach_connection_locked(slot_of(c));
	client__serve_locked(pool);
	unlock_pool(pool);
	return in;
}

/* Socket_close calls it for a socket that is closed behind the pool's back. Does not raise. */
static void take_out_closed(Socket_T s, void *handle)
{
	Departed d = { 0 };

	(void)s;
	TRY {
		if (take_out_connection(handle, &d))
			slots__let_go(d);
	} ELSE {
	} END_TRY;
}

static void close_connections(T pool)
{
	Cursor at = { pool->segments, 0 };
	Departed d;

	do {
		Slot *slot;

		d.socket = NULL;
		lock_pool(pool);
		slot = slots__next_locked(pool, &at);
		if (slot)
			d = detach_connection_locked(slot);
		unlock_pool(pool);
		slots__close(d);
	} while (d.socket);
}

/* ---- lifecycle ---- */

/* Runs no code of the program: the connections' arenas, and with them their deferred calls, are
 * gone. */
static void end_pool(void *cl)
{
	T pool = cl;

	close_connections(pool);
	pool->magic = DEAD;
	slots__close_spare(pool);
	pthread_cond_destroy(&pool->emptied);
	pthread_mutex_destroy(&pool->lock);
}

/* Runs when the arena of the pool is disposed of, cleared, or rewound past it. */
static void dispose_pool(void *cl)
{
	T pool = cl;

	if (pool->magic != MAGIC)
		return;
	DEFER(end_pool, pool);
	Arena_dispose(&pool->arenas);
}

/* Notes that the connections' arenas and their parent are gone. */
static void forget_arenas(void *cl)
{
	T pool = cl;
	Cursor at = { pool->segments, 0 };
	Lease *lease;
	Slot *slot;

	lock_pool(pool);
	pool->arenas = NULL;
	while ((slot = slots__next_locked(pool, &at)) != NULL)
		if (slot->lease) {
			slots__return_lease_locked(slot->lease);
			STORE(&slot->lease, NULL);
		}
	for (lease = pool->leases; lease; lease = lease->next)
		lease->arena = NULL;
	unlock_pool(pool);
}

/* Reserves memory for the deferred call, so that only the first line can raise. */
static Arena_T make_parent_arena(T pool)
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
	size_t size;

	CHECK(arena, "SocketPool_new: the arena is NULL");
	CHECK(max_conns > 0, "SocketPool_new: a pool of 0 connections");
	pool = CALLOC(arena, 1, sizeof *pool);
	pool->arena = arena;
	pool->max = max_conns;
	pool->buf_size = buf_size;
	pool->end = &pool->segments;
	pool->spare = pool->idle_ms = -1;
	pool->leaving = take_out_closed;
	size = slots__segment_size(0, max_conns);
	lazyheap__move(&pool->table.heap, lazyheap__room(arena, size), size);
	slots__link_segment_locked(pool, slots__new_segment(arena, size));
	Arena_defer(arena, dispose_pool, pool);
	slots__make_lock(pool);
	pool->magic = MAGIC;
	pool->arenas = make_parent_arena(pool);
	return pool;
}

/* ---- idle ---- */

/* Returns the connection to evict first, and stores its last use; NULL if there is none. */
typedef Slot *Order(T pool, int64_t *at);

static Slot *longest_unused_locked(T pool, int64_t *at)
{
	int64_t idle_at;
	Slot *added = table__longest_unused_locked(pool, at);
	Slot *idle = client__longest_idle_locked(pool, &idle_at);

	if (!idle || (added && *at <= idle_at))
		return added;
	*at = idle_at;
	return idle;
}

/* Returns 0 if no connection was last used at `cut` or before. */
static int evict_if_older(T pool, Order *order_locked, int64_t cut)
{
	Departed d = { 0 };
	int64_t at;
	Slot *slot;

	lock_pool(pool);
	slot = order_locked(pool, &at);
	if (slot && at <= cut) {
		d = detach_connection_locked(slot);
		pool->stats.evicted++;
		client__serve_locked(pool);
	}
	unlock_pool(pool);
	slots__close(d);
	return d.socket != NULL;
}

static size_t evict_older(T pool, Order *order_locked, int64_t cut)
{
	size_t n = 0;

	while (evict_if_older(pool, order_locked, cut))
		n++;
	return n;
}

static void evict_over_idle_limit(T pool)
{
	int idle_ms = LOAD(&pool->idle_ms);

	if (idle_ms >= 0)
		SocketPool_evict_idle(pool, idle_ms);
}

size_t SocketPool_evict_idle(T pool, int idle_ms)
{
	CHECK_POOL(pool);
	return idle_ms < 0 ? 0 : evict_older(pool, longest_unused_locked, slots__unused_since(idle_ms));
}

/* ---- in and out ---- */

/* Returns the socket's connection if it is in this pool. */
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
		evict_over_idle_limit(pool);
		table__provide_peer(pool);
		lock_pool(pool);
		in = socket__owner(s) != NULL;
		if (!in)
			c = table__add_locked(pool, s);
		unlock_pool(pool);
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
	Departed d;

	CHECK_POOL(pool);
	CHECK(s, "SocketPool_remove: the socket is NULL");
	c = connection_of(pool, s);
	if (!c || !take_out_connection(c, &d))
		return NULL;
	if (d.lease || d.output)
		slots__let_go(d);
	return s;
}

void SocketPool_close(T pool, Socket_T *socket)
{
	CHECK_POOL(pool);
	CHECK(socket && *socket, "SocketPool_close: the socket is NULL");
	DEFER(Socket_close, socket);
	socket__leave_poll(*socket);
	SocketPool_remove(pool, *socket);
}

static size_t read_size_with_lock(T pool, const size_t *field)
{
	size_t n;

	lock_pool(pool);
	n = *field;
	unlock_pool(pool);
	return n;
}

size_t SocketPool_count(T pool)
{
	CHECK_POOL(pool);
	return read_size_with_lock(pool, &pool->count);
}

size_t SocketPool_capacity(T pool)
{
	CHECK_POOL(pool);
	return read_size_with_lock(pool, &pool->max);
}

/* ---- all of them ---- */

static Connection_T next_connection(T pool, Cursor *at)
{
	Slot *slot;
	Connection_T c;

	lock_pool(pool);
	slot = slots__next_locked(pool, at);
	c = slot ? handle_of(slot) : NULL;
	unlock_pool(pool);
	return c;
}

void SocketPool_map(T pool, void (*apply)(Connection_T, void *), void *cl)
{
	Cursor at;
	Connection_T c;

	CHECK_POOL(pool);
	CHECK(apply, "SocketPool_map: the function is NULL");
	at = (Cursor){ pool->segments, 0 };
	while ((c = next_connection(pool, &at)) != NULL)
		apply(c, cl);
}

/* ---- sweeping ---- */

/* Returns 0 if no connection has expired. Otherwise lowers *next to the time at which the first
 * of the others expires. */
static int expire_one(T pool, int64_t *next)
{
	Departed d = { 0 };
	Slot *slot;

	lock_pool(pool);
	*next = SOCKET__NEVER;
	for (slot = pool->client.earliest; slot && !is_expired(slot); slot = slot->of.upstream->later)
		if (slot->of.upstream->expires < *next)
			*next = slot->of.upstream->expires;
	if (slot) {
		d = client__expire_locked(slot);
		client__serve_locked(pool);
	}
	unlock_pool(pool);
	slots__close(d);
	return d.socket != NULL;
}

int SocketPool_sweep(T pool)
{
	int64_t next, at;
	int idle_ms;

	CHECK_POOL(pool);
	idle_ms = LOAD(&pool->idle_ms);
	evict_over_idle_limit(pool);
	while (expire_one(pool, &next))
		;
	if (idle_ms >= 0) {
		lock_pool(pool);
		if (longest_unused_locked(pool, &at) && at + idle_ms < next)
			next = at + idle_ms;
		unlock_pool(pool);
	}
	return next == SOCKET__NEVER ? -1 : socket__poll_ms(next + 1);
}

/* ---- draining ---- */

typedef struct Eviction {
	T pool;
	int done;
} Eviction;

/* Continues after a deferred call that raised; and, because it defers itself, after one that
 * threw or ended the thread. */
static void evict_rest(Eviction *e)
{
	if (e->done)
		return;
	DEFER(evict_rest, e);
	while (!e->done)
		TRY {
			evict_older(e->pool, longest_unused_locked, INT64_MAX - 1);
			e->done = 1;
		} ELSE {
		} END_TRY;
}

/* Closes all connections of the order. If deferred calls raise, it closes all of them first, and
 * then the first exception goes on. */
static void evict_all(T pool, Order *order_locked)
{
	Eviction e = { pool, 0 };

	DEFER(evict_rest, &e);
	evict_older(pool, order_locked, INT64_MAX - 1);
	e.done = 1;
}

/* Waits until all have left. */
static void await_empty_pool(T pool, int64_t deadline)
{
	lock_pool(pool);
	DEFER(unlock_pool, pool);
	while (pool->count > 0 && slots__wait_unlocks(pool, &pool->emptied, deadline))
		;
	client__shut_down_locked(pool);
}

void SocketPool_drain(T pool, int timeout_ms)
{
	int64_t deadline = socket__deadline_in(timeout_ms);

	CHECK_POOL(pool);
	lock_pool(pool);
	pool->draining = 1;
	client__dismiss_locked(pool);
	unlock_pool(pool);
	evict_all(pool, client__longest_idle_locked);
	await_empty_pool(pool, deadline);
	evict_all(pool, longest_unused_locked);
}

/* ---- limits and statistics ---- */

void SocketPool_set_limits(T pool, const SocketPool_Limits *limits)
{
	CHECK_POOL(pool);
	CHECK(limits, "SocketPool_set_limits: the limits are NULL");
	if (limits->per_address > 0)
		table__provide_peers(pool);
	lock_pool(pool);
	pool->limits = *limits;
	STORE(&pool->idle_ms, limits->idle_ms > 0 ? limits->idle_ms : -1);
	STORE(&pool->table.counting, limits->per_address > 0);
	/* A time in the past would not do: the clock may have just begun. */
	pool->table.tokens = limits->rate * (int64_t)1000;
	pool->table.refilled = socket__now_ms();
	client__serve_locked(pool);
	unlock_pool(pool);
}

void SocketPool_stats(T pool, SocketPool_Stats *stats)
{
	CHECK_POOL(pool);
	CHECK(stats, "SocketPool_stats: the statistics are NULL");
	lock_pool(pool);
	*stats = pool->stats;
	stats->count = pool->count;
	stats->capacity = pool->max;
	unlock_pool(pool);
}

static int describe_checkout_locked(Slot *slot, char *line, size_t size)
{
	const Upstream *u = slot->of.upstream;
	const char *file;
	int at;

	if (!is_upstream(slot) || slot->state == IDLE)
		return 0;
	file = client__taken_by(slot, &at);
	text__format(line, size, "%s:%s checked out for %lld ms by %s:%d", u->host->name,
		u->host->service, (long long)(socket__now_coarse() - u->since), file, at);
	return 1;
}

/* Holds no lock while it writes. */
void SocketPool_report(T pool, FILE *out)
{
	char line[512];
	Cursor at;
	Slot *slot;

	CHECK_POOL(pool);
	CHECK(out, "SocketPool_report: the file is NULL");
	at = (Cursor){ pool->segments, 0 };
	do {
		lock_pool(pool);
		while ((slot = slots__next_locked(pool, &at)) != NULL
				&& !describe_checkout_locked(slot, line, sizeof line))
			;
		unlock_pool(pool);
		if (slot)
			fprintf(out, "%s\n", line);
	} while (slot);
}

/* ---- checkout ---- */

static void check_target(T pool, const char *host, const char *service, const char *function)
{
	if (!pool || pool->magic != MAGIC)
		slots__bad_pool(pool, function);
	CHECK(host, "%s: the host is NULL", function);
	CHECK(service || strncmp(host, "unix:", 5) == 0, "%s: the service is NULL", function);
}

Connection_T SocketPool_checkout(T pool, const char *host, const char *service, int timeout_ms)
{
	int error = errno;
	Connection_T c;

	check_target(pool, host, service, "SocketPool_checkout");
	evict_over_idle_limit(pool);
	c = checkout__run(pool, host, service ? service : "", timeout_ms);
	errno = error;
	return c;
}

Connection_T SocketPool_try_checkout(T pool, const char *host, const char *service)
{
	int error = errno;
	Connection_T c;

	check_target(pool, host, service, "SocketPool_try_checkout");
	evict_over_idle_limit(pool);
	c = checkout__try(pool, host, service ? service : "");
	errno = error;
	return c;
}

Connection_T SocketPool__at(Connection_T c, const char *file, int line)
{
	Upstream *u;

	CHECK(c, "SocketPool__at: the connection is NULL");
	CHECK(is_inside(c) && is_upstream(slot_of(c)), "SocketPool__at: %p is not checked out",
		(void *)c);
	u = slot_of(c)->of.upstream; /* it belongs to this caller */
	u->line = line;
	STORE(&u->file, file);
	return c;
}

Connection_T SocketPool__at_any(Connection_T c, const char *file, int line)
{
	return c ? SocketPool__at(c, file, line) : NULL;
}
