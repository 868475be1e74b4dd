/* SPDX-License-Identifier: MIT */
/* HTTP: one HTTP/1.1 request read from a socket, one response sent to it, everything on an arena.
 * Where RFC 9112 lets a recipient repair a message, two recipients may repair it differently:
 * such a message is refused. The exception carries the status to answer.
 *
 *   request = HTTPRequest_parse(arena, client);   response = HTTPResponse_new(arena);
 *   ...                                           HTTPResponse_send(client, response);
 *
 * The socket remembers what its last request asks of the response (HEAD, keep-alive, HTTP/1.0).
 * So a loop of the two serves a connection, pipelined requests included, until parse raises
 * HTTP_Closed. Requests and responses are for one thread at a time; strings live as long as the
 * arena. Checked everywhere: NULL arguments. Every call that allocates may raise Arena_Failed and
 * HashTable_Failed. Programs include this header; its parts are no interface of their own. */
#ifndef HTTP_INCLUDED
#define HTTP_INCLUDED
#include <stddef.h>
#include <core/Arena.h>
#include <core/HTTPStatus.h>
#include <core/HTTPRequest.h>
#include <core/HTTPResponse.h>

CORE_BEGIN_DECLS

/* Returns n bytes as one segment of a path: all but letters, digits, '-', '.', '_', '~' as %XX. */
CORE_API char *HTTP_encode(Arena_T arena, const char *text, size_t n);

CORE_END_DECLS

#endif
