/* SPDX-License-Identifier: MIT */
/* The base of every libcore header: symbol visibility, C++ linkage, storage of threads, and the two
 * attributes that let the compiler check callers. Nothing here is for programs to call. */
#ifndef CORE_API_INCLUDED
#define CORE_API_INCLUDED

#include <limits.h> /* any header of the C library: which one it is */

#if !defined __GNUC__
#error "libcore needs a compiler with GNU extensions (gcc or clang)"
#endif

#define CORE_API          __attribute__((visibility("default")))
#define CORE_NORETURN     __attribute__((noreturn, cold))
#define CORE_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Storage of a thread that one instruction reaches. That needs room in the block that the C
 * library made at its start, and only glibc keeps some free. Elsewhere dlopen would refuse the
 * library, so there the compiler chooses. */
#if defined __GLIBC__
#define CORE_PER_THREAD __thread __attribute__((tls_model("initial-exec")))
#else
#define CORE_PER_THREAD __thread
#endif

#if defined __cplusplus
#define CORE_BEGIN_DECLS extern "C" {
#define CORE_END_DECLS   }
#else
#define CORE_BEGIN_DECLS
#define CORE_END_DECLS
#endif

#endif
