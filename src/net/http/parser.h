/* SPDX-License-Identifier: MIT */
/* Private to HTTP: the parser, and what request, response and a server share.
 *
 * The parser is pure: it reads a buffer of its caller's and answers with events. It allocates
 * nothing, reads no socket, and keeps no pointer into the buffer. It may be stopped and resumed at
 * any byte: what it answers does not depend on where the input was cut.
 *
 *   httpparser__init(&p, &limits);
 *   while ((event = httpparser__next(&p, bytes, n)) != HTTPParser_END) ...
 *
 * bytes[0..n) starts where the request does until HTTPParser_HEAD has been answered. On MORE the
 * caller appends (the buffer may move) and calls again. After HEAD the buffer may be replaced
 * whenever MORE was answered: all of it has been seen then, and httpparser__rewind says that
 * bytes starts anew. */
#ifndef NET_HTTPPARSER_INCLUDED
#define NET_HTTPPARSER_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/HTTP.h>

typedef struct HTTPSlice { /* bytes of the caller's buffer */
	size_t at, length;
} HTTPSlice;

typedef enum HTTPParser_Event {
	HTTPParser_MORE,  /* every byte was seen, and the request goes on */
	/* method, target, authority, path, query, HTTPParser_OLD. A response has answer, and its reason
	 * is in target. */
	HTTPParser_LINE,
	HTTPParser_FIELD, /* name, value; an identical second Content-Length is left out */
	HTTPParser_HEAD,  /* the flags; left is the Content-Length, or 0 */
	HTTPParser_BODY,  /* value has the next bytes of the body, decoded */
	HTTPParser_END,   /* at is the first byte after the request. It is the answer from now on */
	HTTPParser_ERROR  /* status, and httpparser__explain. It is the answer from now on */
} HTTPParser_Event;

enum {
	HTTPParser_OLD = 1,        /* HTTP/1.0 */
	HTTPParser_IS_HEAD = 2,    /* the method is HEAD */
	HTTPParser_IS_OPTIONS = 4,
	HTTPParser_HAS_HOST = 8,
	HTTPParser_HAS_LENGTH = 16,
	HTTPParser_CHUNKED = 32,
	HTTPParser_CLOSE = 64,     /* Connection: close */
	HTTPParser_KEEP = 128,     /* Connection: keep-alive */
	HTTPParser_CONTINUE = 256, /* Expect: 100-continue */
	HTTPParser_TRAILER = 512,  /* the fields are those after the chunks */
	HTTPParser_CODED = 1024,   /* a transfer coding other than chunked was named */
	HTTPParser_ANSWER = 2048,  /* it is a response */
	HTTPParser_TO_HEAD = 4096, /* it is a response to a HEAD request */
	HTTPParser_UNTIL_CLOSE = 8192 /* its body ends with the connection */
};

typedef struct HTTPParser {
	const HTTP_Limits *limits; /* the caller's, no member 0 */
	unsigned char state, byte; /* byte, number, one, two: what an error's words are filled with */
	unsigned char place;       /* in a chunk extension */
	unsigned short flags, status;
	unsigned short answer;     /* the status of a response */
	unsigned digits, empty;    /* digits of the chunk size; lines before the request line */
	/* next byte to look at; start of the current token; where a limit is passed */
	size_t at, mark, cap;
	size_t fields, body, extension; /* so far: fields, decoded bytes, bytes of chunk extensions */
	uint64_t left;             /* bytes that are left of the body or chunk */
	HTTPSlice method, target, authority, path, query; /* authority is an absolute-form target's */
	HTTPSlice name, value, host, content_length, coding;
	HTTPSlice one, two;
	size_t number;
	const char *what;
} HTTPParser;

void httpparser__init(HTTPParser *p, const HTTP_Limits *limits);
/* Prepares to parse a response, to a HEAD request or to another. */
void httpparser__init_answer(HTTPParser *p, const HTTP_Limits *limits, int to_head);
/* The stream has ended. Returns 1 if the message is whole by that: the next event is END. */
int httpparser__close(HTTPParser *p);
/* Prepares to answer each field of a head once more that was accepted before: its lines begin at
 * bytes[at]. */
void httpparser__walk(HTTPParser *p, size_t at);
HTTPParser_Event httpparser__next(HTTPParser *p, const char *bytes, size_t n);
/* After HEAD: lets the next call's bytes start with the byte at `at`. */
void httpparser__rewind(HTTPParser *p);
/* After HEAD: returns ERROR if the Content-Length is beyond the limit, otherwise HEAD. */
int httpparser__limit_body(HTTPParser *p);
int httpparser__begun(const HTTPParser *p);      /* more than empty lines was seen */
static inline int httpparser__keep_alive(const HTTPParser *p) /* after HEAD: RFC 9112, 9.3 */
{
	if (p->flags & (HTTPParser_CLOSE | HTTPParser_UNTIL_CLOSE))
		return 0;
	return !(p->flags & HTTPParser_OLD) || p->flags & HTTPParser_KEEP;
}

/* After ERROR, with the same bytes: writes to out what was wrong. The text names the value, with
 * control characters escaped. */
void httpparser__explain(const HTTPParser *p, const char *bytes, char *out, size_t size);
/* Writes s in quotes, escaped, cut after 80 bytes. Returns its length. size is at least 16. */
size_t httpparser__quote(char *out, size_t size, const char *s, size_t n);

/* Decodes and resolves a path into out[0..n+2), NUL-terminated. Returns NULL, or an error's words,
 * with %1 for the path. */
const char *httpparser__path(const char *path, size_t n, char *out, size_t *marked);
/* That writes a NUL for the % of an escape that is no separator, %2F and %5C: marked is the
 * length of out then, otherwise 0. Puts the % back. Returns how many there were. */
size_t httpparser__show_path(char *path, size_t length);

int httpparser__is_token(const char *s, size_t n); /* RFC 9110, 5.6.2; not empty */
int httpparser__is_text(const char *s, size_t n);  /* no control character but tab: RFC 9110, 5.5 */
/* Returns 1 if s is the word, whatever the case of its letters. */
int httpparser__is(const char *s, size_t n, const char *word);
/* Takes the next member of a comma-separated list, without white space around it. Returns 0 at the
 * end. */
int httpparser__member(const char *bytes, HTTPSlice *rest, HTTPSlice *member);

int httpparser__is_dots(const char *segment, size_t n); /* "." or ".." */
int httpparser__is_authority(const char *s, size_t n); /* host [":" port] */

/* ---- HTTP.c ---- */

const Except_T *http__exception(int status); /* for a status that HTTP_status may answer */

/* The socket's protocol byte says what its last request asks of the response. It is 0 if no request
 * waits for one. */
enum {
	HTTP__ASKED = 1,  /* a request waits for its response */
	HTTP__HEAD = 2,   /* it was HEAD */
	HTTP__OLD = 4,    /* it was HTTP/1.0 */
	HTTP__ENDED = 8,  /* nothing more is read from the connection */
	HTTP__UNREAD = 16 /* and the peer may still be sending */
};

#endif
