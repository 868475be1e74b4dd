/* SPDX-License-Identifier: MIT */
/* Private to HTTP: what a response and a call have to send, fields and a body, both of an arena.
 *
 * Invariant: the name of each field is a token, its value has no control characters;
 * body[0..nbytes) lies in room bytes. If a function raises, the message is as it was before. */
#ifndef HTTP_MESSAGE_INCLUDED
#define HTTP_MESSAGE_INCLUDED
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <core/Arena.h>
#include "base/checked.h"

typedef struct HTTPMessage_Field {
	struct HTTPMessage_Field *next;
	const char *name, *value;
	size_t name_length, value_length;
	char text[];         /* both strings */
} HTTPMessage_Field;

typedef struct HTTPMessage {
	Arena_T arena;
	HTTPMessage_Field *fields, **last;
	char *body;
	size_t nbytes, room;
	int sealed;          /* the body is not in memory: nothing may be written */
} HTTPMessage;

/* Removes the fields and the body; its memory stays for the next one. */
static inline void httpmessage__empty(HTTPMessage *m)
{
	m->fields = NULL;
	m->last = &m->fields;
	m->nbytes = 0;
	m->sealed = 0;
}

/* Without room, each write comes to httpmessage__make_room, which refuses it. */
static inline void httpmessage__seal(HTTPMessage *m)
{
	m->sealed = 1;
	m->body = NULL;
	m->room = 0;
}

static inline void httpmessage__init(HTTPMessage *m, Arena_T of)
{
	m->arena = of;
	m->body = NULL;
	m->room = 0;
	httpmessage__empty(m);
}

/* Sets a field (replaces) or adds one. call: the program's function, for messages. Raises:
 * HTTP_Failed (the name is no token, the value has control characters), Arena_Failed. Checked:
 * NULL; Content-Length and Transfer-Encoding. */
void httpmessage__put_field(HTTPMessage *m, const char *call, int replaces, const char *name,
	const char *value);
/* The first field of that name, or NULL. */
HTTPMessage_Field *httpmessage__find(const HTTPMessage *m, const char *name, size_t length);
int httpmessage__is_named(const HTTPMessage_Field *f, const char *name, size_t length);
int httpmessage__says_close(const HTTPMessage *m); /* 1 if a Connection field says so */
/* The bytes of all field lines, and `more`. Raises: Arena_Failed if no size_t holds them. */
size_t httpmessage__bound(const HTTPMessage *m, size_t more);

static inline char *httpmessage__put(char *out, const char *bytes, size_t n)
{
	memcpy(out, bytes, n);
	return out + n;
}

/* Writes the line of a field; returns where it ends. */
static inline char *httpmessage__put_line(char *out, const HTTPMessage_Field *f)
{
	out = httpmessage__put(out, f->name, f->name_length);
	out = httpmessage__put(out, ": ", 2);
	out = httpmessage__put(out, f->value, f->value_length);
	return httpmessage__put(out, "\r\n", 2);
}

/* Makes room for that many bytes behind the body, where there is less. Raises: Arena_Failed. */
void httpmessage__make_room(HTTPMessage *m, size_t more);

static inline void httpmessage__write(HTTPMessage *m, const void *bytes, size_t nbytes)
{
	if (nbytes == 0)
		return;
	if (nbytes > m->room - m->nbytes)
		httpmessage__make_room(m, nbytes);
	memcpy(m->body + m->nbytes, bytes, nbytes);
	m->nbytes += nbytes;
}

/* Raises: Arena_Failed, HTTP_Failed (the format cannot be printed). */
void httpmessage__vprintf(HTTPMessage *m, const char *call, const char *fmt, va_list ap);

#endif
