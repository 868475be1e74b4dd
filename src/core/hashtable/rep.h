/* SPDX-License-Identifier: MIT */
/* Private to HashTable: the representation. A group has 15 slots. The control bytes of all groups
 * lie together. Group g belongs to the 32-bit hashes h with h * ngroups / 2^32 == g. So any
 * number of groups works, and growth moves entries up by at most the growth and keeps their
 * order.
 *
 * Up to 256 groups, the slots are one block of memory with the control bytes after them. Larger
 * tables have segments of 256 groups, which never move. Growth adds segments and spreads the
 * entries over all of them. So a table holds little more than its slots at any time, also while
 * it grows.
 *
 * Invariant: search the groups from an entry's own group on; the first group follows the last.
 * The entry is in the first group that had a free slot when the entry came. The overflow filter of
 * every group before has its bit. There are `length` slots in use. length + room is at most
 * capacity_of(ngroups). It is less by the removals from groups that a key had overflowed. These
 * removals leave bits in the filters, so a table in steady use is rehashed from time to time to
 * clear them. A table without storage has the empty group. */
#ifndef HASHTABLEREP_INCLUDED
#define HASHTABLEREP_INCLUDED
#include <core/HashTable.h>
#include "hashtable/group.h"
#include "base/checked.h"

#define T HashTable_T

/* The slot of INTEGER and POINTER tables. Both types of slots begin with the value, so a void **
 * to the value is the slot. */
typedef struct Word_Slot {
	void *value;
	uint64_t key;
} Word_Slot;

/* The slot of the other kinds. It has the hash, so growth reads no key and calls no function of
 * the caller. */
typedef struct Text_Slot {
	void *value;
	const void *key;
	uint64_t id; /* id_of(hash, length); length 0 in CUSTOM tables */
} Text_Slot;

/* How a search compares keys; a constant wherever it is a parameter. */
enum Way { WORDS, TEXT, FOLDED, CUSTOM };

/* ---- the memory of copied keys ---- */

typedef struct Key_Block {
	struct Key_Block *next;
	size_t size; /* bytes after this header */
} Key_Block;

enum { KEY_CLASSES = 64 };

typedef struct Keys {
	char *avail;                 /* the free rest of one of the used blocks */
	size_t left;
	Key_Block *used, **used_end; /* oldest first: the next batch finds its blocks again */
	Key_Block *idle;
	void **returned;             /* KEY_CLASSES lists of removed keys' bytes, or NULL */
	size_t held;                 /* bytes from the arena */
	unsigned granule_log;        /* keys are aligned to 1 << granule_log */
} Keys;

/* ---- the table ---- */

typedef struct Callback {
	void (*fn)(T, void *);
	void *userdata;
} Callback;

/* Segments that were allocated together. The index follows them: the control bytes of all groups
 * and the pointers to all segments. Only the index of the newest extent is in use; the index of
 * an older extent may hold keys. */
typedef struct Extent {
	struct Extent *older;
	size_t nbytes, segments;
} Extent;

struct HashTable {
	/* The fields that lookups need; one cache line on most machines. */
	uint32_t magic;          /* HASHTABLE_MAGIC | kind; BUSY in a resize callback */
	uint32_t wide_limit;     /* for may_read_wide */
	size_t ngroups;
	const Group *groups;
	char **segments;         /* &first up to 256 groups */
	uint64_t secret[HASH_SECRETS];

	size_t length, room;     /* room is the number of entries that fit before the next resize */
	char *first;             /* the first segment; the struct itself if there is none */
	size_t epoch;            /* insertions and resizes so far, for stale iterators */
	size_t resizes;
	size_t own_bytes;        /* size of this struct's allocation */
	Extent *extents;         /* newest first */
	uint8_t owns_arena, copies_keys;
	uint8_t embedded;        /* the first segment is one group after this struct */
	size_t block_groups;     /* groups of the first segment, if it is an allocation of its own */
	HashTable_Options options;
	Callback pre, post;
	Arena_T arena;
	Keys keys;
};

static const uint32_t HASHTABLE_MAGIC = 0x48534800; /* "HSH", and the kind */
enum { KIND_BITS = 0x7f, BUSY = 0x80 };

ALWAYS_INLINE HashTable_Kind kind_of(T t)
{
	return (HashTable_Kind)(t->magic & KIND_BITS);
}

void hashtable__bad_table(T t, const char *function) CORE_NORETURN;
void hashtable__refuse_write(T t, const char *function);

ALWAYS_INLINE void check_table(T t, const char *function)
{
	if (UNLIKELY(!t || (t->magic & ~(uint32_t)(KIND_BITS | BUSY)) != HASHTABLE_MAGIC))
		hashtable__bad_table(t, function);
}

/* Checks a call that writes: no resize callback may run. */
ALWAYS_INLINE void check_writable(T t, const char *function)
{
	check_table(t, function);
	if (UNLIKELY(t->magic & BUSY))
		hashtable__refuse_write(t, function);
}

/* ---- slots ---- */

enum { SEGMENT_LOG = 8, SEGMENT = 1 << SEGMENT_LOG }; /* groups in a segment */
enum { LINE = 64 }; /* bytes in a cache line on most machines */

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

/* Returns the size of the slots of some groups, padded so that control bytes may follow. */
ALWAYS_INLINE size_t slots_bytes(size_t slot_bytes, size_t groups)
{
	return (groups * GROUP_SLOTS * slot_bytes + sizeof(Group) - 1) & ~(sizeof(Group) - 1);
}

ALWAYS_INLINE Group *groups_of(T t)
{
	/* The empty group has no room, so no function writes to it. */
	return (Group *)t->groups;
}

/* Returns the slots of group g. */
ALWAYS_INLINE char *block_of(T t, size_t slot_bytes, size_t g)
{
	return t->segments[g >> SEGMENT_LOG] + (g & (SEGMENT - 1)) * GROUP_SLOTS * slot_bytes;
}

ALWAYS_INLINE uint64_t id_of(uint32_t hash, size_t length)
{
	return (uint64_t)length << 32 | hash;
}

ALWAYS_INLINE uint32_t hash_of_id(uint64_t id)
{
	return (uint32_t)id;
}

ALWAYS_INLINE size_t length_of_id(uint64_t id)
{
	return (size_t)(id >> 32);
}

ALWAYS_INLINE uint32_t hash_of_slot(T t, enum Way way, const void *slot)
{
	return way == WORDS ? (uint32_t)(hash_word(t->secret, ((const Word_Slot *)slot)->key) >> 32)
		: hash_of_id(((const Text_Slot *)slot)->id);
}

ALWAYS_INLINE size_t position_of(T t, uint32_t hash)
{
	return (size_t)((uint64_t)hash * t->ngroups >> 32);
}

ALWAYS_INLINE size_t position_after(T t, size_t g)
{
	return g + 1 == t->ngroups ? 0 : g + 1;
}

/* Returns 1 if all slots are in one segment. The caches hold it, so a search need not
 * prefetch. */
ALWAYS_INLINE int is_small(T t)
{
	return t->ngroups <= SEGMENT;
}

/* Returns the favourite slot of a hash in its group. A search prefetches the cache line of that
 * slot while the control bytes are on their way. So a search in a table larger than the caches
 * waits once, not twice. */
ALWAYS_INLINE unsigned favourite_of(uint32_t hash)
{
	return hash >> 8 & 15;
}

ALWAYS_INLINE void prefetch_favourite(const char *block, size_t slot_bytes, uint32_t hash)
{
	__builtin_prefetch((const void *)((uintptr_t)block + favourite_of(hash) * slot_bytes));
}

/* Returns a free slot of group g, in large tables one in the favourite's cache line if there is
 * one. Segments begin with a line. In smaller tables the address of the storage must not matter:
 * equal histories must give equal orders. */
ALWAYS_INLINE unsigned choose_slot(T t, Mask free_slots, size_t g, size_t slot_bytes, uint32_t hash)
{
	unsigned favourite = favourite_of(hash), before;
	Mask near;

	if (LIKELY(is_small(t)))
		return mask_first(free_slots);
	before = (unsigned)((g * GROUP_SLOTS + favourite) * slot_bytes % LINE / slot_bytes);
	near = free_slots & mask_span(favourite, before, (unsigned)(LINE / slot_bytes));
	return mask_first(near ? near : free_slots);
}

/* Returns 7/8 of the slots. One group may be full, because a search ends there anyway. */
static inline size_t capacity_of(size_t groups)
{
	return groups == 1 ? GROUP_SLOTS : groups * 13 + groups / 8;
}

ALWAYS_INLINE int has_storage(T t)
{
	return t->first != (char *)t;
}

/* Claims one of the free slots of group g for a hash. */
ALWAYS_INLINE void *claim_slot_of(T t, const size_t slot_bytes, uint32_t hash, size_t g,
	Mask free_slots)
{
	unsigned s = choose_slot(t, free_slots, g, slot_bytes, hash);

	group_set_hash(&groups_of(t)[g], s, hash);
	t->length++;
	t->room--;
	t->epoch++;
	return block_of(t, slot_bytes, g) + s * slot_bytes;
}

/* Claims a slot of the first group with a free one. There must be one. */
ALWAYS_INLINE void *claim_slot(T t, const size_t slot_bytes, uint32_t hash)
{
	size_t g = position_of(t, hash);
	Mask m;

	for (; !(m = group_match(&t->groups[g], FREE)); g = position_after(t, g))
		groups_of(t)[g].overflow |= overflow_bit(hash);
	return claim_slot_of(t, slot_bytes, hash, g, m);
}

/* hashtable/keys.c */
void hashtable__keys_init(T t);
char *hashtable__keep_key(T t, const void *key, size_t n); /* raises Arena_Failed */
void hashtable__drop_key(T t, const void *copy, size_t n);
void hashtable__drop_all_keys(T t);
/* gives memory for keys; returns 0 if this table copies none */
int hashtable__donate(T t, void *p, size_t nbytes);

/* hashtable/resize.c */
extern const Group hashtable__no_group;
size_t hashtable__groups_for(size_t slot_bytes, size_t n); /* raises HashTable_Failed */
/* Returns the size of up to 256 groups with their control bytes. */
size_t hashtable__block_bytes(size_t slot_bytes, size_t groups);
size_t hashtable__storage_bytes(T t);
void hashtable__no_storage(T t);
void hashtable__use_block(T t, char *block, size_t groups);
/* to a table that has none; the groups are empty */
void hashtable__add_storage(T t, size_t groups);
void hashtable__free_storage(T t);
void hashtable__make_room(T t); /* for one more entry */

/* HashTable.c */
T hashtable__new(Arena_T arena, const HashTable_Options *options, size_t groups);
void hashtable__erase(T t, void **slot, Group *group, unsigned s);

#endif
