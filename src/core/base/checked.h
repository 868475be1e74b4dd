/* SPDX-License-Identifier: MIT */
/* Private to the library: checks of the caller's contract, hints to the compiler, and sizes that
 * cannot wrap. */
#ifndef CHECKED_INCLUDED
#define CHECKED_INCLUDED
#include <stddef.h>
#include <string.h>
#include <core/api.h>

struct Except_T;

/* A checked runtime error: Assert_Failed with a message that names the call and the value. */
#define CHECK(condition, ...) ((condition) ? (void)0 : EXCEPT_RAISE_MSG(Assert_Failed, __VA_ARGS__))

/* except/unwind.c: whether a clean-up runs because a raise passes it; asked inside a TRY */
int except__is_passing(void);

/* Except.c: whether the ancestor is the exception itself, or one of its parents */
int except__is_kind_of(const struct Except_T *e, const struct Except_T *ancestor);

/* Raises as RAISE_MSG does, and sets errno, which the report then prints. For exceptions that
 * errno explains. RAISE_ERRNO also appends the text of errno to the message. */
#define RAISE_FOR_ERRNO(e, error, ...) \
	except__raise_for_errno(&(e), __FILE__, __func__, __LINE__, (error), __VA_ARGS__)
void except__raise_for_errno(const struct Except_T *, const char *file, const char *function,
	int line, int error, const char *fmt, ...) CORE_NORETURN CORE_PRINTF(6, 7);

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Aborts, because our own state is corrupt: never unwind through it. */
#define CORRUPT(what) core__corrupt(__FILE__, __LINE__, what)
void core__corrupt(const char *file, int line, const char *what) CORE_NORETURN;

/* Sets bytes to 0. From some tens of bytes on, gcc turns a memset of known size into `rep stos`.
 * That begins too slowly for a few hundred bytes. */
static inline void zero(void *p, size_t nbytes)
{
	__asm__("" : "+r"(nbytes));
	memset(p, 0, nbytes);
}

/* Store x + y or x * y and return 1, or return 0 if it does not fit. */
static inline int add_size(size_t x, size_t y, size_t *sum)
{
	return !__builtin_add_overflow(x, y, sum);
}

static inline int mul_size(size_t x, size_t y, size_t *product)
{
	return !__builtin_mul_overflow(x, y, product);
}

#endif
