/* SPDX-License-Identifier: MIT */
/* libcore's arena as a contestant; a second time, through the exported functions, by
 * arena_exported.c. */
#include "config.h"

#include <core/Arena.h>
#include "arena_workloads.h"

static void *make_arena(void) { return Arena_new(); }
static void *alloc(void *arena, size_t nbytes) { return Arena_alloc(arena, nbytes); }
static void *zeroed(void *arena, size_t nbytes) { return Arena_calloc(arena, 1, nbytes); }
static char *copy(void *arena, const char *s) { return Arena_strdup(arena, s); }
static void clear(void *arena) { Arena_clear(arena); }

static void dispose(void *p)
{
	Arena_T arena = p;

	Arena_dispose(&arena);
}

#if CORE_NO_INLINE
static const Allocator exported = { make_arena, alloc, zeroed, copy, clear, dispose, NULL };
CONTESTANT(exported, "Arena, exported functions");
#else
static const Allocator core = { make_arena, alloc, zeroed, copy, clear, dispose, NULL };
CONTESTANT(core, "Arena");
#endif
