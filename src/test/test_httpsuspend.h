/* SPDX-License-Identifier: MIT */
/* Shared by the parts of test_httpsuspend: handlers that suspend the response, and their
 * servers. */
#ifndef TEST_HTTPSUSPEND_INCLUDED
#define TEST_HTTPSUSPEND_INCLUDED
#include "httpclient.h"

static HTTPResponse_T volatile waiting; /* the last that was suspended */
static atomic_int nsuspended, nfreed, nlogged, blocks, timeout_ms;

static HTTPServer_Entry last_entry;
static char last_error[100];

static inline void keep_entry(const HTTPServer_Entry *e, void *cl)
{
	(void)cl;
	last_entry = *e;
	snprintf(last_error, sizeof last_error, "%s", e->error ? e->error : "-");
	atomic_fetch_add(&nlogged, 1);
}

static inline void count_freed(void *cl)
{
	(void)cl;
	atomic_fetch_add(&nfreed, 1);
}

static inline void suspend_response(HTTPResponse_T response)
{
	HTTPResponse_suspend(response, atomic_load(&timeout_ms));
	__atomic_store_n(&waiting, response, __ATOMIC_RELEASE);
	atomic_fetch_add(&nsuspended, 1);
}

static inline void answer_later(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)cl;
	Arena_defer(HTTPRequest_arena(request), count_freed, NULL);
	ck_assert_ptr_eq(HTTPRequest_response(request), response);
	suspend_response(response);
}

static inline void answer_hello(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request;
	(void)cl;
	HTTPResponse_printf(response, "hello");
}

static inline void add_route(const char *method, const char *pattern, HTTPServer_Handler *handler,
	void (*body_)(HTTPRequest_T, const void *, size_t, void *))
{
	HTTPServer_Route r = { .method = method, .pattern = pattern, .handler = handler, .body = body_,
		.blocks = blocks };

	HTTPServer_route_with(server, &r);
}

static inline void make_with(HTTPServer_Options options, int in_workers)
{
	nsuspended = nfreed = nlogged = timeout_ms = 0;
	blocks = in_workers;
	waiting = NULL;
	options.log = keep_entry;
	options.workers = 2;
	make_server(options);
	HTTPServer_route(server, "GET", "/", answer_hello, NULL);
}

static inline void start_server(HTTPServer_Handler *handler, HTTPServer_Options options,
	int in_workers)
{
	make_with(options, in_workers);
	add_route("GET", "/later", handler, NULL);
	launch_server();
}

static inline HTTPResponse_T await_suspended(int n)
{
	await(atomic_load(&nsuspended) == n);
	return __atomic_load_n(&waiting, __ATOMIC_ACQUIRE);
}

/* Returns a client whose request is suspended. */
static inline int begin_waiting(void)
{
	int fd = dial_server();

	send_text(fd, GET("/later"));
	await_suspended(1);
	return fd;
}

static inline void fail_with(HTTPResponse_T r, const Except_T *e, const char *text)
{
	TRY {
		EXCEPT_RAISE_MSG(*e, "%s", text);
	} ELSE {
		HTTPResponse_fail(r, NULL);
	} END_TRY;
}

#endif
