"""What samples reach of a world with known modes: modes, quality, and how evenly they are shared.

The three figures of VEEGAN's and PacGAN's tables (Srivastava et al. 2017; Lin et al. 2018):
modes reached, the share of samples of high quality, and the reverse KL over modes. All is in
float64, and every figure is a number that JSON can hold, whatever the samples are.
"""

import numpy as np

from jaxgan.data.points import World

DEVIATIONS = 3.0  # a sample this near to a mode is of high quality: 98.9 % of a Gaussian's are

# Of its fair share of all samples: with fewer a mode isn't reached. Published counts ask for one
# sample, which a generator drawing lines between two modes leaves on everything under way, and
# the more surely the more samples are drawn. A share doesn't depend on their number.
ENOUGH = 0.1

_CHUNK = 1024


def nearest(points: np.ndarray, world: World) -> tuple[np.ndarray, np.ndarray]:
    """The mode next to each point, int32 [N], and the distance to it in deviations, float64 [N].

    On a curve the modes are its sections, and the distance is that to the curve. A point that
    isn't finite is at an infinite distance.

    Args:
      points: [N, 2].
      world: of `jaxgan.data.points.WORLDS`.

    Raises:
      ValueError: points of another shape.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points are [N, 2], not {list(points.shape)}")
    places = world.curve if world.centres is None else world.centres
    finite = np.isfinite(points).all(1)
    points = np.where(finite[:, None], points, 0).astype(np.float64)
    index, distance = np.zeros(len(points), np.intp), np.full(len(points), np.inf)
    for first in range(0, len(points), _CHUNK):
        part = slice(first, first + _CHUNK)
        x, y = (points[part, i, None] - places[:, i] for i in (0, 1))
        with np.errstate(over="ignore"):  # as far away as can be
            squares = x * x + y * y
        index[part] = squares.argmin(1)
        distance[part] = np.sqrt(squares.min(1)) / world.deviation
    distance[~finite] = np.inf
    return (index // (len(places) // world.modes)).astype(np.int32), distance


def scores(points: np.ndarray, world: World) -> dict[str, float]:
    """Modes reached, share of high quality, and reverse KL of samples.

    - `high_quality`: the share of samples within `DEVIATIONS` of the nearest mode.
    - `modes`: those that have at least `ENOUGH` of their fair share N / M of all samples (and at
      least one), counting samples of high quality alone.
    - `reverse_kl`: `reverse_kl` of the samples of high quality over their nearest modes.

    The Swiss roll has no modes: its sections of equal weight (`points.SECTIONS`) take their place,
    and a sample is of high quality within as many deviations of the curve: 99.7 % of the data.

    Args:
      points: [N, 2], as many as can be had: 2,500 are usual.
      world: of `jaxgan.data.points.WORLDS`.
    """
    index, distance = nearest(points, world)
    high = distance <= DEVIATIONS
    counts = np.bincount(index[high], minlength=world.modes)
    enough = max(1.0, ENOUGH * len(points) / world.modes)
    return {
        "modes": int(np.sum(counts >= enough)),
        "high_quality": _share(high),
        "reverse_kl": reverse_kl(counts),
    }


def label_scores(labels: np.ndarray, readable: np.ndarray, classes: int) -> dict[str, float]:
    """The same for pictures that a judge has put into classes, as of Stacked MNIST.

    - `readable`: the share of pictures that can be read.
    - `modes`: classes that at least one readable picture shows. So Stacked MNIST's tables count
      their 1,000, of 26,000 samples: with few samples not even the data reach them all.
    - `reverse_kl`: `reverse_kl` of the readable pictures over the classes.

    Args:
      labels: int [N] in [0, classes).
      readable: bool [N]: whether the judge is sure.
      classes: how many there are.
    """
    counts = np.bincount(labels[readable], minlength=classes)
    return {
        "modes": int(np.sum(counts > 0)),
        "readable": _share(readable),
        "reverse_kl": reverse_kl(counts),
    }


def reverse_kl(counts: np.ndarray) -> float:
    """KL(samples || uniform) over modes in nats: sum p log(p M), p = counts / sum of counts.

    0 for even shares, log M for a single mode; also log M where nothing was counted, since that
    is the worst there is. N samples of a perfect generator show about (M - 1) / 2N, not 0.

    Args:
      counts: [M], how many samples each mode has.
    """
    worst = float(np.log(len(counts)))
    if not counts.any():
        return worst
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, worst + float(np.sum(shares * np.log(shares))))


def _share(chosen: np.ndarray) -> float:
    return float(np.mean(chosen)) if len(chosen) else 0.0
