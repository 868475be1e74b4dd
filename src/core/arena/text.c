/* SPDX-License-Identifier: MIT */
/* Arena, continued: copies, strings, and a FILE * whose text grows in an arena. All of it could
 * be written by a user of the interface, and of fopencookie or funopen.
 *
 * Invariant of a stream: text has room bytes, of which the first length are written and the
 * next is NUL. Each growth defers a call, so that a rewind past it is noticed (lost) and not
 * suffered. Nothing is raised through stdio: it holds the FILE's lock. */
#include "config.h"

#include <errno.h>
#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

static char *copy_string(T a, const char *s, size_t n, const Site *site)
{
	char *copy = arena__alloc_at(a, n + 1, site);

	copy[n] = '\0';
	return memcpy(copy, s, n);
}

char *Arena_strdup(T a, const char *s)
{
	CHECK_ARENA(a);
	CHECK(s, "Arena_strdup: the string is NULL");
	return copy_string(a, s, strlen(s), HERE);
}

char *Arena_strndup(T a, const char *s, size_t n)
{
	CHECK_ARENA(a);
	CHECK(s || n == 0, "Arena_strndup: NULL with %zu bytes", n);
	return copy_string(a, s ? s : "", s ? strnlen(s, n) : 0, HERE);
}

void *Arena_memdup(T a, const void *p, size_t nbytes)
{
	void *copy;

	CHECK_ARENA(a);
	CHECK(p || nbytes == 0, "Arena_memdup: NULL with %zu bytes", nbytes);
	copy = arena__alloc_at(a, nbytes, HERE);
	return nbytes ? memcpy(copy, p, nbytes) : copy;
}

static char *print(T a, const Site *site, const char *fmt, va_list ap) CORE_PRINTF(3, 0);
static char *print(T a, const Site *site, const char *fmt, va_list ap)
{
	char *s;
	va_list again;
	int n;

	CHECK(fmt, "%s: the format is NULL", site->function);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		EXCEPT_RAISE_MSG(Arena_Failed, "%s: the format \"%s\" cannot be printed",
			site->function, fmt);
	s = arena__alloc_at(a, (size_t)n + 1, site);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	return s;
}

char *Arena_vsprintf(T a, const char *fmt, va_list ap)
{
	CHECK_ARENA(a);
	return print(a, HERE, fmt, ap);
}

char *Arena_sprintf(T a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	CHECK_ARENA(a);
	va_start(ap, fmt);
	s = print(a, HERE, fmt, ap);
	va_end(ap); /* skipped by a raise: under every GNU ABI va_start has nothing to undo */
	return s;
}

/* ---- streams ---- */

enum { FIRST_ROOM = 256 };

typedef struct Stream {
	T arena;
	FILE *file;    /* NULL once it is closed */
	char *text;
	size_t length, room;
	int lost;      /* what text points to was released */
	char **result; /* the caller's; NULL once the stream is being closed by a release */
	size_t *result_length;
} Stream;

static void lose(void *cl)
{
	Stream *s = cl;

	s->lost = 1;
}

/* Room for so many bytes and a NUL. Raises: Arena_Failed. */
static void make_room(Stream *s, size_t nbytes)
{
	size_t room;
	char *text;

	if (!add_size(nbytes, 1, &room))
		EXCEPT_RAISE_MSG(Arena_Failed, "a text of %zu bytes is too long", nbytes);
	if (room <= s->room)
		return;
	if (room < 2 * s->room)
		room = 2 * s->room;
	if (room < FIRST_ROOM)
		room = FIRST_ROOM;
	text = ALLOC(s->arena, room);
	Arena_defer(s->arena, lose, s); /* last: a growth that fails must move nothing */
	if (s->length)
		memcpy(text, s->text, s->length);
	s->text = text;
	s->room = room;
}

static int has_room(Stream *s, size_t nbytes)
{
	int has = 1;

	PROTECT(has);
	TRY {
		make_room(s, nbytes);
	} ELSE { /* a backing allocator may raise anything */
		has = 0;
	} END_TRY;
	return has;
}

/* Returns 0 for an error, which ferror and fclose report. */
static ssize_t write_stream(void *cl, const char *bytes, size_t nbytes)
{
	Stream *s = cl;
	size_t length;

	if (!s->result || s->lost) {
		errno = EBADF;
		return 0;
	}
	if (!add_size(s->length, nbytes, &length) || !has_room(s, length)) {
		errno = ENOMEM;
		return 0;
	}
	memcpy(s->text + s->length, bytes, nbytes);
	s->length = length;
	s->text[s->length] = '\0';
	*s->result = s->text;
	*s->result_length = length;
	return (ssize_t)nbytes;
}

static int close_stream(void *cl)
{
	Stream *s = cl;

	s->file = NULL;
	return 0;
}

/* Deferred: the caller has not closed it. His variables may be gone. */
static void end_stream(void *cl)
{
	Stream *s = cl;

	s->result = NULL;
	if (s->file)
		fclose(s->file);
}

#if HAVE_FOPENCOOKIE
static FILE *open_cookie(Stream *s)
{
	cookie_io_functions_t calls = { .write = write_stream, .close = close_stream };

	return fopencookie(s, "w", calls);
}
#else
/* funopen, which the BSDs and macOS have, takes sizes as int and hears of an error by -1. */
static int write_part(void *cl, const char *bytes, int nbytes)
{
	ssize_t written = write_stream(cl, bytes, (size_t)nbytes);

	return written == 0 && nbytes > 0 ? -1 : (int)written;
}

static FILE *open_cookie(Stream *s)
{
	return funopen(s, NULL, write_part, NULL, close_stream);
}
#endif

FILE *Arena_open_stream(T a, char **text, size_t *nbytes)
{
	Stream *s;

	CHECK_ARENA(a);
	CHECK(text && nbytes, "Arena_open_stream: %s is NULL", text ? "nbytes" : "text");
	NEW0(a, s);
	s->arena = a;
	s->result = text;
	s->result_length = nbytes;
	Arena_defer(a, end_stream, s);
	make_room(s, 0);
	s->text[0] = '\0';
	s->file = open_cookie(s);
	if (!s->file)
		EXCEPT_RAISE_ERRNO(Arena_Failed, "Arena_open_stream");
	*text = s->text;
	*nbytes = 0;
	return s->file;
}
