"""A short name for what is in a data set, by which two runs' data can be compared."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

LOOKED_AT = 16  # images of each source


def fingerprint(data: Any) -> str:
    """The SHA-256 of a data set's sizes, file names, labels and some of its images.

    Of a source `LOOKED_AT` images are read, spread evenly: data that differ in others only, under
    the same names, have the same fingerprint.

    Args:
      data: a named tuple, as a task's data sets are; `notes` and functions in it don't count.
    """
    digest = hashlib.sha256()
    for name, part in data._asdict().items():
        if name != "notes":
            digest.update(f"\0{name}\0".encode())
            _add(digest, part)
    return digest.hexdigest()


def _add(digest: Any, part: Any) -> None:
    if isinstance(part, np.ndarray | np.generic):
        digest.update(f"{part.dtype}{part.shape}".encode() + part.tobytes())
    elif isinstance(part, Mapping):
        for name, value in part.items():
            digest.update(f"\0{name}\0".encode())
            _add(digest, value)
    elif isinstance(part, tuple | list):
        digest.update(f"{len(part)}".encode())
        for value in part:
            _add(digest, value)
    elif part is None or isinstance(part, str | int | float):
        digest.update(f"{part!r}\0".encode())
    elif hasattr(part, "__getitem__"):
        digest.update(f"{len(part)}\0{list(getattr(part, 'names', ()))}".encode())
        for index in np.unique(np.linspace(0, len(part) - 1, LOOKED_AT).astype(int)):
            for leaf in jax.tree.leaves(part[int(index)]):
                _add(digest, np.asarray(leaf))
