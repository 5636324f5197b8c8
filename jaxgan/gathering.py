"""Sets of images to what scores take of them: through a network, in chunks, on all devices."""

import collections
import hashlib
import io
import itertools
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from tqdm import tqdm

from jaxgan import machine, sharding, workdir
from jaxgan.data.image_sets import ImageSet, Reading
from jaxgan.data.sources import listed
from jaxgan.errors import UserError
from jaxgan.files import write_atomically
from jaxgan.metrics import frechet
from jaxgan.metrics.networks import Network
from jaxgan.metrics.scores import Gathered
from jaxgan.parts import in_turn

ROWS = 1024  # of features that are joined to the moments at a time


class Images(Protocol):
    """Images of one size, one after another; `files` of them, if all can be read.

    Their `labels` are known when all were given; None where they have none.
    """

    name: str
    files: int
    labels: np.ndarray | None
    classes: tuple[str, ...] | None

    def __iter__(self) -> Iterator[np.ndarray]: ...


def features(
    which: str, net: Network, images: ImageSet, num: int, takes: Collection[str], cache: bool
) -> tuple[Gathered, tuple[int, ...]]:
    """What there is of a set of images, and the shape of one of them.

    Args:
      which: "real" or "fake", for the bar of progress.
      net: what makes features.
      images: of one size.
      num: the first so many; 0: all.
      takes: the parts of `Gathered` that are wanted besides the Gaussian.
      cache: whether what is made is kept in the user's cache folder, and found there; never what a
        function of one's own makes.

    Raises:
      UserError: images of different sizes, fewer than two, or a network without logits.
    """
    made_of, file = {}, None
    if cache and net.compiled:  # what a function of one's own depends on isn't known
        made_of = {
            "digest": images.digest(),
            "num": num,
            "size": images.size,
            "code": workdir.code_hash(),
            "jax": jax.__version__,
            "platform": jax.default_backend(),
            **net.record,
        }
        file = _cache_file(made_of)
        if kept := _cached(file, takes):
            gathered, shape = kept
            labels = None if images.labels is None else images.labels[: num or None]
            return gathered._replace(labels=labels, classes=images.classes), shape
    reading = Reading(images, num)
    gathered, shape = gather(which, net, reading, takes)
    if reading.broken:
        print(
            f"{len(reading.broken)} of {reading.files} files in {images.name} unreadable, skipped: "
            f"{listed(reading.broken)}",
            file=sys.stderr,
        )
    elif file:
        write(
            file,
            {
                "mean": gathered.gaussian.mean,
                "covariance": gathered.gaussian.covariance,
                "count": np.array(gathered.gaussian.count),
                "shape": np.array(shape),
                "made_of": np.array(json.dumps(made_of)),
                **{name: getattr(gathered, name) for name in takes},
            },
        )
    return gathered, shape


def gather(
    which: str, net: Network, images: Images, takes: Collection[str]
) -> tuple[Gathered, tuple[int, ...]]:
    """All images through the network, in chunks that are always as large: as `features`."""
    kept: dict[str, list[np.ndarray]] = {name: [] for name in takes}
    waiting: list[np.ndarray] = []
    moments = None
    # Without a terminal there is no bar.
    each = iter(tqdm(images, total=images.files, unit="image", desc=which, disable=None))
    first = next(each)
    for found in _answers(net, itertools.chain([first], each)):
        made = found["features"]
        if not np.all(np.isfinite(made)):
            raise UserError(f"the network makes NaN or infinite features of {images.name}")
        missing = [name for name in takes if name not in found]
        if missing:
            raise UserError(
                f"{net.record['features']} makes no {missing[0]}, which `is` (Inception Score) and "
                "class_accuracy need; they take a classifier, such as --features=classifier:RUN or "
                "--features=inception --weights=FILE"
            )
        for name in takes:
            kept[name].append(found[name])
        waiting.append(made)
        if sum(map(len, waiting)) >= ROWS:
            moments, waiting = _joined(moments, waiting), []
    moments = _joined(moments, waiting)
    if moments.count < 2:
        raise UserError(f"{images.name} has {moments.count} image; it takes at least 2")
    parts = {name: np.concatenate(rows) for name, rows in kept.items()}
    known = {"labels": images.labels, "classes": images.classes}
    return Gathered(frechet.gaussian(moments), **parts, **known), first.shape


def _joined(moments: frechet.Moments | None, rows: list[np.ndarray]) -> frechet.Moments | None:
    if not rows:
        return moments
    return frechet.joined(moments or frechet.no_moments(rows[0].shape[1]), np.concatenate(rows))


def _answers(net: Network, images: Iterator[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """What the network makes of the images, a chunk at a time."""
    if not net.compiled:
        while part := list(itertools.islice(images, net.chunk)):
            yield dict(net.features(net.constants, net.prepare(np.stack(part))))
        return
    places, counts = jax.local_devices(), collections.deque()
    run = jax.jit(net.features, compiler_options=sharding.compiler_options(places[0].platform))

    def chunks() -> Iterator[tuple[np.ndarray, ...]]:
        while part := list(itertools.islice(images, net.chunk)):
            counts.append(len(part))
            yield (net.prepare(np.stack(part + part[-1:] * (net.chunk - len(part)))),)

    for found in in_turn(run, (net.constants,), chunks(), places):
        count = counts.popleft()
        yield {name: np.asarray(value)[:count] for name, value in found.items()}


def _cache_file(made_of: dict[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:24]
    return machine.cache_folder().parent / "features" / f"{key}.npz"


def _cached(file: Path, takes: Collection[str]) -> tuple[Gathered, tuple[int, ...]] | None:
    try:
        with np.load(file, allow_pickle=False) as kept:
            if not set(takes) <= set(kept.files):
                return None
            gaussian = frechet.Gaussian(kept["mean"], kept["covariance"], int(kept["count"]))
            shape = tuple(int(n) for n in kept["shape"])
            return Gathered(gaussian, **{name: kept[name] for name in takes}), shape
    except Exception:  # none, or a torn one, which is made again
        return None


def write(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """A `.npz` file, at once; folders are made as needed."""
    out = io.BytesIO()
    np.savez(out, **arrays)
    write_atomically(file, out.getvalue())
