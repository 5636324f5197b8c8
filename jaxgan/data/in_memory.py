"""Data sets that are one array: uint8 pictures stay as they were published, in memory.

Pictures of another size or colour are made when first asked for, and kept (`sources.Cached`).
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data import labelled, sources, transforms
from jaxgan.data.labelled import Labelled
from jaxgan.data.sources import Cached, Source, Subset
from jaxgan.errors import UserError


class Split(NamedTuple):
    """Images [N, H, W, C], uint8 or float32 in [-1, 1], and their labels, integers [N]."""

    images: np.ndarray
    labels: np.ndarray


def open_splits(
    train: Split,
    test: Split | None,
    classes: tuple[str, ...],
    where: str,
    *,
    channels: int,
    image_size: int,
    load_size: int,
    budget_bytes: int | None = None,
) -> Labelled:
    """Images and labels in memory as a data set.

    Args:
        train, test: what was read; without test images a part is held out (`labelled.held_out`).
        classes: their names.
        where: what they were read from, for messages.
        channels: 1 or 3 for pictures, of either number; else what the images have.
        image_size, load_size: sides of the test and of the training images.
        budget_bytes: memory for all caches together; `sources.default_budget()` where None.

    Raises:
        UserError: labels and images differ in number, a label has no class, or there are too few
            images to hold any out.
    """
    for name, split in {"train": train, "test": test}.items():
        if split is not None:
            _require_fit(where, name, split, len(classes))
    notes = []
    kept = chosen = None
    if test is None:
        if len(train.images) < 2:
            raise UserError(
                f"{where} has no test images, and one image is too few to hold one out; add images"
            )
        names = [str(i) for i in range(len(train.images))]
        chosen = labelled.held_out(names, train.labels, len(classes))
        kept = np.setdiff1d(np.arange(len(names)), chosen)
        notes.append(labelled.held_out_note(len(chosen), len(names)))
        test = train
    budget = sources.default_budget() if budget_bytes is None else budget_bytes
    ours = len(train.images if kept is None else kept) * load_size**2
    theirs = len(test.images if chosen is None else chosen) * image_size**2
    share = budget * ours // (ours + theirs)
    train_images = fitted(train.images, channels, load_size, kept, share)
    test_images = fitted(test.images, channels, image_size, chosen, budget - share)
    labels, test_labels = (
        np.asarray(split.labels if indices is None else split.labels[indices], np.int32)
        for split, indices in ((train, kept), (test, chosen))
    )
    notes.append(labelled.class_note(classes))
    return Labelled(train_images, test_images, labels, test_labels, classes, tuple(notes))


def _require_fit(where: str, name: str, split: Split, classes: int) -> None:
    images, labels = split
    if len(images) != len(labels):
        raise UserError(
            f"{where} has {len(images)} {name} images and {len(labels)} labels of them; each image "
            "needs one label"
        )
    if not len(images):
        raise UserError(f"{where} has no {name} images")
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise UserError(
            f"{where}: the {name} image {first} has the label {labels[first]}, and labels go from "
            f"0 to {classes - 1}"
        )


def fitted(
    images: np.ndarray,
    channels: int,
    size: int,
    indices: np.ndarray | None = None,
    budget_bytes: int | None = None,
) -> Source:
    """Images [N, H, W, C] as a source of [size, size, channels].

    Args:
        images: their memory is shared, and read-only from then on.
        indices: only these.
    """
    images.flags.writeable = False
    source = images if indices is None else Subset(images, indices.tolist())
    if images.shape[1:] == (size, size, channels):
        return source
    return Cached(Fitted(source, channels, size), budget_bytes)


class Fitted:
    """Images of a source as squares of one size, grey or RGB as asked for."""

    def __init__(self, source: Source, channels: int, size: int):
        self.source, self.channels, self.size = source, channels, size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        """[size, size, channels]; grey by ITU-R 601 luma, as `sources.decode` makes it."""
        image = self.source[index]
        if image.shape[2] == 3 and self.channels == 1:
            image = np.array(Image.fromarray(image).convert("L"))[:, :, None]
        image = transforms.centre(image, self.size)
        if image.shape[2] == 1 and self.channels == 3:
            image = np.repeat(image, 3, axis=2)
        return image if image.base is None else image.copy()
