/* SPDX-License-Identifier: MIT */
/* Arena from the inside: what the library's other modules may ask of it, stores and lanes.
 * arena/rep.h takes the inline path away: Arena_alloc is a call here. */
#include "config.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined __linux__ && defined __has_include
#if __has_include(<linux/seccomp.h>)
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#define HAVE_SECCOMP 1
#endif
#endif

#include "testing.h"
#include "arena/rep.h"

enum { KB = 1024, MB = 1024 * 1024 };

static Arena_T counted_arena(struct Failing *f)
{
	*f = (struct Failing){ .fail_at = -1 };
	return Arena_new_with(&(Arena_Options){ .alloc = failing_alloc, .free = failing_free,
		.cl = f });
}

static void dispose_of_all(Arena_T arena, const struct Failing *f)
{
	Arena_dispose(&arena);
	ck_assert_uint_eq(f->outstanding_blocks, 0);
	ck_assert_uint_eq(f->outstanding_bytes, 0);
}

/* ---- arena__release ---- */

SUITE("Arena, inside");
CASE("release");

TEST(the_newest_block_goes_back_and_its_place_is_used_again)
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

TEST(a_block_that_was_resized_goes_back_with_its_new_size)
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

TEST(a_block_amid_others_stays)
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

TEST(a_large_block_takes_its_chunk_with_it_wherever_it_is_in_the_list)
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

TEST(a_released_chunk_makes_room_under_the_limit)
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

TEST(what_is_older_than_a_mark_stays)
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

TEST(a_mark_stays_good_when_blocks_after_it_are_released)
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

static void *from_arena(size_t nbytes, void *cl)
{
	return Arena_alloc(cl, nbytes);
}

TEST(a_backing_allocator_that_takes_nothing_back_keeps_the_block_in_the_arena)
{
	Arena_T outer = Arena_new(),
		arena = Arena_new_with(&(Arena_Options){ .alloc = from_arena, .cl = outer });
	char *p = Arena_alloc(arena, MB);

	ck_assert_int_eq(arena__release(arena, p, MB), 0);
	memset(p, 'x', MB);
	Arena_dispose(&arena);
	Arena_dispose(&outer);
}

TEST(equal_batches_with_released_blocks_take_memory_only_for_these)
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

TEST(release_checks_its_arena)
{
	ck_raises_saying(Assert_Failed, "the arena is NULL", arena__release(NULL, NULL, 0));
}

#if CORE_DEBUG
static void adopt_gone(Arena_T child, Arena_T parent, Arena_T gone)
{
	STORE(gone->slow, gone->slow | GONE);
	ck_raises_saying(Assert_Failed, "while another disposes of it", Arena_adopt(child, parent));
	ck_assert_int_eq(pthread_mutex_trylock(&arena__registry_lock), 0);
	pthread_mutex_unlock(&arena__registry_lock);
	STORE(gone->slow, gone->slow & ~(uint32_t)GONE);
}

TEST(an_adoption_that_raises_leaves_the_registry_unlocked)
{
	Arena_T child = Arena_new(), parent = Arena_new();

	adopt_gone(child, parent, child);
	adopt_gone(child, parent, parent);
	Arena_adopt(child, parent);
	Arena_dispose(&parent);
}

TEST(a_parent_that_is_being_disposed_of_gets_no_child_that_leaks)
{
	Arena_T parent = Arena_new();
	size_t live = Arena_debug_live_count();

	STORE(parent->slow, parent->slow | GONE);
	ck_raises_saying(Assert_Failed, "while another disposes of it", Arena_new_child(parent));
	ck_assert_uint_eq(Arena_debug_live_count(), live);
	STORE(parent->slow, parent->slow & ~(uint32_t)GONE);
	Arena_dispose(&parent);
}
#endif

/* ---- what a thread keeps in store; nothing, where arenas are closed ---- */

CASE("store and lanes");

static Thread *empty_handed(void)
{
	Thread *t = arena__thread();

	if (t)
		arena__empty_store(t);
	return t;
}

static void use_bytes(Arena_T arena, size_t nbytes)
{
	for (; nbytes >= KB; nbytes -= KB)
		memset(Arena_alloc(arena, KB), 1, KB);
}

TEST(the_store_is_bounded_in_number_and_bytes)
{
	Thread *t = empty_handed();
	Arena_T arenas[100];
	size_t bytes = 0;
	int i;

	for (i = 0; i < 100; i++) {
		arenas[i] = Arena_new();
		use_bytes(arenas[i], (size_t)i * 20 * KB);
	}
	for (i = 0; i < 100; i++)
		Arena_dispose(&arenas[i]);
	if (!t)
		return;
	ck_assert_int_gt(t->shells.n, 0);
	ck_assert_int_le(t->shells.n, SHELLS);
	ck_assert_int_gt(t->spares.n, 0);
	for (i = 0; i < t->spares.n; i++) {
		ck_assert_uint_le(t->spares.chunks[i]->size, MB);
		bytes += t->spares.chunks[i]->size;
	}
	ck_assert_uint_le(bytes, 2 * MB);
}

TEST(one_large_request_takes_nothing_of_another_size_from_the_store)
{
	Thread *t = empty_handed();
	Arena_T arena = Arena_new();
	int i, chunks;

	use_bytes(arena, 100 * KB);
	Arena_dispose(&arena);
	chunks = t ? t->spares.n : 0;
	ck_assert(!t || chunks >= 2);
	for (i = 0; i < 20; i++) {
		arena = Arena_new();
		Arena_alloc(arena, 700 * KB);
		ck_assert_uint_ge(Arena_capacity(arena), 700 * KB);
		ck_assert(!t || t->spares.n >= chunks);
		Arena_dispose(&arena);
	}
	ck_assert(!t || t->spares.n == chunks + 1);
}

/* A spare that is given back takes those along to which it is linked. */
TEST(a_spare_from_the_store_is_linked_to_no_chunk_of_its_last_arena)
{
	Thread *t = empty_handed();
	Arena_T arena = Arena_new();
	Store before;
	int i;

	use_bytes(arena, 300 * KB);
	Arena_reset(arena, 0);
	if (t) {
		before = t->spares;
		ck_assert_ptr_nonnull(before.chunks[0]->older);
		use_bytes(arena, 100 * KB);
		Arena_clear(arena);
		for (i = 0; i < before.n && before.chunks[i] != arena->spare; i++)
			;
		ck_assert_int_lt(i, before.n);
		ck_assert_ptr_null(arena->spare->older);
	}
	Arena_dispose(&arena);
}

TEST(what_is_in_store_counts_in_no_limit_and_is_taken_to_the_byte)
{
	Thread *t = empty_handed();
	Arena_T arena = Arena_new();

	use_bytes(arena, 500 * KB);
	Arena_dispose(&arena);
	arena = Arena_new_with(&(Arena_Options){ .limit = 100 * KB });
	ck_assert_uint_eq(Arena_capacity(arena), CHUNK_FIRST);
	use_bytes(arena, 60 * KB);
	ck_assert_uint_le(Arena_capacity(arena), 100 * KB);
	ck_raises(Arena_Failed, use_bytes(arena, 60 * KB));
	Arena_dispose(&arena);
	(void)t;
}

TEST(a_custom_backing_allocator_sees_every_request_and_gets_all_back)
{
	struct Failing f = { .fail_at = -1 };
	int i;

	for (i = 1; i <= 50; i++) {
		Arena_T arena = Arena_new_with(&(Arena_Options){ .alloc = failing_alloc,
			.free = failing_free, .cl = &f });

		ck_assert_uint_eq(f.requests, (size_t)(2 * i - 1));
		use_bytes(arena, 20 * KB);
		ck_assert_uint_eq(f.requests, (size_t)(2 * i));
		dispose_of_all(arena, &f);
	}
}

TEST(the_store_decays_when_the_load_falls)
{
	Thread *t = empty_handed();
	Arena_T arenas[SHELLS];
	int i, turn;

	for (i = 0; i < SHELLS; i++) {
		arenas[i] = Arena_new();
		use_bytes(arenas[i], 60 * KB);
	}
	for (i = 0; i < SHELLS; i++)
		Arena_dispose(&arenas[i]);
	ck_assert(!t || t->shells.n + t->spares.n > 20);
	for (turn = 0; turn < 1000; turn++) {
		Arena_T arena = Arena_new();

		Arena_alloc(arena, 100);
		Arena_dispose(&arena);
	}
	if (t) {
		ck_assert_int_eq(t->shells.n, 1);
		ck_assert_int_eq(t->spares.n, 0);
	}
}

static void *fill_store(void *cl)
{
	Arena_T arena = Arena_new(), other = Arena_new();

	use_bytes(arena, 200 * KB);
	Arena_dispose(&arena);
	Arena_dispose(&other);
	*(Thread **)cl = arena__thread();
	if (*(Thread **)cl)
		ck_assert_int_gt((*(Thread **)cl)->shells.n, 1);
	return NULL;
}

TEST(a_thread_that_ends_gives_its_store_back_and_its_record_to_the_next)
{
	Thread *first = NULL, *second = NULL;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, fill_store, &first), 0);
	pthread_join(thread, NULL);
	if (first) {
		ck_assert_int_eq(first->shells.n, 0);
		ck_assert_int_eq(first->spares.n, 0);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, fill_store, &second), 0);
	pthread_join(thread, NULL);
	ck_assert_ptr_eq(first, second);
}

static void *make_arena(void *cl)
{
	Arena_T *arena = cl;

	*arena = Arena_new();
	memset(Arena_alloc(*arena, 100), 1, 100);
	return NULL;
}

TEST(an_arena_outlives_its_owner_whose_record_another_thread_has)
{
	Arena_T arena, other;
	pthread_t thread;
	char *p;

	ck_assert_int_eq(pthread_create(&thread, NULL, make_arena, &arena), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, make_arena, &other), 0);
	pthread_join(thread, NULL);
	ck_assert(arena->owner == other->owner);
	p = memset(Arena_alloc(arena, 100), 2, 100);
	/* handed over at the first visit */
	ck_assert(!arena->owner || arena->owner == arena__thread());
	ck_assert_ptr_ne(memset(Arena_alloc(arena, 100), 3, 100), p);
	ck_assert_int_eq(p[99], 2);
	Arena_dispose(&arena);
	Arena_dispose(&other);
}

/* As if another thread, of which there is a record, had come and taken it since the last clear. */
static const Thread *give_to_another(Arena_T arena)
{
	Thread *other = arena__first_thread();

	while (other == arena__thread())
		other = other->next;
	arena->owner = other;
	arena->slow |= VISITED;
	return other;
}

TEST(a_second_visitor_since_a_clear_bumps_the_common_lane_and_leaves_the_owner)
{
	Arena_T arena = Arena_new(), elsewhere;
	pthread_t thread;
	int i;

	Arena_alloc(arena, 10);
	ck_assert_int_eq(pthread_create(&thread, NULL, make_arena, &elsewhere), 0);
	pthread_join(thread, NULL);
	if (arena->owner) {
		const Thread *other = give_to_another(arena);
		const char *before = arena->lane.avail;

		for (i = 0; i < 3000; i++)
			Arena_alloc(arena, 100);
		ck_assert(arena->owner == other);
		ck_assert_ptr_eq(arena->lane.avail, before);
		ck_assert_ptr_nonnull(arena->common.lane.avail);
		ck_assert_uint_ge(Arena_used(arena), 3000 * 100);
		Arena_mark(arena); /* which ends the common lane */
		ck_assert_ptr_null(arena->common.lane.avail);
		ck_assert(arena->owner == arena__thread());
		ck_assert_uint_ge(Arena_used(arena), 3000 * 100);
	}
	Arena_dispose(&arena);
	Arena_dispose(&elsewhere);
}

TEST(a_visitors_newest_block_grows_in_place_and_goes_back)
{
	Arena_T arena = Arena_new(), elsewhere;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, make_arena, &elsewhere), 0);
	pthread_join(thread, NULL);
	if (arena->owner) {
		char *p;
		size_t used;

		give_to_another(arena);
		Arena_alloc(arena, 100);
		used = Arena_used(arena);
		p = Arena_alloc(arena, 100);
		ck_assert_ptr_eq(Arena_realloc(arena, p, 100, 500), p);
		ck_assert_uint_eq(Arena_used(arena), used + 512);
		ck_assert_int_eq(arena__release(arena, p, 500), 1);
		ck_assert_uint_eq(Arena_used(arena), used);
		ck_assert_ptr_eq(Arena_alloc(arena, 16), p);
	}
	Arena_dispose(&arena);
	Arena_dispose(&elsewhere);
}

/* Fills the store with chunks of many sizes. */
static void store_a_ladder(size_t least)
{
	Arena_T arena = Arena_new();
	size_t i;

	for (i = 0; i < 16; i++)
		Arena_alloc(arena, least + i * least / 16);
	Arena_dispose(&arena);
}

/* The store may give a larger chunk than was asked for. */
TEST(what_is_kept_is_bounded_whatever_is_in_store)
{
	Arena_T elsewhere;
	pthread_t thread;
	size_t least;

	ck_assert_int_eq(pthread_create(&thread, NULL, make_arena, &elsewhere), 0);
	pthread_join(thread, NULL);
	for (least = 20 * KB; least < 60 * KB; least += KB) {
		Arena_T arena;

		empty_handed();
		store_a_ladder(least);
		arena = Arena_new();
		use_bytes(arena, KB);
		if (arena->owner)
			give_to_another(arena);
		use_bytes(arena, least);
		Arena_clear(arena);
		ck_assert_uint_le(Arena_capacity(arena), 2 * Arena_peak(arena));
		use_bytes(arena, least + 20 * KB);
		Arena_reset(arena, least);
		ck_assert_uint_le(Arena_capacity(arena), least);
		Arena_dispose(&arena);
	}
	Arena_dispose(&elsewhere);
}

static Arena_T shared;
static pthread_barrier_t turn;
static const Thread *visitor;
static const void *owners[2];

static void *allocate_twice(void *cl)
{
	int i;

	(void)cl;
	visitor = arena__thread();
	for (i = 0; i < 2; i++) {
		pthread_barrier_wait(&turn);
		memset(Arena_alloc(shared, 100), 1, 100);
		owners[i] = shared->owner;
		pthread_barrier_wait(&turn);
	}
	return NULL;
}

TEST(after_each_clear_the_first_visitor_becomes_the_owner)
{
	pthread_t thread;
	int i;

	shared = Arena_new();
	pthread_barrier_init(&turn, NULL, 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, allocate_twice, NULL), 0);
	for (i = 0; i < 2; i++) {
		Arena_alloc(shared, 100);
		pthread_barrier_wait(&turn);
		pthread_barrier_wait(&turn);
		Arena_alloc(shared, 100);
		ck_assert(arena__lanes_allowed ? shared->common.lane.avail != NULL : !shared->owner);
		ck_assert(owners[i] == visitor && shared->owner == visitor);
		Arena_clear(shared);
		ck_assert(shared->owner == arena__thread());
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&turn);
	Arena_dispose(&shared);
}

enum { PIECES = 400, PIECE = 200 };

static int wrong_bytes(char *const *p)
{
	int i, k, wrong = 0;

	for (i = 0; i < PIECES; i++)
		for (k = 0; k < PIECE; k++)
			wrong += p[i][k] != (char)i;
	return wrong;
}

/* In any order and proportion: the owner takes from the end of the common lane. */
TEST(owner_and_visitors_share_one_spare_without_overlap)
{
	struct Failing f;
	Arena_T arena = counted_arena(&f), elsewhere;
	pthread_t thread;
	size_t requests = 0;
	int cycle, i;

	ck_assert_int_eq(pthread_create(&thread, NULL, make_arena, &elsewhere), 0);
	pthread_join(thread, NULL);
	for (cycle = 0; arena->owner && cycle < 40; cycle++) {
		char *p[PIECES];

		for (i = 0; i < PIECES; i++) {
			if (i > 40 && i % 8 < cycle % 8) /* the owner's part of a cycle changes */
				arena->owner = arena__thread();
			else if (i >= 40)
				give_to_another(arena);
			p[i] = memset(Arena_alloc(arena, PIECE), i, PIECE);
		}
		ck_assert_int_eq(wrong_bytes(p), 0);
		Arena_clear(arena);
		if (cycle == 9)
			requests = f.requests;
	}
	ck_assert_uint_le(f.requests, requests + 1);
	if (cycle)
		ck_assert_uint_le(Arena_capacity(arena), 2 * Arena_peak(arena));
	dispose_of_all(arena, &f);
	Arena_dispose(&elsewhere);
}

/* This program is linked with the library's objects, so its constructors run before the
 * library's. */
static Arena_T made_before_main;

static void __attribute__((constructor(101))) make_before_main(void)
{
	Arena_T other = Arena_new();

	made_before_main = Arena_new();
	memset(Arena_alloc(made_before_main, 3 * MB), 1, 3 * MB);
	Arena_dispose(&other);
}

TEST(an_arena_may_be_made_before_main)
{
	const Thread *t = arena__first_thread();
	int i;

	while (t && t != record_now())
		t = t->next;
	ck_assert(t == record_now()); /* which is NULL where arenas are closed */
	for (i = 0; i < 100; i++) {
		Arena_T arena = Arena_new();

		use_bytes(arena, 60 * KB);
		Arena_dispose(&arena);
	}
	ck_assert_uint_eq(Arena_debug_live_count(), 1);
	Arena_clear(made_before_main);
	use_bytes(made_before_main, 60 * KB);
	Arena_dispose(&made_before_main);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

/* As on 32-bit ARM, where malloc aligns to 8 bytes. */
TEST(what_a_chunk_gives_is_aligned_wherever_the_chunk_is)
{
	_Alignas(ALIGN) char space[KB];
	size_t i;

	for (i = 0; i <= 2 * ALIGN; i += _Alignof(Chunk)) {
		Chunk *c = arena__make_chunk(space + i, KB - i);

		ck_assert_uint_eq((uintptr_t)chunk_start(c) % ALIGN, 0);
		ck_assert_uint_eq((uintptr_t)lane_end(c) % ALIGN, 0);
		ck_assert_uint_ge((size_t)(chunk_start(c) - space), i + sizeof(Chunk));
	}
}

/* As munmap refuses what is not, on a system with larger pages than this one's. */
/* nothing is mapped where objects have red zones */
TEST(what_is_mapped_is_whole_pages_of_up_to_64_kib, .unless = red_zone() || under_tsan())
{
	const Backing *b = &arena__default_backing;
	size_t size = 4 * MB + 1;
	char *p = b->alloc(size, b->cl);

	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(msync(p + 4 * MB, 64 * KB, MS_ASYNC), 0); /* all of it is there */
	b->free(p, size, b->cl);
	ck_assert_int_ne(msync(p + 4 * MB, 64 * KB, MS_ASYNC), 0);
}

#if HAVE_SECCOMP
/* As a program does that shuts itself in. 0: the kernel or an emulator has no such filters. */
static int forbid_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
	};
	struct sock_fprog filter = { sizeof code / sizeof code[0], code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
		&& prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static int forked_status(void (*work)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		work();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void make_one_here(void)
{
	Arena_T arena = NULL;

	make_arena(&arena);
	Arena_dispose(&arena);
}

static void report_and_fork_without_barriers(void)
{
	FILE *out = tmpfile();

	if (!out || !forbid_membarrier())
		return;
	Arena_debug_report(out);
	if (forked_status(make_one_here) != 0)
		abort();
}

TEST(a_process_of_one_thread_reports_and_forks_without_a_barrier)
{
	Arena_T arena = NULL;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, make_arena, &arena), 0);
	pthread_join(thread, NULL); /* one that has ended does not count */
	ck_assert_int_eq(forked_status(report_and_fork_without_barriers), 0);
	Arena_dispose(&arena);
}
#endif
