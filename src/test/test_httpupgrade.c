/* SPDX-License-Identifier: MIT */
/* HTTPResponse_upgrade: when the connection leaves the server, what it takes along, and who
 * closes it. */
#include "config.h"

#include <fcntl.h>

#include "httpclient.h"

EXCEPT_DEFINE(Odd, NULL, "odd");

#define UPGRADE(path) \
	"GET " path " HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: echo\r\n\r\n"

static atomic_int ntaken, ncleaned, stop_in_take;
static pthread_t take_thread, handler_thread;
static size_t pending, connections;
static int is_nonblocking, is_arena_alive;
static Socket_T kept;            /* it belongs to the program once take has it */
static enum { ECHOES, KEEPS, RAISES, EXITS } way;

typedef struct Upgrade {
	HTTPRequest_T request;
	const char *path;
} Upgrade;

static int clean_up_raises;

static void clean_up(void *cl)
{
	(void)cl;
	atomic_fetch_add(&ncleaned, 1);
	if (clean_up_raises)
		RAISE_MSG(Odd, "clean-up fails");
}

/* Sends everything back until the client ends. */
static void echo_all(Socket_T s)
{
	char bytes[100];
	size_t n;

	Socket_set_nonblocking(s, 0);
	while ((n = Socket_recv(s, bytes, sizeof bytes)) > 0)
		Socket_sendall(s, bytes, n);
	Socket_close(&s);
}

static void take_socket(Socket_T s, void *cl)
{
	const Upgrade *u = cl;
	HTTPServer_Stats stats;

	take_thread = pthread_self();
	pending = Socket_pending(s);
	is_nonblocking = (fcntl(Socket_fd(s), F_GETFL) & O_NONBLOCK) != 0;
	is_arena_alive = strcmp(HTTPRequest_path(u->request), u->path) == 0
		&& atomic_load(&ncleaned) == 0;
	HTTPServer_stats(server, &stats);
	connections = stats.connections;
	kept = s;
	if (atomic_load(&stop_in_take))
		HTTPServer_stop(server);
	atomic_fetch_add(&ntaken, 1);
	switch (way) {
	case ECHOES:
		echo_all(s);
		break;
	case KEEPS:
		break;
	case RAISES:
		RAISE_MSG(Odd, "take fails");
	case EXITS:
		pthread_exit(NULL);
	}
}

static void answer_upgrade(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Upgrade *u;

	(void)cl;
	handler_thread = pthread_self();
	NEW0(HTTPRequest_arena(request), u);
	u->request = request;
	u->path = Arena_strdup(HTTPRequest_arena(request), HTTPRequest_path(request));
	Arena_defer(HTTPRequest_arena(request), clean_up, NULL);
	HTTPResponse_set(response, "X-Accept", "yes");
	HTTPResponse_set(response, "Connection", "close");
	HTTPResponse_upgrade(response, "echo", take_socket, u);
	if (HTTPRequest_query_param(request, "raise"))
		RAISE_MSG(Odd, "after the upgrade");
	if (HTTPRequest_query_param(request, "reset")) {
		HTTPResponse_reset(response);
		HTTPResponse_printf(response, "no upgrade");
	}
	if (HTTPRequest_query_param(request, "large")) {
		char *text = Arena_calloc(HTTPRequest_arena(request), 1, 4000001);

		memset(text, 'x', 4000000);
		HTTPResponse_set(response, "X-Large", text);
	}
}

static atomic_int nlogged, last_status;

static void keep_entry(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	atomic_store(&last_status, e->status);
	atomic_fetch_add(&nlogged, 1);
}

static void answer_hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "hello");
}

static void start_with(HTTPServer_Options options)
{
	options.log = keep_entry;
	make_server(options);
	HTTPServer_route(server, "GET", "/", answer_upgrade, NULL);
	HTTPServer_route(server, "GET", "/hello", answer_hello, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){
		.method = "GET", .pattern = "/blocks", .handler = answer_upgrade, .blocks = 1 });
	launch_server();
}

static void start_server(void)
{
	start_with((HTTPServer_Options){ 0 });
}

static void ck_hear(int fd, const char *text)
{
	size_t n = strlen(text), got = 0;

	while (got < n) {
		ssize_t part = read_within(fd, heard + got, n - got, PATIENCE);

		ck_assert_msg(part > 0, "the connection ends after %zu bytes of \"%s\"", got, text);
		got += (size_t)part;
	}
	heard[n] = '\0';
	ck_assert_str_eq(heard, text);
}

SUITE("upgrades");

CASE("taken", .timeout = 60);

/* 0: in the loop, 1: in a worker */
TEST(the_socket_leaves_the_server_with_what_was_read_ahead, .to = 2)
{
	int fd;

	start_server();
	fd = dial_server();
	if (_i == 0)
		way = KEEPS;
	send_text(fd, _i ? UPGRADE("/blocks") "one " : UPGRADE("/") "one ");
	ck_assert_int_eq(read_one_response(fd, 0), 101);
	ck_assert(response_has("Connection: upgrade\r\n") && response_has("Upgrade: echo\r\n")
		&& response_has("X-Accept: yes\r\n"));
	ck_assert(!response_has("Content-Length") && !response_has("Transfer-Encoding")
		&& !response_has("close"));
	await(atomic_load(&ntaken) == 1);
	ck_assert_uint_eq(pending, 4);
	ck_assert(is_nonblocking && is_arena_alive);
	ck_assert_uint_eq(connections, 0);
	ck_assert(pthread_equal(take_thread, server_thread) == !_i);
	ck_assert_int_eq(ask_server(GET("/hello")), 200);
	if (_i == 0) { /* the program has it, and the server runs on */
		await(atomic_load(&ncleaned) == 1);
		send_text(fd, "two");
		shutdown(fd, SHUT_WR);
		echo_all(kept);
	} else {
		send_text(fd, "two");
		shutdown(fd, SHUT_WR);
	}
	ck_hear(fd, "one two");
	ck_assert_int_eq(read_within(fd, heard, 1, PATIENCE), 0);
	close(fd);
	await(atomic_load(&ncleaned) == 1);
	ck_assert_uint_eq(stats_now().status[1], 1);
	ck_assert_int_eq(atomic_load(&nlogged), 2);
	end_server();
}

TEST(responses_before_an_upgrade_go_out_first)
{
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, GET("/hello") GET("/hello") UPGRADE("/blocks") GET("/hello"));
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_int_eq(read_response(fd), 200);
	ck_assert_int_eq(read_one_response(fd, 0), 101);
	ck_hear(fd, GET("/hello"));
	close(fd);
	end_server();
}

TEST(more_than_the_pipeline_holds_is_read_from_the_socket)
{
	static char bytes[100001];
	int fd;

	start_with((HTTPServer_Options){ .pipeline_bytes = 1024 });
	memset(bytes, 'y', 100000);
	fd = dial_server();
	send_text(fd, UPGRADE("/blocks"));
	send_text(fd, bytes);
	shutdown(fd, SHUT_WR);
	ck_assert_int_eq(read_one_response(fd, 0), 101);
	ck_hear(fd, bytes);
	close(fd);
	end_server();
}

TEST(take_runs_once_all_of_a_101_is_out)
{
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, UPGRADE("/blocks?large=1"));
	sleep_ms(50);
	ck_assert_int_eq(atomic_load(&ntaken), 0);
	nheard = 0;
	while (nheard < 4 || memcmp(heard + nheard - 4, "\r\n\r\n", 4) != 0) {
		ssize_t n;

		if (nheard == HEARD) {
			memcpy(heard, heard + HEARD - 4, 4);
			nheard = 4;
		}
		n = read_within(fd, heard + nheard, HEARD - nheard, PATIENCE);
		ck_assert_int_gt((int)n, 0);
		nheard += (size_t)n;
	}
	send_text(fd, "x");
	ck_hear(fd, "x");
	ck_assert_int_eq(atomic_load(&ntaken), 1);
	close(fd);
	end_server();
}

TEST(a_place_is_free_once_its_connection_has_left)
{
	int fd[3], i;

	way = KEEPS;
	start_with((HTTPServer_Options){ .connections = 1 });
	for (i = 0; i < 3; i++) {
		fd[i] = dial_server();
		send_text(fd[i], UPGRADE("/"));
		ck_assert_int_eq(read_one_response(fd[i], 0), 101);
		await(atomic_load(&ntaken) == i + 1);
		Socket_close(&kept);
		close(fd[i]);
	}
	end_server();
}

CASE("ends", .timeout = 60);

TEST(an_exception_of_take_is_counted_and_the_socket_stays_with_take, .to = 2)
{
	int fd;

	way = RAISES;
	start_server();
	fd = dial_server();
	send_text(fd, _i ? UPGRADE("/blocks") : UPGRADE("/"));
	ck_assert_int_eq(read_one_response(fd, 0), 101);
	await(atomic_load(&ntaken) == 1 && stats_now().raised == 1);
	await(atomic_load(&ncleaned) == 1);
	Socket_sendall(kept, "still ours", 10);
	Socket_close(&kept);
	ck_hear(fd, "still ours");
	close(fd);
	ck_assert_int_eq(ask_server(GET("/hello")), 200);
	end_server();
}

TEST(so_is_one_of_a_deferred_call_after_take, .to = 2)
{
	int fd;

	way = ECHOES;
	clean_up_raises = 1;
	start_server();
	fd = dial_server();
	send_text(fd, _i ? UPGRADE("/blocks") : UPGRADE("/"));
	ck_assert_int_eq(read_one_response(fd, 0), 101);
	shutdown(fd, SHUT_WR);
	ck_assert(read_to_end(fd));
	await(stats_now().raised == 1);
	ck_assert_int_eq(atomic_load(&ncleaned), 1);
	close(fd);
	ck_assert_int_eq(ask_server(GET("/hello")), 200);
	end_server();
}

TEST(a_worker_that_take_ends_is_replaced)
{
	int fd;

	way = EXITS;
	start_with((HTTPServer_Options){ .workers = 1 });
	fd = dial_server();
	send_text(fd, UPGRADE("/blocks"));
	ck_assert_int_eq(read_one_response(fd, 0), 101);
	await(atomic_load(&ncleaned) == 1);
	Socket_close(&kept);
	close(fd);
	way = ECHOES;
	fd = dial_server();
	send_text(fd, UPGRADE("/blocks") "x");
	ck_assert_int_eq(read_one_response(fd, 0), 101);
	ck_hear(fd, "x");
	close(fd);
	end_server();
}

TEST(run_does_not_wait_for_a_connection_that_has_left, .to = 2)
{
	int fd;

	way = KEEPS;
	atomic_store(&stop_in_take, 1);
	start_server();
	fd = dial_server();
	send_text(fd, _i ? UPGRADE("/blocks") "a" : UPGRADE("/") "a");
	ck_assert_int_eq(read_one_response(fd, 0), 101);
	pthread_join(server_thread, NULL);
	ck_assert_int_eq(atomic_load(&ncleaned), 1);
	Arena_dispose(&arena);
	send_text(fd, "b");
	shutdown(fd, SHUT_WR);
	echo_all(kept);
	ck_hear(fd, "ab");
	close(fd);
}

TEST(take_is_not_called_for_a_client_that_leaves_before)
{
	struct linger reset = { 1, 0 };
	int fd;

	start_server();
	fd = dial_server();
	send_text(fd, UPGRADE("/blocks?large=1"));
	sleep_ms(50);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(fd);
	await(atomic_load(&ncleaned) == 1);
	ck_assert_int_eq(atomic_load(&ntaken), 0);
	end_server();
}

TEST(a_handler_that_raises_or_resets_after_it_upgrades_nothing)
{
	start_server();
	ck_assert_int_eq(ask_server(UPGRADE("/?raise=1")), 500);
	ck_assert(!response_has("Upgrade"));
	ck_assert_int_eq(ask_server(UPGRADE("/?reset=1")), 200);
	ck_assert_str_eq(response_body(), "no upgrade");
	ck_assert_int_eq(atomic_load(&ntaken), 0);
	end_server();
}

CASE("refused", .timeout = 60);

static const struct {
	const char *request;
	int status;
} requests[] = {
	{ "GET /blocks HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: ECHO\r\n\r\n", 101 },
	{ "GET /blocks HTTP/1.1\r\n" HOST
		"Connection: keep-alive, upgrade\r\nUpgrade: h2c, echo\r\n\r\n", 101 },
	{ "GET /blocks HTTP/1.1\r\n" HOST
		"Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: echo\r\n\r\n", 101 },
	{ "GET / HTTP/1.1\r\n" HOST "\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" HOST "Upgrade: echo\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: echo/2, echoes, ech\r\n\r\n",
		400 },
	{ "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n", 400 }
};
enum { REQUESTS = sizeof requests / sizeof requests[0] };

TEST(a_request_that_does_not_ask_for_the_protocol_is_refused, .to = REQUESTS)
{
	start_server();
	ck_assert_int_eq(ask_server(requests[_i].request), requests[_i].status);
	ck_assert_int_eq(atomic_load(&ntaken) > 0 || requests[_i].status == 101,
		requests[_i].status == 101);
	end_server();
}

static int end_stream(HTTPResponse_T response, void *cl)
{
	(void)response;
	(void)cl;
	return 0;
}

static void misuse_upgrade(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)request;
	(void)cl;
	ck_raises_saying(Assert_Failed, "the protocol is NULL",
		HTTPResponse_upgrade(response, NULL, take_socket, NULL));
	ck_raises_saying(Assert_Failed, "\"e cho\" is no protocol",
		HTTPResponse_upgrade(response, "e cho", take_socket, NULL));
	ck_raises_saying(Assert_Failed, "\"echo/\" is no protocol",
		HTTPResponse_upgrade(response, "echo/", take_socket, NULL));
	ck_raises_saying(Assert_Failed, "the function is NULL",
		HTTPResponse_upgrade(response, "echo", NULL, NULL));
	HTTPResponse_write(response, "x", 1);
	ck_raises_saying(Assert_Failed, "1 bytes were written",
		HTTPResponse_upgrade(response, "echo", take_socket, NULL));
	HTTPResponse_reset(response);
	HTTPResponse_stream(response, end_stream, NULL);
	ck_raises_saying(Assert_Failed, "is a stream",
		HTTPResponse_upgrade(response, "echo", take_socket, NULL));
	HTTPResponse_reset(response);
	HTTPResponse_file(response, fd, 0, 1);
	ck_raises_saying(Assert_Failed, "is a file",
		HTTPResponse_upgrade(response, "echo", take_socket, NULL));
	HTTPResponse_reset(response);
	HTTPResponse_upgrade(response, "echo", take_socket, NULL);
	ck_raises_saying(Assert_Failed, "or there is none", HTTPResponse_write(response, "x", 1));
	ck_raises_saying(Assert_Failed, "or there is none",
		HTTPResponse_stream(response, end_stream, NULL));
	ck_raises_saying(Assert_Failed, "or there is none", HTTPResponse_length(response, 1));
	ck_raises_saying(Assert_Failed, "is an upgrade",
		HTTPResponse_file(response, open("/proc/self/exe", O_RDONLY), 0, 1));
	HTTPResponse_reset(response);
	HTTPResponse_printf(response, "checked");
}

static void upgrade_error(HTTPRequest_T request, HTTPResponse_T response, int status,
	const char *message, void *cl)
{
	(void)request;
	(void)status;
	(void)message;
	(void)cl;
	HTTPResponse_upgrade(response, "echo", take_socket, NULL);
}

TEST(misuse_is_checked)
{
	Arena_T a = Arena_new();

	ck_raises_saying(Assert_Failed, "the response is NULL",
		HTTPResponse_upgrade(NULL, "echo", take_socket, NULL));
	ck_raises_saying(Assert_Failed, "not of a server's route",
		HTTPResponse_upgrade(HTTPResponse_new(a), "echo", take_socket, NULL));
	Arena_dispose(&a);
	make_server((HTTPServer_Options){ .on_error = upgrade_error });
	HTTPServer_route(server, "GET", "/", misuse_upgrade, NULL);
	launch_server();
	ck_assert_int_eq(ask_server(UPGRADE("/")), 200);
	ck_assert_str_eq(response_body(), "checked");
	ck_assert_int_eq(ask_server(UPGRADE("/none")), 404);
	ck_assert_uint_eq(stats_now().raised, 1);
	end_server();
}
