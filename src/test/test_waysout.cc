// SPDX-License-Identifier: MIT
// Every way out of every callback of Except, Arena and HashTable: it returns, raises, throws a C++
// exception, or its thread is cancelled or ends in it. Afterwards no handler is left, the arena can
// be disposed of, and the table can be written.
#include <core/core.h>

#include <cstring>

#include "ways.h"

#define CLANG_ASAN 0
#if defined __has_feature
#if __has_feature(address_sanitizer)
#undef CLANG_ASAN
#define CLANG_ASAN 1
#endif
#endif

static bool armed; // the callbacks leave as `way` says
static int left, others;

static void leave_armed()
{
	left++;
	if (armed)
		take_way();
}

static void leave_plain(void *) { leave_armed(); }
static void count_other(void *) { others++; }

// Runs f until it returns or is left, and checks that no handler is left.
template <class F> static void *body(void *cl)
{
	try {
		TRY {
			(*static_cast<F *>(cl))();
		} EXCEPT(Left) {
		} END_TRY;
	} catch (const Thrown &) {
	}
	CHECK(Except__thread()->top == nullptr && !Except_current());
	return nullptr;
}

template <class F> static void in_thread(F f)
{
	pthread_t t;

	left = others = 0;
	armed = true;
	if (pthread_create(&t, nullptr, body<F>, &f) != 0)
		std::abort();
	pthread_join(t, nullptr);
	armed = false;
	CHECK(left > 0);
}

// ---- Except

static void except_scopes()
{
	scenario = "an AUTO variable at the end of its scope";
	in_thread([] {
		DEFER(count_other, &others);
		AUTO(int, a, leave_plain) = 1;
		(void)a;
	});
	CHECK(others == 1);
	scenario = "a deferred call that an exception passes";
	in_thread([] {
		TRY {
			DEFER(count_other, &others);
			DEFER(leave_plain, &others);
			RAISE(Left);
		} FINALLY {
			others += 10;
		} END_TRY;
	});
	CHECK(way >= THROWS ? others == 1 : others == 11);
	scenario = "a FINALLY";
	in_thread([] {
		DEFER(count_other, &others);
		TRY {
			RAISE(Left);
		} FINALLY {
			leave_armed();
		} END_TRY;
	});
	CHECK(others == 1);
	scenario = "a handler";
	in_thread([] {
		DEFER(count_other, &others);
		TRY {
			RAISE(Left);
		} EXCEPT(Left) {
			leave_armed();
		} END_TRY;
	});
	CHECK(others == 1);
}

static int called;

static void except_call()
{
	scenario = "Except_call";
	called = -1;
	in_thread([] {
		DEFER(count_other, &others);
		called = Except_call(leave_plain, nullptr, nullptr);
	});
	CHECK(called == (way == RETURNS ? 1 : way == RAISES ? 0 : -1));
	CHECK(others == 1);
}

static void leave_hook(const Except_T *, void *) { leave_armed(); }

static void *raise_uncaught(void *)
{
	try {
		DEFER(count_other, &others);
		RAISE(Left);
	} catch (const Thrown &) {
		CHECK(Except__thread()->top == nullptr && !Except_current());
	}
	return nullptr;
}

// A hook that returns or raises ends the process: test_except has those.
static void except_hook()
{
	pthread_t t;

	scenario = "the hook for uncaught exceptions";
	if (way < THROWS)
		return;
	Except_set_uncaught(leave_hook, nullptr);
	for (int i = 0; i < 2; i++) { // it is called again
		left = others = 0;
		armed = true;
		pthread_create(&t, nullptr, raise_uncaught, nullptr);
		pthread_join(t, nullptr);
		armed = false;
		CHECK(left == 1 && others == 1);
	}
	Except_set_uncaught(nullptr, nullptr);
}

// ---- HashTable

static void leave_resize(HashTable_T, void *) { leave_armed(); }
static void leave_map(const void *, void **, void *) { leave_armed(); }

static uint64_t leave_hash(const void *key, uint64_t seed)
{
	leave_armed();
	return *static_cast<const int *>(key) * 31u + seed;
}

static int leave_equal(const void *x, const void *y)
{
	leave_armed();
	return *static_cast<const int *>(x) == *static_cast<const int *>(y);
}

static HashTable_T table;
static int keys[2000];

static void check_written(int n)
{
	size_t length = HashTable_length(table);
	int found = 0;

	for (int i = 0; i < n; i++)
		found += HashTable_get(table, &keys[i]) == &keys[i];
	CHECK(length == static_cast<size_t>(found));
	for (int i = 0; i < n; i++)
		HashTable_put(table, &keys[i], &keys[i]);
	CHECK(HashTable_length(table) == static_cast<size_t>(n));
	for (int i = 0; i < n; i += 2)
		CHECK(HashTable_remove(table, &keys[i]) == &keys[i]);
	HashTable_reserve(table, 5000);
	HashTable_clear(table);
}

static void table_callbacks()
{
	enum { N = 2000 };
	static const char *const names[] = { "pre at a put", "post at a put", "pre at a reserve",
		"post at a reserve" };

	for (int which = 0; which < 4; which++)
		for (int kind = 0; kind < 2; kind++) {
			Arena_T arena = Arena_new();
			HashTable_Options o = {};
			char text[16];
			int n = 0;

			scenario = names[which];
			o.kind = kind ? HashTable_POINTER : HashTable_STRING;
			table = HashTable_new_with(arena, &o);
			(which % 2 ? HashTable_set_post_resize_callback
				: HashTable_set_pre_resize_callback)(table, leave_resize, nullptr);
			in_thread([&] {
				if (which >= 2)
					HashTable_reserve(table, 100);
				for (int i = 0; i < N; i++, n++) {
					std::snprintf(text, sizeof text, "key %d", i);
					HashTable_put(table, kind ? static_cast<const void *>(&keys[i]) : text,
						&keys[i]);
				}
			});
			CHECK(way == RETURNS ? n == N : n == 0);
			CHECK(HashTable_length(table) == static_cast<size_t>(n));
			if (kind)
				check_written(N);
			else {
				HashTable_put(table, "key", &keys[0]);
				CHECK(HashTable_get(table, "key") == &keys[0]);
			}
			HashTable_free(&table);
			Arena_dispose(&arena);
		}
}

static void table_map()
{
	Arena_T arena = Arena_new();
	HashTable_Options o = {};

	scenario = "apply of a map";
	o.kind = HashTable_POINTER;
	table = HashTable_new_with(arena, &o);
	for (int i = 0; i < 100; i++)
		HashTable_put(table, &keys[i], &keys[i]);
	in_thread([] { HashTable_map(table, leave_map, nullptr); });
	CHECK(left == (way == RETURNS ? 100 : 1));
	check_written(2000);
	Arena_dispose(&arena);
}

static void table_custom()
{
	static const char *const names[] = { "hash at a put", "equal at a put", "hash at a get",
		"equal at a get",
		"hash at a removal", "equal at a removal", "hash at a slot", "hash while it grows" };
	static int key = 7, absent = 4711;

	for (int i = 0; i < 2000; i++)
		keys[i] = i;
	for (int which = 0; which < 8; which++) {
		Arena_T arena = Arena_new();
		HashTable_Options o = {};

		scenario = names[which];
		o.kind = HashTable_CUSTOM;
		o.hash = leave_hash;
		o.equal = leave_equal;
		table = HashTable_new_with(arena, &o);
		for (int i = 0; i < 100; i++)
			HashTable_put(table, &keys[i], &keys[i]);
		// the hash returns where equal must leave
		in_thread([&] {
			bool in_equal = which % 2 == 1 && which < 7;

			if (in_equal) {
				HashTable_Options e = o;
				static HashTable_T with_equal;

				e.hash = [](const void *k, uint64_t) -> uint64_t {
					return *static_cast<const int *>(k);
				};
				armed = false;
				with_equal = HashTable_new_with(arena, &e);
				HashTable_put(with_equal, &keys[7], &keys[7]);
				armed = true;
				table = with_equal;
			}
			switch (which) {
			case 0: case 1: HashTable_put(table, in_equal ? &key : &absent, &absent); break;
			case 2: case 3: HashTable_get(table, &key); break;
			case 4: case 5: HashTable_remove(table, &key); break;
			case 6: HashTable_slot(table, &absent); break;
			default:
				for (int i = 100; i < 2000; i++)
					HashTable_put(table, &keys[i], &keys[i]);
			}
		});
		HashTable_clear(table);
		check_written(2000);
		HashTable_free(&table);
		Arena_dispose(&arena);
	}
}

// ---- Arena

static void *leave_alloc(size_t n, void *) { leave_armed(); return std::malloc(n); }
static void take_back(void *p, size_t, void *) { std::free(p); }

static void arena_deferred()
{
	static const char *const names[] = { "a deferred call at clear", "at reset", "at rewind",
		"at dispose", "at a parent's dispose" };

	for (int which = 0; which < 5; which++) {
		size_t live = Arena_debug_live_count();
		Arena_T parent = Arena_new(), arena = Arena_new_child(parent);
		Arena_Mark mark = Arena_mark(arena);

		scenario = names[which];
		Arena_defer(arena, count_other, nullptr);
		Arena_defer(arena, leave_plain, nullptr);
		Arena_defer(arena, count_other, nullptr);
		(void)Arena_alloc(arena, 50000);
		in_thread([&] {
			switch (which) {
			case 0: Arena_clear(arena); break;
			case 1: Arena_reset(arena, 0); break;
			case 2: Arena_rewind(arena, mark); break;
			case 3: Arena_dispose(&arena); break;
			default: Arena_dispose(&parent);
			}
		});
		CHECK(others == 2 && left == 1);
		if (which < 3) {
			CHECK(Arena_used(arena) == 0 || which == 2);
			std::memset(Arena_alloc(arena, 1000), 1, 1000);
			Arena_clear(arena);
			Arena_dispose(&arena);
		}
		if (which < 4)
			Arena_dispose(&parent);
		CHECK(Arena_debug_live_count() == live);
	}
}

static void arena_backing()
{
	static const char *const names[] = { "the backing allocator for an arena", "for a chunk",
		"for a large object",
		"for a realloc", "for a stream" };

	// no exception passes the frames of clang's interceptor of fputs
	for (int which = 0; which < (CLANG_ASAN ? 4 : 5); which++) {
		size_t live = Arena_debug_live_count();
		Arena_Options o = {};
		Arena_T arena;
		char *text = nullptr;
		size_t length = 0;

		scenario = names[which];
		o.alloc = leave_alloc;
		o.free = take_back;
		o.limit = 1000000;
		arena = Arena_new_with(&o);
		size_t held = Arena_capacity(arena);
		in_thread([&] {
			Arena_T another = nullptr;

			switch (which) {
			case 0:
				another = Arena_new_with(&o);
				Arena_dispose(&another);
				break;
			case 1:
				for (int i = 0; i < 1000; i++)
					(void)Arena_alloc(arena, 64);
				break;
			case 2: (void)Arena_alloc(arena, 500000); break;
			case 3: (void)Arena_realloc(arena, Arena_alloc(arena, 100), 100, 100000); break;
			default: {
				FILE *out = Arena_open_stream(arena, &text, &length);

				for (int i = 0; i < 5000; i++)
					std::fputs("some text ", out);
				std::fflush(out);
			}
			}
		});
		if (way != RETURNS) { // the space that was reserved is free again
			CHECK(Arena_capacity(arena) == held);
			(void)Arena_alloc(arena, 700000);
		}
		Arena_clear(arena);
		Arena_dispose(&arena);
		CHECK(Arena_debug_live_count() == live);
	}
}

int main(int argc, char **argv)
{
	std::setvbuf(stdout, nullptr, _IONBF, 0);
	for (int w = RETURNS; w < WAYS; w++) {
		way = static_cast<Way>(w);
		if (argc == 1 || !std::strcmp(argv[1], "except")) {
			except_scopes();
			except_call();
			except_hook();
		}
		if (argc == 1 || !std::strcmp(argv[1], "table")) {
			table_callbacks();
			table_map();
			table_custom();
		}
		if (argc == 1 || !std::strcmp(argv[1], "deferred"))
			arena_deferred();
		if (argc == 1 || !std::strcmp(argv[1], "backing"))
			arena_backing();
	}
	return 0;
}
