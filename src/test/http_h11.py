#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# h11 behind a pipe. Asked: length in four bytes, big end first, then that many bytes. Answered: a verdict (A, R, U), the
# end and the length of a text in four bytes each, the text (of a refusal: why). See http_oracle.h.
import struct
import sys
import h11


def look(data):
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
    text = b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return b"U", 0, b""
            if isinstance(event, h11.Request):
                text = event.method + b" " + event.target + b"\n"
                text += b"".join(name + b":" + value + b"\n" for name, value in event.headers) + b"\n"
            elif isinstance(event, h11.Data):
                text += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return b"A", len(data) - len(connection.trailing_data[0]), text
            else:
                return b"U", 0, b""
    except h11.RemoteProtocolError as e:
        return b"R", 0, str(e).encode("latin-1", "replace")


def main():
    while True:
        head = sys.stdin.buffer.read(4)
        if len(head) < 4:
            return
        data = sys.stdin.buffer.read(struct.unpack(">I", head)[0])
        verdict, end, text = look(data)
        sys.stdout.buffer.write(verdict + struct.pack(">II", end, len(text)) + text)
        sys.stdout.buffer.flush()


main()
