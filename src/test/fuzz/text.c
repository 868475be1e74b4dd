/* SPDX-License-Identifier: MIT */
/* How targets and forms are decoded. The path of an accepted request has no "." or ".." and,
 * encoded again, is the same path; so it is with the pairs of a form. Input: the target, NUL, the
 * form. */
#include "config.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <core/HTTP.h>

#include "fuzz.h"

static void close_socket(void *socket)
{
	Socket_T s = socket;

	Socket_close(&s);
}

/* Reads the request that posts the form to the target. Raises: as HTTPRequest_parse. */
static HTTPRequest_T parse(Arena_T arena, const char *target, const char *form, size_t form_bytes)
{
	static const char FORM[] = "Content-Type: application/x-www-form-urlencoded";
	Socket_T socket;
	char *head = Arena_sprintf(arena,
		"POST %s HTTP/1.1\r\nHost: fuzz\r\n%s\r\nContent-Length: %zu\r\n\r\n",
		target, FORM, form_bytes);
	size_t head_bytes = strlen(head);
	int ends[2];

	require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	require(send(ends[1], head, head_bytes, 0) == (ssize_t)head_bytes);
	require(form_bytes == 0 || send(ends[1], form, form_bytes, 0) == (ssize_t)form_bytes);
	close(ends[1]);
	socket = Socket_adopt(ends[0]);
	Arena_defer(arena, close_socket, socket);
	return HTTPRequest_parse(arena, socket);
}

static void check_path(Arena_T arena, const char *path)
{
	char *again = Arena_strdup(arena, "");
	const char *segment, *end;
	HTTPRequest_T request;

	if (strcmp(path, "*") == 0)
		return;
	require(path[0] == '/' && !strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../"));
	require(strlen(path) < 2 || (strcmp(path + strlen(path) - 2, "/.") != 0));
	require(strlen(path) < 3 || (strcmp(path + strlen(path) - 3, "/..") != 0));
	if (strchr(path, '%')) /* perhaps an encoded slash, which stays encoded */
		return;
	for (segment = path; *segment == '/'; segment = end) {
		end = ++segment;
		end += strcspn(end, "/");
		again = Arena_sprintf(arena, "%s/%s", again,
			HTTP_encode(arena, segment, (size_t)(end - segment)));
	}
	request = parse(arena, again, "", 0);
	require(strcmp(HTTPRequest_path(request), path) == 0);
}

static void check_pairs(Arena_T arena, const HTTP_Param *pairs, size_t n)
{
	char *form = Arena_strdup(arena, "");
	const HTTP_Param *again;
	HTTPRequest_T request;
	size_t i, count;

	for (i = 0; i < n; i++)
		form = Arena_sprintf(arena, "%s%s%s=%s", form, i > 0 ? "&" : "",
			HTTP_encode(arena, pairs[i].name, strlen(pairs[i].name)),
			HTTP_encode(arena, pairs[i].value, strlen(pairs[i].value)));
	request = parse(arena, "/", form, strlen(form));
	again = HTTPRequest_form_params(request, &count);
	require(count == n);
	for (i = 0; i < n; i++)
		require(strcmp(again[i].name, pairs[i].name) == 0
			&& strcmp(again[i].value, pairs[i].value) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	Arena_T arena = Arena_new();
	const char *target, *form;
	size_t form_bytes = 0, count;
	HTTPRequest_T volatile request = NULL;

	if (n > 2000)
		n = 2000;
	target = Arena_strndup(arena, (const char *)data, n);
	form = (const char *)data + strlen(target);
	if (strlen(target) < n) {
		form++;
		form_bytes = n - strlen(target) - 1;
	}
	TRY {
		request = parse(arena, target, form, form_bytes);
	} EXCEPT(HTTP_Failed) {
		require(HTTP_status(Except_current()) >= 400 && Except_message()[0] != '\0');
	} END_TRY;
	if (request) {
		const HTTP_Param *volatile pairs = NULL;

		check_path(arena, HTTPRequest_path(request));
		TRY {
			HTTPRequest_query_params(request, &count);
		} EXCEPT(HTTP_Bad_Request) {
			require(strstr(Except_message(), "query") != NULL);
		} END_TRY;
		TRY {
			pairs = HTTPRequest_form_params(request, &count);
		} EXCEPT(HTTP_Bad_Request) {
			require(Except_message()[0] != '\0');
		} END_TRY;
		if (pairs)
			check_pairs(arena, pairs, count);
	}
	Arena_dispose(&arena);
	return 0;
}
