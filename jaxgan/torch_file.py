"""PyTorch's `.pth` files, in the zip format and the older one. `torch_pickle.py` keeps it safe."""

import io
import math
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgan import torch_pickle
from jaxgan.torch_pickle import Tensor

MAGIC = 0x1950A86A20F9469CFC6C  # the first of the older format's pickles


def read(data: bytes) -> dict[str, np.ndarray]:
    """Name -> array of a state dict, which may lie in a dict of other things.

    Raises:
      UserError: the file asks for code to be run.
      Exception: of any kind, where it isn't what `torch.save` made of a state dict.
    """
    found, stored = (_zip if data[:2] == b"PK" else _older)(io.BytesIO(data))
    within = found.values() if isinstance(found, dict) else ()
    chosen = [t for t in [_tensors(found)] if t] or [t for t in map(_tensors, within) if t]
    if len(chosen) != 1:
        raise ValueError(f"it should hold one state dict and holds {len(chosen)}")
    # Tensors may share numbers, but not so many that a small file fills the memory.
    size = sum(math.prod(t.size) * t.storage.dtype.itemsize for t in chosen[0].values())
    if size > 8 * len(data):
        raise ValueError("its tensors are larger than the file")
    return {name: _array(tensor, stored) for name, tensor in chosen[0].items()}


def _tensors(value: Any) -> dict[str, Tensor]:
    items = value.items() if isinstance(value, dict) else ()
    return {name: item for name, item in items if isinstance(item, Tensor)}


def _zip(file: io.BytesIO) -> tuple[Any, Callable[[str], bytes]]:
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1 or any(info.compress_type for info in archive.infolist()):
        raise ValueError("it is no zip file of PyTorch's")
    if f"{roots[0]}byteorder" in names and archive.read(f"{roots[0]}byteorder") != b"little":
        raise ValueError("its numbers are big-endian")
    found, _ = torch_pickle.load(io.BytesIO(archive.read(f"{roots[0]}data.pkl")))
    return found, lambda key: archive.read(f"{roots[0]}data/{key}")


def _older(file: io.BytesIO) -> tuple[Any, Callable[[str], bytes]]:
    magic, _, machine = (torch_pickle.load(file)[0] for _ in range(3))
    if magic != MAGIC:
        raise ValueError("it doesn't begin as PyTorch's files do")
    if not machine["little_endian"]:
        raise ValueError("its numbers are big-endian")
    found, types = torch_pickle.load(file)
    stored = {}
    for key in torch_pickle.load(file)[0]:
        count = int.from_bytes(file.read(8), "little")
        stored[key] = file.read(count * types[key].itemsize)
    return found, stored.__getitem__


def _array(tensor: Tensor, stored: Callable[[str], bytes]) -> np.ndarray:
    (key, dtype, start, numel), offset, size, stride = tensor
    values = np.frombuffer(stored(key), dtype)[start : start + numel]
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    least = min((start, offset, *size, *stride))
    # Strides of 0 could make a view of any size; no tensor that was saved is larger than its own.
    if least < 0 or len(values) < numel or last >= max(numel, 1) or math.prod(size) > numel:
        raise ValueError("a tensor's numbers are missing")
    steps = [step * dtype.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps).copy()
