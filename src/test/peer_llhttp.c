/* SPDX-License-Identifier: MIT */
/* llhttp, a peer of our parser: its generated machine in strict mode, from where configure found it. */
#include "config.h"

#if HAVE_LLHTTP
#define LLHTTP_STRICT_MODE 1
#include <llhttp.c>
#else
typedef int no_llhttp;
#endif
