#!/bin/sh
# SPDX-License-Identifier: MIT
# Every state of the models of the arena's owner, visitors and revokers, and of the pool's hand-off
# to waiters: they hold; and with a fault put in, spin finds it. models.sh -l looks at more states,
# for minutes. At the end: what `make sim-faults` takes out of the source, for the simulation to find,
# is there.
case $TEST_CFLAGS in *-fsanitize=*) echo "the models do not depend on the build"; exit 77 ;; esac
command -v spin >/dev/null || { echo "spin is not installed"; exit 77; }
models=$(cd "${top_srcdir:-.}/src/test/models" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
status=0

# model, -D...; what the search says is in $said
search() {
	model=$1
	shift
	rm -f pan*
	spin -a "$@" "$models/$model.pml" >spin.log 2>&1 &&
		${CC:-cc} $optimize -w -DSAFETY -DCOLLAPSE -o pan pan.c >cc.log 2>&1 ||
		{ cat ./*.log; echo "$model $*: could not be made"; exit 1; }
	said=$(./pan -m1000000 -w24 2>&1)
	rm -f ./*.trail
}

holds() {
	search "$@"
	echo "$*: $(echo "$said" | sed -n 's/^ *\([0-9]* states, stored\).*/\1/p')"
	echo "$said" | grep -q 'errors: 0' &&
		! echo "$said" | grep -q 'search not completed\|max search depth too small' ||
		{ echo "$said"; status=1; }
}

fails() {
	search "$@"
	echo "$said" | grep -q 'errors: 1' ||
		{ echo "$*: the fault was not found"; echo "$said"; status=1; }
}

if [ "$1" = -l ]; then
	optimize=-O2
	holds arena -DOPS=4
	holds arena -DTHREADS=3 -DOPS=2
	holds pool -DTURNS=2
	holds pool -DPLACES=2
	holds pool -DCLIENTS=4
	exit $status
fi
optimize=-O0 # the compiler takes longer than the search
holds arena
for fault in NO_BARRIER NO_FENCE EARLY_LEAVE BUSY_IN_ARENA HANDLER_ALLOCATES CANCEL_IN_WAIT \
	NO_RETIRE STEALS_LANE; do
	fails arena -D$fault
done
holds pool
for fault in FORGETS CANCEL_LOSES FAILS_SILENTLY NO_DISMISS KEEPS_WANTED CANCEL_KEEPS HOLD_KEEPS; do
	fails pool -D$fault
done
if command -v python3 >/dev/null; then
	python3 "$models/../sim/faults.py" -n || status=1
else
	echo "no python3: sim/faults.py was not read"
fi
exit $status
