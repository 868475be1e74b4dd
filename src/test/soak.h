/* SPDX-License-Identifier: MIT */
/* The two halves of soak: the one that starts the server and watches it, and the clients, in processes of their own. */
#ifndef SOAK_INCLUDED
#define SOAK_INCLUDED
#include <stdint.h>

typedef struct Shared { /* by all the processes; atomic */
	uint64_t opened, closed, reset;        /* connections; closed by us */
	uint64_t requests, right, wrong;       /* right: replies, as they had to be, to the last byte */
	/* of those: malformed ones, those that never ended; idle connections that the server closed */
	uint64_t refused, timed_out, ended;
	/* clients that the server gave up, as we were kept from asking in time */
	uint64_t late;
	uint64_t bytes;                        /* of replies */
	int64_t now_open, most_open;           /* of clients that are not to be killed */
	int ending, settled;                   /* ask no more; nothing is asked that was not answered */
} Shared;

extern Shared *shared;

#define COUNT(what, n) ((void)__atomic_fetch_add(&shared->what, (n), __ATOMIC_RELAXED))
#define GET(what) __atomic_load_n(&shared->what, __ATOMIC_RELAXED)

int64_t clock_ms(void);

/* So many clients at once, each replaced when it leaves, until shared->ending, and then until all were answered and the
 * server has closed every connection. doomed: will be killed. */
void run_clients(int port, int n, int ramp_ms, unsigned seed, int doomed);

#endif
