/* SPDX-License-Identifier: MIT */
/* Event loop: one thread, many connections. Each task (here: one line, turned to upper case) gets
 * an arena and disposes of it before the loop goes on. The bytes of an incomplete line wait in
 * the connection's buffer. The clients are two sockets of the program itself.
 *
 *   cc event-loop.c -o event-loop $(pkg-config --cflags --libs libcore)
 *   ./event-loop */
#include <ctype.h>
#include <string.h>
#include <sys/socket.h>

#include <core/core.h>

enum { CLIENTS = 2, LINE_MAX_BYTES = 512, PATIENCE = 10 * 1000 /* ms */ };

typedef struct Partial { /* Connection_data: how much of the buffer is filled */
	size_t length;
} Partial;

/* One task, in its own arena. */
static void answer(Socket_T client, const char *line, size_t n)
{
	Arena_T arena = Arena_new();

	TRY {
		char *reply = Arena_strndup(arena, line, n);
		size_t i;

		for (i = 0; i < n; i++)
			reply[i] = (char)toupper((unsigned char)reply[i]);
		Socket_sendall(client, reply, n);
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
}

static void answer_lines(Connection_T c, char *buffer, Partial *partial)
{
	char *end;

	while ((end = memchr(buffer, '\n', partial->length)) != NULL) {
		size_t n = (size_t)(end + 1 - buffer);

		answer(Connection_socket(c), buffer, n);
		partial->length -= n;
		memmove(buffer, end + 1, partial->length);
	}
}

/* 0 at the end of the connection */
static int on_readable(Connection_T c)
{
	Partial *partial = Connection_data(c);
	size_t room, n;
	char *buffer = Connection_buffer(c, &room);

	if (partial->length == room)
		return 0; /* a line longer than we promise to take */
	n = Socket_recv(Connection_socket(c), buffer + partial->length, room - partial->length);
	partial->length += n;
	answer_lines(c, buffer, partial);
	return n > 0;
}

static void handle(SocketPoll_T loop, SocketPool_T pool, SocketPoll_Event *e)
{
	if (e->events & SocketPoll_TIMEOUT || !on_readable(SocketPool_get(pool, e->socket)))
		SocketPool_close(pool, &e->socket); /* which takes it out of the loop, too */
	else
		SocketPoll_set_deadline(loop, e->socket, PATIENCE);
}

static void run(SocketPoll_T loop, SocketPool_T pool)
{
	SocketPoll_Event e;

	while (SocketPoll_count(loop) > 0)
		if (SocketPoll_wait(loop, &e, 1, -1) > 0)
			handle(loop, pool, &e);
}

static Socket_T client(Arena_T arena, SocketPoll_T loop, SocketPool_T pool)
{
	int fd[2];
	Socket_T server_side;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		RAISE_MSG(Socket_Failed, "socketpair");
	server_side = Socket_adopt(fd[0]);
	Connection_set_data(SocketPool_add(pool, server_side), CALLOC(arena, 1, sizeof(Partial)));
	SocketPoll_add(loop, server_side, SocketPoll_READ, NULL);
	SocketPoll_set_deadline(loop, server_side, PATIENCE);
	return Socket_adopt(fd[1]);
}

static void show(Socket_T s)
{
	char line[LINE_MAX_BYTES];
	size_t n;

	while ((n = Socket_recv(s, line, sizeof line)) > 0)
		printf("%.*s", (int)n, line);
}

int main(void)
{
	Arena_T arena = Arena_new();

	TRY {
		SocketPool_T pool = SocketPool_new(arena, CLIENTS, LINE_MAX_BYTES);
		SocketPoll_T loop = SocketPoll_new(arena);
		AUTO(Socket_T, ada, Socket_close) = client(arena, loop, pool);
		AUTO(Socket_T, grace, Socket_close) = client(arena, loop, pool);

		Socket_sendall(ada, "one ev", 6);
		Socket_sendall(grace, "many connections\n", 17);
		Socket_sendall(ada, "ent loop\n", 9);
		Socket_shutdown(ada);
		Socket_shutdown(grace);
		run(loop, pool);
		show(ada);
		show(grace);
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
