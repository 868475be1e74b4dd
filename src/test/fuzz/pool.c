/* SPDX-License-Identifier: MIT */
/* Calls of SocketPool beside a model: on one pool connections that were added, on another those
 * that were checked out, to a listener of this process. Callbacks raise, memory fails and peers
 * leave when the input says so. At the end no descriptor is lost. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <core/SocketPool.h>

#include "fuzz.h"

enum { ADDED = 24, OUT = 8, PEERS = 64, CLOSED_MS = 20000 };

EXCEPT_DEFINE(Refused, NULL, "a callback refuses");

static struct {
	SocketPool_T pool;
	Socket_T sockets[ADDED]; /* NULL: none */
	Connection_T connections[ADDED]; /* NULL: the socket is not inside */
	int peers[ADDED];
	size_t length, capacity;
} server;

static struct {
	SocketPool_T pool;
	Connection_T out[OUT];   /* checked out */
	size_t nout;
	Socket_T peers[PEERS];   /* accepted; NULL: closed */
	size_t npeers;
} client;

static Socket_T listener;
static char address[64];
static int fails, refuses;

static void before_resize(SocketPool_T pool, void *cl)
{
	(void)cl;
	require(SocketPool_count(pool) == server.length
		&& SocketPool_capacity(pool) == server.capacity);
	if (refuses)
		RAISE(Refused);
}

static void on_open(Connection_T c, void *cl)
{
	(void)cl;
	require(!Connection_data(c));
	if (refuses)
		RAISE(Refused);
	Connection_set_data(c, &client);
}

static void refuse_deferred(void *cl)
{
	(void)cl;
	RAISE(Refused);
}

static void check_connection(Connection_T c, void *cl)
{
	size_t *seen = cl;
	unsigned i;

	for (i = 0; i < ADDED && server.connections[i] != c; i++)
		;
	require(i < ADDED && Connection_socket(c) == server.sockets[i]
		&& Connection_data(c) == &server.peers[i]);
	require(Connection_active(c));
	++*seen;
}

static void check_server(void)
{
	SocketPool_Stats stats;
	size_t seen = 0;

	SocketPool_map(server.pool, check_connection, &seen);
	require(seen == server.length && SocketPool_count(server.pool) == server.length);
	SocketPool_stats(server.pool, &stats);
	require(stats.count == server.length && stats.capacity == server.capacity
		&& stats.peak >= stats.count);
}

static void make_socket(unsigned i)
{
	int ends[2];

	if (server.sockets[i])
		return;
	require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	server.peers[i] = ends[1];
	TRY {
		server.sockets[i] = Socket_adopt(ends[0]);
	} ELSE {
		close(ends[0]);
		close(ends[1]);
		RERAISE;
	} END_TRY;
}

/* The socket has left the pool, and is closed unless it is the caller's again. Its end may come
 * later: a process that looks through /proc holds the file for a moment. */
static void forget_added(unsigned i, int is_closed)
{
	struct pollfd peer = { .fd = server.peers[i], .events = POLLIN };
	char byte;
	ssize_t n = 1;

	if (server.connections[i])
		server.length--;
	server.connections[i] = NULL;
	if (!is_closed)
		return;
	while (n > 0 && poll(&peer, 1, CLOSED_MS) == 1) /* what was sent, then the end */
		n = recv(peer.fd, &byte, 1, 0);
	if (n < 0)
		perror("the other end of a closed socket");
	require(n == 0);
	server.sockets[i] = NULL;
	close(server.peers[i]);
}

static void add(unsigned i)
{
	Connection_T c;

	make_socket(i);
	if (server.connections[i])
		return;
	c = SocketPool_add(server.pool, server.sockets[i]);
	require(!c == (server.length == server.capacity));
	if (c) {
		server.connections[i] = c;
		server.length++;
		Connection_set_data(c, &server.peers[i]);
	}
}

static void close_added(unsigned i, unsigned how)
{
	Socket_T s = server.sockets[i];

	if (!s || (!server.connections[i] && how != 1))
		return;
	TRY {
		if (how == 0)
			SocketPool_close(server.pool, &s);
		else if (how == 1)
			Socket_close(&s);
		else
			require(SocketPool_remove(server.pool, s) == s);
	} FINALLY {
		forget_added(i, how < 2);
	} END_TRY;
}

static void use(unsigned i, Input *in)
{
	Connection_T c = server.connections[i];
	size_t n = 1 + take(in);
	char *bytes;

	if (!c)
		return;
	switch (take_below(in, 6)) {
	case 0:
		memset(Arena_alloc(Connection_arena(c), n), 1, n);
		break;
	case 1:
		if (n % 8 == 0)
			Arena_defer(Connection_arena(c), refuse_deferred, NULL);
		break;
	case 2:
		bytes = Connection_buffer(c, &n);
		require(n == 64);
		memset(bytes, 2, n);
		break;
	case 3:
		bytes = calloc(n, 400);
		TRY {
			Connection_send(c, bytes, n * 400);
		} FINALLY {
			free(bytes);
		} END_TRY;
		break;
	case 4:
		require(Connection_flush(c) == (Connection_pending(c) == 0));
		break;
	default:
		Connection_rest(c);
		Connection_touch(c);
	}
}

static void resize(size_t max)
{
	size_t before = server.capacity;

	TRY {
		SocketPool_resize(server.pool, max);
		server.capacity = max;
		require(max >= server.length);
	} EXCEPT(SocketPool_Failed) {
		require(max < server.length);
	} END_TRY;
	require(SocketPool_capacity(server.pool) == server.capacity
		&& (server.capacity == max || server.capacity == before));
}

static void accept_peers(void)
{
	Socket_T peer;

	while (client.npeers < PEERS && (peer = Socket_accept(listener)))
		client.peers[client.npeers++] = peer;
}

static void check_out(unsigned how)
{
	Connection_T c;

	if (client.nout == OUT || client.npeers == PEERS)
		return;
	c = how % 2 ? SocketPool_try_checkout(client.pool, address, NULL)
		: SocketPool_checkout(client.pool, address, NULL, 0);
	if (c) {
		require(Connection_data(c) == &client);
		client.out[client.nout++] = c;
	}
	accept_peers();
}

static void check_in(unsigned i, int discards)
{
	Connection_T c;

	if (client.nout == 0)
		return;
	i %= client.nout;
	c = client.out[i];
	client.out[i] = client.out[--client.nout];
	if (discards)
		SocketPool_discard(client.pool, c);
	else
		SocketPool_checkin(client.pool, c);
}

static void limit_client(Input *in)
{
	SocketPool_Limits limits = { .on_open = on_open, .hold_ms = 1 };

	limits.max_idle = take_below(in, 4);
	limits.uses = (int)take_below(in, 4);
	limits.output_bytes = 1000;
	SocketPool_set_limits(client.pool, &limits);
}

static void check_client(void)
{
	SocketPool_Stats stats;

	SocketPool_stats(client.pool, &stats);
	require(stats.checked_out == client.nout && stats.count == stats.checked_out + stats.idle
		&& stats.waiting == 0);
}

static void step(Input *in)
{
	unsigned what = take(in), i = take(in);

	fails = what >= 0xe0;
	refuses = what >= 0xc0 && what < 0xe0;
	switch (what % 12) {
	case 0: case 1: case 2:
		add(i % ADDED);
		break;
	case 3:
		close_added(i % ADDED, i / ADDED % 3);
		break;
	case 4:
		use(i % ADDED, in);
		break;
	case 5:
		resize(1 + i % ADDED);
		break;
	case 6:
		i %= ADDED;
		require(server.connections[i]
			== (server.sockets[i] ? SocketPool_get(server.pool, server.sockets[i]) : NULL));
		break;
	case 7: case 8:
		check_out(i);
		break;
	case 9:
		check_in(i / 2, (int)(i % 2));
		break;
	case 10:
		if (client.npeers > 0 && client.peers[i % client.npeers])
			Socket_close(&client.peers[i % client.npeers]);
		break;
	default:
		if (i % 2)
			limit_client(in);
		else
			SocketPool_sweep(client.pool);
	}
	check_server();
	check_client();
}

static int lowest_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* Closes all that the input left open, and proves that nothing else is. */
static void finish(Arena_T *arena, int descriptor)
{
	volatile unsigned i;

	fails = refuses = 0;
	for (i = 0; i < ADDED; i++)
		if (server.sockets[i])
			TRY {
				close_added(i, 1);
			} EXCEPT(Refused) {
			} END_TRY;
	require(server.length == 0);
	check_server();
	Arena_dispose(arena);
	for (i = 0; i < client.npeers; i++)
		Socket_close(&client.peers[i]);
	Socket_close(&listener);
	require(lowest_descriptor() == descriptor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static Input in; /* static, because it changes in a TRY */
	Arena_Options memory = { .alloc = alloc_or_fail, .free = free_backing, .cl = &fails };
	SocketPool_Limits limits = { .output_bytes = 40000 };
	Arena_T arena;
	int descriptor = lowest_descriptor();

	in = (Input){ data, data + n };
	fails = refuses = 0;
	memset(&server, 0, sizeof server);
	memset(&client, 0, sizeof client);
	snprintf(address, sizeof address, "unix:@libcore-fuzz-pool-%ld", (long)getpid());
	listener = Socket_listen(address, NULL, PEERS);
	Socket_set_nonblocking(listener, 1);
	arena = Arena_new_with(&memory);
	server.capacity = 1 + take_below(&in, ADDED);
	server.pool = SocketPool_new(arena, server.capacity, 64);
	SocketPool_set_limits(server.pool, &limits);
	SocketPool_set_pre_resize_callback(server.pool, before_resize, NULL);
	client.pool = SocketPool_new(arena, 1 + take_below(&in, OUT), 64);
	limit_client(&in);
	while (in.next < in.end) {
		TRY {
			step(&in);
		} EXCEPT(Refused) {
		} EXCEPT(Arena_Failed) {
			require(fails);
		} EXCEPT(SocketPool_Failed) {
			require(Except_message()[0] != '\0');
		} EXCEPT(Socket_Failed) {
			require(Except_message()[0] != '\0');
		} END_TRY;
		accept_peers();
	}
	finish(&arena, descriptor);
	return 0;
}
