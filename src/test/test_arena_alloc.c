/* SPDX-License-Identifier: MIT */
/* Arena: allocation. */
#include "config.h"

#include "test_arena.h"

static Arena_T small_counted_arena(struct Failing *f)
{
	*f = (struct Failing){ .fail_at = -1 };
	return failing_arena(f);
}

/* ---- allocation ---- */

SUITE("Arena");
CASE("allocation");

TEST(allocations_of_all_sizes_are_aligned_and_apart)
{
	enum { N = 600 };
	struct Failing f;
	Arena_T arena = small_counted_arena(&f);
	unsigned char *p[N];
	size_t i, k, wrong = 0;

	for (i = 0; i < N; i++) {
		p[i] = Arena_alloc(arena, i * 7);
		ck_assert_uint_eq((uintptr_t)p[i] % _Alignof(max_align_t), 0);
		memset(p[i], (int)(i & 0xFF), i * 7);
	}
	for (i = 0; i < N; i++)
		for (k = 0; k < i * 7; k++)
			wrong += p[i][k] != (i & 0xFF);
	ck_assert_uint_eq(wrong, 0);
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_bytes, 0);
}

TEST(zero_bytes_give_distinct_valid_pointers)
{
	Arena_T arena = Arena_new();
	char *a = Arena_alloc(arena, 0), *b = Arena_alloc(arena, 0), *c = Arena_calloc(arena, 0, 8);
	char *d = Arena_calloc(arena, 8, 0), *e = Arena_alloc_aligned(arena, 64, 0),
		*g = Arena_memdup(arena, NULL, 0);
	char *h = Arena_realloc(arena, NULL, 0, 0), *i = Arena_try_alloc(arena, 0);

	ck_assert(a && b && c && d && e && g && h && i);
	ck_assert(a != b && b != c && c != d && d != e && e != g && g != h && h != i);
	Arena_dispose(&arena);
}

TEST(sizes_beyond_any_object_raise_and_change_nothing)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 64, SIZE_MAX / 2 + 2,
		PTRDIFF_MAX,
		PTRDIFF_MAX - 64 };
	Arena_T arena = Arena_new();
	char *newest = Arena_alloc(arena, 8);
	size_t used = Arena_used(arena), held = Arena_capacity(arena), i;

	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		ck_raises_saying(Arena_Failed, "more than an object can have",
			Arena_alloc(arena, sizes[i]));
		ck_raises(Arena_Failed, Arena_calloc(arena, 1, sizes[i]));
		ck_raises(Arena_Failed, Arena_alloc_aligned(arena, 64, sizes[i]));
		ck_raises(Arena_Failed, Arena_realloc(arena, newest, 8, sizes[i]));
		ck_raises(Arena_Failed, ALLOC(arena, sizes[i]));
		ck_assert_ptr_null(Arena_try_alloc(arena, sizes[i]));
	}
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_uint_eq(Arena_capacity(arena), held);
	Arena_dispose(&arena);
}

TEST(calloc_zeroes_memory_that_was_used_before)
{
	Arena_T arena = Arena_new();
	char *p = Arena_alloc(arena, 5000);
	size_t i, wrong = 0;

	memset(p, 0xFF, 5000);
	Arena_clear(arena);
	p = Arena_calloc(arena, 50, 100);
	for (i = 0; i < 5000; i++)
		wrong += p[i] != 0;
	ck_assert_uint_eq(wrong, 0);
	Arena_dispose(&arena);
}

TEST(a_count_that_overflows_raises)
{
	Arena_T arena = Arena_new();

	ck_raises_saying(Arena_Failed, "elements of", Arena_calloc(arena, SIZE_MAX / 2 + 1, 2));
	ck_raises_saying(Arena_Failed, "elements of", Arena_calloc(arena, SIZE_MAX / 8 + 2, 8));
	ck_raises_saying(Arena_Failed, "elements of", CALLOC(arena, (size_t)1 << (sizeof(size_t) * 4),
		(size_t)1 << (sizeof(size_t) * 4)));
	Arena_dispose(&arena);
}

TEST(every_power_of_two_is_an_alignment)
{
	Arena_T arena = Arena_new();
	size_t alignment;
	int i;

	for (alignment = 1; alignment <= 4 * MB; alignment *= 2)
		for (i = 0; i < 3; i++) {
			char *p = Arena_alloc_aligned(arena, alignment, 100);

			ck_assert_uint_eq((uintptr_t)p % alignment, 0);
			ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
			memset(p, 1, 100);
		}
	/* less than any of these; sanitizers abort when malloc is asked for too much */
	Arena_set_limit(arena, 400 * (size_t)MB);
	for (; alignment; alignment *= 2)
		if (alignment > SIZE_MAX / 8)
			ck_raises(Arena_Failed, Arena_alloc_aligned(arena, alignment, 100));
	Arena_dispose(&arena);
}

TEST(an_alignment_that_is_no_power_of_two_is_checked)
{
	Arena_T arena = Arena_new();

	ck_raises_saying(Assert_Failed, "alignment of 0", Arena_alloc_aligned(arena, 0, 1));
	ck_raises_saying(Assert_Failed, "alignment of 24", Arena_alloc_aligned(arena, 24, 1));
	ck_raises_saying(Assert_Failed, "alignment of", Arena_alloc_aligned(arena, SIZE_MAX, 1));
	Arena_dispose(&arena);
}

TEST(realloc_resizes_the_newest_where_it_is, .unless = has_fences())
{
	Arena_T arena = Arena_new();
	char *p = Arena_realloc(arena, NULL, 0, 10), *q;
	size_t used = Arena_used(arena);

	memset(p, 'x', 10);
	q = Arena_realloc(arena, p, 10, 1000);
	ck_assert_ptr_eq(p, q);
	ck_assert_int_eq(q[9], 'x');
	memset(q, 'y', 1000);
	ck_assert_ptr_eq(Arena_realloc(arena, p, 1000, 10), p);
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_ptr_eq(Arena_realloc(arena, p, 10, 0), p);
	q = Arena_alloc(arena, 1);
	ck_assert_ptr_ne(q, p);
	Arena_dispose(&arena);
}

TEST(realloc_moves_what_cannot_grow)
{
	Arena_T arena = Arena_new();
	char *p = Arena_alloc(arena, 100), *other = Arena_alloc(arena, 1), *q;

	memset(p, 'x', 100);
	*other = 'o';
	q = Arena_realloc(arena, p, 100, 200);
	ck_assert_ptr_ne(p, q);
	ck_assert_mem_eq(p, q, 100);
	ck_assert_ptr_eq(Arena_realloc(arena, p, 100, 50), p); /* and keeps what can shrink */
	p = Arena_realloc(arena, q, 200, 10 * MB);
	ck_assert_ptr_ne(p, q);
	ck_assert_mem_eq(p, q, 100);
	memset(p, 'z', 10 * MB);
	ck_assert_int_eq(*other, 'o');
	Arena_dispose(&arena);
}

TEST(realloc_in_small_steps_keeps_every_byte)
{
	struct Failing f;
	Arena_T arena = small_counted_arena(&f);
	unsigned char *p = NULL;
	size_t n, i, wrong = 0;

	for (n = 0; n < 20000; n += 97) {
		p = Arena_realloc(arena, p, n, n + 97);
		for (i = n; i < n + 97; i++)
			p[i] = (unsigned char)(i * 31);
		if (n % 5 == 0)
			Arena_alloc(arena, 1);
	}
	for (i = 0; i < n; i++)
		wrong += p[i] != (unsigned char)(i * 31);
	ck_assert_uint_eq(wrong, 0);
	Arena_dispose(&arena);
}

TEST(realloc_without_memory_leaves_the_object_as_it_was)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	char *p = Arena_strdup(arena, "kept");
	size_t used = Arena_used(arena);

	f.fail_at = 0;
	ck_raises(Arena_Failed, Arena_realloc(arena, p, 5, MB));
	ck_assert_str_eq(p, "kept");
	ck_assert_uint_eq(Arena_used(arena), used);
	Arena_dispose(&arena);
}

TEST(realloc_of_null_with_old_bytes_is_checked)
{
	Arena_T arena = Arena_new();

	ck_raises_saying(Assert_Failed, "NULL with 5 old bytes", Arena_realloc(arena, NULL, 5, 10));
	ck_raises_saying(Assert_Failed, "no object has",
		Arena_realloc(arena, Arena_alloc(arena, 1), SIZE_MAX, 10));
	Arena_dispose(&arena);
}

TEST(try_alloc_gives_null_where_alloc_raises)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);

	ck_assert_ptr_nonnull(Arena_try_alloc(arena, 10));
	f.fail_at = 0;
	ck_assert_ptr_null(Arena_try_alloc(arena, MB));
	f.fail_at = -1;
	ck_assert_ptr_nonnull(Arena_try_alloc(arena, MB));
	Arena_dispose(&arena);
}

TEST(strings_and_bytes_are_copied)
{
	Arena_T arena = Arena_new();
	char three[3] = { 'a', 'b', 'c' }, *s;

	s = Arena_strdup(arena, "Hello, World!");
	ck_assert_str_eq(s, "Hello, World!");
	ck_assert_str_eq(Arena_strdup(arena, ""), "");
	ck_assert_str_eq(Arena_strndup(arena, s, 5), "Hello");
	ck_assert_str_eq(Arena_strndup(arena, s, SIZE_MAX), s);
	ck_assert_str_eq(Arena_strndup(arena, s, 0), "");
	ck_assert_str_eq(Arena_strndup(arena, NULL, 0), "");
	/* not terminated, and not read further */
	ck_assert_str_eq(Arena_strndup(arena, three, 3), "abc");
	ck_assert_mem_eq(Arena_memdup(arena, three, 3), "abc", 3);
	Arena_dispose(&arena);
}

TEST(copies_of_null_are_checked)
{
	Arena_T arena = Arena_new();
	const char *volatile null = NULL;

	ck_raises_saying(Assert_Failed, "Arena_strdup: the string is NULL", Arena_strdup(arena, null));
	ck_raises_saying(Assert_Failed, "Arena_strndup: NULL with 1 bytes",
		Arena_strndup(arena, null, 1));
	ck_raises_saying(Assert_Failed, "Arena_memdup: NULL with 1 bytes",
		Arena_memdup(arena, null, 1));
	ck_raises_saying(Assert_Failed, "Arena_sprintf: the format is NULL",
		Arena_sprintf(arena, null, 1));
	Arena_dispose(&arena);
}

static char *print(Arena_T arena, const char *fmt, ...) CORE_PRINTF(2, 3);
static char *print(Arena_T arena, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = Arena_vsprintf(arena, fmt, ap);
	va_end(ap);
	return s;
}

TEST(sprintf_makes_room_for_whatever_comes_out)
{
	Arena_T arena = Arena_new();
	char *s = Arena_sprintf(arena, "%s: %d of %zu", "read", -3, (size_t)7);
	int width;

	ck_assert_str_eq(s, "read: -3 of 7");
	ck_assert_str_eq(Arena_sprintf(arena, "%s", ""), "");
	ck_assert_str_eq(Arena_sprintf(arena, "(%s)", s), "(read: -3 of 7)");
	for (width = 1; width < 100 * KB; width *= 3)
		ck_assert_uint_eq(strlen(print(arena, "%*d", width, 1)), width);
	Arena_dispose(&arena);
}

static const char *const nothing_wide = "%ls";

TEST(sprintf_of_what_cannot_be_printed_raises)
{
	Arena_T arena = Arena_new();
	static const wchar_t no_character[] = { (wchar_t)0x7FFFFFFE, 0 };

	ck_raises_saying(Arena_Failed, "cannot be printed", print(arena, nothing_wide, no_character));
	Arena_dispose(&arena);
}

TEST(the_macros_put_the_callers_place_into_the_exception)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	volatile int line = 0;

	f.fail_at = 0;
	TRY {
		line = __LINE__ + 1;
		(void)ALLOC(arena, MB);
	} EXCEPT(Arena_Failed) {
		ck_assert_str_eq(Except_file(), __FILE__);
		ck_assert_int_eq(Except_line(), line);
		ck_assert_str_eq(Except_function(), __func__);
		line = 0;
	} END_TRY;
	ck_assert_int_eq(line, 0);
	TRY {
		line = __LINE__ + 1;
		(void)CALLOC(arena, MB, 2);
	} EXCEPT(Arena_Failed) {
		ck_assert_str_eq(Except_file(), __FILE__);
		ck_assert_int_eq(Except_line(), line);
		line = 0;
	} END_TRY;
	ck_assert_int_eq(line, 0);
	Arena_dispose(&arena);
}

TEST(new_gives_an_object_of_its_pointers_type)
{
	struct Point { double x, y; } *p, *q;
	Arena_T arena = Arena_new();

	NEW(arena, p);
	memset(p, 0xFF, sizeof *p);
	ck_assert_uint_ge(Arena_used(arena), sizeof *p);
	Arena_clear(arena);
	NEW0(arena, q);
	ck_assert(q->x == 0 && q->y == 0);
	Arena_dispose(&arena);
}

/* Every call that allocates, in turn. */
static Arena_T allocate_in_every_way(Arena_T arena)
{
	struct Point { int x, y; } *p;
	char *s;

	memset(Arena_alloc(arena, 3000), 1, 3000);
	memset(ALLOC(arena, 5000), 1, 5000);
	Arena_calloc(arena, 70, 100);
	CALLOC(arena, 70, 100);
	NEW(arena, p);
	NEW0(arena, p);
	Arena_alloc_aligned(arena, 4096, 10000);
	s = Arena_strdup(arena, "text");
	s = Arena_realloc(arena, s, 5, 40000);
	ck_assert_str_eq(s, "text");
	Arena_strndup(arena, s, 3);
	Arena_memdup(arena, s, 40000);
	Arena_sprintf(arena, "%30000d", 1);
	Arena_defer(arena, note, "d");
	return Arena_new_with(&(Arena_Options){ .parent = arena });
}

TEST(every_allocation_may_fail_and_nothing_leaks)
{
	size_t before = Arena_debug_live_count();
	volatile int n, done = 0;

	for (n = 0; !done; n++) {
		struct Failing f = { .fail_at = -1 };
		Arena_T arena = failing_arena(&f), child;

		f.fail_at = n;
		TRY {
			child = allocate_in_every_way(arena);
			Arena_dispose(&child);
			done = 1;
		} EXCEPT(Arena_Failed) {
			ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
			Arena_clear(arena); /* usable still, with no memory at all */
			Arena_alloc(arena, 8);
		} END_TRY;
		ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
		journal.n = 0;
		Arena_dispose(&arena);
		ck_assert_uint_eq(f.outstanding_blocks, 0);
		ck_assert_uint_eq(f.outstanding_bytes, 0);
	}
	ck_assert_int_ge(n, 8);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}
