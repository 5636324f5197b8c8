"""Scores as they are asked for: names and features to numbers, for commands and for training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from jaxgan import gathering
from jaxgan.commandline import nearest
from jaxgan.comparisons import Comparison, Fakes
from jaxgan.data.image_sets import ImageSet
from jaxgan.errors import UserError
from jaxgan.files import digest
from jaxgan.metrics import networks, scores
from jaxgan.metrics.networks import Network
from jaxgan.metrics.scores import Gathered, Settings
from jaxgan.tasks import Task
from jaxgan.tasks.task import Bench

KNOWN = (*scores.SCORES, *scores.PAIRED)


class Wanted(NamedTuple):
    """Which scores, and how they are made.

    Attributes:
      sets: names of `scores.SCORES`.
      paired: names of `scores.PAIRED`.
      settings: of all of them.
      net: what makes features; None where no score needs them, or they are given.
      suffix: what names of numbers end with, for the features that they are of.
    """

    sets: tuple[str, ...]
    paired: tuple[str, ...]
    settings: Settings
    net: Network | None
    suffix: str

    @property
    def takes(self) -> set[str]:
        """The parts of `Gathered` that networks are to give."""
        parts = {part for name in self.sets for part in scores.SCORES[name].takes} - {"labels"}
        return parts | ({"features"} if self.settings.resamples else set())


class Real(NamedTuple):
    """The real side of a comparison.

    Attributes:
      gathered: what scores take of it.
      shape: of one image; None of statistics, which have none.
      name: what the user calls it.
      record: gives what a score's line says of it, with a hash.
      images: that it was made of; None of statistics and given features.
    """

    gathered: Gathered
    shape: tuple[int, ...] | None
    name: str
    record: Callable[[], dict[str, Any]]
    images: ImageSet | None = None


def chosen(flag: str, text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names with commas between them: those of sets, and those of pairs.

    Args:
      flag: what the user calls it.
      text: as `fid,prdc`.

    Raises:
      UserError: for none, or one that there isn't.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in KNOWN:
            raise UserError(f"{flag}={text}: there is no {name!r}; " + nearest(name, list(KNOWN)))
    if not names:
        raise UserError(f"{flag} names none; it takes {', '.join(KNOWN)}")
    sets = tuple(name for name in names if name in scores.SCORES)
    return sets, tuple(name for name in names if name in scores.PAIRED)


def wanted(
    flag: str, text: str, settings: Settings, features: str, weights: str, resize: str
) -> Wanted:
    """Scores by name, of features by name.

    Args:
      flag, text: as `chosen` takes them.
      settings: of the scores.
      features, weights, resize: as `networks.network` takes them.

    Raises:
      UserError: for what there isn't.
    """
    sets, paired = chosen(flag, text)
    net = networks.network(features, weights, resize) if sets else None
    return Wanted(sets, paired, settings, net, net.suffix if net else "")


def numbers(found: Wanted, suffixes: Sequence[str]) -> list[str]:
    """Names of all numbers but intervals that a run gives whose comparisons end with `suffixes`."""
    made = [f"{n}{found.suffix}" for name in found.sets for n in scores.SCORES[name].names]
    return [f"{name}{suffix}" for suffix in suffixes for name in (*made, *found.paired)]


def real_side(found: Wanted, images: ImageSet, num: int, cache: bool) -> Real:
    """Images through the network, or from the user's cache.

    Args:
      found: of which the network counts.
      images: real ones.
      num: the first so many; 0: all.
      cache: whether features are kept in the user's cache folder, and found there.
    """
    takes = found.takes & {"features"}
    gathered, shape = gathering.features("real", found.net, images, num, takes, cache)

    def record() -> dict[str, Any]:
        size, count = images.size, gathered.gaussian.count
        return {"name": images.name, "digest": images.digest(), "size": size, "count": count}

    return Real(gathered, shape, images.name, record, images)


def compared(
    found: Wanted,
    real: Real,
    fake: Gathered,
    shape: Sequence[int] | None,
    suffix: str = "",
) -> dict[str, float]:
    """Each number by its name, which ends with what the features are, and `suffix`.

    Args:
      found: of which the scores of sets count.
      real, fake: both sides.
      shape: of one fake image; None where that isn't known.
      suffix: of the comparison.

    Raises:
      UserError: for images of different sizes, features of different width, or sets that are too
        small for a score.
    """
    if real.shape and shape and tuple(real.shape[:2]) != tuple(shape[:2]):
        (a, b), (c, d) = real.shape[:2], shape[:2]
        fits = f"--size={c} fits the real ones" if found.settings.as_many else ""
        raise UserError(
            f"real images are {b} x {a} and fake ones {d} x {c}; "
            + (fits or f"--size={min(a, b, c, d)} fits all to one size")
        )
    _require_width(real, fake)
    _require_enough(found, real.gathered, fake)
    if "class_accuracy" in found.sets:
        fake = fake._replace(labels=_of_classifier(found.net, fake))
    try:
        values = scores.compute(found.sets, real.gathered, fake, found.settings)
    except ValueError as error:
        halves = " (of halves of the images, for intervals)" if found.settings.resamples else ""
        raise UserError(f"{', '.join(found.sets)}{halves}: {error}") from error
    ends = scores.RESAMPLED
    shown = {}
    for name, value in values.items():
        end = next((f"_{end}" for end in ends if name.endswith(end)), "")
        shown[f"{name.removesuffix(end)}{found.suffix}{suffix}{end}"] = value
    return shown


def chosen_pairs(found: Wanted, each: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of what images score beside their truth, that which is asked for.

    Args:
      found: of which the scores of pairs count.
      each: name -> [N], what a task gives.

    Raises:
      UserError: where it gives none of a name.
    """
    chosen_ = {}
    for name in found.paired:
        parts = {n: values for n, values in each.items() if n == name or n.startswith(f"{name}_")}
        if not parts:
            there = ", ".join(each) or "none"
            raise UserError(f"there is no {name} here; of pairs there is {there}")
        chosen_ |= parts
    return chosen_


MOST = 50_000  # samples of a run, unless more are asked for
# KID is of all samples at once: it is cheaper, and fits any number.
IN_TRAINING = Settings(subsets=0, as_many=True)


def in_training(config: ConfigDict) -> Wanted | None:
    """The scores of sets that a run's config asks for besides the task's own; None: none.

    Raises:
      UserError: for what there isn't, or scores of pairs, which the task has anyway.
    """
    c = config.evaluate
    if not c.get("metrics"):  # runs of before the field was don't have it
        return None
    if c.features.endswith(".npz"):
        raise UserError(f"evaluate.features={c.features} are given features; a run makes its own")
    try:
        args = c.metrics, IN_TRAINING, c.features, c.weights, c.resize
        found = wanted("evaluate.metrics", *args)
    except UserError as error:  # in the words of the command that these flags are of
        text = str(error)
        for flag in ("features", "weights", "resize"):
            text = text.replace(f"--{flag}", f"--config.evaluate.{flag}")
        raise UserError(text) from None
    if found.paired:
        raise UserError(
            f"evaluate.metrics={c.metrics}: {found.paired[0]} is logged anyway where there is a "
            "truth; leave it out"
        )
    return found


def require_sense(config: ConfigDict, task: Task, found: Wanted | None, classes: int) -> None:
    """Checks `evaluate.metrics` and `checkpoint.best` before any data are read.

    Args:
      config: of the run.
      task: of its game.
      found: of `in_training`.
      classes: of its game; 0: none can be asked for.

    Raises:
      UserError: for scores that this run doesn't make.
    """
    best = config.checkpoint.best
    for name in found.sets if found else ():
        _require_possible(name, found, config.evaluate.num, classes)
    if found and not task.sides:
        raise UserError(
            f"evaluate.metrics={config.evaluate.metrics} are of images, and this run makes none "
            "that are compared as sets; leave it out: its own scores are logged anyway"
        )
    made = numbers(found, task.sides) if found else []
    if best in made:
        if not scores.better(best):
            raise UserError(f"checkpoint.best={best}: neither the highest nor the lowest is best")
        return
    try:
        task.best_mode(best)
    except UserError as error:
        of = next((n for n, s in scores.SCORES.items() if scores.base(best) in s.names), "")
        if not of:
            raise error
        there = f"; its numbers are {', '.join(made)}" if made else f", such as {of}"
        raise UserError(f"{error}. Scores of sets are made by evaluate.metrics{there}") from None


def _require_possible(name: str, found: Wanted, num: int, classes: int) -> None:
    """
    Raises:
      UserError: for a score that couldn't be made when it is due.
    """
    if "logits" in scores.SCORES[name].takes and found.net.logits is False:
        raise UserError(
            f"evaluate.metrics: {name} takes a classifier; try "
            "--config.evaluate.features=classifier:RUN"
        )
    if name == "class_accuracy" and not classes:
        raise UserError("evaluate.metrics: class_accuracy is of classes, and this run has none")
    least = scores.SCORES[name].least(found.settings)
    if 0 < num < least:
        raise UserError(
            f"evaluate.num={num} is too few for evaluate.metrics={name}, which takes {least}"
        )


def require_there(config: ConfigDict, task: Task, data: Any, found: Wanted | None) -> None:
    """Checks that the data can give `checkpoint.best`.

    Args:
      config, task, found: as `require_sense` takes them.
      data: of the run.

    Raises:
      UserError: where they can't.
    """
    if not (found and config.checkpoint.best in numbers(found, task.sides)):
        task.require_score(config.checkpoint.best, data)


def of_weights(
    found: Wanted,
    bench: Bench,
    weights: Any,
    seed: int,
    num: int,
    reals: dict[str, Real],
    cache: bool = True,
    look: Callable[[Comparison, Fakes, Real, Gathered], None] | None = None,
) -> tuple[dict[str, float], dict[str, Any], dict[str, int]]:
    """What a run's weights score beside its data.

    Args:
      found: of which the scores of sets count.
      bench: of a task that compares sets.
      weights: net -> variables.
      seed: of the noise.
      num: samples; 0: as many as there are real images, at most `MOST`.
      reals: the real side of each comparison by its suffix; grows.
      cache: as `real_side` takes it.
      look: is shown both sides of each comparison.

    Returns:
      The numbers; what is recorded of the real sides; and how many fakes there were.
    """
    values, records, counts = {}, {}, {}
    for one in bench.compare(weights, seed):
        if one.suffix not in reals:
            reals[one.suffix] = real_side(found, one.real, 0, cache)
        real = reals[one.suffix]
        fakes = one.fakes(num or min(real.gathered.gaussian.count or MOST, MOST))
        fake, shape = gathering.gather("fake", found.net, fakes, found.takes)
        values |= compared(found, real, fake, shape, one.suffix)
        if look:
            look(one, fakes, real, fake)
        records[one.suffix.lstrip("_")] = real.record()
        counts[f"count{one.suffix}"] = fakes.files
    return values, records.get("", records), counts


def of_file(path: str, gathered: Gathered) -> Real:
    """A real side that came from a file of statistics or features."""

    def record() -> dict[str, Any]:
        return {"name": path, "digest": digest(path)[:16], "count": gathered.gaussian.count}

    return Real(gathered, None, path, record)


def how(found: Wanted | None, real: Mapping[str, Any], fake: Mapping[str, Any]) -> dict[str, Any]:
    """What a line of scores.jsonl says of its numbers, besides versions, device and code.

    Args:
      found: what was asked for; None: what the task scores by itself.
      real: of `Real.record`, or several of them by name; empty where no set was compared.
      fake: of the other side: count, seed, weights and the like.
    """
    made: dict[str, Any] = {"fake": dict(fake)}
    if found:
        made["metrics"] = [*found.sets, *found.paired]
        made["settings"] = found.settings._asdict()
    if found and found.net:
        made["network"] = dict(found.net.record)
    if real:
        made["real"] = dict(real)
    return made


def _require_width(real: Real, fake: Gathered) -> None:
    widths = [side.gaussian.mean.size for side in (real.gathered, fake)]
    if widths[0] != widths[1]:
        raise UserError(
            f"the real side, {real.name}, is of features of {widths[0]} numbers, and the "
            f"fake one of {widths[1]}"
        )


def _of_classifier(net: Network | None, fake: Gathered) -> np.ndarray:
    """The labels of the classes that were asked for, among a classifier's.

    Raises:
      UserError: for a network without named classes, or classes that it doesn't know.
    """
    if net is None or net.classes is None:
        raise UserError("class_accuracy takes a classifier: --features=classifier:RUN")
    known = net.classes()
    unknown = [name for name in fake.classes or () if name not in known]
    if unknown:
        raise UserError(
            f"class_accuracy: the classifier knows no class {unknown[0]!r}; it knows "
            f"{', '.join(known[:20])}"
        )
    return np.array([known.index(name) for name in fake.classes])[fake.labels]


def _require_enough(found: Wanted, real: Gathered, fake: Gathered) -> None:
    """
    Raises:
      UserError: for settings that need larger sets.
    """
    settings, names = found.settings, found.sets
    counts = [side.gaussian.count for side in (real, fake)]
    if real.features is not None:
        counts[0] = len(real.features)
    least = min(count for count in counts if count)  # of statistics it may be unknown
    if "prdc" in names:
        for name in ("neighbours", "wide_neighbours"):
            if getattr(settings, name) >= least:
                raise UserError(
                    f"of {least} images none has a neighbour number {getattr(settings, name)}; "
                    f"prdc takes more images, or a smaller --{name}"
                )
    if "kid" in names and settings.subsets and settings.subset_size > least:
        raise UserError(
            f"kid takes subsets of {settings.subset_size} images, and there are {least}; try "
            f"--subset_size={least}, or --subsets=0 for all at once"
        )
    if "is" in names and settings.splits > fake.gaussian.count:
        raise UserError(
            f"{fake.gaussian.count} images can't be split into {settings.splits}; try --splits=1"
        )
    for name in ("is", "class_accuracy"):
        if name in names and fake.logits is None:
            raise UserError(f"{name} needs logits: an array `fake_logits`")
    if "class_accuracy" in names and fake.labels is None:
        raise UserError(
            "class_accuracy needs the classes that were asked for: of a run with classes, or of a "
            "folder with a sub-folder for each"
        )
    if settings.resamples and least < 4:
        raise UserError(f"{least} images have no halves to draw; leave out --resamples")
