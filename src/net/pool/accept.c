/* SPDX-License-Identifier: MIT */
/* Accepting into a SocketPool, and what happens when there are no descriptors. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "pool/rep.h"

#define T SocketPool_T

enum { PAUSE = 50 }; /* ms of pause if the time until there is room is unknown */

static int64_t time_until_room(T pool)
{
	int64_t ms;

	lock_pool(pool);
	ms = pool->draining ? -1 : !has_place(pool) ? PAUSE : table__until_token_locked(pool);
	unlock_pool(pool);
	return ms;
}

/* Cancellation is off, because open and close are cancellation points and would lose a
 * descriptor. */
static void open_spare(T pool)
{
	WITHOUT_CANCELLATION;
	int fd, none = -1;

	if (LOAD(&pool->spare) >= 0)
		return;
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && !__atomic_compare_exchange_n(&pool->spare, &none, fd, 0, __ATOMIC_ACQ_REL,
			__ATOMIC_ACQUIRE))
		close(fd);
}

/* Accepts one client and closes the connection, so that the client does not wait in the backlog
 * for a long time. The connection is closed before the spare descriptor is made again, because
 * there is no other. */
static void shed_connection(T pool, Socket_T listener)
{
	if (!slots__close_spare(pool))
		return;
	DEFER(open_spare, pool);
	AUTO(Socket_T, s, Socket_close) = NULL;
	TRY {
		s = Socket_accept(listener);
	} EXCEPT(Socket_Failed) {
	} END_TRY;
	if (s) {
		lock_pool(pool);
		pool->stats.shed++;
		unlock_pool(pool);
	}
}

static Socket_T accept_or_shed(T pool, Socket_T listener, int *pause_ms)
{
	Socket_T s = NULL;

	PROTECT(s);
	TRY {
		s = Socket_accept(listener);
	} EXCEPT(Socket_Failed) {
		if (!lacks_resources(Except_errno()))
			RERAISE;
		*pause_ms = PAUSE;
	} END_TRY;
	if (*pause_ms)
		shed_connection(pool, listener);
	return s;
}

static Connection_T accept_and_add(T pool, Socket_T listener, int *pause_ms)
{
	Connection_T c;

	AUTO(Socket_T, s, Socket_close) = accept_or_shed(pool, listener, pause_ms);
	if (!s)
		return NULL;
	c = SocketPool_add(pool, s);
	if (c)
		s = NULL; /* the pool owns it */
	return c;
}

Connection_T SocketPool_accept(T pool, Socket_T listener, int *pause_ms)
{
	Connection_T c = NULL;
	int error = errno;

	CHECK_POOL(pool);
	CHECK(listener, "SocketPool_accept: the listener is NULL");
	CHECK(pause_ms, "SocketPool_accept: the pause is NULL");
	open_spare(pool);
	SocketPool_evict_idle(pool, LOAD(&pool->idle_ms));
	*pause_ms = (int)time_until_room(pool);
	if (*pause_ms == 0)
		c = accept_and_add(pool, listener, pause_ms);
	errno = error;
	return c;
}
