/* SPDX-License-Identifier: MIT */
/* The client side of SocketPool: checkout, checkin, waiting. */
#include "config.h"

#include "test_socketpoolclient.h"

NEEDS(.loopback = 1, .descriptors = 128);

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- out and in ---- */

SUITE("SocketPool's client side");
CASE("client", .setup = set_up, .teardown = tear_down);

TEST(a_connection_that_was_checked_in_is_used_again_the_newest_first)
{
	Server server;
	Connection_T a, b;
	Socket_T s, t;

	start_server(&server, ECHO);
	a = check_out(&server);
	b = check_out(&server);
	s = Connection_socket(a);
	t = Connection_socket(b);
	ck_echo(a);
	ck_echo(b);
	ck_assert_uint_eq(pool_stats().checked_out, 2);
	SocketPool_checkin(pool, b);
	SocketPool_checkin(pool, a);
	ck_assert_uint_eq(pool_stats().idle, 2);
	a = check_out(&server);
	ck_assert_ptr_eq(Connection_socket(a), s);
	b = check_out(&server);
	ck_assert_ptr_eq(Connection_socket(b), t);
	ck_echo(a);
	SocketPool_discard(pool, a);
	SocketPool_checkin(pool, b);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	ck_assert_uint_eq(pool_stats().opened, 2);
	ck_assert_uint_eq(pool_stats().reused, 2);
	ck_assert_uint_eq(pool_stats().checked_out, 0);
	stop_server(&server);
}

TEST(a_handle_is_stale_once_it_is_checked_in)
{
	Server server;
	Connection_T c;
	int fd[2];

	start_server(&server, ECHO);
	c = check_out(&server);
	SocketPool_checkin(pool, c);
	ck_assert_int_eq(Connection_active(c), 0);
	ck_raises_saying(Assert_Failed, "has left its pool", Connection_socket(c));
	ck_raises_saying(Assert_Failed, "SocketPool_checkin: connection", SocketPool_checkin(pool, c));
	ck_raises_saying(Assert_Failed, "SocketPool_discard: connection", SocketPool_discard(pool, c));
	ck_raises_saying(Assert_Failed, "connection is NULL", SocketPool_checkin(pool, NULL));
	ck_raises_saying(Assert_Failed, "connection is NULL", SocketPool_discard(pool, NULL));
	ck_raises_saying(Assert_Failed, "pool is NULL", SocketPool_checkin(NULL, c));
	ck_raises_saying(Assert_Failed, "pool is NULL", SocketPool_discard(NULL, c));
	ck_raises_saying(Assert_Failed, "pool is NULL", SocketPool_checkout(NULL, "h", "1", 1));
	ck_raises_saying(Assert_Failed, "host is NULL", SocketPool_checkout(pool, NULL, "1", 1));
	ck_raises_saying(Assert_Failed, "service is NULL", SocketPool_checkout(pool, "h", NULL, 1));
	ck_raises_saying(Assert_Failed, "file is NULL", SocketPool_report(pool, NULL));
	ck_raises_saying(Assert_Failed, "pool is NULL", SocketPool_report(NULL, stderr));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	c = SocketPool_add(pool, Socket_adopt(fd[0]));
	ck_raises_saying(Assert_Failed, "is not checked out", SocketPool_checkin(pool, c));
	close(fd[1]);
	stop_server(&server);
}

static void raise_one(void *cl)
{
	(void)cl;
	RAISE(Test_Failed);
}

TEST(at_checkin_the_arena_is_cleared_and_the_data_kept)
{
	Server server;
	Connection_T c;
	Arena_T a;
	int i;

	start_server(&server, ECHO);
	for (i = 0; i < 100; i++) {
		c = check_out(&server);
		ck_assert_ptr_eq(Connection_data(c), i ? &server : NULL);
		Connection_set_data(c, &server);
		a = Connection_arena(c);
		ck_assert_uint_eq(Arena_used(a), 0);
		Arena_alloc(a, 1000);
		ck_assert_int_eq(*Connection_buffer(c, NULL), 0);
		*Connection_buffer(c, NULL) = 'x';
		SocketPool_checkin(pool, c);
	}
	c = check_out(&server);
	Arena_defer(Connection_arena(c), raise_one, NULL);
	ck_raises(Test_Failed, SocketPool_checkin(pool, c));
	ck_assert_uint_eq(pool_stats().idle, 1);
	ck_assert_uint_eq(pool_stats().opened, 1);
	stop_server(&server);
}

enum Misuse { CLOSED, REMOVED, POOL_CLOSED, MISUSES };

static struct Returning {
	Connection_T c;
	Socket_T s;
	int how, calls;
} returning;

static void take_it_away(void *cl)
{
	struct Returning *r = cl;

	r->calls++;
	ck_assert_int_eq(Connection_active(r->c), 0);
	ck_raises_saying(Assert_Failed, "has left its pool", Connection_arena(r->c));
	ck_raises_saying(Assert_Failed, "is not checked out", SocketPool_checkin(pool, r->c));
	ck_raises_saying(Assert_Failed, "is not checked out", SocketPool_discard(pool, r->c));
	if (r->how == REMOVED)
		ck_assert_ptr_eq(SocketPool_remove(pool, r->s), r->s);
	if (r->how == POOL_CLOSED)
		SocketPool_close(pool, &r->s);
	else
		Socket_close(&r->s);
}

TEST(a_deferred_call_that_runs_at_checkin_finds_it_stale_and_may_take_the_connection_away)
{
	struct Returning *r = &returning;
	Server server;

	start_server(&server, ECHO);
	r->calls = 0;
	for (r->how = CLOSED; r->how < MISUSES; r->how++) {
		r->c = check_out(&server);
		r->s = Connection_socket(r->c);
		Arena_defer(Connection_arena(r->c), take_it_away, r);
		SocketPool_checkin(pool, r->c);
		ck_assert_int_eq(r->calls, r->how + 1);
		ck_assert_uint_eq(SocketPool_count(pool), 0);
		ck_assert_uint_eq(pool_stats().idle + pool_stats().checked_out, 0);
	}
	r->c = check_out(&server);
	ck_assert_uint_eq(Arena_used(Connection_arena(r->c)), 0);
	ck_echo(r->c);
	SocketPool_checkin(pool, r->c);
	ck_assert_uint_eq(pool_stats().idle, 1);
	stop_server(&server);
}

TEST(a_connection_that_the_peer_closed_is_not_given_out)
{
	Server server;
	int i;

	start_server(&server, CLOSE_AFTER_REPLY);
	for (i = 0; i < 5; i++) {
		Connection_T c = check_out(&server);
		struct pollfd p = { Socket_fd(Connection_socket(c)), POLLIN, 0 };

		ck_echo(c);
		SocketPool_checkin(pool, c);
		ck_assert_int_eq(poll(&p, 1, 20000), 1); /* the end of the stream */
	}
	ck_assert_uint_eq(pool_stats().stale, 4);
	ck_assert_uint_eq(pool_stats().opened, 5);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	stop_server(&server);
}

static void ck_never_again(enum Manner manner)
{
	struct pollfd p = { -1, POLLIN, 0 };
	Server server;
	Connection_T c;

	start_server(&server, manner);
	c = check_out(&server);
	p.fd = Socket_fd(Connection_socket(c));
	SocketPool_checkin(pool, c);
	ck_assert_int_eq(poll(&p, 1, 20000), 1);
	c = check_out(&server);
	ck_assert_uint_eq(pool_stats().reused, 0);
	SocketPool_discard(pool, c);
	stop_server(&server);
}

TEST(nor_is_one_that_was_reset_or_has_unasked_for_bytes)
{
	ck_never_again(RESET);
	ck_never_again(GREET);
}

TEST(when_all_idle_ones_are_dead_a_new_one_is_opened)
{
	Server server, again;
	Connection_T c[3];
	int i;

	start_server(&server, ECHO);
	for (i = 0; i < 3; i++)
		c[i] = check_out(&server);
	for (i = 0; i < 3; i++)
		SocketPool_checkin(pool, c[i]);
	stop_server(&server);
	start_at(&again, ECHO, server.port);
	c[0] = check_out(&again);
	ck_echo(c[0]);
	ck_assert_uint_eq(pool_stats().stale, 3);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	stop_server(&again);
}

TEST(a_server_that_stalls_costs_its_timeout_and_one_connection)
{
	Server server;
	Connection_T c;
	char byte;

	start_server(&server, STALL);
	c = check_out(&server);
	Socket_set_timeout(Connection_socket(c), 30);
	Socket_sendall(Connection_socket(c), "x", 1);
	ck_raises(Socket_Timeout, Socket_recv(Connection_socket(c), &byte, 1));
	SocketPool_discard(pool, c);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	stop_server(&server);
}

TEST(lifetime_uses_idle_time_and_the_number_of_idle_ones_are_limited)
{
	SocketPool_Limits limits = { 0 };
	Server server;
	Connection_T c, d;
	int i;

	start_server(&server, ECHO);
	limits.uses = 3;
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < 6; i++)
		SocketPool_checkin(pool, check_out(&server));
	ck_assert_uint_eq(pool_stats().opened, 2);
	limits.uses = 0;
	limits.max_idle = 1;
	SocketPool_set_limits(pool, &limits);
	c = check_out(&server);
	d = check_out(&server);
	SocketPool_checkin(pool, c);
	SocketPool_checkin(pool, d);
	ck_assert_uint_eq(pool_stats().idle, 1);
	limits.idle_ms = 30;
	SocketPool_set_limits(pool, &limits);
	wait_ms(60);
	SocketPool_checkin(pool, check_out(&server));
	ck_assert_uint_eq(pool_stats().evicted, 1);
	limits.idle_ms = 0;
	limits.lifetime_ms = 50;
	SocketPool_set_limits(pool, &limits);
	SocketPool_discard(pool, check_out(&server));
	i = (int)pool_stats().opened;
	SocketPool_checkin(pool, check_out(&server));
	wait_ms(70);
	SocketPool_checkin(pool, check_out(&server));
	ck_assert_uint_eq(pool_stats().opened, (size_t)i + 2);
	stop_server(&server);
}

/* ---- waiting ---- */

TEST(a_waiter_that_times_out_learns_who_has_the_connections)
{
	SocketPool_Limits limits = { 0 };
	Server server;
	Connection_T c;
	volatile int line;
	int64_t start_of_wait;

	start_server(&server, ECHO);
	limits.per_host = 1;
	SocketPool_set_limits(pool, &limits);
	line = __LINE__ + 1;
	c = SocketPool_checkout(pool, "127.0.0.1", server.port, 5000);
	start_of_wait = now_ms();
	ck_raises_saying(SocketPool_Failed, Arena_sprintf(arena, "test_socketpoolclient.c:%d", line),
		SocketPool_checkout(pool, "127.0.0.1", server.port, 40));
	ck_assert_int_ge(now_ms() - start_of_wait, 39);
	ck_raises_saying(SocketPool_Failed, "none became free in 0 ms; open: 1 there, 1 of 4 in all",
		SocketPool_checkout(pool, "127.0.0.1", server.port, 0));
	ck_assert_uint_eq(pool_stats().timed_out, 2);
	ck_assert_uint_eq(pool_stats().waiting, 0);
	SocketPool_checkin(pool, c);
	SocketPool_discard(pool, check_out(&server));
	stop_server(&server);
}

TEST(first_come_first_served_and_one_that_gave_up_costs_nothing)
{
	SocketPool_Limits limits = { 0 };
	struct Waiting w[8];
	Server server;
	Connection_T c;
	int i;

	start_server(&server, ECHO);
	limits.per_host = 1;
	SocketPool_set_limits(pool, &limits);
	c = check_out(&server);
	norder = 0;
	for (i = 0; i < 8; i++)
		start_waiting(&w[i], i, &server, i == 3 ? 500 : 20000);
	pthread_join(w[3].thread, NULL);
	ck_assert_uint_eq(pool_stats().waiting, 7);
	SocketPool_checkin(pool, c);
	for (i = 0; i < 8; i++)
		if (i != 3)
			pthread_join(w[i].thread, NULL);
	ck_assert_int_eq(norder, 7);
	for (i = 0; i < 7; i++)
		ck_assert_int_eq(order[i], i < 3 ? i : i + 1);
	ck_assert_uint_eq(pool_stats().checked_out + pool_stats().waiting, 0);
	stop_server(&server);
}

/* ASan keeps the marks of the frames that a cancellation unwinds, and reports them later. */
#if !SANITIZED_ADDRESSES
TEST(a_cancelled_waiter_leaves_its_place)
{
	SocketPool_Limits limits = { 0 };
	struct Waiting w[3];
	Server server;
	Connection_T c;
	int i, round, served;

	start_server(&server, ECHO);
	limits.per_host = 1;
	SocketPool_set_limits(pool, &limits);
	for (round = 0; round < 20; round++) {
		c = check_out(&server);
		norder = 0;
		for (i = 0; i < 3; i++)
			start_waiting(&w[i], i, &server, 20000);
		if (round % 2) /* while the pool serves it */
			SocketPool_checkin(pool, c);
		pthread_cancel(w[0].thread);
		pthread_cancel(w[1].thread);
		if (round % 2 == 0)
			SocketPool_checkin(pool, c);
		for (i = 0; i < 3; i++)
			pthread_join(w[i].thread, NULL);
		for (i = served = 0; i < norder; i++)
			served += order[i] == 2;
		ck_assert_int_eq(served, 1);
		if (pool_stats().checked_out) /* it was cancelled when it had the connection already */
			break;
		ck_assert_uint_eq(pool_stats().waiting, 0);
		SocketPool_discard(pool, check_out(&server));
	}
	ck_assert_int_gt(round, 0);
	stop_server(&server);
}
#endif

TEST(an_idle_connection_makes_room_for_another_host)
{
	Server a, b;
	Connection_T c;
	struct Waiting w;
	int i;

	start_server(&a, ECHO);
	start_server(&b, ECHO);
	SocketPool_resize(pool, 1);
	for (i = 0; i < 4; i++) {
		c = check_out(i % 2 ? &a : &b);
		ck_echo(c);
		SocketPool_checkin(pool, c);
		ck_assert_uint_eq(SocketPool_count(pool), 1);
	}
	c = check_out(&a);
	norder = 0;
	start_waiting(&w, 1, &b, 20000);
	SocketPool_checkin(pool, c); /* the waiter is for another host */
	pthread_join(w.thread, NULL);
	ck_assert_int_eq(norder, 1);
	stop_server(&a);
	stop_server(&b);
}

TEST(it_makes_room_also_where_what_was_added_has_been_unused_for_longer)
{
	enum { HOSTS = 3 };
	Server servers[HOSTS];
	Connection_T added, c;
	int fd[2], i;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	SocketPool_resize(pool, HOSTS);
	added = SocketPool_add(pool, Socket_adopt(fd[0]));
	for (i = 0; i < HOSTS; i++) { /* the third takes the place of the first, not of the second */
		start_server(&servers[i], ECHO);
		wait_ms(30);
		c = SocketPool_checkout(pool, "127.0.0.1", servers[i].port, 2000);
		SocketPool_checkin(pool, c);
	}
	c = check_out(&servers[1]);
	ck_assert_uint_eq(pool_stats().opened, HOSTS);
	ck_assert_uint_eq(pool_stats().reused, 1);
	ck_assert_int_eq(Connection_active(added), 1);
	SocketPool_checkin(pool, c);
	for (i = 0; i < HOSTS; i++)
		stop_server(&servers[i]);
	close(fd[1]);
}

static void touch_one(Connection_T c, void *port)
{
	char *peer = Arena_sprintf(arena, "127.0.0.1:%s", (const char *)port);

	if (strcmp(Socket_peer(Connection_socket(c), arena), peer) == 0)
		Connection_touch(c);
}

static int has_idle(const Server *server)
{
	Connection_T c = SocketPool_try_checkout(pool, "127.0.0.1", server->port);

	if (c)
		SocketPool_checkin(pool, c);
	return c != NULL;
}

/* The pauses are longer than a tick of the coarse clock. */
TEST(an_idle_connection_that_was_touched_makes_room_later)
{
	enum { HOSTS = 5 };
	Server servers[HOSTS];
	int i;

	SocketPool_resize(pool, 3);
	for (i = 0; i < HOSTS; i++)
		start_server(&servers[i], ECHO);
	for (i = 0; i < 3; i++) {
		SocketPool_checkin(pool, check_out(&servers[i]));
		wait_ms(30);
	}
	SocketPool_map(pool, touch_one, servers[1].port);
	wait_ms(30);
	SocketPool_map(pool, touch_one, servers[0].port); /* from the oldest use: 2, 1, 0 */
	SocketPool_discard(pool, check_out(&servers[3]));
	ck_assert_int_eq(has_idle(&servers[2]), 0);
	SocketPool_resize(pool, 2);
	SocketPool_discard(pool, check_out(&servers[4]));
	ck_assert_int_eq(has_idle(&servers[1]), 0);
	ck_assert_int_eq(has_idle(&servers[0]), 1);
	for (i = 0; i < HOSTS; i++)
		stop_server(&servers[i]);
}

TEST(a_busy_host_does_not_keep_others_waiting)
{
	enum { BUSY = 30 };
	struct Waiting other, w[BUSY];
	Server a, b;
	Connection_T c;
	int i, place = -1;

	start_server(&a, ECHO);
	start_server(&b, ECHO);
	SocketPool_resize(pool, 1);
	c = check_out(&a);
	norder = 0;
	start_waiting(&other, 0, &b, 20000);
	for (i = 0; i < BUSY; i++)
		start_waiting(&w[i], 2 * i + 1, &a, 20000); /* odd numbers: each passes the connection on */
	SocketPool_checkin(pool, c);
	pthread_join(other.thread, NULL);
	for (i = 0; i < BUSY; i++)
		pthread_join(w[i].thread, NULL);
	ck_assert_int_eq(norder, BUSY + 1);
	for (i = 0; i <= BUSY; i++)
		if (order[i] == 0)
			place = i;
	ck_assert_int_eq(place, 8);
	stop_server(&a);
	stop_server(&b);
}

TEST(growing_the_pool_serves_the_waiters)
{
	Server server;
	struct Waiting w;

	start_server(&server, ECHO);
	SocketPool_resize(pool, 1);
	check_out(&server);
	norder = 0;
	start_waiting(&w, 0, &server, 20000);
	SocketPool_resize(pool, 2);
	pthread_join(w.thread, NULL);
	ck_assert_int_eq(norder, 1);
	stop_server(&server);
}

enum { THREADS = 64, TURNS = 10 * THREADS, MILLISECONDS = 400 };

struct Worker {
	const Server *server;
	pthread_t thread;
	int uses, failures;
	int64_t longest;
};

static int turns; /* atomic: taken by all threads */
/* a thread that starts early would have turns without competition */
static pthread_barrier_t all_there;

static void use_once(struct Worker *w)
{
	int64_t start = now_ms(), took;
	Connection_T c = SocketPool_checkout(pool, "127.0.0.1", w->server->port, 10000);
	char byte = 0;

	took = now_ms() - start;
	if (took > w->longest)
		w->longest = took;
	Socket_sendall(Connection_socket(c), "x", 1);
	w->failures += Socket_recv(Connection_socket(c), &byte, 1) != 1 || byte != 'x';
	wait_ms(2); /* so that the pool gives the turns, and not the scheduler */
	w->uses++;
	if (w->uses % 50 == 0)
		SocketPool_discard(pool, c);
	else
		SocketPool_checkin(pool, c);
}

static void *use_in_turn(void *cl)
{
	struct Worker *w = cl;

	pthread_barrier_wait(&all_there);
	TRY {
		while (__atomic_add_fetch(&turns, 1, __ATOMIC_ACQ_REL) <= TURNS)
			use_once(w);
	} ELSE {
		w->failures++;
	} END_TRY;
	return NULL;
}

TEST(sixty_four_threads_share_four_connections_fairly)
{
	struct Worker w[THREADS] = { 0 };
	Server server;
	int i, least = 1 << 30, most = 0;
	int64_t longest = 0;

	start_server(&server, ECHO);
	turns = 0;
	pthread_barrier_init(&all_there, NULL, THREADS + 1);
	for (i = 0; i < THREADS; i++) {
		w[i].server = &server;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, use_in_turn, &w[i]), 0);
	}
	pthread_barrier_wait(&all_there);
	for (i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert_int_eq(w[i].failures, 0);
		least = w[i].uses < least ? w[i].uses : least;
		most = w[i].uses > most ? w[i].uses : most;
		longest = w[i].longest > longest ? w[i].longest : longest;
	}
	printf("fairness: of %d threads each had %d to %d turns, and waited %lld ms for one at most\n",
		THREADS, least, most, (long long)longest);
	ck_assert_int_gt(least, 0);
	ck_assert_int_le(most, 3 * least);
	ck_assert_uint_eq(pool_stats().checked_out + pool_stats().waiting, 0);
	ck_assert_uint_le(pool_stats().peak, 4);
	stop_server(&server);
}

/* A connection whose use the drain interrupts must be discarded. */
static void use_or_discard(struct Worker *w, Connection_T c, int round)
{
	volatile int keep = 0;
	char byte = 0;

	TRY {
		Socket_sendall(Connection_socket(c), "x", 1);
		keep = Socket_recv(Connection_socket(c), &byte, 1) == 1 && round % 7 != 0;
	} EXCEPT(Socket_Failed) {
	} END_TRY;
	if (keep)
		SocketPool_checkin(pool, c);
	else
		SocketPool_discard(pool, c);
	w->uses++;
}

static void change_all(struct Worker *w, int round)
{
	SocketPool_Limits limits = { .per_host = (size_t)round % 4, .max_idle = (size_t)round % 3,
		.uses = round % 5,
		.lifetime_ms = round % 6 ? 0 : 20 };
	FILE *null = fopen("/dev/null", "w");
	SocketPool_Stats now;

	TRY {
		SocketPool_resize(pool, (size_t)(1 + round % 8));
	} EXCEPT(SocketPool_Failed) { /* more connections are in the pool */
	} END_TRY;
	SocketPool_set_limits(pool, &limits);
	SocketPool_evict_idle(pool, 0);
	now = pool_stats();
	w->failures += now.idle + now.checked_out > now.count || now.count > 8 || now.waiting > 8;
	SocketPool_report(pool, null);
	fclose(null);
}

/* Works until the drain. */
static void *work_and_change(void *cl)
{
	struct Worker *w = cl;
	volatile int round = 0;

	TRY {
		for (;; round++) {
			use_or_discard(w, SocketPool_checkout(pool, "127.0.0.1", w->server->port, 10000),
				round);
			if (round % 3 == 0)
				change_all(w, round);
		}
	} EXCEPT(SocketPool_Failed) {
		w->failures += strstr(Except_message(), "is drained") == NULL;
	} END_TRY;
	return NULL;
}

TEST(threads_check_out_and_in_while_all_is_changed_and_at_last_drained)
{
	struct Worker w[8] = { 0 };
	Server server;
	int i;

	start_server(&server, ECHO);
	for (i = 0; i < 8; i++) {
		w[i].server = &server;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work_and_change, &w[i]), 0);
	}
	wait_ms(MILLISECONDS);
	SocketPool_drain(pool, 5);
	for (i = 0; i < 8; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert_int_eq(w[i].failures, 0);
		ck_assert_int_gt(w[i].uses, 0);
	}
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_uint_eq(pool_stats().checked_out + pool_stats().waiting + pool_stats().idle, 0);
	stop_server(&server);
}

static int is_drained;

static void *drain_at_once(void *cl)
{
	SocketPool_drain(pool, 0);
	__atomic_store_n(&is_drained, 1, __ATOMIC_RELEASE);
	return cl;
}

/* TSan sees what the two do without the pool's lock. */
TEST(a_connection_is_in_use_while_another_thread_drains_the_pool)
{
	Connection_T c;
	pthread_t thread;
	Server server;

	start_server(&server, ECHO);
	c = SocketPool_checkout(pool, "127.0.0.1", server.port, 10000);
	is_drained = 0;
	ck_assert_int_eq(pthread_create(&thread, NULL, drain_at_once, NULL), 0);
	do {
		ck_assert_uint_eq(Connection_pending(c), 0);
		ck_assert_ptr_eq(SocketPool__at(c, __FILE__, __LINE__), c);
	} while (!__atomic_load_n(&is_drained, __ATOMIC_ACQUIRE));
	pthread_join(thread, NULL);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	SocketPool_checkin(pool, c);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	stop_server(&server);
}
