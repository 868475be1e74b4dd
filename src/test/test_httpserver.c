/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "httpclient.h"

NEEDS(.descriptors = 2200);

/* ---- handlers ---- */

static void hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_set(response, "Content-Type", "text/plain");
	HTTPResponse_printf(response, "%s", cl ? (char *)cl : "hello");
}

static void show(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	static const char *const names[] = { "id", "post", "path", "*" };
	size_t i;

	HTTPResponse_printf(response, "%s", (char *)cl);
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (HTTPRequest_param(request, names[i]))
			HTTPResponse_printf(response, " %s=%s", names[i], HTTPRequest_param(request, names[i]));
}

static void echo(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	size_t n;
	const char *bytes = HTTPRequest_body(request, &n);

	(void)cl;
	ck_assert_int_eq(bytes[n], 0);
	HTTPResponse_write(response, bytes, n);
}

extern const Except_T Mine, Too_Large_For_Me;
EXCEPT_DEFINE(Mine, NULL, "a private matter");
EXCEPT_DEFINE(Too_Large_For_Me, &HTTP_Content_Too_Large, "too large for me");

static void raiser(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_printf(response, "half of a page");
	if (cl)
		RAISE_MSG(*(const Except_T *)cl, "the secret of %s", "the house");
	RAISE_MSG(Assert_Failed, "the secret of %s", "the house");
}

enum { BIG = 600000 };

static void big(HTTPRequest_T request, HTTPResponse_T response, void *cl)
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

static void status(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_status(response, atoi(HTTPRequest_param(request, "code")));
	HTTPResponse_printf(response, "text");
}

static void cookies(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_add(response, "Set-Cookie", "a=1");
	HTTPResponse_add(response, "Set-Cookie", "b=2");
}

static void fields(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const char *x = HTTPRequest_header(request, "x-one"), *host = HTTPRequest_header(request, "HOST");

	(void)cl;
	HTTPResponse_printf(response, "%s %s %zu", x ? x : "-", host, HashTable_length(HTTPRequest_headers(request)));
}

static void everything(void)
{
	HTTPServer_route(server, "GET", "/", hello, NULL);
	HTTPServer_route(server, "POST", "/echo", echo, NULL);
	HTTPServer_route(server, "GET", "/big", big, NULL);
	HTTPServer_route(server, "GET", "/raise", raiser, NULL);
	HTTPServer_route(server, "GET", "/raise/mine", raiser, (void *)(uintptr_t)&Mine);
	HTTPServer_route(server, "GET", "/raise/large", raiser, (void *)(uintptr_t)&Too_Large_For_Me);
	HTTPServer_route(server, "GET", "/status/:code", status, NULL);
	HTTPServer_route(server, "GET", "/cookies", cookies, NULL);
	HTTPServer_route(server, "GET", "/fields", fields, NULL);
}

static void start_with(HTTPServer_Options options)
{
	make_server(options);
	everything();
	launch();
}

static void start(void)
{
	start_with((HTTPServer_Options){ 0 });
}

/* ---- routes ---- */

SUITE("httpserver");
CASE("routes");

TEST(a_route_serves_its_method_and_path)
{
	start();
	ck_assert_int_eq(ask(GET("/")), 200);
	ck_assert_str_eq(body(), "hello");
	ck_assert(has("Content-Type: text/plain\r\n"));
	ck_assert(has("Date: "));
	end_server();
}

static void routes_to(const char *path, const char *text)
{
	char request[512];

	sprintf(request, "GET %s HTTP/1.1\r\n" HOST "\r\n", path);
	ck_assert_msg(ask(request) == 200 && strcmp(body(), text) == 0, "%s is answered %s", path, heard);
}

TEST(parameters_and_rests_come_from_the_path)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/users/:id", show, "user");
	HTTPServer_route(server, "GET", "/users/:id/posts/:post", show, "post");
	HTTPServer_route(server, "GET", "/files/*path", show, "file");
	HTTPServer_route(server, "GET", "/any/*", show, "any");
	launch();
	routes_to("/users/7", "user id=7");
	routes_to("/users/a%20b?x=1", "user id=a b");
	routes_to("/users/7/posts/x", "post id=7 post=x");
	routes_to("/files/a/b/c.txt", "file path=a/b/c.txt");
	routes_to("/files/", "file path=");
	routes_to("/any/thing/", "any *=thing/");
	ck_assert_int_eq(ask(GET("/users/")), 404);
	ck_assert_int_eq(ask(GET("/users")), 404);
	ck_assert_int_eq(ask(GET("/users/7/")), 404);
	ck_assert_int_eq(ask(GET("/users/7/posts")), 404);
	ck_assert_int_eq(ask(GET("/files")), 404);
	ck_assert_int_eq(ask(GET("/")), 404);
	end_server();
}

TEST(literals_go_before_parameters_and_these_before_rests)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/*", show, "rest");
	HTTPServer_route(server, "GET", "/a/:id", show, "parameter");
	HTTPServer_route(server, "GET", "/a/b", show, "literal");
	HTTPServer_route(server, "GET", "/a/b/c", show, "deep");
	HTTPServer_route(server, "GET", "/:id/d", show, "other");
	launch();
	routes_to("/a/b", "literal");
	routes_to("/a/x", "parameter id=x");
	routes_to("/a/b/c", "deep");
	routes_to("/a/d", "parameter id=d");
	routes_to("/z/d", "other id=z");
	routes_to("/a/b/x", "rest *=a/b/x"); /* back from where /a/b ended */
	routes_to("/", "rest *=");
	end_server();
}

TEST(a_path_without_the_method_is_405_and_says_which_it_has)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/a", hello, NULL);
	HTTPServer_route(server, "PUT", "/a", hello, NULL);
	HTTPServer_route(server, "DELETE", "/:id", show, "deleted");
	HTTPServer_route(server, "POST", "/b/c", hello, NULL);
	launch();
	ck_assert_int_eq(ask("POST /a HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"), 405);
	ck_assert(has("Allow: GET, PUT, DELETE, HEAD, OPTIONS\r\n"));
	ck_assert_int_eq(ask("DELETE /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	ck_assert_str_eq(body(), "deleted id=a");
	ck_assert_int_eq(ask("OPTIONS /a HTTP/1.1\r\n" HOST "\r\n"), 204);
	ck_assert(has("Allow: GET, PUT, DELETE, HEAD, OPTIONS\r\n"));
	ck_assert_int_eq(ask("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 204);
	ck_assert(has("Allow: OPTIONS, GET, HEAD, PUT, DELETE, POST\r\n"));
	ck_assert_int_eq(ask("OPTIONS /nothing/there HTTP/1.1\r\n" HOST "\r\n"), 404);
	end_server();
}

TEST(HEAD_is_served_by_GET_and_has_no_body)
{
	int fd;

	start();
	fd = dial();
	say(fd, "HEAD / HTTP/1.1\r\n" HOST "\r\n" GET("/"));
	ck_assert_int_eq(hear_one(fd, 0), 200);
	ck_assert(has("Content-Length: 5\r\n"));
	ck_assert_int_eq(hear(fd), 200); /* follows at once: there was no body */
	say(fd, "HEAD /nothing HTTP/1.1\r\n" HOST "\r\n" GET("/"));
	ck_assert_int_eq(hear_one(fd, 0), 404);
	ck_assert_int_eq(hear(fd), 200);
	close(fd);
	end_server();
}

TEST(routes_of_HEAD_and_of_every_method_have_their_say)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/a", hello, "get");
	HTTPServer_route(server, "HEAD", "/a", hello, "longer than get");
	HTTPServer_route(server, NULL, "/b", hello, "any");
	HTTPServer_route(server, "GET", "/b", hello, "get");
	launch();
	ck_assert_int_eq(ask("HEAD /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	ck_assert(has("Content-Length: 15\r\n"));
	ck_assert_int_eq(ask("BREW /b HTTP/1.1\r\n" HOST "\r\n"), 200);
	ck_assert_str_eq(body(), "any");
	ck_assert_int_eq(ask(GET("/b")), 200);
	ck_assert_str_eq(body(), "get");
	end_server();
}

TEST(what_is_no_route_is_checked)
{
	HTTPServer_Route none = { .method = "GET", .pattern = "/" };

	make_server((HTTPServer_Options){ 0 });
	ck_raises_saying(Assert_Failed, "does not start with a slash", HTTPServer_route(server, "GET", "a", hello, NULL));
	ck_raises_saying(Assert_Failed, "has no name", HTTPServer_route(server, "GET", "/a/:/b", hello, NULL));
	ck_raises_saying(Assert_Failed, "has no name", HTTPServer_route(server, "GET", "/:", hello, NULL));
	ck_raises_saying(Assert_Failed, "goes on after its rest", HTTPServer_route(server, "GET", "/*a/b", hello, NULL));
	ck_raises_saying(Assert_Failed, "more than 16 parameters", HTTPServer_route(server, "GET",
		"/:1/:2/:3/:4/:5/:6/:7/:8/:9/:10/:11/:12/:13/:14/:15/:16/:17", hello, NULL));
	ck_raises_saying(Assert_Failed, "\"GET \" is not a method", HTTPServer_route(server, "GET ", "/", hello, NULL));
	ck_raises_saying(Assert_Failed, "the handler is NULL", HTTPServer_route(server, "GET", "/", NULL, NULL));
	ck_raises_saying(Assert_Failed, "the pattern is NULL", HTTPServer_route(server, "GET", NULL, hello, NULL));
	ck_raises_saying(Assert_Failed, "the server is NULL", HTTPServer_route(NULL, "GET", "/", hello, NULL));
	ck_raises_saying(Assert_Failed, "the handler is NULL", HTTPServer_route_with(server, &none));
	ck_raises_saying(Assert_Failed, "the route is NULL", HTTPServer_route_with(server, NULL));
	HTTPServer_route(server, "GET", "/a/:id", hello, NULL);
	ck_raises_saying(Assert_Failed, "GET \"/a/:name\" has a route already",
		HTTPServer_route(server, "GET", "/a/:name", hello, NULL));
	launch();
	ck_assert_int_eq(ask(GET("/a/b")), 200);
	ck_raises_saying(Assert_Failed, "too late", HTTPServer_route(server, "GET", "/late", hello, NULL));
	ck_raises_saying(Assert_Failed, "ran already", HTTPServer_run(server));
	end_server();
}

/* ---- handlers ---- */

CASE("handlers");

TEST(a_handler_that_raises_is_answered_by_500_and_the_connection_lives)
{
	int fd;

	start();
	fd = dial();
	say(fd, GET("/raise"));
	ck_assert_int_eq(hear(fd), 500);
	ck_assert_str_eq(body(), "500 Internal Server Error\n"); /* nothing of the page, and no secret */
	say(fd, GET("/raise/mine") GET("/"));
	ck_assert_int_eq(hear(fd), 500);
	ck_assert(!has("secret"));
	ck_assert_int_eq(hear(fd), 200);
	close(fd);
	ck_assert_uint_eq(stats_now().raised, 2);
	end_server();
}

TEST(a_kind_of_an_HTTP_exception_is_answered_by_its_status)
{
	start();
	ck_assert_int_eq(ask(GET("/raise/large")), 413);
	ck_assert_str_eq(body(), "413 Content Too Large: the secret of the house\n");
	end_server();
}

static atomic_int ended;
static size_t capacity, used_at_start;

static void end_request(void *cl)
{
	(void)cl;
	atomic_fetch_add(&ended, 1);
}

static void hungry(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_T a = HTTPRequest_arena(request);

	(void)cl;
	used_at_start = Arena_used(a);
	Arena_alloc(a, 30000);
	Arena_defer(a, end_request, NULL);
	capacity = Arena_capacity(a);
	HTTPResponse_printf(response, "%d", atomic_load(&ended));
}

TEST(the_arena_of_a_request_is_cleared_after_its_response)
{
	size_t before = 0;
	int fd, i;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/", hungry, NULL);
	launch();
	fd = dial();
	for (i = 0; i < 200; i++) {
		say(fd, GET("/"));
		ck_assert_int_eq(hear(fd), 200);
		ck_assert_int_eq(atoi(body()), i);
		if (i == 2)
			before = capacity;
	}
	ck_assert_uint_le(capacity, before);
	ck_assert_uint_lt(used_at_start, 2000);
	close(fd);
	end_server();
	ck_assert_int_eq(atomic_load(&ended), 200);
}

static void spoil(void *cl)
{
	(void)cl;
	RAISE(Mine);
}

static void spoiler(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	Arena_defer(HTTPRequest_arena(request), spoil, NULL);
	HTTPResponse_printf(response, "fine");
}

static void large_spoiler(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	big(request, response, cl);
	spoiler(request, response, cl);
}

TEST(what_is_raised_after_the_response_was_sent_ends_the_connection)
{
	int fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/", spoiler, NULL);
	launch();
	fd = dial();
	say(fd, GET("/"));
	hear_all(fd);
	ck_assert(count("HTTP/1.1") <= 1);
	close(fd);
	fd = dial();
	say(fd, GET("/"));
	hear_all(fd);
	close(fd);
	end_server();
}

TEST(no_response_is_lost_for_what_is_raised_when_the_arena_is_cleared)
{
	static const char *const paths[] = { "/", "/worker", "/large" };
	char request[200];
	int i, fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/cookies", cookies, NULL);
	HTTPServer_route(server, "GET", "/fields", fields, NULL);
	HTTPServer_route(server, "GET", "/", spoiler, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/worker", .handler = spoiler, .blocks = 1 });
	HTTPServer_route(server, "GET", "/large", large_spoiler, NULL);
	launch();
	for (i = 0; i < 3; i++) {
		fd = dial();
		snprintf(request, sizeof request, GET("/cookies") "GET %s HTTP/1.1\r\n" HOST "\r\n" GET("/fields"), paths[i]);
		say(fd, request);
		ck_assert(hear_all(fd)); /* an orderly end */
		ck_assert_int_eq(count("HTTP/1.1 200 OK\r\n"), 2);
		ck_assert(has("Set-Cookie") && has("fine") && !has("- a 1"));
		close(fd);
	}
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().raised, 3);
	end_server();
}

TEST(a_field_can_be_sent_twice)
{
	start();
	ck_assert_int_eq(ask(GET("/cookies")), 200);
	ck_assert(has("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"));
	end_server();
}

TEST(the_fields_of_a_request_are_there_when_they_are_asked_for)
{
	start();
	ck_assert_int_eq(ask("GET http://b/fields HTTP/1.1\r\nX-One: 1\r\nhost: a\r\nx-ONE: 2\r\nY: 3\r\n\r\n"), 200);
	ck_assert_str_eq(body(), "1, 2 b 3");
	ck_assert_int_eq(ask(GET("/fields")), 200);
	ck_assert_str_eq(body(), "- a 1");
	end_server();
}

static HTTPRequest_T kept_request;
static HTTPResponse_T kept_response;

static void keep(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	kept_request = request;
	kept_response = response;
}

static void look_at_kept(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request, (void)cl;
	ck_raises_saying(Assert_Failed, "HTTPRequest_header: the request has ended", HTTPRequest_header(kept_request, "Cookie"));
	ck_raises_saying(Assert_Failed, "HTTPResponse_printf: the response has ended", HTTPResponse_printf(kept_response, "x"));
	HTTPResponse_printf(response, "checked");
}

TEST(a_handle_that_is_kept_after_its_response_reads_nothing_of_another_client)
{
	int i;

	make_server((HTTPServer_Options){ .threads = 1 });
	HTTPServer_route(server, "GET", "/keep", keep, NULL);
	HTTPServer_route(server, "GET", "/look", look_at_kept, NULL);
	launch();
	ck_assert_int_eq(ask(GET("/keep")), 200);
	for (i = 0; i < 10; i++) {
		ck_assert_int_eq(ask("GET /look HTTP/1.1\r\n" HOST "Cookie: of-another\r\n\r\n"), 200);
		ck_assert_str_eq(body(), "checked");
	}
	end_server();
}

static void say_param(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%s %s %s", HTTPRequest_route(request), HTTPRequest_path(request), HTTPRequest_param(request, "name"));
}

TEST(an_encoded_slash_does_not_change_the_route)
{
	char pattern[] = "/:name";

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", pattern, say_param, NULL);
	HTTPServer_route(server, "GET", "/admin", keep, NULL);
	strcpy(pattern, "/other"); /* the server has its own copy */
	launch();
	ck_assert_int_eq(ask(GET("/x%2F..%2fadmin")), 200);
	ck_assert_str_eq(body(), "/:name /x%2F..%2Fadmin x/../admin");
	ck_assert_int_eq(ask(GET("/%252F%5cb")), 200);
	ck_assert_str_eq(body(), "/:name /%2F%5Cb %2F\\b");
	end_server();
}

static atomic_int unblocked, inside;

static void blocker(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	atomic_fetch_add(&inside, 1);
	while (!atomic_load(&unblocked))
		nap(1);
	show(request, response, cl);
}

static void start_blocking(HTTPServer_Options options)
{
	HTTPServer_Route route = { .method = "GET", .pattern = "/slow/:id", .handler = blocker, .cl = "slow", .blocks = 1 };
	HTTPServer_Route bad = { .method = "GET", .pattern = "/bad", .handler = raiser, .blocks = 1 };
	HTTPServer_Route post = { .method = "POST", .pattern = "/post", .handler = echo, .blocks = 1 };

	atomic_store(&unblocked, 0);
	make_server(options);
	everything();
	HTTPServer_route_with(server, &route);
	HTTPServer_route_with(server, &bad);
	HTTPServer_route_with(server, &post);
	launch();
}

TEST(a_handler_that_blocks_keeps_nobody_else_waiting)
{
	int slow[3], i;

	start_blocking((HTTPServer_Options){ .workers = 2 });
	for (i = 0; i < 3; i++) {
		slow[i] = dial();
		say(slow[i], GET("/slow/1") GET("/"));
	}
	await(atomic_load(&inside) == 2);
	ck_assert_int_eq(ask(GET("/")), 200);
	atomic_store(&unblocked, 1);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(hear(slow[i]), 200);
		ck_assert_str_eq(body(), "slow id=1");
		ck_assert_int_eq(hear(slow[i]), 200); /* in the order in which they were sent */
		ck_assert_str_eq(body(), "hello");
		close(slow[i]);
	}
	end_server();
}

TEST(a_worker_survives_what_its_handler_raises)
{
	int fd, i;

	start_blocking((HTTPServer_Options){ .workers = 1 });
	fd = dial();
	for (i = 0; i < 3; i++) {
		say(fd, GET("/bad") "POST /post HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nbytes");
		ck_assert_int_eq(hear(fd), 500);
		ck_assert_int_eq(hear(fd), 200);
		ck_assert_str_eq(body(), "bytes");
	}
	close(fd);
	end_server();
}

static char streamed[300000];
static atomic_size_t nstreamed;

static void take_stream(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	(void)request;
	(void)cl;
	ck_assert_uint_le(n, 16384);
	memcpy(streamed + atomic_load(&nstreamed), bytes, n);
	atomic_fetch_add(&nstreamed, n);
	if (memchr(bytes, '!', n))
		RAISE_MSG(HTTP_Bad_Request, "no exclamation marks");
}

static void streamed_all(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	size_t n;

	(void)cl;
	HTTPRequest_body(request, &n);
	HTTPResponse_printf(response, "%zu and %zu", atomic_load(&nstreamed), n);
}

TEST(a_body_can_be_taken_as_it_comes)
{
	HTTPServer_Route route = { .method = "POST", .pattern = "/stream", .handler = streamed_all, .body = take_stream };
	static char bytes[200000];
	int fd;

	make_server((HTTPServer_Options){ .limits = { .body_bytes = 1000 } });
	everything();
	HTTPServer_route_with(server, &route);
	launch();
	memset(bytes, 'b', sizeof bytes);
	fd = dial();
	say(fd, "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 200000\r\n\r\n");
	say_bytes(fd, bytes, 100000);
	await(atomic_load(&nstreamed) == 100000); /* before the rest is sent */
	say_bytes(fd, bytes, 100000);
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_str_eq(body(), "200000 and 0");
	ck_assert(memcmp(streamed, bytes, sizeof bytes) == 0);
	say(fd, "POST /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\n!\r\n0\r\n\r\n");
	ck_assert_int_eq(hear(fd), 400);
	ck_assert(has("no exclamation marks"));
	close(fd);
	/* the limit is that of the other routes still */
	ck_assert_int_eq(ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n"), 413);
	ck_assert_int_eq(ask("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e9\r\n"), 413);
	end_server();
}

/* Its window is small, so that the server's side of the socket fills. */
static int dial_narrow(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), size = 32768;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

static int count_down(HTTPResponse_T response, void *cl)
{
	int *left = cl;

	if (*left < 0)
		RAISE(Mine);
	HTTPResponse_printf(response, "%06d ", *left);
	return --*left > 0;
}

static void stream(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	int *left = Arena_alloc(HTTPRequest_arena(request), sizeof *left);

	(void)cl;
	*left = atoi(HTTPRequest_query(request));
	HTTPResponse_printf(response, "from %d: ", *left);
	HTTPResponse_stream(response, count_down, left);
}

static int silent(HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	return 1;
}

static void stuck(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_stream(response, silent, NULL);
}

static int end_at_once(HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	return 0;
}

static void nothing(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_stream(response, end_at_once, NULL);
}

static void start_streams(HTTPServer_Options options)
{
	make_server(options);
	everything();
	HTTPServer_route(server, "GET", "/stream", stream, NULL);
	HTTPServer_route(server, "GET", "/stuck", stuck, NULL);
	HTTPServer_route(server, "GET", "/nothing", nothing, NULL);
	launch();
}

TEST(a_stream_is_sent_in_chunks_as_it_is_made)
{
	int fd;

	start_streams((HTTPServer_Options){ 0 });
	fd = dial();
	say(fd, GET("/stream?3") "HEAD /stream?3 HTTP/1.1\r\n" HOST "\r\n" GET("/nothing") "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	ck_assert(hear_all(fd));
	ck_assert(has("Transfer-Encoding: chunked\r\n\r\n8\r\nfrom 3: \r\n7\r\n000003 \r\n7\r\n000002 \r\n7\r\n000001 \r\n0\r\n\r\nHTTP/1.1 200"));
	ck_assert(has("chunked\r\n\r\nHTTP/1.1 200")); /* HEAD */
	ck_assert(has("chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200"));
	ck_assert_int_eq(count("HTTP/1.1 200"), 4);
	ck_assert(has("\r\n\r\nhello"));
	close(fd);
	fd = dial();
	say(fd, "GET /stream?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	ck_assert(hear_all(fd));
	ck_assert(!has("chunked") && !has("Content-Length"));
	ck_assert_str_eq(body(), "from 2: 000002 000001 ");
	close(fd);
	end_server();
}

TEST(a_stream_waits_for_who_reads_slowly_and_no_one_for_it)
{
	char *s;
	int fd, i;

	start_streams((HTTPServer_Options){ 0 });
	fd = dial_narrow();
	say(fd, GET("/stream?60000"));
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(ask(GET("/")), 200);
	shutdown(fd, SHUT_WR);
	ck_assert(hear_all(fd));
	s = strstr(heard, "060000");
	for (i = 60000; i > 0; i--, s += 12)
		ck_assert_msg(atoi(s) == i, "%.6s is not %d", s, i);
	ck_assert(strcmp(heard + nheard - 7, "\r\n0\r\n\r\n") == 0);
	close(fd);
	end_server();
}

TEST(a_stream_that_raises_is_broken_off_so_that_the_client_sees_it)
{
	int fd;

	start_streams((HTTPServer_Options){ 0 });
	fd = dial();
	say(fd, GET("/stream?-1"));
	hear_all(fd);
	ck_assert(has("from -1: ") && !has("\r\n0\r\n\r\n"));
	close(fd);
	fd = dial();
	say(fd, GET("/stuck"));
	hear_all(fd);
	ck_assert(!has("\r\n0\r\n\r\n"));
	close(fd);
	ck_assert_int_eq(ask(GET("/")), 200);
	ck_assert_uint_eq(stats_now().raised, 2);
	end_server();
}

TEST(the_blocking_pair_streams_too)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	arena = Arena_new();
	TRY {
		AUTO(Socket_T, s, Socket_close) = Socket_adopt(fd[0]);
		HTTPRequest_T request;
		HTTPResponse_T response = HTTPResponse_new(arena);

		ck_raises_saying(Assert_Failed, "the function is NULL", HTTPResponse_stream(response, NULL, NULL));
		say(fd[1], GET("/stream?2"));
		request = HTTPRequest_parse(arena, s);
		stream(request, response, NULL);
		HTTPResponse_send(s, response);
		Socket_close(&s);
		ck_assert(hear_all(fd[1]));
		ck_assert_str_eq(body(), "8\r\nfrom 2: \r\n7\r\n000002 \r\n7\r\n000001 \r\n0\r\n\r\n");
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	close(fd[1]);
}

/* ---- framing and input ---- */

CASE("framing and input");

TEST(responses_are_framed_as_their_status_wants)
{
	int fd;

	start();
	fd = dial();
	say(fd, GET("/status/204") GET("/status/304") GET("/status/205") GET("/status/201"));
	ck_assert_int_eq(hear_one(fd, 0), 204);
	ck_assert(!has("Content-Length"));
	ck_assert_int_eq(hear_one(fd, 0), 304);
	ck_assert_int_eq(hear_one(fd, 0), 205);
	ck_assert(has("Content-Length: 0\r\n"));
	ck_assert_int_eq(hear(fd), 201);
	ck_assert_str_eq(body(), "text");
	close(fd);
	end_server();
}

TEST(a_connection_is_kept_as_the_client_wants)
{
	int fd;

	start();
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	ck_assert(hear_all(fd));
	ck_assert(has("Connection: close\r\n"));
	close(fd);
	fd = dial();
	say(fd, "GET / HTTP/1.0\r\n\r\n");
	ck_assert(hear_all(fd));
	close(fd);
	fd = dial();
	say(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	ck_assert_int_eq(hear(fd), 200);
	ck_assert(has("Connection: keep-alive\r\n"));
	say(fd, GET("/"));
	ck_assert_int_eq(hear(fd), 200);
	close(fd);
	end_server();
}

static const char three[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nfirst"
	"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3;x=y\r\nond\r\n0\r\nT: u\r\n\r\n"
	"\r\n" GET("/");

static void hear_three(int fd)
{
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_str_eq(body(), "first");
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_str_eq(body(), "second");
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_str_eq(body(), "hello");
}

TEST(a_pipeline_is_answered_in_order_wherever_it_was_cut)
{
	size_t cut;
	int fd;

	start();
	fd = dial();
	for (cut = 0; cut < sizeof three - 1; cut++) {
		say_bytes(fd, three, cut);
		if (cut % 8 == 0)
			nap(1);
		say_bytes(fd, three + cut, sizeof three - 1 - cut);
		hear_three(fd);
	}
	close(fd);
	end_server();
}

TEST(a_request_one_byte_at_a_time_is_a_request)
{
	size_t i;
	int fd;

	start();
	fd = dial();
	for (i = 0; i < sizeof three - 1; i++) {
		say_bytes(fd, three + i, 1);
		nap(1);
	}
	hear_three(fd);
	close(fd);
	end_server();
}

static void *say_many(void *cl)
{
	int fd = *(int *)cl, i;

	for (i = 0; i < 2000; i++) {
		char request[256];
		int n = sprintf(request, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 8\r\n\r\n%08d", i);

		say_bytes(fd, request, (size_t)n);
	}
	return NULL;
}

static void many_with(size_t pipeline_bytes)
{
	pthread_t writer;
	char want[16];
	int fd, i;

	start_with((HTTPServer_Options){ .pipeline_bytes = pipeline_bytes });
	fd = dial();
	pthread_create(&writer, NULL, say_many, &fd);
	for (i = 0; i < 2000; i++) {
		ck_assert_int_eq(hear(fd), 200);
		sprintf(want, "%08d", i);
		ck_assert_str_eq(body(), want);
	}
	pthread_join(writer, NULL);
	close(fd);
	end_server();
}

TEST(two_thousand_requests_in_a_row_are_answered_in_order)
{
	many_with(0);
}

TEST(so_they_are_when_little_is_read_ahead)
{
	many_with(256);
}

TEST(one_that_pipelines_does_not_keep_the_others_waiting)
{
	static char pipeline[400000];
	size_t n = 0;
	int fd, i, big_sent = 0;

	start();
	fd = dial();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (n < sizeof pipeline - 100)
		n += (size_t)sprintf(pipeline + n, "%s", GET("/"));
	for (i = 0; i < 50; i++) {
		ssize_t sent = send(fd, pipeline, n, MSG_NOSIGNAL); /* part of a request is sent, and its rest never */

		big_sent += sent > 0;
		ck_assert_int_eq(ask(GET("/")), 200);
		if (sent > 0)
			break;
	}
	ck_assert_int_gt(big_sent, 0);
	close(fd);
	end_server();
}

TEST(a_large_body_comes_and_goes)
{
	static char bytes[1000000];
	size_t i;
	int fd;

	start();
	for (i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)('a' + i % 23);
	fd = dial();
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n");
	say_bytes(fd, bytes, sizeof bytes);
	ck_assert_int_eq(hear(fd), 200);
	ck_assert(nheard > sizeof bytes && memcmp(body(), bytes, sizeof bytes) == 0);
	say(fd, GET("/"));
	ck_assert_int_eq(hear(fd), 200);
	close(fd);
	end_server();
}

TEST(who_expects_a_hundred_is_told_to_continue_or_that_it_is_in_vain)
{
	int fd;

	start();
	fd = dial();
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
	ck_assert_int_eq(hear(fd), 100);
	say(fd, "hello");
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_str_eq(body(), "hello");
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
	ck_assert_int_eq(hear(fd), 200); /* it did not wait to be told */
	say(fd, "POST /nothing HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
	ck_assert(hear_all(fd));
	ck_assert_int_eq(atoi(heard + 9), 404);
	ck_assert(has("Connection: close\r\n"));
	close(fd);
	end_server();
}

TEST(who_shuts_down_its_side_is_answered_all_the_same)
{
	int fd;

	start();
	fd = dial();
	say(fd, GET("/") GET("/"));
	shutdown(fd, SHUT_WR);
	ck_assert(hear_all(fd));
	ck_assert_int_eq(count("200 OK"), 2);
	close(fd);
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\nHo");
	shutdown(fd, SHUT_WR);
	ck_assert(hear_all(fd));
	ck_assert_int_eq(count("HTTP/1.1 400 Bad Request"), 1);
	close(fd);
	fd = dial();
	shutdown(fd, SHUT_WR);
	ck_assert(hear_all(fd));
	ck_assert_uint_eq(nheard, 0);
	close(fd);
	end_server();
}

/* ---- the PROXY protocol ---- */

static void who(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%s", HTTPRequest_peer(request));
}

static void start_behind(const char *const *proxies)
{
	make_server((HTTPServer_Options){ .proxies = proxies });
	HTTPServer_route(server, "GET", "/who", who, NULL);
	launch();
}

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define SPOKEN(header, name) { header, sizeof header - 1, name }
static const struct {
	const char *header;
	size_t n;
	const char *name; /* NULL: no header; "": it names nobody */
} spoken[] = {
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n", "192.0.2.1:4711"),
	SPOKEN("PROXY TCP6 2001:db8::1 2001:db8::2 4711 80\r\n", "[2001:db8::1]:4711"),
	SPOKEN("PROXY UNKNOWN\r\n", ""),
	SPOKEN("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""),
	SPOKEN(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50", "192.0.2.1:4711"),
	SPOKEN(V2 "\x21\x11\0\x0f\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50\x04\0\0", "192.0.2.1:4711"),
	SPOKEN(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
		"\x12\x67\0\x50", "[2001:db8::1]:4711"),
	SPOKEN(V2 "\x20\0\0\0", ""),
	SPOKEN("", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80 1\r\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711 65536\r\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 -1 80\r\n", NULL),
	SPOKEN("PROXY TCP4 2001:db8::1 198.51.100.1 4711 80\r\n", NULL),
	SPOKEN("PROXY TCP5 192.0.2.1 198.51.100.1 4711 80\r\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711                                                              "
		"                                           80\r\n", NULL),
	SPOKEN(V2 "\x11\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50", NULL),
	SPOKEN(V2 "\x22\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50", NULL),
	SPOKEN(V2 "\x21\x11\0\x0b\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0", NULL),
	SPOKEN(V2 "\x21\x11\xff\xff", NULL)
};
enum { SPOKEN_TO = sizeof spoken / sizeof spoken[0] };

static void speak(int i, size_t cut)
{
	int fd = dial();

	say_bytes(fd, spoken[i].header, cut);
	if (cut)
		nap(1);
	if (send(fd, spoken[i].header + cut, spoken[i].n - cut, MSG_NOSIGNAL) >= 0)
		send(fd, GET("/who") GET("/who"), 2 * strlen(GET("/who")), MSG_NOSIGNAL);
	if (spoken[i].name) {
		ck_assert_int_eq(hear(fd), 200);
		if (*spoken[i].name)
			ck_assert_str_eq(body(), spoken[i].name);
		else
			ck_assert_msg(strncmp(body(), "127.0.0.1:", 10) == 0, "%s", body());
		ck_assert_int_eq(hear(fd), 200);
	} else {
		hear_all(fd);
		ck_assert_msg(nheard == 0, "header %d is answered %s", i, heard);
	}
	close(fd);
}

TEST(a_proxy_says_for_whom_it_speaks_or_is_not_served)
{
	static const char *const proxies[] = { "10.0.0.0/8", "127.0.0.0/24", NULL };
	int i;

	start_behind(proxies);
	for (i = 0; i < SPOKEN_TO; i++)
		speak(i, 0);
	end_server();
}

TEST(a_PROXY_header_may_come_in_pieces)
{
	static const char *const proxies[] = { "127.0.0.1", NULL };
	size_t cut;
	int i;

	start_behind(proxies);
	for (i = 0; i < 7; i += 4)
		for (cut = 1; cut < spoken[i].n; cut++)
			speak(i, cut);
	end_server();
}

TEST(who_is_no_proxy_cannot_say_that_it_is_somebody_else)
{
	static const char *const proxies[] = { "10.0.0.0/8", "::1", "127.0.0.2", "127.0.0.2/31", "unix", NULL };

	start_behind(proxies);
	ck_assert_int_eq(ask("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n" GET("/who")), 400);
	ck_assert_int_eq(ask(GET("/who")), 200);
	ck_assert(strncmp(body(), "127.0.0.1:", 10) == 0);
	end_server();
}

/* ---- refusals and limits ---- */

CASE("refusals and limits");

static const struct {
	int status;
	const char *request;
} refused[] = {
	{ 400, "GET / HTTP/1.1\r\n\r\n" },
	{ 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" },
	{ 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n" },
	{ 400, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
	{ 400, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello" },
	{ 400, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n" },
	{ 400, "GET /%zz HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, "nonsense\r\n\r\n" },
	{ 501, "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n" },
	{ 505, "GET / HTTP/2.0\r\n" HOST "\r\n" },
	{ 413, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n" }
};
enum { REFUSED = sizeof refused / sizeof refused[0] };

TEST(what_must_be_refused_is_and_nothing_behind_it_is_read)
{
	int fd, i, before;

	start();
	for (i = 0; i < REFUSED; i++)
		for (before = 0; before <= 1; before++) {
			fd = dial();
			if (before)
				say(fd, GET("/"));
			say(fd, refused[i].request);
			say(fd, GET("/"));
			hear_all(fd);
			ck_assert_int_eq(count("200 OK"), before);
			ck_assert_msg(atoi(strstr(heard, "HTTP/1.1 4") || strstr(heard, "HTTP/1.1 5")
				? (strstr(heard, "HTTP/1.1 4") ? strstr(heard, "HTTP/1.1 4") : strstr(heard, "HTTP/1.1 5")) + 9 : "0")
				== refused[i].status, "%s is answered %s", refused[i].request, heard);
			ck_assert(has("Connection: close\r\n"));
			close(fd);
		}
	ck_assert_uint_eq(stats_now().refused, 2 * REFUSED);
	ck_assert_int_eq(ask(GET("/")), 200);
	end_server();
}

TEST(the_limits_are_those_of_the_options)
{
	start_with((HTTPServer_Options){ .limits = { .request_line = 40, .header_bytes = 60, .header_count = 3, .body_bytes = 10 } });
	ck_assert_int_eq(ask("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n" HOST "\r\n"), 414);
	ck_assert_int_eq(ask("GET / HTTP/1.1\r\n" HOST "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n"), 431);
	ck_assert_int_eq(ask("GET / HTTP/1.1\r\n" HOST "A: b\r\nC: d\r\nE: f\r\n\r\n"), 431);
	ck_assert_int_eq(ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n"), 413);
	ck_assert_int_eq(ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789"), 200);
	end_server();
}

TEST(who_uploads_too_much_still_reads_why)
{
	static char bytes[3000000];
	int fd, i;

	start();
	memset(bytes, 'x', sizeof bytes);
	for (i = 0; i < 5; i++) {
		fd = dial();
		say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n");
		say_bytes(fd, bytes, sizeof bytes); /* all of it: nobody is reset while sending */
		ck_assert(hear_all(fd));
		ck_assert(has("413 Content Too Large"));
		close(fd);
	}
	end_server();
}

/* Both ends of so many connections are this process's. */
static void allow_descriptors(rlim_t n)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_msg(limit.rlim_max >= n, "the machine allows %lu descriptors", (unsigned long)limit.rlim_max);
	if (limit.rlim_cur < n) {
		limit.rlim_cur = n;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
}

enum { SLOW = 1000 };

static int reads_slowly(int i)
{
	return i % 50 == 0;
}

/* Half of a head or of a body, or nothing of a response that fits into no buffer is taken. */
static int begin_slowly(int i)
{
	int fd = reads_slowly(i) ? dial_narrow() : dial();

	if (reads_slowly(i))
		say(fd, GET("/stream?60000"));
	else
		say(fd, i % 2 ? "GET / HT" : "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhe");
	return fd;
}

static void end_slowly(int fd, int i)
{
	if (reads_slowly(i)) {
		hear_one(fd, 0);
		ck_assert(has("HTTP/1.1 200"));
	} else {
		say(fd, i % 2 ? "TP/1.1\r\n" HOST "\r\n" : "llo");
		ck_assert_int_eq(hear(fd), 200);
		ck_assert_str_eq(body(), "hello");
	}
	close(fd);
}

TEST(a_thousand_slow_clients_slow_nobody)
{
	static int fd[SLOW];
	int i;

	allow_descriptors(2 * SLOW + 200);
	start_streams((HTTPServer_Options){ .limits = { .head_ms = 60000, .body_ms = 60000 }, .send_ms = 60000 });
	for (i = 0; i < SLOW; i++)
		fd[i] = begin_slowly(i);
	await(stats_now().connections == SLOW);
	for (i = 0; i < 100; i++) {
		int64_t asked = clock_ms();

		ck_assert_int_eq(ask(GET("/")), 200);
		ck_assert_int_lt(clock_ms() - asked, 5000);
	}
	for (i = 0; i < SLOW; i++)
		end_slowly(fd[i], i);
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().timed_out, 0);
	end_server();
}

TEST(a_head_that_takes_too_long_is_408_however_busy_it_looks)
{
	int64_t start_ms;
	int fd, i;

	start_with((HTTPServer_Options){ .limits = { .head_ms = 150 } });
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\n" HOST);
	start_ms = clock_ms();
	for (i = 0; i < 200 && listen_for(fd, heard, 1, 10) == -2; i++)
		send(fd, "X: y\r\n", 6, MSG_NOSIGNAL);
	ck_assert_int_ge(clock_ms() - start_ms, 130);
	hear_all(fd);
	ck_assert(has("TTP/1.1 408 Request Timeout"));
	ck_assert(has("the head of the request took too long"));
	close(fd);
	ck_assert_uint_eq(stats_now().timed_out, 1);
	end_server();
}

TEST(a_body_slower_than_its_rate_is_408)
{
	int64_t start_ms;
	int fd, i;

	start_with((HTTPServer_Options){ .limits = { .body_ms = 100 }, .body_rate = 1000 });
	fd = dial();
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
	start_ms = clock_ms();
	for (i = 0; i < 1000 && listen_for(fd, heard, 1, 10) == -2; i++)
		send(fd, "x", 1, MSG_NOSIGNAL);
	ck_assert_int_lt(i, 990);
	ck_assert_int_ge(clock_ms() - start_ms, 90);
	hear_all(fd);
	ck_assert(has("TTP/1.1 408"));
	close(fd);
	/* at its rate, it takes its time */
	fd = dial();
	say(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
	for (i = 0; i < 10; i++) {
		char bytes[100];

		memset(bytes, 'x', sizeof bytes);
		say_bytes(fd, bytes, sizeof bytes);
		nap(20);
	}
	ck_assert_int_eq(hear(fd), 200);
	close(fd);
	end_server();
}

TEST(an_idle_connection_is_closed_without_a_word)
{
	int fresh, used;

	start_with((HTTPServer_Options){ .idle_ms = 60 });
	fresh = dial();
	used = dial();
	say(used, GET("/"));
	ck_assert_int_eq(hear(used), 200);
	ck_assert(hear_all(fresh));
	ck_assert_uint_eq(nheard, 0);
	ck_assert(hear_all(used));
	ck_assert_uint_eq(nheard, 0);
	close(fresh);
	close(used);
	await(stats_now().connections == 0);
	end_server();
}

static void slow_hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	nap(1);
	hello(request, response, cl);
}

TEST(a_connection_whose_requests_wait_for_their_turn_is_not_idle)
{
	enum { CLIENTS = 4, REQUESTS = 400 };
	static char text[REQUESTS * sizeof GET("/")];
	int fd[CLIENTS], i, n;

	make_server((HTTPServer_Options){ .idle_ms = 40 });
	HTTPServer_route(server, "GET", "/", slow_hello, NULL);
	for (n = 0; n < REQUESTS; n++)
		strcat(text, GET("/"));
	for (i = 0; i < CLIENTS; i++) {
		fd[i] = dial();
		say(fd[i], text); /* in one piece: the kernel drops many small ones, and sends them again after the idle time */
	}
	launch();
	for (i = 0; i < CLIENTS; i++) {
		hear_all(fd[i]);
		ck_assert_int_eq(count("200 OK"), REQUESTS);
		close(fd[i]);
	}
	end_server();
}

/* Those that have places are in the middle of a request: idle ones would go (test_httpserverlife.c). */
TEST(more_connections_than_fit_wait_until_there_is_room)
{
	int fd[4], i;

	start_with((HTTPServer_Options){ .connections = 2 });
	for (i = 0; i < 4; i++) {
		fd[i] = dial();
		say(fd[i], i < 2 ? "GET / HTTP/1.1\r\n" HOST : GET("/"));
	}
	await(stats_now().received == 2 * strlen("GET / HTTP/1.1\r\n" HOST));
	ck_assert_uint_le(stats_now().connections, 2);
	ck_assert_int_eq(listen_for(fd[2], heard, 1, 50), -2);
	ck_assert_uint_le(stats_now().connections, 2);
	say(fd[0], "\r\n");
	ck_assert_int_eq(hear(fd[0]), 200);
	close(fd[0]);
	close(fd[1]);
	ck_assert_int_eq(hear(fd[2]), 200);
	ck_assert_int_eq(hear(fd[3]), 200);
	close(fd[2]);
	close(fd[3]);
	end_server();
}

TEST(an_address_has_no_more_connections_than_it_may)
{
	int fd[3], i;

	start_with((HTTPServer_Options){ .per_address = 2 });
	for (i = 0; i < 3; i++) {
		fd[i] = dial();
		send(fd[i], GET("/"), strlen(GET("/")), MSG_NOSIGNAL);
		if (i < 2)
			ck_assert_int_eq(hear(fd[i]), 200);
	}
	hear_all(fd[2]);
	ck_assert_uint_eq(nheard, 0);
	await(stats_now().turned_away == 1);
	close(fd[0]);
	await(stats_now().connections == 1);
	close(fd[2]);
	await(ask(GET("/")) == 200);
	close(fd[1]);
	end_server();
}

/* ---- output ---- */

CASE("output");

static void check_big(void)
{
	const char *bytes = body();
	char line[101];
	int i;

	ck_assert_uint_eq(strlen(bytes), BIG);
	for (i = 0; i < BIG / 100; i++) {
		snprintf(line, sizeof line, "%099d\n", i);
		ck_assert(memcmp(bytes + i * 100, line, 100) == 0);
	}
}

TEST(who_reads_slowly_gets_every_byte_and_holds_up_nobody)
{
	enum { TIMES = 3 };
	int fd, i;

	start();
	fd = dial_narrow();
	for (i = 0; i < TIMES; i++)
		say(fd, GET("/big") GET("/"));
	for (i = 0; i < 20; i++)
		ck_assert_int_eq(ask(GET("/")), 200);
	for (i = 0; i < TIMES; i++) {
		ck_assert_int_eq(hear(fd), 200);
		check_big();
		ck_assert_int_eq(hear(fd), 200);
		ck_assert_str_eq(body(), "hello");
	}
	close(fd);
	end_server();
}

TEST(nothing_is_read_of_a_client_that_does_not_read)
{
	static char pipeline[1 << 16];
	size_t n = 0, taken = 0;
	int fd, idle = 0;

	start();
	fd = dial_narrow();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (n < sizeof pipeline - 100)
		n += (size_t)sprintf(pipeline + n, "%s", GET("/big"));
	while (idle < 20) { /* the sockets' buffers fill, and then that is all */
		ssize_t sent = send(fd, pipeline + taken % n, n - taken % n, MSG_NOSIGNAL);

		if (sent > 0)
			taken += (size_t)sent;
		idle = sent > 0 ? 0 : idle + 1;
		ck_assert_uint_lt(taken, 64u << 20);
		nap(5);
	}
	ck_assert_uint_lt(stats_now().received, 1 << 20);
	close(fd);
	await(stats_now().connections == 0);
	end_server();
}

TEST(who_does_not_take_a_response_in_time_is_let_go)
{
	int fd, i;

	start_with((HTTPServer_Options){ .send_ms = 100 });
	fd = dial_narrow();
	for (i = 0; i < 20; i++)
		say(fd, GET("/big"));
	await(stats_now().timed_out == 1);
	await(stats_now().connections == 0);
	close(fd);
	end_server();
}

static atomic_int entered[32];

static void pad(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	HTTPResponse_write(response, Arena_calloc(HTTPRequest_arena(request), 1, 15000), 15000);
	(void)cl;
}

static void enter(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	atomic_store(&entered[atoi(HTTPRequest_param(request, "id"))], 1);
	blocker(request, response, cl);
}

static int dial_unix(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* Of the clients that ask for 0, 1, 2, ... large responses before one that a worker makes, some have a socket that takes no
 * more just when the worker begins: a Unix socket, whose buffer does not grow. */
TEST(the_time_that_a_worker_takes_is_not_the_clients_who_has_responses_to_take_before)
{
	enum { CLIENTS = sizeof entered / sizeof entered[0], SEND_MS = 1500 };
	char path[64], host[80], request[64];
	int fd[CLIENTS], i, n;

	sprintf(path, "/tmp/core-httpserver-%ld", (long)getpid());
	sprintf(host, "unix:%s", path);
	atomic_store(&unblocked, 0);
	make_server((HTTPServer_Options){ .host = host, .send_ms = SEND_MS, .workers = CLIENTS });
	HTTPServer_route(server, "GET", "/pad", pad, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ "GET", "/slow/:id", enter, "slow", 1, NULL });
	launch();
	for (i = 0; i < CLIENTS; i++) {
		fd[i] = dial_unix(path);
		for (n = 0; n < i; n++)
			say(fd[i], GET("/pad"));
		sprintf(request, "GET /slow/%d HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", i);
		say(fd[i], request);
	}
	nap(SEND_MS + 200);
	atomic_store(&unblocked, 1);
	nap(200);
	for (i = 0; i < CLIENTS; i++) {
		if (atomic_load(&entered[i])) {
			hear_all(fd[i]);
			sprintf(request, "slow id=%d", i);
			ck_assert_msg(nheard > strlen(request) && strcmp(heard + nheard - strlen(request), request) == 0,
				"after %d large responses the last one is missing: %zu bytes", i, nheard);
		}
		close(fd[i]);
	}
	end_server();
}

TEST(who_leaves_in_the_middle_of_anything_does_no_harm)
{
	size_t n;
	int fd;

	start();
	for (n = 1; n < sizeof three - 1; n += 3) {
		struct linger reset = { 1, 0 };

		fd = dial();
		say_bytes(fd, three, n);
		if (n % 2)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close(fd);
		fd = dial_narrow();
		say(fd, GET("/big"));
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close(fd);
	}
	ck_assert_int_eq(ask(GET("/")), 200);
	await(stats_now().connections == 0);
	end_server();
}

TEST(no_client_ever_sees_the_bytes_of_another)
{
	enum { CLIENTS = 40 };
	int fd[CLIENTS], round, i;
	char text[200];

	start_with((HTTPServer_Options){ .pipeline_bytes = 256 });
	for (i = 0; i < CLIENTS; i++)
		fd[i] = dial();
	for (round = 0; round < 5; round++) {
		for (i = 0; i < CLIENTS; i++) { /* a request, and half of the next */
			sprintf(text, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\nclient %04dPOST /ec", i);
			say(fd[i], text);
		}
		for (i = CLIENTS; i-- > 0; ) {
			say(fd[i], "ho HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nmo");
			ck_assert_int_eq(hear(fd[i]), 200);
			sprintf(text, "client %04d", i);
			ck_assert_str_eq(body(), text);
		}
		for (i = 0; i < CLIENTS; i++) {
			sprintf(text, "%04d", i);
			say(fd[i], text);
			ck_assert_int_eq(hear(fd[i]), 200);
			sprintf(text, "mo%04d", i);
			ck_assert_str_eq(body(), text);
			if (i % 3 == round % 3) { /* another client has its place */
				close(fd[i]);
				fd[i] = dial();
			}
		}
	}
	for (i = 0; i < CLIENTS; i++)
		close(fd[i]);
	end_server();
}

/* ---- the end ---- */

CASE("the end");

TEST(stop_ends_the_idle_and_answers_those_at_hand)
{
	int idle, half, working;

	start_blocking((HTTPServer_Options){ 0 });
	idle = dial();
	say(idle, GET("/"));
	ck_assert_int_eq(hear(idle), 200);
	half = dial();
	say(half, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhe");
	working = dial();
	say(working, GET("/slow/1"));
	await(atomic_load(&inside) == 1 && stats_now().requests == 3);
	HTTPServer_stop(server);
	ck_assert(hear_all(idle));
	ck_assert_uint_eq(nheard, 0);
	say(half, "llo");
	ck_assert(hear_all(half));
	ck_assert(has("200 OK") && has("Connection: close\r\n") && has("hello"));
	atomic_store(&unblocked, 1);
	ck_assert(hear_all(working));
	ck_assert(has("200 OK") && has("Connection: close\r\n"));
	close(idle);
	close(half);
	close(working);
	join_server();
}

TEST(who_is_not_done_by_the_deadline_is_cut_off)
{
	int64_t start_ms;
	int fd;

	start_with((HTTPServer_Options){ .drain_ms = 100 });
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\n");
	await(stats_now().received > 0);
	start_ms = clock_ms();
	end_server();
	ck_assert_int_ge(clock_ms() - start_ms, 90);
	ck_assert_int_lt(clock_ms() - start_ms, 5000);
	close(fd);
}

/* -1: there is no such address of our own here */
static int dial_from(const char *address)
{
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, address, &from.sin_addr);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0) {
		close(fd);
		return -1;
	}
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

TEST(who_waits_at_the_listener_behind_one_that_is_turned_away_is_answered_too)
{
	int fd[3], i;

	make_server((HTTPServer_Options){ .per_address = 1 });
	everything();
	fd[0] = dial();
	fd[1] = dial();
	fd[2] = dial_from("127.0.0.2");
	for (i = 0; i < 3; i++)
		if (fd[i] >= 0)
			say(fd[i], GET("/"));
	HTTPServer_stop(server);
	launch();
	for (i = 0; i < 3; i++)
		if (fd[i] >= 0) {
			hear_all(fd[i]);
			ck_assert_int_eq(count("200 OK"), i != 1);
			close(fd[i]);
		}
	join_server();
}

enum { HUGE = 16 << 20 };

static void huge(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_write(response, Arena_calloc(HTTPRequest_arena(request), 1, HUGE), HUGE);
}

static char huge_heard[HUGE + 2000];

/* All that comes until an orderly end: so many bytes. */
static size_t hear_huge(int fd)
{
	size_t total = 0;
	ssize_t n;

	while ((n = listen_for(fd, huge_heard + total, sizeof huge_heard - 1 - total, PATIENCE)) > 0)
		total += (size_t)n;
	ck_assert_msg(n == 0, "%zd after %zu bytes", n, total);
	return total;
}

/* To close while its next request lies unread would reset the connection, and take from it what it has not read yet. */
TEST(who_takes_a_response_while_the_server_drains_gets_all_of_it_and_the_next_one)
{
	size_t total;
	int fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/huge", huge, NULL);
	HTTPServer_route(server, "GET", "/", hello, NULL);
	launch();
	fd = dial_narrow();
	say(fd, GET("/huge"));
	await(stats_now().sent > 0);
	say(fd, GET("/"));
	HTTPServer_stop(server);
	total = hear_huge(fd);
	ck_assert_uint_gt(total, HUGE + 200);
	ck_assert_str_eq(huge_heard + total - 5, "hello");
	close(fd);
	join_server();
}

static void nap_handler(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	atomic_fetch_add(&inside, 1);
	nap(500);
	hello(request, response, cl);
}

/* An empty line after the request, as some send. */
TEST(what_comes_after_the_last_request_takes_nothing_from_its_response)
{
	size_t total;
	int fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/huge", huge, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/slow", .handler = nap_handler, .blocks = 1 });
	launch();
	fd = dial_narrow();
	say(fd, "GET /huge HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	await(stats_now().sent > 0);
	say(fd, "\r\n");
	total = hear_huge(fd);
	ck_assert_uint_gt(total, HUGE);
	close(fd);
	fd = dial();
	say(fd, "GET /slow HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	await(atomic_load(&inside) == 1);
	say(fd, "\r\n");
	await(stats_now().status[2] == 2);
	nap(20);
	ck_assert(hear_all(fd));
	ck_assert(has("hello"));
	close(fd);
	end_server();
}

TEST(after_the_deadline_run_waits_for_handlers_that_run_and_for_no_others)
{
	enum { CLIENTS = 8 };
	HTTPServer_Route route = { .pattern = "/", .handler = nap_handler, .blocks = 1 };
	int fd[CLIENTS], i;

	make_server((HTTPServer_Options){ .workers = 1, .drain_ms = 50 });
	HTTPServer_route_with(server, &route);
	launch();
	for (i = 0; i < CLIENTS; i++) {
		fd[i] = dial();
		say(fd[i], GET("/"));
	}
	await(stats_now().requests == CLIENTS && atomic_load(&inside) == 1);
	HTTPServer_stop(server);
	pthread_join(server_thread, NULL);
	ck_assert_int_le(atomic_load(&inside), 2); /* the second one if the first ended before the deadline */
	for (i = 0; i < CLIENTS; i++) {
		hear_all(fd[i]);
		ck_assert(i < atomic_load(&inside) ? has("200 OK") && has("hello") : nheard == 0);
		close(fd[i]);
	}
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

TEST(stop_before_run_makes_run_return)
{
	make_server((HTTPServer_Options){ .threads = 2 });
	HTTPServer_stop(server);
	HTTPServer_run(server);
	HTTPServer_stop(server); /* and again does nothing */
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static void stop_on_signal(int signal)
{
	(void)signal;
	HTTPServer_stop(server);
}

static void *signal_soon(void *cl)
{
	ck_assert_int_eq(ask(GET("/")), 200);
	kill(getpid(), SIGTERM);
	return cl;
}

TEST(stop_in_a_signal_handler_makes_run_return)
{
	struct sigaction action = { .sa_handler = stop_on_signal };
	pthread_t thread;

	make_server((HTTPServer_Options){ .threads = 2 });
	everything();
	sigaction(SIGTERM, &action, NULL);
	pthread_create(&thread, NULL, signal_soon, NULL);
	HTTPServer_run(server);
	pthread_join(thread, NULL);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static atomic_int good, lost;

/* Asks until the server is gone: a connection may end between two responses, but never within one. */
static void *press(void *cl)
{
	for (;;) {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
		int fd = socket(AF_INET, SOCK_STREAM, 0), i;

		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
			close(fd);
			return cl;
		}
		for (i = 0; i < 50; i++) {
			char text[1024];
			ssize_t n, got = 0;

			if (send(fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL) < 0)
				break;
			while ((n = recv(fd, text + got, sizeof text - 1 - (size_t)got, 0)) > 0) {
				got += n;
				text[got] = '\0';
				if (got > 5 && strcmp(text + got - 5, "hello") == 0)
					break;
			}
			if (n > 0)
				atomic_fetch_add(&good, 1);
			else if (got > 0)
				atomic_fetch_add(&lost, 1);
			if (n <= 0)
				break;
		}
		close(fd);
	}
}

TEST(a_drain_under_load_breaks_no_response_and_ends)
{
	enum { CLIENTS = 6 };
	pthread_t clients[CLIENTS];
	int i;

	start_with((HTTPServer_Options){ .threads = 2, .drain_ms = 5000 });
	for (i = 0; i < CLIENTS; i++)
		pthread_create(&clients[i], NULL, press, NULL);
	await(atomic_load(&good) > 200);
	HTTPServer_stop(server);
	for (i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	ck_assert_int_eq(atomic_load(&lost), 0);
	join_server();
}

/* ---- descriptors, threads, memory ---- */

CASE("descriptors, threads, memory");

enum { TAKEN = 200 };

/* Takes every descriptor that a lower limit leaves; the number of those taken. */
static int take_descriptors(int *taken)
{
	struct rlimit low;
	int n = 0;

	getrlimit(RLIMIT_NOFILE, &low);
	low.rlim_cur = TAKEN;
	setrlimit(RLIMIT_NOFILE, &low);
	while (n < TAKEN && (taken[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	return n;
}

TEST(without_descriptors_it_goes_on_and_recovers)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct rlimit limit;
	int inside_fd, outside, taken[TAKEN], n;

	start();
	getrlimit(RLIMIT_NOFILE, &limit);
	inside_fd = dial();
	say(inside_fd, GET("/"));
	ck_assert_int_eq(hear(inside_fd), 200);
	outside = socket(AF_INET, SOCK_STREAM, 0);
	n = take_descriptors(taken);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((unsigned short)port);
	ck_assert_int_eq(connect(outside, (struct sockaddr *)&to, sizeof to), 0);
	hear_all(outside); /* a clear end, and now: Valgrind's accept closes it itself, so no count here */
	ck_assert_uint_eq(nheard, 0);
	say(inside_fd, GET("/"));
	ck_assert_int_eq(hear(inside_fd), 200);
	while (n > 0)
		close(taken[--n]);
	setrlimit(RLIMIT_NOFILE, &limit);
	close(outside);
	close(inside_fd);
	ck_assert_int_eq(ask(GET("/")), 200);
	end_server();
}

static void *ask_often(void *cl)
{
	int fd = dial(), i;
	char text[4096];

	for (i = 0; i < 200; i++) {
		char request[200];
		ssize_t got = 0, n;
		int length = sprintf(request, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n%4d %6d\n", (int)(intptr_t)cl, i);

		say_bytes(fd, request, (size_t)length);
		while ((n = recv(fd, text + got, sizeof text - 1 - (size_t)got, 0)) > 0) {
			got += n;
			text[got] = '\0';
			if (got > 12 && text[got - 1] == '\n' && text[got - 13] == '\n')
				break;
		}
		ck_assert_msg(n > 0 && memcmp(text + got - 12, request + length - 12, 12) == 0, "%.*s", (int)got, text);
	}
	close(fd);
	return NULL;
}

TEST(two_loops_serve_many_at_once)
{
	enum { CLIENTS = 12 };
	pthread_t clients[CLIENTS];
	HTTPServer_Stats s;
	int i;

	start_with((HTTPServer_Options){ .threads = 2 });
	for (i = 0; i < CLIENTS; i++)
		pthread_create(&clients[i], NULL, ask_often, (void *)(intptr_t)i);
	for (i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	s = stats_now();
	ck_assert_uint_eq(s.requests, CLIENTS * 200);
	ck_assert_uint_eq(s.status[2], CLIENTS * 200);
	ck_assert_uint_eq(s.accepted, CLIENTS);
	ck_assert_uint_gt(s.received, CLIENTS * 200 * 12);
	ck_assert_uint_gt(s.sent, CLIENTS * 200 * 12);
	end_server();
}

static struct {
	int n, status;
	size_t nbytes;
	char method[16], path[64], error[200], peer[64];
	int64_t microseconds;
} logged;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void take_log(const HTTPServer_Entry *e, void *cl)
{
	const char *method = HTTPRequest_method(e->request), *path = HTTPRequest_path(e->request);

	ck_assert_str_eq(cl, "cl");
	ck_assert(method || !HTTPRequest_header(e->request, "Host"));
	pthread_mutex_lock(&log_lock);
	logged.n++;
	logged.status = e->status;
	logged.nbytes = e->nbytes;
	logged.microseconds = e->microseconds;
	snprintf(logged.method, sizeof logged.method, "%s", method ? method : "-");
	snprintf(logged.path, sizeof logged.path, "%s", path ? path : "-");
	snprintf(logged.error, sizeof logged.error, "%s", e->error ? e->error : "-");
	snprintf(logged.peer, sizeof logged.peer, "%s", e->peer);
	pthread_mutex_unlock(&log_lock);
}

TEST(the_log_has_an_entry_for_each_response)
{
	start_with((HTTPServer_Options){ .log = take_log, .log_cl = "cl" });
	ck_assert_int_eq(ask(GET("/")), 200);
	ck_assert_int_eq(logged.n, 1);
	ck_assert_int_eq(logged.status, 200);
	ck_assert_uint_eq(logged.nbytes, 5);
	ck_assert_str_eq(logged.method, "GET");
	ck_assert_str_eq(logged.path, "/");
	ck_assert_str_eq(logged.error, "-");
	ck_assert(strncmp(logged.peer, "127.0.0.1:", 10) == 0);
	ck_assert(logged.microseconds >= 0 && logged.microseconds < 60000000);
	ck_assert_int_eq(ask(GET("/raise")), 500);
	ck_assert_str_eq(logged.error, "the secret of the house");
	ck_assert_int_eq(ask("GET / HTTP/1.1\r\nX: y\r\nHost : a\r\n\r\n"), 400);
	ck_assert_str_eq(logged.method, "GET");
	ck_assert_str_eq(logged.path, "/");
	ck_assert(strstr(logged.error, "white space before the colon") != NULL);
	ck_assert_int_eq(logged.n, 3);
	end_server();
}

static void log_all_parts(const HTTPServer_Entry *e, void *cl)
{
	HTTPRequest_T r = e->request;
	size_t n = 1, length = 1;

	if (HTTPRequest_method(r)) { /* the request line was right */
		ck_assert_str_eq(HTTPRequest_method(r), "GET");
		ck_assert_ptr_nonnull(strstr(HTTPRequest_target(r), "?a=b"));
		ck_assert_str_eq(HTTPRequest_query(r), "a=b");
		ck_assert_str_eq(HTTPRequest_version(r), "HTTP/1.1");
		ck_assert_str_eq(HTTPRequest_query_param(r, "a"), "b");
	} else {
		ck_assert(!HTTPRequest_target(r) && !HTTPRequest_path(r) && !HTTPRequest_query(r) && !HTTPRequest_version(r));
		ck_assert(HTTPRequest_query_params(r, &n) && n == 0);
	}
	ck_assert(!HTTPRequest_header(r, "Host") && !HTTPRequest_form_param(r, "a") && !HTTPRequest_param(r, "a"));
	ck_assert(HTTPRequest_body(r, &length) && length == 0);
	ck_assert_int_eq(e->status, 400);
	atomic_fetch_add((atomic_int *)cl, 1);
}

TEST(a_request_whose_head_was_refused_has_its_line_in_the_log_and_no_field)
{
	static const char *const heads[] = {
		GET("/%zz?a=b"), GET("/../?a=b"), GET("/a\\b?a=b"), "GET /?a=b HTTP/1.1\r\n\r\n", "GET /?a=b HTTP/1.1\r\nX : y\r\n\r\n",
		"GET http://:80/?a=b HTTP/1.1\r\n" HOST "\r\n", "GET http://b/..?a=b HTTP/1.1\r\n" HOST "\r\n"
	};
	atomic_int entries = 0;
	int i;

	start_with((HTTPServer_Options){ .log = log_all_parts, .log_cl = &entries });
	for (i = 0; i < (int)(sizeof heads / sizeof heads[0]); i++) {
		ck_assert_int_eq(ask(heads[i]), 400);
		await(atomic_load(&entries) == i + 1);
	}
	end_server();
}

TEST(the_blocking_pair_takes_the_same_handlers)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	arena = Arena_new();
	TRY {
		AUTO(Socket_T, s, Socket_close) = Socket_adopt(fd[0]);
		HTTPRequest_T request;
		HTTPResponse_T response;

		say(fd[1], "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
		request = HTTPRequest_parse(arena, s);
		response = HTTPResponse_new(arena);
		ck_assert_ptr_null(HTTPRequest_param(request, "id"));
		echo(request, response, NULL);
		HTTPResponse_send(s, response);
		ck_assert_int_eq(hear(fd[1]), 200);
		ck_assert_str_eq(body(), "hello");
		say(fd[1], "GET /fields HTTP/1.1\r\n" HOST "X-One: 1\r\n\r\n");
		request = HTTPRequest_parse(arena, s);
		response = HTTPResponse_new(arena);
		fields(request, response, NULL);
		HTTPResponse_send(s, response);
		ck_assert_int_eq(hear(fd[1]), 200);
		ck_assert_str_eq(body(), "1 a 2");
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	close(fd[1]);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

/* ---- listening ---- */

TEST(an_address_in_use_is_an_exception)
{
	char service[16];
	int threads;

	start();
	snprintf(service, sizeof service, "%d", port);
	for (threads = 1; threads <= 2; threads++) {
		HTTPServer_Options o = { .host = "127.0.0.1", .service = service, .threads = threads };

		ck_raises_saying(Socket_Failed, "in use", HTTPServer_new(arena, &o));
	}
	end_server();
}

TEST(a_shared_port_may_be_served_by_two_servers)
{
	HTTPServer_Options o = { .host = "127.0.0.1", .threads = 2, .shared = 1 };
	char service[16];
	Arena_T other;

	start_with(o);
	snprintf(service, sizeof service, "%d", port);
	o.service = service;
	other = Arena_new();
	ck_assert_int_eq(HTTPServer_port(HTTPServer_new(other, &o)), port);
	Arena_dispose(&other);
	ck_assert_int_eq(ask(GET("/")), 200);
	end_server();
}

TEST(a_unix_socket_serves_all_loops)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char host[sizeof to.sun_path + 8];
	int fd, i;

	sprintf(to.sun_path, "/tmp/core-httpserver-%ld", (long)getpid());
	sprintf(host, "unix:%s", to.sun_path);
	start_with((HTTPServer_Options){ .host = host, .threads = 2 });
	ck_assert_int_eq(port, 0);
	for (i = 0; i < 20; i++) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
		say(fd, GET("/"));
		ck_assert_int_eq(hear(fd), 200);
		close(fd);
	}
	end_server();
	ck_assert_int_ne(access(to.sun_path, F_OK), 0);
}

/* Without Check, which writes to descriptor 3. */
static int is_served(void)
{
	char text[16] = "";
	int fd = try_dial();

	send(fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL);
	recv(fd, text, 12, MSG_WAITALL);
	close(fd);
	return strcmp(text, "HTTP/1.1 200") == 0;
}

/* Another server of the process, which has the options of the first: its socket is its own. */
static int is_alone(HTTPServer_Options options)
{
	Arena_T other = Arena_new();
	int alone = HTTPServer_port(HTTPServer_new(other, &options)) != port;

	Arena_dispose(&other);
	return alone && fcntl(3, F_GETFD) >= 0;
}

/* In a child, whose descriptors are its own. fds: what LISTEN_FDS says. The exit status: 0 when it serves there. */
static int activate(const char *fds, const char *pid)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	HTTPServer_Options options = { .host = "127.0.0.1", .service = "0", .threads = 2, .activated = 1 };
	volatile int status = 2;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0 || dup2(fd, 3) != 3)
		return 3;
	getsockname(fd, (struct sockaddr *)&a, &n);
	setenv("LISTEN_FDS", fds, 1);
	setenv("LISTEN_PID", pid, 1);
	arena = Arena_new();
	TRY {
		server = HTTPServer_new(arena, &options);
		status = HTTPServer_port(server) != ntohs(a.sin_port);
	} EXCEPT(Socket_Failed) {
	} END_TRY;
	if (status == 0) {
		port = HTTPServer_port(server);
		everything();
		pthread_create(&server_thread, NULL, run_server, NULL);
		status = !is_alone(options) ? 5 : is_served() ? 0 : 4;
		HTTPServer_stop(server);
		pthread_join(server_thread, NULL);
	}
	Arena_dispose(&arena);
	return status;
}

static int activated(const char *fds, int for_me)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		char pid[32];

		snprintf(pid, sizeof pid, "%ld", (long)getpid() + !for_me);
		_exit(activate(fds, pid));
	}
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(a_socket_of_the_service_manager_is_served_if_it_is_for_us)
{
	ck_assert_int_eq(activated("1", 1), 0);
	ck_assert_int_eq(activated("1", 0), 1); /* another process's: a socket of our own */
	ck_assert_int_eq(activated("2", 1), 2); /* raises */
}

TEST(options_out_of_range_are_checked)
{
	static const char *const wrong[] = { "localhost", "1.2.3.4/33", "1.2.3.4/", "::1/129", "1.2.3/8", "1.2.3.4/x", "" };
	volatile size_t i;
	Arena_T a = Arena_new();

	ck_raises_saying(Assert_Failed, "-1 threads", HTTPServer_new(a, &(HTTPServer_Options){ .threads = -1 }));
	ck_raises_saying(Assert_Failed, "-1 workers", HTTPServer_new(a, &(HTTPServer_Options){ .workers = -1 }));
	ck_raises_saying(Assert_Failed, "-5 bytes", HTTPServer_new(a, &(HTTPServer_Options){ .body_rate = -5 }));
	ck_raises_saying(Assert_Failed, " connections",
		HTTPServer_new(a, &(HTTPServer_Options){ .service = "0", .threads = 2, .connections = SIZE_MAX }));
	ck_raises_saying(Assert_Failed, "2147483648 connections",
		HTTPServer_new(a, &(HTTPServer_Options){ .service = "0", .connections = (size_t)2147483647 + 1 }));
	ck_raises_saying(Assert_Failed, "pipeline_bytes is 100", HTTPServer_new(a, &(HTTPServer_Options){ .pipeline_bytes = 100 }));
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		const char *const proxies[] = { wrong[i], NULL };

		ck_raises_saying(Assert_Failed, "is not an address or address/bits",
			HTTPServer_new(a, &(HTTPServer_Options){ .proxies = proxies }));
	}
	ck_raises_saying(Assert_Failed, "request is NULL", HTTPRequest_peer(NULL));
	ck_raises_saying(Assert_Failed, "arena is NULL", HTTPServer_new(NULL, NULL));
	ck_raises_saying(Assert_Failed, "HTTPServer_run: the server is NULL", HTTPServer_run(NULL));
	ck_raises_saying(Assert_Failed, "HTTPServer_stop: the server is NULL", HTTPServer_stop(NULL));
	ck_raises_saying(Assert_Failed, "HTTPServer_port: the server is NULL", HTTPServer_port(NULL));
	ck_raises_saying(Assert_Failed, "HTTPServer_stats: the server is NULL", HTTPServer_stats(NULL, NULL));
	ck_raises_saying(Assert_Failed, "request is NULL", HTTPRequest_param(NULL, "a"));
	Arena_dispose(&a);
}

static int make_without_memory(int fail_at)
{
	struct Failing f = { .fail_at = -1 };
	Arena_T a = failing_arena(&f);
	volatile int made = 0;

	f.fail_at = fail_at;
	TRY {
		HTTPServer_T s = HTTPServer_new(a, &(HTTPServer_Options){ .host = "127.0.0.1", .service = "0", .threads = 2 });

		HTTPServer_route(s, "GET", "/users/:id/*rest", hello, NULL);
		HTTPServer_route(s, "POST", "/users", hello, NULL);
		HTTPServer_route(s, "PUT", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/:id/*rest", hello, NULL);
		made = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
	return made;
}

TEST(without_memory_a_server_is_not_made_and_nothing_leaks)
{
	int n = 0;

	while (!make_without_memory(n))
		n++;
	ck_assert_int_ge(n, 4);
}
