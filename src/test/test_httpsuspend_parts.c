/* SPDX-License-Identifier: MIT */
/* Streams and bodies whose next part comes later. The route's functions run in the loop and in
 * workers. */
#include "config.h"

#include "test_httpsuspend.h"

#if SANITIZED
enum { EVENTS = 20000 };
#else
enum { EVENTS = 1000000 };
#endif

SUITE("answers that come later");

/* ---- streams ---- */

CASE("streams", .timeout = 240);

static atomic_int nparts, last_part; /* parts that were written; the part that ends the stream */

/* Each part waits for a resume. Every third part writes nothing. */
static int next_part(HTTPResponse_T response, void *cl)
{
	int n = atomic_fetch_add(&nparts, 1) + 1;

	(void)cl;
	if (n == atomic_load(&last_part)) {
		HTTPResponse_printf(response, "end");
		return 0;
	}
	if (n % 3)
		HTTPResponse_printf(response, "part %d;", n);
	suspend_response(response);
	return 1;
}

static void stream_parts(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	Arena_defer(HTTPRequest_arena(request), count_freed, NULL);
	HTTPResponse_stream(response, next_part, NULL);
}

static void start_stream(HTTPServer_Options options, int in_workers, int parts)
{
	nparts = 0;
	last_part = parts;
	start_server(stream_parts, options, in_workers);
}

/* Reads until the text has come. */
static void hear_until(int fd, const char *text)
{
	while (!response_has(text)) {
		ssize_t n = read_within(fd, heard + nheard, HEARD - nheard, PATIENCE);

		ck_assert_msg(n > 0, "\"%s\" does not come: %s", text, heard);
		nheard += (size_t)n;
		heard[nheard] = '\0';
	}
}

TEST(a_stream_waits_for_each_of_its_parts, .to = 2)
{
	HTTPResponse_T first, r;
	char text[32];
	int fd, i;

	start_stream((HTTPServer_Options){ 0 }, _i, 8);
	fd = dial_server();
	send_text(fd, GET("/later") GET("/"));
	nheard = 0;
	heard[0] = '\0';
	first = await_suspended(1);
	for (i = 1; i < 8; i++) {
		r = await_suspended(i);
		ck_assert_ptr_eq(r, first); /* the handle stays the same */
		sprintf(text, "part %d;", i);
		if (i % 3)
			hear_until(fd, text);
		ck_assert_int_eq(HTTPResponse_gone(r), 0);
		HTTPResponse_resume(r);
	}
	hear_until(fd, "end\r\n0\r\n\r\n");
	hear_until(fd, "hello");
	await(atomic_load(&nfreed) == 1);
	close(fd);
	end_server();
}

static int part_at_once(HTTPResponse_T response, void *cl)
{
	int more = next_part(response, cl);

	if (more)
		HTTPResponse_resume(response);
	return more;
}

static void stream_at_once(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_stream(response, part_at_once, NULL);
}

TEST(a_stream_may_be_resumed_before_its_part_is_out, .to = 2)
{
	nparts = 0;
	last_part = 1000;
	start_server(stream_at_once, (HTTPServer_Options){ 0 }, _i);
	ck_assert_int_eq(ask_server(GET("/")), 200); /* the loop answers others meanwhile */
	{
		int fd = dial_server();

		send_text(fd, "GET /later HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
		ck_assert(read_to_end(fd));
		ck_assert_int_eq(count_in_response("part "), 999 - 333);
		ck_assert(response_has("end\r\n0\r\n\r\n"));
		close(fd);
	}
	end_server();
}

static int ends_suspended(HTTPResponse_T response, void *cl)
{
	(void)cl;
	suspend_response(response);
	return 0;
}

static int writes_nothing(HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	return 1;
}

static int raises_suspended(HTTPResponse_T response, void *cl)
{
	(void)cl;
	suspend_response(response);
	EXCEPT_RAISE_MSG(HTTP_Failed, "no more");
}

static int (*const wrong[])(HTTPResponse_T, void *) =
	{ ends_suspended, writes_nothing, raises_suspended };
static const char *const wrongs[] = { "suspended the response and does not want to go on",
	"wrote nothing and wants to go on",
	"no more" };
static int which;

static void stream_wrongly(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "before");
	HTTPResponse_stream(response, wrong[which], NULL);
}

TEST(a_stream_that_breaks_its_contract_is_cut, .to = 6)
{
	int fd;

	which = _i / 2;
	start_server(stream_wrongly, (HTTPServer_Options){ 0 }, _i % 2);
	fd = dial_server();
	send_text(fd, GET("/later"));
	read_to_end(fd);
	ck_assert(response_has("before") && !response_has("\r\n0\r\n"));
	await(atomic_load(&nlogged) == 1);
	ck_assert_ptr_nonnull(strstr(last_error, wrongs[which]));
	ck_assert_uint_eq(stats_now().raised, 1);
	if (waiting)
		ck_raises_saying(Assert_Failed, "has ended", HTTPResponse_resume(waiting));
	close(fd);
	end_server();
}

TEST(fail_time_and_the_servers_end_cut_a_stream, .to = 6)
{
	int fd, how = _i / 2;

	start_stream((HTTPServer_Options){ .suspend_ms = how == 1 ? 50 : 10000, .drain_ms = 50 },
		_i % 2, 100);
	fd = dial_server();
	send_text(fd, GET("/later"));
	nheard = 0;
	heard[0] = '\0';
	await_suspended(1);
	hear_until(fd, "part 1;");
	if (how == 0)
		fail_with(waiting, &HTTP_Unavailable, "the source is dry");
	else if (how == 2)
		HTTPServer_stop(server);
	read_to_end(fd);
	ck_assert_uint_eq(nheard, 0);
	await(stats_now().connections == 0);
	if (how == 0) {
		await(atomic_load(&nlogged) == 1);
		ck_assert_str_eq(last_error, "the source is dry");
		ck_assert_uint_eq(stats_now().raised, 1);
	} else {
		ck_assert_int_eq(HTTPResponse_gone(waiting), 1);
		ck_assert_int_eq(atomic_load(&nfreed), 0);
		HTTPResponse_resume(waiting);
		await(atomic_load(&nfreed) == 1);
		ck_assert_int_eq(last_entry.status, 200);
		ck_assert_uint_eq(last_entry.nbytes, strlen("part 1;"));
	}
	close(fd);
	end_server();
}

TEST(the_client_of_a_stream_leaves, .to = 2)
{
	int fd;

	start_stream((HTTPServer_Options){ 0 }, _i, 100);
	fd = dial_server();
	send_text(fd, GET("/later"));
	await_suspended(1);
	close(fd);
	await(HTTPResponse_gone(waiting));
	ck_assert_int_eq(atomic_load(&nfreed), 0);
	HTTPResponse_resume(waiting);
	await(atomic_load(&nfreed) == 1);
	ck_assert_int_eq(atomic_load(&nparts), 1);
	end_server();
}

static int write_event(HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "data: event\n\n");
	suspend_response(response);
	HTTPResponse_resume(response);
	return 1;
}

static void stream_events(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_stream(response, write_event, cl);
}

static size_t peak;

static void log_peak(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	peak = e->memory;
	atomic_fetch_add(&nlogged, 1);
}

TEST(a_stream_of_many_events_is_flat, .to = 2)
{
	int events = _i || RUNNING_ON_VALGRIND ? 20000 : EVENTS, fd;
	size_t got = 0, want = (size_t)events * strlen("d\r\ndata: event\n\n\r\n");
	ssize_t n;

	nlogged = nsuspended = 0;
	make_server((HTTPServer_Options){ .log = log_peak, .workers = 1 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "GET", .pattern = "/later",
		.handler = stream_events,
		.blocks = _i });
	launch_server();
	fd = dial_server();
	send_text(fd, GET("/later"));
	while (got < want) {
		n = read_within(fd, heard, HEARD, PATIENCE);
		ck_assert_msg(n > 0, "%zu of %zu bytes", got, want);
		got += (size_t)n;
	}
	close(fd);
	await(stats_now().connections == 0);
	end_server();
	ck_assert_int_eq(nlogged, 1);
	ck_assert_uint_lt(peak, 20000);
}

/* ---- bodies ---- */

CASE("bodies");

static char taken[1 << 16];
static atomic_size_t ntaken;
static atomic_int ncalls;

static void keep_bytes(const void *bytes, size_t n)
{
	memcpy(taken + ntaken, bytes, n);
	ntaken += n;
	atomic_fetch_add(&ncalls, 1);
}

static void body_later(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	(void)cl;
	keep_bytes(bytes, n);
	suspend_response(HTTPRequest_response(request));
}

static void body_at_once(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	body_later(request, bytes, n, cl);
	HTTPResponse_resume(HTTPRequest_response(request));
}

static void body_raises(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	body_later(request, bytes, n, cl);
	EXCEPT_RAISE_MSG(HTTP_Content_Too_Large, "the disk is full");
}

static void body_raises_late(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	body_at_once(request, bytes, n, cl);
	EXCEPT_RAISE_MSG(HTTP_Content_Too_Large, "the disk is full");
}

static void tell_taken(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	ck_assert_ptr_eq(HTTPRequest_response(request), response);
	HTTPResponse_write(response, taken, ntaken);
}

static void start_body(void (*body_)(HTTPRequest_T, const void *, size_t, void *),
	HTTPServer_Options options, int in_workers)
{
	ntaken = 0;
	ncalls = 0;
	make_with(options, in_workers);
	add_route("POST", "/", tell_taken, body_);
	launch_server();
}

#define POST_LENGTH(n) "POST / HTTP/1.1\r\n" HOST "Content-Length: " n "\r\n\r\n"
#define POST_CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

TEST(the_next_bytes_of_a_body_wait_for_the_resume, .to = 4)
{
	int fd, chunked = _i / 2;

	start_body(body_later, (HTTPServer_Options){ .limits = { .body_ms = 50 } }, _i % 2);
	fd = dial_server();
	send_text(fd, chunked ? POST_CHUNKED "3\r\nabc\r\n" : POST_LENGTH("6") "abc");
	await_suspended(1);
	send_text(fd, chunked ? "3\r\ndef\r\n0\r\n\r\n" GET("/") : "def" GET("/"));
	sleep_ms(150); /* the timeout does not run meanwhile */
	ck_assert_int_eq(atomic_load(&ncalls), 1);
	HTTPResponse_resume(waiting);
	await_suspended(2);
	ck_assert_int_eq(read_within(fd, heard, 1, 20), -2);
	HTTPResponse_resume(waiting);
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "abcdef");
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "hello");
	close(fd);
	end_server();
}

TEST(a_body_may_be_resumed_before_it_returns, .to = 4)
{
	char request[600] = POST_LENGTH("400");
	size_t head = strlen(request);
	int fd = -1, i;

	start_body(_i < 2 ? body_at_once : body_raises_late, (HTTPServer_Options){ 0 }, _i % 2);
	fd = dial_server();
	send_text(fd, request);
	for (i = 0; i < 400; i++)
		request[head + (size_t)i] = (char)('a' + i % 26);
	for (i = 0; i < 400; i += 100)
		send_bytes(fd, request + head + i, 100);
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert(memcmp(response_body(), request + head, 400) == 0);
	await(stats_now().raised == (_i < 2 ? 0 : (unsigned)atomic_load(&ncalls)));
	close(fd);
	end_server();
}

TEST(a_body_that_fails_is_answered_and_the_handler_is_not_called, .to = 4)
{
	int fd;

	start_body(_i < 2 ? body_later : body_raises, (HTTPServer_Options){ 0 }, _i % 2);
	fd = dial_server();
	send_text(fd, POST_LENGTH("6") "abc");
	if (_i < 2) {
		await_suspended(1);
		fail_with(waiting, &HTTP_Content_Too_Large, "the disk is full");
	}
	ck_assert_int_eq(read_response(fd), 413);
	ck_assert_str_eq(response_body(), "413 Content Too Large: the disk is full\n");
	ck_assert(read_to_end(fd));
	close(fd);
	await(atomic_load(&nlogged) == 1);
	ck_assert_uint_eq(stats_now().raised, 1);
	ck_assert_uint_eq(stats_now().refused, 1);
	ck_raises_saying(Assert_Failed, "has ended", HTTPResponse_resume(waiting));
	end_server();
}

TEST(a_body_whose_time_runs_out_is_answered, .to = 2)
{
	int fd;

	start_body(body_later, (HTTPServer_Options){ .suspend_ms = 30 }, _i);
	fd = dial_server();
	send_text(fd, POST_LENGTH("6") "abc");
	ck_assert_int_eq(read_response(fd), 504);
	send_text(fd, "def");
	ck_assert(read_to_end(fd));
	close(fd);
	ck_assert_int_eq(HTTPResponse_gone(waiting), 1);
	HTTPResponse_resume(waiting);
	await(atomic_load(&nlogged) == 1);
	ck_assert_int_eq(last_entry.status, 504);
	end_server();
}

static pthread_t loop_thread;
static atomic_int in_loop;

static void see_thread(void)
{
	if (pthread_equal(pthread_self(), loop_thread))
		atomic_fetch_add(&in_loop, 1);
}

static void before_all(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	see_thread();
	ck_raises_saying(Assert_Failed, "only a handler", HTTPResponse_suspend(response, 0));
	HTTPResponse_set(response, "X-Before", "1");
}

static void slow_body(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	(void)request;
	(void)cl;
	see_thread();
	keep_bytes(bytes, n);
}

static int slow_more(HTTPResponse_T response, void *cl)
{
	int *sent = cl;

	see_thread();
	HTTPResponse_write(response, taken + *sent, 1000);
	*sent += 1000;
	return (size_t)*sent < ntaken;
}

static void slow_handler(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	int *sent;

	(void)cl;
	see_thread();
	NEW0(HTTPRequest_arena(request), sent);
	HTTPResponse_stream(response, slow_more, sent);
}

TEST(all_functions_of_a_route_that_blocks_run_in_workers)
{
	static char bytes[50000];
	const char *at;
	size_t i, got = 0;
	int fd;

	for (i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)('a' + i % 23);
	ntaken = 0;
	in_loop = 0;
	make_server((HTTPServer_Options){ .before = before_all, .workers = 3 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "POST", .pattern = "/",
		.handler = slow_handler,
		.body = slow_body, .blocks = 1 });
	launch_server();
	loop_thread = server_thread;
	fd = dial_server();
	send_text(fd, "POST / HTTP/1.1\r\n" HOST
		"Content-Length: 50000\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(read_one_response(fd, 0), 100);
	send_bytes(fd, bytes, sizeof bytes);
	ck_assert(read_to_end(fd));
	ck_assert(response_has("X-Before: 1"));
	for (at = response_body(); (i = strtoul(at, NULL, 16)) > 0; at += i + 2, got += i) {
		at = strstr(at, "\r\n") + 2;
		ck_assert(memcmp(at, bytes + got, i) == 0);
	}
	ck_assert_uint_eq(got, sizeof bytes);
	ck_assert_int_eq(in_loop, 0);
	close(fd);
	end_server();
}
