/* SPDX-License-Identifier: MIT */
/* Private to Except.c and the files of except/: what is recorded of a raise, and what those files ask of each other. */
#ifndef EXCEPTREP_INCLUDED
#define EXCEPTREP_INCLUDED
#include <core/Except.h>
#include "base/checked.h"

typedef struct Record {
	struct Record *cause;
	const Except_T *exception;
	const char *file, *function, *message;
	int line, nframes, error;
	void *frames[];
} Record;

/* Address space only, but for the pages that are used: 200 of the longest messages, or a chain of
 * 10,000 plain exceptions. */
enum { RECORDS_SIZE = 1024 * 1024 };

typedef struct Thread {
	Except_Thread public;
	char *records, *end;  /* the stack of records, which public.next is in */
	struct Mapping *free;
	int *error;           /* &errno, if there are records: a call less */
	int dying;            /* the hook for uncaught exceptions runs */
} Thread;

/* One slot, tiny: large static TLS makes dlopen fail. */
#define EXCEPT__PER_THREAD CORE_PER_THREAD __attribute__((visibility("hidden")))
extern EXCEPT__PER_THREAD Thread except__thread;

/* except/stack.c: makes the thread's stack of records; 0: no memory */
int except__map_records(void) __attribute__((cold));

/* Except.c: the frame that holds what is being handled or passing; NULL if there is none */
Except_Frame *except__current(void);

/* except/report.c */
extern int except__nframes __attribute__((visibility("hidden"))); /* return addresses to capture at a raise; read and written atomically */
int except__capture(void **frames, int n, void *raiser);
void except__call_hook(const Except_T *e);
void except__report(FILE *out, const Except_Frame *f);
void except__lock_hook(void); /* before a fork, and after it */
void except__unlock_hook(void);

#endif
