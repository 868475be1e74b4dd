/* SPDX-License-Identifier: MIT */
/* Part of http_oracle.c: the known differences of answers. */

/* Our parser refuses these, and the peer accepts them. */
static const Difference stricter_answers[] = {
	{ BOTH, "the status line is malformed",
		"9112, 4: single spaces, three digits, nothing before it; "
		"h11 takes a line without a version" },
	{ BOTH, "the status is followed by", "9112, 4: three digits" },
	{ BOTH, "the status line is of no version or class",
		"9110, 2.5 and 15: another major version; a status below 100" },
	{ BOTH, "the reason has the byte", "9112, 4: no control character; 2.2: a line ends in CR LF" },
	{ BOTH, "a field line has no colon", "9112, 2.2: here a bare LF that ends the head" },
	{ LLHTTP, "a field line has no name", "9112, 5: a name is a token, which is not empty" },
	{ BOTH, "a field line starts with white space",
		"9112, 5.2: a folded line, to refuse or to unfold" },
	{ BOTH, "Content-Length is not a number",
		"9112, 6.3: a list of equal numbers may be refused; or, of llhttp, on a folded line" },
	{ H11, "the line of %f ends in LF",
		"9112, 2.2: a bare LF may be taken for a line's end; 11.2 warns of it" },
	{ H11, "the value of %f has the byte", "9110, 5.5: a control character is invalid" },
	{ H11, "Transfer-Encoding beside Content-Length",
		"9112, 6.3: ought to be handled as an error" },
	{ LLHTTP, "Transfer-Encoding goes on after", "9112, 6.1: chunked is applied once, and last" },
	{ BOTH, "Transfer-Encoding in HTTP/1.0", "9112, 6.1: MUST treat the framing as faulty" },
	{ BOTH, "Transfer-Encoding is not just",
		"9112, 6.3: a coding that we do not have; the body of its message is of no use; or, of "
		"h11, on a folded line" },
	{ H11, "Content-Length given twice", "9112, 5.2: the second is on a folded line" },
	{ LLHTTP, "a chunk is followed by", "9112, 7.1; llhttp overlooks chunked before a tab" },
	{ LLHTTP, "a chunk size has the byte", "the same" },
};

/* The peer refuses these, and our parser accepts them. */
static const Difference looser_answers[] = {
	{ LLHTTP, "Duplicate Content-Length",
		"9112, 6.3 and 9110, 8.6: identical values may count once" },
	{ LLHTTP, "Invalid character in Content-Length",
		"9110, 5.5: a tab after the value is no part of it" },
	{ LLHTTP, "Request has invalid `Transfer-Encoding`", "the same" },
	{ LLHTTP, "Invalid HTTP version",
		"9110, 2.5: a later minor version is to be processed as the highest of ours" },
	{ H11, "Received server _SWITCH_UPGRADE event",
		"9110, 15.2.2: h11 takes 101 for an answer to an upgrade that it asked for" },
};
