/* SPDX-License-Identifier: MIT */
/* A thread that makes calls is cancelled at each of its cancellation points in turn. No
 * connection stays checked out, and nothing leaks. */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cancelling.h"

NEEDS(.loopback = 1);

/* ---- a server of plain sockets ---- */

enum { UPLOAD = 4 << 20 };

static int listener;
static char service[16];

/* A POST ends with its last chunk, and another request with its head. */
static int ends_request(const char *bytes, size_t n)
{
	const char *end = strstr(bytes, "POST") ? "\r\n0\r\n\r\n" : "\r\n\r\n";
	size_t length = strlen(end);

	return n >= length && memcmp(bytes + n - length, end, length) == 0;
}

static void serve_clients(void)
{
	static const char answer[] =
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
	static char bytes[UPLOAD + 4096];
	int fd;

	while ((fd = __real_accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		size_t n = 0;
		ssize_t got;

		while ((got = __real_recv(fd, bytes + n, sizeof bytes - 1 - n, 0)) > 0) {
			n += (size_t)got;
			bytes[n] = '\0';
			if (ends_request(bytes, n)) {
				__real_send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
				n = 0;
			}
		}
		__real_close(fd);
	}
}

static pid_t start_server(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;
	pid_t server;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(listen(listener, 8), 0);
	getsockname(listener, (struct sockaddr *)&a, &n);
	snprintf(service, sizeof service, "%d", ntohs(a.sin_port));
	server = fork();
	ck_assert_int_ge(server, 0);
	if (server == 0) {
		serve_clients();
		_exit(0);
	}
	return server;
}

static void stop_server(pid_t server)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	__real_close(listener);
}

/* ---- the session ---- */

typedef struct Session {
	Arena_T arena, pool_arena; /* they outlive the thread */
	SocketPool_T pool;
	char *upload;
} Session;

static void call_whole(Session *s)
{
	HTTPCall_T call = HTTPCall_new(s->arena, "GET", "/");

	HTTPCall_run(call, s->pool, "127.0.0.1", service);
}

static void call_in_steps(Session *s)
{
	HTTPCall_T call = HTTPCall_new(s->arena, "POST", "/");
	char piece[3];

	HTTPCall_begin(call, s->pool, "127.0.0.1", service, -1);
	HTTPCall_send(call, "abc", 3);
	HTTPCall_send(call, s->upload, UPLOAD);
	HTTPCall_answer(call);
	while (HTTPCall_recv(call, piece, sizeof piece) > 0)
		;
}

static void call_twice(void *cl)
{
	Session *s = cl;

	call_whole(s);
	call_whole(s);
	call_in_steps(s);
}

static void look_after(void *cl, int cancelled)
{
	Session *s = cl;
	SocketPool_Stats stats;

	SocketPool_stats(s->pool, &stats);
	ck_assert_uint_eq(stats.checked_out, 0);
	if (!cancelled)
		ck_assert_uint_eq(stats.idle, 1);
	SocketPool_evict_idle(s->pool, 0);
	Arena_clear(s->arena);
	ck_assert_uint_eq(SocketPool_count(s->pool), 0);
}

SUITE("HTTPCall, cancelled");
CASE("points", .timeout = 240);

TEST(a_cancelled_call_gives_its_connection_back)
{
	pid_t process = start_server();
	Session s = { .arena = Arena_new(), .pool_arena = Arena_new(), .upload = calloc(1, UPLOAD) };

	s.pool = SocketPool_new(s.pool_arena, 2, 64);
	ck_assert_int_gt(cancel_everywhere(call_twice, look_after, &s), 10);
	Arena_dispose(&s.pool_arena);
	Arena_dispose(&s.arena);
	free(s.upload);
	stop_server(process);
}
