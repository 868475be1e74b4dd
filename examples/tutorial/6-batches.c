/* SPDX-License-Identifier: MIT */
#include <core/core.h>

static void work(Arena_T arena, size_t records)
{
	size_t i;

	for (i = 0; i < records; i++)
		(void)ALLOC(arena, 1000);
}

int main(void)
{
	AUTO(Arena_T, arena, Arena_dispose) =
		Arena_new_with(&(Arena_Options){ .name = "batches", .limit = 1000000 });
	Arena_Mark mark;
	size_t batch, used;

	for (batch = 1; batch <= 500; batch++) {
		Arena_clear(arena); /* forgets all, keeps the memory for this batch */
		work(arena, 100);
	}
	printf("500 batches in the memory of %zu\n", Arena_peak(arena) / Arena_used(arena));

	used = Arena_used(arena);
	mark = Arena_mark(arena);
	work(arena, 50);
	Arena_rewind(arena, mark); /* forgets what came after the mark */
	printf("rewound: %s\n", Arena_used(arena) == used ? "as before" : "more than before");

	TRY {
		work(arena, 5000);
	} EXCEPT(Arena_Failed) {
		puts(Except_message());
	} END_TRY;
	return 0;
}
