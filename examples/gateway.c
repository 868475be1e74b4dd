/* SPDX-License-Identifier: MIT */
/* gateway SERVICE UPSTREAM-HOST UPSTREAM-SERVICE: passes requests on and answers back, as streams.
 * The route blocks, so its functions run in workers. A slow client holds memory for one part, a
 * slow upstream a worker. An exception of HTTPCall is answered with 502, 503 or 504. */
#define _GNU_SOURCE 1 /* strcasecmp and strtok_r, whatever -std says */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>

static HTTPServer_T server;
static char **argument;
static const char *const hop[] = { "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade",
	"Trailer", "Transfer-Encoding", "Content-Length", "Expect", NULL }; /* RFC 9110, 7.6.1 */

static int is_for_one_hop(const char *name)
{
	for (const char *const *h = hop; *h; h++)
		if (strcasecmp(name, *h) == 0)
			return 1;
	return 0;
}

/* The call of a request: the first part of the body begins it, or the handler if it has none. */
static HTTPCall_T begun_call(HTTPRequest_T r, SocketPool_T upstreams, int nbytes)
{
	const char *length = HTTPRequest_header(r, "Content-Length");
	HTTPCall_T call = HTTPRequest_data(r);
	HashTable_Iter it;

	if (call)
		return call;
	call = HTTPCall_new(HTTPRequest_arena(r), HTTPRequest_method(r), HTTPRequest_target(r));
	for (HashTable_iterate(HTTPRequest_headers(r), &it); HashTable_next(&it);)
		if (!is_for_one_hop(it.key))
			HTTPCall_set(call, it.key, it.value);
	HTTPRequest_set_data(r, call);
	HTTPCall_begin(call, upstreams, argument[2], argument[3], length ? atoll(length) : nbytes);
	return call;
}

static void send_part(HTTPRequest_T request, const void *bytes, size_t nbytes, void *cl)
{
	HTTPCall_send(begun_call(request, cl, -1), bytes, nbytes);
}

/* Passes on at once what came at once: the visit of a worker costs more than a small answer. */
static int receive_part(HTTPResponse_T response, void *cl)
{
	char part[16384];
	size_t n;

	do
		HTTPResponse_write(response, part, n = HTTPCall_recv(cl, part, sizeof part));
	while (n > 0 && HTTPCall_ready(cl));
	return n > 0;
}

static void answer(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	HTTPCall_T call = begun_call(request, cl, 0);
	char *s, *rest; /* several cookies are several lines */
	HashTable_Iter it;

	HTTPResponse_status(response, HTTPCall_answer(call));
	for (HashTable_iterate(HTTPCall_headers(call), &it); HashTable_next(&it);)
		if (!is_for_one_hop(it.key))
			for (s = strtok_r(it.value, "\r\n", &rest); s; s = strtok_r(NULL, "\r\n", &rest))
				HTTPResponse_add(response, it.key, s);
	if (HTTPCall_header(call, "Content-Length"))
		HTTPResponse_length(response, strtoull(HTTPCall_header(call, "Content-Length"), NULL, 10));
	if (!HTTPCall_ready(call) || receive_part(response, call))
		HTTPResponse_stream(response, receive_part, call);
}

static void stop(int signal)
{
	HTTPServer_stop(signal ? server : NULL);
}

int main(int argc, char **argv)
{
	HTTPServer_Route r = { .pattern = "/*all", .handler = answer, .body = send_part, .blocks = 1 };
	Arena_T arena = Arena_new();

	if (argc != 4)
		return EXIT_FAILURE;
	argument = argv;
	r.cl = SocketPool_new(arena, 64, 1);
	server = HTTPServer_new(arena, &(HTTPServer_Options){ .service = argv[1], .workers = 16 });
	HTTPServer_route_with(server, &r);
	signal(SIGTERM, stop);
	fprintf(stderr, "listening on port %d\n", HTTPServer_port(server));
	HTTPServer_run(server);
	Arena_dispose(&arena);
	return Arena_debug_live_count() != 0;
}
