/* SPDX-License-Identifier: MIT */
/* Private to Socket.c and the files of socket/: the representation of a socket, and the calls
 * between these files. The calls for the other modules are in socket/internal.h.
 *
 * Invariant: magic is MAGIC from the moment the object is made until it is closed; fd is open and
 * owned by the object alone. peer holds the address of a connected IP socket, kept because the
 * kernel forgets it when the connection is reset, which is when a message has to name it; unless it
 * is `known` there is no peer. Listeners of Unix sockets are `named`, by their path, and nothing
 * was read from them. On the others ahead is NULL or has start <= end <= size, the bytes from start
 * to end being those recv gives first.
 *
 * Ten thousand idle connections are as many of these: 72 bytes are what malloc makes 80 of.
 *
 * A wait with an end is a call that does not block and a poll(2), never SO_RCVTIMEO: that would
 * count anew after each signal. Functions that only try return -1 and errno and are allowed no
 * raise, so that what they were called with can be given back first; the public functions raise. */
#ifndef SOCKETREP_INCLUDED
#define SOCKETREP_INCLUDED
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <core/Socket.h>
#include "base/cancel.h"
#include "base/checked.h"
#include "socket/internal.h"

#if !defined MSG_NOSIGNAL /* there, SO_NOSIGPIPE does it for the descriptor */
#define MSG_NOSIGNAL 0
#endif

enum { NAME_SIZE = 512 }; /* "[address%interface]:port", "unix:/path"; longer host names are cut */
static const uint32_t MAGIC = 0x534f434b; /* "SOCK" */

typedef struct Peer { /* what a sockaddr has that names it, without the rest of its 128 bytes */
	unsigned char address[16]; /* that of version 4 as ::ffff:a.b.c.d */
	uint32_t scope;
	in_port_t port;            /* as the network has it */
	unsigned char known;
} Peer;

typedef struct Path {
	pid_t creator; /* the process that unlinks it at close; 0: none does */
	dev_t device;  /* of the file we made: another may have taken its place */
	ino_t file;
	char name[];   /* absolute if that could be had: the process may change its directory */
} Path;

typedef struct Ahead {
	size_t start, end, size;
	char bytes[];
} Ahead;

struct Socket {
	uint32_t magic;
	int fd;
	int timeout;           /* ms; -1: none */
	unsigned char nonblocking; /* the caller asked for it */
	unsigned char polled;      /* accept made the descriptor non-blocking for its own sake */
	unsigned char protocol, named;
	Peer peer;
	union {
		Path *path;        /* named */
		Ahead *ahead;
	} u;
	void *owner;           /* atomic */
	int64_t moved;         /* atomic; socket__now_coarse() */
	void *watch;           /* the poll it is in */
};

#define CHECK_SOCKET(s) ((s) && (s)->magic == MAGIC ? (void)0 : socket__bad((s), __func__))

static inline int is_ip(int family)
{
	return family == AF_INET || family == AF_INET6;
}

static inline int socket__is_v4(const Peer *peer)
{
	static const unsigned char mapped[12] = { [10] = 0xFF, [11] = 0xFF };

	return memcmp(peer->address, mapped, sizeof mapped) == 0;
}

static inline int would_block(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK;
}

/* socket/name.c: names of NAME_SIZE bytes at most, for messages; and the raises that hold them. */
typedef int Query(int, struct sockaddr *, socklen_t *); /* getpeername or getsockname */
int socket__name_by(Query *query, int fd, char *name);
int socket__name_peer(Socket_T, char *name); /* 0 if there is none */
const char *socket__name_of(Socket_T, char *name);
const char *socket__name_target(const char *host, const char *service, char *name);
const char *socket__unix_path(const char *host); /* NULL if it is none */
void socket__bad(const struct Socket *, const char *function) CORE_NORETURN;
void socket__failed(const char *what, const char *whom, int error) CORE_NORETURN;
void socket__failed_on(const char *what, Socket_T, int error) CORE_NORETURN;
void socket__timed_out(const char *what, Socket_T, int64_t ms) CORE_NORETURN;

/* socket/listen.c */
void socket__unlink_own(const Path *); /* in the process that made it, and when it is still that file */

/* socket/open.c; only resolve and make raise. fd is not negative. */
struct addrinfo;
struct sockaddr_un;
int socket__open(int family); /* a descriptor as ours all are, or -1 and errno */
int socket__meets_itself(int fd); /* 1: connected to itself; close it */
void socket__free_addresses(struct addrinfo **); /* keeps errno */
int socket__lacks_family(int error); /* this machine has no such address, or none of its kind */
void socket__set_option(int fd, int level, int option, int value); /* one that cannot fail in a way that matters */
void socket__remember(Peer *, const void *address); /* unless it is no IP address */
socklen_t socket__unix_address(const char *path, struct sockaddr_un *); /* its length, or 0 and errno */
struct addrinfo *socket__resolve(const char *what, const char *host, const char *service, int flags, int family);
Socket_T socket__make(int fd, Path *, const char *what, const char *whom); /* takes them over, also when it raises */

/* For the owner, who wants to know how long the connection has been idle. */
static inline size_t socket__moved(Socket_T s, ssize_t n)
{
	if (__atomic_load_n(&s->owner, __ATOMIC_RELAXED))
		__atomic_store_n(&s->moved, socket__now_coarse(), __ATOMIC_RELAXED);
	return (size_t)n;
}

/* Socket.c; none of these raises */
int socket__set_blocking(int fd, int on);
int socket__wait_until(int fd, int for_write, int64_t deadline); /* 1 ready, 0 not by then, -1 and errno */

#endif
