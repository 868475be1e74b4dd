/* SPDX-License-Identifier: MIT */
/* SocketPool, continued: who may come in, and who has to go. Addresses are counted in chains of records that are used
 * again; a bucket of tokens holds what may come in a second. The representation is in SocketPool.c. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <core/SocketPool.h>
#include "pool/rep.h"

#define T SocketPool_T

enum {
	PEERS_AT_ONCE = 32,
	PAUSE = 50 /* ms to leave a listener alone when nothing tells when there will be room */
};

/* ---- per address ---- */

/* Memory for the address of one more, while no lock is held. */
void socketpool__provide_peer(T pool)
{
	Peer *peers = NULL;
	int i, enough;

	if (!LOAD(&pool->counting))
		return;
	lock(pool);
	enough = pool->spare_peers != NULL;
	unlock(pool);
	if (enough)
		return;
	peers = ALLOC(pool->arena, PEERS_AT_ONCE * sizeof *peers);
	lock(pool);
	for (i = 0; i < PEERS_AT_ONCE; i++) {
		peers[i].next = pool->spare_peers;
		pool->spare_peers = &peers[i];
	}
	unlock(pool);
}

static Peer **find_peer(T pool, uint64_t key)
{
	Peer **p = &pool->peers[key * 0x9E3779B97F4A7C15u >> 50]; /* Fibonacci hashing: the 14 top bits */

	while (*p && (*p)->key != key)
		p = &(*p)->next;
	return p;
}

/* 0 when the address has as many as it may. Another thread may have taken the record that was provided. */
static int count_peer(T pool, uint64_t key, size_t most)
{
	Peer **p = find_peer(pool, key), *fresh = pool->spare_peers;

	if (*p)
		return (*p)->n < most && ++(*p)->n;
	if (!fresh)
		return 0;
	pool->spare_peers = fresh->next;
	fresh->next = NULL;
	fresh->key = key;
	fresh->n = 1;
	*p = fresh;
	return 1;
}

void socketpool__uncount(T pool, Socket_T s)
{
	Peer **p = find_peer(pool, socket__peer_key(s)), *peer = *p;

	if (!peer)
		CORRUPT("a socket pool has a connection whose address is not counted");
	if (--peer->n > 0)
		return;
	*p = peer->next;
	peer->next = pool->spare_peers;
	pool->spare_peers = peer;
}

/* ---- rate ---- */

/* Lock held. How long until one may come; 0: now. */
static int64_t until_token(T pool)
{
	int64_t rate = pool->limits.rate, now = socket__now_ms(), past = now - pool->refilled;

	if (rate <= 0)
		return 0;
	pool->tokens = past >= 1000 ? rate * 1000 : pool->tokens + past * rate; /* no more than a second's */
	if (pool->tokens > rate * 1000)
		pool->tokens = rate * 1000;
	pool->refilled = now;
	return pool->tokens >= 1000 ? 0 : (1000 - pool->tokens + rate - 1) / rate;
}

static int is_full(T pool)
{
	return pool->count + pool->opening >= pool->max;
}

int socketpool__may_add(T pool, Socket_T s, int *counted)
{
	uint64_t key = socket__peer_key(s);
	size_t most = pool->limits.per_address;

	*counted = 0;
	if (pool->draining || is_full(pool) || until_token(pool) > 0)
		return 0;
	if (most > 0 && key != 0) {
		if (!count_peer(pool, key, most))
			return 0;
		*counted = 1;
	}
	pool->tokens -= 1000;
	return 1;
}

static int has_peers(T pool)
{
	int has;

	lock(pool);
	has = pool->peers != NULL;
	unlock(pool);
	return has;
}

void SocketPool_set_limits(T pool, const SocketPool_Limits *limits)
{
	Peer **peers = NULL;

	CHECK_POOL(pool);
	CHECK(limits, "SocketPool_set_limits: the limits are NULL");
	if (limits->per_address > 0 && !has_peers(pool))
		peers = CALLOC(pool->arena, PEER_BUCKETS, sizeof *peers);
	lock(pool);
	pool->limits = *limits;
	STORE(&pool->idle_ms, limits->idle_ms > 0 ? limits->idle_ms : -1);
	if (peers && !pool->peers)
		pool->peers = peers;
	STORE(&pool->counting, limits->per_address > 0);
	pool->refilled = 0;
	socketpool__serve(pool);
	unlock(pool);
}

void SocketPool_stats(T pool, SocketPool_Stats *stats)
{
	CHECK_POOL(pool);
	CHECK(stats, "SocketPool_stats: the statistics are NULL");
	lock(pool);
	*stats = pool->stats;
	stats->count = pool->count;
	stats->capacity = pool->max;
	unlock(pool);
}

static int describe(Slot *slot, char *line, size_t size)
{
	Upstream *u = slot->upstream;
	const char *file;
	int at;

	if (!u || slot->state == IDLE)
		return 0;
	file = taken_by(u, &at);
	snprintf(line, size, "%s:%s checked out for %lld ms by %s:%d", u->host->name, u->host->service,
		(long long)(socket__now_coarse() - u->since), file, at);
	return 1;
}

/* No lock is held while it writes. */
void SocketPool_report(T pool, FILE *out)
{
	Segment *segment;
	size_t next = 0;
	char line[512];
	Slot *slot;

	CHECK_POOL(pool);
	CHECK(out, "SocketPool_report: the file is NULL");
	segment = pool->segments;
	do {
		lock(pool);
		while ((slot = socketpool__next(&segment, &next)) != NULL && !describe(slot, line, sizeof line))
			;
		unlock(pool);
		if (slot)
			fprintf(out, "%s\n", line);
	} while (slot);
}

/* ---- accepting ---- */

static int64_t time_until_room(T pool)
{
	int64_t ms;

	lock(pool);
	ms = pool->draining ? -1 : is_full(pool) ? PAUSE : until_token(pool);
	unlock(pool);
	return ms;
}

static int lacks_resources(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* open and close are cancellation points, at which a descriptor would be lost. */
static void keep_spare(T pool)
{
	int fd, cancel, none = -1;

	if (LOAD(&pool->spare) >= 0)
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && !__atomic_compare_exchange_n(&pool->spare, &none, fd, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		close(fd);
	pthread_setcancelstate(cancel, NULL);
}

/* Returns 0 if there was none. */
static int give_up_spare(T pool)
{
	int fd = __atomic_exchange_n(&pool->spare, -1, __ATOMIC_ACQ_REL), cancel;

	if (fd < 0)
		return 0;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	close(fd);
	pthread_setcancelstate(cancel, NULL);
	return 1;
}

/* Closes one client's connection, so that it does not wait in the backlog for what may take long. The connection
 * is closed before the spare descriptor is made anew: there is no other. */
static void shed(T pool, Socket_T listener)
{
	if (!give_up_spare(pool))
		return;
	DEFER(keep_spare, pool);
	AUTO(Socket_T, s, Socket_close) = NULL;
	TRY {
		s = Socket_accept(listener);
	} EXCEPT(Socket_Failed) {
	} END_TRY;
	if (s) {
		lock(pool);
		pool->stats.shed++;
		unlock(pool);
	}
}

static Socket_T accept_or_shed(T pool, Socket_T listener, int *pause_ms)
{
	Socket_T s = NULL;

	PROTECT(s);
	TRY {
		s = Socket_accept(listener);
	} EXCEPT(Socket_Failed) {
		if (!lacks_resources(Except_errno()))
			RERAISE;
		*pause_ms = PAUSE;
	} END_TRY;
	if (*pause_ms)
		shed(pool, listener);
	return s;
}

static Connection_T accept_and_add(T pool, Socket_T listener, int *pause_ms)
{
	Connection_T c;

	AUTO(Socket_T, s, Socket_close) = accept_or_shed(pool, listener, pause_ms);
	if (!s)
		return NULL;
	c = SocketPool_add(pool, s);
	if (c)
		s = NULL; /* the pool's */
	return c;
}

Connection_T SocketPool_accept(T pool, Socket_T listener, int *pause_ms)
{
	Connection_T c = NULL;
	int error = errno;

	CHECK_POOL(pool);
	CHECK(listener && pause_ms, "SocketPool_accept: the %s is NULL", listener ? "pause" : "listener");
	keep_spare(pool);
	SocketPool_evict_idle(pool, LOAD(&pool->idle_ms));
	*pause_ms = (int)time_until_room(pool);
	if (*pause_ms == 0)
		c = accept_and_add(pool, listener, pause_ms);
	errno = error;
	return c;
}

/* ---- leaving ---- */

/* Takes out the one that was used least recently, if that was at `cut` or before. */
static Socket_T next_idle(T pool, int64_t cut, Lease **lease)
{
	Socket_T s = NULL;
	uint32_t *place;
	int64_t at;

	lock(pool);
	socketpool__order(pool);
	place = lazyheap__first(&pool->heap, &at);
	if (place && at <= cut) {
		s = slot_at(place)->u.socket;
		*lease = socketpool__detach(slot_at(place));
		pool->stats.evicted++;
		socketpool__serve(pool);
	}
	unlock(pool);
	return s;
}

static size_t evict(T pool, int64_t cut)
{
	Lease *lease = NULL;
	size_t n = 0;
	Socket_T s;

	while ((s = next_idle(pool, cut, &lease)) != NULL) {
		n++;
		socketpool__finish(lease, s);
	}
	return n;
}

size_t SocketPool_evict_idle(T pool, int idle_ms)
{
	CHECK_POOL(pool);
	return idle_ms < 0 ? 0 : evict(pool, connection__unused_since(idle_ms));
}

/* Checked-out connections are another thread's: it reads the end of the stream, and brings them back. */
static void shut_down(T pool)
{
	Segment *segment = pool->segments;
	size_t next = 0;
	Slot *slot;

	lock(pool);
	while ((slot = socketpool__next(&segment, &next)) != NULL)
		if (slot->upstream && slot->state == ACTIVE) {
			slot->state = DRAINING;
			socket__shut(slot->u.socket);
		}
	unlock(pool);
}

static void unlock_pool(void *pool)
{
	unlock(pool);
}

/* Waits until all have left. */
static void await_leave(T pool, int64_t deadline)
{
	lock(pool);
	pthread_cleanup_push(unlock_pool, pool);
	while (pool->count > 0 && socketpool__wait(pool, &pool->emptied, deadline))
		;
	pthread_cleanup_pop(1);
}

/* The client side's that are checked in. */
static void close_idle(T pool)
{
	Segment *segment = pool->segments;
	size_t next = 0;
	Lease *lease = NULL;
	Socket_T s;

	do {
		Slot *slot;

		s = NULL;
		lock(pool);
		while (!s && (slot = socketpool__next(&segment, &next)) != NULL)
			if (slot->state == IDLE) {
				s = slot->u.socket;
				lease = socketpool__detach(slot);
			}
		unlock(pool);
		if (s)
			socketpool__finish(lease, s);
	} while (s);
}

typedef struct Eviction {
	T pool;
	int done;
} Eviction;

/* Goes on after a deferred call that raised; and, by deferring itself, after one that threw or ended the thread. */
static void evict_rest(Eviction *e)
{
	if (e->done)
		return;
	DEFER(evict_rest, e);
	while (!e->done)
		TRY {
			evict(e->pool, INT64_MAX - 1);
			e->done = 1;
		} ELSE {
		} END_TRY;
}

/* Closes all that are not checked out, also when deferred calls of some raise: the first exception goes on then. */
static void evict_all(T pool)
{
	Eviction e = { pool, 0 };

	DEFER(evict_rest, &e);
	evict(pool, INT64_MAX - 1);
	e.done = 1;
}

void SocketPool_drain(T pool, int timeout_ms)
{
	int64_t deadline = socket__deadline_in(timeout_ms);

	CHECK_POOL(pool);
	lock(pool);
	pool->draining = 1;
	socketpool__dismiss(pool);
	unlock(pool);
	close_idle(pool);
	await_leave(pool, deadline);
	shut_down(pool);
	evict_all(pool);
}
