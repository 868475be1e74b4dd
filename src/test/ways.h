// SPDX-License-Identifier: MIT
// Shared by the programs that test ways out: how a callback may leave, and what must hold
// afterwards.
#ifndef WAYS_INCLUDED
#define WAYS_INCLUDED
#include <cstdio>
#include <cstdlib>
#include <pthread.h>

#include <core/Arena.h>
#include <core/Except.h>

#include "descriptors.h"

#define CHECK(condition)                                                                          \
	((condition) ? (void)0                                                                    \
	             : (std::printf("%s:%d: %s, %s: not so: %s\n", __FILE__, __LINE__, scenario,  \
				way_names[way], #condition),                                      \
			std::exit(1)))

enum Way { RETURNS, RAISES, THROWS, IS_CANCELLED, EXITS, WAYS };
static const char *const way_names[] = { "returns", "raises", "throws", "is cancelled", "exits" };
static const char *scenario = "";
static Way way;

EXCEPT_DEFINE(Left, nullptr, "left by a raise");
struct Thrown {};

// AddressSanitizer marks the variables of a frame on the stack. It does not see that the end of a
// thread unwinds frames, and would find their marks in later frames. This removes them.
extern "C" void __asan_handle_no_return() __attribute__((weak));

// Leaves the caller as `way` says.
static inline void take_way()
{
	if (way >= IS_CANCELLED && __asan_handle_no_return)
		__asan_handle_no_return();
	switch (way) {
	case RAISES: RAISE(Left);
	case THROWS: throw Thrown();
	case IS_CANCELLED:
		pthread_cancel(pthread_self());
		pthread_testcancel();
		break; // cancellation is disabled here
	case EXITS: pthread_exit(nullptr);
	default: break;
	}
}

static inline void *catch_way(void *act)
{
	try {
		TRY {
			reinterpret_cast<void (*)()>(act)();
		} EXCEPT(Left) {
			CHECK(way == RAISES);
		} END_TRY;
	} catch (const Thrown &) {
		CHECK(way == THROWS);
	}
	return nullptr;
}

static inline pthread_t start_thread(void *(*run)(void *), void *cl)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, nullptr, run, cl) == 0);
	return thread;
}

// Runs act in a thread of its own, which a cancellation or an exit ends.
static inline void run_in_thread(void (*act)())
{
	pthread_t thread = start_thread(catch_way, reinterpret_cast<void *>(act));

	CHECK(pthread_join(thread, nullptr) == 0);
}

// The arenas and descriptors that are open now, to compare with those afterwards.
struct Resources {
	size_t arenas = Arena_debug_live_count();
	int descriptors = count_descriptors();

	void check_unchanged() const
	{
		CHECK(Arena_debug_live_count() == arenas);
		CHECK(count_descriptors() == descriptors);
	}
};

#endif
