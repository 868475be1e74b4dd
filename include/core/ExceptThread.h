/* SPDX-License-Identifier: MIT */
/* A thread's stack of links, and how a program finds it. Included by ExceptFrame.h alone, and
 * frozen ABI as that is. */
#if !defined EXCEPT_INCLUDED
#error "include <core/Except.h>"
#endif

/* One link of a thread's stack: a TRY (run is NULL) or something to run when the scope is left. */
typedef struct Except_Link {
	struct Except_Link *up;   /* the next outer one */
	void *argument;
	void (*run)(void *);
	struct Except_Link **top; /* the thread's innermost link; NULL once unlinked */
} Except_Link;

typedef struct Except_Thread {
	Except_Link *top;
	char *next;  /* first free byte of the library's stack of records */
} Except_Thread;

CORE_API Except_Thread *Except__thread(void) __attribute__((const, nothrow)); /* once a loop */

/* The same without a call, which is a third of a TRY. The library's thread-local storage has a
 * fixed distance from the thread pointer, so the ABI needs no thread-local variable. In C, a
 * program would have a copy of the distance, which a library that is linked with -Bsymbolic does
 * not set. */
#if defined __x86_64__ && defined __LP64__ && defined __GLIBC__ && !defined EXCEPT_NO_DISTANCE
#define EXCEPT__BY_DISTANCE 1
extern CORE_API ptrdiff_t Except__distance;

static inline Except_Thread *Except__own_thread(void)
{
	Except_Thread *thread;

	__asm__("mov{q}\t{Except__distance@GOTPCREL(%%rip), %0"
		"|%0, QWORD PTR Except__distance@GOTPCREL[rip]}\n\t"
		"mov{q}\t{(%0), %0|%0, QWORD PTR [%0]}\n\t"
		"add{q}\t{%%fs:0, %0|%0, QWORD PTR fs:0}" : "=r"(thread) : : "cc");
	return thread;
}
#else
#define EXCEPT__BY_DISTANCE 0
#define Except__own_thread Except__thread
#endif

static inline void Except__push(Except_Link *link, Except_Thread *thread)
{
	link->up = thread->top;
	link->top = &thread->top;
	thread->top = link;
}

static inline void Except__unlink(Except_Link *link)
{
	/* the top of a link that is in the stack */
	*link->top = link->up; /* NOLINT(clang-analyzer-core.NullDereference) */
	link->top = NULL;
}
