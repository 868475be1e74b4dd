/* SPDX-License-Identifier: MIT */
/* SocketPoll, continued: descriptors that are no sockets of ours. */
#include "config.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "poll/rep.h"

#define T SocketPoll_T

/* Returns 0, or an error number. A file is always ready: epoll takes none, and the other back ends
 * are to be like it. */
static int check_pollable(int fd)
{
	struct stat s;

	if (fstat(fd, &s) != 0)
		return errno;
	return S_ISREG(s.st_mode) || S_ISDIR(s.st_mode) ? EPERM : 0;
}

/* A descriptor that was closed and opened anew since it was watched is not known to the kernel any
 * more. */
static int look_anew(T poll, int fd, unsigned from, unsigned to, uint32_t tag)
{
	int error = from ? poll->backend->set(poll, fd, from, to, tag) : ENOENT;

	return error == ENOENT ? poll->backend->set(poll, fd, 0, to, tag) : error;
}

static void release_watched(T poll, int fd, Slot *slot)
{
	socketpoll__let_go(poll, slot);
	socketpoll__release_slot(poll, fd);
}

/* Returns the slot of the descriptor if that is watched, or NULL; a socket's is checked. */
static Slot *find_watched(T poll, int fd)
{
	Slot *slot = fd < 0 ? NULL : socketpoll__find_slot(poll, fd);

	CHECK(!slot || !slot->socket, "SocketPoll_watch: descriptor %d is that of a socket in the poll", fd);
	return slot;
}

/* Whether it is new, watched already, or another of the same number: it has a tag of its own from
 * now on, so that no event from before is given. */
void SocketPoll_watch(T poll, int fd, unsigned events, void *data)
{
	unsigned from = 0;
	uint32_t tag;
	Slot *slot;
	int error;

	CHECK_OWN(poll);
	socketpoll__check_events(events, "SocketPoll_watch");
	slot = find_watched(poll, fd);
	error = check_pollable(fd);
	if (error == 0) {
		if (slot)
			from = slot->due.events;
		else
			socketpoll__provide_slot(poll, fd);
		tag = socketpoll__next_tag(poll);
		error = look_anew(poll, fd, from, events, tag);
	}
	if (error != 0) {
		if (slot)
			release_watched(poll, fd, slot);
		socketpoll__failed("SocketPoll_watch", fd, error);
	}
	if (!slot) {
		slot = socketpoll__acquire_slot(poll, fd);
		poll->count++;
	}
	slot->due.tag = tag & LAST_TAG;
	slot->due.events = events & ASKABLE;
	slot->due.watched = fd;
	slot->socket = NULL;
	slot->data = data;
}

void SocketPoll_unwatch(T poll, int fd)
{
	Slot *slot;

	CHECK_POLL(poll);
	slot = fd < 0 ? NULL : socketpoll__find_slot(poll, fd);
	if (slot && !slot->socket)
		release_watched(poll, fd, slot);
}
