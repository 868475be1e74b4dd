/* SPDX-License-Identifier: MIT */
/* Arena: memory that is released as a whole. An allocation is never freed by itself: it lives until
 * the arena is cleared, reset, rewound past it, or disposed of. An arena that cannot get memory raises
 * Arena_Failed; no function here returns NULL but Arena_try_alloc.
 *
 * Any thread may allocate from any arena at any time. Mark, rewind, clear, reset and dispose are for
 * one thread at a time, while no other thread allocates from that arena. Sizes are in bytes.
 * Checked everywhere: the arena is NULL or was disposed of. */
#ifndef ARENA_INCLUDED
#define ARENA_INCLUDED
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <core/Except.h>

CORE_BEGIN_DECLS

typedef struct Arena *Arena_T;

extern CORE_API const Except_T Arena_Failed; /* out of memory, over the limit, size overflow */

typedef struct Arena_Options {                      /* all zero: the defaults */
	size_t chunk;                               /* usable bytes of the first chunk */
	size_t limit;                               /* most bytes held from the backing allocator; 0: none */
	void *(*alloc)(size_t nbytes, void *cl);    /* backing allocator, max_align_t-aligned; NULL, or raising */
	                                            /* Arena_Failed: out of memory. Both run without a lock. */
	void (*free)(void *p, size_t nbytes, void *cl); /* nbytes as alloc was asked for; must not raise; or NULL */
	void *cl;
	const char *name;                           /* for Arena_debug_report; borrowed */
	Arena_T parent;
	void *buffer;                               /* used first; the caller's, and must outlive the arena */
	size_t buffer_size;
	int fixed;                                  /* never go beyond the buffer: raise instead */
} Arena_Options;

/* Raises: Arena_Failed. A child is disposed of with its parent, before it, and has its backing allocator by default. */
CORE_API Arena_T Arena_new(void);
CORE_API Arena_T Arena_new_with_size(size_t chunk);
CORE_API Arena_T Arena_new_in(void *buffer, size_t nbytes); /* then spills to the heap */
CORE_API Arena_T Arena_new_child(Arena_T parent);
CORE_API Arena_T Arena_new_with(const Arena_Options *options);

/* Disposes of the children, runs the deferred calls, frees all, sets *arena to NULL first: it may live
 * inside the arena. NULL and pointer to NULL are fine. Checked: a deferred call of it is running. */
CORE_API void Arena_dispose(Arena_T *arena);

/* Makes child a child of another arena, or with NULL of none. Checked: the new parent is child itself or
 * below it; child's deferred calls are running. */
CORE_API void Arena_adopt(Arena_T child, Arena_T new_parent);

/* Raises: Arena_Failed. Aligned for max_align_t; 0 bytes give a distinct, valid pointer. */
CORE_API void *Arena_alloc(Arena_T arena, size_t nbytes);
CORE_API void *Arena_calloc(Arena_T arena, size_t count, size_t nbytes); /* zeroed */
CORE_API void *Arena_alloc_aligned(Arena_T arena, size_t alignment, size_t nbytes); /* Checked: a power of 2 */
CORE_API void *Arena_realloc(Arena_T arena, void *p, size_t old_nbytes, size_t new_nbytes); /* in place when newest */
CORE_API void *Arena_try_alloc(Arena_T arena, size_t nbytes); /* NULL instead of raising */
CORE_API char *Arena_strdup(Arena_T arena, const char *s);
CORE_API char *Arena_strndup(Arena_T arena, const char *s, size_t n); /* at most n bytes of s, and a NUL */
CORE_API void *Arena_memdup(Arena_T arena, const void *p, size_t nbytes);
CORE_API char *Arena_sprintf(Arena_T arena, const char *fmt, ...) CORE_PRINTF(2, 3);
CORE_API char *Arena_vsprintf(Arena_T arena, const char *fmt, va_list ap) CORE_PRINTF(2, 0);

/* A stream to write to; *text and *nbytes (without a NUL that follows) are right after each fflush, and after
 * fclose, which release of the arena does if need be. Without memory a write fails, see ferror. Raises: Arena_Failed. */
CORE_API FILE *Arena_open_stream(Arena_T arena, char **text, size_t *nbytes);

/* As the functions, with the caller's file and line in the exception. NEW makes p point to sizeof *p bytes. */
#if defined CORE_NO_INLINE
#define ARENA_ALLOC(arena, nbytes)         Arena__alloc((arena), (nbytes), __FILE__, __func__, __LINE__)
#endif
#define ARENA_CALLOC(arena, count, nbytes) Arena__calloc((arena), (count), (nbytes), __FILE__, __func__, __LINE__)
#define ARENA_NEW(arena, p)                ((p) = (__typeof__(p))ARENA_ALLOC((arena), sizeof *(p)))
#define ARENA_NEW0(arena, p)               ((p) = (__typeof__(p))ARENA_CALLOC((arena), 1, sizeof *(p)))
#if !defined CORE_NO_SHORT_NAMES
#define ALLOC  ARENA_ALLOC
#define CALLOC ARENA_CALLOC
#define NEW    ARENA_NEW
#define NEW0   ARENA_NEW0
#endif

CORE_API void Arena_clear(Arena_T arena); /* forgets every allocation, keeps room for as much again; not the children */
CORE_API void Arena_reset(Arena_T arena, size_t keep); /* as clear, but keeps at most so many bytes; the first chunk stays */

/* Savepoints nest. Checked: rewinding to a mark of another arena, or one that a rewind or clear has passed. */
typedef struct Arena_Mark {
	void *limit, *newest, *deferred, *fences; /* private */
	char *avail;
	size_t used, serial, cycle, turn;
} Arena_Mark;
CORE_API Arena_Mark Arena_mark(Arena_T arena);
CORE_API void Arena_rewind(Arena_T arena, Arena_Mark mark);

/* fn(cl) runs once, newest first, at a rewind past this point, clear, reset or dispose. When it raises, the
 * others run, the memory is released, and the first exception goes on. Raises: Arena_Failed. */
CORE_API void Arena_defer(Arena_T arena, void (*fn)(void *cl), void *cl);

CORE_API size_t Arena_used(Arena_T arena);     /* allocated now, with padding */
CORE_API size_t Arena_capacity(Arena_T arena); /* held from the backing allocator */
CORE_API size_t Arena_peak(Arena_T arena);     /* the most that was ever allocated at once */
CORE_API void Arena_set_limit(Arena_T arena, size_t nbytes); /* checked when a chunk is taken; 0: none */

CORE_API size_t Arena_debug_live_count(void);     /* arenas created and not disposed of, children included */
CORE_API void Arena_debug_report(FILE *out);      /* a line per live arena, a tree. Raises: Arena_Failed */

typedef struct Arena_Info {                /* a live arena, as the report prints it */
	Arena_T arena, parent;             /* may be disposed of by now: compare only */
	const char *name, *file;           /* where it was made, or NULL */
	int line;
	size_t used, capacity, peak;
	size_t used_below, capacity_below; /* of its descendants */
} Arena_Info;

/* Calls apply for each live arena of a snapshot, parents before children. It may raise; no lock is held. The
 * strings are good until it returns. Raises: Arena_Failed. Checked: apply is NULL. */
CORE_API void Arena_debug_map(void (*apply)(const Arena_Info *, void *cl), void *cl);

/* The creators note where they are called, for the report. */
CORE_API Arena_T Arena__made_at(Arena_T, const char *file, int line);
#define Arena_new()                 Arena__made_at(Arena_new(), __FILE__, __LINE__)
#define Arena_new_with_size(...)    Arena__made_at(Arena_new_with_size(__VA_ARGS__), __FILE__, __LINE__)
#define Arena_new_in(...)           Arena__made_at(Arena_new_in(__VA_ARGS__), __FILE__, __LINE__)
#define Arena_new_child(...)        Arena__made_at(Arena_new_child(__VA_ARGS__), __FILE__, __LINE__)
#define Arena_new_with(...)         Arena__made_at(Arena_new_with(__VA_ARGS__), __FILE__, __LINE__)
CORE_API void *Arena__alloc(Arena_T, size_t, const char *file, const char *function, int line);
CORE_API void *Arena__calloc(Arena_T, size_t, size_t, const char *file, const char *function, int line);

#if !defined CORE_NO_INLINE /* then Arena_alloc and ALLOC are calls, and nothing of the layout is in the program */
#include <core/ArenaInline.h>
#endif

CORE_END_DECLS
#endif
