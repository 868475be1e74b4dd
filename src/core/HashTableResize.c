/* SPDX-License-Identifier: MIT */
/* Changing a table's storage: growth and spreading anew. Both are one operation: the storage is made
 * longer (where it lies, when it is the newest of the arena, else elsewhere, and the old one is given to
 * the keys), every entry is marked as MOVING, and each is then settled where a fresh table would have
 * it. Memory is asked for before anything changes, and nothing after that can fail: slots hold all that
 * is needed, no key is read and no function of the caller's is called.
 *
 * Doubling leaves behind less than the new storage, since 1 + 2 + 4 + ... + n/2 < n: a table that grew
 * from nothing holds less than twice its storage even where neither the arena nor keys can use the
 * old ones. Spreading anew needs no memory at all. */
#include "config.h"

#include "HashTableRep.h"

const Group hashtable__no_group;

/* ---- sizes ---- */

size_t hashtable__storage_bytes(size_t slot_bytes, size_t groups)
{
	size_t nbytes;

	if (!mul_size(groups, GROUP_SLOTS * slot_bytes + sizeof(Group), &nbytes) || nbytes > PTRDIFF_MAX / 2)
		return 0;
	/* the position comes from 32 bits of hash */
	return slot_bytes == sizeof(Text_Slot) && (groups - 1) >> 16 >> 16 ? 0 : nbytes;
}

static void too_large(size_t n) CORE_NORETURN;
static void too_large(size_t n)
{
	EXCEPT_RAISE_MSG(HashTable_Failed, "no hash table holds %zu entries", n);
}

size_t hashtable__groups_for(size_t slot_bytes, size_t n)
{
	size_t groups = 1;

	while (capacity_of(groups) < n) {
		groups *= 2;
		if (!hashtable__storage_bytes(slot_bytes, groups))
			too_large(n);
	}
	return groups;
}

void hashtable__set_storage(T t, char *storage, size_t groups)
{
	t->slots = storage;
	t->mask = groups - 1;
	t->groups = (Group *)(void *)(storage + groups * GROUP_SLOTS * slot_size_of(t));
}

static size_t groups_now(T t)
{
	return t->slots ? t->mask + 1 : 0;
}

/* ---- settling ---- */

/* Puts what is in slot s of group g, and whatever it displaces there, where it belongs. */
ALWAYS_INLINE void settle(T t, const enum Way way, size_t g, unsigned s)
{
	const size_t size = slot_size(way);
	Group *groups = groups_of(t);
	char *here = t->slots + (g * GROUP_SLOTS + s) * size;

	while (groups[g].tags[s] == MOVING) {
		uint64_t hash = hash_of_slot(t, way, here);
		uint8_t tag = tag_of(hash);
		size_t position = (size_t)hash & t->mask, step = 0;
		Mask m;

		/* ends: g itself has room for it */
		while (position != g && !(m = group_match(&groups[position], FREE))
				&& !(m = group_match(&groups[position], MOVING))) {
			groups[position].overflow |= overflow_bit(tag);
			position = (position + ++step) & t->mask;
		}
		if (position == g)
			groups[g].tags[s] = tag;
		else {
			unsigned to = mask_first(m);
			char *there = t->slots + (position * GROUP_SLOTS + to) * size, displaced[sizeof(Text_Slot)];

			groups[g].tags[s] = groups[position].tags[to];
			groups[position].tags[to] = tag;
			memcpy(displaced, there, size);
			memcpy(there, here, size);
			memcpy(here, displaced, size);
		}
	}
}

ALWAYS_INLINE void settle_all(T t, const enum Way way, size_t ngroups)
{
	size_t g;

	for (g = 0; g < ngroups; g++) {
		Mask m;

		for (m = group_match(&groups_of(t)[g], MOVING); m; m = mask_rest(m))
			settle(t, way, g, mask_first(m));
	}
}

static void mark_moving(Group *groups, size_t n)
{
	size_t g;
	int s;

	for (g = 0; g < n; g++) {
		for (s = 0; s < GROUP_SLOTS; s++)
			groups[g].tags[s] = groups[g].tags[s] == FREE ? FREE : MOVING;
		groups[g].overflow = 0;
	}
}

/* All entries are in the first ngroups groups. */
static void spread(T t, size_t ngroups)
{
	mark_moving(groups_of(t), ngroups);
	if (is_words(t))
		settle_all(t, WORDS, ngroups);
	else
		settle_all(t, TEXT, ngroups);
	t->room = capacity_of(t->mask + 1) - t->length;
	t->epoch++;
	t->resizes++;
}

/* ---- the storage ---- */

/* nbytes that begin with the old storage; the old one stays as it is. */
static char *lengthen(T t, size_t old_nbytes, size_t nbytes)
{
	char *p;

	if (!t->embedded)
		return Arena_realloc(t->arena, t->slots, old_nbytes, nbytes);
	p = ALLOC(t->arena, nbytes);
	return memcpy(p, t->slots, old_nbytes);
}

/* The slots stay where they are in the storage; the groups move up behind the new ones. */
static void grow_storage(T t, size_t groups)
{
	size_t old_groups = groups_now(t), slot_bytes = slot_size_of(t);
	size_t old_nbytes = hashtable__storage_bytes(slot_bytes, old_groups);
	size_t nbytes = hashtable__storage_bytes(slot_bytes, groups);
	char *old = t->slots, *storage;

	if (!nbytes)
		too_large(capacity_of(groups));
	storage = lengthen(t, old_nbytes, nbytes);
	hashtable__set_storage(t, storage, groups);
	memcpy(groups_of(t), storage + old_groups * GROUP_SLOTS * slot_bytes, old_groups * sizeof(Group));
	memset(groups_of(t) + old_groups, 0, (groups - old_groups) * sizeof(Group));
	if (old && storage != old)
		hashtable__donate(t, old, old_nbytes);
	t->embedded = 0;
	spread(t, old_groups);
}

/* ---- resizing ---- */

static void run(T t, Callback callback)
{
	if (!callback.fn)
		return;
	t->busy = 1;
	TRY {
		callback.fn(t, callback.userdata);
	} FINALLY {
		t->busy = 0;
	} END_TRY;
}

static void resize(T t, size_t groups)
{
	run(t, t->pre);
	if (groups > groups_now(t))
		grow_storage(t, groups);
	else
		spread(t, groups);
	run(t, t->post);
}

/* Doubles, unless a quarter of the room was lost to removals: then spreading anew is paid for by the
 * insertions that it makes room for. */
void hashtable__make_room(T t)
{
	size_t groups = groups_now(t);

	if (groups == 0)
		resize(t, 1);
	else if (t->length <= capacity_of(groups) - capacity_of(groups) / 4)
		resize(t, groups);
	else
		resize(t, 2 * groups);
}

void HashTable_reserve(T t, size_t n)
{
	size_t groups;

	check_writable(t, "HashTable_reserve");
	if (n <= t->length || n - t->length <= t->room)
		return;
	groups = hashtable__groups_for(slot_size_of(t), n);
	resize(t, groups > groups_now(t) ? groups : groups_now(t));
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
