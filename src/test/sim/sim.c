/* SPDX-License-Identifier: MIT */
/* sim [-s | -p | -l | -u] [FIRST [COUNT]]: COUNT seeds from FIRST on, of all worlds, or of one:
 * that of server.c, the same with the program that answers late (program.c), that with several
 * loops, or that of upstream.c.
 * Without arguments, those of `make check`.
 * sim -v [-s | -p | -l | -u] SEED: one of them, and prints what happens. */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <core/Arena.h>
#include "sim.h"

enum { CHECKED_SEEDS = SIM_ADDRESS_SANITIZER ? 200 : 2000, REPEATED = 5, SKIPPED = 77 };

uint64_t sim_seed;
int sim_verbose;
static char sim_letter;
static uint64_t state, trace_hash;

/* Vigna's splitmix64. */
uint64_t sim_random(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

int sim_below(int n)
{
	return n > 1 ? (int)(sim_random() % (unsigned)n) : 0;
}

int sim_between(int least, int most)
{
	return least + sim_below(most - least + 1);
}

int sim_chance(int percent)
{
	return sim_below(100) < percent;
}

static void print_line(FILE *out, const char *fmt, va_list list)
{
	fprintf(out, "%10lld.%03d ", (long long)sim_ms(), (int)(sim_now % 1000));
	if (task_name())
		fprintf(out, "%s: ", task_name());
	vfprintf(out, fmt, list);
	putc('\n', out);
}

void sim_trace(const char *fmt, ...)
{
	va_list list;

	trace_hash = (trace_hash ^ (uint64_t)sim_now ^ (uint64_t)(unsigned char)*fmt << 56)
		* 0x100000001b3u;
	if (!sim_verbose)
		return;
	va_start(list, fmt);
	print_line(stdout, fmt, list);
	va_end(list);
}

_Noreturn void sim_fail(const char *fmt, ...)
{
	va_list list;

	fflush(stdout);
	fprintf(stderr, "sim: seed %llu failed:\n", (unsigned long long)sim_seed);
	va_start(list, fmt);
	print_line(stderr, fmt, list);
	va_end(list);
	fprintf(stderr, "sim -v -%c %llu prints how it came to that\n", sim_letter,
		(unsigned long long)sim_seed);
	_exit(1);
}

typedef struct Kind {
	char letter;
	void (*simulate)(void);
} Kind;

static const Kind kinds[] = { { 's', simulate_server }, { 'p', simulate_program },
	{ 'l', simulate_loops }, { 'u', simulate_upstream } };

static void run_seed(uint64_t seed, const Kind *kind)
{
	sim_seed = seed;
	sim_letter = kind->letter;
	state = seed;
	state = sim_random(); /* else the next seed would have the same numbers, but for the first */
	trace_hash = 0xcbf29ce484222325u;
	task_reset();
	kind->simulate();
	SIM_CHECK(Arena_debug_live_count() == 0, "%zu arenas are left", Arena_debug_live_count());
}

/* It exists with --enable-gcov, whose counts are written at exit. */
void __gcov_exit(void) __attribute__((weak));

/* Each seed has a process of its own: what a run leaves in caches would change the next one.
 * Returns the hash of what happened. */
static uint64_t run_apart(uint64_t seed, const Kind *kind, uint64_t *hash)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		run_seed(seed, kind);
		*hash = trace_hash;
		if (__gcov_exit)
			exit(0);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		sim_fail("no process for a seed");
	if (WIFSIGNALED(status))
		fprintf(stderr, "sim: seed %llu ended by signal %d\n", (unsigned long long)seed,
			WTERMSIG(status));
	if (status != 0)
		exit(1);
	return *hash;
}

static void run_seeds(uint64_t first, uint64_t count, const Kind *kind)
{
	uint64_t *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0),
		 seed;

	for (seed = first; seed < first + count; seed++) {
		uint64_t hash = run_apart(seed, kind, shared);

		sim_seed = seed;
		if (seed - first < REPEATED)
			SIM_CHECK(run_apart(seed, kind, shared) == hash,
				"a second run went another way");
	}
	munmap(shared, sizeof *shared);
}

int main(int argc, char *argv[])
{
	uint64_t first = 1, count = CHECKED_SEEDS;
	const Kind *kind;
	int which = 0, option;

	while ((option = getopt(argc, argv, "vsplu")) != -1) {
		if (option == '?')
			return 2;
		sim_verbose |= option == 'v';
		which = option == 'v' ? which : option;
	}
	if (optind < argc) {
		first = strtoull(argv[optind], NULL, 10);
		count = optind + 1 < argc ? strtoull(argv[optind + 1], NULL, 10) : 1;
	}
#if SIM_THREAD_SANITIZER
	return SKIPPED; /* ThreadSanitizer takes the turns of stacks for longjmp gone wrong */
#endif
	for (kind = kinds; kind < kinds + sizeof kinds / sizeof *kinds; kind++)
		if (which && which != kind->letter)
			continue;
		else if (!sim_verbose)
			run_seeds(first, count, kind);
		else if (which || kind == kinds)
			run_seed(first, kind);
	return 0;
}
