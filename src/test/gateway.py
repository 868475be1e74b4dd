# SPDX-License-Identifier: MIT
# gateway.py PROGRAM: tests examples/gateway between clients and an upstream, both of plain sockets.
import re
import socket
import statistics
import subprocess
import sys
import threading
import time

MANY = 48 << 20  # more than all buffers of the way hold
FEW = 24 << 20   # memory of the gateway beyond what it has when idle
told = {name: threading.Event() for name in ("part", "go on", "read", "end")}
served = []      # when the upstream answered /now
accepted = []


def head_of(stream):
    line = stream.readline()
    fields = dict(iter(lambda: stream.readline().strip().lower().partition(b": ")[::2], (b"", b"")))
    return line.split(), fields


def body_of(stream, fields):
    if fields.get(b"transfer-encoding") != b"chunked":
        yield stream.read(int(fields.get(b"content-length", 0)))
        return
    while True:
        n = int(stream.readline(), 16)
        part = stream.read(n)
        stream.readline()
        if n == 0:
            return
        yield part


def answer_one(s, stream):
    (_, path, _), fields = head_of(stream)
    if path == b"/drip":
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not told["end"].wait(0.05):
            s.sendall(b"1\r\n.\r\n")
        return s.sendall(b"0\r\n\r\n")
    if path == b"/parts":  # its second part when the client has the first
        s.sendall(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1, b\r\nSet-Cookie: c=2\r\n"
                  b"Content-Length: 6\r\n\r\none")
        told["go on"].wait(30)
        return s.sendall(b"two")
    if path == b"/many":
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
        return s.sendall(bytes(MANY))
    if path == b"/unread":
        told["read"].wait(30)
    n = 0
    for part in body_of(stream, fields):
        n += len(part)
        told["part"].set()
    served.append(time.monotonic())
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%8d" % n)


def serve(s):
    stream = s.makefile("rb")
    try:
        while True:
            answer_one(s, stream)
    except (ValueError, OSError):
        s.close()


def listen(listener):
    while True:
        try:
            accepted.append(listener.accept()[0])
            threading.Thread(target=serve, args=accepted[-1:], daemon=True).start()
        except OSError:
            return


def client(request):
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(60)
    s.sendall(request)
    return s, s.makefile("rb")


def get(path):
    s, stream = client(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    return s, stream, head_of(stream)


def answer_to(stream):
    status, fields = head_of(stream)
    return int(status[1]), b"".join(body_of(stream, fields))


def memory():
    with open("/proc/%d/status" % gateway.pid) as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read())[1]) * 1024


def check(what, condition):
    if not condition:
        sys.exit("not so: " + what)


def check_streams():
    s, stream = client(b"GET /parts HTTP/1.1\r\nHost: a\r\n\r\n")
    lines = list(iter(stream.readline, b"\r\n"))
    check("each cookie has a line",
          b"Set-Cookie: a=1, b\r\n" in lines and b"Set-Cookie: c=2\r\n" in lines)
    check("the first part comes before the second is made", stream.read(3) == b"one")
    told["go on"].set()
    check("the second part comes", stream.read(3) == b"two")
    s, stream = client(b"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                       b"3\r\nabc\r\n")
    check("the upstream has a part before the next is sent", told["part"].wait(30))
    s.sendall(b"2\r\nde\r\n0\r\n\r\n")
    check("the body is passed on", answer_to(stream) == (200, b"%8d" % 5))


def check_pressure():
    idle = memory()
    s, stream, (status, fields) = get(b"/many")
    time.sleep(0.5)  # as much as it would take, it has
    check("a client that does not read holds the upstream back", memory() < idle + FEW)
    check("all of it comes", len(stream.read(MANY)) == MANY)
    s, stream = client(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MANY)
    sender = threading.Thread(target=s.sendall, args=(bytes(MANY),))
    sender.start()
    sender.join(0.5)
    check("an upstream that does not read holds the client back",
          sender.is_alive() and memory() < idle + FEW)
    told["read"].set()
    check("all of it goes", answer_to(stream) == (200, b"%8d" % MANY))
    sender.join()


def check_others():
    slow = [get(b"/drip") for _ in range(4)]
    delays = []
    for _ in range(50):
        s, stream = client(b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n")
        stream.read(1)
        delays.append(time.monotonic() - served[-1])
        s.close()
    check("others are answered while four drip", max(delays) < 5)
    if "-v" in sys.argv:
        print("first byte after the upstream's: median %.2f ms, longest %.2f ms"
              % (statistics.median(delays) * 1e3, max(delays) * 1e3))
    told["end"].set()
    for s, stream, (_, fields) in slow:
        check("what dripped ends", b"".join(body_of(stream, fields)).strip(b".") == b"")


upstream = socket.create_server(("127.0.0.1", 0), backlog=64)
threading.Thread(target=listen, args=(upstream,), daemon=True).start()
gateway = subprocess.Popen([sys.argv[1], "0", "127.0.0.1", str(upstream.getsockname()[1])],
                           stderr=subprocess.PIPE)
try:
    port = int(gateway.stderr.readline().split()[-1])
    check_streams()
    check_others()
    check_pressure()
    for s in [upstream] + accepted:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    upstream.close()
    statuses = {get(b"/now")[2][0][1] for _ in range(6)}
    check("without an upstream it is 502, and 503 when that is known",
          b"502" in statuses and statuses <= {b"502", b"503"})
    gateway.terminate()
    check("it ends well", gateway.wait(60) == 0)
finally:
    gateway.kill()
print("streams both ways, and nobody waits for others")
