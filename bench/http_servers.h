/* SPDX-License-Identifier: MIT */
/* The servers of bench_http: each is a process on the first processor that answers any GET / with
 * the same small page. */
#ifndef BENCH_HTTP_SERVERS_INCLUDED
#define BENCH_HTTP_SERVERS_INCLUDED
#include <stddef.h>
#include <sys/types.h>

enum { HTTP_CLIENTS = 64, HTTP_IDLE = 10000 };

typedef struct Http_Server {
	const char *name;
	/* in the process; the directory is its own */
	void (*serve)(int listener, int port, const char *directory);
	int listens;                 /* by itself, at the port: it gets no listener */
	/* it takes half as many connections as there are descriptors: not HTTP_IDLE */
	int few;
	int most;                    /* requests that a connection may make; 0: any number */
	pid_t process;               /* 0: it does not run */
	int port;
	char directory[32];
	/* the client's: connections, and the requests that each has made */
	int fd[HTTP_CLIENTS], made;
	double idle_bytes;           /* that it takes for an idle connection, once measured */
} Http_Server;

/* The bare loop first, HTTPServer second. */
extern Http_Server http_servers[];
extern const int http_nservers;

/* Another build of this program, whose HTTPServer takes part, too; and what that other one does:
 * it serves descriptor 3. */
extern const char *http_other;
void http_serve_activated(void);

void http_start(Http_Server *s); /* prints that it is left out, if it does not answer */
void http_stop(Http_Server *s);
void http_pin(int processor);
int http_dial(const Http_Server *s); /* -1: it does not listen */

#endif
