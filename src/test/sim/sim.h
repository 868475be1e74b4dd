/* SPDX-License-Identifier: MIT */
/* A simulated kernel under the real HTTPServer, SocketPool and HTTPCall. The calls that the
 * library makes (sockets, poll, epoll, eventfd, clocks, conditions, malloc) are replaced at link
 * time; time is virtual; a seed decides what happens next, how many bytes a call takes, what
 * fails, and when a peer comes or leaves. One seed is one run: `sim -v SEED` prints it, call by
 * call.
 *
 *   sim.c      the seeds, the trace
 *   kernel.c   descriptors, streams and waiting; kernel_calls.c: the calls themselves;
 *              kernel_waits.c: poll, epoll; kernel_threads.c: threads, mutexes, conditions
 *   task.c     threads of the program, as coroutines that take turns; the scheduler
 *   client.c   a scripted HTTP client, and a parser of what the server sends it
 *   server.c   the worlds of a server: options, faults, a run
 *   visits.c   what its clients do, step by step
 *   checks.c   what must hold whenever it waits; deadlines.c: a model of them
 *   ends.c     why it may refuse a request or end a connection
 *   program.c  the handlers of the server, workers, answers that come later
 *   tunnel.c   the sockets that it takes over
 *   inside.c   what is looked at inside the server
 *   upstream.c the world of a pool: calls through it, servers that answer, what must hold
 *
 * A world is told of each call on a stream, and checks what must hold whenever a loop waits. */
#ifndef SIM_INCLUDED
#define SIM_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined __has_feature
#define SIM_HAS(feature) __has_feature(feature)
#else
#define SIM_HAS(feature) 0
#endif
#if defined __SANITIZE_ADDRESS__ || SIM_HAS(address_sanitizer)
#define SIM_ADDRESS_SANITIZER 1
#else
#define SIM_ADDRESS_SANITIZER 0
#endif
#if defined __SANITIZE_THREAD__ || SIM_HAS(thread_sanitizer)
#define SIM_THREAD_SANITIZER 1
#else
#define SIM_THREAD_SANITIZER 0
#endif

/* ---- sim.c ---- */

extern uint64_t sim_seed;
extern int sim_verbose;
uint64_t sim_random(void);
int sim_below(int n); /* 0 to n - 1 */
int sim_between(int least, int most);
int sim_chance(int percent);
void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define SIM_CHECK(condition, ...) ((condition) ? (void)0 : sim_fail(__VA_ARGS__))

/* ---- task.c ---- */

extern int64_t sim_now; /* microseconds since the run began */
static inline int64_t sim_ms(void)
{
	return sim_now / 1000;
}

void task_start(const char *name, void (*run)(void *cl), void *cl);
void *task_cl(void);	     /* its cl */
const char *task_name(void); /* of the one that runs; NULL: none, an event's function */
/* Blocks the task until ready says so, or the time has come (negative: never). Returns 1 if it is
 * ready. */
int task_block(int (*ready)(void *cl), void *cl, int64_t until);
void task_run_all(void); /* until all have ended. Fails if nothing can happen any more */
void event_at(int64_t when, void (*fn)(void *cl), void *cl);
void event_grain(void); /* chooses how coarse the times of events are in this run */
void task_reset(void);

/* ---- kernel.c ---- */

enum { LOOPS = 3 };

typedef struct Bytes {
	char *at;
	size_t start, end, room;
} Bytes;

static inline size_t bytes_length(const Bytes *b)
{
	return b->end - b->start;
}

void *sim_alloc(size_t n); /* zeroed; does not fail */
void bytes_put(Bytes *b, const void *from, size_t n);
size_t bytes_take(Bytes *b, void *to, size_t n); /* to may be NULL */
void bytes_free(Bytes *b);

typedef struct Stream { /* a connection: the library's side of it */
	int id;
	Bytes in;	 /* arrived, and not received yet */
	Bytes out;	 /* sent, and not taken by the peer yet */
	size_t out_room; /* of the send buffer */
	int in_ended;	 /* the peer has sent its last byte */
	int out_ended;	 /* so has the library */
	int error;	 /* of the connection, that the next call returns */
	int broken;	 /* a reset came: nothing goes any more */
	int connected;
	int closed; /* by the library */
	int left;   /* by the peer */
	int lost;   /* to the peer: a reset has overtaken what was sent */
	int loop;   /* that accepted it */
	int port;
	void *peer;	     /* the world's */
	struct Stream *next; /* in a backlog, or on the list of all */
	struct Stream *all;
} Stream;

typedef struct World {			       /* what it is told of; NULL: nothing */
	void (*waits)(int loop, int blocks);   /* epoll_wait: it has done all that it could */
	void (*received)(Stream *s, size_t n); /* n 0: the end */
	void (*sent)(Stream *s, const char *bytes, size_t n, size_t wanted);
	void (*accepted)(Stream *s);
	void (*connecting)(Stream *s, int port); /* connect was called */
	void (*ended)(Stream *s);		 /* the library's side: shut down or closed */
	void (*sleeps)(const int
			*woken); /* a task waits for a condition, and is woken when *woken is set */
	void (*failed)(
		Stream *s, const char *call); /* a call was made to fail; NULL: no stream's */
} World;

typedef struct Faults { /* chances in 10,000 that a call fails */
	int alloc, accept, recv, send, epoll, interrupt, descriptors, threads;
} Faults;

extern World world;
extern Faults faults;
extern int kernel_quiet;	  /* nothing fails, and nothing is told */
extern int kernel_yields;	  /* tasks give way to others within the library */
void kernel_reset(int most_descriptors);
Stream *kernel_stream_at(int fd);   /* NULL: none */
void kernel_give_way(void);	    /* to other tasks, now and then */
int kernel_busy_workers(void); /* threads that are no loop's, and wait for no condition */
int kernel_descriptors(void);	    /* open */
int kernel_listeners(void);
int kernel_polls(void);
Stream *kernel_dial(size_t out_room);  /* to one of the listeners; NULL: nobody listens */
int kernel_events_of(const Stream *s); /* that an epoll looks for */

/* Loops, numbered by the epolls that they wait in, in the order of epoll_create1. */

typedef struct KernelLoop {
	int64_t tick_began; /* when its epoll_wait last returned */
	int64_t wake_at;    /* when the wait in progress ends, us; -1: never */
	int turns;	    /* it does not wait, and has begun */
	int spins;	    /* waits in a row that did not wait */
} KernelLoop;

extern KernelLoop kernel_loops[LOOPS];
int kernel_loop_waits(int loop);	    /* and nothing is ready for it */
size_t kernel_backlog(int loop);	    /* streams that wait to be accepted */
int64_t kernel_waiting_since(int loop); /* how long its listener is ready; -1: it is not */
int kernel_listens(int loop);

/* The peer's doing. */
void stream_push(Stream *s, const void *bytes, size_t n);
size_t stream_pull(Stream *s, void *bytes, size_t n);
void stream_end(Stream *s); /* it sends no more */
void stream_reset(Stream *s);
void stream_connect(Stream *s, int error); /* what connect comes to */

/* ---- the worlds ---- */

void simulate_server(void);
void simulate_program(void); /* a server, and a program that answers late and in threads */
void simulate_loops(void);   /* the same with several loops */
void simulate_upstream(void);

#endif
