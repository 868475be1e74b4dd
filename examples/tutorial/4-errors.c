/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <core/core.h>

EXCEPT_DEFINE(Syntax_Error, NULL, "syntax error");

static long number(const char *word)
{
	char *end;
	long n = strtol(word, &end, 10);

	if (end == word || *end)
		RAISE_MSG(Syntax_Error, "\"%s\" is not a number", word);
	return n;
}

static long sum(const char *text)
{
	/* ends with this function, in whatever way that ends */
	AUTO(Arena_T, scratch, Arena_dispose) = Arena_new();
	char *rest = Arena_strdup(scratch, text), *word;
	long total = 0;

	while ((word = strtok_r(rest, " +", &rest)))
		total += number(word);
	return total;
}

static void answer(const char *text)
{
	Arena_T arena = Arena_new(); /* before the TRY */

	TRY {
		char *line = Arena_sprintf(arena, "%s = %ld", text, sum(text));

		puts(line);
	} EXCEPT(Syntax_Error) {
		printf("%s: %s\n", text, Except_message());
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
}

int main(void)
{
	answer("1 + 2 + 39");
	answer("1 + two");
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
