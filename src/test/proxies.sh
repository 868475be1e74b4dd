#!/bin/sh
# SPDX-License-Identifier: MIT
# Which paths reach the route /admin through proxies that have a rule against it: compares the
# table of docs/deployment.md with the proxies that are installed. With --write it prints the
# table.
. "$(dirname "$0")/http_tools.sh"
PATH=$PATH:/usr/sbin
need loopback curl descriptors=1024
page=$abs_top_srcdir/docs/deployment.md
paths='/admin /admin/x //admin /./admin /x/../admin /%61dmin /%2e/admin /x/%2e%2e/admin'
paths="$paths /x%2F..%2Fadmin /admin%2Fx /%2Fadmin /x%5C..%5Cadmin /ADMIN"

start "$work/paths" ./src/test/http_paths 0
back=$port

# Each: writes a configuration for the port $front and runs the proxy.
run_haproxy() {
	cat >"$work/haproxy.cfg" <<-END
		defaults
		 mode http
		 timeout connect 5s
		 timeout client 5s
		 timeout server 5s
		frontend f
		 bind 127.0.0.1:$front
		 http-request deny if { path /admin } || { path_beg /admin/ }
		 default_backend b
		backend b
		 server s 127.0.0.1:$back
	END
	exec haproxy -f "$work/haproxy.cfg"
}

run_nginx() {
	cat >"$work/nginx.cfg" <<-END
		daemon off;
		pid $work/nginx.pid;
		error_log stderr;
		events { }
		http {
		 access_log off;
		 client_body_temp_path $work/a; proxy_temp_path $work/b; fastcgi_temp_path $work/c;
		 uwsgi_temp_path $work/d; scgi_temp_path $work/e;
		 server {
		  listen 127.0.0.1:$front;
		  location / { proxy_pass http://127.0.0.1:$back; }
		  location = /admin { return 403; }
		  location /admin/ { return 403; }
		 }
		}
	END
	exec nginx -c "$work/nginx.cfg"
}

run_apache2() {
	modules=/usr/lib/apache2/modules
	cat >"$work/apache.cfg" <<-END
		ServerName localhost
		Listen 127.0.0.1:$front
		PidFile $work/apache.pid
		ErrorLog $work/apache.log
		LoadModule mpm_event_module $modules/mod_mpm_event.so
		LoadModule authz_core_module $modules/mod_authz_core.so
		LoadModule proxy_module $modules/mod_proxy.so
		LoadModule proxy_http_module $modules/mod_proxy_http.so
		ProxyPass / http://127.0.0.1:$back/
		<Location /admin>
		 Require all denied
		</Location>
	END
	exec apache2 -X -d "$work" -f "$work/apache.cfg"
}

run_varnishd() {
	cat >"$work/rules.vcl" <<-END
		vcl 4.0;
		backend default { .host = "127.0.0.1"; .port = "$back"; }
		sub vcl_recv {
		 if (req.url ~ "^/admin(/|\$)") { return (synth(403)); }
		 return (pass);
		}
	END
	exec varnishd -F -j none -n "$work/varnish" -a "127.0.0.1:$front" -f "$work/rules.vcl" \
		-s malloc,8m
}

run_squid() {
	cat >"$work/squid.cfg" <<-END
		http_port 127.0.0.1:$front accel defaultsite=localhost no-vhost
		cache_peer 127.0.0.1 parent $back 0 no-query originserver
		acl admin urlpath_regex ^/admin(/|\$)
		http_access deny admin
		http_access allow all
		cache deny all
		access_log none
		cache_log $work/squid.log
		pid_filename none
		coredump_dir $work
		shutdown_lifetime 0 seconds
	END
	chmod 777 "$work"
	exec squid -N -f "$work/squid.cfg"
}

answer() { # port, path: what the path reaches
	curl -s --path-as-is -o "$work/body" -w '%{http_code}' "http://127.0.0.1:$1$2" >"$work/code"
	case $(cat "$work/code") in
	200) cat "$work/body" ;;
	*) echo refused ;;
	esac
}

column() { # proxy: a line for each path
	free_port; front=$port
	"run_$1" >"$work/$1.out" 2>&1 &
	servers="$servers $!"
	wait_for curl -s -o "$work/body" "http://127.0.0.1:$front/" ||
		{ echo "$1 does not answer: $(cat "$work/$1.out")" >&2; exit 1; }
	for path in $paths; do answer $front "$path"; done >"$work/column-$1"
}

for path in $paths; do echo "$path"; done >"$work/rows"
for path in $paths; do answer $back "$path"; done >"$work/column-none"
here=none
for proxy in haproxy nginx apache2 varnishd squid; do
	command -v $proxy >/dev/null || continue
	column $proxy
	here="$here $proxy"
done
[ "$here" != none ] || { echo "none of the proxies is installed"; exit 77; }

if [ "$1" = --write ]; then
	echo "| path | none | haproxy | nginx | apache2 | varnishd | squid |"
	echo "|---|---|---|---|---|---|---|"
	paste -d'|' "$work/rows" "$work/column-none" "$work/column-haproxy" "$work/column-nginx" \
		"$work/column-apache2" "$work/column-varnishd" "$work/column-squid" |
		sed 's/|/ | /g; s/^/| `/; s/ |/` |/; s/$/ |/'
	exit
fi
for proxy in $here; do
	n=$(awk -F' *[|] *' -v proxy="$proxy" \
		'$2 == "path" { for (i = 3; i <= NF; i++) if ($i == proxy) print i }' "$page")
	awk -F' *[|] *' -v n="$n" '$2 ~ /^`\// { print $n }' "$page" >"$work/table"
	paste -d' ' "$work/rows" "$work/table" >"$work/should"
	paste -d' ' "$work/rows" "$work/column-$proxy" >"$work/is"
	diff "$work/should" "$work/is" || fail "$proxy, by the table (<) and by what it does (>)"
done
echo "tried: $here"
exit $status
