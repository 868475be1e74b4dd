/* SPDX-License-Identifier: MIT */
/* Threads for handlers that block. Exchanges queue first in, first out. A finished one goes onto
 * its loop's list, which is a stack with one compare-and-swap, and the loop is woken. The lock is
 * held for the queue's pointers only.
 *
 * A function that ends its thread is answered 500 by another worker, or cuts its stream. */
#include "config.h"

#include <errno.h>

#include "server/rep.h"

typedef struct Worker {
	Thread thread;
	HTTPServer_T server;
	Exchange *x; /* whose handler runs; NULL: none */
} Worker;

/* A program may be instrumented for ThreadSanitizer and this library not. Without these calls TSan
 * does not see how an exchange goes from a worker to its loop. It would report each handler that
 * blocks as a race. */
void __tsan_acquire(void *) __attribute__((weak));
void __tsan_release(void *) __attribute__((weak));

/* ---- to workers ---- */

/* The lock is held. An exchange that an idle worker is about to take does not wait. If no thread
 * could be made, the server stops, and nothing would take one from the queue. */
static int is_full(const Workers *w, size_t most)
{
	return w->n == 0 || (most && w->queued >= most + (size_t)w->idle);
}

static void queue_exchange(Workers *w, Exchange *x, Call call)
{
	x->next = NULL;
	x->holder = HOLDER_WORKER;
	x->call = (unsigned char)call;
	*w->end = x;
	w->end = &x->next;
	__atomic_store_n(&w->queued, w->queued + 1, __ATOMIC_RELAXED);
}

/* The worker is woken when the lock is free: otherwise it may run at once and wait for the lock. */
int httpserver__give_work(Exchange *x, Call call, int may_refuse)
{
	HTTPServer_T server = x->loop->server;
	Workers *w = &server->workers;
	int given;

	pthread_mutex_lock(&w->lock);
	given = !may_refuse || !is_full(w, server->options.queue);
	if (given)
		queue_exchange(w, x, call);
	pthread_mutex_unlock(&w->lock);
	if (given)
		pthread_cond_signal(&w->filled);
	return given;
}

static void end_wait(void *cl)
{
	Workers *w = cl;

	w->idle--;
	pthread_mutex_unlock(&w->lock);
}

/* Returns the next exchange in the queue, or NULL when no more will come. */
static Exchange *take_work(Workers *w)
{
	Exchange *x;

	pthread_mutex_lock(&w->lock);
	w->idle++;
	pthread_cleanup_push(end_wait, w);
	while (!w->first && !w->stopping)
		pthread_cond_wait(&w->filled, &w->lock);
	x = w->first;
	if (x) {
		__atomic_store_n(&w->queued, w->queued - 1, __ATOMIC_RELAXED);
		w->first = x->next;
		if (!w->first)
			w->end = &w->first;
	}
	pthread_cleanup_pop(1);
	return x;
}

/* ---- and back ---- */

/* When run has returned the loop takes nothing back. */
static void dispose_late(Exchange *x)
{
	TRY {
		httpserver__log_gone(x);
		httpserver__dispose(x);
	} ELSE {
		httpserver__count(&x->loop->stats.raised, 1);
	} END_TRY;
}

void httpserver__hand_back(Exchange *x)
{
	Loop *l = x->loop;

	if (__tsan_release)
		__tsan_release(x);
	x->next = __atomic_load_n(&l->handed_back, __ATOMIC_ACQUIRE);
	do
		if (x->next == HTTPSERVER__CLOSED) {
			dispose_late(x);
			return;
		}
	while (!__atomic_compare_exchange_n(&l->handed_back, &x->next, x, 1, __ATOMIC_RELEASE,
			__ATOMIC_ACQUIRE));
	SocketPoll_wake(l->poll);
}

Exchange *httpserver__take_back(Loop *l, Exchange *left)
{
	Exchange *x = __atomic_exchange_n(&l->handed_back, left, __ATOMIC_ACQ_REL), *first = NULL;

	while (x && x != HTTPSERVER__CLOSED) {
		Exchange *next = x->next;

		if (__tsan_acquire)
			__tsan_acquire(x);
		x->next = first;
		first = x;
		x = next;
	}
	return first;
}

/* ---- the threads ---- */

static void run_worker(void *cl)
{
	Worker *me = cl;
	Exchange *x;

	while ((x = me->x = take_work(&me->server->workers)) != NULL) {
		x->abandoned = (unsigned char)httpserver__is_over(x->loop);
		if (!x->abandoned)
			httpserver__call(x);
		me->x = NULL;
		httpserver__hand_back(x);
	}
}

static void fail_handler(void *cl)
{
	Worker *me = cl;
	Exchange *x = me->x;

	me->x = NULL;
	if (!x)
		return;
	httpserver__fail_call(x);
	httpserver__hand_back(x);
}

void httpserver__start_workers(HTTPServer_T server)
{
	Workers *w = &server->workers;
	int most = server->options.workers, error = 0;

	w->end = &w->first;
	w->all = Arena_calloc(server->arena, (size_t)most, sizeof *w->all);
	while (w->n < most && !error) {
		Worker *me = &w->all[w->n];

		me->server = server;
		me->thread = (Thread){ .run = run_worker, .left = fail_handler, .cl = me };
		error = httpserver__start_thread(&w->crew, &me->thread);
		w->n += !error;
	}
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
	httpserver__await_crew(&w->crew);
	while (w->n > 0)
		httpserver__join_thread(&w->all[--w->n].thread);
}
