"""Many rows through a compiled function, some at a time."""

import collections
import math
from collections.abc import Callable, Iterator, Sequence
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


# At a time on a device: few enough for any memory, and always as many, since another number would
# be another program, with roundings of its own.
AT_A_TIME, PIXELS = 64, 2**20


def in_chunks(
    made: Callable[..., jax.Array],
    held: Sequence[Any],
    columns: Callable[[np.ndarray], tuple[np.ndarray, ...]],
    count: int,
    shape: tuple[int, ...],
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[np.ndarray]:
    """`made(*held, *columns(indices))` of indices below `count`, one result at a time.

    Each device runs the program of one device on chunks of a fixed size. The last chunk is whole,
    too: what an index becomes can't depend on how many there are.

    Args:
      made: compiled.
      held: what stays the same, put on each device once.
      columns: int32 indices [n] -> arrays of n rows.
      count: how many.
      shape: of one result.
      devices: to make them on; without it all that this process has.
    """
    size = max(1, min(AT_A_TIME, PIXELS // math.prod(shape[:2])))
    starts = range(0, count, size)
    chunks = (columns(np.arange(i, i + size, dtype=np.int32)) for i in starts)
    places = list(devices or jax.local_devices())[: len(starts)]
    for start, images in zip(starts, in_turn(made, held, chunks, places), strict=True):
        yield from np.asarray(images, np.float32)[: count - start]


def in_turn(
    run: Callable[..., Any],
    held: Sequence[Any],
    chunks: Iterator[tuple[np.ndarray, ...]],
    places: Sequence[jax.Device],
) -> Iterator[Any]:
    """`run(*held, *chunk)` of each chunk, the devices taking turns; one more than these is ahead.

    Args:
      run: compiled.
      held: what stays the same, put on each device once.
      chunks: arrays, of the same shapes each time.
      places: at least one, if there are chunks.
    """
    there = [jax.device_put(tuple(held), place) for place in places]
    ahead: collections.deque[Any] = collections.deque()
    for i, chunk in enumerate(chunks):
        here = i % len(places)
        ahead.append(run(*there[here], *jax.device_put(chunk, places[here])))
        if len(ahead) > len(places):
            yield ahead.popleft()
    yield from ahead
