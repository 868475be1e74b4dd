/* SPDX-License-Identifier: MIT */
/* Arena from the inside: what the library's other modules may ask of it. */
#include "config.h"

#include <stdint.h>

#include "testing.h"
#include "arena.h"

enum { KB = 1024, MB = 1024 * 1024 };

static Arena_T counted_arena(struct Failing *f)
{
	*f = (struct Failing){ .fail_at = -1 };
	return Arena_new_with(&(Arena_Options){ .alloc = failing_alloc, .free = failing_free, .cl = f });
}

static void dispose_of_all(Arena_T arena, const struct Failing *f)
{
	Arena_dispose(&arena);
	ck_assert_uint_eq(f->outstanding_blocks, 0);
	ck_assert_uint_eq(f->outstanding_bytes, 0);
}

/* ---- arena__release ---- */

START_TEST(the_newest_block_goes_back_and_its_place_is_used_again)
{
	static const size_t sizes[] = { 0, 1, 16, 100, 1000 };
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t i, used;

	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		char *older = Arena_alloc(arena, 10), *p;

		used = Arena_used(arena);
		p = Arena_alloc(arena, sizes[i]);
		ck_assert_int_eq(arena__release(arena, p, sizes[i]), 1);
		ck_assert_uint_eq(Arena_used(arena), used);
		ck_assert_int_eq(arena__release(arena, older, 10), 1); /* which is the newest now */
		ck_assert_ptr_eq(Arena_alloc(arena, 10), older);
		ck_assert_ptr_eq(memset(Arena_alloc(arena, sizes[i]), 'x', sizes[i]), p);
	}
	dispose_of_all(arena, &f);
}
END_TEST

START_TEST(a_block_that_was_resized_goes_back_with_its_new_size)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	char *p = Arena_alloc(arena, 10);

	p = Arena_realloc(arena, p, 10, 500);
	ck_assert_int_eq(arena__release(arena, p, 10), 0);
	ck_assert_int_eq(arena__release(arena, p, 500), 1);
	ck_assert_uint_eq(Arena_used(arena), 0);
	dispose_of_all(arena, &f);
}
END_TEST

START_TEST(a_block_amid_others_stays)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	char *p = Arena_strdup(arena, "stays");
	size_t used;

	Arena_alloc(arena, 1);
	used = Arena_used(arena);
	ck_assert_int_eq(arena__release(arena, p, 6), 0);
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_str_eq(p, "stays");
	dispose_of_all(arena, &f);
}
END_TEST

START_TEST(a_large_block_takes_its_chunk_with_it_wherever_it_is_in_the_list)
{
	static const int orders[3][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 } };
	int i, k;

	for (i = 0; i < 3; i++) {
		struct Failing f;
		Arena_T arena = counted_arena(&f);
		size_t before = f.outstanding_bytes;
		char *p[3];

		for (k = 0; k < 3; k++) {
			p[k] = Arena_alloc_aligned(arena, (size_t)64 << k, MB);
			memset(p[k], 'x', MB);
			Arena_strdup(arena, "between");
		}
		for (k = 0; k < 3; k++) {
			size_t used = Arena_used(arena);

			ck_assert_int_eq(arena__release(arena, p[orders[i][k]], MB), 1);
			ck_assert_uint_ge(used - Arena_used(arena), MB);
			ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
		}
		ck_assert_uint_eq(f.outstanding_bytes, before);
		ck_assert_uint_lt(Arena_used(arena), KB);
		ck_assert_uint_ge(Arena_peak(arena), 3 * MB);
		dispose_of_all(arena, &f);
	}
}
END_TEST

START_TEST(a_released_chunk_makes_room_under_the_limit)
{
	Arena_T arena = Arena_new_with(&(Arena_Options){ .limit = 3 * MB });
	int i;

	for (i = 0; i < 10; i++) {
		char *p = Arena_alloc(arena, 2 * MB);

		ck_raises(Arena_Failed, Arena_alloc(arena, 2 * MB));
		ck_assert_int_eq(arena__release(arena, p, 2 * MB), 1);
	}
	Arena_dispose(&arena);
}
END_TEST

START_TEST(what_is_older_than_a_mark_stays)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	char *large = Arena_alloc(arena, MB), *small = Arena_strdup(arena, "small"), *p;
	Arena_Mark mark = Arena_mark(arena);

	memset(large, 'x', MB);
	ck_assert_int_eq(arena__release(arena, small, 6), 0);
	ck_assert_int_eq(arena__release(arena, large, MB), 0);
	p = Arena_alloc(arena, 2 * MB);
	ck_assert_int_eq(arena__release(arena, p, 2 * MB), 1); /* newer than the mark */
	p = Arena_alloc(arena, 100);
	ck_assert_int_eq(arena__release(arena, p, 100), 1);
	Arena_alloc(arena, 2 * MB);
	Arena_rewind(arena, mark);
	ck_assert_str_eq(small, "small");
	ck_assert_int_eq(large[0] + large[MB - 1], 2 * 'x');
	ck_assert_int_eq(arena__release(arena, large, MB), 0); /* the mark may be rewound to again */
	Arena_clear(arena);
	large = Arena_alloc(arena, 5 * MB);
	ck_assert_int_eq(arena__release(arena, large, 5 * MB), 1);
	dispose_of_all(arena, &f);
}
END_TEST

START_TEST(a_mark_stays_good_when_blocks_after_it_are_released)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	int i;

	for (i = 0; i < 5; i++) {
		char *p = Arena_alloc(arena, MB), *q = Arena_alloc(arena, 100);
		Arena_Mark mark = Arena_mark(arena);
		char *r = Arena_alloc(arena, 3 * MB);

		memset(q, 'q', 100);
		Arena_alloc(arena, 30 * KB);
		ck_assert_int_eq(arena__release(arena, r, 3 * MB), 1);
		Arena_rewind(arena, mark);
		memset(p, 'p', MB);
		ck_assert_int_eq(q[0] + q[99], 2 * 'q');
		Arena_rewind(arena, mark);
	}
	dispose_of_all(arena, &f);
}
END_TEST

static void *from_arena(size_t nbytes, void *cl)
{
	return Arena_alloc(cl, nbytes);
}

START_TEST(a_backing_allocator_that_takes_nothing_back_keeps_the_block_in_the_arena)
{
	Arena_T outer = Arena_new(), arena = Arena_new_with(&(Arena_Options){ .alloc = from_arena, .cl = outer });
	char *p = Arena_alloc(arena, MB);

	ck_assert_int_eq(arena__release(arena, p, MB), 0);
	memset(p, 'x', MB);
	Arena_dispose(&arena);
	Arena_dispose(&outer);
}
END_TEST

START_TEST(equal_batches_with_released_blocks_take_memory_only_for_these)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	int turn, i;

	for (turn = 0; turn < 20; turn++) {
		size_t n = 64, old = 0;
		char *p = NULL;

		for (i = 0; i < 15; i++, n *= 2) { /* as a table grows */
			char *q = Arena_alloc(arena, n);

			memset(q, i, n);
			if (p)
				arena__release(arena, p, old);
			p = q;
			old = n;
		}
		Arena_clear(arena);
		ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
		ck_assert_uint_eq(Arena_used(arena), 0);
	}
	ck_assert_uint_lt(Arena_capacity(arena), 8 * MB);
	dispose_of_all(arena, &f);
}
END_TEST

START_TEST(release_checks_its_arena)
{
	ck_raises_saying(Assert_Failed, "the arena is NULL", arena__release(NULL, NULL, 0));
}
END_TEST

static void add_release(Suite *suite)
{
	TCase *tc = tcase_create("release");

	tcase_add_test(tc, the_newest_block_goes_back_and_its_place_is_used_again);
	tcase_add_test(tc, a_block_that_was_resized_goes_back_with_its_new_size);
	tcase_add_test(tc, a_block_amid_others_stays);
	tcase_add_test(tc, a_large_block_takes_its_chunk_with_it_wherever_it_is_in_the_list);
	tcase_add_test(tc, a_released_chunk_makes_room_under_the_limit);
	tcase_add_test(tc, what_is_older_than_a_mark_stays);
	tcase_add_test(tc, a_mark_stays_good_when_blocks_after_it_are_released);
	tcase_add_test(tc, a_backing_allocator_that_takes_nothing_back_keeps_the_block_in_the_arena);
	tcase_add_test(tc, equal_batches_with_released_blocks_take_memory_only_for_these);
	tcase_add_test(tc, release_checks_its_arena);
	suite_add_tcase(suite, tc);
}

int main(void)
{
	Suite *suite = suite_create("Arena, inside");

	add_release(suite);
	return testing_main(suite);
}
