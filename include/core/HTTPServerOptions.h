/* SPDX-License-Identifier: MIT */
/* The options of a server, and the entries of its log. A part of <core/HTTPServer.h>. */
#ifndef HTTPSERVEROPTIONS_INCLUDED
#define HTTPSERVEROPTIONS_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/HTTP.h>

CORE_BEGIN_DECLS

/* A line of the log: a response, or a request that was refused or came to nothing. */
typedef struct HTTPServer_Entry {
	HTTPRequest_T request;    /* if its head was refused, what is NULL was wrong or did not come */
	const char *route;        /* the pattern; NULL: none */
	const char *peer;         /* "192.0.2.1:4711" */
	int status;
	size_t nbytes;            /* of the body, as sent */
	int64_t microseconds;     /* from the request's first byte until its response was made */
	const char *error;        /* the message of what was raised, or what was wrong; NULL: nothing */
	const Except_Capture *raised; /* kind, place and causes of what was raised; NULL: nothing was */
	size_t memory;            /* the most that the request's arena had in use */
} HTTPServer_Entry;

/* A member that is 0 has the default, which its comment gives. Sizes are in bytes; times are in
 * milliseconds, and a negative time means no limit. */
typedef struct HTTPServer_Options {
	const char *host, *service; /* as Socket_listen takes them; every address, "8080" */
	int threads;              /* loops; one for each processor that the process may use */
	HTTP_Limits limits;       /* body_ms: what a body may take beside its size at body_rate */
	int body_rate;            /* least bytes a second, of a body and of a response; 500 */
	int idle_ms;              /* until the first byte of a request; 60,000 */
	int send_ms;              /* what a response may take, as body_ms; 30,000 */
	int suspend_ms;           /* until a suspended response is answered 504; 30,000 */
	int linger_ms;            /* for a refused client that is still sending; 2,000 */
	int drain_ms;             /* after stop, for the requests in progress; 30,000 */
	size_t pipeline_bytes;    /* read ahead of the responses; 16,384 */
	size_t connections;       /* of all loops together; 10,000, or what descriptors allow */
	size_t per_address;       /* of one address in each loop; no limit: it may be a proxy's */
	size_t request_bytes;     /* of the arena of a request, at least 8,192; no limit. Beyond: 503 */
	size_t memory_bytes;      /* of the arenas of all requests in progress, shared out among the
	                           * loops; no limit. Beyond: 503, and accepting pauses */
	size_t queue;             /* requests that wait for a worker; no limit. Beyond: 503 */
	int workers;              /* threads for routes that block; 16, if there are such routes */
	int shared;               /* other processes of this user may listen on the same port; no */
	int activated;            /* listens on the socket that the service manager passed, if any */
	const char *const *proxies; /* NULL-terminated: PROXY protocol's "address", "address/bits" */
	int mode;                 /* permissions of a Unix-domain listener, as 0660; the umask's */
	/* Runs when a request was routed, before the rest of its route; what it raises is answered. */
	void (*before)(HTTPRequest_T, HTTPResponse_T, void *hooks_cl);
	/* Writes the body of an error. message: what was raised or is wrong, or NULL; the one of a
	 * 500 is not for clients. If it raises, a text of the server's goes out. */
	void (*on_error)(HTTPRequest_T, HTTPResponse_T, int status, const char *message,
		void *hooks_cl);
	void *hooks_cl;
	int latency;              /* counts latencies, at the cost of a clock read for a request; no */
	void (*log)(const HTTPServer_Entry *, void *log_cl); /* in the loops' threads; must not raise */
	void *log_cl;
} HTTPServer_Options;

CORE_END_DECLS

#endif
