/* SPDX-License-Identifier: MIT */
/* Socket: stream sockets (TCP over IPv4 and IPv6, Unix domain) whose errors are exceptions that name
 * the peer and carry errno. EINTR is never seen, SIGPIPE never happens, descriptors are CLOEXEC,
 * TCP_NODELAY is on. Times are in milliseconds; a negative time waits for ever.
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
extern CORE_API const Except_T Socket_Closed;     /* these four are kinds of Socket_Failed: the peer is gone */
extern CORE_API const Except_T Socket_Timeout;
extern CORE_API const Except_T Socket_Refused;
extern CORE_API const Except_T Socket_Unresolved; /* no such host or service */

/* host NULL: every address, IPv6 and IPv4. host "unix:/path" (or "unix:@name", abstract): service is
 * ignored. service "0": a free port. backlog 0 or less: the system's largest.
 * Raises: Socket_Failed, Socket_Unresolved. Checked: the service is NULL, but of "unix:...". */
CORE_API Socket_T Socket_listen(const char *host, const char *service, int backlog);
/* The same, and others of this user that do the same may listen on it too: each has its share of the connections
 * (SO_REUSEPORT). Raises as above; Socket_Failed where there is no such thing. Checked: host is "unix:...". */
CORE_API Socket_T Socket_listen_shared(const char *host, const char *service, int backlog);
/* Listens at a file whose permissions are mode (0600, say), whatever the umask, and never wider.
 * Raises: Socket_Failed. Checked: the path is NULL or abstract; the mode is not within 0777. */
CORE_API Socket_T Socket_listen_unix(const char *path, int mode, int backlog);
/* Tries every address, IPv6 and IPv4 by turns, the next when one has failed or not answered for 250 ms.
 * Raises: Socket_Failed and kinds. Checked: the host is NULL, or the service, but of "unix:...". */
CORE_API Socket_T Socket_connect(const char *host, const char *service, int timeout_ms);
/* Begins to connect and does not wait; the socket does not block, now or later. Wait until it can be written, then ask
 * finish. The address is numeric, and the service a number, or it is "unix:...": a name raises Socket_Unresolved.
 * Raises and checks as above. */
CORE_API Socket_T Socket_connect_start(const char *address, const char *service);
/* Returns 1 when it is connected, 0 when not yet. Raises as connect; the socket stays the caller's. */
CORE_API int Socket_connect_finish(Socket_T);
/* NULL when nothing waits and the listener does not block, or the peer was gone before it was accepted.
 * Raises: Socket_Failed (EMFILE, ENFILE, ENOMEM, ...), Socket_Timeout. */
CORE_API Socket_T Socket_accept(Socket_T listener);
/* Takes over an open stream socket. Raises: Socket_Failed; fd stays the caller's. Checked: fd is one. */
CORE_API Socket_T Socket_adopt(int fd);

/* At most nbytes; 0 at end of stream. Raises: Socket_Timeout (also when it does not block and nothing
 * is there), Socket_Closed, Socket_Failed. */
CORE_API size_t Socket_recv(Socket_T, void *buffer, size_t nbytes);
/* The bytes taken, perhaps fewer than nbytes. Raises as above; 0 when it does not block and is full. */
CORE_API size_t Socket_send(Socket_T, const void *buffer, size_t nbytes);
CORE_API void Socket_sendall(Socket_T, const void *buffer, size_t nbytes); /* all of it, blocking or not */
CORE_API void Socket_sendv(Socket_T, const struct iovec *vector, int n);   /* all of it, in order */

CORE_API void Socket_set_timeout(Socket_T, int ms); /* for each wait in accept, recv and send; -1 at start */
CORE_API void Socket_set_nonblocking(Socket_T, int on);
/* A peer that has been silent for ms is asked whether it is there, and given up after half as long again: the
 * next recv or send raises Socket_Timeout. Counted in seconds, 1 at least; 0: off, as at start. TCP only. */
CORE_API void Socket_set_keepalive(Socket_T, int ms);
CORE_API size_t Socket_pending(Socket_T); /* bytes already read ahead: recv gives them without waiting */
CORE_API void Socket_shutdown(Socket_T);  /* no more will be sent; the peer reads end of stream */

CORE_API int Socket_fd(Socket_T); /* still the socket's own */
CORE_API int Socket_port(Socket_T); /* local TCP port; 0 if it has none */
CORE_API const char *Socket_peer(Socket_T, Arena_T arena);  /* "127.0.0.1:80", "[::1]:80", "unix:/path" */
CORE_API const char *Socket_local(Socket_T, Arena_T arena);

CORE_API void Socket_close(Socket_T *); /* sets it to NULL; NULL and pointer to NULL are fine; never raises */

CORE_END_DECLS
#endif
