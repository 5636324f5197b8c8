"""Scores by nearest neighbours among features: what is good, what is covered, what is a copy.

Precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al.
2020, arXiv:2002.09797. Distances are Euclidean, in float64, a block of rows at a time.
"""

from collections.abc import Iterator, Sequence
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


def neighbourhoods(
    real: np.ndarray, fake: np.ndarray, ks: Sequence[int]
) -> dict[int, Neighbourhoods]:
    """All four scores of [N, D] and [M, D], for each k.

    Raises:
      ValueError: where a set has no k-th neighbour, or their widths differ.
    """
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"features of {real.shape[1]} and of {fake.shape[1]} numbers")
    for k in ks:
        if k < 1 or k >= min(len(real), len(fake)):
            raise ValueError(
                f"of {len(real)} and {len(fake)} features none has a neighbour number {k}"
            )
    around_real, around_fake = (squared_radii(x, ks) for x in (real, fake))
    within = {k: np.zeros(len(fake)) for k in ks}
    recalled = {k: np.zeros(len(real), bool) for k in ks}
    nearest_fake = np.empty(len(real))
    for rows, block in squared_distances(real, fake):
        nearest_fake[rows] = block.min(1)
        for k in ks:
            within[k] += (block <= around_real[k][rows, None]).sum(0)
            recalled[k][rows] = (block <= around_fake[k]).any(1)
    return {
        k: Neighbourhoods(
            float((within[k] > 0).mean()),
            float(recalled[k].mean()),
            float(within[k].mean() / k),
            float((nearest_fake <= around_real[k]).mean()),
        )
        for k in ks
    }


def squared_radii(x: np.ndarray, ks: Sequence[int]) -> dict[int, np.ndarray]:
    """The squared distance of each of [N, D] to its k-th neighbour, for each k."""
    most = max(ks)
    x = np.asarray(x, np.float64)
    x = x - x.mean(0)
    squares = (x * x).sum(1)
    least = np.full((len(x), most), np.inf)  # squared distances to the nearest so far

    def keep(rows: slice, block: np.ndarray) -> None:
        block = np.concatenate([least[rows], block], 1)
        least[rows] = np.partition(block, most - 1, axis=1)[:, :most]

    parts = [slice(i, min(i + ROWS, len(x))) for i in range(0, len(x), ROWS)]
    for i, rows in enumerate(parts):
        for columns in parts[i:]:  # each pair once: a distance is that of both
            block = _squared(x[rows], squares[rows], x[columns], squares[columns])
            if rows == columns:
                np.fill_diagonal(block, np.inf)  # none is its own neighbour
            else:
                keep(columns, block.T)
            keep(rows, block)
    least.sort(1)
    return {k: least[:, k - 1] for k in ks}


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
    centre = y.mean(0)
    x, y = x - centre, y - centre
    squares = (y * y).sum(1)
    for i in range(0, len(x), ROWS):
        part = x[i : i + ROWS]
        yield slice(i, i + len(part)), _squared(part, (part * part).sum(1), y, squares)


def _squared(x, x_squares, y, y_squares) -> np.ndarray:
    """Squared distances [N, M]; of features about a common centre, since large squares' difference
    would lose digits.
    """
    block = x @ y.T
    block *= -2
    block += x_squares[:, None]
    block += y_squares
    return np.maximum(block, 0, out=block)
