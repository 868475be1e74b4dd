/* SPDX-License-Identifier: MIT */
/* Facts about requests for the program: counts, latencies, and the entries of its log. */
#include "config.h"

#include <time.h>

#include "arena/release.h"
#include "server/rep.h"

int64_t httpserver__now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* An exception of the program's log is counted: the response is not to blame. */
static void write_log(Loop *l, Exchange *x, int status, size_t nbytes)
{
	const HTTPServer_Options *o = &l->server->options;
	HTTPServer_Entry e = { .request = x->request, .route = x->request->route, .status = status,
		.nbytes = nbytes, .error = x->error, .raised = x->capture };

	x->unlogged = 0;
	e.microseconds = httpserver__now_us() - x->began;
	TRY {
		e.memory = arena__peak_since_clear(x->arena);
		e.peer = HTTPRequest_peer(x->request);
		o->log(&e, o->log_cl);
	} ELSE {
		httpserver__count(&l->stats.raised, 1);
	} END_TRY;
	httpserver__stay_parent(l);
}

void httpserver__log_stream(Exchange *x)
{
	if (x->unlogged)
		write_log(x->loop, x, x->response->status, (size_t)x->streamed);
}

/* If its head was out, it is a stream. */
void httpserver__log_gone(Exchange *x)
{
	int logs = x->loop->server->options.log && !x->answered && !x->silent;

	x->silent = 1;
	if (x->verdict)
		x->error = x->verdict;
	if (logs)
		write_log(x->loop, x, x->status, 0);
	else
		httpserver__log_stream(x);
}

/* Counts a latency of less than 2^i microseconds at [i]; the last counts all that are longer. */
static void count_latency(Loop *l, int64_t us)
{
	int i = 0;

	while (i < HTTPServer_LATENCIES - 1 && us >> i > 0)
		i++;
	httpserver__count(&l->stats.latency[i], 1);
}

static __attribute__((noinline)) void note_end(Loop *l, Exchange *x, int status, size_t nbytes)
{
	const HTTPServer_Options *o = &l->server->options;

	if (o->latency)
		count_latency(l, httpserver__now_us() - x->began);
	if (!o->log || x->silent)
		return;
	x->streamed = nbytes;
	if (x->framing.streams || x->framing.sends_file)
		x->unlogged = 1;
	else
		write_log(l, x, status, nbytes);
}

void httpserver__account(Loop *l, Exchange *x, int status, size_t nbytes)
{
	httpserver__count(&l->stats.status[status / 100], 1);
	if (UNLIKELY(x->raised > 0))
		httpserver__count(&l->stats.raised, x->raised);
	if (l->server->timed)
		note_end(l, x, status, nbytes);
}
