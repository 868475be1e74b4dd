#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libcore from Python by ctypes: an arena, a table, and an error that becomes a Python exception.

A raise must not jump over the frames of another language. So a call that may raise goes through
Except_call, which returns 0 and the exception as a plain value. Except_call takes a C function of
one pointer; for a function of more arguments a binding has a few lines of C that unpack them.
Never give it a Python function that calls libcore: a raise would jump over Python.

  python3 ffi.py [path of libcore.so.0]"""
import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_int, c_size_t, c_uint, c_void_p

core = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else 'libcore.so.0')


class Capture(Structure):
    """Except_Capture."""
    _fields_ = [('exception', c_void_p), ('causes', c_void_p * 8), ('message', c_char * 256),
                ('file', c_char * 96), ('function', c_char * 64), ('line', c_int),
                ('error', c_int), ('flags', c_uint)]


class Error(Exception):
    """An exception that libcore raised."""


def declare(name, result, *arguments):
    function = getattr(core, name)
    function.restype, function.argtypes = result, arguments
    return function


except_call = declare('Except_call', c_int, c_void_p, c_void_p, POINTER(Capture))
arena_new = declare('Arena_new', c_void_p)
arena_strdup = declare('Arena_strdup', c_void_p, c_void_p, c_char_p)
live_count = declare('Arena_debug_live_count', c_size_t)
table_new = declare('HashTable_new', c_void_p, c_void_p, c_size_t)
table_put = declare('HashTable_put', c_void_p, c_void_p, c_char_p, c_void_p)
table_get = declare('HashTable_get', c_void_p, c_void_p, c_char_p)


def call(name, pointer):
    """Calls a function of one pointer; raises Error if it raises."""
    capture = Capture()
    if not except_call(ctypes.cast(getattr(core, name), c_void_p), pointer, byref(capture)):
        raise Error(capture.message.decode())


arena = c_void_p(arena_new())
table = c_void_p(table_new(arena, 0))
for city, country in (b'Lima', b'Peru'), (b'Oslo', b'Norway'):
    table_put(table, city, arena_strdup(arena, country))
print(ctypes.string_at(table_get(table, b'Oslo')).decode())
try:
    call('HashTable_clear', None)
except Error as error:
    print('caught:', error)
call('HashTable_clear', table)
print('Oslo' if table_get(table, b'Oslo') else 'cleared')
call('Arena_dispose', ctypes.cast(byref(arena), c_void_p))
print('live arenas:', live_count())
