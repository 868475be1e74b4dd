/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <string.h>
#include <core/core.h>

static HTTPServer_T server;

static void hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "Hello, %s!\n", HTTPRequest_param(request, "name"));
}

static void words(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_T arena = HTTPRequest_arena(request); /* cleared when the response is out */
	HashTable_T distinct = HashTable_new(arena, 0);
	const char *text = HTTPRequest_query_param(request, "text");
	char *rest, *word;
	size_t n = 0;

	(void)cl;
	if (!text)
		RAISE_MSG(HTTP_Bad_Request, "no text=... in the query");
	for (rest = Arena_strdup(arena, text); (word = strtok_r(rest, " ", &rest)); n++)
		HashTable_put(distinct, word, NULL);
	HTTPResponse_printf(response, "%zu words, %zu distinct\n", n, HashTable_length(distinct));
}

static void stop(int signal)
{
	(void)signal;
	HTTPServer_stop(server);
}

static void serve(Arena_T arena, const char *port)
{
	server = HTTPServer_new(arena, &(HTTPServer_Options){ .host = "127.0.0.1", .service = port });
	HTTPServer_route(server, "GET", "/hello/:name", hello, NULL);
	HTTPServer_route(server, "GET", "/words", words, NULL);
	signal(SIGTERM, stop);
	printf("listening on port %d\n", HTTPServer_port(server));
	fflush(stdout);
	HTTPServer_run(server); /* until stop */
	signal(SIGTERM, SIG_IGN);
}

int main(int argc, char **argv)
{
	Arena_T arena = Arena_new();

	TRY {
		serve(arena, argc > 1 ? argv[1] : "8080");
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
