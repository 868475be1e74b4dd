/* SPDX-License-Identifier: MIT */
/* The inside of a server: the figures of it that no client sees, and the steps of its protocols
 * between threads, between which a seed lets others run. All else of the simulation knows only the
 * interface. */
#include "config.h"

#include "kernel.h"
#include "server.h"
#include "server/rep.h"

size_t inside_booked(HTTPServer_T s)
{
	size_t n = 0;
	int i;

	for (i = 0; i < s->nloops; i++)
		n += s->loops[i].held;
	return n;
}

int inside_drains(HTTPServer_T s, int loop)
{
	return s->loops[loop].draining;
}

static int wakers;

int inside_wakers(void)
{
	return wakers;
}

int __real_httpserver__claim(Exchange *x);
CALL(int, httpserver__claim, Exchange *x)
{
	kernel_give_way();
	return __real_httpserver__claim(x);
}

int __real_httpserver__park(Exchange *x);
CALL(int, httpserver__park, Exchange *x)
{
	int parked;

	kernel_give_way();
	parked = __real_httpserver__park(x);
	kernel_give_way();
	return parked;
}

int __real_httpserver__leave(Exchange *x);
CALL(int, httpserver__leave, Exchange *x)
{
	int left;

	kernel_give_way();
	left = __real_httpserver__leave(x);
	kernel_give_way();
	return left;
}

int __real_httpserver__give_work(Exchange *x, Call call, int may_refuse);
CALL(int, httpserver__give_work, Exchange *x, Call call, int may_refuse)
{
	int given;

	kernel_give_way();
	given = __real_httpserver__give_work(x, call, may_refuse);
	kernel_give_way();
	return given;
}

void __real_httpserver__hand_back(Exchange *x);
CALL(void, httpserver__hand_back, Exchange *x)
{
	kernel_give_way();
	__real_httpserver__hand_back(x);
}

Exchange *__real_httpserver__take_back(Loop *l, Exchange *left);
CALL(Exchange *, httpserver__take_back, Loop *l, Exchange *left)
{
	kernel_give_way();
	return __real_httpserver__take_back(l, left);
}

void __real_SocketPoll_wake(SocketPoll_T poll);
CALL(void, SocketPoll_wake, SocketPoll_T poll)
{
	wakers++;
	kernel_give_way();
	__real_SocketPoll_wake(poll);
	wakers--;
}
