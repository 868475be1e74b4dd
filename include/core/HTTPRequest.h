/* SPDX-License-Identifier: MIT */
/* One HTTP/1.1 request, read from a socket. A part of <core/HTTP.h>, which shows the use of it. */
#ifndef HTTPREQUEST_INCLUDED
#define HTTPREQUEST_INCLUDED
#include <stddef.h>
#include <core/Arena.h>
#include <core/HashTable.h>
#include <core/HTTPResponse.h>
#include <core/Socket.h>

CORE_BEGIN_DECLS

typedef struct HTTPRequest *HTTPRequest_T;

/* A member that is 0 has the default, which its comment gives. A negative time means no limit. */
typedef struct HTTP_Limits {
	size_t request_line;  /* bytes; 8,192 */
	size_t header_bytes;  /* all field lines together; 32,768 */
	size_t header_count;  /* 100 */
	size_t body_bytes;    /* 1 MiB */
	int head_ms;          /* from the request line to the end of the head; 10,000 */
	int body_ms;          /* for the whole body; 30,000 */
} HTTP_Limits;

/* Reads one request. Raises: HTTP_Closed (no byte came), other HTTP_Failed kinds (then send the
 * status: the connection closes), Socket_Timeout (no byte came within the socket's timeout),
 * Socket_Failed. */
CORE_API HTTPRequest_T HTTPRequest_parse(Arena_T arena, Socket_T client);
CORE_API HTTPRequest_T HTTPRequest_parse_with(
	Arena_T arena, Socket_T client, const HTTP_Limits *limits);

CORE_API const char *HTTPRequest_method(HTTPRequest_T);  /* as sent; methods are case-sensitive */
CORE_API const char *HTTPRequest_target(HTTPRequest_T);  /* as sent */
/* Decoded, except %2F and %5C; "." and ".." resolved. Starts with '/', or is "*". */
CORE_API const char *HTTPRequest_path(HTTPRequest_T);
CORE_API const char *HTTPRequest_query(HTTPRequest_T);   /* after '?', not decoded; "" if none */
/* Returns the part of the path for :name or *name of the route, wholly decoded; NULL if the route
 * has no such name. */
CORE_API const char *HTTPRequest_param(HTTPRequest_T, const char *name);
CORE_API const char *HTTPRequest_version(HTTPRequest_T); /* "HTTP/1.1" or "HTTP/1.0" */
/* The name in any case. Returns NULL if the field is absent; fields of one name are joined. */
CORE_API const char *HTTPRequest_header(HTTPRequest_T, const char *name);
/* A table of kind STRING_NOCASE, from names to const char * values. */
CORE_API HashTable_T HTTPRequest_headers(HTTPRequest_T);
/* Never NULL; a NUL follows the nbytes bytes. */
CORE_API const void *HTTPRequest_body(HTTPRequest_T, size_t *nbytes);
CORE_API const char *HTTPRequest_peer(HTTPRequest_T); /* "192.0.2.1:4711"; ask while it is open */
CORE_API Arena_T HTTPRequest_arena(HTTPRequest_T);
CORE_API const char *HTTPRequest_route(HTTPRequest_T);   /* the pattern of its route, or NULL */
CORE_API void HTTPRequest_set_data(HTTPRequest_T, void *data); /* a pointer of the program's */
CORE_API void *HTTPRequest_data(HTTPRequest_T);          /* that pointer, in every callback */
/* Returns the response that the handler gets, for the body function of a route. Checked: the
 * request has no response. */
CORE_API HTTPResponse_T HTTPRequest_response(HTTPRequest_T);
CORE_API int HTTPRequest_keep_alive(HTTPRequest_T);      /* the client wants another request here */

/* The pairs of the query, and those of a body that is application/x-www-form-urlencoded; another
 * body has none. Names and values are decoded, in the order sent; names may be repeated.
 * query_param and form_param return the first value of the name, "" without '=', NULL if absent.
 * Raises: HTTP_Bad_Request (a malformed escape, or a NUL, in any of the pairs). */
typedef struct HTTP_Param {
	const char *name, *value;
} HTTP_Param;
CORE_API const char *HTTPRequest_query_param(HTTPRequest_T, const char *name);
CORE_API const char *HTTPRequest_form_param(HTTPRequest_T, const char *name);
CORE_API const HTTP_Param *HTTPRequest_query_params(HTTPRequest_T, size_t *count);
CORE_API const HTTP_Param *HTTPRequest_form_params(HTTPRequest_T, size_t *count);

CORE_END_DECLS

#endif
