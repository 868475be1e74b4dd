/* SPDX-License-Identifier: MIT */
/* SocketPool: open connections, of a server to its clients (add) or of a client to its servers (checkout), each with
 * a buffer, an arena and a pointer of the program's. Everything comes from the arena of the pool; disposing of that
 * arena closes the sockets still inside. A Connection_T stays where it is as long as its socket is in the pool: growing
 * never moves one, shrinking never loses one. Afterwards it must not be used (checked).
 *
 * Any thread may call anything here, but none may close, evict or drain what another is using. No lock is held while a
 * callback runs, and a callback may call any function of the pool. Sizes are in bytes, counts in connections, times in
 * milliseconds. Checked everywhere: the pool, connection or socket is NULL. */
#ifndef SOCKETPOOL_INCLUDED
#define SOCKETPOOL_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <core/Arena.h>
#include <core/Socket.h>

CORE_BEGIN_DECLS

typedef struct SocketPool *SocketPool_T;
typedef struct Connection *Connection_T;

extern CORE_API const Except_T SocketPool_Failed;

/* Checked: max_conns is 0. Raises: Arena_Failed; SocketPool_Failed (no lock). No buffer is allocated before it
 * is asked for. */
CORE_API SocketPool_T SocketPool_new(Arena_T arena, size_t max_conns, size_t buf_size);

/* add: the pool owns the socket from here on; NULL when it is full, over a limit or draining: the socket stays the
 * caller's.
 * get: NULL if absent. remove: hands the socket back, open; NULL if absent. close: removes and closes;
 * one that is not in the pool is just closed. A Socket_close of one inside removes it first.
 * Raises: what a deferred call of the connection's arena raises. Checked: added to two pools, or twice. */
CORE_API Connection_T SocketPool_add(SocketPool_T, Socket_T);
CORE_API Connection_T SocketPool_get(SocketPool_T, Socket_T);
CORE_API Socket_T SocketPool_remove(SocketPool_T, Socket_T);
CORE_API void SocketPool_close(SocketPool_T, Socket_T *); /* sets it to NULL */

CORE_API size_t SocketPool_count(SocketPool_T);    /* connections inside */
CORE_API size_t SocketPool_capacity(SocketPool_T); /* most that fit */

/* Raises: SocketPool_Failed when more are inside than would fit; Arena_Failed. All is then as before.
 * Checked: new_max is 0. The callbacks run before anything changes and after everything has; NULL
 * removes one. A resize inside a callback takes effect at once, without callbacks. */
CORE_API void SocketPool_resize(SocketPool_T, size_t new_max);
CORE_API void SocketPool_set_pre_resize_callback(SocketPool_T, void (*fn)(SocketPool_T, void *userdata), void *userdata);
CORE_API void SocketPool_set_post_resize_callback(SocketPool_T, void (*fn)(SocketPool_T, void *userdata), void *userdata);

/* apply may add and remove, the connection at hand included; one added meanwhile may be visited or not. */
CORE_API void SocketPool_map(SocketPool_T, void (*apply)(Connection_T, void *cl), void *cl);
/* Closes those unused for idle_ms or longer, the longest unused first, and none that is checked out; their number. */
CORE_API size_t SocketPool_evict_idle(SocketPool_T, int idle_ms);

typedef struct SocketPool_Limits { /* 0: no limit */
	size_t per_address;      /* inside for one IPv4 address or IPv6 /64; counts those added from now on */
	int rate;                /* added in a second; as many at once */
	int idle_ms;             /* add and checkout first evict those unused for so long */
	size_t per_host;         /* open to one host and service */
	size_t max_idle;         /* idle of those checked in */
	int lifetime_ms;         /* of a connection that checkout opened, less up to a tenth */
	int uses;                /* of one */
	int hold_ms;             /* hold-down after a first failure to connect, doubled by each more up to 5 s; 0: 100 */
} SocketPool_Limits;
CORE_API void SocketPool_set_limits(SocketPool_T, const SocketPool_Limits *);

typedef struct SocketPool_Stats {
	size_t count, capacity, peak;
	size_t idle, checked_out, waiting;    /* of the client side, now */
	size_t added, refused, evicted, shed; /* since the start; shed: accepted and closed for want of descriptors */
	size_t opened, reused, stale, failed, timed_out; /* checkouts; stale: found closed by the peer */
} SocketPool_Stats;
CORE_API void SocketPool_stats(SocketPool_T, SocketPool_Stats *);

/* Accepts and adds. NULL when nothing waits, or nothing may come now: then leave the listener alone for *pause_ms (0:
 * need not; negative: for ever), what waits stays in the backlog. Without descriptors one client is let go by means of
 * a spare one. Raises: Socket_Failed but for want of descriptors; as add. */
CORE_API Connection_T SocketPool_accept(SocketPool_T, Socket_T listener, int *pause_ms);
/* For good: nothing comes in any more, what is idle is closed, who waits in checkout fails; waits timeout_ms for the
 * rest to leave, then closes them; those checked out are shut down and closed when they come back. */
CORE_API void SocketPool_drain(SocketPool_T, int timeout_ms);

/* A connection to the host, of those checked in the newest, or a new one; the caller's until it checks it in or
 * discards it. Waits its turn when there are too many. Raises: SocketPool_Failed (ETIMEDOUT: none became free; after
 * a failure to connect the host is held down: its errno; draining); Socket_Failed, SocketPool as add. */
CORE_API Connection_T SocketPool_checkout(SocketPool_T, const char *host, const char *service, int timeout_ms);
/* It may be used again: arena cleared, buffer given back, data kept. discard: it may not, and is closed. The handle is
 * stale afterwards. Checked: it is not checked out. */
CORE_API void SocketPool_checkin(SocketPool_T, Connection_T);
CORE_API void SocketPool_discard(SocketPool_T, Connection_T);
CORE_API void SocketPool_report(SocketPool_T, FILE *out); /* each one checked out: to where, how long, by which line */
CORE_API Connection_T SocketPool__at(Connection_T, const char *file, int line);
#define SocketPool_checkout(...) SocketPool__at(SocketPool_checkout(__VA_ARGS__), __FILE__, __LINE__)

CORE_API Socket_T Connection_socket(Connection_T);
CORE_API void *Connection_data(Connection_T); /* NULL until set */
CORE_API void Connection_set_data(Connection_T, void *data);
/* The connection's own, made on first use and cleared when it leaves the pool. Raises: Arena_Failed. */
CORE_API Arena_T Connection_arena(Connection_T);
/* buf_size bytes, attached on first use; nbytes may be NULL. Raises: Arena_Failed. */
CORE_API char *Connection_buffer(Connection_T, size_t *nbytes);
CORE_API int Connection_active(Connection_T);      /* 0 once its socket has left the pool */
CORE_API int64_t Connection_idle_ms(Connection_T); /* since it was added or touched, or bytes moved */
CORE_API void Connection_touch(Connection_T);      /* it is in use now */
CORE_API void Connection_rest(Connection_T); /* it waits for its peer: gives the buffer back, and the arena, cleared */

CORE_END_DECLS
#endif
