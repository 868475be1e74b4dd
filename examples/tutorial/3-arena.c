/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <core/core.h>

typedef struct Word {
	const char *text;
	struct Word *next;
} Word;

static Word *push(Arena_T arena, const char *text, size_t n, Word *next)
{
	Word *word;

	NEW(arena, word);
	word->text = Arena_strndup(arena, text, n);
	word->next = next;
	return word;
}

static Word *reversed(Arena_T arena, const char *line)
{
	Word *words = NULL;
	size_t n;

	for (; *line; line += n, line += strspn(line, " ")) {
		n = strcspn(line, " ");
		words = push(arena, line, n, words);
	}
	return words;
}

int main(void)
{
	Arena_T arena = Arena_new();
	const Word *word;

	for (word = reversed(arena, "free to nothing is there"); word; word = word->next)
		printf("%s ", word->text);
	Arena_dispose(&arena); /* every Word, every text */
	printf("(live arenas: %zu)\n", Arena_debug_live_count());
	return 0;
}
