/* SPDX-License-Identifier: MIT */
/* What every libcore header needs: symbol visibility, C++ linkage, and the two attributes
 * that let the compiler check callers. Nothing here is for programs to call. */
#ifndef CORE_API_INCLUDED
#define CORE_API_INCLUDED

#if !defined __GNUC__
#error "libcore needs a compiler with GNU extensions (gcc or clang)"
#endif

#define CORE_API          __attribute__((visibility("default")))
#define CORE_NORETURN     __attribute__((noreturn, cold))
#define CORE_PRINTF(f, a) __attribute__((format(printf, f, a)))

#if defined __cplusplus
#define CORE_BEGIN_DECLS extern "C" {
#define CORE_END_DECLS   }
#else
#define CORE_BEGIN_DECLS
#define CORE_END_DECLS
#endif

#endif
