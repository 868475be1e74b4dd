/* SPDX-License-Identifier: MIT */
/* A server in a thread of the test, and clients of plain sockets. The clients use nothing of
 * libcore, so that the two cannot be wrong in the same way. */
#ifndef HTTPCLIENT_INCLUDED
#define HTTPCLIENT_INCLUDED
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <core/HTTPServer.h>
#include "testing.h"

NEEDS(.loopback = 1);

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static Arena_T arena;
static HTTPServer_T server;
static pthread_t server_thread;
static int port;
static atomic_int run_failed;

static inline void *run_server(void *unused)
{
	(void)unused;
	TRY {
		HTTPServer_run(server);
	} ELSE {
		fprintf(stderr, "run: %s\n", Except_message());
		run_failed = 1;
	} END_TRY;
	return NULL;
}

/* Makes the server. Options that are 0 get the defaults of the tests. */
static inline void make_server(HTTPServer_Options options)
{
	arena = Arena_new();
	if (!options.service)
		options.service = "0";
	if (!options.host)
		options.host = "127.0.0.1";
	if (!options.threads)
		options.threads = 1;
	server = HTTPServer_new(arena, &options);
	port = HTTPServer_port(server);
}

static inline void launch_server(void)
{
	ck_assert_int_eq(pthread_create(&server_thread, NULL, run_server, NULL), 0);
}

static inline void join_server(void)
{
	pthread_join(server_thread, NULL);
	ck_assert(!run_failed);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static inline void end_server(void)
{
	HTTPServer_stop(server);
	join_server();
}

/* Returns -1 and sets errno if the connection fails. */
static inline int try_to_dial(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static inline int dial_server(void)
{
	int fd = try_to_dial();

	ck_assert_msg(fd >= 0, "connect: %s", strerror(errno));
	return fd;
}

static inline void send_bytes(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

		ck_assert_msg(sent > 0, "send: %s", strerror(errno));
		bytes += sent;
		n -= (size_t)sent;
	}
}

static inline void send_text(int fd, const char *text)
{
	send_bytes(fd, text, strlen(text));
}

enum { HEARD = 1 << 20, PATIENCE = 30000 };
static char heard[HEARD + 1]; /* what the functions below have read */
static size_t nheard;

/* Reads what arrives within ms. Returns the number of bytes, 0 at the end of the stream, -1
 * after a reset, or -2 if nothing came. */
static inline ssize_t read_within(int fd, char *into, size_t n, int ms)
{
	struct pollfd p = { fd, POLLIN, 0 };

	if (poll(&p, 1, ms) == 0)
		return -2;
	return recv(fd, into, n, 0);
}

/* Reads one response into heard and nothing behind it: the head, and as many bytes of a body as
 * Content-Length says (without it: none). Returns the status. */
static inline int read_one_response(int fd, int has_body)
{
	const char *length;
	size_t want = 0;

	nheard = 0;
	while (nheard < 4 || memcmp(heard + nheard - 4, "\r\n\r\n", 4) != 0) {
		ssize_t n = nheard < HEARD ? read_within(fd, heard + nheard, 1, PATIENCE) : 0;

		ck_assert_msg(n == 1, "the response ends after %zu bytes (%zd): %.*s", nheard, n,
			(int)nheard, heard);
		nheard++;
	}
	heard[nheard] = '\0';
	length = strstr(heard, "Content-Length: ");
	if (has_body && length)
		want = strtoul(length + 16, NULL, 10);
	while (want > 0) {
		ssize_t n = read_within(fd, heard + nheard, want, PATIENCE);

		ck_assert_msg(n > 0, "%zu bytes of the body are missing", want);
		nheard += (size_t)n;
		want -= (size_t)n;
	}
	heard[nheard] = '\0';
	return atoi(heard + 9);
}

static inline int read_response(int fd)
{
	return read_one_response(fd, 1);
}

/* Reads until the connection ends. Returns 1 if its end was orderly. */
static inline int read_to_end(int fd)
{
	ssize_t n;

	for (nheard = 0; nheard < HEARD; nheard += (size_t)n)
		if ((n = read_within(fd, heard + nheard, HEARD - nheard, PATIENCE)) <= 0)
			break;
	heard[nheard] = '\0';
	ck_assert_msg(nheard == HEARD || n != -2, "the connection does not end");
	return n == 0;
}

static inline int response_has(const char *text)
{
	return strstr(heard, text) != NULL;
}

static inline const char *response_body(void)
{
	const char *end = strstr(heard, "\r\n\r\n");

	return end ? end + 4 : "";
}

static inline int count_in_response(const char *text)
{
	const char *s;
	int n = 0;

	for (s = heard; (s = strstr(s, text)) != NULL; s += strlen(text))
		n++;
	return n;
}

/* Makes one request on a connection of its own. Returns the status. */
static inline int ask_server(const char *request)
{
	int fd = dial_server(), status;

	send_text(fd, request);
	status = read_one_response(fd, strncmp(request, "HEAD", 4) != 0);
	close(fd);
	return status;
}

static inline void sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

static inline int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits until the condition is true, at most ten seconds. */
#define await(condition)                                                             \
	do {                                                                         \
		int64_t await_end_ = clock_ms() + 10000;                             \
		while (!(condition)) {                                               \
			ck_assert_msg(clock_ms() < await_end_, "not so after ten seconds: " #condition); \
			sleep_ms(2);                                                      \
		}                                                                    \
	} while (0)

static inline HTTPServer_Stats stats_now(void)
{
	HTTPServer_Stats s;

	HTTPServer_stats(server, &s);
	return s;
}

#endif
