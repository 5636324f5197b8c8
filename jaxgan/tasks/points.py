"""Points in the plane as what a game is played on: their batches, and how samples are judged."""

from collections.abc import Mapping
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxgan import plots
from jaxgan.data import pipeline
from jaxgan.data import points as worlds
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.metrics import modes
from jaxgan.tasks.task import Bench, Task, best_among, sampler

SHOWN = 2500  # samples in a picture
STREAM, TEST = 0, 1  # what a seed's draws are for
UNLABELLED = ("points",)  # the one class of those along a curve


class Points(NamedTuple):
    """A world of points; there are as many as one draws.

    Attributes:
      world: of `worlds.WORLDS`.
      classes: its modes; one where the points lie along a curve.
      epoch: points that a pass over the data is taken to have.
      notes: sentences for the user.
    """

    world: worlds.World
    classes: tuple[str, ...]
    epoch: int
    notes: tuple[str, ...] = ()


def open_world(data: ConfigDict) -> Points:
    """The world that `data.name` names."""
    world = worlds.WORLDS[data.name]
    modes = tuple(str(i) for i in range(world.modes))
    return Points(world, UNLABELLED if world.centres is None else modes, data.count)


def shapes(config: ConfigDict, leading: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Of a batch: points where others have images."""
    return {
        "image": jax.ShapeDtypeStruct((*leading, 2), np.float32),
        "label": jax.ShapeDtypeStruct(leading, np.int32),
    }


def stream(config: ConfigDict, data: Points, leading: tuple[int, int], **placement: int):
    """Batches of fresh points: a function of the seed and the batch's number.

    Raises:
      UserError: for several processes.
    """
    if placement.get("process_count", 1) > 1:
        raise UserError("points are trained on by one process; leave out --distributed")
    repeats, accumulate = leading
    shape = (repeats, accumulate, config.data.batch_size // accumulate)

    def batch_at(step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([config.seed, STREAM, step])
        drawn, labels = worlds.draw(data.world, int(np.prod(shape)), rng)
        return {"image": drawn.reshape(*shape, 2), "label": labels.reshape(shape)}

    return pipeline.Batches(grain.MapDataset.range(2**62).map(batch_at), 1, 64)


def bench(config: ConfigDict, data: Points, game: Game) -> Bench:
    """Samples of the same noise all through a run: a picture over the density, and scores."""
    made = sampler(game)
    count = config.evaluate.num
    labels = np.arange(max(count, SHOWN)) % max(game.classes, 1)

    def samples(weights, seed, count):
        indices = jnp.arange(count, dtype=jnp.int32)
        return np.asarray(made(weights, jax.random.key(seed), indices, labels[:count]))

    def grid(weights, seed):
        real = worlds.draw(data.world, SHOWN, np.random.default_rng([seed, TEST]))[0]
        panel = plots.density_panel(real, samples(weights, seed, SHOWN), data.world.bounds)
        return [[panel]], [""], None

    def evaluate(weights, seed):
        return (modes.scores(samples(weights, seed, count), data.world), []) if count else ({}, [])

    def summary(scores: Mapping[str, float]) -> list[str]:
        if not scores:
            return []
        return [
            f"{scores['modes']:g} of {data.world.modes} modes reached, "
            f"{scores['high_quality']:.1%} of the samples of high quality"
        ]

    return Bench(grid, evaluate, summary)


SCORES = {"modes": "max", "high_quality": "max", "reverse_kl": "min"}


TASK = Task(
    datasets=dict.fromkeys(worlds.WORLDS, open_world),
    shapes=shapes,
    sizes=lambda data: {"train": data.epoch},
    stream=stream,
    bench=bench,
    best_mode=best_among(SCORES),
    require_score=lambda name, data: None,
    shown=lambda config: f"{config.data.batch_size} points",
)
