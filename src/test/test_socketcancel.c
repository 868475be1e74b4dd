/* SPDX-License-Identifier: MIT */
/* Socket and SocketPoll in a thread that is cancelled at each cancellation point of a session
 * that uses all of them. */
#define _GNU_SOURCE
#include "config.h"

#include <sys/un.h>

#include "cancelling.h"

enum { SOCKETS = 16 };

typedef struct Session {
	const char *backend;
	Arena_T arena;
	SocketPoll_T loop;
	Socket_T sockets[SOCKETS]; /* NULL: closed, or not yet open */
	/* pair[0] is adopted by a socket; -1: closed or adopted */
	int pair[2];
	char host[64], stale[64], port[8];
} Session;

static void close_both(Socket_T *a, Socket_T *b)
{
	Socket_close(a);
	Socket_close(b);
}

static void use_tcp(Session *s)
{
	Socket_T *listener = &s->sockets[0], *client = &s->sockets[1], *server = &s->sockets[2];
	struct iovec parts[2] = { { s->port, 1 }, { s->port, 1 } };
	char bytes[4];

	*listener = Socket_listen("127.0.0.1", "0", 0);
	snprintf(s->port, sizeof s->port, "%d", Socket_port(*listener));
	*client = Socket_connect("localhost", s->port, 1000);
	*server = Socket_accept(*listener);
	Socket_set_timeout(*client, 1);
	Socket_sendall(*client, "ping", 4);
	Socket_recv(*server, bytes, 4);
	ck_raises(Socket_Timeout, Socket_recv(*client, bytes, 4));
	Socket_sendv(*server, parts, 2);
	Socket_set_nonblocking(*client, 1);
	Socket_recv(*client, bytes, 2);
	Socket_set_timeout(*listener, 1);
	ck_raises(Socket_Timeout, Socket_accept(*listener));
	Socket_peer(*client, s->arena);
	Socket_local(*client, s->arena);
	Socket_shutdown(*client);
	close_both(client, server);
	*client = Socket_connect_start("127.0.0.1", s->port);
	*server = Socket_accept(*listener);
	Socket_connect_finish(*client);
	close_both(client, server);
	Socket_close(listener);
	ck_raises(Socket_Refused, Socket_connect("127.0.0.1", s->port, 1000));
	s->sockets[3] = Socket_listen(NULL, "0", 0);
	s->sockets[4] = Socket_listen_shared("127.0.0.1", "0", 0);
	close_both(&s->sockets[3], &s->sockets[4]);
}

/* The third one waits for room in the backlog until its timeout. */
static void fill_backlog(Session *s)
{
	s->sockets[6] = Socket_connect(s->host, NULL, 1000);
	s->sockets[7] = Socket_connect(s->host, NULL, 1000);
	ck_raises(Socket_Timeout, Socket_connect(s->host, NULL, 1));
	close_both(&s->sockets[6], &s->sockets[7]);
}

static void use_files(Session *s)
{
	char name[72];

	s->sockets[5] = Socket_listen(s->host, NULL, 1);
	fill_backlog(s);
	ck_raises(Socket_Failed, Socket_listen(s->host, NULL, 1));
	Socket_close(&s->sockets[5]);
	ck_assert_int_ne(access(s->host + strlen("unix:"), F_OK), 0);
	ck_raises(Socket_Refused, Socket_connect(s->host, NULL, 1000));
	snprintf(name, sizeof name, "unix:%s", s->stale);
	s->sockets[8] = Socket_listen_unix(name, 0600, 1);
	Socket_close(&s->sockets[8]);
}

static void use_loop(Session *s)
{
	Socket_T *inside = &s->sockets[9];
	SocketPoll_Event e;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s->pair), 0);
	*inside = Socket_adopt(s->pair[0]);
	s->pair[0] = -1;
	s->loop = SocketPoll_new_with(s->arena, s->backend);
	SocketPoll_add(s->loop, *inside, SocketPoll_WRITE, NULL);
	ck_assert_int_eq(SocketPoll_wait(s->loop, &e, 1, 1000), 1);
	SocketPoll_change(s->loop, *inside, SocketPoll_READ, NULL);
	SocketPoll_set_deadline(s->loop, *inside, 1);
	ck_assert_int_eq(SocketPoll_wait(s->loop, &e, 1, 1000), 1);
	ck_assert_uint_eq(e.events, SocketPoll_TIMEOUT);
	SocketPoll_watch(s->loop, s->pair[1], SocketPoll_WRITE, NULL);
	ck_assert_int_eq(SocketPoll_wait(s->loop, &e, 1, 1000), 1);
	SocketPoll_unwatch(s->loop, s->pair[1]);
	run_timer_once(s->loop);
	SocketPoll_close(s->loop, inside);
	ck_assert_int_eq(SocketPoll_wait(s->loop, &e, 1, 1), 0);
	Arena_dispose(&s->arena);
}

static void run_session(void *cl)
{
	Session *s = cl;

	use_tcp(s);
	use_files(s);
	use_loop(s);
}

/* Leaves a socket file whose process has died. */
static void leave_stale(const char *path)
{
	struct sockaddr_un a = { 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	a.sun_family = AF_UNIX;
	memcpy(a.sun_path, path, strlen(path) + 1);
	unlink(path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	__real_close(fd);
}

static void begin_run(Session *s)
{
	s->pair[0] = s->pair[1] = -1;
	s->arena = Arena_new();
	leave_stale(s->stale);
}

static void end_run(void *cl, int cancelled)
{
	Session *s = cl;
	int i;

	for (i = 0; i < SOCKETS; i++)
		Socket_close(&s->sockets[i]);
	ck_assert_int_ne(access(s->host + strlen("unix:"), F_OK), 0);
	if (!cancelled)
		ck_assert_int_ne(access(s->stale, F_OK), 0);
	Arena_dispose(&s->arena);
	for (i = 0; i < 2; i++)
		if (s->pair[i] >= 0)
			__real_close(s->pair[i]);
	begin_run(s);
}

/* end_run has begun the next run, so there is always one arena, and never a descriptor. */
static void cancel_with(const char *backend)
{
	Session s = { .backend = backend };
	char directory[] = "/tmp/libcore-cancel-XXXXXX";
	int n;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(s.host, sizeof s.host, "unix:%s/socket", directory);
	snprintf(s.stale, sizeof s.stale, "%s/stale", directory);
	begin_run(&s);
	n = cancel_everywhere(run_session, end_run, &s);
	ck_assert_int_gt(n, 50);
	Arena_dispose(&s.arena);
	unlink(s.stale);
	rmdir(directory);
}

SUITE("sockets, cancelled");
CASE("cancellation points");

TEST(wherever_a_thread_is_cancelled_nothing_is_left_behind)
{
	cancel_with(NULL);
}

TEST(nor_with_poll)
{
	cancel_with("poll");
}
