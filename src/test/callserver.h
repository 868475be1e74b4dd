/* SPDX-License-Identifier: MIT */
/* For the tests of HTTPCall: a server of plain sockets that reads requests and answers as the
 * test's script says, a pool, and calls to that server. The server uses nothing of libcore, so
 * that the two cannot be wrong in the same way. */
#ifndef CALLSERVER_INCLUDED
#define CALLSERVER_INCLUDED
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <core/core.h>
#include "testing.h"

NEEDS(.loopback = 1);

/* ---- the server: one thread, one connection after the other ---- */

enum { HEARD = 1 << 20, EXCHANGES = 64 };

typedef struct Exchange {
	const char
		*until; /* it reads until this text; NULL: nothing; "": to the end of the stream */
	const char *answer;  /* NULL if the server sends none */
	size_t length;       /* the answer's length, if it has NULs */
	int drip_ms;         /* between two bytes of the answer */
	int wait_ms;         /* before the answer */
	int closes;          /* after the answer */
	int resets;
} Exchange;

static struct Server {
	int listener, port;
	pthread_t thread;
	Exchange script[EXCHANGES];
	int exchanges;
	atomic_int connections, said,
		left; /* connections accepted, answers sent, connections closed */
	char heard[HEARD];   /* all that was received, on all connections; at most the last of it */
	size_t nheard;
	char path[64];
} server;

static void sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads as the exchange says. Returns 0 if the client has left. */
static int read_request(int fd, const Exchange *e)
{
	size_t from = server.nheard;

	while (e->until
		&& (*e->until == '\0'
			|| !memmem(server.heard + from, server.nheard - from, e->until, strlen(e->until)))) {
		ssize_t n;

		if (server.nheard == HEARD) {
			memmove(server.heard, server.heard + HEARD - 4096, 4096);
			server.nheard = 4096;
			from = 0;
		}
		n = recv(fd, server.heard + server.nheard, HEARD - server.nheard, 0);
		if (n <= 0)
			return *e->until == '\0';
		server.nheard += (size_t)n;
	}
	return 1;
}

static void send_answer(int fd, const Exchange *e)
{
	size_t n = e->length ? e->length
		: e->answer      ? strlen(e->answer)
						 : 0,
		   i, step = e->drip_ms ? 1 : n;

	sleep_ms(e->wait_ms);
	for (i = 0; i < n; i += step) {
		if (send(fd, e->answer + i, step, MSG_NOSIGNAL) < 0)
			return;
		sleep_ms(e->drip_ms);
	}
}

static void *serve_script(void *unused)
{
	int next = 0;

	(void)unused;
	while (next < server.exchanges) {
		int fd = accept(server.listener, NULL, NULL), goes_on = 1;

		if (fd < 0)
			break;
		server.connections++;
		while (goes_on && next < server.exchanges) {
			const Exchange *e = &server.script[next];

			if (!read_request(fd, e))
				break;
			next++;
			send_answer(fd, e);
			server.said++;
			goes_on = !e->closes && !e->resets;
			if (e->resets)
				setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
					sizeof(struct linger));
		}
		if (goes_on && next == server.exchanges) { /* it waits for the client to leave */
			struct pollfd p = { fd, POLLIN, 0 };

			poll(&p, 1, 3000);
		}
		close(fd);
		server.left++;
	}
	return NULL;
}

static void await_count(atomic_int *count, int n)
{
	while (*count < n)
		sleep_ms(1);
}

static Arena_T arena, pool_arena;
static SocketPool_T pool;
static char service[16];

static void start_server(const Exchange *script, int n)
{
	memcpy(server.script, script, (size_t)n * sizeof *script);
	server.exchanges = n;
	server.connections = server.said = server.left = 0;
	server.nheard = 0;
	memset(server.heard, 0, 4096);
	ck_assert_int_eq(pthread_create(&server.thread, NULL, serve_script, NULL), 0);
}

#define SERVE(...)                                                                                \
	start_server((const Exchange[]){ __VA_ARGS__ },                                               \
		sizeof((const Exchange[]){ __VA_ARGS__ }) / sizeof(Exchange))

static void open_listener(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(server.listener, (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(listen(server.listener, 8), 0);
	getsockname(server.listener, (struct sockaddr *)&a, &n);
	server.port = ntohs(a.sin_port);
	snprintf(service, sizeof service, "%d", server.port);
}

static void set_up(void)
{
	open_listener();
	arena = Arena_new();
	pool_arena = Arena_new();
	pool = SocketPool_new(pool_arena, 4, 1024);
}

/* Closes all connections and the listener, which ends the server's thread. */
static void tear_down(void)
{
	Arena_dispose(&pool_arena);
	shutdown(server.listener, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	Arena_dispose(&arena);
	close(server.listener);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static HTTPCall_T call_of(const char *method, const char *target)
{
	HTTPCall_T call = HTTPCall_new(arena, method, target);

	HTTPCall_timeout(call, 5000);
	return call;
}

static void run_call(HTTPCall_T call)
{
	HTTPCall_run(call, pool, "127.0.0.1", service);
}

static void check_body(HTTPCall_T call, const char *expected)
{
	size_t n;
	const char *body = HTTPCall_body(call, &n);

	ck_assert_str_eq(body, expected);
	ck_assert_uint_eq(n, strlen(expected));
}

static size_t count_checked_out(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s.checked_out;
}

static size_t count_idle(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s.idle;
}

static void await_readable(Connection_T c, void *cl)
{
	struct pollfd p = { Socket_fd(Connection_socket(c)), POLLIN, 0 };

	(void)cl;
	ck_assert_int_eq(poll(&p, 1, 10000), 1);
}

/* Waits until the end of the stream has arrived: the server's close may return before that. */
static inline void await_end_of_connection(void)
{
	await_count(&server.left, 1);
	SocketPool_map(pool, await_readable, NULL);
}

#define END "\r\n\r\n"
#define OK(body, length) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n" body

#endif
