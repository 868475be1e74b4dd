/* SPDX-License-Identifier: MIT */
/* Arena, continued: parents and children, what goes through a whole tree, and arenas that the
 * library lends. A parent has a list of its children, newest first, under its lock; each child
 * knows its parent and where the list points to it. An arena's ancestors never include itself. */
#include "config.h"

#include <pthread.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

void arena__link_child(T parent, T a)
{
	HOLD(parent);

	a->next_sibling = parent->children;
	a->sibling_link = &parent->children;
	if (a->next_sibling)
		a->next_sibling->sibling_link = &a->next_sibling;
	parent->children = a;
	STORE(parent->slow, parent->slow | CHILDREN);
}

static void set_parent(T a, T parent)
{
	HOLD(a); /* the report reads it */

	a->parent = parent;
	STORE(a->slow, a->slow | SPECIAL);
}

void arena__unlink_child(T a)
{
	T parent = a->parent;

	if (!parent)
		return;
	arena__lock(parent);
	*a->sibling_link = a->next_sibling;
	if (a->next_sibling)
		a->next_sibling->sibling_link = a->sibling_link;
	arena__unlock(parent);
	set_parent(a, NULL);
}

static T parent_of(T a)
{
	HOLD(a);
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
	HOLD(a);
	return a->running != 0;
}

void Arena_adopt(T child, T new_parent)
{
	int cycle, running;

	CHECK_ARENA(child);
	if (new_parent)
		CHECK_ARENA(new_parent);
	arena__check_lent(child, "Arena_adopt");
	pthread_mutex_lock(&arena__tree_lock);
	cycle = is_above(child, new_parent);
	running = is_running(child);
	if (!cycle && !running) {
		arena__unlink_child(child);
		if (new_parent) {
			set_parent(child, new_parent);
			arena__link_child(new_parent, child);
		}
	}
	pthread_mutex_unlock(&arena__tree_lock);
	CHECK(!cycle, "Arena_adopt: %p is %p itself or below it", (void *)new_parent, (void *)child);
	CHECK(!running, "Arena_adopt: a deferred call of %p is running", (void *)child);
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
			arena__release_all(at);
		}
	}
}

static void dispose_slowly(T *arena) __attribute__((noinline));
static void dispose_slowly(T *arena)
{
	Work work = { .run = dispose_tree, .arena = *arena, .root = *arena };
	T a = *arena;

	arena__check_lent(a, "Arena_dispose");
	CHECK(!is_any_running(a), "Arena_dispose: a deferred call of %p or of a child of it is running", (void *)a);
	*arena = NULL;
	arena__add_running(a, 1);
	arena__unlink_child(a); /* it is the root now, and a deferred call may dispose of the parent */
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
	if (!arena__dispose_quickly(a))
		arena__release_all(a);
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

void arena__take_back(T a, size_t keep, size_t limit)
{
	Work children = { .run = dispose_of_children, .arena = a };
	Return r = { a, 0, limit };

	CHECK_ARENA(a);
	r.keep = arena__beside_home(a, keep);
	if (LOAD(a->most) == limit && !(LOAD(a->slow) & CHILDREN) && arena__clear_quickly(a, r.keep, SLOW_CLEAR))
		return;
	DEFER(finish_return, &r);
	arena__run_to_end(&children);
	arena__run_deferred(a, NULL);
}
