/* SPDX-License-Identifier: MIT */
/* A table's storage: making it, adding to it, rehashing, shrinking it. Each change asks for all
 * its memory in one request before anything changes, and nothing after that can fail. The slots
 * have everything that a rehash needs, so it reads no key and calls no function of the caller.
 *
 * Up to 256 groups the storage is one block, which doubles. It grows in place if it is the
 * arena's newest memory. Otherwise it moves, and the old block becomes memory for keys. Beyond
 * 256 groups an extent has the missing segments: as many again, and in large tables alternately
 * half and a third of the old number. Then every entry is marked as MOVING, and each is settled
 * where a fresh table would have it, the last entry first. Most entries go up, into groups that
 * are empty already. A rehash alone needs no memory. */
#include "config.h"

#include "hashtable/rep.h"
#include "arena/release.h"
#include "base/poison.h"

enum { LARGE = 65536 }; /* groups: 860,000 entries */
enum { EXTENT_HEADER = (sizeof(Extent) + LINE - 1) / LINE * LINE };

const Group hashtable__no_group;

/* ---- sizes ---- */

size_t hashtable__block_bytes(size_t slot_bytes, size_t groups)
{
	return slots_bytes(slot_bytes, groups) + groups * sizeof(Group);
}

static size_t segment_bytes(size_t slot_bytes)
{
	return SEGMENT * GROUP_SLOTS * slot_bytes;
}

/* Returns the size of an index: the control bytes of the groups and the pointers to their
 * segments. */
static size_t index_bytes(size_t groups)
{
	return groups * sizeof(Group) + groups / SEGMENT * sizeof(char *);
}

/* Doubling moves each entry once or twice on the way to any size. Half steps move entries twice
 * as often, but hold a third less memory right after a step, which pays in large tables. */
static size_t next_size(size_t groups)
{
	if (groups < LARGE)
		return groups ? 2 * groups : 1;
	return groups & (groups - 1) ? groups / 3 * 4 : groups / 2 * 3;
}

/* The position comes from 32 bits of hash. The size must also fit into half of the addresses. */
static int is_possible(size_t slot_bytes, size_t groups)
{
	size_t nbytes;

	return (groups - 1) >> 16 >> 16 == 0
		&& mul_size(groups, (GROUP_SLOTS + 1) * slot_bytes + sizeof(Group), &nbytes)
		&& nbytes <= PTRDIFF_MAX / 2;
}

static void refuse_size(size_t n) CORE_NORETURN;
static void refuse_size(size_t n)
{
	EXCEPT_RAISE_MSG(HashTable_Failed, "no hash table holds %zu entries", n);
}

size_t hashtable__groups_for(size_t slot_bytes, size_t n)
{
	size_t groups = 1;

	while (capacity_of(groups) < n) {
		groups = next_size(groups);
		if (!is_possible(slot_bytes, groups))
			refuse_size(n);
	}
	return groups;
}

static size_t groups_now(T t)
{
	return has_storage(t) ? t->ngroups : 0;
}

size_t hashtable__storage_bytes(T t)
{
	size_t groups = groups_now(t), slot_bytes = slot_size_of(t);

	return groups <= SEGMENT ? hashtable__block_bytes(slot_bytes, groups)
		: groups / SEGMENT * segment_bytes(slot_bytes) + index_bytes(groups);
}

/* ---- the storage ---- */

void hashtable__no_storage(T t)
{
	t->first = (char *)t;
	t->segments = &t->first;
	t->groups = &hashtable__no_group;
	t->ngroups = 1;
}

void hashtable__use_block(T t, char *block, size_t groups)
{
	t->first = block;
	t->segments = &t->first;
	t->groups = (Group *)(void *)(block + slots_bytes(slot_size_of(t), groups));
	t->ngroups = groups;
}

/* Releases an outgrown allocation: for keys, or back to the arena. */
static void reuse_or_release(T t, void *p, size_t nbytes)
{
	if (!hashtable__donate(t, p, nbytes) && !arena__release(t->arena, p, nbytes))
		poison(p, nbytes);
}

/* Releases a part of an allocation, which the arena cannot take back. */
static void reuse_or_poison(T t, void *p, size_t nbytes)
{
	if (!hashtable__donate(t, p, nbytes))
		poison(p, nbytes);
}

static void clear_groups(T t, size_t from)
{
	memset(groups_of(t) + from, 0, (t->ngroups - from) * sizeof(Group));
}

/* Returns nbytes that begin with the old block, which stays as it is. */
static char *lengthen_block(T t, size_t old_nbytes, size_t nbytes)
{
	char *p;

	if (!t->embedded)
		return Arena_realloc(t->arena, t->block_groups ? t->first : NULL, old_nbytes, nbytes);
	p = ALLOC(t->arena, nbytes);
	return memcpy(p, t->first, old_nbytes);
}

/* Grows a block. The slots stay where they are in the block; the control bytes move up behind the
 * new slots. */
static void grow_block(T t, size_t groups)
{
	size_t old_groups = groups_now(t), slot_bytes = slot_size_of(t);
	size_t old_nbytes = hashtable__block_bytes(slot_bytes, old_groups);
	char *old = t->first;
	char *block = lengthen_block(t, old_nbytes, hashtable__block_bytes(slot_bytes, groups));

	hashtable__use_block(t, block, groups);
	if (old_groups) {
		memmove(groups_of(t), block + slots_bytes(slot_bytes, old_groups),
			old_groups * sizeof(Group));
		if (block != old)
			(t->embedded ? reuse_or_poison : reuse_or_release)(t, old, old_nbytes);
	}
	clear_groups(t, old_groups);
	t->block_groups = groups;
	t->embedded = 0;
}

/* Returns an extent with `segments` segments, and control bytes and pointers for all groups. */
static Extent *new_extent(T t, size_t segments, size_t groups)
{
	size_t nbytes = EXTENT_HEADER + segments * segment_bytes(slot_size_of(t)) + index_bytes(groups);
	Extent *e = Arena_alloc_aligned(t->arena, LINE, nbytes);

	e->nbytes = nbytes;
	e->segments = segments;
	return e;
}

/* Keeps the slots of a full block as the first segment; moves the slots of a smaller block into
 * it. */
static void leave_old_block(T t, char *old, size_t old_groups)
{
	size_t slot_bytes = slot_size_of(t), slots = old_groups * GROUP_SLOTS * slot_bytes;

	if (old_groups == SEGMENT) {
		reuse_or_poison(t, old + slots, SEGMENT * sizeof(Group));
		return;
	}
	memcpy(t->first, old, slots);
	if (t->block_groups)
		reuse_or_release(t, old, hashtable__block_bytes(slot_bytes, old_groups));
	t->block_groups = 0;
	t->embedded = 0;
}

static size_t segments_now(T t)
{
	return groups_now(t) / SEGMENT;
}

/* Adds e, which has the missing segments, to the storage. Never raises. */
static void attach_extent(T t, Extent *e, size_t groups)
{
	size_t old_groups = groups_now(t), have = segments_now(t), n = groups / SEGMENT, i;
	size_t bytes = segment_bytes(slot_size_of(t));
	char *segments = (char *)e + EXTENT_HEADER, *index = segments + (n - have) * bytes;
	char *old = t->first;
	Group *old_index = groups_of(t);
	char **pointers = (char **)(void *)(index + groups * sizeof(Group));

	for (i = 0; i < n; i++)
		pointers[i] = i < have ? t->segments[i] : segments + (i - have) * bytes;
	memcpy(index, old_index, old_groups * sizeof(Group));
	t->groups = (Group *)(void *)index;
	t->ngroups = groups;
	t->segments = pointers;
	t->first = pointers[0];
	clear_groups(t, old_groups);
	if (t->extents)
		reuse_or_poison(t, old_index, index_bytes(old_groups));
	else if (old_groups)
		leave_old_block(t, old, old_groups);
	e->older = t->extents;
	t->extents = e;
}

static void grow_storage(T t, size_t groups)
{
	if (!is_possible(slot_size_of(t), groups))
		refuse_size(capacity_of(groups));
	if (groups <= SEGMENT)
		grow_block(t, groups);
	else
		attach_extent(t, new_extent(t, groups / SEGMENT - segments_now(t), groups), groups);
}

void hashtable__add_storage(T t, size_t groups)
{
	grow_storage(t, groups);
	t->room = capacity_of(groups);
}

static void release_or_poison(T t, void *p, size_t nbytes)
{
	if (!arena__release(t->arena, p, nbytes))
		poison(p, nbytes);
}

static void release_or_reuse(T t, void *p, size_t nbytes)
{
	if (!arena__release(t->arena, p, nbytes))
		reuse_or_poison(t, p, nbytes);
}

/* Gives back as much as the arena takes, the newest first, so that each makes way for the
 * next. */
void hashtable__free_storage(T t)
{
	Extent *e, *older;

	for (e = t->extents; e; e = older) {
		older = e->older;
		release_or_poison(t, e, e->nbytes);
	}
	if (t->block_groups)
		release_or_poison(t, t->first, hashtable__block_bytes(slot_size_of(t), t->block_groups));
}

/* Releases the old storage of a table that has new storage. Two parts of it may hold keys already.
 * One is the index of an extent that is not the newest. The other are the control bytes after a
 * block that became a segment. */
static void let_go_of_old_storage(T t, const struct HashTable *old)
{
	size_t slot_bytes = slot_size_of(t);
	Extent *e, *older;

	for (e = old->extents; e; e = older) {
		older = e->older;
		if (e == old->extents || !t->copies_keys)
			release_or_reuse(t, e, e->nbytes);
		else
			reuse_or_poison(t, e, EXTENT_HEADER + e->segments * segment_bytes(slot_bytes));
	}
	if (!old->block_groups)
		return;
	if (!old->extents || !t->copies_keys)
		release_or_reuse(t, old->first, hashtable__block_bytes(slot_bytes, old->block_groups));
	else
		reuse_or_poison(t, old->first, slots_bytes(slot_bytes, old->block_groups));
}

/* ---- settling ---- */

/* The common case: settles the entry in a group beyond g, where all entries are settled. Returns
 * 0 if that group has no free slot. */
ALWAYS_INLINE int move_up(T t, const size_t size, const char *from, uint32_t hash, size_t position)
{
	Group *group = &groups_of(t)[position];
	Mask m = group_match(group, FREE);
	unsigned to;

	if (!m)
		return 0;
	to = choose_slot(t, m, position, size, hash);
	group_set_hash(group, to, hash);
	memcpy(block_of(t, size, position) + to * size, from, size);
	return 1;
}

/* The general case: puts the entry in slot s of group g, and each entry that it displaces, where
 * it belongs. */
static __attribute__((noinline)) void settle_slot(T t, enum Way way, size_t g, unsigned s)
{
	size_t size = slot_size(way);
	Group *groups = groups_of(t);
	char *here = block_of(t, size, g) + s * size;

	while (groups[g].tags[s] == MOVING) {
		uint32_t hash = hash_of_slot(t, way, here);
		uint8_t tag = tag_of(hash);
		size_t position = position_of(t, hash);
		Mask m;

		/* This ends, because g itself has room for it. */
		while (position != g && !(m = group_match(&groups[position], FREE))
				&& !(m = group_match(&groups[position], MOVING))) {
			groups[position].overflow |= overflow_bit(tag);
			position = position_after(t, position);
		}
		if (position == g)
			group_set(&groups[g], s, tag);
		else {
			char *block = block_of(t, size, position), displaced[sizeof(Text_Slot)], *there;
			unsigned to = choose_slot(t, m, position, size, hash);

			group_set(&groups[g], s, groups[position].tags[to]);
			group_set(&groups[position], to, tag);
			there = block + to * size;
			memcpy(displaced, there, size);
			memcpy(there, here, size);
			memcpy(here, displaced, size);
		}
	}
}

ALWAYS_INLINE void settle_group(T t, const enum Way way, size_t g)
{
	Group *group = &groups_of(t)[g];
	const char *block = block_of(t, slot_size(way), g);
	Mask m;

	for (m = group_match(group, MOVING); m; m = mask_rest(m)) {
		unsigned s = mask_first(m);
		const char *from = block + s * slot_size(way);
		uint32_t hash = hash_of_slot(t, way, from);
		size_t position = position_of(t, hash);

		if (UNLIKELY(group->tags[s] != MOVING))
			continue; /* the entry was displaced, and its successor is settled */
		if (LIKELY(position > g) && move_up(t, slot_size(way), from, hash, position))
			group->tags[s] = FREE;
		else
			settle_slot(t, way, g, s);
	}
}

ALWAYS_INLINE void settle_all(T t, const enum Way way, size_t ngroups)
{
	while (ngroups-- > 0)
		settle_group(t, way, ngroups);
}

/* Marks every byte that is not FREE. */
static void mark_moving(Group *groups, size_t n)
{
	const uint64_t low7 = 0x7f7f7f7f7f7f7f7fu;
	uint64_t words[2];
	size_t g;
	int i;

	for (g = 0; g < n; g++) {
		memcpy(words, &groups[g], sizeof words);
		for (i = 0; i < 2; i++)
			words[i] = (((words[i] & low7) + low7) | words[i]) >> 7 & 0x0101010101010101u * MOVING;
		memcpy(&groups[g], words, sizeof words);
		groups[g].overflow = 0;
	}
}

/* Rehashes. All entries are in the first ngroups groups. */
static void spread_entries(T t, size_t ngroups)
{
	mark_moving(groups_of(t), ngroups);
	if (is_words(t))
		settle_all(t, WORDS, ngroups);
	else
		settle_all(t, TEXT, ngroups);
	t->room = capacity_of(t->ngroups) - t->length;
	t->epoch++;
	t->resizes++;
}

/* ---- resizing ---- */

static void end_callback(T t)
{
	t->magic &= ~(uint32_t)BUSY;
}

static void run_callback(T t, Callback callback)
{
	if (!callback.fn)
		return;
	t->magic |= BUSY;
	DEFER(end_callback, t); /* not FINALLY: a C++ exception or the end of the thread runs none */
	callback.fn(t, callback.userdata);
}

static void resize_storage(T t, size_t groups)
{
	size_t old_groups = groups_now(t);

	run_callback(t, t->pre);
	if (groups > old_groups)
		grow_storage(t, groups);
	spread_entries(t, old_groups);
	run_callback(t, t->post);
}

/* Grows, unless a sixteenth of the room was lost to removals. Then it rehashes, whose cost is
 * shared by the insertions that it makes room for. */
void hashtable__make_room(T t)
{
	size_t groups = groups_now(t);

	if (groups && t->length < capacity_of(groups) - capacity_of(groups) / 16)
		resize_storage(t, groups);
	else
		resize_storage(t, next_size(groups));
}

void HashTable_reserve(T t, size_t n)
{
	size_t groups;

	check_writable(t, "HashTable_reserve");
	if (n <= t->length || n - t->length <= t->room)
		return;
	groups = hashtable__groups_for(slot_size_of(t), n);
	resize_storage(t, groups > groups_now(t) ? groups : groups_now(t));
}

static void copy_slots(T t, const struct HashTable *old, const enum Way way)
{
	size_t size = slot_size(way), g;
	Mask m;

	for (g = 0; g < old->ngroups; g++) {
		const char *block =
			old->segments[g >> SEGMENT_LOG] + (g & (SEGMENT - 1)) * GROUP_SLOTS * size;

		for (m = group_taken(&old->groups[g]); m; m = mask_rest(m)) {
			const char *from = block + mask_first(m) * size;

			memcpy(claim_slot(t, size, hash_of_slot(t, way, from)), from, size);
		}
	}
}

/* Asks for the new storage before anything changes; nothing after that can fail. */
static void move_to_smaller(T t, size_t groups)
{
	size_t slot_bytes = slot_size_of(t);
	Extent *e = groups > SEGMENT ? new_extent(t, groups / SEGMENT, groups) : NULL;
	char *block = groups && !e ? ALLOC(t->arena, hashtable__block_bytes(slot_bytes, groups)) : NULL;
	struct HashTable old = *t;

	if (t->segments == &t->first)
		old.segments = &old.first;
	hashtable__no_storage(t);
	t->extents = NULL;
	t->block_groups = 0;
	t->length = 0;
	if (e)
		attach_extent(t, e, groups);
	else if (block) {
		hashtable__use_block(t, block, groups);
		t->block_groups = groups;
		clear_groups(t, 0);
	}
	t->room = groups ? capacity_of(groups) : 0;
	if (is_words(t))
		copy_slots(t, &old, WORDS);
	else
		copy_slots(t, &old, TEXT);
	let_go_of_old_storage(t, &old);
	t->epoch++;
	t->resizes++;
}

/* The group after the struct costs nothing and stays. */
void HashTable_shrink(T t)
{
	size_t groups;

	check_writable(t, "HashTable_shrink");
	groups = t->length ? hashtable__groups_for(slot_size_of(t), t->length) : 0;
	if (groups >= groups_now(t) || t->embedded)
		return;
	run_callback(t, t->pre);
	move_to_smaller(t, groups);
	run_callback(t, t->post);
}

void HashTable_set_pre_resize_callback(T t, void (*fn)(T, void *), void *userdata)
{
	check_table(t, "HashTable_set_pre_resize_callback");
	t->pre = (Callback){ fn, userdata };
}

void HashTable_set_post_resize_callback(T t, void (*fn)(T, void *), void *userdata)
{
	check_table(t, "HashTable_set_post_resize_callback");
	t->post = (Callback){ fn, userdata };
}
