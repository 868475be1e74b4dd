/* SPDX-License-Identifier: MIT */
/* The sockets that the program takes over from the server, behind a 101. */
#include "config.h"

#include <stdlib.h>

#include <core/core.h>
#include "server.h"

enum { TUNNEL_MS = 10 };

static int tunnels;

int tunnel_count(void)
{
	return tunnels;
}

void tunnel_reset(void)
{
	tunnels = 0;
}

typedef struct Tunnel {
	Socket_T socket;
	Request *request;
} Tunnel;

/* Reads the bytes behind the request, then answers. */
static void talk(Socket_T s, const Request *r)
{
	char bytes[100];
	size_t got = 0, n, i, left;

	Socket_set_nonblocking(s, 0);
	Socket_set_timeout(s, TUNNEL_MS);
	for (left = 4; left > 0 && got < r->body; left--, got += n) {
		n = Socket_recv(s, bytes, sizeof bytes);
		if (n == 0)
			return;
		for (i = 0; i < n; i++)
			SIM_CHECK(bytes[i] == body_byte(r->id, got + i),
				"request %d: byte %zu behind it is wrong", r->id, got + i);
	}
	n = r->size < sizeof bytes ? r->size : sizeof bytes;
	for (i = 0; i < n; i++)
		bytes[i] = body_byte(r->id, i);
	Socket_send(s, bytes, n);
}

static void run_tunnel(void *cl)
{
	Tunnel *t = cl;

	TRY {
		talk(t->socket, t->request);
	} ELSE {
	} END_TRY;
	Socket_close(&t->socket);
	tunnels--;
	free(t);
}

void tunnel_take(Socket_T s, void *cl)
{
	Request *r = cl;
	Tunnel *t = sim_alloc(sizeof *t);

	SIM_CHECK(r->taken++ == 0, "the socket of request %d is given twice", r->id);
	SIM_CHECK(client_of(r)->upgraded, "the socket of request %d is given before its 101 is out",
		r->id);
	*t = (Tunnel){ s, r };
	tunnels++;
	if (r->blocks)
		run_tunnel(t);
	else
		task_start("tunnel", run_tunnel, t);
}
