#!/bin/sh
# SPDX-License-Identifier: MIT
# Two servers behind HAProxy as docs/deployment.md configures it, with versions 1 and 2 of the PROXY
# protocol. One is stopped and started again under load, and no request may be lost.
. "$(dirname "$0")/http_tools.sh"
need loopback haproxy ab curl descriptors=1024

start "$work/one" ./src/test/http_behind 0; one=$pid; port_one=$port
start "$work/two" ./src/test/http_behind 0; port_two=$port
free_port; front=$port

documented 1 | sed "s/:8080/:$front/; s/:8081/:$port_one/; s/:8082/:$port_two/" >"$work/haproxy.cfg"
haproxy -f "$work/haproxy.cfg" >"$work/haproxy" 2>&1 &
servers="$servers $!"
wait_for curl -s -o /dev/null "http://127.0.0.1:$front/" ||
	{ cat "$work/haproxy"; echo "HAProxy does not answer"; exit 1; }

for n in 1 2 3 4; do
	curl -s -w '%{local_port}\n' "http://127.0.0.1:$front/" >"$work/who"
	[ "$(sed -n 1p "$work/who")" = "127.0.0.1:$(sed -n 2p "$work/who")" ] ||
		fail "the client is said to be $(cat "$work/who")"
done

load "$work/ab" "http://127.0.0.1:$front/" &
load=$!
for n in 1 2; do
	sleep 0.5
	end "$work/one" $one "the server that was stopped"
	start "$work/one" ./src/test/http_behind "$port_one"; one=$pid
done
wait $load || status=1
exit $status
