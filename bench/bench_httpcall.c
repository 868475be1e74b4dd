/* SPDX-License-Identifier: MIT */
/* HTTPCall: the CPU time of a call, beside a send and a recv by hand with the same parser; and the
 * CPU time of examples/gateway, beside nginx's proxy_pass. The server is the bare loop of
 * http_servers.c. */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <core/core.h>
#include "bench.h"
#include "http/parser.h"
#include "http_servers.h"

enum { CALLS = 2000, CLIENTS = 16, ROUNDS = 200 };

static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
static Http_Server *upstream = &http_servers[0];
static char service[16];
static Arena_T arena;
static SocketPool_T pool;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Returns the CPU time of all threads of a process; 0 means this process. */
static double cpu_ns(pid_t process)
{
	clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
	struct timespec t;

	if ((process && clock_getcpuclockid(process, &clock) != 0) || clock_gettime(clock, &t) != 0)
		die("clock");
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- a call on a kept connection ---- */

static void call_once(Arena_T a)
{
	HTTPCall_T call = HTTPCall_new(a, "GET", "/");

	HTTPCall_run(call, pool, "127.0.0.1", service);
	if (HTTPCall_status(call) != 200)
		die("HTTPCall");
}

static double ns_by_call(void *cl)
{
	Arena_T a = Arena_new();
	double before;
	int i;

	(void)cl;
	call_once(a);
	before = cpu_ns(0);
	for (i = 0; i < CALLS; i++) {
		Arena_clear(a);
		call_once(a);
	}
	before = cpu_ns(0) - before;
	Arena_dispose(&a);
	return before / CALLS;
}

static void get_by_hand(int fd)
{
	static const HTTP_Limits limits = { 8192, 100, 65536, 1 << 20, 1, 1 };
	char bytes[16384];
	HTTPParser_Event event = HTTPParser_MORE;
	HTTPParser p;
	size_t n = 0;

	if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
		die("send");
	httpparser__init_answer(&p, &limits, 0);
	while (event != HTTPParser_END) {
		ssize_t got = event == HTTPParser_MORE ? recv(fd, bytes + n, sizeof bytes - n, 0) : 0;

		if (got < 0 || event == HTTPParser_ERROR)
			die("recv");
		n += (size_t)got;
		event = httpparser__next(&p, bytes, n);
	}
}

static double ns_by_hand(void *cl)
{
	int fd = http_dial(upstream), i;
	double before;

	(void)cl;
	get_by_hand(fd);
	before = cpu_ns(0);
	for (i = 0; i < CALLS; i++)
		get_by_hand(fd);
	before = cpu_ns(0) - before;
	close(fd);
	return before / CALLS;
}

/* ---- a proxied request ---- */

static void serve_gateway(int listener, int port, const char *directory)
{
	char own[16];

	(void)listener;
	(void)directory;
	snprintf(own, sizeof own, "%d", port);
	if (!freopen("/dev/null", "w", stderr))
		die("/dev/null");
	execl("examples/gateway", "gateway", own, "127.0.0.1", service, (char *)NULL);
}

static void serve_nginx(int listener, int port, const char *directory)
{
	char path[64];
	FILE *f;

	(void)listener;
	snprintf(path, sizeof path, "%s/conf", directory);
	f = fopen(path, "w");
	fprintf(f,
		"daemon off; master_process off; worker_processes 1; pid %s/pid; "
		"error_log /dev/null crit;\n"
		"events { }\nhttp { access_log off; keepalive_requests 1000000000;\n"
		"client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; "
		"uwsgi_temp_path %s; scgi_temp_path %s;\n"
		"upstream u { server 127.0.0.1:%s; keepalive 64; keepalive_requests 1000000000; }\n"
		"server { listen 127.0.0.1:%d; location / { proxy_pass http://u; proxy_http_version 1.1;\n"
		"proxy_set_header Connection \"\"; } } }\n",
		directory, directory, directory, directory, directory, directory, service, port);
	fclose(f);
	execl("/usr/sbin/nginx", "nginx", "-c", path, (char *)NULL);
}

static Http_Server proxies[] = {
	{ .name = "nginx, proxy_pass", .serve = serve_nginx, .listens = 1 },
	{ .name = "examples/gateway", .serve = serve_gateway, .listens = 1 },
};

/* Sends on all connections, then receives on all. The answers are of one length. */
static void get_on_all(const int *fd, size_t *length)
{
	char text[4096];
	int i;

	for (i = 0; i < CLIENTS; i++)
		if (send(fd[i], request, sizeof request - 1, MSG_NOSIGNAL) < 0)
			die("send");
	for (i = 0; i < CLIENTS; i++) {
		size_t n = 0;
		ssize_t got;

		do {
			if ((got = recv(fd[i], text + n, sizeof text - 1 - n, 0)) <= 0)
				die("recv");
			n += (size_t)got;
			text[n] = '\0';
		} while (*length ? n < *length : !strstr(text, "Hello, world!"));
		if (!*length) /* includes the last chunk, if the body is chunked */
			*length = n;
	}
}

static double proxied_ns(void *cl)
{
	Http_Server *s = cl;
	int fd[CLIENTS], i;
	size_t length = 0;
	double before;

	for (i = 0; i < CLIENTS; i++)
		fd[i] = http_dial(s);
	get_on_all(fd, &length);
	before = cpu_ns(s->process);
	for (i = 0; i < ROUNDS; i++)
		get_on_all(fd, &length);
	before = cpu_ns(s->process) - before;
	for (i = 0; i < CLIENTS; i++)
		close(fd[i]);
	return before / (ROUNDS * CLIENTS);
}

int main(int argc, char *argv[])
{
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	bench_start("httpcall", &argc, argv);
	http_start(upstream);
	snprintf(service, sizeof service, "%d", upstream->port);
	http_pin(1);
	arena = Arena_new();
	pool = SocketPool_new(arena, 4, 64);
	bench_add(&(Bench_Case){ .workload = "CPU of a call on a kept connection", .unit = "ns",
		.name = "send and recv by hand, the same parser", .value = ns_by_hand });
	bench_add(&(Bench_Case){ .workload = "CPU of a call on a kept connection",
		.unit = "ns",
		.name = "HTTPCall_run",
		.value = ns_by_call,
		.goal = 1.25 });
	for (i = 0; i < sizeof proxies / sizeof *proxies; i++) {
		http_start(&proxies[i]);
		if (proxies[i].process)
			bench_add(&(Bench_Case){ .workload = "CPU of a proxied request, 16 connections",
				.unit = "ns",
				.name = proxies[i].name,
				.value = proxied_ns,
				.cl = &proxies[i],
				.goal = i ? 1.3 : 0 });
	}
	bench_run();
	for (i = 0; i < sizeof proxies / sizeof *proxies; i++)
		http_stop(&proxies[i]);
	http_stop(upstream);
	return bench_end();
}
