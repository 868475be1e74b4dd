/* SPDX-License-Identifier: MIT */
/* TRY, its clauses, and the ways to raise. Included by Except.h alone.
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
 * A raise in B comes back to setjmp as "raised". A raise in H comes back as "pending", which no
 * clause matches: F runs, and Except__done passes the exception on. A raise in F finds the frame
 * closed and goes further out. A statement expression is one C statement, and leaves break and
 * continue to the user. */
#if !defined EXCEPT_INCLUDED
#error "include <core/Except.h>"
#endif

CORE_API void Except__raise(const Except_T *, const char *file, const char *function, int line)
	EXCEPT__NORETURN;
CORE_API void Except__raise_msg(const Except_T *, const char *file, const char *function, int line,
	const char *fmt, ...) EXCEPT__NORETURN CORE_PRINTF(5, 6);
CORE_API void Except__raise_errno(const Except_T *, const char *file, const char *function,
	int line, int error, const char *fmt, ...) EXCEPT__NORETURN CORE_PRINTF(6, 7);
CORE_API void Except__reraise(const char *file, const char *function, int line) EXCEPT__NORETURN;

/* Returns x, so that no optimizer can derive it from the state. clang does not see that control
 * comes back to a RETURN after the state was read again. It would use an old copy of the state to
 * decide whether a RETURN is on its way. */
static inline int Except__opaque(int x)
{
	__asm__ volatile("" : "+r"(x));
	return x;
}

/* Nested statements shadow each other's frame on purpose, so the warning is off there. */
#define EXCEPT__QUIET _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wshadow\"")
#define EXCEPT__LOUD  _Pragma("GCC diagnostic pop")

/* ELSE and FINALLY redefine the tag Except_clauses for what follows them in the statement, so that
 * a clause after them does not compile. It is a tag because tags shadow each other without a
 * warning. They do not in C++, which has no such check. */
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
	             : Except__raise_msg(&Assert_Failed, __FILE__, __func__, __LINE__, "%s",\
	                       #condition))
