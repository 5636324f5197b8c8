"""What a game is played on: how data become batches, and how weights are judged by them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxgan import evaluators, pictures
from jaxgan.commandline import nearest
from jaxgan.data import datasets, pipeline
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.page import Row, Section

SAMPLES = 8  # rows and columns of a grid of samples
READABLE = 0.8  # how surely: of clean glyphs at least 0.96, of a picture of none less than 0.6
RARE = 0.1  # of its fair share: a class that is shown less often counts as lost


class Bench(NamedTuple):
    """What becomes of weights (net -> variables) in a run's pictures and scores.

    Attributes:
      grid: weights -> rows, labels and groups of `pictures.grid`.
      evaluate: weights -> (scores, sections of the test page).
      summary: scores -> sentences.
    """

    grid: Callable[[Any], tuple]
    evaluate: Callable[[Any], tuple[dict[str, float], list[Section]]]
    summary: Callable[[Mapping[str, float]], list[str]]


class Task(NamedTuple):
    """A kind of data, and what is done with it.

    Attributes:
      datasets: what `data.name` may be: name -> (the config's `data` -> data).
      shapes: (config, leading axes) -> name -> shape and type of a batch.
      sizes: data -> name -> images to train on; an epoch is a pass over the largest.
      stream: (config, data, **placement) -> `pipeline.Batches`.
      bench: (config, data, game) -> Bench.
      best_mode: name of a score -> "max" or "min".
      require_score: (name of a score, data); raises where the data can't give it.
    """

    datasets: Mapping[str, Callable[[ConfigDict], Any]]
    shapes: Callable[[ConfigDict, tuple[int, ...]], dict[str, jax.ShapeDtypeStruct]]
    sizes: Callable[[Any], dict[str, int]]
    stream: Callable[..., pipeline.Batches]
    bench: Callable[[ConfigDict, Any, Game], Bench]
    best_mode: Callable[[str], str]
    require_score: Callable[[str, Any], None]


def _images(config: ConfigDict, leading: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    size, channels = config.data.image_size, config.data.channels
    dtype = datasets.values(config.data).dtype
    return jax.ShapeDtypeStruct((*leading, size, size, channels), dtype)


def _settings(config: ConfigDict, leading: tuple[int, int]) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "batch_size": config.data.batch_size,
        "image_size": config.data.image_size,
        "load_size": config.data.load_size,
        "flip": config.data.flip,
        "leading": leading,
    }


def _unpaired_stream(config: ConfigDict, data: datasets.Dataset, leading, **placement):
    settings = _settings(config, leading)
    return pipeline.unpaired(data.train_A, data.train_B, **settings, **placement)


def _unpaired_bench(config: ConfigDict, data: datasets.Dataset, game: Game) -> Bench:
    tests = evaluators.read_tests(data, config.evaluate.num)
    translate = evaluators.translator(game.sample)
    return Bench(
        grid=lambda weights: evaluators.sample_grid(translate, weights, tests),
        evaluate=lambda weights: evaluators.evaluate(translate, weights, tests),
        summary=evaluators.summary,
    )


def _labelled_stream(config: ConfigDict, data: datasets.Labelled, leading, **placement):
    settings = _settings(config, leading)
    return pipeline.labelled(data.train, data.labels, **settings, **placement)


def _labelled_bench(config: ConfigDict, data: datasets.Labelled, game: Game) -> Bench:
    """Samples of the same noise all through a run, and what the data's judge says of them."""
    key = jax.random.key(config.seed)

    @jax.jit
    def sample(weights, batch):
        noise = game.noise(jax.random.fold_in(key, batch), SAMPLES**2, jnp.float32)
        return game.sample(weights, noise)["image"]

    def samples(weights, count):
        batches = [np.asarray(sample(weights, i)) for i in range(-(-count // SAMPLES**2))]
        return pictures.to_uint8(np.concatenate(batches)[:count])

    def grid(weights):
        images = samples(weights, SAMPLES**2)
        rows = [list(images[i : i + SAMPLES]) for i in range(0, len(images), SAMPLES)]
        return rows, [""] * SAMPLES, None

    def evaluate(weights):
        if data.judge is None or not config.evaluate.num:
            return {}, []
        images = samples(weights, config.evaluate.num)
        labels, surely = data.judge(images)
        readable = surely >= READABLE
        counts = np.bincount(labels[readable], minlength=len(data.classes))
        scores = {
            "readable": float(np.mean(readable)),
            "classes": int(np.sum(counts >= max(1, RARE * len(images) / len(data.classes)))),
        }
        rows = [
            Row(data.classes[labels[i]], {"sample": image}, {"sureness": float(surely[i])})
            for i, image in enumerate(images[: SAMPLES**2])
        ]
        return scores, [Section("samples", rows)]

    def summary(scores):
        if not scores:
            return []
        return [
            f"{scores['readable']:.1%} of the samples can be read, as "
            f"{scores['classes']} of {len(data.classes)} classes"
        ]

    return Bench(grid, evaluate, summary)


LABELLED_SCORES = ("readable", "classes")


def _labelled_best(name: str) -> str:
    if name and name not in LABELLED_SCORES:
        hint = nearest(name, LABELLED_SCORES)
        raise UserError(f"checkpoint.best={name!r} is no score: {hint}")
    return "max"


def _require_judge(name: str, data: datasets.Labelled) -> None:
    if name and data.judge is None:
        raise UserError(
            f"checkpoint.best={name!r} needs a judge, which comes with the built-in glyphs alone"
        )


TASKS = {
    "unpaired": Task(
        datasets=datasets.DATASETS,
        shapes=lambda config, leading: dict.fromkeys("AB", _images(config, leading)),
        sizes=lambda data: {"train_A": len(data.train_A), "train_B": len(data.train_B)},
        stream=_unpaired_stream,
        bench=_unpaired_bench,
        best_mode=evaluators.best_mode,
        require_score=lambda name, data: evaluators.require_score(name, data.paired),
    ),
    "labelled": Task(
        datasets=datasets.LABELLED,
        shapes=lambda config, leading: {
            "image": _images(config, leading),
            "label": jax.ShapeDtypeStruct(leading, np.int32),
        },
        sizes=lambda data: {"train": len(data.train)},
        stream=_labelled_stream,
        bench=_labelled_bench,
        best_mode=_labelled_best,
        require_score=_require_judge,
    ),
}
