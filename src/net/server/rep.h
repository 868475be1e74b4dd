/* SPDX-License-Identifier: MIT */
/* Private to HTTPServer.c and the files of server/: a server, its loops, their connections, and the exchanges (a request and its response) that
 * these have at hand. Who may touch what: a loop, its connections and exchanges belong to the loop's thread; an exchange
 * whose connection is WORKING belongs to a worker until it is on the loop's `done` list. Routes and options do not change
 * once the server runs. Counters have one writer, the loop, and are read by any thread. */
#ifndef NET_HTTPSERVER_INCLUDED
#define NET_HTTPSERVER_INCLUDED
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <core/HTTPServer.h>
#include <core/SocketPoll.h>
#include <core/SocketPool.h>
#include "base/checked.h"
#include "http/rep.h"
#include "http/parser.h"
#include "poll/reserve.h"
#include "socket/internal.h"

enum {
	BATCH = 64 * 1024, /* bytes of responses that go out together */
	PARTS = 2 + HTTP__PARTS, /* of output that had to wait: what was before it, its head, its body */
	PARAMS = 16,       /* of a pattern */
	NAME_SIZE = 64     /* "[address]:port" */
};

typedef struct Trusted Trusted; /* a proxy */
typedef struct Name {           /* of a client that a proxy speaks for */
	struct Name *next;      /* while spare */
	char text[NAME_SIZE];
} Name;
typedef struct Loop Loop;
typedef struct Conn Conn;

typedef struct Route { /* of one method, at the end of a pattern */
	struct Route *next;
	const char *method;          /* NULL: any */
	HTTPServer_Route is;
	const char *names[PARAMS];   /* of the pattern's parameters, in its order */
} Route;

typedef struct Node { /* a segment of patterns */
	struct Node *next;           /* beside it, under the same node */
	const char *text;
	size_t length;
	struct Node *literals, *parameter, *rest;
	Route *routes;               /* of the patterns that end here */
} Node;

typedef enum Stage { HEAD_STAGE, BODY_STAGE, WHOLE, ANSWERED } Stage;

typedef struct Exchange {
	struct Exchange *next;       /* while spare, queued, or done */
	Conn *conn;
	Arena_T arena;
	HTTPParser parser;
	struct HTTPRequest request;
	HTTPResponse_T response;
	const Route *route;          /* NULL: none */
	const char *allow;           /* then: the methods that the path has; NULL: none */
	const char *error;           /* what was raised; NULL: nothing */
	Stage stage;
	unsigned char timed;         /* the deadline of the stage is set */
	unsigned char raised;        /* by the handler */
	unsigned char abandoned;     /* by the workers: the drain was over before its handler began */
	size_t length, room;         /* of a head that came in pieces, in request.head */
	size_t body_room;
	char *body;
	size_t taken;                /* bytes of the body */
	int64_t since, began;        /* ms, of the stage or the sending; us, of the request if there is a log */
	int nrest;
	size_t sent;
	struct iovec rest[PARTS];    /* nrest of them: output that waits for the client, of the arena */
	HTTPFraming framing;         /* of a stream that goes out */
} Exchange;

typedef enum Phase {
	READING,   /* the next request, or more of it */
	SENDING,   /* what rest has; nothing is read meanwhile */
	WORKING,   /* its handler is with a worker */
	LINGERING, /* nothing more is said; what still comes is thrown away */
	GONE       /* on its way out */
} Phase;

struct Conn { /* what an idle connection costs us: keep it small */
	Loop *loop;
	Socket_T socket;
	Exchange *exchange;          /* NULL: not a byte of a request is here */
	Conn *next;                  /* while spare or ready */
	Name *name;                  /* NULL: it speaks for itself */
	uint32_t held;               /* bytes in the Connection_buffer that wait for their turn; LINGERING: thrown away */
	unsigned char phase, events; /* events: what the poll looks for */
	unsigned closing : 1;        /* after what is said now */
	unsigned unread : 1;         /* the client may be sending what is not read */
	unsigned ready : 1;          /* on the loop's list */
	unsigned buffered : 1;       /* has a Connection_buffer */
	unsigned served : 1;         /* one request at least */
	unsigned proxied : 1;        /* a PROXY header is to come */
};

struct Loop {
	_Alignas(64) HTTPServer_T server;
	HTTPServer_Stats stats;      /* atomic, relaxed */
	Arena_T arena;
	SocketPoll_T poll;           /* atomic: stop looks for it */
	SocketPool_T pool;
	Socket_T listener;           /* NULL once draining */
	SocketPoll_Timer_T resume, last; /* accept again; the end of the drain */
	pthread_t thread;
	Exchange *spare, *bare;      /* with an arena, spares of them; without */
	size_t spares, arenas;       /* arenas: of exchanges, those at hand included */
	Name *spare_names;
	Conn *spare_conns, *ready, **ready_end;
	Exchange *done;              /* atomic: pushed by workers */
	size_t conns;
	int draining;
	int over;                    /* atomic: the drain's deadline has passed; workers look */
	const char *bytes;           /* the input at hand, of one connection: n bytes, used of them understood */
	size_t n, used;
	char *input;
	size_t batched;              /* the responses to it, in batch */
	char *batch;
};

typedef struct Workers {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	Exchange *first, **end;
	int stopping;
	pthread_t *threads;
	int n;
} Workers;

struct HTTPServer {
	uint32_t magic;
	Arena_T arena;
	HTTPServer_Options options;  /* no member is 0 that has a default */
	HTTP_Limits unlimited;       /* the limits, but for the body: of a server that has routes with a body callback */
	int streams;                 /* it has */
	int blocks;                  /* it has routes for workers */
	Trusted *trusted;
	int ntrusted;
	Node root;
	const char *methods;         /* that there are routes for, for "Allow" */
	Loop *loops;
	int nloops, port, running, started;
	int stopping;                /* atomic */
	int failing;                 /* atomic: why is set, or is being set */
	char why[256];
	Workers workers;
};

static inline void httpserver__count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* ---- server/router.c ---- */

/* Sets route and the request's parameters, or allow. Raises: Arena_Failed. */
void httpserver__match(HTTPServer_T server, Exchange *x);

/* ---- server/connection.c: reading ---- */

Exchange *httpserver__begin(Conn *c);              /* Raises: Arena_Failed */
void httpserver__retire(Conn *c);                  /* its exchange. Raises what deferred calls raise, all done */
void httpserver__receive(Conn *c);                 /* what there is, and answers it */
void httpserver__resume(Conn *c);                  /* with what is held */
void httpserver__refuse(Conn *c);                  /* answers the current exception: the connection ends */
void httpserver__answer(Exchange *x, int status, const char *text); /* a response of our own. Raises: Arena_Failed */
void httpserver__handle(Exchange *x);              /* runs the handler; any thread; does not raise */

/* ---- server/wait.c ---- */

void httpserver__settle(Conn *c);                  /* looks for what the phase wants, until its deadline */

/* ---- server/output.c: none but put and flush raises (Arena_Failed; the log's) ---- */

void httpserver__put(Conn *c, Exchange *x);        /* its response; x may be gone then */
void httpserver__flush(Conn *c);                   /* the batch */
void httpserver__canned(Conn *c);                  /* 500, without any memory */
int httpserver__transmit(Conn *c, Exchange *x);    /* some of rest; 1: all is out */
void httpserver__produce(Exchange *x);             /* the next part of a stream. Raises what its function raises */
void httpserver__end(Conn *c);                     /* closes, or lingers first */
void httpserver__drop(Conn *c);                    /* at once */

/* ---- server/proxy.c ---- */

void httpserver__set_proxies(HTTPServer_T server); /* Raises: Arena_Failed. Checked: an option is no address */
int httpserver__is_proxy(HTTPServer_T server, Socket_T s);
/* The bytes of the header that starts at b, 0 if it goes on, -1 if it is none; name: "" when it says nothing. */
int httpserver__proxy_header(const char *b, size_t n, char *name);

/* ---- server/loop.c ---- */

void httpserver__prepare(Loop *l);                 /* Raises: Arena_Failed, SocketPoll_Failed, SocketPool_Failed */
void httpserver__serve(Loop *l);                   /* until it is drained. Does not raise */
void httpserver__make_ready(Conn *c);              /* another turn, after the others */
void httpserver__forget(Conn *c);                  /* its socket is being closed */
void httpserver__fail(HTTPServer_T server);        /* notes the current exception, and stops */

/* ---- server/worker.c ---- */

void httpserver__start_workers(HTTPServer_T server); /* Raises: HTTP_Failed */
void httpserver__stop_workers(HTTPServer_T server);
void httpserver__give_work(Exchange *x);

#endif
