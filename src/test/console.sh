#!/bin/sh
# SPDX-License-Identifier: MIT
# console.sh FILE: runs the commands of FILE, a console block of a page (lines that begin with "$
# "), in one shell, and prints them with what they print, as the page should have it. A command
# that fails without saying so ("; echo status $?") gets a line of its own. "command 8080 &" is a
# server: it gets a free port, which is 8080 in all that is printed, and "kill %1" waits for its
# last words. Programs run as in a terminal, so that what they print and what they report come in
# the order in which a person sees them. Addresses are 0x..., and what the shell says of a program
# that aborted is left out: shells say it differently.
console=$(cd "$(dirname "$1")" && pwd)/${1##*/}
out=$(mktemp) background=$(mktemp)
port=8080 server=
trap 'kill $server 2>/dev/null; rm -f "$out" "$background"' EXIT
ulimit -c 0

printed() { # file
	tr -d '\r' <"$1" | sed "/^Aborted/d; s/0x[0-9a-f][0-9a-f]*/0x.../g; s/\([: ]\)$port\$/\18080/"
}

start() { # command
	sh -c "exec $1" >"$background" 2>&1 </dev/null &
	server=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
		[ ! -s "$background" ] || break
		sleep 0.2
	done
	port=$(sed -n 's/.* port //p' "$background")
	printed "$background"
	said=$(wc -l <"$background")
}

stop() {
	kill "$server"
	wait "$server" || echo "(it failed with $?)"
	server=
	tail -n +$((said + 1)) "$background"
}

while IFS= read -r line <&3; do
	command=${line#'$ '}
	[ "$command" != "$line" ] || continue
	printf '%s\n' "$line"
	case $command in
	*' &') start "$(printf '%s' "${command%?}" | sed 's/ 8080/ 0/')" ;;
	'kill %1') stop ;;
	./* | CORE_ARENA_DEBUG=*) SHELL=/bin/sh script -qec "$command" /dev/null ;;
	*) eval "$(printf '%s\n' "$command" | sed "s/:8080/:$port/g")" ;;
	esac >"$out" 2>&1 </dev/null 3<&-
	failed=$?
	printed "$out"
	[ $failed -eq 0 ] || echo "(it failed with $failed)"
done 3<"$console"
