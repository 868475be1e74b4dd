/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <core/core.h>

static void count(HashTable_T counts, char *text)
{
	char *word;

	while ((word = strtok_r(text, " ,.\n", &text))) {
		void **slot = HashTable_slot(counts, word); /* NULL is there if the word is new */

		*slot = (void *)((uintptr_t)*slot + 1);
	}
}

static int by_word(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

int main(void)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	HashTable_T counts =
		HashTable_new_with(arena, &(HashTable_Options){ .kind = HashTable_STRING });
	char text[] = "The arena owns the table, the table owns the keys.";
	void **pair;

	count(counts, text);
	pair = HashTable_toArray(counts, arena, NULL); /* key, value, key, value, ..., NULL */
	qsort(pair, HashTable_length(counts), 2 * sizeof *pair, by_word);
	for (; *pair; pair += 2)
		printf("%zu %s\n", (size_t)(uintptr_t)pair[1], (char *)pair[0]);
	return 0;
}
