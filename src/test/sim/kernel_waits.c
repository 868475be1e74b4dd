/* SPDX-License-Identifier: MIT */
/* The calls of the simulated kernel that wait: poll, epoll, what wakes them, and sleep. */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "kernel.h"

enum { SPIN = 10000 };

typedef struct PollWait {
	struct pollfd *fds;
	nfds_t n;
} PollWait;

static int any_is_ready(void *cl)
{
	const PollWait *w = cl;
	nfds_t i;
	int ready = 0;

	for (i = 0; i < w->n; i++) {
		const File *f = kernel_file(w->fds[i].fd);
		unsigned events = f ? kernel_ready(f) : EPOLLERR;

		w->fds[i].revents =
			(short)(events & ((unsigned)w->fds[i].events | EPOLLERR | EPOLLHUP));
		ready += w->fds[i].revents != 0;
	}
	return ready;
}

CALL(int, poll, struct pollfd *fds, nfds_t n, int ms)
{
	PollWait w = { fds, n };

	if (ms != 0 && kernel_is_interrupted()) {
		kernel_wait(any_is_ready, &w, sim_below(ms < 0 || ms > 50 ? 50 : ms));
		errno = EINTR;
		return -1;
	}
	kernel_wait(any_is_ready, &w, ms);
	return any_is_ready(&w);
}

/* With _FORTIFY_SOURCE it has this name. */
CALL(int, __poll_chk, struct pollfd *p, nfds_t n, int ms, size_t size)
{
	(void)size;
	return __wrap_poll(p, n, ms);
}

/* ---- epoll ---- */

void kernel_unwatch(File *epoll, int fd)
{
	int i;

	for (i = 0; i < epoll->nwatches; i++)
		if (epoll->watches[i].fd == fd)
			epoll->watches[i--] = epoll->watches[--epoll->nwatches];
}

static unsigned events_for(const File *f, unsigned events)
{
	return kernel_ready(f) & (events | EPOLLERR | EPOLLHUP);
}

CALL(int, epoll_ctl, int e, int what, int fd, struct epoll_event *event)
{
	File *f = kernel_file(e);
	Watch *w;

	if (!f || !kernel_file(fd))
		return -1;
	for (w = f->watches; w < f->watches + f->nwatches && w->fd != fd; w++)
		;
	if ((w < f->watches + f->nwatches) != (what != EPOLL_CTL_ADD)) {
		errno = what == EPOLL_CTL_ADD ? EEXIST : ENOENT;
		return -1;
	}
	if (what == EPOLL_CTL_DEL) {
		kernel_unwatch(f, fd);
		return 0;
	}
	if (what == EPOLL_CTL_ADD && kernel_fails(faults.epoll, kernel_stream_at(fd), "epoll_ctl")) {
		errno = sim_chance(50) ? ENOMEM : ENOSPC;
		return -1;
	}
	if (what == EPOLL_CTL_ADD) {
		f->nwatches++;
		kernel_file(fd)->loop = f->loop;
	}
	*w = (Watch){ fd, event->events, event->data.u64 };
	return 0;
}

static int epoll_is_ready(void *cl)
{
	const File *f = cl;
	int i;

	for (i = 0; i < f->nwatches; i++)
		if (events_for(kernel_files[f->watches[i].fd], f->watches[i].events))
			return 1;
	return 0;
}

int kernel_loop_waits(int loop)
{
	const KernelLoop *l = &kernel_loops[loop];
	int e;

	for (e = KERNEL_FIRST; e < KERNEL_FILES; e++) {
		File *f = kernel_files[e];

		if (f && f->kind == FILE_EPOLL && f->loop == loop)
			return !l->turns && !epoll_is_ready(f) && (l->wake_at < 0 || l->wake_at > sim_now);
	}
	return 1;
}

static int wait_for_events(File *f, int ms)
{
	KernelLoop *l = &kernel_loops[f->loop];
	int is_ready = epoll_is_ready(f), interrupted = ms != 0 && kernel_is_interrupted();

	kernel_note_loop();
	l->spins = ms == 0 || is_ready ? l->spins + 1 : 0;
	SIM_CHECK(l->spins < SPIN, "a loop spins");
	l->wake_at = ms < 0 ? -1 : sim_now + (int64_t)ms * 1000;
	l->turns = 0;
	if (world.waits && !kernel_quiet)
		world.waits(f->loop, ms != 0 && !is_ready);
	if (interrupted)
		ms = sim_below(ms < 0 || ms > 50 ? 50 : ms);
	kernel_wait(epoll_is_ready, f, ms);
	l->turns = 1;
	l->tick_began = sim_now;
	if (interrupted)
		errno = EINTR;
	return interrupted ? -1 : 0;
}

static int give_events(const File *f, struct epoll_event *events, int n)
{
	int i, first = f->nwatches ? sim_below(f->nwatches) : 0, count = 0;

	for (i = 0; i < f->nwatches && count < n; i++) {
		const Watch *w = &f->watches[(first + i) % f->nwatches];
		unsigned ready = events_for(kernel_files[w->fd], w->events);

		if (ready) {
			events[count].events = ready;
			events[count++].data.u64 = w->data;
		}
	}
	return count;
}

/* Now and then it returns a part of what is ready, as if that were more than fits. */
CALL(int, epoll_wait, int e, struct epoll_event *events, int n, int ms)
{
	File *f = kernel_file(e);

	if (wait_for_events(f, ms) < 0)
		return -1;
	return give_events(f, events, n > 1 && sim_chance(20) ? 1 + sim_below(3) : n);
}

/* ---- eventfd, and sleep ---- */

CALL(int, eventfd, unsigned count, int flags)
{
	(void)count;
	(void)flags;
	return kernel_open(FILE_EVENT);
}

ssize_t __real_read(int fd, void *p, size_t n);
CALL(ssize_t, read, int fd, void *p, size_t n)
{
	File *f;

	if (fd < KERNEL_FIRST)
		return __real_read(fd, p, n);
	f = kernel_file(fd);
	if (!f || f->kind != FILE_EVENT || f->count == 0) {
		errno = EAGAIN;
		return -1;
	}
	memcpy(p, &f->count, sizeof f->count);
	f->count = 0;
	return sizeof f->count;
}

ssize_t __real_write(int fd, const void *p, size_t n);
CALL(ssize_t, write, int fd, const void *p, size_t n)
{
	File *f;
	uint64_t count;

	if (fd < KERNEL_FIRST)
		return __real_write(fd, p, n);
	f = kernel_file(fd);
	if (!f || f->kind != FILE_EVENT) {
		errno = EBADF;
		return -1;
	}
	kernel_give_way();
	memcpy(&count, p, sizeof count);
	f->count += count;
	return sizeof count;
}

/* With _FORTIFY_SOURCE it has this name. */
CALL(ssize_t, __read_chk, int fd, void *p, size_t n, size_t size)
{
	(void)size;
	return __wrap_read(fd, p, n);
}

CALL(int, nanosleep, const struct timespec *t, struct timespec *left)
{
	(void)left;
	task_block(NULL, NULL, sim_now + (int64_t)t->tv_sec * 1000000 + t->tv_nsec / 1000);
	return 0;
}
