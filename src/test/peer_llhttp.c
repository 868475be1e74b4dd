/* SPDX-License-Identifier: MIT */
/* llhttp, a peer of our parser: its generated state machine in strict mode. configure finds it. */
#include "config.h"

#if HAVE_LLHTTP
#define LLHTTP_STRICT_MODE 1
#include <llhttp.c>
#else
typedef int no_llhttp;
#endif
