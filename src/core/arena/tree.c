/* SPDX-License-Identifier: MIT */
/* Arena, continued: parents and children. A parent has a list of its children, newest first, under its lock;
 * each child knows its parent and where the list points to it. An arena's ancestors never include itself. */
#include "config.h"

#include <pthread.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

void arena__link_child(T parent, T a)
{
	pthread_mutex_lock(&parent->lock);
	a->next_sibling = parent->children;
	a->sibling_link = &parent->children;
	if (a->next_sibling)
		a->next_sibling->sibling_link = &a->next_sibling;
	parent->children = a;
	STORE(parent->slow, parent->slow | CHILDREN);
	pthread_mutex_unlock(&parent->lock);
}

static void set_parent(T a, T parent)
{
	pthread_mutex_lock(&a->lock); /* the report reads it */
	a->parent = parent;
	STORE(a->slow, a->slow | SPECIAL);
	pthread_mutex_unlock(&a->lock);
}

void arena__unlink_child(T a)
{
	T parent = a->parent;

	if (!parent)
		return;
	pthread_mutex_lock(&parent->lock);
	*a->sibling_link = a->next_sibling;
	if (a->next_sibling)
		a->next_sibling->sibling_link = a->sibling_link;
	pthread_mutex_unlock(&parent->lock);
	set_parent(a, NULL);
}

static int is_above(const struct Arena *a, T below)
{
	while (below && below != a) {
		T parent;

		pthread_mutex_lock(&below->lock);
		parent = below->parent;
		pthread_mutex_unlock(&below->lock);
		below = parent;
	}
	return below != NULL;
}

static int is_running(T a)
{
	int running;

	pthread_mutex_lock(&a->lock);
	running = a->running != 0;
	pthread_mutex_unlock(&a->lock);
	return running;
}

void Arena_adopt(T child, T new_parent)
{
	int cycle, running;

	CHECK_ARENA(child);
	if (new_parent)
		CHECK_ARENA(new_parent);
	arena__check_lent(child, "Arena_adopt");
	arena__lock_tree();
	cycle = is_above(child, new_parent);
	running = is_running(child);
	if (!cycle && !running) {
		arena__unlink_child(child);
		if (new_parent) {
			set_parent(child, new_parent);
			arena__link_child(new_parent, child);
		}
	}
	arena__unlock_tree();
	CHECK(!cycle, "Arena_adopt: %p is %p itself or below it", (void *)new_parent, (void *)child);
	CHECK(!running, "Arena_adopt: a deferred call of %p is running", (void *)child);
}
