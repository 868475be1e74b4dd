#!/bin/sh
# SPDX-License-Identifier: MIT
# The README's program is examples/hello.c, and what it says the program prints is what it prints.
cd "${top_srcdir:-.}" || exit 1
block() { awk -v n="$1" '/^```/ { inside = !inside; count += inside; next } inside && count == n' README.md; }
status=0
block 1 | diff - examples/hello.c | grep '^<' && { echo "README.md's program differs from examples/hello.c"; status=1; }
"${top_builddir:-.}/examples/hello" | { block 2 | diff - /dev/fd/3; } 3<&0 || { echo "hello prints something else"; status=1; }
exit $status
