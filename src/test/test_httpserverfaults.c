/* SPDX-License-Identifier: MIT */
/* A server whose n-th allocation fails, or all from the n-th on, for every n. HTTPServer_run
 * raises if it cannot start. Later a failure costs its own connection and no other. Then a
 * server that gets no threads, and one whose loops fail. The program is linked with --wrap. */
#include "config.h"

#include <fcntl.h>

#include "failing_malloc.h"

static int threads_left; /* how many a server may make */

WRAPPED(int, pthread_create,
	(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *cl),
	(thread, attributes, start, cl), if (is_server && threads_left-- <= 0) return EAGAIN);

static void answer_body(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	size_t n;
	const char *bytes = HTTPRequest_body(request, &n);

	(void)cl;
	HTTPResponse_set(response, "X-Asked", HTTPRequest_header(request, "X-Ask"));
	HTTPResponse_write(response, bytes, n);
}

static void answer_large(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_write(response, Arena_calloc(HTTPRequest_arena(request), 1, 200000), 200000);
}

static void send_self(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_file(response, open("/proc/self/exe", O_RDONLY | O_CLOEXEC), 0, 100000);
}

static void hang_up(Socket_T s, void *cl)
{
	(void)cl;
	Socket_close(&s);
}

static void answer_upgrade(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_upgrade(response, "chat", hang_up, NULL);
}

static void set_before(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPRequest_set_data(request, Arena_alloc(HTTPRequest_arena(request), 20000));
	HTTPResponse_set(response, "X-Before", "yes");
}

static void on_error(HTTPRequest_T request, HTTPResponse_T response, int status,
	const char *message, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "%d %s", status, message ? message : "");
}

static void take_log(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	if (e->status < 100) /* Check would allocate */
		abort();
}

/* Sends a head in two pieces and a pipeline. The answers are whole or cut off; then the server
 * must still answer. */
static void send_pipeline(void)
{
	static char request[9000];
	size_t n = (size_t)sprintf(request, "POST /echo HTTP/1.1\r\n" HOST "X-Ask: ");
	int fd = try_to_dial();

	if (fd < 0)
		return;
	memset(request + n, 'x', 7000);
	sprintf(request + n + 7000, "\r\nContent-Length: 5\r\n\r\n"
		"hello" GET("/large") GET("/file") GET("/none")
		"GET /file HTTP/1.1\r\n" HOST "Range: bytes=5-6\r\n\r\n"
		"GET /upgrade HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: chat\r\n\r\nahead");
	send(fd, request, 3000, MSG_NOSIGNAL);
	sleep_ms(1);
	send(fd, request + 3000, strlen(request + 3000), MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	read_to_end(fd);
	close(fd);
}

/* Returns 1 if the server answers as usual. */
static int is_serving(void)
{
	int fd = try_to_dial();

	if (fd < 0)
		return 0;
	send(fd, GET("/large"), strlen(GET("/large")), MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	read_to_end(fd);
	close(fd);
	return nheard > 200000;
}

static int serve_failing(int n, int with_hooks)
{
	HTTPServer_Options options = { .limits = { .header_bytes = 8000 } };
	int failed_once;

	if (with_hooks) {
		options.before = set_before;
		options.on_error = on_error;
		options.log = take_log;
		options.request_bytes = options.memory_bytes = 4 << 20;
	}
	make_server(options);
	HTTPServer_route(server, "GET", "/file", send_self, NULL);
	HTTPServer_route(server, "GET", "/upgrade", answer_upgrade, NULL);
	HTTPServer_route(server, "POST", "/echo", answer_body, NULL);
	HTTPServer_route(server, "GET", "/large", answer_large, NULL);
	launch_failing(n);
	send_pipeline();
	failed_once = end_failing();
	await(run_failed || is_serving());
	end_failed_server();
	return failed_once;
}

SUITE("httpserver without memory");
CASE("allocations");

TEST(each_allocation_may_fail_or_all_after_it, .to = 4)
{
	int n = 0;

	lasting = _i % 2;
	while (serve_failing(n, _i / 2))
		n++;
	ck_assert_int_gt(n, 5);
}

static void run_with_threads(int left, int blocks, const char *message)
{
	make_server((HTTPServer_Options){ .threads = 3, .workers = 2 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "GET", .pattern = "/large",
		.handler = answer_large, .blocks = blocks });
	threads_left = left;
	is_server = 1;
	ck_raises_saying(HTTP_Failed, message, HTTPServer_run(server));
	is_server = 0;
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static void fail_loop(void)
{
	EXCEPT_RAISE_MSG(SocketPoll_Failed, "the poll is out of order");
}

static atomic_int loops_to_fail;

WRAPPED(int, SocketPoll_wait, (SocketPoll_T poll, SocketPoll_Event *events, int n, int ms),
	(poll, events, n, ms), if (atomic_fetch_sub(&loops_to_fail, 1) > 0) fail_loop());

TEST(a_loop_that_fails_ends_the_others_and_run_says_why, .from = 1, .to = 4)
{
	make_server((HTTPServer_Options){ .threads = 3 });
	atomic_store(&loops_to_fail, _i);
	ck_raises_saying(HTTP_Failed, "the poll is out of order", HTTPServer_run(server));
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static void exit_without_threads(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)response;
	(void)cl;
	is_server = 1;
	threads_left = 0;
	pthread_exit(NULL);
}

TEST(a_worker_that_finds_no_thread_to_replace_it_goes_on)
{
	int fd;

	make_server((HTTPServer_Options){ .workers = 1 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "GET", .pattern = "/exit",
		.handler = exit_without_threads, .blocks = 1 });
	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = "GET", .pattern = "/large",
		.handler = answer_large, .blocks = 1 });
	launch_server();
	fd = dial_server();
	send_text(fd, GET("/exit"));
	read_to_end(fd);
	ck_assert(response_has("HTTP/1.1 500 "));
	close(fd);
	ck_assert_int_eq(ask_server(GET("/large")), 200);
	end_server();
}

TEST(without_threads_run_raises_and_ends_those_that_it_made)
{
	run_with_threads(0, 0, "no thread for a loop");
	run_with_threads(1, 0, "no thread for a loop");
	run_with_threads(0, 1, "no thread for a worker");
	run_with_threads(1, 1, "no thread for a loop"); /* one worker is enough */
	run_with_threads(3, 1, "no thread for a loop");
}
