#!/bin/sh
# SPDX-License-Identifier: MIT
# Other libraries on a SocketPoll: libcurl, libpq and c-ares, as the examples use them, against
# servers of this test.
. "$(dirname "$0")/http_tools.sh"
need loopback descriptors=400
tested=0

has() { # library, programs that its test needs
	example=$1; shift
	case " $EXAMPLES " in
	*" examples/with-$example "*) ;;
	*) echo "with-$example: not tested, configure has not found the library"; return 1 ;;
	esac
	for tool in "$@"; do
		command -v "$tool" >/dev/null 2>&1 ||
			{ echo "with-$example: not tested, $tool is not installed"; return 1; }
	done
	tested=$((tested + 1))
}

expect() { # expected output, with PORT for the port; then the command
	want=$1; shift
	what=$(echo "$*" | cut -c 1-200)
	timeout 60 "$@" >"$work/out" 2>&1 || fail "$what ended with $?"
	[ "$(sed "s/:$port/:PORT/" "$work/out")" = "$want" ] ||
		{ fail "$what printed:"; cat "$work/out"; echo "and not:"; echo "$want"; }
}

if has curl-multi; then
	start "$work/server" ./src/test/http_behind 0 direct
	expect 'http://127.0.0.1:1/: 0, Could not connect to server
http://127.0.0.1:PORT/nothing: 404, No error
live arenas: 0' sh -c "./examples/with-curl-multi \
		http://127.0.0.1:$port/nothing http://127.0.0.1:1/ |
		LC_ALL=C sort | sed 's/Couldn.t connect/Could not connect/'"
	# more at once than a poll takes from the kernel, each over a connection of its own
	urls=$(awk -v url="http://127.0.0.1:$port/" 'BEGIN { for (i = 0; i < 300; i++) print url i }')
	# shellcheck disable=SC2086
	./examples/with-curl-multi $urls >"$work/out"
	[ "$(grep -c ', No error$' "$work/out")" -eq 300 ] ||
		fail "of 300 transfers: $(sort "$work/out" | uniq -c | head -5)"
	./examples/with-curl-multi >"$work/out" || fail "no transfers"
fi

if has cares python3; then
	start "$work/dns" python3 "$abs_top_srcdir/src/test/dns.py"
	# the slow one is the last; c-ares gives the silent one up after two tries of half a second and
	# of one second
	expect 'one.test: 192.0.2.7
gone.test: Domain name not found
slow.test: 192.0.2.7
silent.test: Timeout while contacting DNS servers
live arenas: 0' ./examples/with-cares "127.0.0.1:$port" one.test gone.test slow.test silent.test
	expect '127.0.0.1: 127.0.0.1
live arenas: 0' ./examples/with-cares - 127.0.0.1
fi

# As the user that runs this, or as postgres if that is root: initdb refuses to be root's.
as_user() {
	if [ "$(id -u)" -eq 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

data=$work/data
trap 'as_user pg_ctl -D "$data/db" -m immediate stop >/dev/null 2>&1
	kill $servers 2>/dev/null; rm -rf "$work"' EXIT
for bin in /usr/lib/postgresql/*/bin; do PATH=$PATH:$bin; done
if has libpq initdb postgres && { [ "$(id -u)" -ne 0 ] || id postgres >/dev/null 2>&1; }; then
	mkdir "$data" && chmod 755 "$work" && { [ "$(id -u)" -ne 0 ] || chown postgres "$data"; }
	(cd "$data" &&
		as_user initdb -D "$data/db" -A trust -U test --no-sync -E UTF8 --locale=C) \
		>"$work/initdb" 2>&1 ||
		{ cat "$work/initdb"; fail "initdb"; }
	(cd "$data" && as_user postgres -D "$data/db" -k "$data" -h '' -F) >"$work/postgres" 2>&1 &
	wait_for test -S "$data/.s.PGSQL.5432" ||
		{ cat "$work/postgres"; fail "PostgreSQL did not start"; }
	conninfo="host=$data user=test dbname=postgres"
	port=none
	wait_for ./examples/with-libpq "$conninfo" "select 1" >/dev/null
	expect 'quick
1
2
slow
live arenas: 0' ./examples/with-libpq "$conninfo" \
		"select 'slow' from pg_sleep(0.6)" "select 'quick'" \
		"select n from generate_series(1, 2) n, pg_sleep(0.3)"
	expect 'ERROR:  division by zero
live arenas: 0' ./examples/with-libpq "$conninfo" "select 1 / 0"
	# a query larger than a socket's buffer is sent as it drains
	head -c 100000 /dev/zero | tr '\0' x >"$work/large"
	expect '100000
live arenas: 0' ./examples/with-libpq "$conninfo" "select length('$(cat "$work/large")')"
	./examples/with-libpq "host=$data user=test dbname=nowhere" "select 1" >"$work/out" 2>&1
	grep -q 'database "nowhere" does not exist' "$work/out" ||
		fail "a database that is not there: $(cat "$work/out")"
	as_user pg_ctl -D "$data/db" -m immediate stop >"$work/stop" 2>&1
	wait_for test ! -e "$data/db/postmaster.pid" || fail "PostgreSQL did not end"
fi

[ $tested -gt 0 ] || exit 77
exit $status
