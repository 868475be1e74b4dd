/* SPDX-License-Identifier: MIT */
/* The library if malloc fails. The program is linked with the objects of the library and with
 * --wrap for malloc, so that each allocation of theirs passes here. */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <core/core.h>
#include "arena/rep.h"
#include "socket/internal.h"
#include "descriptors.h"
#include "testing.h"
#include "wrapping.h"

NEEDS(.loopback = 1);

static int fail_at = -1; /* the request to refuse, and all after it; -1: none */

static int is_refused(void)
{
	if (fail_at > 0)
		fail_at--;
	return fail_at == 0;
}

WRAPPED(void *, malloc, (size_t n), (n), if (is_refused()) return NULL);
WRAPPED(void *, calloc, (size_t m, size_t n), (m, n), if (is_refused()) return NULL);
WRAPPED(void *, realloc, (void *p, size_t n), (p, n), if (is_refused()) return NULL);

/* Runs step with the first request refused, then the second, and so on until it succeeds. Each
 * time the exception must be a kind of e and name the lack of memory, and no arena may be left. */
static int count_failures(void (*step)(void), const Except_T *e)
{
	size_t before = Arena_debug_live_count();
	volatile int n, done = 0;

	for (n = 1; !done && n < 1000; n++) {
		TRY {
			fail_at = n;
			step();
			done = 1;
		} ELSE {
			const Except_T *x = Except_current();

			fail_at = -1;
			while (x && x != e)
				x = x->parent;
			ck_assert_msg(x != NULL, "%s: %s", Except_current()->reason, Except_message());
			ck_assert_msg(strstr(Except_message(), "memory") != NULL, "%s", Except_message());
		} END_TRY;
		fail_at = -1;
		ck_assert_uint_eq(Arena_debug_live_count(), before);
	}
	ck_assert(done);
	return n - 2;
}

static void make_arena(void)
{
	Arena_T a;

	if (arena__thread()) /* no chunk is in store, so each is asked of malloc */
		arena__empty_store(arena__thread());
	a = Arena_new();

	TRY {
		Arena_alloc(a, 100000);
		Arena_sprintf(a, "%1000000d", 1);
	} FINALLY {
		Arena_dispose(&a);
	} END_TRY;
}

SUITE("malloc");
CASE("failing");

TEST(an_arena_raises_and_leaves_nothing_when_malloc_fails)
{
	ck_assert_int_ge(count_failures(make_arena, &Arena_Failed), 3);
}

static int adopted;

static void adopt_socket(void)
{
	Socket_T s = Socket_adopt(adopted);

	socket__unread(s, "read ahead", 10);
	Socket_close(&s);
	adopted = -1;
}

TEST(a_socket_that_cannot_be_made_leaves_its_descriptor_with_the_caller)
{
	int fd[2];
	volatile int failed = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	TRY {
		fail_at = 1;
		Socket_adopt(fd[0]);
	} EXCEPT(Socket_Failed) {
		failed = 1;
	} END_TRY;
	fail_at = -1;
	ck_assert(failed);
	ck_assert_int_eq((int)write(fd[0], "x", 1), 1);
	adopted = fd[0];
	adopt_socket();
	close(fd[1]);
}

TEST(reading_ahead_without_memory_is_an_exception)
{
	int fd[2];
	Socket_T s;
	char byte;
	volatile int failed = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	s = Socket_adopt(fd[0]);
	TRY {
		fail_at = 1;
		socket__unread(s, "ahead", 5);
	} EXCEPT(Socket_Failed) {
		failed = 1;
	} END_TRY;
	fail_at = -1;
	ck_assert(failed);
	ck_assert_uint_eq(Socket_pending(s), 0);
	ck_assert_int_eq((int)write(fd[1], "x", 1), 1);
	ck_assert_uint_eq(Socket_recv(s, &byte, 1), 1);
	Socket_close(&s);
	close(fd[1]);
}

static void listen_and_connect(void)
{
	AUTO(Socket_T, listener, Socket_close) = Socket_listen("127.0.0.1", "0", 0);
	char port[16];

	snprintf(port, sizeof port, "%d", Socket_port(listener));
	{
		AUTO(Socket_T, client, Socket_close) = Socket_connect("127.0.0.1", port, 5000);
		AUTO(Socket_T, server, Socket_close) = Socket_accept(listener);

		if (server)
			Socket_sendall(client, "x", 1);
	}
}

TEST(listen_connect_and_accept_leak_no_descriptor_when_malloc_fails)
{
	int before = count_descriptors();

	ck_assert_int_ge(count_failures(listen_and_connect, &Socket_Failed), 3);
	ck_assert_int_eq(count_descriptors(), before);
}

TEST(a_report_without_memory_is_an_exception)
{
	volatile int raised = 0;

	TRY {
		AUTO(Arena_T, arena, Arena_dispose) = Arena_new();

		fail_at = 1;
		Arena_debug_report(stderr);
	} EXCEPT(Arena_Failed) {
		raised = strstr(Except_message(), "Arena_debug_report: out of memory") != NULL;
	} END_TRY;
	fail_at = -1;
	ck_assert(raised);
}

static void count_arenas(const Arena_Info *info, void *cl)
{
	(void)info;
	++*(size_t *)cl;
}

static void map_arenas(void)
{
	AUTO(Arena_T, arena, Arena_dispose) = NULL;
	size_t n = 0;
	int fail_later = fail_at;

	fail_at = -1;
	arena = Arena_new();
	fail_at = fail_later;
	Arena_debug_map(count_arenas, &n);
	fail_at = -1;
	ck_assert_uint_eq(n, Arena_debug_live_count());
}

TEST(a_map_without_memory_is_an_exception_and_holds_no_lock)
{
	ck_assert_int_eq(count_failures(map_arenas, &Arena_Failed), 2);
}

static int has_line(FILE *file, const char *text)
{
	char line[500];
	int found = 0;

	rewind(file);
	while (fgets(line, sizeof line, file))
		found |= strstr(line, text) != NULL;
	return found;
}

/* src/test/arena_guard_suites.sh runs this program with CORE_ARENA_DEBUG=profile, too. */
TEST(a_profile_without_memory_raises_nothing_and_says_so)
{
	FILE *file = tmpfile();
	Arena_T arena = Arena_new();
	int profiled = (arena__guards & GUARD_PROFILE) != 0, i;

	ck_assert_ptr_nonnull(file);
	fail_at = 1;
	for (i = 0; i < 100; i++)
		Arena_alloc(arena, 10);
	Arena_mark(arena);
	fail_at = -1;
	Arena_debug_profile(file);
	ck_assert_int_eq(has_line(file, "1000        100  (no memory)"), profiled);
	ck_assert_int_eq(has_line(file, "no memory to follow 1000 bytes"), profiled);
	fail_at = 1;
	Arena_debug_profile(file); /* in any order from then on */
	fail_at = -1;
	Arena_dispose(&arena);
	fclose(file);
}

TEST(a_raise_with_a_message_needs_no_malloc)
{
	volatile int caught = 0;

	fail_at = 1;
	TRY {
		RAISE_MSG(Arena_Failed, "the number is %d", 42);
	} EXCEPT(Arena_Failed) {
		caught = strcmp(Except_message(), "the number is 42") == 0;
	} END_TRY;
	fail_at = -1;
	ck_assert(caught);
}

/* The program is linked with the library's objects: this comes before their constructors. */
static int caught_early;

static void __attribute__((constructor(101))) raise_early(void)
{
	TRY {
		RAISE_MSG(Arena_Failed, "early");
	} EXCEPT(Arena_Failed) {
		caught_early++;
	} FINALLY {
		caught_early++;
	} END_TRY;
}

TEST(a_constructor_may_raise_before_the_library_has_called_its_own)
{
	ck_assert_int_eq(caught_early, 2);
}
