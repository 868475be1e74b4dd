/* SPDX-License-Identifier: MIT */
/* Private to SocketPoll.c and the files of poll/: the representation of a poll, and the functions
 * that these files call in each other.
 *
 * A slot represents one descriptor: that of a socket that was added, or one that is watched.
 * Slots lie in segments that never move, and have numbers. A table by descriptor has the numbers
 * of the slots. It does not have the slots themselves. In a program of many loops the descriptors
 * are spread over all polls, and most entries of each table are empty.
 *
 * Invariant: a slot is in use if it has a socket or a tag; the others are on the free list. The
 * tag of a slot differs from all earlier tags of its descriptor, and the kernel waits for
 * `events` under that tag. The watch of a socket is this poll, or the socket is closing. A
 * closing socket has no tag and is on the list of sockets that are closed at the end of the tick.
 * It leaves this list if it is closed before, for instance by a pool. The heap has room for every
 * slot in use and every timer, so setting a deadline or timer cannot fail.
 *
 * ready[next_ready..nready) are events that the kernel reported and that were not handed out yet.
 * A tick ends when there are none. An event is compared with its slot's tag only when it is
 * handed out, so a handler may remove and close any socket.
 *
 * A deadline is reported after the events that the kernel had when it passed (`horizon`). So a
 * peer whose bytes came in time is not reported as late because the loop was. */
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
	WAKE_TAG = 0,  /* the poll's own descriptor has it; no slot in the kernel's set */
	LAST_TAG = (1 << 30) - 1,
	SEGMENT = 256, /* descriptors, or slots */
	ASKABLE = SocketPoll_READ | SocketPoll_WRITE
};

/* A time in the heap. It is the first member of a slot (a socket's deadline) and of a timer. */
typedef struct Due {
	union {
		uint32_t place;     /* where the heap has it, and the heap's name for it; or 0 */
		uint32_t next_free; /* in a free slot: the number of the next one */
	};
	unsigned tag : 30;          /* 0 in a timer, or if the socket is closing */
	unsigned events : 2;        /* the events that the kernel waits for */
	union {
		int64_t at;         /* the deadline, or LAZYHEAP_NEVER */
		int64_t watched;    /* the watched descriptor, which has no deadline */
	};
} Due;

typedef struct Slot {
	Due due;
	Socket_T socket;                  /* NULL if a descriptor is watched, or the slot is free */
	union {
		void *data;               /* the caller's */
		struct Slot *next_closing;
	};
} Slot;

struct SocketPoll_Timer {
	Due due;
	void (*fn)(void *);               /* NULL when it is dropped */
	union {
		void *cl;
		struct SocketPoll_Timer *next_dropped;
	};
	int period;                       /* ms; 0 if it runs once */
};

typedef struct Ready {
	int fd;
	uint32_t tag;
	unsigned events;
} Ready;

/* set makes the kernel wait for `to` at fd, under this tag, instead of `from`. It returns 0 or an
 * error number, and may raise Arena_Failed. With an error nothing has changed. wait waits at most
 * timeout_ms and stores at most BATCH events in poll->ready. It returns their number, or -1 and
 * errno. It reports errors and hang-ups as READ and WRITE, as far as they are wanted. */
typedef struct Backend {
	const char *name;
	int (*open)(SocketPoll_T);    /* returns 0 or an error number */
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
	int fd;                     /* an epoll or a kqueue, or -1 */
	int wake[2];                /* to read from and to write to; equal for an eventfd */
	int waking;                 /* atomic; 1 if a wake-up was written and not yet read */
	struct PollSet *set;        /* only the poll back end has one */
	uint32_t **numbers;         /* the slots' numbers by descriptor; 0 if it has none */
	Slot **slots;               /* the slots by number */
	size_t nnumbers, nslots;    /* how many segments of each */
	uint32_t free;              /* number of a free slot, or 0 */
	size_t count, ntimers;
	Slot *closing;
	SocketPoll_Timer_T dropped;
	LazyHeap heap;
	/* Deadlines up to this time are reported after the events before it. */
	int64_t horizon;
	int nready, next_ready;
	Ready ready[BATCH];
};

static const uint32_t POLL_MAGIC = 0x504f4c4c; /* "POLL" */

#define CHECK_POLL(poll) \
	((poll) && (poll)->magic == POLL_MAGIC ? (void)0 : socketpoll__bad((poll), __func__))
/* Also checks the process, because children share the kernel's side of an epoll. */
#define CHECK_OWN(poll) \
	((poll) && (poll)->magic == POLL_MAGIC && (poll)->process == getpid() ? (void)0 \
		: socketpoll__bad((poll), __func__))

/* SocketPoll.c */
void socketpoll__bad(const struct SocketPoll *, const char *function) CORE_NORETURN;
void socketpoll__failed(const char *what, int fd, int error) CORE_NORETURN;
void socketpoll__check_events(unsigned events, const char *function);

/* poll/slots.c. provide makes a slot for a descriptor and room in the heap, and raises
 * Arena_Failed; acquire then cannot fail. */
void socketpoll__provide_slot(SocketPoll_T, int fd);
Slot *socketpoll__acquire_slot(SocketPoll_T, int fd);
void socketpoll__release_slot(SocketPoll_T, int fd);
/* Returns an array of n elements of this size that begins with the `have` old ones. */
void *socketpoll__grow_array(Arena_T, const void *old, size_t have, size_t n, size_t size);
/* Checked: the socket is not in the poll. */
Slot *socketpoll__slot_of(SocketPoll_T, Socket_T, const char *function);
uint32_t socketpoll__next_tag(SocketPoll_T);
int socketpoll__descriptor(const Slot *);
/* Takes the slot out of the kernel's set, the heap and the count, but does not release it. */
void socketpoll__let_go(SocketPoll_T, Slot *);

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
void socketpoll__provide_heap(SocketPoll_T);        /* for one more. Raises: Arena_Failed */
void socketpoll__run_timer(SocketPoll_T, SocketPoll_Timer_T);
int64_t socketpoll__due_at(const uint32_t *place);  /* the heap's due function */

static inline void socketpoll__add_ready(SocketPoll_T poll, int fd, uint32_t tag, unsigned events)
{
	Ready *r = &poll->ready[poll->nready++];

	r->fd = fd;
	r->tag = tag;
	r->events = events;
}

#endif
