/* SPDX-License-Identifier: MIT */
/* The back end of SocketPoll for Linux: epoll keeps the set, with descriptor and tag in its 64
 * bits. */
#include "config.h"

#include "poll/rep.h"

#if HAVE_EPOLL_CREATE1
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

static int open_epoll(SocketPoll_T poll)
{
	poll->fd = epoll_create1(EPOLL_CLOEXEC);
	return poll->fd < 0 ? errno : 0;
}

static void close_epoll(SocketPoll_T poll)
{
	close_descriptor(poll->fd);
	poll->fd = -1;
}

/* A descriptor with no wanted events is not in the set, because epoll would report its errors
 * again and again. */
static int set_interest(SocketPoll_T poll, int fd, unsigned from, unsigned to, uint32_t tag)
{
	struct epoll_event e = { 0 };
	int operation = !from ? EPOLL_CTL_ADD : !to ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

	if (!from && !to)
		return 0;
	e.events = (to & SocketPoll_READ ? EPOLLIN : 0u) | (to & SocketPoll_WRITE ? EPOLLOUT : 0u);
	e.data.u64 = (uint64_t)tag << 32 | (uint32_t)fd;
	return epoll_ctl(poll->fd, operation, fd, &e) == 0 ? 0 : errno;
}

static unsigned reported_events(uint32_t events)
{
	return (events & ~(uint32_t)EPOLLOUT ? SocketPoll_READ : 0u)
		| (events & ~(uint32_t)EPOLLIN ? SocketPoll_WRITE : 0u);
}

static int wait_epoll(SocketPoll_T poll, int timeout_ms)
{
	struct epoll_event got[BATCH];
	int i, n = epoll_wait(poll->fd, got, BATCH, timeout_ms);

	for (i = 0; i < n; i++)
		socketpoll__add_ready(poll, (int)(uint32_t)got[i].data.u64,
			(uint32_t)(got[i].data.u64 >> 32),
			reported_events(got[i].events));
	return n;
}

const Backend socketpoll__epoll = { "epoll", open_epoll, close_epoll, set_interest, wait_epoll };
#endif
