/* SPDX-License-Identifier: MIT */
/* A connection of a SocketPool. It has a socket, an arena, a buffer, a pointer of the program's,
 * and output that the socket did not take at once. A part of <core/SocketPool.h>. It is valid until
 * its socket leaves the pool. Checked everywhere: the connection is NULL or, except in
 * Connection_active, has left. */
#ifndef CONNECTION_INCLUDED
#define CONNECTION_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/Arena.h>
#include <core/Socket.h>

CORE_BEGIN_DECLS

typedef struct Connection *Connection_T;

CORE_API Socket_T Connection_socket(Connection_T); /* which the pool still owns */
CORE_API void *Connection_data(Connection_T);      /* NULL until it is set */
CORE_API void Connection_set_data(Connection_T, void *data);

/* Returns the arena of the connection, which is made on first use, and cleared when the connection
 * leaves or is checked in. Raises: Arena_Failed. */
CORE_API Arena_T Connection_arena(Connection_T);
/* Returns the buffer of the connection, which is attached on first use. Stores its size, buf_size
 * of the pool, in *nbytes unless nbytes is NULL. Raises: Arena_Failed. */
CORE_API char *Connection_buffer(Connection_T, size_t *nbytes);
/* Gives back the buffer, and the arena, cleared, while the connection waits for its peer. Raises
 * what a deferred call of the arena raises. */
CORE_API void Connection_rest(Connection_T);

CORE_API int Connection_active(Connection_T); /* returns 0 once its socket has left the pool */
/* Returns the milliseconds since it was last used: added or touched, or its socket moved bytes. */
CORE_API int64_t Connection_idle_ms(Connection_T);
CORE_API void Connection_touch(Connection_T); /* notes that it is in use now */

/* Sends all of the bytes, or queues those that the kernel does not take at once; never blocks.
 * Call these three from one thread at a time. Raises: SocketPool_Failed (ENOBUFS: more than
 * output_bytes would be queued; ENOMEM), and nothing was taken; Socket_Failed. */
CORE_API void Connection_send(Connection_T, const void *bytes, size_t nbytes);
CORE_API size_t Connection_pending(Connection_T); /* returns the number of bytes that are queued */
/* Sends queued bytes. Returns 1 if nothing is queued any more, else 0. Raises: Socket_Failed. */
CORE_API int Connection_flush(Connection_T);

CORE_END_DECLS
#endif
