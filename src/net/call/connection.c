/* SPDX-License-Identifier: MIT */
/* The connection of a call: it has one from its begin until its answer is whole, or until it
 * fails. Its messages name the server. */
#include "config.h"

#include "call/rep.h"

/* A Unix socket has no service. */
void httpcall__fail(HTTPCall_T call, const Except_T *e, const char *why)
{
	if (!call->pool)
		EXCEPT_RAISE_MSG(*e, "%s %s: %s", call->method, call->target, why);
	EXCEPT_RAISE_MSG(*e, "%s %s of %s%s%s: %s", call->method, call->target, call->host,
		*call->service ? ":" : "", call->service, why);
}

/* The parentheses keep the place of the checkout, which a leak report names, out of the
 * library. */
void httpcall__open_connection(HTTPCall_T call)
{
	call->connection = (SocketPool_checkout)(call->pool, call->host, call->service,
		socket__poll_ms(call->deadline));
	call->socket = Connection_socket(call->connection);
	call->stopped = 0;
}

void httpcall__release_connection(HTTPCall_T call, int reusable)
{
	Connection_T connection = call->connection;

	call->connection = NULL;
	call->socket = NULL;
	if (!connection)
		return;
	if (reusable)
		SocketPool_checkin(call->pool, connection);
	else
		SocketPool_discard(call->pool, connection);
}
