/* SPDX-License-Identifier: MIT */
/* HTTPServer: output, and the end of a server. */
#include "config.h"

#include "test_httpserver.h"

/* ---- output ---- */

SUITE("httpserver");
CASE("output");

static void check_big(void)
{
	const char *bytes = response_body();
	char line[101];
	int i;

	ck_assert_uint_eq(strlen(bytes), BIG);
	for (i = 0; i < BIG / 100; i++) {
		snprintf(line, sizeof line, "%099d\n", i);
		ck_assert(memcmp(bytes + i * 100, line, 100) == 0);
	}
}

TEST(a_slow_reader_gets_every_byte_and_delays_no_other)
{
	enum { TIMES = 3 };
	int fd, i;

	start_server();
	fd = dial_narrow();
	for (i = 0; i < TIMES; i++)
		send_text(fd, GET("/big") GET("/"));
	for (i = 0; i < 20; i++)
		ck_assert_int_eq(ask_server(GET("/")), 200);
	for (i = 0; i < TIMES; i++) {
		ck_assert_int_eq(read_response(fd), 200);
		check_big();
		ck_assert_int_eq(read_response(fd), 200);
		ck_assert_str_eq(response_body(), "hello");
	}
	close(fd);
	end_server();
}

TEST(nothing_is_read_of_a_client_that_does_not_read)
{
	static char pipeline[1 << 16];
	size_t n = 0, taken = 0;
	int fd, idle = 0;

	start_server();
	fd = dial_narrow();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (n < sizeof pipeline - 100)
		n += (size_t)sprintf(pipeline + n, "%s", GET("/big"));
	while (idle < 20) { /* until the sockets' buffers are full */
		ssize_t sent = send(fd, pipeline + taken % n, n - taken % n, MSG_NOSIGNAL);

		if (sent > 0)
			taken += (size_t)sent;
		idle = sent > 0 ? 0 : idle + 1;
		ck_assert_uint_lt(taken, 64u << 20);
		sleep_ms(5);
	}
	ck_assert_uint_lt(stats_now().received, 1 << 20);
	close(fd);
	await(stats_now().connections == 0);
	end_server();
}

TEST(a_client_that_does_not_take_its_response_in_time_is_closed)
{
	int fd, i;

	start_with((HTTPServer_Options){ .send_ms = 100 });
	fd = dial_narrow();
	for (i = 0; i < 20; i++)
		send_text(fd, GET("/big"));
	await(stats_now().timed_out == 1);
	await(stats_now().connections == 0);
	close(fd);
	end_server();
}

static atomic_int entered[32];

static void answer_padding(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	HTTPResponse_write(response, Arena_calloc(HTTPRequest_arena(request), 1, 15000), 15000);
	(void)cl;
}

static void enter_and_block(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	atomic_store(&entered[atoi(HTTPRequest_param(request, "id"))], 1);
	block_and_answer(request, response, cl);
}

static int dial_unix(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* The clients ask for 0, 1, 2, ... large responses before one that a worker makes. So some of
 * their sockets are full just when the worker begins. They are Unix sockets, whose buffers do
 * not grow. */
TEST(a_workers_time_is_not_counted_against_a_client_with_earlier_responses_unsent)
{
	enum { CLIENTS = sizeof entered / sizeof entered[0], SEND_MS = 1500 };
	char path[64], host[80], request[64];
	int fd[CLIENTS], i, n;

	sprintf(path, "/tmp/core-httpserver-%ld", (long)getpid());
	sprintf(host, "unix:%s", path);
	atomic_store(&unblocked, 0);
	make_server((HTTPServer_Options){ .host = host, .send_ms = SEND_MS, .workers = CLIENTS });
	HTTPServer_route(server, "GET", "/pad", answer_padding, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ "GET", "/slow/:id", enter_and_block, "slow",
		1, NULL });
	launch_server();
	for (i = 0; i < CLIENTS; i++) {
		fd[i] = dial_unix(path);
		for (n = 0; n < i; n++)
			send_text(fd[i], GET("/pad"));
		sprintf(request, "GET /slow/%d HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", i);
		send_text(fd[i], request);
	}
	sleep_ms(SEND_MS + 200);
	atomic_store(&unblocked, 1);
	sleep_ms(200);
	for (i = 0; i < CLIENTS; i++) {
		if (atomic_load(&entered[i])) {
			read_to_end(fd[i]);
			sprintf(request, "slow id=%d", i);
			ck_assert_msg(nheard > strlen(request)
				&& strcmp(heard + nheard - strlen(request), request) == 0,
				"after %d large responses the last one is missing: %zu bytes", i, nheard);
		}
		close(fd[i]);
	}
	end_server();
}

TEST(a_client_may_leave_at_any_point)
{
	size_t n;
	int fd;

	start_server();
	for (n = 1; n < sizeof three - 1; n += 3) {
		struct linger reset = { 1, 0 };

		fd = dial_server();
		send_bytes(fd, three, n);
		if (n % 2)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close(fd);
		fd = dial_narrow();
		send_text(fd, GET("/big"));
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close(fd);
	}
	ck_assert_int_eq(ask_server(GET("/")), 200);
	await(stats_now().connections == 0);
	end_server();
}

TEST(no_client_ever_sees_the_bytes_of_another)
{
	enum { CLIENTS = 40 };
	int fd[CLIENTS], round, i;
	char text[200];

	start_with((HTTPServer_Options){ .pipeline_bytes = 256 });
	for (i = 0; i < CLIENTS; i++)
		fd[i] = dial_server();
	for (round = 0; round < 5; round++) {
		for (i = 0; i < CLIENTS; i++) { /* a whole request, and half of the next */
			sprintf(text, "POST /echo HTTP/1.1\r\n" HOST
				"Content-Length: 11\r\n\r\nclient %04dPOST /ec", i);
			send_text(fd[i], text);
		}
		for (i = CLIENTS; i-- > 0; ) {
			send_text(fd[i], "ho HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\nmo");
			ck_assert_int_eq(read_response(fd[i]), 200);
			sprintf(text, "client %04d", i);
			ck_assert_str_eq(response_body(), text);
		}
		for (i = 0; i < CLIENTS; i++) {
			sprintf(text, "%04d", i);
			send_text(fd[i], text);
			ck_assert_int_eq(read_response(fd[i]), 200);
			sprintf(text, "mo%04d", i);
			ck_assert_str_eq(response_body(), text);
			if (i % 3 == round % 3) { /* a new client takes its place */
				close(fd[i]);
				fd[i] = dial_server();
			}
		}
	}
	for (i = 0; i < CLIENTS; i++)
		close(fd[i]);
	end_server();
}

/* ---- the end ---- */

CASE("the end");

TEST(stop_closes_idle_connections_and_answers_requests_in_progress)
{
	int idle, half, working;

	start_blocking((HTTPServer_Options){ 0 });
	idle = dial_server();
	send_text(idle, GET("/"));
	ck_assert_int_eq(read_response(idle), 200);
	half = dial_server();
	send_text(half, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhe");
	working = dial_server();
	send_text(working, GET("/slow/1"));
	await(atomic_load(&inside) == 1 && stats_now().requests == 3);
	HTTPServer_stop(server);
	ck_assert(read_to_end(idle));
	ck_assert_uint_eq(nheard, 0);
	send_text(half, "llo");
	ck_assert(read_to_end(half));
	ck_assert(response_has("200 OK") && response_has("Connection: close\r\n")
		&& response_has("hello"));
	atomic_store(&unblocked, 1);
	ck_assert(read_to_end(working));
	ck_assert(response_has("200 OK") && response_has("Connection: close\r\n"));
	close(idle);
	close(half);
	close(working);
	join_server();
}

TEST(a_client_that_is_not_done_by_the_deadline_is_cut_off)
{
	int64_t start_ms;
	int fd;

	start_with((HTTPServer_Options){ .drain_ms = 100 });
	fd = dial_server();
	send_text(fd, "GET / HTTP/1.1\r\n");
	await(stats_now().received > 0);
	start_ms = clock_ms();
	end_server();
	ck_assert_int_ge(clock_ms() - start_ms, 90);
	ck_assert_int_lt(clock_ms() - start_ms, 5000);
	close(fd);
}

/* Returns -1 if this machine has no such address of its own. */
static int dial_from(const char *address)
{
	struct sockaddr_in from = { .sin_family = AF_INET },
		to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, address, &from.sin_addr);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0) {
		close(fd);
		return -1;
	}
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

TEST(a_client_in_the_backlog_behind_a_refused_one_is_answered)
{
	int fd[3], i;

	make_server((HTTPServer_Options){ .per_address = 1 });
	add_routes();
	fd[0] = dial_server();
	fd[1] = dial_server();
	fd[2] = dial_from("127.0.0.2");
	for (i = 0; i < 3; i++)
		if (fd[i] >= 0)
			send_text(fd[i], GET("/"));
	HTTPServer_stop(server);
	launch_server();
	for (i = 0; i < 3; i++)
		if (fd[i] >= 0) {
			read_to_end(fd[i]);
			ck_assert_int_eq(count_in_response("200 OK"), i != 1);
			close(fd[i]);
		}
	join_server();
}

enum { HUGE = 16 << 20 };

static void answer_huge(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	HTTPResponse_write(response, Arena_calloc(HTTPRequest_arena(request), 1, HUGE), HUGE);
}

static char huge_heard[HUGE + 2000];

/* Returns how many bytes come until an orderly end. */
static size_t hear_huge(int fd)
{
	size_t total = 0;
	ssize_t n;

	while ((n = read_within(fd, huge_heard + total, sizeof huge_heard - 1 - total, PATIENCE)) > 0)
		total += (size_t)n;
	ck_assert_msg(n == 0, "%zd after %zu bytes: %s", n, total, n < 0 ? strerror(errno) : "");
	return total;
}

/* Closing a connection with an unread next request would reset it, and take from the client what
 * it has not read. */
TEST(a_client_that_reads_during_the_drain_gets_all_of_its_response_and_the_next)
{
	size_t total;
	int fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/huge", answer_huge, NULL);
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
	launch_server();
	fd = dial_narrow();
	send_text(fd, GET("/huge"));
	await(stats_now().sent > 0);
	send_text(fd, GET("/"));
	HTTPServer_stop(server);
	total = hear_huge(fd);
	ck_assert_uint_gt(total, HUGE + 200);
	ck_assert_str_eq(huge_heard + total - 5, "hello");
	close(fd);
	join_server();
}

/* The server has ended its side, and the kernel still has the end of the response. It reads on for
 * as long as a busy machine may keep the client. */
TEST(a_request_that_comes_too_late_for_the_drain_resets_no_response)
{
	size_t total = 0;
	int fd;

	make_server((HTTPServer_Options){ .linger_ms = PATIENCE, .drain_ms = 2 * PATIENCE });
	HTTPServer_route(server, "GET", "/huge", answer_huge, NULL);
	launch_server();
	fd = dial_narrow();
	send_text(fd, GET("/huge"));
	await(stats_now().sent > 0);
	HTTPServer_stop(server);
	while (stats_now().sent < HUGE) {
		ssize_t n = read_within(fd, huge_heard, 65536, PATIENCE);

		ck_assert_int_ge(n, 0);
		total += (size_t)n;
		if (n == 0) /* it was all read before it was counted */
			break;
	}
	sleep_ms(20);
	send_text(fd, GET("/huge"));
	total += hear_huge(fd);
	ck_assert_uint_gt(total, HUGE);
	close(fd);
	join_server();
}

static int produce_when_unblocked(HTTPResponse_T response, void *cl)
{
	(void)cl;
	atomic_fetch_add(&inside, 1);
	while (!atomic_load(&unblocked))
		sleep_ms(1);
	HTTPResponse_printf(response, "late");
	return 0;
}

static void stream_late(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_stream(response, produce_when_unblocked, NULL);
}

static int refuses_clients(void)
{
	int fd = try_to_dial();

	if (fd >= 0)
		close(fd);
	return fd < 0;
}

/* The head of the stream has promised that. */
TEST(a_request_behind_a_stream_of_a_worker_is_answered_in_the_drain)
{
	int fd;

	atomic_store(&unblocked, 0);
	make_server((HTTPServer_Options){ .threads = 1 });
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/stream",
		.handler = stream_late, .blocks = 1 });
	launch_server();
	fd = dial_server();
	send_text(fd, GET("/stream"));
	await(atomic_load(&inside) == 1);
	send_text(fd, GET("/"));
	HTTPServer_stop(server);
	await(refuses_clients());
	atomic_store(&unblocked, 1);
	ck_assert(read_to_end(fd));
	ck_assert_int_eq(count_in_response("200 OK"), 2);
	ck_assert(response_has("late") && response_has("hello"));
	close(fd);
	join_server();
}

static void nap_handler(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	atomic_fetch_add(&inside, 1);
	sleep_ms(500);
	answer_hello(request, response, cl);
}

/* Some clients send an empty line after the request. */
TEST(bytes_after_the_last_request_do_not_cut_off_its_response)
{
	size_t total;
	int fd;

	make_server((HTTPServer_Options){ 0 });
	HTTPServer_route(server, "GET", "/huge", answer_huge, NULL);
	HTTPServer_route_with(server, &(HTTPServer_Route){ .pattern = "/slow", .handler = nap_handler,
		.blocks = 1 });
	launch_server();
	fd = dial_narrow();
	send_text(fd, "GET /huge HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	await(stats_now().sent > 0);
	send_text(fd, "\r\n");
	total = hear_huge(fd);
	ck_assert_uint_gt(total, HUGE);
	close(fd);
	fd = dial_server();
	send_text(fd, "GET /slow HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	await(atomic_load(&inside) == 1);
	send_text(fd, "\r\n");
	await(stats_now().status[2] == 2);
	sleep_ms(20);
	ck_assert(read_to_end(fd));
	ck_assert(response_has("hello"));
	close(fd);
	end_server();
}

TEST(after_the_deadline_run_waits_for_handlers_that_run_and_for_no_others)
{
	enum { CLIENTS = 8 };
	HTTPServer_Route route = { .pattern = "/", .handler = nap_handler, .blocks = 1 };
	int fd[CLIENTS], i;

	make_server((HTTPServer_Options){ .workers = 1, .drain_ms = 50 });
	HTTPServer_route_with(server, &route);
	launch_server();
	for (i = 0; i < CLIENTS; i++) {
		fd[i] = dial_server();
		send_text(fd[i], GET("/"));
	}
	await(stats_now().requests == CLIENTS && atomic_load(&inside) == 1);
	HTTPServer_stop(server);
	pthread_join(server_thread, NULL);
	/* 2, if the first one ended before the deadline */
	ck_assert_int_le(atomic_load(&inside), 2);
	for (i = 0; i < CLIENTS; i++) {
		read_to_end(fd[i]);
		ck_assert(i < atomic_load(&inside) ? response_has("200 OK") && response_has("hello")
			: nheard == 0);
		close(fd[i]);
	}
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

TEST(stop_before_run_makes_run_return)
{
	make_server((HTTPServer_Options){ .threads = 2 });
	HTTPServer_stop(server);
	HTTPServer_run(server);
	HTTPServer_stop(server); /* a second call has no effect */
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static void stop_on_signal(int signal)
{
	(void)signal;
	HTTPServer_stop(server);
}

static void *signal_soon(void *cl)
{
	ck_assert_int_eq(ask_server(GET("/")), 200);
	kill(getpid(), SIGTERM);
	return cl;
}

TEST(stop_in_a_signal_handler_makes_run_return)
{
	struct sigaction action = { .sa_handler = stop_on_signal };
	pthread_t thread;

	make_server((HTTPServer_Options){ .threads = 2 });
	add_routes();
	sigaction(SIGTERM, &action, NULL);
	pthread_create(&thread, NULL, signal_soon, NULL);
	HTTPServer_run(server);
	pthread_join(thread, NULL);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static atomic_int good, lost;

/* Makes requests until the server is gone. A connection may end between two responses, but never
 * within one. */
static void *press_server(void *cl)
{
	for (;;) {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
		int fd = socket(AF_INET, SOCK_STREAM, 0), i;

		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
			close(fd);
			return cl;
		}
		for (i = 0; i < 50; i++) {
			char text[1024];
			ssize_t n, got = 0;

			if (send(fd, GET("/"), strlen(GET("/")), MSG_NOSIGNAL) < 0)
				break;
			while ((n = recv(fd, text + got, sizeof text - 1 - (size_t)got, 0)) > 0) {
				got += n;
				text[got] = '\0';
				if (got > 5 && strcmp(text + got - 5, "hello") == 0)
					break;
			}
			if (n > 0)
				atomic_fetch_add(&good, 1);
			else if (got > 0)
				atomic_fetch_add(&lost, 1);
			if (n <= 0)
				break;
		}
		close(fd);
	}
}

TEST(a_drain_under_load_breaks_no_response_and_ends)
{
	enum { CLIENTS = 6 };
	pthread_t clients[CLIENTS];
	int i;

	start_with((HTTPServer_Options){ .threads = 2, .drain_ms = 5000 });
	for (i = 0; i < CLIENTS; i++)
		pthread_create(&clients[i], NULL, press_server, NULL);
	await(atomic_load(&good) > 200);
	HTTPServer_stop(server);
	for (i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	ck_assert_int_eq(atomic_load(&lost), 0);
	join_server();
}
