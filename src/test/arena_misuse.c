/* SPDX-License-Identifier: MIT */
/* arena_misuse WHAT: does to an arena what must not be done. For arena_guard.sh, which expects a
 * report. */
#include "config.h"

#define CORE_NO_INLINE /* for once in a program that runs */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <pthread.h>

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

static Arena_T of_handler;

static void allocate_in_handler(int number)
{
	(void)number;
	(void)Arena_alloc(of_handler, 16);
	Arena_clear(of_handler);
}

/* Until the handler comes amid a call. Nothing here takes a chunk, so malloc is not interrupted. */
static void handler(Arena_T arena)
{
	struct itimerval often = { { 0, 200 }, { 0, 200 } };
	/* signal may ask for one only */
	struct sigaction action = { .sa_handler = allocate_in_handler };
	time_t end = time(NULL) + 60;
	int i;

	of_handler = Arena_new();
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (time(NULL) < end) {
		for (i = 0; i < 100; i++)
			(void)Arena_alloc(arena, 32);
		Arena_clear(arena);
	}
}

/* ---- not misuse: what the profile counts ---- */

static void *allocate_in_thread(void *arena)
{
	int i;

	for (i = 0; i < 1000; i++)
		(void)ALLOC(arena, 3);
	return NULL;
}

static void profile(Arena_T arena)
{
	Arena_T rest = Arena_new_with(&(Arena_Options){ .name = "rest" });
	Arena_Mark mark;
	pthread_t threads[2];
	char *q;
	int i;

	for (i = 0; i < 10; i++)
		(void)ALLOC(arena, 100); /* kept */
	mark = Arena_mark(arena);
	(void)Arena_mark(arena);
	(void)ALLOC(arena, 70); /* rewound */
	Arena_rewind(arena, mark);
	(void)CALLOC(arena, 2, 21); /* after the rewind */
	q = ALLOC(rest, 400); /* grown, then shrunk */
	q = Arena_realloc(rest, q, 400, 500);
	(void)Arena_realloc(rest, q, 500, 450);
	(void)Arena_strdup(rest, "1234");
	Arena_debug_profile(stdout);
	fflush(stdout); /* before the fork */
	Arena_clear(arena);
	(void)ALLOC(arena, 11); /* after the clear */
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, allocate_in_thread, rest);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	if (fork() == 0)
		(void)ALLOC(arena, 5000); /* in the child */
	else
		wait(NULL);
}

static const struct {
	const char *name;
	void (*fn)(Arena_T);
	/* to go on: 0 dispose, 1 clear and allocate again, 2 not at all, 3 rewind to the beginning */
	int how;
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
	{ "handler", handler, 2 },
	{ "profile", profile, 0 },
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
