/* SPDX-License-Identifier: MIT */
/* The parser alone: what it refuses and accepts, whatever pieces the input comes in. Each run
 * feeds copies that are exactly as long as what the parser may read, so that a sanitizer sees it
 * read further. It writes all events into a transcript; two runs are equal if their transcripts
 * are. */
#include "config.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "testing.h"
#include "http/parser.h"
#include "http_cases.h"

static const HTTP_Limits usual = { 8192, 32768, 100, 1024 * 1024, 1, 1 };

/* ---- a run ---- */

typedef struct Run {
	HTTPParser parser;
	HTTPParser_Event last;
	size_t end;         /* how many bytes were taken at END */
	char text[8192];    /* the transcript */
	size_t length;
	char explanation[512];
} Run;

static void write_transcript(Run *run, const char *fmt, ...) CORE_PRINTF(2, 3);
static void write_transcript(Run *run, const char *fmt, ...)
{
	size_t room = sizeof run->text - run->length;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(run->text + run->length, room, fmt, ap);
	va_end(ap);
	run->length += (size_t)n < room ? (size_t)n : room - 1;
}

static void note_bytes(Run *run, const char *bytes, HTTPSlice s)
{
	size_t i;

	for (i = 0; i < s.length; i++)
		write_transcript(run, bytes[s.at + i] ? "%c" : "\\%d", bytes[s.at + i]);
}

static void note_slice(Run *run, const char *bytes, HTTPSlice s)
{
	write_transcript(run, "<");
	note_bytes(run, bytes, s);
	write_transcript(run, ">");
}

static void note_event(Run *run, const char *bytes)
{
	HTTPParser *p = &run->parser;

	switch (run->last) {
	case HTTPParser_LINE:
		note_slice(run, bytes, p->method);
		note_slice(run, bytes, p->target);
		note_slice(run, bytes, p->authority);
		note_slice(run, bytes, p->path);
		note_slice(run, bytes, p->query);
		break;
	case HTTPParser_FIELD:
		note_slice(run, bytes, p->name);
		note_slice(run, bytes, p->value);
		break;
	case HTTPParser_HEAD:
		write_transcript(run, "head %x %llu body ", (unsigned)p->flags,
			(unsigned long long)p->left);
		break;
	case HTTPParser_BODY:
		ck_assert_uint_gt(p->value.length, 0);
		note_bytes(run, bytes, p->value);
		break;
	case HTTPParser_ERROR:
		httpparser__explain(p, bytes, run->explanation, sizeof run->explanation);
		write_transcript(run, "error %d %s", (int)p->status, run->explanation);
		break;
	default:
		break;
	}
}

/* Writes all that the parser says of the bytes [from..to) of the input. Returns 0 at the end. */
static int feed_parser(Run *run, const char *bytes, size_t n)
{
	for (;;) {
		run->last = httpparser__next(&run->parser, bytes, n);
		note_event(run, bytes);
		if (run->last == HTTPParser_MORE)
			return 1;
		if (run->last == HTTPParser_END || run->last == HTTPParser_ERROR)
			return 0;
	}
}

static char *exact_copy(const char *bytes, size_t n)
{
	char *copy = malloc(n ? n : 1);

	ck_assert_ptr_nonnull(copy);
	return memcpy(copy, bytes, n);
}

/* Feeds the input in pieces whose lengths piece() gives. After the head, each piece has a buffer
 * of its own. */
static void run_in_pieces(Run *run, const HTTP_Limits *limits, const char *input, size_t n,
	size_t (*piece)(void *cl, size_t at), void *cl)
{
	size_t base = 0, at = 0;
	int more = 1, headed = 0;

	memset(run, 0, sizeof *run);
	httpparser__init(&run->parser, limits);
	while (more && at < n) {
		size_t step = piece(cl, at);
		char *copy;

		if (headed) {
			ck_assert_uint_eq(run->parser.at, at - base);
			httpparser__rewind(&run->parser);
			base = at;
		}
		at = step < n - at ? at + step : n;
		copy = exact_copy(input + base, at - base);
		more = feed_parser(run, copy, at - base);
		headed = run->parser.mark > 0 && strstr(run->text, "head ") != NULL;
		if (run->last == HTTPParser_ERROR) { /* an error stays */
			ck_assert_int_eq(httpparser__next(&run->parser, copy, at - base), HTTPParser_ERROR);
		}
		free(copy);
	}
	if (run->last == HTTPParser_END) {
		run->end = base + run->parser.at;
		write_transcript(run, " end at %zu", run->end);
	} else if (more)
		write_transcript(run, " more");
}

static size_t piece_all(void *cl, size_t at)
{
	(void)cl, (void)at;
	return SIZE_MAX;
}

static size_t piece_one(void *cl, size_t at)
{
	(void)cl, (void)at;
	return 1;
}

static size_t cut_at(void *cl, size_t at)
{
	return at == 0 ? *(size_t *)cl : SIZE_MAX;
}

static void run_whole(Run *run, const char *input, size_t n)
{
	run_in_pieces(run, &usual, input, n, piece_all, NULL);
}

/* Runs the whole input, byte by byte, and cut in two at every position. */
static void run_every_way(Run *whole, const HTTP_Limits *limits, const char *input, size_t n)
{
	Run run;
	size_t i;

	run_in_pieces(whole, limits, input, n, piece_all, NULL);
	run_in_pieces(&run, limits, input, n, piece_one, NULL);
	ck_assert_str_eq(run.text, whole->text);
	for (i = 1; i < n; i++) {
		run_in_pieces(&run, limits, input, n, cut_at, &i);
		ck_assert_str_eq(run.text, whole->text);
	}
}

/* ---- the cases ---- */

SUITE("httpparser");
CASE("parser");

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

TEST(an_ambiguous_request_is_refused_in_whatever_pieces, .to = ROWS(refused))
{
	const Row *row = &refused[_i];
	Run run;

	run_every_way(&run, &usual, row->input, row->n);
	ck_assert_msg(run.last == HTTPParser_ERROR, "%s was not refused: %s", row->sentence, run.text);
	ck_assert_msg(run.parser.status == row->status, "%s: %d, not %d: %s", row->sentence,
		run.parser.status, row->status, run.text);
	ck_assert_msg(strlen(run.explanation) > 10, "%s: \"%s\" explains nothing", row->sentence,
		run.explanation);
}

TEST(a_valid_request_is_accepted_in_whatever_pieces, .to = ROWS(accepted))
{
	const Row *row = &accepted[_i];
	Run run;

	run_every_way(&run, &usual, row->input, row->n);
	ck_assert_msg(run.last == HTTPParser_END, "%s: %s", row->sentence, run.text);
	ck_assert_msg(run.end == row->n, "%s ends at %zu, not %zu", row->sentence, run.end, row->n);
}

TEST(an_unfinished_request_wants_more_at_every_byte, .to = ROWS(accepted))
{
	const Row *row = &accepted[_i];
	Run run;
	size_t i;

	for (i = 1; i < row->n; i++) {
		run_whole(&run, row->input, i);
		ck_assert_msg(run.last == HTTPParser_MORE, "%s, %zu bytes: %s", row->sentence, i, run.text);
	}
}

/* ---- what it yields ---- */

static const struct {
	const char *input, *transcript;
} transcripts[] = {
	{ "GET /a/b?c=d&e HTTP/1.1\r\nHost: h:1\r\nX-Y:  z z\t\r\n\r\n",
	  "<GET></a/b?c=d&e><></a/b><c=d&e><Host><h:1><X-Y><z z>head 8 0 body  end at 50" },
	{ "GET http://b:2/c?d HTTP/1.0\r\n\r\n",
		"<GET><http://b:2/c?d><b:2></c><d>head 1 0 body  end at 31" },
	{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"<OPTIONS><*><><*><><Host><a>head c 0 body  end at 31" },
	{ "HEAD /? HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
	  "<HEAD></?><></><><Host><a><Connection><x, Close>head 4a 0 body  end at 51" },
	{ POST HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabcGET",
	  "<POST></><></><><Host><a><Content-Length><3>head 18 3 body abc end at 69" },
	{ CHUNKED "3;x\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\nGET",
	  "<POST></><></><><Host><a><Transfer-Encoding><chunked>head 28 0 body abcde end at 84" },
	{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-Continue\r\n\r\n",
	  "<GET></><></><><Connection><keep-alive><Expect><100-Continue>head 181 0 body  end at 64" },
};

TEST(lines_fields_and_bodies_are_slices_of_the_input, .to = ROWS(transcripts))
{
	Run run;

	run_every_way(&run, &usual, transcripts[_i].input, strlen(transcripts[_i].input));
	ck_assert_str_eq(run.text, transcripts[_i].transcript);
}

static const struct {
	const char *input, *explanation;
	size_t n;
} explanations[] = {
#define SAYS(input, explanation) { input, explanation, sizeof(input) - 1 }
	SAYS(POST HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"Content-Length given twice: \"5\", \"6\""),
	SAYS(GET "Host: a\r\nHost: b\r\n\r\n", "Host given twice: \"a\", \"b\""),
	SAYS(GET "Host: a\tb\"\\\xff\r\n\r\n", "Host is malformed: \"a\\x09b\\\"\\\\\\xff\""),
	SAYS(GET HOST "X-Y: a\x1b[2J\r\n\r\n", "the value of \"X-Y\" has the byte \"\\x1b\""),
	SAYS(GET HOST "X\0: a\r\n\r\n", "a field name has the byte \"\\x00\": \"X\""),
	SAYS("G\nT / HTTP/1.1\r\n\r\n", "the method has the byte \"\\x0a\""),
	SAYS("GET / HTTP/3.0\r\n\r\n", "the version is not of HTTP/1: \"HTTP/3.0\""),
	SAYS("GET / HTTX/3.0\r\n\r\n", "the version is malformed: \"HTTX\""),
	SAYS(POST HOST "Content-Length: 9999999\r\n\r\n",
		"a body of \"9999999\" bytes is more than 1048576"),
	SAYS(POST HOST "Transfer-Encoding: gzip\r\n\r\n",
		"Transfer-Encoding is not just \"chunked\": \"gzip\""),
	SAYS(CHUNKED "0\r\nX: \x01\r\n\r\n",
		"the value of a field of the trailer has the byte \"\\x01\""),
	SAYS(CHUNKED "g\r\n", "a chunk size has the byte \"g\""),
};

TEST(an_error_names_the_value_with_its_control_characters_escaped, .to = ROWS(explanations))
{
	Run run;

	run_every_way(&run, &usual, explanations[_i].input, explanations[_i].n);
	ck_assert_str_eq(run.explanation, explanations[_i].explanation);
}

TEST(an_explanation_fits_whatever_the_peer_sent)
{
	char input[9000], out[600];
	HTTPParser p;
	size_t n, size;

	n = (size_t)sprintf(input, GET "Host: ");
	memset(input + n, '\xff', 4000);
	memcpy(input + n + 4000, "\r\n\r\n", 4);
	httpparser__init(&p, &usual);
	while (httpparser__next(&p, input, n + 4004) != HTTPParser_ERROR)
		;
	for (size = 64; size < sizeof out; size++) {
		memset(out, '#', sizeof out);
		httpparser__explain(&p, input, out, size);
		ck_assert_uint_lt(strnlen(out, size), size);
		ck_assert_int_eq(out[size], '#');
	}
	ck_assert_str_eq(out + strlen(out) - 12, "\\xff\\xff...\"");
}

/* ---- bytes ---- */

/* RFC 9110, 5.6.2, written a second time */
static int is_tchar(int c)
{
	return c != 0
		&& strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
		c) != NULL;
}

static int takes_byte(const char *before, int c, const char *after)
{
	char input[256];
	Run run;
	size_t n = (size_t)sprintf(input, "%s", before);

	input[n++] = (char)c;
	n += (size_t)sprintf(input + n, "%s", after);
	run_whole(&run, input, n);
	return run.last == HTTPParser_END;
}

/* The parser reads sixteen or eight bytes at a time, and the last ones in other ways. So c
 * stands at each place of them. */
static void check_class(const char *what, const char *before, const char *after,
	int (*is_one)(int c))
{
	static const char filler[] = "abcdefghijklmnopqrstuvwxyz";
	int c, first, last;

	for (c = 0; c < 256; c++)
		for (first = 1; first <= 17; first++)
			for (last = 1; last <= 18; last += 17) {
				char head[64], tail[128];

				sprintf(head, "%s%.*s", before, first, filler);
				sprintf(tail, "%.*s%s", last, filler, after);
				ck_assert_msg(takes_byte(head, c, tail) == is_one(c), "%s: %02x after %d", what,
					(unsigned)c, first);
			}
}

static int is_tchar_or_colon(int c)
{
	return is_tchar(c) || c == ':';
}

static int is_text(int c)
{
	return c == '\t' || (c >= ' ' && c != 0x7f);
}

static int is_visible(int c)
{
	return c > ' ' && c < 0x7f && !strchr("#\"<>", c);
}

TEST(of_all_bytes_only_tchar_makes_methods_and_names)
{
	check_class("method", "G", "T / HTTP/1.0\r\n\r\n", is_tchar);
	check_class("name", "GET / HTTP/1.0\r\nX", "Y: z\r\n\r\n", is_tchar_or_colon);
	check_class("name before others", "GET / HTTP/1.0\r\nX",
		"Y: z\r\nAnother-Field: abcdefgh\r\n\r\n", is_tchar_or_colon);
}

TEST(of_all_bytes_only_text_is_taken_in_a_value_at_any_place_of_it)
{
	check_class("value", "GET / HTTP/1.0\r\nX: a", "\r\n\r\n", is_text);
	check_class("value before others", "GET / HTTP/1.0\r\nX: a",
		"\r\nAnother-Field: abcdefgh\r\n\r\n", is_text);
}

TEST(of_all_bytes_only_visible_ones_are_taken_in_a_target)
{
	check_class("target", "GET /a", "b HTTP/1.0\r\n\r\n", is_visible);
}

/* ---- limits ---- */

static const char *repeat_char(char *out, char c, size_t n)
{
	memset(out, c, n);
	out[n] = '\0';
	return out;
}

/* Returns the status of a request with the given limits, or 0 if it is accepted. */
static int status_of(HTTP_Limits limits, const char *input)
{
	Run run;

	run_every_way(&run, &limits, input, strlen(input));
	ck_assert_msg(run.last != HTTPParser_MORE, "%s", run.text);
	return run.last == HTTPParser_ERROR ? run.parser.status : 0;
}

TEST(a_request_line_may_be_as_long_as_its_limit_and_no_longer)
{
	HTTP_Limits limits = usual;
	char input[400], x[100];
	int n;

	limits.request_line = 64;
	for (n = 63; n <= 65; n++) {
		int want = n > 64 ? 414 : 0;

		sprintf(input, "\r\nGET /%s HTTP/1.1\r\nHost: a\r\n\r\n",
			repeat_char(x, 'x', (size_t)n - 14));
		ck_assert_int_eq(status_of(limits, input), want);
		sprintf(input, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", repeat_char(x, 'x', (size_t)n - 11));
		ck_assert_int_eq(status_of(limits, input), want);
	}
	/* RFC 9112, 3: it is the method that is too long */
	ck_assert_int_eq(status_of(limits, repeat_char(input, 'x', 65)), 501);
	sprintf(input, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", repeat_char(x, 'x', 65));
	ck_assert_int_eq(status_of(limits, input), 501);
	sprintf(input, "GET /%s", repeat_char(x, 'x', 60));
	ck_assert_int_eq(status_of(limits, input), 414);
}

TEST(all_field_lines_together_may_be_as_long_as_their_limit_and_no_longer)
{
	HTTP_Limits limits = usual;
	char input[400], x[100];
	int n;

	limits.header_bytes = 64;
	for (n = 63; n <= 65; n++) {
		int want = n > 64 ? 431 : 0;

		sprintf(input, GET HOST "X: %s\r\n\r\n", repeat_char(x, 'x', (size_t)n - 9 - 5));
		ck_assert_int_eq(status_of(limits, input), want);
		sprintf(input, GET HOST "%s:\r\n\r\n", repeat_char(x, 'x', (size_t)n - 9 - 3));
		ck_assert_int_eq(status_of(limits, input), want);
		sprintf(input, GET HOST "X:%s\r\n\r\n", repeat_char(x, ' ', (size_t)n - 9 - 4));
		ck_assert_int_eq(status_of(limits, input), want);
		sprintf(input, CHUNKED "0\r\nX: %s\r\n\r\n", repeat_char(x, 'x', (size_t)n - 5));
		ck_assert_int_eq(status_of(limits, input), want);
	}
	sprintf(input, GET "X: %s", repeat_char(x, 'x', 62));
	ck_assert_int_eq(status_of(limits, input), 431);
}

TEST(there_may_be_as_many_fields_as_their_limit_and_no_more)
{
	HTTP_Limits limits = usual;
	char input[300], *end;
	int n, i;

	limits.header_count = 4;
	for (n = 3; n <= 5; n++) {
		end = input + sprintf(input, GET HOST);
		for (i = 1; i < n; i++)
			end += sprintf(end, "X: y\r\n");
		sprintf(end, "\r\n");
		ck_assert_int_eq(status_of(limits, input), n > 4 ? 431 : 0);
		end = input + sprintf(input, CHUNKED "0\r\n");
		for (i = 0; i < n; i++)
			end += sprintf(end, "X: y\r\n");
		sprintf(end, "\r\n");
		ck_assert_int_eq(status_of(limits, input), n > 4 ? 431 : 0);
	}
}

TEST(a_body_may_be_as_long_as_its_limit_and_no_longer)
{
	HTTP_Limits limits = usual;
	char input[400], x[100];
	unsigned n;

	limits.body_bytes = 20;
	for (n = 19; n <= 21; n++) {
		int want = n > 20 ? 413 : 0;

		sprintf(input, POST HOST "Content-Length: %u\r\n\r\n%s", n, repeat_char(x, 'x', n));
		ck_assert_int_eq(status_of(limits, input), want);
		sprintf(input, CHUNKED "%x\r\n%s\r\n0\r\n\r\n", n, repeat_char(x, 'x', n));
		ck_assert_int_eq(status_of(limits, input), want);
		sprintf(input, CHUNKED "7\r\n1234567\r\n%x\r\n%s\r\n0\r\n\r\n", n - 7,
			repeat_char(x, 'x', n - 7));
		ck_assert_int_eq(status_of(limits, input), want);
	}
}

TEST(chunk_extensions_may_be_4096_bytes_and_one_for_each_byte_of_the_body)
{
	static char input[10000], x[5000];
	Run run;
	size_t n;

	for (n = 4095; n <= 4097; n++) {
		sprintf(input, CHUNKED "5;%s\r\nhello\r\n0\r\n\r\n", repeat_char(x, 'x', n - 1));
		run_whole(&run, input, strlen(input));
		ck_assert_int_eq(run.last == HTTPParser_ERROR ? run.parser.status : 0, n > 4096 ? 413 : 0);
		sprintf(input, CHUNKED "5;%s\r\nhello\r\n0;12345\r\n\r\n", repeat_char(x, 'x', n - 2));
		run_in_pieces(&run, &usual, input, strlen(input), piece_one, NULL);
		ck_assert_int_eq(run.last == HTTPParser_ERROR ? run.parser.status : 0, n > 4096 ? 413 : 0);
	}
}

TEST(the_largest_limits_do_not_wrap)
{
	const HTTP_Limits limits = { SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, 1, 1 };
	Run run;

	run_every_way(&run, &limits, accepted[0].input, accepted[0].n);
	ck_assert_int_eq(run.last, HTTPParser_END);
	run_in_pieces(&run, &limits, CHUNKED "1\r\na\r\nffffffffffffffff\r\n",
		sizeof(CHUNKED "1\r\na\r\nffffffffffffffff\r\n") - 1, piece_all, NULL);
	ck_assert_int_eq(run.parser.status, 413);
}

/* ---- pipelines ---- */

TEST(a_request_ends_where_the_next_one_starts)
{
	char input[4096];
	size_t n = 0, at = 0;
	int i, count = 0;

	for (i = 0; i < ROWS(accepted); i++)
		if (n + accepted[i].n < sizeof input) {
			memcpy(input + n, accepted[i].input, accepted[i].n);
			n += accepted[i].n;
			count++;
		}
	ck_assert_int_ge(count, 30);
	for (i = 0; i < count; i++) {
		Run run;

		run_whole(&run, input + at, n - at);
		ck_assert_int_eq(run.last, HTTPParser_END);
		ck_assert_int_eq(httpparser__next(&run.parser, input + at, n - at), HTTPParser_END);
		at += run.end;
	}
	ck_assert_uint_eq(at, n);
}

TEST(empty_lines_alone_do_not_begin_a_request)
{
	HTTPParser p;

	httpparser__init(&p, &usual);
	ck_assert_int_eq(httpparser__next(&p, "\r\n\r", 3), HTTPParser_MORE);
	ck_assert(!httpparser__begun(&p));
	ck_assert_int_eq(httpparser__next(&p, "\r\n\r\nG", 5), HTTPParser_MORE);
	ck_assert(httpparser__begun(&p));
}

static const struct {
	const char *head;
	int keeps;
} connections[] = {
	{ GET HOST "\r\n", 1 },
	{ GET HOST "Connection: close\r\n\r\n", 0 },
	{ GET HOST "Connection: closed\r\n\r\n", 1 },
	{ GET HOST "Connection: keep-alive, close\r\n\r\n", 0 },
	{ GET HOST "Connection: Upgrade\r\nConnection: Close\r\n\r\n", 0 },
	{ "GET / HTTP/1.0\r\n\r\n", 0 },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 1 },
	{ "GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", 0 },
	/* llhttp reads this differently */
	{ GET HOST "Connection: x, close\t,\r\n\r\n", 0 },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\t\r\n\r\n", 1 },
	{ GET HOST "Proxy-Connection: close\r\n\r\n", 1 },
	{ CHUNKED "0\r\nConnection: close\r\n\r\n", 1 },
};

TEST(a_connection_is_kept_as_RFC_9112_9_3_says, .to = ROWS(connections))
{
	Run run;

	run_whole(&run, connections[_i].head, strlen(connections[_i].head));
	ck_assert_int_eq(run.last, HTTPParser_END);
	ck_assert_int_eq(httpparser__keep_alive(&run.parser) != 0, connections[_i].keeps);
}

/* ---- paths ---- */

static const struct {
	const char *raw, *path; /* NULL: refused */
} paths[] = {
	{ "", "/" }, { "/", "/" }, { "/a", "/a" }, { "/a/", "/a/" }, { "/a/b", "/a/b" },
	{ "/.", "/" }, { "/./", "/" }, { "/a/.", "/a/" }, { "/a/./b", "/a/b" },
	{ "/a/..", "/" }, { "/a/../", "/" }, { "/a/../b", "/b" }, { "/a/b/../c", "/a/c" },
	{ "/a/b/..", "/a/" },
	{ "/a/b/../..", "/" }, { "/...", "/..." }, { "/a.", "/a." }, { "/.a", "/.a" },
	{ "/..a", "/..a" }, { "/a..", "/a.." },
	{ "//", "/" }, { "//a", "/a" }, { "/a//b", "/a/b" }, { "/a//../b", "/b" },
	{ "//evil.example/", "/evil.example/" },
	{ "/%41%7e", "/A~" }, { "/%2e", "/" }, { "/a/%2E%2e/b", "/b" }, { "/a/.%2e/b", "/b" },
	{ "/a%2Fb", "/a%2Fb" },
	{ "/a/b%2f..%2fc", "/a/b%2F..%2Fc" }, { "/a%2f..%2f..%2fb", "/a%2F..%2F..%2Fb" },
	{ "/%2f", "/%2F" }, { "/a%2f/..", "/" }, { "/a/..%2f/b", "/a/..%2F/b" },
	{ "/a%5c..%5Cb", "/a%5C..%5Cb" }, { "/%252F", "/%2F" },
	 { "/%25", "/%" }, { "/%252e%252e/a", "/%2e%2e/a" }, { "/a+b", "/a+b" },
	{ "/%5C", "/%5C" }, { "/%c3%a4", "/\xc3\xa4" }, { "/a%20b", "/a b" },
	{ "/a;b=c,d", "/a;b=c,d" },
	{ "/..", NULL }, { "/../", NULL }, { "/../a", NULL }, { "/a/../..", NULL },
	{ "/a/../../b", NULL },
	{ "/%2e%2e/a", NULL }, { "//..", NULL }, { "/.%2E", NULL },
	{ "/%00", NULL }, { "/a%00.html", NULL }, { "/%", NULL }, { "/%4", NULL }, { "/%4g", NULL },
	{ "/%g4", NULL },
	{ "/%u0041", NULL }, { "/a\\..\\b", NULL }, { "/%-1", NULL },
};

TEST(a_path_is_decoded_then_resolved_and_never_climbs_out, .to = ROWS(paths))
{
	size_t n = strlen(paths[_i].raw);
	char *raw = exact_copy(paths[_i].raw, n), *out = malloc(n + 2);
	size_t length = 0;
	const char *wrong = httpparser__path(raw, n, out, &length);

	if (paths[_i].path) {
		ck_assert_msg(!wrong, "%s: %s", paths[_i].raw, wrong);
		ck_assert(httpparser__show_path(out, length) <= length);
		ck_assert(length == 0 || strlen(out) == length);
		ck_assert_str_eq(out, paths[_i].path);
	} else
		ck_assert_msg(wrong != NULL, "%s became %s", paths[_i].raw, out);
	free(out);
	free(raw);
}

TEST(the_explanation_of_a_bad_path_names_its_fault)
{
	char out[32];
	size_t length;

	ck_assert_str_eq(httpparser__path("/a%00", 5, out, &length), "a NUL in the path: %1");
	ck_assert_str_eq(httpparser__path("/a%0", 4, out, &length),
		"a malformed escape in the path: %1");
	ck_assert_str_eq(httpparser__path("/a\\", 3, out, &length), "a backslash in the path: %1");
	ck_assert_str_eq(httpparser__path("/..", 3, out, &length),
		"the path climbs above the root: %1");
}

TEST(words_compare_without_case_and_only_as_a_whole)
{
	ck_assert(httpparser__is("Close", 5, "close"));
	ck_assert(httpparser__is("close", 5, "CLOSE"));
	ck_assert(!httpparser__is("close", 4, "close"));
	ck_assert(!httpparser__is("closed", 6, "close"));
	ck_assert(!httpparser__is("keep\ralive", 10, "keep-alive"));
	ck_assert(!httpparser__is("", 0, "close"));
	ck_assert(httpparser__is_token("a", 1));
	ck_assert(!httpparser__is_token("", 0));
	ck_assert(!httpparser__is_token("a b", 3));
	ck_assert(httpparser__is_text("", 0));
	ck_assert(!httpparser__is_text("a\nb", 3));
}

/* ---- mutations ---- */

static uint32_t next_random(uint32_t *state) /* xorshift32, Marsaglia 2003 */
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static size_t piece_random(void *cl, size_t at)
{
	uint32_t r = next_random(cl);

	(void)at;
	return r & 1 ? 1 + r / 2 % 4 : 1 + r / 2 % 64;
}

static size_t mutate_input(char *input, size_t n, size_t room, uint32_t *state)
{
	static const char *const words[] = { "\r\n", "\n", "\r", " ", "\t", ":", ",", "0", "f",
		"chunked", "Content-Length: 5\r\n",
		TE, HOST, "\r\n\r\n", ";", "HTTP/1.0", "..", "%", "/", "[", "http://", "close" };
	size_t at = next_random(state) % (n + 1), length;
	const char *word;

	switch (next_random(state) % 4) {
	case 0:
		if (at < n)
			input[at] = (char)next_random(state);
		return n;
	case 1:
		length = next_random(state) % 8;
		length = length < n - at ? length : n - at;
		memmove(input + at, input + at + length, n - at - length);
		return n - length;
	case 2:
		word = words[next_random(state) % ROWS(words)];
		length = strlen(word);
		if (n + length > room)
			return n;
		memmove(input + at + length, input + at, n - at);
		memcpy(input + at, word, length);
		return n + length;
	default: /* repeats a piece */
		length = next_random(state) % 16;
		length = length < n - at ? length : n - at;
		if (n + length > room)
			return n;
		memmove(input + at + length, input + at, n - at);
		return n + length;
	}
}

TEST(twenty_thousand_mutations_are_read_the_same_way_however_they_are_cut)
{
	enum { MUTATIONS = 20000 };
	uint32_t state = 2463534242u;
	int i, ends = 0, errors = 0;

	for (i = 0; i < MUTATIONS; i++) {
		int row = (int)(next_random(&state) % (unsigned)(ROWS(refused) + ROWS(accepted)));
		const Row *from = row < ROWS(refused) ? &refused[row] : &accepted[row - ROWS(refused)];
		char input[512];
		size_t n = from->n;
		Run whole, cut;
		int times;

		memcpy(input, from->input, n);
		for (times = (int)(next_random(&state) % 4); times >= 0; times--)
			n = mutate_input(input, n, sizeof input, &state);
		run_whole(&whole, input, n);
		run_in_pieces(&cut, &usual, input, n, piece_random, &state);
		ck_assert_msg(strcmp(whole.text, cut.text) == 0, "mutation %d: \"%s\" is not \"%s\"", i,
			whole.text, cut.text);
		ends += whole.last == HTTPParser_END;
		errors += whole.last == HTTPParser_ERROR;
	}
	ck_assert_int_gt(ends, MUTATIONS / 50);
	ck_assert_int_gt(errors, MUTATIONS / 4);
}
