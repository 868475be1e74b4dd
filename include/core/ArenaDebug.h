/* SPDX-License-Identifier: MIT */
/* Questions of a program about its arenas: how many there are, a report, a snapshot, and a heap
 * profile. Included by Arena.h. Each function here may be called by any thread at any time, and
 * holds no lock while it writes to a file or calls back. */
#ifndef ARENADEBUG_INCLUDED
#define ARENADEBUG_INCLUDED
#include <stddef.h>
#include <stdio.h>
#include <core/Arena.h>

CORE_BEGIN_DECLS

/* Returns the number of arenas that were created and not disposed of, children included. */
CORE_API size_t Arena_debug_live_count(void);

/* Prints a line for each live arena, children below their parents: its name, where it was made,
 * the bytes used, held and at the peak. Raises: Arena_Failed. Checked: out is NULL. */
CORE_API void Arena_debug_report(FILE *out);

/* A live arena. Sizes are in bytes. */
typedef struct Arena_Info {
	Arena_T arena, parent;             /* may be disposed of by now: compare only */
	const char *name, *file;           /* file: where it was made, or NULL */
	int line;
	size_t used, capacity, peak;       /* of this arena alone */
	size_t used_below, capacity_below; /* of its descendants */
} Arena_Info;

/* Calls apply for each live arena of a snapshot, parents before their children. apply may raise.
 * The strings are copies, good until apply returns. Raises: Arena_Failed.
 * Checked: apply is NULL. */
CORE_API void Arena_debug_map(void (*apply)(const Arena_Info *info, void *cl), void *cl);

/* Prints the heap profile of a program that began with CORE_ARENA_DEBUG=profile in its
 * environment. For each arena's name and place that allocates, it has bytes now, bytes ever and
 * calls. With profile:folded, it prints the stacks for a flame graph, too. In any other program,
 * it prints a line that says so. Checked: out is NULL. */
CORE_API void Arena_debug_profile(FILE *out);

CORE_END_DECLS
#endif
