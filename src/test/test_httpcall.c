/* SPDX-License-Identifier: MIT */
/* HTTPCall against a server of plain sockets, which reads what is sent and answers what the test's script says: nothing
 * of libcore, so that the two cannot be wrong in the same way. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <core/core.h>
#include "testing.h"

NEEDS(.loopback = 1);

/* ---- the server: one thread, one connection after the other ---- */

enum { HEARD = 1 << 20, EXCHANGES = 64 };

typedef struct Exchange {
	const char *until;   /* it reads until this has come; NULL: nothing; "" until the end of the stream */
	const char *answer;  /* NULL: nothing */
	size_t length;       /* of that, if it has NULs */
	int drip_ms;         /* between bytes of the answer */
	int wait_ms;         /* before it */
	int closes;          /* after it */
	int resets;
} Exchange;

static struct Server {
	int listener, port;
	pthread_t thread;
	Exchange script[EXCHANGES];
	int exchanges;
	atomic_int connections, said, left; /* connections accepted; answers sent, connections closed */
	char heard[HEARD];   /* all that came, of all connections; if it is too much, the last of it */
	size_t nheard;
	char path[64];
} server;

static void sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Returns 0 when the client has left. */
static int hear(int fd, const Exchange *e)
{
	size_t from = server.nheard;

	while (e->until && (*e->until == '\0' || !memmem(server.heard + from, server.nheard - from, e->until, strlen(e->until)))) {
		ssize_t n;

		if (server.nheard == HEARD) {
			memmove(server.heard, server.heard + HEARD - 4096, 4096);
			server.nheard = 4096;
			from = 0;
		}
		n = recv(fd, server.heard + server.nheard, HEARD - server.nheard, 0);
		if (n <= 0)
			return *e->until == '\0';
		server.nheard += (size_t)n;
	}
	return 1;
}

static void say(int fd, const Exchange *e)
{
	size_t n = e->length ? e->length : e->answer ? strlen(e->answer) : 0, i, step = e->drip_ms ? 1 : n;

	sleep_ms(e->wait_ms);
	for (i = 0; i < n; i += step) {
		if (send(fd, e->answer + i, step, MSG_NOSIGNAL) < 0)
			return;
		sleep_ms(e->drip_ms);
	}
}

static void *serve(void *unused)
{
	int next = 0;

	(void)unused;
	while (next < server.exchanges) {
		int fd = accept(server.listener, NULL, NULL), goes_on = 1;

		if (fd < 0)
			break;
		server.connections++;
		while (goes_on && next < server.exchanges) {
			const Exchange *e = &server.script[next];

			if (!hear(fd, e))
				break;
			next++;
			say(fd, e);
			server.said++;
			goes_on = !e->closes && !e->resets;
			if (e->resets)
				setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		}
		if (goes_on && next == server.exchanges) { /* until the client leaves */
			struct pollfd p = { fd, POLLIN, 0 };

			poll(&p, 1, 3000);
		}
		close(fd);
		server.left++;
	}
	return NULL;
}

static void await(atomic_int *count, int n)
{
	while (*count < n)
		sleep_ms(1);
}

static Arena_T arena, pool_arena;
static SocketPool_T pool;
static char service[16];

static void start_server(const Exchange *script, int n)
{
	memcpy(server.script, script, (size_t)n * sizeof *script);
	server.exchanges = n;
	server.connections = server.said = server.left = 0;
	server.nheard = 0;
	memset(server.heard, 0, 4096);
	ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

#define SERVE(...) start_server((const Exchange[]){ __VA_ARGS__ }, sizeof((const Exchange[]){ __VA_ARGS__ }) / sizeof(Exchange))

static void set_up(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(server.listener, (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(listen(server.listener, 8), 0);
	getsockname(server.listener, (struct sockaddr *)&a, &n);
	server.port = ntohs(a.sin_port);
	snprintf(service, sizeof service, "%d", server.port);
	arena = Arena_new();
	pool_arena = Arena_new();
	pool = SocketPool_new(pool_arena, 4, 1024);
}

/* All connections go, and the listener, and with them the server's thread. */
static void tear_down(void)
{
	Arena_dispose(&pool_arena);
	shutdown(server.listener, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	Arena_dispose(&arena);
	close(server.listener);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static HTTPCall_T call_of(const char *method, const char *target)
{
	HTTPCall_T call = HTTPCall_new(arena, method, target);

	HTTPCall_timeout(call, 5000);
	return call;
}

static void run(HTTPCall_T call)
{
	HTTPCall_run(call, pool, "127.0.0.1", service);
}

static void check_body(HTTPCall_T call, const char *expected)
{
	size_t n;
	const char *body = HTTPCall_body(call, &n);

	ck_assert_str_eq(body, expected);
	ck_assert_uint_eq(n, strlen(expected));
}

static size_t checked_out(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s.checked_out;
}

static size_t idle(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s.idle;
}

#define END "\r\n\r\n"
#define OK(body, length) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n" body

/* ---- runs ---- */

SUITE("HTTPCall");
CASE("HTTPCall", .setup = set_up, .teardown = tear_down);

TEST(a_call_sends_its_request_and_reads_the_answer)
{
	HTTPCall_T call = call_of("GET", "/a?b=c");
	char expected[128];

	SERVE({ .until = END, .answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nX-One: 1\r\nx-one: 2\r\n\r\nnone" });
	HTTPCall_set(call, "Accept", "text/plain");
	HTTPCall_set(call, "accept", "*/*");
	HTTPCall_add(call, "X", "1");
	HTTPCall_add(call, "X", "2");
	run(call);
	ck_assert_int_eq(HTTPCall_status(call), 404);
	ck_assert_str_eq(HTTPCall_header(call, "X-ONE"), "1, 2");
	ck_assert_ptr_null(HTTPCall_header(call, "Location"));
	ck_assert_uint_eq(HashTable_length(HTTPCall_headers(call)), 2);
	check_body(call, "none");
	snprintf(expected, sizeof expected, "GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\nX: 1\r\nX: 2\r\n\r\n", server.port);
	ck_assert_str_eq(server.heard, expected);
	ck_assert_uint_eq(checked_out(), 0);
	ck_assert_uint_eq(idle(), 1);
}

TEST(a_body_is_sent_with_its_length)
{
	HTTPCall_T call = call_of("POST", "/");

	SERVE({ .until = "over 9000", .answer = OK("", "0") });
	HTTPCall_write(call, "it is ", 6);
	HTTPCall_printf(call, "%s %d", "over", 9000);
	run(call);
	ck_assert_ptr_nonnull(strstr(server.heard, "Content-Length: 15\r\n\r\nit is over 9000"));
	check_body(call, "");
}

TEST(a_post_without_a_body_says_so_and_a_get_does_not)
{
	HTTPCall_T call = call_of("POST", "/"), other = call_of("GET", "/");

	SERVE({ .until = END, .answer = OK("", "0") }, { .until = "GET / HTTP/1.1\r\n", .answer = OK("", "0") });
	run(call);
	ck_assert_ptr_nonnull(strstr(server.heard, "Content-Length: 0\r\n"));
	run(other);
	ck_assert_ptr_null(strstr(strstr(server.heard, "GET"), "Content-Length"));
	ck_assert_int_eq(server.connections, 1);
}

static const struct { const char *sentence, *answer, *body; size_t length; int closes, kept; } answers[] = {
	{ "a length", OK("abc", "3"), "abc", 0, 0, 1 },
	{ "chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n", "abcde", 0, 0, 1 },
	{ "until the end of the connection", "HTTP/1.1 200 OK\r\n\r\nabc", "abc", 0, 1, 0 },
	{ "until the end, and nothing", "HTTP/1.1 200 OK\r\n\r\n", "", 0, 1, 0 },
	{ "204", "HTTP/1.1 204 No Content\r\n\r\n", "", 0, 0, 1 },
	{ "304 with the length of the page", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", "", 0, 0, 1 },
	{ "no reason, and no space before it", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 1 },
	{ "an empty reason", "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 1 },
	{ "Connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", "x", 0, 1, 0 },
	{ "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 0 },
	{ "HTTP/1.0 kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 1 },
	{ "100, 103, and then the answer", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK("y", "1"), "y", 0, 0, 1 },
	{ "bytes behind the answer", OK("x", "1") "HTTP/1.1 200 OK\r\n", "x", 0, 0, 0 },
	{ "Host twice, which means nothing here", "HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 1 },
	{ "the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "x", 0, 0, 1 },
};
enum { ANSWERS = sizeof answers / sizeof answers[0] };

TEST(an_answer_is_framed_as_RFC_9112_6_3_says, .to = ANSWERS)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE({ .until = END, .answer = answers[_i].answer, .closes = answers[_i].closes });
	run(call);
	check_body(call, answers[_i].body);
	ck_assert_uint_eq(checked_out(), 0);
	ck_assert_msg(idle() == (size_t)answers[_i].kept, "%s: %zu kept", answers[_i].sentence, idle());
}

TEST(an_answer_is_the_same_however_it_is_cut, .to = ANSWERS)
{
	HTTPCall_T call = call_of("GET", "/");

	if (strlen(answers[_i].answer) > 70 || strstr(answers[_i].sentence, "behind")) {
		SERVE({ .until = END, .answer = OK("", "0") });
		run(call);
		return;
	}
	SERVE({ .until = END, .answer = answers[_i].answer, .closes = answers[_i].closes, .drip_ms = 1 });
	run(call);
	check_body(call, answers[_i].body);
	ck_assert_uint_eq(checked_out(), 0);
}

TEST(the_answer_to_a_head_has_no_body)
{
	HTTPCall_T call = call_of("HEAD", "/"), next = call_of("GET", "/");

	SERVE({ .until = END, .answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" }, { .until = "GET", .answer = OK("z", "1") });
	run(call);
	check_body(call, "");
	ck_assert_str_eq(HTTPCall_header(call, "content-length"), "100");
	run(next);
	check_body(next, "z");
	ck_assert_int_eq(server.connections, 1);
}

static const struct { const char *answer, *says; int closes; } wrong_answers[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "beside", 0 },
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

	SERVE({ .until = END, .answer = wrong_answers[_i].answer, .closes = wrong_answers[_i].closes });
	ck_raises_saying(HTTP_Bad_Gateway, wrong_answers[_i].says, run(call));
	ck_assert_uint_eq(checked_out(), 0);
	ck_assert_uint_eq(idle(), 0);
	ck_assert_int_eq(HTTP_status(&HTTP_Bad_Gateway), 502);
	ck_raises(Assert_Failed, run(call)); /* a call runs once */
}

TEST(a_body_until_the_end_is_limited_too)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE({ .until = END, .answer = "HTTP/1.1 200 OK\r\n\r\n0123456789", .closes = 1 });
	HTTPCall_limits(call, &(HTTP_Limits){ .body_bytes = 5 });
	ck_raises_saying(HTTP_Bad_Gateway, "longer than 5 bytes", run(call));
}

TEST(the_status_line_and_the_fields_have_limits)
{
	HTTPCall_T call = call_of("GET", "/"), other = call_of("GET", "/");

	SERVE({ .until = END, .answer = "HTTP/1.1 200 a long reason\r\nA: b\r\n\r\n", .closes = 1 },
		{ .until = END, .answer = "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", .closes = 1 });
	HTTPCall_limits(call, &(HTTP_Limits){ .request_line = 16 });
	ck_raises_saying(HTTP_Bad_Gateway, "longer than 16 bytes", run(call));
	HTTPCall_limits(other, &(HTTP_Limits){ .header_count = 2 });
	ck_raises_saying(HTTP_Bad_Gateway, "more than 2 fields", run(other));
}

/* ---- the network, and the pool ---- */

TEST(a_server_that_is_too_slow_is_a_gateway_timeout)
{
	HTTPCall_T call = call_of("GET", "/slow");
	int64_t begin = now_ms();

	SERVE({ .until = END, .answer = OK("x", "1"), .wait_ms = 700 });
	HTTPCall_timeout(call, 200);
	ck_raises_saying(HTTP_Gateway_Timeout, "GET /slow of 127.0.0.1:", run(call));
	ck_assert_int_ge(now_ms() - begin, 199);
	ck_assert_int_lt(now_ms() - begin, 600);
	ck_assert_uint_eq(checked_out(), 0);
}

TEST(a_server_that_drips_cannot_outlast_the_timeout)
{
	HTTPCall_T call = call_of("GET", "/");
	int64_t begin = now_ms();

	SERVE({ .until = END, .answer = OK("01234567890123456789", "20"), .drip_ms = 20 });
	HTTPCall_timeout(call, 200);
	ck_raises(HTTP_Gateway_Timeout, run(call));
	ck_assert_int_lt(now_ms() - begin, 600);
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

TEST(a_connection_that_the_server_closed_at_that_moment_is_replaced_once)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("GET", "/2");

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 }, { .until = "/2", .answer = OK("b", "1") });
	run(call);
	run(again);
	check_body(again, "b");
	ck_assert_int_eq(server.connections, 2);
	ck_assert_uint_eq(idle(), 1);
}

TEST(a_reset_at_that_moment_is_the_same)
{
	HTTPCall_T call = call_of("PUT", "/1"), again = call_of("PUT", "/2");

	HTTPCall_printf(again, "body");
	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .resets = 1 }, { .until = "body", .answer = OK("b", "1") });
	run(call);
	run(again);
	check_body(again, "b");
}

TEST(a_post_is_not_repeated)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("POST", "/2");

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 });
	run(call);
	ck_raises_saying(HTTP_Bad_Gateway, "without an answer", run(again));
	ck_assert_int_eq(server.connections, 1);
}

TEST(a_server_that_closes_twice_is_a_bad_gateway)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("GET", "/2");

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 }, { .until = "/2", .closes = 1 });
	run(call);
	ck_raises_saying(HTTP_Bad_Gateway, "without an answer", run(again));
	ck_assert_uint_eq(checked_out(), 0);
}

TEST(a_new_connection_that_is_closed_is_not_tried_again)
{
	HTTPCall_T call = call_of("GET", "/1");

	SERVE({ .until = END, .closes = 1 });
	ck_raises_saying(HTTP_Bad_Gateway, "without an answer", run(call));
	ck_assert_int_eq(server.connections, 1);
}

TEST(an_answer_before_the_end_of_a_large_body_stops_the_sending)
{
	HTTPCall_T call = call_of("POST", "/");
	size_t n = 32 << 20;

	SERVE({ .until = END, .answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig" });
	HTTPCall_write(call, Arena_calloc(arena, 1, n), n);
	run(call);
	ck_assert_int_eq(HTTPCall_status(call), 413);
	check_body(call, "big");
	ck_assert_uint_eq(idle(), 0); /* nobody knows where the next request would begin */
}

TEST(an_interim_response_does_not_end_the_sending)
{
	HTTPCall_T call = call_of("POST", "/");
	size_t n = 16 << 20;
	char *body = Arena_alloc(arena, n + 4);

	memset(body, 'x', n);
	memcpy(body + n, "last", 4);
	HTTPCall_write(call, body, n + 4);
	SERVE({ .until = END, .answer = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <" },
		{ .until = "last", .answer = "/a>\r\n\r\n" OK("y", "1") });
	run(call);
	check_body(call, "y");
	ck_assert_uint_eq(idle(), 1); /* all of the request was sent */
}

TEST(an_interim_response_does_not_end_a_stream)
{
	HTTPCall_T call = call_of("PUT", "/");
	char byte;

	SERVE({ .until = END, .answer = "HTTP/1.1 100 Continue\r\n\r\n" }, { .until = "\r\n0\r\n\r\n", .answer = OK("y", "1") });
	HTTPCall_begin(call, pool, "127.0.0.1", service, -1);
	await(&server.said, 1);
	HTTPCall_send(call, "data", 4);
	ck_assert_int_eq(HTTPCall_answer(call), 200);
	ck_assert_ptr_nonnull(strstr(server.heard, "4\r\ndata\r\n0\r\n\r\n"));
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 1);
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 0);
	ck_assert_uint_eq(idle(), 1);
}

TEST(more_interim_responses_than_32_are_a_bad_gateway)
{
	static char text[33 * 32];
	HTTPCall_T call = call_of("GET", "/");
	int i;

	for (i = 0; i < 33; i++)
		strcat(text, "HTTP/1.1 100 Continue\r\n\r\n");
	SERVE({ .until = END, .answer = text });
	ck_raises_saying(HTTP_Bad_Gateway, "more than 32 interim responses", run(call));
}

TEST(a_request_that_says_close_gives_no_connection_back)
{
	HTTPCall_T call = call_of("GET", "/");

	SERVE({ .until = END, .answer = OK("x", "1") });
	HTTPCall_set(call, "Connection", "foo, Close");
	run(call);
	check_body(call, "x");
	ck_assert_uint_eq(checked_out() + idle(), 0);
}

TEST(a_call_over_a_socket_leaves_it_open)
{
	HTTPCall_T call = call_of("GET", "/1"), next = call_of("GET", "/2"), wrong = call_of("GET", "/");
	Socket_T s;

	SERVE({ .until = END, .answer = OK("a", "1") "HTTP/1.1 2" }, { .until = "/2", .answer = "00 OK\r\nContent-Length: 1\r\n\r\nb" });
	s = Socket_connect("127.0.0.1", service, 1000);
	ck_raises_saying(Assert_Failed, "no Host was set", HTTPCall_over(wrong, s));
	HTTPCall_set(call, "Host", "here");
	HTTPCall_over(call, s);
	check_body(call, "a");
	ck_assert_ptr_nonnull(strstr(server.heard, "Host: here\r\n"));
	sleep_ms(50);
	HTTPCall_set(next, "Host", "here");
	HTTPCall_over(next, s); /* what came behind the first answer is the beginning of the second */
	check_body(next, "b");
	Socket_close(&s);
}

/* ---- steps ---- */

static size_t read_all(HTTPCall_T call, char *into, size_t room, size_t piece)
{
	size_t n, all = 0;

	while ((n = HTTPCall_recv(call, into + all, piece < room - all ? piece : room - all)) > 0)
		all += n;
	return all;
}

TEST(a_call_in_steps_streams_both_ways, .from = 1, .to = 12)
{
	HTTPCall_T call = call_of("POST", "/");
	char body[64] = "";

	SERVE({ .until = "0\r\n\r\n", .answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n" });
	HTTPCall_begin(call, pool, "127.0.0.1", service, -1);
	HTTPCall_send(call, "abc", 3);
	HTTPCall_send(call, "", 0);
	HTTPCall_send(call, "0123456789abcdefg", 17);
	ck_assert_int_eq(HTTPCall_answer(call), 200);
	ck_assert_ptr_nonnull(strstr(server.heard, "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n"));
	ck_assert_uint_eq(checked_out(), 1);
	ck_assert_uint_eq(read_all(call, body, sizeof body, (size_t)_i), 11);
	ck_assert_str_eq(body, "hello world");
	ck_assert_uint_eq(HTTPCall_recv(call, body, 1), 0);
	ck_assert_uint_eq(checked_out(), 0);
	ck_assert_uint_eq(idle(), 1);
	ck_raises_saying(Assert_Failed, "for HTTPCall_recv to read", HTTPCall_body(call, &(size_t){ 0 }));
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
	ck_assert_uint_eq(checked_out(), 0); /* there is nothing to read */
	ck_assert_uint_eq(HTTPCall_recv(call, &byte, 1), 0);
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
	await(&server.said, 1);
	HTTPCall_send(call, "y", 1);
	ck_assert_int_eq(HTTPCall_answer(call), 403); /* 998 bytes are not sent */
	ck_assert_uint_eq(read_all(call, body, sizeof body, 16), 2);
	ck_assert_uint_eq(idle(), 0);
	ck_assert_ptr_null(strstr(server.heard, "xy"));
}

TEST(a_stream_begins_again_on_another_connection_if_nothing_of_it_was_sent)
{
	HTTPCall_T call = call_of("GET", "/1"), again = call_of("PUT", "/2");
	char byte;

	SERVE({ .until = END, .answer = OK("a", "1") }, { .until = "/2", .closes = 1 },
		{ .until = "data", .answer = OK("b", "1") });
	run(call);
	HTTPCall_begin(again, pool, "127.0.0.1", service, 4);
	await(&server.left, 1);
	HTTPCall_send(again, "data", 4);
	ck_assert_int_eq(HTTPCall_answer(again), 200);
	ck_assert_uint_eq(HTTPCall_recv(again, &byte, 1), 1);
	ck_assert_int_eq(byte, 'b');
	ck_assert_uint_eq(HTTPCall_recv(again, &byte, 1), 0);
}

TEST(a_part_that_is_slow_has_the_timeout_for_itself)
{
	HTTPCall_T call = call_of("GET", "/");
	char body[80];

	SERVE({ .until = END, .answer = OK("012345678901234567890123456789012345678901234567890123456789", "60"), .drip_ms = 15 });
	HTTPCall_timeout(call, 800); /* the whole takes longer than that, each part does not */
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	HTTPCall_answer(call);
	ck_assert_uint_eq(read_all(call, body, sizeof body, sizeof body), 60);
}

TEST(a_stream_that_breaks_is_not_taken_for_whole)
{
	HTTPCall_T call = call_of("GET", "/");
	char body[32];

	SERVE({ .until = END, .answer = OK("0123", "10"), .closes = 1 });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	HTTPCall_answer(call);
	ck_raises_saying(HTTP_Bad_Gateway, "in the middle", read_all(call, body, sizeof body, sizeof body));
	ck_raises_saying(Assert_Failed, "no answer to read", HTTPCall_recv(call, body, 1));
	ck_assert_uint_eq(checked_out(), 0);
}

TEST(an_arena_that_is_cleared_amid_a_call_discards_its_connection)
{
	Arena_T request = Arena_new();
	HTTPCall_T call = HTTPCall_new(request, "GET", "/");

	SERVE({ .until = END, .answer = OK("0123456789", "10") });
	HTTPCall_begin(call, pool, "127.0.0.1", service, 0);
	HTTPCall_answer(call);
	ck_assert_uint_eq(checked_out(), 1);
	Arena_clear(request);
	ck_assert_uint_eq(checked_out(), 0);
	ck_assert_uint_eq(idle(), 0);
	Arena_dispose(&request);
}

/* ---- memory, threads that end ---- */

TEST(every_allocation_may_fail_and_no_connection_is_lost)
{
	struct Failing f = { 0, 0, 0, 0 };
	volatile int failures = 0, done = 0, n;

	Exchange script[EXCHANGES];
	int i;

	for (i = 0; i < EXCHANGES; i++)
		script[i] = (Exchange){ .until = END, .answer = OK("a", "1") };
	start_server(script, EXCHANGES);
	for (n = 1; !done && n < EXCHANGES; n++) {
		Arena_T a;

		f.fail_at = -1;
		a = failing_arena(&f);
		f.fail_at = n - 1;
		TRY {
			HTTPCall_T call = HTTPCall_new(a, "GET", "/last");

			HTTPCall_timeout(call, 5000);
			HTTPCall_set(call, "A", "b");
			HTTPCall_run(call, pool, "127.0.0.1", service);
			check_body(call, "a");
			done = 1;
		} EXCEPT(Arena_Failed) {
			failures++;
		} EXCEPT(HashTable_Failed) {
			failures++;
		} END_TRY;
		f.fail_at = -1;
		Arena_dispose(&a);
		ck_assert_uint_eq(f.outstanding_blocks, 0);
		ck_assert_uint_eq(checked_out(), 0);
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
	while (checked_out() == 0)
		sleep_ms(1);
	sleep_ms(50);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	ck_assert_uint_eq(checked_out(), 0);
}

/* ---- checked runtime errors, and fields that are refused ---- */

TEST(what_a_caller_gets_wrong_is_checked)
{
	HTTPCall_T call = call_of("GET", "/"), written = call_of("POST", "/");
	char byte;

	SERVE({ .until = END, .answer = OK("a", "1") });
	ck_raises_saying(Assert_Failed, "the arena is NULL", HTTPCall_new(NULL, "GET", "/"));
	ck_raises_saying(Assert_Failed, "the method is NULL", HTTPCall_new(arena, NULL, "/"));
	ck_raises_saying(Assert_Failed, "the target is NULL", HTTPCall_new(arena, "GET", NULL));
	ck_raises_saying(Assert_Failed, "CONNECT", HTTPCall_new(arena, "CONNECT", "a:1"));
	ck_raises_saying(HTTP_Failed, "no token: \"G T\"", HTTPCall_new(arena, "G T", "/"));
	ck_raises_saying(HTTP_Failed, "the target is empty", HTTPCall_new(arena, "GET", ""));
	ck_raises_saying(HTTP_Failed, "\"/a b\"", HTTPCall_new(arena, "GET", "/a b"));
	ck_raises(HTTP_Failed, HTTPCall_new(arena, "GET", "/\r\nX: y"));
	ck_raises_saying(Assert_Failed, "HTTPCall_set: Content-Length", HTTPCall_set(call, "Content-Length", "1"));
	ck_raises_saying(Assert_Failed, "HTTPCall_add: transfer-encoding", HTTPCall_add(call, "transfer-encoding", "chunked"));
	ck_raises_saying(Assert_Failed, "HTTPCall_set: EXPECT", HTTPCall_set(call, "EXPECT", "100-continue"));
	ck_raises_saying(HTTP_Failed, "HTTPCall_set: control characters", HTTPCall_set(call, "A", "b\r\nC: d"));
	ck_raises_saying(Assert_Failed, "HTTPCall_set: the name is NULL", HTTPCall_set(call, NULL, "b"));
	ck_raises_saying(Assert_Failed, "the value of A is NULL", HTTPCall_set(call, "A", NULL));
	ck_raises_saying(Assert_Failed, "HTTPCall_write: NULL with 3 bytes", HTTPCall_write(call, NULL, 3));
	ck_raises_saying(Assert_Failed, "HTTPCall_printf: the format is NULL", HTTPCall_printf(call, NULL));
	ck_raises_saying(Assert_Failed, "the call is NULL", HTTPCall_timeout(NULL, 1));
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
	ck_raises_saying(Assert_Failed, "a body was written", HTTPCall_begin(written, pool, "127.0.0.1", service, 1));
	run(call);
	ck_raises_saying(Assert_Failed, "HTTPCall_set: the call has begun already", HTTPCall_set(call, "A", "b"));
	ck_raises_saying(Assert_Failed, "HTTPCall_run: the call has begun already", run(call));
	ck_raises_saying(Assert_Failed, "HTTPCall_header: the name is NULL", HTTPCall_header(call, NULL));
	ck_raises_saying(Assert_Failed, "the place of the length is NULL", HTTPCall_body(call, NULL));
}
