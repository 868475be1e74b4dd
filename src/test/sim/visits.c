/* SPDX-License-Identifier: MIT */
/* The clients of a server, step by step: they come, send, take and leave. */
#include "config.h"

#include "server.h"

static int64_t pause_of(const Client *c)
{
	switch (c->manner) {
	case SLOW:
		return sim_between(0, 400000);
	case DRIPPING:
		return sim_between(0, 60000);
	default:
		return sim_chance(50) ? sim_below(200) : sim_below(20000);
	}
}

static size_t part_to_push(const Client *c)
{
	size_t left = c->stops_at - c->pushed;

	if (left == 0 || c->manner == DRIPPING)
		return left ? 1 + (size_t)sim_below(3) : 0;
	return sim_chance(50) ? left : 1 + (size_t)sim_below((int)left);
}

/* It waits for 100 Continue where it asked for that, most of the time. */
static int awaits_invitation(const Client *c)
{
	int i;

	for (i = 0; i < c->nrequests; i++)
		if (c->requests[i].kind == KIND_EXPECT && c->pushed == c->requests[i].head_end)
			return c->answered <= i && !c->invited && sim_chance(90);
	return 0;
}

static size_t until_invitation(const Client *c, size_t n)
{
	int i;

	for (i = 0; i < c->nrequests; i++)
		if (c->requests[i].kind == KIND_EXPECT && c->pushed < c->requests[i].head_end
			&& c->pushed + n > c->requests[i].head_end && sim_chance(80))
			return c->requests[i].head_end - c->pushed;
	return n;
}

static void client_step(void *cl);

static void push_some(Client *c)
{
	size_t n = awaits_invitation(c) ? 0 : until_invitation(c, part_to_push(c));

	if (n > c->stops_at - c->pushed)
		n = c->stops_at - c->pushed;
	if (n == 0)
		return;
	sim_trace("client %d sends %zu", c->stream->id, n);
	stream_push(c->stream, c->script.at + c->pushed, n);
	c->pushed += n;
	c->pushed_at = sim_now;
}

static void client_step(void *cl)
{
	Client *c = cl;
	Stream *s = c->stream;
	char sink[4096];

	if (c->done)
		return;
	if (sim_chance(60))
		push_some(c);
	if (c->manner != DEAF)
		stream_pull(s, sink, sim_chance(70) ? sizeof sink : 1 + (size_t)sim_below(100));
	check_lost(c);
	if (c->manner == LEAVING && c->pushed == c->stops_at && sim_chance(40)) {
		sim_trace("client %d leaves", s->id);
		stream_reset(s);
		c->done = 1;
	} else if (c->manner == HALF_CLOSING && c->pushed == c->stops_at && sim_chance(40)
		&& !s->in_ended) {
		sim_trace("client %d sends no more", s->id);
		stream_end(s);
	}
	c->done |= s->left || (s->closed && (bytes_length(&s->out) == 0 || c->manner == DEAF));
	if (c->done)
		return;
	if (s->closed || c->pushed < c->stops_at || bytes_length(&s->out) > 0)
		event_at(sim_now + pause_of(c), client_step, c);
	else
		event_at(sim_now + sim_between(0, 200000), client_step, c);
}

static void trace_script(const Client *c)
{
	const Request *r;

	for (r = c->requests; r < c->requests + c->nrequests; r++)
		sim_trace("request %d: kind %d%s%s, bytes %zu, %zu, %zu", r->id, (int)r->kind,
			r->blocks ? ", in a worker" : "", r->parts ? ", in parts" : "", r->begin,
			r->head_end, r->end);
}

void arrive(void *next_id)
{
	Client *c = client_new(next_id, program_runs);

	c->stream = kernel_dial(sim_chance(50) ? 65536 : (size_t)sim_between(500, 5000));
	if (!c->stream) {
		client_free(c);
		return;
	}
	sim_trace("client %d comes, in manner %d, with %d requests", c->stream->id, (int)c->manner,
		c->nrequests);
	trace_script(c);
	c->stream->peer = c;
	c->next = clients;
	clients = c;
	event_at(sim_now + pause_of(c), client_step, c);
}
