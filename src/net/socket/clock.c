/* SPDX-License-Identifier: MIT */
/* The clocks by which sockets, polls and pools wait. */
#include "config.h"

#include <limits.h>
#include <time.h>

#include "socket/clock.h"

int64_t socket__now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t socket__now_coarse(void)
{
#if defined CLOCK_MONOTONIC_COARSE
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
#else
	return socket__now_ms();
#endif
}

int64_t socket__deadline_in(int64_t ms)
{
	return ms < 0 ? SOCKET__NEVER : socket__now_ms() + ms;
}

int socket__poll_ms(int64_t deadline)
{
	int64_t left;

	if (deadline == SOCKET__NEVER)
		return -1;
	left = deadline - socket__now_ms();
	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}
