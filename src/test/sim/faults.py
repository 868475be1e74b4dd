#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Proves that the simulation sees faults of time: takes the mend of each one below out of the
source again, and runs seeds until one fails. `make sim-faults` runs it in a build directory.

A mend that is not found in the source any more is an error: its line here is to follow
the code. faults.py -n looks only for that."""
import os
import re
import subprocess
import sys
import tempfile

SEEDS = int(os.environ.get("SIM_FAULT_SEEDS", "100000"))
ONLY = os.environ.get("SIM_FAULT", "") # a part of its description

FAULTS = [ # world, what was wrong, file, what is there, what was; the seed to begin with, if not 1
    ("s", "an empty line begins a request", "server/connection.c",
     "if (c->proxied || httpreader__begun(&x->reader))", "if (1)"),
    ("s", "the drain goes on as long as clients ask", "server/connection.c",
     "*httpserver__is_over(", "0 && httpserver__is_over("),
    ("s", "the drain has no end", "server/loop.c",
     "SocketPoll_set_timer(l->poll, l->last, ms", "(void)(ms"),
    ("s", "silent clients keep the others out", "server/loop.c",
     "httpserver__advance(l, c, CAUSE_EVICTED);", "(void)c;"),
    ("s", "one that has just asked is put out as idle", "server/loop.c",
     "while (c && socket__wait(c->socket, 0, 0))", "while (0)"),
    ("s", "nobody looks for a request when the idle time is over", "server/input.c",
     "|| t->cause == CAUSE_DEADLINE", ""),
    ("s", "nobody looks for a request when the drain begins", "server/input.c",
     "|| t->cause == CAUSE_DRAIN", ""),
    ("s", "the first date of a clock that begins at 0", "HTTPResponse.c",
     "if (now != cache.made || !cache.text[0]) {", "if (now != cache.made) {"),
    ("s", "a deadline is a millisecond early", "poll/timers.c", "+ ms + (ms > 0);", "+ ms;"),
    ("s", "a client that still sends is reset", "server/output.c",
     "if (UNLIKELY(x->ends) && httpparser__keep_alive(&x->reader.parser))", "if (0)"),
    ("s", "100 Continue behind a slow response has no time", "server/connection.c",
     "c->clock = CLOCK_OVER; /* 100 Continue", "/* 100 Continue"),
    ("s", "the server ends when a listener cannot be resumed", "server/loop.c",
     "} EXCEPT(SocketPoll_Failed) {\n\t\tSocketPoll_set_timer",
     "} EXCEPT(Assert_Failed) {\n\t\tSocketPoll_set_timer"),
    ("s", "the drain resets a response that it has just sent", "server/connection.c",
     "t->c->unread = t->c->idle == 0;\n\tt->c->end = END_AFTER;", "t->dies = 1;"),
    ("s", "the drain resets a response whose end it sends as it begins", "server/connection.c",
     "t->c->unread = t->c->idle == 0;", "t->c->unread = t->cause != CAUSE_DRAIN;"),
    ("s", "the last connection is left open", "server/loop.c",
     "SocketPoll_set_timer(l->poll, l->last, -1);", ""),
    ("s", "a rate counts from the first request", "server/connection.c",
     "c->served = 1;\n\tc->clock = CLOCK_OVER;",
     "c->served = 1;"),
    ("p", "the idle time before ends a request that a worker has", "server/connection.c",
     "c->served = 1;\n\tc->clock = CLOCK_OVER;", "c->served = 1;\n\tc->clock = CLOCK_NONE;"),
    ("p", "a request waits for a worker, and there is none", "server/worker.c",
     "return w->n == 0 || (most", "return (most"),
    ("p", "a resume before the handler has returned is lost", "server/holder.c",
     "return !httpserver__park(x) && httpserver__go_on(t);",
     "httpserver__park(x);\n\treturn 0;"),
    ("p", "one that was resumed is given up", "server/suspend.c",
     "if (before & HTTP__RESUMED)\n\t\t\treturn 0;", "if (0)\n\t\t\treturn 0;"),
    ("p", "one whose client has left goes back to the connection", "server/holder.c",
     "set_holder(x, HOLDER_LOOP);\n\tx->conn = NULL;", "set_holder(x, HOLDER_LOOP);"),
    ("p", "the loop is not woken for one that was handed back", "server/worker.c",
     "SocketPoll_wake(l->poll);", ""),
    ("p", "a suspended answer has no deadline", "server/clock.c", "ms = ms_until(x->until);",
     "ms = -1;"),
    ("p", "nobody looks for a request when the drain has waited for a worker", "server/input.c",
     " || t->cause == CAUSE_FINISHED)", ")"),
    ("p", "the time to take a response runs while a worker has the next request", "server/clock.c",
     "? CLOCK_SUSPEND : CLOCK_NONE;",
     "? CLOCK_SUSPEND : c->output == OUTPUT_SENDING ? CLOCK_SEND : CLOCK_NONE;"),
    ("p", "the time of a body begins anew with each part", "server/clock.c",
     "x->spent = now - x->since;", "x->spent = 0;"),
    ("p", "bytes stay booked when a request has ended", "server/memory.c",
     "a->counted = 0;\n\t__atomic_fetch_sub(&a->loop->held, a->held, __ATOMIC_RELAXED);",
     "a->counted = 0;"),
    ("p", "input that was read before an upgrade is lost", "server/upgrade.c",
     "put_back_input(t);\n\tSocket", "(void)put_back_input;\n\tSocket"),
    ("p", "a raise leaves the right to resume", "server/exchange.c",
     "if (!httpserver__claim(x)) {", "if (0) {"),
    ("p", "the drain waits for what is suspended", "server/holder.c",
     "return httpserver__is_held_by(t->c, HOLDER_PROGRAM) && httpserver__is_over(t->loop)",
     "return 0 && httpserver__is_over(t->loop)"),
    ("l", "stop wakes one loop only", "HTTPServer.c",
     "for (i = 0; i < server->nloops; i++) {\n\t\tSocketPoll_T poll",
     "for (i = 0; i < 1; i++) {\n\t\tSocketPoll_T poll"),
    ("l", "each loop takes all the places", "HTTPServer.c", "places / n + (i < places % n)",
     "places"),
    ("l", "a finished request goes to another loop", "server/worker.c",
     "Loop *l = x->loop;\n\n\tif (__tsan_release)",
     "Loop *l = x->loop->server->loops;\n\n\tif (__tsan_release)"),
    ("l", "what comes back after the end of a loop is lost", "HTTPServer.c",
     "httpserver__end_loop(&server->loops[i]);",
     "i > 0 ? (void)0 : httpserver__end_loop(&server->loops[i]);"),
    ("u", "the place of a stale connection ignores the hold-down", "pool/checkout.c",
     "} else if (host__may_open_locked(pool, c->host))\n\t\tclient__reserve_locked(c);\n"
     "\tclient__serve",
     "} else\n\t\tclient__reserve_locked(c);\n\tclient__serve"),
    ("u", "who waits longest is served last", "pool/client.c",
     "while (before && before->claim->turn > w->claim->turn)", "while (before)"),
    ("u", "who gives up keeps what it was given", "pool/client.c",
     "pool->opening--;\n\t\tc->host->open--;\n\t} else if", "pool->opening--;\n\t} else if"),
    ("u", "a connection that has ended is used", "pool/checkout.c",
     "return !is_expired(slot) && socket__is_quiet(slot->u.socket);", "return !is_expired(slot);"),
    ("u", "a signal makes a wait end early or late", "socket/connect.c",
     "if (ready < 0 && errno != EINTR && errno != EAGAIN) {", "if (ready < 0) {"),
    ("u", "who was given a connection that had ended waits at the end again", "pool/client.c",
     "if (w->claim->turn == 0)", "", 396400),
]


def found(run):
    if run.returncode == 0:
        return "NOT FOUND"
    seed = re.search(r"seed (\d+)", run.stderr).group(1)
    how = run.stderr.splitlines()[1].strip() if "failed" in run.stderr else "a signal"
    return f"seed {seed}: {how}"


def read_sources(net):
    """The text of each fault's file with the mend taken out."""
    broken, lost = [], []
    for _, what, name, now, then, *_ in FAULTS:
        text = open(os.path.join(net, name), encoding="utf-8").read()
        every, now = now.startswith("*"), now.lstrip("*")
        if text.count(now) < 1 or (text.count(now) > 1 and not every):
            lost.append(f"{what}: {name} has {text.count(now)} times: {now}")
        broken.append(text.replace(now, then))
    if lost:
        sys.exit("\n".join(lost))
    return broken


def main():
    net = os.path.join(os.environ["abs_top_srcdir"], "src", "net")
    broken = read_sources(net)
    if "-n" in sys.argv:
        return
    build = os.environ["top_builddir"]
    sim = os.path.join(build, "src/test/sim")
    objects = [os.path.join(sim, name) for name in sorted(os.listdir(sim)) if name.endswith(".o")]
    if not any(ONLY in what for _, what, *_ in FAULTS):
        sys.exit(f"no fault of {len(FAULTS)} is called: {ONLY}")
    missed = 0
    with tempfile.TemporaryDirectory() as work:
        for number, (world, what, name, _, _, *first) in enumerate(FAULTS):
            if ONLY not in what:
                continue
            source = os.path.join(work, f"{number}.c")
            open(source, "w", encoding="utf-8").write(broken[number])
            program = os.path.join(work, f"sim{number}")
            folder = os.path.dirname(os.path.join(net, name))
            command = (f"{os.environ['CC']} {os.environ['SIM_CPPFLAGS']} -I{folder} "
                       f"{os.environ['SIM_CFLAGS']} -w {source} {' '.join(objects)} "
                       f"{build}/src/.libs/libinternal.a {os.environ['SIM_LDFLAGS']} -o {program}")
            subprocess.run(command, shell=True, check=True, cwd=build)
            run = subprocess.run([program, "-" + world, str(*first or [1]), str(SEEDS)],
                                 capture_output=True, text=True)
            print(f"{what}: {found(run)}", flush=True)
            missed += run.returncode == 0
    if missed:
        sys.exit(f"{missed} of {len(FAULTS)} faults were not found in {SEEDS} seeds")
    print("all found again")


main()
