"""Translates pictures with a trained run:

    python -m jaxgan.translate --workdir=runs/cyclegan-seed0 --direction=AtoB \\
        --input=FILE_OR_FOLDER --output=FOLDER

A run's folder is all that it needs, not what the run was trained on. Runs on pairs have a direction
of their own. Pictures of any size keep it: they are padded by reflection to multiples of 32 (or of
what a U-Net takes) and cropped back, so that few shapes are compiled. Each becomes a PNG of the
same name, in the same sub-folder, below --output. A `.npy` array becomes one of the same name,
[H, W, C], in what the run was trained on: uint8, or float32 in its range.

- `--step=latest`: or `best` (by the run's `checkpoint.best`), or a step's number.
- `--weights=auto`: averaged weights (`ema`) where the run has them, else `raw` ones.
- `--exact`: pads only as far as the network needs; more shapes are compiled.
- `--resize=0`: N squeezes every picture to N x N first, as in training.
- `--seed=0`: of the noise that runs on pairs have in their outputs as published (dropout). What a
  picture gets depends on the seed and on its path below --input alone.
- `--overwrite`: replaces pictures that are there already; without it nothing is ever replaced.

Runs of super-resolution enlarge: pictures of any size, tile by tile, so that large ones need little
memory. Transparency is kept, and enlarged by Pillow's bicubic filter.

- `--tile=192`: pixels along a side of what is enlarged at a time; 0 takes each picture whole.
- `--overlap=auto`: pixels that a tile sees beyond what is kept of it: as many as the network does,
  but 48 at most, and a third of the tile. Where the network sees further that is said, and a large
  picture may differ a little from the picture taken whole.
- `--mix=RUN --share=0.8`: weights between this run's (0.8 of them) and another's (the rest).
"""

import functools
import math
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from jaxgan import (
    awake,
    commandline,
    paired_experiment,
    pictures,
    tiles,
    trained,
    upscaling_experiment,
    workdir,
)
from jaxgan.data import arrays, bicubic, datasets, sources
from jaxgan.errors import UserError
from jaxgan.files import expanded, write_atomically
from jaxgan.models import resnet
from jaxgan.tasks import paired, upscaling
from jaxgan.update import decode

COMMAND = "python -m jaxgan.translate"
PADDED_TO = 32
FLAGS = {
    "workdir": "",
    "direction": "",
    "input": "",
    "output": "",
    "step": "latest",
    "weights": "auto",
    "exact": False,
    "resize": 0,
    "seed": 0,
    "overwrite": False,
    "tile": tiles.TILE,
    "overlap": "auto",
    "mix": "",
    "share": 0.8,
}


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def _main(argv: Sequence[str]) -> int:
    flags = commandline.parse_flags(argv, FLAGS)
    for name in ("workdir", "input", "output"):
        if not flags[name]:
            raise _missing(name)
    if not flags["mix"]:
        _require_unused(flags, ("share",), "weights between two runs, --mix=RUN")
    if not 0 <= flags["share"] <= 1:
        raise UserError(f"--share={flags['share']} doesn't fit: it takes 0 to 1")
    if flags["resize"] < 0:
        raise UserError(f"--resize={flags['resize']} doesn't fit: it takes a size, or 0 for none")
    if not 0 <= flags["seed"] < 2**31:
        raise UserError(f"--seed={flags['seed']} doesn't fit: it takes 0 to {2**31 - 1}")
    source = open_pictures(flags["input"])
    inside = expanded(flags["input"]).is_dir()
    targets = plan(source, flags["output"], flags["overwrite"], inside)
    run = trained.open_run(flags["workdir"], flags["step"], flags["weights"])
    trained.require_images(run, flags["workdir"])
    if flags["mix"]:
        other = trained.open_run(flags["mix"], weights=flags["weights"])
        trained.require_images(other, flags["mix"])
        run = trained.mixed(run, other, flags["share"])
    if run.built.game.task == "upscaling":
        return _enlarge(run, source, targets, flags)
    _require_unused(flags, ("tile", "overlap"), "runs of super-resolution, which enlarge")
    direction = flags["direction"] or run.config.data.get("direction", "")
    made = translator(run, direction, flags["seed"])
    multiple, least = fitting(run.config, flags["exact"], flags["resize"])

    data, size = run.config.data, flags["resize"] or None
    values = datasets.values(data)
    source = sources.ImageFolder(source.path, data.channels, size, source.names, values)
    skipped = []
    with awake.cores("auto", run.built.platform):
        steps = tqdm(range(len(source)), unit="picture", disable=not sys.stderr.isatty())
        for i in steps:
            try:
                picture = source[i]
            except sources.UnreadableImage as error:
                skipped.append(error)
                continue
            named = functools.partial(made, name=source.names[i])
            fake = at_any_size(named, picture, multiple, least)
            write_atomically(targets[i], encoded(fake, targets[i], values))
    done = _told(source, skipped)
    print(
        f"{done} translated {direction} by step {run.step} of {flags['workdir']}, into "
        f"{flags['output']}"
    )
    return 0


def _told(source: sources.ImageFolder, skipped: Sequence[sources.UnreadableImage]) -> str:
    """How many pictures were made, in words; those that can't be read are told.

    Raises:
      UserError: where none could.
    """
    if len(skipped) == len(source):
        raise UserError(source.refusal(skipped))
    if skipped:
        shown = sources.listed(skipped)
        print(f"{len(skipped)} of {len(source)} files unreadable, skipped: {shown}")
    count = len(source) - len(skipped)
    return f"{count} {'picture' if count == 1 else 'pictures'}"


def _enlarge(run: trained.Run, source: sources.ImageFolder, targets: list[Path], flags) -> int:
    """What the command does with a run of super-resolution."""
    _require_unused(
        flags, ("direction", "exact", "resize", "seed"), "other runs, and this enlarges"
    )
    if "generator" not in run.weights:
        raise UserError("this run holds no generator, so nothing can be enlarged with it")
    margin = _margin(flags["overlap"], flags["tile"], run.config)
    scale, channels = run.config.data.scale, run.config.data.channels
    weights = jax.device_put(run.weights, run.built.mesh.devices.flat[0])
    made = functools.partial(upscaling.enlarger(run.built.game, run.built.dtype), weights)
    source = sources.ImageFolder(source.path, channels, names=source.names, on_white=False)
    skipped, quiet = [], not sys.stderr.isatty()
    with awake.cores("auto", run.built.platform):
        for i in tqdm(range(len(source)), unit="picture", disable=quiet):
            try:
                picture = source[i]
            except sources.UnreadableImage as error:
                skipped.append(error)
                continue
            each = functools.partial(tqdm, unit="tile", leave=False, disable=quiet)
            image = tiles.enlarged(made, picture, scale, flags["tile"], margin, each)
            if sources.is_array(targets[i]):
                write_atomically(targets[i], arrays.to_bytes(image))
                continue
            opacity = sources.opacity(source.path / source.names[i])
            if opacity is not None:
                opacity = bicubic.pillow(opacity, *image.shape[:2])
                image = np.concatenate([image, opacity], axis=-1)
            write_atomically(
                targets[i], pictures.png(image[..., 0] if image.shape[2] == 1 else image)
            )
    done = _told(source, skipped)
    print(
        f"{done} enlarged {scale} times by step {run.step} of {flags['workdir']}, into "
        f"{flags['output']}"
    )
    return 0


def _require_unused(flags, names: Sequence[str], of: str) -> None:
    given = [name for name in names if flags[name] != FLAGS[name]]
    if given:
        raise UserError(f"--{given[0]} is for {of}; leave it out")


def _margin(overlap: str, tile: int, config: ConfigDict) -> int:
    """The overlap of tiles; the user is told where a network sees further."""
    if tile < 0:
        raise UserError(f"--tile={tile} doesn't fit: it takes pixels, or 0 for whole pictures")
    radius = upscaling_experiment.receptive_radius(config)
    if overlap == "auto":
        margin = tiles.overlap(radius, tile)
        if tile and margin < radius:
            print(
                f"tiles overlap by {margin} pixels and this network sees {radius}, so a large "
                "picture may differ a little from what --tile=0 makes of it"
            )
        return margin
    if not overlap.isdecimal() or (tile and 2 * int(overlap) >= tile):
        raise UserError(
            f"--overlap={overlap} doesn't fit: it takes auto, or pixels, less than half of "
            f"--tile={tile}"
        )
    return int(overlap)


def open_pictures(path: str) -> sources.ImageFolder:
    """The pictures at a path, a file or a folder with sub-folders.

    Raises:
      UserError: where there is none.
    """
    place = expanded(path)
    if place.is_file():
        if not place.name.lower().endswith(sources.READ):
            raise UserError(f"--input={path} is no {sources.KINDS} file")
        return sources.ImageFolder(place.parent, names=[place.name])
    return sources.ImageFolder(place)


def plan(source: sources.ImageFolder, output: str, overwrite: bool, inside: bool) -> list[Path]:
    """Where each picture's translation goes: the same name, in the same sub-folder.

    Pictures become `.png`, arrays `.npy`. Names that would meet there keep their suffix as well:
    `a.jpg.png` and `a.webp.png`.

    Args:
      source: the pictures.
      output: the folder, as typed.
      overwrite: whether what is there may be replaced.
      inside: whether all of the source's folder is translated, so that the output would be taken
        for input at the next time if it lay there.

    Raises:
      UserError: where something is there already and may not be replaced, or where the output
        would mingle with the input.
    """
    folder = workdir.resolve(output)
    if inside and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(source.path)):
        raise UserError(
            f"--output={output} lies in the folder of the pictures themselves; name another one"
        )
    targets = [folder / name for name in _target_names(source.names)]
    originals = {os.path.realpath(source.path / name) for name in source.names}
    for target in targets:
        if os.path.realpath(target) in originals:
            raise UserError(f"--output={output} would replace {target} itself; name another folder")
    require_free(targets, overwrite)
    return targets


def require_free(targets: Sequence[Path], overwrite: bool) -> None:
    """Nothing, where none of the files is there already, or where they may be replaced.

    Raises:
      UserError: naming the first that is there.
    """
    there = [target for target in targets if os.path.lexists(target)]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UserError(
            f"{there[0]}{more} would be replaced; name another --output, or add --overwrite"
        )


def _target_names(names: Sequence[str]) -> list[str]:
    suffixes = [arrays.SUFFIX if sources.is_array(name) else ".png" for name in names]
    whole = [f"{name}{suffix}" for name, suffix in zip(names, suffixes, strict=True)]
    chosen = [
        f"{PurePosixPath(name).with_suffix('')}{suffix}"
        for name, suffix in zip(names, suffixes, strict=True)
    ]
    while True:  # a name that keeps its suffix may meet another one: `a.jpg.png` was there, too
        count = Counter(name.lower() for name in chosen)
        longer = [
            name if count[name.lower()] == 1 else full
            for name, full in zip(chosen, whole, strict=True)
        ]
        if longer == chosen:
            return chosen
        chosen = longer


def encoded(fake: np.ndarray, target: Path, values: arrays.Values) -> bytes:
    """A translation [H, W, C] in [-1, 1] as the file that `target` names: PNG or `.npy`."""
    if not sources.is_array(target):
        grey = fake.shape[-1] == 1
        return pictures.png(pictures.to_uint8(fake)[..., 0] if grey else pictures.to_rgb(fake))
    uint8 = values.kind == "uint8"
    return arrays.to_bytes(pictures.to_uint8(fake) if uint8 else values.from_unit(fake))


def _missing(name: str) -> UserError:
    return UserError(
        f"--{name} is missing; try: {COMMAND} --workdir=runs/cyclegan-seed0 "
        "--direction=AtoB --input=PICTURES --output=TRANSLATED"
    )


def translator(run: trained.Run, direction: str, seed: int = 0) -> Callable[..., np.ndarray]:
    """A function (picture, name) -> translation, [H, W, C] in [-1, 1], compiled for each shape.

    It takes what the run was trained on: uint8, or float32 in [-1, 1].

    Args:
      run: trained.
      direction: AtoB or BtoA; of a run on pairs its own.
      seed: of the noise in the outputs, together with the picture's name.

    Raises:
      UserError: for a direction in which the run's game doesn't translate.
    """
    if run.built.game.task == "paired":
        return _of_pairs(run, direction, seed)
    if run.built.game.task != "unpaired":
        raise UserError("this run translates nothing: it makes pictures of noise")
    if not direction:
        raise _missing("direction")
    if direction not in ("AtoB", "BtoA"):
        raise UserError(f"--direction={direction} doesn't fit: it takes AtoB or BtoA")
    source, target = direction[0], direction[-1]
    game, dtype = run.built.game, run.built.dtype

    @jax.jit
    def made(weights, image):
        return game.sample(weights, decode({source: image[None]}, dtype)).get(f"fake_{target}")

    images = run.built.batch[source]
    probe = jax.ShapeDtypeStruct(images.shape[-3:], images.dtype)
    if jax.eval_shape(made, run.weights, probe) is None:
        raise UserError(
            f"this run doesn't translate {direction}; try --direction={target}to{source}"
        )
    weights = jax.device_put(run.weights, run.built.mesh.devices.flat[0])
    return lambda picture, name="": np.asarray(made(weights, picture)[0], np.float32)


def _of_pairs(run: trained.Run, direction: str, seed: int) -> Callable[..., np.ndarray]:
    if "generator" not in run.weights:
        raise UserError("this run holds no generator, so nothing can be translated with it")
    own = run.config.data.direction
    if direction != own:
        raise UserError(f"this run translates {own} alone; leave out --direction={direction}")
    made = paired.translator(run.built.game, run.built.dtype)
    weights = jax.device_put(run.weights, run.built.mesh.devices.flat[0])
    key = jax.random.key(seed)

    def translate(picture, name=""):
        index = np.array([zlib.crc32(os.fsencode(name)) & 0x7FFFFFFF], np.int32)
        return np.asarray(made(weights, key, index, picture[None])[0], np.float32)

    return translate


def fitting(config: ConfigDict, exact: bool, resize: int) -> tuple[int, int]:
    """Of which number a picture's sides have to be multiples, and how large they are at least."""
    g = config.model.generator
    if config.game == "paired":
        if g.kind != "unet":
            return 1, 1  # a network of one's own, of which nothing is known
        multiple = 2 ** paired_experiment.unet_levels(config)
        return (multiple if exact or resize else math.lcm(multiple, PADDED_TO)), multiple
    least = resnet.smallest_image(g.padding, g.norm)
    return (resnet.MULTIPLE if exact or resize else PADDED_TO), least


def at_any_size(
    made: Callable[[np.ndarray], np.ndarray], picture: np.ndarray, multiple: int, least: int
) -> np.ndarray:
    """`made` of a picture that is padded by reflection, half on each side, and cropped back.

    Args:
      made: of pictures whose sides are multiples of `multiple` and at least `least`.
      picture: [H, W, C].
      multiple, least: in pixels.

    Returns:
      [H, W, C] in [-1, 1].
    """
    height, width = picture.shape[:2]
    sides = [max(least, math.ceil(n / multiple) * multiple) for n in (height, width)]
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    around = ((top, sides[0] - height - top), (left, sides[1] - width - left), (0, 0))
    fake = made(np.pad(picture, around, mode="reflect"))
    return fake[top : top + height, left : left + width]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
