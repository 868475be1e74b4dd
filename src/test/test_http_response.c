/* SPDX-License-Identifier: MIT */
/* HTTP: the response, streams of a length, framing, memory, checks, threads. */
#include "config.h"

#include "test_http.h"

/* ---- the response ---- */

SUITE("http");
CASE("response", .setup = set_up_pair, .teardown = tear_down_pair);

static HTTPResponse_T new_response(const char *request)
{
	parse_saying(request);
	return HTTPResponse_new(arena);
}

TEST(a_new_response_is_200_without_fields_or_body)
{
	HTTPResponse_send(server, new_response(GET HOST "\r\n"));
	read_reply();
	ck_assert_ptr_eq(strstr(reply, "HTTP/1.1 200 OK\r\nDate: "), reply);
	ck_assert_str_eq(reply + strlen("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
		"Content-Length: 0\r\n\r\n");
}

TEST(the_date_is_now_in_the_form_of_RFC_9110)
{
	char expected[64];
	time_t now, then;
	struct tm tm;

	do {
		now = time(NULL);
		HTTPResponse_send(server, new_response(GET HOST "\r\n"));
		read_reply();
		then = time(NULL);
	} while (now != then);
	gmtime_r(&now, &tm);
	strftime(expected, sizeof expected, "\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
	ck_assert_msg(reply_has(expected), "%s", reply);
}

/* The library calls this time(). */
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
	HTTPResponse_send(server, new_response(GET HOST "\r\n"));
	return NULL;
}

TEST(the_date_of_the_epoch_is_a_date)
{
	pthread_t thread; /* a new thread has made no date yet */

	at_the_epoch = 1;
	ck_assert_int_eq(pthread_create(&thread, NULL, send_ok, NULL), 0);
	pthread_join(thread, NULL);
	at_the_epoch = 0;
	read_reply();
	ck_assert_msg(reply_has("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), "%s", reply);
}

TEST(a_request_and_its_response_leave_errno_as_it_was)
{
	HTTPRequest_T r;

	errno = EDOM;
	r = parse_saying(POST HOST "X: y\r\n" TE "\r\n5\r\nhello\r\n0\r\n\r\n");
	ck_assert_int_eq(errno, EDOM);
	HTTPRequest_header(r, "x");
	HTTPRequest_peer(r);
	send_answer("ok");
	ck_assert_int_eq(errno, EDOM);
	parse_saying(GET HOST "Connection: close\r\n\r\n");
	end_sending();
	send_answer("ok");
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
	{ "", 0, "" }, { "azAZ09-._~", 10, "azAZ09-._~" }, { "a/b\\c", 5, "a%2Fb%5Cc" },
	{ "a b+c%", 6, "a%20b%2Bc%25" },
	{ "\0\xff\x7f?#", 5, "%00%FF%7F%3F%23" }, { "\xc3\xa4", 2, "%C3%A4" },
};

TEST(text_is_encoded_as_one_segment_of_a_path, .to = COUNT(encodings))
{
	ck_assert_str_eq(HTTP_encode(arena, encodings[_i].text, encodings[_i].n),
		encodings[_i].encoded);
}

static int never_more(HTTPResponse_T r, void *cl)
{
	(void)r, (void)cl;
	ck_abort_msg("more was called");
	return 0;
}

TEST(a_response_that_was_reset_is_as_new)
{
	HTTPResponse_T response = new_response(GET HOST "\r\n");

	HTTPResponse_printf(response, "partial ");
	HTTPResponse_set(response, "X-A", "b");
	HTTPResponse_status(response, 503);
	HTTPResponse_length(response, 99);
	HTTPResponse_stream(response, never_more, NULL);
	HTTPResponse_reset(response);
	HTTPResponse_set(response, "X-C", "d");
	HTTPResponse_printf(response, "error");
	HTTPResponse_send(server, response);
	read_reply();
	ck_assert(reply_has("HTTP/1.1 200 OK\r\n") && reply_has("\r\nContent-Length: 5\r\n")
		&& reply_has("\r\nX-C: d\r\n\r\nerror"));
	ck_assert(!reply_has("X-A"));
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

static HTTPResponse_T stream_response(const char *request, Parts *parts, uint64_t length,
	const char *before)
{
	HTTPResponse_T response = new_response(request);

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

	HTTPResponse_send(server, stream_response(_i ? old : GET HOST "\r\n", &p, 14, "> "));
	read_reply();
	ck_assert_msg(reply_has("\r\nContent-Length: 14\r\n") && !reply_has("chunked")
		&& reply_has("\r\n\r\n> hello, world"), "%s", reply);
	ck_assert_ptr_eq(strstr(reply, "> hello, world") + 14, reply + heard);
	ck_assert_int_eq(reply_has("Connection: keep-alive\r\n"), _i);
	ck_assert_str_eq(HTTPRequest_target(parse_saying("GET /next HTTP/1.1\r\n" HOST "\r\n")),
		"/next");
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
	HTTPResponse_T response = stream_response(GET HOST "\r\n", &p, rows[_i].length,
		rows[_i].before);
	size_t n = strlen(rows[_i].sent);

	ck_raises_saying(HTTP_Failed, rows[_i].said, HTTPResponse_send(server, response));
	read_reply();
	ck_assert_msg(heard >= n && strcmp(reply + heard - n, rows[_i].sent) == 0, "%s", reply);
	if (n > 0)
		ck_raises(HTTP_Closed, parse_request());
	else /* nothing was sent */
		ck_assert_uint_eq(heard, 0);
}

TEST(a_length_is_announced_where_no_body_is_sent, .to = 2)
{
	HTTPResponse_T response = new_response("HEAD / HTTP/1.1\r\n" HOST "\r\n");

	HTTPResponse_length(response, 5000000000);
	if (_i)
		HTTPResponse_stream(response, never_more, NULL);
	HTTPResponse_send(server, response);
	ck_assert_ptr_nonnull(strstr(read_reply(), "\r\nContent-Length: 5000000000\r\n\r\n"));
	response = new_response(GET HOST "\r\n");
	HTTPResponse_length(response, 7);
	HTTPResponse_printf(response, "body");
	HTTPResponse_send(server, response);
	ck_assert_ptr_nonnull(strstr(read_reply(), "\r\nContent-Length: 4\r\n"));
}

TEST(a_date_that_was_set_is_the_only_one)
{
	HTTPResponse_T response = new_response(GET HOST "\r\n");

	HTTPResponse_set(response, "date", "Sun, 06 Nov 1994 08:49:37 GMT");
	HTTPResponse_send(server, response);
	read_reply();
	ck_assert(reply_has("\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
	ck_assert(!reply_has("Date:"));
}

TEST(a_field_is_replaced_in_any_case_and_keeps_its_place)
{
	HTTPResponse_T response = new_response(GET HOST "\r\n");

	HTTPResponse_set(response, "X-A", "1");
	HTTPResponse_set(response, "X-B", "2");
	HTTPResponse_set(response, "x-a", "a\tlonger value \xc3\xa4");
	HTTPResponse_set(response, "X-Empty", "");
	HTTPResponse_send(server, response);
	read_reply();
	ck_assert(reply_has("\r\nX-A: a\tlonger value \xc3\xa4\r\nX-B: 2\r\nX-Empty: \r\n\r\n"));
}

TEST(one_field_replaces_all_of_its_name)
{
	HTTPResponse_T response = new_response(GET HOST "\r\n");

	HTTPResponse_add(response, "X-A", "1");
	HTTPResponse_add(response, "X-B", "2");
	HTTPResponse_add(response, "x-a", "3");
	HTTPResponse_add(response, "X-C", "4");
	HTTPResponse_add(response, "X-A", "5");
	HTTPResponse_set(response, "X-a", "6");
	HTTPResponse_add(response, "X-D", "7");
	HTTPResponse_send(server, response);
	read_reply();
	ck_assert(reply_has("\r\nX-A: 6\r\nX-B: 2\r\nX-C: 4\r\nX-D: 7\r\n\r\n"));
}

TEST(a_field_that_would_split_the_response_is_refused)
{
	HTTPResponse_T response = new_response(GET HOST "\r\n");

	HTTPResponse_set(response, "X", "before");
	ck_raises_saying(HTTP_Failed, "value of X: \"a\\x0d\\x0aSet-Cookie: b\"",
		HTTPResponse_set(response, "X", "a\r\nSet-Cookie: b"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X", "a\nb"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X", "a\x1b"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X", "a\x7f"));
	ck_raises_saying(HTTP_Failed, "\"X Y\"", HTTPResponse_set(response, "X Y", "a"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X:", "a"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "X\r\nY", "a"));
	ck_raises(HTTP_Failed, HTTPResponse_set(response, "", "a"));
	HTTPResponse_send(server, response);
	read_reply();
	ck_assert(reply_has("\r\nX: before\r\n\r\n"));
}

TEST(framing_is_not_for_the_program_to_set)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	ck_raises_saying(Assert_Failed, "content-LENGTH",
		HTTPResponse_set(response, "content-LENGTH", "5"));
	ck_raises(Assert_Failed, HTTPResponse_set(response, "Transfer-Encoding", "chunked"));
}

TEST(a_status_is_200_to_599)
{
	HTTPResponse_T response = new_response(GET HOST "\r\n");

	ck_raises_saying(Assert_Failed, "199", HTTPResponse_status(response, 199));
	ck_raises(Assert_Failed, HTTPResponse_status(response, 600));
	ck_raises(Assert_Failed, HTTPResponse_status(response, 100));
	HTTPResponse_status(response, 599);
	HTTPResponse_send(server, response);
	ck_assert_ptr_eq(strstr(read_reply(), "HTTP/1.1 599 \r\n"), reply);
}

TEST(a_body_is_all_that_was_written_and_printed)
{
	HTTPResponse_T response = new_response(GET HOST "\r\n");
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
	read_reply();
	n = (size_t)(end - expected);
	sprintf(line, "\r\nContent-Length: %zu\r\n\r\n", n);
	ck_assert(reply_has(line));
	ck_assert_uint_gt(heard, n);
	ck_assert_mem_eq(reply + heard - n, expected, n);
}

static const char *const nothing_wide = "%ls";

TEST(printf_that_fails_raises_and_adds_nothing)
{
	HTTPResponse_T response = new_response(GET HOST "\r\n");
	static const wchar_t no_character[] = { (wchar_t)0x7FFFFFFE, 0 };
	void (*print)(HTTPResponse_T, const char *, ...) = HTTPResponse_printf;

	HTTPResponse_write(response, "ab", 2);
	ck_raises_saying(HTTP_Failed, "HTTPResponse_printf: the format \"%ls\" cannot be printed",
		print(response, nothing_wide, no_character));
	HTTPResponse_write(response, "c", 1);
	HTTPResponse_send(server, response);
	read_reply();
	ck_assert(reply_has("\r\nContent-Length: 3\r\n"));
	ck_assert_str_eq(strstr(reply, "\r\n\r\n") + 4, "abc");
}

typedef struct Sender { /* a thread at the server's end */
	pthread_t thread;
	size_t nbytes;
} Sender;

static char *make_pattern(size_t n)
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
	char *bytes = make_pattern(s->nbytes);
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
	char *got = malloc(room), *expected = make_pattern(s.nbytes);
	ssize_t more;

	use_tcp();
	parse_saying(GET HOST "Connection: close\r\n\r\n");
	end_sending();
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

	send_text(framings[_i].method);
	response = new_response(" / HTTP/1.1\r\n" HOST "\r\n");
	HTTPResponse_status(response, framings[_i].status);
	HTTPResponse_printf(response, "%s", framings[_i].body);
	HTTPResponse_send(server, response);
	read_reply();
	if (framings[_i].length) {
		sprintf(line, "\r\nContent-Length: %s\r\n", framings[_i].length);
		ck_assert_msg(reply_has(line), "%s", reply);
	} else
		ck_assert_msg(!reply_has("Content-Length"), "%s", reply);
	ck_assert_str_eq(strstr(reply, "\r\n\r\n") + 4, framings[_i].has_body ? framings[_i].body : "");
	ck_assert_str_eq(HTTPRequest_method(parse_saying(GET HOST "\r\n")), "GET");
}

TEST(a_response_answers_HTTP_1_0_in_HTTP_1_1_words_and_ends)
{
	parse_saying("GET / HTTP/1.0\r\n\r\n");
	send_answer("x");
	read_reply();
	ck_assert_ptr_eq(strstr(reply, "HTTP/1.1 200 OK\r\n"), reply);
	ck_assert(reply_has("\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"));
}

/* ---- no memory ---- */

CASE("memory, contracts, threads", .setup = set_up_pair, .teardown = tear_down_pair);

/* Returns 1 if f did not raise. Any exception must be a lack of memory, whichever its kind. */
static int runs_in(void (*f)(Arena_T), const Arena_Options *options)
{
	volatile int fine = 0;

	TRY {
		EXCEPT_AUTO(Arena_T, small, Arena_dispose) = Arena_new_with(options);
		f(small);
		fine = 1;
	} EXCEPT(Arena_Failed) {
		fine = 0;
	} EXCEPT(HashTable_Failed) {
		fine = 0;
	} END_TRY;
	return fine;
}

static int runs_in_failing_arena(void (*f)(Arena_T), struct Failing *failing)
{
	Arena_Options o = failing_options(failing);
	int fine = runs_in(f, &o);

	ck_assert_uint_eq(failing->outstanding_blocks, 0);
	ck_assert_uint_eq(failing->outstanding_bytes, 0);
	return fine;
}

/* Sends a head larger than the first buffer, with repeated fields, a body that grows, and the
 * start of a next request. */
static void say_demanding_request(void)
{
	static const char path[] =
		"/a/path/that/is/long/enough/not/to/fit/into/what/is/left/of/a/small/chunk";
	static char bytes[6001];

	memset(bytes, 'x', sizeof bytes - 1);
	send_text("POST http://example.org");
	send_text(path);
	send_text(" HTTP/1.1\r\n" HOST "X: ");
	send_text(bytes);
	send_text("\r\nX: y\r\nY: 1\r\nX: z\r\nY: 2\r\n" TE "\r\n1770\r\n");
	send_text(bytes);
	send_text("\r\n5\r\nhello\r\n0\r\n\r\nGET");
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
		fine = runs_in_failing_arena(parse_in, &failing);
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

/* An arena hides most requests from its allocator. In a buffer of every size each of them fails
 * once. */
static int runs_in_buffer(void (*f)(Arena_T), void *buffer, size_t size)
{
	Arena_Options o = { .buffer = buffer, .buffer_size = size, .fixed = 1 };

	return runs_in(f, &o);
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
		fine = runs_in_buffer(parse_in, buffer, size);
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

	HTTPResponse_set(response, "X-One",
		"a value that is long enough not to fit into what is left of a chunk");
	HTTPResponse_set(response, "X-Two", "2");
	HTTPResponse_set(response, "x-one",
		"another value that is long enough not to fit into what is left of a chunk");
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

static int finds_pairs(void)
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

static void fill_arena(Arena_T a)
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
	send_text("POST /?");
	send_text(query);
	send_text(" HTTP/1.1\r\n" HOST FORM "Content-Length: 7\r\n\r\nc=4&d=5");
	of_small_arena = HTTPRequest_parse(small, server);
	failing.fail_at = 0;
	ck_raises(Arena_Failed, fill_arena(small));
	for (failing.fail_at = 0; !finds_pairs(); failing.fail_at = ++n)
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
		fine = runs_in_failing_arena(respond_in, &failing);
		read_reply();
		if (fine)
			ck_assert(reply_has("X-One: another") && reply_has("X-Two: 2")
				&& reply_has("some text 99, POST"));
		else {
			ck_assert_str_eq(reply, "");
			send_answer("sorry"); /* a response in another arena still works */
			read_reply();
			ck_assert(reply_has("sorry") && !reply_has("Connection"));
		}
		close_pair();
	}
	open_pair();
	ck_assert_int_gt(n, sizeof(void *) > 4 ? 6 : 5); /* smaller objects need a chunk less */
}

TEST(in_a_buffer_of_any_size_a_response_is_sent_or_raises_and_nothing_was_sent)
{
	static char buffer[50000];
	size_t size;
	int fine = 0;

	for (size = 64; !fine && size < sizeof buffer; size += 64) {
		if (size == 64)
			parse_saying(GET HOST "\r\n");
		fine = runs_in_buffer(respond_in, buffer, size);
		read_reply();
		ck_assert_int_eq(*reply != '\0', fine);
	}
	ck_assert(fine);
	ck_assert(reply_has("X-One: another") && reply_has("X-Two: 2")
		&& reply_has("some text 99, POST"));
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
	read_reply();
	ck_assert(reply_has("\r\nContent-Length: 6\r\nX: before\r\n\r\nbefore"));
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
