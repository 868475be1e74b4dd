/* SPDX-License-Identifier: MIT */
/* Shared by the fuzz targets. A target is one function, LLVMFuzzerTestOneInput, as libFuzzer, AFL++
 * and OSS-Fuzz call it. It returns if the library did right by the input, and aborts otherwise.
 * An input is read as a list of small numbers, so that any bytes are a valid one. */
#ifndef FUZZ_INCLUDED
#define FUZZ_INCLUDED
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef struct Input {
	const uint8_t *next, *end;
} Input;

/* Returns the next byte, 0 after the end. */
static inline unsigned take(Input *in)
{
	return in->next < in->end ? *in->next++ : 0;
}

/* Returns a number below n, from one byte. */
static inline unsigned take_below(Input *in, unsigned n)
{
	return take(in) % n;
}

#define require(condition) ((condition) ? (void)0 : fail(__FILE__, __LINE__, #condition))

static inline void fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: not %s\n", file, line, condition);
	abort();
}

/* A backing allocator of arenas that fails while the int at cl is not 0. */
static inline void *alloc_or_fail(size_t nbytes, void *cl)
{
	return *(const int *)cl ? NULL : malloc(nbytes);
}

static inline void free_backing(void *p, size_t nbytes, void *cl)
{
	(void)nbytes, (void)cl;
	free(p);
}

#endif
