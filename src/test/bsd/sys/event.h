/* SPDX-License-Identifier: MIT */
/* The part of kqueue(2) that SocketPoll uses, for systems without it. ../../kqueue.c has the
 * functions. */
#ifndef TEST_EVENT_INCLUDED
#define TEST_EVENT_INCLUDED
#include <stdint.h>
#include <time.h>

struct kevent {
	uintptr_t ident;
	short filter;
	unsigned short flags;
	unsigned fflags;
	intptr_t data;
	void *udata;
};

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_EOF 0x8000

#define EV_SET(event, ident_, filter_, flags_, fflags_, data_, udata_) \
	(*(event) = (struct kevent){ (ident_), (filter_), (flags_), (fflags_), (data_), (udata_) })

int kqueue(void);
int kevent(int queue, const struct kevent *changes, int nchanges, struct kevent *events,
	int nevents, const struct timespec *timeout);

#endif
