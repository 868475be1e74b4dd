/* SPDX-License-Identifier: MIT */
/* The script of a client, and the answers to it, byte by byte: an answer is to the request whose
 * turn it is, and has that one's body, or it is a refusal for which there is a reason. */
#define _GNU_SOURCE
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { EMPTY_LINES = 8 }; /* a server takes no more before a request */

char body_byte(int id, size_t i)
{
	return (char)('a' + ((size_t)id * 7 + i) % 26);
}

/* ---- what it sends ---- */

static void put_text(Bytes *b, const char *text)
{
	bytes_put(b, text, strlen(text));
}

static void put_body(Bytes *b, int id, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		char c = body_byte(id, i);

		bytes_put(b, &c, 1);
	}
}

static void put_chunked(Bytes *b, int id, size_t n)
{
	size_t i = 0, k;
	char size[32];

	while (i < n) {
		size_t part = 1 + (size_t)sim_below((int)(n - i));

		snprintf(size, sizeof size, "%zx\r\n", part);
		put_text(b, size);
		for (k = 0; k < part; k++, i++) {
			char c = body_byte(id, i);

			bytes_put(b, &c, 1);
		}
		put_text(b, "\r\n");
	}
	put_text(b, "0\r\n\r\n");
}

static const char *const methods[ALL_KINDS] = { "GET", "HEAD", "POST", "POST", "POST", "GET",
	"GET", "GET", "GET", "GET", "GET", "GET" };
static const char *const paths[ALL_KINDS] = { "get", "get", "post", "post", "post", "stream",
	"raise", "slow", "nothing", "get", "get", "upgrade" };

static const int statuses[ALL_KINDS] = { 200, 200, 200, 200, 200, 200, 500, 200, 404, 200, 400,
	101 };

static size_t body_size(void)
{
	static const int sizes[] = { 0, 1, 10, 300, 3000, 20000 };

	return (size_t)sim_below(1 + sizes[sim_below(6)]);
}

static int has_handler(const Request *r)
{
	return r->kind != KIND_NOTHING && r->kind != KIND_BAD;
}

static const char *fields_of(Kind kind)
{
	switch (kind) {
	case KIND_CLOSE:
		return "Connection: close\r\n";
	case KIND_BAD:
		return "Bad : field\r\n";
	case KIND_EXPECT:
		return "Expect: 100-continue\r\n";
	case KIND_UPGRADE:
		return "Connection: Upgrade\r\nUpgrade: sim\r\n";
	default:
		return "";
	}
}

static void add_request(Client *c, int id, int of_program)
{
	Request *r = &c->requests[c->nrequests++];
	Bytes *b = &c->script;
	int has_body, i;
	char line[256];

	r->kind = (Kind)sim_below(sim_chance(15) ? KINDS : KIND_CLOSE);
	if (sim_chance(30))
		r->kind = KIND_GET;
	if (of_program && sim_chance(5))
		r->kind = KIND_UPGRADE;
	r->id = id;
	r->status = statuses[r->kind];
	r->size = body_size();
	has_body = r->kind == KIND_POST || r->kind == KIND_CHUNKED || r->kind == KIND_EXPECT;
	r->body = has_body || r->kind == KIND_UPGRADE
		? (size_t)sim_below(sim_chance(80) ? 300 : 4000) : 0;
	r->blocks = of_program && has_handler(r) && sim_chance(40);
	r->parts = of_program && has_body && sim_chance(50);
	for (i = 0; i < EMPTY_LINES && sim_chance(25); i++)
		put_text(b, "\r\n");
	r->begin = b->end;
	snprintf(line, sizeof line, "%s /%s%s/%d/%zu HTTP/1.1\r\nHost: a\r\n%s",
		methods[r->kind], r->blocks ? "b" : "", r->parts ? "parts" : paths[r->kind], id, r->size,
		fields_of(r->kind));
	put_text(b, line);
	if (r->kind == KIND_CHUNKED)
		put_text(b, "Transfer-Encoding: chunked\r\n");
	else if (has_body) {
		snprintf(line, sizeof line, "Content-Length: %zu\r\n", r->body);
		put_text(b, line);
	}
	put_text(b, "\r\n");
	r->head_end = b->end;
	if (r->kind == KIND_CHUNKED)
		put_chunked(b, id, r->body);
	else
		put_body(b, id, r->body);
	r->end = r->kind == KIND_UPGRADE ? r->head_end : b->end;
}

Client *client_new(int *next_id, int of_program)
{
	Client *c = calloc(1, sizeof *c);
	int n = 1 + sim_below(REQUESTS);

	c->manner = (Manner)sim_below(MANNERS);
	if (sim_chance(30))
		c->manner = EAGER;
	while (n-- > 0 && (c->nrequests == 0 || c->requests[c->nrequests - 1].kind != KIND_UPGRADE))
		add_request(c, (*next_id)++, of_program);
	c->stops_at = c->script.end;
	if (c->manner == STALLING || c->manner == LEAVING)
		c->stops_at = (size_t)sim_below((int)c->script.end + 1);
	if (c->manner == SILENT)
		c->stops_at = 0;
	return c;
}

void client_free(Client *c)
{
	bytes_free(&c->script);
	bytes_free(&c->sent);
	free(c);
}

int client_whole(const Client *c)
{
	int n = 0;

	while (n < c->nrequests && c->got >= c->requests[n].end)
		n++;
	return n;
}

/* ---- what it hears ---- */

static const char *field(const char *head, const char *end, const char *name)
{
	const char *at = memmem(head, (size_t)(end - head), name, strlen(name));

	return at ? at + strlen(name) : NULL;
}

static void check_body(const Request *r, const char *bytes, size_t n, size_t offset)
{
	size_t i;

	for (i = 0; i < n; i++)
		SIM_CHECK(bytes[i] == body_byte(r->id, offset + i),
			"answer %d: byte %zu of the body is '%c'", r->id, offset + i, bytes[i]);
}

/* Returns the end of a chunked body; NULL: it is not there yet. */
static const char *end_of_chunks(const Request *r, const char *at, const char *end)
{
	size_t offset = 0;

	for (;;) {
		const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
		size_t n;

		if (!line)
			return NULL;
		n = strtoul(at, NULL, 16);
		if ((size_t)(end - line) < 2 + n + 2)
			return NULL;
		check_body(r, line + 2, n, offset);
		offset += n;
		SIM_CHECK(memcmp(line + 2 + n, "\r\n", 2) == 0, "answer %d: a chunk without an end",
			r->id);
		at = line + 2 + n + 2;
		if (n == 0) {
			SIM_CHECK(offset == r->size, "answer %d: a stream of %zu bytes, not %zu",
				r->id, offset, r->size);
			return at;
		}
	}
}

static void check_answer(const Request *r, const char *head, const char *body, size_t n)
{
	const char *id = field(head, body, "\r\nX-Id: ");

	if (r->status != 200)
		return;
	SIM_CHECK(id && atoi(id) == r->id, "the answer to request %d is that to %d", r->id,
		id ? atoi(id) : -1);
	SIM_CHECK(n == r->size, "answer %d: a length of %zu, not %zu", r->id, n, r->size);
}

/* One that is refused before its method is whole may be of any. */
static int may_have_body(const Client *c, const Request *r)
{
	return r->kind != KIND_HEAD || c->got < r->begin + strlen("HEAD ");
}

/* Returns the end of the response that begins at `at`; NULL: it is not there yet. */
static const char *take_response(Client *c, const char *at, const char *end)
{
	const char *body = memmem(at, (size_t)(end - at), "\r\n\r\n", 4), *length, *next;
	int status;
	Request *r;

	if (!body)
		return NULL;
	body += 4;
	SIM_CHECK(!memchr(at, '\0', (size_t)(body - at)), "a NUL in the head of an answer");
	SIM_CHECK(sscanf(at, "HTTP/1.1 %d ", &status) == 1, "no answer: %.40s", at);
	if (status == 100) {
		SIM_CHECK(c->requests[c->answered].kind == KIND_EXPECT,
			"100 Continue for one that does not ask");
		c->invited = 1;
		return body;
	}
	SIM_CHECK(!c->closing, "an answer after the last");
	SIM_CHECK(c->answered < c->nrequests || c->excused, "an answer to no request");
	if (c->answered == c->nrequests)
		return end;
	r = &c->requests[c->answered];
	length = field(at, body, "\r\nContent-Length: ");
	next = body + (length && may_have_body(c, r) ? strtoul(length, NULL, 10) : 0);
	if (next > end)
		return NULL;
	if (status != r->status)
		client_check_refusal(c, status);
	else {
		SIM_CHECK(c->got >= r->end || r->status == 400 || r->early || client_is_excused(c),
			"request %d was answered before it was there", r->id);
		SIM_CHECK(r->handled == (has_handler(r) && !r->early) || client_is_excused(c),
			"the handler of request %d ran %d times", r->id, r->handled);
		if (r->kind == KIND_STREAM && status == 200) {
			next = end_of_chunks(r, body, end);
			if (!next)
				return NULL;
		} else {
			check_answer(r, at, body, length ? strtoul(length, NULL, 10) : 0);
			if (status == 200 && r->kind != KIND_HEAD)
				check_body(r, body, (size_t)(next - body), 0);
		}
	}
	c->closing = field(at, body, "\r\nConnection: close") != NULL;
	sim_trace("stream %d: request %d was answered %d%s", c->stream->id, r->id, status,
		c->closing ? ", the last" : "");
	c->answered++;
	c->invited = 0;
	if (status == 101) {
		c->upgraded = 1;
		c->open = 0;
	}
	/* Else the rest of its script is no request. */
	c->garbled = r->kind == KIND_UPGRADE && !c->upgraded;
	c->excused |= c->garbled;
	return next;
}

/* Bytes of the program, behind an upgrade. */
static void take_raw(Client *c)
{
	const Request *r = &c->requests[c->answered - 1];

	check_body(r, c->sent.at + c->sent.start, bytes_length(&c->sent), c->raw);
	c->raw += bytes_length(&c->sent);
	c->sent.start = c->sent.end;
}

void client_heard(Client *c, const char *bytes, size_t n)
{
	const char *next;

	if (bytes_length(&c->sent) == 0 && !c->offered)
		client_response_begins(c);
	bytes_put(&c->sent, bytes, n);
	c->offered = bytes_length(&c->sent) == 0;
	while (bytes_length(&c->sent) > 0 && !c->upgraded
		&& (next = take_response(c, c->sent.at + c->sent.start, c->sent.at + c->sent.end))
			!= NULL) {
		c->sent.start = (size_t)(next - c->sent.at);
		client_response_begins(c);
	}
	if (c->upgraded)
		take_raw(c);
}
