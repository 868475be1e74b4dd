/* SPDX-License-Identifier: MIT */
/* A connection that leaves the server for another protocol. Once all of its 101 is out, it loses
 * its place. A function of the program gets the socket, in the handler's kind of thread. The
 * exchange lives until that function returns.
 *
 * The exchange has the socket in between. Whatever ends it before the function is called closes
 * the socket. */
#include "config.h"

#include "server/rep.h"

/* Bytes that were read ahead are for the next reader of the socket: what came first lies in the
 * turn. */
static void put_back_input(Turn *t)
{
	Conn *c = t->c;

	if (c->held > 0)
		socket__unread(c->socket,
			Connection_buffer(SocketPool_get(t->loop->pool, c->socket), NULL), c->held);
	if (t->used < t->n)
		socket__unread(c->socket, t->bytes + t->used, t->n - t->used);
	c->held = 0;
	t->used = t->n;
}

void httpserver__leave_server(Turn *t)
{
	Conn *c = t->c;

	put_back_input(t);
	Socket_set_nonblocking(c->socket, 1);
	t->upgraded = c->exchange;
	c->exchange = NULL;
	c->end = END_DEAD;
}

/* An exception of it is counted by the loop, when that has the exchange again. */
void httpserver__give_socket(Exchange *x)
{
	const struct HTTPUpgrade *upgrade = x->response->upgrade;
	Socket_T s = x->socket;

	x->socket = NULL;
	TRY {
		upgrade->take(s, upgrade->cl);
	} ELSE {
		x->dropped = 1;
	} END_TRY;
	httpserver__stay_parent(x->loop);
}

static void end_upgraded(void *cl)
{
	Exchange *x = cl;

	TRY {
		httpserver__count(&x->loop->stats.raised, x->dropped);
		httpserver__recycle(x);
	} ELSE {
		httpserver__count(&x->loop->stats.raised, 1);
	} END_TRY;
}

static void give_socket_here(Exchange *x)
{
	DEFER(end_upgraded, x);
	httpserver__give_socket(x);
}

void httpserver__start_upgraded(Exchange *x, Socket_T s)
{
	x->conn = NULL;
	x->socket = s;
	if (!x->route->is.blocks) {
		give_socket_here(x);
		return;
	}
	httpserver__give_work(x, CALL_TAKE, 0);
}
