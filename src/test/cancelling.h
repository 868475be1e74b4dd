/* SPDX-License-Identifier: MIT */
/* Cancels a thread at each cancellation point of a session, one after the other. The program is
 * linked with the objects of the library and with --wrap for each call below (CANCEL_WRAPS in
 * Makefile.am). First the session runs undisturbed and its points are counted. Then it runs
 * again and again, and is cancelled at the first point, the second, and so on.
 *
 * A point is a call of a function that POSIX allows to be one, whether or not this libc makes it
 * one. So the result holds for every libc. Check's assertions write, but do not count as points.
 * Only the session's thread is cancelled, not those that it starts.
 *
 * In cancel_everywhere(session, after, cl), the thread runs session(cl). After each run,
 * after(cl, cancelled) runs in the caller. It checks the state and releases what is left. Then
 * as many descriptors, address lists and arenas must be open as before. A lock that stays locked
 * shows as a timeout. */
#ifndef CANCELLING_INCLUDED
#define CANCELLING_INCLUDED
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <core/core.h>
#include "descriptors.h"
#include "testing.h"
#include "wrapping.h"

NEEDS(.loopback = 1);

static __thread int cancelling;         /* this is the session's thread */
/* the number of points so far; the one to be cancelled at, or 0 */
static __thread int points, point_at;
static __thread const char *point_name;
static int lists;                       /* atomic: address lists that are not freed */

/* AddressSanitizer does not see that a cancellation unwinds frames. This makes it forget their
 * marks. */
extern void __asan_handle_no_return(void) __attribute__((weak));

/* If a cancellation is pending, the first point where cancellation is enabled acts on it. */
static void cancellation_point(const char *name)
{
	if (!cancelling)
		return;
	if (++points == point_at) {
		point_name = name;
		pthread_cancel(pthread_self());
	}
	if (point_at && points >= point_at && __asan_handle_no_return)
		__asan_handle_no_return();
	pthread_testcancel();
}

#define CANCEL_POINT(type, name, parameters, arguments) \
	WRAPPED(type, name, parameters, arguments, cancellation_point(#name))

CANCEL_POINT(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags),
	(fd, a, n, flags));
CANCEL_POINT(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n));
CANCEL_POINT(int, close, (int fd), (fd));
CANCEL_POINT(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags));
CANCEL_POINT(ssize_t, send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags));
CANCEL_POINT(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags));
CANCEL_POINT(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n));
CANCEL_POINT(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n));
CANCEL_POINT(int, poll, (struct pollfd *p, nfds_t n, int ms), (p, n, ms));
CANCEL_POINT(int, epoll_wait, (int e, struct epoll_event *events, int n, int ms),
	(e, events, n, ms));
CANCEL_POINT(int, lstat, (const char *path, struct stat *s), (path, s));
CANCEL_POINT(int, unlink, (const char *path), (path));
CANCEL_POINT(int, usleep, (useconds_t us), (us));
CANCEL_POINT(int, nanosleep, (const struct timespec *t, struct timespec *left), (t, left));
CANCEL_POINT(int, pthread_cond_wait, (pthread_cond_t *c, pthread_mutex_t *m), (c, m));
CANCEL_POINT(int, pthread_cond_timedwait,
	(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t), (c, m, t));
CANCEL_POINT(int, pthread_join, (pthread_t t, void **result), (t, result));

WRAPPED_FCNTL(cancellation_point("fcntl"));

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	int mode = 0;
	va_list list;

	va_start(list, flags);
	if (flags & O_CREAT)
		mode = va_arg(list, int);
	va_end(list);
	cancellation_point("open");
	return __real_open(path, flags, mode);
}

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **list)
{
	int error, fd = cancelling ? __real_open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;

	cancellation_point("getaddrinfo"); /* glibc's has descriptors open at its points */
	if (fd >= 0)
		__real_close(fd);
	error = __real_getaddrinfo(host, service, hints, list);
	if (error == 0)
		__atomic_add_fetch(&lists, 1, __ATOMIC_RELAXED);
	return error;
}

void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list)
{
	__atomic_sub_fetch(&lists, 1, __ATOMIC_RELAXED);
	__real_freeaddrinfo(list);
}

/* Each assertion of Check calls it, and it writes. */
void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	__real__mark_point(file, line);
	pthread_setcancelstate(before, NULL);
}

WRAPPED_CHECKED(int, poll, (struct pollfd *p, nfds_t n, int ms, size_t size), (p, n, ms));
WRAPPED_CHECKED(ssize_t, recv, (int fd, void *p, size_t n, size_t size, int flags),
	(fd, p, n, flags));
WRAPPED_CHECKED(ssize_t, read, (int fd, void *p, size_t n, size_t size), (fd, p, n));

/* ---- the driver ---- */

typedef struct Cancelling {
	void (*session)(void *cl);
	void *cl;
	int at, points;
	const char *name;
	char raised[256];
} Cancelling;

static void leave_session(void *cl)
{
	Cancelling *c = cl;

	cancelling = 0;
	c->points = points;
	c->name = point_name;
}

static void *run_cancelled(void *cl)
{
	Cancelling *c = cl;

	points = 0;
	point_at = c->at;
	point_name = "none";
	cancelling = 1;
	pthread_cleanup_push(leave_session, c);
	TRY {
		c->session(c->cl);
	} ELSE {
		snprintf(c->raised, sizeof c->raised, "%s", Except_message());
	} END_TRY;
	pthread_cleanup_pop(1);
	return NULL;
}

/* Runs the session once. Returns 1 if the thread was cancelled. */
static int cancel_at(Cancelling *c, void (*after)(void *cl, int cancelled))
{
	int descriptors = count_descriptors(), old_lists = __atomic_load_n(&lists, __ATOMIC_RELAXED),
		cancelled;
	size_t arenas = Arena_debug_live_count();
	pthread_t thread;
	void *result;

	c->raised[0] = '\0';
	ck_assert_int_eq(pthread_create(&thread, NULL, run_cancelled, c), 0);
	ck_assert_int_eq(__real_pthread_join(thread, &result), 0);
	cancelled = result == PTHREAD_CANCELED;
	ck_assert_msg(!c->raised[0], "point %d, %s: raised %s", c->at, c->name, c->raised);
	after(c->cl, cancelled);
	ck_assert_msg(count_descriptors() == descriptors, "point %d, %s: %d descriptors are left open",
		c->at, c->name, count_descriptors() - descriptors);
	ck_assert_msg(__atomic_load_n(&lists, __ATOMIC_RELAXED) == old_lists,
		"point %d, %s: an address list is left",
		c->at, c->name);
	ck_assert_msg(Arena_debug_live_count() == arenas, "point %d, %s: an arena is left", c->at,
		c->name);
	return cancelled;
}

/* Returns how many runs were cancelled. */
static int cancel_everywhere(void (*session)(void *cl), void (*after)(void *cl, int cancelled),
	void *cl)
{
	Cancelling c = { .session = session, .cl = cl };
	int n = 0;

	ck_assert_int_eq(cancel_at(&c, after), 0);
	ck_assert_int_gt(c.points, 0);
	do {
		c.at++;
		n += cancel_at(&c, after);
	} while (c.points >= c.at); /* a session with fewer points has ended by itself */
	return n;
}

#endif
