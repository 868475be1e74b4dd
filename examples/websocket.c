/* SPDX-License-Identifier: MIT */
/* WebSockets (RFC 6455) on libwslay: the server hands each connection over after its 101, and a
 * thread of its own sends each message back to the client. A page at / uses it in a browser.
 * SIGTERM ends the server.
 *
 *   cc websocket.c -o websocket $(pkg-config --cflags --libs libcore) -lwslay -pthread
 *   ./websocket 8080 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <core/core.h>
#include <wslay/wslay.h>

enum { MESSAGE_BYTES = 1024 * 1024, IDLE_MS = 60000 };

static HTTPServer_T server;

/* ---- the key that shows that we understand (RFC 6455, 4.2.2) ---- */

static uint32_t rotate(uint32_t x, int n)
{
	return x << n | x >> (32 - n);
}

/* SHA-1 of 56 to 119 bytes. It protects nothing here. */
static void sha1(const char *text, size_t n, unsigned char *digest)
{
	static const uint32_t k[] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
	uint32_t h[] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	uint32_t w[80], v[5], next;
	unsigned char block[128] = { 0 };
	int at, t, i;

	memcpy(block, text, n);
	block[n] = 0x80;
	block[126] = (unsigned char)(n * 8 >> 8);
	block[127] = (unsigned char)(n * 8);
	for (at = 0; at < 128; at += 64) {
		for (t = 0; t < 80; t++)
			w[t] = t < 16
				? (uint32_t)block[at + 4 * t] << 24 | (uint32_t)block[at + 4 * t + 1] << 16
					| (uint32_t)block[at + 4 * t + 2] << 8 | block[at + 4 * t + 3]
				: rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
		memcpy(v, h, sizeof v);
		for (t = 0; t < 80; t++) {
			uint32_t f = t < 20 ? (v[1] & v[2]) | (~v[1] & v[3])
				: t >= 40 && t < 60 ? (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])
				: v[1] ^ v[2] ^ v[3];

			next = rotate(v[0], 5) + f + v[4] + k[t / 20] + w[t];
			memmove(v + 1, v, 4 * sizeof v[0]);
			v[2] = rotate(v[2], 30);
			v[0] = next;
		}
		for (i = 0; i < 5; i++)
			h[i] += v[i];
	}
	for (i = 0; i < 20; i++)
		digest[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
}

static const char *accept_key(Arena_T arena, const char *key)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *text = Arena_sprintf(arena, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	unsigned char digest[21] = { 0 };
	char *out = Arena_calloc(arena, 1, 29);
	int i;

	sha1(text, strlen(text), digest);
	for (i = 0; i < 27; i++)
		out[i] = base64[(digest[i * 6 / 8] << 8 | digest[i * 6 / 8 + 1]) >> (10 - i * 6 % 8) & 63];
	out[27] = '=';
	return out;
}

/* ---- a connection, in its thread ---- */

static int give_up(wslay_event_context_ptr ws, int error)
{
	wslay_event_set_error(ws, error);
	return -1;
}

static ssize_t receive(wslay_event_context_ptr ws, uint8_t *bytes, size_t n, int flags, void *cl)
{
	(void)flags;
	TRY {
		size_t got = Socket_recv(cl, bytes, n);

		RETURN(got > 0 ? (ssize_t)got : give_up(ws, WSLAY_ERR_CALLBACK_FAILURE)); /* 0: its end */
	} EXCEPT(Socket_Timeout) { /* nothing is there: the socket does not block */
		RETURN(give_up(ws, WSLAY_ERR_WOULDBLOCK));
	} EXCEPT(Socket_Failed) {
	} END_TRY;
	return give_up(ws, WSLAY_ERR_CALLBACK_FAILURE);
}

static ssize_t transmit(wslay_event_context_ptr ws, const uint8_t *bytes, size_t n, int flags,
	void *cl)
{
	(void)flags;
	TRY {
		size_t sent = Socket_send(cl, bytes, n);

		RETURN(sent > 0 ? (ssize_t)sent : give_up(ws, WSLAY_ERR_WOULDBLOCK));
	} EXCEPT(Socket_Failed) {
	} END_TRY;
	return give_up(ws, WSLAY_ERR_CALLBACK_FAILURE);
}

static void echo(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *m, void *cl)
{
	struct wslay_event_msg answer = { m->opcode, m->msg, m->msg_length };

	(void)cl;
	if (!wslay_is_ctrl_frame(m->opcode)) /* wslay answers those itself */
		wslay_event_queue_msg(ws, &answer);
}

/* Bytes that were read ahead are there, though no poll knows of them. */
static int wait_for(wslay_event_context_ptr ws, Socket_T s)
{
	struct pollfd p = { .fd = Socket_fd(s) };

	p.events = (short)((wslay_event_want_read(ws) ? POLLIN : 0)
		| (wslay_event_want_write(ws) ? POLLOUT : 0));
	if (!p.events)
		return 0;
	return (p.events & POLLIN && Socket_pending(s) > 0) || poll(&p, 1, IDLE_MS) > 0;
}

static void *converse(void *socket)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = receive, .send_callback = transmit, .on_msg_recv_callback = echo };
	AUTO(Socket_T, s, Socket_close) = socket;
	wslay_event_context_ptr ws;

	if (wslay_event_context_server_init(&ws, &callbacks, s) != 0)
		return NULL;
	wslay_event_config_set_max_recv_msg_length(ws, MESSAGE_BYTES);
	while (wait_for(ws, s) && wslay_event_recv(ws) == 0 && wslay_event_send(ws) == 0)
		;
	wslay_event_context_free(ws);
	return NULL;
}

/* ---- the server ---- */

static void take(Socket_T s, void *cl)
{
	pthread_t thread;

	(void)cl;
	if (pthread_create(&thread, NULL, converse, s) == 0)
		pthread_detach(thread);
	else
		Socket_close(&s);
}

static void upgrade(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	const char *key = HTTPRequest_header(request, "Sec-WebSocket-Key");
	const char *version = HTTPRequest_header(request, "Sec-WebSocket-Version");

	(void)cl;
	if (!key || strlen(key) != 24)
		RAISE_MSG(HTTP_Bad_Request, "a Sec-WebSocket-Key has 24 characters");
	if (!version || strcmp(version, "13") != 0) {
		HTTPResponse_status(response, 426);
		HTTPResponse_set(response, "Sec-WebSocket-Version", "13");
		return;
	}
	HTTPResponse_set(response, "Sec-WebSocket-Accept", accept_key(HTTPRequest_arena(request), key));
	HTTPResponse_upgrade(response, "websocket", take, NULL);
}

static void page(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	(void)request, (void)cl;
	HTTPResponse_set(response, "Content-Type", "text/html; charset=utf-8");
	HTTPResponse_printf(response,
		"<!doctype html><title>echo</title><p id=said>nothing yet</p><script>\n"
		"const ws = new WebSocket('ws://' + location.host + '/echo')\n"
		"ws.onopen = () => ws.send('hello from a browser')\n"
		"ws.onmessage = m => {\n"
		"	document.getElementById('said').textContent = m.data\n"
		"	fetch('/heard', { method: 'POST', body: m.data }).then(() => ws.close())\n"
		"}\n"
		"</script>\n");
}

static void heard(HTTPRequest_T request, HTTPResponse_T response, void *cl)
{
	size_t n;
	const char *text = HTTPRequest_body(request, &n);

	(void)cl;
	HTTPResponse_status(response, 204);
	fprintf(stderr, "a browser heard: %.40s\n", text);
}

static void stop(int number)
{
	(void)number;
	HTTPServer_stop(server);
}

int main(int argc, char **argv)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();

	server = HTTPServer_new(arena, &(HTTPServer_Options){
		.host = "127.0.0.1", .service = argc > 1 ? argv[1] : "8080"
	});
	HTTPServer_route(server, "GET", "/", page, NULL);
	HTTPServer_route(server, "GET", "/echo", upgrade, NULL);
	HTTPServer_route(server, "POST", "/heard", heard, NULL);
	signal(SIGTERM, stop);
	fprintf(stderr, "port %d\n", HTTPServer_port(server));
	HTTPServer_run(server);
	return 0;
}
