#!/bin/sh
# SPDX-License-Identifier: MIT
# HTTPCall against nginx, lighttpd, h2o, node's http and Python's http.server, on a port and, where
# the server can, on a Unix socket. It runs the checks of http_client.c, and checks that
# connections are kept as the server says. Servers that are not installed are left out. node is
# needed, as some of the others pass requests on to it.
. "$(dirname "$0")/http_tools.sh"
PATH=$PATH:/usr/sbin:/sbin
need node python3

files=$work/files
mkdir "$files" "$work/tmp"
echo 'hello, world' >"$files/hello"
head -c 100000 /dev/urandom | od -An -tx1 >"$files/text"
head -c 8000000 /dev/urandom >"$files/big"
chmod -R a+rX "$work"

# server, host, service, checks: until the server answers, ten seconds at most
answers() {
	./src/test/http_client "$1" "$2" "$files" get >"$work/first" 2>&1
}

try_server() {
	name=$1 host=$2 service=$3
	shift 3
	wait_for answers "$host" "$service" ||
		{ fail "$name does not answer: $(cat "$work/first" "$work"/*.log)"; return; }
	if ./src/test/http_client "$host" "$service" "$files" "$@" >"$work/out" 2>&1; then
		echo "$name at $host: $*"
	else
		fail "$name: $(cat "$work/out")"; tail -5 "$work"/*.log
	fi
}

run() { # name, command: a server
	name=$1; shift
	"$@" >"$work/$name.log" 2>&1 &
	servers="$servers $!"
}

# ---- node: kept connections; another server closes idle ones after five milliseconds

cat >"$work/server.js" <<'EOS'
const http = require('http'), fs = require('fs'), files = process.argv[2], work = process.argv[3];
const etag = '"1"';

function serve(request, response) {
	const chunks = [];
	if (request.url === '/hints') {
		response.writeContinue();
		response.writeProcessing();
		response.writeEarlyHints({ link: '</a.css>; rel=preload' });
	}
	if (request.url === '/small' && request.method === 'POST') {
		response.writeHead(413, { 'Content-Length': 4 });
		response.end('much');
		return;
	}
	request.on('data', (chunk) => chunks.push(chunk));
	request.on('end', () => answer(request, response, Buffer.concat(chunks)));
}

function answer(request, response, body) {
	if (request.url === '/none') {
		response.writeHead(204);
		response.end();
	} else if (request.url === '/echo' || request.url === '/hints') {
		response.write(body.subarray(0, body.length / 2)); // in chunks
		response.end(body.subarray(body.length / 2));
	} else if (request.url === '/chunked') {
		fs.createReadStream(files + '/text', { highWaterMark: 10000 }).pipe(response);
	} else if (request.url === '/hello' || request.url === '/big') {
		const bytes = fs.readFileSync(files + request.url);
		const status = request.headers['if-none-match'] === etag ? 304 : 200;
		response.writeHead(status, { ETag: etag, 'Content-Length': bytes.length });
		response.end(bytes);
	} else {
		response.writeHead(404);
		response.end('no such page');
	}
}

// keepAliveTimeout would do, but some versions add a second to it
function closeIdle(socket, response, idle) {
	clearTimeout(socket.idle);
	response.on('finish', () => { socket.idle = setTimeout(() => socket.destroy(), idle); });
}

// The second request of a connection gets no answer but its end.
function serveOnce(request, response) {
	if (request.socket.isUsed) {
		request.socket.destroy();
	} else {
		request.socket.isUsed = true;
		serve(request, response);
	}
}

function listen(name, idle, handler) {
	for (const where of [{ port: 0, host: '127.0.0.1' }, { path: `${work}/${name}.socket` }]) {
		const server = http.createServer(handler);
		server.keepAliveTimeout = 60000;
		if (idle)
			server.on('request', (request, response) => closeIdle(request.socket, response, idle));
		server.listen(where, () => where.path ||
			fs.writeFileSync(`${work}/${name}.port`, `${server.address().port}\n`));
	}
}
listen('node', 0, serve);
listen('hasty', 5, serve);
listen('once', 0, serveOnce);
EOS
run node node "$work/server.js" "$files" "$work"
wait_for test -s "$work/node.port" && wait_for test -s "$work/hasty.port" &&
	wait_for test -s "$work/once.port" && wait_for test -S "$work/node.socket" ||
	{ cat "$work/node.log"; echo "node did not start"; exit 1; }
all='get kept head missing unmodified big chunked post stream hints empty refused'
try_server node 127.0.0.1 "$(cat "$work/node.port")" $all
try_server node "unix:$work/node.socket" 80 $all
try_server hasty 127.0.0.1 "$(cat "$work/hasty.port")" stale
try_server once 127.0.0.1 "$(cat "$work/once.port")" reused

# ---- Python: HTTP/1.1 with kept connections, and HTTP/1.0 without

cat >"$work/server.py" <<'EOS'
import http.server, os, socketserver, sys, threading

files, work = sys.argv[1:]


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=files)

    def address_string(self):
        return "somebody"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204 if self.path == "/none" else 200)
        if self.path != "/none":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path != "/none":
            self.wfile.write(body)


class Old(Handler):
    protocol_version = "HTTP/1.0"


class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def start(server):
    threading.Thread(target=server.serve_forever).start()


start(Unix(work + "/python.socket", Handler))
for name, handler in ("old", Old), ("python", Handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    start(server)
    with open(work + "/" + name + ".new", "w") as f:
        f.write("%d\n" % server.server_address[1])
    os.rename(work + "/" + name + ".new", work + "/" + name + ".port")
EOS
run python python3 "$work/server.py" "$files" "$work"
wait_for test -s "$work/python.port" ||
	{ cat "$work/python.log"; echo "Python did not start"; exit 1; }
some='get kept head missing unmodified big post empty'
try_server python 127.0.0.1 "$(cat "$work/python.port")" $some
try_server python "unix:$work/python.socket" 80 $some
try_server old 127.0.0.1 "$(cat "$work/old.port")" get closed head missing unmodified big post empty

# ---- nginx: files, SSI in chunks, limits; bodies are passed on to node

if command -v nginx >/dev/null; then
	free_port
	{
		echo "daemon off; pid $work/nginx.pid; worker_processes 1; error_log stderr; events { }"
		[ "$(id -u)" -ne 0 ] || echo "user root;"
		echo "http { access_log off;"
		for part in client_body proxy fastcgi uwsgi scgi; do
			echo "${part}_temp_path $work/tmp/$part;"
		done
		cat <<-END
			server {
			 listen 127.0.0.1:$port; listen unix:$work/nginx.socket;
			 root $files;
			 client_max_body_size 20m;
			 location = /chunked { ssi on; ssi_types *; alias $files/text; }
			 location = /none { return 204; }
			 location = /small {
				client_max_body_size 1k; proxy_pass http://unix:$work/node.socket:; }
			 location = /echo { proxy_http_version 1.1; proxy_pass http://unix:$work/node.socket:; }
			}
			}
		END
	} >"$work/nginx.conf"
	run nginx nginx -e stderr -c "$work/nginx.conf"
	checks='get kept head missing unmodified big chunked post stream empty refused'
	try_server nginx 127.0.0.1 "$port" $checks
	try_server nginx "unix:$work/nginx.socket" 80 $checks
fi

# ---- lighttpd: files and CGI

lighttpd_on() { # name, address
	cat >"$work/$1.conf" <<-END
		server.document-root = "$files"
		$2
		server.modules = ( "mod_alias", "mod_cgi" )
		server.upload-dirs = ( "$work/tmp" )
		server.max-keep-alive-requests = 1000
		server.stream-response-body = 1
		mimetype.assign = ( "" => "text/plain" )
		alias.url = ( "/chunked" => "$work/chunked.cgi", "/echo" => "$work/echo.cgi",
			"/none" => "$work/none.cgi" )
		cgi.assign = ( ".cgi" => "/bin/sh" )
		\$HTTP["url"] == "/small" { server.max-request-size = 1 }
	END
	run "$1" lighttpd -D -f "$work/$1.conf"
}
if command -v lighttpd >/dev/null; then
	printf 'printf "Content-Type: text/plain\\r\\n\\r\\n"; cat %s\n' "$files/text" \
		>"$work/chunked.cgi"
	printf 'printf "Content-Type: text/plain\\r\\n\\r\\n"; cat\n' >"$work/echo.cgi"
	printf 'cat >/dev/null; printf "Status: 204\\r\\n\\r\\n"\n' >"$work/none.cgi"
	checks='get kept head missing unmodified big chunked post stream empty refused'
	free_port
	lighttpd_on lighttpd "server.bind = \"127.0.0.1\"
server.port = $port"
	try_server lighttpd 127.0.0.1 "$port" $checks
	lighttpd_on lighttpd-unix "server.bind = \"$work/lighttpd.socket\""
	try_server lighttpd-unix "unix:$work/lighttpd.socket" 80 $checks
fi

# ---- h2o: files; bodies are passed on to node

if command -v h2o >/dev/null; then
	free_port
	cat >"$work/h2o.conf" <<-END
		listen: { host: 127.0.0.1, port: $port }
		listen: { type: unix, port: $work/h2o.socket }
		num-threads: 1
		temp-buffer-path: $work/tmp
		hosts:
		  default:
		    paths:
		      /echo: { proxy.reverse.url: "http://[unix:$work/node.socket]/echo" }
		      /none: { proxy.reverse.url: "http://[unix:$work/node.socket]/none" }
		      /chunked: { proxy.reverse.url: "http://[unix:$work/node.socket]/chunked" }
		      /: { file.dir: $files }
	END
	[ "$(id -u)" -ne 0 ] || echo "user: root" >>"$work/h2o.conf"
	run h2o h2o -c "$work/h2o.conf"
	checks='get kept head missing unmodified big chunked post stream empty'
	try_server h2o 127.0.0.1 "$port" $checks
	try_server h2o "unix:$work/h2o.socket" 80 $checks
fi
exit $status
