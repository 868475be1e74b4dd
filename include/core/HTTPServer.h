/* SPDX-License-Identifier: MIT */
/* HTTPServer: routes, and event loops that serve them. Each loop has a thread, a listener and
 * connections of its own.
 *
 *   server = HTTPServer_new(arena, &(HTTPServer_Options){ .service = "8080" });
 *   HTTPServer_route(server, "GET", "/users/:id", show_user, NULL);
 *   HTTPServer_run(server);           (and in a signal handler: HTTPServer_stop(server))
 *
 * A handler gets the request, a response to fill, and HTTPRequest_arena(request), which is cleared
 * when the response is out. If it raises, the server answers with HTTP_status of the exception. It
 * runs in the thread of its loop, which waits for it: let a worker run a handler that blocks
 * (HTTPServer_Route). Handlers of one server run in many threads at once.
 * Checked everywhere: NULL arguments. */
#ifndef HTTPSERVER_INCLUDED
#define HTTPSERVER_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/HTTP.h>
#include <core/HTTPServerOptions.h>

CORE_BEGIN_DECLS

typedef struct HTTPServer *HTTPServer_T;
typedef void HTTPServer_Handler(HTTPRequest_T, HTTPResponse_T, void *cl);

/* Listens at once; connections wait for run. All memory is from the arena, whose disposal ends the
 * server. options may be NULL. Raises: Socket_Failed and its kinds (it cannot listen, or the
 * service manager passed several sockets), Arena_Failed. Checked: an option is out of range. */
CORE_API HTTPServer_T HTTPServer_new(Arena_T arena, const HTTPServer_Options *options);
/* Returns 1 once stop was called: end your streams. For any thread. */
CORE_API int HTTPServer_stopping(HTTPServer_T);
CORE_API int HTTPServer_port(HTTPServer_T); /* returns the port; 0 for a Unix socket */

/* In "/users/:id/posts", the parameter id is one segment that is not empty. In "/files/" with a
 * final "*path", the parameter path is all the rest, perhaps empty. A pattern has at most 16
 * parameters. Literal segments go before parameters, these before rests. If method is NULL, the
 * route has all methods. GET serves HEAD, and OPTIONS is answered, unless they have their own
 * routes. A path without a route is answered 404, one without the method 405, and a method that no
 * route has 501.
 * Checked: the server runs; the pattern is malformed, or has a route for that method already; it
 * could never match: an empty segment or one of dots, an escape, '?', '#', a backslash, a name
 * twice, the method CONNECT. Raises: Arena_Failed. */
CORE_API void HTTPServer_route(HTTPServer_T, const char *method, const char *pattern,
	HTTPServer_Handler *handler, void *cl);

typedef struct HTTPServer_Route {
	const char *method, *pattern;
	HTTPServer_Handler *handler;
	void *cl;
	int blocks;               /* if not 0, the functions of the route run in threads of workers */
	/* Gets the body in parts, as it comes. HTTPRequest_body has none then, and limits.body_bytes
	 * is not checked. The client is read no faster than this returns. If it raises, the handler is
	 * not called. */
	void (*body)(HTTPRequest_T, const void *bytes, size_t nbytes, void *cl);
} HTTPServer_Route;
CORE_API void HTTPServer_route_with(HTTPServer_T, const HTTPServer_Route *route);

/* Serves until stop: then no more connections come in, idle ones are closed, the requests in
 * progress are answered, and run returns. Runs once. If its thread is cancelled, the server ends
 * before the thread: it waits for handlers that run, and closes all connections. Raises:
 * HTTP_Failed (a thread or a loop failed, or could not be made). Checked: run was called before. */
CORE_API void HTTPServer_run(HTTPServer_T);
/* For any thread and signal handlers, also before run. Keeps errno. */
CORE_API void HTTPServer_stop(HTTPServer_T);

enum { HTTPServer_LATENCIES = 32 };
typedef struct HTTPServer_Stats { /* since the start, but for connections */
	size_t connections, queued, suspended; /* now; queued: requests that wait for a worker */
	uint64_t accepted, turned_away; /* turned_away: over per_address, or for want of descriptors */
	uint64_t requests;        /* those whose head was right */
	uint64_t refused;         /* malformed, too large, or too slow */
	uint64_t raised;          /* by callbacks of the program, and by what they deferred */
	uint64_t status[6];       /* responses of 1xx to 5xx at [1] to [5] */
	uint64_t received, sent;  /* bytes */
	uint64_t timed_out;       /* connections closed for being idle or slow */
	uint64_t busy_ms, idle_ms; /* how long all loops worked, and waited */
	uint64_t latency[HTTPServer_LATENCIES]; /* [i]: made in 2^(i-1) to 2^i us; the last: the rest */
} HTTPServer_Stats;
/* For any thread. The counts may be a request behind. */
CORE_API void HTTPServer_stats(HTTPServer_T, HTTPServer_Stats *stats);

CORE_END_DECLS
#endif
