"""Kernel distance between sets of features (Binkowski et al. 2018, KID), in float64."""

import numpy as np


def cubic(products: np.ndarray, width: int) -> np.ndarray:
    """``(x . y / D + 1)^3`` of inner products of features of `width` D numbers."""
    base = products / width + 1
    return base * base * base  # much faster than a power


def squared_mmd(real: np.ndarray, fake: np.ndarray, rows: int = 1000) -> float:
    """The unbiased squared maximum mean discrepancy; may be below 0, where both are alike.

    Args:
      real, fake: [N, D] and [M, D], at least two each.
      rows: of the matrices of inner products at a time, which bounds the memory.

    Raises:
      ValueError: for fewer than two, or features of different width.
    """
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"features of {real.shape[1]} and of {fake.shape[1]} numbers")
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"it takes at least 2 of each, not {len(real)} and {len(fake)}")
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    width = real.shape[1]
    cross = sum(cubic(real[i : i + rows] @ fake.T, width).sum() for i in range(0, len(real), rows))
    return float(_within(real, rows) + _within(fake, rows) - 2 * cross / len(real) / len(fake))


def _within(x: np.ndarray, rows: int) -> float:
    """The kernel's mean over all pairs of different ones."""
    total = 0.0
    for i in range(0, len(x), rows):
        part = x[i : i + rows]
        own = cubic(part @ part.T, x.shape[1])
        # Each pair of parts once: the kernel is symmetric.
        total += own.sum() - np.trace(own)
        total += 2 * cubic(part @ x[i + rows :].T, x.shape[1]).sum()
    return total / len(x) / (len(x) - 1)


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, subsets: int = 100, size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """KID as published: mean and deviation of `squared_mmd` over random subsets.

    Args:
      real, fake: [N, D] and [M, D].
      subsets: how many; 0: all samples at once, whose deviation is 0.
      size: samples of each in a subset.
      seed: of their choice, without repetition within a subset.

    Raises:
      ValueError: for fewer samples than a subset has.
    """
    if not subsets:
        return squared_mmd(real, fake), 0.0
    if size > min(len(real), len(fake)):
        raise ValueError(f"subsets of {size} of {len(real)} and {len(fake)} samples")
    rng = np.random.default_rng(seed)
    found = [
        squared_mmd(*(x[rng.choice(len(x), size, replace=False)] for x in (real, fake)))
        for _ in range(subsets)
    ]
    return float(np.mean(found)), float(np.std(found))
