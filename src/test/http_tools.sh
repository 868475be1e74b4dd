# SPDX-License-Identifier: MIT
# Sourced by the tests of servers as whole programs: makes a directory to work in. At the end it is
# removed, and its servers are killed.
. "$(dirname "$0")/needs.sh"
cd "${top_builddir:-.}" || exit 1
work=$(mktemp -d) || exit 1
servers=
trap 'kill $servers 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
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

start() { # log, then the server's command; pid and port are set
	log=$1; shift
	: >"$log"
	"$@" >"$log" 2>&1 &
	pid=$!
	servers="$servers $pid"
	wait_for grep -q 'listening' "$log" || { cat "$log"; echo "the server did not start"; exit 1; }
	port=$(sed -n 's/.*listening on port //p' "$log")
}

end() { # log, pid, what to call it: drained by SIGTERM
	kill -TERM "$2"
	wait "$2" || fail "$3 ended with $?: $(cat "$1")"
	grep -q 'live arenas 0$' "$1" || fail "arenas of $3 stayed alive: $(cat "$1")"
}

free_port() { # one that was free a moment ago
	start "$work/free" ./src/test/http_behind 0
	kill "$pid"; wait "$pid"
}

documented() { # the how manieth block of docs/deployment.md
	awk -v nth="$1" '/^```/ { inside = !inside; count += inside; next } inside && count == nth' \
		"$abs_top_srcdir/docs/deployment.md"
}

load() { # log, URL: 6,000 requests, of which none may be lost
	ab -q -n 6000 -c 8 -s 10 "$2" >"$1" 2>&1 || fail "ab: $(cat "$1")"
	grep -q 'Complete requests: *6000$' "$1" || fail "not all requests: $(cat "$1")"
	if grep -q 'Non-2xx' "$1"; then fail "$(grep Non-2xx "$1")"; fi
	awk '/\(Connect:/ { gsub(/[^0-9 ]/, ""); if ($1 + $2 + $4) exit 1 }' "$1" ||
		fail "$(cat "$1")" # lengths do differ
	return $status
}
