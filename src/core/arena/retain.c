/* SPDX-License-Identifier: MIT */
/* Arena, continued: every way in which memory goes but by a rewind: dispose, clear, reset, one block before its
 * time, and the deferred calls that are run first.
 *
 * Deferred calls run without the lock and may do anything with any arena, this one included, but
 * dispose of one whose deferred calls are running: `running` counts those on the stack. They may clear or
 * rewind this arena, so nothing that was known before them is taken for granted after them. When one
 * raises, the others run and the memory is released all the same. The first exception goes on; those
 * that follow are dropped: as each other's causes they would need a stack as deep as their number.
 *
 * A call may also be left by a C++ exception, pthread_exit or a cancellation. None of these runs a FINALLY, so
 * what must be done all the same is done by a cleanup attribute. */
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
	d = ALLOC(a, sizeof *d);
	d->fn = fn;
	d->cl = cl;
	arena__lock(a);
	d->older = a->deferred;
	a->deferred = d;
	STORE(a->slow, a->slow | DEFERRED);
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

/* Something to be finished, however often it is left amid its course. */
typedef struct Work {
	void (*run)(struct Work *); /* goes on from where it was left */
	T arena;                    /* the one to release next, in a disposal */
	T root;
	const Deferred *last;
	int done;
} Work;

static void run_work(Work *);

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
	Work *rest __attribute__((cleanup(finish_work))) = work;

	work->run(work);
	rest->done = 1;
}

static void run_to_end(Work *work)
{
	TRY {
		run_work(work);
	} ELSE {
		finish_work(&work);
		RERAISE;
	} END_TRY;
}

static void run_each(Work *work)
{
	Deferred d;

	while (pop_deferred(work->arena, work->last, &d))
		d.fn(d.cl);
}

static void add_running(T a, int n)
{
	pthread_mutex_lock(&a->lock);
	a->running += n;
	pthread_mutex_unlock(&a->lock);
}

static void end_running(T a)
{
	add_running(a, -1);
}

void arena__run_deferred(T a, const Deferred *last)
{
	Work work = { .run = run_each, .arena = a, .last = last };

	add_running(a, 1);
	DEFER(end_running, a);
	run_to_end(&work);
}

int arena__has_deferred(T a, const Deferred *last)
{
	int has;

	pthread_mutex_lock(&a->lock);
	has = a->deferred && a->deferred != last;
	pthread_mutex_unlock(&a->lock);
	return has;
}

/* ---- dispose ---- */

/* Keeps home, with the struct, for this thread's next arena. */
static int keep_home(T a)
{
	Thread *t = record_now();
	int kept;

	if (!t || a->home->size != CHUNK_FIRST || a->backing.alloc != arena__default_backing.alloc
		|| !arena__begin_turnover(t))
		return 0;
	kept = arena__keep_shell(t, a);
	if (kept) {
		STORE(a->owner, NULL);
		STORE(a->magic, DEAD);
		arena__count_gone(t);
	}
	arena__end_turnover(t);
	return kept;
}

#if CORE_DEBUG
enum { GRAVES = 64 };

void arena__lock(T a)
{
	int gone;

	pthread_mutex_lock(&a->lock);
	gone = a->gone;
	if (gone)
		pthread_mutex_unlock(&a->lock);
	CHECK(!gone, "Arena: a thread uses %p while another disposes of it", (void *)a);
}

/* Keeps what is disposed of for a while, so that a thread that still uses it is told. ASan and Valgrind tell, too. */
static int bury(T a)
{
	static T graves[GRAVES];
	static unsigned next;
	T oldest;

	if (a->backing.alloc != arena__default_backing.alloc || a->home->size != CHUNK_FIRST || red_zone())
		return 0;
	arena__lock_tree();
	oldest = graves[next];
	graves[next] = a;
	next = (next + 1) % GRAVES;
	arena__unlock_tree();
	if (oldest) {
		pthread_mutex_destroy(&oldest->lock);
		arena__give_back_list(&arena__default_backing, oldest->home);
	}
	return 1;
}
#else
static int bury(const struct Arena *a)
{
	(void)a;
	return 0;
}
#endif

static void push_chunk(Chunk **list, Chunk *c)
{
	if (c) {
		c->older = *list;
		*list = c;
	}
}

static void release(T a)
{
	Backing backing = a->backing;
	Chunk *list = NULL, *home = a->home;

	arena__unlink_child(a);
	arena__lock_alone(a);
	a->gone = 1;
	STORE(a->owner, NULL);
	arena__check_fences(a, NULL);
	while (a->newest != home) {
		Chunk *c = a->newest;

		a->newest = c->older;
		push_chunk(&list, c);
	}
	push_chunk(&list, a->spare);
	push_chunk(&list, a->side_spare);
	a->spare = a->side_spare = NULL;
	pthread_mutex_unlock(&a->lock);
	if (!keep_home(a)) {
		arena__remove_live(a);
		STORE(a->magic, DEAD);
		if (!bury(a)) {
			pthread_mutex_destroy(&a->lock);
			push_chunk(&list, home);
		}
	}
	arena__give_back_list(&backing, list);
	if (record_now())
		arena__decay(record_now());
}

/* An arena of this thread alone with nothing but home: that is kept, without a lock. */
static int dispose_quickly(T a)
{
	Thread *t = self_now();
	int done;

	if (!arena__enter_as_owner(a, t))
		return 0;
	done = LOAD(a->slow) == 0 && keep_home(a);
	arena__leave(t);
	if (done)
		arena__decay(t);
	return done;
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
static void dispose_tree(Work *work)
{
	while (work->arena) {
		T at = work->arena, child = newest_child(at);

		if (child) {
			add_running(child, 1);
			work->arena = child;
		} else if (arena__has_deferred(at, NULL)) {
			Work calls = { .run = run_each, .arena = at };

			run_each(&calls);
		} else {
			work->arena = at == work->root ? NULL : at->parent;
			release(at);
		}
	}
}

void Arena_dispose(T *arena)
{
	Work work = { .run = dispose_tree };
	T a;

	if (!arena || !*arena)
		return;
	a = *arena;
	CHECK_ARENA(a);
	arena__check_lent(a, "Arena_dispose");
	if (!(LOAD(a->slow) & (CHILDREN | DEFERRED))) {
		*arena = NULL;
		if (!dispose_quickly(a))
			release(a);
		return;
	}
	CHECK(!is_running(a), "Arena_dispose: a deferred call of %p or of a child of it is running", (void *)a);
	*arena = NULL;
	add_running(a, 1);
	arena__unlink_child(a); /* it is the root now, and a deferred call may dispose of the parent */
	work.arena = work.root = a;
	run_to_end(&work);
}

/* ---- chunks that are kept; the thread is alone with the arena in all of this part ---- */

/* Takes the chunks newer than last off the list; they are nobody's then, but what the sides' spare was is it again. */
Chunk *arena__cut_list(T a, const Chunk *last)
{
	Chunk *cut = NULL;

	while (a->newest != last) {
		Chunk *c = a->newest;

		a->newest = c->older;
		poison_chunk(c);
		c->own = 0;
		if (c == a->side_chunk && !a->side_spare) {
			c->older = NULL;
			a->side_spare = c;
		} else {
			c->older = cut;
			cut = c;
		}
		if (c == a->side_chunk)
			a->side_chunk = NULL;
	}
	return cut;
}

/* Moves the largest of a list, of those of at most keep bytes, into spare if it is larger, and returns
 * the others, booked off. */
Chunk *arena__keep_largest(T a, Chunk *list, size_t keep)
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
void arena__replace_spare(T a, Chunk **spare, size_t size)
{
	size_t have = *spare ? (*spare)->size : 0, others = a->held - have;
	Chunk *c;

	if (size && a->most && (others > a->most || size > a->most - others)) {
		size = others < a->most ? a->most - others : 0;
		if (size <= have)
			return;
	}
	arena__give_back(a, arena__drop(a, spare));
	c = size ? arena__take_chunk(a, size) : NULL;
	if (c)
		arena__keep_spare(a, spare, c);
}

/* A chunk for so much use, with room for other padding than this time; 0: none is so large. */
size_t arena__spare_for(size_t used)
{
	size_t size;

	return add_size(used, used / 8 + CHUNK_HEADER + 64 * ALIGN, &size) && size <= PTRDIFF_MAX ? size : 0;
}

/* One spare after a clear, of at most keep bytes. grew: the last cycle needed more than that. A spare four times too
 * large goes, so that one large request is not held for ever. */
static void fit_spare(T a, Chunk **spare, size_t want, size_t keep, int grew)
{
	size_t have = *spare ? (*spare)->size : 0;

	if (want == 0 || have > keep)
		arena__replace_spare(a, spare, want <= keep ? want : 0);
	else if (want > keep)
		return;
	else if (have / 4 > want)
		arena__replace_spare(a, spare, want);
	else if (grew)
		arena__replace_spare(a, spare, have < want ? want : have + have / 2);
}

/* After a clear: beside home one chunk, or if there were sides one for the owner and one for them, that a cycle like those
 * before fits into. grew: the last one needed more. */
static void consolidate(T a, size_t keep, int grew)
{
	size_t home = (size_t)(a->home->limit - a->first), have;
	size_t sides = a->side_wanted < a->wanted ? a->side_wanted : a->wanted, own = a->wanted - sides;
	size_t with_tails = sides + sides / 2 + (size_t)a->nsides_wanted * SLICE_LEAST; /* by what cut_slices_from says */
	int sides_grew = a->sliced > (a->side_spare ? (size_t)(a->side_spare->limit - chunk_start(a->side_spare)) : 0);

	if (!a->backing.free && keep == SIZE_MAX && !grew)
		return; /* to let go of memory that nobody takes is to lose it */
	fit_spare(a, &a->spare, own > home ? arena__spare_for(own) : 0, keep, grew && !sides_grew);
	have = a->spare ? a->spare->size : 0;
	fit_spare(a, &a->side_spare, sides ? arena__spare_for(with_tails) : 0, have < keep ? keep - have : 0, sides_grew);
}

/* ---- one block; the lock is held in all of this part but the call itself ---- */

/* A rewind must find what was there at the mark, so nothing below floor. */
static int unbump(T a, char *p, size_t nbytes)
{
	size_t step = padded(nbytes) + red_zone();
	Lane *l = &a->lane;

	if (!arena__is_mine(a) || (uintptr_t)p < (uintptr_t)l->floor || (uintptr_t)l->avail - (uintptr_t)p != step)
		return 0;
	STORE(l->avail, p);
	hide(p, step);
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
	arena__lock(a);
	arena__note_most(a);
	done = !a->fences && unbump(a, p, nbytes);
	if (!done && !a->fences && a->backing.free) {
		Chunk *c = cut_own(a, p);

		done = c != NULL;
		arena__give_back(a, c);
	}
	pthread_mutex_unlock(&a->lock);
	return done;
}

/* ---- clear and reset ---- */

/* Decays to nothing at last, after which a clear need not think of sides. */
static size_t decayed(size_t wanted, size_t now)
{
	wanted -= (wanted + 7) / 8;
	return wanted < now ? now : wanted;
}

static void note_sides(T a)
{
	a->side_wanted = decayed(a->side_wanted, a->sliced - a->tails);
	a->nsides_wanted = (unsigned)decayed(a->nsides_wanted, a->nsides);
}

static void note_cycle(T a, size_t keep)
{
	size_t used = a->used_most + a->align_most;

	a->wanted -= a->wanted / 8;
	if (a->wanted < used)
		a->wanted = used;
	if (a->wanted > keep)
		a->wanted = keep;
	if (a->sliced || a->side_wanted)
		note_sides(a);
	if (a->used_most > a->peak)
		STORE(a->peak, a->used_most);
	STORE(a->used_most, 0);
	a->align_most = 0;
	a->cycle++;
	a->nrewinds = 0;
}

static void start_over(T a)
{
	a->lane.floor = a->first;
	STORE(a->lane.avail, a->first);
}

/* Nothing but home, of which keep says nothing, and nothing that others may touch. Returns 0 if `slow` has a
 * bit of `unless`. */
static int clear_quickly(T a, size_t keep, uint32_t unless)
{
	Thread *t = self_now();
	int done;

	if (!arena__enter_as_owner(a, t))
		return 0;
	done = !(LOAD(a->slow) & unless);
	if (done) {
		size_t used = (size_t)(a->lane.avail - a->first);

		if (used > a->used_most)
			STORE(a->used_most, used);
		note_cycle(a, keep);
		start_over(a);
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
	note_cycle(a, keep);
	rest = arena__keep_largest(a, arena__cut_list(a, a->home), keep);
	a->current = a->marked = a->home;
	a->counted = a->first;
	a->lane.limit = a->home->limit - ((uintptr_t)a->home->limit & (ALIGN - 1));
	start_over(a);
	a->used = 0;
	a->deferred = NULL;
	a->steals = a->sliced ? STEALS : 0; /* threads that shared it do so again: a steal would cost both a barrier */
	a->seen = NULL;
	hide(a->first, (size_t)(a->home->limit - a->first));
	STORE(a->slow, (a->slow & ~(uint32_t)SLOW_CLEAR) | (a->spare || a->side_spare ? GREW : 0)
		| (a->running ? DEFERRED : 0)); /* lest a call that clears first can dispose of it then */
	arena__check(a);
	arena__give_back(a, rest);
	consolidate(a, keep, rest != NULL);
	a->sliced = a->tails = 0;
	a->nsides = 0;
	if (!a->spare && !a->side_spare && a->newest == a->home)
		STORE(a->slow, a->slow & ~(uint32_t)GREW);
	pthread_mutex_unlock(&a->lock);
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

static void clear_all(T a, size_t keep)
{
	if (arena__has_deferred(a, NULL))
		run_and_clear(a, keep);
	else
		clear(a, keep);
}

void Arena_clear(T a)
{
	CHECK_ARENA(a);
	if (clear_quickly(a, SIZE_MAX, SLOW_CLEAR | LENT))
		return;
	arena__check_lent(a, "Arena_clear");
	clear_all(a, SIZE_MAX);
}

/* Beside home, which stays, and of which the functions above do not count the bytes. */
static size_t beside_home(const struct Arena *a, size_t keep)
{
	if (keep == SIZE_MAX)
		return keep;
	return keep < a->home->size ? 0 : keep - a->home->size;
}

void Arena_reset(T a, size_t keep)
{
	CHECK_ARENA(a);
	keep = beside_home(a, keep);
	if (clear_quickly(a, keep, SLOW_CLEAR | LENT))
		return;
	arena__check_lent(a, "Arena_reset");
	clear_all(a, keep);
}

/* ---- lending ---- */

void arena__check_lent(const struct Arena *a, const char *call)
{
	CHECK(!(LOAD(a->slow) & LENT), "%s: %p (%s) is lent: the part of libcore that made it does that",
		call, (const void *)a, a->name ? a->name : "arena");
}

void arena__lend(T a, int on)
{
	CHECK_ARENA(a);
	arena__lock(a);
	STORE(a->slow, on ? a->slow | LENT : a->slow & ~(uint32_t)LENT);
	pthread_mutex_unlock(&a->lock);
}

/* A child whose deferred calls are running stays, with its siblings. */
static void dispose_of_children(Work *work)
{
	T child;

	while ((child = newest_child(work->arena)) != NULL && !is_running(child))
		Arena_dispose(&child);
}

typedef struct Return {
	T arena;
	size_t keep, limit;
} Return;

static void forget_borrower(Return *r)
{
	T a = r->arena;

	Arena_set_limit(a, r->limit);
	pthread_mutex_lock(&a->lock);
	if (!a->children)
		STORE(a->slow, a->slow & ~(uint32_t)CHILDREN);
	pthread_mutex_unlock(&a->lock);
}

/* Runs also what was deferred by the deferred calls. */
static void finish_return(Return *r)
{
	DEFER(forget_borrower, r);
	clear_all(r->arena, r->keep);
}

void arena__take_back(T a, size_t keep, size_t limit)
{
	Work children = { .run = dispose_of_children, .arena = a };
	Return r = { a, 0, limit };

	CHECK_ARENA(a);
	r.keep = beside_home(a, keep);
	if (LOAD(a->most) == limit && !(LOAD(a->slow) & CHILDREN) && clear_quickly(a, r.keep, SLOW_CLEAR))
		return;
	DEFER(finish_return, &r);
	run_to_end(&children);
	arena__run_deferred(a, NULL);
}
