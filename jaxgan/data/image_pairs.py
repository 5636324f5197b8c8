"""Images beside their truth, from two folders or arrays: matched by name, and scored one by one."""

import sys
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from tqdm import tqdm

from jaxgan.data.image_sets import ImageSet
from jaxgan.data.sources import UnreadableImage, listed
from jaxgan.errors import UserError
from jaxgan.metrics import pairs, upscaling

METRICS = {"psnr": pairs.psnr, "ssim": pairs.ssim, "l1": pairs.l1}
SHOWN = 3


def matched(real: ImageSet, fake: ImageSet) -> list[tuple[str, int, int]]:
    """Name, index of the truth and index of the fake of each pair, in the truths' order.

    Files of folders belong together by their path without its ending, arrays by their place.

    Raises:
      UserError: where one has no other, or two have the same.
    """
    keys = [_keys(side) for side in (real, fake)]
    for there, here, name in ((*keys, fake.name), (*keys[::-1], real.name)):
        alone = [key for key in there if key not in here]
        if alone:
            raise UserError(
                f"{len(alone)} of {len(there)} images have no other of their name in {name}: "
                f"{', '.join(alone[:SHOWN])}{', ...' * (len(alone) > SHOWN)}; pairs have the same "
                "names in both, but for the ending"
            )
    return [(key, index, keys[1][key]) for key, index in keys[0].items()]


def scored(
    real: ImageSet,
    fake: ImageSet,
    metrics: Sequence[str],
    num: int = 0,
    luma: bool = False,
    border: int = 0,
) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """What each fake scores beside its truth; a pair has one size, pairs may have many.

    Args:
      real, fake: both sides.
      metrics: names of `METRICS`.
      num: the first so many pairs; 0: all.
      luma: brightness alone, as tables of super-resolution have it; not rounded.
      border: pixels of each side that don't count.

    Returns:
      {"": the images' names} and name -> float64 [N]. Pairs that can't be read are left out, and
      told on stderr.

    Raises:
      UserError: where pairs don't match, or none can be read.
    """
    names, found, broken = [], {metric: [] for metric in metrics}, []
    together = matched(real, fake)[: num or None]
    for name, i, j in tqdm(together, unit="pair", disable=None):
        try:
            images = fake.source[j], real.source[i]
        except UnreadableImage as error:
            broken.append(error)
            continue
        _require_alike(name, images, border, metrics)
        ours, truth = (_prepared(image, luma, border) for image in images)
        names.append(name)
        for metric in metrics:
            found[metric].append(METRICS[metric](ours, truth)[0])
    if broken:
        print(
            f"{len(broken)} of {len(together)} pairs unreadable, skipped: {listed(broken)}",
            file=sys.stderr,
        )
    if not names:
        raise UserError(f"none of the {len(together)} pairs can be read")
    return {"": names}, {metric: np.array(values) for metric, values in found.items()}


def _keys(images: ImageSet) -> dict[str, int]:
    names = getattr(images.source, "names", None)
    if names is None:
        return {f"image {i}": i for i in range(len(images.source))}
    found: dict[str, int] = {}
    for i, name in enumerate(names):
        key = str(PurePosixPath(name).with_suffix(""))
        if key in found:
            raise UserError(
                f"{images.name} has both {names[found[key]]} and {name}; pairs are told by their "
                "names without the ending"
            )
        found[key] = i
    return found


def _require_alike(name: str, images: tuple, border: int, metrics: Sequence[str]) -> None:
    (a, b), (c, d) = (image.shape[:2] for image in images)
    if (a, b) != (c, d):
        raise UserError(
            f"{name}: the fake is {b} x {a} and its truth {d} x {c}; pairs have one size"
        )
    least = min(a, b) - 2 * border
    needed = pairs.WINDOW if "ssim" in metrics else 1
    if least < needed:
        within = f" within --border={border}" if border else ""
        reason = (
            f"ssim, which takes {needed} pixels{within}" if needed > 1 else f"--border={border}"
        )
        raise UserError(f"{name} is {b} x {a}, too little for {reason}")


def _prepared(image: np.ndarray, luma: bool, border: int) -> np.ndarray:
    """[1, H, W, C] in [-1, 1]; luma as bytes of 16 to 235 lie in it."""
    image = image[border : image.shape[0] - border, border : image.shape[1] - border]
    if image.dtype == np.uint8:
        return (upscaling.luma(image) if luma else image.astype(np.float64))[None] / 127.5 - 1
    image = image.astype(np.float64)
    return (upscaling.luma((image + 1) * 127.5) / 127.5 - 1 if luma else image)[None]
