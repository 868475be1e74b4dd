/* SPDX-License-Identifier: MIT */
/* HashTable beside the tables that Debian packages, by the harness of bench.h. Keys are looked up
 * in random order, and through other copies of their text than those that were inserted; all
 * contestants have the same arrays of keys, and every result is used. Memory is what a process of
 * its own holds: bytes an entry when all are in, and the most on the way there, the bytes of
 * copied keys not counted.
 *
 *   bench_hashtable [KEYS [ENTRIES]]
 *
 * KEYS is u64, random (8 to 32 bytes), words (of the system's dictionary) or headers, ENTRIES one
 * of the sizes that it has. Peers that configure did not find are left out. */
#include "config.h"

#include <fcntl.h>
#include <malloc.h>
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if HAVE_APR
#include <apr_hash.h>
#endif
#if HAVE_GLIB
#include <glib.h>
#endif
#if HAVE_UTHASH_H
#include <uthash.h>
#endif

#include <core/HashTable.h>
#include "bench.h"
#include "hashtable_subjects.h"

enum { LOOKUPS = 1000000, MOST_SUBJECTS = 16 };

static void *checked(void *p)
{
	if (!p) {
		fputs("bench_hashtable: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

/* ---- HashTable ---- */

static void *core_make(HashTable_Kind kind, size_t hint)
{
	HashTable_Options o = { 0 };

	o.kind = kind;
	o.hint = hint;
	return HashTable_new_with(NULL, &o);
}

static void *core_u64_make(size_t hint) { return core_make(HashTable_INTEGER, hint); }
static void *core_str_make(size_t hint) { return core_make(HashTable_STRING, hint); }

static void *core_borrow_make(size_t hint)
{
	HashTable_Options o = { .hint = hint, .borrow_keys = 1 };

	return HashTable_new_with(NULL, &o);
}

static void core_drop(void *table)
{
	HashTable_T t = table;

	HashTable_free(&t);
}

static uintptr_t core_iterate(void *t)
{
	HashTable_Iter it;
	uintptr_t sum = 0;

	HashTable_iterate(t, &it);
	while (HashTable_next(&it))
		sum += (uintptr_t)it.value;
	return sum;
}

LOOPS(core_u64, numbers, uint64_t, HashTable_T, HashTable_put_int(t, k, v),
	HashTable_get_int(t, k), HashTable_remove_int(t, k))
LOOPS(core_str, strings, const char *, HashTable_T, HashTable_put(t, k, v), HashTable_get(t, k),
	HashTable_remove(t, k))

/* ---- GLib ---- */

#if HAVE_GLIB
static void *glib_u64_make(size_t hint)
{
	(void)hint;
	return g_hash_table_new(g_direct_hash, g_direct_equal);
}
static void *glib_str_make(size_t hint)
{
	(void)hint;
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}
static void glib_drop(void *t) { g_hash_table_destroy(t); }

static uintptr_t glib_iterate(void *t)
{
	GHashTableIter it;
	gpointer value;
	uintptr_t sum = 0;

	g_hash_table_iter_init(&it, t);
	while (g_hash_table_iter_next(&it, NULL, &value))
		sum += (uintptr_t)value;
	return sum;
}

LOOPS(glib_u64, numbers, uint64_t, GHashTable *, g_hash_table_insert(t, (void *)k, v),
	g_hash_table_lookup(t, (void *)k), g_hash_table_remove(t, (void *)k))
LOOPS(glib_str, strings, const char *, GHashTable *, g_hash_table_insert(t, g_strdup(k), v),
	g_hash_table_lookup(t, k), g_hash_table_remove(t, k))
#endif

/* ---- APR; numbers are bytes where they lie in the array ---- */

#if HAVE_APR
static void *apr_make_table(size_t hint)
{
	apr_pool_t *pool;

	(void)hint;
	if (apr_pool_create(&pool, NULL) != APR_SUCCESS)
		checked(NULL);
	return apr_hash_make(pool);
}

static void apr_drop(void *t) { apr_pool_destroy(apr_hash_pool_get(t)); }

static uintptr_t apr_iterate(void *t)
{
	apr_hash_index_t *i;
	uintptr_t sum = 0;

	for (i = apr_hash_first(NULL, t); i; i = apr_hash_next(i))
		sum += (uintptr_t)apr_hash_this_val(i);
	return sum;
}

static void apr_u64_insert(void *t, const Keys *keys, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		apr_hash_set(t, &keys->numbers[i], sizeof(uint64_t), VALUE_OF(i));
}

static uintptr_t apr_u64_find(void *t, const Keys *keys, const uint32_t *order, size_t n)
{
	uintptr_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += (uintptr_t)apr_hash_get(t, &keys->numbers[order[i]], sizeof(uint64_t));
	return sum;
}

static void apr_u64_churn(void *t, const Keys *keys, const uint32_t *order, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		apr_hash_set(t, &keys->numbers[order[i]], sizeof(uint64_t), NULL);
		apr_hash_set(t, &keys->numbers[order[i]], sizeof(uint64_t), VALUE_OF(order[i]));
	}
}

LOOPS(apr_str, strings, const char *, apr_hash_t *, apr_hash_set(t, k, APR_HASH_KEY_STRING, v),
	apr_hash_get(t, k, APR_HASH_KEY_STRING), apr_hash_set(t, k, APR_HASH_KEY_STRING, NULL))
#endif

/* ---- uthash: the entries are the program's ---- */

#if HAVE_UTHASH_H
typedef struct Ut {
	uint64_t number;
	const char *string;
	void *value;
	UT_hash_handle hh;
} Ut;

typedef struct Ut_Table {
	Ut *head;
} Ut_Table;

static void *ut_make(size_t hint) { (void)hint; return checked(calloc(1, sizeof(Ut_Table))); }

static void ut_drop(void *table)
{
	Ut_Table *t = table;
	Ut *u, *next;

	HASH_ITER(hh, t->head, u, next) {
		HASH_DEL(t->head, u);
		free(u);
	}
	free(t);
}

static uintptr_t ut_iterate(void *table)
{
	Ut *u;
	uintptr_t sum = 0;

	for (u = ((Ut_Table *)table)->head; u; u = u->hh.next)
		sum += (uintptr_t)u->value;
	return sum;
}

static inline void ut_put_u64(Ut_Table *t, uint64_t k, void *v)
{
	Ut *u;

	HASH_FIND(hh, t->head, &k, sizeof k, u);
	if (!u) {
		u = checked(malloc(sizeof *u));
		u->number = k;
		HASH_ADD(hh, t->head, number, sizeof k, u);
	}
	u->value = v;
}

static inline void *ut_get_u64(Ut_Table *t, uint64_t k)
{
	Ut *u;

	HASH_FIND(hh, t->head, &k, sizeof k, u);
	return u ? u->value : NULL;
}

static inline void ut_remove_u64(Ut_Table *t, uint64_t k)
{
	Ut *u;

	HASH_FIND(hh, t->head, &k, sizeof k, u);
	HASH_DEL(t->head, u);
	free(u);
}

static inline void ut_put_str(Ut_Table *t, const char *k, void *v)
{
	Ut *u;

	HASH_FIND_STR(t->head, k, u);
	if (!u) {
		u = checked(malloc(sizeof *u));
		u->string = k;
		HASH_ADD_KEYPTR(hh, t->head, k, strlen(k), u);
	}
	u->value = v;
}

static inline void *ut_get_str(Ut_Table *t, const char *k)
{
	Ut *u;

	HASH_FIND_STR(t->head, k, u);
	return u ? u->value : NULL;
}

static inline void ut_remove_str(Ut_Table *t, const char *k)
{
	Ut *u;

	HASH_FIND_STR(t->head, k, u);
	HASH_DEL(t->head, u);
	free(u);
}

LOOPS(ut_u64, numbers, uint64_t, Ut_Table *, ut_put_u64(t, k, v), ut_get_u64(t, k),
	ut_remove_u64(t, k))
LOOPS(ut_str, strings, const char *, Ut_Table *, ut_put_str(t, k, v), ut_get_str(t, k),
	ut_remove_str(t, k))
#endif

/* ---- hsearch: strings, fixed size, no removal, no iteration ---- */

static void *posix_make(size_t hint)
{
	struct hsearch_data *t = checked(calloc(1, sizeof *t));

	if (hint == 0 || !hcreate_r(hint * 5 / 4, t)) {
		free(t);
		return NULL;
	}
	return t;
}

static void posix_insert(void *t, const Keys *keys, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		ENTRY *found, e = { (char *)(uintptr_t)keys->strings[i], VALUE_OF(i) };

		hsearch_r(e, ENTER, &found, t);
	}
}

static uintptr_t posix_find(void *t, const Keys *keys, const uint32_t *order, size_t n)
{
	uintptr_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		ENTRY *found, e = { (char *)(uintptr_t)keys->strings[order[i]], NULL };

		if (hsearch_r(e, FIND, &found, t))
			sum += (uintptr_t)found->data;
	}
	return sum;
}

static void posix_drop(void *t)
{
	hdestroy_r(t);
	free(t);
}

/* ---- the contestants ---- */

static const Subject c_subjects[] = {
	{ "HashTable", 0, 0, core_u64_make, core_u64_insert, core_u64_find, core_u64_churn,
		core_iterate, core_drop },
	{ "HashTable", 1, 1, core_str_make, core_str_insert, core_str_find, core_str_churn,
		core_iterate, core_drop },
	/* like is compared with like: Boost's and uthash's tables keep pointers to the keys, too */
	{ "HashTable, borrowed keys", 1, 0, core_borrow_make, core_str_insert, core_str_find,
		core_str_churn, core_iterate, core_drop },
#if HAVE_GLIB
	{ "GLib", 0, 0, glib_u64_make, glib_u64_insert, glib_u64_find, glib_u64_churn, glib_iterate,
		glib_drop },
	{ "GLib", 1, 1, glib_str_make, glib_str_insert, glib_str_find, glib_str_churn, glib_iterate,
		glib_drop },
#endif
#if HAVE_APR
	{ "APR", 0, 0, apr_make_table, apr_u64_insert, apr_u64_find, apr_u64_churn, apr_iterate,
		apr_drop },
	{ "APR", 1, 0, apr_make_table, apr_str_insert, apr_str_find, apr_str_churn, apr_iterate,
		apr_drop },
#endif
#if HAVE_UTHASH_H
	{ "uthash", 0, 0, ut_make, ut_u64_insert, ut_u64_find, ut_u64_churn, ut_iterate, ut_drop },
	{ "uthash", 1, 0, ut_make, ut_str_insert, ut_str_find, ut_str_churn, ut_iterate, ut_drop },
#endif
	{ "hsearch", 1, 0, posix_make, posix_insert, posix_find, NULL, NULL, posix_drop },
};

#if !HAVE_CXX_TABLES
const Subject *const cxx_subjects[] = { NULL };
#endif

/* ---- keys ---- */

typedef struct Set {
	const char *name;
	int strings;
	size_t count;        /* of keys of each sort */
	Keys in, again, out; /* inserted; the same, in other memory; not in the table */
	size_t key_bytes;    /* of those inserted, with their NULs */
} Set;

/* splitmix64 (Steele, Lea and Flood, 2014) */
static uint64_t scramble(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static const uint64_t *random_numbers(size_t n, uint64_t from)
{
	uint64_t *numbers = checked(malloc(n * sizeof *numbers));
	size_t i;

	for (i = 0; i < n; i++)
		numbers[i] = scramble(from + i);
	return numbers;
}

/* Copies in one block, in the order given. */
static const char *const *copies_of(const char *const *strings, size_t n, size_t *bytes)
{
	const char **copies = checked(malloc(n * sizeof *copies));
	char *block;
	size_t i, total = 0;

	for (i = 0; i < n; i++)
		total += strlen(strings[i]) + 1;
	block = checked(malloc(total));
	for (i = 0; i < n; i++) {
		copies[i] = block;
		block = stpcpy(block, strings[i]) + 1;
	}
	if (bytes)
		*bytes = total;
	return copies;
}

static void string_set(Set *s, const char *const *in, const char *const *out, size_t n)
{
	s->strings = 1;
	s->count = n;
	s->in.strings = copies_of(in, n, &s->key_bytes);
	s->again.strings = copies_of(in, n, NULL);
	s->out.strings = copies_of(out, n, NULL);
}

/* 8 to 32 letters and digits, 7 bytes of them unique */
static const char *random_string(uint64_t i)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	char text[33];
	uint64_t r = scramble(i);
	size_t n = 8 + scramble(r) % 25, j;

	for (j = 0; j < n; j++) {
		if (j == 8 || j == 16 || j == 24)
			r = scramble(r);
		text[j] = digits[r >> (j % 8 * 6) & 63];
	}
	text[n] = '\0';
	return checked(strdup(text));
}

static void free_strings(const char **strings, size_t n)
{
	while (n > 0)
		free((char *)(uintptr_t)strings[--n]);
	free(strings);
}

static void random_set(Set *s, size_t n)
{
	const char **in = checked(malloc(2 * n * sizeof *in));
	size_t i;

	for (i = 0; i < 2 * n; i++)
		in[i] = random_string(i);
	string_set(s, in, in + n, n);
	free_strings(in, 2 * n);
}

#define WORD_LIST "/usr/share/dict/american-english"

static size_t read_words(const char **words, size_t n)
{
	FILE *f = fopen(WORD_LIST, "r");
	char line[128];
	size_t i = 0;

	while (f && i < n && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		words[i++] = checked(strdup(line));
	}
	if (f)
		fclose(f);
	return i;
}

/* Absent: the words backwards, with a full stop. */
static void word_set(Set *s, size_t n)
{
	const char **in = checked(malloc(n * sizeof *in)), **out = checked(malloc(n * sizeof *out));
	size_t i, j;

	n = read_words(in, n);
	for (i = 0; i < n; i++) {
		const char *word = in[j = scramble(i) % (i + 1)];

		in[j] = in[i];
		in[i] = word;
	}
	for (i = 0; i < n; i++) {
		size_t length = strlen(in[i]);
		char *word = checked(malloc(length + 2));

		for (j = 0; j < length; j++)
			word[j] = in[i][length - 1 - j];
		strcpy(word + length, ".");
		out[i] = word;
	}
	string_set(s, in, out, n);
	free_strings(in, n);
	free_strings(out, n);
}

static const char *const header_names[64] = {
	"Host", "User-Agent", "Accept", "Accept-Language",
	"Accept-Encoding", "Connection", "Cookie", "Referer", "Cache-Control", "Content-Type",
	"Content-Length", "Origin", "Authorization", "If-Modified-Since", "If-None-Match",
	"Upgrade-Insecure-Requests", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
	"Sec-Fetch-User", "DNT", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
	"X-Real-IP", "X-Request-ID", "X-Requested-With", "Pragma", "TE", "Range", "Via", "Forwarded",
	"Age", "Allow", "Date", "ETag", "Expires", "Last-Modified", "Location", "Retry-After",
	"Server", "Set-Cookie", "Strict-Transport-Security", "Trailer", "Transfer-Encoding", "Upgrade",
	"Vary", "Warning", "WWW-Authenticate", "Content-Encoding", "Content-Language",
	"Content-Location", "Content-Range", "Content-Security-Policy", "Access-Control-Allow-Origin",
	"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Alt-Svc",
	"X-Content-Type-Options", "X-Frame-Options", "X-XSS-Protection", "Expect", "Max-Forwards",
	"Proxy-Authorization"
};

static Set make_set(const char *name, size_t n)
{
	Set s = { name, 0, n, { NULL, NULL }, { NULL, NULL }, { NULL, NULL }, 0 };

	if (strcmp(name, "u64") == 0) {
		s.in.numbers = s.again.numbers = random_numbers(n, 1);
		s.out.numbers = random_numbers(n, (uint64_t)1 << 40);
	} else if (strcmp(name, "random") == 0)
		random_set(&s, n);
	else if (strcmp(name, "words") == 0)
		word_set(&s, n);
	else
		string_set(&s, header_names, header_names + 32, n < 32 ? n : 32);
	return s;
}

/* ---- workloads ---- */

/* A contestant with the keys of the moment; its table is made when it is first needed. */
typedef struct Runner {
	const Subject *s;
	const Set *set;
	void *table;
	size_t at; /* in order[] */
} Runner;

static Runner runners[MOST_SUBJECTS];
static size_t nrunners;
static uint32_t order[LOOKUPS];

static void *table_of(Runner *r)
{
	if (!r->table) {
		bench_pause();
		r->table = r->s->make(0);
		if (!r->table)
			r->table = r->s->make(r->set->count);
		r->s->insert(r->table, &r->set->in, r->set->count);
		bench_resume();
	}
	return r->table;
}

/* So many of the keys to look for, from where the last round stopped. */
static const uint32_t *next_keys(Runner *r, size_t *n)
{
	const uint32_t *keys = order + r->at;

	if (*n > LOOKUPS - r->at)
		*n = LOOKUPS - r->at;
	r->at = (r->at + *n) % LOOKUPS;
	return keys;
}

static uintptr_t find_some(Runner *r, const Keys *keys, size_t n)
{
	uintptr_t sum = 0;
	size_t some;

	for (; n > 0; n -= some) {
		const uint32_t *which = next_keys(r, (some = n, &some));

		sum += r->s->find(table_of(r), keys, which, some);
	}
	return sum;
}

static void fail(const Runner *r, const char *what)
{
	fprintf(stderr, "bench_hashtable: %s: wrong result of %s\n", r->s->name, what);
	exit(1);
}

static void hit(void *cl, size_t n)
{
	Runner *r = cl;

	if (find_some(r, &r->set->again, n) < n * 8)
		fail(r, "hit");
}

static void miss(void *cl, size_t n)
{
	Runner *r = cl;

	if (find_some(r, &r->set->out, n) != 0)
		fail(r, "miss");
}

static void churn(void *cl, size_t n)
{
	Runner *r = cl;
	size_t some;

	for (; n > 0; n -= some) {
		const uint32_t *which = next_keys(r, (some = n, &some));

		r->s->churn(table_of(r), &r->set->again, which, some);
	}
}

static void iterate(void *cl, size_t n)
{
	Runner *r = cl;
	size_t count = r->set->count;

	for (; n > 0; n -= count)
		if (r->s->iterate(table_of(r)) != count * (count - 1) / 2 * 8 + 8 * count)
			fail(r, "iterate");
}

static void fill(Runner *r, size_t n, size_t hint)
{
	for (; n > 0; n -= r->set->count) {
		void *t = r->s->make(hint);

		r->s->insert(t, &r->set->in, r->set->count);
		bench_pause();
		r->s->drop(t);
		bench_resume();
	}
}

static void grow(void *cl, size_t n)
{
	fill(cl, n, 0);
}

static void fill_reserved(void *cl, size_t n)
{
	fill(cl, n, ((Runner *)cl)->set->count);
}

/* A table is made, filled and disposed of again. */
static void come_and_go(void *cl, size_t n)
{
	Runner *r = cl;
	Keys keys = r->set->in;

	for (; n > 0; n--) {
		void *t = r->s->make(10);

		r->s->insert(t, &keys, 10);
		r->s->drop(t);
	}
}

/* The way of a program with an arena: the tables of a request go with everything else. */
static void come_and_go_in_arena(void *cl, size_t n)
{
	static Arena_T arena;
	Runner *r = cl;
	size_t i;

	if (!arena)
		arena = Arena_new();
	for (; n > 0; n--) {
		HashTable_T t = HashTable_new(arena, 0);

		for (i = 0; i < 10; i++)
			HashTable_put(t, r->set->in.strings[i], VALUE_OF(i));
		Arena_clear(arena);
	}
}

/* ---- pauses ---- */

/* The longest single insertion on the way from an empty table, in ms. */
static double longest_insertion(void *cl)
{
	Runner *r = cl;
	void *t = r->s->make(0);
	double longest = 0;
	size_t i;

	for (i = 0; i < r->set->count; i++) {
		Keys rest = { r->set->in.numbers ? r->set->in.numbers + i : NULL,
			r->set->in.strings ? r->set->in.strings + i : NULL };
		double begin = bench_now(), took;

		r->s->insert(t, &rest, 1);
		took = bench_now() - begin;
		if (took > longest)
			longest = took;
	}
	r->s->drop(t);
	return longest / 1e6;
}

/* ---- memory ---- */

static double status_kib(const char *field)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	double kib = 0;

	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, field, strlen(field)) == 0)
			kib = atof(line + strlen(field) + 1);
	if (f)
		fclose(f);
	return kib;
}

static void forget_peak(void)
{
	FILE *f = fopen("/proc/self/clear_refs", "w");

	if (f) {
		fputs("5", f);
		fclose(f);
	}
}

/* In a child that has not freed anything which could be used again. */
static double weigh(Runner *r, const char *field)
{
	const Set *set = r->set;
	double before, keys = r->s->copies_keys ? (double)set->key_bytes : 0;

	malloc_trim(0);
	before = status_kib("VmRSS:");
	forget_peak();
	table_of(r);
	return ((status_kib(field) - before) * 1024 - keys) / (double)set->count;
}

static double bytes_held(void *cl)
{
	return weigh(cl, "VmRSS:");
}

static double bytes_at_peak(void *cl)
{
	return weigh(cl, "VmHWM:");
}

/* ---- a run ---- */

/* Boost's table first, if it is there: inline for strings, where it is the goals' measure, else
 * as C meets it. */
static void choose_runners(const Set *set)
{
	size_t i;

	nrunners = 0;
	for (i = 0; cxx_subjects[i]; i++)
		if (cxx_subjects[i]->strings == set->strings)
			runners[nrunners++] = (Runner){ cxx_subjects[i], set, NULL, 0 };
	for (i = 0; i < sizeof c_subjects / sizeof c_subjects[0]; i++)
		if (c_subjects[i].strings == set->strings)
			runners[nrunners++] = (Runner){ &c_subjects[i], set, NULL, 0 };
}

static int is_slow(const Subject *s)
{
	return strcmp(s->name, "APR") == 0 || strcmp(s->name, "uthash") == 0
		|| strcmp(s->name, "hsearch") == 0 || strcmp(s->name, "std::unordered_map") == 0;
}

typedef struct Goal {
	const char *work;
	int strings;
	size_t from, to;          /* entries */
	double copied, borrowed;  /* keys; relative to the first contestant */
} Goal;

/* The goals of the project's contract. */
static const Goal goals[] = {
	{ "hit", 0, 1000, SIZE_MAX, 1, 0 },
	{ "hit", 1, 1000, 1000, 0.65, 0 },
	{ "hit", 1, 0, SIZE_MAX, 1, 0 },
	{ "miss", 0, 1000, 1000000, 1.1, 0 },
	{ "miss", 0, 1000001, SIZE_MAX, 1, 0 },
	{ "miss", 1, 1000, 1000, 0.65, 0 },
	{ "miss", 1, 0, SIZE_MAX, 1, 0 },
	{ "erase and reinsert", 0, 1000, 100000, 1.1, 0 },
	{ "erase and reinsert", 1, 1000, 100000, 1.1, 0 },
	{ "iterate", 0, 32, SIZE_MAX, 1.25, 0 },
	{ "iterate", 1, 32, SIZE_MAX, 1.25, 0 },
	{ "insert, growing", 0, 1000000, 4000000, 0.75, 0 },
	{ "insert, growing", 0, 4000001, SIZE_MAX, 0.8, 0 },
	{ "insert, growing", 1, 32, 1000, 1.5, 1.25 },
	{ "insert, growing", 1, 1000000, SIZE_MAX, 0.6, 0 },
	{ "insert, reserved", 1, 32, 1000, 1.5, 1.25 },
	{ "a table of 10 comes and goes", 1, 32, 32, 1.2, 1.2 },
};

static double goal_of(const Runner *r, const char *work)
{
	int borrows = strcmp(r->s->name, "HashTable, borrowed keys") == 0;
	size_t i;

	if (!borrows && strcmp(r->s->name, "HashTable") != 0)
		return 0;
	for (i = 0; i < sizeof goals / sizeof goals[0]; i++)
		if (strcmp(goals[i].work, work) == 0 && goals[i].strings == r->set->strings
				&& goals[i].from <= r->set->count && r->set->count <= goals[i].to)
			return borrows ? goals[i].borrowed : goals[i].copied;
	return 0;
}

/* c.n is the operations of a round; if it is 0, the harness chooses. */
static void add(const char *work, Bench_Case c, int (*can)(const Subject *))
{
	char *workload = checked(malloc(64)); /* until the end of the program */
	size_t i;

	snprintf(workload, 64, "%s, %s", work, runners[0].set->name);
	c.workload = workload;
	c.size = (double)runners[0].set->count;
	for (i = 0; i < nrunners; i++) {
		const Subject *s = runners[i].s;

		if ((can && !can(s)) || (runners[i].set->count > 1000000 && is_slow(s)))
			continue;
		c.name = s->name;
		c.cl = &runners[i];
		c.goal = goal_of(&runners[i], work);
		bench_add(&c);
	}
	bench_run();
}

static int can_grow(const Subject *s)
{
	return strcmp(s->name, "hsearch") != 0;
}

static void run_memory(const Set *set)
{
	if (set->count < 1000000)
		return;
	add("bytes an entry", (Bench_Case){ .value = bytes_held, .unit = "bytes", .fresh = 1 }, NULL);
	add("bytes an entry at the peak",
		(Bench_Case){ .value = bytes_at_peak, .unit = "bytes", .fresh = 1 }, NULL);
}

static void run_speed(const Set *set)
{
	size_t round = set->count < 20000 ? 20000 / set->count * set->count : set->count;

	add("hit", (Bench_Case){ .run = hit }, NULL);
	add("miss", (Bench_Case){ .run = miss }, NULL);
	add("erase and reinsert", (Bench_Case){ .run = churn }, can_grow);
	add("iterate", (Bench_Case){ .run = iterate, .n = round }, can_grow);
	add("insert, growing", (Bench_Case){ .run = grow, .n = round }, can_grow);
	add("insert, reserved", (Bench_Case){ .run = fill_reserved, .n = round }, NULL);
	if (set->count > 1000000)
		add("longest insertion, growing", (Bench_Case){ .value = longest_insertion, .unit = "ms" },
			can_grow);
}

/* Beside Boost's table as C meets it, which is the measure here. */
static void run_short_lives(void)
{
	size_t i;

	for (i = 0; i < nrunners && strcmp(runners[i].s->name, "boost-so") != 0; i++)
		continue;
	if (i < nrunners) {
		Runner first = runners[0];

		runners[0] = runners[i];
		runners[i] = first;
	}
	add("a table of 10 comes and goes", (Bench_Case){ .run = come_and_go }, can_grow);
	for (i = 0; i < nrunners; i++)
		if (strcmp(runners[i].s->name, "HashTable") == 0)
			bench_add(&(Bench_Case){ .workload = "a table of 10 comes and goes in an arena",
				.name = "HashTable", .run = come_and_go_in_arena, .cl = &runners[i] });
	bench_run();
}

static void run_set(const char *name, size_t n)
{
	static Set set; /* results name it until the end */
	size_t i;

	set = make_set(name, n);
	for (i = 0; i < LOOKUPS; i++)
		order[i] = (uint32_t)(scramble(i ^ 0x5555) % set.count);
	choose_runners(&set);
	run_memory(&set); /* first: a child inherits what was freed */
	run_speed(&set);
	if (set.count == 32 && set.strings)
		run_short_lives();
	for (i = 0; i < nrunners; i++)
		if (runners[i].table)
			runners[i].s->drop(runners[i].table);
}

static int has_keys(const char *set)
{
	if (strcmp(set, "words") != 0 || access(WORD_LIST, R_OK) == 0)
		return 1;
	fprintf(stderr,
		"bench_hashtable: words: not measured: there is no " WORD_LIST " (Debian: wamerican)\n");
	return 0;
}

int main(int argc, char *argv[])
{
	static const struct { const char *name; size_t sizes[6]; } sets[] = {
		{ "u64", { 32, 1000, 100000, 1000000, 5000000, 0 } },
		{ "random", { 32, 1000, 100000, 1000000, 5000000, 0 } },
		{ "words", { 100000, 0 } }, { "headers", { 32, 0 } }
	};
	size_t i, j, wanted;

	bench_start("hashtable", &argc, argv);
	wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
#if HAVE_APR
	apr_initialize();
#endif
	for (i = 0; i < sizeof sets / sizeof sets[0]; i++)
		for (j = 0; sets[i].sizes[j]; j++)
			if ((argc < 2 || strcmp(argv[1], sets[i].name) == 0)
					&& (!wanted || wanted == sets[i].sizes[j]) && has_keys(sets[i].name))
				run_set(sets[i].name, sets[i].sizes[j]);
	return bench_end();
}
