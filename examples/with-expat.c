/* SPDX-License-Identifier: MIT */
/* expat on an arena: an outline of an XML document. Expat's allocator gets neither a context nor
 * the old size, so a thread-local variable says which arena a call is about, and each block notes
 * its size.
 *
 *   cc with-expat.c -o with-expat $(pkg-config --cflags --libs libcore expat)
 *   ./with-expat */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <expat.h>

#include <core/core.h>

EXCEPT_DEFINE(Xml_Failed, NULL, "not well-formed");

static _Thread_local Arena_T expat_arena;

typedef union Block {
	size_t nbytes;
	max_align_t align;
} Block;

static void *arena_malloc(size_t nbytes)
{
	Block *b =
		nbytes > SIZE_MAX - sizeof *b ? NULL : Arena_try_alloc(expat_arena, sizeof *b + nbytes);

	if (!b)
		return NULL;
	b->nbytes = nbytes;
	return b + 1;
}

/* The old bytes stay in the arena until the parser's work is over, as those that expat frees do. */
static void *arena_realloc(void *p, size_t nbytes)
{
	size_t old = p ? ((Block *)p - 1)->nbytes : 0;
	void *q = arena_malloc(nbytes);

	if (q && p)
		memcpy(q, p, old < nbytes ? old : nbytes);
	return q;
}

static void arena_free(void *p) { (void)p; }

static const XML_Memory_Handling_Suite on_arena = { arena_malloc, arena_realloc, arena_free };

static void starts(void *depth, const XML_Char *name, const XML_Char **attributes)
{
	int *d = depth;

	printf("%*s%s", 2 * (*d)++, "", name);
	for (; *attributes; attributes += 2)
		printf(" %s=%s", attributes[0], attributes[1]);
	putchar('\n');
}

static void ends(void *depth, const XML_Char *name)
{
	(void)name;
	--*(int *)depth;
}

static void parse(const char *document, Arena_T scratch)
{
	int depth = 0;
	XML_Parser parser;

	expat_arena = scratch;
	parser = XML_ParserCreate_MM(NULL, &on_arena, NULL);
	if (!parser)
		RAISE_MSG(Xml_Failed, "no memory for a parser");
	XML_SetUserData(parser, &depth);
	XML_SetElementHandler(parser, starts, ends);
	if (XML_Parse(parser, document, (int)strlen(document), 1) != XML_STATUS_OK)
		RAISE_MSG(Xml_Failed, "line %lu: %s", (unsigned long)XML_GetCurrentLineNumber(parser),
			XML_ErrorString(XML_GetErrorCode(parser)));
}

static void outline(const char *document, size_t limit)
{
	Arena_T outer = expat_arena; /* a handler may parse another document */
	AUTO(Arena_T, scratch, Arena_dispose) = Arena_new_with_size(1024);

	Arena_set_limit(scratch, limit);
	TRY {
		parse(document, scratch);
	} EXCEPT(Xml_Failed) {
		puts(Except_message());
	} FINALLY {
		expat_arena = outer;
	} END_TRY;
}

int main(void)
{
	outline("<book isbn='0-201-49841-3'><title>C Interfaces</title><chapters count='21'>\n"
		"<chapter n='5'>More Memory Management</chapter></chapters></book>", 0);
	outline("<book>\n<title>C Interfaces</book>", 0);
	outline("<book/>", 2048);
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
