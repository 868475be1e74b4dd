/* SPDX-License-Identifier: MIT */
/* Arena, in the order of its header: creation, limits, dispose and children. */
#include "config.h"

#include "test_arena.h"

/* ---- creation ---- */

SUITE("Arena");
CASE("creation");

TEST(a_new_arena_is_empty_and_is_counted)
{
	size_t before = Arena_debug_live_count();
	Arena_T arena = Arena_new();

	ck_assert_ptr_nonnull(arena);
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1);
	ck_assert_uint_eq(Arena_used(arena), 0);
	ck_assert_uint_eq(Arena_peak(arena), 0);
	ck_assert_uint_gt(Arena_capacity(arena), 0);
	Arena_dispose(&arena);
	ck_assert_ptr_null(arena);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(the_first_chunk_holds_the_bytes_asked_for, .unless = has_fences())
{
	static const size_t sizes[] = { 1, 15, 64, 1000, 64 * KB, MB + 1 };
	size_t i;

	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct Failing f = { .fail_at = -1 };
		Arena_T arena = Arena_new_with(&(Arena_Options){ .chunk = sizes[i], .alloc = failing_alloc,
			.free = failing_free, .cl = &f });

		memset(Arena_alloc(arena, sizes[i]), 1, sizes[i]);
		ck_assert_uint_eq(f.requests, 1);
		ck_assert_uint_eq(Arena_capacity(arena), f.outstanding_bytes);
		Arena_dispose(&arena);
		ck_assert_uint_eq(f.outstanding_blocks, 0);
		ck_assert_uint_eq(f.outstanding_bytes, 0);
	}
}

TEST(a_first_chunk_no_object_can_be_as_large_as_raises)
{
	size_t before = Arena_debug_live_count();

	ck_raises_saying(Arena_Failed, "too large", (void)Arena_new_with_size(SIZE_MAX));
	ck_raises_saying(Arena_Failed, "too large", (void)Arena_new_with_size(PTRDIFF_MAX));
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(creation_without_memory_raises_and_leaves_nothing)
{
	struct Failing f = { .fail_at = 0 };
	size_t before = Arena_debug_live_count();

	ck_raises_saying(Arena_Failed, "out of memory", (void)failing_arena(&f));
	ck_assert_uint_eq(f.outstanding_blocks, 0);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(a_child_created_without_memory_leaves_its_parent_as_it_was)
{
	struct Failing f = { .fail_at = 0 };
	Arena_T parent = Arena_new();

	ck_raises(Arena_Failed, (void)Arena_new_with(&(Arena_Options){ .parent = parent,
		.alloc = failing_alloc, .free = failing_free, .cl = &f }));
	Arena_dispose(&parent);
}

TEST(a_child_takes_its_memory_from_its_parents_backing_allocator)
{
	struct Failing f = { .fail_at = -1 };
	Arena_T parent = failing_arena(&f), child = Arena_new_child(parent);
	Arena_T grandchild = Arena_new_with(&(Arena_Options){ .parent = child, .chunk = 1 * KB });
	size_t requests = f.requests;

	ck_assert_uint_eq(requests, 3);
	ck_assert_uint_eq(f.outstanding_bytes,
		Arena_capacity(parent) + Arena_capacity(child) + Arena_capacity(grandchild));
	Arena_alloc(grandchild, 100 * KB);
	ck_assert_uint_eq(f.requests, requests + 1);
	f.fail_at = 0;
	ck_raises_saying(Arena_Failed, "out of memory", Arena_alloc(grandchild, 100 * KB));
	ck_raises_saying(Arena_Failed, "out of memory", (void)Arena_new_child(grandchild));
	Arena_dispose(&parent);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

TEST(a_child_can_have_a_backing_allocator_of_its_own)
{
	struct Failing f = { .fail_at = -1 }, own = { .fail_at = -1 };
	Arena_T parent = failing_arena(&f);

	(void)Arena_new_with(&(Arena_Options){ .parent = parent, .alloc = failing_alloc,
		.free = failing_free, .cl = &own });
	ck_assert_uint_eq(f.requests, 1);
	ck_assert_uint_eq(own.requests, 1);
	Arena_dispose(&parent);
	ck_assert_uint_eq(f.outstanding_blocks + own.outstanding_blocks, 0);
}

TEST(an_adopted_child_keeps_its_backing_allocator)
{
	struct Failing f = { .fail_at = -1 };
	Arena_T parent = failing_arena(&f), other = Arena_new(), child = Arena_new_child(parent);

	Arena_adopt(child, other);
	Arena_dispose(&parent);
	ck_assert_uint_eq(f.outstanding_bytes, Arena_capacity(child));
	Arena_alloc(child, 100 * KB);
	ck_assert_uint_eq(f.outstanding_bytes, Arena_capacity(child));
	Arena_dispose(&other);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

TEST(neither_buffer_nor_limit_of_a_parent_is_its_childrens)
{
	_Alignas(max_align_t) char buffer[2 * KB];
	Arena_T parent = Arena_new_with(&(Arena_Options){ .buffer = buffer,
		.buffer_size = sizeof buffer, .fixed = 1 });
	Arena_T limited = Arena_new_with(&(Arena_Options){ .parent = parent, .limit = 32 * KB });
	Arena_T child = Arena_new_child(limited);

	ck_raises(Arena_Failed, Arena_alloc(parent, 100 * KB));
	ck_raises(Arena_Failed, Arena_alloc(limited, 100 * KB));
	ck_assert_ptr_nonnull(Arena_alloc(child, 100 * KB));
	Arena_dispose(&parent);
}

struct Budget {
	size_t left; /* atomic */
};

static void *budget_alloc(size_t nbytes, void *cl)
{
	struct Budget *b = cl;
	size_t left = __atomic_load_n(&b->left, __ATOMIC_RELAXED);

	do
		if (nbytes > left)
			return NULL;
	while (!__atomic_compare_exchange_n(&b->left, &left, left - nbytes, 1, __ATOMIC_RELAXED,
		__ATOMIC_RELAXED));
	return malloc(nbytes);
}

static void budget_free(void *p, size_t nbytes, void *cl)
{
	struct Budget *b = cl;

	free(p);
	__atomic_fetch_add(&b->left, nbytes, __ATOMIC_RELAXED);
}

TEST(a_backing_allocator_that_counts_bounds_an_arena_with_its_children)
{
	struct Budget b = { 256 * KB };
	Arena_T parent = Arena_new_with(&(Arena_Options){ .alloc = budget_alloc, .free = budget_free,
		.cl = &b });
	Arena_T child = Arena_new_child(parent);

	Arena_alloc(parent, 150 * KB);
	ck_raises(Arena_Failed, Arena_alloc(child, 150 * KB));
	ck_assert_uint_eq(Arena_capacity(parent) + Arena_capacity(child) + b.left, 256 * KB);
	Arena_dispose(&child);
	Arena_dispose(&parent);
	ck_assert_uint_eq(b.left, 256 * KB);
}

TEST(an_arena_starts_in_the_callers_buffer_and_spills_to_the_heap)
{
	_Alignas(max_align_t) char buffer[2 * KB];
	Arena_T arena = Arena_new_in(buffer, sizeof buffer);
	char *p = Arena_alloc(arena, 100);

	ck_assert(p >= buffer && p + 100 <= buffer + sizeof buffer);
	ck_assert_uint_eq(Arena_capacity(arena), 0);
	p = Arena_alloc(arena, sizeof buffer);
	ck_assert(p + sizeof buffer <= buffer || p >= buffer + sizeof buffer);
	memset(p, 1, sizeof buffer);
	ck_assert_uint_gt(Arena_capacity(arena), sizeof buffer);
	Arena_clear(arena);
	p = Arena_alloc(arena, 100);
	ck_assert(p >= buffer && p + 100 <= buffer + sizeof buffer);
	Arena_dispose(&arena);
	memset(buffer, 0, sizeof buffer); /* all of it is the caller's again, to ASan too */
}

TEST(a_buffer_may_be_misaligned_or_of_any_size)
{
	_Alignas(max_align_t) char space[2 * KB + 64];
	size_t shift, nbytes;

	for (shift = 0; shift < 16; shift++)
		for (nbytes = 0; nbytes <= 2 * KB; nbytes += nbytes < 4 ? 1 : 61) {
			char *buffer = space + 16 + shift, *p;
			Arena_T arena;

			memset(space, 0x5A, sizeof space);
			arena = Arena_new_in(buffer, nbytes);
			p = Arena_alloc(arena, 1);
			ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
			do
				*p = 1;
			while ((p = Arena_alloc(arena, 1)) > buffer && p < buffer + nbytes);
			Arena_dispose(&arena);
			ck_assert_int_eq(buffer[-1], 0x5A);
			ck_assert_int_eq(buffer[nbytes], 0x5A);
		}
}

TEST(a_fixed_arena_never_leaves_its_buffer, .unless = has_fences())
{
	static char buffer[4 * KB];
	Arena_T arena = Arena_new_with(&(Arena_Options){ .buffer = buffer, .buffer_size = sizeof buffer,
		.fixed = 1, .name = "tight" });
	int n = 0;
	char *p;

	while ((p = Arena_try_alloc(arena, 64)) != NULL) {
		ck_assert(p >= buffer && p + 64 <= buffer + sizeof buffer);
		n++;
	}
	ck_assert_int_ge(n, 30);
	ck_raises_saying(Arena_Failed, "tight: no room for 64 bytes in its fixed buffer",
		Arena_alloc(arena, 64));
	ck_assert_uint_eq(Arena_capacity(arena), 0);
	Arena_clear(arena);
	while (Arena_try_alloc(arena, 64) != NULL)
		n--;
	ck_assert_int_eq(n, 0);
	Arena_dispose(&arena);
}

TEST(a_fixed_buffer_too_small_for_an_arena_raises)
{
	char buffer[64];

	ck_raises_saying(Arena_Failed, "a fixed buffer of 64 bytes",
		(void)Arena_new_with(&(Arena_Options){ .buffer = buffer, .buffer_size = sizeof buffer,
			.fixed = 1 }));
}

TEST(options_that_contradict_each_other_are_checked)
{
	ck_raises_saying(Assert_Failed, "Arena_new_with", (void)Arena_new_with(NULL));
	ck_raises_saying(Assert_Failed, "fixed", (void)Arena_new_with(&(Arena_Options){ .fixed = 1 }));
	ck_raises_saying(Assert_Failed, "free",
		(void)Arena_new_with(&(Arena_Options){ .free = failing_free }));
	ck_raises_saying(Assert_Failed, "buffer",
		(void)Arena_new_with(&(Arena_Options){ .buffer_size = 9 }));
	ck_raises_saying(Assert_Failed, "buffer", (void)Arena_new_in(NULL, 0));
}

static void *raise_no_memory(size_t nbytes, void *cl)
{
	if (*(int *)cl)
		RAISE(Arena_Failed);
	return malloc(nbytes);
}

static void *raise_trouble(size_t nbytes, void *cl)
{
	if (*(int *)cl)
		RAISE(Trouble);
	return malloc(nbytes);
}

static void just_free(void *p, size_t nbytes, void *cl)
{
	(void)nbytes;
	(void)cl;
	free(p);
}

TEST(a_backing_allocator_that_raises_arena_failed_is_out_of_memory)
{
	int fails = 0;
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = raise_no_memory, .free = just_free,
		.cl = &fails });
	size_t held = Arena_capacity(arena);

	fails = 1;
	ck_assert_ptr_null(Arena_try_alloc(arena, 100 * KB));
	ck_raises_saying(Arena_Failed, "out of memory for 102400 bytes", Arena_alloc(arena, 100 * KB));
	ck_assert_uint_eq(Arena_capacity(arena), held);
	ck_raises(Arena_Failed,
		(void)Arena_new_with(&(Arena_Options){ .alloc = raise_no_memory, .cl = &fails }));
	Arena_dispose(&arena);
}

TEST(another_exception_of_the_backing_allocator_passes_and_books_nothing)
{
	int fails = 0;
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = raise_trouble, .free = just_free,
		.cl = &fails });
	size_t held = Arena_capacity(arena);

	fails = 1;
	ck_raises(Trouble, Arena_alloc(arena, 100 * KB));
	ck_raises(Trouble, Arena_try_alloc(arena, 100 * KB));
	ck_assert_uint_eq(Arena_capacity(arena), held);
	fails = 0;
	ck_assert_ptr_nonnull(Arena_alloc(arena, 100 * KB));
	Arena_dispose(&arena);
}

static void *alloc_from_arena(size_t nbytes, void *cl)
{
	return Arena_alloc(cl, nbytes);
}

TEST(an_arena_may_be_backed_by_an_arena_without_a_free)
{
	Arena_T outer = Arena_new(),
		inner = Arena_new_with(&(Arena_Options){ .alloc = alloc_from_arena, .cl = outer });
	size_t taken = 0;
	int i, turn;

	for (turn = 0; turn < 200; turn++) {
		for (i = 0; i < (turn % 100 < 10 ? 100 : 1); i++)
			memset(Arena_alloc(inner, 1000), i, 1000);
		Arena_clear(inner);
		if (turn == 3)
			taken = Arena_used(outer);
	}
	ck_assert_uint_eq(Arena_used(outer), taken);
	Arena_set_limit(outer, Arena_capacity(outer));
	ck_raises(Arena_Failed, Arena_alloc(inner, 10 * MB));
	Arena_dispose(&inner);
	Arena_dispose(&outer);
}

static void *misaligned(size_t nbytes, void *cl)
{
	(void)nbytes;
	return (char *)cl + _Alignof(max_align_t) / 2;
}

TEST(a_backing_allocator_that_misaligns_is_checked)
{
	static _Alignas(max_align_t) char space[64 * KB];

	ck_raises_saying(Assert_Failed, "aligned",
		(void)Arena_new_with(&(Arena_Options){ .alloc = misaligned, .cl = space }));
}

/* ---- limits ---- */

CASE("limits");

TEST(the_limit_is_on_what_is_held_and_a_refusal_changes_nothing)
{
	Arena_T arena = limited_arena(64 * KB);
	size_t used = Arena_used(arena), held = Arena_capacity(arena);

	ck_raises_saying(Arena_Failed, "limited: ", Arena_alloc(arena, 64 * KB));
	ck_raises_saying(Arena_Failed, "would pass its limit of 65536", Arena_alloc(arena, 64 * KB));
	ck_assert_ptr_null(Arena_try_alloc(arena, 64 * KB));
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_uint_eq(Arena_capacity(arena), held);
	ck_assert_ptr_nonnull(Arena_alloc(arena, 32 * KB));
	Arena_dispose(&arena);
}

TEST(small_allocations_can_use_nearly_all_of_the_limit)
{
	static const size_t limits[] = { 4 * KB, 20 * KB, 100 * KB, 1000 * KB };
	size_t i;

	for (i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		Arena_T arena = limited_arena(limits[i]);

		while (Arena_try_alloc(arena, 48))
			;
		ck_assert_uint_le(Arena_capacity(arena), limits[i]);
		ck_assert_uint_ge(Arena_used(arena), limits[i] - limits[i] / 8 - KB);
		Arena_dispose(&arena);
	}
}

TEST(a_chunk_kept_by_clear_does_not_stand_in_the_way_of_the_limit)
{
	Arena_T arena = limited_arena(MB);

	Arena_alloc(arena, 600 * KB);
	Arena_clear(arena);
	ck_assert_uint_gt(Arena_capacity(arena), 600 * KB);
	memset(Arena_alloc(arena, 900 * KB), 1, 900 * KB);
	ck_assert_uint_le(Arena_capacity(arena), MB);
	Arena_dispose(&arena);
}

TEST(a_limit_below_the_first_chunk_makes_it_smaller_or_raises)
{
	Arena_T arena = limited_arena(2 * KB);

	ck_assert_uint_le(Arena_capacity(arena), 2 * KB);
	Arena_alloc(arena, 64);
	Arena_dispose(&arena);
	ck_raises_saying(Arena_Failed, "limit of 16", (void)limited_arena(16));
	ck_raises_saying(Arena_Failed, "limit of 4096",
		(void)Arena_new_with(&(Arena_Options){ .chunk = 8 * KB, .limit = 4 * KB }));
}

TEST(set_limit_counts_from_the_next_chunk)
{
	Arena_T arena = Arena_new();
	size_t held;

	Arena_alloc(arena, 100 * KB);
	held = Arena_capacity(arena);
	Arena_set_limit(arena, KB); /* less than it holds already: only growth is refused */
	ck_assert_ptr_nonnull(Arena_alloc(arena, 100));
	ck_raises(Arena_Failed, Arena_alloc(arena, 100 * KB));
	ck_assert_uint_eq(Arena_capacity(arena), held);
	Arena_set_limit(arena, 0);
	ck_assert_ptr_nonnull(Arena_alloc(arena, 100 * KB));
	Arena_dispose(&arena);
}

TEST(equal_batches_near_the_limit_go_on_for_ever)
{
	struct Failing f = { .fail_at = -1 };
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = failing_alloc, .free = failing_free,
		.cl = &f,
		.limit = MB });
	size_t requests = 0;
	int turn, i;

	for (turn = 0; turn < 50; turn++) {
		for (i = 0; i < 900; i++)
			Arena_alloc(arena, KB - 32);
		Arena_clear(arena);
		if (turn == 5)
			requests = f.requests;
	}
	ck_assert_uint_le(f.requests - requests, 45 * 8);
	Arena_dispose(&arena);
	ck_assert_uint_eq(f.outstanding_bytes, 0);
}

/* ---- dispose, children ---- */

CASE("dispose and children");

TEST(dispose_takes_null_and_a_pointer_to_null)
{
	Arena_T arena = NULL;

	Arena_dispose(NULL);
	Arena_dispose(&arena);
	ck_assert_ptr_null(arena);
}

TEST(the_handle_may_live_inside_its_own_arena)
{
	struct Server {
		Arena_T arena;
		int port;
	} *server;
	Arena_T arena = Arena_new();
	size_t before = Arena_debug_live_count();

	NEW(arena, server);
	server->arena = arena;
	Arena_dispose(&server->arena);
	ck_assert_uint_eq(Arena_debug_live_count(), before - 1);
}

TEST(children_are_disposed_of_with_their_parent_and_before_it)
{
	size_t before = Arena_debug_live_count();
	Arena_T parent = Arena_new(), first = Arena_new_child(parent), second = Arena_new_child(parent);

	Arena_defer(parent, note, "p");
	Arena_defer(first, note, "1");
	Arena_defer(second, note, "2");
	Arena_defer(Arena_new_child(first), note, "g");
	ck_assert_uint_eq(Arena_debug_live_count(), before + 4);
	Arena_dispose(&parent);
	ck_assert_str_eq(journal.text, "2g1p");
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(children_may_go_before_their_parent_in_any_order)
{
	static const int orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 },
		{ 2, 0, 1 }, { 2, 1, 0 } };
	size_t before = Arena_debug_live_count();
	int i, gone, k;

	for (i = 0; i < 6; i++)
		for (gone = 0; gone <= 3; gone++) {
			Arena_T parent = Arena_new(), child[3];

			for (k = 0; k < 3; k++)
				child[k] = Arena_new_child(parent);
			for (k = 0; k < gone; k++)
				Arena_dispose(&child[orders[i][k]]);
			ck_assert_uint_eq(Arena_debug_live_count(), before + 4 - (size_t)gone);
			Arena_dispose(&parent);
			ck_assert_uint_eq(Arena_debug_live_count(), before);
		}
}

TEST(a_deep_chain_of_children_needs_no_deep_stack)
{
	size_t before = Arena_debug_live_count();
	Arena_T root = Arena_new_with_size(64), at = root;
	int i;

	for (i = 0; i < 20000; i++)
		at = Arena_new_with(&(Arena_Options){ .parent = at, .chunk = 16 });
	Arena_dispose(&root);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(a_raise_while_children_are_disposed_of_leaves_nothing_behind)
{
	size_t before = Arena_debug_live_count();
	Arena_T parent = Arena_new(), child = Arena_new_child(parent);

	Arena_defer(parent, note, "p");
	Arena_defer(child, note, "c");
	Arena_defer(child, note_and_raise, "r");
	Arena_defer(Arena_new_child(child), note_and_raise, "g");
	ck_raises_saying(Trouble, "from g", Arena_dispose(&parent));
	ck_assert_str_eq(journal.text, "grcp");
	ck_assert_ptr_null(parent);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

static void make_child(void *cl)
{
	Arena_defer(Arena_new_child(cl), note, "c");
}

TEST(children_made_by_a_deferred_call_go_too)
{
	size_t before = Arena_debug_live_count();
	Arena_T parent = Arena_new(), child = Arena_new_child(parent);

	Arena_defer(parent, make_child, parent);
	Arena_defer(child, make_child, parent);
	Arena_defer(child, make_child, child);
	Arena_dispose(&parent);
	ck_assert_str_eq(journal.text, "ccc");
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

static void dispose_other(void *cl)
{
	Arena_T arena = cl;

	Arena_dispose(&arena);
}

TEST(disposing_of_an_arena_from_its_own_deferred_call_is_checked)
{
	size_t before = Arena_debug_live_count();
	Arena_T arena = Arena_new();
	Arena_Mark mark = Arena_mark(arena);

	Arena_defer(arena, dispose_other, arena);
	ck_raises_saying(Assert_Failed, "Arena_dispose: a deferred call", Arena_clear(arena));
	Arena_defer(arena, dispose_other, arena);
	mark = Arena_mark(arena);
	Arena_defer(arena, dispose_other, arena);
	ck_raises_saying(Assert_Failed, "Arena_dispose: a deferred call", Arena_rewind(arena, mark));
	ck_raises_saying(Assert_Failed, "Arena_dispose: a deferred call", Arena_dispose(&arena));
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

static void reset_to_nothing(Arena_T arena)
{
	Arena_reset(arena, 0);
}

static void clear_and_dispose(void *cl)
{
	Arena_clear(cl);
	dispose_other(cl);
}

TEST(nor_may_a_deferred_call_that_has_cleared_its_arena_dispose_of_it)
{
	static void (*const clear_or_reset[])(Arena_T) = { Arena_clear, reset_to_nothing };
	size_t before = Arena_debug_live_count();
	Arena_T arena = Arena_new();
	Arena_Mark mark;
	size_t i;

	for (i = 0; i < 2; i++) {
		Arena_defer(arena, clear_and_dispose, arena);
		ck_raises_saying(Assert_Failed, "Arena_dispose: a deferred call", clear_or_reset[i](arena));
	}
	mark = Arena_mark(arena);
	Arena_defer(arena, clear_and_dispose, arena);
	ck_raises_saying(Assert_Failed, "Arena_dispose: a deferred call", Arena_rewind(arena, mark));
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1);
	Arena_defer(arena, clear_and_dispose, arena);
	ck_raises_saying(Assert_Failed, "Arena_dispose: a deferred call", Arena_dispose(&arena));
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(a_childs_deferred_call_may_dispose_of_the_parent_only_when_the_child_goes_alone)
{
	size_t before = Arena_debug_live_count();
	Arena_T parent = Arena_new(), child = Arena_new_child(parent);

	Arena_defer(child, dispose_other, parent);
	Arena_dispose(&child);
	ck_assert_uint_eq(Arena_debug_live_count(), before);

	parent = Arena_new();
	child = Arena_new_child(parent);
	Arena_defer(child, dispose_other, parent);
	/* the child is needed afterwards */
	ck_raises_saying(Assert_Failed, "Arena_dispose", Arena_clear(child));
	Arena_defer(child, dispose_other, parent);
	ck_raises_saying(Assert_Failed, "Arena_dispose", Arena_dispose(&parent));
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(a_deferred_call_may_dispose_of_a_sibling)
{
	size_t before = Arena_debug_live_count();
	Arena_T parent = Arena_new(), elder = Arena_new_child(parent),
		younger = Arena_new_child(parent);

	Arena_defer(younger, dispose_other, elder);
	Arena_dispose(&parent);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(an_adopted_child_goes_with_its_new_parent)
{
	size_t before = Arena_debug_live_count();
	Arena_T first = Arena_new(), second = Arena_new(), child = Arena_new_child(first);
	Arena_T grandchild = Arena_new_child(child), sibling = Arena_new_child(first);
	char *s = Arena_strdup(grandchild, "still here");

	Arena_defer(child, note, "c");
	Arena_adopt(child, second);
	Arena_dispose(&first); /* and sibling */
	ck_assert_uint_eq(Arena_debug_live_count(), before + 3);
	ck_assert_str_eq(s, "still here");
	ck_assert_uint_eq(journal.n, 0);
	Arena_adopt(child, second); /* where it is */
	Arena_dispose(&second);
	ck_assert_str_eq(journal.text, "c");
	ck_assert_uint_eq(Arena_debug_live_count(), before);
	(void)sibling;
}

TEST(an_arena_adopted_by_none_stands_alone_and_a_root_can_be_adopted)
{
	size_t before = Arena_debug_live_count();
	Arena_T parent = Arena_new(), child = Arena_new_child(parent), root = Arena_new();

	Arena_adopt(child, NULL);
	Arena_adopt(root, parent);
	Arena_dispose(&parent);
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1);
	Arena_adopt(child, NULL);
	Arena_dispose(&child);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(adoption_that_would_make_a_cycle_is_checked)
{
	Arena_T top = Arena_new(), middle = Arena_new_child(top), bottom = Arena_new_child(middle);

	ck_raises_saying(Assert_Failed, "Arena_adopt", Arena_adopt(top, top));
	ck_raises_saying(Assert_Failed, "itself or below it", Arena_adopt(top, bottom));
	ck_raises_saying(Assert_Failed, "itself or below it", Arena_adopt(middle, bottom));
	Arena_adopt(bottom, top);
	Arena_adopt(middle, bottom); /* which is no longer below it */
	Arena_dispose(&top);
}

static Arena_T refuge;

static void flee(void *cl)
{
	Arena_adopt(cl, refuge);
}

TEST(a_deferred_call_may_save_a_sibling_but_not_its_own_arena)
{
	size_t before = Arena_debug_live_count();
	Arena_T parent = Arena_new(), elder = Arena_new_child(parent),
		younger = Arena_new_child(parent);

	refuge = Arena_new();
	Arena_defer(younger, flee, elder);
	Arena_dispose(&parent);
	ck_assert_uint_eq(Arena_debug_live_count(), before + 2);
	Arena_defer(elder, flee, elder);
	ck_raises_saying(Assert_Failed, "Arena_adopt: a deferred call", Arena_clear(elder));
	Arena_dispose(&refuge);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(an_arena_that_was_disposed_of_is_told_from_a_live_one)
{
	static char buffer[4 * KB]; /* where reading it afterwards is no error */
	Arena_T arena = Arena_new_in(buffer, sizeof buffer), copy = arena;

	Arena_dispose(&arena);
	ck_raises_saying(Assert_Failed, "is not a live arena", Arena_alloc(copy, 1));
	ck_raises_saying(Assert_Failed, "is not a live arena", Arena_clear(copy));
	ck_raises_saying(Assert_Failed, "is not a live arena", (void)Arena_new_child(copy));
	ck_raises_saying(Assert_Failed, "is not a live arena",
		(void)Arena_new_with(&(Arena_Options){ .parent = copy }));
	arena = Arena_new();
	ck_raises_saying(Assert_Failed, "is not a live arena", Arena_adopt(copy, arena));
	ck_raises_saying(Assert_Failed, "is not a live arena", Arena_adopt(arena, copy));
	Arena_dispose(&arena);
	ck_raises_saying(Assert_Failed, "is not a live arena", Arena_dispose(&copy));
}

TEST(a_null_arena_is_checked_by_every_call)
{
	Arena_Mark mark = { 0 };
	va_list none;
	int *p;

	memset(&none, 0, sizeof none);
	ck_raises_saying(Assert_Failed, "Arena_new_child: the arena is NULL",
		(void)Arena_new_child(NULL));
	ck_raises_saying(Assert_Failed, "Arena_adopt: the arena is NULL", Arena_adopt(NULL, NULL));
	ck_raises_saying(Assert_Failed, "Arena_alloc: the arena is NULL", Arena_alloc(NULL, 1));
	ck_raises_saying(Assert_Failed, "Arena_calloc: the arena is NULL", Arena_calloc(NULL, 1, 1));
	ck_raises_saying(Assert_Failed, "Arena_alloc_aligned: the arena is NULL",
		Arena_alloc_aligned(NULL, 16, 1));
	ck_raises_saying(Assert_Failed, "Arena_realloc: the arena is NULL",
		Arena_realloc(NULL, NULL, 0, 1));
	ck_raises_saying(Assert_Failed, "Arena_try_alloc: the arena is NULL", Arena_try_alloc(NULL, 1));
	ck_raises_saying(Assert_Failed, "Arena_strdup: the arena is NULL", Arena_strdup(NULL, ""));
	ck_raises_saying(Assert_Failed, "Arena_strndup: the arena is NULL", Arena_strndup(NULL, "", 1));
	ck_raises_saying(Assert_Failed, "Arena_memdup: the arena is NULL", Arena_memdup(NULL, "", 1));
	ck_raises_saying(Assert_Failed, "Arena_sprintf: the arena is NULL", Arena_sprintf(NULL, "-"));
	ck_raises_saying(Assert_Failed, "Arena_vsprintf: the arena is NULL",
		Arena_vsprintf(NULL, "-", none));
	ck_raises_saying(Assert_Failed, "ALLOC: the arena is NULL", ALLOC(NULL, 1));
	ck_raises_saying(Assert_Failed, "CALLOC: the arena is NULL", CALLOC(NULL, 1, 1));
	ck_raises_saying(Assert_Failed, "ALLOC: the arena is NULL", NEW(NULL, p));
	ck_raises_saying(Assert_Failed, "CALLOC: the arena is NULL", NEW0(NULL, p));
	ck_raises_saying(Assert_Failed, "Arena_clear: the arena is NULL", Arena_clear(NULL));
	ck_raises_saying(Assert_Failed, "Arena_reset: the arena is NULL", Arena_reset(NULL, 0));
	ck_raises_saying(Assert_Failed, "Arena_mark: the arena is NULL", Arena_mark(NULL));
	ck_raises_saying(Assert_Failed, "Arena_rewind: the arena is NULL", Arena_rewind(NULL, mark));
	ck_raises_saying(Assert_Failed, "Arena_defer: the arena is NULL", Arena_defer(NULL, note, "x"));
	ck_raises_saying(Assert_Failed, "Arena_used: the arena is NULL", Arena_used(NULL));
	ck_raises_saying(Assert_Failed, "Arena_capacity: the arena is NULL", Arena_capacity(NULL));
	ck_raises_saying(Assert_Failed, "Arena_peak: the arena is NULL", Arena_peak(NULL));
	ck_raises_saying(Assert_Failed, "Arena_set_limit: the arena is NULL", Arena_set_limit(NULL, 1));
}

TEST(an_uncaught_misuse_aborts, .signal = SIGABRT)
{
	Arena_alloc(NULL, 1);
}
