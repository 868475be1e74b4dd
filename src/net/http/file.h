/* SPDX-License-Identifier: MIT */
/* Private to HTTP and HTTPServer: the file that is the body of a response. */
#ifndef NET_HTTPFILE_INCLUDED
#define NET_HTTPFILE_INCLUDED
#include <stdint.h>
#include "http/rep.h"

struct HTTPFile {
	int fd;              /* -1: closed */
	int64_t offset, left; /* of what is still to be sent */
};

/* Closes the file of a response and forgets it. */
void httpresponse__close_file(HTTPResponse_T r);
/* Sends it to a socket of the caller's. Raises: Socket_Failed, HTTP_Failed (it is shorter than
 * was announced). */
void httpresponse__send_file(Socket_T client, HTTPResponse_T r);
/* Raises what is the matter with a file that cannot be sent: error, or 0 at its end. */
void httpresponse__refuse_file(HTTPResponse_T r, int error) CORE_NORETURN;

typedef enum HTTPRange {
	HTTPRange_WHOLE,  /* it asks for none, or for several, or cannot be read */
	HTTPRange_PART,   /* bytes first to last */
	HTTPRange_NONE    /* of what there is */
} HTTPRange;
/* The ranges that the value of a Range field asks for, in a body of that length (RFC 9110,
 * 14.1.2). */
HTTPRange http__range(const char *value, int64_t length, int64_t *first, int64_t *last);
/* 1 if the value of an If-Range field names the response's state: its strong ETag, or its
 * Last-Modified. */
int http__if_range(HTTPResponse_T r, const char *value);

#endif
