#!/bin/sh
# SPDX-License-Identifier: MIT
# The instructions that small workloads take (src/test/instructions.c), as callgrind counts them,
# are at most a tenth more than in src/test/instructions.txt. `make update-instructions`
# (instructions.sh -u) writes that file anew: deliberately.
#
# The library is compiled here with -DNVALGRIND, or it would notice Valgrind and close its arenas
# (src/core/base/poison.h); so what is counted is what programs run. Counts belong to a compiler,
# its flags and a processor's kind; those of sanitizers are flags too, warnings are not.
flags=$(echo "${CC#"${CC%% *}"} $TEST_CFLAGS" | tr -s ' ' '\n' | grep -v '^-W\|^-pedantic\|^$' |
	tr '\n' ' ')
build="$(${CC:-cc} --version | sed 1q), $(uname -m), $flags"
build=${build% }
top=$(cd "${top_srcdir:-.}" && pwd)
baseline=$top/src/test/instructions.txt
command -v valgrind >/dev/null || { echo "valgrind is not installed"; exit 77; }
grep -q 'HAVE_VALGRIND_MEMCHECK_H 1' "${top_builddir:-.}/config.h" ||
	{ echo "valgrind's headers are not installed"; exit 77; }
if [ "$1" != -u ] && [ "$(sed -n 's/^# build: //p' "$baseline")" != "$build" ]; then
	echo "this build:    $build"
	echo "the baseline's: $(sed -n 's/^# build: //p' "$baseline")"
	exit 77
fi
if grep -q 'CORE_DEBUG 1' "${top_builddir:-.}/config.h"; then echo "--enable-debug"; exit 77; fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
include="-DHAVE_CONFIG_H -I${top_builddir:-.} -I$top/include -I$top/src/core -I$top/src/net"

# shellcheck disable=SC2086
{ ${CC:-cc} $include -w $TEST_CFLAGS -fexceptions -c -o "$work/instructions.o" "$top/src/test/instructions.c" &&
	for source in "$top"/src/core/*.c "$top"/src/core/*/*.c "$top"/src/net/*.c \
		"$top"/src/net/*/*.c; do
		object=$(echo "${source#"$top"/src/}" | tr / -)
		${CC:-cc} -DNVALGRIND $include -w $TEST_CFLAGS \
			-fvisibility=hidden -fexceptions -c -o "$work/$object.o" "$source" ||
			exit 1
	done &&
	${CC:-cc} $TEST_CFLAGS -o "$work/instructions" "$work"/*.o -pthread; } || exit 1

cd "$work" || exit 1
CORE_ARENA_DEBUG='' valgrind --tool=callgrind --collect-atstart=no --callgrind-out-file=out ./instructions >log 2>&1 ||
	{ cat log; exit 1; }
for file in $(ls out.* | sort -t. -k2n); do
	awk '/^desc: Trigger: Client Request:/ { name = $NF } /^(summary|totals):/ { n = $2 } END { print name, n }' "$file"
done >counted

if [ "$1" = -u ]; then
	{
		echo "# Instructions of the workloads of src/test/instructions.c, 1000 rounds each. Written by make update-instructions."
		echo "# build: $build"
		cat counted
	} >"$baseline"
	exit
fi
awk -v tolerance=10 '
	FNR == NR { if (!/^#/) was[$1] = $2; next }
	!($1 in was) { print $1 ": not in the baseline"; bad = 1; next }
	{
		change = 100 * ($2 - was[$1]) / was[$1]
		if (change > tolerance) { printf "%s: %d instructions, %.1f %% more than %d\n", $1, $2, change, was[$1]; bad = 1 }
		else if (change < -tolerance) printf "%s: %d instructions, %.1f %% fewer than %d: make update-instructions\n", $1, $2, -change, was[$1]
		delete was[$1]
	}
	END { for (name in was) { print name ": not counted"; bad = 1 } exit bad }' "$baseline" counted
