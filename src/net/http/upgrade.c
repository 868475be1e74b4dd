/* SPDX-License-Identifier: MIT */
/* HTTPResponse_upgrade: the connection goes on in another protocol (RFC 9110, 7.8), for which the
 * request has asked. */
#include "config.h"

#include <string.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/rep.h"

/* A member of a field's list, in any case; RFC 9110, 7.6.1 and 7.8. */
static int list_has(HTTPRequest_T request, const char *field, const char *word)
{
	const char *value = HTTPRequest_header(request, field);
	HTTPSlice rest = { 0, value ? strlen(value) : 0 }, member;
	size_t n = strlen(word);

	while (value && httpparser__member(value, &rest, &member))
		if (member.length == n && httpparser__is(value + member.at, n, word))
			return 1;
	return 0;
}

/* name or name/version */
static int is_protocol(const char *text)
{
	const char *slash = strchr(text, '/');

	return httpparser__is_token(text, slash ? (size_t)(slash - text) : strlen(text))
		&& (!slash || httpparser__is_token(slash + 1, strlen(slash + 1)));
}

static void check_asked(HTTPRequest_T request, const char *protocol)
{
	if (strcmp(HTTPRequest_version(request), "HTTP/1.0") == 0)
		EXCEPT_RAISE_MSG(HTTP_Bad_Request, "HTTP/1.0 has no upgrade to %s", protocol);
	if (!list_has(request, "Upgrade", protocol) || !list_has(request, "Connection", "upgrade"))
		EXCEPT_RAISE_MSG(HTTP_Bad_Request, "the request asks for no upgrade to %s", protocol);
}

void HTTPResponse_upgrade(
	HTTPResponse_T r, const char *protocol, void (*take)(Socket_T, void *cl), void *cl)
{
	struct HTTPUpgrade *upgrade;

	CHECK_HANDLE(r, "response");
	CHECK(protocol, "HTTPResponse_upgrade: the protocol is NULL");
	CHECK(is_protocol(protocol), "HTTPResponse_upgrade: \"%s\" is no protocol", protocol);
	CHECK(take, "HTTPResponse_upgrade: the function is NULL");
	CHECK(r->request, "HTTPResponse_upgrade: the response is not of a server's route");
	CHECK(!r->begun, "HTTPResponse_upgrade: the response is being sent");
	CHECK(r->message.nbytes == 0,
		"HTTPResponse_upgrade: %zu bytes were written", r->message.nbytes);
	CHECK(!r->more, "HTTPResponse_upgrade: the response is a stream");
	CHECK(!r->file, "HTTPResponse_upgrade: the response is a file");
	check_asked(r->request, protocol);
	NEW(r->message.arena, upgrade);
	*upgrade = (struct HTTPUpgrade){ take, cl };
	httpmessage__put_field(&r->message, "HTTPResponse_upgrade", 1, "Upgrade", protocol);
	httpmessage__seal(&r->message);
	r->upgrade = upgrade;
}
