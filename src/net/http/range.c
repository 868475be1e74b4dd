/* SPDX-License-Identifier: MIT */
/* Range and If-Range (RFC 9110, 13.1.5 and 14). A server may ignore a Range. Ours ignores all but a
 * single range of bytes. Several would need a body of several parts, and a client can ask for much
 * work with them. */
#include "config.h"

#include <string.h>

#include "http/file.h"

/* Digits; what does not fit is as good as the largest number. Returns where they end, NULL if
 * there is none. */
static const char *read_number(const char *s, int64_t *n)
{
	const char *from = s;

	for (*n = 0; *s >= '0' && *s <= '9'; s++)
		*n = *n > (INT64_MAX - 9) / 10 ? INT64_MAX : *n * 10 + (*s - '0');
	return s > from ? s : NULL;
}

static const char *past_blanks(const char *s)
{
	return s + strspn(s, " \t");
}

/* "-500": the last 500. An empty body has no last byte, and no first. */
static HTTPRange take_suffix(const char *s, int64_t length, int64_t *first, int64_t *last)
{
	int64_t n;
	const char *end = read_number(s + 1, &n);

	if (!end || *past_blanks(end))
		return HTTPRange_WHOLE;
	if (n == 0 || length == 0)
		return n == 0 ? HTTPRange_NONE : HTTPRange_WHOLE;
	*first = n < length ? length - n : 0;
	*last = length - 1;
	return HTTPRange_PART;
}

HTTPRange http__range(const char *value, int64_t length, int64_t *first, int64_t *last)
{
	const char *s;

	if (strlen(value) < 6 || !httpparser__is(value, 6, "bytes="))
		return HTTPRange_WHOLE;
	s = past_blanks(value + 6);
	if (*s == '-')
		return take_suffix(s, length, first, last);
	s = read_number(s, first);
	if (!s || *s++ != '-')
		return HTTPRange_WHOLE;
	*last = INT64_MAX;
	if (*past_blanks(s)) {
		s = read_number(s, last);
		if (!s || *past_blanks(s) || *last < *first)
			return HTTPRange_WHOLE;
	}
	if (*first >= length)
		return HTTPRange_NONE;
	if (*last >= length)
		*last = length - 1;
	return HTTPRange_PART;
}

static int field_equals(const HTTPMessage_Field *f, const char *name, const char *value)
{
	return httpmessage__is_named(f, name, strlen(name)) && strcmp(f->value, value) == 0;
}

/* A weak ETag begins with W/, and a date with a letter. */
int http__if_range(HTTPResponse_T r, const char *value)
{
	const HTTPMessage_Field *f;

	for (f = r->message.fields; f; f = f->next)
		if (field_equals(f, *value == '"' ? "etag" : "last-modified", value))
			return 1;
	return 0;
}
