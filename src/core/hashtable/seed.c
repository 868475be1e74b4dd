/* SPDX-License-Identifier: MIT */
/* The seeds of hash tables. The process has 128 secret bits, which the first use reads from the
 * system's random source. It also has a counter, so that no two tables have the same order. The
 * seed of a table is the counter after two keyed multiplications, so the seed of one table does
 * not reveal that of another.
 *
 * Invariant: a word of process_secret is 0 until a thread has set it, and never changes after
 * that. There is no lock, so the child of a fork is usable at any moment. The child keeps the
 * secret. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#if HAVE_SYS_RANDOM_H
#include <sys/random.h>
#endif

#include <core/HashTable.h>
#include "hashtable/hash.h"

enum { SECRET_BYTES = 16, SECRET_WORDS = SECRET_BYTES / sizeof(size_t), NUMBERS = 1024 };

/* size_t, because 64-bit atomics need a library on some 32-bit machines */
static atomic_size_t process_secret[SECRET_WORDS];
static atomic_size_t numbers_taken;

static int read_device_into(void *p, size_t n)
{
	char *next = p;
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	if (fd < 0)
		return 0;
	while (n > 0 && (got > 0 || (got < 0 && errno == EINTR))) {
		got = read(fd, next, n);
		if (got > 0) {
			next += got;
			n -= (size_t)got;
		}
	}
	close(fd);
	return n == 0;
}

/* Cancellation is off, because open and read are cancellation points and the descriptor would be
 * lost. */
static int read_random_device(void *p, size_t n)
{
	int state, was_read;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	was_read = read_device_into(p, n);
	pthread_setcancelstate(state, NULL);
	return was_read;
}

/* The kernel may lack the calls or the device, or a sandbox may forbid them. */
static int read_random_source(void *p, size_t n)
{
#if HAVE_GETENTROPY
	if (getentropy(p, n) == 0)
		return 1;
#elif HAVE_GETRANDOM
	if (getrandom(p, n, 0) == (ssize_t)n)
		return 1;
#endif
	return read_random_device(p, n);
}

static int has_process_secret(void)
{
	int i;

	for (i = 0; i < SECRET_WORDS; i++)
		if (atomic_load_explicit(&process_secret[i], memory_order_relaxed) == 0)
			return 0;
	return 1;
}

/* Threads that come at the same time each have random words. The first to set a word wins. */
static void set_process_secret(void)
{
	size_t random[SECRET_WORDS];
	int i, error = errno;

	if (!read_random_source(random, sizeof random))
		EXCEPT_RAISE_MSG(HashTable_Failed, "no random source for the seed of a hash table");
	errno = error; /* the device replaced a call that failed */
	for (i = 0; i < SECRET_WORDS; i++) {
		size_t unset = 0;

		atomic_compare_exchange_strong(&process_secret[i], &unset, random[i] | (random[i] == 0));
	}
}

static void read_secret(uint64_t secret[2])
{
	size_t words[SECRET_WORDS];
	int i;

	for (i = 0; i < SECRET_WORDS; i++)
		words[i] = atomic_load_explicit(&process_secret[i], memory_order_relaxed);
	memcpy(secret, words, SECRET_BYTES);
}

/* The increment and the multipliers of splitmix64 (Steele, Lea and Flood, 2014). */
static const uint64_t GOLDEN = 0x9e3779b97f4a7c15u;

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = *state += GOLDEN;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Returns the number of a new table. Threads take NUMBERS at a time, so that they do not share a
 * cache line for each table. */
static size_t next_number(void)
{
	static CORE_PER_THREAD size_t number;
	size_t n = number;

	if (n % NUMBERS == 0)
		n = atomic_fetch_add_explicit(&numbers_taken, NUMBERS, memory_order_relaxed);
	number = n + 1;
	return n;
}

uint64_t hash__random_seed(void)
{
	uint64_t secret[2], n = next_number(), seed;

	if (!has_process_secret())
		set_process_secret();
	read_secret(secret);
	n = splitmix(&n);
	seed = mix(mix(n ^ secret[0], secret[1]) ^ secret[1], GOLDEN ^ secret[0]);
	return seed ? seed : GOLDEN;
}

void hash__secrets(uint64_t secret[HASH_SECRETS], uint64_t seed)
{
	int i;

	for (i = 0; i < HASH_SECRETS; i++)
		secret[i] = splitmix(&seed) | 1;
}
