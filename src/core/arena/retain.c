/* SPDX-License-Identifier: MIT */
/* Arena, continued: deferred calls, and how memory goes: release of a whole arena, clear, reset
 * and savepoints.
 *
 * Deferred calls run without the lock and may do anything with any arena, this one included. They
 * may not dispose of one whose deferred calls are running: `running` counts those on the stack.
 * They may clear or rewind this arena, so nothing that was known before them is taken for granted
 * after them. When one raises, the others run and the memory is released all the same. The first
 * exception goes on, and later ones are dropped. As each other's causes they would need a stack as
 * deep as their number.
 *
 * A call may also be left by a C++ exception, pthread_exit or a cancellation. None of these runs
 * a FINALLY, so what must be done all the same is done by a cleanup attribute.
 *
 * A mark settles the lanes and ends the common one. So all later allocations are above lane.floor
 * or in newer chunks, and a rewind cuts them off. A mark is stale if the arena was cleared since,
 * or rewound to a lower position. The position is the bytes used, which never fall below their
 * number at the last mark but by a rewind. Only the latest rewind to each of the REWINDS highest
 * positions is remembered. A rewind makes all earlier ones to higher positions redundant, so these
 * are exact up to that depth of nesting. Beyond it a stale mark may pass. */
#include "config.h"

#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

/* ---- deferred calls ---- */

void Arena_defer(T a, void (*fn)(void *), void *cl)
{
	Deferred *d;

	CHECK_ARENA(a);
	CHECK(fn, "Arena_defer: the function is NULL");
	d = arena__alloc_at(a, sizeof *d, HERE);
	d->fn = fn;
	d->cl = cl;
	arena__lock(a);
	d->older = a->deferred;
	a->deferred = d;
	STORE(a->slow, a->slow | DEFERRED);
	arena__unlock(a);
}

/* Takes off the newest one made after last. */
static int pop_deferred(T a, const Deferred *last, Deferred *popped)
{
	Deferred *d;
	HOLD(a);

	d = a->deferred;
	if (!d || d == last)
		return 0;
	*popped = *d;
	a->deferred = d->older;
	return 1;
}

static void run_work(Work *);
static void finish_left_work(Work **);

/* Finishes the work and drops what it raises. Does nothing if the work is done. */
static void finish_work(Work **work)
{
	while (!(*work)->done)
		TRY {
			run_work(*work);
		} ELSE {
		} END_TRY;
}

/* If anything but a raise leaves the work, the compiler's clean-up goes on with it. */
static void run_work(Work *work)
{
	Work *rest __attribute__((cleanup(finish_left_work))) = work;

	work->run(work);
	rest->done = 1;
}

static void finish_left_work(Work **work)
{
	if (!except__is_passing())
		finish_work(work);
}

void arena__run_to_end(Work *work)
{
	TRY {
		run_work(work);
	} ELSE {
		finish_work(&work);
		RERAISE;
	} END_TRY;
}

void arena__run_each(T a, const Deferred *last)
{
	Deferred d;

	while (pop_deferred(a, last, &d))
		d.fn(d.cl);
}

static void run_each(Work *work)
{
	arena__run_each(work->arena, work->last);
}

void arena__add_running(T a, int n)
{
	HOLD(a);
	a->running += n;
}

static void end_running(T a)
{
	arena__add_running(a, -1);
}

void arena__run_deferred(T a, const Deferred *last)
{
	Work work = { .run = run_each, .arena = a, .last = last };

	arena__add_running(a, 1);
	DEFER(end_running, a);
	arena__run_to_end(&work);
}

int arena__has_deferred(T a, const Deferred *last)
{
	HOLD(a);
	return a->deferred && a->deferred != last;
}

/* ---- chunks that are kept; the thread is alone with the arena in all of this part ---- */

/* Unlinks the chunks newer than last and returns them. */
static Chunk *cut_list(T a, const Chunk *last)
{
	Chunk *cut = NULL;

	while (a->newest != last) {
		Chunk *c = a->newest;

		a->newest = c->older;
		poison_chunk(c);
		c->own = 0;
		push_chunk(&cut, c);
	}
	return cut;
}

/* Moves the largest of a list, of those of at most keep bytes, into spare if it is larger, and
 * returns the others, booked off. */
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

/* Replaces the spare by one of size to most bytes, or with a size of 0 by none. If the larger one
 * is over the limit, the old one stays. Without memory for it, the arena grows again as it did at
 * first. */
static void replace_spare_unlocks(T a, size_t size, size_t most)
{
	size_t have = a->spare ? a->spare->size : 0, others = a->held - have;
	Chunk *c;

	if (size && a->most && (others > a->most || size > a->most - others)) {
		size = others < a->most ? a->most - others : 0;
		if (size <= have)
			return;
	}
	arena__give_back_unlocks(a, arena__drop_spare(a));
	if (most > size + size / 4)
		most = size + size / 4;
	c = size ? arena__take_chunk_unlocks(a, size, most) : NULL;
	if (c)
		arena__keep_spare_unlocks(a, c);
}

/* Returns the bytes of a chunk for so much use, with room for other padding than this time; 0 if
 * none is so large. */
static size_t spare_for(size_t used)
{
	size_t size;

	return add_size(used, used / 8 + CHUNK_HEADER + 64 * ALIGN, &size) && size <= PTRDIFF_MAX
		? size : 0;
}

/* Returns the size that the spare should have: a cycle like those before, but for what fits into
 * home. The common lane never is there. */
static size_t wanted_spare(const struct Arena *a)
{
	size_t home = (size_t)(lane_end(a->home) - chunk_start(a->home)) - STRUCT_LINES;
	size_t common = a->common.wanted < a->wanted ? a->common.wanted : a->wanted;
	size_t own = a->wanted - common;

	return own > home ? spare_for(own + common) : common ? spare_for(common) : 0;
}

/* Returns the most bytes that the spare may have. If threads share the arena, the spare and home
 * hold at most twice its use. Otherwise the threads could drive each other up, as threads that grow
 * it at the same time take a chunk each. While lanes are closed, nothing tells whether threads
 * share it, so that bound holds for each cycle that grew. In other cases the spare goes when it is
 * four times too large, so that one large request is not held for long. */
static size_t most_spare(const struct Arena *a, size_t want, int grew)
{
	size_t home = a->home->size, twice = a->wanted < SIZE_MAX / 2 ? a->wanted / 16 * 31 : SIZE_MAX;

	if (!a->common.wanted && !(grew && !arena__thread()))
		return want < SIZE_MAX / 4 ? 4 * want : SIZE_MAX;
	return twice > home && twice - home > want ? twice - home : want;
}

/* After a clear: one spare, of at most keep bytes. grew: the last cycle needed more. */
static void consolidate_unlocks(T a, size_t keep, int grew)
{
	size_t want = wanted_spare(a), most = most_spare(a, want, grew), more;
	size_t have = a->spare ? a->spare->size : 0;

	if (most > keep)
		most = keep;
	more = have < want ? want : have + have / 2 < most ? have + have / 2 : most;
	if (!a->backing.free && keep == SIZE_MAX && !grew)
		return; /* memory that no arena takes would be lost */
	if (want == 0 || have > keep)
		replace_spare_unlocks(a, want <= keep ? want : 0, most);
	else if (want > keep)
		return;
	else if (have > most)
		replace_spare_unlocks(a, want, most);
	else if (grew && more > have)
		replace_spare_unlocks(a, more, most);
}

/* ---- clear and reset ---- */

/* Returns the larger of now and what was wanted, less an eighth. Decays to nothing at last. */
static size_t decayed(size_t wanted, size_t now)
{
	wanted -= (wanted + 7) / 8;
	return wanted < now ? now : wanted;
}

static void note_cycle(T a, size_t keep)
{
	a->wanted = decayed(a->wanted, a->used_most + a->align_most);
	if (a->wanted > keep)
		a->wanted = keep;
	if (a->used_most > a->peak)
		STORE(a->peak, a->used_most);
	STORE(a->used_most, 0);
	a->align_most = 0;
	a->cycle++;
	a->rewinds[0].turn = 0;
}

/* Clears an arena that has nothing but home, of which keep says nothing, no marks, and nothing
 * that others may touch. Returns 0 if it has, or if `slow` has a bit of `unless`. */
int arena__clear_quickly(T a, size_t keep, uint32_t unless)
{
	Thread *t = self_now();
	int done;

	if (!arena__enter(a, t))
		return 0;
	done = !(LOAD(a->slow) & unless) && a->common.wanted == 0;
	if (done) {
		size_t used = above_floor(&a->lane);

		if (used > a->used_most)
			STORE(a->used_most, used);
		note_cycle(a, keep);
		STORE(a->lane.avail, a->lane.floor);
	}
	arena__leave(t);
	return done;
}

static void clear(T a, size_t keep)
{
	Chunk *rest;

	arena__lock_alone(a);
	arena__note_most(a);
	arena__check_fences(a, NULL);
	if (a->log)
		arena__log_rewind(a, 0);
	arena__settle_common(a);
	note_cycle(a, keep);
	a->common.wanted = decayed(a->common.wanted, a->common.used);
	rest = keep_largest(a, cut_list(a, a->home), keep);
	a->marked = a->home;
	enter_home(a);
	a->used = a->common.used = 0;
	a->deferred = NULL;
	hide(a->lane.avail, (size_t)(a->lane.limit - a->lane.avail));
	STORE(a->slow, (a->slow & ~(uint32_t)SLOW_CLEAR) | (a->spare ? GREW : 0)
		| (a->running ? DEFERRED : 0)); /* or a call that clears could dispose of it */
	arena__check(a);
	arena__give_back_unlocks(a, rest);
	consolidate_unlocks(a, keep, rest != NULL);
	if (!a->spare && a->newest == a->home)
		STORE(a->slow, a->slow & ~(uint32_t)GREW);
	arena__unlock(a);
}

typedef struct Clear {
	T arena;
	size_t keep;
} Clear;

static void finish_clear(Clear *c)
{
	clear(c->arena, c->keep);
}

static void run_and_clear(T a, size_t keep)
{
	Clear c = { a, keep };

	DEFER(finish_clear, &c);
	arena__run_deferred(a, NULL);
}

void arena__clear_all(T a, size_t keep)
{
	if (arena__has_deferred(a, NULL))
		run_and_clear(a, keep);
	else
		clear(a, keep);
}

static inline void clear_for_user(T a, size_t keep, const char *call)
{
	if (arena__clear_quickly(a, keep, SLOW_CLEAR | LENT))
		return;
	arena__check_lent(a, call);
	arena__clear_all(a, keep);
}

void Arena_clear(T a)
{
	CHECK_ARENA(a);
	clear_for_user(a, SIZE_MAX, "Arena_clear");
}

/* Beside home, which stays, and of which the functions above do not count the bytes. */
size_t arena__beside_home(const struct Arena *a, size_t keep)
{
	if (keep == SIZE_MAX)
		return keep;
	return keep < a->home->size ? 0 : keep - a->home->size;
}

void Arena_reset(T a, size_t keep)
{
	CHECK_ARENA(a);
	clear_for_user(a, arena__beside_home(a, keep), "Arena_reset");
}

/* ---- savepoints ---- */

Arena_Mark Arena_mark(T a)
{
	Arena_Mark m;

	CHECK_ARENA(a);
	arena__lock_alone(a);
	arena__settle_common(a);
	a->used += above_floor(&a->lane);
	m.limit = a->lane.limit;
	m.newest = a->marked = a->newest;
	m.deferred = a->deferred;
	m.fences = a->fences;
	m.avail = a->lane.floor = a->lane.avail;
	m.used = a->used;
	m.serial = (size_t)(a->cycle >> 32);
	m.cycle = (size_t)a->cycle;
	m.turn = a->turn;
	STORE(a->slow, a->slow | MARKED);
	if (a->log)
		arena__log_mark(a);
	arena__unlock(a);
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

	if (m->serial != (size_t)(a->cycle >> 32) || m->cycle != (size_t)a->cycle)
		return 1;
	for (i = 0; i < REWINDS && a->rewinds[i].turn; i++)
		if (a->rewinds[i].turn > m->turn && a->rewinds[i].used < m->used)
			return 1;
	return m->used > arena__used_now(a) || !is_linked(a, m->newest);
}

static void note_rewind(T a, size_t used)
{
	int n = 0;

	while (n < REWINDS && a->rewinds[n].turn && a->rewinds[n].used < used)
		n++;
	if (n == REWINDS)
		memmove(&a->rewinds[0], &a->rewinds[1], --n * sizeof a->rewinds[0]);
	a->rewinds[n].used = used;
	a->rewinds[n].turn = ++a->turn;
	if (n + 1 < REWINDS)
		a->rewinds[n + 1].turn = 0;
}

static void return_to(T a, const Arena_Mark *m)
{
	set_lane(&a->common.lane, NULL, NULL);
	set_lane(&a->lane, m->avail, m->limit);
	a->marked = m->newest;
	a->used = m->used;
	a->deferred = m->deferred;
	note_rewind(a, m->used);
	hide(m->avail, (size_t)(a->lane.limit - m->avail));
}

/* Returns 0 if the mark is stale. A loop of mark and rewind keeps one chunk large enough for its
 * turns. */
static int rewind_to_unlocks(T a, const Arena_Mark *m)
{
	int good;

	arena__lock_alone(a);
	good = !is_stale(a, m);
	if (good) {
		size_t used = arena__used_now(a) - m->used, want;
		Chunk *rest;

		arena__note_most(a);
		arena__check_fences(a, m->fences);
		if (a->log)
			arena__log_rewind(a, m->used);
		rest = keep_largest(a, cut_list(a, m->newest), SIZE_MAX);
		want = rest ? spare_for(used + a->align_most) : 0;
		return_to(a, m);
		arena__check(a);
		arena__give_back_unlocks(a, rest);
		if (a->spare && a->spare->size < want)
			replace_spare_unlocks(a, want, SIZE_MAX);
	}
	arena__unlock(a);
	return good;
}

typedef struct Rewind {
	T arena;
	const Arena_Mark *mark;
} Rewind;

/* Nothing is left to do if a deferred call has cleared the arena, or rewound it further. */
static void finish_rewind(Rewind *r)
{
	(void)rewind_to_unlocks(r->arena, r->mark);
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
	arena__unlock(a);
	return good;
}

void Arena_rewind(T a, Arena_Mark m)
{
	int good;

	CHECK_ARENA(a);
	if (!arena__has_deferred(a, m.deferred))
		good = rewind_to_unlocks(a, &m);
	else {
		good = is_good(a, &m);
		if (good)
			rewind_deferred(a, &m);
	}
	CHECK(good, "Arena_rewind: the mark is of another arena, or a clear or rewind has passed it");
}
