#!/bin/sh
# SPDX-License-Identifier: MIT
# The examples print what they are said to print.
cd "${top_builddir:-.}" || exit 1
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
status=0

expect() { # program, expected output
	"./examples/$1" >"$out" 2>&1 || { echo "$1 failed with $?"; status=1; }
	[ "$(cat "$out")" = "$2" ] || { echo "$1 printed:"; cat "$out"; echo "and not:"; echo "$2"; status=1; }
}

expect hello 'Lima
connect 127.0.0.1:9: Connection refused
live arenas: 0'
expect thread-per-request 'Hello, world!
Hello, Ada!
Hello, Grace!
live arenas: 0'
expect event-loop 'ONE EVENT LOOP
MANY CONNECTIONS
live arenas: 0'
expect connection-pool 'resize: 2 connections inside, 2 of them idle
first reply: are you still there?
after 1000 uses the connection holds what it held at first
live arenas: 0'
expect worker-queue '300 items, 3 failed, 718 distinct digits
live arenas: 0'

# wf against a count made by other means
text=$abs_top_srcdir/README.md
LC_ALL=C tr 'A-Z' 'a-z' <"$text" | LC_ALL=C tr -cs 'a-z' '\n' | grep . | LC_ALL=C sort | uniq -c |
	LC_ALL=C sort -k1,1nr -k2,2 | awk '{ printf "%7d %s\n", $1, $2 }' >"$out"
./examples/wf "$text" | diff - "$out" || { echo "wf counts differently"; status=1; }
[ "$(./examples/wf -n 3 <"$text" | wc -l)" -eq 3 ] || { echo "wf -n 3 does not print 3 lines"; status=1; }
./examples/wf /nonexistent/file >"$out" 2>&1 && { echo "wf found a file that is not there"; status=1; }
grep -q '/nonexistent/file: No such file' "$out" || { echo "wf does not name the file: $(cat "$out")"; status=1; }
exit $status
