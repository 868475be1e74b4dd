/* SPDX-License-Identifier: MIT */
/* Socket, continued: how one comes to be: listen, accept, adopt; connect is in socket/connect.c. */
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

/* What every descriptor of ours has; none of it can fail in a way that matters. */
static void prepare(int fd, int family)
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
		prepare(fd, family);
	return fd;
}

static int same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	Peer x, y;

	socket__remember(&x, a);
	socket__remember(&y, b);
	return x.known && y.known && memcmp(&x, &y, sizeof x) == 0;
}

/* Its close is a reset: a connection to itself would keep the port for a minute. */
int socket__meets_itself(int fd)
{
	struct sockaddr_storage own = { 0 }, peer = { 0 };
	struct linger reset = { 1, 0 };
	socklen_t n = sizeof own, m = sizeof peer;

	if (getsockname(fd, (struct sockaddr *)&own, &n) != 0 || getpeername(fd, (struct sockaddr *)&peer, &m) != 0
			|| !same_address(&own, &peer))
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	return 1;
}

/* TCP_NODELAY comes from the listener. */
static int accept_descriptor(int listener, struct sockaddr *a, socklen_t *n)
{
#if HAVE_ACCEPT4
	return accept4(listener, a, n, SOCK_CLOEXEC);
#else
	int fd = accept(listener, a, n);

	if (fd >= 0) {
		WITHOUT_CANCELLATION;

		fcntl(fd, F_SETFD, FD_CLOEXEC);
		socket__set_blocking(fd, 1); /* the BSDs hand down the listener's flag */
#if defined SO_NOSIGPIPE
		socket__set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
	}
	return fd;
#endif
}

/* ---- the object ---- */

static T make(int fd)
{
	T s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->magic = MAGIC;
	s->fd = fd;
	s->timeout = -1;
	return s;
}

/* The name is looked up again when the listener is closed, and the process may be in another directory by then. A
 * descriptor of the directory would be right even after a rename, at the cost of one for each listener. */
static Path *make_path(const char *name)
{
	char directory[PATH_MAX] = "";
	size_t n;
	Path *p;

	if (name[0] != '/' && name[0] != '@' && (!getcwd(directory, sizeof directory) || directory[0] != '/'))
		directory[0] = '\0';
	n = strlen(directory) + 1 + strlen(name) + 1;
	p = calloc(1, sizeof *p + n);
	if (p)
		snprintf(p->name, n, "%s%s%s", directory, directory[0] ? "/" : "", name);
	return p;
}

static void claim(Path *p)
{
	struct stat file;

	if (p->name[0] == '@' || lstat(p->name, &file) != 0)
		return;
	p->creator = getpid();
	p->device = file.st_dev;
	p->file = file.st_ino;
}

/* In the process that made it, and when it is still the file that it made. */
void socket__unlink_own(const Path *p)
{
	struct stat file;

	if (p->creator && p->creator == getpid() && lstat(p->name, &file) == 0
			&& file.st_dev == p->device && file.st_ino == p->file)
		unlink(p->name);
}

/* Takes over fd and path; when there is no memory for the object they are disposed of. */
T socket__make(int fd, Path *path, const char *what, const char *whom)
{
	T s = make(fd);

	if (!s) {
		if (path)
			socket__unlink_own(path);
		free(path);
		close_descriptor(fd);
		socket__failed(what, whom, ENOMEM);
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

/* ---- names into addresses ---- */

/* A number or a name as in RFC 6335, 5.1, which has a letter in it; getaddrinfo takes the number modulo
 * 65536, or with a sign. */
static int is_service(const char *service)
{
	size_t digits = strspn(service, "0123456789");

	if (service[digits] == '\0')
		return digits > 0 && digits < 10 && atol(service) <= PORT_MAX;
	return service[strcspn(service, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] != '\0';
}

struct addrinfo *socket__resolve(const char *what, const char *host, const char *service, int flags, int family)
{
	struct addrinfo hints = { 0 }, *list = NULL;
	char name[NAME_SIZE];
	int e;

	socket__name_target(host, service, name);
	if (!is_service(service)) {
		errno = 0;
		EXCEPT_RAISE_MSG(Socket_Unresolved, "%s %s: \"%s\" is neither a port (0 to 65535) nor a name",
			what, name, service);
	}
	hints.ai_family = family;
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = flags;
	e = getaddrinfo(host, service, &hints, &list);
	if (e == 0)
		return list;
	if (e == EAI_MEMORY)
		socket__failed(what, name, ENOMEM);
	if (e != EAI_SYSTEM)
		errno = 0;
	EXCEPT_RAISE_MSG(Socket_Unresolved, "%s %s: %s", what, name,
		e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e));
}

/* Its length, or 0 and errno. A name that starts with @ is abstract: a Linux name without a file. */
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

/* ---- listening ---- */

/* What the three kinds of listeners have in common. */
typedef struct Listening {
	const char *host, *service;
	int backlog, shared;
} Listening;

static int share_port(int fd)
{
#if defined SO_REUSEPORT
	int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
#else
	(void)fd;
	errno = ENOPROTOOPT;
	return -1;
#endif
}

static int listen_at(const struct addrinfo *a, int both_families, const Listening *how)
{
	int fd = socket__open(a->ai_family);

	if (fd < 0)
		return -1;
	socket__set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
#if defined IPV6_V6ONLY
	if (a->ai_family == AF_INET6) /* what a host says is what it gets, whatever the system's default */
		socket__set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both_families);
#endif
	if ((!how->shared || share_port(fd) == 0) && bind(fd, a->ai_addr, a->ai_addrlen) == 0
			&& listen(fd, how->backlog) == 0)
		return fd;
	close_descriptor(fd);
	return -1;
}

int socket__lacks_family(int error)
{
	return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

/* The first of its addresses that this machine has. Not the next one when the port of that is taken: of two servers on
 * localhost, one would be at 127.0.0.1 and the other at ::1, unnoticed. */
static int listen_host(const char *host, const Listening *how)
{
	struct addrinfo *a, *list
		= socket__resolve("listen", host, how->service, AI_PASSIVE, host ? AF_UNSPEC : AF_INET6);
	WITHOUT_CANCELLATION;
	int fd = -1;

	for (a = list; a; a = a->ai_next)
		if ((fd = listen_at(a, !host, how)) >= 0 || !socket__lacks_family(errno))
			break;
	freeaddrinfo(list);
	return fd;
}

static int listen_everywhere(const Listening *how)
{
	int fd = listen_host(NULL, how);

	return fd < 0 && socket__lacks_family(errno) ? listen_host("0.0.0.0", how) : fd;
}

/* A file that refuses is one whose process died; connect(2) refuses at any other file too. */
static int is_stale(const struct sockaddr_un *a, socklen_t n)
{
	struct stat file;
	int fd, refused;

	if (a->sun_path[0] == '\0' || lstat(a->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode))
		return 0;
	fd = socket__open(AF_UNIX);
	if (fd < 0)
		return 0;
	socket__set_blocking(fd, 0); /* a live one may have a full backlog */
	refused = connect(fd, (const struct sockaddr *)a, n) != 0 && errno == ECONNREFUSED;
	close_descriptor(fd);
	return refused;
}

static int bind_unix(int fd, const struct sockaddr_un *a, socklen_t n)
{
	if (bind(fd, (const struct sockaddr *)a, n) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -1;
	if (!is_stale(a, n)) {
		errno = EADDRINUSE;
		return -1;
	}
	if (unlink(a->sun_path) != 0 && errno != ENOENT)
		return -1;
	return bind(fd, (const struct sockaddr *)a, n);
}

/* Nothing here waits. */
static int listen_unix(const char *file, Path *path, int backlog)
{
	WITHOUT_CANCELLATION;
	struct sockaddr_un a;
	socklen_t n = socket__unix_address(file, &a);
	int fd = n ? socket__open(AF_UNIX) : -1;

	if (fd < 0)
		return -1;
	if (bind_unix(fd, &a, n) == 0) {
		claim(path);
		if (listen(fd, backlog) == 0)
			return fd;
		socket__unlink_own(path);
	}
	close_descriptor(fd);
	return -1;
}

static T listen_file(const char *host, const char *file, const Listening *how)
{
	Path *path = make_path(file);
	int fd, error;

	if (!path)
		socket__failed("listen", host, ENOMEM);
	fd = listen_unix(file, path, how->backlog);
	if (fd < 0) {
		error = errno;
		free(path);
		socket__failed("listen", host, error);
	}
	return socket__make(fd, path, "listen", host);
}

static T listen_port(const Listening *how)
{
	char name[NAME_SIZE];
	int fd;

	socket__name_target(how->host, how->service, name);
	fd = how->host ? listen_host(how->host, how) : listen_everywhere(how);
	if (fd < 0)
		socket__failed("listen", name, errno);
	return socket__make(fd, NULL, "listen", name);
}

/* The kernel cuts a backlog to its own limit, which SOMAXCONN need not be. */
static int backlog_of(int backlog)
{
	return backlog > 0 ? backlog : INT_MAX;
}

T Socket_listen(const char *host, const char *service, int backlog)
{
	const char *file = socket__unix_path(host);
	Listening how = { host, service, backlog_of(backlog), 0 };
	int error = errno;
	char name[NAME_SIZE];
	T s;

	CHECK(service || file, "Socket_listen: the service is NULL");
	s = file ? listen_file(socket__name_target(host, service, name), file, &how) : listen_port(&how);
	errno = error;
	return s;
}

T Socket_listen_shared(const char *host, const char *service, int backlog)
{
	Listening how = { host, service, backlog_of(backlog), 1 };
	int error = errno;
	T s;

	CHECK(service, "Socket_listen_shared: the service is NULL");
	CHECK(!socket__unix_path(host), "Socket_listen_shared: %s has no port to share", host);
	s = listen_port(&how);
	errno = error;
	return s;
}

/* ---- accepting and adopting ---- */

/* Linux passes errors of the new connection on through accept: accept(2) says to treat them so. */
static int peer_was_gone(int error)
{
	switch (error) {
	case ECONNABORTED: case EPROTO: case ENETDOWN: case ENOPROTOOPT: case EHOSTDOWN: case EHOSTUNREACH:
	case ENETUNREACH: case EPERM:
#if defined ENONET
	case ENONET:
#endif
		return 1;
	default:
		return 0;
	}
}

/* Between a poll and an accept another process may take the connection. */
static void poll_first(T s)
{
	if (s->timeout < 0 || s->nonblocking || s->polled)
		return;
	if (socket__set_blocking(s->fd, 0) != 0)
		socket__failed_on("accept", s, errno);
	s->polled = 1;
}

static T accepted(T listener, int fd, const struct sockaddr_storage *peer)
{
	T s = make(fd);

	if (!s) {
		close_descriptor(fd);
		socket__failed_on("accept", listener, ENOMEM);
	}
	socket__remember(&s->peer, peer);
	return s;
}

/* Returns the descriptor of a connection, or -1 for what Socket_accept returns NULL for. */
static int await_connection(T s, struct sockaddr_storage *peer)
{
	int64_t deadline = SOCKET__UNSET;

	for (;;) {
		socklen_t n = sizeof *peer;
		int ready, fd = accept_descriptor(s->fd, (struct sockaddr *)peer, &n);

		if (fd >= 0 || peer_was_gone(errno) || (would_block(errno) && s->nonblocking))
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
	poll_first(s);
	fd = await_connection(s, &peer);
	if (fd >= 0)
		connection = accepted(s, fd, &peer);
	errno = error;
	return connection;
}

static void adopt_failed(int fd, int error) CORE_NORETURN;
static void adopt_failed(int fd, int error)
{
	errno = error;
	EXCEPT_RAISE_MSG(Socket_Failed, "adopt descriptor %d: %s", fd, strerror(error));
}

/* What there is to know of an open descriptor, and what all of ours have. */
static void inherit(T s)
{
	WITHOUT_CANCELLATION;
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof a;
	int flags;

	if (getpeername(s->fd, (struct sockaddr *)&a, &n) == 0)
		socket__remember(&s->peer, &a);
	n = sizeof a;
	if (getsockname(s->fd, (struct sockaddr *)&a, &n) == 0)
		prepare(s->fd, a.ss_family);
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
		adopt_failed(fd, errno);
	CHECK(type == SOCK_STREAM, "Socket_adopt: %d is not an open stream socket", fd);
	s = make(fd);
	if (!s)
		adopt_failed(fd, ENOMEM);
	inherit(s);
	errno = error;
	return s;
}
