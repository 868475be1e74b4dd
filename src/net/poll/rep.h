/* SPDX-License-Identifier: MIT */
/* Private to SocketPoll.c and the files of poll/: what a poll is made of, and what these files ask
 * of each other.
 *
 * A slot holds what the poll knows of one descriptor: of a socket that was added, or of a
 * descriptor that is watched. Slots lie in segments that never move and are numbered; a table by
 * descriptor has their numbers, because a program of many loops has a poll each, and its
 * descriptors are spread over all of them.
 *
 * Invariant: a slot is in use if it has a socket or a tag; the others are on the free list. Its tag
 * is unlike that of every earlier one at its descriptor, and the kernel looks for `events` under
 * that tag. A socket's watch is this poll, or the socket is closing: without a tag, on the list of
 * those that are closed when the tick ends, which it leaves if a pool, for instance, closes it
 * before. The heap has room for every slot in use and every timer, so to set one cannot fail.
 * ready[next_ready..nready) are events that the kernel reported and that were not given out: a tick
 * ends when there are none. Each is compared with its slot's tag only when it is given out, which
 * is why a handler may remove and close anything.
 *
 * A deadline is reported after the events that the kernel had when it passed (`horizon`), so that a
 * peer whose bytes came in time is not said to be late because the loop was. */
#ifndef SOCKETPOLLREP_INCLUDED
#define SOCKETPOLLREP_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <core/SocketPoll.h>
#include "base/cancel.h"
#include "base/checked.h"
#include "lazyheap.h"
#include "poll/reserve.h"
#include "socket/internal.h"

enum {
	BATCH = 256,   /* events taken from the kernel at once */
	WAKE_TAG = 0,  /* of the poll's own descriptor; no slot that is looked for has it */
	LAST_TAG = (1 << 30) - 1,
	SEGMENT = 256, /* descriptors, or slots */
	ASKABLE = SocketPoll_READ | SocketPoll_WRITE
};

/* A time in the heap, first in a slot (a socket's deadline) or in a timer. */
typedef struct Due {
	union {
		uint32_t place;     /* in the heap, which knows an object by it; 0: not inside */
		uint32_t next_free; /* of a free slot: the next one's number */
	};
	unsigned tag : 30;          /* of a slot; 0: a timer, or a socket that is closing */
	unsigned events : 2;        /* that the kernel looks for */
	union {
		int64_t at;         /* the deadline, or LAZYHEAP_NEVER */
		int64_t watched;    /* the descriptor that is watched: it has no deadline */
	};
} Due;

typedef struct Slot {
	Due due;
	Socket_T socket;                  /* NULL: a descriptor is watched, or the slot is free */
	union {
		void *data;               /* the caller's */
		struct Slot *next_closing;
	};
} Slot;

struct SocketPoll_Timer {
	Due due;
	void (*fn)(void *);               /* NULL: dropped */
	union {
		void *cl;
		struct SocketPoll_Timer *next_dropped;
	};
	int period;                       /* ms; 0: it runs once */
};

typedef struct Ready {
	int fd;
	uint32_t tag;
	unsigned events;
} Ready;

/* set makes the kernel look for `to` at fd, under this tag, where it has looked for `from`; it
 * returns 0 or an error number, and may raise Arena_Failed; nothing has changed then. wait waits at
 * most timeout_ms, fills poll->ready with at most BATCH, and returns their number, or -1 and errno.
 * Errors and hang-ups are reported as READ and WRITE, as far as asked for. */
typedef struct Backend {
	const char *name;
	int (*open)(SocketPoll_T);    /* 0 or an error number */
	void (*close)(SocketPoll_T);
	int (*set)(SocketPoll_T, int fd, unsigned from, unsigned to, uint32_t tag);
	int (*wait)(SocketPoll_T, int timeout_ms);
} Backend;

extern const Backend socketpoll__epoll, socketpoll__kqueue, socketpoll__poll;

struct PollSet;

struct SocketPoll {
	uint32_t magic;
	uint32_t last_tag;
	pid_t process;
	Arena_T arena;
	const Backend *backend;
	int fd;                     /* of epoll or kqueue; -1: none */
	int wake[2];                /* to read from and to write to; the same for an eventfd */
	int waking;                 /* atomic: something was written that was not read */
	struct PollSet *set;        /* of the poll back end */
	uint32_t **numbers;         /* of slots, by descriptor; 0: none */
	Slot **slots;               /* by number */
	size_t nnumbers, nslots;    /* segments of them */
	uint32_t free;              /* number of a slot; 0: none */
	size_t count, ntimers;
	Slot *closing;
	SocketPoll_Timer_T dropped;
	LazyHeap heap;
	int64_t horizon;            /* deadlines up to here are reported when the events before have been */
	int nready, next_ready;
	Ready ready[BATCH];
};

static const uint32_t POLL_MAGIC = 0x504f4c4c; /* "POLL" */

#define CHECK_POLL(poll) ((poll) && (poll)->magic == POLL_MAGIC ? (void)0 : socketpoll__bad((poll), __func__))
/* The kernel's side of an epoll is shared with children. */
#define CHECK_OWN(poll) \
	((poll) && (poll)->magic == POLL_MAGIC && (poll)->process == getpid() ? (void)0 : socketpoll__bad((poll), __func__))

/* SocketPoll.c */
void socketpoll__bad(const struct SocketPoll *, const char *function) CORE_NORETURN;
void socketpoll__failed(const char *what, int fd, int error) CORE_NORETURN;
void socketpoll__check_events(unsigned events, const char *function);

/* poll/slots.c. A slot is acquired for a descriptor once there is one for it, and room in the heap:
 * provide raises Arena_Failed. */
void socketpoll__provide_slot(SocketPoll_T, int fd);
Slot *socketpoll__acquire_slot(SocketPoll_T, int fd);
void socketpoll__release_slot(SocketPoll_T, int fd);
Slot *socketpoll__slot_of(SocketPoll_T, Socket_T, const char *function); /* Checked: it is not inside */
uint32_t socketpoll__next_tag(SocketPoll_T);
int socketpoll__descriptor(const Slot *);
void socketpoll__let_go(SocketPoll_T, Slot *); /* the kernel, the heap and the count forget it; it is not released yet */

static inline Slot *socketpoll__slot_numbered(SocketPoll_T poll, uint32_t number)
{
	return &poll->slots[number / SEGMENT][number % SEGMENT];
}

/* Returns NULL if the descriptor has none. */
static inline Slot *socketpoll__find_slot(SocketPoll_T poll, int fd)
{
	size_t i = (size_t)fd / SEGMENT;
	uint32_t number = i < poll->nnumbers && poll->numbers[i] ? poll->numbers[i][fd % SEGMENT] : 0;

	return number ? socketpoll__slot_numbered(poll, number) : NULL;
}

/* For a descriptor that has one. */
static inline Slot *socketpoll__slot_at(SocketPoll_T poll, int fd)
{
	return socketpoll__slot_numbered(poll, poll->numbers[fd / SEGMENT][fd % SEGMENT]);
}

/* poll/timers.c */
void socketpoll__provide_heap(SocketPoll_T);        /* room for one more. Raises: Arena_Failed */
void socketpoll__run_timer(SocketPoll_T, SocketPoll_Timer_T);
int64_t socketpoll__due_at(const uint32_t *place);  /* as the heap asks */

static inline void socketpoll__ready(SocketPoll_T poll, int fd, uint32_t tag, unsigned events)
{
	Ready *r = &poll->ready[poll->nready++];

	r->fd = fd;
	r->tag = tag;
	r->events = events;
}

#endif
