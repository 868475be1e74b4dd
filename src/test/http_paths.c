/* SPDX-License-Identifier: MIT */
/* http_paths service: a server that answers with the route that a path reaches, for proxies.sh. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>

#include <core/core.h>

static void answer_route(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_printf(response, "%s\n", (const char *)cl);
}

int main(int argc, char **argv)
{
	HTTPServer_Options options = { .host = "127.0.0.1", .service = argc > 1 ? argv[1] : "0",
		.threads = 1 };
	Arena_T arena = Arena_new();
	HTTPServer_T server = HTTPServer_new(arena, &options);

	HTTPServer_route(server, "GET", "/*path", answer_route, "other");
	HTTPServer_route(server, "GET", "/admin", answer_route, "ADMIN");
	HTTPServer_route(server, "GET", "/admin/*path", answer_route, "ADMIN");
	printf("listening on port %d\n", HTTPServer_port(server));
	fflush(stdout);
	HTTPServer_run(server);
	Arena_dispose(&arena);
	return 0;
}
