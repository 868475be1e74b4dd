// SPDX-License-Identifier: MIT
// What C++ exceptions cost, for the cases of bench_except.c.
#include "bench_except.h"

namespace {

volatile int sink;

struct Oops {};

struct Guard {
	~Guard() { sink = sink + 1; }
};

__attribute__((noinline)) void down(int depth)
{
	if (depth < 0)
		return;
	if (depth == 0)
		throw Oops();
	down(depth - 1);
	sink = sink + 1;
}

__attribute__((noinline)) void nest(int depth)
{
	Guard guard;

	if (depth == 0)
		throw Oops();
	if (depth > 0)
		nest(depth - 1);
	sink = sink + 1;
}

void no_throw()
{
	try {
		down(-1);
	} catch (const Oops &) {
		sink = sink + 1;
	}
}

template <int depth> void thrown()
{
	try {
		down(depth);
	} catch (const Oops &) {
		sink = sink + 1;
	}
}

void destructors()
{
	try {
		nest(9);
	} catch (const Oops &) {
		sink = sink + 1;
	}
}

template <void (*once)()> void repeat(size_t n)
{
	while (n-- > 0)
		once();
}

}

void cxx_try(void *, size_t n) { repeat<no_throw>(n); }
void cxx_catch_0(void *, size_t n) { repeat<thrown<0>>(n); }
void cxx_catch_10(void *, size_t n) { repeat<thrown<10>>(n); }
void cxx_catch_100(void *, size_t n) { repeat<thrown<100>>(n); }
void cxx_destructors(void *, size_t n) { repeat<destructors>(n); }
