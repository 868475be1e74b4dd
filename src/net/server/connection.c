/* SPDX-License-Identifier: MIT */
/* A connection's life: httpserver__advance, and what it needs to begin, wait and end. Its picture is
 * docs/pictures/connection.svg, its reasons are in docs/design.md.
 *
 * Invariants. Input is read only while the output is idle. An exchange belongs to the input until its response is queued,
 * to the output until all of that is out. While the input is suspended, another thread has the exchange, but for its
 * rest. An idle connection has no buffer, and no exchange but one that has seen the CR of an empty line. */
#include "config.h"

#include <string.h>

#include "server/rep.h"

enum {
	EXPLANATION = 512,
	GRACE_MS = 500 /* for the first request of a connection that a draining server has just accepted */
};

/* ---- lists ---- */

void httpserver__append(List *list, Conn *c)
{
	c->next = NULL;
	c->previous = list->last;
	*(list->last ? &list->last->next : &list->first) = c;
	list->last = c;
}

static void unlist_idle(Loop *l, Conn *c)
{
	if (!c->idle)
		return;
	c->idle = 0;
	*(c->previous ? &c->previous->next : &l->idle.first) = c->next;
	*(c->next ? &c->next->previous : &l->idle.last) = c->previous;
}

static void list_ready(Loop *l, Conn *c)
{
	if (c->ready)
		return;
	unlist_idle(l, c);
	c->ready = 1;
	httpserver__append(&l->ready, c);
}

/* ---- the beginning ---- */

static void count_conns(Loop *l, int more)
{
	l->conns += (size_t)more;
	__atomic_store_n(&l->stats.connections, l->conns, __ATOMIC_RELAXED);
}

/* Its request is often there already, and sometimes its end: the kernel is asked to look for more only after that. */
void httpserver__open(Loop *l, Connection_T connection)
{
	Conn *c = l->spare_conns;

	if (c)
		l->spare_conns = c->next;
	else
		c = ALLOC(l->arena, sizeof *c);
	memset(c, 0, sizeof *c);
	c->next = l->spare_conns;
	l->spare_conns = c;
	SocketPoll_add(l->poll, Connection_socket(connection), 0, c);
	l->spare_conns = c->next;
	c->socket = Connection_socket(connection);
	c->proxied = httpserver__is_proxy(l->server, c->socket);
	Connection_set_data(connection, c);
	count_conns(l, 1);
	httpserver__count(&l->stats.accepted, 1);
	httpserver__advance(l, c, CAUSE_READABLE);
}

/* ---- the end ---- */

/* What deferred calls of the request's arena raise comes too late for the response. */
static void retire_last(Turn *t)
{
	TRY {
		httpserver__log_stream(t);
		httpserver__retire(t);
	} ELSE {
		httpserver__count(&t->loop->stats.raised, 1);
	} END_TRY;
}

static void reap(Turn *t)
{
	Loop *l = t->loop;
	Conn *c = t->c;

	unlist_idle(l, c);
	if (c->exchange)
		retire_last(t);
	if (c->name) {
		c->name->next = l->spare_names;
		l->spare_names = c->name;
	}
	count_conns(l, -1);
	SocketPool_remove(l->pool, c->socket); /* its place is free now, its descriptor when the tick ends */
	SocketPoll_close(l->poll, &c->socket);
	if (c->ready)
		return;
	c->next = l->spare_conns;
	l->spare_conns = c;
}

/* The thread ends amid a turn: a callback called pthread_exit(3), was cancelled, or a C++ exception passes. */
static void end_left_turn(Turn *t)
{
	if (t->done)
		return;
	t->c->end = END_DEAD;
	list_ready(t->loop, t->c);
}

/* ---- waiting ---- */

/* Slower than the rate, once that long has passed, is too slow: one byte a minute keeps no connection. */
static int until_rate(const Loop *l, int64_t since, int ms, size_t moved)
{
	int64_t left;

	if (ms < 0)
		return -1;
	left = since + ms + (int64_t)((uint64_t)moved * 1000 / (unsigned)l->server->options.body_rate) - socket__now_ms();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static Clock clock_of(const Conn *c)
{
	static const unsigned char of_input[] = { CLOCK_IDLE, CLOCK_HEAD, CLOCK_BODY, CLOCK_NONE, CLOCK_NONE };

	if (c->end == END_LINGER)
		return CLOCK_LINGER;
	if (c->end == END_DEAD || c->input == INPUT_SUSPENDED || c->ready)
		return CLOCK_NONE;
	return c->output != OUTPUT_IDLE ? CLOCK_SEND : (Clock)of_input[c->input];
}

/* Sets the one deadline; it stays as it is while the clock does, but for rates. Returns 1 if the clock starts. */
static int set_clock(Turn *t)
{
	const HTTPServer_Options *o = &t->loop->server->options;
	Conn *c = t->c;
	Exchange *x = c->exchange;
	Clock clock = clock_of(c);
	int ms = -1, starts = clock != c->clock;

	c->clock = clock;
	if (starts && (clock == CLOCK_BODY || clock == CLOCK_SEND)) {
		x->since = socket__now_ms();
		x->sent = 0;
	}
	if (clock == CLOCK_BODY)
		ms = until_rate(t->loop, x->since, o->limits.body_ms, x->reader.taken);
	else if (clock == CLOCK_SEND)
		ms = until_rate(t->loop, x->since, o->send_ms, x->sent);
	else if (!starts)
		return 0;
	else if (clock != CLOCK_NONE)
		ms = clock == CLOCK_HEAD ? o->limits.head_ms : clock == CLOCK_LINGER ? o->linger_ms
			: t->loop->draining ? GRACE_MS : o->idle_ms;
	SocketPoll_set_deadline(t->loop->poll, c->socket, ms);
	return starts;
}

static void set_events(Turn *t)
{
	Conn *c = t->c;
	unsigned events = SocketPoll_READ;

	if (c->end == END_DEAD)
		events = 0;
	else if (c->output != OUTPUT_IDLE)
		events = SocketPoll_WRITE;
	else if (c->input == INPUT_SUSPENDED)
		events = 0;
	if (events != c->events)
		SocketPoll_change(t->loop->poll, c->socket, events, c);
	c->events = events & 3;
}

/* While it was sent to, or another thread had its exchange, nobody read. To close with unread input resets the connection,
 * and the reset may overtake the response (RFC 9112, 9.6). The end of the stream counts as input. */
static int has_unread(Turn *t)
{
	Conn *c = t->c;

	if (t->ended)
		return 0;
	if (c->unread || c->held > 0 || t->used < t->n)
		return 1;
	return (t->cause == CAUSE_WRITABLE || t->cause == CAUSE_FINISHED) && socket__wait(c->socket, 0, 0);
}

static void end_after_output(Turn *t)
{
	Conn *c = t->c;

	c->unread = has_unread(t) & 1;
	t->dies = !c->unread;
	if (t->dies)
		return;
	Socket_shutdown(c->socket);
	c->end = END_LINGER;
	c->held = 0;
}

static int is_idle(const Conn *c)
{
	return c->end == END_OPEN && c->input == INPUT_IDLE && c->output == OUTPUT_IDLE && c->held == 0;
}

/* Leaves the connection as it is to wait. */
static void settle(Turn *t)
{
	Loop *l = t->loop;
	Conn *c = t->c;

	if (c->end == END_AFTER && c->output == OUTPUT_IDLE)
		end_after_output(t);
	if (c->end == END_OPEN)
		httpserver__hold(t);
	if (l->draining && ((is_idle(c) && c->served) || (c->input != INPUT_SUSPENDED && httpserver__is_over(l))))
		t->dies = 1;
	if (t->dies)
		c->end = END_DEAD;
	if (c->end == END_DEAD && c->input != INPUT_SUSPENDED)
		return;
	if (c->held > 0 && c->end == END_OPEN && c->output == OUTPUT_IDLE && c->input != INPUT_SUSPENDED)
		list_ready(l, c);
	if (c->buffered && c->held == 0) {
		c->buffered = 0;
		Connection_rest(SocketPool_get(l->pool, c->socket));
	}
	set_events(t);
	if (set_clock(t) || !is_idle(c))
		unlist_idle(l, c);
	if (is_idle(c) && !c->idle && !c->ready) {
		c->idle = 1;
		httpserver__append(&l->idle, c);
	}
}

/* ---- the life ---- */

/* The response is there, before all of the request was read; the connection ends with it. */
static void end_request(Turn *t)
{
	t->c->exchange->made = t->c->exchange->ends = 1;
	t->c->unread = 1;
	t->c->input = INPUT_HANDLING;
}

/* The response to what cannot be handled. */
static void refuse_request(Turn *t, int status, const char *text)
{
	httpserver__count(&t->loop->stats.refused, 1);
	httpserver__answer(t->c->exchange, status, text);
	end_request(t);
}

/* For the log. It may lack the memory. */
static void keep_line(HTTPReader *r)
{
	TRY {
		httpreader__keep_line(r);
	} ELSE {
	} END_TRY;
}

static void refuse_wrong(Turn *t)
{
	char text[EXPLANATION];
	const HTTPReader *r = &t->c->exchange->reader;

	httpreader__explain(r, text, sizeof text);
	refuse_request(t, r->parser.status, text);
	if (t->loop->server->options.log)
		keep_line(&t->c->exchange->reader);
}

/* Ends what was raised in a turn. Without an exchange it came before a request or after a response: what was queued goes
 * out. */
static void end_raised(Turn *t)
{
	Conn *c = t->c;
	Exchange *x = c->exchange;

	if (t->raised++ > 0 || (x && x->answered) || c->output != OUTPUT_IDLE || c->input == INPUT_SUSPENDED) {
		t->dies = 1;
	} else if (x) {
		httpserver__count(&t->loop->stats.refused, 1);
		httpserver__answer_raised(x);
		end_request(t);
	} else {
		httpserver__count(&t->loop->stats.raised, 1);
		c->end = END_AFTER;
		c->unread = 1;
	}
}

/* 1: the head asks for 100 Continue and none of the body came unasked (RFC 9110, 10.1.1). */
static int awaits_invitation(const Turn *t)
{
	return t->used == t->n && httpreader__awaits(&t->c->exchange->reader);
}

/* 1: the program's `before` runs ahead of the body, by which the route or the client acts. */
static int must_admit(const Exchange *x)
{
	return x->loop->server->options.before && x->route && httpreader__has_body(&x->reader)
		&& (x->route->is.body || httpreader__awaits(&x->reader));
}

static void take_sent(Turn *t, Sent sent)
{
	if (sent == SENT_NEVER)
		t->dies = 1;
	else if (sent == SENT_SOME)
		t->c->output = t->c->exchange->answered && t->c->exchange->framing.streams ? OUTPUT_STREAMING : OUTPUT_SENDING;
}

/* Requests that have begun are refused, everything else is closed without a word. */
static int may_refuse(const Conn *c)
{
	return c->end == END_OPEN && c->output == OUTPUT_IDLE && !c->proxied
		&& (c->input == INPUT_HEAD || c->input == INPUT_BODY);
}

static void time_out(Turn *t)
{
	httpserver__count(&t->loop->stats.timed_out, 1);
	if (may_refuse(t->c))
		refuse_request(t, 408, t->c->input == INPUT_HEAD
			? "the head of the request took too long" : "the body of the request took too long");
	else
		t->dies = 1;
}

/* A request whose head is whole, or of whose body a part was kept. */
static int takes_memory(const Exchange *x, Read read)
{
	return read == READ_HEAD || (x && x->reader.in_body && !x->reader.take && (read == READ_MORE || read == READ_BODY));
}

/* Returns 0 if it has to wait. */
static int read_on(Turn *t)
{
	Conn *c = t->c;
	Read read = httpserver__read(t);
	Exchange *x = c->exchange;

	if (httpserver__is_crowded(t->loop) && takes_memory(x, read)) {
		refuse_request(t, 503, "the requests in progress have all the memory");
		return 1;
	}
	switch (read) {
	case READ_NOTHING:
		return 0;
	case READ_MORE:
		if (c->proxied || httpreader__begun(&x->reader))
			c->input = c->input == INPUT_BODY ? INPUT_BODY : INPUT_HEAD;
		else if (!httpreader__has_cr(&x->reader)) /* empty lines (RFC 9112, 2.2) */
			httpserver__retire(t);
		break;
	case READ_PROXY:
		c->input = INPUT_IDLE;
		httpserver__retire(t);
		break;
	case READ_HEAD:
		c->input = httpreader__has_body(&x->reader) ? INPUT_BODY : INPUT_HANDLING;
		if (must_admit(x) && !httpserver__run_before(x))
			end_request(t);
		else if (awaits_invitation(t) && x->route)
			take_sent(t, httpserver__invite(t));
		else if (awaits_invitation(t)) { /* a request that no route takes is answered at once */
			x->ends = c->unread = 1;
			c->input = INPUT_HANDLING;
		}
		break;
	case READ_BODY:
		c->input = INPUT_HANDLING;
		break;
	case READ_WRONG:
		refuse_wrong(t);
		break;
	case READ_END:
		t->ended = 1;
		if (may_refuse(c)) {
			refuse_request(t, 400, "the connection ended within the request");
			break;
		} /* fall through */
	case READ_FAILED:
		t->dies = 1;
	}
	return 1;
}

static void queue_response(Turn *t)
{
	Conn *c = t->c;
	const Exchange *x = c->exchange;

	c->input = INPUT_IDLE;
	c->served = 1;
	c->clock = CLOCK_NONE;
	take_sent(t, httpserver__queue(t));
	if (x->ends)
		c->end = END_AFTER;
	if (c->output == OUTPUT_IDLE && !t->dies)
		httpserver__retire(t);
}

/* Runs the handler, or has a worker run it; queues the response that there is then. Returns 0 if it has to wait. */
static int answer(Turn *t)
{
	Exchange *x = t->c->exchange;

	if (!x->made && httpserver__is_over(t->loop))
		return 0;
	if (!x->made && x->route && x->route->is.blocks) {
		take_sent(t, httpserver__flush(t));
		if (t->dies)
			return 0;
		t->c->input = INPUT_SUSPENDED;
		httpserver__give_work(x);
		return 1;
	}
	if (!x->made)
		httpserver__handle(x);
	x->made = 1;
	queue_response(t);
	return 1;
}

/* Sends what waits, then the next part of a stream: one a turn. Returns 0 if it has to wait. */
static int send_on(Turn *t)
{
	Conn *c = t->c;
	Exchange *x = c->exchange;
	Sent sent = t->full ? SENT_SOME : httpserver__send(t);

	if (sent == SENT_SOME)
		return 0;
	if (sent == SENT_NEVER)
		t->dies = 1;
	else if (c->output == OUTPUT_STREAMING && x->response->more) {
		if (t->produced || httpserver__is_over(t->loop))
			return 0;
		c->clock = CLOCK_NONE;
		t->dies = !httpserver__produce(t);
	} else {
		c->output = OUTPUT_IDLE;
		if (x->answered) {
			httpserver__log_stream(t);
			httpserver__retire(t);
		}
	}
	return 1;
}

void httpserver__advance(Loop *l, Conn *c, Cause cause)
{
	Turn t __attribute__((cleanup(end_left_turn))) = { .loop = l, .c = c, .cause = cause };

	do
		TRY {
			int goes = c->end != END_DEAD;

			switch (t.raised ? CAUSE_RESUMED : cause) {
			case CAUSE_READABLE:
				if (c->end == END_LINGER)
					t.dies = !httpserver__discard(&t);
				else if (c->held > 0) /* its turn comes */
					goes = 0;
				break;
			case CAUSE_DEADLINE:
				if (!is_idle(c)) /* an idle one may have sent something while others had their turn */
					time_out(&t);
				break;
			case CAUSE_FINISHED:
				c->input = INPUT_HANDLING;
				t.dies = c->exchange->abandoned;
				break;
			case CAUSE_DRAIN:
				c->clock = CLOCK_NONE;
				break;
			case CAUSE_EVICTED:
				t.dies = 1;
				break;
			case CAUSE_WRITABLE: case CAUSE_RESUMED:
				break;
			}
			while (goes && !t.dies && c->end < END_LINGER)
				if (c->output != OUTPUT_IDLE)
					goes = send_on(&t);
				else if (c->end == END_AFTER)
					goes = 0;
				else
					switch ((Input)c->input) {
					case INPUT_IDLE: case INPUT_HEAD: case INPUT_BODY:
						goes = !httpserver__is_over(l) && read_on(&t);
						break;
					case INPUT_HANDLING:
						goes = answer(&t);
						break;
					case INPUT_SUSPENDED:
						goes = 0;
						break;
					}
			if (cause == CAUSE_DEADLINE && is_idle(c) && c->clock == CLOCK_IDLE)
				time_out(&t);
			if (!t.dies)
				take_sent(&t, httpserver__flush(&t));
			settle(&t);
			t.done = 1;
		} ELSE {
			end_raised(&t);
		} END_TRY;
	while (!t.done);
	if (c->end == END_DEAD && c->input != INPUT_SUSPENDED)
		reap(&t);
}
