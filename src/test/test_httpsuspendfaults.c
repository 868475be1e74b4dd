/* SPDX-License-Identifier: MIT */
/* A server whose answers come later and whose n-th allocation fails, or all from the n-th on,
 * for every n: in its threads and in the one that resumes. A failure costs its own connection
 * and no other. The program is linked with --wrap for malloc. */
#include "config.h"

#include "failing_malloc.h"

static atomic_int in_progress; /* threads that have not resumed their response yet */
static int blocks;

static void *resume_later(void *cl)
{
	static const char text[] = "it is empty";

	is_server = 1;
	sleep_ms(1);
	if (HTTPResponse_gone(cl))
		HTTPResponse_resume(cl);
	else
		TRY {
			EXCEPT_RAISE_MSG(HTTP_Not_Found, "%s", text);
		} ELSE {
			HTTPResponse_fail(cl, NULL);
		} END_TRY;
	is_server = 0;
	atomic_fetch_sub(&in_progress, 1);
	return NULL;
}

static void suspend_response(HTTPResponse_T r, int by_thread)
{
	pthread_t thread;
	int was = is_server;

	HTTPResponse_suspend(r, 50);
	if (!by_thread) {
		HTTPResponse_resume(r);
		return;
	}
	atomic_fetch_add(&in_progress, 1);
	is_server = 0;
	ck_assert_int_eq(pthread_create(&thread, NULL, resume_later, r), 0);
	pthread_detach(thread);
	is_server = was;
}

static int write_part(HTTPResponse_T response, void *cl)
{
	int *left = cl;

	is_server = 1; /* workers count, too */
	HTTPResponse_printf(response, "%*s", 3000, "part");
	if (--*left == 0)
		return 0;
	suspend_response(response, 0);
	return 1;
}

static void stream_parts(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	int *left;

	(void)cl;
	is_server = 1;
	NEW(HTTPRequest_arena(request), left);
	*left = 3;
	HTTPResponse_stream(response, write_part, left);
	HTTPResponse_write(response, Arena_calloc(HTTPRequest_arena(request), 1, 20000), 20000);
}

static void answer_later(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	(void)request;
	is_server = 1;
	HTTPResponse_printf(response, "an answer");
	suspend_response(response, 1);
}

static void body_later(HTTPRequest_T request, const void *bytes, size_t n, void *cl)
{
	(void)bytes;
	(void)n;
	(void)cl;
	is_server = 1;
	suspend_response(HTTPRequest_response(request), 0);
}

static void add_route(const char *method, const char *pattern, HTTPServer_Handler *handler,
	void (*body_)(HTTPRequest_T, const void *, size_t, void *))
{
	HTTPServer_Route r = { .method = method, .pattern = pattern, .handler = handler, .body = body_,
		.blocks = blocks };

	HTTPServer_route_with(server, &r);
}

static void try_request(const char *request)
{
	int fd = try_to_dial();

	if (fd < 0)
		return;
	send(fd, request, strlen(request), MSG_NOSIGNAL);
	read_to_end(fd);
	close(fd);
}

static int is_serving(void)
{
	nheard = 0;
	heard[0] = '\0';
	try_request("GET /stream HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	return nheard > 20000 && memcmp(heard + nheard - 7, "\r\n0\r\n\r\n", 7) == 0;
}

#define CLOSE "Connection: close\r\n\r\n"
static const char *const requests[] = {
	"GET /stream HTTP/1.1\r\n" HOST CLOSE,
	"GET /later HTTP/1.1\r\n" HOST "\r\nGET /later HTTP/1.1\r\n" HOST CLOSE,
	"POST /body HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" CLOSE
	"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
};

static int serve_failing(int n)
{
	size_t i;
	int failed_once;

	make_server((HTTPServer_Options){ .workers = 1 });
	add_route("GET", "/stream", stream_parts, NULL);
	add_route("GET", "/later", answer_later, NULL);
	add_route("POST", "/body", stream_parts, body_later);
	launch_failing(n);
	for (i = 0; i < sizeof requests / sizeof requests[0]; i++)
		try_request(requests[i]);
	failed_once = end_failing();
	await(atomic_load(&in_progress) == 0);
	await(run_failed || is_serving());
	end_failed_server();
	return failed_once;
}

SUITE("answers that come later, without memory");
CASE("allocations", .timeout = 120);

TEST(each_allocation_may_fail_or_all_after_it, .to = 4)
{
	int n = 0;

	lasting = _i % 2;
	blocks = _i / 2;
	while (serve_failing(n))
		n++;
	ck_assert_int_gt(n, 5);
}
