#!/bin/sh
# SPDX-License-Identifier: MIT
# gdb prints an arena, a hash table and an exception as the library itself knows them.
command -v gdb >/dev/null || { echo "gdb is not installed"; exit 77; }
[ "$(gdb -nx -batch -ex 'python print(6 * 7)' 2>/dev/null)" = 42 ] ||
	{ echo "gdb has no Python"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$top_builddir" || exit 1
ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-} # LeakSanitizer cannot run under a debugger
export ASAN_OPTIONS

print() { ./libtool --mode=execute gdb -nx -batch -ex 'set width 0' "$@" ./src/test/gdb_program >"$work/out" 2>&1 </dev/null; }

print -ex 'break stop_here' -ex run -ex 'print sizeof(struct Arena)'
grep -q '^Breakpoint 1, ' "$work/out" ||
	{ echo "gdb cannot run programs here:"; cat "$work/out"; exit 77; }
grep -q '^\$1 = ' "$work/out" ||
	{ echo "libcore was built without debugging information"; exit 77; }

print -ex 'set print frame-arguments none' -ex 'break stop_here' -ex run \
	-ex "source $abs_top_srcdir/gdb/libcore-gdb.py" \
	-ex 'print requests' -ex 'print *requests' -ex 'print none' -ex 'print words' \
		-ex 'print no_words' -ex 'print squares' \
	-ex 'print broken' -ex 'print Assert_Failed' -ex 'print handler' \
	-ex 'set variable requests->magic = 0xDEADA12A' -ex 'print requests'
status=0
has() { grep -Eq -- "$1" "$work/out" || { echo "gdb does not print: $1"; status=1; }; }

used=$(sed -n 's/^then \(.*\)/\1/p' "$work/out")
held=$(sed -n 's/.*, \([0-9]* bytes held\),.*/\1/p' "$work/out" | head -1)
set -- $(sed -n 's/^values //p' "$work/out")
[ -n "$used" ] && [ -n "$held" ] && [ $# -eq 3 ] ||
	{ echo "gdb_program has not said what to expect"; status=1; }
has "^.1 = Arena \"requests\", made at .*gdb_program\.c:[0-9]+, $used, $held, ${used% used} at the peak, [0-9]+ chunks, 1 child arena, (no owner|owned by this thread) = \{"
has '^.1 = .* = \{at = 0x[0-9a-f]+, chunk 0 = 0x[0-9a-f]+ to 0x[0-9a-f]+, [0-9]+ bytes.*, current, .*child 0 = 0x[0-9a-f]+ "arena"'
has "^.2 = Arena \"requests\", made at .*, $used, $held, "
has '^.3 = \(?.*0x0$'
has "^.4 = HashTable of STRING, 2 entries = \{.*\[0x[0-9a-f]+ \"one\"\] = $1"
has "^.4 = .*\[0x[0-9a-f]+ \"two\"\] = $2"
has '^.5 = HashTable of STRING, 0 entries'
has "^.6 = HashTable of INTEGER, 1 entry = \{\[144\] = $3"
has '^.7 = Except_T "broken", a kind of "arena allocation failed"$'
has '^.8 = Except_T "assertion failed"$'
has '^.9 = Except_Frame, handling Except_T "broken", a kind of "arena allocation failed" from .*gdb_program\.c:[0-9]+: "a spoke of 32 is broken"$'
has '^.10 = Arena 0x[0-9a-f]+, disposed of$'
[ $status -eq 0 ] || { cat "$work/out"; exit $status; }

# A library without debugging information: an arena is a pointer, and nothing goes wrong.
if [ -f .libs/libcore.so ] && strip -g -o "$work/libcore.so.0" .libs/libcore.so; then
	LD_LIBRARY_PATH=$work gdb -nx -batch -ex 'break stop_here' -ex run \
		-ex "source $abs_top_srcdir/gdb/libcore-gdb.py" \
		-ex 'print requests' -ex 'print words' -ex 'print broken' src/test/.libs/gdb_program \
			>"$work/out" 2>&1 </dev/null
	has '^.1 = \(Arena_T\) 0x[0-9a-f]+$'
	has '^.2 = \(HashTable_T\) 0x[0-9a-f]+$'
	has '^.3 = Except_T "broken", a kind of "arena allocation failed"$'
	[ $status -eq 0 ] || cat "$work/out"
fi
exit $status
