/* SPDX-License-Identifier: MIT */
/* Connection_send, Connection_pending and Connection_flush. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <core/SocketPool.h>
#include "testing.h"

NEEDS(.loopback = 1);

static Arena_T arena;
static SocketPool_T pool;
static Socket_T s;
static Connection_T c;
static int peer = -1;

static void set_up(void)
{
	int fd[2], small = 4096;

	arena = Arena_new();
	pool = SocketPool_new(arena, 2, 64);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	peer = fd[1];
	s = Socket_adopt(fd[0]);
	c = SocketPool_add(pool, s);
}

static void tear_down(void)
{
	Arena_dispose(&arena);
	if (peer >= 0)
		close(peer);
}

static void limit_output(size_t nbytes)
{
	SocketPool_Limits limits = { .output_bytes = nbytes };

	SocketPool_set_limits(pool, &limits);
}

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i % 251);
}

static size_t sent; /* how much of the sequence */

static void send_next(size_t n)
{
	unsigned char *bytes = Arena_alloc(arena, n);
	size_t i;

	for (i = 0; i < n; i++)
		bytes[i] = byte_at(sent + i);
	Connection_send(c, bytes, n);
	sent += n;
}

/* Reads what is there and checks that it is the sequence. */
static size_t receive_some(size_t from)
{
	unsigned char bytes[1000];
	ssize_t n = recv(peer, bytes, sizeof bytes, 0), i;

	for (i = 0; i < n; i++)
		ck_assert_int_eq(bytes[i], byte_at(from + (size_t)i));
	return n > 0 ? (size_t)n : 0;
}

static size_t receive_all(size_t from)
{
	size_t n;

	while ((n = receive_some(from)) > 0)
		from += n;
	return from;
}

SUITE("SocketPool's output");
CASE("Connection_send", .setup = set_up, .teardown = tear_down);

TEST(bytes_that_the_kernel_takes_are_not_queued)
{
	sent = 0;
	send_next(100);
	ck_assert_uint_eq(Connection_pending(c), 0);
	ck_assert_int_eq(Connection_flush(c), 1);
	ck_assert_uint_eq(receive_all(0), 100);
	Connection_send(c, NULL, 0);
	Connection_send(c, "", 0);
	ck_assert_uint_eq(Connection_pending(c), 0);
}

TEST(bytes_that_the_kernel_does_not_take_are_queued_and_arrive_in_order)
{
	size_t received = 0;
	int i, flushed;

	sent = 0;
	errno = 0;
	for (i = 0; i < 200; i++)
		send_next((size_t)i * 7 + 1);
	ck_assert_int_eq(errno, 0); /* a full socket is no failure */
	ck_assert_uint_gt(Connection_pending(c), 50 * 1000);
	ck_assert_int_eq(Connection_flush(c), 0);
	do {
		received += receive_some(received);
		flushed = Connection_flush(c);
		if (received > 20 * 1000 && i < 400) { /* more is queued while a part is sent */
			send_next(500);
			i++;
			flushed = 0;
		}
	} while (!flushed);
	ck_assert_uint_eq(Connection_pending(c), 0);
	ck_assert_uint_eq(receive_all(received), sent);
}

TEST(over_the_limit_nothing_is_taken)
{
	char block[1000] = { 0 };
	size_t pending;
	volatile int n = 0;

	limit_output(10 * 1000);
	ck_raises_saying(SocketPool_Failed,
		"0 bytes are queued, and 10001 more are over the limit of 10000",
		Connection_send(c, Arena_calloc(arena, 1, 10001), 10001));
	ck_assert_uint_eq(receive_all(0), 0);
	while (Connection_pending(c) == 0)
		Connection_send(c, block, sizeof block);
	while (Connection_pending(c) + sizeof block <= 10 * 1000)
		Connection_send(c, block, sizeof block);
	pending = Connection_pending(c);
	TRY {
		Connection_send(c, block, sizeof block);
	} EXCEPT(SocketPool_Failed) {
		ck_assert_int_eq(Except_errno(), ENOBUFS);
		n = 1;
	} END_TRY;
	ck_assert_int_eq(n, 1);
	ck_assert_uint_eq(Connection_pending(c), pending);
	Connection_send(c, block, 10 * 1000 - pending); /* exactly the limit */
	limit_output(0);
	Connection_send(c, Arena_calloc(arena, 1, 100 * 1000), 100 * 1000);
	ck_assert_uint_ge(Connection_pending(c), 100 * 1000);
}

TEST(a_socket_that_blocks_is_not_waited_for)
{
	Socket_set_nonblocking(s, 0);
	Connection_send(c, Arena_calloc(arena, 1, 1000 * 1000), 1000 * 1000);
	ck_assert_uint_gt(Connection_pending(c), 0);
	ck_assert_int_eq(Connection_flush(c), 0);
}

TEST(a_peer_that_is_gone_is_an_exception)
{
	Connection_send(c, Arena_calloc(arena, 1, 1000 * 1000), 1000 * 1000);
	close(peer);
	peer = -1;
	ck_raises_saying(Socket_Closed, "Connection_flush unix:(unnamed): ", Connection_flush(c));
	SocketPool_close(pool, &s);
}

TEST(and_so_it_is_when_nothing_is_queued)
{
	close(peer);
	peer = -1;
	ck_raises_saying(Socket_Closed, "Connection_send unix:(unnamed): ",
		Connection_send(c, "x", 1));
	ck_assert_uint_eq(Connection_pending(c), 0);
}

TEST(queued_bytes_stay_when_the_connection_rests_and_go_when_it_leaves)
{
	int end;

	Connection_send(c, Arena_calloc(arena, 1, 1000 * 1000), 1000 * 1000);
	Arena_alloc(Connection_arena(c), 100);
	Connection_rest(c);
	ck_assert_uint_gt(Connection_pending(c), 0);
	end = Connection_flush(c);
	ck_assert_int_eq(end, 0);
	SocketPool_remove(pool, s);
	c = SocketPool_add(pool, s);
	ck_assert_uint_eq(Connection_pending(c), 0);
	/* the pool's arena is disposed of while output is queued */
	Connection_send(c, Arena_calloc(arena, 1, 1000 * 1000), 1000 * 1000);
}

TEST(a_connection_with_queued_bytes_is_not_kept_at_checkin)
{
	Socket_T listener = Socket_listen("127.0.0.1", "0", 4);
	const char *port = Arena_sprintf(arena, "%d", Socket_port(listener));
	Connection_T out = SocketPool_checkout(pool, "127.0.0.1", port, 5000);
	size_t n = 64 * 1000 * 1000;

	Connection_send(out, "x", 1);
	ck_assert_uint_eq(Connection_pending(out), 0);
	SocketPool_checkin(pool, out);
	out = SocketPool_checkout(pool, "127.0.0.1", port, 5000);
	Connection_send(out, Arena_calloc(arena, 1, n), n);
	ck_assert_uint_gt(Connection_pending(out), 0);
	SocketPool_checkin(pool, out);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	Socket_close(&listener);
}

TEST(they_check_their_connection)
{
	Connection_T gone = c;

	ck_raises_saying(Assert_Failed, "Connection_send: the connection is NULL",
		Connection_send(NULL, "x", 1));
	ck_raises_saying(Assert_Failed, "Connection_pending: the connection is NULL",
		Connection_pending(NULL));
	ck_raises_saying(Assert_Failed, "Connection_flush: the connection is NULL",
		Connection_flush(NULL));
	ck_raises_saying(Assert_Failed, "Connection_send: the bytes are NULL",
		Connection_send(c, NULL, 1));
	SocketPool_close(pool, &s);
	ck_raises_saying(Assert_Failed, "has left its pool", Connection_send(gone, "x", 1));
	ck_raises_saying(Assert_Failed, "has left its pool", Connection_pending(gone));
	ck_raises_saying(Assert_Failed, "has left its pool", Connection_flush(gone));
}

/* Valgrind reports such a size as an error of the caller. */
TEST(a_message_for_which_there_is_no_memory_is_not_taken, .unless = RUNNING_ON_VALGRIND)
{
	ck_raises_saying(SocketPool_Failed, "no memory", Connection_send(c, "x", SIZE_MAX / 2));
	ck_raises_saying(SocketPool_Failed, "no memory", Connection_send(c, "x", SIZE_MAX));
	ck_assert_uint_eq(Connection_pending(c), 0);
	ck_assert_uint_eq(receive_all(0), 0);
}
