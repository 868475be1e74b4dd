/* SPDX-License-Identifier: MIT */
/* Except: a stack of links per thread, innermost first. A link is a TRY statement's frame or
 * something to run when a scope is left (DEFER, AUTO); each lives in the C frame that it serves.
 *
 * Invariant: except__thread.public.top leads to exactly the links whose blocks are still open, in
 * order; link.top is NULL in every other. A frame is linked from Except__enter until its FINALLY
 * has ended, so that a raise in a handler still finds it.
 *
 * States of a frame, and what a raise inside it does:
 *   TRYING     the body runs              -> RAISED, back to setjmp
 *   RAISED     clauses are being tried    -> PENDING (a clause's own expression raised)
 *   RAISED_KEPT  the same; the record has been copied for a clean-up already
 *   HANDLING   a handler runs             -> PENDING, back to setjmp; what it handled is the cause
 *   PENDING    no clause may take it any more; FINALLY is next
 *   FINISHING  FINALLY runs, nothing pending  -> goes further out
 *   CLOSING    FINALLY runs, then it goes on  -> goes further out; the pending one is the cause
 *   UNWINDING  other people's clean-ups run on the way here -> the state that it was to have;
 *              what passed is the cause
 *   RETURNING / CLOSING_RETURN  the same two for a RETURN on its way
 *   PROBING, PROBED  --enable-debug and CORE_EXCEPT_DEBUG=skipped only: a first, empty pass that
 *              finds out whether there is a FINALLY
 *
 * What a raise records (place, message, causes) lives in a per-thread stack of records
 * (except/stack.c). A frame remembers how high the stack was when it was entered and cuts it back
 * to that when it has dealt with a raise. */

/* This file needs the plain longjmp. The checked one takes every jump on a coroutine's stack for
 * an attack. It does the same to the way back to a RETURN beside a variable-length array. */
#undef _FORTIFY_SOURCE
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/place.h"
#include "except/rep.h"

EXCEPT_DEFINE(Assert_Failed, NULL, "assertion failed");

enum { MESSAGE_MAX = 4096 };

/* the state in which a frame starts */
#if CORE_DEBUG
enum { FIRST = PROBING };
#else
enum { FIRST = TRYING };
#endif

int Except__first = FIRST;
EXCEPT__PER_THREAD Thread except__thread = { { NULL, NULL }, NULL, NULL, NULL, NULL, 0 };

#if EXCEPT__BY_DISTANCE
/* Until it is known, a TRY would be a segmentation fault; so this runs before all constructors. */
ptrdiff_t Except__distance __attribute__((used)) = PTRDIFF_MIN; /* by inline assembly alone */

static void find_distance(void)
{
	char *thread_pointer;

	__asm__("mov{q}\t{%%fs:0, %0|%0, QWORD PTR fs:0}" : "=r"(thread_pointer));
	Except__distance = (char *)&except__thread.public - thread_pointer;
}

static void (*const before_constructors)(void)
	__attribute__((section(".init_array.00000"), used)) = find_distance;
#endif

/* Into each way to raise: an eighth of the time from raise to catch. */
#define INLINE inline __attribute__((always_inline))

/* ---- the stack of records ---- */

/* Returns the message with end behind it, cut to what there is room for; NULL without any. */
static const char *format_message(const char *fmt, va_list ap, const char *end)
{
	size_t room = (size_t)(except__thread.end - except__thread.public.next);
	size_t length = strlen(end), n;
	char *message = except__thread.public.next;

	if (room > MESSAGE_MAX)
		room = MESSAGE_MAX;
	if (room < length + 16)
		return NULL;
	n = text__vformat(message, room - length, fmt, ap);
	memcpy(message + n, end, length + 1);
	return except__take(n + length + 1);
}

static INLINE Record *fill_record(Record *r, const Except_T *e, const char *file,
	const char *function, int line)
{
	r->cause = NULL;
	r->exception = e;
	r->file = file;
	r->function = function;
	r->message = NULL;
	r->line = line;
	r->error = *except__thread.error;
	r->nframes = r->flags = 0;
	return r;
}

static Record *record_raise(const Except_T *e, const char *file, const char *function, int line,
	void *raiser)
{
	int error = errno, nframes = __atomic_load_n(&except__nframes, __ATOMIC_RELAXED);
	Record *r = except__take(sizeof *r + (size_t)nframes * sizeof r->frames[0]);

	if (!r)
		return NULL;
	fill_record(r, e, file, function, line);
	r->error = error; /* from before the mapping was made */
	if (nframes > 0)
		r->nframes = (unsigned short)place__capture(r->frames, nframes, raiser);
	return r;
}

/* Returns r itself if it has no cause. */
static Record *last_cause_of(Record *r)
{
	while (r->cause)
		r = r->cause;
	return r;
}

/* old, which r displaces, becomes the last of r's causes, unless it is among them: after a RERAISE
 * two frames hold the same record. Chains that meet end alike. */
static void add_cause(Record *r, Record *old)
{
	if (r && old && last_cause_of(r) != last_cause_of(old))
		last_cause_of(r)->cause = old;
}

/* ---- identity ---- */

static const Except_T *identity_of(const Except_T *e)
{
	return e->self ? e->self : e;
}

int except__is_kind_of(const Except_T *e, const Except_T *ancestor)
{
	for (; e; e = e->parent)
		if (identity_of(e) == identity_of(ancestor))
			return 1;
	return 0;
}

/* Returns the exception, or its copy if the object itself may be gone. */
static const Except_T *kept_exception(const Except_Frame *f)
{
	const Record *r = f->record;

	return r && r->flags & RECORD_IS_KEPT ? r->kept : f->exception;
}

/* ---- links ---- */

Except_Frame *except__current(void)
{
	Except_Link *link = except__thread.public.top;

	while (link && !except__is_in(link, HOLDING))
		link = link->up;
	return link ? except__frame_of(link) : NULL;
}

int Except__is_unset(const Except_Scoped *s)
{
	const unsigned char *p = s->link.argument;
	size_t i;

	for (i = 0; i < s->size; i++)
		if (p[i] != Except__UNSET)
			return 0;
	return s->size > 0;
}

/* ---- unwinding ---- */

/* An exception for which code runs that is in no handler of it: current to that code, and the
 * cause of whatever that code raises. */
static void hold_exception(Except_Frame *f, const Except_T *e, const char *file, int line,
	Record *record)
{
	f->link.run = NULL;
	f->exception = e;
	f->file = file;
	f->line = line;
	f->record = record;
	f->mark = except__thread.public.next;
	f->state = CLOSING;
	Except__push(&f->link, &except__thread.public);
}

/* Output that the program printed so far is lost in abort() if stdout is a pipe or a file. A
 * stream that another thread is amid, or a pipe that has no reader, must not keep us from the
 * report. */
static void flush_stdout(void)
{
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	if (ftrylockfile(stdout) == 0) {
		fflush(stdout);
		funlockfile(stdout);
	}
}

static void clear_dying(int **dying)
{
	**dying = 0;
}

/* The hook may end the thread, or throw in C++, but not raise: then it is not called again. */
static void run_hook(const Except_T *e)
{
	if (!except__thread.dying) {
		int *dying __attribute__((cleanup(clear_dying))) = &except__thread.dying;

		*dying = 1;
		except__call_hook(e);
	}
}

static void die_uncaught(const Except_T *e, const char *file, int line,
	Record *record) CORE_NORETURN;
static void die_uncaught(const Except_T *e, const char *file, int line, Record *record)
{
	Except_Frame f __attribute__((cleanup(Except__leave)));

	hold_exception(&f, e, file, line, record);
	run_hook(e);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL); /* to print is a point of cancellation */
	flush_stdout();
	fputs("uncaught exception: ", stderr);
	except__report(stderr, &f);
	fflush(stderr);
	abort();
}

static void __attribute__((noinline)) call_holding(Except_Link *link, const Except_T *e,
	const char *file, int line, Record *record)
{
	Except_Frame f __attribute__((cleanup(Except__leave)));

	hold_exception(&f, e, file, line, record);
	/* cleanup unlinks f, which the analyzer does not follow */
	except__run(link); /* NOLINT(clang-analyzer-core.StackAddressEscape) */
}

/* Goes back to the frame's setjmp. Not declared as noreturn, nor are those into which it is
 * inlined: the compiler would call the jump instead of jumping to it. */
static INLINE void jump_to_frame(Jump jump, Except_Frame *f, int state, const Except_T *e,
	const char *file, int line, Record *record)
{
	f->state = state;
	f->exception = e;
	f->file = file;
	f->line = line;
	f->record = record;
	jump(f->env, 1);
}

static INLINE Jump jump_now(void)
{
	return __atomic_load_n(&except__jump, __ATOMIC_RELAXED);
}

/* The state of the frame in which a raise arrives that was made in it or inside it. */
static int state_after_raise(const Except_Frame *f)
{
	if (f->state == TRYING)
		return RAISED;
	return f->state == UNWINDING ? except__end_walk(f) : PENDING;
}

void except__deliver(const Except_T *e, const char *file, int line, Record *record)
{
	Jump jump = jump_now();
	Except_Link *link, *inner;

	for (link = except__thread.public.top; link && !except__is_in(link, CATCHING); link = link->up)
		if (except__is_in(link, HOLDING))
			add_cause(record, except__frame_of(link)->record);
	if (!link)
		die_uncaught(e, file, line, record);
	if (except__frame_of(link)->state != TRYING)
		add_cause(record, except__frame_of(link)->record);
	if (jump != longjmp)
		except__keep(record);
	while (jump == longjmp && (inner = except__thread.public.top) != link) {
		Except__unlink(inner);
		if (!inner->run)
			continue;
		except__keep(record);
		call_holding(inner, e, record ? record->file : file, line, record);
	}
	if (record)
		file = record->file;
	jump_to_frame(jump, except__frame_of(link), state_after_raise(except__frame_of(link)), e, file,
		line, record);
	__builtin_unreachable();
}

/* Most raises have nothing between them and the body of a TRY, and are not to pay for the
 * others. */
static INLINE int is_trying(Except_Link *link)
{
	return __builtin_expect(link && !link->run && except__frame_of(link)->state == TRYING, 1);
}

/* Raises the exception of f again outside of f. The next frame gets this state if its body runs. */
static INLINE void propagate_beyond(Except_Frame *f, int state)
{
	Except__unlink(&f->link);
	if (is_trying(f->link.up))
		jump_to_frame(jump_now(), except__frame_of(f->link.up), state, f->exception, f->file,
			f->line, f->record);
	else
		except__deliver(f->exception, f->file, f->line, f->record);
}

/* ---- the statement ---- */

Except_Thread *Except__thread(void)
{
	return &except__thread.public;
}

static void require_exception(const Except_T *e, const char *file, const char *function, int line,
	const char *what)
{
	if (!e)
		Except__raise_msg(&Assert_Failed, file, function, line, "%s: the exception is NULL", what);
}

int Except__match(Except_Frame *f, const Except_T *e)
{
	require_exception(e, f->file, NULL, f->line, "EXCEPT");
	if (!except__is_kind_of(kept_exception(f), e))
		return 0;
	f->state = HANDLING;
	return 1;
}

/* Before FINALLY, in the rarer states: 1 to run it. */
int Except__close(Except_Frame *f, const char *place)
{
	switch (f->state) {
	case PROBING:
		f->state = PROBED;
		f->finally = place;
		return 0;
	case HANDLING:
		except__cut_back(f->mark);
		f->state = FINISHING;
		return 1;
	case RETURNING:
		f->state = CLOSING_RETURN;
		return 1;
	default:
		except__keep(f->record);
		if (f->record)
			f->file = ((const Record *)f->record)->file;
		f->state = CLOSING;
		return 1;
	}
}

/* Without a FINALLY, and no clause took it. */
void Except__pass(Except_Frame *f)
{
	if (f->state == PROBING)
		f->finally = NULL;
	if (f->state == PROBING || f->state == PROBED) {
		f->state = TRYING;
		longjmp(f->env, 1);
	}
	if (f->state == RETURNING)
		except__return_on(f);
	propagate_beyond(f, f->state == RAISED_KEPT ? RAISED_KEPT : RAISED);
	__builtin_unreachable();
}

/* At END_TRY, after a handler or a FINALLY with something pending. */
void Except__end(Except_Frame *f)
{
	switch (f->state) {
	case CLOSING:
		propagate_beyond(f, RAISED_KEPT);
		break;
	case CLOSING_RETURN:
		except__return_on(f);
	default:
		except__cut_back(f->mark);
		Except__unlink(&f->link);
	}
}

/* The block was left by return, break, continue, goto, or by another language's unwinding. */
void Except__abandon(Except_Frame *f)
{
	if (f->state == UNWINDING)
		except__arrive(f);
	if (Except__first == PROBING && (f->state == TRYING || f->state == HANDLING) && f->finally)
		fprintf(stderr,
			"libcore: %s: this FINALLY was skipped by return, break, continue, goto, a C++ "
			"exception or the end of the thread; RETURN runs it\n", f->finally);
	except__cut_back(f->mark);
	Except__unlink(&f->link);
}

/* ---- raising ---- */

static void __attribute__((noinline)) raise_slowly(const Except_T *e, const char *file,
	const char *function, int line, void *raiser, const char *call) EXCEPT__NORETURN;
static void __attribute__((noinline)) raise_slowly(const Except_T *e, const char *file,
	const char *function, int line, void *raiser, const char *call)
{
	require_exception(e, file, function, line, call);
	except__deliver(e, file, line, record_raise(e, file, function, line, raiser));
}

static INLINE void raise_from(const Except_T *e, const char *file, const char *function, int line,
	void *raiser, const char *call) EXCEPT__NORETURN;
static INLINE void raise_from(const Except_T *e, const char *file, const char *function, int line,
	void *raiser, const char *call)
{
	Except_Link *link = except__thread.public.top;
	Record *r = (Record *)(void *)except__thread.public.next;
	enum { SIZE = (sizeof *r + 15) & ~15 };

	if (e && is_trying(link) && except__thread.end - except__thread.public.next >= SIZE
		&& __atomic_load_n(&except__nframes, __ATOMIC_RELAXED) == 0) {
		except__thread.public.next += SIZE;
		jump_to_frame(jump_now(), except__frame_of(link), RAISED, e, file, line,
			fill_record(r, e, file, function, line));
		__builtin_unreachable();
	}
	raise_slowly(e, file, function, line, raiser, call);
}

void Except_raise(const Except_T *e, const char *file, int line)
{
	raise_from(e, file, NULL, line, __builtin_return_address(0), "Except_raise");
}

void Except__raise(const Except_T *e, const char *file, const char *function, int line)
{
	raise_from(e, file, function, line, __builtin_return_address(0), "RAISE");
}

void Except__raise_msg(const Except_T *e, const char *file, const char *function, int line,
	const char *fmt, ...)
{
	Record *r;

	require_exception(e, file, function, line, "RAISE_MSG");
	r = record_raise(e, file, function, line, __builtin_return_address(0));
	if (r) {
		va_list ap;

		va_start(ap, fmt);
		r->message = format_message(fmt, ap, "");
		va_end(ap);
	}
	except__deliver(e, file, line, r);
}

/* Makes the record of a raise that its errno explains; end goes behind the message. */
static Record *record_for_errno(Record *r, int error, const char *end, const char *fmt, va_list ap)
{
	if (r) {
		r->error = error;
		r->flags |= RECORD_MEANS_ERRNO;
		r->message = format_message(fmt, ap, end);
	}
	errno = error;
	return r;
}

void Except__raise_errno(const Except_T *e, const char *file, const char *function, int line,
	int error, const char *fmt, ...)
{
	char text[128], end[160];
	Record *r;
	va_list ap;

	require_exception(e, file, function, line, "RAISE_ERRNO");
	text__format(end, sizeof end, ": %s", text__error(error, text, sizeof text));
	va_start(ap, fmt);
	r = record_for_errno(record_raise(e, file, function, line, __builtin_return_address(0)), error,
		end, fmt, ap);
	va_end(ap);
	except__deliver(e, file, line, r);
}

void except__raise_for_errno(const Except_T *e, const char *file, const char *function, int line,
	int error, const char *fmt, ...)
{
	Record *r;
	va_list ap;

	va_start(ap, fmt);
	r = record_for_errno(record_raise(e, file, function, line, __builtin_return_address(0)), error,
		"", fmt, ap);
	va_end(ap);
	except__deliver(e, file, line, r);
}

void Except__reraise(const char *file, const char *function, int line)
{
	const Except_Frame *f = except__current();

	if (!f)
		Except__raise_msg(&Assert_Failed, file, function, line,
			"RERAISE: no exception is being handled");
	except__deliver(f->exception, f->file, f->line, f->record);
}

