/* SPDX-License-Identifier: MIT */
/* SocketPool: the open connections of a server, each with a buffer, an arena and a pointer of the
 * program's. Everything comes from the arena of the pool; disposing of that arena closes the sockets
 * still inside. A Connection_T stays where it is as long as its socket is in the pool: growing never
 * moves one, shrinking never loses one. Afterwards it must not be used (checked).
 *
 * Any thread may call anything here; no lock is held while a callback runs, and a callback may call any
 * function of the pool. Sizes are in bytes, counts in connections, times in milliseconds.
 * Checked everywhere: the pool, connection or socket is NULL. */
#ifndef SOCKETPOOL_INCLUDED
#define SOCKETPOOL_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/Arena.h>
#include <core/Socket.h>

CORE_BEGIN_DECLS

typedef struct SocketPool *SocketPool_T;
typedef struct Connection *Connection_T;

extern CORE_API const Except_T SocketPool_Failed;

/* Checked: max_conns is 0. Raises: Arena_Failed. No buffer is allocated before it is asked for. */
CORE_API SocketPool_T SocketPool_new(Arena_T arena, size_t max_conns, size_t buf_size);

/* add: the pool owns the socket from here on; NULL when it is full: the socket stays the caller's.
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
/* Closes those unused for idle_ms or longer; their number. */
CORE_API size_t SocketPool_evict_idle(SocketPool_T, int idle_ms);

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

CORE_END_DECLS
#endif
