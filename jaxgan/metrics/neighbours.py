"""Scores by nearest neighbours among features: what is good, what is covered, what is a copy.

Precision and recall: Kynkaanniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al.
2020, arXiv:2002.09797. Distances are Euclidean, in float64.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxgan.metrics.kernel import PAIRS
from jaxgan.metrics.products import Block, blocks


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


class Neighbours:
    """Radii within both sets and what they hold of the other, gathered from blocks of products."""

    def __init__(self, counts: Sequence[int], ks: Sequence[int]):
        """
        Args:
          counts: of real and of fake features.
          ks: which neighbours' distances are radii.

        Raises:
          ValueError: where a set has no k-th neighbour.
        """
        for k in ks:
            if k < 1 or k >= min(counts):
                raise ValueError(
                    f"of {counts[0]} and {counts[1]} features none has a neighbour number {k}"
                )
        self.ks = tuple(ks)
        reals, fakes = counts
        self.nearest = {
            name: np.full((count, max(ks)), np.inf)  # squared distances to the nearest so far
            for name, count in (("real", reals), ("fake", fakes))
        }
        self.within = {k: np.zeros(fakes) for k in ks}
        self.recalled = {k: np.zeros(reals, bool) for k in ks}
        self.nearest_fake = np.full(reals, np.inf)
        self._around: dict[str, dict[int, np.ndarray]] | None = None

    def add(self, block: Block) -> None:
        """Looks at a block; those within the sets come before those between them."""
        squared, rows, columns = block.squared(), block.rows, block.columns
        if block.diagonal:
            np.fill_diagonal(squared, np.inf)  # none is its own neighbour
        if not block.within:
            self._between(squared, rows, columns)
            return
        self._keep(block.x.name, rows, squared)
        if not block.diagonal:
            self._keep(block.x.name, columns, squared.T)

    def _keep(self, name: str, rows: slice, squared: np.ndarray) -> None:
        kept, most = self.nearest[name], max(self.ks)
        squared = np.concatenate([kept[rows], squared], 1)
        kept[rows] = np.partition(squared, most - 1, axis=1)[:, :most]

    def _between(self, squared: np.ndarray, rows: slice, columns: slice) -> None:
        self.nearest_fake[rows] = np.minimum(self.nearest_fake[rows], squared.min(1))
        if self._around is None:  # all blocks within the sets have come
            self._around = {name: self.radii(name) for name in ("real", "fake")}
        around = self._around
        for k in self.ks:
            around_real, around_fake = around["real"][k], around["fake"][k]
            self.within[k][columns] += (squared <= around_real[rows, None]).sum(0)
            self.recalled[k][rows] |= (squared <= around_fake[columns]).any(1)

    def radii(self, name: str) -> dict[int, np.ndarray]:
        """The squared distance of each feature to its k-th neighbour within its set."""
        nearest = np.sort(self.nearest[name], 1)
        return {k: nearest[:, k - 1] for k in self.ks}

    def values(self) -> dict[int, Neighbourhoods]:
        """All four scores, for each k."""
        return {
            k: Neighbourhoods(
                float((self.within[k] > 0).mean()),
                float(self.recalled[k].mean()),
                float(self.within[k].mean() / k),
                float((self.nearest_fake <= self.radii("real")[k]).mean()),
            )
            for k in self.ks
        }


def neighbourhoods(
    real: np.ndarray, fake: np.ndarray, ks: Sequence[int]
) -> dict[int, Neighbourhoods]:
    """All four scores of [N, D] and [M, D], for each k.

    Raises:
      ValueError: where a set has no k-th neighbour, or their widths differ.
    """
    found = Neighbours((len(real), len(fake)), ks)
    for block in blocks({"real": real, "fake": fake}, PAIRS):
        found.add(block)
    return found.values()


class Nearest(NamedTuple):
    """The nearest of one set to each of another: its index and the distance, [N] each."""

    index: np.ndarray
    distance: np.ndarray


def nearest(x: np.ndarray, among: np.ndarray) -> Nearest:
    """The nearest of `among` [M, D] to each of `x` [N, D]: is it a copy?"""
    index, squared = np.zeros(len(x), np.intp), np.full(len(x), np.inf)
    for block in blocks({"among": among, "x": x}, [("x", "among")]):
        found = block.squared()
        best = found.argmin(1)
        least = found[np.arange(len(best)), best]
        nearer = least < squared[block.rows]
        index[block.rows] = np.where(nearer, best + block.columns.start, index[block.rows])
        squared[block.rows] = np.minimum(squared[block.rows], least)
    return Nearest(index, np.sqrt(squared))


class Copies(NamedTuple):
    """Whether fakes repeat real images.

    Attributes:
      copies: share of fakes nearer to a real image than all but 1 % of the real ones are to their
        nearest other: about 0.01 of a generator that makes as new images as the real ones are.
      nearness: the median distance of fakes to their nearest real image, over that of real ones to
        their nearest other. 1: as new as real ones; 0: copies.
    """

    copies: float
    nearness: float


RARE = 0.01  # of real images have so near a neighbour
ROUNDING = 1e-5  # of distances of float32 features, in units of what these spread by


def copies(real: np.ndarray, fake: np.ndarray) -> Copies:
    """Of [N, D] and [M, D], at least two real ones.

    Raises:
      ValueError: where most real ones have a copy among themselves.
    """
    found = Neighbours((len(real), len(real)), (1,))
    for block in blocks({"real": real}, [("real", "real")]):
        found.add(block)
    among = np.sqrt(found.radii("real")[1])
    distance = nearest(fake, real).distance
    typical = np.median(among)
    least = ROUNDING * np.sqrt(np.var(real, 0, dtype=np.float64).sum())
    if typical <= least:
        raise ValueError("most real images are copies of each other, so none can be told")
    return Copies(
        # Where as many real ones have a twin, a copy is still what is as near as a twin.
        float((distance <= max(np.quantile(among, RARE), least)).mean()),
        float(np.median(distance) / typical),
    )
