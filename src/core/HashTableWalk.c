/* SPDX-License-Identifier: MIT */
/* Going through a table: map, iterators, arrays, copies, statistics. The order is that of the slots, a
 * function of the keyed hashes and the history. Nothing here writes to the table but removals, which move
 * nothing: an iterator's place stays good until an insertion or a resize, and those change the epoch. */
#include "config.h"

#include "HashTableRep.h"

/* Places are counted 16 to a group, so that a group and a slot are a shift and a mask away. */
enum { PLACES = 16 };

static size_t end_of(T t)
{
	return t->slots ? (t->mask + 1) * PLACES : 0;
}

/* The first taken place at or after place, or end. */
static size_t taken_from(T t, size_t place, size_t end)
{
	for (; place < end; place = (place / PLACES + 1) * PLACES) {
		Mask m = mask_from(group_taken(&t->groups[place / PLACES]), place % PLACES);

		if (m)
			return place / PLACES * PLACES + mask_first(m);
	}
	return end;
}

static int is_taken(T t, size_t place)
{
	return t->groups[place / PLACES].tags[place % PLACES] != FREE;
}

static void *slot_at(T t, size_t place)
{
	return t->slots + (place / PLACES * GROUP_SLOTS + place % PLACES) * slot_size_of(t);
}

#define FOR_EACH_SLOT(t, place, slot)                                                   \
	for ((place) = taken_from((t), 0, end_of(t));                                   \
		(place) < end_of(t) && ((slot) = slot_at((t), (place)), 1);             \
		(place) = taken_from((t), (place) + 1, end_of(t)))

static const void *key_of(T t, const void *slot)
{
	const Word_Slot *w = slot;

	if (kind_of(t) == HashTable_INTEGER)
		return &w->key;
	if (kind_of(t) == HashTable_POINTER)
		return (const void *)(uintptr_t)w->key;
	return ((const Text_Slot *)slot)->key;
}

/* ---- map ---- */

void HashTable_map(T t, void (*apply)(const void *key, void **value, void *cl), void *cl)
{
	size_t place, epoch;
	void *slot;

	check_table(t, "HashTable_map");
	CHECK(apply, "HashTable_map: the function is NULL");
	epoch = t->epoch;
	FOR_EACH_SLOT(t, place, slot) {
		apply(key_of(t, slot), slot, cl);
		check_table(t, "HashTable_map");
		CHECK(t->epoch == epoch, "HashTable_map: the function inserted into the table or resized it");
	}
}

/* ---- iterators ---- */

void HashTable_iterate(T t, HashTable_Iter *it)
{
	check_table(t, "HashTable_iterate");
	CHECK(it, "HashTable_iterate: the iterator is NULL");
	memset(it, 0, sizeof *it);
	it->table_ = t;
	it->epoch_ = t->epoch;
}

static void check_iterator(const HashTable_Iter *it, const char *function)
{
	CHECK(it, "%s: the iterator is NULL", function);
	check_table(it->table_, function);
	CHECK(it->epoch_ == it->table_->epoch, "%s: insertion or resize since HashTable_iterate", function);
}

static int finish(HashTable_Iter *it, size_t end)
{
	it->key = it->value = it->place_ = NULL;
	it->key_length = 0;
	it->int_key = 0;
	it->position_ = end;
	return 0;
}

int HashTable_next(HashTable_Iter *it)
{
	size_t place, end;
	T t;

	check_iterator(it, "HashTable_next");
	t = it->table_;
	end = end_of(t);
	place = taken_from(t, it->position_, end);
	if (place >= end)
		return finish(it, end);
	it->position_ = place + 1;
	it->place_ = slot_at(t, place);
	it->value = *(void **)it->place_;
	if (kind_of(t) == HashTable_INTEGER)
		it->int_key = ((const Word_Slot *)it->place_)->key;
	else {
		it->key = key_of(t, it->place_);
		it->key_length = is_words(t) ? 0 : ((const Text_Slot *)it->place_)->length;
	}
	return 1;
}

void HashTable_iter_remove(HashTable_Iter *it)
{
	check_iterator(it, "HashTable_iter_remove");
	check_writable(it->table_, "HashTable_iter_remove");
	CHECK(it->place_ && is_taken(it->table_, it->position_ - 1),
		"HashTable_iter_remove: there is no entry at hand, or it was removed");
	hashtable__erase(it->table_, it->place_);
	it->place_ = NULL;
}

/* ---- arrays ---- */

void **HashTable_toArray(T t, Arena_T arena, void *end)
{
	size_t place, n, i = 0;
	void **array, *slot;

	check_table(t, "HashTable_toArray");
	CHECK(kind_of(t) != HashTable_INTEGER, "HashTable_toArray: not for a table with INTEGER keys");
	CHECK(arena, "HashTable_toArray: the arena is NULL");
	if (!mul_size(2 * t->length + 1, sizeof *array, &n))
		EXCEPT_RAISE_MSG(HashTable_Failed, "HashTable_toArray: no array holds %zu entries", t->length);
	array = ALLOC(arena, n);
	FOR_EACH_SLOT(t, place, slot) {
		array[i++] = (void *)(uintptr_t)key_of(t, slot);
		array[i++] = *(void **)slot;
	}
	array[i] = end;
	return array;
}

/* ---- copies ---- */

/* Into an empty table with the same secret and storage. */
static void copy_entries(T copy, T t)
{
	size_t place;
	Text_Slot *s;

	if (!t->slots)
		return;
	memcpy(copy->slots, t->slots, hashtable__storage_bytes(slot_size_of(t), t->mask + 1));
	if (copy->copies_keys)
		FOR_EACH_SLOT(copy, place, s)
			s->key = hashtable__keep_key(copy, s->key, s->length);
	copy->length = t->length;
	copy->room = t->room;
}

T HashTable_copy(T t, Arena_T arena)
{
	T copy;

	check_table(t, "HashTable_copy");
	copy = hashtable__new(arena, &t->options, t->slots ? t->mask + 1 : 0);
	PROTECT(copy);
	TRY {
		copy_entries(copy, t);
	} ELSE {
		HashTable_free(&copy);
		RERAISE;
	} END_TRY;
	return copy;
}

/* ---- statistics ---- */

/* Groups looked at to find what is in group g. */
static size_t probes(T t, const void *slot, size_t g)
{
	uint64_t hash = is_words(t) ? hash_of_slot(t, WORDS, slot) : hash_of_slot(t, TEXT, slot);
	size_t position = (size_t)hash & t->mask, step = 0;

	while (position != g)
		position = (position + ++step) & t->mask;
	return step + 1;
}

void HashTable_stats(T t, HashTable_Stats *stats)
{
	size_t place;
	double total = 0;
	void *slot;

	check_table(t, "HashTable_stats");
	CHECK(stats, "HashTable_stats: the stats are NULL");
	memset(stats, 0, sizeof *stats);
	stats->length = t->length;
	stats->capacity = t->length + t->room;
	stats->resizes = t->resizes;
	if (t->slots)
		stats->bytes = hashtable__storage_bytes(slot_size_of(t), t->mask + 1);
	FOR_EACH_SLOT(t, place, slot) {
		size_t n = probes(t, slot, place / PLACES);

		total += (double)n;
		if (n > stats->longest_probe)
			stats->longest_probe = n;
	}
	if (t->length)
		stats->mean_probe = total / (double)t->length;
}
