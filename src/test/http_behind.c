/* SPDX-License-Identifier: MIT */
/* http_behind service: a server that only speaks to proxies of this machine, and answers with the address of the client.
 * For the test behind HAProxy. SIGTERM drains it. */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdlib.h>

#include <core/core.h>

static HTTPServer_T server;

static void who(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%s\n", HTTPRequest_peer(request));
}

static void stop(int signal)
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
	HTTPServer_Options options = { .host = "127.0.0.1", .service = argc > 1 ? argv[1] : "0", .proxies = proxies };
	Arena_T arena = Arena_new();

	server = HTTPServer_new(arena, &options);
	HTTPServer_route(server, "GET", "/", who, NULL);
	catch_signals(stop);
	printf("listening on port %d\n", HTTPServer_port(server));
	fflush(stdout);
	HTTPServer_run(server);
	catch_signals(SIG_IGN);
	Arena_dispose(&arena);
	printf("live arenas %zu\n", Arena_debug_live_count());
	return EXIT_SUCCESS;
}
