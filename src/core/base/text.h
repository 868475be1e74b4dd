/* SPDX-License-Identifier: MIT */
/* Private to the library: text in buffers of a fixed size. Text that is too long is cut, but
 * never amid a character of UTF-8. Strict readers refuse a whole log line or JSON document for half
 * a character. */
#ifndef TEXT_INCLUDED
#define TEXT_INCLUDED
#include <stdarg.h>
#include <stddef.h>
#include <core/api.h>

/* Returns the largest number of bytes, at most n, after which s can be cut without splitting a
 * character. Reads s[0..n) only. Bytes that are not UTF-8 count as characters. */
size_t text__cut(const char *s, size_t n);

/* Print into to[0..size), which always ends in a NUL. Text that does not fit is cut at a
 * character and ends in "...". Return the length of what is in the buffer; size is at least 4. A
 * format that vsnprintf cannot print is itself the text. */
size_t text__format(char *to, size_t size, const char *fmt, ...) CORE_PRINTF(3, 4);
size_t text__vformat(char *to, size_t size, const char *fmt, va_list ap) CORE_PRINTF(3, 0);

/* Returns 1 if s[0..n) is the word. */
int text__is_word(const char *s, size_t n, const char *word);

/* Returns the text of an errno, in buffer or constant. Unlike strerror it is safe in every
 * thread; keeps errno. */
const char *text__error(int error, char *buffer, size_t size);

#endif
