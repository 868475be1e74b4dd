/* SPDX-License-Identifier: MIT */
/* The reader: keeps of the input what the request needs, and lets the parser say what it is.
 *
 * A head that lies whole in the caller's bytes is parsed there and copied once, at its length.
 * One that comes in pieces is collected in request->head, which may move as it grows. Bytes
 * before the request line are not kept.
 *
 * A body of a known length is one block, which grows eightfold up to that length. So what a client
 * promises costs nothing before it sends. The smaller blocks that are left in the arena are a
 * seventh of the body at most. The length of a chunked body is known at its end only. Blocks, each
 * a sixth of what has come, collect it in an arena of their own. At the end they are joined, and
 * that arena goes. Doubling one block would leave as much again in the arena. */
#include "config.h"

#include <string.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/parser.h"
#include "http/reader.h"
#include "http/rep.h"
#include "http/syntax.h"

enum {
	HEAD_FIRST = 2048,      /* bytes of the first read: most heads */
	HEAD_LEAST = 512,       /* allocated for a head in pieces */
	/* of a head at a time: the body behind it is not for the head's buffer */
	PIECE = 2048,
	BODY_FIRST = 64 * 1024, /* at most, before the bytes come that a Content-Length promises */
	BODY_GROWTH = 8,
	BLOCK_LEAST = 4096,
	/* of what has come; as more than an eighth it gets a chunk of the arena to itself */
	BLOCK_SHARE = 6,
	READ_LEAST = 512        /* free in a block, so that no call of recv gets only a few bytes */
};

typedef struct HTTPBlock {
	struct HTTPBlock *next;
	size_t length;
	char bytes[];
} Block;

typedef struct HTTPBlocks {
	Arena_T arena; /* it has all blocks but the first */
	Block *first, **last;
} Blocks;

void httpreader__init(HTTPReader *r, HTTPRequest_T request, const HTTP_Limits *limits)
{
	httpparser__init(&r->parser, limits);
	r->request = request;
	r->take = NULL;
	r->cl = NULL;
	r->fields = NULL;
	r->nfields = r->fields_room = 0;
	r->wrong = NULL;
	r->in_body = r->has_line = 0;
	r->length = r->room = r->promised = r->taken = r->block_room = 0;
	r->block = NULL;
	r->full = NULL;
	request->self = request;
	request->body = "";
}

void httpreader__init_answer(HTTPReader *r, HTTPRequest_T request, const HTTP_Limits *limits,
	int to_head)
{
	httpreader__init(r, request, limits);
	httpparser__init_answer(&r->parser, limits, to_head);
}

/* The body is chunked, or ends with the connection. */
static int has_open_end(const HTTPReader *r)
{
	return r->parser.flags & (HTTPParser_CHUNKED | HTTPParser_UNTIL_CLOSE);
}

/* ---- the head ---- */

static char *widen_head(HTTPReader *r, size_t need, size_t first)
{
	char **head = &r->request->head;
	size_t room;

	if (need <= r->room)
		return *head;
	if (!mul_size(r->room, 2, &room) || room < need)
		room = need > first ? need : first;
	*head = *head ? Arena_realloc(r->request->arena, *head, r->room, room)
		: Arena_alloc(r->request->arena, room);
	r->room = room;
	return *head;
}

static void hold_head(HTTPReader *r, const char *bytes, size_t n)
{
	char *to = widen_head(r, r->length + n, HEAD_LEAST) + r->length;

	if (to != bytes)
		memcpy(to, bytes, n);
	r->length += n;
}

static HTTPReader_Event fail_reading(HTTPReader *r, const char *bytes)
{
	r->wrong = bytes;
	return HTTPReader_ERROR;
}

/* All bytes were seen. Bytes of empty lines, which are not of the request, are forgotten. */
static void keep_piece(HTTPReader *r, const char *bytes, size_t n)
{
	if (!httpparser__begun(&r->parser)) {
		httpparser__rewind(&r->parser);
		r->length = 0;
	} else if (!r->request->head)
		hold_head(r, bytes, n);
}

/* The parser stands behind the head: bytes of the body come next. */
static HTTPReader_Event take_head(HTTPReader *r, const char *bytes)
{
	HTTPParser *p = &r->parser;
	const char *wrong;

	if (!r->request->head)
		r->request->head = memcpy(Arena_alloc(r->request->arena, p->at), bytes, p->at);
	wrong = p->flags & HTTPParser_ANSWER ? httprequest__answer(r->request, p)
		: httprequest__head(r->request, p);
	if (wrong) {
		fail_slice(p, p->path, wrong);
		return fail_reading(r, r->request->head);
	}
	if (!has_open_end(r))
		r->promised = (size_t)p->left;
	r->in_body = 1;
	httpparser__rewind(p);
	return HTTPReader_HEAD;
}

static HTTPReader_Event feed_head(HTTPReader *r, const char *bytes, size_t n, size_t *used)
{
	const char *b = bytes;
	size_t length = n, at;
	HTTPParser_Event event;

	if (r->request->head) {
		hold_head(r, bytes, n);
		b = r->request->head;
		length = r->length;
	}
	while ((event = httpparser__next(&r->parser, b, length)) == HTTPParser_LINE
			|| event == HTTPParser_FIELD)
		if (event == HTTPParser_LINE)
			r->has_line = 1;
		else if (r->nfields < r->fields_room)
			r->fields[r->nfields++] = httprequest__field(&r->parser);
	at = r->parser.at;
	*used = n - (length - at);
	if (event == HTTPParser_HEAD)
		return take_head(r, b);
	if (event == HTTPParser_ERROR)
		return fail_reading(r, b);
	keep_piece(r, b, n);
	return HTTPReader_MORE;
}

/* A head that came in pieces before. */
static __attribute__((noinline)) HTTPReader_Event feed_pieces(HTTPReader *r, const char *bytes,
	size_t n, size_t *used)
{
	HTTPReader_Event event;
	size_t piece, taken = 0;

	do {
		piece = n - taken > PIECE ? PIECE : n - taken;
		event = feed_head(r, bytes + taken, piece, used);
		taken += *used;
	} while (event == HTTPReader_MORE && taken < n);
	*used = taken;
	return event;
}

/* ---- the body ---- */

/* A byte more than room, for the NUL behind the body. */
static size_t block_size(size_t room)
{
	size_t size;

	if (!add_size(room, sizeof(Block) + 1, &size))
		EXCEPT_RAISE_MSG(Arena_Failed, "a request body of %zu bytes is too large", room);
	return size;
}

static void make_block(HTTPReader *r, Arena_T arena, size_t room)
{
	Block *block = Arena_alloc(arena, block_size(room));

	block->next = NULL;
	block->length = 0;
	r->block = block;
	r->block_room = room;
}

static void grow_block(HTTPReader *r)
{
	size_t room;

	if (!mul_size(r->block_room, BODY_GROWTH, &room) || room > r->promised)
		room = r->promised;
	r->block = Arena_realloc(r->request->arena, r->block, block_size(r->block_room),
		block_size(room));
	r->block_room = room;
}

/* That of a chunked body may be left behind when blocks are joined: it is small, whatever has
 * come. */
static size_t first_room(const HTTPReader *r)
{
	size_t room;

	if (has_open_end(r))
		return BLOCK_LEAST;
	for (room = r->promised; room > BODY_FIRST; room = room / BODY_GROWTH + 1)
		;
	return room;
}

static void dispose_blocks(void *cl)
{
	Blocks *full = cl;

	Arena_dispose(&full->arena);
}

/* The arena of the blocks has the backing allocator of the request's, but is no child: a clear
 * would leave it. */
static Blocks *make_blocks(HTTPReader *r)
{
	Arena_T arena = r->request->arena;
	Blocks *full;

	NEW0(arena, full);
	full->last = &full->first;
	Arena_defer(arena, dispose_blocks, full);
	full->arena = Arena_new_child(arena);
	Arena_adopt(full->arena, NULL);
	return full;
}

static void add_block(HTTPReader *r, size_t need)
{
	size_t room = r->taken / BLOCK_SHARE;
	Block *before = r->block;

	if (!r->full)
		r->full = make_blocks(r);
	if (room < need)
		room = need;
	make_block(r, r->full->arena, room > BLOCK_LEAST ? room : BLOCK_LEAST);
	*r->full->last = before;
	r->full->last = &before->next;
}

/* Room for one byte at least. need: how many are there. */
static void make_room(HTTPReader *r, size_t need)
{
	if (!r->block)
		make_block(r, r->request->arena, first_room(r));
	else if (r->block->length == r->block_room && has_open_end(r))
		add_block(r, need);
	else if (r->block->length == r->block_room)
		grow_block(r);
}

static void keep_body(HTTPReader *r, const char *bytes, size_t n)
{
	Block *block;
	size_t part;

	for (; n > 0; n -= part, bytes += part) {
		make_room(r, n);
		block = r->block;
		part = r->block_room - block->length < n ? r->block_room - block->length : n;
		memmove(block->bytes + block->length, bytes, part);
		block->length += part;
		r->taken += part;
	}
}

static void join_blocks(HTTPReader *r, Blocks *full)
{
	Block *block, *joined = Arena_alloc(r->request->arena, block_size(r->taken));

	joined->next = NULL;
	joined->length = 0;
	*full->last = r->block;
	for (block = full->first; block; block = block->next) {
		memcpy(joined->bytes + joined->length, block->bytes, block->length);
		joined->length += block->length;
	}
	r->block = joined;
}

static int lies_in(const Block *block, size_t room, const char *bytes)
{
	return (uintptr_t)bytes - (uintptr_t)block->bytes < room;
}

/* rest: NULL, or the caller's next bytes: if they lie in the last block, the blocks go with the
 * request only. */
static HTTPReader_Event finish_body(HTTPReader *r, const char *rest)
{
	Blocks *full = r->full;
	int keeps = full && rest && lies_in(r->block, r->block_room, rest);

	r->full = NULL;
	if (full)
		join_blocks(r, full);
	if (full && !keeps)
		Arena_dispose(&full->arena);
	if (r->block) {
		r->block->bytes[r->taken] = '\0';
		r->request->body = r->block->bytes;
		r->request->nbytes = r->taken;
	}
	return HTTPReader_READY;
}

/* Returns 0 if the reader must pause after these bytes. */
static int take_body(HTTPReader *r, const char *bytes, size_t n)
{
	if (!r->take) {
		keep_body(r, bytes, n);
		return 1;
	}
	r->taken += n;
	return r->take(bytes, n, r->cl);
}

static __attribute__((noinline)) HTTPReader_Event feed_body(HTTPReader *r, const char *bytes,
	size_t n, size_t *used)
{
	HTTPParser *p = &r->parser;
	HTTPParser_Event event;

	do
		event = httpparser__next(p, bytes, n);
	while (event == HTTPParser_BODY && take_body(r, bytes + p->value.at, p->value.length));
	*used = p->at;
	if (event == HTTPParser_ERROR)
		return fail_reading(r, bytes);
	httpparser__rewind(p);
	return event == HTTPParser_END ? finish_body(r, *used < n ? bytes + *used : NULL)
		: HTTPReader_MORE;
}

HTTPReader_Event httpreader__close(HTTPReader *r)
{
	return r->in_body && httpparser__close(&r->parser) ? finish_body(r, NULL) : HTTPReader_MORE;
}

HTTPReader_Event httpreader__feed(HTTPReader *r, const char *bytes, size_t n, size_t *used)
{
	if (r->in_body)
		return feed_body(r, bytes, n, used);
	return r->request->head ? feed_pieces(r, bytes, n, used) : feed_head(r, bytes, n, used);
}

/* ---- reading without a copy ---- */

/* A chunk's bytes only move down within the block, over its size line. */
static char *body_room(HTTPReader *r, size_t *n)
{
	make_room(r, 1);
	if (has_open_end(r) && r->block_room - r->block->length < READ_LEAST)
		add_block(r, READ_LEAST);
	*n = r->block_room - r->block->length;
	return r->block->bytes + r->block->length;
}

char *httpreader__room(HTTPReader *r, size_t *n)
{
	if (r->in_body)
		return body_room(r, n);
	widen_head(r, r->length + 1, HEAD_FIRST);
	*n = r->room - r->length;
	return r->request->head + r->length;
}

/* ---- questions ---- */

int httpreader__begun(const HTTPReader *r)
{
	return httpparser__begun(&r->parser);
}

int httpreader__has_cr(const HTTPReader *r)
{
	return r->parser.state == START_LF;
}

int httpreader__has_body(const HTTPReader *r)
{
	return has_open_end(r) || r->parser.left > 0;
}

int httpreader__awaits(const HTTPReader *r)
{
	unsigned flags = r->parser.flags & (HTTPParser_CONTINUE | HTTPParser_OLD);

	return flags == HTTPParser_CONTINUE && httpreader__has_body(r);
}

HTTPReader_Event httpreader__limit_body(HTTPReader *r, const HTTP_Limits *limits)
{
	r->parser.limits = limits;
	if (httpparser__limit_body(&r->parser) == HTTPParser_ERROR)
		return fail_reading(r, r->request->head);
	return HTTPReader_MORE;
}

/* The bytes are the caller's, or those of a head in pieces, which another request's buffer may
 * be. */
void httpreader__keep_line(HTTPReader *r)
{
	HTTPRequest_T q = r->request;
	const HTTPParser *p = &r->parser;
	const char *b = r->wrong;
	char *path;
	size_t marked;

	if (!r->has_line || q->method)
		return;
	q->method = Arena_strndup(q->arena, b + p->method.at, p->method.length);
	q->target = Arena_strndup(q->arena, b + p->target.at, p->target.length);
	q->query = Arena_strndup(q->arena, b + p->query.at, p->query.length);
	q->version = p->flags & HTTPParser_OLD ? "HTTP/1.0" : "HTTP/1.1";
	path = Arena_alloc(q->arena, p->path.length + 2);
	if (httpparser__path(b + p->path.at, p->path.length, path, &marked))
		return;
	httpparser__show_path(path, marked);
	q->path = path;
}

void httpreader__explain(const HTTPReader *r, char *out, size_t size)
{
	httpparser__explain(&r->parser, r->wrong, out, size);
}
