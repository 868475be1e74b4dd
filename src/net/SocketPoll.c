/* SPDX-License-Identifier: MIT */
/* SocketPoll has slots for sockets and watched descriptors (poll/slots.c, poll/watch.c), and a heap
 * of deadlines and timers (poll/timers.c). It has a batch of events from the kernel, and a back end
 * for the kernel (poll/epoll.c, poll/kqueue.c, poll/poll.c). The representation and its invariant
 * are in poll/rep.h. This file opens and closes polls, adds and removes sockets, and waits. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#if HAVE_SYS_EVENTFD_H
#include <sys/eventfd.h>
#endif

#include <core/SocketPoll.h>
#include "poll/rep.h"

#define T SocketPoll_T

EXCEPT_DEFINE(SocketPoll_Failed, NULL, "event loop operation failed");

static const uint32_t DEAD = 0xDEAD9011;

static const Backend *const backends[] = { /* the best first */
#if HAVE_EPOLL_CREATE1
	&socketpoll__epoll,
#endif
#if HAVE_KQUEUE
	&socketpoll__kqueue,
#endif
	&socketpoll__poll
};

/* ---- checks ---- */

void socketpoll__bad(const struct SocketPoll *poll, const char *function)
{
	if (!poll)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the poll is NULL", function);
	if (poll->magic == POLL_MAGIC)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the poll is that of process %ld", function,
			(long)poll->process);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not a live poll", function, (const void *)poll);
}

void socketpoll__failed(const char *what, int fd, int error)
{
	errno = error;
	EXCEPT_RAISE_ERRNO(SocketPoll_Failed, "%s: descriptor %d", what, fd);
}

/* ---- leaving ---- */

/* A socket that is closing has a watch of no poll, so nothing may be asked of that poll. */
static void *closing_watch_of(T poll)
{
	return (char *)poll + 1;
}

static T poll_of(void *watch)
{
	return (T)((uintptr_t)watch & ~(uintptr_t)1);
}

static void unlink_closing(T poll, const Slot *slot)
{
	Slot **link = &poll->closing;

	while (*link != slot)
		link = &(*link)->next_closing;
	*link = slot->next_closing;
}

/* The function that Socket_close calls. */
static void unwatch_socket(Socket_T s, void *watch)
{
	T poll = poll_of(watch);
	Slot *slot = socketpoll__slot_at(poll, Socket_fd(s));

	if (watch == poll)
		socketpoll__let_go(poll, slot);
	else
		unlink_closing(poll, slot);
	socket__set_watch(s, NULL, NULL);
	socketpoll__release_slot(poll, Socket_fd(s));
}

/* ---- wake-up ---- */

static int open_pipe(int wake[2])
{
	WITHOUT_CANCELLATION;
	int i;

	if (pipe(wake) != 0)
		return errno;
	for (i = 0; i < 2; i++) {
		fcntl(wake[i], F_SETFD, FD_CLOEXEC);
		fcntl(wake[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

/* Returns 1 if the kernel, or a filter of system calls (seccomp), refuses the call as such. */
static int is_call_refused(int error)
{
	return error == ENOSYS || error == EPERM || error == EACCES;
}

static int open_wake(int wake[2])
{
#if HAVE_SYS_EVENTFD_H
	wake[0] = wake[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake[0] >= 0)
		return 0;
	if (!is_call_refused(errno))
		return errno;
#endif
	return open_pipe(wake);
}

static void close_wake(int wake[2])
{
	if (wake[1] != wake[0])
		close_descriptor(wake[1]);
	close_descriptor(wake[0]);
	wake[0] = wake[1] = -1;
}

void SocketPoll_wake(T poll)
{
	static const uint64_t one = 1; /* an eventfd takes 8 bytes; a pipe takes them, too */
	int error = errno;

	CHECK_POLL(poll);
	if (!__atomic_exchange_n(&poll->waking, 1, __ATOMIC_ACQ_REL))
		while (write(poll->wake[1], &one, sizeof one) < 0 && errno == EINTR)
			;
	errno = error;
}

/* Clears the flag by an exchange, so that the caller then sees everything that another thread
 * wrote before it woke us. A plain store could come after the caller's loads, and a wake-up
 * between the two would be lost. */
static void clear_wake_up(T poll)
{
	uint64_t sink;

	while (read(poll->wake[0], &sink, sizeof sink) < 0 && errno == EINTR)
		;
	__atomic_exchange_n(&poll->waking, 0, __ATOMIC_ACQ_REL);
}

/* ---- lifecycle ---- */

static void close_closing(T poll);

static void close_poll(T poll)
{
	poll->backend->close(poll);
	close_wake(poll->wake);
}

static void end_poll(T *p)
{
	T poll = *p;
	size_t i, k;

	close_closing(poll); /* ends the rest of the tick, if the thread ended in one */
	for (i = 0; i < poll->nslots; i++)
		for (k = 0; k < SEGMENT; k++)
			if (poll->slots[i][k].socket)
				socket__set_watch(poll->slots[i][k].socket, NULL, NULL);
	poll->magic = DEAD;
	close_poll(poll);
}

/* A close runs deferred calls of the program, which may end the thread. */
static void dispose_poll(void *cl)
{
	T poll __attribute__((cleanup(end_poll))) = cl;

	close_closing(poll);
}

static const Backend *find_backend(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof backends / sizeof backends[0]; i++)
		if (!name || strcmp(backends[i]->name, name) == 0)
			return backends[i];
	RAISE_FOR_ERRNO(SocketPoll_Failed, ENOSYS,
		"SocketPoll_new: no back end \"%s\" on this system", name);
}

/* Returns 0 or an error number. */
static int open_backend(T poll, const Backend *backend)
{
	int error;

	poll->backend = backend;
	error = backend->open(poll);
	return error ? error : backend->set(poll, poll->wake[0], 0, SocketPoll_READ, WAKE_TAG);
}

/* Opens the best back end that is not refused. The last, poll(2), needs no descriptor. Returns 0
 * or an error number. */
static int open_best_backend(T poll)
{
	const Backend *const *b = backends;
	const Backend *const *last = b + sizeof backends / sizeof backends[0] - 1;
	int error;

	while (is_call_refused(error = open_backend(poll, *b)) && b < last) {
		poll->backend->close(poll);
		b++;
	}
	return error;
}

static void open_poll(T poll, const char *backend)
{
	TRY {
		int error = open_wake(poll->wake);

		if (error == 0)
			error = backend ? open_backend(poll, poll->backend) : open_best_backend(poll);
		if (error != 0)
			RAISE_FOR_ERRNO(SocketPoll_Failed, error, "SocketPoll_new: %s", strerror(error));
	} ELSE {
		close_poll(poll);
		RERAISE;
	} END_TRY;
}

T SocketPoll_new_with(Arena_T arena, const char *backend)
{
	int error = errno;
	T poll = CALLOC(arena, 1, sizeof *poll);

	poll->arena = arena;
	poll->backend = find_backend(backend);
	poll->process = getpid();
	poll->fd = poll->wake[0] = poll->wake[1] = -1;
	poll->heap.due = socketpoll__due_at;
	Arena_defer(arena, dispose_poll, poll);
	open_poll(poll, backend);
	poll->magic = POLL_MAGIC;
	errno = error;
	return poll;
}

T SocketPoll_new(Arena_T arena)
{
	return SocketPoll_new_with(arena, NULL);
}

const char *SocketPoll_backend(T poll)
{
	CHECK_POLL(poll);
	return poll->backend->name;
}

/* ---- in and out ---- */

void socketpoll__check_events(unsigned events, const char *function)
{
	if (events & ~(unsigned)ASKABLE)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: 0x%x is not made of READ and WRITE", function, events);
}

/* Returns 0, or the kernel's error number if it does not accept the descriptor. */
static int register_descriptor(T poll, int fd, unsigned events, uint32_t tag)
{
	if (events)
		return poll->backend->set(poll, fd, 0, events, tag);
	return fcntl(fd, F_GETFD) < 0 ? errno : 0;
}

void SocketPoll_add(T poll, Socket_T s, unsigned events, void *data)
{
	const Slot *other;
	Slot *slot;
	uint32_t tag;
	int fd, error;

	CHECK_OWN(poll);
	CHECK(s, "SocketPoll_add: the socket is NULL");
	socketpoll__check_events(events, "SocketPoll_add");
	fd = Socket_fd(s);
	CHECK(!socket__watch(s), "SocketPoll_add: socket %d is in %s poll already", fd,
		poll_of(socket__watch(s)) == poll ? "this" : "another");
	other = socketpoll__find_slot(poll, fd);
	CHECK(!other, "SocketPoll_add: descriptor %d is in the poll already, %s", fd,
		other->socket ? "as another socket's" : "and watched");
	socketpoll__provide_slot(poll, fd);
	tag = socketpoll__next_tag(poll);
	error = register_descriptor(poll, fd, events, tag);
	CHECK(error != EBADF, "SocketPoll_add: descriptor %d was closed behind its socket's back", fd);
	if (error != 0)
		socketpoll__failed("SocketPoll_add", fd, error);
	slot = socketpoll__acquire_slot(poll, fd);
	slot->due.at = LAZYHEAP_NEVER;
	slot->due.tag = tag & LAST_TAG;
	slot->due.events = events & ASKABLE;
	slot->socket = s;
	slot->data = data;
	poll->count++;
	socket__set_watch(s, poll, unwatch_socket);
}

void SocketPoll_change(T poll, Socket_T s, unsigned events, void *data)
{
	Slot *slot;
	int error = 0;

	CHECK_OWN(poll);
	socketpoll__check_events(events, "SocketPoll_change");
	slot = socketpoll__slot_of(poll, s, "SocketPoll_change");
	if (events != slot->due.events)
		error = poll->backend->set(poll, Socket_fd(s), slot->due.events, events, slot->due.tag);
	if (error != 0)
		socketpoll__failed("SocketPoll_change", Socket_fd(s), error);
	slot->due.events = events & ASKABLE;
	slot->data = data;
}

void SocketPoll_remove(T poll, Socket_T s)
{
	CHECK_POLL(poll);
	socketpoll__slot_of(poll, s, "SocketPoll_remove");
	unwatch_socket(s, poll);
}

void SocketPoll_close(T poll, Socket_T *socket)
{
	Slot *slot;

	CHECK_POLL(poll);
	CHECK(socket, "SocketPoll_close: the pointer is NULL");
	if (!*socket || socket__watch(*socket) != poll) {
		Socket_close(socket);
		return;
	}
	slot = socketpoll__slot_at(poll, Socket_fd(*socket));
	socketpoll__let_go(poll, slot);
	socket__set_watch(*socket, closing_watch_of(poll), NULL);
	slot->next_closing = poll->closing;
	poll->closing = slot;
	*socket = NULL;
}

int SocketPoll_fd(T poll)
{
	CHECK_POLL(poll);
	return poll->fd;
}

size_t SocketPoll_count(T poll)
{
	CHECK_POLL(poll);
	return poll->count;
}

/* A close calls the socket's owner, which may close another socket of the list. */
static void close_closing(T poll)
{
	while (poll->closing) {
		Slot *slot = poll->closing;
		Socket_T s = slot->socket;

		poll->closing = slot->next_closing;
		socketpoll__release_slot(poll, Socket_fd(s));
		socket__set_watch(s, NULL, NULL);
		Socket_close(&s);
	}
}

/* ---- waiting ---- */

/* Returns the slot of the descriptor if it has this tag, or NULL. */
static const Slot *find_slot_with_tag(T poll, int fd, uint32_t tag)
{
	const Slot *slot = socketpoll__find_slot(poll, fd);

	return slot && slot->due.tag == tag ? slot : NULL;
}

static void fill_event(SocketPoll_Event *e, const Slot *slot, int fd, unsigned events)
{
	e->socket = slot->socket;
	e->data = slot->data;
	e->events = events;
	e->tag = slot->due.tag;
	e->descriptor = fd;
}

/* Hands out the remaining events of the tick. Drops events of sockets that have left, and events
 * that are no longer asked for. */
static int report_ready(T poll, SocketPoll_Event *events, int n)
{
	int count = 0;

	while (count < n && poll->next_ready < poll->nready) {
		const Ready *ready = &poll->ready[poll->next_ready++];
		const Slot *slot =
			ready->tag != WAKE_TAG ? find_slot_with_tag(poll, ready->fd, ready->tag) : NULL;

		if (slot && (slot->due.events & ready->events))
			fill_event(&events[count++], slot, ready->fd, slot->due.events & ready->events);
	}
	return count;
}

/* A timer's function runs only while the caller holds no event: it could close the socket of that
 * event. */
static int report_due(T poll, SocketPoll_Event *events, int n, int *ran)
{
	int count = 0;
	uint32_t *place;
	int64_t at;

	while (count < n && (place = lazyheap__first(&poll->heap, &at)) != NULL
		&& at <= poll->horizon) {
		Due *due = (Due *)(void *)place;

		if (due->tag) {
			const Slot *slot = (const Slot *)(void *)due;

			fill_event(&events[count++], slot, Socket_fd(slot->socket), SocketPoll_TIMEOUT);
			lazyheap__remove(&poll->heap, place);
			due->at = LAZYHEAP_NEVER;
		} else if (count > 0)
			break;
		else {
			*ran = 1;
			socketpoll__run_timer(poll, (SocketPoll_Timer_T)(void *)due);
		}
	}
	return count;
}

/* Asks the kernel for events, and waits until there are some, the first deadline passes, or
 * `until`. Returns 1 if the poll was woken. After a signal it sets round_up: the next wait is
 * rounded up, because the millisecond of `until` had begun. */
static int collect_ready(T poll, int64_t until, int *round_up)
{
	int64_t at = SOCKET__NEVER;
	int i, ms, awake = 0;

	lazyheap__first(&poll->heap, &at);
	poll->nready = poll->next_ready = 0;
	ms = socket__poll_ms(at < until ? at : until);
	if (poll->backend->wait(poll, ms) < 0) {
		poll->nready = 0;
		if (errno != EINTR && errno != EAGAIN)
			EXCEPT_RAISE_ERRNO(SocketPoll_Failed, "SocketPoll_wait");
		if (ms != 0 && until != SOCKET__NEVER)
			*round_up = 1;
	}
	poll->horizon = socket__now_ms();
	for (i = 0; i < poll->nready && !awake; i++)
		awake = poll->ready[i].tag == WAKE_TAG;
	if (awake)
		clear_wake_up(poll);
	return awake;
}

int SocketPoll_wait(T poll, SocketPoll_Event *events, int n, int timeout_ms)
{
	int64_t until = SOCKET__NEVER;
	int count, awake = 0, round_up = 0, error;

	CHECK_POLL(poll);
	CHECK(events, "SocketPoll_wait: events is NULL");
	CHECK(n > 0, "SocketPoll_wait: room for %d events, not at least 1", n);
	count = report_ready(poll, events, n);
	if (count > 0)
		return count;
	error = errno;
	count = report_due(poll, events, n, &awake);
	if (count > 0 || awake) {
		errno = error;
		return count;
	}
	CHECK_OWN(poll); /* not for each event, because it makes a system call */
	if (timeout_ms >= 0)
		until = socket__now_ms() + timeout_ms;
	do {
		close_closing(poll);
		awake = collect_ready(poll, until + round_up, &round_up);
		count = report_ready(poll, events, n);
		if (count == 0)
			count = report_due(poll, events, n, &awake);
	} while (count == 0 && !awake && poll->horizon < until + round_up);
	errno = error;
	return count;
}

int SocketPoll_holds(T poll, const SocketPoll_Event *e)
{
	CHECK_POLL(poll);
	CHECK(e && e->tag, "SocketPoll_holds: no event of the poll is at %p", (const void *)e);
	return find_slot_with_tag(poll, e->descriptor, e->tag) != NULL;
}
