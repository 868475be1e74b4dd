#!/bin/sh
# SPDX-License-Identifier: MIT
# CORE_ARENA_DEBUG: what it finds, without a rebuilt library or program; and what Valgrind finds
# without it.
case $TEST_CFLAGS in *-fsanitize=*address*) echo "ASan finds these itself; test_arena expects it to"; exit 77 ;; esac
top=$(cd "${top_srcdir:-.}" && pwd)
cd "${top_builddir:-.}" || exit 1
program=src/test/arena_misuse
status=0

bad() {
	echo "$1: $2, and said:"
	echo "$said"
	status=1
}

# mode, misuse, the least exit status, what must be said (a basic regular expression)
expect() {
	said=$(CORE_ARENA_DEBUG=$1 ./$program "$2" 2>&1)
	got=$?
	[ $got -ge "$3" ] || bad "$1 $2" "ended with $got"
	echo "$said" | grep -q "$4" || bad "$1 $2" "did not say \"$4\""
}

made='ledger 0x[0-9a-f]* made at .*arena_misuse.c:[0-9]*'
block='96 bytes at 0x[0-9a-f]*, allocated at .*arena_misuse.c:[0-9]*,'
expect fill after_clear         128 "$made: memory was written after it was released"
expect fill after_rewind        128 "$made: memory was written after it was released"
expect fill past_the_end        128 "$made: $block were written past their end"
expect fill past_the_end_clear  128 "$made: $block were written past their end"
expect fill past_the_end_rewind 128 "$made: $block were written past their end"
expect fill past_an_odd_end     128 "$made: 90 bytes .* were written past their end"
expect fill before_the_start    128 "$made: $block were written before their start"
expect fill wrong_size          128 "$made: 100 bytes .* are said to be of another size in Arena_realloc"
expect fill fresh               0   '^CDCD$'
expect fill leak                0   'not disposed of at exit: 2 live arenas'

expect leaks leak               0   "not disposed of at exit: 2 live arenas"
expect leaks leak               0   "^  $made: 0 used"
expect leaks leak               0   '^    arena 0x[0-9a-f]* made at .*arena_misuse.c'
expect leaks past_the_end       0   '^$'

# a write where no page is ends the program on the spot: by SIGSEGV, or as ThreadSanitizer ends it
expect guard after_clear        66 ''
expect guard after_rewind       66 ''
expect guard after_dispose      66 ''
expect guard past_the_end       66 ''
expect guard past_an_odd_end    128 "$made: 90 bytes .* were written past their end"
expect guard before_the_start   128 "$made: $block were written before their start"
expect guard fresh              0   '^CDCD$'
expect gaurd fresh              0   'CORE_ARENA_DEBUG takes leaks, fill, guard, profile and profile:folded, not "gaurd"'

# ---- the heap profile: exact figures, a row for each lifetime and site ----
line_of() { grep -n "/\* $1 \*/" "$top/src/test/arena_misuse.c" | cut -d: -f1; }
row() { # now, ever, calls, arena, what the source says there, mode
	expect "${6:-profile}" profile 0 "^ *$1  *$2  *$3  $4  *.*arena_misuse.c:$(line_of "$5")\$"
}
row 1000 1000 10 ledger kept
row 0    1000 10 ledger kept # after the clear, at exit
row 0    70   1  ledger rewound
row 42   42   1  ledger 'after the rewind'
row 450  500  1  rest   'grown, then shrunk'
row 0    11   1  ledger 'after the clear'
row 0    5000 1  ledger 'in the child'
row 0    70   1  ledger rewound fill,profile
row 1000 1000 10 ledger kept profile:folded
expect profile profile 0 '^ *6000  *6000  *2000  rest  *.*arena_misuse.c:[0-9]*$' # two threads
expect profile profile 0 '^ *5  *5  *1  rest  *.*arena_misuse+0x[0-9a-f]*$'
expect profile profile 0 '^ *bytes now  *bytes ever  *calls  arena  *site$'
# a compiler that unrolls the loop makes several stacks of it
expect profile:folded profile 0 "^ledger;.*arena_misuse.c:$(line_of kept) 10*\$"
kept=$(CORE_ARENA_DEBUG=profile:folded ./$program profile 2>/dev/null |
	awk -v site="arena_misuse.c:$(line_of kept)" \
		'/^ledger;/ && index($0, site " ") { n += $NF } END { print n }')
[ "$kept" = 1000 ] || { echo "the stacks have $kept bytes, not 1000"; status=1; }
expect profile:folded profile 0 '^rest;.*;.* 5$'
said=$(CORE_ARENA_DEBUG=profile ./$program profile 2>&1)
echo "$said" | grep -q '^ledger;' && bad "profile profile" "has folded stacks"
expect fill profile 0 'CORE_ARENA_DEBUG=profile was not set when the program began'

expect fill    handler 128 "was used by a signal handler amid another call of its thread"
expect profile handler 128 "was used by a signal handler amid another call of its thread"

for what in after_clear past_the_end leak; do # and without the mode nothing is said or stopped
	said=$(./$program $what 2>&1) && [ -z "$said" ] || bad "no mode, $what" "was stopped"
done

case $TEST_CFLAGS in *-fsanitize=*) exit $status ;; esac
if ! command -v valgrind >/dev/null || ! grep -q 'HAVE_VALGRIND_MEMCHECK_H 1' config.h; then
	exit $status
fi
under_valgrind() { ./libtool --mode=execute valgrind -q --error-exitcode=99 $program "$1" 2>&1; }
if under_valgrind fresh | grep -q 'unhandled'; then # an old one, and debug information of a new compiler
	echo "valgrind does not understand the program"
	exit $status
fi
for what in after_clear after_rewind after_dispose past_the_end past_an_odd_end before_the_start; do
	said=$(under_valgrind $what)
	[ $? -eq 99 ] || bad "valgrind $what" "was not reported"
	echo "$said" | grep -q 'Invalid write of size 1' || bad "valgrind $what" "was no invalid write"
done
exit $status
