/* SPDX-License-Identifier: MIT */
/* Private to the library: the calls of Socket for the other modules (poll, pool, HTTP), beyond
 * <core/Socket.h>. A socket's representation, and the calls between the files of Socket, are in
 * socket/rep.h, which no other module includes. Every function here checks the socket as the public
 * functions do. */
#ifndef NET_SOCKET_INCLUDED
#define NET_SOCKET_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <core/Socket.h>
#include "socket/clock.h"

/* For event loops, where a peer that is gone is no exception: what is there or fits, without
 * waiting; -1 and errno (EAGAIN: nothing; 0 from recv: end of stream). Bytes read ahead are not
 * seen. n: at most 16 parts. */
ssize_t socket__try_recv(Socket_T s, void *buffer, size_t nbytes);
ssize_t socket__try_sendv(Socket_T s, const struct iovec *vector, int n);

/* The same for nbytes of a regular file, from offset on: by sendfile(2) where there is one. Returns how many were sent, 0 at
 * the file's end. The socket is non-blocking from then on. Raises: Socket_Failed (it cannot be made so). */
ssize_t socket__try_sendfile(Socket_T s, int fd, int64_t offset, size_t nbytes);

/* What the socket is ready for by the deadline, or 0: for callers that send and heed what comes meanwhile. An error
 * or the end of the stream counts as readable. Raises: Socket_Failed. */
enum { SOCKET__READABLE = 1, SOCKET__WRITABLE = 2 };
int socket__wait_either(Socket_T s, int64_t deadline);
/* Raise what the public calls raise: for an errno of the try functions, and at a deadline. */
void socket__fail(Socket_T s, const char *what, int error) CORE_NORETURN;
void socket__time_out(Socket_T s, const char *what, int ms) CORE_NORETURN;

/* Puts back n bytes that were read too many (the next request of a pipeline): recv gives them
 * first, before what was put back earlier; pending counts them. For the receiving thread. Raises:
 * Socket_Failed when out of memory; nothing has changed then. */
void socket__unread(Socket_T s, const void *bytes, size_t n);

/* 1 when recv (or send) would not wait, which includes an error or the end of the stream; bytes
 * read ahead count as there. 0 when timeout_ms passed; negative: no limit, 0: it does not wait. A
 * signal does not shorten or lengthen the wait. The timeout of the socket and its being
 * non-blocking do not matter. Raises: Socket_Failed. */
int socket__wait(Socket_T s, int for_write, int timeout_ms);

/* As Socket_recv, but waits until the socket's timeout or deadline_ms, whichever is first, also on
 * a non-blocking socket. After the deadline it gives only what was read ahead: a peer that always
 * has one more byte there cannot outlast it. SOCKET__NEVER: none. Raises: Socket_Timeout (for
 * either), Socket_Closed, Socket_Failed. Checked: nbytes is 0. */
size_t socket__recv_deadline(Socket_T s, void *buffer, size_t nbytes, int64_t deadline_ms);

/* Ends our side and throws away what still comes, at most nbytes and ms milliseconds of it: to
 * close with unread bytes in the kernel resets the connection, and a reset can overtake our last
 * reply (RFC 9112, 9.6). Close the socket after it. Never raises. */
void socket__linger(Socket_T s, size_t nbytes, int ms);

/* A byte for the protocol spoken on the socket, 0 at start; not touched here. */
unsigned char *socket__protocol(Socket_T s);

/* The one object that holds the socket (a pool's connection), or NULL. set_owner is for one thread
 * at a time, owner may be read by any. leaving is called by Socket_close before anything is
 * released, so that an owner never holds a dead socket; it must not raise, and is the same function
 * for all sockets. */
void socket__set_owner(Socket_T s, void *owner, void (*leaving)(Socket_T s, void *owner));
void *socket__owner(Socket_T s);

/* Ends both directions, from any thread: whoever is in a call on the socket comes back from it.
 * Never raises. */
void socket__shut(Socket_T s);

/* 1 when the connection is open and nothing was sent to it: fit to be used again. Does not wait or
 * raise. */
int socket__is_quiet(Socket_T s);

/* Whom to count a connection for: an IPv4 address, or the first 64 bits of an IPv6 one, which is
 * what one customer has. Returns 0 if there is no address, as with Unix sockets. */
uint64_t socket__peer_key(Socket_T s);

/* The poll that watches the socket, or NULL; for the thread of the poll. unwatch is called by
 * Socket_close, the descriptor still open, and must not raise; it is the same function for all
 * sockets. */
void socket__set_watch(Socket_T s, void *watch, void (*unwatch)(Socket_T s, void *watch));
void *socket__watch(Socket_T s);
/* For who is about to close it and calls the program before, which must not be given its events,
 * nor close it, meanwhile. */
void socket__leave_poll(Socket_T s);

/* socket__now_coarse() when bytes last moved while the socket had an owner; 0: never. Any thread. */
int64_t socket__last_moved(Socket_T s);

#endif
