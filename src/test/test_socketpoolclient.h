/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_socketpoolclient: a pool, and servers in processes of their own. */
#ifndef TEST_SOCKETPOOLCLIENT_INCLUDED
#define TEST_SOCKETPOOLCLIENT_INCLUDED
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <core/SocketPool.h>
#include "testing.h"

static const Except_T Test_Failed = { "test", NULL, NULL };
static Arena_T arena;
static SocketPool_T pool;

static inline void set_up(void)
{
	arena = Arena_new();
	pool = SocketPool_new(arena, 4, 1024);
}

static inline void tear_down(void)
{
	Arena_dispose(&arena);
}

static inline void wait_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000 * 1000 };

	while (nanosleep(&t, &t) != 0)
		;
}

static inline SocketPool_Stats pool_stats(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s;
}

enum Manner { ECHO, STALL, RESET, CLOSE_AFTER_REPLY, GREET };

typedef struct Server {
	char port[8];
	pid_t process;
} Server;

static inline void serve_one(Socket_T s, enum Manner manner)
{
	struct linger hard = { 1, 0 };
	char buffer[512];
	size_t n;

	if (manner == RESET) {
		setsockopt(Socket_fd(s), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		wait_ms(10); /* connect itself may see the close */
	}
	if (manner == GREET)
		Socket_sendall(s, "hello", 5);
	while (manner != RESET && (n = Socket_recv(s, buffer, sizeof buffer)) > 0) {
		if (manner != STALL)
			Socket_sendall(s, buffer, n);
		if (manner == CLOSE_AFTER_REPLY)
			break;
	}
}

typedef struct Served {
	Socket_T socket;
	enum Manner manner;
} Served;

static inline void *serve_in_thread(void *cl)
{
	Served served = *(Served *)cl;

	free(cl);
	TRY {
		serve_one(served.socket, served.manner);
	} EXCEPT(Socket_Failed) {
	} FINALLY {
		Socket_close(&served.socket);
	} END_TRY;
	return NULL;
}

static inline void serve_clients(Socket_T listener, enum Manner manner)
{
	for (;;) {
		Served *served = malloc(sizeof *served);
		pthread_t thread;

		served->socket = Socket_accept(listener);
		served->manner = manner;
		pthread_create(&thread, NULL, serve_in_thread, served);
		pthread_detach(thread);
	}
}

static inline void start_at(Server *server, enum Manner manner, const char *port)
{
	Socket_T listener = Socket_listen("127.0.0.1", port, 0);

	snprintf(server->port, sizeof server->port, "%d", Socket_port(listener));
	server->process = fork();
	if (server->process == 0)
		serve_clients(listener, manner);
	Socket_close(&listener);
}

static inline void start_server(Server *server, enum Manner manner)
{
	start_at(server, manner, "0");
}

static inline void stop_server(Server *server)
{
	kill(server->process, SIGKILL);
	waitpid(server->process, NULL, 0);
}

static inline Connection_T check_out(const Server *server)
{
	return SocketPool_checkout(pool, "127.0.0.1", server->port, 5000);
}

static inline void ck_echo(Connection_T c)
{
	char byte = 0;

	Socket_sendall(Connection_socket(c), "x", 1);
	ck_assert_uint_eq(Socket_recv(Connection_socket(c), &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
}

struct Waiting {
	const Server *server;
	pthread_t thread;
	int number, ms;
	int error; /* that of a checkout that failed */
};

static int order[64], norder; /* atomic */

static inline void *wait_for_one(void *cl)
{
	struct Waiting *w = cl;

	w->error = 0;
	TRY {
		Connection_T c = SocketPool_checkout(pool, "127.0.0.1", w->server->port, w->ms);

		order[__atomic_fetch_add(&norder, 1, __ATOMIC_ACQ_REL)] = w->number;
		if (w->number % 2)
			SocketPool_checkin(pool, c);
		else
			SocketPool_discard(pool, c);
	} EXCEPT(SocketPool_Failed) {
		w->error = Except_errno();
	} END_TRY;
	return NULL;
}

static inline void start_waiting(struct Waiting *w, int number, const Server *server, int ms)
{
	size_t before = pool_stats().waiting;

	w->server = server;
	w->number = number;
	w->ms = ms;
	ck_assert_int_eq(pthread_create(&w->thread, NULL, wait_for_one, w), 0);
	while (pool_stats().waiting == before)
		wait_ms(1);
}

#endif
