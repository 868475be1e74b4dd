/* SPDX-License-Identifier: MIT */
/* HTTPServer beside nginx, where it is installed, and a bare epoll loop that parses nothing: it looks for the empty line
 * and answers with bytes that were made before. Each server is a process on the first processor; the client, this
 * process, is on the last: it writes a request to each of its connections, and then in turn reads an answer and writes the
 * next, blocking, so that it needs the two system calls a request that the server needs, and nothing else. */
#include "config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <core/core.h>
#include "bench.h"

enum { CLIENTS = 64, IDLE = 10000, MOST = 4096 };

typedef struct Server {
	const char *name;
	void (*serve)(int listener); /* NULL: nginx */
	pid_t process;
	int port;
	size_t answer;               /* bytes of a response */
	int fd[CLIENTS];
} Server;

typedef struct Load {
	Server *server;
	const char *request;
	int depth;                   /* requests in a row */
	int fresh;                   /* a connection each */
} Load;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void pin(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof set, &set);
}

/* ---- the servers ---- */

static const char page[] = "Hello, world!";

static void answer_bare(int fd, int poll)
{
	static const char one[] = "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 13\r\n"
		"Content-Type: text/plain\r\n\r\nHello, world!";
	static char many[64 * sizeof one];
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
	if (send(fd, many, out, MSG_NOSIGNAL) < 0)
		close(fd);
	if (strstr(input, "Connection: close"))
		close(fd);
}

static void serve_bare(int listener)
{
	struct epoll_event e = { EPOLLIN, { .fd = listener } }, events[64];
	int poll = epoll_create1(0), i, n;

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

static void hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_set(response, "Content-Type", "text/plain");
	HTTPResponse_write(response, page, sizeof page - 1);
}

/* By the way of socket activation, as it has a listener already. */
static void serve_core(int listener)
{
	Arena_T arena = Arena_new();
	HTTPServer_T server;
	char pid[32];

	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	dup2(listener, 3);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	server = HTTPServer_new(arena, &(HTTPServer_Options){ .threads = 1, .activated = 1, .connections = 2 * IDLE, .idle_ms = -1 });
	HTTPServer_route(server, "GET", "/", hello, NULL);
	HTTPServer_run(server);
}

static void serve_nginx(int listener, const char *directory)
{
	char conf[1024], name[256];
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	FILE *f;

	getsockname(listener, (struct sockaddr *)&a, &n);
	close(listener);
	snprintf(name, sizeof name, "%s/nginx.conf", directory);
	f = fopen(name, "w");
	if (!f)
		die(name);
	snprintf(conf, sizeof conf, "daemon off; master_process off; worker_processes 1; pid %s/pid; error_log /dev/null crit;\n"
		"worker_rlimit_nofile 30000; events { worker_connections 25000; }\n"
		"http { access_log off; keepalive_requests 1000000000; keepalive_timeout 3600; default_type text/plain;\n"
		"client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; uwsgi_temp_path %s; scgi_temp_path %s;\n"
		"server { listen 127.0.0.1:%d; location / { return 200 \"%s\"; } } }\n",
		directory, directory, directory, directory, directory, directory, ntohs(a.sin_port), page);
	fputs(conf, f);
	fclose(f);
	execlp("nginx", "nginx", "-c", name, (char *)NULL);
	execl("/usr/sbin/nginx", "nginx", "-c", name, (char *)NULL);
	_exit(127);
}

static Server servers[] = { { .name = "a bare epoll loop", .serve = serve_bare }, { .name = "HTTPServer", .serve = serve_core },
	{ .name = "nginx" } };
enum { SERVERS = sizeof servers / sizeof servers[0] };

static char directory[] = "/tmp/bench-http-XXXXXX";

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

static int try_dial(const Server *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)s->port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static int dial(const Server *s)
{
	int fd = try_dial(s);

	if (fd < 0)
		die("connect");
	return fd;
}

static void launch(Server *s)
{
	int listener = make_listener(&s->port);

	s->process = fork();
	if (s->process == 0) {
		pin(0);
		if (s->serve)
			s->serve(listener);
		else
			serve_nginx(listener, directory);
		_exit(0);
	}
	close(listener);
}

static const char small[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
static const char closing[] = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
static const char browser[] = "GET / HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) "
	"Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;"
	"q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n"
	"Referer: https://www.example.com/some/page/with/a/path\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark; "
	"_ga=GA1.2.1234567890.1234567890\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
	"Sec-Fetch-Site: same-origin\r\nPriority: u=0, i\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n";

static void send_all(int fd, const char *bytes, size_t n)
{
	if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("send");
}

/* Once the server is up: the length of its answer, which is always the same. 0: it is not there. */
static size_t probe(const Server *s)
{
	char text[MOST];
	int fd = -1, tries;
	ssize_t n;

	for (tries = 0; fd < 0 && tries < 200; tries++) {
		if (waitpid(s->process, NULL, WNOHANG) != 0)
			return 0;
		nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
		fd = try_dial(s);
	}
	if (fd < 0)
		return 0;
	send_all(fd, small, sizeof small - 1);
	nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
	n = recv(fd, text, sizeof text, 0);
	close(fd);
	return n > 0 ? (size_t)n : 0;
}

/* ---- the client ---- */

static void receive(int fd, size_t n)
{
	static char sink[64 * MOST];

	if (recv(fd, sink, n, MSG_WAITALL) != (ssize_t)n)
		die("recv");
}

static void fresh_connections(const Load *l, size_t n)
{
	char text[MOST];

	while (n-- > 0) {
		int fd = dial(l->server);

		send_all(fd, closing, sizeof closing - 1);
		while (recv(fd, text, sizeof text, 0) > 0)
			;
		close(fd);
	}
}

/* n requests; every connection has `depth` of them at a time. */
static void load(void *cl, size_t n)
{
	const Load *l = cl;
	size_t length = strlen(l->request), total = n / (size_t)l->depth, i;
	size_t first = total < CLIENTS ? total : CLIENTS;
	char *requests;

	if (l->fresh) {
		fresh_connections(l, n);
		return;
	}
	requests = malloc(length * (size_t)l->depth);
	for (i = 0; i < (size_t)l->depth; i++)
		memcpy(requests + i * length, l->request, length);
	length *= (size_t)l->depth;
	for (i = 0; i < first; i++)
		send_all(l->server->fd[i], requests, length);
	for (i = 0; i < total; i++) {
		receive(l->server->fd[i % first], l->server->answer * (size_t)l->depth);
		if (i + first < total)
			send_all(l->server->fd[i % first], requests, length);
	}
	free(requests);
}

/* ---- what the kernel says of a server ---- */

/* User and kernel, to the nanosecond; each server is one thread. */
static double cpu_ns(pid_t process)
{
	unsigned long long ns = 0;
	char name[64];
	FILE *f;

	snprintf(name, sizeof name, "/proc/%ld/schedstat", (long)process);
	f = fopen(name, "r");
	if (f && fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	return (double)ns;
}

static double resident(pid_t process)
{
	char name[64];
	long pages = 0;
	FILE *f;

	snprintf(name, sizeof name, "/proc/%ld/statm", (long)process);
	f = fopen(name, "r");
	if (f && fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double cpu(void *cl)
{
	Load *l = cl;
	size_t n = 1000 * (size_t)l->depth;
	double before = cpu_ns(l->server->process);

	load(l, n);
	return (cpu_ns(l->server->process) - before) / (double)n;
}

static int idle_fd[IDLE];

/* Bytes that a connection adds which has been served once and waits; they stay for the workload that follows. */
static double idle_bytes(void *cl)
{
	Load *l = cl;
	double before, after;
	int i;

	before = resident(l->server->process);
	for (i = 0; i < IDLE; i++) {
		idle_fd[i] = dial(l->server);
		send_all(idle_fd[i], small, sizeof small - 1);
		receive(idle_fd[i], l->server->answer);
	}
	after = resident(l->server->process);
	for (i = 0; i < IDLE; i++)
		close(idle_fd[i]);
	return (after - before) / IDLE;
}

/* ---- workloads ---- */

static Load loads[64];
static int nloads;

static Load *make_load(Server *s, const char *request, int depth, int fresh)
{
	Load *l = &loads[nloads++];

	*l = (Load){ s, request, depth, fresh };
	return l;
}

static void add(const char *workload, const char *request, int depth, int fresh, size_t n, double goal)
{
	int i;

	for (i = 0; i < SERVERS; i++)
		if (servers[i].answer)
			bench_add(&(Bench_Case){ .workload = workload, .name = servers[i].name, .run = load, .n = n,
				.cl = make_load(&servers[i], request, depth, fresh), .goal = i == 1 ? goal : 0 });
}

static void add_value(const char *workload, double (*value)(void *), const char *unit, const char *request, int depth, double goal)
{
	int i;

	for (i = 0; i < SERVERS; i++)
		if (servers[i].answer)
			bench_add(&(Bench_Case){ .workload = workload, .name = servers[i].name, .value = value, .unit = unit,
				.cl = make_load(&servers[i], request, depth, 0), .goal = i == 1 ? goal : 0 });
}

static void start_all(void)
{
	struct rlimit limit;
	int i, k;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (!mkdtemp(directory))
		die("mkdtemp");
	for (i = 0; i < SERVERS; i++) {
		launch(&servers[i]);
		servers[i].answer = probe(&servers[i]);
		if (!servers[i].answer)
			printf("%s is left out: it does not answer\n", servers[i].name);
		for (k = 0; servers[i].answer && k < CLIENTS; k++)
			servers[i].fd[k] = dial(&servers[i]);
	}
	pin((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
}

static void end_all(void)
{
	char name[64];
	int i;

	for (i = 0; i < SERVERS; i++) {
		kill(servers[i].process, SIGKILL);
		waitpid(servers[i].process, NULL, 0);
	}
	snprintf(name, sizeof name, "%s/nginx.conf", directory);
	unlink(name);
	snprintf(name, sizeof name, "%s/pid", directory);
	unlink(name);
	rmdir(directory);
}

int main(int argc, char *argv[])
{
	bench_start("http", &argc, argv);
	start_all();
	add("small request, 64 connections", small, 1, 0, 4000, 1 / 0.95);
	add("browser's request, 64 connections", browser, 1, 0, 4000, 1 / 0.95);
	add("16 in a row, 64 connections", small, 16, 0, 32000, 1 / 0.8);
	add("a connection a request", small, 1, 1, 300, 0);
	bench_run();
	add_value("CPU of a small request", cpu, "ns", small, 1, 0);
	add_value("CPU of a browser's request", cpu, "ns", browser, 1, 0);
	add_value("CPU of one of 16 in a row", cpu, "ns", small, 16, 0);
	if (strcmp(argc > 1 ? argv[1] : "", "idle") == 0)
		add_value("an idle connection's memory", idle_bytes, "bytes", small, 1, 0);
	bench_run();
	end_all();
	return bench_end();
}
