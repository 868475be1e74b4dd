/* SPDX-License-Identifier: MIT */
/* SocketPool: open connections, of a server to its clients (add) or of a client to its servers
 * (checkout). All but queued output comes from the arena of the pool; disposing of that arena
 * closes the sockets inside. A buffer is allocated when it is asked for.
 *
 * Any thread may call any function, but none may close, evict or drain what another is using. No
 * lock is held in a callback, and a callback may call any function of the pool. Units: bytes,
 * connections, milliseconds. Checked everywhere: the pool, connection or socket is NULL; a
 * connection that has left. */
#ifndef SOCKETPOOL_INCLUDED
#define SOCKETPOOL_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <core/Arena.h>
#include <core/Connection.h>
#include <core/Socket.h>

CORE_BEGIN_DECLS

typedef struct SocketPool *SocketPool_T;

extern CORE_API const Except_T SocketPool_Failed;

/* Raises: Arena_Failed; SocketPool_Failed (no lock). Checked: arena is NULL, max_conns is 0. */
CORE_API SocketPool_T SocketPool_new(Arena_T arena, size_t max_conns, size_t buf_size);

/* add gives the socket to the pool. If the pool is full, over a limit or draining, it returns NULL,
 * and the socket stays the caller's. get and remove return NULL if the socket is not inside; remove
 * hands it back open. close closes it, inside or not, and sets it to NULL; Socket_close also
 * removes it. These raise what a deferred call of the arena of a connection that leaves raises.
 * Checked: the socket to add is in a pool already. */
CORE_API Connection_T SocketPool_add(SocketPool_T, Socket_T);
CORE_API Connection_T SocketPool_get(SocketPool_T, Socket_T);
CORE_API Socket_T SocketPool_remove(SocketPool_T, Socket_T);
CORE_API void SocketPool_close(SocketPool_T, Socket_T *);
CORE_API size_t SocketPool_count(SocketPool_T);    /* connections inside */
CORE_API size_t SocketPool_capacity(SocketPool_T); /* most that fit */

/* Moves and closes no connection. The callbacks run before and after the change; NULL removes one.
 * A resize inside a callback takes effect at once and runs none. Raises: SocketPool_Failed (more
 * are inside than would fit), Arena_Failed; all is then as before. Checked: new_max is 0. */
typedef void SocketPool_Resized(SocketPool_T, void *userdata);
CORE_API void SocketPool_resize(SocketPool_T, size_t new_max);
CORE_API void SocketPool_set_pre_resize_callback(SocketPool_T, SocketPool_Resized *, void *);
CORE_API void SocketPool_set_post_resize_callback(SocketPool_T, SocketPool_Resized *, void *);

/* apply may add and remove any connection; one added meanwhile may be visited or not. */
CORE_API void SocketPool_map(SocketPool_T, void (*apply)(Connection_T, void *cl), void *cl);
/* Closes those unused for idle_ms, longest first, none that is checked out. Returns how many. */
CORE_API size_t SocketPool_evict_idle(SocketPool_T, int idle_ms);
/* Closes those that are over the limits idle_ms or lifetime_ms. Returns the milliseconds until the
 * next one will be, or -1 if none will. */
CORE_API int SocketPool_sweep(SocketPool_T);

typedef struct SocketPool_Limits { /* 0 or less: no limit; hold_ms has a default */
	size_t per_address; /* from one IPv4 address or IPv6 /64; of those added from now on */
	int rate;           /* added in a second; after a pause as many at once */
	int idle_ms;        /* add, accept and checkout first evict those unused for so long */
	size_t per_host;    /* open to one host and service */
	size_t max_idle;    /* checked in */
	int lifetime_ms;    /* from checkout's connect to the last use, less up to a tenth */
	int uses;           /* checkouts of one connection */
	int hold_ms;        /* no connect after a failure; doubled each time, up to 5 s. Default: 100 */
	void (*on_open)(Connection_T, void *cl); /* prepares what checkout opened; may raise */
	void *cl;
	size_t output_bytes; /* queued by Connection_send for one connection */
} SocketPool_Limits;
CORE_API void SocketPool_set_limits(SocketPool_T, const SocketPool_Limits *);

typedef struct SocketPool_Stats {
	size_t count, capacity, peak, idle, checked_out, waiting; /* now */
	size_t added, refused, evicted, shed; /* shed: accepted and closed, without descriptors */
	size_t opened, reused, stale, failed, timed_out; /* checkouts; stale: closed by the peer */
	size_t expired;                         /* closed after lifetime_ms or uses */
	size_t waits, wait_ms, longest_wait_ms; /* checkouts that waited their turn; ms in all */
} SocketPool_Stats;
CORE_API void SocketPool_stats(SocketPool_T, SocketPool_Stats *);

/* Accepts and adds. Returns NULL if no client waits or none may come now. Then leave the listener
 * alone for *pause_ms (0: no need; negative: no limit); clients wait in the backlog. Without
 * descriptors it accepts and closes one client by a spare one. Raises: Socket_Failed; as add. */
CORE_API Connection_T SocketPool_accept(SocketPool_T, Socket_T listener, int *pause_ms);
/* Irreversible. Refuses new connections, closes idle ones, fails waiting checkouts. Waits so long
 * for the others to leave, then closes them. Shuts down those checked out; checkin closes them. */
CORE_API void SocketPool_drain(SocketPool_T, int timeout_ms);

/* Returns the connection checked in last or a new one, the caller's until checkin or discard. Waits
 * its turn if there are too many. try_checkout never connects or waits: NULL if none is idle.
 * Raises: SocketPool_Failed (ETIMEDOUT: none became free; ESHUTDOWN: drained; else the host is held
 * down after this errno of a connect); Socket_Failed; what on_open raises; as add. */
CORE_API Connection_T SocketPool_checkout(SocketPool_T, const char *host, const char *service,
	int timeout_ms);
CORE_API Connection_T SocketPool_try_checkout(SocketPool_T, const char *host, const char *service);
/* checkin keeps the connection for the next checkout: its data stays, its arena is cleared, its
 * buffer given back. discard closes it. Both make c stale. Checked: it is not checked out. */
CORE_API void SocketPool_checkin(SocketPool_T, Connection_T);
CORE_API void SocketPool_discard(SocketPool_T, Connection_T);
CORE_API void SocketPool_report(SocketPool_T, FILE *out); /* a line for each one checked out */

CORE_API Connection_T SocketPool__at(Connection_T, const char *file, int line);
CORE_API Connection_T SocketPool__at_any(Connection_T, const char *file, int line);
#define SocketPool_checkout(...) \
	SocketPool__at(SocketPool_checkout(__VA_ARGS__), __FILE__, __LINE__)
#define SocketPool_try_checkout(...) \
	SocketPool__at_any(SocketPool_try_checkout(__VA_ARGS__), __FILE__, __LINE__)

CORE_END_DECLS
#endif
