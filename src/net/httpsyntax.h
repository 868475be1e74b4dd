/* SPDX-License-Identifier: MIT */
/* Private to the parser's own files: its states, classes of bytes, and the ways to fail. */
#ifndef NET_HTTPSYNTAX_INCLUDED
#define NET_HTTPSYNTAX_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "httpparser.h"

/* What a state's function returns: an event for the caller, or GO_ON to the next state. */
enum { GO_ON = HTTPParser_ERROR + 1 };

enum State {
	START, START_LF, METHOD, TARGET, VERSION, LINE_CR, LINE_LF,
	FIELD, NAME, VALUE_START, VALUE, VALUE_LF, HEAD_LF,
	BODY, SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF,
	DONE, FAILED
};

/* ---- HTTPFraming.c: what a line that was read means. An event, or GO_ON for a field that is left out ---- */

int httpparser__target(HTTPParser *p, const char *b);
int httpparser__known_field(HTTPParser *p, const char *b);
int httpparser__framing(HTTPParser *p); /* of the whole head */

/* ---- classes of bytes ---- */

enum {
	IN_TOKEN = 1,  /* tchar, RFC 9110, 5.6.2 */
	IN_TARGET = 2, /* visible ASCII without # " < >: browsers send [ ] { } | \ ^ ` as they are */
	IN_TEXT = 4,   /* field-vchar, SP and HTAB, RFC 9110, 5.5: obs-text is kept */
	IN_HOST = 8    /* reg-name without the comma, which is what joined Host fields look like; RFC 3986, 3.2.2 */
};

extern const unsigned char http__classes[256];

static inline size_t skip(const char *b, size_t at, size_t n, int class)
{
	while (at < n && http__classes[(unsigned char)b[at]] & class)
		at++;
	return at;
}

/* Eight bytes at a time while none is below 0x20 or is 0x7f ("Bit Twiddling Hacks", hasless and
 * haszero: exact as a yes or no for all eight); a tab only costs the slower way. */
static inline size_t skip_text(const char *b, size_t at, size_t n)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;

	while (n - at >= 8) {
		uint64_t x, dels;

		memcpy(&x, b + at, 8);
		dels = x ^ ones * 0x7f;
		if ((((x - ones * 0x20) & ~x) | ((dels - ones) & ~dels)) & tops)
			break;
		at += 8;
	}
	return skip(b, at, n, IN_TEXT);
}

static inline int is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static inline int is_space(int c)
{
	return c == ' ' || c == '\t';
}

static inline int lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* 0 to 15, or -1 */
static inline int hex(int c)
{
	if (is_digit(c))
		return c - '0';
	c = lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline HTTPSlice between(size_t from, size_t to)
{
	return (HTTPSlice){ from, to - from };
}

static inline HTTPSlice trim(const char *b, size_t from, size_t to)
{
	while (from < to && is_space(b[from]))
		from++;
	while (to > from && is_space(b[to - 1]))
		to--;
	return between(from, to);
}

/* ---- failing. what: %1 and %2 stand for slices, %c for the byte, %n for the number, %f for the field ---- */

static inline int fail(HTTPParser *p, int status, const char *what)
{
	p->state = FAILED;
	p->status = (unsigned short)status;
	p->what = what;
	return HTTPParser_ERROR;
}

static inline int fail_byte(HTTPParser *p, char c, const char *what)
{
	p->byte = (unsigned char)c;
	return fail(p, 400, what);
}

static inline int fail_slice(HTTPParser *p, HTTPSlice s, const char *what)
{
	p->one = s;
	return fail(p, 400, what);
}

static inline int fail_number(HTTPParser *p, int status, size_t number, const char *what)
{
	p->number = number;
	return fail(p, status, what);
}

#endif
