#!/bin/sh
# SPDX-License-Identifier: MIT
# Each promise of SECURITY.md names tests, and they exist and are run.
cd "${top_srcdir:-.}" || exit 1
status=0
names=$(sed -n '/^| /s/.*| \(`.*`\) |$/\1/p' SECURITY.md | tr -d '`,')
[ -n "$names" ] || { echo "no promise names a test"; exit 1; }
for name in $names; do
	grep -q "^TEST($name[,)]" src/test/test_*.c ||
		{ echo "no test is run by the name of $name"; status=1; }
done
if grep '^| [a-z]' SECURITY.md | grep -v '`.*` |$' | grep -v '^| against'; then
	echo "promises without a test"; status=1
fi
exit $status
