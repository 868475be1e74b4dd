#!/bin/sh
# SPDX-License-Identifier: MIT
# bench/run with programs that only pretend to measure: a finished step is kept, a failed or
# stopped one is done again.
run=$(cd "${top_srcdir:-.}" && pwd)/bench/run
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/bench" && cd "$work" || exit 1
status=0

fail() { echo "FAILED: $*"; cat out; status=1; }

# Writes its results, unless there is a file `broken`, when there is no file `slow`.
for name in bench_except bench_httpparser; do
	cat >"bench/$name" <<-'END'
	#!/bin/sh
	echo "${0##*/}" >>ran
	case ${0##*/} in bench_httpparser) [ ! -f broken ] || exit 1; while [ -f slow ]; do sleep 0.1; done ;; esac
	while [ $# -gt 1 ]; do
		[ "$1" != --json ] || echo '{"results": []}' >"$2"
		shift
	done
	END
	chmod +x "bench/$name"
done
bench() { sh "$run" bench/bench_except bench/bench_httpparser >out 2>&1; }
said() { grep -q "$1" out || fail "it did not say: $1"; }

touch broken
bench && fail 'a step that fails makes no success'
said '2 of 2 steps to do, about'
said '\[2/2\] httpparser: FAILED'
rm broken
bench || fail 'the second run ends well'
said '1 of 2 steps to do, about'
said '\[1/2\] except: kept'
bench || fail 'nothing to do is no failure'
said 'all 2 steps are in'
[ "$(tr '\n' ' ' <ran)" = 'bench_except bench_httpparser bench_httpparser ' ] ||
	fail "these ran: $(cat ran)"

touch slow
BENCH_FRESH=1 sh "$run" bench/bench_except bench/bench_httpparser >out 2>&1 &
tries=0
until grep -q '\[2/2\]' out || [ $((tries += 1)) -gt 300 ]; do sleep 0.1; done
kill -TERM $!
rm slow
wait $!
[ $? -eq 130 ] || fail 'it can be stopped'
said 'stopped in httpparser'
[ "$(echo bench-results/*)" = 'bench-results/conditions.json bench-results/except.json' ] ||
	fail "it left $(echo bench-results/*)"
bench || fail 'it goes on'
said '1 of 2 steps to do, about'
exit $status
