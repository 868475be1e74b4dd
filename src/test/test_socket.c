/* SPDX-License-Identifier: MIT */
/* Socket, in the order of its header. Everything runs on the loopback and in a directory of its own. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <core/Arena.h>
#include <core/Socket.h>
#include "testing.h"

NEEDS(.loopback = 1);

static Arena_T arena;
static char directory[64], path[128]; /* path is "unix:" and a name in the directory */

static void set_up(void)
{
	arena = Arena_new();
	snprintf(directory, sizeof directory, "/tmp/test_socket.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof path, "unix:%s/socket", directory);
}

static void tear_down(void)
{
	unlink(path + 5);
	rmdir(directory);
	Arena_dispose(&arena);
}

static const char *port_of(Socket_T s)
{
	return Arena_sprintf(arena, "%d", Socket_port(s));
}

static const char *loopback(const char *what, Socket_T s, const char *rest)
{
	return Arena_sprintf(arena, "%s127.0.0.1:%d%s", what, Socket_port(s), rest);
}

static Socket_T listen_tcp(void)
{
	return Socket_listen("127.0.0.1", "0", 0);
}

/* A connection over TCP: here and there are its ends. */
static void connect_pair(Socket_T *here, Socket_T *there)
{
	Socket_T listener = listen_tcp();

	*here = Socket_connect("127.0.0.1", port_of(listener), 5000);
	*there = Socket_accept(listener);
	ck_assert_ptr_nonnull(*there);
	Socket_close(&listener);
}

/* A port nobody listens on. */
static const char *free_port(void)
{
	Socket_T s = listen_tcp();
	const char *port = port_of(s);

	Socket_close(&s);
	return port;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void echo(Socket_T a, Socket_T b)
{
	char byte = 0;

	Socket_sendall(a, "x", 1);
	ck_assert_uint_eq(Socket_recv(b, &byte, 1), 1);
	ck_assert_int_eq(byte, 'x');
}

/* The errno, and whether the message has text in it, of what connect raises. */
static int connect_errno(const Except_T *e, const char *host, const char *service, int ms, const char *text)
{
	volatile int error = -1;

	TRY {
		Socket_T s = Socket_connect(host, service, ms);

		Socket_close(&s);
	} EXCEPT(*e) {
		error = Except_errno();
		ck_assert_msg(strstr(Except_message(), text) != NULL, "\"%s\" lacks \"%s\"", Except_message(), text);
	} END_TRY;
	return error;
}

static int listen_errno(const char *host, const char *service, const char *text)
{
	volatile int error = -1;

	TRY {
		Socket_T s = Socket_listen(host, service, 0);

		Socket_close(&s);
	} EXCEPT(Socket_Failed) {
		error = Except_errno();
		ck_assert_msg(strstr(Except_message(), text) != NULL, "\"%s\" lacks \"%s\"", Except_message(), text);
	} END_TRY;
	return error;
}

/* ---- exceptions ---- */

SUITE("Socket");
CASE("Socket", .setup = set_up, .teardown = tear_down);

TEST(every_exception_is_a_kind_of_Socket_Failed)
{
	ck_raises(Socket_Failed, RAISE(Socket_Closed));
	ck_raises(Socket_Failed, RAISE(Socket_Timeout));
	ck_raises(Socket_Failed, RAISE(Socket_Refused));
	ck_raises(Socket_Failed, RAISE(Socket_Unresolved));
}

/* ---- listen ---- */

TEST(service_0_is_a_free_port)
{
	Socket_T a = listen_tcp(), b = listen_tcp();

	ck_assert_int_gt(Socket_port(a), 0);
	ck_assert_int_ne(Socket_port(a), Socket_port(b));
	Socket_close(&a);
	Socket_close(&b);
}

static int has_ipv6(void)
{
	volatile int works = 0;

	TRY {
		Socket_T s = Socket_listen("::1", "0", 0);

		works = 1;
		Socket_close(&s);
	} EXCEPT(Socket_Failed) {
	} END_TRY;
	return works;
}

TEST(a_listener_for_all_addresses_takes_IPv4_and_IPv6)
{
	Socket_T s = Socket_listen(NULL, "0", 0), client = Socket_connect("127.0.0.1", port_of(s), 5000);
	Socket_T server = Socket_accept(s);

	ck_assert_int_eq(strncmp(Socket_peer(server, arena), "127.0.0.1:", 10), 0);
	ck_assert_str_eq(Socket_peer(client, arena), loopback("", s, ""));
	ck_assert_str_eq(Socket_local(server, arena), loopback("", s, ""));
	echo(client, server);
	Socket_close(&client);
	Socket_close(&server);
	if (has_ipv6()) {
		client = Socket_connect("::1", port_of(s), 5000);
		server = Socket_accept(s);
		ck_assert_str_eq(Socket_peer(client, arena), Arena_sprintf(arena, "[::1]:%d", Socket_port(s)));
		echo(server, client);
		Socket_close(&client);
		Socket_close(&server);
	}
	Socket_close(&s);
}

TEST(a_port_in_use_is_named)
{
	Socket_T s = listen_tcp();

	ck_assert_int_eq(listen_errno("127.0.0.1", port_of(s), loopback("listen ", s, ": Address already in use")),
		EADDRINUSE);
	Socket_close(&s);
	ck_assert_int_eq(listen_errno("::1::", "0", "listen [::1::]:0: "), 0);
}

TEST(a_port_can_be_listened_on_again_while_old_connections_wait)
{
	Socket_T s = listen_tcp(), client, server;
	const char *port = port_of(s);
	char byte;

	client = Socket_connect("127.0.0.1", port, 5000);
	server = Socket_accept(s);
	Socket_close(&server); /* first: this end goes to TIME_WAIT */
	ck_assert_uint_eq(Socket_recv(client, &byte, 1), 0);
	Socket_close(&client);
	Socket_close(&s);
	s = Socket_listen("127.0.0.1", port, 0);
	Socket_close(&s);
}

/* How many of n connections this listener, which does not block, gets when nobody else accepts. */
static int gets(Socket_T s, int n)
{
	int i, got = 0;

	for (i = 0; i < n; i++) {
		Socket_T client = Socket_connect("127.0.0.1", port_of(s), 5000), server = Socket_accept(s);

		got += server != NULL;
		Socket_close(&server);
		Socket_close(&client);
	}
	return got;
}

TEST(listeners_that_share_a_port_share_its_connections)
{
	Socket_T a = Socket_listen_shared("127.0.0.1", "0", 0), b;
	int n;

	Socket_set_nonblocking(a, 1);
	ck_assert_int_eq(gets(a, 50), 50);
	b = Socket_listen_shared("127.0.0.1", port_of(a), 0);
	ck_assert_int_eq(Socket_port(a), Socket_port(b));
	n = gets(a, 100); /* by a hash of the client's port: none or all has a chance of 2 to the -100 */
	ck_assert_int_gt(n, 0);
	ck_assert_int_lt(n, 100);
	ck_assert_int_eq(listen_errno("127.0.0.1", port_of(a), "Address already in use"), EADDRINUSE);
	Socket_close(&a);
	Socket_close(&b);
}

TEST(listen_shared_checks_that_there_is_a_port)
{
	ck_raises_saying(Assert_Failed, "no port to share", Socket_listen_shared(path, "0", 0));
	ck_raises_saying(Assert_Failed, "service", Socket_listen_shared("127.0.0.1", NULL, 0));
}

static void ck_bad_service(const char *service)
{
	const char *what = Arena_sprintf(arena, "127.0.0.1:%s: ", service);

	ck_raises_saying(Socket_Unresolved, Arena_sprintf(arena, "listen %s", what),
		Socket_listen("127.0.0.1", service, 0));
	ck_raises_saying(Socket_Unresolved, Arena_sprintf(arena, "connect %s", what),
		Socket_connect("127.0.0.1", service, 1000));
}

TEST(a_bad_service_is_named)
{
	static const char *const bad[] = { "99999", "65536", "", "-1", " 80", "+80", "80 ", "0x50",
		"18446744073709551617", "nope-nope" };
	size_t i;

	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_bad_service(bad[i]);
}

TEST(a_host_that_cannot_be_resolved_is_named)
{
	ck_raises_saying(Socket_Unresolved, "listen *:99999: ", Socket_listen(NULL, "99999", 0));
	ck_raises_saying(Socket_Unresolved, "connect [::1::]:80: ", Socket_connect("::1::", "80", 1000));
	ck_raises_saying(Assert_Failed, "service", Socket_listen("127.0.0.1", NULL, 0));
}

TEST(a_Unix_socket_has_a_path_that_goes_when_the_listener_is_closed)
{
	Socket_T s = Socket_listen(path, NULL, 0), client = Socket_connect(path, NULL, 5000);
	Socket_T server = Socket_accept(s);

	ck_assert_str_eq(Socket_local(s, arena), path);
	ck_assert_str_eq(Socket_peer(s, arena), "");
	ck_assert_str_eq(Socket_peer(client, arena), path);
	ck_assert_str_eq(Socket_local(server, arena), path);
	ck_assert_str_eq(Socket_peer(server, arena), "unix:(unnamed)");
	ck_assert_int_eq(Socket_port(s), 0);
	echo(client, server);
	Socket_set_timeout(server, 1);
	ck_raises_saying(Socket_Timeout, Arena_sprintf(arena, "recv %s: ", path), Socket_recv(server, arena, 1));
	Socket_close(&client);
	Socket_close(&server);
	ck_assert_int_eq(access(path + 5, F_OK), 0);
	Socket_close(&s);
	ck_assert_int_ne(access(path + 5, F_OK), 0);
}

TEST(a_relative_path_goes_even_if_the_process_is_in_another_directory_by_then)
{
	char before[4096];
	Socket_T s;

	ck_assert_ptr_nonnull(getcwd(before, sizeof before));
	ck_assert_int_eq(chdir(directory), 0);
	s = Socket_listen("unix:socket", NULL, 0);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(access(path + 5, F_OK), 0);
	Socket_close(&s);
	ck_assert_int_ne(access(path + 5, F_OK), 0);
	ck_assert_int_eq(chdir(before), 0);
}

static int mode_of(const char *file)
{
	struct stat s;

	ck_assert_int_eq(lstat(file, &s), 0);
	return (int)(s.st_mode & 07777);
}

TEST(listen_unix_has_the_mode_that_was_asked_for_whatever_the_umask)
{
	static const mode_t masks[] = { 0, 022, 077 };
	static const int modes[] = { 0600, 0660, 0666, 0777, 0 };
	mode_t before = umask(0);
	size_t i, k;

	for (i = 0; i < sizeof masks / sizeof masks[0]; i++)
		for (k = 0; k < sizeof modes / sizeof modes[0]; k++) {
			Socket_T s, client;

			umask(masks[i]);
			s = Socket_listen_unix(i % 2 ? path : path + 5, modes[k], 1); /* with "unix:" and without */
			ck_assert_int_eq(mode_of(path + 5), modes[k]);
			if (geteuid() == 0 || modes[k] >= 0600) {
				client = Socket_connect(path, NULL, 1000);
				Socket_close(&client);
			}
			ck_assert_str_eq(Socket_local(s, arena), path);
			Socket_close(&s);
			ck_assert_int_ne(access(path + 5, F_OK), 0);
		}
	umask(before);
}

TEST(listen_unix_names_what_is_wrong)
{
	Socket_T s = Socket_listen_unix(path, 0600, 1);

	ck_raises_saying(Socket_Failed, path, Socket_listen_unix(path, 0666, 1));
	ck_assert_int_eq(mode_of(path + 5), 0600);
	Socket_close(&s);
	ck_raises_saying(Socket_Failed, "unix:/nonexistent/x: No such", Socket_listen_unix("/nonexistent/x", 0600, 1));
	ck_raises_saying(Assert_Failed, "the path is NULL", Socket_listen_unix(NULL, 0600, 1));
	ck_raises_saying(Assert_Failed, "mode is 01777", Socket_listen_unix(path, 01777, 1));
	ck_raises_saying(Assert_Failed, "mode", Socket_listen_unix(path, -1, 1));
	ck_raises_saying(Assert_Failed, "no file", Socket_listen_unix("@name", 0600, 1));
	ck_raises_saying(Assert_Failed, "no file", Socket_listen_unix("unix:@name", 0600, 1));
}

TEST(the_path_of_a_process_that_died_is_taken_over)
{
	static volatile Socket_T left_open; /* for Valgrind, which looks for leaks in the child */
	pid_t child = fork();
	Socket_T s, client;

	if (child == 0) {
		left_open = Socket_listen(path, NULL, 0);
		_exit(left_open == NULL);
	}
	waitpid(child, NULL, 0);
	ck_assert_int_eq(access(path + 5, F_OK), 0);
	ck_assert_int_eq(connect_errno(&Socket_Refused, path, NULL, 1000, path), ECONNREFUSED);
	s = Socket_listen(path, NULL, 0);
	client = Socket_connect(path, NULL, 1000);
	Socket_close(&client);
	Socket_close(&s);
}

TEST(the_path_of_a_live_process_is_not_taken_even_when_its_backlog_is_full)
{
	Socket_T s = Socket_listen(path, NULL, 1), clients[64];
	volatile int n = 0, full = 0;

	while (!full && n < 64)
		TRY {
			clients[n] = Socket_connect(path, NULL, 20);
			n++;
		} EXCEPT(Socket_Timeout) {
			full = 1;
			ck_assert_int_eq(Except_errno(), ETIMEDOUT);
		} END_TRY;
	ck_assert_int_eq(full, 1);
	ck_assert_int_eq(listen_errno(path, NULL, "Address already in use"), EADDRINUSE);
	ck_assert_int_eq(access(path + 5, F_OK), 0);
	while (n > 0) {
		n--;
		Socket_close(&clients[n]);
	}
	Socket_close(&s);
}

TEST(a_file_that_is_no_socket_is_not_removed)
{
	FILE *f = fopen(path + 5, "w");

	ck_assert_ptr_nonnull(f);
	fclose(f);
	ck_assert_int_eq(listen_errno(path, NULL, path), EADDRINUSE);
	ck_assert_int_eq(access(path + 5, F_OK), 0);
}

TEST(a_child_that_closes_the_listener_leaves_the_path)
{
	Socket_T s = Socket_listen(path, NULL, 0), client;
	pid_t child = fork();

	if (child == 0) {
		Socket_close(&s);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	client = Socket_connect(path, NULL, 1000);
	Socket_close(&client);
	Socket_close(&s);
}

TEST(a_path_that_another_has_taken_meanwhile_is_left_to_it)
{
	Socket_T s = Socket_listen(path, NULL, 0), other;

	/* under another name at first, so that the file system cannot give both the same number */
	other = Socket_listen(Arena_sprintf(arena, "%s2", path), NULL, 0);
	ck_assert_int_eq(rename(Arena_sprintf(arena, "%s2", path + 5), path + 5), 0);
	Socket_close(&s);
	ck_assert_int_eq(access(path + 5, F_OK), 0);
	Socket_close(&other);
}

#if defined __linux__
TEST(an_abstract_name_has_no_file)
{
	const char *name = Arena_sprintf(arena, "unix:@test_socket.%d", (int)getpid());
	Socket_T s = Socket_listen(name, NULL, 0), client = Socket_connect(name, NULL, 5000);
	Socket_T server = Socket_accept(s);

	ck_assert_str_eq(Socket_peer(client, arena), name);
	ck_assert_str_eq(Socket_local(s, arena), name);
	echo(client, server);
	ck_assert_int_eq(listen_errno(name, NULL, name), EADDRINUSE);
	Socket_close(&client);
	Socket_close(&server);
	Socket_close(&s);
	ck_assert_int_eq(connect_errno(&Socket_Refused, name, NULL, 1000, name), ECONNREFUSED);
}
#endif

TEST(an_impossible_path_is_named)
{
	char name[300] = "unix:/tmp/";

	memset(name + 10, 'x', 200);
	ck_assert_int_eq(listen_errno(name, NULL, "listen unix:/tmp/xxxx"), ENAMETOOLONG);
	ck_assert_int_eq(connect_errno(&Socket_Failed, name, NULL, 1000, "connect unix:/tmp/xxxx"), ENAMETOOLONG);
	ck_assert_int_eq(listen_errno("unix:", NULL, "listen unix:: "), EINVAL);
	ck_assert_int_eq(listen_errno("unix:/no/such/directory/s", NULL, "/no/such/directory/s: No such file"), ENOENT);
}

/* ---- connect ---- */

TEST(a_refused_connection_names_host_and_service)
{
	const char *port = free_port();

	ck_assert_int_eq(connect_errno(&Socket_Refused, "127.0.0.1", port, -1,
		Arena_sprintf(arena, "connect 127.0.0.1:%s: Connection refused", port)), ECONNREFUSED);
	ck_assert_int_eq(connect_errno(&Socket_Refused, "localhost", port, 5000,
		Arena_sprintf(arena, "connect localhost:%s: Connection refused", port)), ECONNREFUSED);
	ck_assert_int_eq(connect_errno(&Socket_Refused, path, NULL, 1000,
		Arena_sprintf(arena, "connect %s: No such file", path)), ENOENT);
}

TEST(a_connection_that_is_not_answered_times_out)
{
	Socket_T s = Socket_listen("127.0.0.1", "0", 1), clients[64];
	volatile int n = 0, error = 0;
	volatile int64_t start = 0;

	while (error == 0 && n < 64) {
		start = now_ms();
		TRY {
			clients[n] = Socket_connect("127.0.0.1", port_of(s), 60);
			n++;
		} EXCEPT(Socket_Timeout) {
			error = Except_errno();
			ck_assert_str_eq(Except_message(), loopback("connect ", s, ": timed out after 60 ms"));
		} END_TRY;
	}
	ck_assert_int_eq(error, ETIMEDOUT);
	ck_assert_int_ge(now_ms() - start, 55);
	while (n > 0) {
		n--;
		Socket_close(&clients[n]);
	}
	Socket_close(&s);
}

TEST(every_address_of_a_host_is_tried)
{
	Socket_T s = listen_tcp(), client = Socket_connect("localhost", port_of(s), 5000);

	ck_assert_str_eq(Socket_peer(client, arena), loopback("", s, ""));
	Socket_close(&client);
	Socket_close(&s);
}

TEST(connect_checks_its_arguments)
{
	ck_raises_saying(Assert_Failed, "host", Socket_connect(NULL, "80", 1));
	ck_raises_saying(Assert_Failed, "service", Socket_connect("127.0.0.1", NULL, 1));
}

/* 1 when connected, 0 when it was refused. */
static int finish_within(Socket_T s, int ms)
{
	volatile int result = -1;
	int64_t end = now_ms() + ms;

	while (result < 0 && now_ms() < end)
		TRY {
			if (Socket_connect_finish(s))
				result = 1;
			else
				usleep(1000);
		} EXCEPT(Socket_Refused) {
			result = 0;
		} END_TRY;
	return result;
}

static void ck_starts(const char *address, const char *service, Socket_T listener)
{
	Socket_T s, there;
	char byte;

	errno = EDOM;
	s = Socket_connect_start(address, service);
	ck_assert_int_eq(finish_within(s, 5000), 1);
	ck_assert_int_eq(Socket_connect_finish(s), 1);
	ck_assert_int_ne(fcntl(Socket_fd(s), F_GETFL) & O_NONBLOCK, 0);
	ck_raises(Socket_Timeout, Socket_recv(s, &byte, 1));
	there = Socket_accept(listener);
	ck_assert_str_eq(Socket_peer(s, arena), Socket_local(there, arena));
	echo(s, there);
	Socket_close(&s);
	Socket_close(&there);
}

TEST(a_connection_that_was_started_is_finished_later)
{
	Socket_T listener = listen_tcp(), file = Socket_listen(path, NULL, 0);

	ck_starts("127.0.0.1", port_of(listener), listener);
	ck_starts(path, NULL, file);
	Socket_close(&listener);
	Socket_close(&file);
}

/* Whether the system says so at once, as Linux does, or later. */
static int is_refused(const char *address, const char *service)
{
	volatile int refused = 0;
	Socket_T s = NULL;

	PROTECT(s);
	TRY {
		s = Socket_connect_start(address, service);
		refused = finish_within(s, 5000) == 0;
	} EXCEPT(Socket_Refused) {
		refused = 1;
		ck_assert_ptr_nonnull(strstr(Except_message(), address));
	} END_TRY;
	Socket_close(&s);
	return refused;
}

TEST(a_connection_that_was_started_can_be_refused)
{
	ck_assert(is_refused("127.0.0.1", free_port()));
	ck_assert(is_refused(path, NULL));
}

TEST(a_connection_is_not_yet_finished_while_the_other_side_is_deaf)
{
	Socket_T listener = Socket_listen("127.0.0.1", "0", 1), s[16];
	int i, last = 0;

	for (i = 0; i < 16; i++) { /* the backlog of 1 is full after a few */
		s[i] = Socket_connect_start("127.0.0.1", port_of(listener));
		usleep(1000);
		last = Socket_connect_finish(s[i]);
	}
	ck_assert_int_eq(last, 0);
	Socket_close(&listener);
	for (i = 0; i < 16; i++)
		Socket_close(&s[i]);
}

TEST(connect_start_resolves_no_names)
{
	ck_raises_saying(Socket_Unresolved, "localhost:80", Socket_connect_start("localhost", "80"));
	ck_raises_saying(Socket_Unresolved, "127.0.0.1:http", Socket_connect_start("127.0.0.1", "http"));
	ck_raises_saying(Socket_Unresolved, "65536", Socket_connect_start("127.0.0.1", "65536"));
	ck_raises_saying(Assert_Failed, "address", Socket_connect_start(NULL, "80"));
	ck_raises_saying(Assert_Failed, "service", Socket_connect_start("127.0.0.1", NULL));
}

TEST(a_connected_socket_blocks_until_something_comes)
{
	Socket_T here, there;

	connect_pair(&here, &there);
	ck_assert_int_eq(fcntl(Socket_fd(here), F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(Socket_fd(there), F_GETFL) & O_NONBLOCK, 0);
	Socket_close(&here);
	Socket_close(&there);
}

static void ck_descriptor(Socket_T s, int tcp)
{
	int on = 0;
	socklen_t n = sizeof on;

	ck_assert_int_ne(fcntl(Socket_fd(s), F_GETFD) & FD_CLOEXEC, 0);
	if (tcp) {
		ck_assert_int_eq(getsockopt(Socket_fd(s), IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
		ck_assert_int_ne(on, 0);
	}
}

TEST(every_descriptor_is_CLOEXEC_and_TCP_does_not_delay)
{
	Socket_T here, there, s = listen_tcp(), u = Socket_listen(path, NULL, 0);
	int fd[2];

	connect_pair(&here, &there);
	ck_descriptor(here, 1);
	ck_descriptor(there, 1);
	ck_descriptor(s, 1);
	ck_descriptor(u, 0);
	Socket_close(&here);
	here = Socket_connect(path, NULL, 5000);
	ck_descriptor(here, 0);
	Socket_close(&there);
	there = Socket_accept(u);
	ck_descriptor(there, 0);
	Socket_close(&here);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	here = Socket_adopt(fd[0]);
	ck_descriptor(here, 0);
	close(fd[1]);
	Socket_close(&here);
	Socket_close(&there);
	Socket_close(&s);
	Socket_close(&u);
}

/* ---- accept ---- */

TEST(accept_does_not_wait_on_a_listener_that_does_not_block)
{
	Socket_T s = listen_tcp(), client, server;

	Socket_set_nonblocking(s, 1);
	ck_assert_ptr_null(Socket_accept(s));
	client = Socket_connect("127.0.0.1", port_of(s), 5000);
	while ((server = Socket_accept(s)) == NULL)
		;
	ck_assert_int_eq(fcntl(Socket_fd(server), F_GETFL) & O_NONBLOCK, 0);
	echo(server, client);
	Socket_close(&client);
	Socket_close(&server);
	Socket_close(&s);
}

TEST(accept_times_out_and_then_works_as_before)
{
	Socket_T s = listen_tcp(), client, server;
	int64_t start = now_ms();

	Socket_set_timeout(s, 30);
	ck_raises_saying(Socket_Timeout, loopback("accept ", s, ": timed out after 30 ms"), Socket_accept(s));
	ck_assert_int_ge(now_ms() - start, 28);
	client = Socket_connect("127.0.0.1", port_of(s), 5000);
	server = Socket_accept(s);
	echo(client, server);
	Socket_close(&client);
	Socket_close(&server);
	Socket_set_timeout(s, -1);
	client = Socket_connect("127.0.0.1", port_of(s), 5000);
	server = Socket_accept(s);
	echo(client, server);
	Socket_close(&client);
	Socket_close(&server);
	Socket_close(&s);
}

TEST(accept_without_descriptors_names_the_listener_and_works_when_there_are_some)
{
	Socket_T s = listen_tcp(), client = Socket_connect("127.0.0.1", port_of(s), 5000), other, server;
	struct rlimit limit, none;
	const char *message = loopback("accept ", s, ": Too many open files");
	volatile int error = 0;

	getrlimit(RLIMIT_NOFILE, &limit);
	none = limit;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	TRY {
		Socket_accept(s);
	} EXCEPT(Socket_Failed) {
		error = Except_errno();
		ck_assert_str_eq(Except_message(), message);
	} END_TRY;
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_int_eq(error, EMFILE);
	other = Socket_connect("127.0.0.1", port_of(s), 5000); /* Valgrind drops the first one */
	server = Socket_accept(s);
	ck_assert_ptr_nonnull(server);
	Socket_close(&client);
	Socket_close(&other);
	Socket_close(&server);
	Socket_close(&s);
}

TEST(a_peer_that_reset_before_it_was_accepted_does_no_harm)
{
	Socket_T s = listen_tcp(), client = Socket_connect("127.0.0.1", port_of(s), 5000), server;
	struct linger hard = { 1, 0 };
	char byte;

	setsockopt(Socket_fd(client), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	Socket_close(&client);
	Socket_set_timeout(s, 50);
	TRY {
		server = Socket_accept(s); /* NULL on some systems, a dead one on others */
		if (server) {
			TRY {
				Socket_recv(server, &byte, 1);
			} EXCEPT(Socket_Closed) {
			} END_TRY;
			Socket_close(&server);
		}
	} EXCEPT(Socket_Timeout) {
	} END_TRY;
	Socket_close(&s);
}

TEST(accept_of_a_socket_that_does_not_listen_fails)
{
	Socket_T here, there;

	connect_pair(&here, &there);
	ck_raises_saying(Socket_Failed, "accept 127.0.0.1:", Socket_accept(here));
	Socket_close(&here);
	Socket_close(&there);
}

/* ---- adopt ---- */

static void adopt_pair(Socket_T *a, Socket_T *b)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	*a = Socket_adopt(fd[0]);
	*b = Socket_adopt(fd[1]);
	ck_assert_int_eq(Socket_fd(*a), fd[0]);
}

TEST(an_adopted_descriptor_is_a_socket_like_any_other)
{
	Socket_T a, b;

	adopt_pair(&a, &b);
	echo(a, b);
	ck_assert_str_eq(Socket_peer(a, arena), "unix:(unnamed)");
	ck_assert_int_eq(Socket_port(a), 0);
	Socket_close(&a);
	Socket_close(&b);
}

TEST(an_adopted_listener_accepts_with_a_timeout)
{
	Socket_T s = listen_tcp(), adopted = Socket_adopt(dup(Socket_fd(s))), client;

	ck_assert_int_eq(Socket_port(adopted), Socket_port(s));
	Socket_set_timeout(adopted, 10);
	ck_raises(Socket_Timeout, Socket_accept(adopted));
	client = Socket_connect("127.0.0.1", port_of(s), 5000);
	Socket_close(&s);
	s = Socket_accept(adopted);
	echo(s, client);
	Socket_close(&s);
	Socket_close(&client);
	Socket_close(&adopted);
}

TEST(adopt_keeps_whether_the_descriptor_blocks)
{
	int fd[2];
	Socket_T s;
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	fcntl(fd[0], F_SETFL, fcntl(fd[0], F_GETFL) | O_NONBLOCK);
	s = Socket_adopt(fd[0]);
	ck_raises(Socket_Timeout, Socket_recv(s, &byte, 1));
	Socket_close(&s);
	close(fd[1]);
}

TEST(adopt_checks_that_it_is_an_open_stream_socket)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ends[2];

	ck_raises_saying(Assert_Failed, "-1", Socket_adopt(-1));
	ck_raises_saying(Assert_Failed, "stream", Socket_adopt(fd));
	close(fd);
	ck_raises(Assert_Failed, Socket_adopt(fd));
	ck_assert_int_eq(pipe(ends), 0);
	ck_raises(Assert_Failed, Socket_adopt(ends[0]));
	close(ends[0]);
	close(ends[1]);
}

/* ---- recv ---- */

TEST(recv_gives_what_is_there_and_0_at_the_end)
{
	Socket_T here, there;
	char buffer[16];

	connect_pair(&here, &there);
	Socket_sendall(here, "hello", 5);
	ck_assert_uint_eq(Socket_recv(there, buffer, 0), 0);
	ck_assert_uint_eq(Socket_recv(there, buffer, 2), 2);
	ck_assert_uint_eq(Socket_recv(there, buffer + 2, sizeof buffer - 2), 3);
	ck_assert_int_eq(memcmp(buffer, "hello", 5), 0);
	Socket_close(&here);
	ck_assert_uint_eq(Socket_recv(there, buffer, sizeof buffer), 0);
	ck_assert_uint_eq(Socket_recv(there, buffer, sizeof buffer), 0);
	Socket_close(&there);
}

TEST(recv_times_out_and_names_the_peer)
{
	Socket_T here, there;
	volatile int error = 0;
	int64_t start;
	char byte;

	connect_pair(&here, &there);
	Socket_set_timeout(here, 40);
	start = now_ms();
	TRY {
		Socket_recv(here, &byte, 1);
	} EXCEPT(Socket_Timeout) {
		error = Except_errno();
		ck_assert_str_eq(Except_message(), loopback("recv ", there, ": timed out after 40 ms"));
	} END_TRY;
	ck_assert_int_eq(error, ETIMEDOUT);
	ck_assert_int_ge(now_ms() - start, 38);
	echo(there, here);
	Socket_close(&here);
	Socket_close(&there);
}

TEST(recv_does_not_wait_on_a_socket_that_does_not_block)
{
	Socket_T here, there;
	volatile int error = 0;
	char byte;

	connect_pair(&here, &there);
	Socket_set_nonblocking(here, 1);
	TRY {
		Socket_recv(here, &byte, 1);
	} EXCEPT(Socket_Timeout) {
		error = Except_errno();
	} END_TRY;
	ck_assert_int_eq(error, EAGAIN);
	Socket_set_nonblocking(here, 0);
	echo(there, here);
	Socket_close(&here);
	Socket_close(&there);
}

TEST(a_reset_names_the_peer_that_the_kernel_has_forgotten)
{
	Socket_T here, there;
	struct linger hard = { 1, 0 };
	const char *peer;
	volatile int error = 0;
	char byte;

	connect_pair(&here, &there);
	peer = Socket_peer(there, arena);
	setsockopt(Socket_fd(here), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	Socket_close(&here);
	TRY {
		Socket_recv(there, &byte, 1);
	} EXCEPT(Socket_Closed) {
		error = Except_errno();
		ck_assert_str_eq(Except_message(), Arena_sprintf(arena, "recv %s: Connection reset by peer", peer));
	} END_TRY;
	ck_assert_int_eq(error, ECONNRESET);
	ck_assert_str_eq(Socket_peer(there, arena), peer);
	Socket_close(&there);
}

static void on_alarm(int signal_number)
{
	(void)signal_number;
}

static void start_alarms(int ms)
{
	struct sigaction action = { 0 };
	struct itimerval timer = { { 0, 0 }, { 0, 0 } };

	action.sa_handler = on_alarm; /* without SA_RESTART */
	sigaction(SIGALRM, &action, NULL);
	timer.it_interval.tv_usec = timer.it_value.tv_usec = ms * 1000;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void *send_later(void *s)
{
	struct timespec later = { 0, 40 * 1000 * 1000 };
	sigset_t alarms;

	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarms, NULL);
	while (nanosleep(&later, &later) != 0)
		;
	Socket_sendall(s, "x", 1);
	return NULL;
}

TEST(signals_neither_end_nor_lengthen_a_wait)
{
	Socket_T here, there;
	pthread_t thread;
	int64_t start;
	char byte;

	connect_pair(&here, &there);
	start_alarms(5);
	Socket_set_timeout(here, 60);
	start = now_ms();
	ck_raises(Socket_Timeout, Socket_recv(here, &byte, 1));
	ck_assert_int_ge(now_ms() - start, 58);
	ck_assert_int_lt(now_ms() - start, 2000);
	Socket_set_timeout(here, -1);
	ck_assert_int_eq(pthread_create(&thread, NULL, send_later, there), 0);
	ck_assert_uint_eq(Socket_recv(here, &byte, 1), 1);
	start_alarms(0);
	pthread_join(thread, NULL);
	Socket_close(&here);
	Socket_close(&there);
}

TEST(signals_do_not_shorten_a_wait_by_less_than_a_millisecond_either)
{
	Socket_T here, there;
	struct timespec start, end;
	char byte;
	int i;

	connect_pair(&here, &there);
	start_alarms(1);
	Socket_set_timeout(here, 3);
	for (i = 0; i < 50; i++) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		ck_raises(Socket_Timeout, Socket_recv(here, &byte, 1));
		clock_gettime(CLOCK_MONOTONIC, &end);
		ck_assert_int_ge((end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec, 3000000);
	}
	start_alarms(0);
	Socket_close(&here);
	Socket_close(&there);
}

/* ---- send ---- */

static void fill(Socket_T s)
{
	static char block[64 * 1024];

	Socket_set_nonblocking(s, 1);
	while (Socket_send(s, block, sizeof block) > 0)
		;
}

TEST(send_may_be_partial_and_is_0_when_the_socket_is_full)
{
	static char block[16 * 1024 * 1024];
	Socket_T here, there;
	size_t n;

	connect_pair(&here, &there);
	Socket_set_nonblocking(here, 1);
	n = Socket_send(here, block, sizeof block);
	ck_assert_uint_gt(n, 0);
	ck_assert_uint_lt(n, sizeof block);
	fill(here);
	ck_assert_uint_eq(Socket_send(here, block, 1), 0);
	ck_assert_uint_eq(Socket_send(here, NULL, 0), 0);
	Socket_close(&here);
	Socket_close(&there);
}

TEST(send_times_out_when_the_peer_does_not_read)
{
	static char block[16 * 1024 * 1024];
	Socket_T here, there;

	connect_pair(&here, &there);
	fill(here);
	Socket_set_nonblocking(here, 0);
	Socket_set_timeout(here, 20);
	ck_raises_saying(Socket_Timeout, loopback("send ", there, ": timed out after 20 ms with 0 of 1 bytes sent"),
		Socket_send(here, block, 1));
	ck_raises_saying(Socket_Timeout, "bytes sent", Socket_sendall(here, block, sizeof block));
	Socket_close(&here);
	Socket_close(&there);
}

static void send_one(Socket_T s)
{
	Socket_send(s, "x", 1);
}

static void send_one_part(Socket_T s)
{
	struct iovec part = { &part, 1 };

	Socket_sendv(s, &part, 1);
}

static void send_two_parts(Socket_T s)
{
	struct iovec parts[2] = { { parts, 1 }, { parts, 1 } };

	Socket_sendv(s, parts, 2);
}

static void ck_broken_pipe(void (*transmit)(Socket_T))
{
	Socket_T here, there;

	adopt_pair(&here, &there);
	Socket_close(&there);
	ck_raises_saying(Socket_Closed, "Broken pipe", transmit(here));
	Socket_close(&here);
}

TEST(a_peer_that_is_gone_is_an_exception_and_never_SIGPIPE)
{
	static char block[4096];
	Socket_T here, there;

	signal(SIGPIPE, SIG_DFL);
	ck_broken_pipe(send_one);
	ck_broken_pipe(send_one_part);
	ck_broken_pipe(send_two_parts);
	connect_pair(&here, &there);
	Socket_close(&there);
	ck_raises_saying(Socket_Closed, "sendall 127.0.0.1:", for (;;) Socket_sendall(here, block, sizeof block));
	Socket_close(&here);
}

enum { MANY = 4 * 1024 * 1024 };

static unsigned char pattern(size_t i)
{
	return (unsigned char)(i * 2654435761u >> 13);
}

struct Reader {
	Socket_T socket;
	size_t expected, received, wrong;
};

/* Reads until the end, and looks whether byte i is pattern(i). */
static void *read_pattern(void *cl)
{
	struct Reader *r = cl;
	unsigned char buffer[3001];
	size_t n, i;

	while ((n = Socket_recv(r->socket, buffer, sizeof buffer)) > 0)
		for (i = 0; i < n; i++)
			r->wrong += buffer[i] != pattern(r->received++);
	return NULL;
}

static void finish_reading(struct Reader *r, pthread_t thread, Socket_T *sender)
{
	Socket_close(sender);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(r->received, r->expected);
	ck_assert_uint_eq(r->wrong, 0);
	Socket_close(&r->socket);
}

static unsigned char *make_pattern(void)
{
	unsigned char *bytes = Arena_alloc(arena, MANY);
	size_t i;

	for (i = 0; i < MANY; i++)
		bytes[i] = pattern(i);
	return bytes;
}

TEST(sendall_sends_all_blocking_or_not)
{
	unsigned char *bytes = make_pattern();
	struct Reader r = { 0 };
	Socket_T here;
	pthread_t thread;

	connect_pair(&here, &r.socket);
	r.expected = MANY;
	pthread_create(&thread, NULL, read_pattern, &r);
	Socket_sendall(here, bytes, MANY / 2);
	Socket_set_nonblocking(here, 1);
	Socket_sendall(here, bytes + MANY / 2, MANY / 4);
	Socket_set_nonblocking(here, 0);
	Socket_set_timeout(here, 10000);
	Socket_sendall(here, bytes + MANY / 4 * 3, MANY / 4);
	Socket_sendall(here, NULL, 0);
	finish_reading(&r, thread, &here);
}

TEST(sendv_sends_any_number_of_parts_in_order_and_leaves_the_vector_alone)
{
	enum { PARTS = 5000 };
	unsigned char *bytes = make_pattern();
	struct iovec *vector = Arena_calloc(arena, PARTS, sizeof *vector), *copy;
	struct Reader r = { 0 };
	size_t at = 0;
	Socket_T here;
	pthread_t thread;
	int i, small = 4096;

	for (i = 0; i < PARTS; i++) {
		size_t n = i % 7 == 0 ? 0 : (size_t)(i % 5 == 0 ? 3000 : i % 97);

		vector[i].iov_base = n ? bytes + at : NULL;
		vector[i].iov_len = n;
		at += n;
	}
	copy = Arena_memdup(arena, vector, PARTS * sizeof *vector);
	connect_pair(&here, &r.socket);
	setsockopt(Socket_fd(here), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	Socket_set_nonblocking(here, 1);
	r.expected = at;
	pthread_create(&thread, NULL, read_pattern, &r);
	Socket_sendv(here, vector, PARTS);
	Socket_sendv(here, vector, 0);
	Socket_sendv(here, NULL, 0);
	finish_reading(&r, thread, &here);
	ck_assert_int_eq(memcmp(copy, vector, PARTS * sizeof *vector), 0);
}

TEST(sendv_checks_the_vector)
{
	Socket_T a, b;
	struct iovec bad = { NULL, 1 }, huge[2] = { { &bad, SIZE_MAX }, { &bad, 2 } };

	adopt_pair(&a, &b);
	ck_raises(Assert_Failed, Socket_sendv(a, &bad, -1));
	ck_raises(Assert_Failed, Socket_sendv(a, NULL, 1));
	ck_raises(Assert_Failed, Socket_sendv(a, &bad, 1));
	ck_raises(Assert_Failed, Socket_sendv(a, huge, 2));
	Socket_close(&a);
	Socket_close(&b);
}

static void *send_pattern(void *cl)
{
	struct Reader *r = cl;
	size_t i;

	for (i = 0; i < r->expected; i++) {
		unsigned char byte = pattern(i);

		Socket_sendall(r->socket, &byte, 1);
	}
	Socket_shutdown(r->socket);
	return NULL;
}

TEST(one_thread_may_receive_while_another_sends)
{
	struct Reader a = { 0 }, b = { 0 };
	pthread_t threads[4];
	int i;

	adopt_pair(&a.socket, &b.socket);
	a.expected = b.expected = 2000;
	pthread_create(&threads[0], NULL, send_pattern, &a);
	pthread_create(&threads[1], NULL, send_pattern, &b);
	pthread_create(&threads[2], NULL, read_pattern, &a);
	pthread_create(&threads[3], NULL, read_pattern, &b);
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(a.received + b.received, 4000);
	ck_assert_uint_eq(a.wrong + b.wrong, 0);
	Socket_close(&a.socket);
	Socket_close(&b.socket);
}

/* ---- settings ---- */

TEST(set_nonblocking_sets_the_descriptor)
{
	Socket_T a, b;

	adopt_pair(&a, &b);
	Socket_set_nonblocking(a, 1);
	ck_assert_int_ne(fcntl(Socket_fd(a), F_GETFL) & O_NONBLOCK, 0);
	Socket_set_nonblocking(a, 0);
	ck_assert_int_eq(fcntl(Socket_fd(a), F_GETFL) & O_NONBLOCK, 0);
	ck_assert_uint_eq(Socket_pending(a), 0);
	Socket_close(&a);
	Socket_close(&b);
}

static int option(Socket_T s, int level, int name)
{
	int value = -1;
	socklen_t n = sizeof value;

	ck_assert_int_eq(getsockopt(Socket_fd(s), level, name, &value, &n), 0);
	return value;
}

TEST(keepalive_asks_a_silent_peer_and_a_listener_hands_it_on)
{
	Socket_T s = listen_tcp(), here, there;

	Socket_set_keepalive(s, 60000);
	here = Socket_connect("127.0.0.1", port_of(s), 5000);
	there = Socket_accept(s);
	ck_assert_int_ne(option(there, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(option(here, SOL_SOCKET, SO_KEEPALIVE), 0);
	Socket_set_keepalive(here, 1);
	ck_assert_int_ne(option(here, SOL_SOCKET, SO_KEEPALIVE), 0);
#if defined TCP_KEEPIDLE
	ck_assert_int_eq(option(there, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	ck_assert_int_eq(option(there, IPPROTO_TCP, TCP_KEEPINTVL), 10);
	ck_assert_int_eq(option(there, IPPROTO_TCP, TCP_KEEPCNT), 3);
	ck_assert_int_eq(option(here, IPPROTO_TCP, TCP_KEEPIDLE), 1);
#endif
	Socket_set_keepalive(here, 0x7fffffff);
	Socket_set_keepalive(here, 0);
	ck_assert_int_eq(option(here, SOL_SOCKET, SO_KEEPALIVE), 0);
	Socket_close(&here);
	Socket_close(&there);
	Socket_close(&s);
	adopt_pair(&here, &there);
	Socket_set_keepalive(here, 1000); /* nothing to ask: the kernel knows */
	Socket_close(&here);
	Socket_close(&there);
}

TEST(after_shutdown_the_peer_reads_the_end_and_can_still_answer)
{
	Socket_T here, there;
	char byte;

	connect_pair(&here, &there);
	Socket_shutdown(here);
	ck_assert_uint_eq(Socket_recv(there, &byte, 1), 0);
	echo(there, here);
	ck_raises(Socket_Closed, Socket_sendall(here, "x", 1));
	Socket_close(&there);
	Socket_shutdown(here);
	Socket_close(&here);
}

/* ---- close ---- */

TEST(close_releases_the_descriptor_keeps_errno_and_takes_NULL)
{
	Socket_T a, b, none = NULL;
	int fd;

	adopt_pair(&a, &b);
	fd = Socket_fd(a);
	errno = EDOM;
	Socket_close(&a);
	ck_assert_int_eq(errno, EDOM);
	ck_assert_ptr_null(a);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	Socket_close(&a);
	Socket_close(&none);
	Socket_close(NULL);
	Socket_close(&b);
}

#define ck_keeps_errno(statement)                                            \
	do {                                                                 \
		errno = EDOM;                                                \
		statement;                                                   \
		ck_assert_msg(errno == EDOM, "%s set errno to %d", #statement, errno); \
	} while (0)

static void *send_late(void *s)
{
	usleep(20000);
	Socket_send(s, "x", 1);
	return NULL;
}

/* Each waits or fails inside, and succeeds in the end. */
static void ck_waits_keep_errno(Socket_T here, Socket_T there)
{
	static char many[1 << 20];
	struct iovec part = { many, 1 };
	pthread_t thread;
	char byte;

	Socket_set_timeout(here, 5000);
	pthread_create(&thread, NULL, send_late, there);
	ck_keeps_errno(Socket_recv(here, &byte, 1));
	pthread_join(thread, NULL);
	Socket_set_nonblocking(here, 1);
	while (Socket_send(here, many, sizeof many) > 0)
		;
	ck_keeps_errno(ck_assert_uint_eq(Socket_send(here, many, 1), 0));
	ck_keeps_errno(Socket_sendv(there, &part, 1));
	ck_keeps_errno(Socket_shutdown(there));
	ck_keeps_errno(Socket_set_keepalive(there, 60000));
	ck_keeps_errno(Socket_port(there));
	ck_keeps_errno(Socket_peer(there, arena));
	ck_keeps_errno(Socket_local(there, arena));
}

TEST(a_call_that_succeeds_leaves_errno_alone)
{
	Socket_T listener, here, there;
	int fd[2];

	ck_keeps_errno(listener = Socket_listen(NULL, "0", 0));
	ck_keeps_errno(Socket_peer(listener, arena)); /* it has none */
	ck_keeps_errno(here = Socket_connect("localhost", port_of(listener), 5000));
	ck_keeps_errno(there = Socket_accept(listener));
	Socket_set_nonblocking(listener, 1);
	ck_keeps_errno(ck_assert_ptr_null(Socket_accept(listener)));
	ck_waits_keep_errno(here, there);
	Socket_close(&here);
	Socket_close(&there);
	Socket_close(&listener);
	ck_keeps_errno(listener = Socket_listen_shared("127.0.0.1", "0", 0));
	Socket_close(&listener);
	ck_keeps_errno(listener = Socket_listen(path, NULL, 0));
	ck_keeps_errno(here = Socket_connect(path, NULL, 5000));
	Socket_close(&here);
	ck_keeps_errno(Socket_close(&listener));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	ck_keeps_errno(here = Socket_adopt(fd[0]));
	Socket_close(&here);
	ck_keeps_errno(there = Socket_adopt(fd[1]));
	Socket_close(&there);
}

/* 1 + 2 * n bytes: x and so many e with an acute accent. */
static const char *accents(int n)
{
	char *text = Arena_alloc(arena, 2 + 2 * (size_t)n);
	int i;

	text[0] = 'x';
	for (i = 0; i < n; i++)
		memcpy(text + 1 + 2 * i, "\xC3\xA9", 2);
	text[1 + 2 * n] = '\0';
	return text;
}

TEST(a_long_name_is_cut_at_a_character)
{
	ck_raises_saying(Socket_Unresolved, "\xC3\xA9:80: ", Socket_connect(accents(250), "80", 1));
	ck_raises_saying(Socket_Unresolved, "\xC3\xA9: ", Socket_listen("127.0.0.1", accents(100), 1));
}

static void ck_checks(Socket_T s)
{
	struct iovec part = { &part, 1 };
	char byte = 0;

	ck_raises_saying(Assert_Failed, "Socket_accept", Socket_accept(s));
	ck_raises_saying(Assert_Failed, "Socket_connect_finish", Socket_connect_finish(s));
	ck_raises_saying(Assert_Failed, "Socket_recv", Socket_recv(s, &byte, 1));
	ck_raises_saying(Assert_Failed, "Socket_send:", Socket_send(s, &byte, 1));
	ck_raises_saying(Assert_Failed, "Socket_sendall", Socket_sendall(s, &byte, 1));
	ck_raises_saying(Assert_Failed, "Socket_sendv", Socket_sendv(s, &part, 1));
	ck_raises_saying(Assert_Failed, "Socket_set_timeout", Socket_set_timeout(s, 1));
	ck_raises_saying(Assert_Failed, "Socket_set_nonblocking", Socket_set_nonblocking(s, 1));
	ck_raises_saying(Assert_Failed, "Socket_set_keepalive", Socket_set_keepalive(s, 1));
	ck_raises_saying(Assert_Failed, "Socket_pending", Socket_pending(s));
	ck_raises_saying(Assert_Failed, "Socket_shutdown", Socket_shutdown(s));
	ck_raises_saying(Assert_Failed, "Socket_fd", Socket_fd(s));
	ck_raises_saying(Assert_Failed, "Socket_port", Socket_port(s));
	ck_raises_saying(Assert_Failed, "Socket_peer", Socket_peer(s, arena));
	ck_raises_saying(Assert_Failed, "Socket_local", Socket_local(s, arena));
}

TEST(every_function_checks_that_the_socket_is_open)
{
	Socket_T not_one = Arena_calloc(arena, 1, 1024); /* a closed one must not be read under ASan */

	ck_checks(NULL);
	ck_checks(not_one);
	ck_raises_saying(Assert_Failed, "Socket_close", Socket_close(&not_one));
}

TEST(a_buffer_that_is_NULL_is_checked)
{
	Socket_T a, b;

	adopt_pair(&a, &b);
	ck_raises(Assert_Failed, Socket_recv(a, NULL, 1));
	ck_raises(Assert_Failed, Socket_send(a, NULL, 1));
	ck_raises(Assert_Failed, Socket_sendall(a, NULL, 1));
	ck_raises(Assert_Failed, Socket_peer(a, NULL));
	Socket_close(&a);
	Socket_close(&b);
}
