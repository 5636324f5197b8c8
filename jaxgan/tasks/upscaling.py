"""Small images and the large ones that they were, for super-resolution."""

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxgan import evaluators, pictures, tiles
from jaxgan.commandline import nearest
from jaxgan.data import datasets, pipeline
from jaxgan.data.bicubic import KERNELS
from jaxgan.data.sources import Cached
from jaxgan.data.upscaling import Reduced, Upscaling
from jaxgan.errors import UserError
from jaxgan.games.game import Game
from jaxgan.metrics import pairs
from jaxgan.metrics.upscaling import fine_energies, scores
from jaxgan.page import Row, Section
from jaxgan.tasks.paired import translator
from jaxgan.tasks.task import Bench, Task
from jaxgan.upscaling_experiment import receptive_radius

SHOWN, SIDE = 4, 24  # rows of the grid, and pixels of the small images in it
ON_PAGE, PAGE_SIDE = 20, 256  # images of a set on the page, and pixels of their middle
BICUBIC = "bicubic_"  # what the same metrics say of a plain enlargement


def stream(config: ConfigDict, data: Upscaling, leading, **placement):
    c = config.data
    settings = {"seed": config.seed, "batch_size": c.batch_size, "leading": leading}
    reduced = Cached(Reduced(data.train, c.scale, c.kernel))
    return pipeline.upscaled(
        data.train,
        reduced,
        image_size=c.image_size,
        flip=c.flip,
        rotate=c.rotate,
        **settings,
        **placement,
    )


def enlarger(game: Game, dtype=jnp.float32):
    """(weights, uint8 [H, W, C]) -> the enlarged image, uint8; compiled for each shape."""
    made, key, index = translator(game, dtype), jax.random.key(0), np.zeros(1, np.int32)

    def enlarged(weights, small):  # there is no noise: key and index decide nothing
        return pictures.to_uint8(made(weights, key, index, small[None])[0])

    return enlarged


def bench(config: ConfigDict, data: Upscaling, game: Game) -> Bench:
    """The test sets, each of its images whole."""
    scale, kernel = config.data.scale, config.data.kernel
    made, margin = enlarger(game), tiles.overlap(receptive_radius(config), tiles.TILE)

    def enlarged(weights, small):
        """uint8 [H, W, C] of one image of any size."""
        return tiles.enlarged(partial(made, weights), small, scale, tiles.TILE, margin)

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

    def each_image(weights, seed):
        """As `evaluate` scores them, on luma and RGB, without the border, and their L1."""
        names, found = {}, {}
        for of, truths in data.tests.items():
            smalls = Reduced(truths, scale, kernel)
            count = min(config.evaluate.num or len(truths), len(truths))
            names[f"_{of}"] = list(_names(truths, count))
            each = []
            for i in range(count):
                output = enlarged(weights, smalls[i])
                l1 = pairs.l1(*(evaluators.unit(x)[None] for x in (output, truths[i])))
                each.append(scores(output, truths[i], scale) | {"l1": float(l1[0])})
            # What the smallest image is too small for has no mean.
            there = [metric for metric in each[0] if all(metric in one for one in each)]
            found |= {f"{m}_{of}": np.array([one[m] for one in each]) for m in there}
        return names, found

    def evaluate(weights, seed):
        means, sections = {}, []
        for name, truths in data.tests.items():
            smalls, rows, each, fine = Reduced(truths, scale, kernel), [], [], []
            count = min(config.evaluate.num or len(truths), len(truths))
            names = _names(truths, count)
            for i in range(count):
                small, truth = smalls[i], truths[i]
                output, plain = enlarged(weights, small), bicubic(small)
                found = scores(output, truth, scale)
                theirs = scores(plain, truth, scale)
                each.append(found | {BICUBIC + metric: v for metric, v in theirs.items()})
                fine.append([fine_energies(x, truth, scale) for x in (output, plain)])
                if i < ON_PAGE:
                    images = {"bicubic": plain, "output": output, "truth": truth}
                    shown = {kind: _middle(image) for kind, image in images.items()}
                    rows.append(Row(names[i], shown, found | {"bicubic psnr": theirs["psnr"]}))
            for metric in dict.fromkeys(metric for found in each for metric in found):
                values = [found[metric] for found in each if metric in found]
                means[f"{metric}_{name}"] = float(np.mean(values))
            # Of the set's energies, since an image without fine structure has no share of it.
            for kind, (ours, truly) in zip(("", BICUBIC), np.sum(fine, 0), strict=True):
                means[f"{kind}detail_{name}"] = float(ours / max(truly, 1e-12))
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

    return Bench(grid, evaluate, summary, each=each_image)


def _names(truths, count: int) -> Sequence[str]:
    return getattr(truths, "names", None) or [f"scene {i}" for i in range(count)]


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (n - PAGE_SIDE) // 2) for n in image.shape[:2])
    return image[top : top + PAGE_SIDE, left : left + PAGE_SIDE]


BEST = ("psnr", "psnr_rgb", "ssim", "ssim_rgb")


def best_mode(name: str) -> str:
    """Of `psnr_Set5` and the like: all of them shall be high."""
    if name and not name.startswith(tuple(f"{metric}_" for metric in BEST)):
        hint = nearest(name, [f"{metric}_test" for metric in BEST])
        raise UserError(f"checkpoint.best={name!r} is no score: {hint}")
    return "max"


def require_score(name: str, data: Upscaling) -> None:
    there = []
    for of, truths in data.tests.items():
        colours = ("psnr", "psnr_rgb") if truths[0].shape[2] > 1 else ("psnr",)
        there += [
            f"{metric}_{of}" for metric in (*colours, *(m.replace("psnr", "ssim") for m in colours))
        ]
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
