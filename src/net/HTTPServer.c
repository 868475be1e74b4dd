/* SPDX-License-Identifier: MIT */
/* HTTPServer: options, listeners, threads. The parts are in server/rep.h.
 *
 * Each loop has its own listener (SO_REUSEPORT). HTTPServer_new makes it, so that it raises if the
 * address is in use. Such listeners do not notice another process that shares the port on purpose
 * or by accident. Unless the program wants that, an exclusive listener is tried first. If there is
 * one descriptor (Unix sockets, socket activation), each loop has a duplicate.
 *
 * The thread that runs the server prepares a loop. The loop's memory and its poll stay until the
 * arena goes. So a stop that comes late, from a signal handler, still has something to wake. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/text.h"
#include "server/rep.h"

#define T HTTPServer_T

static const uint32_t MAGIC = 0x48545450; /* "HTTP" */
enum {
	CONNECTIONS = 10000,
	THREADS_MOST = 1024,
	WORKERS_MOST = 4096,
	OTHERS = 64,           /* descriptors that are left for the program */
	PIPELINE_LEAST = 256,
	REQUEST_LEAST = 8192,  /* a request of 2 KiB, and a response */
	KEPT = 64 * 1024,      /* bytes that the arena of an exchange keeps for the next request */
	FIRST_ACTIVATED = 3    /* sd_listen_fds(3) */
};

#define CHECK_SERVER(s) \
	CHECK((s) && (s)->magic == MAGIC, "%s: the server is NULL or not one", __func__)

/* ---- options ---- */

static size_t most_connections(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= CONNECTIONS + OTHERS)
		return CONNECTIONS;
	return limit.rlim_cur > 2 * OTHERS ? (size_t)limit.rlim_cur - OTHERS : OTHERS;
}

static int or_else(int given, int usual)
{
	return given ? given : usual;
}

static int is_unix(const char *host)
{
	return host && strncmp(host, "unix:", 5) == 0;
}

static void check_options(const HTTPServer_Options *o)
{
	CHECK(o->threads >= 0 && o->threads <= THREADS_MOST,
		"HTTPServer_new: threads is %d, not 0 to %d", o->threads, THREADS_MOST);
	CHECK(o->workers >= 0 && o->workers <= WORKERS_MOST,
		"HTTPServer_new: workers is %d, not 0 to %d", o->workers, WORKERS_MOST);
	CHECK(o->connections <= INT_MAX,
		"HTTPServer_new: connections is %zu, not 0 to %d", o->connections, INT_MAX);
	CHECK(o->body_rate >= 0, "HTTPServer_new: body_rate is %d, less than 0", o->body_rate);
	CHECK(o->request_bytes == 0 || o->request_bytes >= REQUEST_LEAST,
		"HTTPServer_new: request_bytes is %zu, not 0 and less than %d", o->request_bytes,
		REQUEST_LEAST);
	CHECK(o->mode >= 0 && o->mode <= 0777,
		"HTTPServer_new: the mode is 0%o, not 0 to 0777", (unsigned)o->mode);
	CHECK(!o->mode || is_unix(o->host),
		"HTTPServer_new: the mode is 0%o, and %s is no Unix-domain socket", (unsigned)o->mode,
		o->host ? o->host : "a host of NULL");
	CHECK(!o->shared || !is_unix(o->host),
		"HTTPServer_new: shared is %d, and %s has one listening process", o->shared, o->host);
	CHECK(o->pipeline_bytes == 0
			|| (o->pipeline_bytes >= PIPELINE_LEAST && o->pipeline_bytes <= INT_MAX),
		"HTTPServer_new: pipeline_bytes is %zu, not 0 or %d to %d", o->pipeline_bytes,
		PIPELINE_LEAST, INT_MAX);
}

static HTTPServer_Options resolve_options(const HTTPServer_Options *given)
{
	HTTPServer_Options o = given ? *given : (HTTPServer_Options){ 0 };

	check_options(&o);
	o.service = o.service ? o.service : "8080";
	o.threads = or_else(o.threads, httpserver__processors());
	o.limits = http__limits(&o.limits);
	o.body_rate = or_else(o.body_rate, 500);
	o.idle_ms = or_else(o.idle_ms, 60000);
	o.send_ms = or_else(o.send_ms, 30000);
	o.suspend_ms = or_else(o.suspend_ms, 30000);
	o.linger_ms = or_else(o.linger_ms, 2000);
	o.drain_ms = or_else(o.drain_ms, 30000);
	o.pipeline_bytes = o.pipeline_bytes ? o.pipeline_bytes : 16384;
	o.connections = o.connections ? o.connections : most_connections();
	o.workers = or_else(o.workers, 16);
	return o;
}

/* ---- listeners ---- */

/* A descriptor stays the caller's if it cannot be adopted. */
static void close_unadopted(void *fd)
{
	if (*(int *)fd >= 0)
		close(*(int *)fd);
}

static Socket_T duplicate_listener(Socket_T s)
{
	int fd = fcntl(Socket_fd(s), F_DUPFD_CLOEXEC, 0);
	Socket_T twin;

	if (fd < 0)
		EXCEPT_RAISE_ERRNO(Socket_Failed, "HTTPServer_new: no descriptor for another loop");
	DEFER(close_unadopted, &fd);
	twin = Socket_adopt(fd);
	fd = -1;
	return twin;
}

/* Returns the socket that the service manager passed, or NULL. The first server that asks gets it.
 * That server will close it, and then the number may belong to another descriptor. */
static Socket_T take_activated(void)
{
	static int taken;
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	if (!pid || !fds || strtol(pid, NULL, 10) != (long)getpid())
		return NULL;
	if (strcmp(fds, "1") != 0)
		EXCEPT_RAISE_MSG(Socket_Failed, "HTTPServer_new: LISTEN_FDS is %s and should be 1", fds);
	if (__atomic_exchange_n(&taken, 1, __ATOMIC_RELAXED))
		return NULL;
	fcntl(FIRST_ACTIVATED, F_SETFD, FD_CLOEXEC);
	return Socket_adopt(FIRST_ACTIVATED);
}

/* Raises when somebody else listens there. */
static void try_alone(const HTTPServer_Options *o)
{
	Socket_T s = Socket_listen(o->host, o->service, 0);

	Socket_close(&s);
}

static void listen_each(T server)
{
	const HTTPServer_Options *o = &server->options;
	char port[16];
	int i;

	if (!o->shared && strcmp(o->service, "0") != 0)
		try_alone(o);
	server->loops[0].listener = Socket_listen_shared(o->host, o->service, 0);
	snprintf(port, sizeof port, "%d", Socket_port(server->loops[0].listener));
	for (i = 1; i < server->nloops; i++)
		server->loops[i].listener = Socket_listen_shared(o->host, port, 0);
}

static void listen_all(T server)
{
	const HTTPServer_Options *o = &server->options;
	Socket_T one = o->activated ? take_activated() : NULL;
	int i;

	if (!one && is_unix(o->host) && o->mode)
		one = Socket_listen_unix(o->host + 5, o->mode, 0);
	if (!one && (is_unix(o->host) || (server->nloops == 1 && !o->shared)))
		one = Socket_listen(o->host, o->service, 0);
	if (one) {
		server->loops[0].listener = one;
		for (i = 1; i < server->nloops; i++)
			server->loops[i].listener = duplicate_listener(one);
	} else
		listen_each(server);
	for (i = 0; i < server->nloops; i++)
		Socket_set_nonblocking(server->loops[i].listener, 1);
	server->port = Socket_port(server->loops[0].listener);
}

static void close_listeners(void *cl)
{
	T server = cl;
	int i;

	for (i = 0; i < server->nloops; i++)
		Socket_close(&server->loops[i].listener);
}

/* A raise and a cancellation close what was opened so far. */
static void close_unfinished(void *cl)
{
	T server = cl;

	if (!server->listening)
		close_listeners(server);
}

static void open_listeners(T server)
{
	DEFER(close_unfinished, server);
	listen_all(server);
	server->listening = 1;
}

/* ---- lifecycle ---- */

static void dispose_server(void *cl)
{
	T server = cl;

	close_listeners(server);
	pthread_mutex_destroy(&server->workers.lock);
	pthread_cond_destroy(&server->workers.filled);
	httpserver__dispose_crew(&server->workers.crew);
	httpserver__dispose_crew(&server->crew);
	server->magic = 0;
}

/* Returns a share that is not 0 unless bytes is: 0 would mean no limit. */
static size_t share_of(size_t bytes, size_t n)
{
	return bytes / n + (bytes % n != 0);
}

/* The loops share the places out. There are no more loops than places: a loop without a place
 * would let its clients wait. */
static void make_loops(T server)
{
	size_t places = server->options.connections, n = (size_t)server->options.threads, i;

	if (n > places)
		n = places;
	server->nloops = (int)n;
	server->loops = Arena_alloc_aligned(server->arena, _Alignof(Loop), n * sizeof *server->loops);
	memset(server->loops, 0, n * sizeof *server->loops);
	for (i = 0; i < n; i++) {
		server->loops[i].server = server;
		server->loops[i].most = places / n + (i < places % n);
		server->loops[i].held_most = share_of(server->options.memory_bytes, n);
	}
}

/* Children cannot use the memory that an arena keeps, and it counts for the next request. So it is
 * a small part of a limit. */
static unsigned kept_bytes(size_t most)
{
	return most && most / 16 < KEPT ? 0 : KEPT;
}

T HTTPServer_new(Arena_T arena, const HTTPServer_Options *options)
{
	T server;

	CHECK(arena, "HTTPServer_new: the arena is NULL");
	NEW0(arena, server);
	server->arena = arena;
	server->options = resolve_options(options);
	server->unlimited = server->options.limits;
	server->unlimited.body_bytes = SIZE_MAX;
	server->kept = kept_bytes(server->options.request_bytes);
	server->timed = server->options.log || server->options.latency;
	httpserver__set_proxies(server);
	server->methods = "OPTIONS";
	server->drain_end = SOCKET__NEVER;
	make_loops(server);
	pthread_mutex_init(&server->workers.lock, NULL);
	pthread_cond_init(&server->workers.filled, NULL);
	httpserver__init_crew(&server->workers.crew);
	httpserver__init_crew(&server->crew);
	Arena_defer(arena, dispose_server, server);
	open_listeners(server);
	server->magic = MAGIC;
	return server;
}

int HTTPServer_port(T server)
{
	CHECK_SERVER(server);
	return server->port;
}

void HTTPServer_stop(T server)
{
	int i;

	CHECK_SERVER(server);
	if (server->options.drain_ms >= 0 && !__atomic_load_n(&server->stopping, __ATOMIC_SEQ_CST))
		__atomic_store_n(&server->drain_end, socket__now_ms() + server->options.drain_ms,
			__ATOMIC_SEQ_CST);
	__atomic_store_n(&server->stopping, 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < server->nloops; i++) {
		SocketPoll_T poll = __atomic_load_n(&server->loops[i].poll, __ATOMIC_SEQ_CST);

		if (poll)
			SocketPoll_wake(poll);
	}
}

int HTTPServer_stopping(T server)
{
	CHECK_SERVER(server);
	return __atomic_load_n(&server->stopping, __ATOMIC_ACQUIRE);
}

/* Notes the current exception, if it is the first, for run to raise, and stops. */
static void fail_server(T server)
{
	if (!__atomic_exchange_n(&server->failing, 1, __ATOMIC_ACQ_REL))
		text__format(server->why, sizeof server->why, "%s", Except_message());
	HTTPServer_stop(server);
}

static void serve_loop(void *loop)
{
	TRY {
		httpserver__serve(loop);
	} ELSE {
		fail_server(((Loop *)loop)->server);
	} END_TRY;
}

static void create_threads(T server)
{
	int i, error;

	if (server->blocks)
		httpserver__start_workers(server);
	for (i = 1; i < server->nloops; i++) {
		Loop *l = &server->loops[i];

		l->thread = (Thread){ .run = serve_loop, .cl = l };
		error = httpserver__start_thread(&server->crew, &l->thread);
		if (error != 0) {
			errno = error;
			EXCEPT_RAISE_ERRNO(HTTP_Failed, "HTTPServer_run: no thread for a loop");
		}
	}
}

static void start_loops(T server)
{
	int i;

	TRY {
		for (i = 0; i < server->nloops; i++)
			httpserver__prepare(&server->loops[i]);
		create_threads(server);
	} ELSE {
		fail_server(server);
	} END_TRY;
}

typedef struct Run {
	T server;
	int served; /* to the end */
} Run;

/* No handler begins any more, in no loop. */
static void end_drain_now(T server)
{
	__atomic_store_n(&server->drain_end, socket__now_ms(), __ATOMIC_SEQ_CST);
	__atomic_store_n(&server->stopping, 1, __ATOMIC_SEQ_CST);
}

/* The other threads end before run does, also if a cancellation or pthread_exit(3) in a handler
 * leaves it. */
static void end_threads(void *cl)
{
	const Run *run = cl;
	T server = run->server;
	int i, before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	if (!run->served)
		end_drain_now(server);
	HTTPServer_stop(server);
	httpserver__await_crew(&server->crew);
	for (i = 1; i < server->nloops; i++)
		httpserver__join_thread(&server->loops[i].thread);
	httpserver__stop_workers(server);
	for (i = 0; i < server->nloops; i++)
		if (server->loops[i].pool)
			httpserver__end_loop(&server->loops[i]);
	close_listeners(server);
	pthread_setcancelstate(before, NULL);
}

static void serve_all(T server)
{
	Run run = { .server = server };

	DEFER(end_threads, &run);
	start_loops(server);
	if (server->loops[0].poll)
		serve_loop(&server->loops[0]);
	run.served = 1;
}

void HTTPServer_run(T server)
{
	CHECK_SERVER(server);
	CHECK(!__atomic_exchange_n(&server->running, 1, __ATOMIC_ACQ_REL),
		"HTTPServer_run: the server ran already");
	serve_all(server);
	if (server->failing)
		EXCEPT_RAISE_MSG(HTTP_Failed, "%s", server->why);
}

/* ---- statistics ---- */

static uint64_t load_counter(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void add_stats(HTTPServer_Stats *sum, const HTTPServer_Stats *s)
{
	int i;

	sum->connections += __atomic_load_n(&s->connections, __ATOMIC_RELAXED);
	sum->suspended += __atomic_load_n(&s->suspended, __ATOMIC_RELAXED);
	sum->accepted += load_counter(&s->accepted);
	sum->turned_away += load_counter(&s->turned_away);
	sum->requests += load_counter(&s->requests);
	sum->refused += load_counter(&s->refused);
	sum->raised += load_counter(&s->raised);
	sum->received += load_counter(&s->received);
	sum->sent += load_counter(&s->sent);
	sum->timed_out += load_counter(&s->timed_out);
	sum->busy_ms += load_counter(&s->busy_ms);
	sum->idle_ms += load_counter(&s->idle_ms);
	for (i = 0; i < 6; i++)
		sum->status[i] += load_counter(&s->status[i]);
	for (i = 0; i < HTTPServer_LATENCIES; i++)
		sum->latency[i] += load_counter(&s->latency[i]);
}

void HTTPServer_stats(T server, HTTPServer_Stats *stats)
{
	int i;

	CHECK_SERVER(server);
	CHECK(stats, "HTTPServer_stats: the statistics are NULL");
	memset(stats, 0, sizeof *stats);
	for (i = 0; i < server->nloops; i++)
		add_stats(stats, &server->loops[i].stats);
	stats->queued = __atomic_load_n(&server->workers.queued, __ATOMIC_RELAXED);
}
