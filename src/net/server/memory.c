/* SPDX-License-Identifier: MIT */
/* The limits of memory. A server that has one gives the arena of each exchange a backing allocator
 * that keeps an account. The account counts the chunks of the arena and of its children. While a
 * request is in progress, they count for its loop, too.
 *
 * A child may be adopted by an arena of the program's and outlive the exchange, even the server.
 * So the account is on the heap, and goes with the exchange or with the last chunk, whichever is
 * later. Chunks are taken seldom: it has a lock. */
#include "config.h"

#include <stdlib.h>

#include "server/rep.h"

/* of a limit; and the first chunk then, to leave room for others */
enum { SMALL = 64 * 1024, SMALL_CHUNK = 2048 };

struct Account {
	pthread_mutex_t lock;
	Loop *loop;              /* NULL when the exchange has gone */
	size_t held, most;       /* most 0: no limit */
	unsigned char counted;   /* held is in the loop's, too */
	unsigned char unlimited; /* for the answer */
	unsigned char met;       /* the limit has refused a chunk */
};

static void lock_account(Account *a)
{
	pthread_mutex_lock(&a->lock);
}

/* Frees an account that has no more use. */
static void unlock_account(Account *a)
{
	int gone = !a->loop && a->held == 0;

	pthread_mutex_unlock(&a->lock);
	if (!gone)
		return;
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static void add_bytes(Account *a, size_t n)
{
	a->held += n;
	if (a->counted)
		__atomic_fetch_add(&a->loop->held, n, __ATOMIC_RELAXED);
}

static void subtract_bytes(Account *a, size_t n)
{
	a->held -= n;
	if (a->counted)
		__atomic_fetch_sub(&a->loop->held, n, __ATOMIC_RELAXED);
}

static int reserve_bytes(Account *a, size_t n)
{
	int fits;

	lock_account(a);
	fits = !a->most || a->unlimited || (n <= a->most && a->held <= a->most - n);
	if (fits)
		add_bytes(a, n);
	else
		a->met = 1;
	unlock_account(a);
	return fits;
}

static void give_back(Account *a, size_t n)
{
	lock_account(a);
	subtract_bytes(a, n);
	unlock_account(a);
}

static void *take_chunk(size_t nbytes, void *cl)
{
	void *p;

	if (!reserve_bytes(cl, nbytes))
		return NULL;
	p = malloc(nbytes);
	if (!p)
		give_back(cl, nbytes);
	return p;
}

static void free_chunk(void *p, size_t nbytes, void *cl)
{
	free(p);
	give_back(cl, nbytes);
}

static Account *make_account(Loop *l)
{
	Account *a = calloc(1, sizeof *a);

	if (!a)
		EXCEPT_RAISE_MSG(Arena_Failed, "out of memory for a request");
	pthread_mutex_init(&a->lock, NULL);
	a->loop = l;
	a->most = l->server->options.request_bytes;
	return a;
}

void httpserver__limit_memory(Exchange *x, Arena_Options *o)
{
	const HTTPServer_Options *options = &x->loop->server->options;

	if (!options->request_bytes && !options->memory_bytes)
		return;
	if (!x->account) /* else the arena failed that was to be made for it */
		x->account = make_account(x->loop);
	if (options->request_bytes && options->request_bytes < SMALL)
		o->chunk = SMALL_CHUNK;
	o->alloc = take_chunk;
	o->free = free_chunk;
	o->cl = x->account;
}

void httpserver__drop_account(Exchange *x)
{
	Account *a = x->account;

	x->account = NULL;
	if (!a)
		return;
	lock_account(a);
	a->loop = NULL;
	unlock_account(a);
}

void httpserver__begin_account(Account *a)
{
	lock_account(a);
	a->met = a->unlimited = 0;
	a->counted = 1;
	__atomic_fetch_add(&a->loop->held, a->held, __ATOMIC_RELAXED);
	unlock_account(a);
}

void httpserver__end_account(Account *a)
{
	lock_account(a);
	a->counted = 0;
	__atomic_fetch_sub(&a->loop->held, a->held, __ATOMIC_RELAXED);
	unlock_account(a);
}

int httpserver__lift_limit(Account *a)
{
	int met;

	lock_account(a);
	a->unlimited = 1;
	met = a->met;
	unlock_account(a);
	return met;
}

int httpserver__has_no_strays(const Exchange *x)
{
	size_t held;

	lock_account(x->account);
	held = x->account->held;
	unlock_account(x->account);
	return held == Arena_capacity(x->arena);
}
