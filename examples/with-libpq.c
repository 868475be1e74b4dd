/* SPDX-License-Identifier: MIT */
/* with-libpq CONNINFO QUERY ...: each query on a PostgreSQL connection of its own, all at once,
 * in one thread: libpq's asynchronous calls on a SocketPoll. Prints the first column of each row
 * as it comes.
 *
 *   cc with-libpq.c -o with-libpq $(pkg-config --cflags --libs libcore libpq)
 *   ./with-libpq dbname=postgres 'select 1' 'select now()' */
#include <libpq-fe.h>

#include <core/core.h>

EXCEPT_DEFINE(Database_Failed, NULL, "database failed");

typedef struct Query {
	PGconn *connection;
	const char *text;
	int fd;      /* the watched descriptor; -1: none */
	int is_open; /* and the query was sent */
} Query;

static void check(Query *q, int works)
{
	if (!works)
		RAISE_MSG(Database_Failed, "%s", PQerrorMessage(q->connection));
}

/* libpq opens another descriptor when it tries another host, perhaps with the same number. */
static void watch(SocketPoll_T loop, Query *q, unsigned events)
{
	int fd = PQsocket(q->connection);

	if (q->fd >= 0 && q->fd != fd)
		SocketPoll_unwatch(loop, q->fd);
	SocketPoll_watch(loop, fd, events, q);
	q->fd = fd;
}

static void flush(SocketPoll_T loop, Query *q)
{
	int unsent = PQflush(q->connection);

	check(q, unsent >= 0);
	watch(loop, q, SocketPoll_READ | (unsent ? SocketPoll_WRITE : 0u));
}

static void send_query(SocketPoll_T loop, Query *q)
{
	q->is_open = 1;
	check(q, PQsetnonblocking(q->connection, 1) == 0 && PQsendQuery(q->connection, q->text));
	flush(loop, q);
}

static void go_on_connecting(SocketPoll_T loop, Query *q)
{
	PostgresPollingStatusType status = PQconnectPoll(q->connection);

	check(q, status != PGRES_POLLING_FAILED);
	if (status == PGRES_POLLING_OK)
		send_query(loop, q);
	else
		watch(loop, q, status == PGRES_POLLING_READING ? SocketPoll_READ : SocketPoll_WRITE);
}

static void show_rows(PGresult *result)
{
	int i;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		printf("%s", PQresultErrorMessage(result));
	for (i = 0; i < PQntuples(result); i++)
		printf("%s\n", PQgetvalue(result, i, 0));
	PQclear(result);
}

static void take_results(SocketPoll_T loop, Query *q)
{
	PGresult *result;

	check(q, PQconsumeInput(q->connection));
	flush(loop, q);
	while (!PQisBusy(q->connection) && (result = PQgetResult(q->connection)) != NULL)
		show_rows(result);
	if (!PQisBusy(q->connection))
		SocketPoll_unwatch(loop, q->fd);
}

static void finish(void *q)
{
	PQfinish(((Query *)q)->connection);
}

static void start(Arena_T arena, SocketPoll_T loop, const char *conninfo, const char *text)
{
	Query *q = CALLOC(arena, 1, sizeof *q);

	q->text = text;
	q->fd = -1;
	q->connection = PQconnectStart(conninfo);
	Arena_defer(arena, finish, q);
	check(q, PQstatus(q->connection) != CONNECTION_BAD);
	watch(loop, q, SocketPoll_WRITE); /* as if PQconnectPoll had returned WRITING */
}

int main(int argc, char **argv)
{
	volatile int i;

	TRY {
		AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
		SocketPoll_T loop = SocketPoll_new(arena);
		SocketPoll_Event e;

		for (i = 2; i < argc; i++)
			start(arena, loop, argv[1], argv[i]);
		while (SocketPoll_count(loop) > 0)
			if (SocketPoll_wait(loop, &e, 1, -1) > 0)
				(((Query *)e.data)->is_open ? take_results : go_on_connecting)(loop, e.data);
	} EXCEPT(Database_Failed) {
		printf("%s", Except_message());
	} END_TRY;
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
