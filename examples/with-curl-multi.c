/* SPDX-License-Identifier: MIT */
/* with-curl-multi URL ...: libcurl's transfers on a SocketPoll, all at once, in one thread.
 * libcurl says which descriptors to watch and when to call it again. Prints what became of each
 * transfer, in the order in which they end.
 *
 *   cc with-curl-multi.c -o with-curl-multi $(pkg-config --cflags --libs libcore libcurl)
 *   ./with-curl-multi https://example.org/ https://example.com/ */
#include <curl/curl.h>

#include <core/core.h>

EXCEPT_DEFINE(Curl_Failed, NULL, "libcurl failed");

typedef struct Loop {
	SocketPoll_T poll;
	SocketPoll_Timer_T timer;
	CURLM *multi;
	int running;
	FILE *null; /* takes the bodies */
} Loop;

/* libcurl calls it to watch fd for these events. It closes descriptors after REMOVE. */
static int on_interest(CURL *easy, curl_socket_t fd, int what, void *cl, void *unused)
{
	Loop *loop = cl;
	unsigned events = (what & CURL_POLL_IN ? SocketPoll_READ : 0u)
		| (what & CURL_POLL_OUT ? SocketPoll_WRITE : 0u);

	(void)easy, (void)unused;
	if (what == CURL_POLL_REMOVE)
		SocketPoll_unwatch(loop->poll, fd);
	else
		TRY {
			SocketPoll_watch(loop->poll, fd, events, NULL);
		} ELSE {
			RETURN(-1); /* no exception may pass libcurl */
		} END_TRY;
	return 0;
}

/* libcurl's: call it in so many ms; negative: no more. */
static int on_timeout(CURLM *multi, long ms, void *loop)
{
	(void)multi;
	SocketPoll_set_timer(((Loop *)loop)->poll, ((Loop *)loop)->timer, (int)ms);
	return 0;
}

static void act(Loop *loop, curl_socket_t fd, int events)
{
	CURLMcode code = curl_multi_socket_action(loop->multi, fd, events, &loop->running);

	if (code != CURLM_OK)
		RAISE_MSG(Curl_Failed, "%s", curl_multi_strerror(code));
}

static void on_timer(void *loop)
{
	act(loop, CURL_SOCKET_TIMEOUT, 0);
}

static void add_transfer(Arena_T arena, Loop *loop, const char *url)
{
	CURL *easy = curl_easy_init();

	Arena_defer(arena, curl_easy_cleanup, easy); /* takes NULL */
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, loop->null);
	if (!easy || curl_multi_add_handle(loop->multi, easy) != CURLM_OK)
		RAISE_MSG(Curl_Failed, "no memory for a transfer");
}

static void report_ended(Loop *loop)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(loop->multi, &left)) != NULL) {
		char *url = NULL;
		long status = 0;

		curl_easy_getinfo(m->easy_handle, CURLINFO_EFFECTIVE_URL, &url);
		curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
		printf("%s: %ld, %s\n", url, status, curl_easy_strerror(m->data.result));
		curl_multi_remove_handle(loop->multi, m->easy_handle);
	}
}

static void end_multi(void *multi)
{
	curl_multi_cleanup(multi);
}

int main(int argc, char **argv)
{
	Loop loop = { .running = argc - 1, .null = fopen("/dev/null", "w") };
	volatile int i;

	TRY {
		AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
		SocketPoll_Event e;

		loop.poll = SocketPoll_new(arena);
		loop.timer = SocketPoll_timer(loop.poll, on_timer, &loop);
		loop.multi = curl_multi_init();
		Arena_defer(arena, end_multi, loop.multi); /* after the transfers, before the poll */
		curl_multi_setopt(loop.multi, CURLMOPT_SOCKETFUNCTION, on_interest);
		curl_multi_setopt(loop.multi, CURLMOPT_SOCKETDATA, &loop);
		curl_multi_setopt(loop.multi, CURLMOPT_TIMERFUNCTION, on_timeout);
		curl_multi_setopt(loop.multi, CURLMOPT_TIMERDATA, &loop);
		for (i = 1; i < argc; i++)
			add_transfer(arena, &loop, argv[i]);
		for (; loop.running > 0; report_ended(&loop))
			if (SocketPoll_wait(loop.poll, &e, 1, -1) > 0)
				act(&loop, e.descriptor, (e.events & SocketPoll_READ ? CURL_CSELECT_IN : 0)
					| (e.events & SocketPoll_WRITE ? CURL_CSELECT_OUT : 0));
	} EXCEPT(Curl_Failed) {
		Except_report(stdout);
	} END_TRY;
	fclose(loop.null);
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
