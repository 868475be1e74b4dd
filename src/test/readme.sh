#!/bin/sh
# SPDX-License-Identifier: MIT
# The README's program is examples/hello.c, and what it says the program prints is what it prints.
cd "${top_srcdir:-.}" || exit 1
block() { awk -v n="$1" '/^```/ { inside = !inside; count += inside; next } inside && count == n' README.md; }
status=0
block 1 | diff - examples/hello.c | grep '^<' && { echo "README.md's program differs from examples/hello.c"; status=1; }
said=$(block 2)
printed=$("${top_builddir:-.}/examples/hello")
[ "$said" = "$printed" ] || { echo "hello prints:"; echo "$printed"; echo "the README says:"; echo "$said"; status=1; }
exit $status
