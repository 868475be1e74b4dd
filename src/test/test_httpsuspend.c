/* SPDX-License-Identifier: MIT */
/* Answers that come later: who resumes them, what the client sees of it, and what becomes of them when it leaves, time runs
 * out, or the server stops. Each test runs twice: with the route's functions in the loop, and in workers. */
#include "config.h"

#include "httpclient.h"

#if SANITIZED
enum { EVENTS = 20000 };
#else
enum { EVENTS = 1000000 };
#endif

static HTTPResponse_T volatile waiting; /* the last that was suspended */
static atomic_int nsuspended, nfreed, nlogged, blocks, timeout_ms;

static HTTPServer_Entry last_entry;
static char last_error[100];

static void keep_entry(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	last_entry = *e;
	snprintf(last_error, sizeof last_error, "%s", e->error ? e->error : "-");
	atomic_fetch_add(&nlogged, 1);
}

static void count_freed(void *cl)
{
	(void)cl;
	atomic_fetch_add(&nfreed, 1);
}

static void suspend(HTTPResponse_T response)
{
	HTTPResponse_suspend(response, atomic_load(&timeout_ms));
	__atomic_store_n(&waiting, response, __ATOMIC_RELEASE);
	atomic_fetch_add(&nsuspended, 1);
}

static void later(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	Arena_defer(HTTPRequest_arena(request), count_freed, NULL);
	ck_assert_ptr_eq(HTTPRequest_response(request), response);
	suspend(response);
}

static void hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "hello");
}

static void route(const char *method, const char *pattern, HTTPServer_Handler *handler,
	void (*body_)(HTTPRequest_T, const void *, size_t, void *))
{
	HTTPServer_Route r = { .method = method, .pattern = pattern, .handler = handler, .body = body_, .blocks = blocks };

	HTTPServer_route_with(server, &r);
}

static void make_with(HTTPServer_Options options, int in_workers)
{
	nsuspended = nfreed = nlogged = timeout_ms = 0;
	blocks = in_workers;
	waiting = NULL;
	options.log = keep_entry;
	options.workers = 2;
	make_server(options);
	HTTPServer_route(server, "GET", "/", hello, NULL);
}

static void start(HTTPServer_Handler *handler, HTTPServer_Options options, int in_workers)
{
	make_with(options, in_workers);
	route("GET", "/later", handler, NULL);
	launch();
}

static HTTPResponse_T await_suspended(int n)
{
	await(atomic_load(&nsuspended) == n);
	return __atomic_load_n(&waiting, __ATOMIC_ACQUIRE);
}

/* A client whose request waits. */
static int begin_waiting(void)
{
	int fd = dial();

	say(fd, GET("/later"));
	await_suspended(1);
	return fd;
}

SUITE("answers that come later");

/* ---- resuming ---- */

CASE("handlers");

TEST(another_thread_answers_later, .to = 2)
{
	HTTPResponse_T r;
	int fd, i;

	start(later, (HTTPServer_Options){ 0 }, _i);
	fd = dial();
	for (i = 1; i <= 40; i++) { /* more often than a place has turns */
		say(fd, GET("/later"));
		r = await_suspended(i);
		ck_assert_int_eq(ask(GET("/")), 200); /* meanwhile */
		await(stats_now().suspended == 1);
		HTTPResponse_printf(r, "answer %d", i);
		ck_assert_int_eq(HTTPResponse_gone(r), 0);
		HTTPResponse_resume(r);
		ck_assert_int_eq(hear(fd), 200);
		ck_assert_int_eq(atoi(body() + strlen("answer ")), i);
	}
	await(atomic_load(&nfreed) == 40);
	ck_assert_uint_eq(stats_now().suspended, 0);
	ck_assert_uint_eq(stats_now().raised, 0);
	close(fd);
	end_server();
}

static void at_once(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	later(request, response, cl);
	HTTPResponse_resume(response);
	ck_raises_saying(Assert_Failed, "is not suspended", HTTPResponse_resume(response));
	ck_raises_saying(Assert_Failed, "suspended already", HTTPResponse_suspend(response, 0));
	HTTPResponse_printf(response, "at once");
}

TEST(a_resume_before_the_handler_returns_takes_effect_then, .to = 2)
{
	int fd, i;

	start(at_once, (HTTPServer_Options){ 0 }, _i);
	fd = dial();
	say(fd, GET("/later") GET("/later") GET("/"));
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(hear(fd), 200);
		ck_assert_str_eq(body(), "at once");
	}
	ck_assert_int_eq(hear(fd), 200);
	close(fd);
	end_server();
}

TEST(responses_before_a_suspended_one_go_out_and_requests_behind_it_wait, .to = 2)
{
	HTTPResponse_T r;
	int fd;

	start(later, (HTTPServer_Options){ 0 }, _i);
	fd = dial();
	say(fd, GET("/") GET("/") GET("/later") GET("/"));
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_int_eq(hear(fd), 200);
	r = await_suspended(1);
	say(fd, GET("/"));
	ck_assert_int_eq(listen_for(fd, heard, 1, 50), -2);
	HTTPResponse_status(r, 202);
	HTTPResponse_resume(r);
	ck_assert_int_eq(hear(fd), 202);
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_int_eq(hear(fd), 200);
	close(fd);
	end_server();
}

/* ---- failing ---- */

EXCEPT_DEFINE(No_Such_Note, &HTTP_Not_Found, "no such note");

static void fail_with(HTTPResponse_T r, const Except_T *e, const char *text)
{
	TRY {
		EXCEPT_RAISE_MSG(*e, "%s", text);
	} ELSE {
		HTTPResponse_fail(r, NULL);
	} END_TRY;
}

TEST(fail_answers_as_if_the_handler_had_raised_it, .to = 2)
{
	Except_Capture capture, none = { 0 };
	HTTPResponse_T r;
	int fd;

	start(later, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	r = waiting;
	HTTPResponse_printf(r, "what is thrown away");
	ck_raises_saying(Assert_Failed, "HTTPResponse_fail: the capture is NULL", HTTPResponse_fail(r, NULL));
	ck_raises_saying(Assert_Failed, "no exception", HTTPResponse_fail(r, &none));
	fail_with(r, &No_Such_Note, "note 17");
	ck_assert_int_eq(hear(fd), 404);
	ck_assert_str_eq(body(), "404 Not Found: note 17\n");
	await(atomic_load(&nlogged) == 1);
	ck_assert_str_eq(last_error, "note 17");
	ck_assert_uint_eq(stats_now().raised, 1);
	say(fd, GET("/later"));
	r = await_suspended(2);
	TRY {
		RAISE_MSG(HTTP_Unavailable, "a long %0250d story", 0);
	} ELSE {
		Except_capture(&capture);
	} END_TRY;
	HTTPResponse_fail(r, &capture);
	memset(&capture, 0, sizeof capture);
	ck_assert_int_eq(hear(fd), 503);
	ck_assert(has("a long 000"));
	close(fd);
	end_server();
}

static void raise_after(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	later(request, response, cl);
	EXCEPT_RAISE_MSG(HTTP_Unavailable, "the queue is full");
}

TEST(a_raise_after_suspend_is_a_fail, .to = 2)
{
	int fd, i;

	start(raise_after, (HTTPServer_Options){ 0 }, _i);
	fd = dial();
	for (i = 1; i < 4; i++) {
		say(fd, GET("/later"));
		ck_assert_int_eq(hear(fd), 503);
		ck_assert_str_eq(body(), "503 Service Unavailable: the queue is full\n");
		await(stats_now().raised == (unsigned)i);
		ck_raises_saying(Assert_Failed, "has ended", HTTPResponse_resume(waiting));
		ck_raises_saying(Assert_Failed, "has ended", HTTPResponse_gone(waiting));
		ck_raises_saying(Assert_Failed, "has ended", fail_with(waiting, &HTTP_Failed, "x"));
	}
	close(fd);
	end_server();
}

static void raise_too_late(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	at_once(request, response, cl);
	EXCEPT_RAISE_MSG(HTTP_Unavailable, "the queue is full");
}

TEST(a_raise_after_the_resume_is_counted_and_dropped, .to = 2)
{
	start(raise_too_late, (HTTPServer_Options){ 0 }, _i);
	ck_assert_int_eq(ask(GET("/later")), 200);
	ck_assert_str_eq(body(), "at once");
	await(stats_now().raised == 1);
	ck_assert_str_eq(last_error, "-");
	end_server();
}

/* ---- what is checked ---- */

static void suspend_twice(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	later(request, response, cl);
	HTTPResponse_suspend(response, 0);
}

TEST(a_response_is_suspended_once_by_a_handler_while_it_runs, .to = 2)
{
	Arena_T mine = Arena_new();
	HTTPResponse_T r = HTTPResponse_new(mine);
	int i, fd;

	for (i = 0; i < 4; i++, r = HTTPResponse_new(mine)) {
		ck_raises_saying(Assert_Failed, "not a server's", HTTPResponse_suspend(r, 0));
		ck_raises_saying(Assert_Failed, "not a server's", HTTPResponse_resume(r));
		ck_raises_saying(Assert_Failed, "not a server's", HTTPResponse_gone(r));
	}
	Arena_dispose(&mine);
	ck_raises_saying(Assert_Failed, "HTTPResponse_resume: the response is NULL", HTTPResponse_resume(NULL));
	start(suspend_twice, (HTTPServer_Options){ 0 }, _i);
	ck_assert_int_eq(ask(GET("/later")), 500);
	end_server();
	start(later, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	ck_raises_saying(Assert_Failed, "suspended already", HTTPResponse_suspend(waiting, 0));
	HTTPResponse_resume(waiting);
	ck_assert_int_eq(hear(fd), 200);
	ck_raises_saying(Assert_Failed, "has ended", HTTPResponse_suspend(waiting, 0));
	close(fd);
	end_server();
}

TEST(a_request_without_a_server_has_no_response)
{
	Arena_T mine = Arena_new();
	HTTPRequest_T request;
	Socket_T s;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	s = Socket_adopt(pair[0]);
	say(pair[1], GET("/"));
	request = HTTPRequest_parse(mine, s);
	ck_raises_saying(Assert_Failed, "HTTPRequest_response: the request has no response", HTTPRequest_response(request));
	ck_raises_saying(Assert_Failed, "HTTPRequest_response: the request is NULL", HTTPRequest_response(NULL));
	Socket_close(&s);
	close(pair[1]);
	Arena_dispose(&mine);
}

/* ---- nobody waits any more ---- */

TEST(time_runs_out, .to = 2)
{
	HTTPResponse_T r;
	int fd;

	make_with((HTTPServer_Options){ .suspend_ms = 30 }, _i);
	timeout_ms = _i ? 30 : 0;
	route("GET", "/later", later, NULL);
	launch();
	fd = dial();
	say(fd, GET("/") GET("/later") GET("/"));
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_int_eq(hear(fd), 504);
	ck_assert(has("Connection: close"));
	r = waiting;
	ck_assert_int_eq(HTTPResponse_gone(r), 1);
	ck_assert(hear_all(fd));
	ck_assert_uint_eq(nheard, 0);
	close(fd);
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().timed_out, 1);
	ck_assert_int_eq(atomic_load(&nlogged), 1);
	ck_assert_int_eq(atomic_load(&nfreed), 0);
	HTTPResponse_printf(r, "for nobody"); /* it is the program's still */
	HTTPResponse_resume(r);
	await(atomic_load(&nfreed) == 1);
	ck_assert_int_eq(atomic_load(&nlogged), 2);
	ck_assert_int_eq(last_entry.status, 504);
	ck_assert_ptr_nonnull(strstr(last_error, "too long"));
	ck_raises_saying(Assert_Failed, "has ended", HTTPResponse_gone(r));
	end_server();
}

TEST(without_a_limit_it_waits, .to = 2)
{
	int fd;

	make_with((HTTPServer_Options){ .suspend_ms = 10, .idle_ms = 10, .send_ms = 10, .limits = { .head_ms = 10, .body_ms = 10 } },
		_i);
	timeout_ms = -1;
	route("GET", "/later", later, NULL);
	launch();
	fd = begin_waiting();
	ck_assert_int_eq(listen_for(fd, heard, 1, 150), -2);
	HTTPResponse_resume(waiting);
	ck_assert_int_eq(hear(fd), 200);
	close(fd);
	end_server();
}

TEST(the_client_leaves, .to = 2)
{
	HTTPResponse_T r;
	int fd;

	start(later, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	r = waiting;
	ck_assert_int_eq(HTTPResponse_gone(r), 0);
	say(fd, GET("/"));
	if (_i == 0)
		close(fd);
	else
		shutdown(fd, SHUT_WR);
	await(HTTPResponse_gone(r));
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().suspended, 0);
	ck_assert_int_eq(atomic_load(&nfreed), 0);
	ck_assert_int_eq(atomic_load(&nlogged), 0);
	if (_i == 0)
		HTTPResponse_resume(r);
	else
		fail_with(r, &HTTP_Failed, "it makes no difference");
	await(atomic_load(&nfreed) == 1);
	ck_assert_int_eq(atomic_load(&nlogged), 1);
	ck_assert_int_eq(last_entry.status, 0);
	ck_assert_str_eq(HTTPServer_stopping(server) ? "stopping" : last_error, _i ? "it makes no difference" : "-");
	if (_i)
		close(fd);
	end_server();
}

TEST(the_server_stops, .to = 2)
{
	int64_t start_ms;
	int fd;

	start(later, (HTTPServer_Options){ .drain_ms = 150 }, _i);
	fd = begin_waiting();
	ck_assert_int_eq(HTTPServer_stopping(server), 0);
	start_ms = clock_ms();
	HTTPServer_stop(server);
	ck_assert_int_eq(HTTPServer_stopping(server), 1);
	ck_assert_int_eq(hear(fd), 503);
	ck_assert_int_eq(HTTPResponse_gone(waiting), 1);
	ck_assert(hear_all(fd));
	pthread_join(server_thread, NULL);
	ck_assert_int_ge(clock_ms() - start_ms, 140);
	ck_assert_int_eq(atomic_load(&nfreed), 0);
	HTTPResponse_resume(waiting); /* in this thread: there is no other any more */
	ck_assert_int_eq(atomic_load(&nfreed), 1);
	ck_assert_int_eq(atomic_load(&nlogged), 1);
	ck_assert_int_eq(last_entry.status, 503);
	ck_raises_saying(Assert_Failed, "has ended", HTTPResponse_resume(waiting));
	close(fd);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

TEST(what_is_not_resumed_goes_with_the_servers_arena, .to = 2)
{
	int fd;

	start(later, (HTTPServer_Options){ .drain_ms = 1 }, _i);
	fd = begin_waiting();
	end_server();
	ck_assert_int_eq(atomic_load(&nfreed), 1);
	close(fd);
}

TEST(a_drain_waits_for_the_resume, .to = 2)
{
	int fd;

	start(later, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	HTTPServer_stop(server);
	ck_assert_int_eq(listen_for(fd, heard, 1, 50), -2);
	HTTPResponse_resume(waiting);
	ck_assert_int_eq(hear(fd), 200);
	join_server();
	close(fd);
}

/* ---- streams ---- */

CASE("streams", .timeout = 240);

static atomic_int nparts, last_part; /* written; after which the stream ends */

/* Each part waits for a resume; every third writes nothing. */
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
	suspend(response);
	return 1;
}

static void stream(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	Arena_defer(HTTPRequest_arena(request), count_freed, NULL);
	HTTPResponse_stream(response, next_part, NULL);
}

static void start_stream(HTTPServer_Options options, int in_workers, int parts)
{
	nparts = 0;
	last_part = parts;
	start(stream, options, in_workers);
}

/* Reads until the text has come. */
static void hear_until(int fd, const char *text)
{
	while (!has(text)) {
		ssize_t n = listen_for(fd, heard + nheard, HEARD - nheard, PATIENCE);

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
	fd = dial();
	say(fd, GET("/later") GET("/"));
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
	start(stream_at_once, (HTTPServer_Options){ 0 }, _i);
	ck_assert_int_eq(ask(GET("/")), 200); /* while it runs, others are answered */
	{
		int fd = dial();

		say(fd, "GET /later HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
		ck_assert(hear_all(fd));
		ck_assert_int_eq(count("part "), 999 - 333);
		ck_assert(has("end\r\n0\r\n\r\n"));
		close(fd);
	}
	end_server();
}

static int ends_suspended(HTTPResponse_T response, void *cl)
{
	(void)cl;
	suspend(response);
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
	suspend(response);
	EXCEPT_RAISE_MSG(HTTP_Failed, "no more");
}

static int (*const wrong[])(HTTPResponse_T, void *) = { ends_suspended, writes_nothing, raises_suspended };
static const char *const wrongs[] = { "suspended the response and does not want to go on", "wrote nothing and wants to go on",
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
	start(stream_wrongly, (HTTPServer_Options){ 0 }, _i % 2);
	fd = dial();
	say(fd, GET("/later"));
	hear_all(fd);
	ck_assert(has("before") && !has("\r\n0\r\n"));
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

	start_stream((HTTPServer_Options){ .suspend_ms = how == 1 ? 50 : 10000, .drain_ms = 50 }, _i % 2, 100);
	fd = dial();
	say(fd, GET("/later"));
	nheard = 0;
	heard[0] = '\0';
	await_suspended(1);
	hear_until(fd, "part 1;");
	if (how == 0)
		fail_with(waiting, &HTTP_Unavailable, "the source is dry");
	else if (how == 2)
		HTTPServer_stop(server);
	hear_all(fd);
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
	fd = dial();
	say(fd, GET("/later"));
	await_suspended(1);
	close(fd);
	await(HTTPResponse_gone(waiting));
	ck_assert_int_eq(atomic_load(&nfreed), 0);
	HTTPResponse_resume(waiting);
	await(atomic_load(&nfreed) == 1);
	ck_assert_int_eq(atomic_load(&nparts), 1);
	end_server();
}

static int event(HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "data: event\n\n");
	suspend(response);
	HTTPResponse_resume(response);
	return 1;
}

static void endless(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_stream(response, event, cl);
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
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "GET", .pattern = "/later", .handler = endless,
		.blocks = _i });
	launch();
	fd = dial();
	say(fd, GET("/later"));
	while (got < want) {
		n = listen_for(fd, heard, HEARD, PATIENCE);
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
	suspend(HTTPRequest_response(request));
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

static void start_body(void (*body_)(HTTPRequest_T, const void *, size_t, void *), HTTPServer_Options options, int in_workers)
{
	ntaken = 0;
	ncalls = 0;
	make_with(options, in_workers);
	route("POST", "/", tell_taken, body_);
	launch();
}

#define POST_LENGTH(n) "POST / HTTP/1.1\r\n" HOST "Content-Length: " n "\r\n\r\n"
#define POST_CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

TEST(the_next_bytes_of_a_body_wait_for_the_resume, .to = 4)
{
	int fd, chunked = _i / 2;

	start_body(body_later, (HTTPServer_Options){ .limits = { .body_ms = 50 } }, _i % 2);
	fd = dial();
	say(fd, chunked ? POST_CHUNKED "3\r\nabc\r\n" : POST_LENGTH("6") "abc");
	await_suspended(1);
	say(fd, chunked ? "3\r\ndef\r\n0\r\n\r\n" GET("/") : "def" GET("/"));
	nap(150); /* its time stands meanwhile */
	ck_assert_int_eq(atomic_load(&ncalls), 1);
	HTTPResponse_resume(waiting);
	await_suspended(2);
	ck_assert_int_eq(listen_for(fd, heard, 1, 20), -2);
	HTTPResponse_resume(waiting);
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_str_eq(body(), "abcdef");
	ck_assert_int_eq(hear(fd), 200);
	ck_assert_str_eq(body(), "hello");
	close(fd);
	end_server();
}

TEST(a_body_may_be_resumed_before_it_returns, .to = 4)
{
	char request[600] = POST_LENGTH("400");
	size_t head = strlen(request);
	int fd = -1, i;

	start_body(_i < 2 ? body_at_once : body_raises_late, (HTTPServer_Options){ 0 }, _i % 2);
	fd = dial();
	say(fd, request);
	for (i = 0; i < 400; i++)
		request[head + (size_t)i] = (char)('a' + i % 26);
	for (i = 0; i < 400; i += 100)
		say_bytes(fd, request + head + i, 100);
	ck_assert_int_eq(hear(fd), 200);
	ck_assert(memcmp(body(), request + head, 400) == 0);
	await(stats_now().raised == (_i < 2 ? 0 : (unsigned)atomic_load(&ncalls)));
	close(fd);
	end_server();
}

TEST(a_body_that_fails_is_answered_and_the_handler_is_not_called, .to = 4)
{
	int fd;

	start_body(_i < 2 ? body_later : body_raises, (HTTPServer_Options){ 0 }, _i % 2);
	fd = dial();
	say(fd, POST_LENGTH("6") "abc");
	if (_i < 2) {
		await_suspended(1);
		fail_with(waiting, &HTTP_Content_Too_Large, "the disk is full");
	}
	ck_assert_int_eq(hear(fd), 413);
	ck_assert_str_eq(body(), "413 Content Too Large: the disk is full\n");
	ck_assert(hear_all(fd));
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
	fd = dial();
	say(fd, POST_LENGTH("6") "abc");
	ck_assert_int_eq(hear(fd), 504);
	say(fd, "def");
	ck_assert(hear_all(fd));
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
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "POST", .pattern = "/", .handler = slow_handler,
		.body = slow_body, .blocks = 1 });
	launch();
	loop_thread = server_thread;
	fd = dial();
	say(fd, "POST / HTTP/1.1\r\n" HOST "Content-Length: 50000\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(hear_one(fd, 0), 100);
	say_bytes(fd, bytes, sizeof bytes);
	ck_assert(hear_all(fd));
	ck_assert(has("X-Before: 1"));
	for (at = body(); (i = strtoul(at, NULL, 16)) > 0; at += i + 2, got += i) {
		at = strstr(at, "\r\n") + 2;
		ck_assert(memcmp(at, bytes + got, i) == 0);
	}
	ck_assert_uint_eq(got, sizeof bytes);
	ck_assert_int_eq(in_loop, 0);
	close(fd);
	end_server();
}
