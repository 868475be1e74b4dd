// SPDX-License-Identifier: MIT
// Ways out of a route's functions, before and after the response that they have suspended was
// resumed. In the thread of run, a C++ exception leaves HTTPServer_run, and so ends the server. In
// a worker, a cancellation or the end of the thread costs the request. Otherwise all is as after a
// raise: no descriptor, thread or arena is left. A late resume is refused or frees what is left.
// Another server runs afterwards.
#include "serverways.h"

enum Callback { HANDLER, BODY, MORE, CALLBACKS };
static const char *const names[] = { "a handler", "a body", "a stream's more", "no callback" };
static int leaving; // the callback that is to leave; CALLBACKS: none, or it has left
static bool in_worker, resumed;
static HTTPResponse_T suspended;

static void suspend_and_leave(HTTPResponse_T response, int callback)
{
	if (callback != leaving)
		return;
	leaving = CALLBACKS;
	HTTPResponse_suspend(response, -1);
	suspended = response;
	if (resumed)
		HTTPResponse_resume(response);
	take_way();
}

static int leave_more(HTTPResponse_T response, void *)
{
	suspend_and_leave(response, MORE);
	HTTPResponse_write(response, "x", 1);
	return 0;
}

static int nfreed;

static void count_freed(void *) { __atomic_fetch_add(&nfreed, 1, __ATOMIC_SEQ_CST); }

static void leave_handler(HTTPRequest_T request, HTTPResponse_T response, void *)
{
	Arena_defer(HTTPRequest_arena(request), count_freed, nullptr);
	HTTPResponse_stream(response, leave_more, nullptr);
	suspend_and_leave(response, HANDLER);
}

static void leave_body(HTTPRequest_T request, const void *, size_t, void *)
{
	suspend_and_leave(HTTPRequest_response(request), BODY);
}

// The request has ended or is freed by this. The resume of an ended one raises Assert_Failed. Each
// response may be resumed once.
static void resume_late()
{
	HTTPResponse_T response = suspended;

	suspended = nullptr;
	if (!response)
		return;
	TRY {
		HTTPResponse_resume(response);
		CHECK(!resumed);
	} EXCEPT(Assert_Failed) {
	} END_TRY;
}

static void serve_and_leave(int callback)
{
	Arena_T arena = Arena_new();
	HTTPServer_Options options = {};
	HTTPServer_Route route = {};
	pthread_t client, runner;

	options.threads = 1;
	options.workers = 1;
	options.drain_ms = 10000;
	route.handler = leave_handler;
	route.body = leave_body;
	route.blocks = in_worker;
	make_server(arena, options, route);
	leaving = callback;
	nfreed = 0;
	client = start_thread(ask_and_stop, nullptr);
	runner = start_thread(run_server, nullptr);
	CHECK(pthread_join(runner, nullptr) == 0);
	resume_late();
	if (callback == BODY)
		CHECK(nfreed <= 1);
	else if (callback < CALLBACKS && (in_worker || way == RAISES))
		CHECK(nfreed == 1);
	CHECK(pthread_join(client, nullptr) == 0);
	Arena_dispose(&arena);
	CHECK(callback == BODY || nfreed == 1);
}

static const char *name_scenario(int callback)
{
	static char name[80];

	std::snprintf(name, sizeof name, "%s%s%s", names[callback], in_worker ? ", in a worker" : "",
		resumed ? ", resumed" : "");
	return name;
}

// Then checks that a server without such a callback runs.
static void leave_by(int callback, Way by)
{
	Resources before;

	way = by;
	scenario = name_scenario(callback);
	serve_and_leave(callback);
	before.check_unchanged();
	serve_and_leave(CALLBACKS);
	before.check_unchanged();
}

int main()
{
	int n = 0;

	if (!has_loopback())
		return NEEDS_SKIPPED;
	serve_and_leave(CALLBACKS); // what the process makes once
	in_worker = true;
	serve_and_leave(CALLBACKS);
	for (int i = 0; i < 4; i++) {
		in_worker = i % 2;
		resumed = i / 2;
		for (int w = RAISES; w < WAYS; w++)
			for (int callback = 0; callback < CALLBACKS; callback++)
				if (!in_worker || w != THROWS) { // an exception ends the process, as in any thread
					leave_by(callback, static_cast<Way>(w));
					n++;
				}
	}
	std::printf("%d ways out\n", n);
	return 0;
}
