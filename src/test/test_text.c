/* SPDX-License-Identifier: MIT */
/* Text in buffers of a fixed size: where it is cut. And the text of the last words. */
#include "config.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

#include "base/checked.h"
#include "base/text.h"
#include "testing.h"

/* 1, 2, 3 and 4 bytes a character */
static const char *const characters[] = { "x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };

SUITE("text");
CASE("cut");

TEST(a_text_is_cut_between_characters, .to = 4)
{
	const char *c = characters[_i];
	size_t width = strlen(c), n;
	char text[64] = "";

	while (strlen(text) < 40)
		strcat(text, c);
	for (n = 0; n <= strlen(text); n++)
		ck_assert_uint_eq(text__cut(text, n), n / width * width);
}

TEST(a_character_whose_end_was_cut_off_is_removed)
{
	ck_assert_uint_eq(text__cut("ab\xe2\x82", 4), 2);
	ck_assert_uint_eq(text__cut("ab\xf0\x9f\x98", 5), 2);
	ck_assert_uint_eq(text__cut("\xc3", 1), 0);
	ck_assert_uint_eq(text__cut("", 0), 0);
}

TEST(bytes_that_are_no_utf8_stay)
{
	ck_assert_uint_eq(text__cut("\x80\x80\x80\x80\x80", 5), 5);
	ck_assert_uint_eq(text__cut("\x80\x80", 2), 2);
	ck_assert_uint_eq(text__cut("ab\xff", 3), 3);
	ck_assert_uint_eq(text__cut("ab\xc0", 3), 3);
	ck_assert_uint_eq(text__cut("a\xc3\xa9\xa9\xa9", 5), 5);
}

static size_t count_dots(const char *s)
{
	const char *end = s + strlen(s), *p = end;

	while (p > s && p[-1] == '.')
		p--;
	return (size_t)(end - p);
}

TEST(text_that_does_not_fit_ends_in_dots_after_a_whole_character, .to = 4)
{
	const char *c = characters[_i];
	char text[64] = "", buffer[48];
	size_t size, n, width = strlen(c);

	while (strlen(text) < 44)
		strcat(text, c);
	for (size = 4; size <= sizeof buffer; size++) {
		memset(buffer, '#', sizeof buffer);
		n = text__format(buffer, size, "%s", text);
		ck_assert_uint_eq(n, strlen(buffer));
		ck_assert_uint_lt(n, size);
		if (strlen(text) < size) {
			ck_assert_str_eq(buffer, text);
			continue;
		}
		ck_assert_uint_eq(count_dots(buffer), 3);
		ck_assert_uint_eq((n - 3) % width, 0);
		ck_assert_uint_gt(n + width, size - 1); /* no more is cut than necessary */
		ck_assert_int_eq(strncmp(buffer, text, n - 3), 0);
		ck_assert(size == sizeof buffer || buffer[size] == '#');
	}
}

TEST(a_format_that_cannot_be_printed_is_the_text)
{
	char buffer[16];

	ck_assert_uint_eq(text__format(buffer, sizeof buffer, "<%lc>", (wint_t)0x110000), 5);
	ck_assert_str_eq(buffer, "<%lc>");
}

TEST(corrupt_state_is_reported_and_ends_the_process)
{
	char said[200] = "";
	int fd[2], status;
	pid_t child;

	ck_assert_int_eq(pipe(fd), 0);
	child = fork();
	if (child == 0) {
		dup2(fd[1], STDERR_FILENO);
		core__corrupt("here.c", 7, "a list without an end");
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	ck_assert_int_gt(read(fd[0], said, sizeof said - 1), 0);
	ck_assert_ptr_nonnull(strstr(said,
		"libcore: here.c:7: internal state is corrupt: a list without an end\n"));
	close(fd[0]);
	close(fd[1]);
}
