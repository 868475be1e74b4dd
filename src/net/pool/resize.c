/* SPDX-License-Identifier: MIT */
/* SocketPool, continued: changes of the capacity. The invariant is in pool/slots.c. */
#include "config.h"

#include <stdint.h>

#include "pool/rep.h"

#define T SocketPool_T

/* The resize callbacks that run in this thread, innermost first. */
typedef struct Calling {
	const struct SocketPool *pool;
	struct Calling *outer;
} Calling;
static __thread Calling *calling;

static int is_running_callback(T pool)
{
	const Calling *c = calling;

	while (c && c->pool != pool)
		c = c->outer;
	return c != NULL;
}

static void end_callback(Calling *here)
{
	calling = here->outer;
}

/* Does not call back from inside one of the pool's own callbacks: a callback that resizes would
 * call itself without end. */
static void run_callback(T pool, const Callback *which)
{
	Calling here = { pool, calling };
	Callback callback;

	lock_pool(pool);
	callback = *which;
	unlock_pool(pool);
	if (!callback.fn || is_running_callback(pool))
		return;
	calling = &here;
	DEFER(end_callback, &here);
	callback.fn(pool, callback.userdata);
}

/* Returns how many slots are needed before max can be new_max. Returns 0 if max is new_max now,
 * or if *inside connections do not fit. */
static size_t set_max(T pool, size_t max, size_t *inside, size_t *reserved)
{
	size_t missing = 0;

	lock_pool(pool);
	*inside = pool->count + pool->opening;
	*reserved = pool->reserved;
	if (max > pool->reserved)
		missing = max - pool->reserved;
	else if (*inside <= max) {
		pool->max = max;
		client__serve_locked(pool);
	}
	unlock_pool(pool);
	return missing;
}

/* The segment of another thread may have used the room. */
static void link_segment_with_room(T pool, Segment *g)
{
	size_t needed;

	lock_pool(pool);
	while (needed = pool->reserved + g->size, pool->table.heap.room < needed) {
		unlock_pool(pool);
		table__provide_heap(pool, needed);
		lock_pool(pool);
	}
	slots__link_segment_locked(pool, g);
	unlock_pool(pool);
}

void SocketPool_resize(T pool, size_t new_max)
{
	size_t inside, reserved, missing;

	CHECK_POOL(pool);
	CHECK(new_max > 0, "SocketPool_resize: a pool of 0 connections");
	run_callback(pool, &pool->pre);
	while ((missing = set_max(pool, new_max, &inside, &reserved)) > 0) {
		size_t size = slots__segment_size(reserved, missing);
		Segment *g;

		table__provide_heap(pool, size > SIZE_MAX - reserved ? SIZE_MAX : reserved + size);
		g = slots__new_segment(pool->arena, size);
		link_segment_with_room(pool, g);
	}
	if (inside > new_max)
		EXCEPT_RAISE_MSG(SocketPool_Failed,
			"SocketPool_resize: %zu connections are inside and would not fit into %zu", inside,
			new_max);
	run_callback(pool, &pool->post);
}

static void set_callback(T pool, Callback *which, void (*fn)(T, void *), void *userdata)
{
	lock_pool(pool);
	which->fn = fn;
	which->userdata = userdata;
	unlock_pool(pool);
}

void SocketPool_set_pre_resize_callback(T pool, void (*fn)(T, void *), void *userdata)
{
	CHECK_POOL(pool);
	set_callback(pool, &pool->pre, fn, userdata);
}

void SocketPool_set_post_resize_callback(T pool, void (*fn)(T, void *), void *userdata)
{
	CHECK_POOL(pool);
	set_callback(pool, &pool->post, fn, userdata);
}
