/* SPDX-License-Identifier: MIT */
/* HashTable: keys to void pointers, on an arena. The kind of the table says what a key is; each kind
 * has its own calls for keys that are not a `const void *`, and using another kind's is a checked
 * runtime error. STRING and STRING_NOCASE keys are NUL-terminated unless given with a length.
 *
 * Any number of threads may read a table that none writes. Keys and values of a NULL pointer: a NULL
 * key is a checked runtime error (but in POINTER tables), a NULL value is a value.
 * Everything that stores may raise Arena_Failed (no memory) or HashTable_Failed; the table is then as it was.
 * Checked everywhere: the table is NULL or was freed; a writing call inside a resize callback.
 * Unchecked: hash or equal of a CUSTOM table that writes to it. */
#ifndef HASHTABLE_INCLUDED
#define HASHTABLE_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/Arena.h>

CORE_BEGIN_DECLS

typedef struct HashTable *HashTable_T;

extern CORE_API const Except_T HashTable_Failed; /* too many entries, a key of 4 GiB or more, no random source */

typedef enum {
	HashTable_STRING, HashTable_STRING_NOCASE /* ASCII letters */, HashTable_BYTES,
	HashTable_INTEGER, HashTable_POINTER, HashTable_CUSTOM
} HashTable_Kind;

typedef struct HashTable_Options { /* all zero: STRING keys, copied, random seed */
	HashTable_Kind kind;
	size_t hint;               /* entries that fit before the first resize */
	int borrow_keys;           /* keep the caller's key pointers; else keys are copied into the arena */
	uint64_t seed;             /* 0: random per process, varied per table */
	uint64_t (*hash)(const void *key, uint64_t seed); /* these two for CUSTOM, whose keys are borrowed */
	int (*equal)(const void *x, const void *y);
} HashTable_Options;

typedef struct HashTable_Stats {
	size_t length, capacity;   /* entries; entries that fit before the next resize */
	size_t bytes;              /* of the slots, keys not counted */
	size_t resizes;
	size_t longest_probe;      /* groups looked at to find an entry that is there */
	double mean_probe;
} HashTable_Stats;

/* arena NULL: an arena of its own, which HashTable_free disposes of. Raises: Arena_Failed, HashTable_Failed.
 * Checked: options NULL, no such kind, hash and equal not both there in CUSTOM or there in another kind. */
CORE_API HashTable_T HashTable_new(Arena_T arena, size_t hint);
CORE_API HashTable_T HashTable_new_with(Arena_T arena, const HashTable_Options *options);
CORE_API void HashTable_free(HashTable_T *table); /* sets it to NULL; needless before Arena_dispose */

/* put: the previous value, or NULL. get, remove: the value, or NULL if absent.
 * slot: the place of the value, made (NULL) if absent; valid until the next resize or removal. */
CORE_API void *HashTable_put(HashTable_T, const void *key, void *value);
CORE_API void *HashTable_get(HashTable_T, const void *key);
CORE_API int HashTable_has(HashTable_T, const void *key);
CORE_API void *HashTable_remove(HashTable_T, const void *key);
CORE_API void **HashTable_slot(HashTable_T, const void *key);

/* STRING, STRING_NOCASE and BYTES, a key of n bytes. */
CORE_API void *HashTable_put_bytes(HashTable_T, const void *key, size_t n, void *value);
CORE_API void *HashTable_get_bytes(HashTable_T, const void *key, size_t n);
CORE_API void *HashTable_remove_bytes(HashTable_T, const void *key, size_t n);

/* INTEGER */
CORE_API void *HashTable_put_int(HashTable_T, uint64_t key, void *value);
CORE_API void *HashTable_get_int(HashTable_T, uint64_t key);
CORE_API void *HashTable_remove_int(HashTable_T, uint64_t key);

CORE_API size_t HashTable_length(HashTable_T);
CORE_API void HashTable_reserve(HashTable_T, size_t n); /* n entries fit without a resize */
CORE_API void HashTable_clear(HashTable_T);             /* keeps the slots */

/* Each entry once, in no specified order. An insertion meanwhile is a checked runtime error; removing
 * any entry, or the one at hand with iter_remove, is safe; a copied key goes with its entry.
 * INTEGER: map's key points to a uint64_t. Checked: iter_remove without an entry at hand. */
CORE_API void HashTable_map(HashTable_T, void (*apply)(const void *key, void **value, void *cl), void *cl);
typedef struct HashTable_Iter {
	const void *key; /* NULL in INTEGER tables */
	size_t key_length; /* of STRING, STRING_NOCASE and BYTES */
	uint64_t int_key;
	void *value;
	HashTable_T table_; /* private from here on */
	size_t turn_, group_, epoch_;
	void *place_;
	uint64_t left_;
	unsigned slot_;
} HashTable_Iter;
CORE_API void HashTable_iterate(HashTable_T, HashTable_Iter *);
CORE_API int HashTable_next(HashTable_Iter *); /* 0 past the last */
CORE_API void HashTable_iter_remove(HashTable_Iter *);

CORE_API void **HashTable_toArray(HashTable_T, Arena_T arena, void *end); /* key, value, ..., end; not INTEGER */
/* Copies what the table had copied, the seed and the order; not the callbacks. arena NULL: its own. */
CORE_API HashTable_T HashTable_copy(HashTable_T, Arena_T arena);

/* pre runs before any slot moves, each time the storage is about to change (the first insertion into a
 * table without a hint included), and may read the table; post when it has, before what asked for it is
 * stored. Either may raise: nothing is stored then, and from pre nothing has changed. NULL removes it. */
CORE_API void HashTable_set_pre_resize_callback(HashTable_T, void (*fn)(HashTable_T, void *userdata), void *userdata);
CORE_API void HashTable_set_post_resize_callback(HashTable_T, void (*fn)(HashTable_T, void *userdata), void *userdata);
CORE_API void HashTable_stats(HashTable_T, HashTable_Stats *);

CORE_END_DECLS
#endif
