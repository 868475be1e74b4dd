/* SPDX-License-Identifier: MIT */
/* Arena, continued: copies and strings. All of it could be written by a user of Arena_alloc. */
#include "config.h"

#include <string.h>

#include <core/Arena.h>
#include "arena/rep.h"

#define T Arena_T

static char *copy_string(T a, const char *s, size_t n, const char *function, int line)
{
	char *copy = Arena__quick_at(a, n + 1, __FILE__, function, line);

	copy[n] = '\0';
	return memcpy(copy, s, n);
}

char *Arena_strdup(T a, const char *s)
{
	CHECK_ARENA(a);
	CHECK(s, "Arena_strdup: the string is NULL");
	return copy_string(a, s, strlen(s), __func__, __LINE__);
}

char *Arena_strndup(T a, const char *s, size_t n)
{
	CHECK_ARENA(a);
	CHECK(s || n == 0, "Arena_strndup: NULL with %zu bytes", n);
	return copy_string(a, s ? s : "", s ? strnlen(s, n) : 0, __func__, __LINE__);
}

void *Arena_memdup(T a, const void *p, size_t nbytes)
{
	void *copy;

	CHECK_ARENA(a);
	CHECK(p || nbytes == 0, "Arena_memdup: NULL with %zu bytes", nbytes);
	copy = ALLOC(a, nbytes);
	return nbytes ? memcpy(copy, p, nbytes) : copy;
}

char *Arena_vsprintf(T a, const char *fmt, va_list ap)
{
	char *s;
	va_list again;
	int n;

	CHECK_ARENA(a);
	CHECK(fmt, "Arena_vsprintf: the format is NULL");
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		EXCEPT_RAISE_MSG(Arena_Failed, "Arena_vsprintf: the format \"%s\" cannot be printed", fmt);
	s = ALLOC(a, (size_t)n + 1);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	return s;
}

char *Arena_sprintf(T a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	CHECK_ARENA(a);
	CHECK(fmt, "Arena_sprintf: the format is NULL");
	va_start(ap, fmt);
	s = Arena_vsprintf(a, fmt, ap);
	va_end(ap); /* skipped by a raise: where va_start has nothing to undo, as under every GNU ABI */
	return s;
}
