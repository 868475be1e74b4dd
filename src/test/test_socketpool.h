/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_socketpool. The sockets are ends of socketpairs. */
#ifndef TEST_SOCKETPOOL_INCLUDED
#define TEST_SOCKETPOOL_INCLUDED
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <core/SocketPoll.h>
#include <core/SocketPool.h>
#include "testing.h"

enum { MOST = 64, BUFFER = 1024 };

static const Except_T Test_Failed = { "test", NULL, NULL };
static Arena_T arena;
static SocketPool_T pool;
static Socket_T sockets[MOST];
static int peers[MOST]; /* the other ends */
static int made;

static inline Socket_T make_socket(int *peer)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	*peer = fd[1];
	return Socket_adopt(fd[0]);
}

static inline Socket_T make_one(void)
{
	ck_assert_int_lt(made, MOST);
	sockets[made] = make_socket(&peers[made]);
	return sockets[made++];
}

static inline void set_up(void)
{
	made = 0;
	arena = Arena_new();
	pool = SocketPool_new(arena, 4, BUFFER);
}

static inline void tear_down(void)
{
	Arena_dispose(&arena);
	while (made > 0)
		close(peers[--made]);
}

static inline Connection_T add_one(void)
{
	Connection_T c = SocketPool_add(pool, make_one());

	ck_assert_ptr_nonnull(c);
	return c;
}

/* Returns whether the peer of sockets[i] reads the end of the stream: the socket is closed. */
static inline int is_closed(int i)
{
	char byte;

	return recv(peers[i], &byte, 1, MSG_DONTWAIT) == 0;
}

static inline void count_call(void *n)
{
	++*(int *)n;
}

static inline void raise_one(void *cl)
{
	(void)cl;
	RAISE(Test_Failed);
}

/* Records the calls of a callback, and tells it how to act. */
static struct {
	int pre, post;
	size_t capacity_in_pre, capacity_in_post, resize_to;
	int raises;
} seen;

static inline void on_pre(SocketPool_T p, void *cl)
{
	ck_assert_ptr_eq(cl, &seen);
	seen.pre++;
	seen.capacity_in_pre = SocketPool_capacity(p);
	if (seen.resize_to)
		SocketPool_resize(p, seen.resize_to);
	if (seen.raises)
		RAISE(Test_Failed);
}

static inline void count_connection(Connection_T c, void *n)
{
	ck_assert_int_eq(Connection_active(c), 1);
	++*(int *)n;
}

static inline void close_it(Connection_T c, void *n)
{
	Socket_T s = Connection_socket(c);

	count_connection(c, n);
	SocketPool_close(pool, &s);
}

#endif
