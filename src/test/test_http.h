/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_http: the server's end is a Socket_T and the client's end a bare
 * descriptor, over a socketpair or loopback TCP. */
#ifndef TEST_HTTP_INCLUDED
#define TEST_HTTP_INCLUDED
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "testing.h"
#include <core/HTTP.h>
#include "http_cases.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static Arena_T arena;
static Socket_T server;
static int client;
static size_t live_before;
static int descriptor_before;
static char reply[1 << 16];
static size_t heard; /* how many bytes it has */

static inline int next_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static inline void open_pair(void)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	client = fds[1];
	server = Socket_adopt(fds[0]);
}

static inline void close_pair(void)
{
	Socket_close(&server);
	if (client >= 0)
		close(client);
}

static inline void set_up_pair(void)
{
	descriptor_before = next_descriptor();
	live_before = Arena_debug_live_count();
	arena = Arena_new();
	open_pair();
}

static inline void tear_down_pair(void)
{
	close_pair();
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), live_before);
	ck_assert_int_eq(next_descriptor(), descriptor_before);
}

static inline void send_bytes(const char *bytes, size_t n)
{
	ck_assert_int_eq(send(client, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

static inline void send_text(const char *text)
{
	send_bytes(text, strlen(text));
}

/* Returns what has arrived, without waiting; "" if nothing has. */
static inline const char *read_reply(void)
{
	ssize_t got;

	heard = 0;
	while (heard < sizeof reply - 1
		&& (got = recv(client, reply + heard, sizeof reply - 1 - heard, MSG_DONTWAIT)) > 0)
		heard += (size_t)got;
	reply[heard] = '\0';
	return reply;
}

/* Ends the client's sending, so that a linger need not wait for more. */
static inline void end_sending(void)
{
	shutdown(client, SHUT_WR);
}

static inline int at_end(void)
{
	char c;

	return recv(client, &c, 1, MSG_DONTWAIT) == 0;
}

static inline HTTPRequest_T parse_request(void)
{
	return HTTPRequest_parse(arena, server);
}

static inline HTTPRequest_T parse_saying(const char *text)
{
	send_text(text);
	return parse_request();
}

static inline void send_answer(const char *body)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	HTTPResponse_write(response, body, strlen(body));
	HTTPResponse_send(server, response);
}

/* Returns the exception that parse_request raises, or NULL. It is volatile: set inside TRY and read
 * after it. */
static inline const Except_T *parse_raises(const HTTP_Limits *limits)
{
	const Except_T *volatile raised = NULL;

	TRY {
		HTTPRequest_parse_with(arena, server, limits);
	} ELSE {
		raised = Except_current();
	} END_TRY;
	return raised;
}

static inline int reply_has(const char *text)
{
	return strstr(reply, text) != NULL;
}

typedef struct Writer {
	pthread_t thread;
	int fd;
	const char *bytes;
	size_t n, step; /* step bytes are sent at a time */
	int hushes;     /* it ends the sending afterwards */
} Writer;

static inline void *write_all(void *cl)
{
	Writer *w = cl;
	size_t at = 0;

	while (at < w->n) {
		size_t n = w->step < w->n - at ? w->step : w->n - at;
		ssize_t sent = send(w->fd, w->bytes + at, n, MSG_NOSIGNAL);

		if (sent <= 0)
			break;
		at += (size_t)sent;
	}
	if (w->hushes)
		shutdown(w->fd, SHUT_WR);
	return NULL;
}

static inline void start_writer(Writer *w, const char *bytes, size_t n, size_t step)
{
	w->fd = client;
	w->bytes = bytes;
	w->n = n;
	w->step = step;
	ck_assert_int_eq(pthread_create(&w->thread, NULL, write_all, w), 0);
}

static inline void join_writer(Writer *w)
{
	pthread_join(w->thread, NULL);
}

static inline void use_tcp(void)
{
	Socket_T listener = Socket_listen("127.0.0.1", "0", 0);
	struct sockaddr_in to = { .sin_family = AF_INET };

	close_pair();
	to.sin_port = htons((unsigned short)Socket_port(listener));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&to, sizeof to), 0);
	server = Socket_accept(listener);
	Socket_close(&listener);
}

static const char whole_request[] = POST "Host: a\r\nX: y\r\nX: z\r\n" TE
	"\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n";
static const char whole_request_by_length[] = POST "Host: a\r\nContent-Length: 5\r\n\r\nhello";

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"

#endif
