/* SPDX-License-Identifier: MIT */
/* Responses that are files: which part of it the client asks for, and how that goes out. The loop
 * reads the disk. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "http/file.h"
#include "server/rep.h"

enum { SLICE = 1024 * 1024 }; /* sent in a turn, before other connections have theirs */

/* ---- the part ---- */

static void take_part(HTTPResponse_T r, int64_t first, int64_t last, Arena_T arena)
{
	const char *range = Arena_sprintf(arena, "bytes %lld-%lld/%lld",
		(long long)first, (long long)last, (long long)r->file->left);

	HTTPResponse_set(r, "Content-Range", range);
	HTTPResponse_status(r, 206);
	r->file->offset += first;
	r->file->left = last - first + 1;
}

/* RFC 9110, 14.2: a Range is of a GET, and does not change what is not answered 200. */
static HTTPRange ask_for(const Exchange *x, int64_t *first, int64_t *last)
{
	const char *range, *state;

	if (strcmp(x->request->method, "GET") != 0)
		return HTTPRange_WHOLE;
	range = HTTPRequest_header(x->request, "Range");
	state = range ? HTTPRequest_header(x->request, "If-Range") : NULL;
	if (!range || (state && !http__if_range(x->response, state)))
		return HTTPRange_WHOLE;
	return http__range(range, x->response->file->left, first, last);
}

static void select_part(Exchange *x)
{
	HTTPResponse_T r = x->response;
	int64_t first, last;

	if (r->status != 200)
		return;
	if (!httpmessage__find(&r->message, "accept-ranges", 13))
		HTTPResponse_set(r, "Accept-Ranges", "bytes");
	switch (ask_for(x, &first, &last)) {
	case HTTPRange_WHOLE:
		break;
	case HTTPRange_PART:
		take_part(r, first, last, x->arena);
		break;
	case HTTPRange_NONE:
		httpserver__answer_no_range(x, r->file->left);
		break;
	}
}

void httpserver__select_part(Exchange *x)
{
	TRY {
		select_part(x);
	} ELSE {
		httpserver__answer_raised(x);
	} END_TRY;
}

/* ---- sending ---- */

static Sent break_off(Turn *t, int error)
{
	Exchange *x = t->c->exchange;

	TRY {
		httpresponse__refuse_file(x->response, error);
	} ELSE {
		httpserver__note_raised(x);
		httpserver__count(&t->loop->stats.raised, 1);
	} END_TRY;
	return SENT_NEVER;
}

Sent httpserver__send_file(Turn *t)
{
	Exchange *x = t->c->exchange;
	struct HTTPFile *file = x->response->file;
	int64_t end = file->left > SLICE ? file->left - SLICE : 0;

	while (file->left > end) {
		ssize_t n = socket__try_sendfile(t->c->socket, file->fd, file->offset,
			(size_t)(file->left - end));

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ETIMEDOUT))
			return SENT_NEVER;
		if (n <= 0)
			return break_off(t, n < 0 ? errno : 0);
		httpserver__count(&t->loop->stats.sent, (uint64_t)n);
		file->offset += n;
		file->left -= n;
		x->sent += (size_t)n;
		x->streamed += (uint64_t)n;
	}
	if (file->left > 0) {
		t->full = 1;
		return SENT_SOME;
	}
	x->framing.sends_file = 0;
	httpresponse__close_file(x->response);
	return SENT_ALL;
}
