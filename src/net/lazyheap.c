/* SPDX-License-Identifier: MIT */
/* A binary heap whose keys are lower bounds of the real times. The invariant is in lazyheap.h. */
#include "config.h"

#include <string.h>

#include "base/checked.h"
#include "lazyheap.h"

LazyEntry *lazyheap__room(Arena_T arena, size_t n)
{
	size_t bytes;

	if (n >= UINT32_MAX || !mul_size(n + 1, sizeof(LazyEntry), &bytes))
		EXCEPT_RAISE_MSG(Arena_Failed,
			"room for %zu connections or deadlines is more than there can be", n);
	return Arena_alloc(arena, bytes);
}

void lazyheap__move(LazyHeap *h, LazyEntry *entries, size_t room)
{
	if (room <= h->room)
		return;
	if (h->n > 0)
		memcpy(entries + 1, h->entries + 1, h->n * sizeof *entries);
	h->entries = entries;
	h->room = room;
}

static void put_entry(LazyHeap *h, size_t i, LazyEntry e)
{
	h->entries[i] = e;
	*e.place = (uint32_t)i;
}

static void sift_up(LazyHeap *h, size_t i, LazyEntry e)
{
	while (i > 1 && h->entries[i / 2].at > e.at) {
		put_entry(h, i, h->entries[i / 2]);
		i /= 2;
	}
	put_entry(h, i, e);
}

static void sift_down(LazyHeap *h, size_t i, LazyEntry e)
{
	size_t child;

	while ((child = 2 * i) <= h->n) {
		if (child < h->n && h->entries[child + 1].at < h->entries[child].at)
			child++;
		if (h->entries[child].at >= e.at)
			break;
		put_entry(h, i, h->entries[child]);
		i = child;
	}
	put_entry(h, i, e);
}

void lazyheap__update(LazyHeap *h, uint32_t *place)
{
	LazyEntry e = { h->due(place), place };

	if (*place == 0 && e.at != LAZYHEAP_NEVER) {
		if (h->n == h->room)
			CORRUPT("a heap of times has less room than objects");
		sift_up(h, ++h->n, e);
	} else if (*place != 0 && e.at < h->entries[*place].at)
		sift_up(h, *place, e);
}

void lazyheap__remove(LazyHeap *h, uint32_t *place)
{
	size_t i = *place;
	LazyEntry last;

	if (i == 0)
		return;
	*place = 0;
	last = h->entries[h->n--];
	if (last.place == place)
		return;
	if (i > 1 && h->entries[i / 2].at > last.at)
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}

uint32_t *lazyheap__first(LazyHeap *h, int64_t *at)
{
	while (h->n > 0) {
		LazyEntry e = h->entries[1];
		int64_t due = h->due(e.place);

		if (due == e.at) {
			*at = due;
			return e.place;
		}
		e.at = due;
		if (due == LAZYHEAP_NEVER)
			lazyheap__remove(h, e.place);
		else
			sift_down(h, 1, e);
	}
	return NULL;
}
