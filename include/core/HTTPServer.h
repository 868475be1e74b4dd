/* SPDX-License-Identifier: MIT */
/* HTTPServer: routes, and event loops that serve them. Each loop has a thread, a listener and
 * connections of its own.
 *
 *   server = HTTPServer_new(arena, &(HTTPServer_Options){ .service = "8080" });
 *   HTTPServer_route(server, "GET", "/users/:id", show_user, NULL);
 *   HTTPServer_run(server);           (and in a signal handler: HTTPServer_stop(server))
 *
 * A handler has the request, a response to fill, and HTTPRequest_arena(request), which is cleared
 * when the response is out. An exception of it is answered with its HTTP_status. It runs in the
 * thread of its loop, which waits for it meanwhile: a handler that blocks belongs to a worker
 * (HTTPServer_Route).
 * Handlers of one server run in many threads at once. Checked everywhere: NULL arguments. */
#ifndef HTTPSERVER_INCLUDED
#define HTTPSERVER_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/HTTP.h>
#include <core/HTTPServerOptions.h>

CORE_BEGIN_DECLS

typedef struct HTTPServer *HTTPServer_T;
typedef void HTTPServer_Handler(HTTPRequest_T, HTTPResponse_T, void *cl);

/* Listens at once; connections wait for run. Everything is from the arena, with which the server
 * ends; options may be NULL. Raises: Socket_Failed kinds (cannot listen; or other than one socket
 * was passed). Checked: an option is out of range. */
CORE_API HTTPServer_T HTTPServer_new(Arena_T arena, const HTTPServer_Options *options);
CORE_API int HTTPServer_stopping(HTTPServer_T); /* any thread: stop was called; end your streams */
CORE_API int HTTPServer_port(HTTPServer_T); /* where it listens; 0: a Unix socket */

/* pattern: "/users/:id/posts" has the parameter id, which is one segment and not empty. "/files/"
 * and a final "*path" has the parameter path, which is all the rest, perhaps empty. At most 16
 * parameters. Literal segments go before parameters, these before rests. method NULL: all.
 * GET serves HEAD, and OPTIONS is answered, unless they have routes of their own. A path without a
 * route is answered 404, one without the method 405, a method that no route has 501.
 * Checked: the server runs; the pattern is malformed, has a route for that method already, or could
 * never match (an empty segment or one of dots, an escape, '?', '#', a backslash, a name twice,
 * method CONNECT). */
CORE_API void HTTPServer_route(HTTPServer_T, const char *method, const char *pattern,
	HTTPServer_Handler *handler, void *cl);

typedef struct HTTPServer_Route {
	const char *method, *pattern;
	HTTPServer_Handler *handler;
	void *cl;
	int blocks;               /* the handler runs in a worker's thread */
	/* Gets the body as it comes, at most what was read at once. HTTPRequest_body has none then,
	 * and limits.body_bytes does not hold for it. The client is read no faster than this returns.
	 * If it raises, the handler is not called. */
	void (*body)(HTTPRequest_T, const void *bytes, size_t nbytes, void *cl);
} HTTPServer_Route;
CORE_API void HTTPServer_route_with(HTTPServer_T, const HTTPServer_Route *route);

/* Serves until stop: then no more connections come in, idle ones are closed, the requests in
 * progress are answered, and run returns. Runs once. A cancellation of its thread ends the server,
 * as stop does, before the thread ends. Raises: HTTP_Failed (a thread or a loop failed, or could
 * not be made). Checked: run was called before. */
CORE_API void HTTPServer_run(HTTPServer_T);
/* Any thread, and signal handlers; before run, too; keeps errno. */
CORE_API void HTTPServer_stop(HTTPServer_T);

enum { HTTPServer_LATENCIES = 32 };
typedef struct HTTPServer_Stats { /* since the start, but for connections */
	size_t connections, queued, suspended; /* now; queued: requests that wait for a worker */
	uint64_t accepted, turned_away; /* turned_away: over per_address, or for want of descriptors */
	uint64_t requests;        /* whose head was right */
	uint64_t refused;         /* malformed, too large, or too slow */
	uint64_t raised;          /* by callbacks of the program, and by what they deferred */
	uint64_t status[6];       /* responses of 1xx to 5xx at [1] to [5] */
	uint64_t received, sent;  /* bytes */
	uint64_t timed_out;       /* connections closed for being idle or slow */
	uint64_t busy_ms, idle_ms; /* of all loops: what they did, and waited */
	uint64_t latency[HTTPServer_LATENCIES]; /* [i]: responses within 2^i us; the last: all others */
} HTTPServer_Stats;
/* Any thread. The counts may be a request behind. */
CORE_API void HTTPServer_stats(HTTPServer_T, HTTPServer_Stats *stats);

CORE_END_DECLS
#endif
