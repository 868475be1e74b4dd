/* SPDX-License-Identifier: MIT */
/* HTTP by its public interface: a server's end that is a Socket_T, and a client's end that is a bare
 * descriptor and writes and reads what it likes, over a socketpair or loopback TCP. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "testing.h"

NEEDS(.loopback = 1);
#include <core/HTTP.h>
#include "http_cases.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* ---- both ends ---- */

static Arena_T arena;
static Socket_T server;
static int client;
static size_t live_before;
static int descriptor_before;
static char reply[1 << 16];
static size_t heard; /* bytes in it */

static int next_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void open_pair(void)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	client = fds[1];
	server = Socket_adopt(fds[0]);
}

static void close_pair(void)
{
	Socket_close(&server);
	if (client >= 0)
		close(client);
}

static void setup(void)
{
	descriptor_before = next_descriptor();
	live_before = Arena_debug_live_count();
	arena = Arena_new();
	open_pair();
}

static void teardown(void)
{
	close_pair();
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), live_before);
	ck_assert_int_eq(next_descriptor(), descriptor_before);
}

static void say_bytes(const char *bytes, size_t n)
{
	ck_assert_int_eq(send(client, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void say(const char *text)
{
	say_bytes(text, strlen(text));
}

/* What has come, without waiting; "" if nothing has. */
static const char *hear(void)
{
	ssize_t got;

	heard = 0;
	while (heard < sizeof reply - 1 && (got = recv(client, reply + heard, sizeof reply - 1 - heard, MSG_DONTWAIT)) > 0)
		heard += (size_t)got;
	reply[heard] = '\0';
	return reply;
}

/* The client has said all it will: what lingers need not wait for more. */
static void hush(void)
{
	shutdown(client, SHUT_WR);
}

static int at_end(void)
{
	char c;

	return recv(client, &c, 1, MSG_DONTWAIT) == 0;
}

static HTTPRequest_T parse(void)
{
	return HTTPRequest_parse(arena, server);
}

static HTTPRequest_T parse_saying(const char *text)
{
	say(text);
	return parse();
}

static void answer(const char *body)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	HTTPResponse_write(response, body, strlen(body));
	HTTPResponse_send(server, response);
}

/* The exception that parse raises; NULL if none. volatile: set inside TRY, read after */
static const Except_T *parse_raises(const HTTP_Limits *limits)
{
	const Except_T *volatile raised = NULL;

	TRY {
		HTTPRequest_parse_with(arena, server, limits);
	} ELSE {
		raised = Except_current();
	} END_TRY;
	return raised;
}

static int body_is(HTTPRequest_T request, const char *text)
{
	size_t n;
	const char *body = HTTPRequest_body(request, &n);

	return n == strlen(text) && memcmp(body, text, n + 1) == 0;
}

static int has(const char *text)
{
	return strstr(reply, text) != NULL;
}

/* ---- a client in a thread, for what does not fit into a socket's buffer or must come in pieces ---- */

typedef struct Writer {
	pthread_t thread;
	int fd;
	const char *bytes;
	size_t n, step; /* so many at a time */
	int hushes;     /* at the end */
} Writer;

static void *write_all(void *cl)
{
	Writer *w = cl;
	size_t at = 0;

	while (at < w->n) {
		size_t n = w->step < w->n - at ? w->step : w->n - at;
		ssize_t sent = send(w->fd, w->bytes + at, n, MSG_NOSIGNAL);

		if (sent <= 0)
			break;
		at += (size_t)sent;
	}
	if (w->hushes)
		shutdown(w->fd, SHUT_WR);
	return NULL;
}

static void start_writer(Writer *w, const char *bytes, size_t n, size_t step)
{
	w->fd = client;
	w->bytes = bytes;
	w->n = n;
	w->step = step;
	ck_assert_int_eq(pthread_create(&w->thread, NULL, write_all, w), 0);
}

static void join_writer(Writer *w)
{
	pthread_join(w->thread, NULL);
}

static void use_tcp(void)
{
	Socket_T listener = Socket_listen("127.0.0.1", "0", 0);
	struct sockaddr_in to = { .sin_family = AF_INET };

	close_pair();
	to.sin_port = htons((unsigned short)Socket_port(listener));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&to, sizeof to), 0);
	server = Socket_accept(listener);
	Socket_close(&listener);
}

/* All that comes until the server ends the connection */
static size_t hear_all(void)
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
CASE("refused", .setup = setup, .teardown = teardown);

TEST(each_exception_has_the_status_to_answer)
{
	static const Except_T mine = { "mine", &HTTP_URI_Too_Long, NULL }, other = { "other", NULL, NULL };

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

/* iana.org/assignments/http-status-codes; neither what is unused (306, 418) nor what is there for a time (104) nor obsolete (510) */
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
	{ &HTTP_Bad_Request, POST HOST "Content-Length: 5\r\n" TE "\r\n0\r\n\r\n", "beside Content-Length: \"5\"" },
	{ &HTTP_Bad_Request, POST HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "given twice: \"5\", \"6\"" },
	{ &HTTP_Bad_Request, POST HOST "Content-Length: +5\r\n\r\nhello", "\"+5\"" },
	{ &HTTP_Bad_Request, POST HOST "Content-Length: 5, 5\r\n\r\nhello", "\"5, 5\"" },
	{ &HTTP_Bad_Request, "POST / HTTP/1.0\r\n" HOST TE "\r\n0\r\n\r\n", "HTTP/1.0" },
	{ &HTTP_Bad_Request, POST HOST "Transfer-Encoding: xchunked\r\n\r\n", "\"xchunked\"" },
	{ &HTTP_Not_Implemented, POST HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", "\"gzip, chunked\"" },
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
	{ &HTTP_Bad_Request, "GET /../etc/passwd HTTP/1.1\r\n" HOST "\r\n", "above the root: \"/../etc/passwd\"" },
	{ &HTTP_Bad_Request, "GET /%2e%2e/etc/passwd HTTP/1.1\r\n" HOST "\r\n", "\"/%2e%2e/etc/passwd\"" },
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

	say(refusals[_i].input);
	hush();
	TRY {
		parse();
	} EXCEPT(HTTP_Failed) {
		status = HTTP_status(Except_current());
		ck_assert_msg(Except_current() == refusals[_i].exception, "%s raised %s", refusals[_i].input, Except_message());
		ck_assert_msg(strstr(Except_message(), refusals[_i].saying) != NULL, "\"%s\" lacks \"%s\"",
			Except_message(), refusals[_i].saying);
	} END_TRY;
	ck_assert_int_ne(status, 0);
	ck_raises(HTTP_Closed, parse());
	TRY {
		HTTPResponse_T response = HTTPResponse_new(arena);

		HTTPResponse_status(response, status);
		HTTPResponse_send(server, response);
	} END_TRY;
	hear();
	sprintf(status_line, "HTTP/1.1 %d ", status);
	ck_assert_ptr_eq(strstr(reply, status_line), reply);
	ck_assert(has("\r\nConnection: close\r\n"));
	ck_assert(at_end());
	ck_raises(HTTP_Closed, parse());
}

#define GOOD "GET /good HTTP/1.1\r\nHost: a\r\n\r\n"

/* A pair that keeps what is sent together apart from the rest, one read taking one packet, under a socket that was
 * made for a stream. */
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

/* A good request, the row's with its first part in the same packet, the rest in packets of step bytes, and after it
 * another good one: then nothing of this one has been left or taken. */
static void say_row(const Row *row, size_t first, size_t step)
{
	char packet[1024] = GOOD;
	size_t at;

	memcpy(packet + strlen(GOOD), row->input, first);
	say_bytes(packet, strlen(GOOD) + first);
	for (at = first; at < row->n; at += step)
		say_bytes(row->input + at, step < row->n - at ? step : row->n - at);
	say(GOOD);
	hush();
}

/* The status; 0 if it is accepted */
static int status_behind_a_good_one(const Row *row, size_t first, size_t step)
{
	volatile int status = 0;

	open_packets();
	Arena_clear(arena);
	say_row(row, first, step);
	ck_assert_str_eq(HTTPRequest_path(parse()), "/good");
	answer("good");
	TRY {
		int more = HTTPRequest_keep_alive(parse());

		answer("accepted");
		if (more)
			ck_assert_str_eq(HTTPRequest_path(parse()), "/good");
	} EXCEPT(HTTP_Failed) {
		status = HTTP_status(Except_current());
	} END_TRY;
	if (status != 0)
		ck_raises(HTTP_Closed, parse());
	return status;
}

static void check_row(const Row *row)
{
	size_t first;

	ck_assert_msg(status_behind_a_good_one(row, 0, 1) == row->status, "%s, byte by byte", row->sentence);
	for (first = 0; first <= row->n; first++)
		ck_assert_msg(status_behind_a_good_one(row, first, row->n) == row->status, "%s, cut after %zu bytes",
			row->sentence, first);
}

TEST(what_is_refused_is_refused_behind_a_good_request_too_however_it_is_cut, .to = COUNT(refused))
{
	check_row(&refused[_i]);
}

TEST(what_is_accepted_is_accepted_between_good_requests_however_it_is_cut, .to = COUNT(accepted))
{
	check_row(&accepted[_i]);
}

TEST(the_refusal_of_a_HEAD_has_no_body)
{
	say("HEAD / HTTP/1.1\r\n\r\n");
	hush();
	ck_raises(HTTP_Bad_Request, parse());
	answer("no Host");
	hear();
	ck_assert(has("Content-Length: 7\r\n"));
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
	ck_raises(HTTP_Content_Too_Large, parse());
	answer("too large"); /* while most of it is still to come */
	Socket_close(&server);
	join_writer(&w);
	hear_all();
	ck_assert(has("too large"));
}

/* ---- limits ---- */

static int status_with(HTTP_Limits limits, const char *input)
{
	const Except_T *e;
	int status;

	open_pair();
	say(input);
	e = parse_raises(&limits);
	status = e ? HTTP_status(e) : 0;
	close_pair();
	return status;
}

TEST(each_limit_holds_to_the_byte)
{
	HTTP_Limits limits = { .request_line = 40, .header_bytes = 60, .header_count = 3, .body_bytes = 10 };
	static const char xs[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
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
		sprintf(input, POST HOST TE "\r\n4\r\nxxxx\r\n%x\r\n%.*s\r\n0\r\n\r\n", (unsigned)(6 + more), 6 + more, xs);
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

CASE("end and time", .setup = setup, .teardown = teardown);

TEST(a_peer_that_leaves_between_requests_is_HTTP_Closed)
{
	hush();
	ck_raises(HTTP_Closed, parse());
	ck_raises(HTTP_Closed, parse());
}

TEST(a_peer_that_leaves_after_an_empty_line_is_HTTP_Closed)
{
	say("\r\n");
	hush();
	ck_raises(HTTP_Closed, parse());
}

static const char whole_request[] = POST "Host: a\r\nX: y\r\nX: z\r\n" TE "\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n";
static const char whole_request_by_length[] = POST "Host: a\r\nContent-Length: 5\r\n\r\nhello";

static void leave_at_every_byte(const char *request)
{
	size_t n;

	close_pair();
	for (n = 1; n < strlen(request); n++) {
		const Except_T *e;

		open_pair();
		say_bytes(request, n);
		hush();
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
	say("GET / HTTP");
	hush();
	ck_raises_saying(HTTP_Bad_Request, "closed after 10 bytes of the request head", parse());
	close_pair();
	open_pair();
	say(POST HOST "Content-Length: 5\r\n\r\nhel");
	hush();
	ck_raises_saying(HTTP_Bad_Request, "closed after 3 bytes of the request body", parse());
}

TEST(no_byte_in_the_sockets_timeout_is_Socket_Timeout_and_the_connection_lives)
{
	Socket_set_timeout(server, 20);
	ck_raises(Socket_Timeout, parse());
	ck_raises(Socket_Timeout, parse());
	ck_assert_str_eq(HTTPRequest_method(parse_saying(GET HOST "\r\n")), "GET");
	answer("x");
	ck_raises(Socket_Timeout, parse());
}

static void check_timeout(const HTTP_Limits *limits, const char *text, const char *saying)
{
	say(text);
	TRY {
		HTTPRequest_parse_with(arena, server, limits);
		ck_abort_msg("\"%s\" did not time out", text);
	} EXCEPT(HTTP_Timeout) {
		ck_assert_ptr_eq(Except_cause(1), &Socket_Timeout);
		ck_assert_msg(strstr(Except_message(), saying) != NULL, "%s", Except_message());
	} END_TRY;
	ck_raises(HTTP_Closed, parse());
	close_pair();
	open_pair();
}

/* RFC 9112, 2.2: the clock of a request begins with its first line. The connection stays as it was, half an empty line
 * too. */
TEST(an_empty_line_is_no_request_begun, .to = 3)
{
	static const char *const before[] = { "\r\n", "\r", "\r\n\r\n\r" };
	static const char *const then[] = { "", "\n", "\n" };
	HTTP_Limits limits = { .head_ms = 20 };

	Socket_set_timeout(server, 60);
	say(before[_i]);
	ck_raises(Socket_Timeout, HTTPRequest_parse_with(arena, server, &limits));
	ck_raises(Socket_Timeout, HTTPRequest_parse_with(arena, server, &limits));
	say(then[_i]);
	ck_assert_str_eq(HTTPRequest_target(parse_saying("GET /later HTTP/1.1\r\n" HOST "\r\n")), "/later");
	answer("ok");
	ck_assert_ptr_nonnull(strstr(hear(), "200 OK"));
	say("\r\n");
	hush();
	ck_raises(HTTP_Closed, parse());
}

TEST(a_request_that_comes_too_slowly_is_HTTP_Timeout)
{
	HTTP_Limits limits = { .head_ms = 30, .body_ms = 30 };

	check_timeout(&limits, "G", "1 bytes of the request's head");
	check_timeout(&limits, GET "Host: a\r", "of the request's head");
	check_timeout(&limits, POST HOST "Content-Length: 5\r\n\r\nhel", "3 bytes of the request's body");
	check_timeout(&limits, POST HOST TE "\r\n5\r\nhel", "3 bytes of the request's body");
	check_timeout(&limits, POST HOST TE "\r\n0\r\nX: y", "0 bytes of the request's body");
}

static void *trickle(void *cl)
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

	pthread_create(&thread, NULL, trickle, &client);
	ck_raises(HTTP_Timeout, HTTPRequest_parse_with(arena, server, &limits));
	Socket_close(&server);
	pthread_join(thread, NULL);
}

TEST(a_reset_connection_is_Socket_Closed)
{
	struct linger reset = { 1, 0 };

	use_tcp();
	say("GET / HT");
	setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(client);
	client = -1;
	ck_raises(Socket_Failed, parse());
}

/* ---- the request ---- */

CASE("request", .setup = setup, .teardown = teardown);

TEST(a_request_is_what_was_sent)
{
	HTTPRequest_T r = parse_saying("PUT /a%20b/../c?d=%20&e HTTP/1.1\r\nHost: h:80\r\nContent-Length: 4\r\nX-Empty:\r\n\r\nbody");

	ck_assert_str_eq(HTTPRequest_method(r), "PUT");
	ck_assert_str_eq(HTTPRequest_target(r), "/a%20b/../c?d=%20&e");
	ck_assert_str_eq(HTTPRequest_path(r), "/c");
	ck_assert_str_eq(HTTPRequest_query(r), "d=%20&e");
	ck_assert_str_eq(HTTPRequest_version(r), "HTTP/1.1");
	ck_assert_str_eq(HTTPRequest_header(r, "hOST"), "h:80");
	ck_assert_str_eq(HTTPRequest_header(r, "X-Empty"), "");
	ck_assert_ptr_null(HTTPRequest_header(r, "Absent"));
	ck_assert_uint_eq(HashTable_length(HTTPRequest_headers(r)), 3);
	ck_assert_str_eq(HashTable_get(HTTPRequest_headers(r), "content-length"), "4");
	ck_assert(body_is(r, "body"));
	ck_assert_ptr_eq(HTTPRequest_arena(r), arena);
	ck_assert(HTTPRequest_keep_alive(r));
}

TEST(a_request_without_query_or_body_has_empty_ones)
{
	HTTPRequest_T r = parse_saying("get / HTTP/1.0\r\n\r\n");
	size_t n;

	ck_assert_str_eq(HTTPRequest_method(r), "get");
	ck_assert_str_eq(HTTPRequest_query(r), "");
	ck_assert_str_eq(HTTPRequest_version(r), "HTTP/1.0");
	ck_assert_ptr_nonnull(HTTPRequest_body(r, &n));
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_eq(HashTable_length(HTTPRequest_headers(r)), 0);
	ck_assert(!HTTPRequest_keep_alive(r));
}

static const struct {
	const char *line, *path, *query, *host;
} targets[] = {
	{ "GET http://b:1/c/d?e HTTP/1.1\r\n", "/c/d", "e", "b:1" },
	{ "GET HTTPS://b HTTP/1.1\r\n", "/", "", "b" },
	{ "GET http://b?e=/f HTTP/1.1\r\n", "/", "e=/f", "b" },
	{ "OPTIONS * HTTP/1.1\r\n", "*", "", "a" },
	{ "OPTIONS http://b HTTP/1.1\r\n", "*", "", "b" },
	{ "OPTIONS http://b/ HTTP/1.1\r\n", "/", "", "b" },
	{ "OPTIONS http://b? HTTP/1.1\r\n", "*", "", "b" },
	{ "OPTIONS /x HTTP/1.1\r\n", "/x", "", "a" },
	{ "GET //evil.example/%2e/x HTTP/1.1\r\n", "/evil.example/x", "", "a" },
	{ "GET /? HTTP/1.1\r\n", "/", "", "a" },
	{ "GET /a??b HTTP/1.1\r\n", "/a", "?b", "a" },
};

TEST(the_target_gives_path_query_and_host, .to = COUNT(targets))
{
	HTTPRequest_T r;

	say(targets[_i].line);
	r = parse_saying(HOST "\r\n");
	ck_assert_str_eq(HTTPRequest_path(r), targets[_i].path);
	ck_assert_str_eq(HTTPRequest_query(r), targets[_i].query);
	ck_assert_str_eq(HTTPRequest_header(r, "Host"), targets[_i].host);
}

TEST(repeated_fields_are_joined_and_cookies_with_a_semicolon)
{
	HTTPRequest_T r = parse_saying(POST HOST "Accept: a\r\nCookie: x=1\r\nACCEPT:  b \r\nX: 1\r\naccept:\r\nCookie: y=2\r\n"
		"Accept: a much longer value than all those before it, so that the text has to move elsewhere\r\n"
		"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok");

	ck_assert_str_eq(HTTPRequest_header(r, "Accept"),
		"a, b, , a much longer value than all those before it, so that the text has to move elsewhere");
	ck_assert_str_eq(HTTPRequest_header(r, "Cookie"), "x=1; y=2");
	ck_assert_str_eq(HTTPRequest_header(r, "X"), "1");
	ck_assert_str_eq(HTTPRequest_header(r, "Content-Length"), "2");
	ck_assert(body_is(r, "ok"));
}

TEST(a_head_full_of_one_field_takes_no_more_than_a_few_times_its_size)
{
	static char input[40000];
	HTTP_Limits limits = { .header_count = 10000 };
	char *end = input + sprintf(input, GET HOST);
	HTTPRequest_T r;
	size_t n = 0;

	for (; end < input + 32000; n++)
		end += sprintf(end, "%c:\r\n", "AB"[n % 2]);
	sprintf(end, "\r\n");
	say(input);
	r = HTTPRequest_parse_with(arena, server, &limits);
	ck_assert_uint_eq(strlen(HTTPRequest_header(r, "a")), (n / 2 - 1) * 2);
	ck_assert_uint_lt(Arena_used(arena), 8 * 32768);
}

static const struct {
	const char *request, *body;
} bodies[] = {
	{ POST HOST "Content-Length: 5\r\n\r\nhello", "hello" },
	{ POST HOST TE "\r\n1\r\nh\r\n004;x=y\r\nello\r\n0\r\n\r\n", "hello" },
	{ POST HOST TE "\r\n0\r\nContent-Length: 7\r\nX: y\r\n\r\n", "" },
	{ POST HOST TE "\r\nA\r\n0\r\n\r\nGET /\r\n0\r\n\r\n", "0\r\n\r\nGET /" },
	{ "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "ab" },
	{ "\r\n\r\n" GET HOST "Content-Length: 2\r\n\r\nab", "ab" },
};

TEST(a_body_is_decoded_and_what_follows_it_stays, .to = COUNT(bodies))
{
	HTTPRequest_T r;

	say(bodies[_i].request);
	r = parse_saying("GET /next HTTP/1.1\r\n" HOST "\r\n");
	ck_assert(body_is(r, bodies[_i].body));
	ck_assert_ptr_null(HTTPRequest_header(r, "X"));
	if (HTTPRequest_keep_alive(r))
		ck_assert_str_eq(HTTPRequest_path(parse()), "/next");
}

/* ---- queries and forms ---- */

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"

static const struct {
	const char *text, *pairs;
} forms[] = {
	{ "", "" }, { "&", "" }, { "&&&", "" }, { "a=b", "<a=b>" }, { "a", "<a=>" }, { "a=", "<a=>" }, { "=b", "<=b>" }, { "=", "<=>" },
	{ "a=b&c=d", "<a=b><c=d>" }, { "&a=b&&c=d&", "<a=b><c=d>" }, { "a&b&c", "<a=><b=><c=>" }, { "a=b=c", "<a=b=c>" },
	{ "a=1&b=2&a=3&A=4", "<a=1><b=2><a=3><A=4>" }, { "a=b;c=d", "<a=b;c=d>" },
	{ "a+b=c++d", "<a b=c  d>" }, { "a%20b=%2B%26%3d%3D", "<a b=+&==>" }, { "%61=%41%7e", "<a=A~>" },
	{ "a=%252e", "<a=%2e>" }, { "a=%c3%A4", "<a=\xc3\xa4>" }, { "a=%ff", "<a=\xff>" }, { "a=%0d%0A", "<a=\r\n>" },
	{ "a=/b/../c?d", "<a=/b/../c?d>" },
	{ "%", NULL }, { "a=%", NULL }, { "a=%4", NULL }, { "a=%4&b=c", NULL }, { "a=%zz", NULL }, { "a=%4g", NULL }, { "a=%g4", NULL },
	{ "a=%-1", NULL }, { "a=% 1", NULL }, { "a=%+1", NULL }, { "a=%u0041", NULL }, { "a=%00", NULL }, { "%00=b", NULL },
	{ "a=b&c=%", NULL }, { "a%=b", NULL },
};

static const char *pairs_of(const HTTP_Param *pairs, size_t n)
{
	static char text[256];
	char *end = text;
	size_t i;

	*end = '\0';
	for (i = 0; i < n; i++)
		end += sprintf(end, "<%s=%s>", pairs[i].name, pairs[i].value);
	return text;
}

static HTTPRequest_T request_with(const char *query, const char *fields, const char *body)
{
	char text[1024];

	sprintf(text, "POST /?%s HTTP/1.1\r\n" HOST "%sContent-Length: %zu\r\n\r\n%s", query, fields, strlen(body), body);
	return parse_saying(text);
}

TEST(a_query_is_pairs_in_the_order_sent_or_is_refused, .to = COUNT(forms))
{
	const char *text = forms[_i].text;
	size_t n;
	HTTPRequest_T r;

	if (strchr(text, ' '))
		return; /* not in a target */
	r = request_with(text, "", "");
	if (forms[_i].pairs) {
		const HTTP_Param *pairs = HTTPRequest_query_params(r, &n);

		ck_assert_str_eq(pairs_of(pairs, n), forms[_i].pairs);
		ck_assert_ptr_eq(HTTPRequest_query_params(r, &n), pairs);
	} else {
		ck_raises_saying(HTTP_Bad_Request, "in the query: \"%", HTTPRequest_query_params(r, &n));
		ck_raises(HTTP_Bad_Request, HTTPRequest_query_param(r, "not there"));
	}
	ck_assert_str_eq(HTTPRequest_query(r), text);
	answer("and the connection goes on");
	ck_assert_str_eq(HTTPRequest_path(request_with("", "", "")), "/");
}

TEST(a_form_is_pairs_in_the_order_sent_or_is_refused, .to = COUNT(forms))
{
	HTTPRequest_T r = request_with("", FORM, forms[_i].text);
	size_t n;

	if (forms[_i].pairs) {
		const HTTP_Param *pairs = HTTPRequest_form_params(r, &n);

		ck_assert_str_eq(pairs_of(pairs, n), forms[_i].pairs);
		ck_assert_ptr_eq(HTTPRequest_form_params(r, &n), pairs);
	} else {
		ck_raises_saying(HTTP_Bad_Request, "in the form: \"%", HTTPRequest_form_params(r, &n));
		ck_raises(HTTP_Bad_Request, HTTPRequest_form_param(r, "not there"));
	}
}

TEST(a_pair_is_found_by_its_name_the_first_of_several)
{
	HTTPRequest_T r = request_with("a=1&b=2&a=3&%63=4&d", FORM, "a=5&e=6");

	ck_assert_str_eq(HTTPRequest_query_param(r, "a"), "1");
	ck_assert_str_eq(HTTPRequest_query_param(r, "b"), "2");
	ck_assert_str_eq(HTTPRequest_query_param(r, "c"), "4");
	ck_assert_str_eq(HTTPRequest_query_param(r, "d"), "");
	ck_assert_ptr_null(HTTPRequest_query_param(r, "A"));
	ck_assert_ptr_null(HTTPRequest_query_param(r, "e"));
	ck_assert_str_eq(HTTPRequest_form_param(r, "a"), "5");
	ck_assert_str_eq(HTTPRequest_form_param(r, "e"), "6");
	ck_assert_ptr_null(HTTPRequest_form_param(r, "b"));
}

static const struct {
	const char *fields;
	int is_form;
} types[] = {
	{ FORM, 1 }, { "content-type: Application/X-WWW-Form-URLEncoded; charset=UTF-8\r\n", 1 },
	{ "Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n", 1 }, { "", 0 }, { "Content-Type:\r\n", 0 },
	{ "Content-Type: text/plain\r\n", 0 }, { "Content-Type: application/x-www-form-urlencoded2\r\n", 0 },
	{ "Content-Type: multipart/form-data; boundary=b\r\n", 0 },
};

TEST(only_a_body_of_that_type_is_a_form, .to = COUNT(types))
{
	HTTPRequest_T r = request_with("", types[_i].fields, "a=b");
	size_t n;

	HTTPRequest_form_params(r, &n);
	ck_assert_uint_eq(n, types[_i].is_form);
}

TEST(a_form_may_come_in_chunks_and_a_NUL_in_it_is_refused)
{
	static const char nul[] = POST HOST FORM "Content-Length: 5\r\n\r\na=b\0c";
	HTTPRequest_T r = parse_saying(POST HOST FORM TE "\r\n4\r\na=%4\r\n5\r\n1&b=c\r\n0\r\n\r\n");

	ck_assert_str_eq(HTTPRequest_form_param(r, "a"), "A");
	ck_assert_str_eq(HTTPRequest_form_param(r, "b"), "c");
	answer("");
	say_bytes(nul, sizeof nul - 1);
	r = parse();
	ck_raises_saying(HTTP_Bad_Request, "a NUL in the form: \"\\x00c\"", HTTPRequest_form_param(r, "a"));
}

/* c as a client may send it: escaped, or as it is if that means the same */
static int encode(char *out, int c, int escape)
{
	if (c == ' ' && !escape)
		return sprintf(out, "+");
	if (escape || strchr("%+&=", c))
		return sprintf(out, escape & 2 ? "%%%02X" : "%%%02x", (unsigned)c);
	*out = (char)c;
	return 1;
}

TEST(every_byte_but_NUL_is_decoded_to_itself_at_every_place)
{
	static char body[1 << 16], text[128];
	HTTPRequest_T r;
	const HTTP_Param *pairs;
	char *end = body;
	size_t n, i;
	int c, escape;

	for (escape = 0; escape < 4; escape++)
		for (c = 1; c < 256; c++) {
			end += encode(end, c, escape);
			end += sprintf(end, "x=y");
			end += encode(end, c, escape);
			*end++ = '&';
		}
	*end = '\0';
	sprintf(text, POST HOST FORM "Content-Length: %zu\r\n\r\n", (size_t)(end - body));
	say(text);
	say(body);
	r = parse();
	pairs = HTTPRequest_form_params(r, &n);
	ck_assert_uint_eq(n, 4 * 255);
	for (i = 0; i < n; i++) {
		const char name[] = { (char)(i % 255 + 1), 'x', 0 }, value[] = { 'y', (char)(i % 255 + 1), 0 };

		ck_assert_str_eq(pairs[i].name, name);
		ck_assert_str_eq(pairs[i].value, value);
	}
}

TEST(an_explanation_of_a_malformed_query_shows_where_it_is_malformed)
{
	HTTPRequest_T r = request_with("a=b&c=100%&d=e", "", "");

	ck_raises_saying(HTTP_Bad_Request, "a malformed escape in the query: \"%&d=e\"", HTTPRequest_query_param(r, "a"));
}

TEST(a_request_that_comes_byte_by_byte_is_the_same)
{
	Writer w = { 0 };
	HTTPRequest_T r;

	use_tcp();
	start_writer(&w, whole_request, sizeof whole_request - 1, 1);
	r = parse();
	join_writer(&w);
	ck_assert(body_is(r, "hello"));
	ck_assert_str_eq(HTTPRequest_header(r, "X"), "y, z");
}

enum { LARGE = 1024 * 1024 };

static void check_large(HTTPRequest_T r)
{
	size_t n, i;
	const char *body = HTTPRequest_body(r, &n);

	ck_assert_uint_eq(n, LARGE);
	for (i = 0; i < n; i++)
		if (body[i] != (char)(i * 7 >> 3))
			ck_abort_msg("byte %zu is wrong", i);
	ck_assert_int_eq(body[n], 0);
}

TEST(a_body_of_a_mebibyte_arrives_whole)
{
	static char request[LARGE + 200];
	size_t n = (size_t)sprintf(request, POST HOST "Content-Length: %d\r\n\r\n", LARGE), i;
	Writer w = { 0 };

	for (i = 0; i < LARGE; i++)
		request[n++] = (char)(i * 7 >> 3);
	n += (size_t)sprintf(request + n, "GET /next HTTP/1.1\r\n" HOST "\r\n");
	start_writer(&w, request, n, SIZE_MAX);
	check_large(parse());
	ck_assert_str_eq(HTTPRequest_path(parse()), "/next");
	join_writer(&w);
}

TEST(chunks_of_a_mebibyte_arrive_whole)
{
	static char request[LARGE + LARGE / 8];
	size_t n = (size_t)sprintf(request, POST HOST TE "\r\n"), at = 0, size = 1, i;
	Writer w = { 0 };

	for (; at < LARGE; at += size, size = size * 3 % 10007) {
		if (size > LARGE - at)
			size = LARGE - at;
		n += (size_t)sprintf(request + n, "%zx\r\n", size);
		for (i = 0; i < size; i++)
			request[n++] = (char)((at + i) * 7 >> 3);
		n += (size_t)sprintf(request + n, "\r\n");
	}
	n += (size_t)sprintf(request + n, "0\r\n\r\nGET /next HTTP/1.1\r\n" HOST "\r\n");
	ck_assert_uint_lt(n, sizeof request);
	start_writer(&w, request, n, 5000);
	check_large(parse());
	ck_assert_str_eq(HTTPRequest_path(parse()), "/next");
	join_writer(&w);
}

/* ---- Expect: 100-continue ---- */

typedef struct Patient { /* a client that waits for the interim response before it sends the body */
	pthread_t thread;
	int fd;
	char seen[64];
} Patient;

static void *wait_for_continue(void *cl)
{
	Patient *p = cl;
	ssize_t n = recv(p->fd, p->seen, sizeof p->seen - 1, 0);

	p->seen[n > 0 ? n : 0] = '\0';
	if (send(p->fd, "hello", 5, MSG_NOSIGNAL) != 5)
		p->seen[0] = '\0';
	return NULL;
}

TEST(a_client_that_waits_for_100_gets_it)
{
	Patient p = { .fd = client };
	HTTPRequest_T r;

	pthread_create(&p.thread, NULL, wait_for_continue, &p);
	r = parse_saying(POST HOST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\n");
	pthread_join(p.thread, NULL);
	ck_assert_str_eq(p.seen, "HTTP/1.1 100 Continue\r\n\r\n");
	ck_assert(body_is(r, "hello"));
}

static const char *const no_continue[] = {
	POST HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
	POST HOST "Expect: 100-continue\r\n" TE "\r\n0\r\n\r\n",
	POST HOST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
	GET HOST "Expect: 100-continue\r\n\r\n",
	POST HOST "Expect: something-else\r\nContent-Length: 5\r\n\r\nhello",
};

TEST(a_body_that_is_there_already_or_never_comes_is_not_asked_for, .to = COUNT(no_continue))
{
	parse_saying(no_continue[_i]);
	ck_assert_str_eq(hear(), "");
}

TEST(an_HTTP_1_0_client_gets_no_100)
{
	HTTP_Limits limits = { .body_ms = 20 };

	say("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
	ck_raises(HTTP_Timeout, HTTPRequest_parse_with(arena, server, &limits));
	ck_assert_str_eq(hear(), "");
}

TEST(a_body_over_the_limit_is_refused_at_once_instead_of_100)
{
	say(POST HOST "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n");
	ck_raises(HTTP_Content_Too_Large, parse());
	ck_assert_str_eq(hear(), "");
}

/* ---- connections ---- */

CASE("connections", .setup = setup, .teardown = teardown);

TEST(a_pipeline_of_sixteen_is_answered_in_order)
{
	char text[64];
	int i;

	for (i = 0; i < 16; i++) {
		sprintf(text, "%s /%d HTTP/1.1\r\n" HOST "%s\r\n", i % 3 ? "GET" : "POST", i, i % 3 ? "" : "Content-Length: 2\r\n");
		say(text);
		if (i % 3 == 0)
			say("ab");
	}
	for (i = 0; i < 16; i++) {
		HTTPRequest_T r = parse();

		sprintf(text, "/%d", i);
		ck_assert_str_eq(HTTPRequest_path(r), text);
		ck_assert_uint_eq(Socket_pending(server) > 0, i < 15);
		answer(text);
		hear();
		ck_assert_str_eq(strstr(reply, "\r\n\r\n") + 4, text);
	}
	Socket_set_timeout(server, 10);
	ck_raises(Socket_Timeout, parse());
}

TEST(memory_stays_flat_over_a_thousand_requests_on_one_connection)
{
	size_t capacity = 0;
	int i;

	for (i = 0; i < 1000; i++) {
		HTTPRequest_T r = parse_saying(whole_request);

		ck_assert(body_is(r, "hello"));
		answer("a reply");
		hear();
		ck_assert(has("a reply"));
		Arena_clear(arena);
		if (i == 10)
			capacity = Arena_capacity(arena);
	}
	ck_assert_uint_eq(Arena_capacity(arena), capacity);
}

static const struct {
	const char *request;
	int keeps;
	const char *connection; /* line of the response; "": none */
} connections[] = {
	{ GET HOST "\r\n", 1, "" },
	{ GET HOST "Connection: keep-alive\r\n\r\n", 1, "" },
	{ GET HOST "Connection: Close\r\n\r\n", 0, "\r\nConnection: close\r\n" },
	{ GET HOST "Connection: keep-alive, close\r\n\r\n", 0, "\r\nConnection: close\r\n" },
	{ "GET / HTTP/1.0\r\n\r\n", 0, "\r\nConnection: close\r\n" },
	{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 1, "\r\nConnection: keep-alive\r\n" },
};

TEST(the_connection_goes_on_or_ends_as_the_client_asked, .to = COUNT(connections))
{
	HTTPRequest_T r = parse_saying(connections[_i].request);

	ck_assert_int_eq(HTTPRequest_keep_alive(r) != 0, connections[_i].keeps);
	answer("x");
	hear();
	if (*connections[_i].connection)
		ck_assert_msg(has(connections[_i].connection), "%s", reply);
	else
		ck_assert(!has("Connection"));
	if (connections[_i].keeps)
		ck_assert_str_eq(HTTPRequest_method(parse_saying(GET HOST "\r\n")), "GET");
	else
		ck_raises(HTTP_Closed, parse());
}

TEST(a_response_that_says_close_ends_the_connection)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	say(GET HOST "\r\n");
	parse_saying(GET HOST "\r\n");
	hush();
	HTTPResponse_set(response, "connection", "Close");
	HTTPResponse_send(server, response);
	hear();
	ck_assert(has("\r\nConnection: close\r\n"));
	ck_assert(!has("connection"));
	ck_assert(at_end());
	ck_raises(HTTP_Closed, parse());
}

TEST(another_connection_option_is_sent_as_it_is)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	parse_saying(GET HOST "\r\n");
	HTTPResponse_set(response, "Connection", "X-Hop, not-close");
	HTTPResponse_send(server, response);
	hear();
	ck_assert(has("\r\nConnection: X-Hop, not-close\r\n"));
}

TEST(a_response_that_nobody_asked_for_ends_the_connection)
{
	answer("busy");
	hear();
	ck_assert(has("\r\nConnection: close\r\n"));
	ck_raises(HTTP_Closed, parse());
}

TEST(a_response_that_cannot_be_sent_ends_the_connection)
{
	parse_saying(GET HOST "\r\n");
	close(client);
	client = -1;
	ck_raises(Socket_Closed, answer("x"));
	ck_raises(HTTP_Closed, parse());
}

/* ---- the response ---- */

CASE("response", .setup = setup, .teardown = teardown);

static HTTPResponse_T asked(const char *request)
{
	parse_saying(request);
	return HTTPResponse_new(arena);
}

TEST(a_new_response_is_200_without_fields_or_body)
{
	HTTPResponse_send(server, asked(GET HOST "\r\n"));
	hear();
	ck_assert_ptr_eq(strstr(reply, "HTTP/1.1 200 OK\r\nDate: "), reply);
	ck_assert_str_eq(reply + strlen("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "Content-Length: 0\r\n\r\n");
}

TEST(the_date_is_now_in_the_form_of_RFC_9110)
{
	char expected[64];
	time_t now, then;
	struct tm tm;

	do {
		now = time(NULL);
		HTTPResponse_send(server, asked(GET HOST "\r\n"));
		hear();
		then = time(NULL);
	} while (now != then);
	gmtime_r(&now, &tm);
	strftime(expected, sizeof expected, "\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
	ck_assert_msg(has(expected), "%s", reply);
}

/* The library's time() is this one. */
static int at_the_epoch;

__attribute__((visibility("default"))) time_t time(time_t *t)
{
	struct timespec now = { 0, 0 };

	if (!at_the_epoch)
		clock_gettime(CLOCK_REALTIME, &now);
	if (t)
		*t = now.tv_sec;
	return now.tv_sec;
}

static void *send_ok(void *cl)
{
	(void)cl;
	HTTPResponse_send(server, asked(GET HOST "\r\n"));
	return NULL;
}

TEST(the_date_of_the_epoch_is_a_date)
{
	pthread_t thread; /* a new one has made no date yet */

	at_the_epoch = 1;
	ck_assert_int_eq(pthread_create(&thread, NULL, send_ok, NULL), 0);
	pthread_join(thread, NULL);
	at_the_epoch = 0;
	hear();
	ck_assert_msg(has("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), "%s", reply);
}

TEST(a_request_and_its_response_leave_errno_as_it_was)
{
	HTTPRequest_T r;

	errno = EDOM;
	r = parse_saying(POST HOST "X: y\r\n" TE "\r\n5\r\nhello\r\n0\r\n\r\n");
	ck_assert_int_eq(errno, EDOM);
	HTTPRequest_header(r, "x");
	HTTPRequest_peer(r);
	answer("ok");
	ck_assert_int_eq(errno, EDOM);
	parse_saying(GET HOST "Connection: close\r\n\r\n");
	hush();
	answer("ok");
	ck_assert_int_eq(errno, EDOM);
}

EXCEPT_DEFINE(No_Such_Note, &HTTP_Not_Found, "no such note");
EXCEPT_DEFINE(No_Such_Page, &No_Such_Note, "no such page");

TEST(a_kind_has_the_status_of_its_nearest_ancestor)
{
	ck_assert_int_eq(HTTP_status(&No_Such_Note), 404);
	ck_assert_int_eq(HTTP_status(&No_Such_Page), 404);
	ck_assert_int_eq(HTTP_status(&HTTP_Failed), 500);
}

TEST(a_request_keeps_a_pointer_of_the_program_and_has_no_route_without_a_server)
{
	HTTPRequest_T r = parse_saying(GET HOST "\r\n");
	int mine;

	ck_assert_ptr_null(HTTPRequest_data(r));
	HTTPRequest_set_data(r, &mine);
	ck_assert_ptr_eq(HTTPRequest_data(r), &mine);
	HTTPRequest_set_data(r, NULL);
	ck_assert_ptr_null(HTTPRequest_data(r));
	ck_assert_ptr_null(HTTPRequest_route(r));
}

static const struct {
	const char *text;
	size_t n;
	const char *encoded;
} encodings[] = {
	{ "", 0, "" }, { "azAZ09-._~", 10, "azAZ09-._~" }, { "a/b\\c", 5, "a%2Fb%5Cc" }, { "a b+c%", 6, "a%20b%2Bc%25" },
	{ "\0\xff\x7f?#", 5, "%00%FF%7F%3F%23" }, { "\xc3\xa4", 2, "%C3%A4" },
};

TEST(text_is_encoded_as_one_segment_of_a_path, .to = COUNT(encodings))
{
	ck_assert_str_eq(HTTP_encode(arena, encodings[_i].text, encodings[_i].n), encodings[_i].encoded);
}

static int never_more(HTTPResponse_T r, void *cl)
{
	(void)r, (void)cl;
	ck_abort_msg("more was called");
	return 0;
}

TEST(a_response_that_was_reset_is_as_new)
{
	HTTPResponse_T response = asked(GET HOST "\r\n");

	HTTPResponse_printf(response, "partial ");
	HTTPResponse_set(response, "X-A", "b");
	HTTPResponse_status(response, 503);
	HTTPResponse_length(response, 99);
	HTTPResponse_stream(response, never_more, NULL);
	HTTPResponse_reset(response);
	HTTPResponse_set(response, "X-C", "d");
	HTTPResponse_printf(response, "error");
	HTTPResponse_send(server, response);
	hear();
	ck_assert(has("HTTP/1.1 200 OK\r\n") && has("\r\nContent-Length: 5\r\n") && has("\r\nX-C: d\r\n\r\nerror"));
	ck_assert(!has("X-A"));
}

/* ---- streams of a length ---- */

typedef struct Parts {
	const char *const *part;
	int checks;
} Parts;

static int write_part(HTTPResponse_T r, void *cl)
{
	Parts *p = cl;

	if (p->checks) {
		ck_raises_saying(Assert_Failed, "being sent", HTTPResponse_reset(r));
		ck_raises_saying(Assert_Failed, "being sent", HTTPResponse_length(r, 1));
	}
	if (*p->part)
		HTTPResponse_write(r, *p->part, strlen(*p->part));
	return *p->part && *++p->part;
}

static HTTPResponse_T streamed(const char *request, Parts *parts, uint64_t length, const char *before)
{
	HTTPResponse_T response = asked(request);

	HTTPResponse_write(response, before, strlen(before));
	HTTPResponse_stream(response, write_part, parts);
	HTTPResponse_length(response, length);
	return response;
}

TEST(a_stream_of_a_length_is_sent_with_it_and_keeps_the_connection, .to = 2)
{
	static const char *const old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
	static const char *const parts[] = { "hello", ", ", "world", NULL };
	Parts p = { parts, 1 };

	HTTPResponse_send(server, streamed(_i ? old : GET HOST "\r\n", &p, 14, "> "));
	hear();
	ck_assert_msg(has("\r\nContent-Length: 14\r\n") && !has("chunked") && has("\r\n\r\n> hello, world"), "%s", reply);
	ck_assert_ptr_eq(strstr(reply, "> hello, world") + 14, reply + heard);
	ck_assert_int_eq(has("Connection: keep-alive\r\n"), _i);
	ck_assert_str_eq(HTTPRequest_target(parse_saying("GET /next HTTP/1.1\r\n" HOST "\r\n")), "/next");
}

TEST(a_stream_of_another_length_than_announced_is_broken_off, .to = 3)
{
	static const struct {
		const char *before;
		uint64_t length;
		const char *said, *sent;
	} rows[] = {
		{ "", 6, "7 bytes were written, more than the 6 announced", "\r\n\r\nhello" },
		{ "", 8, "7 bytes were written, fewer than the 8 announced", "\r\n\r\nhello" },
		{ "> ", 1, "2 bytes were written, more than the 1 announced", "" },
	};
	static const char *const parts[] = { "hello", ", ", NULL };
	Parts p = { parts, 0 };
	HTTPResponse_T response = streamed(GET HOST "\r\n", &p, rows[_i].length, rows[_i].before);
	size_t n = strlen(rows[_i].sent);

	ck_raises_saying(HTTP_Failed, rows[_i].said, HTTPResponse_send(server, response));
	hear();
	ck_assert_msg(heard >= n && strcmp(reply + heard - n, rows[_i].sent) == 0, "%s", reply);
	if (n > 0)
		ck_raises(HTTP_Closed, parse());
	else /* nothing was sent */
		ck_assert_uint_eq(heard, 0);
}

TEST(a_length_is_announced_where_no_body_is_sent, .to = 2)
{
	HTTPResponse_T response = asked("HEAD / HTTP/1.1\r\n" HOST "\r\n");

	HTTPResponse_length(response, 5000000000);
	if (_i)
		HTTPResponse_stream(response, never_more, NULL);
	HTTPResponse_send(server, response);
	ck_assert_ptr_nonnull(strstr(hear(), "\r\nContent-Length: 5000000000\r\n\r\n"));
	response = asked(GET HOST "\r\n");
	HTTPResponse_length(response, 7);
	HTTPResponse_printf(response, "body");
	HTTPResponse_send(server, response);
	ck_assert_ptr_nonnull(strstr(hear(), "\r\nContent-Length: 4\r\n"));
}

TEST(a_date_that_was_set_is_the_only_one)
{
	HTTPResponse_T response = asked(GET HOST "\r\n");

	HTTPResponse_set(response, "date", "Sun, 06 Nov 1994 08:49:37 GMT");
	HTTPResponse_send(server, response);
	hear();
	ck_assert(has("\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
	ck_assert(!has("Date:"));
}

TEST(a_field_is_replaced_in_any_case_and_keeps_its_place)
{
	HTTPResponse_T response = asked(GET HOST "\r\n");

	HTTPResponse_set(response, "X-A", "1");
	HTTPResponse_set(response, "X-B", "2");
	HTTPResponse_set(response, "x-a", "a\tlonger value \xc3\xa4");
	HTTPResponse_set(response, "X-Empty", "");
	HTTPResponse_send(server, response);
	hear();
	ck_assert(has("\r\nX-A: a\tlonger value \xc3\xa4\r\nX-B: 2\r\nX-Empty: \r\n\r\n"));
}

TEST(what_would_split_a_response_is_refused)
{
	HTTPResponse_T response = asked(GET HOST "\r\n");

	HTTPResponse_set(response, "X", "before");
	ck_raises_saying(HTTP_Failed, "value of X: \"a\\x0d\\x0aSet-Cookie: b\"", HTTPResponse_set(response, "X", "a\r\nSet-Cookie: b"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X", "a\nb"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X", "a\x1b"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X", "a\x7f"));
	ck_raises_saying(HTTP_Failed, "\"X Y\"", HTTPResponse_set(response, "X Y", "a"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X:", "a"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X\r\nY", "a"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "", "a"));
	HTTPResponse_send(server, response);
	hear();
	ck_assert(has("\r\nX: before\r\n\r\n"));
}

TEST(framing_is_not_for_the_program_to_set)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	ck_raises_saying(Assert_Failed, "content-LENGTH", HTTPResponse_set(response, "content-LENGTH", "5"));
	ck_raises(Assert_Failed, HTTPResponse_set(response, "Transfer-Encoding", "chunked"));
}

TEST(a_status_is_200_to_599)
{
	HTTPResponse_T response = asked(GET HOST "\r\n");

	ck_raises_saying(Assert_Failed, "199", HTTPResponse_status(response, 199));
	ck_raises(Assert_Failed, HTTPResponse_status(response, 600));
	ck_raises(Assert_Failed, HTTPResponse_status(response, 100));
	HTTPResponse_status(response, 599);
	HTTPResponse_send(server, response);
	ck_assert_ptr_eq(strstr(hear(), "HTTP/1.1 599 \r\n"), reply);
}

TEST(a_body_is_all_that_was_written_and_printed)
{
	HTTPResponse_T response = asked(GET HOST "\r\n");
	char expected[9000], line[64], *end = expected;
	size_t n;
	int i;

	HTTPResponse_write(response, NULL, 0);
	HTTPResponse_printf(response, "%s", "");
	for (i = 0; i < 500; i++) {
		HTTPResponse_printf(response, "%d, ", i);
		HTTPResponse_write(response, "ab\0c", 3 + (size_t)(i % 2));
		end += sprintf(end, "%d, ab", i);
		*end++ = '\0';
		if (i % 2)
			*end++ = 'c';
	}
	HTTPResponse_printf(response, "%1500s", "x");
	end += sprintf(end, "%1500s", "x");
	HTTPResponse_send(server, response);
	hear();
	n = (size_t)(end - expected);
	sprintf(line, "\r\nContent-Length: %zu\r\n\r\n", n);
	ck_assert(has(line));
	ck_assert_uint_gt(heard, n);
	ck_assert_mem_eq(reply + heard - n, expected, n);
}

static const char *const nothing_wide = "%ls";

TEST(printf_of_what_cannot_be_printed_raises_and_adds_nothing)
{
	HTTPResponse_T response = asked(GET HOST "\r\n");
	static const wchar_t no_character[] = { (wchar_t)0x7FFFFFFE, 0 };
	void (*print)(HTTPResponse_T, const char *, ...) = HTTPResponse_printf;

	HTTPResponse_write(response, "ab", 2);
	ck_raises_saying(HTTP_Failed, "HTTPResponse_printf: the format \"%ls\" cannot be printed",
		print(response, nothing_wide, no_character));
	HTTPResponse_write(response, "c", 1);
	HTTPResponse_send(server, response);
	hear();
	ck_assert(has("\r\nContent-Length: 3\r\n"));
	ck_assert_str_eq(strstr(reply, "\r\n\r\n") + 4, "abc");
}

typedef struct Sender { /* the server's end in a thread */
	pthread_t thread;
	size_t nbytes;
} Sender;

static char *pattern(size_t n)
{
	char *bytes = malloc(n);
	size_t i;

	for (i = 0; i < n; i++)
		bytes[i] = (char)(i * 7 >> 3);
	return bytes;
}

static void *send_large(void *cl)
{
	Sender *s = cl;
	HTTPResponse_T response = HTTPResponse_new(arena);
	char *bytes = pattern(s->nbytes);
	size_t at;

	for (at = 0; at < s->nbytes; at += 4096)
		HTTPResponse_write(response, bytes + at, 4096);
	free(bytes);
	HTTPResponse_send(server, response);
	Socket_close(&server);
	return NULL;
}

TEST(a_large_body_arrives_whole)
{
	Sender s = { .nbytes = 4 << 20 };
	size_t room = s.nbytes + 1000, n = 0;
	char *got = malloc(room), *expected = pattern(s.nbytes);
	ssize_t more;

	use_tcp();
	parse_saying(GET HOST "Connection: close\r\n\r\n");
	hush();
	pthread_create(&s.thread, NULL, send_large, &s);
	while ((more = recv(client, got + n, room - n, 0)) > 0)
		n += (size_t)more;
	pthread_join(s.thread, NULL);
	ck_assert_uint_gt(n, s.nbytes);
	ck_assert(memcmp(got + n - s.nbytes, expected, s.nbytes) == 0);
	free(expected);
	free(got);
}

/* ---- framing ---- */

static const struct {
	const char *method;
	int status;
	const char *body;
	const char *length; /* the value of Content-Length; NULL: no such line */
	int has_body;
} framings[] = {
	{ "GET", 200, "hello", "5", 1 },
	{ "GET", 200, "", "0", 0 },
	{ "GET", 404, "hello", "5", 1 },
	{ "HEAD", 200, "hello", "5", 0 },
	{ "HEAD", 200, "", NULL, 0 },
	{ "head", 200, "hello", "5", 1 },
	{ "GET", 204, "hello", NULL, 0 },
	{ "GET", 204, "", NULL, 0 },
	{ "GET", 205, "hello", "0", 0 },
	{ "GET", 205, "", "0", 0 },
	{ "GET", 304, "hello", "5", 0 },
	{ "GET", 304, "", NULL, 0 },
	{ "HEAD", 304, "", NULL, 0 },
	{ "HEAD", 204, "", NULL, 0 },
};

TEST(a_response_has_the_length_and_the_body_that_its_request_and_status_allow,
	.to = COUNT(framings))
{
	HTTPResponse_T response;
	char line[64];

	say(framings[_i].method);
	response = asked(" / HTTP/1.1\r\n" HOST "\r\n");
	HTTPResponse_status(response, framings[_i].status);
	HTTPResponse_printf(response, "%s", framings[_i].body);
	HTTPResponse_send(server, response);
	hear();
	if (framings[_i].length) {
		sprintf(line, "\r\nContent-Length: %s\r\n", framings[_i].length);
		ck_assert_msg(has(line), "%s", reply);
	} else
		ck_assert_msg(!has("Content-Length"), "%s", reply);
	ck_assert_str_eq(strstr(reply, "\r\n\r\n") + 4, framings[_i].has_body ? framings[_i].body : "");
	ck_assert_str_eq(HTTPRequest_method(parse_saying(GET HOST "\r\n")), "GET");
}

TEST(a_response_answers_HTTP_1_0_in_HTTP_1_1_words_and_ends)
{
	parse_saying("GET / HTTP/1.0\r\n\r\n");
	answer("x");
	hear();
	ck_assert_ptr_eq(strstr(reply, "HTTP/1.1 200 OK\r\n"), reply);
	ck_assert(has("\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"));
}

/* ---- no memory ---- */

CASE("memory, contracts, threads", .setup = setup, .teardown = teardown);

/* 1 when it did not raise. What is refused is memory, whatever name it goes by. */
static int survives(void (*f)(Arena_T), struct Failing *failing)
{
	volatile int fine = 0;
	Arena_T volatile small = NULL;

	TRY {
		small = failing_arena(failing);
		f(small);
		fine = 1;
	} EXCEPT(Arena_Failed) {
		fine = 0;
	} EXCEPT(HashTable_Failed) {
		fine = 0;
	} FINALLY {
		Arena_T a = small;

		Arena_dispose(&a);
	} END_TRY;
	ck_assert_uint_eq(failing->outstanding_blocks, 0);
	ck_assert_uint_eq(failing->outstanding_bytes, 0);
	return fine;
}

/* A head larger than the first buffer, joined fields, a body that grows, and the start of a next request */
static void say_demanding_request(void)
{
	static const char path[] = "/a/path/that/is/long/enough/not/to/fit/into/what/is/left/of/a/small/chunk";
	static char bytes[6001];

	memset(bytes, 'x', sizeof bytes - 1);
	say("POST http://example.org");
	say(path);
	say(" HTTP/1.1\r\n" HOST "X: ");
	say(bytes);
	say("\r\nX: y\r\nY: 1\r\nX: z\r\nY: 2\r\n" TE "\r\n1770\r\n");
	say(bytes);
	say("\r\n5\r\nhello\r\n0\r\n\r\nGET");
}

static void parse_in(Arena_T a)
{
	HTTPRequest_T r = HTTPRequest_parse(a, server);
	size_t n;
	const char *body = HTTPRequest_body(r, &n);

	ck_assert_uint_eq(n, 6005);
	ck_assert_str_eq(body + 5999, "xhello");
	ck_assert_str_eq(HTTPRequest_header(r, "x") + 5999, "x, y, z");
	ck_assert_str_eq(HTTPRequest_header(r, "y"), "1, 2");
	ck_assert_str_eq(HTTPRequest_header(r, "host"), "example.org");
	ck_assert_uint_eq(Socket_pending(server), 3);
}

TEST(without_memory_at_any_point_parse_raises_and_leaves_a_socket_that_is_whole_or_ended)
{
	int n = 0, fine = 0, whole = 0, ended = 0;

	close_pair();
	for (; !fine; n++) {
		struct Failing failing = { .fail_at = n };

		open_pair();
		say_demanding_request();
		fine = survives(parse_in, &failing);
		if (!fine && parse_raises(NULL) == NULL)
			whole++;
		else if (!fine) {
			ck_assert_ptr_eq(parse_raises(NULL), &HTTP_Closed);
			ended++;
		}
		close_pair();
	}
	open_pair();
	ck_assert_int_gt(whole, 1);
	ck_assert_int_gt(ended, 1);
}

/* An arena hides most requests from its allocator; in a buffer of every size each of them fails once. */
static int fits(void (*f)(Arena_T), void *buffer, size_t size)
{
	Arena_Options o = { .buffer = buffer, .buffer_size = size, .fixed = 1 };
	volatile int fine = 0;

	TRY {
		EXCEPT_AUTO(Arena_T, small, Arena_dispose) = Arena_new_with(&o);
		f(small);
		fine = 1;
	} EXCEPT(Arena_Failed) {
		fine = 0;
	} EXCEPT(HashTable_Failed) {
		fine = 0;
	} END_TRY;
	return fine;
}

TEST(in_a_buffer_of_any_size_parse_succeeds_or_raises_and_the_socket_is_whole_or_ended)
{
	static char buffer[100000];
	size_t size;
	int fine = 0, whole = 0, ended = 0;

	close_pair();
	for (size = 64; !fine && size < sizeof buffer; size += 64) {
		const Except_T *e = NULL;

		open_pair();
		say_demanding_request();
		fine = fits(parse_in, buffer, size);
		if (!fine)
			e = parse_raises(NULL);
		ck_assert(!e || e == &HTTP_Closed);
		whole += !fine && !e;
		ended += e != NULL;
		close_pair();
		Arena_clear(arena);
	}
	open_pair();
	ck_assert(fine);
	ck_assert_int_gt(whole, 20);
	ck_assert_int_gt(ended, 100);
}

static void respond_in(Arena_T a)
{
	HTTPResponse_T response = HTTPResponse_new(a);
	int i;

	HTTPResponse_set(response, "X-One", "a value that is long enough not to fit into what is left of a chunk");
	HTTPResponse_set(response, "X-Two", "2");
	HTTPResponse_set(response, "x-one", "another value that is long enough not to fit into what is left of a chunk");
	for (i = 0; i < 100; i++)
		HTTPResponse_printf(response, "%s %d, ", "some text", i);
	HTTPResponse_write(response, whole_request, sizeof whole_request);
	HTTPResponse_send(server, response);
}

static HTTPRequest_T of_small_arena;

static void ask_for_pairs(void)
{
	ck_assert_str_eq(HTTPRequest_query_param(of_small_arena, "b") + 299, "x");
	ck_assert_str_eq(HTTPRequest_form_param(of_small_arena, "d"), "5");
}

static int asks(void)
{
	volatile int fine = 0;

	TRY {
		ask_for_pairs();
		fine = 1;
	} EXCEPT(Arena_Failed) {
		fine = 0;
	} END_TRY;
	return fine;
}

static void fill(Arena_T a)
{
	for (;;)
		Arena_alloc(a, 16);
}

TEST(pairs_that_find_no_memory_are_there_when_asked_for_again)
{
	char query[400] = "a=1&b=";
	struct Failing failing = { .fail_at = -1 };
	Arena_T small = failing_arena(&failing);
	int n = 0;

	memset(query + 6, 'x', 300);
	say("POST /?");
	say(query);
	say(" HTTP/1.1\r\n" HOST FORM "Content-Length: 7\r\n\r\nc=4&d=5");
	of_small_arena = HTTPRequest_parse(small, server);
	failing.fail_at = 0;
	ck_raises(Arena_Failed, fill(small));
	for (failing.fail_at = 0; !asks(); failing.fail_at = ++n)
		;
	ck_assert_int_gt(n, 0);
	Arena_dispose(&small);
	ck_assert_uint_eq(failing.outstanding_blocks, 0);
}

TEST(without_memory_at_any_point_a_response_raises_and_nothing_was_sent)
{
	int n = 0, fine = 0;

	close_pair();
	for (; !fine; n++) {
		struct Failing failing = { .fail_at = n };

		open_pair();
		parse_saying(GET HOST "\r\n");
		fine = survives(respond_in, &failing);
		hear();
		if (fine)
			ck_assert(has("X-One: another") && has("X-Two: 2") && has("some text 99, POST"));
		else {
			ck_assert_str_eq(reply, "");
			answer("sorry"); /* from another arena it still works */
			hear();
			ck_assert(has("sorry") && !has("Connection"));
		}
		close_pair();
	}
	open_pair();
	ck_assert_int_gt(n, 6);
}

TEST(in_a_buffer_of_any_size_a_response_is_sent_or_raises_and_nothing_was_sent)
{
	static char buffer[50000];
	size_t size;
	int fine = 0;

	for (size = 64; !fine && size < sizeof buffer; size += 64) {
		if (size == 64)
			parse_saying(GET HOST "\r\n");
		fine = fits(respond_in, buffer, size);
		hear();
		ck_assert_int_eq(*reply != '\0', fine);
	}
	ck_assert(fine);
	ck_assert(has("X-One: another") && has("X-Two: 2") && has("some text 99, POST"));
}

TEST(a_field_or_a_body_that_found_no_memory_is_as_before)
{
	static char large[100000];
	Arena_Options options = { .limit = 40000 };
	Arena_T limited = Arena_new_with(&options);
	HTTPResponse_T response;

	memset(large, 'x', sizeof large - 1);
	parse_saying(GET HOST "\r\n");
	response = HTTPResponse_new(limited);
	HTTPResponse_set(response, "X", "before");
	HTTPResponse_printf(response, "before");
	ck_raises(Arena_Failed, HTTPResponse_set(response, "X", large));
	ck_raises(Arena_Failed, HTTPResponse_set(response, large, "y"));
	ck_raises(Arena_Failed, HTTPResponse_write(response, large, sizeof large));
	ck_raises(Arena_Failed, HTTPResponse_write(response, large, SIZE_MAX - 2));
	ck_raises(Arena_Failed, HTTPResponse_printf(response, "%s", large));
	HTTPResponse_send(server, response);
	hear();
	ck_assert(has("\r\nContent-Length: 6\r\nX: before\r\n\r\nbefore"));
	Arena_dispose(&limited);
}

/* ---- contracts ---- */

TEST(no_argument_may_be_NULL)
{
	HTTPResponse_T response = HTTPResponse_new(arena);
	HTTPRequest_T request = parse_saying(GET HOST "\r\n");
	size_t n;

	ck_raises(Assert_Failed, HTTPRequest_parse(NULL, server));
	ck_raises(Assert_Failed, HTTPRequest_parse(arena, NULL));
	ck_raises(Assert_Failed, HTTPRequest_parse_with(arena, NULL, NULL));
	ck_raises_saying(Assert_Failed, "HTTPRequest_method", HTTPRequest_method(NULL));
	ck_raises(Assert_Failed, HTTPRequest_target(NULL));
	ck_raises(Assert_Failed, HTTPRequest_path(NULL));
	ck_raises(Assert_Failed, HTTPRequest_query(NULL));
	ck_raises(Assert_Failed, HTTPRequest_version(NULL));
	ck_raises(Assert_Failed, HTTPRequest_header(NULL, "a"));
	ck_raises(Assert_Failed, HTTPRequest_header(request, NULL));
	ck_raises(Assert_Failed, HTTPRequest_headers(NULL));
	ck_raises(Assert_Failed, HTTPRequest_body(NULL, &n));
	ck_raises(Assert_Failed, HTTPRequest_body(request, NULL));
	ck_raises(Assert_Failed, HTTPRequest_arena(NULL));
	ck_raises(Assert_Failed, HTTPRequest_keep_alive(NULL));
	ck_raises(Assert_Failed, HTTPRequest_query_param(NULL, "a"));
	ck_raises(Assert_Failed, HTTPRequest_query_param(request, NULL));
	ck_raises(Assert_Failed, HTTPRequest_query_params(NULL, &n));
	ck_raises(Assert_Failed, HTTPRequest_query_params(request, NULL));
	ck_raises(Assert_Failed, HTTPRequest_form_param(NULL, "a"));
	ck_raises(Assert_Failed, HTTPRequest_form_param(request, NULL));
	ck_raises(Assert_Failed, HTTPRequest_form_params(NULL, &n));
	ck_raises(Assert_Failed, HTTPRequest_form_params(request, NULL));
	ck_raises(Assert_Failed, HTTPResponse_new(NULL));
	ck_raises(Assert_Failed, HTTPResponse_status(NULL, 200));
	ck_raises(Assert_Failed, HTTPResponse_set(NULL, "a", "b"));
	ck_raises(Assert_Failed, HTTPResponse_set(response, NULL, "b"));
	ck_raises_saying(Assert_Failed, "value of a", HTTPResponse_set(response, "a", NULL));
	ck_raises(Assert_Failed, HTTPResponse_write(NULL, "a", 1));
	ck_raises(Assert_Failed, HTTPResponse_write(response, NULL, 1));
	ck_raises(Assert_Failed, HTTPResponse_printf(NULL, "a"));
	ck_raises(Assert_Failed, HTTPResponse_send(NULL, response));
	ck_raises(Assert_Failed, HTTPResponse_send(server, NULL));
}

/* ---- threads ---- */

static void *serve_own_pair(void *cl)
{
	int fds[2], i;
	char got[512];
	Arena_T a = Arena_new();
	Socket_T s;

	(void)cl;
	socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
	s = Socket_adopt(fds[0]);
	for (i = 0; i < 50; i++) {
		HTTPResponse_T response;

		send(fds[1], whole_request, sizeof whole_request - 1, MSG_NOSIGNAL);
		HTTPRequest_parse(a, s);
		response = HTTPResponse_new(a);
		HTTPResponse_send(s, response);
		if (recv(fds[1], got, sizeof got, 0) < 60)
			abort();
		Arena_clear(a);
	}
	Socket_close(&s);
	close(fds[1]);
	Arena_dispose(&a);
	return NULL;
}

TEST(threads_serve_connections_of_their_own)
{
	pthread_t threads[4];
	int i;

	for (i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, serve_own_pair, NULL);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
