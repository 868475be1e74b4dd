/* SPDX-License-Identifier: MIT */
/* An exchange: one request and its response, from the first byte of the one to the last byte of the other. Exchanges and
 * their arenas are used again. Handlers run here, in whatever thread has the exchange. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arena/release.h"
#include "server/rep.h"

enum {
	SPARES = 64,      /* arenas of a loop without a request */
	CROWDED = 2048,   /* bytes of an arena's first chunk when there are more: what a patient client's head needs */
	KEPT = 64 * 1024  /* bytes that an arena keeps for the next request */
};

/* ---- making and retiring ---- */

static void dispose_arena(Exchange *x)
{
	if (x->arena)
		arena__lend(x->arena, 0);
	Arena_dispose(&x->arena);
}

static void dispose(void *x)
{
	dispose_arena(x);
}

/* Not a child of the loop's arena: allocating from an arena with a parent takes a lock. */
static Exchange *make_exchange(Loop *l)
{
	Arena_Options options = { .chunk = l->arenas < SPARES ? 0 : CROWDED, .name = "request of an HTTP server" };
	Exchange *x = l->bare;

	if (!x) {
		x = Arena_alloc_aligned(l->arena, _Alignof(Exchange), sizeof *x);
		memset(x, 0, sizeof *x);
		x->loop = l;
		Arena_defer(l->arena, dispose, x);
		l->bare = x;
	}
	x->arena = Arena_new_with(&options);
	arena__lend(x->arena, 1);
	l->arenas++;
	l->bare = x->next;
	return x;
}

static void end_handles(Exchange *x)
{
	httprequest__end(x->request);
	httpresponse__end(&x->response_place);
}

static Exchange *take_exchange(Loop *l)
{
	Exchange *x = l->spare;

	if (!x)
		return make_exchange(l);
	l->spare = x->next;
	l->spares--;
	return x;
}

Exchange *httpserver__begin(Turn *t)
{
	Loop *l = t->loop;
	HTTPServer_T server = l->server;
	Exchange *x = take_exchange(l);

	if (UNLIKELY(x->response_place.mark & HTTP__LIVE)) /* what was deferred to its end has raised */
		end_handles(x);
	zero(&x->request, offsetof(Exchange, rest) - offsetof(Exchange, request));
	x->request = httprequest__renew(&x->request_place);
	x->request->arena = x->arena;
	x->request->client = t->c->socket;
	x->request->peer = t->c->name ? t->c->name->text : NULL;
	x->conn = t->c;
	httpreader__init(&x->reader, x->request, server->streams ? &server->unlimited : &server->options.limits);
	return t->c->exchange = x;
}

/* Arenas that many slow clients had at once are not all kept. */
void httpserver__recycle(Exchange *x)
{
	Loop *l = x->loop;
	int keeps = l->spares < SPARES;
	Exchange **list = keeps ? &l->spare : &l->bare;

	x->next = *list;
	*list = x;
	l->spares += (size_t)keeps;
	if (keeps)
		arena__take_back(x->arena, KEPT, 0);
	else {
		l->arenas--;
		dispose_arena(x);
	}
	end_handles(x);
	httpserver__stay_parent(l);
}

void httpserver__retire(Turn *t)
{
	Exchange *x = t->c->exchange;

	t->c->exchange = NULL;
	httpserver__recycle(x);
}

void httpserver__dispose(Exchange *x)
{
	end_handles(x);
	dispose_arena(x);
}

/* ---- answers of our own ---- */

void httpserver__renew_response(Exchange *x)
{
	if (x->response)
		httpresponse__end(&x->response_place);
	x->response = x->request->response = httpresponse__renew(&x->response_place, x->arena);
}

static void make_answer(Exchange *x, int status, const char *text)
{
	httpserver__renew_response(x);
	HTTPResponse_status(x->response, status);
	HTTPResponse_set(x->response, "Content-Type", "text/plain; charset=utf-8");
	HTTPResponse_printf(x->response, "%d %s%s%s\n", status, HTTP_reason(status), text ? ": " : "", text ? text : "");
}

void httpserver__answer(Exchange *x, int status, const char *text)
{
	x->error = "out of memory";
	TRY {
		x->error = Arena_strdup(x->arena, text);
		make_answer(x, status, status >= 400 && status != 500 ? x->error : NULL);
	} ELSE { /* it is sent without memory then */
		x->response = NULL;
	} END_TRY;
}

/* RFC 9110, 9.1: 501 for a method that no path has */
static void answer_no_route(Exchange *x)
{
	if (!httpserver__has_method(x->loop->server, x->request->method)) {
		make_answer(x, 501, x->request->method);
		return;
	}
	if (x->reader.parser.flags & HTTPParser_IS_OPTIONS && x->allow) {
		httpserver__renew_response(x);
		HTTPResponse_status(x->response, 204);
	} else
		make_answer(x, x->allow ? 405 : 404, x->allow ? x->request->method : x->request->target);
	if (x->allow)
		HTTPResponse_set(x->response, "Allow", x->allow);
}

/* ---- the route's functions ---- */

/* Returns 0 if the call had suspended the response and somebody resumed it: then that counts, and not what it raised. */
static int may_fail(Exchange *x)
{
	if (!httpserver__is_suspended(x))
		return 1;
	if (!httpserver__claim(x)) {
		x->dropped = 1;
		return 0;
	}
	x->response->suspended = 0;
	return 1;
}

/* A client reads what is wrong with its request; whatever else was raised is for the log. */
void httpserver__handle(Exchange *x)
{
	x->call = CALL_HANDLER;
	x->calling = 1;
	TRY {
		if (x->route) {
			if (!x->response)
				httpserver__renew_response(x);
			x->route->is.handler(x->request, x->response, x->route->is.cl);
		} else
			answer_no_route(x);
	} ELSE {
		if (may_fail(x)) {
			x->raised = 1;
			httpserver__answer(x, HTTP_status(Except_current()), Except_message());
		}
	} END_TRY;
	x->calling = 0;
	httpserver__stay_parent(x->loop);
}

/* The call has ended the thread. */
void httpserver__fail_call(Exchange *x, const char *how)
{
	x->calling = 0;
	if (!may_fail(x))
		return;
	x->failed = 500;
	x->ends = 1;
	x->error = how;
}

/* For the loop, which answers or breaks off. */
static void note_failure(Exchange *x)
{
	x->failed = (unsigned short)HTTP_status(Except_current());
	x->error = "out of memory";
	TRY {
		x->error = Arena_strdup(x->arena, Except_message());
	} ELSE {
	} END_TRY;
}

void httpserver__give_body(Exchange *x, const char *bytes, size_t n)
{
	x->call = CALL_BODY;
	x->calling = 1;
	TRY {
		x->response->suspended = 0;
		x->route->is.body(x->request, bytes, n, x->route->is.cl);
	} ELSE {
		if (may_fail(x))
			note_failure(x);
	} END_TRY;
	x->calling = 0;
	httpserver__stay_parent(x->loop);
}

void httpserver__produce(Exchange *x)
{
	x->call = CALL_MORE;
	x->calling = 1;
	TRY {
		httpresponse__next(x->response);
	} ELSE {
		if (may_fail(x) || httpresponse__is_too_long(x->response))
			note_failure(x);
	} END_TRY;
	x->calling = 0;
	httpserver__stay_parent(x->loop);
}

void httpserver__call(Exchange *x)
{
	switch ((Call)x->call) {
	case CALL_BODY:
		httpserver__give_body(x, x->part, x->npart);
		break;
	case CALL_MORE:
		httpserver__produce(x);
		break;
	case CALL_HANDLER: case CALL_NONE:
		httpserver__handle(x);
	}
}

/* ---- children ---- */

unsigned httpserver__forks;

static void count_fork(void)
{
	httpserver__forks++;
}

static void watch(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

void httpserver__watch_forks(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, watch);
}

/* What the program's atexit functions do is the parent's business, too. */
void httpserver__end_child(void)
{
	static const char text[] = "HTTPServer: a child that a callback forked has returned from it; the child ends here\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);

	_exit(written < 0 ? 2 : 1);
}
