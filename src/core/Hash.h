/* SPDX-License-Identifier: MIT */
/* Private to HashTable: keyed hashes of a 64-bit word and of bytes, and comparing bytes the same way.
 *
 * Both are of the wyhash family (Wang Yi, "Modern Non-Cryptographic Hash Function and Pseudorandom
 * Number Generator", 2019; N. De Carli's rapidhash is a later member): 64 x 64 to 128-bit multiplications
 * whose operands are input xored with a secret. The published functions have public secrets and one
 * secret seed, and then an input word equal to a secret makes the product 0 whatever the seed is: keys
 * that collide under every seed. Here all four words are secret and differ from table to table.
 *
 * What that defends against: a peer that chooses keys without seeing hashes or exact timings. It is no
 * message authentication code: one who reads hash values can work the secret back. SipHash-1-3
 * (Aumasson and Bernstein, 2012) would resist that too, for some 10 ns more a short key. */
#ifndef HASH_INCLUDED
#define HASH_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { HASH_SECRETS = 4 };

/* A seed from the system's random source, another at each call. Raises: HashTable_Failed. */
uint64_t hash__random_seed(void);
void hash__secrets(uint64_t secret[HASH_SECRETS], uint64_t seed);

/* ---- words ---- */

/* *high:*low = *low x *high */
ALWAYS_INLINE void multiply(uint64_t *low, uint64_t *high)
{
#if defined __SIZEOF_INT128__
	__extension__ typedef unsigned __int128 Wide;
	Wide product = (Wide)*low * *high;

	*low = (uint64_t)product;
	*high = (uint64_t)(product >> 64);
#else
	uint64_t x0 = (uint32_t)*low, x1 = *low >> 32, y0 = (uint32_t)*high, y1 = *high >> 32;
	uint64_t low_product = x0 * y0, cross = x1 * y0 + (low_product >> 32), other = x0 * y1 + (uint32_t)cross;

	*low = other << 32 | (uint32_t)low_product;
	*high = x1 * y1 + (cross >> 32) + (other >> 32);
#endif
}

ALWAYS_INLINE uint64_t mix(uint64_t x, uint64_t y)
{
	multiply(&x, &y);
	return x ^ y;
}

ALWAYS_INLINE uint64_t load8(const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

ALWAYS_INLINE uint32_t load4(const unsigned char *p)
{
	uint32_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

/* All of fewer than 8 bytes; different bytes of one length give different words. */
ALWAYS_INLINE uint64_t load_short(const unsigned char *p, size_t n)
{
	if (n >= 4)
		return (uint64_t)load4(p) << 32 | load4(p + n - 4);
	if (n > 0)
		return (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1];
	return 0;
}

/* A to Z become a to z in each byte, others stay (also those above 127). The sums set the top bit of
 * the bytes that are at least 'A', and past 'Z'; no byte carries into the next. */
ALWAYS_INLINE uint64_t lower(uint64_t word)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t low7 = word & each * 0x7f;
	uint64_t from_a = low7 + each * (0x80 - 'A'), past_z = low7 + each * (0x7f - 'Z');

	return word | ((from_a ^ past_z) & ~word & each * 0x80) >> 2;
}

#define FOLD(word) (folded ? lower(word) : (word))

/* ---- hashes ---- */

/* Two multiplications: with one, some seeds (a few in 300) gather keys such as the multiples of 65,536 in
 * so few groups that a search looks at eight of them, even when the product is quadratic in the key. */
ALWAYS_INLINE uint64_t hash_word(const uint64_t *secret, uint64_t key)
{
	uint64_t x = key ^ secret[0], y = (key << 32 | key >> 32) ^ secret[1];

	multiply(&x, &y);
	return mix(x ^ secret[2], y ^ secret[3]);
}

ALWAYS_INLINE uint64_t hash_long(const uint64_t *secret, const unsigned char *p, size_t n, uint64_t state,
	const int folded)
{
	if (n > 48) {
		uint64_t state1 = state, state2 = state;

		for (; n > 48; n -= 48, p += 48) {
			state = mix(FOLD(load8(p)) ^ secret[1], FOLD(load8(p + 8)) ^ state);
			state1 = mix(FOLD(load8(p + 16)) ^ secret[2], FOLD(load8(p + 24)) ^ state1);
			state2 = mix(FOLD(load8(p + 32)) ^ secret[3], FOLD(load8(p + 40)) ^ state2);
		}
		state ^= state1 ^ state2;
	}
	for (; n > 16; n -= 16, p += 16)
		state = mix(FOLD(load8(p)) ^ secret[2], FOLD(load8(p + 8)) ^ state);
	return state;
}

/* The length is in both multiplications: xored into the first alone, a peer could cancel it with the
 * bytes of a longer key. folded is a constant at each call. */
ALWAYS_INLINE uint64_t hash_bytes(const uint64_t *secret, const void *bytes, size_t n, const int folded)
{
	const unsigned char *p = bytes;
	uint64_t state = secret[0] ^ n, x, y = 0;

	if (n < 8)
		x = load_short(p, n);
	else if (n <= 16) {
		x = load8(p);
		y = load8(p + n - 8);
	} else {
		state = hash_long(secret, p, n, state, folded);
		x = load8(p + n - 16);
		y = load8(p + n - 8);
	}
	x = FOLD(x) ^ secret[1];
	y = FOLD(y) ^ state;
	multiply(&x, &y);
	return mix(x ^ secret[2] ^ n, y ^ secret[3]);
}

/* ---- comparison ---- */

ALWAYS_INLINE int same_bytes(const void *one, const void *other, size_t n, const int folded)
{
	const unsigned char *p = one, *q = other;
	size_t i;

	if (n < 8)
		return FOLD(load_short(p, n)) == FOLD(load_short(q, n));
	if (n > 64 && !folded)
		return memcmp(p, q, n) == 0;
	for (i = 0; i + 8 < n; i += 8)
		if (FOLD(load8(p + i)) != FOLD(load8(q + i)))
			return 0;
	return FOLD(load8(p + n - 8)) == FOLD(load8(q + n - 8));
}

#undef FOLD
#endif
