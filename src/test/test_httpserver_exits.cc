// SPDX-License-Identifier: MIT
// Ways out of each callback of HTTPServer. In the thread of run, a C++ exception leaves
// HTTPServer_run, as HTTPServer(3) says, and a cancellation or an end of the thread ends it.
// Otherwise all is as after a raise: no descriptor, thread or arena is left, and another server
// runs afterwards. In the thread of another loop, a cancellation or an end costs the connection,
// and the server goes on.
#include <atomic>

#include "serverways.h"

enum Callback { HANDLER, BODY, MORE, LOG, DEFERRED, BEFORE, ON_ERROR, TAKE, CALLBACKS };
static const char *const names[] = { "a handler", "a body", "a stream's more", "the log",
	"a deferred call", "before", "on_error", "an upgrade's take", "no callback" };
static std::atomic<int> leaving; // the callback that must leave; CALLBACKS: none, or it has left
static bool elsewhere;           // it leaves in the thread of another loop than that of run

static void leave_once(int callback)
{
	if (callback != leaving || (elsewhere && pthread_equal(pthread_self(), run_thread)))
		return;
	leaving = CALLBACKS;
	take_way();
}

static void leave_deferred(void *) { leave_once(DEFERRED); }

static int leave_more(HTTPResponse_T response, void *)
{
	leave_once(MORE);
	HTTPResponse_write(response, "x", 1);
	return 0;
}

static void leave_before(HTTPRequest_T, HTTPResponse_T, void *) { leave_once(BEFORE); }

static void leave_on_error(HTTPRequest_T, HTTPResponse_T, int, const char *, void *)
{
	leave_once(ON_ERROR);
}

static void leave_take(Socket_T s, void *)
{
	Socket_close(&s);
	leave_once(TAKE);
}

static void leave_handler(HTTPRequest_T request, HTTPResponse_T response, void *)
{
	leave_once(HANDLER);
	Arena_defer(HTTPRequest_arena(request), leave_deferred, nullptr);
	if (leaving == ON_ERROR)
		RAISE(HTTP_Not_Found);
	if (leaving == TAKE) {
		HTTPResponse_upgrade(response, "chat", leave_take, nullptr);
		return;
	}
	HTTPResponse_stream(response, leave_more, nullptr);
}

static void leave_body(HTTPRequest_T, const void *, size_t, void *) { leave_once(BODY); }
static void leave_log(const HTTPServer_Entry *, void *) { leave_once(LOG); }

static void *ask_in_thread(void *)
{
	ask_once();
	return nullptr;
}

// Each connection goes to one of the two loops.
static void *ask_until_left(void *)
{
	for (int i = 0; i < 1000 && leaving != CALLBACKS; i++)
		ask_once();
	CHECK(leaving == CALLBACKS);
	for (int i = 0; i < 20; i++)
		CHECK(ask_once());
	HTTPServer_stop(server);
	return nullptr;
}

// Returns whether HTTPServer_run was left in another way than by a return.
static bool serve_and_leave(int callback)
{
	Arena_T arena = Arena_new();
	HTTPServer_Options options = {};
	HTTPServer_Route route = {};
	pthread_t client, runner;
	void *result;
	bool stops = callback == CALLBACKS || elsewhere; // the client calls HTTPServer_stop

	options.threads = elsewhere ? 2 : 1;
	options.log = leave_log;
	options.before = leave_before;
	options.on_error = leave_on_error;
	route.handler = leave_handler;
	route.body = leave_body;
	make_server(arena, options, route);
	leaving = callback;
	client = start_thread(elsewhere ? ask_until_left : stops ? ask_and_stop : ask_in_thread,
		nullptr);
	runner = start_thread(run_server, nullptr);
	CHECK(pthread_join(runner, &result) == 0);
	if (stops)
		CHECK(pthread_join(client, nullptr) == 0);
	Arena_dispose(&arena); // what is left of the connection goes with it
	if (!stops)
		CHECK(pthread_join(client, nullptr) == 0);
	return result != &port;
}

static void leave_each_way()
{
	for (int w = THROWS; w < WAYS; w++)
		for (int callback = 0; callback < CALLBACKS; callback++) {
			Resources before;

			way = static_cast<Way>(w);
			scenario = names[callback];
			if (elsewhere && way == THROWS)
				continue; // it ends the process, as in any thread
			CHECK(serve_and_leave(callback) != elsewhere);
			before.check_unchanged();
		}
}

int main()
{
	if (!has_loopback())
		return NEEDS_SKIPPED;
	serve_and_leave(CALLBACKS); // what the process makes once
	leave_each_way();
	serve_and_leave(CALLBACKS);
	elsewhere = true;
	leave_each_way();
	std::printf("%d callbacks x %d ways out\n", CALLBACKS, 2 * (WAYS - THROWS) - 1);
	return 0;
}
