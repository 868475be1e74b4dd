/* SPDX-License-Identifier: MIT */
/* One request, as our parser sees it and as others do, and which differences are known and meant. */
#ifndef HTTP_ORACLE_INCLUDED
#define HTTP_ORACLE_INCLUDED
#include <stddef.h>

enum { SEEN_ROOM = 1 << 16, UNKNOWN = -1 };

typedef struct Seen {
	enum { UNFINISHED, ACCEPTED, REFUSED } verdict;
	const char *what;  /* of a refusal: a string that does not change with the request */
	size_t end;        /* where an accepted request ends */
	int keep_alive;    /* or UNKNOWN */
	const char *bytes; /* the input */
	size_t n;
	size_t length;
	char text[SEEN_ROOM]; /* method, target, fields with small names, body: lines of an accepted request */
} Seen;

/* The input in pieces of step bytes; after the head each in memory of its own, exactly as long. */
void see_ours(Seen *, const char *bytes, size_t n, size_t step);
int see_llhttp(Seen *, const char *bytes, size_t n); /* 0: it is not there */

typedef enum Peer { LLHTTP = 1, H11 = 2 } Peer;

int same(const Seen *, const Seen *); /* both ours: equal in all */
/* Whether the two differ in no way, or in a known one. */
int agree(const Seen *ours, const Seen *theirs, Peer);

#endif
