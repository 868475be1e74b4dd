/* SPDX-License-Identifier: MIT */
/* Worker queue: each worker has one arena and clears it between items. An item whose work raises is
 * reported and does not stop the worker.
 *
 *   cc worker-queue.c -o worker-queue $(pkg-config --cflags --libs libcore) -pthread
 *   ./worker-queue */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>

enum { WORKERS = 3, ITEMS = 300 };

EXCEPT_DEFINE(Item_Failed, NULL, "item failed");

static struct {
	pthread_mutex_t lock;
	int next, done, failed;
	size_t letters;
} work = { PTHREAD_MUTEX_INITIALIZER, 0, 0, 0, 0 };

static int take_item(void)
{
	int item;

	pthread_mutex_lock(&work.lock);
	item = work.next < ITEMS ? work.next++ : -1;
	pthread_mutex_unlock(&work.lock);
	return item;
}

/* Spells the item, all scratch memory from the arena. */
static size_t process(Arena_T arena, int item)
{
	HashTable_T seen = HashTable_new(arena, 0);
	const char *digits = Arena_sprintf(arena, "%d", item);

	if (item % 100 == 99)
		RAISE_MSG(Item_Failed, "item %d", item);
	for (; *digits; digits++)
		HashTable_put_bytes(seen, digits, 1, NULL);
	return HashTable_length(seen);
}

static void finish(size_t letters, int failed)
{
	pthread_mutex_lock(&work.lock);
	work.done++;
	work.failed += failed;
	work.letters += letters;
	pthread_mutex_unlock(&work.lock);
}

static void *worker(void *unused)
{
	Arena_T arena = Arena_new();
	int item;

	(void)unused;
	while ((item = take_item()) >= 0) {
		TRY {
			finish(process(arena, item), 0);
		} EXCEPT(Item_Failed) {
			finish(0, 1);
		} FINALLY {
			Arena_clear(arena); /* the memory stays for the next item */
		} END_TRY;
	}
	Arena_dispose(&arena);
	return NULL;
}

int main(void)
{
	pthread_t threads[WORKERS];
	int n;

	for (n = 0; n < WORKERS; n++)
		if (pthread_create(&threads[n], NULL, worker, NULL) != 0)
			abort();
	while (n > 0)
		pthread_join(threads[--n], NULL);
	printf("%d items, %d failed, %zu distinct digits\n", work.done, work.failed, work.letters);
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
