/* SPDX-License-Identifier: MIT */
/* The back end of SocketPoll for every system: the set is an array for poll(2), and where each
 * descriptor is in it.
 *
 * Invariant: fds[i] and tags[i], i < n, are what is asked; where[fd] is its i plus 1, or 0. */
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
	size_t start;  /* where the next look at the answers begins: with more than a batch, each has its turn */
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

/* An array of n elements, at least twice as many as there were, with the old ones in it. */
static void *grow_array(Arena_T arena, const void *old, size_t have, size_t n, size_t size)
{
	void *p = Arena_calloc(arena, n, size);

	return have ? memcpy(p, old, have * size) : p;
}

static void provide_entry(SocketPoll_T poll, PollSet *s, int fd)
{
	size_t n = (size_t)fd + 1;

	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 32;
		struct pollfd *fds = grow_array(poll->arena, s->fds, s->n, room, sizeof *fds);

		s->tags = grow_array(poll->arena, s->tags, s->n, room, sizeof *s->tags);
		s->fds = fds;
		s->room = room;
	}
	if (n > s->nwhere) {
		n = n < 2 * s->nwhere ? 2 * s->nwhere : n < 64 ? 64 : n;
		s->where = grow_array(poll->arena, s->where, s->nwhere, n, sizeof *s->where);
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
	p->events = (short)((to & SocketPoll_READ ? POLLIN : 0) | (to & SocketPoll_WRITE ? POLLOUT : 0));
	return 0;
}

static unsigned reported_events(short events)
{
	return (events & ~POLLOUT ? SocketPoll_READ : 0u) | (events & ~POLLIN ? SocketPoll_WRITE : 0u);
}

static int call_poll(struct pollfd *fds, size_t n, int timeout_ms)
{
	return poll(fds, (nfds_t)n, timeout_ms); /* a function: in the others, the name is a parameter's */
}

static int wait_set(SocketPoll_T poll, int timeout_ms)
{
	PollSet *s = poll->set;
	int ready = call_poll(s->fds, s->n, timeout_ms);
	size_t i, at = s->start;

	if (ready < 0)
		return -1;
	for (i = 0; i < s->n && ready > 0 && poll->nready < BATCH; i++, at++) {
		if (at >= s->n)
			at = 0;
		if (s->fds[at].revents) {
			socketpoll__ready(poll, s->fds[at].fd, s->tags[at], reported_events(s->fds[at].revents));
			ready--;
		}
	}
	s->start = at;
	return poll->nready;
}

const Backend socketpoll__poll = { "poll", open_set, close_set, set_entry, wait_set };
