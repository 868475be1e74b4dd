/* SPDX-License-Identifier: MIT */
/* funopen(3) as the BSDs have it, made of fopencookie. It only writes. */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

FILE *funopen(const void *cookie, int (*read)(void *, char *, int),
	int (*write)(void *, const char *, int), fpos_t (*seek)(void *, fpos_t, int),
	int (*close)(void *));

typedef struct Cookie {
	void *cl;
	int (*write)(void *, const char *, int);
	int (*close)(void *);
} Cookie;

/* An error is -1 to the BSDs' stdio, and 0 to glibc's. */
static ssize_t pass_write(void *cookie, const char *bytes, size_t nbytes)
{
	Cookie *c = cookie;
	int n = c->write(c->cl, bytes, nbytes > INT_MAX ? INT_MAX : (int)nbytes);

	return n < 0 ? 0 : n;
}

static int pass_close(void *cookie)
{
	Cookie *c = cookie;
	int result = c->close(c->cl);

	free(c);
	return result;
}

FILE *funopen(const void *cookie, int (*read)(void *, char *, int),
	int (*write)(void *, const char *, int), fpos_t (*seek)(void *, fpos_t, int),
	int (*close)(void *))
{
	cookie_io_functions_t calls = { .write = pass_write, .close = pass_close };
	Cookie *c = malloc(sizeof *c);
	FILE *file;

	if (!c || read || seek) {
		free(c);
		errno = EINVAL;
		return NULL;
	}
	*c = (Cookie){ (void *)cookie, write, close };
	file = fopencookie(c, "w", calls);
	if (!file)
		free(c);
	return file;
}
