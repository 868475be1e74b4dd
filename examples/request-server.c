/* SPDX-License-Identifier: MIT */
/* request-server [port [connections]]: an HTTP server. Each request has an arena, and each error
 * is an exception.
 *
 *   GET /          a page
 *   GET /stats     requests, live arenas, bytes held, as JSON
 *   GET /headers   the header fields that the client sent
 *   POST /echo     the body back
 *   GET /later     the answer of another thread
 *   GET /slowly    the same in parts
 *
 * At SIGTERM or SIGINT it answers the requests in progress, disposes of everything, and exits
 * with status 0.
 *
 *   cc request-server.c -o request-server $(pkg-config --cflags --libs libcore) -pthread
 *   ./request-server 8080     then: curl localhost:8080/stats */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <core/core.h>

static HTTPServer_T server;
static HTTPServer_Stats total;

static void page(HTTPRequest_T request, HTTPResponse_T response, void *unused)
{
	HTTPServer_Stats s;

	(void)request, (void)unused;
	HTTPServer_stats(server, &s);
	HTTPResponse_set(response, "Content-Type", "text/html; charset=utf-8");
	HTTPResponse_printf(response,
		"<!DOCTYPE html>\n<title>libcore</title>\n<h1>It works</h1>\n"
		"<p>Request %llu, answered from an arena of its own. "
		"<a href=\"/stats\">Statistics</a></p>\n",
		(unsigned long long)s.requests);
}

static void stats(HTTPRequest_T request, HTTPResponse_T response, void *arena)
{
	size_t held = Arena_capacity(arena) + Arena_capacity(HTTPRequest_arena(request));
	HTTPServer_Stats s;

	HTTPServer_stats(server, &s);
	HTTPResponse_set(response, "Content-Type", "application/json");
	HTTPResponse_printf(response,
		"{\"requests\": %llu, \"live_arenas\": %zu, \"bytes_held\": %zu, \"connections\": %zu}\n",
		(unsigned long long)s.requests, Arena_debug_live_count(), held, s.connections);
}

static void headers(HTTPRequest_T request, HTTPResponse_T response, void *unused)
{
	HashTable_Iter iter;

	(void)unused;
	HTTPResponse_set(response, "Content-Type", "text/plain; charset=utf-8");
	HashTable_iterate(HTTPRequest_headers(request), &iter);
	while (HashTable_next(&iter))
		HTTPResponse_printf(response, "%s: %s\n", (const char *)iter.key, (const char *)iter.value);
}

static void echo(HTTPRequest_T request, HTTPResponse_T response, void *unused)
{
	const char *type = HTTPRequest_header(request, "Content-Type");
	size_t n;
	const void *body = HTTPRequest_body(request, &n);

	(void)unused;
	HTTPResponse_set(response, "Content-Type", type ? type : "application/octet-stream");
	HTTPResponse_write(response, body, n);
}

/* ---- answers that come later: suspended until the thread of the clock resumes them ---- */

typedef struct Waiting {
	struct Waiting *next;
	HTTPResponse_T response;
	int parts; /* still to come */
} Waiting;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Waiting *waiting;
static atomic_int stopped;

static void wait_for_clock(Waiting *w)
{
	HTTPResponse_suspend(w->response, 0);
	pthread_mutex_lock(&lock);
	w->next = waiting;
	waiting = w;
	pthread_mutex_unlock(&lock);
}

static int more(HTTPResponse_T response, void *w)
{
	HTTPResponse_printf(response, "a part\n");
	if (--((Waiting *)w)->parts == 0)
		return 0;
	wait_for_clock(w);
	return 1;
}

static void later(HTTPRequest_T request, HTTPResponse_T response, void *parts)
{
	Waiting *w;

	NEW0(HTTPRequest_arena(request), w);
	w->response = response;
	if (parts) {
		w->parts = *(const int *)parts;
		HTTPResponse_length(response, (uint64_t)w->parts * (sizeof "a part\n" - 1));
		HTTPResponse_stream(response, more, w);
	} else {
		HTTPResponse_printf(response, "later\n");
		wait_for_clock(w);
	}
}

static void resume_all(void)
{
	Waiting *w, *next;

	pthread_mutex_lock(&lock);
	w = waiting;
	waiting = NULL;
	pthread_mutex_unlock(&lock);
	for (; w; w = next) {
		next = w->next; /* it may end at once */
		HTTPResponse_resume(w->response);
	}
}

static void *run_clock(void *unused)
{
	for (; !stopped; resume_all())
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000000L }, NULL);
	return unused;
}

static void on_signal(int signal)
{
	(void)signal;
	HTTPServer_stop(server);
}

static void catch_signals(void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler };

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void serve(Arena_T arena, const char *port, size_t connections)
{
	static int parts = 3;
	pthread_t clock;

	server = HTTPServer_new(arena, &(HTTPServer_Options){ .service = port, .idle_ms = 15000,
		.connections = connections, .activated = 1 });
	HTTPServer_route(server, "GET", "/", page, NULL);
	HTTPServer_route(server, "GET", "/stats", stats, arena);
	HTTPServer_route(server, "GET", "/headers", headers, NULL);
	HTTPServer_route(server, "POST", "/echo", echo, NULL);
	HTTPServer_route(server, "GET", "/later", later, NULL);
	HTTPServer_route(server, "GET", "/slowly", later, &parts);
	if (pthread_create(&clock, NULL, run_clock, NULL) != 0)
		RAISE_MSG(HTTP_Failed, "no thread for a clock");
	catch_signals(on_signal);
	printf("request-server: listening on port %d\n", HTTPServer_port(server));
	fflush(stdout);
	TRY {
		HTTPServer_run(server);
	} FINALLY {
		stopped = 1;
		pthread_join(clock, NULL);
	} END_TRY;
	HTTPServer_stats(server, &total);
	catch_signals(SIG_IGN); /* the server goes with the arena */
}

int main(int argc, char **argv)
{
	volatile int status = EXIT_SUCCESS;
	Arena_T arena = Arena_new();

	raise_descriptor_limit();
	TRY {
		serve(arena, argc > 1 ? argv[1] : "8080", argc > 2 ? strtoul(argv[2], NULL, 10) : 0);
	} ELSE {
		fprintf(stderr, "request-server: %s: %s\n", Except_current()->reason, Except_message());
		status = EXIT_FAILURE;
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	printf("request-server: %llu requests, live arenas %zu\n", (unsigned long long)total.requests,
		Arena_debug_live_count());
	return status;
}
