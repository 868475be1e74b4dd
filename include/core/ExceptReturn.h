/* SPDX-License-Identifier: MIT */
/* RETURN: runs every FINALLY of its function on the way out. Included by Except.h alone. */
#if !defined EXCEPT_INCLUDED
#error "include <core/Except.h>"
#endif

/* These come before their uses: cppcheck 2.10 crashes on a file that ends with a ##.
 * They give 1 if the first argument starts with a parenthesis (or is empty), else 0. */
#define EXCEPT__PAREN(first, ...)          EXCEPT__SECOND(EXCEPT__PROBE first, 0, )
#define EXCEPT__PAREN_OR_EMPTY(first, ...) EXCEPT__SECOND(EXCEPT__PROBE first (), 0, )
#define EXCEPT__PROBE(...)                 , 1,
#define EXCEPT__SECOND(...)                EXCEPT__SECOND_(__VA_ARGS__)
#define EXCEPT__SECOND_(a, b, ...)         b
#define EXCEPT__STRING(x)                  EXCEPT__STRING_(x)
#define EXCEPT__STRING_(x)                 #x
#define EXCEPT__JOIN(a, b, c)              EXCEPT__JOIN_(a, b, c)
#define EXCEPT__JOIN_(a, b, c)             a##b##c

/* Outside every TRY. Inside, pointers to the frame of the function's outermost TRY and to the
 * function's name shadow them. */
enum { Except_scope, Except_owner };

CORE_API void Except__return(Except_Frame *outermost, jmp_buf, void *value, size_t size)
	EXCEPT__NORETURN;

/* Returns f if it is a frame of this function. A nested function or a lambda also sees the frame
 * of the function around it, which is not for its RETURN. */
static inline Except_Frame *Except__own(Except_Frame *f, const char *owner, const char *function)
{
	return owner == function ? f : NULL;
}

static inline Except_Frame *Except__outermost(Except_Frame *outer, Except_Frame *f)
{
	return outer ? outer : f; /* written in place, cppcheck takes f for read before it is set */
}

/* RETURN(x) is EXCEPT__RETURN_00(x), RETURN((x)...) EXCEPT__RETURN_11((x)...), RETURN()
 * EXCEPT__RETURN_01(). */
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
#define EXCEPT__SCOPE                                                                       \
	Except__own((Except_Frame *)Except_scope, (const char *)Except_owner, EXCEPT__FUNC)

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
