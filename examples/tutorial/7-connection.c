/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <core/core.h>

static void serve(Socket_T client)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	HTTPResponse_T response = HTTPResponse_new(arena);

	TRY {
		HTTPRequest_T request = HTTPRequest_parse(arena, client);

		HTTPResponse_printf(response, "%s of %s", HTTPRequest_method(request),
			HTTPRequest_path(request));
	} EXCEPT(HTTP_Failed) {
		HTTPResponse_status(response, HTTP_status(Except_current()));
		HTTPResponse_printf(response, "%s", Except_message());
	} END_TRY;
	HTTPResponse_send(client, response);
}

static void ask(Socket_T listener, const char *request)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	AUTO(Socket_T, client, Socket_close) =
		Socket_connect("127.0.0.1", Arena_sprintf(arena, "%d", Socket_port(listener)), 1000);
	/* the other end, in a program of its own as a rule */
	AUTO(Socket_T, server, Socket_close) = Socket_accept(listener);
	char answer[1000];
	size_t n;

	Socket_sendall(client, request, strlen(request));
	serve(server);
	n = Socket_recv(client, answer, sizeof answer - 1);
	answer[n] = '\0';
	printf("%.*s: %s\n", (int)strcspn(answer, "\r"), answer, strstr(answer, "\r\n\r\n") + 4);
}

int main(void)
{
	TRY {
		AUTO(Socket_T, listener, Socket_close) = Socket_listen("127.0.0.1", "0", 0);

		ask(listener, "GET /a/../b%20c HTTP/1.1\r\nHost: localhost\r\n\r\n");
		ask(listener, "GET / HTTP/1.1\r\n\r\n");
	} EXCEPT(Socket_Failed) {
		puts(Except_message());
	} END_TRY;
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
