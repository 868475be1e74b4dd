/* SPDX-License-Identifier: MIT */
/* Arena, call by call in the header's order; then threads, fork, and what ASan and Valgrind see. */
#include "config.h"

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

#if defined __SANITIZE_ADDRESS__
#define WITH_ASAN 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined __SANITIZE_THREAD__
#define WITH_TSAN 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

enum { KB = 1024, MB = 1024 * 1024 };

EXCEPT_DEFINE(Trouble, NULL, "trouble");

static Arena_T counted_arena(struct Failing *f)
{
	*f = (struct Failing){ .fail_at = -1 };
	return Arena_new_with(&(Arena_Options){ .alloc = failing_alloc, .free = failing_free, .cl = f });
}

static Arena_T small_counted_arena(struct Failing *f)
{
	*f = (struct Failing){ .fail_at = -1 };
	return failing_arena(f);
}

static Arena_T limited_arena(size_t limit)
{
	return Arena_new_with(&(Arena_Options){ .limit = limit, .name = "limited" });
}

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

	(void)Arena_new_with(&(Arena_Options){ .parent = parent, .alloc = failing_alloc, .free = failing_free, .cl = &own });
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
	Arena_T parent = Arena_new_with(&(Arena_Options){ .buffer = buffer, .buffer_size = sizeof buffer, .fixed = 1 });
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
	while (!__atomic_compare_exchange_n(&b->left, &left, left - nbytes, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
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
	Arena_T parent = Arena_new_with(&(Arena_Options){ .alloc = budget_alloc, .free = budget_free, .cl = &b });
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
	ck_raises_saying(Arena_Failed, "tight: no room for 64 bytes in its fixed buffer", Arena_alloc(arena, 64));
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
		(void)Arena_new_with(&(Arena_Options){ .buffer = buffer, .buffer_size = sizeof buffer, .fixed = 1 }));
}

TEST(options_that_contradict_each_other_are_checked)
{
	ck_raises_saying(Assert_Failed, "Arena_new_with", (void)Arena_new_with(NULL));
	ck_raises_saying(Assert_Failed, "fixed", (void)Arena_new_with(&(Arena_Options){ .fixed = 1 }));
	ck_raises_saying(Assert_Failed, "free", (void)Arena_new_with(&(Arena_Options){ .free = failing_free }));
	ck_raises_saying(Assert_Failed, "buffer", (void)Arena_new_with(&(Arena_Options){ .buffer_size = 9 }));
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
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = raise_no_memory, .free = just_free, .cl = &fails });
	size_t held = Arena_capacity(arena);

	fails = 1;
	ck_assert_ptr_null(Arena_try_alloc(arena, 100 * KB));
	ck_raises_saying(Arena_Failed, "out of memory for 102400 bytes", Arena_alloc(arena, 100 * KB));
	ck_assert_uint_eq(Arena_capacity(arena), held);
	ck_raises(Arena_Failed, (void)Arena_new_with(&(Arena_Options){ .alloc = raise_no_memory, .cl = &fails }));
	Arena_dispose(&arena);
}

TEST(another_exception_of_the_backing_allocator_passes_and_books_nothing)
{
	int fails = 0;
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = raise_trouble, .free = just_free, .cl = &fails });
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
	Arena_T outer = Arena_new(), inner = Arena_new_with(&(Arena_Options){ .alloc = alloc_from_arena, .cl = outer });
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
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = failing_alloc, .free = failing_free, .cl = &f,
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

/* A journal of deferred calls. */
static struct {
	char text[64];
	size_t n;
} journal;

static void note(void *cl)
{
	journal.text[journal.n++] = *(const char *)cl;
	journal.text[journal.n] = '\0';
}

static void note_and_raise(void *cl)
{
	note(cl);
	RAISE_MSG(Trouble, "from %s", (const char *)cl);
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
	static const int orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
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
	ck_raises_saying(Assert_Failed, "Arena_dispose", Arena_clear(child)); /* the child is needed afterwards */
	Arena_defer(child, dispose_other, parent);
	ck_raises_saying(Assert_Failed, "Arena_dispose", Arena_dispose(&parent));
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

TEST(a_deferred_call_may_dispose_of_a_sibling)
{
	size_t before = Arena_debug_live_count();
	Arena_T parent = Arena_new(), elder = Arena_new_child(parent), younger = Arena_new_child(parent);

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
	Arena_T parent = Arena_new(), elder = Arena_new_child(parent), younger = Arena_new_child(parent);

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
	ck_raises_saying(Assert_Failed, "is not a live arena", (void)Arena_new_with(&(Arena_Options){ .parent = copy }));
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
	ck_raises_saying(Assert_Failed, "Arena_new_child: the arena is NULL", (void)Arena_new_child(NULL));
	ck_raises_saying(Assert_Failed, "Arena_adopt: the arena is NULL", Arena_adopt(NULL, NULL));
	ck_raises_saying(Assert_Failed, "Arena_alloc: the arena is NULL", Arena_alloc(NULL, 1));
	ck_raises_saying(Assert_Failed, "Arena_calloc: the arena is NULL", Arena_calloc(NULL, 1, 1));
	ck_raises_saying(Assert_Failed, "Arena_alloc_aligned: the arena is NULL", Arena_alloc_aligned(NULL, 16, 1));
	ck_raises_saying(Assert_Failed, "Arena_realloc: the arena is NULL", Arena_realloc(NULL, NULL, 0, 1));
	ck_raises_saying(Assert_Failed, "Arena_try_alloc: the arena is NULL", Arena_try_alloc(NULL, 1));
	ck_raises_saying(Assert_Failed, "Arena_strdup: the arena is NULL", Arena_strdup(NULL, ""));
	ck_raises_saying(Assert_Failed, "Arena_strndup: the arena is NULL", Arena_strndup(NULL, "", 1));
	ck_raises_saying(Assert_Failed, "Arena_memdup: the arena is NULL", Arena_memdup(NULL, "", 1));
	ck_raises_saying(Assert_Failed, "Arena_sprintf: the arena is NULL", Arena_sprintf(NULL, "-"));
	ck_raises_saying(Assert_Failed, "Arena_vsprintf: the arena is NULL", Arena_vsprintf(NULL, "-", none));
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

/* ---- allocation ---- */

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
	char *d = Arena_calloc(arena, 8, 0), *e = Arena_alloc_aligned(arena, 64, 0), *g = Arena_memdup(arena, NULL, 0);
	char *h = Arena_realloc(arena, NULL, 0, 0), *i = Arena_try_alloc(arena, 0);

	ck_assert(a && b && c && d && e && g && h && i);
	ck_assert(a != b && b != c && c != d && d != e && e != g && g != h && h != i);
	Arena_dispose(&arena);
}

TEST(sizes_beyond_any_object_raise_and_change_nothing)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 64, SIZE_MAX / 2 + 2, PTRDIFF_MAX,
		PTRDIFF_MAX - 64 };
	Arena_T arena = Arena_new();
	char *newest = Arena_alloc(arena, 8);
	size_t used = Arena_used(arena), held = Arena_capacity(arena), i;

	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		ck_raises_saying(Arena_Failed, "more than an object can have", Arena_alloc(arena, sizes[i]));
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
	Arena_set_limit(arena, 400 * (size_t)MB); /* less than any of these; sanitizers abort when malloc is asked for too much */
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
	ck_raises_saying(Assert_Failed, "no object has", Arena_realloc(arena, Arena_alloc(arena, 1), SIZE_MAX, 10));
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
	ck_assert_str_eq(Arena_strndup(arena, three, 3), "abc"); /* not terminated, and not read further */
	ck_assert_mem_eq(Arena_memdup(arena, three, 3), "abc", 3);
	Arena_dispose(&arena);
}

TEST(copies_of_null_are_checked)
{
	Arena_T arena = Arena_new();
	const char *volatile null = NULL;

	ck_raises_saying(Assert_Failed, "Arena_strdup: the string is NULL", Arena_strdup(arena, null));
	ck_raises_saying(Assert_Failed, "Arena_strndup: NULL with 1 bytes", Arena_strndup(arena, null, 1));
	ck_raises_saying(Assert_Failed, "Arena_memdup: NULL with 1 bytes", Arena_memdup(arena, null, 1));
	ck_raises_saying(Assert_Failed, "Arena_sprintf: the format is NULL", Arena_sprintf(arena, null, 1));
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

/* ---- clear and reset ---- */

CASE("clear and reset");

typedef void Batch(Arena_T);

static void small_batch(Arena_T arena)
{
	int i;

	for (i = 0; i < 50; i++)
		memset(Arena_alloc(arena, (size_t)(16 + i * 10)), i, (size_t)(16 + i * 10));
}

static void mixed_batch(Arena_T arena)
{
	int i;

	for (i = 0; i < 1000; i++)
		Arena_alloc(arena, (size_t)(i * 7919 % 5000));
}

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

static Batch *const batches[] = { small_batch, mixed_batch, growing_batch, large_batch, aligned_batch, rewinding_batch };
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
	for (i = 0; i < 10; i++) { /* up again from the outermost: every rewind forgets the marks above it */
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

	ck_raises_saying(Assert_Failed, "Arena_defer: the function is NULL", Arena_defer(arena, NULL, NULL));
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

static char *report(void)
{
	char *text = NULL;
	size_t nbytes;
	FILE *out = open_memstream(&text, &nbytes);

	ck_assert_ptr_nonnull(out);
	Arena_debug_report(out);
	fclose(out);
	return text;
}

TEST(the_report_shows_the_tree_of_arenas_with_their_names_and_places)
{
	int line = __LINE__ + 1;
	Arena_T parent = Arena_new_with(&(Arena_Options){ .name = "server" }), child = Arena_new_child(parent);
	Arena_T other = Arena_new_with(&(Arena_Options){ .parent = child, .name = "request" });
	char place[64], *text, *at;

	Arena_alloc(other, 1000);
	snprintf(place, sizeof place, "test_arena.c:%d: 0 used, ", line);
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

/* ---- threads ---- */

CASE("threads and fork");

enum { THREADS = 8, OBJECTS = 2000 };

typedef struct Worker {
	pthread_t thread;
	Arena_T arena;
	int id;
	unsigned char *objects[OBJECTS];
	size_t sizes[OBJECTS];
	int wrong;
} Worker;

static void on_threads(void *(*fn)(void *), Worker *workers, Arena_T arena)
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

static size_t wrong_objects(const Worker *w)
{
	size_t i, k, wrong = 0;

	for (i = 0; i < OBJECTS; i++)
		for (k = 0; k < w->sizes[i]; k++)
			wrong += w->objects[i][k] != w->id;
	return wrong;
}

static void *fill(void *cl)
{
	Worker *w = cl;
	unsigned random = (unsigned)w->id * 2654435761u;
	size_t i;

	for (i = 0; i < OBJECTS; i++) {
		random = random * 1664525u + 1013904223u;
		w->sizes[i] = random >> 24 ? (random >> 16) % 300 : (random >> 8) % 40000;
		w->objects[i] = i % 3 ? Arena_alloc(w->arena, w->sizes[i]) : Arena_calloc(w->arena, 1, w->sizes[i]);
		memset(w->objects[i], w->id, w->sizes[i]);
		if (i % 16 == 0 && w->sizes[i]) {
			w->objects[i] = Arena_realloc(w->arena, w->objects[i], w->sizes[i], w->sizes[i] + 50);
			memset(w->objects[i] + w->sizes[i], w->id, 50);
			w->sizes[i] += 50;
		}
	}
	return NULL;
}

TEST(threads_allocate_from_one_arena_without_overlap)
{
	static Worker workers[THREADS];
	Arena_T arena = Arena_new();
	int i, turn;

	for (turn = 0; turn < 2; turn++) {
		on_threads(fill, workers, arena);
		for (i = 0; i < THREADS; i++)
			ck_assert_uint_eq(wrong_objects(&workers[i]), 0);
		Arena_clear(arena);
	}
	Arena_dispose(&arena);
}

static void count_call(void *cl)
{
	++*(int *)cl;
}

static void *use_tree(void *cl)
{
	Worker *w = cl;
	int i;

	for (i = 0; i < 100; i++) {
		Arena_T child = Arena_new_child(w->arena);

		Arena_strdup(child, "text");
		Arena_defer(w->arena, count_call, &w->wrong);
		if (i % 4)
			Arena_dispose(&child);
		else
			Arena_clear(child);
	}
	return NULL;
}

TEST(threads_make_children_and_defer_calls_on_one_arena)
{
	static Worker workers[THREADS];
	size_t before = Arena_debug_live_count();
	Arena_T arena = Arena_new();
	int i;

	on_threads(use_tree, workers, arena);
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1 + THREADS * 25);
	Arena_dispose(&arena);
	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(workers[i].wrong, 100);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

/* Two threads that allocate by turns, neither idle for long: one is the owner, the other is not. */
typedef struct Turns {
	Arena_T arena;
	pthread_barrier_t barrier;
	atomic_size_t requests;
} Turns;

static void *count_alloc(size_t nbytes, void *cl)
{
	((Turns *)cl)->requests++;
	return malloc(nbytes);
}

static void count_free(void *p, size_t nbytes, void *cl)
{
	(void)nbytes;
	(void)cl;
	free(p);
}

enum { CYCLES = 60, STEPS = 20 };

static void take_turns(Turns *t, int clears)
{
	int batch, step, i;

	for (batch = 0; batch < CYCLES; batch++) {
		for (step = 0; step < STEPS; step++) {
			for (i = 0; i < 50; i++)
				Arena_alloc(t->arena, 1000);
			pthread_barrier_wait(&t->barrier);
		}
		if (clears)
			Arena_clear(t->arena);
		pthread_barrier_wait(&t->barrier);
	}
}

static void *take_other_turns(void *cl)
{
	take_turns(cl, 0);
	return NULL;
}

TEST(equal_batches_of_two_threads_take_memory_only_at_first)
{
	Turns t = { .requests = 0 };
	pthread_t other;
	size_t before = 0;
	int half;

	t.arena = Arena_new_with(&(Arena_Options){ .alloc = count_alloc, .free = count_free, .cl = &t });
	ck_assert_int_eq(pthread_barrier_init(&t.barrier, NULL, 2), 0);
	for (half = 0; half < 2; half++) {
		before = t.requests;
		ck_assert_int_eq(pthread_create(&other, NULL, take_other_turns, &t), 0);
		take_turns(&t, 1);
		pthread_join(other, NULL);
	}
	ck_assert_uint_eq(t.requests, before);
	pthread_barrier_destroy(&t.barrier);
	Arena_dispose(&t.arena);
}

enum { CROWD = 16, A_FEW = 10 };

static void *allocate_a_few_each_cycle(void *cl)
{
	Turns *t = cl;
	int cycle, i;

	for (cycle = 0; cycle < CYCLES; cycle++) {
		for (i = 0; i < A_FEW; i++)
			Arena_alloc(t->arena, 96);
		pthread_barrier_wait(&t->barrier); /* all of them have, before it is cleared */
		pthread_barrier_wait(&t->barrier);
	}
	return NULL;
}

TEST(a_crowd_of_threads_takes_memory_only_at_first_and_uses_what_it_allocates,
	.unless = has_fences())
{
	Turns t = { .requests = 0 };
	pthread_t crowd[CROWD];
	size_t at_half = 0;
	int i;

	t.arena = Arena_new_with(&(Arena_Options){ .alloc = count_alloc, .free = count_free, .cl = &t });
	ck_assert_int_eq(pthread_barrier_init(&t.barrier, NULL, CROWD + 1), 0);
	for (i = 0; i < CROWD; i++)
		ck_assert_int_eq(pthread_create(&crowd[i], NULL, allocate_a_few_each_cycle, &t), 0);
	for (i = 0; i < CYCLES; i++) {
		pthread_barrier_wait(&t.barrier);
		Arena_clear(t.arena);
		if (i == CYCLES / 2)
			at_half = t.requests;
		pthread_barrier_wait(&t.barrier);
	}
	for (i = 0; i < CROWD; i++)
		pthread_join(crowd[i], NULL);
	ck_assert_uint_eq(t.requests, at_half);
	ck_assert_uint_ge(Arena_peak(t.arena), CROWD * A_FEW * 96);
	ck_assert_uint_le(Arena_peak(t.arena), CROWD * A_FEW * (96 + 16)); /* red zones */
	pthread_barrier_destroy(&t.barrier);
	Arena_dispose(&t.arena);
}

/* Threads that allocate in each cycle, each another part of it in each, until one thread clears. */
typedef struct Sharing {
	Arena_T arena;
	pthread_barrier_t barrier;
	int threads;
	size_t bytes; /* of a cycle */
	atomic_int next;
} Sharing;

enum { SHARING_CYCLES = 40, MOST_SHARING = 64 };

static void *allocate_a_share(void *cl)
{
	Sharing *s = cl;
	int self = s->next++, cycle;

	for (cycle = 0; cycle < SHARING_CYCLES; cycle++) {
		size_t part = s->bytes / (size_t)s->threads / 2 * (size_t)(1 + (self + cycle) % 3), n;

		for (n = 0; n < part; n += 96)
			memset(Arena_alloc(s->arena, 96), self, 96);
		pthread_barrier_wait(&s->barrier);
		pthread_barrier_wait(&s->barrier);
	}
	return NULL;
}

static void share(Sharing *s)
{
	pthread_t threads[MOST_SHARING];
	size_t most = 0;
	int i;

	s->arena = Arena_new();
	s->next = 0;
	ck_assert_int_eq(pthread_barrier_init(&s->barrier, NULL, (unsigned)s->threads + 1), 0);
	for (i = 0; i < s->threads; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate_a_share, s), 0);
	for (i = 0; i < SHARING_CYCLES; i++) {
		pthread_barrier_wait(&s->barrier);
		if (Arena_used(s->arena) > most)
			most = Arena_used(s->arena);
		Arena_clear(s->arena);
		ck_assert_msg(Arena_capacity(s->arena) <= 2 * most, "%d threads: after cycle %d %zu bytes are held for %zu",
			s->threads, i, Arena_capacity(s->arena), most);
		pthread_barrier_wait(&s->barrier);
	}
	for (i = 0; i < s->threads; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&s->barrier);
	Arena_dispose(&s->arena);
}

static const int crowds[] = { 1, 2, 3, 4, 8, 16, MOST_SHARING };

TEST(an_arena_that_threads_share_holds_at_most_twice_what_a_cycle_used,
	.to = (int)(sizeof crowds / sizeof crowds[0]))
{
	static const size_t sizes[] = { 30 * KB, 400 * KB, 3 * MB };
	size_t i;

	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		share(&(Sharing){ .threads = crowds[_i], .bytes = sizes[i] });
}

static void *fill_to_limit(void *cl)
{
	Worker *w = cl;

	while (Arena_try_alloc(w->arena, 2000))
		if (Arena_capacity(w->arena) > 8 * MB)
			w->wrong++;
	return NULL;
}

TEST(threads_together_never_pass_the_limit)
{
	static Worker workers[THREADS];
	Arena_T arena = limited_arena(8 * MB);
	int i;

	on_threads(fill_to_limit, workers, arena);
	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(workers[i].wrong, 0);
	ck_assert_uint_gt(Arena_used(arena), 6 * MB);
	Arena_dispose(&arena);
}

static void *use_own_arena(void *cl)
{
	Worker *w = cl;
	int turn;

	for (turn = 0; turn < 20; turn++) {
		Arena_T arena = Arena_new();

		w->arena = arena;
		small_batch(arena);
		Arena_clear(arena);
		mixed_batch(arena);
		if (turn % 8 == 0) {
			FILE *out = fopen("/dev/null", "w");

			Arena_debug_report(out);
			fclose(out);
		}
		Arena_dispose(&arena);
	}
	return NULL;
}

TEST(each_thread_has_arenas_of_its_own_while_others_report)
{
	static Worker workers[THREADS];
	size_t before = Arena_debug_live_count();

	on_threads(use_own_arena, workers, NULL);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

static void *new_arena(void *cl)
{
	Worker *w = cl;

	w->arena = Arena_new();
	memset(Arena_alloc(w->arena, 100), w->id, 100);
	return NULL;
}

TEST(an_arena_may_be_handed_to_another_thread)
{
	static Worker workers[THREADS];
	int i;

	on_threads(new_arena, workers, NULL);
	for (i = 0; i < THREADS; i++)
		Arena_dispose(&workers[i].arena);
}

/* While others allocate: what is asked first can't be more than what is asked after it. */
static int is_accounted_for(Arena_T arena)
{
	size_t used = Arena_used(arena);

	return Arena_capacity(arena) >= used && Arena_peak(arena) >= used;
}

/* Bursts by one thread after the other: the ownership wanders, and now and then two meet. */
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;

static void *fill_in_bursts(void *cl)
{
	Worker *w = cl;
	size_t i = 0, k;

	while (i < OBJECTS) {
		int alone = i / 100 % 2 == 0;

		if (alone)
			pthread_mutex_lock(&turn_lock);
		for (k = 0; k < 100 && i < OBJECTS; k++, i++) {
			w->sizes[i] = (i * 37 + (size_t)w->id) % 500;
			w->objects[i] = i % 7 ? Arena_alloc(w->arena, w->sizes[i]) : Arena_alloc_aligned(w->arena, 64, w->sizes[i]);
			memset(w->objects[i], w->id, w->sizes[i]);
			if (i % 50 == 0)
				w->wrong += !is_accounted_for(w->arena);
		}
		if (alone)
			pthread_mutex_unlock(&turn_lock);
	}
	return NULL;
}

TEST(ownership_wanders_between_threads_without_overlap)
{
	static Worker workers[THREADS];
	Arena_T arena = Arena_new();
	int i, turn;

	for (turn = 0; turn < 20; turn++) {
		on_threads(fill_in_bursts, workers, arena);
		for (i = 0; i < THREADS; i++) {
			ck_assert_uint_eq(wrong_objects(&workers[i]), 0);
			ck_assert_int_eq(workers[i].wrong, 0);
		}
		Arena_clear(arena);
		ck_assert_uint_eq(Arena_used(arena), 0);
	}
	Arena_dispose(&arena);
}

static void *allocate_untouched(void *cl)
{
	Worker *w = cl;
	size_t i;

	for (i = 0; i < 50000; i++) {
		w->wrong += (uintptr_t)Arena_alloc(w->arena, i % 200) % 16 != 0;
		if (i % 1000 == 0)
			w->wrong += Arena_alloc(w->arena, 100 * KB) == NULL;
	}
	return NULL;
}

static void *release_meanwhile(void *cl)
{
	Worker *w = cl;
	int i;

	for (i = 0; i < 2000; i++) {
		Arena_Mark mark;

		if (i % 3 == 0)
			Arena_clear(w->arena);
		else if (i % 3 == 1)
			Arena_reset(w->arena, (size_t)i * 100);
		mark = Arena_mark(w->arena);
		Arena_alloc(w->arena, 10);
		Arena_rewind(w->arena, mark);
		w->wrong += !is_accounted_for(w->arena);
	}
	return NULL;
}

#if CORE_DEBUG
static int is_watched(void); /* by a tool that tells of it in its own way */

static void *allocate_until_told(void *cl)
{
	Worker *w = cl;
	const char *volatile told = NULL;

	while (!told)
		TRY {
			w->wrong += Arena_alloc(w->arena, 1000) == NULL;
		} EXCEPT(Assert_Failed) {
			told = Except_message();
			w->wrong += !strstr(told, "while another disposes of it") && !strstr(told, "is not a live arena");
		} END_TRY;
	return NULL;
}

static void *dispose_meanwhile(void *cl)
{
	Worker *w = cl;

	while (Arena_used(w->arena) < 1000 * KB)
		sched_yield();
	Arena_dispose(&w->arena);
	return NULL;
}

static void *allocate_or_dispose(void *cl)
{
	return ((Worker *)cl)->id == 1 ? dispose_meanwhile(cl) : allocate_until_told(cl);
}

TEST(dispose_amid_allocations_is_told_in_debug_builds)
{
	static Worker workers[THREADS];
	int turn, i;

	for (turn = 0; !is_watched() && turn < 20; turn++) {
		on_threads(allocate_or_dispose, workers, Arena_new());
		for (i = 0; i < THREADS; i++)
			ck_assert_int_eq(workers[i].wrong, 0);
	}
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}
#endif

static void *allocate_or_release(void *cl)
{
	return ((Worker *)cl)->id == 1 ? release_meanwhile(cl) : allocate_untouched(cl);
}

/* What was allocated is forgotten under the others' feet, which is the program's fault; the arena must stay sound. */
TEST(clear_and_rewind_amid_allocations_leave_the_arena_sound, .unless = has_fences())
{
	static Worker workers[THREADS];
	Arena_T arena = Arena_new_with(&(Arena_Options){ .name = "trampled" });
	int i;

	on_threads(allocate_or_release, workers, arena);
	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(workers[i].wrong, 0);
	Arena_clear(arena);
	on_threads(fill, workers, arena);
	for (i = 0; i < THREADS; i++)
		ck_assert_uint_eq(wrong_objects(&workers[i]), 0);
	Arena_reset(arena, 0);
	ck_assert_uint_le(Arena_capacity(arena), 16 * KB);
	Arena_dispose(&arena);
}

static void *use_and_dispose(void *cl)
{
	Worker *w = cl;
	Arena_T arena = __atomic_exchange_n(&w->arena, NULL, __ATOMIC_ACQ_REL);
	size_t i;

	for (i = 0; i < 100; i++)
		memset(Arena_alloc(arena, i * 10), w->id, i * 10);
	Arena_clear(arena);
	Arena_strdup(arena, "again");
	Arena_dispose(&arena);
	return NULL;
}

TEST(a_worker_may_use_clear_and_dispose_of_what_an_acceptor_made)
{
	size_t before = Arena_debug_live_count();
	int turn, i;

	for (turn = 0; turn < 200; turn++) {
		Worker w[4];

		for (i = 0; i < 4; i++) {
			w[i].id = i;
			w[i].arena = Arena_new();
			Arena_strdup(w[i].arena, "accepted");
			ck_assert_int_eq(pthread_create(&w[i].thread, NULL, use_and_dispose, &w[i]), 0);
		}
		for (i = 0; i < 4; i++)
			pthread_join(w[i].thread, NULL);
	}
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

static void *many_arenas(void *cl)
{
	Worker *w = cl;
	Arena_T arenas[20];
	int turn, i;

	for (turn = 0; turn < 50; turn++) { /* more arenas than a thread knows lanes of */
		for (i = 0; i < 20; i++)
			memset(Arena_alloc(w->arena, 24), w->id, 24);
		for (i = 0; i < 20; i++)
			arenas[i] = Arena_new();
		for (i = 0; i < 20; i++)
			small_batch(arenas[i]);
		for (i = 0; i < 20; i++)
			Arena_dispose(&arenas[i]);
	}
	return NULL;
}

TEST(threads_use_many_arenas_each_and_one_together)
{
	static Worker workers[THREADS];
	size_t before = Arena_debug_live_count();
	Arena_T arena = Arena_new();

	on_threads(many_arenas, workers, arena);
	ck_assert_uint_ge(Arena_used(arena), THREADS * 50 * 20 * 24);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

/* ---- fork; under TSan, which cannot stand the locks that this needs, there is no such promise ---- */

#if !WITH_TSAN
static volatile int stop;

/* Keeps the lock of an arena busy, and those of the registry. */
static void *hammer(void *cl)
{
	_Alignas(max_align_t) char buffer[2048];
	Arena_T shared = cl;
	int n;

	for (n = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); n++) {
		int i;

		for (i = 0; i < 100; i++)
			Arena_peak(shared);
		if (n < 20000)
			Arena_alloc(shared, 24);
		for (i = 0; i < 20; i++) {
			Arena_T own = Arena_new_in(buffer, sizeof buffer);

			Arena_dispose(&own);
		}
	}
	return NULL;
}

static void use_after_fork(Arena_T shared)
{
	Arena_T own;

	alarm(10); /* a lock that is held for ever */
	own = mapped_arena(NULL);
	Arena_alloc(own, 100 * KB);
	Arena_alloc(shared, 100 * KB);
	mapped_arena(shared);
	Arena_clear(shared);
	Arena_dispose(&own);
	Arena_dispose(&shared);
	_exit(0);
}

TEST(a_child_forked_amid_allocating_threads_can_use_every_arena)
{
	Arena_T shared = mapped_arena(NULL), many[100];
	pthread_t threads[3];
	int i, status;

	for (i = 0; i < 100; i++) /* more than the 64 locks that TSan can stand */
		many[i] = mapped_arena(NULL);
	__atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, hammer, shared);
	for (i = 0; i < 30; i++) {
		pid_t pid = fork();

		if (pid == 0)
			use_after_fork(shared);
		ck_assert_int_gt(pid, 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %#x", (unsigned)status);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < 100; i++)
		Arena_dispose(&many[i]);
	Arena_dispose(&shared);
}
#endif

/* ---- what ASan and Valgrind see ---- */

CASE("ASan and Valgrind");

#if WITH_ASAN || HAVE_VALGRIND_MEMCHECK_H

/* Whether a tool would report an access to *p. */
static int is_poisoned(const char *p)
{
#if WITH_ASAN
	return __asan_address_is_poisoned(p);
#else
	char bits;

	return VALGRIND_GET_VBITS(p, &bits, 1) == 3;
#endif
}

static int is_watched(void)
{
#if WITH_ASAN
	return 1;
#else
	return RUNNING_ON_VALGRIND != 0;
#endif
}

static void check_exact(const char *p, size_t nbytes)
{
	size_t i;

	for (i = 0; i < nbytes && !is_poisoned(p + i); i++)
		;
	ck_assert_msg(i == nbytes, "byte %zu of %zu is poisoned", i, nbytes);
	ck_assert_msg(is_poisoned(p + nbytes), "the byte after %zu is not poisoned", nbytes);
	ck_assert_msg(is_poisoned(p - 1), "the byte before %zu is not poisoned", nbytes);
}

TEST(each_object_is_fenced_to_the_byte)
{
	Arena_T arena = Arena_new();
	size_t n;

	if (is_watched()) {
		for (n = 0; n < 70; n++)
			check_exact(Arena_alloc(arena, n), n);
		for (n = 1; n < 8192; n *= 2)
			check_exact(Arena_alloc_aligned(arena, n, n + 3), n + 3);
		check_exact(Arena_alloc(arena, 3 * MB + 5), 3 * MB + 5);
	}
	Arena_dispose(&arena);
}

TEST(realloc_moves_the_fence)
{
	static const size_t sizes[] = { 0, 1, 100, 37, 38, 8, 5, 0, 3000, 2999, 7, 100000, 20, 19, 3 };
	Arena_T arena = Arena_new();
	char *p = NULL;
	size_t i, old = 0;

	for (i = 0; is_watched() && i < sizeof sizes / sizeof sizes[0]; i++) {
		p = Arena_realloc(arena, p, old, sizes[i]);
		old = sizes[i];
		check_exact(p, old);
	}
	Arena_dispose(&arena);
}

TEST(nothing_of_a_batch_can_be_touched_in_the_next)
{
	Arena_T arena = Arena_new();
	char *p[3];
	int turn, i;

	for (turn = 0; is_watched() && turn < 4; turn++) {
		p[0] = Arena_alloc(arena, 100);
		p[1] = Arena_alloc(arena, 40000);
		p[2] = Arena_alloc(arena, 100000);
		if (turn % 2)
			Arena_clear(arena);
		else
			Arena_reset(arena, turn ? 0 : MB);
		for (i = 0; i < 3; i++)
			ck_assert(is_poisoned(p[i]) && is_poisoned(p[i] + 99));
		check_exact(Arena_alloc(arena, 50000), 50000); /* out of what was kept, and no more of it */
	}
	Arena_dispose(&arena);
}

TEST(rewind_poisons_what_it_forgets_and_nothing_else)
{
	Arena_T arena = Arena_new();
	char *kept = Arena_alloc(arena, 5), *gone[2];
	Arena_Mark mark = Arena_mark(arena);

	gone[0] = Arena_alloc(arena, 50);
	gone[1] = Arena_alloc(arena, 60000);
	Arena_rewind(arena, mark);
	if (is_watched()) {
		check_exact(kept, 5);
		ck_assert(is_poisoned(gone[0]) && is_poisoned(gone[0] + 49));
		ck_assert(is_poisoned(gone[1]) && is_poisoned(gone[1] + 59999));
	}
	Arena_dispose(&arena);
}

TEST(a_fresh_chunk_does_not_show_its_previous_owners_bytes)
{
	Arena_T arena = Arena_new();
	char *p = Arena_alloc(arena, 16);

	if (is_watched())
		ck_assert(is_poisoned(p + 64) && is_poisoned(p + 10000));
	Arena_dispose(&arena);
}

TEST(disposing_of_a_parent_poisons_its_children)
{
	Arena_T parent = Arena_new(), child = Arena_new_child(parent);
	char *p = Arena_alloc(child, 16);

	Arena_dispose(&parent);
	ck_assert(!is_watched() || is_poisoned(p));
}

TEST(a_buffer_is_the_callers_again_after_dispose)
{
	_Alignas(max_align_t) char buffer[4 * KB];
	Arena_T arena = Arena_new_in(buffer + 3, sizeof buffer - 8);
	char *p = Arena_alloc(arena, 10);
	size_t i;

	if (is_watched())
		check_exact(p, 10);
	Arena_dispose(&arena);
	for (i = 0; i < sizeof buffer && !(is_watched() && is_poisoned(buffer + i)); i++)
		;
	ck_assert_uint_eq(i, sizeof buffer);
}

static char slab[64 * KB] __attribute__((aligned(16)));

static void *alloc_slab(size_t nbytes, void *cl)
{
	(void)cl;
	return nbytes <= sizeof slab ? slab : NULL;
}

static void free_slab(void *p, size_t nbytes, void *cl)
{
	(void)cl;
	memset(p, 0, nbytes);
}

TEST(the_backing_allocator_gets_its_memory_back_touchable)
{
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = alloc_slab, .free = free_slab });

	Arena_alloc(arena, 100);
	Arena_dispose(&arena);
	memset(slab, 1, sizeof slab);
}
#endif

#if WITH_ASAN
static volatile char *bad_access;

static void use_after_clear(Arena_T arena)
{
	bad_access = Arena_alloc(arena, 100);
	Arena_clear(arena);
	bad_access[50] = 1;
}

static void use_after_rewind(Arena_T arena)
{
	Arena_Mark mark = Arena_mark(arena);

	bad_access = Arena_alloc(arena, 100);
	Arena_rewind(arena, mark);
	bad_access[0] = 1;
}

static void use_after_dispose(Arena_T arena)
{
	bad_access = Arena_alloc(arena, 100);
	Arena_dispose(&arena);
	bad_access[99] = 1;
}

static void use_after_the_parents_dispose(Arena_T arena)
{
	bad_access = Arena_alloc(Arena_new_child(arena), 100);
	Arena_dispose(&arena);
	bad_access[0] = 1;
}

static void use_of_a_disposed_arena(Arena_T arena)
{
	Arena_T copy = arena;

	Arena_dispose(&arena);
	Arena_alloc(copy, 1);
}

static void overflow_into_a_neighbour(Arena_T arena)
{
	bad_access = Arena_alloc(arena, 100);
	Arena_alloc(arena, 100);
	bad_access[100] = 1;
}

static void underflow(Arena_T arena)
{
	Arena_alloc(arena, 100);
	bad_access = Arena_alloc(arena, 100);
	bad_access[-1] = 1;
}

static void use_after_shrinking(Arena_T arena)
{
	bad_access = Arena_realloc(arena, Arena_alloc(arena, 100), 100, 10);
	bad_access[10] = 1;
}

static const struct {
	void (*fn)(Arena_T);
	const char *report;
} misuses[] = {
	{ use_after_clear, "use-after-poison" },
	{ use_after_rewind, "use-after-poison" },
	{ use_after_dispose, "heap-use-after-free" },
	{ use_after_the_parents_dispose, "heap-use-after-free" },
	{ use_of_a_disposed_arena, "heap-use-after-free" },
	{ overflow_into_a_neighbour, "use-after-poison" },
	{ underflow, "use-after-poison" },
	{ use_after_shrinking, "use-after-poison" }
};
enum { MISUSES = sizeof misuses / sizeof misuses[0] };

TEST(asan_reports_misuse, .to = MISUSES)
{
	char said[64 * KB];
	int ends[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		misuses[_i].fn(Arena_new());
		_exit(0);
	}
	close(ends[1]);
	while (n < sizeof said - 1 && (got = read(ends[0], said + n, sizeof said - 1 - n)) > 0)
		n += (size_t)got;
	said[n] = '\0';
	close(ends[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status != 0, "misuse %d was not reported", _i);
	ck_assert_msg(strstr(said, misuses[_i].report) != NULL, "no %s in: %s", misuses[_i].report, said);
}
#endif
