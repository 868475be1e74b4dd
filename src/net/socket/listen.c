/* SPDX-License-Identifier: MIT */
/* Socket, continued: listeners at an address, at a shared port, or at a file. */
#include "config.h"

#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "socket/rep.h"

#define T Socket_T

/* ---- files; nothing in this part raises ---- */

/* Makes the name absolute, because it is looked up again when the listener is closed and the
 * process may have another directory then. A descriptor of the directory would work even after a
 * rename, but costs each listener one. */
static Path *make_path(const char *name)
{
	char directory[PATH_MAX] = "";
	size_t n;
	Path *p;

	if (name[0] != '/' && name[0] != '@'
		&& (!getcwd(directory, sizeof directory) || directory[0] != '/'))
		directory[0] = '\0';
	n = strlen(directory) + 1 + strlen(name) + 1;
	p = calloc(1, sizeof *p + n);
	if (p)
		snprintf(p->name, n, "%s%s%s", directory, directory[0] ? "/" : "", name);
	return p;
}

static void remember_file(Path *p)
{
	struct stat file;

	if (p->name[0] == '@' || lstat(p->name, &file) != 0)
		return;
	p->creator = getpid();
	p->device = file.st_dev;
	p->file = file.st_ino;
}

void socket__unlink_own(const Path *p)
{
	struct stat file;

	if (p->creator && p->creator == getpid() && lstat(p->name, &file) == 0
			&& file.st_dev == p->device && file.st_ino == p->file)
		unlink(p->name);
}

/* ---- listening ---- */

/* The listener that a caller asks for. */
typedef struct Listening {
	const char *host, *service;
	int backlog, shared;
	int mode; /* a file's permissions; -1 means those of the umask */
} Listening;

static int share_port(int fd)
{
#if defined SO_REUSEPORT
	int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
#else
	(void)fd;
	errno = ENOPROTOOPT;
	return -1;
#endif
}

static int listen_at_address(const struct addrinfo *a, int both_families, const Listening *how)
{
	int fd = socket__open(a->ai_family);

	if (fd < 0)
		return -1;
	socket__set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
#if defined IPV6_V6ONLY
	/* "::" means IPv6 only, whatever the system's default is */
	if (a->ai_family == AF_INET6)
		socket__set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both_families);
#endif
	if ((!how->shared || share_port(fd) == 0) && bind(fd, a->ai_addr, a->ai_addrlen) == 0
			&& listen(fd, how->backlog) == 0)
		return fd;
	close_descriptor(fd);
	return -1;
}

/* Listens at the first address that this machine has. If the port is taken there, it does not try
 * the next address. Otherwise two servers on localhost could be at 127.0.0.1 and at ::1, and no one
 * would notice. */
static int listen_host(const char *host, const Listening *how)
{
	struct addrinfo *a, *list __attribute__((cleanup(socket__free_addresses)))
		= socket__resolve("listen", host, how->service, AI_PASSIVE, host ? AF_UNSPEC : AF_INET6);
	WITHOUT_CANCELLATION;
	int fd = -1;

	for (a = list; a; a = a->ai_next)
		if ((fd = listen_at_address(a, !host, how)) >= 0 || !socket__lacks_family(errno))
			break;
	return fd;
}

static int listen_everywhere(const Listening *how)
{
	int fd = listen_host(NULL, how);

	return fd < 0 && socket__lacks_family(errno) ? listen_host("0.0.0.0", how) : fd;
}

/* Returns 1 if the file is a socket whose process has died, so that it refuses. connect(2) fails
 * so for other kinds of files, too. */
static int is_stale_file(const struct sockaddr_un *a, socklen_t n)
{
	struct stat file;
	int fd, refused;

	if (a->sun_path[0] == '\0' || lstat(a->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode))
		return 0;
	fd = socket__open(AF_UNIX);
	if (fd < 0)
		return 0;
	socket__set_blocking(fd, 0); /* a live listener may have a full backlog */
	refused = connect(fd, (const struct sockaddr *)a, n) != 0 && errno == ECONNREFUSED;
	close_descriptor(fd);
	return refused;
}

static int bind_unix(int fd, const struct sockaddr_un *a, socklen_t n)
{
	if (bind(fd, (const struct sockaddr *)a, n) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -1;
	if (!is_stale_file(a, n)) {
		errno = EADDRINUSE;
		return -1;
	}
	if (unlink(a->sun_path) != 0 && errno != ENOENT)
		return -1;
	return bind(fd, (const struct sockaddr *)a, n);
}

/* On Linux the file gets the mode of the socket's own inode, less the umask. Elsewhere its mode
 * may be wider for a moment, but it refuses connections, because listen comes after chmod. */
static void narrow_mode(int fd, int mode)
{
	int result = mode < 0 ? 0 : fchmod(fd, (mode_t)mode);

	(void)result;
}

/* Returns 0, or -1 and errno. */
static int set_mode(const Path *p, int mode)
{
	struct stat file;

	if (mode < 0)
		return 0;
	if (lstat(p->name, &file) != 0)
		return -1;
	return S_ISSOCK(file.st_mode) && (file.st_mode & 07777) != (mode_t)mode
		? chmod(p->name, (mode_t)mode)
		: 0;
}

/* Nothing here waits. */
static int listen_unix(const char *file, Path *path, const Listening *how)
{
	WITHOUT_CANCELLATION;
	struct sockaddr_un a;
	socklen_t n = socket__unix_address(file, &a);
	int fd = n ? socket__open(AF_UNIX) : -1;

	if (fd < 0)
		return -1;
	narrow_mode(fd, how->mode);
	if (bind_unix(fd, &a, n) == 0) {
		remember_file(path);
		if (set_mode(path, how->mode) == 0 && listen(fd, how->backlog) == 0)
			return fd;
		socket__unlink_own(path);
	}
	close_descriptor(fd);
	return -1;
}

static T listen_file(const char *host, const char *file, const Listening *how)
{
	Path *path = make_path(file);
	int fd, error;

	if (!path)
		socket__failed_at("listen", host, NULL, ENOMEM);
	fd = listen_unix(file, path, how);
	if (fd < 0) {
		error = errno;
		free(path);
		socket__failed_at("listen", host, NULL, error);
	}
	return socket__make(fd, path, "listen", host, NULL);
}

static T listen_port(const Listening *how)
{
	int fd = how->host ? listen_host(how->host, how) : listen_everywhere(how);

	if (fd < 0)
		socket__failed_at("listen", how->host, how->service, errno);
	return socket__make(fd, NULL, "listen", how->host, how->service);
}

/* The kernel cuts a backlog to its own limit, which may differ from SOMAXCONN. */
static int choose_backlog(int backlog)
{
	return backlog > 0 ? backlog : INT_MAX;
}

T Socket_listen(const char *host, const char *service, int backlog)
{
	const char *file = socket__unix_path(host);
	Listening how = { host, service, choose_backlog(backlog), 0, -1 };
	int error = errno;
	T s;

	CHECK(service || file, "Socket_listen: the service is NULL");
	s = file ? listen_file(host, file, &how) : listen_port(&how);
	errno = error;
	return s;
}

T Socket_listen_shared(const char *host, const char *service, int backlog)
{
	Listening how = { host, service, choose_backlog(backlog), 1, -1 };
	int error = errno;
	T s;

	CHECK(!socket__unix_path(host), "Socket_listen_shared: %s has no port to share", host);
	CHECK(service, "Socket_listen_shared: the service is NULL");
	s = listen_port(&how);
	errno = error;
	return s;
}

T Socket_listen_unix(const char *path, int mode, int backlog)
{
	const char *file = socket__unix_path(path);
	Listening how = { NULL, NULL, choose_backlog(backlog), 0, mode };
	int error = errno;
	char host[NAME_SIZE];
	T s;

	CHECK(path, "Socket_listen_unix: the path is NULL");
	CHECK(mode >= 0 && mode <= 0777, "Socket_listen_unix: the mode is 0%o", (unsigned)mode);
	if (!file)
		file = path;
	CHECK(file[0] != '@', "Socket_listen_unix: %s has no file, and no mode", file);
	snprintf(host, sizeof host, "unix:%s", file);
	s = listen_file(host, file, &how);
	errno = error;
	return s;
}
