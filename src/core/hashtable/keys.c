/* SPDX-License-Identifier: MIT */
/* The copies of keys. They are cut from blocks of the arena's memory, in sizes of a few classes.
 * The bytes of a removed key go to the list of its class, and from there to the next key of that
 * size. So a table whose keys come and go stays as large as at its fullest moment. Outgrown
 * storage becomes a block.
 *
 * Invariant: every copy lies in a used block. The `left` bytes at `avail` are the free rest of
 * one of them. Idle blocks hold nothing. Free bytes are poisoned (except the links). So
 * AddressSanitizer and Valgrind report the use of a removed key, or of a slot of outgrown
 * storage. */
#include "config.h"

#include "hashtable/rep.h"
#include "base/poison.h"

enum {
	ALIGN = _Alignof(max_align_t),
	HEADER = (sizeof(Key_Block) + ALIGN - 1) / ALIGN * ALIGN,
	BLOCK_SMALLEST = 256,      /* header included */
	BLOCK_LARGEST = 64 * 1024,
	USUAL_KEY = 32,            /* bytes of a short key's copy, at most */
	EXACT = 8,                 /* classes one granule apart; the others are two to a doubling */
	LOOK_AT = 32               /* idle blocks tried for one request */
};

static unsigned floor_log2(size_t n)
{
	return (unsigned)(8 * sizeof(unsigned long long) - 1) - (unsigned)__builtin_clzll(n);
}

void hashtable__keys_init(T t)
{
	Keys *k = &t->keys;

	memset(k, 0, sizeof *k);
	k->used_end = &k->used;
	k->granule_log = floor_log2(kind_of(t) == HashTable_BYTES ? (size_t)ALIGN : sizeof(uint64_t));
}

static char *block_bytes(Key_Block *b)
{
	return (char *)b + HEADER;
}

/* ---- classes ---- */

/* Returns the class of a copy of nbytes, and stores the bytes that it takes. */
static unsigned class_of(const Keys *k, size_t nbytes, size_t *size)
{
	size_t rest = nbytes & (((size_t)1 << k->granule_log) - 1);
	size_t granules = (nbytes >> k->granule_log) + (rest != 0), half;
	unsigned log;

	if (granules <= EXACT) {
		granules += granules == 0;
		*size = granules << k->granule_log;
		return (unsigned)granules - 1;
	}
	log = floor_log2(granules - 1); /* 3 for 9 to 16: 12 or 16 */
	half = (size_t)1 << (log - 1);
	*size = (granules <= 3 * half ? 3 : 4) * half << k->granule_log;
	return EXACT + 2 * (log - 3) + (granules > 3 * half);
}

/* ---- blocks ---- */

static void append_used(Keys *k, Key_Block *b)
{
	b->next = NULL;
	*k->used_end = b;
	k->used_end = &b->next;
}

static Key_Block *take_idle(Keys *k, size_t size)
{
	Key_Block **link = &k->idle, *b;
	int i;

	for (i = 0; i < LOOK_AT && (b = *link) != NULL; i++, link = &b->next)
		if (b->size >= size) {
			*link = b->next;
			return b;
		}
	return NULL;
}

/* Returns a block of a quarter of the memory that the keys hold, but just the needed size if
 * memory is short. The first block has room for the short keys of as many entries as the hint
 * says. */
static Key_Block *new_block(T t, size_t size)
{
	Keys *k = &t->keys;
	size_t hint = t->options.hint, nbytes;
	size_t usual = k->held || hint > BLOCK_LARGEST ? k->held / 4 : hint * USUAL_KEY;
	Key_Block *b = NULL;

	if (usual < BLOCK_SMALLEST)
		usual = BLOCK_SMALLEST;
	if (usual > BLOCK_LARGEST)
		usual = BLOCK_LARGEST;
	if (!add_size(size, HEADER, &nbytes))
		EXCEPT_RAISE_MSG(HashTable_Failed, "no room for a key of %zu bytes", size);
	if (nbytes < usual && (b = Arena_try_alloc(t->arena, usual)) != NULL)
		nbytes = usual;
	if (!b)
		b = ALLOC(t->arena, nbytes);
	b->size = nbytes - HEADER;
	k->held += nbytes;
	poison(block_bytes(b), b->size);
	return b;
}

/* Takes size bytes from another block. Keeps the larger of the two rests. */
static char *cut_from_block(T t, size_t size)
{
	Keys *k = &t->keys;
	Key_Block *b = take_idle(k, size);
	char *p;

	if (!b)
		b = new_block(t, size);
	append_used(k, b);
	p = block_bytes(b);
	if (b->size - size > k->left) {
		k->avail = p + size;
		k->left = b->size - size;
	}
	return p;
}

int hashtable__donate(T t, void *p, size_t nbytes)
{
	Key_Block *b = p;

	if (!t->copies_keys || nbytes <= HEADER)
		return 0;
	b->size = nbytes - HEADER;
	b->next = t->keys.idle;
	t->keys.idle = b;
	poison(block_bytes(b), b->size);
	return 1;
}

/* ---- keys ---- */

/* Adds a byte for the NUL of strings, because an iterator's key is a string whatever call stored
 * it. */
static size_t bytes_of_key(T t, size_t n)
{
	return n + (kind_of(t) != HashTable_BYTES);
}

static char *cut_key(Keys *k, size_t size)
{
	char *p = k->avail;

	k->avail += size;
	k->left -= size;
	return p;
}

static char *take_returned(Keys *k, unsigned class)
{
	void **p = k->returned ? k->returned[class] : NULL;

	if (p)
		k->returned[class] = *p;
	return (char *)p;
}

/* The general case: a long key, a removed key's bytes, another block, or a tool that watches. */
static __attribute__((noinline)) char *keep_key_anywhere(T t, const void *key, size_t n)
{
	Keys *k = &t->keys;
	size_t nbytes = bytes_of_key(t, n), size;
	unsigned class = class_of(k, nbytes, &size);
	char *copy = take_returned(k, class);

	if (!copy)
		copy = size <= k->left ? cut_key(k, size) : cut_from_block(t, size);
	unpoison(copy, nbytes);
	memcpy(copy, key, n);
	if (nbytes > n)
		copy[n] = '\0';
	return copy;
}

/* Copies a key of 1 to 32 bytes as 32 bytes, without a branch on its length. Does so only if that
 * many bytes and a NUL are free, as it writes past the copy. */
char *hashtable__keep_key(T t, const void *key, size_t n)
{
#if HASH_WIDE_READS
	Keys *k = &t->keys;

	if (LIKELY(n - 1 < SHORT && k->left > SHORT + ALIGN && !k->returned
			&& may_read_wide(key, t->wide_limit))) {
		size_t granule = (size_t)1 << k->granule_log;
		char *copy = cut_key(k, (bytes_of_key(t, n) + granule - 1) & -granule);

		write_wide(copy, read_wide(key));
		copy[n] = '\0';
		return copy;
	}
#endif
	return keep_key_anywhere(t, key, n);
}

/* Never raises. Without memory for the lists the bytes are not used again. */
void hashtable__drop_key(T t, const void *copy, size_t n)
{
	Keys *k = &t->keys;
	void **p = (void **)copy;
	size_t size;
	unsigned class = class_of(k, bytes_of_key(t, n), &size);

	if ((char *)p + size == k->avail) {
		k->avail = (char *)p;
		k->left += size;
		poison(p, size);
		return;
	}
	if (!k->returned && (k->returned = Arena_try_alloc(t->arena, KEY_CLASSES * sizeof *p)) != NULL)
		memset(k->returned, 0, KEY_CLASSES * sizeof *p);
	if (k->returned) {
		unpoison(p, sizeof *p);
		*p = k->returned[class];
		k->returned[class] = p;
		poison(p + 1, size - sizeof *p);
	}
}

void hashtable__drop_all_keys(T t)
{
	Keys *k = &t->keys;
	Key_Block *b;

	for (b = k->used; b; b = b->next)
		poison(block_bytes(b), b->size);
	*k->used_end = k->idle;
	k->idle = k->used;
	k->used = NULL;
	k->used_end = &k->used;
	k->avail = NULL;
	k->left = 0;
	if (k->returned)
		memset(k->returned, 0, KEY_CLASSES * sizeof *k->returned);
}
