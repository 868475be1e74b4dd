#!/bin/sh
# SPDX-License-Identifier: MIT
# Each public header compiles alone, in each language version, without a warning.
flags='-Wall -Wextra -Wshadow -pedantic -Werror -fsyntax-only'
include=${top_srcdir:-.}/include
status=0

compile() { # compiler, standard, language, header
	printf '#include <core/%s>\nint main(void) { return 0; }\n' "$4" |
		$1 -std="$2" $flags -I"$include" -x "$3" - ||
		{ echo "core/$4 does not compile as $2 with $1"; status=1; }
}

for path in "$include"/core/*.h; do
	header=${path##*/}
	case $header in ExceptMacros.h | ArenaInline.h) continue ;; esac # parts of Except.h and Arena.h
	compile "${CC:-cc} -DCORE_NO_INLINE" c11 c "$header"
	for standard in c11 c17 c2x; do
		compile "${CC:-cc}" $standard c "$header"
	done
	if command -v "${CXX%% *}" >/dev/null 2>&1; then
		compile "$CXX" c++17 c++ "$header"
	fi
done
exit $status
