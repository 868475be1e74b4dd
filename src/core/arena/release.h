/* SPDX-License-Identifier: MIT */
/* Private to the library: what its other modules may ask of an arena and programs may not. */
#ifndef ARENA_PRIVATE_INCLUDED
#define ARENA_PRIVATE_INCLUDED
#include <core/Arena.h>

/* Gives back p before its time; nbytes is its size when it was allocated or last resized. Returns 1
 * if p is gone. Returns 0 and changes nothing if p is neither the newest allocation of its chunk
 * nor alone in one. It does so, too, if a mark was made since, or if the backing allocator takes
 * nothing back. Safe from any thread, like an allocation. */
int arena__release(Arena_T arena, void *p, size_t nbytes);

/* Returns the most bytes that were allocated at once since the last clear. Any thread. */
size_t arena__peak_since_clear(Arena_T arena);

/* Lends an arena to user code, or with on = 0 ends that. While the arena is lent, Arena_dispose,
 * Arena_adopt (of it), Arena_clear and Arena_reset raise Assert_Failed and change nothing;
 * everything else works as ever. The disposal of a parent disposes of it all the same. The
 * caller is alone with the arena. */
void arena__lend(Arena_T arena, int on);

/* Makes an arena ready for its next borrower. It disposes of the children, runs the deferred calls
 * and sets the limit. It forgets every allocation, as Arena_reset(arena, keep) does. The arena
 * stays lent. If a deferred call raises, the exception goes on when all of this is done. So does a
 * C++ exception or a cancellation. Takes no lock if the borrower left nothing to release. */
void arena__take_back(Arena_T arena, size_t keep, size_t limit);

#endif
