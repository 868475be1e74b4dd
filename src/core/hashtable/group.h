/* SPDX-License-Identifier: MIT */
/* Private to HashTable: a group, the control bytes of 15 slots, which are compared all at once
 * (the layout of boost::unordered_flat_map, J. M. López Muñoz 2022). The tag of a slot is FREE,
 * or MOVING during a rehash, or eight bits of its key's hash. The 16th byte is the overflow
 * filter: each key that found the group full and went on to the next has set bit tag % 8. The
 * filter ends the search for an absent key in nearly every group, also in full ones. So a removal
 * only frees the slot, and there are no tombstones.
 *
 * A Mask has one bit set in each lane (slot) that matched, the lowest slot lowest. This file has
 * three ways to compute it; -DHASHTABLE_SCALAR selects the one that works on every machine. */
#ifndef HASHTABLEGROUP_INCLUDED
#define HASHTABLEGROUP_INCLUDED
#include "hashtable/hash.h"

#if !defined HASHTABLE_SCALAR && defined __SSE2__
#define HASHTABLE_SSE2 1
#include <emmintrin.h>
#elif !defined HASHTABLE_SCALAR && defined __aarch64__ && defined __ARM_NEON
#define HASHTABLE_NEON 1
#include <arm_neon.h>
#endif

enum { GROUP_SLOTS = 15 };
enum { FREE, MOVING, TAG_FIRST };

typedef struct Group {
	_Alignas(16) uint8_t tags[GROUP_SLOTS];
	uint8_t overflow;
} Group;

#if HASHTABLE_NEON
typedef uint64_t Mask;
enum { LANE = 4 };
#else
typedef uint32_t Mask;
enum { LANE = 1 };
#endif

/* The tag comes from the low bits of the 32-bit hash, the position from the high bits. They
 * overlap from 2^24 groups on (200 million entries), which costs a few more comparisons in a
 * group. */
#define TAG_OF(hash) ((hash) < TAG_FIRST ? (hash) + 8 : (hash)) /* the low three bits stay */

ALWAYS_INLINE uint8_t tag_of(uint32_t hash)
{
	return TAG_OF((uint8_t)hash);
}

/* A tag is written by a load and a store of the whole group. The next search loads the whole
 * group. Processors do not forward a stored byte to a wider load, so that load would wait for the
 * cache. In the array, lane s is 255 if it is read from 16 - s on. */
static const uint8_t group_lane[2 * sizeof(Group)] = { [sizeof(Group)] = 255 };

#if HASHTABLE_SSE2

/* The tag of each low byte, four times: one load replaces a comparison, a choice and a
 * multiplication. */
#define TAGS_1(hash)  0x01010101u * TAG_OF(hash)
#define TAGS_4(hash)  TAGS_1(hash), TAGS_1((hash) + 1), TAGS_1((hash) + 2), TAGS_1((hash) + 3)
#define TAGS_16(hash) TAGS_4(hash), TAGS_4((hash) + 4), TAGS_4((hash) + 8), TAGS_4((hash) + 12)
#define TAGS_64(hash) \
	TAGS_16(hash), TAGS_16((hash) + 16), TAGS_16((hash) + 32), TAGS_16((hash) + 48)
static const uint32_t group_tags[256] = {
	TAGS_64(0u), TAGS_64(64u), TAGS_64(128u), TAGS_64(192u)
};
#undef TAGS_1
#undef TAGS_4
#undef TAGS_16
#undef TAGS_64

ALWAYS_INLINE __m128i spread_tag(uint8_t tag)
{
	return _mm_shuffle_epi32(_mm_cvtsi32_si128((int)(tag * 0x01010101u)), 0);
}

ALWAYS_INLINE Mask group_match(const Group *g, uint8_t tag)
{
	__m128i bytes = _mm_load_si128((const __m128i *)(const void *)g);

	return (Mask)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, spread_tag(tag))) & 0x7fff;
}

ALWAYS_INLINE __m128i spread_tag_of(uint32_t hash)
{
	return _mm_shuffle_epi32(_mm_cvtsi32_si128((int)group_tags[(uint8_t)hash]), 0);
}

/* Returns the slots with the tag of that hash. */
ALWAYS_INLINE Mask group_match_hash(const Group *g, uint32_t hash)
{
	__m128i bytes = _mm_load_si128((const __m128i *)(const void *)g);

	return (Mask)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, spread_tag_of(hash))) & 0x7fff;
}

ALWAYS_INLINE void write_tag(Group *g, unsigned s, __m128i tag)
{
	__m128i *bytes = (__m128i *)(void *)g;
	__m128i here = _mm_loadu_si128((const __m128i *)(const void *)(group_lane + sizeof *g - s));

	_mm_store_si128(bytes, _mm_or_si128(_mm_andnot_si128(here, _mm_load_si128(bytes)),
		_mm_and_si128(here, tag)));
}

ALWAYS_INLINE void group_set(Group *g, unsigned s, uint8_t tag)
{
	write_tag(g, s, spread_tag(tag));
}

/* Sets the tag of that hash. */
ALWAYS_INLINE void group_set_hash(Group *g, unsigned s, uint32_t hash)
{
	write_tag(g, s, spread_tag_of(hash));
}

ALWAYS_INLINE Mask group_taken(const Group *g)
{
	return group_match(g, FREE) ^ 0x7fff;
}

#elif HASHTABLE_NEON

/* NEON has no movemask. A narrowing shift leaves four bits for each lane, of which one is
 * kept. */
ALWAYS_INLINE Mask group_match(const Group *g, uint8_t tag)
{
	uint8x16_t equal = vceqq_u8(vld1q_u8(g->tags), vdupq_n_u8(tag));
	uint8x8_t narrow = vshrn_n_u16(vreinterpretq_u16_u8(equal), 4);

	return vget_lane_u64(vreinterpret_u64_u8(narrow), 0) & 0x0111111111111111u;
}

ALWAYS_INLINE void group_set(Group *g, unsigned s, uint8_t tag)
{
	vst1q_u8(g->tags,
		vbslq_u8(vld1q_u8(group_lane + sizeof *g - s), vdupq_n_u8(tag), vld1q_u8(g->tags)));
}

ALWAYS_INLINE Mask group_taken(const Group *g)
{
	return group_match(g, FREE) ^ 0x0111111111111111u;
}

#else

/* Bit i of the result is set if byte i of the eight is 0. No sum carries into the next byte, so the
 * answer is exact; the multiplication gathers the eight bits in the top byte. */
ALWAYS_INLINE Mask zero_bytes(uint64_t word)
{
	const uint64_t low7 = 0x7f7f7f7f7f7f7f7fu;
	uint64_t zero = ~(((word & low7) + low7) | word | low7);

	return (Mask)((zero >> 7) * 0x0102040810204080u >> 56);
}

ALWAYS_INLINE uint64_t load_lanes(const uint8_t *p)
{
	uint64_t word = load8(p);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	return word;
}

ALWAYS_INLINE Mask group_match(const Group *g, uint8_t tag)
{
	uint64_t wanted = 0x0101010101010101u * tag;
	const uint8_t *bytes = (const uint8_t *)g; /* all 16 */
	Mask low = zero_bytes(load_lanes(bytes) ^ wanted);
	Mask high = zero_bytes(load_lanes(bytes + 8) ^ wanted);

	return (low | high << 8) & 0x7fff;
}

ALWAYS_INLINE void group_set(Group *g, unsigned s, uint8_t tag)
{
	uint8_t *half = (uint8_t *)g + (s & 8);
	uint64_t here = load8(group_lane + sizeof *g - (s & 7)), word = load8(half);

	word = (word & ~here) | (here & 0x0101010101010101u * tag);
	memcpy(half, &word, sizeof word);
}

ALWAYS_INLINE Mask group_taken(const Group *g)
{
	return group_match(g, FREE) ^ 0x7fff;
}

#endif

#if !HASHTABLE_SSE2
ALWAYS_INLINE Mask group_match_hash(const Group *g, uint32_t hash)
{
	return group_match(g, tag_of(hash));
}

ALWAYS_INLINE void group_set_hash(Group *g, unsigned s, uint32_t hash)
{
	group_set(g, s, tag_of(hash));
}
#endif

ALWAYS_INLINE unsigned mask_first(Mask m)
{
#if HASHTABLE_NEON
	return (unsigned)__builtin_ctzll(m) / LANE;
#else
	return (unsigned)__builtin_ctzll(m) / LANE;
#endif
}

ALWAYS_INLINE Mask mask_rest(Mask m)
{
	return m & (m - 1);
}

/* Returns the mask without the lanes before slot, which may be GROUP_SLOTS. */
ALWAYS_INLINE Mask mask_from(Mask m, unsigned slot)
{
	return m >> slot * LANE << slot * LANE;
}

/* count lanes, of which `before` lie before slot */
ALWAYS_INLINE Mask mask_span(unsigned slot, unsigned before, unsigned count)
{
	Mask lanes = ((Mask)1 << count * LANE) - 1;

	return slot >= before ? lanes << (slot - before) * LANE : lanes >> (before - slot) * LANE;
}

/* Returns the bit of the overflow filter for a tag, or for the hash that the tag comes from. */
ALWAYS_INLINE uint8_t overflow_bit(uint32_t tag)
{
	return (uint8_t)(1u << (tag & 7));
}

#endif
