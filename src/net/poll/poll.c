/* SPDX-License-Identifier: MIT */
/* The back end of SocketPoll for every system. The set is an array for poll(2), and an index of
 * it by descriptor.
 *
 * Invariant: fds[0..n) and tags[0..n) are the set. where[fd] is the index in them plus 1, or 0. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "poll/rep.h"

typedef struct PollSet {
	struct pollfd *fds;
	uint32_t *tags;
	uint32_t *where;
	size_t n, room, nwhere;
	/* where the next search for events begins, so that each descriptor has its turn if there are
	 * more than a batch */
	size_t start;
} PollSet;

static int open_set(SocketPoll_T poll)
{
	NEW0(poll->arena, poll->set);
	return 0;
}

static void close_set(SocketPoll_T poll)
{
	(void)poll;
}

static void provide_entry(SocketPoll_T poll, PollSet *s, int fd)
{
	size_t n = (size_t)fd + 1;

	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 32;
		struct pollfd *fds =
			socketpoll__grow_array(poll->arena, s->fds, s->n, room, sizeof *fds);

		s->tags = socketpoll__grow_array(poll->arena, s->tags, s->n, room, sizeof *s->tags);
		s->fds = fds;
		s->room = room;
	}
	if (n > s->nwhere) {
		n = n < 2 * s->nwhere ? 2 * s->nwhere : n < 64 ? 64 : n;
		s->where = socketpoll__grow_array(poll->arena, s->where, s->nwhere, n,
			sizeof *s->where);
		s->nwhere = n;
	}
}

static void drop_entry(PollSet *s, int fd)
{
	size_t i = s->where[fd] - 1;

	s->n--;
	s->fds[i] = s->fds[s->n];
	s->tags[i] = s->tags[s->n];
	s->where[s->fds[i].fd] = (uint32_t)i + 1;
	s->where[fd] = 0;
}

static int set_entry(SocketPoll_T poll, int fd, unsigned from, unsigned to, uint32_t tag)
{
	PollSet *s = poll->set;
	struct pollfd *p;

	if (!to) {
		if (from)
			drop_entry(s, fd);
		return 0;
	}
	if (!from) {
		if (fcntl(fd, F_GETFD) < 0)
			return errno;
		provide_entry(poll, s, fd);
		s->where[fd] = (uint32_t)++s->n;
	}
	p = &s->fds[s->where[fd] - 1];
	s->tags[s->where[fd] - 1] = tag;
	p->fd = fd;
	p->events =
		(short)((to & SocketPoll_READ ? POLLIN : 0) | (to & SocketPoll_WRITE ? POLLOUT : 0));
	return 0;
}

static unsigned reported_events(short events)
{
	return (events & ~POLLOUT ? SocketPoll_READ : 0u) | (events & ~POLLIN ? SocketPoll_WRITE : 0u);
}

static int wait_set(SocketPoll_T owner, int timeout_ms)
{
	PollSet *s = owner->set;
	int ready = poll(s->fds, (nfds_t)s->n, timeout_ms);
	size_t i, at = s->start;

	if (ready < 0)
		return -1;
	for (i = 0; i < s->n && ready > 0 && owner->nready < BATCH; i++, at++) {
		if (at >= s->n)
			at = 0;
		if (s->fds[at].revents) {
			socketpoll__add_ready(owner, s->fds[at].fd, s->tags[at],
				reported_events(s->fds[at].revents));
			ready--;
		}
	}
	s->start = at;
	return owner->nready;
}

const Backend socketpoll__poll = { "poll", open_set, close_set, set_entry, wait_set };
