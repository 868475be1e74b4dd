/* SPDX-License-Identifier: MIT */
/* Arena, continued: parents and children, the release of an arena and of a whole tree, and
 * arenas that the library lends. A parent has a list of its children, newest first, under its
 * lock; each child knows its parent and where the list points to it. An arena's ancestors never
 * include itself. */
#include "config.h"

#include <pthread.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

/* None of these raises, because an adoption holds the registry's lock around them. */

void arena__link_child(T parent, T a)
{
	HOLD_UNCHECKED(parent);

	a->next_sibling = parent->children;
	a->sibling_link = &parent->children;
	if (a->next_sibling)
		a->next_sibling->sibling_link = &a->next_sibling;
	parent->children = a;
	STORE(parent->slow, parent->slow | CHILDREN);
}

static void set_parent(T a, T parent)
{
	HOLD_UNCHECKED(a); /* the report reads it */

	a->parent = parent;
	STORE(a->slow, a->slow | SPECIAL);
}

static void unlink_child(T a)
{
	T parent = a->parent;

	if (!parent)
		return;
	arena__relock(parent);
	*a->sibling_link = a->next_sibling;
	if (a->next_sibling)
		a->next_sibling->sibling_link = a->sibling_link;
	arena__unlock(parent);
	set_parent(a, NULL);
}

static T parent_of(T a)
{
	HOLD_UNCHECKED(a);
	return a->parent;
}

static int is_above(const struct Arena *a, T below)
{
	while (below && below != a)
		below = parent_of(below);
	return below != NULL;
}

static int is_running(T a)
{
	HOLD_UNCHECKED(a);
	return a->running != 0;
}

void Arena_adopt(T child, T new_parent)
{
	int cycle, running;

	CHECK_ARENA(child);
	arena__check_gone(child);
	if (new_parent) {
		CHECK_ARENA(new_parent);
		arena__check_gone(new_parent);
	}
	arena__check_lent(child, "Arena_adopt");
	pthread_mutex_lock(&arena__registry_lock);
	cycle = is_above(child, new_parent);
	running = is_running(child);
	if (!cycle && !running) {
		unlink_child(child);
		if (new_parent) {
			set_parent(child, new_parent);
			arena__link_child(new_parent, child);
		}
	}
	pthread_mutex_unlock(&arena__registry_lock);
	CHECK(!cycle, "Arena_adopt: %p is %p itself or below it", (void *)new_parent, (void *)child);
	CHECK(!running, "Arena_adopt: a deferred call of %p is running", (void *)child);
}

/* ---- release of one arena ---- */

/* Keeps home, with the struct, for this thread's next arena. */
static int keep_home(T a)
{
	Thread *t = record_now();
	int kept;

	if (!t || a->home->size != CHUNK_FIRST || a->backing.alloc != arena__default_backing.alloc
		|| !arena__begin_turnover(t))
		return 0;
	kept = arena__store(t, &t->shells, SHELLS, a->home);
	if (kept) {
		STORE(a->owner, NULL);
		STORE(a->magic, DEAD);
	}
	arena__end_turnover(t);
	return kept;
}

#if CORE_DEBUG
enum { GRAVES = 64 };

void arena__lock(T a)
{
	int gone;

	arena__relock(a);
	gone = (a->slow & GONE) != 0;
	if (gone)
		arena__unlock(a);
	CHECK(!gone, "Arena: a thread uses %p while another disposes of it", (void *)a);
}

/* Keeps disposed arenas for a while, so that their use by another thread is found. ASan and
 * Valgrind tell, too. */
static int bury(T a)
{
	static T graves[GRAVES];
	static unsigned next;
	T oldest;

	if (a->backing.alloc != arena__default_backing.alloc || a->home->size != CHUNK_FIRST
		|| red_zone())
		return 0;
	pthread_mutex_lock(&arena__registry_lock);
	oldest = graves[next];
	graves[next] = a;
	next = (next + 1) % GRAVES;
	pthread_mutex_unlock(&arena__registry_lock);
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

static void release_all(T a)
{
	Backing backing = a->backing;
	Chunk *list = NULL, *home = a->home;

	unlink_child(a);
	arena__lock_alone(a);
	STORE(a->slow, a->slow | GONE);
	STORE(a->owner, NULL);
	arena__check_fences(a, NULL);
	if (a->log)
		arena__log_rewind(a, 0);
	while (a->newest != home) {
		Chunk *c = a->newest;

		a->newest = c->older;
		push_chunk(&list, c);
	}
	push_chunk(&list, a->spare);
	a->spare = NULL;
	arena__unlock(a);
	if (!keep_home(a)) {
		arena__deregister(a);
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

	if (!arena__enter(a, t))
		return 0;
	done = !(LOAD(a->slow) & ~(uint32_t)MARKED) && keep_home(a);
	arena__leave(t);
	if (done)
		arena__decay(t);
	return done;
}

/* ---- dispose ---- */

static T newest_child(T a)
{
	HOLD(a);
	return a->children;
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

static int is_any_running(T root)
{
	T at = root;

	while (at && !is_running(at))
		at = next_in_tree(root, at);
	return at != NULL;
}

/* Children before parents, newest first, and not by recursion: a chain of them may be deep. A
 * deferred call may add children and deferred calls anywhere in the tree. */
static void dispose_tree(Work *work)
{
	while (work->arena) {
		T at = work->arena, child = newest_child(at);

		if (child) {
			arena__add_running(child, 1);
			work->arena = child;
		} else if (arena__has_deferred(at, NULL))
			arena__run_each(at, NULL);
		else {
			work->arena = at == work->root ? NULL : at->parent;
			release_all(at);
		}
	}
}

static void dispose_slowly(T *arena) __attribute__((noinline));
static void dispose_slowly(T *arena)
{
	Work work = { .run = dispose_tree, .arena = *arena, .root = *arena };
	T a = *arena;

	arena__check_lent(a, "Arena_dispose");
	CHECK(!is_any_running(a),
		"Arena_dispose: a deferred call of %p or of a child of it is running", (void *)a);
	*arena = NULL;
	arena__add_running(a, 1);
	unlink_child(a); /* it is the root now, and a deferred call may dispose of the parent */
	arena__run_to_end(&work);
}

void Arena_dispose(T *arena)
{
	T a;

	if (!arena || !*arena)
		return;
	a = *arena;
	CHECK_ARENA(a);
	if (LOAD(a->slow) & (CHILDREN | DEFERRED | LENT)) {
		dispose_slowly(arena);
		return;
	}
	*arena = NULL;
	if (!dispose_quickly(a))
		release_all(a);
}

/* ---- lending ---- */

void arena__check_lent(const struct Arena *a, const char *call)
{
	CHECK(!(LOAD(a->slow) & LENT),
		"%s: %p (%s) is lent: the part of libcore that made it does that", call,
		(const void *)a, a->name ? a->name : "arena");
}

void arena__lend(T a, int on)
{
	CHECK_ARENA(a);
	HOLD(a);
	STORE(a->slow, on ? a->slow | LENT : a->slow & ~(uint32_t)LENT);
}

/* A child whose deferred calls are running stays, with its siblings. */
static void dispose_of_children(Work *work)
{
	T child;

	while ((child = newest_child(work->arena)) != NULL && !is_any_running(child))
		Arena_dispose(&child);
}

typedef struct Return {
	T arena;
	size_t keep, limit;
} Return;

static void forget_borrower(Return *r)
{
	T a = r->arena;
	HOLD(a);

	STORE(a->most, r->limit);
	if (!a->children)
		STORE(a->slow, a->slow & ~(uint32_t)CHILDREN);
}

/* Runs also what was deferred by the deferred calls. */
static void finish_return(Return *r)
{
	DEFER(forget_borrower, r);
	arena__clear_all(r->arena, r->keep);
}

static __attribute__((noinline)) void take_back_slowly(T a, size_t keep, size_t limit)
{
	Work children = { .run = dispose_of_children, .arena = a };
	Return r = { a, keep, limit };

	DEFER(finish_return, &r);
	arena__run_to_end(&children);
	arena__run_deferred(a, NULL);
}

void arena__take_back(T a, size_t keep, size_t limit)
{
	CHECK_ARENA(a);
	keep = arena__beside_home(a, keep);
	if (LOAD(a->most) != limit || LOAD(a->slow) & CHILDREN
		|| !arena__clear_quickly(a, keep, SLOW_CLEAR))
		take_back_slowly(a, keep, limit);
}
