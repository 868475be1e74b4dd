/* SPDX-License-Identifier: MIT */
/* SocketPoll: registrations in segments that never move, a heap of deadlines, a batch of events from the kernel, and a
 * back end that knows the kernel. Registrations are numbered, and found by descriptor through these numbers: a program
 * of many loops has a poll each, and its descriptors are spread over all of them.
 *
 * Invariant: a registration is in use when its socket is not NULL; the others are on the free list. Its descriptor
 * is the socket's then, and its tag is unlike that of every other one before it at that descriptor; the kernel looks
 * for `events`, under that tag; and either the socket's watch is this poll, or it is closing, without a tag: on the
 * list of those that are closed when the tick ends, which it leaves if somebody, a pool for instance, closes it before.
 * The heap has room for every registration and every timer, so to
 * set one cannot fail. ready[next_ready..nready) are events that the kernel told and that were not given out: a tick
 * ends when there are none. They are compared with the registration's tag only when they are given out, which is why
 * a handler may remove and close anything.
 *
 * A deadline is told after the events that the kernel had when it passed (`horizon`), so that a peer whose bytes
 * came in time is not said to be late because the loop was. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#if HAVE_SYS_EVENTFD_H
#include <sys/eventfd.h>
#endif

#include <core/SocketPoll.h>
#include "poll/rep.h"

#define T SocketPoll_T

EXCEPT_DEFINE(SocketPoll_Failed, NULL, "event loop operation failed");

static const uint32_t MAGIC = 0x504f4c4c, DEAD = 0xDEAD9011; /* "POLL" */
enum { ASKABLE = SocketPoll_READ | SocketPoll_WRITE };

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

static void bad_poll(const struct SocketPoll *poll, const char *function) CORE_NORETURN;
static void bad_poll(const struct SocketPoll *poll, const char *function)
{
	if (!poll)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the poll is NULL", function);
	if (poll->magic == MAGIC)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the poll is that of process %ld", function, (long)poll->process);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not a live poll", function, (const void *)poll);
}

#define CHECK_POLL(poll) ((poll) && (poll)->magic == MAGIC ? (void)0 : bad_poll((poll), __func__))
/* The kernel's side of an epoll is shared with children. */
#define CHECK_OWN(poll) \
	((poll) && (poll)->magic == MAGIC && (poll)->process == getpid() ? (void)0 : bad_poll((poll), __func__))

static void failed(const char *what, int fd, int error) CORE_NORETURN;
static void failed(const char *what, int fd, int error)
{
	const char *why = strerror(error);

	errno = error;
	if (fd < 0)
		EXCEPT_RAISE_MSG(SocketPoll_Failed, "%s: %s", what, why);
	EXCEPT_RAISE_MSG(SocketPoll_Failed, "%s: socket %d: %s", what, fd, why);
}

/* ---- registrations ---- */

static Registration *at_seat(T poll, uint32_t seat)
{
	return &poll->rows[seat / SEGMENT][seat % SEGMENT];
}

/* 0: none at this descriptor. */
static uint32_t seat_of(T poll, int fd)
{
	size_t i = (size_t)fd / SEGMENT;

	return i < poll->nseats && poll->seats[i] ? poll->seats[i][fd % SEGMENT] : 0;
}

/* Of a socket that is in the poll. */
static Registration *at_descriptor(T poll, int fd)
{
	return at_seat(poll, poll->seats[fd / SEGMENT][fd % SEGMENT]);
}

/* The registration that has this tag, or NULL. */
static const Registration *with_tag(T poll, int fd, uint32_t tag)
{
	uint32_t seat = seat_of(poll, fd);
	const Registration *r = seat ? at_seat(poll, seat) : NULL;

	return r && r->due.tag == tag ? r : NULL;
}

static Registration *registration_of(T poll, Socket_T s, const char *function)
{
	if (!s)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the socket is NULL", function);
	if (socket__watch(s) != poll)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: socket %d is not in the poll", function, Socket_fd(s));
	return at_descriptor(poll, Socket_fd(s));
}

static void *widen(Arena_T arena, const void *old, size_t have, size_t n)
{
	void *wider = Arena_calloc(arena, n, sizeof(void *));

	return have ? memcpy(wider, old, have * sizeof(void *)) : wider;
}

static void provide_seat(T poll, int fd)
{
	size_t i = (size_t)fd / SEGMENT;

	if (i >= poll->nseats) {
		size_t n = i + 1 > 2 * poll->nseats ? i + 1 : 2 * poll->nseats;

		poll->seats = widen(poll->arena, poll->seats, poll->nseats, n);
		poll->nseats = n;
	}
	if (!poll->seats[i])
		poll->seats[i] = CALLOC(poll->arena, SEGMENT, sizeof *poll->seats[i]);
}

/* There is no seat 0. */
static void provide_registration(T poll)
{
	size_t n = poll->nrows;
	Registration *row;
	uint32_t k;

	if (poll->free)
		return;
	if ((n & (n - 1)) == 0)
		poll->rows = widen(poll->arena, poll->rows, n, n ? 2 * n : 1);
	row = CALLOC(poll->arena, SEGMENT, sizeof *row);
	poll->rows[poll->nrows++] = row;
	for (k = SEGMENT; k-- > (n ? 0u : 1u);) {
		row[k].due.place = poll->free;
		poll->free = (uint32_t)(n * SEGMENT) + k;
	}
}

/* Both were provided. */
static Registration *sit_down(T poll, int fd)
{
	uint32_t seat = poll->free;
	Registration *r = at_seat(poll, seat);

	poll->free = r->due.place;
	r->due.place = 0;
	poll->seats[fd / SEGMENT][fd % SEGMENT] = seat;
	return r;
}

static void stand_up(T poll, Registration *r)
{
	int fd = Socket_fd(r->socket);
	uint32_t *seat = &poll->seats[fd / SEGMENT][fd % SEGMENT];

	r->socket = NULL;
	r->due.place = poll->free;
	poll->free = *seat;
	*seat = 0;
}

void socketpoll__reserve(T poll, size_t n)
{
	if (n > poll->heap.room)
		lazyheap__move(&poll->heap, lazyheap__room(poll->arena, n), n);
}

/* Room in the heap for one more than there are. */
static void provide_room(T poll)
{
	size_t n = poll->count + poll->ntimers;

	if (n >= poll->heap.room)
		socketpoll__reserve(poll, n < 16 ? 32 : 2 * n);
}

static uint32_t next_tag(T poll)
{
	poll->last_tag = poll->last_tag == LAST_TAG ? WAKE_TAG + 1 : poll->last_tag + 1;
	return poll->last_tag;
}

static int64_t due_at(const uint32_t *place)
{
	return ((const Due *)(const void *)place)->at;
}

/* Takes it out, as far as the kernel and everybody else are concerned; the slot is still the socket's. In a child
 * the kernel's set is the parent's. */
static void let_go(T poll, Registration *r)
{
	if (r->due.events && poll->process == getpid()) /* to look for nothing does not raise */
		poll->backend->set(poll, Socket_fd(r->socket), r->due.events, 0, r->due.tag);
	lazyheap__remove(&poll->heap, &r->due.place);
	socket__set_watch(r->socket, NULL, NULL);
	r->due.tag = WAKE_TAG; /* which no event in hand has */
	poll->count--;
}

/* The watch of a socket that is closing is that of no poll: nothing may be asked of it. */
static void *closing_in(T poll)
{
	return (char *)poll + 1;
}

static T poll_of(void *watch)
{
	return (T)((uintptr_t)watch & ~(uintptr_t)1);
}

static void take_off_closing(T poll, const Registration *r)
{
	Registration *before = poll->closing;

	if (before == r) {
		poll->closing = r->data;
		return;
	}
	while (before->data != r)
		before = before->data;
	before->data = r->data;
}

static void unwatch(Socket_T s, void *watch)
{
	T poll = poll_of(watch);
	Registration *r = at_descriptor(poll, Socket_fd(s));

	if (watch == poll)
		let_go(poll, r);
	else
		take_off_closing(poll, r);
	socket__set_watch(s, NULL, NULL);
	stand_up(poll, r);
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

/* The kernel, or a filter of system calls (seccomp), does not know this call: there are others. */
static int is_refused(int error)
{
	return error == ENOSYS || error == EPERM || error == EACCES;
}

static int open_wake(int wake[2])
{
#if HAVE_SYS_EVENTFD_H
	wake[0] = wake[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake[0] >= 0)
		return 0;
	if (!is_refused(errno))
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
	static const uint64_t one = 1; /* what an eventfd takes; a pipe takes it too */
	int error = errno;

	CHECK_POLL(poll);
	if (!__atomic_exchange_n(&poll->waking, 1, __ATOMIC_ACQ_REL))
		while (write(poll->wake[1], &one, sizeof one) < 0 && errno == EINTR)
			;
	errno = error;
}

/* What was said before the flag is cleared is seen by the caller, who looks after we return: an exchange, because a
 * store could come after what the caller loads, and a wake-up between the two would be lost. */
static void woken(T poll)
{
	uint64_t sink;

	while (read(poll->wake[0], &sink, sizeof sink) < 0 && errno == EINTR)
		;
	__atomic_exchange_n(&poll->waking, 0, __ATOMIC_ACQ_REL);
}

/* ---- lifecycle ---- */

static void end_tick(T poll);

static void shut(T poll)
{
	poll->backend->close(poll);
	close_wake(poll->wake);
}

static void let_all_go(T *p)
{
	T poll = *p;
	size_t i, k;

	end_tick(poll); /* the rest of it, if the thread ended in one */
	for (i = 0; i < poll->nrows; i++)
		for (k = 0; k < SEGMENT; k++)
			if (poll->rows[i][k].socket)
				socket__set_watch(poll->rows[i][k].socket, NULL, NULL);
	poll->magic = DEAD;
	shut(poll);
}

/* A close runs deferred calls of a pool's program, and these may end the thread. */
static void dispose(void *cl)
{
	T poll __attribute__((cleanup(let_all_go))) = cl;

	end_tick(poll);
}

static const Backend *find_backend(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof backends / sizeof backends[0]; i++)
		if (!name || strcmp(backends[i]->name, name) == 0)
			return backends[i];
	errno = ENOSYS;
	EXCEPT_RAISE_MSG(SocketPoll_Failed, "SocketPoll_new: there is no %s here", name);
}

/* Returns 0 or an error number. */
static int open_backend(T poll, const Backend *backend)
{
	int error;

	poll->backend = backend;
	error = backend->open(poll);
	return error ? error : backend->set(poll, poll->wake[0], 0, SocketPoll_READ, WAKE_TAG);
}

static int is_last(const Backend *backend)
{
	return backend == backends[sizeof backends / sizeof backends[0] - 1];
}

/* When the best may not be used here, the next one; the last is poll(2), which needs nothing. */
static int open_best(T poll)
{
	const Backend *const *b = backends;
	int error;

	while (is_refused(error = open_backend(poll, *b)) && !is_last(*b)) {
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
			error = backend ? open_backend(poll, poll->backend) : open_best(poll);
		if (error != 0)
			failed("SocketPoll_new", -1, error);
	} ELSE {
		shut(poll);
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
	poll->heap.due = due_at;
	Arena_defer(arena, dispose, poll);
	open_poll(poll, backend);
	poll->magic = MAGIC;
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

static void check_events(unsigned events, const char *function)
{
	if (events & ~(unsigned)ASKABLE)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: 0x%x is not made of READ and WRITE", function, events);
}

void SocketPoll_add(T poll, Socket_T s, unsigned events, void *data)
{
	int fd, error = 0;
	Registration *r;
	uint32_t tag;

	CHECK_OWN(poll);
	CHECK(s, "SocketPoll_add: the socket is NULL");
	check_events(events, "SocketPoll_add");
	fd = Socket_fd(s);
	CHECK(!socket__watch(s), "SocketPoll_add: socket %d is in %s poll already", fd,
		poll_of(socket__watch(s)) == poll ? "this" : "another");
	CHECK(!seat_of(poll, fd), "SocketPoll_add: descriptor %d is in the poll already, as another socket's", fd);
	provide_seat(poll, fd);
	provide_registration(poll);
	provide_room(poll);
	tag = next_tag(poll);
	if (events)
		error = poll->backend->set(poll, fd, 0, events, tag);
	else if (fcntl(fd, F_GETFD) < 0)
		error = errno;
	CHECK(error != EBADF, "SocketPoll_add: descriptor %d was closed behind its socket's back", fd);
	if (error != 0)
		failed("SocketPoll_add", fd, error);
	r = sit_down(poll, fd);
	r->due.at = LAZYHEAP_NEVER;
	r->due.tag = tag & LAST_TAG;
	r->socket = s;
	r->data = data;
	r->due.events = events & ASKABLE;
	poll->count++;
	socket__set_watch(s, poll, unwatch);
}

void SocketPoll_change(T poll, Socket_T s, unsigned events, void *data)
{
	Registration *r;
	int error = 0;

	CHECK_OWN(poll);
	check_events(events, "SocketPoll_change");
	r = registration_of(poll, s, "SocketPoll_change");
	if (events != r->due.events)
		error = poll->backend->set(poll, Socket_fd(s), r->due.events, events, r->due.tag);
	if (error != 0)
		failed("SocketPoll_change", Socket_fd(s), error);
	r->due.events = events & ASKABLE;
	r->data = data;
}

void SocketPoll_remove(T poll, Socket_T s)
{
	Registration *r;

	CHECK_POLL(poll);
	r = registration_of(poll, s, "SocketPoll_remove");
	let_go(poll, r);
	stand_up(poll, r);
}

void SocketPoll_close(T poll, Socket_T *socket)
{
	Registration *r;

	CHECK_POLL(poll);
	CHECK(socket, "SocketPoll_close: the pointer is NULL");
	if (!*socket || socket__watch(*socket) != poll) {
		Socket_close(socket);
		return;
	}
	r = at_descriptor(poll, Socket_fd(*socket));
	let_go(poll, r);
	socket__set_watch(*socket, closing_in(poll), NULL);
	r->data = poll->closing;
	poll->closing = r;
	*socket = NULL;
}

size_t SocketPoll_count(T poll)
{
	CHECK_POLL(poll);
	return poll->count;
}

/* To close one may run the leaving of its owner, and that may close another here. */
static void end_tick(T poll)
{
	while (poll->closing) {
		Registration *r = poll->closing;
		Socket_T s = r->socket;

		poll->closing = r->data;
		stand_up(poll, r);
		socket__set_watch(s, NULL, NULL);
		Socket_close(&s);
	}
}

/* ---- waiting ---- */

static void give(SocketPoll_Event *e, const Registration *r, unsigned events)
{
	e->socket = r->socket;
	e->data = r->data;
	e->events = events;
	e->tag = r->due.tag;
	e->descriptor = Socket_fd(r->socket);
}

/* What is left of the tick; events of sockets that left, or that are not asked for any more, are dropped here. */
static int give_ready(T poll, SocketPoll_Event *events, int n)
{
	int count = 0;

	while (count < n && poll->next_ready < poll->nready) {
		const Ready *ready = &poll->ready[poll->next_ready++];
		const Registration *r = ready->tag != WAKE_TAG ? with_tag(poll, ready->fd, ready->tag) : NULL;

		if (r && (r->due.events & ready->events))
			give(&events[count++], r, r->due.events & ready->events);
	}
	return count;
}

static void run_timer(T poll, SocketPoll_Timer_T timer)
{
	lazyheap__remove(&poll->heap, &timer->due.place);
	timer->due.at = LAZYHEAP_NEVER;
	timer->fn(timer->cl);
}

/* A timer's function runs only while no event is in hand: it could close that socket. */
static int give_due(T poll, SocketPoll_Event *events, int n, int *ran)
{
	int count = 0;
	uint32_t *place;
	int64_t at;

	while (count < n && (place = lazyheap__first(&poll->heap, &at)) != NULL && at <= poll->horizon) {
		Due *due = (Due *)(void *)place;

		if (due->tag) {
			give(&events[count++], (Registration *)(void *)due, SocketPoll_TIMEOUT);
			lazyheap__remove(&poll->heap, place);
			due->at = LAZYHEAP_NEVER;
		} else if (count > 0)
			break;
		else {
			*ran = 1;
			run_timer(poll, (SocketPoll_Timer_T)(void *)due);
		}
	}
	return count;
}

/* The kernel's turn: until something happens, the first deadline passes, or `until`; 1 when woken. Cut short by a signal, it
 * says that the wait is to be rounded up: the millisecond of `until` had begun. */
static int take_ready(T poll, int64_t until, int *round_up)
{
	int64_t at = SOCKET__NEVER;
	int i, ms, awake = 0;

	lazyheap__first(&poll->heap, &at);
	poll->nready = poll->next_ready = 0;
	ms = socket__poll_ms(at < until ? at : until);
	if (poll->backend->wait(poll, ms) < 0) {
		poll->nready = 0;
		if (errno != EINTR && errno != EAGAIN)
			failed("SocketPoll_wait", -1, errno);
		if (ms != 0 && until != SOCKET__NEVER)
			*round_up = 1;
	}
	poll->horizon = socket__now_ms();
	for (i = 0; i < poll->nready && !awake; i++)
		awake = poll->ready[i].tag == WAKE_TAG;
	if (awake)
		woken(poll);
	return awake;
}

int SocketPoll_wait(T poll, SocketPoll_Event *events, int n, int timeout_ms)
{
	int64_t until = SOCKET__NEVER;
	int count, awake = 0, round_up = 0, error = errno;

	CHECK_POLL(poll);
	CHECK(events && n > 0, "SocketPoll_wait: room for %d events at %p", n, (void *)events);
	count = give_ready(poll, events, n);
	if (count == 0)
		count = give_due(poll, events, n, &awake);
	if (count > 0 || awake) {
		errno = error;
		return count;
	}
	CHECK_OWN(poll); /* not for each event: it is a system call */
	if (timeout_ms >= 0)
		until = socket__now_ms() + timeout_ms;
	do {
		end_tick(poll);
		awake = take_ready(poll, until + round_up, &round_up);
		count = give_ready(poll, events, n);
		if (count == 0)
			count = give_due(poll, events, n, &awake);
	} while (count == 0 && !awake && poll->horizon < until + round_up);
	errno = error;
	return count;
}

int SocketPoll_holds(T poll, const SocketPoll_Event *e)
{
	CHECK_POLL(poll);
	CHECK(e && e->tag, "SocketPoll_holds: no event of the poll is at %p", (const void *)e);
	return with_tag(poll, e->descriptor, e->tag) != NULL;
}

/* ---- deadlines and timers ---- */

/* Rounded up: the clock's millisecond has begun, and no deadline is early. */
static void set_due(T poll, Due *due, int ms)
{
	due->at = ms < 0 ? LAZYHEAP_NEVER : socket__now_ms() + ms + (ms > 0);
	if (due->at <= poll->horizon) /* a timer that sets itself for now waits for the next tick */
		due->at = poll->horizon + 1;
	lazyheap__update(&poll->heap, &due->place);
}

void SocketPoll_set_deadline(T poll, Socket_T s, int ms)
{
	CHECK_POLL(poll);
	set_due(poll, &registration_of(poll, s, "SocketPoll_set_deadline")->due, ms);
}

SocketPoll_Timer_T SocketPoll_timer(T poll, void (*fn)(void *cl), void *cl)
{
	SocketPoll_Timer_T timer;

	CHECK_POLL(poll);
	CHECK(fn, "SocketPoll_timer: the function is NULL");
	provide_room(poll);
	timer = poll->dropped;
	if (timer)
		poll->dropped = timer->cl;
	else
		timer = ALLOC(poll->arena, sizeof *timer);
	memset(timer, 0, sizeof *timer);
	timer->due.at = LAZYHEAP_NEVER;
	timer->fn = fn;
	timer->cl = cl;
	poll->ntimers++;
	return timer;
}

static void check_timer(SocketPoll_Timer_T timer, const char *function)
{
	if (!timer || !timer->fn)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: %s", function, timer ? "the timer was dropped" : "the timer is NULL");
}

void SocketPoll_set_timer(T poll, SocketPoll_Timer_T timer, int ms)
{
	CHECK_POLL(poll);
	check_timer(timer, "SocketPoll_set_timer");
	set_due(poll, &timer->due, ms);
}

void SocketPoll_drop_timer(T poll, SocketPoll_Timer_T *timer)
{
	SocketPoll_Timer_T t;

	CHECK_POLL(poll);
	CHECK(timer, "SocketPoll_drop_timer: the pointer is NULL");
	t = *timer;
	check_timer(t, "SocketPoll_drop_timer");
	*timer = NULL;
	lazyheap__remove(&poll->heap, &t->due.place);
	t->fn = NULL;
	t->cl = poll->dropped;
	poll->dropped = t;
	poll->ntimers--;
}
