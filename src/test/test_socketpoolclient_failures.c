/* SPDX-License-Identifier: MIT */
/* The client side of SocketPool: failures, and real servers where they are installed. */
#include "config.h"

#include "test_socketpoolclient.h"

/* ---- failures ---- */

SUITE("SocketPool's client side");
CASE("client", .setup = set_up, .teardown = tear_down);

/* Returns a port below those that the kernel gives to connections, so that no other takes it
 * before the server. */
static const char *free_port(void)
{
	volatile int port = 20000 + (int)(getpid() * 31 % 10000);
	Socket_T volatile s = NULL;
	Socket_T found;

	for (; !s && port < 32000; port++)
		TRY {
			s = Socket_listen("127.0.0.1", Arena_sprintf(arena, "%d", port), 0);
		} EXCEPT(Socket_Failed) {
		} END_TRY;
	ck_assert_ptr_nonnull(s);
	found = s;
	Socket_close(&found);
	return Arena_sprintf(arena, "%d", port - 1);
}

TEST(a_host_that_refused_is_held_down_for_a_while_longer_each_time)
{
	SocketPool_Limits limits = { 0 };
	const char *port = free_port();
	Server server;
	volatile int error = 0;

	limits.hold_ms = 1000;
	SocketPool_set_limits(pool, &limits);
	ck_raises(Socket_Refused, SocketPool_checkout(pool, "127.0.0.1", port, 5000));
	TRY {
		SocketPool_checkout(pool, "127.0.0.1", port, 5000);
	} EXCEPT(SocketPool_Failed) {
		error = Except_errno();
		ck_assert_msg(strstr(Except_message(), "held down for") != NULL, "%s", Except_message());
	} END_TRY;
	ck_assert_int_eq(error, ECONNREFUSED);
	wait_ms(1020);
	ck_raises(Socket_Refused, SocketPool_checkout(pool, "127.0.0.1", port, 5000));
	wait_ms(1020);
	ck_raises_saying(SocketPool_Failed, "held down",
		SocketPool_checkout(pool, "127.0.0.1", port, 5000));
	ck_assert_uint_eq(pool_stats().failed, 2);
	start_at(&server, ECHO, port);
	wait_ms(1020);
	ck_echo(check_out(&server));
	ck_assert_uint_eq(SocketPool_count(pool), 1);
	stop_server(&server);
}

TEST(an_idle_connection_makes_way_when_another_hosts_hold_down_ends)
{
	SocketPool_T p = SocketPool_new(arena, 2, 64);
	SocketPool_Limits limits = { 0 };
	Server other, held;
	Connection_T out, again;

	limits.hold_ms = 300;
	SocketPool_set_limits(p, &limits);
	start_server(&other, ECHO);
	start_server(&held, ECHO);
	out = SocketPool_checkout(p, "127.0.0.1", held.port, 5000);
	stop_server(&held);
	ck_raises(Socket_Refused, SocketPool_checkout(p, "127.0.0.1", held.port, 5000));
	SocketPool_checkin(p, SocketPool_checkout(p, "127.0.0.1", other.port, 5000));
	start_at(&held, ECHO, held.port);
	again = SocketPool_checkout(p, "127.0.0.1", held.port, 20000);
	ck_echo(again);
	SocketPool_discard(p, out);
	SocketPool_discard(p, again);
	ck_assert_uint_eq(SocketPool_count(p), 0);
	stop_server(&held);
	stop_server(&other);
}

/* The waiter waits for the connection that is checked out. When that is gone, the hold-down is
 * the reason. */
TEST(a_checkout_whose_last_hope_has_left_says_that_its_host_is_held_down)
{
	SocketPool_Limits limits = { .hold_ms = 4000 };
	struct Waiting waiting;
	Server server;
	Connection_T out;

	SocketPool_set_limits(pool, &limits);
	start_server(&server, ECHO);
	out = check_out(&server);
	stop_server(&server);
	ck_raises(Socket_Refused, check_out(&server));
	start_waiting(&waiting, 1, &server, 1000);
	SocketPool_discard(pool, out);
	pthread_join(waiting.thread, NULL);
	ck_assert_int_eq(waiting.error, ECONNREFUSED);
	ck_assert_uint_eq(pool_stats().waiting, 0);
}

static int try_checkout(SocketPool_T p, const Server *server)
{
	volatile int works = 0;

	TRY {
		SocketPool_discard(p, SocketPool_checkout(p, "127.0.0.1", server->port, 5000));
		works = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	return works;
}

TEST(without_memory_checkout_changes_nothing)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	SocketPool_T p = SocketPool_new(a, 4, 64);
	SocketPool_Stats s;
	Server server;
	int failures = 0;

	start_server(&server, ECHO);
	for (f.fail_at = 0; Arena_try_alloc(a, 1); )
		;
	for (; !try_checkout(p, &server); f.fail_at = ++failures) {
		SocketPool_stats(p, &s);
		ck_assert_uint_eq(s.count + s.checked_out + s.failed, 0);
		while (f.fail_at > 0 && Arena_try_alloc(a, 1))
			;
	}
	ck_assert_int_gt(failures, 0);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
	stop_server(&server);
}

TEST(hosts_that_are_not_used_any_more_cost_no_memory)
{
	SocketPool_Limits limits = { 0 };
	Server server;
	size_t used = 0;
	int i;

	limits.uses = 1;
	SocketPool_set_limits(pool, &limits);
	start_server(&server, ECHO);
	for (i = 0; i < 400; i++) { /* as many names of 127.0.0.1 */
		const char *host = Arena_sprintf(arena, "0x%0*x", 8 + i % 20, 0x7f000001);
		const char *service = Arena_sprintf(arena, "%0*d", 5 + i / 20 % 4, atoi(server.port));

		if (i / 80 % 2)
			host = Arena_sprintf(arena, "127.0.0.%0*d", 1 + i % 20, 1);
		SocketPool_checkin(pool, SocketPool_checkout(pool, host, service, 5000));
		if (i == 199)
			used = Arena_used(arena);
	}
	/* of the names, and of no hosts */
	ck_assert_uint_le(Arena_used(arena), used + 200 * (64 + 48));
	stop_server(&server);
}

TEST(a_leak_is_reported_with_the_line_that_checked_it_out)
{
	char *text = NULL, *expected;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	Server server;
	int line;

	start_server(&server, ECHO);
	SocketPool_checkin(pool, check_out(&server));
	line = __LINE__ + 1;
	SocketPool_checkout(pool, "127.0.0.1", server.port, 5000);
	SocketPool_report(pool, out);
	fclose(out);
	expected = Arena_sprintf(arena, "127.0.0.1:%s checked out for ", server.port);
	ck_assert_int_eq(strncmp(text, expected, strlen(expected)), 0);
	expected = Arena_sprintf(arena, "%s:%d\n", __FILE__, line);
	ck_assert_ptr_nonnull(strstr(text, expected));
	ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
	free(text);
	stop_server(&server);
}

TEST(a_drain_shuts_down_connections_in_use_and_refuses_waiters)
{
	SocketPool_Limits limits = { 0 };
	Server server;
	Connection_T c;
	struct Waiting w;
	char byte;

	start_server(&server, ECHO);
	limits.per_host = 2;
	SocketPool_set_limits(pool, &limits);
	c = check_out(&server);
	SocketPool_discard(pool, check_out(&server));
	limits.per_host = 1;
	SocketPool_set_limits(pool, &limits);
	norder = 0;
	start_waiting(&w, 0, &server, 20000);
	SocketPool_drain(pool, 20);
	pthread_join(w.thread, NULL);
	ck_assert_int_eq(norder, 0);
	ck_assert_int_eq(Connection_active(c), 1);
	ck_assert_uint_eq(Socket_recv(Connection_socket(c), &byte, 1), 0);
	SocketPool_checkin(pool, c);
	ck_assert_uint_eq(SocketPool_count(pool), 0);
	ck_raises_saying(SocketPool_Failed, "is drained",
		SocketPool_checkout(pool, "127.0.0.1", server.port, 1));
	stop_server(&server);
}

/* ---- real servers ---- */

static int is_there(const char *program)
{
	return access(program, X_OK) == 0;
}

static pid_t run_program(char *const argv[])
{
	pid_t child = fork();
	int null;

	if (child == 0) {
		null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		execv(argv[0], argv);
		_exit(127);
	}
	return child;
}

static void end_program(pid_t child)
{
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
}

/* Makes the first connection to a server that is starting. */
static Connection_T first_checkout(const char *port)
{
	Connection_T volatile c = NULL;
	volatile int i;

	for (i = 0; !c && i < 400; i++)
		TRY {
			c = SocketPool_checkout(pool, "127.0.0.1", port, 5000);
		} ELSE {
			wait_ms(50);
		} END_TRY;
	ck_assert_ptr_nonnull(c);
	return c;
}

static void ck_exchange(Connection_T c, const char *request, const char *end_of_reply)
{
	char reply[4096];
	size_t n = 0, got;

	Socket_set_timeout(Connection_socket(c), 5000);
	Socket_sendall(Connection_socket(c), request, strlen(request));
	do {
		got = Socket_recv(Connection_socket(c), reply + n, sizeof reply - 1 - n);
		ck_assert_uint_gt(got, 0);
		n += got;
		reply[n] = '\0';
	} while (!strstr(reply, end_of_reply));
}

TEST(idle_connections_that_nginx_has_closed_are_not_used)
{
	static char program[] = "/usr/sbin/nginx";
	char directory[] = "/tmp/test_upstream.XXXXXX", path[64], option[64];
	char *argv[] = { program, (char[]){"-p"}, directory, (char[]){"-c"}, option, NULL };
	const char *port = free_port();
	int i;
	FILE *f;
	pid_t nginx;

	if (!is_there(program))
		return;
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/conf", directory);
	snprintf(option, sizeof option, "%s", path);
	f = fopen(path, "w");
	fprintf(f, "daemon off; master_process off; pid %s/pid; error_log stderr;\n"
		"events {}\nhttp { access_log off;\n"
		"client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s; "
		"uwsgi_temp_path %s; scgi_temp_path %s;\n"
		"server { listen 127.0.0.1:%s; keepalive_timeout 1s; location / { return 200 done; } } }\n",
		directory, directory, directory, directory, directory, directory, port);
	fclose(f);
	nginx = run_program(argv);
	SocketPool_checkin(pool, first_checkout(port));
	for (i = 0; i < 5; i++) {
		Connection_T c = SocketPool_checkout(pool, "127.0.0.1", port, 5000);

		ck_exchange(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\ndone");
		SocketPool_checkin(pool, c);
		if (i == 2)
			wait_ms(1300);
	}
	ck_assert_uint_eq(pool_stats().stale, 1);
	ck_assert_uint_eq(pool_stats().opened, 2);
	end_program(nginx);
	snprintf(path, sizeof path, "rm -r %s", directory);
	ck_assert_int_eq(system(path), 0);
}

TEST(redis_is_spoken_to_over_connections_that_are_checked_out)
{
	static char program[] = "/usr/bin/redis-server";
	const char *port = free_port();
	char *argv[] = { program, (char[]){"--port"}, (char *)(uintptr_t)port, (char[]){"--save"},
		(char[]){""},
		(char[]){"--dir"}, (char[]){"/tmp"}, NULL };
	char request[64], expected[32];
	pid_t redis;
	int i;

	if (!is_there(program))
		return;
	redis = run_program(argv);
	SocketPool_checkin(pool, first_checkout(port));
	for (i = 1; i <= 200; i++) {
		Connection_T c = SocketPool_checkout(pool, "127.0.0.1", port, 5000);

		snprintf(request, sizeof request, "INCR counter\r\n");
		snprintf(expected, sizeof expected, ":%d\r\n", i);
		ck_exchange(c, request, expected);
		SocketPool_checkin(pool, c);
	}
	ck_assert_uint_eq(pool_stats().opened, 1);
	end_program(redis);
}
