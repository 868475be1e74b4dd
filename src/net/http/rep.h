/* SPDX-License-Identifier: MIT */
/* Private to HTTP and the files of http/: the representation of requests and responses. It serves
 * code that reads and sends them in other ways than HTTPRequest_parse and HTTPResponse_send. */
#ifndef NET_HTTPMESSAGE_INCLUDED
#define NET_HTTPMESSAGE_INCLUDED
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <core/HTTP.h>
#include "base/checked.h"
#include "http/message.h"
#include "http/parser.h"

/* ---- HTTPRequest.c ---- */

typedef struct HTTPField { /* slices of a head; http__limits keeps them below 2^32 */
	uint32_t name, name_length, value, value_length;
} HTTPField;

typedef struct HTTPPairs {
	const HTTP_Param *pairs; /* NULL until they are decoded (http/form.c) */
	size_t count;
} HTTPPairs;

/* A handle is the address of its object, and the object's self holds this address, too. A server
 * has a place for a request, and one for its response. It puts each next object a step further into
 * the place. A handle that a program kept does not find its own address there then, until all turns
 * have been taken.
 *
 * The place of a response is found from the handle alone, without a look at the object: the place's
 * alignment is its size. The place's mark says which turn is live. So any thread can check a handle
 * while the loop changes the object. A server's handles have the low bits HTTP__SERVED; those of
 * HTTPResponse_new are 0 there. */
enum {
	HTTP__TURNS = 11,           /* a request's: as many as leave an Exchange within its size */
	HTTP__RESPONSE_TURNS = 16,
	HTTP__STEP = 16,            /* bytes between two turns of a response */
	HTTP__SERVED = 8,
	HTTP__PLACE = 512           /* bytes of a response's place */
};
#define CHECK_HANDLE(r, what) \
	(LIKELY((r) && (r)->self == (r)) ? (void)0 : http__refuse_handle((r), what, __func__))
/* In HTTP.c. */
void http__refuse_handle(const void *r, const char *what, const char *function)
	CORE_NORETURN __attribute__((cold));

struct HTTPRequest {
	struct HTTPRequest *self;
	Arena_T arena;
	const char *method, *target, *path, *query, *version;
	/* The path, with a NUL for the % of each escaped %2F and %5C; NULL if it has none. */
	const char *marks;
	const char *authority;     /* that of an absolute-form target, which is the Host; or NULL */
	HashTable_T headers;       /* made of the field lines when first asked for; NULL before */
	char *head;                /* the strings lie in it; NULL if no head was understood */
	size_t fields_at, head_length; /* the field lines in head, and its end */
	size_t nfields;
	const HTTPField *fields;   /* NULL until they are looked for */
	const char *body;
	size_t nbytes;
	int keep_alive;
	Socket_T client;
	const char *peer;          /* NULL until it is asked for */
	const char *const *params; /* the route's: name, value, name, value, ... */
	size_t nparams;            /* pairs */
	HTTPPairs query_pairs, form_pairs;
	const char *route;         /* the pattern, or NULL */
	void *data;                /* the program's */
	struct HTTPResponse *response; /* a server's response, or NULL before it is made */
};

typedef struct HTTPRequestPlace {
	void *words[sizeof(struct HTTPRequest) / sizeof(void *) + HTTP__TURNS];
	unsigned turn;
} HTTPRequestPlace;

/* Returns the next request in the place, all 0 but self. The one before is stale. The place is all
 * 0 at first. */
HTTPRequest_T httprequest__renew(HTTPRequestPlace *place);

static inline HTTPField httprequest__field(const HTTPParser *p) /* at HTTPParser_FIELD */
{
	return (HTTPField){
		(uint32_t)p->name.at, (uint32_t)p->name.length,
		(uint32_t)p->value.at, (uint32_t)p->value.length
	};
}

HTTP_Limits http__limits(const HTTP_Limits *given); /* with the defaults; given may be NULL */
/* At HTTPParser_HEAD: sets all but the body, and writes NULs into r->head, which the parser has
 * seen. Returns NULL, or an error's words for the parser if the path is wrong; nothing is set then.
 * Raises: Arena_Failed, as if not called. */
const char *httprequest__head(HTTPRequest_T r, const HTTPParser *p);
/* The same for the head of a response; the result is NULL. */
const char *httprequest__answer(HTTPRequest_T r, const HTTPParser *p);
/* A part of the path with its last escapes decoded, a copy. Raises: Arena_Failed. */
const char *httprequest__segment(HTTPRequest_T r, size_t at, size_t length);
/* Returns what the request asks of the response, in the words of HTTP__ASKED. */
unsigned httprequest__asks(const HTTPParser *p);

/* ---- HTTPResponse.c ---- */

struct HTTPUpgrade {
	void (*take)(Socket_T, void *cl);
	void *cl;
};

struct HTTPResponse {
	struct HTTPResponse *self;
	HTTPMessage message;
	int status;
	int (*more)(struct HTTPResponse *, void *); /* makes a stream; NULL without one or at its end */
	void *more_cl;
	struct HTTPFile *file;     /* the body (http/file.h), or NULL */
	struct HTTPUpgrade *upgrade; /* NULL unless it is a 101 */
	struct HTTPRequest *request; /* that of a server's route, or NULL */
	char size[20];             /* the size line of the current chunk, in hex, with CR LF */
	uint64_t length, made;     /* a stream's: announced; made, without the current part */
	unsigned char has_length;
	unsigned char begun;       /* the head is out, and more was called */
	unsigned char suspended;   /* the call that runs, or ran last, has suspended it */
};

typedef struct HTTPResponsePlace {
	_Alignas(HTTP__PLACE) uint32_t mark; /* atomic: the turn, and these */
	uint32_t padding;
	/* From HTTP__SERVED on. */
	char bytes[sizeof(struct HTTPResponse) + (HTTP__RESPONSE_TURNS - 1) * HTTP__STEP];
} HTTPResponsePlace;

enum { /* a mark's bits */
	HTTP__TURN = HTTP__RESPONSE_TURNS - 1,
	HTTP__LIVE = 0x10,      /* there is a response */
	HTTP__SUSPENDED = 0x20, /* the thread that takes it away may resume the response */
	HTTP__RESUMED = 0x40,
	HTTP__PARKED = 0x80,    /* the call has returned: the resuming thread hands the exchange back */
	HTTP__GONE = 0x100      /* the client has left */
};
_Static_assert(sizeof(HTTPResponsePlace) == HTTP__PLACE
	&& offsetof(HTTPResponsePlace, bytes) == HTTP__SERVED, "a handle's place");

static inline uint32_t httpresponse__mark(const HTTPResponsePlace *place)
{
	return __atomic_load_n(&place->mark, __ATOMIC_RELAXED);
}

static inline HTTPResponse_T httpresponse__at(HTTPResponsePlace *place)
{
	return (HTTPResponse_T)(void *)
		(place->bytes + (httpresponse__mark(place) & HTTP__TURN) * HTTP__STEP);
}

/* Makes a new response in the place, as HTTPResponse_new does. The one before must have ended. */
HTTPResponse_T httpresponse__renew(HTTPResponsePlace *place, Arena_T arena);
/* Both make what is in the place stale. */
static inline void httpresponse__end(HTTPResponsePlace *place)
{
	httpresponse__at(place)->self = NULL;
	__atomic_store_n(&place->mark, (httpresponse__mark(place) + 1) & HTTP__TURN, __ATOMIC_RELAXED);
}

static inline void httprequest__end(HTTPRequest_T r)
{
	r->self = NULL;
}

typedef struct HTTPFraming { /* in one register */
	unsigned has_body : 1;   /* bytes follow the head */
	unsigned has_length : 1; /* Content-Length is sent */
	unsigned ends : 1;       /* the connection ends with this response */
	unsigned keeps_old : 1;  /* says to an HTTP/1.0 client that the connection goes on */
	unsigned streams : 1;    /* more of the body is made later */
	unsigned chunked : 1;
	unsigned announced : 1;  /* the length is HTTPResponse_length's */
	unsigned sends_file : 1;
	unsigned upgrades : 1;   /* it is a 101 */
} HTTPFraming;

/* The request decides how the response is framed. The head takes at most bound bytes; put writes it
 * to out. bound raises: Arena_Failed (no size_t holds it), HTTP_Failed (more was written than
 * HTTPResponse_length says). */
HTTPFraming httpresponse__frame(HTTPResponse_T r, unsigned asked);
size_t httpresponse__bound(HTTPResponse_T r);
size_t httpresponse__put(HTTPResponse_T r, HTTPFraming f, char *out);
/* Frames the current part of the body, in at most HTTP__PARTS parts. Returns their number. */
enum { HTTP__PARTS = 3 };
int httpresponse__parts(HTTPResponse_T r, HTTPFraming f, struct iovec *parts);
/* Makes the next part of a stream. Raises: what `more` raises, HTTP_Failed (the stream is not as
 * long as was said). */
void httpresponse__next(HTTPResponse_T r);
/* Returns whether more was written than HTTPResponse_length says. */
static inline int httpresponse__is_too_long(HTTPResponse_T r)
{
	return r->has_length && r->message.nbytes > r->length - r->made;
}

#endif
