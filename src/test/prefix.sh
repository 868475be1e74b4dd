#!/bin/sh
# SPDX-License-Identifier: MIT
# configure refuses a directory of the installation that has a space in its name: one sentence,
# before it looks at anything else.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
status=0
for option in --prefix --exec-prefix --libdir --includedir; do
	if sh "$abs_top_srcdir/configure" "$option=$work/a b" >out 2>&1; then
		echo "configure takes $option=$work/a b"; status=1
	fi
	[ "$(grep -c 'error: .* may not have a space in their names' out)" = 1 ] &&
		! grep -q '^checking' out ||
		{ echo "configure $option=$work/a b says:"; cat out; status=1; }
done
exit $status
