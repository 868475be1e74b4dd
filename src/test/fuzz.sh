#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the fuzz targets, without libFuzzer, on their corpora and FUZZ_RUNS changed copies of these.
# scripts/fuzz runs them for longer.
set -u
failed=0
for target in $FUZZ_TARGETS; do
	name=${target##*/}
	"$target" -runs="${FUZZ_RUNS:-1000}" "$abs_top_srcdir/src/test/corpus/$name" ||
		{ echo "$name: again by $target -runs=${FUZZ_RUNS:-1000}"; failed=1; }
done
exit $failed
