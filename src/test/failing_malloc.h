/* SPDX-License-Identifier: MIT */
/* A server whose n-th allocation fails, or all from the n-th on. The program is linked with
 * --wrap for malloc, calloc and realloc. Only threads that set is_server are affected. */
#ifndef FAILING_MALLOC_INCLUDED
#define FAILING_MALLOC_INCLUDED
#include "httpclient.h"
#include "wrapping.h"

/* how many allocations precede the one that fails; if -1, none fails */
static atomic_int fail_at = -1;
static int lasting;             /* all later ones fail, too */
static __thread int is_server;

static int fails_now(void)
{
	int left = is_server ? atomic_load(&fail_at) : -1;

	if (left > 0 || (left == 0 && !lasting))
		atomic_fetch_sub(&fail_at, 1);
	return left == 0;
}

WRAPPED(void *, malloc, (size_t n), (n), if (fails_now()) return NULL);
WRAPPED(void *, calloc, (size_t m, size_t n), (m, n), if (fails_now()) return NULL);
WRAPPED(void *, realloc, (void *p, size_t n), (p, n), if (fails_now()) return NULL);

static void *run_failing(void *cl)
{
	is_server = 1;
	return run_server(cl);
}

/* Runs the server that make_server has made. Its allocation number n fails. */
static void launch_failing(int n)
{
	run_failed = 0;
	atomic_store(&fail_at, n);
	ck_assert_int_eq(pthread_create(&server_thread, NULL, run_failing, NULL), 0);
}

/* Ends the failures. Returns whether an allocation has failed. */
static int end_failing(void)
{
	int failed_once = atomic_load(&fail_at) < lasting;

	atomic_store(&fail_at, -1);
	return failed_once;
}

/* Ends a server, whether it runs or has failed to. */
static void end_failed_server(void)
{
	HTTPServer_stop(server);
	pthread_join(server_thread, NULL);
	Arena_dispose(&arena);
	ck_assert_uint_eq(Arena_debug_live_count(), 0);
}

#endif
