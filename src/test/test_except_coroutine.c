/* SPDX-License-Identifier: MIT */
/* Except_save and Except_restore: TRY statements on stacks that take turns, through ucontext. */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
#if HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/memcheck.h>
#else
#define VALGRIND_STACK_REGISTER(start, end) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif

#include "testing.h"

EXCEPT_DEFINE(Oops, NULL, "oops");
EXCEPT_DEFINE(Inner, NULL, "inner");

enum { STACK = 256 * 1024 };

typedef struct Coroutine {
	ucontext_t self, caller;
	void (*body)(struct Coroutine *);
	char *stack;
	unsigned valgrind;
	int number, done;
} Coroutine;

static void enter(unsigned high, unsigned low)
{
	Coroutine *c = (Coroutine *)(((uintptr_t)high << 16 << 16) | low);

	c->body(c);
	c->done = 1;
}

static Coroutine *start(void (*body)(Coroutine *), int number)
{
	Coroutine *c = calloc(1, sizeof *c);

	c->stack = malloc(STACK);
	c->valgrind = VALGRIND_STACK_REGISTER(c->stack, c->stack + STACK);
	c->body = body;
	c->number = number;
	getcontext(&c->self);
	c->self.uc_stack.ss_sp = c->stack;
	c->self.uc_stack.ss_size = STACK;
	c->self.uc_link = &c->caller;
	makecontext(&c->self, (void (*)(void))enter, 2, (unsigned)((uintptr_t)c >> 16 >> 16),
		(unsigned)(uintptr_t)c);
	return c;
}

static void end(Coroutine *c)
{
	VALGRIND_STACK_DEREGISTER(c->valgrind);
	free(c->stack);
	free(c);
}

/* The pair, as the manual shows it: on either side of a switch. */
static void resume(Coroutine *c)
{
	Except_Stack mine;

	Except_save(&mine);
	swapcontext(&c->caller, &c->self);
	Except_restore(&mine);
}

static void yield(Coroutine *c)
{
	Except_Stack mine;

	Except_save(&mine);
	swapcontext(&c->self, &c->caller);
	Except_restore(&mine);
}

/* ---- the tests ---- */

SUITE("Except, coroutines");
/* ThreadSanitizer takes the turns of stacks for a longjmp gone wrong */
CASE("coroutines", .unless = SANITIZED_THREADS);

static char text[256];

static void raises_between_yields(Coroutine *c)
{
	char *volatile seen = text + 64 * c->number;

	TRY {
		yield(c);
		RAISE_MSG(Oops, "number %d", c->number);
	} EXCEPT(Oops) {
		yield(c);
		TRY {
			yield(c);
			RAISE_MSG(Inner, "inside %d", c->number);
		} EXCEPT(Inner) {
			yield(c);
			strcat(seen, Except_message());
		} END_TRY;
		yield(c);
		strcat(seen, ", ");
		strcat(seen, Except_message());
	} FINALLY {
		yield(c);
		strcat(seen, ".");
	} END_TRY;
}

TEST(stacks_that_take_turns_keep_their_handlers_and_messages)
{
	Coroutine *c[3];
	int i, left = 3;

	memset(text, 0, sizeof text);
	for (i = 0; i < 3; i++)
		c[i] = start(raises_between_yields, i);
	TRY {
		RAISE_MSG(Oops, "of the main stack");
	} EXCEPT(Oops) {
		while (left > 0)
			for (i = 0, left = 0; i < 3; i++)
				if (!c[i]->done) {
					resume(c[i]);
					left += !c[i]->done;
				}
		ck_assert_str_eq(Except_message(), "of the main stack");
	} END_TRY;
	ck_assert_str_eq(text, "inside 0, number 0.");
	ck_assert_str_eq(text + 64, "inside 1, number 1.");
	ck_assert_str_eq(text + 128, "inside 2, number 2.");
	for (i = 0; i < 3; i++)
		end(c[i]);
}

#if !SANITIZED
static void catches_its_own(Coroutine *c)
{
	TRY {
		RAISE_MSG(Inner, "%d", c->number);
	} EXCEPT(Inner) {
		text[0]++;
	} END_TRY;
	if (c->number % 2)
		TRY {
			RAISE(Inner);
		} ELSE {
			yield(c);
		} END_TRY;
}

static int mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	int ch, lines = 0;

	while (f && (ch = getc(f)) != EOF)
		lines += ch == '\n';
	if (f)
		fclose(f);
	return lines;
}

TEST(a_thousand_coroutines_one_after_another_take_no_more_memory_than_two)
{
	int i, before = 0;

	text[0] = 0;
	for (i = 0; i < 1000; i++) {
		Coroutine *c = start(catches_its_own, i);

		while (!c->done)
			resume(c);
		end(c);
		if (i == 10)
			before = mappings();
	}
	ck_assert_int_lt(mappings(), before + 20);
	ck_assert_int_eq((unsigned char)text[0], 1000 % 256);
}

static void *with_suspended_coroutines(void *cl)
{
	Coroutine **c = cl;
	int i;

	for (i = 0; i < 10; i++) {
		c[i] = start(catches_its_own, 1);
		resume(c[i]);
	}
	return NULL;
}

TEST(a_thread_that_ends_gives_back_the_memory_of_its_suspended_coroutines)
{
	Coroutine *c[10];
	int i, turn, before = 0;

	for (turn = 0; turn < 10; turn++) {
		pthread_t t;

		ck_assert_int_eq(pthread_create(&t, NULL, with_suspended_coroutines, c), 0);
		pthread_join(t, NULL);
		for (i = 0; i < 10; i++)
			end(c[i]);
		if (turn == 0)
			before = mappings();
	}
	ck_assert_int_lt(mappings(), before + 20); /* and not 90 */
}

#endif

static void raises(Coroutine *c)
{
	(void)c;
	RAISE_MSG(Inner, "in a coroutine");
}

TEST(an_exception_does_not_leave_its_coroutine, .signal = SIGABRT)
{
	Coroutine *c = start(raises, 0);

	TRY {
		resume(c); /* uncaught there: reports and aborts */
	} ELSE {
		_exit(0);
	} END_TRY;
}

static void yields_in_a_try_without_saving(Coroutine *c)
{
	TRY {
		swapcontext(&c->self, &c->caller);
	} END_TRY;
}

TEST(handlers_that_were_not_saved_are_a_checked_error)
{
	Coroutine *c = start(yields_in_a_try_without_saving, 0);

	ck_raises_saying(Assert_Failed,
		"the coroutine that ran before had handlers and did not save them", resume(c));
	end(c);
	ck_raises(Oops, RAISE(Oops)); /* and this stack has its own again */
}

TEST(a_stack_is_restored_once)
{
	Except_Stack s;

	Except_save(&s);
	Except_restore(&s);
	ck_raises_saying(Assert_Failed, "not saved, or has been restored already", Except_restore(&s));
}

static void *restore_elsewhere(void *cl)
{
	ck_raises_saying(Assert_Failed, "saved by another thread", Except_restore(cl));
	return NULL;
}

TEST(a_stack_stays_with_its_thread)
{
	Except_Stack s;
	pthread_t t;

	Except_save(&s);
	ck_assert_int_eq(pthread_create(&t, NULL, restore_elsewhere, &s), 0);
	pthread_join(t, NULL);
	Except_restore(&s);
}

TEST(saving_to_null_is_a_checked_error)
{
	ck_raises_saying(Assert_Failed, "Except_save: the stack is NULL", Except_save(NULL));
	ck_raises_saying(Assert_Failed, "Except_restore: the stack is NULL", Except_restore(NULL));
}
