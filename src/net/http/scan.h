/* SPDX-License-Identifier: MIT */
/* Private to the parser: where a run of bytes of one class ends. Sixteen bytes at a time where
 * SSE2 or NEON is a part of the architecture, by a table everywhere else and with
 * -DHTTPPARSER_SCALAR. The compilers' vector types say the comparisons once for both; only the
 * way from lanes to bits differs.
 *
 * Not every x86-64 has wider registers or the string instructions of SSE4.2. They would gain
 * little: most tokens of a head are shorter than sixteen bytes. */
#ifndef NET_HTTPSCAN_INCLUDED
#define NET_HTTPSCAN_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined HTTPPARSER_SCALAR && defined __SSE2__
#define HTTPSCAN_VECTORS 1
#include <emmintrin.h>
#elif !defined HTTPPARSER_SCALAR && defined __AARCH64EL__ && defined __ARM_NEON
#define HTTPSCAN_VECTORS 1
#include <arm_neon.h>
#endif

enum {
	IN_TOKEN = 1,  /* tchar, RFC 9110, 5.6.2 */
	IN_TARGET = 2, /* visible ASCII without # " < >: browsers send [ ] { } | \ ^ ` as they are */
	IN_TEXT = 4,   /* field-vchar, SP and HTAB, RFC 9110, 5.5: obs-text is kept */
	/* reg-name without escapes, and without the comma, which is what joined Host fields look
	 * like; RFC 3986, 3.2.2 */
	IN_HOST = 8
};

extern const unsigned char http__classes[256];

/* The first place in [at..n) whose byte is not of the class; n if there is none. */
static inline size_t skip_class(const char *b, size_t at, size_t n, int class)
{
	while (at < n && http__classes[(unsigned char)b[at]] & class)
		at++;
	return at;
}

/* The first question mark in [at..n); n if there is none. */
static inline size_t skip_to_question(const char *b, size_t at, size_t n)
{
	while (at < n && b[at] != '?')
		at++;
	return at;
}

#if HTTPSCAN_VECTORS

enum { LANES = 16 };
typedef uint8_t Lanes __attribute__((vector_size(LANES)));
typedef int8_t SignedLanes __attribute__((vector_size(LANES)));

static inline Lanes load_lanes(const char *p)
{
	Lanes x;

	memcpy(&x, p, sizeof x);
	return x;
}

/* A bit (SSE2) or four (NEON, which has no movemask: a narrowing shift) for each lane that is
 * 0xff and not 0. */
#if defined __SSE2__
enum { LANE_BITS = 1 };

static inline uint64_t lane_bits(Lanes x)
{
	return (unsigned)_mm_movemask_epi8((__m128i)x);
}
#else
enum { LANE_BITS = 4 };

static inline uint64_t lane_bits(Lanes x)
{
	return vget_lane_u64(
		vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8((uint8x16_t)x), 4)), 0);
}
#endif

/* A byte more, DEL is the least of the signed ones. Tabs and the bytes above it stop, too, which
 * only costs the slower way. */
static inline Lanes text_stops(Lanes x)
{
	return (Lanes)((SignedLanes)(x + 1) <= ' ');
}

/* As signed numbers, the bytes above 0x7f are less than a space. The bytes 0x22 and 0x23 are " and
 * #; 0x3c and 0x3e are < and >. Each pair differs in one bit. */
static inline Lanes target_stops(Lanes x)
{
	return (Lanes)(((SignedLanes)x <= ' ') | (x == 0x7f)
		| ((x & 0xfe) == 0x22) | ((x & 0xfd) == 0x3c));
}

/* Only letters and the hyphen are skipped at once: other bytes are rare in names. */
static inline Lanes name_stops(Lanes x)
{
	return (Lanes)((((x | 0x20) - 'a') > 'z' - 'a') & (x != '-'));
}

static inline Lanes path_stops(Lanes x)
{
	return (Lanes)(x == '?');
}

/* Where the first lane stops; n if none does; in a buffer of fewer than LANES bytes, `at` as it
 * was. The last bytes are looked at as the last lanes of a load that reaches back before `at`. */
__attribute__((always_inline))
static inline size_t find_stop(const char *b, size_t at, size_t n, Lanes (*stops)(Lanes))
{
	uint64_t found = 0;

	while (n - at >= LANES && (found = lane_bits(stops(load_lanes(b + at)))) == 0)
		at += LANES;
	if (!found && at < n && n >= LANES) {
		found = lane_bits(stops(load_lanes(b + n - LANES))) >> (LANES - (n - at)) * LANE_BITS;
		if (!found)
			return n;
	}
	return found ? at + (size_t)__builtin_ctzll(found) / LANE_BITS : at;
}

static inline size_t skip_text(const char *b, size_t at, size_t n)
{
	return skip_class(b, find_stop(b, at, n, text_stops), n, IN_TEXT);
}

static inline size_t skip_target(const char *b, size_t at, size_t n)
{
	return skip_class(b, find_stop(b, at, n, target_stops), n, IN_TARGET);
}

static inline size_t skip_token(const char *b, size_t at, size_t n)
{
	return skip_class(b, find_stop(b, at, n, name_stops), n, IN_TOKEN);
}

static inline size_t skip_path(const char *b, size_t at, size_t n)
{
	return skip_to_question(b, find_stop(b, at, n, path_stops), n);
}

#else

static inline size_t skip_path(const char *b, size_t at, size_t n)
{
	return skip_to_question(b, at, n);
}

/* Eight bytes at a time while none is below 0x20 or is 0x7f. ("Bit Twiddling Hacks", hasless and
 * haszero: exact as a yes or no for all eight.) A tab only costs the slower way. */
static inline size_t skip_text(const char *b, size_t at, size_t n)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;

	while (n - at >= 8) {
		uint64_t x, dels;

		memcpy(&x, b + at, 8);
		dels = x ^ ones * 0x7f;
		if ((((x - ones * 0x20) & ~x) | ((dels - ones) & ~dels)) & tops)
			break;
		at += 8;
	}
	return skip_class(b, at, n, IN_TEXT);
}

static inline size_t skip_target(const char *b, size_t at, size_t n)
{
	return skip_class(b, at, n, IN_TARGET);
}

static inline size_t skip_token(const char *b, size_t at, size_t n)
{
	return skip_class(b, at, n, IN_TOKEN);
}

#endif

#endif
