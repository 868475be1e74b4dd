/* SPDX-License-Identifier: MIT */
/* HTTP: the request, queries and forms, Expect, and whether the connection goes on. */
#include "config.h"

#include "test_http.h"

static int body_is(HTTPRequest_T request, const char *text)
{
	size_t n;
	const char *body = HTTPRequest_body(request, &n);

	return n == strlen(text) && memcmp(body, text, n + 1) == 0;
}

/* ---- the request ---- */

SUITE("http");
CASE("request", .setup = set_up_pair, .teardown = tear_down_pair);

TEST(a_request_has_all_that_was_sent)
{
	HTTPRequest_T r = parse_saying("PUT /a%20b/../c?d=%20&e HTTP/1.1\r\nHost: h:80\r\n"
		"Content-Length: 4\r\nX-Empty:\r\n\r\nbody");

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

	send_text(targets[_i].line);
	r = parse_saying(HOST "\r\n");
	ck_assert_str_eq(HTTPRequest_path(r), targets[_i].path);
	ck_assert_str_eq(HTTPRequest_query(r), targets[_i].query);
	ck_assert_str_eq(HTTPRequest_header(r, "Host"), targets[_i].host);
}

TEST(repeated_fields_are_joined_and_cookies_with_a_semicolon)
{
	HTTPRequest_T r = parse_saying(POST HOST
		"Accept: a\r\nCookie: x=1\r\nACCEPT:  b \r\nX: 1\r\naccept:\r\nCookie: y=2\r\n"
		"Accept: a much longer value than all those before it, so that the text has to move\r\n"
		"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok");

	ck_assert_str_eq(HTTPRequest_header(r, "Accept"),
		"a, b, , a much longer value than all those before it, so that the text has to move");
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
	send_text(input);
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

TEST(a_body_is_decoded_and_the_bytes_behind_it_stay, .to = COUNT(bodies))
{
	HTTPRequest_T r;

	send_text(bodies[_i].request);
	r = parse_saying("GET /next HTTP/1.1\r\n" HOST "\r\n");
	ck_assert(body_is(r, bodies[_i].body));
	ck_assert_ptr_null(HTTPRequest_header(r, "X"));
	if (HTTPRequest_keep_alive(r))
		ck_assert_str_eq(HTTPRequest_path(parse_request()), "/next");
}

/* ---- queries and forms ---- */

static const struct {
	const char *text, *pairs;
} forms[] = {
	{ "", "" }, { "&", "" }, { "&&&", "" }, { "a=b", "<a=b>" }, { "a", "<a=>" }, { "a=", "<a=>" },
	{ "=b", "<=b>" }, { "=", "<=>" },
	{ "a=b&c=d", "<a=b><c=d>" }, { "&a=b&&c=d&", "<a=b><c=d>" }, { "a&b&c", "<a=><b=><c=>" },
	{ "a=b=c", "<a=b=c>" },
	{ "a=1&b=2&a=3&A=4", "<a=1><b=2><a=3><A=4>" }, { "a=b;c=d", "<a=b;c=d>" },
	{ "a+b=c++d", "<a b=c  d>" }, { "a%20b=%2B%26%3d%3D", "<a b=+&==>" },
	{ "%61=%41%7e", "<a=A~>" },
	{ "a=%252e", "<a=%2e>" }, { "a=%c3%A4", "<a=\xc3\xa4>" }, { "a=%ff", "<a=\xff>" },
	{ "a=%0d%0A", "<a=\r\n>" },
	{ "a=/b/../c?d", "<a=/b/../c?d>" },
	{ "%", NULL }, { "a=%", NULL }, { "a=%4", NULL }, { "a=%4&b=c", NULL }, { "a=%zz", NULL },
	{ "a=%4g", NULL }, { "a=%g4", NULL },
	{ "a=%-1", NULL }, { "a=% 1", NULL }, { "a=%+1", NULL }, { "a=%u0041", NULL },
	{ "a=%00", NULL }, { "%00=b", NULL },
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

	sprintf(text, "POST /?%s HTTP/1.1\r\n" HOST "%sContent-Length: %zu\r\n\r\n%s", query, fields,
		strlen(body), body);
	return parse_saying(text);
}

TEST(a_query_is_pairs_in_the_order_sent_or_is_refused, .to = COUNT(forms))
{
	const char *text = forms[_i].text;
	size_t n;
	HTTPRequest_T r;

	if (strchr(text, ' '))
		return; /* a target has no such byte */
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
	send_answer("and the connection goes on");
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
	{ "Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n", 1 }, { "", 0 },
	{ "Content-Type:\r\n", 0 },
	{ "Content-Type: text/plain\r\n", 0 },
	{ "Content-Type: application/x-www-form-urlencoded2\r\n", 0 },
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
	send_answer("");
	send_bytes(nul, sizeof nul - 1);
	r = parse_request();
	ck_raises_saying(HTTP_Bad_Request, "a NUL in the form: \"\\x00c\"",
		HTTPRequest_form_param(r, "a"));
}

/* Writes c as a client may send it: escaped, or plain if that means the same. */
static int encode_byte(char *out, int c, int escape)
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
			end += encode_byte(end, c, escape);
			end += sprintf(end, "x=y");
			end += encode_byte(end, c, escape);
			*end++ = '&';
		}
	*end = '\0';
	sprintf(text, POST HOST FORM "Content-Length: %zu\r\n\r\n", (size_t)(end - body));
	send_text(text);
	send_text(body);
	r = parse_request();
	pairs = HTTPRequest_form_params(r, &n);
	ck_assert_uint_eq(n, 4 * 255);
	for (i = 0; i < n; i++) {
		const char name[] = { (char)(i % 255 + 1), 'x', 0 },
			value[] = { 'y', (char)(i % 255 + 1), 0 };

		ck_assert_str_eq(pairs[i].name, name);
		ck_assert_str_eq(pairs[i].value, value);
	}
}

TEST(an_explanation_of_a_malformed_query_shows_where_it_is_malformed)
{
	HTTPRequest_T r = request_with("a=b&c=100%&d=e", "", "");

	ck_raises_saying(HTTP_Bad_Request, "a malformed escape in the query: \"%&d=e\"",
		HTTPRequest_query_param(r, "a"));
}

TEST(a_request_that_comes_byte_by_byte_is_the_same)
{
	Writer w = { 0 };
	HTTPRequest_T r;

	use_tcp();
	start_writer(&w, whole_request, sizeof whole_request - 1, 1);
	r = parse_request();
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
	check_large(parse_request());
	ck_assert_str_eq(HTTPRequest_path(parse_request()), "/next");
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
	check_large(parse_request());
	ck_assert_str_eq(HTTPRequest_path(parse_request()), "/next");
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
	ck_assert_str_eq(read_reply(), "");
}

TEST(an_HTTP_1_0_client_gets_no_100)
{
	HTTP_Limits limits = { .body_ms = 20 };

	send_text("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
	ck_raises(HTTP_Timeout, HTTPRequest_parse_with(arena, server, &limits));
	ck_assert_str_eq(read_reply(), "");
}

TEST(a_body_over_the_limit_is_refused_at_once_instead_of_100)
{
	send_text(POST HOST "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n");
	ck_raises(HTTP_Content_Too_Large, parse_request());
	ck_assert_str_eq(read_reply(), "");
}

/* ---- connections ---- */

CASE("connections", .setup = set_up_pair, .teardown = tear_down_pair);

TEST(a_pipeline_of_sixteen_is_answered_in_order)
{
	char text[64];
	int i;

	for (i = 0; i < 16; i++) {
		sprintf(text, "%s /%d HTTP/1.1\r\n" HOST "%s\r\n", i % 3 ? "GET" : "POST", i,
			i % 3 ? "" : "Content-Length: 2\r\n");
		send_text(text);
		if (i % 3 == 0)
			send_text("ab");
	}
	for (i = 0; i < 16; i++) {
		HTTPRequest_T r = parse_request();

		sprintf(text, "/%d", i);
		ck_assert_str_eq(HTTPRequest_path(r), text);
		ck_assert_uint_eq(Socket_pending(server) > 0, i < 15);
		send_answer(text);
		read_reply();
		ck_assert_str_eq(strstr(reply, "\r\n\r\n") + 4, text);
	}
	Socket_set_timeout(server, 10);
	ck_raises(Socket_Timeout, parse_request());
}

TEST(memory_stays_flat_over_a_thousand_requests_on_one_connection)
{
	size_t capacity = 0;
	int i;

	for (i = 0; i < 1000; i++) {
		HTTPRequest_T r = parse_saying(whole_request);

		ck_assert(body_is(r, "hello"));
		send_answer("a reply");
		read_reply();
		ck_assert(reply_has("a reply"));
		Arena_clear(arena);
		if (i == 10)
			capacity = Arena_capacity(arena);
	}
	ck_assert_uint_eq(Arena_capacity(arena), capacity);
}

static const struct {
	const char *request;
	int keeps;
	const char *connection; /* a line of the response; "": none */
} connections[] = {
	{ GET HOST "\r\n", 1, "" },
	{ GET HOST "Connection: keep-alive\r\n\r\n", 1, "" },
	{ GET HOST "Connection: Close\r\n\r\n", 0, "\r\nConnection: close\r\n" },
	{ GET HOST "Connection: keep-alive, close\r\n\r\n", 0, "\r\nConnection: close\r\n" },
	{ "GET / HTTP/1.0\r\n\r\n", 0, "\r\nConnection: close\r\n" },
	{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 1, "\r\nConnection: keep-alive\r\n" },
};

TEST(the_connection_stays_or_ends_as_the_client_asked, .to = COUNT(connections))
{
	HTTPRequest_T r = parse_saying(connections[_i].request);

	ck_assert_int_eq(HTTPRequest_keep_alive(r) != 0, connections[_i].keeps);
	send_answer("x");
	read_reply();
	if (*connections[_i].connection)
		ck_assert_msg(reply_has(connections[_i].connection), "%s", reply);
	else
		ck_assert(!reply_has("Connection"));
	if (connections[_i].keeps)
		ck_assert_str_eq(HTTPRequest_method(parse_saying(GET HOST "\r\n")), "GET");
	else
		ck_raises(HTTP_Closed, parse_request());
}

TEST(a_response_that_says_close_ends_the_connection)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	send_text(GET HOST "\r\n");
	parse_saying(GET HOST "\r\n");
	end_sending();
	HTTPResponse_set(response, "connection", "Close");
	HTTPResponse_send(server, response);
	read_reply();
	ck_assert(reply_has("\r\nConnection: close\r\n"));
	ck_assert(!reply_has("connection"));
	ck_assert(at_end());
	ck_raises(HTTP_Closed, parse_request());
}

TEST(another_connection_option_is_sent_as_it_is)
{
	HTTPResponse_T response = HTTPResponse_new(arena);

	parse_saying(GET HOST "\r\n");
	HTTPResponse_set(response, "Connection", "X-Hop, not-close");
	HTTPResponse_send(server, response);
	read_reply();
	ck_assert(reply_has("\r\nConnection: X-Hop, not-close\r\n"));
}

TEST(a_response_without_a_request_ends_the_connection)
{
	send_answer("busy");
	read_reply();
	ck_assert(reply_has("\r\nConnection: close\r\n"));
	ck_raises(HTTP_Closed, parse_request());
}

TEST(a_response_that_cannot_be_sent_ends_the_connection)
{
	parse_saying(GET HOST "\r\n");
	close(client);
	client = -1;
	ck_raises(Socket_Closed, send_answer("x"));
	ck_raises(HTTP_Closed, parse_request());
}
