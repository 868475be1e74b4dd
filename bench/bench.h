/* SPDX-License-Identifier: MIT */
/* The harness of the benchmarks. A contestant does one operation n times. The contestants of a
 * workload take turns in short rounds, so that a change of the clock or a neighbour's load hits all
 * of them alike. The first contestant of a workload is its yardstick: the limit, or a peer. A
 * ratio is the median, over the rounds, of a contestant's time to the yardstick's in the same
 * round. Only ratios of one run carry over to another machine.
 *
 *	int main(int argc, char *argv[])
 *	{
 *		bench_start("example", &argc, argv);
 *		bench_add(&(Bench_Case){ .workload = "copy", .name = "memcpy", .run = copy });
 *		bench_add(&(Bench_Case){ .workload = "copy", .name = "a loop", .run = loop, .goal = 2 });
 *		bench_run();
 *		return bench_end();
 *	}
 *
 * Every program takes the options of bench/README.md. Errors of the harness end the program. */
#ifndef BENCH_INCLUDED
#define BENCH_INCLUDED
#include <stddef.h>

typedef struct Bench_Case {
	const char *workload, *name;     /* borrowed until bench_end, as is cl; no quotes */
	double size;                     /* the workload at several sizes makes a curve; 0: none */
	void (*run)(void *cl, size_t n); /* the operation, n times */
	void *cl;
	size_t n;                        /* operations a round; 0: as many as fill about 2 ms */
	int fresh;                       /* each round in a process of its own, forked from this one */
	/* instead of run: measures something else; less is better */
	double (*value)(void *cl);
	const char *unit;                /* of that; run: "ns" an operation */
	double goal;                     /* at most so many times the yardstick; 0: none */
	double most;                     /* at most so much, in the unit; 0: no such goal */
} Bench_Case;

/* Takes its options out of argv. */
void bench_start(const char *program, int *argc, char *argv[]);
void bench_add(const Bench_Case *c);
int bench_wants(const char *workload); /* by --only: for what costs time before it is added */
void bench_run(void); /* runs what was added since the last time and prints it */
int bench_end(void);  /* writes the JSON; the program's exit status */

/* Called within run. The time between the two does not count. */
void bench_pause(void);
void bench_resume(void);

double bench_now(void);      /* ns */
double bench_resident(void); /* bytes of this process that are in memory */

/* Makes p escape: the compiler can neither drop its value nor reorder around this. */
static inline void bench_use(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

#endif
