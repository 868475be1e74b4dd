#!/bin/sh
# SPDX-License-Identifier: MIT
# The examples print what they are said to print.
. "$(dirname "$0")/needs.sh"
need loopback descriptors=1100
cd "${top_builddir:-.}" || exit 1
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
status=0

expect() { # program, expected output
	"./examples/$1" >"$out" 2>&1 || { echo "$1 failed with $?"; status=1; }
	[ "$(cat "$out")" = "$2" ] ||
		{ echo "$1 printed:"; cat "$out"; echo "and not:"; echo "$2"; status=1; }
}

expect hello 'Lima
connect 127.0.0.1:9: Connection refused
live arenas: 0'
expect thread-per-request 'Hello, world!
Hello, Ada!
Hello, Grace!
live arenas: 0'
expect event-loop 'ONE EVENT LOOP
MANY CONNECTIONS
live arenas: 0'
expect connection-pool '1000 answers over 1 connection, used again 999 times
live arenas: 0'
expect worker-queue '300 items, 3 failed, 718 distinct digits
live arenas: 0'

# the pool's example ends when its server leaves in the middle of a reply, and says so
half=$(mktemp -d) || exit 1
trap 'rm -rf "$out" "$half"' EXIT
sed 's|Socket_sendall(s, buffer, n);|{ Socket_sendall(s, buffer, n / 2); break; }|' \
	"$abs_top_srcdir/examples/connection-pool.c" >"$half/half.c"
# shellcheck disable=SC2086
${CC:-cc} ${TEST_CFLAGS:-} -fexceptions -I"$abs_top_srcdir/include" "$half/half.c" -o "$half/half" \
	-L.libs -Wl,-rpath,"$PWD/.libs" ${CORE_LDFLAGS:-} -lcore -pthread || status=1
(ulimit -c 0; timeout 20 "$half/half") >"$out" 2>&1
grep -q 'the server closed after 10 of 20 bytes' "$out" ||
	{ echo "connection-pool, left in the middle of a reply, printed:"; cat "$out"; status=1; }

expect_with() { # program and its arguments, expected output
	# shellcheck disable=SC2086
	./examples/$1 >"$out" 2>&1 || { echo "$1 failed with $?"; status=1; }
	[ "$(cat "$out")" = "$2" ] ||
		{ echo "$1 printed:"; cat "$out"; echo "and not:"; echo "$2"; status=1; }
}

with() { # library, expected output, with the size of what was compressed as N
	case " $EXAMPLES " in
	*" examples/with-$1 "*) ;;
	*) echo "with-$1: not tested, configure has not found the library"; return ;;
	esac
	"./examples/with-$1" 2>&1 | sed 's/ to [1-9][0-9]\{2\} bytes/ to N bytes/' >"$out"
	[ "$(cat "$out")" = "$2" ] ||
		{ echo "with-$1 printed:"; cat "$out"; echo "and not:"; echo "$2"; status=1; }
}

with zlib '5130 bytes to N bytes and back: the same
zlib: incorrect data check
zlib: insufficient memory
live arenas: 0'
with expat 'book isbn=0-201-49841-3
  title
  chapters count=21
    chapter n=5
book
  title
line 2: mismatched tag
no memory for a parser
live arenas: 0'
with pcre2 '1969-07-20
1972-12-11
"(\d{4}" at 6: missing closing parenthesis
"(?:[a-z]{200}){1000}" at 20: failed to allocate heap memory
live arenas: 0'
with cjson '[{
		"name":	"Ada",
		"born":	1815,
		"seen":	true
	}, {
		"name":	"Grace",
		"born":	1906,
		"seen":	true
	}]
not JSON from byte 24 on: }
out of memory for JSON
live arenas: 0'

# a thousand members of a chat: each hears each of the others, and one that reads nothing is put
# out and delays none
chat_clients='
import socket, sys
port = int(sys.argv[1])
def member():
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(30)
    return s
def hear(s, text):
    got = b""
    while len(got) < len(text):
        more = s.recv(len(text) - len(got))
        if not more: sys.exit("end of stream after %d bytes" % len(got))
        got += more
    if got != text: sys.exit("heard %r, not %r" % (got, text))
members = [member() for _ in range(1000)]
members[-1].sendall(b"all are here\n")
for s in members[:-1]: hear(s, b"1000: all are here\n")
members[0].sendall(b"half a ")
members[0].sendall(b"line\nand one\n")
for s in members[1:]: hear(s, b"1: half a line\n1: and one\n")
for s in members[3:]: s.close()
speaker, listener, silent = members[:3]
line = b"x" * 1000 + b"\n"
for i in range(20000):
    speaker.sendall(line)
    hear(listener, b"1: " + line)
try:
    while silent.recv(1000000): pass
except ConnectionResetError: pass
print("all heard, and the silent one is out")
'
if command -v python3 >/dev/null; then
	(ulimit -n 4096; exec ./examples/chat 0) 2>"$out" &
	chat=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do grep -q port "$out" && break; sleep 1; done
	port=$(sed -n 's/^port //p' "$out")
	(ulimit -n 4096; timeout 100 python3 -c "$chat_clients" "$port") >"$out" 2>&1
	[ "$(cat "$out")" = 'all heard, and the silent one is out' ] ||
		{ echo "chat:"; cat "$out"; status=1; }
	kill -TERM $chat
	wait $chat || { echo "chat ended with $?"; status=1; }
else
	echo "no python3: examples/chat was not tested"
fi

if command -v python3 >/dev/null; then
	timeout 100 python3 "$abs_top_srcdir/src/test/gateway.py" ./examples/gateway >"$out" 2>&1
	[ "$(cat "$out")" = 'streams both ways, and nobody waits for others' ] ||
		{ echo "gateway:"; cat "$out"; status=1; }
else
	echo "no python3: examples/gateway was not tested"
fi

# server-sent events: curl, a thousand subscribers of whom half vanish, and a browser
event_clients='
import socket, sys
port = int(sys.argv[1])
def subscribe(fields=""):
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(60)
    s.sendall(("GET /events HTTP/1.1\r\nHost: a\r\n%s\r\n" % fields).encode())
    return s
def hear(s, n):
    got = b""
    while got.count(b"\ndata: event ") < n:
        more = s.recv(65536)
        if not more: sys.exit("end of stream after %r" % got)
        got += more
    return got
all = [subscribe() for _ in range(1000)]
for s in all: hear(s, 1)
for s in all[::2]: s.close()
for s in all[1::2]: hear(s, 3)
missed = hear(subscribe("Last-Event-ID: 1\r\n"), 3)
if b"id: 2\ndata: event 2\n" not in missed and b"id: 1\n" in missed: sys.exit("not what was missed: %r" % missed)
print("all heard")
'
start_events() {
	(ulimit -n 4096; exec ./examples/events 0) 2>"$half/events.log" &
	events=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do grep -q port "$half/events.log" && break; sleep 1; done
	port=$(sed -n 's/^port //p' "$half/events.log")
}

page_hears_events() {
	chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
		--user-data-dir="$half/events-profile" \
		--remote-debugging-port=0 "http://127.0.0.1:$port/" >"$half/chromium.log" 2>&1 &
	browser=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
		grep -q 'has heard' "$half/events.log" && break
		sleep 1
	done
	kill $browser
	wait $browser
	grep -q 'a page has heard: event [0-9]' "$half/events.log"
}

start_events
if command -v curl >/dev/null; then
	curl -sN --max-time 60 "http://127.0.0.1:$port/events" |
		sed -n '/^data: event/p; /^data: event/q' >"$out"
	grep -q '^data: event [0-9]' "$out" || { echo "curl -N heard: $(cat "$out")"; status=1; }
fi
if command -v python3 >/dev/null; then
	(ulimit -n 4096; timeout 100 python3 -c "$event_clients" "$port") >"$out" 2>&1
	[ "$(cat "$out")" = 'all heard' ] || { echo "events:"; cat "$out"; status=1; }
fi
if command -v chromium >/dev/null; then
	page_hears_events || { echo "no EventSource heard events:"; cat "$half/events.log" "$half/chromium.log"; status=1; }
else
	echo "no chromium: examples/events was not tested with it"
fi
kill -TERM $events
wait $events || { echo "events ended with $?"; status=1; }

# WebSockets: a client from the RFC, and a browser
start_websocket() {
	./examples/websocket 0 2>"$half/websocket.log" &
	websocket=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do grep -q port "$half/websocket.log" && break; sleep 1; done
	port=$(sed -n 's/^port //p' "$half/websocket.log")
}

hears_in_browser() {
	chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
		--user-data-dir="$half/profile" \
		--remote-debugging-port=0 "http://127.0.0.1:$port/" >"$half/chromium.log" 2>&1 &
	browser=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
		grep -q browser "$half/websocket.log" && break
		sleep 1
	done
	kill $browser
	wait $browser
	grep -qx 'a browser heard: hello from a browser' "$half/websocket.log"
}

case " $EXAMPLES " in
*" examples/websocket "*)
	start_websocket
	if command -v python3 >/dev/null; then
		timeout 100 python3 "$abs_top_srcdir/src/test/websocket.py" "$port" >"$out" 2>&1
		[ "$(cat "$out")" = 'all echoed' ] || { echo "websocket:"; cat "$out"; status=1; }
	fi
	if command -v chromium >/dev/null; then
		hears_in_browser || { echo "no browser heard an echo:"; cat "$half/websocket.log" "$half/chromium.log"; status=1; }
	else
		echo "no chromium: examples/websocket was not tested with it"
	fi
	kill -TERM $websocket
	wait $websocket || { echo "websocket ended with $?"; status=1; } ;;
*) echo "websocket: not tested, configure has not found libwslay" ;;
esac

# Redis and PostgreSQL, where they are installed, by Unix sockets
if command -v redis-server >/dev/null; then
	redis-server --port 0 --unixsocket "$half/redis" --save '' --dir "$half" --requirepass sesame \
		>"$half/redis.log" 2>&1 &
	redis=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S "$half/redis" ] && break; sleep 1; done
	expect_with "with-redis unix:$half/redis 0 sesame" \
		'wrong password: WRONGPASS; connections inside: 0
ERR wrong number of arguments for '"'incr'"' command
100 questions, 1 connection opened, used again 100 times'
	kill $redis
	wait $redis
else
	echo "no redis-server: examples/with-redis was not tested"
fi
postgres=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
if [ -n "$postgres" ] && [ "$(id -u)" -eq 0 ] && id postgres >/dev/null 2>&1; then
	chmod 755 "$half"
	mkdir "$half/pg" && chown postgres "$half/pg"
	(cd "$half/pg" && runuser -u postgres -- "$postgres/initdb" -D "$half/pg/data" -A trust \
		--no-sync >/dev/null 2>&1)
	(cd "$half/pg" && exec runuser -u postgres -- "$postgres/pg_ctl" -D "$half/pg/data" \
		-w -l "$half/pg/log" \
		-o "-F -h '' -k $half/pg" start >/dev/null)
	expect_with "with-postgres unix:$half/pg/.s.PGSQL.5432 0 postgres" \
		'relation "nowhere" does not exist
9801; 1 connection opened, used again 100 times'
	(ulimit -c 0; ./examples/with-postgres "unix:$half/pg/.s.PGSQL.5432" 0 nobody) >"$out" 2>&1
	grep -q 'role "nobody" does not exist' "$out" ||
		{ echo "with-postgres as nobody:"; cat "$out"; status=1; }
	(cd "$half/pg" && runuser -u postgres -- "$postgres/pg_ctl" -D "$half/pg/data" -m immediate \
		stop >/dev/null)
else
	echo "no PostgreSQL, or not root: examples/with-postgres was not tested"
fi

# the C++ example, where there is a C++17 library
pmr_says='a: 2 and 11
be: 1 and 10
letters: 6 and 15
many: 5 and 14
name: 3 and 12
of: 4 and 13
to: 0 and 9
bad_alloc at no more than a million bytes, handlers left: none
thrown: HashTable_put: the key is NULL
42
live arenas: 0'
case " $EXAMPLES " in
*' examples/pmr '*) expect pmr "$pmr_says" ;;
*) echo "no C++17 with <memory_resource>: examples/pmr.cc was left out" ;;
esac

# from Python; a sanitizer's library cannot be loaded into it
case " $TEST_CFLAGS $CORE_LDFLAGS " in *-fsanitize*) python= ;; *) python=$(command -v python3) ;; esac
if [ -n "$python" ] && [ -f .libs/libcore.so.0 ]; then
	python3 "$abs_top_srcdir/examples/ffi.py" .libs/libcore.so.0 >"$out" 2>&1 ||
		{ echo "ffi.py failed with $?"; status=1; }
	[ "$(cat "$out")" = 'Norway
caught: HashTable_clear: the table is NULL
cleared
live arenas: 0' ] || { echo "ffi.py printed:"; cat "$out"; status=1; }
else
	echo "ffi.py: not tested, there is no python3, no shared library, or it has sanitizers"
fi

# wf against a count made by other means
text=$abs_top_srcdir/README.md
LC_ALL=C tr 'A-Z' 'a-z' <"$text" | LC_ALL=C tr -cs 'a-z' '\n' | grep . | LC_ALL=C sort | uniq -c |
	LC_ALL=C sort -k1,1nr -k2,2 | awk '{ printf "%7d %s\n", $1, $2 }' >"$out"
./examples/wf "$text" | diff - "$out" || { echo "wf counts differently"; status=1; }
[ "$(./examples/wf -n 3 <"$text" | wc -l)" -eq 3 ] ||
	{ echo "wf -n 3 does not print 3 lines"; status=1; }
./examples/wf /nonexistent/file >"$out" 2>&1 &&
	{ echo "wf found a file that is not there"; status=1; }
grep -q '/nonexistent/file: No such file' "$out" ||
	{ echo "wf does not name the file: $(cat "$out")"; status=1; }
exit $status
