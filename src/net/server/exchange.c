/* SPDX-License-Identifier: MIT */
/* An exchange: one request and its response, from the first byte of the request to the last byte of
 * the response. Exchanges and their arenas are used again. Handlers run here, in whatever thread
 * has the exchange. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arena/release.h"
#include "server/rep.h"

enum {
	SPARES = 64,      /* arenas of a loop without a request */
	/* Bytes of an arena's first chunk when there are more: enough for a patient client's head. */
	CROWDED = 1024
};

/* ---- making and retiring ---- */

static void dispose_arena(Exchange *x)
{
	if (x->arena)
		arena__lend(x->arena, 0);
	Arena_dispose(&x->arena);
	httpserver__drop_account(x);
}

static void dispose_exchange(void *x)
{
	dispose_arena(x);
}

/* Not a child of the loop's arena: allocating from an arena with a parent takes a lock. */
static __attribute__((noinline)) Exchange *make_exchange(Loop *l)
{
	Arena_Options options = {
		.chunk = l->arenas < SPARES ? 0 : CROWDED, .name = "request of an HTTP server"
	};
	Exchange *x = l->bare;

	if (!x) {
		x = Arena_alloc_aligned(l->arena, _Alignof(Exchange), sizeof *x);
		memset(x, 0, sizeof *x);
		x->loop = l;
		Arena_defer(l->arena, dispose_exchange, x);
		l->bare = x;
	}
	httpserver__limit_memory(x, &options);
	x->arena = Arena_new_with(&options);
	arena__lend(x->arena, 1);
	l->arenas++;
	l->bare = x->next;
	return x;
}

static void put_bare(Loop *l, Exchange *x)
{
	x->next = l->bare;
	l->bare = x;
	l->arenas--;
	dispose_arena(x);
}

static Exchange *take_exchange(Loop *l)
{
	Exchange *x = l->spare;

	if (!x)
		return make_exchange(l);
	l->spare = x->next;
	l->spares--;
	if (!x->account || httpserver__has_no_strays(x))
		return x;
	put_bare(l, x);
	return make_exchange(l);
}

static void end_handles(Exchange *x)
{
	httprequest__end(x->request);
	httpresponse__end(&x->response_place);
}

Exchange *httpserver__begin(Turn *t)
{
	Loop *l = t->loop;
	HTTPServer_T server = l->server;
	Exchange *x = take_exchange(l);

	/* Live still, if a call that was deferred to its end has raised. */
	if (UNLIKELY(httpresponse__mark(&x->response_place) & HTTP__LIVE))
		end_handles(x);
	zero(&x->request, offsetof(Exchange, rest) - offsetof(Exchange, request));
	x->request = httprequest__renew(&x->request_place);
	x->request->arena = x->arena;
	x->request->client = t->c->socket;
	x->request->peer = t->c->name ? t->c->name->text : NULL;
	if (x->account)
		httpserver__begin_account(x->account);
	x->conn = t->c;
	httpreader__init(&x->reader, x->request,
		server->streams ? &server->unlimited : &server->options.limits);
	return t->c->exchange = x;
}

/* Arenas that many slow clients had at once are not all kept. */
void httpserver__recycle(Exchange *x)
{
	Loop *l = x->loop;
	int keeps = l->spares < SPARES;

	if (UNLIKELY(x->socket != NULL))
		Socket_close(&x->socket);
	if (x->account)
		httpserver__end_account(x->account);
	if (keeps) {
		x->next = l->spare;
		l->spare = x;
		l->spares++;
		arena__take_back(x->arena, l->server->kept, 0);
	} else
		put_bare(l, x);
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
	Socket_close(&x->socket);
	if (x->account)
		httpserver__end_account(x->account);
	end_handles(x);
	dispose_arena(x);
}

void httpserver__renew_response(Exchange *x)
{
	if (x->response)
		httpresponse__end(&x->response_place);
	x->response = x->request->response = httpresponse__renew(&x->response_place, x->arena);
	x->response->request = x->request;
}

/* ---- the route's functions ---- */

/* Returns 0 if the call had suspended the response and somebody resumed it: then the resume counts,
 * and not the exception of the call. */
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

/* The response that `before` had is the handler's. */
void httpserver__handle(Exchange *x)
{
	if (!x->route) {
		httpserver__answer_no_route(x);
		return;
	}
	if (x->loop->server->options.before && !x->admitted && !httpserver__run_before(x))
		return;
	x->call = CALL_HANDLER;
	x->calling = 1;
	TRY {
		if (!x->response)
			httpserver__renew_response(x);
		x->route->is.handler(x->request, x->response, x->route->is.cl);
	} ELSE {
		if (may_fail(x))
			httpserver__answer_raised(x);
	} END_TRY;
	x->calling = 0;
	httpserver__stay_parent(x->loop);
}

void httpserver__give_body(Exchange *x, const char *bytes, size_t n)
{
	x->call = CALL_BODY;
	x->calling = 1;
	TRY {
		x->response->suspended = 0;
		x->route->is.body(x->request, bytes, n, x->route->is.cl);
	} ELSE {
		if (may_fail(x)) {
			httpserver__answer_raised(x);
			x->made = 1;
		}
	} END_TRY;
	x->calling = 0;
	httpserver__stay_parent(x->loop);
}

/* A part that is too long cuts the stream even if somebody has resumed it. That one may have noted
 * a failure. */
void httpserver__produce(Exchange *x)
{
	x->call = CALL_MORE;
	x->calling = 1;
	TRY {
		httpresponse__next(x->response);
	} ELSE {
		x->cut = 1;
		if (may_fail(x))
			httpserver__note_raised(x);
		else
			x->cut = httpresponse__is_too_long(x->response) != 0;
	} END_TRY;
	x->calling = 0;
	httpserver__stay_parent(x->loop);
}

void httpserver__call(Exchange *x)
{
	if (x->failed) {
		httpserver__answer_failure(x);
		x->made = 1;
		return;
	}
	switch ((Call)x->call) {
	case CALL_BEFORE:
		x->made = !httpserver__run_before(x);
		break;
	case CALL_BODY:
		httpserver__give_body(x, x->part, x->npart);
		break;
	case CALL_MORE:
		httpserver__produce(x);
		break;
	case CALL_TAKE:
		httpserver__give_socket(x);
		break;
	case CALL_HANDLER: case CALL_NONE:
		httpserver__handle(x);
	}
}

void httpserver__fail_call(Exchange *x)
{
	x->calling = 0;
	if (x->call == CALL_TAKE) {
		x->dropped = 1;
		return;
	}
	if (!may_fail(x))
		return;
	x->error = x->call == CALL_HANDLER
		? "the handler ended its thread" : "a function of the route ended its thread";
	x->raised++;
	if (x->call == CALL_MORE) {
		x->cut = 1;
		return;
	}
	x->ends = 1;
	if (x->status == 0) {
		x->failed = &HTTP_Failed; /* another worker answers, as on_error may block */
		return;
	}
	x->made = 1; /* it was on_error: without a body */
	x->response = NULL;
}

/* ---- children ---- */

unsigned httpserver__forks;

static void count_fork(void)
{
	httpserver__forks++;
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

void httpserver__watch_forks(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, watch_forks);
}

/* The program's atexit functions are the parent's business, too. */
void httpserver__end_child(void)
{
	static const char text[] = "HTTPServer: a child that a callback forked has returned from it; "
		"the child ends here\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);

	_exit(written < 0 ? 2 : 1);
}
