"""Pairs of images, an input and its truth: what a paired data set is, and what pairs are made of.

A pair is one array, the truth's channels behind the input's. So whatever is done to a pair by
chance, its crop and its flip, is done to both halves.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan.data import labelled, sources, transforms
from jaxgan.data.arrays import UINT8, Values
from jaxgan.data.sources import Cached, ImageFolder, Source, Stored, Subset, UnreadableImage
from jaxgan.errors import UserError

LAYOUT = (
    "A folder is needed with pictures that hold both halves side by side (in train, and in test or "
    "val where there are test pictures), or with trainA and trainB (and testA and testB) whose "
    "files have the same names"
)
HELD_OUT = ("test", "val")  # folders of test images, the first that is there


class Maps(NamedTuple):
    """What is known of pairs of which one half is a map of classes in colours.

    Attributes:
      classes: their names.
      palette: their colours, uint8 [classes, 3].
      half: which one is the map, ``input`` or ``truth``.
    """

    classes: tuple[str, ...]
    palette: np.ndarray
    half: str

    def read(self, images: np.ndarray) -> np.ndarray:
        """uint8 images [N, H, W, 3] to classes [N, H, W], by the nearest colour."""
        palette = self.palette.astype(np.int32)

        def nearest(image):
            distances = ((image.astype(np.int32)[:, :, None] - palette) ** 2).sum(-1)
            return distances.argmin(-1).astype(np.int32)

        return np.stack([nearest(image) for image in images])


class Paired(NamedTuple):
    """Pairs to train on and to test on.

    Attributes:
      train: [load_size, load_size, 2 C] by index, all uint8 or all float32 in [-1, 1]: C channels
        of the input, then those of the truth.
      test: [image_size, image_size, 2 C] by index, never trained on.
      notes: sentences for the user.
      maps: where one half is a map of classes.
    """

    train: Source
    test: Source
    notes: tuple[str, ...]
    maps: Maps | None = None


class Beside:
    """Two sources of as many images, by index: input and truth."""

    def __init__(self, inputs: Source, truths: Source):
        if len(inputs) != len(truths):
            raise ValueError(f"{len(inputs)} inputs and {len(truths)} truths")
        self.inputs, self.truths = inputs, truths

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.concatenate([self.inputs[index], self.truths[index]], axis=-1)

    @property
    def names(self) -> list[str]:
        return self.inputs.names


def halves(image: np.ndarray, size: int, direction: str = "AtoB") -> np.ndarray:
    """A picture of both halves to a pair: A is the left half, B the right one.

    Args:
      image: [H, 2 W, C].
      size: each half is squeezed into this square.
      direction: from which half to which.

    Returns:
      [size, size, 2 C].

    Raises:
      ValueError: the picture can't be halved.
    """
    if image.shape[1] % 2:
        raise ValueError(f"{image.shape[1]} pixels across have no halves")
    left, right = (transforms.resize(np.ascontiguousarray(x), size) for x in np.split(image, 2, 1))
    pair = (left, right) if direction == "AtoB" else (right, left)
    return np.concatenate(pair, axis=-1)


def open_folder(
    path: str | os.PathLike,
    channels: int = 3,
    *,
    direction: str = "AtoB",
    image_size: int,
    load_size: int,
    values: Values = UINT8,
) -> Paired:
    """Opens a folder of pairs, laid out as `LAYOUT` says.

    Every file is decoded once; pairs of which a half is broken are left out, and told. Without test
    pictures a part of the others is held out.

    Args:
      path: the folder; `~` is expanded.
      channels: of each half.
      direction: which half is the input.
      image_size, load_size: sides of the test and of the training pairs.
      values: what the files hold.

    Raises:
      UserError: it isn't there, is laid out otherwise, holds nothing readable, or halves don't
        match.
    """
    root = labelled.existing(path, LAYOUT)
    if not root.is_dir():
        raise UserError(f"data.path={root} is a file. {LAYOUT}; unpack an archive first.")
    inside = {entry.name for entry in root.iterdir() if entry.is_dir()}
    sides = {"train": load_size, "test": image_size}
    if {"trainA", "trainB"} <= inside:
        if len({"testA", "testB"} & inside) == 1:
            raise UserError(f"{root} has one of testA and testB; pairs need both. {LAYOUT}")
        parts = {
            part: _two_folders(root, part, channels, size, values, direction)
            for part, size in sides.items()
            if f"{part}A" in inside
        }
    elif {"trainA", "trainB"} & inside:
        raise UserError(f"{root} has one of trainA and trainB; pairs need both. {LAYOUT}")
    else:
        tests = [name for name in HELD_OUT if name in inside]
        if tests and "train" not in inside:
            raise UserError(f"{root} has {tests[0]} and no train. {LAYOUT}")
        places = {"train": root / "train" if "train" in inside else root}
        if tests:
            places["test"] = root / tests[0]

        def fit(image, size):
            return halves(image, size, direction)

        parts = {
            part: ImageFolder(place, channels, sides[part], values=values, fit=fit)
            for part, place in places.items()
        }
    return divide(parts, root, channels, image_size, values)


class _Folders(Beside):
    """Pairs from two folders, named as their files are without the suffix, which may differ."""

    @property
    def size(self) -> int | None:
        return self.inputs.size

    @property
    def names(self) -> list[str]:
        return [_stem(name) for name in self.inputs.names]

    def __getitem__(self, index: int) -> np.ndarray:
        """A pair; one of which either half is broken is broken, under its own name."""
        halves = []
        for folder in (self.inputs, self.truths):
            try:
                halves.append(folder[index])
            except UnreadableImage as error:
                file = folder.path / error.name
                reason = f"{folder.path.name}/{error.name}: {error.reason}"
                raise UnreadableImage(file, self.names[index], reason) from error.__cause__
        return np.concatenate(halves, axis=-1)

    def part(self, names: Sequence[str], size: int) -> "_Folders":
        at = [self.names.index(name) for name in names]
        return _Folders(
            *(
                folder.part([folder.names[i] for i in at], size)
                for folder in (self.inputs, self.truths)
            )
        )

    def refusal(self, broken: Sequence[UnreadableImage]) -> str:
        root = self.inputs.path.parent
        return f"None of the {len(broken)} pairs in {root} can be read: {sources.listed(broken)}"


def _two_folders(root: Path, part: str, channels: int, size: int, values: Values, direction: str):
    folders = [
        ImageFolder(root / f"{part}{domain}", channels, size, values=values) for domain in "AB"
    ]
    stems = [{_stem(name): name for name in folder.names} for folder in folders]
    for domain, folder, found in zip("AB", folders, stems, strict=True):
        if len(found) < len(folder):
            twice = sorted(set(folder.names) - set(found.values()))[0]
            raise UserError(
                f"{folder.path} has several files named {_stem(twice)}; a pair needs one"
            )
        lonely = sorted(set(found) - set(stems["BA".index(domain)]))
        if lonely:
            more = f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
            raise UserError(
                f"{folder.path}/{found[lonely[0]]}{more} has no partner of the same name in "
                f"{folders['BA'.index(domain)].path}; pairs are matched by name"
            )
    common = sorted(stems[0])
    matched = [
        ImageFolder(folder.path, channels, size, [found[stem] for stem in common], values)
        for folder, found in zip(folders, stems, strict=True)
    ]
    return _Folders(*(matched if direction == "AtoB" else matched[::-1]))


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def divide(
    parts: Mapping[str, Stored],
    root: Path,
    channels: int,
    size: int,
    values: Values = UINT8,
) -> Paired:
    """Reads everything once, leaves out what is broken, holds out what there is no test of.

    Args:
      parts: pairs to train on, `train`, and perhaps to test on, `test`.
      root: where they lie, for messages.
      channels: of each half.
      size: of the test pairs.
      values: what is stored.

    Raises:
      UserError: where nothing can be read, or too little to hold a part out.
    """
    notes: list[str] = []
    opened, _ = sources.open_parts(parts, root, values, notes)
    if "test" not in opened:
        names = opened["train"].names
        if len(names) < 2:
            raise UserError(f"{root} has one readable pair, too few to hold one out; add pairs")
        chosen = set(sources.held_out_names(names))
        kept = [i for i, name in enumerate(names) if name not in chosen]
        opened["train"] = Subset(opened["train"], kept)
        held = parts["train"].part(sorted(chosen), size)
        opened["test"] = Cached(held, len(chosen) * 2 * channels * size**2 * values.dtype.itemsize)
        notes.append(labelled.held_out_note(len(chosen), len(names)))
    return Paired(opened["train"], opened["test"], tuple(notes))
