/* SPDX-License-Identifier: MIT */
/* Private to HashTable: the control bytes of 15 slots, looked at all at once (the layout of
 * boost::unordered_flat_map, J. M. López Muñoz 2022). A slot's tag is FREE, or MOVING while the table is
 * being spread anew, or eight bits of its key's hash. The 16th byte is a filter of the keys that found
 * the group full and went on to the next: bit tag % 8 of each. It makes a search for an absent key end at
 * once in nearly every group, full ones too, so a removal just frees the slot: there are no tombstones.
 *
 * A Mask has one bit set in each lane (slot) that matched, lowest slot lowest. There are three ways to
 * get one, chosen here; -DHASHTABLE_SCALAR asks for the one that every machine can do. */
#ifndef HASHTABLEGROUP_INCLUDED
#define HASHTABLEGROUP_INCLUDED
#include "Hash.h"

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
	uint8_t tags[GROUP_SLOTS];
	uint8_t overflow;
} Group;

#if HASHTABLE_NEON
typedef uint64_t Mask;
enum { LANE = 4 };
#else
typedef uint32_t Mask;
enum { LANE = 1 };
#endif

#if HASHTABLE_SSE2

ALWAYS_INLINE Mask group_match(const Group *g, uint8_t tag)
{
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)g);

	return (Mask)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8((char)tag))) & 0x7fff;
}

ALWAYS_INLINE Mask group_taken(const Group *g)
{
	return group_match(g, FREE) ^ 0x7fff;
}

#elif HASHTABLE_NEON

/* There is no movemask; a narrowing shift leaves four bits a lane, of which one is kept. */
ALWAYS_INLINE Mask group_match(const Group *g, uint8_t tag)
{
	uint8x16_t equal = vceqq_u8(vld1q_u8(g->tags), vdupq_n_u8(tag));
	uint8x8_t narrow = vshrn_n_u16(vreinterpretq_u16_u8(equal), 4);

	return vget_lane_u64(vreinterpret_u64_u8(narrow), 0) & 0x0111111111111111u;
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

	return (zero_bytes(load_lanes(bytes) ^ wanted) | zero_bytes(load_lanes(bytes + 8) ^ wanted) << 8) & 0x7fff;
}

ALWAYS_INLINE Mask group_taken(const Group *g)
{
	return group_match(g, FREE) ^ 0x7fff;
}

#endif

ALWAYS_INLINE unsigned mask_first(Mask m)
{
#if HASHTABLE_NEON
	return (unsigned)__builtin_ctzll(m) / LANE;
#else
	return (unsigned)__builtin_ctz(m) / LANE;
#endif
}

ALWAYS_INLINE Mask mask_rest(Mask m)
{
	return m & (m - 1);
}

/* Without the lanes before slot; slot may be GROUP_SLOTS. */
ALWAYS_INLINE Mask mask_from(Mask m, unsigned slot)
{
	return m >> slot * LANE << slot * LANE;
}

/* From the top byte of the hash: the position comes from its low bits. */
ALWAYS_INLINE uint8_t tag_of(uint64_t hash)
{
	uint8_t tag = (uint8_t)(hash >> 56);

	return tag < TAG_FIRST ? (uint8_t)(tag + TAG_FIRST) : tag;
}

ALWAYS_INLINE uint8_t overflow_bit(uint8_t tag)
{
	return (uint8_t)(1u << (tag & 7));
}

#endif
