/* SPDX-License-Identifier: MIT */
/* HTTPServer: routes, and event loops that serve them: one a thread, each with its own listener and connections.
 *
 *   server = HTTPServer_new(arena, &(HTTPServer_Options){ .service = "8080" });
 *   HTTPServer_route(server, "GET", "/users/:id", show_user, NULL);
 *   HTTPServer_run(server);           (and in a signal handler: HTTPServer_stop(server))
 *
 * A handler has the request, a response to fill, and HTTPRequest_arena(request), which is cleared when the response is
 * out. What it raises is answered by HTTP_status of it. It runs in the thread of its loop, which waits for it meanwhile:
 * one that blocks belongs to a worker (HTTPServer_Route). Handlers of one server run in many threads at once.
 * Sizes are in bytes, times in milliseconds. Checked everywhere: NULL arguments. */
#ifndef HTTPSERVER_INCLUDED
#define HTTPSERVER_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/HTTP.h>

CORE_BEGIN_DECLS

typedef struct HTTPServer *HTTPServer_T;
typedef void HTTPServer_Handler(HTTPRequest_T, HTTPResponse_T, void *cl);

typedef struct HTTPServer_Entry { /* of the log: a response, or a request that was refused or came to nothing */
	HTTPRequest_T request;    /* its method, target and so on are NULL when its head was refused */
	const char *peer;         /* "192.0.2.1:4711" */
	int status;
	size_t nbytes;            /* of the body, as sent */
	int64_t microseconds;     /* from the first byte of the request until its response was made */
	const char *error;        /* what was raised; NULL: nothing */
} HTTPServer_Entry;

typedef struct HTTPServer_Options { /* zero: what is said of each */
	const char *host, *service; /* as Socket_listen takes them; every address, "8080" */
	int threads;              /* loops; by default one for each processor that the process may use */
	HTTP_Limits limits;       /* as there; body_ms is what a body may take beside its size at body_rate */
	int body_rate;            /* bytes a second that a body has to come at, and a response to be taken; 500 */
	int idle_ms;              /* until the first byte of a request; 60,000 */
	int send_ms;              /* that a response may take, as body_ms; 30,000 */
	int linger_ms;            /* for a refused client that is still sending; 2,000 */
	int drain_ms;             /* after stop, for the requests at hand; 30,000. Of these times a negative one is for ever */
	size_t pipeline_bytes;    /* read ahead of the responses; 16,384 */
	size_t connections;       /* at once, shared out among the loops; 10,000, or what descriptors allow */
	size_t per_address;       /* at once and of one address, counted by each loop; no limit: it may be a proxy */
	int workers;              /* threads for routes that block; 16, if there are any */
	int shared;               /* other processes of this user may listen on the same port */
	int activated;            /* listens on the one socket that the service manager passed (LISTEN_FDS), if it did */
	const char *const *proxies; /* NULL-terminated addresses, or "address/bits", that speak the PROXY protocol */
	void (*log)(const HTTPServer_Entry *, void *log_cl); /* runs in the threads of the loops; must not raise */
	void *log_cl;
} HTTPServer_Options;

/* Listens at once; connections wait for run. Everything from the arena, with which the server ends; options may be
 * NULL. Raises: Socket_Failed kinds (cannot listen; or other than one socket was passed). Checked: an option that is
 * out of range. */
CORE_API HTTPServer_T HTTPServer_new(Arena_T arena, const HTTPServer_Options *options);
CORE_API int HTTPServer_port(HTTPServer_T); /* where it listens; 0: a Unix socket */

/* pattern: "/users/:id/posts" has the parameter id, which is one segment and not empty; "/files/" and a final "*path"
 * has the parameter path, which is all the rest, perhaps empty; at most 16 of them. Literal segments go before
 * parameters, these before rests. method NULL: all. GET serves HEAD, and OPTIONS is answered, unless they have routes of
 * their own. A path without a route is answered 404, one without the method 405, a method that no route has 501. Before
 * run. Checked: the pattern is malformed, or could never match (an empty segment or one of dots, an escape, '?', '#',
 * a backslash, a name twice, method CONNECT), or has a route for that method already; the server runs. */
CORE_API void HTTPServer_route(HTTPServer_T, const char *method, const char *pattern, HTTPServer_Handler *handler, void *cl);

typedef struct HTTPServer_Route {
	const char *method, *pattern;
	HTTPServer_Handler *handler;
	void *cl;
	int blocks;               /* the handler runs in a worker's thread */
	/* The body as it comes, not more at once than was read; HTTPRequest_body has none then, and limits.body_bytes
	 * does not hold for it. The client is read no faster than this returns. May raise: the handler is not called. */
	void (*body)(HTTPRequest_T, const void *bytes, size_t nbytes, void *cl);
} HTTPServer_Route;
CORE_API void HTTPServer_route_with(HTTPServer_T, const HTTPServer_Route *route);

/* Serves until stop: then no more connections come in, those that are idle are closed, the requests at hand are
 * answered, and run returns. Once. A cancellation of its thread ends the server, as stop does, before the thread ends.
 * Raises: HTTP_Failed (a thread or a loop that could not be made, or failed). Checked: run was called before. */
CORE_API void HTTPServer_run(HTTPServer_T);
CORE_API void HTTPServer_stop(HTTPServer_T); /* Any thread, and signal handlers; before run too; keeps errno */

typedef struct HTTPServer_Stats { /* since the start, but for connections */
	size_t connections;       /* now */
	uint64_t accepted, turned_away; /* turned_away: over per_address, or for want of descriptors */
	uint64_t requests;        /* whose head was right */
	uint64_t refused;         /* malformed, too large, or too slow */
	uint64_t raised;          /* by handlers, and by what they deferred or stream */
	uint64_t status[6];       /* responses of 1xx to 5xx at [1] to [5] */
	uint64_t received, sent;  /* bytes */
	uint64_t timed_out;       /* connections closed for being idle or slow */
} HTTPServer_Stats;
CORE_API void HTTPServer_stats(HTTPServer_T, HTTPServer_Stats *stats); /* any thread; may be a request behind */

CORE_END_DECLS
#endif
