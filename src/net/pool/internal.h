/* SPDX-License-Identifier: MIT */
/* Private to the library: what HTTPCall may ask of a pool and programs may not. */
#ifndef POOL_INTERNAL_INCLUDED
#define POOL_INTERNAL_INCLUDED
#include <core/SocketPool.h>

/* Returns 1 if the connection, which is checked out, was checked in before: its peer may have closed it meanwhile. */
int connection__is_reused(Connection_T c);

#endif
