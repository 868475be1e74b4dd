/* SPDX-License-Identifier: MIT */
/* The options of a server, and the entries of its log. A part of <core/HTTPServer.h>. */
#ifndef HTTPSERVEROPTIONS_INCLUDED
#define HTTPSERVEROPTIONS_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/HTTP.h>

CORE_BEGIN_DECLS

/* An entry of the log: a response, or a request that was refused or whose client left. */
typedef struct HTTPServer_Entry {
	HTTPRequest_T request;    /* if its head was refused: wrong or missing parts are NULL */
	const char *route;        /* the pattern, or NULL without a route */
	const char *peer;         /* "192.0.2.1:4711" */
	int status;
	size_t nbytes;            /* bytes of the body, as sent */
	int64_t microseconds;     /* from the request's first byte until its response was made */
	const char *error;        /* the message of the exception, or what was wrong, or NULL */
	const Except_Capture *raised; /* kind, place and causes of the exception, or NULL */
	size_t memory;            /* the most bytes that the request's arena had in use */
} HTTPServer_Entry;

/* A member that is 0 has its default. Sizes are in bytes; times are in milliseconds, and a negative
 * time means no limit. */
typedef struct HTTPServer_Options {
	const char *host, *service; /* as in Socket_listen. Default: every address, "8080" */
	int threads;              /* loops. Default: one for each processor the process may use */
	HTTP_Limits limits;       /* body_ms is added to the time that a body takes at body_rate */
	int body_rate;            /* minimum bytes a second, of bodies and of responses. Default: 500 */
	int idle_ms;              /* wait for the first byte of a request. Default: 60,000 */
	int send_ms;              /* for a response, beside its time at body_rate. Default: 30,000 */
	int suspend_ms;           /* until a suspended response is answered 504. Default: 30,000 */
	int linger_ms;            /* to read from a client that was refused. Default: 2,000 */
	int drain_ms;             /* after stop, for requests in progress. Default: 30,000 */
	size_t pipeline_bytes;    /* of requests read ahead, at least 256. Default: 16,384 */
	size_t connections;       /* of all loops. Default: 10,000, or what descriptors allow */
	size_t per_address;       /* connections from one address, in each loop. Default: no limit,
	                           * as the address may be a proxy's */
	size_t request_bytes;     /* of the arena of a request, at least 8,192; beyond, the answer is
	                           * 503. Default: no limit */
	size_t memory_bytes;      /* of the arenas of all requests in progress, shared out among the
	                           * loops; beyond, the answer is 503 and accepting pauses. Default:
	                           * no limit */
	size_t queue;             /* requests that wait for a worker; beyond, the answer is 503.
	                           * Default: no limit */
	int workers;              /* threads for routes that block. Default: 16 if there are any */
	int shared;               /* if not 0, other processes of this user may listen here, too */
	int activated;            /* if not 0, listens on the service manager's socket, if any */
	const char *const *proxies; /* who must send a PROXY header: "address" or "address/bits", then
	                           * NULL. Default: none */
	int mode;                 /* permissions of a Unix-domain listener, as 0660. Default: umask's */
	/* Runs when a request has been routed, before the rest of its route. If it raises, that is
	 * answered, and nothing else of the route runs. */
	void (*before)(HTTPRequest_T, HTTPResponse_T, void *hooks_cl);
	/* Writes the body of an error. message is what was raised or is wrong, or NULL; do not send
	 * that of a 500 to a client. If it raises, the server sends a text of its own. */
	void (*on_error)(HTTPRequest_T, HTTPResponse_T, int status, const char *message,
		void *hooks_cl);
	void *hooks_cl;
	int latency;              /* if not 0, counts latencies; costs a clock read for each request */
	void (*log)(const HTTPServer_Entry *, void *log_cl); /* in the loops' threads; must not raise */
	void *log_cl;
} HTTPServer_Options;

CORE_END_DECLS

#endif
