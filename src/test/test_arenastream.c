/* SPDX-License-Identifier: MIT */
/* Arena_open_stream. */
#include "config.h"

#include <errno.h>
#include <stdio.h>

#include "testing.h"

EXCEPT_DEFINE(Trouble, NULL, "trouble");

SUITE("Arena's streams");
CASE("streams");

TEST(what_is_written_is_the_text_after_a_flush_and_after_closing)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	size_t n = 99;
	char *text = NULL;
	FILE *f = Arena_open_stream(arena, &text, &n);

	ck_assert_str_eq(text, "");
	ck_assert_uint_eq(n, 0);
	fprintf(f, "%d bottles", 99);
	ck_assert_int_eq(fflush(f), 0);
	ck_assert_str_eq(text, "99 bottles");
	ck_assert_uint_eq(n, 10);
	fputs(" of beer", f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_str_eq(text, "99 bottles of beer");
	ck_assert_uint_eq(n, 18);
}

TEST(a_text_may_hold_nul_bytes_and_grow_to_any_length)
{
	enum { LINES = 50000 };
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	size_t n, i;
	char *text;
	FILE *f = Arena_open_stream(arena, &text, &n);

	for (i = 0; i < LINES; i++)
		fwrite("line \0 end", 1, 10, f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_uint_eq(n, 10 * LINES);
	for (i = 0; i < LINES; i++)
		ck_assert_mem_eq(text + 10 * i, "line \0 end", 10);
	ck_assert_int_eq(text[n], '\0');
}

TEST(several_streams_grow_on_one_arena)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	char *texts[3];
	size_t lengths[3], i, j;
	FILE *files[3];

	for (i = 0; i < 3; i++)
		files[i] = Arena_open_stream(arena, &texts[i], &lengths[i]);
	for (j = 0; j < 10000; j++)
		for (i = 0; i < 3; i++)
			fputc((int)('a' + i), files[i]);
	for (i = 0; i < 3; i++) {
		ck_assert_int_eq(fclose(files[i]), 0);
		ck_assert_uint_eq(lengths[i], 10000);
		ck_assert_uint_eq(strspn(texts[i], i == 0 ? "a" : i == 1 ? "b" : "c"), 10000);
	}
}

/* in every way; a leak of the FILE is for ASan and Valgrind to find */
TEST(release_closes_a_stream_and_leaves_the_callers_variables_alone, .to = 4)
{
	Arena_T arena = Arena_new();
	Arena_Mark mark = Arena_mark(arena);
	size_t n;
	char *text;
	FILE *f = Arena_open_stream(arena, &text, &n);

	fputs("not flushed", f);
	text = NULL;
	switch (_i) {
	case 0: Arena_clear(arena); break;
	case 1: Arena_reset(arena, 0); break;
	case 2: Arena_rewind(arena, mark); break;
	}
	Arena_dispose(&arena);
	ck_assert_ptr_null(text);
	ck_assert_uint_eq(n, 0);
}

TEST(a_closed_stream_is_not_closed_again)
{
	Arena_T arena = Arena_new();
	size_t n;
	char *text;

	ck_assert_int_eq(fclose(Arena_open_stream(arena, &text, &n)), 0);
	Arena_dispose(&arena);
}

TEST(after_a_rewind_past_its_growth_a_stream_fails_instead_of_writing)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	size_t n, i;
	char *text;
	FILE *f = Arena_open_stream(arena, &text, &n);
	Arena_Mark mark = Arena_mark(arena);

	for (i = 0; i < 5000; i++)
		fputc('x', f);
	ck_assert_int_eq(fflush(f), 0);
	Arena_rewind(arena, mark);
	fputc('y', f);
	errno = 0;
	ck_assert_int_eq(fflush(f), EOF);
	ck_assert_int_eq(errno, EBADF);
	ck_assert_int_ne(ferror(f), 0);
	fclose(f);
}

TEST(a_rewind_that_leaves_its_text_leaves_the_stream)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	size_t n;
	char *text;
	FILE *f = Arena_open_stream(arena, &text, &n);
	Arena_Mark mark = Arena_mark(arena);

	fputs("short", f);
	ck_assert_int_eq(fflush(f), 0);
	Arena_alloc(arena, 10000);
	Arena_rewind(arena, mark);
	fputs(" and sweet", f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_str_eq(text, "short and sweet");
}

TEST(without_memory_a_write_fails_and_the_text_stays, .to = 3)
{
	struct Failing failing = { -1, 0, 0, 0 };
	AUTO(Arena_T, arena, Arena_dispose) = failing_arena(&failing);
	size_t n, i;
	char *text;
	FILE *f = Arena_open_stream(arena, &text, &n);

	fputs("kept", f);
	ck_assert_int_eq(fflush(f), 0);
	failing.fail_at = _i; /* of the requests that a growth makes */
	for (i = 0; i < 200000 && !ferror(f); i++)
		fputc('x', f);
	ck_assert_int_ne(ferror(f), 0);
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_mem_eq(text, "kept", 4);
	ck_assert_uint_eq(strlen(text), n);
	fclose(f);
}

TEST(a_write_that_failed_leaves_nothing_that_a_rewind_could_lose)
{
	static const char much[100000];
	struct Failing failing = { -1, 0, 0, 0 };
	/* with room for a little */
	Arena_Options o = { .alloc = failing_alloc, .free = failing_free, .cl = &failing };
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new_with(&o);
	size_t n;
	char *text;
	FILE *f = Arena_open_stream(arena, &text, &n);
	Arena_Mark mark;

	setvbuf(f, NULL, _IONBF, 0);
	fputs("kept", f);
	mark = Arena_mark(arena);
	failing.fail_at = 0;
	ck_assert_uint_eq(fwrite(much, 1, sizeof much, f), 0);
	ck_assert_int_eq(errno, ENOMEM);
	Arena_rewind(arena, mark);
	clearerr(f);
	ck_assert_int_ge(fputs(" and more", f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_str_eq(text, "kept and more");
}

static void *raising_alloc(size_t nbytes, void *cl)
{
	if (*(int *)cl)
		RAISE(Trouble);
	return malloc(nbytes);
}

static void plain_free(void *p, size_t nbytes, void *cl)
{
	(void)nbytes;
	(void)cl;
	free(p);
}

TEST(an_exception_of_the_backing_allocator_does_not_cross_stdio)
{
	int raises = 0;
	Arena_Options o = { .chunk = 64, .alloc = raising_alloc, .free = plain_free, .cl = &raises };
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new_with(&o);
	size_t n;
	char *text;
	FILE *f = Arena_open_stream(arena, &text, &n);

	raises = 1;
	fprintf(f, "%100000d", 1);
	ck_assert_int_ne(ferror(f), 0);
	fclose(f);
	ck_assert_ptr_null(Except_current());
}

/* 1, or 0 if it raised, when the request number fail_at fails */
static int can_open(struct Failing *failing, int fail_at)
{
	AUTO(Arena_T, arena, Arena_dispose) = failing_arena(failing);
	size_t n;
	char *text;

	Arena_alloc(arena, 64);
	failing->fail_at = fail_at;
	TRY {
		fclose(Arena_open_stream(arena, &text, &n));
	} EXCEPT(Arena_Failed) {
		RETURN(0);
	} END_TRY;
	return 1;
}

TEST(opening_raises_at_each_request_for_memory_that_fails)
{
	struct Failing failing = { -1, 0, 0, 0 };
	int fail_at = 0;

	while (!can_open(&failing, fail_at)) {
		ck_assert_uint_eq(failing.outstanding_blocks, 0);
		failing.fail_at = -1;
		fail_at++;
	}
	ck_assert_int_gt(fail_at, 0);
	ck_assert_uint_eq(failing.outstanding_blocks, 0);
}

TEST(a_stream_needs_an_arena_and_two_variables)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	size_t n;
	char *text;

	ck_raises_saying(Assert_Failed, "Arena_open_stream: the arena is NULL",
		Arena_open_stream(NULL, &text, &n));
	ck_raises_saying(Assert_Failed, "text is NULL", Arena_open_stream(arena, NULL, &n));
	ck_raises_saying(Assert_Failed, "nbytes is NULL", Arena_open_stream(arena, &text, NULL));
}
