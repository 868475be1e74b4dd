/* SPDX-License-Identifier: MIT */
/* SocketPoll, the core of an event loop, reports which of many sockets can be read or written, and
 * whose time is up. It is one interface to epoll, kqueue and poll(2), and level-triggered: an event
 * that is not handled is reported again.
 *
 * A poll is for one thread; SocketPoll_wake is for any. A socket is in one poll at most, and leaves
 * it when it is closed. An event belongs to the socket that was added, never to another one that
 * has its descriptor now. Times are in milliseconds. Checked everywhere: the poll or socket is NULL
 * or closed. Checked in add, change, watch, and a wait that asks the kernel: the process is a child
 * of the poll's. A child may remove and close the sockets inside, unwatch, and dispose of the
 * arena. */
#ifndef SOCKETPOLL_INCLUDED
#define SOCKETPOLL_INCLUDED
#include <stddef.h>
#include <core/Arena.h>
#include <core/Socket.h>

CORE_BEGIN_DECLS

typedef struct SocketPoll *SocketPoll_T;

extern CORE_API const Except_T SocketPoll_Failed; /* the kernel has no descriptor or memory */

enum {
	SocketPoll_READ = 1,   /* recv or accept would not wait: also after an error or at the end */
	SocketPoll_WRITE = 2,  /* send would not wait: also after an error */
	SocketPoll_TIMEOUT = 4 /* its deadline has passed */
};

typedef struct SocketPoll_Event {
	Socket_T socket; /* NULL for a watched descriptor */
	void *data;      /* as added, or as watched */
	unsigned events; /* READ and WRITE as far as asked for, or TIMEOUT */
	unsigned tag;    /* private */
	int descriptor;  /* the socket's, or the one that is watched */
} SocketPoll_Event;

/* Makes a poll from the arena, whose disposal closes the poll but not the sockets inside. backend
 * is "epoll", "kqueue", "poll", or NULL for the best. Raises: SocketPoll_Failed, Arena_Failed. */
CORE_API SocketPoll_T SocketPoll_new(Arena_T arena);
CORE_API SocketPoll_T SocketPoll_new_with(Arena_T arena, const char *backend);
CORE_API const char *SocketPoll_backend(SocketPoll_T);

/* events: READ, WRITE, both, or 0, with which the socket stays inside and nothing is reported.
 * Raises: SocketPoll_Failed, Arena_Failed; all is then as before. Checked: events is anything else;
 * the socket or its descriptor is inside already, or was closed behind the socket's back (add); the
 * socket is not inside (change, remove). */
CORE_API void SocketPoll_add(SocketPoll_T, Socket_T, unsigned events, void *data);
CORE_API void SocketPoll_change(SocketPoll_T, Socket_T, unsigned events, void *data);
CORE_API void SocketPoll_remove(SocketPoll_T, Socket_T);
/* Removes the socket at once, and sets it to NULL. A later wait closes it, when all events of this
 * tick are given out: so events that the caller still has do not dangle. A socket that is not
 * inside is closed at once. Never raises. */
CORE_API void SocketPoll_close(SocketPoll_T, Socket_T *);
CORE_API size_t SocketPoll_count(SocketPoll_T); /* sockets and watched descriptors */

/* Watches any descriptor that can be waited for: a pipe, an eventfd, another library's. Sets
 * events, as in add, and data. The descriptor may be new, watched already, or closed and opened
 * again: no event from before this call is reported. For a deadline, use a timer. Call unwatch
 * before you close the descriptor. Raises: SocketPoll_Failed (also for a regular file),
 * Arena_Failed; it is not watched then. Checked: events is anything else; the descriptor is that of
 * a socket inside; and in add: the socket's descriptor is watched. */
CORE_API void SocketPoll_watch(SocketPoll_T, int fd, unsigned events, void *data);
CORE_API void SocketPoll_unwatch(SocketPoll_T, int fd); /* does nothing if it is not watched */

/* Returns at most n events, each of a socket still inside; 0 after timeout_ms (negative: no limit),
 * a wake-up, or a timer. Raises: SocketPoll_Failed, and what a timer raises; no event is lost.
 * Checked: n is less than 1. */
CORE_API int SocketPoll_wait(SocketPoll_T, SocketPoll_Event *events, int n, int timeout_ms);
/* To wait for this poll in another loop. fd returns the descriptor that can be read when a wait has
 * something to give, or -1 with poll(2), which has none. next_ms returns the milliseconds until
 * something timed is due: 0 if events, closes or wake-ups are waiting already, -1 if nothing is
 * timed. Then call wait with a timeout of 0. */
CORE_API int SocketPoll_fd(SocketPoll_T);
CORE_API int SocketPoll_next_ms(SocketPoll_T);
/* Returns 0 if the socket has left since wait gave the event: its data may be gone. Reads nothing
 * but the event. */
CORE_API int SocketPoll_holds(SocketPoll_T, const SocketPoll_Event *);
/* Makes the wait that runs, or else the next one, return. For any thread and signal handlers. Keeps
 * errno. */
CORE_API void SocketPoll_wake(SocketPoll_T);

/* Reports TIMEOUT for the socket once, ms from now, unless the deadline is set again first.
 * Default: negative, none. Moving a deadline farther away, as a server does with each request, is a
 * store. */
CORE_API void SocketPoll_set_deadline(SocketPoll_T, Socket_T, int ms);

/* A timer: wait calls fn(cl) once for each time that the timer is set; fn may call any function,
 * and raise. Raises: Arena_Failed; the others never raise. Checked: fn is NULL. */
typedef struct SocketPoll_Timer *SocketPoll_Timer_T;
CORE_API SocketPoll_Timer_T SocketPoll_timer(SocketPoll_T, void (*fn)(void *cl), void *cl);
CORE_API void SocketPoll_set_timer(SocketPoll_T, SocketPoll_Timer_T, int ms); /* negative: none */
/* Sets the timer for every ms milliseconds, without drift. Turns that were missed are skipped. A
 * negative ms stops it. */
CORE_API void SocketPoll_repeat_timer(SocketPoll_T, SocketPoll_Timer_T, int ms);
CORE_API void SocketPoll_drop_timer(SocketPoll_T, SocketPoll_Timer_T *); /* sets it to NULL */

CORE_END_DECLS
#endif
