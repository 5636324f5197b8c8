"""Many rows through a compiled function, some at a time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def in_parts(function: Callable[..., Any], size: int, *arrays: np.ndarray) -> Any:
    """`function(*arrays)`, in parts of `size` rows: little memory, and one shape to compile.

    Args:
      function: of arrays of `size` rows, to a tree of such; what it makes of a row depends on that
        row alone, since the last part is filled up with its last row.
      size: rows of a part.
      arrays: [N, ...], N at least 1.

    Returns:
      The function's tree, of arrays of N rows.
    """
    parts = []
    for start in range(0, len(arrays[0]), size):
        part = [array[start : start + size] for array in arrays]
        count = len(part[0])
        whole = [np.concatenate([x, np.repeat(x[-1:], size - count, 0)]) for x in part]
        parts.append(jax.tree.map(lambda y, n=count: np.asarray(y)[:n], function(*whole)))
    return jax.tree.map(lambda *ys: np.concatenate(ys), *parts)
