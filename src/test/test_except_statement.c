/* SPDX-License-Identifier: MIT */
/* Except: the statement with every way out of every part of it, and RETURN; what is left without
 * memory. */
#include "config.h"

#include "test_except.h"

/* ---- every way out of every part ---- */

SUITE("Except");
CASE("the statement");

#define LEAVE(here)                                                                         \
	if (part == here) {                                                                 \
		if (way == RAISED)                                                          \
			RAISE(ABC);                                                         \
		if (way == RERAISED)                                                        \
			RERAISE;                                                            \
		if (way == RETURNED)                                                        \
			RETURN((L("v"), 7));                                                \
		if (way == PLAIN_RETURN)                                                    \
			return 5;                                                           \
		if (way == BROKE)                                                           \
			break;                                                              \
		if (way == CONTINUED)                                                       \
			continue;                                                           \
		if (way == WENT)                                                            \
			goto out;                                                           \
	}
#define STATEMENT                                                                           \
	TRY {                                                                               \
		L("t");                                                                     \
		LEAVE(TRIED)                                                                \
		if (part == HANDLED || part == PENDED)                                      \
			raise_int(&A);                                                      \
		if (part == ELSED)                                                          \
			raise_int(&X);                                                      \
	} EXCEPT(AB) {                                                                      \
		L("s");                                                                     \
	} EXCEPT(A) {                                                                       \
		L("h");                                                                     \
		LEAVE(HANDLED)                                                              \
		if (part == PENDED)                                                         \
			RAISE(Plain);                                                       \
	} ELSE {                                                                            \
		L("e");                                                                     \
		LEAVE(ELSED)                                                                \
	} FINALLY {                                                                         \
		L("f");                                                                     \
		LEAVE(FINISHED)                                                             \
		LEAVE(PENDED)                                                               \
	} END_TRY;

static int walk(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++) {
		L("[");
		STATEMENT
		L("]");
	}
	return 0;
out:
	return 2;
}

static int walk_nested(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++) {
		L("[");
		TRY {
			AUTO(int, x, note) = 1;
			(void)x;
			STATEMENT
			L("]");
		} FINALLY {
			L("F");
		} END_TRY;
	}
	return 0;
out:
	return 2;
}

static int walk_in_handler(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++)
		TRY {
			RAISE(Plain);
		} ELSE {
			AUTO(int, x, note) = 1;
			(void)x;
			STATEMENT
			L("]");
		} FINALLY {
			L("F");
		} END_TRY;
	return 0;
out:
	return 2;
}

static int walk_in_finally(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++)
		TRY {
			L("t");
		} FINALLY {
			DEFER(word, "1");
			STATEMENT
			L("]");
		} END_TRY;
	return 0;
out:
	return 2;
}

static int walk_in_switch(int part, int way)
{
	volatile int i;

	for (i = 0; i < 2; i++) {
		switch (part) {
		default:
			STATEMENT
			L("]");
		}
		L(";");
	}
	return 0;
out:
	return 2;
}

static const struct {
	int part, way;
	const char *flat, *nested, *in_handler, *in_finally, *in_switch;
} walks[] = {
	{ TRIED, FALL, "[ t f ] [ t f ] 0", "[ t f ] 1 F [ t f ] 1 F 0", "t f ] 1 F t f ] 1 F 0",
		"t t f ] 1 t t f ] 1 0", "t f ] ; t f ] ; 0" },
	{ TRIED, RAISED, "[ t s f ] [ t s f ] 0", "[ t s f ] 1 F [ t s f ] 1 F 0",
		"t s f ] 1 F t s f ] 1 F 0", "t t s f ] 1 t t s f ] 1 0", "t s f ] ; t s f ] ; 0" },
	{ TRIED, RERAISED, "[ t e f ] [ t e f ] 0", "[ t e f ] 1 F [ t e f ] 1 F 0",
		"t e f ] 1 F t e f ] 1 F 0", "t t e f ] 1 t t e f ] 1 0", "t e f ] ; t e f ] ; 0" },
	{ TRIED, RETURNED, "[ t v f 7", "[ t v f 1 F 7", "t v f 1 F 7", "t t v f 1 7", "t v f 7" },
	{ TRIED, PLAIN_RETURN, "[ t 5", "[ t 1 5", "t 1 5", "t t 1 5", "t 5" },
	{ TRIED, BROKE, "[ t 0", "[ t 1 0", "t 1 0", "t t 1 0", "t ; t ; 0" },
	{ TRIED, CONTINUED, "[ t [ t 0", "[ t 1 [ t 1 0", "t 1 t 1 0", "t t 1 t t 1 0", "t t 0" },
	{ TRIED, WENT, "[ t 2", "[ t 1 2", "t 1 2", "t t 1 2", "t 2" },
	{ HANDLED, FALL, "[ t h f ] [ t h f ] 0", "[ t h f ] 1 F [ t h f ] 1 F 0",
		"t h f ] 1 F t h f ] 1 F 0", "t t h f ] 1 t t h f ] 1 0", "t h f ] ; t h f ] ; 0" },
	{ HANDLED, RAISED, "[ t h f ABC<A", "[ t h f 1 F ABC<A", "t h f 1 F ABC<A<Plain",
		"t t h f 1 ABC<A", "t h f ABC<A" },
	{ HANDLED, RERAISED, "[ t h f A", "[ t h f 1 F A", "t h f 1 F A<Plain", "t t h f 1 A",
		"t h f A" },
	{ HANDLED, RETURNED, "[ t h v f 7", "[ t h v f 1 F 7", "t h v f 1 F 7", "t t h v f 1 7",
		"t h v f 7" },
	{ HANDLED, PLAIN_RETURN, "[ t h 5", "[ t h 1 5", "t h 1 5", "t t h 1 5", "t h 5" },
	{ HANDLED, BROKE, "[ t h 0", "[ t h 1 0", "t h 1 0", "t t h 1 0", "t h ; t h ; 0" },
	{ HANDLED, CONTINUED, "[ t h [ t h 0", "[ t h 1 [ t h 1 0", "t h 1 t h 1 0",
		"t t h 1 t t h 1 0", "t h t h 0" },
	{ HANDLED, WENT, "[ t h 2", "[ t h 1 2", "t h 1 2", "t t h 1 2", "t h 2" },
	{ ELSED, FALL, "[ t e f ] [ t e f ] 0", "[ t e f ] 1 F [ t e f ] 1 F 0",
		"t e f ] 1 F t e f ] 1 F 0", "t t e f ] 1 t t e f ] 1 0", "t e f ] ; t e f ] ; 0" },
	{ ELSED, RAISED, "[ t e f ABC<X", "[ t e f 1 F ABC<X", "t e f 1 F ABC<X<Plain",
		"t t e f 1 ABC<X", "t e f ABC<X" },
	{ ELSED, RERAISED, "[ t e f X", "[ t e f 1 F X", "t e f 1 F X<Plain", "t t e f 1 X",
		"t e f X" },
	{ ELSED, RETURNED, "[ t e v f 7", "[ t e v f 1 F 7", "t e v f 1 F 7", "t t e v f 1 7",
		"t e v f 7" },
	{ ELSED, PLAIN_RETURN, "[ t e 5", "[ t e 1 5", "t e 1 5", "t t e 1 5", "t e 5" },
	{ ELSED, BROKE, "[ t e 0", "[ t e 1 0", "t e 1 0", "t t e 1 0", "t e ; t e ; 0" },
	{ ELSED, CONTINUED, "[ t e [ t e 0", "[ t e 1 [ t e 1 0", "t e 1 t e 1 0", "t t e 1 t t e 1 0",
		"t e t e 0" },
	{ ELSED, WENT, "[ t e 2", "[ t e 1 2", "t e 1 2", "t t e 1 2", "t e 2" },
	{ FINISHED, FALL, "[ t f ] [ t f ] 0", "[ t f ] 1 F [ t f ] 1 F 0", "t f ] 1 F t f ] 1 F 0",
		"t t f ] 1 t t f ] 1 0", "t f ] ; t f ] ; 0" },
	{ FINISHED, RAISED, "[ t f ABC", "[ t f 1 F ABC", "t f 1 F ABC<Plain", "t t f 1 ABC",
		"t f ABC" },
	{ FINISHED, RERAISED, "[ t f Assert", "[ t f 1 F Assert", "t f 1 F Plain", "t t f 1 Assert",
		"t f Assert" },
	{ FINISHED, RETURNED, "[ t f v 7", "[ t f v 1 F 7", "t f v 1 F 7", "t t f v 1 7", "t f v 7" },
	{ FINISHED, PLAIN_RETURN, "[ t f 5", "[ t f 1 5", "t f 1 5", "t t f 1 5", "t f 5" },
	{ FINISHED, BROKE, "[ t f 0", "[ t f 1 0", "t f 1 0", "t t f 1 0", "t f ; t f ; 0" },
	{ FINISHED, CONTINUED, "[ t f [ t f 0", "[ t f 1 [ t f 1 0", "t f 1 t f 1 0",
		"t t f 1 t t f 1 0", "t f t f 0" },
	{ FINISHED, WENT, "[ t f 2", "[ t f 1 2", "t f 1 2", "t t f 1 2", "t f 2" },
	{ PENDED, FALL, "[ t h f Plain<A", "[ t h f 1 F Plain<A", "t h f 1 F Plain<A<Plain",
		"t t h f 1 Plain<A", "t h f Plain<A" },
	{ PENDED, RAISED, "[ t h f ABC<Plain<A", "[ t h f 1 F ABC<Plain<A",
		"t h f 1 F ABC<Plain<A<Plain", "t t h f 1 ABC<Plain<A", "t h f ABC<Plain<A" },
	{ PENDED, RERAISED, "[ t h f Plain<A", "[ t h f 1 F Plain<A", "t h f 1 F Plain<A<Plain",
		"t t h f 1 Plain<A", "t h f Plain<A" },
	{ PENDED, RETURNED, "[ t h f v 7", "[ t h f v 1 F 7", "t h f v 1 F 7", "t t h f v 1 7",
		"t h f v 7" },
	{ PENDED, PLAIN_RETURN, "[ t h f 5", "[ t h f 1 5", "t h f 1 5", "t t h f 1 5", "t h f 5" },
	{ PENDED, BROKE, "[ t h f 0", "[ t h f 1 0", "t h f 1 0", "t t h f 1 0", "t h f ; t h f ; 0" },
	{ PENDED, CONTINUED, "[ t h f [ t h f 0", "[ t h f 1 [ t h f 1 0", "t h f 1 t h f 1 0",
		"t t h f 1 t t h f 1 0", "t h f t h f 0" },
	{ PENDED, WENT, "[ t h f 2", "[ t h f 1 2", "t h f 1 2", "t t h f 1 2", "t h f 2" },
	{ NOWHERE, FALL, "[ t f ] [ t f ] 0", "[ t f ] 1 F [ t f ] 1 F 0", "t f ] 1 F t f ] 1 F 0",
		"t t f ] 1 t t f ] 1 0", "t f ] ; t f ] ; 0" },
};

static void check_walk(int (*walker)(int, int), int i, const char *wanted)
{
	volatile int result = -1;

	TRY {
		result = walker(walks[i].part, walks[i].way);
		L_number(result);
	} ELSE {
		L_current();
	} END_TRY;
	expect(wanted);
}

TEST(every_way_out_of_every_part, .to = (int)(sizeof walks / sizeof walks[0]))
{
	start_log();
	check_walk(walk, _i, walks[_i].flat);
	check_walk(walk_nested, _i, walks[_i].nested);
	check_walk(walk_in_handler, _i, walks[_i].in_handler);
	check_walk(walk_in_finally, _i, walks[_i].in_finally);
	check_walk(walk_in_switch, _i, walks[_i].in_switch);
}

/* ---- the statement as C ---- */

static int chosen(int x)
{
	if (x == 1)
		TRY {
			L("one");
		} END_TRY;
	else if (x == 2)
		EXCEPT_TRY {
			EXCEPT_RAISE(A);
		} EXCEPT_EXCEPT(A) {
			EXCEPT_RETURN(2);
		} EXCEPT_END_TRY;
	else
		TRY {
			RETURN(3);
		} END_TRY;
	return 1;
}

TEST(it_is_one_statement_of_c)
{
	start_log();
	ck_assert_int_eq(chosen(1), 1);
	ck_assert_int_eq(chosen(2), 2);
	ck_assert_int_eq(chosen(3), 3);
	expect("one");
}

static int __attribute__((noinline)) protected_sum(void)
{
	int sum = 1;

	PROTECT(sum);
	TRY {
		sum = 2;
		raise_int(&A);
	} EXCEPT(A) {
		sum += 40;
	} END_TRY;
	return sum;
}

TEST(a_protected_variable_is_right_after_a_raise)
{
	ck_assert_int_eq(protected_sum(), 42);
}

static int go_down(int depth)
{
	volatile int below = 0;

	TRY {
		if (depth == 0)
			RAISE_MSG(A, "from %d", depth);
		below = go_down(depth - 1);
	} FINALLY {
		if (depth % 1000 == 0)
			L_number(depth);
	} END_TRY;
	return below;
}

TEST(statements_nest_10000_deep)
{
	start_log();
	TRY {
		go_down(10000);
	} EXCEPT(A) {
		L(Except_message());
	} END_TRY;
	expect("0 1000 2000 3000 4000 5000 6000 7000 8000 9000 10000 from 0");
}

static void raise_in_handlers(int depth)
{
	if (depth < 0)
		return;
	TRY {
		RAISE(A);
	} EXCEPT(A) {
		raise_in_handlers(depth - 1);
		RAISE(X);
	} END_TRY;
}

TEST(handlers_nest_5000_deep_and_every_cause_is_kept)
{
	start_log();
	TRY {
		raise_in_handlers(5000 - 1);
	} EXCEPT(X) {
		ck_assert_ptr_eq(Except_cause(1), &A);
		ck_assert_ptr_eq(Except_cause(5000), &A);
		ck_assert_ptr_null(Except_cause(5001));
		L("caught");
	} END_TRY;
	expect("caught");
}

static int return_or_leave(int i)
{
	for (;;) {
		TRY {
			if (i % 3 == 0)
				RAISE_MSG(A, "%d", i);
			RETURN(i);
		} EXCEPT(A) {
			if (i % 4096 == 0)
				break;
			RAISE(X);
		} FINALLY {
			if (i % 5 == 0)
				break;
			if (i % 7 == 0)
				RETURN(-i);
		} END_TRY;
	}
	return 0;
}

TEST(a_hundred_thousand_ways_out_leave_nothing_behind)
{
	volatile int i, sum = 0;

	start_log();
	for (i = 0; i < 100000; i++)
		TRY {
			sum += return_or_leave(i) & 1;
		} EXCEPT(X) {
			sum++;
		} END_TRY;
	ck_assert_int_gt(sum, 0);
	expect("");
}

/* ---- RETURN ---- */

CASE("RETURN");

typedef union Either {
	int i;
	double d;
} Either;
typedef struct Bits {
	unsigned u : 3;
	signed s : 5;
} Bits;
typedef int Function(int);
static const int table[] = { 1, 2, 3 };
static int evaluated;

static int twice(int x)
{
	evaluated++;
	return 2 * x;
}

static void __attribute__((noinline)) overwrite(void *p, size_t n)
{
	memset(p, 0xEE, n);
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* FINALLY needs much stack, which a compiler may lay over what the RETURN left behind */
#define RETURNS(type, name, declaration, ...)                                               \
	static type name(void)                                                              \
	{                                                                                   \
		type otherwise;                                                             \
		TRY {                                                                       \
			declaration;                                                        \
			RETURN(__VA_ARGS__);                                                \
		} FINALLY {                                                                 \
			char junk[600];                                                     \
			overwrite(junk, sizeof junk);                                       \
			L(#name);                                                           \
		} END_TRY;                                                                  \
		memset(&otherwise, 1, sizeof otherwise);                                    \
		return otherwise;                                                           \
	}

RETURNS(int, an_int, int x = 5, x)
RETURNS(int, a_call, (void)0, twice(21))
RETURNS(int, a_comma, (void)0, (twice(1), 9))
RETURNS(int, a_parenthesis, (void)0, (twice)(2) + (3))
RETURNS(int, a_choice, int x = 1, x ? 3 : 4)
RETURNS(int, a_const, const int x = 6, x)
RETURNS(int, a_volatile, const volatile int x = 7, x)
RETURNS(int, an_atomic, _Atomic int x = 8, x)
RETURNS(short, a_narrowed_int, int x = 9, x)
RETURNS(char, a_char, (void)0, 'c')
RETURNS(_Bool, a_bool, int x = 3, x > 2)
RETURNS(unsigned, a_bit_field, Bits b = { .u = 5 }, b.u)
RETURNS(int, a_signed_bit_field, Bits b = { .s = -3 }, b.s)
RETURNS(float, a_float, (void)0, 1.5f)
RETURNS(long double, a_long_double, long double x = 1.25L, 2 * x)
RETURNS(double _Complex, a_complex, double _Complex z = 1.0 + 2.0 * I, z)
#if defined __SIZEOF_INT128__
__extension__ typedef __int128 Wide;
enum { HIGH = 70 };
#else
typedef long long Wide;
enum { HIGH = 40 };
#endif
RETURNS(Wide, a_wide_int, Wide x = 7, x << HIGH)
RETURNS(Large, a_struct, Large l = { { 0 } }; l.a[49] = 49, l)
RETURNS(Large, a_literal, (void)0, (Large){ { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
	17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39,
	40 } })
RETURNS(Either, a_union, Either e = { .d = 2.5 }, e)
RETURNS(const char *, a_string, (void)0, "string")
RETURNS(char *, null, (void)0, NULL)
RETURNS(char *, zero, (void)0, 0)
RETURNS(const int *, an_array, (void)0, table)
RETURNS(const int *, a_sum, const int *p = table, p + 1)
RETURNS(Function *, a_function, (void)0, twice)

TEST(return_gives_a_value_of_any_type)
{
	start_log();
	evaluated = 0;
	ck_assert_int_eq(an_int(), 5);
	ck_assert_int_eq(a_call(), 42);
	ck_assert_int_eq(a_comma(), 9);
	ck_assert_int_eq(a_parenthesis(), 7);
	ck_assert_int_eq(evaluated, 3);
	ck_assert_int_eq(a_choice(), 3);
	ck_assert_int_eq(a_const(), 6);
	ck_assert_int_eq(a_volatile(), 7);
	ck_assert_int_eq(an_atomic(), 8);
	ck_assert_int_eq(a_narrowed_int(), 9);
	ck_assert_int_eq(a_char(), 'c');
	ck_assert(a_bool());
	ck_assert_uint_eq(a_bit_field(), 5);
	ck_assert_int_eq(a_signed_bit_field(), -3);
	ck_assert(a_float() == 1.5f);
	ck_assert(a_long_double() == 2.5L);
	ck_assert(creal(a_complex()) == 1.0 && cimag(a_complex()) == 2.0);
	ck_assert(a_wide_int() == (Wide)7 << HIGH);
	ck_assert_int_eq(a_struct().a[49], 49);
	ck_assert_int_eq(a_literal().a[39], 40);
	ck_assert(a_union().d == 2.5);
	ck_assert_str_eq(a_string(), "string");
	ck_assert_ptr_null(null());
	ck_assert_ptr_null(zero());
	ck_assert_ptr_eq(an_array(), table);
	ck_assert_ptr_eq(a_sum(), table + 1);
	ck_assert(a_function() == twice);
	expect("an_int a_call a_comma a_parenthesis a_choice a_const a_volatile an_atomic "
		"a_narrowed_int a_char a_bool a_bit_field a_signed_bit_field a_float a_long_double "
		"a_complex a_complex a_wide_int a_struct a_literal a_union a_string null zero an_array "
		"a_sum a_function");
}

static void return_nothing(int early)
{
	TRY {
		if (early)
			RETURN();
		L("late");
	} FINALLY {
		L("f");
	} END_TRY;
	L("end");
}

static int return_outside(int x)
{
	RETURN(x);
}

TEST(return_without_a_value_and_outside_a_statement)
{
	start_log();
	return_nothing(1);
	return_nothing(0);
	ck_assert_int_eq(return_outside(3), 3);
	expect("f late f end");
}

static Large return_through_scopes(void)
{
	Large otherwise = { { 0 } };
	AUTO(int, a, note) = 1;

	TRY {
		AUTO(int, b, note) = 2;
		DEFER(word, "3");
		TRY {
			Large l = { { 4 } };
			AUTO(int, c, note) = 4;
			TRY {
				AUTO(int, d, note) = 5;
				overwrite(&l.a[1], sizeof l.a - sizeof l.a[0]);
				RETURN((L_number(a + b + c + d), l));
			} END_TRY;
		} FINALLY {
			Large x, y;
			overwrite(&x, sizeof x);
			overwrite(&y, sizeof y);
			L("f");
		} END_TRY;
	} FINALLY {
		Large x, y, z;
		char w[500];
		overwrite(&x, sizeof x);
		overwrite(&y, sizeof y);
		overwrite(&z, sizeof z);
		overwrite(w, sizeof w);
		L("F");
	} END_TRY;
	return otherwise;
}

TEST(return_passes_every_scope_in_order)
{
	start_log();
	ck_assert_int_eq(return_through_scopes().a[0], 4);
	expect("12 5 4 f 3 2 F 1");
}

#if !SANITIZED /* ThreadSanitizer cannot follow the way back to a lower part of the stack */
static int from_an_array(size_t n)
{
	TRY {
		char array[n];
		memset(array, 7, n);
		RETURN(array[n - 1]);
	} FINALLY {
		char junk[1000];
		overwrite(junk, sizeof junk);
	} END_TRY;
	return 0;
}

static int from_alloca(size_t n)
{
	TRY {
		char *array = __builtin_alloca(n);
		memset(array, 7, n);
		RETURN(array[n - 1]);
	} FINALLY {
		char junk[1000];
		overwrite(junk, sizeof junk);
	} END_TRY;
	return 0;
}

TEST(return_leaves_a_block_with_a_variable_length_array)
{
	ck_assert_int_eq(from_an_array(10), 7);
	ck_assert_int_eq(from_an_array(1000000), 7);
	ck_assert_int_eq(from_alloca(10), 7);
	ck_assert_int_eq(from_alloca(1000000), 7);
}
#endif

#if !defined __clang__
static int nested_functions(int x)
{
	TRY {
		int inner(int y)
		{
			TRY {
				RETURN(y + 1);
			} FINALLY {
				L("inner");
			} END_TRY;
			return 0;
		}
		int plain(int y)
		{
			RETURN(2 * y);
		}
		RETURN(inner(x) + plain(x));
	} FINALLY {
		L("outer");
	} END_TRY;
	return 0;
}

TEST(a_nested_function_returns_only_from_itself)
{
	start_log();
	ck_assert_int_eq(nested_functions(10), 31);
	expect("inner outer");
}
#endif

static int recursive(int n)
{
	TRY {
		if (n == 0)
			RETURN(0);
		RETURN(1 + recursive(n - 1));
	} FINALLY {
		L_number(n);
	} END_TRY;
	return -1;
}

TEST(a_recursive_function_returns_only_from_its_own_call)
{
	start_log();
	ck_assert_int_eq(recursive(4), 4);
	expect("0 1 2 3 4");
}

static void skip_a_finally(void)
{
	walk(TRIED, PLAIN_RETURN);
	walk(HANDLED, WENT);
}

static void skip_no_finally(void)
{
	walk(TRIED, RETURNED);
	walk(FINISHED, PLAIN_RETURN);
	chosen(1);
}

TEST(a_plain_return_past_a_finally_is_reported_in_a_debug_build)
{
	int debug = Except__first != Except__TRYING;

	ck_assert_int_eq(child_says(skip_a_finally), 0);
	if (debug) {
		ck_said("libcore: " __FILE__ ":");
		ck_said(": this FINALLY was skipped by return, break, continue, goto, a C++ exception or "
			"the end of the thread; RETURN runs it\n");
	} else
		ck_assert_str_eq(said, "");
	ck_assert_int_eq(child_says(skip_no_finally), 0);
	ck_assert_str_eq(said, "");
}

/* ---- without memory ---- */

CASE("without memory");

#if !SANITIZED && defined __GLIBC__
/* glibc's own, under the names that the program interposes. Valgrind never calls these. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
static __thread volatile int counting; /* by thread: Check allocates in the one that waits */
static volatile int requests;

void *malloc(size_t n)
{
	requests += counting;
	return counting ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
	requests += counting;
	return counting ? NULL : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
	requests += counting;
	return counting ? NULL : __libc_realloc(p, n);
}

static void *use_everything(void *unused)
{
	volatile int i;

	counting = 1;
	for (i = 0; i < 50; i++)
		TRY {
			AUTO(int, n, note) = i;
			(void)n;
			an_int();
			raise_in_three_places();
		} EXCEPT(X) {
			TRY {
				RAISE_MSG(AB, "%s, %d", Except_message(), i);
			} ELSE {
				L_current();
			} END_TRY;
		} END_TRY;
	counting = 0;
	return unused;
}

TEST(nothing_is_allocated_on_the_heap)
{
	requests = 0;
	use_everything(NULL);
	run_thread(use_everything, NULL); /* its first raise of all, too */
	ck_assert_int_eq(requests, 0);
}

enum { UNLIMITED = 255 }; /* qemu-user keeps no RLIMIT_AS */
#define WITHOUT(condition) ((condition) ? (void)0 : _exit(__LINE__ % 200 + 1))

static void rethrow_without_memory(int line)
{
	Except_Capture capture;

	Except_capture(&capture);
	WITHOUT(capture.exception == &AB && capture.line == line);
	TRY {
		Except_rethrow(&capture);
	} EXCEPT(AB) {
		WITHOUT(Except_line() == line && !Except_function() && !Except_cause(1));
	} END_TRY;
	WITHOUT(Except_current() == &AB);
}

static void *raise_without_memory(void *unused)
{
	volatile int line = 0;

	setrlimit(RLIMIT_AS, &(struct rlimit){ 1, 1 });
	if (mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		_exit(UNLIMITED);
	TRY {
		TRY {
			line = __LINE__ + 1;
			RAISE_MSG(AB, "not to be had %d", 1);
		} EXCEPT(A) {
			WITHOUT(Except_current() == &AB && Except_line() == line);
			WITHOUT(strcmp(Except_message(), "ab failed") == 0);
			WITHOUT(Except_errno() == 0 && !Except_cause(1) && !Except_function());
			rethrow_without_memory(line);
			TRY {
				RERAISE;
			} EXCEPT(AB) {
				RAISE(X);
			} FINALLY {
				WITHOUT(Except_current() == &X);
			} END_TRY;
		} END_TRY;
	} EXCEPT(X) {
		WITHOUT(an_int() == 5 && a_struct().a[49] == 49);
		Except_report(stderr);
	} END_TRY;
	WITHOUT(!Except_current());
	_exit(0);
	return unused;
}

static void run_without_memory(void)
{
	pthread_t t;

	fputs("start\n", stderr);
	pthread_create(&t, NULL, raise_without_memory, NULL);
	pthread_join(t, NULL);
}

TEST(without_memory_for_a_record_only_the_details_are_missing)
{
	int status;

#if HAVE_VALGRIND_MEMCHECK_H
	if (RUNNING_ON_VALGRIND)
		return; /* it would be without memory, too */
#endif
	status = child_says(run_without_memory);
	if (WIFEXITED(status) && WEXITSTATUS(status) == UNLIMITED)
		return;
	ck_assert_int_eq(status, 0);
	ck_said("x failed\n    raised at " __FILE__ ":");
}
#endif
