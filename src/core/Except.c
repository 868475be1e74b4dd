/* SPDX-License-Identifier: MIT */
/* Except: a stack of links per thread, innermost first. A link is a TRY statement's frame or
 * something to run when a scope is left (DEFER, AUTO); each lives in the C frame that it serves.
 *
 * Invariant: except__thread.public.top leads to exactly the links whose blocks are still open, in order; link.top
 * is NULL in every other. A frame is linked from Except__enter until its FINALLY has ended, so that a raise
 * in a handler still finds it.
 *
 * States of a frame, and what a raise inside it does:
 *   TRYING     the body runs              -> RAISED, back to setjmp
 *   RAISED     clauses are being tried    -> PENDING (a clause's own expression raised)
 *   HANDLING   a handler runs             -> PENDING, back to setjmp; what it handled is the cause
 *   PENDING    no clause may take it any more; FINALLY is next
 *   FINISHING  FINALLY runs, nothing pending  -> goes further out
 *   CLOSING    FINALLY runs, then it goes on  -> goes further out; the pending one is the cause
 *   RETURNING / CLOSING_RETURN  the same two for a RETURN on its way
 *   PROBING, PROBED  --enable-debug only: a first, empty pass that finds out whether there is a FINALLY
 *
 * What a raise records (place, message, causes) lives in a per-thread stack of records (except/stack.c). A frame
 * remembers how high the stack was when it was entered and cuts it back to that when it has dealt with a raise. */

/* A checked longjmp takes the way back to a RETURN in a block with a variable-length array, and every
 * jump on a coroutine's stack, for an attack; this file needs the plain one. */
#undef _FORTIFY_SOURCE
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "except/rep.h"

EXCEPT_DEFINE(Assert_Failed, NULL, "assertion failed");

enum { TRYING = Except__TRYING, FINISHING = Except__FINISHING, RAISED = Except__RAISED,
	HANDLING = Except__HANDLING, CLOSING = Except__CLOSING, PENDING, RETURNING, CLOSING_RETURN, PROBING, PROBED };

enum { MESSAGE_MAX = 4096 };

/* the state in which a frame starts */
#if CORE_DEBUG
enum { FIRST = PROBING };
#else
enum { FIRST = TRYING };
#endif

EXCEPT__PER_THREAD Thread except__thread = { { NULL, NULL, FIRST }, NULL, NULL, NULL, NULL, 0 };

/* Into each way to raise: an eighth of the time from raise to catch. */
#define INLINE inline __attribute__((always_inline))

/* ---- the stack of records ---- */

/* NULL if there is no room */
static inline void *take(size_t nbytes)
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

/* mark is NULL if the frame is older than the mapping */
static void cut_back(void *mark)
{
	except__thread.public.next = mark ? mark : except__thread.records;
}

/* Returns the message, cut to what there is room for; NULL without any. */
static const char *format(const char *fmt, va_list ap)
{
	size_t room = (size_t)(except__thread.end - except__thread.public.next);

	if (room > MESSAGE_MAX)
		room = MESSAGE_MAX;
	if (room < 16)
		return NULL;
	return take(text__vformat(except__thread.public.next, room, fmt, ap) + 1);
}

static INLINE Record *fill(Record *r, const Except_T *e, const char *file, const char *function, int line)
{
	r->cause = NULL;
	r->exception = e;
	r->file = file;
	r->function = function;
	r->message = NULL;
	r->line = line;
	r->nframes = 0;
	r->error = *except__thread.error;
	return r;
}

static Record *record(const Except_T *e, const char *file, const char *function, int line, void *raiser)
{
	int error = errno, nframes = __atomic_load_n(&except__nframes, __ATOMIC_RELAXED);
	Record *r = take(sizeof *r + (size_t)nframes * sizeof r->frames[0]);

	if (!r)
		return NULL;
	fill(r, e, file, function, line);
	r->error = error; /* from before the mapping was made */
	if (nframes > 0)
		r->nframes = except__capture(r->frames, nframes, raiser);
	return r;
}

static Record *last_of(Record *r)
{
	while (r->cause)
		r = r->cause;
	return r;
}

/* old, which r displaces, becomes the last of r's causes, unless it is among them: after a RERAISE two
 * frames hold the same record. Chains that meet end alike. */
static void add_cause(Record *r, Record *old)
{
	if (r && old && last_of(r) != last_of(old))
		last_of(r)->cause = old;
}

/* ---- identity ---- */

static const Except_T *identity(const Except_T *e)
{
	return e->self ? e->self : e;
}

static int is_kind_of(const Except_T *e, const Except_T *ancestor)
{
	for (; e; e = e->parent)
		if (identity(e) == identity(ancestor))
			return 1;
	return 0;
}

/* ---- links ---- */

static Except_Frame *frame_of(Except_Link *link)
{
	return (Except_Frame *)link; /* its first member */
}

/* sets of states: a switch would be an indirect jump */
enum {
	CATCHING = 1 << TRYING | 1 << RAISED | 1 << HANDLING,
	HOLDING = 1 << RAISED | 1 << HANDLING | 1 << PENDING | 1 << CLOSING
};

static inline int is_in(Except_Link *link, unsigned states)
{
	return !link->run && (states >> frame_of(link)->state & 1);
}

Except_Frame *except__current(void)
{
	Except_Link *link = except__thread.public.top;

	while (link && !is_in(link, HOLDING))
		link = link->up;
	return link ? frame_of(link) : NULL;
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

/* But not for a variable whose initializer raised. */
EXCEPT__ANY_FUNCTION static void call(Except_Link *link)
{
	if (!Except__is_unset((Except_Scoped *)link))
		link->run(link->argument);
}

/* ---- RETURN ---- */

/* What it takes to resume at a RETURN after the FINALLYs have run on the same C frame: clang may have
 * laid their locals over the value and over the links that were left, as it does not see that control
 * comes back (LLVM issue 196468). So the value is put back, and the links are marked unlinked again. */
typedef struct Left {
	struct Left *next;
	Except_Link *link;
} Left;

typedef struct Return {
	Left *left;
	void *value;
	size_t size;
	unsigned char bytes[];
} Return;

static void leave(Except_Link *link, Return *r)
{
	Left *left = r ? take(sizeof *left) : NULL;

	if (left) {
		left->link = link;
		left->next = r->left;
		r->left = left;
	}
	Except__unlink(link);
}

static void resume(void *mark, jmp_buf site, const Return *r) EXCEPT__NORETURN;
static void resume(void *mark, jmp_buf site, const Return *r)
{
	if (r) {
		const Left *left;

		if (r->size > 0)
			memcpy(r->value, r->bytes, r->size);
		for (left = r->left; left; left = left->next)
			left->link->top = NULL;
	}
	cut_back(mark);
	longjmp(site, 1);
}

/* To the clean-up of f. Its env, not needed again, keeps the way back. */
static void go_to_finally(Except_Frame *f, Except_Frame *outermost, jmp_buf site, Return *r) EXCEPT__NORETURN;
static void go_to_finally(Except_Frame *f, Except_Frame *outermost, jmp_buf site, Return *r)
{
	jmp_buf env;

	memcpy(&env, &f->env, sizeof env);
	memcpy(&f->env, site, sizeof env);
	f->link.argument = outermost;
	f->record = r;
	f->state = RETURNING;
	longjmp(env, 1);
}

/* Leaves the links one by one, outwards to the outermost TRY of the function. What is closed is a TRY
 * in whose FINALLY the RETURN stands. */
static void return_through(Except_Frame *outermost, jmp_buf site, Return *r) EXCEPT__NORETURN;
static void return_through(Except_Frame *outermost, jmp_buf site, Return *r)
{
	Except_Link *link;

	do {
		link = except__thread.public.top;
		if (is_in(link, CATCHING))
			go_to_finally(frame_of(link), outermost, site, r);
		leave(link, r);
		if (link->run)
			call(link);
	} while (link != &outermost->link);
	resume(outermost->mark, site, r);
}

void Except__return(Except_Frame *outermost, jmp_buf site, void *value, size_t size)
{
	Return *r = size < RECORDS_SIZE ? take(sizeof *r + size) : NULL;

	/* Without memory all stays where it is, which is right but for clang's bug. */
	if (r) {
		r->left = NULL;
		r->value = value;
		r->size = size;
		if (size > 0)
			memcpy(r->bytes, value, size);
	}
	return_through(outermost, site, r);
}

/* f has been cleaned up */
static void return_on(Except_Frame *f) EXCEPT__NORETURN;
static void return_on(Except_Frame *f)
{
	Except_Frame *outermost = f->link.argument;

	leave(&f->link, f->record);
	if (f != outermost)
		return_through(outermost, f->env, f->record);
	resume(f->mark, f->env, f->record);
}

/* ---- unwinding ---- */

/* An exception for which code runs that is in no handler of it: current to that code, and the cause of
 * whatever that code raises. */
static void hold(Except_Frame *f, const Except_T *e, const char *file, int line, Record *record)
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

static void uncaught(const Except_T *e, const char *file, int line, Record *record) CORE_NORETURN;
static void uncaught(const Except_T *e, const char *file, int line, Record *record)
{
	Except_Frame f;

	hold(&f, e, file, line, record);
	if (!except__thread.dying) { /* else the hook raised */
		except__thread.dying = 1;
		except__call_hook(e);
	}
	fputs("uncaught exception: ", stderr);
	except__report(stderr, &f);
	fflush(stderr);
	abort();
}

static void __attribute__((noinline)) call_holding(Except_Link *link, const Except_T *e, const char *file,
	int line, Record *record)
{
	Except_Frame f __attribute__((cleanup(Except__leave)));

	hold(&f, e, file, line, record);
	call(link); /* NOLINT(clang-analyzer-core.StackAddressEscape): cleanup unlinks f, which the analyzer does not follow */
}

static INLINE void arrive(Except_Frame *f, int state, const Except_T *e, const char *file, int line,
	Record *record) EXCEPT__NORETURN;
static INLINE void arrive(Except_Frame *f, int state, const Except_T *e, const char *file, int line, Record *record)
{
	f->state = state;
	f->exception = e;
	f->file = file;
	f->line = line;
	f->record = record;
	longjmp(f->env, 1);
}

static void deliver(const Except_T *e, const char *file, int line, Record *record) EXCEPT__NORETURN;
static void deliver(const Except_T *e, const char *file, int line, Record *record)
{
	Except_Link *link, *inner;

	for (link = except__thread.public.top; link && !is_in(link, CATCHING); link = link->up)
		if (is_in(link, HOLDING))
			add_cause(record, frame_of(link)->record);
	if (!link)
		uncaught(e, file, line, record);
	if (frame_of(link)->state != TRYING)
		add_cause(record, frame_of(link)->record);
	while ((inner = except__thread.public.top) != link) {
		Except__unlink(inner);
		if (inner->run)
			call_holding(inner, e, file, line, record);
	}
	arrive(frame_of(link), frame_of(link)->state == TRYING ? RAISED : PENDING, e, file, line, record);
}

/* Most raises have nothing between them and the body of a TRY, and are not to pay for the others. */
static INLINE int is_trying(Except_Link *link)
{
	return __builtin_expect(link && !link->run && frame_of(link)->state == TRYING, 1);
}

static void propagate(Except_Frame *f) EXCEPT__NORETURN;
static void propagate(Except_Frame *f)
{
	Except__unlink(&f->link);
	if (is_trying(f->link.up))
		arrive(frame_of(f->link.up), RAISED, f->exception, f->file, f->line, f->record);
	deliver(f->exception, f->file, f->line, f->record);
}

/* ---- the statement ---- */

Except_Thread *Except__thread(void)
{
	return &except__thread.public;
}

static void check(const Except_T *e, const char *file, const char *function, int line, const char *what)
{
	if (!e)
		Except__raise_msg(&Assert_Failed, file, function, line, "%s: the exception is NULL", what);
}

int Except__match(Except_Frame *f, const Except_T *e)
{
	check(e, f->file, NULL, f->line, "EXCEPT");
	if (!is_kind_of(f->exception, e))
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
		cut_back(f->mark);
		f->state = FINISHING;
		return 1;
	case RETURNING:
		f->state = CLOSING_RETURN;
		return 1;
	default:
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
		return_on(f);
	propagate(f);
}

/* At END_TRY, after a handler or a FINALLY with something pending. */
void Except__end(Except_Frame *f)
{
	if (f->state == CLOSING)
		propagate(f);
	if (f->state == CLOSING_RETURN)
		return_on(f);
	cut_back(f->mark);
	Except__unlink(&f->link);
}

/* The block was left by return, break, continue, goto, or by another language's unwinding. */
void Except__abandon(Except_Frame *f)
{
#if CORE_DEBUG
	if ((f->state == TRYING || f->state == HANDLING) && f->finally)
		fprintf(stderr, "libcore: %s: this FINALLY was skipped by return, break, continue, goto, a C++ "
			"exception or the end of the thread; RETURN runs it\n", f->finally);
#endif
	cut_back(f->mark);
	Except__unlink(&f->link);
}

/* ---- raising ---- */

static void __attribute__((noinline)) raise_slowly(const Except_T *e, const char *file, const char *function,
	int line, void *raiser, const char *call) EXCEPT__NORETURN;
static void __attribute__((noinline)) raise_slowly(const Except_T *e, const char *file, const char *function,
	int line, void *raiser, const char *call)
{
	check(e, file, function, line, call);
	deliver(e, file, line, record(e, file, function, line, raiser));
}

static INLINE void raise_from(const Except_T *e, const char *file, const char *function, int line, void *raiser,
	const char *call) EXCEPT__NORETURN;
static INLINE void raise_from(const Except_T *e, const char *file, const char *function, int line, void *raiser,
	const char *call)
{
	Except_Link *link = except__thread.public.top;
	Record *r = (Record *)(void *)except__thread.public.next;
	enum { SIZE = (sizeof *r + 15) & ~15 };

	if (e && is_trying(link) && except__thread.end - except__thread.public.next >= SIZE
		&& __atomic_load_n(&except__nframes, __ATOMIC_RELAXED) == 0) {
		except__thread.public.next += SIZE;
		arrive(frame_of(link), RAISED, e, file, line, fill(r, e, file, function, line));
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

void Except__raise_msg(const Except_T *e, const char *file, const char *function, int line, const char *fmt, ...)
{
	Record *r;

	check(e, file, function, line, "RAISE_MSG");
	r = record(e, file, function, line, __builtin_return_address(0));
	if (r) {
		va_list ap;

		va_start(ap, fmt);
		r->message = format(fmt, ap);
		va_end(ap);
	}
	deliver(e, file, line, r);
}

void Except__reraise(const char *file, const char *function, int line)
{
	const Except_Frame *f = except__current();

	if (!f)
		Except__raise_msg(&Assert_Failed, file, function, line, "RERAISE: no exception is being handled");
	deliver(f->exception, f->file, f->line, f->record);
}

