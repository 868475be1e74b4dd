/* SPDX-License-Identifier: MIT */
/* HTTPServer at its edges: routes that cannot match, methods that no route has, what proxies
 * send, limits of connections, signals, and threads that a handler ends. */
#include "config.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "httpclient.h"

extern char **environ;

static void answer_hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	HTTPResponse_printf(response, "%s", cl ? (char *)cl : "hello");
}

/* ---- routes ---- */

SUITE("HTTPServer, its edges");
CASE("routes", .timeout = 120);

static const struct {
	const char *method, *pattern, *message;
} hopeless[] = {
	{ "GET", "/a//b", "\"/a//b\" has an empty segment" },
	{ "GET", "//", "\"//\" has an empty segment" },
	{ "GET", "//a", "\"//a\" has an empty segment" },
	{ "GET", "/a//", "\"/a//\" has an empty segment" },
	{ "GET", "/:id//*", "\"/:id//*\" has an empty segment" },
	{ "GET", "/%61", "\"/%61\" has the escape %61" },
	{ "GET", "/b/c%2fd/e", "has the escape %2f" },
	{ "GET", "/100%/%41", "has the escape %41" },
	{ "GET", "/a?b", "\"/a?b\" has a '?'" },
	{ "GET", "/a#b", "\"/a#b\" has a '#'" },
	{ "GET", "/a\\b", "\"/a\\b\" has a '\\'" },
	{ "GET", "/a/./b", "\"/a/./b\" has the segment \".\"" },
	{ "GET", "/a/..", "\"/a/..\" has the segment \"..\"" },
	{ "GET", "/..", "\"/..\" has the segment \"..\"" },
	{ "GET", "/:id/:id", "\"/:id/:id\" has two parameters \"id\"" },
	{ "GET", "/a/:x/b/:y/:x", "has two parameters \"x\"" },
	{ "GET", "/:path/*path", "has two parameters \"path\"" },
	{ "GET", "/:*/*", "has two parameters \"*\"" },
	{ "CONNECT", "/", "\"CONNECT\" has no path" },
	{ "", "/", "\"\" is not a method" }
};
enum { HOPELESS = sizeof hopeless / sizeof hopeless[0] };

TEST(a_route_that_can_never_match_is_refused)
{
	int i;

	make_server((HTTPServer_Options){ 0 });
	for (i = 0; i < HOPELESS; i++)
		ck_raises_saying(Assert_Failed, hopeless[i].message,
			HTTPServer_route(server, hopeless[i].method, hopeless[i].pattern, answer_hello, NULL));
	launch_server();
	ck_assert_int_eq(ask_server(GET("/")), 501);
	end_server();
}

TEST(a_route_that_only_looks_like_that_is_accepted)
{
	static const char *const pairs[][2] = {
		{ "/a/", "/a/" }, { "/...", "/..." }, { "/.a", "/.a" }, { "/a..", "/a.." },
		{ "/100%", "/100%25" },
		{ "/5%z", "/5%25z" }, { "/a:b", "/a:b" }, { "/a*", "/a*" }, { "/a b", "/a%20b" },
		{ "/:id/x/:ids", "/1/x/2" },
		{ "/u/:i/*id", "/u/1/2/3" }
	};
	size_t i, n = sizeof pairs / sizeof pairs[0];
	char request[100];

	make_server((HTTPServer_Options){ 0 });
	for (i = 0; i < n; i++)
		HTTPServer_route(server, "GET", pairs[i][0], answer_hello, (void *)(uintptr_t)pairs[i][0]);
	launch_server();
	for (i = 0; i < n; i++) {
		sprintf(request, "GET %s HTTP/1.1\r\n" HOST "\r\n", pairs[i][1]);
		ck_assert_int_eq(ask_server(request), 200);
		ck_assert_str_eq(response_body(), pairs[i][0]);
	}
	end_server();
}

TEST(a_method_of_no_route_is_501_and_one_of_another_path_405)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/a", answer_hello, NULL);
	HTTPServer_route(server, "PUT", "/b", answer_hello, NULL);
	launch_server();
	ck_assert_int_eq(ask_server("PUT /a HTTP/1.1\r\n" HOST "\r\n"), 405);
	ck_assert(response_has("Allow: GET, HEAD, OPTIONS\r\n"));
	ck_assert_int_eq(ask_server("PUT /c HTTP/1.1\r\n" HOST "\r\n"), 404);
	ck_assert_int_eq(ask_server("HEAD /b HTTP/1.1\r\n" HOST "\r\n"), 405);
	ck_assert_int_eq(ask_server("OPTIONS /c HTTP/1.1\r\n" HOST "\r\n"), 404);
	ck_assert_int_eq(ask_server("PATCH /a HTTP/1.1\r\n" HOST "\r\n"), 501);
	ck_assert(!response_has("Allow:"));
	ck_assert_str_eq(response_body(), "501 Not Implemented: PATCH\n");
	ck_assert_int_eq(ask_server("PATCH /c HTTP/1.1\r\n" HOST "\r\n"), 501);
	ck_assert_int_eq(ask_server("GE /a HTTP/1.1\r\n" HOST "\r\n"), 501);
	ck_assert_int_eq(ask_server("PUTS /b HTTP/1.1\r\n" HOST "\r\n"), 501);
	ck_assert_int_eq(ask_server("PATCH /a HTTP/1.1\r\n" HOST
		"Content-Length: 2\r\n\r\nxx" GET("/a")),
		501);
	end_server();
}

TEST(a_route_for_every_method_matches_unknown_methods)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, NULL, "/a", answer_hello, NULL);
	HTTPServer_route(server, "GET", "/b", answer_hello, NULL);
	launch_server();
	ck_assert_int_eq(ask_server("PATCH /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	ck_assert_int_eq(ask_server("PATCH /b HTTP/1.1\r\n" HOST "\r\n"), 405);
	ck_assert_int_eq(ask_server("PATCH /c HTTP/1.1\r\n" HOST "\r\n"), 404);
	end_server();
}

static void show_segment(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%s of %s", HTTPRequest_param(request, "name"),
		HTTPRequest_path(request));
}

static void segment_is(const char *target, const char *text)
{
	char request[200];

	sprintf(request, "GET %s HTTP/1.1\r\n" HOST "\r\n", target);
	ck_assert_msg(ask_server(request) == 200 && strcmp(response_body(), text) == 0,
		"%s is answered %s", target,
		heard);
}

TEST(an_encoded_slash_stays_in_its_segment)
{
	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/f/:name", show_segment, NULL);
	HTTPServer_route(server, "GET", "/r/*name", show_segment, NULL);
	HTTPServer_route(server, "GET", "/admin", answer_hello, "admin");
	launch_server();
	segment_is("/f/a%2Fb", "a/b of /f/a%2Fb");
	segment_is("/f/a%5cb", "a\\b of /f/a%5Cb");
	segment_is("/f/a%20b", "a b of /f/a b");
	segment_is("/f/%2F", "/ of /f/%2F");
	segment_is("/r/a%2Fb/c", "a/b/c of /r/a%2Fb/c");
	segment_is("/admin", "admin");
	ck_assert_int_eq(ask_server(GET("/x%2F..%2Fadmin")), 404);
	ck_assert_int_eq(ask_server(GET("/x/%2e%2e%2Fadmin")), 404);
	ck_assert_int_eq(ask_server(GET("/f%2Fa")), 404);
	end_server();
}

/* ---- proxies ---- */

CASE("proxies", .timeout = 120);

static void answer_peer(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_printf(response, "%s", HTTPRequest_peer(request));
}

static void start_behind_proxy(void)
{
	static const char *const proxies[] = { "127.0.0.1", NULL };

	make_server((HTTPServer_Options){ .proxies = proxies });
	HTTPServer_route(server, "GET", "/who", answer_peer, NULL);
	launch_server();
}

TEST(a_port_of_version_1_has_no_zeros_before_it)
{
	static const struct {
		const char *ports;
		int right;
	} lines[] = {
		{ "4711 80", 1 }, { "0 0", 1 }, { "65535 1", 1 }, { "04711 80", 0 }, { "4711 080", 0 },
		{ "00 80", 0 },
		{ "+1 80", 0 }, { "1 65536", 0 }, { "1 99999999999999999999999", 0 }, { "1x 80", 0 },
		{ " 80", 0 }
	};
	char text[200];
	size_t i;

	start_behind_proxy();
	for (i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		int fd = dial_server();

		sprintf(text, "PROXY TCP4 192.0.2.1 198.51.100.1 %s\r\n" GET("/who"), lines[i].ports);
		send_text(fd, text);
		if (lines[i].right)
			ck_assert_msg(read_response(fd) == 200
				&& strncmp(response_body(), "192.0.2.1:", 10) == 0, "%s: %s", text,
				heard);
		else {
			read_to_end(fd);
			ck_assert_msg(nheard == 0, "%s: %s", text, heard);
		}
		close(fd);
	}
	end_server();
}

/* Writes a header of version 2 of this length, which names 192.0.2.1:4711. The server skips what
 * follows the address. */
static size_t long_header(char *out, size_t nbytes)
{
	static const char first[] = "\r\n\r\n\0\r\n"
		"QUIT\n\x21\x11\0\0\xc0\0\x02\x01\xc6\x33\x64\x01\x12\x67\0\x50";

	memset(out, 'x', nbytes);
	memcpy(out, first, sizeof first - 1);
	out[14] = (char)((nbytes - 16) >> 8);
	out[15] = (char)((nbytes - 16) & 255);
	return nbytes;
}

static int speak_long(size_t nbytes, size_t piece)
{
	static char text[70000];
	size_t n = long_header(text, nbytes), at, sent;
	int fd = dial_server(), answered;

	n += (size_t)sprintf(text + n, GET("/who") GET("/who"));
	for (at = 0; at < n; at += sent) {
		ssize_t out = send(fd, text + at, n - at < piece ? n - at : piece, MSG_NOSIGNAL);

		if (out <= 0)
			break;
		sent = (size_t)out;
		if (piece < n)
			sleep_ms(1);
	}
	shutdown(fd, SHUT_WR);
	read_to_end(fd);
	answered = count_in_response("HTTP/1.1 200 OK") == 2 && strcmp(response_body(), "") != 0
		&& response_has("192.0.2.1:4711");
	close(fd);
	return answered;
}

TEST(a_header_of_version_2_may_have_64_KiB)
{
	start_behind_proxy();
	ck_assert(speak_long(28, SIZE_MAX));
	ck_assert(speak_long(2048, SIZE_MAX));
	ck_assert(speak_long(2049, SIZE_MAX));
	ck_assert(speak_long(5000, 700));
	ck_assert(speak_long(40000, SIZE_MAX));
	ck_assert(speak_long(65536, SIZE_MAX));
	ck_assert(speak_long(65536, 16384));
	ck_assert(speak_long(65535, 5000));
	ck_assert(!speak_long(65537, SIZE_MAX));
	ck_assert(!speak_long(65551, SIZE_MAX));
	end_server();
}

/* ---- places ---- */

CASE("places", .timeout = 120);

/* None of them is idle: an idle one would be closed for the next one. */
TEST(no_more_connections_than_were_asked_for)
{
	enum { CLIENTS = 40, PLACES = 5 };
	int fd[CLIENTS], i;

	make_server((HTTPServer_Options){ .threads = 4, .connections = PLACES });
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
	launch_server();
	for (i = 0; i < CLIENTS; i++) {
		fd[i] = dial_server();
		send_text(fd[i], "GET / HTTP/1.1\r\n");
	}
	await(stats_now().connections > 0);
	for (i = 0; i < 50; i++) {
		ck_assert_uint_le(stats_now().connections, PLACES);
		sleep_ms(5);
	}
	ck_assert_uint_le(stats_now().accepted, PLACES);
	for (i = 0; i < CLIENTS; i++)
		close(fd[i]);
	end_server();
}

TEST(one_place_is_one_loop_and_serves_one_after_the_other)
{
	int i;

	make_server((HTTPServer_Options){ .threads = 4, .connections = 1 });
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
	launch_server();
	for (i = 0; i < 20; i++)
		ck_assert_int_eq(ask_server(GET("/")), 200);
	ck_assert_uint_le(stats_now().connections, 1);
	end_server();
}

/* ---- signals ---- */

CASE("signals", .timeout = 120);

static const int urgent[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF };
static const int others[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD };

/* Returns the blocked signals as a number; a child's program prints its own. */
static unsigned long long mask_bits(const sigset_t *mask)
{
	unsigned long long bits = 0;
	int n;

	for (n = 1; n < 32; n++)
		bits |= (unsigned long long)(sigismember(mask, n) == 1) << (n - 1);
	return bits;
}

static unsigned long long blocked_now(void)
{
	sigset_t mask;

	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	return mask_bits(&mask);
}

static unsigned long long blocked_in_fork(void)
{
	unsigned long long bits = ~0ULL;
	int ends[2];
	pid_t child;

	if (pipe(ends) != 0)
		return ~0ULL;
	child = fork();
	if (child == 0) {
		bits = blocked_now();
		_exit(write(ends[1], &bits, sizeof bits) != sizeof bits);
	}
	if (read(ends[0], &bits, sizeof bits) != sizeof bits)
		bits = ~0ULL;
	waitpid(child, NULL, 0);
	close(ends[0]);
	close(ends[1]);
	return bits;
}

/* Does not use a shell, as dash clears the mask. */
static unsigned long long blocked_in_program(void)
{
	static char *arguments[] = { "sed", "-n", "s/^SigBlk:.//p", "/proc/self/status", NULL };
	unsigned long long bits = ~0ULL;
	posix_spawn_file_actions_t actions;
	char text[64] = "";
	pid_t child;
	int ends[2];

	if (pipe(ends) != 0)
		return ~0ULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	if (posix_spawnp(&child, "sed", &actions, NULL, arguments, environ) == 0) {
		waitpid(child, NULL, 0);
		if (read(ends[0], text, sizeof text - 1) <= 0 || sscanf(text, "%llx", &bits) != 1)
			bits = ~0ULL;
	}
	posix_spawn_file_actions_destroy(&actions);
	close(ends[0]);
	close(ends[1]);
	return bits & 0x7fffffff;
}

static void answer_masks(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "%llx %llx %llx", blocked_now(), blocked_in_fork(),
		blocked_in_program());
}

/* There are so many loops that one is certainly not the thread of run: the kernel deals
 * connections out by chance. */
static void ask_for_masks(const char *request, unsigned long long right)
{
	unsigned long long thread, child, program;
	int i;

	for (i = 0; i < 12; i++) {
		ck_assert_int_eq(ask_server(request), 200);
		ck_assert_int_eq(sscanf(response_body(), "%llx %llx %llx", &thread, &child, &program), 3);
		ck_assert_msg(thread == right, "%s: the thread's mask is %llx, that of run %llx", request,
			thread, right);
		ck_assert_msg(child == right, "%s: a child's mask is %llx, that of run %llx", request,
			child, right);
		ck_assert_msg(program == right, "%s: a program's mask is %llx, that of run %llx", request,
			program, right);
	}
}

TEST(handlers_and_their_children_have_the_mask_of_run, .to = 2)
{
	HTTPServer_Route work = { .method = "GET", .pattern = "/work", .handler = answer_masks,
		.blocks = 1 };
	sigset_t mask, before;
	size_t i;

	sigemptyset(&mask);
	if (_i)
		sigaddset(&mask, SIGUSR2);
	make_server((HTTPServer_Options){ .threads = 4 });
	HTTPServer_route(server, "GET", "/loop", answer_masks, NULL);
	HTTPServer_route_with(server, &work);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	launch_server();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	ask_for_masks(GET("/loop"), mask_bits(&mask));
	ask_for_masks(GET("/work"), mask_bits(&mask));
	for (i = 0; i < sizeof urgent / sizeof urgent[0]; i++)
		ck_assert(!sigismember(&mask, urgent[i]));
	for (i = 0; i < sizeof others / sizeof others[0]; i++)
		ck_assert(!sigismember(&mask, others[i]));
	end_server();
}

static void exit_caught(int n)
{
	(void)n;
	_exit(42);
}

static volatile int *volatile nowhere = (volatile int *)8;

static void write_nowhere(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)response;
	(void)cl;
	*nowhere = 1;
}

static void crash_in_child(int blocks)
{
	HTTPServer_Route route = { .method = "GET", .pattern = "/", .handler = write_nowhere,
		.blocks = blocks };
	int fd, i;

	signal(SIGSEGV, exit_caught);
	make_server((HTTPServer_Options){ .threads = blocks ? 1 : 4 });
	HTTPServer_route_with(server, &route);
	launch_server();
	for (i = 0; i < 20; i++) {
		fd = dial_server();
		send_text(fd, GET("/"));
		sleep_ms(200);
	}
	_exit(0);
}

TEST(a_crash_in_a_worker_or_loop_is_the_programs_to_handle, .to = 2)
{
	int result, round;

	if (RUNNING_ON_VALGRIND) /* Valgrind reports the crash and exits with its own status */
		return;
	for (round = 0; round < (_i ? 1 : 4); round++) {
		pid_t child = fork();

		if (child == 0)
			crash_in_child(_i);
		ck_assert_int_eq(waitpid(child, &result, 0), child);
		ck_assert_msg(WIFEXITED(result) && WEXITSTATUS(result) == 42,
			"the child ended with status %x", result);
	}
}

/* ---- one run ---- */

CASE("ends", .timeout = 120);

static atomic_int checked;

static void *run_too(void *barrier)
{
	pthread_barrier_wait(barrier);
	TRY {
		HTTPServer_run(server);
	} EXCEPT(Assert_Failed) {
		checked++;
		HTTPServer_stop(server);
	} END_TRY;
	return NULL;
}

TEST(of_two_runs_at_once_one_is_checked)
{
	pthread_barrier_t barrier;
	pthread_t threads[2];
	int round, i;

	pthread_barrier_init(&barrier, NULL, 2);
	for (round = 0; round < 200; round++) {
		make_server((HTTPServer_Options){ 0 });
		checked = 0;
		for (i = 0; i < 2; i++)
			pthread_create(&threads[i], NULL, run_too, &barrier);
		for (i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		ck_assert_int_eq(checked, 1);
		Arena_dispose(&arena);
	}
	pthread_barrier_destroy(&barrier);
}

/* ---- threads that a handler ends ---- */

static pthread_t loop_of_run;

static void *run_noting(void *unused)
{
	loop_of_run = pthread_self();
	return run_server(unused);
}

/* Ends the thread of run; with cl, that of any other loop. */
static void exit_thread(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	answer_hello(request, response, NULL);
	if (!pthread_equal(pthread_self(), loop_of_run) == (cl != NULL))
		pthread_exit(NULL);
}

static int listeners_are_closed(void)
{
	int fd = try_to_dial();

	close(fd);
	return fd < 0;
}

TEST(a_handler_that_ends_the_thread_of_run_ends_the_server)
{
	int i;

	make_server((HTTPServer_Options){ .threads = 2, .drain_ms = 1000 });
	HTTPServer_route(server, "GET", "/", exit_thread, NULL);
	ck_assert_int_eq(pthread_create(&server_thread, NULL, run_noting, NULL), 0);
	for (i = 0; i < 500 && !listeners_are_closed(); i++) {
		int fd = dial_server();

		send(fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		read_to_end(fd);
		close(fd);
	}
	ck_assert_int_eq(pthread_join(server_thread, NULL), 0);
	ck_assert(listeners_are_closed());
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

TEST(a_handler_that_ends_another_loop_ends_its_connection_alone)
{
	int i, answered = 0;

	make_server((HTTPServer_Options){ .threads = 4, .drain_ms = 1000 });
	HTTPServer_route(server, "GET", "/", exit_thread, "others");
	HTTPServer_route(server, "GET", "/stay", answer_hello, NULL);
	ck_assert_int_eq(pthread_create(&server_thread, NULL, run_noting, NULL), 0);
	for (i = 0; i < 100; i++) {
		int fd = dial_server();

		send(fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		read_to_end(fd);
		answered += nheard > 0;
		close(fd);
		ck_assert_int_eq(ask_server(GET("/stay")), 200);
	}
	ck_assert_msg(answered > 0 && answered < 100, "%d of 100", answered);
	end_server();
}
