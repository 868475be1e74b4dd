/* SPDX-License-Identifier: MIT */
/* The slots of a poll, one for each of its descriptors. The invariant is in poll/rep.h. */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "poll/rep.h"

#define T SocketPoll_T

Slot *socketpoll__slot_of(T poll, Socket_T s, const char *function)
{
	if (!s)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the socket is NULL", function);
	if (socket__watch(s) != poll)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: socket %d is not in the poll", function, Socket_fd(s));
	return socketpoll__slot_at(poll, Socket_fd(s));
}

int socketpoll__descriptor(const Slot *slot)
{
	return slot->socket ? Socket_fd(slot->socket) : (int)slot->due.watched;
}

void *socketpoll__grow_array(Arena_T arena, const void *old, size_t have, size_t n, size_t size)
{
	void *grown = Arena_calloc(arena, n, size);

	return have ? memcpy(grown, old, have * size) : grown;
}

static void provide_number(T poll, int fd)
{
	size_t i = (size_t)fd / SEGMENT;

	if (i >= poll->nnumbers) {
		size_t n = i + 1 > 2 * poll->nnumbers ? i + 1 : 2 * poll->nnumbers;

		poll->numbers = socketpoll__grow_array(poll->arena, poll->numbers, poll->nnumbers, n,
			sizeof *poll->numbers);
		poll->nnumbers = n;
	}
	if (!poll->numbers[i])
		poll->numbers[i] = CALLOC(poll->arena, SEGMENT, sizeof *poll->numbers[i]);
}

/* Number 0 means no slot. */
static void provide_segment(T poll)
{
	size_t n = poll->nslots;
	Slot *segment;
	uint32_t k;

	if (poll->free)
		return;
	if ((n & (n - 1)) == 0)
		poll->slots = socketpoll__grow_array(poll->arena, poll->slots, n, n ? 2 * n : 1,
			sizeof *poll->slots);
	segment = CALLOC(poll->arena, SEGMENT, sizeof *segment);
	poll->slots[poll->nslots++] = segment;
	for (k = SEGMENT; k-- > (n ? 0u : 1u);) {
		segment[k].due.next_free = poll->free;
		poll->free = (uint32_t)(n * SEGMENT) + k;
	}
}

void socketpoll__provide_slot(T poll, int fd)
{
	provide_number(poll, fd);
	provide_segment(poll);
	socketpoll__provide_heap(poll);
}

Slot *socketpoll__acquire_slot(T poll, int fd)
{
	uint32_t number = poll->free;
	Slot *slot = socketpoll__slot_numbered(poll, number);

	poll->free = slot->due.next_free;
	slot->due.place = 0;
	poll->numbers[fd / SEGMENT][fd % SEGMENT] = number;
	return slot;
}

void socketpoll__release_slot(T poll, int fd)
{
	uint32_t *number = &poll->numbers[fd / SEGMENT][fd % SEGMENT];
	Slot *slot = socketpoll__slot_numbered(poll, *number);

	slot->socket = NULL;
	slot->due.tag = WAKE_TAG;
	slot->due.next_free = poll->free;
	poll->free = *number;
	*number = 0;
}

uint32_t socketpoll__next_tag(T poll)
{
	poll->last_tag = poll->last_tag == LAST_TAG ? WAKE_TAG + 1 : poll->last_tag + 1;
	return poll->last_tag;
}

/* In a child, the kernel's set belongs to the parent and is not changed. */
void socketpoll__let_go(T poll, Slot *slot)
{
	if (slot->due.events && poll->process == getpid()) /* removing all events does not raise */
		poll->backend->set(poll, socketpoll__descriptor(slot), slot->due.events, 0, slot->due.tag);
	lazyheap__remove(&poll->heap, &slot->due.place);
	slot->due.tag = WAKE_TAG; /* no event that is held has this tag */
	poll->count--;
}
