/* SPDX-License-Identifier: MIT */
/* This machine taken for one of the BSDs: before the real config.h in the search for it. What Linux has and they lack,
 * or have only lately, is not used; kqueue is that of ../kqueue.c. */
#pragma GCC system_header /* include_next is an extension */
#include_next "config.h"
#undef HAVE_ACCEPT4
#undef HAVE_EPOLL_CREATE1
#undef HAVE_PTHREAD_CONDATTR_SETCLOCK
#undef HAVE_SYS_EVENTFD_H
#undef HAVE_KQUEUE
#define HAVE_KQUEUE 1
#undef HAVE_FOPENCOOKIE
#include <stdio.h>
FILE *funopen(const void *cookie, int (*read)(void *, char *, int),
	int (*write)(void *, const char *, int),
	fpos_t (*seek)(void *, fpos_t, int), int (*close)(void *));
