/* SPDX-License-Identifier: MIT */
/* SocketPool and SocketPoll. The sockets are copies of one descriptor, or, where the limit of descriptors is lower than
 * their number, made over the same few. Peers: a table of GLib's by descriptor, a bare epoll. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#if HAVE_GLIB
#include <glib.h>
#endif

#include <core/core.h>
#include "bench.h"

enum { LARGE = 100000, PAIRS = 100 };

static Arena_T arena;
static int spare_fd[64];

static void *checked(void *p)
{
	if (!p) {
		perror("bench_socketpool");
		exit(1);
	}
	return p;
}

/* A socket costs no more for the descriptor that it shares with others: nothing is sent here. */
static Socket_T make_socket(size_t i)
{
	int fd[2];

	if (!spare_fd[i % 64]) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
			checked(NULL);
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
	t->sockets = checked(malloc(n * sizeof *t->sockets));
	t->order = checked(malloc(n * sizeof *t->order));
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

enum { HOT = 256 }; /* spread over all: as many as one look of a loop tells of */

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

static void pool_replace(void *cl, size_t n) /* remove and add of any, which moves it in the heap */
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
	bench_add(&(Bench_Case){ .workload = "get, 256 hot ones", .name = "GHashTable by descriptor", .size = size,
		.run = glib_get_hot, .cl = t });
#endif
	bench_add(&(Bench_Case){ .workload = "get, 256 hot ones", .name = "SocketPool_get", .size = size, .run = pool_get_hot,
		.cl = t });
#if HAVE_GLIB
	bench_add(&(Bench_Case){ .workload = "get, any", .name = "GHashTable by descriptor", .size = size, .run = glib_get,
		.cl = t });
#endif
	bench_add(&(Bench_Case){ .workload = "get, any", .name = "SocketPool_get", .size = size, .run = pool_get, .cl = t });
#if HAVE_GLIB
	bench_add(&(Bench_Case){ .workload = "add and remove", .name = "GHashTable", .size = size, .run = glib_add_remove,
		.cl = t });
#endif
	bench_add(&(Bench_Case){ .workload = "add and remove", .name = "SocketPool", .size = size, .run = pool_add_remove,
		.cl = t });
	bench_add(&(Bench_Case){ .workload = "replace any", .name = "SocketPool", .size = size, .run = pool_replace, .cl = t });
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

/* ---- client side ---- */

typedef struct Client {
	SocketPool_T pool;
	char port[8];
} Client;

static void client_checkout(void *cl, size_t n)
{
	Client *c = cl;

	while (n-- > 0)
		SocketPool_checkin(c->pool, SocketPool_checkout(c->pool, "127.0.0.1", c->port, 1000));
}

static int peeked;

static void peek(void *cl, size_t n) /* the system call that is in it */
{
	char byte;

	(void)cl;
	while (n-- > 0)
		recv(peeked, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

static void add_client(Client *c)
{
	Socket_T listener = Socket_listen("127.0.0.1", "0", 0);

	c->pool = SocketPool_new(arena, 8, 0);
	snprintf(c->port, sizeof c->port, "%d", Socket_port(listener));
	peeked = Socket_fd(Socket_connect("127.0.0.1", c->port, 1000));
	bench_add(&(Bench_Case){ .workload = "checkout, checkin", .name = "the peek alone", .run = peek });
	bench_add(&(Bench_Case){ .workload = "checkout, checkin", .name = "SocketPool", .run = client_checkout, .cl = c });
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
			checked(NULL);
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

/* How many bytes: 0 for an event of the round before, whose byte was drained. */
static size_t pass(int from, int to)
{
	char byte;

	if (recv(from, &byte, 1, 0) != 1)
		return 0;
	if (send(to, &byte, 1, 0) != 1)
		checked(NULL);
	return 1;
}

static void fill(Ring *r)
{
	int i;

	for (i = 0; i < 10; i++)
		if (send(r->there[i * 7], "x", 1, 0) != 1)
			checked(NULL);
}

static void drain(Ring *r)
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

	fill(r);
	while (n > 0) {
		int i, count = epoll_wait(r->epoll, events, 64, -1);

		for (i = 0; i < count && n > 0; i++)
			n -= pass(r->here[events[i].data.fd], r->there[(events[i].data.fd + 1) % PAIRS]);
	}
	drain(r);
}

static void loop_one_by_one(void *cl, size_t n)
{
	Ring *r = cl;
	SocketPoll_Event e;

	fill(r);
	while (n > 0) {
		SocketPoll_wait(r->loop, &e, 1, -1);
		SocketPoll_set_deadline(r->loop, e.socket, 60000);
		n -= pass(Socket_fd(e.socket), r->there[((int *)e.data - r->there + 1) % PAIRS]);
	}
	drain(r);
}

int main(int argc, char *argv[])
{
	static Table small, large;
	static Client client;
	static Ring bare, best, by_poll;

	arena = Arena_new();
	bench_start("socketpool", &argc, argv);
	add_table(&small, 1000);
	add_table(&large, LARGE);
	bench_add(&(Bench_Case){ .workload = "resize 100,000 to 200,000", .name = "SocketPool", .value = resize_us, .cl = &large,
		.unit = "us" });
	add_client(&client);
	make_epoll(&bare);
	make_loop(&best, NULL);
	make_loop(&by_poll, "poll");
	bench_add(&(Bench_Case){ .workload = "an event, 100 sockets", .name = "bare epoll: the limit", .run = epoll_events,
		.cl = &bare });
	bench_add(&(Bench_Case){ .workload = "an event, 100 sockets", .name = "SocketPoll, with a deadline",
		.run = loop_one_by_one, .cl = &best, .goal = 1.2 });
	bench_add(&(Bench_Case){ .workload = "an event, 100 sockets", .name = "SocketPoll by poll(2)",
		.run = loop_one_by_one, .cl = &by_poll });
	bench_run();
	return bench_end();
}
