/* SPDX-License-Identifier: MIT */
#include <core/core.h>

int main(void)
{
	Arena_T arena = Arena_new(); /* before the TRY */

	TRY {
		HashTable_T capitals = HashTable_new(arena, 0);

		HashTable_put(capitals, "Peru", Arena_strdup(arena, "Lima"));
		printf("%s\n", (char *)HashTable_get(capitals, "Peru"));
		Socket_connect("127.0.0.1", "9", 1000);
	} EXCEPT(Socket_Failed) {
		printf("%s\n", Except_message());
	} FINALLY {
		Arena_dispose(&arena); /* the table, its keys and its values */
	} END_TRY;
	printf("live arenas: %zu\n", Arena_debug_live_count());
}
