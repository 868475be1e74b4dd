#!/bin/sh
# SPDX-License-Identifier: MIT
# Each public header compiles alone, in each language version, without a warning.
flags='-Wall -Wextra -Wshadow -pedantic -Werror -fsyntax-only'
include=${top_srcdir:-.}/include
status=0

compile() { # compiler, standard, language, header
	printf '#include <core/%s>\nint main(void) { return 0; }\n' "$4" |
		$1 -std="$2" $flags -I"$include" -x "$3" - ||
		{ echo "core/$4 does not compile as $2 with $1"; status=1; }
}

for path in "$include"/core/*.h; do
	header=${path##*/}
	case $header in Except[A-Z]*.h | ArenaInline.h | ArenaMacros.h) continue ;; esac # parts of Except.h and Arena.h
	compile "${CC:-cc} -DCORE_NO_INLINE" c11 c "$header"
	for standard in c11 c17 c2x; do
		compile "${CC:-cc}" $standard c "$header"
	done
	if command -v "${CXX%% *}" >/dev/null 2>&1; then
		compile "$CXX" c++17 c++ "$header"
	fi
done

# CORE_NO_SHORT_NAMES leaves the short names to the program
short='
#define CORE_NO_SHORT_NAMES
#include <core/core.h>
int TRY, EXCEPT, ELSE, FINALLY, END_TRY, RAISE, RAISE_MSG, RAISE_ERRNO, RERAISE, RETURN, PROTECT, AUTO, DEFER, ALLOC, CALLOC, NEW, NEW0;
EXCEPT_DEFINE(Failed, NULL, "failed");
int main(void)
{
	EXCEPT_AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	int *p, *q;
	ARENA_NEW(arena, p);
	ARENA_NEW0(arena, q);
	p[0] = q[0];
	EXCEPT_TRY {
		EXCEPT_RAISE_ERRNO(Failed, "%p %p", ARENA_ALLOC(arena, 1), ARENA_CALLOC(arena, 1, 1));
	} EXCEPT_EXCEPT(Failed) {
		EXCEPT_RETURN(p[0] + TRY);
	} EXCEPT_END_TRY;
	return 1;
}'
for inline in '' -DCORE_NO_INLINE; do
	echo "$short" | ${CC:-cc} -std=c11 $inline $flags -I"$include" -x c - &&
		{ ! command -v "${CXX%% *}" >/dev/null 2>&1 || echo "$short" | $CXX -std=c++17 $inline $flags -I"$include" -x c++ -; } ||
		{ echo "a program with CORE_NO_SHORT_NAMES $inline does not compile"; status=1; }
done

# the inline assembly, for programs in the other dialect
case $(${CC:-cc} -dumpmachine) in x86_64-*)
	printf '#include <core/Except.h>\nint main(void) { TRY { } FINALLY { } END_TRY; return 0; }\n' |
		${CC:-cc} -masm=intel -c -o /dev/null -I"$include" -x c - ||
		{ echo "core/Except.h does not assemble with -masm=intel"; status=1; } ;;
esac
exit $status
