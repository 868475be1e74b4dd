/* SPDX-License-Identifier: MIT */
/* http_client host service directory check ...: runs checks of HTTPCall against a server that
 * serves the files of the directory; see client.sh. Prints the first check that fails, and ends
 * with 1. */
#define _POSIX_C_SOURCE 200809L
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <core/core.h>

enum { BIG = 64 << 20 };

static const char *host, *service, *directory, *check;
static Arena_T arena;
static SocketPool_T pool;

static void fail(const char *format, ...) CORE_NORETURN CORE_PRINTF(1, 2);
static void fail(const char *format, ...)
{
	va_list ap;

	printf("%s of %s:%s: ", check, host, service);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

typedef struct File {
	char *bytes;
	size_t n;
} File;

static File read_file(const char *name)
{
	FILE *stream = fopen(Arena_sprintf(arena, "%s/%s", directory, name), "rb");
	File file = { Arena_alloc(arena, BIG), 0 };

	if (!stream)
		fail("there is no file %s", name);
	file.n = fread(file.bytes, 1, BIG, stream);
	fclose(stream);
	return file;
}

static HTTPCall_T make_call(const char *method, const char *target)
{
	HTTPCall_T call = HTTPCall_new(arena, method, target);

	HTTPCall_limits(call, &(HTTP_Limits){ .body_bytes = BIG });
	return call;
}

static void expect_status(HTTPCall_T call, int status)
{
	if (HTTPCall_status(call) != status)
		fail("status %d, not %d", HTTPCall_status(call), status);
}

static void expect_body(HTTPCall_T call, File file)
{
	size_t n;
	const void *body = HTTPCall_body(call, &n);

	if (n != file.n || memcmp(body, file.bytes, n) != 0)
		fail("%zu other bytes than the %zu of the file", n, file.n);
}

static void run(HTTPCall_T call, int status)
{
	HTTPCall_run(call, pool, host, service);
	expect_status(call, status);
}

static void get(void)
{
	HTTPCall_T call = make_call("GET", "/hello");

	run(call, 200);
	expect_body(call, read_file("hello"));
}

static SocketPool_Stats stats(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s;
}

/* Several calls share one connection. */
static void kept(void)
{
	SocketPool_Stats before;
	int i;

	get();
	before = stats();
	for (i = 0; i < 20; i++)
		get();
	if (stats().opened != before.opened || stats().idle == 0)
		fail("%zu connections were opened", stats().opened - before.opened);
}

/* The server keeps no connection: the end of the connection ends each body. */
static void closed(void)
{
	get();
	get();
	if (stats().idle > 0)
		fail("a connection was kept");
}

static void head(void)
{
	HTTPCall_T call = make_call("HEAD", "/hello");
	const char *length;

	run(call, 200);
	expect_body(call, (File){ "", 0 });
	length = HTTPCall_header(call, "Content-Length");
	if (length && strtoul(length, NULL, 10) != read_file("hello").n)
		fail("Content-Length %s", length);
	get();
}

static void missing(void)
{
	run(make_call("GET", "/not/here"), 404);
	get();
}

static void unmodified(void)
{
	HTTPCall_T call = make_call("GET", "/hello"), again = make_call("GET", "/hello");
	const char *tag, *date;

	run(call, 200);
	tag = HTTPCall_header(call, "ETag");
	date = HTTPCall_header(call, "Last-Modified");
	if (!tag && !date)
		fail("neither ETag nor Last-Modified");
	if (tag)
		HTTPCall_set(again, "If-None-Match", tag);
	if (date)
		HTTPCall_set(again, "If-Modified-Since", date);
	run(again, 304);
	expect_body(again, (File){ "", 0 });
	get();
}

/* Reads the body in steps and compares it with the file. */
static void expect_stream(HTTPCall_T call, File file)
{
	size_t n, at = 0;
	char piece[3000];

	while ((n = HTTPCall_recv(call, piece, sizeof piece)) > 0) {
		if (n > file.n - at || memcmp(piece, file.bytes + at, n) != 0)
			fail("other bytes than those of the file from %zu on", at);
		at += n;
	}
	if (at != file.n)
		fail("%zu bytes instead of %zu", at, file.n);
}

static void big(void)
{
	HTTPCall_T whole = make_call("GET", "/big"), steps = make_call("GET", "/big");
	File file = read_file("big");

	run(whole, 200);
	expect_body(whole, file);
	HTTPCall_begin(steps, pool, host, service, 0);
	HTTPCall_answer(steps);
	expect_status(steps, 200);
	expect_stream(steps, file);
	get();
}

static void chunked(void)
{
	HTTPCall_T call = make_call("GET", "/chunked");

	run(call, 200);
	if (!HTTPCall_header(call, "Transfer-Encoding"))
		fail("not in chunks");
	expect_body(call, read_file("text"));
	get();
}

static void post(void)
{
	HTTPCall_T call = make_call("POST", "/echo");
	File file = read_file("text");

	HTTPCall_write(call, file.bytes, file.n);
	run(call, 200);
	expect_body(call, file);
	get();
}

/* Sends and reads a body in steps, of unknown length. The server sends back what it gets at
 * path. */
static void stream_to(const char *path)
{
	HTTPCall_T call = make_call("POST", path);
	File file = read_file("text");
	size_t at, n;

	HTTPCall_begin(call, pool, host, service, -1);
	for (at = 0; at < file.n; at += n) {
		n = file.n - at < 7000 ? file.n - at : 7000;
		HTTPCall_send(call, file.bytes + at, n);
	}
	HTTPCall_answer(call);
	expect_status(call, 200);
	expect_stream(call, file);
	get();
}

static void stream(void)
{
	stream_to("/echo");
}

/* The server sends interim responses before it has the body. */
static void hints(void)
{
	HTTPCall_T call = make_call("POST", "/hints");
	File file = read_file("big");

	HTTPCall_write(call, file.bytes, file.n);
	run(call, 200);
	expect_body(call, file);
	stream_to("/hints");
}

static void empty(void)
{
	HTTPCall_T call = make_call("POST", "/none");

	HTTPCall_printf(call, "some bytes");
	run(call, 204);
	expect_body(call, (File){ "", 0 });
	get();
}

/* The server refuses the body before all of it has arrived. */
static void refused(void)
{
	HTTPCall_T call = make_call("POST", "/small");
	File file = read_file("big");

	HTTPCall_write(call, file.bytes, file.n);
	run(call, 413);
	get();
}

/* The server closes each connection when the second request arrives, without an answer. So each
 * call but the first loses its connection and is made once more. */
static void reused(void)
{
	enum { CALLS = 20 };
	int i;

	for (i = 0; i < CALLS; i++)
		get();
	if (stats().opened != CALLS)
		fail("%zu connections were opened for %d calls", (size_t)stats().opened, CALLS);
}

/* The server closes idle connections after 5 ms: before, while or after a call uses one. */
static void stale(void)
{
	int i;

	for (i = 0; i < 200; i++) {
		get();
		nanosleep(&(struct timespec){ 0, (3 + i % 5) * 1000000L }, NULL);
	}
	if (stats().opened < 2)
		fail("the server closed no connection");
}

static const struct { const char *name; void (*run)(void); } checks[] = {
	{ "get", get }, { "kept", kept }, { "closed", closed }, { "head", head },
	{ "missing", missing },
	{ "unmodified", unmodified }, { "big", big }, { "chunked", chunked }, { "post", post },
	{ "stream", stream }, { "hints", hints }, { "empty", empty }, { "refused", refused },
	{ "reused", reused }, { "stale", stale },
};

static void run_check(const char *name)
{
	size_t i;

	check = name;
	for (i = 0; i < sizeof checks / sizeof *checks; i++)
		if (strcmp(checks[i].name, name) == 0) {
			arena = Arena_new();
			checks[i].run();
			Arena_dispose(&arena);
			return;
		}
	fail("there is no such check");
}

int main(int argc, char **argv)
{
	Arena_T pool_arena = Arena_new();
	int i;

	if (argc < 5)
		return 2;
	host = argv[1];
	service = argv[2];
	directory = argv[3];
	pool = SocketPool_new(pool_arena, 4, 1024);
	TRY {
		for (i = 4; i < argc; i++)
			run_check(argv[i]);
	} EXCEPT(HTTP_Failed) {
		fail("%s", Except_message());
	} END_TRY;
	Arena_dispose(&pool_arena);
	if (Arena_debug_live_count() != 0)
		fail("%zu arenas stayed alive", Arena_debug_live_count());
	return 0;
}
