"""The pickles in PyTorch's `.pth` files, without PyTorch and without Python's unpickler.

A pickle is a program, which may call anything. Here the few instructions are carried out that state
dicts are made of. Of what a program may name there are `TYPES` and `FUNCTIONS`, and they make no
more than notes of where a tensor's numbers lie. Nothing is ever imported or run.
"""

import io
import pickletools
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jaxgan.errors import UserError


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


class _Name(str):
    """What a program names; a string of its own is none."""


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
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "BINFLOAT"}
_VALUES |= {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load(file: io.BytesIO) -> tuple[Any, dict[str, np.dtype]]:
    """What one pickle holds, and the types of the storages that it names.

    Raises:
      UserError: it names anything that isn't listed here.
      Exception: of any kind, where it isn't a pickle of a state dict.
    """
    stack, marks, memo, types = [], [], {}, {}

    def pop(count: int) -> list[Any]:
        items = stack[len(stack) - count :]
        if len(items) < count:
            raise ValueError("it takes more than there is")
        del stack[len(stack) - count :]
        return items

    for opcode, value, _ in pickletools.genops(file):
        name = opcode.name
        if name in _VALUES or name in _CONSTANTS:
            stack.append(value if name in _VALUES else _CONSTANTS[name])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else value] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[value])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in _TUPLES or name == "TUPLE":
            stack.append(tuple(pop(_TUPLES[name] if name in _TUPLES else len(stack) - marks.pop())))
        elif name in ("EMPTY_LIST", "APPEND", "APPENDS", "LIST"):
            counts = {"EMPTY_LIST": 0, "APPEND": 1}
            items = pop(counts[name] if name in counts else len(stack) - marks.pop())
            stack.append([] if name in ("EMPTY_LIST", "LIST") else pop(1)[0])
            stack[-1].extend(items)
        elif name in ("EMPTY_DICT", "SETITEM", "SETITEMS", "DICT"):
            counts = {"EMPTY_DICT": 0, "SETITEM": 2}
            items = pop(counts[name] if name in counts else len(stack) - marks.pop())
            stack.append({} if name in ("EMPTY_DICT", "DICT") else pop(1)[0])
            # State dicts have names; to hash a tuple of tuples of tuples could take for ever.
            pairs = zip(items[::2], items[1::2], strict=True)
            stack[-1].update({key: item for key, item in pairs if isinstance(key, str)})
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_named(value if name == "GLOBAL" else " ".join(pop(2))))
        elif name == "REDUCE":
            function, given = pop(2)
            if not isinstance(function, _Name):
                raise ValueError("it calls what is no function")
            stack.append(FUNCTIONS[function](*given))
        elif name == "BINPERSID":
            stack.append(_storage(*pop(1)[0]))
            types[stack[-1].key] = stack[-1].dtype
        elif name == "BUILD":  # attributes, such as the `_metadata` of a state dict
            pop(1)
        elif name == "STOP":
            return pop(1)[0], types
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"state dicts have no {name}")
    raise ValueError("it is cut off")


def _named(name: str) -> _Name:
    if name not in TYPES and name not in FUNCTIONS:
        raise UserError(
            f"it asks for {name.replace(' ', '.')[:100]}, which could run code, and only tensors "
            "are read; save a network's state_dict(), not the network"
        )
    return _Name(name)


def _storage(_, kind: _Name, key: str, place: str, numel: int, view: Any = None) -> Storage:
    dtype = np.dtype(TYPES[kind])
    if view is None:
        return Storage(key, dtype, 0, numel)
    _, offset, numel = view  # a part of a storage, under a key of its own
    return Storage(key, dtype, offset, numel)
