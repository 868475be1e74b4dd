/* SPDX-License-Identifier: MIT */
/* The request: its head, and the sending, which heeds what comes meanwhile. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "call/rep.h"

/* ---- the head ---- */

static char *put_text(char *out, const char *text)
{
	return httpmessage__put(out, text, strlen(text));
}

/* RFC 6874, 1: the zone of an IPv6 address means nothing to others. */
static size_t length_without_zone(const char *host)
{
	return strchr(host, ':') ? strcspn(host, "%") : strlen(host);
}

static const char *make_host(HTTPCall_T call)
{
	int is_usual = strcmp(call->service, "80") == 0 || strcmp(call->service, "http") == 0;
	const char *open = strchr(call->host, ':') ? "[" : "", *close = *open ? "]" : "";

	if (strncmp(call->host, "unix:", 5) == 0)
		return "localhost";
	return Arena_sprintf(call->arena, "%s%.*s%s%s%s", open, (int)length_without_zone(call->host),
		call->host, close, is_usual ? "" : ":", is_usual ? "" : call->service);
}

/* RFC 9110, 8.6: a length of 0 is said for the methods that anticipate a body. */
static int says_length(HTTPCall_T call, int64_t nbytes)
{
	return nbytes > 0 || strcmp(call->method, "POST") == 0 || strcmp(call->method, "PUT") == 0
		|| strcmp(call->method, "PATCH") == 0;
}

enum { LINES = 128 }; /* what the head has beside its variable texts, at most */

void httpcall__make_head(HTTPCall_T call, int64_t nbytes)
{
	const char *host = httpmessage__find(&call->message, "host", 4) ? "" : make_host(call);
	size_t texts = strlen(call->method) + strlen(call->target) + strlen(host);
	char *out = Arena_alloc(call->arena, httpmessage__bound(&call->message, texts + LINES)),
		 *start = out;
	const HTTPMessage_Field *f;

	out = put_text(put_text(out, call->method), " ");
	out = put_text(put_text(out, call->target), " HTTP/1.1\r\n");
	if (*host)
		out = put_text(put_text(put_text(out, "Host: "), host), "\r\n");
	if (nbytes < 0)
		out = put_text(out, "Transfer-Encoding: chunked\r\n");
	else if (says_length(call, nbytes))
		out += sprintf(out, "Content-Length: %lld\r\n", (long long)nbytes);
	for (f = call->message.fields; f; f = f->next)
		out = httpmessage__put_line(out, f);
	out = put_text(out, "\r\n");
	call->head = start;
	call->head_length = (size_t)(out - start);
	call->closes = (unsigned char)httpmessage__says_close(&call->message);
}

/* ---- sending ---- */

/* The socket takes no more. Returns 0 if the rest of the request is not wanted. */
static int wait_to_send(HTTPCall_T call, HTTPCall_Heed *heed)
{
	int ready = socket__wait_either(call->socket, call->deadline);

	if (ready == 0)
		socket__timed_out("send", call->socket, call->timeout);
	return !(ready & SOCKET__READABLE && heed(call));
}

/* Returns 0 if the rest of the request is not wanted: the server has answered, or has left. The
 * answer, or that there is none, is for the reading to find. */
static int send_some(HTTPCall_T call, const struct iovec *parts, int n, HTTPCall_Heed *heed,
	size_t *sent)
{
	ssize_t got = socket__try_sendv(call->socket, parts, n);

	*sent = got > 0 ? (size_t)got : 0;
	if (got >= 0)
		return 1;
	if (errno == EPIPE || errno == ECONNRESET)
		return 0;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		socket__failed_on("send", call->socket, errno);
	return wait_to_send(call, heed);
}

void httpcall__send_parts(HTTPCall_T call, struct iovec *parts, int n, HTTPCall_Heed *heed)
{
	size_t sent;

	while (n > 0 && !call->stopped) {
		if (!send_some(call, parts, n, heed, &sent))
			call->stopped = 1;
		while (n > 0 && sent >= parts->iov_len) {
			sent -= parts->iov_len;
			parts++;
			n--;
		}
		if (n > 0) {
			parts->iov_base = (char *)parts->iov_base + sent;
			parts->iov_len -= sent;
		}
	}
}
