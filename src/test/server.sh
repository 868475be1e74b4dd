#!/bin/sh
# SPDX-License-Identifier: MIT
# The request server under real clients: curl, a thousand connections at once, malformed and
# oversized requests, slow clients and some that vanish. Then SIGTERM must end it with exit status
# 0 and no live arena. SERVER_WRAPPER: a command to run it under.
. "$(dirname "$0")/http_tools.sh"
need loopback curl descriptors=1100

start() {
	$SERVER_WRAPPER ./examples/request-server 0 >"$work/out" 2>"$work/err" &
	server=$!
	servers=$server
	wait_for grep -q 'listening on port' "$work/out" ||
		{ cat "$work/out" "$work/err"; echo "the server did not start"; exit 1; }
	port=$(sed -n 's/.*listening on port //p' "$work/out")
	url=http://127.0.0.1:$port
}

get() { # expected status, then curl's arguments
	want=$1; shift
	got=$(curl -s -o "$work/body" -w '%{http_code}' --max-time 30 "$@")
	[ "$got" = "$want" ] || fail "curl $* answered $got, not $want: $(head -c 200 "$work/body")"
}

raw() { # expected status, request in printf's notation
	printf "$2" | ./src/test/http_load "$port" raw >"$work/raw" ||
		fail "$2: the connection broke before the reply was read"
	head -1 "$work/raw" | grep -q "^HTTP/1.1 $1 " ||
		fail "$2 was answered $(head -1 "$work/raw"), not $1"
}

start
get 200 "$url/";                                   grep -q '<h1>It works</h1>' "$work/body" ||
	fail "GET / has no page"
get 200 "$url/stats";                              grep -q '"live_arenas": [1-9]' "$work/body" ||
	fail "GET /stats: $(cat "$work/body")"
get 200 --data-binary 'some bytes' "$url/echo";    [ "$(cat "$work/body")" = 'some bytes' ] ||
	fail "POST /echo: $(cat "$work/body")"
get 200 -H 'Transfer-Encoding: chunked' -d 'in chunks' "$url/echo"
[ "$(cat "$work/body")" = 'in chunks' ] || fail "chunked: $(cat "$work/body")"
get 200 -H 'X-One: 1' "$url/headers";              grep -qi '^x-one: 1' "$work/body" ||
	fail "GET /headers: $(cat "$work/body")"
get 200 -I "$url/"
get 404 "$url/nothing/here"
get 405 -d x "$url/"; get 501 -X DELETE "$url/"
head -c 65536 /dev/zero | tr '\0' x >"$work/large"
get 200 --data-binary "@$work/large" "$url/echo";  cmp -s "$work/body" "$work/large" ||
	fail "64 KiB did not come back"
head -c 2000000 /dev/zero >"$work/huge"
get 413 -H 'Expect:' --data-binary "@$work/huge" "$url/echo"
get 431 -H "X-Large: $(head -c 40000 "$work/large")" "$url/"
get 414 "$url/$(head -c 9000 "$work/large")"

raw 400 'GET / HTTP/1.1\r\n\r\n'
raw 400 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'
raw 400 'POST /echo HTTP/1.1\r\nHost: a\r\n'\
'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
raw 400 'POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello'
raw 400 'GET / HTTP/1.1\r\nHost : a\r\n\r\n'
raw 505 'GET / HTTP/2.0\r\nHost: a\r\n\r\n'
raw 400 'nonsense\r\n\r\n'

# keep-alive: one connection for three requests
connects=$(curl -s -o /dev/null -o /dev/null -o /dev/null -w '%{num_connects}\n' \
	"$url/" "$url/stats" "$url/" | awk '{ n += $1 } END { print n }')
[ "$connects" = 1 ] || fail "three requests took $connects connections"

# clients that send half a request and go, or stay
for n in 1 2 3; do curl -s --max-time 0.$n -T - "$url/echo" </dev/zero >/dev/null 2>&1 & done
./src/test/http_load "$port" 1000 2 >"$work/load" 2>&1 ||
	fail "a thousand connections: $(cat "$work/load")"
cat "$work/load"
wait_for sh -c "curl -s '$url/stats' | grep -q '\"connections\": [1-5]}'" ||
	fail "connections stay: $(curl -s "$url/stats")"

# An idle connection takes at most 256 bytes, and a few for each further loop. This is not checked
# with huge pages or sanitizers.
resident() { awk '/^Anonymous:/ { print $2 * 1024 }' "/proc/$server/smaps_rollup"; }
held() { # how many connections, and the name of what their holder says
	mkfifo "$work/$2.in"; : >"$work/$2"
	./src/test/http_load "$port" hold "$1" <"$work/$2.in" >"$work/$2" 2>&1 &
	holders="$holders $!"
	sleep 60 >"$work/$2.in" &
	holders="$holders $!"
	wait_for grep -q connections "$work/$2" || fail "$1 idle connections: $(cat "$work/$2")"
}
idle=5000
case "$TEST_CFLAGS$SERVER_WRAPPER$(cat /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null)" in
*sanitize* | *valgrind* | *'[always]'*) idle=0 ;;
esac
if [ $idle -gt 0 ] && [ -r "/proc/$server/smaps_rollup" ] && [ "$(ulimit -Hn)" -gt 12000 ]; then
	holders=
	held 1500 some; before=$(resident)
	held $idle more; each=$((($(resident) - before) / idle))
	kill $holders; wait $holders 2>/dev/null
	loops=$(nproc) # as many as the server may use, which getconf does not know
	echo "$each resident bytes for an idle connection"
	[ "$each" -le $((256 + (loops > 2 ? 16 * (loops - 2) : 0))) ] ||
		fail "an idle connection costs $each bytes"
	wait_for sh -c "curl -s '$url/stats' | grep -q '\"connections\": [1-5]}'" ||
		fail "idle connections stay: $(curl -s "$url/stats")"
fi

# other clients, those that are installed
found=curl
have() { command -v "$1" >/dev/null 2>&1 && found="$found, $1"; }
if have wget; then
	wget -qO- "$url/" | grep -q '<h1>It works</h1>' || fail "wget"
	wget -qO- --post-data 'by wget' "$url/echo" | grep -qx 'by wget' || fail "wget --post-data"
	wget -q --spider "$url/" || fail "wget --spider"
fi
if have ab; then
	for keep in '' -k; do
		ab -q -l $keep -n 500 -c 10 -s 60 "$url/" >"$work/ab" 2>&1
		grep -q 'Failed requests: *0$' "$work/ab" || fail "ab: $(cat "$work/ab")"
		if grep -q 'Non-2xx' "$work/ab"; then fail "ab: $(cat "$work/ab")"; fi
	done
	grep -q 'Keep-Alive requests: *500$' "$work/ab" || fail "ab -k: $(cat "$work/ab")"
	ab -q -k -p "$work/large" -T text/plain -n 50 -c 5 -s 60 "$url/echo" >"$work/ab" 2>&1
	grep -q 'Failed requests: *0$' "$work/ab" || fail "ab -p: $(cat "$work/ab")"
fi
if have h2load; then
	h2load --h1 -n 500 -c 10 -m 8 "$url/" >"$work/h2load" 2>&1
	grep -q ' 500 succeeded, 0 failed, 0 errored' "$work/h2load" ||
		fail "h2load: $(cat "$work/h2load")"
fi
if have wrk; then
	wrk -t 1 -c 10 -d 1 "$url/" >"$work/wrk" 2>&1
	grep -q 'Requests/sec: *[1-9]' "$work/wrk" || fail "wrk: $(cat "$work/wrk")"
	if grep -q 'Socket errors\|Non-2xx' "$work/wrk"; then fail "wrk: $(cat "$work/wrk")"; fi
fi
if have python3; then
	python3 - "$port" <<'END_OF_PYTHON' || fail "http.client"
import http.client, sys
client = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
def ask(method, path, **rest):
    client.request(method, path, **rest)
    reply = client.getresponse()
    return reply.status, reply.read()
for body in ([b"in", b"chunks"], [], [b"x" * 70000]):
    chunked = {"Transfer-Encoding": "chunked"}
    answer = ask("POST", "/echo", body=iter(body), encode_chunked=True, headers=chunked)
    assert answer == (200, b"".join(body))
first = client.sock
assert ask("HEAD", "/") == (200, b"")
assert ask("GET", "/nothing/here")[0] == 404
assert ask("POST", "/echo", body=b"y" * 100) == (200, b"y" * 100)
assert client.sock is first, "http.client had to connect again"
END_OF_PYTHON
fi
echo "clients: $found"

# a second server on the same port says so
if ./examples/request-server "$port" >"$work/second" 2>&1; then fail "two servers on one port"; fi
grep -q "$port.*in use" "$work/second" || fail "port in use: $(cat "$work/second")"

kill -TERM $server
wait $server || fail "the server ended with $?: $(cat "$work/out" "$work/err")"
server=
grep -q 'live arenas 0$' "$work/out" || fail "arenas stayed alive: $(tail -1 "$work/out")"
[ -s "$work/err" ] && fail "the server complained: $(cat "$work/err")"
tail -1 "$work/out"
exit $status
