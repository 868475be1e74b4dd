// SPDX-License-Identifier: MIT
// Shared by test_httpcall_exits and test_socketpool_exits: the ways in which a callback may leave.
#ifndef WAYS_INCLUDED
#define WAYS_INCLUDED
#include <cstdio>
#include <cstdlib>
#include <pthread.h>

#include <core/Except.h>

#define CHECK(condition)                                                                          \
	((condition) ? (void)0                                                                    \
	             : (std::printf("%s:%d: %s, %s: not so: %s\n", __FILE__, __LINE__, scenario,  \
				way_names[way], #condition),                                      \
			std::exit(1)))

enum Way { RETURNS, RAISES, THROWS, IS_CANCELLED, EXITS, ALL_WAYS };
#if defined __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
// It does not see the frames go that a cancellation unwinds, and reports their marks.
#if defined __SANITIZE_ADDRESS__
enum { WAYS = IS_CANCELLED };
#else
enum { WAYS = ALL_WAYS };
#endif
static const char *const way_names[] = { "returns", "raises", "throws", "is cancelled", "exits" };
static const char *scenario = "";
static Way way;

EXCEPT_DEFINE(Left, nullptr, "left by a raise");
struct Thrown {};

// Leaves the caller in the present way.
static inline void take_way()
{
	switch (way) {
	case RAISES: RAISE(Left);
	case THROWS: throw Thrown();
	case IS_CANCELLED:
		pthread_cancel(pthread_self());
		pthread_testcancel();
		break; // where the library has cancellation switched off
	case EXITS: pthread_exit(nullptr);
	default: break;
	}
}

#endif
