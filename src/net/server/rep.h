/* SPDX-License-Identifier: MIT */
/* Private to HTTPServer.c and the files of server/: a server, its loops, their connections, and the
 * exchanges of the connections. An exchange is a request and its response.
 *
 * Calls go down: HTTPServer.c -> loop.c -> connection.c -> input.c, clock.c, holder.c -> output.c,
 * worker.c -> exchange.c -> suspend.c, router.c.
 *
 * A loop, its connections and exchanges belong to the loop's thread. If an exchange has another
 * holder, its request, response and arena belong to that holder. All else in the exchange is still
 * the loop's, which sends output meanwhile. Routes and options do not change once the server runs.
 * Counters have one writer, the loop; any thread reads them. */
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
#include "http/reader.h"
#include "poll/reserve.h"
#include "socket/internal.h"

enum {
	BATCH = 64 * 1024, /* bytes of responses that go out together */
	PARTS = 2 + HTTP__PARTS, /* output that waits has so many: earlier output, the head, the body */
	PARAMS = 16,       /* a pattern has at most so many */
	NAME_SIZE = 64     /* "[address]:port" */
};

typedef struct Trusted Trusted; /* a proxy that the options name */
typedef struct Name {           /* the name of a client that a proxy speaks for */
	struct Name *next;      /* links spare names */
	char text[NAME_SIZE];
} Name;
typedef struct Account Account; /* counts the memory of an exchange */
typedef struct Loop Loop;
typedef struct Conn Conn;

typedef struct Route { /* one method at the end of a pattern */
	struct Route *next;
	const char *method;          /* NULL if the route is for any method */
	HTTPServer_Route is;
	const char *names[PARAMS];   /* the pattern's parameters, in its order */
} Route;

typedef struct Node { /* a segment of patterns */
	struct Node *next;           /* beside it, under the same node */
	const char *text;
	size_t length;
	struct Node *literals, *parameter, *rest;
	Route *routes;               /* those whose patterns end here */
} Node;

/* A connection's life is three states. Only httpserver__advance changes them; see connection.c. */

typedef enum Input { /* what is read of the next request */
	INPUT_IDLE,      /* no byte of a request line has come; the exchange is NULL, or the output's */
	INPUT_HEAD,      /* a part of its head, or of a PROXY header, has come */
	INPUT_BODY,
	INPUT_HANDLING,  /* all of it has come: its handler runs next, in this turn */
	INPUT_SUSPENDED  /* a worker or the program has the exchange */
} Input;

typedef enum Output {
	OUTPUT_IDLE,     /* all that was made in earlier turns is sent */
	OUTPUT_SENDING,  /* the exchange's rest waits for the client */
	OUTPUT_STREAMING, /* as SENDING; once that is out, more of the response is made */
	OUTPUT_SUSPENDED /* all is sent; a worker or the program has the exchange and makes more */
} Output;

typedef enum End {
	END_OPEN,
	END_AFTER,       /* when the output is idle */
	END_LINGER,      /* our side has ended; what the client still sends is thrown away */
	END_DEAD         /* closed as soon as no worker has its exchange */
} End;

typedef enum Holder { /* who has an exchange */
	HOLDER_LOOP,
	HOLDER_WORKER,   /* until it calls httpserver__hand_back */
	HOLDER_PROGRAM   /* it is suspended, until it is resumed or its client has left */
} Holder;

typedef enum Call { /* which function of the route is called */
	CALL_NONE, CALL_BEFORE, CALL_BODY, CALL_HANDLER, CALL_MORE, CALL_TAKE
} Call;

typedef enum Cause { /* what happened to a connection */
	CAUSE_READABLE, CAUSE_WRITABLE, CAUSE_DEADLINE,
	CAUSE_FINISHED,  /* its exchange was handed back */
	CAUSE_RESUMED,   /* its turn has come again: requests wait in held, or it is dead */
	CAUSE_DRAIN,     /* the server stops, or the time for that is over */
	CAUSE_EVICTED    /* another connection needs the place */
} Cause;

typedef enum Clock { /* which deadline is set */
	CLOCK_NONE, CLOCK_IDLE, CLOCK_HEAD, CLOCK_BODY, CLOCK_SEND, CLOCK_LINGER, CLOCK_SUSPEND,
	CLOCK_OVER       /* the deadline that is set has no meaning: whichever is next starts anew */
} Clock;

typedef struct Exchange { /* one request and its response */
	HTTPResponsePlace response_place; /* first: a handle in it leads to the exchange */
	struct Exchange *next;       /* while spare, queued, or handed back */
	Loop *loop;
	Socket_T socket;             /* an upgrade has it before the program does; otherwise NULL */
	Conn *conn;                  /* NULL if its client has gone and the program still has it */
	Arena_T arena;               /* lent to the program */
	Account *account;            /* counts the arena; NULL if the server limits no memory */
	HTTPRequestPlace request_place;
	HTTPReader reader;
	HTTPRequest_T request;
	HTTPResponse_T response;     /* NULL if memory was lacking to make one */
	const Route *route;          /* NULL if no route matches */
	const char *allow;           /* without a route: the methods that the path has, or NULL */
	const char *error;           /* what was raised or is wrong, or NULL */
	const Except_Capture *capture; /* the exception, or NULL: none, or no memory for it */
	const Except_T *failed;      /* what HTTPResponse_fail has, until it is answered; or NULL */
	unsigned short status;       /* the status of an answer that is ours */
	unsigned char made;          /* the response is made: no handler runs any more */
	unsigned char ends;          /* the connection ends with the response */
	unsigned char raised;        /* how often the program raised */
	unsigned char admitted;      /* `before` has run */
	unsigned char abandoned;     /* the drain was over before its handler began */
	unsigned char answered;      /* its response is in batch or rest: it is the output's */
	unsigned char unlogged;      /* a stream is logged at its end */
	unsigned char silent;        /* not logged: answers for one that the program still has */
	unsigned char call;          /* the last, and whether it runs */
	unsigned char calling;
	unsigned char holder;
	/* The reader waits: a worker is to call body, or body failed or suspended the response. */
	unsigned char paused;
	unsigned char cut;           /* the call that makes the stream raised */
	unsigned char dropped;       /* the call raised after it was resumed */
	const char *verdict;         /* why the loop gave up a suspended one; NULL: it did not */
	int64_t until;               /* ms: when a suspended one is answered */
	int64_t spent;               /* ms: how much of the body's time is used */
	char *part;                  /* npart bytes of the body for a worker, or NULL */
	size_t npart;
	int64_t since, began;        /* ms: the clock's start; us: the request's, if there is a log */
	uint64_t streamed;           /* bytes of a stream's body */
	HTTPFraming framing;         /* how the response is framed */
	int nrest;
	size_t sent;
	struct iovec rest[PARTS];    /* nrest parts, in the arena: output that waits for the client */
} Exchange;
_Static_assert(offsetof(Exchange, response_place) == 0, "a handle leads to it");
_Static_assert(sizeof(Exchange) <= 3 * HTTP__PLACE,
	"a head in progress costs 3 x its bytes and 2 KiB");


struct Conn { /* what an idle connection costs us: keep it small */
	Socket_T socket;             /* NULL once it was reaped */
	Exchange *exchange;
	Conn *next, *previous;       /* on the loop's idle list; next also links spare and ready ones */
	Name *name;                  /* NULL if it speaks for itself */
	uint32_t held;               /* bytes in Connection_buffer, or discarded ones in END_LINGER */
	unsigned input : 8, output : 8; /* a byte each, as each step of a turn looks at them */
	unsigned end : 2, clock : 3;
	unsigned events : 2;         /* what the poll looks for */
	unsigned unread : 1;         /* there may be unread input: linger before closing */
	unsigned idle : 1;           /* on the loop's list of the idle */
	unsigned ready : 1;          /* on the loop's list of the ready */
	unsigned buffered : 1;       /* it has a Connection_buffer */
	unsigned served : 1;         /* it had at least one response */
	unsigned proxied : 1;        /* a PROXY header is to come */
};

typedef struct List { /* a queue of connections: first in, first out */
	Conn *first, *last;
} List;

typedef struct Turn { /* one call of httpserver__advance: its connection, its input, its output */
	Loop *loop;
	Conn *c;
	Cause cause;
	const char *bytes;           /* input that was received: used of n are understood */
	size_t n, used;
	size_t batched;              /* bytes of responses in the loop's batch */
	int requests;                /* how many began in this turn */
	unsigned char received;      /* the socket was read */
	unsigned char full;          /* the socket takes no more */
	unsigned char ended;         /* the client has sent all that it will */
	unsigned char produced;      /* a part of a stream was made */
	unsigned char must_wait;     /* input has come that a worker keeps from being read */
	unsigned char dies;          /* the connection ends now */
	unsigned char raised;        /* how often something was raised */
	unsigned char done;
	Exchange *upgraded;          /* its connection leaves the server */
} Turn;

typedef struct Crew { /* threads that end together */
	pthread_mutex_t lock;
	pthread_cond_t left;         /* signalled when a thread has ended */
	int running;
} Crew;

typedef struct Thread {
	void (*run)(void *cl);       /* returns when the server ends */
	void (*left)(void *cl);      /* called if a callback ended the thread amid run; may be NULL */
	void *cl;
	Crew *crew;
	pthread_t id, former;        /* this one replaces the thread `former` */
	int started, has_former, returned;
} Thread;

struct Loop {
	_Alignas(64) HTTPServer_T server;
	HTTPServer_Stats stats;      /* atomic, relaxed */
	Arena_T arena;
	SocketPoll_T poll;           /* atomic: stop looks for it */
	SocketPool_T pool;
	Socket_T listener;           /* NULL once it is closed by the drain */
	SocketPoll_Timer_T resume, last; /* resume: accept again; last: the end of the drain */
	Exchange *spare, *bare;      /* spare exchanges: with an arena, and without */
	size_t spares, arenas;       /* spares counts `spare`; arenas counts those of all exchanges */
	Name *spare_names;
	Conn *spare_conns;
	List ready, idle;            /* the longest idle is first */
	/* Atomic: other threads push. HTTPSERVER__CLOSED: the loop has ended. */
	Exchange *handed_back;
	Exchange *finished;          /* taken from there, in order */
	size_t conns, most;          /* connections: how many there are, and how many at most */
	Thread thread;               /* the first loop has none: it runs in the thread of `run` */
	unsigned forks;              /* httpserver__forks when the loop began */
	size_t held, held_most;      /* bytes of requests in progress, atomic; their limit, or 0 */
	int64_t counted;             /* coarse ms: the time before it is in busy_ms or idle_ms */
	int draining;
	char *input, *batch;         /* the turn's: pipeline_bytes and BATCH bytes */
};

typedef struct Workers {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	Exchange *first, **end;
	size_t queued;               /* atomic: the length of the queue */
	int idle;                    /* workers that wait, or have been woken */
	int stopping;
	struct Worker *all;
	int n;
	Crew crew;
} Workers;

struct HTTPServer {
	uint32_t magic;
	Arena_T arena;
	HTTPServer_Options options;  /* a member that has a default is not 0 */
	HTTP_Limits unlimited;       /* the limits without the body's: used if streams */
	unsigned kept;               /* bytes that an exchange's arena keeps for the next request */
	int streams;                 /* there are routes with a body callback */
	int timed;                   /* requests are timed, for the log or the latency */
	int blocks;                  /* it has routes for workers */
	Trusted *trusted;
	int ntrusted;
	Node root;
	int takes_any;               /* it has a route for every method */
	const char *methods;         /* those that there are routes for, for "Allow" */
	Loop *loops;
	Crew crew;                   /* the threads of the loops */
	int nloops, port;
	int listening;               /* each loop has its listener */
	int running;                 /* atomic: run was called */
	int stopping;                /* atomic */
	/* Atomic; stop sets it: the time from which on no handler begins. Otherwise SOCKET__NEVER. */
	int64_t drain_end;
	int failing;                 /* atomic: why is set, or is being set */
	char why[256];
	Workers workers;
};

/* Returns 1 if the call that ran last has suspended the exchange. */
static inline int httpserver__is_suspended(const Exchange *x)
{
	return x->response && x->response->suspended;
}

static inline void httpserver__count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* Returns 1 when the drain's time is over; any thread. */
static inline int httpserver__is_over(const Loop *l)
{
	int64_t end = __atomic_load_n(&l->server->drain_end, __ATOMIC_RELAXED);

	return end != SOCKET__NEVER && socket__now_ms() >= end;
}

/* ---- server/router.c ---- */

/* Sets route and the request's parameters, or allow. Raises: Arena_Failed. */
void httpserver__match(HTTPServer_T server, Exchange *x);
int httpserver__has_method(HTTPServer_T server, const char *method); /* for any path */

/* ---- server/processors.c ---- */

int httpserver__processors(void);                  /* those that this process may use: 1 to 1,024 */

/* ---- server/exchange.c ---- */

Exchange *httpserver__begin(Turn *t);              /* Raises: Arena_Failed */
void httpserver__renew_response(Exchange *x);
/* Recycles the connection's exchange. Raises what deferred calls raise, after all is done. */
void httpserver__retire(Turn *t);
void httpserver__recycle(Exchange *x);             /* one without a connection. Raises as retire */
void httpserver__dispose(Exchange *x);             /* recycle after its loop ended; any thread */
/* These call the route's functions. Any thread; they do not raise. The member failed, or
 * httpserver__is_suspended, tells the result. */
void httpserver__handle(Exchange *x);
void httpserver__fail_call(Exchange *x);           /* the call that runs has ended its thread */
void httpserver__call(Exchange *x);                /* x->call says which */
void httpserver__give_body(Exchange *x, const char *bytes, size_t n);
void httpserver__produce(Exchange *x);             /* the next part of a stream */

extern unsigned httpserver__forks;                 /* generations of fork above this process */
void httpserver__watch_forks(void);
void httpserver__end_child(void) CORE_NORETURN;

/* Called after each callback of the program. A child that the callback forked shares the parent's
 * connections and poll: it must not touch them. */
static inline void httpserver__stay_parent(const Loop *l)
{
	if (__builtin_expect(l->forks != httpserver__forks, 0))
		httpserver__end_child();
}

/* ---- server/answer.c: any thread; none of these raises ---- */

/* Answers with an error of our own. The text belongs to the caller; or NULL. */
void httpserver__answer(Exchange *x, int status, const char *text);
void httpserver__answer_raised(Exchange *x);       /* the exception being handled */
void httpserver__answer_no_route(Exchange *x);
/* Notes a failure for answer_failure, the log and the counts. */
void httpserver__note_failure(Exchange *x, const Except_Capture *e);
void httpserver__answer_failure(Exchange *x);
void httpserver__answer_no_range(Exchange *x, int64_t length); /* 416; the body has that length */
/* Notes the exception being handled, for the log and the counts. */
void httpserver__note_raised(Exchange *x);
/* Runs the program's hook. Returns 0 if it raised; that is answered then. */
int httpserver__run_before(Exchange *x);

/* ---- server/memory.c: any thread ---- */

/* If the server limits memory: makes the exchange's account, the allocator of the arena that is
 * made next. Raises: Arena_Failed. */
void httpserver__limit_memory(Exchange *x, Arena_Options *o);
void httpserver__drop_account(Exchange *x);        /* after the arena was disposed of */
void httpserver__begin_account(Account *a);        /* a request begins */
void httpserver__end_account(Account *a);          /* it has ended; its arena is not cleared yet */
/* Lifts the limit until the next request. Returns 1 if the account had reached it. */
int httpserver__lift_limit(Account *a);
/* Returns 0 if the program has a child of the arena that outlived the request. Its memory would
 * count for the next requests. */
int httpserver__has_no_strays(const Exchange *x);

/* Returns 1 if the requests in progress hold more memory than the loop may. */
static inline int httpserver__is_crowded(const Loop *l)
{
	return __builtin_expect(l->held_most != 0, 0)
		&& __atomic_load_n(&l->held, __ATOMIC_RELAXED) > l->held_most;
}

/* ---- server/upgrade.c ---- */

/* Ends the connection when all of a 101 is out; its socket stays open. Raises: Socket_Failed. */
void httpserver__leave_server(Turn *t);
/* Lets the program's function be called in the handler's kind of thread. Does not raise. */
void httpserver__start_upgraded(Exchange *x, Socket_T s);
void httpserver__give_socket(Exchange *x);         /* calls it; any thread; does not raise */

/* ---- server/input.c ---- */

typedef enum Read {
	READ_NOTHING, /* no input, or enough for this turn */
	READ_MORE,    /* the request goes on */
	READ_HEAD,    /* the head is whole */
	READ_BODY,    /* the body is whole, too */
	READ_PART,    /* the route's body was called, or a worker is to call it */
	READ_PROXY,   /* the PROXY header is whole */
	READ_END,     /* the client has sent all */
	READ_WRONG,   /* the reader explains what is wrong */
	READ_FAILED   /* nothing more can come */
} Read;
/* Reads the next part of the input. Raises: Arena_Failed, and what the route's body raises. */
Read httpserver__read(Turn *t);
/* Throws away what a lingering client sends. Returns 0 at its end, or if that was enough. */
int httpserver__discard(Turn *t);
/* Keeps input for a later turn. Raises: Arena_Failed. */
void httpserver__hold(Turn *t);
/* Reads more input to keep, at once. Returns 0 at its end. Raises: Arena_Failed. */
int httpserver__read_ahead(Turn *t);

/* ---- server/output.c ---- */

typedef enum Sent {
	SENT_ALL,    /* or it is in the batch */
	SENT_SOME,   /* the exchange's rest waits for the client */
	SENT_NEVER   /* the connection takes nothing any more */
} Sent;
/* Queues the exchange's response. Raises: Arena_Failed. */
Sent httpserver__queue(Turn *t);
Sent httpserver__flush(Turn *t);                   /* sends the batch. Raises: Arena_Failed */
Sent httpserver__send(Turn *t);                    /* sends rest or a part. Raises: Arena_Failed */
Sent httpserver__invite(Turn *t);                  /* 100 Continue. Raises: Arena_Failed */
void httpserver__take_part(Turn *t);               /* takes the part that was produced */

/* ---- server/file.c ---- */

/* Chooses the part of a file that the request asks for, before the response is framed. Does not
 * raise. */
void httpserver__select_part(Exchange *x);
/* Sends some of a response's file. Raises: Socket_Failed. */
Sent httpserver__send_file(Turn *t);

/* ---- server/log.c ---- */

int64_t httpserver__now_us(void);                  /* CLOCK_MONOTONIC */
/* Counts the response, and logs it unless it streams. */
void httpserver__account(Loop *l, Exchange *x, int status, size_t nbytes);
/* Both log the exchange unless that was done, and do not raise. */
void httpserver__log_stream(Exchange *x);
void httpserver__log_gone(Exchange *x);            /* one that has no connection */

/* ---- server/proxy.c ---- */

/* Raises: Arena_Failed. Checked: an option is no address. */
void httpserver__set_proxies(HTTPServer_T server);
int httpserver__is_proxy(HTTPServer_T server, Socket_T s);
/* Returns the bytes of the header that starts at b, 0 if it goes on, -1 if it is none. The name is
 * "" if the header gives none. */
int httpserver__proxy_header(const char *b, size_t n, char *name);

/* ---- server/connection.c ---- */

/* Begins with a new connection. Raises: Arena_Failed, SocketPoll_Failed. */
void httpserver__open(Loop *l, Connection_T connection);
/* Takes a connection as far as it can go without waiting, whatever its state. Does not raise. */
void httpserver__advance(Loop *l, Conn *c, Cause cause);
void httpserver__append(List *list, Conn *c);

/* ---- server/clock.c ---- */

/* Sets the deadline. It moves only if the clock changes or the clock's limit is a rate. Returns 1
 * if the clock starts. */
int httpserver__set_clock(Turn *t);

/* ---- server/holder.c ---- */

/* Recycles the exchange, as its connection has ended; one that the program has waits until it is
 * resumed. Raises as recycle. */
void httpserver__abandon(Exchange *x);
/* Ends the connection after a response that was made before all of its request was read. */
void httpserver__end_request(Turn *t);
/* Answers with the status; the connection ends after this response. */
void httpserver__refuse(Turn *t, int status, const char *text);
/* Lets the body follow a head that `before` has let in. Raises: Arena_Failed. */
void httpserver__admit(Turn *t);
/* Answers in place of the program, and the connection ends. Returns 0 if the program has resumed
 * the exchange before. Raises: Arena_Failed. */
int httpserver__give_up(Turn *t, int status, const char *text);
/* Gives up if the drain is over. Returns 0 if there is nothing to do. */
int httpserver__wait_for_holder(Turn *t);
/* These return 0 if the turn ends. They raise Arena_Failed. */
int httpserver__call_in_worker(Turn *t, Call call);
int httpserver__finish_call(Turn *t);              /* a function of the route has returned */
/* Leaves the exchange to the program, unless it was resumed already. */
int httpserver__suspend(Turn *t);
int httpserver__go_on(Turn *t);                    /* goes on with one that was resumed */

static inline void httpserver__take_sent(Turn *t, Sent sent)
{
	if (sent == SENT_NEVER)
		t->dies = 1;
	else if (sent == SENT_SOME)
		t->c->output = t->c->exchange->answered && t->c->exchange->framing.streams
			? OUTPUT_STREAMING : OUTPUT_SENDING;
}

static inline int httpserver__is_held_by(const Conn *c, Holder holder)
{
	return c->exchange && c->exchange->holder == holder;
}

/* Returns 1 if the program has the exchange, and no output waits for the client. */
static inline int httpserver__is_parked(const Conn *c)
{
	return httpserver__is_held_by(c, HOLDER_PROGRAM)
		&& (c->output == OUTPUT_IDLE || c->output == OUTPUT_SUSPENDED);
}

/* ---- server/loop.c ---- */

/* Raises: Arena_Failed, SocketPoll_Failed, SocketPool_Failed. */
void httpserver__prepare(Loop *l);
/* Runs until the loop is drained. Raises: SocketPoll_Failed. */
void httpserver__serve(Loop *l);
/* Closes the remaining connections, when all threads have ended. A suspended exchange goes when it
 * is resumed. */
void httpserver__end_loop(Loop *l);

/* ---- server/thread.c ---- */

void httpserver__init_crew(Crew *crew);
void httpserver__dispose_crew(Crew *crew);
/* Starts a thread whose run, left and cl are set. Returns 0 or an error number. */
int httpserver__start_thread(Crew *crew, Thread *t);
void httpserver__await_crew(Crew *crew);           /* until all of its threads have ended */
void httpserver__join_thread(Thread *t);           /* after that */

/* ---- server/worker.c ---- */

void httpserver__start_workers(HTTPServer_T server); /* Raises: HTTP_Failed */
void httpserver__stop_workers(HTTPServer_T server);
/* Returns 0 if the queue is full, and the exchange may be refused for that. */
int httpserver__give_work(Exchange *x, Call call, int may_refuse);
/* Gives the exchange back to its loop, or disposes of it if that has ended. Any thread, once. */
void httpserver__hand_back(Exchange *x);
/* For the loop: returns the exchanges that were handed back, in order, or NULL. Pass NULL as left,
 * or HTTPSERVER__CLOSED when the loop ends. */
#define HTTPSERVER__CLOSED ((Exchange *)1)
Exchange *httpserver__take_back(Loop *l, Exchange *left);

/* ---- server/suspend.c ---- */

/* Claims the one right to resume it. Returns 0 if another thread has the right. Any thread. */
int httpserver__claim(Exchange *x);
/* Resumes one that the caller has claimed. */
void httpserver__resume(Exchange *x);
/* Parks it when the call that suspended it has returned. Returns 0 if it was resumed already. */
int httpserver__park(Exchange *x);
void httpserver__unpark(Exchange *x);              /* it was resumed; may be suspended again */
/* Notes that no client waits for it any more. Returns 0 if it was resumed already. */
int httpserver__leave(Exchange *x);

#endif
