/* SPDX-License-Identifier: MIT */
/* Private to HashTable: the representation. One block of memory, the storage, holds 15 slots a group and
 * then the groups, whose number is a power of two; slot s of group g is slot 15 g + s.
 *
 * Invariant: an entry is in the first group of its probe sequence (from hash & mask by steps of 1, 2,
 * 3, ...: every group once) that had a free slot when it came, and the overflow filter of every group
 * before that has its bit. length slots are taken. length + room is at most capacity_of(groups), and less
 * by the removals from groups that a key had overflowed: those leave bits in the filters, so that a table
 * that is used for ever is spread anew from time to time. A table without storage has the empty group. */
#ifndef HASHTABLEREP_INCLUDED
#define HASHTABLEREP_INCLUDED
#include <core/HashTable.h>
#include "HashTableGroup.h"
#include "checked.h"

#define T HashTable_T
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* INTEGER and POINTER. Both kinds of slot begin with the value: a void ** to it is the slot. */
typedef struct Word_Slot {
	void *value;
	uint64_t key;
} Word_Slot;

/* The other kinds. With the hash here, growing reads no key and calls no function of the caller's. */
typedef struct Text_Slot {
	void *value;
	const void *key;
	uint32_t hash, length; /* length 0 in CUSTOM tables */
} Text_Slot;

/* What differs between the kinds inside a probe; a constant wherever it is a parameter. */
enum Way { WORDS, TEXT, FOLDED, CUSTOM };

/* ---- the memory of copied keys ---- */

typedef struct Key_Block {
	struct Key_Block *next;
	size_t size; /* of the bytes behind this header */
} Key_Block;

enum { KEY_CLASSES = 64 };

typedef struct Keys {
	char *avail;                 /* what is left of one of the used blocks */
	size_t left;
	Key_Block *used, **used_end; /* oldest first, so that a batch like the last one finds its blocks again */
	Key_Block *idle;
	void **returned;             /* KEY_CLASSES lists of removed keys' bytes; NULL until there is one */
	size_t held;                 /* bytes asked of the arena */
	size_t granule;              /* keys are aligned to it */
} Keys;

/* ---- the table ---- */

typedef struct Callback {
	void (*fn)(T, void *);
	void *userdata;
} Callback;

struct HashTable {
	uint32_t magic;          /* MAGIC | kind while it lives */
	uint8_t owns_arena, copies_keys;
	uint8_t embedded;        /* the storage is the one group behind this struct */
	uint8_t busy;            /* a resize callback runs */
	size_t mask;             /* groups - 1 */
	const Group *groups;
	char *slots;             /* the storage; NULL: none */
	uint64_t secret[HASH_SECRETS];
	size_t length, room;     /* room: entries that may still come before the next resize */
	size_t epoch;            /* insertions and resizes so far, for stale iterators */
	size_t resizes;
	size_t own_bytes;        /* of this struct's allocation */
	HashTable_Options options;
	Callback pre, post;
	Arena_T arena;
	Keys keys;
};

static const uint32_t HASHTABLE_MAGIC = 0x48534800; /* "HSH", and the kind */
enum { KIND_BITS = 0xff };

ALWAYS_INLINE HashTable_Kind kind_of(T t)
{
	return (HashTable_Kind)(t->magic & KIND_BITS);
}

void hashtable__bad_table(T t, const char *function) CORE_NORETURN;

ALWAYS_INLINE void check_table(T t, const char *function)
{
	if (UNLIKELY(!t || (t->magic & ~(uint32_t)KIND_BITS) != HASHTABLE_MAGIC))
		hashtable__bad_table(t, function);
}

/* A writer: not inside a resize callback. */
ALWAYS_INLINE void check_writable(T t, const char *function)
{
	check_table(t, function);
	CHECK(!t->busy, "%s: called from a resize callback, which may only read the table", function);
}

ALWAYS_INLINE int is_words(T t)
{
	return kind_of(t) == HashTable_INTEGER || kind_of(t) == HashTable_POINTER;
}

ALWAYS_INLINE size_t slot_size(enum Way way)
{
	return way == WORDS ? sizeof(Word_Slot) : sizeof(Text_Slot);
}

ALWAYS_INLINE size_t slot_size_of(T t)
{
	return is_words(t) ? slot_size(WORDS) : slot_size(TEXT);
}

ALWAYS_INLINE Group *groups_of(T t)
{
	return (Group *)t->groups; /* to write, which nobody does to the empty group: it has no room */
}

/* The 32 bits that a slot keeps, for the position below and for the tag above: from 2^24 groups on (200
 * million entries) they begin to overlap, which costs a few more comparisons a group and nothing else. */
ALWAYS_INLINE uint64_t widen(uint32_t hash)
{
	return (uint64_t)hash << 32 | hash;
}

ALWAYS_INLINE uint64_t hash_of_slot(T t, enum Way way, const void *slot)
{
	return way == WORDS ? hash_word(t->secret, ((const Word_Slot *)slot)->key)
		: widen(((const Text_Slot *)slot)->hash);
}

/* 7/8 of the slots; one group may be full, since a search ends there anyway. */
static inline size_t capacity_of(size_t groups)
{
	return groups == 1 ? GROUP_SLOTS : groups * 13 + groups / 8;
}

/* HashTableKeys.c */
void hashtable__keys_init(T t);
char *hashtable__keep_key(T t, const void *key, size_t n); /* raises Arena_Failed */
void hashtable__drop_key(T t, const void *copy, size_t n);
void hashtable__drop_all_keys(T t);
void hashtable__donate(T t, void *p, size_t nbytes); /* memory that the table has no other use for */

/* HashTableResize.c */
extern const Group hashtable__no_group;
size_t hashtable__groups_for(size_t slot_bytes, size_t n); /* raises HashTable_Failed */
size_t hashtable__storage_bytes(size_t slot_bytes, size_t groups); /* 0: more than there can be */
void hashtable__set_storage(T t, char *storage, size_t groups);
void hashtable__make_room(T t); /* for one more */

/* HashTable.c */
T hashtable__new(Arena_T arena, const HashTable_Options *options, size_t groups);
void hashtable__erase(T t, void **slot);

#endif
