/* SPDX-License-Identifier: MIT */
/* The small grammars of HTTP: tokens, field values, lists, hosts, paths; and bytes from a peer as
 * they may be shown to people. Pure functions of their arguments. */
#include "config.h"

#include <arpa/inet.h>
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
	return n > 0 && skip(s, 0, n, IN_TOKEN) == n;
}

int httpparser__is_text(const char *s, size_t n)
{
	return skip_text(s, 0, n) == n;
}

int httpparser__is(const char *s, size_t n, const char *word)
{
	size_t i;

	for (i = 0; i < n && word[i]; i++)
		if (lower(s[i]) != lower(word[i]))
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
	*member = trim(b, rest->at, comma ? (size_t)(comma - b) : end);
	*rest = between(comma ? (size_t)(comma - b) + 1 : end, end);
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
	size_t i = skip(s, 0, n, IN_HOST);

	while (i < n && s[i] == '%') {
		if (n - i < 3 || hex(s[i + 1]) < 0 || hex(s[i + 2]) < 0)
			return SIZE_MAX;
		i = skip(s, i + 3, n, IN_HOST);
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

static int is_dots(const char *segment, size_t n)
{
	return n > 0 && n <= 2 && segment[0] == '.' && segment[n - 1] == '.';
}

/* The segment out[from..to) ends: "." and "" leave nothing, ".." takes its parent away too. Returns
 * where the next segment starts, or 0 if that would be above the root. */
static size_t end_segment(char *out, size_t from, size_t to)
{
	size_t n = to - from;

	if (n == 0 || (n == 1 && is_dots(out + from, n)))
		return from;
	if (is_dots(out + from, n)) {
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

	if (n - *i < 3 || hex(at[1]) < 0 || hex(at[2]) < 0)
		return -1;
	*i += 3;
	return hex(at[1]) << 4 | hex(at[2]);
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
 * are no dots. Repeated slashes are one, as in nginx and Apache: one file has one name, and a
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
	if (is_dots(out + from, to - from) && (to = end_segment(out, from, to)) == 0)
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
