/* SPDX-License-Identifier: MIT */
/* Text in buffers of a fixed size; see text.h. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { CHARACTER_MAX = 4, DOTS = 3 };

/* Returns how many bytes a character that begins with this byte has; 0 if none does. */
static size_t length_by_lead_byte(unsigned char c)
{
	return c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
}

size_t text__cut(const char *s, size_t n)
{
	size_t tail;

	for (tail = 1; tail < CHARACTER_MAX && tail <= n; tail++) {
		unsigned char c = (unsigned char)s[n - tail];

		if ((c & 0xC0) != 0x80)
			return length_by_lead_byte(c) > tail ? n - tail : n;
	}
	return n;
}

size_t text__vformat(char *to, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(to, size, fmt, ap);
	size_t cut;

	if (n < 0)
		return text__format(to, size, "%s", fmt);
	if ((size_t)n < size)
		return (size_t)n;
	cut = text__cut(to, size - 1 - DOTS);
	memcpy(to + cut, "...", DOTS + 1);
	return cut + DOTS;
}

size_t text__format(char *to, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = text__vformat(to, size, fmt, ap);
	va_end(ap);
	return n;
}

int text__is_word(const char *s, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(s, word, n) == 0;
}

/* strerror_r returns the text with glibc, a status with POSIX. */
static const char *text_of(const char *text)
{
	return text;
}

static const char *text_of_status(int status)
{
	(void)status;
	return NULL;
}

const char *text__error(int error, char *buffer, size_t size)
{
	int before = errno;
	const char *text;

	buffer[0] = '\0';
	text = _Generic(strerror_r(error, buffer, size), int: text_of_status, default: text_of)(
		strerror_r(error, buffer, size));
	if (!text)
		text = buffer;
	if (!*text) {
		text__format(buffer, size, "error %d", error);
		text = buffer;
	}
	errno = before;
	return text;
}
