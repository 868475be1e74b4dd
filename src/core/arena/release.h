/* SPDX-License-Identifier: MIT */
/* Private to the library: what its other modules may ask of an arena and programs may not. */
#ifndef ARENA_PRIVATE_INCLUDED
#define ARENA_PRIVATE_INCLUDED
#include <core/Arena.h>

/* Gives back p, of nbytes as it was allocated or last resized, before its time: 1, and p is gone. 0, and
 * nothing has changed: it is neither the newest allocation of its chunk nor alone in one, or a mark was made
 * since, or the backing allocator takes nothing back. Safe from any thread, like an allocation. */
int arena__release(Arena_T arena, void *p, size_t nbytes);

#endif
