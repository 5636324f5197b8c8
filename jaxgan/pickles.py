"""Pickles without Python's unpickler.

A pickle is a program, which may call anything. Here the few instructions are carried out that plain
data are made of, and of what a program may name there is only what the reader lists. Nothing is
ever imported or run.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from jaxgan.errors import UserError


class Name(str):
    """What a program names; a string of its own is none."""


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "BINFLOAT"}
_VALUES |= {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"}
_VALUES |= {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # of Python 2: bytes, here as Latin-1
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load(
    file: BinaryIO,
    functions: Mapping[str, Callable | None],
    advice: str,
    *,
    build: Callable[[Any, Any], None] = lambda made, state: None,
    persistent: Callable[..., Any] | None = None,
) -> Any:
    """What one pickle holds: strings, numbers, tuples, lists, dicts, and what `functions` make.

    Keys of dicts that are bytes become strings, and items with other keys are dropped: to hash a
    tuple of tuples of tuples could take for ever.

    Args:
      file: read up to the pickle's end.
      functions: "module name" -> what stands for it; None for what is only named, never called.
      advice: what is read, and what to do instead; the end of a refusal.
      build: (made, state), where a program gives an object its attributes.
      persistent: a persistent id's parts -> what stands for it.

    Raises:
      UserError: it names anything that isn't listed.
      Exception: of any kind, where it isn't a pickle of such things.
    """
    stack, marks, memo = [], [], {}

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
            pairs = zip(items[::2], items[1::2], strict=True)
            stack[-1].update(
                {_text(key): item for key, item in pairs if isinstance(key, str | bytes)}
            )
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            named = value if name == "GLOBAL" else " ".join(pop(2))
            if named not in functions:
                shown = named.replace(" ", ".")[:100]
                raise UserError(f"it asks for {shown}, which could run code, and only {advice}")
            stack.append(Name(named))
        elif name == "REDUCE":
            function, given = pop(2)
            if not isinstance(function, Name) or functions[function] is None:
                raise ValueError("it calls what is no function")
            stack.append(functions[function](*given))
        elif name == "BINPERSID" and persistent:
            stack.append(persistent(*pop(1)[0]))
        elif name == "BUILD":
            (state,) = pop(1)
            build(stack[-1], state)
        elif name == "STOP":
            return pop(1)[0]
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"plain data have no {name}")
    raise ValueError("it is cut off")


def _text(key: str | bytes) -> str:
    return key if isinstance(key, str) else key.decode("latin-1")
