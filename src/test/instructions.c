/* SPDX-License-Identifier: MIT */
/* Small fixed workloads, one function each, whose instructions callgrind counts
 * (src/test/instructions.sh). A count is for ROUNDS rounds. It includes the loop, but not what
 * prepares a round. */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include <core/core.h>

enum { ROUNDS = 1000, KEYS = 1000, SEED = 20240229 };

EXCEPT_DEFINE(Refused, NULL, "refused");

static Arena_T arena;           /* for all that a workload needs */
static HashTable_T integers, strings;
static char names[2 * KEYS][16]; /* the second half is in no table */
static SocketPool_T pool;
static Socket_T here, there;
static volatile uintptr_t sink;

static void count(int on)
{
	(void)on;
	CALLGRIND_TOGGLE_COLLECT;
}

#define EACH(i)  for (i = 0; i < ROUNDS; i++)
#define COUNTED(i, ...) do { int i; count(1); EACH(i) { __VA_ARGS__; } count(0); } while (0)

/* ---- Except ---- */

static void except_try(void)
{
	COUNTED(i, TRY { sink++; } EXCEPT(Refused) { sink--; } END_TRY);
}

static void except_finally(void)
{
	COUNTED(i, TRY { sink++; } FINALLY { sink--; } END_TRY);
}

static void __attribute__((noinline)) refuse(void)
{
	EXCEPT_RAISE(Refused);
}

static void except_raise(void)
{
	COUNTED(i, TRY { refuse(); } EXCEPT(Refused) { sink++; } END_TRY);
}

static void drop(int *p)
{
	sink += (uintptr_t)*p;
}

static void except_auto(void)
{
	COUNTED(i, AUTO(int, n, drop) = i; sink += (uintptr_t)n);
}

/* ---- Arena ---- */

static void arena_alloc(void)
{
	Arena_T a = Arena_new_with_size(ROUNDS * 64);

	COUNTED(i, sink = (uintptr_t)Arena_alloc(a, 24));
	Arena_dispose(&a);
}

static void arena_calloc(void)
{
	Arena_T a = Arena_new_with_size(ROUNDS * 128);

	COUNTED(i, sink = (uintptr_t)Arena_calloc(a, 4, 16));
	Arena_dispose(&a);
}

static void arena_cycle(void) /* of a request */
{
	Arena_T a = Arena_new();
	int j;

	COUNTED(i, for (j = 0; j < 20; j++) sink = (uintptr_t)Arena_alloc(a, 100); Arena_clear(a));
	Arena_dispose(&a);
}

static void arena_new_dispose(void)
{
	Arena_T a;

	COUNTED(i, a = Arena_new(); sink = (uintptr_t)Arena_alloc(a, 100); Arena_dispose(&a));
}

/* ---- HashTable ---- */

static HashTable_T table(HashTable_Kind kind)
{
	HashTable_Options options = { 0 };

	options.kind = kind;
	options.seed = SEED;
	return HashTable_new_with(arena, &options);
}

static void int_insert(void)
{
	integers = table(HashTable_INTEGER);
	COUNTED(i, HashTable_put_int(integers, (uint64_t)i * 7919, names[i]));
}

static void int_hit(void)
{
	COUNTED(i, sink = (uintptr_t)HashTable_get_int(integers, (uint64_t)i * 7919));
}

static void int_miss(void)
{
	COUNTED(i, sink = (uintptr_t)HashTable_get_int(integers, (uint64_t)i * 7919 + 1));
}

static void string_insert(void)
{
	strings = table(HashTable_STRING);
	COUNTED(i, HashTable_put(strings, names[i], names[i]));
}

static void string_hit(void)
{
	COUNTED(i, sink = (uintptr_t)HashTable_get(strings, names[i]));
}

static void string_miss(void)
{
	COUNTED(i, sink = (uintptr_t)HashTable_get(strings, names[KEYS + i]));
}

static void walk(HashTable_T t)
{
	HashTable_Iter iter;

	count(1);
	HashTable_iterate(t, &iter);
	while (HashTable_next(&iter))
		sink += (uintptr_t)iter.value;
	count(0);
}

static void int_walk(void)
{
	walk(integers);
}

static void string_walk(void)
{
	walk(strings);
}

static void int_remove(void)
{
	COUNTED(i, HashTable_remove_int(integers, (uint64_t)i * 7919));
}

static void string_remove(void)
{
	COUNTED(i, HashTable_remove(strings, names[i]));
}

/* ---- SocketPool: with its system calls, whose instructions in the kernel nobody counts ---- */

static void pool_get(void)
{
	SocketPool_add(pool, here);
	COUNTED(i, sink = (uintptr_t)SocketPool_get(pool, here));
	SocketPool_remove(pool, here);
}

static void pool_add_remove(void)
{
	COUNTED(i, SocketPool_add(pool, here); SocketPool_remove(pool, here));
}

/* ---- HTTPCall: the answer is there before the request goes out ---- */

static void call_over(Arena_T a)
{
	HTTPCall_T call = HTTPCall_new(a, "GET", "/a/b.html");

	HTTPCall_set(call, "Host", "example.org");
	HTTPCall_over(call, here);
	sink = (uintptr_t)HTTPCall_status(call);
}

static void http_call(void)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nDate: Mon, 30 Nov 2026 09:35:00 GMT\r\n"
		"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello, world\n";
	Arena_T a = Arena_new();
	char heard[1000];
	int i;

	EACH(i) {
		Socket_sendall(there, answer, sizeof answer - 1);
		count(1);
		call_over(a);
		Arena_clear(a);
		count(0);
		Socket_recv(there, heard, sizeof heard);
	}
	Arena_dispose(&a);
}

/* ---- HTTP ---- */

static const char request[] =
	"GET /a/b.html?q=1 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: count/1.0\r\n"
	"Accept: text/html\r\nAccept-Language: en\r\nConnection: keep-alive\r\n\r\n";

static void http_request(void)
{
	Arena_T a = Arena_new();
	int i;

	EACH(i) {
		Socket_sendall(there, request, sizeof request - 1);
		count(1);
		sink = (uintptr_t)HTTPRequest_parse(a, here);
		Arena_clear(a);
		count(0);
	}
	Arena_dispose(&a);
}

static void respond(Arena_T a)
{
	HTTPResponse_T response = HTTPResponse_new(a);

	HTTPResponse_set(response, "Content-Type", "text/plain");
	HTTPResponse_write(response, "hello, world\n", 13);
	HTTPResponse_send(here, response);
}

static void http_response(void)
{
	Arena_T a = Arena_new();
	char answer[1000];
	int i;

	EACH(i) {
		Socket_sendall(there, request, sizeof request - 1);
		HTTPRequest_parse(a, here);
		count(1);
		respond(a);
		Arena_clear(a);
		count(0);
		Socket_recv(there, answer, sizeof answer);
	}
	Arena_dispose(&a);
}

/* ---- HTTPServer: one loop, and a client in another thread, where callgrind does not count ---- */

enum { ROW = 20 }; /* requests that are sent at once; ROUNDS is a multiple of it */

typedef struct Serving {
	HTTPServer_T server;
	int row;           /* requests that the client sends at once */
	int begun;         /* calls of the handler */
} Serving;

/* The first row warms up. ROUNDS requests are counted from the beginning of one handler to the
 * beginning of another. */
static void answer(HTTPRequest_T q, HTTPResponse_T response, void *cl)
{
	Serving *s = cl;

	(void)q;
	if (s->begun == s->row || s->begun == s->row + ROUNDS)
		count(s->begun == s->row);
	s->begun++;
	HTTPResponse_set(response, "Content-Type", "text/plain");
	HTTPResponse_write(response, "hello, world!", 13);
}

/* The only '!' of an answer is its last byte. */
static void await_answers(Socket_T client, int n)
{
	char bytes[ROW * 200];

	while (n > 0) {
		size_t got = Socket_recv(client, bytes, sizeof bytes), i;

		for (i = 0; i < got; i++)
			n -= bytes[i] == '!';
	}
}

static void *ask(void *cl)
{
	static const char small[] = "GET / HTTP/1.1\r\nHost: count\r\n\r\n";
	Serving *s = cl;
	size_t length = sizeof small - 1;
	char service[8], requests[ROW * sizeof small];
	Socket_T client;
	int i;

	snprintf(service, sizeof service, "%d", HTTPServer_port(s->server));
	client = Socket_connect("127.0.0.1", service, -1);
	for (i = 0; i < s->row; i++)
		memcpy(requests + (size_t)i * length, small, length);
	for (i = 0; i < ROUNDS + 2 * s->row; i += s->row) {
		Socket_sendall(client, requests, (size_t)s->row * length);
		await_answers(client, s->row);
	}
	HTTPServer_stop(s->server);
	Socket_close(&client);
	return NULL;
}

static void serve(int row)
{
	HTTPServer_Options options = { .host = "127.0.0.1", .service = "0", .threads = 1 };
	Arena_T a = Arena_new();
	Serving s = { .row = row };
	pthread_t client;

	s.server = HTTPServer_new(a, &options);
	HTTPServer_route(s.server, "GET", "/", answer, &s);
	if (pthread_create(&client, NULL, ask, &s) != 0)
		_exit(2);
	HTTPServer_run(s.server);
	pthread_join(client, NULL);
	Arena_dispose(&a);
}

static void http_server(void)
{
	serve(1);
}

static void http_server_row(void)
{
	serve(ROW);
}

/* ---- all of them; later ones of a module use what earlier ones have made ---- */

static const struct {
	const char *name;
	void (*run)(void);
} workloads[] = {
	{ "except-try", except_try }, { "except-finally", except_finally },
	{ "except-raise", except_raise }, { "except-auto", except_auto },
	{ "arena-alloc", arena_alloc }, { "arena-calloc", arena_calloc },
	{ "arena-cycle", arena_cycle }, { "arena-new-dispose", arena_new_dispose },
	{ "int-insert", int_insert }, { "int-hit", int_hit }, { "int-miss", int_miss },
	{ "int-walk", int_walk }, { "int-remove", int_remove },
	{ "string-insert", string_insert }, { "string-hit", string_hit },
	{ "string-miss", string_miss }, { "string-walk", string_walk },
	{ "string-remove", string_remove }, { "http-call", http_call },
	{ "pool-get", pool_get }, { "pool-add-remove", pool_add_remove },
	{ "http-request", http_request }, { "http-response", http_response },
	{ "http-server", http_server }, { "http-server-row", http_server_row }
};

static void prepare(void)
{
	int i, fd[2];

	arena = Arena_new();
	for (i = 0; i < 2 * KEYS; i++)
		sprintf(names[i], "name-%d", i * 31);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		_exit(2);
	here = Socket_adopt(fd[0]);
	there = Socket_adopt(fd[1]);
	pool = SocketPool_new(arena, 16, 1024);
}

int main(void)
{
	size_t i;

	prepare();
	for (i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
		workloads[i].run();
		CALLGRIND_DUMP_STATS_AT(workloads[i].name);
	}
	Socket_close(&here);
	Socket_close(&there);
	Arena_dispose(&arena);
	return 0;
}
