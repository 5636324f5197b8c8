"""What several training seeds say of a number, and of the difference between two arms of a study.

The unit is a training run: n is the number of seeds. What re-sampled images say is another thing,
see `metrics/resampling.py`.
"""

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95  # of intervals; tests find at 1 - LEVEL
FEW = 20  # seeds, below which an interval is Student's
EXACT = 14  # pairs, up to which all flips of signs are counted
FLIPS = 50_000  # that are drawn of more


class Summary(NamedTuple):
    """A number over seeds.

    Attributes:
      mean: of them.
      deviation: with n - 1; NaN of one seed.
      low, high: the mean's interval at `LEVEL`; infinitely wide of one seed.
      count: of seeds.
    """

    mean: float
    deviation: float
    low: float
    high: float
    count: int


class Difference(NamedTuple):
    """Of an arm from the base, pair by pair of the same seed.

    Attributes:
      summary: of the differences.
      p: two-sided, by flips of the differences' signs, corrected for all arms that are compared;
        NaN where so few pairs could not be told from chance after that.
      needed: pairs by which a t-test would find a difference of this size four times of five
        (flips of signs may take one or two more); 0 where the seeds there are suffice.
    """

    summary: Summary
    p: float
    needed: int


def summary(values: Sequence[float], seed: int = 0) -> Summary:
    """Mean, deviation and the mean's interval: Student's t below `FEW`, from there the bootstrap's.

    Args:
      values: one for each seed, finite, at least one.
      seed: of the bootstrap (bias-corrected and accelerated, Efron 1987).
    """
    x = np.asarray(values, np.float64)
    count, mean = len(x), float(np.mean(x))
    if count < 2:
        return Summary(mean, math.nan, -math.inf, math.inf, count)
    deviation = float(np.std(x, ddof=1))
    if count < FEW or not deviation:
        half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * deviation / math.sqrt(count)
        return Summary(mean, deviation, float(mean - half), float(mean + half), count)
    found = stats.bootstrap(
        (x,), np.mean, confidence_level=LEVEL, n_resamples=4000, rng=np.random.default_rng(seed)
    )
    interval = found.confidence_interval
    return Summary(mean, deviation, float(interval.low), float(interval.high), count)


def differences(
    pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]], seed: int = 0
) -> dict[str, Difference]:
    """Arms against the base: what the same seeds give, pair by pair.

    Args:
      pairs: arm -> its scores and the base's, of the same seeds in the same order, at least one.
      seed: of the bootstrap and of drawn flips.
    """
    apart = {arm: np.subtract(*np.asarray(both, np.float64)) for arm, both in pairs.items()}
    ps = holm([sign_flips(x, seed) for x in apart.values()])
    least = holm([least_p(len(x)) for x in apart.values()])
    found = {}
    for (arm, x), p, lowest in zip(apart.items(), ps, least, strict=True):
        more = 0 if p <= alpha() else max(pairs_needed(x, len(pairs)), len(x) + 1)
        found[arm] = Difference(summary(x, seed), p if lowest <= alpha() else math.nan, more)
    return found


def alpha(tests: int = 1) -> float:
    """What the p of one of so many tests must not exceed (Bonferroni; Holm's first step)."""
    return (1 - LEVEL) / tests


def least_p(pairs: int) -> float:
    """The least p that two-sided flips of so many signs can reach: 0.25 of 3, 0.0625 of 5."""
    return min(1.0, 2.0 ** (1 - pairs))


def sign_flips(differences: Sequence[float], seed: int = 0) -> float:
    """The share of flips of signs whose mean is as far from 0 (Fisher 1935), two-sided.

    Args:
      differences: [n], of pairs. All flips are counted up to `EXACT`; of more `FLIPS` are drawn,
        beside the one that is there.
      seed: of those that are drawn.
    """
    x = np.asarray(differences, np.float64)
    far = abs(x.sum()) * (1 - 1e-9)  # the same sum in another order is as far
    if len(x) <= EXACT:
        # The first sign stays: with all signs turned the sum is as far on the other side.
        sums = np.array([x[0]])
        for value in x[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= far))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (FLIPS, len(x)))
    return float((1 + np.sum(np.abs(signs @ x) >= far)) / (1 + FLIPS))


def holm(ps: Sequence[float]) -> list[float]:
    """Each p, corrected for so many tests (Holm 1979)."""
    found, largest = list(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        found[i] = largest
    return found


def pairs_needed(differences: Sequence[float], tests: int = 1, most: int = 1000) -> int:
    """Pairs by which a t-test would find this difference with power 0.8, as one of so many tests.

    Of the differences' own mean and deviation, which few pairs know badly: "about". At least so
    many that flips of signs can reach the level at all. `most` where more would be needed.
    """
    x = np.asarray(differences, np.float64)
    flips = next(n for n in itertools.count(1) if least_p(n) <= alpha(tests))
    if len(x) < 2 or not x.any():
        return most
    deviation = float(np.std(x, ddof=1))
    if not deviation:
        return flips
    effect = abs(float(np.mean(x))) / deviation

    def power(count: int) -> float:
        critical = stats.t.ppf(1 - alpha(tests) / 2, count - 1)
        return float(stats.nct.sf(critical, count - 1, effect * math.sqrt(count)))

    return bisect.bisect_left(range(most), 0.8, lo=flips, key=power)


class Rank(NamedTuple):
    """The places that an arm may have among all, 1 the best."""

    low: int
    high: int


def ranking(found: Mapping[str, Mapping[int, float]], higher: bool) -> dict[str, Rank]:
    """Intervals of ranks at `LEVEL`, from differences seed by seed (Mogstad et al. 2024).

    An arm stands behind those that are better than it, and before those that are worse, by the
    interval of the paired difference (Student's t, Bonferroni over the other arms): what can't be
    told apart may stand in either order.

    Args:
      found: arm -> seed -> value; what isn't finite is left out.
      higher: whether a higher value is better.

    Returns:
      Of arms with a value, when there are two of them.
    """
    good = {arm: {s: v for s, v in of.items() if math.isfinite(v)} for arm, of in found.items()}
    good = {arm: of for arm, of in good.items() if of}
    if len(good) < 2:
        return {}
    level = 1 - (1 - LEVEL) / (len(good) - 1)

    def beats(arm: str, other: str) -> bool:
        both = sorted(set(good[arm]) & set(good[other]))
        if len(both) < 2:
            return False
        apart = np.array([good[arm][s] - good[other][s] for s in both]) * (1 if higher else -1)
        half = stats.t.ppf((1 + level) / 2, len(both) - 1) * np.std(apart, ddof=1)
        return bool(np.mean(apart) > half / math.sqrt(len(both)))

    return {
        arm: Rank(
            1 + sum(beats(other, arm) for other in good),
            len(good) - sum(beats(arm, other) for other in good),
        )
        for arm in good
    }


def rounded(value: float, uncertainty: float) -> str:
    """A number to two digits of its uncertainty: 12.3456 within 0.234 is 12.35."""
    if not math.isfinite(value):
        return str(value)
    if not math.isfinite(uncertainty) or uncertainty <= 0:
        return f"{value:.4g}"
    digits = 1 - math.floor(math.log10(uncertainty))
    return f"{value:.{digits}f}" if digits > 0 else f"{round(value, digits):.0f}"
