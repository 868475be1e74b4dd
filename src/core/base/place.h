/* SPDX-License-Identifier: MIT */
/* Private to the library: places in code, as return addresses, and their names. */
#ifndef PLACE_INCLUDED
#define PLACE_INCLUDED
#include <stddef.h>

enum { PLACE_FRAMES = 32 };

typedef enum Place_Style {
	PLACE_MODULE,   /* module+0x12, the offset that addr2line takes */
	PLACE_FUNCTION, /* the function's name if it is known, else as PLACE_MODULE */
	PLACE_OFFSET    /* function+0x12 if it is known, else as PLACE_MODULE */
} Place_Style;

/* Stores up to n return addresses, at most PLACE_FRAMES, of this thread's callers, innermost
 * first, and returns their number. Leaves out the frames before the return address `first`, if it
 * is among the innermost few. Takes no lock of the library. Without backtrace(3) it returns 0. */
int place__capture(void **frames, int n, const void *first);

/* The first capture may load libgcc: this is it. */
void place__prepare(void);

/* Prints the place of a return address into to[0..size), as text__format does. Returns the
 * length; 0 if nothing is known of the address. */
size_t place__format(char *to, size_t size, const void *frame, Place_Style style);

#endif
