/* SPDX-License-Identifier: MIT */
/* Private to the library: what HTTPServer asks of a poll beyond <core/SocketPoll.h>. */
#ifndef SOCKETPOLLRESERVE_INCLUDED
#define SOCKETPOLLRESERVE_INCLUDED
#include <stddef.h>
#include <core/SocketPoll.h>

/* Makes room for n deadlines and timers. Otherwise the heap would grow while sockets come, and
 * each old copy would stay in the arena. Raises: Arena_Failed. */
void socketpoll__reserve(SocketPoll_T poll, size_t n);

#endif
