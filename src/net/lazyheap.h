/* SPDX-License-Identifier: MIT */
/* Private to SocketPoll and SocketPool: a heap of times that mostly grow. An entry is an object
 * with a uint32_t `place`. The heap asks for the object's time only when the entry comes to the
 * top. If the time has grown since, the entry goes down again. So postponing a deadline, or using
 * a connection, is one store, whatever the size of the heap.
 *
 * Invariant: entries[1..n] is a heap by `at`. No `at` is later than due() of its object, and the
 * place of the object is the index. An object that is not in the heap has place 0. Only
 * lazyheap__room allocates. */
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
	/* returns LAZYHEAP_NEVER if the object is to leave when it comes to the top */
	int64_t (*due)(const uint32_t *place);
} LazyHeap;

/* Returns entries for n objects. Raises: Arena_Failed, also if n is more than a place can
 * count. */
LazyEntry *lazyheap__room(Arena_T arena, size_t n);
/* Moves the heap into new entries, unless it has as much room already. */
void lazyheap__move(LazyHeap *heap, LazyEntry *entries, size_t room);
/* Puts the object in, or further up after its time became earlier. A later time needs no call.
 * There must be room. */
void lazyheap__update(LazyHeap *heap, uint32_t *place);
void lazyheap__remove(LazyHeap *heap, uint32_t *place); /* need not be in the heap */
/* Returns the earliest and its time, or NULL */
uint32_t *lazyheap__first(LazyHeap *heap, int64_t *at);

#endif
