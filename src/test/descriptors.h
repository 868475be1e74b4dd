/* SPDX-License-Identifier: MIT */
/* Counts the open descriptors of the process, for tests that look for one that was left open. */
#ifndef DESCRIPTORS_INCLUDED
#define DESCRIPTORS_INCLUDED
#include <fcntl.h>

/* Counts the open descriptors below 256; new ones take the lowest free number. Without noinline,
 * gcc warns of n. */
static __attribute__((noinline, unused)) int count_descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#endif
