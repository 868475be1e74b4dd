/* SPDX-License-Identifier: MIT */
/* HTTPResponse_file: which part of a file is sent, by Range and If-Range, and that the
 * descriptor is always closed. */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "httpclient.h"

EXCEPT_DEFINE(Odd, NULL, "odd");

#if defined WITHOUT_SENDFILE /* Linked so that the library's calls reach it. */
ssize_t __wrap_sendfile(int to, int from, off_t *offset, size_t n);
ssize_t __wrap_sendfile(int to, int from, off_t *offset, size_t n)
{
	(void)to;
	(void)from;
	(void)offset;
	(void)n;
	errno = EINVAL;
	return -1;
}
#endif

static int file_fd = -1;             /* the last one that a response was given */
static int is_pipe_pending;          /* a SIGPIPE, in the thread of the handler */
static char path[] = "/tmp/httpfileXXXXXX";
static const char digits[] = "0123456789";

static void write_file(const char *bytes, size_t n)
{
	int fd;

	strcpy(path, "/tmp/httpfileXXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	while (n > 0) {
		ssize_t written = write(fd, bytes, n);

		ck_assert_int_gt(written, 0);
		bytes += written;
		n -= (size_t)written;
	}
	close(fd);
}

static int open_as(int access)
{
	file_fd = open(path, access | O_CLOEXEC);
	ck_assert_int_ge(file_fd, 0);
	return file_fd;
}

static int open_file(void)
{
	return open_as(O_RDONLY);
}

static int is_closed(void)
{
	return fcntl(file_fd, F_GETFD) < 0 && errno == EBADF;
}

static int64_t number_of(HTTPRequest_T request, const char *name, int64_t usual)
{
	const char *value = HTTPRequest_query_param(request, name);

	return value ? atoll(value) : usual;
}

static void send_file(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	int64_t status = number_of(request, "status", 200);
	int access = HTTPRequest_query_param(request, "unreadable") ? O_WRONLY : O_RDONLY;
	sigset_t pending;

	(void)cl;
	ck_assert_int_eq(sigpending(&pending), 0);
	is_pipe_pending = sigismember(&pending, SIGPIPE);
	HTTPResponse_set(response, "ETag", HTTPRequest_query_param(request, "weak") ? "W/\"v1\""
		: "\"v1\"");
	HTTPResponse_set(response, "Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
	HTTPResponse_status(response, (int)status);
	HTTPResponse_file(response, open_as(access), number_of(request, "offset", 0),
		number_of(request, "nbytes", -1));
	if (HTTPRequest_query_param(request, "reset")) {
		HTTPResponse_reset(response);
		ck_assert(is_closed());
		HTTPResponse_printf(response, "reset");
	}
	if (HTTPRequest_query_param(request, "raise"))
		RAISE_MSG(Odd, "after the file");
	if (HTTPRequest_query_param(request, "shrink"))
		ck_assert_int_eq(truncate(path, number_of(request, "shrink", 0)), 0);
	if (HTTPRequest_query_param(request, "twice"))
		HTTPResponse_file(response, open_file(), 3, 4);
}

static atomic_int nlogged, last_status;
static size_t last_nbytes;
static char last_error[200];

static void keep_entry(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	last_nbytes = e->nbytes;
	snprintf(last_error, sizeof last_error, "%s", e->error ? e->error : "-");
	atomic_store(&last_status, e->status);
	atomic_fetch_add(&nlogged, 1);
}

static void on_error(HTTPRequest_T request, HTTPResponse_T response, int status,
	const char *message, void *cl)
{
	(void)cl;
	ck_assert_ptr_nonnull(HTTPRequest_method(request));
	ck_assert_ptr_null(message);
	HTTPResponse_printf(response, "no: %d", status);
}

static void start_with(HTTPServer_Options options)
{
	options.log = keep_entry;
	make_server(options);
	HTTPServer_route(server, NULL, "/", send_file, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){
		.method = "GET", .pattern = "/blocks", .handler = send_file, .blocks = 1 });
	launch_server();
}

static void start_with_file(void)
{
	write_file(digits, 10);
	start_with((HTTPServer_Options){ 0 });
}

static void end_with_file(void)
{
	end_server();
	ck_assert(file_fd < 0 || is_closed());
	unlink(path);
}

/* ---- the whole ---- */

SUITE("files as responses");
CASE("whole");

TEST(a_file_is_sent_with_its_length)
{
	start_with_file();
	ck_assert_int_eq(ask_server(GET("/")), 200);
	ck_assert(response_has("Content-Length: 10\r\n") && response_has("Accept-Ranges: bytes\r\n")
		&& !response_has("Transfer-Encoding"));
	ck_assert_str_eq(response_body(), digits);
	ck_assert_int_eq(ask_server(GET("/blocks")), 200);
	ck_assert_str_eq(response_body(), digits);
	await(atomic_load(&nlogged) == 2);
	ck_assert_uint_eq(last_nbytes, 10);
	ck_assert_str_eq(last_error, "-");
	end_with_file();
}

static const struct {
	const char *query, *body;
} parts[] = {
	{ "offset=3", "3456789" }, { "offset=3&nbytes=4", "3456" }, { "nbytes=0", "" },
	{ "offset=10", "" }, { "offset=11", "" },
	{ "nbytes=10", "0123456789" }, { "twice=1", "3456" }, { "status=404", "0123456789" },
	{ "reset=1", "reset" }
};
enum { PARTS = sizeof parts / sizeof parts[0] };

TEST(a_part_of_a_file_is_sent, .to = PARTS)
{
	char request[200];

	start_with_file();
	snprintf(request, sizeof request, "GET /?%s HTTP/1.1\r\n" HOST "\r\n", parts[_i].query);
	ask_server(request);
	ck_assert_str_eq(response_body(), parts[_i].body);
	end_with_file();
}

static const struct {
	const char *line;
	int status;
	const char *length; /* NULL: no such field */
	int has_body, ends;
} ways[] = {
	{ "HEAD / HTTP/1.1\r\n" HOST "\r\n", 200, "10", 0, 0 },
	{ "HEAD / HTTP/1.1\r\n" HOST "Range: bytes=1-2\r\n\r\n", 200, "10", 0, 0 },
	{ "GET /?status=304 HTTP/1.1\r\n" HOST "\r\n", 304, "10", 0, 0 },
	{ "GET /?status=204 HTTP/1.1\r\n" HOST "\r\n", 204, NULL, 0, 0 },
	{ "GET /?status=205 HTTP/1.1\r\n" HOST "\r\n", 205, "0", 0, 0 },
	{ "GET / HTTP/1.0\r\n\r\n", 200, "10", 1, 1 },
	{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "10", 1, 0 },
	{ "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 200, "10", 1, 1 },
	{ "GET / HTTP/1.0\r\nRange: bytes=8-\r\n\r\n", 206, "2", 1, 1 },
	{ "POST / HTTP/1.1\r\n" HOST "Range: bytes=8-\r\nContent-Length: 0\r\n\r\n", 200, "10", 1, 0 },
	{ "GET /?status=203 HTTP/1.1\r\n" HOST "Range: bytes=8-\r\n\r\n", 203, "10", 1, 0 }
};
enum { WAYS = sizeof ways / sizeof ways[0] };

TEST(a_file_is_framed_as_other_bodies_are, .to = WAYS)
{
	char field[40];
	int fd;

	start_with_file();
	fd = dial_server();
	send_text(fd, ways[_i].line);
	ck_assert_int_eq(read_one_response(fd, ways[_i].has_body), ways[_i].status);
	snprintf(field, sizeof field, "Content-Length: %s\r\n", ways[_i].length ? ways[_i].length : "");
	ck_assert_int_eq(response_has(ways[_i].length ? field : "Content-Length"),
		ways[_i].length != NULL);
	await(is_closed());
	if (ways[_i].ends)
		ck_assert_int_eq(read_within(fd, heard, 1, PATIENCE), 0);
	else {
		send_text(fd, GET("/"));
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_str_eq(response_body(), digits);
	}
	close(fd);
	end_with_file();
}

TEST(files_of_a_pipeline_go_out_in_order)
{
	int fd;

	start_with_file();
	fd = dial_server();
	send_text(fd, GET("/?offset=8") GET("/none") GET("/?nbytes=2") "HEAD / HTTP/1.1\r\n" HOST
		"\r\n" GET("/?nbytes=1"));
	shutdown(fd, SHUT_WR);
	read_to_end(fd);
	ck_assert_int_eq(count_in_response("HTTP/1.1 "), 5);
	ck_assert_ptr_nonnull(strstr(heard, "\r\n\r\n89HTTP/1.1 404"));
	ck_assert_ptr_nonnull(strstr(heard, "\r\n\r\n01HTTP/1.1 200"));
	ck_assert_int_eq(heard[nheard - 1], '0');
	close(fd);
	end_with_file();
}

/* ---- ranges ---- */

CASE("ranges");

static const struct {
	const char *fields;
	int status;
	const char *range, *body;
} ranges[] = {
	{ "Range: bytes=0-3\r\n", 206, "bytes 0-3/10", "0123" },
	{ "Range: bytes=3-3\r\n", 206, "bytes 3-3/10", "3" },
	{ "Range: bytes=7-\r\n", 206, "bytes 7-9/10", "789" },
	{ "Range: bytes=-2\r\n", 206, "bytes 8-9/10", "89" },
	{ "Range: bytes=-20\r\n", 206, "bytes 0-9/10", "0123456789" },
	{ "Range: bytes=8-100\r\n", 206, "bytes 8-9/10", "89" },
	{ "Range: BYTES=0-0\r\n", 206, "bytes 0-0/10", "0" },
	{ "Range: bytes= 1-2 \r\n", 206, "bytes 1-2/10", "12" },
	{ "Range: bytes=9-99999999999999999999999999\r\n", 206, "bytes 9-9/10", "9" },
	{ "Range: bytes=-99999999999999999999999999\r\n", 206, "bytes 0-9/10", "0123456789" },
	{ "Range: bytes=10-\r\n", 416, "bytes */10", NULL },
	{ "Range: bytes=10-20\r\n", 416, "bytes */10", NULL },
	{ "Range: bytes=-0\r\n", 416, "bytes */10", NULL },
	{ "Range: bytes=99999999999999999999999999-\r\n", 416, "bytes */10", NULL },
	{ "Range: bytes=0-1,3-4\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=0-1\r\nRange: bytes=3-4\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=3-2\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=-\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=a-b\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=1-2x\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=1\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=--1\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=+1-2\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes 1-2\r\n", 200, NULL, "0123456789" },
	{ "Range: by\r\n", 200, NULL, "0123456789" },
	{ "Range: lines=1-2\r\n", 200, NULL, "0123456789" },
	{ "Range: \r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=1-2\r\nIf-Range: \"v1\"\r\n", 206, "bytes 1-2/10", "12" },
	{ "Range: bytes=1-2\r\nIf-Range: \"v2\"\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=1-2\r\nIf-Range: W/\"v1\"\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=1-2\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 206, "bytes 1-2/10",
		"12" },
	{ "Range: bytes=1-2\r\nIf-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=1-2\r\nIf-Range: \r\n", 200, NULL, "0123456789" },
	{ "Range: bytes=10-\r\nIf-Range: \"v2\"\r\n", 200, NULL, "0123456789" },
	{ "If-Range: \"v1\"\r\n", 200, NULL, "0123456789" }
};
enum { RANGES = sizeof ranges / sizeof ranges[0] };

static int ask_with(const char *target, const char *fields)
{
	char request[500];

	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "%s\r\n", target, fields);
	return ask_server(request);
}

TEST(one_range_of_a_file_is_answered_by_that_part, .to = RANGES)
{
	char field[100];

	start_with_file();
	ck_assert_int_eq(ask_with("/", ranges[_i].fields), ranges[_i].status);
	snprintf(field, sizeof field, "Content-Range: %s\r\n", ranges[_i].range ? ranges[_i].range
		: "");
	ck_assert_int_eq(response_has(ranges[_i].range ? field : "Content-Range"),
		ranges[_i].range != NULL);
	if (ranges[_i].body) {
		ck_assert_str_eq(response_body(), ranges[_i].body);
		ck_assert(response_has("Accept-Ranges: bytes\r\n") && response_has("ETag: \"v1\"\r\n"));
	} else
		ck_assert(!response_has("ETag") && !response_has(digits));
	await(is_closed());
	end_with_file();
}

TEST(a_weak_ETag_is_none_for_If_Range)
{
	start_with_file();
	ck_assert_int_eq(ask_with("/?weak=1", "Range: bytes=1-2\r\nIf-Range: W/\"v1\"\r\n"), 200);
	ck_assert_int_eq(ask_with("/?weak=1", "Range: bytes=1-2\r\nIf-Range: \"v1\"\r\n"), 200);
	end_with_file();
}

TEST(a_range_is_within_the_part_that_the_handler_gave)
{
	start_with_file();
	ck_assert_int_eq(ask_with("/?offset=2&nbytes=5", "Range: bytes=1-2\r\n"), 206);
	ck_assert(response_has("Content-Range: bytes 1-2/5\r\n") && strcmp(response_body(), "34") == 0);
	ck_assert_int_eq(ask_with("/?offset=2&nbytes=5", "Range: bytes=-1\r\n"), 206);
	ck_assert_str_eq(response_body(), "6");
	ck_assert_int_eq(ask_with("/?offset=2&nbytes=5", "Range: bytes=5-\r\n"), 416);
	ck_assert(response_has("Content-Range: bytes */5\r\n"));
	ck_assert_int_eq(ask_with("/?nbytes=0", "Range: bytes=0-\r\n"), 416);
	ck_assert_int_eq(ask_with("/?nbytes=0", "Range: bytes=-5\r\n"), 200);
	end_with_file();
}

TEST(the_body_of_a_416_is_the_one_of_on_error)
{
	write_file(digits, 10);
	start_with((HTTPServer_Options){ .on_error = on_error });
	ck_assert_int_eq(ask_with("/", "Range: bytes=10-\r\n"), 416);
	ck_assert(response_has("Content-Range: bytes */10\r\n")
		&& strcmp(response_body(), "no: 416") == 0);
	end_with_file();
}

/* ---- large ones ---- */

CASE("large", .timeout = 120);

enum { LARGE = 20 * 1000 * 1000 };

static char *large_bytes(void)
{
	char *bytes = malloc(LARGE);
	size_t i;

	for (i = 0; i < LARGE; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	return bytes;
}

/* Returns how many bytes of the body equal those of the file, until the connection ends or the
 * body is complete. */
static size_t compare_body(int fd, const char *bytes, size_t n)
{
	static char buffer[1 << 16];
	size_t got = 0;
	ssize_t part;

	while (got < n && (part = read_within(fd, buffer, sizeof buffer < n - got ? sizeof buffer
		: n - got, PATIENCE)) > 0) {
		ck_assert(memcmp(buffer, bytes + got, (size_t)part) == 0);
		got += (size_t)part;
	}
	return got;
}

TEST(a_large_file_is_sent_to_a_slow_client_while_others_are_served)
{
	char *bytes = large_bytes();
	int fd, i;

	write_file(bytes, LARGE);
	start_with((HTTPServer_Options){ 0 });
	fd = dial_server();
	send_text(fd, GET("/") GET("/?nbytes=5"));
	sleep_ms(50);
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(ask_server(GET("/?nbytes=5")), 200);
	ck_assert_int_eq(read_one_response(fd, 0), 200);
	ck_assert(response_has("Content-Length: 20000000\r\n"));
	ck_assert_uint_eq(compare_body(fd, bytes, LARGE), LARGE);
	ck_assert_int_eq(read_response(fd), 200);
	close(fd);
	free(bytes);
	end_with_file();
}

/* SIGPIPE has its default action, which would end the test. */
TEST(a_client_that_leaves_amid_a_file_costs_its_connection, .to = 2)
{
	char *bytes = large_bytes();
	struct linger reset = { 1, 0 };
	int fd;

	write_file(bytes, LARGE);
	start_with((HTTPServer_Options){ 0 });
	fd = dial_server();
	if (_i)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_one_response(fd, 0), 200);
	close(fd);
	await(atomic_load(&nlogged) == 1);
	ck_assert_uint_lt(last_nbytes, LARGE);
	ck_assert_int_eq(ask_server(GET("/?nbytes=5")), 200);
	free(bytes);
	end_with_file();
}

/* A program that blocks SIGPIPE keeps one that was pending, and gets none of the server. */
TEST(a_blocked_SIGPIPE_stays_as_it_was, .to = 2)
{
	char *bytes = large_bytes();
	sigset_t pipe;
	int fd, signal;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL); /* the server's thread inherits it */
	if (_i)
		kill(getpid(), SIGPIPE);
	write_file(bytes, LARGE);
	start_with((HTTPServer_Options){ 0 });
	fd = dial_server();
	send_text(fd, GET("/"));
	ck_assert_int_eq(read_one_response(fd, 0), 200);
	close(fd);
	await(atomic_load(&nlogged) == 1);
	ck_assert_int_eq(ask_server(GET("/?nbytes=5")), 200);
	ck_assert_int_eq(is_pipe_pending, _i);
	if (_i)
		sigwait(&pipe, &signal);
	pthread_sigmask(SIG_UNBLOCK, &pipe, NULL);
	free(bytes);
	end_with_file();
}

TEST(a_client_that_takes_nothing_is_timed_out)
{
	char *bytes = large_bytes();
	int fd;

	write_file(bytes, LARGE);
	start_with((HTTPServer_Options){ .send_ms = 50, .body_rate = 1000000000 });
	fd = dial_server();
	send_text(fd, GET("/"));
	await(stats_now().timed_out == 1);
	await(is_closed());
	close(fd);
	free(bytes);
	end_with_file();
}

TEST(a_file_that_is_shorter_than_was_announced_cuts_the_connection, .to = 2)
{
	int fd;

	start_with_file();
	fd = dial_server();
	send_text(fd, _i ? GET("/?shrink=4") GET("/") : GET("/?nbytes=20") GET("/"));
	shutdown(fd, SHUT_WR);
	read_to_end(fd);
	ck_assert_int_eq(count_in_response("HTTP/1.1 "), 1);
	ck_assert(response_has(_i ? "Content-Length: 10\r\n" : "Content-Length: 20\r\n"));
	ck_assert_str_eq(response_body(), _i ? "0123" : digits);
	await(atomic_load(&nlogged) == 1);
	ck_assert_uint_eq(last_nbytes, _i ? 4 : 10);
	ck_assert_ptr_nonnull(strstr(last_error, _i ? "ends 6 bytes before" : "ends 10 bytes before"));
	ck_assert_uint_eq(stats_now().raised, 1);
	close(fd);
	end_with_file();
}

TEST(a_file_that_cannot_be_read_cuts_the_connection)
{
	int fd;

	start_with_file();
	fd = dial_server();
	send_text(fd, GET("/?unreadable=1") GET("/"));
	read_to_end(fd);
	ck_assert_int_eq(count_in_response("HTTP/1.1 "), 1);
	ck_assert_str_eq(response_body(), "");
	await(atomic_load(&nlogged) == 1);
	ck_assert_str_eq(last_error, "HTTPResponse_file: read at 0: Bad file descriptor");
	ck_assert_uint_eq(stats_now().raised, 1);
	ck_assert(is_closed());
	close(fd);
	end_with_file();
}

TEST(a_handler_that_raises_after_it_gave_a_file_is_answered)
{
	start_with_file();
	ck_assert_int_eq(ask_server(GET("/?raise=1")), 500);
	await(is_closed());
	end_with_file();
}

/* ---- the blocking pair ---- */

CASE("refused");

static void exchange_with(const char *request, int fd[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	send_text(fd[1], request);
	TRY {
		AUTO(Arena_T, a, Arena_dispose) = Arena_new();
		AUTO(Socket_T, s, Socket_close) = Socket_adopt(fd[0]);
		HTTPRequest_T r = HTTPRequest_parse(a, s);
		HTTPResponse_T response = HTTPResponse_new(a);

		send_file(r, response, NULL);
		HTTPResponse_send(s, response);
		ck_assert(is_closed());
	} EXCEPT(HTTP_Failed) {
		snprintf(last_error, sizeof last_error, "%s", Except_message());
	} END_TRY;
	ck_assert(is_closed());
	read_to_end(fd[1]);
	close(fd[1]);
}

TEST(HTTPResponse_send_sends_the_whole_file)
{
	int fd[2];

	write_file(digits, 10);
	exchange_with("GET /?offset=2 HTTP/1.1\r\n" HOST
		"Range: bytes=1-2\r\nConnection: close\r\n\r\n", fd);
	ck_assert(response_has("HTTP/1.1 200") && response_has("Content-Length: 8\r\n")
		&& strcmp(response_body(), "23456789") == 0);
	exchange_with("HEAD / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", fd);
	ck_assert(response_has("Content-Length: 10\r\n") && strcmp(response_body(), "") == 0);
	exchange_with("GET /?nbytes=11 HTTP/1.1\r\n" HOST "\r\n", fd);
	ck_assert_str_eq(response_body(), digits);
	ck_assert_ptr_nonnull(strstr(last_error, "ends 1 bytes before"));
	exchange_with("GET /?unreadable=1 HTTP/1.1\r\n" HOST "\r\n", fd);
	ck_assert_str_eq(response_body(), "");
	ck_assert_str_eq(last_error, "HTTPResponse_file: read at 0: Bad file descriptor");
	unlink(path);
}

/* ---- what is refused ---- */

static int end_stream(HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	return 0;
}

TEST(a_descriptor_of_no_regular_file_is_refused_and_closed)
{
	Arena_T a = Arena_new();
	HTTPResponse_T r = HTTPResponse_new(a);
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	file_fd = fd[0];
	ck_raises_saying(HTTP_Failed, "is not a regular file", HTTPResponse_file(r, fd[0], 0, -1));
	ck_assert(is_closed());
	close(fd[1]);
	file_fd = open("/tmp", O_RDONLY);
	ck_raises_saying(HTTP_Failed, "is not a regular file", HTTPResponse_file(r, file_fd, 0, -1));
	ck_assert(is_closed());
	ck_raises_saying(HTTP_Failed, "descriptor -1, of a failed open: No such file",
		HTTPResponse_file(r, open("/no/such/file", O_RDONLY), 0, -1));
	ck_raises_saying(HTTP_Failed, "descriptor -1: Bad file descriptor",
		HTTPResponse_file(r, (errno = 0, -1), 0, -1));
	ck_raises_saying(HTTP_Failed, "descriptor 99999: ", HTTPResponse_file(r, 99999, 0, -1));
	HTTPResponse_write(r, "x", 1); /* nothing has changed */
	Arena_dispose(&a);
}

TEST(misuse_is_checked_and_the_descriptor_closed)
{
	Arena_T a = Arena_new();
	HTTPResponse_T r = HTTPResponse_new(a);

	write_file(digits, 10);
	ck_raises_saying(Assert_Failed, "the response is NULL",
		HTTPResponse_file(NULL, open_file(), 0, -1));
	ck_assert(is_closed());
	ck_raises_saying(Assert_Failed, "the offset is -1", HTTPResponse_file(r, open_file(), -1, -1));
	ck_assert(is_closed());
	ck_raises_saying(Assert_Failed, "9223372036854775807 bytes from 1 on",
		HTTPResponse_file(r, open_file(), 1, INT64_MAX));
	ck_assert(is_closed());
	HTTPResponse_write(r, "x", 1);
	ck_raises_saying(Assert_Failed, "1 bytes were written",
		HTTPResponse_file(r, open_file(), 0, -1));
	ck_assert(is_closed());
	HTTPResponse_reset(r);
	HTTPResponse_stream(r, end_stream, NULL);
	ck_raises_saying(Assert_Failed, "is a stream", HTTPResponse_file(r, open_file(), 0, -1));
	ck_assert(is_closed());
	HTTPResponse_reset(r);
	HTTPResponse_file(r, open_file(), 0, -1);
	ck_raises_saying(Assert_Failed, "the body is a file", HTTPResponse_write(r, "x", 1));
	ck_raises_saying(Assert_Failed, "the body is a file", HTTPResponse_printf(r, "x"));
	ck_raises_saying(Assert_Failed, "the body is a file", HTTPResponse_stream(r, end_stream, NULL));
	ck_raises_saying(Assert_Failed, "the body is a file", HTTPResponse_length(r, 1));
	ck_assert(!is_closed());
	Arena_dispose(&a);
	ck_assert(is_closed());
	unlink(path);
}

TEST(a_descriptor_is_closed_whichever_allocation_fails)
{
	volatile int n, failed = 1;

	write_file(digits, 10);
	for (n = 0; failed; n++) {
		struct Failing f = { .fail_at = -1 };
		Arena_T a = failing_arena(&f);
		HTTPResponse_T r = HTTPResponse_new(a);

		f.fail_at = 0;
		while (Arena_try_alloc(a, 16))
			;
		failed = 0;
		f.fail_at = n;
		TRY {
			HTTPResponse_file(r, open_file(), 0, -1);
		} EXCEPT(Arena_Failed) {
			failed = 1;
			ck_assert(is_closed());
		} END_TRY;
		f.fail_at = -1;
		Arena_dispose(&a);
		ck_assert(is_closed());
	}
	ck_assert_int_gt(n, 1);
	unlink(path);
}
