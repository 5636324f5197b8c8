"""PyTorch's `.pth` files without PyTorch.

Such a file is a pickle, a program that may call anything. Here it may call what is listed in
`_Unpickler.find_class` and nothing else, which makes dicts, and notes of where a tensor's numbers
lie. Neither PyTorch nor any code that the file names is ever run.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from jaxgan.errors import UserError

TYPES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the format before the zip one


class _Type(NamedTuple):
    dtype: type


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    offset: int
    numel: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read(file: BinaryIO) -> dict[str, np.ndarray]:
    """Name -> array of a state dict, which may lie in a dict of other things.

    Raises:
      UserError: the file asks for code to be run.
      Exception: of any kind, where it isn't what `torch.save` made of a state dict.
    """
    return (_read_zip if zipfile.is_zipfile(file) else _read_older)(file)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        # Made anew at each call: a pickle may set attributes of what it is given.
        class Dict(dict):
            """Takes the attribute `_metadata` that state dicts carry."""

        def tensor(storage, offset, size, stride, *_):
            return _Tensor(storage, offset, tuple(size), tuple(stride))

        allowed = {
            ("collections", "OrderedDict"): Dict,
            ("torch._utils", "_rebuild_tensor"): tensor,
            ("torch._utils", "_rebuild_tensor_v2"): tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch", "Size"): lambda size: tuple(size),
        }
        if module == "torch" and name in TYPES:
            return _Type(TYPES[name])
        if (module, name) not in allowed:
            raise UserError(
                f"it asks for {module}.{name}, which could run code, and only tensors are read; "
                "save a network's state_dict(), not the network"
            )
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, numel, *view = pid
        dtype = self.storages[key] = np.dtype(kind.dtype)
        if view and view[0] is not None:  # a part of a storage: its own key, its place, its length
            return _Storage(key, dtype, view[0][1], view[0][2])
        return _Storage(key, dtype, 0, numel)


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    (root,) = (name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl"))
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise ValueError("it is compressed, which PyTorch's files aren't")
    if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("its numbers are big-endian")
    found = _Unpickler(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
    return _arrays(found, lambda key: archive.read(f"{root}data/{key}"))


def _read_older(file: BinaryIO) -> dict[str, np.ndarray]:
    file.seek(0)
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("it doesn't begin as PyTorch's files do")
    _, machine = _Unpickler(file).load(), _Unpickler(file).load()
    if not machine["little_endian"]:
        raise ValueError("its numbers are big-endian")
    unpickler = _Unpickler(file)
    found, stored = unpickler.load(), {}
    for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        stored[key] = file.read(count * unpickler.storages[key].itemsize)
    return _arrays(found, stored.__getitem__)


def _arrays(found: Any, stored: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    def tensors(value: Any) -> dict[str, _Tensor]:
        items = value.items() if isinstance(value, dict) else ()
        return {str(name): item for name, item in items if isinstance(item, _Tensor)}

    within = found.values() if isinstance(found, dict) else ()
    chosen = [t for t in [tensors(found)] if t] or [t for t in map(tensors, within) if t]
    if len(chosen) != 1:
        there = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"it should hold one state dict and holds {len(chosen)}: {there}")
    return {name: _array(tensor, stored) for name, tensor in chosen[0].items()}


def _array(tensor: _Tensor, stored: Callable[[str], bytes]) -> np.ndarray:
    (key, dtype, start, numel), offset, size, stride = tensor
    values = np.frombuffer(stored(key), dtype)[start : start + numel]
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    least = min((start, offset, *size, *stride), default=0)
    # Strides of 0 could make a view of any size; no tensor that was saved is larger than its own.
    if least < 0 or len(values) < numel or last >= max(numel, 1) or math.prod(size) > numel:
        raise ValueError("a tensor's numbers are missing")
    steps = [step * dtype.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(values[offset:], size, steps).copy()
