/* SPDX-License-Identifier: MIT */
/* The pairs of application/x-www-form-urlencoded, in a query or in the body of a form. The first
 * question for a pair decodes all of them, in the order in which they were sent. There is an array
 * of pairs, and one buffer for their strings. A decoded pair takes no more bytes than before,
 * except one more for a NUL if it has no '='.
 *
 * This is the URL standard of WHATWG, 5.1, with three differences. A malformed escape is refused,
 * not left as it is. So is a NUL, escaped or not, because it would end a string of C. Bytes that
 * are not UTF-8 stay as they are, instead of becoming U+FFFD. */
#include "config.h"

#include <string.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/rep.h"
#include "http/parser.h"
#include "http/syntax.h"

typedef struct Decoder {
	const char *in, *end;
	char *out;
	const char *what; /* the part of the request, for messages */
} Decoder;

static void refuse_escape(const Decoder *d, const char *wrong, const char *at) CORE_NORETURN;
static void refuse_escape(const Decoder *d, const char *wrong, const char *at)
{
	char shown[128];
	size_t n = (size_t)(d->end - at);

	httpparser__quote(shown, sizeof shown, at, n < 16 ? n : 16);
	EXCEPT_RAISE_MSG(HTTP_Bad_Request, "%s in the %s: %s", wrong, d->what, shown);
}

static char decode_form_byte(Decoder *d)
{
	const char *at = d->in++;
	int c = (unsigned char)*at;

	if (c == '+')
		return ' ';
	if (c == '%') {
		if (d->end - at < 3 || hex_value(at[1]) < 0 || hex_value(at[2]) < 0)
			refuse_escape(d, "a malformed escape", at);
		c = hex_value(at[1]) << 4 | hex_value(at[2]);
		d->in += 2;
	}
	if (c == '\0')
		refuse_escape(d, "a NUL", at);
	return (char)c;
}

/* Up to the end or one of the two bytes, which is left to the caller */
static const char *decode_string(Decoder *d, char stop, char other)
{
	const char *string = d->out;

	while (d->in < d->end && *d->in != stop && *d->in != other)
		*d->out++ = decode_form_byte(d);
	*d->out++ = '\0';
	return string;
}

static int skip_byte(Decoder *d, char c)
{
	return d->in < d->end && *d->in == c && d->in++;
}

static HTTP_Param decode_pair(Decoder *d)
{
	HTTP_Param pair;

	pair.name = decode_string(d, '=', '&');
	pair.value = skip_byte(d, '=') ? decode_string(d, '&', '&') : d->out - 1; /* the name's NUL */
	return pair;
}

/* Two ampersands side by side have nothing between them. */
static size_t count_pairs(const char *s, size_t n)
{
	size_t i, count = 0;

	for (i = 0; i < n; i++)
		count += s[i] != '&' && (i == 0 || s[i - 1] == '&');
	return count;
}

static void decode_pairs(HTTPPairs *pairs, Arena_T arena, const char *s, size_t n, const char *what)
{
	size_t count = count_pairs(s, n);
	HTTP_Param *pair = Arena_calloc(arena, count + 1, sizeof *pair);
	Decoder d = { s, s + n, Arena_alloc(arena, n + count + 1), what };
	const HTTP_Param *array = pair;

	while (d.in < d.end)
		if (!skip_byte(&d, '&'))
			*pair++ = decode_pair(&d);
	pairs->pairs = array;
	pairs->count = count;
}

/* ---- the request ---- */

static int is_form(HTTPRequest_T r)
{
	const char *type = HTTPRequest_header(r, "Content-Type");
	size_t n = type ? strcspn(type, "; \t") : 0;

	return type && httpparser__is(type, n, "application/x-www-form-urlencoded");
}

/* There is no query when a server's log asks, and the head was refused. */
static const HTTPPairs *query_pairs(HTTPRequest_T r)
{
	HTTPPairs *pairs = &r->query_pairs;
	const char *query = r->query ? r->query : "";

	if (!pairs->pairs)
		decode_pairs(pairs, HTTPRequest_arena(r), query, strlen(query), "query");
	return pairs;
}

static const HTTPPairs *form_pairs(HTTPRequest_T r)
{
	HTTPPairs *pairs = &r->form_pairs;
	size_t n;
	const char *body = HTTPRequest_body(r, &n);

	if (!pairs->pairs)
		decode_pairs(pairs, HTTPRequest_arena(r), body, is_form(r) ? n : 0, "form");
	return pairs;
}

static const char *find_pair(const HTTPPairs *pairs, const char *name)
{
	size_t i;

	for (i = 0; i < pairs->count; i++)
		if (strcmp(pairs->pairs[i].name, name) == 0)
			return pairs->pairs[i].value;
	return NULL;
}

static const HTTP_Param *list_pairs(const HTTPPairs *pairs, size_t *count)
{
	*count = pairs->count;
	return pairs->pairs;
}

const char *HTTPRequest_query_param(HTTPRequest_T r, const char *name)
{
	CHECK_HANDLE(r, "request");
	CHECK(name, "HTTPRequest_query_param: the name is NULL");
	return find_pair(query_pairs(r), name);
}

const char *HTTPRequest_form_param(HTTPRequest_T r, const char *name)
{
	CHECK_HANDLE(r, "request");
	CHECK(name, "HTTPRequest_form_param: the name is NULL");
	return find_pair(form_pairs(r), name);
}

const HTTP_Param *HTTPRequest_query_params(HTTPRequest_T r, size_t *count)
{
	CHECK_HANDLE(r, "request");
	CHECK(count, "HTTPRequest_query_params: the place of the count is NULL");
	return list_pairs(query_pairs(r), count);
}

const HTTP_Param *HTTPRequest_form_params(HTTPRequest_T r, size_t *count)
{
	CHECK_HANDLE(r, "request");
	CHECK(count, "HTTPRequest_form_params: the place of the count is NULL");
	return list_pairs(form_pairs(r), count);
}
