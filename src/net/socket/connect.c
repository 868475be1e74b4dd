/* SPDX-License-Identifier: MIT */
/* Socket, continued: connect. The addresses of a host race each other as in RFC 8305 (happy
 * eyeballs), in getaddrinfo's order, families by turns. The next one starts when the one before has
 * failed or has not answered for a while. The first that connects wins; a dead route costs a
 * quarter of a second. */
#include "config.h"

#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "socket/rep.h"

#define T Socket_T

enum {
	ATTEMPTS = 8, /* at once */
	PATIENCE = 250 /* ms, the Connection Attempt Delay of RFC 8305, 5 */
};

/* ---- the order of the addresses ---- */

/* Two walks through the list: one over the addresses of the first one's family, one over the
 * others. */
typedef struct Order {
	const struct addrinfo *first, *others;
	int family, other_next;
	int left;
} Order;

static const struct addrinfo *skip_family(const struct addrinfo *a, int family, int others)
{
	while (a && (a->ai_family != family) != others)
		a = a->ai_next;
	return a;
}

static Order order_addresses(const struct addrinfo *list)
{
	Order o = { list, skip_family(list, list->ai_family, 1), list->ai_family, 0, 0 };

	for (; list; list = list->ai_next)
		o.left++;
	return o;
}

static const struct addrinfo *next_address(Order *o)
{
	int other = o->others && (o->other_next || !o->first);
	const struct addrinfo *a = other ? o->others : o->first;

	if (!a)
		return NULL;
	if (other)
		o->others = skip_family(a->ai_next, o->family, 1);
	else
		o->first = skip_family(a->ai_next, o->family, 0);
	o->other_next = !other;
	o->left--;
	return a;
}

/* ---- the race; nothing in this part raises ---- */

typedef struct Race {
	Order order;
	struct pollfd fds[ATTEMPTS];
	const struct addrinfo *addresses[ATTEMPTS];
	nfds_t n;
	int64_t next;    /* when another may start */
	int64_t deadline;
	int error;       /* that of the latest failure; see note_error */
} Race;

/* Divides a short time among the remaining addresses, so that the last one is tried, too. */
static int64_t attempt_delay(const Race *r, int64_t now)
{
	int64_t left =
		r->deadline == SOCKET__NEVER ? PATIENCE : (r->deadline - now) / (r->order.left + 1);

	return left < 0 ? 0 : left < PATIENCE ? left : PATIENCE;
}

/* Remembers the error of a failed attempt. The error that this machine has no route is reported
 * only if all addresses have it. Where there is no IPv6, a localhost that refuses must be reported
 * as refusing. */
static void note_error(Race *r, int error)
{
	if (!r->error || (!socket__lacks_family(error) && error != ENETUNREACH))
		r->error = error;
}

static void forget_attempt(Race *r, nfds_t i)
{
	r->fds[i] = r->fds[--r->n];
	r->addresses[i] = r->addresses[r->n];
}

static void lose_attempt(Race *r, nfds_t i, int error)
{
	close_descriptor(r->fds[i].fd);
	forget_attempt(r, i);
	note_error(r, error);
	r->next = 0; /* now */
}

/* Closes the remaining attempts, at the end of the race or when the thread is cancelled. */
static void close_attempts(Race *r)
{
	while (r->n > 0)
		close_descriptor(r->fds[--r->n].fd);
}

/* Returns 1 if the attempt is connected to a peer. The port may be in the ephemeral range, and no
 * process may listen there. Then the system may choose that same port for the attempt, and connect
 * it to itself (RFC 9293, 3.5, simultaneous open). Such an attempt has failed. */
static int settle_attempt(Race *r, nfds_t i)
{
	if (!socket__meets_itself(r->fds[i].fd))
		return 1;
	lose_attempt(r, i, ECONNREFUSED);
	return 0;
}

/* Starts an attempt and puts it last. Returns 1 if it connected at once. */
static int start_attempt(Race *r, const struct addrinfo *a, int64_t now)
{
	int fd = socket__open(a->ai_family);

	if (fd < 0) {
		note_error(r, errno);
		return 0;
	}
	r->fds[r->n].fd = fd;
	r->fds[r->n].events = POLLOUT;
	r->fds[r->n].revents = 0;
	r->addresses[r->n++] = a;
	r->next = now + attempt_delay(r, now);
	if (socket__set_blocking(fd, 0) == 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return settle_attempt(r, r->n - 1);
	/* a connect that a signal interrupts continues by itself (POSIX) */
	if (errno != EINPROGRESS && errno != EINTR)
		lose_attempt(r, r->n - 1, errno);
	return 0;
}

/* Returns which of the attempts that poll reports is connected, or -1. */
static int find_winner(Race *r)
{
	nfds_t i = 0;

	while (i < r->n) {
		int error = 0;
		socklen_t n = sizeof error;

		if (!r->fds[i].revents) {
			i++;
			continue;
		}
		if (getsockopt(r->fds[i].fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
			error = errno;
		if (error)
			lose_attempt(r, i, error);
		else if (settle_attempt(r, i))
			return (int)i;
	}
	return -1;
}

/* Starts as many attempts as may run now. Returns the one that has connected at once, or -1. */
static int start_attempts(Race *r, int64_t now)
{
	const struct addrinfo *a;

	while (r->n < ATTEMPTS && now >= r->next && (a = next_address(&r->order)) != NULL)
		if (start_attempt(r, a, now))
			return (int)r->n - 1;
	return -1;
}

static int run_race(Race *r)
{
	for (;;) {
		int64_t now = socket__now_ms(), until = r->deadline;
		int first = start_attempts(r, now), ready;

		if (first >= 0 || r->n == 0)
			return first;
		if (r->n < ATTEMPTS && r->order.left > 0 && r->next < until)
			until = r->next;
		ready = poll(r->fds, r->n, socket__poll_ms(until));
		if (ready < 0 && errno != EINTR && errno != EAGAIN) {
			r->error = errno;
			return -1;
		}
		if (ready > 0 && (first = find_winner(r)) >= 0)
			return first;
		if (ready == 0 && until == r->deadline && socket__now_ms() >= until) {
			r->error = ETIMEDOUT;
			return -1;
		}
	}
}

static int connect_by_race(const struct addrinfo *list, int64_t deadline, Peer *peer)
{
	Race r __attribute__((cleanup(close_attempts))) = { 0 };
	int first, fd;

	r.order = order_addresses(list);
	r.deadline = deadline;
	first = run_race(&r);
	if (first < 0) {
		errno = r.error;
		return -1;
	}
	fd = r.fds[first].fd;
	socket__remember(peer, r.addresses[first]->ai_addr);
	if (socket__set_blocking(fd, 1) != 0)
		return -1;
	forget_attempt(&r, (nfds_t)first);
	return fd;
}

/* ---- Unix domain ---- */

/* poll(2) does not report that a full backlog of a Unix socket has room again, so this connect
 * blocks. */
static int connect_unix_fd(int fd, const struct sockaddr_un *a, socklen_t n, int64_t deadline)
{
	for (;;) {
		int ms = socket__poll_ms(deadline);
		struct timeval left = { 0, 0 }, none = { 0, 0 };

		if (ms >= 0) {
			left.tv_sec = ms / 1000;
			left.tv_usec = ms == 0 ? 1 : ms % 1000 * 1000; /* 0 is no limit */
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
	socklen_t n = socket__unix_address(path, &a);
	int fd OWNED_DESCRIPTOR = n ? socket__open(AF_UNIX) : -1, connected = fd;

	if (fd < 0 || connect_unix_fd(fd, &a, n, deadline) != 0)
		return -1;
	fd = -1;
	return connected;
}

/* ---- both ---- */

static void raise_connect_failed(const char *host, const char *service, int error,
	int timeout_ms) CORE_NORETURN;
static void raise_connect_failed(const char *host, const char *service, int error, int timeout_ms)
{
	char name[NAME_SIZE];

	socket__name_target(host, service, name);
	errno = error;
	/* no process listens there, whether or not there is a file */
	if (socket__unix_path(host) && error == ENOENT)
		EXCEPT_RAISE_ERRNO(Socket_Refused, "connect %s", name);
	if (error == ETIMEDOUT && timeout_ms >= 0)
		RAISE_FOR_ERRNO(Socket_Timeout, error, "connect %s: timed out after %d ms", name,
			timeout_ms);
	socket__failed("connect", name, error);
}

/* Nothing raises while there is a list of addresses. */
static int connect_host(const char *host, const char *service, int64_t deadline, Peer *peer)
{
	struct addrinfo *list __attribute__((cleanup(socket__free_addresses)))
		= socket__resolve("connect", host, service, 0, AF_UNSPEC);

	return connect_by_race(list, deadline, peer);
}

/* ---- without waiting ---- */

/* Starts one attempt, which continues by itself. Returns its descriptor, or -1 and errno. */
static int start_connecting(const void *address, socklen_t n)
{
	const struct sockaddr *a = address;
	int fd OWNED_DESCRIPTOR = socket__open(a->sa_family), started = fd;

	if (fd < 0 || socket__set_blocking(fd, 0) != 0)
		return -1;
	if (connect(fd, a, n) != 0 && errno != EINPROGRESS && errno != EINTR)
		return -1;
	fd = -1;
	return started;
}

static int start_at_file(const char *path)
{
	struct sockaddr_un a;
	socklen_t n = socket__unix_address(path, &a);

	return n ? start_connecting(&a, n) : -1;
}

/* Refuses a name, because resolving it can take long. */
static int start_at_host(const char *host, const char *service, Peer *peer)
{
	struct addrinfo *list __attribute__((cleanup(socket__free_addresses)))
		= socket__resolve("connect", host, service, AI_NUMERICHOST | AI_NUMERICSERV, AF_UNSPEC);

	socket__remember(peer, list->ai_addr);
	return start_connecting(list->ai_addr, list->ai_addrlen);
}

/* Connects within timeout_ms. If `start` is true, it only starts to, and does not block. */
static T connect_or_start(const char *host, const char *service, int timeout_ms, int start)
{
	const char *file = socket__unix_path(host);
	int64_t deadline = socket__deadline_in(timeout_ms);
	Peer peer = { 0 };
	int fd, error = errno;
	T s;

	if (start)
		fd = file ? start_at_file(file) : start_at_host(host, service, &peer);
	else
		fd = file ? connect_unix(file, deadline) : connect_host(host, service, deadline, &peer);
	if (fd < 0)
		raise_connect_failed(host, service, errno, timeout_ms);
	s = socket__make(fd, NULL, "connect", host, service);
	s->peer = peer;
	s->nonblocking = start;
	errno = error;
	return s;
}

T Socket_connect(const char *host, const char *service, int timeout_ms)
{
	CHECK(host, "Socket_connect: the host is NULL");
	CHECK(service || socket__unix_path(host), "Socket_connect: the service is NULL");
	return connect_or_start(host, service, timeout_ms, 0);
}

T Socket_connect_start(const char *address, const char *service)
{
	CHECK(address, "Socket_connect_start: the address is NULL");
	CHECK(service || socket__unix_path(address), "Socket_connect_start: the service is NULL");
	return connect_or_start(address, service, -1, 1);
}

/* Returns 0, or the error number of an attempt that has ended. */
static int connect_error(int fd)
{
	int error = 0;
	socklen_t n = sizeof error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		return errno;
	return error ? error : ENOTCONN; /* the error was asked for before */
}

int Socket_connect_finish(T s)
{
	struct sockaddr_storage peer;
	socklen_t n = sizeof peer;
	int ready, connected, error = errno;

	CHECK_SOCKET(s);
	ready = socket__wait_until(s->fd, 1, 0);
	if (ready < 0)
		socket__failed_on("connect", s, errno);
	connected = getpeername(s->fd, (struct sockaddr *)&peer, &n) == 0;
	if (ready && !connected)
		socket__failed_on("connect", s, connect_error(s->fd));
	if (connected && socket__meets_itself(s->fd))
		socket__failed_on("connect", s, ECONNREFUSED);
	errno = error;
	return connected;
}
