/* SPDX-License-Identifier: MIT */
/* kqueue(2) on Linux, for the tests of that back end. A queue is an epoll that holds each
 * descriptor once, and a table of what each filter was added with. Errors and order are those of
 * FreeBSD's manual. To add a closed descriptor is EBADF, and to delete one that is not there is
 * ENOENT. A closed descriptor is in no queue. Reading and writing are separate events. A signal
 * ends a wait. */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/event.h>

enum { MOST = 4096, READING = 0, WRITING = 1 };
static const uint32_t interest[2] = { EPOLLIN | EPOLLRDHUP, EPOLLOUT };

typedef struct Queue {
	uint32_t events[MOST];
	void *udata[MOST][2];
} Queue;

/* by descriptor; a closed one's place goes to the next with its number */
static Queue *queues[MOST];

int kqueue(void)
{
	int fd = epoll_create1(0);

	if (fd < 0)
		return -1;
	if (fd >= MOST)
		abort();
	if (!queues[fd])
		queues[fd] = malloc(sizeof *queues[fd]);
	if (!queues[fd])
		abort();
	memset(queues[fd], 0, sizeof *queues[fd]);
	return fd;
}

static int control_epoll(int queue, int operation, int fd, uint32_t events)
{
	struct epoll_event e = { 0 };

	e.events = events;
	e.data.fd = fd;
	return epoll_ctl(queue, operation, fd, &e);
}

static int add_filter(int queue, const struct kevent *change, int which)
{
	Queue *q = queues[queue];
	int fd = (int)change->ident;
	uint32_t events = q->events[fd] | interest[which];

	if (!q->events[fd] || (control_epoll(queue, EPOLL_CTL_MOD, fd, events) != 0 && errno == ENOENT))
		q->events[fd] = 0; /* its number belongs to a new descriptor */
	if (!q->events[fd] && control_epoll(queue, EPOLL_CTL_ADD, fd, events = interest[which]) != 0)
		return -1;
	q->events[fd] = events;
	q->udata[fd][which] = change->udata;
	return 0;
}

static int delete_filter(int queue, const struct kevent *change, int which)
{
	Queue *q = queues[queue];
	int fd = (int)change->ident;
	uint32_t events = q->events[fd] & ~interest[which];

	if (events == q->events[fd]) {
		errno = ENOENT;
		return -1;
	}
	q->events[fd] = events;
	return control_epoll(queue, events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL, fd, events);
}

static int apply_change(int queue, const struct kevent *change)
{
	int which = change->filter == EVFILT_WRITE ? WRITING : READING;

	if (change->ident >= MOST)
		abort();
	return change->flags & EV_DELETE ? delete_filter(queue, change, which)
		: add_filter(queue, change, which);
}

static int to_milliseconds(const struct timespec *t)
{
	if (!t)
		return -1;
	return t->tv_sec >= INT_MAX / 1000 - 1 ? INT_MAX
		: (int)(t->tv_sec * 1000 + (t->tv_nsec + 999999) / 1000000);
}

/* Adds at most two events for a descriptor. An error or hang-up is reported for either filter. */
static int add_events(const Queue *q, const struct epoll_event *e, struct kevent *events)
{
	static const short filters[2] = { EVFILT_READ, EVFILT_WRITE };
	uint32_t always = e->events & (EPOLLERR | EPOLLHUP);
	int n = 0, which, fd = e->data.fd;

	for (which = READING; which <= WRITING; which++)
		if ((q->events[fd] & interest[which]) && (always || (e->events & interest[which])))
			EV_SET(&events[n++], (uintptr_t)fd, filters[which],
				(unsigned short)(e->events & (EPOLLHUP | EPOLLRDHUP) ? EV_EOF : 0), 0, 0,
				q->udata[fd][which]);
	return n;
}

int kevent(int queue, const struct kevent *changes, int nchanges, struct kevent *events,
	int nevents, const struct timespec *timeout)
{
	struct epoll_event got[MOST];
	int i, n, told = 0;

	for (i = 0; i < nchanges; i++)
		if (apply_change(queue, &changes[i]) != 0)
			return -1;
	if (nevents == 0)
		return 0;
	n = epoll_wait(queue, got, nevents / 2 < MOST ? nevents / 2 : MOST, to_milliseconds(timeout));
	for (i = 0; i < n; i++)
		told += add_events(queues[queue], &got[i], &events[told]);
	return n < 0 ? -1 : told;
}
