"""The toy worlds: points in the plane whose modes are known, so that a lost one can be counted.

`ring` and `grid` are equal mixtures of Gaussians, as in Unrolled GAN (Metz et al. 2017) and VEEGAN
(Srivastava et al. 2017); `swiss_roll` is a noisy spiral, as in WGAN-GP (Gulrajani et al. 2017),
drawn to the scale of the others. `jaxgan.metrics.modes` says what samples reach of a world.

`draw` depends on the generator's state alone. NumPy keeps a stream of `Generator` the same on all
machines, but not over its own versions, and the roll's sines may differ in their last bits:
points are the same for one machine and its packages, and close to it elsewhere.
"""

from typing import NamedTuple

import numpy as np

SECTIONS = 20  # of a curve, each with an equal share of the data; they count as its modes
_PER_SECTION = 50  # points of the curve: close enough for distances to 0.01 deviations


class World(NamedTuple):
    """A distribution in the plane: places of equal weight, and noise around them.

    Attributes:
      name: as in `WORLDS`.
      centres: float64 [M, 2], the modes; None where the data lie along a curve.
      curve: float64 [K, 2], points of the curve at equal shares of the data; None without one.
      deviation: of the noise, the same in x and y.
      bounds: lowest and highest coordinate of a picture of it.
    """

    name: str
    centres: np.ndarray | None
    curve: np.ndarray | None
    deviation: float
    bounds: tuple[float, float]

    @property
    def modes(self) -> int:
        """How many there are: centres, or sections of the curve."""
        return SECTIONS if self.centres is None else len(self.centres)


def draw(world: World, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` independent points: float32 [count, 2], and the modes they belong to, int32 [count].

    A batch of any shape is one call and a reshape; 6,400 points take about 0.3 ms.
    """
    points = rng.standard_normal((count, 2), np.float32)
    points *= np.float32(world.deviation)
    if world.centres is None:
        part = rng.random(count, np.float32)
        labels = (part * np.float32(SECTIONS)).astype(np.int32)
        points += _roll(part)
    else:
        labels = rng.integers(len(world.centres), size=count, dtype=np.int32)
        points += world.centres.astype(np.float32).take(labels, 0)
    return points, labels


def _ring(modes: int = 8, radius: float = 1.0) -> World:
    angles = 2 * np.pi * np.arange(modes) / modes
    centres = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    return World("ring", _fixed(centres), None, 0.05, (-1.5, 1.5))


def _grid(side: int = 5, spacing: float = 1.0) -> World:
    at = spacing * (np.arange(side) - (side - 1) / 2)
    centres = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
    return World("grid", _fixed(centres), None, 0.05, (-2.75, 2.75))


def _swiss_roll() -> World:
    middles = (np.arange(SECTIONS * _PER_SECTION) + 0.5) / (SECTIONS * _PER_SECTION)
    return World("swiss_roll", None, _fixed(_roll(middles)), 0.05, (-1.75, 1.75))


def _roll(part: np.ndarray) -> np.ndarray:
    """[N, 2]: the spiral at parts in [0, 1] of its turn and a half; radius 0.5 to 1.5."""
    angle = part * part.dtype.type(3 * np.pi) + part.dtype.type(1.5 * np.pi)
    radius = part + part.dtype.type(0.5)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _fixed(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


WORLDS = {world.name: world for world in (_ring(), _grid(), _swiss_roll())}
