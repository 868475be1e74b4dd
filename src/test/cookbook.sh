#!/bin/sh
# SPDX-License-Identifier: MIT
# The programs of docs/cookbook.md, taken out of the text: each compiles without a warning, and
# prints what the console block behind it says. A command there that sets CORE_ARENA_DEBUG is left
# out where a sanitizer finds the error first, and one "# with --enable-debug" runs in such a build
# only. Addresses are compared as 0x... `cookbook.sh --write` puts what the programs print into the
# text instead of comparing.
set -u
. "$(dirname "$0")/needs.sh"
need loopback
text=${abs_top_srcdir:-$PWD}/docs/cookbook.md
libs=${top_builddir:-$PWD}/.libs
CFLAGS="-Wall -Wextra -Werror -pedantic -fexceptions -I${abs_top_srcdir:-$PWD}/include ${TEST_CFLAGS:-}"
LIBS="-L$libs -Wl,-rpath,$libs ${CORE_LDFLAGS:-} -lcore -pthread"
debug=$(grep -c '^#define CORE_DEBUG 1' "${top_builddir:-$PWD}/config.h")
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
status=0
ulimit -c 0
cd "$work" || exit 99

# N.c and its N.console; programs without a console block are of no use
awk '
	/^```c$/       { out = ++n ".c"; next }
	/^```console$/ { out = n ".console"; next }
	/^```/         { out = ""; next }
	out            { print > out }
' "$text"

applies() { # command
	case $1 in
	*CORE_ARENA_DEBUG=*) case ${TEST_CFLAGS:-} in *-fsanitize=*) return 1 ;; esac ;;
	*'# with --enable-debug') [ "$debug" -eq 1 ] ;;
	esac
}

# What the commands of a console block print, with the commands; what is not run is copied from the
# text.
play() { # console block
	run=1
	while IFS= read -r line; do
		case $line in
		'$ '*)
			run=0
			printf '%s\n' "$line"
			applies "${line#??}" || { run=1; continue; }
			sh -c "${line#??}" >out 2>&1
			# shells report a signal in different words
			sed '/^Aborted/d; /^Segmentation fault/d; s/0x[0-9a-f][0-9a-f]*/0x.../g' out ;;
		*) [ $run -eq 0 ] || printf '%s\n' "$line" ;;
		esac
	done <"$1"
}

programs=0
for source in $(ls ./*.c | sort -t/ -k2n); do
	console=${source%.c}.console
	name=$(sed -n 's|^\$ .*\./\([a-z]*\).*|\1|p' "$console" | head -1)
	mv "$source" "$name.c"
	# shellcheck disable=SC2086
	${CC:-cc} $CFLAGS "$name.c" -o "$name" $LIBS ||
		{ echo "$name of the cookbook does not compile"; status=1; continue; }
	play "$console" >"$console.new"
	programs=$((programs + 1))
	[ "${1:-}" = --write ] || diff "$console" "$console.new" >diff ||
		{ echo "$name of the cookbook prints (>) and not (<):"; cat diff; status=1; }
done
[ "$programs" -ge 10 ] || { echo "only $programs programs in $text"; status=1; }
if [ "${1:-}" = --write ] && [ $status -eq 0 ]; then
	awk '
		/^```c$/       { n++ }
		/^```$/        { skip = 0 }
		!skip          { print }
		/^```console$/ { skip = 1; file = n ".console.new"; while ((getline line < file) > 0) print line; close(file) }
	' "$text" >new && cat new >"$text"
fi
exit $status
