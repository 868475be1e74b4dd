/* SPDX-License-Identifier: MIT */
/* HTTPServer: routes and handlers. */
#include "config.h"

#include "test_httpserver.h"

NEEDS(.descriptors = 2200);

/* ---- routes ---- */

SUITE("httpserver");
CASE("routes");

TEST(a_route_serves_its_method_and_path)
{
	start_server();
	ck_assert_int_eq(ask_server(GET("/")), 200);
	ck_assert_str_eq(response_body(), "hello");
	ck_assert(response_has("Content-Type: text/plain\r\n"));
	ck_assert(response_has("Date: "));
	end_server();
}

static void routes_to(const char *path, const char *text)
{
	char request[512];

	sprintf(request, "GET %s HTTP/1.1\r\n" HOST "\r\n", path);
	ck_assert_msg(ask_server(request) == 200 && strcmp(response_body(), text) == 0,
		"%s is answered %s", path,
		heard);
}

TEST(parameters_and_rests_come_from_the_path)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/users/:id", answer_params, "user");
	HTTPServer_route(server, "GET", "/users/:id/posts/:post", answer_params, "post");
	HTTPServer_route(server, "GET", "/files/*path", answer_params, "file");
	HTTPServer_route(server, "GET", "/any/*", answer_params, "any");
	launch_server();
	routes_to("/users/7", "user id=7");
	routes_to("/users/a%20b?x=1", "user id=a b");
	routes_to("/users/7/posts/x", "post id=7 post=x");
	routes_to("/files/a/b/c.txt", "file path=a/b/c.txt");
	routes_to("/files/", "file path=");
	routes_to("/any/thing/", "any *=thing/");
	ck_assert_int_eq(ask_server(GET("/users/")), 404);
	ck_assert_int_eq(ask_server(GET("/users")), 404);
	ck_assert_int_eq(ask_server(GET("/users/7/")), 404);
	ck_assert_int_eq(ask_server(GET("/users/7/posts")), 404);
	ck_assert_int_eq(ask_server(GET("/files")), 404);
	ck_assert_int_eq(ask_server(GET("/")), 404);
	end_server();
}

TEST(literals_go_before_parameters_and_these_before_rests)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/*", answer_params, "rest");
	HTTPServer_route(server, "GET", "/a/:id", answer_params, "parameter");
	HTTPServer_route(server, "GET", "/a/b", answer_params, "literal");
	HTTPServer_route(server, "GET", "/a/b/c", answer_params, "deep");
	HTTPServer_route(server, "GET", "/:id/d", answer_params, "other");
	launch_server();
	routes_to("/a/b", "literal");
	routes_to("/a/x", "parameter id=x");
	routes_to("/a/b/c", "deep");
	routes_to("/a/d", "parameter id=d");
	routes_to("/z/d", "other id=z");
	routes_to("/a/b/x", "rest *=a/b/x"); /* the match goes back from where /a/b ended */
	routes_to("/", "rest *=");
	end_server();
}

TEST(a_path_without_the_method_is_405_and_says_which_it_has)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/a", answer_hello, NULL);
	HTTPServer_route(server, "PUT", "/a", answer_hello, NULL);
	HTTPServer_route(server, "DELETE", "/:id", answer_params, "deleted");
	HTTPServer_route(server, "PUT", "/:id", answer_params, "put"); /* Allow has PUT once */
	HTTPServer_route(server, "POST", "/b/c", answer_hello, NULL);
	launch_server();
	ck_assert_int_eq(ask_server("POST /a HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"), 405);
	ck_assert(response_has("Allow: GET, PUT, DELETE, HEAD, OPTIONS\r\n"));
	ck_assert_int_eq(ask_server("DELETE /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	ck_assert_str_eq(response_body(), "deleted id=a");
	ck_assert_int_eq(ask_server("OPTIONS /a HTTP/1.1\r\n" HOST "\r\n"), 204);
	ck_assert(response_has("Allow: GET, PUT, DELETE, HEAD, OPTIONS\r\n"));
	ck_assert_int_eq(ask_server("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 204);
	ck_assert(response_has("Allow: OPTIONS, GET, HEAD, PUT, DELETE, POST\r\n"));
	ck_assert_int_eq(ask_server("OPTIONS /nothing/there HTTP/1.1\r\n" HOST "\r\n"), 404);
	end_server();
}

TEST(HEAD_is_served_by_GET_and_has_no_body)
{
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, "HEAD / HTTP/1.1\r\n" HOST "\r\n" GET("/"));
	ck_assert_int_eq(read_one_response(fd, 0), 200);
	ck_assert(response_has("Content-Length: 5\r\n"));
	ck_assert_int_eq(read_response(fd), 200); /* it comes at once, as there was no body */
	send_text(fd, "HEAD /nothing HTTP/1.1\r\n" HOST "\r\n" GET("/"));
	ck_assert_int_eq(read_one_response(fd, 0), 404);
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	end_server();
}

TEST(HEAD_has_no_body_if_its_line_is_refused)
{
	char rest;
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, "HEAD /\x01 HTTP/1.1\r\n" HOST "\r\n");
	ck_assert_int_eq(read_one_response(fd, 0), 400);
	ck_assert_int_eq(read(fd, &rest, 1), 0);
	close(fd);
	end_server();
}

TEST(routes_of_HEAD_and_of_every_method_have_their_say)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/a", answer_hello, "get");
	HTTPServer_route(server, "HEAD", "/a", answer_hello, "longer than get");
	HTTPServer_route(server, NULL, "/b", answer_hello, "any");
	HTTPServer_route(server, "GET", "/b", answer_hello, "get");
	launch_server();
	ck_assert_int_eq(ask_server("HEAD /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	ck_assert(response_has("Content-Length: 15\r\n"));
	ck_assert_int_eq(ask_server("BREW /b HTTP/1.1\r\n" HOST "\r\n"), 200);
	ck_assert_str_eq(response_body(), "any");
	ck_assert_int_eq(ask_server(GET("/b")), 200);
	ck_assert_str_eq(response_body(), "get");
	end_server();
}

TEST(a_wrong_route_is_checked)
{
	HTTPServer_Route none = { .method = "GET", .pattern = "/" };

	make_server((HTTPServer_Options){ 0 });
	ck_raises_saying(Assert_Failed, "does not start with a slash",
		HTTPServer_route(server, "GET", "a", answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "has no name",
		HTTPServer_route(server, "GET", "/a/:/b", answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "has no name",
		HTTPServer_route(server, "GET", "/:", answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "goes on after its rest",
		HTTPServer_route(server, "GET", "/*a/b", answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "more than 16 parameters", HTTPServer_route(server, "GET",
		"/:1/:2/:3/:4/:5/:6/:7/:8/:9/:10/:11/:12/:13/:14/:15/:16/:17", answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "\"GET \" is not a method",
		HTTPServer_route(server, "GET ", "/", answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "the handler is NULL",
		HTTPServer_route(server, "GET", "/", NULL, NULL));
	ck_raises_saying(Assert_Failed, "the pattern is NULL",
		HTTPServer_route(server, "GET", NULL, answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "the server is NULL",
		HTTPServer_route(NULL, "GET", "/", answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "the handler is NULL", HTTPServer_route_with(server, &none));
	ck_raises_saying(Assert_Failed, "the route is NULL", HTTPServer_route_with(server, NULL));
	HTTPServer_route(server, "GET", "/a/:id", answer_hello, NULL);
	ck_raises_saying(Assert_Failed, "GET \"/a/:name\" has a route already",
		HTTPServer_route(server, "GET", "/a/:name", answer_hello, NULL));
	launch_server();
	ck_assert_int_eq(ask_server(GET("/a/b")), 200);
	ck_raises_saying(Assert_Failed, "too late",
		HTTPServer_route(server, "GET", "/late", answer_hello, NULL));
	ck_raises_saying(Assert_Failed, "ran already", HTTPServer_run(server));
	end_server();
}

/* ---- handlers ---- */

CASE("handlers");

TEST(a_handler_that_raises_is_answered_by_500_and_the_connection_lives)
{
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, GET("/raise"));
	ck_assert_int_eq(read_response(fd), 500);
	/* nothing of the page, and no secret */
	ck_assert_str_eq(response_body(), "500 Internal Server Error\n");
	send_text(fd, GET("/raise/mine") GET("/"));
	ck_assert_int_eq(read_response(fd), 500);
	ck_assert(!response_has("secret"));
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	ck_assert_uint_eq(stats_now().raised, 2);
	end_server();
}

TEST(a_kind_of_an_HTTP_exception_is_answered_by_its_status)
{
	start_server();
	ck_assert_int_eq(ask_server(GET("/raise/large")), 413);
	ck_assert_str_eq(response_body(), "413 Content Too Large: the secret of the house\n");
	end_server();
}

static atomic_int ended;
static size_t capacity, used_at_start;

static void end_request(void *cl)
{
	(void)cl;
	atomic_fetch_add(&ended, 1);
}

static void use_memory(HTTPRequest_T request, HTTPResponse_T response, void *cl)
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
	HTTPServer_route(server, "GET", "/", use_memory, NULL);
	launch_server();
	fd = dial_server();
	for (i = 0; i < 200; i++) {
		send_text(fd, GET("/"));
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_int_eq(atoi(response_body()), i);
		if (i == 2)
			before = capacity;
	}
	ck_assert_uint_le(capacity, before);
	ck_assert_uint_lt(used_at_start, 2000);
	close(fd);
	end_server();
	ck_assert_int_eq(atomic_load(&ended), 200);
}

static void raise_mine(void *cl)
{
	(void)cl;
	RAISE(Mine);
}

static void defer_raise(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	Arena_defer(HTTPRequest_arena(request), raise_mine, NULL);
	HTTPResponse_printf(response, "fine");
}

static void large_spoiler(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	answer_big(request, response, cl);
	defer_raise(request, response, cl);
}

TEST(an_exception_after_the_response_was_sent_ends_the_connection)
{
	int fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/", defer_raise, NULL);
	launch_server();
	fd = dial_server();
	send_text(fd, GET("/"));
	read_to_end(fd);
	ck_assert(count_in_response("HTTP/1.1") <= 1);
	close(fd);
	fd = dial_server();
	send_text(fd, GET("/"));
	read_to_end(fd);
	close(fd);
	end_server();
}

TEST(an_exception_when_the_arena_is_cleared_loses_no_response)
{
	static const char *const paths[] = { "/", "/worker", "/large" };
	char request[200];
	int i, fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/cookies", answer_cookies, NULL);
	HTTPServer_route(server, "GET", "/fields", answer_fields, NULL);
	HTTPServer_route(server, "GET", "/", defer_raise, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/worker", .handler = defer_raise,
		.blocks = 1 });
	HTTPServer_route(server, "GET", "/large", large_spoiler, NULL);
	launch_server();
	for (i = 0; i < 3; i++) {
		fd = dial_server();
		snprintf(request, sizeof request, GET("/cookies") "GET %s HTTP/1.1\r\n" HOST
			"\r\n" GET("/fields"), paths[i]);
		send_text(fd, request);
		ck_assert(read_to_end(fd)); /* an orderly end */
		ck_assert_int_eq(count_in_response("HTTP/1.1 200 OK\r\n"), 2);
		ck_assert(response_has("Set-Cookie") && response_has("fine") && !response_has("- a 1"));
		close(fd);
	}
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().raised, 3);
	end_server();
}

static int write_on(HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%1000d", 1);
	return 1;
}

static void stream_on(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	defer_raise(request, response, cl);
	HTTPResponse_stream(response, write_on, NULL);
}

TEST(an_exception_when_the_client_has_left_is_counted)
{
	int fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/", stream_on, NULL);
	HTTPServer_route(server, "GET", "/cookies", answer_cookies, NULL);
	launch_server();
	fd = dial_server();
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_one_response(fd, 0), 200);
	close(fd);
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().raised, 1);
	ck_assert_int_eq(ask_server(GET("/cookies")), 200);
	end_server();
}

static void defer_before(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)response;
	Arena_defer(HTTPRequest_arena(request), raise_mine, cl);
}

static void take_bytes(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	(void)request;
	(void)bytes;
	(void)n;
	(void)cl;
}

TEST(and_so_it_is_when_the_server_is_cancelled_amid_the_request)
{
	int fd;

	make_server((HTTPServer_Options){ .before = defer_before });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "POST", .pattern = "/",
		.handler = answer_cookies, .body = take_bytes });
	launch_server();
	fd = dial_server();
	send_text(fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nx");
	await(stats_now().requests == 1);
	pthread_cancel(server_thread);
	pthread_join(server_thread, NULL);
	ck_assert_uint_eq(stats_now().raised, 1);
	read_to_end(fd);
	close(fd);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

TEST(a_field_can_be_sent_twice)
{
	start_server();
	ck_assert_int_eq(ask_server(GET("/cookies")), 200);
	ck_assert(response_has("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"));
	end_server();
}

TEST(the_fields_of_a_request_are_there_when_they_are_asked_for)
{
	start_server();
	ck_assert_int_eq(ask_server("GET http://b/fields HTTP/1.1\r\nX-One: 1\r\nhost: a\r\n"
		"x-ONE: 2\r\n"
		"Y: 3\r\n\r\n"), 200);
	ck_assert_str_eq(response_body(), "1, 2 b 3");
	ck_assert_int_eq(ask_server(GET("/fields")), 200);
	ck_assert_str_eq(response_body(), "- a 1");
	end_server();
}

static HTTPRequest_T kept_request;
static HTTPResponse_T kept_response;

static void keep_handles(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	kept_request = request;
	kept_response = response;
}

static void look_at_kept(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request, (void)cl;
	ck_raises_saying(Assert_Failed, "HTTPRequest_header: the request has ended",
		HTTPRequest_header(kept_request, "Cookie"));
	ck_raises_saying(Assert_Failed, "HTTPResponse_printf: the response has ended",
		HTTPResponse_printf(kept_response, "x"));
	HTTPResponse_printf(response, "checked");
}

TEST(a_handle_that_is_kept_after_its_response_reads_nothing_of_another_client)
{
	int i;

	make_server((HTTPServer_Options){ .threads = 1 });
	HTTPServer_route(server, "GET", "/keep", keep_handles, NULL);
	HTTPServer_route(server, "GET", "/look", look_at_kept, NULL);
	launch_server();
	ck_assert_int_eq(ask_server(GET("/keep")), 200);
	for (i = 0; i < 10; i++) {
		ck_assert_int_eq(ask_server("GET /look HTTP/1.1\r\n" HOST "Cookie: of-another\r\n\r\n"),
			200);
		ck_assert_str_eq(response_body(), "checked");
	}
	end_server();
}

static void say_param(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%s %s %s", HTTPRequest_route(request), HTTPRequest_path(request),
		HTTPRequest_param(request, "name"));
}

TEST(an_encoded_slash_does_not_change_the_route)
{
	char pattern[] = "/:name";

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", pattern, say_param, NULL);
	HTTPServer_route(server, "GET", "/admin", keep_handles, NULL);
	strcpy(pattern, "/other"); /* the server has its own copy */
	launch_server();
	ck_assert_int_eq(ask_server(GET("/x%2F..%2fadmin")), 200);
	ck_assert_str_eq(response_body(), "/:name /x%2F..%2Fadmin x/../admin");
	ck_assert_int_eq(ask_server(GET("/%252F%5cb")), 200);
	ck_assert_str_eq(response_body(), "/:name /%2F%5Cb %2F\\b");
	end_server();
}

TEST(a_handler_that_blocks_does_not_delay_other_clients)
{
	int slow[3], i;

	start_blocking((HTTPServer_Options){ .workers = 2 });
	for (i = 0; i < 3; i++) {
		slow[i] = dial_server();
		send_text(slow[i], GET("/slow/1") GET("/"));
	}
	await(atomic_load(&inside) == 2);
	ck_assert_int_eq(ask_server(GET("/")), 200);
	atomic_store(&unblocked, 1);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(read_response(slow[i]), 200);
		ck_assert_str_eq(response_body(), "slow id=1");
		ck_assert_int_eq(read_response(slow[i]), 200); /* in the order in which they were sent */
		ck_assert_str_eq(response_body(), "hello");
		close(slow[i]);
	}
	end_server();
}

TEST(a_worker_survives_an_exception_of_its_handler)
{
	int fd, i;

	start_blocking((HTTPServer_Options){ .workers = 1 });
	fd = dial_server();
	for (i = 0; i < 3; i++) {
		send_text(fd, GET("/bad") "POST /post HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nbytes");
		ck_assert_int_eq(read_response(fd), 500);
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_str_eq(response_body(), "bytes");
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
	HTTPServer_Route route = { .method = "POST", .pattern = "/stream", .handler = streamed_all,
		.body = take_stream };
	static char bytes[200000];
	int fd;

	make_server((HTTPServer_Options){ .limits = { .body_bytes = 1000 } });
	add_routes();
	HTTPServer_route_with(server, &route);
	launch_server();
	memset(bytes, 'b', sizeof bytes);
	fd = dial_server();
	send_text(fd, "POST /stream HTTP/1.1\r\n" HOST "Content-Length: 200000\r\n\r\n");
	send_bytes(fd, bytes, 100000);
	await(atomic_load(&nstreamed) == 100000); /* before the rest is sent */
	send_bytes(fd, bytes, 100000);
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "200000 and 0");
	ck_assert(memcmp(streamed, bytes, sizeof bytes) == 0);
	send_text(fd, "POST /stream HTTP/1.1\r\n" HOST
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\n!\r\n0\r\n\r\n");
	ck_assert_int_eq(read_response(fd), 400);
	ck_assert(response_has("no exclamation marks"));
	close(fd);
	/* other routes keep the limit */
	ck_assert_int_eq(ask_server("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n"),
		413);
	ck_assert_int_eq(ask_server("POST /echo HTTP/1.1\r\n" HOST
		"Transfer-Encoding: chunked\r\n\r\n3e9\r\n"), 413);
	end_server();
}

TEST(a_stream_is_sent_in_chunks_as_it_is_made)
{
	int fd;

	start_streams((HTTPServer_Options){ 0 });
	fd = dial_server();
	send_text(fd, GET("/stream?3") "HEAD /stream?3 HTTP/1.1\r\n" HOST
		"\r\n" GET("/nothing") "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	ck_assert(read_to_end(fd));
	ck_assert(response_has("Transfer-Encoding: chunked\r\n\r\n8\r\nfrom 3: \r\n7\r\n000003 \r\n"
		"7\r\n"
		"000002 \r\n7\r\n000001 \r\n0\r\n\r\nHTTP/1.1 200"));
	ck_assert(response_has("chunked\r\n\r\nHTTP/1.1 200")); /* of HEAD */
	ck_assert(response_has("chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200"));
	ck_assert_int_eq(count_in_response("HTTP/1.1 200"), 4);
	ck_assert(response_has("\r\n\r\nhello"));
	close(fd);
	fd = dial_server();
	send_text(fd, "GET /stream?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	ck_assert(read_to_end(fd));
	ck_assert(!response_has("chunked") && !response_has("Content-Length"));
	ck_assert_str_eq(response_body(), "from 2: 000002 000001 ");
	close(fd);
	end_server();
}

TEST(a_stream_waits_for_its_slow_client_and_delays_no_other)
{
	char *s;
	int fd, i;

	start_streams((HTTPServer_Options){ 0 });
	fd = dial_narrow();
	send_text(fd, GET("/stream?60000"));
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(ask_server(GET("/")), 200);
	shutdown(fd, SHUT_WR);
	ck_assert(read_to_end(fd));
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
	fd = dial_server();
	send_text(fd, GET("/stream?-1"));
	read_to_end(fd);
	ck_assert(response_has("from -1: ") && !response_has("\r\n0\r\n\r\n"));
	close(fd);
	fd = dial_server();
	send_text(fd, GET("/stuck"));
	read_to_end(fd);
	ck_assert(!response_has("\r\n0\r\n\r\n"));
	close(fd);
	ck_assert_int_eq(ask_server(GET("/")), 200);
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

		ck_raises_saying(Assert_Failed, "the function is NULL",
			HTTPResponse_stream(response, NULL, NULL));
		send_text(fd[1], GET("/stream?2"));
		request = HTTPRequest_parse(arena, s);
		stream_countdown(request, response, NULL);
		HTTPResponse_send(s, response);
		Socket_close(&s);
		ck_assert(read_to_end(fd[1]));
		ck_assert_str_eq(response_body(),
			"8\r\nfrom 2: \r\n7\r\n000002 \r\n7\r\n000001 \r\n0\r\n\r\n");
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	close(fd[1]);
}
