/* SPDX-License-Identifier: MIT */
/* The table of a server's connections: it limits new connections and finds the one that was
 * unused for longest. Addresses are counted in chains of records that are used again. A bucket of
 * tokens limits the rate.
 *
 * Invariant, under the lock: if `by_use` is set, the heap holds every ADDED connection. A server
 * with its own deadlines never evicts; each of its idle connections then takes 16 bytes less. */
#include "config.h"

#include <string.h>

#include "pool/rep.h"

#define T SocketPool_T

enum { PEERS_AT_ONCE = 32, PEER_BUCKETS = 16384 };

/* ---- order ---- */

static Slot *slot_of_place(const uint32_t *place)
{
	return (Slot *)((uintptr_t)place - offsetof(Slot, place));
}

static int64_t last_use_of_place(const uint32_t *place)
{
	return slots__last_used_locked(slot_of_place(place));
}

/* Makes room for n connections in all, before their slots exist: if there is no memory for the
 * slots, nothing has changed. */
void table__provide_heap(T pool, size_t n)
{
	LazyHeap *heap = &pool->table.heap;
	LazyEntry *entries;
	size_t room;

	lock_pool(pool);
	room = heap->room;
	unlock_pool(pool);
	if (n <= room)
		return;
	room = n < SIZE_MAX / 2 && n < 2 * room ? 2 * room : n;
	entries = lazyheap__room(pool->arena, room);
	lock_pool(pool);
	lazyheap__move(heap, entries, room);
	unlock_pool(pool);
}

static void fill_heap_locked(T pool)
{
	LazyHeap *heap = &pool->table.heap;
	Cursor at = { pool->segments, 0 };
	Slot *slot;

	heap->due = last_use_of_place;
	while ((slot = slots__next_locked(pool, &at)) != NULL)
		if (slot->state == ADDED)
			lazyheap__update(heap, &slot->place);
	pool->table.by_use = heap;
}

Slot *table__longest_unused_locked(T pool, int64_t *at)
{
	uint32_t *place;

	ASSERT_LOCKED(pool);
	if (!pool->table.by_use)
		fill_heap_locked(pool);
	place = lazyheap__first(pool->table.by_use, at);
	return place ? slot_of_place(place) : NULL;
}

/* ---- per address ---- */

void table__provide_peer(T pool)
{
	Peer *peers = NULL;
	int i, enough;

	if (!LOAD(&pool->table.counting))
		return;
	lock_pool(pool);
	enough = pool->table.spare_peers != NULL;
	unlock_pool(pool);
	if (enough)
		return;
	peers = ALLOC(pool->arena, PEERS_AT_ONCE * sizeof *peers);
	lock_pool(pool);
	for (i = 0; i < PEERS_AT_ONCE; i++) {
		peers[i].next = pool->table.spare_peers;
		pool->table.spare_peers = &peers[i];
	}
	unlock_pool(pool);
}

void table__provide_peers(T pool)
{
	Peer **peers;
	int has;

	lock_pool(pool);
	has = pool->table.peers != NULL;
	unlock_pool(pool);
	if (has)
		return;
	peers = CALLOC(pool->arena, PEER_BUCKETS, sizeof *peers);
	lock_pool(pool);
	if (!pool->table.peers)
		pool->table.peers = peers;
	unlock_pool(pool);
}

static Peer **find_peer_locked(T pool, uint64_t key)
{
	/* 14 bits, by Fibonacci hashing */
	Peer **p = &pool->table.peers[key * 0x9E3779B97F4A7C15u >> 50];

	while (*p && (*p)->key != key)
		p = &(*p)->next;
	return p;
}

/* Returns 0 if the address has as many connections as it may. Another thread may have taken the
 * record that was provided. */
static int count_peer_locked(T pool, uint64_t key, size_t most)
{
	Peer **p = find_peer_locked(pool, key), *fresh = pool->table.spare_peers;

	if (*p)
		return (*p)->n < most && ++(*p)->n;
	if (!fresh)
		return 0;
	pool->table.spare_peers = fresh->next;
	fresh->next = NULL;
	fresh->key = key;
	fresh->n = 1;
	*p = fresh;
	return 1;
}

static void uncount_peer_locked(T pool, uint64_t key)
{
	Peer **p = find_peer_locked(pool, key), *peer = *p;

	if (!peer)
		CORRUPT("a socket pool has a connection whose address is not counted");
	if (--peer->n > 0)
		return;
	*p = peer->next;
	peer->next = pool->table.spare_peers;
	pool->table.spare_peers = peer;
}

/* ---- rate ---- */

int64_t table__until_token_locked(T pool)
{
	Table *t = &pool->table;
	int64_t rate = pool->limits.rate, now = socket__now_ms(), past = now - t->refilled;

	ASSERT_LOCKED(pool);
	if (rate <= 0)
		return 0;
	/* no more than for one second */
	t->tokens = past >= 1000 ? rate * 1000 : t->tokens + past * rate;
	if (t->tokens > rate * 1000)
		t->tokens = rate * 1000;
	t->refilled = now;
	return t->tokens >= 1000 ? 0 : (1000 - t->tokens + rate - 1) / rate;
}

/* ---- in and out ---- */

/* Takes a token, and counts the address if addresses are counted. */
static int admit_socket_locked(T pool, Socket_T s, int *counted)
{
	uint64_t key = socket__peer_key(s);
	size_t most = pool->limits.per_address;

	*counted = 0;
	if (pool->draining || !has_place(pool) || table__until_token_locked(pool) > 0)
		return 0;
	if (most > 0 && key != 0) {
		if (!count_peer_locked(pool, key, most))
			return 0;
		*counted = 1;
	}
	pool->table.tokens -= 1000;
	return 1;
}

Connection_T table__add_locked(T pool, Socket_T s)
{
	int counted;
	Slot *slot;

	ASSERT_LOCKED(pool);
	if (!admit_socket_locked(pool, s, &counted)) {
		pool->stats.refused++;
		return NULL;
	}
	slot = slots__attach_locked(pool, s, ADDED);
	slot->counted = (unsigned char)counted;
	if (pool->table.by_use)
		lazyheap__update(pool->table.by_use, &slot->place);
	pool->stats.added++;
	return handle_of(slot);
}

Departed table__detach_locked(Slot *slot)
{
	T pool = slot->pool;

	ASSERT_LOCKED(pool);
	if (pool->table.by_use)
		lazyheap__remove(pool->table.by_use, &slot->place);
	if (slot->counted)
		uncount_peer_locked(pool, socket__peer_key(slot->u.socket));
	return slots__detach_locked(slot, slot->of.output);
}
