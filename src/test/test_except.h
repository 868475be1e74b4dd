/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_except: exceptions, the log of words into which a test writes what
 * happens, and children that are to abort. */
#ifndef TEST_EXCEPT_INCLUDED
#define TEST_EXCEPT_INCLUDED
#include <complex.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#if HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/memcheck.h>
#endif

#include "testing.h"

static EXCEPT_DEFINE(A, NULL, "a failed");
static EXCEPT_DEFINE(AB, &A, "ab failed");
static EXCEPT_DEFINE(ABC, &AB, "abc failed");
static EXCEPT_DEFINE(X, NULL, "x failed");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const Except_T Plain = { "plain failed" }; /* Hanson's form */
static const Except_T Nameless;
#pragma GCC diagnostic pop

static char log_text[1 << 16];
static size_t log_length;
static Except_Link *top_before;
static char *next_before;

static inline void L(const char *word)
{
	size_t n = strlen(word);

	if (log_length + n + 2 >= sizeof log_text)
		abort(); /* and not ck_assert, which takes memory */
	if (log_length > 0)
		log_text[log_length++] = ' ';
	memcpy(log_text + log_length, word, n + 1);
	log_length += n;
}

static inline void L_number(long n)
{
	char word[32];

	snprintf(word, sizeof word, "%ld", n);
	L(word);
}

static inline const char *first_letters(const Except_T *e)
{
	return e == &A ? "A" : e == &AB ? "AB" : e == &ABC ? "ABC" : e == &X ? "X"
		: e == &Assert_Failed ? "Assert" : e == &Plain ? "Plain" : "?";
}

/* what is current and its causes, as in X<A */
static inline void L_current(void)
{
	char word[256] = "";
	int i;

	for (i = 0; Except_cause(i) && i < 20; i++) {
		strcat(word, i ? "<" : "");
		strcat(word, first_letters(Except_cause(i)));
	}
	L(i ? word : "none");
}

static inline void start_log(void)
{
	log_length = 0;
	log_text[0] = '\0';
	top_before = Except__thread()->top;
	next_before = Except__thread()->next;
}

/* The log is so, and the stacks of links and of records are as high as before. */
static inline void expect(const char *words)
{
	ck_assert_str_eq(log_text, words);
	ck_assert_ptr_eq(Except__thread()->top, top_before);
	if (next_before)
		ck_assert_ptr_eq(Except__thread()->next, next_before);
	start_log();
}

/* Runs f and logs what it raises. */
static inline void run(void (*f)(void))
{
	TRY {
		f();
	} ELSE {
		L_current();
	} END_TRY;
}

static inline void note(int *p)
{
	L_number(*p);
}

static inline void word(char *w)
{
	L(w);
}

static inline int raise_int(const Except_T *e)
{
	RAISE(*e);
}

static char said[8192];

static inline void read_all(int fd)
{
	size_t n = 0;
	ssize_t got;

	while (n + 1 < sizeof said && (got = read(fd, said + n, sizeof said - 1 - n)) > 0)
		n += (size_t)got;
	said[n] = '\0';
	close(fd);
}

static inline int child_says(void (*f)(void))
{
	int ends[2], status = 0;
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	fflush(NULL);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(SIGABRT, SIG_DFL);
		dup2(ends[1], 2);
		close(ends[0]);
		f();
		_exit(0);
	}
	close(ends[1]);
	read_all(ends[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

#define ck_said(text) ck_assert_msg(strstr(said, text) != NULL, "\"%s\" is not in: %s", text, said)
#define ck_did_not_say(text)                                                                \
	ck_assert_msg(strstr(said, text) == NULL, "\"%s\" is in: %s", text, said)

static inline void raise_in_three_places(void)
{
	TRY {
		TRY {
			RAISE(A);
		} EXCEPT(A) {
			RAISE(AB);
		} FINALLY {
			L_current();
			RAISE(ABC);
		} END_TRY;
	} EXCEPT(A) {
		TRY {
			RAISE(X);
		} FINALLY {
			L("f");
		} END_TRY;
	} END_TRY;
}

enum { TRIED, HANDLED, ELSED, FINISHED, PENDED, NOWHERE };
enum { FALL, RAISED, RERAISED, RETURNED, PLAIN_RETURN, BROKE, CONTINUED, WENT };

typedef struct Large {
	long a[50];
} Large;

/* Writes the report of the exception being handled into text. */
static inline void report_into(char *text, size_t size)
{
	FILE *out = tmpfile();
	size_t n;

	ck_assert_ptr_nonnull(out);
	Except_report(out);
	rewind(out);
	n = fread(text, 1, size - 1, out);
	text[n] = '\0';
	fclose(out);
}

static inline void run_thread(void *(*f)(void *), void *cl)
{
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, f, cl), 0);
	ck_assert_int_eq(pthread_join(t, NULL), 0);
}

#endif
