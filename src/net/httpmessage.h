/* SPDX-License-Identifier: MIT */
/* Private to HTTP*.c: what requests and responses are made of, for those that read and send them in other ways than
 * HTTPRequest_parse and HTTPResponse_send do. */
#ifndef NET_HTTPMESSAGE_INCLUDED
#define NET_HTTPMESSAGE_INCLUDED
#include <stddef.h>
#include <core/HTTP.h>
#include "httpparser.h"

/* ---- HTTPRequest.c ---- */

typedef struct HTTPField { /* of the head */
	HTTPSlice name, value;
} HTTPField;

struct HTTPRequest {
	Arena_T arena;
	const char *method, *target, *path, *query, *version;
	const char *authority;     /* of an absolute-form target: it is the Host; or NULL */
	HashTable_T headers;       /* NULL: to be made of fields when somebody asks */
	char *head;                /* what the fields are slices of */
	const HTTPField *fields;
	size_t nfields;
	const char *body;
	size_t nbytes;
	int keep_alive;
	const char *const *params; /* of the route: name, value, name, value, ... */
	size_t nparams;            /* pairs */
};

HTTP_Limits http__limits(const HTTP_Limits *given); /* with the defaults; given may be NULL */
/* At HTTPParser_HEAD: all but fields and body. Writes NULs into head, which starts where the request does.
 * Raises: HTTP_Bad_Request (the path), Arena_Failed. */
void httprequest__head(HTTPRequest_T r, const HTTPParser *p, char *head);
unsigned httprequest__asks(const HTTPParser *p); /* what it asks of the response, in the words of HTTP__ASKED */

/* ---- HTTPResponse.c ---- */

typedef struct ResponseField {
	struct ResponseField *next;
	const char *name, *value;
	size_t name_length, value_length;
} ResponseField;

struct HTTPResponse {
	Arena_T arena;
	int status;
	ResponseField *fields, **last;
	char *body;
	size_t nbytes, room;
};

typedef struct HTTPFraming {
	int has_body;    /* bytes follow the head */
	int has_length;  /* Content-Length is sent */
	int ends;        /* the connection ends with this response */
	int keeps_old;   /* an HTTP/1.0 client is told that it does not end */
} HTTPFraming;

/* What is asked of it decides how it is framed; its head takes at most bound bytes, and is put into out.
 * Raises: Arena_Failed (bound: no size_t holds it); frame and put do not raise. */
HTTPFraming httpresponse__frame(HTTPResponse_T r, unsigned asked);
size_t httpresponse__bound(HTTPResponse_T r);
size_t httpresponse__put(HTTPResponse_T r, HTTPFraming f, char *out);

#endif
