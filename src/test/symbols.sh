#!/bin/sh
# SPDX-License-Identifier: MIT
# The static library has each object under a name of its own, though several files are called
# text.c; the shared library exports the names of its interfaces and no others.
static=${top_builddir:-.}/.libs/libcore.a
if [ -f "$static" ]; then
	twice=$(${AR:-ar} t "$static" | sort | uniq -d)
	[ -z "$twice" ] || { echo "twice in the static library: $twice"; exit 1; }
	objects=$(${AR:-ar} t "$static" | grep -c '\.o$')
	sources=$(cd "${top_srcdir:-.}" && ls src/core/*.c src/core/*/*.c src/net/*.c src/net/*/*.c |
		wc -l)
	[ "$objects" -eq "$sources" ] ||
		{ echo "$sources sources, and $objects objects in the static library"; exit 1; }
fi
library=${top_builddir:-.}/.libs/libcore.so
[ -f "$library" ] || { echo "no shared library here"; exit 77; }
names=$(${NM:-nm} -D --defined-only "$library" | sed 's/.* //; s/@.*//')
[ -n "$names" ] || { echo "nm shows no names in $library"; exit 1; }
strange=$(echo "$names" | grep -Ev '^(Except|Arena|HashTable|Socket|SocketPoll|SocketPool|Connection|HTTP|HTTPCall|HTTPRequest|HTTPResponse|HTTPServer)_|^Assert_Failed$|^LIBCORE_|^_(init|fini|edata|end)$|^__(bss_start|asan|odr_asan|sanitizer|gcov)|^__odr_asan|^__emutls_v\.Arena__')
[ -z "$strange" ] || { echo "exported, but not ours to export: $strange"; exit 1; }
# what is installed says nothing of where it was built; debugging information may
case $TEST_CFLAGS in *-fsanitize=* | *--coverage*) ;; *)
	bare=$(mktemp) && strip -o "$bare" "$library" || exit 1
	paths=$(grep -aoE "(\.\./)+[a-z]+/|${abs_top_srcdir:-/no/such/tree}[a-z/]*" "$bare" | sort -u)
	rm -f "$bare"
	[ -z "$paths" ] || { echo "places of the build in the library: $paths"; exit 1; } ;;
esac
# and every function that a header declares is there
status=0
for name in $(sed -n 's/^CORE_API [^(;]*[ *]\([A-Z][A-Za-z]*_[A-Za-z_0-9]*\)(.*/\1/p' \
	"${top_srcdir:-.}"/include/core/*.h); do
	echo "$names" | grep -qx "$name" || { echo "declared and not exported: $name"; status=1; }
done
exit $status
