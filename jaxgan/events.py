"""TensorBoard event files, without TensorFlow.

The five messages that scalars and images need are encoded here by hand: the packages that write
event files import torch where it is installed, or write from a thread that a full disk kills in
silence. Formats: TFRecord framing, and tensorflow/core/{util/event,framework/summary}.proto.
"""

import os
import re
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from jaxgan.files import disk_error, write_all

PREFIX = "events.out.tfevents."


class EventFile:
    """One event file of a run's folder; every call reaches the disk before it returns."""

    def __init__(self, folder: Path | str, purge_step: int | None = None):
        """Opens a new file that sorts after all that are there.

        Args:
          folder: where; it must exist.
          purge_step: TensorBoard forgets what earlier files say of this step and later ones.

        Raises:
          UserError: the folder can't be written.
        """
        # TensorBoard reads files by name, and purging looks back only. The stamp therefore grows
        # even where a clock went backwards or two starts share a second.
        used = [re.match(r"\d+", p.name[len(PREFIX) :]) for p in Path(folder).glob(PREFIX + "*")]
        stamp = max([int(time.time())] + [int(m[0]) + 1 for m in used if m])
        self.path = Path(folder) / f"{PREFIX}{stamp:010d}.{socket.gethostname()}.{os.getpid()}"
        try:
            self._file = open(self.path, "xb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise disk_error(self.path, error) from error
        self._write(0, _bytes(3, b"brain.Event:2"))
        if purge_step is not None:
            self._write(purge_step, _bytes(7, _integer(1, 1)))  # SessionLog.status = START

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes `tag -> value` at a step."""
        parts = (_bytes(1, tag.encode()) + _float(2, value) for tag, value in values.items())
        self._write(step, _bytes(5, b"".join(_bytes(1, part) for part in parts)))

    def image(self, step: int, tag: str, png: bytes, height: int, width: int) -> None:
        """Writes an encoded RGB picture at a step."""
        image = _integer(1, height) + _integer(2, width) + _integer(3, 3) + _bytes(4, png)
        self._write(step, _bytes(5, _bytes(1, _bytes(1, tag.encode()) + _bytes(4, image))))

    def close(self) -> None:
        self._file.close()

    def _write(self, step: int, what: bytes) -> None:
        event = struct.pack("<Bd", 1 << 3 | 1, time.time()) + _integer(2, step) + what
        length = struct.pack("<Q", len(event))
        try:
            write_all(self._file, length + _checksum(length) + event + _checksum(event))
        except OSError as error:
            raise disk_error(self.path, error) from error


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def _integer(field: int, n: int) -> bytes:
    return _varint(field << 3) + _varint(n)


def _float(field: int, x: float) -> bytes:
    try:
        value = struct.pack("<f", x)
    except OverflowError:  # beyond float32
        value = struct.pack("<f", float("inf") if x > 0 else float("-inf"))
    return _varint(field << 3 | 5) + value


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _crc_table() -> list[int]:
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_TABLE = _crc_table()


def _checksum(data: bytes) -> bytes:
    """TFRecord's masked CRC-32C (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF)
