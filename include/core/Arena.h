/* SPDX-License-Identifier: MIT */
/* Arena: memory that is released as a whole. An allocation lives until its arena is cleared,
 * reset, rewound past it, or disposed of. An arena that cannot get memory raises Arena_Failed;
 * no function returns NULL but Arena_try_alloc.
 *
 * Any thread may allocate from any arena at any time. Mark, rewind, clear, reset and dispose are
 * for one thread at a time, while no other thread allocates from that arena. Sizes are in bytes.
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

typedef struct Arena_Options { /* a zero field means the default */
	size_t chunk; /* usable bytes of the first chunk */
	size_t limit; /* most bytes held from the backing allocator; 0 means no limit */
	/* The backing allocator. alloc returns memory that is aligned for max_align_t. If it has none,
	 * it returns NULL or raises Arena_Failed. free gets the size that alloc was asked for, must not
	 * raise, and may be NULL. No lock is held in either. */
	void *(*alloc)(size_t nbytes, void *cl);
	void (*free)(void *p, size_t nbytes, void *cl);
	void *cl;
	const char *name;   /* for messages and reports; not copied */
	Arena_T parent;
	void *buffer;       /* used first; the caller's, and must outlive the arena */
	size_t buffer_size;
	int fixed;          /* never go beyond the buffer: raise instead */
} Arena_Options;

/* Raises: Arena_Failed. A child is disposed of with its parent, before it. Its default backing
 * allocator is the parent's. */
CORE_API Arena_T Arena_new(void);
CORE_API Arena_T Arena_new_with_size(size_t chunk);
CORE_API Arena_T Arena_new_in(void *buffer, size_t nbytes); /* then spills to the heap */
CORE_API Arena_T Arena_new_child(Arena_T parent);
CORE_API Arena_T Arena_new_with(const Arena_Options *options);

/* Sets *arena to NULL, disposes of the children, runs the deferred calls and frees all. The
 * variable may lie inside the arena. Ignores NULL and a pointer to NULL. Checked: a deferred call
 * of it is running. */
CORE_API void Arena_dispose(Arena_T *arena);

/* Makes child a child of another arena, or of none if new_parent is NULL. Checked: the new parent
 * is child or below it; a deferred call of child is running. */
CORE_API void Arena_adopt(Arena_T child, Arena_T new_parent);

/* Aligned for max_align_t. 0 bytes give a distinct, valid pointer. An alignment is a power of 2.
 * Raises: Arena_Failed. Checked: an alignment that is not, NULL to copy or to print. */
CORE_API void *Arena_alloc(Arena_T arena, size_t nbytes);
CORE_API void *Arena_calloc(Arena_T arena, size_t count, size_t nbytes); /* zeroed */
CORE_API void *Arena_alloc_aligned(Arena_T arena, size_t alignment, size_t nbytes);
/* Returns p, grown in place, if it is the newest and there is room; otherwise a copy. */
CORE_API void *Arena_realloc(Arena_T arena, void *p, size_t old_nbytes, size_t new_nbytes);
CORE_API void *Arena_try_alloc(Arena_T arena, size_t nbytes); /* NULL, no raise */
CORE_API char *Arena_strdup(Arena_T arena, const char *s);
CORE_API char *Arena_strndup(Arena_T arena, const char *s, size_t n); /* n bytes at most */
CORE_API void *Arena_memdup(Arena_T arena, const void *p, size_t nbytes);
CORE_API char *Arena_sprintf(Arena_T arena, const char *fmt, ...) CORE_PRINTF(2, 3);
CORE_API char *Arena_vsprintf(Arena_T arena, const char *fmt, va_list ap) CORE_PRINTF(2, 0);

/* Opens a stream to write to. After fflush and fclose, *text is what was written and *nbytes its
 * length, without the NUL that follows. Releasing the arena closes the stream. Without memory a
 * write fails, see ferror(3). Raises: Arena_Failed. */
CORE_API FILE *Arena_open_stream(Arena_T arena, char **text, size_t *nbytes);

/* Forgets every allocation and keeps room for as much again. Leaves the children alone. */
CORE_API void Arena_clear(Arena_T arena);
/* Does so, but keeps at most so many bytes. The first chunk stays. */
CORE_API void Arena_reset(Arena_T arena, size_t keep);

typedef struct Arena_Mark {
	void *limit, *newest, *deferred, *fences; /* private */
	char *avail;
	size_t used, serial, cycle, turn;
} Arena_Mark;

/* Savepoints nest. Checked: the mark is of another arena, or a rewind or clear has passed it. */
CORE_API Arena_Mark Arena_mark(Arena_T arena);
CORE_API void Arena_rewind(Arena_T arena, Arena_Mark mark);

/* Calls fn(cl) once, newest first, at a rewind past this point, clear, reset or dispose. If it
 * raises, the others run, the memory is released, and the first exception goes on.
 * Raises: Arena_Failed. */
CORE_API void Arena_defer(Arena_T arena, void (*fn)(void *cl), void *cl);

CORE_API size_t Arena_used(Arena_T arena);     /* allocated now, with padding; without children */
CORE_API size_t Arena_capacity(Arena_T arena); /* held from the backing allocator */
CORE_API size_t Arena_peak(Arena_T arena);     /* the most that was ever allocated at once */
CORE_API void Arena_set_limit(Arena_T arena, size_t nbytes); /* for the next chunk; 0 means none */

#include <core/ArenaMacros.h> /* ALLOC, CALLOC, NEW, NEW0, and the creators with their place */

CORE_END_DECLS
#include <core/ArenaDebug.h>
#endif
