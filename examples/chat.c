/* SPDX-License-Identifier: MIT */
/* Chat: one thread, a thousand members. Each line of a member goes to all others. A slow reader
 * does not delay the others: bytes that the kernel does not take are queued, and the chat closes
 * the connection of a member whose queue is full. SIGTERM ends the chat.
 *
 *   cc chat.c -o chat $(pkg-config --cflags --libs libcore)
 *   ./chat 7000          then, in two other terminals: nc localhost 7000 */
#include <signal.h>
#include <string.h>
#include <core/core.h>

enum { MEMBERS = 1000, LINE_BYTES = 1024, QUEUE_BYTES = 64 * 1024 };

typedef struct Member { /* Connection_data, in the connection's arena */
	unsigned number;
	size_t length;  /* bytes of a line that is not complete */
} Member;

typedef struct Message {
	Connection_T from;
	int length;
	char line[LINE_BYTES + 32];
} Message;

static SocketPool_T pool;
static SocketPoll_T loop;
static volatile sig_atomic_t stopping;

static void stop(int number)
{
	stopping = number;
	SocketPoll_wake(loop);
}

static void put_out(Socket_T s)
{
	SocketPool_close(pool, &s); /* which takes it out of the loop, too */
}

static void deliver(Connection_T c, void *cl)
{
	const Message *m = cl;

	if (c != m->from) TRY {
		Connection_send(c, m->line, (size_t)m->length);
		if (Connection_pending(c) > 0)
			SocketPoll_change(loop, Connection_socket(c), SocketPoll_READ | SocketPoll_WRITE, c);
	} ELSE { /* too slow, or gone */
		put_out(Connection_socket(c));
	} END_TRY;
}

static void welcome(Socket_T listener)
{
	static unsigned numbers;
	int pause_ms;
	Connection_T c = SocketPool_accept(pool, listener, &pause_ms);

	if (c) {
		Member *member = CALLOC(Connection_arena(c), 1, sizeof *member);

		member->number = ++numbers;
		Connection_set_data(c, member);
		SocketPoll_add(loop, Connection_socket(c), SocketPoll_READ, c);
	} else if (pause_ms) { /* full, or no descriptors: to look again at once would be a spin */
		SocketPoll_change(loop, listener, 0, NULL);
		SocketPoll_set_deadline(loop, listener, pause_ms);
	}
}

/* Passes on each complete line. Returns 0 at the end of the connection or if a line is too long. */
static int hear(Connection_T c)
{
	Member *member = Connection_data(c);
	char *buffer = Connection_buffer(c, NULL), *end;
	size_t n =
		Socket_recv(Connection_socket(c), buffer + member->length, LINE_BYTES - member->length);

	member->length += n;
	while ((end = memchr(buffer, '\n', member->length)) != NULL) {
		Message m = { .from = c };
		int used = (int)(end + 1 - buffer);

		m.length = snprintf(m.line, sizeof m.line, "%u: %.*s", member->number, used, buffer);
		SocketPool_map(pool, deliver, &m);
		memmove(buffer, end + 1, member->length -= (size_t)used);
	}
	return n > 0 && member->length < LINE_BYTES;
}

static void handle(const SocketPoll_Event *e)
{
	TRY {
		if (!e->data && e->events & SocketPoll_TIMEOUT)
			SocketPoll_change(loop, e->socket, SocketPoll_READ, NULL);
		else if (!e->data)
			welcome(e->socket);
		else if (e->events & SocketPoll_WRITE && Connection_flush(e->data))
			SocketPoll_change(loop, e->socket, SocketPoll_READ, e->data);
		else if (e->events & SocketPoll_READ && !hear(e->data))
			put_out(e->socket);
	} EXCEPT(Socket_Failed) {
		if (e->data)
			put_out(e->socket);
	} END_TRY;
}

int main(int argc, char **argv)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	AUTO(Socket_T, listener, Socket_close) = Socket_listen(NULL, argc > 1 ? argv[1] : "0", MEMBERS);

	pool = SocketPool_new(arena, MEMBERS, LINE_BYTES);
	SocketPool_set_limits(pool, &(SocketPool_Limits){ .output_bytes = QUEUE_BYTES });
	loop = SocketPoll_new(arena);
	Socket_set_nonblocking(listener, 1);
	SocketPoll_add(loop, listener, SocketPoll_READ, NULL);
	signal(SIGTERM, stop);
	fprintf(stderr, "port %d\n", Socket_port(listener));
	for (SocketPoll_Event e; !stopping; )
		if (SocketPoll_wait(loop, &e, 1, -1) > 0)
			handle(&e);
	return 0;
}
