/* SPDX-License-Identifier: MIT */
/* Tasks are the threads of the simulated program: coroutines, of which one runs at a time, until
 * it waits. Whenever there is more than one thing that can happen, the seed decides. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <core/Except.h>
#include "kernel.h"

#if SIM_ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#endif

enum { TASKS = 32, EVENTS = 512, STACK = 256 * 1024, STEPS = 100000 };

typedef struct Task {
	const char *name;
	void (*run)(void *cl);
	void *cl;
	ucontext_t context;
	char *stack;
	int used, done, woken;
	int (*ready)(void *cl);
	void *ready_cl;
	int64_t until; /* -1: never */
} Task;

typedef struct Event {
	int64_t when;
	void (*fn)(void *cl);
	void *cl;
} Event;

int64_t sim_now;
static Task tasks[TASKS], *current;
static Event events[EVENTS];
static int steps, nevents, grain = 1; /* us */
static ucontext_t scheduler;
#if SIM_ADDRESS_SANITIZER
static const void *scheduler_bottom;
static size_t scheduler_size;
#endif

const char *task_name(void)
{
	return current ? current->name : NULL;
}

void *task_cl(void)
{
	return current ? current->cl : NULL;
}

/* Leaves a context for another, whose stack is given; NULL: the scheduler's. ASan is told. */
static void switch_context(ucontext_t *from, ucontext_t *to, const char *stack)
{
#if SIM_ADDRESS_SANITIZER
	void *fake;

	__sanitizer_start_switch_fiber(
		&fake, stack ? stack : scheduler_bottom, stack ? STACK : scheduler_size);
	swapcontext(from, to);
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
	(void)stack;
	swapcontext(from, to);
#endif
}

static void enter(unsigned high, unsigned low)
{
	Task *t = (Task *)(((uintptr_t)high << 16 << 16) | low);

#if SIM_ADDRESS_SANITIZER
	__sanitizer_finish_switch_fiber(NULL, &scheduler_bottom, &scheduler_size);
#endif
	t->run(t->cl);
	t->done = 1;
	switch_context(&t->context, &scheduler, NULL);
}

void task_start(const char *name, void (*run)(void *cl), void *cl)
{
	Task *t = tasks;

	while (t < tasks + TASKS && t->used && !t->done)
		t++;
	SIM_CHECK(t < tasks + TASKS, "more than %d tasks", TASKS);
	if (!t->stack)
		t->stack = sim_alloc(STACK);
	t->name = name;
	t->run = run;
	t->cl = cl;
	t->used = 1;
	t->done = 0;
	t->woken = 1;
	t->ready = NULL;
	t->until = -1;
	getcontext(&t->context);
	t->context.uc_stack.ss_sp = t->stack;
	t->context.uc_stack.ss_size = STACK;
	t->context.uc_link = &scheduler;
	makecontext(&t->context, (void (*)(void))enter, 2, (unsigned)((uintptr_t)t >> 16 >> 16),
		(unsigned)(uintptr_t)t);
}

void task_reset(void)
{
	int i;

	for (i = 0; i < TASKS; i++)
		tasks[i].used = tasks[i].done = 0;
	nevents = 0;
	sim_now = steps = 0;
	current = NULL;
}

/* Where they are coarse, much happens at once. */
void event_grain(void)
{
	static const int grains[] = { 1, 1, 1000, 10000 };

	grain = grains[sim_below(4)];
}

void event_at(int64_t when, void (*fn)(void *cl), void *cl)
{
	SIM_CHECK(nevents < EVENTS, "more than %d events", EVENTS);
	when = when < sim_now ? sim_now : when;
	events[nevents++] = (Event){ (when + grain - 1) / grain * grain, fn, cl };
}

int task_block(int (*ready)(void *cl), void *cl, int64_t until)
{
	Task *me = current;
	Except_Stack mine;

	SIM_CHECK(me, "an event's function waits");
	kernel_check_unlocked();
	me->ready = ready;
	me->ready_cl = cl;
	me->until = until;
	me->woken = 0;
	Except_save(&mine);
	switch_context(&me->context, &scheduler, NULL);
	Except_restore(&mine);
	return ready && ready(cl);
}

static int can_run(const Task *t)
{
	if (!t->used || t->done)
		return 0;
	return t->woken || (t->until >= 0 && sim_now >= t->until)
		|| (t->ready && t->ready(t->ready_cl));
}

static void switch_to(Task *t)
{
	current = t;
	t->woken = 1;
	switch_context(&scheduler, &t->context, t->stack);
	current = NULL;
}

static void happen(int i)
{
	Event e = events[i];

	events[i] = events[--nevents];
	e.fn(e.cl);
}

/* Runs one of all that can happen now. Returns 0 if nothing can. */
static int step(void)
{
	int choices[TASKS + EVENTS], n = 0, i;

	for (i = 0; i < TASKS; i++)
		if (can_run(&tasks[i]))
			choices[n++] = i;
	for (i = 0; i < nevents; i++)
		if (events[i].when <= sim_now)
			choices[n++] = TASKS + i;
	if (n == 0)
		return 0;
	i = choices[sim_below(n)];
	if (i < TASKS)
		switch_to(&tasks[i]);
	else
		happen(i - TASKS);
	return 1;
}

/* To when the next thing can happen. */
static void pass_time(void)
{
	int64_t next = INT64_MAX;
	int i;

	for (i = 0; i < TASKS; i++)
		if (tasks[i].used && !tasks[i].done && tasks[i].until >= 0 && tasks[i].until < next)
			next = tasks[i].until;
	for (i = 0; i < nevents; i++)
		if (events[i].when < next)
			next = events[i].when;
	SIM_CHECK(steps++ < STEPS, "it goes on without an end");
	SIM_CHECK(next != INT64_MAX, "nothing can happen any more, and not all tasks have ended");
	sim_now = next;
}

static int all_have_ended(void)
{
	int i;

	for (i = 0; i < TASKS; i++)
		if (tasks[i].used && !tasks[i].done)
			return 0;
	return 1;
}

void task_run_all(void)
{
	while (!all_have_ended())
		if (!step())
			pass_time();
	while (nevents > 0) /* what peers still had to do */
		if (!step())
			pass_time();
}
