// SPDX-License-Identifier: MIT
// What C++ exceptions cost on this machine, for the same cases as bench_except: compare by hand.
//   c++ -O2 -std=c++17 bench/bench_except_cxx.cc -o bench_except_cxx && ./bench_except_cxx
#include <algorithm>
#include <chrono>
#include <cstdio>

namespace {

constexpr int rounds = 51, passes = 200;
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

double median(void (*f)())
{
	using clock = std::chrono::steady_clock;
	double ns[rounds];

	for (double &t : ns) {
		auto start = clock::now();
		for (int i = 0; i < passes; i++)
			f();
		t = std::chrono::duration<double, std::nano>(clock::now() - start).count() / passes;
	}
	std::sort(ns, ns + rounds);
	return ns[rounds / 2];
}

}

int main()
{
	std::printf("C++: try, no throw               %8.1f ns\n", median(no_throw));
	std::printf("C++: throw to catch              %8.1f ns\n", median(thrown<0>));
	std::printf("C++: throw 10 calls down         %8.1f ns\n", median(thrown<10>));
	std::printf("C++: throw 100 calls down        %8.1f ns\n", median(thrown<100>));
	std::printf("C++: through 10 destructors      %8.1f ns\n", median(destructors));
}
