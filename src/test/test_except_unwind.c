/* SPDX-License-Identifier: MIT */
/* Except_set_unwinding: a raise that runs other people's clean-ups. Each clean-up notes its name,
 * with "!" behind it if the exception is current there. test_except_unwinding is test_except with
 * unwinding on. test_except_cxx tests C++, and except_unwind.sh other compilers. */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "testing.h"

EXCEPT_DEFINE(Oops, NULL, "oops");
EXCEPT_DEFINE(Worse, NULL, "worse");

#define APART __attribute__((noinline))
#define CLEAN(name) const char *name __attribute__((cleanup(clean), unused)) = #name

static CORE_PER_THREAD char said[512];

static void note(const char *s)
{
	strcat(said, s);
	strcat(said, Except_current() ? "! " : " ");
}

static void clean(const char **name)
{
	note(*name);
}

static void dispose(char *name)
{
	char s[] = { *name, '\0' };

	note(s);
}

static void expect(const char *what)
{
	ck_assert_str_eq(said, what);
	ck_assert_ptr_null(Except_current());
	ck_assert_ptr_null(Except__thread()->top);
	said[0] = '\0';
}

static void setup(void)
{
	said[0] = '\0';
	Except_set_unwinding(1);
}

SUITE("Except, unwinding");
#if HAVE__UNWIND_FORCEDUNWIND
CASE("unwinding", .setup = setup);
#else
CASE("unwinding", .unless = 1);
#endif

static void APART raise_oops(void)
{
	CLEAN(a);
	DEFER(note, "d");
	CLEAN(b);
	RAISE_MSG(Oops, "number %d", 7);
}

/* inlined wherever the compiler inlines at all */
static inline void call_it(void)
{
	CLEAN(c);

	raise_oops();
}

static void APART raise_deeper(void)
{
	AUTO(char, e, dispose) = 'e';
	CLEAN(f);

	ck_assert_int_eq(e, 'e');
	call_it();
}

TEST(clean_ups_run_from_the_raise_to_the_try_in_their_order)
{
	CLEAN(outside);

	TRY {
		CLEAN(inside);

		raise_deeper();
	} EXCEPT(Oops) {
		note("handler");
		ck_assert_str_eq(Except_message(), "number 7");
	} END_TRY;
	expect("b! d! a! c! f! e! inside! handler! ");
}

static void APART catch_or_not(void)
{
	CLEAN(x);

	TRY {
		CLEAN(y);

		TRY {
			raise_oops();
		} EXCEPT(Worse) {
			note("wrong");
		} END_TRY;
	} FINALLY {
		CLEAN(z);

		note("finally");
	} END_TRY;
}

TEST(each_try_on_the_way_is_reached_in_turn)
{
	TRY {
		catch_or_not();
	} ELSE {
		note("handler");
		ck_assert_ptr_eq(Except_current(), &Oops);
	} END_TRY;
	expect("b! d! a! y! finally! z! x! handler! ");
}

static void APART raise_in_handler(void)
{
	CLEAN(x);

	TRY {
		raise_oops();
	} EXCEPT(Oops) {
		CLEAN(y);

		RAISE(Worse);
	} FINALLY {
		note("finally");
	} END_TRY;
}

TEST(a_raise_in_a_handler_has_its_cause)
{
	TRY {
		raise_in_handler();
	} EXCEPT(Worse) {
		ck_assert_ptr_eq(Except_cause(1), &Oops);
		ck_assert_str_eq(Except_cause_message(1), "number 7");
	} END_TRY;
	expect("b! d! a! y! finally! x! ");
}

/* clang ends the process if a clean-up raises while another exception passes. */
#if !defined __clang__
static void raise_worse(const char **name)
{
	note(*name);
	RAISE(Worse);
}

static void APART clean_up_raises(void)
{
	CLEAN(x);
	const char *y __attribute__((cleanup(raise_worse), unused)) = "y";
	CLEAN(z);

	raise_oops();
}

TEST(a_raise_in_a_clean_up_replaces_the_exception_and_the_others_run)
{
	TRY {
		clean_up_raises();
	} EXCEPT(Worse) {
		int before;

		ck_assert_ptr_eq(Except_cause(1), &Oops);
		ck_assert_ptr_null(Except_cause(2));
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
		ck_assert_int_eq(before, PTHREAD_CANCEL_ENABLE);
	} END_TRY;
	expect("b! d! a! z! y! x! ");
}
#endif

static void catch_another(const char **name)
{
	TRY {
		raise_deeper();
	} EXCEPT(Oops) {
		note(*name);
	} END_TRY;
	ck_assert_ptr_eq(Except_current(), &Worse);
}

static void APART clean_up_catches(void)
{
	CLEAN(p);
	const char *q __attribute__((cleanup(catch_another), unused)) = "q";

	RAISE(Worse);
}

TEST(a_clean_up_may_catch_exceptions_of_its_own)
{
	TRY {
		clean_up_catches();
	} EXCEPT(Worse) {
		ck_assert_ptr_null(Except_cause(1));
	} END_TRY;
	expect("b! d! a! c! f! e! q! p! ");
}

static void raise_for(void *cl)
{
	(void)cl;
	raise_oops();
}

TEST(an_exception_may_be_captured_and_raised_again)
{
	Except_Capture capture;

	ck_assert(!Except_call(raise_for, NULL, &capture));
	expect("b! d! a! ");
	TRY {
		CLEAN(x);

		Except_rethrow(&capture);
	} EXCEPT(Oops) {
		ck_assert_str_eq(Except_message(), "number 7");
		ck_assert_str_eq(Except_function(), "raise_oops");
	} END_TRY;
	expect("x! ");
}

static int APART return_from(void)
{
	CLEAN(x);

	TRY {
		CLEAN(y);

		RETURN(3);
	} FINALLY {
		TRY {
			raise_oops();
		} EXCEPT(Oops) {
			note("handler");
		} END_TRY;
	} END_TRY;
	return 0;
}

TEST(a_return_goes_its_own_way)
{
	ck_assert_int_eq(return_from(), 3);
	expect("b! d! a! handler! y x ");
}

static void APART go_through(int n)
{
	CLEAN(x);

	if (n == 0)
		RAISE(Oops);
	said[0] = '\0';
	TRY {
		go_through(n - 1);
	} FINALLY {
		said[0] = '\0';
	} END_TRY;
}

TEST(thousands_of_finallys_are_passed)
{
	TRY {
		go_through(5000);
	} EXCEPT(Oops) {
	} END_TRY;
	expect("x! ");
}

static void handle_signal(int signal)
{
	CLEAN(s);

	TRY {
		raise_oops();
	} EXCEPT(Oops) {
		note("handler");
	} END_TRY;
	(void)signal;
}

TEST(a_signal_handler_may_raise_to_a_try_of_its_own)
{
	struct sigaction act = { .sa_handler = handle_signal };

	sigaction(SIGUSR1, &act, NULL);
	TRY {
		CLEAN(x);

		raise(SIGUSR1);
		raise_oops();
	} EXCEPT(Oops) {
	} END_TRY;
	expect("b! d! a! handler! s b! d! a! x! ");
}

#if !SANITIZED /* sanitizers know one stack per thread */
static ucontext_t here, there;

static void run_coroutine(void)
{
	TRY {
		CLEAN(x);

		raise_oops();
	} EXCEPT(Oops) {
		note("handler");
	} END_TRY;
}

TEST(a_coroutine_unwinds_its_own_stack)
{
	static char stack[256 * 1024];
	Except_Stack mine;

	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof stack;
	there.uc_link = &here;
	makecontext(&there, run_coroutine, 0);
	TRY {
		CLEAN(y);

		Except_save(&mine);
		swapcontext(&here, &there);
		Except_restore(&mine);
		raise_oops();
	} EXCEPT(Oops) {
	} END_TRY;
	expect("b! d! a! x! handler! b! d! a! y! ");
}
#endif

static void APART raise_and_catch(void)
{
	TRY {
		CLEAN(x);

		raise_oops();
	} EXCEPT(Oops) {
	} END_TRY;
}

/* Returns cl if the wrong clean-ups ran. */
static void *raise_often(void *cl)
{
	int i;

	for (i = 0; i < 2000; i++) {
		said[0] = '\0';
		raise_and_catch();
		if (strcmp(said, "b! d! a! x! ") != 0)
			return cl;
	}
	return NULL;
}

TEST(threads_unwind_at_the_same_time)
{
	pthread_t threads[4];
	void *wrong;
	int i, token;

	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, raise_often, &token), 0);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
}

static void test_cancellation(const char **name)
{
	pthread_testcancel();
	note(*name);
}

/* AddressSanitizer does not notice that the end of a thread leaves these frames. */
extern void __asan_handle_no_return(void) __attribute__((weak));

static void *be_cancelled(void *cl)
{
	char *all = cl;

	TRY {
		const char *x __attribute__((cleanup(test_cancellation), unused)) = "x";

		pthread_cancel(pthread_self());
		raise_oops();
	} EXCEPT(Oops) {
		strcpy(all, said);
	} END_TRY;
	if (__asan_handle_no_return)
		__asan_handle_no_return();
	pthread_testcancel();
	return NULL;
}

TEST(a_cancellation_waits_until_the_exception_has_arrived)
{
	static char all[512];
	pthread_t t;
	void *result;

	ck_assert_int_eq(pthread_create(&t, NULL, be_cancelled, all), 0);
	pthread_join(t, &result);
	ck_assert_str_eq(all, "b! d! a! x! ");
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
}

static void raise_trouble(void *cl)
{
	++*(int *)cl;
	RAISE(Worse);
}

TEST(the_librarys_own_clean_ups_are_not_in_the_way)
{
	Arena_T arena = Arena_new();
	int calls = 0, i;

	for (i = 0; i < 50000; i++)
		Arena_defer(arena, raise_trouble, &calls);
	ck_raises(Worse, Arena_dispose(&arena));
	ck_assert_int_eq(calls, 50000);
}

TEST(without_unwinding_a_raise_runs_no_other_clean_ups)
{
	ck_assert_int_eq(Except_set_unwinding(0), 0);
	TRY {
		raise_deeper();
	} EXCEPT(Oops) {
		note("handler");
	} END_TRY;
	expect("d! e! handler! ");
}
