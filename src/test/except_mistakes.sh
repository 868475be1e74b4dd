#!/bin/sh
# SPDX-License-Identifier: MIT
# Mistakes that do not compile: clauses in a wrong order, and an AUTO whose function takes the
# value and not its address. Each with the words by which the compiler says it; beside them, what
# is right and must compile without a warning.
include=${abs_top_srcdir:-$PWD}/include
status=0

compile() { # the body of a function; prints what the compiler says
	printf '#include <core/core.h>\n#include <stdlib.h>\n#include <unistd.h>\nEXCEPT_DEFINE(Failed, NULL, "failed");
static void close_file(FILE **f) { fclose(*f); }\nstatic void free_pointer(void *p) { free(*(void **)p); }
void f(void);\nvoid f(void)\n{\n(void)close_file; (void)free_pointer;\n%s\n}\n' "$1" |
		${CC:-cc} -std=gnu11 -Wall -Wextra -Wshadow -pedantic -I"$include" $2 -fsyntax-only -x c - \
			2>&1
}
fails() { # words, body
	said=$(compile "$2") && { echo "compiles: $2"; status=1; }
	case $said in
	*"$1"*) ;;
	*) echo "not said: $1 of $2, but:"; echo "$said"; status=1 ;;
	esac
}
passes() { # body
	said=$(compile "$1" -Werror) || { echo "does not compile: $1"; echo "$said"; status=1; }
}

order='a clause after ELSE or FINALLY: ELSE comes after every EXCEPT, FINALLY last'
fails "$order" 'TRY { puts("a"); } ELSE { puts("b"); } EXCEPT(Failed) { puts("c"); } END_TRY;'
fails "$order" 'TRY { puts("a"); } FINALLY { puts("b"); } EXCEPT(Failed) { puts("c"); } END_TRY;'
fails "$order" 'TRY { puts("a"); } FINALLY { puts("b"); } ELSE { puts("c"); } END_TRY;'
fails "$order" 'TRY { puts("a"); } ELSE { puts("b"); } ELSE { puts("c"); } END_TRY;'
fails "$order" 'TRY { puts("a"); } EXCEPT(Failed) { puts("b"); } ELSE { puts("c"); } FINALLY { puts("d"); } EXCEPT(Failed) { puts("e"); } END_TRY;'
fails 'Except_second_FINALLY_in_a_statement' \
	'TRY { puts("a"); } FINALLY { puts("b"); } FINALLY { puts("c"); } END_TRY;'
passes 'TRY { puts("a"); } EXCEPT(Failed) { puts("b"); } EXCEPT(Assert_Failed) { puts("c"); } ELSE { puts("d"); } FINALLY { puts("e"); } END_TRY;'
# statements in every part of another are on their own
all='TRY { puts("a"); } EXCEPT(Failed) { puts("b"); } ELSE { puts("c"); } FINALLY { puts("d"); } END_TRY;'
passes "TRY { $all } EXCEPT(Failed) { $all } ELSE { $all } FINALLY { $all } END_TRY; $all"

fails 'fclose takes the value, not its address. Write: static void dispose_file(FILE * *p) { fclose(*p); } and give AUTO that function' \
	'AUTO(FILE *, file, fclose) = stdin; puts(file ? "a" : "b");'
fails 'takes the value, not its address' 'AUTO(int, fd, close) = 1; printf("%d", fd);'
passes 'AUTO(FILE *, file, close_file) = stdin; puts(file ? "a" : "b");'
passes 'AUTO(void *, p, free_pointer) = NULL; puts(p ? "a" : "b");'
passes 'AUTO(char *, p, free_pointer) = NULL; puts(p ? p : "b");'
passes 'AUTO(Arena_T, arena, Arena_dispose) = Arena_new(); AUTO(HashTable_T, table, HashTable_free) = HashTable_new(arena, 0); puts(table ? "a" : "b");'
passes 'DEFER(fclose, stdin); DEFER(puts, "x");'
exit $status
