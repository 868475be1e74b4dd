/* SPDX-License-Identifier: MIT */
/* Except: where a thread's records live, and what a coroutine takes along. The stack of records is
 * a mapping that is made at the first raise. A heap would need malloc at the worst moment. Space in
 * the frame would make every TRY pay for the longest message. Thread-local storage of this size
 * breaks dlopen.
 *
 * Invariant: records, next and end of the thread are all in one mapping of its list, or all NULL;
 * a mapping is in use, an Except_Stack's that was saved, or on the list of those that are free. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "except/rep.h"

/* ---- the stack of records ---- */

/* A thread has one such mapping, and one more for each Except_Stack it has saved while exceptions
 * were recorded. They are kept until the thread ends, however its coroutines end. */
typedef struct Mapping {
	struct Mapping *next, *next_free; /* the thread's next, and its next without a stack */
} Mapping;

static pthread_key_t mappings_key; /* the newest of the thread's */
static int mappings_key_made;

static void free_mappings(void *mappings)
{
	Mapping *m, *next;

	for (m = mappings; m; m = next) {
		next = m->next;
		munmap(m, RECORDS_SIZE);
	}
	/* a raise in a later destructor maps anew */
	except__thread.records = except__thread.public.next = except__thread.end = NULL;
	except__thread.free = NULL;
}

/* Before other constructors, which may raise, and so that the key is among those for which
 * pthread_setspecific never allocates. A fork while another thread sets the hook must not leave the
 * child with a locked lock. */
static void __attribute__((constructor(101))) set_up_before_main(void)
{
	except__find_permanent();
	except__read_debug();
	mappings_key_made = pthread_key_create(&mappings_key, free_mappings) == 0;
	pthread_atfork(except__lock_hook, except__unlock_hook, except__unlock_hook);
}

static Mapping *map_another(void)
{
	Mapping *m;

	if (!mappings_key_made)
		return NULL;
	m = mmap(NULL, RECORDS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		return NULL;
	m->next = pthread_getspecific(mappings_key);
	if (pthread_setspecific(mappings_key, m) != 0) {
		munmap(m, RECORDS_SIZE);
		return NULL;
	}
	return m;
}

static void use_mapping(Mapping *m)
{
	except__thread.records = except__thread.public.next = m ? (char *)(m + 1) : NULL;
	except__thread.end = m ? (char *)m + RECORDS_SIZE : NULL;
	except__thread.error = &errno;
}

int except__map_records(void)
{
	Mapping *m = except__thread.free;

	if (m)
		except__thread.free = m->next_free;
	else
		m = map_another();
	use_mapping(m);
	return m != NULL;
}

static void unmap_records(void)
{
	Mapping *m = (Mapping *)(void *)except__thread.records;

	if (m) {
		m[-1].next_free = except__thread.free;
		except__thread.free = m - 1;
	}
	use_mapping(NULL);
}

/* ---- coroutines ---- */

void Except_save(Except_Stack *stack)
{
	CHECK(stack, "Except_save: the stack is NULL");
	stack->top = except__thread.public.top;
	stack->next = except__thread.public.next;
	stack->records = except__thread.records;
	stack->thread = &except__thread.public;
	except__thread.public.top = NULL;
	use_mapping(NULL);
}

void Except_restore(Except_Stack *stack)
{
	const Except_Link *left = except__thread.public.top;

	CHECK(stack, "Except_restore: the stack is NULL");
	CHECK(stack->thread, "Except_restore: the stack was not saved, or has been restored already");
	CHECK(stack->thread == &except__thread.public,
		"Except_restore: the stack was saved by another thread");
	unmap_records();
	use_mapping(stack->records ? (Mapping *)stack->records - 1 : NULL);
	except__thread.public.next = stack->next;
	except__thread.public.top = stack->top;
	stack->thread = NULL;
	/* raised to the handlers that have just come back: the others are on a stack that is not
	 * running */
	CHECK(!left,
		"Except_restore: the coroutine that ran before had handlers and did not save them");
}
