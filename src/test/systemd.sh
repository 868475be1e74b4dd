#!/bin/sh
# SPDX-License-Identifier: MIT
# The units of docs/deployment.md as systemd reads them, a server on the socket that
# systemd-socket-activate passes to it, and its end by SIGTERM. test_httpserver tests the same
# without systemd.
. "$(dirname "$0")/http_tools.sh"
need loopback systemd-analyze systemd-socket-activate curl

documented 3 >"$work/program.socket"
documented 4 | sed "s|/usr/local/bin/program|$PWD/src/test/http_behind|" >"$work/program.service"
systemd-analyze verify --man=no "$work/program.socket" "$work/program.service" \
	>"$work/verify" 2>&1 ||
	fail "systemd-analyze verify: $(cat "$work/verify")"
if grep "$work" "$work/verify"; then fail "systemd-analyze complains"; fi

free_port; url=http://127.0.0.1:$port/
# becomes the server
systemd-socket-activate -l "127.0.0.1:$port" ./src/test/http_behind 0 direct >"$work/one" 2>&1 &
pid=$!
servers="$servers $pid"
wait_for grep -q "Listening on 127.0.0.1:$port" "$work/one" ||
	{ cat "$work/one"; echo "there is no listener"; exit 1; }
if grep -q 'listening on port' "$work/one"; then fail "the server runs before anybody came"; fi
for n in 1 2 3; do
	curl -sf --max-time 20 "$url" | grep -q '^127.0.0.1:' || fail "request $n was not answered"
done
grep -q "listening on port $port\$" "$work/one" ||
	fail "it serves another socket: $(cat "$work/one")"
end "$work/one" "$pid" "the server"
exit $status
