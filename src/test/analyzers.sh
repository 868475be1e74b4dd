#!/bin/sh
# SPDX-License-Identifier: MIT
# What static analyzers say of right code that uses the statement: nothing. gcc -fanalyzer, clang
# --analyze and cppcheck, each where it is installed. Two false leaks are known, and the manual
# page names them: gcc does not follow the disposal of an AUTO FILE, cppcheck not the fclose in a
# FINALLY.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
include=$abs_top_srcdir/include
status=0 ran=0

cat >"$work/right.c" <<'END_OF_C'
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <core/core.h>

extern const Except_T Oops;
EXCEPT_DEFINE(Oops, NULL, "oops");
char *copy(const char *s);
int with_finally(const char *s), with_defer(const char *s), with_arena(const char *s), with_file(const char *name), nested(int n);

char *copy(const char *s)
{
	char *p = strdup(s);

	if (!p)
		RAISE(Oops);
	return p;
}

int with_finally(const char *s)
{
	char *p = copy(s);
	volatile int n = 0;

	TRY {
		if (p[0] == 'x')
			RAISE_MSG(Oops, "%s", p);
		n = (int)strlen(p);
	} FINALLY {
		free(p);
	} END_TRY;
	return n;
}

int with_defer(const char *s)
{
	char *p = copy(s);

	DEFER(free, p);
	if (p[0] == 'x')
		RAISE(Oops);
	return (int)strlen(p);
}

int with_arena(const char *s)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	char *p = Arena_strdup(arena, s);

	TRY {
		RETURN((int)strlen(p));
	} EXCEPT(Oops) {
		RETURN(0);
	} END_TRY;
	return 1;
}

#if !defined CPPCHECK
int with_file(const char *name)
{
	FILE *volatile f = fopen(name, "r");
	int c = 0;

	PROTECT(c);
	if (!f)
		RAISE_MSG(Oops, "%s", name);
	TRY {
		c = fgetc(f);
		if (c == EOF)
			RAISE(Oops);
	} FINALLY {
		fclose(f);
	} END_TRY;
	return c;
}
#endif

int nested(int n)
{
	int result = 0;

	PROTECT(result);
	TRY {
		TRY {
			if (n == 1)
				RAISE(Oops);
			result = 1;
		} EXCEPT(Assert_Failed) {
			result = 2;
		} FINALLY {
			result += 10;
		} END_TRY;
	} EXCEPT(Oops) {
		TRY {
			RERAISE;
		} ELSE {
			result = 3;
		} END_TRY;
	} END_TRY;
	return result;
}
END_OF_C

silent() { # a command that has to say nothing
	ran=$((ran + 1))
	"$@" >"$work/log" 2>&1 && [ ! -s "$work/log" ] && return
	echo "$* says:"
	cat "$work/log"
	status=1
}

for level in -O0 -O2; do
	if gcc -fanalyzer -fsyntax-only -x c /dev/null 2>/dev/null; then
		silent gcc -std=c11 $level -fanalyzer -I"$include" -c "$work/right.c" -o "$work/right.o"
	fi
	if command -v clang >/dev/null 2>&1; then
		silent clang -std=c11 $level --analyze --analyzer-output text -I"$include" "$work/right.c" \
			-o "$work/right.out"
	fi
done
if command -v cppcheck >/dev/null 2>&1; then
	silent cppcheck -D__GNUC__ -DCPPCHECK --quiet \
		--enable=warning,performance,portability -I"$include" "$work/right.c"
fi
[ $ran -gt 0 ] || exit 77
exit $status
