/* SPDX-License-Identifier: MIT */
/* Questions of a program about an exception: the inquiries of a handler, the report, the
 * hook for an uncaught one, backtraces. Nothing here unwinds; a thread's state is read through
 * except__current. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/place.h"
#include "base/text.h"
#include "except/rep.h"

enum { BACKTRACE_MAX = PLACE_FRAMES };

int except__nframes;
static struct {
	Except_Hook *hook;
	void *cl;
} uncaught_hook;
static pthread_mutex_t uncaught_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- what is being handled ---- */

const Except_T *Except_current(void)
{
	const Except_Frame *f = except__current();

	return f ? f->exception : NULL;
}

static const Record *current_record(void)
{
	const Except_Frame *f = except__current();

	return f ? f->record : NULL;
}

/* Returns the exception, or its copy if the object itself may be gone. */
static const Except_T *exception_of(const Record *r)
{
	return r->flags & RECORD_IS_KEPT ? r->kept : r->exception;
}

const char *Except_message(void)
{
	const Except_Frame *f = except__current();
	const Record *r = current_record();

	if (r)
		return r->message ? r->message : exception_of(r)->reason;
	return f ? f->exception->reason : NULL;
}

const char *Except_file(void)
{
	const Except_Frame *f = except__current();

	return f ? f->file : NULL;
}

const char *Except_function(void)
{
	const Record *r = current_record();

	return r ? r->function : NULL;
}

int Except_line(void)
{
	const Except_Frame *f = except__current();

	return f ? f->line : 0;
}

int Except_errno(void)
{
	const Record *r = current_record();

	return r ? r->error : 0;
}

/* Returns the record of the cause at this depth, from 1 on; NULL past the end. */
static const Record *record_of_cause(int depth)
{
	const Record *r = depth > 0 ? current_record() : NULL;

	for (; r && depth > 0; depth--)
		r = r->cause;
	return r;
}

const Except_T *Except_cause(int depth)
{
	const Record *r = record_of_cause(depth);

	if (depth == 0)
		return Except_current();
	return r ? r->exception : NULL;
}

const char *Except_cause_message(int depth)
{
	const Record *r = record_of_cause(depth);

	if (depth == 0)
		return Except_message();
	if (!r)
		return NULL;
	return r->message ? r->message : exception_of(r)->reason;
}

const char *Except_cause_file(int depth)
{
	const Record *r = record_of_cause(depth);

	if (depth == 0)
		return Except_file();
	return r ? r->file : NULL;
}

int Except_cause_line(int depth)
{
	const Record *r = record_of_cause(depth);

	if (depth == 0)
		return Except_line();
	return r ? r->line : 0;
}

/* ---- reports ---- */

static void print_frames(FILE *out, const Record *r)
{
	char place[512];
	int i;

	for (i = 0; i < r->nframes; i++) {
		place__format(place, sizeof place, r->frames[i], PLACE_OFFSET);
		fprintf(out, "    #%-2d %p%s%s\n", i, r->frames[i], *place ? " " : "", place);
	}
}

static void print_record(FILE *out, const Record *r)
{
	char text[128];
	const char *reason = exception_of(r)->reason;

	fputs(reason ? reason : "(no reason given)", out);
	if (r->message)
		fprintf(out, ": %s", r->message);
	fputc('\n', out);
	if (r->file || r->function || r->line) { /* the causes of a capture have no place */
		fputs("    raised ", out);
		if (r->function)
			fprintf(out, "in %s() ", r->function);
		fprintf(out, "at %s:%d\n", r->file ? r->file : "(unknown)", r->line);
	}
	if (r->flags & RECORD_MEANS_ERRNO)
		fprintf(out, "    errno was %d: %s\n", r->error, text__error(r->error, text, sizeof text));
	print_frames(out, r);
}

void except__report(FILE *out, const Except_Frame *f)
{
	/* there was no memory for a record: then there are no causes, but still this */
	Record bare = { .exception = f->exception, .file = f->file, .line = f->line };
	const Record *r = f->record ? f->record : &bare;

	print_record(out, r);
	for (r = r->cause; r; r = r->cause) {
		fputs("  caused by ", out);
		print_record(out, r);
	}
}

void Except_report(FILE *out)
{
	const Except_Frame *f = except__current();

	int before = errno; /* stdio asks what kind of file it is: not always a terminal */

	CHECK(out, "Except_report: the file is NULL");
	if (f)
		except__report(out, f);
	errno = before;
}

/* ---- uncaught ---- */

void except__lock_hook(void)
{
	pthread_mutex_lock(&uncaught_lock);
}

void except__unlock_hook(void)
{
	pthread_mutex_unlock(&uncaught_lock);
}

void except__call_hook(const Except_T *e)
{
	Except_Hook *hook;
	void *cl;

	except__lock_hook();
	hook = uncaught_hook.hook;
	cl = uncaught_hook.cl;
	except__unlock_hook();
	if (hook)
		hook(e, cl);
}

void Except_set_uncaught(Except_Hook *hook, void *cl)
{
	except__lock_hook();
	uncaught_hook.hook = hook;
	uncaught_hook.cl = cl;
	except__unlock_hook();
}

/* ---- backtraces ---- */

void Except_set_backtrace(int frames)
{
	CHECK(frames >= 0 && frames <= BACKTRACE_MAX, "Except_set_backtrace: %d frames, not 0 to %d",
		frames, BACKTRACE_MAX);
	if (frames > 0)
		place__prepare(); /* not at a raise */
	__atomic_store_n(&except__nframes, frames, __ATOMIC_RELAXED);
}

/* ---- at run time, without a rebuild ---- */

/* Not for a program that runs with more rights than whoever started it. */
void except__read_debug(void)
{
	int has_own_rights = getuid() == geteuid() && getgid() == getegid();
	const char *s = has_own_rights ? getenv("CORE_EXCEPT_DEBUG") : NULL;

	for (; s && *s; s += *s == ',') {
		size_t n = strcspn(s, ",");

		if (text__is_word(s, n, "skipped"))
			Except__first = PROBING;
		else if (text__is_word(s, n, "backtrace"))
			Except_set_backtrace(BACKTRACE_MAX);
		else
			fprintf(stderr,
				"libcore: CORE_EXCEPT_DEBUG takes skipped and backtrace, not \"%.*s\"\n",
				(int)n, s);
		s += n;
	}
}

/* ---- corruption ---- */

void core__corrupt(const char *file, int line, const char *what)
{
	fprintf(stderr, "libcore: %s:%d: internal state is corrupt: %s\n", file, line, what);
	fflush(stderr);
	abort();
}
