#!/bin/sh
# SPDX-License-Identifier: MIT
# Two servers behind HAProxy as docs/deployment.md configures it, by versions 1 and 2 of the PROXY protocol; one is
# stopped and started again under load, and no request is lost.
for tool in haproxy ab curl; do
	command -v $tool >/dev/null 2>&1 || { echo "$tool is not installed"; exit 77; }
done
cd "${top_builddir:-.}" || exit 1
work=$(mktemp -d) || exit 1
one= two= proxy=
trap 'kill $one $two $proxy 2>/dev/null; rm -rf "$work"' EXIT
status=0

fail() { echo "FAILED: $*"; status=1; }

wait_for() { # command: until it succeeds, ten seconds at most
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 50 ] || return 1
		sleep 0.2
	done
}

start() { # log, port; pid is set
	./src/test/http_behind "$2" >"$1" 2>&1 &
	pid=$!
	wait_for grep -q 'listening' "$1" || { cat "$1"; echo "the server did not start"; exit 1; }
	port=$(sed -n 's/.*listening on port //p' "$1")
}

start "$work/one" 0; one=$pid; port_one=$port
start "$work/two" 0; two=$pid; port_two=$port

# a port that was free a moment ago
./src/test/http_behind 0 >"$work/three" & pid=$!
wait_for grep -q listening "$work/three"
front=$(sed -n 's/.*listening on port //p' "$work/three")
kill $pid; wait $pid

awk '/^```/ { inside = !inside; count += inside; next } inside && count == 1' "$abs_top_srcdir/docs/deployment.md" |
	sed "s/:8080/:$front/; s/:8081/:$port_one/; s/:8082/:$port_two/" >"$work/haproxy.cfg"
haproxy -f "$work/haproxy.cfg" >"$work/haproxy" 2>&1 &
proxy=$!
wait_for curl -s -o /dev/null "http://127.0.0.1:$front/" || { cat "$work/haproxy"; fail "HAProxy does not answer"; exit 1; }

for n in 1 2 3 4; do
	curl -s -w '%{local_port}\n' "http://127.0.0.1:$front/" >"$work/who"
	[ "$(sed -n 1p "$work/who")" = "127.0.0.1:$(sed -n 2p "$work/who")" ] || fail "the client is said to be $(cat "$work/who")"
done

ab -q -n 6000 -c 8 -s 10 "http://127.0.0.1:$front/" >"$work/ab" 2>&1 &
load=$!
for n in 1 2; do
	sleep 0.5
	kill -TERM $one
	wait $one || fail "the server that was stopped ended with $?"
	grep -q 'live arenas 0' "$work/one" || fail "its arenas stayed alive"
	start "$work/one" "$port_one"; one=$pid
done
wait $load || fail "ab: $(cat "$work/ab")"
grep -q 'Complete requests: *6000$' "$work/ab" || fail "not all requests: $(cat "$work/ab")"
if grep -q 'Non-2xx' "$work/ab"; then fail "$(grep Non-2xx "$work/ab")"; fi
awk '/\(Connect:/ { gsub(/[^0-9 ]/, ""); if ($1 + $2 + $4) exit 1 }' "$work/ab" || fail "$(cat "$work/ab")" # lengths do differ
exit $status
