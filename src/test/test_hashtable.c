/* SPDX-License-Identifier: MIT */
/* HashTable, in the header's order. The part on "any kind" runs every kind of table through the same
 * operations, beside a model that is an array. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <core/HashTable.h>
#include "testing.h"

enum { KINDS = HashTable_CUSTOM + 1, NUMBERS = 3000 };

typedef struct Number {
	int number, unused;
} Number;
static Number numbers[NUMBERS];

static Arena_T arena;

static void set_up(void)
{
	int i;

	for (i = 0; i < NUMBERS; i++)
		numbers[i].number = i;
	arena = Arena_new();
}

static void tear_down(void)
{
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

/* distinct values that are never dereferenced */
static void *value(size_t n)
{
	return (void *)(uintptr_t)(n * 16 + 16);
}

/* xorshift64* (Vigna, 2016), so that a failure repeats */
static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1du;
}

static unsigned below(unsigned n)
{
	return (unsigned)((next_random() >> 32) * n >> 32);
}

/* ---- a table of any kind: keys are known by number ---- */

static const char *const kind_names[KINDS] = { "STRING", "NOCASE", "BYTES", "INTEGER", "POINTER", "CUSTOM" };

static uint64_t hash_number(const void *key, uint64_t seed)
{
	(void)seed;
	return (uint64_t)((const Number *)key)->number / 2; /* poor on purpose */
}

static int equal_number(const void *x, const void *y)
{
	return ((const Number *)x)->number == ((const Number *)y)->number;
}

static HashTable_T any_table(Arena_T a, HashTable_Kind kind, size_t hint)
{
	HashTable_Options o = { 0 };

	o.kind = kind;
	o.hint = hint;
	if (kind == HashTable_CUSTOM) {
		o.hash = hash_number;
		o.equal = equal_number;
	}
	return HashTable_new_with(a, &o);
}

typedef struct Text {
	char bytes[64];
	size_t length;
} Text;

static uint64_t integer_of(int n)
{
	return (uint64_t)n << 32;
}

/* NOCASE: written another way at each call; BYTES: NULs inside, a length that varies; STRING: long
 * and short ones, one of them empty */
static Text text_of(HashTable_Kind kind, int n)
{
	Text t;
	size_t i;

	memset(&t, 0, sizeof t);
	if (kind == HashTable_BYTES) {
		t.length = sizeof n + (size_t)n % 40;
		memcpy(t.bytes + t.length - sizeof n, &n, sizeof n);
	} else if (n > 0)
		t.length = (size_t)snprintf(t.bytes, sizeof t.bytes, "%.*sName-%d", n % 37, "............................"
			"..............", n);
	if (kind == HashTable_STRING_NOCASE)
		for (i = 0; i < t.length; i++)
			if (((t.bytes[i] | 32) >= 'a' && (t.bytes[i] | 32) <= 'z') && below(2))
				t.bytes[i] ^= 32;
	return t;
}

static Number *custom_of(int n)
{
	static Number other;

	other.number = n;
	return &other;
}

static void *put(HashTable_T t, HashTable_Kind kind, int n, void *v)
{
	Text text = text_of(kind, n);

	switch (kind) {
	case HashTable_INTEGER:
		return HashTable_put_int(t, integer_of(n), v);
	case HashTable_POINTER:
		return HashTable_put(t, n ? &numbers[n] : NULL, v);
	case HashTable_CUSTOM:
		return HashTable_put(t, &numbers[n], v);
	case HashTable_BYTES:
		return HashTable_put_bytes(t, text.bytes, text.length, v);
	default:
		return below(2) ? HashTable_put(t, text.bytes, v) : HashTable_put_bytes(t, text.bytes, text.length, v);
	}
}

static void *get(HashTable_T t, HashTable_Kind kind, int n)
{
	Text text = text_of(kind, n);

	switch (kind) {
	case HashTable_INTEGER:
		return HashTable_get_int(t, integer_of(n));
	case HashTable_POINTER:
		return HashTable_get(t, n ? &numbers[n] : NULL);
	case HashTable_CUSTOM:
		return HashTable_get(t, custom_of(n));
	case HashTable_BYTES:
		return HashTable_get_bytes(t, text.bytes, text.length);
	default:
		return n % 2 ? HashTable_get(t, text.bytes) : HashTable_get_bytes(t, text.bytes, text.length);
	}
}

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
		return n % 2 ? HashTable_remove(t, text.bytes) : HashTable_remove_bytes(t, text.bytes, text.length);
	}
}

static int number_of(HashTable_Kind kind, const HashTable_Iter *it)
{
	const char *dash;
	int n;

	switch (kind) {
	case HashTable_INTEGER:
		ck_assert_ptr_null(it->key);
		return (int)(it->int_key >> 32);
	case HashTable_POINTER:
		return it->key ? ((const Number *)it->key)->number : 0;
	case HashTable_CUSTOM:
		return ((const Number *)it->key)->number;
	case HashTable_BYTES:
		memcpy(&n, (const char *)it->key + it->key_length - sizeof n, sizeof n);
		return n;
	default:
		ck_assert_uint_eq(strlen(it->key), it->key_length);
		dash = strchr(it->key, '-');
		return dash ? atoi(dash + 1) : 0;
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

	ck_raises_saying(Assert_Failed, "HashTable_put: the table is NULL", HashTable_put(NULL, "k", NULL));
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
	ck_raises_saying(Assert_Failed, "for CUSTOM keys, not for STRING", HashTable_new_with(arena, &o));
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

/* The C library's open, and then the thread is cancelled, if cancel_at_open says so. Under this label it is no other
 * declaration of open(2), which some builds have inline. */
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
	HashTable_T t = any_table(arena, HashTable_BYTES, 0), folded = any_table(arena, HashTable_STRING_NOCASE, 0);
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
	ck_raises(Assert_Failed, HashTable_remove_bytes(any_table(arena, HashTable_STRING_NOCASE, 0), NULL, 1));
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
		ck_raises_saying(Assert_Failed, _i == HashTable_BYTES ? "BYTES keys: it takes no length: see the _bytes calls"
			: "INTEGER keys: it takes no integer: see the _int calls", HashTable_get(t, "k"));
	}
	if (_i == HashTable_INTEGER || _i == HashTable_POINTER || _i == HashTable_CUSTOM) {
		ck_raises_saying(Assert_Failed, "HashTable_put_bytes, a key of 1 bytes", HashTable_put_bytes(t, "k", 1, NULL));
		ck_raises_saying(Assert_Failed, "STRING, STRING_NOCASE and BYTES", HashTable_has_bytes(t, "k", 1));
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

/* ---- any kind, beside a model ---- */

CASE("any kind", .setup = set_up, .teardown = tear_down);

typedef struct Model {
	void *values[NUMBERS];
	char present[NUMBERS];
	size_t length;
} Model;

static void check_all(HashTable_T t, HashTable_Kind kind, const Model *m)
{
	char seen[NUMBERS] = { 0 };
	HashTable_Stats s;
	HashTable_Iter it;
	size_t n = 0;
	int i;

	for (i = 0; i < NUMBERS; i++)
		ck_assert_msg(get(t, kind, i) == (m->present[i] ? m->values[i] : NULL), "%s key %d", kind_names[kind], i);
	HashTable_iterate(t, &it);
	while (HashTable_next(&it)) {
		i = number_of(kind, &it);
		ck_assert(m->present[i] && !seen[i] && it.value == m->values[i]);
		seen[i] = 1;
		n++;
	}
	ck_assert_int_eq(HashTable_next(&it), 0);
	ck_assert_uint_eq(n, m->length);
	HashTable_stats(t, &s);
	ck_assert_uint_eq(s.length, m->length);
	ck_assert_uint_ge(s.capacity, s.length);
	ck_assert_uint_eq(s.longest_probe == 0, s.length == 0);
}

static void model_put(Model *m, int n, void *v)
{
	m->length += !m->present[n];
	m->present[n] = 1;
	m->values[n] = v;
}

static void model_remove(Model *m, int n)
{
	m->length -= (size_t)m->present[n];
	m->present[n] = 0;
}

static void put_perhaps_failing(HashTable_T t, HashTable_Kind kind, Model *m, struct Failing *f, int n, void *v)
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

static void step(HashTable_T *t, Arena_T a, HashTable_Kind kind, Model *m, struct Failing *f, unsigned range, int growing)
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
	HashTable_T integers = any_table(arena, HashTable_INTEGER, 0), bytes = any_table(arena, HashTable_BYTES, 0);
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
	ck_raises_saying(Assert_Failed, "HashTable_has_bytes: the key is NULL", HashTable_has_bytes(strings, NULL, 0));
	ck_raises_saying(Assert_Failed, "HashTable_slot_bytes: the key is NULL", HashTable_slot_bytes(strings, NULL, 0));
	ck_raises_saying(Assert_Failed, "HashTable_has_int: the table is NULL", HashTable_has_int(NULL, 0));
	ck_raises_saying(Assert_Failed, "HashTable_slot_int: the table is NULL", HashTable_slot_int(NULL, 0));
	ck_raises_saying(Assert_Failed, "HashTable_has_bytes: the table is NULL", HashTable_has_bytes(NULL, "k", 1));
	ck_raises_saying(Assert_Failed, "HashTable_slot_bytes: the table is NULL", HashTable_slot_bytes(NULL, "k", 1));
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

TEST(shrink_gives_the_slots_of_many_segments_back, .unless = has_fences())
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	HashTable_Options o = { .kind = HashTable_INTEGER };
	HashTable_T t = HashTable_new_with(a, &o);
	size_t i, full;

	for (i = 0; i < 200000; i++)
		HashTable_put_int(t, i, value(i));
	full = f.outstanding_bytes;
	for (i = 100; i < 200000; i++)
		HashTable_remove_int(t, i);
	ck_assert_uint_eq(f.outstanding_bytes, full);
	HashTable_shrink(t);
	ck_assert_uint_lt(f.outstanding_bytes, full / 4);
	for (i = 0; i < 200000; i++)
		ck_assert_ptr_eq(HashTable_get_int(t, i), i < 100 ? value(i) : NULL);
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
		ck_assert_msg(HashTable_put_int(t, i, value(1)) == NULL && HashTable_length(t) == 100, "%d", (int)i);
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
			snprintf(key, sizeof key, "session %d %.*s", i - 500, (i - 500) % 30, "..............................");
			ck_assert_ptr_eq(HashTable_remove(t, key), value((size_t)i - 500));
		}
		if (i == 20000)
			used = Arena_used(arena);
	}
	ck_assert_uint_le(Arena_used(arena), used + used / 10);
}

TEST(a_table_in_steady_use_stays_fast_and_asks_for_no_memory)
{
	HashTable_T t = any_table(arena, HashTable_INTEGER, 840);
	HashTable_Stats s;
	size_t used;
	uint64_t i;

	for (i = 0; i < 600; i++)
		HashTable_put_int(t, i, value(1));
	used = Arena_used(arena);
	for (i = 600; i < 200000; i++) {
		HashTable_put_int(t, i, value(1));
		ck_assert_ptr_eq(HashTable_remove_int(t, i - 600), value(1));
	}
	HashTable_stats(t, &s);
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_uint_gt(s.resizes, 0);
	ck_assert_double_lt(s.mean_probe, 1.5);
}

/* ---- map ---- */

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
	ck_raises_saying(Assert_Failed, "no entry at hand", HashTable_iter_remove(&it));
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
	ck_raises_saying(Assert_Failed, "HashTable_entries: the table is NULL", HashTable_entries(NULL, arena, &n));
	ck_raises_saying(Assert_Failed, "HashTable_entries: the arena is NULL", HashTable_entries(t, NULL, &n));
	ck_raises_saying(Assert_Failed, "HashTable_entries: the place", HashTable_entries(t, arena, NULL));
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
	ck_raises_saying(Assert_Failed, "HashTable_shrink: called from a resize callback", HashTable_shrink(t));
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
	ck_assert_uint_eq(s.bytes, (16 + 15 * (sizeof(uint64_t) + sizeof(void *)) + 15) / 16 * 16); /* tags, slots */
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
	HashTable_T integers = any_table(arena, HashTable_INTEGER, 0), bytes = any_table(arena, HashTable_BYTES, 0),
		strings = any_table(arena, HashTable_STRING, 0), nocase = any_table(arena, HashTable_STRING_NOCASE, 0);
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
