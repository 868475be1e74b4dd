/* SPDX-License-Identifier: MIT */
/* wf [-n lines] [file ...]: prints how often each word occurs, the most frequent first, like
 * Hanson's wf. A word is a run of ASCII letters, in lower case. The table and the words live in
 * one arena, so only the arena is released, and an error anywhere ends in one handler.
 *
 *   cc wf.c -o wf $(pkg-config --cflags --libs libcore)
 *   ./wf -n 10 wf.c */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>

EXCEPT_DEFINE(File_Failed, NULL, "cannot read");

typedef struct Text {
	Arena_T arena;
	HashTable_T counts; /* word to number, the number in the pointer itself */
	char *word;         /* the word being read, room bytes */
	size_t length, room;
} Text;

static void add_letter(Text *t, int c)
{
	if (t->length + 1 >= t->room) {
		t->word = Arena_realloc(t->arena, t->word, t->room, 2 * t->room);
		t->room *= 2;
	}
	t->word[t->length++] = (char)(c | 0x20);
}

static void end_word(Text *t)
{
	void **count;

	if (t->length == 0)
		return;
	t->word[t->length] = '\0';
	t->length = 0;
	count = HashTable_slot(t->counts, t->word);
	*count = (void *)((uintptr_t)*count + 1);
}

static void read_words(Text *t, FILE *in, const char *name)
{
	int c;

	while ((c = getc(in)) != EOF)
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
			add_letter(t, c);
		else
			end_word(t);
	end_word(t);
	if (ferror(in))
		RAISE_ERRNO(File_Failed, "%s", name);
}

static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static void read_file(Text *t, const char *name)
{
	AUTO(FILE *, in, close_file) = fopen(name, "r");

	if (!in)
		RAISE_ERRNO(File_Failed, "%s", name);
	read_words(t, in, name);
}

typedef struct Entry {
	const char *word;
	uintptr_t count;
} Entry;

static int by_count(const void *x, const void *y)
{
	const Entry *a = x, *b = y;

	if (a->count != b->count)
		return a->count < b->count ? 1 : -1;
	return strcmp(a->word, b->word);
}

static void print(const Text *t, size_t lines)
{
	size_t n = HashTable_length(t->counts), i = 0;
	Entry *entries = CALLOC(t->arena, n, sizeof *entries);
	HashTable_Iter iter;

	HashTable_iterate(t->counts, &iter);
	for (; HashTable_next(&iter); i++)
		entries[i] = (Entry){ iter.key, (uintptr_t)iter.value };
	qsort(entries, n, sizeof *entries, by_count);
	for (i = 0; i < n && i < lines; i++)
		printf("%7ju %s\n", (uintmax_t)entries[i].count, entries[i].word);
}

static size_t number(const char *s)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(s, &end, 10);
	if (*s < '0' || *s > '9' || *end || errno)
		RAISE_MSG(File_Failed, "-n %s: not a number of lines", s);
	return n;
}

static void count_words(Arena_T arena, char **argv)
{
	Text t = { arena, HashTable_new(arena, 0), NULL, 0, 32 };
	size_t lines = SIZE_MAX;

	t.word = ALLOC(arena, t.room);
	if (argv[1] && strcmp(argv[1], "-n") == 0) {
		lines = number(argv[2] ? argv[2] : "");
		argv += 2;
	}
	if (!argv[1])
		read_words(&t, stdin, "standard input");
	while (*++argv)
		read_file(&t, *argv);
	print(&t, lines);
}

int main(int argc, char **argv)
{
	volatile int status = EXIT_SUCCESS;
	Arena_T arena = Arena_new();

	(void)argc;
	TRY {
		count_words(arena, argv);
	} ELSE {
		fprintf(stderr, "wf: %s: %s\n", Except_current()->reason, Except_message());
		status = EXIT_FAILURE;
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	return status;
}
