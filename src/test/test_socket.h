/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_socket. All runs on the loopback and in a directory of its own. */
#ifndef TEST_SOCKET_INCLUDED
#define TEST_SOCKET_INCLUDED
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <core/Arena.h>
#include <core/Socket.h>
#include "testing.h"

static Arena_T arena;
static char directory[64], path[128]; /* path is "unix:" and a name in the directory */

static inline void set_up(void)
{
	arena = Arena_new();
	snprintf(directory, sizeof directory, "/tmp/test_socket.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof path, "unix:%s/socket", directory);
}

static inline void tear_down(void)
{
	unlink(path + 5);
	rmdir(directory);
	Arena_dispose(&arena);
}

static inline const char *port_of(Socket_T s)
{
	return Arena_sprintf(arena, "%d", Socket_port(s));
}

static inline const char *loopback_text(const char *what, Socket_T s, const char *rest)
{
	return Arena_sprintf(arena, "%s127.0.0.1:%d%s", what, Socket_port(s), rest);
}

static inline Socket_T listen_tcp(void)
{
	return Socket_listen("127.0.0.1", "0", 0);
}

/* Makes a connection over TCP, with the ends here and there. */
static inline void connect_pair(Socket_T *here, Socket_T *there)
{
	Socket_T listener = listen_tcp();

	*here = Socket_connect("127.0.0.1", port_of(listener), 5000);
	*there = Socket_accept(listener);
	ck_assert_ptr_nonnull(*there);
	Socket_close(&listener);
}

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void send_byte(Socket_T a, Socket_T b)
{
	char byte = 0;

	Socket_sendall(a, "x", 1);
	ck_assert_uint_eq(Socket_recv(b, &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
}

static inline void adopt_pair(Socket_T *a, Socket_T *b)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	*a = Socket_adopt(fd[0]);
	*b = Socket_adopt(fd[1]);
	ck_assert_int_eq(Socket_fd(*a), fd[0]);
}

#endif
