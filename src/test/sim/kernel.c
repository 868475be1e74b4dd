/* SPDX-License-Identifier: MIT */
/* The simulated kernel: descriptors, streams, what is ready, and waiting. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "kernel.h"

World world;
Faults faults;
int kernel_quiet;
File *kernel_files[KERNEL_FILES];
static int most_files;
static Stream *streams; /* all of this run */
static int nstreams;
KernelLoop kernel_loops[LOOPS];

/* ---- bytes ---- */

void *sim_alloc(size_t n)
{
	return __real_calloc(1, n);
}

void bytes_put(Bytes *b, const void *from, size_t n)
{
	if (n == 0)
		return;
	if (b->start == b->end)
		b->start = b->end = 0;
	if (b->end + n > b->room) {
		b->room = 2 * (b->end + n);
		b->at = __real_realloc(b->at, b->room);
	}
	memcpy(b->at + b->end, from, n);
	b->end += n;
}

size_t bytes_take(Bytes *b, void *to, size_t n)
{
	if (n > bytes_length(b))
		n = bytes_length(b);
	if (to && n > 0)
		memcpy(to, b->at + b->start, n);
	b->start += n;
	return n;
}

void bytes_free(Bytes *b)
{
	free(b->at);
	memset(b, 0, sizeof *b);
}

/* ---- descriptors ---- */

int kernel_open(FileKind kind)
{
	int fd = KERNEL_FIRST;

	while (fd < KERNEL_FILES && kernel_files[fd])
		fd++;
	if (fd - KERNEL_FIRST >= most_files) {
		errno = EMFILE;
		return -1;
	}
	kernel_files[fd] = sim_alloc(sizeof *kernel_files[fd]);
	kernel_files[fd]->kind = kind;
	return fd;
}

File *kernel_file(int fd)
{
	if (fd < KERNEL_FIRST || fd >= KERNEL_FILES || !kernel_files[fd]) {
		errno = EBADF;
		return NULL;
	}
	return kernel_files[fd];
}

int kernel_descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < KERNEL_FILES; fd++)
		n += kernel_files[fd] != NULL;
	return n;
}

static int count_files(FileKind kind)
{
	int fd, n = 0;

	for (fd = 0; fd < KERNEL_FILES; fd++)
		n += kernel_files[fd] && kernel_files[fd]->kind == kind;
	return n;
}

int kernel_listeners(void)
{
	return count_files(FILE_LISTENER);
}

int kernel_polls(void)
{
	return count_files(FILE_EPOLL);
}

static const File *listener_of(int loop)
{
	int fd;

	for (fd = 0; fd < KERNEL_FILES; fd++)
		if (kernel_files[fd] && kernel_files[fd]->kind == FILE_LISTENER
			&& kernel_files[fd]->loop == loop)
			return kernel_files[fd];
	return NULL;
}

int kernel_listens(int loop)
{
	return listener_of(loop) != NULL;
}

size_t kernel_backlog(int loop)
{
	const File *f = listener_of(loop);
	const Stream *s;
	size_t n = 0;

	for (s = f ? f->backlog : NULL; s; s = s->next)
		n++;
	return n;
}

int64_t kernel_waiting_since(int loop)
{
	const File *f = listener_of(loop);

	return f && f->backlog ? f->since : -1;
}

/* ---- streams ---- */

Stream *kernel_stream(void)
{
	Stream *s = sim_alloc(sizeof *s);

	s->id = ++nstreams;
	s->port = 10000 + s->id;
	s->all = streams;
	streams = s;
	return s;
}

/* The kernel chooses a listener by a hash of the addresses, which is to say at random. */
static File *choose_listener(void)
{
	int fd, n = sim_below(kernel_listeners());

	for (fd = 0; fd < KERNEL_FILES; fd++)
		if (kernel_files[fd] && kernel_files[fd]->kind == FILE_LISTENER && n-- == 0)
			return kernel_files[fd];
	return NULL;
}

Stream *kernel_dial(size_t out_room)
{
	File *f = choose_listener();
	Stream *s, **end;

	if (!f)
		return NULL;
	s = kernel_stream();
	s->connected = 1;
	s->out_room = out_room;
	for (end = &f->backlog; *end; end = &(*end)->next)
		;
	if (!f->backlog)
		f->since = sim_now;
	*end = s;
	return s;
}

void stream_push(Stream *s, const void *bytes, size_t n)
{
	if (s->broken || s->left || n == 0)
		return;
	if (s->closed) { /* answered by a reset, which overtakes what was not taken yet */
		s->lost = bytes_length(&s->out) > 0;
		bytes_take(&s->out, NULL, SIZE_MAX);
		s->broken = 1;
		return;
	}
	bytes_put(&s->in, bytes, n);
}

size_t stream_pull(Stream *s, void *bytes, size_t n)
{
	return bytes_take(&s->out, bytes, n);
}

void stream_end(Stream *s)
{
	s->in_ended = 1;
}

void stream_reset(Stream *s)
{
	s->left = s->broken = 1;
	s->error = ECONNRESET;
	bytes_take(&s->in, NULL, SIZE_MAX);
	bytes_take(&s->out, NULL, SIZE_MAX);
}

void stream_connect(Stream *s, int error)
{
	if (s->closed)
		return;
	s->connected = !error;
	s->error = error;
	s->broken = error != 0;
}

/* With unread input it is a reset. */
void kernel_close_stream(Stream *s)
{
	if (s->closed)
		return;
	s->closed = s->out_ended = 1;
	if (world.ended && !kernel_quiet)
		world.ended(s);
	if (bytes_length(&s->in) == 0)
		return;
	if (bytes_length(&s->out) > 0 && sim_chance(50)) {
		s->lost = 1;
		bytes_take(&s->out, NULL, SIZE_MAX);
	}
	s->broken = 1;
}

/* ---- what is ready ---- */

static unsigned stream_events(const Stream *s)
{
	unsigned events = 0;

	if (s->broken)
		return EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP;
	if (bytes_length(&s->in) > 0 || s->in_ended)
		events |= EPOLLIN;
	if (s->connected && 3 * bytes_length(&s->out) <= 2 * s->out_room)
		events |= EPOLLOUT;
	if (s->in_ended && s->out_ended)
		events |= EPOLLHUP;
	return events;
}

unsigned kernel_ready(const File *f)
{
	switch (f->kind) {
	case FILE_LISTENER:
		return f->backlog ? EPOLLIN : 0;
	case FILE_STREAM:
		return f->stream ? stream_events(f->stream) : EPOLLHUP;
	case FILE_EVENT:
		return f->count ? EPOLLIN | EPOLLOUT : EPOLLOUT;
	default:
		return 0;
	}
}

int kernel_events_of(const Stream *s)
{
	int e, i;

	for (e = 0; e < KERNEL_FILES; e++)
		for (i = 0; kernel_files[e] && i < kernel_files[e]->nwatches; i++) {
			const Watch *w = &kernel_files[e]->watches[i];

			if (kernel_files[w->fd] && kernel_files[w->fd]->stream == s)
				return (int)w->events;
		}
	return 0;
}

int kernel_wait(int (*ready)(void *cl), void *cl, int ms)
{
	int64_t now = sim_now;

	if (ready(cl) || ms == 0)
		return 1;
	return task_block(ready, cl, ms < 0 ? -1 : now + (int64_t)ms * 1000);
}

/* ---- a run ---- */

void kernel_reset(int most)
{
	int fd;

	for (fd = 0; fd < KERNEL_FILES; fd++) {
		free(kernel_files[fd]);
		kernel_files[fd] = NULL;
	}
	while (streams) {
		Stream *s = streams;

		streams = s->all;
		bytes_free(&s->in);
		bytes_free(&s->out);
		free(s);
	}
	nstreams = 0;
	most_files = most < KERNEL_FILES - KERNEL_FIRST ? most : KERNEL_FILES - KERNEL_FIRST;
	memset(&world, 0, sizeof world);
	memset(&faults, 0, sizeof faults);
	kernel_quiet = kernel_yields = 0;
	memset(kernel_loops, 0, sizeof kernel_loops);
}
