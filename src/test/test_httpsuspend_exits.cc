// SPDX-License-Identifier: MIT
// Ways out of a route's functions that are not the library's, after they have suspended the response: before anybody resumed
// it, or after. In the thread of run a C++ exception leaves HTTPServer_run, and so the server ends; in a worker a cancellation or
// an end of the thread costs the request. Everything is as after a raise: no descriptor, thread or arena is left, a resume that
// comes late is refused or frees what is left, and another server runs afterwards.
#include <core/core.h>

#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(condition)                                                                                     \
	((condition) ? (void)0                                                                               \
	             : (std::printf("%s:%d: %s %s%s%s: not so: %s\n", __FILE__, __LINE__, names[leaving_now],    \
				way_names[way], in_worker ? ", in a worker" : "", resumed ? ", resumed" : "", #condition), \
			std::exit(1)))

struct Thrown {};

enum Callback { HANDLER, BODY, MORE, CALLBACKS };
static const char *const names[] = { "a handler", "a body", "a stream's more", "nothing" };
enum Way { RAISES, THROWS, IS_CANCELLED, EXITS, WAYS };
static const char *const way_names[] = { "raises", "throws", "is cancelled", "exits" };
static int leaving, leaving_now, way, in_worker, resumed;
static HTTPResponse_T suspended;

// AddressSanitizer does not see frames go that an end of the thread unwinds; their marks are taken away before.
extern "C" void __asan_handle_no_return() __attribute__((weak));

static void leave(HTTPResponse_T response, int callback)
{
	if (callback != leaving)
		return;
	leaving = CALLBACKS;
	HTTPResponse_suspend(response, -1);
	suspended = response;
	if (resumed)
		HTTPResponse_resume(response);
	if (way >= IS_CANCELLED && __asan_handle_no_return)
		__asan_handle_no_return();
	switch (way) {
	case RAISES: EXCEPT_RAISE_MSG(HTTP_Failed, "it is full");
	case THROWS: throw Thrown();
	case IS_CANCELLED:
		pthread_cancel(pthread_self());
		pthread_testcancel();
		break;
	default: pthread_exit(nullptr);
	}
}

static int more(HTTPResponse_T response, void *)
{
	leave(response, MORE);
	HTTPResponse_write(response, "x", 1);
	return 0;
}

static int nfreed;

static void freed(void *) { __atomic_fetch_add(&nfreed, 1, __ATOMIC_SEQ_CST); }

static void handler(HTTPRequest_T request, HTTPResponse_T response, void *)
{
	Arena_defer(HTTPRequest_arena(request), freed, nullptr);
	HTTPResponse_stream(response, more, nullptr);
	leave(response, HANDLER);
}

static void body(HTTPRequest_T request, const void *, size_t, void *) { leave(HTTPRequest_response(request), BODY); }

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
static HTTPServer_T server;

// Sends one request and reads until the connection ends.
static void *ask(void *)
{
	static const char request[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
	sockaddr_in to = {};
	char buffer[1024];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_family = AF_INET;
	to.sin_port = htons(static_cast<uint16_t>(port));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, reinterpret_cast<sockaddr *>(&to), sizeof to) == 0 && send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0)
		while (recv(fd, buffer, sizeof buffer, 0) > 0)
			;
	close(fd);
	return nullptr;
}

static void *ask_and_stop(void *)
{
	ask(nullptr);
	HTTPServer_stop(server);
	return nullptr;
}

static void *run(void *)
{
	try {
		HTTPServer_run(server);
	} catch (const Thrown &) {
	}
	return nullptr;
}

// It has ended, or is freed now. A resume of what has ended is an Assert_Failed; each right to resume is used up.
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

static void serve(int callback)
{
	Arena_T arena = Arena_new();
	HTTPServer_Options options = {};
	HTTPServer_Route route = {};
	pthread_t client, runner;

	options.host = "127.0.0.1";
	options.service = "0";
	options.threads = 1;
	options.workers = 1;
	options.drain_ms = 10000;
	server = HTTPServer_new(arena, &options);
	port = HTTPServer_port(server);
	route.method = "POST";
	route.pattern = "/";
	route.handler = handler;
	route.body = body;
	route.blocks = in_worker;
	HTTPServer_route_with(server, &route);
	leaving = callback;
	nfreed = 0;
	if (pthread_create(&client, nullptr, ask_and_stop, nullptr) != 0 || pthread_create(&runner, nullptr, run, nullptr) != 0)
		std::abort();
	pthread_join(runner, nullptr);
	resume_late();
	if (callback == BODY)
		CHECK(nfreed <= 1);
	else if (callback < CALLBACKS && (in_worker || way == RAISES))
		CHECK(nfreed == 1);
	pthread_join(client, nullptr);
	Arena_dispose(&arena);
	CHECK(callback == BODY || nfreed == 1);
}

int main()
{
	int n = 0;

	leaving_now = CALLBACKS;
	serve(CALLBACKS); // what is made once
	in_worker = 1;
	serve(CALLBACKS);
	for (int i = 0; i < CALLBACKS * WAYS * 4; i++) {
		size_t live = Arena_debug_live_count();
		int descriptors = count_descriptors();

		leaving_now = i % CALLBACKS;
		way = i / CALLBACKS % WAYS;
		in_worker = i / CALLBACKS / WAYS % 2;
		resumed = i / CALLBACKS / WAYS / 2;
		if (in_worker && way == THROWS)
			continue; // it ends the process, as in any thread
		n++;
		serve(leaving_now);
		CHECK(Arena_debug_live_count() == live);
		CHECK(count_descriptors() == descriptors);
		serve(CALLBACKS);
		CHECK(Arena_debug_live_count() == live);
		CHECK(count_descriptors() == descriptors);
	}
	std::printf("%d ways out\n", n);
	return 0;
}
