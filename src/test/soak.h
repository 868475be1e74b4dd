/* SPDX-License-Identifier: MIT */
/* The two parts of soak: the one that starts and watches the server, and the clients in
 * processes of their own. */
#ifndef SOAK_INCLUDED
#define SOAK_INCLUDED
#include <stdint.h>

typedef struct Shared { /* shared by all the processes; its members are atomic */
	uint64_t opened, closed, reset; /* connections; those that we closed; those that were reset */
	/* requests; replies that were right to the last byte; wrong ones */
	uint64_t requests, right, wrong;
	/* malformed requests; requests that never ended; idle connections that the server closed */
	uint64_t refused, timed_out, ended;
	/* clients that we kept from asking in time, so that the server gave them up */
	uint64_t late;
	uint64_t bytes;                        /* bytes of all replies */
	int64_t now_open, most_open; /* connections without those of the process that is killed */
	int ending, settled;                   /* clients ask no more; each request was answered */
} Shared;

extern Shared *shared;

#define COUNT(what, n) ((void)__atomic_fetch_add(&shared->what, (n), __ATOMIC_RELAXED))
#define GET(what) __atomic_load_n(&shared->what, __ATOMIC_RELAXED)

int64_t clock_ms(void);

/* Runs n clients at once, and replaces each that leaves, until shared->ending is set. Then it
 * returns when all were answered and the server has closed every connection. If doomed, the
 * process will be killed. */
void run_clients(int port, int n, int ramp_ms, unsigned seed, int doomed);

#endif
