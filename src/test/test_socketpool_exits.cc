// SPDX-License-Identifier: MIT
// Every way out of every callback of a SocketPool: it returns, raises, throws a C++ exception, or
// its thread is cancelled or ends in it. Afterwards no lock is held, the counts of places and
// descriptors are right, and a checkout works.
#include <core/core.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include "needs.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "ways.h"

static bool armed; // the callbacks leave as `way` says
static int calls;

// An exception that another one replaces in C code is not deleted: no handler can catch it.
extern "C" const char *__lsan_default_suppressions() { return "leak:__cxa_allocate_exception\n"; }

static void leave_armed()
{
	calls++;
	if (!armed)
		return;
#if defined __clang__
	// Its clean-ups do not allow a second exception or end of the thread amid the first.
	armed = way < THROWS;
#else
	// Valgrind reports an exception that another one replaces as lost.
	armed = way < THROWS || !RUNNING_ON_VALGRIND;
#endif
	take_way();
}

static void leave_deferred(void *) { leave_armed(); }
static void leave_resize(SocketPool_T, void *) { leave_armed(); }
static void leave_map(Connection_T, void *) { leave_armed(); }

// ---- one pool, its sockets and a server to check out from ----

enum { PLACES = 4 };
static Arena_T arena;
static SocketPool_T pool;
static Socket_T sockets[PLACES];
static int peers[PLACES];
static Connection_T connections[PLACES];
static Connection_T out; // checked out
static Socket_T listener;
static std::string service;

static void add_connections(int n)
{
	for (int i = 0; i < n; i++) {
		int fd[2];

		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
		peers[i] = fd[1];
		sockets[i] = Socket_adopt(fd[0]);
		connections[i] = SocketPool_add(pool, sockets[i]);
		CHECK(connections[i]);
		Arena_defer(Connection_arena(connections[i]), leave_deferred, nullptr);
	}
}

static Connection_T check_out(int timeout_ms)
{
	return SocketPool_checkout(pool, "127.0.0.1", service.c_str(), timeout_ms);
}

static void check_out_one()
{
	out = check_out(5000);
	Arena_defer(Connection_arena(out), leave_deferred, nullptr);
}

static void run_armed(void (*act)())
{
	armed = true;
	run_in_thread(act);
	armed = false;
}

// ---- what has to hold afterwards ----

// Returns the errno of a checkout, or 0 if one is possible.
static int check_out_error()
{
	TRY {
		check_out(0);
	} EXCEPT(SocketPool_Failed) {
		return Except_errno();
	} END_TRY;
	return 0;
}

// Checks that all free places can be checked out, and not one more.
static void check_places(size_t inside)
{
	size_t capacity = SocketPool_capacity(pool), n = 0;
	Connection_T taken[2 * PLACES];
	SocketPool_Stats stats;

	CHECK(SocketPool_count(pool) == inside);
	SocketPool_stats(pool, &stats);
	inside -= stats.idle;
	while (n < capacity - inside) {
		taken[n] = check_out(5000);
		Connection_buffer(taken[n], nullptr);
		Arena_alloc(Connection_arena(taken[n]), 100);
		n++;
	}
	CHECK(check_out_error() == ETIMEDOUT);
	SocketPool_stats(pool, &stats);
	CHECK(stats.waiting == 0 && stats.idle == 0 && stats.count == capacity);
	while (n > 0)
		SocketPool_discard(pool, taken[--n]);
	CHECK(SocketPool_count(pool) == inside);
}

static bool is_closed(int i)
{
	char byte;

	return recv(peers[i], &byte, 1, MSG_DONTWAIT) == 0;
}

// A call that a callback leaves ends as if it had raised: the connection is closed and its arena
// cleared.
static void remove_one() { CHECK(SocketPool_remove(pool, sockets[0]) == sockets[0]); }
static void close_one() { SocketPool_close(pool, &sockets[0]); }
static void close_behind_the_pool() { Socket_close(&sockets[0]); }
static void evict_idle() { SocketPool_evict_idle(pool, 0); }
static void drain_pool() { SocketPool_drain(pool, 0); }
static void check_in() { SocketPool_checkin(pool, out); }
static void discard_one() { SocketPool_discard(pool, out); }
static void rest_one() { Connection_rest(connections[0]); }
static void map_pool() { SocketPool_map(pool, leave_map, nullptr); }
static void grow_pool() { SocketPool_resize(pool, PLACES + 2); }
static void dispose_of_pool() { Arena_dispose(&arena); }
static void check_out_and_evict() { SocketPool_discard(pool, check_out(5000)); }

static void accept_and_evict()
{
	int pause;
	Connection_T c = SocketPool_accept(pool, listener, &pause);

	if (c) {
		Socket_T s = Connection_socket(c);

		SocketPool_close(pool, &s);
	}
}

static void test_remove()
{
	add_connections(1);
	run_armed(remove_one);
	CHECK(calls == 1 && !is_closed(0) && !Connection_active(connections[0]));
	check_places(0);
	Socket_close(&sockets[0]);
}

static void test_close()
{
	add_connections(3);
	run_armed(close_one);
	CHECK(calls == 1 && is_closed(0) && !sockets[0]);
	check_places(2);
}

// Socket_close never raises: it drops what a deferred call raises.
static void test_socket_close()
{
	add_connections(1);
	run_armed(close_behind_the_pool);
	CHECK(calls == 1 && is_closed(0) && !sockets[0]);
	check_places(0);
}

static void test_on_open()
{
	SocketPool_Limits limits = {};
	SocketPool_Stats stats;

	limits.on_open = leave_map;
	SocketPool_set_limits(pool, &limits);
	run_armed([] { SocketPool_discard(pool, check_out(5000)); });
	SocketPool_stats(pool, &stats);
	CHECK(calls == 1 && stats.count == 0 && stats.checked_out == 0
		&& stats.failed == (way == RETURNS ? 0 : 1));
	limits.on_open = nullptr;
	SocketPool_set_limits(pool, &limits);
	check_places(0);
}

// A checkout that makes room for another host closes an idle connection, whose arena has a deferred
// call.
static void defer_leaving(Connection_T c, void *)
{
	Arena_defer(Connection_arena(c), leave_deferred, nullptr);
}

static void test_make_room()
{
	SocketPool_resize(pool, 1);
	SocketPool_checkin(pool, check_out(5000));
	SocketPool_map(pool, defer_leaving, nullptr);
	run_armed([] {
		SocketPool_discard(pool, SocketPool_checkout(pool, "localhost", service.c_str(), 5000));
	});
	CHECK(calls == 1);
	check_places(0);
}

static void test_evict()
{
	add_connections(3);
	for (int i = 0; i < 3; i++)
		run_armed(evict_idle);
	CHECK(calls == 3);
	check_places(0);
}

static void test_drain()
{
	add_connections(3);
	out = check_out(5000);
	SocketPool_checkin(pool, out);
	run_armed(drain_pool);
	CHECK(calls == 3 && SocketPool_count(pool) == 0);
	CHECK(check_out_error() == ESHUTDOWN);
}

static void test_checkin()
{
	SocketPool_Stats stats;

	check_out_one();
	run_armed(check_in);
	SocketPool_stats(pool, &stats);
	CHECK(calls == 1 && stats.idle == 1 && stats.checked_out == 0);
	check_places(1);
	SocketPool_stats(pool, &stats);
	CHECK(stats.reused == 1);
}

static void test_discard()
{
	check_out_one();
	run_armed(discard_one);
	CHECK(calls == 1);
	check_places(0);
}

static void test_rest()
{
	add_connections(1);
	run_armed(rest_one);
	CHECK(calls == 1 && Connection_active(connections[0]));
	CHECK(Arena_used(Connection_arena(connections[0])) == 0);
	check_places(1);
}

static void test_map()
{
	add_connections(1);
	Connection_rest(connections[0]);
	calls = 0;
	run_armed(map_pool);
	CHECK(calls == 1);
	check_places(1);
}

static void test_pre_resize()
{
	SocketPool_set_pre_resize_callback(pool, leave_resize, nullptr);
	run_armed(grow_pool);
	CHECK(calls == 1 && SocketPool_capacity(pool) == (way == RETURNS ? PLACES + 2 : PLACES));
	grow_pool();
	CHECK(calls == 2 && SocketPool_capacity(pool) == PLACES + 2);
	check_places(0);
}

static void test_post_resize()
{
	SocketPool_set_post_resize_callback(pool, leave_resize, nullptr);
	run_armed(grow_pool);
	CHECK(calls == 1 && SocketPool_capacity(pool) == PLACES + 2);
	grow_pool();
	CHECK(calls == 2);
	check_places(0);
}

// The callback throws where the calling thread catches it. No later resize finds the first one
// still running.
static void test_resize_within_a_thread()
{
	SocketPool_set_pre_resize_callback(pool, leave_resize, nullptr);
	run_armed([] {
		try {
			TRY {
				grow_pool();
			} EXCEPT(Left) {
			} END_TRY;
		} catch (const Thrown &) {
		}
		armed = false;
		grow_pool();
		CHECK(calls == 2);
	});
	check_places(0);
}

static void test_dispose()
{
	add_connections(3);
	run_armed(dispose_of_pool);
	Arena_dispose(&arena); // a callback that did not return
	CHECK(calls == 3 && !arena && is_closed(0) && is_closed(1) && is_closed(2));
}

static void limit_idle()
{
	SocketPool_Limits limits = {};

	limits.idle_ms = 1;
	SocketPool_set_limits(pool, &limits);
	usleep(20 * 1000);
}

static void test_accept()
{
	add_connections(1);
	limit_idle();
	Socket_T client = Socket_connect("127.0.0.1", service.c_str(), 5000);
	run_armed(accept_and_evict);
	CHECK(calls == 1 && is_closed(0));
	SocketPool_set_limits(pool, &(const SocketPool_Limits &)SocketPool_Limits());
	check_places(0);
	Socket_close(&client);
}

static void test_checkout()
{
	add_connections(1);
	limit_idle();
	run_armed(check_out_and_evict);
	CHECK(calls == 1 && is_closed(0));
	SocketPool_set_limits(pool, &(const SocketPool_Limits &)SocketPool_Limits());
	check_places(0);
}

static bool refusing;

static void *leave_alloc(size_t n, void *)
{
	if (refusing)
		return nullptr;
	leave_armed();
	return malloc(n);
}

static void free_any(void *p, size_t, void *) { free(p); }

// Runs a call in which the pool asks its backing allocator, which leaves.
static void test_allocation(void (*act)())
{
	Arena_Options options = {};

	Arena_dispose(&arena);
	options.alloc = leave_alloc;
	options.free = free_any;
	options.chunk = 64;
	arena = Arena_new_with(&options);
	pool = SocketPool_new(arena, PLACES, 100 * 1000);
	int fd[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	peers[0] = fd[1];
	sockets[0] = Socket_adopt(fd[0]);
	connections[0] = SocketPool_add(pool, sockets[0]);
	refusing = true;
	while (Arena_try_alloc(arena, 1)) // until the arena is full
		;
	refusing = false;
	calls = 0;
	run_armed(act);
	CHECK(calls > 0);
	act();
	SocketPool_resize(pool, PLACES);
	check_places(1);
}

static void test_allocation_of_arena()
{
	test_allocation([] { (void)Arena_alloc(Connection_arena(connections[0]), 5000); });
}

static void test_allocation_of_buffer()
{
	test_allocation([] { (void)Connection_buffer(connections[0], nullptr); });
}

static void test_allocation_of_slots()
{
	test_allocation([] { SocketPool_resize(pool, 1000 * 1000); });
}

static void test_allocation_of_host() { test_allocation(check_out_and_evict); }

static void test_cancel_state()
{
	add_connections(1);
	limit_idle();
	run_armed([] {
		int state;

		try {
			TRY {
				check_out_and_evict();
			} EXCEPT(Left) {
			} END_TRY;
		} catch (const Thrown &) {
		}
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
		CHECK(state == PTHREAD_CANCEL_ENABLE);
	});
	CHECK(calls == 1);
}

#define TEST(name) { #name, test_##name }
static const struct {
	const char *name;
	void (*run)();
} tests[] = { TEST(remove), TEST(close), TEST(evict), TEST(drain), TEST(checkin), TEST(discard),
	TEST(rest), TEST(map), TEST(pre_resize), TEST(post_resize), TEST(resize_within_a_thread),
	TEST(dispose), TEST(accept), TEST(checkout), TEST(cancel_state), TEST(socket_close),
	TEST(on_open), TEST(make_room), TEST(allocation_of_arena), TEST(allocation_of_buffer),
	TEST(allocation_of_slots), TEST(allocation_of_host) };

static void test_one(void (*test)())
{
	Resources before;

	calls = 0;
	for (int &fd : peers)
		fd = -1;
	arena = Arena_new();
	listener = Socket_listen("127.0.0.1", "0", 64);
	Socket_set_nonblocking(listener, 1);
	service = std::to_string(Socket_port(listener));
	pool = SocketPool_new(arena, PLACES, 64);
	test();
	Arena_dispose(&arena);
	Socket_close(&listener);
	for (int fd : peers)
		if (fd >= 0)
			close(fd);
	before.check_unchanged();
}

// With the name of a test, runs that alone.
int main(int argc, char **argv)
{
	if (!has_loopback())
		return NEEDS_SKIPPED;
	std::setvbuf(stdout, nullptr, _IONBF, 0);
	alarm(120); // a lock that stays held would hang
	for (const auto &test : tests)
		for (int w = 0; w < WAYS && (argc < 2 || !strcmp(argv[1], test.name)); w++) {
			scenario = test.name;
			way = static_cast<Way>(w);
			test_one(test.run);
		}
	std::printf("%zu callbacks x %d ways out\n", sizeof tests / sizeof *tests, WAYS);
	return 0;
}
