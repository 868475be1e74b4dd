/* SPDX-License-Identifier: MIT */
/* Except: exceptions that travel. A capture is a plain value, copied out of the thread's stack of
 * records. It can go to another thread, into a queue or to another language. Raised there, the
 * exception has the place where it was raised first. */
#include "config.h"

#include <string.h>

#include "base/text.h"
#include "except/rep.h"

/* The flags of a capture. */
enum { MEANS_ERRNO = 1, HAS_MESSAGE = 2 };

enum { CAUSES = sizeof ((Except_Capture *)NULL)->causes / sizeof(Except_T *) };

/* Keeps the end of a path that is too long, which has the file's name. */
static void copy_path(char *to, size_t size, const char *path)
{
	size_t n = strlen(path);
	const char *tail;

	if (n < size) {
		memcpy(to, path, n + 1);
		return;
	}
	tail = path + n - (size - sizeof "...");
	while (((unsigned char)*tail & 0xC0) == 0x80)
		tail++;
	text__format(to, size, "...%s", tail);
}

static void copy_text(char *to, size_t size, const char *text)
{
	text__format(to, size, "%s", text ? text : "");
}

void Except_capture(Except_Capture *c)
{
	const Except_Frame *f = except__current();
	const Record *r, *cause;
	int i = 0;

	CHECK(c, "Except_capture: the capture is NULL");
	CHECK(f, "Except_capture: no exception is being handled");
	r = f->record;
	memset(c, 0, sizeof *c);
	c->exception = f->exception;
	for (cause = r ? r->cause : NULL; cause && i < CAUSES; cause = cause->cause)
		c->causes[i++] = cause->exception;
	copy_text(c->message, sizeof c->message, Except_message());
	copy_path(c->file, sizeof c->file, f->file ? f->file : "");
	copy_text(c->function, sizeof c->function, r ? r->function : NULL);
	c->line = f->line;
	c->error = r ? r->error : 0;
	if (r && r->flags & RECORD_MEANS_ERRNO)
		c->flags |= MEANS_ERRNO;
	if (r && r->message)
		c->flags |= HAS_MESSAGE;
}

/* Returns NULL for an empty text, or if there is no room. */
static const char *keep_text(const char *text, size_t size)
{
	size_t n = strnlen(text, size - 1);
	char *copy = n > 0 ? except__take(n + 1) : NULL;

	if (!copy)
		return NULL;
	copy[n] = '\0';
	return memcpy(copy, text, n);
}

/* Returns a record of e alone; NULL if there is no room. */
static Record *make_record(const Except_T *e)
{
	Record *r = except__take(sizeof *r);

	if (r) {
		memset(r, 0, sizeof *r);
		r->exception = e;
	}
	return r;
}

void Except_rethrow(const Except_Capture *c)
{
	Record *r, *last;
	int i;

	CHECK(c, "Except_rethrow: the capture is NULL");
	CHECK(c->exception, "Except_rethrow: there is no exception in the capture");
	r = last = make_record(c->exception);
	if (!r)
		except__deliver(c->exception, NULL, c->line, NULL);
	/* copies, as a clean-up on the way may release the capture */
	r->file = keep_text(c->file, sizeof c->file);
	r->function = keep_text(c->function, sizeof c->function);
	if (c->flags & HAS_MESSAGE)
		r->message = keep_text(c->message, sizeof c->message);
	r->line = c->line;
	r->error = c->error;
	if (c->flags & MEANS_ERRNO)
		r->flags |= RECORD_MEANS_ERRNO;
	for (i = 0; i < CAUSES && c->causes[i] && last; i++)
		last = last->cause = make_record(c->causes[i]);
	except__deliver(r->exception, r->file, r->line, r);
}

int Except_call(void (*fn)(void *), void *cl, Except_Capture *capture)
{
	CHECK(fn, "Except_call: the function is NULL");
	EXCEPT_TRY {
		fn(cl);
	} EXCEPT_ELSE {
		if (capture)
			Except_capture(capture);
		return 0;
	} EXCEPT_END_TRY;
	return 1;
}
