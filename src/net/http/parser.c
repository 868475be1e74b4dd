/* SPDX-License-Identifier: MIT */
/* The HTTP/1.1 request parser. There is one function for each state. It looks at bytes from `at` on
 * until its token ends, and then moves to the next state. If the bytes end before, it answers MORE.
 *
 * Invariant: bytes before `at` were seen, and are only looked at again as finished slices. `mark`
 * is where the current token began. No state looks beyond the byte at `at`, so the events do not
 * depend on how the input was cut. A whole line is taken at once if the states would take it, too.
 * `cap` is the first position at which a byte of the current line, or of all field lines, is one
 * too many. If the parser returns without an error, at <= cap.
 *
 * The parser is strict (RFC 9112, 11.2). Where the RFC lets a recipient repair a message, two
 * recipients on one path may repair it differently, and the difference is a smuggled request. So a
 * line ends in CR LF only, folded lines are refused, and each framing field has one form. */
#include "config.h"

#include <string.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/parser.h"
#include "http/syntax.h"

enum {
	EMPTY_LINES = 8,  /* lines before the request line; RFC 9112, 2.2 asks for one */
	SIZE_DIGITS = 16, /* digits in a chunk size: more are an overflow or padding */
	/* Bytes of chunk extensions, beyond one for each byte of body (CVE-2023-39326). */
	EXTENSION_BYTES = 4096
};

static int enter_state(HTTPParser *p, enum State state)
{
	p->state = (unsigned char)state;
	return GO_ON;
}

/* The current byte ends the current token, and the next token begins after it. */
static int enter_past(HTTPParser *p, enum State state)
{
	p->mark = ++p->at;
	return enter_state(p, state);
}

static size_t capped_at(size_t at, size_t limit)
{
	return limit < SIZE_MAX - at ? at + limit : SIZE_MAX;
}

/* ---- the request line ---- */

/* RFC 9112, 3: a method that is longer than any of ours is 501, a target 414. */
static int line_too_long(HTTPParser *p)
{
	if (p->flags & HTTPParser_ANSWER)
		return fail_number(p, 502, p->limits->request_line,
			"the status line is longer than %n bytes");
	if (p->state == METHOD)
		return fail_number(p, 501, p->limits->request_line, "the method is longer than %n bytes");
	return fail_number(p, 414, p->limits->request_line, "the request line is longer than %n bytes");
}

/* GO_ON if there is a byte to look at, and the line (its CR LF not counted) is within its limit */
static int line_byte(HTTPParser *p, const char *b, size_t n)
{
	if (p->at > p->cap || (p->at == p->cap && p->at < n && b[p->at] != '\r'))
		return line_too_long(p);
	return p->at < n ? GO_ON : HTTPParser_MORE;
}

static int read_start_lf(HTTPParser *p, const char *b, size_t n)
{
	if (p->at == n)
		return HTTPParser_MORE;
	if (b[p->at] != '\n')
		return fail_parser(p, 400, "a CR without LF before the request line");
	if (++p->empty > EMPTY_LINES)
		return fail_number(p, 400, EMPTY_LINES, "more than %n empty lines before the request line");
	return enter_past(p, START);
}

/* The whole line at once if it lies there whole, plainly right and within its limit. Otherwise
 * nothing was done: the states look at it byte by byte, and know what is wrong with it. */
static int whole_line(HTTPParser *p, const char *b, size_t n)
{
	static const char rest[] = " HTTP/1.1\r\n";
	int is_get = n - p->at > 4 && memcmp(b + p->at, "GET ", 4) == 0;
	size_t method_end = is_get ? p->at + 3 : skip_class(b, p->at, n, IN_TOKEN);
	size_t from = method_end + 1, to;

	if (method_end == p->at || method_end == n || b[method_end] != ' ')
		return 0;
	to = skip_target(b, from, n);
	if (to == from || n - to < sizeof rest - 1 || memcmp(b + to, rest, sizeof rest - 1) != 0
		|| to + 9 > p->cap)
		return 0;
	p->method = slice_between(p->at, method_end);
	p->target = slice_between(from, to);
	p->at = to + sizeof rest - 1;
	return 1;
}

static int end_line(HTTPParser *p, const char *b)
{
	p->mark = p->at;
	p->cap = capped_at(p->at, p->limits->header_bytes);
	enter_state(p, FIELD);
	return httpparser__target(p, b);
}

static int read_start(HTTPParser *p, const char *b, size_t n)
{
	if (p->at == n)
		return HTTPParser_MORE;
	if (b[p->at] == '\r')
		return enter_past(p, START_LF);
	p->cap = capped_at(p->at, p->limits->request_line);
	if (whole_line(p, b, n))
		return end_line(p, b);
	p->mark = p->at;
	return enter_state(p, METHOD);
}

static int read_method(HTTPParser *p, const char *b, size_t n)
{
	int e;

	p->at = skip_class(b, p->at, n, IN_TOKEN);
	if ((e = line_byte(p, b, n)) != GO_ON)
		return e;
	if (b[p->at] != ' ')
		return fail_byte(p, b[p->at], "the method has the byte %c");
	if (p->at == p->mark)
		return fail_parser(p, 400, "the request line starts with a space");
	p->method = slice_between(p->mark, p->at);
	if (p->at - p->mark == 4 && memcmp(b + p->mark, "HEAD", 4) == 0)
		p->flags |= HTTPParser_IS_HEAD; /* the line may be refused before its end */
	return enter_past(p, TARGET);
}

static int read_target(HTTPParser *p, const char *b, size_t n)
{
	int e;

	p->at = skip_target(b, p->at, n);
	if ((e = line_byte(p, b, n)) != GO_ON)
		return e;
	if (b[p->at] == '\r' || b[p->at] == '\n')
		return fail_parser(p, 400, "the request line has no version");
	if (b[p->at] != ' ')
		return fail_byte(p, b[p->at], "the target has the byte %c");
	if (p->at == p->mark)
		return fail_parser(p, 400, "the method is followed by two spaces");
	p->target = slice_between(p->mark, p->at);
	return enter_past(p, VERSION);
}

static int read_version(HTTPParser *p, const char *b, size_t n)
{
	static const char shape[] = "HTTP/0.0";

	for (; p->at - p->mark < sizeof shape - 1; p->at++) {
		char want = shape[p->at - p->mark];
		int e = line_byte(p, b, n);

		if (e != GO_ON)
			return e;
		if (want == '0' ? !is_digit(b[p->at]) : b[p->at] != want)
			return fail_slice(p, slice_between(p->mark, p->at + 1), "the version is malformed: %1");
	}
	return enter_state(p, LINE_CR);
}

static int read_line_cr(HTTPParser *p, const char *b, size_t n)
{
	const char *v = b + p->mark;
	int e = line_byte(p, b, n);

	if (e != GO_ON)
		return e;
	if (b[p->at] != '\r')
		return fail_byte(p, b[p->at], "the version is followed by the byte %c");
	if (v[5] != '1') {
		fail_slice(p, slice_between(p->mark, p->at), "the version is not of HTTP/1: %1");
		p->status = 505;
		return HTTPParser_ERROR;
	}
	if (v[7] == '0') /* a later minor version is read as 1.1, the highest of ours: RFC 9110, 2.5 */
		p->flags |= HTTPParser_OLD;
	return enter_past(p, LINE_LF);
}

static int read_line_lf(HTTPParser *p, const char *b, size_t n)
{
	if (p->at == n)
		return HTTPParser_MORE;
	if (b[p->at] != '\n')
		return fail_parser(p, 400, "the first line has a CR without LF");
	p->at++;
	return end_line(p, b);
}

/* ---- the status line of a response: RFC 9112, 4 ---- */

static int take_status(HTTPParser *p, const char *b)
{
	const char *v = b + p->mark;

	if (v[5] != '1' || v[9] < '1' || v[9] > '5')
		return fail_slice(p, slice_between(p->mark, p->at),
			"the status line is of no version or class that we know: %1");
	if (v[7] == '0')
		p->flags |= HTTPParser_OLD;
	p->answer = (unsigned short)((v[9] - '0') * 100 + (v[10] - '0') * 10 + (v[11] - '0'));
	return enter_state(p, REASON);
}

/* The space before the reason may be missing together with the reason, as many servers have it. */
static int read_status(HTTPParser *p, const char *b, size_t n)
{
	static const char shape[] = "HTTP/0.0 000";
	int e;

	for (; p->at - p->mark < sizeof shape - 1; p->at++) {
		char want = shape[p->at - p->mark];

		if ((e = line_byte(p, b, n)) != GO_ON)
			return e;
		if (want == '0' ? !is_digit(b[p->at]) : b[p->at] != want)
			return fail_slice(p, slice_between(p->mark, p->at + 1),
				"the status line is malformed: %1");
	}
	if ((e = line_byte(p, b, n)) != GO_ON)
		return e;
	if (b[p->at] != ' ' && b[p->at] != '\r')
		return fail_byte(p, b[p->at], "the status is followed by the byte %c");
	if ((e = take_status(p, b)) != GO_ON)
		return e;
	p->at += b[p->at] == ' ';
	p->mark = p->at;
	return GO_ON;
}

static int read_reason(HTTPParser *p, const char *b, size_t n)
{
	int e;

	p->at = skip_text(b, p->at, n);
	if ((e = line_byte(p, b, n)) != GO_ON)
		return e;
	if (b[p->at] != '\r')
		return fail_byte(p, b[p->at], "the reason has the byte %c");
	p->target = slice_between(p->mark, p->at);
	return enter_past(p, LINE_LF);
}

/* ---- field lines, of the head and of the trailer ---- */

/* GO_ON if there is a byte to look at, and the field lines, all together, are within their limit */
static int field_byte(HTTPParser *p, size_t n)
{
	if (p->at > p->cap || (p->at == p->cap && p->at < n))
		return fail_number(p, 431, p->limits->header_bytes,
			"the field lines are longer than %n bytes");
	return p->at < n ? GO_ON : HTTPParser_MORE;
}

/* As whole_line. It looks for the end of the line from the start of the name, whose bytes are text,
 * too. So the processor can go on to the next line before it knows the end of the name. In a
 * trailer the slices are not wanted. */
static int whole_field(HTTPParser *p, const char *b, size_t n)
{
	size_t end = n < p->cap ? n : p->cap, to, colon;

	if (p->fields == p->limits->header_count || p->flags & HTTPParser_TRAILER)
		return 0;
	to = skip_text(b, p->at, end);
	if (end - to < 2 || b[to] != '\r' || b[to + 1] != '\n')
		return 0;
	colon = skip_token(b, p->at, to);
	if (colon == p->at || b[colon] != ':')
		return 0;
	p->name = slice_between(p->at, colon);
	p->value = trim_slice(b, colon + 1, to);
	p->fields++;
	p->at = p->mark = to + 2;
	return 1;
}

static int read_field(HTTPParser *p, const char *b, size_t n)
{
	int e;

	if (p->at < n && b[p->at] == '\r')
		return enter_past(p, HEAD_LF);
	if (whole_field(p, b, n))
		return httpparser__known_field(p, b);
	if ((e = field_byte(p, n)) != GO_ON)
		return e;
	if (is_space(b[p->at]))
		return fail_parser(p, 400, "a field line starts with white space");
	if (b[p->at] == ':')
		return fail_parser(p, 400, "a field line has no name");
	if (p->fields == p->limits->header_count)
		return fail_number(p, 431, p->limits->header_count, "more than %n fields");
	p->mark = p->at;
	return enter_state(p, NAME);
}

/* In a trailer the buffer may have been replaced inside a line: slices are good for nothing
 * there. */
static int read_name(HTTPParser *p, const char *b, size_t n)
{
	int e;

	p->at = skip_token(b, p->at, n);
	if ((e = field_byte(p, n)) != GO_ON)
		return e;
	p->name = p->flags & HTTPParser_TRAILER ? slice_between(0, 0) : slice_between(p->mark, p->at);
	switch (b[p->at]) {
	case ':':
		return enter_past(p, VALUE_START);
	case ' ': case '\t':
		return fail_parser(p, 400, "white space before the colon of %f");
	case '\r': case '\n':
		return fail_parser(p, 400, "a field line has no colon: %f");
	default:
		return fail_byte(p, b[p->at], "a field name has the byte %c: %f");
	}
}

static int read_value_start(HTTPParser *p, const char *b, size_t n)
{
	int e;

	while (p->at < n && is_space(b[p->at]))
		p->at++;
	if ((e = field_byte(p, n)) != GO_ON)
		return e;
	p->mark = p->at;
	return enter_state(p, VALUE);
}

static int read_value(HTTPParser *p, const char *b, size_t n)
{
	int e;

	p->at = skip_text(b, p->at, n);
	if ((e = field_byte(p, n)) != GO_ON)
		return e;
	if (b[p->at] == '\n')
		return fail_parser(p, 400, "the line of %f ends in LF without CR");
	if (b[p->at] != '\r')
		return fail_byte(p, b[p->at], "the value of %f has the byte %c");
	if (!(p->flags & HTTPParser_TRAILER))
		p->value = trim_slice(b, p->mark, p->at);
	return enter_past(p, VALUE_LF);
}

static int read_value_lf(HTTPParser *p, const char *b, size_t n)
{
	int e = field_byte(p, n);

	if (e != GO_ON)
		return e;
	if (b[p->at] != '\n')
		return fail_parser(p, 400, "the value of %f has a CR without LF");
	p->fields++;
	enter_past(p, FIELD);
	return p->flags & HTTPParser_TRAILER ? GO_ON : httpparser__known_field(p, b);
}

static int read_head_lf(HTTPParser *p, const char *b, size_t n)
{
	if (p->at == n)
		return HTTPParser_MORE;
	if (b[p->at] != '\n')
		return fail_parser(p, 400, "the empty line after the fields has a CR without LF");
	if (p->flags & HTTPParser_TRAILER)
		return enter_past(p, DONE);
	p->mark = ++p->at;
	if (httpparser__framing(p) == HTTPParser_ERROR)
		return HTTPParser_ERROR;
	enter_state(p, p->flags & HTTPParser_CHUNKED ? SIZE : BODY);
	return HTTPParser_HEAD;
}

/* ---- the body ---- */

static int bytes_of_body(HTTPParser *p, size_t n)
{
	size_t length = n - p->at;

	if (length == 0)
		return HTTPParser_MORE;
	if (length > p->left)
		length = (size_t)p->left;
	p->value = (HTTPSlice){ p->at, length };
	p->at += length;
	p->left -= length;
	if (length > p->limits->body_bytes - p->body) /* whose end was not known before */
		return fail_number(p, 413, p->limits->body_bytes, "the body is longer than %n bytes");
	p->body += length;
	return HTTPParser_BODY;
}

static int read_body(HTTPParser *p, const char *b, size_t n)
{
	(void)b;
	return p->left == 0 ? enter_state(p, DONE) : bytes_of_body(p, n);
}

static int read_size(HTTPParser *p, const char *b, size_t n)
{
	int digit;

	for (; p->at < n && (digit = hex_value(b[p->at])) >= 0; p->at++) {
		if (++p->digits > SIZE_DIGITS)
			return fail_number(p, 400, SIZE_DIGITS, "a chunk size of more than %n digits");
		p->left = p->left << 4 | (unsigned)digit;
	}
	if (p->at == n)
		return HTTPParser_MORE;
	if (p->digits > 0 && (b[p->at] == ';' || is_space(b[p->at]))) {
		p->place = BEFORE_SEMICOLON;
		return enter_state(p, EXTENSION);
	}
	if (p->digits == 0 || b[p->at] != '\r')
		return fail_byte(p, b[p->at], "a chunk size has the byte %c");
	return enter_past(p, SIZE_LF);
}

/* None is known to us, but a recipient that heeds their quotes must see the same line end as we
 * do. */
static int read_extension(HTTPParser *p, const char *b, size_t n)
{
	size_t from = p->at;
	enum Place place = (enum Place)p->place;

	for (; p->at < n && place < LINE_END; p->at++)
		place = httpparser__next_place(place, b[p->at]);
	p->place = (unsigned char)place;
	p->extension += p->at - from - (place == LINE_END);
	if (p->extension > capped_at(p->body, EXTENSION_BYTES))
		return fail_parser(p, 413, "too many bytes of chunk extensions");
	if (place == WRONG)
		return fail_byte(p, b[p->at - 1], "a chunk extension has the byte %c");
	if (place != LINE_END)
		return HTTPParser_MORE;
	p->mark = p->at;
	return enter_state(p, SIZE_LF);
}

static int start_trailer(HTTPParser *p)
{
	p->flags |= HTTPParser_TRAILER;
	p->fields = 0;
	p->cap = capped_at(p->at, p->limits->header_bytes);
	return enter_state(p, FIELD);
}

static int read_size_lf(HTTPParser *p, const char *b, size_t n)
{
	if (p->at == n)
		return HTTPParser_MORE;
	if (b[p->at] != '\n')
		return fail_parser(p, 400, "the line of a chunk size has a CR without LF");
	if (p->left > p->limits->body_bytes - p->body)
		return fail_number(p, 413, p->limits->body_bytes,
			"the chunks of the body are more than %n bytes");
	enter_past(p, DATA);
	return p->left == 0 ? start_trailer(p) : GO_ON;
}

static int read_data(HTTPParser *p, const char *b, size_t n)
{
	(void)b;
	return p->left == 0 ? enter_state(p, DATA_CR) : bytes_of_body(p, n);
}

static int read_data_cr(HTTPParser *p, const char *b, size_t n)
{
	if (p->at == n)
		return HTTPParser_MORE;
	if (b[p->at] != '\r')
		return fail_byte(p, b[p->at], "a chunk is followed by the byte %c");
	return enter_past(p, DATA_LF);
}

static int read_data_lf(HTTPParser *p, const char *b, size_t n)
{
	if (p->at == n)
		return HTTPParser_MORE;
	if (b[p->at] != '\n')
		return fail_parser(p, 400, "the end of a chunk has a CR without LF");
	p->digits = 0;
	return enter_past(p, SIZE);
}

static int stay_done(HTTPParser *p, const char *b, size_t n)
{
	(void)p, (void)b, (void)n;
	return HTTPParser_END;
}

static int stay_failed(HTTPParser *p, const char *b, size_t n)
{
	(void)p, (void)b, (void)n;
	return HTTPParser_ERROR;
}

/* ---- the machine ---- */

static int (*const steps[])(HTTPParser *, const char *, size_t) = {
	[START] = read_start,
	[START_LF] = read_start_lf,
	[METHOD] = read_method,
	[TARGET] = read_target,
	[VERSION] = read_version,
	[LINE_CR] = read_line_cr,
	[LINE_LF] = read_line_lf,
	[FIELD] = read_field,
	[NAME] = read_name,
	[VALUE_START] = read_value_start,
	[VALUE] = read_value,
	[VALUE_LF] = read_value_lf,
	[HEAD_LF] = read_head_lf,
	[BODY] = read_body,
	[SIZE] = read_size,
	[EXTENSION] = read_extension,
	[SIZE_LF] = read_size_lf,
	[DATA] = read_data,
	[DATA_CR] = read_data_cr,
	[DATA_LF] = read_data_lf,
	[STATUS] = read_status,
	[REASON] = read_reason,
	[DONE] = stay_done,
	[FAILED] = stay_failed
};

/* The other slices are set before anyone looks at them. Single stores are faster than memset. */
void httpparser__init(HTTPParser *p, const HTTP_Limits *limits)
{
	p->limits = limits;
	p->state = START;
	p->byte = p->place = 0;
	p->flags = p->status = p->answer = 0;
	p->digits = p->empty = 0;
	p->at = p->mark = p->cap = 0;
	p->fields = p->body = p->extension = 0;
	p->left = 0;
	p->what = NULL;
	p->authority = p->name = (HTTPSlice){ 0, 0 };
}

void httpparser__init_answer(HTTPParser *p, const HTTP_Limits *limits, int to_head)
{
	httpparser__init(p, limits);
	p->flags = HTTPParser_ANSWER | (to_head ? HTTPParser_TO_HEAD : 0);
	p->cap = capped_at(0, limits->request_line);
	enter_state(p, STATUS);
}

int httpparser__close(HTTPParser *p)
{
	if (p->state != BODY || !(p->flags & HTTPParser_UNTIL_CLOSE))
		return 0;
	enter_state(p, DONE);
	return 1;
}

void httpparser__walk(HTTPParser *p, size_t at)
{
	static const HTTP_Limits none = { SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, -1, -1 };

	httpparser__init(p, &none);
	p->at = p->mark = at;
	p->cap = SIZE_MAX;
	p->flags = HTTPParser_ANSWER; /* Host is a field like others: it was looked at before */
	enter_state(p, FIELD);
}

HTTPParser_Event httpparser__next(HTTPParser *p, const char *bytes, size_t n)
{
	int event;

	do
		event = steps[p->state](p, bytes, n);
	while (event == GO_ON);
	return (HTTPParser_Event)event;
}

void httpparser__rewind(HTTPParser *p)
{
	p->cap -= p->at < p->cap ? p->at : p->cap;
	p->at = p->mark = 0;
}

int httpparser__begun(const HTTPParser *p)
{
	return p->state > START_LF;
}
