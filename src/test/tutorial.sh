#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/tutorial.md against a copy of this build that is installed beside it, or with
# TUTORIAL=FOLDER (that has docs and examples) against what is installed on the system: the program
# that a step shows is the one in examples/tutorial/, its commands print what the step says, the
# change that it proposes can be made, and does what is said. `tutorial.sh --write` puts the
# programs and what they print into the text instead of comparing.
set -u
if [ "${TUTORIAL:-}" ]; then
	abs_top_srcdir=$TUTORIAL tests=$TUTORIAL
	work=$(mktemp -d) || exit 99
	trap 'rm -rf "$work"' EXIT
else
	. "${abs_top_srcdir:=$PWD}/src/test/needs.sh"
	need loopback
	. "$abs_top_srcdir/src/test/stage.sh"
	tests=$abs_top_srcdir/src/test
fi
SHELL=/bin/sh script -qec true /dev/null </dev/null >/dev/null 2>&1 ||
	{ echo "there is no script(1) of util-linux"; exit 77; }
text=$abs_top_srcdir/docs/tutorial.md
status=0
cd "$work" || exit 99

# of step N, as they follow each other: N.1.c, N.2.console, N.3.diff, N.4.console
awk '
	/^## /                     { n++; part = 0 }
	/^```(c|console|diff)$/    { out = n "." ++part "." substr($0, 4); next }
	/^```/                     { out = ""; next }
	out                        { print > out }
' "$text"

# The lines with "-" become those with "+"; lines between them are where they are. What is to be
# changed must be there, once.
change() { # diff, program
	awk '
		NR == FNR { op = substr($0, 1, 1); line = substr($0, 2) "\n"; if (op != "+") old = old line; if (op != "-") new = new line; next }
		{ all = all $0 "\n" }
		END {
			at = index(all, old)
			if (!at || index(substr(all, at + 1), old)) exit 1
			printf "%s", substr(all, 1, at - 1) new substr(all, at + length(old))
		}' "$1" "$2" >changed.c && mv -f changed.c "$2"
}

applies() { # console block
	case ${TEST_CFLAGS:-} in *-fsanitize=*) # sanitizers find it first
		! grep -q CORE_ARENA_DEBUG "$1" || return 1 ;;
	esac
	! grep -q '^\$ curl' "$1" || command -v curl >/dev/null
}

compare() { # console block
	rm -f ./*.gcda # with --enable-gcov, of the program before it was changed
	if applies "$1"; then
		# the line that --enable-debug adds is not in the text
		sh "$tests/console.sh" "$1" | sed '/this FINALLY was skipped/d' >"$1.new"
	else
		cp "$1" "$1.new"
		echo "step ${1%%.*}: a part was not run here"
	fi
	[ "$write" ] || diff "$1" "$1.new" >diff ||
		{ echo "step ${1%%.*} of the tutorial prints (>) and not (<):"; cat diff; status=1; }
}

write=${1:-}
for n in 1 2 3 4 5 6 7 8; do
	program=$(basename "$abs_top_srcdir"/examples/tutorial/$n-*.c)
	cp "$abs_top_srcdir/examples/tutorial/$program" .
	sed 1d "$program" >$n.1.c.new
	[ "$write" ] || cmp $n.1.c $n.1.c.new ||
		{ echo "the program of step $n is not examples/tutorial/$program"; status=1; }
	[ -f $n.2.console ] && [ -f $n.3.diff ] && [ -f $n.4.console ] ||
		{ echo "step $n lacks a run, a change, or what it does"; exit 1; }
	grep -q "^\\$ cc .*$program" $n.2.console ||
		{ echo "step $n does not say how to compile $program"; status=1; }
	compare $n.2.console
	change $n.3.diff "$program" ||
		{ echo "step $n: its change does not apply to $program"; status=1; continue; }
	compare $n.4.console
done
if [ "$write" ] && [ $status -eq 0 ]; then
	awk '
		/^## /                  { n++; part = 0 }
		/^```$/                 { skip = 0 }
		!skip                   { print }
		/^```(c|console|diff)$/ { part++ }
		/^```(c|console)$/      { skip = 1; file = n "." part "." substr($0, 4) ".new"; while ((getline line < file) > 0) print line; close(file) }
	' "$text" >new.md && cp new.md "$text"
fi
exit $status
