/* SPDX-License-Identifier: MIT */
/* Private to HashTable: keyed hashes of a 64-bit word and of bytes, and comparisons of bytes.
 *
 * Both hashes are of the wyhash family (Wang Yi, "Modern Non-Cryptographic Hash Function and
 * Pseudorandom Number Generator", 2019; N. De Carli's rapidhash is a later member): 64 x 64 to
 * 128-bit multiplications whose operands are input xored with a secret. The published functions
 * have public secrets and one secret seed. An input word that equals a secret then makes the
 * product 0 whatever the seed is, so some keys collide under every seed. Here all four words are
 * secret and differ from table to table.
 *
 * This defends against a peer that chooses keys without seeing hashes or exact timings. It is not
 * a message authentication code: a peer that reads hash values can compute the secret.
 * SipHash-1-3 (Aumasson and Bernstein, 2012) would resist that, too, for some 10 ns more for a
 * short key. */
#ifndef HASH_INCLUDED
#define HASH_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { HASH_SECRETS = 4 };

/* Returns a seed from the system's random source, a different one at each call. Raises:
 * HashTable_Failed. */
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
	uint64_t low_product = x0 * y0, cross = x1 * y0 + (low_product >> 32),
		other = x0 * y1 + (uint32_t)cross;

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

/* Returns a word of fewer than 8 bytes. Different bytes of the same length give different
 * words. */
ALWAYS_INLINE uint64_t load_short(const unsigned char *p, size_t n)
{
	if (n >= 4)
		return (uint64_t)load4(p) << 32 | load4(p + n - 4);
	if (n > 0)
		return (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1];
	return 0;
}

/* Returns the word with A to Z as a to z; other bytes stay, also those above 127. The sums set
 * the top bit of the bytes that are at least 'A', and of those past 'Z'. No byte carries into the
 * next. */
ALWAYS_INLINE uint64_t lower(uint64_t word)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t low7 = word & each * 0x7f;
	uint64_t from_a = low7 + each * (0x80 - 'A'), past_z = low7 + each * (0x7f - 'Z');

	return word | ((from_a ^ past_z) & ~word & each * 0x80) >> 2;
}

#define FOLD(word) (folded ? lower(word) : (word))

/* ---- the first 32 bytes ---- */

enum { SHORT = 32 }; /* the most bytes of a short key */

/* A short key as four words, which are 0 past its end. */
typedef struct Words {
	uint64_t w[SHORT / 8];
} Words;

ALWAYS_INLINE Words fold(Words k)
{
	int i;

	for (i = 0; i < SHORT / 8; i++)
		k.w[i] = lower(k.w[i]);
	return k;
}

ALWAYS_INLINE Words words_of(const void *p, size_t n, const int folded)
{
	Words k = { { 0, 0, 0, 0 } };

	memcpy(k.w, p, n);
	return folded ? fold(k) : k;
}

/* With SSE2 a short key is read as 32 bytes, unless these might reach into another page. So no
 * branch depends on the length, which the processor cannot predict, and the end of a string is
 * found in the same bytes. The bytes past the end are masked out. Tools that watch each byte
 * would report these reads, so they get exact reads. */
#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) \
	|| __has_feature(memory_sanitizer)
#define HASH_EXACT_READS 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define HASH_EXACT_READS 1
#endif
#if defined __SSE2__ && !defined HASH_EXACT_READS && !defined HASHTABLE_SCALAR
#define HASH_WIDE_READS 1
#include <emmintrin.h>

enum { PAGE = 4096 }; /* no page is smaller */

/* limit is PAGE - SHORT, or 0 for exact reads. */
ALWAYS_INLINE int may_read_wide(const void *p, uint32_t limit)
{
	return ((uintptr_t)p & (PAGE - 1)) < limit;
}

typedef struct Wide {
	__m128i low, high;
} Wide;

ALWAYS_INLINE Wide read_wide(const void *p)
{
	return (Wide){ _mm_loadu_si128(p), _mm_loadu_si128((const __m128i *)p + 1) };
}

ALWAYS_INLINE void write_wide(void *p, Wide k)
{
	_mm_storeu_si128(p, k.low);
	_mm_storeu_si128((__m128i *)p + 1, k.high);
}

/* Keeps the first n <= 32 bytes and sets the others to 0. */
ALWAYS_INLINE Wide cut_wide(Wide k, size_t n)
{
	static const uint8_t keep[2 * SHORT] = {
		255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
		255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255
	};
	Wide mask = read_wide(keep + SHORT - n);

	return (Wide){ _mm_and_si128(k.low, mask.low), _mm_and_si128(k.high, mask.high) };
}

/* The comparison is signed, so bytes above 127 are less than 'A'. */
ALWAYS_INLINE __m128i fold_16(__m128i k)
{
	__m128i is_upper = _mm_and_si128(_mm_cmpgt_epi8(k, _mm_set1_epi8('A' - 1)),
		_mm_cmplt_epi8(k, _mm_set1_epi8('Z' + 1)));

	return _mm_or_si128(k, _mm_and_si128(is_upper, _mm_set1_epi8(0x20)));
}

ALWAYS_INLINE Wide fold_wide(Wide k)
{
	return (Wide){ fold_16(k.low), fold_16(k.high) };
}

/* Returns a mask in which bit i is set if byte i is 0. */
ALWAYS_INLINE uint32_t zeros_wide(Wide k)
{
	__m128i zero = _mm_setzero_si128();

	return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(k.low, zero))
		| (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(k.high, zero)) << 16;
}

ALWAYS_INLINE Words words_of_wide(Wide k)
{
	Words words;

	memcpy(words.w, &k, sizeof words.w);
	return words;
}

ALWAYS_INLINE int same_wide(const void *one, const void *other, size_t n, const int folded)
{
	Wide x = read_wide(one), y = read_wide(other), differ;

	if (folded) {
		x = fold_wide(x);
		y = fold_wide(y);
	}
	differ = cut_wide((Wide){ _mm_xor_si128(x.low, y.low), _mm_xor_si128(x.high, y.high) }, n);
	return zeros_wide(differ) == UINT32_MAX;
}
#endif

/* ---- hashes ---- */

/* Returns a hash whose high half counts. It is a product that is quadratic in the key, then a
 * product with an odd secret (all secrets are odd). The high bits of that are a universal hash
 * (M. Dietzfelbinger et al., "A Reliable Randomized Algorithm for the Closest-Pair Problem",
 * 1997). The first product alone does not suffice. With a few seeds in 300 it gathers keys such as
 * the multiples of 65,536 in few groups, and a search looks at eight. */
ALWAYS_INLINE uint64_t hash_word(const uint64_t *secret, uint64_t key)
{
	return mix(key ^ secret[0], (key << 32 | key >> 32) ^ secret[1]) * secret[2];
}

/* Multiplies each word with another, each under its own secret, then the products. The length
 * distinguishes keys that differ in NULs at the end. A peer cannot cancel the length, because its
 * summand is secret. */
ALWAYS_INLINE uint64_t hash_short(const uint64_t *secret, Words k, size_t n)
{
	uint64_t x = k.w[0] ^ secret[0], y = k.w[1] ^ secret[1], u = k.w[2] ^ secret[2],
		v = k.w[3] ^ secret[3];

	multiply(&x, &y);
	multiply(&u, &v);
	return mix(x ^ v, y ^ u ^ n);
}

/* Hashes more than 32 bytes: two chains of multiplications, then the last 32 bytes, which may
 * overlap the chains, as a short key. */
static inline uint64_t hash_long(const uint64_t *secret, const unsigned char *p, size_t n,
	const int folded)
{
	uint64_t x = secret[1], y = secret[3];
	size_t left = n;
	Words last;

	for (; left > SHORT; left -= SHORT, p += SHORT) {
		x = mix(FOLD(load8(p)) ^ secret[0], FOLD(load8(p + 8)) ^ x);
		y = mix(FOLD(load8(p + 16)) ^ secret[2], FOLD(load8(p + 24)) ^ y);
	}
	last = words_of(p + left - SHORT, SHORT, folded);
	last.w[1] ^= x;
	last.w[3] ^= y;
	return hash_short(secret, last, n);
}

/* Folded is a constant at each call. */
ALWAYS_INLINE uint64_t hash_bytes(const uint64_t *secret, const void *p, size_t n, const int folded)
{
	return n <= SHORT ? hash_short(secret, words_of(p, n, folded), n)
		: hash_long(secret, p, n, folded);
}

/* ---- comparison ---- */

static inline int same_bytes(const void *one, const void *other, size_t n, const int folded)
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
