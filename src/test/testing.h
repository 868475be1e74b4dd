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

#if defined __has_feature
#define TESTING_HAS(feature) __has_feature(feature)
#else
#define TESTING_HAS(feature) 0
#endif
#if defined __SANITIZE_THREAD__ || TESTING_HAS(thread_sanitizer)
#define SANITIZED_THREADS 1
#else
#define SANITIZED_THREADS 0
#endif
#if defined __SANITIZE_ADDRESS__ || TESTING_HAS(address_sanitizer)
#define SANITIZED_ADDRESSES 1
#else
#define SANITIZED_ADDRESSES 0
#endif
#define SANITIZED (SANITIZED_THREADS || SANITIZED_ADDRESSES)

/* ---- tests register themselves where they stand ---- */

/*
 * SUITE("Arena");
 * CASE("creation", .setup = set_up, .teardown = tear_down);
 *
 * TEST(a_new_arena_is_empty)
 * {
 * 	...
 * }
 *
 * TEST(a_bad_request_is_refused, .to = ROWS(refused))
 * {
 * 	... refused[_i] ...
 * }
 *
 * A suite holds the cases that follow it, and a case the tests that follow it.
 * Options of a case: .timeout in seconds (default: 60), .setup and .teardown.
 * Options of a test: .from and .to (it runs for each _i from .from to below .to), and .signal (that
 * must end it). Options of both: .unless (if true, they do not run).
 * Options are evaluated before main and need not be constant.
 */
#define SUITE(name) TESTING_ENTRY(__COUNTER__, .suite_name = name)
#define CASE(...) TESTING_CASE(__VA_ARGS__, )
#define TEST(...) TESTING_TEST(__VA_ARGS__, )

/* The tests that follow run in the case before this one, and again in this one. */
#define TWIN_CASE(...) CASE(__VA_ARGS__, .is_twin = 1)

struct Testing_Entry {
	const char *suite_name, *case_name; /* if both are NULL, it is a test */
	void (*setup)(void), (*teardown)(void);
	double timeout;
	int is_twin;
	const TTest *test;
	int from, to, signal, unless;
	/* set by the macros and by testing.c */
	const char *file;
	int counter;
	Suite *suite;
	struct Testing_Entry *next;
};

/* A constructor adds each entry. It ends with a declaration, so that a semicolon follows. */
void testing_add(struct Testing_Entry *entry);
#define TESTING_ENTRY(n, ...) TESTING_NUMBERED(n, __VA_ARGS__)
#define TESTING_NUMBERED(n, ...)                                                                \
	__attribute__((constructor)) static void testing_register_##n(void)                     \
	{                                                                                       \
		static struct Testing_Entry entry;                                              \
		entry = (struct Testing_Entry){ __VA_ARGS__, .file = __BASE_FILE__, .counter = n };    \
		testing_add(&entry);                                                            \
	}                                                                                       \
	struct Testing_Entry
#define TESTING_CASE(name, ...) TESTING_ENTRY(__COUNTER__, __VA_ARGS__ .case_name = name)
#define TESTING_TEST(name, ...)                                                                 \
	static void name(int _i);                                                               \
	static const TTest name##_test = { #name, name, __FILE__, __LINE__ };                   \
	TESTING_ENTRY(__COUNTER__, __VA_ARGS__ .test = &name##_test);                           \
	static void name(int _i CK_ATTRIBUTE_UNUSED)

/* Declares the program's needs of the machine: NEEDS(.loopback = 1, .descriptors = 300). If the
 * machine lacks it, the program is skipped. */
#define NEEDS(...) TESTING_NEEDS(__COUNTER__, __VA_ARGS__)

struct Testing_Needs {
	int loopback;
	unsigned long descriptors; /* open at once */
};

void testing_need(const struct Testing_Needs *needs);
#define TESTING_NEEDS(n, ...) TESTING_NUMBERED_NEEDS(n, __VA_ARGS__)
#define TESTING_NUMBERED_NEEDS(n, ...)                                                          \
	__attribute__((constructor)) static void testing_register_##n(void)                     \
	{                                                                                       \
		testing_need(&(struct Testing_Needs){ __VA_ARGS__ });                           \
	}                                                                                       \
	struct Testing_Needs

/* Fails unless the statement raises e, or a kind of it, with a message that contains text. */
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

/* A backing allocator that counts its blocks. It refuses request number fail_at and those after it;
 * if fail_at is -1, it refuses none. */
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
		return NULL; /* all later requests fail, too */
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

/* Allocates from the system: malloc of ASan is not safe after a fork among threads. */
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
	return Arena_new_with(&(Arena_Options){ .alloc = map_alloc, .free = map_free,
		.parent = parent });
}

/* Whether CORE_ARENA_DEBUG asks for fences. Fences take room, and no object can grow in place. */
static inline int has_fences(void)
{
	const char *guards = getenv("CORE_ARENA_DEBUG");

	return guards && (strstr(guards, "fill") || strstr(guards, "guard"));
}

/* Options of an arena over a failing allocator. Its first chunk is so small that most requests
 * reach the allocator. */
static inline Arena_Options failing_options(struct Failing *f)
{
	Arena_Options o = { 0 };

	o.chunk = 64;
	o.alloc = failing_alloc;
	o.free = failing_free;
	o.cl = f;
	return o;
}

static inline Arena_T failing_arena(struct Failing *f)
{
	Arena_Options o = failing_options(f);

	return Arena_new_with(&o);
}

#endif
