/* SPDX-License-Identifier: MIT */
/* Except: AUTO and DEFER; threads, fork, cancellation. */
#include "config.h"

#include "test_except.h"

/* ---- AUTO and DEFER ---- */

SUITE("Except");
CASE("AUTO and DEFER");

static int scopes(int way)
{
	volatile int i;

	for (i = 0; i < 2; i++) {
		AUTO(int, a, note) = 1;
		DEFER(word, "2");
		{
			AUTO(int, b, note) = 3;
			(void)b;
			if (way == RAISED)
				RAISE(A);
			if (way == RETURNED)
				RETURN(a);
			if (way == PLAIN_RETURN)
				return a;
			if (way == BROKE)
				break;
			if (way == CONTINUED)
				continue;
			if (way == WENT)
				goto out;
		}
		L("end");
	}
	return 0;
out:
	return 2;
}

static void scopes_by(int way, const char *wanted)
{
	TRY {
		L_number(scopes(way));
	} ELSE {
		L_current();
	} END_TRY;
	expect(wanted);
}

TEST(auto_and_defer_run_newest_first_on_every_way_out)
{
	start_log();
	scopes_by(FALL, "3 end 2 1 3 end 2 1 0");
	scopes_by(RAISED, "3 2 1 A");
	scopes_by(RETURNED, "3 2 1 1");
	scopes_by(PLAIN_RETURN, "3 2 1 1");
	scopes_by(BROKE, "3 2 1 0");
	scopes_by(CONTINUED, "3 2 1 3 2 1 0");
	scopes_by(WENT, "3 2 1 2");
}

static void log_large(Large *l)
{
	L_number(l->a[0]);
}

static void log_string(char **s)
{
	L(*s);
}

static Large raise_large(void)
{
	RAISE(A);
}

static char *raise_string(void)
{
	RAISE(A);
}

static void initialize_badly(int what)
{
	AUTO(int, first, note) = 1;
	AUTO(char *, s, log_string) = what == 0 ? raise_string() : (char *)"s";
	AUTO(Large, l, log_large) = what == 1 ? raise_large() : (Large){ { 2 } };
	AUTO(int, n, note) = what == 2 ? raise_int(&A) : 3;

	(void)first, (void)s, (void)l, (void)n;
	L("end");
}

TEST(a_variable_without_a_value_is_not_disposed_of)
{
	volatile int what;

	start_log();
	for (what = 0; what < 4; what++)
		TRY {
			initialize_badly(what);
		} EXCEPT(A) {
			L("A");
		} END_TRY;
	expect("1 A s 1 A 2 s 1 A end 3 2 s 1");
}

static void dispose_badly(int *p)
{
	L_number(*p);
	RAISE(X);
}

static void dispose_and_tell(int *p)
{
	L_number(*p);
	L_current();
}

static int disposals(int way)
{
	TRY {
		AUTO(int, a, note) = 1;
		AUTO(int, b, dispose_badly) = 2;
		AUTO(int, c, dispose_and_tell) = 3;
		AUTO(int, d, dispose_badly) = 4;
		DEFER(word, "5");
		(void)a, (void)b, (void)c, (void)d;
		if (way == RAISED)
			RAISE(A);
		if (way == RETURNED)
			RETURN(7);
		if (way == PLAIN_RETURN)
			return 8;
	} ELSE {
		L_current();
	} FINALLY {
		L("f");
	} END_TRY;
	return 9;
}

/* On the way to a handler, unless clang ends the process then. */
#if defined UNWINDING && defined __clang__
enum { DISPOSALS_MAY_RAISE = 0 };
#else
enum { DISPOSALS_MAY_RAISE = 1 };
#endif

TEST(a_disposal_that_raises_replaces_the_exception_and_the_others_run,
	.unless = !DISPOSALS_MAY_RAISE)
{
	start_log();
	ck_assert_int_eq(disposals(RAISED), 9);
	expect("5 4 3 X<A 2 1 X<X<A f");
	ck_assert_int_eq(disposals(FALL), 9);
	expect("5 4 3 X 2 1 X<X f");
	ck_assert_int_eq(disposals(RETURNED), 9); /* the RETURN is off: it came to be handled */
	expect("5 4 3 X 2 1 X<X f");
	ck_assert_int_eq(disposals(PLAIN_RETURN), 9);
	expect("5 4 3 X 2 1 X<X f");
}

static void defer_a_statement(void *cl)
{
	(void)cl;
	TRY {
		RAISE(AB);
	} EXCEPT(A) {
		L_current();
	} FINALLY {
		L("d");
	} END_TRY;
}

static void scopes_in_parts(void)
{
	TRY {
		DEFER(defer_a_statement, NULL);
		RAISE(A);
	} EXCEPT(A) {
		AUTO(int, h, dispose_and_tell) = 1;
		(void)h;
		RAISE(X);
	} FINALLY {
		AUTO(int, f, dispose_and_tell) = 2;
		(void)f;
		L("f");
	} END_TRY;
}

TEST(auto_and_defer_in_each_part_see_what_is_current)
{
	start_log();
	run(scopes_in_parts);
	expect("AB d 1 X<A f 2 X<A X<A");
}

static int arenas(int way)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	char *s = Arena_strdup(arena, "in an arena");

	if (way == RAISED)
		RAISE_MSG(A, "%s", s);
	RETURN((int)strlen(s));
}

TEST(an_arena_in_an_auto_variable_is_disposed_of)
{
	size_t before = Arena_debug_live_count();

	ck_assert_int_eq(arenas(FALL), 11);
	ck_raises_saying(A, "in an arena", arenas(RAISED));
	ck_assert_uint_eq(Arena_debug_live_count(), before);
}

/* ---- threads, fork, cancellation ---- */

CASE("threads and processes");

enum { THREADS = 4, TURNS = 2000 };

static void *raise_much(void *id)
{
	char mine[32];
	volatile intptr_t good = 0;
	volatile int i;

	snprintf(mine, sizeof mine, "thread %d", (int)(intptr_t)id);
	for (i = 0; i < TURNS; i++)
		TRY {
			TRY {
				RAISE_MSG(A, "thread %d", (int)(intptr_t)id);
			} FINALLY {
				good += Except_current() == &A;
			} END_TRY;
		} EXCEPT(A) {
			good += strcmp(Except_message(), mine) == 0;
		} END_TRY;
	return (void *)good;
}

TEST(each_thread_has_its_own_stack)
{
	pthread_t threads[THREADS];
	void *good;
	int i;

	for (i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, raise_much, (void *)(intptr_t)i), 0);
	for (i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(threads[i], &good), 0);
		ck_assert_int_eq((int)(intptr_t)good, 2 * TURNS);
	}
}

static void *find_thread(void *unused)
{
	ck_assert_ptr_eq(Except__own_thread(), Except__thread());
	return unused;
}

TEST(the_inline_code_finds_the_thread_that_the_library_finds)
{
	find_thread(NULL);
	run_thread(find_thread, NULL);
}

static void *raise_once(void *message)
{
	TRY {
		RAISE_MSG(A, "%s", (char *)message);
	} EXCEPT(A) {
		ck_assert_str_eq(Except_message(), message);
	} END_TRY;
	return NULL;
}

#if !SANITIZED /* they map memory for each thread */
static int mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	int c, lines = 0;

	if (!maps)
		return 0;
	while ((c = getc(maps)) != EOF)
		lines += c == '\n';
	fclose(maps);
	return lines;
}

TEST(a_thread_that_ends_gives_its_memory_back)
{
	int before, i;

	run_thread(raise_once, (char *)"warm up");
	before = mappings();
	for (i = 0; i < 100; i++)
		run_thread(raise_once, (char *)"one");
	ck_assert_int_lt(mappings(), before + 20);
}
#endif

static pthread_key_t key;
static int destructor_runs;

static void raise_in_destructor(void *value)
{
	raise_once(value);
	ck_assert_ptr_null(Except_current());
	destructor_runs++;
}

static void *leave_a_value(void *cl)
{
	pthread_setspecific(key, cl);
	return raise_once(cl);
}

TEST(the_destructor_of_a_key_may_raise)
{
	ck_assert_int_eq(pthread_key_create(&key, raise_in_destructor), 0);
	destructor_runs = 0;
	run_thread(leave_a_value, (char *)"late");
	ck_assert_int_eq(destructor_runs, 1);
	pthread_key_delete(key);
}

static int ends[2];
static Except_Link *top_at_the_end;

static void look_at_the_top(void *value)
{
	(void)value;
	top_at_the_end = Except__thread()->top;
}

static void wait_in_statements(int by_exit)
{
	char c = 0;

	TRY {
		AUTO(int, n, note) = 1;
		(void)n;
		TRY {
			DEFER(word, "2");
			if (by_exit)
				pthread_exit(NULL);
			if (write(ends[1], "", 1) != 1)
				abort(); /* to be cancelled inside ck_assert would leak */
			for (;;)
				pause();
		} FINALLY {
			L_number(c);
		} END_TRY;
	} ELSE {
		L("never");
	} END_TRY;
}

static void *be_ended(void *by_exit)
{
	pthread_setspecific(key, by_exit);
	wait_in_statements(by_exit == (void *)1);
	return NULL;
}

static void end_thread(void *by_exit)
{
	pthread_t t;
	char c;

	top_at_the_end = (Except_Link *)&c;
	ck_assert_int_eq(pthread_create(&t, NULL, be_ended, by_exit), 0);
	if (by_exit != (void *)1) {
		ck_assert_int_eq((int)read(ends[0], &c, 1), 1);
		pthread_cancel(t);
	}
	ck_assert_int_eq(pthread_join(t, NULL), 0);
	ck_assert_ptr_null(top_at_the_end);
}

TEST(pthread_exit_and_cancel_run_the_scopes_and_pop_the_frames)
{
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(pthread_key_create(&key, look_at_the_top), 0);
	start_log();
	end_thread((void *)1);
	expect("2 1");
	end_thread((void *)2);
	expect("2 1");
	pthread_key_delete(key);
	close(ends[0]);
	close(ends[1]);
}

static int fork_in_statement(pid_t *child)
{
	TRY {
		*child = fork();
		if (*child == 0)
			RAISE_MSG(A, "in the child");
		RETURN(1);
	} EXCEPT(A) {
		_exit(strcmp(Except_message(), "in the child") == 0 ? 3 : 4);
	} FINALLY {
		L("parent");
	} END_TRY;
	return 0;
}

TEST(a_statement_goes_on_in_parent_and_child_of_a_fork)
{
	pid_t child = -1;
	int status = 0;

	start_log();
	ck_assert_int_eq(fork_in_statement(&child), 1);
	expect("parent");
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}
