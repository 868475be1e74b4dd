/* SPDX-License-Identifier: MIT */
/* HashTable: map, iterators, copies; the resize callbacks, statistics, memory, threads. */
#include "config.h"

#include "test_hashtable.h"

/* ---- map ---- */

SUITE("HashTable");
CASE("walks", .setup = set_up, .teardown = tear_down);

static void add_up(const void *key, void **v, void *cl)
{
	uint64_t *sum = cl;

	*sum += *(const uint64_t *)key;
	*v = value(7);
}

TEST(map_visits_each_entry_once_and_may_change_its_value)
{
	HashTable_T t = any_table(arena, HashTable_INTEGER, 0);
	uint64_t i, sum = 0;

	for (i = 0; i < 1000; i++)
		HashTable_put_int(t, i, NULL);
	HashTable_map(t, add_up, &sum);
	ck_assert_uint_eq(sum, 499500);
	for (i = 0; i < 1000; i++)
		ck_assert_ptr_eq(HashTable_get_int(t, i), value(7));
	ck_raises(Assert_Failed, HashTable_map(t, NULL, NULL));
}

static HashTable_T mapped;
static int visits;

static void insert_one(const void *key, void **v, void *cl)
{
	(void)key;
	(void)v;
	(void)cl;
	visits++;
	HashTable_put(mapped, "another", NULL);
}

static void remove_another(const void *key, void **v, void *cl)
{
	(void)cl;
	visits++;
	/* partners have numbers n and n ^ 1 */
	HashTable_remove(mapped, &numbers[((const Number *)key)->number ^ 1]);
	ck_assert_ptr_eq(*v, value((size_t)((const Number *)key)->number));
}

TEST(inserting_inside_map_is_a_checked_runtime_error)
{
	mapped = HashTable_new(arena, 0);
	visits = 0;
	HashTable_put(mapped, "one", NULL);
	HashTable_put(mapped, "two", NULL);
	ck_raises_saying(Assert_Failed, "inserted", HashTable_map(mapped, insert_one, NULL));
	ck_assert_int_eq(visits, 1);
}

TEST(map_skips_what_its_function_removed)
{
	int i;

	mapped = any_table(arena, HashTable_CUSTOM, 0);
	visits = 0;
	for (i = 0; i < 1000; i++)
		HashTable_put(mapped, &numbers[i], value((size_t)i));
	HashTable_map(mapped, remove_another, NULL);
	ck_assert_int_eq(visits, 500);
	ck_assert_uint_eq(HashTable_length(mapped), 500);
}

/* ---- iterators ---- */

TEST(an_iterator_is_stale_after_an_insertion_or_a_resize)
{
	HashTable_T t = HashTable_new(arena, 0);
	HashTable_Iter it;

	HashTable_put(t, "one", NULL);
	HashTable_put(t, "two", NULL);
	HashTable_iterate(t, &it);
	ck_assert_int_eq(HashTable_next(&it), 1);
	HashTable_put(t, "two", value(2)); /* not an insertion */
	ck_assert_int_eq(HashTable_next(&it), 1);
	HashTable_put(t, "three", NULL);
	ck_raises_saying(Assert_Failed, "HashTable_next: insertion", HashTable_next(&it));
	ck_raises(Assert_Failed, HashTable_iter_remove(&it));
	HashTable_iterate(t, &it);
	HashTable_reserve(t, 1000);
	ck_raises(Assert_Failed, HashTable_next(&it));
	HashTable_iterate(t, &it);
	ck_assert_int_eq(HashTable_next(&it), 1);
	HashTable_shrink(t);
	ck_raises(Assert_Failed, HashTable_next(&it));
}

static void shrink_in_map(const void *key, void **v, void *cl)
{
	(void)key;
	(void)v;
	HashTable_shrink(cl);
}

TEST(shrinking_inside_map_is_a_checked_runtime_error)
{
	HashTable_T t = HashTable_new(arena, 1000);

	HashTable_put(t, "one", NULL);
	HashTable_put(t, "two", NULL);
	ck_raises(Assert_Failed, HashTable_map(t, shrink_in_map, t));
	ck_assert_uint_eq(HashTable_length(t), 2);
}

TEST(iter_remove_needs_an_entry_at_hand)
{
	HashTable_T t = HashTable_new(arena, 0);
	HashTable_Iter it;

	HashTable_put(t, "one", value(1));
	HashTable_put(t, "two", value(2));
	HashTable_iterate(t, &it);
	ck_raises_saying(Assert_Failed, "returned no entry", HashTable_iter_remove(&it));
	ck_assert_int_eq(HashTable_next(&it), 1);
	HashTable_iter_remove(&it);
	ck_raises(Assert_Failed, HashTable_iter_remove(&it));
	ck_assert_int_eq(HashTable_next(&it), 1);
	HashTable_remove(t, it.key);
	ck_raises(Assert_Failed, HashTable_iter_remove(&it));
	ck_assert_int_eq(HashTable_next(&it), 0);
	ck_raises(Assert_Failed, HashTable_iter_remove(&it));
	ck_assert_uint_eq(HashTable_length(t), 0);
	ck_raises(Assert_Failed, HashTable_iterate(t, NULL));
}

TEST(clear_ends_an_iteration)
{
	HashTable_T t = HashTable_new(arena, 0);
	HashTable_Iter it;

	HashTable_put(t, "one", value(1));
	HashTable_put(t, "two", value(2));
	HashTable_iterate(t, &it);
	HashTable_next(&it);
	HashTable_clear(t);
	ck_assert_int_eq(HashTable_next(&it), 0);
}

static size_t order_of(uint64_t seed, uint64_t *keys)
{
	HashTable_Options o = { 0 };
	HashTable_Iter it;
	HashTable_T t;
	size_t n = 0;
	uint64_t i;

	o.kind = HashTable_INTEGER;
	o.seed = seed;
	t = HashTable_new_with(arena, &o);
	for (i = 0; i < 300; i++)
		HashTable_put_int(t, i, NULL);
	for (i = 0; i < 300; i += 3)
		HashTable_remove_int(t, i);
	HashTable_iterate(t, &it);
	while (HashTable_next(&it))
		keys[n++] = it.int_key;
	return n;
}

TEST(the_order_is_equal_for_equal_histories_and_seeds_and_else_different)
{
	uint64_t first[300], again[300], other[300], own1[300], own2[300];
	size_t n = order_of(42, first);

	ck_assert_uint_eq(n, 200);
	ck_assert_uint_eq(order_of(42, again), n);
	order_of(43, other);
	order_of(0, own1);
	order_of(0, own2);
	ck_assert_mem_eq(first, again, n * sizeof first[0]);
	ck_assert_int_ne(memcmp(first, other, n * sizeof first[0]), 0);
	ck_assert_int_ne(memcmp(own1, own2, n * sizeof first[0]), 0);
}

/* ---- toArray, copy ---- */

TEST(toArray_gives_keys_and_values_and_the_end)
{
	HashTable_T t = HashTable_new(arena, 0);
	void **array = HashTable_toArray(t, arena, value(99));
	int i;

	ck_assert_ptr_eq(array[0], value(99));
	HashTable_put(t, "one", value(1));
	HashTable_put(t, "two", value(2));
	array = HashTable_toArray(t, arena, NULL);
	for (i = 0; array[i]; i += 2)
		ck_assert_ptr_eq(array[i + 1], value(strcmp(array[i], "one") == 0 ? 1 : 2));
	ck_assert_int_eq(i, 4);
	ck_raises(Assert_Failed, HashTable_toArray(t, NULL, NULL));
}

static int compare_entries(const void *x, const void *y)
{
	return strcmp(((const HashTable_Entry *)x)->key, ((const HashTable_Entry *)y)->key);
}

TEST(entries_are_those_of_the_table_for_sorting, .to = KINDS)
{
	HashTable_Kind kind = (HashTable_Kind)_i;
	HashTable_T t = any_table(arena, kind, 0);
	HashTable_Entry *e;
	HashTable_Iter it;
	size_t n = 1, i;

	e = HashTable_entries(t, arena, &n);
	ck_assert_ptr_nonnull(e);
	ck_assert_uint_eq(n, 0);
	for (i = 0; i < 100; i++)
		put(t, kind, (int)i, value(i));
	e = HashTable_entries(t, arena, &n);
	ck_assert_uint_eq(n, 100);
	HashTable_iterate(t, &it);
	for (i = 0; HashTable_next(&it); i++) {
		ck_assert_ptr_eq(e[i].key, it.key);
		ck_assert_uint_eq(e[i].key_length, it.key_length);
		ck_assert_uint_eq(e[i].int_key, it.int_key);
		ck_assert_ptr_eq(e[i].value, it.value);
		ck_assert_ptr_eq(get(t, kind, number_of(kind, &it)), e[i].value);
	}
	ck_assert_uint_eq(i, n);
	if (kind == HashTable_POINTER || kind == HashTable_CUSTOM || kind == HashTable_INTEGER)
		ck_assert_uint_eq(e[0].key_length, 0);
	if (kind == HashTable_STRING) {
		qsort(e, n, sizeof *e, compare_entries);
		for (i = 1; i < n; i++)
			ck_assert_int_lt(strcmp(e[i - 1].key, e[i].key), 0);
	}
	ck_raises_saying(Assert_Failed, "HashTable_entries: the table is NULL",
		HashTable_entries(NULL, arena, &n));
	ck_raises_saying(Assert_Failed, "HashTable_entries: the arena is NULL",
		HashTable_entries(t, NULL, &n));
	ck_raises_saying(Assert_Failed, "HashTable_entries: the place",
		HashTable_entries(t, arena, NULL));
}

TEST(a_copy_has_the_same_entries_and_lives_by_itself, .to = KINDS)
{
	HashTable_Kind kind = (HashTable_Kind)_i;
	HashTable_T t = any_table(NULL, kind, 0), copy = HashTable_copy(t, arena);
	Model m = { { 0 }, { 0 }, 0 };
	int i;

	check_all(copy, kind, &m);
	for (i = 0; i < 400; i++) {
		put(t, kind, i, value((size_t)i));
		model_put(&m, i, value((size_t)i));
		if (i == 10 || i == 399) {
			copy = HashTable_copy(t, arena);
			check_all(copy, kind, &m);
		}
	}
	HashTable_free(&t);
	check_all(copy, kind, &m);
	for (i = 400; i < 1000; i++) {
		put(copy, kind, i, value(0));
		model_put(&m, i, value(0));
	}
	check_all(copy, kind, &m);
}

TEST(a_copy_has_the_order_of_the_original)
{
	HashTable_T t = HashTable_new(arena, 0), copy;
	HashTable_Iter x, y;
	int i;

	for (i = 0; i < 200; i++)
		put(t, HashTable_STRING, i, NULL);
	copy = HashTable_copy(t, NULL);
	HashTable_iterate(t, &x);
	HashTable_iterate(copy, &y);
	while (HashTable_next(&x)) {
		ck_assert_int_eq(HashTable_next(&y), 1);
		ck_assert_str_eq(x.key, y.key);
		ck_assert_ptr_ne(x.key, y.key);
	}
	HashTable_free(&copy);
}

/* ---- the resize callbacks ---- */

CASE("resizes", .setup = set_up, .teardown = tear_down);

typedef struct Watch {
	int pre, post, raise_in_pre, raise_in_post;
	size_t entries, capacity;
} Watch;

static const Except_T Refused = { "refused", NULL, NULL };

static void check_readable(HashTable_T t, size_t n)
{
	size_t i;

	ck_assert_uint_eq(HashTable_length(t), n);
	for (i = 0; i < n; i++)
		ck_assert_ptr_eq(HashTable_get_int(t, i), value(i));
}

static void before_resize(HashTable_T t, void *userdata)
{
	Watch *w = userdata;
	HashTable_Stats s;

	w->pre++;
	check_readable(t, w->entries);
	HashTable_stats(t, &s);
	w->capacity = s.capacity;
	if (w->raise_in_pre)
		RAISE(Refused);
}

static void after_resize(HashTable_T t, void *userdata)
{
	Watch *w = userdata;
	HashTable_Stats s;

	w->post++;
	ck_assert_int_eq(w->post, w->pre);
	check_readable(t, w->entries);
	HashTable_stats(t, &s);
	ck_assert_uint_gt(s.capacity, w->capacity);
	if (w->raise_in_post)
		RAISE(Refused);
}

static HashTable_T watched(Arena_T a, Watch *w)
{
	HashTable_T t = any_table(a, HashTable_INTEGER, 0);

	HashTable_set_pre_resize_callback(t, before_resize, w);
	HashTable_set_post_resize_callback(t, after_resize, w);
	return t;
}

static void add_watched(HashTable_T t, Watch *w)
{
	HashTable_put_int(t, w->entries, value(w->entries));
	w->entries++;
}

TEST(the_callbacks_run_around_every_resize_and_see_the_table)
{
	Watch w = { 0 };
	HashTable_T t = watched(arena, &w);
	HashTable_Stats s;

	while (w.entries < 2000)
		add_watched(t, &w);
	HashTable_stats(t, &s);
	ck_assert_uint_eq((size_t)w.pre, s.resizes);
	ck_assert_int_eq(w.post, w.pre);
	ck_assert_int_ge(w.pre, 7);
	HashTable_reserve(t, 10000);
	ck_assert_uint_eq((size_t)w.post, s.resizes + 1);
	HashTable_set_pre_resize_callback(t, NULL, NULL);
	HashTable_set_post_resize_callback(t, NULL, NULL);
	HashTable_reserve(t, 100000);
	ck_assert_uint_eq((size_t)w.post, s.resizes + 1);
	check_readable(t, 2000);
}

TEST(a_raise_in_the_pre_callback_leaves_all_as_it_was)
{
	Watch w = { 0 };
	HashTable_T t = watched(arena, &w);
	HashTable_Stats before, after;
	size_t used;

	while (w.entries < 15)
		add_watched(t, &w);
	HashTable_stats(t, &before);
	used = Arena_used(arena);
	w.raise_in_pre = 1;
	ck_raises(Refused, HashTable_put_int(t, 15, NULL));
	ck_raises(Refused, HashTable_reserve(t, 100));
	HashTable_stats(t, &after);
	ck_assert_mem_eq(&before, &after, sizeof before);
	ck_assert_uint_eq(Arena_used(arena), used);
	check_readable(t, 15);
	w.raise_in_pre = 0;
	HashTable_set_post_resize_callback(t, NULL, NULL);
	add_watched(t, &w);
	check_readable(t, 16);
}

TEST(a_raise_in_the_post_callback_stores_nothing_and_the_table_is_sound)
{
	Watch w = { 0 };
	HashTable_T t = watched(arena, &w);

	while (w.entries < 15)
		add_watched(t, &w);
	w.raise_in_post = 1;
	ck_raises(Refused, HashTable_put_int(t, 15, NULL));
	check_readable(t, 15);
	w.raise_in_post = 0;
	add_watched(t, &w);
	check_readable(t, 16);
}

TEST(memory_that_runs_out_after_the_pre_callback_leaves_all_as_it_was)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	Watch w = { 0 };
	HashTable_T t = watched(a, &w);
	HashTable_Stats before, after;
	int post;

	while (w.entries < 840)
		add_watched(t, &w);
	HashTable_stats(t, &before);
	post = w.post;
	f.fail_at = 0;
	ck_raises(Arena_Failed, HashTable_put_int(t, 840, NULL));
	HashTable_stats(t, &after);
	ck_assert_mem_eq(&before, &after, sizeof before);
	ck_assert_int_eq(w.post, post);
	check_readable(t, 840);
	f.fail_at = -1;
	w.post++; /* the pre callback has run once more */
	add_watched(t, &w);
	check_readable(t, 841);
	Arena_dispose(&a);
}

static void write_in_callback(HashTable_T t, void *userdata)
{
	HashTable_T freed = t;
	HashTable_Iter it;

	++*(int *)userdata;
	ck_raises_saying(Assert_Failed, "resize callback", HashTable_put(t, "other", NULL));
	ck_raises(Assert_Failed, HashTable_put(t, "one", NULL));
	ck_raises(Assert_Failed, HashTable_put_bytes(t, "one", 3, NULL));
	ck_raises(Assert_Failed, HashTable_slot(t, "one"));
	ck_raises(Assert_Failed, HashTable_remove(t, "one"));
	ck_raises(Assert_Failed, HashTable_remove_bytes(t, "one", 3));
	ck_raises(Assert_Failed, HashTable_clear(t));
	ck_raises(Assert_Failed, HashTable_reserve(t, 10000));
	ck_raises_saying(Assert_Failed, "HashTable_shrink: called from a resize callback",
		HashTable_shrink(t));
	ck_raises(Assert_Failed, HashTable_slot_bytes(t, "one", 3));
	ck_raises(Assert_Failed, HashTable_free(&freed));
	HashTable_iterate(t, &it);
	ck_assert_int_eq(HashTable_next(&it), 1);
	ck_raises(Assert_Failed, HashTable_iter_remove(&it));
	ck_assert_uint_eq(HashTable_length(HashTable_copy(t, arena)), 1);
	ck_assert_int_eq(HashTable_has(t, "one"), 1);
	ck_assert_ptr_eq(HashTable_toArray(t, arena, NULL)[1], value(1));
}

TEST(a_callback_may_read_and_writing_is_a_checked_runtime_error)
{
	HashTable_T t = HashTable_new(arena, 0);
	int calls = 0;

	HashTable_put(t, "one", value(1));
	HashTable_set_pre_resize_callback(t, write_in_callback, &calls);
	HashTable_set_post_resize_callback(t, write_in_callback, &calls);
	HashTable_reserve(t, 100);
	ck_assert_int_eq(calls, 2);
	HashTable_put(t, "two", value(2));
	ck_assert_uint_eq(HashTable_length(t), 2);
}

static void refuse(HashTable_T t, void *userdata)
{
	(void)t;
	(void)userdata;
	RAISE(Refused);
}

static void be_refused(HashTable_T t, int times)
{
	char key[32];
	volatile int i;

	for (i = 0; i < times; i++) {
		snprintf(key, sizeof key, "refused %.*s", i % 16, "................");
		ck_raises(Refused, HashTable_put(t, key, NULL));
	}
}

TEST(a_copied_key_is_given_back_when_its_put_raises)
{
	HashTable_T t = HashTable_new(arena, 0);
	size_t used;
	int i;

	for (i = 0; i < 15; i++)
		put(t, HashTable_STRING, i, NULL);
	HashTable_set_pre_resize_callback(t, refuse, NULL);
	be_refused(t, 100);
	used = Arena_used(arena);
	be_refused(t, 1000);
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_uint_eq(HashTable_length(t), 15);
}

/* ---- stats, memory, hashing ---- */

TEST(stats_count_bytes_and_probes)
{
	HashTable_T t = any_table(arena, HashTable_INTEGER, 15);
	HashTable_Stats s;

	HashTable_put_int(t, 1, NULL);
	HashTable_stats(t, &s);
	ck_assert_uint_eq(s.length, 1);
	ck_assert_uint_eq(s.capacity, 15);
	/* the tags, then the slots */
	ck_assert_uint_eq(s.bytes, (16 + 15 * (sizeof(uint64_t) + sizeof(void *)) + 15) / 16 * 16);
	ck_assert_uint_eq(s.resizes, 0);
	ck_assert_uint_eq(s.longest_probe, 1);
	ck_assert_double_eq(s.mean_probe, 1.0);
	ck_raises(Assert_Failed, HashTable_stats(t, NULL));
}

TEST(a_table_grown_from_empty_holds_less_than_twice_its_storage)
{
	HashTable_T t = any_table(arena, HashTable_INTEGER, 0);
	HashTable_Stats s;
	uint64_t i;

	for (i = 0; i < 100000; i++) {
		HashTable_put_int(t, i, NULL);
		if ((i & (i - 1)) == 0 || i == 99999) {
			HashTable_stats(t, &s);
			ck_assert_uint_le(Arena_used(arena), 2 * s.bytes + 1024);
		}
	}
}

TEST(outgrown_storage_serves_for_the_keys)
{
	HashTable_T t = HashTable_new(arena, 0);
	size_t key_bytes = 0;
	HashTable_Stats s;
	char key[32];
	int i;

	for (i = 0; i < 50000; i++) {
		key_bytes += ((size_t)snprintf(key, sizeof key, "%015d", i) + 1 + 7) / 8 * 8;
		HashTable_put(t, key, NULL);
	}
	HashTable_stats(t, &s);
	ck_assert_uint_le(Arena_used(arena), s.bytes + s.bytes / 2 + key_bytes + key_bytes / 4);
}

TEST(storage_that_is_the_newest_of_its_arena_grows_where_it_is)
{
	Arena_T big = Arena_new_with_size(4 << 20);
	HashTable_T t = any_table(big, HashTable_INTEGER, 0);
	HashTable_Stats s;
	uint64_t i;

	for (i = 0; i < 50000; i++)
		HashTable_put_int(t, i, value(i));
	HashTable_stats(t, &s);
	ck_assert_uint_le(Arena_used(big), s.bytes + s.bytes / 6 + 1024);
	for (i = 0; i < 50000; i++)
		ck_assert_ptr_eq(HashTable_get_int(t, i), value(i));
	ck_assert_ptr_null(HashTable_get_int(t, 50000));
	Arena_dispose(&big);
}

/* Families of keys that collide under weak hashes: equal low bits, equal high bits, and so on. */
static uint64_t family(int which, uint64_t i)
{
	switch (which) {
	case 0: return i;
	case 1: return i << 32;
	case 2: return i << 48;
	case 3: return i << 16;
	case 4: return i * 0x0000000100000001u;
	case 5: return i * 65521;
	case 6: return ~i;
	default: return i << 32 | (i ^ 0xffff);
	}
}

TEST(built_keys_do_not_make_a_slow_table, .to = 8)
{
	HashTable_T integers = any_table(arena, HashTable_INTEGER, 0),
		bytes = any_table(arena, HashTable_BYTES, 0),
		strings = any_table(arena, HashTable_STRING, 0),
		nocase = any_table(arena, HashTable_STRING_NOCASE, 0);
	HashTable_T tables[4] = { integers, bytes, strings, nocase };
	char text[40];
	uint64_t i;
	int n;

	for (i = 0; i < 65536; i++) {
		uint64_t key = family(_i, i);

		HashTable_put_int(integers, key, NULL);
		HashTable_put_bytes(bytes, &key, sizeof key, NULL);
		snprintf(text, sizeof text, _i % 2 ? "%021llu" : "Aa%llu", (unsigned long long)key);
		HashTable_put(strings, text, NULL);
		HashTable_put(nocase, text, NULL);
	}
	for (n = 0; n < 4; n++) {
		HashTable_Stats s;

		HashTable_stats(tables[n], &s);
		ck_assert_uint_eq(s.length, 65536);
		ck_assert_uint_le(s.longest_probe, 24);
		ck_assert_double_lt(s.mean_probe, 1.2);
	}
}

/* ---- threads ---- */

enum { READERS = 4, SHARED = 2000 };
static HashTable_T shared;

static void *read_all(void *cl)
{
	HashTable_Iter it;
	HashTable_Stats s;
	size_t n = 0;
	char key[32];
	int i, round;

	(void)cl;
	for (round = 0; round < 3; round++)
		for (i = 0; i < SHARED; i++) {
			snprintf(key, sizeof key, "key %d", i);
			if (HashTable_get(shared, key) != value((size_t)i))
				return "a wrong value";
			key[0] = 'K';
			if (HashTable_has(shared, key))
				return "a key that is not there";
		}
	HashTable_iterate(shared, &it);
	while (HashTable_next(&it))
		n++;
	HashTable_stats(shared, &s);
	return n == SHARED && s.length == SHARED ? NULL : "a wrong number of entries";
}

TEST(any_number_of_threads_may_read)
{
	pthread_t readers[READERS];
	char key[32];
	void *wrong;
	int i;

	shared = HashTable_new(arena, 0);
	for (i = 0; i < SHARED; i++) {
		snprintf(key, sizeof key, "key %d", i);
		HashTable_put(shared, key, value((size_t)i));
	}
	for (i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&readers[i], NULL, read_all, NULL), 0);
	for (i = 0; i < READERS; i++) {
		pthread_join(readers[i], &wrong);
		ck_assert_msg(!wrong, "%s", (char *)wrong);
	}
}

static void *make_tables(void *cl)
{
	int i;

	for (i = 0; i < 100; i++) {
		HashTable_T t = any_table(cl, HashTable_INTEGER, 0);

		HashTable_put_int(t, 1, value(1));
		if (HashTable_get_int(t, 1) != value(1))
			return "a wrong value";
	}
	return NULL;
}

TEST(threads_make_tables_on_one_arena_at_once)
{
	pthread_t makers[READERS];
	void *wrong;
	int i;

	for (i = 0; i < READERS; i++)
		ck_assert_int_eq(pthread_create(&makers[i], NULL, make_tables, arena), 0);
	for (i = 0; i < READERS; i++) {
		pthread_join(makers[i], &wrong);
		ck_assert_msg(!wrong, "%s", (char *)wrong);
	}
}
