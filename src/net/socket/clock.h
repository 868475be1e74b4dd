/* SPDX-License-Identifier: MIT */
/* Private to the library: the clock that deadlines are measured in, CLOCK_MONOTONIC in
 * milliseconds. */
#ifndef SOCKETCLOCK_INCLUDED
#define SOCKETCLOCK_INCLUDED
#include <stdint.h>

#define SOCKET__NEVER INT64_MAX
/* A deadline that was not computed yet. No time of the clock is negative. */
#define SOCKET__UNSET (-1)

int64_t socket__now_ms(void);
/* Returns the same time, read from memory and exact to a tick. For idle times, on which no wait
 * depends. */
int64_t socket__now_coarse(void);
int64_t socket__deadline_in(int64_t ms); /* a negative ms means never */
/* Returns the time until the deadline as poll(2) takes it: at most INT_MAX, -1 for never. */
int socket__poll_ms(int64_t deadline);

#endif
