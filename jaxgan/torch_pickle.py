"""The pickles in PyTorch's `.pth` files, without PyTorch; `pickles.py` keeps it safe.

Of what a program may name there are `TYPES` and `FUNCTIONS`, and they make no more than notes of
where a tensor's numbers lie.
"""

import io
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jaxgan import pickles


class Storage(NamedTuple):
    """Numbers in a file: `numel` of them from `offset` on, in the part `key`."""

    key: str
    dtype: np.dtype
    offset: int
    numel: int


class Tensor(NamedTuple):
    """A view of a storage; `offset` and `stride` count numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


TYPES = {
    "torch FloatStorage": np.float32,
    "torch DoubleStorage": np.float64,
    "torch HalfStorage": np.float16,
    "torch BFloat16Storage": ml_dtypes.bfloat16,
    "torch LongStorage": np.int64,
    "torch IntStorage": np.int32,
    "torch ShortStorage": np.int16,
    "torch CharStorage": np.int8,
    "torch ByteStorage": np.uint8,
    "torch BoolStorage": np.bool_,
}
FUNCTIONS = {
    "collections OrderedDict": lambda: {},
    "torch Size": lambda size: size,
    "torch._utils _rebuild_tensor": Tensor,
    "torch._utils _rebuild_tensor_v2": lambda *given: Tensor(*given[:4]),
    "torch._utils _rebuild_parameter": lambda data, *_: data,
}
ADVICE = "tensors are read; save a network's state_dict(), not the network"


def load(file: io.BytesIO) -> tuple[Any, dict[str, np.dtype]]:
    """What one pickle holds, and the types of the storages that it names.

    Attributes, such as the `_metadata` of a state dict, are left out.

    Raises:
      UserError: it names anything that isn't listed here.
      Exception: of any kind, where it isn't a pickle of a state dict.
    """
    types = {}

    def storage(*given: Any) -> Storage:
        made = _storage(*given)
        types[made.key] = made.dtype
        return made

    functions = dict.fromkeys(TYPES) | FUNCTIONS
    return pickles.load(file, functions, ADVICE, persistent=storage), types


def _storage(_, kind: str, key: str, place: str, numel: int, view: Any = None) -> Storage:
    dtype = np.dtype(TYPES[kind])
    if view is None:
        return Storage(key, dtype, 0, numel)
    _, offset, numel = view  # a part of a storage, under a key of its own
    return Storage(key, dtype, offset, numel)
