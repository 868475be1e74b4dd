/* SPDX-License-Identifier: MIT */
/* SocketPoll, in the order of its header, with each back end of this machine: new, events, wait,
 * wake, deadlines. The build makes a second program with src/test/bsd, whose best back end is
 * kqueue. */
#include "config.h"

#include "test_socketpoll.h"

NEEDS(.descriptors = 1100);

#if HAVE_EPOLL_CREATE1
#define BEST "epoll"
#elif HAVE_KQUEUE
#define BEST "kqueue"
#else
#define BEST "poll"
#endif

/* On a busy machine it may take several waits. */
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
	ck_raises_saying(SocketPoll_Failed, "no back end \"select\" on this system",
		SocketPoll_new_with(arena, "select"));
	ck_assert_uint_eq(SocketPoll_count(SocketPoll_new(arena)), 0);
}

TEST(a_poll_for_which_there_is_no_descriptor_leaves_nothing_open)
{
	struct rlimit limit, few;
	volatile int n;
	int before = count_descriptors(), lowest = dup(0);

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
			break; /* it works with one */
		ck_assert_int_eq(count_descriptors(), before);
	}
}

#if SECCOMP_HERE
/* From here on the kernel refuses this call of the process. */
static int refuse_call(unsigned number, unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
		&& prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Returns 0 if a poll was made with the back end that is left, and works; 77 if the kernel has
 * no filters. */
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

TEST(an_event_has_the_conditions_that_were_asked_for_and_the_data)
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

TEST(an_event_that_is_not_handled_is_reported_again)
{
	Socket_T s = add_one(READ);

	send_to(0);
	send_to(0);
	ck_only(s, READ);
	ck_only(s, READ);
	receive_byte(s);
	ck_only(s, READ);
	receive_byte(s);
	ck_quiet();
}

TEST(the_end_of_the_stream_and_errors_are_reported_as_the_conditions_asked_for)
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
	ck_raises_saying(Assert_Failed, "in another poll already",
		SocketPoll_add(other, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "another socket's", SocketPoll_add(loop, twin, READ, NULL));
	ck_assert_uint_eq(SocketPoll_count(loop), 1);
	send_to(0);
	ck_only(s, READ);
	SocketPoll_remove(loop, s);
	SocketPoll_add(loop, twin, READ, NULL);
	ck_only(twin, READ);
	SocketPoll_remove(loop, twin);
	Socket_close(&twin); /* the other's is free, too, when nothing else has it */
}

TEST(a_descriptor_closed_behind_its_sockets_back_is_checked)
{
	Socket_T s = make_one();
	int keep = dup(Socket_fd(s)), fd = Socket_fd(s);

	close(fd);
	ck_raises_saying(Assert_Failed, "behind its socket's back",
		SocketPoll_add(loop, s, READ, NULL));
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
	SocketPoll_Timer_T timer = SocketPoll_timer(loop, (void (*)(void *))free, NULL),
		no_timer = NULL;

	ck_raises_saying(Assert_Failed, "SocketPoll_change: socket",
		SocketPoll_change(loop, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_remove: socket", SocketPoll_remove(loop, s));
	ck_raises_saying(Assert_Failed, "SocketPoll_set_deadline: socket",
		SocketPoll_set_deadline(loop, s, 1));
	ck_raises_saying(Assert_Failed, "SocketPoll_add: 0x4", SocketPoll_add(loop, s, TIMEOUT, NULL));
	SocketPoll_add(loop, s, READ, NULL);
	ck_raises_saying(Assert_Failed, "SocketPoll_change: 0x8", SocketPoll_change(loop, s, 8, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_add: the poll is NULL",
		SocketPoll_add(NULL, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "not a live poll", SocketPoll_add(not_one, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_add: the socket is NULL",
		SocketPoll_add(loop, NULL, READ, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_change", SocketPoll_change(NULL, s, READ, NULL));
	ck_raises_saying(Assert_Failed, "the socket is NULL",
		SocketPoll_change(loop, NULL, READ, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_remove", SocketPoll_remove(NULL, s));
	ck_raises_saying(Assert_Failed, "the socket is NULL", SocketPoll_remove(loop, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_close", SocketPoll_close(NULL, &s));
	ck_raises_saying(Assert_Failed, "SocketPoll_close", SocketPoll_close(loop, NULL));
	SocketPoll_close(loop, &none);
	ck_raises_saying(Assert_Failed, "SocketPoll_count", SocketPoll_count(NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_backend", SocketPoll_backend(NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_wait", SocketPoll_wait(NULL, events, 1, 0));
	ck_raises_saying(Assert_Failed, "room for 0 events", SocketPoll_wait(loop, events, 0, 0));
	ck_raises_saying(Assert_Failed, "events is NULL", SocketPoll_wait(loop, NULL, 1, 0));
	ck_raises_saying(Assert_Failed, "SocketPoll_holds", SocketPoll_holds(loop, NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_holds", SocketPoll_holds(NULL, events));
	ck_raises_saying(Assert_Failed, "SocketPoll_wake", SocketPoll_wake(NULL));
	ck_raises_saying(Assert_Failed, "SocketPoll_set_deadline", SocketPoll_set_deadline(NULL, s, 1));
	ck_raises_saying(Assert_Failed, "the socket is NULL", SocketPoll_set_deadline(loop, NULL, 1));
	ck_raises_saying(Assert_Failed, "SocketPoll_timer",
		SocketPoll_timer(NULL, (void (*)(void *))free, NULL));
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
		if (first.socket == a) { /* the other one of the two is to be closed */
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
		receive_byte(a);
		while (SocketPoll_wait(loop, &first, 1, 0))
			ck_assert_ptr_ne(first.socket, b);
	}
}

TEST(a_removed_or_changed_socket_gets_no_old_event_in_the_same_tick)
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

TEST(a_close_is_put_off_until_the_events_of_the_tick_are_given_out)
{
	Socket_T s;
	int fd;
	volatile int i;

	for (i = 0; i < 4; i++)
		add_one(WRITE);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 2, 0), 2); /* two more events are ready */
	i = (int)((Socket_T *)events[1].data - sockets);
	fd = Socket_fd(sockets[i]);
	SocketPoll_close(loop, &sockets[i]);
	ck_assert_ptr_null(sockets[i]);
	ck_assert_uint_eq(SocketPoll_count(loop), 3);
	ck_assert_int_eq(SocketPoll_holds(loop, &events[1]), 0);
	ck_assert_int_eq(Socket_fd(events[1].socket), fd); /* the socket is not dangling */
	ck_raises_saying(Assert_Failed, "not in the poll",
		SocketPoll_change(loop, events[1].socket, READ, NULL));
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

/* As a pool does with idle connections that it evicts. */
TEST(a_socket_that_is_closed_before_the_tick_ends_is_not_closed_again)
{
	Socket_T closing[4], s;
	int i;

	for (i = 0; i < 4; i++) {
		closing[i] = add_one(WRITE);
		SocketPoll_close(loop, &sockets[i]);
	}
	ck_raises_saying(Assert_Failed, "in this poll already",
		SocketPoll_add(loop, closing[3], READ, NULL));
	Socket_close(&closing[3]);
	Socket_close(&closing[1]);
	SocketPoll_close(loop, &closing[0]);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(peer_reads_the_end(i), i != 2);
	s = add_one(WRITE); /* it takes the number of one of them */
	ck_only(s, WRITE);
	ck_assert_int_eq(peer_reads_the_end(2), 1);
	ck_assert_int_eq(peer_reads_the_end(4), 0);
	ck_assert_uint_eq(SocketPoll_count(loop), 1);
}

TEST(disposing_does_the_closes_that_were_put_off_and_releases_the_others)
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
		ck_assert_int_ge((end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec,
			3000000);
	}
	start_alarms(0, on_alarm);
}

TEST(all_ready_sockets_are_reported_even_if_they_exceed_a_batch)
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

/* Compares the events with what poll(2) says of the same sockets. */
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

static void renew_socket(int i)
{
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	close(peers[i]);
	peers[i] = fd[1];
	sockets[i] = Socket_adopt(fd[0]);
}

TEST(at_random_the_events_are_those_of_poll)
{
	enum { N = 24 };
	unsigned asked[N], random = 12345; /* 8: not in the poll */
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
			renew_socket(i);
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

static void *post_and_wake(void *cl)
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
		ck_assert_int_eq(pthread_create(&threads[i], NULL, post_and_wake, NULL), 0);
	while (seen < WAKERS * WAKES) { /* a lost wake-up would hang here */
		SocketPoll_wait(loop, events, 1, -1);
		seen = __atomic_load_n(&posted, __ATOMIC_ACQUIRE);
	}
	for (i = 0; i < WAKERS; i++)
		pthread_join(threads[i], NULL);
}

/* not atomic: the wake-up orders it, or else thread sanitizers complain */
static int said;
static int was_woken;  /* atomic and relaxed: it orders nothing */

static void *say_and_wake(void *cl)
{
	said = 1;
	SocketPoll_wake(loop);
	__atomic_store_n(&was_woken, 1, __ATOMIC_RELAXED);
	return cl;
}

TEST(writes_before_a_wake_up_are_seen_after_the_wait_that_it_ended)
{
	pthread_t thread;

	said = was_woken = 0;
	SocketPoll_wake(loop); /* the next one finds it set, and writes nothing */
	ck_assert_int_eq(pthread_create(&thread, NULL, say_and_wake, NULL), 0);
	while (!__atomic_load_n(&was_woken, __ATOMIC_RELAXED))
		wait_ms(1);
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, -1), 0);
	ck_assert_int_eq(said, 1);
	ck_quiet();
	pthread_join(thread, NULL);
}

/* ---- deadlines ---- */

TEST(a_deadline_is_reported_once_and_never_early)
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

TEST(bytes_that_came_in_time_are_reported_before_the_deadline)
{
	Socket_T s = add_one(READ);

	SocketPoll_set_deadline(loop, s, 5);
	send_to(0);
	wait_ms(20); /* a handler that takes long */
	ck_only(s, READ);
	receive_byte(s);
	SocketPoll_set_deadline(loop, s, 10000);
	ck_quiet();
	SocketPoll_set_deadline(loop, s, 5);
	send_to(0);
	wait_ms(20);
	ck_only(s, READ);
	ck_only(s, TIMEOUT); /* nothing moved it */
}

TEST(deadlines_come_in_their_order_and_busy_sockets_do_not_hold_them_up)
{
	int64_t least[60], most[60], last = 0; /* when each is due, by the coarse clock */
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
