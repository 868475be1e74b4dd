/* SPDX-License-Identifier: MIT */
/* The answer: it is looked for while the request is sent, and read after that.
 *
 * A server may close an idle connection at the moment at which we use it again. Then no byte of
 * an answer comes. The call then sends the request once more on another connection (RFC 9112,
 * 9.3.1). It does so only if the connection was used before, the method is idempotent (RFC 9110,
 * 9.2.2), and no part of a streamed body was sent. It does not send the request a third time: a
 * server that closes twice is broken. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "call/rep.h"
#include "pool/internal.h"

enum { BUFFER = 16 * 1024, INTERIM_MOST = 32 };

static void refuse_answer(HTTPCall_T call, const char *why) CORE_NORETURN;
static void refuse_answer(HTTPCall_T call, const char *why)
{
	httpcall__fail(call, &HTTP_Bad_Gateway, why);
}

/* ---- receiving ---- */

/* All bytes of the buffer were used. Returns 0 at the end of the stream. */
static size_t receive_bytes(HTTPCall_T call)
{
	if (!call->buffer)
		call->buffer = Arena_alloc(call->arena, BUFFER);
	call->at = call->end = 0;
	call->end = socket__recv_deadline(call->socket, call->buffer, BUFFER, call->deadline);
	call->received |= call->end > 0;
	return call->end;
}

static int is_idempotent(const char *method)
{
	static const char *const methods[] = { "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE" };
	size_t i;

	for (i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(method, methods[i]) == 0)
			return 1;
	return 0;
}

static int may_retry(HTTPCall_T call)
{
	return call->pool && !call->received && !call->retried && !call->body_begun
		&& is_idempotent(call->method) && connection__is_reused(call->connection);
}

/* The stream has ended in the middle. */
static void refuse_end(HTTPCall_T call) CORE_NORETURN;
static void refuse_end(HTTPCall_T call)
{
	errno = ECONNRESET;
	EXCEPT_RAISE_MSG(Socket_Closed, "the server closed the connection %s",
		call->received ? "in the middle of its answer" : "without an answer");
}

/* Returns 0 if the connection has ended, whether its peer closed it or, where the request may be
 * repeated, reset it. */
static int receive_or_end(HTTPCall_T call)
{
	volatile size_t n = 0;

	TRY {
		n = receive_bytes(call);
	} EXCEPT(Socket_Closed) {
		if (!may_retry(call))
			RERAISE;
	} END_TRY;
	return n > 0;
}

static void refuse_wrong_answer(HTTPCall_T call) CORE_NORETURN;
static void refuse_wrong_answer(HTTPCall_T call)
{
	char why[512];

	httpreader__explain(&call->reader, why, sizeof why);
	refuse_answer(call, why);
}

static HTTPReader_Event feed_reader(HTTPCall_T call)
{
	size_t used;
	HTTPReader_Event event =
		httpreader__feed(&call->reader, call->buffer + call->at, call->end - call->at, &used);

	call->at += used;
	if (event == HTTPReader_ERROR)
		refuse_wrong_answer(call);
	return event;
}

/* ---- the head ---- */

void httpcall__expect_answer(HTTPCall_T call)
{
	zero(&call->answer, sizeof call->answer);
	call->answer.arena = call->arena;
	httpreader__init_answer(&call->reader, &call->answer, &call->limits,
		strcmp(call->method, "HEAD") == 0);
}

/* RFC 9110, 15.2: interim responses are passed over. We ask for no upgrade. */
static int is_final(HTTPCall_T call)
{
	int status = call->reader.parser.answer;

	if (status == 101)
		refuse_answer(call, "the server switches protocols, which was not asked for");
	if (status >= 200)
		return 1;
	if (++call->interim > INTERIM_MOST)
		refuse_answer(call, "more than 32 interim responses");
	return 0;
}

/* Reads the bytes of the buffer. Returns 1 if the head of the final answer is whole. */
static int advance_head(HTTPCall_T call)
{
	while (call->at < call->end) {
		if (feed_reader(call) != HTTPReader_HEAD)
			continue;
		if (is_final(call))
			return call->answered = 1;
		httpcall__expect_answer(call);
	}
	return 0;
}

/* While the request is sent: there is something to read. Returns 1 if the rest of the request is
 * not wanted. */
static int take_early_answer(HTTPCall_T call)
{
	return !receive_or_end(call) || advance_head(call);
}

/* ---- sending, and sending once more ---- */

void httpcall__send_request(HTTPCall_T call)
{
	struct iovec parts[2] = { { (char *)(uintptr_t)call->head, call->head_length },
		{ call->message.body, call->message.nbytes } };

	httpcall__send_parts(call, parts, 1 + (call->message.nbytes > 0), take_early_answer);
}

static void begin_again(HTTPCall_T call)
{
	httpcall__release_connection(call, 0);
	call->retried = 1;
	httpcall__open_connection(call);
	httpcall__send_request(call);
}

/* Before a part is sent: an answer ends the sending, and an idle connection that the server has
 * closed is replaced. */
static void look_for_answer(HTTPCall_T call)
{
	if (!call->answered && (call->stopped || socket__wait(call->socket, 0, 0))
		&& take_early_answer(call))
		call->stopped = 1;
	if (call->stopped && may_retry(call))
		begin_again(call);
}

void httpcall__send_part(HTTPCall_T call)
{
	char size[24];
	struct iovec part = { (char *)(uintptr_t)call->part, call->part_length }, chunk[3] = {
		{ size, (size_t)snprintf(size, sizeof size, "%zx\r\n", call->part_length) }, part,
		{ (char *)(uintptr_t)"\r\n", 2 } };

	call->part_length = 0;
	look_for_answer(call);
	call->body_begun = 1;
	if (call->unsent < 0)
		httpcall__send_parts(call, chunk, 3, take_early_answer);
	else
		httpcall__send_parts(call, &part, 1, take_early_answer);
}

void httpcall__end_chunks(HTTPCall_T call)
{
	struct iovec last = { (char *)(uintptr_t)"0\r\n\r\n", 5 };

	look_for_answer(call);
	call->body_begun = 1;
	httpcall__send_parts(call, &last, 1, take_early_answer);
}

/* ---- the rest of the answer ---- */

void httpcall__read_head(HTTPCall_T call)
{
	while (!call->answered) {
		if (receive_or_end(call))
			advance_head(call);
		else if (may_retry(call))
			begin_again(call);
		else
			refuse_end(call);
	}
}

/* Returns MORE if the body goes on and no bytes of it are there. */
static HTTPReader_Event feed_body(HTTPCall_T call)
{
	return call->at < call->end || !httpreader__has_body(&call->reader) ? feed_reader(call)
																		: HTTPReader_MORE;
}

int httpcall__read_buffer(HTTPCall_T call)
{
	do
		if (feed_body(call) == HTTPReader_READY)
			return 1;
	while (call->part_length == 0 && call->at < call->end);
	return 0;
}

int httpcall__read_body(HTTPCall_T call)
{
	while (!httpcall__read_buffer(call)) {
		if (call->part_length > 0)
			return 0;
		if (receive_bytes(call) > 0)
			continue;
		if (httpreader__close(&call->reader) != HTTPReader_READY)
			refuse_end(call);
		return 1;
	}
	return 1;
}
