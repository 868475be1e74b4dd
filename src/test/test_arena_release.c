/* SPDX-License-Identifier: MIT */
/* Arena: clear and reset, savepoints, deferred calls; then accounting and the report. */
#include "config.h"

#include "test_arena.h"

/* ---- clear and reset ---- */

SUITE("Arena");
CASE("clear and reset");

typedef void Batch(Arena_T);

static void growing_batch(Arena_T arena)
{
	char *p = NULL;
	size_t n;

	for (n = 0; n < 200 * KB; n += 10 * KB) {
		p = Arena_realloc(arena, p, n, n + 10 * KB);
		Arena_strdup(arena, "between");
	}
}

static void large_batch(Arena_T arena)
{
	int i;

	for (i = 0; i < 40; i++)
		Arena_alloc(arena, 100 * KB);
	Arena_alloc(arena, 5 * MB);
}

static void aligned_batch(Arena_T arena)
{
	int i;

	for (i = 0; i < 20; i++) {
		Arena_alloc_aligned(arena, 4096, 16);
		Arena_alloc_aligned(arena, 64, 100);
	}
	Arena_alloc_aligned(arena, MB, 16);
}

static void rewinding_batch(Arena_T arena)
{
	int i;

	for (i = 0; i < 20; i++) {
		Arena_Mark mark;

		Arena_alloc(arena, 3000);
		mark = Arena_mark(arena);
		mixed_batch(arena);
		Arena_alloc(arena, 200 * KB);
		Arena_rewind(arena, mark);
	}
}

static Batch *const batches[] = { small_batch, mixed_batch, growing_batch, large_batch,
	aligned_batch, rewinding_batch };
enum { BATCHES = sizeof batches / sizeof batches[0] };

TEST(clear_keeps_the_memory_for_the_next_batch, .to = BATCHES)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t requests = 0;
	int turn;

	for (turn = 0; turn < 30; turn++) {
		batches[_i](arena);
		Arena_clear(arena);
		ck_assert_uint_eq(Arena_used(arena), 0);
		ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
		if (turn == 3)
			requests = f.requests;
	}
	ck_assert_uint_eq(f.requests, requests);
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_bytes, 0);
}

TEST(clear_keeps_one_chunk_large_enough_for_the_peak)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);

	mixed_batch(arena);
	Arena_clear(arena);
	ck_assert_uint_ge(Arena_capacity(arena), Arena_peak(arena));
	ck_assert_uint_eq(f.outstanding_blocks, 2);
	Arena_dispose(&arena);
}

TEST(clear_lets_go_of_the_memory_of_one_large_request)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t requests;
	int turn;

	Arena_alloc(arena, 50 * MB);
	Arena_clear(arena);
	requests = f.requests;
	for (turn = 0; turn < 20; turn++) {
		small_batch(arena);
		Arena_clear(arena);
	}
	ck_assert_uint_lt(Arena_capacity(arena), 16 * MB);
	for (; turn < 70; turn++) {
		small_batch(arena);
		Arena_clear(arena);
	}
	ck_assert_uint_lt(Arena_capacity(arena), 200 * KB);
	ck_assert_uint_le(f.requests - requests, 8);
	Arena_dispose(&arena);
}

TEST(clear_works_without_memory_and_the_arena_grows_again_later)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);

	mixed_batch(arena);
	f.fail_at = 0;
	Arena_clear(arena);
	ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
	f.fail_at = -1;
	mixed_batch(arena);
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_bytes, 0);
}

static void use_kilobytes(Arena_T arena, int n)
{
	while (n-- > 0)
		memset(Arena_alloc(arena, KB), 'x', KB);
}

/* One spare for the whole cycle, and some room, would pass the limit. */
TEST(clear_keeps_as_much_as_the_limit_lets_it)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t requests;
	int turn;

	Arena_set_limit(arena, 100 * KB);
	use_kilobytes(arena, 80);
	Arena_clear(arena);
	ck_assert_uint_eq(Arena_capacity(arena), 100 * KB);
	ck_assert_uint_eq(f.outstanding_bytes, 100 * KB);
	ck_assert_uint_eq(f.outstanding_blocks, 2);
	requests = f.requests;
	for (turn = 0; turn < 5; turn++) {
		use_kilobytes(arena, 80);
		ck_raises(Arena_Failed, use_kilobytes(arena, 30));
		Arena_clear(arena);
	}
	ck_assert_uint_eq(f.requests, requests);
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_bytes, 0);
}

/* The cycle wants a larger spare than the one that is there. */
TEST(a_spare_stays_if_the_limit_lets_no_larger_one_in, .to = 2)
{
	static const size_t limits[] = { 100 * KB, 8 * KB };
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t requests, held;

	use_kilobytes(arena, 200);
	Arena_clear(arena);
	held = Arena_capacity(arena);
	use_kilobytes(arena, 300);
	requests = f.requests;
	Arena_set_limit(arena, limits[_i]);
	Arena_clear(arena);
	ck_assert_uint_eq(f.requests, requests);
	ck_assert_uint_ge(Arena_capacity(arena), held);
	ck_assert_uint_eq(f.outstanding_bytes, Arena_capacity(arena));
	use_kilobytes(arena, 200);
	ck_assert_uint_eq(f.requests, requests);
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_bytes, 0);
}

TEST(a_spare_makes_way_for_a_large_object_that_the_limit_would_stop)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);

	Arena_set_limit(arena, 300 * KB);
	use_kilobytes(arena, 120);
	Arena_clear(arena);
	ck_assert_uint_gt(Arena_capacity(arena), 120 * KB);
	memset(Arena_alloc(arena, 200 * KB), 'x', 200 * KB);
	ck_assert_uint_lt(Arena_capacity(arena), 220 * KB);
	ck_assert_uint_eq(f.outstanding_bytes, Arena_capacity(arena));
	ck_raises_saying(Arena_Failed, "would pass its limit", Arena_alloc(arena, 200 * KB));
	ck_assert_uint_eq(f.outstanding_bytes, Arena_capacity(arena));
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_bytes, 0);
}

TEST(clear_leaves_the_children_alone)
{
	Arena_T parent = Arena_new(), child = Arena_new_child(parent);
	char *s = Arena_strdup(child, "still here");

	mixed_batch(parent);
	Arena_clear(parent);
	Arena_reset(parent, 0);
	ck_assert_str_eq(s, "still here");
	Arena_strdup(child, "and more");
	Arena_dispose(&parent);
}

TEST(reset_with_zero_gives_back_all_but_the_first_chunk)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t first = Arena_capacity(arena), requests;

	large_batch(arena);
	Arena_reset(arena, 0);
	ck_assert_uint_eq(Arena_capacity(arena), first);
	ck_assert_uint_eq(f.outstanding_bytes, first);
	ck_assert_uint_eq(Arena_used(arena), 0);
	requests = f.requests;
	Arena_alloc(arena, 16);
	Arena_clear(arena); /* what was given back is not fetched again */
	ck_assert_uint_eq(f.requests, requests);
	Arena_alloc(arena, 30 * KB);
	Arena_alloc(arena, 40 * KB);
	Arena_clear(arena); /* nor when a little is wanted */
	ck_assert_uint_lt(Arena_capacity(arena), 200 * KB);
	Arena_dispose(&arena);
}

TEST(reset_keeps_at_most_so_many_bytes_but_always_the_first_chunk)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t first = Arena_capacity(arena), keep;

	for (keep = 1; keep < 64 * MB; keep *= 4) {
		large_batch(arena);
		Arena_reset(arena, keep);
		ck_assert_uint_le(Arena_capacity(arena), keep > first ? keep : first);
		ck_assert_uint_eq(f.outstanding_bytes, Arena_capacity(arena));
	}
	large_batch(arena);
	Arena_reset(arena, SIZE_MAX);
	ck_assert_uint_gt(Arena_capacity(arena), 9 * MB);
	Arena_dispose(&arena);
	arena = counted_arena(&f);
	large_batch(arena); /* in many chunks, as the arena is new */
	Arena_reset(arena, 2 * MB); /* keeps not that of the 5 MB object, but one of the others */
	ck_assert_uint_ge(Arena_capacity(arena), first + 512 * KB);
	Arena_dispose(&arena);
}

TEST(growth_after_a_reset_leaks_no_chunk)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	int turn;

	for (turn = 0; turn < 10; turn++) {
		batches[turn % BATCHES](arena);
		Arena_reset(arena, (size_t)turn * 100 * KB);
		batches[(turn + 1) % BATCHES](arena);
		Arena_clear(arena);
		ck_assert_uint_eq(f.outstanding_bytes, Arena_capacity(arena));
	}
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

TEST(one_large_object_does_not_drain_what_was_kept_for_small_ones)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t requests = 0;
	int turn;

	for (turn = 0; turn < 20; turn++) {
		mixed_batch(arena);
		Arena_alloc(arena, 100 * KB);
		mixed_batch(arena);
		Arena_clear(arena);
		if (turn == 2)
			requests = f.requests;
	}
	ck_assert_uint_eq(f.requests, requests);
	Arena_dispose(&arena);
}

TEST(many_objects_of_any_one_size_take_few_chunks_and_waste_little)
{
	static const size_t sizes[] = { 40, 900, 3 * KB, 17 * KB, 100 * KB, 130 * KB };
	size_t i, used;

	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct Failing f;
		Arena_T arena = counted_arena(&f);

		for (used = 0; used < 20 * MB; used += sizes[i])
			Arena_alloc(arena, sizes[i]);
		ck_assert_uint_lt(Arena_capacity(arena), Arena_used(arena) + Arena_used(arena) / 8 + MB);
		ck_assert_uint_lt(f.requests, 200);
		Arena_dispose(&arena);
	}
}

/* ---- savepoints ---- */

CASE("savepoints");

TEST(rewind_forgets_what_came_after_the_mark, .unless = has_fences())
{
	Arena_T arena = Arena_new();
	char *kept = Arena_strdup(arena, "kept"), *gone;
	size_t used = Arena_used(arena);
	Arena_Mark mark = Arena_mark(arena);

	gone = Arena_alloc(arena, 100);
	mixed_batch(arena);
	Arena_rewind(arena, mark);
	ck_assert_str_eq(kept, "kept");
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_ptr_eq(Arena_alloc(arena, 100), gone);
	Arena_dispose(&arena);
}

TEST(marks_nest_and_may_be_used_again, .unless = has_fences())
{
	Arena_T arena = Arena_new();
	Arena_Mark outer = Arena_mark(arena), inner;
	char *first = Arena_alloc(arena, 8), *second;
	int i;

	inner = Arena_mark(arena);
	second = Arena_alloc(arena, 8);
	for (i = 0; i < 3; i++) {
		Arena_rewind(arena, inner);
		ck_assert_ptr_eq(Arena_alloc(arena, 8), second);
	}
	for (i = 0; i < 3; i++) {
		Arena_rewind(arena, outer);
		ck_assert_ptr_eq(Arena_alloc(arena, 8), first);
	}
	Arena_dispose(&arena);
}

TEST(a_loop_of_mark_and_rewind_takes_memory_only_at_first, .to = BATCHES)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	size_t requests = 0;
	int turn;

	Arena_alloc(arena, 10 * KB);
	for (turn = 0; turn < 30; turn++) {
		Arena_Mark mark = Arena_mark(arena);

		batches[_i](arena);
		Arena_rewind(arena, mark);
		ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
		if (turn == 3)
			requests = f.requests;
	}
	ck_assert_uint_eq(f.requests, requests);
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_bytes, 0);
}

TEST(rewind_works_without_memory)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);
	Arena_Mark mark = Arena_mark(arena);

	mixed_batch(arena);
	f.fail_at = 0;
	Arena_rewind(arena, mark);
	ck_assert_uint_eq(Arena_used(arena), 0);
	ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
	Arena_dispose(&arena);
}

TEST(an_object_older_than_a_mark_survives_its_realloc_after_it, .unless = has_fences())
{
	Arena_T arena = Arena_new();
	char *p = Arena_alloc(arena, 100), *q;
	Arena_Mark mark;

	memset(p, 'x', 100);
	mark = Arena_mark(arena);
	q = Arena_realloc(arena, p, 100, 300);
	ck_assert_ptr_ne(p, q); /* in place it would be cut by the rewind */
	memset(q, 'y', 300);
	Arena_rewind(arena, mark);
	ck_assert_int_eq(p[0] + p[99], 2 * 'x');
	Arena_realloc(arena, p, 100, 50); /* shrinking is no rewind either: the mark stays good */
	Arena_rewind(arena, mark);
	q = Arena_alloc(arena, 40);
	ck_assert_ptr_eq(Arena_realloc(arena, q, 40, 80), q); /* newer than the mark: in place */
	Arena_dispose(&arena);
}

TEST(a_mark_from_before_a_clear_is_stale)
{
	Arena_T arena = Arena_new();
	Arena_Mark mark = Arena_mark(arena);

	Arena_clear(arena);
	ck_raises_saying(Assert_Failed, "Arena_rewind", Arena_rewind(arena, mark));
	Arena_alloc(arena, 100);
	mark = Arena_mark(arena);
	Arena_reset(arena, 0);
	Arena_alloc(arena, 1000);
	ck_raises_saying(Assert_Failed, "Arena_rewind", Arena_rewind(arena, mark));
	Arena_dispose(&arena);
}

TEST(a_mark_that_a_rewind_has_passed_is_stale)
{
	Arena_T arena = Arena_new();
	Arena_Mark first = Arena_mark(arena), second, third;
	char *p;

	Arena_alloc(arena, 100);
	second = Arena_mark(arena);
	Arena_alloc(arena, 100);
	third = Arena_mark(arena);
	Arena_rewind(arena, second);
	p = memset(Arena_alloc(arena, 1000), 'p', 1000); /* past where the third was */
	ck_raises_saying(Assert_Failed, "passed it", Arena_rewind(arena, third));
	ck_assert_int_eq(p[999], 'p');
	Arena_rewind(arena, first);
	Arena_alloc(arena, 3000);
	ck_raises(Assert_Failed, Arena_rewind(arena, third));
	ck_raises(Assert_Failed, Arena_rewind(arena, second));
	Arena_rewind(arena, first);
	Arena_dispose(&arena);
}

TEST(marks_nested_ten_deep_stay_good_and_the_deepest_stale_ones_are_found)
{
	Arena_T arena = Arena_new();
	Arena_Mark mark[10];
	int i;

	for (i = 0; i < 10; i++) {
		mark[i] = Arena_mark(arena);
		Arena_alloc(arena, 5000);
	}
	/* up again from the outermost: every rewind forgets the marks above it */
	for (i = 0; i < 10; i++) {
		Arena_rewind(arena, mark[i]);
		Arena_alloc(arena, 100 * KB);
		if (i < 9)
			ck_raises(Assert_Failed, Arena_rewind(arena, mark[9]));
		Arena_rewind(arena, mark[0]);
		for (int k = 0; k < 10; k++) {
			mark[k] = Arena_mark(arena);
			Arena_alloc(arena, 5000);
		}
	}
	for (i = 9; i >= 0; i--)
		Arena_rewind(arena, mark[i]);
	ck_assert_uint_eq(Arena_used(arena), 0);
	Arena_dispose(&arena);
}

TEST(a_mark_of_another_arena_is_checked)
{
	static char buffer[8 * KB];
	Arena_T one = Arena_new_in(buffer, sizeof buffer), two = Arena_new();
	Arena_Mark mark = Arena_mark(one);

	ck_raises_saying(Assert_Failed, "another arena", Arena_rewind(two, mark));
	Arena_dispose(&one);
	one = Arena_new_in(buffer, sizeof buffer); /* at the very address */
	ck_raises_saying(Assert_Failed, "another arena", Arena_rewind(one, mark));
	ck_raises(Assert_Failed, Arena_rewind(two, (Arena_Mark){ 0 }));
	Arena_dispose(&one);
	Arena_dispose(&two);
}

/* ---- deferred calls ---- */

CASE("deferred calls");

TEST(deferred_calls_run_once_newest_first_at_clear_reset_and_dispose)
{
	Arena_T arena = Arena_new();

	Arena_defer(arena, note, "a");
	Arena_defer(arena, note, "b");
	Arena_clear(arena);
	ck_assert_str_eq(journal.text, "ba");
	Arena_clear(arena);
	Arena_defer(arena, note, "c");
	Arena_reset(arena, 0);
	Arena_defer(arena, note, "d");
	Arena_defer(arena, note, "e");
	Arena_dispose(&arena);
	ck_assert_str_eq(journal.text, "baced");
}

TEST(rewind_runs_what_was_deferred_after_the_mark)
{
	Arena_T arena = Arena_new();
	Arena_Mark outer, inner;

	Arena_defer(arena, note, "a");
	outer = Arena_mark(arena);
	Arena_defer(arena, note, "b");
	inner = Arena_mark(arena);
	Arena_defer(arena, note, "c");
	Arena_defer(arena, note, "d");
	Arena_rewind(arena, inner);
	ck_assert_str_eq(journal.text, "dc");
	Arena_rewind(arena, inner);
	Arena_rewind(arena, outer);
	ck_assert_str_eq(journal.text, "dcb");
	Arena_dispose(&arena);
	ck_assert_str_eq(journal.text, "dcba");
}

TEST(a_list_of_deferred_calls_never_points_into_reused_memory)
{
	Arena_T arena = Arena_new();
	int turn;

	for (turn = 0; turn < 5; turn++) {
		Arena_Mark mark = Arena_mark(arena);

		Arena_defer(arena, note, "x");
		if (turn % 2)
			Arena_rewind(arena, mark);
		else
			Arena_clear(arena);
		memset(Arena_alloc(arena, 10000), 0xFF, 10000);
		ck_assert_uint_eq(journal.n, turn + 1);
	}
	Arena_dispose(&arena);
	ck_assert_str_eq(journal.text, "xxxxx");
}

TEST(when_a_deferred_call_raises_the_others_run_and_the_first_exception_goes_on)
{
	Arena_T arena = Arena_new();
	Arena_Mark mark;

	Arena_defer(arena, note, "a");
	mark = Arena_mark(arena);
	Arena_defer(arena, note, "b");
	Arena_defer(arena, note_and_raise, "c");
	Arena_defer(arena, note_and_raise, "d");
	mixed_batch(arena);
	ck_raises_saying(Trouble, "from d", Arena_rewind(arena, mark));
	ck_assert_str_eq(journal.text, "dcb");
	Arena_defer(arena, note_and_raise, "e");
	ck_raises_saying(Trouble, "from e", Arena_clear(arena));
	ck_assert_str_eq(journal.text, "dcbea");
	ck_assert_uint_eq(Arena_used(arena), 0);
	Arena_defer(arena, note, "f");
	Arena_defer(arena, note_and_raise, "g");
	ck_raises_saying(Trouble, "from g", Arena_dispose(&arena));
	ck_assert_str_eq(journal.text, "dcbeagf");
	ck_assert_ptr_null(arena);
}

static void just_raise(void *cl)
{
	++*(int *)cl;
	RAISE(Trouble);
}

TEST(any_number_of_deferred_calls_may_raise)
{
	Arena_T arena = Arena_new();
	int calls = 0, i;

	for (i = 0; i < 100000; i++)
		Arena_defer(arena, just_raise, &calls);
	ck_raises(Trouble, Arena_clear(arena));
	ck_assert_int_eq(calls, 100000);
	for (i = 0; i < 100000; i++)
		Arena_defer(arena, just_raise, &calls);
	ck_raises(Trouble, Arena_dispose(&arena));
	ck_assert_int_eq(calls, 200000);
}

static void use_arena(void *cl)
{
	Arena_T arena = cl;
	Arena_Mark mark;

	Arena_alloc(arena, 5000);
	mark = Arena_mark(arena);
	mixed_batch(arena);
	Arena_rewind(arena, mark);
	Arena_defer(arena, note, "u");
}

TEST(a_deferred_call_may_allocate_rewind_and_defer_again)
{
	Arena_T arena = Arena_new();
	Arena_Mark mark = Arena_mark(arena);

	Arena_defer(arena, use_arena, arena);
	Arena_rewind(arena, mark);
	ck_assert_str_eq(journal.text, "u");
	ck_assert_uint_eq(Arena_used(arena), 0);
	Arena_defer(arena, use_arena, arena);
	Arena_clear(arena);
	ck_assert_str_eq(journal.text, "uu");
	Arena_defer(arena, use_arena, arena);
	Arena_dispose(&arena);
	ck_assert_str_eq(journal.text, "uuu");
}

static void clear_arena(void *cl)
{
	Arena_clear(cl);
	Arena_strdup(cl, "after");
}

static Arena_Mark outermost;

static void rewind_further(void *cl)
{
	Arena_rewind(cl, outermost);
}

TEST(a_deferred_call_may_clear_or_rewind_the_arena_under_a_rewind)
{
	Arena_T arena = Arena_new();
	Arena_Mark mark;

	outermost = Arena_mark(arena);
	Arena_defer(arena, note, "a");
	mark = Arena_mark(arena);
	Arena_defer(arena, note, "b");
	Arena_defer(arena, rewind_further, arena);
	Arena_rewind(arena, mark);
	ck_assert_str_eq(journal.text, "ba");
	ck_assert_uint_eq(Arena_used(arena), 0);
	Arena_defer(arena, note, "c");
	mark = Arena_mark(arena);
	Arena_defer(arena, note, "d");
	Arena_defer(arena, clear_arena, arena);
	Arena_rewind(arena, mark);
	ck_assert_str_eq(journal.text, "badc");
	Arena_defer(arena, clear_arena, arena);
	Arena_clear(arena);
	Arena_defer(arena, note, "e");
	Arena_defer(arena, clear_arena, arena);
	Arena_dispose(&arena);
	ck_assert_str_eq(journal.text, "badce");
}

TEST(defer_of_no_function_is_checked_and_without_memory_raises)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f);

	ck_raises_saying(Assert_Failed, "Arena_defer: the function is NULL",
		Arena_defer(arena, NULL, NULL));
	while (f.requests < 2)
		Arena_alloc(arena, 16);
	f.fail_at = 0;
	while (Arena_try_alloc(arena, 16))
		;
	ck_raises(Arena_Failed, Arena_defer(arena, note, "x"));
	Arena_dispose(&arena);
	ck_assert_uint_eq(journal.n, 0);
}

/* ---- accounting, report ---- */

CASE("accounting and report");

TEST(used_and_peak_follow_the_allocations, .unless = has_fences())
{
	Arena_T arena = Arena_new();
	size_t used, peak;

	Arena_alloc(arena, 1);
	used = Arena_used(arena);
	ck_assert_uint_ge(used, 1);
	ck_assert_uint_le(used, 64);
	Arena_alloc(arena, 100 * KB);
	ck_assert_uint_ge(Arena_used(arena), used + 100 * KB);
	ck_assert_uint_le(Arena_used(arena), used + 101 * KB);
	peak = Arena_peak(arena);
	ck_assert_uint_eq(peak, Arena_used(arena));
	ck_assert_uint_ge(Arena_capacity(arena), peak);
	Arena_clear(arena);
	Arena_alloc(arena, 1);
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_uint_eq(Arena_peak(arena), peak);
	Arena_dispose(&arena);
}

TEST(the_report_shows_the_tree_of_arenas_with_their_names_and_places)
{
	Arena_Options server = { .name = "server" };
	int line = __LINE__ + 1;
	Arena_T parent = Arena_new_with(&server), child = Arena_new_child(parent);
	Arena_T other = Arena_new_with(&(Arena_Options){ .parent = child, .name = "request" });
	char place[64], *text, *at;

	Arena_alloc(other, 1000);
	snprintf(place, sizeof place, "test_arena_release.c:%d: 0 used, ", line);
	text = report();
	ck_assert_msg(strstr(text, "3 live arenas\n") == text, "%s", text);
	at = strstr(text, "\n  server ");
	ck_assert_msg(at && strstr(at, place), "%s", text);
	at = strstr(text, "\n    arena ");
	ck_assert_msg(at && strstr(at, place), "%s", text);
	ck_assert_msg(strstr(at, "\n      request ") != NULL, "%s", text);
	free(text);
	Arena_dispose(&parent);
	text = report();
	ck_assert_str_eq(text, "0 live arenas\n");
	free(text);
}

TEST(the_report_needs_a_file)
{
	ck_raises_saying(Assert_Failed, "Arena_debug_report", Arena_debug_report(NULL));
}

TEST(every_creator_notes_its_place)
{
	static char buffer[4 * KB];
	Arena_T a[5];
	char *text, *at;
	int i;

	a[0] = Arena_new();
	a[1] = Arena_new_with_size(100);
	a[2] = Arena_new_in(buffer, sizeof buffer);
	a[3] = Arena_new_with(&(Arena_Options){ 0 });
	a[4] = Arena_new_child(a[0]);
	text = report();
	for (i = 0, at = text; (at = strstr(at, "made at")) != NULL; i++)
		at++;
	ck_assert_int_eq(i, 5);
	free(text);
	for (i = 4; i >= 0; i--)
		Arena_dispose(&a[i]);
}

TEST(auto_disposes_of_an_arena_however_its_scope_ends)
{
	size_t before = Arena_debug_live_count();
	volatile int caught = 0;

	TRY {
		AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
		Arena_alloc(arena, 100);
		RAISE(Trouble);
	} EXCEPT(Trouble) {
		caught = 1;
	} END_TRY;
	ck_assert_int_eq(caught, 1);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}
