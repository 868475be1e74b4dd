/* SPDX-License-Identifier: MIT */
/* Shared by the test programs. */
#ifndef TESTING_INCLUDED
#define TESTING_INCLUDED
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if HAVE_VALGRIND_MEMCHECK_H /* after config.h */
#include <valgrind/memcheck.h>
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif
#include <core/Arena.h>
#include "needs.h"

#if defined __has_feature
#define TESTING_HAS(feature) __has_feature(feature)
#else
#define TESTING_HAS(feature) 0
#endif
#if defined __SANITIZE_THREAD__ || TESTING_HAS(thread_sanitizer)
#define SANITIZED_THREADS 1
#endif
#if defined __SANITIZE_ADDRESS__ || TESTING_HAS(address_sanitizer) || SANITIZED_THREADS
#define SANITIZED 1
#endif

/* Fails unless the statement raises (a kind of) e with a message that contains text. */
#define ck_raises_saying(e, text, statement)                                                \
	do {                                                                                \
		volatile int ck_caught_ = 0;                                                \
		TRY {                                                                       \
			statement;                                                          \
		} EXCEPT(e) {                                                               \
			ck_caught_ = 1;                                                     \
			ck_assert_msg(strstr(Except_message(), text) != NULL,               \
				"the message \"%s\" lacks \"%s\"", Except_message(), text); \
		} ELSE {                                                                    \
			ck_abort_msg("%s raised %s: %s", #statement,                        \
				Except_current()->reason, Except_message());                \
		} END_TRY;                                                                  \
		ck_assert_msg(ck_caught_, "%s did not raise %s", #statement, #e);           \
	} while (0)

#define ck_raises(e, statement) ck_raises_saying(e, "", statement)

/* A backing allocator that counts, and refuses the request number fail_at (0: the next; -1: none). */
struct Failing {
	int fail_at;
	size_t requests, outstanding_blocks, outstanding_bytes;
};

static inline void *failing_alloc(size_t nbytes, void *cl)
{
	struct Failing *f = cl;
	void *p;

	f->requests++;
	if (f->fail_at == 0)
		return NULL; /* and every one after it */
	if (f->fail_at > 0)
		f->fail_at--;
	p = malloc(nbytes);
	if (p) {
		f->outstanding_blocks++;
		f->outstanding_bytes += nbytes;
	}
	return p;
}

static inline void failing_free(void *p, size_t nbytes, void *cl)
{
	struct Failing *f = cl;

	f->outstanding_blocks--;
	f->outstanding_bytes -= nbytes;
	free(p);
}

/* Memory straight from the system: the malloc of ASan is not safe after a fork amid threads. */
static inline void *map_alloc(size_t nbytes, void *cl)
{
	void *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)cl;
	return p == MAP_FAILED ? NULL : p;
}

static inline void map_free(void *p, size_t nbytes, void *cl)
{
	(void)cl;
	munmap(p, nbytes);
}

static inline Arena_T mapped_arena(Arena_T parent)
{
	return Arena_new_with(&(Arena_Options){ .alloc = map_alloc, .free = map_free, .parent = parent });
}

/* Whether CORE_ARENA_DEBUG asks for fences: then objects take more room, and none grows where it is. */
static inline int has_fences(void)
{
	const char *guards = getenv("CORE_ARENA_DEBUG");

	return guards && (strstr(guards, "fill") || strstr(guards, "guard"));
}

/* An arena over it, with a first chunk so small that most requests reach the allocator. */
static inline Arena_T failing_arena(struct Failing *f)
{
	Arena_Options o = { 0 };

	o.chunk = 64;
	o.alloc = failing_alloc;
	o.free = failing_free;
	o.cl = f;
	return Arena_new_with(&o);
}

/* Returns whether the machine has what the program needs; else says what it lacks. */
static inline int testing_can_run(void)
{
#if defined NEEDS_DESCRIPTORS
	if (!has_descriptors(NEEDS_DESCRIPTORS))
		return 0;
#endif
#if defined NEEDS_LOOPBACK
	if (!has_loopback())
		return 0;
#endif
	return 1;
}

static inline int testing_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int status = NEEDS_SKIPPED;

	if (testing_can_run()) {
		srunner_run_all(runner, CK_ENV);
		status = srunner_ntests_failed(runner) != 0;
	}
	srunner_free(runner);
	return status;
}

#endif
