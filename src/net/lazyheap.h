/* SPDX-License-Identifier: MIT */
/* Private to SocketPoll and SocketPool: a heap of times that mostly grow. An entry is an object
 * with a uint32_t `place`. Its time is asked for only when it comes to the top; if the time has
 * grown since, the entry goes down again. So to postpone a deadline, or to use a connection, is a
 * store, whatever the size of the heap.
 *
 * Invariant: entries[1..n] is a heap by `at`; no `at` is later than what due() says of its object,
 * whose place is the index. An object that is not in has place 0. Nothing here allocates but room. */
#ifndef LAZYHEAP_INCLUDED
#define LAZYHEAP_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/Arena.h>

#define LAZYHEAP_NEVER INT64_MAX

typedef struct LazyEntry {
	int64_t at;
	uint32_t *place;
} LazyEntry;

typedef struct LazyHeap {
	LazyEntry *entries;
	size_t n, room;
	int64_t (*due)(const uint32_t *place); /* LAZYHEAP_NEVER: it leaves when it comes to the top */
} LazyHeap;

/* Entries for so many. Raises: Arena_Failed, also when that is more than a place can count. */
LazyEntry *lazyheap__room(Arena_T arena, size_t n);
/* Moves in, unless the heap has as much room by now. */
void lazyheap__move(LazyHeap *heap, LazyEntry *entries, size_t room);
/* The object's time has changed: puts it in, or further up; a later time needs no call. There is
 * room. */
void lazyheap__update(LazyHeap *heap, uint32_t *place);
void lazyheap__remove(LazyHeap *heap, uint32_t *place); /* which need not be in */
uint32_t *lazyheap__first(LazyHeap *heap, int64_t *at); /* the earliest and its time, or NULL */

#endif
