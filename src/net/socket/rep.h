/* SPDX-License-Identifier: MIT */
/* Private to Socket.c and the files of socket/: the representation of a socket, and the calls
 * between these files. The calls for the other modules are in socket/internal.h.
 *
 * Invariant: magic is MAGIC from the creation of the object until its close. fd is open, and only
 * this object owns it. If peer is `known`, it has the address of a connected IP socket. The
 * kernel forgets the address when the connection is reset, which is when a message must name it.
 * Listeners of Unix sockets are `named` and have a path; no bytes were read from them. In all
 * others `ahead` is NULL or has start <= end <= size, and recv returns the bytes from start to
 * end first.
 *
 * There is one object for each of ten thousand idle connections. It has 72 bytes, of which malloc
 * makes 80.
 *
 * A wait with a deadline is a call that does not block and a poll(2), never SO_RCVTIMEO, which
 * begins again after each signal. Functions that only try return -1 and errno. They do not raise,
 * so that their callers can give back what they hold. The public functions raise. */
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

#if !defined MSG_NOSIGNAL /* such systems have SO_NOSIGPIPE for the descriptor */
#define MSG_NOSIGNAL 0
#endif

enum { NAME_SIZE = 512 }; /* "[address%interface]:port", "unix:/path"; longer host names are cut */
static const uint32_t MAGIC = 0x534f434b; /* "SOCK" */

typedef struct Peer { /* the address in a sockaddr, without the rest of its 128 bytes */
	unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint32_t scope;
	in_port_t port;            /* in network byte order */
	unsigned char known;
} Peer;

typedef struct Path {
	pid_t creator; /* the process that unlinks it at close, or 0 */
	dev_t device;  /* the file that we made; another may have replaced it */
	ino_t file;
	char name[];   /* absolute if possible: the process may change its directory */
} Path;

typedef struct Ahead {
	size_t start, end, size;
	char bytes[];
} Ahead;

struct Socket {
	uint32_t magic;
	int fd;
	int timeout;           /* ms, or -1 */
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

/* socket/name.c: names of at most NAME_SIZE bytes for messages, and the raises that use them. */
typedef int Query(int, struct sockaddr *, socklen_t *); /* getpeername or getsockname */
int socket__name_by(Query *query, int fd, char *name);
int socket__name_peer(Socket_T, char *name); /* returns 0 if there is none */
const char *socket__name_of(Socket_T, char *name);
const char *socket__name_target(const char *host, const char *service, char *name);
const char *socket__unix_path(const char *host); /* returns NULL if it is none */
void socket__bad(const struct Socket *, const char *function) CORE_NORETURN;
void socket__failed(const char *what, const char *whom, int error) CORE_NORETURN;
void socket__failed_at(const char *what, const char *host, const char *service, int error)
	CORE_NORETURN;

/* socket/listen.c */
/* Only in the process that made the file, and only if it is still that file. */
void socket__unlink_own(const Path *);

/* socket/open.c. Only resolve and make raise. fd is not negative. */
struct addrinfo;
struct sockaddr_un;
int socket__open(int family); /* returns a descriptor with our options, or -1 and errno */
int socket__meets_itself(int fd); /* returns 1 if it is connected to itself; close it */
void socket__free_addresses(struct addrinfo **); /* keeps errno */
int socket__lacks_family(int error); /* returns 1 if this machine has no such address or family */
/* Ignores a failure. */
void socket__set_option(int fd, int level, int option, int value);
void socket__remember(Peer *, const void *address); /* does nothing for other addresses than IP */
/* Returns the length, or 0 and errno. */
socklen_t socket__unix_address(const char *path, struct sockaddr_un *);
struct addrinfo *socket__resolve(const char *what, const char *host, const char *service,
	int flags, int family);
/* Takes over fd and path, also if it raises. */
Socket_T socket__make(int fd, Path *, const char *what, const char *host, const char *service);

/* Notes that bytes moved, so that the owner knows how long the connection has been idle. */
static inline size_t socket__moved(Socket_T s, ssize_t n)
{
	if (__atomic_load_n(&s->owner, __ATOMIC_RELAXED))
		__atomic_store_n(&s->moved, socket__now_coarse(), __ATOMIC_RELAXED);
	return (size_t)n;
}

/* Socket.c. None of these raises. */
int socket__set_blocking(int fd, int on);
/* Returns 1 if it is ready, 0 after the deadline, or -1 and errno. */
int socket__wait_until(int fd, int for_write, int64_t deadline);

#endif
