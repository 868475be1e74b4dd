/* SPDX-License-Identifier: MIT */
/* HashTable: open addressing in groups of 15 slots. The representation and its invariant are in
 * hashtable/rep.h. This file makes tables and changes entries. A call first tries the kind that
 * it is most often used with: one comparison tests the kind and that the table is alive. Other
 * kinds and errors come last. */
#include "config.h"

#include "hashtable/probe.h"
#include "base/poison.h"

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

void hashtable__refuse_write(T t, const char *function)
{
	CHECK(!t, "%s: called from a resize callback, which may only read the table", function);
}

/* takes names the kinds that the call is for. */
static void refuse_kind(T t, const char *function, const char *takes) CORE_NORETURN;
static void refuse_kind(T t, const char *function, const char *takes)
{
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: not for a table with %s keys: it takes %s", function,
		kind_names[kind_of(t)], takes);
}

static void refuse_kind_for_bytes(T t, size_t n, const char *function) CORE_NORETURN;
static void refuse_kind_for_bytes(T t, size_t n, const char *function)
{
	EXCEPT_RAISE_MSG(Assert_Failed,
		"%s, a key of %zu bytes: not for a table with %s keys: it takes STRING, "
		"STRING_NOCASE and BYTES",
		function, n, kind_names[kind_of(t)]);
}

static void refuse_null_key(const char *function) CORE_NORETURN;
static void refuse_null_key(const char *function)
{
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: the key is NULL", function);
}

static void refuse_length(size_t n, const char *function) CORE_NORETURN;
static void refuse_length(size_t n, const char *function)
{
	EXCEPT_RAISE_MSG(HashTable_Failed, "%s: a key of %zu bytes; the longest has %lu", function, n,
		(unsigned long)UINT32_MAX);
}

ALWAYS_INLINE void check_key(const void *key, const char *function)
{
	if (UNLIKELY(!key))
		refuse_null_key(function);
}

/* Checks that the table is alive and of that kind, and that no callback runs. */
ALWAYS_INLINE int is_plain(T t, HashTable_Kind kind)
{
	return LIKELY(t != NULL) && t->magic == (HASHTABLE_MAGIC | (uint32_t)kind);
}

ALWAYS_INLINE void check_access(T t, const int writes, const char *function)
{
	if (writes)
		check_writable(t, function);
	else
		check_table(t, function);
}

static void check_options(const HashTable_Options *o)
{
	CHECK(o, "HashTable_new_with: the options are NULL");
	CHECK((unsigned)o->kind <= HashTable_CUSTOM, "HashTable_new_with: %d is not a kind of key",
		(int)o->kind);
	if (o->kind == HashTable_CUSTOM)
		CHECK(o->hash && o->equal, "HashTable_new_with: CUSTOM keys need both hash and equal");
	else
		CHECK(!o->hash && !o->equal,
			"HashTable_new_with: hash and equal are for CUSTOM keys, not for %s",
			kind_names[o->kind]);
}

/* ---- insertion; everything that can fail comes before claim ----
 *
 * The common case comes first: there is room, and the key's own group has a free slot. The others
 * are functions that are called last, so the common case saves no register. */

ALWAYS_INLINE void **store_word(Word_Slot *slot, uint64_t key)
{
	slot->value = NULL;
	slot->key = key;
	return &slot->value;
}

static __attribute__((noinline)) void **add_word_anywhere(T t, uint64_t key, uint32_t hash)
{
	if (t->room == 0)
		hashtable__make_room(t);
	return store_word(claim_slot(t, sizeof(Word_Slot), hash), key);
}

ALWAYS_INLINE void **add_word(T t, uint64_t key, uint32_t hash)
{
	size_t g = position_of(t, hash);
	Mask m = group_match(&t->groups[g], FREE);

	if (UNLIKELY(!m || t->room == 0))
		return add_word_anywhere(t, key, hash);
	return store_word(claim_slot_of(t, sizeof(Word_Slot), hash, g, m), key);
}

ALWAYS_INLINE void **store_text(Text_Slot *slot, const void *key, size_t n, uint32_t hash)
{
	slot->value = NULL;
	slot->key = key;
	slot->id = id_of(hash, n);
	return &slot->value;
}

/* A copied key that is not in a slot yet. The key is NULL if there is none to drop. */
typedef struct Unplaced {
	T t;
	const void *key;
	size_t n;
} Unplaced;

static void drop_unplaced(Unplaced *u)
{
	if (u->key)
		hashtable__drop_key(u->t, u->key, u->n);
}

static void make_room_for(T t, const void *key, size_t n)
{
	Unplaced u = { t, t->copies_keys ? key : NULL, n };

	DEFER(drop_unplaced, &u); /* a resize callback may raise, throw or end the thread */
	hashtable__make_room(t);
	u.key = NULL;
}

static __attribute__((noinline)) void **add_text_anywhere(T t, const void *key, size_t n,
	uint32_t hash)
{
	if (t->room == 0)
		make_room_for(t, key, n);
	return store_text(claim_slot(t, sizeof(Text_Slot), hash), key, n, hash);
}

static __attribute__((noinline)) void **add_kept_text(T t, const void *key, size_t n,
	uint32_t hash, size_t g)
{
	Mask m = group_match(&t->groups[g], FREE);

	if (UNLIKELY(!m || t->room == 0))
		return add_text_anywhere(t, key, n, hash);
	return store_text(claim_slot_of(t, sizeof(Text_Slot), hash, g, m), key, n, hash);
}

/* The key is copied first, so that the table is not resized for a key that has no room. */
ALWAYS_INLINE void **add_text(T t, const void *p, size_t n, uint32_t hash)
{
	size_t own_group = position_of(t, hash); /* as the search, which comes before, computed it */
	const void *key = t->copies_keys ? hashtable__keep_key(t, p, n) : p;

	return add_kept_text(t, key, n, hash, own_group);
}

/* ---- finding a key of each kind, and inserting it if add is set ---- */

ALWAYS_INLINE Place locate_word(T t, uint64_t word, const int add)
{
	Key k = { NULL, word, (uint32_t)(hash_word(t->secret, word) >> 32), 0 };
	Place at = find_key(t, WORDS, &k);

	if (add && !at.slot)
		at.slot = add_word(t, word, k.hash);
	return at;
}

ALWAYS_INLINE Place locate_text(T t, const enum Way way, Key k, uint64_t hash, const int add)
{
	Place at;

	k.hash = (uint32_t)(hash >> 32);
	at = find_key(t, way, &k);
	if (add && !at.slot)
		at.slot = add_text(t, k.p, (size_t)k.n, k.hash);
	return at;
}

static __attribute__((noinline)) uint64_t hash_exactly(T t, const void *p, size_t n, int folded)
{
	return folded ? hash_bytes(t->secret, p, n, 1) : hash_bytes(t->secret, p, n, 0);
}

ALWAYS_INLINE Place locate_exactly(T t, const enum Way way, const void *p, size_t n,
	const char *function, const int add)
{
	Key k = { p, n, 0, 0 };

	if (UNLIKELY(n >> 16 >> 16 != 0)) {
		if (add)
			refuse_length(n, function);
		return (Place){ NULL, NULL, 0 };
	}
	return locate_text(t, way, k, hash_exactly(t, p, n, way == FOLDED), add);
}

#if HASH_WIDE_READS
ALWAYS_INLINE Place locate_wide(T t, const enum Way way, const void *p, Wide bytes, size_t n,
	const int add)
{
	Key k = { p, n, 0, n > 0 };

	bytes = cut_wide(way == FOLDED ? fold_wide(bytes) : bytes, n);
	return locate_text(t, way, k, hash_short(t->secret, words_of_wide(bytes), n), add);
}
#endif

/* A key of no bytes may have any address, also one just past the end of memory. */
ALWAYS_INLINE Place locate_n_bytes(T t, const enum Way way, const void *p, size_t n,
	const char *function, const int add)
{
#if HASH_WIDE_READS
	if (n - 1 < SHORT && LIKELY(may_read_wide(p, t->wide_limit)))
		return locate_wide(t, way, p, read_wide(p), n, add);
#endif
	return locate_exactly(t, way, p, n, function, add);
}

ALWAYS_INLINE Place locate_string(T t, const enum Way way, const char *p, const char *function,
	const int add)
{
#if HASH_WIDE_READS
	if (LIKELY(may_read_wide(p, t->wide_limit))) {
		Wide bytes = read_wide(p);
		uint32_t zeros = zeros_wide(bytes);

		if (LIKELY(zeros))
			return locate_wide(t, way, p, bytes, (size_t)__builtin_ctz(zeros), add);
	}
#endif
	return locate_exactly(t, way, p, strlen(p), function, add);
}

/* Mixes the caller's hash, which may vary little in its low bits, or be known to a peer. */
static Place locate_custom(T t, const void *p, const int add)
{
	Key k = { p, 0, 0, 0 };

	return locate_text(t, CUSTOM, k, hash_word(t->secret, t->options.hash(p, t->options.seed)),
		add);
}

ALWAYS_INLINE Place locate_key(T t, const void *key, const char *function, const int add)
{
	check_access(t, add, function);
	switch (kind_of(t)) {
	case HashTable_STRING:
		check_key(key, function);
		return locate_string(t, TEXT, key, function, add);
	case HashTable_STRING_NOCASE:
		check_key(key, function);
		return locate_string(t, FOLDED, key, function, add);
	case HashTable_POINTER:
		return locate_word(t, (uintptr_t)key, add);
	case HashTable_CUSTOM:
		check_key(key, function);
		return locate_custom(t, key, add);
	default:
		refuse_kind(t, function, kind_of(t) == HashTable_BYTES ? "no length: see the _bytes calls"
			: "no integer: see the _int calls");
	}
}

ALWAYS_INLINE Place locate_bytes(T t, const void *key, size_t n, const char *function,
	const int add)
{
	check_access(t, add, function);
	if (kind_of(t) == HashTable_STRING || kind_of(t) == HashTable_BYTES) {
		check_key(key, function);
		return locate_n_bytes(t, TEXT, key, n, function, add);
	}
	if (kind_of(t) != HashTable_STRING_NOCASE)
		refuse_kind_for_bytes(t, n, function);
	check_key(key, function);
	return locate_n_bytes(t, FOLDED, key, n, function, add);
}

static void check_int(T t, const int writes, const char *function)
{
	check_access(t, writes, function);
	if (kind_of(t) != HashTable_INTEGER)
		refuse_kind(t, function, "INTEGER");
}

/* ---- lifecycle ---- */

enum {
	ALIGN = _Alignof(max_align_t),
	STRUCT_BYTES = (sizeof(struct HashTable) + ALIGN - 1) / ALIGN * ALIGN
};

static size_t slot_size_for(HashTable_Kind kind)
{
	return slot_size(kind == HashTable_INTEGER || kind == HashTable_POINTER ? WORDS : TEXT);
}

/* Returns 0 if a tool watches the bytes past a key. */
static uint32_t wide_limit(void)
{
#if HASH_WIDE_READS
	return red_zone() ? 0 : PAGE - SHORT + 1;
#else
	return 0;
#endif
}

static void initialize_table(T t, Arena_T arena, const HashTable_Options *o)
{
	zero(t, sizeof *t);
	t->magic = HASHTABLE_MAGIC | (uint32_t)o->kind;
	t->wide_limit = wide_limit();
	t->copies_keys = o->kind <= HashTable_BYTES && !o->borrow_keys;
	t->options = *o;
	t->arena = arena;
	hashtable__no_storage(t);
	hash__secrets(t->secret, o->seed);
	hashtable__keys_init(t);
}

static void embed_group(T t)
{
	t->embedded = 1;
	hashtable__use_block(t, (char *)t + STRUCT_BYTES, 1);
	memset(groups_of(t), 0, sizeof(Group));
	t->room = capacity_of(1);
}

/* One group lies after the struct, so that a small table is one allocation. Larger storage has
 * its own allocation after the struct. It is the arena's newest memory, so it grows in place if
 * nothing follows. */
static T make_table(Arena_T arena, const HashTable_Options *o, size_t groups)
{
	size_t own_bytes =
		STRUCT_BYTES + (groups == 1 ? hashtable__block_bytes(slot_size_for(o->kind), 1) : 0);
	T t = ALLOC(arena, own_bytes);

	initialize_table(t, arena, o);
	t->own_bytes = own_bytes;
	if (groups == 1)
		embed_group(t);
	else if (groups > 1)
		hashtable__add_storage(t, groups);
	return t;
}

static T make_with_arena(const HashTable_Options *o, size_t groups)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new_with(&(Arena_Options){ .name = "HashTable" });
	T t = make_table(arena, o, groups);

	t->owns_arena = 1;
	arena = NULL;
	return t;
}

/* If groups is 0, there is no storage before the first insertion. */
T hashtable__new(Arena_T arena, const HashTable_Options *o, size_t groups)
{
	return arena ? make_table(arena, o, groups) : make_with_arena(o, groups);
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

/* Gives the arena as much memory as it takes back. The first bytes stay, and with them the magic
 * of a dead table. */
static void give_table_back(T t)
{
	Arena_T arena = t->arena;
	size_t own_bytes = t->own_bytes;

	hashtable__free_storage(t);
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
		give_table_back(t);
}

/* ---- entries ---- */

void hashtable__erase(T t, void **slot, Group *group, unsigned s)
{
	t->room += !(group->overflow & overflow_bit(group->tags[s]));
	t->length--;
	group_set(group, s, FREE);
	if (t->copies_keys) {
		Text_Slot *text = (Text_Slot *)(void *)slot;

		hashtable__drop_key(t, text->key, length_of_id(text->id));
	}
}

ALWAYS_INLINE void *value_at(Place at)
{
	return at.slot ? *at.slot : NULL;
}

ALWAYS_INLINE void *exchange_value(Place at, void *value)
{
	void *old = *at.slot;

	*at.slot = value;
	return old;
}

ALWAYS_INLINE void *take_value(T t, Place at)
{
	void *value = value_at(at);

	if (at.slot)
		hashtable__erase(t, at.slot, at.group, at.s);
	return value;
}

/* ---- the most frequent calls, with the rare cases as functions of their own, called last ---- */

static __attribute__((noinline)) void *get_other(T t, const void *key)
{
	return value_at(locate_key(t, key, "HashTable_get", 0));
}

static __attribute__((noinline)) void *put_other(T t, const void *key, void *value)
{
	return exchange_value(locate_key(t, key, "HashTable_put", 1), value);
}

static __attribute__((noinline)) void *get_other_int(T t, uint64_t key)
{
	check_int(t, 0, "HashTable_get_int");
	return value_at(locate_word(t, key, 0));
}

static __attribute__((noinline)) void *put_other_int(T t, uint64_t key, void *value)
{
	check_int(t, 1, "HashTable_put_int");
	return exchange_value(locate_word(t, key, 1), value);
}

static __attribute__((noinline)) void *remove_other_int(T t, uint64_t key)
{
	check_int(t, 1, "HashTable_remove_int");
	return take_value(t, locate_word(t, key, 0));
}

/* ---- */

void *HashTable_put(T t, const void *key, void *value)
{
	if (UNLIKELY(!is_plain(t, HashTable_STRING) || !key))
		return put_other(t, key, value);
	return exchange_value(locate_string(t, TEXT, key, "HashTable_put", 1), value);
}

void *HashTable_get(T t, const void *key)
{
	if (UNLIKELY(!is_plain(t, HashTable_STRING) || !key))
		return get_other(t, key);
	return value_at(locate_string(t, TEXT, key, "HashTable_get", 0));
}

int HashTable_has(T t, const void *key)
{
	return locate_key(t, key, "HashTable_has", 0).slot != NULL;
}

void *HashTable_remove(T t, const void *key)
{
	check_writable(t, "HashTable_remove");
	return take_value(t, locate_key(t, key, "HashTable_remove", 0));
}

void **HashTable_slot(T t, const void *key)
{
	return locate_key(t, key, "HashTable_slot", 1).slot;
}

void *HashTable_put_bytes(T t, const void *key, size_t n, void *value)
{
	return exchange_value(locate_bytes(t, key, n, "HashTable_put_bytes", 1), value);
}

void *HashTable_get_bytes(T t, const void *key, size_t n)
{
	return value_at(locate_bytes(t, key, n, "HashTable_get_bytes", 0));
}

void *HashTable_remove_bytes(T t, const void *key, size_t n)
{
	check_writable(t, "HashTable_remove_bytes");
	return take_value(t, locate_bytes(t, key, n, "HashTable_remove_bytes", 0));
}

void *HashTable_put_int(T t, uint64_t key, void *value)
{
	if (UNLIKELY(!is_plain(t, HashTable_INTEGER)))
		return put_other_int(t, key, value);
	return exchange_value(locate_word(t, key, 1), value);
}

void *HashTable_get_int(T t, uint64_t key)
{
	if (UNLIKELY(!is_plain(t, HashTable_INTEGER)))
		return get_other_int(t, key);
	return value_at(locate_word(t, key, 0));
}

void *HashTable_remove_int(T t, uint64_t key)
{
	if (UNLIKELY(!is_plain(t, HashTable_INTEGER)))
		return remove_other_int(t, key);
	return take_value(t, locate_word(t, key, 0));
}

int HashTable_has_bytes(T t, const void *key, size_t n)
{
	return locate_bytes(t, key, n, "HashTable_has_bytes", 0).slot != NULL;
}

void **HashTable_slot_bytes(T t, const void *key, size_t n)
{
	return locate_bytes(t, key, n, "HashTable_slot_bytes", 1).slot;
}

int HashTable_has_int(T t, uint64_t key)
{
	check_int(t, 0, "HashTable_has_int");
	return locate_word(t, key, 0).slot != NULL;
}

void **HashTable_slot_int(T t, uint64_t key)
{
	check_int(t, 1, "HashTable_slot_int");
	return locate_word(t, key, 1).slot;
}

size_t HashTable_length(T t)
{
	check_table(t, "HashTable_length");
	return t->length;
}

void HashTable_clear(T t)
{
	check_writable(t, "HashTable_clear");
	if (!has_storage(t))
		return;
	memset(groups_of(t), 0, t->ngroups * sizeof(Group));
	t->length = 0;
	t->room = capacity_of(t->ngroups);
	if (t->copies_keys)
		hashtable__drop_all_keys(t);
}
