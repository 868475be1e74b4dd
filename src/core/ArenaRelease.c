/* SPDX-License-Identifier: MIT */
/* Arena, continued: every way in which memory goes: dispose, clear, reset, rewind, and the deferred
 * calls that they run first.
 *
 * Deferred calls run without the lock and may do anything with any arena, this one included, but
 * dispose of one whose deferred calls are running: `running` counts those on the stack. They may clear or
 * rewind this arena, so nothing that was known before them is taken for granted after them. When one
 * raises, the others run and the memory is released all the same. The first exception goes on; those
 * that follow are dropped: as each other's causes they would need a stack as deep as their number.
 *
 * A mark is stale if the arena was cleared since, or rewound to a lower position. The position is
 * `used`, which never falls below its value at the last mark but by a rewind. Only the latest rewind to
 * each of the REWINDS highest positions is remembered: a rewind makes all to higher positions before it
 * redundant, so these are exact up to that depth of nesting; beyond, a stale mark may pass. */
#include "config.h"

#include <string.h>

#include <core/Arena.h>
#include "ArenaRep.h"

#define T Arena_T

/* ---- deferred calls ---- */

void Arena_defer(T a, void (*fn)(void *), void *cl)
{
	Deferred *d;

	CHECK_ARENA(a);
	CHECK(fn, "Arena_defer: the function is NULL");
	d = ALLOC(a, sizeof *d);
	d->fn = fn;
	d->cl = cl;
	pthread_mutex_lock(&a->lock);
	d->older = a->deferred;
	a->deferred = d;
	pthread_mutex_unlock(&a->lock);
}

/* Takes off the newest one made after last. */
static int pop_deferred(T a, const Deferred *last, Deferred *popped)
{
	Deferred *d;

	pthread_mutex_lock(&a->lock);
	d = a->deferred;
	if (d == last)
		d = NULL;
	if (d) {
		*popped = *d;
		a->deferred = d->older;
	}
	pthread_mutex_unlock(&a->lock);
	return d != NULL;
}

static void run_each(T a, const Deferred *last)
{
	Deferred d;

	while (pop_deferred(a, last, &d))
		d.fn(d.cl);
}

static void add_running(T a, int n)
{
	pthread_mutex_lock(&a->lock);
	a->running += n;
	pthread_mutex_unlock(&a->lock);
}

/* Calls work until it has come to its end once, however often it raises. */
static void insist(void (*work)(T, const Deferred *), T a, const Deferred *last)
{
	volatile int done = 0;

	TRY {
		work(a, last);
		done = 1;
	} FINALLY {
		while (!done)
			TRY {
				work(a, last);
				done = 1;
			} ELSE {
			} END_TRY;
	} END_TRY;
}

static void run_deferred(T a, const Deferred *last)
{
	add_running(a, 1);
	TRY {
		insist(run_each, a, last);
	} FINALLY {
		add_running(a, -1);
	} END_TRY;
}

static int has_deferred(T a, const Deferred *last)
{
	int has;

	pthread_mutex_lock(&a->lock);
	has = a->deferred && a->deferred != last;
	pthread_mutex_unlock(&a->lock);
	return has;
}

/* ---- dispose ---- */

static void unlink_child(T a)
{
	T parent = a->parent;

	if (!parent)
		return;
	pthread_mutex_lock(&parent->lock);
	*a->sibling_link = a->next_sibling;
	if (a->next_sibling)
		a->next_sibling->sibling_link = a->sibling_link;
	pthread_mutex_unlock(&parent->lock);
	pthread_mutex_lock(&a->lock); /* the report reads it */
	a->parent = NULL;
	pthread_mutex_unlock(&a->lock);
}

static void release(T a)
{
	Backing backing = a->backing;
	Chunk *list = a->newest, *spare = a->spare;

	arena__remove_live(a);
	unlink_child(a);
	pthread_mutex_destroy(&a->lock);
	a->magic = DEAD;
	arena__give_back_list(&backing, spare);
	arena__give_back_list(&backing, list);
}

static T newest_child(T a)
{
	T child;

	pthread_mutex_lock(&a->lock);
	child = a->children;
	pthread_mutex_unlock(&a->lock);
	return child;
}

static T next_in_tree(T root, T at)
{
	T child = newest_child(at);

	if (child)
		return child;
	while (at != root && !at->next_sibling)
		at = at->parent;
	return at == root ? NULL : at->next_sibling;
}

static int is_running(T root)
{
	T at;

	for (at = root; at; at = next_in_tree(root, at)) {
		int running;

		pthread_mutex_lock(&at->lock);
		running = at->running;
		pthread_mutex_unlock(&at->lock);
		if (running)
			return 1;
	}
	return 0;
}

/* Children before parents, newest first, and not by recursion: a chain of them may be deep. A deferred
 * call may add children and deferred calls anywhere in the tree. */
static void dispose_tree(T root, const Deferred *last)
{
	T at = root;

	for (;;) {
		T child = newest_child(at), parent = at->parent;

		if (child) {
			at = child;
			add_running(at, 1);
		} else if (has_deferred(at, last))
			run_each(at, last);
		else {
			release(at);
			if (!parent)
				return;
			at = parent;
		}
	}
}

void Arena_dispose(T *arena)
{
	T a;

	if (!arena || !*arena)
		return;
	a = *arena;
	CHECK_ARENA(a);
	CHECK(!is_running(a), "Arena_dispose: a deferred call of %p or of a child of it is running", (void *)a);
	*arena = NULL;
	if (!newest_child(a) && !has_deferred(a, NULL)) {
		release(a);
		return;
	}
	add_running(a, 1);
	unlink_child(a); /* it is the root now, and a deferred call may dispose of the parent */
	insist(dispose_tree, a, NULL);
}

/* ---- chunks that are kept; the lock is held in all of this part ---- */

/* Takes the chunks newer than last off the list; they are nobody's then. */
static Chunk *cut_list(T a, const Chunk *last)
{
	Chunk *cut = NULL;

	while (a->newest != last) {
		Chunk *c = a->newest;

		a->newest = c->older;
		poison_chunk(c);
		c->own = 0;
		c->older = cut;
		cut = c;
	}
	return cut;
}

/* Moves the largest of a list, of those of at most keep bytes, into spare if it is larger, and returns
 * the others, booked off. */
static Chunk *keep_largest(T a, Chunk *list, size_t keep)
{
	Chunk *rest = NULL;

	while (list) {
		Chunk *c = list, *out = c;

		list = c->older;
		if (c->size <= keep && (!a->spare || c->size > a->spare->size)) {
			out = a->spare;
			a->spare = c;
			c->older = NULL;
		}
		if (out) {
			a->held -= out->size;
			out->older = rest;
			rest = out;
		}
	}
	return rest;
}

/* Size 0: with nothing. When the larger one is over the limit, the old one stays; when there is no
 * memory for it, the arena grows again as it did at first. */
static void replace_spare(T a, size_t size)
{
	size_t have = a->spare ? a->spare->size : 0, others = a->held - have;

	if (size && a->limit && (others > a->limit || size > a->limit - others)) {
		size = others < a->limit ? a->limit - others : 0;
		if (size <= have)
			return;
	}
	arena__give_back(a, arena__drop_spare(a));
	if (size)
		a->spare = arena__take_chunk(a, size);
	if (a->spare)
		poison_chunk(a->spare);
}

/* A chunk for so much use, with room for other padding than this time; 0: none is so large. */
static size_t spare_for(size_t used)
{
	size_t size;

	return add_size(used, used / 8 + CHUNK_HEADER + 64 * ALIGN, &size) && size <= PTRDIFF_MAX ? size : 0;
}

/* After a clear: one chunk beside home that a cycle like those before fits into, of at most keep bytes.
 * grew: the last cycle needed several. A spare four times too large goes, so that one large request is
 * not held for ever. */
static void consolidate(T a, size_t keep, int grew)
{
	size_t home = (size_t)(a->home->limit - a->first), have = a->spare ? a->spare->size : 0;
	size_t want = a->wanted > home ? spare_for(a->wanted) : 0;

	if (!a->backing.free && keep == SIZE_MAX && !grew)
		return; /* to let go of memory that nobody takes is to lose it */
	if (want == 0 || have > keep)
		replace_spare(a, want <= keep ? want : 0);
	else if (want > keep)
		return;
	else if (have / 4 > want)
		replace_spare(a, want);
	else if (grew)
		replace_spare(a, have < want ? want : have + have / 2);
}

/* ---- one block; the lock is held in all of this part but the call itself ---- */

/* A rewind must find what was there at the mark, so nothing below floor. */
static int unbump(T a, char *p, size_t nbytes)
{
	size_t step = padded(nbytes) + red_zone();

	if ((uintptr_t)p < (uintptr_t)a->floor || (uintptr_t)a->avail - (uintptr_t)p != step)
		return 0;
	a->avail = p;
	a->used -= step;
	poison(p, step);
	return 1;
}

/* Takes the chunk that p has to itself off the list, if no mark knows it. */
static Chunk *cut_own(T a, const char *p)
{
	Chunk **link = &a->newest, *c;

	for (; (c = *link) != a->marked; link = &c->older)
		if (c->own && (uintptr_t)p - (uintptr_t)c < (uintptr_t)c->limit - (uintptr_t)c) {
			*link = c->older;
			a->used -= c->own;
			a->held -= c->size;
			c->older = NULL;
			return c;
		}
	return NULL;
}

int arena__release(T a, void *p, size_t nbytes)
{
	int done;

	CHECK_ARENA(a);
	pthread_mutex_lock(&a->lock);
	done = unbump(a, p, nbytes);
	if (!done && a->backing.free) {
		Chunk *c = cut_own(a, p);

		done = c != NULL;
		arena__give_back(a, c);
	}
	pthread_mutex_unlock(&a->lock);
	return done;
}

/* ---- clear and reset ---- */

static void clear(T a, size_t keep)
{
	Chunk *rest;

	pthread_mutex_lock(&a->lock);
	a->wanted -= a->wanted / 8;
	if (a->wanted < a->used_most + a->align_most)
		a->wanted = a->used_most + a->align_most;
	if (a->wanted > keep)
		a->wanted = keep;
	rest = keep_largest(a, cut_list(a, a->home), keep);
	a->current = a->marked = a->home;
	a->avail = a->floor = a->first;
	a->used = a->used_most = a->align_most = 0;
	a->cycle++;
	a->nrewinds = 0;
	a->deferred = NULL;
	poison(a->first, (size_t)(a->home->limit - a->first));
	arena__check(a);
	arena__give_back(a, rest);
	consolidate(a, keep, rest != NULL);
	pthread_mutex_unlock(&a->lock);
}

static void clear_all(T a, size_t keep)
{
	if (!has_deferred(a, NULL))
		clear(a, keep);
	else
		TRY {
			run_deferred(a, NULL);
		} FINALLY {
			clear(a, keep);
		} END_TRY;
}

void Arena_clear(T a)
{
	CHECK_ARENA(a);
	clear_all(a, SIZE_MAX);
}

void Arena_reset(T a, size_t keep)
{
	CHECK_ARENA(a);
	clear_all(a, keep);
}

/* ---- savepoints ---- */

Arena_Mark Arena_mark(T a)
{
	Arena_Mark m;

	CHECK_ARENA(a);
	pthread_mutex_lock(&a->lock);
	m.chunk = a->current;
	m.newest = a->marked = a->newest;
	m.deferred = a->deferred;
	m.avail = a->floor = a->avail;
	m.used = a->used;
	m.serial = a->serial;
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

	if (m->serial != a->serial || m->cycle != a->cycle)
		return 1;
	for (i = 0; i < a->nrewinds; i++)
		if (a->rewinds[i].turn > m->turn && a->rewinds[i].used < m->used)
			return 1;
	return m->used > a->used || !is_linked(a, m->newest);
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

/* 0 if the mark is stale. A loop of mark and rewind keeps one chunk large enough for its turns. */
static int rewind_to(T a, const Arena_Mark *m)
{
	int good;

	pthread_mutex_lock(&a->lock);
	good = !is_stale(a, m);
	if (good) {
		Chunk *rest = keep_largest(a, cut_list(a, m->newest), SIZE_MAX);
		size_t want = rest ? spare_for(a->used - m->used + a->align_most) : 0;

		a->current = m->chunk;
		a->marked = m->newest;
		a->avail = a->floor = m->avail;
		a->used = m->used;
		a->deferred = m->deferred;
		note_rewind(a, m->used);
		poison(a->avail, (size_t)(a->current->limit - a->avail));
		arena__check(a);
		arena__give_back(a, rest);
		if (a->spare && a->spare->size < want)
			replace_spare(a, want);
	}
	pthread_mutex_unlock(&a->lock);
	return good;
}

/* Nothing is left to do if a deferred call has cleared the arena, or rewound it further. */
static void rewind_deferred(T a, const Arena_Mark *m)
{
	TRY {
		run_deferred(a, m->deferred);
	} FINALLY {
		(void)rewind_to(a, m);
	} END_TRY;
}

static int is_good(T a, const Arena_Mark *m)
{
	int good;

	pthread_mutex_lock(&a->lock);
	good = !is_stale(a, m);
	pthread_mutex_unlock(&a->lock);
	return good;
}

void Arena_rewind(T a, Arena_Mark m)
{
	int good;

	CHECK_ARENA(a);
	if (!has_deferred(a, m.deferred))
		good = rewind_to(a, &m);
	else {
		good = is_good(a, &m);
		if (good)
			rewind_deferred(a, &m);
	}
	CHECK(good, "Arena_rewind: the mark is of another arena, or a clear or rewind has passed it");
}
