#!/bin/sh
# SPDX-License-Identifier: MIT
# Two servers behind nginx as docs/deployment.md configures it: nginx must keep its connections to
# them. Bodies of each framing, and HEAD. One server is drained, then killed, and started again
# under load, and no request may be lost.
. "$(dirname "$0")/http_tools.sh"
PATH=$PATH:/usr/sbin:/sbin
need loopback nginx ab curl

start "$work/one" ./src/test/http_behind 0 direct; one=$pid; port_one=$port
start "$work/two" ./src/test/http_behind 0 direct; two=$pid; port_two=$port
free_port; front=$port; url=http://127.0.0.1:$port

# What is nginx's own affair: where it may write, and as whom.
{
	echo "daemon off; pid $work/pid;"
	[ "$(id -u)" -ne 0 ] || echo "user root;"
	documented 2 | sed "s/:8080/:$front/; s/:8081/:$port_one/; s/:8082/:$port_two/"
} | awk -v work="$work" '{ print } /^http/ { print "access_log off;"
	n = split("client_body proxy fastcgi uwsgi scgi", part)
	for (i = 1; i <= n; i++) print part[i] "_temp_path " work "/" part[i] ";" }' \
	>"$work/nginx.conf"
nginx -e "$work/errors" -c "$work/nginx.conf" >"$work/nginx" 2>&1 &
servers="$servers $!"
wait_for curl -s -o /dev/null "$url/" ||
	{ cat "$work/nginx" "$work/errors"; echo "nginx does not answer"; exit 1; }

get() { # expected status, then curl's arguments
	want=$1; shift
	got=$(curl -s -D "$work/head" -o "$work/body" -w '%{http_code}' --max-time 30 "$@")
	[ "$got" = "$want" ] || fail "curl $* answered $got, not $want: $(head -c 200 "$work/body")"
}

framed() { # as the server says that the request was
	grep -qi "^framed-by: $1" "$work/head" ||
		fail "the server saw $(grep -i framed-by "$work/head"), not $1"
}

for n in 1 2 3 4 5 6 7 8 9 10; do curl -s "$url/"; done | sort -u >"$work/peers"
[ "$(grep -c '^127.0.0.1:' "$work/peers")" -le 2 ] ||
	fail "nginx did not keep its connections: $(cat "$work/peers")"
curl -s "$url/forwarded" | grep -qx '127.0.0.1 127.0.0.1:'"$front" ||
	fail "forwarded: $(curl -s "$url/forwarded")"

head -c 700000 /dev/zero | tr '\0' x >"$work/large"
get 200 --data-binary 'some bytes' "$url/echo"; framed length
[ "$(cat "$work/body")" = 'some bytes' ] || fail "POST /echo: $(cat "$work/body")"
get 200 --data-binary "@$work/large" "$url/echo"; framed length
cmp -s "$work/body" "$work/large" || fail "700,000 bytes did not come back"
get 200 -H 'Transfer-Encoding: chunked' --data-binary "@$work/large" "$url/echo"; framed chunked
cmp -s "$work/body" "$work/large" || fail "700,000 bytes in chunks did not come back"
get 200 -H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue' -d 'in chunks' "$url/echo"
framed chunked
[ "$(cat "$work/body")" = 'in chunks' ] || fail "chunked: $(cat "$work/body")"
get 200 -X POST -H 'Content-Length: 0' "$url/echo"
get 404 "$url/nothing/here"
get 405 -X POST "$url/"; get 501 -X DELETE "$url/"
for n in 1 2 3; do
	get 200 -I "$url/"
	grep -qi '^content-length: [1-9]' "$work/head" || fail "HEAD has no length: $(cat "$work/head")"
done
codes=$(curl -s -o /dev/null -o /dev/null -o /dev/null -w '%{http_code} ' \
	"$url/" "$url/echo" "$url/")
[ "$codes" = '200 405 200 ' ] || fail "after HEAD the answers are $codes"

load "$work/ab" "$url/" &
load=$!
sleep 0.5
end "$work/one" $one "the server that was stopped"
start "$work/one" ./src/test/http_behind "$port_one" direct; one=$pid
sleep 0.5
kill -KILL $one
start "$work/one" ./src/test/http_behind "$port_one" direct; one=$pid
wait $load || status=1
kill -0 $two || fail "the other one is gone"
wait_for curl -sf -o /dev/null "http://127.0.0.1:$port_one/" ||
	fail "the one started again does not answer"
end "$work/one" $one "the first server"
end "$work/two" $two "the second server"
exit $status
