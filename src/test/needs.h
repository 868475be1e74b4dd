/* SPDX-License-Identifier: MIT */
/* Checks of what a test may need of the machine: for testing.c (see NEEDS), for programs without
 * Check, and for scripts (see needs.sh). */
#ifndef NEEDS_INCLUDED
#define NEEDS_INCLUDED
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NEEDS_SKIPPED = 77 }; /* Automake takes this exit status for a skipped test */

/* Returns whether a connection to 127.0.0.1 succeeds; if not, says so. */
static inline int has_loopback(void)
{
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), has;

	memset(&a, 0, sizeof a);
	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	has = bind(listener, (const struct sockaddr *)&a, sizeof a) == 0 && listen(listener, 1) == 0
		&& getsockname(listener, (struct sockaddr *)&a, &n) == 0
		&& connect(client, (const struct sockaddr *)&a, sizeof a) == 0;
	if (!has)
		perror("skipped: there is no loopback device");
	close(client);
	close(listener);
	return has;
}

/* Returns whether the process may open so many descriptors, and raises its soft limit if needed;
 * if not, says so. */
static inline int has_descriptors(unsigned long most)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= most)
		return 1;
	if (limit.rlim_max >= most) {
		limit.rlim_cur = most;
		return setrlimit(RLIMIT_NOFILE, &limit) == 0;
	}
	fprintf(stderr, "skipped: %lu descriptors are needed, and %llu are allowed\n", most,
		(unsigned long long)limit.rlim_max);
	return 0;
}

#endif
