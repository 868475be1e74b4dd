#!/bin/sh
# SPDX-License-Identifier: MIT
# The exported names and types are those of src/test/abi.xml, or more. A program that was compiled
# with the inline code of src/test/abi-inline.h, as ArenaInline.h was then, runs with today's
# library. `make update-abi` (abi.sh -u) writes both anew. Do so on purpose, with -version-info.
top=$(cd "${top_srcdir:-.}" && pwd)
cd "${top_builddir:-.}" || exit 1
xml=$top/src/test/abi.xml inline=$top/src/test/abi-inline.h
library=.libs/libcore.so
[ -f $library ] || { echo "no shared library here"; exit 77; }
case $TEST_CFLAGS in *-fsanitize=* | *--coverage*) echo "not the library that is installed"; exit 77 ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

describe() { # where to
	abidw --headers-dir "$top/include" --drop-private-types --exported-interfaces-only \
		--no-comp-dir-path --no-corpus-path --no-show-locs --out-file "$1" $library
}

if [ "$1" = -u ]; then
	command -v abidw >/dev/null || { echo "abidw is not installed"; exit 1; }
	describe "$xml" && cp "$top/include/core/ArenaInline.h" "$inline"
	exit
fi
status=0

# The old inline code, the headers of today: in place of their ArenaInline.h.
mkdir -p "$work/include/core"
cp "$top"/include/core/*.h "$work/include/core" &&
	cp "$inline" "$work/include/core/ArenaInline.h" || exit 1
${CC:-cc} $TEST_CFLAGS -fexceptions -I"$work/include" -o "$work/old" "$top/src/test/abi_program.c" \
	-L.libs $CORE_LDFLAGS -lcore -pthread &&
	LD_LIBRARY_PATH=$PWD/.libs "$work/old" || { echo "the inline code of the baseline does not work with this library"; status=1; }

command -v abidw >/dev/null || { echo "abigail-tools is not installed: only the inline code was tried"; exit $status; }
[ "$(uname -m), $CC" = "x86_64, gcc" ] || { echo "another compiler describes types in another way"; exit $status; }
# without debug information there are no types to compare
readelf -S $library | grep -q '\.debug_info' || { echo "no debug information"; exit $status; }
describe "$work/now.xml" || exit 1
abidiff --no-added-syms "$xml" "$work/now.xml" || { echo "the ABI is not that of src/test/abi.xml"; status=1; }
exit $status
