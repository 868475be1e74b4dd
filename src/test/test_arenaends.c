/* SPDX-License-Identifier: MIT */
/* Arena: what is left of it when user code ends by pthread_exit or a cancellation, which run no
 * FINALLY; arenas that are lent; the map and the report. arena/rep.h takes the inline path away:
 * Arena_alloc is a call here. */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "testing.h"
#include "arena/rep.h"

enum { KB = 1024 };

/* ---- every way out of a call of the user's ---- */

SUITE("Arena, its ends");
CASE("every way out");

typedef enum Way { RETURNS, RAISES, EXITS, IS_CANCELLED, WAYS } Way;

static EXCEPT_DEFINE(Trouble, NULL, "trouble");
static int calls;

static void leave(void *cl)
{
#if defined __clang__ /* whose clean-ups do not take a second end of the thread amid the first */
	static __thread int is_ending;

	if (*(Way *)cl == EXITS && is_ending++) {
		calls++;
		return;
	}
#endif
	calls++;
	switch (*(Way *)cl) {
	case RAISES:
		RAISE(Trouble);
	case EXITS:
		pthread_exit(NULL);
	case IS_CANCELLED:
		pthread_cancel(pthread_self());
		pthread_testcancel(); /* returns if the thread is being cancelled already */
	default:
		break;
	}
}

static void count_call(void *cl)
{
	(void)cl;
	calls++;
}

typedef struct Attempt {
	void (*run)(void *);
	void *cl;
	int raised;
} Attempt;

static void *attempt(void *cl)
{
	Attempt *a = cl;

	TRY {
		a->run(a->cl);
	} EXCEPT(Trouble) {
		a->raised = 1;
	} END_TRY;
	return NULL;
}

/* Runs it in a thread of its own, which may end in it. Returns whether it raised. */
static int run_apart(void (*run)(void *), void *cl)
{
	Attempt a = { run, cl, 0 };
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, attempt, &a), 0);
	pthread_join(thread, NULL);
	return a.raised;
}

static Arena_Mark mark;

static void clear(void *arena)
{
	Arena_clear(*(Arena_T *)arena);
}

static void rewind_to_mark(void *arena)
{
	Arena_rewind(*(Arena_T *)arena, mark);
}

static void dispose(void *arena)
{
	Arena_dispose(arena);
}

static void take_back(void *arena)
{
	arena__take_back(*(Arena_T *)arena, 0, 0);
}

/* Two calls that leave in this way amid three that return. */
static void defer_five(Arena_T arena, Way *way)
{
	Arena_defer(arena, count_call, NULL);
	Arena_defer(arena, leave, way);
	Arena_defer(arena, count_call, NULL);
	Arena_defer(arena, leave, way);
	Arena_defer(arena, count_call, NULL);
	memset(Arena_alloc(arena, 100 * KB), 1, 100 * KB);
}

static void check_sound(Arena_T arena)
{
	void *kept = Arena_strdup(arena, "sound");

	ck_assert_str_eq(kept, "sound");
	Arena_clear(arena);
	ck_assert_uint_eq(Arena_used(arena), 0);
	Arena_dispose(&arena);
	ck_assert_ptr_null(arena);
}

TEST(a_deferred_call_may_be_left_in_any_way_by_a_clear_or_rewind, .from = RETURNS, .to = WAYS)
{
	static void (*const ends[])(void *) = { clear, rewind_to_mark, take_back };
	Way way = (Way)_i;
	size_t i, live = Arena_debug_live_count();

	for (i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		struct Failing f = { .fail_at = -1 };
		Arena_T arena = failing_arena(&f);

		calls = 0;
		mark = Arena_mark(arena);
		defer_five(arena, &way);
		ck_assert_int_eq(run_apart(ends[i], &arena), way == RAISES);
		ck_assert_int_eq(calls, 5);
		ck_assert_uint_eq(Arena_used(arena), 0);
		check_sound(arena);
		ck_assert_uint_eq(f.outstanding_bytes, 0);
	}
	ck_assert_uint_eq(Arena_debug_live_count(), live);
}

TEST(a_deferred_call_may_be_left_in_any_way_by_a_dispose_of_a_tree, .from = RETURNS, .to = WAYS)
{
	Way way = (Way)_i;
	size_t live = Arena_debug_live_count();
	struct Failing f = { .fail_at = -1 };
	Arena_T arena = failing_arena(&f), child = Arena_new_child(arena),
		grandchild = Arena_new_child(child);

	calls = 0;
	defer_five(grandchild, &way);
	defer_five(arena, &way);
	defer_five(Arena_new_child(arena), &way);
	defer_five(child, &way);
	ck_assert_int_eq(run_apart(dispose, &arena), way == RAISES);
	ck_assert_int_eq(calls, 20);
	ck_assert_ptr_null(arena);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
	ck_assert_uint_eq(Arena_debug_live_count(), live);
}

/* ---- backing allocators ---- */

typedef struct Leaver {
	struct Failing counts;
	Way of_alloc, of_free;
} Leaver;

static void *alloc_or_leave(size_t nbytes, void *cl)
{
	Leaver *l = cl;

	leave(&l->of_alloc);
	return failing_alloc(nbytes, &l->counts);
}

static void free_and_leave(void *p, size_t nbytes, void *cl)
{
	Leaver *l = cl;

	failing_free(p, nbytes, &l->counts);
	leave(&l->of_free);
}

static void allocate_much(void *arena)
{
	Arena_alloc(*(Arena_T *)arena, 50 * KB);
}

TEST(an_alloc_may_be_left_in_any_way_and_nothing_stays_booked, .from = RAISES, .to = WAYS)
{
	Leaver l = { { .fail_at = -1 }, RETURNS, RETURNS };
	Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = alloc_or_leave,
		.free = free_and_leave, .cl = &l,
		.limit = 100 * KB });
	size_t held = Arena_capacity(arena);

	l.of_alloc = (Way)_i;
	ck_assert_int_eq(run_apart(allocate_much, &arena), _i == RAISES);
	ck_assert_uint_eq(Arena_capacity(arena), held);
	l.of_alloc = RETURNS;
	allocate_much(&arena); /* which would pass the limit with the lost bytes */
	check_sound(arena);
	ck_assert_uint_eq(l.counts.outstanding_blocks, 0);
}

/* Not RAISES: a free must not raise. */
TEST(a_free_that_ends_its_thread_leaves_no_chunk_behind, .from = EXITS, .to = WAYS)
{
	static void (*const ends[])(void *) = { clear, rewind_to_mark, dispose };
	size_t i, k, live = Arena_debug_live_count();

	for (i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		Leaver l = { { .fail_at = -1 }, RETURNS, RETURNS };
		Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = alloc_or_leave,
			.free = free_and_leave, .cl = &l });

		mark = Arena_mark(arena);
		for (k = 0; k < 5; k++)
			Arena_alloc(arena, 200 * KB);
		l.of_free = (Way)_i;
		run_apart(ends[i], &arena);
		l.of_free = RETURNS;
		if (ends[i] != dispose)
			check_sound(arena);
		ck_assert_uint_eq(l.counts.outstanding_blocks, 0);
		ck_assert_uint_eq(Arena_debug_live_count(), live);
	}
}

/* As a signal handler does that calls pthread_exit when it came between [own-1] and [own-5]. */
static void *end_amid_a_bump(void *arena)
{
	*(Arena_T *)arena = Arena_new();
	memset(Arena_alloc(*(Arena_T *)arena, 100), 1, 100);
	if (record_now())
		STORE(self_now()->face.busy, *(Arena_T *)arena);
	return NULL;
}

TEST(a_thread_that_ends_amid_a_bump_does_not_stop_the_next)
{
	Arena_T arena = NULL;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, end_amid_a_bump, &arena), 0);
	pthread_join(thread, NULL);
	check_sound(arena);
}

/* ---- arenas that are lent ---- */

CASE("lending");

TEST(a_borrower_may_do_everything_but_end_the_arena)
{
	Arena_T arena = Arena_new(), other = Arena_new(), lent = arena, child;

	arena__lend(arena, 1);
	Arena_strdup(arena, "kept");
	ck_raises_saying(Assert_Failed, "Arena_clear: ", Arena_clear(arena));
	ck_raises_saying(Assert_Failed, "is lent", Arena_reset(arena, 0));
	ck_raises_saying(Assert_Failed, "is lent", Arena_dispose(&arena));
	ck_assert_ptr_eq(arena, lent);
	ck_raises_saying(Assert_Failed, "is lent", Arena_adopt(arena, other));
	ck_raises_saying(Assert_Failed, "is lent", Arena_adopt(arena, NULL));
	ck_assert_uint_ge(Arena_used(arena), 5);
	mark = Arena_mark(arena);
	Arena_alloc(arena, 100 * KB);
	Arena_rewind(arena, mark);
	child = Arena_new_child(arena);
	Arena_dispose(&child);
	Arena_adopt(other, arena);
	Arena_dispose(&other);
	arena__lend(arena, 0);
	check_sound(arena);
}

static void clear_lent(void *arena)
{
	Arena_clear(arena);
}

TEST(an_arena_comes_back_as_it_was_lent)
{
	struct Failing f = { .fail_at = -1 };
	Arena_T arena = failing_arena(&f);
	size_t live = Arena_debug_live_count(), first = Arena_capacity(arena);
	int i;

	arena__lend(arena, 1);
	for (i = 0; i < 3; i++) {
		calls = 0;
		Arena_set_limit(arena, first + 300 * KB);
		Arena_defer(arena, count_call, NULL);
		Arena_defer(Arena_new_child(Arena_new_child(arena)), count_call, NULL);
		Arena_alloc(arena, 200 * KB);
		ck_raises(Arena_Failed, Arena_alloc(arena, 200 * KB));
		arena__take_back(arena, 0, 0);
		ck_assert_int_eq(calls, 2);
		ck_assert_uint_eq(Arena_used(arena), 0);
		ck_assert_uint_eq(Arena_capacity(arena), first);
		ck_assert_uint_eq(Arena_debug_live_count(), live);
		Arena_alloc(arena, 400 * KB); /* the limit is gone */
		arena__take_back(arena, 0, 0);
		ck_raises_saying(Assert_Failed, "is lent", Arena_dispose(&arena));
	}
	arena__take_back(arena, 0, first);
	ck_raises_saying(Arena_Failed, "limit", Arena_alloc(arena, 100 * KB));
	arena__take_back(arena, 0, 0);
	Arena_defer(arena, clear_lent, arena);
	ck_raises_saying(Assert_Failed, "is lent", arena__take_back(arena, 0, 0));
	arena__lend(arena, 0);
	check_sound(arena);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

TEST(a_lent_arena_goes_with_its_parent)
{
	size_t live = Arena_debug_live_count();
	Arena_T parent = Arena_new();

	arena__lend(Arena_new_child(parent), 1);
	Arena_dispose(&parent);
	ck_assert_uint_eq(Arena_debug_live_count(), live);
}

/* ---- the map and the report ---- */

CASE("map and report");

typedef struct Seen {
	size_t n, used_below, capacity_below;
	Arena_T root, last[3];
	int found;
} Seen;

static void see(const Arena_Info *info, void *cl)
{
	Seen *s = cl;
	size_t i;

	s->n++;
	for (i = 0; i < 3; i++)
		if (info->arena == s->last[i]) {
			ck_assert(i == 0 ? info->parent == NULL : info->parent == s->last[i - 1]);
			ck_assert_int_eq(s->found++, (int)i); /* parents first */
		}
	if (info->arena == s->root) {
		ck_assert_str_eq(info->name, "root");
		ck_assert_ptr_nonnull(strstr(info->file, "test_arenaends.c"));
		ck_assert_uint_eq(info->used, Arena_used(s->root));
		ck_assert_uint_eq(info->capacity, Arena_capacity(s->root));
		ck_assert_uint_eq(info->peak, Arena_peak(s->root));
		s->used_below = info->used_below;
		s->capacity_below = info->capacity_below;
	}
}

static void raise_trouble(const Arena_Info *info, void *cl)
{
	(void)info;
	(void)cl;
	RAISE(Trouble);
}

TEST(the_map_shows_each_arena_after_its_parent_with_the_sums_below)
{
	Arena_T root = Arena__made_at(Arena_new_with(&(Arena_Options){ .name = "root" }), __FILE__,
		__LINE__);
	Arena_T child = Arena_new_child(root), grandchild = Arena_new_child(child),
		other = Arena_new_child(root);
	Seen seen = { .root = root, .last = { root, child, grandchild } };

	Arena_alloc(child, 1000);
	Arena_alloc(grandchild, 40 * KB);
	Arena_alloc(other, 3000);
	Arena_debug_map(see, &seen);
	ck_assert_uint_eq(seen.n, Arena_debug_live_count());
	ck_assert_int_eq(seen.found, 3);
	ck_assert_uint_eq(seen.used_below,
		Arena_used(child) + Arena_used(grandchild) + Arena_used(other));
	ck_assert_uint_eq(seen.capacity_below,
		Arena_capacity(child) + Arena_capacity(grandchild) + Arena_capacity(other));
	ck_raises(Trouble, Arena_debug_map(raise_trouble, NULL));
	ck_raises_saying(Assert_Failed, "the function is NULL", Arena_debug_map(NULL, NULL));
	Arena_dispose(&root);
}

#if !SANITIZED /* whose frames are larger */
enum { DEEP = 20000, SMALL_STACK = 64 * KB };

static void *report_all(void *out)
{
	Arena_debug_report(out);
	return out;
}

TEST(a_deep_chain_and_many_siblings_are_reported_on_a_small_stack)
{
	Arena_T root = Arena_new(), at = root;
	FILE *out = fopen("/dev/null", "w");
	pthread_attr_t attributes;
	pthread_t thread;
	int i;

	ck_assert_ptr_nonnull(out);
	for (i = 0; i < DEEP; i++) {
		at = Arena_new_with(&(Arena_Options){ .parent = at, .chunk = 64 });
		(void)Arena_new_with(&(Arena_Options){ .parent = root, .chunk = 64 });
	}
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, SMALL_STACK);
	ck_assert_int_eq(pthread_create(&thread, &attributes, report_all, out), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attributes);
	fclose(out);
	Arena_dispose(&root);
}
#endif

TEST(a_long_name_is_cut_at_a_character)
{
	char name[200], line[4096];
	Arena_T arena;
	FILE *out = tmpfile();
	size_t n;

	for (n = 0; n + 2 < sizeof name; n += 2)
		memcpy(name + n, "\xC3\xA4", 3);
	arena = Arena_new_with(&(Arena_Options){ .name = name });
	ck_assert_ptr_nonnull(out);
	Arena_debug_report(out);
	rewind(out);
	n = fread(line, 1, sizeof line - 1, out);
	line[n] = '\0';
	ck_assert_ptr_nonnull(strstr(line, "\xC3\xA4... "));
	fclose(out);
	Arena_dispose(&arena);
}
