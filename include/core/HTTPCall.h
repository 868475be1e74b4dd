/* SPDX-License-Identifier: MIT */
/* HTTPCall: one HTTP/1.1 request to a server, and its answer, on a connection of a SocketPool. A
 * call blocks until it is done; in a handler of HTTPServer, it belongs on a route with `blocks`.
 *
 *   call = HTTPCall_new(arena, "GET", "/users/7");
 *   HTTPCall_run(call, pool, "users.internal", "8080");
 *   if (HTTPCall_status(call) == 200) use(HTTPCall_body(call, &nbytes));
 *
 * The call and all that it answers lie in the arena. A call runs once, and is for one thread at a
 * time. If its arena is cleared before the call is done, the call discards its connection: the
 * pool must live until then. Raises, wherever it talks to the server: HTTP_Unavailable (the pool
 * has no connection: none became free in time, the host is held down, the pool is drained),
 * HTTP_Gateway_Timeout, HTTP_Bad_Gateway (all else of the network or of the answer).
 * Except_cause(1) is the exception of Socket or SocketPool. Checked everywhere: NULL arguments (the
 * service of "unix:/path" may be NULL), and a function that is called out of its turn. */
#ifndef HTTPCALL_INCLUDED
#define HTTPCALL_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/HTTP.h>
#include <core/SocketPool.h>

CORE_BEGIN_DECLS

typedef struct HTTPCall *HTTPCall_T;

/* Raises: HTTP_Failed (method is no token; target is empty, or has a blank or a control character).
 * Checked: the method is CONNECT. */
CORE_API HTTPCall_T HTTPCall_new(Arena_T, const char *method, const char *target);
/* Set and add a field, as HTTPResponse_set and HTTPResponse_add. Raises: HTTP_Failed.
 * Checked: Content-Length, Transfer-Encoding and Expect, which are the library's. */
CORE_API void HTTPCall_set(HTTPCall_T, const char *name, const char *value);
CORE_API void HTTPCall_add(HTTPCall_T, const char *name, const char *value);
/* Append to the body that HTTPCall_run and HTTPCall_over send. */
CORE_API void HTTPCall_write(HTTPCall_T, const void *bytes, size_t nbytes);
CORE_API void HTTPCall_printf(HTTPCall_T, const char *fmt, ...) CORE_PRINTF(2, 3);
/* Limits of the answer: request_line is that of its status line, body_bytes that of a collected
 * body. head_ms and body_ms do not matter: see HTTPCall_timeout. NULL: the defaults of
 * HTTP_Limits. */
CORE_API void HTTPCall_limits(HTTPCall_T, const HTTP_Limits *);
/* Milliseconds for HTTPCall_run and HTTPCall_over in all. In steps: from HTTPCall_begin to the
 * head of the answer, and then for each wait of HTTPCall_recv. Default: 30,000. Negative: no
 * limit. */
CORE_API void HTTPCall_timeout(HTTPCall_T, int ms);

/* Checks a connection out, sends the request, and reads the answer. Then it checks the connection
 * in, or discards it if it cannot be used again. host and service are as in Socket_connect. The
 * Host field, if it was not set, is host:service without ":80" or ":http", or "localhost" for a
 * Unix socket. */
CORE_API void HTTPCall_run(HTTPCall_T, SocketPool_T, const char *host, const char *service);
/* The same on a socket of the caller's, which stays open. Checked: no Host was set. */
CORE_API void HTTPCall_over(HTTPCall_T, Socket_T);

/* The same in steps, for bodies as streams. */
/* Sends the head. A body of nbytes follows, by HTTPCall_send; negative: of unknown length, chunked.
 * Checked: a body was written. */
CORE_API void HTTPCall_begin(HTTPCall_T, SocketPool_T, const char *host, const char *service,
	int64_t nbytes);
/* Sends all of the bytes. If the server has answered already, it does nothing: ask for the answer.
 * Checked: more bytes than begin said. */
CORE_API void HTTPCall_send(HTTPCall_T, const void *bytes, size_t nbytes);
/* The body is complete. Reads the head of the answer and returns its status.
 * Checked: fewer bytes were sent than begin said. */
CORE_API int HTTPCall_answer(HTTPCall_T);
/* Returns how many bytes of the answer's body it stored, as soon as there are any. Returns 0 once
 * all were read; the connection is checked in then. Checked: nbytes is 0. */
CORE_API size_t HTTPCall_recv(HTTPCall_T, void *bytes, size_t nbytes);
/* Returns 1 if HTTPCall_recv has bytes, or the end, that came with earlier ones, and 0 if
 * HTTPCall_recv would ask the socket. Does not wait, and makes no system call to read. */
CORE_API int HTTPCall_ready(HTTPCall_T);

/* Once the head of the answer was read: */
CORE_API int HTTPCall_status(HTTPCall_T);
/* As HTTPRequest_header. Several lines of Set-Cookie, which is no list, are joined by CR LF. */
CORE_API const char *HTTPCall_header(HTTPCall_T, const char *name);
CORE_API HashTable_T HTTPCall_headers(HTTPCall_T);
/* The body that HTTPCall_run or HTTPCall_over read; never NULL, and a NUL follows it. */
CORE_API const void *HTTPCall_body(HTTPCall_T, size_t *nbytes);

CORE_END_DECLS
#endif
