/* SPDX-License-Identifier: MIT */
/* A TRY's frame and the library's part of it. Included by Except.h alone. This file,
 * ExceptThread.h, ExceptTry.h, ExceptReturn.h and ExceptAuto.h are frozen ABI: programs carry their
 * layouts and inline lines in their own code. */
#if !defined EXCEPT_INCLUDED
#error "include <core/Except.h>"
#endif

#include <core/ExceptThread.h>

#define EXCEPT__NORETURN __attribute__((noreturn)) /* not cold, which would optimize for size */

typedef struct Except_Frame {
	Except_Link link;
	const Except_T *exception; /* as in Hanson's interface: what was raised, and where */
	const char *file;
	int line;
	int state;
	void *record, *mark;    /* message, causes: private to the library */
	const char *finally;    /* "file:line" of the FINALLY, if it is looked for; NULL: none */
	jmp_buf env;
} Except_Frame;

/* The states of a frame that the lines below know. The library's others lie between CLOSING and
 * RAISED, so that one comparison finds the two in which clauses are tried. */
enum { Except__TRYING, Except__FINISHING, Except__HANDLING, Except__CLOSING,
	Except__RAISED = 16, Except__RAISED_KEPT };

/* The state in which a frame starts: TRYING, unless FINALLYs that are skipped are to be reported.
 * Set before main. */
extern CORE_API int Except__first;

CORE_API int  Except__match(Except_Frame *, const Except_T *);
CORE_API int  Except__close(Except_Frame *, const char *place);
CORE_API void Except__pass(Except_Frame *) EXCEPT__NORETURN;
CORE_API void Except__end(Except_Frame *);
CORE_API void Except__abandon(Except_Frame *);

static inline void Except__enter(Except_Frame *f)
{
	Except_Thread *thread = Except__own_thread();

	f->link.run = NULL;
	f->mark = thread->next;
	f->state = Except__first;
	Except__push(&f->link, thread);
}

static inline int Except__handles(Except_Frame *f, const Except_T *e)
{
	if (f->exception != e)
		return Except__match(f, e);
	f->state = Except__HANDLING;
	return 1;
}

static inline int Except__finally(Except_Frame *f, const char *place)
{
	if (__builtin_expect(f->state == Except__TRYING, 1))
		f->state = Except__FINISHING;
	else if (f->state == Except__RAISED_KEPT)
		f->state = Except__CLOSING;
	else
		return Except__close(f, place);
	return 1;
}

static inline void Except__done(Except_Frame *f)
{
	if (__builtin_expect(f->state <= Except__FINISHING, 1))
		Except__unlink(&f->link);
	else
		Except__end(f);
}

static inline void Except__leave(Except_Frame *f)
{
	if (__builtin_expect(f->link.top != NULL, 0))
		Except__abandon(f);
}
