#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that is instrumented for ThreadSanitizer is clean, whether the library is (in a build
# of its own kind) or not: handlers in workers, and arenas that go from thread to thread.
. "$(dirname "$0")/needs.sh"
need loopback
case $TEST_CFLAGS in *-fsanitize=*address*) echo "skipped: one sanitizer at a time"; exit 77 ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
libs=$top_builddir/.libs
echo 'int main(void) { return 0; }' >"$work/none.c"
# shellcheck disable=SC2086
$CC $TEST_CFLAGS -fsanitize=thread "$work/none.c" -o "$work/none" 2>/dev/null &&
	"$work/none" 2>/dev/null ||
	{ echo "skipped: $CC has no ThreadSanitizer, or its programs do not run here"; exit 77; }
# shellcheck disable=SC2086
$CC $TEST_CFLAGS -O1 -g -fsanitize=thread -fexceptions -I"$abs_top_srcdir/include" \
	"$abs_top_srcdir/src/test/tsan_program.c" \
	-o "$work/program" -L"$libs" -Wl,-rpath,"$libs" $CORE_LDFLAGS -lcore -pthread || exit 1
TSAN_OPTIONS="halt_on_error=1 exitcode=66 $TSAN_OPTIONS" timeout 120 "$work/program" >"$work/out" \
	2>&1 ||
	{ echo "it ended with $?:"; head -n 60 "$work/out"; exit 1; }
grep -q '^clean$' "$work/out" || { cat "$work/out"; exit 1; }
