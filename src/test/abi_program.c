/* SPDX-License-Identifier: MIT */
/* Uses what the inline code of old programs depends on: lanes, records, and the library's
 * functions. abi.sh builds it with the inline code of the baseline. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>

enum { THREADS = 4, BLOCKS = 20000 };

static Arena_T arena;

static void require(int condition, const char *what)
{
	if (!condition) {
		fprintf(stderr, "abi_program: not so: %s\n", what);
		_Exit(1);
	}
}

static void check(unsigned char **blocks)
{
	int i, j;

	for (i = 0; i < BLOCKS; i++)
		for (j = 0; j < 1 + i % 40; j++)
			require(blocks[i][j] == (unsigned char)i, "every block keeps its bytes");
}

/* Owners, visitors, and those who take the ownership. */
static void *allocate(void *cl)
{
	unsigned char **blocks = ALLOC(arena, BLOCKS * sizeof *blocks);
	int i;

	(void)cl;
	for (i = 0; i < BLOCKS; i++) {
		size_t n = 1 + (size_t)i % 40;

		blocks[i] = i % 2 ? Arena_alloc(arena, n) : ALLOC(arena, n);
		require((size_t)blocks[i] % 16 == 0, "blocks are aligned");
		memset(blocks[i], i, n);
	}
	check(blocks);
	return NULL;
}

static int refused(size_t nbytes)
{
	volatile int raised = 0;

	TRY {
		Arena_alloc(arena, nbytes);
	} EXCEPT(Arena_Failed) {
		raised = 1;
	} END_TRY;
	return raised;
}

int main(void)
{
	pthread_t threads[THREADS];
	int turn, i;

	arena = Arena_new();
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < THREADS; i++)
			require(pthread_create(&threads[i], NULL, allocate, NULL) == 0, "threads can be made");
		for (i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		allocate(NULL);
		require(Arena_alloc(arena, 0) != Arena_alloc(arena, 0), "0 bytes are distinct");
		require(refused((size_t)-1) && refused((size_t)-1 / 2),
			"what no memory can hold is refused");
		Arena_clear(arena);
		require(Arena_used(arena) == 0, "clear forgets all");
	}
	Arena_dispose(&arena);
	return 0;
}
