/* SPDX-License-Identifier: MIT */
/* Except: a stack of links per thread, innermost first. A link is a TRY statement's frame or
 * something to run when a scope is left (DEFER, AUTO); each lives in the C frame that it serves.
 *
 * Invariant: thread.top leads to exactly the links whose blocks are still open, in order. A frame is
 * linked from Except__enter until its FINALLY has ended, so that a raise in a handler still finds it.
 *
 * States of a frame, and what a raise inside it does:
 *   TRYING     the body runs              -> RAISED, back to setjmp
 *   RAISED     clauses are being tried    -> PENDING (a clause's own expression raised)
 *   HANDLING   a handler runs             -> PENDING, back to setjmp; what it handled is the cause
 *   PENDING    no clause may take it any more; FINALLY is next
 *   FINISHING  FINALLY runs, nothing pending  -> goes further out
 *   CLOSING    FINALLY runs, then it goes on  -> goes further out; the pending one is the cause
 *   RETURNING / CLOSING_RETURN  the same two for a RETURN on its way
 *   PROBING    --enable-debug only: a first, empty pass that finds out whether there is a FINALLY
 *   DONE       unlinked
 *
 * What a raise records (place, message, causes) lives in a per-thread stack of records, a mapping made
 * at the first raise: a heap would need malloc at the worst moment, space in the frame would make every
 * TRY pay for the longest message, thread-local storage that large breaks dlopen. A frame remembers how
 * high the stack was when it was entered and cuts it back to that when it has dealt with a raise. */

/* A checked longjmp takes the way back to a RETURN, and every jump on a coroutine's stack, for an
 * attack; this file needs the plain one. */
#undef _FORTIFY_SOURCE
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if HAVE_EXECINFO_H
#include <execinfo.h>
#endif
#if HAVE_DLADDR
#include <dlfcn.h>
#endif

#include <core/Except.h>
#include "checked.h"

EXCEPT_DEFINE(Assert_Failed, NULL, "assertion failed");

enum { TRYING = Except__TRYING, FINISHING = Except__FINISHING, DONE = Except__DONE,
	RAISED, HANDLING, PENDING, CLOSING, RETURNING, CLOSING_RETURN, PROBING };

enum { BACKTRACE_MAX = 32, RECORDS_SIZE = 256 * 1024, MESSAGE_MAX = 4096 };

typedef struct Record {
	struct Record *cause;
	const Except_T *exception;
	const char *file, *function, *message;
	int line, error;
	int nframes;
	void *frames[];
} Record;

/* An exception on its way: what a frame keeps of it. record is NULL when there was no memory. */
typedef struct Raised {
	const Except_T *exception;
	const char *file;
	int line;
	Record *record;
} Raised;

/* One initial-exec slot, tiny: large static TLS makes dlopen fail. */
static __thread __attribute__((tls_model("initial-exec"))) struct {
	Except_Link *top;
	char *records, *next;  /* the stack of records; next is its first free byte */
	const void *value;     /* of the RETURN that is about to resume */
	const Raised *uncaught;
} thread;

static struct {
	Except_Hook *hook;
	void *cl;
} uncaught_hook;
static pthread_mutex_t uncaught_lock = PTHREAD_MUTEX_INITIALIZER;
static int backtrace_frames;

/* ---- the stack of records ---- */

static pthread_key_t records_key;
static int records_key_made;

static void free_records(void *records)
{
	munmap(records, RECORDS_SIZE);
	thread.records = thread.next = NULL; /* a raise in a later destructor maps it again */
}

/* Early, so that the key is among those whose pthread_setspecific never allocates. */
static void __attribute__((constructor)) make_records_key(void)
{
	records_key_made = pthread_key_create(&records_key, free_records) == 0;
}

static int map_records(void)
{
	void *p;

	if (!records_key_made)
		return 0;
	p = mmap(NULL, RECORDS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 0;
	if (pthread_setspecific(records_key, p) != 0) {
		munmap(p, RECORDS_SIZE);
		return 0;
	}
	thread.records = thread.next = p;
	return 1;
}

static size_t records_left(void)
{
	if (!thread.records && !map_records())
		return 0;
	return RECORDS_SIZE - (size_t)(thread.next - thread.records);
}

static void *take(size_t nbytes)
{
	void *p = thread.next;

	nbytes = (nbytes + 15) & ~(size_t)15;
	if (nbytes > records_left())
		return NULL;
	p = thread.next;
	thread.next += nbytes;
	return p;
}

/* mark is NULL if the frame is older than the stack */
static void cut_back(void *mark)
{
	thread.next = mark ? mark : thread.records;
}

static const char *format(const char *fmt, va_list ap)
{
	size_t room = records_left();
	char *message = thread.next;
	int n;

	if (room > MESSAGE_MAX)
		room = MESSAGE_MAX;
	if (room < 16)
		return NULL;
	n = vsnprintf(message, room, fmt, ap);
	if (n < 0)
		return NULL;
	if ((size_t)n >= room) {
		memcpy(message + room - 4, "...", 4);
		n = (int)room - 1;
	}
	return take((size_t)n + 1);
}

static Record *record(const Except_T *e, const char *file, const char *function, int line, int error)
{
	int nframes = __atomic_load_n(&backtrace_frames, __ATOMIC_RELAXED);
	Record *r = take(sizeof *r + (size_t)nframes * sizeof r->frames[0]);

	if (!r)
		return NULL;
	r->cause = NULL;
	r->exception = e;
	r->file = file;
	r->function = function;
	r->message = NULL;
	r->line = line;
	r->error = error;
	r->nframes = 0;
#if HAVE_EXECINFO_H
	if (nframes > 0)
		r->nframes = backtrace(r->frames, nframes);
#endif
	return r;
}

/* old, which r displaces, becomes the last of r's causes */
static void add_cause(Record *r, Record *old)
{
	if (!r || !old)
		return;
	while (r != old && r->cause)
		r = r->cause;
	if (r != old)
		r->cause = old;
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

/* ---- unwinding ---- */

static void push(Except_Link *link)
{
	link->up = thread.top;
	link->top = &thread.top;
	thread.top = link;
}

static void pop(Except_Link *link)
{
	thread.top = link->up;
	link->top = NULL;
}

static Except_Frame *frame_of(Except_Link *link)
{
	return (Except_Frame *)link; /* its first member */
}

static int catches(const Except_Link *link)
{
	const Except_Frame *f = (const Except_Frame *)link;

	return !link->run && (f->state == TRYING || f->state == RAISED || f->state == HANDLING);
}

static int holds_exception(const Except_Frame *f)
{
	return f->state == RAISED || f->state == HANDLING || f->state == PENDING || f->state == CLOSING;
}

/* A variable whose initializer raised still has this pattern in every byte, and is not disposed of. */
enum { UNSET = 0xA5 };

static int is_unset(const Except_Scoped *s)
{
	const unsigned char *p = s->link.argument;
	size_t i;

	for (i = 0; i < s->size; i++)
		if (p[i] != UNSET)
			return 0;
	return s->size > 0;
}

static void run(Except_Link *link)
{
	pop(link);
	if (!is_unset((Except_Scoped *)link))
		link->run(link->argument);
}

/* Opens every link inside end, innermost first; a pending exception among them becomes a cause of r. */
static void unwind(Except_Link *end, Record *r)
{
	while (thread.top != end) {
		Except_Link *link = thread.top;

		if (link->run)
			run(link);
		else {
			if (holds_exception(frame_of(link)))
				add_cause(r, frame_of(link)->record);
			frame_of(link)->state = DONE;
			pop(link);
		}
	}
}

static void report(FILE *out, const Raised *raised);

static void uncaught(const Raised *raised) CORE_NORETURN;
static void uncaught(const Raised *raised)
{
	Except_Hook *hook;
	void *cl;

	if (!thread.uncaught) { /* else the hook itself raised */
		pthread_mutex_lock(&uncaught_lock);
		hook = uncaught_hook.hook;
		cl = uncaught_hook.cl;
		pthread_mutex_unlock(&uncaught_lock);
		thread.uncaught = raised;
		if (hook)
			hook(raised->exception, cl);
	}
	fputs("uncaught exception: ", stderr);
	report(stderr, raised);
	fflush(stderr);
	abort();
}

static void deliver(Raised raised) CORE_NORETURN;
static void deliver(Raised raised)
{
	Except_Link *link = thread.top;
	Except_Frame *f;

	while (link && !catches(link))
		link = link->up;
	if (!link)
		uncaught(&raised);
	unwind(link, raised.record);
	f = frame_of(link);
	if (f->state != TRYING)
		add_cause(raised.record, f->record);
	f->state = f->state == TRYING ? RAISED : PENDING;
	f->exception = raised.exception;
	f->file = raised.file;
	f->line = raised.line;
	f->record = raised.record;
	longjmp(f->env, 1);
}

static void propagate(Except_Frame *f) CORE_NORETURN;
static void propagate(Except_Frame *f)
{
	Raised raised = { f->exception, f->file, f->line, f->record };

	f->state = DONE;
	pop(&f->link);
	deliver(raised);
}

/* ---- RETURN ---- */

typedef struct Value {
	size_t size;
	unsigned char bytes[];
} Value;

/* Goes on with a RETURN from f outwards: to the next FINALLY of the function, or back to where the
 * RETURN stands, whose context waits in the env of the frame that was closed last. */
static void return_through(Except_Frame *f, jmp_buf site, void *value) CORE_NORETURN;
static void return_through(Except_Frame *f, jmp_buf site, void *value)
{
	void *mark = f->mark;

	for (; f; f = f->outer) {
		int closed = !catches(&f->link);

		mark = f->mark;
		unwind(&f->link, NULL);
		if (!closed) {
			jmp_buf env;

			memcpy(&env, &f->env, sizeof env);
			memcpy(&f->env, site, sizeof env);
			f->record = value;
			f->state = RETURNING;
			longjmp(env, 1);
		}
		f->state = DONE;
		pop(&f->link);
	}
	cut_back(mark); /* Except__value reads just above it, before anything is written there */
	thread.value = value;
	longjmp(site, 1);
}

void Except__return(Except_Frame *f, jmp_buf site, const void *value, size_t size)
{
	Value *v = NULL;

	/* Without memory the value stays where it is, which is right but for clang's bug. */
	if (value && (v = take(sizeof *v + size)) != NULL) {
		v->size = size;
		memcpy(v->bytes, value, size);
	}
	return_through(f, site, v);
}

void Except__value(void *value, size_t size)
{
	const Value *v = thread.value;

	if (v && v->size == size)
		memcpy(value, v->bytes, size);
	thread.value = NULL;
}

static void return_on(Except_Frame *f) CORE_NORETURN;
static void return_on(Except_Frame *f)
{
	Except_Frame *outer = f->outer;

	f->state = DONE;
	pop(&f->link);
	if (outer)
		return_through(outer, f->env, f->record);
	cut_back(f->mark);
	thread.value = f->record;
	longjmp(f->env, 1);
}

/* ---- the statement ---- */

void Except__enter(Except_Frame *f, Except_Frame *outer, const char *file, int line)
{
	f->link.run = NULL;
	f->exception = NULL;
	f->mark = thread.next;
	f->record = NULL;
	f->outer = outer;
#if CORE_DEBUG
	f->file = file;
	f->try_line = -line; /* made positive when a FINALLY is found */
	f->try_file = file;
	f->state = PROBING;
#else
	(void)file;
	(void)line;
	f->state = TRYING;
#endif
	push(&f->link);
}

int Except__match(Except_Frame *f, const Except_T *e)
{
	if (f->state != RAISED || (e && !is_kind_of(f->exception, e)))
		return 0;
	f->state = HANDLING;
	return 1;
}

/* Before FINALLY: 1 to run it. */
int Except__close(Except_Frame *f)
{
	switch (f->state) {
	case PROBING:
		f->try_line = -f->try_line;
		return 0;
	case HANDLING:
		cut_back(f->mark);
		f->record = NULL;
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
	if (f->state == PROBING) {
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
	f->state = DONE;
	pop(&f->link);
}

/* The block was left by return, break, continue, goto, or by another language's unwinding. */
void Except__abandon(Except_Frame *f)
{
#if CORE_DEBUG
	if (f->try_line > 0 && (f->state == TRYING || f->state == HANDLING))
		fprintf(stderr, "libcore: %s:%d: the FINALLY of this TRY was skipped by return, break, "
			"continue or goto; RETURN runs it\n", f->try_file, f->try_line);
#endif
	if (holds_exception(f))
		cut_back(f->mark);
	f->state = DONE;
	pop(&f->link);
}

/* ---- raising ---- */

void Except_raise(const Except_T *e, const char *file, int line)
{
	Except__raise(e, file, NULL, line);
}

static const Except_T *checked(const Except_T **e, const char *file, const char *function, int line)
{
	if (!*e)
		Except__raise_msg(&Assert_Failed, file, function, line, "RAISE: the exception is NULL");
	return *e;
}

void Except__raise(const Except_T *e, const char *file, const char *function, int line)
{
	int error = errno;
	Raised raised = { checked(&e, file, function, line), file, line, NULL };

	raised.record = record(e, file, function, line, error);
	deliver(raised);
}

void Except__raise_msg(const Except_T *e, const char *file, const char *function, int line, const char *fmt, ...)
{
	int error = errno;
	Raised raised = { checked(&e, file, function, line), file, line, NULL };

	raised.record = record(e, file, function, line, error);
	if (raised.record) {
		va_list ap;

		va_start(ap, fmt);
		raised.record->message = format(fmt, ap);
		va_end(ap);
	}
	deliver(raised);
}

static int current(Raised *raised)
{
	const Except_Link *link;

	if (thread.uncaught) {
		*raised = *thread.uncaught;
		return 1;
	}
	for (link = thread.top; link; link = link->up) {
		const Except_Frame *f = (const Except_Frame *)link;

		if (!link->run && holds_exception(f)) {
			raised->exception = f->exception;
			raised->file = f->file;
			raised->line = f->line;
			raised->record = f->record;
			return 1;
		}
	}
	return 0;
}

void Except__reraise(const char *file, const char *function, int line)
{
	Raised raised;

	if (!current(&raised))
		Except__raise_msg(&Assert_Failed, file, function, line, "RERAISE: no exception is being handled");
	deliver(raised);
}

/* ---- scopes ---- */

void Except__defer(Except_Scoped *s, void (*fn)(void *), void *argument)
{
	s->link.run = fn;
	s->link.argument = argument;
	s->size = 0;
	push(&s->link);
}

void Except__auto(Except_Scoped *s, void (*fn)(void *), void *variable, size_t size)
{
	memset(variable, UNSET, size);
	s->link.run = fn;
	s->link.argument = variable;
	s->size = size;
	push(&s->link);
}

void Except__auto_leave(Except_Scoped *s)
{
	if (s->link.top)
		run(&s->link);
}

/* ---- what is being handled ---- */

const Except_T *Except_current(void)
{
	Raised raised;

	return current(&raised) ? raised.exception : NULL;
}

const char *Except_message(void)
{
	Raised raised;

	if (!current(&raised))
		return NULL;
	return raised.record && raised.record->message ? raised.record->message : raised.exception->reason;
}

const char *Except_file(void)
{
	Raised raised;

	return current(&raised) ? raised.file : NULL;
}

const char *Except_function(void)
{
	Raised raised;

	return current(&raised) && raised.record ? raised.record->function : NULL;
}

int Except_line(void)
{
	Raised raised;

	return current(&raised) ? raised.line : 0;
}

int Except_errno(void)
{
	Raised raised;

	return current(&raised) && raised.record ? raised.record->error : 0;
}

const Except_T *Except_cause(int depth)
{
	Raised raised;
	const Record *r;

	if (depth < 0 || !current(&raised))
		return NULL;
	if (depth == 0)
		return raised.exception;
	for (r = raised.record; r && depth > 0; depth--)
		r = r->cause;
	return r ? r->exception : NULL;
}

/* ---- reports ---- */

static const char *text(const char *s)
{
	return s ? s : "(no reason given)";
}

static void print_frames(FILE *out, const Record *r)
{
	int i;

	for (i = 0; i < r->nframes; i++) {
#if HAVE_DLADDR
		Dl_info info;

		if (dladdr(r->frames[i], &info) && info.dli_sname) {
			fprintf(out, "    #%-2d %p %s+%#lx\n", i, r->frames[i], info.dli_sname,
				(unsigned long)((uintptr_t)r->frames[i] - (uintptr_t)info.dli_saddr));
			continue;
		}
#endif
		fprintf(out, "    #%-2d %p\n", i, r->frames[i]);
	}
}

static void print_one(FILE *out, const Except_T *e, const char *message, const char *file, const char *function, int line)
{
	fputs(text(e->reason), out);
	if (message)
		fprintf(out, ": %s", message);
	fprintf(out, "\n    raised in %s%sat %s:%d\n", function ? function : "", function ? "() " : "",
		file ? file : "(unknown)", line);
}

static void report(FILE *out, const Raised *raised)
{
	const Record *r = raised->record;

	if (!r) {
		print_one(out, raised->exception, NULL, raised->file, NULL, raised->line);
		return;
	}
	for (; r; r = r->cause) {
		print_one(out, r->exception, r->message, r->file, r->function, r->line);
		if (r->error)
			fprintf(out, "    errno was %d: %s\n", r->error, strerror(r->error));
		print_frames(out, r);
		if (r->cause)
			fputs("  caused by ", out);
	}
}

void Except_report(FILE *out)
{
	Raised raised;

	if (current(&raised))
		report(out, &raised);
}

void Except_set_uncaught(Except_Hook *hook, void *cl)
{
	pthread_mutex_lock(&uncaught_lock);
	uncaught_hook.hook = hook;
	uncaught_hook.cl = cl;
	pthread_mutex_unlock(&uncaught_lock);
}

void Except_set_backtrace(int frames)
{
	if (frames < 0 || frames > BACKTRACE_MAX)
		EXCEPT_RAISE_MSG(Assert_Failed, "Except_set_backtrace: %d frames, not 0 to %d", frames, BACKTRACE_MAX);
#if HAVE_EXECINFO_H
	if (frames > 0) { /* the first call may load libgcc: not at a raise */
		void *one[1];

		backtrace(one, 1);
	}
#endif
	__atomic_store_n(&backtrace_frames, frames, __ATOMIC_RELAXED);
}

void core__corrupt(const char *file, int line, const char *what)
{
	fprintf(stderr, "libcore: %s:%d: internal state is corrupt: %s\n", file, line, what);
	fflush(stderr);
	abort();
}
