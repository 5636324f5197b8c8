"""Images with a truth beside them, which a game makes of an input."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxgan import evaluators, pictures
from jaxgan.comparisons import Comparison, Fakes, images_of
from jaxgan.data import datasets, pipeline
from jaxgan.data.paired import Paired
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.metrics import pairs, segmenter
from jaxgan.metrics.segmentation import agreement, confusion
from jaxgan.page import Row, Section
from jaxgan.parts import in_parts
from jaxgan.tasks.task import Bench, Task, best_among, images, noise, settings
from jaxgan.update import decode

SHOWN = 4  # rows of the grid
LESSONS = 200  # true pairs that the segmenter learns from
METRICS = {"l1": pairs.l1, "psnr": pairs.psnr, "ssim": pairs.ssim}
OF_MAPS = ("pixel_accuracy", "class_accuracy", "iou")
MODES = {name: "min" if name == "l1" else "max" for name in (*METRICS, *OF_MAPS)}


def stream(config: ConfigDict, data: Paired, leading, **placement):
    return pipeline.paired(
        data.train, config.data.channels, **settings(config, leading), **placement
    )


def translator(game: Game, dtype=jnp.float32):
    """(weights, key, indices int32 [N], inputs [N, H, W, C]) -> outputs [N, H, W, C'] in [-1, 1].

    What noise there is in output i is a function of the key and its index.
    """

    @jax.jit
    def made(weights, key, indices, inputs):
        batch = decode({"input": inputs}, dtype)
        if game.noise is not None:
            batch = batch | noise(game, key, indices, dtype)
        return game.sample(weights, batch)["fake"]

    return made


def bench(config: ConfigDict, data: Paired, game: Game) -> Bench:
    """The test pairs, translated with the same noise all through a run."""
    tests, names = evaluators.read(data.test, config.evaluate.num)
    inputs, truth = np.split(tests, 2, axis=-1)
    made = translator(game)
    judged = functools.cache(lambda: map_judge(data, inputs, truth))  # not before a score needs it

    def translated(weights, seed, count):
        part = functools.partial(made, weights, jax.random.key(seed))
        fake = in_parts(part, evaluators.BATCH, np.arange(count), inputs[:count])
        return fake.astype(np.float32)

    def grid(weights, seed):
        shown = min(SHOWN, len(tests))
        fake = translated(weights, seed, shown)
        rows = [[inputs[i], fake[i], truth[i]] for i in range(shown)]
        return rows, ["input", "output", "truth"], None

    def judged_each(fake):
        wanted = evaluators.unit(truth)
        small = min(wanted.shape[1:3]) < pairs.WINDOW
        return {
            name: metric(np.clip(fake, -1, 1), wanted)
            for name, metric in METRICS.items()
            if not (small and name == "ssim")
        }

    def each_image(weights, seed):
        return {"": names}, judged_each(translated(weights, seed, len(tests)))

    def compare(weights, seed):
        def made():
            return iter(np.clip(translated(weights, seed, len(tests)), -1, 1))

        fakes = Fakes("the run's outputs", len(tests), None, None, made, truth.dtype == np.uint8)
        return [Comparison("", real, lambda count: fakes)]

    def evaluate(weights, seed):
        fake = translated(weights, seed, len(tests))
        each = judged_each(fake)
        rows = [
            Row(
                name,
                {"input": inputs[i], "output": fake[i], "truth": truth[i]},
                {metric: float(values[i]) for metric, values in each.items()},
            )
            for i, name in enumerate(names)
        ]
        means = {name: float(np.mean(values)) for name, values in each.items()}
        if data.maps is not None:
            scores, of_truth = judged()
            means |= scores(pictures.to_uint8(fake)) | of_truth
        return means, [Section("input → output", rows)]

    real = images_of("the run's true test images", truth)
    return Bench(grid, evaluate, summary, compare, each_image)


def map_judge(data: Paired, inputs: np.ndarray, truth: np.ndarray):
    """How well outputs show what lies where.

    Where outputs are maps, their colours tell. Where they are pictures, a segmenter does that
    learns from the first of the true training pairs: the paper's FCN score, on a world that is
    known.

    Args:
      data: with maps.
      inputs, truth: of the test pairs, uint8 [N, H, W, 3].

    Returns:
      A function of outputs, uint8 [N, H, W, 3], to their scores; and what the segmenter makes of
      the true pictures themselves, for comparison (nothing where colours tell).
    """
    maps = data.maps
    if maps.half == "truth":
        reader, wanted = maps.read, maps.read(truth)
    else:
        lessons, _ = evaluators.read(data.train, LESSONS)
        drawn, shown = np.split(lessons, 2, axis=-1)
        reader = segmenter.train(shown, maps.read(drawn), len(maps.classes))
        wanted = maps.read(inputs)

    def scores(images):
        return agreement(confusion(reader(images), wanted, len(maps.classes)))

    if maps.half == "truth":
        return scores, {}
    return scores, {f"{name}_of_truth": value for name, value in scores(truth).items()}


def summary(scores: Mapping[str, float]) -> list[str]:
    """Scores in words."""
    if not scores:
        return []
    words = [f"L1 {scores['l1']:.4f}", f"PSNR {scores['psnr']:.2f} dB"]
    words += [f"SSIM {scores['ssim']:.3f}"] if "ssim" in scores else []
    lines = ["from the truth: " + ", ".join(words)]
    if "iou" in scores:
        line = "what is seen where: " + ", ".join(
            f"{name.replace('_', ' ')} {scores[name]:.3f}" for name in OF_MAPS
        )
        if "iou_of_truth" in scores:
            line += f" (in true pictures {scores['iou_of_truth']:.3f})"
        lines.append(line)
    return lines


def require_score(name: str, data: Paired) -> None:
    if name == "ssim" and min(data.test[0].shape[:2]) < pairs.WINDOW:
        raise UserError(
            f"checkpoint.best=ssim needs images of {pairs.WINDOW} pixels or more; try "
            "--config.checkpoint.best=psnr"
        )
    if name in OF_MAPS and data.maps is None:
        raise UserError(
            f"checkpoint.best={name!r} needs the built-in label maps, --config.data.name=labels; "
            f"there is {', '.join(METRICS)}"
        )


TASK = Task(
    datasets=datasets.PAIRED,
    shapes=lambda config, leading: dict.fromkeys(("input", "truth"), images(config, leading)),
    sizes=lambda data: {"train": len(data.train)},
    stream=stream,
    bench=bench,
    sides=("",),
    best_mode=best_among(MODES),
    require_score=require_score,
    channels=lambda config: 2 * config.data.channels,
)
