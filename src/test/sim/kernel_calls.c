/* SPDX-License-Identifier: MIT */
/* The calls of the simulated kernel, which --wrap puts in place of the system's (SIM_WRAPS in
 * Makefile.am). Descriptors below KERNEL_FIRST are the process's own. */
#define _GNU_SOURCE
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"

/* ---- faults ---- */

int kernel_fails(int chance, Stream *s, const char *call)
{
	if (!chance || kernel_quiet || !task_name() || sim_below(10000) >= chance)
		return 0;
	sim_trace("%s fails", call);
	if (world.failed)
		world.failed(s, call);
	return 1;
}

int kernel_is_interrupted(void)
{
	if (kernel_quiet || !faults.interrupt || sim_below(10000) >= faults.interrupt)
		return 0;
	errno = EINTR;
	return 1;
}

static size_t part_of(size_t n)
{
	return n > 1 && sim_chance(20) ? 1 + (size_t)sim_below((int)n) : n;
}

CALL(void *, malloc, size_t n)
{
	return kernel_fails(faults.alloc, NULL, "malloc") ? NULL : __real_malloc(n);
}

CALL(void *, calloc, size_t count, size_t n)
{
	return kernel_fails(faults.alloc, NULL, "calloc") ? NULL : __real_calloc(count, n);
}

CALL(void *, realloc, void *p, size_t n)
{
	return kernel_fails(faults.alloc, NULL, "realloc") ? NULL : __real_realloc(p, n);
}

/* ---- clocks ---- */

static const int64_t base =
	0; /* the first millisecond of the machine: nothing may take 0 for "not yet" */

CALL(int, clock_gettime, clockid_t clock, struct timespec *t)
{
	int64_t now = base + sim_now;

	if (clock == CLOCK_MONOTONIC_COARSE)
		now -= now % 4000;
	t->tv_sec = (time_t)(now / 1000000);
	t->tv_nsec = (long)(now % 1000000) * 1000;
	return 0;
}

CALL(time_t, time, time_t *t)
{
	time_t now = (time_t)((base + sim_now) / 1000000);

	if (t)
		*t = now;
	return now;
}

/* ---- names ---- */

CALL(int, getaddrinfo, const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **list)
{
	struct Address {
		struct addrinfo info;
		struct sockaddr_in address;
	} *a = __real_calloc(1, sizeof *a);

	(void)host;
	(void)hints;
	a->address.sin_family = AF_INET;
	a->address.sin_port = htons((uint16_t)strtoul(service, NULL, 10));
	a->address.sin_addr.s_addr = htonl(0x0A000001);
	a->info.ai_family = AF_INET;
	a->info.ai_socktype = SOCK_STREAM;
	a->info.ai_addr = (struct sockaddr *)&a->address;
	a->info.ai_addrlen = sizeof a->address;
	*list = &a->info;
	return 0;
}

CALL(void, freeaddrinfo, struct addrinfo *list)
{
	free(list);
}

static int give_address(struct sockaddr *a, socklen_t *n, uint32_t host, int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	in.sin_addr.s_addr = htonl(host);
	memcpy(a, &in, *n < sizeof in ? *n : sizeof in);
	*n = sizeof in;
	return 0;
}

Stream *kernel_stream_at(int fd)
{
	File *f = kernel_file(fd);

	return f && f->kind == FILE_STREAM ? f->stream : NULL;
}

CALL(int, getsockname, int fd, struct sockaddr *a, socklen_t *n)
{
	const Stream *s = kernel_stream_at(fd);
	const File *f = kernel_file(fd);

	return f ? give_address(a, n, 0x0A000001, s ? s->port : f->port) : -1;
}

CALL(int, getpeername, int fd, struct sockaddr *a, socklen_t *n)
{
	const Stream *s = kernel_stream_at(fd);

	if (!s || !s->connected) {
		errno = ENOTCONN;
		return -1;
	}
	return give_address(a, n, 0x0A010000 + (uint32_t)s->id, 80);
}

/* ---- descriptors ---- */

CALL(int, socket, int family, int type, int protocol)
{
	int fd = kernel_fails(faults.descriptors, NULL, "socket") ? (errno = EMFILE, -1)
							   : kernel_open(FILE_STREAM);

	(void)family;
	(void)type;
	(void)protocol;
	return fd;
}

/* All listeners have the same port, which they may have together. */
CALL(int, bind, int fd, const struct sockaddr *a, socklen_t n)
{
	const File *f = kernel_file(fd);
	int other;

	(void)a;
	(void)n;
	for (other = 0; f && other < KERNEL_FILES; other++) {
		const File *g = kernel_files[other];

		if (g && g->kind == FILE_LISTENER && !(f->shares_port && g->shares_port)) {
			errno = EADDRINUSE;
			return -1;
		}
	}
	return f ? 0 : -1;
}

CALL(int, listen, int fd, int backlog)
{
	File *f = kernel_file(fd);

	(void)backlog;
	if (!f)
		return -1;
	f->kind = FILE_LISTENER;
	f->port = 8080;
	return 0;
}

/* Outside of a task, gcov opens its files. */
int __real_open(const char *path, int flags, ...);
CALL(int, open, const char *path, int flags, ...)
{
	return task_name() ? kernel_open(FILE_PLAIN) : __real_open(path, flags, 0666);
}

CALL(int, epoll_create1, int flags)
{
	int n, fd;

	(void)flags;
	n = kernel_polls();
	fd = kernel_open(FILE_EPOLL);
	if (fd >= 0) {
		SIM_CHECK(n < LOOPS, "more than %d loops", LOOPS);
		kernel_files[fd]->loop = n;
	}
	return fd;
}

int __real_close(int fd);
CALL(int, close, int fd)
{
	File *f;
	int e;

	if (fd < KERNEL_FIRST)
		return __real_close(fd);
	f = kernel_file(fd);
	SIM_CHECK(f, "close of descriptor %d, which is not open", fd);
	for (e = 0; e < KERNEL_FILES; e++)
		if (kernel_files[e] && kernel_files[e]->kind == FILE_EPOLL)
			kernel_unwatch(kernel_files[e], fd);
	for (; f->backlog; f->backlog = f->backlog->next)
		stream_reset(f->backlog);
	if (f->stream) {
		sim_trace("close stream %d", f->stream->id);
		kernel_close_stream(f->stream);
	}
	free(f);
	kernel_files[fd] = NULL;
	return 0;
}

int __real_fcntl(int fd, int what, ...);
CALL(int, fcntl, int fd, int what, ...)
{
	File *f = fd < KERNEL_FIRST ? NULL : kernel_file(fd);
	va_list list;
	int result;

	va_start(list, what);
	if (fd < KERNEL_FIRST)
		result = __real_fcntl(fd, what, va_arg(list, void *));
	else if (!f)
		result = -1;
	else {
		if (what == F_SETFL)
			f->nonblocking = (va_arg(list, int) & O_NONBLOCK) != 0;
		result = what == F_GETFL && f->nonblocking ? O_NONBLOCK | O_RDWR : 0;
	}
	va_end(list);
	return result;
}

CALL(int, setsockopt, int fd, int level, int option, const void *p, socklen_t n)
{
	File *f = kernel_file(fd);

	(void)p;
	(void)n;
	if (f && level == SOL_SOCKET && option == SO_REUSEPORT)
		f->shares_port = 1;
	return f ? 0 : -1;
}

CALL(int, getsockopt, int fd, int level, int option, void *p, socklen_t *n)
{
	Stream *s = kernel_stream_at(fd);
	int value = option == SO_TYPE ? SOCK_STREAM : s ? s->error : 0;

	(void)level;
	if (!kernel_file(fd))
		return -1;
	if (s && option == SO_ERROR)
		s->error = 0;
	memcpy(p, &value, sizeof value);
	*n = sizeof value;
	return 0;
}

/* ---- streams ---- */

static const int accept_errors[] = { ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM };

CALL(int, accept4, int fd, struct sockaddr *a, socklen_t *n, int flags)
{
	File *f = kernel_file(fd);
	Stream *s;
	int accepted;

	(void)flags;
	if (!f)
		return -1;
	if (!f->backlog) {
		errno = EAGAIN;
		return -1;
	}
	if (kernel_is_interrupted())
		return -1;
	if (kernel_fails(faults.accept, NULL, "accept")) {
		errno = accept_errors[sim_below(5)];
		return -1;
	}
	accepted = kernel_open(FILE_STREAM);
	if (accepted < 0) {
		world.failed(NULL, "accept");
		errno = EMFILE;
		return -1;
	}
	s = f->backlog;
	f->backlog = s->next;
	f->since = sim_now;
	s->next = NULL;
	s->loop = f->loop;
	kernel_files[accepted]->stream = s;
	sim_trace("accept stream %d as %d", s->id, accepted);
	if (a)
		give_address(a, n, 0x0A010000 + (uint32_t)s->id, 20000 + s->id);
	if (world.accepted)
		world.accepted(s);
	return accepted;
}

CALL(int, connect, int fd, const struct sockaddr *a, socklen_t n)
{
	File *f = kernel_file(fd);
	struct sockaddr_in to;
	Stream *s;

	(void)n;
	if (!f)
		return -1;
	memcpy(&to, a, sizeof to);
	s = f->stream = kernel_stream();
	world.connecting(s, ntohs(to.sin_port));
	if (s->connected)
		return 0;
	errno = s->error ? s->error : EINPROGRESS;
	s->error = 0;
	return -1;
}

static int is_ready_for(void *cl, unsigned events)
{
	const File *f = cl;

	return (kernel_ready(f) & (events | EPOLLERR | EPOLLHUP)) != 0;
}

static int is_readable(void *cl)
{
	return is_ready_for(cl, EPOLLIN);
}

static int is_writable(void *cl)
{
	return is_ready_for(cl, EPOLLOUT);
}

/* Returns -1 and errno if the call must not wait. */
static int wait_or_refuse(File *f, int flags, int (*ready)(void *cl))
{
	if (f->nonblocking || (flags & MSG_DONTWAIT)) {
		errno = EAGAIN;
		return -1;
	}
	kernel_wait(ready, f, -1);
	return 0;
}

static ssize_t broken(Stream *s)
{
	errno = s->error ? s->error : EPIPE;
	s->error = 0;
	return -1;
}

CALL(ssize_t, recv, int fd, void *p, size_t n, int flags)
{
	File *f = kernel_file(fd);
	Stream *s = f ? f->stream : NULL;

	if (!s)
		return -1;
	if (kernel_is_interrupted())
		return -1;
	if (kernel_fails(faults.recv, s, "recv")) {
		s->broken = 1;
		s->error = EHOSTUNREACH;
	}
	while (bytes_length(&s->in) == 0) {
		if (s->broken)
			return s->error ? broken(s) : 0;
		if (s->in_ended) {
			if (world.received && !(flags & MSG_PEEK))
				world.received(s, 0);
			return 0;
		}
		if (wait_or_refuse(f, flags, is_readable) < 0)
			return -1;
	}
	n = part_of(n < bytes_length(&s->in) ? n : bytes_length(&s->in));
	if (flags & MSG_PEEK) {
		memcpy(p, s->in.at + s->in.start, n);
		return (ssize_t)n;
	}
	bytes_take(&s->in, p, n);
	sim_trace("recv stream %d: %zu", s->id, n);
	if (world.received)
		world.received(s, n);
	return (ssize_t)n;
}

/* With _FORTIFY_SOURCE it has this name. */
CALL(ssize_t, __recv_chk, int fd, void *p, size_t n, size_t size, int flags)
{
	(void)size;
	return __wrap_recv(fd, p, n, flags);
}

/* Stores the first n bytes. */
static void put_parts(Stream *s, const struct iovec *parts, size_t n)
{
	for (; n > 0; parts++) {
		size_t k = parts->iov_len < n ? parts->iov_len : n;

		bytes_put(&s->out, parts->iov_base, k);
		n -= k;
	}
}

static ssize_t send_parts(int fd, const struct iovec *parts, int nparts, int flags)
{
	File *f = kernel_file(fd);
	Stream *s = f ? f->stream : NULL;
	size_t wanted = 0, n, room;
	int i;

	if (!s)
		return -1;
	kernel_give_way();
	SIM_CHECK(flags & MSG_NOSIGNAL, "a send without MSG_NOSIGNAL");
	if (kernel_is_interrupted())
		return -1;
	for (i = 0; i < nparts; i++)
		wanted += parts[i].iov_len;
	if (kernel_fails(faults.send, s, "send")) {
		s->broken = 1;
		s->error = EHOSTUNREACH;
	}
	for (;;) {
		if (s->broken || s->out_ended)
			return broken(s);
		room = s->out_room > bytes_length(&s->out) ? s->out_room - bytes_length(&s->out)
							   : 0;
		if (room > 0)
			break;
		if (world.sent)
			world.sent(s, NULL, 0, wanted);
		if (wait_or_refuse(f, flags, is_writable) < 0)
			return -1;
	}
	n = part_of(wanted < room ? wanted : room);
	put_parts(s, parts, n);
	sim_trace("send stream %d: %zu of %zu", s->id, n, wanted);
	if (world.sent)
		world.sent(s, s->out.at + s->out.end - n, n, wanted);
	return (ssize_t)n;
}

CALL(ssize_t, send, int fd, const void *p, size_t n, int flags)
{
	struct iovec part = { (void *)(uintptr_t)p, n };

	return send_parts(fd, &part, 1, flags);
}

CALL(ssize_t, sendmsg, int fd, const struct msghdr *m, int flags)
{
	return send_parts(fd, m->msg_iov, (int)m->msg_iovlen, flags);
}

CALL(int, shutdown, int fd, int how)
{
	Stream *s = kernel_stream_at(fd);

	if (!s)
		return -1;
	sim_trace("shutdown stream %d", s->id);
	s->out_ended = 1;
	if (how == SHUT_RDWR)
		s->in_ended = 1;
	if (world.ended)
		world.ended(s);
	return 0;
}
