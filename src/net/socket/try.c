/* SPDX-License-Identifier: MIT */
/* Receiving and sending for event loops: one system call, and errno instead of an exception. */
#include "config.h"

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

/* One part goes by send, which is the cheaper call. */
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
