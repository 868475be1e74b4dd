/* SPDX-License-Identifier: MIT */
/* AUTO, DEFER and PROTECT. Included by Except.h alone. */
#if !defined EXCEPT_INCLUDED
#error "include <core/Except.h>"
#endif

typedef struct Except_Scoped {
	Except_Link link;
	size_t size; /* of an AUTO variable */
} Except_Scoped;

/* The value of every byte of an AUTO variable until its initializer has ended. */
enum { Except__UNSET = 0xA5 };

CORE_API int  Except__is_unset(const Except_Scoped *);

static inline void Except__defer(Except_Scoped *s, void (*run)(void *), void *argument, size_t size)
{
	s->link.run = run;
	s->link.argument = argument;
	s->size = size;
	Except__push(&s->link, Except__own_thread());
}

static inline void Except__auto(Except_Scoped *s, void (*run)(void *), void *variable, size_t size)
{
	__builtin_memset(variable, Except__UNSET, size);
	Except__defer(s, run, variable, size);
}

/* A dispose function takes its own type of pointer and is called as one of void *. That is the
 * same call in every ABI of this library's platforms, but clang's sanitizers refuse it. */
#if defined __clang__
#define EXCEPT__ANY_FUNCTION __attribute__((no_sanitize("function", "cfi-icall")))
#else
#define EXCEPT__ANY_FUNCTION
#endif

EXCEPT__ANY_FUNCTION static inline void Except__defer_leave(Except_Scoped *d)
{
	if (d->link.top) {
		Except__unlink(&d->link);
		d->link.run(d->link.argument);
	}
}

EXCEPT__ANY_FUNCTION static inline void Except__auto_leave(Except_Scoped *a)
{
	if (a->link.top) {
		Except__unlink(&a->link);
		if (*(unsigned char *)a->link.argument != Except__UNSET || !Except__is_unset(a))
			a->link.run(a->link.argument);
	}
}

#define EXCEPT_PROTECT(v) __asm__ volatile("" : : "r"(&(v)) : "memory")

#define EXCEPT__FUNCTION(f) ((void (*)(void *))(void (*)(void))(f))
#define EXCEPT_DEFER(fn, pointer)                                                           \
	EXCEPT__DEFER(fn, pointer, EXCEPT__JOIN(Except_defer_, __COUNTER__, _))
#define EXCEPT__DEFER(fn, pointer, link)                                                    \
	Except_Scoped link __attribute__((cleanup(Except__defer_leave)))                    \
		= { { NULL, NULL, NULL, NULL }, 0 };                                        \
	(void)(0 ? ((void)(fn)(pointer), 0) : 0);                                           \
	Except__defer(&link, EXCEPT__FUNCTION(fn), (void *)(pointer), 0)

/* dispose(0) has its type of result, whatever it takes. A void * may be either: free(v), or a
 * function that takes the address of any pointer. */
#if !defined __cplusplus
#define EXCEPT__CHECK_DISPOSE(type, v, dispose)                                             \
	_Static_assert(!__builtin_types_compatible_p(__typeof__(*(dispose)),                \
			__typeof__((dispose)(0)) (type))                                    \
			|| __builtin_types_compatible_p(type, void *),                      \
		"AUTO(" #type ", " #v ", " #dispose "): " #dispose " takes the value, "     \
		"not its address. Write: static void dispose_" #v "(" #type " *p) "         \
		"{ " #dispose "(*p); } and give AUTO that function");
#else
#define EXCEPT__CHECK_DISPOSE(type, v, dispose)
#endif
#define EXCEPT_AUTO(type, v, dispose)                                                       \
	EXCEPT__CHECK_DISPOSE(type, v, dispose)                                             \
	type v;                                                                             \
	Except_Scoped Except_auto_##v __attribute__((cleanup(Except__auto_leave)));         \
	(void)(0 ? ((void)(dispose)(&(v)), 0) : 0);                                         \
	Except__auto(&Except_auto_##v, EXCEPT__FUNCTION(dispose), (void *)&(v), sizeof(v)); \
	v
