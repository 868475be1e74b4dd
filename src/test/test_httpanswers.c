/* SPDX-License-Identifier: MIT */
/* The answers of http_answers.h: each is what the table says, whatever pieces it comes in. And
 * the same check as fuzz/answer.c, in small. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include <core/core.h>
#include "fuzz/answer.h"
#include "http_answers.h"
#include "http_oracle.h"
#include "testing.h"

enum {
	ANSWERS = sizeof answers / sizeof *answers,
	CUT = sizeof cut_answers / sizeof *cut_answers
};

static Kind kind_of(const Answer *a)
{
	return a->to_head ? ANSWER_TO_HEAD : ANSWER;
}

static void check_seen(const Answer *a, const Seen *seen)
{
	size_t n = seen->length - seen->body;

	if (a->status == 0) {
		ck_assert_msg(seen->verdict == REFUSED, "%s: %d", a->sentence, seen->verdict);
		ck_assert_msg(strncmp(seen->what, a->body, strlen(a->body)) == 0, "%s: %s", a->sentence,
			seen->what);
		return;
	}
	ck_assert_msg(seen->verdict == ACCEPTED, "%s: %s", a->sentence, seen->what);
	ck_assert_msg(seen->status == a->status, "%s: status %d", a->sentence, seen->status);
	ck_assert_msg(seen->end == a->end, "%s: end %zu, not %zu", a->sentence, seen->end, a->end);
	ck_assert_msg(!seen->keep_alive == !a->kept, "%s: kept %d", a->sentence, seen->keep_alive);
	ck_assert_msg(n == strlen(a->body) && memcmp(seen->text + seen->body, a->body, n) == 0,
		"%s: body \"%.*s\"", a->sentence, (int)n, seen->text + seen->body);
}

SUITE("answers");
CASE("answers");

TEST(each_answer_is_read_as_the_table_says_in_whatever_pieces, .to = ANSWERS)
{
	static Seen seen;
	const Answer *a = &answers[_i];
	size_t step;

	for (step = 1; step <= a->n; step++) {
		see_ours(&seen, kind_of(a), a->input, a->n, step);
		check_seen(a, &seen);
	}
}

TEST(an_answer_that_is_cut_off_is_neither_whole_nor_wrong, .to = CUT)
{
	static Seen seen;
	size_t n = strlen(cut_answers[_i]), step;

	for (step = 1; step <= n + 1; step++) {
		see_ours(&seen, ANSWER, cut_answers[_i], n, step);
		ck_assert_int_eq(seen.verdict, UNFINISHED);
	}
}

/* A fault aborts: see fuzz/answer.c. */
TEST(an_answer_with_one_byte_changed_or_cut_off_is_the_same_to_all, .to = ANSWERS)
{
	static const char bytes[] = "\0\t\n\r 0;,:\"x\xff";
	const Answer *a = &answers[_i];
	char copy[512];
	size_t at, i;

	ck_assert_uint_le(a->n, sizeof copy);
	for (at = 0; at < a->n; at++) {
		fuzz_answer(kind_of(a), a->input, at + 1, 1 + at % 7);
		for (i = 0; i < sizeof bytes - 1; i++) {
			memcpy(copy, a->input, a->n);
			copy[at] = bytes[i];
			fuzz_answer(i & 1 ? ANSWER : kind_of(a), copy, a->n, 1 + (at + i) % 32);
		}
	}
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}
