/* SPDX-License-Identifier: MIT */
/* The program that a server runs: its handlers. In the world of a program they also suspend
 * answers, which tasks resume or fail at any time: before the handler has returned, after the
 * client has left, even after the server. Handlers run in workers, bodies come piece by piece, and
 * sockets are taken over. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>
#include "server.h"

enum { HELD = 64, ANSWERERS = 2 };

typedef struct Held { /* an answer that is suspended */
	int used, taken;
	Request *request;
	HTTPResponse_T response;
	Step call;
	int64_t when; /* us: when it is resumed; INT64_MAX: when the server has ended */
} Held;

int program_runs;
static Held held[HELD];
static int has_ended, acting, answerers;

EXCEPT_DEFINE(Sim_Raised, NULL, "a handler raises");

/* ---- what the checks ask ---- */

int program_acts(void)
{
	return acting > 0;
}

int program_holds(void)
{
	int i, n = 0;

	for (i = 0; i < HELD; i++)
		n += held[i].used;
	return n;
}

int request_is_held(const Request *r)
{
	return r->held && !r->calling;
}

const Client *client_of(const Request *r)
{
	const Client *c = clients;

	while (r < c->requests || r >= c->requests + REQUESTS)
		c = c->next;
	return c;
}

/* The library has refused a handle, as somebody else has ended the suspension. */
static void check_contested(const Request *r)
{
	SIM_CHECK(r->contested || client_is_excused(client_of(r)), "request %d: %s", r->id,
		Except_message());
}

int request_is_gone(const Request *r)
{
	volatile int gone = 0;

	TRY {
		gone = HTTPResponse_gone(r->held->response);
	} EXCEPT(Assert_Failed) { /* its resumer has not returned yet */
		if (!r->held->taken)
			check_contested(r);
	} END_TRY;
	return gone;
}

/* ---- answers ---- */

static Request *find_request(HTTPRequest_T request)
{
	int id = atoi(HTTPRequest_param(request, "id")), i;
	Client *c;

	for (c = clients; c; c = c->next)
		for (i = 0; i < c->nrequests; i++)
			if (c->requests[i].id == id)
				return &c->requests[i];
	sim_fail("a function runs for request %d, which there is not", id);
}

static void end_call(void *cl)
{
	((Request *)cl)->calling = 0;
}

/* One function of a request runs at a time, and none while it is suspended. */
static void check_turn(const Request *r)
{
	SIM_CHECK(!r->calling && (!r->held || r->held->taken),
		"two functions of request %d run at the same time", r->id);
}

/* A handler begins. */
static Request *request_of(HTTPRequest_T request)
{
	Request *r = find_request(request);
	const Client *c = client_of(r);

	SIM_CHECK(stopped_at < 0 || sim_ms() < drain_end() + (program_runs ? spent : 0),
		"a handler begins after the drain");
	SIM_CHECK(c->requests + c->answered <= r && c->got >= r->end,
		"the handler of request %d runs too early", r->id);
	SIM_CHECK(r->handled++ == 0 || client_is_excused(c), "the handler of request %d runs again",
		r->id);
	check_turn(r);
	SIM_CHECK(!r->parts || r->parts_got == r->body, "request %d: %zu bytes of %zu came", r->id,
		r->parts_got, r->body);
	r->calling = 1;
	return r;
}

static void name_answer(HTTPResponse_T response, const Request *r)
{
	char id[16];

	snprintf(id, sizeof id, "%d", r->id);
	HTTPResponse_set(response, "X-Id", id);
}

static void answer(HTTPResponse_T response, Request *r)
{
	size_t i;

	name_answer(response, r);
	for (i = 0; i < r->size; i++) {
		char c = body_byte(r->id, i);

		HTTPResponse_write(response, &c, 1);
	}
}

/* ---- suspended ---- */

/* In a worker it takes its time; in the loop's thread others may only run meanwhile. */
static void take_a_while(const Request *r)
{
	if (!program_runs)
		return;
	kernel_give_way();
	if (r->blocks && sim_chance(50))
		task_block(NULL, NULL, sim_now + sim_below(WORK_MS / 5 * 1000));
}

static int some_timeout(void)
{
	static const int times[] = { 1, 20, 200, 2000, 20000 };

	return sim_chance(20) ? 0 : sim_chance(20) ? -1 : sim_between(1, times[sim_below(5)]);
}

static void nothing(void *cl)
{
	(void)cl;
}

/* Without any limit, one has to be resumed, so that the server ends. */
static int64_t when_to_resume(const Request *r)
{
	if (sim_chance(10) && (options.drain_ms >= 0 || r->until != INT64_MAX))
		return INT64_MAX;
	return sim_now + (sim_chance(40) ? 0 : sim_below(sim_chance(70) ? 40000 : 3000000));
}

static void resume(Held *h);

/* That is its failure, unless somebody has resumed it before. Either may be if somebody is about
 * to, who must not use the response meanwhile. */
static void raise_suspended(Request *r, Held *h)
{
	sim_trace("request %d raises", r->id);
	if (r->held == h && h->taken)
		r->contested = 1;
	else if (r->held == h) {
		r->status = 500;
		r->early = h->call == IN_BODY;
		r->held = NULL;
		h->used = 0;
	}
	EXCEPT_RAISE(Sim_Raised);
}

/* Suspends the answer, perhaps. The function that calls this has to return then. */
static int may_suspend(Request *r, HTTPResponse_T response, Step call)
{
	Held *h = held;
	int ms, limit;

	if (!program_runs || !sim_chance(40))
		return 0;
	while (h < held + HELD && h->used)
		h++;
	if (h == held + HELD)
		return 0;
	ms = some_timeout();
	limit = ms ? ms : options.suspend_ms;
	HTTPResponse_suspend(response, ms);
	r->until = limit < 0 ? INT64_MAX : sim_ms() + limit;
	r->suspended_in = (int)call;
	r->held = h;
	*h = (Held){ 1, 0, r, response, call, when_to_resume(r) };
	sim_trace("request %d is suspended in call %d, until %lld ms", r->id, (int)call,
		(long long)(limit < 0 ? -1 : r->until));
	if (h->when != INT64_MAX)
		event_at(h->when, nothing, NULL);
	if (sim_chance(10))
		resume(h);
	else if (sim_chance(50))
		take_a_while(r);
	if (call == IN_BODY || (call == IN_HANDLER && (r->held != h || !h->taken)))
		if (sim_chance(10))
			raise_suspended(r, h);
	return 1;
}

static int more(HTTPResponse_T response, void *cl);

/* Fills the response as the handler does, now or later. */
static void finish(HTTPResponse_T response, Request *r)
{
	if (r->kind == KIND_STREAM) {
		name_answer(response, r);
		r->streamed = 0;
		HTTPResponse_stream(response, more, r);
	} else if (r->kind == KIND_UPGRADE)
		HTTPResponse_upgrade(response, "sim", tunnel_take, r);
	else
		answer(response, r);
}

/* A handle that has been resumed is of no use any more. */
static void try_stale(const Held *h)
{
	volatile int refused = 0;

	TRY {
		HTTPResponse_resume(h->response);
	} EXCEPT(Assert_Failed) {
		refused = 1;
	} ELSE {
	} END_TRY;
	SIM_CHECK(refused, "request %d was resumed twice", h->request->id);
}

static void note_failure(Held *h, int status)
{
	Request *r = h->request;

	sim_trace("request %d is failed with %d", r->id, status);
	if (h->call == IN_MORE)
		r->cut = 1;
	else
		r->status = status;
	r->early |= h->call == IN_BODY;
}

static void resume(Held *h)
{
	Request *r = h->request;
	int fails = sim_chance(15);

	acting++;
	h->taken = 1;
	TRY {
		if (h->call == IN_HANDLER)
			finish(h->response, r);
		if (fails && sim_chance(50))
			EXCEPT_RAISE(HTTP_Not_Found);
		if (fails)
			EXCEPT_RAISE(Sim_Raised);
		sim_trace("request %d is resumed", r->id);
		HTTPResponse_resume(h->response);
	} EXCEPT(Assert_Failed) {
		check_contested(r);
	} ELSE {
		note_failure(h, HTTP_status(Except_current()));
		TRY {
			HTTPResponse_fail(h->response, NULL);
		} EXCEPT(Assert_Failed) {
			check_contested(r);
		} END_TRY;
	} END_TRY;
	if (r->held == h) {
		r->held = NULL;
		r->resumed_at = sim_ms();
	}
	if (h->call == IN_HANDLER && r->kind != KIND_STREAM && !r->contested && sim_chance(30))
		try_stale(h);
	h->used = 0;
	acting--;
}

static int is_due_by(const Held *h, int64_t when)
{
	return h->used && !h->taken && (h->when <= when || has_ended);
}

static Held *find_due(int64_t when)
{
	Held *due = NULL;
	int i, n = 0;

	for (i = 0; i < HELD; i++)
		if (is_due_by(&held[i], when) && sim_below(++n) == 0)
			due = &held[i];
	return due;
}

/* Resumes an answer early, which may be of another loop. */
static void help_another(void)
{
	Held *h = nloops > 1 && sim_chance(25) ? find_due(INT64_MAX) : NULL;

	if (h)
		resume(h);
}

static int has_work(void *cl)
{
	int i;

	(void)cl;
	for (i = 0; i < HELD; i++)
		if (is_due_by(&held[i], sim_now))
			return 1;
	return has_ended;
}

static void answer_late(void *cl)
{
	Held *h;

	(void)cl;
	for (;;) {
		task_block(has_work, NULL, -1);
		h = find_due(sim_now);
		if (h)
			resume(h);
		else if (has_ended)
			break;
	}
	answerers--;
}

static int has_finished(void *cl)
{
	(void)cl;
	return answerers == 0 && tunnel_count() == 0;
}

/* ---- handlers ---- */

static void get(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Request *r = request_of(request);

	(void)cl;
	DEFER(end_call, r);
	take_a_while(r);
	help_another();
	if (!may_suspend(r, response, IN_HANDLER))
		finish(response, r);
}

static void post(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	size_t n, i;
	const char *body = HTTPRequest_body(request, &n);
	const Request *r = find_request(request);

	SIM_CHECK(n == r->body, "request %d has a body of %zu bytes, not %zu", r->id, n, r->body);
	for (i = 0; i < n; i++)
		SIM_CHECK(body[i] == body_byte(r->id, i), "request %d: byte %zu is '%c'", r->id, i,
			body[i]);
	get(request, response, cl);
}

/* A piece of a body. */
static void take_part(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	Request *r = find_request(request);
	size_t i;

	(void)cl;
	check_turn(r);
	SIM_CHECK(n <= r->body - r->parts_got, "request %d: %zu bytes too many", r->id,
		n - (r->body - r->parts_got));
	for (i = 0; i < n; i++)
		SIM_CHECK(((const char *)bytes)[i] == body_byte(r->id, r->parts_got + i),
			"request %d: byte %zu is wrong", r->id, r->parts_got + i);
	r->parts_got += n;
	r->calling = 1;
	DEFER(end_call, r);
	take_a_while(r);
	may_suspend(r, HTTPRequest_response(request), IN_BODY);
}

static void fail(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Request *r = request_of(request);

	(void)response;
	(void)cl;
	DEFER(end_call, r);
	take_a_while(r);
	EXCEPT_RAISE(Sim_Raised);
}

static void take_time(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Request *r = request_of(request);
	int ms = sim_below(40);

	(void)cl;
	DEFER(end_call, r);
	if (program_runs)
		take_a_while(r);
	else {
		sim_now += (int64_t)ms * 1000;
		spent += ms;
	}
	answer(response, r);
}

static int more(HTTPResponse_T response, void *cl)
{
	Request *r = cl;
	size_t n = 1 + (size_t)sim_below(2000);
	int suspends = 0;

	check_turn(r);
	r->calling = 1;
	DEFER(end_call, r);
	if (program_runs && r->streamed < r->size && sim_chance(20))
		suspends = may_suspend(r, response, IN_MORE);
	for (; n > 0 && r->streamed + (size_t)suspends < r->size; n--) {
		char c = body_byte(r->id, r->streamed);

		HTTPResponse_write(response, &c, 1);
		r->streamed++; /* not if it raises, which a resume makes up for */
	}
	take_a_while(r);
	if (!suspends && r->streamed < r->size)
		may_suspend(r, response, IN_MORE);
	return r->streamed < r->size;
}

/* ---- a run ---- */

void program_reset(void)
{
	memset(held, 0, sizeof held);
	has_ended = acting = answerers = 0;
	tunnel_reset();
}

static const struct {
	const char *method, *pattern; /* behind the letter b: in a worker */
	HTTPServer_Handler *handler;
} routes[] = { { "GET", "/bget/:id/:size", get }, { "POST", "/bpost/:id/:size", post },
	{ "GET", "/braise/:id/:size", fail }, { "GET", "/bstream/:id/:size", get },
	{ "GET", "/bslow/:id/:size", take_time }, { "GET", "/bupgrade/:id/:size", get },
	{ "POST", "/bparts/:id/:size", get } };

void program_add_routes(void)
{
	HTTPServer_Route parts = { .method = "POST", .pattern = "/parts/:id/:size", .handler = get,
		.body = take_part };
	size_t i;

	HTTPServer_route(server, "GET", "/get/:id/:size", get, NULL);
	HTTPServer_route(server, "POST", "/post/:id/:size", post, NULL);
	HTTPServer_route(server, "GET", "/raise/:id/:size", fail, NULL);
	HTTPServer_route(server, "GET", "/stream/:id/:size", get, NULL);
	HTTPServer_route(server, "GET", "/slow/:id/:size", take_time, NULL);
	if (!program_runs)
		return;
	HTTPServer_route(server, "GET", "/upgrade/:id/:size", get, NULL);
	HTTPServer_route_with(server, &parts);
	for (i = 0; i < sizeof routes / sizeof *routes; i++)
		HTTPServer_route_with(server,
			&(HTTPServer_Route){ .method = routes[i].method, .pattern = routes[i].pattern,
				.handler = routes[i].handler, .blocks = 1,
				.body = strstr(routes[i].pattern, "parts") ? take_part : NULL });
}

void program_start(void)
{
	if (!program_runs)
		return;
	for (answerers = 0; answerers < ANSWERERS; answerers++)
		task_start("program", answer_late, NULL);
}

void program_end(void)
{
	has_ended = 1;
	if (!has_finished(NULL))
		task_block(has_finished, NULL, -1);
}
