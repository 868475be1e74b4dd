/* SPDX-License-Identifier: MIT */
/* Times of HashTable, in ns an operation: the median of three rounds. Keys are looked up in an order
 * other than that of insertion. With -DHAVE_GLIB=1 GLib's GHashTable is measured in the same run; the
 * ratio of two columns carries over to other machines, the figures do not.
 *
 *   bench_hashtable [largest]       entries of the largest table, 1000000 unless given */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if HAVE_GLIB
#include <glib.h>
#endif

#include <core/HashTable.h>

enum { ROUNDS = 3, KEY_BYTES = 56, LOOKUPS = 1000000 };

/* One table under test; keys are known by number, those from count on are not in it. */
typedef struct Subject {
	const char *name;
	void *(*make)(size_t hint);
	void (*put)(void *table, size_t i);
	void *(*get)(void *table, size_t i);
	void (*remove)(void *table, size_t i);
	void (*drop)(void *table);
} Subject;

typedef struct Times {
	double grow, reserved, hit, miss, churn;
} Times;

static uint64_t *integers;
static char (*strings)[KEY_BYTES];
static uint32_t *order;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* splitmix64 */
static uint64_t scramble(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void *checked(void *p)
{
	if (!p) {
		fputs("bench_hashtable: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

/* 8 to 32 bytes a string */
static void make_keys(size_t count)
{
	size_t i;

	integers = checked(calloc(2 * count, sizeof *integers));
	strings = checked(calloc(2 * count, sizeof *strings));
	order = checked(calloc(LOOKUPS, sizeof *order));
	for (i = 0; i < 2 * count; i++) {
		integers[i] = scramble(i);
		snprintf(strings[i], sizeof strings[i], "%07zx%.*s", i, (int)(1 + scramble(i) % 25),
			"abcdefghijklmnopqrstuvwxy");
	}
}

static void make_order(size_t count)
{
	size_t i;

	for (i = 0; i < LOOKUPS; i++)
		order[i] = (uint32_t)(scramble(i + 12345) % count);
}

/* ---- subjects ---- */

static void *make_integers(size_t hint)
{
	HashTable_Options o = { 0 };

	o.kind = HashTable_INTEGER;
	o.hint = hint;
	return HashTable_new_with(NULL, &o);
}

static void put_integer(void *t, size_t i) { HashTable_put_int(t, integers[i], &integers[i]); }
static void *get_integer(void *t, size_t i) { return HashTable_get_int(t, integers[i]); }
static void remove_integer(void *t, size_t i) { HashTable_remove_int(t, integers[i]); }

static void *make_strings(size_t hint) { return HashTable_new(NULL, hint); }
static void put_string(void *t, size_t i) { HashTable_put(t, strings[i], &strings[i]); }
static void *get_string(void *t, size_t i) { return HashTable_get(t, strings[i]); }
static void remove_string(void *t, size_t i) { HashTable_remove(t, strings[i]); }

static void drop(void *table)
{
	HashTable_T t = table;

	HashTable_free(&t);
}

#if HAVE_GLIB
static void *g_make_integers(size_t hint) { (void)hint; return g_hash_table_new(g_direct_hash, g_direct_equal); }
static gpointer g_integer(size_t i) { return (gpointer)(uintptr_t)integers[i]; }
static void g_put_integer(void *t, size_t i) { g_hash_table_insert(t, g_integer(i), &integers[i]); }
static void *g_get_integer(void *t, size_t i) { return g_hash_table_lookup(t, g_integer(i)); }
static void g_remove_integer(void *t, size_t i) { g_hash_table_remove(t, g_integer(i)); }

static void *g_make_strings(size_t hint)
{
	(void)hint;
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

static void g_put_string(void *t, size_t i) { g_hash_table_insert(t, g_strdup(strings[i]), &strings[i]); }
static void *g_get_string(void *t, size_t i) { return g_hash_table_lookup(t, strings[i]); }
static void g_remove_string(void *t, size_t i) { g_hash_table_remove(t, strings[i]); }
static void g_drop(void *t) { g_hash_table_destroy(t); }
#endif

static const Subject subjects[] = {
	{ "HashTable u64", make_integers, put_integer, get_integer, remove_integer, drop },
	{ "HashTable string", make_strings, put_string, get_string, remove_string, drop },
#if HAVE_GLIB
	{ "GHashTable u64", g_make_integers, g_put_integer, g_get_integer, g_remove_integer, g_drop },
	{ "GHashTable string", g_make_strings, g_put_string, g_get_string, g_remove_string, g_drop },
#endif
};

/* ---- measuring ---- */

/* Small tables are filled several times, so that there is something to measure. */
static double time_filling(const Subject *s, size_t count, size_t hint)
{
	size_t turns = count < 100000 ? 100000 / count : 1, turn, i;
	double ns = 0;

	for (turn = 0; turn < turns; turn++) {
		double start = now();
		void *t = s->make(hint);

		for (i = 0; i < count; i++)
			s->put(t, i);
		ns += now() - start;
		s->drop(t);
	}
	return ns / (double)(turns * count);
}

static double time_lookups(const Subject *s, void *t, size_t first, size_t wanted)
{
	double start = now();
	size_t i, found = 0;

	for (i = 0; i < LOOKUPS; i++)
		found += s->get(t, first + order[i]) != NULL;
	if (found != wanted) {
		fprintf(stderr, "bench_hashtable: %s: %zu found, not %zu\n", s->name, found, wanted);
		exit(1);
	}
	return (now() - start) / LOOKUPS;
}

static double time_churn(const Subject *s, void *t)
{
	double start = now();
	size_t i;

	for (i = 0; i < LOOKUPS / 2; i++) {
		s->remove(t, order[i]);
		s->put(t, order[i]);
	}
	return (now() - start) / LOOKUPS;
}

static Times measure(const Subject *s, size_t count)
{
	Times times;
	size_t i;
	void *t;

	times.grow = time_filling(s, count, 0);
	times.reserved = time_filling(s, count, count);
	t = s->make(0);
	for (i = 0; i < count; i++)
		s->put(t, i);
	times.hit = time_lookups(s, t, 0, LOOKUPS);
	times.miss = time_lookups(s, t, count, 0);
	times.churn = time_churn(s, t);
	s->drop(t);
	return times;
}

static double median(double x, double y, double z)
{
	double low = x < y ? x : y, high = x < y ? y : x;

	return z < low ? low : z > high ? high : z;
}

static void report(const Subject *s, size_t count)
{
	Times t[ROUNDS];
	int i;

	for (i = 0; i < ROUNDS; i++)
		t[i] = measure(s, count);
	printf("%-18s %8zu %8.1f %8.1f %8.1f %8.1f %8.1f\n", s->name, count,
		median(t[0].grow, t[1].grow, t[2].grow), median(t[0].reserved, t[1].reserved, t[2].reserved),
		median(t[0].hit, t[1].hit, t[2].hit), median(t[0].miss, t[1].miss, t[2].miss),
		median(t[0].churn, t[1].churn, t[2].churn));
}

int main(int argc, char *argv[])
{
	static const size_t sizes[] = { 32, 1000, 100000, 1000000 };
	size_t largest = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000, i, j;

	make_keys(largest > 32 ? largest : 32);
	printf("ns an operation (churn: a removal or an insertion)\n%-18s %8s %8s %8s %8s %8s %8s\n", "table, keys",
		"entries", "grow", "reserved", "hit", "miss", "churn");
	for (i = 0; i < sizeof sizes / sizeof sizes[0] && sizes[i] <= largest; i++) {
		make_order(sizes[i]);
		for (j = 0; j < sizeof subjects / sizeof subjects[0]; j++)
			report(&subjects[j], sizes[i]);
	}
	free(integers);
	free(strings);
	free(order);
	return 0;
}
