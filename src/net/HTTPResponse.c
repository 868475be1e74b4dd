/* SPDX-License-Identifier: MIT */
/* HTTPResponse: a list of fields and a growing body, both of the arena; send makes the head and gives
 * both to the kernel in one call, so that no half of a small response waits for an acknowledgement.
 *
 * Invariant: each field is in the list once, with a name that is a token and a value without control
 * characters; body[0..nbytes) lies in room bytes. Whatever raises, the response is as it
 * was before the call.
 *
 * What the request asks of the response is in the socket's protocol word. Send replaces it by "ended"
 * before the first byte goes out and clears it after the last: a response that was cut off by a raise
 * ends the connection. */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <core/HTTP.h>
#include "checked.h"
#include "httpparser.h"
#include "socket.h"

#define T HTTPResponse_T

enum {
	BODY_FIRST = 1024,
	DATE = 29,                         /* "Sun, 06 Nov 1994 08:49:37 GMT" */
	LINGER_BYTES = 8 * 1024 * 1024, LINGER_MS = 2000 /* for a peer that is still sending */
};

typedef struct Field {
	struct Field *next;
	const char *name, *value;
	size_t name_length, value_length;
} Field;

struct HTTPResponse {
	Arena_T arena;
	int status;
	Field *fields, **last;
	char *body;
	size_t nbytes, room;
};

#define CHECK_RESPONSE(r) CHECK((r), "%s: the response is NULL", __func__)

T HTTPResponse_new(Arena_T arena)
{
	T r;

	CHECK(arena, "HTTPResponse_new: the arena is NULL");
	NEW0(arena, r);
	r->arena = arena;
	r->status = 200;
	r->last = &r->fields;
	return r;
}

void HTTPResponse_status(T r, int status)
{
	CHECK_RESPONSE(r);
	CHECK(status >= 200 && status <= 599, "HTTPResponse_status: %d is not 200 to 599", status);
	r->status = status;
}

/* ---- fields ---- */

static Field *find(T r, const char *name, size_t n)
{
	Field *f;

	for (f = r->fields; f; f = f->next)
		if (f->name_length == n && httpparser__is(f->name, n, name))
			return f;
	return NULL;
}

/* What is wrong with a field often came from a peer: an exception of the program's, not of its author's. */
static void check_field(const char *name, size_t name_length, const char *value, size_t value_length)
{
	char shown[512];

	if (!httpparser__is_token(name, name_length)) {
		httpparser__quote(shown, sizeof shown, name, name_length);
		EXCEPT_RAISE_MSG(HTTP_Failed, "HTTPResponse_set: %s is not a field name", shown);
	}
	CHECK(!httpparser__is(name, name_length, "content-length")
			&& !httpparser__is(name, name_length, "transfer-encoding"),
		"HTTPResponse_set: %s is for HTTPResponse_send to set", name);
	if (!httpparser__is_text(value, value_length)) {
		httpparser__quote(shown, sizeof shown, value, value_length);
		EXCEPT_RAISE_MSG(HTTP_Failed, "HTTPResponse_set: control characters in the value of %s: %s", name, shown);
	}
}

void HTTPResponse_set(T r, const char *name, const char *value)
{
	Field *f;
	size_t name_length, value_length;
	const char *copy;

	CHECK_RESPONSE(r);
	CHECK(name, "HTTPResponse_set: the name is NULL");
	CHECK(value, "HTTPResponse_set: the value of %s is NULL", name);
	name_length = strlen(name);
	value_length = strlen(value);
	check_field(name, name_length, value, value_length);
	copy = Arena_memdup(r->arena, value, value_length + 1);
	f = find(r, name, name_length);
	if (!f) {
		NEW0(r->arena, f);
		f->name = Arena_memdup(r->arena, name, name_length + 1);
		f->name_length = name_length;
		*r->last = f;
		r->last = &f->next;
	}
	f->value = copy;
	f->value_length = value_length;
}

/* ---- the body ---- */

static void make_room(T r, size_t more)
{
	size_t need, room;

	if (!add_size(r->nbytes, more, &need))
		EXCEPT_RAISE_MSG(Arena_Failed, "a body of %zu bytes and %zu more is too large", r->nbytes, more);
	if (need <= r->room)
		return;
	if (!mul_size(r->room, 2, &room) || room < need)
		room = need > BODY_FIRST ? need : BODY_FIRST;
	r->body = Arena_realloc(r->arena, r->body, r->room, room);
	r->room = room;
}

void HTTPResponse_write(T r, const void *bytes, size_t nbytes)
{
	CHECK_RESPONSE(r);
	CHECK(bytes || nbytes == 0, "HTTPResponse_write: NULL with %zu bytes", nbytes);
	if (nbytes == 0)
		return;
	make_room(r, nbytes);
	memcpy(r->body + r->nbytes, bytes, nbytes);
	r->nbytes += nbytes;
}

/* The length of what was to be printed at the end of the body, all of it there if there was room. */
static size_t print(T r, const char *fmt, va_list ap)
{
	size_t room = r->room - r->nbytes;
	int n = vsnprintf(room ? r->body + r->nbytes : NULL, room, fmt, ap);

	if (n < 0)
		EXCEPT_RAISE_MSG(HTTP_Failed, "HTTPResponse_printf: the format \"%s\" cannot be printed", fmt);
	return (size_t)n;
}

/* vsnprintf's NUL needs a byte of room, which the next write takes over. */
void HTTPResponse_printf(T r, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	CHECK_RESPONSE(r);
	CHECK(fmt, "HTTPResponse_printf: the format is NULL");
	va_start(ap, fmt);
	n = print(r, fmt, ap);
	va_end(ap);
	if (n >= r->room - r->nbytes) {
		make_room(r, n + 1);
		va_start(ap, fmt);
		print(r, fmt, ap);
		va_end(ap);
	}
	r->nbytes += n;
}

/* ---- the date ---- */

static void put_digits(char *out, int n, int value)
{
	while (n-- > 0) {
		out[n] = (char)('0' + value % 10);
		value /= 10;
	}
}

/* IMF-fixdate, RFC 9110, 5.6.7; not strftime, whose names are the locale's */
static void format_date(char *out, time_t now)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm;

	gmtime_r(&now, &tm);
	memcpy(out, "Day, 00 Mon 0000 00:00:00 GMT", DATE);
	memcpy(out, days + 3 * tm.tm_wday, 3);
	put_digits(out + 5, 2, tm.tm_mday);
	memcpy(out + 8, months + 3 * tm.tm_mon, 3);
	put_digits(out + 12, 4, tm.tm_year + 1900);
	put_digits(out + 17, 2, tm.tm_hour);
	put_digits(out + 20, 2, tm.tm_min);
	put_digits(out + 23, 2, tm.tm_sec);
}

/* Made once a second and thread: no lock, and forty bytes of each thread's storage. */
static const char *date(void)
{
	static __thread struct {
		time_t made;
		char text[DATE];
	} cache;
	time_t now = time(NULL);

	if (now != cache.made) {
		format_date(cache.text, now);
		cache.made = now;
	}
	return cache.text;
}

/* ---- the head ---- */

enum { LINES = 256 }; /* the status line and the fields that send adds, at their longest, and the empty line */

typedef struct Framing {
	int has_body;    /* bytes follow the head */
	int has_length;  /* Content-Length is sent */
	int ends;        /* the connection ends with this response */
	int keeps_old;   /* an HTTP/1.0 client is told that it does not end */
} Framing;

static int says_close(const Field *connection)
{
	HTTPSlice rest, member;

	if (!connection)
		return 0;
	rest = (HTTPSlice){ 0, connection->value_length };
	while (httpparser__member(connection->value, &rest, &member))
		if (httpparser__is(connection->value + member.at, member.length, "close"))
			return 1;
	return 0;
}

/* RFC 9110, 8.6 and 15.3.6. A 304, or the answer to a HEAD for which no body was written, would state
 * a length of 0 that the page does not have. */
static Framing frame(T r, unsigned asked, const Field *connection)
{
	int bodiless = r->status == 204 || r->status == 205 || r->status == 304;
	Framing f;

	f.has_body = r->nbytes > 0 && !bodiless && !(asked & HTTP__HEAD);
	f.has_length = r->status != 204 && (r->nbytes > 0 || !(r->status == 304 || asked & HTTP__HEAD));
	f.ends = !(asked & HTTP__ASKED) || asked & HTTP__ENDED || says_close(connection);
	f.keeps_old = !f.ends && asked & HTTP__OLD;
	return f;
}

static char *put(char *out, const char *s, size_t n)
{
	memcpy(out, s, n);
	return out + n;
}

static char *put_field(char *out, const Field *f)
{
	out = put(out, f->name, f->name_length);
	out = put(out, ": ", 2);
	out = put(out, f->value, f->value_length);
	return put(out, "\r\n", 2);
}

static size_t head_bound(T r)
{
	size_t n = LINES;
	const Field *f;

	for (f = r->fields; f; f = f->next)
		if (!add_size(n, f->name_length + 4, &n) || !add_size(n, f->value_length, &n))
			EXCEPT_RAISE_MSG(Arena_Failed, "the fields of a response are too large");
	return n;
}

/* The lines that are ours; a Connection line of ours replaces the program's. */
static char *put_own(char *out, T r, Framing f)
{
	out += sprintf(out, "HTTP/1.1 %d %s\r\n", r->status, HTTP_reason(r->status));
	if (!find(r, "Date", 4)) {
		out = put(out, "Date: ", 6);
		out = put(out, date(), DATE);
		out = put(out, "\r\n", 2);
	}
	if (f.has_length)
		out += sprintf(out, "Content-Length: %zu\r\n", r->status == 205 ? 0 : r->nbytes);
	if (f.ends)
		out = put(out, "Connection: close\r\n", 19);
	else if (f.keeps_old)
		out = put(out, "Connection: keep-alive\r\n", 24);
	return out;
}

static size_t make_head(T r, Framing f, const Field *connection, char **head)
{
	char *out;
	const Field *field;

	*head = Arena_alloc(r->arena, head_bound(r));
	out = put_own(*head, r, f);
	for (field = r->fields; field; field = field->next)
		if (field != connection || !(f.ends || f.keeps_old))
			out = put_field(out, field);
	out = put(out, "\r\n", 2);
	return (size_t)(out - *head);
}

/* ---- sending ---- */

/* To close while bytes come in resets the connection, and the reset may overtake the response
 * (RFC 9112, 9.6). */
static void end_connection(Socket_T client, unsigned asked)
{
	if (asked & HTTP__UNREAD || Socket_pending(client) > 0 || socket__wait(client, 0, 0))
		socket__linger(client, LINGER_BYTES, LINGER_MS);
}

void HTTPResponse_send(Socket_T client, T r)
{
	struct iovec vector[2];
	unsigned *word, asked;
	const Field *connection;
	Framing f;
	char *head;

	CHECK(client, "HTTPResponse_send: the socket is NULL");
	CHECK_RESPONSE(r);
	word = socket__protocol(client);
	asked = *word;
	connection = find(r, "Connection", 10);
	f = frame(r, asked, connection);
	vector[0].iov_len = make_head(r, f, connection, &head);
	vector[0].iov_base = head;
	vector[1].iov_base = r->body;
	vector[1].iov_len = r->nbytes;
	*word = HTTP__ENDED;
	Socket_sendv(client, vector, f.has_body ? 2 : 1);
	if (f.ends)
		end_connection(client, asked);
	else
		*word = 0;
}
