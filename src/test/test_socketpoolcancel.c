/* SPDX-License-Identifier: MIT */
/* SocketPool in a thread that is cancelled at each cancellation point of a session that uses all
 * of it. Afterwards all its places can be checked out, and the pool's arena is disposed of. */
#define _GNU_SOURCE
#include "config.h"

#include "cancelling.h"

enum { PLACES = 3, CLIENTS = 3 };

typedef struct Session {
	Arena_T arena;
	SocketPool_T pool;
	Socket_T listener;
	Socket_T clients[CLIENTS]; /* NULL: closed, or not yet open */
	Connection_T out[PLACES];  /* what the session has checked out; NULL: nothing */
	char port[8];
} Session;

static void connect_clients(Session *s)
{
	int i;

	for (i = 0; i < CLIENTS; i++)
		s->clients[i] = Socket_connect("127.0.0.1", s->port, 1000);
}

static void close_clients(Session *s)
{
	int i;

	for (i = 0; i < CLIENTS; i++)
		Socket_close(&s->clients[i]);
}

static void sleep_a_little(void *cl)
{
	(void)cl;
	usleep(1);
}

/* The deferred call is a cancellation point. */
static void defer_point(Connection_T c)
{
	Arena_defer(Connection_arena(c), sleep_a_little, NULL);
}

static void serve_clients(Session *s)
{
	int pause_ms, i;
	Socket_T inside;

	connect_clients(s);
	for (i = 0; i < CLIENTS; i++)
		defer_point(SocketPool_accept(s->pool, s->listener, &pause_ms));
	ck_assert_ptr_null(SocketPool_accept(s->pool, s->listener, &pause_ms)); /* the pool is full */
	ck_assert_uint_eq(SocketPool_evict_idle(s->pool, 1000), 0);
	usleep(20 * 1000);
	ck_assert_uint_eq(SocketPool_evict_idle(s->pool, 1), CLIENTS);
	close_clients(s);
	s->clients[0] = Socket_connect("127.0.0.1", s->port, 1000);
	inside = Connection_socket(SocketPool_accept(s->pool, s->listener, &pause_ms));
	Connection_send(SocketPool_get(s->pool, inside), "hello", 5);
	ck_assert_int_eq(Connection_flush(SocketPool_get(s->pool, inside)), 1);
	SocketPool_close(s->pool, &inside);
	close_clients(s);
}

static void hear_greeting(Connection_T c, void *cl)
{
	struct pollfd p = { Socket_fd(Connection_socket(c)), POLLIN, 0 };

	(void)cl;
	poll(&p, 1, 0); /* a cancellation point */
	defer_point(c);
}

/* Nothing between the checkout and the assignment is a cancellation point. */
static void check_out(Session *s, int i)
{
	s->out[i] = SocketPool_checkout(s->pool, "127.0.0.1", s->port, 1000);
}

static void check_in(Session *s, int i)
{
	Connection_T c = s->out[i];

	s->out[i] = NULL;
	SocketPool_checkin(s->pool, c);
}

static void use_servers(Session *s)
{
	SocketPool_Limits limits = { .on_open = hear_greeting };
	int i;

	SocketPool_set_limits(s->pool, &limits);
	for (i = 0; i < PLACES; i++)
		check_out(s, i);
	ck_raises(SocketPool_Failed, SocketPool_checkout(s->pool, "127.0.0.1", s->port, 5)); /* waits */
	check_in(s, 0);
	check_in(s, 1);
	/* in the place of an idle one */
	SocketPool_discard(s->pool, SocketPool_checkout(s->pool, "localhost", s->port, 1000));
	s->out[0] = SocketPool_try_checkout(s->pool, "127.0.0.1", s->port);
	check_in(s, 0);
	limits.idle_ms = limits.lifetime_ms = 1;
	SocketPool_set_limits(s->pool, &limits);
	usleep(20 * 1000);
	SocketPool_sweep(s->pool);
	check_in(s, 2);
}

static void run_session(void *cl)
{
	Session *s = cl;

	serve_clients(s);
	use_servers(s);
	SocketPool_drain(s->pool, 5);
	ck_assert_uint_eq(SocketPool_count(s->pool), 0);
	Arena_dispose(&s->arena);
	s->pool = NULL;
}

static void begin_run(Session *s)
{
	s->listener = Socket_listen("127.0.0.1", "0", 64);
	Socket_set_nonblocking(s->listener, 1);
	snprintf(s->port, sizeof s->port, "%d", Socket_port(s->listener));
	s->arena = Arena_new();
	s->pool = SocketPool_new(s->arena, PLACES, 64);
	memset(s->out, 0, sizeof s->out);
}

static int is_drained(Session *s)
{
	TRY {
		SocketPool_discard(s->pool, SocketPool_checkout(s->pool, "127.0.0.1", s->port, 1000));
	} EXCEPT(SocketPool_Failed) {
		return Except_errno() == ESHUTDOWN;
	} END_TRY;
	return 0;
}

/* No place is lost: as many connections as there are places can be checked out. */
static void use_all_places(Session *s)
{
	SocketPool_Limits none = { 0 };
	Connection_T c[PLACES];
	SocketPool_Stats stats;
	int i;

	SocketPool_set_limits(s->pool, &none);
	for (i = 0; i < PLACES; i++)
		if (s->out[i])
			SocketPool_discard(s->pool, s->out[i]);
	SocketPool_evict_idle(s->pool, 0);
	usleep(20 * 1000);
	SocketPool_evict_idle(s->pool, 0);
	ck_assert_uint_eq(SocketPool_count(s->pool), 0);
	if (is_drained(s))
		return;
	for (i = 0; i < PLACES; i++)
		c[i] = SocketPool_checkout(s->pool, "127.0.0.1", s->port, 1000);
	SocketPool_stats(s->pool, &stats);
	ck_assert_uint_eq(stats.checked_out, PLACES);
	ck_assert_uint_eq(stats.waiting, 0);
	for (i = 0; i < PLACES; i++)
		SocketPool_discard(s->pool, c[i]);
}

static void end_run(void *cl, int cancelled)
{
	Session *s = cl;

	if (!cancelled)
		ck_assert_ptr_null(s->arena);
	if (s->arena && s->pool)
		use_all_places(s);
	Arena_dispose(&s->arena);
	close_clients(s);
	Socket_close(&s->listener);
	begin_run(s);
}

SUITE("SocketPool, cancelled");
CASE("cancellation points", .timeout = 120);

TEST(wherever_a_thread_is_cancelled_no_place_and_no_descriptor_is_lost)
{
	Session s = { 0 };
	int n;

	begin_run(&s);
	n = cancel_everywhere(run_session, end_run, &s);
	ck_assert_int_gt(n, 30);
	Arena_dispose(&s.arena);
	Socket_close(&s.listener);
}
