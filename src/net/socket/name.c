/* SPDX-License-Identifier: MIT */
/* Socket, continued: the messages of its exceptions. Each names the operation and the peer. */
#include "config.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/text.h"
#include "socket/rep.h"

#define T Socket_T

enum { HOST_MOST = 400, SERVICE_MOST = 64 }; /* bytes of them in a name */

EXCEPT_DEFINE(Socket_Failed, NULL, "socket operation failed");
EXCEPT_DEFINE(Socket_Closed, &Socket_Failed, "connection closed by the peer");
EXCEPT_DEFINE(Socket_Timeout, &Socket_Failed, "socket operation timed out");
EXCEPT_DEFINE(Socket_Refused, &Socket_Failed, "connection refused");
EXCEPT_DEFINE(Socket_Unresolved, &Socket_Failed, "host or service not found");

/* ---- argument checks ---- */

void socket__bad(const struct Socket *s, const char *function) CORE_NORETURN;
void socket__bad(const struct Socket *s, const char *function)
{
	if (!s)
		EXCEPT_RAISE_MSG(Assert_Failed, "%s: the socket is NULL", function);
	EXCEPT_RAISE_MSG(Assert_Failed, "%s: %p is not an open socket", function, (const void *)s);
}

/* ---- names ---- */

/* Shows an IPv4 peer of a listener for both families as an IPv4 address. */
static void name_v4(const Peer *peer, char *name)
{
	const unsigned char *b = peer->address + 12;

	snprintf(name, NAME_SIZE, "%d.%d.%d.%d:%d", b[0], b[1], b[2], b[3], ntohs(peer->port));
}

/* Includes the name of the interface, if there is one. */
static void name_v6(const Peer *peer, char *name)
{
	struct sockaddr_in6 a = { 0 };
	char host[INET6_ADDRSTRLEN + 64] = "?";

	a.sin6_family = AF_INET6;
#if defined SIN6_LEN /* the BSDs' getnameinfo looks at it */
	a.sin6_len = sizeof a;
#endif
	a.sin6_scope_id = peer->scope;
	memcpy(&a.sin6_addr, peer->address, sizeof a.sin6_addr);
	getnameinfo((struct sockaddr *)&a, sizeof a, host, sizeof host, NULL, 0, NI_NUMERICHOST);
	snprintf(name, NAME_SIZE, "[%s]:%d", host, ntohs(peer->port));
}

static void name_ip(const Peer *peer, char *name)
{
	if (socket__is_v4(peer))
		name_v4(peer, name);
	else
		name_v6(peer, name);
}

/* Returns 0 if the socket has no name */
static int name_unix(const struct sockaddr_un *a, socklen_t n, char *name)
{
	size_t header = offsetof(struct sockaddr_un, sun_path), length = n > header ? n - header : 0;
	int abstract = length > 0 && a->sun_path[0] == '\0';

	if (length == (size_t)abstract) {
		snprintf(name, NAME_SIZE, "unix:(unnamed)");
		return 0;
	}
	snprintf(name, NAME_SIZE, "unix:%s%.*s", abstract ? "@" : "", (int)length - abstract,
		a->sun_path + abstract);
	return 1;
}

/* Writes the name that getsockname or getpeername returns. Returns 0 if there is none. */
int socket__name_by(Query *query, int fd, char *name)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof a;

	name[0] = '\0';
	if (query(fd, (struct sockaddr *)&a, &n) != 0)
		return 0;
	if (a.ss_family == AF_UNIX)
		return name_unix((struct sockaddr_un *)&a, n, name);
	if (is_ip(a.ss_family)) {
		Peer ip;

		socket__remember(&ip, &a);
		name_ip(&ip, name);
		return 1;
	}
	snprintf(name, NAME_SIZE, "(address family %d)", a.ss_family);
	return 1;
}

int socket__name_peer(T s, char *name)
{
	if (s->peer.known) {
		name_ip(&s->peer, name);
		return 1;
	}
	return socket__name_by(getpeername, s->fd, name);
}

/* Writes the peer's name for a message, or the socket's own name if the peer has none. */
const char *socket__name_of(T s, char *name)
{
	char local[NAME_SIZE];

	if (!socket__name_peer(s, name)
		&& (socket__name_by(getsockname, s->fd, local) || name[0] == '\0'))
		memcpy(name, local, sizeof local);
	return name;
}

const char *socket__unix_path(const char *host)
{
	return host && strncmp(host, "unix:", 5) == 0 ? host + 5 : NULL;
}

/* Returns the number of bytes of the text to show. */
static int shown_bytes(const char *text, size_t most)
{
	size_t n = strlen(text);

	return (int)(n > most ? text__cut(text, most) : n);
}

/* Writes the host and service as the caller gave them. */
const char *socket__name_target(const char *host, const char *service, char *name)
{
	int host_bytes = host ? shown_bytes(host, HOST_MOST) : 0;

	if (socket__unix_path(host))
		snprintf(name, NAME_SIZE, "%.*s", host_bytes, host);
	else if (!host)
		snprintf(name, NAME_SIZE, "*:%.*s", shown_bytes(service, SERVICE_MOST), service);
	else
		snprintf(name, NAME_SIZE, strchr(host, ':') ? "[%.*s]:%.*s" : "%.*s:%.*s", host_bytes, host,
			shown_bytes(service, SERVICE_MOST), service);
	return name;
}

/* ---- raises ---- */

static const Except_T *kind_of_error(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return &Socket_Refused;
	case ETIMEDOUT:
		return &Socket_Timeout;
	case ECONNRESET: case EPIPE: case ENOTCONN: case ESHUTDOWN:
		return &Socket_Closed;
	default:
		return &Socket_Failed;
	}
}

void socket__failed(const char *what, const char *whom, int error) CORE_NORETURN;
void socket__failed(const char *what, const char *whom, int error)
{
	const Except_T *e = kind_of_error(error);

	errno = error;
	EXCEPT_RAISE_ERRNO(*e, "%s %s", what, whom);
}

void socket__failed_at(const char *what, const char *host, const char *service, int error)
	CORE_NORETURN;
void socket__failed_at(const char *what, const char *host, const char *service, int error)
{
	char name[NAME_SIZE];

	socket__failed(what, socket__name_target(host, service, name), error);
}

void socket__failed_on(const char *what, T s, int error) CORE_NORETURN;
void socket__failed_on(const char *what, T s, int error)
{
	char name[NAME_SIZE];

	socket__failed(what, socket__name_of(s, name), error);
}

void socket__timed_out(const char *what, T s, int64_t ms) CORE_NORETURN;
void socket__timed_out(const char *what, T s, int64_t ms)
{
	char name[NAME_SIZE];

	socket__name_of(s, name);
	RAISE_FOR_ERRNO(Socket_Timeout, ETIMEDOUT, "%s %s: timed out after %lld ms", what, name,
		(long long)ms);
}
