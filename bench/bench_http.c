/* SPDX-License-Identifier: MIT */
/* HTTPServer beside a bare epoll loop and the servers that are installed (http_servers.c), on the
 * first processor. The client, this process, is on the last: it writes a request to each of its
 * connections, and then in turn reads an answer and writes the next, blocking, so that it needs
 * the two system calls a request that the server needs, and nothing else. Whether it is the
 * server that limits is measured, too: the client's processor time beside the server's. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "http_servers.h"

enum {
	ANSWER = 2048,
	DEEPEST = 32,
	AHEAD = 8,
	FRESH = 16,
	REQUESTS = 100000,
	PROBES = 20000,
	MOST_LOADS = 256
};

typedef struct Load {
	Http_Server *server;
	const char *request;
	size_t answer;               /* bytes */
	int depth;                   /* requests in a row */
	int percentile;              /* of latencies, in tenths of a percent */
	double user, made;           /* so far: ns of the server in its own code, requests */
	int connection;              /* the only one; 0: not yet */
	double before;               /* the server's resident bytes */
} Load;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static const char small[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
static const char closing[] = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
static const char browser[] =
	"GET / HTTP/1.1\r\nHost: www.example.com\r\n"
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;"
	"q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
	"Connection: keep-alive\r\nReferer: https://www.example.com/some/page/with/a/path\r\n"
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; "
	"_ga=GA1.2.1234567890.1234567890\r\nUpgrade-Insecure-Requests: 1\r\n"
	"Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n"
	"Priority: u=0, i\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n";

/* ---- the client ---- */

static int dial(const Http_Server *s)
{
	int fd = http_dial(s);

	if (fd < 0)
		die("connect");
	return fd;
}

static void send_all(int fd, const char *bytes, size_t n)
{
	if (send(fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("send");
}

static void receive(int fd, size_t n)
{
	static char sink[DEEPEST * ANSWER];

	if (recv(fd, sink, n, MSG_WAITALL) != (ssize_t)n)
		die("recv");
}

/* The bytes of the server's answer to the request, all of it the same page: the next ones are
 * only counted. */
static size_t answer_to(const Http_Server *s, const char *request)
{
	char text[ANSWER + 1], *body = NULL;
	int fd = dial(s);
	size_t n = 0;

	send_all(fd, request, strlen(request));
	while (!body || strlen(body) < strlen("\r\n\r\nHello, world!")) {
		ssize_t got = recv(fd, text + n, ANSWER - n, 0);

		if (got <= 0)
			break;
		text[n += (size_t)got] = '\0';
		body = strstr(text, "\r\n\r\n");
	}
	close(fd);
	if (!body || strncmp(text, "HTTP/1.1 200 ", 13) != 0
		|| strcmp(body, "\r\n\r\nHello, world!") != 0) {
		fprintf(stderr, "%s answered %s\n", s->name, n ? text : "nothing");
		exit(1);
	}
	return n;
}

static void connect_all(Http_Server *s)
{
	int i;

	s->made = 0;
	for (i = 0; i < HTTP_CLIENTS; i++)
		s->fd[i] = dial(s);
}

static void disconnect_all(Http_Server *s)
{
	int i;

	for (i = 0; i < HTTP_CLIENTS; i++)
		close(s->fd[i]);
}

/* Each connection is about to make n requests more. */
static void allow(Http_Server *s, size_t n)
{
	s->made += (int)n;
	if (s->most == 0 || s->made <= s->most)
		return;
	bench_pause();
	disconnect_all(s);
	connect_all(s);
	s->made = (int)n;
	bench_resume();
}

static char *repeat(const char *text, int times)
{
	size_t n = strlen(text);
	char *all = malloc(n * (size_t)times + 1);
	int i;

	if (!all)
		die("malloc");
	for (i = 0; i < times; i++)
		memcpy(all + (size_t)i * n, text, n + 1);
	return all;
}

/* n requests over the first nfds of the connections; each has `depth` of them at a time. */
static void ask(const Load *l, const int *fd, size_t nfds, size_t n)
{
	size_t total = n / (size_t)l->depth, first = total < nfds ? total : nfds, i;
	size_t length = strlen(l->request) * (size_t)l->depth;
	size_t answer = l->answer * (size_t)l->depth;
	char *requests = repeat(l->request, l->depth);

	for (i = 0; i < first; i++)
		send_all(fd[i], requests, length);
	for (i = 0; i < total; i++) {
		receive(fd[i % first], answer);
		if (i + first < total)
			send_all(fd[i % first], requests, length);
	}
	free(requests);
}

static void load(void *cl, size_t n)
{
	const Load *l = cl;

	allow(l->server, n / HTTP_CLIENTS + 1);
	ask(l, l->server->fd, HTTP_CLIENTS, n);
}

/* A request on each, then the answers until the server closes. */
static void load_fresh(void *cl, size_t n)
{
	const Load *l = cl;
	char text[ANSWER];
	int fd[FRESH], i;

	for (; n >= FRESH; n -= FRESH) {
		for (i = 0; i < FRESH; i++) {
			fd[i] = dial(l->server);
			send_all(fd[i], closing, sizeof closing - 1);
		}
		for (i = 0; i < FRESH; i++) {
			while (recv(fd[i], text, sizeof text, 0) > 0)
				;
			close(fd[i]);
		}
	}
}

/* ---- latency: an answer's time is when it is there, not when its turn comes ---- */

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void time_answers(const Load *l, int poll, double *took)
{
	double sent[HTTP_CLIENTS];
	struct epoll_event events[HTTP_CLIENTS];
	size_t done = 0, length = strlen(l->request);
	int i, n;

	for (i = 0; i < HTTP_CLIENTS; i++) {
		sent[i] = bench_now();
		send_all(l->server->fd[i], l->request, length);
	}
	while (done < PROBES)
		for (n = epoll_wait(poll, events, HTTP_CLIENTS, -1), i = 0; i < n && done < PROBES; i++) {
			int k = (int)events[i].data.u32;

			receive(l->server->fd[k], l->answer);
			took[done++] = bench_now() - sent[k];
			sent[k] = bench_now();
			if (done <= PROBES - HTTP_CLIENTS)
				send_all(l->server->fd[k], l->request, length);
		}
}

static double latency(void *cl)
{
	static double took[PROBES];
	const Load *l = cl;
	int poll = epoll_create1(EPOLL_CLOEXEC), i;

	allow(l->server, 2 * PROBES / HTTP_CLIENTS);
	for (i = 0; i < HTTP_CLIENTS; i++) {
		struct epoll_event e = { EPOLLIN, { .u32 = (uint32_t)i } };

		epoll_ctl(poll, EPOLL_CTL_ADD, l->server->fd[i], &e);
	}
	time_answers(l, poll, took);
	close(poll);
	qsort(took, PROBES, sizeof *took, ascending);
	return took[PROBES / 1000 * l->percentile] / 1000;
}

/* ---- what the kernel says of a process; each has one thread that matters ---- */

static FILE *open_process_file(pid_t process, const char *file)
{
	char name[64];
	FILE *f;

	snprintf(name, sizeof name, "/proc/%ld/%s", (long)process, file);
	f = fopen(name, "r");
	if (!f)
		die(name);
	return f;
}

/* To the nanosecond, user and kernel. */
static double cpu_ns(pid_t process)
{
	FILE *f = open_process_file(process, "schedstat");
	double ns;

	if (fscanf(f, "%lf", &ns) != 1)
		die("schedstat");
	fclose(f);
	return ns;
}

static double user_ns(pid_t process)
{
	FILE *f = open_process_file(process, "stat");
	double user;

	if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf", &user) != 1)
		die("stat");
	fclose(f);
	return user * 1e9 / (double)sysconf(_SC_CLK_TCK);
}

/* Counted page by page: statm is hundreds of kilobytes late. */
static double resident(pid_t process)
{
	FILE *f = open_process_file(process, "smaps_rollup");
	char line[256];
	double kilobytes = -1;

	while (kilobytes < 0 && fgets(line, sizeof line, f))
		if (sscanf(line, "Rss: %lf", &kilobytes) != 1)
			kilobytes = -1;
	if (kilobytes < 0)
		die("smaps_rollup");
	fclose(f);
	return kilobytes * 1024;
}

static double cpu(void *cl)
{
	Load *l = cl;
	size_t n = 1024 * (size_t)l->depth;
	double before = cpu_ns(l->server->process);

	load(l, n);
	return (cpu_ns(l->server->process) - before) / (double)n;
}

static double cpu_fresh(void *cl)
{
	Load *l = cl;
	double before = cpu_ns(l->server->process);

	load_fresh(l, 512);
	return (cpu_ns(l->server->process) - before) / 512;
}

/* The kernel samples this, at some hundred hertz: only the sum over all rounds says something. */
static double cpu_user(void *cl)
{
	Load *l = cl;
	size_t n = 16 * 1024 * (size_t)l->depth;
	double before = user_ns(l->server->process);

	load(l, n);
	l->user += user_ns(l->server->process) - before;
	l->made += (double)n;
	return l->user / l->made;
}

/* In parts of the server's: below 1 it is the server that limits. Time does not tell where
 * neighbours take turns. */
static double client_share(void *cl)
{
	Load *l = cl;
	double server = cpu_ns(l->server->process), client = cpu_ns(getpid());

	load(l, 4096);
	server = cpu_ns(l->server->process) - server;
	return (cpu_ns(getpid()) - client) / server;
}

/* ---- memory ---- */

static int idle_fd[HTTP_IDLE];

/* Each has been served once. */
static void open_idle(const Http_Server *s, size_t answer)
{
	int i;

	for (i = 0; i < HTTP_IDLE; i++) {
		idle_fd[i] = dial(s);
		send_all(idle_fd[i], small, sizeof small - 1);
		receive(idle_fd[i], answer);
	}
}

static void close_idle(void)
{
	int i;

	for (i = 0; i < HTTP_IDLE; i++)
		close(idle_fd[i]);
}

static double idle_bytes(void *cl)
{
	const Load *l = cl;

	return l->server->idle_bytes;
}

/* Bytes that the server has grown by since the first requests of a connection, of which each
 * round makes a quarter of 100,000 more, as many as the server allows. */
static double grown_bytes(void *cl)
{
	Load *l = cl;
	int fd[AHEAD], i;
	double now;

	if (l->connection == 0)
		l->connection = dial(l->server);
	for (i = 0; i < AHEAD; i++)
		fd[i] = l->connection;
	if (l->before == 0) {
		ask(l, fd, AHEAD, 1024);
		l->before = resident(l->server->process);
	}
	l->made += REQUESTS / 4;
	if (l->server->most == 0 || l->made + 1024 <= l->server->most)
		ask(l, fd, AHEAD, REQUESTS / 4);
	now = resident(l->server->process);
	return now > l->before ? now - l->before : 0;
}

/* ---- workloads ---- */

static Load loads[MOST_LOADS];
static int nloads;

/* c: what the contestants have in common; the goals are HTTPServer's. */
static void add(Bench_Case c, Load l)
{
	double goal = c.goal, most = c.most;
	int i;

	for (i = 0; i < http_nservers; i++) {
		if (http_servers[i].process == 0 || (c.value == idle_bytes && http_servers[i].few))
			continue;
		if (nloads == MOST_LOADS)
			die("too many loads");
		l.server = &http_servers[i];
		l.answer = answer_to(l.server, l.request);
		loads[nloads] = l;
		c.name = l.server->name;
		c.goal = i == 1 ? goal : 0;
		c.most = i == 1 ? most : 0;
		c.cl = &loads[nloads++];
		bench_add(&c);
	}
}

static void add_throughput(void)
{
	add((Bench_Case){ .workload = "small request, 64 connections",
			.run = load,
			.n = 4096,
			.goal = 1 / 0.95 },
		(Load){ .request = small, .depth = 1 });
	add((Bench_Case){ .workload = "browser's request, 64 connections",
			.run = load,
			.n = 4096,
			.goal = 1 / 0.95 },
		(Load){ .request = browser, .depth = 1 });
	add((Bench_Case){
			.workload = "16 in a row, 64 connections", .run = load, .n = 32768, .goal = 1 / 0.8 },
		(Load){ .request = small, .depth = 16 });
	add((Bench_Case){ .workload = "a connection a request", .run = load_fresh, .n = 512 },
		(Load){ .request = closing });
}

static void add_latency(void)
{
	add((Bench_Case){ .workload = "latency, 64 connections: p50", .value = latency, .unit = "us" },
		(Load){ .request = small, .percentile = 500 });
	add((Bench_Case){ .workload = "latency, 64 connections: p99", .value = latency, .unit = "us" },
		(Load){ .request = small, .percentile = 990 });
	add((Bench_Case){
			.workload = "latency, 64 connections: p99.9", .value = latency, .unit = "us" },
		(Load){ .request = small, .percentile = 999 });
}

static void add_cpu(void)
{
	add((Bench_Case){ .workload = "CPU of a small request", .value = cpu, .unit = "ns" },
		(Load){ .request = small, .depth = 1 });
	add((Bench_Case){ .workload = "CPU of a browser's request", .value = cpu, .unit = "ns" },
		(Load){ .request = browser, .depth = 1 });
	add((Bench_Case){ .workload = "CPU of one of 16 in a row", .value = cpu, .unit = "ns" },
		(Load){ .request = small, .depth = 16 });
	add((Bench_Case){
			.workload = "CPU of a connection a request", .value = cpu_fresh, .unit = "ns" },
		(Load){ .request = closing });
	add((Bench_Case){ .workload = "user CPU of a small request",
			.value = cpu_user,
			.unit = "ns",
			.most = 450 },
		(Load){ .request = small, .depth = 1 });
}

static void add_client(void)
{
	add((Bench_Case){ .workload = "the client's CPU for one of the server's",
			.value = client_share,
			.unit = "times" },
		(Load){ .request = small, .depth = 1 });
}

static const char beside[] = "beside 10000 idle connections",
	idle_memory[] = "an idle connection's memory";

/* Opens the idle connections to a server that never had as many: the bytes that it takes for
 * each. */
static double crowd(Http_Server *s, const Load *l)
{
	double before;

	http_start(s);
	if (s->process == 0)
		die("cannot start it again");
	connect_all(s);
	load(&(Load){ .server = s, .request = small, .answer = l->answer, .depth = 1 },
		10 * HTTP_CLIENTS);
	before = resident(s->process);
	open_idle(s, l->answer);
	return (resident(s->process) - before) / HTTP_IDLE;
}

/* One server at a time, as all their idle connections together are more than most systems let a
 * process have. */
static void run_beside_idle(Http_Server *s)
{
	Http_Server crowded = *s;
	Load without = { .server = s, .request = small, .depth = 1, .answer = answer_to(s, small) },
		with = without;
	char workload[128], name[64];

	snprintf(workload, sizeof workload, "%s: %s", beside, s->name);
	snprintf(name, sizeof name, "%s, 10000 idle", s->name);
	s->idle_bytes = crowd(&crowded, &without);
	with.server = &crowded;
	bench_add(&(Bench_Case){
		.workload = strdup(workload), .name = s->name, .run = load, .n = 4096, .cl = &without });
	bench_add(&(Bench_Case){ .workload = strdup(workload),
		.name = strdup(name),
		.run = load,
		.n = 4096,
		.cl = &with,
		.goal = s == &http_servers[1] ? 1 / 0.95 : 0 });
	bench_run();
	close_idle();
	disconnect_all(&crowded);
	http_stop(&crowded);
}

static void run_memory(void)
{
	int i;

	for (i = 0; i < http_nservers; i++)
		if (http_servers[i].process && !http_servers[i].few
			&& (bench_wants(beside) || bench_wants(idle_memory)))
			run_beside_idle(&http_servers[i]);
	add((Bench_Case){ .workload = idle_memory, .value = idle_bytes, .unit = "bytes", .most = 256 },
		(Load){ .request = small, .depth = 1 });
	add((Bench_Case){ .workload = "growth in 100000 requests of one connection",
			.value = grown_bytes,
			.unit = "bytes",
			.most = 4096 },
		(Load){ .request = small, .depth = DEEPEST });
	bench_run();
}

static void start_all(void)
{
	struct rlimit limit;
	int i;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (i = 0; i < http_nservers; i++) {
		http_start(&http_servers[i]);
		if (http_servers[i].process)
			connect_all(&http_servers[i]);
	}
	http_pin((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
}

int main(int argc, char *argv[])
{
	int i;

	if (argc == 2 && strcmp(argv[1], "serve") == 0) {
		http_serve_activated();
		return 0;
	}
	bench_start("http", &argc, argv);
	http_other = argc > 1 ? argv[1] : NULL;
	start_all();
	add_throughput();
	add_latency();
	add_cpu();
	add_client();
	bench_run();
	run_memory();
	for (i = 0; i < http_nservers; i++)
		http_stop(&http_servers[i]);
	return bench_end();
}
