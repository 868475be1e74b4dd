/* SPDX-License-Identifier: MIT */
/* The back end of SocketPoll for the BSDs and macOS: kqueue keeps the set, a filter each for reading and writing. */
#include "config.h"

#include "poll/rep.h"

#if HAVE_KQUEUE
#include <errno.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>
#include <fcntl.h>
#include <unistd.h>

static int open_kqueue(SocketPoll_T poll)
{
	poll->fd = kqueue();
	if (poll->fd < 0)
		return errno;
	fcntl(poll->fd, F_SETFD, FD_CLOEXEC);
	return 0;
}

static void close_kqueue(SocketPoll_T poll)
{
	close_descriptor(poll->fd);
	poll->fd = -1;
}

static int set_filter(SocketPoll_T poll, int fd, short filter, int on, uint32_t tag)
{
	struct kevent change;

	EV_SET(&change, (uintptr_t)fd, filter, on ? EV_ADD : EV_DELETE, 0, 0, (void *)(uintptr_t)tag);
	return kevent(poll->fd, &change, 1, NULL, 0, NULL) == 0 ? 0 : errno;
}

static int set(SocketPoll_T poll, int fd, unsigned from, unsigned to, uint32_t tag)
{
	unsigned changed = from ^ to;
	int error = 0, undone;

	if (changed & SocketPoll_READ)
		error = set_filter(poll, fd, EVFILT_READ, (to & SocketPoll_READ) != 0, tag);
	if (error != 0 || !(changed & SocketPoll_WRITE))
		return error;
	error = set_filter(poll, fd, EVFILT_WRITE, (to & SocketPoll_WRITE) != 0, tag);
	if (error != 0 && (changed & SocketPoll_READ)) {
		undone = set_filter(poll, fd, EVFILT_READ, (from & SocketPoll_READ) != 0, tag);
		(void)undone; /* what was there a moment ago */
	}
	return error;
}

static int wait_kqueue(SocketPoll_T poll, int timeout_ms)
{
	struct kevent got[BATCH];
	struct timespec t = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
	int i, n = kevent(poll->fd, NULL, 0, got, BATCH, timeout_ms < 0 ? NULL : &t);

	for (i = 0; i < n; i++)
		socketpoll__ready(poll, (int)got[i].ident, (uint32_t)(uintptr_t)got[i].udata,
			got[i].filter == EVFILT_READ ? SocketPoll_READ : SocketPoll_WRITE);
	return n;
}

const Backend socketpoll__kqueue = { "kqueue", open_kqueue, close_kqueue, set, wait_kqueue };
#endif
