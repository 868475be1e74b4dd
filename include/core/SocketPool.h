/* SPDX-License-Identifier: MIT */
/* SocketPool: open connections, of a server to its clients (add) or of a client to its servers
 * (checkout), each with a buffer, an arena and a pointer of the program's. All but queued output
 * comes from the arena of the pool; disposing of that closes the sockets inside. A Connection_T is
 * valid until its socket leaves. Any thread may call any function here, but none may close, evict
 * or drain what another is using. No lock is held in a callback, and a callback may call any
 * function of the pool. Units: bytes, connections, milliseconds. Checked everywhere: the pool,
 * connection or socket is NULL; a connection that has left. */
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
/* Raises: Arena_Failed; SocketPool_Failed (no lock). Checked: arena is NULL, max_conns is 0. */
CORE_API SocketPool_T SocketPool_new(Arena_T arena, size_t max_conns, size_t buf_size);
/* add gives the socket to the pool, or returns NULL if that is full, over a limit or draining. get
 * and remove return NULL if the socket is not inside; remove hands it back open. close also
 * removes it, and so does Socket_close. Raises: what a deferred call of the connection's arena
 * raises. Checked: added twice. */
CORE_API Connection_T SocketPool_add(SocketPool_T, Socket_T);
CORE_API Connection_T SocketPool_get(SocketPool_T, Socket_T);
CORE_API Socket_T SocketPool_remove(SocketPool_T, Socket_T);
CORE_API void SocketPool_close(SocketPool_T, Socket_T *); /* sets it to NULL */
CORE_API size_t SocketPool_count(SocketPool_T);           /* connections inside */
CORE_API size_t SocketPool_capacity(SocketPool_T);        /* most that fit */
/* Raises: SocketPool_Failed (more are inside than would fit); Arena_Failed. All is then as before.
 * Checked: new_max is 0. The callbacks run before and after the change; NULL removes one. A resize
 * inside one takes effect at once and runs none. */
typedef void SocketPool_Resized(SocketPool_T, void *userdata);
CORE_API void SocketPool_resize(SocketPool_T, size_t new_max);
CORE_API void SocketPool_set_pre_resize_callback(SocketPool_T, SocketPool_Resized *, void *);
CORE_API void SocketPool_set_post_resize_callback(SocketPool_T, SocketPool_Resized *, void *);
/* apply may add and remove any connection; one added meanwhile may be visited or not. */
CORE_API void SocketPool_map(SocketPool_T, void (*apply)(Connection_T, void *cl), void *cl);
/* Closes those unused for idle_ms, longest first, none that is checked out. Returns how many. */
CORE_API size_t SocketPool_evict_idle(SocketPool_T, int idle_ms);
/* Closes what is over idle_ms or lifetime_ms. Returns the ms until the next will be; -1: none. */
CORE_API int SocketPool_sweep(SocketPool_T);

typedef struct SocketPool_Limits { /* 0: no limit */
	size_t per_address; /* of one IPv4 address or IPv6 /64; of those added from now on */
	int rate;           /* added in a second; as many at once */
	int idle_ms;        /* add, accept and checkout first evict those unused for so long */
	size_t per_host;    /* open to one host and service */
	size_t max_idle;    /* checked in */
	int lifetime_ms;    /* from checkout's connect to the last use, less up to a tenth */
	int uses;           /* checkouts of one connection */
	int hold_ms;        /* no connect after a failure; doubled each time, up to 5 s. 0: 100 */
	void (*on_open)(Connection_T, void *cl); /* prepares what checkout opened */
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
/* Accepts and adds. Returns NULL if nothing waits or may come now: leave the listener alone for
 * *pause_ms then (0: no need; negative: no limit). Without descriptors it accepts and closes one
 * client by a spare one. Raises: Socket_Failed; as add. */
CORE_API Connection_T SocketPool_accept(SocketPool_T, Socket_T listener, int *pause_ms);
/* Irreversible. Refuses new connections, closes idle ones, fails waiting checkouts; waits so long
 * for the rest to leave, then closes them; shuts down those checked out, which checkin closes. */
CORE_API void SocketPool_drain(SocketPool_T, int timeout_ms);
/* Returns a connection, the newest checked in or a new one, the caller's until checkin or discard;
 * waits its turn if there are too many. try_checkout never connects or waits: NULL if none is
 * idle. Raises: SocketPool_Failed (ETIMEDOUT: none became free; ESHUTDOWN: drained; else the host
 * is held down after this errno of a connect); Socket_Failed; what on_open raises; as add. */
CORE_API Connection_T SocketPool_checkout(SocketPool_T, const char *host, const char *service,
	int timeout_ms);
CORE_API Connection_T SocketPool_try_checkout(SocketPool_T, const char *host, const char *service);
/* checkin keeps its data; discard closes it. Both: c is stale. Checked: it is not checked out. */
CORE_API void SocketPool_checkin(SocketPool_T, Connection_T);
CORE_API void SocketPool_discard(SocketPool_T, Connection_T);
CORE_API void SocketPool_report(SocketPool_T, FILE *out); /* a line for each one checked out */
CORE_API Connection_T SocketPool__at(Connection_T, const char *file, int line);
CORE_API Connection_T SocketPool__at_any(Connection_T, const char *file, int line);
#define SocketPool_checkout(...) \
	SocketPool__at(SocketPool_checkout(__VA_ARGS__), __FILE__, __LINE__)
#define SocketPool_try_checkout(...) \
	SocketPool__at_any(SocketPool_try_checkout(__VA_ARGS__), __FILE__, __LINE__)
CORE_API Socket_T Connection_socket(Connection_T);
CORE_API void *Connection_data(Connection_T); /* NULL until set */
CORE_API void Connection_set_data(Connection_T, void *data);
/* Its own, made on first use, cleared when it leaves the pool. Raises: Arena_Failed. */
CORE_API Arena_T Connection_arena(Connection_T);
/* buf_size bytes, attached on first use; nbytes may be NULL. Raises: Arena_Failed. */
CORE_API char *Connection_buffer(Connection_T, size_t *nbytes);
CORE_API int Connection_active(Connection_T);      /* 0 once its socket has left the pool */
CORE_API int64_t Connection_idle_ms(Connection_T); /* since it was added, touched, or moved bytes */
CORE_API void Connection_touch(Connection_T);      /* it is in use now */
CORE_API void Connection_rest(Connection_T); /* while it waits: gives back buffer and arena */
/* send does not block: what the kernel does not take is queued. flush returns 1 if nothing is
 * queued any more. One thread at a time. Raises: SocketPool_Failed (send: ENOBUFS, over
 * output_bytes; ENOMEM; nothing was taken); Socket_Failed. */
CORE_API void Connection_send(Connection_T, const void *bytes, size_t nbytes);
CORE_API size_t Connection_pending(Connection_T); /* bytes queued */
CORE_API int Connection_flush(Connection_T);
CORE_END_DECLS
#endif
