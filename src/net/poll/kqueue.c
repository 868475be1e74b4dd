/* SPDX-License-Identifier: MIT */
/* The back end of SocketPoll for the BSDs and macOS: kqueue keeps the set, with one filter for
 * reading and one for writing. */
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

/* Stores the changes that turn the filters `from` into `to`. A filter that stays is added again,
 * to change its tag. Returns the number of changes, at most two. */
static int fill_changes(struct kevent *changes, int fd, unsigned from, unsigned to, uint32_t tag)
{
	static const struct { unsigned event; short filter; } filters[2]
		= { { SocketPoll_READ, EVFILT_READ }, { SocketPoll_WRITE, EVFILT_WRITE } };
	int i, n = 0;

	for (i = 0; i < 2; i++)
		if ((from | to) & filters[i].event) {
			int flags = to & filters[i].event ? EV_ADD : EV_DELETE;

			EV_SET(&changes[n], (uintptr_t)fd, filters[i].filter, flags, 0, 0,
				(void *)(uintptr_t)tag);
			n++;
		}
	return n;
}

/* The kernel makes the changes in their order and stops at the first that fails. This function
 * then undoes those before. */
static int set_filters(SocketPoll_T poll, int fd, unsigned from, unsigned to, uint32_t tag)
{
	struct kevent changes[2];
	int error, undone, n = fill_changes(changes, fd, from, to, tag);

	if (kevent(poll->fd, changes, n, NULL, 0, NULL) == 0)
		return 0;
	error = errno;
	if (n == 2) {
		n = fill_changes(changes, fd, to & SocketPoll_READ, from & SocketPoll_READ, tag);
		undone = kevent(poll->fd, changes, n, NULL, 0, NULL);
		(void)undone; /* this restores filters that existed a moment ago */
	}
	return error;
}

static int wait_kqueue(SocketPoll_T poll, int timeout_ms)
{
	struct kevent got[BATCH];
	struct timespec t = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
	int i, n = kevent(poll->fd, NULL, 0, got, BATCH, timeout_ms < 0 ? NULL : &t);

	for (i = 0; i < n; i++)
		socketpoll__add_ready(poll, (int)got[i].ident, (uint32_t)(uintptr_t)got[i].udata,
			got[i].filter == EVFILT_READ ? SocketPoll_READ : SocketPoll_WRITE);
	return n;
}

const Backend socketpoll__kqueue = {
	"kqueue", open_kqueue, close_kqueue, set_filters, wait_kqueue
};
#endif
