"""Frechet distance between Gaussians that are fitted to features (Heusel et al. 2017, FID).

All in float64. Moments are gathered chunk by chunk and joined by deviations from each chunk's own
mean (Chan, Golub, LeVeque 1983), so that any chunking gives the same.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import linalg

FEWEST = 20  # fakes that FID is extrapolated from


class Gaussian(NamedTuple):
    """What is kept of a set of features.

    Attributes:
      mean: float64 [D].
      covariance: float64 [D, D], divided by `count` - 1.
      count: features that it was made of; 0 where that isn't known.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int


class Moments(NamedTuple):
    """Running sums: `scatter` [D, D] is the sum of products of deviations from `mean` [D]."""

    mean: np.ndarray
    scatter: np.ndarray
    count: int


def no_moments(width: int) -> Moments:
    """Those of no features of `width` numbers."""
    return Moments(np.zeros(width), np.zeros((width, width)), 0)


def joined(moments: Moments, features: np.ndarray) -> Moments:
    """The moments with `features` [N, D] besides."""
    features = np.asarray(features, np.float64)
    count = moments.count + len(features)
    if not len(features):
        return moments
    mean = features.mean(0)
    deviations = features - mean
    apart = mean - moments.mean
    return Moments(
        moments.mean + apart * (len(features) / count),
        moments.scatter
        + deviations.T @ deviations
        + np.outer(apart, apart) * (moments.count * len(features) / count),
        count,
    )


def gaussian(moments: Moments) -> Gaussian:
    """The Gaussian of at least two features.

    Raises:
      ValueError: for fewer.
    """
    if moments.count < 2:
        raise ValueError(f"a covariance takes at least 2 features, not {moments.count}")
    return Gaussian(moments.mean, moments.scatter / (moments.count - 1), moments.count)


def fit(chunks: Iterable[np.ndarray]) -> Gaussian:
    """The Gaussian of features that come in chunks [N, D]."""
    moments = None
    for chunk in chunks:
        moments = joined(moments or no_moments(chunk.shape[1]), chunk)
    if moments is None:
        raise ValueError("a covariance takes at least 2 features, not 0")
    return gaussian(moments)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``, never below 0.

    With factors ``C = F F^T`` the trace of the root is the sum of the singular values of
    ``F1^T F2``. They come with an absolute error of the largest's rounding, where the eigenvalues
    of a product of covariances would lose half of the digits to their square roots: with fewer
    features than dimensions nearly all of them are 0, and the general `sqrtm` of such a product is
    slow, complex, or NaN.

    Raises:
      ValueError: for Gaussians of different width.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(f"features of {first.mean.size} and of {second.mean.size} numbers")
    apart = first.mean - second.mean
    root = linalg.svdvals(factor(first.covariance).T @ factor(second.covariance)).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return max(0.0, float(apart @ apart + traces - 2 * root))


def factor(covariance: np.ndarray) -> np.ndarray:
    """``F`` [D, rank] with ``F F^T`` the covariance: Cholesky's, with pivots, up to the rank."""
    lower, pivots, rank, info = linalg.lapack.dpstrf(covariance, lower=1)
    if info < 0:
        raise ValueError("the covariance holds values that aren't numbers")
    rows = np.empty_like(lower)
    rows[pivots - 1] = np.tril(lower)
    return rows[:, : max(rank, 1)]


def frechet_infinity(real: Gaussian, fake: np.ndarray, points: int = 15, seed: int = 0) -> float:
    """The Frechet distance of infinitely many fakes, extrapolated; may be below 0.

    FID of N fakes is too large by about a constant over N. A line through the FID of `points`
    random subsets, of N / 10 to all N fakes, over 1 / N meets 0 there (Chong & Forsyth 2020,
    arXiv:1911.07023, which draws 15 subsets of 5,000 to 50,000). `real` keeps its own bias.

    Args:
      real: the Gaussian of the real features.
      fake: features [N, D].
      points: subsets, at least 2.
      seed: of their choice.

    Raises:
      ValueError: for fewer than `FEWEST` fakes.
    """
    if len(fake) < FEWEST:
        raise ValueError(
            f"FID of infinitely many can't be told from {len(fake)}; it takes {FEWEST}"
        )
    rng = np.random.default_rng(seed)
    counts = np.linspace(len(fake) // 10, len(fake), points).round().astype(int)
    found = [
        frechet_distance(real, fit([fake[rng.choice(len(fake), count, replace=False)]]))
        for count in counts
    ]
    return float(np.polyfit(1 / counts, found, 1)[1])
