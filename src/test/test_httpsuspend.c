/* SPDX-License-Identifier: MIT */
/* Answers that come later: who may resume them, what the client sees, and what happens when the
 * client leaves, the timeout passes or the server stops. Each test runs twice: with the route's
 * functions in the loop, and in workers. */
#include "config.h"

#include "test_httpsuspend.h"

SUITE("answers that come later");

/* ---- resuming ---- */

CASE("handlers");

TEST(another_thread_answers_later, .to = 2)
{
	HTTPResponse_T r;
	int fd, i;

	start_server(answer_later, (HTTPServer_Options){ 0 }, _i);
	fd = dial_server();
	for (i = 1; i <= 40; i++) { /* more often than a slot has generations */
		send_text(fd, GET("/later"));
		r = await_suspended(i);
		ck_assert_int_eq(ask_server(GET("/")), 200); /* while it waits */
		await(stats_now().suspended == 1);
		HTTPResponse_printf(r, "answer %d", i);
		ck_assert_int_eq(HTTPResponse_gone(r), 0);
		HTTPResponse_resume(r);
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_int_eq(atoi(response_body() + strlen("answer ")), i);
	}
	await(atomic_load(&nfreed) == 40);
	ck_assert_uint_eq(stats_now().suspended, 0);
	ck_assert_uint_eq(stats_now().raised, 0);
	close(fd);
	end_server();
}

static void at_once(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	answer_later(request, response, cl);
	HTTPResponse_resume(response);
	ck_raises_saying(Assert_Failed, "is not suspended", HTTPResponse_resume(response));
	ck_raises_saying(Assert_Failed, "suspended already", HTTPResponse_suspend(response, 0));
	HTTPResponse_printf(response, "at once");
}

TEST(a_resume_before_the_handler_returns_takes_effect_then, .to = 2)
{
	int fd, i;

	start_server(at_once, (HTTPServer_Options){ 0 }, _i);
	fd = dial_server();
	send_text(fd, GET("/later") GET("/later") GET("/"));
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_str_eq(response_body(), "at once");
	}
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	end_server();
}

TEST(responses_before_a_suspended_one_go_out_and_requests_behind_it_wait, .to = 2)
{
	HTTPResponse_T r;
	int fd;

	start_server(answer_later, (HTTPServer_Options){ 0 }, _i);
	fd = dial_server();
	send_text(fd, GET("/") GET("/") GET("/later") GET("/"));
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_int_eq(read_response(fd), 200);
	r = await_suspended(1);
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_within(fd, heard, 1, 50), -2);
	HTTPResponse_status(r, 202);
	HTTPResponse_resume(r);
	ck_assert_int_eq(read_response(fd), 202);
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	end_server();
}

/* ---- failing ---- */

EXCEPT_DEFINE(No_Such_Note, &HTTP_Not_Found, "no such note");

TEST(fail_answers_as_if_the_handler_had_raised_it, .to = 2)
{
	Except_Capture capture, none = { 0 };
	HTTPResponse_T r;
	int fd;

	start_server(answer_later, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	r = waiting;
	HTTPResponse_printf(r, "what is thrown away");
	ck_raises_saying(Assert_Failed, "HTTPResponse_fail: the capture is NULL",
		HTTPResponse_fail(r, NULL));
	ck_raises_saying(Assert_Failed, "no exception", HTTPResponse_fail(r, &none));
	fail_with(r, &No_Such_Note, "note 17");
	ck_assert_int_eq(read_response(fd), 404);
	ck_assert_str_eq(response_body(), "404 Not Found: note 17\n");
	await(atomic_load(&nlogged) == 1);
	ck_assert_str_eq(last_error, "note 17");
	ck_assert_uint_eq(stats_now().raised, 1);
	send_text(fd, GET("/later"));
	r = await_suspended(2);
	TRY {
		RAISE_MSG(HTTP_Unavailable, "a long %0250d story", 0);
	} ELSE {
		Except_capture(&capture);
	} END_TRY;
	HTTPResponse_fail(r, &capture);
	memset(&capture, 0, sizeof capture);
	ck_assert_int_eq(read_response(fd), 503);
	ck_assert(response_has("a long 000"));
	close(fd);
	end_server();
}

static void raise_after(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	answer_later(request, response, cl);
	EXCEPT_RAISE_MSG(HTTP_Unavailable, "the queue is full");
}

TEST(a_raise_after_suspend_is_a_fail, .to = 2)
{
	int fd, i;

	start_server(raise_after, (HTTPServer_Options){ 0 }, _i);
	fd = dial_server();
	for (i = 1; i < 4; i++) {
		send_text(fd, GET("/later"));
		ck_assert_int_eq(read_response(fd), 503);
		ck_assert_str_eq(response_body(), "503 Service Unavailable: the queue is full\n");
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
	start_server(raise_too_late, (HTTPServer_Options){ 0 }, _i);
	ck_assert_int_eq(ask_server(GET("/later")), 200);
	ck_assert_str_eq(response_body(), "at once");
	await(stats_now().raised == 1);
	ck_assert_str_eq(last_error, "-");
	end_server();
}

/* ---- what is checked ---- */

static void suspend_twice(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	answer_later(request, response, cl);
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
	ck_raises_saying(Assert_Failed, "HTTPResponse_resume: the response is NULL",
		HTTPResponse_resume(NULL));
	start_server(suspend_twice, (HTTPServer_Options){ 0 }, _i);
	ck_assert_int_eq(ask_server(GET("/later")), 500);
	end_server();
	start_server(answer_later, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	ck_raises_saying(Assert_Failed, "suspended already", HTTPResponse_suspend(waiting, 0));
	HTTPResponse_resume(waiting);
	ck_assert_int_eq(read_response(fd), 200);
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
	send_text(pair[1], GET("/"));
	request = HTTPRequest_parse(mine, s);
	ck_raises_saying(Assert_Failed, "HTTPRequest_response: the request has no response",
		HTTPRequest_response(request));
	ck_raises_saying(Assert_Failed, "HTTPRequest_response: the request is NULL",
		HTTPRequest_response(NULL));
	Socket_close(&s);
	close(pair[1]);
	Arena_dispose(&mine);
}

/* ---- the client leaves, the timeout passes, the server stops ---- */

TEST(time_runs_out, .to = 2)
{
	HTTPResponse_T r;
	int fd;

	make_with((HTTPServer_Options){ .suspend_ms = 30 }, _i);
	timeout_ms = _i ? 30 : 0;
	add_route("GET", "/later", answer_later, NULL);
	launch_server();
	fd = dial_server();
	send_text(fd, GET("/") GET("/later") GET("/"));
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_int_eq(read_response(fd), 504);
	ck_assert(response_has("Connection: close"));
	r = waiting;
	ck_assert_int_eq(HTTPResponse_gone(r), 1);
	ck_assert(read_to_end(fd));
	ck_assert_uint_eq(nheard, 0);
	close(fd);
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().timed_out, 1);
	ck_assert_int_eq(atomic_load(&nlogged), 1);
	ck_assert_int_eq(atomic_load(&nfreed), 0);
	HTTPResponse_printf(r, "for nobody"); /* the response still belongs to the program */
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

	make_with((HTTPServer_Options){ .suspend_ms = 10, .idle_ms = 10, .send_ms = 10,
		.limits = { .head_ms = 10, .body_ms = 10 } },
		_i);
	timeout_ms = -1;
	add_route("GET", "/later", answer_later, NULL);
	launch_server();
	fd = begin_waiting();
	ck_assert_int_eq(read_within(fd, heard, 1, 150), -2);
	HTTPResponse_resume(waiting);
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	end_server();
}

TEST(the_client_leaves, .to = 2)
{
	HTTPResponse_T r;
	int fd;

	start_server(answer_later, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	r = waiting;
	ck_assert_int_eq(HTTPResponse_gone(r), 0);
	send_text(fd, GET("/"));
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
	ck_assert_str_eq(HTTPServer_stopping(server) ? "stopping" : last_error,
		_i ? "it makes no difference" : "-");
	if (_i)
		close(fd);
	end_server();
}

TEST(the_server_stops, .to = 2)
{
	int64_t start_ms;
	int fd;

	start_server(answer_later, (HTTPServer_Options){ .drain_ms = 150 }, _i);
	fd = begin_waiting();
	ck_assert_int_eq(HTTPServer_stopping(server), 0);
	start_ms = clock_ms();
	HTTPServer_stop(server);
	ck_assert_int_eq(HTTPServer_stopping(server), 1);
	ck_assert_int_eq(read_response(fd), 503);
	ck_assert_int_eq(HTTPResponse_gone(waiting), 1);
	ck_assert(read_to_end(fd));
	pthread_join(server_thread, NULL);
	ck_assert_int_ge(clock_ms() - start_ms, 140);
	ck_assert_int_eq(atomic_load(&nfreed), 0);
	HTTPResponse_resume(waiting); /* in this thread: the server's have ended */
	ck_assert_int_eq(atomic_load(&nfreed), 1);
	ck_assert_int_eq(atomic_load(&nlogged), 1);
	ck_assert_int_eq(last_entry.status, 503);
	ck_raises_saying(Assert_Failed, "has ended", HTTPResponse_resume(waiting));
	close(fd);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

TEST(a_response_that_is_not_resumed_is_freed_with_the_servers_arena, .to = 2)
{
	int fd;

	start_server(answer_later, (HTTPServer_Options){ .drain_ms = 1 }, _i);
	fd = begin_waiting();
	end_server();
	ck_assert_int_eq(atomic_load(&nfreed), 1);
	close(fd);
}

static void raise_deferred(void *cl)
{
	count_freed(cl);
	RAISE_MSG(HTTP_Failed, "deferred");
}

static void suspend_with_a_raise(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_defer(HTTPRequest_arena(request), raise_deferred, cl);
	suspend_response(response);
}

TEST(a_deferred_call_that_raises_after_the_client_has_left_is_counted, .to = 2)
{
	int fd;

	start_server(suspend_with_a_raise, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	close(fd);
	await(stats_now().connections == 0);
	HTTPResponse_resume(waiting);
	await(stats_now().raised == 1);
	ck_assert_int_eq(atomic_load(&nfreed), 1);
	ck_assert_int_eq(ask_server(GET("/")), 200);
	end_server();
}

TEST(and_so_it_is_after_the_end_of_the_server, .to = 2)
{
	int fd;

	start_server(suspend_with_a_raise, (HTTPServer_Options){ .drain_ms = 1 }, _i);
	fd = begin_waiting();
	HTTPServer_stop(server);
	pthread_join(server_thread, NULL);
	HTTPResponse_resume(waiting);
	ck_assert_uint_eq(stats_now().raised, 1);
	ck_assert_int_eq(atomic_load(&nfreed), 1);
	close(fd);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

TEST(a_drain_waits_for_the_resume, .to = 2)
{
	int fd;

	start_server(answer_later, (HTTPServer_Options){ 0 }, _i);
	fd = begin_waiting();
	HTTPServer_stop(server);
	ck_assert_int_eq(read_within(fd, heard, 1, 50), -2);
	HTTPResponse_resume(waiting);
	ck_assert_int_eq(read_response(fd), 200);
	join_server();
	close(fd);
}
