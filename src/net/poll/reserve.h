/* SPDX-License-Identifier: MIT */
/* Private to the library: what HTTPServer asks of a poll beyond <core/SocketPoll.h>. */
#ifndef SOCKETPOLLRESERVE_INCLUDED
#define SOCKETPOLLRESERVE_INCLUDED
#include <stddef.h>
#include <core/SocketPoll.h>

/* Makes room for n deadlines and timers, so that the poll need not copy them to a larger place, and
 * leave the old one behind in its arena, while sockets come. Raises: Arena_Failed. */
void socketpoll__reserve(SocketPoll_T poll, size_t n);

#endif
