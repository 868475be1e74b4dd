#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random programs for Except, each with the log of events that it must produce.

    except_program.py SEED COUNT > prog.c

writes one C file with COUNT programs of a few functions each. Its main() runs every program twice and
compares what it logged with what the interpreter below, which runs the same program tree, foretold;
it says which differ and ends 1 if any does. Environment: EXCEPT_VLA=0 leaves out variable-length arrays
(ThreadSanitizer cannot follow a RETURN out of a block with one).

A program tree is made of tuples, the kind first. A block is a list of them. Every choice that a
program makes while it runs comes from T(n), a generator of numbers that C and Python share, so that no
compiler can foretell it.
"""
import collections
import os
import random
import sys

EXCEPTIONS = ["E0", "E1", "E2", "E3", "E4", "E5"]
PARENT = {"E1": "E0", "E2": "E1", "E4": "E3"}  # E5 is in Hanson's form
MAX_EVENTS = 300
MAX_STEPS = 3000
SIZE = 30  # statements of a function, more or less
JUMPS = ("raise", "reraise", "return", "break", "continue", "goto")
KINDS = ["int", "void", "wide", "double"]
VLA = os.environ.get("EXCEPT_VLA", "1") != "0"

# ---- the generator ----


def ends(statement):
    """What follows it is dead: gcc 12 crashes at -O0 on a variable-length array behind a RETURN there."""
    if statement[0] == "scope":
        return ends(statement[1][-1])
    if statement[0] == "if":
        return ends(statement[2][-1]) and statement[3] is not None and ends(statement[3][-1])
    return statement[0] in JUMPS


class Context:
    """Where a statement stands: what may be jumped to, and how deep it is nested."""

    def __init__(self, function, depth=0, loop=False, breakable=False, labels=(), again=()):
        self.function, self.depth, self.handler = function, depth, False
        self.loop, self.breakable, self.labels, self.again = loop, breakable, labels, again

    def inner(self, **changes):
        c = Context(self.function)
        c.__dict__.update(self.__dict__, depth=self.depth + 1, **changes)
        return c


class Generator:
    def __init__(self, rng):
        self.rng, self.names = rng, 0

    def name(self):
        self.names += 1
        return self.names

    def program(self):
        functions = []
        for i in range(self.rng.randint(2, 4)):
            kind = "int" if i == 0 else self.rng.choice(KINDS)
            functions.append({"kind": kind, "index": i})
        self.functions = functions
        for f in functions:
            self.left = SIZE
            f["body"] = self.block(Context(f))
        return functions

    def block(self, c):
        n = self.rng.randint(2, 5) if c.depth == 0 else self.rng.randint(1, 3)
        statements = []
        while len(statements) < n and not (statements and ends(statements[-1])):
            statements.append(self.statement(c))
        return statements

    def statement(self, c):
        r, choice = self.rng.random(), self.rng.choice
        self.left -= 1
        if self.left <= 0:
            r = 0.43 + r * 0.57
        if r < 0.30 or (c.depth == 0 and r > 0.58 and r < 0.77):
            return self.try_statement(c)
        if r < 0.42:
            return choice([self.if_statement, self.loop, self.switch, self.labelled, self.again, self.scope])(c)
        if r < 0.52:
            return ("auto", self.name(), choice(["int", "char", "wide"]), choice(["log", "raise", "current"]),
                    choice(["constant", "call", "raising"]), self.rng.randint(1, 99), choice(EXCEPTIONS))
        if r < 0.58:
            return ("defer", choice(["log", "try", "raise"]), self.rng.randint(1, 99))
        if r < 0.66:
            return ("raise", choice(EXCEPTIONS), choice([None, self.rng.randint(0, 99)]))
        if r < 0.69:
            return ("reraise",) if c.handler else ("raise", choice(EXCEPTIONS), None)
        if r < 0.75:
            return ("return", choice([True, True, True, False]), self.rng.randint(0, 99))
        if r < 0.84:
            return self.jump(c)
        if r < 0.88 and c.function["index"] + 1 < len(self.functions):
            return ("call", self.rng.randint(c.function["index"] + 1, len(self.functions) - 1))
        if r < 0.93:
            return ("add", self.rng.randint(1, 9))
        if r < 0.95:
            return ("buffer", self.name(), self.rng.randint(1, 400), VLA and choice([True, False]))
        return ("log", self.rng.randint(0, 99))

    def try_statement(self, c):
        rng = self.rng
        clauses = [(rng.choice(EXCEPTIONS), self.block(c.inner(handler=True))) for _ in range(rng.choice([0, 1, 1, 2]))]
        other = self.block(c.inner(handler=True)) if rng.random() < 0.3 else None
        last = self.block(c.inner()) if rng.random() < 0.6 else None
        if last and rng.random() < 0.5:  # for a compiler to lay over what a RETURN needs again
            last.insert(0, ("buffer", self.name(), rng.randint(100, 800), False))
        return ("try", self.block(c.inner()), clauses, other, last)

    def if_statement(self, c):
        return ("if", self.rng.randint(2, 4), self.block(c.inner()), self.rng.choice([None, self.block(c.inner())]))

    def loop(self, c):
        return ("loop", self.name(), self.rng.randint(1, 3), self.block(c.inner(loop=True, breakable=True)))

    def switch(self, c):
        cases = [(self.block(c.inner(breakable=True)), self.rng.random() < 0.7) for _ in range(3)]
        return ("switch", cases)

    def labelled(self, c):
        n = self.name()
        return ("labelled", n, self.block(c.inner(labels=c.labels + (n,))))

    def again(self, c):
        n = self.name()
        return ("again", n, self.block(c.inner(again=c.again + (n,))))

    def scope(self, c):
        return ("scope", self.block(c.inner()))

    def jump(self, c):
        ways = [("log", self.rng.randint(0, 99))]
        if c.loop:
            ways += [("continue",), ("break",)]
        elif c.breakable:
            ways += [("break",)]
        ways += [("goto", n) for n in c.labels] + [("goto_again", n) for n in c.again]
        return self.rng.choice(ways[1:] or ways)


# ---- the interpreter ----


class TooLong(Exception):
    pass


class Record:
    """A raised exception: what Except_current, _message and _cause tell of it."""

    def __init__(self, name, message):
        self.name, self.message, self.cause = name, message, None

    def add_cause(self, old):
        r = self
        while r is not old and r.cause:
            r = r.cause
        if r is not old:
            r.cause = old

    def text(self):
        names, r = [], self
        while r:
            names.append(r.name)
            r = r.cause
        return "<".join(names) + ":" + self.message


class Leave(Exception):
    """A way out of a block; clean says whether FINALLY runs on it."""
    clean = False


class Raised(Leave):
    clean = True

    def __init__(self, record):
        self.record = record


class Return(Leave):
    """RETURN if clean, else return."""

    def __init__(self, value, clean):
        self.value, self.clean = value, clean


class Break(Leave):
    pass


class Continue(Leave):
    pass


class Goto(Leave):
    def __init__(self, label):
        self.label = label


class Interpreter:
    def __init__(self, functions, seed):
        self.functions, self.random = functions, seed
        self.events, self.steps, self.held = [], 0, []
        self.seen = set()  # which of the ways through a statement the program took

    def T(self, n):
        self.random = (self.random * 1103515245 + 12345) & 0x7fffffff
        return (self.random >> 16) % n

    def log(self, text):
        self.events.append(text)
        if len(self.events) > MAX_EVENTS:
            raise TooLong()

    def throw(self, name, message=None):
        raise Raised(Record(name, {"E0": "e0", "E1": "e1", "E2": "e2", "E3": "e3", "E4": "e4", "E5": "e5"}[name]
                            if message is None else message))

    def current(self):
        return self.held[-1].name if self.held else "none"

    def holding(self, record, action):
        """Runs action while record is the exception that is being dealt with."""
        self.held.append(record)
        try:
            action()
        finally:
            self.held.pop()

    def run(self):
        try:
            self.log("r%d" % self.call(self.functions[0]))
        except Raised as r:
            self.holding(r.record, lambda: self.log("U" + r.record.text()))
        return " ".join(self.events)

    def call(self, function):
        x = [0]
        try:
            self.block(function["body"], x)
        except Return as r:
            return r.value
        self.log("x%d" % x[0])
        return 0

    def block(self, statements, x):
        cleanups, way = [], None
        try:
            for s in statements:
                self.steps += 1
                if self.steps > MAX_STEPS:
                    raise TooLong()
                getattr(self, "do_" + s[0])(s, x, cleanups)
        except Leave as e:
            way = e
        while cleanups:
            way = self.clean_up(cleanups.pop(), way)
        if way:
            raise way

    def clean_up(self, cleanup, way):
        try:
            if isinstance(way, Raised):
                self.holding(way.record, cleanup)
            else:
                cleanup()
        except Raised as new:
            self.seen.add("disposal raised on " + type(way).__name__)
            if isinstance(way, Raised):
                new.record.add_cause(way.record)
            return new
        return way

    def do_try(self, s, x, _):
        _, body, clauses, other, last = s
        pending = None
        try:
            self.block(body, x)
        except Raised as r:
            pending = self.handle(r, clauses, other, x)
        except Leave as e:
            pending = e
        if last is not None and (pending is None or pending.clean):
            self.finish(pending, last, x)
        if pending:
            raise pending

    def finish(self, pending, last, x):
        how = type(pending).__name__
        self.seen.add("FINALLY on " + how)
        try:
            if isinstance(pending, Raised):
                self.holding(pending.record, lambda: self.block(last, x))
            else:
                self.block(last, x)
        except Leave as new:
            self.seen.add("FINALLY on %s left by %s" % (how, type(new).__name__))
            if isinstance(new, Raised) and isinstance(pending, Raised):
                new.record.add_cause(pending.record)
            raise

    def handle(self, r, clauses, other, x):
        handler = other
        for name, block in clauses:
            if self.is_kind_of(r.record.name, name):
                handler = block
                break
        if handler is None:
            return r
        try:
            self.holding(r.record, lambda: (self.log("H" + r.record.text()), self.block(handler, x)))
        except Leave as e:
            self.seen.add("handler left by " + type(e).__name__)
            if isinstance(e, Raised):
                e.record.add_cause(r.record)
            return e
        return None

    @staticmethod
    def is_kind_of(name, ancestor):
        while name and name != ancestor:
            name = PARENT.get(name)
        return name == ancestor

    def do_if(self, s, x, _):
        if self.T(s[1]) == 0:
            self.block(s[2], x)
        elif s[3] is not None:
            self.block(s[3], x)

    def do_loop(self, s, x, _):
        for _i in range(s[2]):
            try:
                self.block(s[3], x)
            except Continue:
                pass
            except Break:
                break

    def do_switch(self, s, x, _):
        start = self.T(3)
        try:
            for block, ends in s[1][start:]:
                self.block(block, x)
                if ends:
                    break
        except Break:
            pass

    def do_labelled(self, s, x, _):
        try:
            self.block(s[2], x)
        except Goto as g:
            if g.label != s[1]:
                raise

    def do_again(self, s, x, _):
        self.again = getattr(self, "again", {})
        outer, self.again[s[1]] = self.again.get(s[1]), 0
        while True:
            try:
                self.block(s[2], x)
            except Goto as g:
                if g.label == s[1]:
                    continue
                raise
            break
        self.again[s[1]] = outer

    def do_goto_again(self, s, x, _):
        self.again[s[1]] += 1
        if self.again[s[1]] <= 2:
            raise Goto(s[1])

    def do_scope(self, s, x, _):
        self.block(s[1], x)

    def do_auto(self, s, x, cleanups):
        _, _, _, dispose, init, k, e = s
        if init == "raising" and self.T(3) == 0:
            self.throw(e)
        self.log("a%d" % k)
        cleanups.append(lambda: self.dispose(dispose, k))

    def dispose(self, how, k):
        self.log("d%d" % k)
        if how == "current":
            self.log(self.current())
        elif how == "raise" and self.T(4) == 0:
            self.throw("E5", "disposal")

    def do_defer(self, s, x, cleanups):
        cleanups.append(lambda: self.deferred(s[1], s[2]))

    def deferred(self, how, k):
        self.log("D%d" % k)
        if how == "try":
            self.log("He4:" + "deferred %d" % k)
        elif how == "raise" and self.T(4) == 0:
            self.throw("E2")

    def do_raise(self, s, x, _):
        self.throw(s[1], None if s[2] is None else "m%d" % s[2])

    def do_reraise(self, s, x, _):
        if self.held:
            raise Raised(self.held[-1])
        raise Raised(Record("Assert_Failed", "RERAISE: no exception is being handled"))

    def do_return(self, s, x, _):
        self.log("v%d" % s[2])
        raise Return(s[2] + x[0], s[1])

    def do_call(self, s, x, _):
        f = self.functions[s[1]]
        value = self.call(f)
        self.log("c%d" % (0 if f["kind"] == "void" else value))

    def do_add(self, s, x, _):
        x[0] += s[1]
        self.log("x%d" % x[0])

    def do_buffer(self, s, x, cleanups):
        pass

    def do_log(self, s, x, _):
        self.log("l%d" % s[1])

    def do_break(self, s, x, _):
        raise Break()

    def do_continue(self, s, x, _):
        raise Continue()

    def do_goto(self, s, x, _):
        raise Goto(s[1])


# ---- the C text ----

PRELUDE = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <core/Except.h>

typedef struct Wide { long a, k, b[5]; } Wide;

EXCEPT_DEFINE(E0, NULL, "e0");
EXCEPT_DEFINE(E1, &E0, "e1");
EXCEPT_DEFINE(E2, &E1, "e2");
EXCEPT_DEFINE(E3, NULL, "e3");
EXCEPT_DEFINE(E4, &E3, "e4");
const Except_T E5 = { "e5", NULL, NULL };

static char events[65536];
static size_t length;
static unsigned rng;

static void L(char kind, long k)
{
	if (length + 32 < sizeof events)
		length += (size_t)sprintf(events + length, "%s%c%ld", length ? " " : "", kind, k);
}

static void W(const char *word)
{
	if (length + strlen(word) + 2 < sizeof events)
		length += (size_t)sprintf(events + length, "%s%s", length ? " " : "", word);
}

static const char *name_of(const Except_T *e)
{
	static const struct { const Except_T *e; const char *name; } all[] = {
		{ &E0, "E0" }, { &E1, "E1" }, { &E2, "E2" }, { &E3, "E3" }, { &E4, "E4" }, { &E5, "E5" },
		{ NULL, "none" }
	};
	int i;

	for (i = 0; i < 7; i++)
		if (all[i].e == e)
			return all[i].name;
	return "Assert_Failed";
}

/* the exception in hand, its causes, its message */
static void M(const char *kind)
{
	char text[4096];
	int i;
	size_t n = (size_t)sprintf(text, "%s%s", kind, name_of(Except_current()));

	for (i = 1; Except_cause(i) && n < 3000; i++)
		n += (size_t)sprintf(text + n, "<%s", name_of(Except_cause(i)));
	snprintf(text + n, sizeof text - n, ":%s", Except_message());
	W(text);
}

static int T(int n)
{
	rng = (rng * 1103515245u + 12345u) & 0x7fffffff;
	return (int)(rng >> 16) % n;
}

static long V(long k)
{
	L('v', k);
	return k;
}

static Wide wide(long k)
{
	Wide w = { -k, k, { k, k, k, k, k } };
	return w;
}

static long wide_k(Wide w)
{
	return w.a == -w.k && w.b[4] == w.k ? w.k : -1000;
}

static void fill(unsigned char *p, size_t n, int k)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = (unsigned char)(k + (int)i);
}

static void check(const unsigned char *p, size_t n, int k)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i] != (unsigned char)(k + (int)i)) {
			L('!', k);
			return;
		}
}

static long raising(int in, const Except_T *e, long k)
{
	if (T(in) == 0)
		RAISE(*e);
	return k;
}

static void log_of(long k) { L('d', k); }
static void current_of(long k) { L('d', k); W(name_of(Except_current())); }
static void raise_of(long k) { L('d', k); if (T(4) == 0) RAISE_MSG(E5, "disposal"); }
#define DISPOSALS(how) \
	static void how##_int(int *p) { how##_of(*p); } \
	static void how##_char(char *p) { how##_of(*p); } \
	static void how##_wide(Wide *p) { how##_of(wide_k(*p)); }
DISPOSALS(log)
DISPOSALS(current)
DISPOSALS(raise)

static void defer_log(void *p) { L('D', (long)(intptr_t)p); }
static void defer_raise(void *p) { L('D', (long)(intptr_t)p); if (T(4) == 0) RAISE(E2); }
static void defer_try(void *p)
{
	L('D', (long)(intptr_t)p);
	TRY {
		RAISE_MSG(E4, "deferred %ld", (long)(intptr_t)p);
	} EXCEPT(E3) {
		char text[64];

		snprintf(text, sizeof text, "He4:%s", Except_message());
		W(text);
	} END_TRY;
}
"""

MAIN = r"""
typedef int Entry(void);

static void run(Entry *entry, unsigned seed)
{
	events[0] = '\0';
	length = 0;
	rng = seed;
	TRY {
		L('r', entry());
	} ELSE {
		M("U");
	} END_TRY;
	if (Except_current())
		W("still-current");
}

static int wrong(int program, Entry *entry, unsigned seed, const char *expected)
{
	int i;

	for (i = 0; i < 2; i++) {
		run(entry, seed);
		if (strcmp(events, expected) != 0) {
			printf("program %d differs:\n  logged   %s\n  expected %s\n", program, events, expected);
			return 1;
		}
	}
	return 0;
}
"""

TYPES = {"int": "int", "char": "char", "wide": "Wide", "double": "double", "void": "void"}


class Writer:
    def __init__(self, program):
        self.program, self.lines, self.indent = program, [], 0

    def put(self, text):
        self.lines.append("\t" * self.indent + text)

    def functions(self, functions):
        self.all = functions
        for f in functions:
            self.put("static %s p%d_f%d(void);" % (TYPES[f["kind"]], self.program, f["index"]))
        for f in functions:
            self.function(f)

    def function(self, f):
        self.f = f
        self.put("static %s p%d_f%d(void)" % (TYPES[f["kind"]], self.program, f["index"]))
        self.put("{")
        self.indent += 1
        self.put("int x = 0;")
        self.put("PROTECT(x);")
        self.block(f["body"])
        self.put("L('x', x);")
        self.put({"void": "return;", "wide": "return wide(0);"}.get(f["kind"], "return 0;"))
        self.indent -= 1
        self.put("}")

    def block(self, statements):
        self.put("{")
        self.indent += 1
        after = []
        for s in statements:
            getattr(self, "put_" + s[0])(s, after)
        for line in reversed(after):
            self.put(line)
        self.indent -= 1
        self.put("}")

    def put_try(self, s, _):
        _, body, clauses, other, last = s
        self.put("TRY")
        self.block(body)
        for name, block in clauses:
            self.put("EXCEPT(%s)" % name)
            self.block([("handler",)] + block)
        if other is not None:
            self.put("ELSE")
            self.block([("handler",)] + other)
        if last is not None:
            self.put("FINALLY")
            self.block(last)
        self.put("END_TRY;")

    def put_handler(self, s, _):
        self.put('M("H");')

    def put_if(self, s, _):
        self.put("if (T(%d) == 0)" % s[1])
        self.block(s[2])
        if s[3] is not None:
            self.put("else")
            self.block(s[3])

    def put_loop(self, s, _):
        self.put("for (int i%d = 0; i%d < %d; i%d++)" % (s[1], s[1], s[2], s[1]))
        self.block(s[3])

    def put_switch(self, s, _):
        self.put("switch (T(3)) {")
        for label, (block, ends) in zip(["case 0", "case 1", "default"], s[1]):
            self.put(label + ":")
            self.block(block)
            if ends:
                self.put("break;")
        self.put("}")

    def put_labelled(self, s, _):
        self.block(s[2])
        self.put("L%d: __attribute__((unused));" % s[1])

    def put_again(self, s, _):
        self.put("{")
        self.put("int n%d = 0;" % s[1])
        self.put("PROTECT(n%d);" % s[1])
        self.put("A%d: __attribute__((unused));" % s[1])
        self.block(s[2])
        self.put("}")

    def put_goto_again(self, s, _):
        self.put("if (++n%d <= 2) goto A%d;" % (s[1], s[1]))

    def put_scope(self, s, _):
        self.block(s[1])

    def put_auto(self, s, _):
        _, n, kind, dispose, init, k, e = s
        value = {"constant": "%d" % k, "call": "raising(100000, &%s, %d)" % (e, k),
                 "raising": "raising(3, &%s, %d)" % (e, k)}[init]
        if init == "call":
            value = "(int)strlen(\"%s\")" % ("x" * k)
        if kind == "wide":
            value = "wide(%s)" % value
        self.put("AUTO(%s, a%d, %s_%s) = %s;" % (TYPES[kind], n, dispose, kind, value))
        self.put("L('a', %s);" % ("wide_k(a%d)" % n if kind == "wide" else "a%d" % n))

    def put_defer(self, s, _):
        self.put("DEFER(defer_%s, (void *)(intptr_t)%d);" % (s[1], s[2]))

    def put_raise(self, s, _):
        self.put("RAISE(%s);" % s[1] if s[2] is None else "RAISE_MSG(%s, \"m%%d\", %d);" % (s[1], s[2]))

    def put_reraise(self, s, _):
        self.put("RERAISE;")

    def put_return(self, s, _):
        value = "V(%d) + x" % s[2]
        if self.f["kind"] == "wide":
            value = "wide(%s)" % value
        if self.f["kind"] == "void":
            self.put("V(%d);" % s[2])
            self.put("RETURN();" if s[1] else "return;")
        else:
            self.put("RETURN(%s);" % value if s[1] else "return %s;" % value)

    def put_call(self, s, _):
        f = self.all[s[1]]
        call = "p%d_f%d()" % (self.program, f["index"])
        if f["kind"] == "void":
            self.put(call + ";")
            self.put("L('c', 0);")
        else:
            self.put("L('c', %s);" % {"wide": "wide_k(%s)" % call, "double": "(long)" + call}.get(f["kind"], call))

    def put_add(self, s, _):
        self.put("x += %d;" % s[1])
        self.put("L('x', x);")

    def put_buffer(self, s, after):
        _, n, size, variable = s
        self.put("int z%d = %s;" % (n, "(int)length % 7 + 1" if variable else "1"))
        size = "%d%s" % (size, " * z%d" % n if variable else "")
        self.put("unsigned char b%d[%s];" % (n, size))
        self.put("fill(b%d, sizeof b%d, %d + z%d);" % (n, n, n, n))
        after.append("check(b%d, sizeof b%d, %d + z%d);" % (n, n, n, n))

    def put_log(self, s, _):
        self.put("L('l', %d);" % s[1])

    def put_break(self, s, _):
        self.put("break;")

    def put_continue(self, s, _):
        self.put("continue;")

    def put_goto(self, s, _):
        self.put("goto L%d;" % s[1])


def interesting_program(rng):
    """A program that ends, does not log too much, and takes a few unusual ways."""
    while True:
        functions = Generator(rng).program()
        seed = rng.randrange(1 << 30)
        interpreter = Interpreter(functions, seed)
        try:
            expected = interpreter.run()
        except TooLong:
            continue
        if len(interpreter.seen) >= 4:
            return functions, seed, expected, interpreter.seen


def c_string(text):
    pieces = [text[i:i + 90] for i in range(0, len(text), 90)]
    return "\n\t\t".join('"%s"' % p for p in pieces)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: except_program.py SEED COUNT")
    rng = random.Random(int(sys.argv[1]))
    count = int(sys.argv[2])
    print("/* except_program.py %s %s */" % (sys.argv[1], sys.argv[2]) + PRELUDE)
    calls, ways = [], collections.Counter()
    for n in range(count):
        functions, seed, expected, seen = interesting_program(rng)
        ways.update(seen)
        writer = Writer(n)
        writer.functions(functions)
        print("\n".join(writer.lines))
        calls.append("\tbad += wrong(%d, p%d_f0, %du,\n\t\t%s);" % (n, n, seed, c_string(expected)))
    print(MAIN)
    print("int main(void)\n{\n\tint bad = 0;\n")
    print("\n".join(calls))
    print('\tprintf("%%d of %d programs differ\\n", bad);\n\treturn bad != 0;\n}' % count)
    print("/* programs that took each way:\n%s */" % "".join(" * %5d %s\n" % (n, w) for w, n in ways.most_common()))


main()
