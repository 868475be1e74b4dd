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

/* For event loops, in which a peer that leaves is not exceptional. They receive or send what is
 * possible without waiting. They return the number of bytes, or -1 and errno (EAGAIN if nothing is
 * possible). At the end of the stream, recv returns 0. They ignore bytes that were read ahead. n is
 * at most 16. */
ssize_t socket__try_recv(Socket_T s, void *buffer, size_t nbytes);
ssize_t socket__try_sendv(Socket_T s, const struct iovec *vector, int n);

/* Sends at most nbytes of a regular file, from offset on, by sendfile(2) where it exists. Returns
 * as the functions above; 0 means the end of the file. Makes the socket non-blocking. Raises:
 * Socket_Failed (it cannot be made so). */
ssize_t socket__try_sendfile(Socket_T s, int fd, int64_t offset, size_t nbytes);

/* Waits and returns SOCKET__READABLE, SOCKET__WRITABLE or both, or 0 after the deadline. For
 * callers that send and watch for input meanwhile. After an error, or at the end of the stream,
 * the socket is readable. Raises: Socket_Failed. */
enum { SOCKET__READABLE = 1, SOCKET__WRITABLE = 2 };
int socket__wait_either(Socket_T s, int64_t deadline);
/* Raise as the public calls do: for an errno of the try functions, and at a deadline. */
void socket__failed_on(const char *what, Socket_T s, int error) CORE_NORETURN;
void socket__timed_out(const char *what, Socket_T s, int64_t ms) CORE_NORETURN;

/* Puts back n bytes that were read too far, such as the next request of a pipeline. recv returns
 * them first, before bytes that were put back earlier; pending counts them. For the receiving
 * thread. Raises: Socket_Failed without memory; nothing has changed then. */
void socket__unread(Socket_T s, const void *bytes, size_t n);

/* Returns 1 if recv (or send) would not wait, also after an error, at the end of the stream, or
 * if bytes were read ahead. Returns 0 after timeout_ms; if that is negative there is no limit,
 * and if it is 0 there is no wait. A signal does not change the wait. The timeout of the socket
 * and its mode are ignored. Raises: Socket_Failed. */
int socket__wait(Socket_T s, int for_write, int timeout_ms);

/* Receives as Socket_recv, but waits until the timeout of the socket or deadline_ms, whichever
 * comes first, also on a non-blocking socket. After the deadline it returns only bytes that were
 * read ahead, so a peer cannot outlast it byte by byte. SOCKET__NEVER means no deadline. Raises:
 * Socket_Timeout (for both), Socket_Closed, Socket_Failed. Checked: nbytes is 0. */
size_t socket__recv_deadline(Socket_T s, void *buffer, size_t nbytes, int64_t deadline_ms);

/* Ends our side and discards input, at most nbytes and for at most ms milliseconds. Closing a
 * socket with unread input sends a reset, which can overtake our last reply (RFC 9112, 9.6).
 * Close the socket after it. Never raises. */
void socket__linger(Socket_T s, size_t nbytes, int ms);

/* A byte for the protocol above, which is 0 at first. Socket does not use it. */
unsigned char *socket__protocol(Socket_T s);

/* The object that holds the socket (a connection of a pool), or NULL. One thread at a time may
 * set the owner, any thread may read it. Socket_close calls leaving before it releases anything,
 * so an owner never holds a dead socket. leaving must not raise, and is the same function for all
 * sockets. */
void socket__set_owner(Socket_T s, void *owner, void (*leaving)(Socket_T s, void *owner));
void *socket__owner(Socket_T s);

/* Ends both directions. For any thread: threads that are in a call on the socket return from it.
 * Never raises. */
void socket__shut(Socket_T s);

/* Returns 1 if the connection can be used again: it is open and the peer has sent nothing. Does
 * not wait or raise. */
int socket__is_quiet(Socket_T s);

/* Returns the address by which to count a connection. It is an IPv4 address, or the first 64 bits
 * of an IPv6 address, as one customer has these. Returns 0 if there is no address, as with Unix
 * sockets. */
uint64_t socket__peer_key(Socket_T s);

/* The poll that the socket is in, or NULL. For the thread of the poll. Socket_close calls unwatch
 * while the descriptor is open. unwatch must not raise, and is the same function for all
 * sockets. */
void socket__set_watch(Socket_T s, void *watch, void (*unwatch)(Socket_T s, void *watch));
void *socket__watch(Socket_T s);
/* Takes the socket out of its poll. For a caller that will close the socket and first calls the
 * program, which must not get its events, or close it, meanwhile. */
void socket__leave_poll(Socket_T s);

/* Returns socket__now_coarse() of the time at which bytes last moved while the socket had an
 * owner, or 0. Any thread. */
int64_t socket__last_moved(Socket_T s);

#endif
