/* SPDX-License-Identifier: MIT */
/* Output of a Connection that the kernel does not take at once. It is one block of bytes, which
 * grows as needed and is freed when all is sent. It belongs to the slot, as a connection at rest
 * gives back its arena and buffer. It comes from malloc, because in the pool's arena slow peers
 * would leave their old blocks behind. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool/rep.h"

#define T SocketPool_T

enum { ROOM_LEAST = 4096 };

static Output **queue_of(Slot *slot)
{
	return is_upstream(slot) ? &slot->of.upstream->output : &slot->of.output;
}

static size_t bytes_queued(const Output *o)
{
	return o ? o->end - o->start : 0;
}

/* Returns the number of bytes that the kernel took. */
static size_t try_send_bytes(Socket_T s, const void *bytes, size_t n, const char *function)
{
	struct iovec part = { (void *)(uintptr_t)bytes, n };
	int before = errno;
	ssize_t sent = socket__try_sendv(s, &part, 1);

	if (sent >= 0)
		return (size_t)sent;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		socket__failed_on(function, s, errno);
	errno = before;
	return 0;
}

static void check_output_limit(Connection_T c, size_t pending, size_t n)
{
	T pool = slot_of(c)->pool;
	size_t most;

	lock_pool(pool);
	most = pool->limits.output_bytes;
	unlock_pool(pool);
	if (most == 0 || (pending <= most && n <= most - pending))
		return;
	RAISE_FOR_ERRNO(SocketPool_Failed, ENOBUFS,
		"Connection_send: %zu bytes are queued, and %zu more are over the limit of %zu", pending,
		n, most);
}

/* Makes room for n bytes after those that are queued. */
static void provide_output_room(Output **queue, size_t n)
{
	Output *o = *queue;
	size_t pending = bytes_queued(o), room, bytes;

	if (o && o->room - o->end >= n)
		return;
	if (o && pending < o->start) { /* otherwise it would move more bytes than it gains */
		memmove(o->bytes, o->bytes + o->start, pending);
		o->start = 0;
		o->end = pending;
		if (o->room - o->end >= n)
			return;
	}
	if (!add_size(o ? o->end : 0, n, &room) || !add_size(room, room / 2 + ROOM_LEAST, &room)
			|| !add_size(room, sizeof *o, &bytes) || !(o = realloc(o, bytes)))
		RAISE_FOR_ERRNO(SocketPool_Failed, ENOMEM,
			"Connection_send: no memory to queue %zu bytes", n);
	if (!*queue)
		o->start = o->end = 0;
	o->room = room;
	*queue = o;
}

static void free_empty_queue(Output **queue)
{
	if (bytes_queued(*queue) > 0)
		return;
	free(*queue);
	*queue = NULL;
}

/* Gets the memory before it sends the first byte, so it takes all bytes or none. */
void Connection_send(Connection_T c, const void *bytes, size_t n)
{
	Slot *slot = live_slot(c, "Connection_send");
	Output **queue = queue_of(slot), *o;
	size_t sent = 0;

	CHECK(bytes || n == 0, "Connection_send: the bytes are NULL");
	if (n == 0)
		return;
	check_output_limit(c, bytes_queued(*queue), n);
	provide_output_room(queue, n);
	DEFER(free_empty_queue, queue);
	o = *queue;
	if (o->start == o->end)
		sent = try_send_bytes(slot->u.socket, bytes, n, "Connection_send");
	memcpy(o->bytes + o->end, (const char *)bytes + sent, n - sent);
	o->end += n - sent;
}

size_t Connection_pending(Connection_T c)
{
	return bytes_queued(*queue_of(live_slot(c, "Connection_pending")));
}

int Connection_flush(Connection_T c)
{
	Slot *slot = live_slot(c, "Connection_flush");
	Output **queue = queue_of(slot), *o = *queue;
	size_t sent = 1;

	while (bytes_queued(o) > 0 && sent > 0) {
		sent = try_send_bytes(slot->u.socket, o->bytes + o->start, bytes_queued(o),
			"Connection_flush");
		o->start += sent;
	}
	free_empty_queue(queue);
	return !*queue;
}
