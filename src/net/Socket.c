/* SPDX-License-Identifier: MIT */
/* Socket: a small heap object around a descriptor. It has the timeout, the peer's address, and
 * bytes that were read ahead. The representation and its invariant are in socket/rep.h; this file
 * sends, receives, and closes. */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "socket/rep.h"

#define T Socket_T

enum { PARTS = 64 }; /* iovecs in a sendmsg; POSIX promises only 16, every system has 1024 */
static const uint32_t DEAD = 0xDEAD50CE;

/* ---- waiting; nothing in this part raises ---- */

int socket__set_blocking(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -1;
	return fcntl(fd, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* Returns 1 if fd is ready, 0 after the deadline, or -1 and errno. After an error or hang-up fd
 * is ready; the next call reports it. After a signal the remaining time is rounded up, because
 * the deadline's millisecond had begun and its rest would be missing. */
int socket__wait_until(int fd, int for_write, int64_t deadline)
{
	struct pollfd p = { fd, for_write ? POLLOUT : POLLIN, 0 };
	int64_t end = deadline;

	for (;;) {
		int ms = socket__poll_ms(end), n = poll(&p, 1, ms);

		if (n > 0)
			return 1;
		if (n == 0 && ms < INT_MAX)
			return 0;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -1;
		if (ms > 0)
			end = deadline + 1;
	}
}

/* ---- receiving ---- */

static Ahead *ahead_of(const struct Socket *s)
{
	return s->named ? NULL : s->u.ahead;
}

static size_t take_bytes_ahead(T s, void *buffer, size_t nbytes)
{
	Ahead *a = s->u.ahead;
	size_t n = a->end - a->start < nbytes ? a->end - a->start : nbytes;

	memcpy(buffer, a->bytes + a->start, n);
	a->start += n;
	return n;
}

/* Keeps the block until the kernel is asked again. Bytes of a pipeline are put back and read many
 * times, and a connection at rest should cost nothing. */
static void free_ahead(T s)
{
	free(s->u.ahead);
	s->u.ahead = NULL;
}

static void raise_nothing_there(T s) CORE_NORETURN;
static void raise_nothing_there(T s)
{
	char name[NAME_SIZE];

	socket__name_of(s, name);
	RAISE_FOR_ERRNO(Socket_Timeout, EAGAIN,
		"recv %s: nothing is there, and the socket does not block", name);
}

/* If it waits, it waits for the timeout of the socket, but not beyond limit. */
static void await_bytes(T s, int64_t limit)
{
	int64_t start = socket__now_ms(), end = s->timeout < 0 ? SOCKET__NEVER : start + s->timeout;
	int ready;

	if (end > limit)
		end = limit;
	ready = socket__wait_until(s->fd, 0, end);
	if (ready < 0)
		socket__failed_on("recv", s, errno);
	if (ready == 0)
		socket__timed_out("recv", s, end > start ? end - start : 0);
}

/* If poll reports bytes and recv finds none, the wait begins again. */
static size_t receive_some(T s, void *buffer, size_t nbytes, int wait, int64_t limit)
{
	int error = errno,
		flags = s->timeout >= 0 || limit != SOCKET__NEVER || !wait ? MSG_DONTWAIT : 0;

	for (;;) {
		ssize_t n = recv(s->fd, buffer, nbytes, flags);

		if (n >= 0) {
			errno = error;
			return socket__moved(s, n);
		}
		if (errno == EINTR)
			continue;
		if (!would_block(errno))
			socket__failed_on("recv", s, errno);
		if (!wait)
			raise_nothing_there(s);
		await_bytes(s, limit);
	}
}

static int has_read_ahead(T s)
{
	if (Socket_pending(s) > 0)
		return 1;
	if (ahead_of(s))
		free_ahead(s);
	return 0;
}

size_t Socket_recv(T s, void *buffer, size_t nbytes)
{
	CHECK_SOCKET(s);
	CHECK(buffer || nbytes == 0, "Socket_recv: the buffer is NULL");
	if (nbytes == 0)
		return 0;
	if (has_read_ahead(s))
		return take_bytes_ahead(s, buffer, nbytes);
	return receive_some(s, buffer, nbytes, !s->nonblocking, SOCKET__NEVER);
}

size_t socket__recv_deadline(T s, void *buffer, size_t nbytes, int64_t deadline_ms)
{
	CHECK_SOCKET(s);
	CHECK(buffer && nbytes > 0, "recv: the buffer is NULL or empty");
	if (has_read_ahead(s))
		return take_bytes_ahead(s, buffer, nbytes);
	if (deadline_ms != SOCKET__NEVER && socket__now_ms() >= deadline_ms)
		socket__timed_out("recv", s, 0);
	return receive_some(s, buffer, nbytes, 1, deadline_ms);
}

/* ---- sending ---- */

/* How a caller of send_message wants its bytes sent. */
typedef struct Sending {
	const char *what;
	int wait;         /* also when the socket does not block */
	size_t done, all; /* for the message */
} Sending;

static void raise_send_timed_out(T s, const Sending *how) CORE_NORETURN;
static void raise_send_timed_out(T s, const Sending *how)
{
	char name[NAME_SIZE];

	socket__name_of(s, name);
	RAISE_FOR_ERRNO(Socket_Timeout, ETIMEDOUT,
		"%s %s: timed out after %d ms with %zu of %zu bytes sent", how->what, name, s->timeout,
		how->done, how->all);
}

/* Sends some of the bytes, at least one; returns 0 only if it may not wait. */
static size_t send_message(T s, const struct msghdr *m, const Sending *how)
{
	int error = errno, flags = MSG_NOSIGNAL | (s->timeout >= 0 ? MSG_DONTWAIT : 0);
	int64_t deadline = SOCKET__UNSET;

	for (;;) {
		ssize_t n = m->msg_iovlen == 1
			? send(s->fd, m->msg_iov[0].iov_base, m->msg_iov[0].iov_len, flags)
			: sendmsg(s->fd, m, flags);
		int ready;

		if (n < 0 && would_block(errno) && !how->wait)
			n = 0;
		if (n >= 0) {
			errno = error;
			return n ? socket__moved(s, n) : 0;
		}
		if (errno == EINTR)
			continue;
		if (!would_block(errno))
			socket__failed_on(how->what, s, errno);
		if (deadline == SOCKET__UNSET)
			deadline = socket__deadline_in(s->timeout);
		ready = socket__wait_until(s->fd, 1, deadline);
		if (ready < 0)
			socket__failed_on(how->what, s, errno);
		if (ready == 0)
			raise_send_timed_out(s, how);
	}
}

static size_t send_some(T s, const void *buffer, size_t nbytes, const Sending *how)
{
	struct iovec part = { (void *)(uintptr_t)buffer, nbytes };
	struct msghdr m = { 0 };

	m.msg_iov = &part;
	m.msg_iovlen = 1;
	return send_message(s, &m, how);
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
		CHECK(add_size(all, vector[i].iov_len, &all),
			"Socket_sendv: more bytes than a size_t holds");
	}
	return all;
}

/* Copies the vector into parts, without the first skip bytes of its first element. */
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
		sent = send_message(s, &m, &how);
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
	if (socket__set_blocking(s->fd, !on) != 0)
		socket__failed_on("set non-blocking", s, errno);
	s->nonblocking = on != 0;
	s->polled = 0;
}

/* Linux accepts at most 32767 s. Three probes share the time after the silence. */
static int set_tcp_keepalive(int fd, int ms)
{
	int on = ms > 0, idle = ms / 1000 + (ms % 1000 != 0), interval, probes = 3;

	if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0 || !on)
		return on ? -1 : 0;
	idle = idle > 32767 ? 32767 : idle;
	interval = idle / (2 * probes) + (idle % (2 * probes) != 0);
#if defined TCP_KEEPIDLE
	if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle) != 0)
		return -1;
#elif defined TCP_KEEPALIVE
	if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPALIVE, &idle, sizeof idle) != 0)
		return -1;
#endif
#if defined TCP_KEEPINTVL && defined TCP_KEEPCNT
	if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval) != 0)
		return -1;
	return setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
#else
	return 0;
#endif
}

void Socket_set_keepalive(T s, int ms)
{
	CHECK_SOCKET(s);
	if (Socket_port(s) > 0 && set_tcp_keepalive(s->fd, ms) != 0)
		socket__failed_on("set keep-alive", s, errno);
}

size_t Socket_pending(T s)
{
	const Ahead *a;

	CHECK_SOCKET(s);
	a = ahead_of(s);
	return a ? a->end - a->start : 0;
}

/* Shutdown fails only if the peer cannot read the end of the stream any more. */
void Socket_shutdown(T s)
{
	int error = errno;

	CHECK_SOCKET(s);
	shutdown(s->fd, SHUT_WR);
	errno = error;
}

/* ---- peers and addresses ---- */

int Socket_fd(T s)
{
	CHECK_SOCKET(s);
	return s->fd;
}

int Socket_port(T s)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof a;
	int error = errno;

	CHECK_SOCKET(s);
	if (getsockname(s->fd, (struct sockaddr *)&a, &n) != 0)
		a.ss_family = AF_UNSPEC;
	errno = error;
	if (a.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&a)->sin_port);
	if (a.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
	return 0;
}

const char *Socket_peer(T s, Arena_T arena)
{
	char name[NAME_SIZE];
	int error = errno;

	CHECK_SOCKET(s);
	socket__name_peer(s, name);
	errno = error;
	return Arena_strdup(arena, name);
}

const char *Socket_local(T s, Arena_T arena)
{
	char name[NAME_SIZE];
	int error = errno;

	CHECK_SOCKET(s);
	socket__name_by(getsockname, s->fd, name);
	errno = error;
	return Arena_strdup(arena, name);
}

/* ---- the end ---- */

/* The observer of closes. Socket_close calls these functions of the layers above before it
 * releases anything; a socket knows the layers only by them. Each pointer is atomic and never
 * changes once it is set. Pointers in each socket would take 16 bytes more. */
static struct Observer {
	void (*unwatch)(T, void *watch); /* the poll that the socket is in */
	void (*leaving)(T, void *owner); /* the pool that has it */
} observer;

static void release_socket(T *socket)
{
	WITHOUT_CANCELLATION;
	T s = *socket;

	s->magic = DEAD;
	if (s->named)
		socket__unlink_own(s->u.path);
	close(s->fd);
	free(s->named ? (void *)s->u.path : s->u.ahead);
	free(s);
}

/* The owner runs deferred calls of the program. They may raise, throw, or end the thread through
 * this function; the socket is released all the same. */
static void close_socket(T socket)
{
	T s __attribute__((cleanup(release_socket))) = socket;

	socket__leave_poll(s);
	if (socket__owner(s))
		__atomic_load_n(&observer.leaving, __ATOMIC_RELAXED)(s, socket__owner(s));
}

void Socket_close(T *socket)
{
	int error = errno; /* handlers call close and still need errno */
	T s;

	if (!socket || !*socket)
		return;
	s = *socket;
	CHECK_SOCKET(s);
	*socket = NULL;
	close_socket(s);
	errno = error;
}

/* ---- for the protocols and the pool ---- */

/* Returns a block with the bytes that were read ahead, and room for n bytes before them. */
static Ahead *make_room_ahead(T s, size_t n)
{
	size_t pending = Socket_pending(s), size, bytes;
	Ahead *a;

	if (!add_size(n, pending, &size) || !add_size(size, sizeof *a, &bytes) || !(a = malloc(bytes)))
		socket__failed_on("unread", s, ENOMEM);
	a->size = a->end = size;
	a->start = n;
	if (pending)
		memcpy(a->bytes + n, s->u.ahead->bytes + s->u.ahead->start, pending);
	free(s->u.ahead);
	return a;
}

void socket__unread(T s, const void *bytes, size_t n)
{
	Ahead *a;

	CHECK_SOCKET(s);
	if (n == 0)
		return;
	if (s->named)
		CORRUPT("bytes were read from a listener");
	a = s->u.ahead;
	if (!a || a->start < n)
		a = s->u.ahead = make_room_ahead(s, n);
	a->start -= n;
	memcpy(a->bytes + a->start, bytes, n);
}

int socket__wait(T s, int for_write, int timeout_ms)
{
	int ready;

	if (!for_write && Socket_pending(s) > 0)
		return 1;
	CHECK_SOCKET(s);
	ready = socket__wait_until(s->fd, for_write, socket__deadline_in(timeout_ms));
	if (ready < 0)
		socket__failed_on("wait for", s, errno);
	return ready;
}

void socket__linger(T s, size_t nbytes, int ms)
{
	int64_t deadline = socket__deadline_in(ms < 0 ? 0 : ms);
	char sink[4096];

	Socket_shutdown(s);
	while (nbytes > 0 && socket__wait_until(s->fd, 0, deadline) == 1) {
		ssize_t n = recv(s->fd, sink, nbytes < sizeof sink ? nbytes : sizeof sink, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EINTR && !would_block(errno)))
			return;
		if (n > 0)
			nbytes -= (size_t)n;
	}
}

void socket__shut(T s)
{
	shutdown(s->fd, SHUT_RDWR);
}

int socket__is_quiet(T s)
{
	char byte;
	ssize_t n;

	if (Socket_pending(s) > 0)
		return 0;
	do
		n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 && would_block(errno);
}

unsigned char *socket__protocol(T s)
{
	CHECK_SOCKET(s);
	return &s->protocol;
}

void socket__set_owner(T s, void *owner, void (*leaving)(T, void *))
{
	CHECK_SOCKET(s);
	if (leaving)
		__atomic_store_n(&observer.leaving, leaving, __ATOMIC_RELAXED);
	__atomic_store_n(&s->owner, owner, __ATOMIC_RELEASE);
}

void *socket__owner(T s)
{
	CHECK_SOCKET(s);
	return __atomic_load_n(&s->owner, __ATOMIC_ACQUIRE);
}

void socket__set_watch(T s, void *watch, void (*unwatch)(T, void *))
{
	CHECK_SOCKET(s);
	if (unwatch)
		__atomic_store_n(&observer.unwatch, unwatch, __ATOMIC_RELAXED);
	s->watch = watch;
}

void socket__leave_poll(T s)
{
	CHECK_SOCKET(s);
	if (s->watch)
		__atomic_load_n(&observer.unwatch, __ATOMIC_RELAXED)(s, s->watch);
}

void *socket__watch(T s)
{
	CHECK_SOCKET(s);
	return s->watch;
}

int64_t socket__last_moved(T s)
{
	CHECK_SOCKET(s);
	return __atomic_load_n(&s->moved, __ATOMIC_RELAXED);
}
