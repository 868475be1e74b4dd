/* SPDX-License-Identifier: MIT */
/* Private to the parser's own files: its states, classes of bytes, and the ways to fail. */
#ifndef NET_HTTPSYNTAX_INCLUDED
#define NET_HTTPSYNTAX_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "http/parser.h"
#include "http/scan.h"

/* A state's function returns an event for the caller, or GO_ON to the next state. */
enum { GO_ON = HTTPParser_ERROR + 1 };

enum State {
	START, START_LF, METHOD, TARGET, VERSION, LINE_CR, LINE_LF,
	FIELD, NAME, VALUE_START, VALUE, VALUE_LF, HEAD_LF,
	BODY, SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF,
	STATUS, REASON,
	DONE, FAILED
};

/* ---- http/framing.c: what a line that was read means. An event, or GO_ON for a field that is
 * left out ---- */

int httpparser__target(HTTPParser *p, const char *b);
int httpparser__known_field(HTTPParser *p, const char *b);
int httpparser__framing(HTTPParser *p); /* checks the whole head */

/* ---- http/text.c: chunk extensions ---- */

/* Where the byte at `at` stands in chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token /
 * quoted-string ) ] ), RFC 9112, 7.1.1 */
enum Place {
	BEFORE_SEMICOLON, BEFORE_NAME, IN_NAME, AFTER_NAME,
	BEFORE_VALUE, IN_VALUE, IN_QUOTES, ESCAPED, AFTER_QUOTES,
	LINE_END, WRONG
};
/* The place of the byte behind c. */
enum Place httpparser__next_place(enum Place place, char c);

/* ---- bytes ---- */

static inline int is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static inline int is_space(int c)
{
	return c == ' ' || c == '\t';
}

static inline int lower_letter(int c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* 0 to 15, or -1 */
static inline int hex_value(int c)
{
	if (is_digit(c))
		return c - '0';
	c = lower_letter(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline HTTPSlice slice_between(size_t from, size_t to)
{
	return (HTTPSlice){ from, to - from };
}

static inline HTTPSlice trim_slice(const char *b, size_t from, size_t to)
{
	while (from < to && is_space(b[from]))
		from++;
	while (to > from && is_space(b[to - 1]))
		to--;
	return slice_between(from, to);
}

/* ---- failing. what: %1 and %2 stand for slices, %c for the byte, %n for the number, %f for the
 * field ---- */

static inline int fail_parser(HTTPParser *p, int status, const char *what)
{
	p->state = FAILED;
	p->status = (unsigned short)status;
	p->what = what;
	return HTTPParser_ERROR;
}

static inline int fail_byte(HTTPParser *p, char c, const char *what)
{
	p->byte = (unsigned char)c;
	return fail_parser(p, 400, what);
}

static inline int fail_slice(HTTPParser *p, HTTPSlice s, const char *what)
{
	p->one = s;
	return fail_parser(p, 400, what);
}

static inline int fail_number(HTTPParser *p, int status, size_t number, const char *what)
{
	p->number = number;
	return fail_parser(p, status, what);
}

#endif
