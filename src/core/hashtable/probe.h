/* SPDX-License-Identifier: MIT */
/* Private to HashTable.c: searching for a slot. The search is written once and always inlined,
 * with the way of comparing keys as a constant. So each kind gets a loop of its own, and only
 * CUSTOM keys cost a call through a pointer. Lookups write nothing. */
#ifndef HASHTABLEPROBE_INCLUDED
#define HASHTABLEPROBE_INCLUDED
#include "hashtable/rep.h"

/* A key to search. */
typedef struct Key {
	const void *p;  /* not in WORDS */
	uint64_t n;     /* the word, or the length */
	uint32_t hash;
	int is_wide;    /* 32 bytes may be read at p, and n is 1 to 32 */
} Key;

/* The place of an entry. slot is NULL if there is none. */
typedef struct Place {
	void **slot;
	Group *group;
	unsigned s; /* the slot's number in the group */
} Place;

ALWAYS_INLINE int is_text(T t, const enum Way way, const void *stored, const Key *k)
{
#if HASH_WIDE_READS
	if (k->is_wide && LIKELY(may_read_wide(stored, t->wide_limit)))
		return same_wide(stored, k->p, (size_t)k->n, way == FOLDED);
#endif
	(void)t;
	return same_bytes(stored, k->p, (size_t)k->n, way == FOLDED);
}

ALWAYS_INLINE int is_key(T t, const enum Way way, const void *slot, const Key *k)
{
	const Text_Slot *s = slot;

	if (way == WORDS)
		return ((const Word_Slot *)slot)->key == k->n;
	if (s->id != id_of(k->hash, (size_t)k->n))
		return 0;
	return way == CUSTOM ? t->options.equal(s->key, k->p) != 0 : is_text(t, way, s->key, k);
}

/* Searches one group. */
ALWAYS_INLINE Place find_in_group(T t, const enum Way way, const Key *k, size_t position)
{
	const Group *g = &t->groups[position];
	const char *block;
	Place at = { NULL, NULL, 0 };
	Mask m;

	if (LIKELY(is_small(t))) {
		block = t->first + position * GROUP_SLOTS * slot_size(way);
	} else {
		block = block_of(t, slot_size(way), position);
		prefetch_favourite(block, slot_size(way), k->hash);
	}
	for (m = group_match_hash(g, k->hash); m; m = mask_rest(m)) {
		const void *slot = block + mask_first(m) * slot_size(way);

		if (LIKELY(is_key(t, way, slot, k))) {
			at.slot = (void **)(uintptr_t)slot;
			at.group = (Group *)(uintptr_t)g;
			at.s = mask_first(m);
			break;
		}
	}
	return at;
}

ALWAYS_INLINE int has_overflowed(T t, size_t position, const Key *k)
{
	return t->groups[position].overflow >> (k->hash & 7) & 1; /* overflow_bit */
}

/* Searches the groups after the first. It passes every group if all have overflowed with such a
 * tag, which happens in tables of two groups. The key comes in parts because a key in memory
 * would make every search slower. */
static __attribute__((noinline)) Place find_in_further_groups(T t, enum Way way, const void *p,
	uint64_t n, uint32_t hash, int is_wide)
{
	Key k = { p, n, hash, is_wide };
	size_t position = position_of(t, hash), left = t->ngroups;
	Place at = { NULL, NULL, 0 };

	while (!at.slot && --left > 0 && has_overflowed(t, position, &k)) {
		position = position_after(t, position);
		at = find_in_group(t, way, &k, position);
	}
	return at;
}

/* Most keys are in their own group or in no group. */
ALWAYS_INLINE Place find_key(T t, const enum Way way, const Key *k)
{
	size_t position = position_of(t, k->hash);
	Place at = find_in_group(t, way, k, position);

	if (!at.slot && UNLIKELY(has_overflowed(t, position, k)))
		return find_in_further_groups(t, way, k->p, k->n, k->hash, k->is_wide);
	return at;
}

#endif
