/* SPDX-License-Identifier: MIT */
/* SocketPoll: timers, descriptors that are not Socket_T, several polls, memory and fork. */
#include "config.h"

#include "test_socketpoll.h"

/* ---- timers ---- */

SUITE("SocketPoll");
CASE("the best back end", .setup = set_up_best, .teardown = tear_down);
TWIN_CASE("poll", .setup = set_up_poll, .teardown = tear_down);

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

static void ignore_call(void *cl)
{
	(void)cl;
}

/* Returns the fastest of many, in ns. */
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

/* A look at each deadline would take twenty times as long as the system call. */
TEST(a_wait_costs_the_same_however_many_deadlines_there_are)
{
	int64_t alone = time_of_a_wait();
	int i;

	for (i = 0; i < 50000; i++)
		SocketPoll_set_timer(loop, SocketPoll_timer(loop, ignore_call, NULL), 1000000 + i % 1000);
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

static void set_again(void *cl)
{
	count_call(cl);
	SocketPoll_set_timer(loop, timers[0], 0);
}

TEST(a_timer_that_sets_itself_does_not_hold_up_the_loop)
{
	Socket_T s = add_one(WRITE);
	int n = 0;

	make_timers(0);
	timers[0] = SocketPoll_timer(loop, set_again, &calls[0]);
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
	while (SocketPoll_wait(loop, events, 1, 0) == 0) /* other deadlines may be due first */
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
	SocketPoll_wait(loop, events, MOST, 20); /* its socket is not ready */
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
	wait_ms(45); /* some four ticks */
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
	SocketPoll_set_timer(loop, t, 5); /* the same timer again */
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

TEST(a_repeated_timer_that_raises_continues)
{
	int turns = 0;
	SocketPoll_Timer_T t = SocketPoll_timer(loop, raise_then_go_on, &turns);

	SocketPoll_repeat_timer(loop, t, 0); /* at each tick, at least a millisecond apart */
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

static int works_with_memory(void (*step)(void *), void *cl)
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

TEST(a_watched_descriptor_is_reported_as_a_socket_is)
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

TEST(hang_ups_and_errors_are_reported_as_the_conditions_asked_for)
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
	ck_assert_int_eq(SocketPoll_wait(loop, events, 1, 1000), 1); /* the other event was taken */
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

/* A library closes its descriptors as it likes. */
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
	ck_raises_saying(SocketPoll_Failed, "SocketPoll_watch: descriptor -1: Bad file descriptor",
		SocketPoll_watch(loop, -1, READ, NULL));
	make_pipe(fd);
	SocketPoll_watch(loop, fd[0], READ, NULL);
	ck_assert_int_eq(dup2(file, fd[0]), fd[0]);
	ck_raises_saying(SocketPoll_Failed, "SocketPoll_watch: descriptor",
		SocketPoll_watch(loop, fd[0], READ, NULL));
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
	SocketPoll_unwatch(loop, fd); /* it is not watched */
	ck_assert_uint_eq(SocketPoll_count(loop), 1);
	SocketPoll_remove(loop, s);
	SocketPoll_watch(loop, fd, READ, &fd);
	ck_raises_saying(Assert_Failed, "and watched", SocketPoll_add(loop, s, READ, NULL));
	send_to(0);
	ck_event(fd, READ, &fd);
	SocketPoll_unwatch(loop, fd);
	SocketPoll_add(loop, s, READ, NULL);
	ck_only(s, READ);
	ck_raises_saying(Assert_Failed, "0x4 is not made of",
		SocketPoll_watch(loop, peers[0], TIMEOUT, NULL));
	ck_raises_saying(Assert_Failed, "the poll is NULL",
		SocketPoll_watch(NULL, peers[0], READ, NULL));
	ck_raises_saying(Assert_Failed, "the poll is NULL", SocketPoll_unwatch(NULL, peers[0]));
	SocketPoll_close(loop, &sockets[0]); /* its number stays its own until the tick ends */
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
		works = works_with_memory(watch_scarce, &fd[1]);
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
	receive_byte(s);
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
	receive_byte(a);
	receive_byte(b);
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
	int before = count_descriptors(), n, works = 0;

	for (n = 0; !works; n++) {
		struct Failing f = { -1, 0, 0, 0 };
		Arena_T a = failing_arena(&f);

		f.fail_at = n;
		works = works_with_memory(make_scarce, a);
		if (!works)
			ck_assert_int_eq(count_descriptors(), before);
		Arena_dispose(&a);
		ck_assert_uint_eq(f.outstanding_blocks, 0);
		ck_assert_int_eq(count_descriptors(), before);
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

		for (f.fail_at = 0; !works_with_memory(add_scarce, s); f.fail_at = failed % 3) {
			failed++;
			f.fail_at = -1;
			ck_assert_uint_eq(SocketPoll_count(scarce), (size_t)i);
			ck_assert_int_eq(SocketPoll_wait(scarce, events, MOST, 0) > 0, i > 0);
			ck_raises(Assert_Failed, SocketPoll_remove(scarce, s));
		}
		for (k = 0; k < 4; k++)
			for (f.fail_at = 0; !works_with_memory(timer_scarce, s); f.fail_at = failed % 3)
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
