#!/bin/sh
# SPDX-License-Identifier: MIT
# The README is right: its program is examples/hello.c, prints what it says, and is compiled against an installed copy as it says, by
# pkg-config and by CMake (`make distcheck` runs this in what a tarball unpacks to). Its commands are those that docs/trial.md
# replays on a clean system; what it links to is there; it is at most 150 lines.
set -u
: "${abs_top_srcdir:=$PWD}"
. "$abs_top_srcdir/src/test/stage.sh"
cd "$work" || exit 99
readme=$abs_top_srcdir/README.md
trial=$abs_top_srcdir/docs/trial.md
status=0
fail() { echo "README.md: $*"; status=1; }
block() { awk -v n="$1" '/^```/ { inside = !inside; count += inside; next } inside && count == n' "$readme"; } # the n-th
blocks() { awk -v kind="$1" '/^```/ { inside = $0 == "```" kind; next } inside' "$2"; } # all of a kind

[ "$(wc -l <"$readme")" -le 150 ] || fail "it has more than 150 lines"
block 1 >hello.c
diff hello.c "$abs_top_srcdir/examples/hello.c" | grep '^<' && fail "its program differs from examples/hello.c"
block 2 >said
prints() { # program
	"$1" >printed 2>&1
	diff said printed || fail "$1 prints (>) and not (<), as above"
}

link=$(blocks console "$readme" | sed -n 's/^\$ \(cc .*\)/\1/p')
[ -f "$PKG_CONFIG_PATH/../libcore.so" ] || link="$link $(pkg-config --libs --static libcore)"
eval "$link" && prints ./hello || fail "$link fails"
if command -v cmake >/dev/null; then
	blocks cmake "$readme" >CMakeLists.txt
	CC=$work/bin/cc cmake -S . -B with-cmake -DCMAKE_PREFIX_PATH="$(dirname "$(find "$stage" -name include -type d)")" >cmake.log 2>&1 &&
		cmake --build with-cmake >>cmake.log 2>&1 && prints with-cmake/hello || { cat cmake.log; fail "CMake fails"; }
else
	echo "cmake is not installed: that way was not tried"
fi

version=$(sed -n 's/^Version: //p' "$PKG_CONFIG_PATH/libcore.pc")
grep -q "^\\$ tar xf libcore-$version.tar.xz && cd libcore-$version$" "$readme" || fail "its tarball is not that of version $version"
blocks console "$trial" >replayed
for page in "$readme" "$abs_top_srcdir/docs/tutorial.md"; do
	{ blocks console "$page" | grep -v '^\$ \(\./\|cc -Wall\|curl\|kill\|echo\|CORE_\)' | grep '^\$ '; blocks '' "$page" | sed -n 's/^cp /$ &/p'; } >commands
	[ -s commands ] || fail "no commands in $page"
	while IFS= read -r command; do
		grep -Fqx -- "$command" replayed || fail "docs/trial.md does not replay: $command"
	done <commands
done
for target in $(grep -o ']([^)#:]*[)#]' "$readme" | sed 's/^](//; s/[)#]$//'); do
	[ -e "$abs_top_srcdir/$target" ] || fail "there is no $target"
done
exit $status
