/* SPDX-License-Identifier: MIT */
/* Redis through a pool: each connection logs in and chooses its database when it is opened, and
 * is used again after that. The arguments are host, port and password.
 *
 *   cc with-redis.c -o with-redis $(pkg-config --cflags --libs libcore)
 *   ./with-redis localhost 6379 password */
#include <stdlib.h>
#include <string.h>

#include <core/core.h>

enum { REPLY_BYTES = 256, PATIENCE = 5000 /* ms */, QUESTIONS = 100 };

EXCEPT_DEFINE(Redis_Failed, NULL, "redis");

/* Sends one command and returns the line that answers it. The connection owns the line until it is
 * checked in. */
static const char *ask(Connection_T c, const char *command)
{
	char *reply = Connection_buffer(c, NULL), *end = NULL;
	size_t n = 0, got = 1;

	Socket_sendall(Connection_socket(c), command, strlen(command));
	Socket_sendall(Connection_socket(c), "\r\n", 2);
	while (!end && got > 0 && n < REPLY_BYTES) {
		got = Socket_recv(Connection_socket(c), reply + n, REPLY_BYTES - n);
		n += got;
		end = memchr(reply, '\r', n);
	}
	if (!end)
		RAISE_MSG(Redis_Failed, "%zu bytes are no reply", n);
	*end = '\0';
	if (*reply == '-')
		RAISE_MSG(Redis_Failed, "%s", reply + 1);
	return reply + 1;
}

static void log_in(Connection_T c, void *password)
{
	ask(c, Arena_sprintf(Connection_arena(c), "AUTH %s", (const char *)password));
	ask(c, "SELECT 2");
}

/* An error that Redis reports leaves the connection in order; anything else does not. */
static int count(SocketPool_T pool, char **server, const char *command)
{
	Connection_T c = SocketPool_checkout(pool, server[0], server[1], PATIENCE);
	int n = 0;

	PROTECT(n);
	TRY {
		Socket_set_timeout(Connection_socket(c), PATIENCE);
		n = atoi(ask(c, command));
	} EXCEPT(Redis_Failed) {
		SocketPool_checkin(pool, c);
		RERAISE;
	} ELSE {
		SocketPool_discard(pool, c);
		RERAISE;
	} END_TRY;
	SocketPool_checkin(pool, c);
	return n;
}

int main(int argc, char **argv)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	SocketPool_T pool = SocketPool_new(arena, 4, REPLY_BYTES);
	SocketPool_Limits limits = { .on_open = log_in, .cl = "wrong" };
	SocketPool_Stats stats;
	int i, n = 0;

	PROTECT(n);
	if (argc < 4)
		return 2;
	SocketPool_set_limits(pool, &limits);
	TRY {
		count(pool, argv + 1, "INCR questions");
	} EXCEPT(Redis_Failed) {
		printf("wrong password: %.9s; connections inside: %zu\n", Except_message(),
			SocketPool_count(pool));
	} END_TRY;
	limits.cl = argv[3];
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < QUESTIONS; i++)
		n = count(pool, argv + 1, "INCR questions");
	TRY {
		count(pool, argv + 1, "INCR");
	} EXCEPT(Redis_Failed) {
		printf("%s\n", Except_message());
	} END_TRY;
	SocketPool_stats(pool, &stats);
	printf("%d questions, %zu connection opened, used again %zu times\n", n, stats.opened,
		stats.reused);
	return 0;
}
