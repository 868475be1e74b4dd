/* SPDX-License-Identifier: MIT */
/* Arena, continued: savepoints. A mark takes the sides away and ends the cutting of slices, so that all that is
 * allocated after it is above lane.floor or in chunks that are newer: what a rewind cuts off.
 *
 * A mark is stale if the arena was cleared since, or rewound to a lower position. The position is the bytes
 * used, which never fall below their number at the last mark but by a rewind. Only the latest rewind to
 * each of the REWINDS highest positions is remembered: a rewind makes all to higher positions before it
 * redundant, so these are exact up to that depth of nesting; beyond, a stale mark may pass. */
#include "config.h"

#include <pthread.h>
#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

Arena_Mark Arena_mark(T a)
{
	Arena_Mark m;

	CHECK_ARENA(a);
	arena__lock_alone(a);
	m.chunk = a->current;
	m.newest = a->marked = a->newest;
	m.deferred = a->deferred;
	m.fences = a->fences;
	m.avail = a->lane.floor = a->lane.avail;
	m.used = arena__used_now(a);
	m.serial = (size_t)a->serial;
	m.cycle = a->cycle;
	m.turn = a->turn;
	pthread_mutex_unlock(&a->lock);
	return m;
}

static int is_linked(T a, const void *chunk)
{
	const Chunk *c = a->newest;

	while (c && c != chunk)
		c = c->older;
	return c != NULL;
}

static int is_stale(T a, const Arena_Mark *m)
{
	int i;

	if (m->serial != (size_t)a->serial || m->cycle != a->cycle)
		return 1;
	for (i = 0; i < a->nrewinds; i++)
		if (a->rewinds[i].turn > m->turn && a->rewinds[i].used < m->used)
			return 1;
	return m->used > arena__used_now(a) || !is_linked(a, m->newest);
}

static void note_rewind(T a, size_t used)
{
	while (a->nrewinds > 0 && a->rewinds[a->nrewinds - 1].used >= used)
		a->nrewinds--;
	if (a->nrewinds == REWINDS) {
		memmove(&a->rewinds[0], &a->rewinds[1], (REWINDS - 1) * sizeof a->rewinds[0]);
		a->nrewinds--;
	}
	a->rewinds[a->nrewinds].used = used;
	a->rewinds[a->nrewinds].turn = ++a->turn;
	a->nrewinds++;
}

static void return_to(T a, const Arena_Mark *m)
{
	Chunk *c = m->chunk;

	a->current = c;
	a->marked = m->newest;
	a->counted = c == a->home ? a->first : chunk_start(c);
	a->lane.floor = m->avail;
	STORE(a->lane.avail, m->avail);
	a->lane.limit = c->limit - ((uintptr_t)c->limit & (ALIGN - 1));
	a->used = m->used - (size_t)(m->avail - a->counted);
	a->deferred = m->deferred;
	note_rewind(a, m->used);
	hide(m->avail, (size_t)(c->limit - m->avail));
}

/* 0 if the mark is stale. A loop of mark and rewind keeps one chunk large enough for its turns. */
static int rewind_to(T a, const Arena_Mark *m)
{
	int good;

	arena__lock_alone(a);
	good = !is_stale(a, m);
	if (good) {
		size_t used = arena__used_now(a) - m->used, want;
		Chunk *rest;

		arena__note_most(a);
		arena__check_fences(a, m->fences);
		rest = arena__keep_largest(a, arena__cut_list(a, m->newest), SIZE_MAX);
		want = rest ? arena__spare_for(used + a->align_most) : 0;
		return_to(a, m);
		arena__check(a);
		arena__give_back(a, rest);
		if (a->spare && a->spare->size < want)
			arena__replace_spare(a, &a->spare, want);
	}
	pthread_mutex_unlock(&a->lock);
	return good;
}

typedef struct Rewind {
	T arena;
	const Arena_Mark *mark;
} Rewind;

/* Nothing is left to do if a deferred call has cleared the arena, or rewound it further. */
static void finish_rewind(Rewind *r)
{
	(void)rewind_to(r->arena, r->mark);
}

static void rewind_deferred(T a, const Arena_Mark *m)
{
	Rewind r = { a, m };

	DEFER(finish_rewind, &r);
	arena__run_deferred(a, m->deferred);
}

static int is_good(T a, const Arena_Mark *m)
{
	int good;

	arena__lock_alone(a);
	good = !is_stale(a, m);
	pthread_mutex_unlock(&a->lock);
	return good;
}

void Arena_rewind(T a, Arena_Mark m)
{
	int good;

	CHECK_ARENA(a);
	if (!arena__has_deferred(a, m.deferred))
		good = rewind_to(a, &m);
	else {
		good = is_good(a, &m);
		if (good)
			rewind_deferred(a, &m);
	}
	CHECK(good, "Arena_rewind: the mark is of another arena, or a clear or rewind has passed it");
}
