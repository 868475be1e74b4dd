/* SPDX-License-Identifier: MIT */
/* SocketPool's limits: which connections are accepted, and which are evicted, in which order. */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <core/SocketPool.h>
#include "testing.h"

NEEDS(.loopback = 1, .descriptors = 128);

enum { MOST = 64 };

static const Except_T Test_Failed = { "test", NULL, NULL };
static Arena_T arena;
static SocketPool_T pool;
static Socket_T listener;
static int clients[MOST], nclients;

static void set_up(void)
{
	nclients = 0;
	arena = Arena_new();
	pool = SocketPool_new(arena, 8, 1024);
	listener = Socket_listen("127.0.0.1", "0", 0);
	Socket_set_nonblocking(listener, 1);
}

static void tear_down(void)
{
	Arena_dispose(&arena);
	Socket_close(&listener);
	while (nclients > 0)
		close(clients[--nclients]);
}

/* Connects a client at 127.0.0.n. Returns its number. */
static int connect_from(unsigned n)
{
	struct sockaddr_in a = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_lt(nclients, MOST);
	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(0x7f000000u + n);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	a.sin_addr.s_addr = htonl(0x7f000001u);
	a.sin_port = htons((uint16_t)Socket_port(listener));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	clients[nclients] = fd;
	return nclients++;
}

static Socket_T accepted_from(unsigned n)
{
	connect_from(n);
	return Socket_accept(listener);
}

static Socket_T make_pair(void)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	clients[nclients++] = fd[1];
	return Socket_adopt(fd[0]);
}

static int is_closed(int i)
{
	char byte;
	ssize_t n = recv(clients[i], &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void wait_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000 * 1000 };

	while (nanosleep(&t, &t) != 0)
		;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static SocketPool_Stats pool_stats(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s;
}

/* ---- eviction ---- */

SUITE("SocketPool's limits");
CASE("limits", .setup = set_up, .teardown = tear_down);

static int order[MOST], norder;

static void note_order(void *n)
{
	order[norder++] = (int)(intptr_t)n;
}

TEST(eviction_begins_with_the_least_recently_used)
{
	static const int used[] = { 3, 0, 5, 1, 4, 2 };
	Connection_T c[6];
	int i;

	norder = 0;
	for (i = 0; i < 6; i++) {
		c[i] = SocketPool_add(pool, make_pair());
		Arena_defer(Connection_arena(c[i]), note_order, (void *)(intptr_t)i);
	}
	for (i = 0; i < 6; i++) {
		wait_ms(30);
		if (i % 2)
			Connection_touch(c[used[i]]);
		else
			Socket_sendall(Connection_socket(c[used[i]]), "x", 1);
	}
	wait_ms(30);
	ck_assert_uint_eq(SocketPool_evict_idle(pool, (int)Connection_idle_ms(c[used[2]])), 3);
	ck_assert_uint_eq(SocketPool_evict_idle(pool, 0), 3);
	for (i = 0; i < 6; i++)
		ck_assert_int_eq(order[i], used[i]);
	ck_assert_uint_eq(pool_stats().evicted, 6);
}

TEST(at_random_eviction_is_in_the_order_of_use)
{
	Connection_T c[40];
	int64_t when[40], last = 0;
	unsigned random = 7;
	int i, step;

	norder = 0;
	SocketPool_resize(pool, 40);
	for (i = 0; i < 40; i++) {
		c[i] = SocketPool_add(pool, make_pair());
		when[i] = now_ms();
		Arena_defer(Connection_arena(c[i]), note_order, (void *)(intptr_t)i);
	}
	for (step = 0; step < 30; step++) {
		wait_ms(1);
		for (i = 0; i < 4; i++) {
			int k = (int)((random = random * 1103515245u + 12345u) >> 16) % 40;

			Connection_touch(c[k]);
			when[k] = now_ms();
		}
		if (step % 10 == 5)
			SocketPool_evict_idle(pool, 100000); /* evicts none, and looks at the heap */
	}
	wait_ms(20);
	ck_assert_uint_eq(SocketPool_evict_idle(pool, 0), 40);
	for (i = 0; i < 40; i++) {
		ck_assert_int_ge(when[order[i]], last - 12); /* a tick of the coarse clock */
		last = when[order[i]] > last ? when[order[i]] : last;
	}
}

TEST(add_evicts_connections_that_were_idle_for_too_long)
{
	SocketPool_Limits limits = { 0 };
	int i;

	limits.idle_ms = 300;
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < 8; i++)
		ck_assert_ptr_nonnull(SocketPool_add(pool, make_pair()));
	wait_ms(400);
	ck_assert_ptr_nonnull(SocketPool_add(pool, make_pair()));
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	ck_assert_int_eq(is_closed(0) + is_closed(7), 2);
}

/* ---- limits ---- */

TEST(an_address_may_have_so_many_connections)
{
	SocketPool_Limits limits = { 0 };
	Socket_T s[5];
	int i;

	limits.per_address = 2;
	/* before the limits, so not counted */
	ck_assert_ptr_nonnull(SocketPool_add(pool, accepted_from(1)));
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < 3; i++)
		s[i] = accepted_from(1);
	ck_assert_ptr_nonnull(SocketPool_add(pool, s[0]));
	ck_assert_ptr_nonnull(SocketPool_add(pool, s[1]));
	ck_assert_ptr_null(SocketPool_add(pool, s[2]));
	s[3] = accepted_from(2);
	ck_assert_ptr_nonnull(SocketPool_add(pool, s[3]));
	ck_assert_ptr_nonnull(SocketPool_add(pool, make_pair())); /* it has no address */
	SocketPool_close(pool, &s[0]);
	ck_assert_ptr_nonnull(SocketPool_add(pool, s[2]));
	s[4] = accepted_from(1);
	ck_assert_ptr_null(SocketPool_add(pool, s[4]));
	Socket_close(&s[1]); /* closed without the pool, it counts no more */
	ck_assert_ptr_nonnull(SocketPool_add(pool, s[4]));
	ck_assert_uint_eq(pool_stats().refused, 2);
	limits.per_address = 0;
	SocketPool_set_limits(pool, &limits);
	ck_assert_ptr_nonnull(SocketPool_add(pool, accepted_from(1)));
}

/* 127.0.69.48 and 127.0.0.1 fall into one chain of records. */
TEST(addresses_of_one_chain_are_counted_apart)
{
	enum { COLLIDING = 69 << 8 | 48 };
	SocketPool_Limits limits = { .per_address = 1 };
	Socket_T a, b, more;

	SocketPool_set_limits(pool, &limits);
	a = accepted_from(1);
	b = accepted_from(COLLIDING);
	more = accepted_from(COLLIDING);
	ck_assert_ptr_nonnull(SocketPool_add(pool, a));
	ck_assert_ptr_nonnull(SocketPool_add(pool, b));
	ck_assert_ptr_null(SocketPool_add(pool, more));
	SocketPool_close(pool, &a);
	ck_assert_ptr_null(SocketPool_add(pool, more));
	SocketPool_close(pool, &b);
	ck_assert_ptr_nonnull(SocketPool_add(pool, more));
}

TEST(addresses_that_have_gone_cost_no_memory)
{
	SocketPool_Limits limits = { 0 };
	size_t used = 0;
	unsigned i;

	limits.per_address = 1;
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < 2000; i++) {
		Socket_T s = accepted_from(1 + i);

		ck_assert_ptr_nonnull(SocketPool_add(pool, s));
		SocketPool_close(pool, &s);
		close(clients[--nclients]);
		if (i == 0)
			used = Arena_used(arena);
	}
	ck_assert_uint_eq(Arena_used(arena), used);
}

TEST(so_many_may_come_in_a_second)
{
	SocketPool_Limits limits = { 0 };
	Socket_T s;
	int i, pause = 0;

	limits.rate = 5;
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < 5; i++)
		ck_assert_ptr_nonnull(SocketPool_add(pool, make_pair()));
	s = make_pair();
	ck_assert_ptr_null(SocketPool_add(pool, s));
	connect_from(1);
	ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
	ck_assert_int_gt(pause, 0);
	ck_assert_int_le(pause, 200);
	wait_ms(pause);
	ck_assert_ptr_nonnull(SocketPool_add(pool, s));
	ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
	wait_ms(pause);
	ck_assert_ptr_nonnull(SocketPool_accept(pool, listener, &pause));
	ck_assert_int_eq(pause, 0);
}

TEST(limits_that_are_set_again_and_again_cost_no_memory)
{
	SocketPool_Limits limits = { 0 };
	size_t used;
	int i;

	limits.per_address = 1;
	SocketPool_set_limits(pool, &limits);
	used = Arena_used(arena);
	for (i = 0; i < 100; i++) {
		limits.per_address = (size_t)i % 3;
		SocketPool_set_limits(pool, &limits);
	}
	ck_assert_uint_eq(Arena_used(arena), used);
}

TEST(limits_and_statistics_are_checked)
{
	SocketPool_Limits limits = { 0 };
	SocketPool_Stats s;
	int pause;

	ck_raises_saying(Assert_Failed, "SocketPool_set_limits", SocketPool_set_limits(NULL, &limits));
	ck_raises_saying(Assert_Failed, "limits are NULL", SocketPool_set_limits(pool, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_stats", SocketPool_stats(NULL, &s));
	ck_raises_saying(Assert_Failed, "statistics are NULL", SocketPool_stats(pool, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_accept", SocketPool_accept(NULL, listener, &pause));
	ck_raises_saying(Assert_Failed, "listener is NULL", SocketPool_accept(pool, NULL, &pause));
	ck_raises_saying(Assert_Failed, "pause is NULL", SocketPool_accept(pool, listener, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_drain", SocketPool_drain(NULL, 0));
	ck_raises_saying(Assert_Failed, "Connection_rest", Connection_rest(NULL));
}

TEST(statistics_count)
{
	Socket_T s = make_pair();

	SocketPool_add(pool, s);
	SocketPool_add(pool, make_pair());
	SocketPool_close(pool, &s);
	ck_assert_uint_eq(pool_stats().count, 1);
	ck_assert_uint_eq(pool_stats().capacity, 8);
	ck_assert_uint_eq(pool_stats().peak, 2);
	ck_assert_uint_eq(pool_stats().added, 2);
	ck_assert_uint_eq(pool_stats().refused + pool_stats().evicted, 0);
	ck_assert_uint_eq(pool_stats().shed + pool_stats().idle, 0);
}

/* ---- accept ---- */

TEST(accept_adds_a_waiting_client)
{
	int pause = 7;
	Connection_T c;

	ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
	ck_assert_int_eq(pause, 0);
	connect_from(1);
	c = SocketPool_accept(pool, listener, &pause);
	ck_assert_ptr_nonnull(c);
	Socket_sendall(Connection_socket(c), "x", 1);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
}

TEST(a_full_pool_leaves_clients_in_the_backlog)
{
	int pause;

	SocketPool_resize(pool, 1);
	connect_from(1);
	connect_from(1);
	ck_assert_ptr_nonnull(SocketPool_accept(pool, listener, &pause));
	ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
	ck_assert_int_gt(pause, 0);
	ck_assert_int_eq(is_closed(1), 0);
	SocketPool_resize(pool, 2);
	ck_assert_ptr_nonnull(SocketPool_accept(pool, listener, &pause));
}

TEST(accept_closes_a_client_whose_address_has_too_many)
{
	SocketPool_Limits limits = { 0 };
	int pause;

	limits.per_address = 1;
	SocketPool_set_limits(pool, &limits);
	connect_from(1);
	connect_from(1);
	ck_assert_ptr_nonnull(SocketPool_accept(pool, listener, &pause));
	ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
	ck_assert_int_eq(pause, 0);
	wait_ms(10);
	ck_assert_int_eq(is_closed(1), 1);
}

TEST(without_descriptors_a_client_is_let_go_and_accept_asks_for_a_pause)
{
	struct rlimit limit, few;
	int pause = 0, highest, i;

	/* the pool opens its spare descriptor */
	ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
	getrlimit(RLIMIT_NOFILE, &limit);
	few = limit;
	for (i = 1; i <= 3; i++) { /* the pool opens the spare descriptor again each time */
		connect_from(1);
		connect_from(1); /* under Valgrind, the failing accept drops one */
		highest = dup(0);
		close(highest);
		few.rlim_cur = (rlim_t)highest;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
		setrlimit(RLIMIT_NOFILE, &limit);
		ck_assert_int_gt(pause, 0);
		ck_assert_uint_eq(pool_stats().shed, (size_t)i);
	}
	ck_assert_int_eq(is_closed(0), 1);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	connect_from(1);
	ck_assert_ptr_nonnull(SocketPool_accept(pool, listener, &pause));
}

/* Valgrind takes the client before it finds that there is no descriptor, and drops it. */
TEST(without_even_a_spare_descriptor_it_asks_for_a_pause_and_the_client_waits,
	.unless = RUNNING_ON_VALGRIND)
{
	struct rlimit limit, few;
	int pause = 0, highest = dup(0);

	close(highest);
	connect_from(1);
	getrlimit(RLIMIT_NOFILE, &limit);
	few = limit;
	few.rlim_cur = (rlim_t)highest + 1; /* the client's; the pool's spare finds none */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_int_gt(pause, 0);
	ck_assert_uint_eq(pool_stats().shed, 0);
	ck_assert_int_eq(is_closed(0), 0);
	ck_assert_ptr_nonnull(SocketPool_accept(pool, listener, &pause));
}

TEST(a_socket_that_does_not_listen_is_not_accepted_from)
{
	Socket_T s = make_pair();
	int pause;

	ck_raises_saying(Socket_Failed, "accept", SocketPool_accept(pool, s, &pause));
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	Socket_close(&s);
}

/* ---- drain ---- */

TEST(after_a_drain_nothing_is_inside_and_nothing_comes_in)
{
	int64_t start = now_ms();
	Socket_T s = make_pair();
	int pause;

	SocketPool_add(pool, make_pair());
	SocketPool_add(pool, make_pair());
	SocketPool_drain(pool, 40);
	ck_assert_int_ge(now_ms() - start, 39);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_int_eq(is_closed(1) + is_closed(2), 2);
	ck_assert_ptr_null(SocketPool_add(pool, s));
	Socket_sendall(s, "x", 1);
	Socket_close(&s);
	connect_from(1);
	ck_assert_ptr_null(SocketPool_accept(pool, listener, &pause));
	ck_assert_int_eq(pause, -1);
	start = now_ms();
	SocketPool_drain(pool, 10000);
	ck_assert_int_lt(now_ms() - start, 1000);
}

static void *close_later(void *cl)
{
	Socket_T *s = cl;

	wait_ms(30);
	SocketPool_close(pool, &s[0]);
	wait_ms(30);
	Socket_close(&s[1]);
	return NULL;
}

TEST(a_drain_ends_when_the_last_one_has_left)
{
	int64_t start = now_ms();
	pthread_t thread;
	Socket_T s[2];

	s[0] = make_pair();
	s[1] = make_pair();
	SocketPool_add(pool, s[0]);
	SocketPool_add(pool, s[1]);
	ck_assert_int_eq(pthread_create(&thread, NULL, close_later, s), 0);
	SocketPool_drain(pool, -1);
	ck_assert_int_ge(now_ms() - start, 59);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_uint_eq(pool_stats().evicted, 0);
	pthread_join(thread, NULL);
}

static void raise_one(void *cl)
{
	(void)cl;
	RAISE(Test_Failed);
}

TEST(a_drain_closes_all_also_when_deferred_calls_raise)
{
	int i;

	for (i = 0; i < 3; i++)
		Arena_defer(Connection_arena(SocketPool_add(pool, make_pair())), raise_one, NULL);
	ck_raises(Test_Failed, SocketPool_drain(pool, 0));
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(is_closed(i), 1);
}

/* ---- rest ---- */

TEST(a_connection_at_rest_has_neither_buffer_nor_arena_but_its_data)
{
	Connection_T a = SocketPool_add(pool, make_pair()), b = SocketPool_add(pool, make_pair());
	char *buffer = Connection_buffer(a, NULL);
	Arena_T first = Connection_arena(a);

	buffer[0] = 'x';
	Arena_alloc(first, 100);
	Connection_set_data(a, &arena);
	Connection_rest(a);
	ck_assert_ptr_eq(Connection_buffer(b, NULL), buffer);
	ck_assert_ptr_eq(Connection_arena(b), first);
	ck_assert_uint_eq(Arena_used(first), 0);
	ck_assert_ptr_eq(Connection_data(a), &arena);
	ck_assert_int_eq(Connection_active(a), 1);
	ck_assert_ptr_ne(Connection_buffer(a, NULL), buffer);
	Arena_defer(Connection_arena(a), raise_one, NULL);
	ck_raises(Test_Failed, Connection_rest(a));
	ck_assert_int_eq(Connection_active(a), 1);
	Connection_rest(a);
}

static int try_add(SocketPool_T p, Socket_T s)
{
	volatile int works = 0;

	TRY {
		works = SocketPool_add(p, s) != NULL;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	return works;
}

TEST(without_memory_for_its_address_a_socket_stays_the_callers)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	SocketPool_T p = SocketPool_new(a, 4, 64);
	SocketPool_Limits limits = { 0 };
	Socket_T s = accepted_from(1);

	limits.per_address = 3;
	f.fail_at = 0;
	ck_raises(Arena_Failed, SocketPool_set_limits(p, &limits));
	f.fail_at = -1;
	SocketPool_set_limits(p, &limits);
	f.fail_at = 0;
	while (Arena_try_alloc(a, 1))
		;
	ck_assert_int_eq(try_add(p, s), 0);
	ck_assert_uint_eq(SocketPool_count(p), 0);
	f.fail_at = -1;
	ck_assert_int_eq(try_add(p, s), 1);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

/* ---- threads: each at an address of its own, which has as many connections as it should ---- */

enum { THREADS = 8, ROUNDS = 30, OWN = 4 };

struct Worker {
	unsigned number;
	int wrong;
	size_t evicted;
	Socket_T listener, own[OWN];
	pthread_t thread;
};

static pthread_barrier_t phase;

static Socket_T connect_to_self(struct Worker *w)
{
	struct sockaddr_in a = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(0x7f000001u + w->number);
	w->wrong += bind(fd, (struct sockaddr *)&a, sizeof a) != 0;
	a.sin_addr.s_addr = htonl(0x7f000001u);
	a.sin_port = htons((uint16_t)Socket_port(w->listener));
	w->wrong += connect(fd, (struct sockaddr *)&a, sizeof a) != 0;
	return Socket_adopt(fd);
}

/* Adds one in two steps, the next one in one. Returns NULL if the limits do not allow it. */
static Socket_T come_in(struct Worker *w, int i)
{
	Socket_T client = connect_to_self(w), s = NULL;
	Connection_T c;
	int pause;

	if (i % 2) {
		s = Socket_accept(w->listener);
		c = SocketPool_add(pool, s);
		if (!c)
			Socket_close(&s);
	} else {
		c = SocketPool_accept(pool, w->listener, &pause);
		s = c ? Connection_socket(c) : NULL;
		if (!c && pause != 0) { /* it stayed in the backlog */
			Socket_T left = Socket_accept(w->listener);

			Socket_close(&left);
		}
	}
	Socket_close(&client);
	return s;
}

static void count_active(Connection_T c, void *n)
{
	*(int *)n += Connection_active(c);
}

static void change_all(struct Worker *w, int round)
{
	SocketPool_Limits limits = { 0 };
	SocketPool_Stats now;
	int active = 0;

	limits.per_address = (size_t)round % 3;
	limits.rate = round % 5 ? 0 : 1000000;
	limits.idle_ms = round % 4 ? 0 : 1000000;
	SocketPool_set_limits(pool, &limits);
	TRY {
		SocketPool_resize(pool, round % 7 ? (size_t)(THREADS * OWN + round) : 2);
	} EXCEPT(SocketPool_Failed) { /* more are in the pool */
	} END_TRY;
	SocketPool_map(pool, count_active, &active);
	SocketPool_stats(pool, &now);
	w->wrong += now.count > THREADS * OWN || now.added < now.count + now.evicted
		|| now.peak < now.count;
}

static void come_and_go(struct Worker *w)
{
	int round, i;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < OWN; i++)
			w->own[i] = come_in(w, i);
		change_all(w, round + (int)w->number);
		w->wrong += SocketPool_evict_idle(pool, 1000000) != 0;
		for (i = 0; i < OWN; i++) {
			w->wrong += w->own[i] && !SocketPool_get(pool, w->own[i]);
			if (w->own[i] && i % 2)
				SocketPool_close(pool, &w->own[i]);
			else
				Socket_close(&w->own[i]);
		}
	}
}

/* After a phase of adding and closing, the counts by address are right: one more may come, and
 * not two. All threads evict these at once. Then all threads drain, while half of them still
 * have connections. */
static void come_in_turn(struct Worker *w)
{
	int i;

	pthread_barrier_wait(&phase);
	w->own[0] = come_in(w, 1);
	w->own[1] = come_in(w, 1);
	w->wrong += !w->own[0] || w->own[1];
	pthread_barrier_wait(&phase);
	for (i = 0; i < 3; i++) {
		w->evicted += SocketPool_evict_idle(pool, 0);
		SocketPool_resize(pool, THREADS * OWN + w->number);
	}
	pthread_barrier_wait(&phase);
	w->own[0] = w->number % 2 ? come_in(w, 0) : NULL;
	pthread_barrier_wait(&phase);
	if (w->own[0])
		SocketPool_close(pool, &w->own[0]);
	SocketPool_drain(pool, 10000);
	w->wrong += SocketPool_count(pool) != 0 || come_in(w, 0) || come_in(w, 1);
}

static void *work_in_phases(void *cl)
{
	SocketPool_Limits limits = { 0 };
	struct Worker *w = cl;

	come_and_go(w);
	if (pthread_barrier_wait(&phase) == PTHREAD_BARRIER_SERIAL_THREAD) {
		limits.per_address = 1;
		SocketPool_set_limits(pool, &limits);
		SocketPool_resize(pool, THREADS * OWN);
	}
	come_in_turn(w);
	return NULL;
}

TEST(threads_add_evict_limit_resize_and_drain_at_once)
{
	struct Worker workers[THREADS] = { 0 };
	size_t evicted = 0;
	unsigned i;

	pthread_barrier_init(&phase, NULL, THREADS);
	for (i = 0; i < THREADS; i++) {
		workers[i].number = i + 1;
		workers[i].listener = Socket_listen("127.0.0.1", "0", 0);
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work_in_phases, &workers[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		ck_assert_int_eq(workers[i].wrong, 0);
		evicted += workers[i].evicted;
		Socket_close(&workers[i].listener);
	}
	ck_assert_uint_eq(evicted, THREADS);
	ck_assert_uint_eq(pool_stats().evicted, THREADS);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	pthread_barrier_destroy(&phase);
}
