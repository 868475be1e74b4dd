/* SPDX-License-Identifier: MIT */
/* HTTPServer: descriptors, threads, memory, listeners. */
#include "config.h"

#include "descriptors.h"
#include "test_httpserver.h"

/* ---- descriptors, threads, memory ---- */

SUITE("httpserver");
CASE("descriptors, threads, memory");

enum { TAKEN = 200 };

/* Takes every descriptor that a lower limit leaves. Returns how many it took. */
static int take_descriptors(int *taken)
{
	struct rlimit low;
	int n = 0;

	getrlimit(RLIMIT_NOFILE, &low);
	low.rlim_cur = TAKEN;
	setrlimit(RLIMIT_NOFILE, &low);
	while (n < TAKEN && (taken[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	return n;
}

TEST(without_descriptors_the_server_runs_on_and_recovers)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct rlimit limit;
	int inside_fd, outside, taken[TAKEN], n;

	start_server();
	getrlimit(RLIMIT_NOFILE, &limit);
	inside_fd = dial_server();
	send_text(inside_fd, GET("/"));
	ck_assert_int_eq(read_response(inside_fd), 200);
	outside = socket(AF_INET, SOCK_STREAM, 0);
	n = take_descriptors(taken);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((unsigned short)port);
	ck_assert_int_eq(connect(outside, (struct sockaddr *)&to, sizeof to), 0);
	/* The end comes at once. The statistics are not checked: under Valgrind, accept closes the
	 * connection itself. */
	read_to_end(outside);
	ck_assert_uint_eq(nheard, 0);
	send_text(inside_fd, GET("/"));
	ck_assert_int_eq(read_response(inside_fd), 200);
	while (n > 0)
		close(taken[--n]);
	setrlimit(RLIMIT_NOFILE, &limit);
	close(outside);
	close(inside_fd);
	ck_assert_int_eq(ask_server(GET("/")), 200);
	end_server();
}

static void *ask_often(void *cl)
{
	int fd = dial_server(), i;
	char text[4096];

	for (i = 0; i < 200; i++) {
		char request[200];
		ssize_t got = 0, n;
		int length = sprintf(request, "POST /echo HTTP/1.1\r\n" HOST
			"Content-Length: 12\r\n\r\n%4d %6d\n", (int)(intptr_t)cl, i);

		send_bytes(fd, request, (size_t)length);
		while ((n = recv(fd, text + got, sizeof text - 1 - (size_t)got, 0)) > 0) {
			got += n;
			text[got] = '\0';
			if (got > 12 && text[got - 1] == '\n' && text[got - 13] == '\n')
				break;
		}
		ck_assert_msg(n > 0 && memcmp(text + got - 12, request + length - 12, 12) == 0, "%.*s",
			(int)got, text);
	}
	close(fd);
	return NULL;
}

/* Each loop of a Unix socket needs a descriptor of its own. */
TEST(without_descriptors_for_its_loops_a_server_is_not_made)
{
	char host[64];
	HTTPServer_Options options = { .host = host, .threads = 8 };
	int before = count_descriptors(), lowest = dup(0), more;
	struct rlimit limit, few;
	volatile int refused = 0;

	close(lowest);
	snprintf(host, sizeof host, "unix:@libcore-test-loops-%ld", (long)getpid());
	getrlimit(RLIMIT_NOFILE, &limit);
	few = limit;
	for (more = 1; more <= 8; more++) {
		arena = Arena_new();
		few.rlim_cur = (rlim_t)(lowest + more);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		TRY {
			HTTPServer_new(arena, &options);
		} EXCEPT(Socket_Failed) {
			refused += strstr(Except_message(), "no descriptor for another loop") != NULL;
		} END_TRY;
		setrlimit(RLIMIT_NOFILE, &limit);
		Arena_dispose(&arena);
		ck_assert_int_eq(count_descriptors(), before);
	}
	ck_assert_int_gt(refused, 0);
}

TEST(two_loops_serve_many_at_once)
{
	enum { CLIENTS = 12 };
	pthread_t clients[CLIENTS];
	HTTPServer_Stats s;
	int i;

	start_with((HTTPServer_Options){ .threads = 2 });
	for (i = 0; i < CLIENTS; i++)
		pthread_create(&clients[i], NULL, ask_often, (void *)(intptr_t)i);
	for (i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	s = stats_now();
	ck_assert_uint_eq(s.requests, CLIENTS * 200);
	ck_assert_uint_eq(s.status[2], CLIENTS * 200);
	ck_assert_uint_eq(s.accepted, CLIENTS);
	ck_assert_uint_gt(s.received, CLIENTS * 200 * 12);
	ck_assert_uint_gt(s.sent, CLIENTS * 200 * 12);
	end_server();
}

static struct {
	int n, status;
	size_t nbytes;
	char method[16], path[64], error[200], peer[64];
	int64_t microseconds;
} logged;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void take_log(const HTTPServer_Entry *e, void *cl)
{
	const char *method = HTTPRequest_method(e->request), *path = HTTPRequest_path(e->request);

	ck_assert_str_eq(cl, "cl");
	ck_assert(method || !HTTPRequest_header(e->request, "Host"));
	pthread_mutex_lock(&log_lock);
	logged.n++;
	logged.status = e->status;
	logged.nbytes = e->nbytes;
	logged.microseconds = e->microseconds;
	snprintf(logged.method, sizeof logged.method, "%s", method ? method : "-");
	snprintf(logged.path, sizeof logged.path, "%s", path ? path : "-");
	snprintf(logged.error, sizeof logged.error, "%s", e->error ? e->error : "-");
	snprintf(logged.peer, sizeof logged.peer, "%s", e->peer);
	pthread_mutex_unlock(&log_lock);
}

TEST(the_log_has_an_entry_for_each_response)
{
	start_with((HTTPServer_Options){ .log = take_log, .log_cl = "cl" });
	ck_assert_int_eq(ask_server(GET("/")), 200);
	ck_assert_int_eq(logged.n, 1);
	ck_assert_int_eq(logged.status, 200);
	ck_assert_uint_eq(logged.nbytes, 5);
	ck_assert_str_eq(logged.method, "GET");
	ck_assert_str_eq(logged.path, "/");
	ck_assert_str_eq(logged.error, "-");
	ck_assert(strncmp(logged.peer, "127.0.0.1:", 10) == 0);
	ck_assert(logged.microseconds >= 0 && logged.microseconds < 60000000);
	ck_assert_int_eq(ask_server(GET("/raise")), 500);
	ck_assert_str_eq(logged.error, "the secret of the house");
	ck_assert_int_eq(ask_server("GET / HTTP/1.1\r\nX: y\r\nHost : a\r\n\r\n"), 400);
	ck_assert_str_eq(logged.method, "GET");
	ck_assert_str_eq(logged.path, "/");
	ck_assert(strstr(logged.error, "white space before the colon") != NULL);
	ck_assert_int_eq(logged.n, 3);
	end_server();
}

static void log_all_parts(const HTTPServer_Entry *e, void *cl)
{
	HTTPRequest_T r = e->request;
	size_t n = 1, length = 1;

	if (HTTPRequest_method(r)) { /* only if the request line was right */
		ck_assert_str_eq(HTTPRequest_method(r), "GET");
		ck_assert_ptr_nonnull(strstr(HTTPRequest_target(r), "?a=b"));
		ck_assert_str_eq(HTTPRequest_query(r), "a=b");
		ck_assert_str_eq(HTTPRequest_version(r), "HTTP/1.1");
		ck_assert_str_eq(HTTPRequest_query_param(r, "a"), "b");
	} else {
		ck_assert(!HTTPRequest_target(r) && !HTTPRequest_path(r) && !HTTPRequest_query(r)
			&& !HTTPRequest_version(r));
		ck_assert(HTTPRequest_query_params(r, &n) && n == 0);
	}
	ck_assert(!HTTPRequest_header(r, "Host") && !HTTPRequest_form_param(r, "a")
		&& !HTTPRequest_param(r, "a"));
	ck_assert(HTTPRequest_body(r, &length) && length == 0);
	ck_assert_int_eq(e->status, 400);
	atomic_fetch_add((atomic_int *)cl, 1);
}

TEST(a_request_whose_head_was_refused_has_its_line_in_the_log_and_no_field)
{
	static const char *const heads[] = {
		GET("/%zz?a=b"), GET("/../?a=b"), GET("/a\\b?a=b"), "GET /?a=b HTTP/1.1\r\n\r\n",
			"GET /?a=b HTTP/1.1\r\nX : y\r\n\r\n",
		"GET http://:80/?a=b HTTP/1.1\r\n" HOST "\r\n",
			"GET http://b/..?a=b HTTP/1.1\r\n" HOST "\r\n"
	};
	atomic_int entries = 0;
	int i;

	start_with((HTTPServer_Options){ .log = log_all_parts, .log_cl = &entries });
	for (i = 0; i < (int)(sizeof heads / sizeof heads[0]); i++) {
		ck_assert_int_eq(ask_server(heads[i]), 400);
		await(atomic_load(&entries) == i + 1);
	}
	end_server();
}

TEST(the_blocking_pair_takes_the_same_handlers)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	arena = Arena_new();
	TRY {
		AUTO(Socket_T, s, Socket_close) = Socket_adopt(fd[0]);
		HTTPRequest_T request;
		HTTPResponse_T response;

		send_text(fd[1], "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
		request = HTTPRequest_parse(arena, s);
		response = HTTPResponse_new(arena);
		ck_assert_ptr_null(HTTPRequest_param(request, "id"));
		answer_body(request, response, NULL);
		HTTPResponse_send(s, response);
		ck_assert_int_eq(read_response(fd[1]), 200);
		ck_assert_str_eq(response_body(), "hello");
		send_text(fd[1], "GET /fields HTTP/1.1\r\n" HOST "X-One: 1\r\n\r\n");
		request = HTTPRequest_parse(arena, s);
		response = HTTPResponse_new(arena);
		answer_fields(request, response, NULL);
		HTTPResponse_send(s, response);
		ck_assert_int_eq(read_response(fd[1]), 200);
		ck_assert_str_eq(response_body(), "1 a 2");
	} FINALLY {
		Arena_dispose(&arena);
	} END_TRY;
	close(fd[1]);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

/* ---- listening ---- */

TEST(an_address_in_use_is_an_exception)
{
	char service[16];
	int threads;

	start_server();
	snprintf(service, sizeof service, "%d", port);
	for (threads = 1; threads <= 2; threads++) {
		HTTPServer_Options o = { .host = "127.0.0.1", .service = service, .threads = threads };

		ck_raises_saying(Socket_Failed, "in use", HTTPServer_new(arena, &o));
	}
	end_server();
}

TEST(a_shared_port_may_be_served_by_two_servers)
{
	HTTPServer_Options o = { .host = "127.0.0.1", .threads = 2, .shared = 1 };
	char service[16];
	Arena_T other;

	start_with(o);
	snprintf(service, sizeof service, "%d", port);
	o.service = service;
	other = Arena_new();
	ck_assert_int_eq(HTTPServer_port(HTTPServer_new(other, &o)), port);
	Arena_dispose(&other);
	ck_assert_int_eq(ask_server(GET("/")), 200);
	end_server();
}

TEST(a_unix_socket_serves_all_loops)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char host[sizeof to.sun_path + 8];
	int fd, i;

	sprintf(to.sun_path, "/tmp/core-httpserver-%ld", (long)getpid());
	sprintf(host, "unix:%s", to.sun_path);
	start_with((HTTPServer_Options){ .host = host, .threads = 2 });
	ck_assert_int_eq(port, 0);
	for (i = 0; i < 20; i++) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
		send_text(fd, GET("/"));
		ck_assert_int_eq(read_response(fd), 200);
		close(fd);
	}
	end_server();
	ck_assert_int_ne(access(to.sun_path, F_OK), 0);
}

/* Does not use Check, which writes to descriptor 3. */
static int is_served(void)
{
	char text[16] = "";
	int fd = try_to_dial();

	send(fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL);
	recv(fd, text, 12, MSG_WAITALL);
	close(fd);
	return strcmp(text, "HTTP/1.1 200") == 0;
}

/* Makes another server of the process with the options of the first. Its socket must be its own. */
static int is_alone(HTTPServer_Options options)
{
	Arena_T other = Arena_new();
	int alone = HTTPServer_port(HTTPServer_new(other, &options)) != port;

	Arena_dispose(&other);
	return alone && fcntl(3, F_GETFD) >= 0;
}

/* Runs in a child, which has its own descriptors. fds is the value of LISTEN_FDS. The child's
 * exit status is 0 if it serves there. */
static int serve_activated(const char *fds, const char *pid)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	HTTPServer_Options options = { .host = "127.0.0.1", .service = "0", .threads = 2,
		.activated = 1 };
	volatile int status = 2;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0 || dup2(fd, 3) != 3)
		return 3;
	getsockname(fd, (struct sockaddr *)&a, &n);
	setenv("LISTEN_FDS", fds, 1);
	setenv("LISTEN_PID", pid, 1);
	arena = Arena_new();
	TRY {
		server = HTTPServer_new(arena, &options);
		status = HTTPServer_port(server) != ntohs(a.sin_port);
	} EXCEPT(Socket_Failed) {
	} END_TRY;
	if (status == 0) {
		port = HTTPServer_port(server);
		add_routes();
		pthread_create(&server_thread, NULL, run_server, NULL);
		status = !is_alone(options) ? 5 : is_served() ? 0 : 4;
		HTTPServer_stop(server);
		pthread_join(server_thread, NULL);
	}
	Arena_dispose(&arena);
	return status;
}

static int status_activated(const char *fds, int for_me)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		char pid[32];

		snprintf(pid, sizeof pid, "%ld", (long)getpid() + !for_me);
		_exit(serve_activated(fds, pid));
	}
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(a_socket_of_the_service_manager_is_served_if_it_is_for_us)
{
	ck_assert_int_eq(status_activated("1", 1), 0);
	/* meant for another process: a socket of our own */
	ck_assert_int_eq(status_activated("1", 0), 1);
	ck_assert_int_eq(status_activated("2", 1), 2); /* it raises */
}

TEST(options_out_of_range_are_checked)
{
	static const char *const wrong[] = { "localhost", "1.2.3.4/33", "1.2.3.4/", "::1/129",
		"1.2.3/8", "1.2.3.4/x", "" };
	volatile size_t i;
	Arena_T a = Arena_new();

	ck_raises_saying(Assert_Failed, "threads is -1, not 0 to 1024",
		HTTPServer_new(a, &(HTTPServer_Options){ .threads = -1 }));
	ck_raises_saying(Assert_Failed, "workers is -1, not 0 to 4096",
		HTTPServer_new(a, &(HTTPServer_Options){ .workers = -1 }));
	ck_raises_saying(Assert_Failed, "body_rate is -5",
		HTTPServer_new(a, &(HTTPServer_Options){ .body_rate = -5 }));
	ck_raises_saying(Assert_Failed, "connections is ",
		HTTPServer_new(a, &(HTTPServer_Options){ .service = "0", .threads = 2,
		.connections = SIZE_MAX }));
	ck_raises_saying(Assert_Failed, "connections is 2147483648, not 0 to 2147483647",
		HTTPServer_new(a, &(HTTPServer_Options){ .service = "0",
		.connections = (size_t)2147483647 + 1 }));
	ck_raises_saying(Assert_Failed, "pipeline_bytes is 100, not 0 or 256 to",
		HTTPServer_new(a, &(HTTPServer_Options){ .pipeline_bytes = 100 }));
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		const char *const proxies[] = { wrong[i], NULL };

		ck_raises_saying(Assert_Failed, "is not an address or address/bits",
			HTTPServer_new(a, &(HTTPServer_Options){ .proxies = proxies }));
	}
	ck_raises_saying(Assert_Failed, "request is NULL", HTTPRequest_peer(NULL));
	ck_raises_saying(Assert_Failed, "arena is NULL", HTTPServer_new(NULL, NULL));
	ck_raises_saying(Assert_Failed, "HTTPServer_run: the server is NULL", HTTPServer_run(NULL));
	ck_raises_saying(Assert_Failed, "HTTPServer_stop: the server is NULL", HTTPServer_stop(NULL));
	ck_raises_saying(Assert_Failed, "HTTPServer_port: the server is NULL", HTTPServer_port(NULL));
	ck_raises_saying(Assert_Failed, "HTTPServer_stats: the server is NULL",
		HTTPServer_stats(NULL, NULL));
	ck_raises_saying(Assert_Failed, "request is NULL", HTTPRequest_param(NULL, "a"));
	Arena_dispose(&a);
}

static int make_without_memory(int fail_at)
{
	struct Failing f = { .fail_at = -1 };
	Arena_T a = failing_arena(&f);
	volatile int made = 0;

	f.fail_at = fail_at;
	TRY {
		HTTPServer_T s = HTTPServer_new(a,
			&(HTTPServer_Options){ .host = "127.0.0.1", .service = "0", .threads = 2 });

		HTTPServer_route(s, "GET", "/users/:id/*rest", answer_hello, NULL);
		HTTPServer_route(s, "POST", "/users", answer_hello, NULL);
		for (int i = 0; i < 64; i++)
			HTTPServer_route(s, "PUT", Arena_sprintf(a,
				"/%d/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/:id/*rest", i),
				answer_hello, NULL);
		made = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
	return made;
}

TEST(without_memory_a_server_is_not_made_and_nothing_leaks)
{
	int n = 0;

	while (!make_without_memory(n))
		n++;
	ck_assert_int_ge(n, 6);
}
