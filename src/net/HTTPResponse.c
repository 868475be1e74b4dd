/* SPDX-License-Identifier: MIT */
/* HTTPResponse: a status and a message (http/message.h). Send makes the head, and gives head and
 * body to the kernel in one call. So no half of a small response waits for an acknowledgement.
 *
 * The socket's protocol byte says what the request asks of the response. Send replaces it by
 * "ended" before the first byte goes out and clears it after the last. So a response that was cut
 * off by a raise ends the connection. */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/file.h"
#include "http/rep.h"
#include "http/parser.h"
#include "socket/internal.h"

#define T HTTPResponse_T

enum {
	DATE = 29,                         /* "Sun, 06 Nov 1994 08:49:37 GMT" */
	LINGER_BYTES = 8 * 1024 * 1024, LINGER_MS = 2000 /* for a peer that is still sending */
};

#define CHECK_RESPONSE(r) CHECK_HANDLE((r), "response")

static void empty_response(T r)
{
	r->status = 200;
	httpmessage__empty(&r->message);
	r->more = NULL;
	r->more_cl = NULL;
	r->file = NULL;
	r->upgrade = NULL;
	r->length = r->made = 0;
	r->has_length = r->begun = 0;
}

static T init_response(T r, Arena_T arena)
{
	r->self = r;
	httpmessage__init(&r->message, arena);
	r->suspended = 0;
	r->request = NULL;
	empty_response(r);
	return r;
}

T HTTPResponse_new(Arena_T arena)
{
	T r;

	CHECK(arena, "HTTPResponse_new: the arena is NULL");
	NEW(arena, r);
	return init_response(r, arena);
}

T httpresponse__renew(HTTPResponsePlace *place, Arena_T arena)
{
	__atomic_store_n(&place->mark, httpresponse__mark(place) | HTTP__LIVE, __ATOMIC_RELAXED);
	return init_response(httpresponse__at(place), arena);
}

void HTTPResponse_reset(T r)
{
	CHECK_RESPONSE(r);
	CHECK(!r->begun, "HTTPResponse_reset: the response is being sent");
	httpresponse__close_file(r);
	empty_response(r);
}

void HTTPResponse_status(T r, int status)
{
	CHECK_RESPONSE(r);
	CHECK(status >= 200 && status <= 599, "HTTPResponse_status: %d is not 200 to 599", status);
	r->status = status;
}

/* ---- fields and body ---- */

/* Inlined, or the handle would be checked in the frame of another function. */
static inline void put_field(T r, const char *call, int replaces, const char *name,
	const char *value)
{
	if (UNLIKELY(!r || r->self != r))
		http__refuse_handle(r, "response", call);
	httpmessage__put_field(&r->message, call, replaces, name, value);
}

void HTTPResponse_set(T r, const char *name, const char *value)
{
	put_field(r, "HTTPResponse_set", 1, name, value);
}

void HTTPResponse_add(T r, const char *name, const char *value)
{
	put_field(r, "HTTPResponse_add", 0, name, value);
}

void HTTPResponse_write(T r, const void *bytes, size_t nbytes)
{
	CHECK_RESPONSE(r);
	CHECK(bytes || nbytes == 0, "HTTPResponse_write: NULL with %zu bytes", nbytes);
	httpmessage__write(&r->message, bytes, nbytes);
}

void HTTPResponse_printf(T r, const char *fmt, ...)
{
	va_list ap;

	CHECK_RESPONSE(r);
	CHECK(fmt, "HTTPResponse_printf: the format is NULL");
	va_start(ap, fmt);
	httpmessage__vprintf(&r->message, "HTTPResponse_printf", fmt, ap);
	va_end(ap);
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
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
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
static const char *current_date(void)
{
	static __thread struct {
		time_t made;
		char text[DATE];
	} cache;
	time_t now = time(NULL);

	if (now != cache.made || !cache.text[0]) { /* a clock may begin at 0 */
		format_date(cache.text, now);
		cache.made = now;
	}
	return cache.text;
}

/* ---- the head ---- */

/* Bytes of the status line and the fields that send adds, at their longest, and the empty line. */
enum { LINES = 256 };

/* RFC 9110, 8.6 and 15.3.6. Without this, a 304 would state a length of 0 that the page does not
 * have. So would the answer to a HEAD for which no body was written. */
static HTTPFraming frame_body(T r, unsigned asked)
{
	int bodiless = r->status == 204 || r->status == 205 || r->status == 304;
	int head = (asked & HTTP__HEAD) != 0;
	HTTPFraming f = { 0 };

	f.streams = r->more && !bodiless && !head;
	f.chunked = r->more && !bodiless && !r->has_length && !(asked & HTTP__OLD);
	f.has_body = r->message.nbytes > 0 && !bodiless && !head;
	f.sends_file = r->file && !bodiless && !head;
	f.announced = r->file
		|| (r->has_length && (r->more || (r->message.nbytes == 0 && (head || r->status == 304))));
	f.has_length = (!r->more || f.announced || r->status == 205) && r->status != 204
		&& (r->message.nbytes > 0 || f.announced || !(r->status == 304 || head));
	return f;
}

static __attribute__((noinline)) HTTPFraming frame_unusual(T r, unsigned asked, int says_close)
{
	HTTPFraming f = frame_body(r, asked);

	if (r->upgrade)
		return (HTTPFraming){ .upgrades = 1 };
	if ((asked & (HTTP__ASKED | HTTP__ENDED)) != HTTP__ASKED || says_close
		|| (f.streams && !f.chunked && !f.has_length))
		f.ends = 1;
	else if (asked & HTTP__OLD)
		f.keeps_old = 1;
	return f;
}

/* Most responses are a 200 whose body was written, on a connection that goes on. */
HTTPFraming httpresponse__frame(T r, unsigned asked)
{
	int says_close = httpmessage__says_close(&r->message);

	if (UNLIKELY(r->status != 200 || asked != HTTP__ASKED || says_close || r->more || r->file
			|| r->upgrade || r->has_length))
		return frame_unusual(r, asked, says_close);
	return (HTTPFraming){ .has_body = r->message.nbytes > 0, .has_length = 1 };
}

static void refuse_part(T r, const char *how) CORE_NORETURN;
static void refuse_part(T r, const char *how)
{
	EXCEPT_RAISE_MSG(HTTP_Failed,
		"HTTPResponse_stream: %llu bytes were written, %s than the %llu announced",
		(unsigned long long)(r->made + r->message.nbytes), how, (unsigned long long)r->length);
}

size_t httpresponse__bound(T r)
{
	if (UNLIKELY(r->has_length) && r->more && r->message.nbytes > r->length)
		refuse_part(r, "more");
	return httpmessage__bound(&r->message, LINES);
}

static char *put_number(char *out, uint64_t value)
{
	char digits[24], *at = digits + sizeof digits;

	do
		*--at = (char)('0' + value % 10);
	while (value /= 10);
	return httpmessage__put(out, at, (size_t)(digits + sizeof digits - at));
}

static char *put_status(char *out, int status)
{
	const char *reason;

	if (LIKELY(status == 200))
		return httpmessage__put(out, "HTTP/1.1 200 OK\r\n", 17);
	reason = HTTP_reason(status);
	out = httpmessage__put(out, "HTTP/1.1 ", 9);
	out = put_number(out, (size_t)status);
	*out++ = ' ';
	out = httpmessage__put(out, reason, strlen(reason));
	return httpmessage__put(out, "\r\n", 2);
}

/* The lines that are ours. */
static char *put_own(char *out, T r, HTTPFraming f)
{
	out = put_status(out, f.upgrades ? 101 : r->status);
	if (!httpmessage__find(&r->message, "date", 4)) {
		out = httpmessage__put(out, "Date: ", 6);
		out = httpmessage__put(out, current_date(), DATE);
		out = httpmessage__put(out, "\r\n", 2);
	}
	if (f.has_length) {
		out = httpmessage__put(out, "Content-Length: ", 16);
		out = put_number(out, r->status == 205 ? 0 : !f.announced ? r->message.nbytes
			: r->file ? (uint64_t)r->file->left : r->length);
		out = httpmessage__put(out, "\r\n", 2);
	}
	if (f.chunked)
		out = httpmessage__put(out, "Transfer-Encoding: chunked\r\n", 28);
	if (f.ends)
		out = httpmessage__put(out, "Connection: close\r\n", 19);
	else if (f.keeps_old)
		out = httpmessage__put(out, "Connection: keep-alive\r\n", 24);
	else if (f.upgrades)
		out = httpmessage__put(out, "Connection: upgrade\r\n", 21);
	return out;
}

/* A Connection line of ours replaces the program's. */
size_t httpresponse__put(T r, HTTPFraming f, char *out)
{
	char *start = out;
	const HTTPMessage_Field *field;

	out = put_own(out, r, f);
	for (field = r->message.fields; field; field = field->next)
		if (!(f.ends || f.keeps_old || f.upgrades)
				|| !httpmessage__is_named(field, "connection", 10))
			out = httpmessage__put_line(out, field);
	out = httpmessage__put(out, "\r\n", 2);
	return (size_t)(out - start);
}

/* ---- streams ---- */

void HTTPResponse_stream(T r, int (*more)(T, void *), void *cl)
{
	CHECK_RESPONSE(r);
	CHECK(more, "HTTPResponse_stream: the function is NULL");
	CHECK(!r->message.sealed, "HTTPResponse_stream: the body is a file, or there is none");
	r->more = more;
	r->more_cl = cl;
}

void HTTPResponse_length(T r, uint64_t nbytes)
{
	CHECK_RESPONSE(r);
	CHECK(!r->begun, "HTTPResponse_length: the response is being sent");
	CHECK(!r->message.sealed, "HTTPResponse_length: the body is a file, or there is none");
	r->length = nbytes;
	r->has_length = 1;
}

/* RFC 9112, 7.1. The last chunk goes out with the last part. */
int httpresponse__parts(T r, HTTPFraming f, struct iovec *parts)
{
	static char last[] = "\r\n0\r\n\r\n";
	int n = 0, end = f.streams && !r->more;

	if (f.has_body && f.chunked && r->message.nbytes > 0)
		parts[n++] = (struct iovec){
			r->size, (size_t)snprintf(r->size, sizeof r->size, "%zx\r\n", r->message.nbytes)
		};
	if (f.has_body && r->message.nbytes > 0)
		parts[n++] = (struct iovec){ r->message.body, r->message.nbytes };
	if (f.chunked && f.streams && (n > 0 || end))
		parts[n] = (struct iovec){ n > 0 ? last : last + 2, (n > 0 ? 2 : 0) + (end ? 5 : 0) }, n++;
	return n;
}

void httpresponse__next(T r)
{
	r->begun = 1;
	r->made += r->message.nbytes;
	r->message.nbytes = 0;
	r->suspended = 0;
	if (r->more(r, r->more_cl))
		CHECK(r->message.nbytes > 0 || r->suspended,
			"HTTPResponse_stream: the function wrote nothing and wants to go on");
	else {
		CHECK(!r->suspended,
			"HTTPResponse_stream: the function suspended the response and does not want to go on");
		r->more = NULL;
	}
	if (httpresponse__is_too_long(r))
		refuse_part(r, "more");
	if (r->has_length && !r->more && r->message.nbytes < r->length - r->made)
		refuse_part(r, "fewer");
}

/* ---- sending ---- */

/* To close while bytes come in resets the connection, and the reset may overtake the response
 * (RFC 9112, 9.6). */
static void end_connection(Socket_T client, unsigned asked)
{
	if (asked & HTTP__UNREAD || Socket_pending(client) > 0 || socket__wait(client, 0, 0))
		socket__linger(client, LINGER_BYTES, LINGER_MS);
}

static void send_stream(Socket_T client, T r, HTTPFraming f)
{
	struct iovec parts[HTTP__PARTS];

	f.has_body = 1;
	while (r->more) {
		httpresponse__next(r);
		Socket_sendv(client, parts, httpresponse__parts(r, f, parts));
	}
}

void HTTPResponse_send(Socket_T client, T r)
{
	struct iovec vector[1 + HTTP__PARTS];
	unsigned char *word;
	unsigned asked;
	HTTPFraming f;

	CHECK(client, "HTTPResponse_send: the socket is NULL");
	CHECK_RESPONSE(r);
	word = socket__protocol(client);
	asked = *word;
	f = httpresponse__frame(r, asked);
	vector[0].iov_base = Arena_alloc(r->message.arena, httpresponse__bound(r));
	vector[0].iov_len = httpresponse__put(r, f, vector[0].iov_base);
	*word = HTTP__ENDED;
	Socket_sendv(client, vector, 1 + httpresponse__parts(r, f, vector + 1));
	if (f.streams)
		send_stream(client, r, f);
	if (UNLIKELY(f.sends_file))
		httpresponse__send_file(client, r);
	else if (UNLIKELY(r->file))
		httpresponse__close_file(r);
	if (f.ends)
		end_connection(client, asked);
	else
		*word = 0;
}
