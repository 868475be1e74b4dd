/* SPDX-License-Identifier: MIT */
/* Private to HTTP and HTTPServer: reads one request from pieces of input, whoever receives them.
 *
 *   httpreader__init(&r, request, &limits);
 *   while ((event = httpreader__feed(&r, bytes, n, &used)) != HTTPReader_READY) ...
 *
 * Each call takes the first `used` of the bytes; the caller gives the others again, before new
 * ones. The strings of the request and its body lie in the request's arena: the caller's bytes
 * may change after each call. */
#ifndef NET_HTTPREADER_INCLUDED
#define NET_HTTPREADER_INCLUDED
#include <stddef.h>
#include "http/parser.h"
#include "http/rep.h"

typedef enum HTTPReader_Event {
	HTTPReader_MORE,  /* the request goes on; all bytes were taken, or take has asked for a pause */
	HTTPReader_HEAD,  /* the head is whole, and the request answers everything but its body. Once */
	HTTPReader_READY, /* the body is whole, too. The answer from now on */
	HTTPReader_ERROR  /* parser.status and httpreader__explain say why. The answer from now on */
} HTTPReader_Event;

typedef struct HTTPReader {
	HTTPParser parser;
	HTTPRequest_T request;
	/* After HEAD the caller may set it: it gets the bytes of the body, which are not kept then.
	 * Returns 0 for a pause: the next call of feed goes on behind these bytes. */
	int (*take)(const char *bytes, size_t n, void *cl);
	void *cl;
	/* Before the first feed the caller may set them: they get the fields as these come, as far as
	 * there is room. */
	HTTPField *fields;
	size_t nfields, fields_room;
	const char *wrong;            /* after ERROR: the bytes that the parser saw */
	unsigned char in_body, has_line; /* has_line: the request line was right */
	size_t length, room;          /* bytes of request->head while it comes in pieces */
	size_t promised;              /* the Content-Length */
	size_t taken;                 /* bytes of the body so far */
	size_t block_room;            /* size of the block that has them */
	struct HTTPBlock *block;      /* NULL until one has come */
	struct HTTPBlocks *full;      /* a chunked body's blocks before it, or NULL */
} HTTPReader;

/* The request is all 0 but for its arena, socket and peer. limits: no member is 0; they are not
 * copied. */
void httpreader__init(HTTPReader *r, HTTPRequest_T request, const HTTP_Limits *limits);
/* The same for a response, to a HEAD request or to another; request then holds its fields and its
 * body. */
void httpreader__init_answer(HTTPReader *r, HTTPRequest_T request, const HTTP_Limits *limits,
	int to_head);
/* The stream has ended. READY if the message is whole by that, otherwise MORE. Raises:
 * Arena_Failed. */
HTTPReader_Event httpreader__close(HTTPReader *r);
/* Raises: Arena_Failed, and what take raises; the connection is of no further use then. */
HTTPReader_Event httpreader__feed(HTTPReader *r, const char *bytes, size_t n, size_t *used);
/* Where the next bytes may be put so that feed need not copy them, and how many. Raises:
 * Arena_Failed. */
char *httpreader__room(HTTPReader *r, size_t *n);

/* 1 once a byte of the request line was seen. Until then there is no request, though empty lines
 * may have come. */
int httpreader__begun(const HTTPReader *r);
/* 1 if the last byte was the CR of an empty line before it */
int httpreader__has_cr(const HTTPReader *r);
/* After HEAD: has_body returns 1 if a body follows, and awaits returns 1 if the client waits for
 * 100 Continue before it sends the body. */
int httpreader__has_body(const HTTPReader *r);
int httpreader__awaits(const HTTPReader *r);
/* After HEAD: other limits, for the body. ERROR if its length is beyond them, otherwise MORE. */
HTTPReader_Event httpreader__limit_body(HTTPReader *r, const HTTP_Limits *limits);
/* After ERROR, before the bytes of that call change: gives the request what its request line
 * says, if that was right; a path that cannot be decoded stays NULL. Raises: Arena_Failed. */
void httpreader__keep_line(HTTPReader *r);
/* After ERROR, before the bytes of that call change: what is wrong with them, for people. */
void httpreader__explain(const HTTPReader *r, char *out, size_t size);

#endif
