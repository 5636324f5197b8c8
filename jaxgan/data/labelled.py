"""Images with classes: what a labelled data set is, and how folders of images become one.

Pictures are never squeezed: a square is cut out of the middle (`transforms.centre`).
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxgan.data import sources, transforms
from jaxgan.data.arrays import UINT8, Values
from jaxgan.data.sources import Cached, ImageFolder, Source, Stored, Subset
from jaxgan.errors import UserError
from jaxgan.files import expanded

UNLABELLED = ("image",)  # the one class of images without classes
LAYOUT = (
    "A folder is needed with a folder of images for each class, or with images alone; or with "
    "train and test that are so"
)
HELD_OUT_MOST = 500  # over all classes
SHOWN = 12


class Labelled(NamedTuple):
    """Images with classes, to train on.

    Attributes:
      train: [load_size, load_size, C] by index, all uint8 or all float32 in [-1, 1].
      test: [image_size, image_size, C] by index, never trained on.
      labels, test_labels: int32, an index into `classes` for each image.
      classes: their names; one of unlabelled images.
      notes: sentences for the user.
      judge: uint8 images [N, H, W, C] -> (classes int32 [N], how surely float32 [N]), where the
        data come with one.
      measure: uint8 images [N, H, W, C] -> name -> float32 [N, ...], what varies within a class,
        where the data come with it.
      counted: whether classes are modes to be counted, each reached by one readable sample.
    """

    train: Source
    test: Source
    labels: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    judge: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    measure: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None
    counted: bool = False


class Part(NamedTuple):
    """Images on a disk and their classes: those to train on, or those to test on."""

    images: Stored
    labels: np.ndarray


def open_folder(
    path: str | os.PathLike,
    channels: int = 3,
    *,
    image_size: int,
    load_size: int,
    values: Values = UINT8,
    budget_bytes: int | None = None,
) -> Labelled:
    """Opens a folder with one folder per class, or one of images without classes.

    Where it has `train` and `test`, these are such folders; `train` alone may be there, too.

    Args:
        path: the folder; `~` is expanded.
        channels: 3 (RGB), 1 (grey), or any other number for `.npy` files.
        image_size, load_size: sides of the test and of the training images.
        values: what the files hold.
        budget_bytes: memory for all caches together; `sources.default_budget()` where None.

    Raises:
        UserError: it isn't there, holds no readable image, has images beside folders of images,
            or test images of a class that isn't trained on.
    """
    root = existing(path, LAYOUT)
    if not root.is_dir():
        raise UserError(f"data.path={root} is a file. {LAYOUT}; unpack an archive first.")
    there = {entry.name for entry in root.iterdir() if not entry.name.startswith(".")}
    inside = {name for name in there if (root / name).is_dir()}
    divided = {"train", "test"} <= inside or inside == {"train"}
    loose = sorted(name for name in there - inside if name.lower().endswith(sources.READ))
    if divided and loose:
        raise _mixed(root, loose[0], "train")
    notes = []

    def part(folder: Path, size: int) -> tuple[ImageFolder, list[str]]:
        images = ImageFolder(folder, channels, size, values=values, fit=transforms.centre)
        return images, class_names(images, notes)

    train, names = part(root / "train" if divided else root, load_size)
    classes = tuple(sorted(set(names)))
    index = {name: i for i, name in enumerate(classes)}
    test = None
    if divided and "test" in inside:
        images, found = part(root / "test", image_size)
        unknown = sorted(set(found) - set(classes))
        if unknown:
            raise UserError(
                f"{images.path} has images of {_listed(unknown)}, which {train.path} hasn't "
                f"({_listed(classes)}); both need the same classes"
            )
        test = Part(images, np.array([index[name] for name in found], np.int32))
        ignored = sorted(inside - {"train", "test"})
        notes += [f"Beside train and test, {_listed(ignored)} is not read."] if ignored else []
    elif len(classes) == 1 and all(name.count("/") > 1 for name in train.names):
        inner = train.path / classes[0]
        notes.append(
            f"If the folders in {classes[0]} are the classes, train with "
            f"--config.data.path={inner}."
        )
    labels = np.array([index[name] for name in names], np.int32)
    return divide(
        Part(train, labels),
        test,
        classes,
        root,
        image_size=image_size,
        values=values,
        budget_bytes=budget_bytes,
        notes=notes,
    )


def class_names(images: ImageFolder, notes: list[str]) -> list[str]:
    """The class of each image: the folder that it lies in, or `UNLABELLED`.

    Raises:
        UserError: there are images beside folders of images.
    """
    loose = [name for name in images.names if "/" not in name]
    if loose and len(loose) < len(images):
        folder = next(name for name in images.names if "/" in name).partition("/")[0]
        raise _mixed(images.path, loose[0], folder)
    if loose:
        return [UNLABELLED[0]] * len(images)
    names = [name.partition("/")[0] for name in images.names]
    folders = {entry.name for entry in images.path.iterdir() if entry.is_dir()}
    empty = sorted(name for name in folders - set(names) if not name.startswith("."))
    if empty:
        notes.append(f"{images.path} has folders without images, left out: {_listed(empty)}.")
    return names


def _mixed(root: Path, image: str, folder: str) -> UserError:
    return UserError(
        f"{root} has images such as {image} beside folders of images such as {folder}; put each "
        "image into the folder of its class, or all of them into one folder of their own"
    )


def divide(
    train: Part,
    test: Part | None,
    classes: tuple[str, ...],
    root: Path,
    *,
    image_size: int,
    values: Values = UINT8,
    budget_bytes: int | None = None,
    notes: Sequence[str] = (),
) -> Labelled:
    """Reads everything once, leaves out what is broken, holds out what there is no test of.

    Args:
        train, test: at `load_size` and at `image_size`; without test images a part of each class
            is held out (`held_out`).
        classes: their names.
        root: where they lie, for messages.
        image_size, values, budget_bytes: as for `open_folder`.
        notes: sentences to go on with.

    Raises:
        UserError: nothing, or nothing of a class, can be read; values lie outside of `values`'
            range; there are too few images to hold any out.
    """
    parts = {"train": train} | ({"test": test} if test else {})
    images = {name: part.images for name, part in parts.items()}
    labels, notes = {}, list(notes)
    opened, broken = sources.open_parts(images, root, values, notes, budget_bytes)
    for name, part in parts.items():
        lost = {error.name for error in broken[name]}
        kept = [i for i, image in enumerate(part.images.names) if image not in lost]
        labels[name] = part.labels[kept]
    _require_all_classes(root, classes, labels["train"])
    if test is None:
        names = opened["train"].names
        chosen = held_out(names, labels["train"], len(classes))
        if len(chosen) == len(names):
            raise UserError(
                f"{root} has no test images, and one readable image is too few to hold one out; "
                "add images"
            )
        kept = np.setdiff1d(np.arange(len(names)), chosen)
        opened["train"] = Subset(opened["train"], kept.tolist())
        held = train.images.part([names[i] for i in chosen], image_size)
        bytes_held = len(chosen) * held.channels * image_size**2 * values.dtype.itemsize
        opened["test"] = Cached(held, bytes_held)
        labels["test"], labels["train"] = labels["train"][chosen], labels["train"][kept]
        notes.append(held_out_note(len(chosen), len(names)))
    notes.append(class_note(classes))
    both = opened["train"], opened["test"], labels["train"], labels["test"]
    return Labelled(*both, classes, tuple(notes))


def _require_all_classes(root: Path, classes: Sequence[str], labels: np.ndarray) -> None:
    lost = [classes[i] for i in np.setdiff1d(np.arange(len(classes)), labels)]
    if lost:
        raise UserError(
            f"{root} has no readable image to train on of the class {_listed(lost)}; restore its "
            "files, or leave the class out"
        )


def held_out(names: Sequence[str], labels: np.ndarray, classes: int) -> np.ndarray:
    """Indices of the images that test where there is no test set: 5 % of each class, rounded.

    They are 500 at most over all classes, and at least one image; which ones depends on the names
    alone (`sources.held_out_names`).

    Args:
        names: of all images, each once.
        labels: int [N], below `classes`.

    Returns:
        int [M], ascending.
    """
    most = max(1, HELD_OUT_MOST // classes)
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(labels, minlength=classes))[:-1])
    chosen = []
    for indices in members:
        if round(sources.HELD_OUT_SHARE * len(indices)):
            chosen += sources.held_out_names([names[i] for i in indices], most)
    chosen = set(chosen or sources.held_out_names(names, most))
    return np.array([i for i, name in enumerate(names) if name in chosen])


def held_out_note(held: int, images: int) -> str:
    """The sentence for the user."""
    verb = "are" if held > 1 else "is"
    return (
        f"There are no test images: {held} of the {images} images {verb} held out for testing and "
        "never trained on."
    )


def class_note(classes: Sequence[str]) -> str:
    """The sentence for the user."""
    if len(classes) == 1:
        return "All images are of one class."
    return f"There are {len(classes)} classes: {_listed(classes)}."


def missing_files(folder: Path, missing: Sequence[str], count: int, wanted: str) -> UserError:
    """Of a published set of `count` files; `wanted` as for `existing`."""
    lost = f"no {' and no '.join(missing)}" if len(missing) < count else "none of its files"
    return UserError(f"{folder} has {lost}. {wanted}: --config.data.path=PATH")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def existing(path: str | os.PathLike, wanted: str) -> Path:
    """`data.path`, which has to be there; `~` is expanded.

    Args:
        wanted: what should lie there, a sentence without its full stop.

    Raises:
        UserError: it is not set, or nothing is there.
    """
    if not os.fspath(path):
        raise UserError(f"data.path is not set. {wanted}: --config.data.path=PATH")
    root = expanded(path)
    if not root.exists():
        raise UserError(
            f"data.path={root} does not exist{sources.nearest_existing(root)}. {wanted}: "
            "--config.data.path=PATH"
        )
    return root
