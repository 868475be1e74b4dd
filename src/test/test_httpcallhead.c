/* SPDX-License-Identifier: MIT */
/* The head that HTTPCall makes, where a test against a server cannot see it, as for the usual
 * port. */
#include "config.h"

#include <string.h>

#include "call/rep.h"
#include "testing.h"

static const struct { const char *host, *service, *field; } hosts[] = {
	{ "example.org", "80", "Host: example.org\r\n" },
	{ "example.org", "http", "Host: example.org\r\n" },
	{ "example.org", "8080", "Host: example.org:8080\r\n" },
	{ "127.0.0.1", "081", "Host: 127.0.0.1:081\r\n" },
	{ "::1", "80", "Host: [::1]\r\n" },
	{ "2001:db8::1", "8080", "Host: [2001:db8::1]:8080\r\n" },
	{ "fe80::1%eth0", "80", "Host: [fe80::1]\r\n" },
	{ "unix:/run/a.socket", "80", "Host: localhost\r\n" },
	{ "unix:/run/a.socket", "8080", "Host: localhost\r\n" },
};
enum { HOSTS = sizeof hosts / sizeof *hosts };

static const char *head_of(HTTPCall_T call, const char *host, const char *service, int64_t nbytes)
{
	call->host = host;
	call->service = service;
	httpcall__make_head(call, nbytes);
	return Arena_strndup(call->arena, call->head, call->head_length);
}

SUITE("HTTPCall, head");
CASE("head");

TEST(Host_is_host_and_service_without_the_usual_port, .to = HOSTS)
{
	Arena_T arena = Arena_new();
	HTTPCall_T call = HTTPCall_new(arena, "GET", "/"), set = HTTPCall_new(arena, "GET", "/");
	const char *head = head_of(call, hosts[_i].host, hosts[_i].service, 0);

	ck_assert_str_eq(head, Arena_sprintf(arena, "GET / HTTP/1.1\r\n%s\r\n", hosts[_i].field));
	HTTPCall_set(set, "HOST", "other");
	ck_assert_str_eq(head_of(set, hosts[_i].host, hosts[_i].service, 0),
		"GET / HTTP/1.1\r\nHOST: other\r\n\r\n");
	Arena_dispose(&arena);
}

static const struct { const char *method; int64_t nbytes; const char *field;
} bodies[] = {
	{ "GET", 0, "" },
	{ "DELETE", 0, "" },
	{ "QUERY", 0, "" },
	{ "POST", 0, "Content-Length: 0\r\n" },
	{ "PUT", 0, "Content-Length: 0\r\n" },
	{ "PATCH", 0, "Content-Length: 0\r\n" },
	{ "GET", 5, "Content-Length: 5\r\n" },
	{ "PUT", INT64_MAX, "Content-Length: 9223372036854775807\r\n" },
	{ "GET", -1, "Transfer-Encoding: chunked\r\n" },
	{ "POST", INT64_MIN, "Transfer-Encoding: chunked\r\n" },
};
enum { BODIES = sizeof bodies / sizeof *bodies };

TEST(the_length_of_a_body_is_said_where_one_is_expected, .to = BODIES)
{
	Arena_T arena = Arena_new();
	HTTPCall_T call = HTTPCall_new(arena, bodies[_i].method, "*");

	ck_assert_str_eq(head_of(call, "a", "80", bodies[_i].nbytes),
		Arena_sprintf(arena, "%s * HTTP/1.1\r\nHost: a\r\n%s\r\n", bodies[_i].method,
			bodies[_i].field));
	Arena_dispose(&arena);
}

TEST(a_head_of_any_length_is_made)
{
	Arena_T arena = Arena_new();
	char *text = Arena_calloc(arena, 1, 100001);
	HTTPCall_T call;
	const char *head;

	memset(text, 'x', 100000);
	text[0] = '/';
	call = HTTPCall_new(arena, text + 1, text);
	HTTPCall_set(call, text + 1, text);
	head = head_of(call, text, text, INT64_MAX);
	ck_assert_uint_gt(strlen(head), 600000);
	ck_assert_str_eq(head + strlen(head) - 5, "x\r\n\r\n");
	Arena_dispose(&arena);
}
