/* SPDX-License-Identifier: MIT */
/* HashTable: every kind of table through the same operations, beside a model that is an array; then
 * length, reserve, clear, shrink. */
#include "config.h"

#include "test_hashtable.h"

static void *take(HashTable_T t, HashTable_Kind kind, int n)
{
	Text text = text_of(kind, n);

	switch (kind) {
	case HashTable_INTEGER:
		return HashTable_remove_int(t, integer_of(n));
	case HashTable_POINTER:
		return HashTable_remove(t, n ? &numbers[n] : NULL);
	case HashTable_CUSTOM:
		return HashTable_remove(t, custom_of(n));
	case HashTable_BYTES:
		return HashTable_remove_bytes(t, text.bytes, text.length);
	default:
		return n % 2 ? HashTable_remove(t, text.bytes)
			: HashTable_remove_bytes(t, text.bytes, text.length);
	}
}

static int fails(HashTable_T t, HashTable_Kind kind, int n)
{
	volatile int failed = 0;

	TRY {
		put(t, kind, n, value(1));
	} EXCEPT(Arena_Failed) {
		failed = 1;
	} END_TRY;
	return failed;
}

/* ---- any kind, beside a model ---- */

SUITE("HashTable");
CASE("any kind", .setup = set_up, .teardown = tear_down);

static void model_remove(Model *m, int n)
{
	m->length -= (size_t)m->present[n];
	m->present[n] = 0;
}

static void put_perhaps_failing(HashTable_T t, HashTable_Kind kind, Model *m, struct Failing *f,
	int n, void *v)
{
	void *expected = m->present[n] ? m->values[n] : NULL;
	volatile int failed = 0;

	f->fail_at = below(3) ? -1 : 0;
	TRY {
		ck_assert_ptr_eq(put(t, kind, n, v), expected);
	} EXCEPT(Arena_Failed) {
		failed = 1;
	} END_TRY;
	f->fail_at = -1;
	ck_assert(!failed || !m->present[n]);
	if (!failed)
		model_put(m, n, v);
	ck_assert_uint_eq(HashTable_length(t), m->length);
}

/* Removes about half of what it meets, some through the iterator and some not. */
static void remove_while_iterating(HashTable_T t, HashTable_Kind kind, Model *m)
{
	HashTable_Iter it;

	HashTable_iterate(t, &it);
	while (HashTable_next(&it)) {
		int n = number_of(kind, &it);

		ck_assert(m->present[n]);
		switch (below(4)) {
		case 0:
			HashTable_iter_remove(&it);
			model_remove(m, n);
			break;
		case 1: /* any other; n itself, now and then */
			n = below(8) ? (int)below(NUMBERS) : n;
			ck_assert_ptr_eq(take(t, kind, n), m->present[n] ? m->values[n] : NULL);
			model_remove(m, n);
			break;
		default:
			break;
		}
	}
}

static void shrink_and_check(HashTable_T t, HashTable_Kind kind, const Model *m)
{
	HashTable_Stats before, after;

	HashTable_stats(t, &before);
	HashTable_shrink(t);
	HashTable_stats(t, &after);
	ck_assert_uint_le(after.bytes, before.bytes);
	check_all(t, kind, m);
}

static void step(HashTable_T *t, Arena_T a, HashTable_Kind kind, Model *m, struct Failing *f,
	unsigned range, int growing)
{
	int n = (int)below(range);
	unsigned what = below(10000);

	if (what < (growing ? 6000u : 3000u))
		put_perhaps_failing(*t, kind, m, f, n, below(50) ? value((size_t)what) : NULL);
	else if (what < 9000) {
		ck_assert_ptr_eq(take(*t, kind, n), m->present[n] ? m->values[n] : NULL);
		model_remove(m, n);
	} else if (what < 9980)
		ck_assert_ptr_eq(get(*t, kind, n), m->present[n] ? m->values[n] : NULL);
	else if (what < 9983)
		HashTable_reserve(*t, m->length + below(200));
	else if (what < 9985)
		shrink_and_check(*t, kind, m);
	else if (what < 9989)
		*t = HashTable_copy(*t, below(2) ? a : Arena_new_child(arena));
	else if (what < 9996)
		remove_while_iterating(*t, kind, m);
	else if (what < 9997) {
		HashTable_clear(*t);
		memset(m, 0, sizeof *m);
	} else
		check_all(*t, kind, m);
}

TEST(any_kind_does_as_its_model_does_with_memory_failing_now_and_then, .to = 2 * KINDS)
{
	HashTable_Kind kind = (HashTable_Kind)(_i % KINDS);
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	HashTable_T t = any_table(a, kind, _i < KINDS ? 0 : 10);
	Model m = { { 0 }, { 0 }, 0 };
	int i;

	random_state = 12345;
	for (i = 0; i < 30000; i++)
		step(&t, a, kind, &m, &f, i / 5000 % 2 ? 60 : NUMBERS, i / 3000 % 2 == 0);
	check_all(t, kind, &m);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

TEST(a_put_that_finds_no_memory_leaves_all_as_it_was, .to = 2 * KINDS)
{
	HashTable_Kind kind = (HashTable_Kind)(_i % KINDS);
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	HashTable_T t = any_table(a, kind, _i < KINDS ? 0 : 10);
	Model m = { { 0 }, { 0 }, 0 };
	HashTable_Stats before, after;
	int i, failures = 0;

	for (i = 0; i < 500; i++) {
		HashTable_stats(t, &before);
		f.fail_at = 0;
		if (fails(t, kind, i)) {
			failures++;
			HashTable_stats(t, &after);
			ck_assert_mem_eq(&before, &after, sizeof before);
			f.fail_at = -1;
			if (failures < 5)
				check_all(t, kind, &m);
			ck_assert_int_eq(fails(t, kind, i), 0);
		}
		model_put(&m, i, value(1));
	}
	ck_assert_int_gt(failures, 1);
	f.fail_at = -1;
	check_all(t, kind, &m);
	Arena_dispose(&a);
}

/* new, reserve and copy with the request number n failing, for every n until they succeed */
static int build(Arena_T a, HashTable_Kind kind)
{
	volatile int built = 0;

	TRY {
		HashTable_T t = any_table(a, kind, 40), copy;
		int i;

		for (i = 0; i < 40; i++)
			put(t, kind, i, value((size_t)i));
		HashTable_reserve(t, 400);
		copy = HashTable_copy(t, a);
		ck_assert_uint_eq(HashTable_length(copy), 40);
		if (kind != HashTable_INTEGER)
			HashTable_toArray(copy, a, NULL);
		HashTable_shrink(t);
		HashTable_entries(t, a, &(size_t){ 0 });
		built = 1;
	} EXCEPT(Arena_Failed) {
		built = 0;
	} END_TRY;
	return built;
}

TEST(every_request_for_memory_may_fail, .to = KINDS)
{
	int n, built = 0;

	for (n = 1; !built; n++) { /* 0 would be the arena's own */
		struct Failing f = { n, 0, 0, 0 };
		Arena_T a = failing_arena(&f);

		built = build(a, (HashTable_Kind)_i);
		Arena_dispose(&a);
		ck_assert_uint_eq(f.outstanding_blocks, 0);
	}
	ck_assert_int_gt(n, 3);
}

TEST(a_copy_to_its_own_arena_is_freed_when_it_fails)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	HashTable_T t = HashTable_new(NULL, 0), copy;
	size_t live = Arena_debug_live_count();

	HashTable_put(t, "key", value(1));
	f.fail_at = 0;
	ck_raises(Arena_Failed, HashTable_copy(t, a));
	copy = HashTable_copy(t, NULL);
	ck_assert_uint_eq(Arena_debug_live_count(), live + 1);
	HashTable_free(&copy);
	HashTable_free(&t);
	ck_assert_uint_eq(Arena_debug_live_count(), live - 1);
	Arena_dispose(&a);
}

/* ---- has, slot of integers and of bytes ---- */

TEST(slot_and_has_take_integers_and_bytes_as_keys)
{
	HashTable_T integers = any_table(arena, HashTable_INTEGER, 0),
		bytes = any_table(arena, HashTable_BYTES, 0);
	HashTable_T strings = any_table(arena, HashTable_STRING, 0);
	void **slot;

	ck_assert_int_eq(HashTable_has_int(integers, 7), 0);
	slot = HashTable_slot_int(integers, 7);
	ck_assert_ptr_null(*slot);
	*slot = value(7);
	ck_assert_ptr_eq(HashTable_slot_int(integers, 7), slot);
	ck_assert_ptr_eq(HashTable_get_int(integers, 7), value(7));
	*slot = NULL; /* a value like another */
	ck_assert_int_eq(HashTable_has_int(integers, 7), 1);

	slot = HashTable_slot_bytes(bytes, "a\0b", 3);
	ck_assert_ptr_null(*slot);
	*slot = value(3);
	ck_assert_ptr_eq(HashTable_get_bytes(bytes, "a\0b", 3), value(3));
	ck_assert_int_eq(HashTable_has_bytes(bytes, "a\0b", 3), 1);
	ck_assert_int_eq(HashTable_has_bytes(bytes, "a\0c", 3), 0);
	ck_assert_int_eq(HashTable_has_bytes(bytes, "a", 1), 0);

	*HashTable_slot_bytes(strings, "key and more", 3) = value(1);
	ck_assert_ptr_eq(HashTable_get(strings, "key"), value(1));
	ck_assert_int_eq(HashTable_has_bytes(strings, "key and", 3), 1);
	ck_raises_saying(Assert_Failed, "HashTable_has_bytes: the key is NULL",
		HashTable_has_bytes(strings, NULL, 0));
	ck_raises_saying(Assert_Failed, "HashTable_slot_bytes: the key is NULL",
		HashTable_slot_bytes(strings, NULL, 0));
	ck_raises_saying(Assert_Failed, "HashTable_has_int: the table is NULL",
		HashTable_has_int(NULL, 0));
	ck_raises_saying(Assert_Failed, "HashTable_slot_int: the table is NULL",
		HashTable_slot_int(NULL, 0));
	ck_raises_saying(Assert_Failed, "HashTable_has_bytes: the table is NULL",
		HashTable_has_bytes(NULL, "k", 1));
	ck_raises_saying(Assert_Failed, "HashTable_slot_bytes: the table is NULL",
		HashTable_slot_bytes(NULL, "k", 1));
}

/* ---- length, reserve, clear, shrink ---- */

/* Fills a table in an arena over f up to n entries, and leaves `rest` of them. */
static HashTable_T filled_and_emptied(Arena_T a, HashTable_Kind kind, Model *m, int n, int rest)
{
	HashTable_T t = any_table(a, kind, 0);
	int i;

	for (i = 0; i < n; i++) {
		put(t, kind, i, value((size_t)i));
		model_put(m, i, value((size_t)i));
	}
	for (i = rest; i < n; i++) {
		take(t, kind, i);
		model_remove(m, i);
	}
	return t;
}

TEST(a_removal_never_shrinks_and_shrink_leaves_what_the_entries_need, .to = KINDS)
{
	const int rests[] = { 0, 1, 15, 16, 200, NUMBERS };
	HashTable_Kind kind = (HashTable_Kind)_i;
	size_t i;

	for (i = 0; i < sizeof rests / sizeof rests[0]; i++) {
		static Model m;
		HashTable_Stats before, after, fresh;
		HashTable_T t, other;

		memset(&m, 0, sizeof m);
		t = filled_and_emptied(arena, kind, &m, NUMBERS, rests[i]);
		HashTable_stats(t, &before);
		HashTable_shrink(t);
		HashTable_stats(t, &after);
		other = any_table(arena, kind, (size_t)rests[i]);
		HashTable_stats(other, &fresh);
		ck_assert_uint_eq(after.bytes, fresh.bytes);
		ck_assert_uint_eq(after.resizes, before.resizes + (after.bytes < before.bytes));
		ck_assert_uint_eq(after.length, (size_t)rests[i]);
		check_all(t, kind, &m);
		HashTable_shrink(t); /* there is nothing left to do */
		HashTable_stats(t, &after);
		ck_assert_uint_le(after.resizes, before.resizes + 1);
		put(t, kind, NUMBERS - 1, value(1));
		model_put(&m, NUMBERS - 1, value(1));
		check_all(t, kind, &m);
	}
	ck_raises_saying(Assert_Failed, "HashTable_shrink: the table is NULL", HashTable_shrink(NULL));
}

/* 100 entries need no segment, 20,000 need several. */
TEST(shrink_gives_the_slots_of_many_segments_back, .to = 2, .unless = has_fences())
{
	const size_t rest = _i ? 20000 : 100;
	enum { MANY = 400000 }; /* the slots are a multiple of the arena's largest chunk */
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	HashTable_Options o = { .kind = HashTable_INTEGER };
	HashTable_T t = HashTable_new_with(a, &o);
	size_t i, full;

	for (i = 0; i < MANY; i++)
		HashTable_put_int(t, i, value(i));
	full = f.outstanding_bytes;
	for (i = rest; i < MANY; i++)
		HashTable_remove_int(t, i);
	ck_assert_uint_eq(f.outstanding_bytes, full);
	HashTable_shrink(t);
	ck_assert_uint_lt(f.outstanding_bytes, full / 4);
	for (i = 0; i < MANY; i++)
		ck_assert_ptr_eq(HashTable_get_int(t, i), i < rest ? value(i) : NULL);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

TEST(the_slots_that_a_shrink_leaves_serve_for_the_keys, .unless = has_fences())
{
	HashTable_T t = HashTable_new(arena, 0);
	char key[32];
	size_t used;
	int i;

	for (i = 0; i < 20000; i++) {
		snprintf(key, sizeof key, "key %d", i);
		HashTable_put(t, key, NULL);
	}
	for (i = 10; i < 20000; i++) {
		snprintf(key, sizeof key, "key %d", i);
		HashTable_remove(t, key);
	}
	HashTable_shrink(t);
	used = Arena_used(arena);
	for (i = 0; i < 100; i++) {
		snprintf(key, sizeof key, "another key, %d", i);
		HashTable_put(t, key, value((size_t)i));
	}
	ck_assert_uint_lt(Arena_used(arena), used + 16 * 1024);
	for (i = 0; i < 10; i++) {
		snprintf(key, sizeof key, "key %d", i);
		ck_assert_int_eq(HashTable_has(t, key), 1);
	}
}

TEST(a_shrink_that_finds_no_memory_leaves_all_as_it_was, .to = KINDS)
{
	HashTable_Kind kind = (HashTable_Kind)_i;
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	static Model m;
	HashTable_T t;
	HashTable_Stats before, after;

	memset(&m, 0, sizeof m);
	t = filled_and_emptied(a, kind, &m, NUMBERS, 400);
	HashTable_stats(t, &before);
	f.fail_at = 0;
	while (Arena_try_alloc(a, 1024)) /* what the arena still has */
		;
	ck_raises(Arena_Failed, HashTable_shrink(t));
	f.fail_at = -1;
	HashTable_stats(t, &after);
	ck_assert_mem_eq(&before, &after, sizeof before);
	check_all(t, kind, &m);
	HashTable_shrink(t);
	check_all(t, kind, &m);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

TEST(reserve_makes_room_and_never_shrinks)
{
	HashTable_T t = any_table(arena, HashTable_INTEGER, 0);
	HashTable_Stats s;
	size_t i;

	HashTable_put_int(t, 0, value(0));
	HashTable_reserve(t, 1000);
	HashTable_stats(t, &s);
	ck_assert_uint_eq(s.resizes, 2);
	ck_assert_uint_ge(s.capacity, 1000);
	HashTable_reserve(t, 10);
	HashTable_reserve(t, 1000);
	for (i = 1; i < 1000; i++)
		HashTable_put_int(t, i, value(i));
	HashTable_stats(t, &s);
	ck_assert_uint_eq(s.resizes, 2);
	for (i = 0; i < 1000; i++)
		ck_assert_ptr_eq(HashTable_get_int(t, i), value(i));
}

TEST(reserve_holds_after_many_removals)
{
	HashTable_T t = any_table(arena, HashTable_INTEGER, 840);
	HashTable_Stats before, after;
	uint64_t i, n = 840;

	for (i = 0; i < n; i++)
		HashTable_put_int(t, i, NULL);
	for (i = 0; i < n - 100; i++)
		HashTable_remove_int(t, i);
	HashTable_stats(t, &before);
	ck_assert_uint_lt(before.capacity, n); /* some room was lost in the filters */
	HashTable_reserve(t, n);
	HashTable_stats(t, &after);
	ck_assert_uint_ge(after.capacity, n);
	ck_assert_uint_eq(after.bytes, before.bytes);
	for (i = n - 100; i < n; i++)
		ck_assert_msg(HashTable_put_int(t, i, value(1)) == NULL && HashTable_length(t) == 100, "%d",
			(int)i);
}

TEST(clear_keeps_the_memory_for_the_next_batch)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	HashTable_T t = any_table(a, HashTable_STRING, 0);
	Model m = { { 0 }, { 0 }, 0 };
	size_t requests = 0, used = 0;
	int batch, i;

	for (batch = 0; batch < 4; batch++) {
		HashTable_clear(t);
		ck_assert_uint_eq(HashTable_length(t), 0);
		check_all(t, HashTable_STRING, &m);
		for (i = 0; i < 1000; i++)
			put(t, HashTable_STRING, i, value((size_t)i));
		if (batch >= 1) {
			ck_assert(batch == 1 || f.requests == requests);
			ck_assert(batch == 1 || Arena_used(a) == used);
			requests = f.requests;
			used = Arena_used(a);
		}
	}
	Arena_dispose(&a);
}

TEST(keys_that_come_and_go_leave_the_arena_as_large_as_it_was)
{
	HashTable_T t = HashTable_new(arena, 0);
	size_t used = 0;
	char key[64];
	int i;

	for (i = 0; i < 40000; i++) {
		snprintf(key, sizeof key, "session %d %.*s", i, i % 30, "..............................");
		HashTable_put(t, key, value((size_t)i));
		if (i >= 500) {
			snprintf(key, sizeof key, "session %d %.*s", i - 500, (i - 500) % 30,
				"..............................");
			ck_assert_ptr_eq(HashTable_remove(t, key), value((size_t)i - 500));
		}
		if (i == 20000)
			used = Arena_used(arena);
	}
	ck_assert_uint_le(Arena_used(arena), used + used / 10);
}

/* The room for 840 has to be cleaned from time to time; at 787 entries the table would grow. */
TEST(a_table_in_steady_use_stays_fast_and_asks_for_no_memory, .to = 2)
{
	const uint64_t entries = _i ? 785 : 600;
	HashTable_T t = any_table(arena, HashTable_INTEGER, 840);
	HashTable_Stats s;
	size_t used;
	uint64_t i;

	for (i = 0; i < entries; i++)
		HashTable_put_int(t, i, value(1));
	used = Arena_used(arena);
	for (i = entries; i < 200000; i++) {
		HashTable_put_int(t, i, value(1));
		ck_assert_ptr_eq(HashTable_remove_int(t, i - entries), value(1));
	}
	HashTable_stats(t, &s);
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_uint_gt(s.resizes, 0);
	ck_assert_double_lt(s.mean_probe, 1.5);
}
