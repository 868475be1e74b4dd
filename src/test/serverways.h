// SPDX-License-Identifier: MIT
// Shared by test_httpserver_exits and test_httpsuspend_exits: a server of one route, and a client.
#ifndef SERVERWAYS_INCLUDED
#define SERVERWAYS_INCLUDED
#include <arpa/inet.h>
#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <core/core.h>

#include "needs.h"
#include "ways.h"

static HTTPServer_T server;
static int port;
static pthread_t run_thread; // the thread of HTTPServer_run

static void make_server(Arena_T arena, HTTPServer_Options options, HTTPServer_Route route)
{
	options.host = "127.0.0.1";
	options.service = "0";
	server = HTTPServer_new(arena, &options);
	port = HTTPServer_port(server);
	route.method = "POST";
	route.pattern = "/";
	HTTPServer_route_with(server, &route);
}

// Returns the address of port if HTTPServer_run has returned.
static void *run_server(void *)
{
	run_thread = pthread_self();
	try {
		HTTPServer_run(server);
	} catch (const Thrown &) {
		return server;
	}
	return &port;
}

// Sends a POST with a body of one byte, which asks to close the connection, and reads until the
// connection ends. Returns whether there was an answer.
static bool ask_once()
{
	static const char request[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
				      "Connection: close, upgrade\r\nUpgrade: chat\r\n\r\nx";
	sockaddr_in to = {};
	char buffer[1024];
	bool answered = false;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_family = AF_INET;
	to.sin_port = htons(static_cast<uint16_t>(port));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, reinterpret_cast<sockaddr *>(&to), sizeof to) == 0
		&& send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0)
		while (recv(fd, buffer, sizeof buffer, 0) > 0)
			answered = true;
	close(fd);
	return answered;
}

static void *ask_and_stop(void *)
{
	ask_once();
	HTTPServer_stop(server);
	return nullptr;
}

#endif
