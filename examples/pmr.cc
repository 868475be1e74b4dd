// SPDX-License-Identifier: MIT
// An Arena_T as a std::pmr::memory_resource: the containers of C++17 on an arena.
//
//   c++ -std=c++17 pmr.cc -o pmr $(pkg-config --cflags --libs libcore)
//   ./pmr
//
// Exceptions of two kinds meet here, and each is turned into the other where it would do harm:
//  * A libcore exception jumps: it runs no destructor on its way. The containers rely on theirs,
//    so what the arena raises inside do_allocate is caught there, where there is nothing to
//    destroy, and thrown as std::bad_alloc.
//  * A C++ exception may pass through a TRY: the handlers, AUTO and DEFER stay in order, but no
//    EXCEPT sees it and FINALLY does not run. So the owner of the arena is an AUTO (a destructor
//    would do as well), and what C code may call throws nothing.
#include <core/core.h>

#include <cstdio>
#include <map>
#include <memory_resource>
#include <new>
#include <string>
#include <vector>

class ArenaResource final : public std::pmr::memory_resource {
public:
	// borrowed: it must outlive what is allocated here
	explicit ArenaResource(Arena_T arena) : arena_(arena) {}

private:
	void *do_allocate(std::size_t nbytes, std::size_t alignment) override
	{
		void *p = nullptr;

		PROTECT(p);
		TRY {
			p = Arena_alloc_aligned(arena_, alignment, nbytes);
		} EXCEPT(Arena_Failed) {
			p = nullptr;
		} END_TRY;
		if (!p)
			// outside of the TRY: its message is not needed, and no frame is left open
			throw std::bad_alloc();
		return p;
	}

	void do_deallocate(void *, std::size_t, std::size_t) override {} // the arena does, at once

	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
		auto *same = dynamic_cast<const ArenaResource *>(&other);

		return same && same->arena_ == arena_;
	}

	Arena_T arena_;
};

// the resource reaches the strings and vectors, too
using Index = std::pmr::map<std::pmr::string, std::pmr::vector<int>>;

static Index *index_of(ArenaResource &memory, const char *text)
{
	// Neither the map nor what is in it is ever destroyed: all that their destructors do is to
	// give memory back.
	Index *index = new (memory.allocate(sizeof(Index), alignof(Index))) Index(&memory);
	std::pmr::string word(&memory);
	int position = 0;

	for (; *text; text++)
		if (*text != ' ')
			word += *text;
		else {
			(*index)[word].push_back(position++);
			word.clear();
		}
	(*index)[word].push_back(position);
	return index;
}

static void use(Arena_T arena)
{
	ArenaResource memory(arena);

	for (auto &[word, places] :
		*index_of(memory, "to be a name of many letters or not to be a name of many letters"))
		if (places.size() > 1)
			std::printf("%s: %d and %d\n", word.c_str(), places[0], places[1]);
}

// A C++ exception leaves through the TRY of a C-like function.
static void use_up(Arena_T arena)
{
	TRY {
		ArenaResource memory(arena);
		std::pmr::vector<double> samples(&memory);

		for (;;)
			samples.push_back(samples.size());
	} ELSE {
		std::puts("not seen: a C++ exception is nobody's here");
	} END_TRY;
}

// At the border from libcore to C++, an exception becomes a throw, in a frame that has nothing to
// destroy.
static void throw_as_cxx(void (*fn)(Arena_T), Arena_T arena)
{
	static thread_local char message[256];

	message[0] = '\0';
	TRY {
		fn(arena);
	} ELSE {
		std::snprintf(message, sizeof message, "%s", Except_message());
	} END_TRY;
	if (message[0])
		throw std::string(message);
}

static void raises(Arena_T arena)
{
	HashTable_put(HashTable_new(arena, 0), nullptr, nullptr);
}

static void run()
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();

	use(arena);
	Arena_set_limit(arena, 1000000);
	try {
		use_up(arena);
	} catch (const std::bad_alloc &) {
		std::printf("bad_alloc at %s a million bytes, handlers left: %s\n",
			Arena_capacity(arena) <= 1000000 ? "no more than" : "over",
			Except_current() ? "some" : "none");
	}
	try {
		throw_as_cxx(raises, arena);
	} catch (const std::string &what) {
		std::printf("thrown: %s\n", what.c_str());
	}
	throw 42; // and AUTO still disposes of the arena
}

int main()
{
	try {
		run();
	} catch (int n) {
		std::printf("%d\n", n);
	}
	std::printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
