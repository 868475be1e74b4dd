/* SPDX-License-Identifier: MIT */
/* Records of the hosts that checkout connects to, found by name. If a host has no connections, no
 * waiters and no hold-down, its record is used for another host. */
#include "config.h"

#include <string.h>

#include "pool/rep.h"

#define T SocketPool_T

enum {
	/* bytes of a name in a record, which may be used for another host later */
	NAME_LEAST = 64,
	HOLD = 100, HOLD_MOST = 5000  /* ms */
};

static Host **find_bucket(T pool, const char *host, const char *service)
{
	unsigned hash = 2166136261u; /* FNV-1a is enough, because the program chooses the names */

	for (; *host; host++)
		hash = (hash ^ (unsigned char)*host) * 16777619u;
	for (; *service; service++)
		hash = (hash ^ (unsigned char)*service) * 16777619u;
	return &pool->client.hosts[hash % BUCKETS];
}

static int is_unused_record(const Host *h)
{
	return h->open == 0 && h->waiting == 0 && h->held_until <= socket__now_ms();
}

static Host *find_in_bucket(Host **bucket, const char *host, const char *service)
{
	Host *h;

	for (h = *bucket; h; h = h->next)
		if (strcmp(h->name, host) == 0 && strcmp(h->service, service) == 0)
			return h;
	return NULL;
}

static Host *reuse_record(Host **bucket, const char *host, const char *service)
{
	size_t n = strlen(host) + 1, all = n + strlen(service) + 1;
	Host *h = *bucket;

	while (h && (h->room < all || !is_unused_record(h)))
		h = h->next;
	if (!h)
		return NULL;
	memcpy(h->name, host, n);
	h->service = memcpy(h->name + n, service, all - n);
	h->failures = 0;
	return h;
}

Host *host__lookup_locked(T pool, const char *host, const char *service)
{
	ASSERT_LOCKED(pool);
	return find_in_bucket(find_bucket(pool, host, service), host, service);
}

Host *host__find_unlocks(T pool, const char *host, const char *service)
{
	Host **bucket = find_bucket(pool, host, service), *h;
	size_t room = strlen(host) + strlen(service) + 2;

	ASSERT_LOCKED(pool);
	if (room < NAME_LEAST)
		room = NAME_LEAST;
	while (!(h = find_in_bucket(bucket, host, service))
			&& !(h = reuse_record(bucket, host, service))) {
		unlock_pool(pool);
		h = CALLOC(pool->arena, 1, sizeof *h + room);
		h->room = room;
		h->service = h->name;
		lock_pool(pool);
		h->next = *bucket;
		*bucket = h;
	}
	return h;
}

int host__may_open_locked(T pool, const Host *h)
{
	ASSERT_LOCKED(pool);
	return (pool->limits.per_host == 0 || h->open < pool->limits.per_host)
		&& h->held_until <= socket__now_ms();
}

void host__hold_down_locked(T pool, Host *h, int error)
{
	int64_t ms = pool->limits.hold_ms > 0 ? pool->limits.hold_ms : HOLD;

	ASSERT_LOCKED(pool);
	ms <<= h->failures < 6 ? h->failures : 6;
	h->failures++;
	h->error = error;
	h->held_until = socket__now_ms() + (ms < HOLD_MOST ? ms : HOLD_MOST);
}
