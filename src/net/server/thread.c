/* SPDX-License-Identifier: MIT */
/* Threads of the server, in crews. A callback of the program may end the thread that it runs in
 * (pthread_exit(3), or a cancellation): another thread takes its place. If none can be made, the
 * one that ends goes on itself, within its clean-up, until the server stops. A C++ exception ends
 * the process, as in any thread that does not catch it. */
#include "config.h"

#include "server/rep.h"

static void *run_thread(void *thread);

static void leave_thread(void *cl)
{
	Thread *t = cl;
	Crew *crew = t->crew;

	if (!t->returned) {
		t->former = pthread_self();
		t->has_former = 1;
		if (t->left)
			t->left(t->cl);
		if (pthread_create(&t->id, NULL, run_thread, t) == 0)
			return;
		t->has_former = 0;
		t->run(t->cl);
	}
	pthread_mutex_lock(&crew->lock);
	crew->running--;
	pthread_cond_signal(&crew->left);
	pthread_mutex_unlock(&crew->lock);
}

static void *run_thread(void *thread)
{
	Thread *t = thread;

	if (t->has_former)
		pthread_join(t->former, NULL);
	t->has_former = 0;
	pthread_cleanup_push(leave_thread, t);
	t->run(t->cl);
	t->returned = 1;
	pthread_cleanup_pop(1);
	return NULL;
}

void httpserver__init_crew(Crew *crew)
{
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->left, NULL);
}

void httpserver__dispose_crew(Crew *crew)
{
	pthread_mutex_destroy(&crew->lock);
	pthread_cond_destroy(&crew->left);
}

int httpserver__start_thread(Crew *crew, Thread *t)
{
	int error;

	t->crew = crew;
	pthread_mutex_lock(&crew->lock);
	error = pthread_create(&t->id, NULL, run_thread, t);
	crew->running += !error;
	t->started = !error;
	pthread_mutex_unlock(&crew->lock);
	return error;
}

/* No thread is replaced any more when the last one has left: only then they can be joined. */
void httpserver__await_crew(Crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	while (crew->running > 0)
		pthread_cond_wait(&crew->left, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
}

void httpserver__join_thread(Thread *t)
{
	if (t->started)
		pthread_join(t->id, NULL);
	t->started = 0;
}
