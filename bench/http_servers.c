/* SPDX-License-Identifier: MIT */
/* HTTPServer, a bare epoll loop that parses nothing (it looks for the empty line and answers with
 * bytes that were made before), and the servers that are installed: one worker, one thread, no
 * log, connections kept for as long as the benchmark takes. nginx answers from memory; lighttpd
 * and h2o have no such handler and answer with a file that they keep open. */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <core/core.h>
#include "http_servers.h"

static const char page[] = "Hello, world!";
const char *http_other;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- the bare loop ---- */

static void answer_bare(int fd, int poll)
{
	static const char one[] =
		"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 13\r\n"
		"Content-Type: text/plain\r\n\r\nHello, world!";
	static char many[512 * sizeof one];
	char input[16384], *s;
	ssize_t n = recv(fd, input, sizeof input - 1, 0);
	size_t out = 0;

	if (n <= 0) {
		epoll_ctl(poll, EPOLL_CTL_DEL, fd, NULL);
		close(fd);
		return;
	}
	input[n] = '\0';
	for (s = input; (s = strstr(s, "\r\n\r\n")) != NULL && out < sizeof many; s += 4) {
		memcpy(many + out, one, sizeof one - 1);
		out += sizeof one - 1;
	}
	if (send(fd, many, out, MSG_NOSIGNAL) < 0 || strstr(input, "Connection: close"))
		close(fd);
}

static void serve_bare(int listener, int port, const char *directory)
{
	struct epoll_event e = { EPOLLIN, { .fd = listener } }, events[64];
	int poll = epoll_create1(0), i, n;

	(void)port, (void)directory;
	epoll_ctl(poll, EPOLL_CTL_ADD, listener, &e);
	for (;;)
		for (n = epoll_wait(poll, events, 64, -1), i = 0; i < n; i++)
			if (events[i].data.fd == listener) {
				int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

				e.data.fd = fd;
				if (fd >= 0)
					epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
			} else
				answer_bare(events[i].data.fd, poll);
}

/* ---- HTTPServer ---- */

static void hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_set(response, "Content-Type", "text/plain");
	HTTPResponse_write(response, page, sizeof page - 1);
}

void http_serve_activated(void)
{
	HTTPServer_Options options = {
		.threads = 1, .activated = 1, .connections = HTTP_IDLE + 10 * HTTP_CLIENTS, .idle_ms = -1
	};
	Arena_T arena = Arena_new();
	HTTPServer_T server = HTTPServer_new(arena, &options);

	HTTPServer_route(server, "GET", "/", hello, NULL);
	HTTPServer_run(server);
}

/* Passes the listener by socket activation, because it exists already. */
static void activate(int listener)
{
	char pid[32];

	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	dup2(listener, 3);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
}

static void serve_core(int listener, int port, const char *directory)
{
	(void)port, (void)directory;
	activate(listener);
	http_serve_activated();
}

static void serve_other(int listener, int port, const char *directory)
{
	(void)port, (void)directory;
	activate(listener);
	execl(http_other, http_other, "serve", (char *)NULL);
}

/* ---- those that are installed. A file of the directory is written, %s in it being the directory
 * and %d the port ---- */

static const char *file_in(const char *directory, const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	return path;
}

static const char *write_file(const char *directory, const char *name, const char *text)
{
	const char *path = file_in(directory, name);
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		die(path);
	return path;
}

/* Debian keeps servers out of an ordinary user's PATH. */
static void execute(const char *program, const char *option, const char *file, const char *last)
{
	char path[64];

	freopen("/dev/null", "w", stderr);
	freopen("/dev/null", "w", stdout);
	execlp(program, program, option, file, last, (char *)NULL);
	snprintf(path, sizeof path, "/usr/sbin/%s", program);
	execl(path, program, option, file, last, (char *)NULL);
}

static void serve_nginx(int listener, int port, const char *directory)
{
	char conf[1024];

	(void)listener;
	snprintf(conf, sizeof conf,
		"daemon off; master_process off; worker_processes 1; pid %s/pid; "
		"error_log /dev/null crit;\n"
		"events { worker_connections 15000; }\n"
		"http { access_log off; keepalive_requests 1000000000; keepalive_timeout 3600; "
		"default_type text/plain;\n"
		"client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; "
		"uwsgi_temp_path %s; scgi_temp_path %s;\n"
		"server { listen 127.0.0.1:%d; location / { return 200 \"%s\"; } } }\n",
		directory, directory, directory, directory, directory, directory, port, page);
	execute("nginx", "-c", write_file(directory, "conf", conf), NULL);
}

static void serve_lighttpd(int listener, int port, const char *directory)
{
	char conf[1024];

	(void)listener;
	write_file(directory, "index.html", page);
	snprintf(conf, sizeof conf,
		"server.bind = \"127.0.0.1\"\nserver.port = %d\nserver.document-root = \"%s\"\n"
		"index-file.names = ( \"index.html\" )\n"
		"server.max-fds = 16384\nserver.max-connections = 15000\n"
		"server.max-keep-alive-requests = 65535\n"
		"server.max-keep-alive-idle = 3600\nserver.max-read-idle = 3600\n"
		"mimetype.assign = ( \".html\" => \"text/plain\" )\nstatic-file.etags = \"disable\"\n",
		port, directory);
	execute("lighttpd", "-f", write_file(directory, "conf", conf), "-D");
}

static void serve_h2o(int listener, int port, const char *directory)
{
	char conf[1024];

	(void)listener;
	write_file(directory, "index.html", page);
	snprintf(conf, sizeof conf,
		"num-threads: 1\nnum-name-resolution-threads: 1\nmax-connections: 15000\n"
		"http1-request-timeout: 3600\nerror-log: /dev/null\n"
		"listen:\n  host: 127.0.0.1\n  port: %d\n"
		"hosts:\n  default:\n    paths:\n      /:\n        file.dir: %s\n        file.etag: OFF\n",
		port, directory);
	execute("h2o", "-c", write_file(directory, "conf", conf), NULL);
}

Http_Server http_servers[] = {
	{ .name = "a bare epoll loop", .serve = serve_bare },
	{ .name = "HTTPServer", .serve = serve_core },
	{ .name = "HTTPServer, the other build", .serve = serve_other },
	{ .name = "nginx", .serve = serve_nginx, .listens = 1 },
	{ .name = "lighttpd", .serve = serve_lighttpd, .listens = 1, .few = 1, .most = 65000 },
	{ .name = "h2o", .serve = serve_h2o, .listens = 1 }
};
const int http_nservers = sizeof http_servers / sizeof http_servers[0];

/* ---- starting and stopping ---- */

void http_pin(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof set, &set);
}

static int make_listener(int *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4096) != 0)
		die("listen");
	getsockname(fd, (struct sockaddr *)&a, &n);
	*port = ntohs(a.sin_port);
	return fd;
}

int http_dial(const Http_Server *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)s->port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

/* Returns 1 once it listens; 0 if it has ended, or never listens. */
static int is_up(const Http_Server *s)
{
	siginfo_t ended = { 0 };
	int tries, fd;

	for (tries = 0; tries < 200; tries++) {
		nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
		if (waitid(P_PID, (id_t)s->process, &ended, WEXITED | WNOHANG | WNOWAIT) != 0
			|| ended.si_pid != 0)
			return 0;
		if ((fd = http_dial(s)) >= 0) {
			close(fd);
			return 1;
		}
	}
	return 0;
}

/* Without the client's connections, which would stay open with it; and it ends when the client
 * does. */
static void be(const Http_Server *s, int listener)
{
	int fd;

	for (fd = 3; fd < 4096; fd++)
		if (fd != listener)
			close(fd);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	http_pin(0);
	s->serve(listener, s->port, s->directory);
	_exit(127);
}

/* h2o gives up root's rights, and is to read the directory even so. */
void http_start(Http_Server *s)
{
	int listener;

	if (s->serve == serve_other && !http_other)
		return;
	listener = make_listener(&s->port);
	strcpy(s->directory, "/tmp/bench-http-XXXXXX");
	if (!mkdtemp(s->directory) || chmod(s->directory, 0755) != 0)
		die("mkdtemp");
	if (s->listens)
		close(listener);
	fflush(stdout);
	s->process = fork();
	if (s->process == 0)
		be(s, listener);
	if (!s->listens)
		close(listener);
	if (!is_up(s)) {
		printf("%s is left out: it is not installed, or does not answer\n", s->name);
		http_stop(s);
	}
}

void http_stop(Http_Server *s)
{
	static const char *const files[] = { "conf", "pid", "index.html" };
	size_t i;

	if (s->process == 0)
		return;
	kill(s->process, SIGKILL);
	waitpid(s->process, NULL, 0);
	s->process = 0;
	for (i = 0; i < sizeof files / sizeof files[0]; i++)
		unlink(file_in(s->directory, files[i]));
	rmdir(s->directory);
}
