/* SPDX-License-Identifier: MIT */
/* events [port]: server-sent events, from one thread to any number of subscribers.
 *
 *   GET /events    the stream; a subscriber that comes back gets the events it missed
 *   GET /          a page that shows the stream
 *
 * A subscriber costs a connection and no thread: its stream is suspended until there is something
 * to write. SIGTERM ends the streams, then the program.
 *
 *   cc events.c -o events $(pkg-config --cflags --libs libcore)
 *   ./events 8080        then open http://localhost:8080/ in a browser */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <core/core.h>

enum { KEPT = 64, TEXT = 64, INTERVAL_MS = 200 }; /* KEPT: events that a subscriber can get later */
typedef struct Subscriber {
	struct Subscriber *next;
	HTTPResponse_T response;
	long seen;                      /* the number of the last event that it has */
} Subscriber;

static HTTPServer_T server;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Subscriber *waiting;
static char events[KEPT][TEXT];
static long last;
static atomic_int done;

static void page(HTTPRequest_T request, HTTPResponse_T response, void *unused)
{
	(void)request, (void)unused;
	HTTPResponse_set(response, "Content-Type", "text/html; charset=utf-8");
	HTTPResponse_printf(response,
		"<!DOCTYPE html>\n<title>events</title>\n<ol id=\"list\"></ol>\n<script>\n"
		"new EventSource('/events').onmessage = event => {\n"
		"	list.appendChild(document.createElement('li')).textContent = event.data;\n"
		"	if (list.children.length == 3) fetch('/heard/' + encodeURIComponent(event.data));\n"
		"};\n</script>\n");
}

static void heard(HTTPRequest_T request, HTTPResponse_T response, void *unused)
{
	(void)response, (void)unused;
	fprintf(stderr, "a page has heard: %s\n", HTTPRequest_param(request, "text"));
}

/* Copies the next event for s into text, of TEXT bytes, and returns its number; or has s wait, and
 * returns 0. */
static long next_event(Subscriber *s, char *text)
{
	long n = 0;

	pthread_mutex_lock(&lock);
	if (s->seen < last) {
		n = s->seen < last - KEPT ? last - KEPT + 1 : s->seen + 1;
		memcpy(text, events[n % KEPT], TEXT);
		s->seen = n;
	} else {
		s->seen = last; /* of a new one: LONG_MAX */
		s->next = waiting;
		waiting = s;
	}
	pthread_mutex_unlock(&lock);
	return n;
}

/* Suspends before it waits: the publisher may resume it at once. */
static int more(HTTPResponse_T response, void *subscriber)
{
	char text[TEXT];
	long n;

	if (HTTPServer_stopping(server))
		return 0;
	HTTPResponse_suspend(response, -1);
	n = next_event(subscriber, text);
	if (n > 0) {
		HTTPResponse_printf(response, "id: %ld\ndata: %s\n\n", n, text);
		HTTPResponse_resume(response);
	}
	return 1;
}

static void subscribe(HTTPRequest_T request, HTTPResponse_T response, void *unused)
{
	const char *id = HTTPRequest_header(request, "Last-Event-ID");
	Subscriber *s = Arena_calloc(HTTPRequest_arena(request), 1, sizeof *s);

	(void)unused;
	s->response = response;
	s->seen = id && atol(id) >= 0 ? atol(id) : LONG_MAX;
	HTTPResponse_set(response, "Content-Type", "text/event-stream");
	HTTPResponse_set(response, "Cache-Control", "no-cache");
	HTTPResponse_stream(response, more, s);
}

/* Resumes all that wait. A waiter whose client has left is freed by that, so s is read before. */
static void publish(void)
{
	Subscriber *s, *all;

	pthread_mutex_lock(&lock);
	last++;
	snprintf(events[last % KEPT], TEXT, "event %ld", last);
	all = waiting;
	waiting = NULL;
	pthread_mutex_unlock(&lock);
	while ((s = all) != NULL) {
		all = s->next;
		HTTPResponse_resume(s->response);
	}
}

static void *publish_all(void *unused)
{
	struct timespec interval = { .tv_nsec = INTERVAL_MS * 1000000L };

	for (; !done; publish())
		nanosleep(&interval, NULL);
	return unused;
}

static void stop(int signal)
{
	(void)signal;
	HTTPServer_stop(server);
}

int main(int argc, char **argv)
{
	Arena_T arena = Arena_new();
	pthread_t publisher;

	server = HTTPServer_new(arena, &(HTTPServer_Options){
		.host = "127.0.0.1", .service = argc > 1 ? argv[1] : "8080"
	});
	HTTPServer_route(server, "GET", "/", page, NULL);
	HTTPServer_route(server, "GET", "/events", subscribe, NULL);
	HTTPServer_route(server, "GET", "/heard/:text", heard, NULL);
	signal(SIGTERM, stop);
	pthread_create(&publisher, NULL, publish_all, NULL);
	fprintf(stderr, "port %d\n", HTTPServer_port(server));
	HTTPServer_run(server);
	done = 1;
	pthread_join(publisher, NULL);
	publish(); /* frees who was still there at the end */
	Arena_dispose(&arena);
	return 0;
}
