/* SPDX-License-Identifier: MIT */
/* Private to the library: a function for HTTPCall that programs may not use. */
#ifndef POOL_INTERNAL_INCLUDED
#define POOL_INTERNAL_INCLUDED
#include <core/SocketPool.h>

/* Returns 1 if the connection, which is checked out, was in use before. Its peer may be closing
 * it. */
int connection__is_reused(Connection_T c);

#endif
