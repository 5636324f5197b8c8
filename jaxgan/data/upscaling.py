"""Images and what is left of them after a reduction: what super-resolution learns from.

A large image is cut to a multiple of the scale and reduced as a whole; a crop of it and the crop of
the small image that belongs to it are cut out together, so that a crop's rim has seen the image
around it, as it will when whole images are enlarged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan.data import labelled, sources
from jaxgan.data.bicubic import KERNELS
from jaxgan.data.sources import Cached, ImageFolder, Source, Subset
from jaxgan.errors import UserError
from jaxgan.files import expanded

LAYOUT = (
    "A folder of pictures is needed, or one with the folders train and, where there are test "
    "pictures, test or val"
)
HELD_OUT = ("test", "val")


class Upscaling(NamedTuple):
    """Large images to train on, and sets of them to test on.

    Attributes:
      train: uint8 [H, W, C] by index, of any sizes that are multiples of the scale.
      tests: name of a set -> such a source.
      notes: sentences for the user.
    """

    train: Source
    tests: Mapping[str, Source]
    notes: tuple[str, ...]


class Trimmed:
    """Images cut at the right and at the bottom to multiples of a number of pixels.

    Args:
      source: images [H, W, C].
      multiple: of which both sides shall be.
      least: an image with a shorter side is refused; it is named.
      advice: what can be done about it.
    """

    def __init__(self, source: Source, multiple: int, least: int, advice: str = "remove it"):
        self.source, self.multiple, self.least = source, multiple, least
        self.advice = advice

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        image = self.source[index]
        height, width = (n // self.multiple * self.multiple for n in image.shape[:2])
        if min(height, width) < self.least:
            raise UserError(
                f"{self.names[index]} is {image.shape[1]} x {image.shape[0]} pixels, too small for "
                f"{self.least}, which this run needs; {self.advice}"
            )
        return image[:height, :width]

    @property
    def names(self) -> list[str]:
        there = getattr(self.source, "names", None)
        return there or [f"scene {i}" for i in range(len(self.source))]


class Reduced:
    """What is left of the images of a source after a reduction.

    Args:
      source: uint8 images whose sides are multiples of `scale`.
      scale: by which they are reduced.
      kernel: a name of `bicubic.KERNELS`.
    """

    def __init__(self, source: Source, scale: int, kernel: str):
        self.source, self.scale, self.kernel = source, scale, kernel

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        image = self.source[index]
        height, width = (n // self.scale for n in image.shape[:2])
        return KERNELS[self.kernel](image, height, width)


def open_folder(path: str, tests: str, channels: int, scale: int, least: int) -> Upscaling:
    """Opens pictures to train on, at `path`, and sets of pictures to test on.

    Args:
      path: a folder laid out as `LAYOUT` says; `~` is expanded.
      tests: more folders, separated by commas, each a set that is named after its folder. Without
        them, and without test pictures at `path`, a part of the training pictures is held out.
      channels: 3, or 1 (grey).
      scale: every picture is cut to a multiple of it.
      least: a training picture with a shorter side is refused.

    Raises:
      UserError: folders that aren't there or hold nothing readable, a picture that is too small.
    """
    root = labelled.existing(path, LAYOUT)
    if not root.is_dir():
        raise UserError(f"data.path={root} is a file. {LAYOUT}; unpack an archive first.")
    inside = {entry.name for entry in root.iterdir() if entry.is_dir()}
    own = next((name for name in HELD_OUT if name in inside), None)
    if own and "train" not in inside:
        raise UserError(f"{root} has {own} and no train. {LAYOUT}")
    places = {"train": root / "train" if "train" in inside else root}
    places |= _named_sets(tests) or ({"test": root / own} if own else {})
    notes: list[str] = []
    _require_apart(places, tests)
    opened = {}
    for name, place in places.items():
        found = _readable(place, channels, notes)
        if name == "train":
            # Some may be held out for tests.
            advice = "remove it, or lower --config.data.image_size"
            opened[name] = Trimmed(found, scale, max(least, 2 * scale + 1), advice)
        else:  # of which the border is left out
            opened[name] = Trimmed(found, scale, 2 * scale + 1)
        sources.read_all(opened[name])  # one that is too small is told here
    train = opened.pop("train")
    if not opened:
        names = train.names
        if len(names) < 2:
            raise UserError(f"{root} has one readable picture, too few to hold one out; add more")
        chosen = set(sources.held_out_names(names))
        held = [i for i, name in enumerate(names) if name in chosen]
        kept = [i for i, name in enumerate(names) if name not in chosen]
        train, opened = Subset(train, kept), {"test": Subset(train, held)}
        notes.append(labelled.held_out_note(len(chosen), len(names)))
    return Upscaling(train, opened, tuple(notes))


def _named_sets(tests: str) -> dict[str, Path]:
    """Folders of `data.tests` by their names."""
    places: dict[str, Path] = {}
    for word in filter(None, (word.strip() for word in tests.split(","))):
        place = expanded(word)
        if not place.is_dir():
            raise UserError(
                f"data.tests={tests}: {place} is no folder{sources.nearest_existing(place)}. "
                "Folders of test pictures are needed, with commas between them"
            )
        if place.name in (*places, "train"):
            raise UserError(
                f"data.tests={tests}: a set is named after its folder, and {place.name} is taken; "
                "rename the folder"
            )
        places[place.name] = place
    return places


def _require_apart(places: Mapping[str, Path], tests: str) -> None:
    """Refuses pictures that would be trained on and tested on."""
    real = {name: place.resolve() for name, place in places.items()}
    for name, place in real.items():
        if name == "train" or not tests:
            continue
        if place.is_relative_to(real["train"]) or real["train"].is_relative_to(place):
            raise UserError(
                f"data.tests={tests}: {places[name]} and {places['train']} share pictures, which "
                "would be trained on and tested on; keep them in folders apart"
            )


def _readable(place: Path, channels: int, notes: list[str]) -> Source:
    """The pictures in a folder that can be read, at their own sizes; `notes` gets the others."""
    cached = Cached(ImageFolder(place, channels))
    return sources.readable(cached, str(place), sources.read_all(cached), notes)
