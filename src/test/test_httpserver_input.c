/* SPDX-License-Identifier: MIT */
/* HTTPServer: framing and input, the PROXY protocol, refusals and limits. */
#include "config.h"

#include "test_httpserver.h"

/* ---- framing and input ---- */

SUITE("httpserver");
CASE("framing and input");

TEST(responses_are_framed_as_their_status_wants)
{
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, GET("/status/204") GET("/status/304") GET("/status/205") GET("/status/201"));
	ck_assert_int_eq(read_one_response(fd, 0), 204);
	ck_assert(!response_has("Content-Length"));
	ck_assert_int_eq(read_one_response(fd, 0), 304);
	ck_assert_int_eq(read_one_response(fd, 0), 205);
	ck_assert(response_has("Content-Length: 0\r\n"));
	ck_assert_int_eq(read_response(fd), 201);
	ck_assert_str_eq(response_body(), "text");
	close(fd);
	end_server();
}

TEST(a_connection_is_kept_as_the_client_wants)
{
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	ck_assert(read_to_end(fd));
	ck_assert(response_has("Connection: close\r\n"));
	close(fd);
	fd = dial_server();
	send_text(fd, "GET / HTTP/1.0\r\n\r\n");
	ck_assert(read_to_end(fd));
	close(fd);
	fd = dial_server();
	send_text(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert(response_has("Connection: keep-alive\r\n"));
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	end_server();
}

static void hear_three(int fd)
{
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "first");
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "second");
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "hello");
}

TEST(a_pipeline_is_answered_in_order_wherever_it_was_cut)
{
	size_t cut;
	int fd;

	start_server();
	fd = dial_server();
	for (cut = 0; cut < sizeof three - 1; cut++) {
		send_bytes(fd, three, cut);
		if (cut % 8 == 0)
			sleep_ms(1);
		send_bytes(fd, three + cut, sizeof three - 1 - cut);
		hear_three(fd);
	}
	close(fd);
	end_server();
}

TEST(a_request_one_byte_at_a_time_is_a_request)
{
	size_t i;
	int fd;

	start_server();
	fd = dial_server();
	for (i = 0; i < sizeof three - 1; i++) {
		send_bytes(fd, three + i, 1);
		sleep_ms(1);
	}
	hear_three(fd);
	close(fd);
	end_server();
}

static void *say_many(void *cl)
{
	int fd = *(int *)cl, i;

	for (i = 0; i < 2000; i++) {
		char request[256];
		int n = sprintf(request, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 8\r\n\r\n%08d", i);

		send_bytes(fd, request, (size_t)n);
	}
	return NULL;
}

static void many_with(size_t pipeline_bytes)
{
	pthread_t writer;
	char want[16];
	int fd, i;

	start_with((HTTPServer_Options){ .pipeline_bytes = pipeline_bytes });
	fd = dial_server();
	pthread_create(&writer, NULL, say_many, &fd);
	for (i = 0; i < 2000; i++) {
		ck_assert_int_eq(read_response(fd), 200);
		sprintf(want, "%08d", i);
		ck_assert_str_eq(response_body(), want);
	}
	pthread_join(writer, NULL);
	close(fd);
	end_server();
}

TEST(two_thousand_requests_in_a_row_are_answered_in_order)
{
	many_with(0);
}

TEST(so_they_are_when_little_is_read_ahead)
{
	many_with(256);
}

TEST(one_that_pipelines_does_not_keep_the_others_waiting)
{
	static char pipeline[400000];
	size_t n = 0;
	int fd, i, big_sent = 0;

	start_server();
	fd = dial_server();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (n < sizeof pipeline - 100)
		n += (size_t)sprintf(pipeline + n, "%s", GET("/"));
	for (i = 0; i < 50; i++) {
		/* a part of a request is sent, and the rest never */
		ssize_t sent = send(fd, pipeline, n, MSG_NOSIGNAL);

		big_sent += sent > 0;
		ck_assert_int_eq(ask_server(GET("/")), 200);
		if (sent > 0)
			break;
	}
	ck_assert_int_gt(big_sent, 0);
	close(fd);
	end_server();
}

TEST(a_large_body_is_echoed)
{
	static char bytes[1000000];
	size_t i;
	int fd;

	start_server();
	for (i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)('a' + i % 23);
	fd = dial_server();
	send_text(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n");
	send_bytes(fd, bytes, sizeof bytes);
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert(nheard > sizeof bytes && memcmp(response_body(), bytes, sizeof bytes) == 0);
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	end_server();
}

TEST(a_client_that_expects_100_gets_100_or_the_refusal)
{
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, "POST /echo HTTP/1.1\r\n" HOST
		"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
	ck_assert_int_eq(read_response(fd), 100);
	send_text(fd, "hello");
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_str_eq(response_body(), "hello");
	send_text(fd, "POST /echo HTTP/1.1\r\n" HOST
		"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
	ck_assert_int_eq(read_response(fd), 200); /* it did not wait for 100 Continue */
	send_text(fd, "POST /nothing HTTP/1.1\r\n" HOST
		"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
	ck_assert(read_to_end(fd));
	ck_assert_int_eq(atoi(heard + 9), 404);
	ck_assert(response_has("Connection: close\r\n"));
	close(fd);
	end_server();
}

TEST(a_client_that_shuts_down_its_side_is_still_answered)
{
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, GET("/") GET("/"));
	shutdown(fd, SHUT_WR);
	ck_assert(read_to_end(fd));
	ck_assert_int_eq(count_in_response("200 OK"), 2);
	close(fd);
	fd = dial_server();
	send_text(fd, "GET / HTTP/1.1\r\nHo");
	shutdown(fd, SHUT_WR);
	ck_assert(read_to_end(fd));
	ck_assert_int_eq(count_in_response("HTTP/1.1 400 Bad Request"), 1);
	close(fd);
	fd = dial_server();
	shutdown(fd, SHUT_WR);
	ck_assert(read_to_end(fd));
	ck_assert_uint_eq(nheard, 0);
	close(fd);
	end_server();
}

/* ---- the PROXY protocol ---- */

static void answer_peer(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%s", HTTPRequest_peer(request));
}

static void start_behind(const char *const *proxies)
{
	make_server((HTTPServer_Options){ .proxies = proxies });
	HTTPServer_route(server, "GET", "/who", answer_peer, NULL);
	launch_server();
}

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define SPOKEN(header, name) { header, sizeof header - 1, name }
static const struct {
	const char *header;
	size_t n;
	const char *name; /* NULL: not a header; "": it names no client */
} spoken[] = {
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n", "192.0.2.1:4711"),
	SPOKEN("PROXY TCP6 2001:db8::1 2001:db8::2 4711 80\r\n", "[2001:db8::1]:4711"),
	SPOKEN("PROXY UNKNOWN\r\n", ""),
	SPOKEN("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""),
	SPOKEN(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50", "192.0.2.1:4711"),
	SPOKEN(V2 "\x21\x11\0\x0f\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50\x04\0\0",
		"192.0.2.1:4711"),
	SPOKEN(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
		"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
		"\x12\x67\0\x50", "[2001:db8::1]:4711"),
	SPOKEN(V2 "\x20\0\0\0", ""),
	SPOKEN("", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80 1\r\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711 65536\r\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 -1 80\r\n", NULL),
	SPOKEN("PROXY TCP4 2001:db8::1 198.51.100.1 4711 80\r\n", NULL),
	SPOKEN("PROXY TCP5 192.0.2.1 198.51.100.1 4711 80\r\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\n", NULL),
	SPOKEN("PROXY TCP4 192.0.2.1 198.51.100.1 4711                                     "
		"                         "
		"                                           80\r\n", NULL),
	SPOKEN(V2 "\x11\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50", NULL),
	SPOKEN(V2 "\x22\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50", NULL),
	SPOKEN(V2 "\x21\x11\0\x0b\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0", NULL),
	SPOKEN(V2 "\x21\x21\0\x23\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
		"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
		"\x12\x67\0", NULL),
	SPOKEN(V2 "\x21\x11\xff\xff", NULL)
};
enum { SPOKEN_TO = sizeof spoken / sizeof spoken[0] };

static void speak_as_proxy(int i, size_t cut)
{
	int fd = dial_server();

	send_bytes(fd, spoken[i].header, cut);
	if (cut)
		sleep_ms(1);
	if (send(fd, spoken[i].header + cut, spoken[i].n - cut, MSG_NOSIGNAL) >= 0)
		send(fd, GET("/who") GET("/who"), 2 * strlen(GET("/who")), MSG_NOSIGNAL);
	if (spoken[i].name) {
		ck_assert_int_eq(read_response(fd), 200);
		if (*spoken[i].name)
			ck_assert_str_eq(response_body(), spoken[i].name);
		else
			ck_assert_msg(strncmp(response_body(), "127.0.0.1:", 10) == 0, "%s", response_body());
		ck_assert_int_eq(read_response(fd), 200);
	} else {
		read_to_end(fd);
		ck_assert_msg(nheard == 0, "header %d is answered %s", i, heard);
	}
	close(fd);
}

TEST(a_proxy_says_for_whom_it_speaks_or_is_not_served)
{
	static const char *const proxies[] = { "10.0.0.0/8", "127.0.0.0/24", NULL };
	int i;

	start_behind(proxies);
	for (i = 0; i < SPOKEN_TO; i++)
		speak_as_proxy(i, 0);
	end_server();
}

TEST(a_PROXY_header_may_come_in_pieces)
{
	static const char *const proxies[] = { "127.0.0.1", NULL };
	size_t cut;
	int i;

	start_behind(proxies);
	for (i = 0; i < 7; i += 4)
		for (cut = 1; cut < spoken[i].n; cut++)
			speak_as_proxy(i, cut);
	end_server();
}

/* Fails unless the server believes what a proxy at this address says of its client. */
static void ck_believed(const char *address, const char *host, const char *service)
{
	const char *proxies[] = { address, NULL };
	static const char request[] = "PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n" GET("/who");
	Socket_T proxy;

	make_server((HTTPServer_Options){ .proxies = proxies, .host = host, .service = service });
	HTTPServer_route(server, "GET", "/who", answer_peer, NULL);
	launch_server();
	proxy = Socket_connect(host, Arena_sprintf(arena, "%d", HTTPServer_port(server)), 5000);
	Socket_sendall(proxy, request, sizeof request - 1);
	ck_assert_int_eq(read_response(Socket_fd(proxy)), 200);
	ck_assert_str_eq(response_body(), "192.0.2.1:4711");
	Socket_close(&proxy);
	end_server();
}

static int has_no_ipv6(void)
{
	volatile int has_none = 0;
	Socket_T s;

	TRY {
		s = Socket_listen("::1", "0", 0);
		Socket_close(&s);
	} EXCEPT(Socket_Failed) {
		has_none = 1;
	} END_TRY;
	return has_none;
}

TEST(a_proxy_may_connect_over_IPv6, .unless = has_no_ipv6())
{
	ck_believed("::1", "::1", "0");
	ck_believed("::/64", "::1", "0");
}

TEST(a_proxy_may_connect_to_a_Unix_domain_socket)
{
	char name[64];

	snprintf(name, sizeof name, "unix:@libcore-test-proxy-%ld", (long)getpid());
	ck_believed("unix", name, "0");
}

TEST(only_a_proxy_may_name_another_client)
{
	static const char *const proxies[] = { "10.0.0.0/8", "::1", "127.0.0.2", "127.0.0.2/31", "unix",
		NULL };

	start_behind(proxies);
	ck_assert_int_eq(ask_server("PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\n" GET("/who")), 400);
	ck_assert_int_eq(ask_server(GET("/who")), 200);
	ck_assert(strncmp(response_body(), "127.0.0.1:", 10) == 0);
	end_server();
}

/* ---- refusals and limits ---- */

CASE("refusals and limits");

static const struct {
	int status;
	const char *request;
} refused[] = {
	{ 400, "GET / HTTP/1.1\r\n\r\n" },
	{ 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" },
	{ 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n" },
	{ 400, "POST /echo HTTP/1.1\r\n" HOST
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
	{ 400, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello" },
	{ 400, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n" },
	{ 400, "GET /%zz HTTP/1.1\r\n" HOST "\r\n" },
	{ 400, "nonsense\r\n\r\n" },
	{ 501, "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n" },
	{ 505, "GET / HTTP/2.0\r\n" HOST "\r\n" },
	{ 413, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n" }
};
enum { REFUSED = sizeof refused / sizeof refused[0] };

TEST(a_bad_request_is_refused_and_the_next_is_not_read)
{
	int fd, i, before;

	start_server();
	for (i = 0; i < REFUSED; i++)
		for (before = 0; before <= 1; before++) {
			fd = dial_server();
			if (before)
				send_text(fd, GET("/"));
			send_text(fd, refused[i].request);
			send_text(fd, GET("/"));
			read_to_end(fd);
			ck_assert_int_eq(count_in_response("200 OK"), before);
			ck_assert_msg(atoi(strstr(heard, "HTTP/1.1 4") || strstr(heard, "HTTP/1.1 5")
				? (strstr(heard, "HTTP/1.1 4") ? strstr(heard, "HTTP/1.1 4")
				: strstr(heard, "HTTP/1.1 5")) + 9 : "0")
				== refused[i].status, "%s is answered %s", refused[i].request, heard);
			ck_assert(response_has("Connection: close\r\n"));
			close(fd);
		}
	ck_assert_uint_eq(stats_now().refused, 2 * REFUSED);
	ck_assert_int_eq(ask_server(GET("/")), 200);
	end_server();
}

TEST(the_limits_are_those_of_the_options)
{
	start_with((HTTPServer_Options){ .limits = { .request_line = 40, .header_bytes = 60,
		.header_count = 3, .body_bytes = 10 } });
	ck_assert_int_eq(ask_server("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n" HOST
		"\r\n"),
		414);
	ck_assert_int_eq(ask_server("GET / HTTP/1.1\r\n" HOST
		"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n"), 431);
	ck_assert_int_eq(ask_server("GET / HTTP/1.1\r\n" HOST "A: b\r\nC: d\r\nE: f\r\n\r\n"), 431);
	ck_assert_int_eq(ask_server("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n"), 413);
	ck_assert_int_eq(ask_server("POST /echo HTTP/1.1\r\n" HOST
		"Content-Length: 10\r\n\r\n0123456789"),
		200);
	end_server();
}

TEST(a_client_that_uploads_too_much_still_reads_the_refusal)
{
	static char bytes[3000000];
	int fd, i;

	start_server();
	memset(bytes, 'x', sizeof bytes);
	for (i = 0; i < 5; i++) {
		fd = dial_server();
		send_text(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n");
		/* the server reads all of it: it does not reset a client that still sends */
		send_bytes(fd, bytes, sizeof bytes);
		ck_assert(read_to_end(fd));
		ck_assert(response_has("413 Content Too Large"));
		close(fd);
	}
	end_server();
}

/* Both ends of so many connections belong to this process. */
static void allow_descriptors(rlim_t n)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_msg(limit.rlim_max >= n, "the machine allows %lu descriptors",
		(unsigned long)limit.rlim_max);
	if (limit.rlim_cur < n) {
		limit.rlim_cur = n;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
}

enum { SLOW = 1000 };

static int reads_slowly(int i)
{
	return i % 50 == 0;
}

/* Sends half of a head or of a body, or takes nothing of a response that fits into no buffer. */
static int begin_slowly(int i)
{
	int fd = reads_slowly(i) ? dial_narrow() : dial_server();

	if (reads_slowly(i))
		send_text(fd, GET("/stream?60000"));
	else
		send_text(fd, i % 2 ? "GET / HT" : "POST /echo HTTP/1.1\r\n" HOST
			"Content-Length: 5\r\n\r\nhe");
	return fd;
}

static void end_slowly(int fd, int i)
{
	if (reads_slowly(i)) {
		read_one_response(fd, 0);
		ck_assert(response_has("HTTP/1.1 200"));
	} else {
		send_text(fd, i % 2 ? "TP/1.1\r\n" HOST "\r\n" : "llo");
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_str_eq(response_body(), "hello");
	}
	close(fd);
}

TEST(a_thousand_slow_clients_delay_no_other)
{
	static int fd[SLOW];
	int i;

	allow_descriptors(2 * SLOW + 200);
	start_streams((HTTPServer_Options){ .limits = { .head_ms = 60000, .body_ms = 60000 },
		.send_ms = 60000 });
	for (i = 0; i < SLOW; i++)
		fd[i] = begin_slowly(i);
	await(stats_now().connections == SLOW);
	for (i = 0; i < 100; i++) {
		int64_t asked = clock_ms();

		ck_assert_int_eq(ask_server(GET("/")), 200);
		ck_assert_int_lt(clock_ms() - asked, 5000);
	}
	for (i = 0; i < SLOW; i++)
		end_slowly(fd[i], i);
	await(stats_now().connections == 0);
	ck_assert_uint_eq(stats_now().timed_out, 0);
	end_server();
}

TEST(a_head_that_takes_too_long_is_408_however_busy_it_looks)
{
	int64_t start_ms;
	int fd, i;

	start_with((HTTPServer_Options){ .limits = { .head_ms = 150 } });
	fd = dial_server();
	send_text(fd, "GET / HTTP/1.1\r\n" HOST);
	start_ms = clock_ms();
	for (i = 0; i < 200 && read_within(fd, heard, 1, 10) == -2; i++)
		send(fd, "X: y\r\n", 6, MSG_NOSIGNAL);
	ck_assert_int_ge(clock_ms() - start_ms, 130);
	read_to_end(fd);
	ck_assert(response_has("TTP/1.1 408 Request Timeout"));
	ck_assert(response_has("the head of the request took too long"));
	close(fd);
	ck_assert_uint_eq(stats_now().timed_out, 1);
	end_server();
}

TEST(a_body_slower_than_its_rate_is_408)
{
	int64_t start_ms;
	int fd, i;

	start_with((HTTPServer_Options){ .limits = { .body_ms = 100 }, .body_rate = 1000 });
	fd = dial_server();
	send_text(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
	start_ms = clock_ms();
	for (i = 0; i < 1000 && read_within(fd, heard, 1, 10) == -2; i++)
		send(fd, "x", 1, MSG_NOSIGNAL);
	ck_assert_int_lt(i, 990);
	ck_assert_int_ge(clock_ms() - start_ms, 90);
	read_to_end(fd);
	ck_assert(response_has("TTP/1.1 408"));
	close(fd);
	/* a client at the minimum rate is not too slow */
	fd = dial_server();
	send_text(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
	for (i = 0; i < 10; i++) {
		char bytes[100];

		memset(bytes, 'x', sizeof bytes);
		send_bytes(fd, bytes, sizeof bytes);
		sleep_ms(20);
	}
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	end_server();
}

TEST(an_idle_connection_is_closed_without_a_word)
{
	int fresh, used;

	start_with((HTTPServer_Options){ .idle_ms = 60 });
	fresh = dial_server();
	used = dial_server();
	send_text(used, GET("/"));
	ck_assert_int_eq(read_response(used), 200);
	ck_assert(read_to_end(fresh));
	ck_assert_uint_eq(nheard, 0);
	ck_assert(read_to_end(used));
	ck_assert_uint_eq(nheard, 0);
	close(fresh);
	close(used);
	await(stats_now().connections == 0);
	end_server();
}

TEST(a_connection_whose_requests_wait_for_their_turn_is_not_idle)
{
	enum { CLIENTS = 4, REQUESTS = 400 };
	static char text[REQUESTS * sizeof GET("/")];
	int fd[CLIENTS], i, n;

	make_server((HTTPServer_Options){ .idle_ms = 40 });
	HTTPServer_route(server, "GET", "/", slow_hello, NULL);
	for (n = 0; n < REQUESTS; n++)
		strcat(text, GET("/"));
	for (i = 0; i < CLIENTS; i++) {
		fd[i] = dial_server();
		/* in one piece: the kernel drops many small ones, and sends them again after the idle
		 * time */
		send_text(fd[i], text);
	}
	launch_server();
	for (i = 0; i < CLIENTS; i++) {
		read_to_end(fd[i]);
		ck_assert_int_eq(count_in_response("200 OK"), REQUESTS);
		close(fd[i]);
	}
	end_server();
}

/* The clients that are served are in the middle of a request: idle ones would be closed
 * (test_httpserverlife.c). */
TEST(more_connections_than_fit_wait_until_there_is_room)
{
	int fd[4], i;

	start_with((HTTPServer_Options){ .connections = 2 });
	for (i = 0; i < 4; i++) {
		fd[i] = dial_server();
		send_text(fd[i], i < 2 ? "GET / HTTP/1.1\r\n" HOST : GET("/"));
	}
	await(stats_now().received == 2 * strlen("GET / HTTP/1.1\r\n" HOST));
	ck_assert_uint_le(stats_now().connections, 2);
	ck_assert_int_eq(read_within(fd[2], heard, 1, 50), -2);
	ck_assert_uint_le(stats_now().connections, 2);
	send_text(fd[0], "\r\n");
	ck_assert_int_eq(read_response(fd[0]), 200);
	close(fd[0]);
	close(fd[1]);
	ck_assert_int_eq(read_response(fd[2]), 200);
	ck_assert_int_eq(read_response(fd[3]), 200);
	close(fd[2]);
	close(fd[3]);
	end_server();
}

TEST(an_address_has_no_more_connections_than_it_may)
{
	int fd[3], i;

	start_with((HTTPServer_Options){ .per_address = 2 });
	for (i = 0; i < 3; i++) {
		fd[i] = dial_server();
		send(fd[i], GET("/"), strlen(GET("/")), MSG_NOSIGNAL);
		if (i < 2)
			ck_assert_int_eq(read_response(fd[i]), 200);
	}
	read_to_end(fd[2]);
	ck_assert_uint_eq(nheard, 0);
	await(stats_now().turned_away == 1);
	close(fd[0]);
	await(stats_now().connections == 1);
	close(fd[2]);
	await(ask_server(GET("/")) == 200);
	close(fd[1]);
	end_server();
}
