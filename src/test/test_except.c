/* SPDX-License-Identifier: MIT */
/* Except, in the order of its header: exceptions, what a handler can ask, uncaught ones,
 * backtraces. */
#include "config.h"

#include "test_except.h"

static void ck_aborts(void (*f)(void))
{
	int status = child_says(f);

	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %#x; it said: %s",
		status, said);
}

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

TEST(outside_a_handler_there_is_no_exception_to_ask_about)
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

TEST(a_replaced_exception_becomes_the_cause)
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
			"    errno was %d: %s\n  caused by a failed\n    raised at disk.c:12\n",
			strerror(ENOSPC), __func__, __FILE__, Except_line(), ENOSPC, strerror(ENOSPC));
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
	ck_raises_saying(Assert_Failed, "RAISE_ERRNO: the exception is NULL",
		RAISE_ERRNO(*(const Except_T *)NULL, "x"));
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

TEST(the_function_form_raises_at_the_given_place)
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
	ck_raises_saying(Assert_Failed, "Except_raise: the exception is NULL",
		Except_raise(nothing, "disk.c", 12));
	ck_raises_saying(Assert_Failed, "RAISE: the exception is NULL",
		Except__raise(nothing, "disk.c", "f", 12));
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
	ck_said("finally, uncaught exception: x failed: and more\n"
		"    raised in die_of_two() at " __FILE__ ":");
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

TEST(an_uncaught_exception_of_another_thread_reports_and_aborts)
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
	fprintf(stderr, "[hook %s %s %s %s]", (const char *)cl, e->reason, Except_message(),
		Except_function());
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
