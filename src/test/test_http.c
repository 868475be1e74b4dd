/* SPDX-License-Identifier: MIT */
/* HTTP by its public interface: refusals, limits, the end of the stream, timeouts. */
#include "config.h"

#include "test_http.h"

NEEDS(.loopback = 1);

/* Reads all that comes until the server ends the connection. */
static size_t read_to_end(void)
{
	size_t n = 0;
	ssize_t got;

	while ((got = recv(client, reply + n, sizeof reply - 1 - n, 0)) > 0)
		n += (size_t)got;
	ck_assert_msg(got == 0, "the connection broke after %zu bytes: %s", n, strerror(errno));
	reply[n] = '\0';
	return n;
}

/* ---- status and reason ---- */

SUITE("http");
CASE("refused", .setup = set_up_pair, .teardown = tear_down_pair);

TEST(each_exception_has_the_status_to_answer)
{
	static const Except_T mine = { "mine", &HTTP_URI_Too_Long, NULL },
		other = { "other", NULL, NULL };

	ck_assert_int_eq(HTTP_status(&HTTP_Closed), 0);
	ck_assert_int_eq(HTTP_status(&HTTP_Bad_Request), 400);
	ck_assert_int_eq(HTTP_status(&HTTP_Timeout), 408);
	ck_assert_int_eq(HTTP_status(&HTTP_Content_Too_Large), 413);
	ck_assert_int_eq(HTTP_status(&HTTP_URI_Too_Long), 414);
	ck_assert_int_eq(HTTP_status(&HTTP_Fields_Too_Large), 431);
	ck_assert_int_eq(HTTP_status(&HTTP_Not_Implemented), 501);
	ck_assert_int_eq(HTTP_status(&HTTP_Unauthorized), 401);
	ck_assert_int_eq(HTTP_status(&HTTP_Forbidden), 403);
	ck_assert_int_eq(HTTP_status(&HTTP_Not_Found), 404);
	ck_assert_int_eq(HTTP_status(&HTTP_Conflict), 409);
	ck_assert_int_eq(HTTP_status(&HTTP_Unsupported_Media), 415);
	ck_assert_int_eq(HTTP_status(&HTTP_Unprocessable), 422);
	ck_assert_int_eq(HTTP_status(&HTTP_Too_Many_Requests), 429);
	ck_assert_int_eq(HTTP_status(&HTTP_Bad_Gateway), 502);
	ck_assert_int_eq(HTTP_status(&HTTP_Unavailable), 503);
	ck_assert_int_eq(HTTP_status(&HTTP_Gateway_Timeout), 504);
	ck_assert_int_eq(HTTP_status(&HTTP_Bad_Version), 505);
	ck_assert_int_eq(HTTP_status(&HTTP_Failed), 500);
	ck_assert_int_eq(HTTP_status(&Arena_Failed), 500);
	ck_assert_int_eq(HTTP_status(&mine), 414);
	ck_assert_int_eq(HTTP_status(&other), 500);
	ck_raises(Assert_Failed, HTTP_status(NULL));
}

/* iana.org/assignments/http-status-codes, without the unused (306, 418), the temporary (104) and
 * the obsolete (510). */
static const char registry[] =
		"100 Continue\n"
		"101 Switching Protocols\n"
		"102 Processing\n"
		"103 Early Hints\n"
		"200 OK\n"
		"201 Created\n"
		"202 Accepted\n"
		"203 Non-Authoritative Information\n"
		"204 No Content\n"
		"205 Reset Content\n"
		"206 Partial Content\n"
		"207 Multi-Status\n"
		"208 Already Reported\n"
		"226 IM Used\n"
		"300 Multiple Choices\n"
		"301 Moved Permanently\n"
		"302 Found\n"
		"303 See Other\n"
		"304 Not Modified\n"
		"305 Use Proxy\n"
		"307 Temporary Redirect\n"
		"308 Permanent Redirect\n"
		"400 Bad Request\n"
		"401 Unauthorized\n"
		"402 Payment Required\n"
		"403 Forbidden\n"
		"404 Not Found\n"
		"405 Method Not Allowed\n"
		"406 Not Acceptable\n"
		"407 Proxy Authentication Required\n"
		"408 Request Timeout\n"
		"409 Conflict\n"
		"410 Gone\n"
		"411 Length Required\n"
		"412 Precondition Failed\n"
		"413 Content Too Large\n"
		"414 URI Too Long\n"
		"415 Unsupported Media Type\n"
		"416 Range Not Satisfiable\n"
		"417 Expectation Failed\n"
		"421 Misdirected Request\n"
		"422 Unprocessable Content\n"
		"423 Locked\n"
		"424 Failed Dependency\n"
		"425 Too Early\n"
		"426 Upgrade Required\n"
		"428 Precondition Required\n"
		"429 Too Many Requests\n"
		"431 Request Header Fields Too Large\n"
		"451 Unavailable For Legal Reasons\n"
		"500 Internal Server Error\n"
		"501 Not Implemented\n"
		"502 Bad Gateway\n"
		"503 Service Unavailable\n"
		"504 Gateway Timeout\n"
		"505 HTTP Version Not Supported\n"
		"506 Variant Also Negotiates\n"
		"507 Insufficient Storage\n"
		"508 Loop Detected\n"
		"511 Network Authentication Required\n";

TEST(every_status_that_is_registered_has_its_reason)
{
	int status, found = 0;

	for (status = -1; status <= 1000; status++) {
		const char *reason = HTTP_reason(status);
		char line[64];

		snprintf(line, sizeof line, "%d %s\n", status, reason);
		if (reason[0]) {
			ck_assert_msg(strstr(registry, line) != NULL, "not registered: %s", line);
			found++;
		}
	}
	ck_assert_int_eq(found, 60);
}

/* ---- refused ---- */

static const struct {
	const Except_T *exception;
	const char *input, *saying;
} refusals[] = {
	{ &HTTP_Bad_Request, POST HOST "Content-Length: 5\r\n" TE "\r\n0\r\n\r\n",
		"beside Content-Length: \"5\"" },
	{ &HTTP_Bad_Request, POST HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"given twice: \"5\", \"6\"" },
	{ &HTTP_Bad_Request, POST HOST "Content-Length: +5\r\n\r\nhello", "\"+5\"" },
	{ &HTTP_Bad_Request, POST HOST "Content-Length: 5, 5\r\n\r\nhello", "\"5, 5\"" },
	{ &HTTP_Bad_Request, "POST / HTTP/1.0\r\n" HOST TE "\r\n0\r\n\r\n", "HTTP/1.0" },
	{ &HTTP_Bad_Request, POST HOST "Transfer-Encoding: xchunked\r\n\r\n", "\"xchunked\"" },
	{ &HTTP_Not_Implemented, POST HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"\"gzip, chunked\"" },
	{ &HTTP_Bad_Request, GET HOST "X : y\r\n\r\n", "white space before the colon of \"X\"" },
	{ &HTTP_Bad_Request, GET HOST "X: y\r\n z\r\n\r\n", "starts with white space" },
	{ &HTTP_Bad_Request, GET HOST "X: a\x1b[2J\r\n\r\n", "\"\\x1b\"" },
	{ &HTTP_Bad_Request, GET HOST "X: a\n\r\n", "LF without CR" },
	{ &HTTP_Bad_Request, GET "\r\n", "without Host" },
	{ &HTTP_Bad_Request, GET "Host: a\r\nHost: b\r\n\r\n", "\"a\", \"b\"" },
	{ &HTTP_Bad_Request, GET "Host: a b\r\n\r\n", "\"a b\"" },
	{ &HTTP_Bad_Request, "GET  / HTTP/1.1\r\n" HOST "\r\n", "two spaces" },
	{ &HTTP_Bad_Request, "GET * HTTP/1.1\r\n" HOST "\r\n", "\"*\"" },
	{ &HTTP_Bad_Request, "GET a:80 HTTP/1.1\r\n" HOST "\r\n", "\"a:80\"" },
	{ &HTTP_Bad_Request, "GET /../etc/passwd HTTP/1.1\r\n" HOST "\r\n",
		"above the root: \"/../etc/passwd\"" },
	{ &HTTP_Bad_Request, "GET /%2e%2e/etc/passwd HTTP/1.1\r\n" HOST "\r\n",
		"\"/%2e%2e/etc/passwd\"" },
	{ &HTTP_Bad_Request, "GET /%zz HTTP/1.1\r\n" HOST "\r\n", "escape in the path: \"/%zz\"" },
	{ &HTTP_Bad_Request, "GET /%00 HTTP/1.1\r\n" HOST "\r\n", "\"/%00\"" },
	{ &HTTP_Bad_Version, "GET / HTTP/2.0\r\n" HOST "\r\n", "\"HTTP/2.0\"" },
	{ &HTTP_Not_Implemented, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT" },
	{ &HTTP_Content_Too_Large, POST HOST "Content-Length: 1048577\r\n\r\n", "\"1048577\"" },
	{ &HTTP_Bad_Request, POST HOST TE "\r\n5\nhello\r\n0\r\n\r\n", "\"\\x0a\"" },
	{ &HTTP_Bad_Request, POST HOST TE "\r\n0x5\r\nhello\r\n0\r\n\r\n", "\"x\"" },
	{ &HTTP_Content_Too_Large, POST HOST TE "\r\nfffffff\r\n", "1048576" },
	{ &HTTP_Bad_Request, POST HOST TE "\r\n0\r\nX\r\n\r\n", "trailer" },
};

TEST(a_request_that_is_refused_says_why_is_answered_and_ends_the_connection, .to = COUNT(refusals))
{
	volatile int status = 0;
	char status_line[32];

	send_text(refusals[_i].input);
	end_sending();
	TRY {
		parse_request();
	} EXCEPT(HTTP_Failed) {
		status = HTTP_status(Except_current());
		ck_assert_msg(Except_current() == refusals[_i].exception, "%s raised %s",
			refusals[_i].input, Except_message());
		ck_assert_msg(strstr(Except_message(), refusals[_i].saying) != NULL, "\"%s\" lacks \"%s\"",
			Except_message(), refusals[_i].saying);
	} END_TRY;
	ck_assert_int_ne(status, 0);
	ck_raises(HTTP_Closed, parse_request());
	TRY {
		HTTPResponse_T response = HTTPResponse_new(arena);

		HTTPResponse_status(response, status);
		HTTPResponse_send(server, response);
	} END_TRY;
	read_reply();
	sprintf(status_line, "HTTP/1.1 %d ", status);
	ck_assert_ptr_eq(strstr(reply, status_line), reply);
	ck_assert(reply_has("\r\nConnection: close\r\n"));
	ck_assert(at_end());
	ck_raises(HTTP_Closed, parse_request());
}

#define GOOD "GET /good HTTP/1.1\r\nHost: a\r\n\r\n"

/* Opens a pair that keeps packet boundaries, under a socket that was made for a stream: one read
 * takes one packet. */
static void open_packets(void)
{
	int fds[2], room = 1 << 20;

	close_pair();
	open_pair();
	close(client);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	ck_assert_int_ge(dup2(fds[0], Socket_fd(server)), 0);
	close(fds[0]);
	client = fds[1];
	setsockopt(client, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
}

/* Sends a good request with the first part of the row's in one packet, the rest in packets of
 * step bytes, and another good request. If that is answered, nothing of the row's was left or
 * taken from it. */
static void say_row(const Row *row, size_t first, size_t step)
{
	char packet[1024] = GOOD;
	size_t at;

	memcpy(packet + strlen(GOOD), row->input, first);
	send_bytes(packet, strlen(GOOD) + first);
	for (at = first; at < row->n; at += step)
		send_bytes(row->input + at, step < row->n - at ? step : row->n - at);
	send_text(GOOD);
	end_sending();
}

/* Returns the status, or 0 if the request is accepted. */
static int status_behind_a_good_one(const Row *row, size_t first, size_t step)
{
	volatile int status = 0;

	open_packets();
	Arena_clear(arena);
	say_row(row, first, step);
	ck_assert_str_eq(HTTPRequest_path(parse_request()), "/good");
	send_answer("good");
	TRY {
		int more = HTTPRequest_keep_alive(parse_request());

		send_answer("accepted");
		if (more)
			ck_assert_str_eq(HTTPRequest_path(parse_request()), "/good");
	} EXCEPT(HTTP_Failed) {
		status = HTTP_status(Except_current());
	} END_TRY;
	if (status != 0)
		ck_raises(HTTP_Closed, parse_request());
	return status;
}

static void check_row(const Row *row)
{
	size_t first;

	ck_assert_msg(status_behind_a_good_one(row, 0, 1) == row->status, "%s, byte by byte",
		row->sentence);
	for (first = 0; first <= row->n; first++)
		ck_assert_msg(status_behind_a_good_one(row, first, row->n) == row->status,
			"%s, cut after %zu bytes",
			row->sentence, first);
}

TEST(a_bad_request_is_refused_behind_a_good_one_too_in_whatever_pieces, .to = COUNT(refused))
{
	check_row(&refused[_i]);
}

TEST(a_request_is_accepted_between_others_in_whatever_pieces, .to = COUNT(accepted))
{
	check_row(&accepted[_i]);
}

TEST(the_refusal_of_a_HEAD_has_no_body)
{
	send_text("HEAD / HTTP/1.1\r\n\r\n");
	end_sending();
	ck_raises(HTTP_Bad_Request, parse_request());
	send_answer("no Host");
	read_reply();
	ck_assert(reply_has("Content-Length: 7\r\n"));
	ck_assert_str_eq(reply + strlen(reply) - 4, "\r\n\r\n");
}

TEST(a_large_body_that_is_refused_does_not_cut_off_the_reply)
{
	static const char head[] = POST HOST "Content-Length: 3000000\r\n\r\n";
	static char request[3000000 + sizeof head];
	Writer w = { .hushes = 1 };

	use_tcp();
	memset(request, 'x', sizeof request);
	memcpy(request, head, sizeof head - 1);
	start_writer(&w, request, sizeof request - 1, SIZE_MAX);
	ck_raises(HTTP_Content_Too_Large, parse_request());
	send_answer("too large"); /* most of it has not arrived yet */
	Socket_close(&server);
	join_writer(&w);
	read_to_end();
	ck_assert(reply_has("too large"));
}

/* ---- limits ---- */

static int status_with(HTTP_Limits limits, const char *input)
{
	const Except_T *e;
	int status;

	open_pair();
	send_text(input);
	e = parse_raises(&limits);
	status = e ? HTTP_status(e) : 0;
	close_pair();
	return status;
}

TEST(each_limit_holds_to_the_byte)
{
	HTTP_Limits limits = { .request_line = 40, .header_bytes = 60, .header_count = 3,
		.body_bytes = 10 };
	static const char xs[] =
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	char input[400];
	int more;

	close_pair();
	for (more = -1; more <= 1; more++) {
		sprintf(input, "GET /%.*s HTTP/1.1\r\n" HOST "\r\n", 40 - 14 + more, xs);
		ck_assert_int_eq(status_with(limits, input), more > 0 ? 414 : 0);
		sprintf(input, GET HOST "X: %.*s\r\n\r\n", 60 - 14 + more, xs);
		ck_assert_int_eq(status_with(limits, input), more > 0 ? 431 : 0);
		sprintf(input, GET HOST "%.*s\r\n", 6 * (2 + more), "A: b\r\nC: d\r\nE: f\r\n");
		ck_assert_int_eq(status_with(limits, input), more > 0 ? 431 : 0);
		sprintf(input, POST HOST "Content-Length: %d\r\n\r\n%.*s", 10 + more, 10 + more, xs);
		ck_assert_int_eq(status_with(limits, input), more > 0 ? 413 : 0);
		sprintf(input, POST HOST TE "\r\n4\r\nxxxx\r\n%x\r\n%.*s\r\n0\r\n\r\n",
			(unsigned)(6 + more), 6 + more, xs);
		ck_assert_int_eq(status_with(limits, input), more > 0 ? 413 : 0);
	}
	open_pair();
}

TEST(the_default_limits_are_those_of_the_manual)
{
	static char input[50000], xs[40000];
	HTTP_Limits defaults = { 0 };
	int more, i;
	char *end;

	close_pair();
	memset(xs, 'x', sizeof xs - 1);
	for (more = 0; more <= 1; more++) {
		sprintf(input, "GET /%.*s HTTP/1.1\r\n" HOST "\r\n", 8192 - 14 + more, xs);
		ck_assert_int_eq(status_with(defaults, input), more ? 414 : 0);
		sprintf(input, GET HOST "X: %.*s\r\n\r\n", 32768 - 14 + more, xs);
		ck_assert_int_eq(status_with(defaults, input), more ? 431 : 0);
		end = input + sprintf(input, GET HOST);
		for (i = 0; i < 99 + more; i++)
			end += sprintf(end, "X: y\r\n");
		sprintf(end, "\r\n");
		ck_assert_int_eq(status_with(defaults, input), more ? 431 : 0);
	}
	open_pair();
}

/* ---- the end, and time ---- */

CASE("end and time", .setup = set_up_pair, .teardown = tear_down_pair);

TEST(a_peer_that_leaves_between_requests_is_HTTP_Closed)
{
	end_sending();
	ck_raises(HTTP_Closed, parse_request());
	ck_raises(HTTP_Closed, parse_request());
}

TEST(a_peer_that_leaves_after_an_empty_line_is_HTTP_Closed)
{
	send_text("\r\n");
	end_sending();
	ck_raises(HTTP_Closed, parse_request());
}

static void leave_at_every_byte(const char *request)
{
	size_t n;

	close_pair();
	for (n = 1; n < strlen(request); n++) {
		const Except_T *e;

		open_pair();
		send_bytes(request, n);
		end_sending();
		e = parse_raises(NULL);
		ck_assert_msg(e == &HTTP_Bad_Request, "%zu bytes", n);
		ck_assert_ptr_eq(parse_raises(NULL), &HTTP_Closed);
		close_pair();
		Arena_clear(arena);
	}
	open_pair();
}

TEST(a_peer_that_leaves_at_any_byte_of_a_request_leaves_nothing_behind)
{
	leave_at_every_byte(whole_request);
	leave_at_every_byte(whole_request_by_length);
}

TEST(a_cut_off_request_says_how_much_of_it_came)
{
	send_text("GET / HTTP");
	end_sending();
	ck_raises_saying(HTTP_Bad_Request, "closed after 10 bytes of the request head",
		parse_request());
	close_pair();
	open_pair();
	send_text(POST HOST "Content-Length: 5\r\n\r\nhel");
	end_sending();
	ck_raises_saying(HTTP_Bad_Request, "closed after 3 bytes of the request body", parse_request());
}

TEST(no_byte_in_the_sockets_timeout_is_Socket_Timeout_and_the_connection_lives)
{
	Socket_set_timeout(server, 20);
	ck_raises(Socket_Timeout, parse_request());
	ck_raises(Socket_Timeout, parse_request());
	ck_assert_str_eq(HTTPRequest_method(parse_saying(GET HOST "\r\n")), "GET");
	send_answer("x");
	ck_raises(Socket_Timeout, parse_request());
}

static void check_timeout(const HTTP_Limits *limits, const char *text, const char *saying)
{
	send_text(text);
	TRY {
		HTTPRequest_parse_with(arena, server, limits);
		ck_abort_msg("\"%s\" did not time out", text);
	} EXCEPT(HTTP_Timeout) {
		ck_assert_ptr_eq(Except_cause(1), &Socket_Timeout);
		ck_assert_msg(strstr(Except_message(), saying) != NULL, "%s", Except_message());
	} END_TRY;
	ck_raises(HTTP_Closed, parse_request());
	close_pair();
	open_pair();
}

/* RFC 9112, 2.2: the time of a request begins with its first line. The connection stays as it
 * was, also after half of an empty line. */
TEST(an_empty_line_is_no_request_begun, .to = 3)
{
	static const char *const before[] = { "\r\n", "\r", "\r\n\r\n\r" };
	static const char *const then[] = { "", "\n", "\n" };
	HTTP_Limits limits = { .head_ms = 20 };

	Socket_set_timeout(server, 60);
	send_text(before[_i]);
	ck_raises(Socket_Timeout, HTTPRequest_parse_with(arena, server, &limits));
	ck_raises(Socket_Timeout, HTTPRequest_parse_with(arena, server, &limits));
	send_text(then[_i]);
	ck_assert_str_eq(HTTPRequest_target(parse_saying("GET /later HTTP/1.1\r\n" HOST "\r\n")),
		"/later");
	send_answer("ok");
	ck_assert_ptr_nonnull(strstr(read_reply(), "200 OK"));
	send_text("\r\n");
	end_sending();
	ck_raises(HTTP_Closed, parse_request());
}

TEST(a_request_that_comes_too_slowly_is_HTTP_Timeout)
{
	HTTP_Limits limits = { .head_ms = 30, .body_ms = 30 };

	check_timeout(&limits, "G", "1 bytes of the request's head");
	check_timeout(&limits, GET "Host: a\r", "of the request's head");
	check_timeout(&limits, POST HOST "Content-Length: 5\r\n\r\nhel",
		"3 bytes of the request's body");
	check_timeout(&limits, POST HOST TE "\r\n5\r\nhel", "3 bytes of the request's body");
	check_timeout(&limits, POST HOST TE "\r\n0\r\nX: y", "0 bytes of the request's body");
}

static void *send_slowly(void *cl)
{
	int fd = *(int *)cl;

	while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
		poll(NULL, 0, 5);
	return NULL;
}

TEST(a_client_that_never_stops_trickling_meets_the_deadline_all_the_same)
{
	HTTP_Limits limits = { .head_ms = 60 };
	pthread_t thread;

	pthread_create(&thread, NULL, send_slowly, &client);
	ck_raises(HTTP_Timeout, HTTPRequest_parse_with(arena, server, &limits));
	Socket_close(&server);
	pthread_join(thread, NULL);
}

TEST(a_reset_connection_is_Socket_Closed)
{
	struct linger reset = { 1, 0 };

	use_tcp();
	send_text("GET / HT");
	setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(client);
	client = -1;
	ck_raises(Socket_Failed, parse_request());
}
