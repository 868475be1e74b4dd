/* SPDX-License-Identifier: MIT */
/* Except: exceptions for C, in the manner of Hanson's interface.
 *
 *   TRY { ... } EXCEPT(Disk_Full) { ... } ELSE { ... } FINALLY { ... } END_TRY;
 *
 * FINALLY runs however TRY, EXCEPT and ELSE end, except at a bare return, break, continue or goto:
 * those leave safely and skip it; RETURN(value) runs it. A local variable that is changed inside
 * TRY and read after a raise needs PROTECT(variable) before the TRY (or volatile): see Except(3).
 * Each thread has its own stack of handlers. Nothing here allocates from the heap. */
#ifndef EXCEPT_INCLUDED
#define EXCEPT_INCLUDED
#include <errno.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <core/api.h>

CORE_BEGIN_DECLS
/* A constant object. reason says what happened. It is a kind of parent, which may be NULL. self, or
 * its own address if self is NULL, identifies it across shared libraries. */
typedef struct Except_T {
	const char *reason;
	const struct Except_T *parent, *self;
} Except_T;

#define EXCEPT_DEFINE(name, parent, reason) const Except_T name = { reason, parent, &name }

extern CORE_API const Except_T Assert_Failed; /* a caller broke a contract */

/* Inside EXCEPT, ELSE, FINALLY or a disposal: the exception being handled or passing; elsewhere
 * NULL or 0. Strings live until the handler ends. The default message is the reason. */
CORE_API const Except_T *Except_current(void);
CORE_API const char *Except_message(void);
CORE_API const char *Except_file(void);
CORE_API const char *Except_function(void);
CORE_API int Except_line(void);
CORE_API int Except_errno(void); /* errno at the raise */
CORE_API const Except_T *Except_cause(int depth); /* 1: the one that it replaced; then NULL */
CORE_API const char *Except_cause_message(int depth); /* these three: NULL or 0 past the end */
CORE_API const char *Except_cause_file(int depth);
CORE_API int Except_cause_line(int depth);
CORE_API void Except_report(FILE *out); /* prints all of it. Checked: out is NULL */

/* An exception that travels: a plain value; its layout is frozen. Longer texts are cut and end in
 * dots, a path begins with them. The exception objects must stay loaded. */
typedef struct Except_Capture {
	const Except_T *exception, *causes[8]; /* the nearest eight, then NULL */
	char message[256], file[96], function[64];
	int line, error;
	unsigned flags; /* private */
} Except_Capture;

CORE_API void Except_capture(Except_Capture *); /* the one being handled. Checked: none is. */

/* Raises what was captured, in any thread, with its place, message and errno; causes have their
 * reason only. Checked: there is no exception in it. */
CORE_API void Except_rethrow(const Except_Capture *) __attribute__((noreturn));

/* Returns 1 if fn(cl) returned, 0 if it raised: the capture, which may be NULL, then has the
 * exception. C++ exceptions, pthread_exit and longjmp pass it by. Checked: fn is NULL. */
CORE_API int Except_call(void (*fn)(void *), void *cl, Except_Capture *);

/* Is called at the raise of an exception that no TRY of the thread encloses, with the stack intact,
 * before the report and abort(). One hook a process; NULL removes it. */
typedef void Except_Hook(const Except_T *e, void *cl);
CORE_API void Except_set_uncaught(Except_Hook *hook, void *cl);

/* Each raise captures up to so many return addresses for the report. Default: 0. Checked: not 0 to
 * 32. */
CORE_API void Except_set_backtrace(int frames);

/* If on is not 0, a raise also runs C++ destructors, __attribute__((cleanup)) and defer on its way,
 * with rules: see Except(3). Returns 1 if it does so now, else 0: always where it is impossible. */
CORE_API int Except_set_unwinding(int on);

/* For coroutines. Before a switch to another stack, Except_save moves the thread's handlers to
 * *stack and leaves none. After it, Except_restore returns them. Checked: they were not saved, are
 * restored twice or by another thread, or would overwrite handlers that were not saved. */
typedef struct Except_Stack {
	void *top, *next, *records, *thread; /* private */
} Except_Stack;
CORE_API void Except_save(Except_Stack *stack);
CORE_API void Except_restore(Except_Stack *stack);

/* Raises *e. Checked: e is NULL. */
CORE_API void Except_raise(const Except_T *, const char *file, int line) __attribute__((noreturn));

#include <core/ExceptFrame.h>
#include <core/ExceptTry.h>
#include <core/ExceptReturn.h>
#include <core/ExceptAuto.h>

CORE_END_DECLS

#if !defined EXCEPT_NO_SHORT_NAMES && !defined CORE_NO_SHORT_NAMES
#define TRY        EXCEPT_TRY        /* opens the statement */
#define EXCEPT     EXCEPT_EXCEPT     /* (e): handles e and every kind of e; the first match wins */
#define ELSE       EXCEPT_ELSE       /* handles anything else */
#define FINALLY    EXCEPT_FINALLY    /* clean up; a raise in here replaces a pending exception */
#define END_TRY    EXCEPT_END_TRY    /* closes the statement; an unhandled exception goes on */
#define RAISE      EXCEPT_RAISE      /* (e) */
#define RAISE_MSG  EXCEPT_RAISE_MSG  /* (e, "printf format", ...) */
#define RAISE_ERRNO EXCEPT_RAISE_ERRNO /* the same, and ": " and the text of errno */
#define RERAISE    EXCEPT_RERAISE    /* the exception being handled, as it came */
#define RETURN     EXCEPT_RETURN     /* (value) or (): runs every FINALLY of the function */
#define PROTECT    EXCEPT_PROTECT    /* (variable): its value is right after a raise */
#define AUTO       EXCEPT_AUTO       /* (Type, v, dispose) = init; dispose(&v) as the scope ends */
#define DEFER      EXCEPT_DEFER      /* (fn, pointer); fn(pointer) when the scope ends */
#endif
#endif
