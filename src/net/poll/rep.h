/* SPDX-License-Identifier: MIT */
/* Private to SocketPoll.c and the files of poll/: what a poll is made of, and what its back ends do. The invariant is in SocketPoll.c. */
#ifndef SOCKETPOLLREP_INCLUDED
#define SOCKETPOLLREP_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <core/SocketPoll.h>
#include "base/cancel.h"
#include "base/checked.h"
#include "lazyheap.h"
#include "socket/internal.h"

enum {
	BATCH = 256,   /* events taken from the kernel at once */
	WAKE_TAG = 0,  /* of the poll's own descriptor; a socket's is never 0 */
	LAST_TAG = (1 << 30) - 1,
	SEGMENT = 256  /* descriptors, or registrations */
};

/* What a heap entry belongs to: a socket's deadline, or a timer. */
typedef struct Due {
	uint32_t place;    /* first: the heap knows an object by it; of a free registration: the next one's seat */
	unsigned tag : 30; /* of the socket; 0: a timer, or a socket that is closing */
	unsigned events : 2; /* that the kernel looks for */
	int64_t at;
} Due;

typedef struct Registration {
	Due due;
	Socket_T socket;        /* NULL: it is free */
	void *data;             /* while closing: the next one to close */
} Registration;

struct SocketPoll_Timer {
	Due due;
	void (*fn)(void *);     /* NULL: dropped */
	void *cl;               /* while dropped: the next one */
};

typedef struct Ready {
	int fd;
	uint32_t tag;
	unsigned events;
} Ready;

/* set changes what the kernel looks for at fd from `from` to `to`; it returns 0 or an error number, and may raise
 * Arena_Failed; nothing has changed then. wait waits at most timeout_ms, fills poll->ready with at most BATCH, and
 * returns their number, or -1 and errno. Errors and hang-ups are told as READ and WRITE, as far as asked for. */
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
	uint32_t **seats;           /* by descriptor; 0: none */
	Registration **rows;        /* by seat */
	size_t nseats, nrows;       /* segments of them */
	uint32_t free;              /* a seat; 0: none */
	size_t count, ntimers;
	Registration *closing;
	SocketPoll_Timer_T dropped;
	LazyHeap heap;
	int64_t horizon;            /* deadlines up to here are told when the events before have been */
	int nready, next_ready;
	Ready ready[BATCH];
};

static inline void socketpoll__ready(SocketPoll_T poll, int fd, uint32_t tag, unsigned events)
{
	Ready *r = &poll->ready[poll->nready++];

	r->fd = fd;
	r->tag = tag;
	r->events = events;
}

#endif
