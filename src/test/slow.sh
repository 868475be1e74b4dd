#!/bin/sh
# SPDX-License-Identifier: MIT
# The request server under slowhttptest: a thousand connections with slow heads, slow bodies and
# slow reading, for half a minute each (SLOW_SECONDS). Another client must have each of its answers
# within two seconds. `make check-slow` runs it.
. "$(dirname "$0")/http_tools.sh"
need loopback slowhttptest curl
seconds=${SLOW_SECONDS:-30}
connections=1000

start "$work/server" ./examples/request-server 0
url=http://127.0.0.1:$port

ask_until() { # a file that says how it went: until the file "over" is there
	asked=0; bad=0
	until [ -e "$work/over" ]; do
		asked=$((asked + 1))
		[ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "$url/")" = 200 ] ||
			bad=$((bad + 1))
		sleep 0.1
	done
	echo "$asked requests, $bad not answered within two seconds" >"$1"
}

attack() { # name, URL, then slowhttptest's arguments
	name=$1; shift
	rm -f "$work/over"
	ask_until "$work/asked" &
	client=$!
	slowhttptest -c $connections -r 500 -l "$seconds" -p 2 "$@" 2>&1 | tr -d '\033' |
		sed 's/\[[0-9;]*m//g' >"$work/$name"
	: >"$work/over"
	wait $client
	echo "$name: $(cat "$work/asked")"
	grep -q ' 0 not answered' "$work/asked" || fail "$name: $(cat "$work/asked")"
	[ "$(sed 's/ .*//' "$work/asked")" -ge "$seconds" ] ||
		fail "$name: so few requests: $(cat "$work/asked")"
	if grep -q 'service available: *NO' "$work/$name"; then
		fail "$name: slowhttptest did not reach the server"
	fi
	grep -q 'service available: *YES' "$work/$name" || fail "$name: $(tail -20 "$work/$name")"
}

attack heads -H -u "$url/" -i 5
attack bodies -B -u "$url/echo" -i 5 -s 65536
attack reading -X -u "$url/headers" -k 10 -w 10 -y 20 -n 5 -z 32

wait_for sh -c "curl -s '$url/stats' | grep -q '\"connections\": [1-5]}'" ||
	fail "connections stay: $(curl -s "$url/stats")"
end "$work/server" "$pid" "the server"
tail -1 "$work/server"
exit $status
