/* SPDX-License-Identifier: MIT */
/* Answers and how a client must read each, for the tests of the parser and of HTTPCall and for
 * the fuzzers. They cover llhttp's response fixtures and h11's tests. */
#ifndef HTTP_ANSWERS_INCLUDED
#define HTTP_ANSWERS_INCLUDED
#include <stddef.h>

typedef struct Answer {
	const char *sentence, *input;
	size_t n;
	int status;       /* 0 if it is refused */
	const char *body; /* if the answer is refused: how the explanation begins */
	size_t end;       /* how many bytes of the input belong to the answer */
	int kept;         /* another answer may follow on the connection */
	int to_head;
} Answer;

/* WHOLE: the whole input is the answer. FIRST: a part of it is. The others are refused. */
#define ROW(sentence, input, rest, status, body, kept, head) \
	{ sentence, input rest, sizeof(input rest) - 1, status, body, sizeof(input) - 1, kept, head }
#define WHOLE(sentence, input, status, body, kept) ROW(sentence, input, "", status, body, kept, 0)
#define FIRST(sentence, input, rest, status, body, kept) \
	ROW(sentence, input, rest, status, body, kept, 0)
#define WRONG(sentence, input, why) ROW(sentence, input, "", 0, why, 0, 0)
#define TO_HEAD(sentence, input, rest, status) ROW(sentence, input, rest, status, "", 1, 1)
#define LINE    "HTTP/1.1 200 OK\r\n"
#define LENGTH(n) "Content-Length: " #n "\r\n"
#define CODED   "Transfer-Encoding: chunked\r\n"
#define NEXT    "HTTP/1.1 200 OK\r\n\r\n"

static const Answer answers[] = {
	/* the status line */
	WHOLE("a simple answer", LINE "Header1: Value1\r\nHeader2:\t Value2\r\n" LENGTH(0) "\r\n", 200,
		"", 1),
	WHOLE("no fields and no body", "HTTP/1.1 404 Not Found\r\n\r\n", 404, "", 0),
	WHOLE("no reason", "HTTP/1.1 301\r\n" LENGTH(0) "\r\n", 301, "", 1),
	WHOLE("an empty reason", "HTTP/1.1 200 \r\n" LENGTH(0) "\r\n", 200, "", 1),
	WHOLE("a reason that begins with a space", "HTTP/1.1 200  OK\r\n" LENGTH(0) "\r\n", 200, "",
		1),
	WHOLE("a reason with tabs and many words", "HTTP/1.1 299 a\tb  c: d/1.1 \r\n" LENGTH(0) "\r\n",
		299, "", 1),
	WHOLE("a reason that is not ASCII", "HTTP/1.1 500 Ori\xc3\xabntatie\xff\r\n" LENGTH(0) "\r\n",
		500, "", 1),
	WHOLE("a status without a meaning", "HTTP/1.1 299 Odd\r\n" LENGTH(1) "\r\nx", 299, "x", 1),
	WRONG("a status of no class", "HTTP/1.1 600 Odd\r\n" LENGTH(1) "\r\nx",
		"the status line is of no version"),
	WHOLE("a later minor version", "HTTP/1.2 200 OK\r\n" LENGTH(1) "\r\nx", 200, "x", 1),
	WRONG("a name that is not HTTP", "HTP/1.1 200 OK\r\n\r\n", "the status line is malformed"),
	WRONG("RTSP", "RTSP/1.1 200 OK\r\n\r\n", "the status line is malformed"),
	WRONG("ICE", "ICE/1.1 200 OK\r\n\r\n", "the status line is malformed"),
	WRONG("ICY", "ICY 200 OK\r\n\r\n", "the status line is malformed"),
	WRONG("a longer name", "HTTPER/1.1 200 OK\r\n\r\n", "the status line is malformed"),
	WRONG("small letters", "http/1.1 200 OK\r\n\r\n", "the status line is malformed"),
	WRONG("a zero before the major version", "HTTP/01.1 200 OK\r\n\r\n",
		"the status line is malformed"),
	WRONG("a major version of two digits", "HTTP/11.1 200 OK\r\n\r\n",
		"the status line is malformed"),
	WRONG("a minor version of two digits", "HTTP/1.01 200 OK\r\n\r\n",
		"the status line is malformed"),
	WRONG("another major version", "HTTP/5.6 200 OK\r\n\r\n", "the status line is of no version"),
	WRONG("HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n", "the status line is of no version"),
	WRONG("HTTP/0.9", "HTTP/0.9 200 OK\r\n\r\n", "the status line is of no version"),
	WRONG("a tab after the version", "HTTP/1.1\t200 OK\r\n\r\n", "the status line is malformed"),
	WRONG("two spaces after the version", "HTTP/1.1  200 OK\r\n\r\n",
		"the status line is malformed"),
	WRONG("a CR before the status line", "\rHTTP/1.1 200 OK\r\n\r\n",
		"the status line is malformed"),
	WRONG("an empty line before the status line", "\r\nHTTP/1.1 200 OK\r\n\r\n",
		"the status line is malformed"),
	WRONG("a status of one digit", "HTTP/1.1 2 OK\r\n\r\n", "the status line is malformed"),
	WRONG("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "the status is followed by"),
	WRONG("a status below 100", "HTTP/1.1 099 No\r\n\r\n", "the status"),
	WRONG("a status with a letter", "HTTP/1.1 20x OK\r\n\r\n", "the status line is malformed"),
	WRONG("a control character in the reason", "HTTP/1.1 200 O\001K\r\n\r\n", "the reason has"),
	WRONG("a NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n", "the reason has"),
	WRONG("only LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "the reason has"),
	WRONG("a bare CR after the status line", "HTTP/1.1 200 OK\rContent-Length: 0\r\n\r\n",
		"the first line has a CR"),
	WRONG("two CRs after the status line", "HTTP/1.1 200 OK\r\rContent-Length: 4\r\n\r\nEvil",
		"the first line has a CR"),
	/* fields */
	WHOLE("odd characters in names",
		LINE
		"X-$P: 1\r\nDCLK_imp: v7;x;1\r\n.et-Cookie: a=b\r\n_eep-Alive: 4\r\n" LENGTH(0) "\r\n",
		200, "", 1),
	WHOLE("an empty value", LINE "Pragma: \r\nA:\r\n" LENGTH(0) "\r\n", 200, "", 1),
	WHOLE("obs-text in a value", LINE "A: \x80\xff\r\n" LENGTH(0) "\r\n", 200, "", 1),
	WHOLE("Host twice, which means nothing here", LINE "Host: a\r\nHost: b\r\n" LENGTH(0) "\r\n",
		200, "", 1),
	WHOLE("Expect, which means nothing here", LINE "Expect: 100-continue\r\n" LENGTH(0) "\r\n",
		200, "", 1),
	WRONG("a space before the first field", LINE " Host: foo\r\n\r\n",
		"a field line starts with white space"),
	WRONG("a space in a name", LINE "en-US Content-Type: text/xml\r\n\r\n", "white space"),
	WRONG("a space before the colon", LINE "A : b\r\n\r\n", "white space"),
	WRONG("a folded field", LINE "A: b\r\n c\r\n\r\n", "a field line starts with white space"),
	WRONG("a line without a colon", LINE "A\r\n\r\n", "a field line has no colon"),
	WRONG("an empty name", LINE ": b\r\n\r\n", "a field line has no name"),
	WRONG("fields parted by a CR", LINE "Foo: 1\rBar: 2\r\n\r\n", "the value of %f has a CR"),
	WRONG("a field that ends in LF", LINE "Foo: 1\nBar: 2\r\n\r\n", "the line of"),
	WRONG("a NUL in a value", LINE "A: b\0c\r\n\r\n", "the value of"),
	/* Content-Length */
	FIRST("a length", LINE LENGTH(3) "\r\nabc", "HTTP/1.1 201 Created\r\n", 200, "abc", 1),
	WHOLE("white space about a length", LINE "Content-Length:\t 3 \t\r\n\r\nabc", 200, "abc", 1),
	WHOLE("a name that begins like Content-Length",
		LINE "Content-Length-X: 0\r\n" CODED "\r\n2\r\nOK\r\n0\r\n\r\n", 200, "OK", 1),
	WHOLE("the same length twice", LINE LENGTH(1) LENGTH(1) "\r\nx", 200, "x", 1),
	WHOLE("Upgrade without 101",
		LINE "Connection: upgrade\r\nUpgrade: h2c\r\n" LENGTH(4) "\r\nbody", 200, "body", 1),
	WRONG("two lengths", LINE LENGTH(1) LENGTH(2) "\r\nxy", "Content-Length given twice"),
	WRONG("a list of lengths", LINE "Content-Length: 1, 1\r\n\r\nx",
		"Content-Length is not a number"),
	WRONG("a negative length", LINE "Content-Length: -1\r\n\r\n",
		"Content-Length is not a number"),
	WRONG("a signed length", LINE "Content-Length: +1\r\n\r\nx", "Content-Length is not a number"),
	WRONG("a length in hex", LINE "Content-Length: 0x1\r\n\r\nx",
		"Content-Length is not a number"),
	WRONG("an empty length", LINE "Content-Length:\r\n\r\n", "Content-Length is not a number"),
	WRONG("a length that no number holds", LINE "Content-Length: 99999999999999999999\r\n\r\n",
		"a body of"),
	/* chunks */
	FIRST("chunks", LINE CODED "\r\na\r\n0123456789\r\n2\r\nxy\r\n0\r\n\r\n", "HTTP/1.1 200", 200,
		"0123456789xy", 1),
	WHOLE("chunks with a trailer",
		LINE CODED "\r\n1\r\n\n\r\n0\r\nA: b\r\nContent-Length: 7\r\n\r\n", 200, "\n", 1),
	WHOLE("chunks with extensions",
		LINE
		"Transfer-encoding: CHUNKED\r\n\r\n5;a;b=c\r\nhello\r\n6;x=\"y; z\"\r\n world\r\n0\r\n\r\n",
		200, "hello world", 1),
	WHOLE("a size in capitals, with zeros", LINE CODED "\r\n00A\r\n0123456789\r\n00\r\n\r\n", 200,
		"0123456789", 1),
	WHOLE("chunks before the connection closes", LINE CODED "Connection: close\r\n\r\n0\r\n\r\n",
		200, "", 0),
	WRONG("a coding after chunked", LINE "Transfer-Encoding: chunked, deflate\r\n\r\nWorld",
		"Transfer-Encoding is not just"),
	WRONG("a coding after chunked, on two lines",
		LINE CODED "Transfer-Encoding: identity\r\n\r\nWorld", "Transfer-Encoding goes on after"),
	WRONG("a coding before chunked", LINE "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding is not just"),
	WRONG("a word that begins like chunked",
		LINE "Transfer-Encoding: chunkedchunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding is not just"),
	WRONG("a coding without chunked", LINE "Transfer-Encoding: gzip\r\n\r\nWorld",
		"Transfer-Encoding is not just"),
	WRONG("chunked on a folded line", LINE CODED "  abc\r\n\r\n5\r\nWorld\r\n0\r\n\r\n",
		"a field line starts with white space"),
	WRONG("chunked beside a length", LINE LENGTH(3) CODED "\r\n0\r\n\r\n",
		"Transfer-Encoding beside Content-Length"),
	WRONG("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\n" CODED "\r\n0\r\n\r\n",
		"Transfer-Encoding in HTTP/1.0"),
	WRONG("a size that is no number", LINE CODED "\r\nxyz\r\n", "a chunk size has"),
	WRONG("a space after a size", LINE CODED "\r\n2 a\r\naa\r\n0\r\n\r\n",
		"a chunk extension has"),
	WRONG("no extension after the semicolon", LINE CODED "\r\n2;\r\naa\r\n0\r\n\r\n",
		"a chunk extension has"),
	WRONG("a quote that does not end", LINE CODED "\r\n5;a=\"b; c\r\nhello\r\n0\r\n\r\n",
		"a chunk extension has"),
	WRONG("a chunk that is longer than its size", LINE CODED "\r\n1\r\nabc\r\n0\r\n\r\n",
		"a chunk"),
	WRONG("a size line that ends in LF", LINE CODED "\r\n1\na\r\n0\r\n\r\n", "a chunk size has"),
	/* until the end of the connection */
	WHOLE("until the end", LINE "Content-Type: text/plain\r\n\r\nhello world", 200, "hello world",
		0),
	WHOLE("until the end, with what looks like an answer", LINE "\r\n" NEXT, 200, NEXT, 0),
	WHOLE("until the end, whatever Connection says",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n" NEXT, 200, NEXT, 0),
	WHOLE("until the end, with Upgrade", LINE "Connection: upgrade\r\nUpgrade: h2c\r\n\r\nbody",
		200, "body", 0),
	WHOLE("until the end, with bare LFs", LINE "Connection: close\r\n\r\n<a>\n<b>\n", 200,
		"<a>\n<b>\n", 0),
	/* no body */
	FIRST("100", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n", 100, "", 1),
	FIRST("103", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n", NEXT, 103, "",
		1),
	FIRST("204", "HTTP/1.1 204 No content\r\n\r\n", NEXT, 204, "", 1),
	FIRST("204 and close", "HTTP/1.1 204 No content\r\nConnection: close\r\n\r\n", NEXT, 204, "",
		0),
	FIRST("204 of HTTP/1.0, kept", "HTTP/1.0 204 No content\r\nConnection: keep-alive\r\n\r\n",
		NEXT, 204, "", 1),
	FIRST("304 with the length of the page", "HTTP/1.1 304 Not Modified\r\n" LENGTH(10) "\r\n",
		NEXT, 304, "", 1),
	FIRST("304 with the coding of the page", "HTTP/1.1 304 Not Modified\r\n" CODED "\r\n", NEXT,
		304, "", 1),
	TO_HEAD("the answer to a HEAD, with the length of the page", LINE LENGTH(123) "\r\n", NEXT,
		200),
	TO_HEAD("the answer to a HEAD, with the coding of the page", LINE CODED "\r\n", NEXT, 200),
	TO_HEAD("the answer to a HEAD, without a length", LINE "\r\n", NEXT, 200),
	/* what Connection says */
	WHOLE("close", LINE "Connection: close\r\n" LENGTH(1) "\r\nx", 200, "x", 0),
	WHOLE("close in a list", LINE "Connection: a, Close ,b\r\n" LENGTH(1) "\r\nx", 200, "x", 0),
	WHOLE("Proxy-Connection, which means nothing",
		LINE "Proxy-Connection: close\r\n" LENGTH(1) "\r\nx", 200, "x", 1),
	WHOLE("HTTP/1.0", "HTTP/1.0 200 OK\r\n" LENGTH(1) "\r\nx", 200, "x", 0),
	WHOLE("HTTP/1.0, kept", "HTTP/1.0 301 Moved\r\nConnection: Keep-Alive\r\n" LENGTH(1) "\r\nx",
		301, "x", 1),
};

/* Answers that are cut off: they are neither complete nor wrong. */
static const char *const cut_answers[] = {
	"",
	"HTTP/1.1 2",
	"HTTP/1.1 200 O",
	LINE "Content-Len",
	LINE LENGTH(10) "\r\nabc",
	LINE CODED "\r\n5\r\nabc",
	LINE CODED "\r\n3\r\nabc\r\n",
	LINE CODED "\r\n0\r\n",
	LINE CODED "\r\n0\r\nA: b\r\n",
};

#undef ROW
#undef LINE
#undef LENGTH
#undef CODED
#undef NEXT
#undef WHOLE
#undef FIRST
#undef WRONG
#undef TO_HEAD

#endif
