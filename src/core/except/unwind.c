/* SPDX-License-Identifier: MIT */
/* Except: a raise that runs other people's clean-ups, if a program asks for it. The compiler's
 * unwinder walks to the TRY function by function, as for pthread_cancel(3); each function runs its
 * C++ destructors, __attribute__((cleanup)) and defer, and our AUTO and DEFER. The walk ends at the
 * clean-up of the TRY's own frame: Except__abandon jumps to the handler. In a function without
 * clean-ups (no -fexceptions) it ends at the next function, beyond the frame.
 * Invariant: the frame to which a thread is on its way is UNWINDING, holds the exception and stays
 * linked. The AUTO and DEFER links inside it stay linked, too, until each has run. */

/* The plain longjmp; Except.c says why. */
#undef _FORTIFY_SOURCE
#include "config.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#if HAVE__UNWIND_FORCEDUNWIND && defined __ELF__ /* Mach-O links no weak __cxa_get_globals */
#define CAN_UNWIND 1
#include <unwind.h>
#else
#define CAN_UNWIND 0
#endif

#include "except/rep.h"

Jump except__jump = longjmp;

/* Parts of the frame's argument: the state to come, whether cancellation is on, C++'s count. */
enum { STATE = 0xFF, CANCELLABLE = 0x100, COUNT = 9 };

#if CAN_UNWIND
/* C++'s state of a thread. A catch (...) that throws on would leave the count one too high. */
extern struct Cxx {
	void *caught;
	unsigned uncaught;
} *__cxa_get_globals(void) __attribute__((weak)); /* NOLINT(bugprone-reserved-identifier) */
#endif

/* The frame of the innermost TRY: if a walk is on its way, that to which it is. */
static Except_Frame *innermost_frame(void)
{
	Except_Link *link = except__thread.public.top;

	while (link->run)
		link = link->up;
	return except__frame_of(link);
}

int except__is_passing(void) { return innermost_frame()->state == UNWINDING; }

int except__end_walk(const Except_Frame *f)
{
	uintptr_t argument = (uintptr_t)f->link.argument;

#if CAN_UNWIND
	if (__cxa_get_globals)
		__cxa_get_globals()->uncaught = (unsigned)(argument >> COUNT);
#endif
	if (argument & CANCELLABLE)
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	return argument & STATE;
}

/* Runs our clean-ups in this part of the stack; not in AddressSanitizer's, which is elsewhere. */
static void run_links_in(uintptr_t low, uintptr_t high, const Except_Link *end)
{
	Except_Link *link;

	while ((link = except__thread.public.top) != end && (uintptr_t)link - low < high - low) {
		Except__unlink(link);
		except__run(link);
	}
}

void except__arrive(Except_Frame *f)
{
	run_links_in(0, UINTPTR_MAX, &f->link);
	f->state = except__end_walk(f);
	longjmp(f->env, 1);
}

#if CAN_UNWIND

/* Called before each function's clean-ups, with the lower end of its stack as "CFA". */
static _Unwind_Reason_Code visit_function(int version, _Unwind_Action actions,
	_Unwind_Exception_Class class, struct _Unwind_Exception *exception,
	struct _Unwind_Context *context, void *cl)
{
	Except_Frame *f = innermost_frame();
	uintptr_t address = (uintptr_t)_Unwind_GetCFA(context);

	(void)version, (void)class, (void)exception, (void)cl;
	if (address > (uintptr_t)f || actions & _UA_END_OF_STACK)
		except__arrive(f);
	run_links_in((uintptr_t)&f, address, &f->link);
	return _URC_NO_REASON;
}

static void die_of_kept_exception(_Unwind_Reason_Code code, struct _Unwind_Exception *exception)
{
	(void)code, (void)exception;
	fputs("libcore: a catch (...) kept an exception: it has to end in throw;\n", stderr);
	abort();
}

/* For all threads: the same is written into it each time. */
static struct {
	char no_type[128]; /* where std::terminate looks for one */
	struct _Unwind_Exception exception;
} walk = { .exception = { .exception_cleanup = die_of_kept_exception } };

/* TRYs on the way are done with. Their frames' clean-ups would cut back the stack of records. */
static void unlink_frames_inside(const Except_Frame *f)
{
	Except_Link **place = &except__thread.public.top, *link;

	while ((link = *place) != &f->link)
		if (link->run)
			place = &link->up;
		else {
			link->top = NULL;
			*place = link->up;
		}
}

/* A function that does not return, so that AddressSanitizer forgets the frames above it. */
static __attribute__((noinline, noreturn)) void walk_to(Except_Frame *f)
{
	_Unwind_ForcedUnwind(&walk.exception, visit_function, NULL);
	except__arrive(f); /* the unwinder does not know the way */
}

/* In place of longjmp. A cancellation waits: it would leave the walk half done. */
static EXCEPT__NORETURN void unwind_to(jmp_buf env, int value)
{
	Except_Frame *f = (Except_Frame *)((uintptr_t)env - offsetof(Except_Frame, env));
	uintptr_t count = __cxa_get_globals ? __cxa_get_globals()->uncaught : 0;
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	value = f->state | (before == PTHREAD_CANCEL_ENABLE ? CANCELLABLE : 0);
	f->link.argument = (void *)((uintptr_t)value | count << COUNT);
	f->state = UNWINDING;
	unlink_frames_inside(f);
	walk_to(f);
}

int Except_set_unwinding(int on)
{
	__atomic_store_n(&except__jump, on ? unwind_to : longjmp, __ATOMIC_RELAXED);
	return on != 0;
}
#else
int Except_set_unwinding(int on)
{
	(void)on;
	return 0;
}
#endif
