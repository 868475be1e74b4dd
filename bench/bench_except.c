/* SPDX-License-Identifier: MIT */
/* The cost of a TRY, a raise, a FINALLY, AUTO, DEFER and RETURN. The peers are bare _setjmp, C++
 * (bench_except_cxx.cc), and two ways to do it in C, each in its shortest form: the macros of
 * Hanson's book, which have one stack for all threads and no causes, and PostgreSQL's PG_TRY, which
 * uses sigsetjmp. */
#include <setjmp.h>
#include <stdlib.h>

#include <core/Except.h>
#include "bench.h"
#include "bench_except.h"

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

static void __attribute__((noinline, noreturn))
old_raise(const Except_T *e, const char *file, int line)
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

/* ---- another: PostgreSQL's, for a FINALLY ---- */

static sigjmp_buf *pg_stack;

#define PG_TRY_FINALLY(body, finally)                                                       \
	do {                                                                                \
		sigjmp_buf *pg_saved = pg_stack, pg_local;                                  \
		volatile int pg_rethrow = 0;                                                \
		if (sigsetjmp(pg_local, 0) == 0) {                                          \
			pg_stack = &pg_local;                                               \
			body;                                                               \
		} else                                                                      \
			pg_rethrow = 1;                                                     \
		pg_stack = pg_saved;                                                        \
		finally;                                                                    \
		if (pg_rethrow)                                                             \
			siglongjmp(*pg_stack, 1);                                           \
	} while (0)

/* ---- the cases ---- */

static void setjmp_alone(void *cl, size_t n)
{
	static jmp_buf env;

	(void)cl;
	while (n-- > 0)
		if (_setjmp(env) == 0)
			sink++;
}

static void setjmp_longjmp(void *cl, size_t n)
{
	static jmp_buf env;
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		if (_setjmp(env) == 0)
			_longjmp(env, 1);
}

static void old_try(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		OLD_TRY {
			sink++;
		} OLD_EXCEPT(Oops) {
			sink--;
		} OLD_END_TRY;
}

static void core_try(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		TRY {
			sink++;
		} EXCEPT(Oops) {
			sink--;
		} END_TRY;
}

static void old_finally(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		OLD_TRY {
			sink++;
		} OLD_FINALLY {
			sink--;
		} OLD_END_TRY;
}

static void core_finally(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		TRY {
			sink++;
		} FINALLY {
			sink--;
		} END_TRY;
}

/* depth is never negative, but without the return gcc warns of infinite recursion. */
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

static void old_catch(size_t n, int depth)
{
	volatile size_t left = n;

	while (left-- > 0)
		OLD_TRY {
			old_down(depth);
		} OLD_EXCEPT(Oops) {
			sink++;
		} OLD_END_TRY;
}

static void core_catch(size_t n, int depth)
{
	volatile size_t left = n;

	while (left-- > 0)
		TRY {
			core_down(depth);
		} EXCEPT(Oops) {
			sink++;
		} END_TRY;
}

static void old_catch_0(void *cl, size_t n) { (void)cl; old_catch(n, 0); }
static void old_catch_10(void *cl, size_t n) { (void)cl; old_catch(n, 10); }
static void old_catch_100(void *cl, size_t n) { (void)cl; old_catch(n, 100); }
static void core_catch_0(void *cl, size_t n) { (void)cl; core_catch(n, 0); }
static void core_catch_10(void *cl, size_t n) { (void)cl; core_catch(n, 10); }
static void core_catch_100(void *cl, size_t n) { (void)cl; core_catch(n, 100); }

static void __attribute__((noinline)) old_pass_finallys(int depth)
{
	if (depth == 0)
		old_raise(&Oops, __FILE__, __LINE__);
	OLD_TRY {
		old_pass_finallys(depth - 1);
	} OLD_FINALLY {
		sink++;
	} OLD_END_TRY;
}

static void __attribute__((noinline)) core_pass_finallys(int depth)
{
	if (depth == 0)
		RAISE(Oops);
	TRY {
		core_pass_finallys(depth - 1);
	} FINALLY {
		sink++;
	} END_TRY;
}

static void old_finallys(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		OLD_TRY {
			old_pass_finallys(10);
		} OLD_EXCEPT(Oops) {
			sink++;
		} OLD_END_TRY;
}

static void __attribute__((noinline)) pg_pass_finallys(int depth)
{
	if (depth == 0)
		siglongjmp(*pg_stack, 1);
	PG_TRY_FINALLY(pg_pass_finallys(depth - 1), sink++);
}

static void pg_finallys(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0) {
		sigjmp_buf local;

		if (sigsetjmp(local, 0) == 0) {
			pg_stack = &local;
			pg_pass_finallys(10);
		} else
			sink++;
	}
}

static void core_finallys(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		TRY {
			core_pass_finallys(10);
		} EXCEPT(Oops) {
			sink++;
		} END_TRY;
}

static void __attribute__((noinline)) dispose(int *p)
{
	sink += *p;
}

static void core_auto(void *cl, size_t n)
{
	(void)cl;
	while (n-- > 0) {
		AUTO(int, x, dispose) = (int)n;
		sink = x;
	}
}

static void __attribute__((noinline)) raise_past_auto(void)
{
	AUTO(int, x, dispose) = 1;

	sink = x;
	RAISE(Oops);
}

static void core_raise_past_auto(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		TRY {
			raise_past_auto();
		} EXCEPT(Oops) {
			sink++;
		} END_TRY;
}

static void core_defer(void *cl, size_t n)
{
	int x = 1;

	(void)cl;
	while (n-- > 0) {
		DEFER(dispose, &x);
		sink = x;
	}
}

/* The same call by __attribute__((cleanup)) alone. */
static void plain_cleanup(void *cl, size_t n)
{
	(void)cl;
	while (n-- > 0) {
		int x __attribute__((cleanup(dispose))) = (int)n;

		sink = x;
	}
}

static void core_message(void *cl, size_t n)
{
	volatile size_t left = n;

	(void)cl;
	while (left-- > 0)
		TRY {
			RAISE_MSG(Oops, "%s: %d bytes", "file", (int)left);
		} EXCEPT(Oops) {
			sink++;
		} END_TRY;
}

static int __attribute__((noinline)) return_through_finally(int x)
{
	TRY {
		RETURN(x + 1);
	} FINALLY {
		sink++;
	} END_TRY;
	return 0;
}

static void core_return(void *cl, size_t n)
{
	(void)cl;
	while (n-- > 0)
		sink += return_through_finally((int)n);
}

/* ---- the table ---- */

static void add(const char *workload, const char *name, void (*run)(void *, size_t), double goal)
{
	bench_add(&(Bench_Case){ .workload = workload, .name = name, .run = run, .goal = goal });
}

int main(int argc, char *argv[])
{
	bench_start(BENCH_NAME, &argc, argv);
	add("TRY, no raise", "Hanson", old_try, 0);
	add("TRY, no raise", "libcore", core_try, 1.25);
	add("TRY, no raise", "_setjmp alone", setjmp_alone, 0);
	add("TRY FINALLY, no raise", "Hanson", old_finally, 0);
	add("TRY FINALLY, no raise", "libcore", core_finally, 1.25);
	add("TRY, no raise, beside C++", "libcore", core_try, 0);
	add("TRY, no raise, beside C++", "C++", cxx_try, 0);
	add("raise to catch", "Hanson", old_catch_0, 0);
	add("raise to catch", "libcore", core_catch_0, 1.5);
	add("raise to catch", "_setjmp and _longjmp", setjmp_longjmp, 0);
	add("raise 10 calls down", "Hanson", old_catch_10, 0);
	add("raise 10 calls down", "libcore", core_catch_10, 1.5);
	add("raise 100 calls down", "Hanson", old_catch_100, 0);
	add("raise 100 calls down", "libcore", core_catch_100, 1.5);
	add("raise to catch, beside C++", "C++", cxx_catch_0, 0);
	add("raise to catch, beside C++", "libcore", core_catch_0, 1 / 20.0);
	add("raise 10 calls down, beside C++", "C++", cxx_catch_10, 0);
	add("raise 10 calls down, beside C++", "libcore", core_catch_10, 1 / 20.0);
	add("raise 100 calls down, beside C++", "C++", cxx_catch_100, 0);
	add("raise 100 calls down, beside C++", "libcore", core_catch_100, 1 / 20.0);
	add("through 10 FINALLYs", "PostgreSQL's way", pg_finallys, 0);
	add("through 10 FINALLYs", "libcore", core_finallys, 1);
	add("through 10 FINALLYs", "Hanson", old_finallys, 0);
	add("through 10 FINALLYs", "C++ (destructors)", cxx_destructors, 0);
	add("clean-up at the end of a scope", "cleanup attribute", plain_cleanup, 0);
	add("clean-up at the end of a scope", "AUTO", core_auto, 0);
	add("clean-up at the end of a scope", "DEFER", core_defer, 0);
	add("raise", "RAISE", core_catch_0, 0);
	add("raise", "RAISE_MSG", core_message, 0);
	add("raise", "RAISE past an AUTO", core_raise_past_auto, 0);
	add("return through FINALLY", "TRY FINALLY", core_finally, 0);
	add("return through FINALLY", "RETURN", core_return, 0);
	bench_run();
	return bench_end();
}
