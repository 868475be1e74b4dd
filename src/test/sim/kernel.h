/* SPDX-License-Identifier: MIT */
/* Private to the files of the kernel. */
#ifndef KERNEL_INCLUDED
#define KERNEL_INCLUDED
#include "sim.h"

enum { KERNEL_FIRST = 100, KERNEL_FILES = 164, WATCHES = 64 };

typedef enum FileKind { FILE_PLAIN, FILE_LISTENER, FILE_STREAM, FILE_EPOLL, FILE_EVENT } FileKind;

typedef struct Watch {
	int fd;
	unsigned events;
	uint64_t data;
} Watch;

typedef struct File {
	FileKind kind;
	int nonblocking, port;
	Stream *backlog; /* of a listener */
	int64_t since;	 /* when somebody came to the empty backlog */
	Stream *stream;
	uint64_t count;		/* of an eventfd */
	Watch watches[WATCHES]; /* of an epoll */
	int nwatches;
	int loop; /* of an epoll, and of a listener that it watches */
	int shares_port;
} File;

extern File *kernel_files[KERNEL_FILES];
int kernel_open(FileKind kind); /* the lowest that is free; -1 and errno */
File *kernel_file(int fd);	/* NULL and errno */
Stream *kernel_stream(void);
void kernel_close_stream(Stream *s);
unsigned kernel_ready(const File *f); /* as epoll reports it */
void kernel_unwatch(File *epoll, int fd);
/* 1: ready, or ms is 0. */
int kernel_wait(int (*ready)(void *cl), void *cl, int ms);

/* Returns 1 if this call is to fail, and tells the world. */
int kernel_fails(int chance, Stream *s, const char *call);
void kernel_check_unlocked(void); /* before a task waits */
void kernel_note_loop(void);	  /* the thread that runs waits in an epoll: it is no worker */
int kernel_is_interrupted(void);  /* sets errno if so */

/* The function that --wrap puts in the place of another. */
#define CALL(type, name, ...) \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);

#endif
