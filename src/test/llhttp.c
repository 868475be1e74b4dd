/* SPDX-License-Identifier: MIT */
/* llhttp, a peer of our parser: its generated machine, from where configure found it. */
#include "config.h"

#if HAVE_LLHTTP
#include <llhttp.c>
#else
typedef int no_llhttp;
#endif
