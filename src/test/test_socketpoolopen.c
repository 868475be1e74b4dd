/* SPDX-License-Identifier: MIT */
/* SocketPool's client side, continued: preparing a new connection, taking only an idle one,
 * sweeping, the statistics of waiting. The server is a listener of this process, whose backlog
 * accepts the connections unless a test says more. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <core/SocketPool.h>
#include "testing.h"

NEEDS(.loopback = 1);

static const Except_T Test_Failed = { "test", NULL, NULL };
static Arena_T arena;
static SocketPool_T pool;
static Socket_T listener;
static char port[8];

static void set_up(void)
{
	arena = Arena_new();
	pool = SocketPool_new(arena, 2, 1024);
	listener = Socket_listen("127.0.0.1", "0", 64);
	snprintf(port, sizeof port, "%d", Socket_port(listener));
}

static void tear_down(void)
{
	Arena_dispose(&arena);
	Socket_close(&listener);
}

static void wait_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000 * 1000 };

	while (nanosleep(&t, &t) != 0)
		;
}

static SocketPool_Stats pool_stats(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s;
}

static Connection_T check_out(void)
{
	return SocketPool_checkout(pool, "127.0.0.1", port, 5000);
}

static void open_with(void (*on_open)(Connection_T, void *), void *cl)
{
	SocketPool_Limits limits = { .on_open = on_open, .cl = cl };

	SocketPool_set_limits(pool, &limits);
}

/* ---- on_open ---- */

SUITE("SocketPool's client side, continued");
CASE("SocketPool", .setup = set_up, .teardown = tear_down);

static void count_open(Connection_T c, void *cl)
{
	++*(int *)cl;
	Connection_set_data(c, cl);
	Connection_buffer(c, NULL);
	ck_assert_int_eq(Connection_active(c), 1);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
}

TEST(on_open_prepares_each_connection_once)
{
	int opened = 0;
	Connection_T c;

	open_with(count_open, &opened);
	c = check_out();
	ck_assert_int_eq(opened, 1);
	ck_assert_ptr_eq(Connection_data(c), &opened);
	SocketPool_checkin(pool, c);
	c = check_out();
	ck_assert_int_eq(opened, 1);
	SocketPool_discard(pool, c);
	check_out();
	ck_assert_int_eq(opened, 2);
}

static void raise_at_open(Connection_T c, void *cl)
{
	ck_assert_int_eq(Connection_active(c), 1);
	if (--*(int *)cl >= 0)
		RAISE_MSG(Test_Failed, "wrong password");
}

TEST(an_exception_of_on_open_closes_the_connection_and_holds_no_host_down)
{
	int times = 2;
	Socket_T served;
	char byte;

	open_with(raise_at_open, &times);
	ck_raises_saying(Test_Failed, "wrong password", check_out());
	ck_raises_saying(Test_Failed, "wrong password", check_out());
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_uint_eq(pool_stats().failed, 2);
	ck_assert_uint_eq(pool_stats().opened, 0);
	ck_assert_uint_eq(pool_stats().checked_out, 0);
	served = Socket_accept(listener);
	ck_assert_uint_eq(Socket_recv(served, &byte, 1), 0);
	Socket_close(&served);
	check_out();
	check_out();
	ck_assert_uint_eq(SocketPool_count(pool), 2);
}

static void receive_greeting(Connection_T c, void *cl)
{
	char byte;

	(void)cl;
	Socket_recv(Connection_socket(c), &byte, 1);
}

TEST(on_open_has_the_rest_of_the_deadline_as_timeout_and_the_caller_has_none)
{
	Connection_T c;

	open_with(receive_greeting, NULL);
	ck_raises(Socket_Timeout, SocketPool_checkout(pool, "127.0.0.1", port, 60));
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	open_with(NULL, NULL);
	c = SocketPool_checkout(pool, "127.0.0.1", port, 60);
	Socket_set_nonblocking(Connection_socket(c), 1);
	ck_raises_saying(Socket_Timeout, "does not block", receive_greeting(c, NULL));
}

static void give_away(Connection_T c, void *cl)
{
	*(Socket_T *)cl = SocketPool_remove(pool, Connection_socket(c));
}

static void discard_own(Connection_T c, void *cl)
{
	(void)cl;
	SocketPool_discard(pool, c);
}

TEST(an_on_open_that_gives_the_connection_away_is_checked)
{
	Socket_T s = NULL;

	open_with(give_away, &s);
	ck_raises_saying(Assert_Failed, "on_open has given away", check_out());
	ck_assert_ptr_nonnull(s);
	Socket_close(&s);
	open_with(discard_own, NULL);
	ck_raises_saying(Assert_Failed, "on_open has given away", check_out());
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_uint_eq(pool_stats().checked_out, 0);
}

static void raise_later(void *cl)
{
	(void)cl;
	RAISE_MSG(Test_Failed, "deferred");
}

static void raise_twice(Connection_T c, void *cl)
{
	Arena_defer(Connection_arena(c), raise_later, cl);
	RAISE_MSG(Test_Failed, "on_open");
}

TEST(an_exception_of_on_open_goes_before_those_that_were_deferred)
{
	open_with(raise_twice, NULL);
	ck_raises_saying(Test_Failed, "on_open", check_out());
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_uint_eq(pool_stats().failed, 1);
}

static void check_out_another(Connection_T c, void *cl)
{
	(void)c;
	if (++*(int *)cl == 1)
		SocketPool_discard(pool, check_out());
}

TEST(on_open_may_call_the_pool)
{
	int calls = 0;

	open_with(check_out_another, &calls);
	SocketPool_checkin(pool, check_out());
	ck_assert_int_eq(calls, 2);
	ck_assert_uint_eq(pool_stats().idle, 1);
}

/* ---- try_checkout ---- */

TEST(try_checkout_takes_only_an_idle_connection)
{
	Connection_T c;
	Socket_T s;
	int line;

	errno = 0;
	ck_assert_ptr_null(SocketPool_try_checkout(pool, "127.0.0.1", port));
	c = check_out();
	s = Connection_socket(c);
	ck_assert_ptr_null(SocketPool_try_checkout(pool, "127.0.0.1", port));
	SocketPool_checkin(pool, c);
	line = __LINE__ + 1;
	c = SocketPool_try_checkout(pool, "127.0.0.1", port);
	ck_assert_int_eq(errno, 0);
	ck_assert_ptr_eq(Connection_socket(c), s);
	ck_assert_uint_eq(pool_stats().reused, 1);
	SocketPool_resize(pool, 1);
	ck_raises_saying(SocketPool_Failed, Arena_sprintf(arena, "test_socketpoolopen.c:%d", line),
		SocketPool_checkout(pool, "127.0.0.1", port, 0));
	SocketPool_checkin(pool, c);
	ck_assert_ptr_null(SocketPool_try_checkout(pool, "localhost", port));
}

TEST(try_checkout_closes_an_unfit_connection_and_takes_the_next)
{
	Connection_T a = check_out(), b = check_out();
	Socket_T first = Socket_accept(listener), second = Socket_accept(listener),
		s = Connection_socket(a);

	SocketPool_checkin(pool, a);
	SocketPool_checkin(pool, b);
	Socket_close(&second);
	wait_ms(20);
	a = SocketPool_try_checkout(pool, "127.0.0.1", port);
	ck_assert_ptr_eq(Connection_socket(a), s);
	ck_assert_uint_eq(pool_stats().stale, 1);
	SocketPool_checkin(pool, a);
	Socket_close(&first);
	wait_ms(20);
	ck_assert_ptr_null(SocketPool_try_checkout(pool, "127.0.0.1", port));
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	SocketPool_checkin(pool, check_out());
	SocketPool_drain(pool, 0);
	ck_assert_ptr_null(SocketPool_try_checkout(pool, "127.0.0.1", port));
}

TEST(checkout_and_try_checkout_check_their_arguments)
{
	ck_raises_saying(Assert_Failed, "SocketPool_try_checkout: the pool is NULL",
		SocketPool_try_checkout(NULL, "a", "1"));
	ck_raises_saying(Assert_Failed, "SocketPool_try_checkout: the host is NULL",
		SocketPool_try_checkout(pool, NULL, "1"));
	ck_raises_saying(Assert_Failed, "the service is NULL",
		SocketPool_try_checkout(pool, "a", NULL));
	ck_assert_ptr_null(SocketPool_try_checkout(pool, "unix:/nowhere", NULL));
	ck_raises_saying(Assert_Failed, "SocketPool__at: the connection is NULL",
		SocketPool__at(NULL, "file", 1));
	ck_raises_saying(Assert_Failed, "SocketPool_new: the arena is NULL",
		SocketPool_new(NULL, 1, 1));
}

TEST(a_checkout_that_succeeds_leaves_errno_alone)
{
	errno = 77;
	SocketPool_checkin(pool, check_out());
	SocketPool_checkin(pool, check_out());
	ck_assert_int_eq(errno, 77);
}

/* ---- sweep ---- */

TEST(sweep_closes_expired_connections_and_returns_when_to_sweep_again)
{
	SocketPool_Limits limits = { .idle_ms = 200 };
	Connection_T c;
	int next;

	ck_assert_int_eq(SocketPool_sweep(pool), -1);
	SocketPool_checkin(pool, check_out());
	ck_assert_int_eq(SocketPool_sweep(pool), -1);
	SocketPool_set_limits(pool, &limits);
	next = SocketPool_sweep(pool);
	ck_assert_int_gt(next, 0);
	ck_assert_int_le(next, 201);
	wait_ms(next + 20);
	ck_assert_int_eq(SocketPool_sweep(pool), -1);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_uint_eq(pool_stats().evicted, 1);
	limits = (SocketPool_Limits){ .lifetime_ms = 100 };
	SocketPool_set_limits(pool, &limits);
	c = check_out();
	SocketPool_checkin(pool, check_out());
	next = SocketPool_sweep(pool);
	ck_assert_int_gt(next, 0);
	ck_assert_int_le(next, 101);
	wait_ms(next + 20);
	ck_assert_int_eq(SocketPool_sweep(pool), -1);
	ck_assert_uint_eq(pool_stats().expired, 1);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	SocketPool_checkin(pool, c);
	ck_assert_uint_eq(pool_stats().expired, 2);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_raises(Assert_Failed, SocketPool_sweep(NULL));
}

TEST(sweep_thinks_of_connections_that_were_added)
{
	SocketPool_Limits limits = { .idle_ms = 100 };
	Socket_T client = Socket_connect("127.0.0.1", port, 5000);
	int next;

	SocketPool_set_limits(pool, &limits);
	SocketPool_add(pool, client);
	next = SocketPool_sweep(pool);
	ck_assert_int_gt(next, 0);
	ck_assert_int_le(next, 101);
	wait_ms(next + 20);
	ck_assert_int_eq(SocketPool_sweep(pool), -1);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
}

/* ---- statistics ---- */

TEST(expired_are_those_that_were_too_old_or_used_too_often)
{
	SocketPool_Limits limits = { .uses = 2 };

	SocketPool_set_limits(pool, &limits);
	SocketPool_checkin(pool, check_out());
	ck_assert_uint_eq(pool_stats().expired, 0);
	SocketPool_checkin(pool, check_out());
	ck_assert_uint_eq(pool_stats().expired, 1);
	limits = (SocketPool_Limits){ .lifetime_ms = 50 };
	SocketPool_set_limits(pool, &limits);
	SocketPool_checkin(pool, check_out());
	wait_ms(70);
	SocketPool_discard(pool, check_out());
	ck_assert_uint_eq(pool_stats().expired, 2);
	ck_assert_uint_eq(pool_stats().stale, 0);
	ck_assert_uint_eq(pool_stats().reused, 1);
	ck_assert_uint_eq(pool_stats().opened, 3);
}

static void *check_in_later(void *c)
{
	wait_ms(60);
	SocketPool_checkin(pool, c);
	return NULL;
}

TEST(waiters_and_their_time_are_counted)
{
	Connection_T c = check_out();
	pthread_t thread;

	SocketPool_resize(pool, 1);
	ck_assert_uint_eq(pool_stats().waits, 0);
	pthread_create(&thread, NULL, check_in_later, c);
	c = check_out();
	pthread_join(thread, NULL);
	ck_assert_uint_eq(pool_stats().waits, 1);
	ck_assert_uint_ge(pool_stats().wait_ms, 50);
	ck_assert_uint_eq(pool_stats().longest_wait_ms, pool_stats().wait_ms);
	ck_raises(SocketPool_Failed, SocketPool_checkout(pool, "127.0.0.1", port, 30));
	ck_assert_uint_eq(pool_stats().waits, 2);
	ck_assert_uint_ge(pool_stats().wait_ms, pool_stats().longest_wait_ms + 29);
	SocketPool_checkin(pool, c);
	SocketPool_checkin(pool, check_out());
	ck_assert_uint_eq(pool_stats().waits, 2);
}

/* ---- cancelled while it connects ---- */

static void *connect_to_full(void *name)
{
	SocketPool_discard(pool, SocketPool_checkout(pool, name, NULL, -1));
	return NULL;
}

TEST(a_thread_that_connects_can_be_cancelled_and_holds_nothing_down)
{
	char name[] = "unix:@libcore-pool-full";
	Socket_T full = Socket_listen(name, NULL, 1), a = Socket_connect(name, NULL, 1000),
		b = Socket_connect(name, NULL, 1000);
	int next = dup(0);
	pthread_t thread;
	void *result;

	close(next);
	SocketPool_resize(pool, 1);
	pthread_create(&thread, NULL, connect_to_full, name);
	wait_ms(60);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	ck_assert_int_eq(dup(0), next);
	close(next);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_uint_eq(pool_stats().failed, 0);
	Socket_close(&a);
	a = Socket_accept(full);
	SocketPool_discard(pool, SocketPool_checkout(pool, name, NULL, 1000));
	Socket_close(&a);
	Socket_close(&b);
	Socket_close(&full);
}

/* ---- lent arenas ---- */

TEST(the_arena_of_a_connection_is_lent)
{
	Connection_T c = check_out();
	Arena_T own = Connection_arena(c), copy = own;

	ck_raises_saying(Assert_Failed, "is lent", Arena_dispose(&copy));
	ck_raises_saying(Assert_Failed, "is lent", Arena_clear(own));
	ck_raises_saying(Assert_Failed, "is lent", Arena_reset(own, 0));
	Arena_alloc(own, 100);
	Arena_set_limit(own, Arena_capacity(own));
	ck_raises(Arena_Failed, Arena_alloc(own, 1000 * 1000));
	SocketPool_checkin(pool, c);
	c = check_out();
	ck_assert_ptr_eq(Connection_arena(c), own);
	ck_assert_uint_eq(Arena_used(own), 0);
	Arena_alloc(own, 1000 * 1000);
}

TEST(the_arenas_of_connections_have_names)
{
	FILE *out = tmpfile();
	char text[4096] = "";

	Connection_arena(check_out());
	Arena_debug_report(out);
	rewind(out);
	ck_assert_uint_gt(fread(text, 1, sizeof text - 1, out), 0);
	fclose(out);
	ck_assert_msg(strstr(text, "arena of a connection") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "arenas of a socket pool") != NULL, "%s", text);
}
