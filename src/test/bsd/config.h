/* SPDX-License-Identifier: MIT */
/* Makes this machine look like one of the BSDs. The search finds this file before the real
 * config.h. The tests do not use what Linux has and the BSDs lack or have only lately; kqueue is
 * that of ../kqueue.c. */
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
