/* SPDX-License-Identifier: MIT */
/* SocketPool, continued: records of the hosts that checkout connects to, found by name, and waiting with a deadline. A
 * record is used again when its host has no connections, no waiters and no hold-down. */
#include "config.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include <core/SocketPool.h>
#include "pool/rep.h"

#define T SocketPool_T

enum {
	NAME_LEAST = 64,              /* bytes of a record, which may be that of another host later */
	HOLD = 100, HOLD_MOST = 5000  /* ms */
};

/* ---- waiting ---- */

int socketpool__condition(pthread_cond_t *condition)
{
	pthread_condattr_t a;
	int error = pthread_condattr_init(&a);

	if (error != 0)
		return error;
#if HAVE_PTHREAD_CONDATTR_SETCLOCK
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
#endif
	error = pthread_cond_init(condition, &a);
	pthread_condattr_destroy(&a);
	return error;
}

int socketpool__wait(T pool, pthread_cond_t *condition, int64_t deadline)
{
	struct timespec t;
	int64_t left;

	if (deadline == SOCKET__NEVER) {
		pthread_cond_wait(condition, &pool->lock);
		return 1;
	}
	left = deadline - socket__now_ms();
	if (left <= 0)
		return 0;
#if HAVE_PTHREAD_CONDATTR_SETCLOCK
	clock_gettime(CLOCK_MONOTONIC, &t);
#else
	clock_gettime(CLOCK_REALTIME, &t);
#endif
	t.tv_sec += (time_t)(left / 1000);
	t.tv_nsec += (long)(left % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	pthread_cond_timedwait(condition, &pool->lock, &t);
	return 1;
}

/* ---- hosts ---- */

static Host **bucket_of(T pool, const char *host, const char *service)
{
	unsigned hash = 2166136261u; /* FNV-1a; who chooses what to connect to is the program */

	for (; *host; host++)
		hash = (hash ^ (unsigned char)*host) * 16777619u;
	for (; *service; service++)
		hash = (hash ^ (unsigned char)*service) * 16777619u;
	return &pool->hosts[hash % BUCKETS];
}

static int is_unused(const Host *h)
{
	return h->open == 0 && h->waiting == 0 && h->held_until <= socket__now_ms();
}

static Host *lookup(Host **bucket, const char *host, const char *service)
{
	Host *h;

	for (h = *bucket; h; h = h->next)
		if (strcmp(h->name, host) == 0 && strcmp(h->service, service) == 0)
			return h;
	return NULL;
}

static Host *use_again(Host **bucket, const char *host, const char *service)
{
	size_t n = strlen(host) + 1, all = n + strlen(service) + 1;
	Host *h = *bucket;

	while (h && (h->room < all || !is_unused(h)))
		h = h->next;
	if (!h)
		return NULL;
	memcpy(h->name, host, n);
	h->service = memcpy(h->name + n, service, all - n);
	h->failures = 0;
	return h;
}

Host *socketpool__find_host(T pool, const char *host, const char *service)
{
	Host **bucket = bucket_of(pool, host, service), *h;
	size_t room = strlen(host) + strlen(service) + 2;

	if (room < NAME_LEAST)
		room = NAME_LEAST;
	lock(pool);
	while (!(h = lookup(bucket, host, service)) && !(h = use_again(bucket, host, service))) {
		unlock(pool);
		h = CALLOC(pool->arena, 1, sizeof *h + room);
		h->room = room;
		h->service = h->name;
		lock(pool);
		h->next = *bucket;
		*bucket = h;
	}
	return h;
}

void socketpool__hold_down(T pool, Host *h, int error)
{
	int64_t ms = pool->limits.hold_ms > 0 ? pool->limits.hold_ms : HOLD;

	ms <<= h->failures < 6 ? h->failures : 6;
	h->failures++;
	h->error = error;
	h->held_until = socket__now_ms() + (ms < HOLD_MOST ? ms : HOLD_MOST);
}
