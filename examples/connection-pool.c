/* SPDX-License-Identifier: MIT */
/* Connection pool: connections to a server are checked out, used and checked in. The arena of a
 * connection is cleared when it comes back. So a connection holds the memory of its largest use
 * and no more, however often it is used. The server is a thread of the program.
 *
 *   cc connection-pool.c -o connection-pool $(pkg-config --cflags --libs libcore) -pthread
 *   ./connection-pool */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>

enum { USES = 1000, PATIENCE = 5000 /* ms */ };

typedef struct Upstream {
	SocketPool_T pool;
	char service[8];
} Upstream;

/* The reply is in the connection's arena, which is cleared when the connection is checked in. */
static const char *ask(Connection_T c, const char *question)
{
	size_t n = strlen(question), got = 0;
	char *reply = Arena_calloc(Connection_arena(c), 1, n + 1);

	Socket_sendall(Connection_socket(c), question, n);
	while (got < n) {
		size_t more = Socket_recv(Connection_socket(c), reply + got, n - got);

		if (more == 0) /* the server has ended */
			RAISE_MSG(Socket_Closed, "the server closed after %zu of %zu bytes", got, n);
		got += more;
	}
	return reply;
}

/* A connection that failed in the middle of an exchange must not be used again. */
static int ask_once(Upstream *up, const char *question)
{
	Connection_T c = SocketPool_checkout(up->pool, "127.0.0.1", up->service, PATIENCE);
	int same = 0;

	PROTECT(same);
	TRY {
		same = strcmp(ask(c, question), question) == 0;
	} ELSE {
		SocketPool_discard(up->pool, c);
		RERAISE;
	} END_TRY;
	SocketPool_checkin(up->pool, c);
	return same;
}

static void *echo(void *cl) /* the server: one client, until it closes */
{
	Socket_T s = Socket_accept(cl);
	char buffer[256];

	TRY {
		size_t n;

		while ((n = Socket_recv(s, buffer, sizeof buffer)) > 0)
			Socket_sendall(s, buffer, n);
	} EXCEPT(Socket_Failed) {
		Except_report(stderr);
	} FINALLY {
		Socket_close(&s);
	} END_TRY;
	return NULL;
}

int main(void)
{
	Arena_T arena = Arena_new();
	Socket_T listener = Socket_listen("127.0.0.1", "0", 0);
	pthread_t thread;
	int i, right = 0;

	PROTECT(right);
	if (pthread_create(&thread, NULL, echo, listener) != 0)
		abort();
	TRY {
		Upstream up = { SocketPool_new(arena, 1, 0), "" };
		SocketPool_Stats stats;

		snprintf(up.service, sizeof up.service, "%d", Socket_port(listener));
		for (i = 0; i < USES; i++)
			right += ask_once(&up, "are you still there?");
		SocketPool_stats(up.pool, &stats);
		printf("%d answers over %zu connection, used again %zu times\n", right, stats.opened,
			stats.reused);
		SocketPool_report(up.pool, stdout); /* nothing is checked out */
	} FINALLY {
		Arena_dispose(&arena); /* closes the connection, so the server ends */
	} END_TRY;
	pthread_join(thread, NULL);
	Socket_close(&listener);
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
