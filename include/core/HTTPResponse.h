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
 * was the last. If it raises, the body is broken off. Checked: it returns something else and wrote
 * nothing. */
CORE_API void HTTPResponse_stream(HTTPResponse_T, int (*more)(HTTPResponse_T, void *cl), void *cl);
/* The length of such a body: it is sent with Content-Length. If `more` writes more, or ends before,
 * the exchange breaks off: HTTP_Failed. HTTP/1.0 keeps its connection. Checked: sending began. */
CORE_API void HTTPResponse_length(HTTPResponse_T, uint64_t nbytes);
/* A body that is nbytes of a file, from offset on; nbytes negative: to its end. The descriptor is
 * the response's from here on, also if this raises, and is closed on every way. HTTPServer
 * answers one Range of a GET by that part, as HTTP(3) says. If the file gets shorter, the
 * connection is cut. Raises: HTTP_Failed (not a regular file). Checked: something was written, or
 * is a stream. */
CORE_API void HTTPResponse_file(HTTPResponse_T, int fd, int64_t offset, int64_t nbytes);
/* Answers 101: when that is out, take gets the socket, in the kind of thread that the handler
 * has. From then on the socket is non-blocking and the program's, also if take raises. The bytes
 * that were read ahead are in Socket_pending, of which no poll knows: read them first. Request
 * and arena live until take returns. If the client leaves before, take is not called: clean up by
 * Arena_defer. Raises: HTTP_Bad_Request (HTTP/1.0, or the request does not ask for the protocol).
 * Checked: the response is not of a handler; something was written, or is a stream or a file. */
CORE_API void HTTPResponse_upgrade(HTTPResponse_T, const char *protocol,
	void (*take)(Socket_T, void *cl), void *cl);
CORE_API void HTTPResponse_reset(HTTPResponse_T); /* as new. Checked: its sending has begun */
/* Answers later. The thread that runs a server's handler, a stream's `more` or a route's `body`
 * may call suspend once, before it returns. Then any thread, but no signal handler, calls resume or
 * fail once. The server goes on when that function has returned; no code of the program runs in
 * the caller of resume. After a handler's or a body's suspend, request, response and arena are the
 * program's until then. After `more`'s, only the handle is, and what `more` wrote goes out. If no
 * thread resumes in timeout_ms, the client gets 504; 0: the server's suspend_ms; negative: no
 * limit. Checked: any other place, a second time, a response of HTTPResponse_new; `more` then
 * returns 0. */
CORE_API void HTTPResponse_suspend(HTTPResponse_T, int timeout_ms);
CORE_API void HTTPResponse_resume(HTTPResponse_T); /* Checked: it is not suspended, or has ended */
/* Resumes, and is answered as if the handler had raised it; a stream breaks off. The capture is
 * copied; NULL: the exception being handled. Checked: as resume; there is none. */
CORE_API void HTTPResponse_fail(HTTPResponse_T, const Except_Capture *);
/* Returns 1 if the client has left, time has run out, or the server has stopped: what is still to
 * do is a resume. Any thread. Checked: the response has ended. */
CORE_API int HTTPResponse_gone(HTTPResponse_T);

/* Answers the last request of the socket. If no request waits for an answer (it was refused, or the
 * server is busy), the connection ends with this response. Date, Content-Length and Connection are
 * added as they are needed; HEAD, 204, 205 and 304 send no body. Raises: Socket_Failed. */
CORE_API void HTTPResponse_send(Socket_T client, HTTPResponse_T);

CORE_END_DECLS

#endif
