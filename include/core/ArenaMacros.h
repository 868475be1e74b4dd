/* SPDX-License-Identifier: MIT */
/* The macros of Arena.h, which alone includes this file. They pass the caller's file and line on,
 * for exceptions and reports. */
#if !defined ARENA_INCLUDED
#error "include <core/Arena.h>"
#endif

/* ALLOC and CALLOC do the same as Arena_alloc and Arena_calloc. NEW makes p point to sizeof *p new
 * bytes; NEW0 zeroes them. */
#if defined CORE_NO_INLINE
#define ARENA_ALLOC(arena, nbytes) \
	Arena__alloc((arena), (nbytes), __FILE__, __func__, __LINE__)
#endif
#define ARENA_CALLOC(arena, count, nbytes) \
	Arena__calloc((arena), (count), (nbytes), __FILE__, __func__, __LINE__)
#define ARENA_NEW(arena, p)  ((p) = (__typeof__(p))ARENA_ALLOC((arena), sizeof *(p)))
#define ARENA_NEW0(arena, p) ((p) = (__typeof__(p))ARENA_CALLOC((arena), 1, sizeof *(p)))
#if !defined CORE_NO_SHORT_NAMES
#define ALLOC  ARENA_ALLOC
#define CALLOC ARENA_CALLOC
#define NEW    ARENA_NEW
#define NEW0   ARENA_NEW0
#endif

CORE_API void *Arena__alloc(Arena_T, size_t nbytes,
	const char *file, const char *function, int line);
CORE_API void *Arena__calloc(Arena_T, size_t count, size_t nbytes,
	const char *file, const char *function, int line);

/* The creators note where they are called, for the report. */
CORE_API Arena_T Arena__made_at(Arena_T, const char *file, int line);
#define ARENA__MADE_HERE(a)      Arena__made_at((a), __FILE__, __LINE__)
#define Arena_new()              ARENA__MADE_HERE(Arena_new())
#define Arena_new_with_size(...) ARENA__MADE_HERE(Arena_new_with_size(__VA_ARGS__))
#define Arena_new_in(...)        ARENA__MADE_HERE(Arena_new_in(__VA_ARGS__))
#define Arena_new_child(...)     ARENA__MADE_HERE(Arena_new_child(__VA_ARGS__))
#define Arena_new_with(...)      ARENA__MADE_HERE(Arena_new_with(__VA_ARGS__))

/* With CORE_NO_INLINE, allocations are calls, and the layout of an arena is not in the program. */
#if !defined CORE_NO_INLINE
#include <core/ArenaInline.h>
#endif
