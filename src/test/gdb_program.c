/* SPDX-License-Identifier: MIT */
/* The program whose objects gdb.sh prints with gdb. It first prints the library's own figures. */
#include <inttypes.h>
#include <stdio.h>

#include <core/core.h>

extern const Except_T Broken;
EXCEPT_DEFINE(Broken, &Arena_Failed, "broken");

Arena_T requests, none, disposed;
HashTable_T words, squares, no_words;
Except_Frame *handler;
const Except_T *broken = &Broken;
void __attribute__((noinline)) stop_here(void);

void stop_here(void)
{
	__asm__ volatile("" : : : "memory");
}

static void stop_in_a_handler(void)
{
	TRY {
		RAISE_MSG(Broken, "a spoke of %d is broken", 32);
	} EXCEPT(Broken) {
		handler = &Except_frame;
		stop_here();
	} END_TRY;
}

static void fill(void)
{
	static int values[3];
	HashTable_Options o = { 0 };

	Arena_alloc(requests, 100);
	Arena_alloc(requests, 100000);
	words = HashTable_new(requests, 0);
	HashTable_put(words, "one", &values[0]);
	HashTable_put(words, "two", &values[1]);
	no_words = HashTable_new(requests, 0);
	o.kind = HashTable_INTEGER;
	squares = HashTable_new_with(requests, &o);
	HashTable_put_int(squares, 144, &values[2]);
	printf("values %p %p %p\n", (void *)&values[0], (void *)&values[1], (void *)&values[2]);
}

int main(void)
{
	Arena_Options o = { 0 };

	o.name = "requests";
	requests = Arena_new_with(&o);
	fill();
	Arena_new_child(requests);
	printf("%zu bytes used, %zu bytes held, %zu bytes at the peak\n", Arena_used(requests),
		Arena_capacity(requests), Arena_peak(requests));
	Arena_alloc(requests, 16); /* as an owner does without a lock */
	printf("then %zu bytes used\n", Arena_used(requests));
	fflush(stdout);
	stop_in_a_handler();
	Arena_dispose(&requests);
	return 0;
}
