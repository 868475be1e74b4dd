/* SPDX-License-Identifier: MIT */
/* One request or answer, as our parser sees it and as others do, and which differences are known
 * and meant. */
#ifndef HTTP_ORACLE_INCLUDED
#define HTTP_ORACLE_INCLUDED
#include <stddef.h>

enum { SEEN_ROOM = 1 << 16, UNKNOWN = -1 };

typedef enum Kind { REQUEST, ANSWER, ANSWER_TO_HEAD } Kind;

typedef struct Seen {
	Kind kind;
	enum { UNFINISHED, ACCEPTED, REFUSED } verdict;
	const char *what;  /* of a refusal: a string that does not change with the request */
	size_t end;        /* where an accepted message ends */
	int status;        /* of an answer */
	size_t body;       /* where its body begins in text */
	int keep_alive;    /* or UNKNOWN */
	const char *bytes; /* the input */
	size_t n;
	size_t length;
	char text[SEEN_ROOM]; /* lines of an accepted message: method and target, or reason; fields with small
	                       * names; of an answer the status; the body */
} Seen;

/* The input in pieces of step bytes; after the head each in memory of its own, exactly as long.
 * The stream ends after an answer. */
void see_ours(Seen *, Kind, const char *bytes, size_t n, size_t step);
int see_llhttp(Seen *, Kind, const char *bytes, size_t n); /* 0: it is not there */

typedef enum Peer { LLHTTP = 1, H11 = 2 } Peer;

int same(const Seen *, const Seen *); /* both ours: equal in all */
/* Whether the two differ in no way, or in a known one. */
int agree(const Seen *ours, const Seen *theirs, Peer);

#endif
