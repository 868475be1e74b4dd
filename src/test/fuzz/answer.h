/* SPDX-License-Identifier: MIT */
#ifndef FUZZ_ANSWERS_INCLUDED
#define FUZZ_ANSWERS_INCLUDED
#include <stddef.h>
#include "../http_oracle.h"

/* Aborts if what we make of the answer depends on how it is cut, or differs from what it ought to
 * be. n: at least 1. */
void fuzz_answer(Kind kind, const char *bytes, size_t n, size_t step);

#endif
