/* SPDX-License-Identifier: MIT */
/* The clients of soak: one process with an epoll, and clients of every kind that a server on the
 * open net meets. They use plain sockets and nothing of libcore, so that the two cannot be wrong
 * in the same way. A client is a record with the time of its next act and a queue of the replies
 * that it expects. The bytes of a body follow from a seed, so that none are stored. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "soak.h"

enum {
	DEPTH = 4,              /* requests in a pipeline */
	HEAD = 1200,            /* bytes of a reply, with a small body */
	TICK = 20,
	PATIENCE = 60000,       /* ms to wait for a reply */
	PAUSE = 4000,           /* ms between requests, at most */
	IDLE = 12000,           /* less than idle_ms of examples/request-server */
	HEAD_MS = 9000,         /* less than HTTP_Limits.head_ms */
	SLOW_BODY = 200 * 1000,
	/* the server is asked at 127.0.0.1 to 127.0.0.8: eight times as many ports for us */
	ADDRESSES = 8
};

typedef enum Role { USUAL, DRIPS, SIPS, MALFORMED, STALLS, SILENT, VANISHES, ROLES } Role;

/* How many of a hundred new connections have this role. */
static const unsigned char share[ROLES] = { [USUAL] = 64, [DRIPS] = 10, [SIPS] = 4, [MALFORMED] = 8,
	[STALLS] = 3, [SILENT] = 3, [VANISHES] = 8 };

typedef enum Kind { ECHO, PAGE, FIELDS, ANY, NO_BODY } Kind;

typedef struct Reply {
	Kind kind;
	int status;
	unsigned seed;
	size_t nbytes;          /* of ECHO */
} Reply;

typedef struct Client {
	int fd;                 /* -1: none */
	Role role;
	int requests;           /* still to be made */
	int closes;             /* the server closes after the last reply */
	int64_t due;            /* when it acts next */
	int64_t heard, asked;   /* when a byte arrived; when it last made a request */
	int64_t quiet;          /* how long there had been no request then */
	char *out;
	size_t nout, sent;
	Reply owed[DEPTH];
	int first, nowed;
	char head[HEAD + 1];    /* of the current reply; and its body, unless that is an echo */
	size_t nhead, nbody, body_left;
	int in_body;
} Client;

static const struct { int status; const char *bytes; } malformed[] = {
	{ 400, "GET / HTTP/1.1\r\n\r\n" },
	{ 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" },
	{ 400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
	{ 400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello" },
	{ 400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		"fffffffffffffffff\r\n" },
	{ 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n" },
	{ 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n" },
	{ 413, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" },
	{ 400, "\x16\x03\x01\x02\r\n\r\n" },
	{ 400, "nonsense\r\n\r\n" },
};

static int epoll, port, nclients, doomed;
static Client *clients;
static int64_t now;
static uint64_t random_state;

int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* xorshift64* (Vigna, 2016) */
static unsigned random_below(unsigned n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned)((random_state * 0x2545F4914F6CDD1Dull >> 33) % n);
}

static char pattern_byte(unsigned seed, size_t k)
{
	return (char)((seed >> (k & 15)) + k * 31 + (k >> 8));
}

static void exit_because(const char *what)
{
	fprintf(stderr, "soak: %s: %s\n", what, strerror(errno));
	_exit(2);
}

/* ---- connections ---- */

static void close_client(Client *c, int reset)
{
	struct linger at_once = { 1, 0 };

	if (reset) {
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		COUNT(reset, 1);
	}
	close(c->fd);
	free(c->out);
	if (!doomed)
		COUNT(now_open, -1);
	COUNT(closed, 1);
	memset(c, 0, sizeof *c);
	c->fd = -1;
	c->due = now + random_below(50);
}

static void report_wrong(Client *c, const char *what)
{
	static int said;

	COUNT(wrong, 1);
	if (said++ < 10)
		fprintf(stderr, "soak: %s: role %d, %d replies owed, %lld ms after it was asked, "
			"%lld after it was heard; got %zu: %.200s\n",
			what, (int)c->role, c->nowed, (long long)(now - c->asked), (long long)(now - c->heard),
			c->nhead, c->head);
	close_client(c, 1);
}

static void connect_client(Client *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = c };
	unsigned die_roll = random_below(100), role;
	int on = 1, small = 4096, open_now;

	for (role = 0; die_roll >= share[role]; role++)
		die_roll -= share[role];
	c->role = (Role)role;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + random_below(ADDRESSES));
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		exit_because("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (c->role == SIPS)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
		exit_because("connect");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
		exit_because("epoll_ctl");
	c->requests = c->role == USUAL ? 1 + (int)random_below(40) : 1;
	c->heard = now;
	c->due = now + random_below(c->role == USUAL ? PAUSE : 100);
	COUNT(opened, 1);
	if (doomed)
		return;
	open_now = (int)__atomic_add_fetch(&shared->now_open, 1, __ATOMIC_RELAXED);
	if (open_now > GET(most_open))
		__atomic_store_n(&shared->most_open, open_now, __ATOMIC_RELAXED);
}

/* ---- requests ---- */

static void expect_reply(Client *c, Kind kind, int status, unsigned seed, size_t nbytes)
{
	c->owed[(c->first + c->nowed++) % DEPTH] = (Reply){ kind, status, seed, nbytes };
}

static void queue_bytes(Client *c, const char *bytes, size_t n)
{
	c->out = realloc(c->out, c->nout + n + 1);
	if (!c->out)
		exit_because("realloc");
	memcpy(c->out + c->nout, bytes, n);
	c->nout += n;
}

static void put_pattern(Client *c, unsigned seed, size_t from, size_t to)
{
	char piece[1024];

	while (from < to) {
		size_t n;

		for (n = 0; n < sizeof piece && from < to; n++)
			piece[n] = pattern_byte(seed, from++);
		queue_bytes(c, piece, n);
	}
}

static void put_chunks(Client *c, unsigned seed, size_t nbytes)
{
	char line[32];
	size_t at, n;

	for (at = 0; at < nbytes; at += n) {
		n = 1 + random_below(3000);
		if (n > nbytes - at)
			n = nbytes - at;
		queue_bytes(c, line, (size_t)sprintf(line, "%zx\r\n", n));
		put_pattern(c, seed, at, at + n);
		queue_bytes(c, "\r\n", 2);
	}
	queue_bytes(c, "0\r\n\r\n", 5);
}

static void put_echo(Client *c, size_t nbytes, int in_chunks, const char *connection)
{
	unsigned seed = random_below(1u << 31);
	char head[200];

	if (in_chunks)
		queue_bytes(c, head, (size_t)sprintf(head,
			"POST /echo HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n%s\r\n",
			connection));
	else
		queue_bytes(c, head, (size_t)sprintf(head,
			"POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: %zu\r\n%s\r\n", nbytes,
			connection));
	if (in_chunks)
		put_chunks(c, seed, nbytes);
	else
		put_pattern(c, seed, 0, nbytes);
	expect_reply(c, ECHO, 200, seed, nbytes);
}

static void put_plain(Client *c, const char *line, const char *connection, Kind kind, int status)
{
	unsigned seed = random_below(1u << 31);
	char head[200];

	queue_bytes(c, head, (size_t)sprintf(head, "%s HTTP/1.1\r\nHost: soak\r\nX-Soak: %u\r\n%s\r\n",
		line, seed, connection));
	expect_reply(c, kind, status, seed, 0);
}

static void put_any(Client *c, const char *connection)
{
	switch (random_below(20)) {
	/* suspended until another thread resumes it */
	case 16:
	case 17: put_plain(c, "GET /later", connection, ANY, 200); break;
	/* a stream whose parts are suspended so */
	case 18: put_plain(c, "GET /slowly", connection, ANY, 200); break;
	case 0:  put_plain(c, "GET /nothing/here", connection, ANY, 404); break;
	case 1:
		if (random_below(2))
			put_plain(c, "GET /echo", connection, ANY, 405);
		else
			put_plain(c, "DELETE /echo", connection, ANY, 501);
		break;
	case 2:  put_plain(c, "HEAD /", connection, NO_BODY, 200); break;
	case 3:  put_plain(c, "GET /stats", connection, ANY, 200); break;
	case 4:
	case 5:  put_plain(c, "GET /headers", connection, FIELDS, 200); break;
	case 6:
	case 7:
	case 8:  put_plain(c, "GET /", connection, PAGE, 200); break;
	case 9:  put_echo(c, random_below(20000), random_below(2), connection); break;
	case 10: put_echo(c, random_below(8) ? random_below(2000) : random_below(65536),
		random_below(2), connection); break;
	default: put_echo(c, random_below(200), random_below(4) == 0, connection); break;
	}
}

static void send_queued(Client *c)
{
	while (c->sent < c->nout) {
		ssize_t n = send(c->fd, c->out + c->sent, c->nout - c->sent, MSG_NOSIGNAL);

		if (n < 0)
			return; /* until there is room; the next recv meets a broken connection */
		c->sent += (size_t)n;
	}
	free(c->out);
	c->out = NULL;
	c->nout = c->sent = 0;
}

static void send_requests(Client *c, int n)
{
	c->quiet = now - (c->asked ? c->asked : c->heard);
	c->asked = now;
	COUNT(requests, n);
	while (n-- > 0) {
		c->closes = --c->requests == 0 && random_below(2);
		put_any(c, c->closes ? "Connection: close\r\n" : "");
	}
	send_queued(c);
}

/* ---- replies ---- */

static int owed_something(const Client *c)
{
	return c->nowed > 0;
}

/* Returns why a complete reply is wrong, or NULL if it is right. */
static const char *wrong_with(const Client *c, const Reply *r)
{
	char field[40];

	if (r->kind == ECHO && c->nbody != r->nbytes)
		return "an echo of another length";
	if (r->kind == PAGE && !strstr(c->head, "\r\n\r\n<!DOCTYPE html>"))
		return "another page";
	if (r->kind == FIELDS) {
		snprintf(field, sizeof field, "soak: %u\n", r->seed);
		if (!strcasestr(c->head, field))
			return "the fields of another";
	}
	return NULL;
}

static void end_of_reply(Client *c)
{
	const Reply *r = &c->owed[c->first];
	const char *wrong = wrong_with(c, r);

	if (wrong) {
		report_wrong(c, wrong);
		return;
	}
	COUNT(right, 1);
	if (c->role == MALFORMED)
		COUNT(refused, 1);
	if (c->role == STALLS)
		COUNT(timed_out, 1);
	c->first = (c->first + 1) % DEPTH;
	c->nowed--;
	c->nhead = 0;
	c->head[0] = '\0';
	c->in_body = 0;
	if (!owed_something(c))
		c->due = c->closes ? now + PATIENCE : now + random_below(PAUSE);
}

/* Takes the head of a reply. A client that asked too late, as may happen on a busy machine, may
 * be told so. */
static void end_of_head(Client *c)
{
	const Reply *r = &c->owed[c->first];
	const char *length = strcasestr(c->head, "\r\nContent-Length: ");
	int status = strncmp(c->head, "HTTP/1.1 ", 9) == 0 ? atoi(c->head + 9) : 0;

	if (status == 408 && c->role != STALLS && now - c->asked > HEAD_MS) {
		COUNT(late, 1);
		close_client(c, 0);
		return;
	}
	if (status != r->status || (!length && r->kind != NO_BODY)) {
		report_wrong(c, "a wrong status");
		return;
	}
	c->in_body = 1;
	c->nbody = 0;
	c->body_left = r->kind == NO_BODY ? 0 : strtoul(length + 18, NULL, 10);
	if (c->body_left == 0)
		end_of_reply(c);
}

/* Returns 1 if the bytes belong to the expected body. */
static int take_body(Client *c, const char *bytes, size_t n)
{
	const Reply *r = &c->owed[c->first];
	size_t i;

	for (i = 0; r->kind == ECHO && i < n; i++)
		if (bytes[i] != pattern_byte(r->seed, c->nbody + i))
			return 0;
	if (r->kind != ECHO && c->nhead + n <= HEAD) {
		memcpy(c->head + c->nhead, bytes, n);
		c->nhead += n;
		c->head[c->nhead] = '\0';
	}
	c->nbody += n;
	c->body_left -= n;
	return 1;
}

static size_t take_head(Client *c, const char *bytes, size_t n)
{
	size_t i;

	for (i = 0; i < n && c->nhead < HEAD; ) {
		c->head[c->nhead++] = bytes[i++];
		c->head[c->nhead] = '\0';
		if (c->nhead >= 4 && memcmp(c->head + c->nhead - 4, "\r\n\r\n", 4) == 0) {
			end_of_head(c);
			return i;
		}
	}
	if (c->nhead == HEAD)
		report_wrong(c, "a head without an end");
	return i;
}

static void take_bytes(Client *c, const char *bytes, size_t n)
{
	size_t taken;

	COUNT(bytes, n);
	for (; n > 0 && c->fd >= 0; bytes += taken, n -= taken) {
		if (!owed_something(c)) {
			report_wrong(c, "a reply without a request");
			return;
		}
		if (!c->in_body) {
			taken = take_head(c, bytes, n);
			continue;
		}
		taken = n < c->body_left ? n : c->body_left;
		if (!take_body(c, bytes, taken))
			report_wrong(c, "wrong bytes in a body");
		else if (c->body_left == 0)
			end_of_reply(c);
	}
}

/* The server may close connections that were idle for long, that it refused or that were to be
 * closed, and all when it ends. On a busy machine we may be late to ask, or to see its answer
 * and close. */
static void server_left(Client *c)
{
	int64_t quiet = owed_something(c) ? c->quiet : now - (c->asked ? c->asked : c->heard);

	if (c->role == SILENT && quiet < IDLE) {
		report_wrong(c, "closed too soon");
		return;
	}
	if (c->role == SILENT)
		COUNT(ended, 1);
	else if (!c->closes && c->role != VANISHES && quiet > IDLE && c->nhead == 0)
		COUNT(late, 1);
	else if (owed_something(c) && c->role != VANISHES) {
		report_wrong(c, "closed instead of an answer");
		return;
	} else if (!c->closes && c->role != VANISHES && !GET(ending)) {
		report_wrong(c, "closed without a reason");
		return;
	}
	close_client(c, 0);
}

/* Reads once if the client sips, and else all that is there. */
static void receive_bytes(Client *c)
{
	static char buffer[65536];
	ssize_t n;

	do {
		n = recv(c->fd, buffer, c->role == SIPS ? 8192 : sizeof buffer, 0);
		if (n > 0) {
			take_bytes(c, buffer, (size_t)n);
			if (c->fd >= 0)
				c->heard = now;
		}
	} while (n > 0 && c->fd >= 0 && c->role != SIPS);
	if (c->fd >= 0 && (n == 0 || (n < 0 && errno != EAGAIN && errno != ENOTCONN)))
		server_left(c);
}

/* ---- what each does when its time has come ---- */

static void act_usual(Client *c)
{
	int n = random_below(4) ? 1 : 1 + (int)random_below(DEPTH);

	if (c->closes)
		return;
	if (c->requests == 0)
		close_client(c, random_below(4) == 0);
	else if (!GET(ending))
		send_requests(c, n < c->requests ? n : c->requests);
}

/* Sends a request in pieces of three bytes, which takes four seconds. */
static void act_drips(Client *c)
{
	size_t rest;

	if (!c->asked) {
		if (GET(ending))
			return;
		put_echo(c, random_below(30), 0, "");
		c->asked = now;
		COUNT(requests, 1);
	}
	if (c->out) {
		rest = c->nout;
		c->nout = c->sent + 3 < rest ? c->sent + 3 : rest;
		while (c->sent < c->nout && send(c->fd, c->out + c->sent, 1, MSG_NOSIGNAL) == 1)
			c->sent++;
		c->nout = rest;
		if (c->sent == c->nout)
			send_queued(c);
		c->due = now + 100;
	} else if (!owed_something(c)) {
		close_client(c, 0);
	}
}

/* Takes a large reply a little at a time. */
static void act_sips(Client *c)
{
	if (!c->asked) {
		if (GET(ending))
			return;
		put_echo(c, SLOW_BODY, 0, "");
		c->asked = now;
		COUNT(requests, 1);
	}
	send_queued(c);
	receive_bytes(c);
	if (c->fd < 0)
		return;
	c->due = now + 100;
	if (!owed_something(c))
		close_client(c, 0);
}

static void act_malformed(Client *c)
{
	unsigned i = random_below(sizeof malformed / sizeof *malformed);

	if (c->asked)
		return;
	c->closes = 1;
	expect_reply(c, ANY, malformed[i].status, 0, 0);
	queue_bytes(c, malformed[i].bytes, strlen(malformed[i].bytes));
	c->asked = now;
	COUNT(requests, 1);
	send_queued(c);
}

static void act_stalls(Client *c)
{
	if (c->asked)
		return;
	c->closes = 1;
	expect_reply(c, ANY, 408, 0, 0);
	queue_bytes(c, "GET / HTTP/1.1\r\nHost: so", 24);
	c->asked = now;
	COUNT(requests, 1);
	send_queued(c);
}

static void act_vanishes(Client *c)
{
	if (!c->asked) {
		put_echo(c, random_below(3) ? random_below(2000) : random_below(100000), random_below(2),
			"");
		if (random_below(2))
			c->nout -= random_below((unsigned)c->nout);
		else
			COUNT(requests, 1);
		c->asked = now;
		send_queued(c);
		c->due = now + random_below(random_below(4) ? 3 : 3000);
	} else {
		close_client(c, random_below(2) != 0);
	}
}

static void act_by_role(Client *c)
{
	c->due = now + PATIENCE;
	switch (c->role) {
	case USUAL:     act_usual(c); break;
	case DRIPS:     act_drips(c); break;
	case SIPS:      act_sips(c); break;
	case MALFORMED: act_malformed(c); break;
	case STALLS:    act_stalls(c); break;
	case VANISHES:  act_vanishes(c); break;
	default:        break; /* silent ones do nothing */
	}
}

/* Returns whether the client has all replies that it is owed, or can expect none. */
static int is_done_at_the_end(Client *c)
{
	if (c->role == USUAL && !owed_something(c))
		return 1;
	if (c->role == STALLS || c->role == SILENT || c->role == VANISHES || !c->asked)
		close_client(c, 0);
	return c->fd < 0;
}

static int is_overdue(const Client *c)
{
	return now - (c->heard > c->asked ? c->heard : c->asked) > PATIENCE && c->role != VANISHES
		&& (owed_something(c) || c->closes || c->role == SILENT);
}

static void tend_client(Client *c, int ending, int *pending)
{
	if (c->fd < 0) {
		if (c->due <= now && !ending)
			connect_client(c);
		return;
	}
	if (is_overdue(c)) {
		report_wrong(c, owed_something(c) ? "no answer" : "not closed");
		return;
	}
	if (c->due <= now && !(c->role == USUAL && owed_something(c)))
		act_by_role(c);
	if (ending && c->fd >= 0 && !is_done_at_the_end(c))
		++*pending;
}

static void look_after_all(void)
{
	int i, pending = 0, ending = GET(ending);

	for (i = 0; i < nclients; i++)
		tend_client(&clients[i], ending, &pending);
	if (ending && !pending && !doomed)
		__atomic_store_n(&shared->settled, 1, __ATOMIC_RELEASE);
}

static void set_up(int ramp_ms)
{
	struct rlimit limit;
	int i;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	epoll = epoll_create1(EPOLL_CLOEXEC);
	clients = calloc((size_t)nclients, sizeof *clients);
	if (epoll < 0 || !clients)
		exit_because("clients");
	now = clock_ms();
	for (i = 0; i < nclients; i++) {
		clients[i].fd = -1;
		clients[i].due = now + (int64_t)ramp_ms * i / nclients;
	}
}

static int any_open(void)
{
	int i;

	for (i = 0; i < nclients; i++)
		if (clients[i].fd >= 0)
			return 1;
	return 0;
}

void run_clients(int server_port, int n, int ramp_ms, unsigned seed, int to_be_killed)
{
	struct epoll_event events[512];
	int64_t looked = 0;

	port = server_port;
	nclients = n;
	doomed = to_be_killed;
	random_state = seed * 2654435761u + 1;
	set_up(ramp_ms);
	while (!GET(ending) || any_open()) {
		int i, ready = epoll_wait(epoll, events, 512, TICK);

		now = clock_ms();
		for (i = 0; i < ready; i++) {
			Client *c = events[i].data.ptr;

			if (c->fd >= 0 && c->out && c->role != DRIPS)
				send_queued(c);
			if (c->fd >= 0 && c->role != SIPS)
				receive_bytes(c);
		}
		if (now - looked >= TICK) {
			looked = now;
			look_after_all();
		}
	}
}
