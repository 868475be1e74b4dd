/* SPDX-License-Identifier: MIT */
/* Each parser writes down as a text how it reads a message. Two parsers agree if their texts are
 * equal. The tables below list the known differences, each with the clause that allows it; any
 * other difference is a fault. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#if HAVE_LLHTTP
#include <llhttp.h>
#endif

#include "http_oracle.h"
#include "http/parser.h"

static void add_text(Seen *seen, const char *bytes, size_t n)
{
	if (n > SEEN_ROOM - seen->length)
		abort();
	memcpy(seen->text + seen->length, bytes, n);
	seen->length += n;
}

/* Adds the name in lower case. */
static void add_name(Seen *seen, const char *bytes, size_t n)
{
	size_t i;

	add_text(seen, bytes, n);
	for (i = seen->length - n; i < seen->length; i++)
		if (seen->text[i] >= 'A' && seen->text[i] <= 'Z')
			seen->text[i] = (char)(seen->text[i] + ('a' - 'A'));
}

static void end_head(Seen *seen, int status)
{
	char line[16];

	if (seen->kind != REQUEST)
		add_text(seen, line, (size_t)snprintf(line, sizeof line, "%d\n", status));
	add_text(seen, "\n", 1);
	seen->status = status;
	seen->body = seen->length;
}

static void begin_seeing(Seen *seen, Kind kind, const char *bytes, size_t n)
{
	seen->kind = kind;
	seen->verdict = UNFINISHED;
	seen->what = NULL;
	seen->bytes = bytes;
	seen->n = n;
	seen->length = seen->end = seen->body = 0;
	seen->status = seen->keep_alive = 0;
}

/* ---- ours ---- */

static void see_event(Seen *seen, HTTPParser *p, HTTPParser_Event event, const char *bytes)
{
	switch (event) {
	case HTTPParser_LINE:
		if (seen->kind == REQUEST) {
			add_text(seen, bytes + p->method.at, p->method.length);
			add_text(seen, " ", 1);
		}
		add_text(seen, bytes + p->target.at, p->target.length);
		add_text(seen, "\n", 1);
		break;
	case HTTPParser_FIELD:
		add_name(seen, bytes + p->name.at, p->name.length);
		add_text(seen, ":", 1);
		add_text(seen, bytes + p->value.at, p->value.length);
		add_text(seen, "\n", 1);
		break;
	case HTTPParser_HEAD:
		end_head(seen, p->answer);
		break;
	case HTTPParser_BODY:
		add_text(seen, bytes + p->value.at, p->value.length);
		break;
	default:
		break;
	}
}

static HTTPParser_Event feed_parser(Seen *seen, HTTPParser *p, const char *bytes, size_t n,
	int *headed)
{
	HTTPParser_Event event;

	do {
		event = httpparser__next(p, bytes, n);
		see_event(seen, p, event, bytes);
		if (event == HTTPParser_HEAD)
			*headed = 1;
	} while (event != HTTPParser_MORE && event != HTTPParser_END && event != HTTPParser_ERROR);
	return event;
}

void see_ours(Seen *seen, Kind kind, const char *bytes, size_t n, size_t step)
{
	static const HTTP_Limits limits = { SEEN_ROOM, SEEN_ROOM, SEEN_ROOM, 1024 * 1024, 1,
		1 }; /* only the body's framing; no difference otherwise */
	HTTPParser p;
	HTTPParser_Event event = HTTPParser_MORE;
	size_t base = 0, at = 0;
	int headed = 0;

	begin_seeing(seen, kind, bytes, n);
	if (kind == REQUEST)
		httpparser__init(&p, &limits);
	else
		httpparser__init_answer(&p, &limits, kind == ANSWER_TO_HEAD);
	while (event == HTTPParser_MORE && at < n) {
		char *copy;

		if (headed) {
			httpparser__rewind(&p);
			base = at;
		}
		at = step < n - at ? at + step : n;
		copy = malloc(at - base);
		memcpy(copy, bytes + base, at - base);
		event = feed_parser(seen, &p, copy, at - base, &headed);
		if (event == HTTPParser_ERROR) {
			char explanation[128];

			httpparser__explain(&p, copy, explanation, sizeof explanation);
			if (strlen(explanation) < 8)
				abort();
		}
		free(copy);
	}
	if (kind != REQUEST && event == HTTPParser_MORE && httpparser__close(&p)) {
		event = HTTPParser_END;
		headed = 1;
	}
	seen->verdict = event == HTTPParser_END ? ACCEPTED
		: event == HTTPParser_ERROR         ? REFUSED
											: UNFINISHED;
	seen->what = p.what;
	seen->end = base + p.at;
	seen->keep_alive = httpparser__keep_alive(&p);
}

/* ---- llhttp ---- */

#if HAVE_LLHTTP

static int ll_method(llhttp_t *p, const char *s, size_t n)
{
	add_text(p->data, s, n);
	return 0;
}

static int ll_method_complete(llhttp_t *p)
{
	add_text(p->data, " ", 1);
	return 0;
}

static int ll_reason(llhttp_t *p, const char *s, size_t n)
{
	add_text(p->data, s, n);
	return 0;
}

static int ll_line(llhttp_t *p)
{
	add_text(p->data, "\n", 1);
	return 0;
}

/* Drops the fields of a trailer, as our parser does. */
static int ll_name(llhttp_t *p, const char *s, size_t n)
{
	if (!(p->flags & F_TRAILING))
		add_name(p->data, s, n);
	return 0;
}

static int ll_name_complete(llhttp_t *p)
{
	if (!(p->flags & F_TRAILING))
		add_text(p->data, ":", 1);
	return 0;
}

static int ll_value(llhttp_t *p, const char *s, size_t n)
{
	if (!(p->flags & F_TRAILING))
		add_text(p->data, s, n);
	return 0;
}

/* llhttp leaves white space at the end of a value, which its caller has to cut off. */
static int ll_value_complete(llhttp_t *p)
{
	Seen *seen = p->data;

	if (p->flags & F_TRAILING)
		return 0;
	while (seen->text[seen->length - 1] == ' ' || seen->text[seen->length - 1] == '\t')
		seen->length--;
	add_text(seen, "\n", 1);
	return 0;
}

static int ll_body(llhttp_t *p, const char *s, size_t n)
{
	add_text(p->data, s, n);
	return 0;
}

/* llhttp does not see a Transfer-Encoding with a tab behind "chunked". If the request asks for
 * an upgrade, llhttp ends it with the head instead of refusing it; it reads an answer to the end
 * of the stream. */
static int lacks_chunked;

/* Takes the state of the connection at the end of the head: later, llhttp would obey a
 * Connection field of the trailer (9110, 6.5.1). It takes Proxy-Connection for Connection (9112,
 * C.2.2) and overlooks "close" and "keep-alive" before a tab (9110, 5.6.1). In HTTP/1.0 it
 * prefers keep-alive to close (9112, 9.3). Its caller must say that an answer has no body
 * because of its status or of the request's method. */
static int ll_headed(llhttp_t *p)
{
	Seen *seen = p->data;
	int status = p->status_code, skips = seen->kind == ANSWER_TO_HEAD
		|| (seen->kind == ANSWER && (status < 200 || status == 204 || status == 304));

	if (skips)
		p->flags |= F_SKIPBODY;
	lacks_chunked =
		(seen->kind == REQUEST ? p->upgrade : memchr(seen->bytes, '\t', seen->n) != NULL)
		&& p->flags & F_TRANSFER_ENCODING && !(p->flags & F_CHUNKED);
	add_text(seen, "", 1);
	seen->length--;
	seen->keep_alive =
		strstr(seen->text, "\nproxy-connection:") || memchr(seen->bytes, '\t', seen->n)
		? UNKNOWN
		: llhttp_should_keep_alive(p) && !(p->flags & F_CONNECTION_CLOSE);
	end_head(seen, p->status_code);
	return skips;
}

static int ll_end(llhttp_t *p)
{
	Seen *seen = p->data;

	seen->verdict = ACCEPTED;
	return HPE_PAUSED;
}

int see_llhttp(Seen *seen, Kind kind, const char *bytes, size_t n)
{
	llhttp_settings_t settings;
	llhttp_t p;
	llhttp_errno_t e;

	llhttp_settings_init(&settings);
	if (kind == REQUEST) {
		settings.on_method = ll_method;
		settings.on_method_complete = ll_method_complete;
		settings.on_url = ll_method;
		settings.on_url_complete = ll_line;
	} else {
		settings.on_status = ll_reason;
		settings.on_status_complete = ll_line;
	}
	settings.on_header_field = ll_name;
	settings.on_header_field_complete = ll_name_complete;
	settings.on_header_value = ll_value;
	settings.on_header_value_complete = ll_value_complete;
	settings.on_headers_complete = ll_headed;
	settings.on_body = ll_body;
	settings.on_message_complete = ll_end;
	begin_seeing(seen, kind, bytes, n);
	lacks_chunked = 0;
	llhttp_init(&p, kind == REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
	p.data = seen;
	e = llhttp_execute(&p, bytes, n);
	if (seen->verdict == ACCEPTED)
		seen->end = (size_t)(llhttp_get_error_pos(&p) - bytes);
	else if (e == HPE_OK && kind != REQUEST && llhttp_finish(&p) == HPE_PAUSED)
		seen->end = n;
	if (lacks_chunked && seen->verdict == ACCEPTED) {
		seen->verdict = REFUSED;
		seen->what = "Request has invalid `Transfer-Encoding`";
	} else if (seen->verdict == UNFINISHED && e != HPE_OK) {
		seen->verdict = REFUSED;
		seen->what = llhttp_get_error_reason(&p);
	}
	return 1;
}

#else

int see_llhttp(Seen *seen, Kind kind, const char *bytes, size_t n)
{
	(void)seen, (void)kind, (void)bytes, (void)n;
	return 0;
}

#endif

/* ---- the differences that are meant ---- */

typedef struct Difference {
	unsigned peers;
	const char *what; /* how the refusal begins */
	const char *why;  /* RFC 9110 and 9112, unless it names another */
} Difference;

enum { BOTH = LLHTTP | H11 };

/* Our parser refuses these, and the peer accepts them. */
static const Difference stricter_requests[] = {
	{ LLHTTP, "a CR without LF before the request line",
		"9112, 2.2: a bare CR is invalid; an empty line is CR LF" },
	{ LLHTTP, "more than %n empty lines",
		"9112, 2.2: at least one is to be ignored; we stop at eight" },
	{ LLHTTP, "the method has the byte",
		"9112, 2.2: here a bare LF, as an empty line before the request" },
	{ LLHTTP, "the method is followed by two spaces",
		"9112, 3: single spaces; 11.2 on what leniency costs" },
	{ LLHTTP, "the request line has no version", "9112, 2.3: HTTP/0.9 is not HTTP/1.1" },
	{ LLHTTP, "the version is malformed", "9112, 3: here a second space before the version" },
	{ BOTH, "the version is followed by the byte",
		"9112, 2.2: a bare LF may be taken for a line's end; 11.2 warns of it" },
	{ BOTH, "the version is not", "9110, 2.5 and 15.6.6: 505 to a version that is not ours" },
	{ BOTH, "the target has the byte",
		"3986, 2: the byte must be escaped; a fragment is never sent (9112, 3.2)" },
	{ BOTH, "the target is neither a path",
		"9112, 3.2: the form of the target; authority-form is for CONNECT, * for OPTIONS" },
	{ BOTH, "the target's host is malformed",
		"9110, 4.2.1 and 4.2.4: no empty host, no userinfo" },
	{ BOTH, "CONNECT", "9110, 9.3.6: an origin server need not implement it: 501" },
	{ BOTH, "HTTP/1.1 without Host", "9112, 3.2: MUST be 400; h11 asks for it in HTTP/1.1 alone" },
	{ LLHTTP, "Host given twice", "9112, 3.2: MUST be 400" },
	{ BOTH, "Host is malformed", "9112, 3.2: MUST be 400; 9110, 4.2.1: a host is not empty" },
	{ BOTH, "a field line has no colon", "9112, 2.2: here a bare LF that ends the head" },
	{ LLHTTP, "a field line has no name", "9112, 5: a name is a token, which is not empty" },
	{ BOTH, "a field line starts with white space",
		"9112, 5.2: a folded line, to refuse or to unfold; 2.2: before the first field" },
	{ H11, "the line of %f ends in LF", "9112, 2.2: as for the version" },
	{ H11, "the value of %f has the byte",
		"9110, 5.5: a control character is invalid; NUL, CR and LF MUST be refused or replaced" },
	{ BOTH, "Content-Length is not a number",
		"9112, 6.3: a list of equal numbers may be refused; or, of llhttp, on a folded line" },
	{ H11, "Transfer-Encoding beside Content-Length",
		"9112, 6.1: may be refused, and ought to be handled as an error" },
	{ LLHTTP, "Transfer-Encoding goes on after",
		"9112, 6.1: chunked is applied once; llhttp overlooks one before a tab" },
	{ BOTH, "Transfer-Encoding in HTTP/1.0", "9112, 6.1: MUST treat the framing as faulty" },
	{ BOTH, "Transfer-Encoding is not just",
		"9110, 5.6.1: empty members, or a folded line (9112, 5.2)" },
};

/* The peer refuses these, and our parser accepts them. */
static const Difference looser_requests[] = {
	{ LLHTTP, "Duplicate Content-Length",
		"9112, 6.3 and 9110, 8.6: identical values may count once" },
	{ LLHTTP, "Invalid method encountered",
		"9110, 9.1: any token; whether it is known is for the program to say (501, 405)" },
	{ LLHTTP, "Expected space after method", "the same: a method that begins like a known one" },
	{ LLHTTP, "Expected HTTP/2 Connection Preface", "the same: PRI, whose line is of HTTP/1.1" },
	{ LLHTTP, "Request has invalid `Transfer-Encoding`",
		"9110, 5.5: a tab after the value is no part of it" },
	{ LLHTTP, "Invalid character in Content-Length", "the same; or in a trailer" },
	{ LLHTTP, "Invalid HTTP version",
		"9110, 2.5: a later minor version is to be processed as the highest of ours" },
	{ H11, "no request line received",
		"9112, 2.2: SHOULD ignore an empty line before the request" },
};

/* The same two for chunks, of requests and answers. */
static const Difference stricter_chunks[] = {
	{ BOTH, "a chunk size of more than %n digits",
		"9112, 7.1: MUST anticipate large numerals; zeros in front are padding" },
	{ H11, "a chunk size has the byte", "9112, 7.1: no space after the size" },
	{ BOTH, "a chunk extension has the byte",
		"9112, 7.1.1: the grammar, in which quotes end where every recipient sees them end" },
	{ BOTH, "too many bytes of chunk extensions", "9112, 7.1.1: ought to limit them" },
	{ H11, "the line of a chunk size has a CR without LF", "9112, 2.2: bare CR" },
};

static const Difference looser_chunks[] = {
	{ LLHTTP, "Invalid character in chunk",
		"9112, 7.1.1: white space about the parts of an extension is to be parsed; llhttp "
		"stumbles over what follows a quoted value, too" },
	{ H11, "illegal chunk header", "9112, 7.1.1: as for llhttp" },
};

/* Peers refuse these in a trailer, which only a chunked body has. */
static const char framing_in_trailer[] =
	"9110, 6.5.1: framing in a trailer means nothing: it is dropped";
static const Difference in_trailer[] = {
	{ LLHTTP, "Invalid `Transfer-Encoding` header value", framing_in_trailer },
	{ LLHTTP, "Empty Content-Length", framing_in_trailer },
	{ LLHTTP, "Content-Length can't be present", framing_in_trailer },
	{ LLHTTP, "Content-Length overflow", framing_in_trailer },
	{ H11, "Only Transfer-Encoding: chunked is supported", framing_in_trailer },
	{ H11, "multiple Transfer-Encoding headers", framing_in_trailer },
	{ H11, "bad Content-Length", framing_in_trailer },
	{ H11, "conflicting Content-Length headers", framing_in_trailer },
};

#include "http_oracle_answers.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static int is_known(const Difference *d, size_t count, Peer peer, const char *what)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (d[i].peers & peer && strncmp(what, d[i].what, strlen(d[i].what)) == 0)
			return 1;
	return 0;
}

static int is_chunked(const Seen *seen)
{
	static const char name[] = "\ntransfer-encoding:";

	return memmem(seen->text, seen->length, name, sizeof name - 1) != NULL;
}

/* h11 writes the value of Transfer-Encoding in lower case. */
static int are_equal(const char *x, const char *y, size_t n, Peer peer)
{
	return peer == H11 ? strncasecmp(x, y, n) == 0 : memcmp(x, y, n) == 0;
}

int same(const Seen *x, const Seen *y)
{
	return x->verdict == y->verdict && x->what == y->what && x->length == y->length
		&& memcmp(x->text, y->text, x->length) == 0
		&& (x->verdict != ACCEPTED || (x->end == y->end && x->keep_alive == y->keep_alive));
}

/* One parser may refuse a line at once and the other at its end. So it is no difference that one
 * waits. */
int agree(const Seen *ours, const Seen *theirs, Peer peer)
{
	if (ours->verdict == REFUSED && theirs->verdict == ACCEPTED)
		return (ours->kind == REQUEST
					   ? is_known(stricter_requests, COUNT(stricter_requests), peer, ours->what)
					   : is_known(stricter_answers, COUNT(stricter_answers), peer, ours->what))
			|| (is_chunked(ours)
				&& is_known(stricter_chunks, COUNT(stricter_chunks), peer, ours->what));
	if (ours->verdict == ACCEPTED && theirs->verdict == REFUSED)
		return (ours->kind == REQUEST
					   ? is_known(looser_requests, COUNT(looser_requests), peer, theirs->what)
					   : is_known(looser_answers, COUNT(looser_answers), peer, theirs->what))
			|| (is_chunked(ours)
				&& (is_known(looser_chunks, COUNT(looser_chunks), peer, theirs->what)
					|| is_known(in_trailer, COUNT(in_trailer), peer, theirs->what)));
	if (ours->verdict == REFUSED || theirs->verdict == REFUSED)
		return 1;
	if (ours->verdict != theirs->verdict)
		return 0;
	return ours->verdict == UNFINISHED
		|| (ours->end == theirs->end && ours->length == theirs->length
			&& (theirs->keep_alive == UNKNOWN || !ours->keep_alive == !theirs->keep_alive)
			&& are_equal(ours->text, theirs->text, ours->length, peer));
}
