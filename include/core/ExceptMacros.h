/* SPDX-License-Identifier: MIT */
/* How the macros of Except.h are made. Included by it alone. Everything in this file is frozen ABI:
 * programs carry these layouts and these few inline lines in their own code.
 *
 *   TRY { B } EXCEPT(e) { H } FINALLY { F } END_TRY;       expands to
 *
 *   ({ frame: linked, unlinked by the compiler however the block is left
 *      setjmp(frame.env);
 *      if (frame.state == trying)                                  { B }
 *      else if (frame.state >= raised && Except__handles(&frame, &e)) { H }
 *      if (Except__finally(&frame))                                { F }
 *      else Except__pass(&frame);
 *      Except__done(&frame); });
 *
 * A raise in B comes back to setjmp as "raised", one in H as "pending", which no clause matches, so
 * that F runs and Except__done passes it on; one in F finds the frame closed and goes further out.
 * A statement expression, because it is one C statement and leaves break and continue to the user. */
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

typedef struct Except_Frame {
	Except_Link link;
	const Except_T *exception; /* with file and line as in Hanson's interface: what was raised, and where */
	const char *file;
	int line;
	int state;
	void *record, *mark;    /* message, causes: private to the library */
	const char *finally;    /* "file:line" of the FINALLY, if it is looked for; NULL if there is none */
	jmp_buf env;
} Except_Frame;

typedef struct Except_Thread {
	Except_Link *top;
	char *next;  /* first free byte of the library's stack of records */
} Except_Thread;

typedef struct Except_Scoped {
	Except_Link link;
	size_t size; /* of an AUTO variable */
} Except_Scoped;

/* The states of a frame that the lines below know. The library's others lie between CLOSING and RAISED, so that
 * one comparison finds the two in which clauses are tried. */
enum { Except__TRYING, Except__FINISHING, Except__HANDLING, Except__CLOSING, Except__RAISED = 16, Except__RAISED_KEPT };

/* The value of every byte of an AUTO variable until its initializer has ended. */
enum { Except__UNSET = 0xA5 };

/* Outside every TRY. Inside, pointers to the frame of the function's outermost TRY and to the function's
 * name shadow them. */
enum { Except_scope, Except_owner };

/* The state in which a frame starts: TRYING, unless FINALLYs that are skipped are to be reported. Set before main. */
extern CORE_API int Except__first;

CORE_API Except_Thread *Except__thread(void) __attribute__((const, nothrow)); /* const: a loop asks once */
CORE_API int  Except__match(Except_Frame *, const Except_T *);
CORE_API int  Except__close(Except_Frame *, const char *place);
CORE_API void Except__pass(Except_Frame *) EXCEPT__NORETURN;
CORE_API void Except__end(Except_Frame *);
CORE_API void Except__abandon(Except_Frame *);
CORE_API void Except__raise(const Except_T *, const char *file, const char *function, int line) EXCEPT__NORETURN;
CORE_API void Except__raise_msg(const Except_T *, const char *file, const char *function, int line,
	const char *fmt, ...) EXCEPT__NORETURN CORE_PRINTF(5, 6);
CORE_API void Except__raise_errno(const Except_T *, const char *file, const char *function, int line, int error,
	const char *fmt, ...) EXCEPT__NORETURN CORE_PRINTF(6, 7);
CORE_API void Except__reraise(const char *file, const char *function, int line) EXCEPT__NORETURN;
CORE_API void Except__return(Except_Frame *outermost, jmp_buf, void *value, size_t size) EXCEPT__NORETURN;
CORE_API int  Except__is_unset(const Except_Scoped *);

/* Only the frames of this function are for its RETURN: not what a nested function or lambda sees around it. */
static inline Except_Frame *Except__own(Except_Frame *f, const char *owner, const char *function)
{
	return owner == function ? f : NULL;
}

static inline Except_Frame *Except__outermost(Except_Frame *outer, Except_Frame *f)
{
	return outer ? outer : f; /* a function: written in place, cppcheck takes f for read before it is set */
}

static inline void Except__push(Except_Link *link, Except_Thread *thread)
{
	link->up = thread->top;
	link->top = &thread->top;
	thread->top = link;
}

static inline void Except__enter(Except_Frame *f)
{
	Except_Thread *thread = Except__thread();

	f->link.run = NULL;
	f->mark = thread->next;
	f->state = Except__first;
	Except__push(&f->link, thread);
}

static inline void Except__defer(Except_Scoped *s, void (*run)(void *), void *argument, size_t size)
{
	s->link.run = run;
	s->link.argument = argument;
	s->size = size;
	Except__push(&s->link, Except__thread());
}

static inline void Except__auto(Except_Scoped *s, void (*run)(void *), void *variable, size_t size)
{
	__builtin_memset(variable, Except__UNSET, size);
	Except__defer(s, run, variable, size);
}

static inline void Except__unlink(Except_Link *link)
{
	*link->top = link->up; /* NOLINT(clang-analyzer-core.NullDereference): the top of a link that is in the stack */
	link->top = NULL;
}

static inline int Except__handles(Except_Frame *f, const Except_T *e)
{
	if (f->exception != e)
		return Except__match(f, e);
	f->state = Except__HANDLING;
	return 1;
}

static inline int Except__finally(Except_Frame *f, const char *place)
{
	if (__builtin_expect(f->state == Except__TRYING, 1))
		f->state = Except__FINISHING;
	else if (f->state == Except__RAISED_KEPT)
		f->state = Except__CLOSING;
	else
		return Except__close(f, place);
	return 1;
}

static inline void Except__done(Except_Frame *f)
{
	if (__builtin_expect(f->state <= Except__FINISHING, 1))
		Except__unlink(&f->link);
	else
		Except__end(f);
}

static inline void Except__leave(Except_Frame *f)
{
	if (__builtin_expect(f->link.top != NULL, 0))
		Except__abandon(f);
}

/* A dispose function takes its own type of pointer and is called as one of void *: the same call in every
 * ABI of this library's platforms, but not to clang's sanitizers of indirect calls. */
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

/* x, as a value that no optimizer can tell from the state. clang does not see that control comes back to
 * a RETURN after the state has been read once more, and would take a copy of it for "we are returning". */
static inline int Except__opaque(int x)
{
	__asm__ volatile("" : "+r"(x));
	return x;
}

/* Nested statements shadow each other's frame on purpose: so quiet, there alone. */
#define EXCEPT__QUIET _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wshadow\"")
#define EXCEPT__LOUD  _Pragma("GCC diagnostic pop")

/* ELSE and FINALLY redefine the tag Except_clauses for what follows them in the statement, so that a clause
 * after them does not compile. A tag, as these shadow each other without a warning,
 * but not in C++, which has no such check. */
#if !defined __cplusplus
#define EXCEPT__OPEN   struct Except_clauses { char open; };
#define EXCEPT__LAST   (void)sizeof(struct Except_clauses { char closed[2]; }),
#define EXCEPT__CLAUSE                                                                      \
	(void)sizeof(struct { char c; _Static_assert(sizeof(struct Except_clauses) == 1,    \
		"a clause after ELSE or FINALLY: ELSE comes after every EXCEPT, FINALLY last"); }),
#define EXCEPT__ONCE   struct Except_second_FINALLY_in_a_statement { char c; };
#else
#define EXCEPT__OPEN
#define EXCEPT__LAST
#define EXCEPT__CLAUSE
#define EXCEPT__ONCE
#endif

#define EXCEPT_TRY                                                                          \
	__extension__ ({                                                                    \
		EXCEPT__QUIET                                                               \
		Except_Frame *const Except_outer = EXCEPT__SCOPE;                           \
		Except_Frame Except_frame __attribute__((cleanup(Except__leave)));          \
		Except_Frame *const Except_scope __attribute__((unused))                    \
			= Except__outermost(Except_outer, &Except_frame);                   \
		const char *const Except_owner __attribute__((unused)) = EXCEPT__FUNC;      \
		EXCEPT__OPEN                                                                \
		EXCEPT__LOUD                                                                \
		Except__enter(&Except_frame);                                               \
		(void)setjmp(Except_frame.env);                                             \
		if (Except_frame.state == Except__TRYING && Except__opaque(1)) {

#define EXCEPT_EXCEPT(e)                                                                    \
		} else if (EXCEPT__CLAUSE Except_frame.state >= Except__RAISED              \
			&& Except__opaque(Except__handles(&Except_frame, &(e)))) {

#define EXCEPT_ELSE                                                                         \
		} else if (EXCEPT__CLAUSE 0) {                                              \
		} else if (EXCEPT__LAST Except_frame.state >= Except__RAISED                \
			&& Except__opaque(Except__handles(&Except_frame, Except_frame.exception))) {

#define EXCEPT_FINALLY                                                                      \
		}                                                                           \
		EXCEPT__ONCE                                                                \
		if (EXCEPT__LAST Except__finally(&Except_frame, __FILE__ ":" EXCEPT__STRING(__LINE__))) {

#define EXCEPT_END_TRY                                                                      \
		} else                                                                      \
			Except__pass(&Except_frame);                                        \
		Except__done(&Except_frame);                                                \
	})

#define EXCEPT_RAISE(e)          Except__raise(&(e), __FILE__, __func__, __LINE__)
#define EXCEPT_RAISE_MSG(e, ...) Except__raise_msg(&(e), __FILE__, __func__, __LINE__, __VA_ARGS__)
#define EXCEPT_RAISE_ERRNO(e, ...)                                                          \
	__extension__ ({                                                                    \
		EXCEPT__QUIET                                                               \
		const int Except_error = errno;                                             \
		EXCEPT__LOUD                                                                \
		Except__raise_errno(&(e), __FILE__, __func__, __LINE__, Except_error, __VA_ARGS__); \
	})
#define EXCEPT_RERAISE           Except__reraise(__FILE__, __func__, __LINE__)

#define Except_assert(condition)                                                            \
	((condition) ? (void)0                                                              \
	             : Except__raise_msg(&Assert_Failed, __FILE__, __func__, __LINE__, "%s", #condition))

/* RETURN(x) is EXCEPT__RETURN_00(x), RETURN((x)...) EXCEPT__RETURN_11((x)...), RETURN() EXCEPT__RETURN_01(). */
#define EXCEPT_RETURN(...)                                                                  \
	EXCEPT__JOIN(EXCEPT__RETURN_, EXCEPT__PAREN(__VA_ARGS__, ),                         \
		EXCEPT__PAREN_OR_EMPTY(__VA_ARGS__, ))(__VA_ARGS__)
#define EXCEPT__RETURN_00(...)                                                              \
	__extension__ ({                                                                    \
		EXCEPT__AUTO_TYPE Except_value = ((void)0, __VA_ARGS__);                    \
		EXCEPT__RUN_FINALLYS(&Except_value, sizeof Except_value)                    \
		return EXCEPT__CONVERT(Except_value, (__VA_ARGS__));                        \
	})
#define EXCEPT__RETURN_11 EXCEPT__RETURN_00
#define EXCEPT__RETURN_01()                                                                 \
	__extension__ ({                                                                    \
		EXCEPT__RUN_FINALLYS(NULL, 0)                                               \
		return;                                                                     \
	})
#define EXCEPT__RUN_FINALLYS(value, size)                                                   \
	if (Except_scope) {                                                                 \
		Except_Frame *const Except_own = EXCEPT__SCOPE;                             \
		jmp_buf Except_site;                                                        \
		if (Except_own && setjmp(Except_site) == 0)                                 \
			Except__return(Except_own, Except_site, value, size);               \
	}
#define EXCEPT__SCOPE Except__own((Except_Frame *)Except_scope, (const char *)Except_owner, EXCEPT__FUNC)

#if defined __cplusplus
#define EXCEPT__FUNC             __PRETTY_FUNCTION__ /* two nested lambdas have one __func__ */
#define EXCEPT__AUTO_TYPE        auto
#define EXCEPT__CONVERT(v, expr) v
#else
#define EXCEPT__FUNC             __func__
#define EXCEPT__AUTO_TYPE        __auto_type
/* a constant goes back as it was written: 0 stays a null pointer constant */
#define EXCEPT__CONVERT(v, expr) __builtin_choose_expr(__builtin_constant_p(expr), expr, v)
#endif

/* "1" if the first argument starts with a parenthesis; if it does or is empty; else "0". */
#define EXCEPT__PAREN(first, ...)          EXCEPT__SECOND(EXCEPT__PROBE first, 0, )
#define EXCEPT__PAREN_OR_EMPTY(first, ...) EXCEPT__SECOND(EXCEPT__PROBE first (), 0, )
#define EXCEPT__PROBE(...)                 , 1,
#define EXCEPT__SECOND(...)                EXCEPT__SECOND_(__VA_ARGS__)
#define EXCEPT__SECOND_(a, b, ...)         b
#define EXCEPT__STRING(x)                  EXCEPT__STRING_(x)
#define EXCEPT__STRING_(x)                 #x
#define EXCEPT__JOIN(a, b, c)              EXCEPT__JOIN_(a, b, c)
#define EXCEPT__JOIN_(a, b, c)             a##b##c

#define EXCEPT_PROTECT(v) __asm__ volatile("" : : "r"(&(v)) : "memory")

#define EXCEPT__FUNCTION(f) ((void (*)(void *))(void (*)(void))(f))
#define EXCEPT_DEFER(fn, pointer) EXCEPT__DEFER(fn, pointer, EXCEPT__JOIN(Except_defer_, __COUNTER__, _))
#define EXCEPT__DEFER(fn, pointer, link)                                                    \
	Except_Scoped link __attribute__((cleanup(Except__defer_leave)))                    \
		= { { NULL, NULL, NULL, NULL }, 0 };                                        \
	(void)(0 ? ((void)(fn)(pointer), 0) : 0);                                           \
	Except__defer(&link, EXCEPT__FUNCTION(fn), (void *)(pointer), 0)

/* dispose(0) has its type of result, whatever it takes. A void * may be either: free(v), or a function that takes
 * the address of any pointer. */
#if !defined __cplusplus
#define EXCEPT__CHECK_DISPOSE(type, v, dispose)                                             \
	_Static_assert(!__builtin_types_compatible_p(__typeof__(*(dispose)),                \
			__typeof__((dispose)(0)) (type))                                    \
			|| __builtin_types_compatible_p(type, void *),                      \
		"AUTO(" #type ", " #v ", " #dispose "): " #dispose " takes the value, not its address. Write: "  \
		"static void dispose_" #v "(" #type " *p) { " #dispose "(*p); } and give AUTO that function");
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
