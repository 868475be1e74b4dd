/* SPDX-License-Identifier: MIT */
/* Receiving and sending for event loops: one system call, with errno instead of an exception. */
#include "config.h"

#include <limits.h>
#include <poll.h>

#include "socket/rep.h"

#define T Socket_T

ssize_t socket__try_recv(T s, void *buffer, size_t nbytes)
{
	ssize_t n;

	CHECK_SOCKET(s);
	do
		n = recv(s->fd, buffer, nbytes, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		socket__moved(s, n);
	return n;
}

/* Send is cheaper than sendmsg. */
ssize_t socket__try_sendv(T s, const struct iovec *vector, int parts)
{
	struct msghdr m = { 0 };
	ssize_t n;

	CHECK_SOCKET(s);
	m.msg_iov = (struct iovec *)(uintptr_t)vector;
	m.msg_iovlen = (unsigned)parts;
	do
		n = parts == 1 ? send(s->fd, vector->iov_base, vector->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
			: sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		socket__moved(s, n);
	return n;
}

int socket__wait_either(T s, int64_t deadline)
{
	struct pollfd p;
	int n, ms;

	CHECK_SOCKET(s);
	p = (struct pollfd){ s->fd, POLLIN | POLLOUT, 0 };
	do {
		ms = socket__poll_ms(deadline);
		n = poll(&p, 1, ms);
	} while ((n < 0 && (errno == EINTR || errno == EAGAIN))
		|| (n == 0 && (ms == INT_MAX || socket__now_ms() < deadline)));
	if (n < 0)
		socket__failed_on("poll", s, errno);
	return (p.revents & ~POLLOUT ? SOCKET__READABLE : 0)
		| (p.revents & POLLOUT ? SOCKET__WRITABLE : 0);
}
