"""Which scores of sets of features there are, what each takes, and what each is called.

A score is a pure function of what was gathered of a real and of a fake set. `SCORES` is the whole
list.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxgan.metrics.frechet import Gaussian, frechet_distance
from jaxgan.metrics.inception_score import inception_score
from jaxgan.metrics.kernel import kernel_distance
from jaxgan.metrics.neighbours import neighbourhoods


class Gathered(NamedTuple):
    """What is known of a set.

    Attributes:
      gaussian: of its features.
      features: [N, D]; None where no score asks for them, or they aren't known.
      logits: [N, classes]; None where the network has none.
    """

    gaussian: Gaussian
    features: np.ndarray | None = None
    logits: np.ndarray | None = None


class Settings(NamedTuple):
    """What scores depend on besides the features.

    Attributes:
      neighbours: k of precision and recall; published with 3.
      wide_neighbours: k of density and coverage; published with 5.
      subsets, subset_size: of KID; no subsets: all samples at once.
      splits: of the Inception Score.
      seed: of random choices.
    """

    neighbours: int = 3
    wide_neighbours: int = 5
    subsets: int = 100
    subset_size: int = 1000
    splits: int = 10
    seed: int = 0


class Score(NamedTuple):
    """Numbers that are computed together.

    Attributes:
      names: of them.
      takes: the parts of `Gathered` that it needs of the fake set.
      compute: (real, fake, settings) -> the numbers.
    """

    names: tuple[str, ...]
    takes: tuple[str, ...]
    compute: Callable[[Gathered, Gathered, Settings], Sequence[float]]


def _frechet(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    return (frechet_distance(real.gaussian, fake.gaussian),)


def _kernel(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    return kernel_distance(
        real.features, fake.features, settings.subsets, settings.subset_size, settings.seed
    )


def _inception(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    return inception_score(fake.logits, settings.splits)


def _neighbours(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    near, wide = settings.neighbours, settings.wide_neighbours
    found = neighbourhoods(real.features, fake.features, sorted({near, wide}))
    return (*found[near][:2], *found[wide][2:])


SCORES = {
    "fid": Score(("fid",), (), _frechet),
    "kid": Score(("kid", "kid_std"), ("features",), _kernel),
    "is": Score(("is", "is_std"), ("logits",), _inception),
    "prdc": Score(("precision", "recall", "density", "coverage"), ("features",), _neighbours),
}


def compute(
    names: Sequence[str], real: Gathered, fake: Gathered, settings: Settings
) -> dict[str, float]:
    """Each number by its name.

    Args:
      names: of `SCORES`.
      real, fake: with all that these take.
      settings: those that don't count aren't looked at.

    Raises:
      ValueError: where a set is too small for a setting, or widths differ.
    """
    found = {}
    for name in names:
        score = SCORES[name]
        values = map(float, score.compute(real, fake, settings))
        found |= dict(zip(score.names, values, strict=True))
    return found
