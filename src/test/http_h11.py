#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# h11 behind a pipe, for http_oracle.c. It reads a letter (Q: a request; A, H: an answer to a GET or
# a HEAD), a length in four bytes, the most significant first, and that many bytes. It writes a
# verdict (A, R or U), the end and the length of a text in four bytes each, and the text (of a
# refusal: why).
import struct
import sys
import h11


def fields(event):
    return b"".join(name + b":" + value + b"\n" for name, value in event.headers)


def talk(kind):
    if kind == b"Q":
        return h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 17)
    method = "GET" if kind == b"A" else "HEAD"
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return connection


def look(kind, data):
    connection = talk(kind)
    text = b""
    ended = False
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA and kind != b"Q" and not ended:
                ended = True
                connection.receive_data(b"")
            elif event is h11.NEED_DATA:
                return b"U", 0, b""
            elif isinstance(event, h11.Request):
                text = event.method + b" " + event.target + b"\n" + fields(event) + b"\n"
            elif isinstance(event, (h11.Response, h11.InformationalResponse)):
                text = event.reason + b"\n" + fields(event) + b"%d\n\n" % event.status_code
                if isinstance(event, h11.InformationalResponse):
                    return b"A", len(data) - len(connection.trailing_data[0]), text
            elif isinstance(event, h11.Data):
                text += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return b"A", len(data) - len(connection.trailing_data[0]), text
            else:
                return b"U", 0, b""
    except h11.RemoteProtocolError as e:
        return b"U" if ended else b"R", 0, str(e).encode("latin-1", "replace")


def main():
    while True:
        head = sys.stdin.buffer.read(5)
        if len(head) < 5:
            return
        data = sys.stdin.buffer.read(struct.unpack(">I", head[1:])[0])
        verdict, end, text = look(head[:1], data)
        sys.stdout.buffer.write(verdict + struct.pack(">II", end, len(text)) + text)
        sys.stdout.buffer.flush()


main()
