/* SPDX-License-Identifier: MIT */
/* The cases of bench_except that are written in C++: each does its one thing n times. */
#ifndef BENCH_EXCEPT_INCLUDED
#define BENCH_EXCEPT_INCLUDED
#include <stddef.h>
#include <core/api.h>

CORE_BEGIN_DECLS
void cxx_try(void *cl, size_t n);
void cxx_catch_0(void *cl, size_t n);
void cxx_catch_10(void *cl, size_t n);
void cxx_catch_100(void *cl, size_t n);
void cxx_destructors(void *cl, size_t n);
CORE_END_DECLS
#endif
