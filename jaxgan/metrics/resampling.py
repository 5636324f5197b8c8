"""How much a score would move if other images had been drawn: re-sampling noise.

It says nothing of what another training seed would give, which moves scores by more.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """What a score is between, at `LEVEL`."""

    low: float
    high: float


def of_mean(values: np.ndarray, resamples: int = 1000, seed: int = 0) -> Interval:
    """The bootstrap's percentiles of the mean of [N] (Efron 1979)."""
    rng = np.random.default_rng(seed)
    values = np.asarray(values, np.float64)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    return _percentiles(np.array(means))


def of_score(
    score: Callable[[np.ndarray, np.ndarray], Mapping[str, float]],
    counts: tuple[int, int],
    resamples: int = 100,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentiles of what halves of the images give, about their mean.

    Drawn with repetition, as the bootstrap does it, an image would be its own nearest neighbour,
    and sets of fewer different images have another FID. Of halves without repetition a score
    spreads as much as that of whole sets does from one draw to another (Shao & Wu 1989, the
    delete-half jackknife); its bias, which grows as sets become smaller, as FID's, is left out.

    Args:
      score: (indices of real, indices of fake images) -> name -> value.
      counts: of real and of fake images; 0: none to draw from.
      resamples: halves that are drawn, at least 2.
      seed: of their choice.

    Returns:
      name -> interval about 0, to be added to the score of all images.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for _ in range(resamples):
        halves = [np.sort(rng.permutation(n)[: n // 2]) for n in counts]
        for name, value in score(*halves).items():
            found.setdefault(name, []).append(value)
    return {name: _percentiles(np.array(x) - np.mean(x)) for name, x in found.items()}


def _percentiles(values: np.ndarray) -> Interval:
    # Of those that are there: between two infinite ones, of equal images' PSNR, there is nothing.
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return Interval(float(low), float(high))
