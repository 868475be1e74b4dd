/* SPDX-License-Identifier: MIT */
/* Socket: recv, send, settings, close. */
#include "config.h"

#include "test_socket.h"

/* ---- recv ---- */

SUITE("Socket");
CASE("Socket", .setup = set_up, .teardown = tear_down);

TEST(recv_returns_the_bytes_that_are_there_and_0_at_the_end)
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
		ck_assert_str_eq(Except_message(),
			loopback_text("recv ", there, ": timed out after 40 ms"));
	} END_TRY;
	ck_assert_int_eq(error, ETIMEDOUT);
	ck_assert_int_ge(now_ms() - start, 38);
	send_byte(there, here);
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
	send_byte(there, here);
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
		ck_assert_str_eq(Except_message(),
			Arena_sprintf(arena, "recv %s: Connection reset by peer", peer));
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
		ck_assert_int_ge((end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec,
			3000000);
	}
	start_alarms(0);
	Socket_close(&here);
	Socket_close(&there);
}

/* ---- send ---- */

static void fill_socket(Socket_T s)
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
	fill_socket(here);
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
	fill_socket(here);
	Socket_set_nonblocking(here, 0);
	Socket_set_timeout(here, 20);
	ck_raises_saying(Socket_Timeout,
		loopback_text("send ", there, ": timed out after 20 ms with 0 of 1 bytes sent"),
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
	ck_raises_saying(Socket_Closed, "sendall 127.0.0.1:",
		for (;;) Socket_sendall(here, block, sizeof block));
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

/* Reads until the end and checks that byte i is pattern(i). */
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

static int get_option(Socket_T s, int level, int name)
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
	ck_assert_int_ne(get_option(there, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(get_option(here, SOL_SOCKET, SO_KEEPALIVE), 0);
	Socket_set_keepalive(here, 1);
	ck_assert_int_ne(get_option(here, SOL_SOCKET, SO_KEEPALIVE), 0);
#if defined TCP_KEEPIDLE
	ck_assert_int_eq(get_option(there, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	ck_assert_int_eq(get_option(there, IPPROTO_TCP, TCP_KEEPINTVL), 10);
	ck_assert_int_eq(get_option(there, IPPROTO_TCP, TCP_KEEPCNT), 3);
	ck_assert_int_eq(get_option(here, IPPROTO_TCP, TCP_KEEPIDLE), 1);
#endif
	Socket_set_keepalive(here, 0x7fffffff);
	Socket_set_keepalive(here, 0);
	ck_assert_int_eq(get_option(here, SOL_SOCKET, SO_KEEPALIVE), 0);
	Socket_close(&here);
	Socket_close(&there);
	Socket_close(&s);
	adopt_pair(&here, &there);
	Socket_set_keepalive(here, 1000); /* there is nothing to ask: the kernel knows */
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
	send_byte(there, here);
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

/* Each call waits or fails inside, and then succeeds. */
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
	ck_keeps_errno(Socket_peer(listener, arena)); /* it has no peer */
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

/* Returns 1 + 2 * n bytes: x and n times e with an acute accent. */
static const char *make_accents(int n)
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
	ck_raises_saying(Socket_Unresolved, "\xC3\xA9:80: ",
		Socket_connect(make_accents(250), "80", 1));
	ck_raises_saying(Socket_Unresolved, "\xC3\xA9: ",
		Socket_listen("127.0.0.1", make_accents(100), 1));
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
	Socket_T not_one = Arena_calloc(arena, 1, 1024); /* under ASan, a closed one must not be read */

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
