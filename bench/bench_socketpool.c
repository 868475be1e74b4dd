/* SPDX-License-Identifier: MIT */
/* SocketPool and SocketPoll. Where nothing is sent, many sockets are made over the same few
 * descriptors, or are copies of one. Peers: a table of GLib's by descriptor, APR's list of
 * resources, a bare epoll. */
#include "config.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#if HAVE_APR_UTIL
#include <apr_general.h>
#include <apr_reslist.h>
#endif
#if HAVE_GLIB
#include <glib.h>
#endif

#include <core/core.h>
#include "bench.h"

enum { LARGE = 100000, PAIRS = 100, EVENTS = 1000 };

static Arena_T arena;
static int spare_fd[64];

static void die(void)
{
	perror("bench_socketpool");
	exit(1);
}

static void *require_pointer(void *p)
{
	if (!p)
		die();
	return p;
}

/* Sockets may share descriptors, because nothing is sent. */
static Socket_T make_socket(size_t i)
{
	int fd[2];

	if (!spare_fd[i % 64]) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
			die();
		spare_fd[i % 64] = fd[0];
	}
	return Socket_adopt(spare_fd[i % 64]);
}

/* ---- get, add, remove ---- */

typedef struct Table {
	size_t n;
	SocketPool_T pool;
	Socket_T *sockets, extra;
	size_t *order;
#if HAVE_GLIB
	GHashTable *hash;
#endif
} Table;

static void make_table(Table *t, size_t n)
{
	size_t i;
	uint64_t random = 1;

	t->n = n;
	t->pool = SocketPool_new(arena, n + 1, 0);
	t->sockets = require_pointer(malloc(n * sizeof *t->sockets));
	t->order = require_pointer(malloc(n * sizeof *t->order));
#if HAVE_GLIB
	t->hash = g_hash_table_new(g_direct_hash, g_direct_equal);
#endif
	for (i = 0; i < n; i++) {
		t->sockets[i] = make_socket(i);
		SocketPool_add(t->pool, t->sockets[i]);
		random = random * 6364136223846793005u + 1442695040888963407u;
		t->order[i] = (size_t)(random >> 33) % n;
#if HAVE_GLIB
		g_hash_table_insert(t->hash, (void *)(i + 1), t->sockets[i]);
#endif
	}
	t->extra = make_socket(0);
}

static void pool_get(void *cl, size_t n)
{
	Table *t = cl;
	size_t i;

	for (i = 0; i < n; i++)
		bench_use(SocketPool_get(t->pool, t->sockets[t->order[i % t->n]]));
}

enum { HOT = 256 }; /* spread over all: as many as one wait of a loop reports */

static void pool_get_hot(void *cl, size_t n)
{
	Table *t = cl;
	size_t i;

	for (i = 0; i < n; i++)
		bench_use(SocketPool_get(t->pool, t->sockets[t->order[i % HOT]]));
}

static void pool_add_remove(void *cl, size_t n)
{
	Table *t = cl;
	size_t i;

	for (i = 0; i < n; i++) {
		bench_use(SocketPool_add(t->pool, t->extra));
		SocketPool_remove(t->pool, t->extra);
	}
}

static void pool_replace(void *cl, size_t n) /* removes and adds one, which moves it in the heap */
{
	Table *t = cl;
	size_t i;

	for (i = 0; i < n; i++) {
		Socket_T s = t->sockets[t->order[i % t->n]];

		SocketPool_remove(t->pool, s);
		bench_use(SocketPool_add(t->pool, s));
	}
}

#if HAVE_GLIB
static void glib_get_hot(void *cl, size_t n)
{
	Table *t = cl;
	size_t i;

	for (i = 0; i < n; i++)
		bench_use(g_hash_table_lookup(t->hash, (void *)(t->order[i % HOT] + 1)));
}

static void glib_get(void *cl, size_t n)
{
	Table *t = cl;
	size_t i;

	for (i = 0; i < n; i++)
		bench_use(g_hash_table_lookup(t->hash, (void *)(t->order[i % t->n] + 1)));
}

static void glib_add_remove(void *cl, size_t n)
{
	Table *t = cl;
	size_t i;

	for (i = 0; i < n; i++) {
		g_hash_table_insert(t->hash, (void *)(t->n + 5), t);
		g_hash_table_remove(t->hash, (void *)(t->n + 5));
	}
}
#endif

static void add_table(Table *t, size_t n)
{
	double size = (double)n;

	make_table(t, n);
#if HAVE_GLIB
	bench_add(&(Bench_Case){ .workload = "get, 256 hot ones",
		.name = "GHashTable by descriptor",
		.size = size,
		.run = glib_get_hot,
		.cl = t });
#endif
	bench_add(&(Bench_Case){ .workload = "get, 256 hot ones",
		.name = "SocketPool_get",
		.size = size,
		.run = pool_get_hot,
		.cl = t });
#if HAVE_GLIB
	bench_add(&(Bench_Case){ .workload = "get, any",
		.name = "GHashTable by descriptor",
		.size = size,
		.run = glib_get,
		.cl = t });
#endif
	bench_add(&(Bench_Case){ .workload = "get, any",
		.name = "SocketPool_get",
		.size = size,
		.run = pool_get,
		.cl = t });
#if HAVE_GLIB
	bench_add(&(Bench_Case){ .workload = "add and remove",
		.name = "GHashTable",
		.size = size,
		.run = glib_add_remove,
		.cl = t });
#endif
	bench_add(&(Bench_Case){ .workload = "add and remove",
		.name = "SocketPool",
		.size = size,
		.run = pool_add_remove,
		.cl = t });
	bench_add(&(Bench_Case){ .workload = "replace any",
		.name = "SocketPool",
		.size = size,
		.run = pool_replace,
		.cl = t });
}

/* ---- resize ---- */

static double resize_us(void *cl)
{
	Table *t = cl;
	Arena_T a = Arena_new();
	SocketPool_T pool = SocketPool_new(a, LARGE, 0);
	double start, took;
	size_t i;

	for (i = 0; i < LARGE; i++) {
		SocketPool_remove(t->pool, t->sockets[i]);
		SocketPool_add(pool, t->sockets[i]);
	}
	start = bench_now();
	SocketPool_resize(pool, 2 * LARGE);
	took = bench_now() - start;
	for (i = 0; i < LARGE; i++) {
		SocketPool_remove(pool, t->sockets[i]);
		SocketPool_add(t->pool, t->sockets[i]);
	}
	Arena_dispose(&a);
	return took / 1e3;
}

/* Returns the limit of the contract, the yardstick of the measurement. */
static double allowed_us(void *cl)
{
	return *(double *)cl;
}

static void add_resize(Table *t)
{
	static double most = 1000;

	bench_add(&(Bench_Case){ .workload = "resize 100,000 to 200,000",
		.name = "allowed",
		.value = allowed_us,
		.cl = &most,
		.unit = "us" });
	bench_add(&(Bench_Case){ .workload = "resize 100,000 to 200,000",
		.name = "SocketPool",
		.value = resize_us,
		.cl = t,
		.unit = "us",
		.goal = 1 });
}

/* ---- memory of a connection ---- */

typedef struct Weight { /* parts that a connection has */
	int watched, active;
} Weight;

static int many_descriptors(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur < 12000 ? (int)limit.rlim_cur - 2000 : 10000;
}

/* Returns resident bytes, without the kernel's. */
static double bytes_of_connection(void *cl)
{
	const Weight *w = cl;
	int fd[2], i, n = many_descriptors();
	Arena_T a = Arena_new();
	double before = bench_resident();
	SocketPool_T pool = SocketPool_new(a, (size_t)n, 4096);
	SocketPoll_T loop = SocketPoll_new(a);

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		die();
	for (i = 0; i < n; i++) {
		Socket_T s = Socket_adopt(dup(fd[0]));
		Connection_T c = SocketPool_add(pool, s);

		if (w->watched) {
			SocketPoll_add(loop, s, SocketPoll_READ, c);
			SocketPoll_set_deadline(loop, s, 60000);
		}
		if (w->active) {
			memset(Connection_buffer(c, NULL), 1, 4096);
			memset(Arena_alloc(Connection_arena(c), 100), 1, 100);
		}
	}
	return (bench_resident() - before) / n;
}

static void add_memory(void)
{
	static Weight idle = { 0, 0 }, watched = { 1, 0 }, active = { 1, 1 };
	static double most = 256;

	bench_add(&(Bench_Case){ .workload = "memory of a connection",
		.name = "allowed for an idle one",
		.value = allowed_us,
		.cl = &most,
		.fresh = 1,
		.unit = "bytes" });
	bench_add(&(Bench_Case){ .workload = "memory of a connection",
		.name = "idle, in a SocketPool",
		.value = bytes_of_connection,
		.cl = &idle,
		.fresh = 1,
		.unit = "bytes",
		.goal = 1 });
	bench_add(&(Bench_Case){ .workload = "memory of a connection",
		.name = "and a SocketPoll, with deadline",
		.value = bytes_of_connection,
		.cl = &watched,
		.fresh = 1,
		.unit = "bytes" });
	bench_add(&(Bench_Case){ .workload = "memory of a connection",
		.name = "and in use: 4 KiB buffer, arena",
		.value = bytes_of_connection,
		.cl = &active,
		.fresh = 1,
		.unit = "bytes" });
}

/* ---- client side ---- */

typedef struct Client {
	SocketPool_T pool;
	char port[8];
#if HAVE_APR_UTIL
	apr_reslist_t *list;
#endif
} Client;


/* Checks a connection out, uses it for ns, and checks it in. */
static void pool_use(Client *c, long ns)
{
	Connection_T connection = SocketPool_checkout(c->pool, "127.0.0.1", c->port, -1);
	struct timespec t = { 0, ns };

	if (ns)
		nanosleep(&t, NULL);
	SocketPool_checkin(c->pool, connection);
}

static void client_checkout(void *cl, size_t n)
{
	Client *c = cl;

	while (n-- > 0)
		pool_use(c, 0);
}

#if HAVE_APR_UTIL
static apr_status_t make_resource(void **resource, void *cl, apr_pool_t *pool)
{
	(void)pool;
	*resource = cl;
	return APR_SUCCESS;
}

static apr_status_t free_resource(void *resource, void *cl, apr_pool_t *pool)
{
	(void)resource;
	(void)cl;
	(void)pool;
	return APR_SUCCESS;
}

static void list_use(Client *c, long ns)
{
	struct timespec t = { 0, ns };
	void *resource;

	if (apr_reslist_acquire(c->list, &resource) != APR_SUCCESS)
		die();
	if (ns)
		nanosleep(&t, NULL);
	apr_reslist_release(c->list, resource);
}

static void list_checkout(void *cl, size_t n)
{
	while (n-- > 0)
		list_use(cl, 0);
}
#endif

static int peeked;

static void peek_only(void *cl, size_t n) /* the system call in a checkout */
{
	char byte;

	(void)cl;
	while (n-- > 0)
		recv(peeked, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

/* Threads that only check out and in, all at once. */
typedef struct Crowd {
	Client *client;
	void (*use)(Client *c, long ns);
	int threads;
	long ns;
} Crowd;

typedef struct Member {
	const Crowd *crowd;
	pthread_t thread;
	size_t uses;
} Member;

enum { CROWD = 64, CROWD_MS = 100 };
static pthread_barrier_t all_there;
static int enough; /* atomic */

static void *use_until_enough(void *cl)
{
	Member *m = cl;

	pthread_barrier_wait(&all_there);
	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED)) {
		m->crowd->use(m->crowd->client, m->crowd->ns);
		m->uses++;
	}
	return NULL;
}

/* Returns the time of the crowd in ns. */
static double run_crowd(const Crowd *crowd, Member *members)
{
	struct timespec t = { 0, CROWD_MS * 1000000L };
	double start, took;
	int i;

	enough = 0;
	pthread_barrier_init(&all_there, NULL, (unsigned)crowd->threads + 1);
	for (i = 0; i < crowd->threads; i++) {
		members[i] = (Member){ .crowd = crowd };
		if (pthread_create(&members[i].thread, NULL, use_until_enough, &members[i]) != 0)
			die();
	}
	pthread_barrier_wait(&all_there);
	start = bench_now();
	nanosleep(&t, NULL);
	__atomic_store_n(&enough, 1, __ATOMIC_RELAXED);
	took = bench_now() - start;
	for (i = 0; i < crowd->threads; i++)
		pthread_join(members[i].thread, NULL);
	pthread_barrier_destroy(&all_there);
	return took;
}

static double crowd_speed(void *cl)
{
	const Crowd *crowd = cl;
	Member members[CROWD];
	double took = run_crowd(crowd, members);
	size_t uses = 0;
	int i;

	for (i = 0; i < crowd->threads; i++)
		uses += members[i].uses;
	return took / (double)uses;
}

static double crowd_fairness(void *cl)
{
	const Crowd *crowd = cl;
	Member members[CROWD];
	size_t least = SIZE_MAX, most = 0;
	int i;

	run_crowd(crowd, members);
	for (i = 0; i < crowd->threads; i++) {
		least = members[i].uses < least ? members[i].uses : least;
		most = members[i].uses > most ? members[i].uses : most;
	}
	return (double)most / (double)(least ? least : 1);
}

static void add_crowds(Client *c)
{
	static Crowd few, many;
#if HAVE_APR_UTIL
	static Crowd few_apr, many_apr;
#endif

	few = (Crowd){ c, pool_use, 8, 0 };
	many = (Crowd){ c, pool_use, CROWD, 50000 };
#if HAVE_APR_UTIL
	few_apr = few;
	many_apr = many;
	few_apr.use = many_apr.use = list_use;
	bench_add(&(Bench_Case){ .workload = "checkout, checkin, 8 threads",
		.name = "apr_reslist",
		.value = crowd_speed,
		.cl = &few_apr });
#endif
	bench_add(&(Bench_Case){ .workload = "checkout, checkin, 8 threads",
		.name = "SocketPool",
		.value = crowd_speed,
		.cl = &few });
#if HAVE_APR_UTIL
	bench_add(&(Bench_Case){ .workload = "most turns to fewest, 64 threads", .name = "apr_reslist",
		.value = crowd_fairness, .cl = &many_apr, .unit = "times" });
#endif
	bench_add(&(Bench_Case){ .workload = "most turns to fewest, 64 threads", .name = "SocketPool",
		.value = crowd_fairness, .cl = &many, .unit = "times" });
}

static void add_client(Client *c)
{
	Socket_T listener = Socket_listen("127.0.0.1", "0", 0);
#if HAVE_APR_UTIL
	apr_pool_t *pool;

	if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS
		|| apr_reslist_create(&c->list, 0, 8, 8, 0, make_resource, free_resource, c, pool)
			!= APR_SUCCESS)
		die();
#endif
	c->pool = SocketPool_new(arena, 8, 0);
	snprintf(c->port, sizeof c->port, "%d", Socket_port(listener));
	peeked = Socket_fd(Socket_connect("127.0.0.1", c->port, 1000));
	bench_add(&(Bench_Case){
		.workload = "checkout, checkin", .name = "the peek alone", .run = peek_only
	});
#if HAVE_APR_UTIL
	bench_add(&(Bench_Case){ .workload = "checkout, checkin",
		.name = "apr_reslist, which does not look",
		.run = list_checkout,
		.cl = c });
#endif
	bench_add(&(Bench_Case){
		.workload = "checkout, checkin", .name = "SocketPool", .run = client_checkout, .cl = c });
	add_crowds(c);
}

/* ---- events: a byte goes round among pairs ---- */

typedef struct Ring {
	int here[PAIRS], there[PAIRS];
	Socket_T sockets[PAIRS];
	SocketPoll_T loop;
	int epoll;
} Ring;

static void make_pairs(Ring *r)
{
	int i, fd[2];

	for (i = 0; i < PAIRS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0)
			die();
		r->here[i] = fd[0];
		r->there[i] = fd[1];
	}
}

static void make_epoll(Ring *r)
{
	int i;

	make_pairs(r);
	r->epoll = epoll_create1(0);
	for (i = 0; i < PAIRS; i++) {
		struct epoll_event e = { 0 };

		e.events = EPOLLIN;
		e.data.fd = i;
		epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->here[i], &e);
	}
}

static void make_watched(Ring *r)
{
	int i;

	make_pairs(r);
	r->loop = SocketPoll_new(arena);
	for (i = 0; i < PAIRS; i++)
		SocketPoll_watch(r->loop, r->here[i], SocketPoll_READ, &r->there[i]);
}

static void make_loop(Ring *r, const char *backend)
{
	int i;

	make_pairs(r);
	r->loop = SocketPoll_new_with(arena, backend);
	for (i = 0; i < PAIRS; i++) {
		r->sockets[i] = Socket_adopt(r->here[i]);
		SocketPoll_add(r->loop, r->sockets[i], SocketPoll_READ, &r->there[i]);
	}
}

/* Returns 1, or 0 for an event of the round before, whose byte was drained. */
static size_t pass_byte(int from, int to)
{
	char byte;

	if (recv(from, &byte, 1, 0) != 1)
		return 0;
	if (send(to, &byte, 1, 0) != 1)
		die();
	return 1;
}

static void fill_ring(Ring *r)
{
	int i;

	for (i = 0; i < 10; i++)
		if (send(r->there[i * 7], "x", 1, 0) != 1)
			die();
}

static void drain_ring(Ring *r)
{
	char byte;
	int i;

	for (i = 0; i < PAIRS; i++)
		while (recv(r->here[i], &byte, 1, MSG_DONTWAIT) == 1)
			;
}

static void epoll_events(void *cl, size_t n)
{
	Ring *r = cl;
	struct epoll_event events[64];

	fill_ring(r);
	while (n > 0) {
		int i, count = epoll_wait(r->epoll, events, 64, -1);

		for (i = 0; i < count && n > 0; i++)
			n -= pass_byte(r->here[events[i].data.fd], r->there[(events[i].data.fd + 1) % PAIRS]);
	}
	bench_pause();
	drain_ring(r);
}

static void loop_one_by_one(void *cl, size_t n)
{
	Ring *r = cl;
	SocketPoll_Event e;

	fill_ring(r);
	while (n > 0) {
		SocketPoll_wait(r->loop, &e, 1, -1);
		SocketPoll_set_deadline(r->loop, e.socket, 60000);
		n -= pass_byte(Socket_fd(e.socket), r->there[((int *)e.data - r->there + 1) % PAIRS]);
	}
	bench_pause();
	drain_ring(r);
}

/* For sockets or for watched descriptors. */
static void loop_by_descriptor(void *cl, size_t n)
{
	Ring *r = cl;
	SocketPoll_Event e;

	fill_ring(r);
	while (n > 0) {
		SocketPoll_wait(r->loop, &e, 1, -1);
		n -= pass_byte(e.descriptor, r->there[((int *)e.data - r->there + 1) % PAIRS]);
	}
	bench_pause();
	drain_ring(r);
}

int main(int argc, char *argv[])
{
	static Table small, middle, large;
	static Client client;
	static Ring bare, best, by_poll, sockets, watched;

	arena = Arena_new();
	bench_start("socketpool", &argc, argv);
	add_memory();
	add_table(&small, 1000);
	add_table(&middle, 10000);
	add_table(&large, LARGE);
	add_resize(&large);
	add_client(&client);
	make_epoll(&bare);
	make_loop(&best, NULL);
	make_loop(&by_poll, "poll");
	make_loop(&sockets, NULL);
	make_watched(&watched);
	bench_add(&(Bench_Case){ .workload = "an event, 100 sockets",
		.name = "bare epoll: the limit",
		.run = epoll_events,
		.cl = &bare,
		.n = EVENTS });
	bench_add(&(Bench_Case){ .workload = "an event, 100 sockets",
		.name = "SocketPoll, with a deadline",
		.run = loop_one_by_one,
		.cl = &best,
		.n = EVENTS,
		.goal = 1.2 });
	bench_add(&(Bench_Case){ .workload = "an event, 100 sockets", .name = "SocketPoll by poll(2)",
		.run = loop_one_by_one, .cl = &by_poll, .n = EVENTS });
	bench_add(&(Bench_Case){ .workload = "an event, watched",
		.name = "of a socket, without a deadline",
		.run = loop_by_descriptor,
		.cl = &sockets,
		.n = EVENTS });
	bench_add(&(Bench_Case){ .workload = "an event, watched", .name = "of a watched descriptor",
		.run = loop_by_descriptor, .cl = &watched, .n = EVENTS, .goal = 1.1 });
	bench_run();
	return bench_end();
}
