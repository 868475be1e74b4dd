/* SPDX-License-Identifier: MIT */
/* Socket, in the order of its header: listen, connect, accept, adopt. */
#include "config.h"

#include "test_socket.h"

NEEDS(.loopback = 1);

/* Returns a port without a listener. */
static const char *free_port(void)
{
	Socket_T s = listen_tcp();
	const char *port = port_of(s);

	Socket_close(&s);
	return port;
}

/* Returns the errno of what connect raises. Its message must have text in it. */
static int connect_errno(const Except_T *e, const char *host, const char *service, int ms,
	const char *text)
{
	volatile int error = -1;

	TRY {
		Socket_T s = Socket_connect(host, service, ms);

		Socket_close(&s);
	} EXCEPT(*e) {
		error = Except_errno();
		ck_assert_msg(strstr(Except_message(), text) != NULL, "\"%s\" lacks \"%s\"",
			Except_message(), text);
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
		ck_assert_msg(strstr(Except_message(), text) != NULL, "\"%s\" lacks \"%s\"",
			Except_message(), text);
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
	Socket_T s = Socket_listen(NULL, "0", 0),
		client = Socket_connect("127.0.0.1", port_of(s), 5000);
	Socket_T server = Socket_accept(s);

	ck_assert_int_eq(strncmp(Socket_peer(server, arena), "127.0.0.1:", 10), 0);
	ck_assert_str_eq(Socket_peer(client, arena), loopback_text("", s, ""));
	ck_assert_str_eq(Socket_local(server, arena), loopback_text("", s, ""));
	send_byte(client, server);
	Socket_close(&client);
	Socket_close(&server);
	if (has_ipv6()) {
		client = Socket_connect("::1", port_of(s), 5000);
		server = Socket_accept(s);
		ck_assert_str_eq(Socket_peer(client, arena),
			Arena_sprintf(arena, "[::1]:%d", Socket_port(s)));
		send_byte(server, client);
		Socket_close(&client);
		Socket_close(&server);
	}
	Socket_close(&s);
}

TEST(a_port_in_use_is_named)
{
	Socket_T s = listen_tcp();

	ck_assert_int_eq(listen_errno("127.0.0.1", port_of(s),
		loopback_text("listen ", s, ": Address already in use")), EADDRINUSE);
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
	Socket_close(&server); /* this end closes first, and so goes to TIME_WAIT */
	ck_assert_uint_eq(Socket_recv(client, &byte, 1), 0);
	Socket_close(&client);
	Socket_close(&s);
	s = Socket_listen("127.0.0.1", port, 0);
	Socket_close(&s);
}

/* Returns how many of n connections this non-blocking listener gets if no other process accepts. */
static int count_accepted(Socket_T s, int n)
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
	ck_assert_int_eq(count_accepted(a, 50), 50);
	b = Socket_listen_shared("127.0.0.1", port_of(a), 0);
	ck_assert_int_eq(Socket_port(a), Socket_port(b));
	/* the kernel chooses by a hash of the client's port: that one gets none has a chance of 2 to
	 * the -100 */
	n = count_accepted(a, 100);
	ck_assert_int_gt(n, 0);
	ck_assert_int_lt(n, 100);
	ck_assert_int_eq(listen_errno("127.0.0.1", port_of(a), "Address already in use"), EADDRINUSE);
	Socket_close(&a);
	Socket_close(&b);
}

TEST(listen_shared_checks_that_there_is_a_port)
{
	ck_raises_saying(Assert_Failed, "no port to share", Socket_listen_shared(path, "0", 0));
	ck_raises_saying(Assert_Failed, "no port to share", Socket_listen_shared(path, NULL, 0));
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
	ck_raises_saying(Socket_Unresolved, "there is no service \"nope-nope\"",
		Socket_listen("127.0.0.1", "nope-nope", 0));
}

TEST(a_host_that_cannot_be_resolved_is_named)
{
	ck_raises_saying(Socket_Unresolved, "listen *:99999: ", Socket_listen(NULL, "99999", 0));
	ck_raises_saying(Socket_Unresolved, "connect [::1::]:80: ",
		Socket_connect("::1::", "80", 1000));
	ck_raises_saying(Assert_Failed, "service", Socket_listen("127.0.0.1", NULL, 0));
}

TEST(the_path_of_a_Unix_socket_is_removed_when_the_listener_is_closed)
{
	Socket_T s = Socket_listen(path, NULL, 0), client = Socket_connect(path, NULL, 5000);
	Socket_T server = Socket_accept(s);

	ck_assert_str_eq(Socket_local(s, arena), path);
	ck_assert_str_eq(Socket_peer(s, arena), "");
	ck_assert_str_eq(Socket_peer(client, arena), path);
	ck_assert_str_eq(Socket_local(server, arena), path);
	ck_assert_str_eq(Socket_peer(server, arena), "unix:(unnamed)");
	ck_assert_int_eq(Socket_port(s), 0);
	send_byte(client, server);
	Socket_set_timeout(server, 1);
	ck_raises_saying(Socket_Timeout, Arena_sprintf(arena, "recv %s: ", path),
		Socket_recv(server, arena, 1));
	Socket_close(&client);
	Socket_close(&server);
	ck_assert_int_eq(access(path + 5, F_OK), 0);
	Socket_close(&s);
	ck_assert_int_ne(access(path + 5, F_OK), 0);
}

TEST(a_relative_path_is_removed_from_another_directory_too)
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
			/* with "unix:" and without */
			s = Socket_listen_unix(i % 2 ? path : path + 5, modes[k], 1);
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

TEST(the_exceptions_of_listen_unix_name_the_fault)
{
	Socket_T s = Socket_listen_unix(path, 0600, 1);

	ck_raises_saying(Socket_Failed, path, Socket_listen_unix(path, 0666, 1));
	ck_assert_int_eq(mode_of(path + 5), 0600);
	Socket_close(&s);
	ck_raises_saying(Socket_Failed, "unix:/nonexistent/x: No such",
		Socket_listen_unix("/nonexistent/x", 0600, 1));
	ck_raises_saying(Assert_Failed, "the path is NULL", Socket_listen_unix(NULL, 0600, 1));
	ck_raises_saying(Assert_Failed, "mode is 01777", Socket_listen_unix(path, 01777, 1));
	ck_raises_saying(Assert_Failed, "mode", Socket_listen_unix(path, -1, 1));
	ck_raises_saying(Assert_Failed, "no file", Socket_listen_unix("@name", 0600, 1));
	ck_raises_saying(Assert_Failed, "no file", Socket_listen_unix("unix:@name", 0600, 1));
}

TEST(the_path_of_a_process_that_died_is_taken_over)
{
	static volatile Socket_T left_open; /* so that Valgrind finds no leak in the child */
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
	send_byte(client, server);
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
	ck_assert_int_eq(connect_errno(&Socket_Failed, name, NULL, 1000, "connect unix:/tmp/xxxx"),
		ENAMETOOLONG);
	ck_assert_int_eq(listen_errno("unix:", NULL, "listen unix:: "), EINVAL);
	ck_assert_int_eq(listen_errno("unix:/no/such/directory/s", NULL,
		"/no/such/directory/s: No such file"), ENOENT);
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
			ck_assert_str_eq(Except_message(),
				loopback_text("connect ", s, ": timed out after 60 ms"));
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

	ck_assert_str_eq(Socket_peer(client, arena), loopback_text("", s, ""));
	Socket_close(&client);
	Socket_close(&s);
}

TEST(connect_checks_its_arguments)
{
	ck_raises_saying(Assert_Failed, "host", Socket_connect(NULL, "80", 1));
	ck_raises_saying(Assert_Failed, "service", Socket_connect("127.0.0.1", NULL, 1));
}

/* Returns 1 if it is connected, 0 if it was refused. */
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
	send_byte(s, there);
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

/* Returns whether connect is refused, at once as on Linux or later. */
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
	ck_raises_saying(Socket_Unresolved, "127.0.0.1:http",
		Socket_connect_start("127.0.0.1", "http"));
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
	send_byte(server, client);
	Socket_close(&client);
	Socket_close(&server);
	Socket_close(&s);
}

TEST(accept_times_out_and_then_works_as_before)
{
	Socket_T s = listen_tcp(), client, server;
	int64_t start = now_ms();

	Socket_set_timeout(s, 30);
	ck_raises_saying(Socket_Timeout, loopback_text("accept ", s, ": timed out after 30 ms"),
		Socket_accept(s));
	ck_assert_int_ge(now_ms() - start, 28);
	client = Socket_connect("127.0.0.1", port_of(s), 5000);
	server = Socket_accept(s);
	send_byte(client, server);
	Socket_close(&client);
	Socket_close(&server);
	Socket_set_timeout(s, -1);
	client = Socket_connect("127.0.0.1", port_of(s), 5000);
	server = Socket_accept(s);
	send_byte(client, server);
	Socket_close(&client);
	Socket_close(&server);
	Socket_close(&s);
}

TEST(accept_without_descriptors_names_the_listener_and_works_when_there_are_some)
{
	Socket_T s = listen_tcp(), client = Socket_connect("127.0.0.1", port_of(s), 5000), other,
		server;
	struct rlimit limit, none;
	const char *message = loopback_text("accept ", s, ": Too many open files");
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
		server = Socket_accept(s); /* NULL on some systems, a dead connection on others */
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

TEST(an_adopted_descriptor_is_a_socket_like_any_other)
{
	Socket_T a, b;

	adopt_pair(&a, &b);
	send_byte(a, b);
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
	send_byte(s, client);
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
