/* SPDX-License-Identifier: MIT */
/* Private to HTTP and HTTPServer: the file that is the body of a response. */
#ifndef NET_HTTPFILE_INCLUDED
#define NET_HTTPFILE_INCLUDED
#include <stdint.h>
#include "http/rep.h"

struct HTTPFile {
	int fd;              /* -1 when it is closed */
	int64_t offset, left; /* the part that is still to be sent */
};

/* Closes the file of a response and forgets it. */
void httpresponse__close_file(HTTPResponse_T r);
/* Sends the file to a socket of the caller's. Raises: Socket_Failed, HTTP_Failed (the file is
 * shorter than was announced). */
void httpresponse__send_file(Socket_T client, HTTPResponse_T r);
/* Raises HTTP_Failed for a file that cannot be sent. error is errno, or 0 at the file's end. */
void httpresponse__refuse_file(HTTPResponse_T r, int error) CORE_NORETURN;

typedef enum HTTPRange {
	HTTPRange_WHOLE,  /* the field asks for no range, or for several, or cannot be read */
	HTTPRange_PART,   /* it asks for the bytes first to last */
	HTTPRange_NONE    /* it asks for bytes that the body does not have */
} HTTPRange;
/* Returns what the value of a Range field asks for, in a body of that length (RFC 9110, 14.1.2). */
HTTPRange http__range(const char *value, int64_t length, int64_t *first, int64_t *last);
/* Returns 1 if the value of an If-Range field names the response's state: its strong ETag, or its
 * Last-Modified. */
int http__if_range(HTTPResponse_T r, const char *value);

#endif
