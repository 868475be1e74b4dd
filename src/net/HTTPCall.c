/* SPDX-License-Identifier: MIT */
/* HTTPCall: one exchange with a server. Its life is its stage, which only goes up:
 *
 *   MAKING --begin--> SENDING --answer--> RECEIVING --recv--> DONE, or FAILED from anywhere
 *
 * The call has a socket from SENDING to DONE: that of a connection that it has checked out, or the caller's own
 * (over). Whatever leaves a step but its return (an exception, a C++ exception, a cancellation) lets go of the socket, and
 * so does the end of the arena: end_step and let_go. A connection is checked in only if the answer is whole, nothing
 * came behind it, all of the request was sent, and both sides keep the connection.
 *
 * It reads while it sends: when the socket takes no more, it waits for either direction. Bytes that come before the
 * request is complete are its answer (or the server's farewell), and the rest of the request is not sent.
 *
 * A server may close an idle connection at the moment at which we use it again. Then nothing of an answer comes. If
 * the connection was used before, the method is idempotent (RFC 9110, 9.2.2) and no part of a streamed body was sent, the
 * exchange begins once more on another connection (RFC 9112, 9.3.1). Once: a server that does it twice is broken. */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <core/HTTPCall.h>
#include "base/checked.h"
#include "http/parser.h"
#include "http/reader.h"
#include "http/rep.h"
#include "pool/internal.h"
#include "socket/internal.h"

#define T HTTPCall_T

enum { BUFFER = 16 * 1024, INTERIM_MOST = 32, TIMEOUT_MS = 30000 };

enum Stage { MAKING, SENDING, RECEIVING, DONE, FAILED };

struct HTTPCall {
	Arena_T arena;
	const char *method, *target;
	HTTPResponse_T message;   /* its fields and its body are those of the request */
	HTTP_Limits limits;
	int timeout;              /* ms */
	enum Stage stage;
	int in_step, collects;    /* collects: the body of the answer is kept */

	SocketPool_T pool;        /* NULL: over a socket of the caller's */
	const char *host, *service;
	Connection_T connection;  /* NULL: none is checked out */
	Socket_T socket;
	int64_t deadline;
	const char *head;
	size_t head_length;
	int64_t unsent;           /* bytes of the body; negative: it is chunked */
	int streamed, retried;    /* a part of a streamed body was sent; this is the second connection */
	int stopped;              /* the request is not complete, and no more of it is sent */

	char *buffer;             /* bytes that were received, from at to end */
	size_t at, end;
	int heard;                /* a byte of an answer came */
	HTTPReader reader;
	struct HTTPRequest answer; /* its fields and its body */
	const char *part;         /* of the body, in buffer: not given to the caller yet */
	size_t part_length;
};

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
	EXCEPT_RAISE_MSG(HTTP_Failed, "HTTPCall_new: the target is empty, or has a blank or a control character: %s", shown);
}

static void check_method(const char *method)
{
	char shown[512];

	CHECK(strcmp(method, "CONNECT") != 0, "HTTPCall_new: CONNECT makes a tunnel, which a call is not");
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
	call->message = HTTPResponse_new(arena);
	call->limits = http__limits(NULL);
	call->timeout = TIMEOUT_MS;
	return call;
}

static void check_making(T call, const char *function)
{
	CHECK(call, "%s: the call is NULL", function);
	CHECK(call->stage == MAKING, "%s: the call has begun already", function);
}

static void put_field(T call, const char *function, int replaces, const char *name, const char *value)
{
	check_making(call, function);
	CHECK(name, "%s: the name is NULL", function);
	CHECK(!httpparser__is(name, strlen(name), "expect"), "%s: %s is for the library to set", function, name);
	httpresponse__put_field(call->message, function, replaces, name, value);
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
	HTTPResponse_write(call->message, bytes, nbytes);
}

void HTTPCall_printf(T call, const char *fmt, ...)
{
	va_list ap;

	check_making(call, "HTTPCall_printf");
	CHECK(fmt, "HTTPCall_printf: the format is NULL");
	va_start(ap, fmt);
	httpresponse__vprintf(call->message, "HTTPCall_printf", fmt, ap);
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

/* ---- the socket ---- */

/* Returns the connection to the pool. Never raises what the connection's user left behind: there is nothing. */
static void give_back(T call, int again)
{
	Connection_T connection = call->connection;

	call->connection = NULL;
	call->socket = NULL;
	if (connection)
		(again ? SocketPool_checkin : SocketPool_discard)(call->pool, connection);
}

/* The end of the arena. */
static void let_go(void *cl)
{
	give_back(cl, 0);
}

/* Whatever leaves a step early ends the call. */
static void end_step(void *cl)
{
	T call = cl;

	if (!call->in_step)
		return;
	call->in_step = 0;
	call->stage = FAILED;
	give_back(call, 0);
}

static void finish_call(T call)
{
	const HTTPReader *r = &call->reader;
	int again = !call->stopped && call->at == call->end && httpparser__keep_alive(&r->parser);

	if (!call->pool && call->at < call->end)
		socket__unread(call->socket, call->buffer + call->at, call->end - call->at);
	call->stage = DONE;
	give_back(call, again);
}

static void refuse_answer(T call, const char *why) CORE_NORETURN;
static void refuse_answer(T call, const char *why)
{
	EXCEPT_RAISE_MSG(HTTP_Bad_Gateway, "%s %s: %s", call->method, call->target, why);
}

/* ---- sending ---- */

/* Returns 0 if the rest of the request is not wanted: the server has said something, or has left. The answer, or that
 * there is none, is for the reading to find. */
static int send_some(T call, const struct iovec *parts, int n, size_t *sent)
{
	ssize_t got = socket__try_sendv(call->socket, parts, n);
	int ready;

	*sent = got > 0 ? (size_t)got : 0;
	if (got >= 0)
		return 1;
	if (errno == EPIPE || errno == ECONNRESET)
		return 0;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		socket__fail(call->socket, "send", errno);
	ready = socket__wait_either(call->socket, call->deadline);
	if (ready == 0)
		socket__time_out(call->socket, "send", call->timeout);
	return !(ready & SOCKET__READABLE);
}

static void send_all(T call, struct iovec *parts, int n)
{
	size_t sent;

	while (n > 0 && !call->stopped) {
		if (!send_some(call, parts, n, &sent))
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

static void open_connection(T call)
{
	call->connection = (SocketPool_checkout)(call->pool, call->host, call->service, socket__poll_ms(call->deadline));
	call->socket = Connection_socket(call->connection);
	call->stopped = 0;
}

static void send_head(T call)
{
	struct iovec parts[2] = { { (char *)(uintptr_t)call->head, call->head_length },
		{ call->message->body, call->message->nbytes } };

	send_all(call, parts, 1 + (call->message->nbytes > 0));
}

/* ---- the head of the request ---- */

static char *put_text(char *out, const char *text)
{
	size_t n = strlen(text);

	memcpy(out, text, n);
	return out + n;
}

static const char *host_field(T call)
{
	int is_usual = strcmp(call->service, "80") == 0 || strcmp(call->service, "http") == 0;
	const char *open = strchr(call->host, ':') ? "[" : "", *close = *open ? "]" : "";

	if (strncmp(call->host, "unix:", 5) == 0)
		return "localhost";
	return Arena_sprintf(call->arena, "%s%s%s%s%s", open, call->host, close, is_usual ? "" : ":",
		is_usual ? "" : call->service);
}

/* RFC 9110, 8.6: a length of 0 is said for the methods that anticipate a body. */
static int says_length(T call, int64_t nbytes)
{
	return nbytes > 0 || strcmp(call->method, "POST") == 0 || strcmp(call->method, "PUT") == 0
		|| strcmp(call->method, "PATCH") == 0;
}

static void make_head(T call, int64_t nbytes)
{
	const char *host = httpresponse__has_field(call->message, "host") ? NULL : host_field(call);
	size_t room = httpresponse__bound(call->message) + strlen(call->method) + strlen(call->target)
		+ (host ? strlen(host) : 0);
	char *out = Arena_alloc(call->arena, room), *start = out;

	out = put_text(put_text(out, call->method), " ");
	out = put_text(put_text(out, call->target), " HTTP/1.1\r\n");
	if (host)
		out = put_text(put_text(put_text(out, "Host: "), host), "\r\n");
	if (nbytes < 0)
		out = put_text(out, "Transfer-Encoding: chunked\r\n");
	else if (says_length(call, nbytes))
		out += sprintf(out, "Content-Length: %lld\r\n", (long long)nbytes);
	out = put_text(httpresponse__copy_fields(call->message, out), "\r\n");
	call->head = start;
	call->head_length = (size_t)(out - start);
}

/* ---- receiving ---- */

static void forget_answer(T call)
{
	zero(&call->answer, sizeof call->answer);
	call->answer.arena = call->arena;
	httpreader__init_answer(&call->reader, &call->answer, &call->limits, strcmp(call->method, "HEAD") == 0);
}

/* Returns 0 at the end of the stream. */
static size_t receive(T call)
{
	if (!call->buffer)
		call->buffer = Arena_alloc(call->arena, BUFFER);
	call->at = 0;
	call->end = socket__recv_deadline(call->socket, call->buffer, BUFFER, call->deadline);
	call->heard |= call->end > 0;
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

static int may_retry(T call)
{
	return call->pool && !call->heard && !call->retried && !call->streamed && is_idempotent(call->method)
		&& connection__is_reused(call->connection);
}

/* The stream has ended in the middle. */
static void refuse_end(T call) CORE_NORETURN;
static void refuse_end(T call)
{
	errno = ECONNRESET;
	EXCEPT_RAISE_MSG(Socket_Closed, "the server closed the connection %s",
		call->heard ? "in the middle of its answer" : "without an answer");
}

/* Returns 0 if the connection ended before an answer, whether its peer closed or reset it. */
static int receive_first(T call)
{
	volatile size_t n = 0;

	TRY {
		n = receive(call);
	} EXCEPT(Socket_Closed) {
		if (!may_retry(call))
			RERAISE;
	} END_TRY;
	return n > 0;
}

static void begin_again(T call)
{
	give_back(call, 0);
	call->retried = 1;
	open_connection(call);
	send_head(call);
}

static void receive_answer(T call)
{
	while (!receive_first(call)) {
		if (!may_retry(call))
			refuse_end(call);
		begin_again(call);
	}
}

static void refuse_wrong_answer(T call) CORE_NORETURN;
static void refuse_wrong_answer(T call)
{
	char why[512];

	httpreader__explain(&call->reader, why, sizeof why);
	refuse_answer(call, why);
}

static HTTPReader_Event feed(T call)
{
	size_t used;
	HTTPReader_Event event = httpreader__feed(&call->reader, call->buffer + call->at, call->end - call->at, &used);

	call->at += used;
	if (event == HTTPReader_ERROR)
		refuse_wrong_answer(call);
	return event;
}

/* RFC 9110, 15.2: interim responses are passed over. We ask for no upgrade. */
static int is_final(T call, int *interim)
{
	int status = call->reader.parser.answer;

	if (status == 101)
		refuse_answer(call, "the server switches protocols, which was not asked for");
	if (status >= 200)
		return 1;
	if (++*interim > INTERIM_MOST)
		refuse_answer(call, "more than 32 interim responses");
	return 0;
}

static void read_head(T call)
{
	int interim = 0;

	do {
		forget_answer(call);
		do
			if (call->at == call->end)
				receive_answer(call);
		while (feed(call) != HTTPReader_HEAD);
	} while (!is_final(call, &interim));
}

static int keep_part(const char *bytes, size_t n, void *cl)
{
	T call = cl;

	call->part = bytes;
	call->part_length = n;
	return 0;
}

/* Returns 1 when the body is whole, 0 after a part of it that the caller is to have. */
static int read_body(T call)
{
	for (;;) {
		HTTPReader_Event event = call->at < call->end || !httpreader__has_body(&call->reader) ? feed(call)
			: HTTPReader_MORE;

		if (event == HTTPReader_READY)
			return 1;
		if (call->part_length > 0)
			return 0;
		if (call->at < call->end || receive(call) > 0)
			continue;
		if (httpreader__close(&call->reader) == HTTPReader_READY)
			return 1;
		refuse_end(call);
	}
}

/* ---- steps: what the network says becomes what a gateway says ---- */

typedef void Step(T call);

static void translate(T call, const Except_T *e) CORE_NORETURN;
static void translate(T call, const Except_T *e)
{
	if (call->pool)
		EXCEPT_RAISE_MSG(*e, "%s %s of %s:%s: %s", call->method, call->target, call->host, call->service,
			Except_message());
	EXCEPT_RAISE_MSG(*e, "%s %s: %s", call->method, call->target, Except_message());
}

static void take_step(T call, Step *step)
{
	DEFER(end_step, call);
	call->in_step = 1;
	TRY {
		step(call);
	} EXCEPT(Socket_Timeout) {
		translate(call, &HTTP_Gateway_Timeout);
	} EXCEPT(SocketPool_Failed) {
		translate(call, &HTTP_Unavailable);
	} EXCEPT(Socket_Failed) {
		translate(call, &HTTP_Bad_Gateway);
	} END_TRY;
	call->in_step = 0;
}

static void begin(T call)
{
	if (call->pool)
		open_connection(call);
	send_head(call);
}

static void answer(T call)
{
	read_head(call);
	call->stage = RECEIVING;
	if (!httpreader__has_body(&call->reader) && read_body(call))
		finish_call(call);
}

static void exchange(T call)
{
	begin(call);
	read_head(call);
	read_body(call);
	finish_call(call);
}

static void end_chunks(T call)
{
	struct iovec last = { (char *)(uintptr_t)"0\r\n\r\n", 5 };

	send_all(call, &last, 1);
	answer(call);
}

static void read_part(T call)
{
	call->deadline = socket__deadline_in(call->timeout);
	if (read_body(call))
		finish_call(call);
}

/* ---- the public steps ---- */

static void set_server(T call, SocketPool_T pool, const char *host, const char *service)
{
	call->pool = pool;
	call->host = Arena_strdup(call->arena, host);
	call->service = Arena_strdup(call->arena, service);
	Arena_defer(call->arena, let_go, call);
}

static void start(T call, int64_t nbytes)
{
	make_head(call, nbytes);
	call->deadline = socket__deadline_in(call->timeout);
	call->stage = SENDING;
}

static void check_server(T call, const char *function, SocketPool_T pool, const char *host, const char *service)
{
	check_making(call, function);
	CHECK(pool, "%s: the pool is NULL", function);
	CHECK(host, "%s: the host is NULL", function);
	CHECK(service, "%s: the service is NULL", function);
}

void HTTPCall_run(T call, SocketPool_T pool, const char *host, const char *service)
{
	check_server(call, "HTTPCall_run", pool, host, service);
	set_server(call, pool, host, service);
	start(call, (int64_t)call->message->nbytes);
	call->collects = 1;
	take_step(call, exchange);
}

void HTTPCall_over(T call, Socket_T socket)
{
	check_making(call, "HTTPCall_over");
	CHECK(socket, "HTTPCall_over: the socket is NULL");
	CHECK(httpresponse__has_field(call->message, "host"), "HTTPCall_over: no Host was set");
	start(call, (int64_t)call->message->nbytes);
	call->socket = socket;
	call->collects = 1;
	take_step(call, exchange);
}

/* The limit of a body is for one that is collected. */
void HTTPCall_begin(T call, SocketPool_T pool, const char *host, const char *service, int64_t nbytes)
{
	check_server(call, "HTTPCall_begin", pool, host, service);
	CHECK(call->message->nbytes == 0, "HTTPCall_begin: a body was written, which is for HTTPCall_run");
	set_server(call, pool, host, service);
	start(call, nbytes);
	call->limits.body_bytes = SIZE_MAX;
	call->unsent = nbytes;
	take_step(call, begin);
}

static void send_chunk(T call, const void *bytes, size_t nbytes)
{
	char size[24];
	struct iovec parts[3] = { { size, (size_t)snprintf(size, sizeof size, "%zx\r\n", nbytes) },
		{ (char *)(uintptr_t)bytes, nbytes }, { (char *)(uintptr_t)"\r\n", 2 } };

	send_all(call, parts, 3);
}

static void send_plain(T call, const void *bytes, size_t nbytes)
{
	struct iovec part = { (char *)(uintptr_t)bytes, nbytes };

	send_all(call, &part, 1);
}

/* The server has said something before the body is complete. If it has only closed an idle connection, the exchange
 * begins again. */
static void hear_server(T call)
{
	call->stopped = 1;
	if (!call->streamed && call->at == call->end && !receive_first(call) && may_retry(call))
		begin_again(call);
}

static void send_part(T call)
{
	if (call->stopped || socket__wait(call->socket, 0, 0))
		hear_server(call);
	if (call->unsent < 0)
		send_chunk(call, call->part, call->part_length);
	else
		send_plain(call, call->part, call->part_length);
	call->streamed = 1;
	call->part_length = 0;
}

void HTTPCall_send(T call, const void *bytes, size_t nbytes)
{
	CHECK_CALL(call);
	CHECK(call->stage == SENDING, "HTTPCall_send: the call is not sending its body");
	CHECK(bytes || nbytes == 0, "HTTPCall_send: NULL with %zu bytes", nbytes);
	CHECK(call->unsent < 0 || nbytes <= (uint64_t)call->unsent, "HTTPCall_send: %zu bytes where %lld are left of the body",
		nbytes, (long long)call->unsent);
	if (nbytes == 0)
		return;
	if (call->unsent >= 0)
		call->unsent -= (int64_t)nbytes;
	if (call->stopped && call->streamed)
		return;
	call->part = bytes;
	call->part_length = nbytes;
	take_step(call, send_part);
}

int HTTPCall_answer(T call)
{
	CHECK_CALL(call);
	CHECK(call->stage == SENDING, "HTTPCall_answer: the call is not waiting for its answer");
	CHECK(call->unsent <= 0 || call->stopped, "HTTPCall_answer: %lld bytes of the body were not sent",
		(long long)call->unsent);
	take_step(call, call->unsent < 0 ? end_chunks : answer);
	return call->reader.parser.answer;
}

size_t HTTPCall_recv(T call, void *bytes, size_t nbytes)
{
	size_t n;

	CHECK_CALL(call);
	CHECK(!call->collects && (call->stage == RECEIVING || call->stage == DONE),
		"HTTPCall_recv: the call has no answer to read");
	CHECK(bytes, "HTTPCall_recv: the buffer is NULL");
	CHECK(nbytes > 0, "HTTPCall_recv: no bytes are asked for");
	if (call->stage == RECEIVING && call->part_length == 0) {
		call->reader.take = keep_part;
		call->reader.cl = call;
		take_step(call, read_part);
	}
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
	CHECK(call->stage >= RECEIVING && call->reader.parser.answer >= 200, "%s: the call has no answer", function);
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
	CHECK(call->collects, "HTTPCall_body: the body is for HTTPCall_recv to read");
	CHECK(call->stage == DONE, "HTTPCall_body: the call has failed");
	*nbytes = call->answer.nbytes;
	return call->answer.body;
}
