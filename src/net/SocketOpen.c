/* SPDX-License-Identifier: MIT */
/* Socket, continued: how one comes to be: listen, connect, accept, adopt. */
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

#include "socketrep.h"

#define T Socket_T

enum { PORT_MAX = 65535 };

/* ---- descriptors; nothing in this part raises ---- */

static void close_keeping_errno(int fd)
{
	int error = errno;

	close(fd); /* not again after EINTR: the number may be another thread's by then */
	errno = error;
}

static void set_option(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof value);
}

/* What every descriptor of ours has; none of it can fail in a way that matters. */
static void prepare(int fd, int family)
{
	if (is_ip(family))
		set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
#if defined SO_NOSIGPIPE
	set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
}

static int open_descriptor(int family)
{
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

/* TCP_NODELAY comes from the listener. */
static int accept_descriptor(int listener, struct sockaddr *a, socklen_t *n)
{
#if HAVE_ACCEPT4
	return accept4(listener, a, n, SOCK_CLOEXEC);
#else
	int fd = accept(listener, a, n);

	if (fd >= 0) {
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		socket__set_blocking(fd, 1); /* the BSDs hand down the listener's flag */
#if defined SO_NOSIGPIPE
		set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
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

static Path *make_path(const char *name)
{
	size_t n = strlen(name) + 1;
	Path *p = calloc(1, sizeof *p + n);

	if (p)
		memcpy(p->name, name, n);
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
static T make_or_fail(int fd, Path *path, const char *what, const char *whom)
{
	T s = make(fd);

	if (!s) {
		if (path)
			socket__unlink_own(path);
		free(path);
		close(fd);
		socket__failed(what, whom, ENOMEM);
	}
	s->path = path;
	return s;
}

static void copy_address(Address *to, const void *address)
{
	const struct sockaddr *a = address;

	if (is_ip(a->sa_family))
		memcpy(to, a, a->sa_family == AF_INET ? sizeof to->v4 : sizeof to->v6);
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

static struct addrinfo *resolve(const char *what, const char *host, const char *service, int flags, int family)
{
	struct addrinfo hints = { 0 }, *list = NULL;
	char name[NAME_SIZE];
	int e;

	socket__name_target(host, service, name);
	errno = 0;
	if (!is_service(service))
		EXCEPT_RAISE_MSG(Socket_Unresolved, "%s %s: \"%s\" is neither a port (0 to 65535) nor a name",
			what, name, service);
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
static socklen_t unix_address(const char *path, struct sockaddr_un *a)
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

static int listen_at(const struct addrinfo *a, int both_families, int backlog)
{
	int fd = open_descriptor(a->ai_family);

	if (fd < 0)
		return -1;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
#if defined IPV6_V6ONLY
	if (a->ai_family == AF_INET6) /* what a host says is what it gets, whatever the system's default */
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both_families);
#endif
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, backlog) == 0)
		return fd;
	close_keeping_errno(fd);
	return -1;
}

static int listen_any(const struct addrinfo *list, int both_families, int backlog)
{
	int fd = -1;

	for (; list && fd < 0; list = list->ai_next)
		fd = listen_at(list, both_families, backlog);
	return fd;
}

static int listen_host(const char *host, const char *service, int backlog)
{
	struct addrinfo *list = resolve("listen", host, service, AI_PASSIVE, host ? AF_UNSPEC : AF_INET6);
	int fd = listen_any(list, !host, backlog);

	freeaddrinfo(list);
	return fd;
}

static int lacks_ipv6(int error)
{
	return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

static int listen_everywhere(const char *service, int backlog)
{
	int fd = listen_host(NULL, service, backlog);

	return fd < 0 && lacks_ipv6(errno) ? listen_host("0.0.0.0", service, backlog) : fd;
}

/* A file that refuses is one whose process died; connect(2) refuses at any other file too. */
static int is_stale(const struct sockaddr_un *a, socklen_t n)
{
	struct stat file;
	int fd, refused;

	if (a->sun_path[0] == '\0' || lstat(a->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode))
		return 0;
	fd = open_descriptor(AF_UNIX);
	if (fd < 0)
		return 0;
	socket__set_blocking(fd, 0); /* a live one may have a full backlog */
	refused = connect(fd, (const struct sockaddr *)a, n) != 0 && errno == ECONNREFUSED;
	close(fd);
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

static int listen_unix(Path *path, int backlog)
{
	struct sockaddr_un a;
	socklen_t n = unix_address(path->name, &a);
	int fd = n ? open_descriptor(AF_UNIX) : -1;

	if (fd < 0)
		return -1;
	if (bind_unix(fd, &a, n) == 0) {
		claim(path);
		if (listen(fd, backlog) == 0)
			return fd;
		socket__unlink_own(path);
	}
	close_keeping_errno(fd);
	return -1;
}

T Socket_listen(const char *host, const char *service, int backlog)
{
	const char *file = socket__unix_path(host);
	char name[NAME_SIZE];
	Path *path = NULL;
	int fd, error;

	CHECK(service || file, "Socket_listen: the service is NULL");
	if (backlog <= 0)
		backlog = INT_MAX; /* the kernel cuts it to its own limit, which SOMAXCONN need not be */
	socket__name_target(host, service, name);
	if (file) {
		path = make_path(file);
		if (!path)
			socket__failed("listen", name, ENOMEM);
		fd = listen_unix(path, backlog);
	} else
		fd = host ? listen_host(host, service, backlog) : listen_everywhere(service, backlog);
	if (fd < 0) {
		error = errno;
		free(path);
		socket__failed("listen", name, error);
	}
	return make_or_fail(fd, path, "listen", name);
}

/* ---- connecting ---- */

static int await_connection(int fd, int64_t deadline)
{
	int error = 0, ready = socket__wait_until(fd, 1, deadline);
	socklen_t n = sizeof error;

	if (ready < 0 || (ready > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0))
		return -1;
	if (ready == 0)
		error = ETIMEDOUT;
	errno = error;
	return error ? -1 : 0;
}

/* A connect that a signal interrupts goes on by itself (POSIX). */
static int connect_descriptor(int fd, const struct sockaddr *a, socklen_t n, int64_t deadline)
{
	if (socket__set_blocking(fd, 0) != 0)
		return -1;
	if (connect(fd, a, n) != 0) {
		if ((errno != EINPROGRESS && errno != EINTR) || await_connection(fd, deadline) != 0)
			return -1;
	}
	return socket__set_blocking(fd, 1);
}

static int connect_at(const struct addrinfo *a, int64_t deadline)
{
	int fd = open_descriptor(a->ai_family);

	if (fd < 0 || connect_descriptor(fd, a->ai_addr, a->ai_addrlen, deadline) == 0)
		return fd;
	close_keeping_errno(fd);
	return -1;
}

/* Each address may use its share of the time that is left: a dead IPv6 route leaves some to IPv4. */
static int64_t share(const struct addrinfo *a, int64_t deadline)
{
	int64_t now, n = 0;

	if (deadline == SOCKET__NEVER)
		return deadline;
	now = socket__now_ms();
	for (; a; a = a->ai_next)
		n++;
	return deadline > now ? now + (deadline - now) / n : deadline;
}

static int connect_any(const struct addrinfo *list, int64_t deadline, Address *peer)
{
	for (; list; list = list->ai_next) {
		int fd = connect_at(list, share(list, deadline));

		if (fd >= 0) {
			copy_address(peer, list->ai_addr);
			return fd;
		}
	}
	return -1;
}

/* poll(2) does not tell when a full backlog of a Unix socket has room again: this one blocks. */
static int connect_unix_fd(int fd, const struct sockaddr_un *a, socklen_t n, int64_t deadline)
{
	for (;;) {
		int ms = socket__poll_ms(deadline);
		struct timeval left = { 0, 0 }, none = { 0, 0 };

		if (ms >= 0) {
			left.tv_sec = ms / 1000;
			left.tv_usec = ms == 0 ? 1 : ms % 1000 * 1000; /* 0 would be for ever */
		}
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof left);
		if (connect(fd, (const struct sockaddr *)a, n) == 0)
			return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
		if (would_block(errno))
			errno = ETIMEDOUT;
		if (errno != EINTR)
			return -1;
	}
}

static int connect_unix(const char *path, int64_t deadline)
{
	struct sockaddr_un a;
	socklen_t n = unix_address(path, &a);
	int fd = n ? open_descriptor(AF_UNIX) : -1;

	if (fd < 0 || connect_unix_fd(fd, &a, n, deadline) == 0)
		return fd;
	close_keeping_errno(fd);
	return -1;
}

static void connect_failed(const char *name, int is_unix, int error, int timeout_ms) CORE_NORETURN;
static void connect_failed(const char *name, int is_unix, int error, int timeout_ms)
{
	errno = error;
	if (is_unix && error == ENOENT) /* nobody listens there, whether or not a file was left behind */
		EXCEPT_RAISE_MSG(Socket_Refused, "connect %s: %s", name, strerror(error));
	if (error == ETIMEDOUT && timeout_ms >= 0)
		EXCEPT_RAISE_MSG(Socket_Timeout, "connect %s: timed out after %d ms", name, timeout_ms);
	socket__failed("connect", name, error);
}

T Socket_connect(const char *host, const char *service, int timeout_ms)
{
	const char *file = socket__unix_path(host);
	int64_t deadline = socket__deadline_in(timeout_ms);
	char name[NAME_SIZE];
	Address peer = { 0 };
	T s;
	int fd;

	CHECK(host, "Socket_connect: the host is NULL");
	CHECK(service || file, "Socket_connect: the service is NULL");
	socket__name_target(host, service, name);
	if (file)
		fd = connect_unix(file, deadline);
	else {
		struct addrinfo *list = resolve("connect", host, service, 0, AF_UNSPEC);

		fd = connect_any(list, deadline, &peer);
		freeaddrinfo(list);
	}
	if (fd < 0)
		connect_failed(name, file != NULL, errno, timeout_ms);
	s = make_or_fail(fd, NULL, "connect", name);
	s->peer = peer;
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
		close(fd);
		socket__failed_on("accept", listener, ENOMEM);
	}
	copy_address(&s->peer, peer);
	return s;
}

T Socket_accept(T s)
{
	int64_t deadline = 0;

	CHECK_SOCKET(s);
	poll_first(s);
	for (;;) {
		struct sockaddr_storage peer = { 0 };
		socklen_t n = sizeof peer;
		int ready, fd = accept_descriptor(s->fd, (struct sockaddr *)&peer, &n);

		if (fd >= 0)
			return accepted(s, fd, &peer);
		if (peer_was_gone(errno) || (would_block(errno) && s->nonblocking))
			return NULL;
		if (errno == EINTR)
			continue;
		if (!would_block(errno))
			socket__failed_on("accept", s, errno);
		if (!deadline)
			deadline = socket__deadline_in(s->timeout);
		ready = socket__wait_until(s->fd, 0, deadline);
		if (ready < 0)
			socket__failed_on("accept", s, errno);
		if (ready == 0)
			socket__timed_out("accept", s, s->timeout);
	}
}

T Socket_adopt(int fd)
{
	struct sockaddr_storage a = { 0 };
	int type = 0, flags;
	socklen_t n = sizeof type;
	T s;

	CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM,
		"Socket_adopt: %d is not an open stream socket", fd);
	s = make(fd);
	if (!s) {
		errno = ENOMEM;
		EXCEPT_RAISE_MSG(Socket_Failed, "adopt descriptor %d: %s", fd, strerror(ENOMEM));
	}
	n = sizeof a;
	if (getpeername(fd, (struct sockaddr *)&a, &n) == 0)
		copy_address(&s->peer, &a);
	n = sizeof a;
	if (getsockname(fd, (struct sockaddr *)&a, &n) == 0)
		prepare(fd, a.ss_family);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	flags = fcntl(fd, F_GETFL);
	s->nonblocking = flags >= 0 && (flags & O_NONBLOCK);
	return s;
}
