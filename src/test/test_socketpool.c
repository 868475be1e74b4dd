/* SPDX-License-Identifier: MIT */
/* SocketPool, in the order of its header: new, add, get, remove, close, resize, map. */
#include "config.h"

#include "test_socketpool.h"

NEEDS(.descriptors = 256);

/* ---- new ---- */

SUITE("SocketPool");
CASE("SocketPool", .setup = set_up, .teardown = tear_down);

TEST(a_new_pool_is_empty_and_has_no_buffers)
{
	size_t before = Arena_used(arena);
	SocketPool_T large = SocketPool_new(arena, 10, 64 * 1024 * 1024);

	ck_assert_uint_lt(Arena_used(arena) - before, 64 * 1024);
	ck_assert_uint_eq(SocketPool_count(large), 0);
	ck_assert_uint_eq(SocketPool_capacity(large), 10);
}

TEST(new_checks_its_arguments)
{
	ck_raises_saying(Assert_Failed, "SocketPool_new", SocketPool_new(arena, 0, BUFFER));
	ck_raises(Assert_Failed, SocketPool_new(NULL, 1, BUFFER));
	ck_raises_saying(Arena_Failed, Arena_sprintf(arena, "room for %zu connections", SIZE_MAX),
		SocketPool_new(arena, SIZE_MAX, BUFFER));
	ck_raises(Arena_Failed, SocketPool_new(arena, SIZE_MAX / 128, BUFFER));
}

static int try_new(Arena_T a)
{
	volatile int works = 0;

	TRY {
		SocketPool_new(a, 1000, BUFFER);
		works = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	return works;
}

TEST(a_pool_that_cannot_be_made_leaves_nothing_behind)
{
	size_t arenas = Arena_debug_live_count();
	int n, works = 0;

	for (n = 0; !works; n++) {
		struct Failing f = { -1, 0, 0, 0 };
		Arena_T a = failing_arena(&f);

		f.fail_at = n;
		works = try_new(a);
		Arena_dispose(&a);
		ck_assert_uint_eq(f.outstanding_blocks, 0);
		ck_assert_uint_eq(Arena_debug_live_count(), arenas);
	}
	ck_assert_int_gt(n, 2);
}

/* ---- add, get, remove, close ---- */

TEST(a_socket_is_found_until_it_is_removed_and_comes_back_open)
{
	Connection_T c = add_one();
	Socket_T s = sockets[0];

	ck_assert_ptr_eq(SocketPool_get(pool, s), c);
	ck_assert_ptr_eq(Connection_socket(c), s);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	ck_assert_ptr_eq(SocketPool_remove(pool, s), s);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_assert_ptr_null(SocketPool_get(pool, s));
	ck_assert_ptr_null(SocketPool_remove(pool, s));
	ck_assert_int_eq(is_closed(0), 0);
	Socket_sendall(s, "x", 1);
	ck_assert_ptr_nonnull(SocketPool_add(pool, s));
	SocketPool_close(pool, &s);
	ck_assert_ptr_null(s);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
}

TEST(close_closes_a_socket_that_is_not_inside_as_well)
{
	Socket_T s = make_one();

	SocketPool_close(pool, &s);
	ck_assert_ptr_null(s);
	ck_assert_int_eq(is_closed(0), 1);
}

TEST(a_full_pool_leaves_the_socket_with_the_caller)
{
	Socket_T s;
	int i;

	for (i = 0; i < 4; i++)
		add_one();
	s = make_one();
	ck_assert_ptr_null(SocketPool_add(pool, s));
	ck_assert_ptr_null(SocketPool_get(pool, s));
	ck_assert_uint_eq(SocketPool_count(pool), 4);
	Socket_sendall(s, "x", 1);
	SocketPool_close(pool, &sockets[2]);
	ck_assert_ptr_nonnull(SocketPool_add(pool, s));
}

TEST(adding_twice_is_checked_and_harms_nothing)
{
	SocketPool_T other = SocketPool_new(arena, 4, BUFFER);
	Connection_T c = add_one();
	char byte;

	Connection_set_data(c, &byte);
	memcpy(Connection_buffer(c, NULL), "read", 5);
	ck_assert_int_eq(write(peers[0], "unread", 6), 6);
	ck_raises_saying(Assert_Failed, "in this pool already", SocketPool_add(pool, sockets[0]));
	ck_raises_saying(Assert_Failed, "in another pool already", SocketPool_add(other, sockets[0]));
	ck_assert_ptr_null(SocketPool_get(other, sockets[0]));
	ck_assert_ptr_null(SocketPool_remove(other, sockets[0]));
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	ck_assert_ptr_eq(SocketPool_get(pool, sockets[0]), c);
	ck_assert_ptr_eq(Connection_data(c), &byte);
	ck_assert_str_eq(Connection_buffer(c, NULL), "read");
	ck_assert_uint_eq(Socket_recv(sockets[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'u');
}

TEST(the_next_client_gets_nothing_of_the_one_before)
{
	int i, j, peer;

	for (i = 0; i < 200; i++) {
		Socket_T s = make_socket(&peer); /* the same descriptor, and most often the same address */
		Connection_T c = SocketPool_add(pool, s);
		char *buffer = Connection_buffer(c, NULL);

		ck_assert_ptr_null(Connection_data(c));
		ck_assert_uint_eq(Arena_used(Connection_arena(c)), 0);
		for (j = 0; j < BUFFER; j++)
			ck_assert_int_eq(buffer[j], 0);
		memset(buffer, 'x', BUFFER);
		Connection_set_data(c, buffer);
		Arena_alloc(Connection_arena(c), 100);
		SocketPool_close(pool, &s);
		close(peer);
	}
}

TEST(a_socket_that_is_closed_without_the_pool_leaves_it)
{
	Connection_T c = add_one();
	int calls = 0;

	Arena_defer(Connection_arena(c), raise_one, NULL); /* Socket_close never raises */
	Arena_defer(Connection_arena(c), count_call, &calls);
	Socket_close(&sockets[0]);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(Connection_active(c), 0);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	c = add_one(); /* the same descriptor */
	ck_assert_ptr_eq(Connection_socket(c), sockets[1]);
}

/* A poll closes at the end of its tick, and the connection stays in the pool until then. */
TEST(a_connection_that_a_poll_is_closing_may_be_evicted_and_disposed_of)
{
	Arena_T other = Arena_new();
	SocketPoll_T loop = SocketPoll_new(other);
	SocketPoll_Event e;
	int i;

	for (i = 0; i < 3; i++) {
		add_one();
		SocketPoll_add(loop, sockets[i], SocketPoll_READ, NULL);
		SocketPoll_close(loop, &sockets[i]);
		ck_assert_int_eq(is_closed(i), 0);
		if (i == 0)
			ck_assert_uint_eq(SocketPool_evict_idle(pool, 0), 1);
		else if (i == 1)
			ck_assert_int_eq(SocketPoll_wait(loop, &e, 1, 0), 0);
		else
			Arena_dispose(&arena);
		ck_assert_int_eq(is_closed(i), 1);
	}
	ck_assert_int_eq(SocketPoll_wait(loop, &e, 1, 0), 0);
	Arena_dispose(&other);
}

static void expect_no_event(void *cl)
{
	SocketPoll_Event e;
	int i;

	for (i = 0; i < 2; i++) /* the second wait ends the tick */
		if (SocketPoll_wait(cl, &e, 1, 0) == 1)
			ck_abort_msg("an event of a socket that is being closed");
}

TEST(a_deferred_call_that_runs_the_loop_gets_no_event_of_the_socket_being_closed)
{
	enum { EVICTED, CLOSED, CLOSED_WITHOUT, PUT_OFF, WAYS };
	Arena_T other = Arena_new();
	SocketPoll_T loop = SocketPoll_new(other);
	Socket_T s;
	int i;

	for (i = 0; i < WAYS; i++) {
		Arena_defer(Connection_arena(add_one()), expect_no_event, loop);
		SocketPoll_add(loop, s = sockets[i], SocketPoll_WRITE, NULL);
		if (i == CLOSED)
			SocketPool_close(pool, &s);
		else if (i == CLOSED_WITHOUT)
			Socket_close(&s);
		else {
			if (i == PUT_OFF)
				SocketPoll_close(loop, &s);
			ck_assert_uint_eq(SocketPool_evict_idle(pool, 0), 1);
		}
		ck_assert_int_eq(is_closed(i), 1);
		ck_assert_uint_eq(SocketPoll_count(loop), 0);
	}
	Arena_dispose(&other);
}

TEST(count_and_capacity_follow)
{
	int i;

	for (i = 0; i < 4; i++) {
		ck_assert_uint_eq(SocketPool_count(pool), (size_t)i);
		add_one();
	}
	ck_assert_uint_eq(SocketPool_capacity(pool), 4);
	SocketPool_resize(pool, 9);
	ck_assert_uint_eq(SocketPool_capacity(pool), 9);
	ck_assert_uint_eq(SocketPool_count(pool), 4);
}

/* ---- resize ---- */

TEST(growing_moves_no_connection)
{
	Connection_T c[MOST];
	size_t max;
	int i;

	for (i = 0; i < MOST; i++) {
		for (max = 4; max <= (size_t)i; max++)
			;
		SocketPool_resize(pool, max);
		c[i] = add_one();
		Connection_set_data(c[i], &c[i]);
		*Connection_buffer(c[i], NULL) = (char)i;
	}
	SocketPool_resize(pool, 100 * 1000);
	for (i = 0; i < MOST; i++) {
		ck_assert_ptr_eq(SocketPool_get(pool, sockets[i]), c[i]);
		ck_assert_ptr_eq(Connection_data(c[i]), &c[i]);
		ck_assert_int_eq(*Connection_buffer(c[i], NULL), i);
	}
}

enum { MULTITUDE = 100 * 1000 };

/* Runs in a child with few descriptors. Returns 0 if all is right, or the number of the line
 * that is not. */
static int keep_a_multitude(void)
{
	Socket_T *s = Arena_alloc(arena, MULTITUDE * sizeof *s);
	Connection_T *c = Arena_alloc(arena, MULTITUDE * sizeof *c);
	int i, fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		return __LINE__;
	SocketPool_resize(pool, MULTITUDE);
	for (i = 0; i < MULTITUDE; i++) {
		s[i] = Socket_adopt(fd[i % 2]);
		c[i] = SocketPool_add(pool, s[i]);
	}
	for (i = 0; i < MULTITUDE; i += 2)
		if (SocketPool_remove(pool, s[i]) != s[i])
			return __LINE__;
	SocketPool_resize(pool, MULTITUDE / 2);
	for (i = 0; i < MULTITUDE; i++)
		if (SocketPool_get(pool, s[i]) != (i % 2 ? c[i] : NULL))
			return __LINE__;
	if (SocketPool_count(pool) != MULTITUDE / 2 || SocketPool_add(pool, s[0]))
		return __LINE__;
	SocketPool_resize(pool, 2 * MULTITUDE);
	for (i = 0; i < MULTITUDE; i += 2)
		if (!SocketPool_add(pool, s[i]))
			return __LINE__;
	for (i = 1; i < MULTITUDE; i += 2)
		if (SocketPool_get(pool, s[i]) != c[i] || Connection_socket(c[i]) != s[i])
			return __LINE__;
	return 0;
}

TEST(a_hundred_thousand_connections_come_and_go_and_are_found)
{
	int status, wrong;
	pid_t child = fork();

	if (child == 0) {
		wrong = keep_a_multitude();
		if (wrong)
			fprintf(stderr, "line %d\n", wrong);
		_exit(wrong != 0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}

TEST(shrinking_takes_free_capacity_wherever_the_connections_are)
{
	Connection_T c[40];
	int i;

	SocketPool_resize(pool, 40);
	for (i = 0; i < 40; i++)
		c[i] = add_one();
	for (i = 0; i < 40; i++)
		if (i != 0 && i != 20 && i != 39)
			SocketPool_close(pool, &sockets[i]);
	SocketPool_resize(pool, 3);
	ck_assert_uint_eq(SocketPool_capacity(pool), 3);
	ck_assert_ptr_eq(SocketPool_get(pool, sockets[0]), c[0]);
	ck_assert_ptr_eq(SocketPool_get(pool, sockets[20]), c[20]);
	ck_assert_ptr_eq(SocketPool_get(pool, sockets[39]), c[39]);
	ck_assert_ptr_null(SocketPool_add(pool, make_one()));
	Socket_close(&sockets[40]);
	SocketPool_close(pool, &sockets[20]);
	add_one();
}

TEST(shrinking_below_the_count_fails_and_changes_nothing)
{
	Connection_T a = add_one(), b = add_one(), c = add_one();

	ck_raises_saying(SocketPool_Failed, "3 connections are inside and would not fit into 2",
		SocketPool_resize(pool, 2));
	ck_assert_uint_eq(SocketPool_capacity(pool), 4);
	ck_assert_uint_eq(SocketPool_count(pool), 3);
	ck_assert_ptr_eq(SocketPool_get(pool, sockets[0]), a);
	ck_assert_ptr_eq(SocketPool_get(pool, sockets[1]), b);
	ck_assert_ptr_eq(SocketPool_get(pool, sockets[2]), c);
	add_one();
	ck_raises(Assert_Failed, SocketPool_resize(pool, 0));
	ck_raises(Arena_Failed, SocketPool_resize(pool, SIZE_MAX / 64));
	ck_raises(Arena_Failed, SocketPool_resize(pool, SIZE_MAX));
	ck_assert_uint_eq(SocketPool_capacity(pool), 4);
}

static int try_resize(SocketPool_T p, size_t max)
{
	volatile int works = 0;

	TRY {
		SocketPool_resize(p, max);
		works = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	return works;
}

TEST(growing_without_memory_changes_nothing)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	SocketPool_T p = SocketPool_new(a, 2, BUFFER);
	Connection_T c = SocketPool_add(p, make_one());
	int calls = 0, n;

	SocketPool_set_post_resize_callback(p, (void (*)(SocketPool_T, void *))NULL, &calls);
	for (n = 0; ; n++) {
		f.fail_at = n;
		if (try_resize(p, 100 * 1000))
			break;
		f.fail_at = -1;
		ck_assert_uint_eq(SocketPool_capacity(p), 2);
		ck_assert_uint_eq(SocketPool_count(p), 1);
		ck_assert_ptr_eq(SocketPool_get(p, sockets[0]), c);
	}
	ck_assert_int_gt(n, 0);
	ck_assert_uint_eq(SocketPool_capacity(p), 100 * 1000);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

TEST(resizing_to_and_fro_holds_no_more_memory_than_once)
{
	size_t held, used;
	int i;

	Connection_buffer(add_one(), NULL);
	SocketPool_resize(pool, 5000);
	held = Arena_capacity(arena);
	used = Arena_used(arena);
	for (i = 0; i < 10000; i++)
		SocketPool_resize(pool, i % 2 ? 5000 : (size_t)(1 + i % 100));
	ck_assert_uint_eq(Arena_capacity(arena), held);
	ck_assert_uint_eq(Arena_used(arena), used);
}

static void on_post(SocketPool_T p, void *cl)
{
	ck_assert_ptr_eq(cl, &seen);
	seen.post++;
	seen.capacity_in_post = SocketPool_capacity(p);
}

static void on_post_resize_again(SocketPool_T p, void *cl)
{
	on_post(p, cl);
	SocketPool_resize(p, 17);
}

static void set_callbacks(void (*pre)(SocketPool_T, void *), void (*post)(SocketPool_T, void *))
{
	memset(&seen, 0, sizeof seen);
	SocketPool_set_pre_resize_callback(pool, pre, &seen);
	SocketPool_set_post_resize_callback(pool, post, &seen);
}

TEST(the_callbacks_see_the_pool_before_and_after)
{
	set_callbacks(on_pre, on_post);
	SocketPool_resize(pool, 10);
	ck_assert_uint_eq(seen.capacity_in_pre, 4);
	ck_assert_uint_eq(seen.capacity_in_post, 10);
	SocketPool_resize(pool, 2);
	ck_assert_uint_eq(seen.capacity_in_pre, 10);
	ck_assert_uint_eq(seen.capacity_in_post, 2);
	set_callbacks(NULL, NULL);
	SocketPool_resize(pool, 3);
	ck_assert_int_eq(seen.pre + seen.post, 0);
}

TEST(after_a_resize_that_failed_there_is_no_post_callback)
{
	add_one();
	add_one();
	set_callbacks(on_pre, on_post);
	ck_raises(SocketPool_Failed, SocketPool_resize(pool, 1));
	ck_assert_int_eq(seen.pre, 1);
	ck_assert_int_eq(seen.post, 0);
}

TEST(a_callback_that_raises_stops_the_resize)
{
	set_callbacks(on_pre, on_post);
	seen.raises = 1;
	ck_raises(Test_Failed, SocketPool_resize(pool, 10));
	ck_assert_uint_eq(SocketPool_capacity(pool), 4);
	ck_assert_int_eq(seen.post, 0);
	seen.raises = 0;
	SocketPool_resize(pool, 10);
	ck_assert_int_eq(seen.pre, 2);
	ck_assert_int_eq(seen.post, 1);
	ck_assert_uint_eq(SocketPool_capacity(pool), 10);
}

TEST(a_resize_in_a_callback_takes_effect_at_once_and_calls_no_callback)
{
	set_callbacks(on_pre, on_post);
	seen.resize_to = 7;
	SocketPool_resize(pool, 10); /* the outer resize takes effect last */
	ck_assert_int_eq(seen.pre, 1);
	ck_assert_int_eq(seen.post, 1);
	ck_assert_uint_eq(SocketPool_capacity(pool), 10);
	set_callbacks(NULL, on_post_resize_again);
	SocketPool_resize(pool, 5);
	ck_assert_int_eq(seen.post, 1);
	ck_assert_uint_eq(seen.capacity_in_post, 5);
	ck_assert_uint_eq(SocketPool_capacity(pool), 17);
}

static int nouter;

static void resize_outer(SocketPool_T inner, void *outer)
{
	(void)inner;
	SocketPool_resize(outer, 8);
}

static void resize_inner(SocketPool_T outer, void *inner)
{
	(void)outer;
	nouter++;
	SocketPool_resize(inner, 9);
}

TEST(nor_does_it_call_one_in_a_callback_of_another_pool_within)
{
	SocketPool_T inner = SocketPool_new(arena, 1, 0);

	nouter = 0;
	SocketPool_set_pre_resize_callback(pool, resize_inner, inner);
	SocketPool_set_pre_resize_callback(inner, resize_outer, pool);
	SocketPool_resize(pool, 7);
	ck_assert_int_eq(nouter, 1);
	ck_assert_uint_eq(SocketPool_capacity(inner), 9);
	ck_assert_uint_eq(SocketPool_capacity(pool), 7);
}

static void use_everything(SocketPool_T p, void *cl)
{
	Socket_T s = make_one();
	Connection_T c = SocketPool_add(p, s);
	int n = 0;

	(void)cl;
	ck_assert_uint_eq(SocketPool_count(p), 2);
	ck_assert_ptr_eq(SocketPool_get(p, s), c);
	Connection_buffer(c, NULL);
	Connection_arena(c);
	SocketPool_map(p, count_connection, &n);
	ck_assert_int_eq(n, 2);
	ck_assert_uint_eq(SocketPool_evict_idle(p, 100000), 0);
	ck_assert_ptr_eq(SocketPool_remove(p, s), s);
	SocketPool_close(p, &s);
	SocketPool_set_pre_resize_callback(p, NULL, NULL);
}

TEST(a_callback_may_call_every_function_of_the_pool)
{
	add_one();
	set_callbacks(use_everything, use_everything);
	SocketPool_resize(pool, 10);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
}

static void evict_all(SocketPool_T p, void *cl)
{
	(void)cl;
	SocketPool_evict_idle(p, 0);
}

TEST(a_pre_resize_callback_can_make_room)
{
	add_one();
	add_one();
	set_callbacks(evict_all, NULL);
	SocketPool_resize(pool, 1);
	ck_assert_uint_eq(SocketPool_capacity(pool), 1);
}

/* ---- map ---- */

TEST(map_visits_each_connection_once)
{
	int n = 0, i;

	SocketPool_map(pool, count_connection, &n);
	ck_assert_int_eq(n, 0);
	SocketPool_resize(pool, MOST);
	for (i = 0; i < MOST; i++)
		add_one();
	for (i = 0; i < MOST; i += 3)
		SocketPool_close(pool, &sockets[i]);
	SocketPool_map(pool, count_connection, &n);
	ck_assert_uint_eq((size_t)n, SocketPool_count(pool));
}

static void close_all_others(Connection_T c, void *n)
{
	int i;

	count_connection(c, n);
	for (i = 0; i < made; i++)
		if (sockets[i] != Connection_socket(c))
			SocketPool_close(pool, &sockets[i]);
}

static void move_out_and_in(Connection_T c, void *n)
{
	Socket_T s = SocketPool_remove(pool, Connection_socket(c));

	++*(int *)n;
	ck_assert_ptr_nonnull(SocketPool_add(pool, s));
	if (made < MOST)
		add_one();
}

TEST(apply_may_remove_connections_also_its_own_and_add_some)
{
	int n = 0, i;

	SocketPool_resize(pool, MOST);
	for (i = 0; i < 10; i++)
		add_one();
	SocketPool_map(pool, move_out_and_in, &n);
	ck_assert_int_ge(n, 10);
	ck_assert_int_le(n, MOST);
	ck_assert_uint_eq(SocketPool_count(pool), (size_t)made);
	n = 0;
	SocketPool_map(pool, close_it, &n);
	ck_assert_int_eq(n, made);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
}

TEST(map_does_not_visit_connections_that_apply_has_removed)
{
	int n = 0;

	add_one();
	add_one();
	add_one();
	SocketPool_map(pool, close_all_others, &n);
	ck_assert_int_eq(n, 1);
	ck_assert_uint_eq(SocketPool_count(pool), 1);
}

static void raise_at_it(Connection_T c, void *cl)
{
	(void)c;
	(void)cl;
	RAISE(Test_Failed);
}

static void grow_pool(Connection_T c, void *cl)
{
	(void)cl;
	SocketPool_resize(pool, SocketPool_capacity(pool) + 100);
	ck_assert_int_eq(Connection_active(c), 1);
}

TEST(apply_may_raise_and_resize)
{
	add_one();
	ck_raises(Test_Failed, SocketPool_map(pool, raise_at_it, NULL));
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	SocketPool_map(pool, grow_pool, NULL);
	ck_assert_uint_eq(SocketPool_capacity(pool), 104);
	ck_raises(Assert_Failed, SocketPool_map(pool, NULL, NULL));
}
