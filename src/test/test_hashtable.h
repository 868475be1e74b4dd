/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_hashtable: a table of any kind, whose keys are known by number. */
#ifndef TEST_HASHTABLE_INCLUDED
#define TEST_HASHTABLE_INCLUDED
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

static inline void set_up(void)
{
	int i;

	for (i = 0; i < NUMBERS; i++)
		numbers[i].number = i;
	arena = Arena_new();
}

static inline void tear_down(void)
{
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

/* distinct values that are never dereferenced */
static inline void *value(size_t n)
{
	return (void *)(uintptr_t)(n * 16 + 16);
}

/* xorshift64* (Vigna, 2016), so that a failure repeats */
static uint64_t random_state;

static inline uint64_t next_random(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1du;
}

static inline unsigned below(unsigned n)
{
	return (unsigned)((next_random() >> 32) * n >> 32);
}

static const char *const kind_names[KINDS] = { "STRING", "NOCASE", "BYTES", "INTEGER", "POINTER",
	"CUSTOM" };

static inline uint64_t hash_number(const void *key, uint64_t seed)
{
	(void)seed;
	return (uint64_t)((const Number *)key)->number / 2; /* poor on purpose */
}

static inline int equal_number(const void *x, const void *y)
{
	return ((const Number *)x)->number == ((const Number *)y)->number;
}

static inline HashTable_T any_table(Arena_T a, HashTable_Kind kind, size_t hint)
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

static inline uint64_t integer_of(int n)
{
	return (uint64_t)n << 32;
}

/* NOCASE: written another way at each call; BYTES: NULs inside, a length that varies; STRING: long
 * and short ones, one of them empty */
static inline Text text_of(HashTable_Kind kind, int n)
{
	Text t;
	size_t i;

	memset(&t, 0, sizeof t);
	if (kind == HashTable_BYTES) {
		t.length = sizeof n + (size_t)n % 40;
		memcpy(t.bytes + t.length - sizeof n, &n, sizeof n);
	} else if (n > 0)
		t.length = (size_t)snprintf(t.bytes, sizeof t.bytes, "%.*sName-%d", n % 37,
			"............................"
			"..............", n);
	if (kind == HashTable_STRING_NOCASE)
		for (i = 0; i < t.length; i++)
			if (((t.bytes[i] | 32) >= 'a' && (t.bytes[i] | 32) <= 'z') && below(2))
				t.bytes[i] ^= 32;
	return t;
}

static inline Number *custom_of(int n)
{
	static Number other;

	other.number = n;
	return &other;
}

static inline void *put(HashTable_T t, HashTable_Kind kind, int n, void *v)
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
		return below(2) ? HashTable_put(t, text.bytes, v)
			: HashTable_put_bytes(t, text.bytes, text.length, v);
	}
}

static inline void *get(HashTable_T t, HashTable_Kind kind, int n)
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
		return n % 2 ? HashTable_get(t, text.bytes)
			: HashTable_get_bytes(t, text.bytes, text.length);
	}
}

static inline int number_of(HashTable_Kind kind, const HashTable_Iter *it)
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

typedef struct Model {
	void *values[NUMBERS];
	char present[NUMBERS];
	size_t length;
} Model;

static inline void check_all(HashTable_T t, HashTable_Kind kind, const Model *m)
{
	char seen[NUMBERS] = { 0 };
	HashTable_Stats s;
	HashTable_Iter it;
	size_t n = 0;
	int i;

	for (i = 0; i < NUMBERS; i++)
		ck_assert_msg(get(t, kind, i) == (m->present[i] ? m->values[i] : NULL), "%s key %d",
			kind_names[kind], i);
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

static inline void model_put(Model *m, int n, void *v)
{
	m->length += !m->present[n];
	m->present[n] = 1;
	m->values[n] = v;
}

#endif
