/* SPDX-License-Identifier: MIT */
/* Socket, continued: descriptors, sockets, addresses; accept and adopt. socket/listen.c makes
 * listeners, socket/connect.c connections. */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "socket/rep.h"

#define T Socket_T

enum { PORT_MAX = 65535 };

/* ---- descriptors; nothing in this part raises ---- */

void socket__set_option(int fd, int level, int option, int value)
{
	int error = errno;

	setsockopt(fd, level, option, &value, sizeof value);
	errno = error;
}

/* Sets the options that all our descriptors have. Callers do not rely on them, so failures are
 * ignored. */
static void set_common_options(int fd, int family)
{
	if (is_ip(family))
		socket__set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
#if defined SO_NOSIGPIPE
	socket__set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
}

int socket__open(int family)
{
	WITHOUT_CANCELLATION;
#if defined SOCK_CLOEXEC
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
#else
	int fd = socket(family, SOCK_STREAM, 0);

	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
	if (fd >= 0)
		set_common_options(fd, family);
	return fd;
}

/* Almost all addresses differ in the port, which is in the same place in both families. */
static int are_same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	Peer x, y;

	if (((const struct sockaddr_in *)a)->sin_port != ((const struct sockaddr_in *)b)->sin_port)
		return 0;
	socket__remember(&x, a);
	socket__remember(&y, b);
	return x.known && y.known && memcmp(&x, &y, sizeof x) == 0;
}

/* Makes the close a reset. Otherwise a connection to itself would keep the port for a minute. */
int socket__meets_itself(int fd)
{
	struct sockaddr_storage own = { 0 }, peer = { 0 };
	struct linger reset = { 1, 0 };
	socklen_t n = sizeof own, m = sizeof peer;

	if (getsockname(fd, (struct sockaddr *)&own, &n) != 0
		|| getpeername(fd, (struct sockaddr *)&peer, &m) != 0 || !are_same_address(&own, &peer))
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	return 1;
}

/* An accepted socket inherits TCP_NODELAY from the listener. */
static int accept_descriptor(int listener, struct sockaddr *a, socklen_t *n)
{
#if HAVE_ACCEPT4
	return accept4(listener, a, n, SOCK_CLOEXEC);
#else
	int fd = accept(listener, a, n);

	if (fd >= 0) {
		WITHOUT_CANCELLATION;

		fcntl(fd, F_SETFD, FD_CLOEXEC);
		socket__set_blocking(fd, 1); /* the BSDs inherit the listener's flag */
#if defined SO_NOSIGPIPE
		socket__set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
	}
	return fd;
#endif
}

/* ---- the object ---- */

static T allocate_socket(int fd)
{
	T s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->magic = MAGIC;
	s->fd = fd;
	s->timeout = -1;
	return s;
}

/* Takes over fd and path. If there is no memory for the object, it disposes of them. */
T socket__make(int fd, Path *path, const char *what, const char *host, const char *service)
{
	T s = allocate_socket(fd);

	if (!s) {
		if (path)
			socket__unlink_own(path);
		free(path);
		close_descriptor(fd);
		socket__failed_at(what, host, service, ENOMEM);
	}
	s->u.path = path;
	s->named = path != NULL;
	return s;
}

static void remember_v4(Peer *peer, const struct sockaddr_in *a)
{
	peer->address[10] = peer->address[11] = 0xFF; /* RFC 4291, 2.5.5.2 */
	memcpy(peer->address + 12, &a->sin_addr, 4);
	peer->port = a->sin_port;
}

static void remember_v6(Peer *peer, const struct sockaddr_in6 *a)
{
	memcpy(peer->address, &a->sin6_addr, 16);
	peer->scope = a->sin6_scope_id;
	peer->port = a->sin6_port;
}

void socket__remember(Peer *peer, const void *address)
{
	const struct sockaddr *a = address;

	memset(peer, 0, sizeof *peer);
	peer->known = is_ip(a->sa_family);
	if (a->sa_family == AF_INET)
		remember_v4(peer, address);
	else if (a->sa_family == AF_INET6)
		remember_v6(peer, address);
}

uint64_t socket__peer_key(T s)
{
	const unsigned char *bytes;
	uint64_t key = 0;
	int i, from, to;

	CHECK_SOCKET(s);
	if (!s->peer.known)
		return 0;
	bytes = s->peer.address;
	from = socket__is_v4(&s->peer) ? 12 : 0;
	to = from ? 16 : 8;
	for (i = from; i < to; i++)
		key = key << 8 | bytes[i];
	if (from)
		return (uint64_t)1 << 32 | key;
	return key ? key : 1; /* ::1 */
}

/* ---- names into addresses ---- */

/* Returns 1 if the service is a port number, or a name as in RFC 6335, 5.1, which has a letter.
 * getaddrinfo accepts numbers with a sign and takes them modulo 65536. */
static int is_service_or_port(const char *service)
{
	size_t digits = strspn(service, "0123456789");

	if (service[digits] == '\0')
		return digits > 0 && digits < 10 && atol(service) <= PORT_MAX;
	return service[strcspn(service, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")]
		!= '\0';
}

/* It is a cancellation point of glibc's, which would leave a descriptor open. */
static int look_up(const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **list)
{
	WITHOUT_CANCELLATION;

	return getaddrinfo(host, service, hints, list);
}

struct addrinfo *socket__resolve(const char *what, const char *host, const char *service,
	int flags, int family)
{
	struct addrinfo hints = { 0 }, *list = NULL;
	char name[NAME_SIZE];
	int e, error;

	if (!is_service_or_port(service)) {
		errno = 0;
		EXCEPT_RAISE_MSG(Socket_Unresolved,
			"%s %s: \"%s\" is neither a port (0 to 65535) nor a name", what,
			socket__name_target(host, service, name), service);
	}
	hints.ai_family = family;
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = flags;
	e = look_up(host, service, &hints, &list);
	if (e == 0)
		return list;
	error = errno;
	socket__name_target(host, service, name);
	errno = error;
	if (e == EAI_MEMORY)
		socket__failed(what, name, ENOMEM);
	if (e == EAI_SYSTEM)
		EXCEPT_RAISE_ERRNO(Socket_Unresolved, "%s %s", what, name);
	errno = 0;
	if (e == EAI_SERVICE)
		EXCEPT_RAISE_MSG(Socket_Unresolved,
			"%s %s: there is no service \"%s\"", what, name, service);
	EXCEPT_RAISE_MSG(Socket_Unresolved, "%s %s: %s", what, name, gai_strerror(e));
}

int socket__lacks_family(int error)
{
	return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

void socket__free_addresses(struct addrinfo **list)
{
	int error = errno;

	freeaddrinfo(*list);
	errno = error;
}

/* Returns the length of the address, or 0 and errno. A name that starts with @ is abstract: a
 * Linux name without a file. */
socklen_t socket__unix_address(const char *path, struct sockaddr_un *a)
{
	size_t n = strlen(path);

	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	if (n == 0 || n >= sizeof a->sun_path) {
		errno = n == 0 ? EINVAL : ENAMETOOLONG;
		return 0;
	}
	memcpy(a->sun_path, path, n);
	if (path[0] != '@')
		return (socklen_t)sizeof *a;
#if defined __linux__
	a->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
#else
	errno = EAFNOSUPPORT;
	return 0;
#endif
}

/* ---- accepting and adopting ---- */

/* On Linux accept also reports errors of the new connection; accept(2) says to treat them like
 * EAGAIN. */
static int is_error_of_peer(int error)
{
	switch (error) {
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETUNREACH: case EPERM:
#if defined ENONET
	case ENONET:
#endif
		return 1;
	default:
		return 0;
	}
}

/* Another process may take the connection between poll and accept. */
static void unblock_before_poll(T s)
{
	if (s->timeout < 0 || s->nonblocking || s->polled)
		return;
	if (socket__set_blocking(s->fd, 0) != 0)
		socket__failed_on("accept", s, errno);
	s->polled = 1;
}

static T make_accepted(T listener, int fd, const struct sockaddr_storage *peer)
{
	T s = allocate_socket(fd);

	if (!s) {
		close_descriptor(fd);
		socket__failed_on("accept", listener, ENOMEM);
	}
	socket__remember(&s->peer, peer);
	return s;
}

/* Returns the descriptor of a connection, or -1 if Socket_accept is to return NULL. */
static int await_connection(T s, struct sockaddr_storage *peer)
{
	int64_t deadline = SOCKET__UNSET;

	for (;;) {
		socklen_t n = sizeof *peer;
		int ready, fd = accept_descriptor(s->fd, (struct sockaddr *)peer, &n);

		if (fd >= 0 || is_error_of_peer(errno) || (would_block(errno) && s->nonblocking))
			return fd;
		if (errno == EINTR)
			continue;
		if (!would_block(errno))
			socket__failed_on("accept", s, errno);
		if (deadline == SOCKET__UNSET)
			deadline = socket__deadline_in(s->timeout);
		ready = socket__wait_until(s->fd, 0, deadline);
		if (ready < 0)
			socket__failed_on("accept", s, errno);
		if (ready == 0)
			socket__timed_out("accept", s, s->timeout);
	}
}

T Socket_accept(T s)
{
	struct sockaddr_storage peer = { 0 };
	int fd, error = errno;
	T connection = NULL;

	CHECK_SOCKET(s);
	unblock_before_poll(s);
	fd = await_connection(s, &peer);
	if (fd >= 0)
		connection = make_accepted(s, fd, &peer);
	errno = error;
	return connection;
}

static void raise_adopt_failed(int fd, int error) CORE_NORETURN;
static void raise_adopt_failed(int fd, int error)
{
	errno = error;
	EXCEPT_RAISE_ERRNO(Socket_Failed, "adopt descriptor %d", fd);
}

/* Reads the peer and the mode of an open descriptor, and sets our options. */
static void inherit_descriptor(T s)
{
	WITHOUT_CANCELLATION;
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof a;
	int flags;

	if (getpeername(s->fd, (struct sockaddr *)&a, &n) == 0)
		socket__remember(&s->peer, &a);
	n = sizeof a;
	if (getsockname(s->fd, (struct sockaddr *)&a, &n) == 0)
		set_common_options(s->fd, a.ss_family);
	fcntl(s->fd, F_SETFD, FD_CLOEXEC);
	flags = fcntl(s->fd, F_GETFL);
	s->nonblocking = flags >= 0 && (flags & O_NONBLOCK);
}

T Socket_adopt(int fd)
{
	int type = 0;
	socklen_t n = sizeof type;
	int error = errno;
	T s;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 && errno != EBADF && errno != ENOTSOCK)
		raise_adopt_failed(fd, errno);
	CHECK(type == SOCK_STREAM, "Socket_adopt: %d is not an open stream socket", fd);
	s = allocate_socket(fd);
	if (!s)
		raise_adopt_failed(fd, ENOMEM);
	inherit_descriptor(s);
	errno = error;
	return s;
}
