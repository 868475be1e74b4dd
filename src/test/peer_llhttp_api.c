/* SPDX-License-Identifier: MIT */
/* llhttp, a peer of our parser: its API, whose declarations differ from those of the state
 * machine. */
#include "config.h"

#if HAVE_LLHTTP
#define LLHTTP_STRICT_MODE 1
#include <api.c>
#include <http.c>
#else
typedef int no_llhttp;
#endif
