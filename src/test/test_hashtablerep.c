/* SPDX-License-Identifier: MIT */
/* Internals of HashTable: the quality of the hashes, flood resistance, information in the order of
 * a walk, reading near the end of memory, and the limits that take gigabytes of keys to reach.
 *
 * The tests of quality are those of SMHasher (A. Appleby, 2008 and later; R. Urban's fork), by its
 * names for the sets of keys, on the 32 bits that the table uses. A set of n keys has n^2 / 2^33
 * collisions on average if the hash is random. A test fails if there are more than three times as
 * many, and at least ten. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hashtable/rep.h"
#include "base/poison.h"
#include "testing.h"

enum { FLOOD = 65536, SEEDS = 4, ORDERS = 8 };

static Arena_T arena;

static void set_up(void)
{
	arena = Arena_new();
}

static void tear_down(void)
{
	Arena_dispose(&arena);
}

static HashTable_T table_of(HashTable_Kind kind, uint64_t seed)
{
	HashTable_Options o = { 0 };

	o.kind = kind;
	o.seed = seed;
	return HashTable_new_with(arena, &o);
}

static uint32_t word_hash(const uint64_t *secret, uint64_t key)
{
	return (uint32_t)(hash_word(secret, key) >> 32);
}

static uint32_t bytes_hash(const uint64_t *secret, const void *p, size_t n)
{
	return (uint32_t)(hash_bytes(secret, p, n, 0) >> 32);
}

static uint64_t random_word(uint64_t *state)
{
	uint64_t secret[HASH_SECRETS];

	hash__secrets(secret, ++*state);
	return secret[0] ^ secret[1] << 32;
}

/* ---- quality ---- */

SUITE("HashTable, inside");
CASE("inside", .setup = set_up, .teardown = tear_down, .timeout = 120);

/* Flips each bit of random keys of n bytes; the worst deviation from one half of any output bit. */
static double worst_bias(const uint64_t *secret, size_t n, int is_word)
{
	enum { KEYS = 4000 };
	static int flips[40 * 8][32];
	unsigned char key[40];
	uint64_t state = 7;
	double worst = 0;
	size_t i, bit, out;

	memset(flips, 0, sizeof flips);
	for (i = 0; i < KEYS; i++) {
		uint64_t word = random_word(&state);
		uint32_t hash;

		for (bit = 0; bit < n; bit++)
			key[bit] = (unsigned char)(random_word(&state) >> 24);
		hash = is_word ? word_hash(secret, word) : bytes_hash(secret, key, n);
		for (bit = 0; bit < 8 * n; bit++) {
			uint32_t changed;

			key[bit / 8] ^= (unsigned char)(1 << bit % 8);
			changed = hash ^ (is_word ? word_hash(secret, word ^ (uint64_t)1 << bit)
				: bytes_hash(secret, key, n));
			key[bit / 8] ^= (unsigned char)(1 << bit % 8);
			for (out = 0; out < 32; out++)
				flips[bit][out] += changed >> out & 1;
		}
	}
	for (bit = 0; bit < 8 * n; bit++)
		for (out = 0; out < 32; out++) {
			double bias = (double)flips[bit][out] / KEYS - 0.5;

			bias = bias < 0 ? -bias : bias;
			worst = bias > worst ? bias : worst;
		}
	return worst;
}

/* 4,000 fair coins deviate by 0.0079 on average; 0.05 is more than six times that. */
TEST(each_bit_of_a_key_flips_each_bit_of_the_hash_half_the_time, .to = 2)
{
	static const size_t lengths[] = { 3, 8, 16, 17, 32, 33, 40 };
	uint64_t secret[HASH_SECRETS];
	size_t i;

	hash__secrets(secret, (uint64_t)_i + 1);
	ck_assert_double_lt(worst_bias(secret, 8, 1), 0.05);
	for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
		ck_assert_double_lt(worst_bias(secret, lengths[i], 0), 0.05);
}

static uint32_t *hashes;
static size_t nhashes;

enum { MOST_HASHES = 1 << 18 };

static void note(uint32_t hash)
{
	ck_assert_uint_lt(nhashes, MOST_HASHES);
	hashes[nhashes++] = hash;
}

static int ascending(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return (a > b) - (a < b);
}

/* Chi-squared of the bits by which a table spreads: 1,024 positions from the top, 256 tags below;
 * normal with mean and variance of the degrees of freedom, so 1.35 and 1.7 of those are beyond
 * seven deviations. */
static void check_spread(const char *set)
{
	static double high[1024], low[256];
	double chi_high = 0, chi_low = 0, n = (double)nhashes;
	size_t i;

	memset(high, 0, sizeof high);
	memset(low, 0, sizeof low);
	for (i = 0; i < nhashes; i++) {
		high[hashes[i] >> 22]++;
		low[hashes[i] & 255]++;
	}
	for (i = 0; i < 1024; i++)
		chi_high += (high[i] - n / 1024) * (high[i] - n / 1024) / (n / 1024);
	for (i = 0; i < 256; i++)
		chi_low += (low[i] - n / 256) * (low[i] - n / 256) / (n / 256);
	ck_assert_msg(chi_high / 1023 < 1.35, "%s: positions %.2f", set, chi_high / 1023);
	ck_assert_msg(chi_low / 255 < 1.7, "%s: tags %.2f", set, chi_low / 255);
}

static void check_hashes(const char *set)
{
	double expected = (double)nhashes * (double)nhashes / 8589934592.0;
	size_t i, collisions = 0;

	check_spread(set);
	qsort(hashes, nhashes, sizeof *hashes, ascending);
	for (i = 1; i < nhashes; i++)
		collisions += hashes[i] == hashes[i - 1];
	ck_assert_msg((double)collisions <= 3 * expected || collisions < 10,
		"%s: %zu collisions of %zu keys", set, collisions,
		nhashes);
	nhashes = 0;
}

/* All words with at most three bits set. */
static void sparse(const uint64_t *secret, int as_bytes)
{
	int i, j, k;

	for (i = 0; i < 64; i++)
		for (j = i; j < 64; j++)
			for (k = j; k < 64; k++) {
				uint64_t key = (uint64_t)1 << i | (uint64_t)1 << j | (uint64_t)1 << k;

				if (i != j || j == k) /* each once */
					note(as_bytes ? bytes_hash(secret, &key, 8) : word_hash(secret, key));
			}
}

/* Six 32-bit words, each one of three. */
static void permutation(const uint64_t *secret)
{
	static const uint32_t words[] = { 0, 1, 0x80000000u };
	int i, j, n;

	for (n = 0; n < 59049; n++) {
		uint32_t key[10];

		for (i = n, j = 0; j < 10; j++, i /= 3)
			key[j] = words[i % 3];
		note(bytes_hash(secret, key, sizeof key));
	}
}

/* Keys of 24 bytes with two that are not 0. */
static void two_bytes(const uint64_t *secret)
{
	unsigned char key[24] = { 0 };
	unsigned i, j, x, y;

	for (i = 0; i < 24; i++)
		for (j = i + 1; j < 24; j++)
			for (x = 1; x < 256; x += 11)
				for (y = 1; y < 256; y += 11) {
					key[i] = (unsigned char)x;
					key[j] = (unsigned char)y;
					note(bytes_hash(secret, key, sizeof key));
					key[i] = key[j] = 0;
				}
}

/* The same few bytes again and again. */
static void cyclic(const uint64_t *secret)
{
	unsigned char key[48];
	unsigned n;
	size_t i;

	for (n = 0; n < 100000; n++) {
		for (i = 0; i < sizeof key; i++)
			key[i] = (unsigned char)(n >> i % 3 * 8);
		note(bytes_hash(secret, key, sizeof key));
	}
}

static void text(const uint64_t *secret)
{
	char key[64];
	int i;

	for (i = 0; i < 100000; i++)
		note(bytes_hash(secret, key, (size_t)snprintf(key, sizeof key, "Foo%dBar", i)));
	for (i = 0; i < 100000; i++)
		note(bytes_hash(secret, key, (size_t)snprintf(key, sizeof key,
			"https://example.org/items/%d/view", i)));
}

/* Nothing but NULs, and every length. */
static void zeroes(const uint64_t *secret)
{
	static const unsigned char key[20000];
	size_t n;

	for (n = 0; n < sizeof key; n++)
		note(bytes_hash(secret, key, n));
}

/* Differences that multiplications like to keep: strides, and what lies in the high bits only. */
static void strides(const uint64_t *secret)
{
	static const int shifts[] = { 0, 3, 12, 16, 32, 40, 47 };
	size_t i;
	uint64_t n;

	for (i = 0; i < sizeof shifts / sizeof shifts[0]; i++) {
		for (n = 0; n < 100000; n++)
			note(word_hash(secret, n << shifts[i]));
		check_hashes("strides");
	}
}

TEST(structured_keys_have_no_more_collisions_than_random_ones,
	.to = red_zone() || under_tsan() ? 1 : SEEDS)
{
	uint64_t secret[HASH_SECRETS];

	hashes = malloc(MOST_HASHES * sizeof *hashes);
	hash__secrets(secret, (uint64_t)_i * 77 + 5);
	sparse(secret, 0);
	check_hashes("sparse words");
	sparse(secret, 1);
	check_hashes("sparse bytes");
	permutation(secret);
	check_hashes("permutation");
	two_bytes(secret);
	check_hashes("two bytes");
	cyclic(secret);
	check_hashes("cyclic");
	text(secret);
	check_hashes("text");
	zeroes(secret);
	check_hashes("zeroes");
	strides(secret);
	free(hashes);
}

TEST(the_hash_depends_on_each_bit_of_the_seed)
{
	uint64_t one[HASH_SECRETS], other[HASH_SECRETS];
	int bit, i, same = 0;

	for (bit = 0; bit < 64; bit++) {
		hash__secrets(one, 1234567);
		hash__secrets(other, 1234567 ^ (uint64_t)1 << bit);
		for (i = 0; i < 100; i++) {
			same += word_hash(one, (uint64_t)i) >> 24 == word_hash(other, (uint64_t)i) >> 24;
			same += bytes_hash(one, &i, sizeof i) >> 24 == bytes_hash(other, &i, sizeof i) >> 24;
		}
	}
	ck_assert_int_lt(same, 12800 / 256 * 2);
}

/* ---- flood resistance ---- */

static double mean_probe(HashTable_T t)
{
	HashTable_Stats s;

	HashTable_stats(t, &s);
	return s.mean_probe;
}

/* The first keys, counting from 0, that fall into the first 1/64 of a table with that seed. */
static void find_colliding(uint64_t seed, uint64_t *keys, int as_bytes)
{
	uint64_t secret[HASH_SECRETS], key;
	size_t n = 0;

	hash__secrets(secret, seed);
	for (key = 0; n < FLOOD; key++)
		if ((as_bytes ? bytes_hash(secret, &key, 8) : word_hash(secret, key)) >> 26 == 0)
			keys[n++] = key;
}

static double flooded(HashTable_T t, const uint64_t *keys, size_t n, int as_bytes)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (as_bytes)
			HashTable_put_bytes(t, &keys[i], sizeof keys[i], NULL);
		else
			HashTable_put_int(t, keys[i], NULL);
	return mean_probe(t);
}

TEST(keys_that_collide_under_a_known_seed_are_harmless_under_a_random_one, .to = 2)
{
	HashTable_Kind kind = _i ? HashTable_BYTES : HashTable_INTEGER;
	uint64_t *keys = malloc(FLOOD * sizeof *keys);

	find_colliding(42, keys, _i);
	ck_assert_double_gt(flooded(table_of(kind, 42), keys, 2000, _i), 10); /* the attack is real */
	ck_assert_double_lt(flooded(table_of(kind, 0), keys, FLOOD, _i), 1.2);
	ck_assert_double_lt(flooded(table_of(kind, 43), keys, FLOOD, _i), 1.2);
	free(keys);
}

/* The secrets that wyhash has published, final versions 3 and 4; rapidhash took them over. A word
 * of a key that equals one makes a product 0 there, whatever the rest of the key and the seed
 * are. */
static const uint64_t published[] = {
	0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu, 0x8ebc6af09c88c6e3u, 0x589965cc75374cc3u,
	0x2d358dccaa6c78a5u, 0x8bb84b93962eacc9u, 0x4b33a62ed433d4a3u, 0x4d5a2da51de1aa47u
};

TEST(the_published_weak_points_of_the_family_are_none_here, .to = 8)
{
	size_t which, i;

	for (which = 0; which < 8; which += 2) {
		HashTable_T t = table_of(HashTable_BYTES, 0), integers = table_of(HashTable_INTEGER, 0);
		uint64_t key[5] = { published[_i], published[_i], published[_i], published[_i],
			published[_i] };
		size_t words = 1 + which / 2, place = which % words;

		words += words == 1;
		for (i = 0; i < FLOOD; i++) {
			key[(place + 1) % words] = i * 0x100000001u;
			HashTable_put_bytes(t, key, words * sizeof key[0], NULL);
			HashTable_put_int(integers, published[_i] ^ (uint64_t)i << which * 6, NULL);
		}
		ck_assert_uint_eq(HashTable_length(t), FLOOD);
		ck_assert_double_lt(mean_probe(t), 1.2);
		ck_assert_double_lt(mean_probe(integers), 1.2);
	}
}

/* ---- the order ---- */

enum { RANKED = 1000 };

static void ranks_of(HashTable_T t, double *ranks)
{
	HashTable_Iter it;
	double rank = 0;
	uint64_t i;

	for (i = 0; i < RANKED; i++)
		HashTable_put_int(t, i, NULL);
	HashTable_iterate(t, &it);
	while (HashTable_next(&it))
		ranks[it.int_key] = rank++;
}

/* Spearman's */
static double correlation(const double *x, const double *y)
{
	double sum = 0, n = RANKED;
	int i;

	for (i = 0; i < RANKED; i++)
		sum += (x[i] - y[i]) * (x[i] - y[i]);
	return 1 - 6 * sum / (n * (n * n - 1));
}

/* 1,000 ranks: 0.032 is one deviation. */
TEST(tables_of_equal_content_have_unrelated_orders)
{
	static double first[RANKED], other[RANKED], keys[RANKED];
	int i;

	for (i = 0; i < RANKED; i++)
		keys[i] = i;
	ranks_of(table_of(HashTable_INTEGER, 0), first);
	for (i = 0; i < ORDERS; i++) {
		double r;

		ranks_of(table_of(HashTable_INTEGER, i % 2 ? (uint64_t)i : 0), other);
		r = correlation(first, other);
		ck_assert_msg(r < 0.2 && r > -0.2, "orders correlate by %.3f", r);
		r = correlation(keys, other);
		ck_assert_msg(r < 0.2 && r > -0.2, "order and keys correlate by %.3f", r);
	}
}

TEST(a_table_filled_in_the_order_of_another_with_its_seed_stays_fast)
{
	HashTable_T large = table_of(HashTable_INTEGER, 42), t = table_of(HashTable_INTEGER, 42);
	HashTable_Iter it;
	uint64_t i;

	for (i = 0; i < 100000; i++)
		HashTable_put_int(large, i, NULL);
	HashTable_iterate(large, &it);
	while (HashTable_next(&it)) {
		HashTable_put_int(t, it.int_key, NULL);
		if (HashTable_length(t) % 5000 == 0)
			ck_assert_double_lt(mean_probe(t), 16);
	}
	ck_assert_uint_eq(HashTable_length(t), 100000);
}

/* ---- memory ---- */

/* 4 KiB that end where nothing may be read. */
static char *page_before_nothing(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(mprotect(p + page, page, PROT_NONE), 0);
	memset(p, 'z', page);
	return p + page - 4096;
}

TEST(keys_may_end_where_memory_ends_and_lie_anywhere, .to = 2)
{
	HashTable_T copied = table_of(_i ? HashTable_STRING_NOCASE : HashTable_STRING, 0), borrowed;
	HashTable_Options o = { 0 };
	char *page = page_before_nothing(), elsewhere[128];
	size_t n, shift;

	o.borrow_keys = 1;
	o.kind = _i ? HashTable_STRING_NOCASE : HashTable_STRING;
	borrowed = HashTable_new_with(arena, &o);
	for (n = 0; n < 80; n++) {
		char *key = page + 4096 - n - 1, *bytes = page + 4096 - n;

		memset(key, 'a' + (int)(n % 23), n);
		key[n] = '\0';
		HashTable_put(copied, key, page + n);
		for (shift = 0; shift < 33; shift++) {
			memset(elsewhere, 'A', sizeof elsewhere);
			memcpy(elsewhere + shift, key, n + 1);
			ck_assert_ptr_eq(HashTable_get(copied, elsewhere + shift), page + n);
			ck_assert_ptr_eq(HashTable_get_bytes(copied, elsewhere + shift, n), page + n);
		}
		memset(bytes, 'a' + (int)(n % 23), n);
		ck_assert_ptr_eq(HashTable_get_bytes(copied, bytes, n), page + n);
		HashTable_put_bytes(borrowed, bytes, n, page + n);
		ck_assert_ptr_eq(HashTable_get_bytes(borrowed, elsewhere + 32, n), page + n);
		ck_assert_ptr_eq(HashTable_remove_bytes(borrowed, elsewhere + 32, n), page + n);
	}
}

/* Not the newest in its arena, so that nothing can grow in place. */
TEST(growing_beside_others_holds_little_more_than_the_storage)
{
	HashTable_T t = table_of(HashTable_INTEGER, 0);
	size_t others = 0, least = Arena_used(arena);
	HashTable_Stats s;
	uint64_t i;

	for (i = 0; i < 400000; i++) {
		HashTable_put_int(t, i, NULL);
		if (i % 64 == 0) {
			size_t before = Arena_used(arena);

			Arena_alloc(arena, 16);
			others += Arena_used(arena) - before;
		}
		if (i > 20000 && i % 5000 == 0) {
			HashTable_stats(t, &s);
			ck_assert_uint_lt(Arena_used(arena) - least - others, s.bytes + s.bytes / 4);
			ck_assert_uint_lt(s.bytes, 40 * (i + 1));
		}
	}
}

TEST(free_gives_the_segments_back)
{
	HashTable_T t = table_of(HashTable_INTEGER, 0);
	size_t before = Arena_used(arena);
	uint64_t i;

	for (i = 0; i < 300000; i++)
		HashTable_put_int(t, i, NULL);
	ck_assert_uint_gt(Arena_used(arena), before + 6000000);
	HashTable_free(&t);
	ck_assert_uint_lt(Arena_used(arena), before + 1500000);
}

#if SIZE_MAX > UINT32_MAX && defined __linux__
/* So many bytes that are not 0, and a NUL; one piece of memory many times over. */
static char *gigabytes(size_t n)
{
	const size_t piece = 64 << 20, pieces = n / piece + 1;
	int fd = memfd_create("key", 0);
	char *p = mmap(NULL, (pieces + 1) * piece, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *q;
	size_t i;

	ck_assert(fd >= 0 && p != MAP_FAILED && ftruncate(fd, (off_t)piece) == 0);
	q = mmap(NULL, piece, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(q, MAP_FAILED);
	memset(q, 'k', piece);
	for (i = 0; i < pieces; i++)
		ck_assert_ptr_ne(mmap(p + i * piece, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
			fd, 0), MAP_FAILED);
	p[n] = '\0';
	close(fd);
	return p;
}

TEST(a_key_may_have_4_gib_less_one_byte_and_no_more)
{
	HashTable_Options o = { 0 };
	HashTable_T t;
	char *key;

	if (under_valgrind() || under_tsan())
		return; /* minutes, and shadows of all that memory */
	key = gigabytes((size_t)UINT32_MAX + 1);
	o.borrow_keys = 1;
	t = HashTable_new_with(arena, &o);
	ck_raises_saying(HashTable_Failed, "HashTable_put: a key of 4294967296 bytes",
		HashTable_put(t, key, key));
	ck_assert_ptr_null(HashTable_get(t, key));
	ck_assert_uint_eq(HashTable_length(t), 0);
	HashTable_put(t, key + 1, key);
	ck_assert_ptr_eq(HashTable_get_bytes(t, key + 1, UINT32_MAX), key);
	ck_assert_ptr_null(HashTable_get_bytes(t, key + 1, (size_t)UINT32_MAX + 1));
}
#endif
