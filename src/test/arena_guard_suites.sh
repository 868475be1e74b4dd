#!/bin/sh
# SPDX-License-Identifier: MIT
# The suites with CORE_ARENA_DEBUG set, as any program; that of arenas takes minutes with a mapping
# for each object.
status=77 # there is no Check
for run in fill:arena fill:hashtable guard:hashtable guard:http profile:arena profile:arenaends \
	profile:malloc profile:hashtable; do
	suite=src/test/test_${run#*:}
	[ -x $suite ] || continue
	said=$(CORE_ARENA_DEBUG=${run%:*} $suite 2>&1)
	case $? in
	0) [ $status -ne 77 ] || status=0 ;;
	77) echo "${run%:*}: $suite: $said" ;;
	*) echo "${run%:*}: $suite failed, and said:"; echo "$said"; status=1 ;;
	esac
done
exit $status
