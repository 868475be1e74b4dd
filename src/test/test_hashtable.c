/* SPDX-License-Identifier: MIT */
/* HashTable, in the order of its header: new and free, put, get, has, remove, slot. */
#include "config.h"

#include "test_hashtable.h"

/* ---- new, free ---- */

SUITE("HashTable");
CASE("calls", .setup = set_up, .teardown = tear_down);

TEST(a_new_table_is_empty_and_allocates_no_slots)
{
	HashTable_T t = HashTable_new(arena, 0);
	HashTable_Stats s;

	ck_assert_uint_eq(HashTable_length(t), 0);
	ck_assert_ptr_null(HashTable_get(t, "absent"));
	ck_assert_ptr_null(HashTable_remove(t, "absent"));
	HashTable_clear(t);
	HashTable_stats(t, &s);
	ck_assert_uint_eq(s.bytes, 0);
	ck_assert_uint_eq(s.capacity, 0);
}

TEST(a_hint_makes_room_before_the_first_resize)
{
	static const size_t hints[] = { 1, 15, 16, 26, 27, 52, 53, 1000 };
	size_t i, n;

	for (i = 0; i < sizeof hints / sizeof hints[0]; i++) {
		HashTable_T t = any_table(arena, HashTable_INTEGER, hints[i]);
		HashTable_Stats s;

		for (n = 0; n < hints[i]; n++)
			HashTable_put_int(t, n, NULL);
		HashTable_stats(t, &s);
		ck_assert_uint_eq(s.resizes, 0);
		ck_assert_uint_ge(s.capacity, hints[i]);
	}
}

TEST(a_small_table_is_one_small_allocation)
{
	size_t before = Arena_used(arena);
	HashTable_T t = any_table(arena, HashTable_INTEGER, 15);
	size_t i, after = Arena_used(arena);

	ck_assert_uint_le(after - before, 256 + 400);
	for (i = 0; i < 15; i++)
		HashTable_put_int(t, i, value(i));
	ck_assert_uint_eq(Arena_used(arena), after);
	ck_assert_ptr_eq(HashTable_get_int(t, 14), value(14));
	ck_assert_ptr_null(HashTable_get_int(t, 15));
}

TEST(without_an_arena_a_table_has_its_own_and_free_disposes_of_it)
{
	size_t live = Arena_debug_live_count();
	HashTable_T t = HashTable_new(NULL, 10);

	ck_assert_uint_eq(Arena_debug_live_count(), live + 1);
	HashTable_put(t, "key", value(1));
	ck_assert_ptr_eq(HashTable_get(t, "key"), value(1));
	HashTable_free(&t);
	ck_assert_ptr_null(t);
	ck_assert_uint_eq(Arena_debug_live_count(), live);
}

TEST(free_takes_null_and_a_pointer_to_null)
{
	HashTable_T t = NULL;

	HashTable_free(NULL);
	HashTable_free(&t);
}

TEST(a_freed_table_is_a_checked_runtime_error)
{
	HashTable_T t = HashTable_new(arena, 4), copy = t;

	HashTable_free(&t);
	ck_assert_ptr_null(t);
	ck_raises_saying(Assert_Failed, "not a live table", HashTable_get(copy, "key"));
	ck_raises(Assert_Failed, HashTable_free(&copy));
}

TEST(free_gives_the_newest_memory_back_to_the_arena, .unless = has_fences())
{
	size_t before = Arena_used(arena);
	HashTable_T small = any_table(arena, HashTable_INTEGER, 10), large;

	HashTable_free(&small);
	ck_assert_uint_le(Arena_used(arena), before + 64);
	large = any_table(arena, HashTable_INTEGER, 200);
	ck_assert_uint_gt(Arena_used(arena), before + 200 * (sizeof(uint64_t) + sizeof(void *)));
	HashTable_free(&large); /* its slots, which came last */
	ck_assert_uint_le(Arena_used(arena), before + 600);
}

TEST(null_is_no_table)
{
	HashTable_Iter it;
	HashTable_Stats s;

	ck_raises_saying(Assert_Failed, "HashTable_put: the table is NULL",
		HashTable_put(NULL, "k", NULL));
	ck_raises(Assert_Failed, HashTable_get(NULL, "k"));
	ck_raises(Assert_Failed, HashTable_has(NULL, "k"));
	ck_raises(Assert_Failed, HashTable_remove(NULL, "k"));
	ck_raises(Assert_Failed, HashTable_slot(NULL, "k"));
	ck_raises(Assert_Failed, HashTable_put_bytes(NULL, "k", 1, NULL));
	ck_raises(Assert_Failed, HashTable_get_bytes(NULL, "k", 1));
	ck_raises(Assert_Failed, HashTable_remove_bytes(NULL, "k", 1));
	ck_raises(Assert_Failed, HashTable_put_int(NULL, 1, NULL));
	ck_raises(Assert_Failed, HashTable_get_int(NULL, 1));
	ck_raises(Assert_Failed, HashTable_remove_int(NULL, 1));
	ck_raises(Assert_Failed, HashTable_length(NULL));
	ck_raises(Assert_Failed, HashTable_reserve(NULL, 1));
	ck_raises(Assert_Failed, HashTable_clear(NULL));
	ck_raises(Assert_Failed, HashTable_map(NULL, NULL, NULL));
	ck_raises(Assert_Failed, HashTable_iterate(NULL, &it));
	ck_raises(Assert_Failed, HashTable_next(NULL));
	ck_raises(Assert_Failed, HashTable_iter_remove(NULL));
	ck_raises(Assert_Failed, HashTable_toArray(NULL, arena, NULL));
	ck_raises(Assert_Failed, HashTable_copy(NULL, arena));
	ck_raises(Assert_Failed, HashTable_set_pre_resize_callback(NULL, NULL, NULL));
	ck_raises(Assert_Failed, HashTable_set_post_resize_callback(NULL, NULL, NULL));
	ck_raises(Assert_Failed, HashTable_stats(NULL, &s));
}

TEST(bad_options_are_checked_runtime_errors)
{
	HashTable_Options o = { 0 };

	ck_raises_saying(Assert_Failed, "NULL", HashTable_new_with(arena, NULL));
	o.kind = HashTable_CUSTOM;
	ck_raises_saying(Assert_Failed, "both hash and equal", HashTable_new_with(arena, &o));
	o.hash = hash_number;
	ck_raises(Assert_Failed, HashTable_new_with(arena, &o));
	o.kind = HashTable_STRING;
	ck_raises_saying(Assert_Failed, "for CUSTOM keys, not for STRING",
		HashTable_new_with(arena, &o));
	memset(&o, 0, sizeof o);
	o.kind = (HashTable_Kind)(HashTable_CUSTOM + 1);
	ck_raises_saying(Assert_Failed, "6 is not a kind", HashTable_new_with(arena, &o));
}

TEST(a_hint_beyond_memory_raises_and_leaves_no_arena_behind)
{
	HashTable_Options o = { 0 };
	size_t live = Arena_debug_live_count();

	ck_raises_saying(HashTable_Failed, "no hash table holds", HashTable_new(NULL, SIZE_MAX));
	ck_raises(HashTable_Failed, HashTable_new(arena, SIZE_MAX / 2));
	ck_raises(HashTable_Failed, HashTable_reserve(HashTable_new(arena, 0), SIZE_MAX));
	o.kind = HashTable_INTEGER;
#if SIZE_MAX > UINT32_MAX
	o.hint = SIZE_MAX >> 29; /* possible, and more than there is */
	ck_raises(Arena_Failed, HashTable_new_with(NULL, &o));
#else
	o.hint = SIZE_MAX / 64;  /* a quarter of all addresses is not enough */
	ck_raises(HashTable_Failed, HashTable_new_with(NULL, &o));
#endif
	ck_assert_uint_eq(Arena_debug_live_count(), live);
}

/* The last test asks for more than there is, which ASan and TSan would otherwise make fatal. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

/* These stand before the C library's, also for the shared library. */
static int no_random_source;

static int random_bytes(void *p, size_t n)
{
	FILE *f = no_random_source ? NULL : fopen("/dev/urandom", "r");
	int ok = f && fread(p, n, 1, f) == 1;

	if (f)
		fclose(f);
	else
		errno = ENOSYS;
	return ok;
}

CORE_API int getentropy(void *p, size_t n);
int getentropy(void *p, size_t n)
{
	return random_bytes(p, n) ? 0 : -1;
}

CORE_API ssize_t getrandom(void *p, size_t n, unsigned flags);
ssize_t getrandom(void *p, size_t n, unsigned flags)
{
	(void)flags;
	return random_bytes(p, n) ? (ssize_t)n : -1;
}

/* The C library's open, and then the thread is cancelled, if cancel_at_open says so. Under this
 * label it is no other declaration of open(2), which some builds have inline. */
static int cancel_at_open;
CORE_API int open_and_cancel(const char *path, int flags, ...) __asm__("open");

int open_and_cancel(const char *path, int flags, ...)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);

	if (cancel_at_open)
		pthread_cancel(pthread_self());
	return fd;
}

/* First of all tests: the process has no secret yet. */
TEST(without_a_random_source_a_table_needs_a_seed)
{
	HashTable_Options o = { 0 };
	struct rlimit files, none = { 0, 0 };
	volatile int raised = 0;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	none.rlim_max = files.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	no_random_source = 1;
	TRY {
		HashTable_new(arena, 0);
	} EXCEPT(HashTable_Failed) {
		raised = strstr(Except_message(), "no random source") != NULL;
	} END_TRY;
	o.seed = 1;
	HashTable_new_with(arena, &o);
	no_random_source = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	ck_assert_int_eq(raised, 1);
	HashTable_new(arena, 0);
}

static int descriptors_open(void)
{
	int fd = dup(0); /* the lowest that is free */

	close(fd);
	return fd;
}

static void *make_table_cancelled(void *cl)
{
	(void)cl;
	cancel_at_open = 1;
	HashTable_new(arena, 0);
	pthread_testcancel();
	return arena;
}

/* The device is read where the system has no call for it; reading it is a cancellation point. */
TEST(a_thread_cancelled_at_the_random_device_leaves_no_descriptor)
{
	int before = descriptors_open();
	pthread_t thread;
	void *result;

	no_random_source = 1;
	ck_assert_int_eq(pthread_create(&thread, NULL, make_table_cancelled, NULL), 0);
	pthread_join(thread, &result);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	ck_assert_int_eq(descriptors_open(), before);
	errno = EDOM;
	HashTable_new(arena, 0);
	ck_assert_int_eq(errno, EDOM);
}

TEST(a_table_that_was_made_leaves_errno_as_it_was)
{
	no_random_source = 1;
	errno = EDOM;
	HashTable_new(arena, 0);
	ck_assert_int_eq(errno, EDOM);
}

/* ---- put, get, has, remove, slot ---- */

TEST(put_gives_the_previous_value_and_null_is_a_value)
{
	HashTable_T t = HashTable_new(arena, 0);

	ck_assert_ptr_null(HashTable_put(t, "key", value(1)));
	ck_assert_ptr_eq(HashTable_put(t, "key", value(2)), value(1));
	ck_assert_ptr_eq(HashTable_put(t, "key", NULL), value(2));
	ck_assert_ptr_null(HashTable_get(t, "key"));
	ck_assert_int_eq(HashTable_has(t, "key"), 1);
	ck_assert_int_eq(HashTable_has(t, "other"), 0);
	ck_assert_uint_eq(HashTable_length(t), 1);
	ck_assert_ptr_null(HashTable_remove(t, "key"));
	ck_assert_int_eq(HashTable_has(t, "key"), 0);
	ck_assert_uint_eq(HashTable_length(t), 0);
}

TEST(slot_finds_or_makes_the_place_of_a_value)
{
	HashTable_T t = HashTable_new(arena, 0);
	void **slot = HashTable_slot(t, "count");

	ck_assert_ptr_null(*slot);
	*slot = value(1);
	ck_assert_ptr_eq(HashTable_slot(t, "count"), slot);
	ck_assert_ptr_eq(HashTable_get(t, "count"), value(1));
	ck_assert_uint_eq(HashTable_length(t), 1);
	t = any_table(arena, HashTable_POINTER, 0);
	*HashTable_slot(t, NULL) = value(2);
	ck_assert_ptr_eq(HashTable_get(t, NULL), value(2));
	t = any_table(arena, HashTable_CUSTOM, 0);
	*HashTable_slot(t, &numbers[3]) = value(3);
	ck_assert_ptr_eq(HashTable_get(t, custom_of(3)), value(3));
}

TEST(string_keys_are_copied)
{
	HashTable_T t = HashTable_new(arena, 0);
	char key[] = "changing";
	HashTable_Iter it;

	HashTable_put(t, key, value(1));
	key[0] = 'C';
	ck_assert_ptr_null(HashTable_get(t, key));
	ck_assert_ptr_eq(HashTable_get(t, "changing"), value(1));
	HashTable_iterate(t, &it);
	ck_assert_int_eq(HashTable_next(&it), 1);
	ck_assert_str_eq(it.key, "changing");
	ck_assert_ptr_ne(it.key, key);
}

TEST(borrowed_keys_stay_the_callers)
{
	HashTable_Options o = { 0 };
	char key[] = "mine";
	HashTable_Iter it;
	HashTable_T t;

	o.borrow_keys = 1;
	t = HashTable_new_with(arena, &o);
	HashTable_put(t, key, value(1));
	HashTable_iterate(t, &it);
	ck_assert_int_eq(HashTable_next(&it), 1);
	ck_assert_ptr_eq(it.key, key);
	ck_assert_ptr_eq(HashTable_remove(t, "mine"), value(1));
	ck_assert_str_eq(key, "mine");
}

TEST(nocase_folds_ascii_letters_and_nothing_else)
{
	HashTable_T t = any_table(arena, HashTable_STRING_NOCASE, 0);
	char upper[3], other[3];
	int c;

	HashTable_put(t, "Content-Length", value(1));
	ck_assert_ptr_eq(HashTable_get(t, "content-length"), value(1));
	ck_assert_ptr_eq(HashTable_put(t, "CONTENT-LENGTH", value(2)), value(1));
	ck_assert_ptr_null(HashTable_get(t, "content_length"));
	ck_assert_ptr_eq(HashTable_remove_bytes(t, "cONTENT-lENGTHx", 14), value(2));
	for (c = 1; c < 256; c++) {
		int is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

		upper[0] = other[0] = 'x';
		upper[1] = (char)c;
		other[1] = (char)(c ^ 32);
		upper[2] = other[2] = '\0';
		if (c == 32)
			continue; /* 0 would end the other */
		HashTable_clear(t);
		HashTable_put(t, upper, value(1));
		ck_assert_ptr_eq(HashTable_get(t, upper), value(1));
		ck_assert_msg(HashTable_has(t, other) == is_letter, "byte %d", c);
	}
}

TEST(keys_that_differ_in_one_byte_or_in_length_are_different)
{
	HashTable_T t = any_table(arena, HashTable_BYTES, 0),
		folded = any_table(arena, HashTable_STRING_NOCASE, 0);
	unsigned char key[200];
	size_t n, i;

	for (n = 0; n < sizeof key; n += 1 + n / 20) {
		memset(key, 0x5a, sizeof key);
		HashTable_clear(t);
		HashTable_clear(folded);
		HashTable_put_bytes(t, key, n, value(n));
		HashTable_put_bytes(folded, key, n, value(n));
		ck_assert_ptr_null(HashTable_get_bytes(t, key, n + 1));
		for (i = 0; i < n; i++) {
			key[i] ^= 0x81;
			ck_assert_ptr_null(HashTable_get_bytes(t, key, n));
			ck_assert_ptr_null(HashTable_get_bytes(folded, key, n));
			key[i] ^= 0x81;
		}
		ck_assert_ptr_eq(HashTable_get_bytes(t, key, n), value(n));
		ck_assert_ptr_eq(HashTable_get_bytes(folded, key, n), value(n));
	}
}

TEST(a_string_with_a_length_is_the_same_key_as_one_with_a_nul)
{
	HashTable_T t = HashTable_new(arena, 0);
	HashTable_Iter it;

	HashTable_put_bytes(t, "path/to", 4, value(1));
	ck_assert_ptr_eq(HashTable_get(t, "path"), value(1));
	HashTable_iterate(t, &it);
	HashTable_next(&it);
	ck_assert_str_eq(it.key, "path");
	HashTable_put_bytes(t, "a\0b", 3, value(2));
	ck_assert_ptr_null(HashTable_get(t, "a"));
	ck_assert_ptr_eq(HashTable_remove_bytes(t, "a\0b", 3), value(2));
}

TEST(a_null_key_is_a_checked_runtime_error_but_in_pointer_tables)
{
	HashTable_T t = HashTable_new(arena, 0);

	ck_raises_saying(Assert_Failed, "HashTable_put: the key is NULL", HashTable_put(t, NULL, NULL));
	ck_raises(Assert_Failed, HashTable_get(t, NULL));
	ck_raises(Assert_Failed, HashTable_get(any_table(arena, HashTable_STRING_NOCASE, 0), NULL));
	ck_raises(Assert_Failed, HashTable_has(t, NULL));
	ck_raises(Assert_Failed, HashTable_remove(t, NULL));
	ck_raises(Assert_Failed, HashTable_slot(t, NULL));
	ck_raises(Assert_Failed, HashTable_put_bytes(t, NULL, 1, NULL));
	ck_raises(Assert_Failed, HashTable_get_bytes(t, NULL, 0));
	ck_raises(Assert_Failed, HashTable_remove_bytes(any_table(arena, HashTable_STRING_NOCASE, 0),
		NULL, 1));
	ck_raises(Assert_Failed, HashTable_put(any_table(arena, HashTable_CUSTOM, 0), NULL, NULL));
	t = any_table(arena, HashTable_POINTER, 0);
	HashTable_put(t, NULL, value(1));
	ck_assert_ptr_eq(HashTable_remove(t, NULL), value(1));
}

TEST(the_calls_of_another_kind_are_checked_runtime_errors, .to = KINDS)
{
	HashTable_T t = any_table(arena, (HashTable_Kind)_i, 0);

	if (_i == HashTable_BYTES || _i == HashTable_INTEGER) {
		ck_raises_saying(Assert_Failed, "not for a table with", HashTable_put(t, "k", NULL));
		ck_raises(Assert_Failed, HashTable_get(t, "k"));
		ck_raises(Assert_Failed, HashTable_has(t, "k"));
		ck_raises(Assert_Failed, HashTable_remove(t, "k"));
		ck_raises(Assert_Failed, HashTable_slot(t, "k"));
		ck_raises_saying(Assert_Failed, _i == HashTable_BYTES
			? "BYTES keys: it takes no length: see the _bytes calls"
			: "INTEGER keys: it takes no integer: see the _int calls", HashTable_get(t, "k"));
	}
	if (_i == HashTable_INTEGER || _i == HashTable_POINTER || _i == HashTable_CUSTOM) {
		ck_raises_saying(Assert_Failed, "HashTable_put_bytes, a key of 1 bytes",
			HashTable_put_bytes(t, "k", 1, NULL));
		ck_raises_saying(Assert_Failed, "STRING, STRING_NOCASE and BYTES",
			HashTable_has_bytes(t, "k", 1));
		ck_raises_saying(Assert_Failed, "HashTable_slot_bytes", HashTable_slot_bytes(t, "k", 1));
		ck_raises(Assert_Failed, HashTable_get_bytes(t, "k", 1));
		ck_raises(Assert_Failed, HashTable_remove_bytes(t, "k", 1));
	}
	if (_i != HashTable_INTEGER) {
		ck_raises_saying(Assert_Failed, "HashTable_put_int", HashTable_put_int(t, 1, NULL));
		ck_raises(Assert_Failed, HashTable_get_int(t, 1));
		ck_raises(Assert_Failed, HashTable_remove_int(t, 1));
		ck_raises_saying(Assert_Failed, "HashTable_has_int", HashTable_has_int(t, 1));
		ck_raises_saying(Assert_Failed, "HashTable_slot_int", HashTable_slot_int(t, 1));
	} else
		ck_raises(Assert_Failed, HashTable_toArray(t, arena, NULL));
	ck_assert_uint_eq(HashTable_length(t), 0);
}

TEST(a_key_of_4_gib_is_refused_and_never_found)
{
#if SIZE_MAX > UINT32_MAX
	HashTable_T t = HashTable_new(arena, 0);
	size_t n = (size_t)UINT32_MAX + 1;

	ck_raises_saying(HashTable_Failed, "4294967296 bytes", HashTable_put_bytes(t, "k", n, NULL));
	ck_assert_ptr_null(HashTable_get_bytes(t, "k", n));
	ck_assert_ptr_null(HashTable_remove_bytes(t, "k", n));
	ck_assert_uint_eq(HashTable_length(t), 0);
#endif
}

TEST(keys_of_every_length_are_kept_and_their_memory_is_used_again)
{
	static unsigned char key[5000];
	HashTable_T t = any_table(arena, HashTable_BYTES, 0);
	size_t n, used = 0;
	int round;

	for (round = 0; round < 12; round++) {
		for (n = 0; n < sizeof key; n += 7) {
			memset(key, (int)n, sizeof key);
			ck_assert_ptr_null(HashTable_put_bytes(t, key, n, value(n)));
		}
		for (n = 0; n < sizeof key; n += 7) {
			memset(key, (int)n, sizeof key);
			ck_assert_ptr_eq(HashTable_remove_bytes(t, key, n), value(n));
		}
		if (round == 0)
			used = Arena_used(arena);
		/* the slots may grow once: when depends on the seed, as removals use up room */
		ck_assert_uint_le(Arena_used(arena), used + used / 16);
	}
	ck_assert_uint_eq(HashTable_length(t), 0);
}

/* The bytes of a removed key must not be those of the next one. */
TEST(an_empty_key_has_bytes_of_its_own)
{
	HashTable_Options o = { .kind = HashTable_BYTES, .hint = 10 };
	HashTable_T t = HashTable_new_with(arena, &o);
	HashTable_Iter it;

	HashTable_put_bytes(t, "a", 1, numbers);
	HashTable_put_bytes(t, "", 0, numbers + 1);
	HashTable_put_bytes(t, "bcdefghi", 8, numbers + 2);
	ck_assert_ptr_eq(HashTable_remove_bytes(t, "a", 1), numbers);
	ck_assert_ptr_eq(HashTable_remove_bytes(t, "", 0), numbers + 1);
	HashTable_put_bytes(t, "j", 1, numbers);
	HashTable_put_bytes(t, "k", 1, numbers);
	ck_assert_ptr_eq(HashTable_get_bytes(t, "bcdefghi", 8), numbers + 2);
	HashTable_iterate(t, &it);
	while (HashTable_next(&it))
		if (it.value == numbers + 2)
			ck_assert_mem_eq(it.key, "bcdefghi", 8);
}

TEST(integers_of_every_size_are_keys)
{
	HashTable_T t = any_table(arena, HashTable_INTEGER, 0);
	int i;

	for (i = 0; i < 64; i++)
		ck_assert_ptr_null(HashTable_put_int(t, (uint64_t)1 << i, value((size_t)i)));
	HashTable_put_int(t, 0, value(100));
	HashTable_put_int(t, UINT64_MAX, value(101));
	for (i = 0; i < 64; i++)
		ck_assert_ptr_eq(HashTable_get_int(t, (uint64_t)1 << i), value((size_t)i));
	ck_assert_ptr_eq(HashTable_get_int(t, 0), value(100));
	ck_assert_ptr_eq(HashTable_remove_int(t, UINT64_MAX), value(101));
	ck_assert_uint_eq(HashTable_length(t), 65);
}

static uint64_t raising_hash(const void *key, uint64_t seed)
{
	(void)key;
	(void)seed;
	RAISE(HashTable_Failed);
}

TEST(a_raise_in_a_custom_hash_goes_through_and_changes_nothing)
{
	HashTable_Options o = { 0 };
	HashTable_T t;

	o.kind = HashTable_CUSTOM;
	o.hash = raising_hash;
	o.equal = equal_number;
	t = HashTable_new_with(arena, &o);
	ck_raises(HashTable_Failed, HashTable_put(t, "k", NULL));
	ck_assert_uint_eq(HashTable_length(t), 0);
}

static int hashes_computed;

static uint64_t counting_hash(const void *key, uint64_t seed)
{
	hashes_computed++;
	return hash_number(key, seed);
}

TEST(growing_calls_no_function_of_the_caller)
{
	HashTable_Options o = { 0 };
	HashTable_T t;
	int i;

	o.kind = HashTable_CUSTOM;
	o.hash = counting_hash;
	o.equal = equal_number;
	hashes_computed = 0;
	t = HashTable_new_with(arena, &o);
	for (i = 0; i < NUMBERS; i++)
		HashTable_put(t, &numbers[i], value((size_t)i));
	ck_assert_int_eq(hashes_computed, NUMBERS);
}
