/* SPDX-License-Identifier: MIT */
/* HashTable maps keys to void pointers, on an arena. The kind of a table says what its keys are and
 * which calls it takes. Any number of threads may read a table while no thread writes to it.
 * Raises, in every call that stores: Arena_Failed, HashTable_Failed; the table is then as it was.
 * Checked everywhere: the table is NULL or was freed; a NULL key (but in POINTER tables); a call
 * for another kind; a call that writes, inside a resize callback.
 * Unchecked: hash or equal of a CUSTOM table that writes to it. */
#ifndef HASHTABLE_INCLUDED
#define HASHTABLE_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/Arena.h>

CORE_BEGIN_DECLS
typedef struct HashTable *HashTable_T;
extern CORE_API const Except_T HashTable_Failed; /* too large, or no random seed */

typedef enum { /* STRING_NOCASE: ASCII letters match in either case */
	HashTable_STRING, HashTable_STRING_NOCASE, HashTable_BYTES,
	HashTable_INTEGER, HashTable_POINTER, HashTable_CUSTOM
} HashTable_Kind;

typedef struct HashTable_Options { /* A zero field means the default given beside it. */
	HashTable_Kind kind;       /* STRING */
	size_t hint;               /* entries that fit before the first resize; no slots */
	int borrow_keys;           /* keep the caller's key pointers; copy the keys into the arena */
	uint64_t seed;             /* random per process, another one for each table */
	uint64_t (*hash)(const void *key, uint64_t seed); /* CUSTOM needs both, other kinds neither; */
	int (*equal)(const void *x, const void *y);       /* CUSTOM keys are borrowed */
} HashTable_Options;

typedef struct HashTable_Stats {
	size_t length, capacity;   /* entries; entries that fit before the next resize */
	size_t bytes;              /* memory of the slots, keys not counted */
	size_t resizes, longest_probe; /* longest, mean: groups of slots searched to find an entry */
	double mean_probe;
} HashTable_Stats;

/* If arena is NULL, the table makes an arena of its own, and HashTable_free disposes of it.
 * Checked: options NULL, no such kind, hash or equal missing for CUSTOM or given for others. */
CORE_API HashTable_T HashTable_new(Arena_T arena, size_t hint);
CORE_API HashTable_T HashTable_new_with(Arena_T arena, const HashTable_Options *options);
CORE_API void HashTable_free(HashTable_T *);    /* sets it to NULL; needless before Arena_dispose */

/* put returns the previous value, or NULL; get and remove return the value, or NULL if the key is
 * absent. slot returns the place of the value; if the key is absent, it makes one that holds NULL.
 * The place is valid until an insertion that resizes, a removal or a shrink.
 * For STRING, STRING_NOCASE, POINTER and CUSTOM: */
CORE_API void *HashTable_put(HashTable_T, const void *key, void *value);
CORE_API void *HashTable_get(HashTable_T, const void *key);
CORE_API int HashTable_has(HashTable_T, const void *key);
CORE_API void *HashTable_remove(HashTable_T, const void *key);
CORE_API void **HashTable_slot(HashTable_T, const void *key);
/* The same for STRING, STRING_NOCASE and BYTES, with a key of n bytes that needs no NUL: */
CORE_API void *HashTable_put_bytes(HashTable_T, const void *key, size_t n, void *value);
CORE_API void *HashTable_get_bytes(HashTable_T, const void *key, size_t n);
CORE_API int HashTable_has_bytes(HashTable_T, const void *key, size_t n);
CORE_API void *HashTable_remove_bytes(HashTable_T, const void *key, size_t n);
CORE_API void **HashTable_slot_bytes(HashTable_T, const void *key, size_t n);
/* The same for INTEGER: */
CORE_API void *HashTable_put_int(HashTable_T, uint64_t key, void *value);
CORE_API void *HashTable_get_int(HashTable_T, uint64_t key);
CORE_API int HashTable_has_int(HashTable_T, uint64_t key);
CORE_API void *HashTable_remove_int(HashTable_T, uint64_t key);
CORE_API void **HashTable_slot_int(HashTable_T, uint64_t key);

CORE_API size_t HashTable_length(HashTable_T);
CORE_API void HashTable_reserve(HashTable_T, size_t n); /* makes room for n entries in all */
CORE_API void HashTable_clear(HashTable_T);             /* removes all entries, keeps the slots */
CORE_API void HashTable_shrink(HashTable_T);            /* keeps only the slots that it needs */

/* A walk visits each entry once, in no specified order. Any entry may be removed meanwhile; its
 * copied key goes with it. map passes an INTEGER key as the address of a uint64_t.
 * Checked: the walk goes on after an insertion, a resize or a shrink. */
CORE_API void HashTable_map(HashTable_T, void (*apply)(const void *key, void **value, void *cl),
	void *cl);
typedef struct HashTable_Iter {
	const void *key;           /* NULL in INTEGER tables */
	size_t key_length;         /* in STRING, STRING_NOCASE and BYTES tables; else 0 */
	uint64_t int_key;          /* in INTEGER tables; else 0 */
	void *value;
	HashTable_T table_; size_t turn_, group_, epoch_; /* private from here on */
	void *place_; uint64_t left_; unsigned slot_;
} HashTable_Iter;
CORE_API void HashTable_iterate(HashTable_T, HashTable_Iter *);
CORE_API int HashTable_next(HashTable_Iter *);         /* returns 0 past the last entry */
CORE_API void HashTable_iter_remove(HashTable_Iter *); /* Checked: next did not return 1 before */

/* Returns key, value, ..., end. Checked: the table is INTEGER; arena NULL. */
CORE_API void **HashTable_toArray(HashTable_T, Arena_T arena, void *end);
typedef struct HashTable_Entry { /* as in HashTable_Iter */
	const void *key; size_t key_length; uint64_t int_key; void *value;
} HashTable_Entry;
/* Returns the *n entries of a table of any kind, never NULL, for sorting. A key is valid while the
 * table has its entry. Checked: arena or n is NULL. */
CORE_API HashTable_Entry *HashTable_entries(HashTable_T, Arena_T arena, size_t *n);
/* Copies entries, copied keys, seed and order, not the callbacks. arena NULL: its own. */
CORE_API HashTable_T HashTable_copy(HashTable_T, Arena_T arena);

/* pre runs before any slot moves, at each resize. The first insertion without a hint is one. post
 * runs when all have moved, before the entry is stored. Both may read the table. If either raises,
 * nothing is stored; after a raise of pre the table is as it was. fn NULL removes the callback. */
CORE_API void HashTable_set_pre_resize_callback(HashTable_T,
	void (*fn)(HashTable_T, void *userdata), void *userdata);
CORE_API void HashTable_set_post_resize_callback(HashTable_T,
	void (*fn)(HashTable_T, void *userdata), void *userdata);
CORE_API void HashTable_stats(HashTable_T, HashTable_Stats *);

CORE_END_DECLS
#endif
