"""Scores by nearest neighbours among features: what is good, what is covered, what is a copy.

Precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al.
2020, arXiv:2002.09797. Distances are Euclidean, in float64, a block of rows at a time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

ROWS = 1000


class Neighbourhoods(NamedTuple):
    """How two sets of features lie among each other.

    Attributes:
      precision: share of fakes within the radius of any real one.
      recall: share of reals within the radius of any fake one.
      density: real radii that a fake lies within, in the mean, over k. Can be above 1.
      coverage: share of reals within whose radius any fake lies.

    A radius is the distance to the k-th neighbour of the same set, itself not counted.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(real: np.ndarray, fake: np.ndarray, k: int) -> Neighbourhoods:
    """All four scores of [N, D] and [M, D].

    Raises:
      ValueError: where a set has no k-th neighbour, or their widths differ.
    """
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"features of {real.shape[1]} and of {fake.shape[1]} numbers")
    if k < 1 or k >= min(len(real), len(fake)):
        raise ValueError(f"of {len(real)} and {len(fake)} features none has a neighbour number {k}")
    around_real, around_fake = (squared_radii(x, k) for x in (real, fake))
    within, nearest_fake = np.zeros(len(fake)), np.full(len(real), np.inf)
    recalled = np.zeros(len(real), bool)
    for rows, block in squared_distances(real, fake):
        within += (block <= around_real[rows, None]).sum(0)
        recalled[rows] = (block <= around_fake).any(1)
        nearest_fake[rows] = block.min(1)
    return Neighbourhoods(
        float((within > 0).mean()),
        float(recalled.mean()),
        float(within.mean() / k),
        float((nearest_fake <= around_real).mean()),
    )


def squared_radii(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of each to its k-th neighbour, [N]."""
    radii = np.empty(len(x))
    for rows, block in squared_distances(x, x):
        block[np.arange(len(block)), np.arange(len(x))[rows]] = -1  # itself, before all others
        radii[rows] = np.partition(block, k, axis=1)[:, k]
    return radii


def nearest(x: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index and the distance of the nearest of `among` to each of `x`: is it a copy?"""
    index, distance = np.empty(len(x), np.intp), np.empty(len(x))
    for rows, block in squared_distances(x, among):
        index[rows] = block.argmin(1)
        distance[rows] = np.sqrt(block.min(1))
    return index, distance


def squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """A slice of `x` and its squared distances to all of `y`, [rows, M], one after another."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    # About a common centre, since the difference of large squares would lose digits.
    centre = y.mean(0)
    x, y = x - centre, y - centre
    squares = (y * y).sum(1)
    for i in range(0, len(x), ROWS):
        part = x[i : i + ROWS]
        block = part @ y.T
        block *= -2
        block += (part * part).sum(1)[:, None]
        block += squares
        yield slice(i, i + len(part)), np.maximum(block, 0, out=block)
