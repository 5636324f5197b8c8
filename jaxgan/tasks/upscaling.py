"""Small images and the large ones that they were, for super-resolution."""

from collections.abc import Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxgan import pictures
from jaxgan.commandline import nearest
from jaxgan.data import datasets, pipeline
from jaxgan.data.bicubic import KERNELS
from jaxgan.data.upscaling import Reduced, Upscaling
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.metrics.upscaling import scores
from jaxgan.page import Row, Section
from jaxgan.tasks.paired import translator
from jaxgan.tasks.task import Bench, Task

SHOWN, SIDE = 4, 24  # rows of the grid, and pixels of the small images in it
METRICS = ("psnr", "psnr_rgb", "ssim", "ssim_rgb", "detail")
BICUBIC = "bicubic_"  # what the same metrics say of a plain enlargement


def stream(config: ConfigDict, data: Upscaling, leading, **placement):
    c = config.data
    settings = {"seed": config.seed, "batch_size": c.batch_size, "leading": leading}
    reduced = datasets.sources.Cached(Reduced(data.train, c.scale, c.kernel))
    return pipeline.upscaled(
        data.train,
        reduced,
        image_size=c.image_size,
        flip=c.flip,
        rotate=c.rotate,
        **settings,
        **placement,
    )


def bench(config: ConfigDict, data: Upscaling, game: Game) -> Bench:
    """The test sets, each of its images whole."""
    scale, kernel = config.data.scale, config.data.kernel
    made = translator(game)

    def enlarged(weights, small):
        """uint8 [H, W, C] of one image."""
        key, index = jax.random.key(0), np.zeros(1, np.int32)  # there is no noise
        return pictures.to_uint8(made(weights, key, index, small[None])[0])

    def bicubic(small):
        return KERNELS[kernel](small, *(n * scale for n in small.shape[:2]))

    def grid(weights, seed):
        truths = next(iter(data.tests.values()))
        smalls = Reduced(truths, scale, kernel)
        count = min(SHOWN, len(truths))
        side = min(SIDE, *(n for i in range(count) for n in smalls[i].shape[:2]))
        rows = []
        for i in range(count):
            small, truth = smalls[i], truths[i]
            top, left = ((n - side) // 2 for n in small.shape[:2])
            small = np.ascontiguousarray(small[top : top + side, left : left + side])
            top, left, length = top * scale, left * scale, side * scale
            truth = truth[top : top + length, left : left + length]
            nearest_ = np.repeat(np.repeat(small, scale, 0), scale, 1)
            rows.append([nearest_, bicubic(small), enlarged(weights, small), truth])
        return rows, ["input", "bicubic", "output", "truth"], None

    def evaluate(weights, seed):
        means, sections = {}, []
        for name, truths in data.tests.items():
            smalls, rows, each = Reduced(truths, scale, kernel), [], []
            count = min(config.evaluate.num or len(truths), len(truths))
            names = getattr(truths, "names", None) or [f"scene {i}" for i in range(count)]
            for i in range(count):
                small, truth = smalls[i], truths[i]
                output, plain = enlarged(weights, small), bicubic(small)
                found = scores(output, truth, scale)
                theirs = scores(plain, truth, scale)
                each.append(found | {BICUBIC + metric: v for metric, v in theirs.items()})
                shown = {"bicubic": plain, "output": output, "truth": truth}
                rows.append(Row(names[i], shown, found | {"bicubic psnr": theirs["psnr"]}))
            for metric in each[0]:
                values = [found[metric] for found in each if metric in found]
                means[f"{metric}_{name}"] = float(np.mean(values))
            sections.append(Section(f"{name}, {scale} times as large", rows))
        return means, sections

    def summary(means):
        lines = []
        for name in data.tests:
            if f"psnr_{name}" not in means:
                continue
            ours, theirs = means[f"psnr_{name}"], means[f"{BICUBIC}psnr_{name}"]
            line = f"{name}: PSNR {ours:.2f} dB on luma, {ours - theirs:+.2f} over bicubic"
            if f"psnr_rgb_{name}" in means:
                line += f", {means[f'psnr_rgb_{name}']:.2f} on RGB"
            if f"ssim_{name}" in means:
                line += f"; SSIM {means[f'ssim_{name}']:.4f}"
            lines.append(f"{line}; detail {means[f'detail_{name}']:.2f} of the truth's")
        return lines

    return Bench(grid, evaluate, summary)


def best_mode(name: str) -> str:
    """Of `psnr_Set5` and the like: all of them shall be high."""
    if name and not name.startswith(tuple(f"{metric}_" for metric in METRICS[:4])):
        hint = nearest(name, [f"{metric}_test" for metric in METRICS[:4]])
        raise UserError(f"checkpoint.best={name!r} is no score: {hint}")
    return "max"


def require_score(name: str, data: Upscaling) -> None:
    there = [f"{metric}_{of}" for of in data.tests for metric in METRICS[:4]]
    if name and name not in there:
        raise UserError(
            f"checkpoint.best={name!r} is no score of these data; there is {', '.join(there)}"
        )


def shapes(config: ConfigDict, leading: tuple[int, ...]) -> Mapping[str, jax.ShapeDtypeStruct]:
    sides = {"input": config.data.image_size // config.data.scale, "truth": config.data.image_size}
    channels = config.data.channels
    return {
        name: jax.ShapeDtypeStruct((*leading, side, side, channels), np.uint8)
        for name, side in sides.items()
    }


TASK = Task(
    datasets=datasets.UPSCALING,
    shapes=shapes,
    sizes=lambda data: {"train": len(data.train)},
    stream=stream,
    bench=bench,
    best_mode=best_mode,
    require_score=require_score,
)
