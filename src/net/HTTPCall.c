/* SPDX-License-Identifier: MIT */
/* HTTPCall: one exchange with a server. Its life is its stage, which only goes up:
 *
 *   MAKING --begin--> SENDING --answer--> RECEIVING --recv--> DONE, or FAILED from anywhere
 *
 * The call has a socket from SENDING to DONE: that of a connection that it has checked out, or
 * the caller's own (over). If a step is left in any other way than its return (an exception, a
 * C++ exception, a cancellation), end_step discards the connection. If the arena ends,
 * discard_left_connection does. A connection is checked in only if all of the request was sent, the
 * answer is whole and nothing came behind it. Both sides must also keep the connection.
 *
 * A call reads while it sends: when the socket takes no more, it waits for either direction. Once
 * the head of the final answer is there, the rest of the request is not sent. */
#include "config.h"

#include <stdarg.h>
#include <string.h>

#include "call/rep.h"

#define T HTTPCall_T

enum { TIMEOUT_MS = 30000 };

#define CHECK_CALL(c) CHECK((c), "%s: the call is NULL", __func__)

/* ---- making one ---- */

static void check_target(const char *target)
{
	const char *s;
	char shown[512];

	for (s = target; (unsigned char)*s > ' ' && *s != 0x7f; s++)
		;
	if (*s == '\0' && s > target)
		return;
	httpparser__quote(shown, sizeof shown, target, strlen(target));
	EXCEPT_RAISE_MSG(HTTP_Failed,
		"HTTPCall_new: the target is empty, or has a blank or a control character: %s", shown);
}

static void check_method(const char *method)
{
	char shown[512];

	CHECK(strcmp(method, "CONNECT") != 0,
		"HTTPCall_new: CONNECT makes a tunnel, which a call is not");
	if (httpparser__is_token(method, strlen(method)))
		return;
	httpparser__quote(shown, sizeof shown, method, strlen(method));
	EXCEPT_RAISE_MSG(HTTP_Failed, "HTTPCall_new: the method is no token: %s", shown);
}

T HTTPCall_new(Arena_T arena, const char *method, const char *target)
{
	T call;

	CHECK(arena, "HTTPCall_new: the arena is NULL");
	CHECK(method, "HTTPCall_new: the method is NULL");
	CHECK(target, "HTTPCall_new: the target is NULL");
	check_method(method);
	check_target(target);
	NEW0(arena, call);
	call->arena = arena;
	call->method = Arena_strdup(arena, method);
	call->target = Arena_strdup(arena, target);
	httpmessage__init(&call->message, arena);
	call->limits = http__limits(NULL);
	call->timeout = TIMEOUT_MS;
	return call;
}

static void check_making(T call, const char *function)
{
	CHECK(call, "%s: the call is NULL", function);
	CHECK(call->stage == HTTPCall_MAKING, "%s: the call has begun already", function);
}

static void put_field(T call, const char *function, int replaces, const char *name,
	const char *value)
{
	check_making(call, function);
	CHECK(name, "%s: the name is NULL", function);
	CHECK(!httpparser__is(name, strlen(name), "expect"), "%s: %s is for the library to set",
		function, name);
	httpmessage__put_field(&call->message, function, replaces, name, value);
}

void HTTPCall_set(T call, const char *name, const char *value)
{
	put_field(call, "HTTPCall_set", 1, name, value);
}

void HTTPCall_add(T call, const char *name, const char *value)
{
	put_field(call, "HTTPCall_add", 0, name, value);
}

void HTTPCall_write(T call, const void *bytes, size_t nbytes)
{
	check_making(call, "HTTPCall_write");
	CHECK(bytes || nbytes == 0, "HTTPCall_write: NULL with %zu bytes", nbytes);
	httpmessage__write(&call->message, bytes, nbytes);
}

void HTTPCall_printf(T call, const char *fmt, ...)
{
	va_list ap;

	check_making(call, "HTTPCall_printf");
	CHECK(fmt, "HTTPCall_printf: the format is NULL");
	va_start(ap, fmt);
	httpmessage__vprintf(&call->message, "HTTPCall_printf", fmt, ap);
	va_end(ap);
}

void HTTPCall_limits(T call, const HTTP_Limits *limits)
{
	check_making(call, "HTTPCall_limits");
	call->limits = http__limits(limits);
}

void HTTPCall_timeout(T call, int ms)
{
	check_making(call, "HTTPCall_timeout");
	call->timeout = ms;
}

/* ---- the ends of a step and of a call ---- */

/* The end of the arena. */
static void discard_left_connection(void *cl)
{
	httpcall__release_connection(cl, 0);
}

/* If a step was left early, the call has failed. */
static void end_step(void *cl)
{
	T call = cl;

	if (!call->in_step)
		return;
	call->in_step = 0;
	call->stage = HTTPCall_FAILED;
	httpcall__release_connection(call, 0);
}

static void finish_call(T call)
{
	int reusable = !call->stopped && !call->closes && call->at == call->end
		&& httpparser__keep_alive(&call->reader.parser);

	if (!call->pool && call->at < call->end)
		socket__unread(call->socket, call->buffer + call->at, call->end - call->at);
	call->stage = HTTPCall_DONE;
	httpcall__release_connection(call, reusable);
}

/* ---- steps: what the network says becomes what a gateway says ---- */

typedef void Step(T call);

static void take_step(T call, Step *step)
{
	DEFER(end_step, call);
	call->in_step = 1;
	TRY {
		step(call);
	} EXCEPT(Socket_Timeout) {
		httpcall__fail(call, &HTTP_Gateway_Timeout, Except_message());
	} EXCEPT(SocketPool_Failed) {
		httpcall__fail(call, &HTTP_Unavailable, Except_message());
	} EXCEPT(Socket_Failed) {
		httpcall__fail(call, &HTTP_Bad_Gateway, Except_message());
	} END_TRY;
	call->in_step = 0;
}

static void begin_exchange(T call)
{
	if (call->pool)
		httpcall__open_connection(call);
	httpcall__send_request(call);
}

static void begin_answer(T call)
{
	if (call->unsent < 0)
		httpcall__end_chunks(call);
	httpcall__read_head(call);
	call->stage = HTTPCall_RECEIVING;
	if (!httpreader__has_body(&call->reader) && httpcall__read_body(call))
		finish_call(call);
}

static void run_exchange(T call)
{
	begin_exchange(call);
	httpcall__read_head(call);
	httpcall__read_body(call);
	finish_call(call);
}

static int keep_part(const char *bytes, size_t n, void *cl)
{
	T call = cl;

	call->part = bytes;
	call->part_length = n;
	return 0;
}

static void read_part(T call)
{
	call->deadline = socket__deadline_in(call->timeout);
	if (httpcall__read_body(call))
		finish_call(call);
}

static void read_part_ahead(T call)
{
	if (httpcall__read_buffer(call))
		finish_call(call);
}

/* ---- the public steps ---- */

static void set_server(T call, SocketPool_T pool, const char *host, const char *service)
{
	call->pool = pool;
	call->host = Arena_strdup(call->arena, host);
	call->service = Arena_strdup(call->arena, service ? service : "");
	Arena_defer(call->arena, discard_left_connection, call);
}

static void start_call(T call, int64_t nbytes)
{
	httpcall__make_head(call, nbytes);
	httpcall__expect_answer(call);
	call->deadline = socket__deadline_in(call->timeout);
	call->stage = HTTPCall_SENDING;
}

static void check_server(T call, const char *function, SocketPool_T pool, const char *host,
	const char *service)
{
	check_making(call, function);
	CHECK(pool, "%s: the pool is NULL", function);
	CHECK(host, "%s: the host is NULL", function);
	CHECK(service || strncmp(host, "unix:", 5) == 0, "%s: the service is NULL", function);
}

void HTTPCall_run(T call, SocketPool_T pool, const char *host, const char *service)
{
	check_server(call, "HTTPCall_run", pool, host, service);
	set_server(call, pool, host, service);
	start_call(call, (int64_t)call->message.nbytes);
	call->keeps_body = 1;
	take_step(call, run_exchange);
}

void HTTPCall_over(T call, Socket_T socket)
{
	check_making(call, "HTTPCall_over");
	CHECK(socket, "HTTPCall_over: the socket is NULL");
	CHECK(httpmessage__find(&call->message, "host", 4), "HTTPCall_over: no Host was set");
	start_call(call, (int64_t)call->message.nbytes);
	call->socket = socket;
	call->keeps_body = 1;
	take_step(call, run_exchange);
}

/* The limit of a body is for one that is collected. */
void HTTPCall_begin(T call, SocketPool_T pool, const char *host, const char *service,
	int64_t nbytes)
{
	check_server(call, "HTTPCall_begin", pool, host, service);
	CHECK(call->message.nbytes == 0,
		"HTTPCall_begin: a body was written, which is for HTTPCall_run");
	set_server(call, pool, host, service);
	call->limits.body_bytes = SIZE_MAX;
	start_call(call, nbytes);
	call->unsent = nbytes;
	take_step(call, begin_exchange);
}

void HTTPCall_send(T call, const void *bytes, size_t nbytes)
{
	CHECK_CALL(call);
	CHECK(call->stage == HTTPCall_SENDING, "HTTPCall_send: the call is not sending its body");
	CHECK(bytes || nbytes == 0, "HTTPCall_send: NULL with %zu bytes", nbytes);
	CHECK(call->unsent < 0 || nbytes <= (uint64_t)call->unsent,
		"HTTPCall_send: %zu bytes where %lld are left of the body", nbytes,
		(long long)call->unsent);
	if (nbytes == 0)
		return;
	if (call->unsent >= 0)
		call->unsent -= (int64_t)nbytes;
	if (call->stopped && call->body_begun)
		return;
	call->part = bytes;
	call->part_length = nbytes;
	take_step(call, httpcall__send_part);
}

int HTTPCall_answer(T call)
{
	CHECK_CALL(call);
	CHECK(call->stage == HTTPCall_SENDING,
		"HTTPCall_answer: the call is not waiting for its answer");
	CHECK(call->unsent <= 0 || call->stopped,
		"HTTPCall_answer: %lld bytes of the body were not sent", (long long)call->unsent);
	take_step(call, begin_answer);
	return call->reader.parser.answer;
}

static void check_receiving(T call, const char *function)
{
	CHECK(call, "%s: the call is NULL", function);
	CHECK(!call->keeps_body && (call->stage == HTTPCall_RECEIVING || call->stage == HTTPCall_DONE),
		"%s: the call has no answer to read", function);
}

/* Takes the step if the caller has got all that was read. */
static void take_part(T call, Step *step)
{
	if (call->stage != HTTPCall_RECEIVING || call->part_length > 0)
		return;
	call->reader.take = keep_part;
	call->reader.cl = call;
	take_step(call, step);
}

int HTTPCall_ready(T call)
{
	check_receiving(call, "HTTPCall_ready");
	take_part(call, read_part_ahead);
	return call->stage == HTTPCall_DONE || call->part_length > 0;
}

size_t HTTPCall_recv(T call, void *bytes, size_t nbytes)
{
	size_t n;

	check_receiving(call, "HTTPCall_recv");
	CHECK(bytes, "HTTPCall_recv: the buffer is NULL");
	CHECK(nbytes > 0, "HTTPCall_recv: no bytes are asked for");
	take_part(call, read_part);
	n = call->part_length < nbytes ? call->part_length : nbytes;
	if (n == 0)
		return 0;
	memcpy(bytes, call->part, n);
	call->part += n;
	call->part_length -= n;
	return n;
}

/* ---- the answer ---- */

static void check_answered(T call, const char *function)
{
	CHECK(call, "%s: the call is NULL", function);
	CHECK(call->stage >= HTTPCall_RECEIVING && call->reader.parser.answer >= 200,
		"%s: the call has no answer", function);
}

int HTTPCall_status(T call)
{
	check_answered(call, "HTTPCall_status");
	return call->reader.parser.answer;
}

const char *HTTPCall_header(T call, const char *name)
{
	check_answered(call, "HTTPCall_header");
	CHECK(name, "HTTPCall_header: the name is NULL");
	return HashTable_get(HTTPRequest_headers(&call->answer), name);
}

HashTable_T HTTPCall_headers(T call)
{
	check_answered(call, "HTTPCall_headers");
	return HTTPRequest_headers(&call->answer);
}

const void *HTTPCall_body(T call, size_t *nbytes)
{
	check_answered(call, "HTTPCall_body");
	CHECK(nbytes, "HTTPCall_body: the place of the length is NULL");
	CHECK(call->keeps_body, "HTTPCall_body: the body is for HTTPCall_recv to read");
	CHECK(call->stage == HTTPCall_DONE, "HTTPCall_body: the call has failed");
	*nbytes = call->answer.nbytes;
	return call->answer.body;
}
