/* SPDX-License-Identifier: MIT */
/* Walks through a table: map, iterators, arrays, copies, statistics. The order is that of the
 * slots, a function of the keyed hashes and the history. Only removals write to the table here,
 * and they move nothing. So the place of an iterator stays valid until an insertion or a resize,
 * which change the epoch. */
#include "config.h"

#include "hashtable/rep.h"

/* An iterator is at slot slot_ of group group_, which is the turn_-th group that it visits. left_
 * are the slots after it.
 *
 * The walk does not visit the groups in their order, which is the order of the hashes. A program
 * may put the entries into a smaller table with the same seed. It would fill that from one end, and
 * search past all its full groups (Rust issue 36481). Instead, every STRETCH of groups is
 * followed by another one, some 0.618 of the table further on. So the visited entries are spread
 * evenly at any time. */
enum { STRETCH = 8 };

/* Returns a number that shares no divisor with the number of stretches, whose divisors are 2 and
 * 3. */
static size_t stride_of(size_t stretches)
{
	size_t stride = (size_t)((double)stretches * 0.618) | 1;

	return stride % 3 ? stride : stride + 2;
}

/* Returns the first group of the next stretch, and prefetches all lines of the stretch after it.
 * If only its first lines are prefetched, a walk over 100,000 entries takes twice as long. */
static size_t next_stretch(T t, size_t group)
{
	size_t n = t->ngroups / STRETCH, stride = stride_of(n), next = (group / STRETCH + stride) % n;
	size_t after = (next + stride) % n * STRETCH, offset;
	const char *block = block_of(t, slot_size_of(t), after);

	for (offset = 0; offset < STRETCH * sizeof(Group); offset += LINE)
		__builtin_prefetch((const char *)&t->groups[after] + offset);
	for (offset = 0; offset < STRETCH * GROUP_SLOTS * slot_size_of(t); offset += LINE)
		__builtin_prefetch(block + offset);
	return next * STRETCH;
}

/* Returns the taken slots of the next group that has entries, or 0 if no group has. */
static __attribute__((noinline)) Mask next_group(T t, HashTable_Iter *it)
{
	Mask m = 0;

	while (!m && it->turn_ + 1 < t->ngroups) {
		it->turn_++;
		it->group_++;
		if (it->group_ % STRETCH == 0 && t->ngroups >= 2 * STRETCH)
			it->group_ = next_stretch(t, it->group_ - STRETCH);
		m = group_taken(&t->groups[it->group_]);
	}
	return m;
}

static void begin_walk(T t, HashTable_Iter *it)
{
	zero(it, sizeof *it);
	it->table_ = t;
	it->epoch_ = t->epoch;
	it->left_ = UINT64_MAX;
}

/* Returns the entries of this group that the walk has still to visit. */
ALWAYS_INLINE Mask rest_of(T t, const HashTable_Iter *it)
{
	return (Mask)it->left_ & group_taken(&t->groups[it->group_]);
}

/* Moves to the first slot of m and returns it. */
ALWAYS_INLINE void *move_to_slot(T t, const size_t slot_bytes, HashTable_Iter *it, Mask m)
{
	it->slot_ = mask_first(m);
	it->left_ = mask_rest(m);
	return block_of(t, slot_bytes, it->group_) + mask_first(m) * slot_bytes;
}

/* Returns the next entry's slot, or NULL past the last. */
static void *next_slot(T t, HashTable_Iter *it)
{
	Mask m = rest_of(t, it);

	if (!m)
		m = next_group(t, it);
	it->left_ = 0;
	return m ? move_to_slot(t, slot_size_of(t), it, m) : NULL;
}

ALWAYS_INLINE const void *key_of(HashTable_Kind kind, const void *slot)
{
	const Word_Slot *w = slot;

	if (kind == HashTable_INTEGER)
		return &w->key;
	if (kind == HashTable_POINTER)
		return (const void *)(uintptr_t)w->key;
	return ((const Text_Slot *)slot)->key;
}

/* ---- map ---- */

static __attribute__((noinline)) void check_map(T t, size_t epoch)
{
	check_table(t, "HashTable_map");
	CHECK(t->epoch == epoch, "HashTable_map: the function inserted into the table or resized it");
}

/* apply may remove any entry. */
ALWAYS_INLINE void map_entries(T t, const HashTable_Kind kind, const size_t slot_bytes,
	void (*apply)(const void *, void **, void *), void *cl)
{
	const uint32_t magic = t->magic;
	const size_t epoch = t->epoch;
	HashTable_Iter it;
	Mask m;

	begin_walk(t, &it);
	for (m = rest_of(t, &it); m || (m = next_group(t, &it)) != 0;) {
		void *slot = move_to_slot(t, slot_bytes, &it, m);
		size_t length = t->length;

		apply(key_of(kind, slot), slot, cl);
		if (UNLIKELY(t->magic != magic || t->epoch != epoch))
			check_map(t, epoch);
		m = mask_rest(m);
		if (UNLIKELY(t->length != length))
			m &= group_taken(&t->groups[it.group_]);
	}
}

void HashTable_map(T t, void (*apply)(const void *key, void **value, void *cl), void *cl)
{
	check_table(t, "HashTable_map");
	CHECK(apply, "HashTable_map: the function is NULL");
	if (kind_of(t) == HashTable_INTEGER)
		map_entries(t, HashTable_INTEGER, sizeof(Word_Slot), apply, cl);
	else if (kind_of(t) == HashTable_POINTER)
		map_entries(t, HashTable_POINTER, sizeof(Word_Slot), apply, cl);
	else
		/* and tables with equal slots */
		map_entries(t, HashTable_STRING, sizeof(Text_Slot), apply, cl);
}

/* ---- iterators ---- */

void HashTable_iterate(T t, HashTable_Iter *it)
{
	check_table(t, "HashTable_iterate");
	CHECK(it, "HashTable_iterate: the iterator is NULL");
	begin_walk(t, it);
}

ALWAYS_INLINE void check_iterator(const HashTable_Iter *it, const char *function)
{
	CHECK(LIKELY(it != NULL), "%s: the iterator is NULL", function);
	check_table(it->table_, function);
	CHECK(LIKELY(it->epoch_ == it->table_->epoch),
		"%s: insertion or resize since HashTable_iterate", function);
}

static int end_walk(HashTable_Iter *it)
{
	it->key = it->value = it->place_ = NULL;
	it->key_length = 0;
	it->int_key = 0;
	it->left_ = 0;
	return 0;
}

/* Stores the entry of the first slot of m. */
ALWAYS_INLINE int fill_entry(T t, HashTable_Iter *it, Mask m)
{
	if (is_words(t)) {
		const Word_Slot *slot = it->place_ = move_to_slot(t, sizeof *slot, it, m);

		it->value = slot->value;
		if (kind_of(t) == HashTable_INTEGER)
			it->int_key = slot->key;
		else
			it->key = (const void *)(uintptr_t)slot->key;
	} else {
		const Text_Slot *slot = it->place_ = move_to_slot(t, sizeof *slot, it, m);

		it->value = slot->value;
		it->key = slot->key;
		it->key_length = length_of_id(slot->id);
	}
	return 1;
}

static __attribute__((noinline)) int next_in_further_group(HashTable_Iter *it)
{
	Mask m = next_group(it->table_, it);

	return m ? fill_entry(it->table_, it, m) : end_walk(it);
}

ALWAYS_INLINE int next_entry(HashTable_Iter *it)
{
	Mask m = rest_of(it->table_, it);

	return LIKELY(m) ? fill_entry(it->table_, it, m) : next_in_further_group(it);
}

int HashTable_next(HashTable_Iter *it)
{
	check_iterator(it, "HashTable_next");
	return next_entry(it);
}

void HashTable_iter_remove(HashTable_Iter *it)
{
	Group *group;

	check_iterator(it, "HashTable_iter_remove");
	check_writable(it->table_, "HashTable_iter_remove");
	group = groups_of(it->table_) + it->group_;
	CHECK(it->place_ && group->tags[it->slot_] != FREE,
		"HashTable_iter_remove: HashTable_next returned no entry, or it was removed");
	hashtable__erase(it->table_, it->place_, group, it->slot_);
	it->place_ = NULL;
}

/* ---- arrays ---- */

void **HashTable_toArray(T t, Arena_T arena, void *end)
{
	HashTable_Iter it;
	size_t n, i = 0;
	void **array, *slot;

	check_table(t, "HashTable_toArray");
	CHECK(kind_of(t) != HashTable_INTEGER, "HashTable_toArray: not for a table with INTEGER keys");
	CHECK(arena, "HashTable_toArray: the arena is NULL");
	if (!mul_size(2 * t->length + 1, sizeof *array, &n))
		EXCEPT_RAISE_MSG(HashTable_Failed, "HashTable_toArray: no array holds %zu entries",
			t->length);
	array = ALLOC(arena, n);
	begin_walk(t, &it);
	while ((slot = next_slot(t, &it)) != NULL) {
		array[i++] = (void *)(uintptr_t)key_of(kind_of(t), slot);
		array[i++] = *(void **)slot;
	}
	array[i] = end;
	return array;
}

HashTable_Entry *HashTable_entries(T t, Arena_T arena, size_t *n)
{
	HashTable_Iter it;
	HashTable_Entry *entries, *e;
	size_t nbytes;

	check_table(t, "HashTable_entries");
	CHECK(arena, "HashTable_entries: the arena is NULL");
	CHECK(n, "HashTable_entries: the place for their number is NULL");
	if (!mul_size(t->length, sizeof *entries, &nbytes))
		EXCEPT_RAISE_MSG(HashTable_Failed, "HashTable_entries: no array holds %zu entries",
			t->length);
	e = entries = ALLOC(arena, nbytes);
	begin_walk(t, &it);
	while (next_entry(&it))
		*e++ = (HashTable_Entry){ it.key, it.key_length, it.int_key, it.value };
	*n = t->length;
	return entries;
}

/* ---- copies ---- */

static void copy_storage(T copy, T t)
{
	size_t group_bytes = GROUP_SLOTS * slot_size_of(t), g, n;

	for (g = 0; g < t->ngroups; g += n) {
		n = t->ngroups - g < SEGMENT ? t->ngroups - g : SEGMENT;
		memcpy(block_of(copy, slot_size_of(t), g), block_of(t, slot_size_of(t), g),
			n * group_bytes);
	}
	memcpy(groups_of(copy), t->groups, t->ngroups * sizeof(Group));
}

/* Copies into an empty table with the same secret and as many groups. */
static void copy_entries(T copy, T t)
{
	HashTable_Iter it;
	Text_Slot *s;

	if (!has_storage(t))
		return;
	copy_storage(copy, t);
	begin_walk(copy, &it);
	if (copy->copies_keys)
		while ((s = next_slot(copy, &it)) != NULL)
			s->key = hashtable__keep_key(copy, s->key, length_of_id(s->id));
	copy->length = t->length;
	copy->room = t->room;
}

T HashTable_copy(T t, Arena_T arena)
{
	T whole;

	check_table(t, "HashTable_copy");
	AUTO(T, copy, HashTable_free) =
		hashtable__new(arena, &t->options, has_storage(t) ? t->ngroups : 0);
	copy_entries(copy, t);
	whole = copy;
	copy = NULL;
	return whole;
}

/* ---- statistics ---- */

/* Returns the number of groups that a search visits to find the entry, which is in group g. */
static size_t count_probes(T t, const void *slot, size_t g)
{
	size_t position =
		position_of(t, is_words(t) ? hash_of_slot(t, WORDS, slot) : hash_of_slot(t, TEXT, slot));

	return (g >= position ? g - position : g + t->ngroups - position) + 1;
}

void HashTable_stats(T t, HashTable_Stats *stats)
{
	HashTable_Iter it;
	double total = 0;
	void *slot;

	check_table(t, "HashTable_stats");
	CHECK(stats, "HashTable_stats: the stats are NULL");
	memset(stats, 0, sizeof *stats);
	stats->length = t->length;
	stats->capacity = t->length + t->room;
	stats->resizes = t->resizes;
	stats->bytes = hashtable__storage_bytes(t);
	begin_walk(t, &it);
	while ((slot = next_slot(t, &it)) != NULL) {
		size_t n = count_probes(t, slot, it.group_);

		total += (double)n;
		if (n > stats->longest_probe)
			stats->longest_probe = n;
	}
	if (t->length)
		stats->mean_probe = total / (double)t->length;
}
