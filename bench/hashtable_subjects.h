/* SPDX-License-Identifier: MIT */
/* What bench_hashtable and its contestants ask of each other. A contestant runs whole loops, so
 * that a template or macro is inlined into them just as in a program of its users; every loop
 * uses its results. */
#ifndef HASHTABLE_SUBJECTS_INCLUDED
#define HASHTABLE_SUBJECTS_INCLUDED
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The value of key i is never NULL, and says i. */
#define VALUE_OF(i) ((void *)(uintptr_t)((i) * 8 + 8))

typedef struct Keys {
	const uint64_t *numbers;    /* either these */
	const char *const *strings; /* or these: NUL-terminated, in one block of memory */
} Keys;

typedef struct Subject {
	const char *name;
	int strings, copies_keys;
	void *(*make)(size_t hint); /* 0: grows from empty */
	void (*insert)(void *table, const Keys *, size_t n); /* keys 0 to n - 1 */
	/* the sum of the values */
	uintptr_t (*find)(void *table, const Keys *, const uint32_t *order, size_t n);
	/* n times erase and reinsert */
	void (*churn)(void *table, const Keys *, const uint32_t *order, size_t n);
	uintptr_t (*iterate)(void *table); /* the sum of the values */
	void (*drop)(void *table);
} Subject;

/* The loops over the expressions of a contestant; k is the key, v the value, t the table.
 * LOOPS(core_u64, numbers, uint64_t, HashTable_put_int(t, k, v), HashTable_get_int(t, k),
 * HashTable_remove_int(t, k)) defines core_u64_insert, core_u64_find and core_u64_churn. */
#define LOOPS(name, array, Key, Table, PUT, GET, REMOVE)                                         \
	static void name##_insert(void *table, const Keys *keys, size_t n)                           \
	{                                                                                            \
		Table t = (Table)table;                                                                  \
		size_t i;                                                                                \
		for (i = 0; i < n; i++) {                                                                \
			Key k = keys->array[i];                                                              \
			void *v = VALUE_OF(i);                                                               \
			PUT;                                                                                 \
		}                                                                                        \
	}                                                                                            \
	static uintptr_t name##_find(void *table, const Keys *keys, const uint32_t *order, size_t n) \
	{                                                                                            \
		Table t = (Table)table;                                                                  \
		uintptr_t sum = 0;                                                                       \
		size_t i;                                                                                \
		for (i = 0; i < n; i++) {                                                                \
			Key k = keys->array[order[i]];                                                       \
			sum += (uintptr_t)(GET);                                                             \
		}                                                                                        \
		return sum;                                                                              \
	}                                                                                            \
	static void name##_churn(void *table, const Keys *keys, const uint32_t *order, size_t n)     \
	{                                                                                            \
		Table t = (Table)table;                                                                  \
		size_t i;                                                                                \
		for (i = 0; i < n; i++) {                                                                \
			Key k = keys->array[order[i]];                                                       \
			void *v = VALUE_OF(order[i]);                                                        \
			REMOVE;                                                                              \
			PUT;                                                                                 \
		}                                                                                        \
	}

/* hashtable_peers.cc */
extern const Subject *const cxx_subjects[]; /* NULL at the end */

/* boost_so.cc: boost::unordered_flat_map behind an opaque C interface, in a shared library of its
 * own: what the best C++ table gives to a C program. */
typedef struct Boost_u64 Boost_u64;
typedef struct Boost_str Boost_str;
Boost_u64 *boost_u64_new(size_t hint);
void boost_u64_put(Boost_u64 *, uint64_t key, void *value);
void *boost_u64_get(const Boost_u64 *, uint64_t key);
void boost_u64_remove(Boost_u64 *, uint64_t key);
void boost_u64_map(const Boost_u64 *, void (*apply)(uint64_t key, void *value, void *cl), void *cl);
void boost_u64_free(Boost_u64 *);
Boost_str *boost_str_new(size_t hint);
void boost_str_put(Boost_str *, const char *key, void *value);
void *boost_str_get(const Boost_str *, const char *key);
void boost_str_remove(Boost_str *, const char *key);
void boost_str_map(const Boost_str *, void (*apply)(const char *key, void *value, void *cl),
	void *cl);
void boost_str_free(Boost_str *);

#ifdef __cplusplus
}
#endif
#endif
