/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_arena. */
#ifndef TEST_ARENA_INCLUDED
#define TEST_ARENA_INCLUDED
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#if HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/memcheck.h>
#endif

#include "testing.h"

#if SANITIZED_ADDRESSES
#include <sanitizer/asan_interface.h>
#endif

enum { KB = 1024, MB = 1024 * 1024 };

static EXCEPT_DEFINE(Trouble, NULL, "trouble");

static inline Arena_T counted_arena(struct Failing *f)
{
	*f = (struct Failing){ .fail_at = -1 };
	return Arena_new_with(&(Arena_Options){ .alloc = failing_alloc, .free = failing_free,
		.cl = f });
}

static inline Arena_T limited_arena(size_t limit)
{
	return Arena_new_with(&(Arena_Options){ .limit = limit, .name = "limited" });
}

/* A journal of deferred calls. */
static struct {
	char text[64];
	size_t n;
} journal;

static inline void note(void *cl)
{
	journal.text[journal.n++] = *(const char *)cl;
	journal.text[journal.n] = '\0';
}

static inline void note_and_raise(void *cl)
{
	note(cl);
	RAISE_MSG(Trouble, "from %s", (const char *)cl);
}

static inline void small_batch(Arena_T arena)
{
	int i;

	for (i = 0; i < 50; i++)
		memset(Arena_alloc(arena, (size_t)(16 + i * 10)), i, (size_t)(16 + i * 10));
}

static inline void mixed_batch(Arena_T arena)
{
	int i;

	for (i = 0; i < 1000; i++)
		Arena_alloc(arena, (size_t)(i * 7919 % 5000));
}

static __attribute__((noinline, unused)) char *report(void)
{
	char *text = NULL;
	size_t nbytes;
	FILE *out = open_memstream(&text, &nbytes);

	ck_assert_ptr_nonnull(out);
	Arena_debug_report(out);
	fclose(out);
	return text;
}

enum { THREADS = 8, OBJECTS = 2000 };

typedef struct Worker {
	pthread_t thread;
	Arena_T arena;
	int id;
	unsigned char *objects[OBJECTS];
	size_t sizes[OBJECTS];
	int wrong;
} Worker;

static inline void on_threads(void *(*fn)(void *), Worker *workers, Arena_T arena)
{
	int i;

	for (i = 0; i < THREADS; i++) {
		workers[i].id = i + 1;
		workers[i].arena = arena;
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, fn, &workers[i]), 0);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
}

/* Whether a tool watches accesses, and reports misuse in its own way. */
static inline int is_watched(void)
{
#if SANITIZED_ADDRESSES
	return 1;
#else
	return RUNNING_ON_VALGRIND != 0;
#endif
}

#endif
