/* SPDX-License-Identifier: MIT */
/* Races: threads that resume, fail and ask for gone, against each other, the client's departure,
 * the timeout and the server's end. It is made for ThreadSanitizer. And ten thousand suspended
 * responses. */
#include "config.h"

#include <sys/resource.h>

#include "httpclient.h"

SUITE("answers that come later, and threads");

enum { THREADS = 8, RING = 64 };

/* Handles of suspended responses. The resumers look at all of them again and again, also when
 * they ended long ago. */
static HTTPResponse_T handles[RING];
static atomic_int nsuspended, nresumed, nfreed, nlogged, done;
static atomic_int next;
static int by_fail;

static HTTPResponse_T newest_handle(void)
{
	return __atomic_load_n(&handles[(atomic_load(&next) - 1) % RING], __ATOMIC_ACQUIRE);
}

static void count_freed(void *cl)
{
	(void)cl;
	atomic_fetch_add(&nfreed, 1);
}

static void suspend_and_publish(HTTPResponse_T r)
{
	HTTPResponse_suspend(r, 0);
	__atomic_store_n(&handles[atomic_fetch_add(&next, 1) % RING], r, __ATOMIC_RELEASE);
	atomic_fetch_add(&nsuspended, 1);
}

static int write_again(HTTPResponse_T response, void *cl)
{
	int *left = cl;

	HTTPResponse_printf(response, "part");
	if (--*left == 0)
		return 0;
	suspend_and_publish(response);
	return 1;
}

static void answer_later(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	Arena_defer(HTTPRequest_arena(request), count_freed, NULL);
	HTTPResponse_printf(response, "answer");
	if (cl) {
		int *left = Arena_alloc(HTTPRequest_arena(request), sizeof *left);

		*left = 3;
		HTTPResponse_stream(response, write_again, left);
	}
	suspend_and_publish(response);
}

static void suspend_body(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	(void)bytes;
	(void)n;
	(void)cl;
	suspend_and_publish(HTTPRequest_response(request));
}

/* Resumes one of them, if it may be resumed. */
static void resume_one(unsigned *seed)
{
	HTTPResponse_T r = __atomic_load_n(&handles[rand_r(seed) % RING], __ATOMIC_ACQUIRE);

	if (!r)
		return;
	TRY {
		if (HTTPResponse_gone(r) && rand_r(seed) % 2)
			sleep_ms(1);
		if (by_fail && rand_r(seed) % 4 == 0) {
			static const Except_Capture capture =
				{ .exception = &HTTP_Conflict, .message = "a conflict" };

			HTTPResponse_fail(r, &capture);
		} else
			HTTPResponse_resume(r);
		atomic_fetch_add(&nresumed, 1);
	} EXCEPT(Assert_Failed) {
	} END_TRY;
}

static void *resume_all(void *cl)
{
	unsigned seed = (unsigned)(uintptr_t)cl;

	while (!atomic_load(&done)) {
		resume_one(&seed);
		if (rand_r(&seed) % 64 == 0)
			sched_yield();
	}
	return NULL;
}

static const char *const requests[] = {
	GET("/later"), GET("/stream"), GET("/work"), GET("/work-stream"),
	"POST /body HTTP/1.1\r\n" HOST
	"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
	"POST /work-body HTTP/1.1\r\n" HOST
	"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
	GET("/later") GET("/later") GET("/stream")
};

/* Makes requests, and leaves at once, after a part of the answer, or when it has read something. */
static void *be_client(void *cl)
{
	unsigned seed = (unsigned)(uintptr_t)cl;
	char buffer[4096];

	while (!atomic_load(&done)) {
		int fd = try_to_dial(), i, n = (int)(rand_r(&seed) % 3);
		const char *request = requests[rand_r(&seed) % (sizeof requests / sizeof requests[0])];

		if (fd < 0)
			break;
		if (send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
			for (i = 0; i < n && read_within(fd, buffer, sizeof buffer, 50) > 0; i++)
				;
		if (rand_r(&seed) % 4 == 0)
			shutdown(fd, SHUT_WR);
		close(fd);
	}
	return NULL;
}

static void log_entry(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	if (e->peer)
		atomic_fetch_add(&nlogged, 1);
}

static void add_route(const char *method, const char *pattern, int blocks, int streams,
	int has_body)
{
	static int yes = 1;

	HTTPServer_route_with(server, &(HTTPServer_Route){ .method = method, .pattern = pattern,
		.handler = answer_later,
		.cl = streams ? &yes : NULL, .blocks = blocks, .body = has_body ? suspend_body : NULL });
}

static void start_server(int suspend_ms)
{
	memset(handles, 0, sizeof handles);
	nsuspended = nresumed = nfreed = nlogged = done = 0;
	make_server((HTTPServer_Options){ .threads = 2, .workers = 2, .suspend_ms = suspend_ms,
		.drain_ms = 20, .log = log_entry });
	add_route("GET", "/later", 0, 0, 0);
	add_route("GET", "/stream", 0, 1, 0);
	add_route("GET", "/work", 1, 0, 0);
	add_route("GET", "/work-stream", 1, 1, 0);
	add_route("POST", "/body", 0, 0, 1);
	add_route("POST", "/work-body", 1, 0, 1);
	launch_server();
}

/* A response that was suspended and not resumed outlives run, and is freed when it is resumed. */
static void resume_rest(void)
{
	volatile int i;

	for (i = 0; i < RING; i++)
		TRY {
			HTTPResponse_resume(handles[i]);
		} EXCEPT(Assert_Failed) {
		} END_TRY;
}

CASE("races", .timeout = 120);

TEST(threads_resume_against_departure_time_the_servers_end_and_each_other, .to = 3)
{
	pthread_t resumers[THREADS], clients[4];
	size_t i;

	by_fail = _i == 1;
	start_server(_i == 2 ? 1 : 20);
	for (i = 0; i < THREADS; i++)
		pthread_create(&resumers[i], NULL, resume_all, (void *)(i + 1));
	for (i = 0; i < 4; i++)
		pthread_create(&clients[i], NULL, be_client, (void *)(i + 100));
	await(atomic_load(&nresumed) > 300);
	HTTPServer_stop(server); /* while requests and resumes go on */
	pthread_join(server_thread, NULL);
	atomic_store(&done, 1);
	for (i = 0; i < THREADS; i++)
		pthread_join(resumers[i], NULL);
	for (i = 0; i < 4; i++)
		pthread_join(clients[i], NULL);
	ck_assert(!run_failed);
	resume_rest();
	ck_assert_int_gt(atomic_load(&nfreed), 100);
	ck_assert_int_gt(atomic_load(&nlogged), 100);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

static pthread_barrier_t barrier;
static atomic_int winners;

static void *resume_once(void *cl)
{
	pthread_barrier_wait(&barrier);
	TRY {
		HTTPResponse_resume(cl);
		atomic_fetch_add(&winners, 1);
	} EXCEPT(Assert_Failed) {
	} END_TRY;
	return NULL;
}

TEST(of_eight_threads_that_resume_one_does)
{
	pthread_t threads[THREADS];
	HTTPResponse_T r;
	int fd, i, round;

	start_server(10000);
	fd = dial_server();
	for (round = 1; round <= 20; round++) {
		pthread_barrier_init(&barrier, NULL, THREADS);
		winners = 0;
		send_text(fd, GET("/later"));
		await(atomic_load(&nsuspended) == round);
		r = newest_handle();
		for (i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, resume_once, r);
		for (i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		ck_assert_int_eq(winners, 1);
		ck_assert_int_eq(read_response(fd), 200);
		pthread_barrier_destroy(&barrier);
	}
	close(fd);
	end_server();
}

/* ---- many ---- */

CASE("many", .timeout = 240);

enum { MANY = 10000 };
static HTTPResponse_T many[MANY];

static void suspend_and_keep(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	(void)request;
	HTTPResponse_suspend(response, -1);
	many[atomic_load(&nsuspended)] = response; /* there is only one loop */
	atomic_fetch_add(&nsuspended, 1);
}

static size_t resident_bytes(void)
{
	size_t pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%zu %zu", &pages, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static int count_threads(void)
{
	char line[200];
	int n = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Threads: %d", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

/* As many as the descriptors allow: each takes two here. */
TEST(ten_thousand_wait_without_a_thread)
{
	static int fds[MANY];
	struct rlimit limit;
	size_t before, each;
	int64_t start_ms;
	int n = MANY, i, threads;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < 2 * MANY + 100)
		n = (int)(limit.rlim_cur / 2) - 100;
	nsuspended = 0;
	make_server((HTTPServer_Options){ .connections = (size_t)n + 1, .threads = 1 });
	HTTPServer_route(server, "GET", "/", suspend_and_keep, NULL);
	launch_server();
	before = resident_bytes();
	threads = count_threads();
	for (i = 0; i < n; i++) {
		fds[i] = dial_server();
		send_text(fds[i], GET("/"));
	}
	await(atomic_load(&nsuspended) == n);
	each = (resident_bytes() - before) / (size_t)n;
	ck_assert_int_eq(count_threads(), threads);
	if (!SANITIZED && !RUNNING_ON_VALGRIND && !has_fences())
		ck_assert_uint_lt(each, 12000);
	start_ms = clock_ms();
	for (i = 0; i < n; i++)
		HTTPResponse_resume(many[i]);
	for (i = 0; i < n; i++) {
		char text[64];

		ck_assert_int_gt(read_within(fds[i], text, sizeof text, PATIENCE), 12);
		close(fds[i]);
	}
	printf("%d suspended: %zu bytes each; all resumed and answered in %d ms\n", n, each,
		(int)(clock_ms() - start_ms));
	end_server();
}
