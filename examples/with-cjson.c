/* SPDX-License-Identifier: MIT */
/* cJSON on an arena: reads JSON, changes it, prints it. cJSON's hooks are global and get no
 * context. So the program sets them once, before it has threads, and a thread-local variable says
 * which arena a call uses. Outside of such a call they are malloc and free. jansson's hooks are
 * similar, but its values count references, for which an arena has no use.
 *
 *   cc with-cjson.c -o with-cjson $(pkg-config --cflags --libs libcore libcjson)
 *   ./with-cjson */
#include <stdlib.h>
#include <string.h>
#include <cjson/cJSON.h>

#include <core/core.h>

EXCEPT_DEFINE(Json_Failed, NULL, "JSON failed");

static _Thread_local Arena_T json_arena;
static _Thread_local int out_of_memory; /* which cJSON does not tell from bad JSON */

static void *hook_malloc(size_t nbytes)
{
	void *p = json_arena ? Arena_try_alloc(json_arena, nbytes) : malloc(nbytes);

	out_of_memory |= p == NULL;
	return p;
}

static void hook_free(void *p)
{
	if (!json_arena)
		free(p);
}

/* text, indented, with "seen" set to true in its objects of the first level */
static char *mark_seen(const char *text)
{
	const char *end = text;
	cJSON *json, *item;
	char *printed = NULL;

	out_of_memory = 0;
	/* end: cJSON_GetErrorPtr is for programs of one thread */
	json = cJSON_ParseWithOpts(text, &end, 1);
	if (!json && !out_of_memory)
		RAISE_MSG(Json_Failed, "not JSON from byte %td on: %.10s", end - text, end);
	cJSON_ArrayForEach(item, json)
		if (cJSON_IsObject(item))
			cJSON_AddTrueToObject(item, "seen");
	if (!out_of_memory)
		printed = cJSON_Print(json);
	if (!printed)
		RAISE_MSG(Json_Failed, "out of memory for JSON");
	return printed; /* and no cJSON_Delete */
}

static void show(const char *text, size_t limit)
{
	Arena_T outer = json_arena;
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new_with_size(512);

	Arena_set_limit(arena, limit);
	TRY {
		json_arena = arena;
		puts(mark_seen(text));
	} EXCEPT(Json_Failed) {
		puts(Except_message());
	} FINALLY {
		json_arena = outer;
	} END_TRY;
}

int main(void)
{
	cJSON_Hooks hooks = { hook_malloc, hook_free };

	cJSON_InitHooks(&hooks);
	show("[{\"name\": \"Ada\", \"born\": 1815}, {\"name\": \"Grace\", \"born\": 1906}]", 0);
	show("{\"name\": \"Ada\", \"born\": }", 0);
	show("[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", 2048);
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
