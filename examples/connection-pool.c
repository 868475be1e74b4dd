/* SPDX-License-Identifier: MIT */
/* Connection pool: open connections wait to be used again; the arena of each is cleared when it comes
 * back, so a connection holds the memory of its largest use and no more, however often it is used. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <core/core.h>

enum { CONNECTIONS = 2, USES = 1000 };

typedef struct Upstream {
	SocketPool_T pool;
	Connection_T idle[CONNECTIONS];
	int nidle;
} Upstream;

/* The pool is about to change: a Connection_T that we keep might not be worth keeping. */
static void on_resize(SocketPool_T pool, void *cl)
{
	Upstream *up = cl;

	printf("resize: %zu connections inside, %d of them idle\n", SocketPool_count(pool), up->nidle);
}

static Connection_T check_out(Upstream *up)
{
	return up->idle[--up->nidle];
}

static void check_in(Upstream *up, Connection_T c)
{
	Arena_clear(Connection_arena(c));
	up->idle[up->nidle++] = c;
}

/* The reply is in the connection's arena: gone when the connection is checked in. */
static const char *ask(Connection_T c, const char *question)
{
	size_t n = strlen(question), got = 0;
	char *reply = Arena_calloc(Connection_arena(c), 1, n + 1);

	Socket_sendall(Connection_socket(c), question, n);
	while (got < n)
		got += Socket_recv(Connection_socket(c), reply + got, n - got);
	return reply;
}

static void *echo(void *cl) /* the other end */
{
	Socket_T s = cl;
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

static Connection_T open_connection(SocketPool_T pool, pthread_t *thread)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		RAISE_MSG(Socket_Failed, "socketpair");
	if (pthread_create(thread, NULL, echo, Socket_adopt(fd[1])) != 0)
		abort();
	return SocketPool_add(pool, Socket_adopt(fd[0]));
}

int main(void)
{
	Arena_T arena = Arena_new();
	pthread_t threads[CONNECTIONS];
	int i;

	TRY {
		Upstream up = { SocketPool_new(arena, CONNECTIONS, 0), { NULL }, 0 };
		size_t held;

		SocketPool_set_pre_resize_callback(up.pool, on_resize, &up);
		while (up.nidle < CONNECTIONS) {
			up.idle[up.nidle] = open_connection(up.pool, &threads[up.nidle]);
			up.nidle++;
		}
		SocketPool_resize(up.pool, 2 * CONNECTIONS);
		check_in(&up, check_out(&up));
		held = Arena_capacity(Connection_arena(up.idle[up.nidle - 1]));
		for (i = 0; i < USES; i++) {
			Connection_T c = check_out(&up);
			const char *reply = ask(c, "are you still there?");

			if (i == 0)
				printf("first reply: %s\n", reply);
			check_in(&up, c);
		}
		printf("after %d uses the connection holds %s\n", USES,
			Arena_capacity(Connection_arena(up.idle[up.nidle - 1])) == held ? "what it held at first" : "more");
	} FINALLY {
		Arena_dispose(&arena); /* closes the connections, so the echoes end */
	} END_TRY;
	for (i = 0; i < CONNECTIONS; i++)
		pthread_join(threads[i], NULL);
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
