/* SPDX-License-Identifier: MIT */
/* For programs that are linked with the objects of the library and with --wrap for some calls,
 * which Makefile.am lists. The library's calls of `name` reach __wrap_name, which the test
 * defines. */
#ifndef WRAPPING_INCLUDED
#define WRAPPING_INCLUDED
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <core/SocketPoll.h>

/* Wraps a call. The last argument is a statement that runs first, and may return. */
#define WRAPPED(type, name, parameters, arguments, ...) \
	type __real_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters \
	{ \
		__VA_ARGS__; \
		return __real_##name arguments; \
	} \
	struct Wrapped

/* Wraps fcntl(2) in the same way. Its third argument is an int or missing in the library's
 * calls. */
#define WRAPPED_FCNTL(...) \
	int __real_fcntl(int fd, int what, ...); \
	int __wrap_fcntl(int fd, int what, ...); \
	int __wrap_fcntl(int fd, int what, ...) \
	{ \
		int value = 0; \
		va_list list; \
\
		va_start(list, what); \
		if (what == F_SETFD || what == F_SETFL) \
			value = va_arg(list, int); \
		va_end(list); \
		__VA_ARGS__; \
		return __real_fcntl(fd, what, value); \
	} \
	struct Wrapped

/* With _FORTIFY_SOURCE, a call of `name` becomes one of __name_chk, with the buffer's size as an
 * argument. This passes it on to __wrap_name. */
#define WRAPPED_CHECKED(type, name, parameters, arguments) \
	type __wrap___##name##_chk parameters; \
	type __wrap___##name##_chk parameters \
	{ \
		(void)size; \
		return __wrap_##name arguments; \
	} \
	struct Wrapped

/* ---- a step of the sessions of test_socketcancel and test_socketfaults ---- */

static inline void count_tick(void *n)
{
	++*(int *)n;
}

static inline void run_timer_once(SocketPoll_T loop)
{
	int ticks = 0;
	SocketPoll_Timer_T timer = SocketPoll_timer(loop, count_tick, &ticks);
	SocketPoll_Event e;

	SocketPoll_set_timer(loop, timer, 0);
	SocketPoll_wake(loop);
	while (ticks == 0)
		SocketPoll_wait(loop, &e, 1, 1000);
	SocketPoll_drop_timer(loop, &timer);
}

#endif
