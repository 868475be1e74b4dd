/* SPDX-License-Identifier: MIT */
/* Thread per request: each client gets a thread, and each thread an arena, which it frees when the
 * request is done. The program serves three requests that it makes itself, then ends.
 *
 *   cc thread-per-request.c -o thread-per-request $(pkg-config --cflags --libs libcore) -pthread
 *   ./thread-per-request */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>

enum { REQUESTS = 3 };

static HTTPResponse_T process_request(Arena_T arena, HTTPRequest_T req)
{
	HTTPResponse_T resp = HTTPResponse_new(arena);
	const char *name = HTTPRequest_query(req);

	HTTPResponse_set(resp, "Content-Type", "text/plain");
	HTTPResponse_set(resp, "Connection", "close");
	HTTPResponse_printf(resp, "Hello, %s!\n", *name ? name : "world");
	return resp;
}

static void handle_request(Socket_T client)
{
	Arena_T arena = Arena_new();

	TRY {
		HTTPRequest_T req = HTTPRequest_parse(arena, client);

		HTTPResponse_send(client, process_request(arena, req));
	} EXCEPT(HTTP_Failed) {
		fprintf(stderr, "refused: %s\n", Except_message());
	} FINALLY {
		Arena_dispose(&arena); /* the entire request */
	} END_TRY;
}

static void *serve(void *cl)
{
	Socket_T client = cl;

	TRY {
		handle_request(client);
	} ELSE { /* an exception must not leave its thread */
		Except_report(stderr);
	} FINALLY {
		Socket_close(&client);
	} END_TRY;
	return NULL;
}

static void *server(void *cl)
{
	Socket_T listener = cl;
	pthread_t threads[REQUESTS];
	int n;

	for (n = 0; n < REQUESTS; n++)
		if (pthread_create(&threads[n], NULL, serve, Socket_accept(listener)) != 0)
			abort();
	while (n > 0)
		pthread_join(threads[--n], NULL);
	return NULL;
}

static void ask(Arena_T arena, const char *port, const char *name)
{
	AUTO(Socket_T, s, Socket_close) = Socket_connect("127.0.0.1", port, 5000);
	const char *request =
		Arena_sprintf(arena, "GET /?%s HTTP/1.1\r\nHost: localhost\r\n\r\n", name);
	char *reply = ALLOC(arena, 4096);
	size_t n, length = 0;

	Socket_sendall(s, request, strlen(request));
	while (length < 4095 && (n = Socket_recv(s, reply + length, 4095 - length)) > 0)
		length += n;
	reply[length] = '\0';
	printf("%s", strstr(reply, "\r\n\r\n") + 4);
}

int main(void)
{
	Arena_T arena = Arena_new();

	TRY {
		AUTO(Socket_T, listener, Socket_close) = Socket_listen("127.0.0.1", "0", 0);
		const char *port = Arena_sprintf(arena, "%d", Socket_port(listener));
		pthread_t thread;

		if (pthread_create(&thread, NULL, server, listener) != 0)
			abort();
		ask(arena, port, "");
		ask(arena, port, "Ada");
		ask(arena, port, "Grace");
		pthread_join(thread, NULL);
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
