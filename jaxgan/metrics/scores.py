"""Which scores there are, what each takes, and what each is called.

A score is a pure function: of what was gathered of a real and of a fake set (`SCORES`), or of
images beside their truth (`PAIRED`). The two tables are the whole list.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxgan.metrics import kernel, neighbours, resampling
from jaxgan.metrics.diversity import diversity
from jaxgan.metrics.frechet import FEWEST, Gaussian, fit, frechet_distance, frechet_infinity
from jaxgan.metrics.inception_score import inception_score
from jaxgan.metrics.products import blocks

RESAMPLED = ("resampled_low", "resampled_high")  # ends of names: the interval of re-sampling noise


class Gathered(NamedTuple):
    """What is known of a set.

    Attributes:
      gaussian: of its features.
      features: [N, D]; None where no score asks for them, or they aren't known.
      logits: [N, classes]; None where the network has none.
      labels: int [N], what each was asked to be, or the folder that it lies in; None: unknown.
      classes: names of the labels.
    """

    gaussian: Gaussian
    features: np.ndarray | None = None
    logits: np.ndarray | None = None
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None

    def chosen(self, indices: np.ndarray) -> "Gathered":
        """A part of a set whose features are known."""
        features, logits, labels = (x if x is None else x[indices] for x in self[1:4])
        return Gathered(fit([features]), features, logits, labels, self.classes)


class Settings(NamedTuple):
    """What scores depend on besides the features.

    Attributes:
      neighbours: k of precision and recall; published with 3.
      wide_neighbours: k of density and coverage; published with 5.
      subsets, subset_size: of KID; no subsets: all samples at once.
      splits: of the Inception Score.
      seed: of random choices.
      resamples: halves of the images that are drawn for intervals of re-sampling noise; 0: none.
        Those of pairs are drawn 1,000 times in any case.
      as_many: scores of neighbours and pairs look at as many real images as there are fakes, drawn
        from all: neighbours are nearer among more images, and a run has fewer fakes than data.
    """

    neighbours: int = 3
    wide_neighbours: int = 5
    subsets: int = 100
    subset_size: int = 1000
    splits: int = 10
    seed: int = 0
    resamples: int = 0
    as_many: bool = False


class Score(NamedTuple):
    """Numbers that are computed together.

    Attributes:
      names: of them -> whether "max" or "min" is best; "" where neither is.
      takes: the parts of `Gathered` that it needs of the fake set.
      compute: (real, fake, settings) -> the numbers.
      settings: fields of `Settings` that decide them.
      least: settings -> images of either side that it takes.
    """

    names: Mapping[str, str]
    takes: tuple[str, ...]
    compute: Callable[[Gathered, Gathered, Settings], Sequence[float]]
    settings: tuple[str, ...] = ()
    least: Callable[[Settings], int] = lambda settings: 2


def _frechet(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    return (frechet_distance(real.gaussian, fake.gaussian),)


def _infinity(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    return (frechet_infinity(real.gaussian, fake.features, seed=settings.seed),)


def _kernel(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    return kernel.kernel_distance(
        real.features, fake.features, settings.subsets, settings.subset_size, settings.seed
    )


def _inception(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    # Parts of files in their order could be of one class each, and vary in nothing.
    order = np.random.default_rng(settings.seed).permutation(len(fake.logits))
    return inception_score(fake.logits[order], settings.splits)


def _accuracy(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    return (float((fake.logits.argmax(1) == fake.labels).mean()),)


def _neighbours(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    near, wide = settings.neighbours, settings.wide_neighbours
    found = neighbours.neighbourhoods(real.features, fake.features, sorted({near, wide}))
    return (*found[near][:2], *found[wide][2:])


def _diversity(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    known = real.labels is not None and fake.labels is not None
    return [diversity(side.features, side.labels if known else None) for side in (fake, real)]


def _copies(real: Gathered, fake: Gathered, settings: Settings) -> Sequence[float]:
    return neighbours.copies(real.features, fake.features)


SCORES = {
    "fid": Score({"fid": "min"}, (), _frechet),
    "fid_infinity": Score(
        {"fid_infinity": "min"}, ("features",), _infinity, ("seed",), lambda _: FEWEST
    ),
    "kid": Score(
        {"kid": "min", "kid_std": ""},
        ("features",),
        _kernel,
        ("subsets", "subset_size", "seed", "as_many"),
        lambda s: s.subset_size if s.subsets else 2,
    ),
    "is": Score(
        {"is": "max", "is_std": ""},
        ("logits",),
        _inception,
        ("splits", "seed"),
        lambda s: s.splits,
    ),
    "prdc": Score(
        dict.fromkeys(("precision", "recall", "density", "coverage"), "max"),
        ("features",),
        _neighbours,
        ("neighbours", "wide_neighbours", "as_many"),
        lambda s: max(s.neighbours, s.wide_neighbours) + 1,
    ),
    # Neither is best at an end: noise is diverse, and far from all that is real.
    "diversity": Score(
        {"diversity": "", "diversity_of_real": ""}, ("features",), _diversity, ("as_many",)
    ),
    "copies": Score({"copies": "min", "nearness": ""}, ("features",), _copies),
    "class_accuracy": Score({"class_accuracy": "max"}, ("logits", "labels"), _accuracy),
}
# What a number can't be below or above, and so its interval isn't.
LIMITS = {"fid": (0, np.inf), "is": (1, np.inf), "density": (0, np.inf), "nearness": (0, np.inf)}
LIMITS |= {"diversity": (0, np.inf), "diversity_of_real": (0, np.inf)}
LIMITS |= dict.fromkeys(("precision", "recall", "coverage", "copies", "class_accuracy"), (0, 1))
OF_STATISTICS = ("fid", "fid_infinity", "is", "class_accuracy")  # no real features are needed
PAIRED = {"psnr": "max", "ssim": "max", "l1": "min"}  # of images beside their truth


def compute(
    names: Sequence[str], real: Gathered, fake: Gathered, settings: Settings
) -> dict[str, float]:
    """Each number by its name; with `settings.resamples` also its interval of re-sampling noise.

    Args:
      names: of `SCORES`.
      real, fake: with all that these take; for intervals with features of the fakes, in any case.
      settings: those that don't count aren't looked at.

    Raises:
      ValueError: where a set is too small for a setting, or widths differ.
    """
    found = _computed(names, real, fake, settings)
    if not settings.resamples:
        return found
    counts = (0 if real.features is None else len(real.features), len(fake.features))

    def of_halves(reals: np.ndarray, fakes: np.ndarray) -> dict[str, float]:
        # Of statistics alone, without features, there are no halves.
        part = real.chosen(reals) if counts[0] else real
        least = min(len(fakes), len(reals) or len(fakes))
        smaller = settings._replace(
            subset_size=min(settings.subset_size, least), splits=min(settings.splits, least)
        )
        return _computed(names, part, fake.chosen(fakes), smaller)

    intervals = resampling.of_score(of_halves, counts, settings.resamples, settings.seed)
    shown = {}
    for name, value in found.items():
        shown[name] = value
        if not name.endswith("_std"):
            low, high = LIMITS.get(name, (-np.inf, np.inf))
            ends = zip(RESAMPLED, intervals[name], strict=True)
            shown |= {f"{name}_{e}": min(max(value + apart, low), high) for e, apart in ends}
    return shown


def _computed(
    names: Sequence[str], real: Gathered, fake: Gathered, settings: Settings
) -> dict[str, float]:
    fewer = _as_many(real, fake.gaussian.count) if settings.as_many else real
    values = _of_pairs(fewer, fake, settings) if {"kid", "prdc"} <= set(names) else {}
    found = {}
    for name in names:
        score = SCORES[name]
        beside = fewer if "as_many" in score.settings else real
        numbers = values.get(name) or score.compute(beside, fake, settings)
        found |= dict(zip(score.names, map(float, numbers), strict=True))
    return found


def _as_many(real: Gathered, count: int) -> Gathered:
    if real.features is None or len(real.features) <= count:
        return real
    at = np.sort(np.random.default_rng(0).choice(len(real.features), count, replace=False))
    labels = None if real.labels is None else real.labels[at]
    return real._replace(features=real.features[at], labels=labels)


def _of_pairs(real: Gathered, fake: Gathered, settings: Settings) -> dict[str, Sequence[float]]:
    """KID and the scores by neighbours, of one pass over all pairs, which takes the most time."""
    counts = len(real.features), len(fake.features)
    near, wide = settings.neighbours, settings.wide_neighbours
    around = neighbours.Neighbours(counts, sorted({near, wide}))
    chosen = None
    if settings.subsets:
        args = settings.subsets, settings.subset_size, settings.seed
        chosen = kernel.subsets(counts, *args)
    apart = kernel.Discrepancies(counts, chosen)
    for block in blocks({"real": real.features, "fake": fake.features}, kernel.PAIRS):
        around.add(block)
        apart.add(block)
    found, distances = around.values(), apart.values()
    return {
        "kid": (float(np.mean(distances)), float(np.std(distances))),
        "prdc": (*found[near][:2], *found[wide][2:]),
    }


def of_images(each: Mapping[str, np.ndarray], settings: Settings) -> dict[str, float]:
    """The mean over images, and its interval of re-sampling noise.

    Args:
      each: name -> what each image scores, [N].
      settings: of which `seed` counts, and `resamples` where there are any.
    """
    found = {}
    for name, values in each.items():
        interval = resampling.of_mean(values, settings.resamples or 1000, settings.seed)
        ends = zip(RESAMPLED, interval, strict=True)
        found[name] = float(np.mean(values))
        found |= {f"{name}_{end}": value for end, value in ends}
    return found


def numbers_of(name: str) -> tuple[str, ...]:
    """Those that a name of `SCORES` or `PAIRED` makes."""
    return tuple(SCORES[name].names) if name in SCORES else (name,)


def base(name: str) -> str:
    """The number that a name is of, whatever it ends with: `fid` of `fid_random_AtoB`; or ""."""
    known = [*PAIRED, *(n for score in SCORES.values() for n in score.names)]
    return max((n for n in known if name == n or name.startswith(f"{n}_")), key=len, default="")


def better(name: str) -> str:
    """Whether the "max" or the "min" of a number is best.

    "" for a number that no score here makes, or of which neither is best.
    """
    known = PAIRED | {n: b for score in SCORES.values() for n, b in score.names.items()}
    return known.get(base(name), "")
