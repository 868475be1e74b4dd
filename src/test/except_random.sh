#!/bin/sh
# SPDX-License-Identifier: MIT
# Random programs against Except (see except_program.py): compiles them, runs them, compares.
#
# Without EXCEPT_RUNS: one seed, by $CC at -O0 and -O2, a few seconds, for "make check".
# EXCEPT_RUNS=n: n seeds, each by gcc and clang with every set of flags below. A set that a
# compiler does not know is left out.
#
# Environment, with what holds when it is unset:
#   CC             cc
#   CORE_CFLAGS    -I<top of the source tree>/include $TEST_CFLAGS
#   CORE_LIBS      -L<libs> -Wl,-rpath,<libs> -lcore $CORE_LDFLAGS, where libs is .libs in $top_builddir
#                  (the working directory); may be source files
#   EXCEPT_SEED    the first seed, 1
#   EXCEPT_COUNT   programs for each seed, 20
#   PYTHON         python3
set -u
here=$(cd "$(dirname "$0")" && pwd)
CC=${CC:-cc}
libs=${top_builddir:-$PWD}/.libs
CORE_CFLAGS=${CORE_CFLAGS:--I$here/../../include ${TEST_CFLAGS:-}}
CORE_LIBS=${CORE_LIBS:--L$libs -Wl,-rpath,$libs -lcore ${CORE_LDFLAGS:-}}
PYTHON=${PYTHON:-python3}
first=${EXCEPT_SEED:-1}
count=${EXCEPT_COUNT:-20}

command -v "$PYTHON" >/dev/null 2>&1 || { echo "no $PYTHON: skipped"; exit 77; }
# shellcheck disable=SC2086
command -v ${CC%% *} >/dev/null 2>&1 || { echo "no $CC: skipped"; exit 77; }
case $CORE_CFLAGS in
*-fsanitize=*thread*) export EXCEPT_VLA=0 ;; # see except_program.py
esac
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
failed=0 programs=0

# known COMPILER FLAGS
known()
{
	echo 'int main(void) { return 0; }' > "$dir/known.c"
	# shellcheck disable=SC2086
	$1 -Werror $2 "$dir/known.c" -o "$dir/known" 2>/dev/null
}

# try SEED COMPILER FLAGS
try()
{
	# shellcheck disable=SC2086
	if ! $2 -std=gnu11 -w -fexceptions $CORE_CFLAGS $3 "$dir/prog$1.c" $CORE_LIBS \
		-pthread -o "$dir/prog" \
			> "$dir/log" 2>&1; then
		echo "FAIL: $2 $3 does not compile seed $1"
	elif ! "$dir/prog" < /dev/null > "$dir/log" 2>&1; then
		echo "FAIL: seed $1, $count programs, $2 $3"
	else
		programs=$((programs + count))
		return
	fi
	failed=1
	head -c 3000 "$dir/log"
}

long()
{
	for compiler in gcc clang; do
		command -v $compiler >/dev/null 2>&1 || continue
		while read -r flags; do
			known $compiler "$flags" && try "$1" $compiler "$flags"
		done <<-END
			-O0
			-O1
			-O2
			-O3
			-Os
			-O2 -flto
			-O2 -fPIC
			-O2 -fstack-protector-strong
			-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
			-O2 -fcf-protection
			-O0 -g -fsanitize=address,undefined
			-O1 -g -fsanitize=address,undefined
			-O2 -fsanitize=address,undefined
		END
	done
}

seed=$first
last=$((first + ${EXCEPT_RUNS:-1} - 1))
while [ "$seed" -le "$last" ]; do
	"$PYTHON" "$here/except_program.py" "$seed" "$count" > "$dir/prog$seed.c" || exit 99
	if [ -n "${EXCEPT_RUNS:-}" ]; then
		long "$seed"
		echo "seed $seed: $programs program runs so far"
	else
		try "$seed" "$CC" -O0
		try "$seed" "$CC" -O2
	fi
	rm -f "$dir/prog$seed.c"
	seed=$((seed + 1))
done
echo "$programs program runs as foretold"
exit $failed
