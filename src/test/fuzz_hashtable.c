/* SPDX-License-Identifier: MIT */
/* Differential fuzzing of HashTable: random calls on tables of every kind, beside a model that is
 * an array. The arena's backing allocator fails now and then, and resize callbacks now and then
 * raise. After each failure the table must still equal the model.
 *
 *   fuzz_hashtable [operations [seed]]
 *
 * The defaults are 200,000 operations, and the clock as the seed. A failure prints the seed. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <core/HashTable.h>

enum { KINDS = HashTable_CUSTOM + 1, NUMBERS = 6000, KEY_BYTES = 80 };

EXCEPT_DEFINE(Refused, NULL, "refused by a callback");

/* ---- randomness ---- */

static uint64_t first_seed, random_state;
static unsigned long done;

/* xorshift64* (Vigna, 2016) */
static unsigned below(unsigned n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned)((random_state * 0x2545f4914f6cdd1du >> 32) * n >> 32);
}

#define require(condition) ((condition) ? (void)0 : failed(#condition, __LINE__))

static void failed(const char *condition, int line) CORE_NORETURN;
static void failed(const char *condition, int line)
{
	fprintf(stderr,
		"fuzz_hashtable: line %d, operation %lu: not %s\nagain: fuzz_hashtable %lu %llu\n", line,
		done, condition, done + 1, (unsigned long long)first_seed);
	abort();
}

/* ---- memory ---- */

static unsigned failures_in; /* of 1,000 requests */

static void *alloc(size_t nbytes, void *cl)
{
	if (below(1000) < failures_in)
		return NULL;
	++*(size_t *)cl;
	return malloc(nbytes);
}

static void release(void *p, size_t nbytes, void *cl)
{
	(void)nbytes;
	--*(size_t *)cl;
	free(p);
}

static Arena_T new_arena(size_t *cl)
{
	Arena_Options o = { 0 };
	unsigned usual = failures_in;
	Arena_T arena;

	o.chunk = 64;
	o.alloc = alloc;
	o.free = release;
	o.cl = cl;
	failures_in = 0;
	arena = Arena_new_with(&o);
	failures_in = usual;
	return arena;
}

/* ---- the model, and keys by number ---- */

typedef struct Subject {
	HashTable_Kind kind;
	int borrows;
	HashTable_T table;
	Arena_T arena;
	size_t length;
	void *values[NUMBERS];
	char present[NUMBERS];
} Subject;

static struct Borrowed {
	char bytes[KEY_BYTES];
	size_t length;
	int number;
} keys[KINDS][NUMBERS];

/* Lengths around those where the hash changes its ways; BYTES with NULs inside. */
static void make_keys(void)
{
	char name[16];
	int kind, i;

	for (kind = 0; kind < KINDS; kind++)
		for (i = 0; i < NUMBERS; i++) {
			struct Borrowed *k = &keys[kind][i];

			memset(k->bytes, kind == HashTable_BYTES ? 0 : 'x', sizeof k->bytes);
			k->number = i;
			k->length = 6 + (size_t)i % 60;
			snprintf(name, sizeof name, "%c%05d", kind == HashTable_STRING_NOCASE ? 'K' : 'k', i);
			memcpy(k->bytes + k->length - 6, name, 7);
		}
}

static uint64_t hash_key(const void *key, uint64_t seed)
{
	return (uint64_t)((const struct Borrowed *)key)->number / 3 + (seed & 1);
}

static int equal_keys(const void *x, const void *y)
{
	return ((const struct Borrowed *)x)->number == ((const struct Borrowed *)y)->number;
}

static uint64_t integer_of(int n)
{
	return (uint64_t)n << (n % 2 ? 40 : 8);
}

/* Where the key lies: with the table's own, or elsewhere, against the end of its memory, the
 * letters changed. */
static const char *other_copy(HashTable_Kind kind, int n, char *memory)
{
	const struct Borrowed *k = &keys[kind][n];
	char *copy = memory + KEY_BYTES - k->length - (kind != HashTable_BYTES);
	size_t i;

	memcpy(copy, k->bytes, k->length + (kind != HashTable_BYTES));
	for (i = 0; kind == HashTable_STRING_NOCASE && i < k->length; i++)
		if (copy[i] >= 'A' && below(2))
			copy[i] ^= 32;
	return copy;
}

static const void *key_for(const Subject *s, int n, char *memory)
{
	if (s->kind == HashTable_POINTER)
		return n ? &keys[0][n] : NULL;
	return s->kind == HashTable_CUSTOM || s->borrows ? (const void *)&keys[s->kind][n]
		: other_copy(s->kind, n, memory);
}

static int is_text(const Subject *s)
{
	return s->kind <= HashTable_BYTES;
}

static void *exchange(void **slot, void *value)
{
	void *old = *slot;

	*slot = value;
	return old;
}

static void *put(Subject *s, int n, void *value, char *memory)
{
	const void *key = key_for(s, n, memory);

	const int by_slot = below(4) == 0;

	if (s->kind == HashTable_INTEGER)
		return by_slot ? exchange(HashTable_slot_int(s->table, integer_of(n)), value)
			: HashTable_put_int(s->table, integer_of(n), value);
	if (s->kind == HashTable_BYTES || (is_text(s) && below(2)))
		return by_slot
			? exchange(HashTable_slot_bytes(s->table, key, keys[s->kind][n].length), value)
			: HashTable_put_bytes(s->table, key, keys[s->kind][n].length, value);
	return by_slot ? exchange(HashTable_slot(s->table, key), value)
		: HashTable_put(s->table, key, value);
}

static void *get(Subject *s, int n, char *memory)
{
	const void *key = key_for(s, n, memory);

	if (s->kind == HashTable_INTEGER) {
		require(HashTable_has_int(s->table, integer_of(n)) == s->present[n]);
		return HashTable_get_int(s->table, integer_of(n));
	}
	if (s->kind == HashTable_BYTES || (is_text(s) && below(2))) {
		require(HashTable_has_bytes(s->table, key, keys[s->kind][n].length) == s->present[n]);
		return HashTable_get_bytes(s->table, key, keys[s->kind][n].length);
	}
	require(HashTable_has(s->table, key) == s->present[n]);
	return HashTable_get(s->table, key);
}

static void *take(Subject *s, int n, char *memory)
{
	const void *key = key_for(s, n, memory);

	if (s->kind == HashTable_INTEGER)
		return HashTable_remove_int(s->table, integer_of(n));
	if (s->kind == HashTable_BYTES || (is_text(s) && below(2)))
		return HashTable_remove_bytes(s->table, key, keys[s->kind][n].length);
	return HashTable_remove(s->table, key);
}

static int number_of(const Subject *s, const void *key, size_t length, uint64_t word)
{
	const char *digits;
	int i, n = 0;

	switch (s->kind) {
	case HashTable_INTEGER:
		n = (int)(word >> 40 ? word >> 40 : word >> 8);
		require(n < NUMBERS && integer_of(n) == word);
		return n;
	case HashTable_POINTER:
		return key ? ((const struct Borrowed *)key)->number : 0;
	case HashTable_CUSTOM:
		return ((const struct Borrowed *)key)->number;
	default:
		for (digits = (const char *)key + length - 5, i = 0; i < 5; i++)
			n = n * 10 + digits[i] - '0';
		return n;
	}
}

/* ---- checks ---- */

static void check_one(Subject *s, int n)
{
	char *memory = malloc(KEY_BYTES); /* of its own, for sanitizers to see its end */

	if (!memory)
		abort();
	require(get(s, n, memory) == (s->present[n] ? s->values[n] : NULL));
	free(memory);
}

static void check_all(Subject *s)
{
	HashTable_Stats stats;
	HashTable_Iter it;
	size_t n = 0;
	int i;

	for (i = 0; i < NUMBERS; i++)
		check_one(s, i);
	HashTable_iterate(s->table, &it);
	for (; HashTable_next(&it); n++) {
		i = number_of(s, it.key, it.key_length, it.int_key);
		require(s->present[i] && it.value == s->values[i]);
	}
	require(n == s->length);
	HashTable_stats(s->table, &stats);
	require(stats.length == s->length && stats.capacity >= s->length && stats.mean_probe < 8);
}

/* Tries calls that may fail. A failure must leave no trace. */
static void check_length(Subject *s)
{
	require(HashTable_length(s->table) == s->length);
}

/* ---- operations ---- */

static void before_resize(HashTable_T table, void *cl)
{
	Subject *s = cl;

	if (table != s->table)
		return;
	check_length(s);
	check_one(s, (int)below(NUMBERS));
	if (below(20) == 0)
		RAISE(Refused);
}

static void make_table(Subject *s)
{
	HashTable_Options o = { 0 };

	memset(s->present, 0, sizeof s->present);
	s->length = 0;
	s->borrows = below(3) == 0;
	o.kind = s->kind;
	o.hint = below(2) ? 0 : below(3000);
	o.borrow_keys = s->borrows;
	o.seed = below(2);
	if (s->kind == HashTable_CUSTOM) {
		o.hash = hash_key;
		o.equal = equal_keys;
	}
	for (s->table = NULL; !s->table;)
		TRY {
			s->table = HashTable_new_with(s->arena, &o);
		} EXCEPT(Arena_Failed) {
			s->table = NULL;
		} END_TRY;
	if (below(2))
		HashTable_set_pre_resize_callback(s->table, before_resize, s);
	if (below(4) == 0)
		HashTable_set_post_resize_callback(s->table, before_resize, s);
}

static void put_one(Subject *s, int n)
{
	void *expected = s->present[n] ? s->values[n] : NULL;
	void *volatile value = below(40) ? (void *)(uintptr_t)(done * 16 + 16) : NULL;
	char *memory = malloc(KEY_BYTES);
	volatile int stored = 1;

	TRY {
		require(put(s, n, value, memory) == expected);
	} EXCEPT(Arena_Failed) {
		stored = 0;
	} EXCEPT(Refused) {
		stored = 0;
	} END_TRY;
	free(memory);
	require(stored || !s->present[n]);
	if (stored) {
		s->length += !s->present[n];
		s->present[n] = 1;
		s->values[n] = value;
	}
	check_length(s);
}

static void forget(Subject *s, int n)
{
	s->length -= (size_t)s->present[n];
	s->present[n] = 0;
}

static void remove_one(Subject *s, int n)
{
	char *memory = malloc(KEY_BYTES);

	require(take(s, n, memory) == (s->present[n] ? s->values[n] : NULL));
	free(memory);
	forget(s, n);
	check_length(s);
}

static void remove_some(Subject *s)
{
	unsigned one_in = 2 + below(5);
	HashTable_Iter it;

	HashTable_iterate(s->table, &it);
	while (HashTable_next(&it)) {
		int n = number_of(s, it.key, it.key_length, it.int_key);

		require(s->present[n] && it.value == s->values[n]);
		if (below(one_in) == 0) {
			HashTable_iter_remove(&it);
			forget(s, n);
		} else if (below(one_in) == 0)
			remove_one(s, below(2) ? n : (int)below(NUMBERS));
	}
	check_length(s);
}

static void count_entry(const void *key, void **value, void *cl)
{
	Subject *s = cl;
	int n = number_of(s, key, s->kind == HashTable_BYTES ? 0 : is_text(s) ? strlen(key) : 0,
		s->kind == HashTable_INTEGER ? *(const uint64_t *)key : 0);

	require(s->present[n] && *value == s->values[n]);
	s->values[n] = *value = (void *)((uintptr_t)*value ^ 8);
}

static void check_entries(Subject *s)
{
	HashTable_Entry *volatile entries = NULL;
	size_t n = 0, i;

	PROTECT(n);
	TRY {
		entries = HashTable_entries(s->table, s->arena, &n);
	} EXCEPT(Arena_Failed) {
		entries = NULL;
	} END_TRY;
	require(!entries || n == s->length);
	for (i = 0; entries && i < n; i++) {
		int number = number_of(s, entries[i].key, entries[i].key_length, entries[i].int_key);

		require(s->present[number] && entries[i].value == s->values[number]);
	}
}

static void walk(Subject *s)
{
	check_entries(s);
	if (s->kind != HashTable_BYTES) /* map does not tell how long a key is */
		HashTable_map(s->table, count_entry, s);
	if (s->kind != HashTable_INTEGER) {
		void **volatile array = NULL;

		TRY {
			array = HashTable_toArray(s->table, s->arena, s);
		} EXCEPT(Arena_Failed) {
			array = NULL;
		} END_TRY;
		require(!array || array[2 * s->length] == s);
	}
}

static void reserve(Subject *s)
{
	size_t n = s->length + below(3000);
	HashTable_Stats stats;

	TRY {
		HashTable_reserve(s->table, n);
		HashTable_stats(s->table, &stats);
		require(stats.capacity >= n);
	} EXCEPT(Arena_Failed) {
		check_length(s);
	} EXCEPT(Refused) {
		check_length(s);
	} END_TRY;
}

static void shrink(Subject *s)
{
	HashTable_Stats before, after;

	HashTable_stats(s->table, &before);
	TRY {
		HashTable_shrink(s->table);
	} EXCEPT(Arena_Failed) {
		check_length(s);
	} EXCEPT(Refused) {
		check_length(s);
	} END_TRY;
	HashTable_stats(s->table, &after);
	require(after.bytes <= before.bytes);
	check_all(s);
}

static void copy(Subject *s)
{
	volatile HashTable_T made = NULL;

	TRY {
		made = HashTable_copy(s->table, s->arena);
	} EXCEPT(Arena_Failed) {
		check_length(s);
	} END_TRY;
	if (made) {
		HashTable_free(&s->table);
		s->table = made;
	}
	check_all(s);
}

static void renew(Subject *s, size_t *blocks)
{
	check_all(s);
	if (below(2))
		HashTable_free(&s->table);
	if (below(3) == 0) {
		Arena_dispose(&s->arena);
		require(*blocks == 0);
		s->arena = new_arena(blocks);
	}
	make_table(s);
}

static void clear(Subject *s)
{
	HashTable_clear(s->table);
	memset(s->present, 0, sizeof s->present);
	s->length = 0;
}

static void step(Subject *s, size_t *blocks)
{
	unsigned phase = (unsigned)(done / 7000 % 3), what = below(10000);
	int n = (int)below(phase == 2 ? 200 : NUMBERS);

	failures_in = below(8) ? 0 : 500;
	if (what < (phase ? 3500u : 6500u))
		put_one(s, n);
	else if (what < 8000)
		remove_one(s, n);
	else if (what < 9960)
		check_one(s, n);
	else if (what < 9965)
		reserve(s);
	else if (what < 9970)
		shrink(s);
	else if (what < 9980)
		remove_some(s);
	else if (what < 9988)
		walk(s);
	else if (what < 9993)
		copy(s);
	else if (what < 9996)
		clear(s);
	else
		renew(s, blocks);
}

int main(int argc, char *argv[])
{
	unsigned long operations = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;
	static Subject subjects[KINDS];
	size_t blocks[KINDS] = { 0 };
	int i;

	first_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 2654435761u;
	random_state = first_seed | 1;
	make_keys();
	for (i = 0; i < KINDS; i++) {
		subjects[i].kind = (HashTable_Kind)i;
		subjects[i].arena = new_arena(&blocks[i]);
		make_table(&subjects[i]);
	}
	for (; done < operations; done++) {
		i = (int)below(KINDS);
		step(&subjects[i], &blocks[i]);
	}
	failures_in = 0;
	for (i = 0; i < KINDS; i++) {
		check_all(&subjects[i]);
		Arena_dispose(&subjects[i].arena);
		require(blocks[i] == 0);
	}
	printf("%lu operations, seed %llu\n", operations, (unsigned long long)first_seed);
	return 0;
}
