/* SPDX-License-Identifier: MIT */
/* The limits of a server's memory: request_bytes for one request, memory_bytes for all in
 * progress. */
#include "config.h"

#include "httpclient.h"

SUITE("limits of memory");

enum { KIB = 1024 };

static Arena_T kept; /* a child of a request's arena that outlives the request */

static size_t asked_for(HTTPRequest_T request, const char *name)
{
	const char *value = HTTPRequest_query_param(request, name);

	return value ? strtoul(value, NULL, 10) : 0;
}

static void allocate_as_asked(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_T own = HTTPRequest_arena(request);
	size_t nbytes = asked_for(request, "bytes"), in_child = asked_for(request, "child"),
		other = asked_for(request, "other");

	(void)cl;
	if (nbytes)
		memset(Arena_alloc(own, nbytes), 'x', nbytes);
	if (in_child)
		memset(Arena_alloc(Arena_new_child(own), in_child), 'x', in_child);
	if (asked_for(request, "keep")) {
		kept = Arena_new_child(own);
		Arena_alloc(kept, asked_for(request, "keep"));
		Arena_adopt(kept, NULL);
	}
	if (other) { /* from an arena that is not the request's */
		AUTO(Arena_T, a, Arena_dispose) = Arena_new_with(&(Arena_Options){ .limit = 64 * KIB });

		Arena_alloc(a, other);
	}
	if (asked_for(request, "write"))
		HTTPResponse_write(response, Arena_alloc(own, asked_for(request, "write")),
			asked_for(request, "write"));
	HTTPResponse_printf(response, "ok");
}

static atomic_int let_go, waiting;

/* Keeps its memory until the test releases it. */
static void hold_memory(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	allocate_as_asked(request, response, cl);
	atomic_fetch_add(&waiting, 1);
	while (!atomic_load(&let_go))
		sleep_ms(2);
}

static int stream_more(HTTPResponse_T response, void *cl)
{
	int *n = cl;

	HTTPResponse_printf(response, "%*d", 1000, *n);
	return --*n > 0;
}

static void stream_parts(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	int *n;

	(void)cl;
	NEW(HTTPRequest_arena(request), n);
	*n = 100;
	HTTPResponse_stream(response, stream_more, n);
}

static char last_error[200];
static atomic_int nlogged;

static void keep_entry(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	snprintf(last_error, sizeof last_error, "%s", e->error ? e->error : "-");
	atomic_fetch_add(&nlogged, 1);
}

static void start_with(HTTPServer_Options options)
{
	options.log = keep_entry;
	make_server(options);
	HTTPServer_route(server, NULL, "/", allocate_as_asked, NULL);
	HTTPServer_route(server, "GET", "/stream", stream_parts, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "GET", .pattern = "/blocks",
		.handler = allocate_as_asked, .blocks = 1 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "GET", .pattern = "/hold",
		.handler = hold_memory, .blocks = 1 });
	launch_server();
}

/* ---- request_bytes ---- */

CASE("request_bytes");

TEST(a_request_that_takes_too_much_is_answered_503_and_the_next_is_served, .to = 4)
{
	static const char *const queries[] =
		{ "/?bytes=200000", "/?child=200000", "/blocks?bytes=200000", "/?write=80000" };
	char request[100];
	int fd = -1, i;

	start_with((HTTPServer_Options){ .request_bytes = 100 * KIB });
	fd = dial_server();
	for (i = 0; i < 20; i++) {
		snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", queries[_i]);
		send_text(fd, request);
		ck_assert_int_eq(read_response(fd), 503);
		ck_assert(!response_has("Connection: close"));
		send_text(fd, GET("/?bytes=20000"));
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_str_eq(response_body(), "ok");
	}
	ck_assert_uint_eq(stats_now().raised, 20);
	close(fd);
	end_server();
}

TEST(a_request_within_its_limit_is_served_as_without, .to = 2)
{
	int fd, i;

	start_with((HTTPServer_Options){ .request_bytes = _i ? 8192 : 100 * KIB });
	fd = dial_server();
	for (i = 0; i < 200; i++) {
		send_text(fd, GET("/") GET("/none"));
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_int_eq(read_response(fd), 404);
	}
	close(fd);
	end_server();
}

TEST(a_body_that_takes_too_much_is_answered_503)
{
	static char request[60000];
	size_t n = (size_t)sprintf(request, "POST / HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
		50000);

	start_with((HTTPServer_Options){ .request_bytes = 40 * KIB });
	memset(request + n, 'x', 50000);
	request[n + 50000] = '\0';
	ck_assert_int_eq(ask_server(request), 503);
	ck_assert_int_eq(ask_server("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n12345"), 200);
	end_server();
}

TEST(memory_of_another_arena_is_no_503)
{
	start_with((HTTPServer_Options){ .request_bytes = 100 * KIB });
	ck_assert_int_eq(ask_server(GET("/?other=100000")), 500);
	end_server();
}

TEST(a_stream_may_be_longer_than_the_limit)
{
	int fd;

	start_with((HTTPServer_Options){ .request_bytes = 8192 });
	fd = dial_server();
	send_text(fd, GET("/stream") GET("/"));
	shutdown(fd, SHUT_WR);
	read_to_end(fd);
	ck_assert_int_eq(count_in_response("HTTP/1.1 200"), 2);
	ck_assert_int_ge((int)nheard, 100000);
	close(fd);
	end_server();
}

TEST(a_child_that_outlives_its_request_does_not_count_for_the_next_ones)
{
	Arena_T children[30];
	int i;

	start_with((HTTPServer_Options){ .request_bytes = 100 * KIB, .memory_bytes = 1024 * KIB });
	for (i = 0; i < 30; i++) {
		ck_assert_int_eq(ask_server(GET("/?keep=50000")), 200);
		children[i] = kept;
		ck_assert_int_eq(ask_server(GET("/?bytes=30000")), 200);
		if (i % 2)
			Arena_dispose(&children[i]);
	}
	HTTPServer_stop(server);
	pthread_join(server_thread, NULL);
	Arena_dispose(&arena);
	for (i = 0; i < 30; i++) /* the server is stopped already */
		Arena_dispose(&children[i]);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

TEST(a_limit_that_holds_no_request_is_checked)
{
	Arena_T a = Arena_new();

	ck_raises_saying(Assert_Failed, "HTTPServer_new: request_bytes is 8191",
		HTTPServer_new(a, &(HTTPServer_Options){ .service = "0", .request_bytes = 8191 }));
	Arena_dispose(&a);
}

/* ---- memory_bytes ---- */

CASE("memory_bytes");

TEST(requests_beyond_the_memory_of_all_are_answered_503_until_others_have_ended)
{
	int open_before, holder;

	start_with((HTTPServer_Options){ .memory_bytes = 500 * KIB });
	open_before = dial_server();
	send_text(open_before, GET("/"));
	ck_assert_int_eq(read_response(open_before), 200);
	holder = dial_server();
	send_text(holder, GET("/hold?bytes=600000"));
	await(atomic_load(&waiting) == 1);
	send_text(open_before, GET("/"));
	ck_assert_int_eq(read_response(open_before), 503);
	close(open_before);
	atomic_store(&let_go, 1);
	ck_assert_int_eq(read_response(holder), 200); /* a running request continues */
	close(holder);
	ck_assert_int_eq(ask_server(GET("/")), 200);
	ck_assert_uint_eq(stats_now().refused, 1);
	end_server();
}

TEST(clients_beyond_the_memory_of_all_wait_in_the_backlog)
{
	int holder, fd;

	start_with((HTTPServer_Options){ .memory_bytes = 500 * KIB });
	holder = dial_server();
	send_text(holder, GET("/hold?child=600000"));
	await(atomic_load(&waiting) == 1);
	fd = dial_server();
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_within(fd, heard, 1, 300), -2);
	ck_assert_uint_eq(stats_now().accepted, 1);
	atomic_store(&let_go, 1);
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	close(holder);
	end_server();
}

TEST(a_body_that_is_collected_ends_when_the_memory_of_all_does)
{
	static char part[200000];
	int uploader, holder;

	start_with((HTTPServer_Options){ .memory_bytes = 500 * KIB });
	memset(part, 'x', sizeof part);
	uploader = dial_server();
	send_text(uploader, "POST / HTTP/1.1\r\n" HOST "Content-Length: 400000\r\n\r\n");
	send_bytes(uploader, part, 1000);
	holder = dial_server();
	send_text(holder, GET("/hold?bytes=600000"));
	await(atomic_load(&waiting) == 1);
	send_bytes(uploader, part, 1000);
	ck_assert_int_eq(read_response(uploader), 503);
	close(uploader);
	atomic_store(&let_go, 1);
	close(holder);
	end_server();
}

TEST(arenas_at_rest_do_not_count)
{
	enum { CLIENTS = 40 };
	int fd[CLIENTS], i, turn;

	start_with((HTTPServer_Options){ .memory_bytes = 4000 * KIB });
	for (i = 0; i < CLIENTS; i++)
		fd[i] = dial_server();
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < CLIENTS; i++)
			send_text(fd[i], GET("/?bytes=60000"));
		for (i = 0; i < CLIENTS; i++)
			ck_assert_int_eq(read_response(fd[i]), 200);
	}
	for (i = 0; i < CLIENTS; i++)
		close(fd[i]);
	end_server();
}

/* ---- queue ---- */

CASE("queue", .timeout = 60);

static atomic_int nparts;

static void count_part(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	atomic_fetch_add(&nparts, 1);
	(void)request;
	(void)bytes;
	(void)n;
	(void)cl;
}

static atomic_int nbefore;

static void count_before(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)response;
	(void)cl;
	atomic_fetch_add(&nbefore, 1);
}

/* One client's request occupies the worker, and another one's the queue. */
static void fill_queue(int *holder, int *queued, const char *request)
{
	*holder = dial_server();
	send_text(*holder, GET("/hold"));
	await(atomic_load(&waiting) == 1);
	*queued = dial_server();
	send_text(*queued, request);
	await(stats_now().queued == 1);
}

static void start_with_queue_of_one(void)
{
	make_server((HTTPServer_Options){ .queue = 1, .workers = 1 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "GET", .pattern = "/hold",
		.handler = hold_memory, .blocks = 1 });
	HTTPServer_route_with(server, &(HTTPServer_Route){
		.method = "POST", .pattern = "/body", .handler = allocate_as_asked, .body = count_part,
			.blocks = 1 });
	launch_server();
}

TEST(requests_beyond_the_queue_are_answered_503_and_no_callback_runs)
{
	int holder, queued, fd;

	start_with((HTTPServer_Options){ .queue = 1, .workers = 1, .before = count_before });
	fill_queue(&holder, &queued, GET("/blocks"));
	fd = dial_server();
	send_text(fd, GET("/blocks"));
	ck_assert_int_eq(read_response(fd), 503);
	ck_assert(!response_has("Connection: close"));
	ck_assert_int_eq(atomic_load(&nbefore), 1);
	send_text(fd, GET("/")); /* no worker answers it */
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_uint_eq(stats_now().refused, 1);
	atomic_store(&let_go, 1);
	ck_assert_int_eq(read_response(queued), 200);
	ck_assert_int_eq(read_response(holder), 200);
	send_text(fd, GET("/blocks"));
	ck_assert_int_eq(read_response(fd), 200);
	await(stats_now().queued == 0);
	close(fd);
	close(queued);
	close(holder);
	end_server();
}

/* Has a worker hold the second request of a connection, which the loop has watched since the first
 * one. */
static int hold_second_request(void)
{
	int fd;

	start_with((HTTPServer_Options){ .workers = 1, .threads = 1 });
	fd = dial_server();
	send_text(fd, GET("/blocks"));
	ck_assert_int_eq(read_response(fd), 200);
	send_text(fd, GET("/hold"));
	await(atomic_load(&waiting) == 1);
	return fd;
}

TEST(input_that_waits_for_a_worker_does_not_keep_the_loop_busy)
{
	int fd = hold_second_request();
	clock_t before = clock();

	send_text(fd, GET("/blocks"));
	sleep_ms(500);
	ck_assert_int_lt(clock() - before, CLOCKS_PER_SEC / 10);
	atomic_store(&let_go, 1);
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	end_server();
}

/* The kernel reports the end of a stream, and a reset, as long as the socket is watched. */
TEST(a_client_that_leaves_while_a_worker_runs_does_not_keep_the_loop_busy, .to = 3)
{
	const struct linger reset = { 1, 0 };
	int fd = hold_second_request();
	clock_t before = clock();

	if (_i == 0)
		shutdown(fd, SHUT_WR);
	if (_i == 1)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	if (_i > 0)
		close(fd);
	sleep_ms(500);
	ck_assert_int_lt(clock() - before, CLOCKS_PER_SEC / 10);
	atomic_store(&let_go, 1);
	if (_i == 0) {
		ck_assert_int_eq(read_response(fd), 200);
		close(fd);
	}
	await(stats_now().connections == 0);
	end_server();
}

TEST(a_request_of_which_something_ran_is_not_refused)
{
	int holder, queued, fd;

	start_with_queue_of_one();
	fd = dial_server();
	send_text(fd, "POST /body HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nab");
	await(atomic_load(&nparts) == 1);
	fill_queue(&holder, &queued, GET("/hold"));
	send_text(fd, "cd");
	await(stats_now().queued == 2);
	atomic_store(&let_go, 1);
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	close(queued);
	close(holder);
	end_server();
}

TEST(a_body_that_finds_the_queue_full_ends_its_connection)
{
	int holder, queued, fd;

	start_with_queue_of_one();
	fill_queue(&holder, &queued, GET("/hold"));
	fd = dial_server();
	send_text(fd, "POST /body HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nab");
	ck_assert_int_eq(read_response(fd), 503);
	ck_assert(response_has("Connection: close"));
	atomic_store(&let_go, 1);
	close(fd);
	close(queued);
	close(holder);
	end_server();
}
