#!/bin/sh
# SPDX-License-Identifier: MIT
# The README is right: its program is examples/hello.c, prints what it says, and is compiled
# against an installed copy as it says, by pkg-config and by CMake (`make distcheck` runs this in
# what a tarball unpacks to). Its commands are those that docs/trial.md replays on a clean system;
# it is at most 150 lines. What it and the other pages link to is there, once installed, too.
set -u
: "${abs_top_srcdir:=$PWD}"
. "$abs_top_srcdir/src/test/needs.sh"
need loopback # its program is refused there
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
diff hello.c "$abs_top_srcdir/examples/hello.c" | grep '^<' &&
	fail "its program differs from examples/hello.c"
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
	prefix=$(dirname "$(find "$stage" -name include -type d)")
	CC=$work/bin/cc cmake -S . -B with-cmake -DCMAKE_PREFIX_PATH="$prefix" >cmake.log 2>&1 &&
		cmake --build with-cmake >>cmake.log 2>&1 && prints with-cmake/hello ||
			{ cat cmake.log; fail "CMake fails"; }
else
	echo "cmake is not installed: that way was not tried"
fi

version=$(sed -n 's/^Version: //p' "$PKG_CONFIG_PATH/libcore.pc")
grep -q "^\\$ tar xf libcore-$version.tar.xz && cd libcore-$version$" "$readme" ||
	fail "its tarball is not that of version $version"
blocks console "$trial" >replayed
for page in "$readme" "$abs_top_srcdir/docs/tutorial.md"; do
	{
		blocks console "$page" | grep '^\$ ' |
			grep -v '^\$ \(\./\|cc -Wall\|curl\|kill\|echo\|CORE_\)'
		blocks '' "$page" | sed -n 's/^cp /$ &/p'
	} >commands
	[ -s commands ] || fail "no commands in $page"
	while IFS= read -r command; do
		grep -Fqx -- "$command" replayed || fail "docs/trial.md does not replay: $command"
	done <commands
done
# Every link of every page leads to a file, and to a heading of it, in the source and where it is
# installed.
links() { sed '/^```/,/^```/d; s/`[^`]*`//g' "$1" | grep -o '](\([^) ]*\))' |
	sed 's/^](//; s/)$//' | grep -v '^[a-z]*:'; }
headings() { sed '/^```/,/^```/d' "$1" | sed -n 's/^##* //p' | tr 'A-Z ' 'a-z-' |
	sed 's/[^a-z0-9_-]//g'; }
check_links() { # folder, its pages
	folder=$1 found=0
	shift
	for page in "$@"; do
		for link in $(links "$folder/$page"); do
			target=$folder/$page
			[ "${link%%#*}" = "" ] || target=$(dirname "$target")/${link%%#*}
			found=$((found + 1))
			[ -e "$target" ] || { echo "$folder/$page: there is no $link"; status=1; continue; }
			case $link in *#*)
				headings "$target" | grep -qx -- "${link#*#}" ||
					{ echo "$page: $link has no such heading"; status=1; } ;;
			esac
		done
	done
	[ $found -ge 60 ] || { echo "only $found links in the pages of $folder"; status=1; }
}
pages() { (cd "$1" && ls *.md docs/*.md bench/*.md); }
check_links "$abs_top_srcdir" $(pages "$abs_top_srcdir")
installed=$(dirname "$(find "$stage" -name SECURITY.md)")
check_links "$installed" $(pages "$installed")
# make help names each target that is no file
(unset MAKEFLAGS MFLAGS MAKELEVEL; cd "$top_builddir" && make -s help) >help ||
	fail "make help fails"
for target in $(sed -n '/^\.PHONY:/,$p' "$abs_top_srcdir/Makefile.am" | sed 's/^\.PHONY://' |
	tr -d '\\'); do
	[ "$target" = help ] || grep -q "\\(^\\|[ ,]\\)$target\\([ ,]\\|\$\\)" help ||
		fail "make help does not name $target"
done
# The scripts say with --help what they do, and do nothing with an argument that they do not know.
for script in "$abs_top_srcdir"/scripts/*; do
	name=scripts/${script##*/}
	sh "$script" --help >help && [ "# $(head -n 1 help)" = "$(sed -n 3p "$script")" ] ||
		fail "$name --help does not print its head"
	[ "$name" = scripts/setup ] && continue # the others source it
	sh "$script" --no-such >out 2>&1
	[ $? -eq 2 ] && grep -q 'no such\|no arguments' out ||
		{ cat out; fail "$name --no-such does not end with 2"; }
done
exit $status
