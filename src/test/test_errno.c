/* SPDX-License-Identifier: MIT */
/* A call of Except, Arena or HashTable that succeeds leaves errno as it was. */
#include "config.h"

#include <errno.h>
#include <stdio.h>

#include <core/HashTable.h>
#include "testing.h"

EXCEPT_DEFINE(Failed, NULL, "failed");

#define KEEPS(statement)                                                                    \
	do {                                                                                \
		errno = 4711;                                                               \
		statement;                                                                  \
		ck_assert_msg(errno == 4711, "%s left errno %d", #statement, errno);        \
	} while (0)

static void do_nothing(void *cl)
{
	(void)cl;
}

static void visit_entry(const void *key, void **value, void *cl)
{
	(void)key;
	(void)value;
	(void)cl;
}

SUITE("errno");
CASE("successful calls");

TEST(calls_of_except_leave_errno_alone)
{
	static Except_Capture c;
	Except_Stack stack;
	FILE *out = fopen("/dev/null", "w");

	ck_assert_ptr_nonnull(out);
	KEEPS(Except_set_backtrace(8));
	KEEPS(Except_set_backtrace(0));
	KEEPS(Except_set_uncaught(NULL, NULL));
	KEEPS(TRY { RAISE(Failed); } ELSE { Except_capture(&c); Except_report(out); } END_TRY);
	KEEPS(TRY { RAISE_MSG(Failed, "%d", 1); }
		EXCEPT(Failed) { Except_message(); }
		FINALLY { Except_errno(); } END_TRY);
	KEEPS(Except_call(do_nothing, NULL, &c));
	KEEPS(Except_save(&stack));
	KEEPS(Except_restore(&stack));
	fclose(out);
}

static void show_nothing(const Arena_Info *info, void *cl)
{
	(void)info;
	(void)cl;
}

TEST(calls_of_arena_leave_errno_alone)
{
	FILE *out = fopen("/dev/null", "w");
	Arena_T a, child;
	Arena_Mark mark;
	FILE *stream;
	char *text;
	size_t n;
	int i;

	KEEPS(a = Arena_new());
	KEEPS(child = Arena_new_child(a));
	KEEPS(Arena_alloc(a, 10));
	KEEPS(Arena_alloc(a, 50000000));
	KEEPS(for (i = 0; i < 30; i++) Arena_alloc(a, 1 << 20));
	KEEPS(Arena_calloc(a, 10, 10));
	KEEPS(Arena_alloc_aligned(a, 4096, 10));
	KEEPS(Arena_sprintf(a, "%d %s", 3, "x"));
	KEEPS(Arena_realloc(a, Arena_strdup(a, "x"), 2, 100000));
	KEEPS(stream = Arena_open_stream(child, &text, &n));
	KEEPS(fputs("text", stream));
#if SANITIZED_THREADS /* its fclose asks for the descriptor of a stream that has none */
	fclose(stream);
#else
	KEEPS(fclose(stream));
#endif
	KEEPS(Arena_defer(a, do_nothing, NULL));
	KEEPS(mark = Arena_mark(a));
	KEEPS(Arena_alloc(a, 50000));
	KEEPS(Arena_rewind(a, mark));
	KEEPS(Arena_clear(a));
	KEEPS(Arena_reset(a, 0));
	KEEPS(Arena_debug_live_count());
	KEEPS(Arena_debug_report(out));
	KEEPS(Arena_debug_map(show_nothing, NULL));
	KEEPS(Arena_debug_profile(out));
	KEEPS(Arena_adopt(child, NULL));
	KEEPS(Arena_dispose(&child));
	KEEPS(Arena_dispose(&a));
	fclose(out);
}

static void *alloc_with_errno(size_t nbytes, void *cl)
{
	void *p = malloc(nbytes);

	(void)cl;
	errno = 1;
	return p;
}

static void free_with_errno(void *p, size_t nbytes, void *cl)
{
	(void)nbytes;
	(void)cl;
	free(p);
	errno = 2;
}

TEST(a_backing_allocator_that_sets_errno_does_not_show)
{
	Arena_Options options = { .alloc = alloc_with_errno, .free = free_with_errno };
	Arena_T a, child;
	Arena_Mark mark;

	KEEPS(a = Arena_new_with(&options));
	KEEPS(child = Arena_new_child(a));
	KEEPS(Arena_alloc(a, 100000));
	KEEPS(Arena_try_alloc(a, 200000));
	KEEPS(mark = Arena_mark(a));
	KEEPS(Arena_alloc(a, 300000));
	KEEPS(Arena_alloc(a, 400000));
	KEEPS(Arena_rewind(a, mark));
	KEEPS(Arena_alloc(child, 100000));
	KEEPS(Arena_clear(a));
	KEEPS(Arena_reset(a, 0));
	KEEPS(Arena_dispose(&child));
	KEEPS(Arena_dispose(&a));
}

TEST(calls_of_a_table_leave_errno_alone)
{
	HashTable_T t, copy;
	HashTable_Iter it;
	HashTable_Stats stats;
	Arena_T a = Arena_new();
	char key[16];
	int i;

	KEEPS(t = HashTable_new(a, 0));
	for (i = 0; i < 20000; i++) {
		snprintf(key, sizeof key, "%d", i);
		KEEPS(HashTable_put(t, key, t));
	}
	KEEPS(HashTable_get(t, "5"));
	KEEPS(HashTable_remove(t, "5"));
	KEEPS(HashTable_map(t, visit_entry, NULL));
	KEEPS(HashTable_iterate(t, &it));
	KEEPS(while (HashTable_next(&it)) { });
	KEEPS(HashTable_stats(t, &stats));
	KEEPS(copy = HashTable_copy(t, NULL));
	KEEPS(HashTable_free(&copy));
	KEEPS(HashTable_toArray(t, a, NULL));
	KEEPS(HashTable_reserve(t, 100000));
	KEEPS(HashTable_clear(t));
	KEEPS(HashTable_free(&t));
	Arena_dispose(&a);
}
