/* SPDX-License-Identifier: MIT */
/* For tsan.sh: what goes from thread to thread by the library's own means. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core/core.h>

enum { CLIENTS = 4, REQUESTS = 50, ROUNDS = 300 };

static HTTPServer_T server;
static char service[16];
static int logged; /* plain: one loop */

/* In a worker; the loop sends and logs what it wrote. */
static void work(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	char *text = Arena_alloc(HTTPRequest_arena(request), 100);

	(void)cl;
	memset(text, 'x', 100);
	HTTPResponse_write(response, text, 100);
	HTTPResponse_printf(response, "%s", HTTPRequest_path(request));
}

static void note(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	logged += e->status == 200 && e->nbytes > 100;
}

static void *ask(void *cl)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	SocketPool_T pool = SocketPool_new(arena, 1, 0);
	int i;

	(void)cl;
	for (i = 0; i < REQUESTS; i++) {
		HTTPCall_T call = HTTPCall_new(arena, "GET", "/work");
		size_t n;

		HTTPCall_run(call, pool, "127.0.0.1", service);
		HTTPCall_body(call, &n);
		if (HTTPCall_status(call) != 200 || n != 105)
			abort();
	}
	return NULL;
}

static void *run(void *cl)
{
	(void)cl;
	HTTPServer_run(server);
	return NULL;
}

static void serve(void)
{
	HTTPServer_Options options = { .host = "127.0.0.1", .service = "0", .threads = 1, .workers = 3,
		.log = note };
	HTTPServer_Route route = { .method = "GET", .pattern = "/work", .handler = work, .blocks = 1 };
	pthread_t loop, clients[CLIENTS];
	int i;

	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	server = HTTPServer_new(arena, &options);
	snprintf(service, sizeof service, "%d", HTTPServer_port(server));
	HTTPServer_route_with(server, &route);
	pthread_create(&loop, NULL, run, NULL);
	for (i = 0; i < CLIENTS; i++)
		pthread_create(&clients[i], NULL, ask, NULL);
	for (i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	HTTPServer_stop(server);
	pthread_join(loop, NULL);
	if (logged != CLIENTS * REQUESTS)
		abort();
}

/* ---- arenas ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static Arena_T shared;
static int turn;

/* Two threads have one arena by turns: each allocates, and sometimes clears what the other left. */
static void *take_turns(void *cl)
{
	int me = *(int *)cl, i;

	for (i = 0; i < ROUNDS; i++) {
		char *p;

		pthread_mutex_lock(&lock);
		while (turn != me)
			pthread_cond_wait(&turned, &lock);
		if (i % 7 == 0)
			Arena_clear(shared);
		p = Arena_alloc(shared, 200);
		memset(p, me, 200);
		turn = !me;
		pthread_cond_signal(&turned);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

/* Each thread has its own arena. Memory that one thread gives back, another may get. */
static void *use_arenas(void *cl)
{
	int i;

	(void)cl;
	for (i = 0; i < ROUNDS; i++) {
		AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
		int k;

		for (k = 0; k < 50; k++)
			memset(Arena_alloc(arena, 100), k, 100);
	}
	return NULL;
}

/* One arena at once: each has its own objects. */
static void *share(void *cl)
{
	int i;

	(void)cl;
	for (i = 0; i < ROUNDS; i++)
		memset(Arena_alloc(shared, 64), i, 64);
	return NULL;
}

static void run_both(void *(*f)(void *))
{
	static int numbers[] = { 0, 1 };
	pthread_t threads[2];
	int i;

	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, f, &numbers[i]);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	shared = Arena_new();
	run_both(take_turns);
	run_both(share);
	Arena_clear(shared);
	run_both(share);
	Arena_dispose(&shared);
	run_both(use_arenas);
	serve();
	puts("clean");
	return 0;
}
