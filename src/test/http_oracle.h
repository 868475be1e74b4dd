/* SPDX-License-Identifier: MIT */
/* A request or answer as our parser and its peers read it, and which differences are known and
 * intended. */
#ifndef HTTP_ORACLE_INCLUDED
#define HTTP_ORACLE_INCLUDED
#include <stddef.h>

enum { SEEN_ROOM = 1 << 16, UNKNOWN = -1 };

typedef enum Kind { REQUEST, ANSWER, ANSWER_TO_HEAD } Kind;

typedef struct Seen {
	Kind kind;
	enum { UNFINISHED, ACCEPTED, REFUSED } verdict;
	const char *what;  /* the reason of a refusal; the same for each such request */
	size_t end;        /* where an accepted message ends */
	int status;        /* the status of an answer */
	size_t body;       /* where the body begins in text */
	int keep_alive;    /* 0, 1 or UNKNOWN */
	const char *bytes; /* the input */
	size_t n;
	size_t length;
	/* An accepted message, in lines: method and target, or the reason; the fields with their
	 * names in lower case; the status of an answer; the body. */
	char text[SEEN_ROOM];
} Seen;

/* Parses the input in pieces of step bytes. After the head, each piece has memory of its own,
 * exactly as long. The stream ends after an answer. */
void see_ours(Seen *, Kind, const char *bytes, size_t n, size_t step);
/* Returns 0 if this peer is not installed. */
int see_llhttp(Seen *, Kind, const char *bytes, size_t n);

typedef enum Peer { LLHTTP = 1, H11 = 2 } Peer;

int same(const Seen *, const Seen *); /* Returns whether two results of our parser are equal. */
/* Returns whether the two are equal or differ in a known way. */
int agree(const Seen *ours, const Seen *theirs, Peer);

#endif
