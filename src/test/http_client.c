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

static void fail_check(const char *format, ...) CORE_NORETURN CORE_PRINTF(1, 2);
static void fail_check(const char *format, ...)
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
		fail_check("there is no file %s", name);
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
		fail_check("status %d, not %d", HTTPCall_status(call), status);
}

static void expect_body(HTTPCall_T call, File file)
{
	size_t n;
	const void *body = HTTPCall_body(call, &n);

	if (n != file.n || memcmp(body, file.bytes, n) != 0)
		fail_check("the body of %zu bytes differs from the file's %zu", n, file.n);
}

static void run_expecting(HTTPCall_T call, int status)
{
	HTTPCall_run(call, pool, host, service);
	expect_status(call, status);
}

static void check_get(void)
{
	HTTPCall_T call = make_call("GET", "/hello");

	run_expecting(call, 200);
	expect_body(call, read_file("hello"));
}

static SocketPool_Stats pool_stats(void)
{
	SocketPool_Stats s;

	SocketPool_stats(pool, &s);
	return s;
}

/* Several calls share one connection. */
static void check_kept(void)
{
	SocketPool_Stats before;
	int i;

	check_get();
	before = pool_stats();
	for (i = 0; i < 20; i++)
		check_get();
	if (pool_stats().opened != before.opened || pool_stats().idle == 0)
		fail_check("%zu connections were opened", pool_stats().opened - before.opened);
}

/* The server keeps no connection: the end of the connection ends each body. */
static void check_closed(void)
{
	check_get();
	check_get();
	if (pool_stats().idle > 0)
		fail_check("a connection was kept");
}

static void check_head(void)
{
	HTTPCall_T call = make_call("HEAD", "/hello");
	const char *length;

	run_expecting(call, 200);
	expect_body(call, (File){ "", 0 });
	length = HTTPCall_header(call, "Content-Length");
	if (length && strtoul(length, NULL, 10) != read_file("hello").n)
		fail_check("Content-Length %s", length);
	check_get();
}

static void check_missing(void)
{
	run_expecting(make_call("GET", "/not/here"), 404);
	check_get();
}

static void check_unmodified(void)
{
	HTTPCall_T call = make_call("GET", "/hello"), again = make_call("GET", "/hello");
	const char *tag, *date;

	run_expecting(call, 200);
	tag = HTTPCall_header(call, "ETag");
	date = HTTPCall_header(call, "Last-Modified");
	if (!tag && !date)
		fail_check("neither ETag nor Last-Modified");
	if (tag)
		HTTPCall_set(again, "If-None-Match", tag);
	if (date)
		HTTPCall_set(again, "If-Modified-Since", date);
	run_expecting(again, 304);
	expect_body(again, (File){ "", 0 });
	check_get();
}

/* Reads the body in steps and compares it with the file. */
static void expect_stream(HTTPCall_T call, File file)
{
	size_t n, at = 0;
	char piece[3000];

	while ((n = HTTPCall_recv(call, piece, sizeof piece)) > 0) {
		if (n > file.n - at || memcmp(piece, file.bytes + at, n) != 0)
			fail_check("the body differs from the file from byte %zu on", at);
		at += n;
	}
	if (at != file.n)
		fail_check("%zu bytes instead of %zu", at, file.n);
}

static void check_big(void)
{
	HTTPCall_T whole = make_call("GET", "/big"), steps = make_call("GET", "/big");
	File file = read_file("big");

	run_expecting(whole, 200);
	expect_body(whole, file);
	HTTPCall_begin(steps, pool, host, service, 0);
	HTTPCall_answer(steps);
	expect_status(steps, 200);
	expect_stream(steps, file);
	check_get();
}

static void check_chunked(void)
{
	HTTPCall_T call = make_call("GET", "/chunked");

	run_expecting(call, 200);
	if (!HTTPCall_header(call, "Transfer-Encoding"))
		fail_check("not in chunks");
	expect_body(call, read_file("text"));
	check_get();
}

static void check_post(void)
{
	HTTPCall_T call = make_call("POST", "/echo");
	File file = read_file("text");

	HTTPCall_write(call, file.bytes, file.n);
	run_expecting(call, 200);
	expect_body(call, file);
	check_get();
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
	check_get();
}

static void check_stream(void)
{
	stream_to("/echo");
}

/* The server sends interim responses before it has the body. */
static void check_hints(void)
{
	HTTPCall_T call = make_call("POST", "/hints");
	File file = read_file("big");

	HTTPCall_write(call, file.bytes, file.n);
	run_expecting(call, 200);
	expect_body(call, file);
	stream_to("/hints");
}

static void check_empty(void)
{
	HTTPCall_T call = make_call("POST", "/none");

	HTTPCall_printf(call, "some bytes");
	run_expecting(call, 204);
	expect_body(call, (File){ "", 0 });
	check_get();
}

/* The server refuses the body before all of it has arrived. */
static void check_refused(void)
{
	HTTPCall_T call = make_call("POST", "/small");
	File file = read_file("big");

	HTTPCall_write(call, file.bytes, file.n);
	run_expecting(call, 413);
	check_get();
}

/* The server closes each connection when the second request arrives, without an answer. So each
 * call but the first loses its connection and is made once more. */
static void check_reused(void)
{
	enum { CALLS = 20 };
	int i;

	for (i = 0; i < CALLS; i++)
		check_get();
	if (pool_stats().opened != CALLS)
		fail_check("%zu connections were opened for %d calls", (size_t)pool_stats().opened, CALLS);
}

/* The server closes idle connections after 5 ms: before, while or after a call uses one. */
static void check_stale(void)
{
	int i;

	for (i = 0; i < 200; i++) {
		check_get();
		nanosleep(&(struct timespec){ 0, (3 + i % 5) * 1000000L }, NULL);
	}
	if (pool_stats().opened < 2)
		fail_check("the server closed no connection");
}

static const struct { const char *name; void (*run)(void); } checks[] = {
	{ "get", check_get }, { "kept", check_kept }, { "closed", check_closed },
	{ "head", check_head }, { "missing", check_missing }, { "unmodified", check_unmodified },
	{ "big", check_big }, { "chunked", check_chunked }, { "post", check_post },
	{ "stream", check_stream }, { "hints", check_hints }, { "empty", check_empty },
	{ "refused", check_refused }, { "reused", check_reused }, { "stale", check_stale },
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
	fail_check("there is no such check");
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
		fail_check("%s", Except_message());
	} END_TRY;
	Arena_dispose(&pool_arena);
	if (Arena_debug_live_count() != 0)
		fail_check("%zu arenas stayed alive", Arena_debug_live_count());
	return 0;
}
