/* SPDX-License-Identifier: MIT */
/* Except, in the header's order: exceptions, what a handler can ask, uncaught ones, backtraces; then the
 * statement with every way out of every part of it, RETURN, AUTO, DEFER; then depth, threads, fork,
 * cancellation, and what is left without memory. A test writes what happens into a log of words. */
#include "config.h"

#include <complex.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#if HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/memcheck.h>
#endif

#include "testing.h"

EXCEPT_DEFINE(A, NULL, "a failed");
EXCEPT_DEFINE(AB, &A, "ab failed");
EXCEPT_DEFINE(ABC, &AB, "abc failed");
EXCEPT_DEFINE(X, NULL, "x failed");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const Except_T Plain = { "plain failed" }; /* Hanson's form */
static const Except_T Nameless;
#pragma GCC diagnostic pop

/* ---- the log ---- */

static char log_text[1 << 16];
static size_t log_length;
static Except_Link *top_before;
static char *next_before;

static void L(const char *word)
{
	size_t n = strlen(word);

	if (log_length + n + 2 >= sizeof log_text)
		abort(); /* and not ck_assert, which takes memory */
	if (log_length > 0)
		log_text[log_length++] = ' ';
	memcpy(log_text + log_length, word, n + 1);
	log_length += n;
}

static void L_number(long n)
{
	char word[32];

	snprintf(word, sizeof word, "%ld", n);
	L(word);
}

static const char *first_letters(const Except_T *e)
{
	return e == &A ? "A" : e == &AB ? "AB" : e == &ABC ? "ABC" : e == &X ? "X" : e == &Assert_Failed ? "Assert"
		: e == &Plain ? "Plain" : "?";
}

/* what is current and its causes, as in X<A */
static void L_current(void)
{
	char word[256] = "";
	int i;

	for (i = 0; Except_cause(i) && i < 20; i++) {
		strcat(word, i ? "<" : "");
		strcat(word, first_letters(Except_cause(i)));
	}
	L(i ? word : "none");
}

static void start_log(void)
{
	log_length = 0;
	log_text[0] = '\0';
	top_before = Except__thread()->top;
	next_before = Except__thread()->next;
}

/* The log is so, and the stacks of links and of records are as high as before. */
static void expect(const char *words)
{
	ck_assert_str_eq(log_text, words);
	ck_assert_ptr_eq(Except__thread()->top, top_before);
	if (next_before)
		ck_assert_ptr_eq(Except__thread()->next, next_before);
	start_log();
}

/* Runs f and logs what it raises. */
static void run(void (*f)(void))
{
	TRY {
		f();
	} ELSE {
		L_current();
	} END_TRY;
}

static void note(int *p)
{
	L_number(*p);
}

static void word(char *w)
{
	L(w);
}

static int raise_int(const Except_T *e)
{
	RAISE(*e);
}

/* ---- a child that is to abort, and what it says ---- */

static char said[8192];

static void read_all(int fd)
{
	size_t n = 0;
	ssize_t got;

	while (n + 1 < sizeof said && (got = read(fd, said + n, sizeof said - 1 - n)) > 0)
		n += (size_t)got;
	said[n] = '\0';
	close(fd);
}

static int child_says(void (*f)(void))
{
	int ends[2], status = 0;
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	fflush(NULL);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(SIGABRT, SIG_DFL);
		dup2(ends[1], 2);
		close(ends[0]);
		f();
		_exit(0);
	}
	close(ends[1]);
	read_all(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

static void ck_aborts(void (*f)(void))
{
	int status = child_says(f);

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %#x; it said: %s", status, said);
}

#define ck_said(text) ck_assert_msg(strstr(said, text) != NULL, "\"%s\" is not in: %s", text, said)
#define ck_did_not_say(text) ck_assert_msg(strstr(said, text) == NULL, "\"%s\" is in: %s", text, said)

/* ---- exceptions ---- */

#if defined UNWINDING
static void __attribute__((constructor)) unwind(void)
{
	Except_set_unwinding(1);
}
#endif

SUITE("Except");
CASE("exceptions");

static void caught_by(const Except_T *raised, const Except_T *clause)
{
	TRY {
		TRY {
			RAISE(*raised);
		} EXCEPT(*clause) {
			L("caught");
		} END_TRY;
	} ELSE {
		L("passed");
	} END_TRY;
}

TEST(a_clause_takes_its_own_exception_and_every_kind_of_it)
{
	static const Except_T copy = { "a copy, as a copy relocation makes it", &A, &AB };

	start_log();
	caught_by(&A, &A);
	caught_by(&AB, &A);
	caught_by(&ABC, &A);
	caught_by(&ABC, &AB);
	expect("caught caught caught caught");
	caught_by(&A, &AB);
	caught_by(&AB, &ABC);
	caught_by(&X, &A);
	expect("passed passed passed");
	caught_by(&Plain, &Plain);
	caught_by(&Plain, &X);
	expect("caught passed");
	caught_by(&copy, &AB);
	caught_by(&AB, &copy);
	caught_by(&ABC, &copy);
	caught_by(&copy, &A);
	expect("caught caught caught caught");
}

static void first_match(const Except_T *e)
{
	TRY {
		RAISE(*e);
	} EXCEPT(AB) {
		L("AB");
	} EXCEPT(A) {
		L("A");
	} EXCEPT(ABC) {
		L("never");
	} ELSE {
		L("else");
	} END_TRY;
}

TEST(the_first_clause_that_matches_wins)
{
	start_log();
	first_match(&A);
	first_match(&AB);
	first_match(&ABC);
	first_match(&X);
	expect("A AB AB else");
}

static int asked;

static const Except_T *ask(const Except_T *e)
{
	asked++;
	return e;
}

static const Except_T *ask_badly(void)
{
	RAISE(X);
}

TEST(a_clause_is_evaluated_only_when_an_exception_looks_for_it)
{
	start_log();
	asked = 0;
	TRY {
		L("t");
	} EXCEPT(*ask(&A)) {
		L("never");
	} END_TRY;
	ck_assert_int_eq(asked, 0);
	TRY {
		RAISE(X);
	} EXCEPT(*ask(&A)) {
		L("never");
	} EXCEPT(*ask(&X)) {
		L("x");
	} EXCEPT(*ask(&A)) {
		L("never");
	} END_TRY;
	ck_assert_int_eq(asked, 2);
	TRY {
		TRY {
			RAISE(A);
		} EXCEPT(*ask_badly()) {
			L("never");
		} FINALLY {
			L("f");
		} END_TRY;
	} ELSE {
		L_current();
	} END_TRY;
	expect("t x f X<A");
}

/* ---- what a handler can ask ---- */

CASE("what a handler can ask");

TEST(a_handler_knows_what_was_raised_where_and_why)
{
	volatile int line = 0;

	start_log();
	TRY {
		errno = EDOM;
		line = __LINE__ + 1;
		RAISE_MSG(AB, "%s of %d", "seven", 42);
	} EXCEPT(A) {
		ck_assert_ptr_eq(Except_current(), &AB);
		ck_assert_str_eq(Except_message(), "seven of 42");
		ck_assert_str_eq(Except_file(), __FILE__);
		ck_assert_str_eq(Except_function(), __func__);
		ck_assert_int_eq(Except_line(), line);
		ck_assert_int_eq(Except_errno(), EDOM);
		ck_assert_ptr_eq(Except_cause(0), &AB);
		ck_assert_ptr_null(Except_cause(1));
		ck_assert_ptr_null(Except_cause(-1));
		ck_assert_ptr_eq(Except_frame.exception, &AB); /* as in Hanson's interface */
		ck_assert_str_eq(Except_frame.file, __FILE__);
		ck_assert_int_eq(Except_frame.line, line);
		L("h");
	} END_TRY;
	expect("h");
}

TEST(without_a_message_the_reason_is_the_message)
{
	TRY {
		RAISE(ABC);
	} ELSE {
		ck_assert_str_eq(Except_message(), "abc failed");
	} END_TRY;
	TRY {
		RAISE(Nameless);
	} ELSE {
		ck_assert_ptr_null(Except_message());
	} END_TRY;
}

TEST(outside_of_handlers_there_is_nothing_to_tell)
{
	FILE *out = tmpfile();

	ck_assert_ptr_null(Except_current());
	ck_assert_ptr_null(Except_message());
	ck_assert_ptr_null(Except_file());
	ck_assert_ptr_null(Except_function());
	ck_assert_int_eq(Except_line(), 0);
	ck_assert_int_eq(Except_errno(), 0);
	ck_assert_ptr_null(Except_cause(0));
	ck_assert_ptr_null(Except_cause(1));
	ck_assert_ptr_nonnull(out);
	Except_report(out);
	ck_assert_int_eq(ftell(out), 0);
	fclose(out);
}

TEST(the_current_exception_is_that_of_the_innermost_handler)
{
	start_log();
	TRY {
		L_current();
		RAISE(A);
	} EXCEPT(A) {
		L_current();
		TRY {
			L_current();
			RAISE(X);
		} EXCEPT(X) {
			L_current();
		} FINALLY {
			L_current();
		} END_TRY;
		L_current();
	} FINALLY {
		L_current();
	} END_TRY;
	expect("none A A X A A none");
	TRY {
		TRY {
			RAISE(A);
		} FINALLY {
			L_current();
		} END_TRY;
	} EXCEPT(A) {
		L_current();
	} END_TRY;
	expect("A A");
}

static void raise_in_a_handler(void)
{
	TRY {
		RAISE_MSG(A, "the first");
	} EXCEPT(A) {
		RAISE_MSG(X, "the second");
	} END_TRY;
}

static void raise_in_three_places(void)
{
	TRY {
		TRY {
			RAISE(A);
		} EXCEPT(A) {
			RAISE(AB);
		} FINALLY {
			L_current();
			RAISE(ABC);
		} END_TRY;
	} EXCEPT(A) {
		TRY {
			RAISE(X);
		} FINALLY {
			L("f");
		} END_TRY;
	} END_TRY;
}

TEST(what_is_replaced_becomes_the_cause)
{
	start_log();
	run(raise_in_a_handler);
	expect("X<A");
	run(raise_in_three_places);
	expect("AB<A f X<ABC<AB<A");
}

static void reraise(void)
{
	TRY {
		raise_in_a_handler();
	} EXCEPT(X) {
		errno = 0;
		RERAISE;
	} FINALLY {
		L("f");
	} END_TRY;
}

TEST(reraise_keeps_place_message_and_causes)
{
	volatile int line = 0;

	start_log();
	TRY {
		raise_in_a_handler();
	} ELSE {
		line = Except_line();
	} END_TRY;
	TRY {
		reraise();
	} EXCEPT(X) {
		L_current();
		ck_assert_str_eq(Except_message(), "the second");
		ck_assert_int_eq(Except_line(), line);
		ck_assert_str_eq(Except_function(), "raise_in_a_handler");
		ck_assert_ptr_eq(Except_cause(1), &A);
	} END_TRY;
	expect("f X<A");
}

static void reraise_inside_a_handler(void)
{
	TRY {
		RAISE_MSG(A, "still here");
	} EXCEPT(A) {
		TRY {
			RERAISE;
		} EXCEPT(A) {
			L_current();
			TRY {
				RAISE(X);
			} FINALLY {
				RERAISE;
			} END_TRY;
		} FINALLY {
			L("f");
		} END_TRY;
	} END_TRY;
}

TEST(reraise_works_in_a_statement_nested_in_a_handler)
{
	start_log();
	run(reraise_inside_a_handler);
	expect("A f X<A");
	TRY {
		RAISE_MSG(A, "still here");
	} EXCEPT(A) {
		TRY {
			RERAISE;
		} EXCEPT(A) {
			L("inner");
		} END_TRY;
		L(Except_message());
	} END_TRY;
	expect("inner still here");
}

static void lone_reraise(void)
{
	RERAISE;
}

TEST(reraise_outside_a_handler_is_a_checked_error)
{
	ck_raises_saying(Assert_Failed, "RERAISE: no exception is being handled", lone_reraise());
}

/* Each level keeps its message while the next one raises in its handler. */
static void nest_messages(int n, int last)
{
	char start[32];

	snprintf(start, sizeof start, "message %d ", n);
	TRY {
		RAISE_MSG(A, "message %d %04000d", n, n);
	} EXCEPT(A) {
		if (n < last)
			nest_messages(n + 1, last);
		ck_assert_msg(strncmp(Except_message(), start, strlen(start)) == 0, "%.40s at level %d",
			Except_message(), n);
		ck_assert_uint_gt(strlen(Except_message()), 4000);
	} END_TRY;
}

TEST(sixty_exceptions_live_at_once_each_with_its_message)
{
	start_log();
	nest_messages(1, 60);
	Except_set_backtrace(32);
	nest_messages(1, 60);
	Except_set_backtrace(0);
	expect("");
}

TEST(a_message_too_long_ends_in_dots)
{
	start_log();
	TRY {
		RAISE_MSG(A, "%09999d", 1);
	} EXCEPT(A) {
		size_t n = strlen(Except_message());

		ck_assert_uint_ge(n, 4000);
		ck_assert_uint_lt(n, 9999);
		ck_assert_str_eq(Except_message() + n - 4, "0...");
	} END_TRY;
	expect("");
}

/* shift bytes before the first character */
static void check_cut(const char *character, size_t shift)
{
	static char text[8000];
	size_t width = strlen(character), i;

	memset(text, 'x', sizeof text);
	for (i = shift; i + width < sizeof text; i += width)
		memcpy(text + i, character, width);
	text[i] = '\0';
	TRY {
		RAISE_MSG(A, "%s", text);
	} EXCEPT(A) {
		size_t n = strlen(Except_message());

		ck_assert_uint_ge(n, 4000);
		ck_assert_str_eq(Except_message() + n - 3, "...");
		ck_assert_uint_eq((n - 3 - shift) % strlen(character), 0);
	} END_TRY;
}

TEST(a_message_too_long_is_cut_at_a_character)
{
	size_t shift;

	for (shift = 0; shift < 4; shift++) {
		check_cut("\xc3\xa9", shift);
		check_cut("\xe2\x82\xac", shift);
		check_cut("\xf0\x9f\x98\x80", shift);
	}
}

TEST(the_arguments_of_a_message_may_come_from_the_exception_it_replaces)
{
	TRY {
		TRY {
			RAISE_MSG(A, "disk %d", 3);
		} ELSE {
			RAISE_MSG(X, "no page, as %s", Except_message());
		} END_TRY;
	} EXCEPT(X) {
		ck_assert_str_eq(Except_message(), "no page, as disk 3");
	} END_TRY;
}

static void report_into(char *text, size_t size)
{
	FILE *out = tmpfile();
	size_t n;

	ck_assert_ptr_nonnull(out);
	Except_report(out);
	rewind(out);
	n = fread(text, 1, size - 1, out);
	text[n] = '\0';
	fclose(out);
}

TEST(a_report_names_type_message_place_errno_and_causes)
{
	char text[1024], wanted[1024];

	TRY {
		TRY {
			errno = 0;
			Except_raise(&A, "disk.c", 12);
		} ELSE {
			errno = ENOSPC;
			RAISE_ERRNO(X, "page %d", 7);
		} END_TRY;
	} EXCEPT(X) {
		snprintf(wanted, sizeof wanted, "x failed: page 7: %s\n    raised in %s() at %s:%d\n"
			"    errno was %d: %s\n  caused by a failed\n    raised at disk.c:12\n", strerror(ENOSPC),
			__func__, __FILE__, Except_line(), ENOSPC, strerror(ENOSPC));
		report_into(text, sizeof text);
		ck_assert_str_eq(text, wanted);
	} END_TRY;
	TRY {
		RAISE(Nameless);
	} ELSE {
		report_into(text, sizeof text);
		ck_assert_ptr_nonnull(strstr(text, "(no reason given)"));
	} END_TRY;
}

static int spoil_errno(void)
{
	errno = EDOM;
	return 7;
}

TEST(a_raise_for_errno_takes_it_before_its_arguments)
{
	char text[1024];

	TRY {
		errno = ENOENT;
		RAISE_ERRNO(A, "file %d", spoil_errno());
	} EXCEPT(A) {
		ck_assert_str_eq(Except_message(), "file 7: No such file or directory");
		ck_assert_int_eq(Except_errno(), ENOENT);
		report_into(text, sizeof text);
		ck_assert_ptr_nonnull(strstr(text, "\n    errno was 2: No such file or directory\n"));
	} END_TRY;
	TRY {
		errno = 98765;
		RAISE_ERRNO(A, "%s", "unknown");
	} EXCEPT(A) {
		ck_assert_ptr_nonnull(strstr(Except_message(), "98765"));
	} END_TRY;
	TRY {
		errno = ENOENT;
		RAISE_ERRNO(A, "%09999d", 1); /* the end of the message makes way */
	} EXCEPT(A) {
		ck_assert_ptr_nonnull(strstr(Except_message(), "0...: No such file or directory"));
	} END_TRY;
	ck_raises_saying(Assert_Failed, "RAISE_ERRNO: the exception is NULL", RAISE_ERRNO(*(const Except_T *)NULL, "x"));
}

TEST(a_report_names_errno_only_if_the_raise_was_for_it)
{
	char text[1024];

	TRY {
		errno = ENOSPC;
		RAISE_MSG(A, "the title is empty");
	} EXCEPT(A) {
		ck_assert_int_eq(Except_errno(), ENOSPC);
		report_into(text, sizeof text);
		ck_assert_ptr_null(strstr(text, "errno was"));
	} END_TRY;
	TRY {
		Except_set_backtrace(-1);
	} EXCEPT(Assert_Failed) {
		report_into(text, sizeof text);
		ck_assert_ptr_null(strstr(text, "errno was"));
	} END_TRY;
}

TEST(a_report_leaves_errno_alone)
{
	TRY {
		RAISE(A);
	} EXCEPT(A) {
		FILE *out = fopen("/dev/full", "w");

		ck_assert_ptr_nonnull(out);
		setvbuf(out, NULL, _IONBF, 0);
		errno = EDOM;
		Except_report(out);
		ck_assert_int_eq(errno, EDOM);
		fclose(out);
	} END_TRY;
}

TEST(a_report_to_no_file_is_a_checked_error)
{
	int handled = 0;

	ck_raises_saying(Assert_Failed, "Except_report: the file is NULL", Except_report(NULL));
	PROTECT(handled);
	TRY {
		TRY {
			RAISE(A);
		} ELSE {
			Except_report(NULL);
		} END_TRY;
	} EXCEPT(Assert_Failed) {
		ck_assert_ptr_eq(Except_cause(1), &A);
		handled = 1;
	} END_TRY;
	ck_assert_int_eq(handled, 1);
}

TEST(the_function_form_raises_at_the_place_it_is_told)
{
	TRY {
		Except_raise(&A, "disk.c", 12);
	} EXCEPT(A) {
		ck_assert_str_eq(Except_file(), "disk.c");
		ck_assert_int_eq(Except_line(), 12);
		ck_assert_ptr_null(Except_function());
	} END_TRY;
}

static const Except_T *volatile nothing;

TEST(raising_null_is_a_checked_error)
{
	ck_raises_saying(Assert_Failed, "Except_raise: the exception is NULL", Except_raise(nothing, "disk.c", 12));
	ck_raises_saying(Assert_Failed, "RAISE: the exception is NULL", Except__raise(nothing, "disk.c", "f", 12));
	ck_raises_saying(Assert_Failed, "RAISE_MSG: the exception is NULL",
		Except__raise_msg(nothing, "disk.c", "f", 12, "%d", 1));
}

TEST(an_assertion_raises_with_its_text)
{
	volatile int n = 7;

	Except_assert(n == 7);
	ck_raises_saying(Assert_Failed, "n % 2 == 0", Except_assert(n % 2 == 0));
}

/* ---- uncaught ---- */

CASE("uncaught");

static void die_of_two(void)
{
	TRY {
		RAISE_MSG(AB, "the %dnd", 2);
	} EXCEPT(AB) {
		RAISE_MSG(X, "and more");
	} FINALLY {
		fputs("finally, ", stderr);
	} END_TRY;
}

TEST(an_uncaught_exception_reports_and_aborts)
{
	ck_aborts(die_of_two);
	ck_said("finally, uncaught exception: x failed: and more\n    raised in die_of_two() at " __FILE__ ":");
	ck_said("  caused by ab failed: the 2nd\n    raised in die_of_two() at " __FILE__ ":");
}

static void *die_in_thread(void *unused)
{
	(void)unused;
	die_of_two();
	return NULL;
}

static void start_a_thread_that_dies(void)
{
	pthread_t t;

	pthread_create(&t, NULL, die_in_thread, NULL);
	pthread_join(t, NULL);
}

TEST(so_does_one_in_another_thread)
{
	ck_aborts(start_a_thread_that_dies);
	ck_said("uncaught exception: x failed: and more");
	ck_said("caused by ab failed: the 2nd");
}

static void die_in_finally(void)
{
	TRY {
		RAISE(A);
	} FINALLY {
		RAISE(X);
	} END_TRY;
}

TEST(the_report_of_a_raise_in_finally_names_the_pending_one)
{
	ck_aborts(die_in_finally);
	ck_said("uncaught exception: x failed\n");
	ck_said("caused by a failed\n");
}

static void speak(int *p)
{
	fprintf(stderr, "[disposed of %d]", *p);
}

static void die_with_auto(void)
{
	AUTO(int, n, speak) = 3;

	RAISE_MSG(X, "n is %d", n);
}

static void hook(const Except_T *e, void *cl)
{
	fprintf(stderr, "[hook %s %s %s %s]", (const char *)cl, e->reason, Except_message(), Except_function());
	TRY {
		RAISE(A);
	} EXCEPT(A) {
		fprintf(stderr, "[inside %s]", Except_current()->reason);
	} END_TRY;
	fprintf(stderr, "[again %s]", Except_current()->reason);
}

static void die_with_a_hook(void)
{
	Except_set_uncaught(hook, "told");
	die_with_auto();
}

static volatile int *local_of_the_raiser;

static void see_the_stack(int signal)
{
	static const char intact[] = "[the raiser's local is intact]";

	(void)signal;
	if (*local_of_the_raiser == 42 && write(STDERR_FILENO, intact, sizeof intact - 1) < 0)
		_exit(2);
}

static void __attribute__((noinline)) die_deep(int depth)
{
	volatile int local = 42;

	if (depth > 0)
		die_deep(depth - 1);
	if (depth == 0) {
		local_of_the_raiser = &local;
		RAISE(X);
	}
}

static void die_with_a_handler_of_the_signal(void)
{
	signal(SIGABRT, see_the_stack);
	die_deep(10);
}

TEST(the_process_aborts_with_the_stack_intact)
{
	ck_aborts(die_with_a_handler_of_the_signal);
	ck_said("uncaught exception: x failed\n");
	ck_said("[the raiser's local is intact]");
}

TEST(the_hook_is_called_with_the_stack_intact)
{
	ck_aborts(die_with_a_hook);
	ck_said("[hook told x failed n is 3 die_with_auto][inside a failed][again x failed]"
		"uncaught exception: x failed: n is 3\n");
	ck_did_not_say("disposed");
}

static void bad_hook(const Except_T *e, void *cl)
{
	(void)e;
	(void)cl;
	fputs("[hook]", stderr);
	RAISE_MSG(AB, "by the hook");
}

static void die_with_a_bad_hook(void)
{
	Except_set_uncaught(bad_hook, NULL);
	RAISE_MSG(X, "at first");
}

TEST(a_hook_that_raises_is_not_called_again)
{
	ck_aborts(die_with_a_bad_hook);
	ck_said("[hook]uncaught exception: ab failed: by the hook\n");
	ck_said("caused by x failed: at first\n");
	ck_assert_ptr_null(strstr(strstr(said, "[hook]") + 1, "[hook]"));
}

static void die_without_the_hook(void)
{
	Except_set_uncaught(hook, "told");
	Except_set_uncaught(NULL, NULL);
	RAISE(X);
}

TEST(null_removes_the_hook)
{
	ck_aborts(die_without_the_hook);
	ck_did_not_say("[hook");
}

/* ---- backtraces ---- */

CASE("backtraces");

void raise_for_a_backtrace(void);
void __attribute__((noinline)) raise_for_a_backtrace(void)
{
	RAISE(X);
}

static void report_of_raise(char *text, size_t size)
{
	TRY {
		raise_for_a_backtrace();
	} ELSE {
		report_into(text, size);
	} END_TRY;
}

TEST(a_backtrace_starts_at_the_raise)
{
	char text[8192];
	Dl_info info;

	report_of_raise(text, sizeof text);
	ck_assert_ptr_null(strstr(text, "#0"));
	Except_set_backtrace(4);
	report_of_raise(text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "    #0 "));
	ck_assert_ptr_nonnull(strstr(text, "    #3 "));
	ck_assert_ptr_null(strstr(text, "    #4 "));
	if (dladdr((void *)(uintptr_t)raise_for_a_backtrace, &info) && info.dli_sname)
		ck_assert_ptr_nonnull(strstr(strstr(text, "#0 "), "raise_for_a_backtrace+"));
	Except_set_backtrace(32);
	report_of_raise(text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "    #0 "));
	Except_set_backtrace(0);
	report_of_raise(text, sizeof text);
	ck_assert_ptr_null(strstr(text, "#0"));
}

TEST(a_backtrace_has_0_to_32_frames)
{
	ck_raises_saying(Assert_Failed, "Except_set_backtrace: -1 frames", Except_set_backtrace(-1));
	ck_raises_saying(Assert_Failed, "Except_set_backtrace: 33 frames", Except_set_backtrace(33));
}

/* ---- every way out of every part ---- */

CASE("the statement");

enum { TRIED, HANDLED, ELSED, FINISHED, PENDED, NOWHERE };
enum { FALL, RAISED, RERAISED, RETURNED, PLAIN_RETURN, BROKE, CONTINUED, WENT };

#define LEAVE(here)                                                                         \
	if (part == here) {                                                                 \
		if (way == RAISED)                                                          \
			RAISE(ABC);                                                         \
		if (way == RERAISED)                                                        \
			RERAISE;                                                            \
		if (way == RETURNED)                                                        \
			RETURN((L("v"), 7));                                                \
		if (way == PLAIN_RETURN)                                                    \
			return 5;                                                           \
		if (way == BROKE)                                                           \
			break;                                                              \
		if (way == CONTINUED)                                                       \
			continue;                                                           \
		if (way == WENT)                                                            \
			goto out;                                                           \
	}
#define STATEMENT                                                                           \
	TRY {                                                                               \
		L("t");                                                                     \
		LEAVE(TRIED)                                                                \
		if (part == HANDLED || part == PENDED)                                      \
			raise_int(&A);                                                      \
		if (part == ELSED)                                                          \
			raise_int(&X);                                                      \
	} EXCEPT(AB) {                                                                      \
		L("s");                                                                     \
	} EXCEPT(A) {                                                                       \
		L("h");                                                                     \
		LEAVE(HANDLED)                                                              \
		if (part == PENDED)                                                         \
			RAISE(Plain);                                                       \
	} ELSE {                                                                            \
		L("e");                                                                     \
		LEAVE(ELSED)                                                                \
	} FINALLY {                                                                         \
		L("f");                                                                     \
		LEAVE(FINISHED)                                                             \
		LEAVE(PENDED)                                                               \
	} END_TRY;

static int walk(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++) {
		L("[");
		STATEMENT
		L("]");
	}
	return 0;
out:
	return 2;
}

static int walk_nested(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++) {
		L("[");
		TRY {
			AUTO(int, x, note) = 1;
			(void)x;
			STATEMENT
			L("]");
		} FINALLY {
			L("F");
		} END_TRY;
	}
	return 0;
out:
	return 2;
}

static int walk_in_handler(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++)
		TRY {
			RAISE(Plain);
		} ELSE {
			AUTO(int, x, note) = 1;
			(void)x;
			STATEMENT
			L("]");
		} FINALLY {
			L("F");
		} END_TRY;
	return 0;
out:
	return 2;
}

static int walk_in_finally(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++)
		TRY {
			L("t");
		} FINALLY {
			DEFER(word, "1");
			STATEMENT
			L("]");
		} END_TRY;
	return 0;
out:
	return 2;
}

static int walk_in_switch(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++) {
		switch (part) {
		default:
			STATEMENT
			L("]");
		}
		L(";");
	}
	return 0;
out:
	return 2;
}

static const struct {
	int part, way;
	const char *flat, *nested, *in_handler, *in_finally, *in_switch;
} walks[] = {
	{ TRIED, FALL, "[ t f ] [ t f ] 0", "[ t f ] 1 F [ t f ] 1 F 0", "t f ] 1 F t f ] 1 F 0",
		"t t f ] 1 t t f ] 1 0", "t f ] ; t f ] ; 0" },
	{ TRIED, RAISED, "[ t s f ] [ t s f ] 0", "[ t s f ] 1 F [ t s f ] 1 F 0",
		"t s f ] 1 F t s f ] 1 F 0", "t t s f ] 1 t t s f ] 1 0", "t s f ] ; t s f ] ; 0" },
	{ TRIED, RERAISED, "[ t e f ] [ t e f ] 0", "[ t e f ] 1 F [ t e f ] 1 F 0",
		"t e f ] 1 F t e f ] 1 F 0", "t t e f ] 1 t t e f ] 1 0", "t e f ] ; t e f ] ; 0" },
	{ TRIED, RETURNED, "[ t v f 7", "[ t v f 1 F 7", "t v f 1 F 7", "t t v f 1 7", "t v f 7" },
	{ TRIED, PLAIN_RETURN, "[ t 5", "[ t 1 5", "t 1 5", "t t 1 5", "t 5" },
	{ TRIED, BROKE, "[ t 0", "[ t 1 0", "t 1 0", "t t 1 0", "t ; t ; 0" },
	{ TRIED, CONTINUED, "[ t [ t 0", "[ t 1 [ t 1 0", "t 1 t 1 0", "t t 1 t t 1 0", "t t 0" },
	{ TRIED, WENT, "[ t 2", "[ t 1 2", "t 1 2", "t t 1 2", "t 2" },
	{ HANDLED, FALL, "[ t h f ] [ t h f ] 0", "[ t h f ] 1 F [ t h f ] 1 F 0",
		"t h f ] 1 F t h f ] 1 F 0", "t t h f ] 1 t t h f ] 1 0", "t h f ] ; t h f ] ; 0" },
	{ HANDLED, RAISED, "[ t h f ABC<A", "[ t h f 1 F ABC<A", "t h f 1 F ABC<A<Plain", "t t h f 1 ABC<A",
		"t h f ABC<A" },
	{ HANDLED, RERAISED, "[ t h f A", "[ t h f 1 F A", "t h f 1 F A<Plain", "t t h f 1 A", "t h f A" },
	{ HANDLED, RETURNED, "[ t h v f 7", "[ t h v f 1 F 7", "t h v f 1 F 7", "t t h v f 1 7",
		"t h v f 7" },
	{ HANDLED, PLAIN_RETURN, "[ t h 5", "[ t h 1 5", "t h 1 5", "t t h 1 5", "t h 5" },
	{ HANDLED, BROKE, "[ t h 0", "[ t h 1 0", "t h 1 0", "t t h 1 0", "t h ; t h ; 0" },
	{ HANDLED, CONTINUED, "[ t h [ t h 0", "[ t h 1 [ t h 1 0", "t h 1 t h 1 0", "t t h 1 t t h 1 0",
		"t h t h 0" },
	{ HANDLED, WENT, "[ t h 2", "[ t h 1 2", "t h 1 2", "t t h 1 2", "t h 2" },
	{ ELSED, FALL, "[ t e f ] [ t e f ] 0", "[ t e f ] 1 F [ t e f ] 1 F 0",
		"t e f ] 1 F t e f ] 1 F 0", "t t e f ] 1 t t e f ] 1 0", "t e f ] ; t e f ] ; 0" },
	{ ELSED, RAISED, "[ t e f ABC<X", "[ t e f 1 F ABC<X", "t e f 1 F ABC<X<Plain", "t t e f 1 ABC<X",
		"t e f ABC<X" },
	{ ELSED, RERAISED, "[ t e f X", "[ t e f 1 F X", "t e f 1 F X<Plain", "t t e f 1 X", "t e f X" },
	{ ELSED, RETURNED, "[ t e v f 7", "[ t e v f 1 F 7", "t e v f 1 F 7", "t t e v f 1 7",
		"t e v f 7" },
	{ ELSED, PLAIN_RETURN, "[ t e 5", "[ t e 1 5", "t e 1 5", "t t e 1 5", "t e 5" },
	{ ELSED, BROKE, "[ t e 0", "[ t e 1 0", "t e 1 0", "t t e 1 0", "t e ; t e ; 0" },
	{ ELSED, CONTINUED, "[ t e [ t e 0", "[ t e 1 [ t e 1 0", "t e 1 t e 1 0", "t t e 1 t t e 1 0",
		"t e t e 0" },
	{ ELSED, WENT, "[ t e 2", "[ t e 1 2", "t e 1 2", "t t e 1 2", "t e 2" },
	{ FINISHED, FALL, "[ t f ] [ t f ] 0", "[ t f ] 1 F [ t f ] 1 F 0", "t f ] 1 F t f ] 1 F 0",
		"t t f ] 1 t t f ] 1 0", "t f ] ; t f ] ; 0" },
	{ FINISHED, RAISED, "[ t f ABC", "[ t f 1 F ABC", "t f 1 F ABC<Plain", "t t f 1 ABC", "t f ABC" },
	{ FINISHED, RERAISED, "[ t f Assert", "[ t f 1 F Assert", "t f 1 F Plain", "t t f 1 Assert",
		"t f Assert" },
	{ FINISHED, RETURNED, "[ t f v 7", "[ t f v 1 F 7", "t f v 1 F 7", "t t f v 1 7", "t f v 7" },
	{ FINISHED, PLAIN_RETURN, "[ t f 5", "[ t f 1 5", "t f 1 5", "t t f 1 5", "t f 5" },
	{ FINISHED, BROKE, "[ t f 0", "[ t f 1 0", "t f 1 0", "t t f 1 0", "t f ; t f ; 0" },
	{ FINISHED, CONTINUED, "[ t f [ t f 0", "[ t f 1 [ t f 1 0", "t f 1 t f 1 0", "t t f 1 t t f 1 0",
		"t f t f 0" },
	{ FINISHED, WENT, "[ t f 2", "[ t f 1 2", "t f 1 2", "t t f 1 2", "t f 2" },
	{ PENDED, FALL, "[ t h f Plain<A", "[ t h f 1 F Plain<A", "t h f 1 F Plain<A<Plain",
		"t t h f 1 Plain<A", "t h f Plain<A" },
	{ PENDED, RAISED, "[ t h f ABC<Plain<A", "[ t h f 1 F ABC<Plain<A", "t h f 1 F ABC<Plain<A<Plain",
		"t t h f 1 ABC<Plain<A", "t h f ABC<Plain<A" },
	{ PENDED, RERAISED, "[ t h f Plain<A", "[ t h f 1 F Plain<A", "t h f 1 F Plain<A<Plain",
		"t t h f 1 Plain<A", "t h f Plain<A" },
	{ PENDED, RETURNED, "[ t h f v 7", "[ t h f v 1 F 7", "t h f v 1 F 7", "t t h f v 1 7",
		"t h f v 7" },
	{ PENDED, PLAIN_RETURN, "[ t h f 5", "[ t h f 1 5", "t h f 1 5", "t t h f 1 5", "t h f 5" },
	{ PENDED, BROKE, "[ t h f 0", "[ t h f 1 0", "t h f 1 0", "t t h f 1 0", "t h f ; t h f ; 0" },
	{ PENDED, CONTINUED, "[ t h f [ t h f 0", "[ t h f 1 [ t h f 1 0", "t h f 1 t h f 1 0",
		"t t h f 1 t t h f 1 0", "t h f t h f 0" },
	{ PENDED, WENT, "[ t h f 2", "[ t h f 1 2", "t h f 1 2", "t t h f 1 2", "t h f 2" },
	{ NOWHERE, FALL, "[ t f ] [ t f ] 0", "[ t f ] 1 F [ t f ] 1 F 0", "t f ] 1 F t f ] 1 F 0",
		"t t f ] 1 t t f ] 1 0", "t f ] ; t f ] ; 0" },
};

static void check_walk(int (*walker)(int, int), int i, const char *wanted)
{
	volatile int result = -1;

	TRY {
		result = walker(walks[i].part, walks[i].way);
		L_number(result);
	} ELSE {
		L_current();
	} END_TRY;
	expect(wanted);
}

TEST(every_way_out_of_every_part, .to = (int)(sizeof walks / sizeof walks[0]))
{
	start_log();
	check_walk(walk, _i, walks[_i].flat);
	check_walk(walk_nested, _i, walks[_i].nested);
	check_walk(walk_in_handler, _i, walks[_i].in_handler);
	check_walk(walk_in_finally, _i, walks[_i].in_finally);
	check_walk(walk_in_switch, _i, walks[_i].in_switch);
}

/* ---- the statement as C ---- */

static int chosen(int x)
{
	if (x == 1)
		TRY {
			L("one");
		} END_TRY;
	else if (x == 2)
		EXCEPT_TRY {
			EXCEPT_RAISE(A);
		} EXCEPT_EXCEPT(A) {
			EXCEPT_RETURN(2);
		} EXCEPT_END_TRY;
	else
		TRY {
			RETURN(3);
		} END_TRY;
	return 1;
}

TEST(it_is_one_statement_of_c)
{
	start_log();
	ck_assert_int_eq(chosen(1), 1);
	ck_assert_int_eq(chosen(2), 2);
	ck_assert_int_eq(chosen(3), 3);
	expect("one");
}

static int __attribute__((noinline)) protected_sum(void)
{
	int sum = 1;

	PROTECT(sum);
	TRY {
		sum = 2;
		raise_int(&A);
	} EXCEPT(A) {
		sum += 40;
	} END_TRY;
	return sum;
}

TEST(a_protected_variable_is_right_after_a_raise)
{
	ck_assert_int_eq(protected_sum(), 42);
}

static int go_down(int depth)
{
	volatile int below = 0;

	TRY {
		if (depth == 0)
			RAISE_MSG(A, "from %d", depth);
		below = go_down(depth - 1);
	} FINALLY {
		if (depth % 1000 == 0)
			L_number(depth);
	} END_TRY;
	return below;
}

TEST(statements_nest_10000_deep)
{
	start_log();
	TRY {
		go_down(10000);
	} EXCEPT(A) {
		L(Except_message());
	} END_TRY;
	expect("0 1000 2000 3000 4000 5000 6000 7000 8000 9000 10000 from 0");
}

static void raise_in_handlers(int depth)
{
	if (depth < 0)
		return;
	TRY {
		RAISE(A);
	} EXCEPT(A) {
		raise_in_handlers(depth - 1);
		RAISE(X);
	} END_TRY;
}

TEST(handlers_nest_5000_deep_and_every_cause_is_kept)
{
	start_log();
	TRY {
		raise_in_handlers(5000 - 1);
	} EXCEPT(X) {
		ck_assert_ptr_eq(Except_cause(1), &A);
		ck_assert_ptr_eq(Except_cause(5000), &A);
		ck_assert_ptr_null(Except_cause(5001));
		L("caught");
	} END_TRY;
	expect("caught");
}

static int return_or_leave(int i)
{
	for (;;) {
		TRY {
			if (i % 3 == 0)
				RAISE_MSG(A, "%d", i);
			RETURN(i);
		} EXCEPT(A) {
			if (i % 4096 == 0)
				break;
			RAISE(X);
		} FINALLY {
			if (i % 5 == 0)
				break;
			if (i % 7 == 0)
				RETURN(-i);
		} END_TRY;
	}
	return 0;
}

TEST(a_hundred_thousand_ways_out_leave_nothing_behind)
{
	volatile int i, sum = 0;

	start_log();
	for (i = 0; i < 100000; i++)
		TRY {
			sum += return_or_leave(i) & 1;
		} EXCEPT(X) {
			sum++;
		} END_TRY;
	ck_assert_int_gt(sum, 0);
	expect("");
}

/* ---- RETURN ---- */

CASE("RETURN");

typedef struct Large {
	long a[50];
} Large;
typedef union Either {
	int i;
	double d;
} Either;
typedef struct Bits {
	unsigned u : 3;
	signed s : 5;
} Bits;
typedef int Function(int);
static const int table[] = { 1, 2, 3 };
static int evaluated;

static int twice(int x)
{
	evaluated++;
	return 2 * x;
}

static void __attribute__((noinline)) overwrite(void *p, size_t n)
{
	memset(p, 0xEE, n);
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* FINALLY needs much stack, which a compiler may lay over what the RETURN left behind */
#define RETURNS(type, name, declaration, ...)                                               \
	static type name(void)                                                              \
	{                                                                                   \
		type otherwise;                                                             \
		TRY {                                                                       \
			declaration;                                                        \
			RETURN(__VA_ARGS__);                                                \
		} FINALLY {                                                                 \
			char junk[600];                                                     \
			overwrite(junk, sizeof junk);                                       \
			L(#name);                                                           \
		} END_TRY;                                                                  \
		memset(&otherwise, 1, sizeof otherwise);                                    \
		return otherwise;                                                           \
	}

RETURNS(int, an_int, int x = 5, x)
RETURNS(int, a_call, (void)0, twice(21))
RETURNS(int, a_comma, (void)0, (twice(1), 9))
RETURNS(int, a_parenthesis, (void)0, (twice)(2) + (3))
RETURNS(int, a_choice, int x = 1, x ? 3 : 4)
RETURNS(int, a_const, const int x = 6, x)
RETURNS(int, a_volatile, const volatile int x = 7, x)
RETURNS(int, an_atomic, _Atomic int x = 8, x)
RETURNS(short, a_narrowed_int, int x = 9, x)
RETURNS(char, a_char, (void)0, 'c')
RETURNS(_Bool, a_bool, int x = 3, x > 2)
RETURNS(unsigned, a_bit_field, Bits b = { .u = 5 }, b.u)
RETURNS(int, a_signed_bit_field, Bits b = { .s = -3 }, b.s)
RETURNS(float, a_float, (void)0, 1.5f)
RETURNS(long double, a_long_double, long double x = 1.25L, 2 * x)
RETURNS(double _Complex, a_complex, double _Complex z = 1.0 + 2.0 * I, z)
#if defined __SIZEOF_INT128__
__extension__ typedef __int128 Wide;
enum { HIGH = 70 };
#else
typedef long long Wide;
enum { HIGH = 40 };
#endif
RETURNS(Wide, a_wide_int, Wide x = 7, x << HIGH)
RETURNS(Large, a_struct, Large l = { { 0 } }; l.a[49] = 49, l)
RETURNS(Large, a_literal, (void)0, (Large){ { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
	22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40 } })
RETURNS(Either, a_union, Either e = { .d = 2.5 }, e)
RETURNS(const char *, a_string, (void)0, "string")
RETURNS(char *, null, (void)0, NULL)
RETURNS(char *, zero, (void)0, 0)
RETURNS(const int *, an_array, (void)0, table)
RETURNS(const int *, a_sum, const int *p = table, p + 1)
RETURNS(Function *, a_function, (void)0, twice)

TEST(return_gives_a_value_of_any_type)
{
	start_log();
	evaluated = 0;
	ck_assert_int_eq(an_int(), 5);
	ck_assert_int_eq(a_call(), 42);
	ck_assert_int_eq(a_comma(), 9);
	ck_assert_int_eq(a_parenthesis(), 7);
	ck_assert_int_eq(evaluated, 3);
	ck_assert_int_eq(a_choice(), 3);
	ck_assert_int_eq(a_const(), 6);
	ck_assert_int_eq(a_volatile(), 7);
	ck_assert_int_eq(an_atomic(), 8);
	ck_assert_int_eq(a_narrowed_int(), 9);
	ck_assert_int_eq(a_char(), 'c');
	ck_assert(a_bool());
	ck_assert_uint_eq(a_bit_field(), 5);
	ck_assert_int_eq(a_signed_bit_field(), -3);
	ck_assert(a_float() == 1.5f);
	ck_assert(a_long_double() == 2.5L);
	ck_assert(creal(a_complex()) == 1.0 && cimag(a_complex()) == 2.0);
	ck_assert(a_wide_int() == (Wide)7 << HIGH);
	ck_assert_int_eq(a_struct().a[49], 49);
	ck_assert_int_eq(a_literal().a[39], 40);
	ck_assert(a_union().d == 2.5);
	ck_assert_str_eq(a_string(), "string");
	ck_assert_ptr_null(null());
	ck_assert_ptr_null(zero());
	ck_assert_ptr_eq(an_array(), table);
	ck_assert_ptr_eq(a_sum(), table + 1);
	ck_assert(a_function() == twice);
	expect("an_int a_call a_comma a_parenthesis a_choice a_const a_volatile an_atomic a_narrowed_int a_char a_bool "
		"a_bit_field a_signed_bit_field a_float a_long_double a_complex a_complex a_wide_int a_struct a_literal "
		"a_union a_string null zero an_array a_sum a_function");
}

static void return_nothing(int early)
{
	TRY {
		if (early)
			RETURN();
		L("late");
	} FINALLY {
		L("f");
	} END_TRY;
	L("end");
}

static int return_outside(int x)
{
	RETURN(x);
}

TEST(return_without_a_value_and_outside_a_statement)
{
	start_log();
	return_nothing(1);
	return_nothing(0);
	ck_assert_int_eq(return_outside(3), 3);
	expect("f late f end");
}

static Large return_through_scopes(void)
{
	Large otherwise = { { 0 } };
	AUTO(int, a, note) = 1;

	TRY {
		AUTO(int, b, note) = 2;
		DEFER(word, "3");
		TRY {
			Large l = { { 4 } };
			AUTO(int, c, note) = 4;
			TRY {
				AUTO(int, d, note) = 5;
				overwrite(&l.a[1], sizeof l.a - sizeof l.a[0]);
				RETURN((L_number(a + b + c + d), l));
			} END_TRY;
		} FINALLY {
			Large x, y;
			overwrite(&x, sizeof x);
			overwrite(&y, sizeof y);
			L("f");
		} END_TRY;
	} FINALLY {
		Large x, y, z;
		char w[500];
		overwrite(&x, sizeof x);
		overwrite(&y, sizeof y);
		overwrite(&z, sizeof z);
		overwrite(w, sizeof w);
		L("F");
	} END_TRY;
	return otherwise;
}

TEST(return_passes_every_scope_in_order)
{
	start_log();
	ck_assert_int_eq(return_through_scopes().a[0], 4);
	expect("12 5 4 f 3 2 F 1");
}

#if !SANITIZED /* ThreadSanitizer cannot follow the way back to a lower part of the stack */
static int from_an_array(size_t n)
{
	TRY {
		char array[n];
		memset(array, 7, n);
		RETURN(array[n - 1]);
	} FINALLY {
		char junk[1000];
		overwrite(junk, sizeof junk);
	} END_TRY;
	return 0;
}

static int from_alloca(size_t n)
{
	TRY {
		char *array = __builtin_alloca(n);
		memset(array, 7, n);
		RETURN(array[n - 1]);
	} FINALLY {
		char junk[1000];
		overwrite(junk, sizeof junk);
	} END_TRY;
	return 0;
}

TEST(return_leaves_a_block_with_a_variable_length_array)
{
	ck_assert_int_eq(from_an_array(10), 7);
	ck_assert_int_eq(from_an_array(1000000), 7);
	ck_assert_int_eq(from_alloca(10), 7);
	ck_assert_int_eq(from_alloca(1000000), 7);
}
#endif

#if !defined __clang__
static int nested_functions(int x)
{
	TRY {
		int inner(int y)
		{
			TRY {
				RETURN(y + 1);
			} FINALLY {
				L("inner");
			} END_TRY;
			return 0;
		}
		int plain(int y)
		{
			RETURN(2 * y);
		}
		RETURN(inner(x) + plain(x));
	} FINALLY {
		L("outer");
	} END_TRY;
	return 0;
}

TEST(return_of_a_nested_function_is_its_own)
{
	start_log();
	ck_assert_int_eq(nested_functions(10), 31);
	expect("inner outer");
}
#endif

static int recursive(int n)
{
	TRY {
		if (n == 0)
			RETURN(0);
		RETURN(1 + recursive(n - 1));
	} FINALLY {
		L_number(n);
	} END_TRY;
	return -1;
}

TEST(return_of_a_recursive_function_is_its_own)
{
	start_log();
	ck_assert_int_eq(recursive(4), 4);
	expect("0 1 2 3 4");
}

static void skip_a_finally(void)
{
	walk(TRIED, PLAIN_RETURN);
	walk(HANDLED, WENT);
}

static void skip_no_finally(void)
{
	walk(TRIED, RETURNED);
	walk(FINISHED, PLAIN_RETURN);
	chosen(1);
}

TEST(a_plain_return_past_a_finally_is_reported_in_a_debug_build)
{
	int debug = Except__first != Except__TRYING;

	ck_assert_int_eq(child_says(skip_a_finally), 0);
	if (debug) {
		ck_said("libcore: " __FILE__ ":");
		ck_said(": this FINALLY was skipped by return, break, continue, goto, a C++ exception or the end of the "
			"thread; RETURN runs it\n");
	} else
		ck_assert_str_eq(said, "");
	ck_assert_int_eq(child_says(skip_no_finally), 0);
	ck_assert_str_eq(said, "");
}

/* ---- AUTO and DEFER ---- */

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

TEST(what_was_not_initialized_is_not_disposed_of)
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

TEST(a_disposal_that_raises_replaces_what_passes_and_the_others_run, .unless = !DISPOSALS_MAY_RAISE)
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

static void run_thread(void *(*f)(void *), void *cl)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, f, cl), 0);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
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

/* ---- without memory ---- */

CASE("without memory");

#if !SANITIZED && defined __GLIBC__
/* glibc's own, under the names that the program interposes. Under Valgrind these are never called. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
static __thread volatile int counting; /* by thread: Check allocates in the one that waits */
static volatile int requests;

void *malloc(size_t n)
{
	requests += counting;
	return counting ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
	requests += counting;
	return counting ? NULL : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
	requests += counting;
	return counting ? NULL : __libc_realloc(p, n);
}

static void *use_everything(void *unused)
{
	volatile int i;

	counting = 1;
	for (i = 0; i < 50; i++)
		TRY {
			AUTO(int, n, note) = i;
			(void)n;
			an_int();
			raise_in_three_places();
		} EXCEPT(X) {
			TRY {
				RAISE_MSG(AB, "%s, %d", Except_message(), i);
			} ELSE {
				L_current();
			} END_TRY;
		} END_TRY;
	counting = 0;
	return unused;
}

TEST(nothing_is_allocated_on_the_heap)
{
	requests = 0;
	use_everything(NULL);
	run_thread(use_everything, NULL); /* its first raise of all, too */
	ck_assert_int_eq(requests, 0);
}

enum { UNLIMITED = 255 }; /* qemu-user keeps no RLIMIT_AS */
#define WITHOUT(condition) ((condition) ? (void)0 : _exit(__LINE__ % 200 + 1))

static void *raise_without_memory(void *unused)
{
	volatile int line = 0;

	setrlimit(RLIMIT_AS, &(struct rlimit){ 1, 1 });
	if (mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		_exit(UNLIMITED);
	TRY {
		TRY {
			line = __LINE__ + 1;
			RAISE_MSG(AB, "not to be had %d", 1);
		} EXCEPT(A) {
			WITHOUT(Except_current() == &AB && Except_line() == line);
			WITHOUT(strcmp(Except_message(), "ab failed") == 0);
			WITHOUT(Except_errno() == 0 && !Except_cause(1) && !Except_function());
			TRY {
				RERAISE;
			} EXCEPT(AB) {
				RAISE(X);
			} FINALLY {
				WITHOUT(Except_current() == &X);
			} END_TRY;
		} END_TRY;
	} EXCEPT(X) {
		WITHOUT(an_int() == 5 && a_struct().a[49] == 49);
		Except_report(stderr);
	} END_TRY;
	WITHOUT(!Except_current());
	_exit(0);
	return unused;
}

static void run_without_memory(void)
{
	pthread_t t;

	fputs("start\n", stderr);
	pthread_create(&t, NULL, raise_without_memory, NULL);
	pthread_join(t, NULL);
}

TEST(without_memory_for_a_record_only_the_details_are_missing)
{
	int status;

#if HAVE_VALGRIND_MEMCHECK_H
	if (RUNNING_ON_VALGRIND)
		return; /* it would be without memory, too */
#endif
	status = child_says(run_without_memory);
	if (WIFEXITED(status) && WEXITSTATUS(status) == UNLIMITED)
		return;
	ck_assert_int_eq(status, 0);
	ck_said("x failed\n    raised at " __FILE__ ":");
}
#endif
