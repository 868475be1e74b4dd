/* SPDX-License-Identifier: MIT */
/* Sending from a file: by sendfile(2) on Linux, elsewhere by a copy.
 *
 * sendfile has no MSG_NOSIGNAL and no MSG_DONTWAIT. So the descriptor is made non-blocking, and
 * SIGPIPE is blocked for the call, and taken back if the call caused it. */
#include "config.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>
#if defined __linux__
#include <sys/sendfile.h>
#endif

#include "socket/rep.h"

#define T Socket_T

enum { COPY = 16 * 1024 };

static ssize_t send_copy_of_file(T s, int fd, int64_t offset, size_t nbytes)
{
	char bytes[COPY];
	ssize_t n, sent;

	do
		n = pread(fd, bytes, nbytes < COPY ? nbytes : COPY, (off_t)offset);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n;
	do
		sent = send(s->fd, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent;
}

#if defined __linux__
typedef struct Muted {
	sigset_t pipe, before;
	int was_pending; /* a SIGPIPE, which is not ours */
} Muted;

/* A signal that is not blocked cannot be pending for the thread. */
static void block_sigpipe(Muted *m)
{
	sigset_t pending;

	sigemptyset(&m->pipe);
	sigaddset(&m->pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &m->pipe, &m->before);
	m->was_pending = 0;
	if (sigismember(&m->before, SIGPIPE) && sigpending(&pending) == 0)
		m->was_pending = sigismember(&pending, SIGPIPE);
}

static void restore_sigpipe(const Muted *m, int caused)
{
	static const struct timespec now = { 0, 0 };
	int error = errno;

	if (caused && !m->was_pending)
		while (sigtimedwait(&m->pipe, NULL, &now) < 0 && errno == EINTR)
			;
	if (!sigismember(&m->before, SIGPIPE))
		pthread_sigmask(SIG_SETMASK, &m->before, NULL);
	errno = error;
}

static ssize_t send_from_file(T s, int fd, int64_t offset, size_t nbytes)
{
	off_t at = (off_t)offset;
	Muted m;
	ssize_t n;

	block_sigpipe(&m);
	do
		n = sendfile(s->fd, fd, &at, nbytes);
	while (n < 0 && errno == EINTR);
	/* The kernel sends by pages: a page may have gone out before the one that caused the signal. */
	restore_sigpipe(&m, n < 0 ? errno == EPIPE : (size_t)n < nbytes);
	if (n < 0 && (errno == EINVAL || errno == ENOSYS)) /* not from this file system */
		return send_copy_of_file(s, fd, offset, nbytes);
	return n;
}
#else
#define send_from_file send_copy_of_file
#endif

ssize_t socket__try_sendfile(T s, int fd, int64_t offset, size_t nbytes)
{
	ssize_t n;

	CHECK_SOCKET(s);
	if (!s->nonblocking)
		Socket_set_nonblocking(s, 1);
	n = send_from_file(s, fd, offset, nbytes);
	if (n > 0)
		socket__moved(s, n);
	return n;
}
