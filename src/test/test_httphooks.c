/* SPDX-License-Identifier: MIT */
/* The hooks of a server's options, `before` and `on_error`: when and where they run, and what
 * happens to what they write and raise. The log's entry, the latencies, the loops' time, and the
 * mode of a Unix-domain listener. */
#include "config.h"

#include <sys/stat.h>
#include <sys/un.h>

#include "httpclient.h"

EXCEPT_DEFINE(No_Entry, &HTTP_Forbidden, "no entry");
EXCEPT_DEFINE(Odd, NULL, "odd");

static char events[1000]; /* which hooks ran, a letter each; one thread at a time writes it */
static atomic_int nevents;
static pthread_t before_thread, handler_thread, error_thread;

static void note_event(char event)
{
	int n = atomic_load(&nevents);

	events[n] = event;
	atomic_store(&nevents, n + 1);
}

static int key = 7;

static void keep_before(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	note_event('b');
	before_thread = pthread_self();
	ck_assert_ptr_eq(cl, &key);
	ck_assert_ptr_nonnull(HTTPRequest_route(request));
	HTTPRequest_set_data(request, Arena_strdup(HTTPRequest_arena(request), "ann"));
	HTTPResponse_set(response, "X-Before", "yes");
	if (HTTPRequest_query_param(request, "refuse"))
		RAISE_MSG(No_Entry, "not for you");
	if (HTTPRequest_query_param(request, "break"))
		RAISE_MSG(Odd, "secret");
}

static void answer_query(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	note_event('h');
	handler_thread = pthread_self();
	if (HTTPRequest_query_param(request, "raise"))
		TRY {
			RAISE_MSG(Odd, "inner");
		} EXCEPT(Odd) {
			RAISE_MSG(HTTP_Conflict, "outer");
		} END_TRY;
	if (HTTPRequest_query_param(request, "exit"))
		pthread_exit(NULL);
	if (HTTPRequest_query_param(request, "closed"))
		RAISE_MSG(HTTP_Closed, "it ended elsewhere");
	HTTPResponse_printf(response, "hello %s", (char *)HTTPRequest_data(request));
}

static void body_part(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	(void)bytes;
	(void)cl;
	ck_assert_str_eq(HTTPRequest_data(request), "ann");
	if (n > 0 && events[atomic_load(&nevents) - 1] != 'B')
		note_event('B');
}

static char error_head[200], error_message[200];
static int error_status, error_raises, error_exits;

static void on_error(HTTPRequest_T request, HTTPResponse_T response, int status,
	const char *message, void *cl)
{
	note_event('e');
	error_thread = pthread_self();
	ck_assert_ptr_eq(cl, &key);
	error_status = status;
	snprintf(error_head, sizeof error_head, "%s %s %s", HTTPRequest_method(request)
		? HTTPRequest_method(request) : "-",
		HTTPRequest_target(request) ? HTTPRequest_target(request) : "-",
		HTTPRequest_route(request) ? HTTPRequest_route(request) : "-");
	snprintf(error_message, sizeof error_message, "%s", message ? message : "-");
	HTTPResponse_set(response, "Content-Type", "application/json");
	HTTPResponse_printf(response, "{\"status\":%d}", status);
	if (error_raises)
		RAISE_MSG(Odd, "the hook fails");
	if (error_exits)
		pthread_exit(NULL);
}

static char entry_route[100], entry_error[100], entry_kind[100], entry_cause[100], entry_place[100],
	entry_head[100];
static size_t entry_memory;
static atomic_int nlogged;

static void keep_entry(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	snprintf(entry_route, sizeof entry_route, "%s", e->route ? e->route : "-");
	snprintf(entry_error, sizeof entry_error, "%s", e->error ? e->error : "-");
	snprintf(entry_kind, sizeof entry_kind, "%s", e->raised ? e->raised->exception->reason : "-");
	snprintf(entry_cause, sizeof entry_cause, "%s", e->raised && e->raised->causes[0]
		? e->raised->causes[0]->reason : "-");
	snprintf(entry_place, sizeof entry_place, "%s", e->raised ? e->raised->function : "-");
	snprintf(entry_head, sizeof entry_head, "%s %s", HTTPRequest_method(e->request)
		? HTTPRequest_method(e->request) : "-",
		HTTPRequest_target(e->request) ? HTTPRequest_target(e->request) : "-");
	entry_memory = e->memory;
	atomic_fetch_add(&nlogged, 1);
}

static void start_with(HTTPServer_Options options)
{
	options.hooks_cl = &key;
	make_server(options);
	HTTPServer_route(server, "GET", "/", answer_query, NULL);
	HTTPServer_route(server, "POST", "/collected", answer_query, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){
		.method = "POST", .pattern = "/streamed", .handler = answer_query, .body = body_part });
	HTTPServer_route_with(server, &(HTTPServer_Route){
		.method = "GET", .pattern = "/blocks", .handler = answer_query, .blocks = 1 });
	launch_server();
}

static void ck_events(const char *expected)
{
	events[atomic_load(&nevents)] = '\0';
	ck_assert_str_eq(events, expected);
}

/* ---- before ---- */

SUITE("hooks of a server");
CASE("before");

TEST(before_runs_ahead_of_the_handler_in_its_thread_and_with_its_response)
{
	start_with((HTTPServer_Options){ .before = keep_before });
	ck_assert_int_eq(ask_server(GET("/")), 200);
	ck_assert(response_has("X-Before: yes") && strcmp(response_body(), "hello ann") == 0);
	ck_assert(pthread_equal(before_thread, handler_thread)
		&& pthread_equal(before_thread, server_thread));
	ck_assert_int_eq(ask_server(GET("/blocks")), 200);
	ck_assert(response_has("X-Before: yes") && strcmp(response_body(), "hello ann") == 0);
	ck_assert(pthread_equal(before_thread, handler_thread)
		&& !pthread_equal(before_thread, server_thread));
	ck_assert_int_eq(ask_server("HEAD / HTTP/1.1\r\n" HOST "\r\n"), 200);
	ck_assert(response_has("X-Before: yes"));
	ck_assert_int_eq(ask_server("GET / HTTP/1.0\r\n\r\n"), 200);
	ck_events("bhbhbhbh");
	end_server();
}

TEST(an_exception_of_before_is_answered_and_the_handler_does_not_run)
{
	start_with((HTTPServer_Options){ .before = keep_before });
	ck_assert_int_eq(ask_server(GET("/?refuse")), 403);
	ck_assert(!response_has("X-Before") && strstr(response_body(), "not for you"));
	ck_assert_int_eq(ask_server(GET("/?break")), 500);
	ck_assert(!response_has("secret"));
	ck_assert_int_eq(ask_server(GET("/blocks?refuse")), 403);
	ck_events("bbb");
	ck_assert_uint_eq(stats_now().raised, 3);
	ck_assert_int_eq(ask_server(GET("/")), 200);
	end_server();
}

TEST(before_does_not_run_for_answers_of_the_server)
{
	start_with((HTTPServer_Options){ .before = keep_before });
	ck_assert_int_eq(ask_server(GET("/none")), 404);
	ck_assert_int_eq(ask_server("PUT / HTTP/1.1\r\n" HOST "\r\n"), 501);
	ck_assert_int_eq(ask_server("POST / HTTP/1.1\r\n" HOST "\r\n"), 405);
	ck_assert_int_eq(ask_server("OPTIONS / HTTP/1.1\r\n" HOST "\r\n"), 204);
	ck_assert_int_eq(ask_server("GET / HTTP/1.1\r\n\r\n"), 400);
	ck_events("");
	end_server();
}

#define LENGTH_5 "Content-Length: 5\r\n"
#define EXPECT "Expect: 100-continue\r\n"

TEST(before_runs_ahead_of_100_Continue)
{
	int fd;

	start_with((HTTPServer_Options){ .before = keep_before });
	fd = dial_server();
	send_text(fd, "POST /collected HTTP/1.1\r\n" HOST LENGTH_5 EXPECT "\r\n");
	ck_assert_int_eq(read_one_response(fd, 0), 100);
	ck_events("b");
	send_text(fd, "12345");
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert(response_has("X-Before: yes"));
	ck_events("bh");
	send_text(fd, "POST /collected?refuse HTTP/1.1\r\n" HOST LENGTH_5 EXPECT "\r\n");
	ck_assert_int_eq(read_response(fd), 403); /* instead of 100 Continue */
	ck_assert(response_has("Connection: close"));
	ck_events("bhb");
	close(fd);
	end_server();
}

TEST(before_runs_ahead_of_the_first_byte_for_a_route_with_body)
{
	int fd;

	start_with((HTTPServer_Options){ .before = keep_before });
	fd = dial_server();
	send_text(fd, "POST /streamed HTTP/1.1\r\n" HOST LENGTH_5 "\r\n");
	await(atomic_load(&nevents) == 1);
	send_text(fd, "12345");
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "hello ann");
	ck_events("bBh");
	send_text(fd, "POST /streamed?refuse HTTP/1.1\r\n" HOST LENGTH_5 "\r\n12345" GET("/"));
	ck_assert_int_eq(read_response(fd), 403);
	ck_assert(response_has("Connection: close"));
	ck_events("bBhb");
	close(fd);
	ck_assert_int_eq(ask_server("POST /streamed HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"),
		200);
	ck_events("bBhbbh");
	end_server();
}

TEST(before_runs_for_each_request_of_a_pipeline)
{
	int fd;

	start_with((HTTPServer_Options){ .before = keep_before });
	fd = dial_server();
	send_text(fd, GET("/") GET("/?refuse") GET("/"));
	shutdown(fd, SHUT_WR);
	read_to_end(fd);
	ck_assert_int_eq(count_in_response("HTTP/1.1 200"), 2);
	ck_assert_int_eq(count_in_response("HTTP/1.1 403"), 1);
	ck_events("bhbbh");
	close(fd);
	end_server();
}

/* ---- on_error ---- */

CASE("on_error");

static const struct {
	const char *request, *head, *message;
	int status;
} errors[] = {
	{ GET("/none"), "GET /none -", "-", 404 },
	{ "POST / HTTP/1.1\r\n" HOST "\r\n", "POST / -", "-", 405 },
	{ "PUT / HTTP/1.1\r\n" HOST "\r\n", "PUT / -", "-", 501 },
	{ GET("/?raise"), "GET /?raise /", "outer", 409 },
	{ GET("/?closed"), "GET /?closed /", "it ended elsewhere", 500 },
	{ GET("/?refuse"), "GET /?refuse /", "not for you", 403 },
	{ GET("/?break"), "GET /?break /", "secret", 500 },
	{ GET("/blocks?raise"), "GET /blocks?raise /blocks", "outer", 409 },
	{ GET("/blocks?exit"), "GET /blocks?exit /blocks", "the handler ended its thread", 500 },
	{ "HEAD /none HTTP/1.1\r\n" HOST "\r\n", "HEAD /none -", "-", 404 },
	{ "GET /none HTTP/1.0\r\n\r\n", "GET /none -", "-", 404 },
	{ "GET / HTTP/1.1\r\nHost a\r\n\r\n", "- - -", NULL, 400 },
	{ "GET / HTTP/3.0\r\n\r\n", "- - -", NULL, 505 },
	{ "POST /collected HTTP/1.1\r\n" HOST "Content-Length: 2000000\r\n\r\n",
		"POST /collected /collected", NULL, 413 },
	{ "POST /none HTTP/1.1\r\n" HOST LENGTH_5 EXPECT "\r\n", "POST /none -", "-", 404 }
};
enum { ERRORS = sizeof errors / sizeof errors[0] };

TEST(on_error_makes_the_body_of_every_error, .to = ERRORS)
{
	int head = strncmp(errors[_i].request, "HEAD", 4) == 0;

	start_with((HTTPServer_Options){ .before = keep_before, .on_error = on_error });
	ck_assert_int_eq(ask_server(errors[_i].request), errors[_i].status);
	ck_assert(response_has("Content-Type: application/json\r\n")
		&& response_has("Content-Length: 14\r\n"));
	ck_assert_int_eq(response_has("Allow: "), errors[_i].status == 405);
	if (!head)
		ck_assert_int_eq(atoi(response_body() + strlen("{\"status\":")), errors[_i].status);
	ck_assert_int_eq(error_status, errors[_i].status);
	ck_assert_str_eq(error_head, errors[_i].head);
	if (errors[_i].message)
		ck_assert_str_eq(error_message, errors[_i].message);
	else
		ck_assert_int_gt((int)strlen(error_message), 10);
	ck_assert_int_eq(!pthread_equal(error_thread, server_thread),
		strstr(errors[_i].request, "/blocks") != NULL);
	end_server();
}

TEST(an_error_whose_hook_raises_is_answered_by_the_server, .to = 5)
{
	start_with((HTTPServer_Options){ .on_error = on_error });
	error_raises = 1;
	ck_assert_int_eq(ask_server(errors[_i].request), errors[_i].status);
	ck_assert(!response_has("json") && response_has("text/plain"));
	ck_assert_int_eq(response_has("Allow: "), errors[_i].status == 405);
	error_raises = 0;
	ck_assert_int_eq(ask_server(GET("/none")), 404);
	ck_assert(response_has("json"));
	end_server();
}

TEST(an_error_whose_hook_ends_its_thread_has_the_status_and_no_body, .to = 2)
{
	start_with((HTTPServer_Options){ .on_error = on_error, .workers = 1 });
	error_exits = 1;
	ck_assert_int_eq(ask_server(_i ? GET("/blocks?exit") : GET("/blocks?raise")), _i ? 500 : 409);
	ck_assert_str_eq(response_body(), "");
	error_exits = 0;
	ck_assert_int_eq(ask_server(GET("/blocks?raise")), 409);
	ck_assert(response_has("json"));
	end_server();
}

TEST(a_request_that_is_too_slow_has_its_body_from_on_error)
{
	int fd;

	start_with((HTTPServer_Options){ .on_error = on_error, .limits.head_ms = 50 });
	fd = dial_server();
	send_text(fd, "GET / HT");
	ck_assert_int_eq(read_response(fd), 408);
	ck_assert_str_eq(response_body(), "{\"status\":408}");
	close(fd);
	end_server();
}

static void one_page(HTTPRequest_T request, HTTPResponse_T response, int status,
	const char *message, void *cl)
{
	(void)request;
	(void)message;
	(void)cl;
	HTTPResponse_status(response, status == 404 ? 200 : status);
	HTTPResponse_set(response, "Connection", "close");
	HTTPResponse_printf(response, "the one page");
}

TEST(on_error_may_change_the_status_and_end_the_connection)
{
	start_with((HTTPServer_Options){ .on_error = one_page });
	ck_assert_int_eq(ask_server(GET("/none")), 200);
	ck_assert(response_has("Connection: close") && strcmp(response_body(), "the one page") == 0);
	end_server();
}

/* ---- the log and the counts ---- */

CASE("log and counts");

TEST(an_entry_has_the_route_the_exception_its_place_and_its_cause)
{
	start_with((HTTPServer_Options){ .log = keep_entry });
	ck_assert_int_eq(ask_server(GET("/?raise")), 409);
	await(atomic_load(&nlogged) == 1);
	ck_assert_str_eq(entry_route, "/");
	ck_assert_str_eq(entry_error, "outer");
	ck_assert_str_eq(entry_kind, HTTP_Conflict.reason);
	ck_assert_str_eq(entry_cause, "odd");
	ck_assert_str_eq(entry_place, "answer_query");
	ck_assert_uint_gt(entry_memory, 0);
	ck_assert_int_eq(ask_server(GET("/none")), 404);
	await(atomic_load(&nlogged) == 2);
	ck_assert_str_eq(entry_route, "-");
	ck_assert_str_eq(entry_error, "-");
	ck_assert_str_eq(entry_kind, "-");
	end_server();
}

static void rewind_large(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_Mark mark = Arena_mark(HTTPRequest_arena(request));

	(void)cl;
	memset(Arena_alloc(HTTPRequest_arena(request), 300000), 'x', 300000);
	Arena_rewind(HTTPRequest_arena(request), mark);
	HTTPResponse_printf(response, "x");
}

TEST(an_entry_has_the_peak_of_the_request_s_memory_and_not_of_one_before)
{
	make_server((HTTPServer_Options){ .log = keep_entry });
	HTTPServer_route(server, "GET", "/greedy", rewind_large, NULL);
	HTTPServer_route(server, "GET", "/", answer_query, NULL);
	launch_server();
	ck_assert_int_eq(ask_server(GET("/greedy")), 200);
	await(atomic_load(&nlogged) == 1);
	ck_assert_uint_ge(entry_memory, 300000);
	ck_assert_int_eq(ask_server(GET("/")), 200);
	await(atomic_load(&nlogged) == 2);
	ck_assert_uint_lt(entry_memory, 20000);
	end_server();
}

static const struct {
	const char *request, *head;
} refused[] = {
	{ "GET /a?b HTTP/1.1\r\nHost a\r\n\r\n", "GET /a?b" },
	{ "GET /a HTTP/1.1\r\n\r\n", "GET /a" },
	{ "GET /%zz HTTP/1.1\r\n" HOST "\r\n", "GET /%zz" },
	{ "GE(T /a HTTP/1.1\r\n\r\n", "- -" },
	{ "GET /a HTTP/3.1\r\n\r\n", "- -" }
};
enum { REFUSED = sizeof refused / sizeof refused[0] };

TEST(an_entry_of_a_refused_request_has_the_right_part_of_its_head, .to = 2 * REFUSED)
{
	int fd;

	start_with((HTTPServer_Options){ .log = keep_entry });
	fd = dial_server();
	if (_i % 2) { /* in pieces */
		send_bytes(fd, refused[_i / 2].request, 6);
		sleep_ms(20);
		send_text(fd, refused[_i / 2].request + 6);
	} else
		send_text(fd, refused[_i / 2].request);
	ck_assert_int_ge(read_response(fd), 400);
	close(fd);
	await(atomic_load(&nlogged) == 1);
	ck_assert_str_eq(entry_head, refused[_i / 2].head);
	ck_assert_str_ne(entry_error, "-");
	ck_assert_str_eq(entry_kind, "-");
	end_server();
}

static void answer_late(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)response;
	(void)cl;
	sleep_ms(40);
}

static uint64_t count_latencies(const uint64_t *latency, int from, int to)
{
	uint64_t sum = 0;

	while (from < to)
		sum += latency[from++];
	return sum;
}

TEST(latencies_are_counted_by_powers_of_two_if_that_is_asked_for, .to = 2)
{
	HTTPServer_Stats s;

	make_server((HTTPServer_Options){ .latency = _i });
	HTTPServer_route(server, "GET", "/slow", answer_late, NULL);
	launch_server();
	ck_assert_int_eq(ask_server(GET("/slow")), 200);
	ck_assert_int_eq(ask_server(GET("/none")), 404);
	s = stats_now();
	ck_assert_uint_eq(count_latencies(s.latency, 0, HTTPServer_LATENCIES), _i ? 2 : 0);
	/* 40 ms is more than 2^15 us */
	ck_assert_uint_ge(count_latencies(s.latency, 16, HTTPServer_LATENCIES), _i ? 1 : 0);
	ck_assert_uint_eq(count_latencies(s.latency, 0, 15),
		_i && count_latencies(s.latency, 15, HTTPServer_LATENCIES) == 1);
	end_server();
}

/* The clock is exact to a tick. A loop whose handler sleeps counts as busy. */
TEST(the_loops_time_is_busy_or_idle)
{
	HTTPServer_Stats s;
	int i;

	make_server((HTTPServer_Options){ .threads = 1 });
	HTTPServer_route(server, "GET", "/slow", answer_late, NULL);
	launch_server();
	ck_assert_int_eq(ask_server(GET("/slow")), 200); /* the loop runs, which may have begun late */
	sleep_ms(200);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(ask_server(GET("/slow")), 200);
	await(stats_now().busy_ms >= 150);
	s = stats_now();
	ck_assert_uint_ge(s.idle_ms, 50);
	end_server();
}

/* ---- the mode ---- */

CASE("mode");

TEST(a_Unix_domain_listener_has_the_mode)
{
	char dir[] = "/tmp/httphooksXXXXXX", path[64], host[80];
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t before_mask = umask(0);
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/socket", dir);
	snprintf(host, sizeof host, "unix:%s", path);
	start_with((HTTPServer_Options){ .host = host, .mode = 0640, .threads = 2 });
	umask(before_mask);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0640);
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	send_text(fd, GET("/none"));
	ck_assert_int_eq(read_response(fd), 404);
	close(fd);
	end_server();
	rmdir(dir);
}

TEST(a_mode_that_is_none_is_checked)
{
	Arena_T a = Arena_new();

	ck_raises_saying(Assert_Failed, "HTTPServer_new: the mode is 01000",
		HTTPServer_new(a, &(HTTPServer_Options){ .host = "unix:/tmp/x", .mode = 01000 }));
	ck_raises_saying(Assert_Failed, "HTTPServer_new: the mode is",
		HTTPServer_new(a, &(HTTPServer_Options){ .host = "unix:/tmp/x", .mode = -1 }));
	ck_raises_saying(Assert_Failed, "127.0.0.1 is no Unix-domain socket",
		HTTPServer_new(a, &(HTTPServer_Options){ .host = "127.0.0.1", .service = "0",
		.mode = 0600 }));
	Arena_dispose(&a);
}

TEST(a_unix_domain_socket_is_not_shared)
{
	Arena_T a = Arena_new();

	ck_raises_saying(Assert_Failed,
		"HTTPServer_new: shared is 1, and unix:/tmp/x has one listening process",
		HTTPServer_new(a, &(HTTPServer_Options){ .host = "unix:/tmp/x", .shared = 1 }));
	Arena_dispose(&a);
}
