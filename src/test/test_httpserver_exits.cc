// SPDX-License-Identifier: MIT
// Ways out of each callback of HTTPServer that are not the library's. In the thread of run a C++ exception leaves
// HTTPServer_run, as HTTPServer(3) says, and a cancellation or an end of the thread ends it. Everything is as after a
// raise: no descriptor, thread or arena is left, and another server runs afterwards. In the thread of another loop, a
// cancellation or an end costs the connection, and the server goes on.
#include <core/core.h>

#include <arpa/inet.h>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "needs.h"

#define CHECK(condition)                                                                             \
	((condition) ? (void)0                                                                       \
	             : (std::printf("%s:%d: %s %s: not so: %s\n", __FILE__, __LINE__, names[leaving_now], \
				way_names[way], #condition),                                                 \
			std::exit(1)))

struct Thrown {};

enum Callback { HANDLER, BODY, MORE, LOG, DEFERRED, BEFORE, ON_ERROR, TAKE, CALLBACKS };
static const char *const names[] = { "a handler", "a body", "a stream's more", "the log", "a deferred call",
	"before", "on_error", "an upgrade's take" };
enum Way { THROWS, IS_CANCELLED, EXITS, WAYS };
static const char *const way_names[] = { "throws", "is cancelled", "exits" };
static std::atomic<int> leaving; // CALLBACKS: none, or it has left
static int leaving_now, way;
static bool elsewhere;           // in the thread of another loop
static pthread_t run_thread;

// AddressSanitizer does not see frames go that an end of the thread unwinds; their marks are taken away before.
extern "C" void __asan_handle_no_return() __attribute__((weak));

static void leave(int callback)
{
	if (callback != leaving || (elsewhere && pthread_equal(pthread_self(), run_thread)))
		return;
	leaving = CALLBACKS;
	if (way >= IS_CANCELLED && __asan_handle_no_return)
		__asan_handle_no_return();
	switch (way) {
	case THROWS: throw Thrown();
	case IS_CANCELLED:
		pthread_cancel(pthread_self());
		pthread_testcancel();
		break;
	default: pthread_exit(nullptr);
	}
}

static void deferred(void *) { leave(DEFERRED); }

static int more(HTTPResponse_T response, void *)
{
	leave(MORE);
	HTTPResponse_write(response, "x", 1);
	return 0;
}

static void before(HTTPRequest_T, HTTPResponse_T, void *) { leave(BEFORE); }
static void on_error(HTTPRequest_T, HTTPResponse_T, int, const char *, void *) { leave(ON_ERROR); }

static void take(Socket_T s, void *)
{
	Socket_close(&s);
	leave(TAKE);
}

static void handler(HTTPRequest_T request, HTTPResponse_T response, void *)
{
	leave(HANDLER);
	Arena_defer(HTTPRequest_arena(request), deferred, nullptr);
	if (leaving == ON_ERROR)
		RAISE(HTTP_Not_Found);
	if (leaving == TAKE) {
		HTTPResponse_upgrade(response, "chat", take, nullptr);
		return;
	}
	HTTPResponse_stream(response, more, nullptr);
}

static void body(HTTPRequest_T, const void *, size_t, void *) { leave(BODY); }
static void log_entry(const HTTPServer_Entry *, void *) { leave(LOG); }

static int count_descriptors()
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static int port;

// Sends one request and reads until the connection ends. Returns whether there was an answer.
static bool ask_once()
{
	static const char request[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close, upgrade\r\nUpgrade: chat\r\n\r\nx";
	sockaddr_in to = {};
	char buffer[1024];
	bool answered = false;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_family = AF_INET;
	to.sin_port = htons(static_cast<uint16_t>(port));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, reinterpret_cast<sockaddr *>(&to), sizeof to) == 0) {
		if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0)
			while (recv(fd, buffer, sizeof buffer, 0) > 0)
				answered = true;
	}
	close(fd);
	return answered;
}

static void *ask(void *)
{
	ask_once();
	return nullptr;
}

static HTTPServer_T server;

static void *ask_and_stop(void *)
{
	ask(nullptr);
	HTTPServer_stop(server);
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

// Returns the address of port if HTTPServer_run has returned.
static void *run(void *)
{
	run_thread = pthread_self();
	try {
		HTTPServer_run(server);
	} catch (const Thrown &) {
		return server;
	}
	return &port;
}

// Returns whether HTTPServer_run was left in another way than by a return.
static bool serve(int callback)
{
	Arena_T arena = Arena_new();
	HTTPServer_Options options = {};
	HTTPServer_Route route = {};
	pthread_t client, runner;
	void *result;

	options.host = "127.0.0.1";
	options.service = "0";
	options.threads = elsewhere ? 2 : 1;
	options.log = log_entry;
	options.before = before;
	options.on_error = on_error;
	server = HTTPServer_new(arena, &options);
	port = HTTPServer_port(server);
	route.method = "POST";
	route.pattern = "/";
	route.handler = handler;
	route.body = body;
	HTTPServer_route_with(server, &route);
	leaving = callback;
	if (pthread_create(&client, nullptr, elsewhere ? ask_until_left : callback < CALLBACKS ? ask : ask_and_stop, nullptr) != 0)
		std::abort();
	if (pthread_create(&runner, nullptr, run, nullptr) != 0)
		std::abort();
	pthread_join(runner, &result);
	if (callback == CALLBACKS || elsewhere) // it has called HTTPServer_stop
		pthread_join(client, nullptr);
	Arena_dispose(&arena); // what is left of the connection goes with it
	if (callback < CALLBACKS && !elsewhere)
		pthread_join(client, nullptr);
	return result != &port;
}

static void leave_by(int callback, int by)
{
	size_t live = Arena_debug_live_count();
	int descriptors = count_descriptors();

	way = by;
	leaving_now = callback;
	CHECK(serve(callback) != elsewhere);
	CHECK(Arena_debug_live_count() == live);
	CHECK(count_descriptors() == descriptors);
}

int main()
{
	if (!has_loopback())
		return NEEDS_SKIPPED;
	serve(CALLBACKS); // what is made once
	for (int i = 0; i < CALLBACKS * WAYS; i++)
		leave_by(i % CALLBACKS, i / CALLBACKS);
	serve(CALLBACKS);
	elsewhere = true;
	for (int i = 0; i < CALLBACKS * WAYS; i++)
		if (i / CALLBACKS != THROWS)
			leave_by(i % CALLBACKS, i / CALLBACKS);
	std::printf("%d callbacks x %d ways out\n", CALLBACKS, 2 * WAYS - 1);
	return 0;
}
