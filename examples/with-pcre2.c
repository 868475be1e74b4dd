/* SPDX-License-Identifier: MIT */
/* PCRE2 on an arena: a pattern, its matches and all that compiling and matching need end with the
 * arena.
 *
 *   cc with-pcre2.c -o with-pcre2 $(pkg-config --cflags --libs libcore libpcre2-8)
 *   ./with-pcre2 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <string.h>
#include <pcre2.h>

#include <core/core.h>

EXCEPT_DEFINE(Pattern_Failed, NULL, "bad pattern");

static void *arena_malloc(PCRE2_SIZE nbytes, void *arena) { return Arena_try_alloc(arena, nbytes); }

static void arena_free(void *p, void *arena)
{
	(void)p;
	(void)arena;
}

static void fail(int error, const char *pattern, size_t offset)
{
	unsigned char message[120];

	pcre2_get_error_message(error, message, sizeof message);
	RAISE_MSG(Pattern_Failed, "\"%s\" at %zu: %s", pattern, offset, (const char *)message);
}

/* Returns the matches, one string each, then NULL. */
static char **matches(Arena_T arena, const char *pattern, const char *text, Arena_T scratch)
{
	pcre2_general_context *context =
		pcre2_general_context_create(arena_malloc, arena_free, scratch);
	pcre2_compile_context *compile = context ? pcre2_compile_context_create(context) : NULL;
	pcre2_match_context *match = context ? pcre2_match_context_create(context) : NULL;
	pcre2_match_data *data;
	pcre2_code *code;
	size_t length = strlen(text), offset = 0, count = 0;
	/* an empty match between all bytes, at most */
	char **found = CALLOC(arena, length + 2, sizeof *found);
	int error = PCRE2_ERROR_NOMEMORY;

	if (!compile || !match)
		fail(error, pattern, 0);
	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &error, &offset, compile);
	if (!code)
		fail(error, pattern, offset);
	data = pcre2_match_data_create_from_pattern(code, context);
	if (!data)
		fail(PCRE2_ERROR_NOMEMORY, pattern, 0);
	for (offset = 0; offset <= length; ) {
		size_t *span = pcre2_get_ovector_pointer(data);

		error = pcre2_match(code, (PCRE2_SPTR)text, length, offset, 0, data, match);
		if (error == PCRE2_ERROR_NOMATCH)
			break;
		if (error < 0)
			fail(error, pattern, offset);
		found[count++] = Arena_strndup(arena, text + span[0], span[1] - span[0]);
		offset = span[1] + (span[1] == span[0]);
	}
	return found;
}

static void list(const char *pattern, const char *text, size_t limit)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	Arena_T scratch = Arena_new_child(arena);
	char **match;

	Arena_set_limit(scratch, limit);
	TRY {
		for (match = matches(arena, pattern, text, scratch); *match; match++)
			puts(*match);
	} EXCEPT(Pattern_Failed) {
		puts(Except_message());
	} END_TRY;
}

int main(void)
{
	static const char text[] = "From 1969-07-20 on, and again on 1972-12-11; not on 30.2.1970.";

	list("\\d{4}-\\d\\d-\\d\\d", text, 0);
	list("(\\d{4}", text, 0);
	list("(?:[a-z]{200}){1000}", text, 16 * 1024);
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
