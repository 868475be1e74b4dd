/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_httpserver: handlers, servers of them, and clients. */
#ifndef TEST_HTTPSERVER_INCLUDED
#define TEST_HTTPSERVER_INCLUDED
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "httpclient.h"

static inline void answer_hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_set(response, "Content-Type", "text/plain");
	HTTPResponse_printf(response, "%s", cl ? (char *)cl : "hello");
}

static inline void answer_params(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	static const char *const names[] = { "id", "post", "path", "*" };
	size_t i;

	HTTPResponse_printf(response, "%s", (char *)cl);
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (HTTPRequest_param(request, names[i]))
			HTTPResponse_printf(response, " %s=%s", names[i], HTTPRequest_param(request, names[i]));
}

static inline void answer_body(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	size_t n;
	const char *bytes = HTTPRequest_body(request, &n);

	(void)cl;
	ck_assert_int_eq(bytes[n], 0);
	HTTPResponse_write(response, bytes, n);
}

static EXCEPT_DEFINE(Mine, NULL, "a private matter");
static EXCEPT_DEFINE(Too_Large_For_Me, &HTTP_Content_Too_Large, "too large for me");

static inline void answer_and_raise(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_printf(response, "half of a page");
	if (cl)
		RAISE_MSG(*(const Except_T *)cl, "the secret of %s", "the house");
	RAISE_MSG(Assert_Failed, "the secret of %s", "the house");
}

enum { BIG = 600000 };

static inline void answer_big(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	char line[101];
	int i;

	(void)request;
	(void)cl;
	for (i = 0; i < BIG / 100; i++) {
		snprintf(line, sizeof line, "%099d\n", i);
		HTTPResponse_write(response, line, 100);
	}
}

static inline void answer_status(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_status(response, atoi(HTTPRequest_param(request, "code")));
	HTTPResponse_printf(response, "text");
}

static inline void answer_cookies(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_add(response, "Set-Cookie", "a=1");
	HTTPResponse_add(response, "Set-Cookie", "b=2");
}

static inline void answer_fields(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const char *x = HTTPRequest_header(request, "x-one"),
		*host = HTTPRequest_header(request, "HOST");

	(void)cl;
	HTTPResponse_printf(response, "%s %s %zu", x ? x : "-", host,
		HashTable_length(HTTPRequest_headers(request)));
}

static inline void add_routes(void)
{
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
	HTTPServer_route(server, "POST", "/echo", answer_body, NULL);
	HTTPServer_route(server, "GET", "/big", answer_big, NULL);
	HTTPServer_route(server, "GET", "/raise", answer_and_raise, NULL);
	HTTPServer_route(server, "GET", "/raise/mine", answer_and_raise, (void *)(uintptr_t)&Mine);
	HTTPServer_route(server, "GET", "/raise/large", answer_and_raise,
		(void *)(uintptr_t)&Too_Large_For_Me);
	HTTPServer_route(server, "GET", "/status/:code", answer_status, NULL);
	HTTPServer_route(server, "GET", "/cookies", answer_cookies, NULL);
	HTTPServer_route(server, "GET", "/fields", answer_fields, NULL);
}

static inline void start_with(HTTPServer_Options options)
{
	make_server(options);
	add_routes();
	launch_server();
}

static inline void start_server(void)
{
	start_with((HTTPServer_Options){ 0 });
}

static atomic_int unblocked, inside;

static inline void block_and_answer(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	atomic_fetch_add(&inside, 1);
	while (!atomic_load(&unblocked))
		sleep_ms(1);
	answer_params(request, response, cl);
}

static inline void start_blocking(HTTPServer_Options options)
{
	HTTPServer_Route route = { .method = "GET", .pattern = "/slow/:id", .handler = block_and_answer,
		.cl = "slow", .blocks = 1 };
	HTTPServer_Route bad = { .method = "GET", .pattern = "/bad", .handler = answer_and_raise,
		.blocks = 1 };
	HTTPServer_Route post = { .method = "POST", .pattern = "/post", .handler = answer_body,
		.blocks = 1 };

	atomic_store(&unblocked, 0);
	make_server(options);
	add_routes();
	HTTPServer_route_with(server, &route);
	HTTPServer_route_with(server, &bad);
	HTTPServer_route_with(server, &post);
	launch_server();
}

/* Connects with a small window, so that the server's side of the socket fills. */
static inline int dial_narrow(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), size = 32768;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

static inline int count_down(HTTPResponse_T response, void *cl)
{
	int *left = cl;

	if (*left < 0)
		RAISE(Mine);
	HTTPResponse_printf(response, "%06d ", *left);
	return --*left > 0;
}

static inline void stream_countdown(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	int *left = Arena_alloc(HTTPRequest_arena(request), sizeof *left);

	(void)cl;
	*left = atoi(HTTPRequest_query(request));
	HTTPResponse_printf(response, "from %d: ", *left);
	HTTPResponse_stream(response, count_down, left);
}

static inline int write_nothing(HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	return 1;
}

static inline void stream_nothing(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_stream(response, write_nothing, NULL);
}

static inline int end_at_once(HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	return 0;
}

static inline void stream_empty(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_stream(response, end_at_once, NULL);
}

static inline void start_streams(HTTPServer_Options options)
{
	make_server(options);
	add_routes();
	HTTPServer_route(server, "GET", "/stream", stream_countdown, NULL);
	HTTPServer_route(server, "GET", "/stuck", stream_nothing, NULL);
	HTTPServer_route(server, "GET", "/nothing", stream_empty, NULL);
	launch_server();
}

static const char three[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nfirst"
	"POST /echo HTTP/1.1\r\n" HOST
	"Transfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3;x=y\r\nond\r\n0\r\nT: u\r\n\r\n"
	"\r\n" GET("/");

static inline void slow_hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	sleep_ms(1);
	answer_hello(request, response, cl);
}

#endif
