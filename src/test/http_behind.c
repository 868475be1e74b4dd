/* SPDX-License-Identifier: MIT */
/* http_behind service [direct]: a server for the tests behind proxies. It believes only proxies
 * of this machine, which speak the PROXY protocol; with `direct`, it serves everybody. It can
 * take its socket from a service manager. SIGTERM drains it.
 *   GET /           the client's address
 *   GET /forwarded  X-Forwarded-For and Host, as the proxy set them
 *   POST /echo      the body; Framed-By says how it was framed */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdlib.h>

#include <core/core.h>

static HTTPServer_T server;

static void answer_peer(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%s\n", HTTPRequest_peer(request));
}

static void answer_forwarded(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const char *whom = HTTPRequest_header(request, "X-Forwarded-For");

	(void)cl;
	HTTPResponse_printf(response, "%s %s\n", whom ? whom : "-",
		HTTPRequest_header(request, "Host"));
}

static void answer_body(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const char *coding = HTTPRequest_header(request, "Transfer-Encoding");
	size_t n;
	const void *body = HTTPRequest_body(request, &n);

	(void)cl;
	HTTPResponse_set(response, "Framed-By", coding ? coding : "length");
	HTTPResponse_write(response, body, n);
}

static void stop_server(int signal)
{
	(void)signal;
	HTTPServer_stop(server);
}

static void catch_signals(void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler };

	sigaction(SIGTERM, &action, NULL);
}

int main(int argc, char **argv)
{
	static const char *const proxies[] = { "127.0.0.1", NULL };
	HTTPServer_Options options = { .host = "127.0.0.1", .service = argc > 1 ? argv[1] : "0",
		.proxies = argc > 2 ? NULL : proxies, .activated = 1 };
	Arena_T arena = Arena_new();

	server = HTTPServer_new(arena, &options);
	HTTPServer_route(server, "GET", "/", answer_peer, NULL);
	HTTPServer_route(server, "GET", "/forwarded", answer_forwarded, NULL);
	HTTPServer_route(server, "POST", "/echo", answer_body, NULL);
	catch_signals(stop_server);
	printf("listening on port %d\n", HTTPServer_port(server));
	fflush(stdout);
	HTTPServer_run(server);
	catch_signals(SIG_IGN);
	Arena_dispose(&arena);
	printf("live arenas %zu\n", Arena_debug_live_count());
	return EXIT_SUCCESS;
}
