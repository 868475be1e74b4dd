/* SPDX-License-Identifier: MIT */
/* Calls of HashTable beside a model, an array of keys and values, for tables of every kind but
 * CUSTOM. The memory fails and the callbacks raise when the input says so. */
#include "config.h"

#include <ctype.h>
#include <string.h>

#include <core/HashTable.h>

#include "fuzz.h"

enum { KEYS = 300, KEY_ROOM = 12 };

EXCEPT_DEFINE(Refused, NULL, "a resize callback refuses");

typedef struct Model {
	HashTable_T table;
	HashTable_Kind kind;
	struct {
		char key[KEY_ROOM];      /* for POINTER its address is the key */
		size_t n;
		uint64_t number;
		void *value;             /* NULL: not inside */
	} entries[KEYS];
	size_t length;
} Model;

static Model model;
static int fails;       /* the backing allocator */
static int refuses;     /* the callback before a resize */

static void refuse(HashTable_T table, void *cl)
{
	(void)cl;
	require(HashTable_length(table) == model.length);
	if (refuses)
		RAISE(Refused);
}

/* Keys are short, so that they come again. In a NOCASE table the second is in capitals. */
static void make_keys(void)
{
	int i;

	for (i = 0; i < KEYS; i++) {
		model.entries[i].n = (size_t)snprintf(model.entries[i].key, KEY_ROOM, "%s%d",
			i % 3 ? "key-" : "", i);
		model.entries[i].number = i % 2 ? (uint64_t)i << 40 : (uint64_t)i;
		model.entries[i].value = NULL;
	}
	model.length = 0;
}

static void *call(int which, unsigned i, void *value)
{
	HashTable_T t = model.table;
	char key[KEY_ROOM];
	size_t n = model.entries[i].n, at;

	memcpy(key, model.entries[i].key, KEY_ROOM);
	if (model.kind == HashTable_STRING_NOCASE && which % 2)
		for (at = 0; at < n; at++)
			key[at] = (char)toupper((unsigned char)key[at]);
	switch (model.kind) {
	case HashTable_INTEGER: {
		uint64_t number = model.entries[i].number;

		return which == 0 ? HashTable_put_int(t, number, value)
			: which == 1 ? HashTable_get_int(t, number)
			: which == 2 ? HashTable_remove_int(t, number) : HashTable_slot_int(t, number);
	}
	case HashTable_BYTES:
		return which == 0 ? HashTable_put_bytes(t, key, n, value)
			: which == 1 ? HashTable_get_bytes(t, key, n)
			: which == 2 ? HashTable_remove_bytes(t, key, n) : HashTable_slot_bytes(t, key, n);
	default: {
		const void *k = model.kind == HashTable_POINTER ? (const void *)model.entries[i].key : key;

		return which == 0 ? HashTable_put(t, k, value)
			: which == 1 ? HashTable_get(t, k)
			: which == 2 ? HashTable_remove(t, k) : HashTable_slot(t, k);
	}
	}
}

static unsigned find_key(const HashTable_Iter *at)
{
	unsigned i;

	for (i = 0; i < KEYS; i++)
		if (model.kind == HashTable_INTEGER ? at->int_key == model.entries[i].number
			: model.kind == HashTable_POINTER ? at->key == model.entries[i].key
			: at->key_length == model.entries[i].n && model.kind == HashTable_STRING_NOCASE
			? strncasecmp(at->key, model.entries[i].key, at->key_length) == 0
			: at->key_length == model.entries[i].n
				&& memcmp(at->key, model.entries[i].key, at->key_length) == 0)
			return i;
	abort();
}

/* Walks over all; removes every nth entry on the way, none if nth is 0. */
static void walk(unsigned nth)
{
	HashTable_Iter it;
	size_t seen = 0, length = model.length;
	unsigned i;

	HashTable_iterate(model.table, &it);
	while (HashTable_next(&it)) {
		i = find_key(&it);
		require(it.value == model.entries[i].value && it.value);
		seen++;
		if (nth > 0 && seen % nth == 0) {
			HashTable_iter_remove(&it);
			model.entries[i].value = NULL;
			model.length--;
		}
	}
	require(seen == length);
}

static void check_all(void)
{
	unsigned i;

	require(HashTable_length(model.table) == model.length);
	for (i = 0; i < KEYS; i++)
		require(call(1, i, NULL) == model.entries[i].value);
}

static void step(Input *in, Arena_T arena)
{
	unsigned what = take(in), i = (take(in) | (what & 1) << 8) % KEYS;
	void *old = model.entries[i].value, *value = &model.entries[(i + what) % KEYS], **slot;

	fails = (what & 0xc0) == 0xc0 && (what & 0x30) == 0;
	refuses = (what & 0xc0) == 0x80 && (what & 0x30) == 0;
	switch (what >> 1 & 7) {
	case 0: case 1: case 2:
		require(call(0, i, value) == old);
		model.entries[i].value = value;
		model.length += !old;
		break;
	case 3:
		require(call(2, i, NULL) == old);
		model.entries[i].value = NULL;
		model.length -= !!old;
		break;
	case 4:
		slot = call(3, i, NULL);
		require(*slot == old);
		*slot = model.entries[i].value = value;
		model.length += !old;
		break;
	case 5:
		walk(i % 5);
		break;
	case 6:
		if (i % 4 == 0) {
			HashTable_reserve(model.table, i);
		} else if (i % 4 == 1) {
			HashTable_shrink(model.table);
		} else if (i % 16 == 2) {
			HashTable_clear(model.table);
			for (i = 0; i < KEYS; i++)
				model.entries[i].value = NULL;
			model.length = 0;
		} else if (i % 16 == 3) {
			model.table = HashTable_copy(model.table, arena);
			HashTable_set_pre_resize_callback(model.table, refuse, NULL);
		}
		break;
	default:
		require(call(1, i, NULL) == old);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static Input in; /* static, because it changes in a TRY */
	unsigned first;
	Arena_Options memory = {
		.chunk = 64, .alloc = alloc_or_fail, .free = free_backing, .cl = &fails
	};
	HashTable_Options options = { 0 };
	Arena_T arena;

	in = (Input){ data, data + n };
	first = take(&in);
	options.kind = first % HashTable_CUSTOM;
	options.hint = first / 8;
	options.seed = 1 + take(&in);
	fails = refuses = 0;
	make_keys();
	model.kind = options.kind;
	arena = Arena_new_with(&memory);
	model.table = HashTable_new_with(arena, &options);
	HashTable_set_pre_resize_callback(model.table, refuse, NULL);
	while (in.next < in.end) {
		TRY {
			step(&in, arena);
		} EXCEPT(Arena_Failed) {
			require(fails);
		} EXCEPT(Refused) {
			require(refuses);
		} END_TRY;
	}
	fails = refuses = 0;
	check_all();
	walk(0);
	Arena_dispose(&arena);
	return 0;
}
