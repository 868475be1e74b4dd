#!/bin/sh
# SPDX-License-Identifier: MIT
# The shared library exports the names of its interfaces and no others.
library=${top_builddir:-.}/.libs/libcore.so
[ -f "$library" ] || { echo "no shared library here"; exit 77; }
names=$(${NM:-nm} -D --defined-only "$library" | sed 's/.* //; s/@.*//')
[ -n "$names" ] || { echo "nm shows no names in $library"; exit 1; }
strange=$(echo "$names" | grep -Ev '^(Except|Arena|HashTable|Socket|SocketPoll|SocketPool|Connection|HTTP|HTTPRequest|HTTPResponse|HTTPServer)_|^Assert_Failed$|^LIBCORE_|^_(init|fini|edata|end)$|^__(bss_start|asan|odr_asan|sanitizer|gcov)|^__odr_asan|^__emutls_v\.Arena__')
[ -z "$strange" ] || { echo "exported, but not ours to export: $strange"; exit 1; }
# and every function that a header declares is there
status=0
for name in $(sed -n 's/^CORE_API [^(;]*[ *]\([A-Z][A-Za-z]*_[A-Za-z_0-9]*\)(.*/\1/p' "${top_srcdir:-.}"/include/core/*.h); do
	echo "$names" | grep -qx "$name" || { echo "declared and not exported: $name"; status=1; }
done
exit $status
