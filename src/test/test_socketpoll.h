/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_socketpoll: a poll with each back end, and socketpairs, one end of
 * which is in the poll. */
#ifndef TEST_SOCKETPOLL_INCLUDED
#define TEST_SOCKETPOLL_INCLUDED
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined __linux__ && HAVE_EPOLL_CREATE1
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#define SECCOMP_HERE 1
#endif

#include <core/SocketPoll.h>
#include "descriptors.h"
#include "testing.h"

enum { MOST = 400, READ = SocketPoll_READ, WRITE = SocketPoll_WRITE, TIMEOUT = SocketPoll_TIMEOUT };

static const Except_T Test_Failed = { "test", NULL, NULL };
static const char *backend;
static Arena_T arena;
static SocketPoll_T loop;
static Socket_T sockets[MOST];
static int peers[MOST]; /* the other ends */
static int made;
static SocketPoll_Event events[MOST];

static inline void set_up(void)
{
	made = 0;
	arena = Arena_new();
	loop = SocketPoll_new_with(arena, backend);
}

static inline void tear_down(void)
{
	int i;

	Arena_dispose(&arena);
	for (i = 0; i < made; i++) {
		Socket_close(&sockets[i]);
		close(peers[i]);
	}
}

static inline void set_up_poll(void)
{
	backend = "poll";
	set_up();
}

static inline void set_up_best(void)
{
	backend = NULL;
	set_up();
}

static inline Socket_T make_one(void)
{
	int fd[2];

	ck_assert_int_lt(made, MOST);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	peers[made] = fd[1];
	sockets[made] = Socket_adopt(fd[0]);
	return sockets[made++];
}

/* Adds a socket to the poll, with its number as data. */
static inline Socket_T add_one(unsigned asked)
{
	Socket_T s = make_one();

	SocketPoll_add(loop, s, asked, &sockets[made - 1]);
	return s;
}

static inline void send_to(int i)
{
	ck_assert_int_eq((int)write(peers[i], "x", 1), 1);
}

static inline void receive_byte(Socket_T s)
{
	char byte;

	ck_assert_uint_eq(Socket_recv(s, &byte, 1), 1);
}

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void wait_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000 * 1000 };

	while (nanosleep(&t, &t) != 0)
		;
}

/* Waits once and returns the events of this socket. */
static inline unsigned told_of(Socket_T s)
{
	unsigned told = 0;
	int i, n = SocketPoll_wait(loop, events, MOST, 0);

	for (i = 0; i < n; i++)
		if (events[i].socket == s)
			told |= events[i].events;
	return told;
}

static inline void ck_quiet(void)
{
	ck_assert_int_eq(SocketPoll_wait(loop, events, MOST, 0), 0);
}

static inline void ck_among(Socket_T s, unsigned expected, int most)
{
	ck_assert_int_eq(SocketPoll_wait(loop, events, most, 1000), 1);
	ck_assert_ptr_eq(events[0].socket, s);
	ck_assert_uint_eq(events[0].events, expected);
}

static inline void ck_only(Socket_T s, unsigned expected)
{
	ck_among(s, expected, MOST);
}

static inline int peer_reads_the_end(int i)
{
	char byte;

	return recv(peers[i], &byte, 1, MSG_DONTWAIT) == 0;
}

static inline void on_alarm(int number)
{
	(void)number;
}

static inline void start_alarms(int ms, void (*handler)(int))
{
	struct sigaction action = { 0 };
	struct itimerval timer = { { 0, 0 }, { 0, 0 } };

	action.sa_handler = handler;
	sigaction(SIGALRM, &action, NULL);
	timer.it_interval.tv_usec = timer.it_value.tv_usec = ms * 1000;
	setitimer(ITIMER_REAL, &timer, NULL);
}

#endif
