/* SPDX-License-Identifier: MIT */
/* A connection's life: when a request begins, which connections are closed for others, how the
 * server ends, and what callbacks may do to it: dispose of its arena, fork, or end their thread. */
#include "config.h"

#include <sys/wait.h>

#include "httpclient.h"

static void answer_hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "hello");
}

static void start_with(HTTPServer_Options options)
{
	make_server(options);
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
	launch_server();
}

static atomic_int nlogged, last_status;
static atomic_long last_us;
static char last_error[100];

static void keep_entry(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	snprintf(last_error, sizeof last_error, "%s", e->error ? e->error : "-");
	atomic_store(&last_us, (long)e->microseconds);
	atomic_store(&last_status, e->status);
	atomic_fetch_add(&nlogged, 1);
}

/* ---- when a request begins ---- */

SUITE("a connection's life");
CASE("the beginning");

static const char *const empties[] = { "\r\n", "\r", "\r\n\r\n", "\r\n\r" };
enum { EMPTIES = sizeof empties / sizeof empties[0] };

TEST(empty_lines_are_no_request, .to = EMPTIES)
{
	const char *rest = strlen(empties[_i]) % 2 ? "\n" GET("/") : GET("/");
	int fd;

	start_with((HTTPServer_Options){ .limits = { .head_ms = 50 }, .log = keep_entry });
	fd = dial_server();
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_response(fd), 200);
	send_text(fd, empties[_i]);
	ck_assert_int_eq(read_within(fd, heard, 1, 250), -2);
	send_text(fd, rest);
	ck_assert_int_eq(read_response(fd), 200);
	await(atomic_load(&nlogged) == 2);
	ck_assert_int_lt(atomic_load(&last_us), 200000); /* its time begins with its request line */
	ck_assert_uint_eq(stats_now().refused, 0);
	ck_assert_uint_eq(stats_now().timed_out, 0);
	close(fd);
	end_server();
}

TEST(empty_lines_do_not_make_the_idle_time_longer, .to = EMPTIES)
{
	int64_t start_ms;
	int fd;

	start_with((HTTPServer_Options){ .idle_ms = 300 });
	fd = dial_server();
	start_ms = clock_ms();
	while (send(fd, empties[_i], strlen(empties[_i]) & ~1u, MSG_NOSIGNAL) >= 0
		&& read_within(fd, heard, 1, 40) == -2)
		ck_assert_int_lt(clock_ms() - start_ms, 5000);
	ck_assert_int_ge(clock_ms() - start_ms, 250);
	await(stats_now().timed_out == 1);
	ck_assert_uint_eq(stats_now().refused, 0);
	close(fd);
	end_server();
}

TEST(stop_does_not_wait_for_a_client_that_sent_an_empty_line, .to = EMPTIES)
{
	int64_t start_ms;
	int fd;

	start_with((HTTPServer_Options){ 0 });
	fd = dial_server();
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_response(fd), 200);
	send_text(fd, empties[_i]);
	await(stats_now().received == strlen(GET("/")) + strlen(empties[_i]));
	start_ms = clock_ms();
	end_server();
	ck_assert_int_lt(clock_ms() - start_ms, 3000);
	close(fd);
}

TEST(the_end_of_the_stream_after_empty_lines_is_no_bad_request, .to = EMPTIES)
{
	int fd;

	start_with((HTTPServer_Options){ 0 });
	fd = dial_server();
	send_text(fd, empties[_i]);
	shutdown(fd, SHUT_WR);
	read_to_end(fd);
	ck_assert_uint_eq(nheard, 0);
	ck_assert_uint_eq(stats_now().refused, 0);
	close(fd);
	end_server();
}

TEST(half_a_PROXY_header_is_closed_without_a_word, .to = 2)
{
	static const char *const proxies[] = { "127.0.0.1", NULL };
	int fd;

	start_with((HTTPServer_Options){ .proxies = proxies, .limits = { .head_ms = 100 } });
	fd = dial_server();
	send_text(fd, "PROXY TCP4 192.0.2.1");
	if (_i)
		shutdown(fd, SHUT_WR);
	read_to_end(fd);
	ck_assert_uint_eq(nheard, 0);
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().timed_out, !_i);
	ck_assert_uint_eq(stats_now().refused, 0);
	close(fd);
	end_server();
}

/* ---- places ---- */

TEST(the_longest_idle_connection_is_closed_for_a_new_one)
{
	enum { PLACES = 8 };
	int fd[PLACES + 1], i;
	int64_t start_ms;

	start_with((HTTPServer_Options){ .connections = PLACES });
	for (i = 0; i < PLACES; i++) {
		fd[i] = dial_server();
		await(stats_now().connections == (size_t)i + 1);
	}
	/* now fd[1] is the longest idle, and fd[2] is in the middle of a request */
	send_text(fd[0], GET("/"));
	ck_assert_int_eq(read_response(fd[0]), 200);
	send_text(fd[1], "\r\n");
	send_text(fd[2], "GET /");
	await(stats_now().received == strlen(GET("/") "\r\nGET /"));
	start_ms = clock_ms();
	fd[PLACES] = dial_server();
	send_text(fd[PLACES], GET("/"));
	ck_assert_int_eq(read_response(fd[PLACES]), 200);
	ck_assert_int_lt(clock_ms() - start_ms, 2000);
	ck_assert_int_eq(read_within(fd[1], heard, 1, PATIENCE), 0);
	for (i = 0; i < PLACES; i++)
		if (i != 1)
			ck_assert_int_eq(read_within(fd[i], heard, 1, 0), -2);
	ck_assert_uint_eq(stats_now().connections, PLACES);
	send_text(fd[2], " HTTP/1.1\r\n" HOST "\r\n");
	ck_assert_int_eq(read_response(fd[2]), 200);
	for (i = 0; i <= PLACES; i++)
		close(fd[i]);
	end_server();
}

/* ---- the end ---- */

CASE("the end");

static atomic_int handled, quit;

static void count_handled(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	sleep_ms(2);
	answer_hello(request, response, cl);
	atomic_fetch_add(&handled, 1);
}

/* Connects, makes a request, reads and closes, in an endless loop. */
static void *connect_often(void *cl)
{
	while (!atomic_load(&quit)) {
		int fd = try_to_dial();
		char text[500];

		if (fd < 0) {
			sleep_ms(1);
			continue;
		}
		if (send(fd, GET("/slow"), strlen(GET("/slow")), MSG_NOSIGNAL) > 0)
			read_within(fd, text, sizeof text, 2000);
		close(fd);
	}
	return cl;
}

TEST(the_drain_ends_in_time_whatever_the_clients_do, .to = 2)
{
	enum { CLIENTS = 16, DRAIN_MS = 300 };
	HTTPServer_Route route = { .pattern = "/slow", .handler = count_handled, .blocks = _i };
	pthread_t clients[CLIENTS];
	int64_t start_ms;
	int i;

	atomic_store(&quit, 0);
	make_server((HTTPServer_Options){ .drain_ms = DRAIN_MS, .workers = 1 });
	HTTPServer_route_with(server, &route);
	launch_server();
	for (i = 0; i < CLIENTS; i++)
		pthread_create(&clients[i], NULL, connect_often, NULL);
	await(atomic_load(&handled) > 50);
	start_ms = clock_ms();
	HTTPServer_stop(server);
	pthread_join(server_thread, NULL);
	ck_assert_int_lt(clock_ms() - start_ms, DRAIN_MS + 2000);
	atomic_store(&quit, 1);
	for (i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static int64_t stopped_ms, last_begun_ms;

static void stop_and_nap(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	if (!stopped_ms) {
		stopped_ms = clock_ms();
		HTTPServer_stop(server); /* the deadline counts from now, not from when the loop can look */
	}
	last_begun_ms = clock_ms();
	sleep_ms(150);
	answer_hello(request, response, cl);
}

/* Requests wait at the listener, in connections, and in a pipeline. */
TEST(no_handler_begins_when_the_drain_is_over)
{
	enum { CLIENTS = 6 };
	int fd[CLIENTS], i;

	make_server((HTTPServer_Options){ .drain_ms = 200 });
	HTTPServer_route(server, "GET", "/", stop_and_nap, NULL);
	for (i = 0; i < CLIENTS; i++) {
		fd[i] = dial_server();
		send_text(fd[i], GET("/") GET("/"));
	}
	stopped_ms = 0;
	launch_server();
	pthread_join(server_thread, NULL);
	ck_assert_int_le(last_begun_ms - stopped_ms, 300); /* a third one would begin then */
	ck_assert_int_lt(clock_ms() - stopped_ms, 1500);
	for (i = 0; i < CLIENTS; i++)
		close(fd[i]);
	Arena_dispose(&arena);
}

/* ---- what is lent ---- */

CASE("callbacks");

static Arena_T taken;

static void dispose_of_it(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_T a = HTTPRequest_arena(request);

	(void)response;
	(void)cl;
	Arena_dispose(&a);
}

static void clear_it(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	Arena_clear(HTTPRequest_arena(request));
}

static void adopt_it(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	Arena_adopt(HTTPRequest_arena(request), taken);
}

static void catch_it(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	ck_raises(Assert_Failed, dispose_of_it(request, response, cl));
	ck_raises(Assert_Failed, clear_it(request, response, cl));
	answer_hello(request, response, cl);
}

static void count_deferred(void *cl)
{
	atomic_fetch_add((atomic_int *)cl, 1);
}

static void limit_it(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_defer(HTTPRequest_arena(request), count_deferred, &handled);
	Arena_set_limit(HTTPRequest_arena(request), 100000);
	answer_hello(request, response, cl);
}

static void need_much(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_calloc(HTTPRequest_arena(request), 1, 1 << 20);
	answer_hello(request, response, cl);
}

static void answer_report(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	(void)request;
	(void)cl;
	Arena_debug_report(out);
	fclose(out);
	HTTPResponse_printf(response, "%d", strstr(text, "request of an HTTP server") != NULL);
	free(text);
}

TEST(a_request_that_harms_its_arena_is_checked_and_the_next_is_served, .to = 2)
{
	static const char *const paths[] = { "/dispose", "/clear", "/adopt" };
	char text[100];
	int i, fd;

	make_server((HTTPServer_Options){ .log = keep_entry });
	taken = Arena_new_child(arena);
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/dispose",
		.handler = dispose_of_it, .blocks = _i });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/clear", .handler = clear_it,
		.blocks = _i });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/adopt", .handler = adopt_it,
		.blocks = _i });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/catch", .handler = catch_it,
		.blocks = _i });
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
	launch_server();
	fd = dial_server();
	for (i = 0; i < 6; i++) {
		sprintf(text, "GET %s HTTP/1.1\r\n" HOST "\r\n", paths[i % 3]);
		send_text(fd, text);
		ck_assert_int_eq(read_response(fd), 500);
		await(atomic_load(&nlogged) == 2 * i + 1);
		ck_assert_msg(strstr(last_error, "lent") || strstr(last_error, "Arena_"), "%s", last_error);
		send_text(fd, GET("/"));
		ck_assert_int_eq(read_response(fd), 200);
		await(atomic_load(&nlogged) == 2 * i + 2);
	}
	close(fd);
	ck_assert_int_eq(ask_server(GET("/catch")), 200);
	end_server();
}

TEST(an_arena_comes_back_without_limit_and_deferred_calls_and_has_a_name)
{
	int fd, i;

	atomic_store(&handled, 0);
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/limit", limit_it, NULL);
	HTTPServer_route(server, "GET", "/much", need_much, NULL);
	HTTPServer_route(server, "GET", "/report", answer_report, NULL);
	launch_server();
	fd = dial_server();
	for (i = 1; i <= 3; i++) {
		send_text(fd, GET("/limit"));
		ck_assert_int_eq(read_response(fd), 200);
		send_text(fd, GET("/much"));
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_int_eq(atomic_load(&handled), i);
	}
	send_text(fd, GET("/report"));
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "1");
	close(fd);
	end_server();
}

static HTTPRequest_T kept_request;
static HTTPResponse_T kept_response;

static void keep_handles(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	if (!kept_request) {
		kept_request = request;
		kept_response = response;
	} else {
		ck_raises(Assert_Failed, HTTPRequest_path(kept_request));
		ck_raises(Assert_Failed, HTTPRequest_header(kept_request, "Cookie"));
		ck_raises(Assert_Failed, HTTPResponse_write(kept_response, "x", 1));
	}
	answer_hello(request, response, cl);
}

TEST(a_handle_that_was_kept_is_checked_and_sees_no_other_request, .to = 2)
{
	int fd, i;

	kept_request = NULL;
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/keep", .handler = keep_handles,
		.blocks = _i });
	launch_server();
	fd = dial_server();
	for (i = 0; i < 5; i++) {
		send_text(fd, GET("/keep"));
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_str_eq(response_body(), "hello");
	}
	close(fd);
	end_server();
}

/* ---- ways out of callbacks ---- */

typedef enum Place { IN_HANDLER, IN_WORKER, IN_BODY, IN_MORE, IN_LOG, PLACES_TO } Place;
static const char *const requests[PLACES_TO] = {
	GET("/handler"), GET("/worker"), "POST /body HTTP/1.1\r\n" HOST
		"Content-Length: 5\r\n\r\nbytes", GET("/more"), GET("/logged")
};
static Place place;
static void (*way)(void);
static atomic_int armed;
static atomic_long child;

static void leave_in(Place p)
{
	if (p == place && atomic_exchange(&armed, 0))
		way();
}

static void in_handler(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	leave_in(cl ? IN_WORKER : IN_HANDLER);
	answer_hello(request, response, NULL);
}

static void in_body(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	(void)request;
	(void)bytes;
	(void)n;
	(void)cl;
	leave_in(IN_BODY);
}

static int in_more(HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_write(response, "part", 4);
	leave_in(IN_MORE);
	return 0;
}

static void stream_in_more(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_stream(response, in_more, cl);
}

static void in_log(const HTTPServer_Entry *e, void *cl)
{
	leave_in(IN_LOG);
	keep_entry(e, cl);
}

static void start_ways(int threads)
{
	make_server((HTTPServer_Options){ .threads = threads, .workers = 1, .log = in_log });
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
	HTTPServer_route(server, "GET", "/handler", in_handler, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/worker", .handler = in_handler,
		.cl = "w", .blocks = 1 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/body", .handler = answer_hello,
		.body = in_body });
	HTTPServer_route(server, "GET", "/more", stream_in_more, NULL);
	HTTPServer_route(server, "GET", "/logged", answer_hello, NULL);
	launch_server();
}

/* Makes a request on a connection of its own. Reads until the end, and also what follows the
 * first response. */
static void ask_all(const char *request)
{
	static const char last[] = "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";
	int fd = dial_server();

	send_text(fd, request);
	send(fd, last, sizeof last - 1, MSG_NOSIGNAL);
	read_to_end(fd);
	close(fd);
}

static void all_is_well(void)
{
	int i;

	for (i = 0; i < PLACES_TO; i++) {
		ask_all(requests[i]);
		ck_assert_msg(count_in_response("HTTP/1.1 200") == 2, "request %d: %s", i, heard);
	}
}

static void raise_it(void)
{
	RAISE_MSG(HTTP_Failed, "on its way out");
}

TEST(an_exception_of_a_callback_is_logged_and_the_server_serves, .to = PLACES_TO)
{
	int round;

	for (round = 0; round < 3; round++) {
		place = (Place)_i;
		way = raise_it;
		start_ways(1);
		all_is_well();
		atomic_store(&armed, 1);
		ask_all(requests[_i]);
		ck_assert_int_eq(atomic_load(&armed), 0);
		await(stats_now().connections == 0);
		if (place == IN_LOG)
			ck_assert_int_eq(count_in_response("HTTP/1.1 200"), 2); /* the response was right */
		else if (place != IN_BODY)
			ck_assert_uint_eq(stats_now().raised, 1);
		if (place == IN_MORE) {
			ck_assert_str_eq(last_error, "on its way out");
			ck_assert(!response_has("0\r\n\r\n"));
		}
		all_is_well();
		end_server();
	}
}

static void end_thread(void)
{
	pthread_exit(NULL);
}

static void cancel_thread(void)
{
	pthread_cancel(pthread_self());
	pthread_testcancel();
}

TEST(a_worker_whose_handler_ends_its_thread_is_replaced, .to = 2)
{
	int round;

	place = IN_WORKER;
	way = _i ? cancel_thread : end_thread;
	start_ways(1);
	for (round = 0; round < 20; round++) {
		atomic_store(&armed, 1);
		ask_all(requests[IN_WORKER]);
		ck_assert_int_eq(count_in_response("HTTP/1.1 500"), 1);
		ck_assert_str_eq(last_error, "the handler ended its thread");
		all_is_well();
	}
	ck_assert_uint_eq(stats_now().raised, 20);
	end_server();
}

static void fork_it(void)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid)
		atomic_store(&child, pid);
}

TEST(a_child_that_returns_from_a_callback_ends_and_answers_nothing, .to = PLACES_TO)
{
	int status = 0;

	place = (Place)_i;
	way = fork_it;
	start_ways(1);
	all_is_well();
	atomic_store(&armed, 1);
	ask_all(requests[_i]);
	ck_assert_int_eq(count_in_response("HTTP/1.1 200"), 2);
	await(atomic_load(&child) > 0);
	ck_assert_int_eq(waitpid((pid_t)atomic_load(&child), &status, 0), (pid_t)atomic_load(&child));
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	all_is_well();
	end_server();
}

TEST(a_stream_is_logged_when_it_ends)
{
	start_ways(1);
	ask_all(requests[IN_MORE]);
	await(atomic_load(&nlogged) == 2);
	ck_assert_str_eq(last_error, "-");
	end_server();
}
