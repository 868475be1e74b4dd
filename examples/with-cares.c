/* SPDX-License-Identifier: MIT */
/* with-cares SERVER NAME ...: resolves the names, all at once, in one thread: c-ares on a
 * SocketPoll. SERVER is ADDRESS:PORT, or - for the system's servers. Prints the addresses of each
 * name as they come.
 *
 *   cc with-cares.c -o with-cares $(pkg-config --cflags --libs libcore libcares)
 *   ./with-cares - example.org example.com */
#define _DEFAULT_SOURCE /* for fd_set */
#include <ares.h>
#include <netdb.h>
#include <string.h>
#include <core/core.h>

EXCEPT_DEFINE(Resolver_Failed, NULL, "resolver failed");

typedef struct Resolver {
	SocketPoll_T loop;
	SocketPoll_Timer_T timer;
	ares_channel channel;
	int waiting;      /* names */
	int watch_failed; /* no exception may pass c-ares */
} Resolver;

typedef struct Name {
	Resolver *resolver;
	const char *text;
} Name;

/* c-ares': look for this at fd; neither: it is closed next. */
static void on_interest(void *cl, ares_socket_t fd, int readable, int writable)
{
	Resolver *r = cl;

	TRY {
		if (readable || writable)
			SocketPoll_watch(r->loop, fd,
				(readable ? SocketPoll_READ : 0u) | (writable ? SocketPoll_WRITE : 0u), NULL);
		else
			SocketPoll_unwatch(r->loop, fd);
	} ELSE {
		r->watch_failed = 1;
	} END_TRY;
}

static void on_addresses(void *cl, int status, int timeouts, struct ares_addrinfo *list)
{
	const Name *name = cl;
	struct ares_addrinfo_node *node;
	char text[NI_MAXHOST];

	(void)timeouts;
	name->resolver->waiting--;
	if (status != ARES_SUCCESS)
		printf("%s: %s\n", name->text, ares_strerror(status));
	for (node = list ? list->nodes : NULL; node; node = node->ai_next)
		if (getnameinfo(node->ai_addr, node->ai_addrlen, text, sizeof text, NULL, 0,
				NI_NUMERICHOST) == 0)
			printf("%s: %s\n", name->text, text);
	ares_freeaddrinfo(list);
}

/* When c-ares wants to look at its timeouts next. */
static void set_timer(Resolver *r)
{
	struct timeval tv, *left = ares_timeout(r->channel, NULL, &tv);

	SocketPoll_set_timer(r->loop, r->timer,
		left ? (int)(left->tv_sec * 1000 + left->tv_usec / 1000 + 1) : -1);
}

static void on_timer(void *cl)
{
	ares_process_fd(((Resolver *)cl)->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void destroy(void *resolver)
{
	ares_destroy(((Resolver *)resolver)->channel);
}

static void open_resolver(Arena_T arena, Resolver *r, const char *server)
{
	struct ares_options options = {
		.sock_state_cb = on_interest, .sock_state_cb_data = r, .timeout = 500, .tries = 2
	};
	int status = ares_init_options(&r->channel, &options,
		ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);

	Arena_defer(arena, destroy, r); /* takes a channel that is NULL */
	if (status == ARES_SUCCESS && strcmp(server, "-") != 0)
		status = ares_set_servers_ports_csv(r->channel, server);
	if (status != ARES_SUCCESS)
		RAISE_MSG(Resolver_Failed, "%s", ares_strerror(status));
}

static void resolve(Arena_T arena, Resolver *r, const char *text)
{
	struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	Name *name = ALLOC(arena, sizeof *name);

	*name = (Name){ r, text };
	r->waiting++;
	ares_getaddrinfo(r->channel, text, NULL, &hints, on_addresses, name);
}

int main(int argc, char **argv)
{
	volatile int i;

	TRY {
		AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
		Resolver *r = CALLOC(arena, 1, sizeof *r);
		SocketPoll_Event e;

		r->loop = SocketPoll_new(arena);
		r->timer = SocketPoll_timer(r->loop, on_timer, r);
		open_resolver(arena, r, argc > 1 ? argv[1] : "-");
		for (i = 2; i < argc; i++)
			resolve(arena, r, argv[i]);
		for (set_timer(r); r->waiting > 0 && !r->watch_failed; set_timer(r))
			if (SocketPoll_wait(r->loop, &e, 1, -1) > 0)
				ares_process_fd(r->channel,
					e.events & SocketPoll_READ ? e.descriptor : ARES_SOCKET_BAD,
					e.events & SocketPoll_WRITE ? e.descriptor : ARES_SOCKET_BAD);
	} EXCEPT(Resolver_Failed) {
		printf("%s\n", Except_message());
	} END_TRY;
	printf("live arenas: %zu\n", Arena_debug_live_count());
	return 0;
}
