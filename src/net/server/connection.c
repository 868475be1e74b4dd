/* SPDX-License-Identifier: MIT */
/* A connection's life: httpserver__advance, and what it needs to begin, wait and end. Its picture
 * is docs/pictures/connection.svg; docs/design.md gives the reasons.
 *
 * Invariants. Requests are read only while the output is idle. An exchange belongs to the input
 * until its response is queued, and to the output until all of the response is sent. While the
 * input or the output is suspended, its holder is not the loop. An idle connection has no buffer.
 * It has no exchange, except one that has seen the CR of an empty line. */
#include "config.h"

#include <string.h>

#include "server/rep.h"

enum { EXPLANATION = 512 };

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

/* Reads first: the request is often there already, and sometimes the end of the stream. Only after
 * that is the kernel asked to watch the socket. */
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

/* Exceptions of the arena's deferred calls come too late for the response. */
static void abandon_last(Turn *t)
{
	Exchange *x = t->c->exchange;

	t->c->exchange = NULL;
	TRY {
		httpserver__abandon(x);
	} ELSE {
		httpserver__count(&t->loop->stats.raised, 1);
	} END_TRY;
}

static void reap_connection(Turn *t)
{
	Loop *l = t->loop;
	Conn *c = t->c;
	Socket_T s = c->socket;

	unlist_idle(l, c);
	if (c->exchange)
		abandon_last(t);
	if (c->name) {
		c->name->next = l->spare_names;
		l->spare_names = c->name;
	}
	count_conns(l, -1);
	/* Its place is free now, its descriptor when the tick ends. */
	SocketPool_remove(l->pool, c->socket);
	if (t->upgraded)
		SocketPoll_remove(l->poll, s);
	else
		SocketPoll_close(l->poll, &s);
	c->socket = NULL;
	if (c->ready)
		return;
	c->next = l->spare_conns;
	l->spare_conns = c;
}

/* Runs if the thread ends amid a turn: a callback called pthread_exit(3), was cancelled, or a C++
 * exception passes. */
static void end_left_turn(Turn *t)
{
	if (t->done)
		return;
	t->c->end = END_DEAD;
	list_ready(t->loop, t->c);
}

/* ---- waiting ---- */

/* While a worker has the exchange, input waits. The socket is watched on until some comes: most
 * often none does, and two system calls are saved. */
static unsigned events_of_suspended(Turn *t)
{
	Conn *c = t->c;

	if (httpserver__is_parked(c))
		return c->held < t->loop->server->options.pipeline_bytes ? SocketPoll_READ : 0;
	return t->must_wait ? 0 : c->events & SocketPoll_READ;
}

static void set_events(Turn *t)
{
	Conn *c = t->c;
	unsigned events = SocketPoll_READ;

	if (c->end == END_DEAD)
		events = 0;
	else if (c->output == OUTPUT_SENDING || c->output == OUTPUT_STREAMING)
		events = SocketPoll_WRITE;
	else if (c->output == OUTPUT_SUSPENDED || c->input == INPUT_SUSPENDED)
		events = events_of_suspended(t);
	if (events != c->events)
		SocketPoll_change(t->loop->poll, c->socket, events, c);
	c->events = events & 3;
}

/* While we were sending, or another thread had the exchange, the socket was not read. Closing it
 * with unread input resets the connection, and the reset may overtake the response (RFC 9112, 9.6).
 * The end of the stream counts as input. */
static int has_unread(Turn *t)
{
	Conn *c = t->c;

	if (t->ended)
		return 0;
	if (c->unread || c->held > 0 || t->used < t->n)
		return 1;
	return t->cause != CAUSE_READABLE && t->cause != CAUSE_RESUMED && socket__wait(c->socket, 0, 0);
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

/* Its last response may have promised another request. If that response was sent in this turn, its
 * end may still be on its way when the request comes, which must not reset the connection. One that
 * is on the list of the idle has sent nothing in this turn. */
static void end_idle_in_drain(Turn *t)
{
	t->c->unread = t->c->idle == 0;
	t->c->end = END_AFTER;
}

/* Leaves the connection as it is to wait. */
static void settle_connection(Turn *t)
{
	Loop *l = t->loop;
	Conn *c = t->c;
	int idle;

	if (c->end == END_OPEN)
		httpserver__hold(t);
	if (l->draining && c->served && is_idle(c))
		end_idle_in_drain(t);
	if (c->end == END_AFTER && c->output == OUTPUT_IDLE)
		end_after_output(t);
	idle = is_idle(c);
	if (l->draining && !httpserver__is_held_by(c, HOLDER_WORKER) && httpserver__is_over(l))
		t->dies = 1;
	if (t->dies)
		c->end = END_DEAD;
	if (c->end == END_DEAD && !httpserver__is_held_by(c, HOLDER_WORKER))
		return;
	if (c->held > 0 && c->end == END_OPEN
			&& c->output == OUTPUT_IDLE && c->input != INPUT_SUSPENDED)
		list_ready(l, c);
	if (c->buffered && c->held == 0) {
		c->buffered = 0;
		Connection_rest(SocketPool_get(l->pool, c->socket));
	}
	set_events(t);
	if (httpserver__set_clock(t) || !idle)
		unlist_idle(l, c);
	if (idle && !c->idle && !c->ready) {
		c->idle = 1;
		httpserver__append(&l->idle, c);
	}
}

/* ---- the life ---- */

/* For the log. It may lack the memory. */
static void keep_request_line(HTTPReader *r)
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
	httpserver__refuse(t, r->parser.status, text);
	if (t->loop->server->options.log)
		keep_request_line(&t->c->exchange->reader);
}

/* Handles an exception of a turn. Without an exchange, the exception came before a request or after
 * a response: queued output is still sent. */
static void end_raised(Turn *t)
{
	Conn *c = t->c;
	Exchange *x = c->exchange;

	if (t->raised++ > 0 || (x && (x->answered || x->holder != HOLDER_LOOP))
			|| c->output != OUTPUT_IDLE) {
		t->dies = 1;
	} else if (x) {
		httpserver__count(&t->loop->stats.refused, 1);
		httpserver__answer_raised(x);
		httpserver__end_request(t);
	} else {
		httpserver__count(&t->loop->stats.raised, 1);
		c->end = END_AFTER;
		c->unread = 1;
	}
}

/* Returns 1 if the program's `before` must run ahead of the body. It must if the route takes the
 * body in parts, or if the client waits for an invitation. */
static int must_admit(const Exchange *x)
{
	return x->loop->server->options.before && x->route
		&& (x->route->is.body || httpreader__awaits(&x->reader));
}

/* Requests that have begun are refused, everything else is closed without a word. */
static int may_refuse(const Conn *c)
{
	return c->end == END_OPEN && c->output == OUTPUT_IDLE && !c->proxied
		&& (c->input == INPUT_HEAD || c->input == INPUT_BODY);
}

static void time_out(Turn *t)
{
	Conn *c = t->c;

	httpserver__count(&t->loop->stats.timed_out, 1);
	if (httpserver__is_held_by(c, HOLDER_PROGRAM))
		httpserver__give_up(t, 504, "the answer took too long");
	else if (may_refuse(t->c))
		httpserver__refuse(t, 408, t->c->input == INPUT_HEAD
			? "the head of the request took too long" : "the body of the request took too long");
	else
		t->dies = 1;
}

/* A request whose head is whole, or of whose body a part was kept. */
static int takes_memory(const Exchange *x, Read read)
{
	return read == READ_HEAD || (x && x->reader.in_body && !x->reader.take
		&& (read == READ_MORE || read == READ_BODY));
}

static void queue_response(Turn *t)
{
	Conn *c = t->c;
	const Exchange *x = c->exchange;

	c->input = INPUT_IDLE;
	c->served = 1;
	c->clock = CLOCK_OVER;
	httpserver__take_sent(t, httpserver__queue(t));
	if (x->ends)
		c->end = END_AFTER;
	if (c->output == OUTPUT_IDLE && !t->dies)
		httpserver__retire(t);
}

/* All of the request was read, or its response is made. Runs the handler, or has a worker run it,
 * and queues the response if there is one then. Returns 0 if the connection has to wait. */
static int answer_request(Turn *t)
{
	Exchange *x = t->c->exchange;

	t->c->input = INPUT_HANDLING;
	if (!x->made && httpserver__is_over(t->loop))
		return 0;
	if (!x->made && x->route && x->route->is.blocks)
		return httpserver__call_in_worker(t, CALL_HANDLER);
	if (!x->made) {
		httpserver__handle(x);
		if (httpserver__is_suspended(x))
			return httpserver__finish_call(t);
	}
	x->made = 1;
	queue_response(t);
	return 1;
}

/* Returns 0 if it has to wait. */
static int read_input(Turn *t)
{
	Conn *c = t->c;
	Read read = httpserver__read(t);
	Exchange *x = c->exchange;

	if (httpserver__is_crowded(t->loop) && takes_memory(x, read)) {
		httpserver__refuse(t, 503, "the requests in progress have all the memory");
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
		if (!httpreader__has_body(&x->reader))
			return answer_request(t);
		if (!must_admit(x))
			httpserver__admit(t);
		else if (x->route->is.blocks)
			return httpserver__call_in_worker(t, CALL_BEFORE);
		else if (httpserver__run_before(x))
			httpserver__admit(t);
		else
			httpserver__end_request(t);
		break;
	case READ_BODY:
		return answer_request(t);
	case READ_PART:
		return x->route->is.blocks
			? httpserver__call_in_worker(t, CALL_BODY) : httpserver__finish_call(t);
	case READ_WRONG:
		refuse_wrong(t);
		break;
	case READ_END:
		t->ended = 1;
		if (may_refuse(c)) {
			httpserver__refuse(t, 400, "the connection ended within the request");
			break;
		} /* fall through */
	case READ_FAILED:
		t->dies = 1;
	}
	return 1;
}

/* Sends what waits, then the next part of a stream: one a turn. Returns 0 if it has to wait. */
static int send_output(Turn *t)
{
	Conn *c = t->c;
	Exchange *x = c->exchange;
	Sent sent = t->full ? SENT_SOME : httpserver__send(t);

	if (sent == SENT_SOME)
		return 0;
	if (sent == SENT_NEVER)
		t->dies = 1;
	else if (c->output == OUTPUT_STREAMING && x->response->more) {
		c->clock = CLOCK_OVER;
		if (x->response->suspended) {
			c->output = OUTPUT_SUSPENDED;
			return httpserver__suspend(t);
		}
		if (t->produced || httpserver__is_over(t->loop))
			return 0;
		if (x->route->is.blocks)
			return httpserver__call_in_worker(t, CALL_MORE);
		httpserver__produce(x);
		return httpserver__finish_call(t);
	} else if (x->answered && UNLIKELY(x->framing.upgrades)) {
		httpserver__leave_server(t);
		return 0;
	} else {
		c->output = OUTPUT_IDLE;
		c->clock = CLOCK_OVER; /* 100 Continue may be next, with a time of its own */
		if (x->answered) {
			httpserver__log_stream(x);
			httpserver__retire(t);
		}
	}
	return 1;
}

/* The next step of the input, while the output is idle. Returns 0 if the input has to wait. */
static int take_input(Turn *t)
{
	switch ((Input)t->c->input) {
	case INPUT_IDLE:
		if (t->received && t->used == t->n) /* a turn receives once */
			return 0;
		/* fall through */
	case INPUT_HEAD: case INPUT_BODY:
		return !httpserver__is_over(t->loop) && read_input(t);
	case INPUT_HANDLING:
		return answer_request(t);
	case INPUT_SUSPENDED:
		return httpserver__wait_for_holder(t);
	}
	CORRUPT("a connection's input");
}

void httpserver__advance(Loop *l, Conn *c, Cause cause)
{
	Turn t __attribute__((cleanup(end_left_turn))) = { .loop = l, .c = c, .cause = cause };
	Socket_T s = c->socket;

	do
		TRY {
			int goes = c->end != END_DEAD;

			switch (t.raised ? CAUSE_RESUMED : cause) {
			case CAUSE_READABLE:
				if (c->end == END_LINGER)
					t.dies = !httpserver__discard(&t);
				else if (httpserver__is_parked(c))
					t.dies = !httpserver__read_ahead(&t);
				else if (httpserver__is_held_by(c, HOLDER_WORKER))
					t.must_wait = 1;
				else if (c->held > 0) /* its turn comes */
					goes = 0;
				break;
			case CAUSE_DEADLINE:
				if (!is_idle(c)) /* an idle one may have sent something during other turns */
					time_out(&t);
				break;
			case CAUSE_FINISHED:
				if (c->exchange->holder == HOLDER_WORKER)
					httpserver__finish_call(&t);
				else
					httpserver__go_on(&t);
				break;
			case CAUSE_DRAIN:
				c->clock = CLOCK_OVER;
				break;
			case CAUSE_EVICTED:
				t.dies = 1;
				break;
			case CAUSE_WRITABLE: case CAUSE_RESUMED:
				break;
			}
			while (goes && !t.dies && c->end < END_LINGER)
				switch ((Output)c->output) {
				case OUTPUT_IDLE:
					goes = c->end == END_OPEN && take_input(&t);
					break;
				case OUTPUT_SENDING: case OUTPUT_STREAMING:
					goes = send_output(&t);
					break;
				case OUTPUT_SUSPENDED:
					goes = httpserver__wait_for_holder(&t);
					break;
				}
			if (cause == CAUSE_DEADLINE && is_idle(c) && c->clock == CLOCK_IDLE)
				time_out(&t);
			if (!t.dies)
				httpserver__take_sent(&t, httpserver__flush(&t));
			settle_connection(&t);
			t.done = 1;
		} ELSE {
			end_raised(&t);
		} END_TRY;
	while (!t.done);
	if (c->end == END_DEAD && !httpserver__is_held_by(c, HOLDER_WORKER))
		reap_connection(&t);
	if (t.upgraded)
		httpserver__start_upgraded(t.upgraded, s);
}
