/* SPDX-License-Identifier: MIT */
/* Patterns of arenas as they are taught: first in a C project's guide to its Arena_T, with its
 * names and the shape of its code, then in Zig's ArenaAllocator and of a C web framework, in the
 * calls of this library. */
#include "config.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <core/core.h>
#include "testing.h"

NEEDS(.loopback = 1);

#define ASSERT_EQ(x, y) ck_assert_uint_eq((x), (y))

EXCEPT_DEFINE(SomeException, NULL, "some exception");

static size_t before;

static void count_arenas(void)
{
	before = Arena_debug_live_count();
}

static void no_arena_leaks(void)
{
	size_t after = Arena_debug_live_count();

	ASSERT_EQ(before, after); /* No arena leaks */
}

/* Connects a plain descriptor, the client's, with a socket, the server's. */
static Socket_T connect_pair(int *peer)
{
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	*peer = ends[0];
	return Socket_adopt(ends[1]);
}

static void send_text(int peer, const char *text)
{
	ck_assert_int_eq(write(peer, text, strlen(text)), strlen(text));
}

static const char *read_reply(int peer)
{
	static char text[4096];
	size_t n = 0;
	ssize_t got;

	while (n < sizeof text - 1 && (got = read(peer, text + n, sizeof text - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	return text;
}

/* ---- the memory model, and the API at a glance ---- */

SUITE("Patterns of the seed documents");
CASE("the guide to Arena_T", .setup = count_arenas, .teardown = no_arena_leaks);

TEST(everything_from_an_arena_is_freed_at_once)
{
	Arena_T arena = Arena_new();

	/* Allocate multiple objects */
	Socket_T *sockets = Arena_alloc(arena, 100 * sizeof(Socket_T));
	char *buffer = Arena_alloc(arena, 4096);
	HashTable_T table = HashTable_new(arena, 1000);

	memset(sockets, 0, 100 * sizeof(Socket_T));
	memset(buffer, 0, 4096);
	HashTable_put(table, "key", buffer);
	ck_assert_ptr_eq(HashTable_get(table, "key"), buffer);

	/* All freed at once - no individual free() calls */
	Arena_dispose(&arena);
	ck_assert_ptr_null(arena);
}

TEST(the_core_api_is_as_it_is_printed)
{
	Arena_T (*new)(void) = Arena_new;
	Arena_T (*new_with_size)(size_t) = Arena_new_with_size;
	void *(*alloc)(Arena_T, size_t) = Arena_alloc;
	void *(*calloc_)(Arena_T, size_t, size_t) = Arena_calloc;
	void (*clear)(Arena_T) = Arena_clear;
	void (*dispose)(Arena_T *) = Arena_dispose;
	size_t (*live)(void) = Arena_debug_live_count;
	Arena_T arena = new(), other = new_with_size(100);
	size_t nbytes = 100, count = 10;

	void *ptr = ALLOC(arena, nbytes);
	void *arr = CALLOC(arena, count, nbytes);

	ck_assert(ptr && arr && alloc(arena, nbytes) && calloc_(other, count, nbytes));
	ck_assert_uint_eq(live(), before + 2);
	clear(arena);
	dispose(&arena);
	dispose(&other);
}

/* ---- pattern 1: request-scoped arena ---- */

static HTTPResponse_T process_request(Arena_T arena, HTTPRequest_T req)
{
	HTTPResponse_T resp = HTTPResponse_new(arena);

	if (strcmp(HTTPRequest_path(req), "/raise") == 0)
		RAISE_MSG(SomeException, "no %s here", HTTPRequest_path(req));
	HTTPResponse_set(resp, "Content-Type", "text/plain");
	HTTPResponse_printf(resp, "you asked %s", HTTPRequest_path(req));
	return resp;
}

static void handle_request(Socket_T client) {
	Arena_T arena = Arena_new();

	TRY {
		/* All request processing uses this arena */
		HTTPRequest_T req = HTTPRequest_parse(arena, client);
		HTTPResponse_T resp = process_request(arena, req);
		HTTPResponse_send(client, resp);
	}
	FINALLY {
		Arena_dispose(&arena);  /* Entire request freed */
	}
	END_TRY;
}

TEST(pattern_1_a_request_has_an_arena_of_its_own)
{
	int peer;
	Socket_T client = connect_pair(&peer);
	const char *answer;

	send_text(peer, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	handle_request(client);
	Socket_close(&client);
	answer = read_reply(peer);
	ck_assert_msg(strstr(answer, "HTTP/1.1 200 ") == answer, "%s", answer);
	ck_assert_msg(strstr(answer, "\r\n\r\nyou asked /hello") != NULL, "%s", answer);
	close(peer);
}

TEST(pattern_1_the_arena_is_disposed_of_when_the_request_fails_too)
{
	int peer;
	Socket_T client = connect_pair(&peer);

	send_text(peer, "GET /raise HTTP/1.1\r\nHost: x\r\n\r\n");
	ck_raises_saying(SomeException, "no /raise here", handle_request(client));
	no_arena_leaks();
	send_text(peer, "this is not HTTP\r\n\r\n");
	ck_raises(HTTP_Failed, handle_request(client));
	no_arena_leaks();
	Socket_close(&client);
	close(peer);
}

/* ---- pattern 2: pool with shared arena ---- */

TEST(pattern_2_a_pool_and_its_buffers_share_an_arena)
{
	size_t max_conns = 10, buf_size = 1024;
	int peer[3], i;
	Arena_T arena = Arena_new();
	SocketPool_T pool = SocketPool_new(arena, max_conns, buf_size);

	/* Pool allocates connection buffers from the arena */
	for (i = 0; i < 3; i++) {
		Connection_T conn = SocketPool_add(pool, connect_pair(&peer[i]));
		size_t nbytes;

		memset(Connection_buffer(conn, &nbytes), i, buf_size);
		ck_assert_uint_eq(nbytes, buf_size);
	}
	ck_assert_uint_eq(SocketPool_count(pool), 3);

	/* When done: */
	Arena_dispose(&arena);  /* Frees pool AND all connection buffers */
	for (i = 0; i < 3; i++) {
		ck_assert_str_eq(read_reply(peer[i]), ""); /* the sockets were closed, too */
		close(peer[i]);
	}
}

/* ---- pattern 3: reusable arena (clear vs dispose) ---- */

static void process_batch(Arena_T arena, int data)
{
	char *copy = Arena_sprintf(arena, "batch %d", data);
	int *numbers = Arena_calloc(arena, 10000, sizeof *numbers);

	numbers[9999] = data;
	ck_assert_str_eq(copy, Arena_sprintf(arena, "batch %d", numbers[9999]));
}

TEST(pattern_3_clear_reuses_the_memory)
{
	enum { iterations = 20 };
	int data[iterations] = { 3, 1, 4 };
	size_t held = 0;
	Arena_T arena = Arena_new();

	for (int i = 0; i < iterations; i++) {
		/* Process with arena */
		process_batch(arena, data[i]);

		/* Reset for next iteration (memory reused, not freed) */
		Arena_clear(arena);

		ck_assert_uint_eq(Arena_used(arena), 0);
		if (i == 1)
			held = Arena_capacity(arena);
	}
	ck_assert_uint_eq(Arena_capacity(arena), held);

	Arena_dispose(&arena);  /* Final cleanup */
}

/* ---- pattern 4: nested arenas ---- */

static char *survivor;

static void process_with_temp(Arena_T parent_arena) {
	size_t result_size = 1000;
	/* Temporary arena for intermediate work */
	Arena_T temp = Arena_new();

	TRY {
		/* Large temporary buffers */
		char *scratch = Arena_alloc(temp, 1024 * 1024);
		memset(scratch, 'r', 1024 * 1024);

		/* Copy final result to parent arena */
		char *result = Arena_alloc(parent_arena, result_size);
		memcpy(result, scratch, result_size);
		survivor = result;
	}
	FINALLY {
		Arena_dispose(&temp);  /* Free temporaries */
	}
	END_TRY;

	/* Result survives in parent_arena */
}

TEST(pattern_4_a_result_survives_the_temporary_arena)
{
	Arena_T arena = Arena_new();

	process_with_temp(arena);
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1);
	ck_assert(survivor[0] == 'r' && survivor[999] == 'r');
	Arena_set_limit(arena, 1);
	for (int i = 0; i < 100; i++) /* until the parent has no room for the result */
		TRY {
			process_with_temp(arena);
		} EXCEPT(Arena_Failed) {
			i = 100;
		} END_TRY;
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1);
	Arena_dispose(&arena);
}

/* ---- the lifetime rules ---- */

TEST(rule_1_use_pointers_before_dispose)
{
	Arena_T arena = Arena_new();
	char *ptr = Arena_alloc(arena, 100);

	strcpy(ptr, "data");
	ck_assert_str_eq(ptr, "data");
	Arena_dispose(&arena);  /* ptr no longer valid */
	ck_assert_ptr_null(arena);
}

TEST(rule_2_all_from_the_arena_is_freed_with_it)
{
	struct Failing heap = { .fail_at = -1 };
	Arena_T arena = failing_arena(&heap);
	char *a = Arena_alloc(arena, 100);
	char *b = Arena_alloc(arena, 100);

	ck_assert_ptr_ne(a, b);
	Arena_dispose(&arena);   /* Both freed */
	ck_assert_uint_eq(heap.outstanding_bytes, 0);
}

static Connection_T cached_conn;
static int resizes;

static void on_resize(SocketPool_T pool, void *userdata) {
	(void)pool;
	(void)userdata;
	cached_conn = NULL;  /* Clear cached pointer */
	resizes++;
}

TEST(rule_3_the_pre_resize_callback_clears_a_cached_pointer)
{
	int peer, on_table = 0;
	size_t new_size = 1000;
	Arena_T arena = Arena_new();
	SocketPool_T pool = SocketPool_new(arena, 2, 512);
	Socket_T sock = connect_pair(&peer);

	SocketPool_set_pre_resize_callback(pool, on_resize, NULL);
	SocketPool_add(pool, sock);
	cached_conn = SocketPool_get(pool, sock);
	Connection_set_data(cached_conn, &on_table);
	SocketPool_resize(pool, new_size);
	ck_assert_ptr_null(cached_conn);
	ck_assert_int_eq(resizes, 1);
	cached_conn = SocketPool_get(pool, sock);
	ck_assert_ptr_eq(Connection_data(cached_conn), &on_table);
	ck_assert_uint_eq(SocketPool_capacity(pool), new_size);
	Arena_dispose(&arena);
	close(peer);
}

TEST(rule_3_a_connection_held_across_a_resize_is_no_use_after_free_here)
{
	int peer, data = 7;
	Arena_T arena = Arena_new();
	SocketPool_T pool = SocketPool_new(arena, 1, 512);
	Socket_T sock = connect_pair(&peer);

	SocketPool_add(pool, sock);
	Connection_T conn = SocketPool_get(pool, sock);
	Connection_set_data(conn, &data);
	SocketPool_resize(pool, 5000);
	ck_assert_ptr_eq(Connection_data(conn), &data); /* a pool that grows never moves a connection */
	Arena_dispose(&arena);
	close(peer);
}

static void risky_operation(void *data)
{
	if (*(int *)data)
		RAISE(SomeException);
}

static int safely(int fails)
{
	int handled = 0;
	size_t size = sizeof fails;
	Arena_T arena = Arena_new();  /* Before TRY */

	PROTECT(handled);
	TRY {
		/* Allocations that might raise exceptions */
		void *data = Arena_alloc(arena, size);
		memcpy(data, &fails, size);
		risky_operation(data);
	}
	EXCEPT(SomeException) {
		handled = 1;  /* Handle error */
	}
	FINALLY {
		Arena_dispose(&arena);  /* Always runs */
	}
	END_TRY;
	ck_assert_ptr_null(arena);
	return handled;
}

TEST(rule_4_an_arena_made_before_try_is_disposed_of_in_finally)
{
	ck_assert_int_eq(safely(0), 0);
	no_arena_leaks();
	ck_assert_int_eq(safely(1), 1);
}

/* ---- threads ---- */

static pthread_mutex_t arena_mutex = PTHREAD_MUTEX_INITIALIZER;
static Arena_T shared_arena;

static void *allocate_shared(void *cl)
{
	size_t size = 100;
	int i;

	for (i = 0; i < 500; i++) {
		/* as in the guide, though Arena_alloc has a lock of its own */
		pthread_mutex_lock(&arena_mutex);
		void *ptr = Arena_alloc(shared_arena, size);
		pthread_mutex_unlock(&arena_mutex);
		memset(ptr, 1, size);
		memset(Arena_alloc(shared_arena, size), 2, size);
	}
	return cl;
}

TEST(threads_may_share_an_arena_that_one_disposes_of)
{
	pthread_t thread[4];
	int i;

	shared_arena = Arena_new();
	for (i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, allocate_shared, NULL);
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_ge(Arena_used(shared_arena), 4 * 1000 * 100);
	Arena_dispose(&shared_arena);
}

static __thread Arena_T thread_arena = NULL;

static void *alloc_thread_local(size_t size) {
	if (!thread_arena) thread_arena = Arena_new();
	return Arena_alloc(thread_arena, size);
}

static void *work_alone(void *cl)
{
	int i;

	for (i = 0; i < 500; i++)
		memset(alloc_thread_local(100), i, 100);
	Arena_dispose(&thread_arena);
	return cl;
}

TEST(better_each_thread_has_its_own_arena)
{
	pthread_t thread[4];
	int i;

	for (i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, work_alone, NULL);
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
}

TEST(the_live_count_returns_to_where_it_was)
{
	size_t count = Arena_debug_live_count();
	Arena_T arena = Arena_new();

	process_with_temp(arena);
	Arena_new_child(arena);
	Arena_dispose(&arena);
	size_t after = Arena_debug_live_count();
	ASSERT_EQ(count, after);  /* No arena leaks */
}

/* ---- headers in a hash map, freed as a group ---- */

CASE("Zig's ArenaAllocator", .setup = count_arenas, .teardown = no_arena_leaks);

typedef struct Response {
	Arena_T header_arena;
	HashTable_T headers;
} Response;

static void set_header(Response *self, const char *name, const char *value)
{
	if (!self->headers)
		self->headers = HashTable_new(self->header_arena, 8);
	HashTable_put(self->headers, name, Arena_strdup(self->header_arena, value));
}

TEST(headers_live_in_one_arena_and_replacing_them_is_no_problem)
{
	Response self = { Arena_new(), NULL };
	size_t held = 0;
	int request, i;

	for (request = 0; request < 20; request++) {
		for (i = 0; i < 50; i++)
			set_header(&self, i % 2 ? "X-Replaced" : Arena_sprintf(self.header_arena, "X-%d", i),
				"value");
		ck_assert_uint_eq(HashTable_length(self.headers), 26);
		ck_assert_str_eq(HashTable_get(self.headers, "X-Replaced"), "value");
		self.headers = NULL;
		Arena_clear(self.header_arena); /* reset(.retain_capacity): back to the object pool */
		if (request == 1)
			held = Arena_capacity(self.header_arena);
	}
	ck_assert_uint_eq(Arena_capacity(self.header_arena), held);
	Arena_dispose(&self.header_arena); /* Free everything at once */
}

/* ---- request lifecycle: nothing of it outlives it but the answer ---- */

static const char *handleRequest(Arena_T backing, const char *request_data)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	const char *request = Arena_strndup(arena, request_data, strcspn(request_data, "\n"));
	const char *response = Arena_sprintf(arena, "processed %s", request);

	return Arena_strdup(backing, response);
	/* All memory freed automatically on return */
}

TEST(a_function_frees_its_scope_on_return)
{
	Arena_T backing = Arena_new();

	ck_assert_str_eq(handleRequest(backing, "GET /\nmore"), "processed GET /");
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1);
	Arena_dispose(&backing);
}

static void fail_in_scope(void)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();

	Arena_alloc(arena, 100);
	RAISE(SomeException);
}

TEST(a_function_frees_its_scope_when_it_fails)
{
	ck_raises(SomeException, fail_in_scope());
}

/* ---- reset: what it keeps ---- */

TEST(reset_retaining_capacity_takes_nothing_from_the_backing_allocator_again)
{
	struct Failing heap = { .fail_at = -1 };
	Arena_T arena = failing_arena(&heap);
	size_t requests = 0;
	int batch;

	for (batch = 0; batch < 10; batch++) {
		int *data = Arena_calloc(arena, 1000, sizeof *data);

		ck_assert_int_eq(data[999], 0);
		data[999] = batch;
		Arena_clear(arena);
		if (batch == 1)
			requests = heap.requests;
	}
	ck_assert_uint_eq(heap.requests, requests);
	Arena_dispose(&arena);
	ck_assert_uint_eq(heap.outstanding_blocks, 0);
}

TEST(reset_freeing_all_gives_the_blocks_back)
{
	struct Failing heap = { .fail_at = -1 };
	Arena_T arena = failing_arena(&heap);
	size_t at_first = heap.outstanding_bytes;

	Arena_alloc(arena, 100000);
	Arena_reset(arena, 0);
	ck_assert_uint_eq(heap.outstanding_bytes, at_first);
	ck_assert_uint_eq(heap.outstanding_blocks, 1);
	Arena_alloc(arena, 100000);
	Arena_reset(arena, 1000000); /* retain with a limit */
	ck_assert_uint_gt(heap.outstanding_bytes, at_first + 100000);
	Arena_dispose(&arena);
	ck_assert_uint_eq(heap.outstanding_bytes, 0);
}

/* An arena is kept for what outlives each request. */
typedef struct RequestProcessor {
	Arena_T arena;
	int requests;
	size_t bytes;
} RequestProcessor;

static void process(RequestProcessor *self, const char *request)
{
	char *copy = Arena_strdup(self->arena, request);

	self->requests++;
	self->bytes += strlen(copy);
}

TEST(state_is_retained_while_the_arena_is_reset)
{
	static const char *const requests[] = { "GET /", "GET /a", "POST /b" };
	RequestProcessor processor = { Arena_new(), 0, 0 };
	int i;

	for (i = 0; i < 3; i++) {
		Arena_clear(processor.arena);
		process(&processor, requests[i]);
	}
	ck_assert_int_eq(processor.requests, 3);
	ck_assert_uint_eq(processor.bytes, 18);
	Arena_dispose(&processor.arena);
}

/* ---- scopes in scopes, lifetimes side by side ---- */

TEST(server_request_and_parse_are_nested_lifetimes)
{
	Arena_T server = Arena_new();
	const char *config = Arena_strdup(server, "config");
	size_t used = Arena_used(server);
	int i;

	for (i = 0; i < 10; i++) {
		Arena_T request = Arena_new_child(server), parsing = Arena_new_child(request);
		char *token = Arena_sprintf(parsing, "token %d", i);
		char *parsed = Arena_strdup(request, token + 6);

		Arena_dispose(&parsing);
		ck_assert_int_eq(atoi(parsed), i);
		if (i % 2)
			Arena_dispose(&request); /* the others are disposed of with the server */
	}
	ck_assert_str_eq(config, "config");
	ck_assert_uint_eq(Arena_used(server), used); /* requests leave nothing behind */
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1 + 5);
	Arena_dispose(&server);
}

TEST(a_scope_within_one_arena_is_a_mark)
{
	Arena_T arena = Arena_new();
	char *kept = Arena_strdup(arena, "kept");
	Arena_Mark scope = Arena_mark(arena);
	size_t used = Arena_used(arena);

	Arena_alloc(arena, 50000);
	Arena_rewind(arena, scope);
	ck_assert_uint_eq(Arena_used(arena), used);
	ck_assert_str_eq(kept, "kept");
	Arena_dispose(&arena);
}

TEST(config_and_requests_have_arenas_of_different_lifetimes)
{
	Arena_T config_arena = Arena_new(), request_arena = Arena_new();
	const char *host = Arena_strdup(config_arena, "localhost");
	int i;

	for (i = 0; i < 5; i++) {
		char *url = Arena_sprintf(request_arena, "http://%s/%d", host, i);

		ck_assert_int_eq(url[strlen(url) - 1], '0' + i);
		Arena_clear(request_arena);
	}
	ck_assert_str_eq(host, "localhost");
	Arena_dispose(&request_arena);
	ck_assert_str_eq(host, "localhost");
	Arena_dispose(&config_arena);
}

/* ---- buffers ---- */

TEST(a_stack_buffer_saves_the_heap_and_spills_when_it_is_full)
{
	_Alignas(max_align_t) char buffer[4096];
	Arena_T arena = Arena_new_in(buffer, sizeof buffer);
	char *s = Arena_sprintf(arena, "{\"id\": %d}", 1);

	ck_assert(s > buffer && s < buffer + sizeof buffer);
	/* all allocations come from the stack buffer (if they fit) */
	ck_assert_uint_eq(Arena_capacity(arena), 0);
	Arena_alloc(arena, sizeof buffer);
	ck_assert_uint_gt(Arena_capacity(arena), 0);
	Arena_dispose(&arena);
}

TEST(a_fixed_buffer_fails_with_out_of_memory)
{
	_Alignas(max_align_t) char buffer[4096];
	Arena_T arena = Arena_new_with(&(Arena_Options){ .buffer = buffer, .buffer_size = sizeof buffer,
		.fixed = 1 });

	Arena_alloc(arena, 1000);
	ck_raises(Arena_Failed, Arena_alloc(arena, sizeof buffer));
	ck_assert_ptr_null(Arena_try_alloc(arena, sizeof buffer));
	Arena_alloc(arena, 1000);
	Arena_dispose(&arena);
}

/* ---- scratch from an arena, the result from the backing allocator ---- */

static int *computeResult(Arena_T backing, const int *input, size_t n)
{
	/* Arena for scratch work */
	AUTO(Arena_T, scratch, Arena_dispose) = Arena_new();
	int *temp = Arena_calloc(scratch, n, sizeof *temp), *result;
	size_t i;

	for (i = 0; i < n; i++)
		temp[i] = input[i] * 2;

	/* Final result: from BACKING (survives the scratch arena) */
	result = Arena_memdup(backing, temp, n * sizeof *temp);
	return result;
}

TEST(two_allocators_the_result_outlives_the_scratch)
{
	static const int input[] = { 1, 2, 3, -4 };
	struct Failing heap = { .fail_at = -1 };
	Arena_T backing = failing_arena(&heap);
	int *result = computeResult(backing, input, 4);

	ck_assert_uint_eq(Arena_debug_live_count(), before + 1);
	ck_assert(result[0] == 2 && result[1] == 4 && result[2] == 6 && result[3] == -8);
	Arena_clear(backing);
	heap.fail_at = 0; /* errdefer: no memory for the result */
	while (Arena_try_alloc(backing, 8))
		;
	ck_raises(Arena_Failed, computeResult(backing, input, 4));
	ck_assert_uint_eq(Arena_debug_live_count(), before + 1);
	Arena_dispose(&backing);
	ck_assert_uint_eq(heap.outstanding_blocks, 0);
}

TEST(ten_thousand_items_of_three_temporaries_are_one_free)
{
	struct Failing heap = { .fail_at = -1 };
	Arena_T arena = failing_arena(&heap);
	int item;

	for (item = 0; item < 10000; item++) {
		char *temp1 = Arena_alloc(arena, (size_t)(item % 64));
		double *temp2 = Arena_alloc(arena, 100 * sizeof *temp2);
		int32_t *temp3 = Arena_alloc(arena, 50 * sizeof *temp3);

		memset(temp1, 1, (size_t)(item % 64));
		temp2[99] = temp3[49] = item; /* No individual frees needed! */
	}
	ck_assert_uint_lt(heap.requests, 100);
	Arena_dispose(&arena);
	ck_assert_uint_eq(heap.outstanding_blocks, 0); /* leak! */
}

/* ---- a web framework's arena ---- */

CASE("a web framework's arena", .setup = count_arenas, .teardown = no_arena_leaks);

TEST(strings_numbers_and_blocks_come_from_one_arena)
{
	Arena_T arena = Arena_new_with_size(1024 * 128);
	void *ptr = Arena_alloc(arena, 256);
	int *numbers = Arena_calloc(arena, 100, sizeof(int));
	char *copy = Arena_strdup(arena, "Hello, World!");
	char *prefix = Arena_strndup(arena, "Hello, World!", 5);

	ck_assert_uint_eq((uintptr_t)ptr % 8, 0);
	ck_assert_int_eq(numbers[0] | numbers[99], 0);
	ck_assert_str_eq(copy, "Hello, World!");
	ck_assert_str_eq(prefix, "Hello");
	Arena_dispose(&arena);
}

TEST(used_and_total_are_the_bytes_allocated_and_held)
{
	Arena_T arena = Arena_new();
	size_t total = Arena_capacity(arena), used;

	Arena_alloc(arena, 256);
	used = Arena_used(arena);
	ck_assert_uint_ge(used, 256);
	ck_assert_uint_le(used, total);
	ck_assert_uint_eq(Arena_capacity(arena), total);
	Arena_alloc(arena, 10 * total); /* large allocations are fine */
	ck_assert_uint_gt(Arena_capacity(arena), 10 * total);
	total = Arena_capacity(arena);
	Arena_clear(arena);
	ck_assert_uint_eq(Arena_used(arena), 0);
	ck_assert_uint_ge(Arena_capacity(arena), 10 * (total / 11));
	Arena_dispose(&arena);
}

typedef struct RequestContext {
	Arena_T arena;
} RequestContext;

static char *copy_for(RequestContext ctx, const char *source)
{
	char *str = ctx.arena
		? Arena_strdup(ctx.arena, source)
		: strdup(source);

	return str;
}

TEST(a_context_may_have_an_arena_or_none)
{
	RequestContext with = { Arena_new() }, without = { NULL };
	char *plain = copy_for(without, "temporary string");

	ck_assert_str_eq(copy_for(with, plain), "temporary string");
	free(plain);
	Arena_dispose(&with.arena);
}

static int handler(RequestContext ctx, size_t size)
{
	void *ptr = Arena_try_alloc(ctx.arena, size);

	if (!ptr)
		return 500; /* Handle allocation failure */
	return 200;
}

TEST(a_program_that_prefers_NULL_to_an_exception_gets_it)
{
	RequestContext ctx = { Arena_new() };

	ck_assert_int_eq(handler(ctx, 100), 200);
	Arena_set_limit(ctx.arena, Arena_capacity(ctx.arena));
	ck_assert_int_eq(handler(ctx, 1000000), 500);
	Arena_dispose(&ctx.arena);
}
