/* SPDX-License-Identifier: MIT */
/* A scripted client: what it sends, what it must be answered, and how much of that has come. */
#ifndef CLIENT_INCLUDED
#define CLIENT_INCLUDED
#include "sim.h"

enum { REQUESTS = 8 };

typedef enum Kind {
	KIND_GET,
	KIND_HEAD,
	KIND_POST,
	KIND_CHUNKED,
	KIND_EXPECT,
	KIND_STREAM,
	KIND_RAISE,
	KIND_SLOW,
	KIND_NOTHING, /* 404 */
	KIND_CLOSE,   /* asks for the end of the connection */
	KIND_BAD,     /* 400 */
	KINDS,
	KIND_UPGRADE = KINDS, /* of a program, as the members of Request below */
	ALL_KINDS
} Kind;

typedef struct Request {
	Kind kind;
	int id, status;
	size_t size;		     /* of the body of the answer */
	size_t body;		     /* of its own */
	size_t begin, head_end, end; /* in the script; blank lines are before the begin */
	int handled;		     /* how often its handler ran */
	/* Of a program. */
	int blocks;		    /* its functions run in workers */
	int parts;		    /* its body comes piece by piece */
	size_t parts_got, streamed; /* bytes */
	int calling;		    /* a function of it runs */
	struct Held *held;	    /* its answer is suspended; NULL: it is not */
	int64_t until;		    /* ms, of the last suspension; INT64_MAX: for ever */
	int suspended_in;	    /* Step of program.c, of the last suspension */
	int64_t resumed_at;	    /* ms */
	int early;		    /* answered before its handler ran */
	int cut;		    /* its stream breaks off */
	int contested;		    /* the program raised and resumed at once */
	int taken;		    /* its socket, by the program */
} Request;

typedef enum Manner { /* of a client */
	EAGER,
	SLOW,
	DRIPPING,
	SILENT,
	STALLING,
	DEAF,
	LEAVING,
	HALF_CLOSING,
	MANNERS
} Manner;

typedef enum Phase {
	PHASE_NONE,
	PHASE_IDLE,
	PHASE_HEAD,
	PHASE_BODY,
	PHASE_SEND,
	PHASE_LINGER,
	PHASE_SUSPEND, /* the program has the answer */
	PHASE_WORK,    /* a worker has it */
	PHASE_UNSURE   /* it waits for the client to take answers, or for a worker or the program */
} Phase;

typedef struct Span { /* at least and at most */
	size_t low, high;
} Span;

typedef struct Times { /* ms */
	int64_t low, high;
} Times;

typedef struct Client {
	struct Client *next;
	Stream *stream;
	Manner manner;
	Bytes script;
	Request requests[REQUESTS];
	int nrequests;
	size_t pushed, stops_at; /* it stops there for good */
	int64_t pushed_at;	 /* us */
	int done;
	/* what the server did */
	size_t got; /* bytes received */
	int got_end;
	Bytes sent;   /* what it sent, from the first byte that is not understood yet */
	int answered; /* final responses that were sent to the end */
	int invited;  /* 100 Continue was sent */
	int closing;  /* a response has said that it is the last */
	int drained;  /* the last byte of all responses was sent, by a loop that drains */
	int shut;     /* its side was shut down */
	int closed;
	int excused;	  /* a call on it failed */
	int may_time_out; /* when the response that is being sent began */
	int offered;	  /* it has begun, and no byte of it was taken */
	int open;	  /* accepted and not closed */
	int upgraded;	  /* its socket is the program's */
	size_t raw;	  /* bytes that came after that */
	int garbled;	  /* it was not, and sends no request any more */
	/* what it waits for, since it was last seen waiting */
	Phase phase;
	int phase_answered;
	const Request *phase_of; /* of PHASE_SUSPEND */
	size_t phase_got;
	int64_t since_low, since_high; /* ms */
	int64_t since_us;	       /* as since_low */
	Times body_spent;	       /* of the time of the request's body, before this phase */
	size_t sent_now;	       /* bytes since the server last waited */
	Span sent_since, sent_again; /* since the send clock began; since it may have begun anew */
	int64_t again;		     /* ms: when it may have */
	int anew, was_all;	     /* in this tick; the last send took all */
} Client;

Client *client_new(int *next_id, int of_program);
void client_free(Client *c);
/* Byte number i of the body that belongs to the id. */
char body_byte(int id, size_t i);
/* Takes what the server sent. */
void client_heard(Client *c, const char *bytes, size_t n);
int client_whole(const Client *c); /* requests of which all bytes were received */
/* These are server.c's. */
int client_is_excused(const Client *c); /* a fault was injected that may end it */
void client_response_begins(Client *c);
void client_check_refusal(Client *c, int status);

#endif
