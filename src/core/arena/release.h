/* SPDX-License-Identifier: MIT */
/* Private to the library: what its other modules may ask of an arena and programs may not. */
#ifndef ARENA_PRIVATE_INCLUDED
#define ARENA_PRIVATE_INCLUDED
#include <core/Arena.h>

/* Gives back p, of nbytes as it was allocated or last resized, before its time: 1, and p is
 * gone. 0, and nothing has changed: it is neither the newest allocation of its chunk nor alone
 * in one, or a mark was made since, or the backing allocator takes nothing back. Safe from any
 * thread, like an allocation. */
int arena__release(Arena_T arena, void *p, size_t nbytes);

/* Returns the most bytes that were allocated at once since the last clear. Any thread. */
size_t arena__peak_since_clear(Arena_T arena);

/* Lends an arena to user code, or with on = 0 ends that. While the arena is lent, Arena_dispose,
 * Arena_adopt (of it), Arena_clear and Arena_reset raise Assert_Failed and change nothing;
 * everything else works as ever. The disposal of a parent disposes of it all the same. The
 * caller is alone with the arena. */
void arena__lend(Arena_T arena, int on);

/* Makes an arena ready for its next borrower: disposes of the children, runs the deferred calls,
 * forgets every allocation as Arena_reset(arena, keep) does, and sets the limit. It stays lent.
 * If a deferred call raises, that goes on when all of this is done; a C++ exception or a
 * cancellation does so, too. Takes no lock if the borrower left nothing of all that. */
void arena__take_back(Arena_T arena, size_t keep, size_t limit);

#endif
