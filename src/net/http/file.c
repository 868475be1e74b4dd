/* SPDX-License-Identifier: MIT */
/* A response whose body is a part of a file. From the call on, the response owns the descriptor. It
 * closes it when the body is out or at a reset, at the latest when the arena ends. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <core/HTTP.h>
#include "base/checked.h"
#include "http/file.h"
#include "http/rep.h"

enum { PIECE = 64 * 1024 };

static void close_descriptor(void *cl)
{
	int *fd = cl, error = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = error;
}

void httpresponse__close_file(HTTPResponse_T r)
{
	if (r->file)
		close_descriptor(&r->file->fd);
	r->file = NULL;
}

static void check_response(HTTPResponse_T r, int64_t offset, int64_t nbytes)
{
	CHECK_HANDLE(r, "response");
	CHECK(!r->begun, "HTTPResponse_file: the response is being sent");
	CHECK(r->message.nbytes == 0, "HTTPResponse_file: %zu bytes were written", r->message.nbytes);
	CHECK(!r->more, "HTTPResponse_file: the response is a stream");
	CHECK(!r->upgrade, "HTTPResponse_file: the response is an upgrade");
	CHECK(offset >= 0, "HTTPResponse_file: the offset is %lld", (long long)offset);
	CHECK(nbytes <= INT64_MAX - offset,
		"HTTPResponse_file: %lld bytes from %lld on", (long long)nbytes, (long long)offset);
}

/* A negative descriptor is the result of an open whose errno is still there, if it is not 0. So the
 * message has the reason for a missing file, and does not say that the descriptor is bad. */
static int64_t size_of(int fd)
{
	struct stat st;

	if (fd < 0 && errno != 0)
		EXCEPT_RAISE_ERRNO(HTTP_Failed, "HTTPResponse_file: descriptor %d, of a failed open", fd);
	if (fstat(fd, &st) != 0)
		EXCEPT_RAISE_ERRNO(HTTP_Failed, "HTTPResponse_file: descriptor %d", fd);
	if (!S_ISREG(st.st_mode))
		EXCEPT_RAISE_MSG(HTTP_Failed, "HTTPResponse_file: descriptor %d is not a regular file", fd);
	return (int64_t)st.st_size;
}

static struct HTTPFile *make_file(HTTPResponse_T r, int64_t offset, int64_t nbytes)
{
	struct HTTPFile *file;

	NEW(r->message.arena, file);
	*file = (struct HTTPFile){ .fd = -1, .offset = offset, .left = nbytes };
	Arena_defer(r->message.arena, close_descriptor, &file->fd);
	return file;
}

void HTTPResponse_file(HTTPResponse_T r, int fd, int64_t offset, int64_t nbytes)
{
	int given = fd;
	int64_t size;
	struct HTTPFile *file;

	DEFER(close_descriptor, &given);
	check_response(r, offset, nbytes);
	size = size_of(fd);
	if (nbytes < 0)
		nbytes = size > offset ? size - offset : 0;
	file = make_file(r, offset, nbytes);
	file->fd = fd;
	given = -1;
	httpresponse__close_file(r);
	r->file = file;
	httpmessage__seal(&r->message);
	r->has_length = 0;
}

void httpresponse__refuse_file(HTTPResponse_T r, int error)
{
	errno = error;
	if (error)
		EXCEPT_RAISE_ERRNO(HTTP_Failed,
			"HTTPResponse_file: read at %lld", (long long)r->file->offset);
	EXCEPT_RAISE_MSG(HTTP_Failed,
		"HTTPResponse_file: the file ends %lld bytes before what was announced",
		(long long)r->file->left);
}

static void close_file_of(void *r)
{
	httpresponse__close_file(r);
}

void httpresponse__send_file(Socket_T client, HTTPResponse_T r)
{
	struct HTTPFile *file = r->file;
	char *bytes = Arena_alloc(r->message.arena, PIECE);

	DEFER(close_file_of, r);
	while (file->left > 0) {
		size_t want = file->left < PIECE ? (size_t)file->left : PIECE;
		ssize_t n = pread(file->fd, bytes, want, (off_t)file->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			httpresponse__refuse_file(r, n < 0 ? errno : 0);
		Socket_sendall(client, bytes, (size_t)n);
		file->offset += n;
		file->left -= n;
	}
}
