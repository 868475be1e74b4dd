/* SPDX-License-Identifier: MIT */
/* The small grammars of HTTP: tokens, field values, lists, hosts, paths, chunk extensions. And
 * bytes from a peer as people may see them. Pure functions of their arguments. */
#include "config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <core/HTTP.h>
#include "http/parser.h"
#include "http/syntax.h"

const unsigned char http__classes[256] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	4, 15, 4, 5, 15, 7, 15, 15, 14, 14, 15, 15, 6, 15, 15, 6,
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 6, 14, 4, 14, 4, 6,
	6, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 6, 6, 6, 7, 15,
	7, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 6, 7, 6, 15, 0,
	4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
	4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
};

int httpparser__is_token(const char *s, size_t n)
{
	return n > 0 && skip_class(s, 0, n, IN_TOKEN) == n;
}

int httpparser__is_text(const char *s, size_t n)
{
	return skip_text(s, 0, n) == n;
}

int httpparser__is(const char *s, size_t n, const char *word)
{
	size_t i;

	for (i = 0; i < n && word[i]; i++)
		if (lower_letter(s[i]) != lower_letter(word[i]))
			return 0;
	return i == n && !word[i];
}

int httpparser__member(const char *b, HTTPSlice *rest, HTTPSlice *member)
{
	const char *comma;
	size_t end = rest->at + rest->length;

	if (rest->length == 0)
		return 0;
	comma = memchr(b + rest->at, ',', rest->length);
	*member = trim_slice(b, rest->at, comma ? (size_t)(comma - b) : end);
	*rest = slice_between(comma ? (size_t)(comma - b) + 1 : end, end);
	return 1;
}

/* ---- hosts and paths ---- */

static int is_ipv6(const char *s, size_t n)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (n >= sizeof text || memchr(s, '\0', n))
		return 0;
	memcpy(text, s, n);
	text[n] = '\0';
	return inet_pton(AF_INET6, text, &address) == 1;
}

/* The length of the reg-name in front; SIZE_MAX if an escape in it is malformed */
static size_t reg_name(const char *s, size_t n)
{
	size_t i = skip_class(s, 0, n, IN_HOST);

	while (i < n && s[i] == '%') {
		if (n - i < 3 || hex_value(s[i + 1]) < 0 || hex_value(s[i + 2]) < 0)
			return SIZE_MAX;
		i = skip_class(s, i + 3, n, IN_HOST);
	}
	return i;
}

/* The length of the address in brackets in front; 0 if it is none */
static size_t bracketed_length(const char *s, size_t n)
{
	const char *end = memchr(s, ']', n);

	return end && is_ipv6(s + 1, (size_t)(end - s - 1)) ? (size_t)(end - s) + 1 : 0;
}

static int is_port(const char *s, size_t n)
{
	unsigned long port = 0;
	size_t i;

	for (i = 0; i < n && is_digit(s[i]) && port <= 65535; i++)
		port = port * 10 + (unsigned long)(s[i] - '0');
	return i == n && port <= 65535;
}

/* uri-host [ ":" port ], RFC 9110, 7.2. Not empty: 4.2.1 refuses an http URI without a host.
 * Userinfo is refused as 4.2.4 advises: its @ is no byte of a host. */
int httpparser__is_authority(const char *s, size_t n)
{
	size_t host = n > 0 && *s == '[' ? bracketed_length(s, n) : reg_name(s, n);

	if (host == 0 || host > n)
		return 0;
	return host == n || (s[host] == ':' && is_port(s + host + 1, n - host - 1));
}

int httpparser__is_dots(const char *segment, size_t n)
{
	return n > 0 && n <= 2 && segment[0] == '.' && segment[n - 1] == '.';
}

/* The segment out[from..to) ends: "." and "" leave nothing, ".." takes its parent away too. Returns
 * where the next segment starts, or 0 if that would be above the root. */
static size_t end_segment(char *out, size_t from, size_t to)
{
	size_t n = to - from;

	if (n == 0 || (n == 1 && httpparser__is_dots(out + from, n)))
		return from;
	if (httpparser__is_dots(out + from, n)) {
		for (from--; from > 0 && out[from - 1] != '/'; from--)
			;
		return from;
	}
	out[to] = '/';
	return to + 1;
}

/* The byte of the escape at path[*i], and *i past it; -1 if it is malformed. */
static int decode_path_byte(const char *path, size_t n, size_t *i)
{
	const char *at = path + *i;

	if (n - *i < 3 || hex_value(at[1]) < 0 || hex_value(at[2]) < 0)
		return -1;
	*i += 3;
	return hex_value(at[1]) << 4 | hex_value(at[2]);
}

/* An escape that stays one, its % as a NUL, which no path has otherwise. */
static size_t keep_escape(char *out, int c)
{
	out[0] = '\0';
	memcpy(out + 1, c == '/' ? "2F" : "5C", 2);
	return 3;
}

/* Dots are resolved after the escapes are decoded, or %2e%2e would climb behind our back. An
 * encoded slash stays in its segment: a proxy whose rules are about "/admin" took
 * "/x%2F..%2Fadmin" for something else, and so do we. It separates nothing, and dots beside it
 * are no dots. Repeated slashes are one, as in nginx and Apache. So one file has one name, and a
 * path never starts with //, which a Location field would make a host. Each finished segment in
 * out ends with a slash; from is where the current one starts. */
const char *httpparser__path(const char *path, size_t n, char *out, size_t *marked)
{
	size_t i = 0, from = 1, to = 1;
	int c, marks = 0;

	out[0] = '/';
	while (i < n) {
		if (path[i] == '/') {
			i++;
			if ((from = to = end_segment(out, from, to)) == 0)
				return "the path climbs above the root: %1";
		} else if (path[i] == '\\')
			return "a backslash in the path: %1";
		else if (path[i] != '%')
			out[to++] = path[i++];
		else if ((c = decode_path_byte(path, n, &i)) < 0)
			return "a malformed escape in the path: %1";
		else if (c == '\0')
			return "a NUL in the path: %1";
		else if (c == '/' || c == '\\') {
			to += keep_escape(out + to, c);
			marks = 1;
		} else
			out[to++] = (char)c;
	}
	if (httpparser__is_dots(out + from, to - from) && (to = end_segment(out, from, to)) == 0)
		return "the path climbs above the root: %1";
	out[to] = '\0';
	*marked = marks ? to : 0;
	return NULL;
}

size_t httpparser__show_path(char *path, size_t length)
{
	size_t n = 0;
	char *mark;

	while ((mark = memchr(path, '\0', length))) {
		length -= (size_t)(mark - path);
		path = mark;
		*path = '%';
		n++;
	}
	return n;
}

/* ---- chunk extensions ---- */

static enum Place between_parts(char c, enum Place here, int name_is_open)
{
	if (c == ';')
		return BEFORE_NAME;
	if (c == '=' && name_is_open)
		return BEFORE_VALUE;
	return is_space(c) ? here : WRONG;
}

/* Behind a name or a value the line may end, but not behind white space. */
static enum Place end_part(char c, enum Place here, int name_is_open)
{
	return c == '\r' ? LINE_END : between_parts(c, here, name_is_open);
}

enum Place httpparser__next_place(enum Place place, char c)
{
	unsigned class = http__classes[(unsigned char)c];

	switch (place) {
	case BEFORE_SEMICOLON:
		return between_parts(c, BEFORE_SEMICOLON, 0);
	case BEFORE_NAME:
		return class & IN_TOKEN ? IN_NAME : is_space(c) ? BEFORE_NAME : WRONG;
	case IN_NAME:
		return class & IN_TOKEN ? IN_NAME : end_part(c, AFTER_NAME, 1);
	case AFTER_NAME:
		return between_parts(c, AFTER_NAME, 1);
	case BEFORE_VALUE:
		return c == '"' ? IN_QUOTES : class & IN_TOKEN ? IN_VALUE
			: is_space(c) ? BEFORE_VALUE : WRONG;
	case IN_VALUE:
		return class & IN_TOKEN ? IN_VALUE : end_part(c, BEFORE_SEMICOLON, 0);
	case IN_QUOTES:
		return c == '"' ? AFTER_QUOTES : c == '\\' ? ESCAPED : class & IN_TEXT ? IN_QUOTES : WRONG;
	case ESCAPED:
		return class & IN_TEXT ? IN_QUOTES : WRONG;
	default:
		return end_part(c, BEFORE_SEMICOLON, 0);
	}
}

/* ---- for people ---- */

enum { SHOWN = 80 }; /* bytes of a value */

/* c as it is, or as \xNN; returns the length, at most 4 */
static size_t escape_byte(char *out, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";

	if (c >= 0x20 && c < 0x7f && c != '\\' && c != '"') {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	if (c == '\\' || c == '"') {
		out[1] = (char)c;
		return 2;
	}
	out[1] = 'x';
	out[2] = digits[c >> 4];
	out[3] = digits[c & 15];
	return 4;
}

size_t httpparser__quote(char *out, size_t size, const char *s, size_t n)
{
	size_t i, length = 0;

	out[length++] = '"';
	for (i = 0; i < n && i < SHOWN && size - length > 4 + sizeof "...\""; i++)
		length += escape_byte(out + length, (unsigned char)s[i]);
	if (i < n) {
		memcpy(out + length, "...", 3);
		length += 3;
	}
	out[length++] = '"';
	out[length] = '\0';
	return length;
}

enum { DIRECTIVE = 32 }; /* bytes that any directive but a slice, which is cut, fits into */

typedef struct Text { /* what is left of the caller's buffer */
	char *out;
	size_t size;
} Text;

static void advance_text(Text *t, size_t n)
{
	t->out += n;
	t->size -= n;
}

static void add_slice(Text *t, const char *bytes, HTTPSlice s)
{
	advance_text(t, httpparser__quote(t->out, t->size, bytes + s.at, s.length));
}

static void add_directive(Text *t, const HTTPParser *p, const char *bytes, char directive)
{
	char c = (char)p->byte;

	switch (directive) {
	case '1':
		add_slice(t, bytes, p->one);
		break;
	case '2':
		add_slice(t, bytes, p->two);
		break;
	case 'c':
		advance_text(t, httpparser__quote(t->out, t->size, &c, 1));
		break;
	case 'f':
		if (p->name.length > 0)
			add_slice(t, bytes, p->name);
		else
			advance_text(t, (size_t)snprintf(t->out, t->size, "a field of the trailer"));
		break;
	default:
		advance_text(t, (size_t)snprintf(t->out, t->size, "%zu", p->number));
	}
}

void httpparser__explain(const HTTPParser *p, const char *bytes, char *out, size_t size)
{
	Text t = { out, size };
	const char *s;

	for (s = p->what; *s && t.size > DIRECTIVE; s++)
		if (*s == '%')
			add_directive(&t, p, bytes, *++s);
		else {
			*t.out = *s;
			advance_text(&t, 1);
		}
	*t.out = '\0';
}
