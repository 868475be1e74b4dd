/* SPDX-License-Identifier: MIT */
/* Socket: stream sockets (TCP over IPv4 and IPv6, Unix domain). An error is an exception that names
 * the peer and carries errno. No call fails with EINTR, no signal SIGPIPE is sent, descriptors are
 * CLOEXEC, TCP_NODELAY is on. Times are in milliseconds; a negative time is no limit.
 *
 * One thread may receive while another sends; otherwise a socket is for one thread at a time.
 * Checked everywhere: the socket is NULL or closed. */
#ifndef SOCKET_INCLUDED
#define SOCKET_INCLUDED
#include <stddef.h>
#include <sys/uio.h>
#include <core/Arena.h>

CORE_BEGIN_DECLS

typedef struct Socket *Socket_T;

extern CORE_API const Except_T Socket_Failed;
/* These four are kinds of Socket_Failed: the peer has left; a wait took too long; no process
 * listens there; there is no such host or service. */
extern CORE_API const Except_T Socket_Closed;
extern CORE_API const Except_T Socket_Timeout;
extern CORE_API const Except_T Socket_Refused;
extern CORE_API const Except_T Socket_Unresolved;

/* Listens. If host is NULL: at every address, IPv6 and IPv4. If host is "unix:/path" (or, abstract,
 * "unix:@name"), service is ignored. Service "0" is a free port. A backlog of 0 or less is the
 * system's largest. Raises: Socket_Failed, Socket_Unresolved.
 * Checked: the service is NULL, unless host is "unix:...". */
CORE_API Socket_T Socket_listen(const char *host, const char *service, int backlog);
/* Listens at a port that others of this user may listen at in the same way; the kernel spreads the
 * connections (SO_REUSEPORT). Raises as above, and Socket_Failed where the system cannot.
 * Checked: host is "unix:...". */
CORE_API Socket_T Socket_listen_shared(const char *host, const char *service, int backlog);
/* Listens at a file whose permissions are mode (0600, say), whatever the umask, and never wider.
 * Raises: Socket_Failed. Checked: the path is NULL or abstract; the mode is not within 0777. */
CORE_API Socket_T Socket_listen_unix(const char *path, int mode, int backlog);
/* Connects. Tries all addresses of the host, IPv6 and IPv4 by turns, the next one when one has
 * failed or has not answered for 250 ms. Raises: Socket_Failed and its kinds.
 * Checked: the host is NULL, or the service, unless host is "unix:...". */
CORE_API Socket_T Socket_connect(const char *host, const char *service, int timeout_ms);
/* Begins to connect, and returns at once a socket that does not block. When it can be written, ask
 * finish. The address is numeric and the service a number, or the address is "unix:...": a name
 * raises Socket_Unresolved. Raises and checks as connect. */
CORE_API Socket_T Socket_connect_start(const char *address, const char *service);
/* Returns 1 if it is connected, 0 if not yet. Raises as connect; the socket stays the caller's. */
CORE_API int Socket_connect_finish(Socket_T);
/* Returns the next connection, or NULL if none waits and the listener does not block, or if the
 * peer left before it was accepted. Raises: Socket_Failed (EMFILE, ENOMEM, ...), Socket_Timeout. */
CORE_API Socket_T Socket_accept(Socket_T listener);
/* Takes over an open stream socket. Raises: Socket_Failed; fd stays the caller's then.
 * Checked: fd is not an open stream socket. */
CORE_API Socket_T Socket_adopt(int fd);

/* Returns how many bytes were received, at most nbytes; 0 at the end of the stream. Raises:
 * Socket_Timeout (also if it does not block and nothing is there), Socket_Closed, Socket_Failed. */
CORE_API size_t Socket_recv(Socket_T, void *buffer, size_t nbytes);
/* Returns how many bytes were sent, perhaps fewer than nbytes; 0 if it does not block and is full.
 * Raises as recv. sendall and sendv send all bytes, whether or not the socket blocks. */
CORE_API size_t Socket_send(Socket_T, const void *buffer, size_t nbytes);
CORE_API void Socket_sendall(Socket_T, const void *buffer, size_t nbytes);
CORE_API void Socket_sendv(Socket_T, const struct iovec *vector, int n);

/* Limits each wait in accept, recv and send. Default: -1, no limit. */
CORE_API void Socket_set_timeout(Socket_T, int ms);
CORE_API void Socket_set_nonblocking(Socket_T, int on);
/* Probes a peer that has been silent for ms, and gives it up after half as long again. Then the
 * next recv or send raises Socket_Timeout. ms is counted in seconds, at least 1. Default: 0, which
 * means off. For TCP only. */
CORE_API void Socket_set_keepalive(Socket_T, int ms);
CORE_API size_t Socket_pending(Socket_T); /* bytes read ahead, which recv gives without waiting */
CORE_API void Socket_shutdown(Socket_T);  /* ends our side: the peer reads the end of the stream */

CORE_API int Socket_fd(Socket_T);   /* the descriptor, which the socket still owns */
CORE_API int Socket_port(Socket_T); /* the local TCP port; 0 if it has none */
/* Return "127.0.0.1:80", "[::1]:80" or "unix:/path", from the arena. Raise: Arena_Failed. */
CORE_API const char *Socket_peer(Socket_T, Arena_T arena);
CORE_API const char *Socket_local(Socket_T, Arena_T arena);

/* Closes the socket and sets it to NULL. Takes NULL and a pointer to NULL. Never raises. */
CORE_API void Socket_close(Socket_T *);

CORE_END_DECLS
#endif
