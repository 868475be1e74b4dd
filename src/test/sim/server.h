/* SPDX-License-Identifier: MIT */
/* Private to the worlds of a server: server.c, checks.c, deadlines.c, ends.c, visits.c, program.c,
 * tunnel.c, inside.c. */
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
extern int64_t stopped_at; /* ms; -1: not yet */
extern int64_t spent; /* ms that handlers took since stop, during which nothing else went on */
extern int has_faults;
extern int few;	     /* descriptors */
extern int is_tight; /* memory is limited, and requests meet the limit */

typedef struct LoopModel { /* a loop of the server, and its connections */
	size_t most;	       /* places */
	int64_t drain_seen;    /* ms; -1: not yet */
	int64_t turn_began;    /* us: when it last waited for something to come */
	int has_blocked;       /* when it last waited */
	int faulty_tick;       /* a call that is no stream's failed since it last waited */
	int64_t full_until;    /* ms: when all its places were taken last */
	int64_t evicted_since; /* ms: the latest of those that had to go in this tick; -1: none */
	int crowds;	       /* connections that came in this tick into the places of others */
} LoopModel;

extern LoopModel loops[LOOPS];
extern int nloops;

static inline LoopModel *loop_of(const Client *c)
{
	return &loops[c->stream->loop];
}

typedef struct Totals { /* of all loops */
	size_t accepted, received, sent;
} Totals;

extern Totals totals;

static inline int64_t latest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void note_stop(void);

/* ---- checks.c ---- */

size_t count_open(void);
size_t count_open_at(int loop);
void check_waiting(int loop, int blocks); /* World.waits */
void check_totals(void);		  /* run has returned */
int may_fail_to_run(void); /* without a thread, or a poll for each loop, it drains first */
int work_ms(void); /* a function of the program that has begun in a worker is waited for so long */

/* ---- ends.c ---- */

void begin_telling(void);	     /* World has this file's functions */
void check_lost(const Client *c);    /* to a reset */

/* ---- visits.c ---- */

void arrive(void *next_id); /* an int: the first request's */

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
const Client *client_of(const Request *r);
/* The program has the answer, and the function that suspended it has returned. */
int request_is_held(const Request *r);
int request_is_gone(const Request *r); /* HTTPResponse_gone says so of one that is held */

/* ---- tunnel.c ---- */

void tunnel_reset(void);
int tunnel_count(void); /* sockets that the program took over and has not closed */
void tunnel_take(Socket_T s, void *request); /* HTTPResponse_upgrade's function */

/* ---- inside.c ---- */

size_t inside_booked(HTTPServer_T s); /* bytes, of requests in progress */
int inside_drains(HTTPServer_T s, int loop); /* it has seen that it is to stop */
int inside_wakers(void); /* tasks amid a wake, which may be for others that have returned */

#endif
