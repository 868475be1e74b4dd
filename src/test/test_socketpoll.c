/* SPDX-License-Identifier: MIT */
/* SocketPoll, in the order of its header, once with each back end that is here; the build makes a second program of
 * this, against src/test/bsd, whose best one is kqueue. The sockets are ends of socketpairs. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined __linux__ && HAVE_EPOLL_CREATE1
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#define SECCOMP_HERE 1
#endif

#include <core/SocketPoll.h>
#include "testing.h"

NEEDS(.descriptors = 1100);

enum { MOST = 400, READ = SocketPoll_READ, WRITE = SocketPoll_WRITE, TIMEOUT = SocketPoll_TIMEOUT };

#if HAVE_EPOLL_CREATE1
#define BEST "epoll"
#elif HAVE_KQUEUE
#define BEST "kqueue"
#else
#define BEST "poll"
#endif

static const Except_T Test_Failed = { "test", NULL, NULL };
static const char *backend;
static Arena_T arena;
static SocketPoll_T loop;
static Socket_T sockets[MOST];
static int peers[MOST]; /* the other ends */
static int made;
static SocketPoll_Event events[MOST];

static void set_up(void)
{
	made = 0;
	arena = Arena_new();
	loop = SocketPoll_new_with(arena, backend);
}

static void tear_down(void)
{
	int i;

	Arena_dispose(&arena);
	for (i = 0; i < made; i++) {
		Socket_close(&sockets[i]);
		close(peers[i]);
	}
}

static void set_up_poll(void)
{
	backend = "poll";
	set_up();
}

static void set_up_best(void)
{
	backend = NULL;
	set_up();
}

static Socket_T make_one(void)
{
	int fd[2];

	ck_assert_int_lt(made, MOST);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	peers[made] = fd[1];
	sockets[made] = Socket_adopt(fd[0]);
	return sockets[made++];
}

/* One that is inside, with its number as data. */
static Socket_T add_one(unsigned asked)
{
	Socket_T s = make_one();

	SocketPoll_add(loop, s, asked, &sockets[made - 1]);
	return s;
}

static void send_to(int i)
{
	ck_assert_int_eq((int)write(peers[i], "x", 1), 1);
}

static void eat(Socket_T s)
{
	char byte;

	ck_assert_uint_eq(Socket_recv(s, &byte, 1), 1);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wait_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000 * 1000 };

	while (nanosleep(&t, &t) != 0)
		;
}

/* What the loop says of this socket now, all that it has to say. */
static unsigned told_of(Socket_T s)
{
	unsigned told = 0;
	int i, n = SocketPoll_wait(loop, events, MOST, 0);

	for (i = 0; i < n; i++)
		if (events[i].socket == s)
			told |= events[i].events;
	return told;
}

static void ck_quiet(void)
{
	ck_assert_int_eq(SocketPoll_wait(loop, events, MOST, 0), 0);
}

static void ck_among(Socket_T s, unsigned expected, int most)
{
	ck_assert_int_eq(SocketPoll_wait(loop, events, most, 1000), 1);
	ck_assert_ptr_eq(events[0].socket, s);
	ck_assert_uint_eq(events[0].events, expected);
}

static void ck_only(Socket_T s, unsigned expected)
{
	ck_among(s, expected, MOST);
}

/* On a busy machine there may be more. */
static void ck_next(Socket_T s, unsigned expected)
{
	ck_among(s, expected, 1);
}

/* ---- new ---- */

SUITE("SocketPoll");
CASE("the best back end", .setup = set_up_best, .teardown = tear_down);
TWIN_CASE("poll", .setup = set_up_poll, .teardown = tear_down);

TEST(the_back_end_is_the_one_asked_for)
{
	if (backend)
		ck_assert_str_eq(SocketPoll_backend(loop), backend);
	else
		ck_assert_str_eq(SocketPoll_backend(loop), BEST);
	ck_raises_saying(SocketPoll_Failed, "no select here", SocketPoll_new_with(arena, "select"));
	ck_assert_uint_eq(SocketPoll_count(SocketPoll_new(arena)), 0);
}

static __attribute__((noinline)) int open_descriptors(void) /* inlined, gcc fears for its n */
{
	int fd, n = 0;

	for (fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST(a_poll_for_which_there_is_no_descriptor_leaves_nothing_open)
{
	struct rlimit limit, few;
	volatile int n;
	int before = open_descriptors(), lowest = dup(0);

	close(lowest);
	getrlimit(RLIMIT_NOFILE, &limit);
	few = limit;
	for (n = lowest; n < lowest + 2; n++) { /* none; one, which the wake-up takes */
		few.rlim_cur = (rlim_t)n;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		TRY {
			SocketPoll_new_with(arena, backend);
		} EXCEPT(SocketPoll_Failed) {
			ck_assert_int_eq(Except_errno(), EMFILE);
			ck_assert_str_eq(Except_message(), "SocketPoll_new: Too many open files");
		} END_TRY;
		setrlimit(RLIMIT_NOFILE, &limit);
		if (backend)
			break; /* with one it works */
		ck_assert_int_eq(open_descriptors(), before);
	}
}

#if SECCOMP_HERE
/* From here on this process may not make the call. */
static int refuse_call(unsigned number, unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* 0: a poll was made, with the back end that is left, and works; 77: there are no filters here. */
static int use_without(unsigned number, unsigned error, const char *left)
{
	int fd[2];
	Socket_T s;
	SocketPoll_T poll;

	if (!refuse_call(number, error))
		return 77;
	poll = SocketPoll_new(arena);
	if (strcmp(SocketPoll_backend(poll), left) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		return 1;
	s = Socket_adopt(fd[0]);
	SocketPoll_add(poll, s, WRITE, NULL);
	if (SocketPoll_wait(poll, events, MOST, 1000) != 1 || events[0].socket != s)
		return 2;
	SocketPoll_remove(poll, s);
	SocketPoll_wake(poll);
	return SocketPoll_wait(poll, events, MOST, 100000) == 0 ? 0 : 3;
}

static void ck_works_without(unsigned number, unsigned error, const char *left)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		alarm(10);
		_exit(use_without(number, error, left));
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 77)
		ck_assert_int_eq(status, 0);
}

TEST(under_a_filter_of_system_calls_it_does_with_those_that_are_left)
{
	ck_works_without(__NR_epoll_create1, EPERM, "poll");
	ck_works_without(__NR_epoll_create1, ENOSYS, "poll");
	ck_works_without(__NR_epoll_ctl, EPERM, "poll");
	ck_works_without(__NR_eventfd2, EPERM, BEST);
	ck_works_without(__NR_eventfd2, ENOSYS, BEST);
}
#endif

/* ---- in and out ---- */

TEST(an_event_tells_what_was_asked_for_and_what_was_added)
{
	Socket_T s = add_one(READ);

	ck_assert_uint_eq(SocketPoll_count(loop), 1);
	ck_quiet();
	send_to(0);
	ck_only(s, READ);
	ck_assert_ptr_eq(events[0].data, &sockets[0]);
	ck_assert_int_eq(SocketPoll_holds(loop, &events[0]), 1);
	SocketPoll_change(loop, s, READ | WRITE, &made);
	ck_assert_uint_eq(told_of(s), READ | WRITE);
	ck_assert_ptr_eq(events[0].data, &made);
	SocketPoll_change(loop, s, WRITE, NULL);
	ck_only(s, WRITE);
	SocketPoll_remove(loop, s);
	ck_quiet();
	ck_assert_uint_eq(SocketPoll_count(loop), 0);
	SocketPoll_add(loop, s, READ, NULL);
	ck_only(s, READ);
}

TEST(what_is_not_dealt_with_is_told_again)
{
	Socket_T s = add_one(READ);

	send_to(0);
	send_to(0);
	ck_only(s, READ);
	ck_only(s, READ);
	eat(s);
	ck_only(s, READ);
	eat(s);
	ck_quiet();
}

TEST(the_end_of_the_stream_and_errors_are_told_as_what_was_asked_for)
{
	Socket_T reader = add_one(READ), writer = add_one(WRITE);
	char byte;

	close(peers[0]);
	close(peers[1]);
	peers[0] = peers[1] = -1;
	ck_assert_uint_eq(told_of(reader), READ);
	ck_assert_uint_eq(told_of(writer), WRITE);
	ck_assert_uint_eq(Socket_recv(reader, &byte, 1), 0);
	ck_raises(Socket_Closed, Socket_send(writer, "x", 1));
}

TEST(a_socket_that_is_asked_for_nothing_is_quiet_even_when_its_peer_is_gone)
{
	Socket_T s = add_one(0);

	send_to(0);
	ck_quiet();
	close(peers[0]);
	peers[0] = -1;
	ck_quiet();
	SocketPoll_change(loop, s, READ, NULL);
	ck_only(s, READ);
	SocketPoll_change(loop, s, 0, NULL);
	ck_quiet();
	ck_assert_uint_eq(SocketPoll_count(loop), 1);
	SocketPoll_remove(loop, s);
}

TEST(adding_twice_is_checked)
{
	SocketPoll_T other = SocketPoll_new(arena);
	Socket_T s = add_one(READ), twin = Socket_adopt(Socket_fd(s));

	ck_raises_saying(Assert_Failed, "in this poll already", SocketPoll_add(loop, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "in another poll already", SocketPoll_add(other, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "another socket's", SocketPoll_add(loop, twin, READ, NULL));
	ck_assert_uint_eq(SocketPoll_count(loop), 1);
	send_to(0);
	ck_only(s, READ);
	SocketPoll_remove(loop, s);
	SocketPoll_add(loop, twin, READ, NULL);
	ck_only(twin, READ);
	SocketPoll_remove(loop, twin);
	Socket_close(&twin); /* and the other one's in the end, when nothing else has it */
}

TEST(a_descriptor_closed_behind_its_sockets_back_is_checked)
{
	Socket_T s = make_one();
	int keep = dup(Socket_fd(s)), fd = Socket_fd(s);

	close(fd);
	ck_raises_saying(Assert_Failed, "behind its socket's back", SocketPoll_add(loop, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "behind its socket's back", SocketPoll_add(loop, s, 0, NULL));
	ck_assert_uint_eq(SocketPoll_count(loop), 0);
	ck_assert_int_eq(dup2(keep, fd), fd);
	close(keep);
	SocketPoll_add(loop, s, READ, NULL);
	send_to(0);
	ck_only(s, READ);
}

TEST(a_socket_that_is_not_inside_is_checked)
{
	Socket_T s = make_one(), none = NULL;
	SocketPoll_T not_one = Arena_calloc(arena, 1, 8192);
	SocketPoll_Timer_T timer = SocketPoll_timer(loop, (void (*)(void *))free, NULL), no_timer = NULL;

	ck_raises_saying(Assert_Failed, "SocketPoll_change: socket", SocketPoll_change(loop, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_remove: socket", SocketPoll_remove(loop, s));
	ck_raises_saying(Assert_Failed, "SocketPoll_set_deadline: socket", SocketPoll_set_deadline(loop, s, 1));
	ck_raises_saying(Assert_Failed, "SocketPoll_add: 0x4", SocketPoll_add(loop, s, TIMEOUT, NULL));
	SocketPoll_add(loop, s, READ, NULL);
	ck_raises_saying(Assert_Failed, "SocketPoll_change: 0x8", SocketPoll_change(loop, s, 8, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_add: the poll is NULL", SocketPoll_add(NULL, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "not a live poll", SocketPoll_add(not_one, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_add: the socket is NULL", SocketPoll_add(loop, NULL, READ, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_change", SocketPoll_change(NULL, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "the socket is NULL", SocketPoll_change(loop, NULL, READ, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_remove", SocketPoll_remove(NULL, s));
	ck_raises_saying(Assert_Failed, "the socket is NULL", SocketPoll_remove(loop, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_close", SocketPoll_close(NULL, &s));
	ck_raises_saying(Assert_Failed, "SocketPoll_close", SocketPoll_close(loop, NULL));
	SocketPoll_close(loop, &none);
	ck_raises_saying(Assert_Failed, "SocketPoll_count", SocketPoll_count(NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_backend", SocketPoll_backend(NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_wait", SocketPoll_wait(NULL, events, 1, 0));
	ck_raises_saying(Assert_Failed, "room for 0 events", SocketPoll_wait(loop, events, 0, 0));
	ck_raises_saying(Assert_Failed, "SocketPoll_wait", SocketPoll_wait(loop, NULL, 1, 0));
	ck_raises_saying(Assert_Failed, "SocketPoll_holds", SocketPoll_holds(loop, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_holds", SocketPoll_holds(NULL, events));
	ck_raises_saying(Assert_Failed, "SocketPoll_wake", SocketPoll_wake(NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_set_deadline", SocketPoll_set_deadline(NULL, s, 1));
	ck_raises_saying(Assert_Failed, "the socket is NULL", SocketPoll_set_deadline(loop, NULL, 1));
	ck_raises_saying(Assert_Failed, "SocketPoll_timer", SocketPoll_timer(NULL, (void (*)(void *))free, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_timer", SocketPoll_timer(loop, NULL, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_set_timer", SocketPoll_set_timer(NULL, timer, 1));
	ck_raises_saying(Assert_Failed, "the timer is NULL", SocketPoll_set_timer(loop, NULL, 1));
	ck_raises_saying(Assert_Failed, "the timer is NULL", SocketPoll_drop_timer(loop, &no_timer));
	ck_raises_saying(Assert_Failed, "SocketPoll_drop_timer", SocketPoll_drop_timer(loop, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_drop_timer", SocketPoll_drop_timer(NULL, &timer));
	no_timer = timer;
	SocketPoll_drop_timer(loop, &timer);
	ck_assert_ptr_null(timer);
	ck_raises_saying(Assert_Failed, "was dropped", SocketPoll_set_timer(loop, no_timer, 1));
	ck_raises_saying(Assert_Failed, "was dropped", SocketPoll_drop_timer(loop, &no_timer));
}

TEST(an_event_is_never_that_of_another_socket_with_the_same_descriptor)
{
	Socket_T a = add_one(READ), b = add_one(READ);
	SocketPoll_Event first, held;
	int fd[2], i;

	for (i = 0; i < 50; i++) {
		send_to(0);
		ck_assert_int_eq(write(peers[1], "y", 1), 1);
		ck_assert_int_eq(SocketPoll_wait(loop, &first, 1, 1000), 1);
		held = first;
		if (first.socket == a) { /* let it be the other one that goes away */
			ck_assert_int_eq(SocketPoll_holds(loop, &held), 1);
			fd[0] = Socket_fd(b);
			Socket_close(&b);
			close(peers[1]);
			ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
			peers[1] = fd[1];
			sockets[1] = b = Socket_adopt(fd[0]);
			SocketPoll_add(loop, b, READ, NULL);
			ck_assert_int_eq(SocketPoll_holds(loop, &held), 1);
		} else {
			Socket_close(&b);
			close(peers[1]);
			ck_assert_int_eq(SocketPoll_holds(loop, &held), 0);
			ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
			peers[1] = fd[1];
			sockets[1] = b = Socket_adopt(fd[0]);
			SocketPoll_add(loop, b, READ, NULL);
			ck_assert_int_eq(SocketPoll_holds(loop, &held), 0);
		}
		eat(a);
		while (SocketPoll_wait(loop, &first, 1, 0))
			ck_assert_ptr_ne(first.socket, b);
	}
}

TEST(what_leaves_or_is_not_asked_for_any_more_is_not_told_of_within_the_tick)
{
	int i;

	for (i = 0; i < 6; i++)
		add_one(READ | WRITE);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 0), 1);
	for (i = 0; i < 6; i++)
		if (sockets[i] != events[0].socket) {
			if (i % 2)
				SocketPoll_remove(loop, sockets[i]);
			else
				SocketPoll_change(loop, sockets[i], READ, NULL);
		}
	SocketPoll_change(loop, events[0].socket, 0, NULL);
	ck_quiet();
}

static int peer_reads_the_end(int i)
{
	char byte;

	return recv(peers[i], &byte, 1, MSG_DONTWAIT) == 0;
}

TEST(a_close_is_put_off_until_the_events_of_the_tick_are_given_out)
{
	Socket_T s;
	int fd;
	volatile int i;

	for (i = 0; i < 4; i++)
		add_one(WRITE);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 2, 0), 2); /* two more are to come */
	i = (int)((Socket_T *)events[1].data - sockets);
	fd = Socket_fd(sockets[i]);
	SocketPoll_close(loop, &sockets[i]);
	ck_assert_ptr_null(sockets[i]);
	ck_assert_uint_eq(SocketPoll_count(loop), 3);
	ck_assert_int_eq(SocketPoll_holds(loop, &events[1]), 0);
	ck_assert_int_eq(Socket_fd(events[1].socket), fd); /* does not dangle */
	ck_raises_saying(Assert_Failed, "not in the poll", SocketPoll_change(loop, events[1].socket, READ, NULL));
	ck_assert_int_eq(peer_reads_the_end(i), 0);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 4, 0), 2);
	ck_assert_int_eq(peer_reads_the_end(i), 0);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 4, 0), 3);
	ck_assert_int_eq(peer_reads_the_end(i), 1);
	s = make_one();
	ck_assert_int_eq(Socket_fd(s), fd);
	SocketPoll_add(loop, s, WRITE, NULL);
	SocketPoll_close(loop, &sockets[4]);
}

TEST(close_closes_a_socket_that_is_not_inside_at_once)
{
	make_one();
	SocketPoll_close(loop, &sockets[0]);
	ck_assert_ptr_null(sockets[0]);
	ck_assert_int_eq(peer_reads_the_end(0), 1);
}

/* As a pool does with those inside that it evicts. */
TEST(what_is_closed_before_the_tick_ends_is_not_closed_again)
{
	Socket_T closing[4], s;
	int i;

	for (i = 0; i < 4; i++) {
		closing[i] = add_one(WRITE);
		SocketPoll_close(loop, &sockets[i]);
	}
	ck_raises_saying(Assert_Failed, "in this poll already", SocketPoll_add(loop, closing[3], READ, NULL));
	Socket_close(&closing[3]);
	Socket_close(&closing[1]);
	SocketPoll_close(loop, &closing[0]);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(peer_reads_the_end(i), i != 2);
	s = add_one(WRITE); /* with a descriptor that was among them */
	ck_only(s, WRITE);
	ck_assert_int_eq(peer_reads_the_end(2), 1);
	ck_assert_int_eq(peer_reads_the_end(4), 0);
	ck_assert_uint_eq(SocketPoll_count(loop), 1);
}

TEST(disposing_closes_what_was_to_be_closed_and_lets_the_others_go)
{
	Socket_T s = add_one(READ);

	add_one(READ);
	SocketPoll_close(loop, &sockets[1]);
	Arena_dispose(&arena);
	ck_assert_int_eq(peer_reads_the_end(1), 1);
	ck_assert_int_eq(peer_reads_the_end(0), 0);
	arena = Arena_new();
	loop = SocketPoll_new_with(arena, backend);
	SocketPoll_add(loop, s, READ, NULL);
	send_to(0);
	ck_only(s, READ);
}

/* ---- wait ---- */

TEST(wait_lasts_as_long_as_it_may)
{
	int64_t start = now_ms();

	add_one(READ);
	ck_quiet();
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 40), 0);
	ck_assert_int_ge(now_ms() - start, 39);
	ck_assert_int_lt(now_ms() - start, 2000);
}

static void on_alarm(int number)
{
	(void)number;
}

static void start_alarms(int ms, void (*handler)(int))
{
	struct sigaction action = { 0 };
	struct itimerval timer = { { 0, 0 }, { 0, 0 } };

	action.sa_handler = handler;
	sigaction(SIGALRM, &action, NULL);
	timer.it_interval.tv_usec = timer.it_value.tv_usec = ms * 1000;
	setitimer(ITIMER_REAL, &timer, NULL);
}

TEST(signals_neither_end_nor_lengthen_it)
{
	int64_t start = now_ms();

	start_alarms(5, on_alarm);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 60), 0);
	start_alarms(0, on_alarm);
	ck_assert_int_ge(now_ms() - start, 59);
	ck_assert_int_lt(now_ms() - start, 2000);
}

TEST(signals_do_not_shorten_it_by_less_than_a_millisecond_either)
{
	struct timespec start, end;
	int i;

	start_alarms(1, on_alarm);
	for (i = 0; i < 50; i++) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 3), 0);
		clock_gettime(CLOCK_MONOTONIC, &end);
		ck_assert_int_ge((end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec, 3000000);
	}
	start_alarms(0, on_alarm);
}

TEST(more_sockets_than_a_batch_are_all_told_of)
{
	int i, n, seen[MOST] = { 0 }, all = 0;

	for (i = 0; i < MOST; i++)
		add_one(WRITE);
	for (i = 0; i < 1000 && all < MOST; i++) {
		int k;

		n = SocketPoll_wait(loop, events, 7, 0);
		ck_assert_int_gt(n, 0);
		ck_assert_int_le(n, 7);
		for (k = 0; k < n; k++)
			all += seen[(Socket_T *)events[k].data - sockets]++ == 0;
	}
	ck_assert_int_eq(all, MOST);
	ck_assert_int_lt(i, 2 * MOST / 7 + 80); /* about two rounds */
}

/* One step of the model: what the loop tells must be what poll(2) says of those inside. */
static void ck_as_poll(const unsigned *asked, int n)
{
	unsigned told[MOST] = { 0 };
	int i, count = SocketPoll_wait(loop, events, MOST, 0);

	while (count > 0) {
		for (i = 0; i < count; i++)
			told[(Socket_T *)events[i].data - sockets] |= events[i].events;
		count = count == MOST ? SocketPoll_wait(loop, events, MOST, 0) : 0;
	}
	for (i = 0; i < n; i++) {
		struct pollfd p = { Socket_fd(sockets[i]), (short)(POLLIN | POLLOUT), 0 };
		unsigned ready = 0;

		poll(&p, 1, 0);
		if (p.revents & ~POLLOUT)
			ready |= READ;
		if (p.revents & ~POLLIN)
			ready |= WRITE;
		ck_assert_uint_eq(told[i], asked[i] == 8 ? 0 : ready & asked[i]);
	}
}

static void renew(int i)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	close(peers[i]);
	peers[i] = fd[1];
	sockets[i] = Socket_adopt(fd[0]);
}

TEST(at_random_it_tells_what_poll_tells)
{
	enum { N = 24 };
	unsigned asked[N], random = 12345; /* 8: not inside */
	char byte;
	int i, step;

	for (i = 0; i < N; i++) {
		make_one();
		asked[i] = 8;
	}
	for (step = 0; step < 3000; step++) {
		random = random * 1103515245u + 12345u;
		i = (int)(random >> 16) % N;
		switch (random >> 8 & 7) {
		case 0: case 1:
			if (asked[i] == 8)
				SocketPoll_add(loop, sockets[i], asked[i] = random >> 4 & 3, &sockets[i]);
			break;
		case 2:
			if (asked[i] != 8)
				SocketPoll_change(loop, sockets[i], asked[i] = random >> 4 & 3, &sockets[i]);
			break;
		case 3:
			if (asked[i] != 8)
				SocketPoll_remove(loop, sockets[i]);
			asked[i] = 8;
			break;
		case 4:
			if (random & 16)
				SocketPoll_close(loop, &sockets[i]);
			else
				Socket_close(&sockets[i]);
			renew(i);
			asked[i] = 8;
			break;
		case 5:
			ck_assert_int_eq((int)write(peers[i], "x", 1), 1);
			break;
		case 6:
			recv(Socket_fd(sockets[i]), &byte, 1, MSG_DONTWAIT);
			break;
		default:
			if (asked[i] != 8)
				SocketPoll_set_deadline(loop, sockets[i], 1000000);
		}
		ck_as_poll(asked, N);
	}
}

/* ---- wake ---- */

TEST(a_wake_up_ends_this_wait_or_the_next)
{
	errno = EDOM;
	SocketPoll_wake(loop);
	SocketPoll_wake(loop);
	ck_assert_int_eq(errno, EDOM);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	ck_quiet();
	add_one(WRITE);
	SocketPoll_wake(loop);
	ck_only(sockets[0], WRITE);
	SocketPoll_change(loop, sockets[0], READ, NULL);
	SocketPoll_wake(loop);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
}

static void wake_the_loop(int number)
{
	(void)number;
	SocketPoll_wake(loop);
}

TEST(a_signal_handler_may_wake)
{
	start_alarms(20, wake_the_loop);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	start_alarms(0, on_alarm);
}

enum { WAKERS = 4, WAKES = 2000 };

static int posted; /* atomic */

static void *post(void *cl)
{
	int i;

	for (i = 0; i < WAKES; i++) {
		__atomic_add_fetch(&posted, 1, __ATOMIC_RELEASE);
		SocketPoll_wake(loop);
	}
	return cl;
}

TEST(no_wake_up_from_other_threads_is_lost)
{
	pthread_t threads[WAKERS];
	int i, seen = 0;

	posted = 0;
	for (i = 0; i < WAKERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, post, NULL), 0);
	while (seen < WAKERS * WAKES) { /* one lost would hang here */
		SocketPoll_wait(loop, events, 1, -1);
		seen = __atomic_load_n(&posted, __ATOMIC_ACQUIRE);
	}
	for (i = 0; i < WAKERS; i++)
		pthread_join(threads[i], NULL);
}

static int said;       /* not atomic: the wake-up is what orders it, or thread sanitizers complain */
static int was_woken;  /* atomic, and orders nothing */

static void *say_and_wake(void *cl)
{
	said = 1;
	SocketPoll_wake(loop);
	__atomic_store_n(&was_woken, 1, __ATOMIC_RELAXED);
	return cl;
}

TEST(what_was_said_before_a_wake_up_is_seen_after_the_wait_that_it_ended)
{
	pthread_t thread;

	said = was_woken = 0;
	SocketPoll_wake(loop); /* the next one finds that it is said already, and writes nothing */
	ck_assert_int_eq(pthread_create(&thread, NULL, say_and_wake, NULL), 0);
	while (!__atomic_load_n(&was_woken, __ATOMIC_RELAXED))
		wait_ms(1);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	ck_assert_int_eq(said, 1);
	ck_quiet();
	pthread_join(thread, NULL);
}

/* ---- deadlines ---- */

TEST(a_deadline_is_told_once_and_never_early)
{
	Socket_T s = add_one(READ);
	int64_t start = now_ms();

	SocketPoll_set_deadline(loop, s, 200); /* long enough for a busy machine to look before */
	ck_quiet();
	ck_only(s, TIMEOUT);
	ck_assert_int_ge(now_ms() - start, 200);
	ck_assert_ptr_eq(events[0].data, &sockets[0]);
	ck_assert_int_eq(SocketPoll_holds(loop, &events[0]), 1);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 20), 0);
	SocketPoll_set_deadline(loop, s, 0);
	ck_only(s, TIMEOUT);
}

TEST(a_deadline_can_be_moved_both_ways_and_taken_back)
{
	Socket_T a = add_one(READ), b = add_one(0), c = add_one(0), d = add_one(READ);
	int64_t start = now_ms();
	int i;

	SocketPoll_set_deadline(loop, a, 10);
	SocketPoll_set_deadline(loop, b, 100000);
	SocketPoll_set_deadline(loop, c, 5);
	SocketPoll_set_deadline(loop, d, 5);
	for (i = 0; i < 100; i++)
		SocketPoll_set_deadline(loop, a, 10 + i);
	SocketPoll_set_deadline(loop, a, 60);
	SocketPoll_set_deadline(loop, b, 20);
	SocketPoll_set_deadline(loop, c, -1);
	SocketPoll_remove(loop, d);
	ck_next(b, TIMEOUT);
	ck_assert_int_ge(now_ms() - start, 20);
	ck_next(a, TIMEOUT);
	ck_assert_int_ge(now_ms() - start, 60);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 30), 0);
	SocketPoll_set_deadline(loop, c, 1);
	ck_only(c, TIMEOUT);
}

TEST(bytes_that_came_in_time_are_told_before_the_deadline)
{
	Socket_T s = add_one(READ);

	SocketPoll_set_deadline(loop, s, 5);
	send_to(0);
	wait_ms(20); /* a handler that takes long */
	ck_only(s, READ);
	eat(s);
	SocketPoll_set_deadline(loop, s, 10000);
	ck_quiet();
	SocketPoll_set_deadline(loop, s, 5);
	send_to(0);
	wait_ms(20);
	ck_only(s, READ);
	ck_only(s, TIMEOUT); /* nobody moved it */
}

TEST(deadlines_come_in_their_order_and_busy_sockets_do_not_hold_them_up)
{
	int64_t least[60], most[60], last = 0; /* when each is due, as far as the clock tells */
	int i, busy, n = 0;

	for (i = 0; i < 60; i++) {
		int ms = i < 5 ? -1 : (i * 37 % 60) / 2;

		add_one(i < 5 ? WRITE : READ);
		least[i] = now_ms() + ms;
		SocketPoll_set_deadline(loop, sockets[i], ms);
		most[i] = now_ms() + ms + 1;
	}
	for (busy = 0; n < 55 && busy < 1000 * 1000; busy++) {
		int k, count = SocketPoll_wait(loop, events, 3, -1);

		for (k = 0; k < count; k++)
			if (events[k].events == TIMEOUT) {
				i = (int)((Socket_T *)events[k].data - sockets);
				ck_assert_int_ge(most[i], last);
				last = least[i] > last ? least[i] : last;
				n++;
			}
	}
	ck_assert_int_eq(n, 55);
}

/* ---- timers ---- */

static int calls[8], order[8], ncalls;
static SocketPoll_Timer_T timers[8];

static void count_call(void *cl)
{
	order[ncalls++ % 8] = (int)((int *)cl - calls);
	++*(int *)cl;
}

static void make_timers(int n)
{
	int i;

	ncalls = 0;
	memset(calls, 0, sizeof calls);
	for (i = 0; i < n; i++)
		timers[i] = SocketPoll_timer(loop, count_call, &calls[i]);
}

static void ignore(void *cl)
{
	(void)cl;
}

/* ns, of the fastest of many. */
static int64_t time_of_a_wait(void)
{
	int64_t least = INT64_MAX;
	int i;

	for (i = 0; i < 200; i++) {
		struct timespec start, end;
		int64_t took;

		clock_gettime(CLOCK_MONOTONIC, &start);
		ck_quiet();
		clock_gettime(CLOCK_MONOTONIC, &end);
		took = (int64_t)(end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec;
		least = took < least ? took : least;
	}
	return least;
}

/* To look at each of them would take twenty times as long as to ask the kernel. */
TEST(a_wait_costs_the_same_however_many_deadlines_there_are)
{
	int64_t alone = time_of_a_wait();
	int i;

	for (i = 0; i < 50000; i++)
		SocketPoll_set_timer(loop, SocketPoll_timer(loop, ignore, NULL), 1000000 + i % 1000);
	ck_assert_int_le(time_of_a_wait(), 4 * alone + 1000);
}

TEST(timers_run_in_their_order_once_for_each_time_they_are_set)
{
	int64_t start = now_ms();

	make_timers(4);
	ck_quiet();
	SocketPoll_set_timer(loop, timers[0], 300);
	SocketPoll_set_timer(loop, timers[1], 100);
	SocketPoll_set_timer(loop, timers[2], 200);
	SocketPoll_set_timer(loop, timers[3], 50);
	SocketPoll_set_timer(loop, timers[3], -1);
	while (ncalls < 3)
		ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	ck_assert_int_ge(now_ms() - start, 300);
	ck_assert_int_eq(order[0] * 100 + order[1] * 10 + order[2], 120);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 20), 0);
	ck_assert_int_eq(ncalls, 3);
	SocketPoll_set_timer(loop, timers[0], 0);
	SocketPoll_wait(loop, events, 1, -1);
	ck_assert_int_eq(calls[0], 2);
}

static void again(void *cl)
{
	count_call(cl);
	SocketPoll_set_timer(loop, timers[0], 0);
}

TEST(a_timer_that_sets_itself_does_not_hold_up_the_loop)
{
	Socket_T s = add_one(WRITE);
	int n = 0;

	make_timers(0);
	timers[0] = SocketPoll_timer(loop, again, &calls[0]);
	SocketPoll_set_timer(loop, timers[0], 0);
	while (calls[0] < 20)
		n += SocketPoll_wait(loop, events, 1, -1);
	ck_assert_int_ge(n, 5);
	ck_assert_uint_eq(events[0].events, WRITE);
	SocketPoll_remove(loop, s);
}

static void do_everything(void *cl)
{
	Socket_T s;

	count_call(cl);
	SocketPoll_drop_timer(loop, &timers[0]);
	timers[0] = SocketPoll_timer(loop, count_call, &calls[0]);
	SocketPoll_drop_timer(loop, &timers[1]);
	SocketPoll_set_timer(loop, timers[0], 0);
	SocketPoll_close(loop, &sockets[0]);
	Socket_close(&sockets[1]);
	s = add_one(WRITE);
	while (SocketPoll_wait(loop, events, 1, 0) == 0) /* the others' turn, perhaps */
		;
	ck_assert_ptr_eq(events[0].socket, s);
	SocketPoll_wake(loop);
	RAISE(Test_Failed);
}

TEST(a_timer_may_call_anything_and_raise)
{
	make_timers(3);
	SocketPoll_drop_timer(loop, &timers[0]);
	timers[0] = SocketPoll_timer(loop, do_everything, &calls[3]);
	add_one(READ);
	add_one(READ);
	SocketPoll_set_timer(loop, timers[0], 0);
	SocketPoll_set_timer(loop, timers[1], 1);
	SocketPoll_set_timer(loop, timers[2], 2);
	wait_ms(10);
	ck_raises(Test_Failed, SocketPoll_wait(loop, events, 1, -1));
	SocketPoll_remove(loop, sockets[2]);
	while (calls[0] + calls[2] < 2)
		ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 1000), 0);
	ck_assert_int_eq(calls[3], 1);
	ck_assert_int_eq(calls[1], 0);
	ck_assert_uint_eq(SocketPoll_count(loop), 0);
	ck_assert_int_eq(peer_reads_the_end(0) + peer_reads_the_end(1), 2);
}

TEST(dropped_timers_are_used_again)
{
	size_t used = 0;
	int i;

	make_timers(0);
	for (i = 0; i < 1000; i++) {
		SocketPoll_Timer_T t = SocketPoll_timer(loop, count_call, &calls[0]);

		SocketPoll_set_timer(loop, t, 1000);
		SocketPoll_drop_timer(loop, &t);
		if (i == 0)
			used = Arena_used(arena);
	}
	ck_assert_uint_eq(Arena_used(arena), used);
}

TEST(a_call_that_succeeds_leaves_errno_alone)
{
	Socket_T s = make_one();

	errno = EDOM;
	SocketPoll_new_with(arena, backend);
	SocketPoll_add(loop, s, READ, NULL);
	SocketPoll_change(loop, s, READ | WRITE, NULL);
	SocketPoll_change(loop, s, READ, NULL);
	SocketPoll_wake(loop);
	SocketPoll_wait(loop, events, MOST, 0);
	start_alarms(1, on_alarm);
	SocketPoll_wait(loop, events, MOST, 20); /* its socket has nothing */
	start_alarms(0, on_alarm);
	SocketPoll_set_deadline(loop, s, 0);
	SocketPoll_wait(loop, events, MOST, 1000);
	SocketPoll_close(loop, &sockets[0]);
	SocketPoll_wait(loop, events, MOST, 0);
	ck_assert_int_eq(errno, EDOM);
}

static void count_turn(void *turns)
{
	++*(int *)turns;
}

TEST(a_repeated_timer_does_not_drift_and_skips_the_turns_that_it_missed)
{
	int turns = 0;
	SocketPoll_Timer_T t = SocketPoll_timer(loop, count_turn, &turns);
	int64_t start = now_ms();

	SocketPoll_repeat_timer(loop, t, 10);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	ck_assert_int_eq(turns, 1);
	ck_assert_int_ge(now_ms() - start, 10);
	wait_ms(45); /* some four turns */
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 0), 0);
	ck_assert_int_eq(turns, 2);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	ck_assert_int_eq(turns, 3);
	while (turns < 20) {
		wait_ms(turns % 3); /* a loop that is late now and then */
		SocketPoll_wait(loop, events, 1, -1);
	}
	ck_assert_int_ge(now_ms() - start, 200);
	SocketPoll_repeat_timer(loop, t, -1);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 30), 0);
	ck_assert_int_eq(turns, 20);
	SocketPoll_repeat_timer(loop, t, 5);
	SocketPoll_set_timer(loop, t, 5); /* once more */
	SocketPoll_wait(loop, events, 1, 20);
	SocketPoll_wait(loop, events, 1, 20);
	ck_assert_int_eq(turns, 21);
	SocketPoll_drop_timer(loop, &t);
	ck_raises_saying(Assert_Failed, "the timer is NULL", SocketPoll_repeat_timer(loop, t, 1));
}

static void raise_then_go_on(void *cl)
{
	if (++*(int *)cl == 2)
		RAISE(Test_Failed);
}

TEST(a_repeated_timer_that_raises_goes_on)
{
	int turns = 0;
	SocketPoll_Timer_T t = SocketPoll_timer(loop, raise_then_go_on, &turns);

	SocketPoll_repeat_timer(loop, t, 0); /* each tick, a millisecond apart at least */
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	ck_raises(Test_Failed, SocketPoll_wait(loop, events, 1, -1));
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	ck_assert_int_eq(turns, 3);
	SocketPoll_drop_timer(loop, &t);
	ck_assert_int_eq(SocketPoll_next_ms(loop), -1);
}

TEST(a_loop_that_is_late_takes_no_more_turns_than_have_passed)
{
	int turns = 0;
	SocketPoll_Timer_T t = SocketPoll_timer(loop, count_turn, &turns);
	int64_t start = now_ms();

	SocketPoll_repeat_timer(loop, t, 5);
	while (now_ms() - start < 100) {
		wait_ms(3);
		SocketPoll_wait(loop, events, 1, 0);
	}
	ck_assert_int_le(turns, (int)(now_ms() - start) / 5);
	ck_assert_int_ge(turns, 1);
	SocketPoll_drop_timer(loop, &t);
}

/* ---- descriptors that are no sockets of ours ---- */

static int attempt(void (*step)(void *), void *cl)
{
	volatile int works = 0;

	TRY {
		step(cl);
		works = 1;
	} EXCEPT(Arena_Failed) {
	} END_TRY;
	return works;
}

static SocketPoll_T scarce;

static void make_scarce(void *a)
{
	scarce = SocketPoll_new_with(a, backend);
}

static void ck_event(int fd, unsigned expected, const void *data)
{
	ck_assert_int_eq(SocketPoll_wait(loop, events, MOST, 1000), 1);
	ck_assert_ptr_null(events[0].socket);
	ck_assert_int_eq(events[0].descriptor, fd);
	ck_assert_uint_eq(events[0].events, expected);
	ck_assert_ptr_eq(events[0].data, data);
	ck_assert_int_eq(SocketPoll_holds(loop, &events[0]), 1);
}

static void make_pipe(int fd[2])
{
	ck_assert_int_eq(pipe(fd), 0);
}

static void close_pipe(int fd[2])
{
	close(fd[0]);
	close(fd[1]);
}

static void put_byte(int fd)
{
	ck_assert_int_eq((int)write(fd, "x", 1), 1);
}

TEST(a_watched_descriptor_is_told_of_as_a_socket_is)
{
	int fd[2], one, two;
	char byte;

	make_pipe(fd);
	SocketPoll_watch(loop, fd[0], READ, &one);
	SocketPoll_watch(loop, fd[1], 0, &two);
	ck_assert_uint_eq(SocketPoll_count(loop), 2);
	ck_quiet();
	put_byte(fd[1]);
	ck_event(fd[0], READ, &one);
	ck_event(fd[0], READ, &one);
	ck_assert_int_eq((int)read(fd[0], &byte, 1), 1);
	ck_quiet();
	SocketPoll_watch(loop, fd[1], WRITE, &one);
	ck_event(fd[1], WRITE, &one);
	SocketPoll_watch(loop, fd[1], WRITE, &two);
	ck_event(fd[1], WRITE, &two);
	SocketPoll_watch(loop, fd[1], 0, &two);
	ck_quiet();
	SocketPoll_watch(loop, fd[1], WRITE, &two);
	SocketPoll_unwatch(loop, fd[1]);
	SocketPoll_unwatch(loop, fd[1]);
	ck_quiet();
	ck_assert_uint_eq(SocketPoll_count(loop), 1);
	SocketPoll_unwatch(loop, fd[0]);
	SocketPoll_unwatch(loop, -1);
	SocketPoll_unwatch(loop, 1 << 20);
	ck_assert_uint_eq(SocketPoll_count(loop), 0);
	close_pipe(fd);
}

TEST(hang_ups_and_errors_come_as_what_was_asked_for)
{
	int fd[2];

	make_pipe(fd);
	SocketPoll_watch(loop, fd[0], READ, NULL);
	close(fd[1]);
	ck_event(fd[0], READ, NULL);
	SocketPoll_watch(loop, fd[0], 0, NULL);
	ck_quiet();
	SocketPoll_unwatch(loop, fd[0]);
	close(fd[0]);
	make_pipe(fd);
	SocketPoll_watch(loop, fd[1], WRITE, NULL);
	close(fd[0]);
	ck_event(fd[1], WRITE, NULL);
	SocketPoll_unwatch(loop, fd[1]);
	close(fd[1]);
}

TEST(an_event_from_before_the_last_watch_is_not_given)
{
	int a[2], b[2], one, two;

	make_pipe(a);
	make_pipe(b);
	SocketPoll_watch(loop, a[0], READ, &one);
	SocketPoll_watch(loop, b[0], READ, &one);
	put_byte(a[1]);
	put_byte(b[1]);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 1000), 1); /* the other is in hand */
	if (events[0].descriptor == a[0])
		SocketPoll_watch(loop, b[0], READ, &two);
	else
		SocketPoll_watch(loop, a[0], READ, &two);
	SocketPoll_unwatch(loop, events[0].descriptor);
	ck_assert_int_eq(SocketPoll_holds(loop, &events[0]), 0);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 1000), 1);
	ck_assert_ptr_eq(events[0].data, &two);
	SocketPoll_unwatch(loop, events[0].descriptor);
	close_pipe(a);
	close_pipe(b);
}

/* A library that closes its descriptors as it likes. */
TEST(a_number_that_was_closed_and_opened_anew_is_watched_anew)
{
	int a[2], b[2], one, two;
	unsigned from, to;

	for (from = 0; from <= (READ | WRITE); from++)
		for (to = 0; to <= (READ | WRITE); to++) {
			ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
			ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
			SocketPoll_watch(loop, a[0], from, &one);
			ck_assert_int_eq(dup2(b[0], a[0]), a[0]);
			SocketPoll_watch(loop, a[0], to, &two);
			ck_assert_uint_eq(SocketPoll_count(loop), 1);
			if (to & WRITE)
				ck_event(a[0], WRITE, &two);
			else
				ck_quiet();
			put_byte(b[1]);
			if (to == READ)
				ck_event(a[0], READ, &two);
			close(a[0]);
			ck_assert_int_eq(dup2(b[0], a[0]), a[0]);
			SocketPoll_unwatch(loop, a[0]);
			ck_quiet();
			close_pipe(a);
			close_pipe(b);
		}
}

static void ck_not_watched(int fd, int error)
{
	volatile int raised = 0;
	volatile unsigned asked;

	for (asked = 0; asked <= (READ | WRITE); asked++)
		TRY {
			SocketPoll_watch(loop, fd, asked, NULL);
		} EXCEPT(SocketPoll_Failed) {
			ck_assert_int_eq(Except_errno(), error);
			raised++;
		} END_TRY;
	ck_assert_int_eq(raised, 4);
	ck_assert_uint_eq(SocketPoll_count(loop), 0);
}

TEST(a_regular_file_or_no_descriptor_at_all_is_not_watched_by_any_back_end)
{
	char name[] = "/tmp/test_socketpoll.XXXXXX";
	int file = mkstemp(name), closed = dup(file), fd[2];

	close(closed);
	ck_not_watched(file, EPERM);
	ck_not_watched(closed, EBADF);
	ck_not_watched(-1, EBADF);
	make_pipe(fd);
	SocketPoll_watch(loop, fd[0], READ, NULL);
	ck_assert_int_eq(dup2(file, fd[0]), fd[0]);
	ck_raises_saying(SocketPoll_Failed, "SocketPoll_watch: descriptor", SocketPoll_watch(loop, fd[0], READ, NULL));
	ck_assert_uint_eq(SocketPoll_count(loop), 0);
	ck_quiet();
	close_pipe(fd);
	close(file);
	unlink(name);
}

TEST(a_descriptor_is_a_sockets_or_watched_never_both)
{
	Socket_T s = add_one(READ);
	int fd = Socket_fd(s);

	ck_raises_saying(Assert_Failed, "that of a socket", SocketPoll_watch(loop, fd, READ, NULL));
	SocketPoll_unwatch(loop, fd); /* is not watched */
	ck_assert_uint_eq(SocketPoll_count(loop), 1);
	SocketPoll_remove(loop, s);
	SocketPoll_watch(loop, fd, READ, &fd);
	ck_raises_saying(Assert_Failed, "and watched", SocketPoll_add(loop, s, READ, NULL));
	send_to(0);
	ck_event(fd, READ, &fd);
	SocketPoll_unwatch(loop, fd);
	SocketPoll_add(loop, s, READ, NULL);
	ck_only(s, READ);
	ck_raises_saying(Assert_Failed, "0x4 is not made of", SocketPoll_watch(loop, peers[0], TIMEOUT, NULL));
	ck_raises_saying(Assert_Failed, "the poll is NULL", SocketPoll_watch(NULL, peers[0], READ, NULL));
	ck_raises_saying(Assert_Failed, "the poll is NULL", SocketPoll_unwatch(NULL, peers[0]));
	SocketPoll_close(loop, &sockets[0]); /* its number is its own until the tick ends */
	ck_raises_saying(Assert_Failed, "that of a socket", SocketPoll_watch(loop, fd, READ, NULL));
}

static void watch_scarce(void *fd)
{
	SocketPoll_watch(scarce, *(int *)fd, READ | WRITE, NULL);
}

TEST(without_memory_nothing_is_watched)
{
	int n, works = 0;

	for (n = 0; !works; n++) {
		struct Failing f = { -1, 0, 0, 0 };
		Arena_T a = failing_arena(&f);
		int fd[2];

		make_pipe(fd);
		make_scarce(a);
		f.fail_at = n;
		works = attempt(watch_scarce, &fd[1]);
		f.fail_at = -1;
		ck_assert_uint_eq(SocketPoll_count(scarce), (size_t)works);
		ck_assert_int_eq(SocketPoll_wait(scarce, events, 1, 0), works);
		Arena_dispose(&a);
		close_pipe(fd);
	}
	ck_assert_int_gt(n, 1);
}

/* ---- in another loop ---- */

static int can_be_read(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, 0);
}

TEST(a_poll_can_be_waited_for_in_another_loop)
{
	int fd = SocketPoll_fd(loop);
	Socket_T s = add_one(READ);

	if (backend) {
		ck_assert_int_eq(fd, -1);
		return;
	}
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(can_be_read(fd), 0);
	send_to(0);
	ck_assert_int_eq(can_be_read(fd), 1);
	eat(s);
	ck_quiet();
	ck_assert_int_eq(can_be_read(fd), 0);
	SocketPoll_wake(loop);
	ck_assert_int_eq(can_be_read(fd), 1);
	ck_quiet();
	ck_assert_int_eq(can_be_read(fd), 0);
	ck_raises_saying(Assert_Failed, "the poll is NULL", SocketPoll_fd(NULL));
}

TEST(next_ms_tells_until_something_timed_is_due)
{
	int turns = 0;
	SocketPoll_Timer_T t = SocketPoll_timer(loop, count_turn, &turns);
	Socket_T a = add_one(READ), b = add_one(READ);

	ck_assert_int_eq(SocketPoll_next_ms(loop), -1);
	SocketPoll_set_timer(loop, t, 1000);
	ck_assert_int_le(SocketPoll_next_ms(loop), 1001);
	ck_assert_int_ge(SocketPoll_next_ms(loop), 500);
	SocketPoll_set_deadline(loop, a, 100);
	ck_assert_int_le(SocketPoll_next_ms(loop), 101);
	SocketPoll_set_deadline(loop, a, -1);
	ck_assert_int_ge(SocketPoll_next_ms(loop), 500);
	SocketPoll_set_timer(loop, t, 0);
	wait_ms(2);
	ck_assert_int_eq(SocketPoll_next_ms(loop), 0);
	ck_quiet();
	ck_assert_int_eq(turns, 1);
	ck_assert_int_eq(SocketPoll_next_ms(loop), -1);
	SocketPoll_wake(loop);
	ck_assert_int_eq(SocketPoll_next_ms(loop), 0);
	ck_quiet();
	ck_assert_int_eq(SocketPoll_next_ms(loop), -1);
	send_to(0);
	send_to(1);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 1000), 1);
	ck_assert_int_eq(SocketPoll_next_ms(loop), 0); /* the other event */
	eat(a);
	eat(b);
	SocketPoll_wait(loop, events, 1, 0);
	SocketPoll_close(loop, &sockets[0]);
	ck_assert_int_eq(SocketPoll_next_ms(loop), 0); /* the close */
	ck_quiet();
	ck_assert_int_eq(SocketPoll_next_ms(loop), -1);
	ck_raises_saying(Assert_Failed, "the poll is NULL", SocketPoll_next_ms(NULL));
}

/* ---- out of memory, and other processes ---- */

static void add_scarce(void *s)
{
	SocketPoll_add(scarce, s, READ | WRITE, s);
}

static void timer_scarce(void *cl)
{
	SocketPoll_timer(scarce, count_call, cl);
}

TEST(a_poll_that_cannot_be_made_leaves_nothing_behind)
{
	int before = open_descriptors(), n, works = 0;

	for (n = 0; !works; n++) {
		struct Failing f = { -1, 0, 0, 0 };
		Arena_T a = failing_arena(&f);

		f.fail_at = n;
		works = attempt(make_scarce, a);
		if (!works)
			ck_assert_int_eq(open_descriptors(), before);
		Arena_dispose(&a);
		ck_assert_uint_eq(f.outstanding_blocks, 0);
		ck_assert_int_eq(open_descriptors(), before);
	}
	ck_assert_int_gt(n, 1);
}

TEST(without_memory_adding_and_timers_change_nothing)
{
	struct Failing f = { -1, 0, 0, 0 };
	Arena_T a = failing_arena(&f);
	int i, k, failed = 0;

	make_scarce(a);
	for (i = 0; i < 300; i++) {
		Socket_T s = make_one();

		for (f.fail_at = 0; !attempt(add_scarce, s); f.fail_at = failed % 3) {
			failed++;
			f.fail_at = -1;
			ck_assert_uint_eq(SocketPoll_count(scarce), (size_t)i);
			ck_assert_int_eq(SocketPoll_wait(scarce, events, MOST, 0) > 0, i > 0);
			ck_raises(Assert_Failed, SocketPoll_remove(scarce, s));
		}
		for (k = 0; k < 4; k++)
			for (f.fail_at = 0; !attempt(timer_scarce, s); f.fail_at = failed % 3)
				failed++;
		f.fail_at = -1;
		SocketPoll_set_deadline(scarce, s, 100000);
	}
	ck_assert_int_gt(failed, 5);
	for (i = 0; i < 300; i++)
		if (i % 2)
			Socket_close(&sockets[i]);
		else
			SocketPoll_remove(scarce, sockets[i]);
	ck_assert_int_eq(SocketPoll_wait(scarce, events, MOST, 0), 0);
	Arena_dispose(&a);
	ck_assert_uint_eq(f.outstanding_blocks, 0);
}

static int child_closes_everything(void)
{
	volatile int checked = 0;
	int i;

	TRY {
		SocketPoll_wait(loop, events, 1, 0);
	} EXCEPT(Assert_Failed) {
		checked = strstr(Except_message(), "is that of process") != NULL;
	} END_TRY;
	for (i = 0; i < made; i++)
		Socket_close(&sockets[i]);
	Arena_dispose(&arena);
	return checked ? 0 : 1;
}

TEST(a_child_that_closes_everything_takes_nothing_from_its_parent)
{
	Socket_T s = add_one(READ);
	pid_t child;
	int status;

	add_one(WRITE);
	child = fork();
	if (child == 0)
		_exit(child_closes_everything());
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	send_to(0);
	ck_assert_uint_eq(told_of(s), READ);
	ck_assert_uint_eq(told_of(sockets[1]), WRITE);
}
