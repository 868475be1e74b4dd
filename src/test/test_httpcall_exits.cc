// SPDX-License-Identifier: MIT
// Every way out of the program's code during a call, which is the on_open of its pool: it returns,
// raises, throws a C++ exception, or its thread is cancelled or ends in it. Afterwards the call has
// failed and no connection is checked out.
#include <core/core.h>

#include <string>
#include <unistd.h>

#include "ways.h"

static void leave_on_open(Connection_T, void *) { take_way(); }

// ---- a server, a pool and a call ----

static Arena_T arena;
static SocketPool_T pool;
static HTTPServer_T server;
static std::string service;
static HTTPCall_T call;
static bool done;

static void answer_hello(HTTPRequest_T, HTTPResponse_T response, void *)
{
	HTTPResponse_printf(response, "hello");
}

static void *run_server(void *)
{
	HTTPServer_run(server);
	return nullptr;
}

static void run_whole()
{
	HTTPCall_run(call, pool, "127.0.0.1", service.c_str());
	done = true;
}

static void run_steps()
{
	char bytes[16];

	HTTPCall_begin(call, pool, "127.0.0.1", service.c_str(), 0);
	HTTPCall_answer(call);
	while (HTTPCall_recv(call, bytes, sizeof bytes) > 0)
		;
	done = true;
}

static bool may_run_again()
{
	volatile bool may = true;

	TRY {
		run_whole();
	} EXCEPT(Assert_Failed) {
		may = false;
	} END_TRY;
	return may;
}

static void try_way(void (*act)())
{
	Arena_T mine = Arena_new();
	SocketPool_Stats stats;

	done = false;
	call = HTTPCall_new(mine, "GET", "/");
	run_in_thread(act);
	SocketPool_stats(pool, &stats);
	CHECK(stats.checked_out == 0);
	CHECK(stats.idle == (way == RETURNS));
	CHECK(done == (way == RETURNS));
	CHECK(!may_run_again());
	SocketPool_evict_idle(pool, 0);
	CHECK(SocketPool_count(pool) == 0);
	Arena_dispose(&mine);
}

int main()
{
	HTTPServer_Options options = {};
	SocketPool_Limits limits = {};
	pthread_t thread;

	arena = Arena_new();
	options.host = "127.0.0.1";
	options.service = "0";
	options.threads = 1;
	server = HTTPServer_new(arena, &options);
	HTTPServer_route(server, "GET", "/", answer_hello, nullptr);
	service = std::to_string(HTTPServer_port(server));
	thread = start_thread(run_server, nullptr);
	pool = SocketPool_new(arena, 2, 64);
	limits.on_open = leave_on_open;
	SocketPool_set_limits(pool, &limits);
	for (int i = 0; i < WAYS; i++) {
		way = static_cast<Way>(i);
		scenario = "run";
		try_way(run_whole);
		scenario = "steps";
		try_way(run_steps);
	}
	HTTPServer_stop(server);
	pthread_join(thread, nullptr);
	Arena_dispose(&arena);
	return 0;
}
