"""What a game is played on: how data become batches, and how weights are judged by them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxgan.commandline import nearest
from jaxgan.comparisons import Comparison
from jaxgan.data import datasets, pipeline
from jaxgan.errors import UserError
from jaxgan.games.game import Batch, Game
from jaxgan.metrics import scores
from jaxgan.page import Section


def in_pixels(config: ConfigDict) -> str:
    """A batch of images in words."""
    return f"{config.data.batch_size} x {config.data.image_size} px"


Each = tuple[dict[str, list[str]], dict[str, np.ndarray]]


class Bench(NamedTuple):
    """What becomes of weights (net -> variables) in a run's pictures and scores.

    Attributes:
      grid: (weights, seed) -> rows, labels and groups of `pictures.grid`; what a task draws for
        them depends on the seed alone.
      evaluate: (weights, seed) -> (scores, sections of the test page).
      summary: scores -> sentences.
      compare: (weights, seed) -> what is made beside what it should be like, for scores of sets;
        None where it isn't images.
      each: (weights, seed) -> end of scores' names -> names of the test images, and name -> [N] of
        what each image scores beside its truth; None where there is no truth.
    """

    grid: Callable[[Any, int], tuple]
    evaluate: Callable[[Any, int], tuple[dict[str, float], list[Section]]]
    summary: Callable[[Mapping[str, float]], list[str]]
    compare: Callable[[Any, int], list[Comparison]] | None = None
    each: Callable[[Any, int], Each] | None = None


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
      sides: what names of scores of sets end with, one for each set that is made; (): none is.
      shown: config -> a batch in words.
      channels: config -> those of the images in a data set.
    """

    datasets: Mapping[str, Callable[[ConfigDict], Any]]
    shapes: Callable[[ConfigDict, tuple[int, ...]], dict[str, jax.ShapeDtypeStruct]]
    sizes: Callable[[Any], dict[str, int]]
    stream: Callable[..., pipeline.Batches]
    bench: Callable[[ConfigDict, Any, Game], Bench]
    best_mode: Callable[[str], str]
    require_score: Callable[[str, Any], None]
    sides: tuple[str, ...] = ()
    shown: Callable[[ConfigDict], str] = in_pixels
    channels: Callable[[ConfigDict], int] = lambda config: config.data.channels

    def mode(self, name: str) -> str:
        """Whether the "max" or the "min" of a score is best, be it one of sets or the task's own.

        Raises:
          UserError: for what is no score.
        """
        return scores.better(name) or self.best_mode(name)


def best_among(modes: Mapping[str, str]) -> Callable[[str], str]:
    """`Task.best_mode` of a task whose scores are these: name -> "max" or "min"."""

    def best_mode(name: str) -> str:
        """ "max" of no score.

        Raises:
          UserError: for what is no score.
        """
        if name and name not in modes:
            raise UserError(f"checkpoint.best={name!r} is no score: {nearest(name, list(modes))}")
        return modes.get(name, "max")

    return best_mode


def images(config: ConfigDict, leading: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    size, channels = config.data.image_size, config.data.channels
    dtype = datasets.values(config.data).dtype
    return jax.ShapeDtypeStruct((*leading, size, size, channels), dtype)


def settings(config: ConfigDict, leading: tuple[int, int]) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "batch_size": config.data.batch_size,
        "image_size": config.data.image_size,
        "load_size": config.data.load_size,
        "flip": config.data.flip,
        "leading": leading,
    }


def noise(
    game: Game, key: jax.Array, indices: jax.Array, dtype, truncation: float | None = None
) -> Batch:
    """What `game.sample` takes besides data, of each index: [N, ...], the i-th of key and index i.

    Args:
      game: one that takes noise; truncated, one that has a `latent`.
      key: of all of them.
      indices: int32 [N].
      dtype: floating point.
      truncation: as `Latent.draw` takes it.
    """

    def one(index):
        own = jax.random.fold_in(key, index)
        if truncation is None:
            return jax.tree.map(lambda x: x[0], game.noise(own, 1, dtype))
        return {"latent": game.latent.draw(own, 1, dtype, truncation)[0]}

    return jax.vmap(one)(indices)


def sampler(
    game: Game, dtype=jnp.float32, truncation: float | None = None
) -> Callable[..., jax.Array]:
    """(weights, key, indices int32 [N], labels int32 [N]) -> images [N, H, W, C] in [-1, 1].

    Image i is a function of the key and its index alone. An unconditional game ignores the labels.
    """

    @jax.jit
    def made(weights, key, indices, labels):
        batch = noise(game, key, indices, dtype, truncation)
        return game.sample(weights, batch | ({"label": labels} if game.classes else {}))["image"]

    return made
