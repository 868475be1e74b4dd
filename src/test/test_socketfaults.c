/* SPDX-License-Identifier: MIT */
/* The modules of sockets if a system call fails. The program is linked with the objects of the
 * library and with --wrap for each call below. A session that uses all modules runs again and
 * again. Each time one call, at one of its occurrences, fails with one of its documented errors.
 * Whatever is raised, nothing may stay open or allocated, and the pools' counts must be right. */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <core/core.h>
#include "socket/internal.h"
#include "descriptors.h"
#include "testing.h"
#include "wrapping.h"

NEEDS(.loopback = 1);

/* ---- the shim ---- */

enum Call { SOCKET, BIND, LISTEN, ACCEPT, CONNECT, RECV, SEND, SENDMSG, SHUTDOWN, CLOSE, POLL,
	FCNTL, OPEN, SETSOCKOPT, GETSOCKOPT, GETSOCKNAME, GETPEERNAME, GETADDRINFO, MUTEX_INIT,
	COND_INIT, EPOLL_CREATE, EPOLL_CTL, EPOLL_WAIT, EVENTFD, MALLOC, CALLS };

static int failing = -1, fail_at, fail_with, fired;

/* Returns 1 if this call is the one that must fail. */
static int fails_now(enum Call call)
{
	if ((int)call != failing || --fail_at != 0)
		return 0;
	fired = 1;
	errno = fail_with;
	return 1;
}

#define WRAP(type, name, call, failure, parameters, arguments) \
	WRAPPED(type, name, parameters, arguments, if (fails_now(call)) return failure)

WRAP(int, socket, SOCKET, -1, (int a, int b, int c), (a, b, c));
WRAP(int, bind, BIND, -1, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n));
WRAP(int, listen, LISTEN, -1, (int fd, int n), (fd, n));
WRAP(int, accept4, ACCEPT, -1, (int fd, struct sockaddr *a, socklen_t *n, int flags),
	(fd, a, n, flags));
WRAP(ssize_t, recv, RECV, -1, (int fd, void *p, size_t n, int flags), (fd, p, n, flags));
WRAP(ssize_t, send, SEND, -1, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags));
WRAP(ssize_t, sendmsg, SENDMSG, -1, (int fd, const struct msghdr *m, int flags), (fd, m, flags));
WRAP(int, shutdown, SHUTDOWN, -1, (int fd, int how), (fd, how));
WRAP(int, setsockopt, SETSOCKOPT, -1, (int fd, int level, int option, const void *p, socklen_t n),
	(fd, level, option, p, n));
WRAP(int, getsockopt, GETSOCKOPT, -1, (int fd, int level, int option, void *p, socklen_t *n),
	(fd, level, option, p, n));
WRAP(int, getsockname, GETSOCKNAME, -1, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n));
WRAP(int, getpeername, GETPEERNAME, -1, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n));
WRAP(int, pthread_mutex_init, MUTEX_INIT, fail_with,
	(pthread_mutex_t *m, const pthread_mutexattr_t *a), (m, a));
WRAP(int, pthread_cond_init, COND_INIT, fail_with, (pthread_cond_t *c, const pthread_condattr_t *a),
	(c, a));
WRAP(int, poll, POLL, -1, (struct pollfd *p, nfds_t n, int ms), (p, n, ms));
WRAP(int, epoll_create1, EPOLL_CREATE, -1, (int flags), (flags));
WRAP(int, epoll_ctl, EPOLL_CTL, -1, (int e, int what, int fd, struct epoll_event *event),
	(e, what, fd, event));
WRAP(int, epoll_wait, EPOLL_WAIT, -1, (int e, struct epoll_event *events, int n, int ms),
	(e, events, n, ms));
WRAP(int, eventfd, EVENTFD, -1, (unsigned n, int flags), (n, flags));
WRAP(void *, malloc, MALLOC, NULL, (size_t n), (n));
WRAP(void *, calloc, MALLOC, NULL, (size_t count, size_t n), (count, n));

/* A connect that a signal interrupts, or that does not wait, continues by itself. */
int __real_connect(int fd, const struct sockaddr *a, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *a, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *a, socklen_t n)
{
	if (!fails_now(CONNECT))
		return __real_connect(fd, a, n);
	if (a->sa_family == AF_UNIX) /* it succeeds at once, or waits for room in the backlog */
		return fail_with == EINPROGRESS ? __real_connect(fd, a, n) : -1;
	if (fail_with == EINTR || fail_with == EINPROGRESS) {
		__real_connect(fd, a, n);
		errno = fail_with;
	}
	return -1;
}

/* Linux closes the descriptor even if close fails; POSIX may leave it open. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
	int result = __real_close(fd);

	return fails_now(CLOSE) ? -1 : result;
}

WRAPPED_FCNTL(if (fails_now(FCNTL)) return -1);

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) /* it never creates a file */
{
	return fails_now(OPEN) ? -1 : __real_open(path, flags);
}

/* The host "both" has first an address without a listener, and then one with a listener. */
int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **list)
{
	int error;

	if (fails_now(GETADDRINFO))
		return fail_with;
	if (!host || strcmp(host, "both") != 0)
		return __real_getaddrinfo(host, service, hints, list);
	error = __real_getaddrinfo("127.0.0.2", service, hints, list);
	return error ? error : __real_getaddrinfo("127.0.0.1", service, hints, &(*list)->ai_next);
}

WRAPPED_CHECKED(int, poll, (struct pollfd *p, nfds_t n, int ms, size_t size), (p, n, ms));
WRAPPED_CHECKED(ssize_t, recv, (int fd, void *p, size_t n, size_t size, int flags),
	(fd, p, n, flags));

typedef struct Faults {
	const char *name;
	int errors[10]; /* 0 ends them */
} Faults;

static const Faults faults[CALLS] = {
	[SOCKET] = { "socket", { EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT } },
	[BIND] = { "bind", { EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOMEM } },
	[LISTEN] = { "listen", { EADDRINUSE, EOPNOTSUPP } },
	[ACCEPT] = { "accept", { EINTR, EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO,
		EPERM } },
	[CONNECT] = { "connect", { EINTR, EINPROGRESS, ECONNREFUSED, ETIMEDOUT, ENETUNREACH,
		EADDRNOTAVAIL, EACCES, EAGAIN, ENOMEM } },
	[RECV] = { "recv", { EINTR, EAGAIN, ECONNRESET, ENOMEM, ETIMEDOUT, ENOTCONN } },
	[SEND] = { "send", { EINTR, EAGAIN, EPIPE, ECONNRESET, ENOBUFS, ENOMEM } },
	[SENDMSG] = { "sendmsg", { EINTR, EAGAIN, EPIPE, ECONNRESET, ENOBUFS, ENOMEM } },
	[SHUTDOWN] = { "shutdown", { ENOTCONN, ENOBUFS } },
	[CLOSE] = { "close", { EINTR, EIO } },
	[FCNTL] = { "fcntl", { EPERM, EINVAL } },
	[OPEN] = { "open", { EMFILE, ENFILE, ENOENT, ENOMEM } },
	[SETSOCKOPT] = { "setsockopt", { EINVAL, ENOPROTOOPT, ENOMEM, ENOBUFS } },
	[GETSOCKOPT] = { "getsockopt", { EACCES, ENOBUFS, ENOPROTOOPT } },
	[GETSOCKNAME] = { "getsockname", { EINVAL, ENOBUFS, EOPNOTSUPP } },
	[GETPEERNAME] = { "getpeername", { EINVAL, ENOBUFS, ENOTCONN } },
	[GETADDRINFO] = { "getaddrinfo",
		{ EAI_AGAIN, EAI_FAIL, EAI_FAMILY, EAI_MEMORY, EAI_NONAME, EAI_SERVICE, EAI_SYSTEM } },
	[MUTEX_INIT] = { "pthread_mutex_init", { EAGAIN, ENOMEM, EPERM } },
	[COND_INIT] = { "pthread_cond_init", { EAGAIN, ENOMEM } },
	[POLL] = { "poll", { EINTR, EAGAIN, ENOMEM } },
	[EPOLL_CREATE] = { "epoll_create1", { EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM } },
	[EPOLL_CTL] = { "epoll_ctl", { ENOMEM, ENOSPC } },
	[EPOLL_WAIT] = { "epoll_wait", { EINTR } },
	[EVENTFD] = { "eventfd", { EMFILE, ENFILE, ENODEV, ENOMEM, ENOSYS, EPERM } },
	[MALLOC] = { "malloc", { ENOMEM } },
};

/* ---- the session ---- */

static const Except_T Cut_Short = { "the session was cut short", NULL, NULL };
/* Check allocates, so its assertions cannot be used here */
static const Except_T Wrong = { "a call did not do what it should", NULL, NULL };

typedef struct Session {
	const char *backend;
	Arena_T arena;
	SocketPool_T servers, clients; /* the server's and the client's ends of the connections */
	SocketPoll_T loop;
	Socket_T listener;
	Connection_T out; /* checked out until the end */
	int adopted;      /* a descriptor that is not adopted yet; -1: none */
	int drained;      /* the pools may be drained */
	char port[8];
} Session;

static SocketPoll_Event next_event(Session *s)
{
	SocketPoll_Event e;

	if (SocketPoll_wait(s->loop, &e, 1, 1000) == 0)
		RAISE(Cut_Short);
	return e;
}

/* If a connection was taken for a stale one, a new one waits to be accepted. */
static SocketPoll_Event next_connection_event(Session *s)
{
	SocketPoll_Event e = next_event(s);

	if (e.socket == s->listener)
		RAISE(Cut_Short);
	return e;
}

static void open_all(Session *s)
{
	s->servers = SocketPool_new(s->arena, 4, 256);
	s->clients = SocketPool_new(s->arena, 4, 256);
	s->loop = SocketPoll_new_with(s->arena, s->backend);
	s->listener = Socket_listen("127.0.0.1", "0", 0);
	Socket_set_nonblocking(s->listener, 1);
	snprintf(s->port, sizeof s->port, "%d", Socket_port(s->listener));
	SocketPoll_add(s->loop, s->listener, SocketPoll_READ, NULL);
}

static Connection_T accept_one(Session *s)
{
	int pause;
	Connection_T c;

	next_event(s);
	c = SocketPool_accept(s->servers, s->listener, &pause);
	if (!c)
		RAISE(Cut_Short);
	SocketPoll_add(s->loop, Connection_socket(c), SocketPoll_READ, c);
	SocketPoll_set_deadline(s->loop, Connection_socket(c), 60000);
	return c;
}

static Connection_T check_out(Session *s)
{
	Connection_T c = SocketPool_checkout(s->clients, "127.0.0.1", s->port, 1000);

	Socket_set_timeout(Connection_socket(c), 1000);
	return c;
}

static void exchange_bytes(Session *s, Connection_T client)
{
	struct iovec parts[2] = { { s->port, 1 }, { s->port, 1 } };
	SocketPoll_Event e;
	char *buffer;

	Socket_sendall(Connection_socket(client), "ping", 4);
	e = next_connection_event(s);
	buffer = Connection_buffer(e.data, NULL);
	Socket_recv(e.socket, buffer, 4);
	SocketPoll_change(s->loop, e.socket, SocketPoll_READ | SocketPoll_WRITE, e.data);
	e = next_connection_event(s);
	Arena_alloc(Connection_arena(e.data), 1000);
	Socket_sendv(e.socket, parts, 2);
	SocketPoll_change(s->loop, e.socket, SocketPoll_READ, e.data);
	Connection_rest(e.data);
	Socket_recv(Connection_socket(client), Connection_buffer(client, NULL), 2);
}

/* Sockets that do not come from checkout: addresses that race, an abstract name, a shared port,
 * an inherited descriptor. Each is added to a pool at once, or a raise would leave it open. */
static Socket_T keep_in_pool(Session *s, Socket_T socket)
{
	Connection_T c = NULL;

	PROTECT(c);
	TRY {
		c = SocketPool_add(s->clients, socket);
	} FINALLY {
		if (!c)
			Socket_close(&socket);
	} END_TRY;
	if (!c)
		RAISE(Cut_Short);
	return socket;
}

static void connect_otherwise(Session *s)
{
	char name[64];
	Socket_T racer;
	int fd[2];

	racer = keep_in_pool(s, Socket_connect("both", s->port, 1000));
	Socket_set_timeout(racer, 1000);
	Socket_set_keepalive(racer, 60000);
	Socket_peer(racer, s->arena);
	Socket_local(racer, s->arena);
	keep_in_pool(s, Socket_listen_shared("127.0.0.1", "0", 0));
	snprintf(name, sizeof name, "unix:@libcore-test-%ld", (long)getpid());
	keep_in_pool(s, Socket_listen(name, NULL, 0));
	Socket_peer(keep_in_pool(s, Socket_connect(name, NULL, 1000)), s->arena);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		RAISE(Wrong);
	__real_close(fd[1]);
	s->adopted = fd[0];
	keep_in_pool(s, Socket_adopt(fd[0]));
	s->adopted = -1;
}

/* A wait in vain raises: one that fails is reported, and not taken for its end. */
static void expect_timeout(Socket_T socket, void (*act)(Socket_T))
{
	volatile int timed_out = 0;

	TRY {
		act(socket);
	} EXCEPT(Socket_Timeout) {
		timed_out = 1;
	} END_TRY;
	if (!timed_out)
		RAISE(Wrong);
}

static void receive_byte(Socket_T socket)
{
	char byte;

	Socket_recv(socket, &byte, 1);
}

static void send_without_end(Socket_T socket)
{
	static const char zeros[65536];

	for (;;)
		Socket_sendall(socket, zeros, sizeof zeros);
}

static void accept_without_end(Socket_T listener)
{
	while (!Socket_accept(listener))
		; /* an error of a peer: the next one */
}

static void wait_otherwise(Session *s)
{
	Socket_T listener, quiet;
	char name[64];

	snprintf(name, sizeof name, "unix:@libcore-test-wait-%ld", (long)getpid());
	listener = keep_in_pool(s, Socket_listen(name, NULL, 1));
	Socket_set_timeout(listener, 1);
	expect_timeout(listener, accept_without_end);
	quiet = keep_in_pool(s, Socket_connect(name, NULL, 1000));
	if (socket__wait(quiet, 0, 0)
			|| socket__wait_either(quiet, socket__deadline_in(1)) != SOCKET__WRITABLE)
		RAISE(Wrong);
	Socket_set_timeout(quiet, 1);
	expect_timeout(quiet, receive_byte);
	expect_timeout(quiet, send_without_end);
}

static void remove_one(Connection_T c, void *cl)
{
	Session *s = cl;
	Socket_T socket;

	if (c == s->out)
		return;
	socket = SocketPool_remove(s->clients, Connection_socket(c));
	Socket_close(&socket);
}

/* Grows and shrinks the pool, also below its count, which must fail. */
static void resize_pool(SocketPool_T pool)
{
	volatile int refused = 0;

	SocketPool_resize(pool, 100);
	SocketPool_resize(pool, 7);
	SocketPool_resize(pool, 200);
	TRY {
		SocketPool_resize(pool, 1);
	} EXCEPT(SocketPool_Failed) {
		refused = 1;
	} END_TRY;
	if (refused != (SocketPool_count(pool) > 1))
		RAISE(Wrong);
	SocketPool_resize(pool, 10);
}

/* Two are checked out, and no more may be open to the host. */
static void wait_in_vain(Session *s)
{
	volatile int waited = 0;

	TRY {
		SocketPool_checkout(s->clients, "127.0.0.1", s->port, 1);
	} EXCEPT(SocketPool_Failed) {
		waited = 1;
	} END_TRY;
	if (!waited)
		RAISE(Wrong);
}

static void use_loop(Session *s, Connection_T client)
{
	SocketPoll_Event e;

	SocketPool_discard(s->clients, client);
	e = next_connection_event(s);
	SocketPoll_close(s->loop, &e.socket);
	run_timer_once(s->loop);
}

/* The connection that is checked out comes back after the drain. */
static void drain_pools(Session *s)
{
	s->drained = 1;
	SocketPool_drain(s->clients, 2);
	SocketPool_checkin(s->clients, s->out);
	SocketPool_drain(s->servers, 2);
}

static void run_session(Session *s)
{
	static const SocketPool_Limits limits = { .per_address = 10, .rate = 1000, .idle_ms = 60000,
		.per_host = 2,
		.max_idle = 1 };
	Connection_T c;

	open_all(s);
	SocketPool_set_limits(s->servers, &limits);
	SocketPool_set_limits(s->clients, &limits);
	c = check_out(s);
	accept_one(s);
	exchange_bytes(s, c);
	SocketPool_checkin(s->clients, c);
	c = check_out(s);
	exchange_bytes(s, c);
	resize_pool(s->clients);
	connect_otherwise(s);
	wait_otherwise(s);
	accept_one(s);
	s->out = check_out(s);
	accept_one(s);
	wait_in_vain(s);
	resize_pool(s->servers);
	use_loop(s, c);
	SocketPool_map(s->clients, remove_one, s);
	drain_pools(s);
}

/* ---- what must hold whatever was raised ---- */

SUITE("sockets, failing");
CASE("faults", .timeout = 120);

static void count_one(Connection_T c, void *n)
{
	ck_assert_int_eq(Connection_active(c), 1);
	++*(size_t *)n;
}

/* No place stays reserved: a pool that is resized to one more than its count takes one more. */
static void ck_has_place(SocketPool_T pool, size_t n)
{
	SocketPool_Limits none = { 0 };
	int fd[2];

	SocketPool_set_limits(pool, &none);
	SocketPool_resize(pool, n + 1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	if (!SocketPool_add(pool, Socket_adopt(fd[0])))
		ck_abort_msg("the pool has no place for one more");
	close(fd[1]);
}

static void ck_consistent(SocketPool_T pool, int drained)
{
	SocketPool_Stats stats;
	size_t n = 0;

	if (!pool)
		return;
	SocketPool_map(pool, count_one, &n);
	SocketPool_stats(pool, &stats);
	ck_assert_uint_eq(stats.count, n);
	ck_assert_uint_le(stats.idle + stats.checked_out, n);
	ck_assert_uint_eq(stats.waiting, 0);
	if (!drained)
		ck_has_place(pool, n);
	SocketPool_evict_idle(pool, 0);
	ck_assert_uint_eq(SocketPool_count(pool), stats.checked_out);
}

static int is_ours(const Except_T *e)
{
	for (; e; e = e->parent)
		if (e == &Socket_Failed || e == &SocketPool_Failed || e == &SocketPoll_Failed
			|| e == &Arena_Failed
				|| e == &Cut_Short)
			return 1;
	return 0;
}

/* Returns 1 if the session reached its end. */
static int run_once(Session *s)
{
	volatile int whole = 0;

	s->adopted = -1;
	TRY {
		s->arena = Arena_new();
		run_session(s);
		whole = 1;
	} ELSE {
		failing = -1;
		ck_assert_msg(is_ours(Except_current()), "%s: %s", Except_current()->reason,
			Except_message());
		ck_assert_uint_gt(strlen(Except_message()), 0);
	} END_TRY;
	failing = -1;
	ck_consistent(s->servers, s->drained);
	ck_consistent(s->clients, s->drained);
	Arena_dispose(&s->arena);
	if (s->adopted >= 0)
		close(s->adopted);
	Socket_close(&s->listener);
	return whole;
}

/* Returns whether such a failure must not be visible to the caller if it happens once. */
static int is_hidden(enum Call call, int error)
{
	if (call == MALLOC || call == ACCEPT || call == RECV)
		return 0; /* a peek may take it for a stale connection */
	if (call == CLOSE || call == SHUTDOWN || call == OPEN || call == GETPEERNAME)
		return 1;
	if (error == ENOSYS || (error == EPERM && (call == EPOLL_CREATE || call == EVENTFD)))
		return 1; /* as under a filter of system calls: SocketPoll works without the call */
	return error == EINTR || error == EINPROGRESS
		|| (error == EAGAIN && call != CONNECT && call != MUTEX_INIT && call != COND_INIT);
}

static void fail_everywhere(enum Call call, int error, const char *backend, int *sessions)
{
	int before = count_descriptors(), n;
	size_t arenas = Arena_debug_live_count();

	for (n = 1; ; n++) {
		Session s = { 0 };
		int whole;

		s.backend = backend;
		failing = (int)call;
		fail_at = n;
		fail_with = error;
		fired = 0;
		whole = run_once(&s);
		ck_assert_msg(count_descriptors() == before, "%s %d: %s: %d descriptors leaked",
			faults[call].name, n, strerror(error), count_descriptors() - before);
		ck_assert_uint_eq(Arena_debug_live_count(), arenas);
		if (!fired) {
			ck_assert_msg(whole, "%s: without a fault the session failed", faults[call].name);
			break;
		}
		if (is_hidden(call, error))
			ck_assert_msg(whole, "%s %d: %s was visible to the caller", faults[call].name, n,
				strerror(error));
		++*sessions;
	}
}

static void fail_all(const char *backend)
{
	int call, i, before, sessions = 0;

	for (call = 0; call < CALLS; call++) {
		before = sessions;
		for (i = 0; faults[call].errors[i]; i++)
			fail_everywhere((enum Call)call, faults[call].errors[i], backend, &sessions);
		ck_assert_msg(sessions > before || (backend && strncmp(faults[call].name, "epoll", 5) == 0),
			"%s is never called", faults[call].name);
	}
	printf("%s: %d sessions with a fault\n", backend ? backend : "epoll", sessions);
	ck_assert_int_gt(sessions, 100);
}

TEST(any_call_may_fail_at_any_time_and_nothing_is_left_behind)
{
	fail_all(NULL);
}

TEST(nor_with_poll)
{
	fail_all("poll");
}
