/* SPDX-License-Identifier: MIT */
/* Answers that come later. A call of the program suspends its exchange, and somebody resumes it:
 * both have to happen before the loop goes on, in either order. They meet in the mark of the
 * response's place, which each changes at once:
 *
 *   the call       sets SUSPENDED; when it has returned, sets PARKED (httpserver__park)
 *   the resumer    takes SUSPENDED away, sets RESUMED; if it is PARKED, hands the exchange back
 *   the loop       if the client has left: sets PARKED and GONE at once, unless it is RESUMED
 *                  (httpserver__leave)
 *
 * So exactly one thread resumes the exchange. It is handed back at most once, and the loop decides
 * what came first. */
#include "config.h"

#include <errno.h>

#include "server/rep.h"

#define T HTTPResponse_T

/* As in worker.c. */
void __tsan_acquire(void *) __attribute__((weak));
void __tsan_release(void *) __attribute__((weak));

static uint32_t *mark_of(Exchange *x)
{
	return &x->response_place.mark;
}

static uint32_t set_marks(Exchange *x, uint32_t marks)
{
	uint32_t before;

	if (__tsan_release)
		__tsan_release(x);
	before = __atomic_fetch_or(mark_of(x), marks, __ATOMIC_ACQ_REL);
	if (__tsan_acquire)
		__tsan_acquire(x);
	return before;
}

int httpserver__claim(Exchange *x)
{
	return __atomic_fetch_and(mark_of(x), ~(uint32_t)HTTP__SUSPENDED, __ATOMIC_ACQ_REL)
		& HTTP__SUSPENDED;
}

void httpserver__resume(Exchange *x)
{
	if (set_marks(x, HTTP__RESUMED) & HTTP__PARKED)
		httpserver__hand_back(x);
}

int httpserver__park(Exchange *x)
{
	return !(set_marks(x, HTTP__PARKED) & HTTP__RESUMED);
}

void httpserver__unpark(Exchange *x)
{
	x->response->suspended = 0;
	__atomic_fetch_and(mark_of(x), ~(uint32_t)(HTTP__PARKED | HTTP__RESUMED), __ATOMIC_RELAXED);
}

int httpserver__leave(Exchange *x)
{
	uint32_t before = __atomic_load_n(mark_of(x), __ATOMIC_ACQUIRE);

	do
		if (before & HTTP__RESUMED)
			return 0;
	while (!__atomic_compare_exchange_n(mark_of(x), &before, before | HTTP__PARKED | HTTP__GONE, 1,
			__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return 1;
}

/* ---- handles ---- */

/* Reads nothing of the response, which may have ended: only its mark, which every thread may
 * read. Raises: Assert_Failed. */
static Exchange *find_exchange(T r, uint32_t *mark, const char *call)
{
	Exchange *x = (Exchange *)((uintptr_t)r & ~(uintptr_t)(HTTP__PLACE - 1));
	uintptr_t offset = (uintptr_t)r & (HTTP__PLACE - 1);

	if (!r)
		http__refuse_handle(r, "response", call);
	CHECK(offset % HTTP__STEP == HTTP__SERVED, "%s: the response is not a server's", call);
	*mark = __atomic_load_n(mark_of(x), __ATOMIC_ACQUIRE);
	CHECK(*mark & HTTP__LIVE && (*mark & HTTP__TURN) == offset / HTTP__STEP,
		"%s: the response has ended", call);
	return x;
}

/* Returns the exchange of the response, which the caller alone may resume now. Raises:
 * Assert_Failed. */
static Exchange *claim_response(T r, const char *call)
{
	uint32_t mark;
	Exchange *x = find_exchange(r, &mark, call);

	do {
		CHECK(mark & HTTP__SUSPENDED,
			"%s: the response is not suspended, or somebody else has resumed it", call);
		if (__atomic_compare_exchange_n(mark_of(x), &mark, mark & ~(uint32_t)HTTP__SUSPENDED, 1,
				__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return x;
	} while (find_exchange(r, &mark, call));
	return x;
}

/* ---- the interface ---- */

/* The address of the client is looked up as long as there is one: the log and the program may ask
 * for it later. */
void HTTPResponse_suspend(T r, int timeout_ms)
{
	uint32_t mark;
	Exchange *x = find_exchange(r, &mark, "HTTPResponse_suspend");
	const HTTPServer_Options *o = &x->loop->server->options;

	CHECK(!r->suspended, "HTTPResponse_suspend: the response is suspended already");
	CHECK(x->calling,
		"HTTPResponse_suspend: only a handler, a body or a stream's function may, while it runs");
	HTTPRequest_peer(x->request);
	x->until = socket__deadline_in(timeout_ms ? timeout_ms : o->suspend_ms);
	r->suspended = 1;
	set_marks(x, HTTP__SUSPENDED);
}

void HTTPResponse_resume(T r)
{
	int error = errno;

	httpserver__resume(claim_response(r, "HTTPResponse_resume"));
	errno = error;
}

void HTTPResponse_fail(T r, const Except_Capture *capture)
{
	int error = errno;
	Except_Capture current;
	Exchange *x;

	if (!capture) {
		CHECK(Except_current(),
			"HTTPResponse_fail: the capture is NULL, and no exception is being handled");
		Except_capture(&current);
		capture = &current;
	}
	CHECK(capture->exception, "HTTPResponse_fail: there is no exception in the capture");
	x = claim_response(r, "HTTPResponse_fail");
	httpserver__note_failure(x, capture);
	httpserver__resume(x);
	errno = error;
}

int HTTPResponse_gone(T r)
{
	uint32_t mark;
	const Exchange *x = find_exchange(r, &mark, "HTTPResponse_gone");

	return mark & HTTP__GONE || httpserver__is_over(x->loop);
}

HTTPResponse_T HTTPRequest_response(HTTPRequest_T request)
{
	CHECK_HANDLE(request, "request");
	CHECK(request->response,
		"HTTPRequest_response: the request has no response: it is not a server's, or was refused");
	return request->response;
}
