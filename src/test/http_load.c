/* SPDX-License-Identifier: MIT */
/* http_load port raw: sends standard input unchanged and prints the answer.
 * http_load port hold connections: gets a reply on each connection and keeps them open until the
 * end of standard input.
 * http_load port connections requests: opens all connections at once, sends every request of a
 * round before it reads the first reply, and checks each reply byte by byte.
 *
 * It uses plain sockets and nothing of libcore, so that the two cannot be wrong in the same way. */
#define _DEFAULT_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static void exit_because(const char *what)
{
	fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int open_connection(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	struct timeval wait = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		exit_because("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		exit_because("connect");
	return fd;
}

static int make_body(char *body, int connection, int round)
{
	return sprintf(body, "connection %d round %d %.*s", connection, round, connection % 60,
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghij");
}

static void send_request(int fd, int connection, int round)
{
	char body[128], request[512];
	int n = make_body(body, connection, round);

	n = sprintf(request, "POST /echo HTTP/1.1\r\nHost: load\r\nContent-Length: %d\r\n\r\n%s", n,
		body);
	if (write(fd, request, (size_t)n) != n)
		exit_because("write");
}

/* Returns 1 if the reply belongs to the request. */
static int check_reply(int fd, int connection, int round)
{
	char want[128], reply[2048], *body;
	size_t got = 0;
	int length = make_body(want, connection, round);

	for (;;) {
		ssize_t n = read(fd, reply + got, sizeof reply - 1 - got);

		if (n <= 0)
			return 0;
		got += (size_t)n;
		reply[got] = '\0';
		body = strstr(reply, "\r\n\r\n");
		if (body && got - (size_t)(body + 4 - reply) >= (size_t)length)
			break;
	}
	return strncmp(reply, "HTTP/1.1 200 ", 13) == 0
		&& got == (size_t)(body + 4 - reply) + (size_t)length
		&& memcmp(body + 4, want, (size_t)length) == 0;
}

static int send_input(int port)
{
	char buffer[4096];
	ssize_t n;
	int fd = open_connection(port);

	while ((n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0)
		if (write(fd, buffer, (size_t)n) != n)
			exit_because("write");
	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		fwrite(buffer, 1, (size_t)n, stdout);
	close(fd);
	return n < 0;
}

static int hold_connections(int port, int connections)
{
	int i;

	for (i = 0; i < connections; i++) {
		int fd = open_connection(port);

		send_request(fd, i, 0);
		if (!check_reply(fd, i, 0))
			exit_because("reply");
	}
	printf("%d connections\n", connections);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	int port = argc > 3 ? atoi(argv[1]) : 0, n = argc > 3 ? atoi(argv[2]) : 0,
		rounds = argc > 3 ? atoi(argv[3]) : 0;
	int i, round, right = 0, *fds;

	allow_descriptors();
	if (argc == 3 && strcmp(argv[2], "raw") == 0)
		return send_input(atoi(argv[1]));
	if (argc == 4 && strcmp(argv[2], "hold") == 0)
		return hold_connections(port, rounds);
	if (port <= 0 || n <= 0 || rounds <= 0) {
		fprintf(stderr,
			"usage: http_load port raw | port hold connections | port connections requests\n");
		return 2;
	}
	fds = calloc((size_t)n, sizeof *fds);
	if (!fds)
		exit_because("calloc");
	for (i = 0; i < n; i++)
		fds[i] = open_connection(port);
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < n; i++)
			send_request(fds[i], i, round);
		for (i = 0; i < n; i++)
			right += check_reply(fds[i], i, round);
	}
	for (i = 0; i < n; i++)
		close(fds[i]);
	free(fds);
	printf("%d connections at once, %d requests, %d right\n", n, n * rounds, right);
	return right != n * rounds;
}
