/* SPDX-License-Identifier: MIT */
/* request-server [port]: an HTTP server in the way of the arena patterns: every connection in one
 * SocketPool, every request in an arena of its own that FINALLY disposes of, every error an exception.
 *
 *   GET /          a page                    GET /stats    requests, live arenas, bytes held, as JSON
 *   GET /headers   what the client sent      POST /echo    the body back
 *
 * The main thread waits for connections that have something to say and hands them to workers; a worker
 * answers what is there and hands the connection back. SIGTERM or SIGINT: no new connections, the
* requests at hand are answered, then everything is disposed of and the exit status is 0. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <core/core.h>

enum { MAX_CONNECTIONS = 4096, WORKERS = 16, IDLE_MS = 15000, REPLY_MS = 10000, TICK_MS = 1000 };

static const HTTP_Limits limits = { .head_ms = 5000, .body_ms = 20000 };

static Arena_T server_arena;
static SocketPool_T pool;
static atomic_ulong requests;
static int wake[2]; /* connections on their way back to the main thread; NULL: stop */

/* ---- answers ---- */

static void page(HTTPRequest_T request, HTTPResponse_T response)
{
	(void)request;
	HTTPResponse_set(response, "Content-Type", "text/html; charset=utf-8");
	HTTPResponse_printf(response, "<!DOCTYPE html>\n<title>libcore</title>\n<h1>It works</h1>\n"
		"<p>Request %lu, answered from an arena of its own. <a href=\"/stats\">Statistics</a></p>\n",
		atomic_load(&requests));
}

static void stats(HTTPRequest_T request, HTTPResponse_T response)
{
	size_t held = Arena_capacity(server_arena) + Arena_capacity(HTTPRequest_arena(request));

	HTTPResponse_set(response, "Content-Type", "application/json");
	HTTPResponse_printf(response, "{\"requests\": %lu, \"live_arenas\": %zu, \"bytes_held\": %zu, \"connections\": %zu}\n",
		atomic_load(&requests), Arena_debug_live_count(), held, SocketPool_count(pool));
}

static void headers(HTTPRequest_T request, HTTPResponse_T response)
{
	HashTable_Iter iter;

	HTTPResponse_set(response, "Content-Type", "text/plain; charset=utf-8");
	HashTable_iterate(HTTPRequest_headers(request), &iter);
	while (HashTable_next(&iter))
		HTTPResponse_printf(response, "%s: %s\n", (const char *)iter.key, (const char *)iter.value);
}

static void echo(HTTPRequest_T request, HTTPResponse_T response)
{
	const char *type = HTTPRequest_header(request, "Content-Type");
	size_t n;
	const void *body = HTTPRequest_body(request, &n);

	HTTPResponse_set(response, "Content-Type", type ? type : "application/octet-stream");
	HTTPResponse_write(response, body, n);
}

static void refuse(HTTPResponse_T response, int status, const char *why)
{
	HTTPResponse_status(response, status);
	HTTPResponse_set(response, "Content-Type", "text/plain; charset=utf-8");
	HTTPResponse_printf(response, "%d %s: %s\n", status, HTTP_reason(status), why);
}

static const struct {
	const char *path, *method; /* HEAD goes where GET goes */
	void (*answer)(HTTPRequest_T, HTTPResponse_T);
} routes[] = {
	{ "/",        "GET",  page },
	{ "/stats",   "GET",  stats },
	{ "/headers", "GET",  headers },
	{ "/echo",    "POST", echo },
};

static HTTPResponse_T process_request(Arena_T arena, HTTPRequest_T request)
{
	HTTPResponse_T response = HTTPResponse_new(arena);
	const char *method = HTTPRequest_method(request);
	size_t i;

	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strcmp(routes[i].path, HTTPRequest_path(request)) != 0)
			continue;
		if (strcmp(routes[i].method, method) == 0)
			routes[i].answer(request, response);
		else {
			HTTPResponse_set(response, "Allow", strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
			refuse(response, 405, HTTPRequest_method(request));
		}
		return response;
	}
	refuse(response, 404, HTTPRequest_target(request));
	return response;
}

/* ---- one request, in its own arena ---- */

static void send_failure(Arena_T arena, Socket_T client)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	HTTPResponse_set(response, "Connection", "close");
	refuse(response, HTTP_status(Except_current()), Except_message());
	HTTPResponse_send(client, response);
}

/* 1 if the connection may carry another request */
static int handle_request(Socket_T client)
{
	volatile int again = 0;
	Arena_T arena = Arena_new();

	TRY {
		HTTPRequest_T request = HTTPRequest_parse_with(arena, client, &limits);

		atomic_fetch_add(&requests, 1);
		HTTPResponse_send(client, process_request(arena, request));
		again = HTTPRequest_keep_alive(request);
	} EXCEPT(HTTP_Closed) {
		again = 0;
	} EXCEPT(Socket_Failed) { /* the peer has gone: nobody to tell */
		again = 0;
	} ELSE {
		send_failure(arena, client);
		again = 0;
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	return again;
}

static int serve(Socket_T client)
{
	volatile int open = 1;

	TRY {
		do
			open = handle_request(client);
		while (open && Socket_pending(client) > 0);
	} ELSE { /* not even the failure could be sent */
		open = 0;
	} END_TRY;
	return open;
}

/* ---- workers ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	Socket_T ready[MAX_CONNECTIONS];
	size_t first, length;
	int stopping;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER };

static void put_ready(Socket_T client)
{
	pthread_mutex_lock(&queue.lock);
	queue.ready[(queue.first + queue.length++) % MAX_CONNECTIONS] = client; /* never more than the pool holds */
	pthread_cond_signal(&queue.filled);
	pthread_mutex_unlock(&queue.lock);
}

static Socket_T take_ready(void)
{
	Socket_T client = NULL;

	pthread_mutex_lock(&queue.lock);
	while (queue.length == 0 && !queue.stopping)
		pthread_cond_wait(&queue.filled, &queue.lock);
	if (queue.length > 0) {
		client = queue.ready[queue.first];
		queue.first = (queue.first + 1) % MAX_CONNECTIONS;
		queue.length--;
	}
	pthread_mutex_unlock(&queue.lock);
	return client;
}

static int stopping(void)
{
	int s;

	pthread_mutex_lock(&queue.lock);
	s = queue.stopping;
	pthread_mutex_unlock(&queue.lock);
	return s;
}

static void hand_back(Socket_T client)
{
	while (write(wake[1], &client, sizeof client) < 0 && errno == EINTR)
		;
}

static void *worker(void *unused)
{
	Socket_T client;

	(void)unused;
	while ((client = take_ready()) != NULL)
		if (serve(client) && !stopping())
			hand_back(client);
		else
			SocketPool_close(pool, &client);
	return NULL;
}

/* ---- the main thread: connections that wait ---- */

static struct pollfd watched[MAX_CONNECTIONS + 2]; /* the wake pipe, the listener, then waiting[] */
static Socket_T waiting[MAX_CONNECTIONS];
static nfds_t nwaiting;

static void watch(Socket_T client)
{
	watched[nwaiting + 2] = (struct pollfd){ .fd = Socket_fd(client), .events = POLLIN };
	waiting[nwaiting++] = client;
}

static Socket_T unwatch(nfds_t i)
{
	Socket_T client = waiting[i];

	nwaiting--;
	waiting[i] = waiting[nwaiting];
	watched[i + 2] = watched[nwaiting + 2];
	return client;
}

static void welcome(Socket_T client)
{
	Socket_set_timeout(client, REPLY_MS);
	if (SocketPool_add(pool, client))
		watch(client);
	else
		Socket_close(&client); /* full: better a clear end now than a place in no queue */
}

/* Accepts what waits. Out of descriptors: 0, to look away from the listener until the next tick. */
static int accept_clients(Socket_T listener)
{
	volatile int fine = 1;

	TRY {
		Socket_T client;

		while ((client = Socket_accept(listener)) != NULL)
			welcome(client);
	} ELSE {
		fprintf(stderr, "request-server: %s\n", Except_message());
		fine = 0;
	} END_TRY;
	return fine;
}

/* The connections that workers hand back; 0 at the request to stop. */
static int take_back(void)
{
	Socket_T clients[64];
	ssize_t n = read(wake[0], clients, sizeof clients), i;
	int go_on = 1;

	for (i = 0; i < n / (ssize_t)sizeof clients[0]; i++)
		if (!clients[i])
			go_on = 0;
		else
			watch(clients[i]);
	return go_on;
}

static void close_idle(int idle_ms)
{
	nfds_t i = 0;

	while (i < nwaiting)
		if (Connection_idle_ms(SocketPool_get(pool, waiting[i])) >= idle_ms) {
			Socket_T client = unwatch(i);

			SocketPool_close(pool, &client);
		} else
			i++;
}

static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void run(Socket_T listener)
{
	time_t tick = seconds();
	nfds_t i;

	watched[0] = (struct pollfd){ .fd = wake[0], .events = POLLIN };
	watched[1] = (struct pollfd){ .fd = Socket_fd(listener), .events = POLLIN };
	for (;;) {
		if (poll(watched, nwaiting + 2, TICK_MS) < 0 && errno != EINTR)
			break;
		for (i = nwaiting; i-- > 0; )
			if (watched[i + 2].revents)
				put_ready(unwatch(i));
		if (watched[1].revents && !accept_clients(listener))
			watched[1].fd = -1;
		if (watched[0].revents && !take_back())
			break;
		if (seconds() != tick) {
			tick = seconds();
			watched[1].fd = Socket_fd(listener);
			close_idle(IDLE_MS);
		}
	}
}

/* ---- start and end ---- */

static void on_signal(int signal)
{
	Socket_T none = NULL;
	int error = errno;

	(void)signal;
	if (write(wake[1], &none, sizeof none) < 0)
		_exit(EXIT_FAILURE);
	errno = error;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	if (pipe(wake) != 0 || fcntl(wake[0], F_SETFL, O_NONBLOCK) != 0) {
		perror("request-server: pipe");
		exit(EXIT_FAILURE);
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

/* A connection is a descriptor: as many as the system lets us have. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void stop_workers(pthread_t *threads, int n)
{
	pthread_mutex_lock(&queue.lock);
	queue.stopping = 1;
	pthread_cond_broadcast(&queue.filled);
	pthread_mutex_unlock(&queue.lock);
	while (n > 0)
		pthread_join(threads[--n], NULL);
}

static void serve_on(const char *port)
{
	AUTO(Socket_T, listener, Socket_close) = Socket_listen(NULL, port, 0);
	pthread_t threads[WORKERS];
	int n = 0;

	Socket_set_nonblocking(listener, 1);
	while (n < WORKERS && pthread_create(&threads[n], NULL, worker, NULL) == 0)
		n++;
	printf("request-server: listening on port %d\n", Socket_port(listener));
	fflush(stdout);
	if (n > 0)
		run(listener);
	Socket_close(&listener);
	stop_workers(threads, n);
}

int main(int argc, char **argv)
{
	volatile int status = EXIT_SUCCESS;

	catch_signals();
	raise_descriptor_limit();
	server_arena = Arena_new();
	TRY {
		pool = SocketPool_new(server_arena, MAX_CONNECTIONS, 0);
		serve_on(argc > 1 ? argv[1] : "8080");
	} ELSE {
		fprintf(stderr, "request-server: %s: %s\n", Except_current()->reason, Except_message());
		status = EXIT_FAILURE;
	} FINALLY {
		Arena_dispose(&server_arena); /* closes the connections that still waited */
	} END_TRY;
	printf("request-server: %lu requests, live arenas %zu\n", atomic_load(&requests), Arena_debug_live_count());
	return status;
}
