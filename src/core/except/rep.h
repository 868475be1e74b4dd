/* SPDX-License-Identifier: MIT */
/* Private to Except.c and the files of except/: what is recorded of a raise, and what those files
 * ask of each other. */
#ifndef EXCEPTREP_INCLUDED
#define EXCEPTREP_INCLUDED
#include <core/Except.h>
#include "base/checked.h"

typedef struct Record {
	struct Record *cause;
	const Except_T *exception;
	const Except_T *kept; /* if RECORD_IS_KEPT: exception, or a copy of it and its parents */
	const char *file, *function, *message;
	int line, error;
	unsigned short nframes, flags;
	void *frames[];
} Record;

/* The flags of a record. */
enum {
	RECORD_MEANS_ERRNO = 1, /* the raise was for its errno: a report prints it */
	RECORD_IS_KEPT = 2      /* the module that raised may be unloaded: see except/keep.c */
};

/* Address space only, but for the pages that are used: 200 of the longest messages, or a chain of
 * 10,000 plain exceptions. */
enum { RECORDS_SIZE = 1024 * 1024 };

typedef struct Thread {
	Except_Thread public;
	char *records, *end;  /* the stack of records; public.next is in it */
	struct Mapping *free;
	int *error;           /* &errno, which would be a call, if there are records */
	int dying;            /* the hook for uncaught exceptions runs */
} Thread;

/* One slot, tiny: large static TLS makes dlopen fail. */
#define EXCEPT__PER_THREAD CORE_PER_THREAD __attribute__((visibility("hidden")))
extern EXCEPT__PER_THREAD Thread except__thread;

/* The states of a frame, all of them: Except.c describes them. */
enum { TRYING = Except__TRYING, FINISHING = Except__FINISHING, HANDLING = Except__HANDLING,
	CLOSING = Except__CLOSING, PENDING, RETURNING, CLOSING_RETURN, PROBING, PROBED, UNWINDING,
	RAISED = Except__RAISED, RAISED_KEPT = Except__RAISED_KEPT };

/* Sets of states: a switch would be an indirect jump. */
enum {
	CATCHING = 1 << TRYING | 1 << RAISED | 1 << RAISED_KEPT | 1 << HANDLING | 1 << UNWINDING,
	HOLDING = 1 << RAISED | 1 << RAISED_KEPT | 1 << HANDLING | 1 << PENDING | 1 << CLOSING
		| 1 << UNWINDING
};

/* except/stack.c: makes the thread's stack of records. Returns 0 if there is no memory. */
int except__map_records(void) __attribute__((cold));

/* Returns room at the end of the thread's stack of records; NULL if there is none. */
static inline void *except__take(size_t nbytes)
{
	void *p;

	nbytes = (nbytes + 15) & ~(size_t)15;
	if (nbytes > (size_t)(except__thread.end - except__thread.public.next)
		&& (except__thread.records || !except__map_records()))
		return NULL;
	p = except__thread.public.next;
	except__thread.public.next += nbytes;
	return p;
}

/* Forgets the records above mark, which is NULL if the frame is older than the mapping. */
static inline void except__cut_back(void *mark)
{
	except__thread.public.next = mark ? mark : except__thread.records;
}

static inline Except_Frame *except__frame_of(Except_Link *link)
{
	return (Except_Frame *)link; /* its first member */
}

static inline int except__is_in(Except_Link *link, unsigned states)
{
	return !link->run && (states >> except__frame_of(link)->state & 1);
}

/* Calls what a scope has deferred, or disposes of its variable unless the variable's initializer
 * raised. */
EXCEPT__ANY_FUNCTION static inline void except__run(Except_Link *link)
{
	if (!Except__is_unset((Except_Scoped *)link))
		link->run(link->argument);
}

/* except/keep.c. Called before main. */
void except__find_permanent(void);
/* Called before the first clean-up that the exception of r passes. */
void except__keep(Record *r);

/* except/return.c: a RETURN goes on after the FINALLY of f. */
void except__return_on(Except_Frame *f) EXCEPT__NORETURN;

/* except/unwind.c: how to go to a handler: longjmp, unless clean-ups on the way must run. Read
 * and written atomically. */
typedef void (*Jump)(jmp_buf, int);
extern Jump except__jump __attribute__((visibility("hidden")));
/* f is UNWINDING. Returns the state that f gets next. */
int except__end_walk(const Except_Frame *f);
/* f is UNWINDING. Goes to the handler of f. */
void except__arrive(Except_Frame *f) EXCEPT__NORETURN;

/* Except.c: raises e with this record, which may be NULL. */
void except__deliver(const Except_T *e, const char *file, int line, Record *) EXCEPT__NORETURN;

/* Except.c: returns the frame whose exception is handled or passes; NULL if there is none. */
Except_Frame *except__current(void);

/* except/report.c */
/* How many return addresses a raise captures. Read and written atomically. */
extern int except__nframes __attribute__((visibility("hidden")));
void except__read_debug(void); /* reads CORE_EXCEPT_DEBUG, before main */
void except__call_hook(const Except_T *e);
void except__report(FILE *out, const Except_Frame *f);
void except__lock_hook(void); /* before a fork, and after it */
void except__unlock_hook(void);

#endif
