"""Pickles as Python 2 wrote them: the published CIFAR batches, byte by byte."""

import struct

import numpy as np


def protocol_2(value) -> bytes:
    """Of str, int, uint8 arrays, and lists and dicts of them, with a memo as cPickle keeps it."""
    return b"\x80\x02" + _dumped(value, iter(range(10**6))) + b"."


def _dumped(value, memo) -> bytes:
    def put() -> bytes:
        index = next(memo)
        return b"q" + bytes([index]) if index < 256 else b"r" + struct.pack("<I", index)

    def text(data: bytes) -> bytes:
        short = len(data) < 256
        head = b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))
        return head + data + put()

    if isinstance(value, str):
        return text(value.encode())
    if isinstance(value, int):
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"]" + put() + b"(" + b"".join(_dumped(item, memo) for item in value) + b"e"
    if isinstance(value, dict):
        items = (_dumped(part, memo) for item in value.items() for part in item)
        return b"}" + put() + b"(" + b"".join(items) + b"u"
    shape = b"".join(_dumped(side, memo) for side in value.shape) + b"\x86" + put()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"cnumpy\nndarray\n" + put()
        + b"K\x00\x85" + put() + text(b"b") + b"\x87" + put() + b"R" + put()
        + b"(K\x01" + shape
        + b"cnumpy\ndtype\n" + put() + text(b"u1") + b"K\x00K\x01\x87" + put() + b"R" + put()
        + b"(K\x03" + text(b"|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00t" + put() + b"b"
        + b"\x89" + text(np.ascontiguousarray(value).tobytes()) + b"t" + put() + b"b"
    )  # fmt: skip


def protocol_0(value) -> bytes:
    """Of str, int, and lists and dicts of them: in lines, as the lists of names are published."""
    return _lines(value, iter(range(10**6))) + b"."


def _lines(value, memo) -> bytes:
    def put() -> bytes:
        return b"p%d\n" % next(memo)

    if isinstance(value, str):
        return b"S%s\n" % repr(value).encode() + put()
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, list):
        return b"(l" + put() + b"".join(_lines(item, memo) + b"a" for item in value)
    items = (_lines(k, memo) + _lines(v, memo) + b"s" for k, v in value.items())
    return b"(d" + put() + b"".join(items)
