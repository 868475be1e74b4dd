/* SPDX-License-Identifier: MIT */
/* Threads that come and go by thousands, and forks among them. Each thread does a little of
 * everything: arenas with chunks in store, tables, exceptions, an arena that all share. STORM:
 * how many times as long (default: 1). */
#include "config.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#if HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include <core/HashTable.h>
#include "testing.h"


enum { KB = 1024, WAVE = 16, WAVES = 100, FORKERS = 4, FORKS = 25, MINE = 40 };

EXCEPT_DEFINE(Trouble, NULL, "trouble");
EXCEPT_DEFINE(Worse, &Trouble, "worse");

static int scale_storm(int n)
{
	const char *times = getenv("STORM");

	n *= times && atoi(times) > 0 ? atoi(times) : 1;
	return RUNNING_ON_VALGRIND ? n / 10 + 1 : n;
}

static Arena_T new_arena(Arena_T parent)
{
	if (SANITIZED)
		return mapped_arena(parent);
	return parent ? Arena_new_child(parent) : Arena_new();
}

/* ---- a life; whatever is not as it should be is counted ---- */

static int wrong_in_table(Arena_T arena, uint64_t id)
{
	HashTable_T table = HashTable_new(arena, 0);
	int i, wrong = 0;
	char key[32];

	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "%llu-%d", (unsigned long long)id, i);
		HashTable_put(table, key, (void *)(uintptr_t)(id + (unsigned)i + 1));
	}
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "%llu-%d", (unsigned long long)id, i);
		wrong += HashTable_get(table, key) != (void *)(uintptr_t)(id + (unsigned)i + 1);
	}
	return wrong + (HashTable_length(table) != 100);
}

static int wrong_in_raise(uint64_t id)
{
	volatile int right = 0;
	char text[32];

	snprintf(text, sizeof text, "of %llu", (unsigned long long)id);
	TRY {
		TRY {
			RAISE_MSG(Trouble, "%s", text);
		} EXCEPT(Trouble) {
			RAISE_MSG(Worse, "%s, worse", text);
		} FINALLY {
			right++;
		} END_TRY;
	} EXCEPT(Trouble) {
		right += strncmp(Except_message(), text, strlen(text)) == 0 && Except_current() == &Worse;
	} END_TRY;
	return 2 - right;
}

/* Uses memory in the shared arena that no other thread has. Returns whether it changed. */
static int wrong_in_shared(Arena_T shared, uint64_t id)
{
	uint64_t *mine[MINE];
	int i, wrong = 0;

	for (i = 0; i < MINE; i++)
		*(mine[i] = Arena_alloc(shared, sizeof **mine)) = id;
	for (i = 0; i < MINE; i++)
		wrong += *mine[i] != id;
	return wrong;
}

static int wrong_in_life(Arena_T shared, uint64_t id)
{
	AUTO(Arena_T, arena, Arena_dispose) = new_arena(NULL);
	Arena_T child = new_arena(arena), large = new_arena(NULL);
	int wrong = wrong_in_table(child, id) + wrong_in_raise(id) + wrong_in_shared(shared, id);

	/* the thread keeps a part of it in store */
	memset(Arena_alloc(large, 200 * KB), 1, 200 * KB);
	Arena_dispose(&large);
	Arena_clear(arena);
	return wrong + wrong_in_table(arena, id);
}

static size_t threads_begun;
static int wrong_total;

static void live_once(Arena_T shared)
{
	uint64_t id = __atomic_add_fetch(&threads_begun, 1, __ATOMIC_RELAXED);

	__atomic_add_fetch(&wrong_total, wrong_in_life(shared, id), __ATOMIC_RELAXED);
}

/* ---- threads ---- */

SUITE("storm");
CASE("threads and forks", .timeout = 60.0 * scale_storm(1));

static void *return_after_life(void *shared)
{
	live_once(shared);
	return shared;
}

static void *exit_in_a_statement(void *shared)
{
	TRY {
		AUTO(Arena_T, arena, Arena_dispose) = new_arena(NULL);
		live_once(shared);
		Arena_alloc(arena, 100);
		pthread_exit(shared);
	} FINALLY {
		live_once(shared);
	} END_TRY;
	return NULL;
}

static void *wait_to_be_cancelled(void *shared)
{
	TRY {
		AUTO(Arena_T, arena, Arena_dispose) = new_arena(NULL);
		live_once(shared);
		Arena_alloc(arena, 100);
		/* not in pause(): TSan takes a thread that left it by cancellation for one that still
		 * waits, and misses its locks */
		for (;;) {
			pthread_testcancel();
			sched_yield();
		}
	} FINALLY {
		live_once(shared);
	} END_TRY;
	return NULL;
}

static void *(*const lives[])(void *) = { return_after_life, exit_in_a_statement, return_after_life,
	wait_to_be_cancelled };

static void run_wave(Arena_T shared)
{
	pthread_t threads[WAVE];
	void *(*how)(void *);
	void *result;
	int i;

	for (i = 0; i < WAVE; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, lives[i % 4], shared), 0);
	for (i = 0; i < WAVE; i++) {
		how = lives[i % 4];
		if (how == wait_to_be_cancelled)
			pthread_cancel(threads[i]);
		ck_assert_int_eq(pthread_join(threads[i], &result), 0);
		ck_assert_ptr_eq(result, how == wait_to_be_cancelled ? PTHREAD_CANCELED : (void *)shared);
	}
}

/* Returns the KiB that this process has in memory, and its number of mappings; 0 where they are
 * unknown. */
static long resident_kib(long *mappings)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0;
	int c;

	*mappings = 0;
	if (!file)
		return 0;
	if (fscanf(file, "%*d %ld", &pages) != 1)
		pages = 0;
	fclose(file);
	file = fopen("/proc/self/maps", "r");
	while (file && (c = getc(file)) != EOF)
		*mappings += c == '\n';
	if (file)
		fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / KB);
}

TEST(threads_that_come_and_go_by_thousands_leave_nothing_behind)
{
	long settled = 0, maps_settled = 0, maps, kib;
	size_t before = Arena_debug_live_count();
	int i, waves = scale_storm(WAVES);
	Arena_T shared;

	for (i = 0; i < waves; i++) {
		shared = new_arena(NULL);
		run_wave(shared);
		Arena_dispose(&shared);
		ck_assert_uint_eq(Arena_debug_live_count(), before);
		if (i == waves / 4)
			settled = resident_kib(&maps_settled);
	}
	kib = resident_kib(&maps);
	ck_assert_int_eq(wrong_total, 0);
	ck_assert_uint_ge(threads_begun, (size_t)waves * WAVE);
	if (!SANITIZED && !RUNNING_ON_VALGRIND) {
		ck_assert_msg(kib <= settled + 4 * KB, "%ld KiB became %ld", settled, kib);
		/* malloc's arenas, one of each thread */
		ck_assert_msg(maps <= maps_settled + 4 * WAVE, "%ld mappings became %ld", maps_settled,
			maps);
	}
}

TEST(threads_that_end_leave_their_part_of_a_shared_arena_to_those_that_come)
{
	size_t before = Arena_debug_live_count(), capacity = 0;
	Arena_T shared = new_arena(NULL);
	int i, waves = scale_storm(WAVES / 2);

	for (i = 0; i < waves; i++) {
		run_wave(shared);
		Arena_clear(shared);
		/* how many threads overlap varies */
		if (i <= waves / 2 && capacity < Arena_capacity(shared))
			capacity = Arena_capacity(shared);
	}
	ck_assert_uint_le(Arena_capacity(shared), 4 * capacity);
	Arena_dispose(&shared);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
	ck_assert_int_eq(wrong_total, 0);
}

/* ---- forks; under TSan there is no such promise (Arena(3)) ---- */

#if !SANITIZED_THREADS
static int stop;

static void *keep_living(void *shared)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		live_once(shared);
	return NULL;
}

/* Does all that the thread that forked can do, and, where malloc allows it, with threads. */
static void live_in_child(Arena_T shared)
{
	pthread_t thread;
	int i;

	alarm(60); /* ends a child that waits for a lock */
	wrong_total = 0;
	for (i = 0; i < 3; i++)
		live_once(shared);
	if (!SANITIZED) {
		if (pthread_create(&thread, NULL, return_after_life, shared) != 0)
			_exit(3);
		pthread_join(thread, NULL);
	}
	live_once(shared);
	_exit(wrong_total ? 4 : 0);
}

static void *keep_forking(void *shared)
{
	intptr_t failed = 0;
	int i, forks = scale_storm(FORKS), status;

	for (i = 0; i < forks; i++) {
		pid_t child = fork();

		if (child == 0)
			live_in_child(shared);
		live_once(shared);
		if (child < 0 || waitpid(child, &status, 0) != child)
			failed++;
		else if (status != 0) {
			fprintf(stderr, "a child ended with %#x\n", (unsigned)status);
			failed++;
		}
	}
	return (void *)failed;
}

/* Valgrind reports as lost what other threads held, which a child has not. */
TEST(children_forked_by_several_threads_amid_a_storm_can_do_everything,
	.unless = RUNNING_ON_VALGRIND)
{
	Arena_T shared = new_arena(NULL);
	pthread_t busy[FORKERS], forkers[FORKERS];
	void *failed;
	int i;

	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	for (i = 0; i < FORKERS; i++) {
		ck_assert_int_eq(pthread_create(&busy[i], NULL, keep_living, shared), 0);
		ck_assert_int_eq(pthread_create(&forkers[i], NULL, keep_forking, shared), 0);
	}
	for (i = 0; i < FORKERS; i++) {
		pthread_join(forkers[i], &failed);
		ck_assert_ptr_null(failed);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < FORKERS; i++)
		pthread_join(busy[i], NULL);
	Arena_dispose(&shared);
	ck_assert_int_eq(wrong_total, 0);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}
#endif
