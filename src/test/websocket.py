# SPDX-License-Identifier: MIT
# A client of examples/websocket.c, from RFC 6455 and nothing else: websocket.py PORT
import base64, hashlib, os, socket, struct, sys

port = int(sys.argv[1])

def frame(opcode, payload, fin=True):
    mask = os.urandom(4)
    n = len(payload)
    if n < 126:
        length = bytes([0x80 | n])
    elif n < 65536:
        length = bytes([0x80 | 126]) + struct.pack(">H", n)
    else:
        length = bytes([0x80 | 127]) + struct.pack(">Q", n)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return bytes([(0x80 if fin else 0) | opcode]) + length + mask + masked

class Client:
    def __init__(self, early=b""):
        self.s = socket.create_connection(("127.0.0.1", port))
        self.s.settimeout(30)
        key = base64.b64encode(os.urandom(16)).decode()
        head = "GET /echo HTTP/1.1\r\nHost: localhost\r\n" \
            "Connection: Upgrade\r\nUpgrade: websocket\r\n" \
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        self.s.sendall(head.encode() + early)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.read(1)
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        assert b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n" in answer, answer

    def read(self, n):
        got = b""
        while len(got) < n:
            part = self.s.recv(n - len(got))
            assert part, "the connection ended"
            got += part
        return got

    def hear(self):
        first, n = self.read(2)
        if n == 126:
            n, = struct.unpack(">H", self.read(2))
        elif n == 127:
            n, = struct.unpack(">Q", self.read(8))
        return first, self.read(n)

def expect(client, opcode, payload):
    heard = client.hear()
    assert heard == (0x80 | opcode, payload), (heard[0], heard[1][:40])

early = Client(frame(1, b"with the head"))       # which the server has read ahead
expect(early, 1, b"with the head")
clients = [Client() for _ in range(20)]
for i, c in enumerate(clients):
    c.s.sendall(frame(1, b"text %d" % i))
for i, c in enumerate(clients):
    expect(c, 1, b"text %d" % i)
c = clients[0]
large = os.urandom(200000)
c.s.sendall(frame(2, large))
expect(c, 2, large)
c.s.sendall(frame(1, b"in ", False) + frame(9, b"ping") + frame(0, b"pieces"))
expect(c, 10, b"ping")
expect(c, 1, b"in pieces")
clients[1].s.close()                             # without a word
c.s.sendall(frame(8, struct.pack(">H", 1000)))
expect(c, 8, struct.pack(">H", 1000))
assert c.s.recv(1) == b""
try:                                             # more than the server takes: 1009, or a reset
    clients[2].s.sendall(frame(2, bytes(2 * 1024 * 1024)))
    first, reason = clients[2].hear()
    assert first == 0x88 and reason[:2] == struct.pack(">H", 1009), (first, reason)
except (AssertionError, ConnectionError) as e:
    assert isinstance(e, ConnectionError), e
plain = socket.create_connection(("127.0.0.1", port))
plain.sendall(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Version: 13\r\n"
              b"Sec-WebSocket-Key: " + b"x" * 24 + b"\r\n\r\n")
assert plain.recv(100).startswith(b"HTTP/1.1 400 ")
print("all echoed")
