/* SPDX-License-Identifier: MIT */
/* Requests. However the input is cut, the parser reads the same; llhttp agrees where it is
 * installed; a target becomes a path without a read or a write beside it. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../http_oracle.h"
#include "fuzz.h"
#include "http/parser.h"

enum { LONGEST = 16384 };

static void make_path(const char *bytes, size_t n)
{
	char *out = malloc(n + 2);
	size_t length;

	if (!httpparser__path(bytes, n, out, &length)) {
		httpparser__show_path(out, length);
		if ((length > 0 && strlen(out) != length) || out[0] != '/' || strstr(out, "/../")
			|| strstr(out, "//"))
			abort();
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static Seen whole, cut, theirs;
	const char *bytes = (const char *)data;

	if (n == 0 || n > LONGEST)
		return 0;
	see_ours(&whole, REQUEST, bytes, n, n);
	see_ours(&cut, REQUEST, bytes, n, 1 + data[n / 2] % 32);
	if (!same(&whole, &cut))
		abort();
	if (see_llhttp(&theirs, REQUEST, bytes, n) && !agree(&whole, &theirs, LLHTTP))
		abort();
	make_path(bytes, n);
	return 0;
}
