/* SPDX-License-Identifier: MIT */
/* Private to HTTPCall: a call, and the functions between its files. Calls go down only:
 *
 *   HTTPCall.c       the public steps, and what their errors become
 *   call/answer.c    reads the answer; repeats a request on another connection
 *   call/request.c   writes the head, sends
 *   call/connection.c  checks a connection out and in */
#ifndef CALL_REP_INCLUDED
#define CALL_REP_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <core/HTTPCall.h>
#include "base/checked.h"
#include "http/message.h"
#include "http/parser.h"
#include "http/reader.h"
#include "http/rep.h"
#include "socket/internal.h"

typedef enum HTTPCall_Stage {
	HTTPCall_MAKING, HTTPCall_SENDING, HTTPCall_RECEIVING, HTTPCall_DONE, HTTPCall_FAILED
} HTTPCall_Stage;

struct HTTPCall {
	Arena_T arena;
	const char *method, *target;
	HTTPMessage message;       /* the fields and the body of the request */
	HTTP_Limits limits;
	int timeout;               /* ms */
	HTTPCall_Stage stage;
	unsigned char in_step;     /* a step runs */
	unsigned char keeps_body;  /* the body of the answer is collected */
	unsigned char closes;      /* the request says Connection: close */

	SocketPool_T pool;         /* NULL if the socket is the caller's */
	const char *host, *service;
	Connection_T connection;   /* NULL while none is checked out */
	Socket_T socket;
	int64_t deadline;
	const char *head;          /* the request's */
	size_t head_length;
	int64_t unsent;            /* bytes left of a streamed body; negative if it is chunked */
	unsigned char body_begun;  /* a part of a streamed body was sent */
	unsigned char retried;     /* this is the second connection */
	unsigned char stopped;     /* the request is not complete, and no more of it is sent */

	char *buffer;              /* received bytes, from at to end */
	size_t at, end;
	unsigned char received;    /* a byte of an answer came */
	unsigned char answered;    /* the reader has the head of the final answer */
	int interim;               /* responses before the final one */
	HTTPReader reader;
	struct HTTPRequest answer; /* its fields and its body */
	const char *part; /* a part of the body: to be sent, or in buffer and not yet the caller's */
	size_t part_length;
};

/* ---- connection.c ---- */

/* Raises e with a message that names the request, and the server if the call has a pool. */
void httpcall__fail(HTTPCall_T call, const Except_T *e, const char *why) CORE_NORETURN;
void httpcall__open_connection(HTTPCall_T call); /* Raises: as SocketPool_checkout */
/* Checks the connection in if it can be used again, or discards it. Does nothing if there is
 * none. Never raises. */
void httpcall__release_connection(HTTPCall_T call, int reusable);

/* ---- request.c ---- */

/* Makes the head. A body of nbytes follows; if nbytes is negative, the body is chunked. Raises:
 * Arena_Failed. */
void httpcall__make_head(HTTPCall_T call, int64_t nbytes);
/* Sends n parts, and changes them meanwhile. Stops when `heed` returns 1: the server does not want
 * the rest. Calls heed whenever there is input and the socket takes no more. Raises: Socket_Failed,
 * and what heed raises. */
typedef int HTTPCall_Heed(HTTPCall_T call);
void httpcall__send_parts(HTTPCall_T call, struct iovec *parts, int n, HTTPCall_Heed *heed);

/* ---- answer.c ---- */

/* Sends the head, and the body of a call that has it whole. */
void httpcall__send_request(HTTPCall_T call);
/* Sends the next part of a streamed body, unless the server has answered or left. */
void httpcall__send_part(HTTPCall_T call);
void httpcall__end_chunks(HTTPCall_T call);
void httpcall__expect_answer(HTTPCall_T call); /* before the first byte is sent */
void httpcall__read_head(HTTPCall_T call);     /* reads the head of the final answer */
/* Returns 1 when the body is whole, 0 after a part of it that the caller is to have. */
int httpcall__read_body(HTTPCall_T call);
int httpcall__read_buffer(HTTPCall_T call);    /* as read_body, but receives nothing */

#endif
