/* SPDX-License-Identifier: MIT */
/* HTTPCall in steps, in a handler, without memory, and what it checks. */
#include "config.h"

#include <wchar.h>

#include "callserver.h"

/* ---- steps ---- */

static size_t read_all(HTTPCall_T call, char *into, size_t room, size_t piece)
{
	size_t n, all = 0;

	while ((n = HTTPCall_recv(call, into + all, piece < room - all ? piece : room - all)) > 0)
		all += n;
	return all;
}

SUITE("HTTPCall, steps");
CASE("HTTPCall, steps", .setup = set_up, .teardown = tear_down);

TEST(a_call_in_steps_streams_both_ways, .from = 1, .to = 12)
{
	HTTPCall_T call = call_of("POST", "/");
	char body[64] = "";

	SERVE({ .until = "0\r\n\r\n",
		.answer =
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n"
			"0\r\n\r\n" });
	HTTPCall_begin(call, pool, "127.0.0.1", service, -1);
	HTTPCall_send(call, "abc", 3);
	HTTPCall_send(call, "", 0);
	HTTPCall_send(call, "0123456789abcdefg", 17);
	ck_assert_int_eq(HTTPCall_answer(call), 200);
	ck_assert_ptr_nonnull(strstr(server.heard,
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n"));
	ck_assert_uint_eq(count_checked_out(), 1);
	ck_assert_uint_eq(read_all(call, body, sizeof body, (size_t)_i), 11);
	ck_assert_str_eq(body, "hello world");
	ck_assert_uint_eq(HTTPCall_recv(call, body, 1), 0);
	ck_assert_uint_eq(count_checked_out(), 0);
	ck_assert_uint_eq(count_idle(), 1);
	ck_raises_saying(Assert_Failed, "for HTTPCall_recv to read",
		HTTPCall_body(call, &(size_t){ 0 }));
}

TEST(a_streamed_body_may_have_a_length_and_is_checked_against_it)
{
	HTTPCall_T call = call_of("PUT", "/");
	char byte;

	SERVE({ .until = "hello", .answer = "HTTP/1.1 204 No Content\r\n\r\n" });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 5);
	HTTPCall_send(call, "he", 2);
	ck_raises_saying(Assert_Failed, "3 bytes of the body were not sent", HTTPCall_answer(call));
	ck_raises_saying(Assert_Failed, "4 bytes where 3 are left", HTTPCall_send(call, "llo!", 4));
	HTTPCall_send(call, "llo", 3);
	ck_assert_int_eq(HTTPCall_answer(call), 204);
	ck_assert_ptr_nonnull(strstr(server.heard, "Content-Length: 5\r\n\r\nhello"));
	ck_assert_uint_eq(count_checked_out(), 0); /* there is nothing to read */
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 0);
}

TEST(what_came_with_the_head_is_ready)
{
	HTTPCall_T call = call_of("GET", "/");
	char byte;

	SERVE({ .until = END, .answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab" });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	ck_raises_saying(Assert_Failed, "HTTPCall_ready: the call has no answer to read",
		HTTPCall_ready(call));
	HTTPCall_answer(call);
	ck_assert_int_eq(HTTPCall_ready(call), 1);
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 1);
	ck_assert_int_eq(HTTPCall_ready(call), 1); /* the second byte */
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 1);
	ck_assert_int_eq(byte, 'b');
	ck_assert_int_eq(HTTPCall_ready(call), 1); /* the end */
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 0);
	ck_assert_int_eq(HTTPCall_ready(call), 1);
	ck_assert_uint_eq(count_idle(), 1);
}

TEST(what_has_not_come_is_not_ready, .to = 4)
{
	static const char *const heads[] = {
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n5\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", "HTTP/1.1 200 OK\r\n\r\na"
	};
	HTTPCall_T call = call_of("GET", "/");
	char byte;

	SERVE({ .until = END, .answer = heads[_i] });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	HTTPCall_answer(call);
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 1);
	ck_assert_int_eq(HTTPCall_ready(call), 0);
	ck_assert_int_eq(HTTPCall_ready(call), 0);
	ck_assert_uint_eq(count_checked_out(), 1);
	Arena_clear(arena);
	ck_assert_uint_eq(count_checked_out(), 0);
}

TEST(a_wrong_body_is_found_when_it_is_asked_for_readiness)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE({ .until = END,
		.answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n" });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	HTTPCall_answer(call);
	ck_raises(HTTP_Bad_Gateway, HTTPCall_ready(call));
	ck_assert_uint_eq(count_checked_out(), 0);
	ck_raises_saying(Assert_Failed, "no answer to read", HTTPCall_ready(call));
}

TEST(a_stream_is_not_limited_and_takes_no_memory)
{
	enum { LENGTH = 8 << 20 };
	static char text[LENGTH + 64];
	HTTPCall_T call = call_of("GET", "/");
	char piece[5000];
	size_t used, all = 0, n;
	int head = sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LENGTH);

	memset(text + head, 'x', LENGTH);
	SERVE({ .until = END, .answer = text, .length = (size_t)head + LENGTH });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	ck_assert_int_eq(HTTPCall_answer(call), 200);
	used = Arena_used(arena);
	while ((n = HTTPCall_recv(call, piece, sizeof piece)) > 0)
		all += n;
	ck_assert_uint_eq(all, LENGTH);
	ck_assert_uint_le(Arena_used(arena), used + 1024);
}

TEST(an_early_answer_ends_the_sending_in_steps)
{
	HTTPCall_T call = call_of("POST", "/");
	char body[16] = "";

	SERVE({ .until = END, .answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno" });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 1000);
	HTTPCall_send(call, "x", 1);
	await_count(&server.said, 1);
	HTTPCall_send(call, "y", 1);
	HTTPCall_send(call, "z", 1); /* nor is a part sent once the answer was seen */
	ck_assert_int_eq(HTTPCall_answer(call), 403); /* 997 bytes were not sent */
	ck_assert_uint_eq(read_all(call, body, sizeof body, 16), 2);
	ck_assert_uint_eq(count_idle(), 0);
	ck_assert_ptr_null(strpbrk(strstr(server.heard, END), "yz"));
}

TEST(a_stream_begins_again_on_another_connection_if_nothing_of_it_was_sent)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("PUT", "/2");
	char byte;

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 },
		{ .until = "data", .answer = OK("b", "1") });
	run_call(call);
	HTTPCall_begin(again, pool, "127.0.0.1", service, 4);
	await_end_of_connection();
	HTTPCall_send(again, "data", 4);
	ck_assert_int_eq(HTTPCall_answer(again), 200);
	ck_assert_uint_eq(HTTPCall_recv(again, &byte, 1), 1);
	ck_assert_int_eq(byte, 'b');
	ck_assert_uint_eq(HTTPCall_recv(again, &byte, 1), 0);
}

/* If the machine is so slow that one wait takes longer than the timeout, that wait may raise. If
 * the timeout were for all parts, the wait that raises would be a short one. */
TEST(a_part_that_is_slow_has_the_timeout_for_itself)
{
	enum { TIMEOUT = 800 }; /* ms; longer than each part takes, and shorter than all of them */
	HTTPCall_T call = call_of("GET", "/");
	char body[80];
	size_t n = 1, all = 0;
	int64_t begun = now_ms();

	SERVE({ .until = END, .answer = OK("", "60") },
		{ .answer = "012345678901234567890123456789012345678901234567890123456789",
			.drip_ms = 15 });
	HTTPCall_timeout(call, TIMEOUT);
	PROTECT(n);
	PROTECT(all);
	PROTECT(begun);
	TRY {
		HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
		HTTPCall_answer(call);
		while (n > 0) {
			begun = now_ms();
			n = HTTPCall_recv(call, body + all, sizeof body - all);
			all += n;
		}
		ck_assert_uint_eq(all, 60);
	} EXCEPT(HTTP_Gateway_Timeout) {
		ck_assert_int_ge(now_ms() - begun, TIMEOUT);
	} END_TRY;
}

TEST(a_stream_that_breaks_is_not_taken_for_whole)
{
	HTTPCall_T call = call_of("GET", "/");
	char body[32];

	SERVE({ .until = END, .answer = OK("0123", "10"), .closes = 1 });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	HTTPCall_answer(call);
	ck_raises_saying(HTTP_Bad_Gateway, "in the middle",
		read_all(call, body, sizeof body, sizeof body));
	ck_raises_saying(Assert_Failed, "for HTTPCall_recv to read",
		HTTPCall_body(call, &(size_t){ 0 }));
	ck_raises_saying(Assert_Failed, "no answer to read", HTTPCall_recv(call, body, 1));
	ck_assert_uint_eq(count_checked_out(), 0);
}

/* How far a call has come. */
enum { BEGUN, SENT, ANSWERED, READ, STAGES };

static void go_to(HTTPCall_T call, int stage)
{
	char byte;

	HTTPCall_begin(call, pool, "127.0.0.1", service, -1);
	if (stage >= SENT)
		HTTPCall_send(call, "abc", 3);
	if (stage >= ANSWERED)
		HTTPCall_answer(call);
	if (stage >= READ)
		HTTPCall_recv(call, &byte, 1);
}

TEST(an_arena_that_is_cleared_amid_a_call_discards_its_connection, .to = STAGES)
{
	Arena_T request = Arena_new();
	HTTPCall_T call = HTTPCall_new(request, "POST", "/");

	SERVE({ .until = "0\r\n\r\n", .answer = OK("0123456789", "10") });
	go_to(call, _i);
	ck_assert_uint_eq(count_checked_out(), 1);
	Arena_clear(request);
	ck_assert_uint_eq(count_checked_out(), 0);
	ck_assert_uint_eq(count_idle(), 0);
	Arena_dispose(&request);
}

TEST(the_answer_to_a_head_in_steps_is_read_at_once)
{
	HTTPCall_T call = call_of("HEAD", "/");
	char byte;

	SERVE({ .until = END, .answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	ck_assert_int_eq(HTTPCall_answer(call), 200);
	ck_assert_uint_eq(count_idle(), 1);
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 0);
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 0);
}

TEST(the_end_of_an_empty_stream_is_sent_again_with_it)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("PUT", "/2");
	char byte;

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 },
		{ .until = "\r\n\r\n0\r\n\r\n", .answer = OK("b", "1") });
	run_call(call);
	HTTPCall_begin(again, pool, "127.0.0.1", service, -1);
	await_end_of_connection();
	ck_assert_int_eq(HTTPCall_answer(again), 200);
	ck_assert_uint_eq(HTTPCall_recv(again, &byte, 1), 1);
	ck_assert_int_eq(byte, 'b');
	ck_assert_uint_eq(HTTPCall_recv(again, &byte, 1), 0);
}

TEST(a_stream_of_which_a_part_was_sent_does_not_begin_again)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("PUT", "/2");

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "data", .closes = 1 });
	run_call(call);
	HTTPCall_begin(again, pool, "127.0.0.1", service, 8);
	HTTPCall_send(again, "data", 4);
	await_end_of_connection();
	HTTPCall_send(again, "more", 4);
	ck_raises_saying(HTTP_Bad_Gateway, "without an answer", HTTPCall_answer(again));
	ck_assert_int_eq(server.connections, 1);
}

TEST(a_socket_that_does_not_block_is_as_good)
{
	HTTPCall_T call = call_of("POST", "/");
	size_t n = 8 << 20;
	Socket_T s;

	SERVE({ .until = "last", .answer = OK("a", "1"), .drip_ms = 1 });
	s = Socket_connect("127.0.0.1", service, 1000);
	Socket_set_nonblocking(s, 1);
	HTTPCall_set(call, "Host", "here");
	HTTPCall_write(call, Arena_calloc(arena, 1, n), n);
	HTTPCall_printf(call, "last");
	HTTPCall_over(call, s);
	check_body(call, "a");
	Socket_close(&s);
}

TEST(a_call_over_a_socket_that_fails_leaves_it_open)
{
	HTTPCall_T call = call_of("GET", "/");
	Socket_T s;

	SERVE({ .until = END, .answer = "nonsense\r\n\r\n" });
	s = Socket_connect("127.0.0.1", service, 1000);
	HTTPCall_set(call, "Host", "here");
	ck_raises(HTTP_Bad_Gateway, HTTPCall_over(call, s));
	ck_raises_saying(Assert_Failed, "begun already", HTTPCall_over(call, s));
	ck_assert_int_ge(Socket_fd(s), 0);
	Socket_close(&s);
}

/* ---- in a handler ---- */

static HTTPServer_T gateway;

static void call_service(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	HTTPCall_T call = HTTPCall_new(HTTPRequest_arena(request), "GET", "/");
	size_t n;
	const char *body;

	HTTPCall_timeout(call, 1000); /* enough for a busy machine */
	HTTPCall_run(call, cl, "127.0.0.1", HTTPRequest_query(request));
	body = HTTPCall_body(call, &n);
	HTTPResponse_write(response, body, n);
}

static void *run_gateway(void *cl)
{
	HTTPServer_run(gateway);
	return cl;
}

static int ask_gateway(const char *path, const char *port)
{
	HTTPCall_T call = call_of("GET", Arena_sprintf(arena, "%s?%s", path, port));

	HTTPCall_run(call, pool, "127.0.0.1", Arena_sprintf(arena, "%d", HTTPServer_port(gateway)));
	return HTTPCall_status(call);
}

TEST(an_exception_of_a_call_that_leaves_the_handler_is_502_503_or_504)
{
	SocketPool_T full = SocketPool_new(pool_arena, 1, 64),
				 some = SocketPool_new(pool_arena, 4, 64);
	HTTPServer_Route to_full = { .method = "GET",
		.pattern = "/full",
		.handler = call_service,
		.cl = full,
		.blocks = 1 },
					 to_some = { .method = "GET",
						 .pattern = "/some",
						 .handler = call_service,
						 .cl = some,
						 .blocks = 1 };
	Connection_T only;
	pthread_t thread;

	SERVE({ .until = END, .answer = OK("fine", "4"), .closes = 1 },
		{ .until = END, .wait_ms = 3000, .closes = 1 });
	gateway = HTTPServer_new(arena,
		&(HTTPServer_Options){ .host = "127.0.0.1", .service = "0", .threads = 1, .workers = 2 });
	HTTPServer_route_with(gateway, &to_full);
	HTTPServer_route_with(gateway, &to_some);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_gateway, NULL), 0);
	ck_assert_int_eq(ask_gateway("/some", service), 200);
	ck_assert_int_eq(ask_gateway("/some", "1"), 502);
	ck_assert_int_eq(ask_gateway("/some", service), 504);
	only = SocketPool_checkout(full, "127.0.0.1",
		Arena_sprintf(arena, "%d", HTTPServer_port(gateway)), 1000);
	ck_assert_int_eq(ask_gateway("/full", service), 503);
	SocketPool_discard(full, only);
	HTTPServer_stop(gateway);
	pthread_join(thread, NULL);
}

/* ---- memory, threads that end ---- */

/* Gets a large body in chunks, so that the reader's blocks fail, too: as a whole, or in steps. */
static void call_for_all(Arena_T a, int in_steps)
{
	HTTPCall_T call = HTTPCall_new(a, "POST", "/last");
	char piece[1000];

	HTTPCall_timeout(call, 5000);
	HTTPCall_set(call, "A", "b");
	HTTPCall_add(call, "A", "c");
	if (in_steps) {
		HTTPCall_begin(call, pool, "127.0.0.1", service, -1);
		HTTPCall_send(call, "0", 1);
		HTTPCall_answer(call);
		while (HTTPCall_recv(call, piece, sizeof piece) > 0)
			;
	} else {
		HTTPCall_write(call, "0\r\n\r\n", 5);
		HTTPCall_run(call, pool, "127.0.0.1", service);
		ck_assert_uint_eq(strspn(HTTPCall_body(call, &(size_t){ 0 }), "x"), 40000);
	}
	ck_assert_str_eq(HTTPCall_header(call, "transfer-encoding"), "chunked");
}

TEST(every_allocation_may_fail_and_no_connection_is_lost, .to = 2)
{
	static char text[40200];
	struct Failing f = { 0, 0, 0, 0 };
	volatile int failures = 0, done = 0, n;
	Exchange script[EXCHANGES];
	int i, at = sprintf(text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n");

	memset(text + at, 'x', 40000);
	strcpy(text + at + 40000, "\r\n0\r\n\r\n");
	for (i = 0; i < EXCHANGES; i++)
		script[i] = (Exchange){ .until = "0\r\n\r\n", .answer = text };
	start_server(script, EXCHANGES);
	for (n = 1; !done && n < EXCHANGES; n++) {
		Arena_T a;

		f.fail_at = -1;
		a = failing_arena(&f);
		f.fail_at = n - 1;
		TRY {
			call_for_all(a, _i);
			done = 1;
		} EXCEPT(Arena_Failed) {
			failures++;
		} EXCEPT(HashTable_Failed) {
			failures++;
		} END_TRY;
		f.fail_at = -1;
		Arena_dispose(&a);
		ck_assert_uint_eq(f.outstanding_blocks, 0);
		ck_assert_uint_eq(count_checked_out(), 0);
	}
	ck_assert_int_eq(done, 1);
	ck_assert_int_ge(failures, 3);
}

static void *run_forever(void *cl)
{
	HTTPCall_T call = HTTPCall_new(cl, "GET", "/");

	HTTPCall_timeout(call, -1);
	HTTPCall_run(call, pool, "127.0.0.1", service);
	return NULL;
}

TEST(a_thread_that_is_cancelled_amid_a_call_loses_no_connection)
{
	pthread_t thread;
	void *result;

	SERVE({ .until = END, .answer = NULL });
	ck_assert_int_eq(pthread_create(&thread, NULL, run_forever, arena), 0);
	while (count_checked_out() == 0)
		sleep_ms(1);
	sleep_ms(50);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	ck_assert_uint_eq(count_checked_out(), 0);
}

/* ---- checked runtime errors, and fields that are refused ---- */

TEST(wrong_calls_are_checked)
{
	static const wchar_t wrong_text[] = { 0xd800, 0 };
	HTTPCall_T call = call_of("GET", "/"), written = call_of("POST", "/"),
			   steps = call_of("POST", "/");
	char byte;

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "ab", .answer = OK("b", "1") });
	ck_raises_saying(Assert_Failed, "the arena is NULL", HTTPCall_new(NULL, "GET", "/"));
	ck_raises_saying(Assert_Failed, "the method is NULL", HTTPCall_new(arena, NULL, "/"));
	ck_raises_saying(Assert_Failed, "the target is NULL", HTTPCall_new(arena, "GET", NULL));
	ck_raises_saying(Assert_Failed, "CONNECT", HTTPCall_new(arena, "CONNECT", "a:1"));
	ck_raises_saying(HTTP_Failed, "no token: \"G T\"", HTTPCall_new(arena, "G T", "/"));
	ck_raises_saying(HTTP_Failed, "the target is empty", HTTPCall_new(arena, "GET", ""));
	ck_raises_saying(HTTP_Failed, "\"/a b\"", HTTPCall_new(arena, "GET", "/a b"));
	ck_raises(HTTP_Failed, HTTPCall_new(arena, "GET", "/\r\nX: y"));
	ck_raises_saying(Assert_Failed, "HTTPCall_set: Content-Length",
		HTTPCall_set(call, "Content-Length", "1"));
	ck_raises_saying(Assert_Failed, "HTTPCall_add: transfer-encoding",
		HTTPCall_add(call, "transfer-encoding", "chunked"));
	ck_raises_saying(Assert_Failed, "HTTPCall_set: EXPECT",
		HTTPCall_set(call, "EXPECT", "100-continue"));
	ck_raises_saying(HTTP_Failed, "HTTPCall_set: control characters",
		HTTPCall_set(call, "A", "b\r\nC: d"));
	ck_raises_saying(Assert_Failed, "HTTPCall_set: the name is NULL",
		HTTPCall_set(call, NULL, "b"));
	ck_raises_saying(Assert_Failed, "the value of A is NULL", HTTPCall_set(call, "A", NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_write: NULL with 3 bytes",
		HTTPCall_write(call, NULL, 3));
	ck_raises_saying(Assert_Failed, "HTTPCall_printf: the format is NULL",
		HTTPCall_printf(call, NULL));
	ck_raises_saying(HTTP_Failed, "HTTPCall_printf: the format",
		HTTPCall_printf(call, "%ls", wrong_text));
	ck_raises_saying(Assert_Failed, "HTTPCall_timeout: the call is NULL",
		HTTPCall_timeout(NULL, 1));
	ck_raises_saying(Assert_Failed, "HTTPCall_set: the call is NULL",
		HTTPCall_set(NULL, "A", "b"));
	ck_raises_saying(Assert_Failed, "HTTPCall_add: the call is NULL",
		HTTPCall_add(NULL, "A", "b"));
	ck_raises_saying(Assert_Failed, "HTTPCall_write: the call is NULL",
		HTTPCall_write(NULL, "a", 1));
	ck_raises_saying(Assert_Failed, "HTTPCall_printf: the call is NULL",
		HTTPCall_printf(NULL, "a"));
	ck_raises_saying(Assert_Failed, "HTTPCall_limits: the call is NULL",
		HTTPCall_limits(NULL, NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_run: the call is NULL",
		HTTPCall_run(NULL, pool, "a", "1"));
	ck_raises_saying(Assert_Failed, "HTTPCall_over: the call is NULL", HTTPCall_over(NULL, NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_begin: the call is NULL",
		HTTPCall_begin(NULL, pool, "a", "1", 0));
	ck_raises_saying(Assert_Failed, "HTTPCall_send: the call is NULL",
		HTTPCall_send(NULL, "a", 1));
	ck_raises_saying(Assert_Failed, "HTTPCall_answer: the call is NULL", HTTPCall_answer(NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_recv: the call is NULL",
		HTTPCall_recv(NULL, &byte, 1));
	ck_raises_saying(Assert_Failed, "HTTPCall_ready: the call is NULL", HTTPCall_ready(NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_status: the call is NULL", HTTPCall_status(NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_header: the call is NULL",
		HTTPCall_header(NULL, "A"));
	ck_raises_saying(Assert_Failed, "HTTPCall_headers: the call is NULL", HTTPCall_headers(NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_body: the call is NULL",
		HTTPCall_body(NULL, &(size_t){ 0 }));
	ck_raises_saying(Assert_Failed, "HTTPCall_begin: the pool is NULL",
		HTTPCall_begin(call, NULL, "a", "1", 0));
	ck_raises_saying(Assert_Failed, "HTTPCall_begin: the host is NULL",
		HTTPCall_begin(call, pool, NULL, "1", 0));
	ck_raises_saying(Assert_Failed, "HTTPCall_begin: the service is NULL",
		HTTPCall_begin(call, pool, "a", NULL, 0));
	ck_raises_saying(Assert_Failed, "the pool is NULL", HTTPCall_run(call, NULL, "a", "1"));
	ck_raises_saying(Assert_Failed, "the host is NULL", HTTPCall_run(call, pool, NULL, "1"));
	ck_raises_saying(Assert_Failed, "the service is NULL", HTTPCall_run(call, pool, "a", NULL));
	ck_raises_saying(Assert_Failed, "the socket is NULL", HTTPCall_over(call, NULL));
	ck_raises_saying(Assert_Failed, "no answer", HTTPCall_status(call));
	ck_raises_saying(Assert_Failed, "no answer", HTTPCall_body(call, &(size_t){ 0 }));
	ck_raises_saying(Assert_Failed, "not sending", HTTPCall_send(call, "a", 1));
	ck_raises_saying(Assert_Failed, "not waiting", HTTPCall_answer(call));
	ck_raises_saying(Assert_Failed, "no answer to read", HTTPCall_recv(call, &byte, 1));
	HTTPCall_printf(written, "x");
	ck_raises_saying(Assert_Failed, "a body was written",
		HTTPCall_begin(written, pool, "127.0.0.1", service, 1));
	run_call(call);
	ck_raises_saying(Assert_Failed, "HTTPCall_set: the call has begun already",
		HTTPCall_set(call, "A", "b"));
	ck_raises_saying(Assert_Failed, "HTTPCall_run: the call has begun already", run_call(call));
	ck_raises_saying(Assert_Failed, "HTTPCall_header: the name is NULL",
		HTTPCall_header(call, NULL));
	ck_raises_saying(Assert_Failed, "the place of the length is NULL", HTTPCall_body(call, NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_begin: the call has begun already",
		HTTPCall_begin(call, pool, "127.0.0.1", service, 1));
	ck_raises_saying(Assert_Failed, "no answer to read",
		HTTPCall_recv(call, &byte, 1)); /* HTTPCall_run collected it */
	HTTPCall_begin(steps, pool, "127.0.0.1", service, 2);
	ck_raises_saying(Assert_Failed, "HTTPCall_send: NULL with 2 bytes",
		HTTPCall_send(steps, NULL, 2));
	HTTPCall_send(steps, "ab", 2);
	HTTPCall_answer(steps);
	ck_raises_saying(Assert_Failed, "the buffer is NULL", HTTPCall_recv(steps, NULL, 1));
	ck_raises_saying(Assert_Failed, "no bytes are asked for", HTTPCall_recv(steps, &byte, 0));
	ck_assert_uint_eq(HTTPCall_recv(steps, &byte, 1), 1);
	ck_assert_uint_eq(HTTPCall_recv(steps, &byte, 1), 0);
}
