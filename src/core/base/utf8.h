/* SPDX-License-Identifier: MIT */
/* Private to the library: where a text may be cut so that no character of UTF-8 is cut in two. */
#ifndef UTF8_INCLUDED
#define UTF8_INCLUDED
#include <stddef.h>
#include <string.h>

static inline int utf8_continues(char c)
{
	return ((unsigned char)c & 0xC0) == 0x80;
}

/* Returns how many bytes of the text fit into n: all of it, or n less the beginning of a character that would be cut.
 * Bytes that are no UTF-8 are cut at n. */
static inline size_t utf8_fit(const char *text, size_t n)
{
	size_t i = n;

	if (memchr(text, '\0', n) || text[n] == '\0')
		return strlen(text);
	while (i > 0 && n - i < 3 && utf8_continues(text[i]))
		i--;
	return utf8_continues(text[i]) ? n : i;
}

#endif
