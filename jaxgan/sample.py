"""Makes pictures of noise with a trained run:

    python -m jaxgan.sample --workdir=runs/cgan-seed0 --output=FOLDER --num=64

A run's folder is all that it needs, not what the run was trained on. Sample i is a function of the
seed and of i alone (and of its class): `--num=3` and `--num=1000` begin with the same three, bit
for bit, on any number of devices. It becomes a PNG, `000000.png` and so on; a `.npy` array
[H, W, C] where the run was trained on floating point, or on other than one or three channels.

- `--classes=0,3,7`: sample i is of the i-th class of these, again and again; without it, of all
  classes in turn. For runs with classes.
- `--grid`: one picture of all of them, `grid.png`, each class in columns of its own.
- `--format=npz`: one file, `samples.npz`: `images` [N, H, W, C] and, of runs with classes,
  `labels` [N]; of runs that make points in the plane `points` [N, 2].
- `--interpolate`: the way from each sample to the next and from the last to the first, along an
  arc where the noise is normal, straight where it is uniform: `interpolation.png`, a row for each,
  and the loop `interpolation.gif`. The class changes from row to row, not within. With `--video`
  also `interpolation.mp4`, by the program ffmpeg.
- `--truncation=T`: numbers of normal noise that are further than T from 0 are as if drawn again:
  more typical samples, fewer kinds. Sample i resembles what it is without.
- `--seed=0`: another one for other samples.
- `--step=latest`: or `best` (by the run's `checkpoint.best`), or a step's number.
- `--weights=auto`: averaged weights (`ema`) where the run has them, else `raw` ones.
- `--overwrite`: replaces files that are there already; without it nothing is ever replaced.
"""

import io
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxgan import animations, awake, commandline, pictures, trained, workdir
from jaxgan.data import arrays, datasets
from jaxgan.errors import UserError
from jaxgan.files import write_atomically
from jaxgan.parts import in_chunks
from jaxgan.tasks.task import noise, sampler
from jaxgan.translate import encoded, require_free

COMMAND = "python -m jaxgan.sample"
FLAGS = {
    "workdir": "",
    "output": "",
    "num": 0,
    "classes": "",
    "grid": False,
    "format": "png",
    "interpolate": False,
    "video": False,
    "truncation": "",
    "seed": 0,
    "step": "latest",
    "weights": "auto",
    "overwrite": False,
}
MOST, MOST_IN_GRID, MOST_WAYS = 10_000_000, 2500, 100
COLUMNS = 8  # of a grid, at least
STEPS, FRAMES = 8, 28  # of one way: pictures in its row; frames, of which the row takes every 4th


class Asked(NamedTuple):
    """Which samples.

    Attributes:
      seed: from 0 to 2**31.
      num: how many.
      classes: that they have in turn; none of an unconditional run.
      truncation: of normal noise.
    """

    seed: int
    num: int
    classes: tuple[int, ...] = ()
    truncation: float | None = None


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def _main(argv: Sequence[str]) -> int:
    flags = commandline.parse_flags(argv, FLAGS)
    _require_sense(flags)
    truncation = _truncation(flags["truncation"])
    folder = workdir.resolve(flags["output"])
    program = animations.ffmpeg() if flags["video"] else None
    run = trained.open_run(flags["workdir"], flags["step"], flags["weights"])
    _require_noise(run, flags)
    classes = chosen_classes(flags["classes"], run.built.game.classes)
    asked = Asked(flags["seed"], flags["num"], classes, truncation)
    values = datasets.values(run.config.data)
    targets = [folder / name for name in _names(flags, run, values)]
    require_free(targets, flags["overwrite"])

    with awake.cores("auto", run.built.platform):
        if flags["interpolate"]:
            made = tqdm(
                ways(run, asked), total=asked.num * (FRAMES + 1), unit="picture", disable=None
            )
            for target, data in zip(targets, interpolation(made, program), strict=True):
                write_atomically(target, data)
        else:
            made = tqdm(samples(run, asked), total=asked.num, unit="sample", disable=None)
            if flags["grid"]:
                write_atomically(targets[0], pictures.png(grid(list(made), asked.classes)))
            elif flags["format"] == "npz":
                write_atomically(targets[0], stacked(np.stack(list(made)), asked.classes, values))
            else:
                for image, target in zip(made, targets, strict=True):
                    write_atomically(target, encoded(image, target, values))
    what = f"{asked.num} {'sample' if asked.num == 1 else 'samples'} of seed {asked.seed}"
    cut = f", truncated at {truncation:g}," if truncation else ""
    print(f"{what}{cut} by step {run.step} of {flags['workdir']}, in {flags['output']}")
    return 0


def _require_sense(flags: dict) -> None:
    """Refuses what no run could be asked for.

    Raises:
      UserError: saying why.
    """
    for name in ("workdir", "output"):
        if not flags[name]:
            raise UserError(
                f"--{name} is missing; try: {COMMAND} --workdir=runs/dcgan-seed0 --output=SAMPLES "
                "--num=64"
            )
    num, shape = flags["num"], flags["format"]
    if not 1 <= num <= MOST:
        raise UserError(f"--num says how many samples to make, from 1 to {MOST}; try --num=64")
    if not 0 <= flags["seed"] <= 2**31:
        raise UserError(f"--seed={flags['seed']} doesn't fit: it takes a number from 0 to {2**31}")
    if shape not in ("png", "npz"):
        raise UserError(f"--format={shape} doesn't fit: it takes png or npz")
    if flags["grid"] + flags["interpolate"] + (shape == "npz") > 1:
        raise UserError(
            "--grid, --interpolate and --format=npz each make a thing of their own; "
            "give one of them"
        )
    if flags["grid"] and num > MOST_IN_GRID:
        raise UserError(f"--num={num} is too much for one picture; --grid takes {MOST_IN_GRID}")
    if flags["interpolate"] and not 2 <= num <= MOST_WAYS:
        raise UserError(
            f"--num={num} doesn't fit: --interpolate goes from sample to sample, of 2 to "
            f"{MOST_WAYS}; try --num=8"
        )
    if flags["video"] and not flags["interpolate"]:
        raise UserError("--video is of the way between samples; add --interpolate")


def _truncation(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (value > 0 and math.isfinite(value)):
        raise UserError(
            f"--truncation={text} doesn't fit: it takes a number of deviations above 0, such as 2"
        )
    return value


def makes_of_noise(run: trained.Run) -> bool:
    """Whether noise is all that a run's game takes, besides classes."""
    return run.built.game.noise is not None and "input" not in run.built.batch


def _require_noise(run: trained.Run, flags: dict) -> None:
    """Refuses what this run can't make.

    Raises:
      UserError: saying why.
    """
    game = run.built.game
    trained.require_images(run, flags["workdir"])
    if not makes_of_noise(run):
        raise UserError(
            f"{flags['workdir']} translates pictures and makes none of noise; use "
            f"python -m jaxgan.translate --workdir={flags['workdir']}"
        )
    if "generator" not in run.weights:
        raise UserError(f"{flags['workdir']} holds no generator, so nothing can be made with it")
    if len(_shape(run)) == 1 and flags["format"] != "npz":
        raise UserError(
            f"{flags['workdir']} makes points in the plane and no pictures; add --format=npz"
            + " and leave out --grid" * flags["grid"]
            + " and leave out --interpolate" * flags["interpolate"]
        )
    if flags["truncation"] and (game.latent is None or game.latent.law != "normal"):
        raise UserError(
            f"--truncation cuts the tails of normal noise off, and the noise of {flags['workdir']} "
            "has none; leave it out"
        )
    if flags["interpolate"] and game.latent is None:
        raise UserError(
            f"the game of {flags['workdir']} doesn't say what lies between its draws of noise; "
            "leave out --interpolate"
        )


def chosen_classes(text: str, there: int) -> tuple[int, ...]:
    """What `--classes` means for a run with so many classes; without it all of them.

    Raises:
      UserError: for a run without classes, and for classes that it hasn't.
    """
    if not text:
        return tuple(range(there))
    if not there:
        raise UserError(
            f"--classes={text} doesn't fit: this run was trained without classes; leave it out"
        )
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) < there):
            raise UserError(
                f"--classes={text} doesn't fit: this run's classes are 0 to {there - 1}, and "
                f"{word!r} is none of them"
            )
    return tuple(int(word) for word in words)


def _names(flags: dict, run: trained.Run, values: arrays.Values) -> list[str]:
    if flags["interpolate"]:
        return ["interpolation.png", "interpolation.gif", "interpolation.mp4"][: 2 + flags["video"]]
    if flags["grid"]:
        return ["grid.png"]
    if flags["format"] == "npz":
        return ["samples.npz"]
    shown = values.kind == "uint8" and _shape(run)[-1] in (1, 3)
    suffix = ".png" if shown else arrays.SUFFIX
    return [f"{i:06d}{suffix}" for i in range(flags["num"])]


def _shape(run: trained.Run) -> tuple[int, ...]:
    """Of one sample: [H, W, C], or [2] of a point."""
    first = 3  # axes before: rounds, micro-batches, images
    return run.built.batch["image"].shape[first:]


def samples(
    run: trained.Run, asked: Asked, devices: Sequence[jax.Device] | None = None
) -> Iterator[np.ndarray]:
    """Each sample: float32 [H, W, C] in [-1, 1], or a point [2].

    Args:
      run: of a game that takes noise.
      asked: which.
      devices: to make them on; without it all that this process has.
    """
    made = sampler(run.built.game, run.built.dtype, asked.truncation)

    def columns(at):
        return at, _labels(at, asked.classes)

    held = run.weights, jax.random.key(asked.seed)
    return in_chunks(made, held, columns, asked.num, _shape(run), devices)


def ways(
    run: trained.Run, asked: Asked, devices: Sequence[jax.Device] | None = None
) -> Iterator[np.ndarray]:
    """The way from each sample to the next, and from the last to the first.

    Args:
      run: of a game that has a `latent`.
      asked: which samples; a way's pictures are of the class that its first sample has.
      devices: as for `samples`.

    Yields:
      float32 [H, W, C] in [-1, 1], `FRAMES` + 1 for each way: its frames, and where it ends.
    """
    game, dtype = run.built.game, run.built.dtype

    @jax.jit
    def made(weights, key, starts, ends, shares, labels):
        a, b = (noise(game, key, x, dtype, asked.truncation)["latent"] for x in (starts, ends))
        batch = {"latent": game.latent.between(a, b, shares)}
        return game.sample(weights, batch | ({"label": labels} if game.classes else {}))["image"]

    def columns(at):
        start = at // (FRAMES + 1) % asked.num
        shares = (at % (FRAMES + 1) / FRAMES).astype(dtype)
        return start, (start + 1) % asked.num, shares, _labels(start, asked.classes)

    count = asked.num * (FRAMES + 1)
    held = run.weights, jax.random.key(asked.seed)
    return in_chunks(made, held, columns, count, _shape(run), devices)


def _labels(at: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    return np.asarray(classes or (0,), np.int32)[at % (len(classes) or 1)]


def stacked(made: np.ndarray, classes: tuple[int, ...], values: arrays.Values) -> bytes:
    """Samples [N, H, W, C] in [-1, 1], or points [N, 2], as an `.npz` file.

    Images are uint8, or float32 in the run's range.
    """
    if made.ndim == 2:
        content = {"points": made}
    else:
        uint8 = values.kind == "uint8"
        content = {"images": pictures.to_uint8(made) if uint8 else values.from_unit(made)}
    if classes:
        content["labels"] = _labels(np.arange(len(made)), classes)
    out = io.BytesIO()
    np.savez(out, **content)
    return out.getvalue()


def grid(images: Sequence[np.ndarray], classes: tuple[int, ...]) -> np.ndarray:
    """One picture of samples, uint8 [height, width, 3]: each class in columns of its own.

    Args:
      images: [H, W, C] in [-1, 1]; the i-th is of class i % len(classes), if there are any.
      classes: in turn.
    """
    kinds = min(len(classes) or 1, len(images))
    of_each = -(-len(images) // kinds)
    wide = max(COLUMNS, math.ceil(math.sqrt(len(images))))
    columns = min(max(1, wide // kinds), of_each)
    rows = []
    for row in range(-(-of_each // columns)):
        which = [
            (row * columns + column) * kinds + kind
            for kind in range(kinds)
            for column in range(columns)
        ]
        rows.append([images[i] if i < len(images) else None for i in which])
    names = [str(c) for c in classes[:kinds]]
    if columns == 1 and names:
        return pictures.grid(rows, names)
    groups = [(f"class {name}", columns) for name in names] or None
    return pictures.grid(rows, [""] * kinds * columns, groups=groups)


def interpolation(made: Iterator[np.ndarray], program: str | None) -> list[bytes]:
    """The files of `ways`: a PNG of their rows, a GIF that goes through them all, perhaps an MP4.

    Args:
      made: as `ways` yields it.
      program: where ffmpeg is, if there shall be an MP4.
    """
    rows, frames, made = [], [], iter(made)  # a bar of progress may be begun once
    while way := list(itertools.islice(made, FRAMES + 1)):
        rows.append(way[:: FRAMES // (STEPS - 1)])
        frames += [_enlarged(image) for image in way[:FRAMES]]  # the end is the next one's start
    files = [pictures.png(pictures.grid(rows, [""] * STEPS)), animations.gif(frames)]
    return files + ([animations.mp4(frames, program)] if program else [])


def _enlarged(image: np.ndarray) -> np.ndarray:
    image = pictures.to_rgb(image)
    factor = pictures.enlargement(*image.shape[:2])
    return image.repeat(factor, 0).repeat(factor, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
