"""Fakes beside the real images that are nearest to them: does a generator copy?"""

import itertools
from collections.abc import Iterable

import numpy as np

from jaxgan import pictures
from jaxgan.files import expanded, write_atomically
from jaxgan.metrics import neighbours
from jaxgan.metrics.scores import Gathered

PAIRS, COLUMNS = 24, 4  # that are shown, and side by side


def show(
    path: str,
    fakes: Iterable[np.ndarray],
    reals: Iterable[np.ndarray],
    real: Gathered,
    fake: Gathered,
) -> None:
    """A picture of those fakes that are nearest to real images, each beside its nearest.

    Args:
      path: of the file.
      fakes, reals: the images, in the order of their features.
      real, fake: with features.
    """
    index, distance = neighbours.nearest(fake.features, real.features)
    first = np.argsort(distance, kind="stable")[:PAIRS]
    made = _picked(fakes, set(first.tolist()))
    nearest = _picked(reals, set(index[first].tolist()))
    shown = [image for i in first.tolist() for image in (made[i], nearest[int(index[i])])]
    rows = [shown[i : i + 2 * COLUMNS] for i in range(0, len(shown), 2 * COLUMNS)]
    rows = [row + [None] * (2 * COLUMNS - len(row)) for row in rows]
    labels = ["made", "nearest"] * COLUMNS
    write_atomically(expanded(path), pictures.png(pictures.grid(rows, labels)))


def _picked(images: Iterable[np.ndarray], places: set[int]) -> dict[int, np.ndarray]:
    last = max(places)
    begun = itertools.islice(images, last + 1)
    return {i: image for i, image in enumerate(begun) if i in places}
