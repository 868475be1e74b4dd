/* SPDX-License-Identifier: MIT */
/* Answers that no handler has made: to what was raised, to requests that are refused, and to
 * those that no route takes. The program's on_error makes the body of an error. If it raises, the
 * body is ours; if there is no memory for that, the response is NULL, and only the status goes
 * out (put_canned in output.c).
 *
 * The hooks of the program run here, in whatever thread has the exchange. No function raises. */
#include "config.h"

#include <stdio.h>

#include "server/rep.h"

typedef struct Error {
	int status;
	const char *message; /* for on_error: what was raised, or what is wrong; or NULL */
	const char *text;    /* for our own body; or NULL */
	const char *field, *value; /* that the status asks for; or NULL */
} Error;

static void start_answer(Exchange *x, const Error *e)
{
	httpserver__renew_response(x);
	x->response->request = NULL; /* what is not the handler's cannot be an upgrade */
	HTTPResponse_status(x->response, e->status);
	if (e->field)
		HTTPResponse_set(x->response, e->field, e->value);
}

static void write_own(Exchange *x, const Error *e)
{
	start_answer(x, e);
	HTTPResponse_set(x->response, "Content-Type", "text/plain; charset=utf-8");
	HTTPResponse_printf(x->response, "%d %s%s%s\n", e->status, HTTP_reason(e->status),
		e->text ? ": " : "", e->text ? e->text : "");
}

/* Returns 0 if the program has no hook for it, or the hook raised. */
static int write_program_s(Exchange *x, const Error *e)
{
	const HTTPServer_Options *o = &x->loop->server->options;
	volatile int written = 0;

	if (!o->on_error || x->silent)
		return 0;
	TRY {
		start_answer(x, e);
		o->on_error(x->request, x->response, e->status, e->message, o->hooks_cl);
		written = 1;
	} ELSE {
		x->raised++;
	} END_TRY;
	httpserver__stay_parent(x->loop);
	return written;
}

static void answer_error(Exchange *x, const Error *e)
{
	if (x->account)
		httpserver__lift_limit(x->account);
	x->status = (unsigned short)e->status;
	if (write_program_s(x, e))
		return;
	TRY {
		write_own(x, e);
	} ELSE {
		x->response = NULL;
	} END_TRY;
}

/* A client reads what is wrong with its request; whatever else was raised is for the log. */
static const char *for_clients(int status, const char *message)
{
	return status >= 400 && status != 500 ? message : NULL;
}

void httpserver__answer(Exchange *x, int status, const char *text)
{
	x->error = text ? "out of memory" : NULL;
	TRY {
		if (text)
			x->error = Arena_strdup(x->arena, text);
	} ELSE {
	} END_TRY;
	answer_error(x, &(Error){
		.status = status, .message = x->error, .text = for_clients(status, x->error)
	});
}

/* The memory of the record is the request's: without any, the log has its words only. */
void httpserver__note_raised(Exchange *x)
{
	x->raised++;
	x->error = "out of memory";
	TRY {
		Except_Capture *capture;

		x->error = Arena_strdup(x->arena, Except_message());
		NEW(x->arena, capture);
		Except_capture(capture);
		x->capture = capture;
	} ELSE {
	} END_TRY;
}

/* An exception that has no status of an error is as unexpected as one that has none. */
static int status_of(Exchange *x, const Except_T *e)
{
	int status = HTTP_status(e);

	if (x->account && httpserver__lift_limit(x->account) && status == 500
		&& except__is_kind_of(e, &Arena_Failed))
		return 503;
	return status >= 400 ? status : 500;
}

void httpserver__note_failure(Exchange *x, const Except_Capture *e)
{
	x->raised++;
	x->failed = e->exception;
	x->error = e->exception->reason;
	TRY {
		x->error = Arena_strdup(x->arena, e->message);
		x->capture = Arena_memdup(x->arena, e, sizeof *e);
	} ELSE {
	} END_TRY;
}

void httpserver__answer_failure(Exchange *x)
{
	int status = status_of(x, x->failed);

	x->failed = NULL;
	answer_error(x, &(Error){
		.status = status, .message = x->error, .text = for_clients(status, x->error)
	});
}

void httpserver__answer_raised(Exchange *x)
{
	int status = status_of(x, Except_current());

	httpserver__note_raised(x);
	answer_error(x, &(Error){
		.status = status, .message = x->error, .text = for_clients(status, x->error)
	});
}

/* RFC 9110, 9.1: 501 for a method that no path has */
void httpserver__answer_no_route(Exchange *x)
{
	const char *method = x->request->method;

	if (!httpserver__has_method(x->loop->server, method))
		answer_error(x, &(Error){ .status = 501, .text = method });
	else if (!x->allow)
		answer_error(x, &(Error){ .status = 404, .text = x->request->target });
	else if (!(x->reader.parser.flags & HTTPParser_IS_OPTIONS))
		answer_error(x, &(Error){
			.status = 405, .text = method, .field = "Allow", .value = x->allow
		});
	else
		TRY {
			start_answer(x, &(Error){ .status = 204, .field = "Allow", .value = x->allow });
		} ELSE {
			httpserver__answer_raised(x);
		} END_TRY;
}

void httpserver__answer_no_range(Exchange *x, int64_t length)
{
	char value[48];

	snprintf(value, sizeof value, "bytes */%lld", (long long)length);
	answer_error(x, &(Error){ .status = 416, .field = "Content-Range", .value = value });
}

int httpserver__run_before(Exchange *x)
{
	const HTTPServer_Options *o = &x->loop->server->options;
	volatile int passed = 0;

	x->admitted = 1;
	TRY {
		if (!x->response)
			httpserver__renew_response(x);
		o->before(x->request, x->response, o->hooks_cl);
		passed = 1;
	} ELSE {
		httpserver__answer_raised(x);
	} END_TRY;
	httpserver__stay_parent(x->loop);
	return passed;
}
