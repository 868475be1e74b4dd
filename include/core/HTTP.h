/* SPDX-License-Identifier: MIT */
/* HTTP: one HTTP/1.1 request read from a socket, one response sent to it, everything on an arena.
 * Where RFC 9112 lets a recipient repair a message, two recipients may repair it differently:
 * such a message is refused. The exception carries the status to answer.
 *
 *   request = HTTPRequest_parse(arena, client);   response = HTTPResponse_new(arena);
 *   ...                                           HTTPResponse_send(client, response);
 *
 * The socket remembers what its last request asks of the response (HEAD, keep-alive, HTTP/1.0), so a
 * loop of the two serves a connection, pipelined requests included, until parse raises HTTP_Closed.
 * Requests and responses are for one thread at a time; strings live as long as the arena.
 * Checked everywhere: NULL arguments. What allocates may raise Arena_Failed and HashTable_Failed. */
#ifndef HTTP_INCLUDED
#define HTTP_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/Arena.h>
#include <core/HashTable.h>
#include <core/Socket.h>

CORE_BEGIN_DECLS

typedef struct HTTPRequest *HTTPRequest_T;
typedef struct HTTPResponse *HTTPResponse_T;

/* The parent of the others; a kind of one of them has its status. HTTP_Closed: the connection ended. */
extern CORE_API const Except_T HTTP_Failed, HTTP_Closed /* no status: 0 */,
	HTTP_Bad_Request /* 400 */, HTTP_Unauthorized /* 401 */, HTTP_Forbidden /* 403 */,
	HTTP_Not_Found /* 404 */, HTTP_Timeout /* 408 */, HTTP_Conflict /* 409 */,
	HTTP_Content_Too_Large /* 413 */, HTTP_URI_Too_Long /* 414 */, HTTP_Unsupported_Media /* 415 */,
	HTTP_Unprocessable /* 422 */, HTTP_Too_Many_Requests /* 429 */, HTTP_Fields_Too_Large /* 431 */,
	HTTP_Not_Implemented /* 501 */, HTTP_Bad_Gateway /* 502 */, HTTP_Unavailable /* 503 */,
	HTTP_Gateway_Timeout /* 504 */, HTTP_Bad_Version /* 505 */;

CORE_API int HTTP_status(const Except_T *e);      /* what to answer; 500 for any other exception */
CORE_API const char *HTTP_reason(int status);     /* "Not Found"; "" if unknown */
/* Returns n bytes as one segment of a path: all but letters, digits, '-', '.', '_' and '~' as %XX. */
CORE_API char *HTTP_encode(Arena_T arena, const char *text, size_t n);

typedef struct HTTP_Limits { /* 0: the default */
	size_t request_line;  /* bytes; 8,192 */
	size_t header_bytes;  /* all field lines together; 32,768 */
	size_t header_count;  /* 100 */
	size_t body_bytes;    /* 1 MiB */
	int head_ms;          /* from the request line on, for the head; 10,000; negative: no limit */
	int body_ms;          /* for the whole body; 30,000 */
} HTTP_Limits;

/* Reads one request. Raises: HTTP_Closed (no byte came), HTTP_Failed kinds (then send the status:
 * the connection closes), Socket_Timeout (no byte came in the socket's timeout), Socket_Failed. */
CORE_API HTTPRequest_T HTTPRequest_parse(Arena_T arena, Socket_T client);
CORE_API HTTPRequest_T HTTPRequest_parse_with(Arena_T arena, Socket_T client, const HTTP_Limits *limits);

CORE_API const char *HTTPRequest_method(HTTPRequest_T);  /* as sent; methods are case-sensitive */
CORE_API const char *HTTPRequest_target(HTTPRequest_T);  /* as sent */
/* Decoded, except %2F and %5C; "." and ".." resolved. Starts with '/', or is "*". */
CORE_API const char *HTTPRequest_path(HTTPRequest_T);
CORE_API const char *HTTPRequest_query(HTTPRequest_T);   /* after '?', not decoded; "" if none */
/* The part of the path for :name or *name of the route, wholly decoded; NULL if it has no such name. */
CORE_API const char *HTTPRequest_param(HTTPRequest_T, const char *name);
CORE_API const char *HTTPRequest_version(HTTPRequest_T); /* "HTTP/1.1" or "HTTP/1.0" */
CORE_API const char *HTTPRequest_header(HTTPRequest_T, const char *name); /* any case; NULL if absent; repeated: joined */
CORE_API HashTable_T HTTPRequest_headers(HTTPRequest_T); /* STRING_NOCASE, name to const char * value */
CORE_API const void *HTTPRequest_body(HTTPRequest_T, size_t *nbytes); /* never NULL; a NUL follows it */
CORE_API const char *HTTPRequest_peer(HTTPRequest_T);    /* "192.0.2.1:4711"; while the connection is open */
CORE_API Arena_T HTTPRequest_arena(HTTPRequest_T);
CORE_API const char *HTTPRequest_route(HTTPRequest_T);   /* the pattern of its route; NULL if none */
CORE_API void HTTPRequest_set_data(HTTPRequest_T, void *data); /* a pointer of the program's */
CORE_API void *HTTPRequest_data(HTTPRequest_T);          /* which all that handle the request see */
CORE_API int HTTPRequest_keep_alive(HTTPRequest_T);      /* the client wants another request on the connection */

/* The pairs of the query, and of a body that is application/x-www-form-urlencoded (of another one: none), decoded; in
 * the order sent, names may be repeated. param: the value of the first of that name, "" without '='; NULL if absent.
 * Raises: HTTP_Bad_Request (a malformed escape, or a NUL, in any of them). */
typedef struct HTTP_Param {
	const char *name, *value;
} HTTP_Param;
CORE_API const char *HTTPRequest_query_param(HTTPRequest_T, const char *name);
CORE_API const char *HTTPRequest_form_param(HTTPRequest_T, const char *name);
CORE_API const HTTP_Param *HTTPRequest_query_params(HTTPRequest_T, size_t *count);
CORE_API const HTTP_Param *HTTPRequest_form_params(HTTPRequest_T, size_t *count);

CORE_API HTTPResponse_T HTTPResponse_new(Arena_T arena); /* status 200, no fields, no body */
CORE_API void HTTPResponse_status(HTTPResponse_T, int status); /* Checked: 200 to 599 */
/* Replaces. Raises: HTTP_Failed (name is not a token, value has a control character but tab: they often
 * come from a peer). Checked: not Content-Length or Transfer-Encoding, which send knows.
 * "Connection: close" ends the connection after this response. */
CORE_API void HTTPResponse_set(HTTPResponse_T, const char *name, const char *value);
CORE_API void HTTPResponse_add(HTTPResponse_T, const char *name, const char *value); /* as set, beside those of that name */
CORE_API void HTTPResponse_write(HTTPResponse_T, const void *bytes, size_t nbytes);
/* Raises: HTTP_Failed (what cannot be printed). Checked: the format is NULL. */
CORE_API void HTTPResponse_printf(HTTPResponse_T, const char *fmt, ...) CORE_PRINTF(2, 3);
/* A body that is made as it is sent, chunked, or until the end of the connection for HTTP/1.0: when what was written is
 * out, more is called, writes the next part, and returns 0 if that was the last. An exception of it breaks the body off.
 * Checked: it returns something else and wrote nothing. */
CORE_API void HTTPResponse_stream(HTTPResponse_T, int (*more)(HTTPResponse_T, void *cl), void *cl);
/* The length of such a body: it is sent with Content-Length. If `more` writes more, or ends before, the
 * exchange breaks off: HTTP_Failed. HTTP/1.0 keeps its connection. Checked: its sending has begun. */
CORE_API void HTTPResponse_length(HTTPResponse_T, uint64_t nbytes);
CORE_API void HTTPResponse_reset(HTTPResponse_T); /* as new. Checked: its sending has begun */
/* Answers the last request of the socket; without one that waits for an answer (it was refused, or the
 * server is busy), the connection ends with this response. Date, Content-Length and Connection are added
 * as they are needed; HEAD, 204, 205 and 304 send no body. Raises: Socket_Failed. */
CORE_API void HTTPResponse_send(Socket_T client, HTTPResponse_T);

CORE_END_DECLS

#endif
