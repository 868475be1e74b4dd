/* SPDX-License-Identifier: MIT */
/* Does to an arena what must not be done: arena_misuse WHAT. For arena_guard.sh, which expects to be told. */
#define CORE_NO_INLINE /* for once in a program that runs */
#include <stdio.h>
#include <string.h>

#include <core/Arena.h>

static volatile char *p;

static void after_clear(Arena_T arena)
{
	p = ALLOC(arena, 96);
	Arena_clear(arena);
	p[50] = 1;
}

static void after_rewind(Arena_T arena)
{
	Arena_Mark mark = Arena_mark(arena);

	p = ALLOC(arena, 96);
	Arena_rewind(arena, mark);
	p[50] = 1;
}

static void after_dispose(Arena_T arena)
{
	p = ALLOC(arena, 96);
	Arena_dispose(&arena);
	p[50] = 1;
}

static void past_the_end(Arena_T arena)
{
	p = ALLOC(arena, 96);
	(void)ALLOC(arena, 96);
	p[96] = 1;
}

static void past_an_odd_end(Arena_T arena)
{
	p = ALLOC(arena, 90);
	p[90] = 1;
}

static void before_the_start(Arena_T arena)
{
	(void)ALLOC(arena, 96);
	p = ALLOC(arena, 96);
	p[-1] = 1;
}

static void wrong_size(Arena_T arena)
{
	(void)Arena_realloc(arena, ALLOC(arena, 100), 90, 200);
}

static void leak(Arena_T arena)
{
	Arena_new_child(arena);
}

static void fresh(Arena_T arena) /* not misuse: what fresh memory looks like */
{
	unsigned char *q = ALLOC(arena, 4);

	printf("%02X%02X\n", q[0], q[3]);
}

static const struct {
	const char *name;
	void (*fn)(Arena_T);
	int how; /* to go on: 0 dispose, 1 clear and allocate again, 2 not at all, 3 rewind to the beginning */
} misuses[] = {
	{ "after_clear", after_clear, 1 },
	{ "after_rewind", after_rewind, 1 },
	{ "after_dispose", after_dispose, 2 },
	{ "past_the_end", past_the_end, 0 },
	{ "past_the_end_clear", past_the_end, 1 },
	{ "past_the_end_rewind", past_the_end, 3 },
	{ "past_an_odd_end", past_an_odd_end, 0 },
	{ "before_the_start", before_the_start, 0 },
	{ "wrong_size", wrong_size, 0 },
	{ "leak", leak, 2 },
	{ "fresh", fresh, 0 }
};

int main(int argc, char *argv[])
{
	size_t i;

	for (i = 0; argc == 2 && i < sizeof misuses / sizeof misuses[0]; i++)
		if (strcmp(argv[1], misuses[i].name) == 0) {
			Arena_T arena = Arena_new_with(&(Arena_Options){ .name = "ledger" });
			Arena_Mark mark = Arena_mark(arena);

			misuses[i].fn(arena);
			if (misuses[i].how == 1) {
				Arena_clear(arena);
				(void)Arena_alloc(arena, 1000);
			}
			if (misuses[i].how == 3)
				Arena_rewind(arena, mark);
			if (misuses[i].how != 2)
				Arena_dispose(&arena);
			return 0;
		}
	return 2;
}
