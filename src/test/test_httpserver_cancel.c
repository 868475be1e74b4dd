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

static void answer_hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "hello");
}

/* A handler may block, and may be cancelled there. */
static void sleep_and_answer(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	usleep(1000);
	answer_hello(request, response, cl);
}

/* Sends the request and reads any answer, or none. */
static void try_request(const char *request)
{
	int fd = try_to_dial();

	if (fd < 0)
		return;
	send(fd, request, strlen(request), MSG_NOSIGNAL);
	while (read_within(fd, heard, sizeof heard, 2000) > 0)
		;
	close(fd);
}

static void *be_client(void *cl)
{
	(void)cl;
	try_request("GET /doze HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	try_request("GET /doze HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	try_request("GET /work HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	try_request("GET /work HTTP/1.1\r\n" HOST "\r\nGET /nothing HTTP/1.1\r\n" HOST
		"Connection: close\r\n\r\n");
	HTTPServer_stop(server);
	return NULL;
}

static void serve_once(void *cl)
{
	HTTPServer_Route work = { .method = "GET", .pattern = "/work", .handler = sleep_and_answer,
		.blocks = 1 };
	Session *s = cl;

	arena = Arena_new();
	server = HTTPServer_new(arena, &s->options);
	port = HTTPServer_port(server);
	HTTPServer_route(server, "GET", "/doze", sleep_and_answer, NULL);
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
		ck_assert_msg(try_to_dial() < 0,
			"the port of a cancelled server still accepts connections");
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
