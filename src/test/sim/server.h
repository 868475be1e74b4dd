/* SPDX-License-Identifier: MIT */
/* Private to the world of a server: server.c, deadlines.c, program.c, inside.c. */
#ifndef SERVER_INCLUDED
#define SERVER_INCLUDED
#include <core/HTTPServer.h>
#include "client.h"

enum {
	LATE = 2,     /* ms */
	WORK_MS = 100 /* the most that a function of the program takes in a worker */
};

extern HTTPServer_Options options;
extern HTTPServer_T server;
extern Client *clients;
extern int64_t stopped_at, drain_seen; /* ms; -1: not yet */
extern int64_t turn_began; /* us: when the server last waited for something to come */
extern int64_t spent; /* ms that handlers took since stop, during which nothing else went on */

/* ---- deadlines.c ---- */

int64_t drain_end(void); /* ms; INT64_MAX: never */
/* When the deadline of the client's phase is, at least and at most; INT64_MAX: there is none. */
void deadlines(const Client *c, int64_t *low, int64_t *high);
void observe(Client *c); /* the server waits: for what here? */
int is_late(const Client *c);
int is_due(const Client *c);

/* ---- program.c ---- */

typedef enum Step { IN_BODY, IN_HANDLER, IN_MORE } Step; /* of a function of the program */

extern int program_runs; /* it answers late, in threads, and takes sockets over */
void program_reset(void);
void program_add_routes(void);
void program_start(void);
void program_end(void);	 /* run has returned: ends what is suspended still, and waits for that */
int program_acts(void);	 /* it is amid a call of the interface */
int program_holds(void); /* answers that it has suspended */
int program_sockets(void); /* that it took over and has not closed */
/* The program has the answer, and the function that suspended it has returned. */
int request_is_held(const Request *r);
int request_is_gone(const Request *r); /* HTTPResponse_gone says so of one that is held */

/* ---- inside.c ---- */

size_t inside_booked(HTTPServer_T s); /* bytes, of requests in progress */
int inside_drains(HTTPServer_T s);    /* it has seen that it is to stop */
int inside_wakers(void); /* tasks amid a wake, which may be for others that have returned */

#endif
