# SPDX-License-Identifier: MIT
"""A name server for a test. It answers slow.test after 300 ms and silent.test never; gone.test does
not exist. The address of every other name is 192.0.2.7, without one of IPv6."""
import socket, struct, threading, time

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
print("listening on port %d" % server.getsockname()[1], flush=True)


def answer(query, client):
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    name, (kind,) = question[1:question[0] + 1], struct.unpack(">H", query[end - 4:end - 2])
    if name == b"silent":
        return
    if name == b"slow":
        time.sleep(0.3) # in a thread of its own: the others are answered in their order
    code = 3 if name == b"gone" else 0
    record = b""
    if kind == 1 and code == 0:
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7])
    head = query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 1 if record else 0, 0, 0)
    server.sendto(head + question + record, client)


while True:
    query, client = server.recvfrom(512)
    if b"slow" in query:
        threading.Thread(target=answer, args=(query, client), daemon=True).start()
    else:
        answer(query, client)
