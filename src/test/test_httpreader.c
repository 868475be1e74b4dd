/* SPDX-License-Identifier: MIT */
/* The reader of requests alone. Its result does not depend on how the input was cut, nor on
 * whose memory it lies in. The memory of a request in progress is bounded by the bytes that have
 * arrived. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "testing.h"
#include "http/reader.h"
#include "http_cases.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static Arena_T arena;
static HTTP_Limits limits;

static void set_up_arena(void)
{
	arena = Arena_new();
	limits = http__limits(NULL);
}

static void tear_down_arena(void)
{
	Arena_dispose(&arena);
}

/* ---- a run ---- */

SUITE("HTTPReader");
CASE("reader", .setup = set_up_arena, .teardown = tear_down_arena);

typedef struct Run {
	HTTPReader reader;
	struct HTTPRequest request;
	HTTPReader_Event last;
	size_t taken;       /* how many bytes of the input */
	char explanation[512];
} Run;

static void begin_run(Run *run, Arena_T a)
{
	memset(run, 0, sizeof *run);
	run->request.arena = a;
	httpreader__init(&run->reader, &run->request, &limits);
}

static char *exact_copy(const char *bytes, size_t n)
{
	char *copy = malloc(n ? n : 1);

	ck_assert_ptr_nonnull(copy);
	return memcpy(copy, bytes, n);
}

/* Feeds all of these bytes, which change after each call as a loop's buffer does. Returns 0 at
 * the end. */
static int feed_copies(Run *run, const char *bytes, size_t n)
{
	size_t used;
	char *copy;

	do {
		copy = exact_copy(bytes, n);
		run->last = httpreader__feed(&run->reader, copy, n, &used);
		if (run->last == HTTPReader_ERROR)
			httpreader__explain(&run->reader, run->explanation, sizeof run->explanation);
		memset(copy, '?', n);
		free(copy);
		bytes += used;
		n -= used;
		run->taken += used;
	} while (run->last == HTTPReader_HEAD);
	return run->last == HTTPReader_MORE;
}

/* The same, with the bytes where the reader has room, as a socket would put them. */
static int feed_in_place(Run *run, const char *bytes, size_t n)
{
	size_t room, used;
	char *into = httpreader__room(&run->reader, &room);

	room = room < n ? room : n;
	memcpy(into, bytes, room);
	n = room;
	do {
		run->last = httpreader__feed(&run->reader, into, n, &used);
		if (run->last == HTTPReader_ERROR)
			httpreader__explain(&run->reader, run->explanation, sizeof run->explanation);
		into += used;
		n -= used;
		run->taken += used;
	} while (run->last == HTTPReader_HEAD);
	return run->last == HTTPReader_MORE;
}

static void run_in_pieces(Run *run, const char *input, size_t n, size_t piece,
	int (*how)(Run *, const char *, size_t))
{
	begin_run(run, arena);
	while (run->taken < n && how(run, input + run->taken, piece < n - run->taken ? piece
		: n - run->taken))
		;
}

static const char *or_none(const char *s)
{
	return s ? s : "(none)";
}

static void compare_runs(Run *run, Run *whole, const Row *row)
{
	ck_assert_msg(run->last == whole->last
		&& run->reader.parser.status == whole->reader.parser.status,
		"%s: %d, %d", row->sentence, run->last, run->reader.parser.status);
	ck_assert_str_eq(run->explanation, whole->explanation);
	ck_assert_str_eq(or_none(run->request.method), or_none(whole->request.method));
	ck_assert_str_eq(or_none(run->request.target), or_none(whole->request.target));
	ck_assert_str_eq(or_none(run->request.path), or_none(whole->request.path));
	ck_assert_uint_eq(run->request.nbytes, whole->request.nbytes);
	ck_assert_mem_eq(run->request.body, whole->request.body, whole->request.nbytes + 1);
	if (run->last != HTTPReader_READY)
		return;
	ck_assert_uint_eq(run->taken, whole->taken);
	ck_assert_str_eq(or_none(HTTPRequest_header(&run->request, "Host")),
		or_none(HTTPRequest_header(&whole->request, "Host")));
	ck_assert_uint_eq(HashTable_length(HTTPRequest_headers(&run->request)),
		HashTable_length(HTTPRequest_headers(&whole->request)));
}

static void read_in_every_way(const Row *row, HTTPReader_Event end)
{
	Run whole, run;
	size_t piece;

	run_in_pieces(&whole, row->input, row->n, row->n, feed_copies);
	ck_assert_msg(whole.last == end, "%s: %d", row->sentence, whole.last);
	for (piece = 1; piece <= row->n; piece = piece < 40 ? piece + 1 : piece * 2) {
		run_in_pieces(&run, row->input, row->n, piece, feed_copies);
		compare_runs(&run, &whole, row);
		run_in_pieces(&run, row->input, row->n, piece, feed_in_place);
		compare_runs(&run, &whole, row);
	}
}

TEST(a_request_is_read_in_one_way_whatever_the_pieces, .to = COUNT(accepted))
{
	read_in_every_way(&accepted[_i], HTTPReader_READY);
}

TEST(a_request_is_refused_in_one_way_whatever_the_pieces, .to = COUNT(refused))
{
	read_in_every_way(&refused[_i], HTTPReader_ERROR);
}

/* ---- what a request in progress holds ---- */

typedef struct Held {
	size_t now, most;
} Held;

static void *counting_alloc(size_t nbytes, void *cl)
{
	Held *held = cl;

	held->now += nbytes;
	if (held->most < held->now)
		held->most = held->now;
	return malloc(nbytes);
}

static void counting_free(void *p, size_t nbytes, void *cl)
{
	((Held *)cl)->now -= nbytes;
	free(p);
}

static Arena_T counting_arena(Held *held)
{
	Arena_Options o = { .chunk = 2048, .alloc = counting_alloc, .free = counting_free, .cl = held };

	memset(held, 0, sizeof *held);
	return Arena_new_with(&o);
}

static const size_t sizes[] = { 65536, 65537, 100000, 131073, 300000, 524388, 1048575 };

/* Feeds nbytes of the body, in pieces as a server's loop would. */
static void feed_body(Run *run, size_t nbytes)
{
	static char bytes[20000];
	size_t n;

	for (; nbytes > 0; nbytes -= n) {
		n = nbytes < sizeof bytes ? nbytes : sizeof bytes;
		memset(bytes, 'x', n);
		feed_copies(run, bytes, n);
	}
}

TEST(a_body_with_a_length_holds_at_most_1_3_times_its_bytes, .to = COUNT(sizes))
{
	size_t n = sizes[_i];
	char head[100];
	Held held;
	Arena_T a = counting_arena(&held);
	Run run;

	begin_run(&run, a);
	feed_copies(&run, head, (size_t)sprintf(head, POST HOST "Content-Length: %zu\r\n\r\n", n));
	ck_assert_uint_le(held.now, 4096); /* a promised length takes no memory */
	feed_body(&run, n - 1);
	ck_assert_int_eq(run.last, HTTPReader_MORE);
	ck_assert_uint_le(held.most, n + n * 3 / 10);
	feed_body(&run, 1);
	ck_assert_int_eq(run.last, HTTPReader_READY);
	ck_assert_uint_le(held.most, n + n * 3 / 10);
	ck_assert_uint_eq(run.request.nbytes, n);
	ck_assert_uint_eq(strspn(run.request.body, "x"), n);
	Arena_dispose(&a);
	ck_assert_uint_eq(held.now, 0);
}

TEST(a_chunked_body_holds_at_most_1_3_times_its_bytes_before_and_after_its_end, .to = COUNT(sizes))
{
	size_t n = sizes[_i];
	char head[100];
	Held held;
	Arena_T a = counting_arena(&held);
	Run run;

	begin_run(&run, a);
	feed_copies(&run, head, (size_t)sprintf(head, CHUNKED "%zx\r\n", n));
	feed_body(&run, n);
	ck_assert_int_eq(run.last, HTTPReader_MORE);
	ck_assert_uint_le(held.most, n + n * 3 / 10);
	feed_copies(&run, "\r\n0\r\n\r\n", 7);
	ck_assert_int_eq(run.last, HTTPReader_READY);
	ck_assert_uint_le(held.now, n + n * 3 / 10);
	ck_assert_uint_eq(run.request.nbytes, n);
	ck_assert_uint_eq(strspn(run.request.body, "x"), n);
	Arena_dispose(&a);
	ck_assert_uint_eq(held.now, 0);
}

TEST(bytes_behind_a_chunked_body_in_place_do_not_move)
{
	static char input[40000];
	size_t n = (size_t)sprintf(input, CHUNKED "8000\r\n"), at = 0, used = 0, room, got = 0;
	char *into = NULL;
	Run run;

	memset(input + n, 'x', 0x8000);
	n += 0x8000;
	n += (size_t)sprintf(input + n, "\r\n0\r\n\r\nGET /next");
	begin_run(&run, arena);
	while (run.last != HTTPReader_READY) {
		if (used == got) {
			into = httpreader__room(&run.reader, &room);
			got = room < n - at ? room : n - at;
			memcpy(into, input + at, got);
			at += got;
		} else {
			into += used;
			got -= used;
		}
		run.last = httpreader__feed(&run.reader, into, got, &used);
	}
	ck_assert_uint_eq(run.request.nbytes, 0x8000);
	ck_assert_mem_eq(into + used, "GET /next", got - used);
	ck_assert_uint_gt(got, used);
}

TEST(a_chunked_body_that_breaks_off_leaves_nothing_behind_a_clear)
{
	size_t live = Arena_debug_live_count();
	char head[100];
	Run run;

	begin_run(&run, arena);
	feed_copies(&run, head, (size_t)sprintf(head, CHUNKED "%zx\r\n", (size_t)100000));
	feed_body(&run, 50000);
	ck_assert_uint_gt(Arena_debug_live_count(), live);
	Arena_clear(arena);
	ck_assert_uint_eq(Arena_debug_live_count(), live);
}

static size_t put_head(char *out, int fields, int length)
{
	char *end = out + sprintf(out, GET HOST);
	int i;

	for (i = 0; i < fields; i++)
		end += sprintf(end, "X%d:%*s\r\n", i, length, "");
	return (size_t)(end - out);
}

TEST(a_head_in_progress_holds_at_most_3_times_its_bytes_and_2_KiB, .to = 4)
{
	static const struct { int fields, length; } heads[] =
		{ { 0, 0 }, { 98, 0 }, { 98, 310 }, { 10, 1000 } };
	static char head[40000];
	size_t n = put_head(head, heads[_i].fields, heads[_i].length), before = Arena_used(arena),
		piece;
	Run run;

	for (piece = 1; piece < n; piece *= 2) {
		run_in_pieces(&run, head, n, piece, feed_copies);
		ck_assert_int_eq(run.last, HTTPReader_MORE);
		ck_assert_uint_le(Arena_used(arena) - before, 3 * n + 2048);
		Arena_clear(arena);
		run_in_pieces(&run, head, n, piece, feed_in_place);
		ck_assert_uint_le(Arena_used(arena) - before, 3 * n + 2048);
		Arena_clear(arena);
	}
}

TEST(a_body_behind_a_head_in_pieces_is_not_kept_with_the_head)
{
	static char input[100000];
	size_t before = Arena_used(arena);
	Run run;

	begin_run(&run, arena);
	feed_copies(&run, "P", 1);
	memset(input, 'x', sizeof input);
	memcpy(input, "OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n", 50);
	feed_copies(&run, input, 50 + 90000);
	ck_assert_int_eq(run.last, HTTPReader_READY);
	ck_assert_uint_le(Arena_used(arena) - before, 90000 * 13 / 10);
}

/* ---- encoded slashes ---- */

static const struct {
	const char *target, *path, *last; /* last: the last segment, decoded */
} slashes[] = {
	{ "/x%2F..%2Fadmin", "/x%2F..%2Fadmin", "x/../admin" }, { "/x%2f", "/x%2F", "x/" },
	{ "/a/%5cb", "/a/%5Cb", "\\b" },
	{ "/a%2Fb/../c%2fd", "/c%2Fd", "c/d" }, { "/%252F", "/%2F", "%2F" },
	{ "/%2F%252F%5C", "/%2F%2F%5C", "/%2F\\" },
	{ "/plain", "/plain", "plain" },
};

TEST(an_encoded_slash_stays_in_its_segment_and_its_parameter_has_it_decoded, .to = COUNT(slashes))
{
	char input[200];
	const char *last;
	Run run;

	run_in_pieces(&run, input, (size_t)sprintf(input, "GET %s HTTP/1.1\r\n" HOST "\r\n",
		slashes[_i].target), 200, feed_copies);
	ck_assert_int_eq(run.last, HTTPReader_READY);
	ck_assert_str_eq(HTTPRequest_path(&run.request), slashes[_i].path);
	last = strrchr(HTTPRequest_path(&run.request), '/') + 1;
	ck_assert_str_eq(httprequest__segment(&run.request, (size_t)(last - run.request.path),
		strlen(last)), slashes[_i].last);
	ck_assert_str_eq(httprequest__segment(&run.request, 1, 0), "");
}

/* ---- handles ---- */

TEST(an_old_handle_differs_from_the_next_one_in_its_place)
{
	static HTTPRequestPlace requests;
	static HTTPResponsePlace responses;
	HTTPRequest_T kept[HTTP__TURNS], r = NULL;
	HTTPResponse_T old[HTTP__TURNS], q = NULL;
	int newest = HTTP__RESPONSE_TURNS - 1;
	volatile int i, j;

	for (i = 0; i < HTTP__TURNS; i++) {
		kept[i] = r = httprequest__renew(&requests);
		r->path = "/mine";
		ck_assert_str_eq(HTTPRequest_path(r), "/mine");
		old[i] = q = httpresponse__renew(&responses, arena);
		HTTPResponse_printf(q, "x");
		for (j = 0; j < i; j++) {
			ck_raises_saying(Assert_Failed, "HTTPRequest_path: the request has ended",
				HTTPRequest_path(kept[j]));
			if (j >= i - newest)
				ck_raises_saying(Assert_Failed, "HTTPResponse_reset: the response has ended",
					HTTPResponse_reset(old[j]));
		}
		httpresponse__end(&responses);
		ck_raises_saying(Assert_Failed, "HTTPResponse_reset: the response has ended",
			HTTPResponse_reset(q));
	}
	ck_raises_saying(Assert_Failed, "HTTPRequest_path: the request is NULL",
		HTTPRequest_path(NULL));
}

/* ---- empty lines, pauses, limits ---- */

TEST(empty_lines_begin_no_request_and_are_not_kept)
{
	size_t before = Arena_used(arena), i;
	Run run;

	begin_run(&run, arena);
	for (i = 0; i < 15; i++) {
		feed_copies(&run, &"\r\n"[i % 2], 1);
		ck_assert_int_eq(run.last, HTTPReader_MORE);
		ck_assert(!httpreader__begun(&run.reader));
		ck_assert_int_eq(httpreader__has_cr(&run.reader), i % 2 == 0);
	}
	ck_assert_uint_eq(Arena_used(arena), before);
	feed_copies(&run, "\n" GET HOST "\r\n", 1 + sizeof GET HOST "\r\n" - 1);
	ck_assert_int_eq(run.last, HTTPReader_READY);
	ck_assert_str_eq(HTTPRequest_header(&run.request, "host"), "a");
}

typedef struct Taken {
	char bytes[64];
	size_t n;
	int go_on;
} Taken;

static int take_request(const char *bytes, size_t n, void *cl)
{
	Taken *taken = cl;

	memcpy(taken->bytes + taken->n, bytes, n);
	taken->n += n;
	return taken->go_on;
}

TEST(a_body_that_is_taken_can_pause_after_each_part)
{
	static const char input[] = CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET";
	const char *at = input;
	size_t n = sizeof input - 1, used;
	Taken taken = { .go_on = 0 };
	Run run;

	begin_run(&run, arena);
	ck_assert_int_eq(httpreader__feed(&run.reader, at, n, &used), HTTPReader_HEAD);
	ck_assert(httpreader__has_body(&run.reader));
	run.reader.take = take_request;
	run.reader.cl = &taken;
	at += used, n -= used;
	ck_assert_int_eq(httpreader__feed(&run.reader, at, n, &used), HTTPReader_MORE);
	ck_assert_uint_eq(taken.n, 5);
	at += used, n -= used;
	ck_assert_int_eq(httpreader__feed(&run.reader, at, n, &used), HTTPReader_MORE);
	ck_assert_uint_eq(taken.n, 11);
	at += used, n -= used;
	ck_assert_int_eq(httpreader__feed(&run.reader, at, n, &used), HTTPReader_READY);
	ck_assert_str_eq(at + used, "GET");
	ck_assert_mem_eq(taken.bytes, "hello world", 11);
	ck_assert_uint_eq(run.request.nbytes, 0);
}

TEST(another_limit_of_the_body_is_looked_at_before_its_first_byte)
{
	HTTP_Limits tight = limits;
	size_t used;
	Run run;

	tight.body_bytes = 4;
	begin_run(&run, arena);
	httpreader__feed(&run.reader, POST HOST "Content-Length: 5\r\n\r\n",
		sizeof POST HOST "Content-Length: 5\r\n\r\n" - 1, &used);
	ck_assert_int_eq(httpreader__limit_body(&run.reader, &tight), HTTPReader_ERROR);
	ck_assert_int_eq(run.reader.parser.status, 413);
	httpreader__explain(&run.reader, run.explanation, sizeof run.explanation);
	ck_assert_str_eq(run.explanation, "a body of \"5\" bytes is more than 4");
	tight.body_bytes = 5;
	begin_run(&run, arena);
	httpreader__feed(&run.reader, POST HOST "Content-Length: 5\r\n\r\n",
		sizeof POST HOST "Content-Length: 5\r\n\r\n" - 1, &used);
	ck_assert_int_eq(httpreader__limit_body(&run.reader, &tight), HTTPReader_MORE);
}
