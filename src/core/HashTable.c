/* SPDX-License-Identifier: MIT */
/* HashTable: open addressing in groups of 15 slots; the representation and its invariant are in
 * HashTableRep.h. This file makes tables, finds and changes entries. The probe is written once, always
 * inlined, with the way of comparing keys as a constant: each kind gets a loop of its own, and only
 * CUSTOM keys cost a call through a pointer. Lookups write nothing. */
#include "config.h"

#include "HashTableRep.h"
#include "poison.h"

EXCEPT_DEFINE(HashTable_Failed, NULL, "hash table failed");

static const uint32_t DEAD = 0xDEAD4853;

static const char *const kind_names[] = {
	"STRING", "STRING_NOCASE", "BYTES", "INTEGER", "POINTER", "CUSTOM"
};

/* ---- checks ---- */

void hashtable__bad_table(T t, const char *function)
{
	if (!t)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the table is NULL", function);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not a live table", function, (void *)t);
}

static void wrong_kind(T t, const char *function) CORE_NORETURN;
static void wrong_kind(T t, const char *function)
{
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: not for a table with %s keys", function, kind_names[kind_of(t)]);
}

ALWAYS_INLINE void check_key(const void *key, const char *function)
{
	CHECK(key, "%s: the key is NULL", function);
}

static void check_options(const HashTable_Options *o)
{
	CHECK(o, "HashTable_new_with: the options are NULL");
	CHECK((unsigned)o->kind <= HashTable_CUSTOM, "HashTable_new_with: %d is not a kind of key", (int)o->kind);
	if (o->kind == HashTable_CUSTOM)
		CHECK(o->hash && o->equal, "HashTable_new_with: CUSTOM keys need both hash and equal");
	else
		CHECK(!o->hash && !o->equal, "HashTable_new_with: hash and equal are for CUSTOM keys, not for %s",
			kind_names[o->kind]);
}

/* ---- probing ---- */

/* A key to look for. */
typedef struct Key {
	const void *p; /* not in WORDS */
	uint64_t n;    /* the word, or the length */
	uint64_t hash;
} Key;

ALWAYS_INLINE int is_key(T t, const enum Way way, const void *slot, const Key *k)
{
	const Text_Slot *s = slot;

	if (way == WORDS)
		return ((const Word_Slot *)slot)->key == k->n;
	if (s->hash != (uint32_t)k->hash)
		return 0;
	if (way == CUSTOM)
		return t->options.equal(s->key, k->p) != 0;
	return s->length == k->n && same_bytes(s->key, k->p, s->length, way == FOLDED);
}

ALWAYS_INLINE void **find(T t, const enum Way way, const Key *k)
{
	const uint8_t tag = tag_of(k->hash);
	size_t position = (size_t)k->hash & t->mask, step = 0;

	do {
		const Group *g = &t->groups[position];
		Mask m;

		for (m = group_match(g, tag); m; m = mask_rest(m)) {
			void *slot = t->slots + (position * GROUP_SLOTS + mask_first(m)) * slot_size(way);

			if (is_key(t, way, slot, k))
				return slot;
		}
		if (!(g->overflow & overflow_bit(tag)))
			return NULL;
		position = (position + ++step) & t->mask;
	} while (step <= t->mask);
	return NULL;
}

/* A free slot for a key that is not there; there is one. */
ALWAYS_INLINE void *claim(T t, const size_t slot_bytes, uint64_t hash)
{
	const uint8_t tag = tag_of(hash);
	size_t position = (size_t)hash & t->mask, step = 0;
	Group *g;
	Mask m;
	unsigned s;

	while (!(m = group_match(g = &groups_of(t)[position], FREE))) {
		g->overflow |= overflow_bit(tag);
		position = (position + ++step) & t->mask;
	}
	s = mask_first(m);
	g->tags[s] = tag;
	t->length++;
	t->room--;
	t->epoch++;
	return t->slots + (position * GROUP_SLOTS + s) * slot_bytes;
}

/* ---- adding; all that can fail comes before claim ---- */

static void *add_word(T t, const Key *k)
{
	Word_Slot *slot;

	if (t->room == 0)
		hashtable__make_room(t);
	slot = claim(t, sizeof *slot, k->hash);
	slot->value = NULL;
	slot->key = k->n;
	return slot;
}

/* The key was copied first, so that nothing is resized for a key that has no room. */
static void make_room_for(T t, const void *key, size_t n)
{
	TRY {
		hashtable__make_room(t);
	} ELSE {
		if (t->copies_keys)
			hashtable__drop_key(t, key, n);
		RERAISE;
	} END_TRY;
}

static void *add_text(T t, const Key *k)
{
	const void *key = t->copies_keys ? hashtable__keep_key(t, k->p, (size_t)k->n) : k->p;
	Text_Slot *slot;

	if (t->room == 0)
		make_room_for(t, key, (size_t)k->n);
	slot = claim(t, sizeof *slot, k->hash);
	slot->value = NULL;
	slot->key = key;
	slot->hash = (uint32_t)k->hash;
	slot->length = (uint32_t)k->n;
	return slot;
}

/* ---- one key of each kind: its slot, or NULL; made if it is missing and add is set ---- */

ALWAYS_INLINE void **locate_word(T t, uint64_t word, const int add)
{
	Key k = { NULL, word, hash_word(t->secret, word) };
	void **slot = find(t, WORDS, &k);

	return slot || !add ? slot : add_word(t, &k);
}

ALWAYS_INLINE uint64_t fold_hash(uint64_t hash)
{
	return widen((uint32_t)(hash ^ hash >> 32));
}

ALWAYS_INLINE int is_too_long(size_t n)
{
	return n >> 16 >> 16 != 0;
}

static void too_long(size_t n, const char *function) CORE_NORETURN;
static void too_long(size_t n, const char *function)
{
	EXCEPT_RAISE_MSG(HashTable_Failed, "%s: a key of %zu bytes; the longest has %lu", function, n,
		(unsigned long)UINT32_MAX);
}

ALWAYS_INLINE void **locate_text(T t, const enum Way way, const void *p, size_t n, const char *function,
	const int add)
{
	Key k = { p, n, 0 };
	void **slot;

	if (UNLIKELY(is_too_long(n))) {
		if (add)
			too_long(n, function);
		return NULL;
	}
	k.hash = fold_hash(hash_bytes(t->secret, p, n, way == FOLDED));
	slot = find(t, way, &k);
	return slot || !add ? slot : add_text(t, &k);
}

/* The caller's hash may have little in its low bits, or be known to a peer for some keys. */
ALWAYS_INLINE void **locate_custom(T t, const void *p, const int add)
{
	Key k = { p, 0, fold_hash(hash_word(t->secret, t->options.hash(p, t->options.seed))) };
	void **slot = find(t, CUSTOM, &k);

	return slot || !add ? slot : add_text(t, &k);
}

ALWAYS_INLINE void **locate(T t, const void *key, const char *function, const int add)
{
	switch (kind_of(t)) {
	case HashTable_STRING:
		check_key(key, function);
		return locate_text(t, TEXT, key, strlen(key), function, add);
	case HashTable_STRING_NOCASE:
		check_key(key, function);
		return locate_text(t, FOLDED, key, strlen(key), function, add);
	case HashTable_POINTER:
		return locate_word(t, (uintptr_t)key, add);
	case HashTable_CUSTOM:
		check_key(key, function);
		return locate_custom(t, key, add);
	default:
		wrong_kind(t, function);
	}
}

ALWAYS_INLINE void **locate_bytes(T t, const void *key, size_t n, const char *function, const int add)
{
	switch (kind_of(t)) {
	case HashTable_STRING:
	case HashTable_BYTES:
		check_key(key, function);
		return locate_text(t, TEXT, key, n, function, add);
	case HashTable_STRING_NOCASE:
		check_key(key, function);
		return locate_text(t, FOLDED, key, n, function, add);
	default:
		wrong_kind(t, function);
	}
}

ALWAYS_INLINE void **locate_int(T t, uint64_t key, const char *function, const int add)
{
	if (UNLIKELY(kind_of(t) != HashTable_INTEGER))
		wrong_kind(t, function);
	return locate_word(t, key, add);
}

/* ---- lifecycle ---- */

enum { ALIGN = _Alignof(max_align_t), STRUCT_BYTES = (sizeof(struct HashTable) + ALIGN - 1) / ALIGN * ALIGN };

static void start_empty(T t, char *storage, size_t groups)
{
	hashtable__set_storage(t, storage, groups);
	memset(groups_of(t), 0, groups * sizeof(Group));
	t->room = capacity_of(groups);
}

static size_t slot_size_for(HashTable_Kind kind)
{
	return slot_size(kind == HashTable_INTEGER || kind == HashTable_POINTER ? WORDS : TEXT);
}

static void initialize(T t, Arena_T arena, const HashTable_Options *o)
{
	memset(t, 0, sizeof *t);
	t->magic = HASHTABLE_MAGIC | (uint32_t)o->kind;
	t->copies_keys = o->kind <= HashTable_BYTES && !o->borrow_keys;
	t->groups = &hashtable__no_group;
	t->options = *o;
	t->arena = arena;
	hash__secrets(t->secret, o->seed);
	hashtable__keys_init(t);
}

/* One group lies behind the struct, so that a small table is one allocation. A larger storage has one of
 * its own, after the struct's: then it is the arena's newest, and grows where it is if nothing follows. */
static T make(Arena_T arena, const HashTable_Options *o, size_t groups)
{
	size_t nbytes = hashtable__storage_bytes(slot_size_for(o->kind), groups);
	size_t own_bytes = STRUCT_BYTES + (groups == 1 ? nbytes : 0);
	T t = ALLOC(arena, own_bytes);

	initialize(t, arena, o);
	t->own_bytes = own_bytes;
	t->embedded = groups == 1;
	if (groups)
		start_empty(t, t->embedded ? (char *)t + STRUCT_BYTES : ALLOC(arena, nbytes), groups);
	return t;
}

static T make_with_arena(const HashTable_Options *o, size_t groups)
{
	Arena_Options options = { 0 };
	Arena_T arena;
	T t = NULL;

	options.name = "HashTable";
	arena = Arena_new_with(&options);
	PROTECT(arena);
	PROTECT(t);
	TRY {
		t = make(arena, o, groups);
	} ELSE {
		Arena_dispose(&arena);
		RERAISE;
	} END_TRY;
	t->owns_arena = 1;
	return t;
}

/* groups 0: no storage before the first insertion */
T hashtable__new(Arena_T arena, const HashTable_Options *o, size_t groups)
{
	return arena ? make(arena, o, groups) : make_with_arena(o, groups);
}

T HashTable_new_with(Arena_T arena, const HashTable_Options *options)
{
	HashTable_Options o;
	size_t groups;

	check_options(options);
	o = *options;
	groups = o.hint ? hashtable__groups_for(slot_size_for(o.kind), o.hint) : 0;
	if (o.seed == 0)
		o.seed = hash__random_seed();
	return hashtable__new(arena, &o, groups);
}

T HashTable_new(Arena_T arena, size_t hint)
{
	HashTable_Options o = { 0 };

	o.hint = hint;
	return HashTable_new_with(arena, &o);
}

/* What is newest in the arena goes back to it; the first bytes stay, and with them the dead magic. */
static void give_back(T t)
{
	Arena_T arena = t->arena;
	size_t own_bytes = t->own_bytes;

	if (t->slots && !t->embedded) {
		size_t nbytes = hashtable__storage_bytes(slot_size_of(t), t->mask + 1);

		poison(t->slots, nbytes);
		Arena_realloc(arena, t->slots, nbytes, 0);
	}
	t->magic = DEAD;
	poison((char *)t + ALIGN, own_bytes - ALIGN);
	Arena_realloc(arena, t, own_bytes, ALIGN);
}

void HashTable_free(T *table)
{
	T t;

	if (!table || !*table)
		return;
	t = *table;
	check_writable(t, "HashTable_free");
	*table = NULL;
	if (t->owns_arena) {
		Arena_T arena = t->arena;

		t->magic = DEAD;
		Arena_dispose(&arena);
	} else
		give_back(t);
}

/* ---- entries ---- */

void hashtable__erase(T t, void **slot)
{
	size_t i = (size_t)((char *)slot - t->slots) / slot_size_of(t);
	Group *g = &groups_of(t)[i / GROUP_SLOTS];
	uint8_t *tag = &g->tags[i % GROUP_SLOTS];

	t->room += !(g->overflow & overflow_bit(*tag));
	t->length--;
	*tag = FREE;
	if (t->copies_keys) {
		Text_Slot *s = (Text_Slot *)(void *)slot;

		hashtable__drop_key(t, s->key, s->length);
	}
}

ALWAYS_INLINE void *get(void **slot)
{
	return slot ? *slot : NULL;
}

ALWAYS_INLINE void *exchange(void **slot, void *value)
{
	void *old = *slot;

	*slot = value;
	return old;
}

static void *take(T t, void **slot)
{
	void *value = get(slot);

	if (slot)
		hashtable__erase(t, slot);
	return value;
}

void *HashTable_put(T t, const void *key, void *value)
{
	check_writable(t, "HashTable_put");
	return exchange(locate(t, key, "HashTable_put", 1), value);
}

void *HashTable_get(T t, const void *key)
{
	check_table(t, "HashTable_get");
	return get(locate(t, key, "HashTable_get", 0));
}

int HashTable_has(T t, const void *key)
{
	check_table(t, "HashTable_has");
	return locate(t, key, "HashTable_has", 0) != NULL;
}

void *HashTable_remove(T t, const void *key)
{
	check_writable(t, "HashTable_remove");
	return take(t, locate(t, key, "HashTable_remove", 0));
}

void **HashTable_slot(T t, const void *key)
{
	check_writable(t, "HashTable_slot");
	return locate(t, key, "HashTable_slot", 1);
}

void *HashTable_put_bytes(T t, const void *key, size_t n, void *value)
{
	check_writable(t, "HashTable_put_bytes");
	return exchange(locate_bytes(t, key, n, "HashTable_put_bytes", 1), value);
}

void *HashTable_get_bytes(T t, const void *key, size_t n)
{
	check_table(t, "HashTable_get_bytes");
	return get(locate_bytes(t, key, n, "HashTable_get_bytes", 0));
}

void *HashTable_remove_bytes(T t, const void *key, size_t n)
{
	check_writable(t, "HashTable_remove_bytes");
	return take(t, locate_bytes(t, key, n, "HashTable_remove_bytes", 0));
}

void *HashTable_put_int(T t, uint64_t key, void *value)
{
	check_writable(t, "HashTable_put_int");
	return exchange(locate_int(t, key, "HashTable_put_int", 1), value);
}

void *HashTable_get_int(T t, uint64_t key)
{
	check_table(t, "HashTable_get_int");
	return get(locate_int(t, key, "HashTable_get_int", 0));
}

void *HashTable_remove_int(T t, uint64_t key)
{
	check_writable(t, "HashTable_remove_int");
	return take(t, locate_int(t, key, "HashTable_remove_int", 0));
}

size_t HashTable_length(T t)
{
	check_table(t, "HashTable_length");
	return t->length;
}

void HashTable_clear(T t)
{
	check_writable(t, "HashTable_clear");
	if (!t->slots)
		return;
	memset(groups_of(t), 0, (t->mask + 1) * sizeof(Group));
	t->length = 0;
	t->room = capacity_of(t->mask + 1);
	if (t->copies_keys)
		hashtable__drop_all_keys(t);
}
