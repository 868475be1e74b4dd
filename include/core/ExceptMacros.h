/* SPDX-License-Identifier: MIT */
/* How the macros of Except.h are made. Included by it alone. Everything in this file is frozen ABI:
 * programs carry these layouts and these few inline lines in their own code.
 *
 *   TRY { B } EXCEPT(e) { H } FINALLY { F } END_TRY;       expands to
 *
 *   ({ frame: linked, popped by the compiler however the block is left
 *      setjmp(frame.env);
 *      if (frame.state == trying)              { B }
 *      else if (Except__match(&frame, &e))     { H }
 *      if (Except__finally(&frame))            { F }
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
	struct Except_Link **top; /* the thread's innermost link; NULL once unlinked */
	void (*run)(void *);
	void *argument;
} Except_Link;

typedef struct Except_Frame {
	Except_Link link;
	const Except_T *exception; /* with file and line as in Hanson's interface: what was raised, and where */
	const char *file;
	int line;
	int state;
	void *record, *mark;        /* message, causes: private to the library */
	struct Except_Frame *outer; /* the enclosing TRY of the same function */
	const char *try_file;       /* of the TRY, in --enable-debug builds */
	int try_line;
	jmp_buf env;
} Except_Frame;

typedef struct Except_Scoped {
	Except_Link link;
	size_t size;
} Except_Scoped;

enum { Except__TRYING, Except__FINISHING, Except__DONE };

/* The innermost TRY of the function at hand; each TRY shadows it. */
static Except_Frame *const Except_scope __attribute__((unused)) = 0;

CORE_API void Except__enter(Except_Frame *, Except_Frame *outer, const char *file, int line);
CORE_API int  Except__match(Except_Frame *, const Except_T *); /* NULL matches all */
CORE_API int  Except__close(Except_Frame *);
CORE_API void Except__pass(Except_Frame *) CORE_NORETURN;
CORE_API void Except__end(Except_Frame *);
CORE_API void Except__abandon(Except_Frame *);
CORE_API void Except__raise(const Except_T *, const char *file, const char *function, int line) CORE_NORETURN;
CORE_API void Except__raise_msg(const Except_T *, const char *file, const char *function, int line,
	const char *fmt, ...) CORE_NORETURN CORE_PRINTF(5, 6);
CORE_API void Except__reraise(const char *file, const char *function, int line) CORE_NORETURN;
CORE_API void Except__return(Except_Frame *, jmp_buf, const void *value, size_t size) CORE_NORETURN;
CORE_API void Except__value(void *value, size_t size);
CORE_API void Except__defer(Except_Scoped *, void (*run)(void *), void *argument);
CORE_API void Except__auto(Except_Scoped *, void (*run)(void *), void *variable, size_t size);
CORE_API void Except__auto_leave(Except_Scoped *);

static inline int Except__finally(Except_Frame *f)
{
	if (__builtin_expect(f->state != Except__TRYING, 0))
		return Except__close(f);
	f->state = Except__FINISHING;
	return 1;
}

static inline void Except__done(Except_Frame *f)
{
	if (__builtin_expect(f->state <= Except__FINISHING, 1)) {
		*f->link.top = f->link.up;
		f->state = Except__DONE;
	} else
		Except__end(f);
}

static inline void Except__leave(Except_Frame *f)
{
	if (__builtin_expect(f->state != Except__DONE, 0))
		Except__abandon(f);
}

static inline void Except__defer_leave(Except_Scoped *d)
{
	if (d->link.top) {
		*d->link.top = d->link.up;
		d->link.top = NULL;
		d->link.run(d->link.argument);
	}
}

/* Nested statements shadow each other's frame on purpose: so quiet, there alone. */
#define EXCEPT__QUIET _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wshadow\"")
#define EXCEPT__LOUD  _Pragma("GCC diagnostic pop")

#define EXCEPT_TRY                                                                          \
	__extension__ ({                                                                    \
		EXCEPT__QUIET                                                               \
		Except_Frame *const Except_outer = Except_scope;                            \
		Except_Frame Except_frame __attribute__((cleanup(Except__leave)));          \
		Except_Frame *const Except_scope __attribute__((unused)) = &Except_frame;   \
		EXCEPT__LOUD                                                                \
		Except__enter(&Except_frame, Except_outer, __FILE__, __LINE__);             \
		(void)setjmp(Except_frame.env);                                             \
		if (Except_frame.state == Except__TRYING) {

#define EXCEPT_EXCEPT(e)                                                                    \
		} else if (Except__match(&Except_frame, &(e))) {

#define EXCEPT_ELSE                                                                         \
		} else if (Except__match(&Except_frame, NULL)) {

#define EXCEPT_FINALLY                                                                      \
		}                                                                           \
		if (Except__finally(&Except_frame)) {

#define EXCEPT_END_TRY                                                                      \
		} else                                                                      \
			Except__pass(&Except_frame);                                        \
		Except__done(&Except_frame);                                                \
	})

#define EXCEPT_RAISE(e)          Except__raise(&(e), __FILE__, __func__, __LINE__)
#define EXCEPT_RAISE_MSG(e, ...) Except__raise_msg(&(e), __FILE__, __func__, __LINE__, __VA_ARGS__)
#define EXCEPT_RERAISE           Except__reraise(__FILE__, __func__, __LINE__)

#define Except_assert(condition)                                                            \
	((condition) ? (void)0                                                              \
	             : Except__raise_msg(&Assert_Failed, __FILE__, __func__, __LINE__, "%s", #condition))

/* The library keeps the value while the FINALLYs run: clang may lay a local of theirs over one of
 * ours, as it does not see that control comes back here (LLVM issue 196468). */
#define EXCEPT_RETURN(...)                                                                  \
	EXCEPT__JOIN(EXCEPT__RETURN_, EXCEPT__IS_EMPTY(__VA_ARGS__))(__VA_ARGS__)
#define EXCEPT__RETURN_0(...)                                                               \
	__extension__ ({                                                                    \
		EXCEPT__VALUE_TYPE Except_value = (__VA_ARGS__);                            \
		if (Except_scope) {                                                         \
			jmp_buf Except_site;                                                \
			if (setjmp(Except_site) == 0)                                       \
				Except__return(Except_scope, Except_site, &Except_value,    \
					sizeof Except_value);                               \
			Except__value(&Except_value, sizeof Except_value);                  \
		}                                                                           \
		return EXCEPT__CONVERT(Except_value, (__VA_ARGS__));                        \
	})
#define EXCEPT__RETURN_1(...)                                                               \
	__extension__ ({                                                                    \
		if (Except_scope) {                                                         \
			jmp_buf Except_site;                                                \
			if (setjmp(Except_site) == 0)                                       \
				Except__return(Except_scope, Except_site, NULL, 0);         \
		}                                                                           \
		return;                                                                     \
	})
#if defined __cplusplus
#define EXCEPT__VALUE_TYPE       auto
#define EXCEPT__CONVERT(v, expr) v
#else
#define EXCEPT__VALUE_TYPE       __auto_type
/* a constant goes back as it was written: 0 stays a null pointer constant */
#define EXCEPT__CONVERT(v, expr) __builtin_choose_expr(__builtin_constant_p(expr), expr, v)
#endif

#define EXCEPT_PROTECT(v) __asm__ volatile("" : : "r"(&(v)) : "memory")

#define EXCEPT__FUNCTION(f) ((void (*)(void *))(void (*)(void))(f))
#define EXCEPT_DEFER(fn, pointer) EXCEPT__DEFER(fn, pointer, EXCEPT__JOIN(Except_defer_, __COUNTER__))
#define EXCEPT__DEFER(fn, pointer, link)                                                    \
	Except_Scoped link __attribute__((cleanup(Except__defer_leave)));                   \
	(void)(0 ? ((void)(fn)(pointer), 0) : 0);                                           \
	Except__defer(&link, EXCEPT__FUNCTION(fn), (void *)(pointer))
#define EXCEPT_AUTO(type, v, dispose)                                                       \
	type v;                                                                             \
	Except_Scoped Except_auto_##v __attribute__((cleanup(Except__auto_leave)));         \
	(void)(0 ? ((void)(dispose)(&(v)), 0) : 0);                                         \
	Except__auto(&Except_auto_##v, EXCEPT__FUNCTION(dispose), (void *)&(v), sizeof(v)); \
	v

/* EXCEPT__IS_EMPTY() is 1, anything else 0, up to 32 commas (J. Gustedt, "Detect empty macro
 * arguments", 2010): a list is empty if only putting both a comma-making macro before and () after it
 * makes a comma. */
#define EXCEPT__JOIN(a, b)  EXCEPT__JOIN_(a, b)
#define EXCEPT__JOIN_(a, b) a##b
#define EXCEPT__NTH(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, \
	_18, _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, n, ...) n
#define EXCEPT__COMMA(...)                                                                  \
	EXCEPT__NTH(__VA_ARGS__, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, \
		1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0)
#define EXCEPT__TO_COMMA(...) ,
#define EXCEPT__IS_EMPTY(...)                                                               \
	EXCEPT__EMPTY_(EXCEPT__COMMA(__VA_ARGS__), EXCEPT__COMMA(EXCEPT__TO_COMMA __VA_ARGS__), \
		EXCEPT__COMMA(__VA_ARGS__ ()), EXCEPT__COMMA(EXCEPT__TO_COMMA __VA_ARGS__ ()))
#define EXCEPT__EMPTY_(a, b, c, d)  EXCEPT__EMPTY__(a, b, c, d)
#define EXCEPT__EMPTY__(a, b, c, d) EXCEPT__COMMA(EXCEPT__CASE_##a##b##c##d)
#define EXCEPT__CASE_0001           ,
