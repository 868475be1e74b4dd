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
expect connection-pool '1000 answers over 1 connection, used again 999 times
live arenas: 0'
expect worker-queue '300 items, 3 failed, 718 distinct digits
live arenas: 0'

# the pool's example ends when its server leaves in the middle of a reply, and says so
half=$(mktemp -d) || exit 1
trap 'rm -rf "$out" "$half"' EXIT
sed 's|Socket_sendall(s, buffer, n);|{ Socket_sendall(s, buffer, n / 2); break; }|' "$abs_top_srcdir/examples/connection-pool.c" >"$half/half.c"
# shellcheck disable=SC2086
${CC:-cc} ${TEST_CFLAGS:-} -fexceptions -I"$abs_top_srcdir/include" "$half/half.c" -o "$half/half" \
	-L.libs -Wl,-rpath,"$PWD/.libs" ${CORE_LDFLAGS:-} -lcore -pthread || status=1
(ulimit -c 0; timeout 20 "$half/half") >"$out" 2>&1
grep -q 'the server closed after 10 of 20 bytes' "$out" || { echo "connection-pool, left in the middle of a reply, printed:"; cat "$out"; status=1; }

with() { # library, expected output, with the size of what was compressed as N
	case " $EXAMPLES " in
	*" examples/with-$1 "*) ;;
	*) echo "with-$1: not tested, configure has not found the library"; return ;;
	esac
	"./examples/with-$1" 2>&1 | sed 's/ to [1-9][0-9]\{2\} bytes/ to N bytes/' >"$out"
	[ "$(cat "$out")" = "$2" ] || { echo "with-$1 printed:"; cat "$out"; echo "and not:"; echo "$2"; status=1; }
}

with zlib '5130 bytes to N bytes and back: the same
zlib: incorrect data check
zlib: insufficient memory
live arenas: 0'
with expat 'book isbn=0-201-49841-3
  title
  chapters count=21
    chapter n=5
book
  title
line 2: mismatched tag
no memory for a parser
live arenas: 0'
with pcre2 '1969-07-20
1972-12-11
"(\d{4}" at 6: missing closing parenthesis
"(?:[a-z]{200}){1000}" at 20: failed to allocate heap memory
live arenas: 0'
with cjson '[{
		"name":	"Ada",
		"born":	1815,
		"seen":	true
	}, {
		"name":	"Grace",
		"born":	1906,
		"seen":	true
	}]
not JSON from byte 24 on: }
out of memory for JSON
live arenas: 0'

# the C++ example, where there is a C++17 library
pmr_says='a: 2 and 11
be: 1 and 10
letters: 6 and 15
many: 5 and 14
name: 3 and 12
of: 4 and 13
to: 0 and 9
bad_alloc at no more than a million bytes, handlers left: none
thrown: HashTable_put: the key is NULL
42
live arenas: 0'
case " $EXAMPLES " in
*' examples/pmr '*) expect pmr "$pmr_says" ;;
*) echo "no C++17 with <memory_resource>: examples/pmr.cc was left out" ;;
esac

# from Python; a sanitizer's library cannot be loaded into it
case " $TEST_CFLAGS $CORE_LDFLAGS " in *-fsanitize*) python= ;; *) python=$(command -v python3) ;; esac
if [ -n "$python" ] && [ -f .libs/libcore.so.0 ]; then
	python3 "$abs_top_srcdir/examples/ffi.py" .libs/libcore.so.0 >"$out" 2>&1 || { echo "ffi.py failed with $?"; status=1; }
	[ "$(cat "$out")" = 'Norway
caught: HashTable_clear: the table is NULL
cleared
live arenas: 0' ] || { echo "ffi.py printed:"; cat "$out"; status=1; }
else
	echo "ffi.py: not tested, there is no python3, no shared library, or it has sanitizers"
fi

# wf against a count made by other means
text=$abs_top_srcdir/README.md
LC_ALL=C tr 'A-Z' 'a-z' <"$text" | LC_ALL=C tr -cs 'a-z' '\n' | grep . | LC_ALL=C sort | uniq -c |
	LC_ALL=C sort -k1,1nr -k2,2 | awk '{ printf "%7d %s\n", $1, $2 }' >"$out"
./examples/wf "$text" | diff - "$out" || { echo "wf counts differently"; status=1; }
[ "$(./examples/wf -n 3 <"$text" | wc -l)" -eq 3 ] || { echo "wf -n 3 does not print 3 lines"; status=1; }
./examples/wf /nonexistent/file >"$out" 2>&1 && { echo "wf found a file that is not there"; status=1; }
grep -q '/nonexistent/file: No such file' "$out" || { echo "wf does not name the file: $(cat "$out")"; status=1; }
exit $status
