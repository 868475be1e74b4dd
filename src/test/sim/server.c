/* SPDX-License-Identifier: MIT */
/* The worlds of a server: one loop or several, scripted clients, a stop, and the program. The
 * checks compare what the kernel and the clients see with a model of our own:
 *
 * - each request is answered once, in order, or its connection ended for a reason that is named;
 * - no byte of one connection reaches another;
 * - no deadline is early or late by a millisecond (the clock's has begun);
 * - places, descriptors, arenas and the statistics add up;
 * - whoever waits at the door is let in, if need be in the place of the longest idle;
 * - from the end of the drain on no handler begins, and run returns. */
#include "config.h"

#include <core/core.h>
#include "server.h"

enum { CLIENTS = 10 };

HTTPServer_Options options;
HTTPServer_T server;
Client *clients;
LoopModel loops[LOOPS];
int nloops, has_faults, few, is_tight;
int64_t stopped_at, spent;
Totals totals;
static int next_id;

void note_stop(void)
{
	if (stopped_at >= 0)
		return;
	stopped_at = sim_ms();
	spent = 0;
}

static void stop(void *cl)
{
	(void)cl;
	if (!server && sim_now == 0) { /* which is about to be made */
		event_at(1, stop, NULL);
		return;
	}
	sim_trace("stop");
	note_stop();
	if (server)
		HTTPServer_stop(server);
}

static int some_ms(void)
{
	static const int times[] = { 1, 10, 100, 500, 2000, 10000 };

	return sim_between(1, times[sim_below(6)]);
}

static void choose_program(void)
{
	options.suspend_ms = sim_chance(10) ? -1 : some_ms();
	options.workers = sim_between(1, 3);
	options.queue = sim_chance(20) ? (size_t)sim_between(1, 3) : 0;
	if (sim_chance(50))
		options.memory_bytes = (size_t)1 << 30;
	if (sim_chance(20))
		options.request_bytes = (size_t)1 << 28;
	is_tight = sim_chance(10);
	if (is_tight && sim_chance(50))
		options.memory_bytes = (size_t)sim_between(1, 200000);
	else if (is_tight)
		options.request_bytes = (size_t)sim_between(8192, 100000);
}

static void choose_options(int most_loops)
{
	options = (HTTPServer_Options){ .host = "10.0.0.1",
		.service = "8080",
		.threads = 1,
		.limits = { .head_ms = some_ms(), .body_ms = some_ms() },
		.body_rate = sim_between(50, 5000),
		.idle_ms = some_ms(),
		.send_ms = some_ms(),
		.linger_ms = some_ms(),
		.drain_ms = some_ms(),
		.connections = (size_t)sim_between(1, 6),
		.pipeline_bytes = (size_t)sim_between(256, 4096) };
	if (sim_chance(20))
		options.idle_ms = 60000;
	if (program_runs)
		choose_program();
	if (most_loops > 1) {
		options.threads = sim_between(2, most_loops);
		options.connections = (size_t)sim_between(1, 9);
	}
	if (sim_chance(10))
		options.idle_ms = options.limits.head_ms = options.limits.body_ms =
			options.send_ms = -1;
}

static void choose_faults(void)
{
	has_faults = sim_chance(40);
	if (sim_chance(50))
		faults.interrupt = 300;
	if (!has_faults)
		return;
	faults.alloc = sim_chance(50) ? 20 : 0;
	faults.accept = sim_chance(50) ? 1000 : 0;
	faults.recv = sim_chance(50) ? 100 : 0;
	faults.send = sim_chance(50) ? 100 : 0;
	faults.epoll = sim_chance(50) ? 200 : 0;
	faults.threads = program_runs && sim_chance(30) ? 5000 : 0;
}

static void serve(void *cl)
{
	Arena_T arena;

	(void)cl;
	kernel_quiet = 1;
	arena = Arena_new();
	server = HTTPServer_new(arena, &options);
	program_add_routes();
	program_start();
	kernel_quiet = 0;
	TRY
	{
		HTTPServer_run(server);
	}
	ELSE
	{
		SIM_CHECK(may_fail_to_run(), "run raised %s", Except_message());
	}
	END_TRY;
	SIM_CHECK(stopped_at >= 0 || may_fail_to_run(), "run returns before stop");
	SIM_CHECK(count_open() == 0, "run returns, and %zu connections are open", count_open());
	SIM_CHECK(drain_end() == INT64_MAX || sim_ms() <= drain_end() + LATE + spent + work_ms(),
		"run returns %lld ms after the drain's end", (long long)(sim_ms() - drain_end()));
	program_end();
	check_totals();
	Arena_dispose(&arena);
	server = NULL;
	SIM_CHECK(kernel_descriptors() == 0, "%d descriptors are left", kernel_descriptors());
}

/* A loop has its share of the places, and there is no loop without a place. */
static void make_loops(void)
{
	size_t places = options.connections, n = (size_t)options.threads, i;

	n = n < places ? n : places;
	nloops = (int)n;
	for (i = 0; i < n; i++)
		loops[i] = (LoopModel){ .most = places / n + (i < places % n), .drain_seen = -1,
			.evicted_since = -1 };
}

/* Without a thread the server drains at once, and serves only those who are there already. */
static int64_t when_to_arrive(void)
{
	if (faults.threads && sim_chance(50))
		return 0;
	return sim_below(sim_chance(50) ? 1000 : 3000000);
}

static void simulate(int most_loops)
{
	int i, nclients;

	few = sim_chance(20);
	kernel_reset(few ? sim_between(4, 8) + 4 * (most_loops - 1) : 64);
	nclients = sim_between(1, CLIENTS);
	next_id = 1;
	stopped_at = -1;
	spent = is_tight = 0;
	totals = (Totals){ 0 };
	program_reset();
	kernel_yields = program_runs;
	choose_options(most_loops);
	make_loops();
	choose_faults();
	event_grain();
	sim_trace(
		"head_ms %d, body_ms %d, body_rate %d, idle_ms %d, send_ms %d, "
		"linger_ms %d, drain_ms %d, connections %zu",
		options.limits.head_ms, options.limits.body_ms, options.body_rate, options.idle_ms,
		options.send_ms, options.linger_ms, options.drain_ms, options.connections);
	world.waits = check_waiting;
	begin_telling();
	for (i = 0; i < nclients; i++)
		event_at(when_to_arrive(), arrive, &next_id);
	event_at((int64_t)sim_below(sim_chance(30) ? 100000 : 8000000), stop, NULL);
	task_start("server", serve, NULL);
	task_run_all();
	while (clients) {
		Client *c = clients;

		clients = c->next;
		client_free(c);
	}
}

void simulate_server(void)
{
	program_runs = 0;
	simulate(1);
}

void simulate_program(void)
{
	program_runs = 1;
	simulate(1);
}

void simulate_loops(void)
{
	program_runs = 1;
	simulate(LOOPS);
}
