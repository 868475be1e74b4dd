/* SPDX-License-Identifier: MIT */
/* Answers that come later. The first rows compare a request whose handler suspends its response,
 * which another thread resumes, with one whose handler runs in a worker. The others compare an
 * event to each of 1,000 subscribers, whose streams are suspended between two events, with bare
 * sends of the same bytes. Clients are separate processes, so that the CPU time of this process is
 * the server's. */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <core/core.h>
#include "bench.h"

enum { CLIENTS = 64, SUBSCRIBERS = 1000 };
#define PART "21\r\ndata: the price is 12.34 today\n\n\r\n"
#define EVENT "data: the price is 12.34 today\n\n"

static HTTPServer_T server;
static int port;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int connect_client(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

/* ---- requests ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static HTTPResponse_T queue[CLIENTS];
static size_t first, nqueued;

static void answer_now(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request, (void)cl;
	HTTPResponse_set(response, "Content-Type", "text/plain");
	HTTPResponse_write(response, "Hello, world!", 13);
}

/* Queues the response as a worker would: first in, first out, under a lock. */
static void answer_later(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request, (void)cl;
	HTTPResponse_suspend(response, 0);
	pthread_mutex_lock(&lock);
	queue[(first + nqueued++) % CLIENTS] = response;
	pthread_cond_signal(&filled);
	pthread_mutex_unlock(&lock);
}

static void *answer_all(void *cl)
{
	for (;;) {
		HTTPResponse_T response;

		pthread_mutex_lock(&lock);
		while (nqueued == 0)
			pthread_cond_wait(&filled, &lock);
		response = queue[first];
		first = (first + 1) % CLIENTS;
		nqueued--;
		pthread_mutex_unlock(&lock);
		answer_now(NULL, response, NULL);
		HTTPResponse_resume(response);
	}
	return cl;
}

static int clients[CLIENTS];

/* Sends n requests, one at a time on each connection. */
static void request_pages(void *path, size_t n)
{
	char request[80], answer[1024];
	size_t i, length = (size_t)sprintf(request, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n",
		(const char *)path);

	for (i = 0; i < n + CLIENTS; i++) {
		if (i >= CLIENTS && recv(clients[i % CLIENTS], answer, sizeof answer, 0) <= 0)
			die("recv");
		if (i < n && send(clients[i % CLIENTS], request, length, MSG_NOSIGNAL) != (ssize_t)length)
			die("send");
	}
}

/* ---- events ---- */

static HTTPResponse_T subscribers[SUBSCRIBERS];
static int nsubscribers, sockets[SUBSCRIBERS];
static sem_t all_wait;

/* Without a lock, because the server has one loop. */
static int send_event(HTTPResponse_T response, void *cl)
{
	int *is_open = cl;

	if (*is_open)
		HTTPResponse_write(response, EVENT, sizeof EVENT - 1);
	*is_open = 1;
	HTTPResponse_suspend(response, -1);
	subscribers[nsubscribers++] = response;
	if (nsubscribers == SUBSCRIBERS)
		sem_post(&all_wait);
	return 1;
}

static void open_stream(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_stream(response, send_event,
		Arena_calloc(HTTPRequest_arena(request), 1, sizeof(int)));
}

static double cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double send_events(void *cl)
{
	double before = cpu_now();
	int i, round;

	(void)cl;
	for (round = 0; round < 10; round++)
		for (i = 0; i < SUBSCRIBERS; i++)
			if (send(sockets[i], PART, sizeof PART - 1, MSG_NOSIGNAL) != sizeof PART - 1)
				die("send");
	return (cpu_now() - before) / 10 / SUBSCRIBERS;
}

static double publish_events(void *cl)
{
	static HTTPResponse_T all[SUBSCRIBERS];
	double before = cpu_now();
	int i, round;

	(void)cl;
	for (round = 0; round < 10; round++) {
		while (sem_wait(&all_wait) != 0)
			;
		memcpy(all, subscribers, sizeof all);
		nsubscribers = 0;
		for (i = 0; i < SUBSCRIBERS; i++)
			HTTPResponse_resume(all[i]);
	}
	while (sem_wait(&all_wait) != 0)
		;
	sem_post(&all_wait);
	return (cpu_now() - before) / 10 / SUBSCRIBERS;
}

/* Reads all that comes, for as long as the parent lives. */
static void be_subscribers(int plain_port)
{
	static const char request[] = "GET /events HTTP/1.1\r\nHost: bench\r\n\r\n";
	struct epoll_event events[64];
	char buffer[65536];
	int poll = epoll_create1(0), i, n, http_port = port;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < 2 * SUBSCRIBERS; i++) {
		struct epoll_event e = { EPOLLIN, { .fd = -1 } };

		port = i % 2 ? http_port : plain_port;
		e.data.fd = connect_client();
		if (i % 2 && send(e.data.fd, request, sizeof request - 1, 0) < 0)
			die("send");
		epoll_ctl(poll, EPOLL_CTL_ADD, e.data.fd, &e);
	}
	while ((n = epoll_wait(poll, events, 64, -1)) >= 0)
		for (i = 0; i < n; i++)
			if (recv(events[i].data.fd, buffer, sizeof buffer, 0) <= 0)
				_exit(0);
	_exit(0);
}

static void accept_subscribers(int listener)
{
	int on = 1, i;

	for (i = 0; i < SUBSCRIBERS; i++) {
		if ((sockets[i] = accept(listener, NULL, NULL)) < 0)
			die("accept");
		setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	}
}

/* ---- the server ---- */

static void *run_server(void *cl)
{
	HTTPServer_run(server);
	return cl;
}

static void start_server(Arena_T arena)
{
	pthread_t thread;

	server = HTTPServer_new(arena, &(HTTPServer_Options){
		.host = "127.0.0.1", .service = "0", .threads = 1, .workers = 1
	});
	port = HTTPServer_port(server);
	HTTPServer_route(server, "GET", "/later", answer_later, NULL);
	HTTPServer_route(server, "GET", "/events", open_stream, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){
		.method = "GET", .pattern = "/worker", .handler = answer_now, .blocks = 1
	});
	if (pthread_create(&thread, NULL, run_server, NULL) != 0
			|| pthread_create(&thread, NULL, answer_all, NULL) != 0)
		die("pthread_create");
}

static void start_subscribers(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 4096) != 0)
		die("listen");
	getsockname(listener, (struct sockaddr *)&a, &n);
	sem_init(&all_wait, 0, 0);
	if (fork() == 0)
		be_subscribers(ntohs(a.sin_port));
	accept_subscribers(listener);
}

int main(int argc, char *argv[])
{
	struct rlimit limit;
	int i;

	bench_start("httplater", &argc, argv);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	start_server(Arena_new());
	start_subscribers();
	for (i = 0; i < CLIENTS; i++)
		clients[i] = connect_client();
	bench_add(&(Bench_Case){ .workload = "a request, 64 connections",
		.name = "in a worker", .run = request_pages, .cl = "/worker", .n = 4096 });
	bench_add(&(Bench_Case){ .workload = "a request, 64 connections",
		.name = "suspended, resumed by another thread", .run = request_pages,
		.cl = "/later", .n = 4096, .goal = 1.5 });
	bench_add(&(Bench_Case){ .workload = "CPU of an event to one of 1000 subscribers",
		.name = "bare sends", .value = send_events, .unit = "ns" });
	bench_add(&(Bench_Case){ .workload = "CPU of an event to one of 1000 subscribers",
		.name = "suspended streams", .value = publish_events, .unit = "ns", .goal = 1.5 });
	bench_run();
	return bench_end();
}
