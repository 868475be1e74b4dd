/* SPDX-License-Identifier: MIT */
/* The threads of the library as tasks: pthread_create and pthread_join, mutexes, conditions. If
 * kernel_yields is set, a task gives way to others before it locks a mutex. The mutexes are real,
 * and never contended, because no task waits with one locked. */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "kernel.h"

int kernel_yields;
static int locked; /* mutexes that are locked now */

void kernel_give_way(void)
{
	if (kernel_yields && !kernel_quiet && task_name() && locked == 0 && sim_chance(25))
		task_block(NULL, NULL, sim_now);
}

void kernel_check_unlocked(void)
{
	SIM_CHECK(locked == 0, "%d mutexes are locked by one that waits", locked);
}

/* ---- threads ---- */

typedef struct SimThread {
	void *(*run)(void *cl);
	void *cl;
	int done;
	int is_loop; /* of a server, and no worker */
	struct SimThread *next;
} SimThread;

static const char thread_name[] = "thread";
static SimThread *threads;

static void run_thread(void *cl)
{
	SimThread *t = cl;

	t->run(t->cl);
	t->done = 1;
}

static SimThread *this_thread(void)
{
	return task_name() == thread_name ? task_cl() : NULL;
}

void kernel_note_loop(void)
{
	SimThread *t = this_thread();

	if (t)
		t->is_loop = 1;
}

static int is_done(void *cl)
{
	return ((const SimThread *)cl)->done;
}

CALL(int, pthread_create, pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *),
	void *cl)
{
	SimThread *t;

	(void)attributes;
	if (kernel_fails(faults.threads, NULL, "pthread_create"))
		return EAGAIN;
	t = sim_alloc(sizeof *t);
	t->run = run;
	t->cl = cl;
	t->next = threads;
	threads = t;
	*id = (pthread_t)(uintptr_t)t;
	task_start(thread_name, run_thread, t);
	return 0;
}

CALL(int, pthread_join, pthread_t id, void **result)
{
	SimThread *t = (SimThread *)(uintptr_t)id, **link;

	if (!t->done)
		task_block(is_done, t, -1);
	for (link = &threads; *link != t; link = &(*link)->next)
		;
	*link = t->next;
	free(t);
	if (result)
		*result = NULL;
	return 0;
}

/* ---- mutexes ---- */

int __real_pthread_mutex_lock(pthread_mutex_t *m);
CALL(int, pthread_mutex_lock, pthread_mutex_t *m)
{
	int error;

#ifndef CORE_DEBUG /* would take a task that uses the same arena for a signal handler */
	kernel_give_way();
#endif
	error = __real_pthread_mutex_lock(m);
	locked += error == 0;
	return error;
}

int __real_pthread_mutex_unlock(pthread_mutex_t *m);
CALL(int, pthread_mutex_unlock, pthread_mutex_t *m)
{
	locked--;
	return __real_pthread_mutex_unlock(m);
}

/* ---- conditions ---- */

typedef struct Sleeper {
	const pthread_cond_t *condition;
	int woken, is_worker;
	struct Sleeper *next;
} Sleeper;

static Sleeper *sleepers;

static int is_woken(void *cl)
{
	return ((const Sleeper *)cl)->woken;
}

/* Now and then it wakes up for no reason, as it may. */
static int sleep_on(const pthread_cond_t *c, pthread_mutex_t *m, int64_t until)
{
	Sleeper me = { c, 0, this_thread() && !this_thread()->is_loop, sleepers }, **link;
	int64_t early = sim_chance(20) ? sim_now + sim_below(20000) : -1;

	sleepers = &me;
	if (world.sleeps)
		world.sleeps(&me.woken);
	pthread_mutex_unlock(m);
	task_block(is_woken, &me, early >= 0 && (until < 0 || early < until) ? early : until);
	pthread_mutex_lock(m);
	for (link = &sleepers; *link != &me; link = &(*link)->next)
		;
	*link = me.next;
	if (world.sleeps)
		world.sleeps(NULL);
	return me.woken || until < 0 || sim_now < until ? 0 : ETIMEDOUT;
}

CALL(int, pthread_cond_wait, pthread_cond_t *c, pthread_mutex_t *m)
{
	return sleep_on(c, m, -1);
}

CALL(int, pthread_cond_timedwait, pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t)
{
	int64_t until = (int64_t)t->tv_sec * 1000000 + t->tv_nsec / 1000;

	return sleep_on(c, m, until < sim_now ? sim_now : until);
}

CALL(int, pthread_cond_broadcast, pthread_cond_t *c)
{
	Sleeper *s;

	for (s = sleepers; s; s = s->next)
		if (s->condition == c)
			s->woken = 1;
	return 0;
}

CALL(int, pthread_cond_signal, pthread_cond_t *c)
{
	Sleeper *s, *chosen = NULL;
	int n = 0;

	for (s = sleepers; s; s = s->next)
		if (s->condition == c && !s->woken && sim_below(++n) == 0)
			chosen = s;
	if (chosen)
		chosen->woken = 1;
	return 0;
}

int kernel_busy_workers(void)
{
	const SimThread *t;
	const Sleeper *s;
	int n = 0;

	for (t = threads; t; t = t->next)
		n += !t->done && !t->is_loop;
	for (s = sleepers; s; s = s->next)
		n -= s->is_worker && !s->woken;
	return n;
}
