/* SPDX-License-Identifier: MIT */
/* The PROXY protocol, versions 1 and 2 (HAProxy's doc/proxy-protocol.txt). A header before the
 * first byte of a connection says for which client a proxy speaks. The addresses that the options
 * name must send one. It is read from no other peer: a peer that sends one can claim any
 * address. */
#include "config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/rep.h"

enum {
	LINE_MOST = 107,     /* bytes in version 1, with its CR LF */
	FIXED = 16,          /* bytes in version 2 before the addresses */
	/* with what is after them, which is skipped: a client's certificate, for one */
	HEADER_MOST = 65536
};

struct Trusted {
	unsigned char address[16]; /* IPv4 as mapped into IPv6 */
	int bits;
	int local;                 /* Unix sockets, instead */
};

/* ---- who is trusted ---- */

static int parse_address(const char *text, unsigned char *address)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET6, text, address) == 1)
		return 128;
	memcpy(address, mapped, sizeof mapped);
	return inet_pton(AF_INET, text, address + 12) == 1 ? 32 : 0;
}

static Trusted parse_trusted(const char *text)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	char address[64], *end = NULL;
	Trusted t = { .local = strcmp(text, "unix") == 0 };
	int width = 0;
	long bits;

	if (t.local)
		return t;
	if (n < sizeof address) {
		memcpy(address, text, n);
		address[n] = '\0';
		width = parse_address(address, t.address);
	}
	bits = slash ? strtol(slash + 1, &end, 10) : width;
	CHECK(width && bits >= 0 && bits <= width && (!slash || (end != slash + 1 && !*end)),
		"HTTPServer_new: the proxy \"%s\" is not an address or address/bits", text);
	t.bits = 128 - width + (int)bits;
	return t;
}

void httpserver__set_proxies(HTTPServer_T server)
{
	const char *const *text = server->options.proxies;
	int n = 0;

	while (text && text[n])
		n++;
	server->trusted = Arena_calloc(server->arena, (size_t)n, sizeof *server->trusted);
	for (server->ntrusted = 0; server->ntrusted < n; server->ntrusted++)
		server->trusted[server->ntrusted] = parse_trusted(text[server->ntrusted]);
}

static int same_bits(const unsigned char *x, const unsigned char *y, int bits)
{
	int rest = bits % 8, mask = 0xff00 >> rest;

	return memcmp(x, y, (size_t)bits / 8) == 0
		&& (!rest || ((x[bits / 8] ^ y[bits / 8]) & mask) == 0);
}

/* address NULL: that of a Unix socket */
static int trusts_address(const Trusted *t, const unsigned char *address)
{
	return address ? !t->local && same_bits(address, t->address, t->bits) : t->local;
}

int httpserver__is_proxy(HTTPServer_T server, Socket_T s)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof a;
	unsigned char address[16] = { [10] = 0xff, [11] = 0xff };
	int i, is_ip = 1;

	if (server->ntrusted == 0 || getpeername(Socket_fd(s), (struct sockaddr *)&a, &n) != 0)
		return 0;
	if (a.ss_family == AF_INET)
		memcpy(address + 12, &((struct sockaddr_in *)&a)->sin_addr, 4);
	else if (a.ss_family == AF_INET6)
		memcpy(address, &((struct sockaddr_in6 *)&a)->sin6_addr, 16);
	else
		is_ip = 0;
	for (i = 0; i < server->ntrusted; i++)
		if (trusts_address(&server->trusted[i], is_ip ? address : NULL))
			return 1;
	return 0;
}

/* ---- the header: the bytes it takes, 0 if it goes on, -1 if it is none; name stays empty if it
 * names no client ---- */

static void put_name(char *name, int family, const void *address, unsigned port)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(family, address, text, sizeof text);
	snprintf(name, NAME_SIZE, family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
}

/* As the protocol has it: digits, without zeros before them. */
static int parse_port(const char *text, unsigned *port)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*port = (unsigned)n;
	return isdigit((unsigned char)*text) && (*text != '0' || !text[1]) && !*end && n <= 65535;
}

static int parse_line(char *line, char *name)
{
	char *word[7], *rest = line;
	unsigned char address[16], to[16];
	unsigned port, to_port;
	int n = 0, family;

	if (strncmp(line, "PROXY UNKNOWN", 13) == 0 && (!line[13] || line[13] == ' '))
		return 1;
	while (n < 7 && (word[n] = strsep(&rest, " ")) != NULL)
		n++;
	if (n != 6 || strcmp(word[0], "PROXY") != 0)
		return 0;
	family = strcmp(word[1], "TCP4") == 0 ? AF_INET
		: strcmp(word[1], "TCP6") == 0 ? AF_INET6 : AF_UNSPEC;
	if (family == AF_UNSPEC
			|| inet_pton(family, word[2], address) != 1 || inet_pton(family, word[3], to) != 1
			|| !parse_port(word[4], &port) || !parse_port(word[5], &to_port))
		return 0;
	put_name(name, family, address, port);
	return 1;
}

static int take_line(const char *b, size_t n, char *name)
{
	size_t most = n < LINE_MOST ? n : LINE_MOST;
	const char *end = memchr(b, '\n', most);
	char line[LINE_MOST + 1];

	if (!end)
		return n < LINE_MOST ? 0 : -1;
	if (end == b || end[-1] != '\r')
		return -1;
	memcpy(line, b, (size_t)(end - 1 - b));
	line[end - 1 - b] = '\0';
	return strlen(line) == (size_t)(end - 1 - b) && parse_line(line, name)
		? (int)(end + 1 - b) : -1;
}

static unsigned big_endian(const char *b)
{
	return (unsigned)(unsigned char)b[0] << 8 | (unsigned char)b[1];
}

/* LOCAL connections, which are the proxy's own, and other families name no client. */
static int take_block(const char *b, size_t n, char *name)
{
	unsigned length, command;

	if (n < FIXED)
		return 0;
	command = (unsigned char)b[12];
	length = big_endian(b + 14);
	if (command >> 4 != 2 || (command & 15) > 1 || length > HEADER_MOST - FIXED)
		return -1;
	if (n < FIXED + length)
		return 0;
	if (command == 0x21 && b[13] == 0x11) {
		if (length < 12)
			return -1;
		put_name(name, AF_INET, b + FIXED, big_endian(b + FIXED + 8));
	} else if (command == 0x21 && b[13] == 0x21) {
		if (length < 36)
			return -1;
		put_name(name, AF_INET6, b + FIXED, big_endian(b + FIXED + 32));
	}
	return (int)(FIXED + length);
}

int httpserver__proxy_header(const char *b, size_t n, char *name)
{
	static const char line[] = "PROXY ", block[] = "\r\n\r\n\0\r\nQUIT\n";
	size_t of_line = n < sizeof line - 1 ? n : sizeof line - 1;
	size_t of_block = n < sizeof block - 1 ? n : sizeof block - 1;

	*name = '\0';
	if (memcmp(b, line, of_line) == 0)
		return take_line(b, n, name);
	if (memcmp(b, block, of_block) == 0)
		return take_block(b, n, name);
	return -1;
}
