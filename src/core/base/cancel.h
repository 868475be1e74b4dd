/* SPDX-License-Identifier: MIT */
/* Private to the library: clean-up of threads that are cancelled. A call that blocks stays a
 * cancellation point, and an object with a cleanup attribute holds the function's resources.
 * Calls that do not block run in a block WITHOUT_CANCELLATION. close(2) is one of them: a thread
 * that is cancelled there leaves the descriptor open. */
#ifndef CANCEL_INCLUDED
#define CANCEL_INCLUDED
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

static inline int cancellation_off(void)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	return before;
}

static inline void cancellation_back(const int *before)
{
	pthread_setcancelstate(*before, NULL);
}

/* A declaration that switches cancellation off until the end of the block, which must not
 * raise. */
#define WITHOUT_CANCELLATION \
	const int cancel_state_ __attribute__((cleanup(cancellation_back), unused)) = cancellation_off()

/* Closes fd, unless it is negative, in a thread that may be cancelled. Keeps errno. Does not try
 * again after EINTR, because another thread may have that descriptor by then. */
static inline void close_descriptor(int fd)
{
	if (fd >= 0) {
		WITHOUT_CANCELLATION;
		int error = errno;

		close(fd);
		errno = error;
	}
}

static inline void close_owned(const int *fd)
{
	close_descriptor(*fd);
}

/* An attribute of a declaration. The end of the block closes the descriptor in the variable. So
 * does a cancellation, but not a raise. A function that hands the descriptor on stores -1. */
#define OWNED_DESCRIPTOR __attribute__((cleanup(close_owned)))

#endif
