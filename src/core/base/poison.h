/* SPDX-License-Identifier: MIT */
/* Private to Arena: tells AddressSanitizer and Valgrind which bytes may be touched. The
 * sanitizers' functions are weak, so a program that is built with a sanitizer finds bugs with a
 * libcore that is not. */
#ifndef POISON_INCLUDED
#define POISON_INCLUDED
#include <stddef.h>
#if HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/memcheck.h>
#endif

#ifndef __has_feature /* clang's counterpart of gcc's __SANITIZE_...__ */
#define __has_feature(feature) 0
#endif

/* Mach-O has no weak name that may stay undefined. So a library there knows only the sanitizer
 * that it is built with. */
#if defined __ELF__ || defined __SANITIZE_ADDRESS__ || __has_feature(address_sanitizer)
extern void __asan_poison_memory_region(const volatile void *, size_t) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *, size_t) __attribute__((weak));
#else
static void (*const __asan_poison_memory_region)(const volatile void *, size_t);
static void (*const __asan_unpoison_memory_region)(const volatile void *, size_t);
#endif
#if defined __ELF__ || defined __SANITIZE_THREAD__ || __has_feature(thread_sanitizer)
extern void __tsan_init(void) __attribute__((weak));
#else
static void (*const __tsan_init)(void);
#endif

/* Asked once, before there is an arena (arena/threads.c). Outside Valgrind a request to it does
 * nothing, but takes 3 ns. */
extern int arena__on_valgrind;

static inline int ask_valgrind(void)
{
#if HAVE_VALGRIND_MEMCHECK_H
	return RUNNING_ON_VALGRIND != 0;
#else
	return 0;
#endif
}

static inline int under_valgrind(void)
{
	return __builtin_expect(arena__on_valgrind, 0);
}

static inline int under_tsan(void)
{
	return __tsan_init != 0;
}

/* Returns the bytes to leave between objects so that an overflow is detected. */
static inline size_t red_zone(void)
{
	return __asan_poison_memory_region || under_valgrind() ? 16 : 0;
}

static inline void poison(const void *p, size_t n)
{
	if (__asan_poison_memory_region)
		__asan_poison_memory_region(p, n);
#if HAVE_VALGRIND_MEMCHECK_H
	if (under_valgrind())
		(void)VALGRIND_MAKE_MEM_NOACCESS(p, n);
#endif
}

/* p[0..n) may be written and has no value yet. */
static inline void unpoison(const void *p, size_t n)
{
	if (__asan_unpoison_memory_region)
		__asan_unpoison_memory_region(p, n);
#if HAVE_VALGRIND_MEMCHECK_H
	if (under_valgrind())
		(void)VALGRIND_MAKE_MEM_UNDEFINED(p, n);
#endif
}

/* p[0..n) goes back to its owner as it is. */
static inline void hand_back(const void *p, size_t n)
{
	if (__asan_unpoison_memory_region)
		__asan_unpoison_memory_region(p, n);
#if HAVE_VALGRIND_MEMCHECK_H
	if (under_valgrind())
		(void)VALGRIND_MAKE_MEM_DEFINED(p, n);
#endif
}

#endif
