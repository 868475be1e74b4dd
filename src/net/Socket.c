/* SPDX-License-Identifier: MIT */
/* Socket: a small heap object around a descriptor: how long to wait, whom it talks to, bytes that were
 * read ahead.
 *
 * Invariant: magic is MAGIC from the moment the object is made until it is closed; fd is open and owned
 * by the object alone. peer holds the address of a connected IP socket, kept because the kernel forgets
 * it when the connection is reset, which is when a message has to name it; its family is AF_UNSPEC while
 * there is no peer. path is set on listeners of Unix sockets. ahead is NULL or has
 * start <= end <= size, the bytes from start to end being those recv gives first.
 *
 * A wait with an end is a call that does not block and a poll(2), never SO_RCVTIMEO: that would count
 * anew after each signal. Functions that only try return -1 and errno and are allowed no raise, so that
 * what they were called with can be given back first; the public functions raise. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <core/Socket.h>
#include "checked.h"
#include "socket.h"

#define T Socket_T

EXCEPT_DEFINE(Socket_Failed, NULL, "socket operation failed");
EXCEPT_DEFINE(Socket_Closed, &Socket_Failed, "connection closed by the peer");
EXCEPT_DEFINE(Socket_Timeout, &Socket_Failed, "socket operation timed out");
EXCEPT_DEFINE(Socket_Refused, &Socket_Failed, "connection refused");
EXCEPT_DEFINE(Socket_Unresolved, &Socket_Failed, "host or service not found");

#if !defined MSG_NOSIGNAL /* there, SO_NOSIGPIPE does it for the descriptor */
#define MSG_NOSIGNAL 0
#endif

enum {
	NAME_SIZE = 512,  /* "[address%interface]:port", "unix:/path"; longer host names are cut */
	PARTS = 64,       /* iovecs a sendmsg; POSIX promises no more than 16, every system has 1024 */
	PORT_MAX = 65535
};
static const uint32_t MAGIC = 0x534f434b; /* "SOCK" */
static const uint32_t DEAD = 0xDEAD50CE;

typedef union Address { /* not sockaddr_storage: 128 bytes a connection, most of them never used */
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
} Address;

typedef struct Path {
	pid_t creator; /* who unlinks it at close; 0: nobody */
	dev_t device;  /* of the file we made: another may have taken its place */
	ino_t file;
	char name[];   /* as in "unix:name" */
} Path;

typedef struct Ahead {
	size_t start, end, size;
	char bytes[];
} Ahead;

struct Socket {
	uint32_t magic;
	int fd;
	int timeout;           /* ms; -1: none */
	unsigned protocol;
	unsigned char nonblocking; /* the caller asked for it */
	unsigned char polled;      /* accept made the descriptor non-blocking for its own sake */
	Address peer;
	Path *path;
	Ahead *ahead;
	void *owner;           /* atomic */
	void (*leaving)(T, void *owner);
};

/* ---- argument checks ---- */

#define CHECK_SOCKET(s) ((s) && (s)->magic == MAGIC ? (void)0 : bad_socket((s), __func__))

static void bad_socket(const struct Socket *s, const char *function) CORE_NORETURN;
static void bad_socket(const struct Socket *s, const char *function)
{
	if (!s)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the socket is NULL", function);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not an open socket", function, (const void *)s);
}

/* ---- names ---- */

static int is_ip(int family)
{
	return family == AF_INET || family == AF_INET6;
}

/* A peer that reached a listener for both families over IPv4 is shown as what it is (RFC 4291, 2.5.5.2). */
static void unmap(Address *a)
{
	struct sockaddr_in v4 = { 0 };

	if (a->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return;
	v4.sin_family = AF_INET;
	v4.sin_port = a->v6.sin6_port;
	memcpy(&v4.sin_addr, &a->v6.sin6_addr.s6_addr[12], sizeof v4.sin_addr);
	a->v4 = v4;
}

static void name_ip(Address a, char *name)
{
	char host[INET6_ADDRSTRLEN + 64] = "?", port[8] = "?"; /* an interface's name may follow */
	int v6;

	unmap(&a);
	v6 = a.any.sa_family == AF_INET6;
	getnameinfo(&a.any, v6 ? sizeof a.v6 : sizeof a.v4, host, sizeof host, port, sizeof port,
		NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(name, NAME_SIZE, v6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* 0 when the socket has no name */
static int name_unix(const struct sockaddr_un *a, socklen_t n, char *name)
{
	size_t header = offsetof(struct sockaddr_un, sun_path), length = n > header ? n - header : 0;
	int abstract = length > 0 && a->sun_path[0] == '\0';

	if (length == (size_t)abstract) {
		snprintf(name, NAME_SIZE, "unix:(unnamed)");
		return 0;
	}
	snprintf(name, NAME_SIZE, "unix:%s%.*s", abstract ? "@" : "", (int)length - abstract,
		a->sun_path + abstract);
	return 1;
}

typedef int Query(int, struct sockaddr *, socklen_t *);

/* What getsockname or getpeername says; 0 when it says nothing useful. */
static int name_by(Query *query, int fd, char *name)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof a;

	name[0] = '\0';
	if (query(fd, (struct sockaddr *)&a, &n) != 0)
		return 0;
	if (a.ss_family == AF_UNIX)
		return name_unix((struct sockaddr_un *)&a, n, name);
	if (is_ip(a.ss_family)) {
		Address ip;

		memcpy(&ip, &a, sizeof ip);
		name_ip(ip, name);
		return 1;
	}
	snprintf(name, NAME_SIZE, "(address family %d)", a.ss_family);
	return 1;
}

static int name_peer(T s, char *name)
{
	if (is_ip(s->peer.any.sa_family)) {
		name_ip(s->peer, name);
		return 1;
	}
	return name_by(getpeername, s->fd, name);
}

/* For messages: the peer, or the socket's own name where that says more. */
static const char *name_of(T s, char *name)
{
	char local[NAME_SIZE];

	if (!name_peer(s, name) && (name_by(getsockname, s->fd, local) || name[0] == '\0'))
		memcpy(name, local, sizeof local);
	return name;
}

static const char *unix_path(const char *host)
{
	return host && strncmp(host, "unix:", 5) == 0 ? host + 5 : NULL;
}

/* What the caller asked for, as it asked for it. */
static const char *name_target(const char *host, const char *service, char *name)
{
	if (unix_path(host))
		snprintf(name, NAME_SIZE, "%.400s", host);
	else if (!host)
		snprintf(name, NAME_SIZE, "*:%.64s", service);
	else
		snprintf(name, NAME_SIZE, strchr(host, ':') ? "[%.400s]:%.64s" : "%.400s:%.64s", host,
			service);
	return name;
}

/* ---- raises ---- */

static const Except_T *kind(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return &Socket_Refused;
	case ETIMEDOUT:
		return &Socket_Timeout;
	case ECONNRESET: case EPIPE: case ENOTCONN: case ESHUTDOWN:
		return &Socket_Closed;
	default:
		return &Socket_Failed;
	}
}

/* strerror: glibc, musl and the BSDs return constant text for every number the kernel has */
static void failed(const char *what, const char *whom, int error) CORE_NORETURN;
static void failed(const char *what, const char *whom, int error)
{
	const Except_T *e = kind(error);
	const char *why = strerror(error);

	errno = error;
	EXCEPT_RAISE_MSG(*e, "%s %s: %s", what, whom, why);
}

static void failed_on(const char *what, T s, int error) CORE_NORETURN;
static void failed_on(const char *what, T s, int error)
{
	char name[NAME_SIZE];

	failed(what, name_of(s, name), error);
}

static void timed_out(const char *what, T s, int64_t ms) CORE_NORETURN;
static void timed_out(const char *what, T s, int64_t ms)
{
	char name[NAME_SIZE];

	name_of(s, name);
	errno = ETIMEDOUT;
	EXCEPT_RAISE_MSG(Socket_Timeout, "%s %s: timed out after %lld ms", what, name, (long long)ms);
}

/* ---- descriptors; nothing in this part raises ---- */

static int would_block(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK;
}

static void close_keeping_errno(int fd)
{
	int error = errno;

	close(fd); /* not again after EINTR: the number may be another thread's by then */
	errno = error;
}

static int set_blocking(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -1;
	return fcntl(fd, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
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
		set_blocking(fd, 1); /* the BSDs hand down the listener's flag */
#if defined SO_NOSIGPIPE
		set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
	}
	return fd;
#endif
}

int64_t socket__now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t deadline_in(int64_t ms)
{
	return ms < 0 ? SOCKET__NEVER : socket__now_ms() + ms;
}

static int poll_ms(int64_t deadline)
{
	int64_t left;

	if (deadline == SOCKET__NEVER)
		return -1;
	left = deadline - socket__now_ms();
	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* 1 ready, 0 not by then, -1 and errno. An error or hang-up is ready: the call that follows names it. */
static int wait_until(int fd, int for_write, int64_t deadline)
{
	struct pollfd p = { fd, for_write ? POLLOUT : POLLIN, 0 };

	for (;;) {
		int ms = poll_ms(deadline), n = poll(&p, 1, ms);

		if (n > 0)
			return 1;
		if (n == 0 && ms < INT_MAX)
			return 0;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -1;
	}
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
static void unlink_own(const Path *p)
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
			unlink_own(path);
		free(path);
		close(fd);
		failed(what, whom, ENOMEM);
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

	name_target(host, service, name);
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
		failed(what, name, ENOMEM);
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
	set_blocking(fd, 0); /* a live one may have a full backlog */
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
		unlink_own(path);
	}
	close_keeping_errno(fd);
	return -1;
}

T Socket_listen(const char *host, const char *service, int backlog)
{
	const char *file = unix_path(host);
	char name[NAME_SIZE];
	Path *path = NULL;
	int fd, error;

	CHECK(service || file, "Socket_listen: the service is NULL");
	if (backlog <= 0)
		backlog = INT_MAX; /* the kernel cuts it to its own limit, which SOMAXCONN need not be */
	name_target(host, service, name);
	if (file) {
		path = make_path(file);
		if (!path)
			failed("listen", name, ENOMEM);
		fd = listen_unix(path, backlog);
	} else
		fd = host ? listen_host(host, service, backlog) : listen_everywhere(service, backlog);
	if (fd < 0) {
		error = errno;
		free(path);
		failed("listen", name, error);
	}
	return make_or_fail(fd, path, "listen", name);
}

/* ---- connecting ---- */

static int await_connection(int fd, int64_t deadline)
{
	int error = 0, ready = wait_until(fd, 1, deadline);
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
	if (set_blocking(fd, 0) != 0)
		return -1;
	if (connect(fd, a, n) != 0) {
		if ((errno != EINPROGRESS && errno != EINTR) || await_connection(fd, deadline) != 0)
			return -1;
	}
	return set_blocking(fd, 1);
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
		int ms = poll_ms(deadline);
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
	failed("connect", name, error);
}

T Socket_connect(const char *host, const char *service, int timeout_ms)
{
	const char *file = unix_path(host);
	int64_t deadline = deadline_in(timeout_ms);
	char name[NAME_SIZE];
	Address peer = { 0 };
	T s;
	int fd;

	CHECK(host, "Socket_connect: the host is NULL");
	CHECK(service || file, "Socket_connect: the service is NULL");
	name_target(host, service, name);
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
	if (set_blocking(s->fd, 0) != 0)
		failed_on("accept", s, errno);
	s->polled = 1;
}

static T accepted(T listener, int fd, const struct sockaddr_storage *peer)
{
	T s = make(fd);

	if (!s) {
		close(fd);
		failed_on("accept", listener, ENOMEM);
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
			failed_on("accept", s, errno);
		if (!deadline)
			deadline = deadline_in(s->timeout);
		ready = wait_until(s->fd, 0, deadline);
		if (ready < 0)
			failed_on("accept", s, errno);
		if (ready == 0)
			timed_out("accept", s, s->timeout);
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

/* ---- receiving ---- */

static size_t give_ahead(T s, void *buffer, size_t nbytes)
{
	Ahead *a = s->ahead;
	size_t n = a->end - a->start < nbytes ? a->end - a->start : nbytes;

	memcpy(buffer, a->bytes + a->start, n);
	a->start += n;
	return n;
}

/* The block is kept until the kernel is asked again: a pipeline is put back and read many times, a
 * connection at rest should cost nothing. */
static void drop_ahead(T s)
{
	free(s->ahead);
	s->ahead = NULL;
}

static void nothing_there(T s) CORE_NORETURN;
static void nothing_there(T s)
{
	char name[NAME_SIZE];

	name_of(s, name);
	errno = EAGAIN;
	EXCEPT_RAISE_MSG(Socket_Timeout, "recv %s: nothing is there, and the socket does not block", name);
}

/* Waits, if at all, for the socket's timeout and not beyond limit. */
static void await_bytes(T s, int64_t limit)
{
	int64_t start = socket__now_ms(), end = s->timeout < 0 ? SOCKET__NEVER : start + s->timeout;
	int ready;

	if (end > limit)
		end = limit;
	ready = wait_until(s->fd, 0, end);
	if (ready < 0)
		failed_on("recv", s, errno);
	if (ready == 0)
		timed_out("recv", s, end > start ? end - start : 0);
}

/* When poll says that there is something and recv finds that there is not, the wait begins anew. */
static size_t receive(T s, void *buffer, size_t nbytes, int wait, int64_t limit)
{
	int flags = s->timeout >= 0 || limit != SOCKET__NEVER || !wait ? MSG_DONTWAIT : 0;

	for (;;) {
		ssize_t n = recv(s->fd, buffer, nbytes, flags);

		if (n >= 0)
			return (size_t)n;
		if (errno == EINTR)
			continue;
		if (!would_block(errno))
			failed_on("recv", s, errno);
		if (!wait)
			nothing_there(s);
		await_bytes(s, limit);
	}
}

static int at_hand(T s)
{
	if (Socket_pending(s) > 0)
		return 1;
	if (s->ahead)
		drop_ahead(s);
	return 0;
}

size_t Socket_recv(T s, void *buffer, size_t nbytes)
{
	CHECK_SOCKET(s);
	CHECK(buffer || nbytes == 0, "Socket_recv: the buffer is NULL");
	if (nbytes == 0)
		return 0;
	if (at_hand(s))
		return give_ahead(s, buffer, nbytes);
	return receive(s, buffer, nbytes, !s->nonblocking, SOCKET__NEVER);
}

size_t socket__recv_deadline(T s, void *buffer, size_t nbytes, int64_t deadline_ms)
{
	CHECK_SOCKET(s);
	CHECK(buffer && nbytes > 0, "recv: the buffer is NULL or empty");
	if (at_hand(s))
		return give_ahead(s, buffer, nbytes);
	if (deadline_ms != SOCKET__NEVER && socket__now_ms() >= deadline_ms)
		timed_out("recv", s, 0);
	return receive(s, buffer, nbytes, 1, deadline_ms);
}

/* ---- sending ---- */

/* How the callers of transmit want it. */
typedef struct Sending {
	const char *what;
	int wait;         /* also when the socket does not block */
	size_t done, all; /* for the message */
} Sending;

static void send_timed_out(T s, const Sending *how) CORE_NORETURN;
static void send_timed_out(T s, const Sending *how)
{
	char name[NAME_SIZE];

	name_of(s, name);
	errno = ETIMEDOUT;
	EXCEPT_RAISE_MSG(Socket_Timeout, "%s %s: timed out after %d ms with %zu of %zu bytes sent", how->what,
		name, s->timeout, how->done, how->all);
}

/* Some of the bytes, at least one; 0 only when it may not wait. */
static size_t transmit(T s, const struct msghdr *m, const Sending *how)
{
	int flags = MSG_NOSIGNAL | (s->timeout >= 0 ? MSG_DONTWAIT : 0);
	int64_t deadline = 0;

	for (;;) {
		ssize_t n = m->msg_iovlen == 1
			? send(s->fd, m->msg_iov[0].iov_base, m->msg_iov[0].iov_len, flags)
			: sendmsg(s->fd, m, flags);
		int ready;

		if (n >= 0)
			return (size_t)n;
		if (errno == EINTR)
			continue;
		if (!would_block(errno))
			failed_on(how->what, s, errno);
		if (!how->wait)
			return 0;
		if (!deadline)
			deadline = deadline_in(s->timeout);
		ready = wait_until(s->fd, 1, deadline);
		if (ready < 0)
			failed_on(how->what, s, errno);
		if (ready == 0)
			send_timed_out(s, how);
	}
}

static size_t send_some(T s, const void *buffer, size_t nbytes, const Sending *how)
{
	struct iovec part = { (void *)(uintptr_t)buffer, nbytes };
	struct msghdr m = { 0 };

	m.msg_iov = &part;
	m.msg_iovlen = 1;
	return transmit(s, &m, how);
}

size_t Socket_send(T s, const void *buffer, size_t nbytes)
{
	Sending how = { "send", 0, 0, nbytes };

	CHECK_SOCKET(s);
	CHECK(buffer || nbytes == 0, "Socket_send: the buffer is NULL");
	how.wait = !s->nonblocking;
	return nbytes ? send_some(s, buffer, nbytes, &how) : 0;
}

void Socket_sendall(T s, const void *buffer, size_t nbytes)
{
	Sending how = { "sendall", 1, 0, nbytes };

	CHECK_SOCKET(s);
	CHECK(buffer || nbytes == 0, "Socket_sendall: the buffer is NULL");
	while (how.done < nbytes)
		how.done += send_some(s, (const char *)buffer + how.done, nbytes - how.done, &how);
}

static size_t vector_bytes(const struct iovec *vector, int n)
{
	size_t all = 0;
	int i;

	CHECK(n >= 0 && (vector || n == 0), "Socket_sendv: %d buffers at %p", n, (const void *)vector);
	for (i = 0; i < n; i++) {
		CHECK(vector[i].iov_base || vector[i].iov_len == 0, "Socket_sendv: buffer %d is NULL", i);
		CHECK(add_size(all, vector[i].iov_len, &all), "Socket_sendv: more bytes than a size_t holds");
	}
	return all;
}

/* Copies into parts what is left of the vector after skip bytes of its first element. */
static int copy_parts(struct iovec *parts, const struct iovec *vector, int n, size_t skip)
{
	int count = 0;

	for (; n > 0 && count < PARTS; vector++, n--, skip = 0)
		if (vector->iov_len > skip) {
			parts[count].iov_base = (char *)vector->iov_base + skip;
			parts[count++].iov_len = vector->iov_len - skip;
		}
	return count;
}

void Socket_sendv(T s, const struct iovec *vector, int n)
{
	Sending how = { "sendv", 1, 0, 0 };
	size_t skip = 0;

	CHECK_SOCKET(s);
	how.all = vector_bytes(vector, n);
	while (how.done < how.all) {
		struct iovec parts[PARTS];
		struct msghdr m = { 0 };
		size_t sent;

		while (vector->iov_len <= skip) {
			skip -= vector->iov_len;
			vector++;
			n--;
		}
		m.msg_iov = parts;
		m.msg_iovlen = (unsigned)copy_parts(parts, vector, n, skip);
		sent = transmit(s, &m, &how);
		how.done += sent;
		skip += sent;
	}
}

/* ---- settings ---- */

void Socket_set_timeout(T s, int ms)
{
	CHECK_SOCKET(s);
	s->timeout = ms < 0 ? -1 : ms;
}

void Socket_set_nonblocking(T s, int on)
{
	CHECK_SOCKET(s);
	if (set_blocking(s->fd, !on) != 0)
		failed_on("set non-blocking", s, errno);
	s->nonblocking = on != 0;
	s->polled = 0;
}

size_t Socket_pending(T s)
{
	CHECK_SOCKET(s);
	return s->ahead ? s->ahead->end - s->ahead->start : 0;
}

/* It fails only when nobody could read the end of the stream any more. */
void Socket_shutdown(T s)
{
	CHECK_SOCKET(s);
	shutdown(s->fd, SHUT_WR);
}

/* ---- who and where ---- */

int Socket_fd(T s)
{
	CHECK_SOCKET(s);
	return s->fd;
}

int Socket_port(T s)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof a;

	CHECK_SOCKET(s);
	if (getsockname(s->fd, (struct sockaddr *)&a, &n) != 0)
		return 0;
	if (a.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&a)->sin_port);
	if (a.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
	return 0;
}

const char *Socket_peer(T s, Arena_T arena)
{
	char name[NAME_SIZE];

	CHECK_SOCKET(s);
	name_peer(s, name);
	return Arena_strdup(arena, name);
}

const char *Socket_local(T s, Arena_T arena)
{
	char name[NAME_SIZE];

	CHECK_SOCKET(s);
	name_by(getsockname, s->fd, name);
	return Arena_strdup(arena, name);
}

/* ---- the end ---- */

void Socket_close(T *socket)
{
	int error = errno; /* it stands in handlers that still want it */
	T s;

	if (!socket || !*socket)
		return;
	s = *socket;
	CHECK_SOCKET(s);
	*socket = NULL;
	if (s->leaving)
		s->leaving(s, socket__owner(s));
	s->magic = DEAD;
	if (s->path)
		unlink_own(s->path);
	close(s->fd);
	free(s->path);
	free(s->ahead);
	free(s);
	errno = error;
}

/* ---- for the protocols and the pool ---- */

/* Room for n bytes before the others. */
static Ahead *widen(T s, size_t n)
{
	size_t pending = Socket_pending(s), size, bytes;
	Ahead *a;

	if (!add_size(n, pending, &size) || !add_size(size, sizeof *a, &bytes) || !(a = malloc(bytes)))
		failed_on("unread", s, ENOMEM);
	a->size = a->end = size;
	a->start = n;
	if (pending)
		memcpy(a->bytes + n, s->ahead->bytes + s->ahead->start, pending);
	free(s->ahead);
	return a;
}

void socket__unread(T s, const void *bytes, size_t n)
{
	CHECK_SOCKET(s);
	if (n == 0)
		return;
	if (!s->ahead || s->ahead->start < n)
		s->ahead = widen(s, n);
	s->ahead->start -= n;
	memcpy(s->ahead->bytes + s->ahead->start, bytes, n);
}

int socket__wait(T s, int for_write, int timeout_ms)
{
	int ready;

	if (!for_write && Socket_pending(s) > 0)
		return 1;
	CHECK_SOCKET(s);
	ready = wait_until(s->fd, for_write, deadline_in(timeout_ms));
	if (ready < 0)
		failed_on("wait for", s, errno);
	return ready;
}

void socket__linger(T s, size_t nbytes, int ms)
{
	int64_t deadline = deadline_in(ms < 0 ? 0 : ms);
	char sink[4096];

	Socket_shutdown(s);
	while (nbytes > 0 && wait_until(s->fd, 0, deadline) == 1) {
		ssize_t n = recv(s->fd, sink, nbytes < sizeof sink ? nbytes : sizeof sink, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EINTR && !would_block(errno)))
			return;
		if (n > 0)
			nbytes -= (size_t)n;
	}
}

unsigned *socket__protocol(T s)
{
	CHECK_SOCKET(s);
	return &s->protocol;
}

void socket__set_owner(T s, void *owner, void (*leaving)(T, void *))
{
	CHECK_SOCKET(s);
	s->leaving = leaving;
	__atomic_store_n(&s->owner, owner, __ATOMIC_RELEASE);
}

void *socket__owner(T s)
{
	CHECK_SOCKET(s);
	return __atomic_load_n(&s->owner, __ATOMIC_ACQUIRE);
}
