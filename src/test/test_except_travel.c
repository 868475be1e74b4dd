/* SPDX-License-Identifier: MIT */
/* Exceptions that travel: captures, rethrowing, calls for foreign code, and what is known of
 * causes. */
#include "config.h"

#include "test_except.h"

EXCEPT_DEFINE(Disk_Failed, NULL, "disk failed");
EXCEPT_DEFINE(Disk_Full, &Disk_Failed, "disk full");
EXCEPT_DEFINE(Page_Failed, NULL, "page failed");

static void raise_chain(void)
{
	TRY {
		Except_raise(&Disk_Full, "disk.c", 12);
	} ELSE {
		TRY {
			RAISE_MSG(Disk_Failed, "block %d", 7);
		} FINALLY {
			errno = ENOSPC;
			RAISE_ERRNO(Page_Failed, "page %d", 3);
		} END_TRY;
	} END_TRY;
}

SUITE("Except, travelling");
CASE("captures");

TEST(a_cause_has_its_message_and_its_place)
{
	int handled = 0;

	PROTECT(handled);
	TRY {
		raise_chain();
	} EXCEPT(Page_Failed) {
		ck_assert_str_eq(Except_cause_message(0), Except_message());
		ck_assert_str_eq(Except_cause_file(0), __FILE__);
		ck_assert_int_eq(Except_cause_line(0), Except_line());
		ck_assert_ptr_eq(Except_cause(1), &Disk_Failed);
		ck_assert_str_eq(Except_cause_message(1), "block 7");
		ck_assert_str_eq(Except_cause_file(1), __FILE__);
		ck_assert_int_eq(Except_cause_line(1), Except_line() - 3);
		ck_assert_ptr_eq(Except_cause(2), &Disk_Full);
		ck_assert_str_eq(Except_cause_message(2), "disk full");
		ck_assert_str_eq(Except_cause_file(2), "disk.c");
		ck_assert_int_eq(Except_cause_line(2), 12);
		ck_assert_ptr_null(Except_cause_message(3));
		ck_assert_ptr_null(Except_cause_file(3));
		ck_assert_int_eq(Except_cause_line(3), 0);
		ck_assert_ptr_null(Except_cause_message(-1));
		handled = 1;
	} END_TRY;
	ck_assert(handled);
	ck_assert_ptr_null(Except_cause_message(0));
	ck_assert_ptr_null(Except_cause_message(1));
	ck_assert_ptr_null(Except_cause_file(1));
	ck_assert_int_eq(Except_cause_line(1), 0);
}

static void capture_chain(Except_Capture *c)
{
	memset(c, 0xFF, sizeof *c);
	TRY {
		raise_chain();
	} EXCEPT(Page_Failed) {
		Except_capture(c);
	} END_TRY;
}

TEST(a_capture_has_all_that_a_handler_can_ask)
{
	Except_Capture c;

	capture_chain(&c);
	ck_assert_ptr_eq(c.exception, &Page_Failed);
	ck_assert_str_eq(c.message, "page 3: No space left on device");
	ck_assert_str_eq(c.file, __FILE__);
	ck_assert_str_eq(c.function, "raise_chain");
	ck_assert_int_gt(c.line, 0);
	ck_assert_int_eq(c.error, ENOSPC);
	ck_assert_ptr_eq(c.causes[0], &Disk_Failed);
	ck_assert_ptr_eq(c.causes[1], &Disk_Full);
	ck_assert_ptr_null(c.causes[2]);
	ck_assert_ptr_null(c.causes[7]);
}

static void *rethrow_in_thread(void *cl)
{
	Except_Capture copy = *(const Except_Capture *)cl;
	char text[1024], wanted[1024];

	snprintf(wanted, sizeof wanted,
		"page failed: page 3: No space left on device\n    raised in raise_chain() at %s:%d\n"
		"    errno was %d: No space left on device\n  caused by disk failed\n"
		"  caused by disk full\n",
		__FILE__, copy.line, ENOSPC);
	TRY {
		AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
		Except_Capture *there = Arena_memdup(arena, &copy, sizeof copy);

		errno = EDOM;
		Except_rethrow(there); /* and it is gone when the handler runs */
	} EXCEPT(Page_Failed) {
		ck_assert_str_eq(Except_message(), "page 3: No space left on device");
		ck_assert_str_eq(Except_file(), __FILE__);
		ck_assert_str_eq(Except_function(), "raise_chain");
		ck_assert_int_eq(Except_line(), copy.line);
		ck_assert_int_eq(Except_errno(), ENOSPC);
		ck_assert_ptr_eq(Except_cause(1), &Disk_Failed);
		ck_assert_str_eq(Except_cause_message(1), "disk failed");
		ck_assert_ptr_null(Except_cause_file(1));
		ck_assert_int_eq(Except_cause_line(1), 0);
		ck_assert_ptr_eq(Except_cause(2), &Disk_Full);
		ck_assert_ptr_null(Except_cause(3));
		report_into(text, sizeof text);
		ck_assert_str_eq(text, wanted);
		return cl;
	} END_TRY;
	return NULL;
}

TEST(a_capture_is_rethrown_in_another_thread_as_it_was)
{
	Except_Capture c;
	pthread_t t;
	void *result = NULL;

	capture_chain(&c);
	ck_assert_int_eq(pthread_create(&t, NULL, rethrow_in_thread, &c), 0);
	pthread_join(t, &result);
	ck_assert_ptr_nonnull(result);
	ck_assert_ptr_nonnull(rethrow_in_thread(&c)); /* again, and here */
}

TEST(a_raise_without_a_message_is_rethrown_without_one)
{
	Except_Capture c;
	char text[256];

	TRY {
		Except_raise(&Disk_Full, "disk.c", 12);
	} ELSE {
		Except_capture(&c);
	} END_TRY;
	ck_assert_str_eq(c.message, "disk full");
	ck_assert_str_eq(c.function, "");
	TRY {
		Except_rethrow(&c);
	} EXCEPT(Disk_Failed) {
		ck_assert_str_eq(Except_message(), "disk full");
		report_into(text, sizeof text);
		ck_assert_str_eq(text, "disk full\n    raised at disk.c:12\n");
	} END_TRY;
}

TEST(the_handled_exception_becomes_the_cause_of_a_rethrown_one)
{
	Except_Capture c;

	capture_chain(&c);
	TRY {
		TRY {
			RAISE_MSG(Disk_Full, "now");
		} ELSE {
			Except_rethrow(&c);
		} END_TRY;
	} EXCEPT(Page_Failed) {
		ck_assert_ptr_eq(Except_cause(2), &Disk_Full);
		ck_assert_str_eq(Except_cause_message(3), "now");
		ck_assert_ptr_null(Except_cause(4));
	} END_TRY;
}

static void nest_raises(int depth);
static void (*volatile nest)(int) = nest_raises; /* or gcc sees an endless recursion */

static void nest_raises(int depth)
{
	TRY {
		if (depth == 0)
			RAISE(Disk_Full);
		nest(depth - 1);
	} ELSE {
		RAISE(Page_Failed);
	} END_TRY;
}

TEST(the_nearest_eight_causes_are_captured)
{
	Except_Capture c;
	int i;

	TRY {
		nest_raises(20);
	} ELSE {
		Except_capture(&c);
	} END_TRY;
	for (i = 0; i < 8; i++)
		ck_assert_ptr_eq(c.causes[i], &Page_Failed);
	TRY {
		Except_rethrow(&c);
	} ELSE {
		ck_assert_ptr_eq(Except_cause(8), &Page_Failed);
		ck_assert_ptr_null(Except_cause(9));
	} END_TRY;
}

/* A text of characters of two bytes, after shift bytes of one. */
static const char *wide_text(size_t shift, size_t characters)
{
	static char text[1024];
	size_t i;

	memset(text, 'x', shift);
	for (i = 0; i < characters; i++)
		memcpy(text + shift + 2 * i, "\xc3\xa9", 2);
	text[shift + 2 * characters] = '\0';
	return text;
}

static void check_cut(size_t shift)
{
	Except_Capture c;
	const char *text = wide_text(shift, 300);

	TRY {
		Except__raise_msg(&Disk_Full, text, text, 1, "%s", text);
	} ELSE {
		Except_capture(&c);
	} END_TRY;
	ck_assert_uint_ge(strlen(c.message), 254);
	ck_assert_uint_eq((strlen(c.message) - 3 - shift) % 2, 0);
	ck_assert_str_eq(c.message + strlen(c.message) - 3, "...");
	ck_assert_uint_ge(strlen(c.function), 62);
	ck_assert_uint_eq((strlen(c.function) - 3 - shift) % 2, 0);
	ck_assert_str_eq(c.function + strlen(c.function) - 3, "...");
	ck_assert_uint_ge(strlen(c.file), 94);
	ck_assert_int_eq(strncmp(c.file, "...\xc3", 4), 0);
	ck_assert_uint_eq((strlen(c.file) - 3) % 2, 0);
}

TEST(texts_too_long_are_cut_at_a_character)
{
	check_cut(0);
	check_cut(1);
}

TEST(the_end_of_a_path_begins_at_a_character, .to = 2)
{
	Except_Capture c;
	char path[1024 + 4];

	snprintf(path, sizeof path, "%s%s", wide_text(0, 300), _i ? "x.c" : ".c");
	TRY {
		Except__raise_msg(&Disk_Full, path, "f", 1, "full");
	} ELSE {
		Except_capture(&c);
	} END_TRY;
	ck_assert_int_eq(strncmp(c.file, "...\xc3", 4), 0);
	ck_assert_str_eq(c.file + strlen(c.file) - 2, ".c");
	ck_assert_uint_ge(strlen(c.file), 94);
}

static void raise_it(void *cl)
{
	(void)cl;
	raise_chain();
}

static void count(void *cl)
{
	++*(int *)cl;
}

static void hook(const Except_T *e, void *cl)
{
	(void)e;
	count(cl);
}

TEST(a_call_returns_whether_the_function_did)
{
	Except_Capture c;
	int calls = 0, hooked = 0;

	Except_set_uncaught(hook, &hooked);
	memset(&c, 0, sizeof c);
	ck_assert_int_eq(Except_call(count, &calls, &c), 1);
	ck_assert_int_eq(calls, 1);
	ck_assert_ptr_null(c.exception);
	ck_assert_int_eq(Except_call(raise_it, NULL, &c), 0);
	ck_assert_ptr_eq(c.exception, &Page_Failed);
	ck_assert_str_eq(c.function, "raise_chain");
	ck_assert_int_eq(Except_call(raise_it, NULL, NULL), 0);
	ck_assert_int_eq(hooked, 0);
	ck_assert_ptr_null(Except_current());
	ck_assert_ptr_null(Except__thread()->top);
}

TEST(wrong_calls_are_checked)
{
	Except_Capture c = { .message = "x" };

	ck_raises_saying(Assert_Failed, "Except_capture: no exception is being handled",
		Except_capture(&c));
	ck_raises_saying(Assert_Failed, "Except_rethrow: the capture is NULL", Except_rethrow(NULL));
	ck_raises_saying(Assert_Failed, "Except_rethrow: there is no exception in the capture",
		Except_rethrow(&c));
	ck_raises_saying(Assert_Failed, "Except_call: the function is NULL",
		Except_call(NULL, NULL, &c));
	TRY {
		RAISE(Disk_Full);
	} ELSE {
		ck_raises_saying(Assert_Failed, "Except_capture: the capture is NULL",
			Except_capture(NULL));
	} END_TRY;
}
