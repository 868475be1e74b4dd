/* SPDX-License-Identifier: MIT */
/* HTTPCall_run and HTTPCall_over: framing, errors, timeouts, kept connections. */
#include "config.h"

#include "callserver.h"

/* ---- runs ---- */

SUITE("HTTPCall");
CASE("HTTPCall", .setup = set_up, .teardown = tear_down);

TEST(a_call_sends_its_request_and_reads_the_answer)
{
	HTTPCall_T call = call_of("GET", "/a?b=c");
	char expected[128];

	SERVE({ .until = END,
		.answer =
			"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nX-One: 1\r\nx-one: 2\r\n\r\nnone" });
	HTTPCall_set(call, "Accept", "text/plain");
	HTTPCall_set(call, "accept", "*/*");
	HTTPCall_add(call, "X", "1");
	HTTPCall_add(call, "X", "2");
	run_call(call);
	ck_assert_int_eq(HTTPCall_status(call), 404);
	ck_assert_str_eq(HTTPCall_header(call, "X-ONE"), "1, 2");
	ck_assert_ptr_null(HTTPCall_header(call, "Location"));
	ck_assert_uint_eq(HashTable_length(HTTPCall_headers(call)), 2);
	check_body(call, "none");
	snprintf(expected, sizeof expected,
		"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\nX: 1\r\nX: 2\r\n\r\n",
		server.port);
	ck_assert_str_eq(server.heard, expected);
	ck_assert_uint_eq(count_checked_out(), 0);
	ck_assert_uint_eq(count_idle(), 1);
}

TEST(cookies_that_are_set_are_no_list)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE({ .until = END,
		.answer = "HTTP/1.1 204 No Content\r\nSet-Cookie: a=1; Expires=Thu, 01 Jan 2030\r\nA: 1\r\n"
		"set-cookie: b=2\r\n"
			"A: 2\r\n\r\n" });
	run_call(call);
	ck_assert_str_eq(HTTPCall_header(call, "Set-Cookie"), "a=1; Expires=Thu, 01 Jan 2030\r\nb=2");
	ck_assert_str_eq(HTTPCall_header(call, "A"), "1, 2");
}

TEST(a_body_is_sent_with_its_length)
{
	HTTPCall_T call = call_of("POST", "/");

	SERVE({ .until = "over 9000", .answer = OK("", "0") });
	HTTPCall_write(call, "it is ", 6);
	HTTPCall_printf(call, "%s %d", "over", 9000);
	run_call(call);
	ck_assert_ptr_nonnull(strstr(server.heard, "Content-Length: 15\r\n\r\nit is over 9000"));
	check_body(call, "");
}

TEST(a_post_without_a_body_says_so_and_a_get_does_not)
{
	HTTPCall_T call = call_of("POST", "/"), other = call_of("GET", "/");

	SERVE({ .until = END, .answer = OK("", "0") },
		{ .until = "GET / HTTP/1.1\r\n", .answer = OK("", "0") });
	run_call(call);
	ck_assert_ptr_nonnull(strstr(server.heard, "Content-Length: 0\r\n"));
	run_call(other);
	ck_assert_ptr_null(strstr(strstr(server.heard, "GET"), "Content-Length"));
	ck_assert_int_eq(server.connections, 1);
}

static const struct {
	const char *sentence, *answer, *body;
	size_t length;
	int closes, kept;
} answers[] = {
	{ "a length", OK("abc", "3"), "abc", 0, 0, 1 },
	{ "chunks",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n"
		"T: 1\r\n\r\n",
		"abcde", 0, 0, 1 },
	{ "until the end of the connection", "HTTP/1.1 200 OK\r\n\r\nabc", "abc", 0, 1, 0 },
	{ "until the end, and nothing", "HTTP/1.1 200 OK\r\n\r\n", "", 0, 1, 0 },
	{ "204", "HTTP/1.1 204 No Content\r\n\r\n", "", 0, 0, 1 },
	{ "304 with the length of the page",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", "", 0, 0, 1 },
	{ "no reason, and no space before it", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0,
		1 },
	{ "an empty reason", "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 1 },
	{ "Connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
		"x", 0, 1, 0 },
	{ "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 0 },
	{ "HTTP/1.0 kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
		"x", 0, 0, 1 },
	{ "100, 103, and then the answer",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK("y", "1"),
		"y", 0, 0, 1 },
	{ "bytes behind the answer", OK("x", "1") "HTTP/1.1 200 OK\r\n", "x", 0, 0, 0 },
	{ "Host twice, which means nothing here",
		"HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 1 },
	{ "the same length twice",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 1 },
};

enum { ANSWERS = sizeof answers / sizeof answers[0] };

TEST(an_answer_is_framed_as_RFC_9112_6_3_says, .to = ANSWERS)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE({ .until = END, .answer = answers[_i].answer, .closes = answers[_i].closes });
	run_call(call);
	check_body(call, answers[_i].body);
	ck_assert_uint_eq(count_checked_out(), 0);
	ck_assert_msg(count_idle() == (size_t)answers[_i].kept, "%s: %zu kept", answers[_i].sentence,
		count_idle());
}

TEST(an_answer_is_the_same_however_it_is_cut, .to = ANSWERS)
{
	HTTPCall_T call = call_of("GET", "/");

	if (strlen(answers[_i].answer) > 70 || strstr(answers[_i].sentence, "behind")) {
		SERVE({ .until = END, .answer = OK("", "0") });
		run_call(call);
		return;
	}
	SERVE({ .until = END,
		.answer = answers[_i].answer,
		.closes = answers[_i].closes,
		.drip_ms = 1 });
	run_call(call);
	check_body(call, answers[_i].body);
	ck_assert_uint_eq(count_checked_out(), 0);
}

TEST(the_answer_to_a_head_has_no_body)
{
	HTTPCall_T call = call_of("HEAD", "/"), next = call_of("GET", "/");

	SERVE({ .until = END, .answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" },
		{ .until = "GET", .answer = OK("z", "1") });
	run_call(call);
	check_body(call, "");
	ck_assert_str_eq(HTTPCall_header(call, "content-length"), "100");
	run_call(next);
	check_body(next, "z");
	ck_assert_int_eq(server.connections, 1);
}

static const struct { const char *answer, *says; int closes;
} wrong_answers[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"beside", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "given twice", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not a number", 0 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "not just", 0 },
	{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0", 0 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk size", 0 },
	{ "HTTP/2.0 200 OK\r\n\r\n", "version", 0 },
	{ "HTTP/1.1 099 No\r\n\r\n", "class", 0 },
	{ "HTTP/1.1 20 OK\r\n\r\n", "malformed", 0 },
	{ "HTTP/1.1  200 OK\r\n\r\n", "malformed", 0 },
	{ "HTTP/1.1 2000 OK\r\n\r\n", "followed by", 0 },
	{ "ICY 200 OK\r\n\r\n", "malformed", 0 },
	{ "\r\nHTTP/1.1 200 OK\r\n\r\n", "malformed", 0 },
	{ "HTTP/1.1 200 O\001K\r\n\r\n", "reason", 0 },
	{ "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "reason", 0 },
	{ "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "white space", 0 },
	{ "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "white space", 0 },
	{ "HTTP/1.1 200 OK\r\nA\r\n\r\n", "colon", 0 },
	{ "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "switches protocols", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "in the middle", 1 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "in the middle", 1 },
	{ "HTTP/1.1 200 OK\r\nContent-Len", "in the middle", 1 },
	{ "", "without an answer", 1 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", "more than 1048576", 0 },
};
enum { WRONG = sizeof wrong_answers / sizeof wrong_answers[0] };

TEST(an_answer_that_can_be_read_in_two_ways_is_a_bad_gateway, .to = WRONG)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE(
		{ .until = END, .answer = wrong_answers[_i].answer, .closes = wrong_answers[_i].closes });
	ck_raises_saying(HTTP_Bad_Gateway, wrong_answers[_i].says, run_call(call));
	ck_assert_uint_eq(count_checked_out(), 0);
	ck_assert_uint_eq(count_idle(), 0);
	ck_assert_int_eq(HTTP_status(&HTTP_Bad_Gateway), 502);
	ck_raises(Assert_Failed, run_call(call)); /* a call runs once */
}

TEST(a_body_until_the_end_is_limited_too)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE({ .until = END, .answer = "HTTP/1.1 200 OK\r\n\r\n0123456789", .closes = 1 });
	HTTPCall_limits(call, &(HTTP_Limits){ .body_bytes = 5 });
	ck_raises_saying(HTTP_Bad_Gateway, "longer than 5 bytes", run_call(call));
	ck_assert_int_eq(HTTPCall_status(call), 200);
	ck_raises_saying(Assert_Failed, "the call has failed", HTTPCall_body(call, &(size_t){ 0 }));
}

TEST(the_status_line_and_the_fields_have_limits)
{
	HTTPCall_T call = call_of("GET", "/"), other = call_of("GET", "/");

	SERVE({ .until = END, .answer = "HTTP/1.1 200 a long reason\r\nA: b\r\n\r\n", .closes = 1 },
		{ .until = END,
			.answer = "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n",
			.closes = 1 });
	HTTPCall_limits(call, &(HTTP_Limits){ .request_line = 16 });
	ck_raises_saying(HTTP_Bad_Gateway, "longer than 16 bytes", run_call(call));
	HTTPCall_limits(other, &(HTTP_Limits){ .header_count = 2 });
	ck_raises_saying(HTTP_Bad_Gateway, "more than 2 fields", run_call(other));
}

/* ---- the network, and the pool ---- */

TEST(a_server_that_is_too_slow_is_a_gateway_timeout)
{
	HTTPCall_T call = call_of("GET", "/slow");
	int64_t begin = now_ms();

	SERVE({ .until = END, .answer = OK("x", "1"), .wait_ms = 3000 });
	HTTPCall_timeout(call, 200);
	ck_raises_saying(HTTP_Gateway_Timeout, "GET /slow of 127.0.0.1:", run_call(call));
	ck_assert_int_ge(now_ms() - begin, 199);
	ck_assert_int_lt(now_ms() - begin, 2500);
	ck_assert_uint_eq(count_checked_out(), 0);
}

TEST(a_server_that_drips_cannot_outlast_the_timeout)
{
	HTTPCall_T call = call_of("GET", "/");
	int64_t begin = now_ms();

	SERVE({ .until = END, .answer = OK("01234567890123456789", "20"), .drip_ms = 50 });
	HTTPCall_timeout(call, 200);
	ck_raises(HTTP_Gateway_Timeout, run_call(call));
	ck_assert_int_lt(now_ms() - begin, 2500);
}

TEST(a_server_that_reads_nothing_is_a_gateway_timeout)
{
	HTTPCall_T call = call_of("POST", "/"), steps = call_of("POST", "/");
	size_t n = 32 << 20;
	const char *body = Arena_calloc(arena, 1, n);

	SERVE({ .until = END, .wait_ms = 3000 });
	HTTPCall_write(call, body, n);
	HTTPCall_timeout(call, 200);
	ck_raises_saying(HTTP_Gateway_Timeout, "send", run_call(call));
	HTTPCall_timeout(steps, 200);
	HTTPCall_begin(steps, pool, "127.0.0.1", service, -1);
	ck_raises_saying(HTTP_Gateway_Timeout, "send", HTTPCall_send(steps, body, n));
	ck_raises_saying(Assert_Failed, "not sending", HTTPCall_send(steps, body, 1));
	ck_assert_uint_eq(count_checked_out(), 0);
}

TEST(the_timeout_of_steps_is_up_to_the_head_and_then_for_each_wait)
{
	HTTPCall_T call = call_of("GET", "/"), other = call_of("GET", "/");
	char body[8];

	SERVE({ .until = END, .answer = OK("x", "1"), .wait_ms = 3000, .closes = 1 });
	HTTPCall_timeout(call, 200);
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	ck_raises(HTTP_Gateway_Timeout, HTTPCall_answer(call));
	ck_raises_saying(Assert_Failed, "no answer", HTTPCall_status(call));
	shutdown(server.listener, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	close(server.listener);
	open_listener();
	SERVE({ .until = END, .answer = OK("abc", "9") });
	HTTPCall_timeout(other, 400);
	HTTPCall_begin(other, pool, "127.0.0.1", service, 0);
	ck_assert_int_eq(HTTPCall_answer(other), 200);
	ck_assert_uint_eq(HTTPCall_recv(other, body, sizeof body), 3);
	ck_raises(HTTP_Gateway_Timeout, HTTPCall_recv(other, body, sizeof body));
	ck_raises_saying(Assert_Failed, "no answer to read", HTTPCall_recv(other, body, sizeof body));
	ck_assert_int_eq(HTTPCall_status(other), 200);
	ck_assert_uint_eq(count_checked_out(), 0);
}

TEST(a_pool_without_a_connection_is_unavailable)
{
	SocketPool_T held = SocketPool_new(pool_arena, 4, 64);
	HTTPCall_T first = call_of("GET", "/"), second = call_of("GET", "/"),
			   third = call_of("GET", "/");

	SERVE({ .until = END, .answer = OK("x", "1") });
	SocketPool_set_limits(held, &(SocketPool_Limits){ .hold_ms = 5000 });
	ck_raises(HTTP_Bad_Gateway, HTTPCall_run(first, held, "127.0.0.1", "1"));
	ck_raises(HTTP_Unavailable, HTTPCall_run(second, held, "127.0.0.1", "1"));
	SocketPool_drain(pool, 0);
	ck_raises(HTTP_Unavailable, run_call(third));
	ck_assert_int_eq(HTTP_status(&HTTP_Unavailable), 503);
	ck_assert_int_eq(HTTP_status(&HTTP_Gateway_Timeout), 504);
}

TEST(a_server_that_is_not_there_is_a_bad_gateway)
{
	HTTPCall_T call = call_of("GET", "/");
	volatile int caused = 0;

	SERVE({ .until = END, .answer = OK("x", "1") });
	TRY {
		HTTPCall_run(call, pool, "unix:/nowhere/at/all", "80");
	} EXCEPT(HTTP_Bad_Gateway) {
		caused = Except_cause(1) == &Socket_Failed || Except_cause(1) == &Socket_Refused;
	} END_TRY;
	ck_assert_int_eq(caused, 1);
}

TEST(a_Unix_socket_needs_no_service)
{
	SERVE({ .until = END, .answer = OK("x", "1") });
	ck_raises_saying(HTTP_Bad_Gateway, "GET / of unix:/nowhere/at/all: connect unix:",
		HTTPCall_run(call_of("GET", "/"), pool, "unix:/nowhere/at/all", NULL));
}

TEST(a_refused_answer_is_reported_with_its_server)
{
	SERVE({ .until = END, .answer = "HTTP/1.1 101 Switching Protocols\r\n\r\n" });
	ck_raises_saying(HTTP_Bad_Gateway,
		Arena_sprintf(arena, "GET / of 127.0.0.1:%s: the server switches", service),
		run_call(call_of("GET", "/")));
}

TEST(causes_are_those_of_the_layers_below)
{
	HTTPCall_T call = call_of("GET", "/"), full = call_of("GET", "/"), late = call_of("GET", "/");
	SocketPool_T small = SocketPool_new(pool_arena, 1, 64);
	Connection_T only;
	volatile int causes = 0;

	SERVE({ .until = END, .answer = OK("x", "1"), .wait_ms = 300 });
	TRY {
		HTTPCall_run(call, pool, "127.0.0.1", "1");
	} EXCEPT(HTTP_Bad_Gateway) {
		causes += Except_cause(1) == &Socket_Refused;
	} END_TRY;
	only = SocketPool_checkout(small, "127.0.0.1", service, 1000);
	HTTPCall_timeout(full, 50);
	TRY {
		HTTPCall_run(full, small, "127.0.0.1", service);
	} EXCEPT(HTTP_Unavailable) {
		causes += Except_cause(1) == &SocketPool_Failed;
	} END_TRY;
	SocketPool_discard(small, only);
	HTTPCall_timeout(late, 100);
	TRY {
		HTTPCall_run(late, pool, "127.0.0.1", service);
	} EXCEPT(HTTP_Gateway_Timeout) {
		causes += Except_cause(1) == &Socket_Timeout;
	} END_TRY;
	ck_assert_int_eq(causes, 3);
}

TEST(a_kept_connection_that_the_server_closes_without_an_answer_is_replaced_once)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("GET", "/2");

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 },
		{ .until = "/2", .answer = OK("b", "1") });
	run_call(call);
	run_call(again);
	check_body(again, "b");
	ck_assert_int_eq(server.connections, 2);
	ck_assert_uint_eq(count_idle(), 1);
}

TEST(a_kept_connection_that_the_server_resets_is_replaced_too)
{
	HTTPCall_T call = call_of("PUT", "/1"), again = call_of("PUT", "/2");

	HTTPCall_printf(again, "body");
	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .resets = 1 },
		{ .until = "body", .answer = OK("b", "1") });
	run_call(call);
	run_call(again);
	check_body(again, "b");
}

TEST(a_post_is_not_repeated)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("POST", "/2");

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 });
	run_call(call);
	ck_raises_saying(HTTP_Bad_Gateway, "without an answer", run_call(again));
	ck_assert_int_eq(server.connections, 1);
}

TEST(nor_after_a_reset)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("POST", "/2");

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .resets = 1 });
	run_call(call);
	ck_raises_saying(HTTP_Bad_Gateway, "recv 127.0.0.1:", run_call(again));
	ck_assert_int_eq(server.connections, 1);
	ck_assert_uint_eq(count_checked_out(), 0);
}

TEST(a_server_that_closes_twice_is_a_bad_gateway)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("GET", "/2");

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 },
		{ .until = "/2", .closes = 1 });
	run_call(call);
	ck_raises_saying(HTTP_Bad_Gateway, "without an answer", run_call(again));
	ck_assert_uint_eq(count_checked_out(), 0);
}

TEST(a_new_connection_that_is_closed_is_not_tried_again)
{
	HTTPCall_T call = call_of("GET", "/1");

	SERVE({ .until = END, .closes = 1 });
	ck_raises_saying(HTTP_Bad_Gateway, "without an answer", run_call(call));
	ck_assert_int_eq(server.connections, 1);
}

TEST(an_answer_before_the_end_of_a_large_body_stops_the_sending)
{
	HTTPCall_T call = call_of("POST", "/");
	size_t n = 32 << 20;

	SERVE({ .until = END,
		.answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig" });
	HTTPCall_write(call, Arena_calloc(arena, 1, n), n);
	run_call(call);
	ck_assert_int_eq(HTTPCall_status(call), 413);
	check_body(call, "big");
	/* the body was not sent to its end: no request can follow */
	ck_assert_uint_eq(count_idle(), 0);
}

TEST(an_interim_response_does_not_end_the_sending)
{
	HTTPCall_T call = call_of("POST", "/");
	size_t n = 16 << 20;
	char *body = Arena_alloc(arena, n + 4);

	memset(body, 'x', n);
	memcpy(body + n, "last", 4);
	HTTPCall_write(call, body, n + 4);
	SERVE({ .until = END,
			  .answer = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <" },
		{ .until = "last", .answer = "/a>\r\n\r\n" OK("y", "1") });
	run_call(call);
	check_body(call, "y");
	ck_assert_uint_eq(count_idle(), 1); /* the whole request was sent */
}

TEST(an_interim_response_does_not_end_a_stream)
{
	HTTPCall_T call = call_of("PUT", "/");
	char byte;

	SERVE({ .until = END, .answer = "HTTP/1.1 100 Continue\r\n\r\n" },
		{ .until = "\r\n0\r\n\r\n", .answer = OK("y", "1") });
	HTTPCall_begin(call, pool, "127.0.0.1", service, -1);
	await_count(&server.said, 1);
	HTTPCall_send(call, "data", 4);
	ck_assert_int_eq(HTTPCall_answer(call), 200);
	ck_assert_ptr_nonnull(strstr(server.heard, "4\r\ndata\r\n0\r\n\r\n"));
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 1);
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 0);
	ck_assert_uint_eq(count_idle(), 1);
}

TEST(more_interim_responses_than_32_are_a_bad_gateway)
{
	static char text[33 * 32];
	HTTPCall_T call = call_of("GET", "/");
	int i;

	for (i = 0; i < 33; i++)
		strcat(text, "HTTP/1.1 100 Continue\r\n\r\n");
	SERVE({ .until = END, .answer = text });
	ck_raises_saying(HTTP_Bad_Gateway, "more than 32 interim responses", run_call(call));
}

TEST(a_request_that_says_close_gives_no_connection_back)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE({ .until = END, .answer = OK("x", "1") });
	HTTPCall_set(call, "Connection", "foo, Close");
	run_call(call);
	check_body(call, "x");
	ck_assert_uint_eq(count_checked_out() + count_idle(), 0);
}

TEST(a_call_over_a_socket_leaves_it_open)
{
	HTTPCall_T call = call_of("GET", "/1"), next = call_of("GET", "/2"),
			   wrong = call_of("GET", "/");
	Socket_T s;

	SERVE({ .until = END, .answer = OK("a", "1") "HTTP/1.1 2" },
		{ .until = "/2", .answer = "00 OK\r\nContent-Length: 1\r\n\r\nb" });
	s = Socket_connect("127.0.0.1", service, 1000);
	ck_raises_saying(Assert_Failed, "no Host was set", HTTPCall_over(wrong, s));
	HTTPCall_set(call, "Host", "here");
	HTTPCall_over(call, s);
	check_body(call, "a");
	ck_assert_ptr_nonnull(strstr(server.heard, "Host: here\r\n"));
	sleep_ms(50);
	HTTPCall_set(next, "Host", "here");
	HTTPCall_over(next, s); /* the bytes behind the first answer begin the second */
	check_body(next, "b");
	Socket_close(&s);
}
