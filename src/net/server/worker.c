/* SPDX-License-Identifier: MIT */
/* Threads for handlers that block: exchanges queue first in, first out; a finished one goes onto its loop's list,
 * which is a stack with one compare-and-swap, and the loop is woken. The lock is held for the queue's pointers only. */
#include "config.h"

#include <signal.h>
#include <string.h>

#include "server/rep.h"

void httpserver__give_work(Exchange *x)
{
	Workers *w = &x->conn->loop->server->workers;

	x->next = NULL;
	pthread_mutex_lock(&w->lock);
	*w->end = x;
	w->end = &x->next;
	pthread_cond_signal(&w->filled);
	pthread_mutex_unlock(&w->lock);
}

/* NULL: no more will come */
static Exchange *take_work(Workers *w)
{
	Exchange *x;

	pthread_mutex_lock(&w->lock);
	while (!w->first && !w->stopping)
		pthread_cond_wait(&w->filled, &w->lock);
	x = w->first;
	if (x) {
		w->first = x->next;
		if (!w->first)
			w->end = &w->first;
	}
	pthread_mutex_unlock(&w->lock);
	return x;
}

static void give_back(Exchange *x)
{
	Loop *l = x->conn->loop;

	x->next = __atomic_load_n(&l->done, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&l->done, &x->next, x, 1, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	SocketPoll_wake(l->poll);
}

static void *work(void *cl)
{
	Workers *w = cl;
	Exchange *x;

	while ((x = take_work(w)) != NULL) {
		x->abandoned = __atomic_load_n(&x->conn->loop->over, __ATOMIC_ACQUIRE) != 0;
		if (!x->abandoned)
			httpserver__handle(x);
		give_back(x);
	}
	return NULL;
}

void httpserver__start_workers(HTTPServer_T server)
{
	Workers *w = &server->workers;
	int most = server->options.workers, error = 0;

	w->end = &w->first;
	w->threads = Arena_calloc(server->arena, (size_t)most, sizeof *w->threads);
	while (w->n < most && (error = pthread_create(&w->threads[w->n], NULL, work, w)) == 0)
		w->n++;
	if (w->n == 0) {
		errno = error;
		EXCEPT_RAISE_ERRNO(HTTP_Failed, "HTTPServer_run: no thread for a worker");
	}
}

void httpserver__stop_workers(HTTPServer_T server)
{
	Workers *w = &server->workers;

	pthread_mutex_lock(&w->lock);
	w->stopping = 1;
	pthread_cond_broadcast(&w->filled);
	pthread_mutex_unlock(&w->lock);
	while (w->n > 0)
		pthread_join(w->threads[--w->n], NULL);
}
