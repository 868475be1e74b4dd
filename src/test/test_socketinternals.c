/* SPDX-License-Identifier: MIT */
/* The functions of a socket for protocols and pool, and connect to several addresses. The
 * program is linked with --wrap for some calls, so that a host has the addresses that a test gives
 * it, and a clock may jump between two readings. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <core/SocketPoll.h>
#include <core/SocketPool.h>
#include "socket/internal.h"
#include "descriptors.h"
#include "testing.h"

NEEDS(.loopback = 1);

enum { MOST = 16 };

static struct addrinfo list[MOST];
static struct sockaddr_in6 addresses[MOST]; /* of either family */
static int naddresses;

int __real_getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int __wrap_getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
void __real_freeaddrinfo(struct addrinfo *);
void __wrap_freeaddrinfo(struct addrinfo *);

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
	struct addrinfo **result)
{
	if (!host || strcmp(host, "several.test") != 0)
		return __real_getaddrinfo(host, service, hints, result);
	*result = list;
	return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *a)
{
	if (a != list)
		__real_freeaddrinfo(a);
}

/* After so many readings, the clocks go on by so many seconds. */
static atomic_int readings;
static int jump_after, jump_seconds;

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	int result = __real_clock_gettime(clock, t);

	if (atomic_fetch_add(&readings, 1) >= jump_after)
		t->tv_sec += jump_seconds;
	return result;
}

static int meets_itself, at_once;

int __real_connect(int fd, const struct sockaddr *a, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *a, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *a, socklen_t n)
{
	int result, flags = fcntl(fd, F_GETFL);

	if (!meets_itself)
		return __real_connect(fd, a, n);
	ck_assert_int_eq(bind(fd, a, n), 0);
	if (at_once)
		fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	result = __real_connect(fd, a, n);
	if (at_once)
		fcntl(fd, F_SETFL, flags);
	return result;
}

static void add_address(int family, const char *address, int port)
{
	struct addrinfo *a = &list[naddresses];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&addresses[naddresses];
	struct sockaddr_in6 *v6 = &addresses[naddresses];

	ck_assert_int_lt(naddresses, MOST);
	memset(a, 0, sizeof *a);
	memset(v6, 0, sizeof *v6);
	a->ai_family = family;
	a->ai_addr = (struct sockaddr *)v6;
	if (family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		ck_assert_int_eq(inet_pton(AF_INET, address, &v4->sin_addr), 1);
		a->ai_addrlen = sizeof *v4;
	} else {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		ck_assert_int_eq(inet_pton(AF_INET6, address, &v6->sin6_addr), 1);
		a->ai_addrlen = sizeof *v6;
	}
	if (naddresses > 0)
		list[naddresses - 1].ai_next = a;
	naddresses++;
}

/* Adds an address of a family that this machine lacks, as ::1 is without IPv6. */
static void add_lacking(void)
{
	add_address(AF_INET, "127.0.0.1", 1);
	list[naddresses - 1].ai_family = AF_MAX;
}

static Arena_T arena;

static void set_up(void)
{
	naddresses = 0;
	arena = Arena_new();
}

static void tear_down(void)
{
	Arena_dispose(&arena);
}

/* A listener that does not answer: its backlog is full. */
typedef struct Deaf {
	Socket_T listener, clients[MOST];
	int n;
} Deaf;

static void make_deaf(Deaf *d)
{
	volatile int full = 0;
	char port[8];

	memset(d, 0, sizeof *d);
	d->listener = Socket_listen("127.0.0.1", "0", 1);
	snprintf(port, sizeof port, "%d", Socket_port(d->listener));
	while (!full && d->n < MOST)
		TRY {
			d->clients[d->n] = Socket_connect("127.0.0.1", port, 50);
			d->n++;
		} EXCEPT(Socket_Timeout) {
			full = 1;
		} END_TRY;
	ck_assert(full);
}

static void accept_again(Deaf *d)
{
	while (d->n > 0)
		Socket_close(&d->clients[--d->n]);
	Socket_close(&d->listener);
}

static int64_t took_since(int64_t start)
{
	return socket__now_ms() - start;
}

/* ---- listen ---- */

SUITE("Socket, within");
CASE("Socket", .setup = set_up, .teardown = tear_down);

TEST(listen_takes_the_first_address_that_this_machine_has)
{
	Socket_T s;

	add_lacking();
	add_address(AF_INET, "127.0.0.1", 0);
	add_lacking();
	s = Socket_listen("several.test", "1", 0);
	ck_assert_int_eq(strncmp(Socket_local(s, arena), "127.0.0.1:", 10), 0);
	Socket_close(&s);
}

TEST(listen_does_not_take_another_address_when_the_port_of_the_first_is_taken)
{
	Socket_T s = Socket_listen("127.0.0.1", "0", 0);
	int before = count_descriptors();

	add_lacking();
	add_address(AF_INET, "127.0.0.1", Socket_port(s));
	add_address(AF_INET, "127.0.0.2", 0);
	add_lacking();
	ck_raises_saying(Socket_Failed, "listen several.test:1: Address already in use",
		Socket_listen("several.test", "1", 0));
	ck_assert_int_eq(count_descriptors(), before);
	Socket_close(&s);
}

/* ---- connect ---- */

TEST(an_address_that_does_not_answer_costs_a_quarter_of_a_second)
{
	Socket_T s = Socket_listen("127.0.0.1", "0", 0), client;
	int64_t start;
	Deaf deaf;
	int before;

	make_deaf(&deaf);
	add_address(AF_INET, "127.0.0.1", Socket_port(deaf.listener));
	add_address(AF_INET, "127.0.0.1", Socket_port(s));
	before = count_descriptors();
	start = socket__now_ms();
	client = Socket_connect("several.test", "1", -1);
	ck_assert_int_ge(took_since(start), 240);
	ck_assert_int_lt(took_since(start), 900);
	ck_assert_str_eq(Socket_peer(client, arena),
		Arena_sprintf(arena, "127.0.0.1:%d", Socket_port(s)));
	Socket_close(&client);
	ck_assert_int_eq(count_descriptors(), before);
	Socket_close(&s);
	accept_again(&deaf);
}

TEST(a_short_time_is_shared_so_that_the_last_address_is_tried)
{
	Socket_T s = Socket_listen("127.0.0.1", "0", 0), client;
	int64_t start;
	Deaf deaf;
	int i;

	make_deaf(&deaf);
	for (i = 0; i < 3; i++)
		add_address(AF_INET, "127.0.0.1", Socket_port(deaf.listener));
	add_address(AF_INET, "127.0.0.1", Socket_port(s));
	start = socket__now_ms();
	client = Socket_connect("several.test", "1", 600);
	ck_assert_int_lt(took_since(start), 600);
	Socket_close(&client);
	Socket_close(&s);
	accept_again(&deaf);
}

/* Returns how many ms the fastest of three tries took. A busy machine delays one of them, a fault
 * delays all. */
static int64_t least_time(void (*try)(void))
{
	int64_t least = INT64_MAX;
	int i;

	for (i = 0; i < 3; i++) {
		int64_t start = socket__now_ms(), took;

		try();
		took = took_since(start);
		least = took < least ? took : least;
	}
	return least;
}

static void connect_and_close(void)
{
	Socket_T client = Socket_connect("several.test", "1", 5000);

	Socket_close(&client);
}

static void be_refused(void)
{
	ck_raises_saying(Socket_Refused, "connect several.test:1: Connection refused",
		Socket_connect("several.test", "1", -1));
}

TEST(an_address_that_refuses_costs_nothing)
{
	Socket_T s = Socket_listen("127.0.0.1", "0", 0), closed = Socket_listen("127.0.0.1", "0", 0);
	int i;

	for (i = 0; i < MOST - 1; i++)
		add_address(AF_INET, "127.0.0.1", Socket_port(closed));
	add_address(AF_INET, "127.0.0.1", Socket_port(s));
	Socket_close(&closed);
	ck_assert_int_lt(least_time(connect_and_close), 200);
	Socket_close(&s);
}

TEST(the_families_take_turns)
{
	Socket_T s = Socket_listen("127.0.0.1", "0", 0), client;
	Deaf deaf;
	int i;

	make_deaf(&deaf);
	for (i = 0; i < 6; i++)
		add_address(AF_INET, "127.0.0.1", Socket_port(deaf.listener));
	/* the last in the list, which is tried second */
	add_address(AF_INET6, "::ffff:127.0.0.1", Socket_port(s));
	ck_assert_int_lt(least_time(connect_and_close), 480);
	client = Socket_connect("several.test", "1", -1);
	ck_assert_str_eq(Socket_peer(client, arena),
		Arena_sprintf(arena, "127.0.0.1:%d", Socket_port(s)));
	Socket_close(&client);
	Socket_close(&s);
	accept_again(&deaf);
}

TEST(a_host_none_of_whose_addresses_answers_is_given_up_in_time)
{
	volatile int64_t start = 0;
	Deaf deaf;
	int i, before;

	make_deaf(&deaf);
	for (i = 0; i < MOST; i++) /* more than connect tries at once */
		add_address(AF_INET, "127.0.0.1", Socket_port(deaf.listener));
	before = count_descriptors();
	start = socket__now_ms();
	ck_raises_saying(Socket_Timeout, "connect several.test:1: timed out after 80 ms",
		Socket_connect("several.test", "1", 80));
	ck_assert_int_ge(took_since(start), 79);
	ck_assert_int_lt(took_since(start), 1000);
	ck_assert_int_eq(count_descriptors(), before);
	accept_again(&deaf);
}

TEST(a_host_all_of_whose_addresses_refuse_is_refused_at_once)
{
	Socket_T closed = Socket_listen("127.0.0.1", "0", 0);

	add_address(AF_INET6, "::ffff:127.0.0.1", Socket_port(closed));
	add_address(AF_INET, "127.0.0.1", Socket_port(closed));
	Socket_close(&closed);
	ck_assert_int_lt(least_time(be_refused), 240);
}

TEST(an_address_of_a_kind_that_is_not_here_does_not_hide_why_the_others_failed)
{
	Socket_T closed = Socket_listen("127.0.0.1", "0", 0);

	add_address(AF_INET, "127.0.0.1", Socket_port(closed));
	add_lacking();
	Socket_close(&closed);
	ck_raises_saying(Socket_Refused, "Connection refused", Socket_connect("several.test", "1", -1));
	naddresses = 0;
	add_lacking();
	ck_raises_saying(Socket_Failed, "Address family not supported",
		Socket_connect("several.test", "1", -1));
}

/* ---- for the protocols ---- */

static void adopt_pair(Socket_T *a, Socket_T *b)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	*a = Socket_adopt(fd[0]);
	*b = Socket_adopt(fd[1]);
}

static int start_is_refused(const char *port)
{
	volatile int refused = 0, connected = 0;
	Socket_T s = NULL;

	PROTECT(s);
	TRY {
		s = Socket_connect_start("127.0.0.1", port);
		while (!connected)
			connected = Socket_connect_finish(s);
	} EXCEPT(Socket_Refused) {
		refused = 1;
	} END_TRY;
	Socket_close(&s);
	return refused;
}

/* A connection to itself can come about if the system chooses the same port. Here the port is
 * bound before. */
static void ck_refuses_itself(int connected_at_once)
{
	Socket_T s = Socket_listen("127.0.0.1", "0", 1);
	char port[8];

	snprintf(port, sizeof port, "%d", Socket_port(s));
	Socket_close(&s);
	meets_itself = 1;
	at_once = connected_at_once;
	ck_raises_saying(Socket_Refused, "Connection refused", Socket_connect("127.0.0.1", port, 1000));
	ck_assert(start_is_refused(port));
	meets_itself = 0;
	s = Socket_listen("127.0.0.1", port, 1); /* the port is free at once */
	Socket_close(&s);
}

TEST(a_connection_to_itself_is_refused_as_by_a_port_without_a_listener)
{
	ck_refuses_itself(0);
	ck_refuses_itself(1);
}

TEST(wait_tells_whether_a_call_would_wait)
{
	static char block[65536];
	Socket_T a, b;
	int64_t start;

	adopt_pair(&a, &b);
	ck_assert_int_eq(socket__wait(a, 0, 0), 0);
	ck_assert_int_eq(socket__wait(a, 1, 0), 1);
	start = socket__now_ms();
	ck_assert_int_eq(socket__wait(a, 0, 30), 0);
	ck_assert_int_ge(took_since(start), 29);
	Socket_sendall(b, "x", 1);
	ck_assert_int_eq(socket__wait(a, 0, -1), 1);
	ck_assert_uint_eq(Socket_recv(a, block, 1), 1);
	ck_assert_int_eq(socket__wait(a, 0, 0), 0);
	socket__unread(a, "x", 1);
	ck_assert_int_eq(socket__wait(a, 0, -1), 1);
	ck_assert_uint_eq(Socket_recv(a, block, 1), 1);
	Socket_set_nonblocking(a, 1);
	while (Socket_send(a, block, sizeof block) > 0)
		;
	ck_assert_int_eq(socket__wait(a, 1, 0), 0);
	Socket_close(&b);
	ck_assert_int_eq(socket__wait(a, 0, -1), 1);
	ck_assert_int_eq(socket__wait(a, 1, -1), 1);
	Socket_close(&a);
	ck_raises(Assert_Failed, socket__wait(NULL, 0, 0));
}

TEST(recv_deadline_waits_until_the_earlier_of_deadline_and_timeout)
{
	Socket_T a, b;
	volatile int64_t start;
	char byte;

	adopt_pair(&a, &b);
	Socket_set_nonblocking(a, 1);
	start = socket__now_ms();
	ck_raises_saying(Socket_Timeout, "timed out",
		socket__recv_deadline(a, &byte, 1, socket__now_ms() + 30));
	ck_assert_int_ge(took_since(start), 29);
	Socket_set_timeout(a, 20);
	start = socket__now_ms();
	ck_raises(Socket_Timeout, socket__recv_deadline(a, &byte, 1, socket__now_ms() + 10000));
	ck_raises(Socket_Timeout, socket__recv_deadline(a, &byte, 1, SOCKET__NEVER));
	ck_assert_int_ge(took_since(start), 38);
	ck_assert_int_lt(took_since(start), 5000);
	Socket_close(&a);
	Socket_close(&b);
}

TEST(after_the_deadline_only_bytes_read_ahead_are_received)
{
	Socket_T a, b;
	char byte;

	adopt_pair(&a, &b);
	Socket_sendall(b, "kernel", 6);
	socket__unread(a, "ah", 2);
	ck_assert_uint_eq(socket__recv_deadline(a, &byte, 1, socket__now_ms() - 1), 1);
	ck_assert_uint_eq(socket__recv_deadline(a, &byte, 1, socket__now_ms() - 1), 1);
	ck_raises(Socket_Timeout, socket__recv_deadline(a, &byte, 1, socket__now_ms() - 1));
	ck_assert_uint_eq(socket__recv_deadline(a, &byte, 1, socket__now_ms() + 1000), 1);
	ck_assert_int_eq(byte, 'k');
	ck_raises(Assert_Failed, socket__recv_deadline(a, NULL, 1, SOCKET__NEVER));
	ck_raises(Assert_Failed, socket__recv_deadline(a, &byte, 0, SOCKET__NEVER));
	Socket_close(&a);
	Socket_close(&b);
}

TEST(bytes_that_are_put_back_come_first_and_the_latest_before_others)
{
	Socket_T a, b;
	char buffer[16] = "";

	adopt_pair(&a, &b);
	Socket_sendall(b, "ghi", 3);
	socket__unread(a, "def", 3);
	socket__unread(a, "abc", 3);
	socket__unread(a, NULL, 0);
	ck_assert_uint_eq(Socket_pending(a), 6);
	ck_assert_uint_eq(Socket_recv(a, buffer, 2), 2);
	socket__unread(a, "ab", 2);
	ck_assert_uint_eq(Socket_recv(a, buffer, sizeof buffer), 6);
	ck_assert_uint_eq(Socket_recv(a, buffer + 6, sizeof buffer - 6), 3);
	ck_assert_str_eq(buffer, "abcdefghi");
	Socket_close(&a);
	Socket_close(&b);
}

/* Makes a connection over TCP. Its client has sent n bytes, which nothing has read. */
static void tcp_pair(Socket_T *server, Socket_T *client, size_t n)
{
	Socket_T s = Socket_listen("127.0.0.1", "0", 0);
	char port[8], block[100] = "";

	snprintf(port, sizeof port, "%d", Socket_port(s));
	*client = Socket_connect("127.0.0.1", port, 5000);
	*server = Socket_accept(s);
	for (; n > 0; n -= n < sizeof block ? n : sizeof block)
		Socket_sendall(*client, block, n < sizeof block ? n : sizeof block);
	Socket_close(&s);
}

static void *read_reply(void *cl)
{
	Socket_T client = cl;
	char reply[8] = "";
	volatile int good = 0;

	TRY {
		size_t got, n;

		for (n = 0; (got = Socket_recv(client, reply + n, sizeof reply - n)) > 0; n += got)
			;
		good = n == 5 && memcmp(reply, "reply", 5) == 0;
	} EXCEPT(Socket_Closed) {
	} FINALLY {
		Socket_close(&client);
	} END_TRY;
	return good ? cl : NULL;
}

TEST(lingering_lets_the_last_reply_arrive_before_unread_bytes_reset_it)
{
	Socket_T server, client;
	pthread_t reader;
	void *good;

	tcp_pair(&server, &client, 50000);
	Socket_sendall(server, "reply", 5);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_reply, client), 0);
	socket__linger(server, 1000000, 2000); /* until the client has closed */
	Socket_close(&server);
	pthread_join(reader, &good);
	ck_assert_ptr_nonnull(good);
}

TEST(lingering_ends_after_so_many_bytes_or_so_long)
{
	Socket_T server, client;
	int64_t start;
	char byte;

	tcp_pair(&server, &client, 300);
	ck_assert_int_eq(socket__wait(server, 0, 1000), 1);
	socket__linger(server, 200, 5000);
	ck_assert_uint_eq(Socket_recv(server, &byte, 1), 1);
	ck_assert_uint_eq(Socket_recv(client, &byte, 1), 0);
	start = socket__now_ms();
	socket__linger(server, 1000, 40);
	ck_assert_int_ge(took_since(start), 39);
	ck_assert_int_lt(took_since(start), 2000);
	socket__linger(server, 1000, -1);
	Socket_close(&client);
	socket__linger(server, 1000, -1);
	Socket_close(&server);
}

/* ---- an owner that ends the thread ---- */

static void leave_by_exit(Socket_T closing, void *owner)
{
	(void)closing;
	if (++*(int *)owner == 1)
		pthread_exit(NULL);
}

static Socket_T adopt_owned(int *calls, int *other)
{
	int fd[2];
	Socket_T s;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	s = Socket_adopt(fd[0]);
	socket__set_owner(s, calls, leave_by_exit);
	*other = fd[1];
	return s;
}

static void *close_one(void *s)
{
	Socket_T closing = s;

	Socket_close(&closing);
	return s;
}

/* Reads the end of the stream. */
static void ck_closed(int other)
{
	char byte;

	ck_assert_int_eq((int)recv(other, &byte, 1, MSG_DONTWAIT), 0);
	close(other);
}

TEST(a_socket_is_closed_even_if_its_owner_ends_the_thread)
{
	int calls = 0, other;
	Socket_T s = adopt_owned(&calls, &other);
	pthread_t thread;
	void *result;

	ck_assert_int_eq(pthread_create(&thread, NULL, close_one, s), 0);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_null(result);
	ck_assert_int_eq(calls, 1);
	ck_closed(other);
}

static void *dispose_loop(void *a)
{
	Arena_T loop_arena = a;

	Arena_dispose(&loop_arena);
	return a;
}

TEST(so_are_all_that_wait_to_be_closed_when_a_poll_is_disposed_of)
{
	Arena_T loop_arena = Arena_new();
	SocketPoll_T loop = SocketPoll_new(loop_arena);
	int i, calls = 0, other[3];
	pthread_t thread;
	void *result;

	for (i = 0; i < 3; i++) {
		Socket_T s = adopt_owned(&calls, &other[i]);

		SocketPoll_add(loop, s, SocketPoll_READ, NULL);
		SocketPoll_close(loop, &s);
	}
	ck_assert_int_eq(pthread_create(&thread, NULL, dispose_loop, loop_arena), 0);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_null(result);
	ck_assert_int_eq(calls, 3);
	for (i = 0; i < 3; i++)
		ck_closed(other[i]);
}

/* ---- a hold-down that ends in the middle of a checkout ---- */

/* Returns the errno of a checkout from a port without a listener. The clocks jump after n of its
 * readings. */
static int error_of_checkout(SocketPool_T pool, const char *port, int n)
{
	volatile int error = 0;

	atomic_store(&readings, 0);
	jump_after = n;
	TRY {
		SocketPool_checkout(pool, "127.0.0.1", port, -1);
	} EXCEPT(SocketPool_Failed) {
		error = Except_errno();
	} EXCEPT(Socket_Failed) {
		error = Except_errno();
	} END_TRY;
	return error;
}

/* Returns a port that is taken, without a listener, until *fd is closed. */
static const char *refusing_port(int *fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof a;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(*fd, (struct sockaddr *)&a, sizeof a), 0);
	ck_assert_int_eq(getsockname(*fd, (struct sockaddr *)&a, &n), 0);
	return Arena_sprintf(arena, "%d", ntohs(a.sin_port));
}

TEST(a_hold_down_that_ends_between_two_looks_at_the_clock_is_no_timeout)
{
	enum { READINGS = 20 };
	SocketPool_Limits limits = { .hold_ms = 5000 };
	SocketPool_Stats stats;
	int fd, n;
	const char *port = refusing_port(&fd);

	for (n = 0; n < READINGS; n++) {
		SocketPool_T pool = SocketPool_new(arena, 2, 64);

		SocketPool_set_limits(pool, &limits);
		jump_seconds = 0;
		ck_assert_int_eq(error_of_checkout(pool, port, 0), ECONNREFUSED);
		jump_seconds = 6;
		ck_assert_int_eq(error_of_checkout(pool, port, n), ECONNREFUSED);
		jump_seconds = 0;
		SocketPool_stats(pool, &stats);
		ck_assert_uint_eq(stats.timed_out, 0);
	}
	close(fd);
}
