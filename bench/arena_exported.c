/* SPDX-License-Identifier: MIT */
#define CORE_NO_INLINE 1
#include "arena_core.c"
