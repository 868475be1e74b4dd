#!/bin/sh
# SPDX-License-Identifier: MIT
# Every function that a header declares is in its manual page, and mandoc finds nothing to say.
cd "${top_srcdir:-.}" || exit 1
status=0
for header in include/core/[A-Z]*.h; do
	module=${header##*/}; module=${module%.h}
	case $module in ExceptMacros | ArenaInline) continue ;; esac # parts of Except.h and Arena.h
	[ -f "man/$module.3" ] || { echo "man/$module.3 is missing"; status=1; continue; }
	for name in $(sed -n 's/^CORE_API [^(;]*[ *]\([A-Z][A-Za-z]*_[A-Za-z0-9][A-Za-z_0-9]*\)(.*/\1/p' "$header" | grep -v __); do
		grep -q "$name" "man/$module.3" || { echo "man/$module.3 does not tell of $name"; status=1; }
	done
done
if command -v mandoc >/dev/null 2>&1; then
	mandoc -T lint -W warning man/*.3 || status=1
else
	echo "mandoc is not installed: the pages were not checked"
fi
exit $status
