"""Images with classes, which a game makes of noise."""

import functools

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxgan import pictures
from jaxgan.comparisons import Comparison, Fakes, images_of
from jaxgan.data import datasets, pipeline
from jaxgan.data.sources import Source
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.metrics import modes
from jaxgan.page import Row, Section
from jaxgan.parts import in_chunks
from jaxgan.tasks.task import Bench, Task, best_among, images, sampler, settings

SAMPLES = 8  # rows and columns of a grid of samples
READABLE = 0.8  # how surely: of clean glyphs at least 0.96, of a picture of none less than 0.6
MOST_COLUMNS = 20  # of a grid of samples by class
FEW = 5  # samples of a class that can be said to spread
# What glyphs vary in within a class: names of `Nuisance`.
SPREADS = {
    "position": ("x", "y"),
    "slant": ("slant",),
    "colour": ("colour", "background"),
}
RARE = 0.1  # of its fair share: a class that is shown less often counts as lost


def stream(config: ConfigDict, data: datasets.Labelled, leading, **placement):
    return pipeline.labelled(data.train, data.labels, **settings(config, leading), **placement)


def bench(config: ConfigDict, data: datasets.Labelled, game: Game) -> Bench:
    """Samples of the same noise all through a run, and what the data's judge says of them."""
    made = sampler(game)
    of_real = functools.cache(lambda: _measured(data))  # not before a score needs it

    def samples(weights, seed, indices, labels):
        key = jax.random.key(seed)
        # Always as many at a time, so that one program makes them all.
        whole = -(-len(indices) // SAMPLES**2) * SAMPLES**2
        chunks = (np.resize(x, whole).reshape(-1, SAMPLES**2) for x in (indices, labels))
        parts = [np.asarray(made(weights, key, *chunk)) for chunk in zip(*chunks, strict=True)]
        return pictures.to_uint8(np.concatenate(parts)[: len(indices)])

    def grid(weights, seed):
        columns = min(game.classes, MOST_COLUMNS) or SAMPLES
        at = np.arange(SAMPLES * columns)
        if game.classes:  # a column is a class, a row is the same noise for all of them
            images = samples(weights, seed, at // columns, at % columns)
        else:
            images = samples(weights, seed, at, at)
        rows = [list(images[i : i + columns]) for i in range(0, len(at), columns)]
        return rows, data.classes[:columns] if game.classes else [""] * columns, None

    def evaluate(weights, seed):
        count = config.evaluate.num
        if data.judge is None or not count:
            return {}, []
        asked = np.arange(count) % len(data.classes)
        images = samples(weights, seed, np.arange(count), asked)
        labels, surely = data.judge(images)
        readable = surely >= READABLE
        if data.counted:
            return modes.label_scores(labels, readable, len(data.classes)), []
        counts = np.bincount(labels[readable], minlength=len(data.classes))
        scores = {
            "readable": float(np.mean(readable)),
            "classes": int(np.sum(counts >= max(1, RARE * count / len(data.classes)))),
        }
        if game.classes:
            scores["class_accuracy"] = float(np.mean(readable & (labels == asked)))
        if data.measure is not None:
            scores |= _spreads(data, of_real(), images, labels, readable)
        rows = [
            Row(data.classes[labels[i]], {"sample": image}, {"sureness": float(surely[i])})
            for i, image in enumerate(images[: SAMPLES**2])
        ]
        return scores, [Section("samples", rows)]

    def summary(scores):
        if not scores:
            return []
        if data.counted:
            return [
                f"{scores['modes']:g} of {len(data.classes)} modes reached, "
                f"{scores['readable']:.1%} of the samples can be read"
            ]
        text = (
            f"{scores['readable']:.1%} of the samples can be read, as "
            f"{scores['classes']} of {len(data.classes)} classes"
        )
        if "class_accuracy" in scores:
            text += f"; {scores['class_accuracy']:.1%} as the class that was asked for"
        return [text]

    name = f"the run's data ({config.data.name})"
    labels = data.labels if game.classes else None
    classes = tuple(data.classes) if game.classes else None
    real = images_of(name, _Middles(data.train, config.data.image_size), labels, classes)

    def compare(weights, seed):
        def fakes(count):
            asked = np.arange(count, dtype=np.int32) % max(game.classes, 1)

            def each():
                held = weights, jax.random.key(seed)
                shape = config.data.image_size, config.data.image_size, config.data.channels

                def columns(at):
                    return at, at % np.int32(max(game.classes, 1))

                return in_chunks(made, held, columns, count, shape)

            whole = config.data.get("dtype", "uint8") == "uint8"
            labels = asked if game.classes else None
            return Fakes("the run's samples", count, labels, classes, each, whole)

        return [Comparison("", real, fakes)]

    return Bench(grid, evaluate, summary, compare)


class _Middles:
    """Images as large as those that are made: the middles of larger ones that crops are cut of."""

    def __init__(self, source: Source, size: int):
        self.source, self.size = source, size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        image = self.source[index]
        top, left = ((n - self.size) // 2 for n in image.shape[:2])
        return image[top : top + self.size, left : left + self.size]


def _measured(data: datasets.Labelled) -> dict[str, np.ndarray]:
    """What varies within a class, of the real images that are never trained on."""
    return data.measure(np.stack([data.test[i] for i in range(len(data.test))]))


def _spreads(data: datasets.Labelled, wanted, images, labels, readable) -> dict[str, float]:
    """How far position, slant and colour spread within a class, over what real images' do.

    The mean over the classes of the deviations' ratios, and `spread_least`, the least of all of
    them. A class with fewer than `FEW` readable samples spreads by nothing.
    """
    found = data.measure(images)
    ratios: dict[str, list[float]] = {name: [] for name in SPREADS}
    for label in range(len(data.classes)):
        theirs, ours = data.test_labels == label, readable & (labels == label)
        for name, parts in SPREADS.items():
            enough = np.sum(ours) >= FEW
            there = [_deviation(wanted[part][theirs]) for part in parts]
            here = [_deviation(found[part][ours]) if enough else 0.0 for part in parts]
            ratios[name].append(float(np.mean(here) / np.mean(there)))
    scores = {f"spread_{name}": float(np.mean(values)) for name, values in ratios.items()}
    return scores | {"spread_least": min(min(values) for values in ratios.values())}


def _deviation(values: np.ndarray) -> float:
    """Of [N], or the mean over the columns of [N, C]."""
    return float(np.mean(np.std(values, 0)))


GLYPHS = (
    *("readable", "classes", "class_accuracy"),
    *(f"spread_{name}" for name in (*SPREADS, "least")),
)
COUNTED = ("modes", "readable", "reverse_kl")  # of classes that are modes
MODES = {name: "min" if name == "reverse_kl" else "max" for name in (*GLYPHS, *COUNTED)}


def _require_judge(name: str, data: datasets.Labelled) -> None:
    if name and data.judge is None:
        raise UserError(
            f"checkpoint.best={name!r} needs a judge, which comes with the built-in glyphs alone"
        )
    there = COUNTED if data.counted else GLYPHS
    if name and name not in there:
        raise UserError(
            f"checkpoint.best={name!r} is no score of these data; there is {', '.join(there)}"
        )


TASK = Task(
    datasets=datasets.LABELLED,
    shapes=lambda config, leading: {
        "image": images(config, leading),
        "label": jax.ShapeDtypeStruct(leading, np.int32),
    },
    sizes=lambda data: {"train": len(data.train)},
    stream=stream,
    bench=bench,
    sides=("",),
    best_mode=best_among(MODES),
    require_score=_require_judge,
)
