/* SPDX-License-Identifier: MIT */
/* Finds what the parser's tokens mean for the message itself. These are the form of the target, and
 * the fields that frame the body or name the host. They must go together. Nothing here moves the
 * parser but into FAILED. Each rule has one outcome; where RFC 9112 offers to repair, we refuse. */
#include "config.h"

#include <string.h>

#include <core/HTTP.h>
#include "http/parser.h"
#include "http/syntax.h"

#define NOINLINE __attribute__((noinline))

static inline uint64_t differ8(const char *s, const char *word)
{
	uint64_t x, w;

	memcpy(&x, s, 8);
	memcpy(&w, word, 8);
	return (x | UINT64_MAX / 255 * 0x20) ^ w;
}

static inline uint32_t differ4(const char *s, const char *word)
{
	uint32_t x, w;

	memcpy(&x, s, 4);
	memcpy(&w, word, 4);
	return (x | 0x20202020u) ^ w;
}

/* Returns 1 if they are equal but for the case of letters. The slice is text. The word has at least
 * four small letters, digits and hyphens. Only control characters could be taken for these when
 * 0x20 is set. Some bytes are looked at twice. */
static inline int equals_word(const char *s, const char *word, size_t n)
{
	if (n < 8)
		/* cppcheck-suppress pointerOutOfBoundsCond ; n is the word's own length */
		return (differ4(s, word) | differ4(s + n - 4, word + n - 4)) == 0;
	if (n > 16 && differ8(s + 8, word + 8) != 0)
		return 0;
	/* cppcheck-suppress pointerOutOfBoundsCond ; as above */
	return (differ8(s, word) | differ8(s + n - 8, word + n - 8)) == 0;
}

#define slice_is(b, s, word) \
	((s).length == sizeof(word) - 1 && equals_word((b) + (s).at, (word), sizeof(word) - 1))

static int same_slices(const char *b, HTTPSlice x, HTTPSlice y)
{
	return x.length == y.length && memcmp(b + x.at, b + y.at, x.length) == 0;
}

/* ---- the target ---- */

static void split_path(HTTPParser *p, const char *b, size_t from)
{
	size_t end = p->target.at + p->target.length;
	size_t question = skip_path(b, from, end);

	p->path = slice_between(from, question);
	p->query = slice_between(question < end ? question + 1 : end, end);
}

/* http://authority/path?query, RFC 9112, 3.2.2 */
static int absolute_form(HTTPParser *p, const char *b)
{
	size_t from = p->target.at, end = from + p->target.length, scheme = 0;

	if (p->target.length > 7 && httpparser__is(b + from, 7, "http://"))
		scheme = 7;
	else if (p->target.length > 8 && httpparser__is(b + from, 8, "https://"))
		scheme = 8;
	else
		return fail_slice(p, p->target, "the target is neither a path nor an http URI: %1");
	from += scheme;
	p->authority.at = from;
	while (from < end && b[from] != '/' && b[from] != '?')
		from++;
	p->authority.length = from - p->authority.at;
	if (!httpparser__is_authority(b + p->authority.at, p->authority.length))
		return fail_slice(p, p->authority, "the target's host is malformed: %1");
	split_path(p, b, from);
	return HTTPParser_LINE;
}

/* The four forms of RFC 9112, 3.2 */
int httpparser__target(HTTPParser *p, const char *b)
{
	HTTPSlice t = p->target, m = p->method;

	if (p->flags & HTTPParser_ANSWER)
		return HTTPParser_LINE;
	if (m.length == 7 && memcmp(b + m.at, "CONNECT", 7) == 0)
		return fail_parser(p, 501, "CONNECT: this is not a proxy");
	if (m.length == 7 && memcmp(b + m.at, "OPTIONS", 7) == 0)
		p->flags |= HTTPParser_IS_OPTIONS;
	if (m.length == 4 && memcmp(b + m.at, "HEAD", 4) == 0)
		p->flags |= HTTPParser_IS_HEAD;
	if (b[t.at] == '/') {
		split_path(p, b, t.at);
		return HTTPParser_LINE;
	}
	if (t.length == 1 && b[t.at] == '*' && p->flags & HTTPParser_IS_OPTIONS) {
		p->path = t;
		p->query = slice_between(t.at + 1, t.at + 1);
		return HTTPParser_LINE;
	}
	return absolute_form(p, b);
}

/* ---- fields that say something about the message itself. Out of line, or the fields that say
 * nothing would save and restore registers for them ---- */

NOINLINE static int take_host(HTTPParser *p, const char *b)
{
	if (p->flags & HTTPParser_ANSWER)
		return HTTPParser_FIELD;
	if (p->flags & HTTPParser_HAS_HOST) {
		p->two = p->value;
		return fail_slice(p, p->host, "Host given twice: %1, %2");
	}
	if (!httpparser__is_authority(b + p->value.at, p->value.length))
		return fail_slice(p, p->value, "Host is malformed: %1");
	p->flags |= HTTPParser_HAS_HOST;
	p->host = p->value;
	return HTTPParser_FIELD;
}

static int body_too_large(HTTPParser *p)
{
	p->one = p->content_length;
	return fail_number(p, 413, p->limits->body_bytes, "a body of %1 bytes is more than %n");
}

static int is_number(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && is_digit(s[i]))
		i++;
	return n > 0 && i == n;
}

NOINLINE static int take_content_length(HTTPParser *p, const char *b)
{
	const char *s = b + p->value.at;
	size_t i;

	if (p->flags & HTTPParser_HAS_LENGTH) {
		if (same_slices(b, p->content_length, p->value))
			return GO_ON;
		p->two = p->value;
		return fail_slice(p, p->content_length, "Content-Length given twice: %1, %2");
	}
	p->content_length = p->value;
	if (!is_number(s, p->value.length))
		return fail_slice(p, p->value, "Content-Length is not a number: %1");
	for (i = 0; i < p->value.length; i++)
		if (__builtin_mul_overflow(p->left, 10u, &p->left)
				|| __builtin_add_overflow(p->left, (unsigned)(s[i] - '0'), &p->left))
			return body_too_large(p);
	p->flags |= HTTPParser_HAS_LENGTH;
	return HTTPParser_FIELD;
}

static int bad_coding(HTTPParser *p)
{
	return fail_slice(p, p->coding, "Transfer-Encoding is not just \"chunked\": %1");
}

/* The codings of all lines are one list (RFC 9110, 5.3), in which "chunked" stands once, at the
 * end. */
NOINLINE static int take_transfer_encoding(HTTPParser *p, const char *b)
{
	HTTPSlice rest = p->value, member = { 0, 0 };

	if (!(p->flags & HTTPParser_CODED))
		p->coding = p->value; /* the first line that is not just ours */
	if (p->flags & HTTPParser_CHUNKED)
		return fail_slice(p, p->value, "Transfer-Encoding goes on after \"chunked\": %1");
	if (slice_is(b, p->value, "chunked")) {
		p->flags |= HTTPParser_CHUNKED;
		return HTTPParser_FIELD;
	}
	if (p->value.length == 0 || b[p->value.at + p->value.length - 1] == ',')
		return bad_coding(p);
	while (httpparser__member(b, &rest, &member)) {
		if (p->flags & HTTPParser_CHUNKED || !httpparser__is_token(b + member.at, member.length))
			return bad_coding(p);
		p->flags |= slice_is(b, member, "chunked") ? HTTPParser_CHUNKED : HTTPParser_CODED;
	}
	return HTTPParser_FIELD;
}

NOINLINE static int take_connection(HTTPParser *p, const char *b)
{
	HTTPSlice rest = p->value, member;

	while (httpparser__member(b, &rest, &member))
		if (slice_is(b, member, "close"))
			p->flags |= HTTPParser_CLOSE;
		else if (slice_is(b, member, "keep-alive"))
			p->flags |= HTTPParser_KEEP;
	return HTTPParser_FIELD;
}

/* Other expectations are ignored, as RFC 9110, 10.1.1 allows. */
NOINLINE static int take_expect(HTTPParser *p, const char *b)
{
	HTTPSlice rest = p->value, member;

	while (httpparser__member(b, &rest, &member))
		if (slice_is(b, member, "100-continue"))
			p->flags |= HTTPParser_CONTINUE;
	return HTTPParser_FIELD;
}

int httpparser__known_field(HTTPParser *p, const char *b)
{
	switch (p->name.length) {
	case 4:
		return slice_is(b, p->name, "host") ? take_host(p, b) : HTTPParser_FIELD;
	case 6:
		return slice_is(b, p->name, "expect") ? take_expect(p, b) : HTTPParser_FIELD;
	case 10:
		return slice_is(b, p->name, "connection") ? take_connection(p, b) : HTTPParser_FIELD;
	case 14:
		return slice_is(b, p->name, "content-length") ? take_content_length(p, b)
			: HTTPParser_FIELD;
	case 17:
		return slice_is(b, p->name, "transfer-encoding") ? take_transfer_encoding(p, b)
								 : HTTPParser_FIELD;
	default:
		return HTTPParser_FIELD;
	}
}

/* ---- the head as a whole ---- */

int httpparser__limit_body(HTTPParser *p)
{
	return p->left > p->limits->body_bytes ? body_too_large(p) : HTTPParser_HEAD;
}

/* RFC 9112, 6.1 and 6.3: codings before "chunked" are valid, but we have none. */
static int frame_codings(HTTPParser *p)
{
	unsigned f = p->flags;

	if (f & HTTPParser_OLD)
		return fail_parser(p, 400, "Transfer-Encoding in HTTP/1.0");
	if (f & HTTPParser_HAS_LENGTH)
		return fail_slice(p, p->content_length, "Transfer-Encoding beside Content-Length: %1");
	if (!(f & HTTPParser_CODED))
		return HTTPParser_HEAD;
	bad_coding(p);
	if (f & HTTPParser_CHUNKED)
		p->status = 501;
	return HTTPParser_ERROR;
}

/* RFC 9112, 6.3 */
static int frame_answer(HTTPParser *p)
{
	unsigned f = p->flags;

	if (f & HTTPParser_TO_HEAD || p->answer < 200 || p->answer == 204 || p->answer == 304) {
		p->flags &= (unsigned short)~HTTPParser_CHUNKED;
		p->left = 0;
		return HTTPParser_HEAD;
	}
	if (f & (HTTPParser_CHUNKED | HTTPParser_CODED))
		return frame_codings(p);
	if (f & HTTPParser_HAS_LENGTH)
		return httpparser__limit_body(p);
	p->flags |= HTTPParser_UNTIL_CLOSE;
	p->left = UINT64_MAX;
	return HTTPParser_HEAD;
}

/* RFC 9112, 3.2 and 6.3 */
int httpparser__framing(HTTPParser *p)
{
	unsigned f = p->flags;

	if (f & HTTPParser_ANSWER)
		return frame_answer(p);
	if (!(f & (HTTPParser_HAS_HOST | HTTPParser_OLD)))
		return fail_parser(p, 400, "HTTP/1.1 without Host");
	if (f & (HTTPParser_CHUNKED | HTTPParser_CODED))
		return frame_codings(p);
	return httpparser__limit_body(p);
}
