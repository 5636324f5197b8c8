"""Kernel distance between sets of features (Binkowski et al. 2018, KID), in float64."""

from collections.abc import Sequence

import numpy as np

from jaxgan.metrics.products import Block, blocks

PAIRS = (("real", "real"), ("fake", "fake"), ("real", "fake"))


def cubic(products: np.ndarray, width: int) -> np.ndarray:
    """``(x . y / D + 1)^3`` of inner products of features of `width` D numbers."""
    base = products / width + 1
    return base * base * base  # much faster than a power


class Discrepancies:
    """Unbiased squared maximum mean discrepancies of subsets, gathered from blocks of products.

    Every pair of features is met once, in however many subsets it is.
    """

    def __init__(self, counts: Sequence[int], chosen: Sequence[Sequence[np.ndarray]] | None = None):
        """
        Args:
          counts: of real and of fake features.
          chosen: for each subset the indices of its real and of its fake ones; None: one subset, of
            all.
        """
        self.members = {}
        for side, (name, count) in enumerate(zip(("real", "fake"), counts, strict=True)):
            members = np.ones((1, count)) if chosen is None else np.zeros((len(chosen), count))
            for row, subset in enumerate(chosen or ()):
                members[row, subset[side]] = 1
            self.members[name] = members
        self.sums = dict.fromkeys(PAIRS, 0.0)

    def add(self, block: Block) -> None:
        """Adds the kernels of a block to the subsets that they belong to."""
        kernels = cubic(block.inner(), block.x.apart.shape[1])
        if block.diagonal:
            np.fill_diagonal(kernels, 0)  # of different ones only
        rows = self.members[block.x.name][:, block.rows]
        columns = self.members[block.y.name][:, block.columns]
        sums = ((rows @ kernels) * columns).sum(1)
        twice = block.within and not block.diagonal  # the transposed block doesn't come
        self.sums[block.x.name, block.y.name] += sums * (2 if twice else 1)

    def values(self) -> np.ndarray:
        """One of each subset."""
        n, m = (self.members[name].sum(1) for name in ("real", "fake"))
        within = self.sums["real", "real"] / (n * (n - 1))
        within = within + self.sums["fake", "fake"] / (m * (m - 1))
        return within - 2 * self.sums["real", "fake"] / (n * m)


def squared_mmd(real: np.ndarray, fake: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy; may be below 0, where both are alike.

    Args:
      real, fake: [N, D] and [M, D], at least two each.

    Raises:
      ValueError: for fewer than two, or features of different width.
    """
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"it takes at least 2 of each, not {len(real)} and {len(fake)}")
    found = Discrepancies((len(real), len(fake)))
    for block in blocks({"real": real, "fake": fake}, PAIRS):
        found.add(block)
    return float(found.values()[0])


def subsets(counts: Sequence[int], number: int, size: int, seed: int) -> list[list[np.ndarray]]:
    """Indices of real and of fake features, without repetition within a subset.

    Raises:
      ValueError: for fewer features than a subset has.
    """
    if size > min(counts):
        raise ValueError(f"subsets of {size} of {counts[0]} and {counts[1]} samples")
    rng = np.random.default_rng(seed)
    return [[rng.choice(n, size, replace=False) for n in counts] for _ in range(number)]


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, number: int = 100, size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """KID as published: mean and deviation of `squared_mmd` over random subsets.

    Args:
      real, fake: [N, D] and [M, D].
      number: of subsets; 0: all samples at once, whose deviation is 0.
      size: samples of each in a subset.
      seed: of their choice.

    Raises:
      ValueError: for fewer samples than a subset has.
    """
    if not number:
        return squared_mmd(real, fake), 0.0
    found = [
        squared_mmd(real[r], fake[f])
        for r, f in subsets((len(real), len(fake)), number, size, seed)
    ]
    return float(np.mean(found)), float(np.std(found))
