/* SPDX-License-Identifier: MIT */
/* SocketPoll, continued: watched descriptors, which do not belong to a Socket_T. */
#include "config.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "poll/rep.h"

#define T SocketPoll_T

/* Returns 0, or an error number for a regular file. A file is always ready. epoll refuses files,
 * so the other back ends do, too. */
static int check_pollable(int fd)
{
	struct stat s;

	if (fstat(fd, &s) != 0)
		return errno;
	return S_ISREG(s.st_mode) || S_ISDIR(s.st_mode) ? EPERM : 0;
}

/* The kernel does not know a descriptor any more if it was closed and opened again since it was
 * watched. */
static int register_anew(T poll, int fd, unsigned from, unsigned to, uint32_t tag)
{
	int error = from ? poll->backend->set(poll, fd, from, to, tag) : ENOENT;

	return error == ENOENT ? poll->backend->set(poll, fd, 0, to, tag) : error;
}

static void release_watched(T poll, int fd, Slot *slot)
{
	socketpoll__let_go(poll, slot);
	socketpoll__release_slot(poll, fd);
}

/* Returns the slot of the descriptor if that is watched, or NULL. Checked: it belongs to a
 * socket. */
static Slot *find_watched(T poll, int fd)
{
	Slot *slot = fd < 0 ? NULL : socketpoll__find_slot(poll, fd);

	CHECK(!slot || !slot->socket,
		"SocketPoll_watch: descriptor %d is that of a socket in the poll", fd);
	return slot;
}

/* The descriptor may be new, watched already, or another one with the same number. It gets a new
 * tag, so no event from before is reported. */
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
		error = register_anew(poll, fd, from, events, tag);
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
