/* SPDX-License-Identifier: MIT */
/* What a TRY, a raise, a FINALLY, AUTO, DEFER and RETURN cost, beside bare _setjmp and beside the macros
 * of Hanson's book, written anew here in their shortest form (one stack for all threads, no causes).
 *
 * Each case is a function that does one thing n times. The cases take turns in short rounds, so that a
 * change of the clock or a neighbour's load hits all of them; the table shows the median time, and the
 * median of the rounds' own ratios. Goals: docs/design.md. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <core/Except.h>

enum { ROUNDS = 401, PASSES = 500 };

EXCEPT_DEFINE(Oops, NULL, "oops");

static volatile int sink;

/* ---- the yardstick: Hanson's statement ---- */

typedef struct Old_Frame {
	struct Old_Frame *prev;
	jmp_buf env;
	const char *file;
	int line;
	const Except_T *exception;
} Old_Frame;
static Old_Frame *old_stack;
enum { OLD_ENTERED, OLD_RAISED, OLD_HANDLED, OLD_FINALIZED };

static void __attribute__((noinline, noreturn)) old_raise(const Except_T *e, const char *file, int line)
{
	Old_Frame *p = old_stack;

	if (!p)
		abort();
	p->exception = e;
	p->file = file;
	p->line = line;
	old_stack = p->prev;
	_longjmp(p->env, OLD_RAISED);
}

#define OLD_TRY                                                                             \
	do {                                                                                \
		volatile int old_flag;                                                      \
		Old_Frame old_frame;                                                        \
		old_frame.prev = old_stack;                                                 \
		old_stack = &old_frame;                                                     \
		old_flag = _setjmp(old_frame.env);                                          \
		if (old_flag == OLD_ENTERED) {
#define OLD_EXCEPT(e)                                                                       \
			if (old_flag == OLD_ENTERED)                                        \
				old_stack = old_stack->prev;                                \
		} else if (old_frame.exception == &(e)) {                                   \
			old_flag = OLD_HANDLED;
#define OLD_FINALLY                                                                         \
			if (old_flag == OLD_ENTERED)                                        \
				old_stack = old_stack->prev;                                \
		}                                                                           \
		{                                                                           \
			if (old_flag == OLD_ENTERED)                                        \
				old_flag = OLD_FINALIZED;
#define OLD_END_TRY                                                                         \
			if (old_flag == OLD_ENTERED)                                        \
				old_stack = old_stack->prev;                                \
		}                                                                           \
		if (old_flag == OLD_RAISED)                                                 \
			old_raise(old_frame.exception, old_frame.file, old_frame.line);     \
	} while (0)

/* ---- the cases ---- */

static void setjmp_alone(int n)
{
	static jmp_buf env;

	while (n-- > 0)
		if (_setjmp(env) == 0)
			sink++;
}

static void setjmp_longjmp(int n)
{
	static jmp_buf env;
	volatile int left = n;

	while (left-- > 0)
		if (_setjmp(env) == 0)
			_longjmp(env, 1);
}

static void old_try(int n)
{
	volatile int left = n;

	while (left-- > 0)
		OLD_TRY {
			sink++;
		} OLD_EXCEPT(Oops) {
			sink--;
		} OLD_END_TRY;
}

static void core_try(int n)
{
	volatile int left = n;

	while (left-- > 0)
		TRY {
			sink++;
		} EXCEPT(Oops) {
			sink--;
		} END_TRY;
}

static void old_finally(int n)
{
	volatile int left = n;

	while (left-- > 0)
		OLD_TRY {
			sink++;
		} OLD_FINALLY {
			sink--;
		} OLD_END_TRY;
}

static void core_finally(int n)
{
	volatile int left = n;

	while (left-- > 0)
		TRY {
			sink++;
		} FINALLY {
			sink--;
		} END_TRY;
}

/* depth is never negative: a way to return, lest gcc warn of infinite recursion */
static void __attribute__((noinline)) old_down(int depth)
{
	if (depth < 0)
		return;
	if (depth == 0)
		old_raise(&Oops, __FILE__, __LINE__);
	old_down(depth - 1);
	sink++;
}

static void __attribute__((noinline)) core_down(int depth)
{
	if (depth < 0)
		return;
	if (depth == 0)
		RAISE(Oops);
	core_down(depth - 1);
	sink++;
}

static void old_catch(int n, int depth)
{
	volatile int left = n;

	while (left-- > 0)
		OLD_TRY {
			old_down(depth);
		} OLD_EXCEPT(Oops) {
			sink++;
		} OLD_END_TRY;
}

static void core_catch(int n, int depth)
{
	volatile int left = n;

	while (left-- > 0)
		TRY {
			core_down(depth);
		} EXCEPT(Oops) {
			sink++;
		} END_TRY;
}

static void old_catch_0(int n) { old_catch(n, 0); }
static void old_catch_10(int n) { old_catch(n, 10); }
static void old_catch_100(int n) { old_catch(n, 100); }
static void core_catch_0(int n) { core_catch(n, 0); }
static void core_catch_10(int n) { core_catch(n, 10); }
static void core_catch_100(int n) { core_catch(n, 100); }

static void __attribute__((noinline)) old_nest(int depth)
{
	if (depth == 0)
		old_raise(&Oops, __FILE__, __LINE__);
	OLD_TRY {
		old_nest(depth - 1);
	} OLD_FINALLY {
		sink++;
	} OLD_END_TRY;
}

static void __attribute__((noinline)) core_nest(int depth)
{
	if (depth == 0)
		RAISE(Oops);
	TRY {
		core_nest(depth - 1);
	} FINALLY {
		sink++;
	} END_TRY;
}

static void old_finallys(int n)
{
	volatile int left = n;

	while (left-- > 0)
		OLD_TRY {
			old_nest(10);
		} OLD_EXCEPT(Oops) {
			sink++;
		} OLD_END_TRY;
}

static void core_finallys(int n)
{
	volatile int left = n;

	while (left-- > 0)
		TRY {
			core_nest(10);
		} EXCEPT(Oops) {
			sink++;
		} END_TRY;
}

static void __attribute__((noinline)) dispose(int *p)
{
	sink += *p;
}

static void core_auto(int n)
{
	while (n-- > 0) {
		AUTO(int, x, dispose) = n;
		sink = x;
	}
}

static void __attribute__((noinline)) core_auto_raises(void)
{
	AUTO(int, x, dispose) = 1;

	sink = x;
	RAISE(Oops);
}

static void core_auto_raise(int n)
{
	volatile int left = n;

	while (left-- > 0)
		TRY {
			core_auto_raises();
		} EXCEPT(Oops) {
			sink++;
		} END_TRY;
}

static void core_defer(int n)
{
	int x = 1;

	while (n-- > 0) {
		DEFER(dispose, &x);
		sink = x;
	}
}

/* the same call through __attribute__((cleanup)) alone */
static void plain_cleanup(int n)
{
	while (n-- > 0) {
		int x __attribute__((cleanup(dispose))) = n;

		sink = x;
	}
}

static void core_message(int n)
{
	volatile int left = n;

	while (left-- > 0)
		TRY {
			RAISE_MSG(Oops, "%s: %d bytes", "file", (int)left);
		} EXCEPT(Oops) {
			sink++;
		} END_TRY;
}

static int __attribute__((noinline)) returns(int x)
{
	TRY {
		RETURN(x + 1);
	} FINALLY {
		sink++;
	} END_TRY;
	return 0;
}

static void core_return(int n)
{
	while (n-- > 0)
		sink += returns(n);
}

/* ---- the table ---- */

typedef struct Case {
	const char *name;
	void (*run)(int);
	int yardstick;     /* the case to compare with */
	double goal;       /* of the ratio; 0: goal_ns */
	double goal_ns;
	double ns[ROUNDS];
} Case;

static Case cases[] = {
	{ "_setjmp alone", setjmp_alone, 0, 0, 0, { 0 } },
	{ "_setjmp and _longjmp", setjmp_longjmp, 0, 0, 0, { 0 } },
	{ "Hanson: TRY, no raise", old_try, 0, 0, 0, { 0 } },
	{ "TRY, no raise", core_try, 2, 1.25, 0, { 0 } },
	{ "Hanson: TRY FINALLY, no raise", old_finally, 0, 0, 0, { 0 } },
	{ "TRY FINALLY, no raise", core_finally, 4, 1.25, 0, { 0 } },
	{ "Hanson: raise to catch", old_catch_0, 1, 0, 0, { 0 } },
	{ "raise to catch", core_catch_0, 6, 1.5, 0, { 0 } },
	{ "Hanson: raise 10 calls down", old_catch_10, 1, 0, 0, { 0 } },
	{ "raise 10 calls down", core_catch_10, 8, 1.5, 0, { 0 } },
	{ "Hanson: raise 100 calls down", old_catch_100, 1, 0, 0, { 0 } },
	{ "raise 100 calls down", core_catch_100, 10, 1.5, 0, { 0 } },
	{ "Hanson: through 10 FINALLYs", old_finallys, 1, 0, 0, { 0 } },
	{ "through 10 FINALLYs", core_finallys, 12, 0, 163, { 0 } },
	{ "plain cleanup attribute", plain_cleanup, 0, 0, 0, { 0 } },
	{ "AUTO, no raise", core_auto, 14, 0, 4, { 0 } },
	{ "DEFER, no raise", core_defer, 14, 0, 4, { 0 } },
	{ "AUTO, raise passes", core_auto_raise, 6, 0, 0, { 0 } },
	{ "RAISE_MSG to catch", core_message, 6, 0, 100, { 0 } },
	{ "RETURN through FINALLY", core_return, 5, 0, 0, { 0 } },
};
enum { CASES = sizeof cases / sizeof cases[0] };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* of c's times, each divided by that of the same round of yardstick */
static double median(const Case *c, const Case *yardstick)
{
	double sorted[ROUNDS];
	int i;

	for (i = 0; i < ROUNDS; i++)
		sorted[i] = c->ns[i] / (yardstick ? yardstick->ns[i] : 1);
	qsort(sorted, ROUNDS, sizeof sorted[0], ascending);
	return sorted[ROUNDS / 2];
}

static void print(const Case *c)
{
	double ns = median(c, NULL), ratio = median(c, &cases[c->yardstick]);

	printf("%-32s %8.1f %7.2f x %-30s", c->name, ns, ratio, cases[c->yardstick].name);
	if (c->goal > 0)
		printf(" <= %.2f x %s", c->goal, ratio <= c->goal ? "met" : "MISSED");
	if (c->goal_ns > 0)
		printf(" <= %.0f ns %s", c->goal_ns, ns <= c->goal_ns ? "met" : "MISSED");
	putchar('\n');
}

int main(void)
{
	double start;
	int round, i;

	for (round = -1; round < ROUNDS; round++) /* round -1 warms up */
		for (i = 0; i < CASES; i++) {
			start = now();
			cases[i].run(PASSES);
			if (round >= 0)
				cases[i].ns[round] = (now() - start) / PASSES;
		}
	printf("%-32s %8s %-41s %s\n", "case", "ns", "ratio", "goal");
	for (i = 0; i < CASES; i++)
		print(&cases[i]);
	return 0;
}
