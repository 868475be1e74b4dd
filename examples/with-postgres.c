/* SPDX-License-Identifier: MIT */
/* PostgreSQL through a pool, by its own protocol: each connection starts its session when it is
 * opened (on_open), and answers questions after that. The arguments are host, port and user. The
 * server must trust that user.
 *
 *   cc with-postgres.c -o with-postgres $(pkg-config --cflags --libs libcore)
 *   ./with-postgres localhost 5432 postgres */
#include <arpa/inet.h>
#include <string.h>

#include <core/core.h>

enum { MESSAGE_BYTES = 8192, PATIENCE = 5000 /* ms */, QUESTIONS = 100, PROTOCOL = 3 << 16 };

EXCEPT_DEFINE(Postgres_Failed, NULL, "postgres");

static uint32_t number_at(const char *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof n);
	return ntohl(n);
}

static void receive(Connection_T c, char *to, size_t nbytes)
{
	while (nbytes > 0) {
		size_t n = Socket_recv(Connection_socket(c), to, nbytes);

		if (n == 0)
			RAISE_MSG(Socket_Closed, "the server has closed");
		to += n;
		nbytes -= n;
	}
}

/* A type, which is 0 in the first message; the length of the rest, itself included; the rest. */
static void send_message(Connection_T c, char type, const char *body, size_t nbytes)
{
	uint32_t length = htonl((uint32_t)nbytes + 4);
	struct iovec parts[3] = { { &type, type != 0 }, { &length, 4 },
		{ (void *)(uintptr_t)body, nbytes } };

	Socket_sendv(Connection_socket(c), parts, 3);
}

/* Returns the type; the body is in the connection's buffer, and a NUL behind it. */
static char receive_message(Connection_T c)
{
	char head[5], *body = Connection_buffer(c, NULL);
	size_t n;

	receive(c, head, sizeof head);
	n = number_at(head + 1) - 4;
	if (n >= MESSAGE_BYTES)
		RAISE_MSG(Postgres_Failed, "a message of %zu bytes is too long", n);
	receive(c, body, n);
	body[n] = '\0';
	return head[0];
}

/* Reads up to ReadyForQuery. Returns the first column of the last row, in the arena of the
 * connection. */
static const char *await_ready(Connection_T c)
{
	const char *value = NULL, *error = NULL, *body = Connection_buffer(c, NULL);
	char type;

	while ((type = receive_message(c)) != 'Z')
		if (type == 'D') /* columns, the length of the first, the first */
			value = Arena_strndup(Connection_arena(c), body + 6, number_at(body + 2));
		else if (type == 'E') { /* fields of a letter and a text: severity, ..., Message */
			int is_fatal = strcmp(body + 1, "FATAL") == 0;

			while (*body && *body != 'M')
				body += strlen(body) + 1;
			error = Arena_strdup(Connection_arena(c), body + 1);
			body = Connection_buffer(c, NULL);
			if (is_fatal) /* nothing follows */
				break;
		}
	if (error)
		RAISE_MSG(Postgres_Failed, "%s", error);
	return value;
}

static void start_session(Connection_T c, void *user)
{
	uint32_t protocol = htonl(PROTOCOL);
	char body[128];
	size_t n = 4
		+ (size_t)snprintf(body + 4, sizeof body - 4, "user%c%s%cdatabase%cpostgres%c", 0,
			(char *)user, 0, 0, 0);

	memcpy(body, &protocol, 4);
	body[n++] = '\0';
	send_message(c, 0, body, n);
	await_ready(c);
}

static void ask(SocketPool_T pool, char **server, const char *question, char *answer, size_t size)
{
	Connection_T c = SocketPool_checkout(pool, server[0], server[1], PATIENCE);

	TRY {
		Socket_set_timeout(Connection_socket(c), PATIENCE);
		send_message(c, 'Q', question, strlen(question) + 1);
		snprintf(answer, size, "%s", await_ready(c));
	} ELSE {
		SocketPool_discard(pool, c);
		RERAISE;
	} END_TRY;
	SocketPool_checkin(pool, c);
}

int main(int argc, char **argv)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	SocketPool_T pool = SocketPool_new(arena, 4, MESSAGE_BYTES);
	SocketPool_Limits limits = { .on_open = start_session, .cl = argv[argc - 1] };
	char answer[64] = "", question[64];
	SocketPool_Stats stats;
	int i;

	if (argc < 4)
		return 2;
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < QUESTIONS; i++) {
		snprintf(question, sizeof question, "SELECT %d * %d", i, i);
		ask(pool, argv + 1, question, answer, sizeof answer);
	}
	TRY {
		ask(pool, argv + 1, "SELECT * FROM nowhere", answer, sizeof answer);
	} EXCEPT(Postgres_Failed) {
		printf("%s\n", Except_message());
	} END_TRY;
	SocketPool_stats(pool, &stats);
	printf("%s; %zu connection opened, used again %zu times\n", answer, stats.opened, stats.reused);
	return 0;
}
