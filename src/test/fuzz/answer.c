/* SPDX-License-Identifier: MIT */
/* Answers. However the input is cut, the parser reads the same; llhttp agrees where it is
 * installed; HTTPCall returns the same body, or refuses what the parser refuses. test_httpanswers
 * runs this on the cases of http_answers.h. */
#include "config.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <core/core.h>
#include "answer.h"
#include "fuzz.h"
#include "../http_oracle.h"

enum { LONGEST = 16384 }; /* fits into the buffer of a socket */

/* The final answer, behind interim ones. Returns where it begins, or n. */
static size_t find_final(Seen *seen, Kind kind, const char *bytes, size_t n)
{
	size_t at = 0;
	int interim = 0;

	do {
		see_ours(seen, kind, bytes + at, n - at, n - at + 1);
		if (seen->verdict != ACCEPTED || seen->status >= 200)
			return at;
		at += seen->end;
	} while (seen->status != 101 && ++interim <= 32 && at < n);
	return n;
}

static void answer_call(HTTPCall_T call, int fd, const char *bytes, size_t n)
{
	if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n || shutdown(fd, SHUT_WR) != 0)
		abort();
	HTTPCall_set(call, "Host", "a");
	HTTPCall_limits(call,
		&(HTTP_Limits){ .header_bytes = 65536, .request_line = 65536, .header_count = 65536 });
}

/* Gives the bytes to HTTPCall. Returns 1 if it returned, 0 if it raised HTTP_Bad_Gateway. */
static int call_over(Arena_T arena, HTTPCall_T *call, Kind kind, const char *bytes, size_t n)
{
	volatile int returned = 0;
	Socket_T client;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		abort();
	client = Socket_adopt(ends[0]);
	*call = HTTPCall_new(arena, kind == ANSWER_TO_HEAD ? "HEAD" : "GET", "/");
	answer_call(*call, ends[1], bytes, n);
	TRY {
		HTTPCall_over(*call, client);
		returned = 1;
	} EXCEPT(HTTP_Bad_Gateway) {
		returned = 0;
	} END_TRY;
	Socket_close(&client);
	close(ends[1]);
	return returned;
}

static void compare_call(Kind kind, const char *bytes, size_t n)
{
	static Seen seen;
	Arena_T arena = Arena_new();
	HTTPCall_T call;
	size_t at = find_final(&seen, kind, bytes, n), length;
	int returned = call_over(arena, &call, kind, bytes, n);
	const char *body;

	if (returned != (at < n && seen.verdict == ACCEPTED && seen.status >= 200))
		abort();
	if (returned) {
		body = HTTPCall_body(call, &length);
		if (HTTPCall_status(call) != seen.status || length != seen.length - seen.body
				|| memcmp(body, seen.text + seen.body, length) != 0)
			abort();
	}
	Arena_dispose(&arena);
}

void fuzz_answer(Kind kind, const char *bytes, size_t n, size_t step)
{
	static Seen whole, cut, theirs;

	see_ours(&whole, kind, bytes, n, n);
	see_ours(&cut, kind, bytes, n, step);
	if (!same(&whole, &cut))
		abort();
	if (see_llhttp(&theirs, kind, bytes, n) && !agree(&whole, &theirs, LLHTTP))
		abort();
	compare_call(kind, bytes, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n > 1 && n <= LONGEST)
		fuzz_answer(data[n / 3] & 1 ? ANSWER : ANSWER_TO_HEAD, (const char *)data, n,
			1 + data[n / 2] % 32);
	return 0;
}
