/* SPDX-License-Identifier: MIT */
/* The thread of HTTPServer_new and HTTPServer_run is cancelled at each of its cancellation
 * points in turn. Loops and workers end, listeners and connections are closed, and nothing
 * leaks. */
#include "config.h"

#include "cancelling.h"
#include "httpclient.h"

typedef struct Session {
	HTTPServer_Options options;
	pthread_t client;
	int has_client;
} Session;

static void greet(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "hello");
}

/* A handler may block, and may be cancelled there. */
static void doze(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	usleep(1000);
	greet(request, response, cl);
}

/* Sends the request and reads any answer, or none. */
static void exchange(const char *request)
{
	int fd = try_dial();

	if (fd < 0)
		return;
	send(fd, request, strlen(request), MSG_NOSIGNAL);
	while (listen_for(fd, heard, sizeof heard, 2000) > 0)
		;
	close(fd);
}

static void *be_client(void *cl)
{
	(void)cl;
	exchange("GET /doze HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	exchange("GET /doze HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	exchange("GET /work HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	exchange("GET /work HTTP/1.1\r\n" HOST "\r\nGET /nothing HTTP/1.1\r\n" HOST
		"Connection: close\r\n\r\n");
	HTTPServer_stop(server);
	return NULL;
}

static void serve_once(void *cl)
{
	HTTPServer_Route work = { .method = "GET", .pattern = "/work", .handler = doze, .blocks = 1 };
	Session *s = cl;

	arena = Arena_new();
	server = HTTPServer_new(arena, &s->options);
	port = HTTPServer_port(server);
	HTTPServer_route(server, "GET", "/doze", doze, NULL);
	HTTPServer_route_with(server, &work);
	s->has_client = pthread_create(&s->client, NULL, be_client, s) == 0;
	HTTPServer_run(server);
}

static void look_after(void *cl, int cancelled)
{
	Session *s = cl;

	if (s->has_client)
		ck_assert_int_eq(__real_pthread_join(s->client, NULL), 0);
	if (s->has_client && cancelled)
		ck_assert_msg(try_dial() < 0,
			"somebody listens at the port of a server that was cancelled");
	s->has_client = 0;
	server = NULL;
	Arena_dispose(&arena);
}

SUITE("HTTPServer, cancelled");
CASE("points", .timeout = 240);

TEST(a_cancelled_server_leaves_neither_threads_nor_descriptors, .to = 2)
{
	Session s = { .options = { .host = "127.0.0.1", .service = "0", .threads = 2, .workers = 1,
		.drain_ms = 1000 } };

	if (_i == 0)
		s.options.threads = 1;
	ck_assert_int_gt(cancel_everywhere(serve_once, look_after, &s), 10);
}

TEST(so_does_one_of_a_name_and_a_fixed_port)
{
	Session s = { .options = { .host = "localhost", .threads = 2, .workers = 1,
		.drain_ms = 1000 } };
	char service[8];

	make_server((HTTPServer_Options){ 0 });
	snprintf(service, sizeof service, "%d", port);
	Arena_dispose(&arena);
	s.options.service = service;
	ck_assert_int_gt(cancel_everywhere(serve_once, look_after, &s), 10);
}
