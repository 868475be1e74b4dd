/* SPDX-License-Identifier: MIT */
/* The response to an HTTP/1.1 request. A part of <core/HTTP.h>, which shows the use of it. */
#ifndef HTTPRESPONSE_INCLUDED
#define HTTPRESPONSE_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/Arena.h>
#include <core/HTTPStatus.h>
#include <core/Socket.h>

CORE_BEGIN_DECLS

typedef struct HTTPResponse *HTTPResponse_T;

CORE_API HTTPResponse_T HTTPResponse_new(Arena_T arena); /* status 200, no fields, no body */
CORE_API void HTTPResponse_status(HTTPResponse_T, int status); /* Checked: 200 to 599 */
/* Sets a field in place of those of that name. Raises: HTTP_Failed (the name is no token, or the
 * value has a control character other than tab: they often come from a peer). Checked: the name is
 * Content-Length or Transfer-Encoding, which send knows.
 * "Connection: close" ends the connection after this response. */
CORE_API void HTTPResponse_set(HTTPResponse_T, const char *name, const char *value);
/* As set, but beside the fields of that name. */
CORE_API void HTTPResponse_add(HTTPResponse_T, const char *name, const char *value);
CORE_API void HTTPResponse_write(HTTPResponse_T, const void *bytes, size_t nbytes);
/* Raises: HTTP_Failed (the format cannot be printed). Checked: the format is NULL. */
CORE_API void HTTPResponse_printf(HTTPResponse_T, const char *fmt, ...) CORE_PRINTF(2, 3);
/* A body that is made as it is sent: chunked, or until the end of the connection for HTTP/1.0.
 * When all that was written is out, `more` is called, writes the next part, and returns 0 if that
 * was the last. What it raises breaks the body off. Checked: it returns something else and wrote
 * nothing. */
CORE_API void HTTPResponse_stream(HTTPResponse_T, int (*more)(HTTPResponse_T, void *cl), void *cl);
/* The length of such a body: it is sent with Content-Length. If `more` writes more, or ends before,
 * the exchange breaks off: HTTP_Failed. HTTP/1.0 keeps its connection. Checked: sending began. */
CORE_API void HTTPResponse_length(HTTPResponse_T, uint64_t nbytes);
/* A body that is nbytes of a file, from offset on; nbytes negative: to its end. The descriptor is the
 * response's from here on, also if this raises, and is closed on every way. HTTPServer answers one
 * Range of a GET by that part, as HTTP(3) says. If the file gets shorter, the connection is cut.
 * Raises: HTTP_Failed (not a regular file). Checked: something was written, or is a stream. */
CORE_API void HTTPResponse_file(HTTPResponse_T, int fd, int64_t offset, int64_t nbytes);
CORE_API void HTTPResponse_reset(HTTPResponse_T); /* as new. Checked: its sending has begun */
/* Answers the last request of the socket. If no request waits for an answer (it was refused, or the
 * server is busy), the connection ends with this response. Date, Content-Length and Connection are
 * added as they are needed; HEAD, 204, 205 and 304 send no body. Raises: Socket_Failed. */
CORE_API void HTTPResponse_send(Socket_T client, HTTPResponse_T);

CORE_END_DECLS

#endif
