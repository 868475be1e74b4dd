/* SPDX-License-Identifier: MIT */
/* HTTPServer, to which up to three clients send at once, piece by piece. Each must get the answers
 * to what it sent alone, as HTTPRequest_parse reads that. Input: pieces, each a client (and
 * whether to wait for the server before it), a length, and as many bytes. */
#include "config.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <core/HTTPServer.h>

#include "fuzz.h"

enum { CLIENTS = 3, LONGEST = 8192, ANSWERS = 64 * 1024, PATIENCE_MS = 20000 };

typedef struct Client {
	char sent[LONGEST];
	size_t nsent;
	int fd;
	char answers[ANSWERS];
	size_t nanswers;
} Client;

static char address[64];
static Client clients[CLIENTS];

/* Returns the server's answer to a valid request. */
static const char *describe(HTTPRequest_T request)
{
	size_t n, i;
	const unsigned char *body = HTTPRequest_body(request, &n);
	unsigned long sum = 5381;

	for (i = 0; i < n; i++)
		sum = sum * 33 + body[i];
	return Arena_sprintf(HTTPRequest_arena(request), "%s %s?%s %zu %lx\n",
		HTTPRequest_method(request), HTTPRequest_path(request),
		HTTPRequest_query(request), n, sum);
}

static void answer(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const char *text = describe(request);

	(void)cl;
	HTTPResponse_write(response, text, strlen(text));
}

static void *serve(void *server)
{
	HTTPServer_run(server);
	return NULL;
}

static void start_server(void)
{
	HTTPServer_Options options = { .host = address, .threads = 1, .idle_ms = -1 };
	HTTPServer_T server;
	pthread_t thread;

	snprintf(address, sizeof address, "unix:@libcore-fuzz-%ld", (long)getpid());
	server = HTTPServer_new(Arena_new(), &options);
	HTTPServer_route(server, NULL, "/*rest", answer, NULL);
	require(pthread_create(&thread, NULL, serve, server) == 0);
	pthread_detach(thread);
}

static int connect_client(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *name = address + strlen("unix:@");
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(to.sun_path + 1, name, strlen(name));
	require(connect(fd, (struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))) == 0);
	return fd;
}

/* Receives what there is; waits for the end of the stream if all is set. */
static void receive(Client *c, int all)
{
	ssize_t n;

	do {
		struct pollfd p = { .fd = c->fd, .events = POLLIN };

		if (poll(&p, 1, all ? PATIENCE_MS : 0) == 0) {
			require(!all); /* the server neither answers nor closes */
			return;
		}
		n = recv(c->fd, c->answers + c->nanswers, ANSWERS - 1 - c->nanswers, 0);
		if (n > 0)
			c->nanswers += (size_t)n;
		require(c->nanswers < ANSWERS - 1);
	} while (n > 0 && all);
}

/* Takes the next answer, which must have the status and, if text is not NULL, this body. */
static const char *expect(const char *at, int status, const char *text, int head)
{
	const char *end, *length;
	size_t n = 0;

	while (strncmp(at, "HTTP/1.1 100 ", 13) == 0) {
		at = strstr(at, "\r\n\r\n");
		require(at);
		at += 4;
	}
	require(strncmp(at, "HTTP/1.1 ", 9) == 0 && atoi(at + 9) == status);
	end = strstr(at, "\r\n\r\n");
	require(end);
	length = strstr(at, "Content-Length: ");
	if (length && length < end)
		n = (size_t)atol(length + 16);
	end += 4;
	if (head || (!text && *end == '\0')) /* a HEAD may be refused in its body */
		return end;
	require(strlen(end) >= n);
	if (text)
		require(n == strlen(text) && memcmp(end, text, n) == 0);
	return end + n;
}

static void check_answers(Client *c)
{
	Arena_T arena = Arena_new();
	Socket_T volatile socket = NULL;
	const char *volatile at = c->answers;
	volatile int goes = 1;
	int ends[2];

	c->answers[c->nanswers] = '\0';
	require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	require(c->nsent == 0 || send(ends[1], c->sent, c->nsent, 0) == (ssize_t)c->nsent);
	shutdown(ends[1], SHUT_WR); /* open for 100 Continue */
	socket = Socket_adopt(ends[0]);
	while (goes)
		TRY {
			HTTPRequest_T request = HTTPRequest_parse(arena, socket);
			int head = strcmp(HTTPRequest_method(request), "HEAD") == 0;

			if (HTTPRequest_path(request)[0] != '/') { /* of OPTIONS or CONNECT: no handler runs */
				at = "";
				goes = 0;
			} else {
				at = expect(at, 200, describe(request), head);
				goes = HTTPRequest_keep_alive(request);
			}
		} EXCEPT(HTTP_Closed) {
			goes = 0;
		} EXCEPT(HTTP_Failed) {
			/* the server forgets empty lines that came earlier, so that it may take more of them */
			at = strstr(Except_message(), "empty lines") ? ""
				: expect(at, HTTP_status(Except_current()), NULL, 0);
			goes = 0;
		} END_TRY;
	require(*at == '\0');
	Socket_close((Socket_T *)&socket);
	close(ends[1]);
	Arena_dispose(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static int started;
	Input in = { data, data + n };
	int i;

	if (!started)
		start_server();
	started = 1;
	for (i = 0; i < CLIENTS; i++) {
		clients[i].fd = connect_client();
		clients[i].nsent = clients[i].nanswers = 0;
	}
	while (in.next < in.end) {
		unsigned which = take(&in), length = take(&in);
		Client *c = &clients[which % CLIENTS];

		if (length > (size_t)(in.end - in.next))
			length = (unsigned)(in.end - in.next);
		if (length > LONGEST - c->nsent)
			length = (unsigned)(LONGEST - c->nsent);
		memcpy(c->sent + c->nsent, in.next, length);
		if (send(c->fd, in.next, length, MSG_NOSIGNAL) != (ssize_t)length)
			break; /* the server has closed; what it did not read is not answered */
		c->nsent += length;
		in.next += length;
		if (which & 0x40)
			receive(c, 0);
	}
	for (i = 0; i < CLIENTS; i++) {
		shutdown(clients[i].fd, SHUT_WR);
		receive(&clients[i], 1);
		close(clients[i].fd);
		check_answers(&clients[i]);
	}
	return 0;
}
