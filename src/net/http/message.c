/* SPDX-License-Identifier: MIT */
/* The fields and the body of what is sent: a list, and an array that grows. */
#include "config.h"

#include <stdio.h>

#include <core/HTTP.h>
#include "http/message.h"
#include "http/parser.h"
#include "http/scan.h"

enum { BODY_FIRST = 1024 };

/* ---- fields ---- */

int httpmessage__is_named(const HTTPMessage_Field *f, const char *name, size_t length)
{
	return f->name_length == length && httpparser__is(f->name, length, name);
}

HTTPMessage_Field *httpmessage__find(const HTTPMessage *m, const char *name, size_t length)
{
	HTTPMessage_Field *f;

	for (f = m->fields; f; f = f->next)
		if (httpmessage__is_named(f, name, length))
			return f;
	return NULL;
}

/* A malformed field often came from a peer, so it is an exception and not a checked error. */
static void refuse_name(const char *call, const char *name) CORE_NORETURN;
static void refuse_name(const char *call, const char *name)
{
	char shown[512];

	httpparser__quote(shown, sizeof shown, name, strlen(name));
	EXCEPT_RAISE_MSG(HTTP_Failed, "%s: %s is not a field name", call, shown);
}

static void refuse_value(const char *call, const char *name, const char *value) CORE_NORETURN;
static void refuse_value(const char *call, const char *name, const char *value)
{
	char shown[512];

	httpparser__quote(shown, sizeof shown, value, strlen(value));
	EXCEPT_RAISE_MSG(HTTP_Failed,
		"%s: control characters in the value of %s: %s", call, name, shown);
}

/* Returns the length of the name. Its NUL is of no class. */
static size_t check_name(const char *call, const char *name)
{
	size_t n = 0;

	while (http__classes[(unsigned char)name[n]] & IN_TOKEN)
		n++;
	if (n == 0 || name[n])
		refuse_name(call, name);
	CHECK(!(n == 14 && httpparser__is(name, 14, "content-length"))
			&& !(n == 17 && httpparser__is(name, 17, "transfer-encoding")),
		"%s: %s is for the library to set", call, name);
	return n;
}

static HTTPMessage_Field *make_field(Arena_T arena, const char *call, const char *name,
	const char *value)
{
	size_t name_length, value_length;
	HTTPMessage_Field *f;

	CHECK(name, "%s: the name is NULL", call);
	CHECK(value, "%s: the value of %s is NULL", call, name);
	name_length = check_name(call, name);
	value_length = strlen(value);
	if (skip_text(value, 0, value_length) < value_length)
		refuse_value(call, name, value);
	f = Arena_alloc(arena, sizeof *f + name_length + value_length + 2);
	f->next = NULL;
	f->name = memcpy(f->text, name, name_length + 1);
	f->value = memcpy(f->text + name_length + 1, value, value_length + 1);
	f->name_length = name_length;
	f->value_length = value_length;
	return f;
}

/* Removes all fields of that name from *at on. */
static void drop_named(HTTPMessage *m, HTTPMessage_Field **at, const HTTPMessage_Field *like)
{
	while (*at)
		if (httpmessage__is_named(*at, like->name, like->name_length))
			*at = (*at)->next;
		else
			at = &(*at)->next;
	m->last = at;
}

void httpmessage__put_field(HTTPMessage *m, const char *call, int replaces, const char *name,
	const char *value)
{
	HTTPMessage_Field *f = make_field(m->arena, call, name, value),
		*old = replaces ? httpmessage__find(m, f->name, f->name_length) : NULL;

	if (old) {
		old->value = f->value;
		old->value_length = f->value_length;
		drop_named(m, &old->next, f);
	} else {
		*m->last = f;
		m->last = &f->next;
	}
}

static __attribute__((noinline)) int lists_close(const HTTPMessage_Field *connection)
{
	HTTPSlice rest = { 0, connection->value_length }, member;

	while (httpparser__member(connection->value, &rest, &member))
		if (httpparser__is(connection->value + member.at, member.length, "close"))
			return 1;
	return 0;
}

int httpmessage__says_close(const HTTPMessage *m)
{
	const HTTPMessage_Field *f;

	for (f = m->fields; f; f = f->next)
		if (httpmessage__is_named(f, "connection", 10) && lists_close(f))
			return 1;
	return 0;
}

size_t httpmessage__bound(const HTTPMessage *m, size_t more)
{
	size_t n = more;
	const HTTPMessage_Field *f;

	for (f = m->fields; f; f = f->next)
		if (!add_size(n, f->name_length + 4, &n) || !add_size(n, f->value_length, &n))
			EXCEPT_RAISE_MSG(Arena_Failed, "the fields of a message are too large");
	return n;
}

/* ---- the body ---- */

void httpmessage__make_room(HTTPMessage *m, size_t more)
{
	size_t need, room;

	CHECK(!m->sealed, "HTTPResponse: bytes are written, and the body is a file, or there is none");
	if (!add_size(m->nbytes, more, &need))
		EXCEPT_RAISE_MSG(Arena_Failed, "a body of %zu bytes and %zu more is too large", m->nbytes,
			more);
	if (!mul_size(m->room, 2, &room) || room < need)
		room = need > BODY_FIRST ? need : BODY_FIRST;
	m->body =
		m->body ? Arena_realloc(m->arena, m->body, m->room, room) : Arena_alloc(m->arena, room);
	m->room = room;
}

/* The length of what was to be printed at the end of the body, all of it there if there was
 * room. */
static size_t print_body(HTTPMessage *m, const char *call, const char *fmt, va_list ap)
{
	size_t room = m->room - m->nbytes;
	int n = vsnprintf(room ? m->body + m->nbytes : NULL, room, fmt, ap);

	if (n < 0)
		EXCEPT_RAISE_MSG(HTTP_Failed, "%s: the format \"%s\" cannot be printed", call, fmt);
	return (size_t)n;
}

/* vsnprintf's NUL needs a byte of room, which the next write takes over. */
void httpmessage__vprintf(HTTPMessage *m, const char *call, const char *fmt, va_list ap)
{
	va_list again;
	size_t n;

	va_copy(again, ap);
	n = print_body(m, call, fmt, ap);
	if (n >= m->room - m->nbytes) {
		httpmessage__make_room(m, n + 1);
		print_body(m, call, fmt, again);
	}
	va_end(again);
	m->nbytes += n;
}
