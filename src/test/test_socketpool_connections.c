/* SPDX-License-Identifier: MIT */
/* SocketPool: eviction, connections, the arena of the pool, threads. */
#include "config.h"

#include "test_socketpool.h"

static void wait_ms(long ms)
{
	struct timespec t = { 0, ms * 1000 * 1000 };

	nanosleep(&t, NULL);
}

/* ---- evict_idle ---- */

SUITE("SocketPool");
CASE("SocketPool", .setup = set_up, .teardown = tear_down);

TEST(evict_idle_closes_those_that_were_not_used_for_so_long)
{
	Connection_T a = add_one(), b = add_one(), c = add_one();

	ck_assert_uint_eq(SocketPool_evict_idle(pool, 20), 0);
	wait_ms(60);
	ck_assert_int_ge(Connection_idle_ms(a), 40);
	ck_assert_uint_eq(SocketPool_evict_idle(pool, 10000), 0);
	ck_assert_uint_eq(Socket_send(sockets[1], "x", 1), 1);
	Connection_touch(c);
	ck_assert_int_lt(Connection_idle_ms(b), 40);
	ck_assert_uint_eq(SocketPool_evict_idle(pool, 40), 1);
	ck_assert_int_eq(is_closed(0), 1);
	ck_assert_int_eq(Connection_active(a), 0);
	ck_assert_int_eq(Connection_active(b) + Connection_active(c), 2);
	ck_assert_uint_eq(SocketPool_evict_idle(pool, 40), 0);
	wait_ms(60);
	ck_assert_uint_eq(SocketPool_evict_idle(pool, -1), 0);
	add_one();
	ck_assert_uint_eq(SocketPool_evict_idle(pool, 40), 2);
	ck_assert_uint_eq(SocketPool_evict_idle(pool, 0), 1);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
}

/* A tick of the coarse clock is at most 10 ms. */
TEST(a_connection_idle_for_so_long_is_never_taken_for_younger)
{
	Connection_T c;
	int i;

	for (i = 0; i < 20; i++) {
		c = add_one();
		wait_ms(10 + i % 4);
		ck_assert_int_ge(Connection_idle_ms(c), 10 + i % 4);
		ck_assert_uint_eq(SocketPool_evict_idle(pool, 10 + i % 4), 1);
	}
}

static void ck_evicts_one(void)
{
	size_t n = SocketPool_count(pool);

	ck_raises(Test_Failed, SocketPool_evict_idle(pool, 0));
	ck_assert_uint_eq(SocketPool_count(pool), n - 1);
}

TEST(a_deferred_call_that_raises_stops_eviction_after_its_connection)
{
	int i;

	for (i = 0; i < 3; i++)
		Arena_defer(Connection_arena(add_one()), raise_one, NULL);
	ck_evicts_one();
	ck_assert_int_eq(is_closed(0) + is_closed(1) + is_closed(2), 1);
	ck_evicts_one();
	ck_evicts_one();
	ck_assert_int_eq(is_closed(0) + is_closed(1) + is_closed(2), 3);
}

/* ---- connections ---- */

TEST(data_is_NULL_until_it_is_set)
{
	Connection_T c = add_one();

	ck_assert_ptr_null(Connection_data(c));
	Connection_set_data(c, c);
	ck_assert_ptr_eq(Connection_data(c), c);
	Connection_set_data(c, NULL);
	ck_assert_ptr_null(Connection_data(c));
}

TEST(an_arena_is_cleared_when_its_connection_leaves_and_serves_the_next)
{
	Connection_T c = add_one();
	Arena_T a = Connection_arena(c);
	int calls = 0;

	ck_assert_ptr_eq(Connection_arena(c), a);
	Arena_alloc(a, 500);
	Arena_defer(a, count_call, &calls);
	ck_assert_ptr_eq(SocketPool_remove(pool, sockets[0]), sockets[0]);
	ck_assert_int_eq(calls, 1);
	ck_assert_uint_eq(Arena_used(a), 0);
	c = SocketPool_add(pool, sockets[0]);
	ck_assert_ptr_eq(Connection_arena(c), a);
}

TEST(a_thousand_connections_in_turn_need_one_arena_and_one_buffer)
{
	size_t arenas = Arena_debug_live_count(), used = 0;
	int i, peer;

	for (i = 0; i < 1000; i++) {
		Socket_T s = make_socket(&peer);
		Connection_T c = SocketPool_add(pool, s);

		Arena_alloc(Connection_arena(c), 1000);
		Connection_buffer(c, NULL);
		SocketPool_close(pool, &s);
		close(peer);
		if (i == 0)
			used = Arena_used(arena);
	}
	ck_assert_uint_eq(Arena_debug_live_count(), arenas + 1);
	ck_assert_uint_eq(Arena_used(arena), used);
}

TEST(a_deferred_call_that_raises_does_not_keep_the_connection)
{
	Connection_T c = add_one(), d = add_one();

	Arena_defer(Connection_arena(c), raise_one, NULL);
	Arena_defer(Connection_arena(d), raise_one, NULL);
	ck_raises(Test_Failed, SocketPool_remove(pool, sockets[0]));
	ck_assert_ptr_null(SocketPool_get(pool, sockets[0]));
	ck_assert_int_eq(is_closed(0), 0);
	ck_raises(Test_Failed, SocketPool_close(pool, &sockets[1]));
	ck_assert_ptr_null(sockets[1]);
	ck_assert_int_eq(is_closed(1), 1);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_ptr_nonnull(SocketPool_add(pool, sockets[0]));
	ck_assert_uint_eq(Arena_used(Connection_arena(SocketPool_get(pool, sockets[0]))), 0);
}

static void use_the_pool(void *cl)
{
	Socket_T s = make_one();

	ck_assert_int_eq(Connection_active(*(Connection_T *)cl), 0);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_ptr_nonnull(SocketPool_add(pool, s));
	SocketPool_resize(pool, 8);
}

TEST(a_deferred_call_may_call_the_pool)
{
	Connection_T c = add_one();

	Arena_defer(Connection_arena(c), use_the_pool, &c);
	SocketPool_close(pool, &sockets[0]);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
}

TEST(a_buffer_has_the_size_that_was_asked_for)
{
	SocketPool_T none = SocketPool_new(arena, 2, 0);
	size_t n = 99;
	char *buffer = Connection_buffer(add_one(), &n), *other = Connection_buffer(add_one(), NULL);

	ck_assert_uint_eq(n, BUFFER);
	memset(buffer, 1, n);
	memset(other, 2, n);
	ck_assert_int_eq(buffer[n - 1], 1);
	ck_assert_ptr_eq(Connection_buffer(SocketPool_get(pool, sockets[0]), NULL), buffer);
	ck_assert_ptr_nonnull(Connection_buffer(SocketPool_add(none, make_one()), &n));
	ck_assert_uint_eq(n, 0);
}

static int try_buffer(Connection_T c)
{
	volatile int works = 0;

	TRY {
		Connection_buffer(c, NULL);
		works = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	return works;
}

static int try_arena(Connection_T c)
{
	volatile int works = 0;

	TRY {
		Connection_arena(c);
		works = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	return works;
}

/* Runs try until it works, while the allocator fails at ever later requests. Returns how often
 * it did not work. */
static int count_failures(struct Failing *f, int (*try)(Connection_T), Connection_T c)
{
	int n;

	for (n = 0; ; n++) {
		f->fail_at = n;
		if (try(c))
			break;
		f->fail_at = -1;
		ck_assert_int_eq(Connection_active(c), 1);
	}
	f->fail_at = -1;
	return n;
}

/* Leaves less room in the arena than a lease takes. */
static void fill_arena(Arena_T a, struct Failing *f)
{
	f->fail_at = 0;
	while (Arena_try_alloc(a, 1))
		;
	f->fail_at = -1;
}

TEST(a_buffer_or_an_arena_for_which_there_is_no_memory_changes_nothing)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	SocketPool_T p = SocketPool_new(a, 2, 100 * 1000);
	Connection_T c = SocketPool_add(p, make_one());

	ck_assert_int_gt(count_failures(&f, try_buffer, c), 0);
	fill_arena(a, &f);
	ck_assert_int_gt(count_failures(&f, try_arena, c), 0);
	Connection_set_data(c, c);
	ck_assert_ptr_eq(SocketPool_get(p, sockets[0]), c);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
	ck_assert_int_eq(is_closed(0), 1);
}

static void ck_stale(Connection_T c, const char *text)
{
	ck_assert_int_eq(Connection_active(c), 0);
	ck_raises_saying(Assert_Failed, text, Connection_socket(c));
	ck_raises_saying(Assert_Failed, text, Connection_data(c));
	ck_raises_saying(Assert_Failed, text, Connection_set_data(c, NULL));
	ck_raises_saying(Assert_Failed, text, Connection_arena(c));
	ck_raises_saying(Assert_Failed, text, Connection_buffer(c, NULL));
	ck_raises_saying(Assert_Failed, text, Connection_idle_ms(c));
	ck_raises_saying(Assert_Failed, text, Connection_touch(c));
}

TEST(a_connection_that_has_left_is_checked_even_when_its_place_is_taken)
{
	Connection_T c = add_one();
	int i;

	ck_assert_int_eq(Connection_active(c), 1);
	SocketPool_remove(pool, sockets[0]);
	ck_stale(c, "has left its pool");
	for (i = 0; i < 20; i++) {
		ck_assert_ptr_ne(SocketPool_add(pool, sockets[0]), c);
		ck_stale(c, "has left its pool");
		SocketPool_remove(pool, sockets[0]);
	}
	Socket_close(&sockets[0]);
}

TEST(every_function_checks_for_NULL)
{
	Socket_T s = make_one(), none = NULL;
	SocketPool_T not_one = Arena_calloc(arena, 1, 1024);

	ck_raises_saying(Assert_Failed, "SocketPool_add", SocketPool_add(NULL, s));
	ck_raises_saying(Assert_Failed, "SocketPool_add", SocketPool_add(not_one, s));
	ck_raises_saying(Assert_Failed, "SocketPool_add", SocketPool_add(pool, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_get", SocketPool_get(NULL, s));
	ck_raises_saying(Assert_Failed, "SocketPool_get", SocketPool_get(pool, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_remove", SocketPool_remove(NULL, s));
	ck_raises_saying(Assert_Failed, "SocketPool_remove", SocketPool_remove(pool, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_close", SocketPool_close(NULL, &s));
	ck_raises_saying(Assert_Failed, "SocketPool_close", SocketPool_close(pool, &none));
	ck_raises_saying(Assert_Failed, "SocketPool_close", SocketPool_close(pool, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_count", SocketPool_count(NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_capacity", SocketPool_capacity(NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_resize", SocketPool_resize(NULL, 1));
	ck_raises_saying(Assert_Failed, "pre_resize",
		SocketPool_set_pre_resize_callback(NULL, on_pre, NULL));
	ck_raises_saying(Assert_Failed, "post_resize",
		SocketPool_set_post_resize_callback(NULL, on_pre, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_map", SocketPool_map(NULL, close_it, NULL));
	ck_raises_saying(Assert_Failed, "SocketPool_evict_idle", SocketPool_evict_idle(NULL, 1));
	ck_raises_saying(Assert_Failed, "Connection_active", Connection_active(NULL));
	ck_raises_saying(Assert_Failed, "Connection_socket: the connection is NULL",
		Connection_socket(NULL));
	ck_raises_saying(Assert_Failed, "Connection_data", Connection_data(NULL));
	ck_raises_saying(Assert_Failed, "Connection_set_data", Connection_set_data(NULL, NULL));
	ck_raises_saying(Assert_Failed, "Connection_arena", Connection_arena(NULL));
	ck_raises_saying(Assert_Failed, "Connection_buffer", Connection_buffer(NULL, NULL));
	ck_raises_saying(Assert_Failed, "Connection_idle_ms", Connection_idle_ms(NULL));
	ck_raises_saying(Assert_Failed, "Connection_touch", Connection_touch(NULL));
	Socket_close(&s);
}

/* ---- the arena of the pool ---- */

TEST(disposing_of_the_arena_closes_the_sockets_inside)
{
	/* the pool's arena, and the parent of the connections' arenas */
	size_t arenas = Arena_debug_live_count() - 2;
	int calls = 0;

	Arena_defer(Connection_arena(add_one()), count_call, &calls);
	Connection_buffer(add_one(), NULL);
	Arena_defer(Connection_arena(add_one()), raise_one, NULL);
	Connection_arena(add_one());
	SocketPool_close(pool, &sockets[3]); /* it leaves a spare arena */
	ck_raises(Test_Failed, Arena_dispose(&arena));
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(is_closed(0) + is_closed(1) + is_closed(2) + is_closed(3), 4);
	ck_assert_uint_eq(Arena_debug_live_count(), arenas);
}

TEST(clearing_the_arena_or_going_back_past_the_pool_does_as_well)
{
	size_t arenas;
	int i, calls = 0;

	Arena_clear(arena);
	arenas = Arena_debug_live_count();
	for (i = 0; i < 3; i++) {
		Arena_Mark mark = Arena_mark(arena);

		pool = SocketPool_new(arena, 10, BUFFER);
		Arena_defer(Connection_arena(add_one()), count_call, &calls);
		add_one();
		if (i == 0)
			Arena_clear(arena);
		else
			Arena_rewind(arena, mark);
		ck_assert_int_eq(is_closed(2 * i) + is_closed(2 * i + 1), 2);
		ck_assert_int_eq(calls, i + 1);
		ck_assert_uint_eq(Arena_debug_live_count(), arenas);
	}
}

static Connection_T leaving;

static void leave_while_disposing(void *cl)
{
	Socket_T s = Connection_socket(leaving);

	(void)cl;
	SocketPool_close(pool, &s);
}

static void ask_for_an_arena(void *cl)
{
	ck_raises(Assert_Failed, Connection_arena(*(Connection_T *)cl));
}

TEST(a_deferred_call_may_call_a_pool_that_is_being_disposed_of)
{
	Connection_T c = add_one();

	leaving = add_one();
	Connection_arena(leaving);
	Arena_defer(Connection_arena(c), leave_while_disposing, NULL);
	Arena_defer(arena, ask_for_an_arena, &c);
	Arena_dispose(&arena);
	ck_assert_int_eq(is_closed(0) + is_closed(1), 2);
}

/* ---- threads ---- */

enum { THREADS = 8, ROUNDS = 60, OWN = 6 };

struct Worker {
	int number, wrong;
	pthread_t thread;
};

static void count_active(Connection_T c, void *n)
{
	*(int *)n += Connection_active(c);
}

static void work_on(struct Worker *w, Socket_T s)
{
	Connection_T c = SocketPool_add(pool, s);
	size_t n;

	if (!c) {
		w->wrong++;
		return;
	}
	Connection_set_data(c, w);
	memset(Connection_buffer(c, &n), w->number, BUFFER);
	memset(Arena_alloc(Connection_arena(c), 300), w->number, 300);
	w->wrong += SocketPool_get(pool, s) != c || Connection_data(c) != w || n != BUFFER;
}

static void remove_socket(struct Worker *w, Socket_T s)
{
	Connection_T c = SocketPool_get(pool, s);
	const char *buffer = c ? Connection_buffer(c, NULL) : NULL;

	w->wrong += !buffer || buffer[0] != w->number || buffer[BUFFER - 1] != w->number
		|| Connection_socket(c) != s;
	w->wrong += SocketPool_remove(pool, s) != s || (c && Connection_active(c));
}

static void *add_and_remove(void *cl)
{
	struct Worker *w = cl;
	Socket_T own[OWN];
	int round, i, active = 0;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < OWN; i += 2) {
			int fd[2];

			w->wrong += socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0;
			own[i] = Socket_adopt(fd[0]);
			own[i + 1] = Socket_adopt(fd[1]);
		}
		for (i = 0; i < OWN; i++)
			work_on(w, own[i]);
		SocketPool_map(pool, count_active, &active);
		SocketPool_resize(pool, (size_t)(THREADS * OWN + round * w->number));
		w->wrong += SocketPool_evict_idle(pool, 1000000) != 0;
		for (i = 0; i < OWN; i++) {
			remove_socket(w, own[i]);
			if (i % 2 && SocketPool_add(pool, own[i]))
				SocketPool_close(pool, &own[i]);
			else
				Socket_close(&own[i]);
		}
	}
	return NULL;
}

TEST(threads_add_get_remove_map_and_resize_at_once)
{
	struct Worker workers[THREADS] = { 0 };
	int i;

	SocketPool_resize(pool, THREADS * OWN);
	for (i = 0; i < THREADS; i++) {
		workers[i].number = i + 1;
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, add_and_remove, &workers[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		ck_assert_int_eq(workers[i].wrong, 0);
	}
	ck_assert_uint_eq(SocketPool_count(pool), 0);
}

struct Asker {
	Connection_T connection;
	char *buffer;
	Arena_T arena;
	pthread_t thread;
};

static void *get_buffer_and_arena(void *cl)
{
	struct Asker *a = cl;

	a->buffer = Connection_buffer(a->connection, NULL);
	a->arena = Connection_arena(a->connection);
	return NULL;
}

TEST(threads_that_ask_at_once_get_the_same_buffer_and_arena)
{
	struct Asker askers[THREADS];
	Connection_T c = add_one();
	int i;

	for (i = 0; i < THREADS; i++) {
		askers[i].connection = c;
		ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, get_buffer_and_arena, &askers[i]),
			0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(askers[i].thread, NULL);
		ck_assert_ptr_eq(askers[i].buffer, askers[0].buffer);
		ck_assert_ptr_eq(askers[i].arena, askers[0].arena);
	}
}
