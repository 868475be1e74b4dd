/* SPDX-License-Identifier: MIT */
/* SocketPool's client side, against small servers of this program and, where they are installed, real ones. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <core/SocketPool.h>
#include "testing.h"

NEEDS(.loopback = 1, .descriptors = 128);

static const Except_T Test_Failed = { "test", NULL, NULL };
static Arena_T arena;
static SocketPool_T pool;

static void set_up(void)
{
	arena = Arena_new();
	pool = SocketPool_new(arena, 4, 1024);
}

static void tear_down(void)
{
	Arena_dispose(&arena);
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

static SocketPool_Stats stats(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s;
}

/* ---- servers: a process each, so that descriptors are not shared ---- */

enum Manner { ECHO, STALL, RESET, CLOSE_AFTER_REPLY, GREET };

typedef struct Server {
	char port[8];
	pid_t process;
} Server;

static void serve_one(Socket_T s, enum Manner manner)
{
	struct linger hard = { 1, 0 };
	char buffer[512];
	size_t n;

	if (manner == RESET) {
		setsockopt(Socket_fd(s), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		wait_ms(10); /* or connect itself may see it */
	}
	if (manner == GREET)
		Socket_sendall(s, "hello", 5);
	while (manner != RESET && (n = Socket_recv(s, buffer, sizeof buffer)) > 0) {
		if (manner != STALL)
			Socket_sendall(s, buffer, n);
		if (manner == CLOSE_AFTER_REPLY)
			break;
	}
}

typedef struct Served {
	Socket_T socket;
	enum Manner manner;
} Served;

static void *serve_in_thread(void *cl)
{
	Served served = *(Served *)cl;

	free(cl);
	TRY {
		serve_one(served.socket, served.manner);
	} EXCEPT(Socket_Failed) {
	} FINALLY {
		Socket_close(&served.socket);
	} END_TRY;
	return NULL;
}

static void serve(Socket_T listener, enum Manner manner)
{
	for (;;) {
		Served *served = malloc(sizeof *served);
		pthread_t thread;

		served->socket = Socket_accept(listener);
		served->manner = manner;
		pthread_create(&thread, NULL, serve_in_thread, served);
		pthread_detach(thread);
	}
}

static void start_at(Server *server, enum Manner manner, const char *port)
{
	Socket_T listener = Socket_listen("127.0.0.1", port, 0);

	snprintf(server->port, sizeof server->port, "%d", Socket_port(listener));
	server->process = fork();
	if (server->process == 0)
		serve(listener, manner);
	Socket_close(&listener);
}

static void start(Server *server, enum Manner manner)
{
	start_at(server, manner, "0");
}

static void stop(Server *server)
{
	kill(server->process, SIGKILL);
	waitpid(server->process, NULL, 0);
}

static Connection_T checkout(const Server *server)
{
	return SocketPool_checkout(pool, "127.0.0.1", server->port, 5000);
}

static void ck_echo(Connection_T c)
{
	char byte = 0;

	Socket_sendall(Connection_socket(c), "x", 1);
	ck_assert_uint_eq(Socket_recv(Connection_socket(c), &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
}

/* ---- out and in ---- */

SUITE("SocketPool's client side");
CASE("client", .setup = set_up, .teardown = tear_down);

TEST(a_connection_that_was_checked_in_is_used_again_the_newest_first)
{
	Server server;
	Connection_T a, b;
	Socket_T s, t;

	start(&server, ECHO);
	a = checkout(&server);
	b = checkout(&server);
	s = Connection_socket(a);
	t = Connection_socket(b);
	ck_echo(a);
	ck_echo(b);
	ck_assert_uint_eq(stats().checked_out, 2);
	SocketPool_checkin(pool, b);
	SocketPool_checkin(pool, a);
	ck_assert_uint_eq(stats().idle, 2);
	a = checkout(&server);
	ck_assert_ptr_eq(Connection_socket(a), s);
	b = checkout(&server);
	ck_assert_ptr_eq(Connection_socket(b), t);
	ck_echo(a);
	SocketPool_discard(pool, a);
	SocketPool_checkin(pool, b);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	ck_assert_uint_eq(stats().opened, 2);
	ck_assert_uint_eq(stats().reused, 2);
	ck_assert_uint_eq(stats().checked_out, 0);
	stop(&server);
}

TEST(a_handle_is_stale_once_it_is_checked_in)
{
	Server server;
	Connection_T c;
	int fd[2];

	start(&server, ECHO);
	c = checkout(&server);
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
	stop(&server);
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

	start(&server, ECHO);
	for (i = 0; i < 100; i++) {
		c = checkout(&server);
		ck_assert_ptr_eq(Connection_data(c), i ? &server : NULL);
		Connection_set_data(c, &server);
		a = Connection_arena(c);
		ck_assert_uint_eq(Arena_used(a), 0);
		Arena_alloc(a, 1000);
		ck_assert_int_eq(*Connection_buffer(c, NULL), 0);
		*Connection_buffer(c, NULL) = 'x';
		SocketPool_checkin(pool, c);
	}
	c = checkout(&server);
	Arena_defer(Connection_arena(c), raise_one, NULL);
	ck_raises(Test_Failed, SocketPool_checkin(pool, c));
	ck_assert_uint_eq(stats().idle, 1);
	ck_assert_uint_eq(stats().opened, 1);
	stop(&server);
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

	start(&server, ECHO);
	r->calls = 0;
	for (r->how = CLOSED; r->how < MISUSES; r->how++) {
		r->c = checkout(&server);
		r->s = Connection_socket(r->c);
		Arena_defer(Connection_arena(r->c), take_it_away, r);
		SocketPool_checkin(pool, r->c);
		ck_assert_int_eq(r->calls, r->how + 1);
		ck_assert_uint_eq(SocketPool_count(pool), 0);
		ck_assert_uint_eq(stats().idle + stats().checked_out, 0);
	}
	r->c = checkout(&server);
	ck_assert_uint_eq(Arena_used(Connection_arena(r->c)), 0);
	ck_echo(r->c);
	SocketPool_checkin(pool, r->c);
	ck_assert_uint_eq(stats().idle, 1);
	stop(&server);
}

TEST(a_connection_that_the_peer_closed_is_not_given_out)
{
	Server server;
	int i;

	start(&server, CLOSE_AFTER_REPLY);
	for (i = 0; i < 5; i++) {
		Connection_T c = checkout(&server);
		struct pollfd p = { Socket_fd(Connection_socket(c)), POLLIN, 0 };

		ck_echo(c);
		SocketPool_checkin(pool, c);
		ck_assert_int_eq(poll(&p, 1, 20000), 1); /* the end of the stream */
	}
	ck_assert_uint_eq(stats().stale, 4);
	ck_assert_uint_eq(stats().opened, 5);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	stop(&server);
}

static void ck_never_again(enum Manner manner)
{
	struct pollfd p = { -1, POLLIN, 0 };
	Server server;
	Connection_T c;

	start(&server, manner);
	c = checkout(&server);
	p.fd = Socket_fd(Connection_socket(c));
	SocketPool_checkin(pool, c);
	ck_assert_int_eq(poll(&p, 1, 20000), 1);
	c = checkout(&server);
	ck_assert_uint_eq(stats().reused, 0);
	SocketPool_discard(pool, c);
	stop(&server);
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

	start(&server, ECHO);
	for (i = 0; i < 3; i++)
		c[i] = checkout(&server);
	for (i = 0; i < 3; i++)
		SocketPool_checkin(pool, c[i]);
	stop(&server);
	start_at(&again, ECHO, server.port);
	c[0] = checkout(&again);
	ck_echo(c[0]);
	ck_assert_uint_eq(stats().stale, 3);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	stop(&again);
}

TEST(a_server_that_stalls_costs_its_timeout_and_one_connection)
{
	Server server;
	Connection_T c;
	char byte;

	start(&server, STALL);
	c = checkout(&server);
	Socket_set_timeout(Connection_socket(c), 30);
	Socket_sendall(Connection_socket(c), "x", 1);
	ck_raises(Socket_Timeout, Socket_recv(Connection_socket(c), &byte, 1));
	SocketPool_discard(pool, c);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	stop(&server);
}

TEST(lifetime_uses_idle_time_and_the_number_of_idle_ones_are_limited)
{
	SocketPool_Limits limits = { 0 };
	Server server;
	Connection_T c, d;
	int i;

	start(&server, ECHO);
	limits.uses = 3;
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < 6; i++)
		SocketPool_checkin(pool, checkout(&server));
	ck_assert_uint_eq(stats().opened, 2);
	limits.uses = 0;
	limits.max_idle = 1;
	SocketPool_set_limits(pool, &limits);
	c = checkout(&server);
	d = checkout(&server);
	SocketPool_checkin(pool, c);
	SocketPool_checkin(pool, d);
	ck_assert_uint_eq(stats().idle, 1);
	limits.idle_ms = 30;
	SocketPool_set_limits(pool, &limits);
	wait_ms(60);
	SocketPool_checkin(pool, checkout(&server));
	ck_assert_uint_eq(stats().evicted, 1);
	limits.idle_ms = 0;
	limits.lifetime_ms = 50;
	SocketPool_set_limits(pool, &limits);
	SocketPool_discard(pool, checkout(&server));
	i = (int)stats().opened;
	SocketPool_checkin(pool, checkout(&server));
	wait_ms(70);
	SocketPool_checkin(pool, checkout(&server));
	ck_assert_uint_eq(stats().opened, (size_t)i + 2);
	stop(&server);
}

/* ---- waiting ---- */

TEST(who_waits_too_long_is_told_who_has_them)
{
	SocketPool_Limits limits = { 0 };
	Server server;
	Connection_T c;
	volatile int line;
	int64_t start_of_wait;

	start(&server, ECHO);
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
	ck_assert_uint_eq(stats().timed_out, 2);
	ck_assert_uint_eq(stats().waiting, 0);
	SocketPool_checkin(pool, c);
	SocketPool_discard(pool, checkout(&server));
	stop(&server);
}

struct Waiting {
	const Server *server;
	pthread_t thread;
	int number, ms;
};

static int order[64], norder; /* atomic */

static void *wait_for_one(void *cl)
{
	struct Waiting *w = cl;

	TRY {
		Connection_T c = SocketPool_checkout(pool, "127.0.0.1", w->server->port, w->ms);

		order[__atomic_fetch_add(&norder, 1, __ATOMIC_ACQ_REL)] = w->number;
		if (w->number % 2)
			SocketPool_checkin(pool, c);
		else
			SocketPool_discard(pool, c);
	} EXCEPT(SocketPool_Failed) {
	} END_TRY;
	return NULL;
}

static void start_waiting(struct Waiting *w, int number, const Server *server, int ms)
{
	size_t before = stats().waiting;

	w->server = server;
	w->number = number;
	w->ms = ms;
	ck_assert_int_eq(pthread_create(&w->thread, NULL, wait_for_one, w), 0);
	while (stats().waiting == before)
		wait_ms(1);
}

TEST(first_come_first_served_and_one_that_gave_up_costs_nothing)
{
	SocketPool_Limits limits = { 0 };
	struct Waiting w[8];
	Server server;
	Connection_T c;
	int i;

	start(&server, ECHO);
	limits.per_host = 1;
	SocketPool_set_limits(pool, &limits);
	c = checkout(&server);
	norder = 0;
	for (i = 0; i < 8; i++)
		start_waiting(&w[i], i, &server, i == 3 ? 500 : 20000);
	pthread_join(w[3].thread, NULL);
	ck_assert_uint_eq(stats().waiting, 7);
	SocketPool_checkin(pool, c);
	for (i = 0; i < 8; i++)
		if (i != 3)
			pthread_join(w[i].thread, NULL);
	ck_assert_int_eq(norder, 7);
	for (i = 0; i < 7; i++)
		ck_assert_int_eq(order[i], i < 3 ? i : i + 1);
	ck_assert_uint_eq(stats().checked_out + stats().waiting, 0);
	stop(&server);
}

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if !defined __SANITIZE_ADDRESS__ /* which leaves the stack poisoned that a cancelled thread unwinds, and stumbles */
TEST(a_cancelled_waiter_leaves_its_place)
{
	SocketPool_Limits limits = { 0 };
	struct Waiting w[3];
	Server server;
	Connection_T c;
	int i, round, served;

	start(&server, ECHO);
	limits.per_host = 1;
	SocketPool_set_limits(pool, &limits);
	for (round = 0; round < 20; round++) {
		c = checkout(&server);
		norder = 0;
		for (i = 0; i < 3; i++)
			start_waiting(&w[i], i, &server, 20000);
		if (round % 2) /* while it is being served */
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
		if (stats().checked_out) /* cancelled with one in its hands, not in the pool's */
			break;
		ck_assert_uint_eq(stats().waiting, 0);
		SocketPool_discard(pool, checkout(&server));
	}
	ck_assert_int_gt(round, 0);
	stop(&server);
}
#endif

TEST(an_idle_connection_makes_room_for_another_host)
{
	Server a, b;
	Connection_T c;
	struct Waiting w;
	int i;

	start(&a, ECHO);
	start(&b, ECHO);
	SocketPool_resize(pool, 1);
	for (i = 0; i < 4; i++) {
		c = checkout(i % 2 ? &a : &b);
		ck_echo(c);
		SocketPool_checkin(pool, c);
		ck_assert_uint_eq(SocketPool_count(pool), 1);
	}
	c = checkout(&a);
	norder = 0;
	start_waiting(&w, 1, &b, 20000);
	SocketPool_checkin(pool, c); /* which is of no use to who waits */
	pthread_join(w.thread, NULL);
	ck_assert_int_eq(norder, 1);
	stop(&a);
	stop(&b);
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
		start(&servers[i], ECHO);
		wait_ms(30);
		c = SocketPool_checkout(pool, "127.0.0.1", servers[i].port, 2000);
		SocketPool_checkin(pool, c);
	}
	c = checkout(&servers[1]);
	ck_assert_uint_eq(stats().opened, HOSTS);
	ck_assert_uint_eq(stats().reused, 1);
	ck_assert_int_eq(Connection_active(added), 1);
	SocketPool_checkin(pool, c);
	for (i = 0; i < HOSTS; i++)
		stop(&servers[i]);
	close(fd[1]);
}

TEST(a_busy_host_does_not_keep_others_waiting)
{
	enum { BUSY = 30 };
	struct Waiting other, w[BUSY];
	Server a, b;
	Connection_T c;
	int i, place = -1;

	start(&a, ECHO);
	start(&b, ECHO);
	SocketPool_resize(pool, 1);
	c = checkout(&a);
	norder = 0;
	start_waiting(&other, 0, &b, 20000);
	for (i = 0; i < BUSY; i++)
		start_waiting(&w[i], 2 * i + 1, &a, 20000); /* odd: each gives it to the next */
	SocketPool_checkin(pool, c);
	pthread_join(other.thread, NULL);
	for (i = 0; i < BUSY; i++)
		pthread_join(w[i].thread, NULL);
	ck_assert_int_eq(norder, BUSY + 1);
	for (i = 0; i <= BUSY; i++)
		if (order[i] == 0)
			place = i;
	ck_assert_int_eq(place, 8);
	stop(&a);
	stop(&b);
}

TEST(a_larger_pool_serves_who_waits)
{
	Server server;
	struct Waiting w;

	start(&server, ECHO);
	SocketPool_resize(pool, 1);
	checkout(&server);
	norder = 0;
	start_waiting(&w, 0, &server, 20000);
	SocketPool_resize(pool, 2);
	pthread_join(w.thread, NULL);
	ck_assert_int_eq(norder, 1);
	stop(&server);
}

enum { THREADS = 64, TURNS = 10 * THREADS, MILLISECONDS = 400 };

struct Worker {
	const Server *server;
	pthread_t thread;
	int uses, failures;
	int64_t longest;
};

static int turns; /* atomic: taken by all of them */
static pthread_barrier_t all_there; /* who starts early would have turns without competition */

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
	wait_ms(2); /* so that the turns are the pool's to give, and not the processor's */
	w->uses++;
	if (w->uses % 50 == 0)
		SocketPool_discard(pool, c);
	else
		SocketPool_checkin(pool, c);
}

static void *work(void *cl)
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

	start(&server, ECHO);
	turns = 0;
	pthread_barrier_init(&all_there, NULL, THREADS + 1);
	for (i = 0; i < THREADS; i++) {
		w[i].server = &server;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	pthread_barrier_wait(&all_there);
	for (i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert_int_eq(w[i].failures, 0);
		least = w[i].uses < least ? w[i].uses : least;
		most = w[i].uses > most ? w[i].uses : most;
		longest = w[i].longest > longest ? w[i].longest : longest;
	}
	printf("fairness: of %d threads each had %d to %d turns, and waited %lld ms for one at most\n", THREADS, least, most,
		(long long)longest);
	ck_assert_int_gt(least, 0);
	ck_assert_int_le(most, 3 * least);
	ck_assert_uint_eq(stats().checked_out + stats().waiting, 0);
	ck_assert_uint_le(stats().peak, 4);
	stop(&server);
}

/* A use that the drain cuts short is a connection to discard. */
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
	SocketPool_Limits limits = { .per_host = (size_t)round % 4, .max_idle = (size_t)round % 3, .uses = round % 5,
		.lifetime_ms = round % 6 ? 0 : 20 };
	FILE *null = fopen("/dev/null", "w");
	SocketPool_Stats now;

	TRY {
		SocketPool_resize(pool, (size_t)(1 + round % 8));
	} EXCEPT(SocketPool_Failed) { /* more are inside */
	} END_TRY;
	SocketPool_set_limits(pool, &limits);
	SocketPool_evict_idle(pool, 0);
	now = stats();
	w->failures += now.idle + now.checked_out > now.count || now.count > 8 || now.waiting > 8;
	SocketPool_report(pool, null);
	fclose(null);
}

/* To the drain. */
static void *work_and_change(void *cl)
{
	struct Worker *w = cl;
	volatile int round = 0;

	TRY {
		for (;; round++) {
			use_or_discard(w, SocketPool_checkout(pool, "127.0.0.1", w->server->port, 10000), round);
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

	start(&server, ECHO);
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
	ck_assert_uint_eq(stats().checked_out + stats().waiting + stats().idle, 0);
	stop(&server);
}

/* ---- failures ---- */

/* One that is not among those that connections take for themselves: nobody gets it before the server does. */
static const char *free_port(void)
{
	volatile int port = 20000 + (int)(getpid() * 31 % 10000);
	Socket_T volatile s = NULL;
	Socket_T found;

	for (; !s && port < 32000; port++)
		TRY {
			s = Socket_listen("127.0.0.1", Arena_sprintf(arena, "%d", port), 0);
		} EXCEPT(Socket_Failed) {
		} END_TRY;
	ck_assert_ptr_nonnull(s);
	found = s;
	Socket_close(&found);
	return Arena_sprintf(arena, "%d", port - 1);
}

TEST(a_host_that_refused_is_held_down_for_a_while_longer_each_time)
{
	SocketPool_Limits limits = { 0 };
	const char *port = free_port();
	Server server;
	volatile int error = 0;

	limits.hold_ms = 300;
	SocketPool_set_limits(pool, &limits);
	ck_raises(Socket_Refused, SocketPool_checkout(pool, "127.0.0.1", port, 5000));
	TRY {
		SocketPool_checkout(pool, "127.0.0.1", port, 5000);
	} EXCEPT(SocketPool_Failed) {
		error = Except_errno();
		ck_assert_msg(strstr(Except_message(), "held down for") != NULL, "%s", Except_message());
	} END_TRY;
	ck_assert_int_eq(error, ECONNREFUSED);
	wait_ms(320);
	ck_raises(Socket_Refused, SocketPool_checkout(pool, "127.0.0.1", port, 5000));
	wait_ms(320);
	ck_raises_saying(SocketPool_Failed, "held down", SocketPool_checkout(pool, "127.0.0.1", port, 5000));
	ck_assert_uint_eq(stats().failed, 2);
	start_at(&server, ECHO, port);
	wait_ms(320);
	ck_echo(checkout(&server));
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	stop(&server);
}

TEST(an_idle_connection_makes_way_when_another_hosts_hold_down_ends)
{
	SocketPool_T p = SocketPool_new(arena, 2, 64);
	SocketPool_Limits limits = { 0 };
	Server other, held;
	Connection_T out, again;

	limits.hold_ms = 300;
	SocketPool_set_limits(p, &limits);
	start(&other, ECHO);
	start(&held, ECHO);
	out = SocketPool_checkout(p, "127.0.0.1", held.port, 5000);
	stop(&held);
	ck_raises(Socket_Refused, SocketPool_checkout(p, "127.0.0.1", held.port, 5000));
	SocketPool_checkin(p, SocketPool_checkout(p, "127.0.0.1", other.port, 5000));
	start_at(&held, ECHO, held.port);
	again = SocketPool_checkout(p, "127.0.0.1", held.port, 20000);
	ck_echo(again);
	SocketPool_discard(p, out);
	SocketPool_discard(p, again);
	ck_assert_uint_eq(SocketPool_count(p), 0);
	stop(&held);
	stop(&other);
}

static int try_checkout(SocketPool_T p, const Server *server)
{
	volatile int works = 0;

	TRY {
		SocketPool_discard(p, SocketPool_checkout(p, "127.0.0.1", server->port, 5000));
		works = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	return works;
}

TEST(without_memory_checkout_changes_nothing)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	SocketPool_T p = SocketPool_new(a, 4, 64);
	SocketPool_Stats s;
	Server server;
	int failures = 0;

	start(&server, ECHO);
	for (f.fail_at = 0; Arena_try_alloc(a, 1); )
		;
	for (; !try_checkout(p, &server); f.fail_at = ++failures) {
		SocketPool_stats(p, &s);
		ck_assert_uint_eq(s.count + s.checked_out + s.failed, 0);
		while (f.fail_at > 0 && Arena_try_alloc(a, 1))
			;
	}
	ck_assert_int_gt(failures, 0);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
	stop(&server);
}

TEST(hosts_that_are_not_used_any_more_cost_no_memory)
{
	SocketPool_Limits limits = { 0 };
	Server server;
	size_t used = 0;
	int i;

	limits.uses = 1;
	SocketPool_set_limits(pool, &limits);
	start(&server, ECHO);
	for (i = 0; i < 400; i++) { /* as many names of 127.0.0.1 */
		const char *host = Arena_sprintf(arena, "0x%0*x", 8 + i % 20, 0x7f000001);
		const char *service = Arena_sprintf(arena, "%0*d", 5 + i / 20 % 4, atoi(server.port));

		if (i / 80 % 2)
			host = Arena_sprintf(arena, "127.0.0.%0*d", 1 + i % 20, 1);
		SocketPool_checkin(pool, SocketPool_checkout(pool, host, service, 5000));
		if (i == 199)
			used = Arena_used(arena);
	}
	ck_assert_uint_le(Arena_used(arena), used + 200 * (64 + 48)); /* the names, and no hosts */
	stop(&server);
}

TEST(a_leak_is_reported_with_the_line_that_checked_it_out)
{
	char *text = NULL, *expected;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	Server server;
	int line;

	start(&server, ECHO);
	SocketPool_checkin(pool, checkout(&server));
	line = __LINE__ + 1;
	SocketPool_checkout(pool, "127.0.0.1", server.port, 5000);
	SocketPool_report(pool, out);
	fclose(out);
	expected = Arena_sprintf(arena, "127.0.0.1:%s checked out for ", server.port);
	ck_assert_int_eq(strncmp(text, expected, strlen(expected)), 0);
	expected = Arena_sprintf(arena, "%s:%d\n", __FILE__, line);
	ck_assert_ptr_nonnull(strstr(text, expected));
	ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
	free(text);
	stop(&server);
}

TEST(a_drain_shuts_down_what_is_checked_out_and_refuses_who_waits)
{
	SocketPool_Limits limits = { 0 };
	Server server;
	Connection_T c;
	struct Waiting w;
	char byte;

	start(&server, ECHO);
	limits.per_host = 2;
	SocketPool_set_limits(pool, &limits);
	c = checkout(&server);
	SocketPool_discard(pool, checkout(&server));
	limits.per_host = 1;
	SocketPool_set_limits(pool, &limits);
	norder = 0;
	start_waiting(&w, 0, &server, 20000);
	SocketPool_drain(pool, 20);
	pthread_join(w.thread, NULL);
	ck_assert_int_eq(norder, 0);
	ck_assert_int_eq(Connection_active(c), 1);
	ck_assert_uint_eq(Socket_recv(Connection_socket(c), &byte, 1), 0);
	SocketPool_checkin(pool, c);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_raises_saying(SocketPool_Failed, "is drained", SocketPool_checkout(pool, "127.0.0.1", server.port, 1));
	stop(&server);
}

/* ---- real servers ---- */

static int is_there(const char *program)
{
	return access(program, X_OK) == 0;
}

static pid_t run(char *const argv[])
{
	pid_t child = fork();
	int null;

	if (child == 0) {
		null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		execv(argv[0], argv);
		_exit(127);
	}
	return child;
}

static void end(pid_t child)
{
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
}

/* The first connection to a server that is starting. */
static Connection_T first_checkout(const char *port)
{
	Connection_T volatile c = NULL;
	volatile int i;

	for (i = 0; !c && i < 400; i++)
		TRY {
			c = SocketPool_checkout(pool, "127.0.0.1", port, 5000);
		} ELSE {
			wait_ms(50);
		} END_TRY;
	ck_assert_ptr_nonnull(c);
	return c;
}

static void ck_exchange(Connection_T c, const char *request, const char *end_of_reply)
{
	char reply[4096];
	size_t n = 0, got;

	Socket_set_timeout(Connection_socket(c), 5000);
	Socket_sendall(Connection_socket(c), request, strlen(request));
	do {
		got = Socket_recv(Connection_socket(c), reply + n, sizeof reply - 1 - n);
		ck_assert_uint_gt(got, 0);
		n += got;
		reply[n] = '\0';
	} while (!strstr(reply, end_of_reply));
}

TEST(nginx_closes_idle_connections_and_none_of_them_is_used)
{
	static char program[] = "/usr/sbin/nginx";
	char directory[] = "/tmp/test_upstream.XXXXXX", path[64], option[64];
	char *argv[] = { program, (char[]){"-p"}, directory, (char[]){"-c"}, option, NULL };
	const char *port = free_port();
	int i;
	FILE *f;
	pid_t nginx;

	if (!is_there(program))
		return;
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/conf", directory);
	snprintf(option, sizeof option, "%s", path);
	f = fopen(path, "w");
	fprintf(f, "daemon off; master_process off; pid %s/pid; error_log stderr;\nevents {}\nhttp { access_log off;\n"
		"client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;\n"
		"server { listen 127.0.0.1:%s; keepalive_timeout 1s; location / { return 200 done; } } }\n",
		directory, directory, directory, directory, directory, directory, port);
	fclose(f);
	nginx = run(argv);
	SocketPool_checkin(pool, first_checkout(port));
	for (i = 0; i < 5; i++) {
		Connection_T c = SocketPool_checkout(pool, "127.0.0.1", port, 5000);

		ck_exchange(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\ndone");
		SocketPool_checkin(pool, c);
		if (i == 2)
			wait_ms(1300);
	}
	ck_assert_uint_eq(stats().stale, 1);
	ck_assert_uint_eq(stats().opened, 2);
	end(nginx);
	snprintf(path, sizeof path, "rm -r %s", directory);
	ck_assert_int_eq(system(path), 0);
}

TEST(redis_is_spoken_to_over_connections_that_are_checked_out)
{
	static char program[] = "/usr/bin/redis-server";
	const char *port = free_port();
	char *argv[] = { program, (char[]){"--port"}, (char *)(uintptr_t)port, (char[]){"--save"}, (char[]){""},
		(char[]){"--dir"}, (char[]){"/tmp"}, NULL };
	char request[64], expected[32];
	pid_t redis;
	int i;

	if (!is_there(program))
		return;
	redis = run(argv);
	SocketPool_checkin(pool, first_checkout(port));
	for (i = 1; i <= 200; i++) {
		Connection_T c = SocketPool_checkout(pool, "127.0.0.1", port, 5000);

		snprintf(request, sizeof request, "INCR counter\r\n");
		snprintf(expected, sizeof expected, ":%d\r\n", i);
		ck_exchange(c, request, expected);
		SocketPool_checkin(pool, c);
	}
	ck_assert_uint_eq(stats().opened, 1);
	end(redis);
}
