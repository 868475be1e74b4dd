# SPDX-License-Identifier: MIT
# How gdb prints libcore's types: Arena_T, HashTable_T, Except_T and Except_Frame, pointers to them too.
# Installed where gdb loads it with the library by itself; else: (gdb) source libcore-gdb.py
# Whatever libcore's debugging information lacks is left out: with none, an arena is its address.
# (gdb) print/r shows a value as it is.
import gdb


def field(value, path):
    """value.path, or None if there is no such field or it cannot be read."""
    try:
        for name in path.split('.'):
            value = value[name]
        value.fetch_lazy()
        return value
    except (gdb.error, KeyError, TypeError):
        return None


def number(value, path):
    found = field(value, path)
    return None if found is None else int(found)


def text(pointer):
    """The string that is pointed to, or None."""
    try:
        return pointer.string(errors='replace') if pointer is not None and int(pointer) else None
    except (gdb.error, UnicodeError):
        return None


def each(first, link):
    """The objects of a list; a corrupt one ends somewhere."""
    for _ in range(10000):
        if first is None or not int(first):
            return
        yield first
        first = field(first.dereference(), link)


def evaluate(expression):
    try:
        return gdb.parse_and_eval(expression)
    except gdb.error:
        return None


def count(n, what):
    return '%d %s%s' % (n, what, '' if n == 1 else 's')


# ---- Arena ----

class ArenaPrinter:
    DEAD = 0xDEADA12A

    def __init__(self, arena):
        self.arena = arena

    def to_string(self):
        a = self.arena
        if number(a, 'magic') == self.DEAD:
            return 'Arena %#x, disposed of' % int(a.address)
        parts = ['Arena "%s"' % (text(field(a, 'name')) or 'arena')]
        if text(field(a, 'file')):
            parts.append('made at %s:%s' % (text(field(a, 'file')), number(a, 'line')))
        for name, n in (('used', self.used()), ('held', number(a, 'held')), ('at the peak', self.peak())):
            if n is not None:
                parts.append('%d bytes %s' % (n, name))
        if field(a, 'newest') is not None:
            parts.append(count(len(list(each(a['newest'], 'older'))), 'chunk'))
        if field(a, 'children') is not None and int(a['children']):
            parts.append(count(len(list(each(a['children'], 'next_sibling'))), 'child arena'))
        return ', '.join(parts + self.owner())

    def children(self):
        if number(self.arena, 'magic') == self.DEAD:
            return
        yield 'at', hex(int(self.arena.address))
        newest = field(self.arena, 'newest')
        avail = number(self.arena, 'lane.avail')
        for i, c in enumerate(each(newest, 'older')):
            chunk = c.dereference()
            size = number(chunk, 'size')
            current = avail is not None and int(c) <= avail <= number(chunk, 'limit')
            kind = ', the caller\'s buffer' if size == 0 else ', current' if current else ''
            yield 'chunk %d' % i, '%#x to %#x, %d bytes%s' % (
                int(c), number(chunk, 'limit'), number(chunk, 'limit') - int(c), kind)
        if number(self.arena, 'spare'):
            yield 'spare', '%#x, %d bytes' % (int(self.arena['spare']), number(self.arena, 'spare.size'))
        for i, child in enumerate(each(field(self.arena, 'children'), 'next_sibling')):
            yield 'child %d' % i, '%#x "%s"' % (int(child), text(field(child, 'name')) or 'arena')
        deferred = len(list(each(field(self.arena, 'deferred'), 'older')))
        if deferred:
            yield 'deferred calls', deferred
        if number(self.arena, 'parent'):
            yield 'parent', hex(int(self.arena['parent']))

    # What the library counts late is added as arena__used_now does.
    def used(self):
        n = number(self.arena, 'used')
        if n is None:
            return None
        for lane in ('lane', 'common.lane'):
            avail, floor = (number(self.arena, lane + field) for field in ('.avail', '.floor'))
            if avail is not None and floor is not None:
                n += avail - floor
        return n

    def peak(self):
        peak = number(self.arena, 'peak')
        return peak if peak is None else max(peak, self.used() or 0, number(self.arena, 'used_most') or 0)

    def owner(self):
        owner = number(self.arena, 'owner')
        if owner is None:
            return []
        if owner == 0:
            return ['no owner']
        this = evaluate('Arena__self')
        return ['owned by this thread' if this is not None and int(this) == owner else 'owned by another thread']


# ---- HashTable ----

class HashTablePrinter:
    SLOTS = 15  # of a group; the rest of its 16 bytes is a filter
    SEGMENT = 256  # groups

    def __init__(self, table):
        self.table = table
        self.kind = 'HashTable_T'
        for name in ('STRING', 'STRING_NOCASE', 'BYTES', 'INTEGER', 'POINTER', 'CUSTOM'):
            value = evaluate("(int)HashTable_%s" % name)
            if value is not None and number(table, 'magic') is not None and int(value) == int(table['magic']) & 0x7f:
                self.kind = name

    def to_string(self):
        n = number(self.table, 'length')
        return 'HashTable of %s, %s' % (self.kind, 'no debugging information' if n is None else
                                       '%d entr%s' % (n, 'y' if n == 1 else 'ies'))

    def children(self):
        ngroups, groups, first = (number(self.table, p) for p in ('ngroups', 'groups', 'first'))
        slot, segments = self.slot_type(), field(self.table, 'segments')
        if None in (ngroups, groups, first, slot, segments) or first == int(self.table.address):
            return
        memory = gdb.selected_inferior()
        for g in range(ngroups):
            tags = bytes(memory.read_memory(groups + 16 * g, self.SLOTS))
            for i in (i for i, tag in enumerate(tags) if tag != 0):
                place = g % self.SEGMENT * self.SLOTS + i
                at = gdb.Value(int(segments[g // self.SEGMENT]) + place * slot.sizeof)
                entry = at.cast(slot.pointer()).dereference()
                yield 'key', self.key(entry)
                yield 'value', entry['value']

    def display_hint(self):
        return 'map'

    def slot_type(self):
        try:
            return gdb.lookup_type('Word_Slot' if self.kind in ('INTEGER', 'POINTER') else 'Text_Slot')
        except gdb.error:
            return None

    def key(self, entry):
        if self.kind == 'POINTER':
            return entry['key'].cast(gdb.lookup_type('void').pointer())
        if self.kind in ('STRING', 'STRING_NOCASE'):
            return entry['key'].cast(gdb.lookup_type('char').const().pointer())
        if self.kind == 'BYTES':
            return bytes(gdb.selected_inferior().read_memory(int(entry['key']), int(entry['id']) >> 32)).hex()
        return entry['key']


# ---- Except ----

class ExceptionPrinter:
    def __init__(self, exception):
        self.exception = exception

    def to_string(self):
        reasons = ['"%s"' % text(field(self.exception, 'reason'))]
        for parent in each(field(self.exception, 'parent'), 'parent'):
            reasons.append('"%s"' % text(field(parent, 'reason')))
        return 'Except_T ' + ', a kind of '.join(reasons)


class FramePrinter:
    def __init__(self, frame):
        self.frame = frame

    def to_string(self):
        state = number(self.frame, 'state')
        names = {}
        for name in ('TRYING', 'FINISHING', 'RAISED', 'RAISED_KEPT', 'HANDLING'):
            value = evaluate('(int)Except__' + name)
            if value is not None:
                names[int(value)] = name.lower().replace('_', ' and ')
        said = names.get(state, 'state %s' % state)
        if said in ('trying', 'finishing'):
            return 'Except_Frame, ' + said
        exception = field(self.frame, 'exception')
        if exception is None or not int(exception):
            return 'Except_Frame, ' + said
        line = '%s:%s' % (text(field(self.frame, 'file')), number(self.frame, 'line'))
        return 'Except_Frame, %s %s from %s: "%s"' % (said, ExceptionPrinter(exception.dereference()).to_string(), line,
                                                   self.message() or text(field(exception, 'reason')))

    def message(self):
        record = field(self.frame, 'record')
        try:
            record = record.cast(gdb.lookup_type('Record').pointer())
        except (gdb.error, AttributeError):
            return None
        return text(field(record, 'message')) if int(record) else None


# ---- which printer for what ----

PRINTERS = {'Arena': ArenaPrinter, 'HashTable': HashTablePrinter, 'Except_T': ExceptionPrinter, 'Except_Frame': FramePrinter}


def printer_for(value):
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_REF):
        kind = kind.target().unqualified().strip_typedefs()
        if kind.code != gdb.TYPE_CODE_STRUCT or kind.tag not in PRINTERS or not int(value):
            return None
        try:
            value = value.cast(gdb.lookup_type('struct ' + kind.tag).pointer()).dereference()
            value.fetch_lazy()
            value.type.fields()
        except (gdb.error, TypeError):
            return None
    if kind.code != gdb.TYPE_CODE_STRUCT or kind.tag not in PRINTERS or not value.type.strip_typedefs().fields():
        return None
    return PRINTERS[kind.tag](value)


printer_for.__name__ = 'libcore'
gdb.pretty_printers[:] = [p for p in gdb.pretty_printers if getattr(p, '__name__', '') != 'libcore'] + [printer_for]
